/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts to guests that attached nothing, over a relay: three real
 * netproxies in a row (cygnus sends, borealis passes on, atlas has the guest),
 * and a backend of atlas that this test plays. Who may, on each of them; once
 * and in order, whoever is killed; then a hand-made sender that lies to the
 * relay.
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
#include "netproxy/conn.h"
#include "netproxy/notify.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define KEY(n) n ":00112233445566778899aabbccddeeff\n"

static struct rig rig;
static struct proxy atlas, borealis, cygnus;
static uint16_t ports[2]; /* of borealis, cygnus */

/* The backend that the test plays: it has a mark, as a real one has. */
#define TAKEN_MAX 1024
static struct {
    struct far_local_client *client;
    struct far_local_notify taken[TAKEN_MAX];
    unsigned count;    /* that came */
    unsigned happened; /* of these: not had before */
    uint8_t instance[16];
    uint64_t mark;
    bool silent;
} backend;

static void on_notify(void *arg, const struct far_local_notify *m)
{
    struct far_input_event e;

    (void)arg;
    ck_assert_uint_lt(backend.count, TAKEN_MAX);
    backend.taken[backend.count++] = *m;
    if (backend.silent)
        return;
    if (memcmp(backend.instance, m->instance, 16)) {
        memcpy(backend.instance, m->instance, 16);
        backend.mark = 0;
    }
    if (m->sequence > backend.mark) {
        ck_assert_uint_eq(m->sequence, backend.mark + 1);
        backend.mark = m->sequence;
        memcpy(&e, m->op.args, sizeof(e));
        ck_assert_uint_eq(e.code, 1 + backend.happened++ % 100);
    }
    far_local_client_notified(backend.client, m->id, 0, NULL);
}

static void on_connected(void *arg)
{
    (void)arg;
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

#define CARRY_TO_ATLAS   "[relay borealis]\nmay-carry = atlas\n"
#define CARRY_OF_CYGNUS  "[relay borealis]\nmay-carry = cygnus\n"
#define PASS             "may-interrupt = atlas/g2\n"
#define MAY_INTERRUPT_G2 "may-interrupt = g2\n"

static void configure_sender(const char *more)
{
    rig_write(&rig, "cygnus.conf",
              "[platform]\nname = cygnus\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n"
              "may-interrupt = atlas/g2 draco/g3\n%s",
              ports[1], rig.dir, more);
}

static void configure_relay(const char *more)
{
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "%s",
              ports[0], rig.dir, ports[1], rig.dir, more);
}

static void configure_taker(const char *more)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "%s",
              ports[0], rig.dir, more);
}

static void setup(void)
{
    memset(&backend, 0, sizeof(backend));
    rig_begin(&rig);
    for (unsigned i = 0; i < 2; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys", KEY("atlas") KEY("borealis") KEY("cygnus"));
    configure_sender(CARRY_TO_ATLAS);
    configure_relay(PASS);
    configure_taker(MAY_INTERRUPT_G2 CARRY_OF_CYGNUS);
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&borealis, "links.0.state", "up");
    proxy_wait_text(&atlas, "links.0.state", "up");
    backend_starts();
}

static void teardown(void)
{
    far_local_client_free(backend.client);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    if (cygnus.pid)
        proxy_kill(&cygnus, SIGTERM);
    rig_end(&rig);
}

/* The sequence; 0: it was refused. */
static long long send_to(const char *to, unsigned code)
{
    char request[256];
    json_t *answer;
    long long sequence;

    snprintf(request, sizeof(request),
             "{\"request\":\"send\",\"device\":\"kbd0\",\"to\":\"%s\","
             "\"events\":[{\"type\":\"key\",\"code\":%u,\"value\":1}]}",
             to, code);
    answer = proxy_ask(&cygnus, request);
    sequence = json_integer_value(json_object_get(answer, "sequence"));
    json_decref(answer);
    return sequence;
}

static bool has_count(void *arg)
{
    return backend.count >= *(unsigned *)arg;
}

static bool have_happened(void *arg)
{
    return backend.happened >= *(unsigned *)arg;
}

static void wait_happened(unsigned count)
{
    ck_assert_msg(rig_until(&rig, have_happened, &count, 15000),
                  "only %u of %u happened", backend.happened, count);
}

static bool nothing_waits(void *arg)
{
    (void)arg;
    return !proxy_number(&cygnus, "notices.sent.0.waiting");
}

static void wait_answered(void)
{
    ck_assert(rig_until(&rig, nothing_waits, NULL, 15000));
}

START_TEST(an_interrupt_goes_over_a_relay_and_its_answer_comes_back)
{
    const struct far_local_notify *m = backend.taken;
    struct far_input_event e;

    ck_assert_int_eq(send_to("atlas/g2", 1), 1);
    wait_happened(1);
    wait_answered();
    memcpy(&e, m->op.args, sizeof(e));
    ck_assert_str_eq(m->platform, "cygnus");
    ck_assert_str_eq(m->relay, "borealis");
    ck_assert_str_eq(m->device, "kbd0");
    ck_assert_str_eq(m->guest_name, "g2");
    ck_assert_uint_eq(m->sequence, 1);
    ck_assert_uint_le(e.time_us, far_now_us() + 100000);
    ck_assert_uint_gt(e.time_us + 5000000, far_now_us());
    ck_assert_int_eq(proxy_number(&cygnus, "notices.sent.0.done"), 1);
    ck_assert_str_eq(proxy_text(&cygnus, "notices.sent.0.by_way_of"),
                     "borealis");
    ck_assert_int_eq(proxy_number(&borealis, "notices.sent.0.passed_on"), 1);
    ck_assert_int_eq(proxy_number(&borealis, "notices.sent.0.done"), 1);
    ck_assert_int_eq(proxy_number(&atlas, "notices.taken"), 0);
}
END_TEST

static void refused_saying(unsigned number, const char *why)
{
    const char *reason;

    wait_answered();
    ck_assert_int_eq(proxy_number(&cygnus, "notices.sent.0.refused"), number);
    reason = proxy_text(&cygnus, "notices.sent.0.reason");
    ck_assert_msg(strstr(reason, why), "%s", reason);
}

START_TEST(each_on_the_way_must_allow_it)
{
    configure_relay("");
    proxy_reload(&borealis);
    ck_assert_int_eq(send_to("atlas/g2", 1), 1);
    refused_saying(1, "borealis does not pass on interrupts of cygnus");
    configure_relay("may-interrupt = g2 atlas/g1 x/g2\n");
    proxy_reload(&borealis);
    ck_assert_int_eq(send_to("atlas/g2", 1), 2);
    refused_saying(2, "borealis does not pass on interrupts of cygnus");
    configure_relay(PASS);
    proxy_reload(&borealis);
    configure_taker(MAY_INTERRUPT_G2);
    proxy_reload(&atlas);
    ck_assert_int_eq(send_to("atlas/g2", 1), 3);
    refused_saying(3, "borealis may not speak for cygnus here");
    configure_taker(MAY_INTERRUPT_G2 CARRY_OF_CYGNUS);
    proxy_reload(&atlas);
    /* without that it goes to no relay, and waits for atlas itself */
    configure_sender("");
    proxy_reload(&cygnus);
    ck_assert_int_eq(send_to("atlas/g2", 1), 4);
    rig_turn(&rig, 300);
    ck_assert_int_eq(proxy_number(&cygnus, "notices.sent.0.waiting"), 1);
    ck_assert_uint_eq(backend.count, 0);
    configure_sender(CARRY_TO_ATLAS);
    backend.silent = true;
    proxy_reload(&cygnus);
    ck_assert(rig_until(&rig, has_count, &(unsigned){ 1 }, 10000));
    ck_assert_uint_eq(backend.taken[0].sequence, 4);
}
END_TEST

static void kill_and_start(struct proxy *proxy, const char *name)
{
    proxy_kill(proxy, SIGKILL);
    proxy_start(proxy, &rig, name);
}

START_TEST(each_happens_once_and_in_order_whichever_netproxy_is_killed)
{
    unsigned sent = 0;

    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < 10; i++, sent++) {
            ck_assert_int_eq(send_to("atlas/g2", 1 + sent % 100), sent + 1);
            if (i == 5 && round % 3 == 0)
                kill_and_start(&borealis, "borealis");
            if (i == 5 && round % 3 == 1)
                kill_and_start(&atlas, "atlas");
            rig_turn(&rig, 3);
        }
    }
    wait_happened(sent);
    wait_answered();
    rig_turn(&rig, 200);
    ck_assert_uint_eq(backend.happened, sent);
    ck_assert_int_eq(proxy_number(&cygnus, "notices.sent.0.done"), sent);
}
END_TEST

/* Killed between the guest's ring and the answer. */
START_TEST(one_that_was_not_answered_comes_again_with_the_same_numbers)
{
    unsigned want = 1;

    backend.silent = true;
    ck_assert_int_eq(send_to("atlas/g2", 1), 1);
    ck_assert(rig_until(&rig, has_count, &want, 10000));
    proxy_kill(&borealis, SIGKILL);
    proxy_start(&borealis, &rig, "borealis");
    want = 2;
    ck_assert(rig_until(&rig, has_count, &want, 10000));
    ck_assert_mem_eq(backend.taken[0].instance, backend.taken[1].instance, 16);
    ck_assert_uint_eq(backend.taken[1].sequence, 1);
    backend.silent = false;
    kill_and_start(&atlas, "atlas");
    wait_happened(1);
    wait_answered();
    ck_assert_int_eq(proxy_number(&cygnus, "notices.sent.0.done"), 1);
}
END_TEST

START_TEST(while_the_guest_s_platform_is_away_the_relay_keeps_it)
{
    proxy_kill(&atlas, SIGKILL);
    for (unsigned i = 1; i <= 20; i++)
        ck_assert_int_eq(send_to("atlas/g2", i), i);
    rig_turn(&rig, 200);
    ck_assert_int_eq(proxy_number(&cygnus, "notices.sent.0.waiting"), 20);
    proxy_start(&atlas, &rig, "atlas");
    wait_happened(20);
    wait_answered();
}
END_TEST

/* A hand-made sender, in place of cygnus. */
static struct {
    struct far_conn *conn;
    struct far_traffic traffic;
    bool up;
    unsigned answers;
    int status;
    char text[FAR_WIRE_TEXT_BYTES], target[FAR_NAME_BYTES];
} liar;

static int liar_up(struct far_conn *conn, struct far_error *error)
{
    (void)conn;
    (void)error;
    liar.up = true;
    return 0;
}

static int liar_frame(struct far_conn *conn, const struct far_wire_frame *f,
                      struct far_error *error)
{
    const uint8_t *target;
    size_t bytes;

    (void)conn;
    (void)error;
    if (f->header.type != FAR_WIRE_NOTIFIED)
        return 0;
    liar.answers++;
    liar.status = f->notified.status;
    memcpy(liar.text, f->text, sizeof(liar.text));
    target = far_wire_option(f, FAR_WIRE_OPTION_TARGET, &bytes);
    snprintf(liar.target, sizeof(liar.target), "%s",
             target ? (const char *)target : "");
    return 0;
}

static void liar_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    (void)reason;
    far_conn_free(conn, NULL);
    liar.conn = NULL;
}

static const struct far_conn_ops liar_ops = {
    .up = liar_up,
    .frame = liar_frame,
    .down = liar_down,
};

static bool liar_is_up(void *arg)
{
    (void)arg;
    return liar.up;
}

static bool liar_answered(void *arg)
{
    return liar.answers > *(unsigned *)arg;
}

static void liar_begins(int *listener)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(ports[1]),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const struct far_wire_hello me = { .magic = FAR_WIRE_MAGIC,
                                       .frame_max = FAR_CONN_FRAME_MAX,
                                       .lanes = 1,
                                       .handles_max = 16,
                                       .instance = "liar's instance",
                                       .platform = "cygnus" };
    static struct far_keys keys;
    struct far_error error;
    int one = 1, fd;
    char path[128];

    memset(&liar, 0, sizeof(liar));
    proxy_kill(&cygnus, SIGKILL);
    cygnus.pid = 0;
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&keys, path, &error), 0);
    *listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(*listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ck_assert_int_eq(bind(*listener, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(*listener, 8), 0);
    fd = accept4(*listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    liar.conn = far_conn_accept(rig.loop, &liar_ops, NULL, &liar.traffic, &me,
                                &keys, NULL, fd, &error);
    ck_assert_ptr_nonnull(liar.conn);
    ck_assert(rig_until(&rig, liar_is_up, NULL, 5000));
    far_keys_free(&keys);
}

/* A notice to a platform by a way (NULL at its end); origin's numbers are
 * sequence, too. false: nothing is answered. */
static bool lie(uint64_t sequence, uint8_t hops, const char *target,
                const char *origin, const char *const *visited, bool source)
{
    struct far_wire_header header = { .type = FAR_WIRE_NOTIFY, .hops = hops };
    struct far_input_event e = { .type = FAR_INPUT_KEY, .code = 1, .value = 1 };
    struct far_wire_notify notice = { .sequence = sequence,
                                      .guest_name = "g2",
                                      .device = "kbd0",
                                      .op = { .opcode = FAR_INPUT_EVENT } };
    const struct far_wire_source numbers = { .sequence = sequence };
    char names[6][FAR_NAME_BYTES] = { "" }, to[FAR_NAME_BYTES] = "",
         from[FAR_NAME_BYTES] = "";
    struct far_wire_value options[4];
    unsigned n = 0, count = 0, before = liar.answers;

    memcpy(notice.op.args, &e, sizeof(e));
    snprintf(to, sizeof(to), "%s", target);
    options[n++] =
        (struct far_wire_value){ FAR_WIRE_OPTION_TARGET | FAR_WIRE_OPTION_MUST,
                                 sizeof(to), to };
    if (origin) {
        snprintf(from, sizeof(from), "%s", origin);
        options[n++] = (struct far_wire_value){ FAR_WIRE_OPTION_ORIGIN,
                                                sizeof(from), from };
    }
    for (; visited && visited[count]; count++)
        snprintf(names[count], FAR_NAME_BYTES, "%s", visited[count]);
    if (count)
        options[n++] = (struct far_wire_value){
            FAR_WIRE_OPTION_VISITED, (uint16_t)(count * FAR_NAME_BYTES), names
        };
    if (source)
        options[n++] = (struct far_wire_value){ FAR_WIRE_OPTION_SOURCE |
                                                    FAR_WIRE_OPTION_MUST,
                                                sizeof(numbers), &numbers };
    far_conn_send_options(liar.conn, &header, &notice, sizeof(notice), NULL,
                          options, n);
    return rig_until(&rig, liar_answered, &before, 3000);
}

#define WAY(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(a_relay_passes_on_nothing_whose_way_is_wrong)
{
    int listener;

    liar_begins(&listener);
    /* what it may say */
    ck_assert(lie(1, 4, "atlas", NULL, NULL, false));
    ck_assert_int_eq(liar.status, 0);
    ck_assert_str_eq(liar.target, "atlas");
    ck_assert_uint_eq(backend.happened, 1);
    /* the same again: it has happened */
    ck_assert(lie(1, 4, "atlas", NULL, NULL, false));
    ck_assert_int_eq(liar.status, 0);
    ck_assert_uint_eq(backend.count, 1);
    /* and what not */
    ck_assert(lie(2, 0, "atlas", NULL, NULL, false));
    ck_assert_int_eq(liar.status, -ELOOP);
    ck_assert(lie(3, 3, "atlas", "draco", WAY("cygnus"), true));
    ck_assert_int_eq(liar.status, -EACCES); /* may-carry */
    ck_assert(lie(4, 3, "atlas", "draco", NULL, true));
    ck_assert_int_eq(liar.status, -EPROTO);
    ck_assert(lie(5, 3, "atlas", "draco", WAY("borealis", "cygnus"), true));
    ck_assert_int_eq(liar.status, -ELOOP);
    ck_assert(lie(6, 3, "atlas", "borealis", WAY("cygnus"), true));
    ck_assert_int_eq(liar.status, -ELOOP);
    ck_assert(lie(7, 3, "a/b", NULL, NULL, false));
    ck_assert_int_eq(liar.status, -EPROTO);
    ck_assert(lie(8, 3, "draco", NULL, NULL, false));
    ck_assert_int_eq(liar.status, -EACCES);
    configure_relay(PASS "[relay cygnus]\nmay-carry = draco atlas\n");
    proxy_reload(&borealis);
    ck_assert(lie(9, 3, "atlas", "draco", WAY("cygnus"), false));
    ck_assert_int_eq(liar.status, -EPROTO); /* without its numbers */
    ck_assert(lie(10, 3, "atlas", "draco", WAY("cygnus"), true));
    ck_assert_int_eq(liar.status, -EACCES); /* atlas does not want draco's */
    ck_assert(lie(11, 3, "atlas", "draco", WAY("x", "y", "z", "cygnus"), true));
    ck_assert_int_eq(liar.status, -ELOOP);
    ck_assert_uint_eq(backend.count, 1);
    ck_assert_ptr_nonnull(liar.conn);
    far_conn_free(liar.conn, NULL);
    close(listener);
}
END_TEST

START_TEST(a_sender_that_floods_a_relay_is_refused_beyond_its_window)
{
    unsigned sent = FAR_NOTICES_TAKEN_MAX + 20;
    int listener;

    liar_begins(&listener);
    proxy_kill(&atlas, SIGKILL); /* so that nothing is answered */
    for (unsigned i = 1; i <= FAR_NOTICES_TAKEN_MAX; i++) {
        struct far_wire_header header = { .type = FAR_WIRE_NOTIFY, .hops = 4 };
        struct far_wire_notify notice = { .sequence = i,
                                          .guest_name = "g2",
                                          .device = "kbd0",
                                          .op = { .opcode = FAR_INPUT_EVENT } };
        /* as on_notify() wants them: when atlas is back, they may come */
        const struct far_input_event e = { .type = FAR_INPUT_KEY,
                                           .code =
                                               (uint16_t)(1 + (i - 1) % 100),
                                           .value = 1 };
        const char to[FAR_NAME_BYTES] = "atlas";
        const struct far_wire_value option = {
            FAR_WIRE_OPTION_TARGET | FAR_WIRE_OPTION_MUST, sizeof(to), to
        };

        memcpy(notice.op.args, &e, sizeof(e));
        far_conn_send_options(liar.conn, &header, &notice, sizeof(notice), NULL,
                              &option, 1);
        rig_turn(&rig, 1);
    }
    for (unsigned i = FAR_NOTICES_TAKEN_MAX + 1; i <= sent; i++) {
        ck_assert(lie(i, 4, "atlas", NULL, NULL, false));
        ck_assert_int_eq(liar.status, -ENOBUFS);
    }
    ck_assert_uint_eq(liar.answers, 20);
    far_conn_free(liar.conn, NULL);
    close(listener);
    proxy_start(&atlas, &rig, "atlas");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        an_interrupt_goes_over_a_relay_and_its_answer_comes_back,
        each_on_the_way_must_allow_it,
        each_happens_once_and_in_order_whichever_netproxy_is_killed,
        one_that_was_not_answered_comes_again_with_the_same_numbers,
        while_the_guest_s_platform_is_away_the_relay_keeps_it,
        a_relay_passes_on_nothing_whose_way_is_wrong,
        a_sender_that_floods_a_relay_is_refused_beyond_its_window,
    };
    Suite *suite = suite_create("netproxy: interrupts over a relay");
    TCase *c = tcase_create("notify-relay");

    tcase_set_timeout(c, 90);
    tcase_add_checked_fixture(c, setup, teardown);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(c, tests[i]);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
