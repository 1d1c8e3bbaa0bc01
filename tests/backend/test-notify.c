/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts to guests from devices that they never attached, as the backend
 * takes them: this test is the netproxy, honest or not, and the fronts are
 * front.c's. Allowed, once over any kill, bounded, and released in the end.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "core/intc.h"
#include "core/local.h"
#include "tests/backend/keyboard.h"

#define LINE(address) "vkb=backend-type=linux,unique-id=" address

static struct guest witness;

static void press(const char *device, unsigned code, int value)
{
    json_t *answer = ask("{\"request\":\"send\",\"device\":\"%s\",\"events\":[{"
                         "\"type\":\"key\",\"code\":%u,\"value\":%d}]}",
                         device, code, value);

    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

static void type(const char *device, unsigned code)
{
    press(device, code, 1);
    press(device, code, 0);
}

static void witness_works(void)
{
    type("wit", 50);
    ck_assert_str_eq(say(&witness, "drain 0 2000 2"), "ok k50+ k50-");
}

static void set_up(void)
{
    char path[200];
    FILE *f;

    fresh_host();
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f, "[platform]\nname = atlas\nrelease-after = 200ms\n"
               "[device wit]\ntype = virtual\n"
               "[device kbd0]\ntype = virtual\n"
               "[device kbd1]\ntype = virtual\n"
               "[server borealis]\naddress = 127.0.0.1:1\n"
               "psk-file = /none\nmay-interrupt = g v\n"
               "[device irqs]\ntype = vectors\n"
               "source = 0-7 notices borealis/kbd9 line=16\n"
               "source = 8 notices borealis/kbd8\n"
               "[guest v]\nattach = intc irqs\n"
               "[relay borealis]\nmay-carry = delphi\n");
    fclose(f);
    start_backend();
    witness = guest_at_front("witness", LINE("wit"));
    connect_front(&witness, 0);
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&witness);
}

static int stranger = -1, stranger_listens = -1;
static uint64_t stranger_id;

static void stranger_begins(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char path[200];

    snprintf(path, sizeof(path), "%s/run/devices.sock", host);
    ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(address.sun_path);
    stranger_listens = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert(
        !bind(stranger_listens, (struct sockaddr *)&address, sizeof(address)) &&
        !listen(stranger_listens, 4));
}

/* The next message of that type; false after so many ms. */
static bool stranger_hears(uint32_t type, void *message, int ms)
{
    struct pollfd p = { .fd = stranger, .events = POLLIN };
    uint64_t until = far_now_us() + (uint64_t)ms * 1000;
    uint32_t got[FAR_LOCAL_BYTES_MAX / 4];

    while (far_now_us() < until) {
        int n;

        if (poll(&p, 1, 5) <= 0)
            continue;
        n = far_local_receive(stranger, got, sizeof(got), NULL, NULL);
        if (n <= 0)
            return false;
        if (got[0] == type) {
            memcpy(message, got, (size_t)n);
            return true;
        }
    }
    return false;
}

static void stranger_is_met(void)
{
    struct far_local_hello hello = { .type = FAR_LOCAL_HELLO,
                                     .bytes = sizeof(hello),
                                     .magic = FAR_LOCAL_MAGIC,
                                     .version = FAR_LOCAL_VERSION,
                                     .platform = "atlas" };
    struct pollfd p = { .fd = stranger_listens, .events = POLLIN };
    uint32_t room[FAR_LOCAL_BYTES_MAX / 4];

    if (stranger >= 0)
        close(stranger);
    ck_assert_int_eq(poll(&p, 1, 10000), 1);
    stranger = accept4(stranger_listens, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(stranger, 0);
    ck_assert_int_eq(far_local_send(stranger, &hello, NULL, 0), 0);
    ck_assert(stranger_hears(FAR_LOCAL_GUESTS, room, 5000));
}

static void stranger_goes(void)
{
    close(stranger);
    close(stranger_listens);
    stranger = stranger_listens = -1;
}

static struct far_local_notify notice(uint64_t sequence, const char *name,
                                      const struct far_input_event *event)
{
    struct far_local_notify m = { .type = FAR_LOCAL_NOTIFY,
                                  .bytes = sizeof(m),
                                  .id = ++stranger_id,
                                  .sequence = sequence,
                                  .instance = "an instance",
                                  .platform = "borealis",
                                  .device = "kbd9",
                                  .op = { .opcode = FAR_INPUT_EVENT } };

    snprintf(m.guest_name, sizeof(m.guest_name), "%s", name);
    memcpy(m.op.args, event, sizeof(*event));
    return m;
}

static struct far_local_notify key_notice(uint64_t sequence, const char *name,
                                          unsigned code, int value)
{
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .code = (uint16_t)code,
                                 .value = value,
                                 .time_us = far_now_us() };

    return notice(sequence, name, &e);
}

static void stranger_says(const struct far_local_notify *m)
{
    int r;

    while ((r = far_local_send(stranger, m, NULL, 0)) == -EAGAIN)
        nap_ms(1);
    ck_assert_int_eq(r, 0);
}

/* What it is answered, by whatever id; 1: nothing for so long. */
static int stranger_is_told(struct far_local_notified *m, int ms)
{
    return stranger_hears(FAR_LOCAL_NOTIFIED, m, ms) ? m->status : 1;
}

static int sent(const struct far_local_notify *m)
{
    struct far_local_notified answer;

    stranger_says(m);
    return stranger_is_told(&answer, 5000);
}

static int sent_key(uint64_t sequence, const char *name, unsigned code,
                    int value)
{
    struct far_local_notify m = key_notice(sequence, name, code, value);

    return sent(&m);
}

START_TEST(an_interrupt_reaches_a_guest_that_did_not_attach_its_sender)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    struct far_input_event e = { .type = FAR_INPUT_MOTION, .x = 3, .y = -4 };
    struct far_local_notify m;

    connect_front(&g, 0);
    stranger_begins();
    stranger_is_met();
    ck_assert_int_eq(sent_key(1, "g", 30, 1), 0);
    ck_assert_int_eq(sent_key(2, "g", 30, 0), 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    m = notice(3, "g", &e);
    ck_assert_int_eq(sent(&m), 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 1"), "ok m3,-4,0");
    /* and its own keyboard's are among them, each once */
    type("kbd0", 31);
    ck_assert_int_eq(sent_key(4, "g", 32, 1), 0);
    ck_assert_int_eq(sent_key(5, "g", 32, 0), 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 4"), "ok k31+ k31- k32+ k32-");
    destroy(&g);
    witness_works();
    stranger_goes();
}
END_TEST

START_TEST(an_interrupt_that_is_not_allowed_or_is_none_reaches_nobody)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    struct far_input_event touch = { .type = FAR_INPUT_TOUCH,
                                     .code = FAR_TOUCH_DOWN };
    struct far_input_event wrong = { .type = 99 };
    struct far_input_event old = {
        .type = FAR_INPUT_KEY, .code = 30, .value = 1, .time_us = 1
    };
    struct far_local_notify m;

    connect_front(&g, 0);
    stranger_begins();
    stranger_is_met();
    ck_assert_int_eq(sent_key(1, "witness", 30, 1), -EACCES);
    ck_assert_int_eq(sent_key(2, "nobody", 30, 1), -ESRCH);
    ck_assert_int_eq(sent_key(3, "", 30, 1), -ESRCH);
    m = key_notice(4, "g", 30, 1);
    snprintf(m.platform, sizeof(m.platform), "cygnus");
    ck_assert_int_eq(sent(&m), -EACCES);
    snprintf(m.platform, sizeof(m.platform), "atlas"); /* no such export */
    ck_assert_int_eq(sent(&m), -EACCES);
    snprintf(m.relay, sizeof(m.relay), "borealis");
    ck_assert_int_eq(sent(&m), -EACCES);
    snprintf(m.platform, sizeof(m.platform), "cygnus"); /* not to be carried */
    ck_assert_int_eq(sent(&m), -EACCES);
    snprintf(m.platform, sizeof(m.platform), "delphi");
    snprintf(m.relay, sizeof(m.relay), "cygnus"); /* nobody who may carry */
    ck_assert_int_eq(sent(&m), -EACCES);
    m = key_notice(5, "g", 30, 1);
    memset(m.generation, 0x77, 16); /* of a guest that had that name before */
    ck_assert_int_eq(sent(&m), -ESRCH);
    m = key_notice(6, "g", 30, 1);
    memset(m.guest_uuid, 0x77, 16);
    ck_assert_int_eq(sent(&m), -ESRCH);
    m = notice(7, "g", &touch);
    ck_assert_int_eq(sent(&m), -EOPNOTSUPP);
    m = notice(8, "g", &wrong);
    ck_assert_int_eq(sent(&m), -EINVAL);
    m = notice(9, "g", &old);
    ck_assert_int_eq(sent(&m), -ETIME);
    m = key_notice(10, "g", 30, 1);
    m.op.opcode = FAR_OPCODE(FAR_CLASS_SOUND, 0x80);
    ck_assert_int_eq(sent(&m), -EOPNOTSUPP);
    ck_assert_str_eq(say(&g, "drain 0 200 1"), "ok");
    ck_assert_int_eq(sent_key(11, "g", 30, 1), 0);
    ck_assert_int_eq(sent_key(12, "g", 30, 0), 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    /* by a relay that may carry it, of a netproxy that knows no relays */
    for (int value = 1; value >= 0; value--) {
        m = key_notice(value ? 1 : 2, "g", 31, value);
        snprintf(m.platform, sizeof(m.platform), "delphi");
        snprintf(m.relay, sizeof(m.relay), "borealis");
        ck_assert_int_eq(sent(&m), 0);
    }
    for (int value = 1; value >= 0; value--) {
        m = key_notice(value ? 13 : 14, "g", 32, value);
        m.bytes = offsetof(struct far_local_notify, relay);
        ck_assert_int_eq(sent(&m), 0);
    }
    ck_assert_str_eq(say(&g, "drain 0 1000 4"), "ok k31+ k31- k32+ k32-");
    destroy(&g);
    ck_assert_int_eq(sent_key(15, "g", 30, 1), -ESRCH);
    witness_works();
    stranger_goes();
}
END_TEST

START_TEST(an_interrupt_that_is_sent_again_happens_once)
{
    struct guest g = guest_at_front("g", LINE("kbd0") " " LINE("kbd1"));
    struct far_local_notify m;

    connect_front(&g, 0);
    connect_front(&g, 1);
    stranger_begins();
    stranger_is_met();
    ck_assert_int_eq(sent_key(7, "g", 30, 1), 0);
    ck_assert_int_eq(sent_key(8, "g", 30, 0), 0);
    ck_assert_int_eq(sent_key(8, "g", 30, 0), 0);
    ck_assert_int_eq(sent_key(7, "g", 30, 1), 0);
    ck_assert_int_eq(sent_key(1, "g", 31, 1), 0); /* older than those */
    ck_assert_str_eq(say(&g, "drain 0 500 3"), "ok k30+ k30-");
    kill_backend(SIGKILL);
    start_backend();
    stranger_is_met();
    ck_assert_int_eq(sent_key(8, "g", 30, 0), 0);
    ck_assert_int_eq(sent_key(7, "g", 30, 1), 0);
    ck_assert_str_eq(say(&g, "drain 0 500 1"), "ok");
    /* another sender, or the same one begun anew, has its own numbers */
    m = key_notice(1, "g", 32, 1);
    m.instance[0] ^= 1;
    ck_assert_int_eq(sent(&m), 0);
    m = key_notice(2, "g", 32, 0);
    m.instance[0] ^= 1;
    ck_assert_int_eq(sent(&m), 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k32+ k32-");
    destroy(&g);
    stranger_goes();
}
END_TEST

/* Killed at any instant, also between the guest's ring and the answer. */
START_TEST(killed_at_random_no_interrupt_of_another_is_lost_or_comes_twice)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    unsigned rounds = full(100, 12);
    uint64_t sequence = 0;
    char want[64];

    connect_front(&g, 0);
    stranger_begins();
    stranger_is_met();
    srandom(1);
    for (unsigned i = 0; i < rounds; i++) {
        unsigned code = 2 + i % 50;
        struct far_local_notify press = key_notice(++sequence, "g", code, 1);
        struct far_local_notify release = key_notice(++sequence, "g", code, 0);
        struct timespec pause = { 0, random() % 1500000 };

        stranger_says(&press);
        stranger_says(&release);
        nanosleep(&pause, NULL);
        kill_backend(SIGKILL);
        start_backend();
        stranger_is_met();
        ck_assert_int_eq(sent(&press), 0);
        ck_assert_int_eq(sent(&release), 0);
        snprintf(want, sizeof(want), "ok k%u+ k%u-", code, code);
        ck_assert_str_eq(say(&g, "drain 0 500 3"), want);
    }
    destroy(&g);
    witness_works();
    stranger_goes();
}
END_TEST

START_TEST(a_key_that_another_pressed_and_forgot_is_released)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    stranger_begins();
    stranger_is_met();
    ck_assert_int_eq(sent_key(1, "g", 30, 1), 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 1"), "ok k30+");
    press("kbd0", 40, 1); /* its own stays down */
    ck_assert_str_eq(say(&g, "drain 0 2000 2"), "ok k40+ k30-");
    ck_assert_int_eq(sent_key(2, "g", 30, 0), 0); /* late */
    ck_assert_int_eq(sent_key(3, "g", 40, 0), 0); /* not its to release */
    ck_assert_str_eq(say(&g, "drain 0 500 1"), "ok");
    press("kbd0", 40, 0);
    ck_assert_str_eq(say(&g, "drain 0 1000 1"), "ok k40-");
    destroy(&g);
    stranger_goes();
}
END_TEST

START_TEST(a_guest_that_takes_nothing_makes_its_sender_wait_and_nobody_else)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    struct far_local_notified answer;
    unsigned done = 0, full_ones = 0, late = 0;
    uint64_t sequence = 0;

    connect_front(&g, 0);
    stranger_begins();
    stranger_is_met();
    for (unsigned i = 0; i < 60; i++) { /* a ring has 51 */
        struct far_input_event e = { .type = FAR_INPUT_KEY,
                                     .code = (uint16_t)(2 + i / 2),
                                     .value = !(i % 2) };
        struct far_local_notify m = notice(++sequence, "g", &e);

        stranger_says(&m);
        if (i >= 40)
            nap_ms(6); /* as often as it is allowed */
    }
    for (unsigned i = 0; i < 40; i++) { /* more than may wait */
        struct far_input_event e = { .type = FAR_INPUT_KEY,
                                     .code = 100,
                                     .value = !(i % 2) };
        struct far_local_notify m = notice(++sequence, "g", &e);

        stranger_says(&m);
    }
    witness_works();
    while (done + full_ones + late < 100) {
        int status = stranger_is_told(&answer, 10000);

        ck_assert_int_ne(status, 1);
        done += status == 0;
        full_ones += status == -ENOBUFS;
        late += status == -ETIMEDOUT;
    }
    ck_assert_uint_ge(done, 40);
    ck_assert_uint_gt(full_ones, 0);
    ck_assert_uint_gt(late, 0);
    say(&g, "drain 0 500 200");
    ck_assert_int_eq(sent_key(++sequence, "g", 90, 1), 0);
    ck_assert_int_eq(sent_key(++sequence, "g", 90, 0), 0);
    ck_assert_ptr_nonnull(strstr(say(&g, "drain 0 1000 20"), "k90+ k90-"));
    destroy(&g);
    witness_works();
    stranger_goes();
}
END_TEST

static unsigned times_in(const char *text, const char *what)
{
    unsigned n = 0;

    while ((text = strstr(text, what))) {
        text += strlen(what);
        n++;
    }
    return n;
}

/* As after a link that was lost and came back: the netproxy has forgotten its
 * questions, and asks again while the first of them still wait here. */
START_TEST(an_interrupt_that_waits_and_is_sent_again_happens_once)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    struct far_local_notified answer;
    unsigned pressed = 0, told = 0;
    uint64_t sequence = 0, last_id;

    connect_front(&g, 0);
    stranger_begins();
    stranger_is_met();
    for (unsigned i = 0; i < 56; i++) { /* a ring has 51 */
        struct far_local_notify m =
            key_notice(++sequence, "g", 2 + i / 2, !(i % 2));

        stranger_says(&m);
        if (i >= 40)
            nap_ms(6); /* as often as it is allowed */
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 2; i++) {
            struct far_local_notify m =
                key_notice(sequence + 1 + i, "g", 100, !i);

            stranger_says(&m);
        }
    }
    last_id = stranger_id;
    pressed += times_in(say(&g, "drain 0 500 51"), "k100+");
    while (stranger_is_told(&answer, 1000) == 0)
        told += answer.id == last_id;
    pressed += times_in(say(&g, "drain 0 300 200"), "k100+");
    ck_assert_uint_eq(pressed, 1);
    ck_assert_uint_eq(told, 1);
    destroy(&g);
    stranger_goes();
}
END_TEST

/* --- lines of a guest's interrupt controller ------------------------------
 */

static struct guest vectors_guest(void)
{
    struct guest g = guest_with("tests/frontend/vectors", "v", "");

    OK(&g, "open 0 4 1 2");
    OK(&g, "connected 15000");
    return g;
}

static struct far_local_notify line_notice(uint64_t sequence, const char *name,
                                           uint32_t line)
{
    struct far_local_notify m = key_notice(sequence, name, 0, 0);
    struct far_intc_args args = { .line = line };

    m.op.opcode = FAR_INTC_RAISE;
    memcpy(m.op.args, &args, sizeof(args));
    return m;
}

static int sent_line(uint64_t sequence, const char *name, uint32_t line)
{
    struct far_local_notify m = line_notice(sequence, name, line);

    return sent(&m);
}

/* How often its vector 2 was raised by now. */
static unsigned raised(struct guest *g, unsigned ms)
{
    OK(g, "wait 1000000 %u", ms);
    return (unsigned)strtoul(say(g, "count 2") + 3, NULL, 10);
}

START_TEST(a_notice_raises_the_vector_that_is_for_its_sender_and_line)
{
    struct guest g = vectors_guest(), k = guest_at_front("g", LINE("kbd0"));
    struct far_local_notify m;

    connect_front(&k, 0);
    stranger_begins();
    stranger_is_met();
    ck_assert_int_eq(sent_line(1, "v", 18), 0);
    ck_assert_int_eq(sent_line(2, "v", 18), 0);
    ck_assert_int_eq(sent_line(2, "v", 18), 0);
    ck_assert_int_eq(sent_line(1, "v", 18), 0);
    ck_assert_uint_eq(raised(&g, 100), 2);
    ck_assert_int_eq(sent_line(3, "v", 3), -ENXIO);
    ck_assert_int_eq(sent_line(4, "v", 15), -ENXIO);
    ck_assert_int_eq(sent_line(5, "v", 24), -ENXIO);
    ck_assert_int_eq(sent_line(6, "v", 20), -ENXIO); /* unused vectors */
    ck_assert_int_eq(sent_line(7, "v", 1024), -EINVAL);
    ck_assert_int_eq(sent_line(8, "v", UINT32_MAX), -EINVAL);
    ck_assert_int_eq(sent_line(9, "g", 18), -ENXIO);
    ck_assert_int_eq(sent_line(10, "witness", 18), -EACCES);
    ck_assert_int_eq(sent_key(11, "v", 30, 1), -ENXIO);
    m = line_notice(12, "v", 18);
    m.op.opcode = FAR_INTC_LINE;
    ck_assert_int_eq(sent(&m), -EOPNOTSUPP);
    m = line_notice(13, "v", 18);
    snprintf(m.device, sizeof(m.device), "kbd8"); /* its line is 0 */
    ck_assert_int_eq(sent(&m), -ENXIO);
    m = line_notice(14, "v", 18);
    snprintf(m.platform, sizeof(m.platform), "delphi");
    snprintf(m.relay, sizeof(m.relay), "borealis");
    ck_assert_int_eq(sent(&m), -ENXIO);
    ck_assert_uint_eq(raised(&g, 100), 2);
    /* what else is in the args is nobody's business */
    m = line_notice(15, "v", 18);
    memset(m.op.args + 4, 0xff, sizeof(m.op.args) - 4);
    ck_assert_int_eq(sent(&m), 0);
    ck_assert_uint_eq(raised(&g, 100), 3);
    ck_assert_str_eq(say(&g, "eoi 2"), "ok -22");
    OK(&g, "close"); /* its driver has gone */
    OK(&g, "wait 1000000 50");
    ck_assert_int_eq(sent_line(16, "v", 18), -ENXIO);
    destroy(&g);
    destroy(&k);
    witness_works();
    stranger_goes();
}
END_TEST

/* The guest's driver has to come back before anything reaches it. */
START_TEST(killed_at_random_no_notice_is_lost_or_raises_its_vector_twice)
{
    struct guest g = vectors_guest();
    unsigned rounds = full(100, 12);
    struct far_local_notified answer;

    stranger_begins();
    stranger_is_met();
    srandom(1);
    for (unsigned i = 1; i <= rounds; i++) {
        struct far_local_notify m = line_notice(i, "v", 18);
        struct timespec pause = { 0, random() % 1500000 };
        int r = 1;

        stranger_says(&m);
        nanosleep(&pause, NULL);
        kill_backend(SIGKILL);
        start_backend();
        stranger_is_met();
        stranger_says(&m);
        for (unsigned k = 0; k < 500 && r == 1; k++) {
            raised(&g, 10);
            r = stranger_is_told(&answer, 5);
        }
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(raised(&g, 50), i);
    }
    destroy(&g);
    witness_works();
    stranger_goes();
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { an_interrupt_reaches_a_guest_that_did_not_attach_its_sender, 1 },
        { an_interrupt_that_is_not_allowed_or_is_none_reaches_nobody, 1 },
        { an_interrupt_that_is_sent_again_happens_once, 1 },
        { killed_at_random_no_interrupt_of_another_is_lost_or_comes_twice, 1 },
        { a_key_that_another_pressed_and_forgot_is_released, 1 },
        { a_guest_that_takes_nothing_makes_its_sender_wait_and_nobody_else, 1 },
        { an_interrupt_that_waits_and_is_sent_again_happens_once, 1 },
        { a_notice_raises_the_vector_that_is_for_its_sender_and_line, 1 },
        { killed_at_random_no_notice_is_lost_or_raises_its_vector_twice, 1 },
    };

    return host_main("notify", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
