/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The directory in a real etcd: servers that register, a guest that finds them
 * by name, and that what has an owner never has two of them: not when one is
 * killed, stopped and woken, cut off from etcd, or told so by hand. Then an
 * etcd that answers nonsense. Everything is on loopback, at free ports.
 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/block.h"
#include "devices/ledger.h"
#include "devices/local-server.h"
#include "netproxy/etcd-http.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define TTL_S 3
#define NODES 3

static struct rig rig;
static struct proxy atlas, borealis, cygnus;
static struct guest guest;
static uint16_t ports[2];
static struct far_local_server *store_ends[2];

/* ---- etcd ---- */

static struct node {
    pid_t pid;
    uint16_t client, peer;
} nodes[NODES];
static unsigned node_count;

/* Names of files without their .pem; "": not used. With an authority of etcd's
 * all is over TLS. */
static struct {
    const char *cert, *ca;         /* etcd's own; whom it believes */
    const char *our_ca, *our_cert; /* the platforms' */
} tls;

static bool answers(void *arg)
{
    const struct node *node = arg;
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(node->client),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool up = !connect(fd, (struct sockaddr *)&in, sizeof(in));

    close(fd);
    return up;
}

static void node_start(unsigned n)
{
    struct node *node = &nodes[n];
    char dir[128], name[8], clients[64], peers[64], cluster[256] = "";
    char cert[128], key[128], ca[128];
    const char *argv[32] = { "etcd",  "--name",
                             name,    "--data-dir",
                             dir,     "--listen-client-urls",
                             clients, "--advertise-client-urls",
                             clients, "--listen-peer-urls",
                             peers,   "--initial-advertise-peer-urls",
                             peers,   "--initial-cluster",
                             cluster };
    unsigned argc = 15;

    for (unsigned i = 0; i < node_count; i++) {
        size_t used = strlen(cluster);

        snprintf(cluster + used, sizeof(cluster) - used,
                 "%sn%u=http://127.0.0.1:%u", used ? "," : "", i,
                 nodes[i].peer);
    }
    snprintf(dir, sizeof(dir), "%s/etcd%u", rig.dir, n);
    snprintf(name, sizeof(name), "n%u", n);
    snprintf(clients, sizeof(clients), "http%s://127.0.0.1:%u",
             tls.cert ? "s" : "", node->client);
    snprintf(peers, sizeof(peers), "http://127.0.0.1:%u", node->peer);
    if (tls.cert) {
        snprintf(cert, sizeof(cert), "--cert-file=%s/%s.pem", rig.dir,
                 tls.cert);
        snprintf(key, sizeof(key), "--key-file=%s/%s.key", rig.dir, tls.cert);
        argv[argc++] = cert;
        argv[argc++] = key;
    }
    if (tls.ca) {
        snprintf(ca, sizeof(ca), "--trusted-ca-file=%s/%s.pem", rig.dir,
                 tls.ca);
        argv[argc++] = "--client-cert-auth";
        argv[argc++] = ca;
    }
    node->pid = fork();
    ck_assert_int_ge(node->pid, 0);
    if (!node->pid) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        dup2(null, 2);
        execvp("etcd", (char **)(uintptr_t)argv);
        _exit(127);
    }
}

static void nodes_start(unsigned count)
{
    node_count = count;
    for (unsigned i = 0; i < count; i++) {
        nodes[i].client = rig_port();
        nodes[i].peer = rig_port();
    }
    for (unsigned i = 0; i < count; i++)
        node_start(i);
    for (unsigned i = 0; i < count; i++)
        ck_assert_msg(rig_until(&rig, answers, &nodes[i], 60000),
                      "etcd does not listen (is etcd-server installed?)");
}

static void node_kill(unsigned n)
{
    if (!nodes[n].pid)
        return;
    kill(nodes[n].pid, SIGKILL);
    waitpid(nodes[n].pid, NULL, 0);
    nodes[n].pid = 0;
}

static const char *directory(void)
{
    static char text[1024];
    size_t used;

    used =
        (size_t)snprintf(text, sizeof(text), "[directory]\nttl = %us\n", TTL_S);
    if (!tls.our_ca)
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "clear-text = on\n");
    else
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "ca = %s/%s.pem\n", rig.dir, tls.our_ca);
    if (tls.our_cert)
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "cert = %s/%s.pem\nkey = %s/%s.key\n", rig.dir,
                                 tls.our_cert, rig.dir, tls.our_cert);
    for (unsigned i = 0; i < node_count; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "etcd = 127.0.0.1:%u\n", nodes[i].client);
    }
    return text;
}

/* ---- platforms ---- */

/* disk: the sections of disk0. */
static void write_server(const char *name, uint16_t port, const char *disk)
{
    char file[32];

    snprintf(file, sizeof(file), "%s.conf", name);
    rig_write(&rig, file,
              "[platform]\nname = %s\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\ndirectory = keys\n"
              "%s"
              "[export disk0]\nallow = atlas\ndirectory = log\nlease = on\n"
              "%s",
              name, port, rig.dir, disk, directory());
}

/* A disk that is written to a file. */
static const char *ledger(const char *file)
{
    static char text[2][256];
    static unsigned n;

    n = !n;
    snprintf(text[n], sizeof(text[n]),
             "[device disk0]\ntype = ledger\npath = %s/%s\nsize = 1024\n",
             rig.dir, file);
    return text[n];
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    memset(nodes, 0, sizeof(nodes));
    memset(&tls, 0, sizeof(tls));
    atlas.pid = borealis.pid = cygnus.pid = 0;
    rig_begin(&rig);
    for (unsigned i = 0; i < 2; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
}

static void write_all(const char *disk_b, const char *disk_c)
{
    write_server("borealis", ports[0], disk_b);
    write_server("cygnus", ports[1], disk_c);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\nstandby-after = 200ms\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "%s",
              ports[0], rig.dir, ports[1], rig.dir, directory());
}

static void stop(struct proxy *proxy)
{
    if (proxy->pid)
        proxy_kill(proxy, SIGTERM);
    proxy->pid = 0;
}

static bool has_ended(void *arg)
{
    return waitpid(((struct proxy *)arg)->pid, NULL, WNOHANG) != 0;
}

/* While the loop turns: its device may be in this process. */
static void stop_meanwhile(struct proxy *proxy)
{
    ck_assert_int_eq(kill(proxy->pid, SIGTERM), 0);
    ck_assert(rig_until(&rig, has_ended, proxy, 20000));
    proxy->pid = 0;
}

static void lose(struct proxy *proxy)
{
    proxy_kill(proxy, SIGKILL);
    proxy->pid = 0;
}

static void teardown(void)
{
    if (guest.open)
        guest_detach(&guest);
    stop(&atlas);
    stop(&borealis);
    stop(&cygnus);
    for (unsigned i = 0; i < NODES; i++)
        node_kill(i);
    for (unsigned i = 0; i < 2; i++)
        far_local_server_free(store_ends[i]);
    rig_end(&rig);
}

static bool held(struct proxy *proxy)
{
    return proxy_number(proxy, "directory.leases.0.left_us") > 0;
}

static bool proxy_holds(void *arg)
{
    return held(arg);
}

static bool has_one_session(void *arg)
{
    return !*proxy_text(arg, "sessions.1.device");
}

static bool has_no_reason(void *arg)
{
    return !*proxy_text(arg, "directory.reason");
}

static void wait_held(struct proxy *proxy)
{
    ck_assert_msg(rig_until(&rig, proxy_holds, proxy, 60000),
                  "%s never got the lease: holder %s, %s", proxy->name,
                  proxy_text(proxy, "directory.leases.0.holder"),
                  proxy_text(proxy, "directory.reason"));
}

/* borealis owns the log. */
static void start_all(void)
{
    proxy_start(&borealis, &rig, "borealis");
    wait_held(&borealis);
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&atlas, &rig, "atlas");
    ck_assert(!held(&cygnus));
}

static bool has_gone(void *arg)
{
    (void)arg;
    return guest.state == FAR_DEVICE_GONE;
}

static void wait_ready(void)
{
    ck_assert_msg(rig_until(&rig, guest_ready, &guest, 60000), "not ready: %s",
                  guest.reason);
}

static void type_at(struct proxy *proxy, unsigned taps)
{
    unsigned before = guest.count;

    for (unsigned i = 0; i < taps; i++)
        proxy_tap(proxy, "kbd0", 2 + i);
    guest_wait_count(&guest, before + 2 * taps);
}

/* ---- a guest that writes a log ---- */

#define DEPTH 8
static struct writer {
    struct far_layer layer;
    struct far_local_client *client;
    uint64_t sequence[DEPTH];
    uint8_t sector[DEPTH][512];
    unsigned done, failed;
    bool ready, stop;
    char reason[232];
} writer;

static void append(unsigned slot)
{
    struct far_block_args a = { .length_bytes = sizeof(writer.sector[0]) };
    struct far_op op = { .attachment = 77,
                         .sequence = ++writer.sequence[slot],
                         .slot = slot,
                         .opcode = FAR_BLOCK_APPEND,
                         .flags = FAR_OP_SENDS,
                         .payload_bytes = sizeof(writer.sector[0]) };

    memcpy(op.args, &a, sizeof(a));
    memset(writer.sector[slot], (int)op.sequence, sizeof(writer.sector[0]));
    ck_assert_int_eq(
        far_layer_submit(writer.layer.below, &op, writer.sector[slot]),
        FAR_LATER);
}

static void writer_complete(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    ck_assert_uint_eq(op->sequence, writer.sequence[op->slot]);
    writer.done++;
    writer.failed += op->status != 0;
    if (!writer.stop)
        append(op->slot);
}

static void writer_state(struct far_layer *layer, enum far_device_state state,
                         const struct far_layer_news *news)
{
    (void)layer;
    writer.ready = state == FAR_DEVICE_READY;
    snprintf(writer.reason, sizeof(writer.reason), "%s",
             news && news->reason ? news->reason : "");
}

static const struct far_layer_ops writer_ops = {
    .name = "writer",
    .complete = writer_complete,
    .state = writer_state,
};

static void writer_open(const char *platform, const char *standby,
                        const char *device)
{
    struct far_local_who who = { .attachment = 77, .class = FAR_CLASS_BLOCK };
    struct far_error error;
    struct far_layer *below;
    char path[128];

    memset(&writer, 0, sizeof(writer));
    writer.layer.ops = &writer_ops;
    snprintf(path, sizeof(path), "%s/atlas/devices.sock", rig.dir);
    writer.client = far_local_client_new(rig.loop, NULL, path, "atlas");
    memset(who.guest_uuid, 9, sizeof(who.guest_uuid));
    memset(who.generation, 7, sizeof(who.generation));
    snprintf(who.platform, sizeof(who.platform), "%s", platform);
    snprintf(who.standby, sizeof(who.standby), "%s", standby);
    snprintf(who.device, sizeof(who.device), "%s", device);
    ck_assert_int_eq(far_local_client_open(writer.client, &who, &below, &error),
                     0);
    far_layer_stack(&writer.layer, below);
    far_layer_activate(below, 0, 0);
}

static void writer_begin(const char *platform, const char *standby,
                         const char *device)
{
    writer_open(platform, standby, device);
    for (unsigned i = 0; i < DEPTH; i++)
        append(i);
}

static unsigned want_done;

static bool writer_has_done(void *arg)
{
    (void)arg;
    return writer.done >= want_done;
}

static void writer_goes_on(unsigned ops)
{
    want_done = writer.done + ops;
    ck_assert_msg(rig_until(&rig, writer_has_done, NULL, 60000),
                  "only %u of %u were written (%s)", writer.done, want_done,
                  writer.reason);
    ck_assert_uint_eq(writer.failed, 0);
}

/* Writes or reads the disk's first page, all bytes alike: what they are. */
static uint8_t page_op(uint16_t opcode, uint8_t byte)
{
    static uint8_t page[4096];
    struct far_block_args a = { .length_bytes = sizeof(page) };
    struct far_op op = { .attachment = 77,
                         .sequence = ++writer.sequence[0],
                         .opcode = opcode,
                         .flags = opcode == FAR_BLOCK_READ ? FAR_OP_RECEIVES
                                                           : FAR_OP_SENDS,
                         .payload_bytes = sizeof(page) };

    writer.stop = true;
    memcpy(op.args, &a, sizeof(a));
    memset(page, byte, sizeof(page));
    want_done = writer.done + 1;
    ck_assert_int_eq(far_layer_submit(writer.layer.below, &op, page),
                     FAR_LATER);
    ck_assert(rig_until(&rig, writer_has_done, NULL, 60000));
    ck_assert_uint_eq(writer.failed, 0);
    return page[0];
}

static bool writer_is_done(void *arg)
{
    static unsigned last;
    bool same = last == writer.done;

    (void)arg;
    last = writer.done;
    return same;
}

static void writer_end(void)
{
    writer.stop = true;
    rig_turn(&rig, 100);
    ck_assert(rig_until(&rig, writer_is_done, NULL, 10000));
    far_layer_close(writer.layer.below);
    rig_turn(&rig, 50);
    far_local_client_free(writer.client);
}

static off_t size_of(const char *ledger)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", rig.dir, ledger);
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_size;
}

/* A successor has it too soon, or too late, unless the former owner has (not)
 * given it back. */
static void waited(uint64_t began_us)
{
    ck_assert_uint_ge(far_now_us() - began_us, TTL_S * 1200000ull);
}

static void not_waited(uint64_t began_us)
{
    /* A lease that runs out, and all that is waited then. */
    ck_assert_msg(far_now_us() - began_us < (2 * TTL_S) * 1000000ull,
                  "it took %llu us",
                  (unsigned long long)(far_now_us() - began_us));
}

/* Each that was asked for stands there once, in each slot in order. */
static void check_ledger(const char *ledger)
{
    struct far_ledger_record record;
    uint64_t next[DEPTH], records = 0;
    char path[128];
    FILE *f;

    for (unsigned i = 0; i < DEPTH; i++)
        next[i] = 1;
    snprintf(path, sizeof(path), "%s/%s", rig.dir, ledger);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fread(&record, sizeof(record), 1, f) == 1) {
        ck_assert_uint_lt(record.slot, DEPTH);
        ck_assert_uint_eq(record.sequence, next[record.slot]++);
        ck_assert_int_eq(fseek(f, (long)record.bytes, SEEK_CUR), 0);
        records++;
    }
    fclose(f);
    ck_assert_uint_ge(records, writer.done);
    ck_assert_uint_le(records, writer.done + DEPTH);
}

/* ---- a storage that both servers reach, and that takes its time ---- */

/* Of it there are two ends, one for each server: outside devices, in this
 * process. What one of them has been given is under way for so long, whatever
 * becomes of who gave it. */
struct store_use {
    struct far_layer layer;
    struct far_timer timer;
    unsigned end, count;
    struct {
        struct far_op op;
        uint64_t due_us;
    } ops[DEPTH];
};

static struct {
    uint64_t takes_us, busy_until_us[2];
    unsigned ops[2], both; /* both: came while the other end was busy */
    uint8_t byte;          /* all that it holds */
} the_store;

static void store_set(struct store_use *u)
{
    if (u->count)
        far_timer_set(&u->timer, u->ops[0].due_us);
}

static void store_due(struct far_timer *timer)
{
    struct store_use *u =
        (struct store_use *)((char *)timer - offsetof(struct store_use, timer));
    struct far_op op = u->ops[0].op;

    memmove(u->ops, u->ops + 1, --u->count * sizeof(u->ops[0]));
    store_set(u);
    far_layer_complete(u->layer.above, &op);
}

static enum far_verdict store_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    struct store_use *u = (struct store_use *)layer;
    uint64_t now_us = far_now_us();

    if (op->opcode == FAR_BLOCK_WRITE)
        the_store.byte = *(const uint8_t *)payload;
    else if (op->opcode == FAR_BLOCK_READ)
        memset(payload, the_store.byte, op->payload_bytes);
    the_store.ops[u->end]++;
    the_store.both += now_us < the_store.busy_until_us[!u->end];
    the_store.busy_until_us[u->end] = now_us + the_store.takes_us;
    ck_assert_uint_lt(u->count, DEPTH);
    u->ops[u->count].op = *op;
    if (op->opcode != FAR_BLOCK_READ)
        u->ops[u->count].op.payload_bytes = 0;
    u->ops[u->count++].due_us = now_us + the_store.takes_us;
    store_set(u);
    return FAR_LATER;
}

static void store_activate(struct far_layer *layer, uint64_t incarnation,
                           uint64_t received)
{
    struct far_block_props props = { .bytes = 1 << 20,
                                     .can = FAR_BLOCK_CAN_WRITE |
                                            FAR_BLOCK_CAN_APPEND,
                                     .block_bytes = 512 };
    struct far_layer_news news = { .incarnation = 1 };

    (void)incarnation;
    (void)received;
    memcpy(news.props, &props, sizeof(props));
    far_layer_state(layer->above, FAR_DEVICE_READY, &news);
}

static void store_close(struct far_layer *layer)
{
    far_timer_cancel(&((struct store_use *)layer)->timer);
    free(layer);
}

static const struct far_layer_ops store_ops = {
    .name = "store",
    .submit = store_submit,
    .activate = store_activate,
    .close = store_close,
};

static int store_open(void *arg, const struct far_local_who *who,
                      struct far_layer **layer, struct far_error *error)
{
    struct store_use *u = calloc(1, sizeof(*u));

    (void)who;
    (void)error;
    ck_assert_ptr_nonnull(u);
    u->layer.ops = &store_ops;
    u->end = arg == &store_ends[1];
    far_timer_init(&u->timer, rig.loop, store_due);
    *layer = &u->layer;
    return 0;
}

/* A device of that server. */
static const char *store_as(const char *name, unsigned end, unsigned takes_ms)
{
    static char text[2][256];
    struct far_local_server_ops ops = { .open = store_open,
                                        .arg = &store_ends[end] };
    struct far_error error = { 0 };
    char path[128];

    snprintf(path, sizeof(path), "%s/store%u", rig.dir, end);
    the_store.takes_us = takes_ms * 1000ull;
    store_ends[end] =
        far_local_server_new(rig.loop, NULL, path, "store", &ops, &error);
    ck_assert_msg(store_ends[end] != NULL, "%s", error.text);
    snprintf(text[end], sizeof(text[end]),
             "[device %s]\ntype = outside\nclass = block\nsocket = %s\n", name,
             path);
    return text[end];
}

static const char *store(unsigned end, unsigned takes_ms)
{
    return store_as("disk0", end, takes_ms);
}

static bool first_end_is_busy(void *arg)
{
    (void)arg;
    return the_store.busy_until_us[0] >
           far_now_us() + the_store.takes_us * 3 / 4;
}

static bool other_end_has_ops(void *arg)
{
    (void)arg;
    return the_store.ops[1] >= DEPTH;
}

/* Long enough that it would be seen if two acted at a time. */
static void only_one_acts(void)
{
    ck_assert(rig_until(&rig, other_end_has_ops, NULL, 60000));
    ck_assert_uint_gt(the_store.ops[0], 0);
    ck_assert_uint_eq(the_store.both, 0);
}

/* What somebody does with etcdctl. */
static json_t *by_hand(const char *path, const char *key)
{
    static struct far_etcd_http http;
    static struct far_etcd_setup setup;
    json_t *answer;

    if (!http.easy)
        ck_assert_int_eq(far_etcd_http_init(&http), 0);
    setup.clear = setup.endpoint_count = 1;
    setup.ttl_s = 10;
    snprintf(setup.endpoints[0], sizeof(setup.endpoints[0]), "127.0.0.1:%u",
             nodes[0].client);
    far_etcd_http_setup(&http, &setup);
    answer = far_etcd_http_ask(&http, path,
                               json_pack("{s:o}", "key", far_base64_json(key)));
    ck_assert_msg(answer != NULL, "%s", http.reason);
    return answer;
}

/* The revision by which the log got the owner that it has. */
static int64_t owner_since(void)
{
    json_t *answer = by_hand("/v3/kv/range", "/farside/owner/log");
    int64_t revision = far_json_int64(json_object_get(
        json_array_get(json_object_get(answer, "kvs"), 0), "create_revision"));

    json_decref(answer);
    ck_assert_int_gt(revision, 0);
    return revision;
}

/* ---- tests ---- */

START_TEST(servers_register_and_a_guest_finds_them_by_name)
{
    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    proxy_wait_text(&atlas, "directory.names.keys.1", "cygnus/kbd0");
    ck_assert_str_eq(proxy_text(&atlas, "directory.names.keys.0"),
                     "borealis/kbd0");
    ck_assert_str_eq(proxy_text(&atlas, "directory.kind"), "etcd");
    guest_open(&guest, &rig, "atlas", 0, ".directory", "keys");
    wait_ready();
    type_at(&borealis, 5);
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 10000));
    wait_ready();
    type_at(&cygnus, 5);
    /* Its lease ends, and its name goes; it comes back with it. */
    proxy_wait_text(&atlas, "directory.names.keys.0", "cygnus/kbd0");
    proxy_start(&borealis, &rig, "borealis");
    proxy_wait_text(&atlas, "directory.names.keys.0", "borealis/kbd0");
    type_at(&cygnus, 5);
}
END_TEST

START_TEST(what_is_shared_goes_on_without_etcd_and_what_is_owned_stops)
{
    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    guest_open(&guest, &rig, "atlas", 0, ".directory", "keys");
    wait_ready();
    writer_begin(".directory", "", "log");
    writer_goes_on(20);
    node_kill(0);
    proxy_wait_text(&borealis, "directory.reason", "etcd at 127.0.0.1");
    type_at(&borealis, 5);
    for (unsigned i = 0; held(&borealis); i++) {
        ck_assert_uint_lt(i, 600);
        rig_turn(&rig, 10);
    }
    ck_assert(rig_until(&rig, guest_ready, &guest, 10000));
    ck_assert(rig_until(&rig, has_one_session, &borealis, 20000));
    ck_assert_str_eq(proxy_text(&borealis, "sessions.0.device"), "kbd0");
    type_at(&borealis, 5);
    node_start(0);
    ck_assert(rig_until(&rig, answers, &nodes[0], 60000));
    writer_goes_on(20); /* whoever has it now */
    ck_assert(rig_until(&rig, has_no_reason, &atlas, 20000));
    writer_end();
    check_ledger("log");
}
END_TEST

START_TEST(
    an_owner_that_is_killed_has_one_successor_and_each_write_is_done_once)
{
    uint64_t lost_us;

    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    writer_goes_on(100);
    proxy_wait_text(&cygnus, "directory.leases.0.holder", "borealis");
    lose(&borealis);
    lost_us = far_now_us();
    wait_held(&cygnus);
    waited(lost_us);
    writer_goes_on(100);
    ck_assert_str_eq(proxy_text(&atlas, "standbys.0.serves"), "cygnus");
    proxy_start(&borealis, &rig, "borealis");
    writer_goes_on(100);
    ck_assert(!held(&borealis));
    writer_end();
    check_ledger("log");
}
END_TEST

START_TEST(an_owner_that_ends_in_peace_need_not_be_waited_for)
{
    uint64_t began_us;

    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    proxy_wait_text(&cygnus, "directory.leases.0.holder", "borealis");
    began_us = far_now_us();
    stop(&borealis);
    wait_held(&cygnus);
    not_waited(began_us);
}
END_TEST

START_TEST(an_owner_that_ends_while_it_writes_gives_back_after_its_last_write)
{
    uint64_t began_us;

    nodes_start(1);
    write_all(store(0, 300), store(1, 300));
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    writer_goes_on(20);
    ck_assert(rig_until(&rig, first_end_is_busy, NULL, 10000));
    began_us = far_now_us();
    stop_meanwhile(&borealis);
    wait_held(&cygnus);
    not_waited(began_us);
    writer_goes_on(20);
    only_one_acts();
    writer_end();
}
END_TEST

START_TEST(what_an_owner_leaves_under_way_is_waited_for)
{
    uint64_t began_us;

    nodes_start(1);
    write_all(store(0, 2000), store(1, 2000));
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    ck_assert(rig_until(&rig, first_end_is_busy, NULL, 10000));
    began_us = far_now_us();
    stop_meanwhile(&borealis);
    wait_held(&cygnus);
    waited(began_us);
    only_one_acts();
}
END_TEST

START_TEST(a_busy_device_that_is_no_longer_exported_is_waited_for)
{
    uint64_t began_us;

    nodes_start(1);
    write_all(store(0, 2000), store(1, 2000));
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    ck_assert(rig_until(&rig, first_end_is_busy, NULL, 10000));
    rig_write(&rig, "borealis.conf", "[platform]\nname = borealis\n%s",
              directory());
    began_us = far_now_us();
    proxy_reload(&borealis);
    ck_assert(!held(&borealis));
    wait_held(&cygnus);
    waited(began_us);
    only_one_acts();
}
END_TEST

START_TEST(what_a_stopped_owner_had_in_hand_does_not_reach_the_storage)
{
    unsigned ops;

    nodes_start(1);
    write_all(store(0, 50), store(1, 50));
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    writer_goes_on(20);
    ck_assert_int_eq(kill(borealis.pid, SIGSTOP), 0);
    only_one_acts();
    ops = the_store.ops[0];
    ck_assert_int_eq(kill(borealis.pid, SIGCONT), 0);
    ck_assert(!held(&borealis));
    rig_turn(&rig, 1000);
    ck_assert_uint_eq(the_store.ops[0], ops);
    ck_assert_uint_eq(the_store.both, 0);
    writer_end();
}
END_TEST

START_TEST(who_is_owner_again_has_forgotten_what_its_cache_held)
{
    char disk[512];

    nodes_start(1);
    snprintf(disk, sizeof(disk),
             "%s[device disk0]\ntype = cache\nbehind = behind0\nsize = 1\n",
             store_as("behind0", 0, 1));
    write_all(disk, store(1, 1));
    start_all();
    writer_open("borealis", "cygnus", "disk0");
    page_op(FAR_BLOCK_WRITE, 1);
    ck_assert_uint_eq(page_op(FAR_BLOCK_READ, 0), 1);
    ck_assert_uint_eq(the_store.ops[0], 1); /* it was in the cache */
    ck_assert_int_eq(kill(borealis.pid, SIGSTOP), 0);
    wait_held(&cygnus);
    page_op(FAR_BLOCK_WRITE, 2);
    ck_assert_int_eq(kill(borealis.pid, SIGCONT), 0);
    ck_assert(!held(&borealis));
    stop_meanwhile(&cygnus);
    wait_held(&borealis);
    ck_assert_uint_eq(page_op(FAR_BLOCK_READ, 0), 2);
    writer_end();
}
END_TEST

/* Is somebody told that two have it? */
static bool two_owners(unsigned ms)
{
    uint64_t end_us = far_now_us() + ms * 1000ull;

    while (far_now_us() < end_us) {
        long long until_us = (long long)far_now_us();

        /* The one that is asked first has it for that long still. */
        until_us += proxy_number(&borealis, "directory.leases.0.left_us");
        if (held(&cygnus) && (long long)far_now_us() < until_us)
            return true;
        rig_turn(&rig, 5);
    }
    return false;
}

START_TEST(who_asks_another_etcd_from_now_on_owns_nothing_before_the_next_does)
{
    uint16_t true_one;

    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    proxy_wait_text(&cygnus, "directory.leases.0.holder", "borealis");
    true_one = nodes[0].client;
    nodes[0].client = rig_port(); /* nobody is there */
    write_server("borealis", ports[0], ledger("log"));
    nodes[0].client = true_one;
    proxy_reload(&borealis);
    ck_assert(!two_owners(2 * TTL_S * 1000));
    wait_held(&cygnus);
    ck_assert(!held(&borealis));
}
END_TEST

START_TEST(a_name_that_stands_for_another_device_keeps_its_owner)
{
    char disk[256];
    int64_t began;

    nodes_start(1);
    snprintf(disk, sizeof(disk),
             "[device behind0]\ntype = ledger\npath = %s/log\nsize = 1024\n"
             "[device disk0]\ntype = delay\nbehind = behind0\ndelay = 1ms\n",
             rig.dir);
    write_all(disk, disk);
    start_all();
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[device behind0]\ntype = ledger\npath = %s/log\nsize = 1024\n"
              "[device disk1]\ntype = delay\nbehind = behind0\n"
              "delay = 1ms\n"
              "[export disk1]\nallow = atlas\ndirectory = log\nlease = on\n"
              "%s",
              rig.dir, directory());
    began = owner_since();
    proxy_reload(&borealis);
    ck_assert(held(&borealis));
    proxy_wait_text(&atlas, "directory.names.log.0", "borealis/disk1");
    ck_assert(!two_owners(2 * TTL_S * 1000));
    ck_assert(held(&borealis));
    ck_assert_int_eq(owner_since(), began);
}
END_TEST

START_TEST(a_server_that_knows_of_no_owner_is_told)
{
    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    rig_write(&rig, "cygnus.conf",
              "[platform]\nname = cygnus\n"
              "[device disk0]\ntype = memory\nsize = 1\n"
              "[export disk0]\nallow = atlas\ndirectory = log\n%s",
              directory());
    start_all();
    proxy_wait_text(&cygnus, "directory.reason", "log belongs to borealis");
}
END_TEST

START_TEST(an_owner_that_was_stopped_for_longer_than_its_lease_writes_nothing)
{
    off_t then;

    nodes_start(1);
    /* Each has a file of its own: nothing but the lease is in the way. */
    write_all(ledger("log-b"), ledger("log-c"));
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    writer_goes_on(20);
    ck_assert_int_eq(kill(borealis.pid, SIGSTOP), 0);
    then = size_of("log-b");
    wait_held(&cygnus);
    writer_goes_on(20);
    ck_assert_int_eq(size_of("log-b"), then);
    ck_assert_int_gt(size_of("log-c"), 0);
    ck_assert_int_eq(kill(borealis.pid, SIGCONT), 0);
    ck_assert(!held(&borealis));
    rig_turn(&rig, 1500);
    ck_assert_int_eq(size_of("log-b"), then);
    ck_assert(!held(&borealis));
    writer_goes_on(20);
    ck_assert_int_eq(size_of("log-b"), then);
    ck_assert_str_eq(proxy_text(&borealis, "directory.leases.0.holder"),
                     "cygnus");
    writer_end();
}
END_TEST

START_TEST(an_owner_whose_key_is_deleted_by_hand_stops_before_the_next_begins)
{
    uint64_t began_us;

    nodes_start(1);
    write_all(ledger("log-b"), ledger("log-c"));
    start_all();
    proxy_wait_text(&cygnus, "directory.leases.0.holder", "borealis");
    /* So that it can't just take it again. */
    ck_assert_int_eq(kill(borealis.pid, SIGSTOP), 0);
    json_decref(by_hand("/v3/kv/deleterange", "/farside/owner/log"));
    began_us = far_now_us();
    wait_held(&cygnus);
    waited(began_us);
    ck_assert_int_eq(kill(borealis.pid, SIGCONT), 0);
    ck_assert(!held(&borealis));
    rig_turn(&rig, 1000);
    ck_assert(held(&cygnus));
    ck_assert(!held(&borealis));
}
END_TEST

START_TEST(
    a_process_that_comes_after_a_killed_one_of_its_platform_need_not_wait)
{
    uint64_t began_us;

    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    lose(&borealis);
    began_us = far_now_us();
    proxy_start(&borealis, &rig, "borealis");
    wait_held(&borealis);
    not_waited(began_us);
    ck_assert(!held(&cygnus));
}
END_TEST

START_TEST(a_process_of_the_same_platform_that_may_live_is_waited_for)
{
    struct proxy twin = { .pid = 0 };
    uint64_t began_us;

    nodes_start(1);
    write_all(ledger("log-b"), ledger("log-c"));
    start_all();
    stop(&cygnus);
    ck_assert_int_eq(kill(borealis.pid, SIGSTOP), 0);
    began_us = far_now_us();
    rig_write(&rig, "twin.conf",
              "[platform]\nname = borealis\n"
              "[device disk0]\ntype = ledger\npath = %s/log-c\nsize = 1024\n"
              "[export disk0]\nallow = atlas\ndirectory = log\nlease = on\n"
              "%s",
              rig.dir, directory());
    proxy_start(&twin, &rig, "twin");
    wait_held(&twin);
    waited(began_us);
    ck_assert_int_eq(kill(borealis.pid, SIGCONT), 0);
    ck_assert(!held(&borealis));
    stop(&twin);
}
END_TEST

START_TEST(one_of_three_nodes_may_die)
{
    nodes_start(3);
    write_all(ledger("log"), ledger("log"));
    start_all();
    writer_begin(".directory", "", "log");
    writer_goes_on(50);
    node_kill(0); /* which all of them had asked */
    for (unsigned i = 0; i < 20; i++) {
        writer_goes_on(10);
        rig_turn(&rig, 200);
    }
    wait_held(&borealis);
    ck_assert(rig_until(&rig, has_no_reason, &borealis, 20000));
    lose(&borealis);
    wait_held(&cygnus);
    writer_goes_on(50);
    writer_end();
    check_ledger("log");
}
END_TEST

START_TEST(what_is_no_longer_exported_under_a_lease_is_given_back_at_a_reload)
{
    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\ndirectory = keys\n%s",
              directory());
    proxy_reload(&borealis);
    wait_held(&cygnus);
    ck_assert_str_eq(proxy_text(&borealis, "directory.leases.0.name"), "");
    proxy_wait_text(&atlas, "directory.names.log.0", "cygnus/disk0");
    ck_assert_str_eq(proxy_text(&atlas, "directory.names.log.1"), "");
}
END_TEST

START_TEST(without_tls_etcd_is_asked_only_if_that_is_wanted_by_name)
{
    nodes_start(1);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[directory]\netcd = 127.0.0.1:%u\n",
              nodes[0].client);
    proxy_start(&atlas, &rig, "atlas");
    ck_assert_ptr_nonnull(
        strstr(proxy_text(&atlas, "directory.reason"), "neither a ca nor"));
}
END_TEST

/* ---- TLS ---- */

struct authority {
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
};

static void put(const char *name, const char *end, gnutls_datum_t *pem)
{
    char file[64];

    snprintf(file, sizeof(file), "%s.%s", name, end);
    rig_write(&rig, file, "%.*s", (int)pem->size, pem->data);
    gnutls_free(pem->data);
}

/* Writes NAME.pem and NAME.key; by: NULL, and it is an authority. ip: of a
 * server, in text, or NULL. */
static struct authority certify(const char *name, const struct authority *by,
                                const char *ip)
{
    static unsigned char serial;
    struct authority a;
    struct in_addr in;
    gnutls_datum_t pem;

    serial++;
    ck_assert(!gnutls_x509_privkey_init(&a.key));
    ck_assert(!gnutls_x509_privkey_generate(
        a.key, GNUTLS_PK_ECDSA,
        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    ck_assert(!gnutls_x509_crt_init(&a.crt));
    ck_assert(!gnutls_x509_crt_set_version(a.crt, 3));
    ck_assert(!gnutls_x509_crt_set_serial(a.crt, &serial, 1));
    ck_assert(!gnutls_x509_crt_set_dn_by_oid(a.crt, GNUTLS_OID_X520_COMMON_NAME,
                                             0, name, (unsigned)strlen(name)));
    ck_assert(!gnutls_x509_crt_set_activation_time(a.crt, time(NULL) - 60));
    ck_assert(!gnutls_x509_crt_set_expiration_time(a.crt, time(NULL) + 3600));
    ck_assert(!gnutls_x509_crt_set_basic_constraints(a.crt, !by, -1));
    ck_assert(!gnutls_x509_crt_set_key_usage(
        a.crt, by ? GNUTLS_KEY_DIGITAL_SIGNATURE : GNUTLS_KEY_KEY_CERT_SIGN));
    if (ip) {
        ck_assert_int_eq(inet_pton(AF_INET, ip, &in), 1);
        ck_assert(!gnutls_x509_crt_set_subject_alt_name(
            a.crt, GNUTLS_SAN_IPADDRESS, &in, sizeof(in), GNUTLS_FSAN_SET));
    }
    ck_assert(!gnutls_x509_crt_set_key(a.crt, a.key));
    ck_assert(!gnutls_x509_crt_sign2(a.crt, by ? by->crt : a.crt,
                                     by ? by->key : a.key, GNUTLS_DIG_SHA256,
                                     0));
    ck_assert(!gnutls_x509_crt_export2(a.crt, GNUTLS_X509_FMT_PEM, &pem));
    put(name, "pem", &pem);
    ck_assert(!gnutls_x509_privkey_export2(a.key, GNUTLS_X509_FMT_PEM, &pem));
    put(name, "key", &pem);
    return a;
}

static void forget(struct authority *a)
{
    gnutls_x509_crt_deinit(a->crt);
    gnutls_x509_privkey_deinit(a->key);
}

/* Certificates for all who have part in it, and some that are of no use. */
static void certify_all(void)
{
    struct authority ca = certify("ca", NULL, NULL);
    struct authority other = certify("other-ca", NULL, NULL);
    struct authority made[] = {
        certify("etcd", &ca, "127.0.0.1"),
        certify("elsewhere", &ca, "127.0.0.2"),
        certify("farside", &ca, NULL),
        certify("stranger", &other, NULL),
    };

    for (unsigned i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        forget(&made[i]);
    forget(&ca);
    forget(&other);
}

START_TEST(over_tls_etcd_and_its_clients_prove_who_they_are)
{
    certify_all();
    tls.cert = "etcd";
    tls.ca = tls.our_ca = "ca";
    tls.our_cert = "farside";
    nodes_start(1);
    write_all(ledger("log"), ledger("log"));
    start_all();
    proxy_wait_text(&atlas, "directory.names.keys.1", "cygnus/kbd0");
    ck_assert(rig_until(&rig, has_no_reason, &atlas, 20000));
    writer_begin(".directory", "", "log");
    writer_goes_on(20);
    stop(&borealis);
    writer_goes_on(20);
    ck_assert(held(&cygnus));
    writer_end();
    check_ledger("log");
}
END_TEST

/* borealis, with what it has now in its [directory]. */
static void is_refused(const char *because)
{
    write_server("borealis", ports[0], ledger("log"));
    proxy_reload(&borealis);
    proxy_wait_text(&borealis, "directory.reason", because);
    ck_assert(!held(&borealis));
    ck_assert_str_eq(proxy_text(&borealis, "directory.names.keys.0"), "");
}

START_TEST(whose_certificate_is_wrong_is_refused_and_it_is_said_why)
{
    certify_all();
    tls.cert = "etcd";
    tls.ca = tls.our_ca = "ca";
    tls.our_cert = "farside";
    nodes_start(1);
    tls.our_ca = "other-ca";
    write_server("borealis", ports[0], ledger("log"));
    proxy_start(&borealis, &rig, "borealis");
    is_refused("certificate verification failed");
    tls.our_ca = "nowhere";
    is_refused("nowhere.pem");
    tls.our_ca = "ca";
    tls.our_cert = NULL;
    is_refused("wants a certificate of ours");
    tls.our_cert = "stranger";
    is_refused("does not take our certificate");
    tls.our_cert = "nowhere";
    is_refused("nowhere.pem");
    tls.our_cert = tls.our_ca = NULL; /* in clear text */
    is_refused("etcd at 127.0.0.1");
    tls.our_ca = "ca";
    tls.our_cert = "farside";
    write_server("borealis", ports[0], ledger("log"));
    proxy_reload(&borealis);
    wait_held(&borealis);
    ck_assert(rig_until(&rig, has_no_reason, &borealis, 20000));
}
END_TEST

START_TEST(an_etcd_at_another_address_than_its_certificates_is_refused)
{
    certify_all();
    tls.cert = "elsewhere";
    tls.our_ca = "ca";
    nodes_start(1);
    write_server("borealis", ports[0], ledger("log"));
    proxy_start(&borealis, &rig, "borealis");
    is_refused("does not match");
}
END_TEST

/* ---- an etcd that answers nonsense ---- */

static void answer_all(int listener, const char *body, bool endless)
{
    static char junk[65536];

    memset(junk, '[', sizeof(junk));
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        char in[8192];

        if (fd < 0)
            _exit(1);
        if (read(fd, in, sizeof(in)) > 0)
            dprintf(fd,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\n"
                    "Content-Type: application/json\r\n\r\n%s",
                    body);
        for (unsigned i = 0; endless && i < 256; i++) {
            if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) < 0)
                break;
        }
        close(fd);
    }
}

static pid_t liar(uint16_t port, const char *body, bool endless)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    pid_t pid;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        answer_all(fd, body, endless);
    }
    close(fd);
    return pid;
}

START_TEST(whatever_etcd_answers_only_its_own_names_are_missing)
{
    static const struct {
        const char *body;
        bool endless;
    } lies[] = {
        { "", false },
        { "no JSON", false },
        { "[]", false },
        { "{}", false },
        { "", true },
        { "{\"ID\":7,\"TTL\":\"no\",\"kvs\":{\"key\":1}}", false },
        { "{\"ID\":\"99999999999999999999\",\"TTL\":\"5\"}", false },
        { "{\"ID\":\"7\",\"TTL\":\"9223372036854775807\",\"result\":[],"
          "\"responses\":\"all\",\"succeeded\":1,\"kvs\":[1,null,{\"key\":[]},"
          "{\"key\":\"%%%\",\"value\":\"\"},{\"key\":\"L2ZhcnNpZGU=\"}]}",
          false },
        /* devices/../../x at ..., owner of that; and a NUL in a name */
        { "{\"ID\":\"7\",\"TTL\":\"5\",\"responses\":[{\"response_range\":"
          "{\"kvs\":[{\"value\":\"YQ==\",\"lease\":\"8\",\"mod_revision\":"
          "\"-1\"}]}}],\"kvs\":["
          "{\"key\":\"L2ZhcnNpZGUvZGV2aWNlcy8uLi8uLi94\",\"value\":\"YQ==\"},"
          "{\"key\":\"L2ZhcnNpZGUvZGV2aWNlcy9hL2IvYw==\",\"value\":\"YQ==\"},"
          "{\"key\":\"L2ZhcnNpZGUvZGV2aWNlcy9hL2IA\",\"value\":\"YQ==\"},"
          "{\"key\":\"L2ZhcnNpZGUvb3duZXIvYQ==\",\"value\":\"YQ==\"}]}",
          false },
    };

    node_count = 1;
    nodes[0].client = rig_port();
    write_all(ledger("log"), ledger("log"));
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    wait_ready();
    for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        pid_t pid = liar(nodes[0].client, lies[i].body, lies[i].endless);

        rig_turn(&rig, 1300);
        type_at(&borealis, 1);
        ck_assert(!held(&borealis));
        ck_assert_str_eq(proxy_text(&borealis, "directory.names.a.0"), "");
        ck_assert_str_eq(proxy_text(&borealis, "directory.names.x.0"), "");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    proxy_wait_text(&borealis, "directory.reason", "etcd at");
    /* And the true one. */
    nodes[0].peer = rig_port();
    node_start(0);
    wait_held(&borealis);
    type_at(&borealis, 1);
}
END_TEST

struct group {
    const char *name;
    const TTest *tests[5];
};

static int run_group(const struct group *group)
{
    Suite *suite = suite_create("netproxy: a directory in etcd");
    TCase *c = tcase_create(group->name);

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 240);
    for (unsigned i = 0; i < 5 && group->tests[i]; i++)
        tcase_add_test(c, group->tests[i]);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}

int main(void)
{
    const struct group groups[] = {
        { "names",
          { servers_register_and_a_guest_finds_them_by_name,
            without_tls_etcd_is_asked_only_if_that_is_wanted_by_name,
            a_server_that_knows_of_no_owner_is_told } },
        { "peace",
          { an_owner_that_ends_in_peace_need_not_be_waited_for,
            an_owner_that_ends_while_it_writes_gives_back_after_its_last_write } },
        { "left", { what_an_owner_leaves_under_way_is_waited_for } },
        { "cache", { who_is_owner_again_has_forgotten_what_its_cache_held } },
        { "reloads",
          { what_is_no_longer_exported_under_a_lease_is_given_back_at_a_reload,
            a_busy_device_that_is_no_longer_exported_is_waited_for } },
        { "changes",
          { who_asks_another_etcd_from_now_on_owns_nothing_before_the_next_does,
            a_name_that_stands_for_another_device_keeps_its_owner } },
        { "killed",
          { an_owner_that_is_killed_has_one_successor_and_each_write_is_done_once,
            a_process_that_comes_after_a_killed_one_of_its_platform_need_not_wait } },
        { "stopped",
          { an_owner_that_was_stopped_for_longer_than_its_lease_writes_nothing } },
        { "in hand",
          { what_a_stopped_owner_had_in_hand_does_not_reach_the_storage } },
        { "two",
          { an_owner_whose_key_is_deleted_by_hand_stops_before_the_next_begins,
            a_process_of_the_same_platform_that_may_live_is_waited_for } },
        { "outage",
          { what_is_shared_goes_on_without_etcd_and_what_is_owned_stops } },
        { "cluster", { one_of_three_nodes_may_die } },
        { "tls",
          { over_tls_etcd_and_its_clients_prove_who_they_are,
            whose_certificate_is_wrong_is_refused_and_it_is_said_why,
            an_etcd_at_another_address_than_its_certificates_is_refused } },
        { "lies", { whatever_etcd_answers_only_its_own_names_are_missing } },
    };
    enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };
    FILE *said[GROUPS];
    int status, failed = EXIT_SUCCESS;

    if (system("etcd --version >/dev/null 2>&1")) {
        puts("SKIP: there is no etcd here (Debian's etcd-server)");
        return 77;
    }
    fflush(NULL);
    /* They wait most of their time: all groups run at once. */
    for (unsigned n = 0; n < GROUPS; n++) {
        pid_t pid;

        said[n] = tmpfile();
        pid = said[n] ? fork() : -1;
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            dup2(fileno(said[n]), STDOUT_FILENO);
            exit(run_group(&groups[n]));
        }
        if (pid < 0)
            failed = EXIT_FAILURE;
    }
    while (wait(&status) > 0) {
        if (status)
            failed = EXIT_FAILURE;
    }
    for (unsigned n = 0; n < GROUPS; n++) {
        char line[1024];

        if (!said[n])
            continue;
        rewind(said[n]);
        while (fgets(line, sizeof(line), said[n]))
            fputs(line, stdout);
        fclose(said[n]);
    }
    return failed;
}
