/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts to guests that attached nothing: a real sending netproxy, a real
 * one that takes them, and a backend that this test plays through the local
 * client; then a hand-made server and a hand-made backend that do what they
 * should not. What a real backend does with them is tested in tests/backend.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/input.h"
#include "core/log.h"
#include "netproxy/conn.h"
#include "netproxy/notify.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

static struct rig rig;
static struct proxy atlas, borealis;
static uint16_t port;

/* The backend that the test plays. */
#define TAKEN_MAX 1024
static struct {
    struct far_local_client *client;
    struct far_local_notify taken[TAKEN_MAX];
    unsigned count, connected;
    bool silent; /* it answers nothing */
    int status;  /* of its answers */
} backend;

static void on_notify(void *arg, const struct far_local_notify *m)
{
    (void)arg;
    ck_assert_uint_lt(backend.count, TAKEN_MAX);
    backend.taken[backend.count++] = *m;
    if (!backend.silent)
        far_local_client_notified(backend.client, m->id, backend.status,
                                  "no such guest here");
}

static void on_connected(void *arg)
{
    (void)arg;
    backend.connected++;
}

static void backend_starts(void)
{
    struct far_local_client_notices notices = { .notify = on_notify,
                                                .connected = on_connected };
    char path[128];

    snprintf(path, sizeof(path), "%s/atlas/devices.sock", rig.dir);
    backend.client = far_local_client_new(rig.loop, NULL, path, "atlas");
    ck_assert_ptr_nonnull(backend.client);
    far_local_client_take_notices(backend.client, &notices);
}

static void backend_ends(void)
{
    far_local_client_free(backend.client);
    backend.client = NULL;
}

static void setup(void)
{
    memset(&backend, 0, sizeof(backend));
    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n"
              "may-interrupt = atlas/g2 cygnus/g9\n"
              "may-interrupt = borealis/own\n"
              "[device kbd1]\ntype = virtual\n[export kbd1]\nallow = atlas\n",
              port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "may-interrupt = g2\n",
              port, rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
    proxy_wait_text(&borealis, "links.0.state", "up");
}

static void teardown(void)
{
    if (backend.client)
        backend_ends();
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}

/* The sequence; 0: it was refused. */
static long long send_to(const char *device, const char *to, unsigned code)
{
    char request[256];
    json_t *answer;
    long long sequence;

    snprintf(request, sizeof(request),
             "{\"request\":\"send\",\"device\":\"%s\",\"to\":\"%s\","
             "\"events\":[{\"type\":\"key\",\"code\":%u,\"value\":1}]}",
             device, to, code);
    answer = proxy_ask(&borealis, request);
    sequence = json_integer_value(json_object_get(answer, "sequence"));
    json_decref(answer);
    return sequence;
}

static bool has_count(void *arg)
{
    return backend.count >= *(unsigned *)arg;
}

static void wait_taken(unsigned count)
{
    ck_assert_msg(rig_until(&rig, has_count, &count, 10000),
                  "only %u of %u came", backend.count, count);
}

static bool nothing_waits(void *arg)
{
    (void)arg;
    return !proxy_number(&borealis, "notices.sent.0.waiting");
}

static void wait_answered(void)
{
    ck_assert(rig_until(&rig, nothing_waits, NULL, 10000));
}

START_TEST(an_interrupt_reaches_the_backend_of_a_guest_that_attached_nothing)
{
    struct far_input_event e;

    backend_starts();
    ck_assert_int_eq(send_to("kbd0", "atlas/g2", 30), 1);
    wait_taken(1);
    memcpy(&e, backend.taken[0].op.args, sizeof(e));
    ck_assert_str_eq(backend.taken[0].platform, "borealis");
    ck_assert_str_eq(backend.taken[0].device, "kbd0");
    ck_assert_str_eq(backend.taken[0].guest_name, "g2");
    ck_assert_uint_eq(backend.taken[0].sequence, 1);
    ck_assert_uint_eq(e.code, 30);
    ck_assert_uint_le(e.time_us, far_now_us());
    ck_assert_uint_gt(e.time_us + 5000000, far_now_us());
    wait_answered();
    ck_assert_int_eq(proxy_number(&borealis, "notices.sent.0.done"), 1);
    ck_assert_int_eq(proxy_number(&atlas, "notices.taken"), 0);
}
END_TEST

START_TEST(what_the_export_does_not_allow_never_leaves)
{
    backend_starts();
    ck_assert_int_eq(send_to("kbd0", "atlas/g1", 30), 0);
    ck_assert_int_eq(send_to("kbd1", "atlas/g2", 30), 0);
    ck_assert_int_eq(send_to("none", "atlas/g2", 30), 0);
    ck_assert_int_eq(send_to("kbd0", "g2", 30), 0);
    ck_assert_int_eq(send_to("kbd0", "atlas/g2", 31), 1);
    wait_taken(1);
    rig_turn(&rig, 100);
    ck_assert_uint_eq(backend.count, 1);
}
END_TEST

START_TEST(a_refusal_comes_back_with_its_reason)
{
    backend.status = -ESRCH;
    backend_starts();
    ck_assert_int_eq(send_to("kbd0", "atlas/g2", 30), 1);
    wait_taken(1);
    wait_answered();
    ck_assert_int_eq(proxy_number(&borealis, "notices.sent.0.refused"), 1);
    ck_assert_str_eq(proxy_text(&borealis, "notices.sent.0.reason"),
                     "no such guest here");
}
END_TEST

START_TEST(while_the_backend_is_away_nothing_is_answered_and_it_gets_all_later)
{
    for (unsigned i = 1; i <= 40; i++)
        ck_assert_int_eq(send_to("kbd0", "atlas/g2", i), i);
    rig_turn(&rig, 200);
    ck_assert_int_eq(proxy_number(&borealis, "notices.sent.0.waiting"), 40);
    backend_starts();
    wait_taken(40);
    for (unsigned i = 0; i < 40; i++)
        ck_assert_uint_eq(backend.taken[i].sequence, i + 1);
    wait_answered();
}
END_TEST

START_TEST(one_that_was_not_answered_comes_again_to_a_new_backend)
{
    backend.silent = true;
    backend_starts();
    send_to("kbd0", "atlas/g2", 30);
    send_to("kbd0", "atlas/g2", 31);
    wait_taken(2);
    backend_ends();
    rig_turn(&rig, 100);
    backend.silent = false;
    backend_starts();
    wait_taken(4);
    ck_assert_mem_eq(backend.taken[2].instance, backend.taken[0].instance, 16);
    ck_assert_uint_eq(backend.taken[2].sequence, 1);
    ck_assert_uint_eq(backend.taken[3].sequence, 2);
    wait_answered();
    rig_turn(&rig, 100);
    ck_assert_uint_eq(backend.count, 4);
}
END_TEST

START_TEST(one_that_was_not_answered_comes_again_after_the_taker_was_killed)
{
    backend.silent = true;
    backend_starts();
    send_to("kbd0", "atlas/g2", 30);
    wait_taken(1);
    proxy_kill(&atlas, SIGKILL);
    backend.silent = false;
    proxy_start(&atlas, &rig, "atlas");
    wait_taken(2);
    ck_assert_mem_eq(backend.taken[1].instance, backend.taken[0].instance, 16);
    ck_assert_uint_eq(backend.taken[1].sequence, 1);
    wait_answered();
    ck_assert_int_ge(proxy_number(&borealis, "notices.sent.0.repeats"), 1);
}
END_TEST

START_TEST(a_sender_that_is_killed_and_comes_back_numbers_anew)
{
    backend_starts();
    send_to("kbd0", "atlas/g2", 30);
    wait_taken(1);
    proxy_kill(&borealis, SIGKILL);
    proxy_start(&borealis, &rig, "borealis");
    send_to("kbd0", "atlas/g2", 31);
    wait_taken(2);
    ck_assert_uint_eq(backend.taken[1].sequence, 1);
    ck_assert_int_ne(
        memcmp(backend.taken[1].instance, backend.taken[0].instance, 16), 0);
}
END_TEST

START_TEST(what_is_kept_for_a_platform_that_is_away_is_bounded)
{
    for (unsigned i = 1; i <= FAR_NOTICES_KEPT_MAX; i++)
        ck_assert_int_eq(send_to("kbd0", "cygnus/g9", 1 + i % 100), i);
    ck_assert_int_eq(send_to("kbd0", "cygnus/g9", 1), 0);
    backend_starts(); /* nobody else waits for that */
    ck_assert_int_eq(send_to("kbd0", "atlas/g2", 30), 1);
    wait_taken(1);
}
END_TEST

START_TEST(a_guest_of_the_sender_s_own_platform_is_reached_too)
{
    struct far_local_client_notices notices = { .notify = on_notify,
                                                .connected = on_connected };
    char path[128];

    snprintf(path, sizeof(path), "%s/borealis/devices.sock", rig.dir);
    backend.client = far_local_client_new(rig.loop, NULL, path, "borealis");
    far_local_client_take_notices(backend.client, &notices);
    for (unsigned i = 1; i <= 100; i++) {
        ck_assert_int_eq(send_to("kbd0", "borealis/own", i), i);
        wait_taken(i);
    }
    wait_answered();
    ck_assert_int_eq(proxy_number(&borealis, "notices.sent.0.done"), 100);
}
END_TEST

/* A hand-made server, in this process: with the honest code below. */
static struct {
    struct far_conn *conn;
    struct far_traffic traffic;
    unsigned up, full, answers;
    uint64_t last;
    char why[FAR_WIRE_TEXT_BYTES];
} forger;

static int forger_up(struct far_conn *conn, struct far_error *error)
{
    (void)conn;
    (void)error;
    forger.up++;
    return 0;
}

static int forger_frame(struct far_conn *conn, const struct far_wire_frame *f,
                        struct far_error *error)
{
    (void)conn;
    (void)error;
    if (f->header.type == FAR_WIRE_NOTIFIED) {
        forger.answers++;
        forger.full += f->notified.status == -ENOBUFS;
        forger.last = f->notified.sequence;
    }
    return 0;
}

static void forger_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    snprintf(forger.why, sizeof(forger.why), "%s", reason);
    far_conn_free(conn, NULL);
    forger.conn = NULL;
}

static const struct far_conn_ops forger_ops = {
    .up = forger_up,
    .frame = forger_frame,
    .down = forger_down,
};

static bool forger_is_up(void *arg)
{
    (void)arg;
    return forger.up > 0;
}

static void forge(uint64_t sequence)
{
    struct far_wire_header header = { .type = FAR_WIRE_NOTIFY };
    struct far_input_event e = { .type = FAR_INPUT_KEY, .code = 30 };
    struct far_wire_notify n = { .sequence = sequence,
                                 .guest_name = "g2",
                                 .device = "kbd0",
                                 .op = { .opcode = FAR_INPUT_EVENT } };

    memcpy(n.op.args, &e, sizeof(e));
    far_conn_send(forger.conn, &header, &n, sizeof(n), NULL);
}

static bool forger_answered(void *arg)
{
    return forger.answers >= *(unsigned *)arg;
}

START_TEST(a_server_that_floods_is_refused_beyond_its_window_and_no_more)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct far_wire_hello me = { .magic = FAR_WIRE_MAGIC,
                                 .frame_max = FAR_CONN_FRAME_MAX,
                                 .lanes = 1,
                                 .handles_max = 16,
                                 .platform = "borealis" };
    struct far_keys keys = { 0 };
    struct far_error error;
    unsigned want = 200 - FAR_NOTICES_TAKEN_MAX;
    char path[128];
    int fd, one = 1, socket_fd;

    memset(&forger, 0, sizeof(forger));
    proxy_kill(&borealis, SIGTERM);
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&keys, path, &error), 0);
    socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ck_assert_int_eq(bind(socket_fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(socket_fd, 8), 0);
    fd = accept4(socket_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    forger.conn = far_conn_accept(rig.loop, &forger_ops, NULL, &forger.traffic,
                                  &me, &keys, NULL, fd, &error);
    ck_assert_ptr_nonnull(forger.conn);
    ck_assert(rig_until(&rig, forger_is_up, NULL, 5000));
    for (unsigned i = 1; i <= 200; i++) {
        forge(i);
        forge(i); /* a repeat that nobody needs */
        rig_turn(&rig, 1);
    }
    want *= 2;
    ck_assert(rig_until(&rig, forger_answered, &want, 5000));
    rig_turn(&rig, 100);
    ck_assert_uint_eq(forger.answers, want);
    ck_assert_uint_eq(forger.full, want);
    ck_assert_int_eq(proxy_number(&atlas, "notices.taken"),
                     FAR_NOTICES_TAKEN_MAX);
    ck_assert_ptr_nonnull(forger.conn);
    far_conn_free(forger.conn, "enough");
    close(socket_fd);
    far_keys_free(&keys);
    rig_turn(&rig, 100);
    ck_assert_int_eq(proxy_number(&atlas, "notices.taken"), 0);
    proxy_start(&borealis, &rig, "borealis");
    backend_starts();
    for (unsigned i = 0;
         i < 500 && strcmp(proxy_text(&borealis, "links.0.state"), "up"); i++)
        rig_turn(&rig, 10);
    send_to("kbd0", "atlas/g2", 30);
    wait_taken(1);
}
END_TEST

/* A hand-made client of two lanes, which answers nothing. */
static struct taker {
    struct far_conn *conn;
    bool up;
    unsigned got;
} takers[2];

static int taker_up(struct far_conn *conn, struct far_error *error)
{
    (void)error;
    ((struct taker *)conn->owner)->up = true;
    return 0;
}

static int taker_frame(struct far_conn *conn, const struct far_wire_frame *f,
                       struct far_error *error)
{
    (void)error;
    ((struct taker *)conn->owner)->got += f->header.type == FAR_WIRE_NOTIFY;
    return 0;
}

static void taker_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    (void)reason;
    ((struct taker *)conn->owner)->conn = NULL;
    far_conn_free(conn, NULL);
}

static const struct far_conn_ops taker_ops = {
    .up = taker_up,
    .frame = taker_frame,
    .down = taker_down,
};

static bool taker_is_up(void *arg)
{
    return ((struct taker *)arg)->up;
}

static bool taker_has(void *arg)
{
    return ((struct taker *)arg)->got > 0;
}

START_TEST(when_another_lane_takes_over_what_was_not_answered_goes_out_there)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct far_wire_hello me = { .magic = FAR_WIRE_MAGIC,
                                 .frame_max = FAR_CONN_FRAME_MAX,
                                 .lanes = FAR_WIRE_LANES,
                                 .handles_max = 16,
                                 .link = { 7 },
                                 .platform = "atlas" };
    struct far_keys keys = { 0 };
    struct far_traffic traffic = { 0 };
    struct far_error error;
    char path[128];

    memset(takers, 0, sizeof(takers));
    proxy_kill(&atlas, SIGTERM);
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&keys, path, &error), 0);
    for (unsigned i = 0; i < 2; i++) {
        me.lane = i ? FAR_WIRE_LANE_BULK : FAR_WIRE_LANE_CONTROL;
        takers[i].conn = far_conn_connect(
            rig.loop, &taker_ops, &takers[i], &traffic, &me, "borealis",
            &keys.keys[0], NULL, (struct sockaddr *)&in, sizeof(in), &error);
        ck_assert_ptr_nonnull(takers[i].conn);
        ck_assert(rig_until(&rig, taker_is_up, &takers[i], 5000));
    }
    rig_turn(&rig, 100);
    send_to("kbd0", "atlas/g2", 30);
    ck_assert(rig_until(&rig, taker_has, &takers[0], 5000));
    ck_assert_uint_eq(takers[1].got, 0);
    far_conn_free(takers[0].conn, NULL);
    ck_assert(rig_until(&rig, taker_has, &takers[1], 5000));
    far_conn_free(takers[1].conn, NULL);
    far_keys_free(&keys);
    proxy_start(&atlas, &rig, "atlas");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_interrupt_reaches_the_backend_of_a_guest_that_attached_nothing,
        what_the_export_does_not_allow_never_leaves,
        when_another_lane_takes_over_what_was_not_answered_goes_out_there,
        a_refusal_comes_back_with_its_reason,
        while_the_backend_is_away_nothing_is_answered_and_it_gets_all_later,
        one_that_was_not_answered_comes_again_to_a_new_backend,
        one_that_was_not_answered_comes_again_after_the_taker_was_killed,
        a_sender_that_is_killed_and_comes_back_numbers_anew,
        what_is_kept_for_a_platform_that_is_away_is_bounded,
        a_guest_of_the_sender_s_own_platform_is_reached_too,
        a_server_that_floods_is_refused_beyond_its_window_and_no_more,
    };
    Suite *suite = suite_create("netproxy: interrupts to any guest");
    TCase *c = tcase_create("notify");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(c, tests[i]);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
