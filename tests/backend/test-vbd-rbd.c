/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Images of a Ceph cluster, on the simulator: farside-rbd between the backend
 * and a cluster that tests/ceph/run has started: its folder is in
 * FARSIDE_TEST_CEPH. Without one there is nothing to test.
 */
#include <stdint.h>
#include "tests/backend/disk.h"

static pid_t device, other;
static const char *cluster;
static char image[80];

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
    char command[600];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    ck_assert_msg(system(command) == 0, "%s", command);
}

/* name: of its socket and log. */
static pid_t start_device(const char *name, const char *option)
{
    char program[600], at[300];
    char *words[] = { program, at, (char *)(uintptr_t)option, image, NULL };

    snprintf(program, sizeof(program), "%s/farside-rbd", build);
    snprintf(at, sizeof(at), "--socket=%s/run/%s", host, name);
    return run_words(name, words);
}

static void osd(const char *what)
{
    shell("%s osd-%s %s", getenv("FARSIDE_TEST_CLUSTER"), what, cluster);
}

static void set_up(void)
{
    char path[300];
    FILE *f;

    /* one of its own: whoever was killed holds it for half a minute */
    snprintf(image, sizeof(image), "rbd/disk-%d-%llu", (int)getpid(),
             (unsigned long long)far_now_us());
    shell("rbd create --size 16M %s", image);
    fresh_host();
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device rbd0]\ntype = outside\nclass = block\n"
            "socket = %s/run/rbd0\n"
            "[device rbd1]\ntype = outside\nclass = block\n"
            "socket = %s/run/rbd1\n",
            host, host);
    fclose(f);
    start_backend();
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    end_with(&device, SIGTERM);
    end_with(&other, SIGTERM);
}

static void ended_well(struct guest *g)
{
    const char *fault = load_fault(g, 200);

    if (!fault)
        return;
    shell("tail -n 20 %s/*.log >&2", host);
    ck_abort_msg("%s", fault);
}

START_TEST(an_image_is_read_written_discarded_and_grows)
{
    struct guest g;

    device = start_device("rbd0", "--take-over");
    g = connected_to("rbd0", _i ? "4 2 50 32 1 0" : PLAIN);
    ck_assert_str_eq(say(&g, "load 1 3000 16 1000 4096"), "going");
    ended_well(&g);
    ck_assert_str_eq(say(&g, "one 1 8192 4096 165"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&g, "one 0 8192 4096 1"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&g, "one 5 8192 4096 0"), "ok 0 00 00");
    ck_assert_str_eq(say(&g, "one 0 16777216 512 1"), "ok -1 01 01");
    ck_assert_int_eq(counter(&g, "kept_bytes"), 0);
    shell("rbd resize --no-progress --size 32M %s", image);
    for (unsigned i = 0; !strstr(say(&g, "info"), "sectors 65536"); i++) {
        ck_assert_uint_lt(i, 100);
        OK(&g, "turn 100");
    }
    ck_assert_str_eq(say(&g, "one 0 16777216 512 1"), "ok 0 00 00");
    destroy(&g);
}
END_TEST

/* Answered is durable: nobody keeps a copy. */
START_TEST(an_osd_or_device_that_is_killed_costs_no_answered_write)
{
    struct guest g;

    device = start_device("rbd0", "--take-over");
    g = connected_to("rbd0", PLAIN);
    ck_assert_str_eq(say(&g, "load 3 30000 16 1000 4096"), "going");
    for (unsigned i = 0; i < 6; i++) {
        nap_ms(1500);
        if (i % 3 == 2) {
            osd("kill");
            nap_ms(300);
            osd("start");
            continue;
        }
        end_with(&device, SIGKILL);
        if (i % 3 == 1)
            kill_backend(SIGKILL);
        device = start_device("rbd0", "--take-over");
        if (i % 3 == 1)
            start_backend();
    }
    ended_well(&g);
    ck_assert_ptr_nonnull(strstr(say(&g, "info"), "connects 1 wrong 0"));
    destroy(&g);
}
END_TEST

/* The second one waits; where it takes over, the first writes nothing more. */
START_TEST(two_writers_of_an_image_are_kept_apart)
{
    struct guest g, h;
    char line[300];

    device = start_device("rbd0", "--take-over");
    g = connected_to("rbd0", PLAIN);
    ck_assert_str_eq(say(&g, "one 1 8192 4096 165"), "ok 0 a5 a5");
    other = start_device("rbd1", "--read-only");
    snprintf(line, sizeof(line), LINE("xvda", "rbd1"));
    h = guest("h", line);
    connect_disk(&h, PLAIN);
    ck_assert_str_eq(say(&h, "one 0 8192 4096 1"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&h, "one 1 8192 4096 7"), "ok -1 07 07");
    destroy(&h);
    end_with(&other, SIGTERM);
    other = start_device("rbd1", "--take-over");
    h = guest("h", line);
    connect_disk(&h, PLAIN);
    ck_assert_str_eq(say(&h, "one 0 8192 4096 1"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&h, "one 1 8192 4096 7"), "ok 0 07 07");
    ck_assert_str_eq(say(&g, "one 1 8192 4096 9"), "ok -1 09 09");
    ck_assert_str_eq(say(&g, "one 0 8192 4096 9"), "ok -1 09 09");
    ck_assert_str_eq(say(&h, "one 0 8192 4096 1"), "ok 0 07 07");
    destroy(&g);
    destroy(&h);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { an_image_is_read_written_discarded_and_grows, 2 },
        { an_osd_or_device_that_is_killed_costs_no_answered_write, 1 },
        { two_writers_of_an_image_are_kept_apart, 1 },
    };

    cluster = getenv("FARSIDE_TEST_CEPH");
    if (!cluster)
        return 77; /* skipped */
    return host_main("vbd-rbd", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 300, argc, argv);
}
