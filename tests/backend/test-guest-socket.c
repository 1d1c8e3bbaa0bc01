/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-frontend's socket in a simulated guest: programs that share its
 * timers and doorbells, and some that do what they should not.
 */
#include "tests/backend/simhost.h"

#define CLIENT "tests/frontend/client"

static struct guest g, h, more; /* more: another program of guest g */
static pid_t frontend;
static char at[200];

static void set_up(void)
{
    char path[200], program[600], option[300];
    FILE *f;

    fresh_host();
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f, "[platform]\nname = atlas\n"
               "[device timer0]\ntype = timer\n"
               "[device bell0]\ntype = doorbell\n"
               "[guest g]\nattach = timer timer0\nattach = doorbell bell0\n"
               "[guest h]\nattach = doorbell bell0\n");
    fclose(f);
    start_backend();
    h = guest_with("tests/frontend/bell", "h", "");
    OK(&h, "open 0 0");
    OK(&h, "connected 10000");
    g = guest_with(CLIENT, "g", "");
    snprintf(at, sizeof(at), "%s/guest.sock", host);
    snprintf(option, sizeof(option), "--socket=%s", at);
    snprintf(program, sizeof(program), "%s/frontend/farside-frontend", build);
    frontend = fork();
    if (!frontend) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(sim, sim, "run", "atlas/g", "--", program, option, (char *)NULL);
        _exit(127);
    }
    more = (struct guest){ .name = "g" };
    run_program(&more, CLIENT);
    for (unsigned i = 0; i < 500 && access(at, W_OK); i++)
        nap_ms(10);
    OK(&g, "open %s", at);
    OK(&more, "open %s", at);
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    end_with(&frontend, SIGTERM);
    stop_program(&g);
    stop_program(&h);
    stop_program(&more);
}

static void hears(struct guest *who, const char *what)
{
    const char *answer = say(who, "next 10000");

    ck_assert_msg(!strcmp(answer, what), "%s, not %s", answer, what);
}

START_TEST(each_program_has_timers_of_its_own)
{
    OK(&g, "arm 3 20000000 0");
    OK(&more, "arm 3 1000000 0");
    OK(&more, "arm 63 40000000 0");
    hears(&more, "expired 3 1");
    hears(&g, "expired 3 1");
    hears(&more, "expired 63 1");
    OK(&g, "arm 5 1500000000 0");
    OK(&g, "cancel 5");
    ck_assert_str_eq(say(&g, "next 2000"), "nothing");
    ck_assert_str_eq(say(&g, "arm 64 1 0"), "no Invalid argument");
}
END_TEST

START_TEST(the_clock_is_the_hosts)
{
    unsigned long long now = 0, error_ns;
    unsigned value = 0;

    for (unsigned i = 1; i < 200 && !now; i++) { /* until it is connected */
        OK(&g, "now %u", i);
        ck_assert_int_eq(sscanf(say(&g, "next 5000"), "time %u %llu %llu",
                                &value, &now, &error_ns),
                         3);
        ck_assert_uint_eq(value, i);
        nap_ms(10);
    }
    ck_assert_uint_ge(far_now_ns() + 1000000, now);
    ck_assert_uint_le(far_now_ns(), now + 5000000000);
}
END_TEST

START_TEST(who_does_not_read_gets_its_expiries_added_up)
{
    unsigned long long count = 0;
    unsigned timer;

    OK(&g, "arm 1 1000000 1000000");
    nap_ms(1500); /* more than a socket's buffer holds */
    for (unsigned i = 0; i < 2000 && count < 1000; i++) {
        unsigned long long n;

        ck_assert_int_eq(
            sscanf(say(&g, "next 5000"), "expired %u %llu", &timer, &n), 2);
        ck_assert_uint_eq(timer, 1);
        count += n;
    }
    ck_assert_uint_ge(count, 1000);
}
END_TEST

START_TEST(who_goes_leaves_no_timer_behind)
{
    OK(&g, "arm 7 1500000000 0");
    stop_program(&g);
    run_program(&g, CLIENT);
    OK(&g, "open %s", at); /* the place that became free */
    ck_assert_str_eq(say(&g, "next 2000"), "nothing");
}
END_TEST

START_TEST(programs_share_a_doorbell)
{
    const char *answer;

    OK(&g, "listen 0");
    hears(&g, "answer 0 0 0");
    OK(&more, "listen 0");
    hears(&more, "answer 0 0 0");
    for (unsigned i = 0;; i++) { /* until it is connected */
        OK(&g, "ring 0 4711");
        answer = say(&g, "next 5000");
        if (!strcmp(answer, "answer 0 4711 0"))
            break;
        ck_assert_msg(i < 300 && strstr(answer, "-107"), "%s", answer);
        nap_ms(10);
    }
    ck_assert_str_eq(say(&h, "heard 1 5000"), "ok 1 4711 4711");
    ck_assert_str_eq(say(&h, "ring 815"), "ok 0 0");
    hears(&g, "rung 0 815");
    hears(&more, "rung 0 815");
}
END_TEST

START_TEST(attack_packets_that_make_no_sense_are_refused_or_end_their_sender)
{
    OK(&more, "say 1 64");
    hears(&more, "answer 64 0 -22");
    OK(&more, "say 2 4000000000");
    hears(&more, "answer 4000000000 0 -22");
    OK(&more, "say 99 1");
    hears(&more, "answer 1 0 -22");
    OK(&more, "say 4 5000");
    hears(&more, "answer 5000 0 -22");
    OK(&more, "junk 31");
    ck_assert_str_eq(say(&more, "next 5000"), "Broken pipe");
    OK(&more, "open %s", at);
    OK(&more, "junk 33");
    ck_assert_str_eq(say(&more, "next 5000"), "Broken pipe");
    OK(&g, "arm 3 1000000 0");
    hears(&g, "expired 3 1");
}
END_TEST

START_TEST(attack_more_doorbells_than_there_may_be)
{
    for (unsigned i = 0; i < 16; i++) {
        char want[64];

        OK(&more, "listen %u", i);
        snprintf(want, sizeof(want), "answer %u 0 0", i);
        hears(&more, want);
    }
    OK(&more, "listen 16");
    hears(&more, "answer 16 0 -28");
    OK(&g, "arm 3 1000000 0");
    hears(&g, "expired 3 1");
}
END_TEST

/* It asks without end and takes no answer. */
START_TEST(attack_a_flood_whose_answers_nobody_reads)
{
    for (unsigned i = 0; i < 100; i++)
        fprintf(more.in, "now %u\n", i);
    for (unsigned i = 0; i < 2000; i++)
        fprintf(more.in, "say 99 1\n");
    fflush(more.in);
    for (unsigned i = 0; i < 20; i++) {
        OK(&g, "arm 3 1000000 0");
        hears(&g, "expired 3 1");
    }
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { each_program_has_timers_of_its_own, 1 },
        { the_clock_is_the_hosts, 1 },
        { who_does_not_read_gets_its_expiries_added_up, 1 },
        { who_goes_leaves_no_timer_behind, 1 },
        { programs_share_a_doorbell, 1 },
        { attack_packets_that_make_no_sense_are_refused_or_end_their_sender,
          1 },
        { attack_more_doorbells_than_there_may_be, 1 },
        { attack_a_flood_whose_answers_nobody_reads, 1 },
    };

    return host_main("guest-socket", tests, sizeof(tests) / sizeof(tests[0]),
                     set_up, tear_down, 60, argc, argv);
}
