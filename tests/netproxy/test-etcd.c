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
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/block.h"
#include "devices/ledger.h"
#include "netproxy/etcd-http.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define TTL_S 2
#define NODES 3

static struct rig rig;
static struct proxy atlas, borealis, cygnus;
static struct guest guest;
static uint16_t ports[2];

/* ---- etcd ---- */

static struct node {
    pid_t pid;
    uint16_t client, peer;
} nodes[NODES];
static unsigned node_count;

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

    for (unsigned i = 0; i < node_count; i++) {
        size_t used = strlen(cluster);

        snprintf(cluster + used, sizeof(cluster) - used,
                 "%sn%u=http://127.0.0.1:%u", used ? "," : "", i,
                 nodes[i].peer);
    }
    snprintf(dir, sizeof(dir), "%s/etcd%u", rig.dir, n);
    snprintf(name, sizeof(name), "n%u", n);
    snprintf(clients, sizeof(clients), "http://127.0.0.1:%u", node->client);
    snprintf(peers, sizeof(peers), "http://127.0.0.1:%u", node->peer);
    node->pid = fork();
    ck_assert_int_ge(node->pid, 0);
    if (!node->pid) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        dup2(null, 2);
        execlp("etcd", "etcd", "--name", name, "--data-dir", dir,
               "--listen-client-urls", clients, "--advertise-client-urls",
               clients, "--listen-peer-urls", peers,
               "--initial-advertise-peer-urls", peers, "--initial-cluster",
               cluster, NULL);
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
    static char text[512];

    snprintf(text, sizeof(text), "[directory]\nclear-text = on\nttl = %us\n",
             TTL_S);
    for (unsigned i = 0; i < node_count; i++) {
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, "etcd = 127.0.0.1:%u\n",
                 nodes[i].client);
    }
    return text;
}

/* ---- platforms ---- */

/* ledger: whose file. filter: before it, or "". */
static void write_server(const char *name, uint16_t port, const char *ledger,
                         const char *filter)
{
    char file[32];

    snprintf(file, sizeof(file), "%s.conf", name);
    rig_write(&rig, file,
              "[platform]\nname = %s\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\ndirectory = keys\n"
              "[device %s]\ntype = ledger\npath = %s/%s\nsize = 1024\n"
              "%s"
              "[export disk0]\nallow = atlas\ndirectory = log\nlease = on\n"
              "%s",
              name, port, rig.dir, *filter ? "behind0" : "disk0", rig.dir,
              ledger, filter, directory());
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    memset(nodes, 0, sizeof(nodes));
    atlas.pid = borealis.pid = cygnus.pid = 0;
    rig_begin(&rig);
    for (unsigned i = 0; i < 2; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
}

static void write_all(const char *ledger_b, const char *ledger_c,
                      const char *filter)
{
    write_server("borealis", ports[0], ledger_b, filter);
    write_server("cygnus", ports[1], ledger_c, filter);
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

static void writer_begin(const char *platform, const char *standby,
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

/* ---- tests ---- */

START_TEST(servers_register_and_a_guest_finds_them_by_name)
{
    nodes_start(1);
    write_all("log", "log", "");
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
    write_all("log", "log", "");
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
    ck_assert_str_eq(proxy_text(&borealis, "sessions.1.device"), "");
    ck_assert_str_eq(proxy_text(&borealis, "sessions.0.device"), "kbd0");
    type_at(&borealis, 5);
    node_start(0);
    ck_assert(rig_until(&rig, answers, &nodes[0], 60000));
    writer_goes_on(20); /* whoever has it now */
    ck_assert_str_eq(proxy_text(&atlas, "directory.reason"), "");
    writer_end();
    check_ledger("log");
}
END_TEST

START_TEST(
    an_owner_that_is_killed_has_one_successor_and_each_write_is_done_once)
{
    uint64_t lost_us, back_us;

    nodes_start(1);
    write_all("log", "log", "");
    start_all();
    writer_begin("borealis", "cygnus", "disk0");
    writer_goes_on(100);
    ck_assert_str_eq(proxy_text(&cygnus, "directory.leases.0.holder"),
                     "borealis");
    lose(&borealis);
    lost_us = far_now_us();
    wait_held(&cygnus);
    back_us = far_now_us();
    /* Its lease had to end, and then its last moments to be waited out. */
    ck_assert_uint_ge(back_us - lost_us, (TTL_S + TTL_S / 5) * 1000000ull);
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
    write_all("log", "log", "");
    start_all();
    proxy_wait_text(&cygnus, "directory.leases.0.holder", "borealis");
    began_us = far_now_us();
    stop(&borealis);
    wait_held(&cygnus);
    ck_assert_int_eq(proxy_number(&cygnus, "directory.leases.0.waits_us"), 0);
    ck_assert_msg(far_now_us() - began_us < TTL_S * 1000000ull,
                  "it took %llu us",
                  (unsigned long long)(far_now_us() - began_us));
}
END_TEST

START_TEST(an_owner_that_was_stopped_for_longer_than_its_lease_writes_nothing)
{
    off_t then;

    nodes_start(1);
    /* Each has a file of its own: nothing but the lease is in the way. And what
     * is under way when it is stopped is past the session, in a filter. */
    write_all("log-b", "log-c",
              "[device disk0]\ntype = delay\nbehind = behind0\n"
              "delay = 300ms\n");
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

START_TEST(an_owner_whose_key_is_deleted_by_hand_stops_before_the_next_begins)
{
    bool both = false;

    nodes_start(1);
    write_all("log-b", "log-c", "");
    start_all();
    proxy_wait_text(&cygnus, "directory.leases.0.holder", "borealis");
    /* So that it can't just take it again. */
    ck_assert_int_eq(kill(borealis.pid, SIGSTOP), 0);
    json_decref(by_hand("/v3/kv/deleterange", "/farside/owner/log"));
    while (!held(&cygnus)) {
        both |= proxy_number(&cygnus, "directory.leases.0.left_us") > 0;
        rig_turn(&rig, 10);
    }
    ck_assert_int_eq(kill(borealis.pid, SIGCONT), 0);
    ck_assert(!held(&borealis));
    ck_assert(!both);
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
    write_all("log", "log", "");
    start_all();
    lose(&borealis);
    began_us = far_now_us();
    proxy_start(&borealis, &rig, "borealis");
    wait_held(&borealis);
    ck_assert_msg(far_now_us() - began_us < TTL_S * 1000000ull,
                  "it took %llu us",
                  (unsigned long long)(far_now_us() - began_us));
    ck_assert(!held(&cygnus));
}
END_TEST

START_TEST(one_of_three_nodes_may_die)
{
    nodes_start(3);
    write_all("log", "log", "");
    start_all();
    writer_begin(".directory", "", "log");
    writer_goes_on(50);
    node_kill(0); /* which all of them had asked */
    for (unsigned i = 0; i < 20; i++) {
        writer_goes_on(10);
        rig_turn(&rig, 200);
    }
    wait_held(&borealis);
    ck_assert_str_eq(proxy_text(&borealis, "directory.reason"), "");
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
    write_all("log", "log", "");
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
    write_all("log", "log", "");
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

static TCase *group(Suite *suite, const char *name)
{
    TCase *c = tcase_create(name);

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 240);
    suite_add_tcase(suite, c);
    return c;
}

int main(void)
{
    Suite *suite = suite_create("netproxy: a directory in etcd");
    TCase *c = group(suite, "names");

    if (system("etcd --version >/dev/null 2>&1")) {
        puts("SKIP: there is no etcd here (Debian's etcd-server)");
        return 77;
    }

    tcase_add_test(c, servers_register_and_a_guest_finds_them_by_name);
    tcase_add_test(c, without_tls_etcd_is_asked_only_if_that_is_wanted_by_name);
    c = group(suite, "owners");
    tcase_add_test(c, an_owner_that_ends_in_peace_need_not_be_waited_for);
    tcase_add_test(
        c,
        a_process_that_comes_after_a_killed_one_of_its_platform_need_not_wait);
    tcase_add_test(
        c, what_is_no_longer_exported_under_a_lease_is_given_back_at_a_reload);
    c = group(suite, "killed");
    tcase_add_test(
        c,
        an_owner_that_is_killed_has_one_successor_and_each_write_is_done_once);
    c = group(suite, "stopped");
    tcase_add_test(
        c, an_owner_that_was_stopped_for_longer_than_its_lease_writes_nothing);
    tcase_add_test(
        c, an_owner_whose_key_is_deleted_by_hand_stops_before_the_next_begins);
    c = group(suite, "outages");
    tcase_add_test(c,
                   what_is_shared_goes_on_without_etcd_and_what_is_owned_stops);
    tcase_add_test(c, one_of_three_nodes_may_die);
    c = group(suite, "lies");
    tcase_add_test(c, whatever_etcd_answers_only_its_own_names_are_missing);
    return suite_end(suite);
}
