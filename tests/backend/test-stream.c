/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Streams on the simulator: programs in two guests that know only libxenvchan's
 * calls, and guests that do what they should not. Every byte comes once and in
 * order, whatever is killed, and who breaks something breaks its own stream.
 */
#include "tests/backend/streams.h"

#define PEER_XEN "tests/frontend/vchan-peer-xen"

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
    a = peer_at("atlas", "a");
    b = peer_at("atlas", "b");
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&a);
    stop_program(&b);
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
    a = peer_at("atlas", "a");
    connect_two();
    exchange(1000, 1000);
}
END_TEST

START_TEST(a_slow_reader_stops_its_writer_and_nobody_else)
{
    struct guest c = peer_at("atlas", "c"), d = peer_at("atlas", "d");

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

/* A program that was written for libxenvchan, and never heard of Farside. */
START_TEST(a_program_that_is_older_than_streams_talks_over_one)
{
    static const char *const sides[] = { "server", "client" };
    char program[600];
    pid_t pids[2];
    int status;

    snprintf(program, sizeof(program), "%s/tests/frontend/vchan-echo", build);
    for (unsigned i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i])
            continue;
        execl(sim, sim, "run", i ? "atlas/b" : "atlas/a", "--", program,
              sides[i], "0", "/test/wire", (char *)NULL);
        _exit(127);
    }
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

/* One that is linked with Xen's library begins with ours in front of it. */
START_TEST(a_program_that_is_linked_already_need_not_be_linked_again)
{
    char library[600];

#ifdef __SANITIZE_ADDRESS__
    return; /* its runtime wants to be the first */
#endif
    stop_program(&a);
    snprintf(library, sizeof(library),
             "%s/frontend/.libs/libfarside-vchan.so.0", build);
    ck_assert_int_eq(access(library, R_OK), 0);
    setenv("LD_PRELOAD", library, 1);
    run_program(&a, PEER_XEN);
    unsetenv("LD_PRELOAD");
    connect_two();
    exchange(1000000, 1000000);
}
END_TEST

static json_int_t device_of(const char *name, const char *key, char *stream)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *guest;
    json_int_t value = -1;
    size_t i;

    json_array_foreach (json_object_get(whole, "guests"), i, guest) {
        json_t *device = json_array_get(json_object_get(guest, "devices"), 0);

        if (strcmp(json_string_value(json_object_get(guest, "name")), name))
            continue;
        value = json_integer_value(
            json_object_get(json_object_get(device, "counters"), key));
        snprintf(stream, 64, "%s",
                 json_string_value(json_object_get(device, "stream")));
    }
    json_decref(whole);
    return value;
}

START_TEST(status_says_who_waits_and_how_much_has_gone_through)
{
    char stream[64];

    OK(&a, "server 0 /test/wire 0 0");
    for (unsigned i = 0; i < 200; i++) {
        (void)device_of("a", "bytes_out", stream);
        if (!strcmp(stream, "waiting for its peer"))
            break;
        nap_ms(20);
    }
    ck_assert_str_eq(stream, "waiting for its peer");
    OK(&b, "client 0 /test/wire");
    exchange(1000, 300);
    ck_assert_int_eq(device_of("a", "bytes_out", stream), 1000);
    ck_assert_str_eq(stream, "open");
    ck_assert_int_eq(device_of("b", "bytes_in", stream), 1000);
    ck_assert_int_eq(device_of("b", "bytes_out", stream), 300);
    OK(&a, "close");
    becomes(&b, "open", "ok 0");
    (void)device_of("b", "bytes_in", stream);
    ck_assert_str_eq(stream, "its peer has closed");
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

/* --- guests that do what they should not -----------------------------------
 */

#define FRONT_NODE "device/farstream/0/"

static struct guest mallory, c, d;

static const char *mallory_back(void)
{
    static char path[128];

    snprintf(path, sizeof(path), "/local/domain/0/backend/farstream/%u/0",
             mallory.domid);
    return path;
}

/* In the place of guest a, as a server with both rings in its page. */
static void mallory_comes(unsigned left_order, unsigned right_order)
{
    destroy(&a);
    mallory = guest_at_front("a", "");
    mallory.gref[0] = (unsigned)strtoul(say(&mallory, "share 0") + 3, NULL, 10);
    mallory.port[0] = (unsigned)strtoul(say(&mallory, "offer 0") + 3, NULL, 10);
    OK(&mallory, "poke 0 16 %u", left_order | right_order << 16);
    OK(&mallory, "poke 0 20 %u", 2u | 1u << 8);
    OK(&mallory, "wait %s/state 2 5000", mallory_back());
    OK(&mallory, "write " FRONT_NODE "control-ref %u", mallory.gref[0]);
    OK(&mallory, "write " FRONT_NODE "event-channel %u", mallory.port[0]);
    OK(&mallory, "write " FRONT_NODE "version 1");
    OK(&mallory, "write " FRONT_NODE "server 1");
}

static void mallory_connects(void)
{
    OK(&mallory, "write " FRONT_NODE "state 3");
    OK(&mallory, "wait %s/state 4 5000", mallory_back());
    OK(&mallory, "write " FRONT_NODE "state 4");
    OK(&b, "client 0 /test/wire");
}

static void mallory_is_out(const char *why)
{
    char error[512];

    OK(&mallory, "wait %s/state 56 5000", mallory_back());
    ck_assert_int_eq(host_do(error, sizeof(error),
                             "run atlas -- xenstore-read %s/error 2>/dev/null",
                             mallory_back()),
                     0);
    ck_assert_msg(strstr(error, why) != NULL, "%s, not %s", error, why);
}

static void witnesses_come(void)
{
    c = peer_at("atlas", "c");
    d = peer_at("atlas", "d");
    OK(&c, "server 0 other 0 0");
    OK(&d, "client 0 here");
}

static void witnesses_talk(void)
{
    begin(&c, "move 300000 300000 1");
    begin(&d, "move 300000 300000 1");
    hears(&c, "ok 300000 300000");
    hears(&d, "ok 300000 300000");
}

static void all_go(void)
{
    a = (struct guest){ 0 };
    stop_program(&mallory);
    stop_program(&c);
    stop_program(&d);
}

START_TEST(attack_10_orders_and_grants_that_can_not_be_are_refused)
{
    static const struct {
        unsigned left, right, grant;
        const char *why;
    } bad[] = { { 10, 10, 0, "same place" }, { 9, 11, 0, "order" },
                { 11, 31, 0, "order" },      { 0, 0, 0, "order" },
                { 10, 20, 0, "grants lie" }, { 12, 11, 0, "can't be mapped" },
                { 11, 12, 7, "can't be" },   { 12, 12, 99999, "can't be" } };

    witnesses_come();
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mallory_comes(bad[i].left, bad[i].right);
        OK(&mallory, "poke 0 24 %u", bad[i].grant);
        OK(&mallory, "write " FRONT_NODE "state 3");
        mallory_is_out(bad[i].why);
        witnesses_talk();
        a = mallory;
    }
    all_go();
}
END_TEST

/* Words of the page, and what an event then leads to. */
START_TEST(attack_8_indexes_that_can_not_be_close_their_guests_stream_alone)
{
    static const struct {
        unsigned at, value;
        const char *why;
    } bad[] = { { 12, 2049, "written more" },
                { 12, 0x80000000u, "written more" },
                { 12, 0xffffffffu, "written more" },
                { 0, 1, "read more" },
                { 0, 0x80000000u, "read more" } };

    witnesses_come();
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mallory_comes(10, 11);
        mallory_connects();
        OK(&mallory, "poke 0 %u %u", bad[i].at, bad[i].value);
        OK(&mallory, "notify 0 1");
        mallory_is_out(bad[i].why);
        becomes(&b, "open", "ok 0");
        OK(&b, "close");
        witnesses_talk();
        a = mallory;
    }
    all_go();
}
END_TEST

START_TEST(attack_8_indexes_that_go_back_close_their_guests_stream_alone)
{
    witnesses_come();
    mallory_comes(10, 11);
    mallory_connects();
    OK(&mallory, "poke 0 12 1000");
    OK(&mallory, "notify 0 1");
    becomes(&b, "ready", "ok 1000");
    OK(&mallory, "poke 0 12 500");
    OK(&mallory, "notify 0 1");
    mallory_is_out("written more");
    becomes(&b, "open", "ok 0");
    witnesses_talk();
    all_go();
}
END_TEST

START_TEST(attack_50_a_storm_of_events_and_a_page_that_changes_harm_nobody)
{
    witnesses_come();
    mallory_comes(10, 11);
    mallory_connects();
    OK(&mallory, "notify 0 50000");
    witnesses_talk();
    begin(&mallory, "hammer 0 1500");
    for (unsigned i = 0; i < 4; i++)
        witnesses_talk();
    hears(&mallory, "ok");
    all_go();
}
END_TEST

START_TEST(attack_47_pages_that_are_taken_back_and_a_guest_that_is_killed)
{
    witnesses_come();
    mallory_comes(10, 11);
    mallory_connects();
    OK(&mallory, "poke 0 12 1000");
    OK(&mallory, "notify 0 1");
    OK(&mallory, "unshare 0");
    becomes(&b, "ready", "ok 1000");
    destroy(&mallory);
    becomes(&b, "open", "ok 0");
    witnesses_talk();
    all_go();
}
END_TEST

/* Its word that it lives may be anything but 1: then it has closed. */
START_TEST(a_guest_that_says_what_it_likes_of_its_life_has_closed)
{
    mallory_comes(10, 11);
    mallory_connects();
    OK(&mallory, "poke 0 20 %u", 1u | 77u << 8);
    OK(&mallory, "notify 0 1");
    becomes(&b, "open", "ok 0");
    all_go();
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
        { a_program_that_is_older_than_streams_talks_over_one, 1 },
        { a_program_that_is_linked_already_need_not_be_linked_again, 1 },
        { status_says_who_waits_and_how_much_has_gone_through, 1 },
        { between_two_domains_it_is_xens_own_vchan, 4 },
        { attack_10_orders_and_grants_that_can_not_be_are_refused, 1 },
        { attack_8_indexes_that_can_not_be_close_their_guests_stream_alone, 1 },
        { attack_8_indexes_that_go_back_close_their_guests_stream_alone, 1 },
        { attack_50_a_storm_of_events_and_a_page_that_changes_harm_nobody, 1 },
        { attack_47_pages_that_are_taken_back_and_a_guest_that_is_killed, 1 },
        { a_guest_that_says_what_it_likes_of_its_life_has_closed, 1 },
    };

    return host_main("stream", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
