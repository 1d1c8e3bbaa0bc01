/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Streams on the simulator: programs in guests that know only libxenvchan's
 * calls, two on this machine, and one here with one on another; and guests that
 * do what they should not. Every byte comes once and in order, whatever is
 * killed, and who breaks something breaks its own stream.
 */
#include <stdint.h>
#include "tests/backend/simhost.h"

#define PEER     "tests/frontend/vchan-peer"
#define PEER_XEN "tests/frontend/vchan-peer-xen"

static struct guest a, b;

static void configure(const char *more)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device wire]\ntype = stream\npeer-timeout = 3s\n"
            "[device other]\ntype = stream\n"
            "[guest a]\nattach = stream wire path=/test/wire\n"
            "[guest b]\nattach = stream wire path=/test/wire\n"
            "[guest c]\nattach = stream other\n"
            "[guest d]\nattach = stream atlas/other path=here\n%s",
            more);
    fclose(f);
}

static void set_up(void)
{
    fresh_host();
    configure("");
    start_backend();
    a = guest_with(PEER, "a", "");
    b = guest_with(PEER, "b", "");
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&a);
    stop_program(&b);
}

/* A program's line whose answer is waited for later. */
__attribute__((format(printf, 2, 3))) static void begin(struct guest *g,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(g->in, format, args);
    va_end(args);
    fputc('\n', g->in);
    fflush(g->in);
}

static void hears(struct guest *g, const char *what)
{
    const char *answer = hear(g);

    ck_assert_msg(!strcmp(answer, what), "%s: %s, not %s", g->name, answer,
                  what);
}

static void becomes(struct guest *g, const char *question, const char *what)
{
    const char *answer = "";

    for (unsigned i = 0; i < 400; i++) {
        answer = say(g, "%s", question);
        if (!strcmp(answer, what))
            return;
        nap_ms(25);
    }
    ck_abort_msg("%s: %s is %s, not %s", g->name, question, answer, what);
}

static void connect_two(void)
{
    OK(&a, "server 0 /test/wire 0 0");
    OK(&b, "client 0 /test/wire");
    becomes(&a, "open", "ok 1");
}

/* Both ways at once. */
static void exchange(uint64_t there, uint64_t back)
{
    char want[64];

    begin(&a, "move %llu %llu 1", (unsigned long long)there,
          (unsigned long long)back);
    begin(&b, "move %llu %llu 1", (unsigned long long)back,
          (unsigned long long)there);
    snprintf(want, sizeof(want), "ok %llu %llu", (unsigned long long)there,
             (unsigned long long)back);
    hears(&a, want);
    snprintf(want, sizeof(want), "ok %llu %llu", (unsigned long long)back,
             (unsigned long long)there);
    hears(&b, want);
}

/* --- on one machine --------------------------------------------------------
 */

START_TEST(every_byte_comes_once_and_in_order_both_ways)
{
    connect_two();
    exchange(3000000, 5000001);
    exchange(1, 1);
    exchange(0, 700000);
}
END_TEST

START_TEST(a_server_that_nobody_has_called_says_so_and_a_client_needs_a_server)
{
    OK(&a, "server 0 /test/wire 0 0");
    becomes(&a, "open", "ok 2");
    OK(&a, "close");
    ck_assert_str_eq(say(&b, "client 0 /test/wire"), "no Connection refused");
    ck_assert_str_eq(say(&b, "client 0 test/none"),
                     "no No such file or directory");
    connect_two();
    exchange(10, 10);
}
END_TEST

START_TEST(who_closes_is_read_to_the_end_and_then_the_other_sees_it)
{
    connect_two();
    OK(&a, "move 60000 0 1");
    OK(&a, "close");
    ck_assert_str_eq(say(&b, "move 0 60000 1"), "ok 0 60000");
    becomes(&b, "open", "ok 0");
    ck_assert_str_eq(say(&b, "move 0 1 1"), "closed 0 0");
    ck_assert_str_eq(say(&b, "move 1 0 1"), "closed 0 0");
    OK(&b, "close");
    connect_two();
    exchange(100000, 100000);
}
END_TEST

START_TEST(a_program_that_is_killed_has_closed)
{
    connect_two();
    OK(&a, "move 50000 0 1");
    stop_program(&a);
    ck_assert_str_eq(say(&b, "move 0 50000 1"), "ok 0 50000");
    becomes(&b, "open", "ok 0");
    OK(&b, "close");
    run_program(&a, PEER);
    connect_two();
    exchange(100000, 100000);
}
END_TEST

START_TEST(a_guest_that_is_destroyed_has_closed)
{
    connect_two();
    exchange(1000, 1000);
    destroy(&a);
    becomes(&b, "open", "ok 0");
    OK(&b, "close");
    a = guest_with(PEER, "a", "");
    connect_two();
    exchange(1000, 1000);
}
END_TEST

START_TEST(a_slow_reader_stops_its_writer_and_nobody_else)
{
    struct guest c = guest_with(PEER, "c", ""), d = guest_with(PEER, "d", "");

    connect_two();
    begin(&a, "move 1000000 0 1");
    OK(&c, "server 0 other 0 0");
    OK(&d, "client 0 here");
    for (unsigned i = 0; i < 3; i++) {
        begin(&c, "move 500000 500000 1");
        OK(&d, "move 500000 500000 1");
        hears(&c, "ok 500000 500000");
    }
    ck_assert_str_eq(say(&b, "move 0 400000 1"), "ok 0 400000");
    OK(&c, "close");
    OK(&d, "close");
    destroy(&c);
    destroy(&d);
}
END_TEST

START_TEST(a_kill_of_the_backend_in_the_middle_loses_and_doubles_nothing)
{
    connect_two();
    for (unsigned i = 0; i < full(10, 3); i++) {
        begin(&a, "move 20000000 20000000 1");
        begin(&b, "move 20000000 20000000 1");
        nap_ms(5 + 7 * i);
        kill_backend(SIGKILL);
        start_backend();
        hears(&a, "ok 20000000 20000000");
        hears(&b, "ok 20000000 20000000");
    }
    becomes(&a, "open", "ok 1");
}
END_TEST

/* The same structures: a program linked with either library talks with one
 * linked with the other, here between two domains that share pages. */
START_TEST(between_two_domains_it_is_xens_own_vchan)
{
    static const char *const programs[] = { PEER, PEER_XEN };
    static const char *const sizes[] = { "0 0", "5000 100", "1000 2000",
                                         "70000 1048576" };
    char path[64];

    stop_program(&a);
    stop_program(&b);
    run_program(&a, programs[_i & 1]);
    run_program(&b, programs[_i >> 1]);
    snprintf(path, sizeof(path), "/local/domain/%u/data/v", a.domid);
    for (unsigned i = 0; i < 4; i++) {
        OK(&a, "server %u %s %s", b.domid, path, sizes[i]);
        ck_assert_str_eq(say(&a, "open"), "ok 2");
        OK(&b, "client %u %s", a.domid, path);
        ck_assert_str_eq(say(&a, "open"), "ok 1");
        exchange(2000000, 2000000);
        OK(&a, "move 1000 0 1");
        OK(&a, "close");
        ck_assert_str_eq(say(&b, "open"), "ok 0");
        ck_assert_str_eq(say(&b, "move 0 1000 1"), "ok 0 1000");
        OK(&b, "close");
    }
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { every_byte_comes_once_and_in_order_both_ways, 1 },
        { a_server_that_nobody_has_called_says_so_and_a_client_needs_a_server,
          1 },
        { who_closes_is_read_to_the_end_and_then_the_other_sees_it, 1 },
        { a_program_that_is_killed_has_closed, 1 },
        { a_guest_that_is_destroyed_has_closed, 1 },
        { a_slow_reader_stops_its_writer_and_nobody_else, 1 },
        { a_kill_of_the_backend_in_the_middle_loses_and_doubles_nothing, 1 },
        { between_two_domains_it_is_xens_own_vchan, 4 },
    };

    return host_main("stream", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
