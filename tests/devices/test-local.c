/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The local client and the local server against each other, over a socket in
 * a folder of its own: what arrives, what waits, what survives a kill; and each
 * against a peer that sends nonsense.
 */
#include "tests/devices/harness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "devices/local-server.h"

static char dir[64], path[96];
static struct far_loop *loop;
static struct far_conf *conf;
static struct far_devices devices;
static struct far_local_server *server;
static struct far_local_client *client;
static int refuse;                /* what open() says instead */
static struct far_layer *instead; /* and gives */
static unsigned left, detached;

static int open_device(void *arg, const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct far_device *d = far_device_find(&devices, who->device);

    (void)arg;
    if (instead) {
        *layer = instead;
        return 0;
    }
    if (refuse)
        return far_error(error, refuse, "%s: not today", who->device);
    if (!d)
        return far_error(error, -ENOENT, "%s: no such device", who->device);
    return far_device_open(d, who, layer, error);
}

static int feed_device(void *arg, const char *device,
                       const struct far_input_event *events, unsigned count,
                       struct far_error *error)
{
    struct far_device *d = far_device_find(&devices, device);

    (void)arg;
    if (!d)
        return far_error(error, -ENOENT, "%s: no such device", device);
    return d->type->feed(d, events, count, error);
}

static void leaving(void *arg, const struct far_local_who *who, bool in_words)
{
    (void)arg;
    (void)who;
    left++;
    detached += in_words;
}

static void server_start(void)
{
    const struct far_local_server_ops ops = { .open = open_device,
                                              .feed = feed_device,
                                              .leaving = leaving };
    struct far_error error = { 0 };

    server = far_local_server_new(loop, NULL, path, "borealis", &ops, &error);
    ck_assert_msg(server != NULL, "%s", error.text);
}

static void server_stop(void)
{
    far_local_server_free(server);
    server = NULL;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/farside-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/devices.sock", dir);
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    conf = conf_of("[device kbd0]\ntype = virtual\n"
                   "[device kbd1]\ntype = virtual\n");
    far_devices_init(&devices, loop, NULL);
    ck_assert_uint_eq(far_devices_load(&devices, conf, NULL, no_problem, NULL),
                      0);
    client = far_local_client_new(loop, NULL, path, "atlas");
    ck_assert_ptr_nonnull(client);
    refuse = 0;
    left = detached = 0;
}

static void teardown(void)
{
    far_local_client_free(client);
    far_local_server_free(server);
    server = NULL;
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
    unlink(path);
    rmdir(dir);
}

static struct port *attach(const char *device, uint64_t id)
{
    struct far_local_who who = who_of(device, id);
    struct far_layer *layer;
    struct far_error error = { 0 };
    int r = far_local_client_open(client, &who, &layer, &error);

    ck_assert_msg(r == 0, "%s", error.text);
    return port_new(layer);
}

static struct port *attach_active(const char *device, uint64_t id)
{
    struct port *p = attach(device, id);

    far_layer_activate(p->layer.below, 0, 0);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    return p;
}

static void type_key(const char *device, uint16_t code, int down)
{
    struct far_input_event e = key_event(code, down);
    struct far_error error = { 0 };

    ck_assert_msg(feed_device(NULL, device, &e, 1, &error) == 0, "%s",
                  error.text);
}

static void type_motion(const char *device, int x)
{
    struct far_input_event e = motion_event(x, 0);

    ck_assert_int_eq(feed_device(NULL, device, &e, 1, NULL), 0);
}

START_TEST(keys_arrive_with_their_numbers_and_the_statement_first)
{
    struct port *p;
    struct far_input_props props;

    server_start();
    type_key("kbd0", 42, 1);
    p = attach_active("kbd0", 5);
    turn_until(loop, p->used == 3);
    type_key("kbd0", 30, 1);
    type_key("kbd0", 30, 0);
    turn_until(loop, p->used == 5);
    ck_assert_str_eq(port_text(p, 0), "begin +42h end +30 -30");
    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_eq(p->sequences[i], i + 1);
    ck_assert_uint_eq(p->news.incarnation,
                      far_device_find(&devices, "kbd0")->incarnation);
    memcpy(&props, p->news.props, sizeof(props));
    ck_assert_uint_ne(props.can & FAR_INPUT_CAN_KEYS, 0);
    ck_assert_str_eq(far_local_client_reason(client), "connected");
    port_free(p);
    turn_until(loop, detached == 1);
    ck_assert_uint_eq(far_device_find(&devices, "kbd0")->users, 0);
}
END_TEST

START_TEST(two_attachments_do_not_see_each_other)
{
    struct port *a, *b;

    server_start();
    a = attach_active("kbd0", 1);
    b = attach_active("kbd1", 2);
    turn_until(loop, a->used == 2 && b->used == 2);
    type_key("kbd1", 30, 1);
    turn_until(loop, b->used == 3);
    ck_assert_uint_eq(a->used, 2);
    port_free(a);
    port_free(b);
}
END_TEST

START_TEST(a_server_that_comes_late_is_found)
{
    struct port *p = attach("kbd0", 1);

    far_layer_activate(p->layer.below, 0, 0);
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    turn_for(loop, 100000);
    ck_assert_ptr_nonnull(strstr(p->reason, "is farside-netproxy running"));
    server_start();
    turn_until(loop, p->state == FAR_DEVICE_READY);
    port_free(p);
}
END_TEST

START_TEST(a_refusal_says_why_and_ends_by_itself)
{
    struct port *p;

    server_start();
    refuse = -EACCES;
    p = attach("kbd0", 1);
    far_layer_activate(p->layer.below, 0, 0);
    turn_until(loop, !strcmp(p->reason, "kbd0: not today"));
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    refuse = 0;
    far_local_server_retry(server);
    turn_until(loop, p->state == FAR_DEVICE_READY && p->used == 2);
    type_key("kbd0", 30, 1);
    turn_until(loop, p->used == 3);
    port_free(p);
}
END_TEST

START_TEST(a_port_without_room_holds_the_device_back_and_nothing_is_lost)
{
    struct port *p;
    unsigned sent = 0;

    server_start();
    p = attach_active("kbd0", 1);
    turn_until(loop, p->used == 2);
    p->room = 0;
    p->ack = false;
    /* 64 in the ring, the rest in the device's queue: which keeps pairs */
    for (uint16_t k = 1; k <= 90; k++) {
        type_key("kbd0", k, 1);
        type_key("kbd0", k, 0);
        sent += 2;
        if (k % 10 == 0)
            turn_for(loop, 1000);
    }
    ck_assert_uint_eq(p->used, 2);
    p->room = UINT32_MAX;
    far_layer_resume(p->layer.below);
    turn_until(loop, p->used == 2 + sent);
    for (unsigned i = 0; i < sent; i++) {
        ck_assert_uint_eq(p->events[2 + i].code, 1 + i / 2);
        ck_assert_int_eq(p->events[2 + i].value, i % 2 == 0);
        ck_assert_uint_eq(p->sequences[2 + i], 3 + i);
    }
    port_free(p);
}
END_TEST

struct seen {
    uint64_t sent, acked;
    unsigned count;
};

static void see(void *arg, const struct far_local_server_use *use)
{
    struct seen *seen = arg;

    ck_assert_uint_le(use->acked, use->sent);
    seen->sent = use->sent;
    seen->acked = use->acked;
    seen->count++;
}

START_TEST(acks_reach_the_server_without_a_wake_up_of_their_own)
{
    struct port *p;
    struct seen seen = { 0 };

    server_start();
    p = attach_active("kbd0", 1);
    turn_until(loop, p->used == 2);
    for (int i = 0; i < 10; i++)
        type_motion("kbd0", 1);
    turn_until(loop, p->used >= 3 && p->events[p->used - 1].x);
    turn_for(loop, 60000); /* it looks by itself after 20 ms */
    far_local_server_each(server, see, &seen);
    ck_assert_uint_eq(seen.count, 1);
    ck_assert_uint_gt(seen.sent, 2);
    ck_assert_uint_eq(seen.acked, seen.sent);
    port_free(p);
}
END_TEST

START_TEST(a_guest_that_never_acks_costs_no_wake_ups)
{
    struct port *p;
    uint64_t sleeps;

    server_start();
    p = attach_active("kbd0", 1);
    turn_until(loop, p->used == 2);
    p->ack = false;
    type_key("kbd0", 30, 1);
    turn_until(loop, p->used == 3);
    /* the looks double from 20 ms on; far fewer than 20 in 400 ms */
    sleeps = far_loop_stats(loop)->sleeps;
    turn_for(loop, 400000);
    ck_assert_uint_lt(far_loop_stats(loop)->sleeps - sleeps, 10);
    port_free(p);
}
END_TEST

START_TEST(a_probe_gets_its_acks_at_once)
{
    struct far_conf *other =
        conf_of("[device p]\ntype = probe\nwait = acked\n");
    struct far_device *d;
    struct port *p;

    ck_assert_uint_eq(far_devices_load(&devices, other, NULL, no_problem, NULL),
                      0);
    server_start();
    p = attach_active("p", 1);
    turn_until(loop, p->used > 1000);
    d = far_device_find(&devices, "p");
    ck_assert_uint_gt(d->type->round_trips(d)->count, 990);
    port_free(p);
    turn_for(loop, 1000);
    far_conf_free(conf);
    conf = other;
}
END_TEST

START_TEST(after_the_server_was_gone_each_event_arrives_once_and_in_order)
{
    struct port *p;
    unsigned used;

    server_start();
    p = attach_active("kbd0", 1);
    turn_until(loop, p->used == 2);
    type_key("kbd0", 30, 1);
    type_key("kbd0", 30, 0);
    /* in the ring, not looked at yet */
    server_stop();
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_str_eq(port_text(p, 2), "+30 -30");
    ck_assert_ptr_nonnull(strstr(p->reason, "has gone"));
    server_start();
    turn_until(loop, p->state == FAR_DEVICE_READY);
    turn_until(loop, p->used == 6);
    used = p->used;
    type_key("kbd0", 48, 1);
    turn_until(loop, p->used == used + 1);
    ck_assert_str_eq(port_text(p, 2), "+30 -30 begin end +48");
    /* same device, same incarnation: numbers go on */
    for (unsigned i = 1; i < p->used; i++)
        ck_assert_uint_eq(p->sequences[i], p->sequences[i - 1] + 1);
    port_free(p);
}
END_TEST

START_TEST(a_hundred_restarts_of_the_server_keep_every_promise)
{
    struct port *p;
    unsigned last = 0;

    server_start();
    p = attach_active("kbd0", 1);
    for (unsigned round = 0; round < 100; round++) {
        for (uint16_t k = 1; k <= 5; k++) {
            type_key("kbd0", k, 1);
            type_key("kbd0", k, 0);
        }
        if (round % 3)
            far_loop_turn(loop, 0);
        server_stop();
        turn_until(loop, p->state == FAR_DEVICE_GONE);
        server_start();
        turn_until(loop, p->state == FAR_DEVICE_READY);
    }
    for (unsigned i = 0; i < p->used; i++) {
        ck_assert_uint_gt(p->sequences[i], last);
        last = (unsigned)p->sequences[i];
    }
    port_free(p);
}
END_TEST

START_TEST(a_server_process_that_is_killed_is_found_again)
{
    struct port *p;
    uint64_t first;

    for (int round = 0; round < 2; round++) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            struct far_loop *mine = far_loop_new();
            struct far_conf *c = conf_of("[device kbd0]\ntype = replay\n"
                                         "file = /dev/stdin\n");
            int fds[2];

            if (pipe(fds) < 0 || dup2(fds[0], 0) < 0)
                _exit(1);
            if (write(fds[1], "0 press a\n100 release a\n", 24) != 24)
                _exit(1);
            close(fds[1]);
            loop = mine;
            far_devices_init(&devices, mine, NULL);
            far_devices_load(&devices, c, NULL, no_problem, NULL);
            server_start();
            far_loop_run(mine);
            _exit(0);
        }
        if (round == 0) {
            p = attach("kbd0", 1);
            far_layer_activate(p->layer.below, 0, 0);
        }
        turn_until(loop, p->state == FAR_DEVICE_READY &&
                             p->used == 4 * ((unsigned)round + 1));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        turn_until(loop, p->state == FAR_DEVICE_GONE);
        if (round == 0)
            first = p->news.incarnation;
        else
            ck_assert_uint_ne(first, p->news.incarnation);
    }
    ck_assert_str_eq(port_text(p, 0), "begin end +30 -30 begin end +30 -30");
    /* another incarnation: numbers begin anew */
    ck_assert_uint_eq(p->sequences[7], 4);
    port_free(p);
}
END_TEST

START_TEST(a_successor_of_the_client_is_given_what_it_had_not_received)
{
    struct port *p;
    struct far_local_who who = who_of("kbd0", 9);
    struct far_layer *layer;
    uint64_t incarnation, received;

    server_start();
    p = attach_active("kbd0", 9);
    turn_until(loop, p->used == 2);
    incarnation = p->news.incarnation;
    received = p->sequences[1];
    far_local_client_free(client); /* as if killed */
    port_free(p);
    client = far_local_client_new(loop, NULL, path, "atlas");
    ck_assert_int_eq(far_local_client_open(client, &who, &layer, NULL), 0);
    p = port_new(layer);
    far_layer_activate(layer, incarnation, received);
    turn_until(loop, p->state == FAR_DEVICE_READY && p->used == 2);
    ck_assert_uint_eq(p->sequences[0], received + 1);
    ck_assert_uint_eq(detached, 0);
    ck_assert_uint_eq(left, 1);
    port_free(p);
}
END_TEST

START_TEST(two_hundred_attachments_come_and_go)
{
    struct port *ports[200];

    server_start();
    for (unsigned i = 0; i < 200; i++) {
        ports[i] = attach("kbd0", i + 1);
        far_layer_activate(ports[i]->layer.below, 0, 0);
    }
    for (unsigned i = 0; i < 200; i++)
        turn_until(loop, ports[i]->used == 2);
    type_key("kbd0", 30, 1);
    for (unsigned i = 0; i < 200; i++) {
        turn_until(loop, ports[i]->used == 3);
        port_free(ports[i]);
    }
    turn_until(loop, left == 200);
    ck_assert_uint_eq(far_device_find(&devices, "kbd0")->users, 0);
}
END_TEST

START_TEST(a_reload_of_the_device_is_seen_and_outlived)
{
    struct far_conf *without = conf_of("[device kbd1]\ntype = virtual\n");
    struct far_conf *with = conf_of("[device kbd1]\ntype = virtual\n"
                                    "[device kbd0]\ntype = virtual\n");
    struct port *p, *q;
    uint64_t incarnation;

    server_start();
    p = attach_active("kbd0", 1);
    q = attach_active("kbd1", 2);
    incarnation = p->news.incarnation;
    turn_until(loop, p->used == 2 && q->used == 2);
    far_devices_load(&devices, without, NULL, no_problem, NULL);
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_ptr_nonnull(strstr(p->reason, "configuration"));
    far_devices_load(&devices, with, NULL, no_problem, NULL);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    ck_assert_uint_ne(p->news.incarnation, incarnation);
    turn_until(loop, p->used == 4);
    type_key("kbd0", 30, 1);
    type_key("kbd1", 31, 1);
    turn_until(loop, p->used == 5 && q->used == 3);
    ck_assert_uint_eq(q->states, 2); /* GONE until it was ready, no more */
    port_free(p);
    port_free(q);
    far_devices_free(&devices);
    far_conf_free(without);
    far_conf_free(conf);
    conf = with;
    far_devices_init(&devices, loop, NULL);
}
END_TEST

START_TEST(what_is_fed_reaches_the_device_at_the_server)
{
    struct far_input_event events[100];
    struct far_error error = { 0 };
    struct port *p;

    server_start();
    for (unsigned i = 0; i < 100; i++)
        events[i] = key_event(30, i % 2 == 0);
    p = attach_active("kbd0", 1);
    ck_assert_int_eq(far_local_client_feed(client, "kbd0", events, 100, &error),
                     0);
    turn_until(loop, p->used == 102);
    port_free(p);
}
END_TEST

START_TEST(feeding_without_a_server_says_so)
{
    struct far_input_event e = key_event(30, 1);
    struct far_error error = { 0 };

    ck_assert_int_eq(far_local_client_feed(client, "kbd0", &e, 1, &error),
                     -ENOTCONN);
    ck_assert_ptr_nonnull(strstr(error.text, "is farside-netproxy running"));
}
END_TEST

/* ---- a server that sends nonsense ---- */

struct fake {
    int listen_fd, fd;
    struct far_local_prepare prepare;
    struct far_local_shm shm;
    union {
        char raw[FAR_LOCAL_BYTES_MAX];
        struct far_local_hello hello;
        struct far_local_prepare prepare;
        struct far_local_activate activate;
        struct {
            uint32_t type, bytes;
        } head;
    } m;
};

static struct fake fake;

static int listen_at(const char *at)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", at);
    ck_assert_int_eq(bind(fd, (void *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    return fd;
}

static void send_raw(int fd, const void *message, size_t bytes)
{
    ck_assert_int_eq(send(fd, message, bytes, MSG_NOSIGNAL), (ssize_t)bytes);
}

static void say_hello(int fd, uint32_t version)
{
    struct far_local_hello hello = { .type = FAR_LOCAL_HELLO,
                                     .bytes = sizeof(hello),
                                     .magic = FAR_LOCAL_MAGIC,
                                     .version = version };

    send_raw(fd, &hello, sizeof(hello));
}

/* Until the client has sent a message of that type; its descriptors. */
static void fake_wait(uint32_t type, int fds[3])
{
    unsigned nfds = 3;
    int r = 0;

    turn_until(loop, (nfds = 3,
                      r = far_local_receive(fake.fd, fake.m.raw,
                                            sizeof(fake.m.raw), fds, &nfds),
                      r > 0 && fake.m.head.type == type));
}

static void fake_accept(void)
{
    fake.fd = -1;
    turn_until(loop, (fake.fd = accept4(fake.listen_fd, NULL, NULL,
                                        SOCK_NONBLOCK)) >= 0);
}

/* Up to the point where interrupts may flow. */
static void fake_serve(void)
{
    struct far_local_prepared prepared = { .type = FAR_LOCAL_PREPARED,
                                           .bytes = sizeof(prepared),
                                           .turn = 1,
                                           .incarnation = 77 };
    int fds[3];

    fake_accept();
    say_hello(fake.fd, FAR_LOCAL_VERSION);
    fake_wait(FAR_LOCAL_PREPARE, fds);
    fake.prepare = fake.m.prepare;
    ck_assert_int_eq(far_local_shm_open(&fake.shm, fds[0], fds[1], fds[2],
                                        fake.prepare.down_entries,
                                        fake.prepare.up_entries,
                                        fake.prepare.arena_bytes),
                     0);
    prepared.attachment = fake.prepare.who.attachment;
    send_raw(fake.fd, &prepared, sizeof(prepared));
    fake_wait(FAR_LOCAL_ACTIVATE, fds);
}

static void fake_end(void)
{
    far_local_shm_close(&fake.shm);
    close(fake.fd);
}

static void fake_state(uint32_t state, uint32_t turn)
{
    struct far_local_state m = { .type = FAR_LOCAL_STATE,
                                 .bytes = sizeof(m),
                                 .attachment = 1,
                                 .state = state,
                                 .turn = turn,
                                 .reason = "evil \x1b[31m words" };

    send_raw(fake.fd, &m, sizeof(m));
}

static struct far_op fake_op(uint64_t sequence, uint32_t turn)
{
    struct far_op op = { .attachment = 1,
                         .sequence = sequence,
                         .slot = turn,
                         .opcode = FAR_INPUT_EVENT };
    struct far_input_event e = motion_event((int)sequence, 0);

    memcpy(op.args, &e, sizeof(e));
    return op;
}

static void fake_put(struct far_op op)
{
    uint64_t one = 1;

    ck_assert_int_eq(far_shring_put(&fake.shm.up, &op), 0);
    ck_assert_int_eq(write(fake.shm.to_client, &one, 8), 8);
}

static struct port *fake_begin(void)
{
    struct port *p;

    fake.listen_fd = listen_at(path);
    p = attach("kbd0", 1);
    far_layer_activate(p->layer.below, 0, 0);
    fake_serve();
    fake_state(FAR_DEVICE_READY, 2);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    return p;
}

/* It is thrown out, the user hears why, and it may come again. */
static void fake_thrown_out(struct port *p, const char *why)
{
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_msg(strstr(p->reason, why) != NULL, "%s is not in: %s", why,
                  p->reason);
    fake_end();
    fake_serve();
    fake_state(FAR_DEVICE_READY, 2);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    fake_end();
    close(fake.listen_fd);
    port_free(p);
}

START_TEST(a_ring_index_out_of_range_costs_the_server_its_connection)
{
    struct port *p = fake_begin();
    uint64_t one = 1;

    atomic_store(&fake.shm.up.page->produced, 1000000);
    ck_assert_int_eq(write(fake.shm.to_client, &one, 8), 8);
    fake_thrown_out(p, "ring index");
}
END_TEST

START_TEST(an_entry_of_another_attachment_costs_the_server_its_connection)
{
    struct port *p = fake_begin();
    struct far_op op = fake_op(1, 2);

    op.attachment = 2;
    fake_put(op);
    fake_thrown_out(p, "another attachment");
}
END_TEST

START_TEST(an_event_that_can_not_be_costs_the_server_its_connection)
{
    struct port *p = fake_begin();
    struct far_op op = fake_op(1, 2);
    struct far_input_event e = key_event(0xffff, 1);

    memcpy(op.args, &e, sizeof(e));
    fake_put(op);
    fake_thrown_out(p, "no valid input event");
}
END_TEST

START_TEST(an_answer_to_nothing_costs_the_server_its_connection)
{
    struct port *p = fake_begin();
    struct far_op op = fake_op(1, 2);

    op.opcode = FAR_OP_NOP(FAR_CLASS_INPUT);
    fake_put(op);
    fake_thrown_out(p, "not asked");
    ck_assert(true);
}
END_TEST

START_TEST(a_message_that_is_no_message_costs_the_server_its_connection)
{
    struct port *p = fake_begin();
    struct far_local_state m = { .type = FAR_LOCAL_STATE,
                                 .bytes = sizeof(m),
                                 .attachment = 1 };

    memset(m.reason, 'x', sizeof(m.reason)); /* does not end */
    send_raw(fake.fd, &m, sizeof(m));
    fake_thrown_out(p, "nonsense");
}
END_TEST

START_TEST(a_message_for_an_unknown_attachment_or_of_unknown_type_is_skipped)
{
    struct port *p = fake_begin();
    struct far_local_state m = { .type = FAR_LOCAL_STATE,
                                 .bytes = sizeof(m),
                                 .attachment = 99 };

    send_raw(fake.fd, &m, sizeof(m));
    m.type = 1234;
    send_raw(fake.fd, &m, sizeof(m));
    fake_put(fake_op(1, 2));
    turn_until(loop, p->used == 1);
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    fake_end();
    close(fake.listen_fd);
    port_free(p);
}
END_TEST

START_TEST(an_interrupt_waits_for_the_message_before_it_and_repeats_are_dropped)
{
    struct far_local_prepared prepared = { .type = FAR_LOCAL_PREPARED,
                                           .bytes = sizeof(prepared),
                                           .attachment = 1,
                                           .turn = 3,
                                           .incarnation = 78 };
    struct port *p = fake_begin();

    fake_put(fake_op(1, 2));
    fake_put(fake_op(2, 2));
    fake_put(fake_op(2, 2));
    turn_until(loop, p->used == 2);
    fake_put(fake_op(1, 3)); /* of the next incarnation, told by turn 3 */
    turn_for(loop, 10000);
    ck_assert_uint_eq(p->used, 2);
    send_raw(fake.fd, &prepared, sizeof(prepared));
    turn_until(loop, p->used == 3);
    ck_assert_uint_eq(p->sequences[2], 1);
    fake_state(FAR_DEVICE_GONE, 4);
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_str_eq(p->reason, "evil \\x1b[31m words");
    fake_end();
    close(fake.listen_fd);
    port_free(p);
}
END_TEST

START_TEST(a_server_of_another_version_is_named)
{
    struct port *p;

    fake.listen_fd = listen_at(path);
    p = attach("kbd0", 1);
    far_layer_activate(p->layer.below, 0, 0);
    fake_accept();
    say_hello(fake.fd, 9);
    turn_until(loop, strstr(p->reason, "version 9"));
    close(fake.fd);
    close(fake.listen_fd);
    port_free(p);
}
END_TEST

START_TEST(a_server_that_is_silent_is_given_up)
{
    struct port *p;

    fake.listen_fd = listen_at(path);
    p = attach("kbd0", 1);
    far_layer_activate(p->layer.below, 0, 0);
    fake_accept();
    turn_until(loop, strstr(p->reason, "does not answer"));
    close(fake.fd);
    close(fake.listen_fd);
    port_free(p);
}
END_TEST

START_TEST(an_op_that_was_under_way_is_sent_again_and_completed_once)
{
    struct far_local_activated activated = { .type = FAR_LOCAL_ACTIVATED,
                                             .bytes = sizeof(activated),
                                             .attachment = 1,
                                             .turn = 3 };
    struct port *p = fake_begin();
    struct far_op op = { .attachment = 1,
                         .slot = 4,
                         .sequence = 9,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) },
                  got;

    send_raw(fake.fd, &activated, sizeof(activated));
    turn_for(loop, 5000);
    ck_assert_int_eq(far_layer_submit(p->layer.below, &op, NULL), FAR_LATER);
    turn_for(loop, 2000);
    ck_assert_int_eq(far_shring_get(&fake.shm.down, &got), 1);
    ck_assert_uint_eq(got.slot, 4);
    fake_end(); /* it dies before it answers */
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    fake_serve();
    send_raw(fake.fd, &activated, sizeof(activated));
    turn_until(loop, far_shring_get(&fake.shm.down, &got) == 1);
    ck_assert_uint_eq(got.sequence, 9);
    fake_put(got);
    turn_until(loop, p->completed == 1);
    ck_assert_uint_eq(p->last_complete.slot, 4);
    fake_end();
    close(fake.listen_fd);
    port_free(p);
}
END_TEST

static unsigned refilled;

/* A server that fills the ring as fast as it is emptied. */
static bool refill(struct far_layer *layer, const struct far_op *op)
{
    struct far_op next = fake_op(op->sequence + 64, 2);

    (void)layer;
    if (refilled++ < 100000)
        far_shring_put(&fake.shm.up, &next);
    return true;
}

START_TEST(a_server_that_fills_the_ring_for_ever_does_not_keep_us)
{
    static const struct far_layer_ops ops = { .name = "refills",
                                              .interrupt = refill,
                                              .state = port_state };
    struct port *p = fake_begin();

    p->layer.ops = &ops;
    refilled = 0;
    for (uint64_t i = 1; i <= 64; i++) {
        struct far_op op = fake_op(i, 2);

        ck_assert_int_eq(far_shring_put(&fake.shm.up, &op), 0);
    }
    fake_state(FAR_DEVICE_READY, 2);
    far_loop_turn(loop, 0);
    ck_assert_uint_gt(refilled, 0);
    ck_assert_uint_lt(refilled, 2000);
    fake_end();
    close(fake.listen_fd);
    port_free(p);
}
END_TEST

/* ---- a client that sends nonsense ---- */

static int raw_connect(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    ck_assert_int_eq(connect(fd, (void *)&address, sizeof(address)), 0);
    turn_for(loop, 1000);
    return fd;
}

static struct far_local_prepare prepare_of(uint64_t id)
{
    struct far_local_prepare m = { .type = FAR_LOCAL_PREPARE,
                                   .bytes = sizeof(m),
                                   .who = who_of("kbd0", id),
                                   .down_entries = 64,
                                   .up_entries = 64 };
    return m;
}

/* Reads until the server hangs up. */
static void thrown_out(int fd)
{
    char raw[FAR_LOCAL_BYTES_MAX];
    ssize_t n = 0;

    turn_until(loop, (n = recv(fd, raw, sizeof(raw), 0)) == 0 ||
                         (n < 0 && errno == ECONNRESET));
    close(fd);
    ck_assert_uint_eq(far_local_server_clients(server), 1); /* the good one */
}

/* A good client beside the bad one: it must not notice. */
static struct port *good_begin(void)
{
    struct port *p;

    server_start();
    p = attach_active("kbd1", 1000);
    turn_until(loop, p->used == 2);
    return p;
}

static void good_end(struct port *p)
{
    unsigned used = p->used;

    type_key("kbd1", 30, 1);
    turn_until(loop, p->used == used + 1);
    ck_assert_uint_eq(p->states, 2);
    port_free(p);
}

static void send_prepare(int fd, const struct far_local_prepare *m, int memfd,
                         unsigned nfds)
{
    int fds[3] = { memfd, eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) };

    ck_assert_int_eq(far_local_send(fd, m, fds, nfds), 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

START_TEST(a_client_that_says_no_hello_is_thrown_out)
{
    struct port *p = good_begin();
    struct far_local_prepare m = prepare_of(1);
    int fd = raw_connect();

    send_prepare(fd, &m, memfd_create("x", MFD_ALLOW_SEALING), 3);
    thrown_out(fd);
    good_end(p);
}
END_TEST

START_TEST(a_client_whose_memory_is_not_sealed_or_too_short_is_thrown_out)
{
    struct port *p = good_begin();
    struct far_local_prepare m = prepare_of(1);

    for (int i = 0; i < 3; i++) {
        int fd = raw_connect(), memfd = memfd_create("x", MFD_ALLOW_SEALING);

        ck_assert_int_eq(ftruncate(memfd, i == 1 ? 4096 : 65536), 0);
        if (i == 1)
            ck_assert_int_eq(fcntl(memfd, F_ADD_SEALS,
                                   F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                             0);
        if (i == 2) {
            close(memfd);
            memfd = open("/dev/zero", O_RDWR);
        }
        say_hello(fd, FAR_LOCAL_VERSION);
        send_prepare(fd, &m, memfd, 3);
        thrown_out(fd);
    }
    good_end(p);
}
END_TEST

START_TEST(a_client_with_rings_that_can_not_be_is_thrown_out)
{
    static const uint32_t sizes[][2] = { { 0, 64 },          { 64, 63 },
                                         { 1u << 31, 64 },   { 64, 4096 },
                                         { 64, UINT32_MAX }, { 2048, 64 } };
    struct port *p = good_begin();

    for (unsigned i = 0; i < 6; i++) {
        struct far_local_prepare m = prepare_of(1);
        int fd = raw_connect(), memfd = memfd_create("x", MFD_ALLOW_SEALING);

        /* nothing else is wrong with it */
        ck_assert_int_eq(ftruncate(memfd, 1 << 20), 0);
        ck_assert_int_eq(fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW),
                         0);
        m.down_entries = sizes[i][0];
        m.up_entries = sizes[i][1];
        say_hello(fd, FAR_LOCAL_VERSION);
        send_prepare(fd, &m, memfd, 3);
        thrown_out(fd);
    }
    good_end(p);
}
END_TEST

START_TEST(a_client_with_too_few_descriptors_or_a_bad_name_is_thrown_out)
{
    struct port *p = good_begin();
    struct far_local_prepare m = prepare_of(1);
    int fd = raw_connect();

    say_hello(fd, FAR_LOCAL_VERSION);
    send_prepare(fd, &m, memfd_create("x", MFD_ALLOW_SEALING), 1);
    thrown_out(fd);
    fd = raw_connect();
    say_hello(fd, FAR_LOCAL_VERSION);
    memset(m.who.device, 'x', sizeof(m.who.device));
    send_prepare(fd, &m, memfd_create("x", MFD_ALLOW_SEALING), 3);
    thrown_out(fd);
    good_end(p);
}
END_TEST

/* A client that is right up to its rings. */
static int ring_client(struct far_local_shm *shm)
{
    struct far_local_prepare m = prepare_of(1);
    struct far_local_activate activate = { .type = FAR_LOCAL_ACTIVATE,
                                           .bytes = sizeof(activate),
                                           .attachment = 1 };
    int fd = raw_connect(), fds[3];

    say_hello(fd, FAR_LOCAL_VERSION);
    ck_assert_int_eq(far_local_shm_create(shm, 64, 64, 0), 0);
    fds[0] = shm->memfd;
    fds[1] = shm->to_server_read;
    fds[2] = shm->to_client;
    ck_assert_int_eq(far_local_send(fd, &m, fds, 3), 0);
    send_raw(fd, &activate, sizeof(activate));
    turn_for(loop, 2000);
    return fd;
}

START_TEST(a_client_with_a_bad_ring_index_is_thrown_out)
{
    struct port *p = good_begin();
    struct far_local_shm shm;
    uint64_t one = 1;
    int fd = ring_client(&shm);

    atomic_store(&shm.down.page->produced, 5000);
    ck_assert_int_eq(write(shm.to_server, &one, 8), 8);
    thrown_out(fd);
    far_local_shm_close(&shm);
    fd = ring_client(&shm);
    atomic_store(&shm.up.page->consumed, 77);
    for (int i = 0; i < 70; i++)
        type_key("kbd0", (uint16_t)(1 + i), 1);
    thrown_out(fd);
    far_local_shm_close(&shm);
    good_end(p);
}
END_TEST

START_TEST(a_client_with_ops_that_can_not_be_is_thrown_out)
{
    struct port *p = good_begin();

    for (int i = 0; i < 4; i++) {
        struct far_op op = { .attachment = 1,
                             .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
        struct far_local_shm shm;
        uint64_t one = 1;
        int fd = ring_client(&shm);

        if (i == 0)
            op.attachment = 1000;
        else if (i == 1)
            op.opcode = FAR_INPUT_EVENT;
        else if (i == 2)
            op.opcode = FAR_OP_NOP(FAR_CLASS_BLOCK);
        else
            op.payload_bytes = 1;
        ck_assert_int_eq(far_shring_put(&shm.down, &op), 0);
        ck_assert_int_eq(write(shm.to_server, &one, 8), 8);
        thrown_out(fd);
        far_local_shm_close(&shm);
    }
    good_end(p);
}
END_TEST

START_TEST(ops_are_answered_also_when_nobody_reads_the_answers)
{
    struct port *p = good_begin();
    struct far_local_shm shm;
    struct far_op op = { .attachment = 1,
                         .opcode = FAR_OPCODE(FAR_CLASS_INPUT, 9) };
    uint64_t one = 1;
    unsigned put = 0, got = 0;
    int fd = ring_client(&shm);

    for (int i = 0; i < 10; i++) {
        while (far_shring_put(&shm.down, &op) == 0)
            put++, op.sequence++, op.slot = put % 64;
        ck_assert_int_eq(write(shm.to_server, &one, 8), 8);
        turn_for(loop, 1000);
    }
    ck_assert_uint_le(put, 4 * 64); /* back-pressure, not memory */
    while (got < put) {
        int r = far_shring_get(&shm.up, &op);

        ck_assert_int_ge(r, 0);
        if (r == 0) {
            ck_assert_int_eq(write(shm.to_server, &one, 8), 8);
            turn_for(loop, 500);
        } else if (!FAR_OPCODE_IS_INTERRUPT(op.opcode)) {
            ck_assert_int_eq(op.status, -EOPNOTSUPP);
            ck_assert_uint_eq(op.sequence, got);
            got++;
        }
    }
    close(fd);
    far_local_shm_close(&shm);
    good_end(p);
}
END_TEST

/* A device that answers later. */
struct later {
    struct far_layer layer;
    unsigned submitted;
    struct far_op ops[128];
};
static struct later later;

static enum far_verdict later_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    (void)payload;
    (void)layer;
    ck_assert_uint_lt(later.submitted, 128);
    later.ops[later.submitted++] = *op;
    return FAR_LATER;
}

static void later_close(struct far_layer *layer)
{
    (void)layer;
}

START_TEST(ops_beyond_what_may_be_under_way_are_taken_when_there_is_place)
{
    static const struct far_layer_ops ops = { .name = "later",
                                              .submit = later_submit,
                                              .close = later_close };
    struct port *p = good_begin();
    struct far_local_shm shm;
    int fd;

    memset(&later, 0, sizeof(later));
    later.layer.ops = &ops;
    instead = &later.layer;
    fd = ring_client(&shm);
    instead = NULL;
    for (uint64_t i = 0; i < 128; i++) {
        struct far_op op = { .attachment = 1,
                             .sequence = i,
                             .slot = i % 64,
                             .opcode = FAR_OPCODE(FAR_CLASS_INPUT, 9) };

        if (i == 64) {
            far_local_wake_server(&shm);
            turn_until(loop, later.submitted == 64);
        }
        ck_assert_int_eq(far_shring_put(&shm.down, &op), 0);
    }
    far_local_wake_server(&shm);
    turn_for(loop, 2000); /* it can do nothing, and sleeps */
    ck_assert_uint_eq(later.submitted, 64);
    for (unsigned i = 0; i < 64; i++)
        far_layer_complete(later.layer.above, &later.ops[i]);
    turn_until(loop, later.submitted == 128);
    close(fd);
    far_local_shm_close(&shm);
    good_end(p);
}
END_TEST

START_TEST(an_ack_of_what_was_never_sent_is_ignored)
{
    struct port *p = good_begin();
    struct far_local_shm shm;
    struct seen seen = { 0 };
    int fd = ring_client(&shm);

    atomic_store(&shm.header->acked, UINT64_MAX);
    type_key("kbd0", 30, 1);
    turn_for(loop, 50000);
    far_local_server_each(server, see, &seen);
    ck_assert_uint_eq(seen.count, 2);
    close(fd);
    far_local_shm_close(&shm);
    good_end(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("local");
    TCase *c = tcase_create("both"), *s = tcase_create("bad server"),
          *k = tcase_create("bad client");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, keys_arrive_with_their_numbers_and_the_statement_first);
    tcase_add_test(c, two_attachments_do_not_see_each_other);
    tcase_add_test(c, a_server_that_comes_late_is_found);
    tcase_add_test(c, a_refusal_says_why_and_ends_by_itself);
    tcase_add_test(
        c, a_port_without_room_holds_the_device_back_and_nothing_is_lost);
    tcase_add_test(c, acks_reach_the_server_without_a_wake_up_of_their_own);
    tcase_add_test(c, a_guest_that_never_acks_costs_no_wake_ups);
    tcase_add_test(c, a_probe_gets_its_acks_at_once);
    tcase_add_test(
        c, after_the_server_was_gone_each_event_arrives_once_and_in_order);
    tcase_add_test(c, a_hundred_restarts_of_the_server_keep_every_promise);
    tcase_add_test(c, a_server_process_that_is_killed_is_found_again);
    tcase_add_test(c,
                   a_successor_of_the_client_is_given_what_it_had_not_received);
    tcase_add_test(c, two_hundred_attachments_come_and_go);
    tcase_add_test(c, a_reload_of_the_device_is_seen_and_outlived);
    tcase_add_test(c, what_is_fed_reaches_the_device_at_the_server);
    tcase_add_test(c, feeding_without_a_server_says_so);
    suite_add_tcase(suite, c);

    tcase_add_checked_fixture(s, setup, teardown);
    tcase_set_timeout(s, 60);
    tcase_add_test(s,
                   a_ring_index_out_of_range_costs_the_server_its_connection);
    tcase_add_test(
        s, an_entry_of_another_attachment_costs_the_server_its_connection);
    tcase_add_test(s, an_event_that_can_not_be_costs_the_server_its_connection);
    tcase_add_test(s, an_answer_to_nothing_costs_the_server_its_connection);
    tcase_add_test(
        s, a_message_that_is_no_message_costs_the_server_its_connection);
    tcase_add_test(
        s, a_message_for_an_unknown_attachment_or_of_unknown_type_is_skipped);
    tcase_add_test(
        s,
        an_interrupt_waits_for_the_message_before_it_and_repeats_are_dropped);
    tcase_add_test(s, a_server_of_another_version_is_named);
    tcase_add_test(s, a_server_that_is_silent_is_given_up);
    tcase_add_test(s,
                   an_op_that_was_under_way_is_sent_again_and_completed_once);
    tcase_add_test(k, a_server_that_fills_the_ring_for_ever_does_not_keep_us);
    suite_add_tcase(suite, s);

    tcase_add_checked_fixture(k, setup, teardown);
    tcase_set_timeout(k, 60);
    tcase_add_test(k, a_client_that_says_no_hello_is_thrown_out);
    tcase_add_test(
        k, a_client_whose_memory_is_not_sealed_or_too_short_is_thrown_out);
    tcase_add_test(k, a_client_with_rings_that_can_not_be_is_thrown_out);
    tcase_add_test(
        k, a_client_with_too_few_descriptors_or_a_bad_name_is_thrown_out);
    tcase_add_test(k, a_client_with_a_bad_ring_index_is_thrown_out);
    tcase_add_test(k, a_client_with_ops_that_can_not_be_is_thrown_out);
    tcase_add_test(k, ops_are_answered_also_when_nobody_reads_the_answers);
    tcase_add_test(
        k, ops_beyond_what_may_be_under_way_are_taken_when_there_is_place);
    tcase_add_test(k, an_ack_of_what_was_never_sent_is_ignored);
    suite_add_tcase(suite, k);
    return suite_end(suite);
}
