/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Farside's own kinds on the simulator: their nodes' making and removal, timers
 * and clock as the library in a guest sees them, and fronts that do what they
 * should not (front.c). Whatever a guest does, it loses its own device at most,
 * with a reason, and the witness's timers go on.
 */
#include "farside/io/fartimer.h"
#include "tests/backend/simhost.h"

static struct guest witness;

static void write_conf(const char *more)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device timer0]\ntype = timer\n"
            "[guest witness]\nattach = timer timer0\n%s",
            more);
    fclose(f);
}

#define TIMERS "tests/frontend/timers"

static void connect_timers(struct guest *g, unsigned devid, unsigned timers)
{
    OK(g, "open %u %u 0", devid, timers);
    OK(g, "connected 10000");
}

static uint64_t number(const char *answer, unsigned nth)
{
    for (; nth; nth--) {
        answer = strchr(answer, ' ');
        ck_assert_ptr_nonnull(answer);
        answer++;
    }
    return strtoull(answer, NULL, 10);
}

static void set_up(void)
{
    fresh_host();
    write_conf("[guest g]\nattach = timer timer0\nattach = timer nobody\n"
               "[device bell0]\ntype = doorbell\n"
               "[guest a]\nattach = doorbell bell0\n"
               "[guest b]\nattach = doorbell bell0\n"
               "[guest c]\nattach = doorbell bell0\n");
    start_backend();
    witness = guest_with(TIMERS, "witness", "");
    connect_timers(&witness, 0, 16);
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&witness);
}

static uint64_t witness_total;

static void witness_works(void)
{
    OK(&witness, "in 3 1000000 0 0");
    witness_total++;
    ck_assert_uint_eq(
        number(say(&witness, "wait %u 5000", (unsigned)witness_total), 1),
        witness_total);
}

static const char *own_back(const struct guest *g, unsigned devid)
{
    static char path[8][128];
    static unsigned next;
    char *p = path[next++ % 8];

    snprintf(p, 128, "/local/domain/0/backend/fartimer/%u/%u", g->domid, devid);
    return p;
}

static bool node_is(const char *path, const char *want)
{
    char value[256];

    if (host_do(value, sizeof(value),
                "run atlas -- xenstore-read %s 2>/dev/null", path))
        return !want;
    return want && !strcmp(value, want);
}

static void node_becomes(const char *path, const char *want)
{
    for (unsigned i = 0; i < 300; i++) {
        if (node_is(path, want))
            return;
        nap_ms(20);
    }
    ck_abort_msg("%s is not %s", path, want ? want : "gone");
}

/* --- what should work ------------------------------------------------------
 */

START_TEST(timers_expire_once_and_never_early)
{
    struct guest g = guest_with(TIMERS, "g", "");
    uint64_t now, at;

    connect_timers(&g, 0, 1000);
    now = number(say(&g, "now"), 1);
    OK(&g, "at 999 %llu 0 0", (unsigned long long)now + 30000000);
    OK(&g, "in 5 1000 0 0");
    OK(&g, "in 6 20000000 0 0");
    OK(&g, "cancel 6");
    ck_assert_uint_eq(number(say(&g, "wait 2 5000"), 1), 2);
    ck_assert_uint_eq(number(say(&g, "wait 3 50"), 1), 2);
    ck_assert_uint_eq(number(say(&g, "count 5"), 1), 1);
    ck_assert_uint_eq(number(say(&g, "count 6"), 1), 0);
    at = number(say(&g, "count 999"), 2);
    ck_assert_uint_ge(at, now + 30000000);
    witness_works();
    destroy(&g);
}
END_TEST

START_TEST(a_thousand_random_deadlines_are_all_met)
{
    struct guest g = guest_with(TIMERS, "g", "");

    connect_timers(&g, 0, 1024);
    for (unsigned i = 1; i <= 10; i++) {
        OK(&g, "many 1024 20000000");
        ck_assert_uint_eq(number(say(&g, "wait %u 10000", i * 1024), 1),
                          i * 1024);
    }
    destroy(&g);
}
END_TEST

START_TEST(periods_are_all_counted)
{
    struct guest g = guest_with(TIMERS, "g", "");
    uint64_t begin, counted;

    connect_timers(&g, 0, 8);
    begin = far_now_ns();
    OK(&g, "in 1 1000000 1000000 0");
    OK(&g, "wait 50 10000");
    counted = number(say(&g, "count 1"), 1);
    ck_assert_uint_le(counted, (far_now_ns() - begin) / 1000000);
    ck_assert_uint_ge(counted, 50);
    OK(&g, "cancel 1");
    destroy(&g);
}
END_TEST

/* Found by the handshake: nothing tells the guest what the host's clock says.
 * Here they are the same machine, so that it can be compared. */
START_TEST(the_clock_is_the_hosts_within_the_bound_that_it_says)
{
    struct guest g = guest_with(TIMERS, "g", "");

    connect_timers(&g, 0, 8);
    nap_ms(300); /* the rate is over a longer base by then */
    for (unsigned i = 0; i < 20; i++) {
        const char *answer = say(&g, "clock 2000");
        uint64_t worst = number(answer, 1), error = number(answer, 2);

        ck_assert_msg(worst <= error + 1000, "off by %llu, bound %llu",
                      (unsigned long long)worst, (unsigned long long)error);
        ck_assert_uint_eq(number(answer, 3), 0);
        nap_ms(20);
    }
    destroy(&g);
}
END_TEST

START_TEST(a_timer_outlives_a_kill_of_the_backend)
{
    OK(&witness, "in 2 1 0 0");
    OK(&witness, "wait 1 3000");
    OK(&witness, "in 1 1500000000 0 0");
    OK(&witness, "in 4 100000000 10000000 0");
    kill_backend(SIGKILL);
    start_backend();
    /* both: what came due meanwhile, at once */
    ck_assert_uint_ge(number(say(&witness, "wait 100 15000"), 1), 100);
    for (unsigned i = 0; i < 100 && number(say(&witness, "count 1"), 1) == 0;
         i++)
        OK(&witness, "wait 1000000 100");
    ck_assert_uint_eq(number(say(&witness, "count 1"), 1), 1);
    ck_assert_uint_eq(number(say(&witness, "count 2"), 1), 1);
    OK(&witness, "cancel 4");
}
END_TEST

START_TEST(a_saved_guest_keeps_its_timers_and_its_clock_goes_on)
{
    uint64_t before, after;
    char file[300];

    OK(&witness, "in 1 1000000000 0 0");
    before = number(say(&witness, "now"), 1);
    snprintf(file, sizeof(file), "%s/saved", host);
    ck_assert_int_eq(host_do(NULL, 0, "save atlas witness %s", file), 0);
    ck_assert_int_eq(host_do(NULL, 0, "restore atlas %s", file), 0);
    OK(&witness, "wait 1 15000");
    ck_assert_uint_eq(number(say(&witness, "count 1"), 1), 1);
    after = number(say(&witness, "now"), 1);
    ck_assert_uint_gt(after, before);
    ck_assert_ptr_nonnull(strstr(say(&witness, "counters"), "connections=2"));
}
END_TEST

START_TEST(what_is_meant_for_outside_goes_there_and_the_counters_say_so)
{
    struct guest g = guest_with(TIMERS, "g", "");
    json_t *whole, *ops = NULL, *guests, *one, *d;
    size_t i, k;

    connect_timers(&g, 0, 8);
    OK(&g, "in 1 1000 0 0");
    OK(&g, "wait 1 3000");
    ck_assert_str_eq(say(&g, "outside 2 2000000"), "ok 0 0");
    ck_assert_uint_eq(number(say(&g, "wait 2 3000"), 1), 2);
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 1);
    whole = ask("{\"request\":\"status\"}");
    guests = json_object_get(whole, "guests");
    json_array_foreach (guests, i, one) {
        if (json_integer_value(json_object_get(one, "domid")) !=
            (json_int_t)g.domid)
            continue;
        json_array_foreach (json_object_get(one, "devices"), k, d)
            if (!ops)
                ops = json_object_get(json_object_get(d, "ops"), "timer.arm");
    }
    ck_assert_ptr_nonnull(ops);
    ck_assert_int_ge(json_integer_value(json_object_get(ops, "fast-timer")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(ops, "timer")), 1);
    json_decref(whole);
    /* the second device's device is not there: only what is outside fails */
    OK(&g, "close");
    connect_timers(&g, 1, 8);
    OK(&g, "in 1 1000 0 0");
    OK(&g, "wait 3 3000");
    ck_assert_str_eq(say(&g, "outside 2 2000000"), "ok 0 -19");
    destroy(&g);
}
END_TEST

/* It is the toolstack's number, and may change between two connections. */
START_TEST(a_number_of_timers_that_was_raised_holds_for_the_next_connection)
{
    struct guest g = guest_with(TIMERS, "g", "");

    connect_timers(&g, 0, 1000);
    OK(&g, "in 999 1000 0 0");
    OK(&g, "wait 1 5000");
    OK(&g, "close");
    ck_assert_int_eq(host_do(NULL, 0,
                             "run atlas -- xenstore-write %s/max-timers 8192",
                             own_back(&g, 0)),
                     0);
    connect_timers(&g, 0, 8192);
    for (unsigned i = 0; i < 8192; i += 91) {
        OK(&g, "in %u 1000 0 0", i);
        OK(&g, "wait %u 5000", 2 + i / 91);
        ck_assert_uint_eq(number(say(&g, "count %u", i), 1), 1);
    }
    destroy(&g);
    witness_works();
}
END_TEST

/* --- interrupts -------------------------------------------------------------
 */

START_TEST(a_guest_with_a_limit_gets_no_more_interrupts_and_misses_nothing)
{
    struct guest g;
    json_t *whole, *guests, *one, *d, *lines = NULL;
    uint64_t begin, took_us;
    size_t i, k;

    write_conf("[guest g]\nattach = timer timer0\ninterrupts-max = 100\n");
    json_decref(ask("{\"request\":\"reload\"}"));
    g = guest_with(TIMERS, "g", "");
    OK(&g, "open 0 512 2"); /* notified, not looking */
    OK(&g, "connected 20000");
    begin = far_now_us();
    OK(&g, "many 512 1000000000");
    ck_assert_uint_eq(number(say(&g, "wait 512 20000"), 1), 512);
    took_us = far_now_us() - begin;
    whole = ask("{\"request\":\"status\"}");
    guests = json_object_get(whole, "guests");
    json_array_foreach (guests, i, one)
        if (json_integer_value(json_object_get(one, "domid")) ==
            (json_int_t)g.domid)
            json_array_foreach (json_object_get(one, "devices"), k, d)
                lines = json_object_get(d, "interrupts");
    ck_assert_ptr_nonnull(lines);
    ck_assert_int_gt(json_integer_value(json_object_get(lines, "delayed")), 0);
    ck_assert_int_gt(json_integer_value(json_object_get(lines, "raised")),
                     json_integer_value(json_object_get(lines, "injected")));
    /* the clock's handshake took its part before */
    ck_assert_int_le(json_integer_value(json_object_get(lines, "injected")),
                     (json_int_t)(600 + took_us / 10000));
    json_decref(whole);
    destroy(&g);
    witness_works();
}
END_TEST

/* --- doorbells -------------------------------------------------------------
 */

#define BELL "tests/frontend/bell"

static struct guest bell_guest_with(const char *name, unsigned flags)
{
    struct guest g = guest_with(BELL, name, "");

    OK(&g, "open 0 %u", flags);
    OK(&g, "connected 10000");
    return g;
}

static struct guest bell_guest(const char *name)
{
    return bell_guest_with(name, 0);
}

START_TEST(two_guests_ring_each_other_and_nobody_else_hears)
{
    struct guest a = bell_guest("a"), b, c;

    ck_assert_str_eq(say(&a, "ring 7"), "ok 0 -107"); /* nobody is there */
    b = bell_guest("b");
    ck_assert_str_eq(say(&a, "ring 4294967295"), "ok 0 0");
    ck_assert_str_eq(say(&b, "heard 1 3000"), "ok 1 4294967295 4294967295");
    ck_assert_str_eq(say(&b, "ring 5"), "ok 0 0");
    ck_assert_str_eq(say(&a, "heard 1 3000"), "ok 1 5 5");
    /* a third is no end of it */
    c = bell_guest("c");
    ck_assert_str_eq(say(&c, "ring 9"), "ok 0 -107");
    ck_assert_str_eq(say(&a, "heard 2 100"), "ok 1 5 5");
    destroy(&c);
    /* the other one's end */
    destroy(&b);
    for (unsigned i = 0; i < 100; i++) {
        if (!strcmp(say(&a, "ring 1"), "ok 0 -107"))
            break;
        nap_ms(20);
    }
    ck_assert_str_eq(say(&a, "ring 1"), "ok 0 -107");
    destroy(&a);
    witness_works();
}
END_TEST

/* Their programs don't run: what is given to them waits. */
static void devices_without_programs(unsigned version)
{
    char text[600];

    snprintf(text, sizeof(text),
             "[device bell1]\ntype = outside\nclass = doorbell\n"
             "socket = %s/none-%u.sock\n"
             "[device tick1]\ntype = outside\nclass = timer\n"
             "socket = %s/none-%u.sock\n"
             "[guest a]\nattach = doorbell bell1\n"
             "[guest g]\nattach = timer tick1\n",
             host, version, host, version);
    write_conf(text);
    json_decref(ask("{\"request\":\"reload\"}"));
}

START_TEST(what_a_device_held_that_is_another_one_now_is_answered)
{
    struct guest a, g;

    devices_without_programs(0);
    a = bell_guest("a");
    g = guest_with(TIMERS, "g", "");
    connect_timers(&g, 0, 16);
    for (unsigned round = 0; round < 3; round++) {
        fputs("ring 7\n", a.in);
        fflush(a.in);
        fputs("outside 1 1000000\n", g.in);
        fflush(g.in);
        nap_ms(300);
        devices_without_programs(round + 1);
        ck_assert_str_eq(hear(&a), "ok 0 -5");
        ck_assert_str_eq(hear(&g), "ok 0 -5");
    }
    destroy(&a);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_thousand_rings_come_once_each_and_a_full_page_refuses)
{
    struct guest a = bell_guest("a"), b = bell_guest("b");

    ck_assert_str_eq(say(&a, "rings 0 256"), "ok 256");
    ck_assert_str_eq(say(&a, "ring 1"), "ok 0 -11");
    ck_assert_uint_eq(number(say(&b, "heard 256 3000"), 1), 256);
    ck_assert_str_eq(say(&a, "rings 256 200"), "ok 200");
    ck_assert_str_eq(say(&b, "heard 456 3000"), "ok 456 455 103740");
    ck_assert_str_eq(say(&b, "heard 457 100"), "ok 456 455 103740");
    destroy(&a);
    destroy(&b);
}
END_TEST

/* The doorbell lives in the netproxy: what the page has no room for waits in
 * the backend until the guest says that it has taken something. */
START_TEST(a_flood_of_rings_between_processes_never_falls_silent)
{
    const unsigned rings = full(1000000, 100000);
    char answer[64];
    struct guest a, b;
    pid_t netproxy;

    write_conf("[device bell0]\ntype = doorbell\n[export bell0]\n"
               "[guest a]\nattach = doorbell bell0\n"
               "[guest b]\nattach = doorbell bell0\n");
    json_decref(ask("{\"request\":\"reload\"}"));
    netproxy = start_netproxy();
    /* told by events, not looking: nothing else mends what was missed */
    a = bell_guest_with("a", 2);
    b = bell_guest_with("b", 2);
    for (unsigned i = 0; i < 500 && strcmp(say(&a, "ring 0"), "ok 0 0"); i++)
        nap_ms(20);
    OK(&b, "heard 1 5000");
    OK(&b, "slow 8"); /* the page fills while it takes a part of it */
    fprintf(b.in, "heard %u 60000\n", rings + 1);
    fflush(b.in);
    ck_assert_uint_eq(number(say(&a, "flood %u 60000", rings), 1), rings);
    ck_assert_ptr_nonnull(fgets(answer, sizeof(answer), b.out));
    ck_assert_uint_eq(number(answer, 1), rings + 1);
    destroy(&a);
    destroy(&b);
    end_with(&netproxy, SIGKILL);
}
END_TEST

START_TEST(a_doorbell_rings_again_after_a_kill_of_the_backend)
{
    struct guest a = bell_guest("a"), b = bell_guest("b");
    bool rang = false;

    ck_assert_str_eq(say(&a, "ring 1"), "ok 0 0");
    ck_assert_str_eq(say(&b, "heard 1 3000"), "ok 1 1 1");
    kill_backend(SIGKILL);
    start_backend();
    for (unsigned i = 0; i < 200 && !rang; i++) {
        OK(&a, "heard 1000 20");
        OK(&b, "heard 1000 20");
        rang = !strcmp(say(&a, "ring 2"), "ok 0 0");
    }
    ck_assert(rang);
    ck_assert_uint_eq(number(say(&b, "heard 2 3000"), 2), 2);
    destroy(&a);
    destroy(&b);
}
END_TEST

/* --- nodes -----------------------------------------------------------------
 */

START_TEST(nodes_come_with_the_guest_and_go_with_it)
{
    struct guest g = guest_with(FRONT, "g", "");
    char path[160];

    node_becomes(own_back(&g, 0), "");
    snprintf(path, sizeof(path), "%s/address", own_back(&g, 0));
    node_becomes(path, "timer0");
    snprintf(path, sizeof(path), "%s/address", own_back(&g, 1));
    node_becomes(path, "nobody");
    destroy(&g);
    node_becomes(own_back(&g, 0), NULL);
    node_becomes(own_back(&g, 1), NULL);
    snprintf(path, sizeof(path), "/local/domain/0/backend/fartimer/%u",
             g.domid);
    node_becomes(path, NULL);
    witness_works();
}
END_TEST

START_TEST(nodes_of_a_guest_that_died_while_we_were_dead_are_swept)
{
    struct guest g = guest_with(FRONT, "g", "");

    node_becomes(own_back(&g, 0), "");
    kill_backend(SIGKILL);
    destroy(&g);
    ck_assert(node_is(own_back(&g, 0), ""));
    start_backend();
    node_becomes(own_back(&g, 0), NULL);
}
END_TEST

START_TEST(a_number_that_is_another_guests_now_keeps_none_of_the_old_ones)
{
    struct guest g = guest_with(FRONT, "g", "");
    char path[160];

    node_becomes(own_back(&g, 1), "");
    kill_backend(SIGKILL);
    /* as if its number had come round: another guest's UUID stands there */
    snprintf(path, sizeof(path), "%s/guest-uuid", own_back(&g, 1));
    ck_assert_int_eq(host_do(NULL, 0,
                             "run atlas -- xenstore-write %s "
                             "01234567-89ab-cdef-0123-456789abcdef",
                             path),
                     0);
    start_backend();
    /* removed, and made again for the one that is there */
    node_becomes(own_back(&g, 0), "");
    for (unsigned i = 0; i < 300; i++) {
        if (!node_is(path, "01234567-89ab-cdef-0123-456789abcdef"))
            break;
        nap_ms(20);
    }
    ck_assert(!node_is(path, "01234567-89ab-cdef-0123-456789abcdef"));
    destroy(&g);
}
END_TEST

START_TEST(attach_and_detach_by_hand)
{
    struct guest g = guest_with(TIMERS, "h", "");
    json_t *answer;

    answer = ask("{\"request\":\"attach\",\"domain\":\"h\",\"class\":\"timer\","
                 "\"address\":\"timer0\"}");
    ck_assert_ptr_nonnull(answer);
    ck_assert_int_eq(json_integer_value(json_object_get(answer, "devid")), 0);
    json_decref(answer);
    connect_timers(&g, 0, 8);
    OK(&g, "in 1 1000 0 0");
    ck_assert_uint_eq(number(say(&g, "wait 1 3000"), 1), 1);
    answer = ask("{\"request\":\"detach\",\"domain\":\"h\",\"class\":\"timer\","
                 "\"devid\":0}");
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
    node_becomes(own_back(&g, 0), NULL);
    for (unsigned i = 0; i < 200 && number(say(&g, "state"), 1) != 3; i++)
        nap_ms(10);
    ck_assert_uint_eq(number(say(&g, "state"), 1), 3); /* gone */
    quiet = true;
    ck_assert_ptr_null(
        ask("{\"request\":\"attach\",\"domain\":\"h\",\"class\":\"block\","
            "\"address\":\"x\"}"));
    ck_assert_ptr_null(
        ask("{\"request\":\"attach\",\"domain\":\"none\",\"class\":\"timer\","
            "\"address\":\"x\"}"));
    ck_assert_ptr_null(
        ask("{\"request\":\"detach\",\"domain\":\"h\",\"class\":\"timer\","
            "\"devid\":7}"));
    quiet = false;
    destroy(&g);
}
END_TEST

/* --- attacks ---------------------------------------------------------------
 */

/* A front by hand: control page 0, ring page 1, slots page 2. */
static void offer(struct guest *g)
{
    static const char *const nodes[] = { "control-ref", "ring-ref",
                                         "timers-ref0" };

    node_becomes(own_back(g, 0), "");
    for (unsigned i = 0; i < 3; i++) {
        g->gref[i] = (unsigned)strtoul(say(g, "share %u", i) + 3, NULL, 10);
        OK(g, "write device/fartimer/0/%s %u", nodes[i], g->gref[i]);
    }
    g->port[0] = (unsigned)strtoul(say(g, "offer 0") + 3, NULL, 10);
    OK(g, "write device/fartimer/0/event-channel %u", g->port[0]);
    OK(g, "write device/fartimer/0/version 1");
    OK(g, "write device/fartimer/0/timers 128");
}

static void join(struct guest *g)
{
    OK(g, "wait %s/state 2 5000", own_back(g, 0));
    OK(g, "write device/fartimer/0/state 3");
    OK(g, "wait %s/state 4 5000", own_back(g, 0));
    OK(g, "write device/fartimer/0/state 4");
}

static void refused(struct guest *g, const char *words)
{
    const char *reason = "";

    OK(g, "wait %s/state 56 5000", own_back(g, 0));
    for (int i = 0; i < 300; i++) {
        reason = say(g, "read %s/error", own_back(g, 0));
        if (!strncmp(reason, "ok", 2))
            break;
        nap_ms(10);
    }
    ck_assert_msg(strstr(reason, words) != NULL, "\"%s\" has no \"%s\"", reason,
                  words);
    witness_works();
}

/* Words of 4 bytes in a slot: deadline, deadline, period, period, arm. */
static void slot(struct guest *g, unsigned timer, uint64_t deadline,
                 uint64_t period, uint32_t arm)
{
    unsigned at = timer * 32;

    OK(g, "poke 2 %u %u", at + 8, (uint32_t)period);
    OK(g, "poke 2 %u %u", at + 12, (uint32_t)(period >> 32));
    OK(g, "poke 2 %u %u", at + 16, arm);
    OK(g, "poke 2 %u %u", at, (uint32_t)deadline);
    OK(g, "poke 2 %u %u", at + 4, (uint32_t)(deadline >> 32));
    OK(g, "poke 0 %u %u", 512 + timer / 32 * 4, 1u << timer % 32);
    OK(g, "poke 0 192 %u", 1u << timer / 64);
    OK(g, "notify 0 1");
}

static uint32_t fired_arm(struct guest *g, unsigned timer)
{
    return (uint32_t)number(say(g, "peek 2 %u", timer * 32 + 20), 1);
}

START_TEST(attack_45_deadlines_that_are_past_none_or_never_and_nonsense)
{
    struct guest g = guest_with(FRONT, "g", "");

    offer(&g);
    join(&g);
    slot(&g, 0, 1, 0, 0x100); /* in the past: at once */
    for (unsigned i = 0; i < 200 && fired_arm(&g, 0) != 0x100; i++)
        nap_ms(5);
    ck_assert_uint_eq(fired_arm(&g, 0), 0x100);
    slot(&g, 1, 0, 0, 0x100);          /* none */
    slot(&g, 2, UINT64_MAX, 0, 0x100); /* never */
    slot(&g, 3, 1, 999, 0x100);        /* a period that is too short */
    slot(&g, 4, 1, 0, 0);              /* no number */
    slot(&g, 5, 1, 0, 0x103);          /* no such policy */
    slot(&g, 6, 1, 0, 0x180);          /* no such flag */
    slot(&g, 7, UINT64_MAX, UINT64_MAX, 0x100);
    slot(&g, 8, 1, UINT64_MAX, 0x100); /* once, and then after the end */
    for (unsigned i = 0; i < 200 && fired_arm(&g, 8) != 0x100; i++)
        nap_ms(5);
    ck_assert_uint_eq(fired_arm(&g, 8), 0x100);
    for (unsigned i = 1; i < 8; i++)
        ck_assert_uint_eq(fired_arm(&g, i), 0);
    /* marks of timers that there are none: passed over */
    OK(&g, "poke 0 1532 4294967295");
    OK(&g, "poke 0 196 4294967295");
    OK(&g, "poke 0 200 4294967295");
    OK(&g, "notify 0 1");
    witness_works();
    OK(&g, "wait %s/state 4 100", own_back(&g, 0));
    destroy(&g);
}
END_TEST

START_TEST(attack_45_a_flood_of_armings_delays_nobody_for_long)
{
    struct guest g = guest_with(FRONT, "g", "");

    offer(&g);
    join(&g);
    for (unsigned i = 0; i < 128; i++)
        slot(&g, i, 1, 1000, 0x100); /* each a microsecond, since ever */
    for (unsigned i = 0; i < 5; i++)
        witness_works();
    OK(&g, "wait %s/state 4 100", own_back(&g, 0));
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_1_to_3_a_ring_index_that_is_impossible_loses_the_device)
{
    static const unsigned bad[] = { 65, 0x80000000u, 0xffffffffu };

    for (unsigned i = 0; i < 3; i++) {
        struct guest g = guest_with(FRONT, "g", "");

        offer(&g);
        join(&g);
        OK(&g, "poke 1 0 %u", bad[i]);
        OK(&g, "notify 0 1");
        refused(&g, "nonsense");
        destroy(&g);
    }
}
END_TEST

START_TEST(attack_46_grefs_that_are_none)
{
    static const char *const nodes[] = { "control-ref", "ring-ref",
                                         "timers-ref0" };

    for (unsigned i = 0; i < 3; i++) {
        struct guest g = guest_with(FRONT, "g", "");

        offer(&g);
        OK(&g, "write device/fartimer/0/%s 100000", nodes[i]);
        OK(&g, "wait %s/state 2 5000", own_back(&g, 0));
        OK(&g, "write device/fartimer/0/state 3");
        refused(&g, "mapped");
        destroy(&g);
    }
}
END_TEST

START_TEST(attack_46_fewer_pages_than_timers_are_refused)
{
    struct guest g = guest_with(FRONT, "g", "");

    offer(&g);
    OK(&g, "write device/fartimer/0/timers 129");
    OK(&g, "wait %s/state 2 5000", own_back(&g, 0));
    OK(&g, "write device/fartimer/0/state 3");
    refused(&g, "timers-ref1");
    destroy(&g);
}
END_TEST

START_TEST(attack_47_pages_revoked_and_a_guest_killed_with_armed_timers)
{
    struct guest g = guest_with(FRONT, "g", "");

    offer(&g);
    join(&g);
    for (unsigned i = 0; i < 20; i++)
        slot(&g, i, 1, 1000, 0x100);
    OK(&g, "unshare 2");
    OK(&g, "unshare 0");
    witness_works();
    stop_program(&g);
    ck_assert_int_eq(host_do(NULL, 0, "destroy atlas g"), 0);
    node_becomes(own_back(&g, 0), NULL);
    witness_works();
}
END_TEST

START_TEST(attack_49_ports_that_are_none)
{
    static const unsigned bad[] = { 0, 1000, 0x7fffffff };

    for (unsigned i = 0; i < 3; i++) {
        struct guest g = guest_with(FRONT, "g", "");

        offer(&g);
        OK(&g, "write device/fartimer/0/event-channel %u", bad[i]);
        OK(&g, "wait %s/state 2 5000", own_back(&g, 0));
        OK(&g, "write device/fartimer/0/state 3");
        refused(&g, "event-channel");
        destroy(&g);
    }
}
END_TEST

/* A request by hand: an arming for the device behind. */
static void arm_outside(struct guest *g, unsigned nth, unsigned timer,
                        uint32_t distance_ns)
{
    unsigned at = 64 + nth * 32;

    OK(g, "poke 1 %u %u", at, nth | FARTIMER_OP_ARM_IN << 16);
    OK(g, "poke 1 %u %u", at + 4, timer);
    OK(g, "poke 1 %u %u", at + 8, 0x100u + (nth << 8) + FARTIMER_OUTSIDE);
    OK(g, "poke 1 %u %u", at + 16, distance_ns);
    OK(g, "poke 1 0 %u", nth + 1);
    OK(g, "notify 0 1");
    for (unsigned i = 0; i < 500; i++) {
        if (number(say(g, "peek 1 8"), 1) == nth + 1)
            break;
        nap_ms(10);
    }
    ck_assert_uint_eq(number(say(g, "peek 1 8"), 1), nth + 1);
    ck_assert_uint_eq(number(say(g, "peek 1 %u", at + 4), 1), 0);
}

static uint64_t passed_on(unsigned domid, const char *name)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *one, *d;
    uint64_t n = 0;
    size_t i, k;

    json_array_foreach (json_object_get(whole, "guests"), i, one)
        if (json_integer_value(json_object_get(one, "domid")) ==
            (json_int_t)domid)
            json_array_foreach (json_object_get(one, "devices"), k, d)
                n += (uint64_t)json_integer_value(json_object_get(
                    json_object_get(json_object_get(d, "ops"), name),
                    "local-client"));
    json_decref(whole);
    return n;
}

START_TEST(a_timer_in_another_process_is_disarmed_by_a_store)
{
    pid_t netproxy;
    struct guest g;

    write_conf("[device far0]\ntype = timer\n[export far0]\n"
               "[guest g]\nattach = timer far0\n");
    json_decref(ask("{\"request\":\"reload\"}"));
    netproxy = start_netproxy();
    g = guest_with(FRONT, "g", "");
    offer(&g);
    join(&g);
    arm_outside(&g, 0, 2, 1000000000);
    /* none of the guest's, and yet it is passed on, with a place of its own */
    slot(&g, 2, 0, 0, 0x100u + FARTIMER_OUTSIDE);
    for (unsigned i = 0; i < 200 && passed_on(g.domid, "timer.cancel") == 0;
         i++)
        nap_ms(10);
    ck_assert_uint_eq(passed_on(g.domid, "timer.cancel"), 1);
    for (unsigned i = 1; i < 40; i++)
        arm_outside(&g, i, 3, 1000000);
    for (unsigned i = 0; i < 500 && fired_arm(&g, 3) == 0; i++)
        nap_ms(10);
    ck_assert_uint_ne(fired_arm(&g, 3), 0);
    /* armed outside, and then here: the one there says nothing any more */
    arm_outside(&g, 40, 4, 200000000);
    slot(&g, 4, 1, 0, 0x9900);
    nap_ms(1200);
    ck_assert_uint_eq(fired_arm(&g, 4), 0x9900);
    ck_assert_uint_eq(fired_arm(&g, 2), 0);
    ck_assert_uint_eq(passed_on(g.domid, "timer.cancel"), 2);
    destroy(&g);
    end_with(&netproxy, SIGKILL);
    witness_works();
}
END_TEST

/* What a guest says that it has taken of a doorbell's page. */
START_TEST(attack_8_a_consumed_that_is_impossible_loses_the_device_alone)
{
    static const unsigned bad[] = { 1, 300, 0x80000000u, 0xffffffffu };
    struct guest a = bell_guest("a");
    char path[128];

    for (unsigned i = 0; i < 4; i++) {
        struct guest b = guest_with(FRONT, "b", "");

        snprintf(path, sizeof(path), "/local/domain/0/backend/fardoorbell/%u/0",
                 b.domid);
        node_becomes(path, "");
        for (unsigned k = 0; k < 2; k++)
            b.gref[k] = (unsigned)strtoul(say(&b, "share %u", k) + 3, NULL, 10);
        b.port[0] = (unsigned)strtoul(say(&b, "offer 0") + 3, NULL, 10);
        OK(&b, "write device/fardoorbell/0/control-ref %u", b.gref[0]);
        OK(&b, "write device/fardoorbell/0/ring-ref %u", b.gref[1]);
        OK(&b, "write device/fardoorbell/0/event-channel %u", b.port[0]);
        OK(&b, "write device/fardoorbell/0/version 1");
        OK(&b, "wait %s/state 2 5000", path);
        OK(&b, "write device/fardoorbell/0/state 3");
        OK(&b, "wait %s/state 4 5000", path);
        OK(&b, "poke 0 64 %u", bad[i]);
        ck_assert_str_eq(say(&a, "ring 3"), "ok 0 -11");
        OK(&b, "wait %s/state 56 5000", path);
        destroy(&b);
        node_becomes(path, NULL);
        ck_assert_str_eq(say(&a, "ring 3"), "ok 0 -107");
    }
    destroy(&a);
    witness_works();
}
END_TEST

START_TEST(attack_50_a_storm_of_events_costs_the_others_nothing)
{
    struct guest g = guest_with(FRONT, "g", "");

    offer(&g);
    join(&g);
    for (unsigned i = 0; i < 5; i++) {
        OK(&g, "notify 0 50000");
        witness_works();
    }
    destroy(&g);
}
END_TEST

/* The control page overwritten as fast as can be, the clock with it. */
START_TEST(attack_4_a_page_that_changes_all_the_time_harms_only_its_guest)
{
    struct guest g = guest_with(FRONT, "g", "");

    offer(&g);
    join(&g);
    OK(&g, "hammer 0 200");
    OK(&g, "hammer 2 200");
    witness_works();
    OK(&g, "hammer 1 200");
    witness_works();
    destroy(&g);
}
END_TEST

START_TEST(attack_4_marks_without_end_keep_no_turn_from_ending)
{
    struct guest g = guest_with(FRONT, "g", "");
    uint64_t until;

    offer(&g);
    join(&g);
    OK(&g, "mark 0 8000");
    until = far_now_us() + 6000000;
    OK(&g, "notify 0 1");
    nap_ms(200);
    for (unsigned i = 0; i < 3; i++)
        witness_works();
    ck_assert_msg(far_now_us() < until, "the witness had to wait for the end");
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { timers_expire_once_and_never_early, 1 },
        { a_thousand_random_deadlines_are_all_met, 1 },
        { periods_are_all_counted, 1 },
        { the_clock_is_the_hosts_within_the_bound_that_it_says, 1 },
        { a_timer_outlives_a_kill_of_the_backend, 1 },
        { a_saved_guest_keeps_its_timers_and_its_clock_goes_on, 1 },
        { what_is_meant_for_outside_goes_there_and_the_counters_say_so, 1 },
        { a_number_of_timers_that_was_raised_holds_for_the_next_connection, 1 },
        { a_timer_in_another_process_is_disarmed_by_a_store, 1 },
        { a_guest_with_a_limit_gets_no_more_interrupts_and_misses_nothing, 1 },
        { two_guests_ring_each_other_and_nobody_else_hears, 1 },
        { what_a_device_held_that_is_another_one_now_is_answered, 1 },
        { a_thousand_rings_come_once_each_and_a_full_page_refuses, 1 },
        { a_flood_of_rings_between_processes_never_falls_silent, 1 },
        { a_doorbell_rings_again_after_a_kill_of_the_backend, 1 },
        { attack_8_a_consumed_that_is_impossible_loses_the_device_alone, 1 },
        { nodes_come_with_the_guest_and_go_with_it, 1 },
        { nodes_of_a_guest_that_died_while_we_were_dead_are_swept, 1 },
        { a_number_that_is_another_guests_now_keeps_none_of_the_old_ones, 1 },
        { attach_and_detach_by_hand, 1 },
        { attack_45_deadlines_that_are_past_none_or_never_and_nonsense, 1 },
        { attack_45_a_flood_of_armings_delays_nobody_for_long, 1 },
        { attack_1_to_3_a_ring_index_that_is_impossible_loses_the_device, 1 },
        { attack_46_grefs_that_are_none, 1 },
        { attack_46_fewer_pages_than_timers_are_refused, 1 },
        { attack_47_pages_revoked_and_a_guest_killed_with_armed_timers, 1 },
        { attack_49_ports_that_are_none, 1 },
        { attack_50_a_storm_of_events_costs_the_others_nothing, 1 },
        { attack_4_a_page_that_changes_all_the_time_harms_only_its_guest, 1 },
        { attack_4_marks_without_end_keep_no_turn_from_ending, 1 },
    };

    return host_main("own", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
