/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller on the simulator: as the library in a guest sees it,
 * with sources here and in a process of their own; over a kill of the backend
 * and a save; and fronts that do what they should not (front.c). Whatever a
 * guest does, it loses its own device at most, with a reason, and the witness's
 * interrupts go on.
 */
#include "tests/backend/simhost.h"

#define VECTORS "tests/frontend/vectors"
#define BELL    "tests/frontend/bell"

static struct guest witness;
static char fifo[200];

/* The source's program is started by the daemon, and reads its lines here. */
static void write_conf(const char *more)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device edges]\ntype = interrupts\n"
            "[device levels]\ntype = interrupts\ntrigger = level\n"
            "[device irqw]\ntype = interrupts\n"
            "[device bell0]\ntype = doorbell\n"
            "[device board]\ntype = outside\nclass = intc\n"
            "socket = %s/board.sock\n"
            "[guest witness]\nattach = intc irqw\n%s",
            host, more);
    fclose(f);
}

#define BOARD                                                \
    "[device vectors]\ntype = vectors\n"                     \
    "source = 0-15 intc edges\n"                             \
    "source = 16-31 intc levels line=1 priority=1\n"         \
    "source = 32 doorbell bell0 priority=0\n"                \
    "source = 40-47 intc board\n"                            \
    "source = 50 intc edges line=50 max=100\n"               \
    "source = 51 intc edges line=51 wait=300ms together=4\n" \
    "[guest g]\nattach = intc vectors\n"                     \
    "[guest a]\nattach = doorbell bell0\n"

/* flags 2: notified, not looking */
static void connect_vectors(struct guest *g, unsigned channels, unsigned flags)
{
    OK(g, "open 0 64 %u %u", channels, flags);
    OK(g, "connected 15000");
}

static struct guest vectors_guest(void)
{
    struct guest g = guest_with(VECTORS, "g", "");

    connect_vectors(&g, 1, 2);
    return g;
}

static uint64_t number(const char *answer, unsigned nth)
{
    for (; nth; nth--) {
        answer = strchr(answer, ' ');
        ck_assert_msg(answer != NULL, "too short");
        answer++;
    }
    return strtoull(answer, NULL, 10);
}

static pid_t board;

static void start_source(const char *name)
{
    char program[600], path[200];

    snprintf(fifo, sizeof(fifo), "%s/board.lines", host);
    snprintf(path, sizeof(path), "%s/board.sock", host);
    snprintf(program, sizeof(program), "%s/%s", build, name);
    board = fork();
    if (!board) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("FARSIDE_SOCKET", path, 1);
        setenv("FARSIDE_DEVICE", "board", 1);
        execl(program, program, fifo, (char *)NULL);
        _exit(127);
    }
    for (unsigned i = 0; i < 500 && access(path, F_OK); i++)
        nap_ms(10);
    ck_assert_int_eq(access(path, F_OK), 0);
}

static void start_board(void)
{
    start_source("docs/examples/outside-interrupts");
}

static void stop_board(void)
{
    end_with(&board, SIGKILL);
}

static void board_does(const char *lines)
{
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
    close(fd);
}

static void set_up(void)
{
    fresh_host();
    write_conf(BOARD);
    start_backend();
    witness = guest_with(VECTORS, "witness", "");
    connect_vectors(&witness, 1, 0);
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&witness);
    stop_board();
}

static void line(const char *device, unsigned code, int value)
{
    json_t *answer = ask("{\"request\":\"send\",\"device\":\"%s\",\"events\":[{"
                         "\"type\":\"key\",\"code\":%u,\"value\":%d}]}",
                         device, code, value);

    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

static uint64_t witness_total;

static void witness_works(void)
{
    line("irqw", 3, 1);
    witness_total++;
    ck_assert_uint_eq(
        number(say(&witness, "wait %u 5000", (unsigned)witness_total), 1),
        witness_total);
}

/* What is raised before a source is there for the guest is not the guest's. */
static void wait_there(struct guest *g, unsigned vector, const char *answer)
{
    for (unsigned i = 0; i < 1000; i++) {
        if (!strcmp(say(g, "ask %u", vector), answer))
            return;
        nap_ms(10);
    }
    ck_assert_str_eq(say(g, "ask %u", vector), answer);
}

/* With the board behind it. */
static struct guest board_guest(void)
{
    struct guest g;

    start_board();
    g = vectors_guest();
    wait_there(&g, 41, "ok 0 0 3");
    return g;
}

/* A number of a guest's first device. */
static long long counter(const struct guest *g, const char *group,
                         const char *name)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *one, *d;
    long long value = -1;
    size_t i, k;

    json_array_foreach (json_object_get(whole, "guests"), i, one)
        if (json_integer_value(json_object_get(one, "domid")) ==
            (json_int_t)g->domid)
            json_array_foreach (json_object_get(one, "devices"), k, d)
                value = json_integer_value(
                    json_object_get(json_object_get(d, group), name));
    json_decref(whole);
    return value;
}

/* --- what should work ------------------------------------------------------
 */

START_TEST(edges_come_once_each_and_what_is_masked_comes_later)
{
    struct guest g = vectors_guest();

    for (unsigned i = 0; i < 5; i++)
        line("edges", 2, 1);
    ck_assert_uint_eq(number(say(&g, "wait 5 5000"), 1), 5);
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 5);
    OK(&g, "mask 2");
    for (unsigned i = 0; i < 3; i++)
        line("edges", 2, 1);
    line("edges", 3, 1);
    ck_assert_uint_eq(number(say(&g, "wait 6 5000"), 1), 6);
    ck_assert_uint_eq(number(say(&g, "wait 7 50"), 1), 6);
    ck_assert_str_eq(say(&g, "pending 2"), "ok 1");
    ck_assert_str_eq(say(&g, "pending 4"), "ok 0");
    OK(&g, "unmask 2");
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 8);
    ck_assert_str_eq(say(&g, "pending 2"), "ok 0");
    /* nothing is left over */
    ck_assert_uint_eq(number(say(&g, "wait 100 50"), 1), 9);
    line("edges", 2, 1);
    ck_assert_uint_eq(number(say(&g, "wait 10 5000"), 1), 10);
    destroy(&g);
}
END_TEST

START_TEST(a_level_is_raised_until_it_is_low_and_once_for_each_end)
{
    struct guest g = vectors_guest();

    line("levels", 5, 1); /* vector 20 */
    ck_assert_uint_eq(number(say(&g, "wait 1 5000"), 1), 1);
    ck_assert_uint_eq(number(say(&g, "wait 2 50"), 1), 1);
    /* it is high still */
    ck_assert_str_eq(say(&g, "eoi 20"), "ok 0");
    ck_assert_uint_eq(number(say(&g, "wait 2 5000"), 1), 2);
    ck_assert_uint_eq(number(say(&g, "count 20"), 1), 2);
    line("levels", 5, 0);
    ck_assert_str_eq(say(&g, "eoi 20"), "ok 0");
    ck_assert_uint_eq(number(say(&g, "wait 3 50"), 1), 2);
    ck_assert_str_eq(say(&g, "eoi 20"), "ok -22");
    /* the end was not told to anybody: the line was low */
    line("levels", 5, 1);
    ck_assert_uint_eq(number(say(&g, "wait 3 5000"), 1), 3);
    line("levels", 5, 0);
    OK(&g, "eoi 20");
    /* what is low before the guest looks is nothing */
    OK(&g, "mask 20");
    line("levels", 5, 1);
    ck_assert_str_eq(say(&g, "pending 20"), "ok 1");
    line("levels", 5, 0);
    ck_assert_str_eq(say(&g, "pending 20"), "ok 0");
    OK(&g, "unmask 20");
    ck_assert_uint_eq(number(say(&g, "wait 4 50"), 1), 3);
    ck_assert_int_eq(counter(&g, "counters", "withdrawn"), 1);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(the_highest_priority_comes_first_and_a_threshold_holds_the_others)
{
    struct guest g = vectors_guest();

    OK(&g, "threshold 0");
    line("edges", 1, 1);
    line("edges", 2, 1);
    line("edges", 3, 1);
    line("levels", 1, 1); /* vector 16, priority 1 */
    ck_assert_uint_eq(number(say(&g, "wait 1 50"), 1), 0);
    ck_assert_str_eq(say(&g, "set 3 0 0 0 0 0"), "ok 0 0 0");
    OK(&g, "threshold 4");
    ck_assert_str_eq(say(&g, "order"), "ok 3 16");
    line("edges", 4, 1);
    ck_assert_uint_eq(number(say(&g, "wait 3 50"), 1), 2);
    OK(&g, "threshold 8");
    ck_assert_str_eq(say(&g, "order"), "ok 1 2 4");
    ck_assert_str_eq(say(&g, "set 3 8 0 0 0 0"), "ok -22 1 0");
    ck_assert_str_eq(say(&g, "ask 3"), "ok 0 0 3");
    ck_assert_str_eq(say(&g, "ask 63"), "ok 0 0 0");
    destroy(&g);
}
END_TEST

/* Unmasked under a threshold that holds it: its bit has been looked at by then.
 */
START_TEST(what_was_unmasked_under_a_threshold_comes_when_it_rises)
{
    struct guest g = vectors_guest();

    OK(&g, "mask 2");
    OK(&g, "mask 20");
    line("edges", 2, 1);
    line("levels", 5, 1); /* vector 20 */
    line("edges", 3, 1);
    ck_assert_uint_eq(number(say(&g, "wait 1 5000"), 1), 1);
    OK(&g, "threshold 0");
    OK(&g, "unmask 2");
    OK(&g, "unmask 20");
    ck_assert_uint_eq(number(say(&g, "wait 2 50"), 1), 1);
    OK(&g, "order");
    OK(&g, "threshold 8");
    ck_assert_str_eq(say(&g, "order"), "ok 20 2");
    /* nor is one lost whose bit went with a backend */
    OK(&g, "threshold 0");
    line("edges", 2, 1);
    ck_assert_uint_eq(number(say(&g, "wait 4 50"), 1), 3);
    kill_backend(SIGKILL);
    start_backend();
    OK(&g, "connected 15000");
    OK(&g, "threshold 8");
    ck_assert_uint_ge(number(say(&g, "wait 4 5000"), 1), 4);
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 2);
    destroy(&g);
}
END_TEST

START_TEST(another_guests_doorbell_is_a_vector)
{
    struct guest g = vectors_guest(), a = guest_with(BELL, "a", "");
    bool rang = false;

    OK(&a, "open 0");
    OK(&a, "connected 10000");
    for (unsigned i = 0; i < 200 && !rang; i++)
        rang = !strcmp(say(&a, "ring 7"), "ok 0 0");
    ck_assert(rang);
    ck_assert_uint_eq(number(say(&g, "wait 1 5000"), 1), 1);
    ck_assert_uint_eq(number(say(&g, "count 32"), 1), 1);
    ck_assert_str_eq(say(&a, "rings 0 100"), "ok 100");
    ck_assert_uint_eq(number(say(&g, "wait 101 5000"), 1), 101);
    ck_assert_uint_eq(number(say(&g, "count 32"), 1), 101);
    destroy(&a);
    destroy(&g);
}
END_TEST

START_TEST(many_vectors_are_behind_one_channel_or_each_has_its_own)
{
    struct guest g = guest_with(VECTORS, "g", "");

    connect_vectors(&g, 32, 2);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_str_eq(say(&g, "set %u 4 %u 0 0 0", i, 16 + i), "ok 0 0 0");
    for (unsigned i = 1; i < 16; i++) {
        line("edges", i, 1);
        ck_assert_uint_eq(number(say(&g, "wait %u 5000", i), 1), i);
        ck_assert_uint_eq(number(say(&g, "count %u", i), 1), 1);
    }
    ck_assert_str_eq(say(&g, "set 1 4 32 0 0 0"), "ok -22 1 0");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_storm_comes_at_its_limit_and_all_of_it_is_counted)
{
    struct guest g = vectors_guest();
    uint64_t begin = far_now_us(), took_us;
    long long injected;

    for (unsigned i = 0; i < 300; i++)
        line("edges", 50, 1);
    ck_assert_uint_eq(number(say(&g, "wait 300 20000"), 1), 300);
    took_us = far_now_us() - begin;
    injected = counter(&g, "counters", "injected");
    ck_assert_int_le(injected, 11 + (long long)(took_us / 10000));
    ck_assert_int_ge(injected, 1);
    ck_assert_int_gt(counter(&g, "counters", "delayed"), 0);
    /* the guest may ask for less, not for more */
    ck_assert_str_eq(say(&g, "set 50 4 0 1000000 0 0"), "ok 0 0 0");
    ck_assert_str_eq(say(&g, "set 1 4 0 2 0 0"), "ok 0 0 0");
    for (unsigned i = 0; i < 20; i++)
        line("edges", 1, 1);
    ck_assert_uint_ge(number(say(&g, "wait 320 10000"), 1), 320);
    ck_assert_uint_le(number(say(&g, "count 1"), 2), 3);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(some_that_come_together_are_one_interrupt)
{
    struct guest g = vectors_guest();

    for (unsigned i = 0; i < 4; i++)
        line("edges", 51, 1);
    ck_assert_uint_eq(number(say(&g, "wait 4 5000"), 1), 4);
    ck_assert_str_eq(say(&g, "count 51"), "ok 4 1");
    line("edges", 51, 1);
    ck_assert_uint_eq(number(say(&g, "wait 5 5000"), 1), 5);
    ck_assert_str_eq(say(&g, "count 51"), "ok 5 2");
    destroy(&g);
}
END_TEST

/* The source is another process, which goes on counting meanwhile. */
START_TEST(no_edge_is_lost_or_doubled_and_no_level_lost_by_kills_of_the_backend)
{
    struct guest g = board_guest();
    uint64_t total = 0;

    board_does("3\n");
    ck_assert_uint_eq(number(say(&g, "wait %u 10000", (unsigned)++total), 1),
                      total);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 40; i++) {
            board_does("3\n");
            total++;
            if (i == 20)
                kill_backend(SIGKILL);
        }
        if (round == 2)
            board_does("5+\n"); /* vector 45 */
        start_backend();
        board_does("3\n");
        total++;
        OK(&g, "connected 15000");
        if (round == 2)
            total++;
        ck_assert_uint_eq(number(say(&g, "wait %u 20000", (unsigned)total), 1),
                          total);
        ck_assert_uint_eq(
            number(say(&g, "wait %u 100", (unsigned)total + 1), 1), total);
    }
    /* it was not ended, so that it came once, and comes again */
    ck_assert_uint_eq(number(say(&g, "count 45"), 1), 1);
    ck_assert_str_eq(say(&g, "eoi 45"), "ok 0");
    ck_assert_uint_eq(number(say(&g, "wait %u 5000", (unsigned)++total), 1),
                      total);
    board_does("5-\n");
    nap_ms(100);
    OK(&g, "eoi 45");
    ck_assert_uint_eq(number(say(&g, "wait %u 100", (unsigned)total + 1), 1),
                      total);
    destroy(&g);
}
END_TEST

START_TEST(a_source_that_dies_begins_anew_and_takes_nothing_else_along)
{
    struct guest g = board_guest();

    board_does("1\n1\n6+\n");
    ck_assert_uint_eq(number(say(&g, "wait 3 10000"), 1), 3);
    stop_board();
    line("edges", 1, 1);
    ck_assert_uint_eq(number(say(&g, "wait 4 5000"), 1), 4);
    wait_there(&g, 41, "ok 0 0 1");
    start_board();
    wait_there(&g, 41, "ok 0 0 3");
    board_does("1\n");
    ck_assert_uint_eq(number(say(&g, "wait 5 10000"), 1), 5);
    /* the line that was high is not any more */
    OK(&g, "eoi 46");
    ck_assert_uint_eq(number(say(&g, "wait 6 100"), 1), 5);
    board_does("6+\n");
    ck_assert_uint_eq(number(say(&g, "wait 6 5000"), 1), 6);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(masks_and_what_is_pending_survive_a_save)
{
    struct guest g = vectors_guest();
    char file[300];

    OK(&g, "mask 2");
    line("edges", 2, 1);
    line("edges", 2, 1);
    line("edges", 3, 1);
    line("levels", 1, 1);
    ck_assert_uint_eq(number(say(&g, "wait 2 5000"), 1), 2);
    snprintf(file, sizeof(file), "%s/saved", host);
    ck_assert_int_eq(host_do(NULL, 0, "save atlas g %s", file), 0);
    line("edges", 2, 1); /* while it is nowhere */
    line("edges", 3, 1);
    ck_assert_int_eq(host_do(NULL, 0, "restore atlas %s", file), 0);
    ck_assert_uint_eq(number(say(&g, "wait 3 15000"), 1), 3);
    ck_assert_str_eq(say(&g, "pending 2"), "ok 1");
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 0);
    ck_assert_uint_eq(number(say(&g, "count 3"), 1), 2);
    /* it is in service still, and high */
    ck_assert_uint_eq(number(say(&g, "count 16"), 1), 1);
    OK(&g, "eoi 16");
    ck_assert_uint_eq(number(say(&g, "wait 4 5000"), 1), 4);
    OK(&g, "unmask 2");
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 3);
    ck_assert_uint_eq(number(say(&g, "wait 8 100"), 1), 7);
}
END_TEST

START_TEST(a_driver_that_begins_anew_counts_from_then_on)
{
    struct guest g = vectors_guest();

    line("edges", 2, 1);
    ck_assert_uint_eq(number(say(&g, "wait 1 5000"), 1), 1);
    OK(&g, "close");
    line("edges", 3, 1);
    connect_vectors(&g, 2, 0);
    line("edges", 2, 1);
    ck_assert_uint_ge(number(say(&g, "wait 2 5000"), 1), 2);
    nap_ms(50);
    OK(&g, "wait 100 50");
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 2);
    destroy(&g);
}
END_TEST

START_TEST(sources_come_and_go_by_the_configuration)
{
    struct guest g;

    write_conf("[device vectors]\ntype = vectors\n"
               "source = 0 intc nobody\n"
               "[guest g]\nattach = intc vectors\n");
    json_decref(ask("{\"request\":\"reload\"}"));
    g = vectors_guest();
    ck_assert_str_eq(say(&g, "ask 0"), "ok 0 0 1");
    write_conf("[device nobody]\ntype = interrupts\n"
               "[device vectors]\ntype = vectors\n"
               "source = 0 intc nobody line=1\n"
               "source = 9-11 intc edges line=1\n"
               "[guest g]\nattach = intc vectors\n");
    json_decref(ask("{\"request\":\"reload\"}"));
    line("nobody", 1, 1);
    ck_assert_uint_eq(number(say(&g, "wait 1 5000"), 1), 1);
    line("edges", 3, 1);
    ck_assert_uint_eq(number(say(&g, "wait 2 5000"), 1), 2);
    ck_assert_uint_eq(number(say(&g, "count 11"), 1), 1);
    destroy(&g);
    witness_works();
}
END_TEST

/* What another source had counted before the guest had it is not the guest's.
 */
START_TEST(a_vector_that_gets_another_source_counts_on)
{
    struct guest g = vectors_guest();

    for (unsigned i = 0; i < 50; i++)
        line("edges", 3, 1);
    for (unsigned i = 0; i < 5; i++)
        line("edges", 2, 1);
    ck_assert_uint_eq(number(say(&g, "wait 55 5000"), 1), 55);
    ck_assert_str_eq(say(&g, "set 2 1 0 0 0 0"), "ok 0 0 0");
    write_conf("[device vectors]\ntype = vectors\n"
               "source = 2 intc edges line=3\n"
               "source = 3 intc irqw line=9\n"
               "[guest g]\nattach = intc vectors\n");
    json_decref(ask("{\"request\":\"reload\"}"));
    line("edges", 3, 1);
    ck_assert_uint_eq(number(say(&g, "wait 56 5000"), 1), 56);
    ck_assert_uint_eq(number(say(&g, "wait 57 50"), 1), 56);
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 6);
    /* what the guest had set holds as long as its connection */
    OK(&g, "threshold 2");
    line("edges", 3, 1);
    ck_assert_uint_eq(number(say(&g, "wait 57 5000"), 1), 57);
    OK(&g, "close");
    connect_vectors(&g, 1, 2);
    OK(&g, "threshold 2");
    line("edges", 3, 1);
    ck_assert_uint_eq(number(say(&g, "wait 58 100"), 1), 57);
    OK(&g, "threshold 8");
    ck_assert_uint_ge(number(say(&g, "wait 58 5000"), 1), 58);
    destroy(&g);
}
END_TEST

START_TEST(a_line_that_is_edge_now_is_not_high_any_more)
{
    struct guest g = board_guest();

    board_does("5+\n");
    ck_assert_uint_eq(number(say(&g, "wait 1 10000"), 1), 1);
    board_does("5\n");
    ck_assert_uint_eq(number(say(&g, "wait 2 5000"), 1), 2);
    board_does("5\n5\n");
    ck_assert_uint_eq(number(say(&g, "wait 4 5000"), 1), 4);
    OK(&g, "close");
    connect_vectors(&g, 1, 2);
    nap_ms(50);
    ck_assert_uint_eq(number(say(&g, "wait 5 100"), 1), 4);
    destroy(&g);
}
END_TEST

START_TEST(a_source_that_says_nonsense_harms_its_own_vectors_alone)
{
    struct guest g;

    start_source("tests/backend/wild-lines");
    g = vectors_guest();
    OK(&g, "ends 1");
    for (unsigned i = 0; i < 2000 && !counter(&g, "counters", "foreign"); i++)
        OK(&g, "pending 0"); /* it looks */
    for (unsigned i = 0; i < 20; i++) {
        line("edges", 2, 1);
        for (unsigned k = 0; k < 20; k++)
            OK(&g, "pending 0");
        witness_works();
    }
    ck_assert_int_gt(counter(&g, "counters", "raised"), 20);
    ck_assert_int_gt(counter(&g, "counters", "foreign"), 0);
    stop_board();
    for (unsigned i = 0; i < 2000 && number(say(&g, "count 2"), 1) < 20; i++)
        OK(&g, "pending 0");
    ck_assert_uint_eq(number(say(&g, "count 2"), 1), 20);
    for (unsigned i = 0; i < 64; i++)
        if (i != 2 && (i < 40 || i > 47))
            ck_assert_uint_eq(number(say(&g, "count %u", i), 1), 0);
    destroy(&g);
}
END_TEST

/* --- attacks ---------------------------------------------------------------
 */

static const char *back_of(const struct guest *g)
{
    static char path[128];

    snprintf(path, sizeof(path), "/local/domain/0/backend/farintc/%u/0",
             g->domid);
    return path;
}

/* A front by hand: control page 0, ring page 1, slots page 2. */
static void offer(struct guest *g)
{
    static const char *const nodes[] = { "control-ref", "ring-ref",
                                         "vectors-ref0" };

    OK(g, "wait %s/state 2 5000", back_of(g));
    for (unsigned i = 0; i < 3; i++) {
        g->gref[i] = (unsigned)strtoul(say(g, "share %u", i) + 3, NULL, 10);
        OK(g, "write device/farintc/0/%s %u", nodes[i], g->gref[i]);
    }
    g->port[0] = (unsigned)strtoul(say(g, "offer 0") + 3, NULL, 10);
    OK(g, "write device/farintc/0/event-channel %u", g->port[0]);
    OK(g, "write device/farintc/0/version 1");
    OK(g, "write device/farintc/0/vectors 64");
}

static void join(struct guest *g)
{
    OK(g, "write device/farintc/0/state 3");
    OK(g, "wait %s/state 4 5000", back_of(g));
    OK(g, "write device/farintc/0/state 4");
    OK(g, "poke 0 68 8"); /* threshold */
}

static void refused(struct guest *g, const char *words)
{
    const char *reason = "";

    OK(g, "wait %s/state 56 5000", back_of(g));
    for (int i = 0; i < 300; i++) {
        reason = say(g, "read %s/error", back_of(g));
        if (!strncmp(reason, "ok", 2))
            break;
        nap_ms(10);
    }
    ck_assert_msg(strstr(reason, words) != NULL, "\"%s\" has no \"%s\"", reason,
                  words);
    witness_works();
}

static uint32_t count_low(struct guest *g, unsigned vector)
{
    return (uint32_t)number(say(g, "peek 2 %u", vector * 32), 1);
}

START_TEST(ends_of_what_is_not_in_service_are_passed_over_and_counted)
{
    struct guest g = guest_at_front("g", "");

    offer(&g);
    join(&g);
    /* all vectors, those that there are not too, in every word */
    for (unsigned w = 0; w < 32; w++)
        OK(&g, "poke 0 %u 4294967295", 384 + w * 4);
    OK(&g, "poke 0 512 4294967295");
    OK(&g, "poke 0 516 4294967295");
    OK(&g, "notify 0 1");
    for (unsigned i = 0; i < 300 && counter(&g, "counters", "wrong_eois") < 64;
         i++)
        nap_ms(10);
    ck_assert_int_eq(counter(&g, "counters", "wrong_eois"), 64);
    ck_assert_int_eq(counter(&g, "counters", "eois"), 0);
    /* before it was taken: pending is set still */
    line("levels", 5, 1); /* vector 20, priority 1: byte 1024 + 128 */
    for (unsigned i = 0;
         i < 300 && !number(say(&g, "peek 0 %u", 1024 + 128), 1); i++)
        nap_ms(10);
    ck_assert_uint_eq(number(say(&g, "peek 0 %u", 1024 + 128), 1), 1u << 20);
    OK(&g, "poke 0 384 %u", 1u << 20);
    OK(&g, "poke 0 512 1");
    OK(&g, "notify 0 1");
    for (unsigned i = 0; i < 300 && counter(&g, "counters", "wrong_eois") < 65;
         i++)
        nap_ms(10);
    ck_assert_int_eq(counter(&g, "counters", "wrong_eois"), 65);
    /* and then rightly: it is raised again, as the line is high */
    OK(&g, "poke 0 %u 0", 1024 + 128);
    OK(&g, "poke 0 384 %u", 1u << 20);
    OK(&g, "poke 0 512 1");
    OK(&g, "notify 0 1");
    for (unsigned i = 0;
         i < 300 && !number(say(&g, "peek 0 %u", 1024 + 128), 1); i++)
        nap_ms(10);
    ck_assert_uint_eq(number(say(&g, "peek 0 %u", 1024 + 128), 1), 1u << 20);
    ck_assert_int_eq(counter(&g, "counters", "eois"), 1);
    OK(&g, "wait %s/state 4 100", back_of(&g));
    witness_works();
    destroy(&g);
}
END_TEST

START_TEST(attack_1_to_3_a_ring_index_that_is_impossible_loses_the_device)
{
    static const unsigned bad[] = { 65, 0x80000000u, 0xffffffffu };

    for (unsigned i = 0; i < 3; i++) {
        struct guest g = guest_at_front("g", "");

        offer(&g);
        join(&g);
        OK(&g, "poke 1 0 %u", bad[i]);
        OK(&g, "notify 0 1");
        refused(&g, "nonsense");
        destroy(&g);
    }
}
END_TEST

/* All of the pages overwritten as fast as can be, by another of the guest's
 * processors, while interrupts come and the backend reads masks, ends and
 * threshold. */
START_TEST(attack_4_maps_that_change_all_the_time_harm_only_their_guest)
{
    struct guest g = guest_at_front("g", "");

    offer(&g);
    join(&g);
    OK(&g, "wild 0 60000"); /* longer than all of it takes */
    OK(&g, "wild 2 60000"); /* counts, bases, epochs and sources */
    for (unsigned i = 0;
         i < 100 || (i < 5000 && counter(&g, "counters", "wrong_eois") < 100);
         i++) {
        line("edges", 1 + i % 15, 1);
        line("levels", 1 + i % 16, (int)(i / 16 + 1) % 2);
        OK(&g, "notify 0 10");
    }
    witness_works();
    ck_assert_int_gt(counter(&g, "counters", "wrong_eois"), 0);
    OK(&g, "wait %s/state 4 100", back_of(&g));
    for (unsigned w = 0; w < 1024; w += 4)
        OK(&g, "poke 2 %u 4294967295", w);
    line("edges", 2, 1);
    OK(&g, "wild 1 500"); /* requests, whatever they are */
    OK(&g, "notify 0 100");
    witness_works();
    destroy(&g);
    witness_works();
}
END_TEST

/* As 4, from the start: what slots say when a driver comes is anything. */
START_TEST(slots_that_say_nonsense_at_the_connection_are_its_own_business)
{
    struct guest g = guest_at_front("g", ""), a = guest_with(BELL, "a", "");
    bool rang = false;

    offer(&g);
    for (unsigned w = 0; w < 4096; w += 4)
        OK(&g, "poke 2 %u 4294967295", w);
    join(&g);
    line("edges", 2, 1);
    line("levels", 5, 1);
    for (unsigned i = 0; i < 300 && count_low(&g, 2) != 0; i++)
        nap_ms(10);
    ck_assert_uint_eq(count_low(&g, 2), 0); /* one more than 2^64 - 1 */
    OK(&a, "open 0");
    OK(&a, "connected 10000");
    for (unsigned i = 0; i < 200 && !rang; i++)
        rang = !strcmp(say(&a, "ring 7"), "ok 0 0");
    ck_assert(rang);
    OK(&g, "wait %s/state 4 100", back_of(&g));
    witness_works();
    destroy(&a);
    destroy(&g);
}
END_TEST

/* How far a doorbell's end has got is not asked of the guest. */
START_TEST(a_count_of_rings_that_never_were_stops_no_ring)
{
    struct guest g = guest_at_front("g", ""), a = guest_with(BELL, "a", "");

    offer(&g);
    join(&g);
    OK(&a, "open 0");
    OK(&a, "connected 10000");
    for (unsigned i = 0; i < 200 && count_low(&g, 32) < 3; i++)
        say(&a, "ring 7");
    ck_assert_uint_eq(count_low(&g, 32), 3);
    for (unsigned w = 0; w < 16; w += 4) /* count and base, not the epoch */
        OK(&g, "poke 2 %u %u", 32 * 32 + w, w < 8 ? 4294967294u : 0);
    OK(&g, "write device/farintc/0/state 6");
    OK(&g, "wait %s/state 6 5000", back_of(&g));
    OK(&g, "write device/farintc/0/state 1");
    OK(&g, "wait %s/state 2 5000", back_of(&g));
    join(&g);
    ck_assert_str_eq(say(&a, "ring 7"), "ok 0 0");
    ck_assert_str_eq(say(&a, "rings 0 100"), "ok 100");
    witness_works();
    destroy(&a);
    destroy(&g);
}
END_TEST

START_TEST(one_page_offered_as_all_of_them_harms_only_its_guest)
{
    struct guest g = guest_at_front("g", "");

    offer(&g);
    OK(&g, "write device/farintc/0/ring-ref %u", g.gref[0]);
    OK(&g, "write device/farintc/0/vectors-ref0 %u", g.gref[0]);
    OK(&g, "write device/farintc/0/state 3");
    OK(&g, "wait %s/state 4 5000", back_of(&g));
    OK(&g, "write device/farintc/0/state 4");
    for (unsigned i = 1; i < 16; i++)
        line("edges", i, 1);
    line("levels", 5, 1);
    OK(&g, "wild 0 500");
    OK(&g, "notify 0 100");
    for (unsigned i = 1; i < 16; i++)
        line("edges", i, 1);
    witness_works();
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(nodes_that_say_what_can_not_be_are_refused_with_the_reason)
{
    static const struct {
        const char *node, *value, *words;
    } bad[] = {
        { "vectors", "0", "vectors" },
        { "vectors", "1025", "vectors" },
        { "vectors", "-1", "vectors" },
        { "channels", "0", "channels" },
        { "channels", "33", "channels" },
        { "channels", "many", "channels" },
        { "channels", "2", "event-channel-1" },
        { "version", "2", "version" },
        { "request-poll", "7", "request-poll" },
        { "control-ref", "4294967296", "control-ref" },
        { "vectors-ref0", "", "vectors-ref0" },
        { "ring-ref", "0x10", "ring-ref" },
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct guest g = guest_at_front("g", "");

        offer(&g);
        if (bad[i].value[0])
            OK(&g, "write device/farintc/0/%s %s", bad[i].node, bad[i].value);
        else
            OK(&g, "empty device/farintc/0/%s", bad[i].node);
        OK(&g, "write device/farintc/0/state 3");
        refused(&g, bad[i].words);
        destroy(&g);
    }
}
END_TEST

/* A port of another channel of the guest's own, twice. */
START_TEST(one_port_offered_as_two_channels_is_refused)
{
    struct guest g = guest_at_front("g", "");

    offer(&g);
    OK(&g, "write device/farintc/0/channels 2");
    OK(&g, "write device/farintc/0/event-channel-1 %u", g.port[0]);
    OK(&g, "write device/farintc/0/state 3");
    refused(&g, "event-channel-1");
    destroy(&g);
}
END_TEST

START_TEST(a_count_that_the_guest_has_overwritten_is_its_own_business)
{
    struct guest g = guest_at_front("g", "");
    uint32_t before;

    offer(&g);
    join(&g);
    line("edges", 2, 1);
    for (unsigned i = 0; i < 300 && !count_low(&g, 2); i++)
        nap_ms(10);
    before = count_low(&g, 2);
    ck_assert_uint_eq(before, 1);
    for (unsigned w = 0; w < 24; w += 4)
        OK(&g, "poke 2 %u 4294967295", 2 * 32 + w);
    line("edges", 2, 1);
    for (unsigned i = 0; i < 300 && count_low(&g, 2) != 2; i++)
        nap_ms(10);
    /* the backend goes by what it knows */
    ck_assert_uint_eq(count_low(&g, 2), 2);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_46_grefs_that_are_none_and_fewer_pages_than_vectors)
{
    static const char *const nodes[] = { "control-ref", "ring-ref",
                                         "vectors-ref0" };

    for (unsigned i = 0; i < 4; i++) {
        struct guest g = guest_at_front("g", "");

        offer(&g);
        if (i < 3)
            OK(&g, "write device/farintc/0/%s 100000", nodes[i]);
        else
            OK(&g, "write device/farintc/0/vectors 129");
        OK(&g, "write device/farintc/0/state 3");
        refused(&g, i < 3 ? "mapped" : "vectors-ref1");
        destroy(&g);
    }
}
END_TEST

START_TEST(attack_47_pages_revoked_and_a_guest_killed_with_pending_vectors)
{
    struct guest g = guest_at_front("g", "");

    offer(&g);
    join(&g);
    for (unsigned i = 1; i < 16; i++)
        line("edges", i, 1);
    OK(&g, "unshare 2");
    OK(&g, "unshare 0");
    line("edges", 1, 1);
    line("levels", 1, 1);
    witness_works();
    stop_program(&g);
    ck_assert_int_eq(host_do(NULL, 0, "destroy atlas g"), 0);
    line("edges", 1, 1);
    witness_works();
}
END_TEST

START_TEST(attack_49_ports_that_are_none)
{
    static const unsigned bad[] = { 0, 1000, 0x7fffffff };

    for (unsigned i = 0; i < 6; i++) {
        struct guest g = guest_at_front("g", "");

        offer(&g);
        if (i < 3) {
            OK(&g, "write device/farintc/0/event-channel %u", bad[i]);
        } else {
            OK(&g, "write device/farintc/0/channels 2");
            OK(&g, "write device/farintc/0/event-channel-1 %u", bad[i - 3]);
        }
        OK(&g, "write device/farintc/0/state 3");
        refused(&g, "event-channel");
        destroy(&g);
    }
}
END_TEST

START_TEST(attack_50_a_storm_of_events_costs_the_others_nothing)
{
    struct guest g = guest_at_front("g", "");

    offer(&g);
    join(&g);
    for (unsigned i = 0; i < 5; i++) {
        OK(&g, "notify 0 50000");
        witness_works();
    }
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { edges_come_once_each_and_what_is_masked_comes_later, 1 },
        { a_level_is_raised_until_it_is_low_and_once_for_each_end, 1 },
        { the_highest_priority_comes_first_and_a_threshold_holds_the_others,
          1 },
        { what_was_unmasked_under_a_threshold_comes_when_it_rises, 1 },
        { another_guests_doorbell_is_a_vector, 1 },
        { many_vectors_are_behind_one_channel_or_each_has_its_own, 1 },
        { a_storm_comes_at_its_limit_and_all_of_it_is_counted, 1 },
        { some_that_come_together_are_one_interrupt, 1 },
        { no_edge_is_lost_or_doubled_and_no_level_lost_by_kills_of_the_backend,
          1 },
        { a_source_that_dies_begins_anew_and_takes_nothing_else_along, 1 },
        { masks_and_what_is_pending_survive_a_save, 1 },
        { a_driver_that_begins_anew_counts_from_then_on, 1 },
        { sources_come_and_go_by_the_configuration, 1 },
        { a_vector_that_gets_another_source_counts_on, 1 },
        { a_line_that_is_edge_now_is_not_high_any_more, 1 },
        { a_source_that_says_nonsense_harms_its_own_vectors_alone, 1 },
        { ends_of_what_is_not_in_service_are_passed_over_and_counted, 1 },
        { attack_1_to_3_a_ring_index_that_is_impossible_loses_the_device, 1 },
        { attack_4_maps_that_change_all_the_time_harm_only_their_guest, 1 },
        { a_count_that_the_guest_has_overwritten_is_its_own_business, 1 },
        { slots_that_say_nonsense_at_the_connection_are_its_own_business, 1 },
        { a_count_of_rings_that_never_were_stops_no_ring, 1 },
        { one_page_offered_as_all_of_them_harms_only_its_guest, 1 },
        { nodes_that_say_what_can_not_be_are_refused_with_the_reason, 1 },
        { one_port_offered_as_two_channels_is_refused, 1 },
        { attack_46_grefs_that_are_none_and_fewer_pages_than_vectors, 1 },
        { attack_47_pages_revoked_and_a_guest_killed_with_pending_vectors, 1 },
        { attack_49_ports_that_are_none, 1 },
        { attack_50_a_storm_of_events_costs_the_others_nothing, 1 },
    };

    return host_main("intc", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
