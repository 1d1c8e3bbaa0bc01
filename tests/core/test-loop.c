/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The loop: order, removal from within callbacks, timers, deferred work,
 * pollers, and that it sleeps when there is nothing to do.
 */
#include "core/loop.h"
#include "core/clock.h"
#include "tests/core/suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static struct far_loop *loop;
static char said[256];

static void say(const char *what)
{
    strcat(said, what);
}

static void begin(void)
{
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    said[0] = '\0';
}

static void end(void)
{
    far_loop_free(loop);
}

/* An eventfd in the loop. */
struct source {
    struct far_io io;
    int fd;
    unsigned calls;
    struct source *victim; /* is removed when this one is called */
};

static void source_ready(struct far_io *io, uint32_t events)
{
    struct source *s = (struct source *)io;
    uint64_t n;

    ck_assert_uint_ne(events & EPOLLIN, 0);
    ck_assert_int_eq(read(s->fd, &n, sizeof(n)), sizeof(n));
    s->calls++;
    if (s->victim)
        far_io_del(&s->victim->io);
}

static void source_open(struct source *s)
{
    *s = (struct source){ .fd = eventfd(0, EFD_NONBLOCK) };
    ck_assert_int_ge(s->fd, 0);
    ck_assert_int_eq(far_io_add(loop, &s->io, s->fd, EPOLLIN, source_ready), 0);
}

static void source_signal(const struct source *s)
{
    uint64_t one = 1;

    ck_assert_int_eq(write(s->fd, &one, sizeof(one)), sizeof(one));
}

static void source_close(struct source *s)
{
    far_io_del(&s->io);
    close(s->fd);
}

START_TEST(a_ready_descriptor_is_called_and_a_quiet_one_is_not)
{
    struct source a, b;

    begin();
    source_open(&a), source_open(&b);
    source_signal(&b);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    ck_assert_uint_eq(a.calls, 0);
    ck_assert_uint_eq(b.calls, 1);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    source_close(&a), source_close(&b);
    end();
}
END_TEST

START_TEST(a_descriptor_removed_by_another_callback_is_not_called)
{
    struct source a, b;

    begin();
    source_open(&a), source_open(&b);
    a.victim = &b, b.victim = &a;
    source_signal(&a), source_signal(&b);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    ck_assert_uint_eq(a.calls + b.calls, 1);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    source_close(&a), source_close(&b);
    end();
}
END_TEST

static void replace_ready(struct far_io *io, uint32_t events)
{
    struct source *s = (struct source *)io, *v = s->victim;

    (void)events;
    s->calls++;
    /* Another takes the place (and the memory) of one whose event waits. */
    far_io_del(&v->io);
    ck_assert_int_eq(far_io_add(loop, &v->io, v->fd, EPOLLIN, source_ready), 0);
    far_io_del(io);
}

START_TEST(an_event_for_a_removed_descriptor_does_not_reach_its_successor)
{
    struct source a, b;
    unsigned before;

    begin();
    source_open(&a), source_open(&b);
    far_io_del(&a.io), far_io_del(&b.io);
    far_io_add(loop, &a.io, a.fd, EPOLLIN, replace_ready);
    far_io_add(loop, &b.io, b.fd, EPOLLIN, replace_ready);
    a.victim = &b, b.victim = &a;
    source_signal(&a), source_signal(&b);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    before = a.calls + b.calls;
    ck_assert_uint_eq(before, 1);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1); /* the new one's own */
    source_close(&a), source_close(&b);
    end();
}
END_TEST

START_TEST(a_descriptor_that_lives_on_elsewhere_finds_nobody)
{
    struct source a;
    int copy;

    begin();
    source_open(&a);
    copy = dup(a.fd);
    close(a.fd); /* too early: epoll keeps the description, by the copy */
    far_io_del(&a.io);
    memset(&a, 0xff, sizeof(a));
    ck_assert_int_eq(write(copy, &(uint64_t){ 1 }, 8), 8);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    close(copy);
    end();
}
END_TEST

START_TEST(interest_can_be_changed)
{
    struct source a;

    begin();
    source_open(&a);
    source_signal(&a);
    ck_assert_int_eq(far_io_set(&a.io, 0), 0);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    ck_assert_int_eq(far_io_set(&a.io, EPOLLIN), 0);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    source_close(&a);
    ck_assert_int_eq(far_io_set(&a.io, EPOLLIN), -EINVAL);
    end();
}
END_TEST

START_TEST(many_descriptors_fit)
{
    static struct source many[200];
    unsigned calls = 0;

    begin();
    for (size_t i = 0; i < COUNT(many); i++)
        source_open(&many[i]), source_signal(&many[i]);
    for (int i = 0; i < 20; i++)
        ck_assert_int_ge(far_loop_turn(loop, 0), 0);
    for (size_t i = 0; i < COUNT(many); i++)
        calls += many[i].calls, source_close(&many[i]);
    ck_assert_uint_eq(calls, COUNT(many));
    end();
}
END_TEST

struct clock {
    struct far_timer timer;
    const char *name;
    struct clock *victim;
    uint64_t again_us;
};

static void clock_fire(struct far_timer *timer)
{
    struct clock *c = (struct clock *)timer;

    say(c->name);
    if (c->victim)
        far_timer_cancel(&c->victim->timer);
    if (c->again_us)
        far_timer_set(timer, c->again_us);
}

static void clock_make(struct clock *c, const char *name)
{
    *c = (struct clock){ .name = name };
    far_timer_init(&c->timer, loop, clock_fire);
}

START_TEST(timers_fire_in_the_order_of_their_times)
{
    static const char *const names[] = { "a", "b", "c", "d", "e",
                                         "f", "g", "h", "i" };
    static const unsigned order[] = { 4, 0, 8, 2, 7, 1, 3, 6, 5 };
    struct clock clocks[COUNT(names)];

    begin();
    for (size_t i = 0; i < COUNT(names); i++)
        clock_make(&clocks[i], names[i]);
    for (size_t i = 0; i < COUNT(order); i++)
        far_timer_set(&clocks[order[i]].timer, 1000 + order[i]);
    far_timer_cancel(&clocks[2].timer);
    far_timer_set(&clocks[7].timer, 999);  /* moved to the front */
    far_timer_set(&clocks[0].timer, 2000); /* moved to the end */
    ck_assert_int_eq(far_loop_turn(loop, 0), 8);
    ck_assert_str_eq(said, "hbdefgia");
    ck_assert(!far_timer_armed(&clocks[0].timer));
    end();
}
END_TEST

/* Against a plain array, with a fixed seed. */
START_TEST(the_heap_stays_a_heap_whatever_is_set_and_cancelled)
{
    struct clock clocks[64];
    unsigned seed = 7;

    begin();
    for (size_t i = 0; i < COUNT(clocks); i++)
        clock_make(&clocks[i], "");
    for (int step = 0; step < 20000; step++) {
        struct clock *c = &clocks[(unsigned)rand_r(&seed) % 64];
        uint64_t now = far_now_us(), soonest = UINT64_MAX;

        if (rand_r(&seed) % 3 == 0)
            far_timer_cancel(&c->timer);
        else
            far_timer_set(&c->timer,
                          now + 1000000000u + (unsigned)rand_r(&seed) % 1000);
        if (step % 100 != 0)
            continue;
        for (size_t i = 0; i < COUNT(clocks); i++)
            if (far_timer_armed(&clocks[i].timer) &&
                clocks[i].timer.due_us < soonest)
                soonest = clocks[i].timer.due_us;
        for (size_t i = 0; i < COUNT(clocks); i++)
            if (clocks[i].timer.heap_index == 1)
                ck_assert_uint_eq(clocks[i].timer.due_us, soonest);
    }
    for (size_t i = 0; i < COUNT(clocks); i++)
        far_timer_cancel(&clocks[i].timer);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    end();
}
END_TEST

START_TEST(a_timer_is_on_time_and_never_early)
{
    struct clock c;
    uint64_t due, late;

    begin();
    clock_make(&c, "x");
    due = far_now_us() + 3500;
    far_timer_set(&c.timer, due);
    while (!*said)
        ck_assert_int_ge(far_loop_turn(loop, UINT64_MAX), 0);
    ck_assert_uint_ge(far_now_us(), due);
    late = far_now_us() - due;
    ck_assert_msg(late < 50000, "%lu us late", (unsigned long)late);
    end();
}
END_TEST

START_TEST(a_timer_cancelled_by_another_of_the_same_time_does_not_fire)
{
    struct clock a, b;

    begin();
    clock_make(&a, "a"), clock_make(&b, "b");
    a.victim = &b, b.victim = &a;
    far_timer_set(&a.timer, 5), far_timer_set(&b.timer, 5);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    end();
}
END_TEST

START_TEST(a_timer_set_into_the_past_by_itself_does_not_hold_the_turn)
{
    struct clock a;

    begin();
    clock_make(&a, "a");
    a.again_us = 1;
    far_timer_set(&a.timer, 1);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    ck_assert_int_eq(far_loop_turn(loop, 1000000), 1);
    ck_assert_str_eq(said, "aa");
    end();
}
END_TEST

struct later {
    struct far_defer defer;
    const char *name;
    struct later *queue, *cancel;
};

static void later_run(struct far_defer *defer)
{
    struct later *l = (struct later *)defer;

    say(l->name);
    if (l->queue)
        far_defer(loop, &l->queue->defer, later_run);
    if (l->cancel)
        far_defer_cancel(loop, &l->cancel->defer);
}

START_TEST(deferred_work_runs_once_in_order_at_the_end_of_the_turn)
{
    struct later a = { .name = "a" }, b = { .name = "b" };
    struct clock c;

    begin();
    clock_make(&c, "t");
    far_timer_set(&c.timer, 1);
    far_defer(loop, &a.defer, later_run);
    far_defer(loop, &b.defer, later_run);
    far_defer(loop, &a.defer, later_run);
    ck_assert_int_eq(far_loop_turn(loop, 1000000), 3);
    ck_assert_str_eq(said, "tab");
    ck_assert_int_eq(far_loop_turn(loop, 0), 0);
    end();
}
END_TEST

START_TEST(work_deferred_by_deferred_work_waits_for_the_next_turn)
{
    struct later a = { .name = "a" };

    begin();
    a.queue = &a;
    far_defer(loop, &a.defer, later_run);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    ck_assert_int_eq(far_loop_turn(loop, 1000000), 1);
    ck_assert_str_eq(said, "aa");
    end();
}
END_TEST

START_TEST(deferred_work_can_be_cancelled_from_anywhere)
{
    struct later a = { .name = "a" }, b = { .name = "b" }, c = { .name = "c" },
                 d = { .name = "d" };

    begin();
    a.cancel = &b;
    far_defer(loop, &a.defer, later_run);
    far_defer(loop, &b.defer, later_run);
    far_defer(loop, &c.defer, later_run);
    far_defer(loop, &d.defer, later_run);
    far_defer_cancel(loop, &d.defer); /* the last: the tail moves */
    far_defer_cancel(loop, &d.defer);
    far_loop_turn(loop, 0);
    ck_assert_str_eq(said, "ac");
    far_defer(loop, &d.defer, later_run);
    far_defer_cancel(loop, &d.defer);
    far_defer(loop, &c.defer, later_run);
    far_defer(loop, &d.defer, later_run);
    far_loop_turn(loop, 0);
    ck_assert_str_eq(said, "accd");
    end();
}
END_TEST

struct looker {
    struct far_poller poller;
    unsigned found, polls, arms, disarms;
    bool elsewhere, late; /* late: arm() says that something came */
    bool here;
    unsigned slow_us;  /* a call of poll() takes that long */
    unsigned finds_at; /* this call of poll(); 0: never */
    struct looker *victim;
};

static bool looker_poll(struct far_poller *poller)
{
    struct looker *l = (struct looker *)poller;

    l->polls++;
    if (l->slow_us)
        usleep(l->slow_us);
    if (l->victim)
        far_poller_del(&l->victim->poller);
    if (l->finds_at && l->polls == l->finds_at)
        l->found++;
    if (l->found == 0)
        return false;
    l->found--;
    say("p");
    return true;
}

static bool looker_elsewhere(struct far_poller *poller)
{
    return ((struct looker *)poller)->elsewhere;
}

static bool looker_here(struct far_poller *poller)
{
    return ((struct looker *)poller)->here;
}

static bool looker_arm(struct far_poller *poller)
{
    struct looker *l = (struct looker *)poller;

    l->arms++;
    if (!l->late)
        return true;
    l->late = false;
    l->found = 1;
    return false;
}

static void looker_disarm(struct far_poller *poller)
{
    ((struct looker *)poller)->disarms++;
}

static const struct far_poller looker_calls = {
    .poll = looker_poll,
    .peer_elsewhere = looker_elsewhere,
    .peer_here = looker_here,
    .arm = looker_arm,
    .disarm = looker_disarm,
};

START_TEST(a_poller_is_armed_before_sleeping_and_disarmed_after)
{
    struct looker l = { .poller = looker_calls };

    begin();
    far_poller_add(loop, &l.poller);
    far_loop_turn(loop, 2000);
    ck_assert_uint_eq(l.arms, 1);
    ck_assert_uint_eq(l.disarms, 1);
    ck_assert_uint_ge(l.polls, 1);
    ck_assert_uint_eq(far_loop_stats(loop)->sleeps, 1);
    ck_assert_uint_eq(far_loop_stats(loop)->spins, 0);
    far_poller_del(&l.poller);
    far_poller_del(&l.poller);
    end();
}
END_TEST

START_TEST(work_that_comes_while_arming_is_not_slept_over)
{
    struct looker l = { .poller = looker_calls, .late = true };
    uint64_t before = far_now_us();

    begin();
    far_poller_add(loop, &l.poller);
    ck_assert_int_eq(far_loop_turn(loop, 5000000), 1);
    ck_assert_str_eq(said, "p");
    ck_assert_uint_lt(far_now_us() - before, 2000000);
    end();
}
END_TEST

START_TEST(the_loop_does_not_sleep_while_pollers_find_work)
{
    struct looker l = { .poller = looker_calls, .found = 3 };

    begin();
    far_poller_add(loop, &l.poller);
    far_loop_turn(loop, 0);
    far_loop_turn(loop, 5000000);
    far_loop_turn(loop, 5000000);
    ck_assert_str_eq(said, "ppp");
    ck_assert_uint_eq(far_loop_stats(loop)->sleeps, 0);
    ck_assert_uint_eq(l.arms, 0);
    end();
}
END_TEST

START_TEST(pollers_that_find_work_for_ever_do_not_starve_descriptors)
{
    struct looker l = { .poller = looker_calls, .found = 0 };
    struct source s;
    uint64_t until = far_now_us() + 5000000;

    begin();
    far_poller_add(loop, &l.poller);
    source_open(&s);
    source_signal(&s);
    while (s.calls == 0 && far_now_us() < until) {
        l.found = 1;
        said[0] = '\0';
        far_loop_turn(loop, 0);
    }
    ck_assert_uint_eq(s.calls, 1);
    source_close(&s);
    end();
}
END_TEST

START_TEST(a_poller_removed_by_another_is_not_called)
{
    struct looker a = { .poller = looker_calls },
                  b = { .poller = looker_calls };

    begin();
    far_poller_add(loop, &a.poller);
    far_poller_add(loop, &b.poller);
    a.victim = &b, b.victim = &a;
    far_loop_turn(loop, 0);
    ck_assert_uint_eq(a.polls + b.polls, 1);
    end();
}
END_TEST

START_TEST(the_loop_spins_only_for_a_peer_elsewhere_and_gives_it_up)
{
    struct looker l = { .poller = looker_calls, .elsewhere = true };
    const struct far_loop_stats *stats;
    uint64_t spins;

    begin();
    stats = far_loop_stats(loop);
    far_poller_add(loop, &l.poller);
    while (stats->sleeps < FAR_SPIN_FRUITLESS)
        far_loop_turn(loop, 100);
    ck_assert_uint_ge(stats->fruitless_spins, FAR_SPIN_FRUITLESS);
    spins = stats->spins;
    for (int i = 0; i < 5; i++)
        far_loop_turn(loop, 100); /* within the pause */
    ck_assert_uint_eq(stats->spins, spins);
    far_loop_turn(loop, FAR_SPIN_PAUSE_US);
    while (stats->spins == spins)
        far_loop_turn(loop, 100); /* and spins again later */
    end();
}
END_TEST

START_TEST(a_peer_on_our_processor_is_let_go_before_we_sleep)
{
    struct looker l = { .poller = looker_calls, .here = true, .finds_at = 2 };
    const struct far_loop_stats *stats;

    begin();
    stats = far_loop_stats(loop);
    far_poller_add(loop, &l.poller);
    far_loop_turn(loop, 1000000); /* found when it had been let go twice */
    ck_assert_str_eq(said, "p");
    ck_assert_uint_eq(stats->sleeps, 0);
    ck_assert_uint_eq(stats->fruitless_spins, 0);
    l.finds_at = 0;
    while (stats->sleeps == 0)
        far_loop_turn(loop, 1000); /* and in vain: we sleep */
    /* A turn may be over before there is anything left to sleep. */
    ck_assert_uint_ge(stats->fruitless_spins, 1);
    end();
}
END_TEST

START_TEST(a_spin_that_finds_work_needs_no_sleep)
{
    struct looker l = { .poller = looker_calls, .elsewhere = true };

    begin();
    far_poller_add(loop, &l.poller);
    l.found = 1;
    ck_assert_int_eq(far_loop_turn(loop, 1000000), 1);
    ck_assert_uint_eq(l.arms, 0);
    ck_assert_uint_eq(far_loop_stats(loop)->sleeps, 0);
    ck_assert_uint_eq(far_loop_stats(loop)->spins, 1);
    ck_assert_uint_eq(far_loop_stats(loop)->fruitless_spins, 0);
    end();
}
END_TEST

static void fire(struct far_timer *timer)
{
    (void)timer;
    say("t");
}

/* How late a timer is while looks take about 200 ms of the 400 before it. */
static uint64_t late_us(bool elsewhere)
{
    struct looker l = { .poller = looker_calls,
                        .here = !elsewhere,
                        .elsewhere = elsewhere,
                        .slow_us = elsewhere ? 12000 : 100000 };
    struct far_timer timer;
    uint64_t due_us, now_us;

    begin();
    far_poller_add(loop, &l.poller);
    far_timer_init(&timer, loop, fire);
    due_us = far_now_us() + 400000;
    far_timer_set(&timer, due_us);
    while (!said[0])
        far_loop_turn(loop, 1000000);
    now_us = far_now_us();
    ck_assert_uint_ge(now_us, due_us);
    end();
    return now_us - due_us;
}

START_TEST(time_that_a_look_took_is_not_slept_once_more)
{
    for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
        uint64_t late = UINT64_MAX;

        /* another's work on this machine may make it late, not always */
        for (int i = 0; i < 4 && late >= 160000; i++)
            late = late_us(elsewhere);
        ck_assert_uint_lt(late, 160000);
    }
}
END_TEST

START_TEST(much_work_found_in_a_spin_does_not_keep_descriptors_waiting)
{
    struct looker l = {
        .poller = looker_calls, .elsewhere = true, .slow_us = 2000, .found = 100
    };

    begin();
    far_poller_add(loop, &l.poller);
    ck_assert_int_gt(far_loop_turn(loop, 1000000), 0);
    ck_assert_uint_lt(l.polls, 4); /* each is far longer than a slice */
    end();
}
END_TEST

static void *stop_soon(void *arg)
{
    usleep(20000);
    far_loop_stop(arg);
    return NULL;
}

/* Spins of three rounds that each end with a fruitful one just before the
 * patience is at its end. A turn whose time is over before it begins, as this
 * process had to wait, doesn't spin: then the count says nothing. */
static uint64_t spins_of_three_rounds(void)
{
    struct looker l = { .poller = looker_calls, .elsewhere = true };
    const struct far_loop_stats *stats;
    uint64_t spins;

    begin();
    stats = far_loop_stats(loop);
    far_poller_add(loop, &l.poller);
    for (int round = 0; round < 3; round++) {
        uint64_t sleeps = stats->sleeps + FAR_SPIN_FRUITLESS - 1;

        while (stats->sleeps < sleeps)
            far_loop_turn(loop, 100);
        l.found = 1;
        while (l.found)
            far_loop_turn(loop, 100);
    }
    spins = stats->spins;
    end();
    return spins;
}

START_TEST(a_fruitful_spin_forgives_the_fruitless_ones)
{
    uint64_t spins = 0;

    for (int i = 0; i < 50 && spins != 3 * FAR_SPIN_FRUITLESS; i++)
        spins = spins_of_three_rounds();
    ck_assert_uint_eq(spins, 3 * FAR_SPIN_FRUITLESS);
}
END_TEST

START_TEST(another_thread_stops_a_sleeping_loop)
{
    pthread_t thread;

    begin();
    pthread_create(&thread, NULL, stop_soon, loop);
    ck_assert_int_eq(far_loop_run(loop), 0);
    pthread_join(thread, NULL);
    far_loop_stop(loop); /* and a stop before the run is not lost */
    ck_assert_int_eq(far_loop_run(loop), 0);
    end();
}
END_TEST

START_TEST(an_idle_loop_does_not_wake_up)
{
    struct looker l = { .poller = looker_calls, .elsewhere = true };
    struct clock c;
    pthread_t thread;

    begin();
    clock_make(&c, "x");
    far_timer_set(&c.timer, far_now_us() + 3600000000u);
    far_poller_add(loop, &l.poller);
    pthread_create(&thread, NULL, stop_soon, loop);
    ck_assert_int_eq(far_loop_run(loop), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(far_loop_stats(loop)->sleeps, 1);
    end();
}
END_TEST

static void turn_ready(struct far_io *io, uint32_t events)
{
    (void)events;
    ck_assert_int_eq(far_loop_turn(io->loop, 0), -EBUSY);
    far_io_del(io);
}

START_TEST(a_turn_within_a_turn_is_refused)
{
    struct source a;

    begin();
    source_open(&a);
    far_io_del(&a.io);
    far_io_add(loop, &a.io, a.fd, EPOLLOUT, turn_ready);
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    source_close(&a);
    end();
}
END_TEST

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, timeout_ms) == 1;
}

START_TEST(a_timer_that_went_away_ends_no_wait_before_its_time)
{
    struct source s;
    struct clock c;
    uint64_t begin_us;

    begin();
    source_open(&s);
    clock_make(&c, "t");
    far_timer_set(&c.timer, far_now_us() + 15000);
    source_signal(&s);
    ck_assert_int_eq(far_loop_turn(loop, 100000), 1);
    far_timer_cancel(&c.timer);
    begin_us = far_now_us();
    ck_assert_int_eq(far_loop_turn(loop, 60000), 0);
    ck_assert_uint_ge(far_now_us() - begin_us, 60000);
    /* and one that comes is on time for all that */
    far_timer_set(&c.timer, far_now_us() + 15000);
    ck_assert_int_eq(far_loop_turn(loop, 5000000), 1);
    ck_assert_str_eq(said, "t");
    ck_assert_uint_lt(far_now_us() - begin_us, 3000000);
    source_close(&s);
    end();
}
END_TEST

START_TEST(a_foreign_loop_is_told_of_descriptors_timers_and_deferred_work)
{
    struct looker l = { .poller = looker_calls };
    struct later a = { .name = "a" };
    struct source s;
    struct clock c;
    int fd;

    begin();
    fd = far_loop_fd(loop);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(far_loop_fd(loop), fd);
    far_poller_add(loop, &l.poller);
    while (readable(fd, 0))
        far_loop_turn(loop, 0);
    ck_assert_msg(l.arms == l.disarms + 1, "pollers stay armed between turns");

    source_open(&s);
    source_signal(&s);
    ck_assert(readable(fd, 0));
    ck_assert_int_eq(far_loop_turn(loop, 0), 1);
    ck_assert(!readable(fd, 0));

    clock_make(&c, "t");
    far_timer_set(&c.timer, far_now_us() + 20000);
    ck_assert(!readable(fd, 0));
    ck_assert(readable(fd, 5000));
    far_loop_turn(loop, 0);
    ck_assert_str_eq(said, "t");
    far_timer_set(&c.timer, far_now_us() + 20000);
    far_timer_cancel(&c.timer);
    ck_assert(!readable(fd, 50));

    far_defer(loop, &a.defer, later_run);
    ck_assert(readable(fd, 0));
    a.queue = &a; /* and so is work that is deferred by deferred work */
    far_loop_turn(loop, 0);
    ck_assert_str_eq(said, "ta");
    ck_assert(readable(fd, 0));
    a.queue = NULL;
    far_loop_turn(loop, 0);
    ck_assert_str_eq(said, "taa");
    while (readable(fd, 0))
        far_loop_turn(loop, 0);
    source_close(&s);
    end();
}
END_TEST

SUITE_MAIN("loop", a_ready_descriptor_is_called_and_a_quiet_one_is_not,
           a_descriptor_removed_by_another_callback_is_not_called,
           an_event_for_a_removed_descriptor_does_not_reach_its_successor,
           a_descriptor_that_lives_on_elsewhere_finds_nobody,
           interest_can_be_changed, many_descriptors_fit,
           timers_fire_in_the_order_of_their_times,
           the_heap_stays_a_heap_whatever_is_set_and_cancelled,
           a_timer_is_on_time_and_never_early,
           a_timer_cancelled_by_another_of_the_same_time_does_not_fire,
           a_timer_set_into_the_past_by_itself_does_not_hold_the_turn,
           deferred_work_runs_once_in_order_at_the_end_of_the_turn,
           work_deferred_by_deferred_work_waits_for_the_next_turn,
           deferred_work_can_be_cancelled_from_anywhere,
           a_poller_is_armed_before_sleeping_and_disarmed_after,
           work_that_comes_while_arming_is_not_slept_over,
           the_loop_does_not_sleep_while_pollers_find_work,
           pollers_that_find_work_for_ever_do_not_starve_descriptors,
           a_poller_removed_by_another_is_not_called,
           the_loop_spins_only_for_a_peer_elsewhere_and_gives_it_up,
           a_peer_on_our_processor_is_let_go_before_we_sleep,
           a_spin_that_finds_work_needs_no_sleep,
           time_that_a_look_took_is_not_slept_once_more,
           much_work_found_in_a_spin_does_not_keep_descriptors_waiting,
           a_fruitful_spin_forgives_the_fruitless_ones,
           another_thread_stops_a_sleeping_loop, an_idle_loop_does_not_wake_up,
           a_turn_within_a_turn_is_refused,
           a_timer_that_went_away_ends_no_wait_before_its_time,
           a_foreign_loop_is_told_of_descriptors_timers_and_deferred_work)
