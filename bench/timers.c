/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's end of bench/run fast: an op that the fast device answers, a read
 * of the clock, an arming, and how late an expiry is seen; and, by timerfd and
 * eventfd alone, the floors of the latter.
 *
 * usage: timers op|spin|outside|clock|arm|late|storm ROUNDS
 *                                                  in a guest with a fartimer
 *        timers idle DEVICES                       in one with so many
 *        timers timerfd|pair ROUNDS CPU-A CPU-B    anywhere
 *
 * storm takes milliseconds; idle says when all is armed, and ends when its
 * standard input does.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench/samples.h"
#include "core/clock.h"
#include "frontend/farside-frontend.h"

#define TIMERS    1024u
#define BATCH     1000u
#define SPREAD_NS 1000000u
#define PARALLEL  8u
#define SOURCES   8u      /* of the storm */
#define STORM_NS  500000u /* the period of each */
#define MANY      7700u   /* timers of each device that idles */

static struct far_frontend *frontend;
static struct far_frontend_timers *timers;
static struct samples samples;
static uint64_t deadlines[TIMERS], answers, armed, expired;
static int answer_status;
static unsigned rounds;
static uint64_t seed = 88172645463325252u;

static uint64_t random_ns(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return 50000 + seed % SPREAD_NS;
}

static void arm_random(unsigned timer)
{
    deadlines[timer] = far_frontend_timers_now_ns(timers, NULL) + random_ns();
    (void)far_frontend_timers_arm(timers, timer, deadlines[timer], 0,
                                  FAR_FRONTEND_SKIP);
    armed++;
}

static void on_expired(void *arg, unsigned timer, uint64_t count)
{
    uint64_t now = far_frontend_timers_now_ns(timers, NULL);

    (void)arg;
    expired += count;
    samples_add(&samples, now - deadlines[timer]);
    if (armed < rounds)
        arm_random(timer);
}

static void on_answered(void *arg, unsigned tag, int status, uint64_t value)
{
    (void)arg;
    (void)tag;
    (void)value;
    answer_status = status;
    answers++;
}

static void turn(const uint64_t *counter, uint64_t target)
{
    while (*counter < target)
        if (far_frontend_turn(frontend, 2000000) < 0)
            exit(1);
}

static void ops(const char *name)
{
    for (unsigned i = 0; i < rounds + rounds / 10; i++) {
        uint64_t begin = far_now_ns();

        if (far_frontend_timers_nop(timers, 0))
            exit(1);
        turn(&answers, i + 1);
        if (i >= rounds / 10)
            samples_add(&samples, far_now_ns() - begin);
    }
    samples_print(&samples, name);
}

/* The same, of ops that the fast device passes to another process. */
static void outside(void)
{
    unsigned left = rounds + rounds / 10;

    while (left) {
        uint64_t begin = far_now_ns(), target = answers + 1;

        if (far_frontend_timers_arm_outside(timers, 0, 3600000000000, 0, 0))
            exit(1);
        turn(&answers, target);
        if (answer_status) { /* it is not attached yet */
            (void)far_frontend_turn(frontend, 10000);
            continue;
        }
        if (left-- <= rounds)
            samples_add(&samples, far_now_ns() - begin);
    }
    samples_print(&samples, "outside");
}

static uint64_t stormed[SOURCES];

static void on_storm(void *arg, unsigned timer, uint64_t count)
{
    (void)arg;
    stormed[timer] += count;
}

/* Sources at a fixed rate: how many of their periods the guest was told of, of
 * those that are over for good, and by how many interrupts. */
static void storm(void)
{
    uint64_t begin = far_frontend_timers_now_ns(timers, NULL), end, seen = 0;
    uint64_t wakes = far_frontend_timers_counters(timers)->wakeups,
             until = far_now_us() + (uint64_t)rounds * 1000;

    for (unsigned i = 0; i < SOURCES; i++)
        (void)far_frontend_timers_arm(timers, i, begin + STORM_NS, STORM_NS,
                                      FAR_FRONTEND_SKIP);
    while (far_now_us() < until)
        (void)far_frontend_turn(frontend, 10000);
    end = far_frontend_timers_now_ns(timers, NULL);
    wakes = far_frontend_timers_counters(timers)->wakeups - wakes;
    /* what came due until then is told within a second more */
    for (until = far_now_us() + 1000000; far_now_us() < until;)
        (void)far_frontend_turn(frontend, 10000);
    for (unsigned i = 0; i < SOURCES; i++) {
        (void)far_frontend_timers_cancel(timers, i);
        if (stormed[i] >= (end - begin) / STORM_NS)
            seen++;
    }
    printf("{\"sources\": %u, \"complete\": %llu, \"wakes_per_s\": %.1f}\n",
           SOURCES, (unsigned long long)seen,
           (double)wakes * 1e9 / (double)(end - begin));
}

static void idle(unsigned devices)
{
    static const struct far_frontend_timers_hooks hooks = { .expired =
                                                                on_storm };
    struct far_frontend_timers *all[64];
    uint64_t until;
    char end;

    for (unsigned d = 0; d < devices && d < 64; d++) {
        all[d] = far_frontend_timers_open(frontend, d, MANY,
                                          FAR_FRONTEND_NO_POLL, &hooks, NULL);
        until = far_now_us() + 10000000;
        while (far_now_us() < until &&
               !far_frontend_timers_now_ns(all[d], NULL))
            (void)far_frontend_turn(frontend, 10000);
        for (unsigned i = 0; i < MANY; i++)
            if (far_frontend_timers_arm_in(all[d], i, 3600000000000 + i, 0,
                                           FAR_FRONTEND_SKIP))
                exit(1);
        if (far_frontend_timers_state(all[d]) != FAR_FRONTEND_CONNECTED)
            exit(1);
        armed += MANY;
    }
    printf("{\"armed\": %llu}\n", (unsigned long long)armed);
    fflush(stdout);
    while (read(STDIN_FILENO, &end, 1) > 0)
        ;
}

/* Samples of many, in picoseconds: what is printed as microseconds is then
 * nanoseconds for one. */
static void clock_reads(void)
{
    uint64_t worst = 0, error = 0;

    for (unsigned i = 0; i < rounds; i++) {
        uint64_t begin = far_now_ns(), sum = 0;

        for (unsigned k = 0; k < BATCH; k++)
            sum += far_frontend_timers_now_ns(timers, NULL);
        __asm__ volatile("" : : "r"(sum));
        samples_add(&samples, (far_now_ns() - begin) * 1000 / BATCH);
    }
    /* The simulated guest can read the host's clock too. */
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t a = far_now_ns(),
                 now = far_frontend_timers_now_ns(timers, &error),
                 b = far_now_ns(), off;

        off = now < a ? a - now : now > b ? now - b : 0;
        if (off > worst && b - a < 2000)
            worst = off;
    }
    printf("{\"error_ns\": %llu, \"bound_ns\": %llu}\n",
           (unsigned long long)worst, (unsigned long long)error);
    samples_print(&samples, "clock");
}

/* Deadlines that the backend need not hear of. */
static void arms(void)
{
    uint64_t far_off = far_frontend_timers_now_ns(timers, NULL) + 3600000000000;

    for (unsigned i = 0; i < rounds; i++) {
        uint64_t begin = far_now_ns();

        for (unsigned k = 0; k < BATCH; k++)
            (void)far_frontend_timers_arm(timers, 1 + k % (TIMERS - 1),
                                          far_off + k, 0, FAR_FRONTEND_SKIP);
        samples_add(&samples, (far_now_ns() - begin) * 1000 / BATCH);
    }
    samples_print(&samples, "arm");
}

static void late(void)
{
    for (unsigned i = 0; i < PARALLEL; i++)
        arm_random(i);
    turn(&expired, rounds);
    printf("{\"armed\": %llu, \"expired\": %llu}\n", (unsigned long long)armed,
           (unsigned long long)expired);
    samples_print(&samples, "late");
}

/* ---- floors ---- */

/* One timerfd, as late as it wakes its process. */
static void floor_timerfd(bool pair, int cpu_a, int cpu_b)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), wake = eventfd(0, 0),
        epoll = epoll_create1(0);
    struct epoll_event e = { .events = EPOLLIN };
    uint64_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int back = eventfd(0, 0);
    uint64_t n;
    pid_t child = -1;

    if (fd < 0 || wake < 0 || epoll < 0 || shared == MAP_FAILED || back < 0)
        exit(1);
    if (pair) {
        child = fork();
        if (child == 0) { /* the guest: hears of it by an eventfd */
            samples_pin(cpu_a);
            epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &e);
            for (unsigned i = 0; i < rounds; i++) {
                if (epoll_wait(epoll, &e, 1, -1) < 0 ||
                    read(wake, &n, sizeof(n)) < 0)
                    exit(1);
                samples_add(&samples, far_now_ns() - *shared);
                n = 1;
                if (write(back, &n, sizeof(n)) < 0)
                    exit(1);
            }
            samples_print(&samples, "pair");
            exit(0);
        }
    }
    samples_pin(pair ? cpu_b : cpu_a);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t deadline = far_now_ns() + random_ns();
        struct itimerspec when = { .it_value = {
                                       (time_t)(deadline / 1000000000),
                                       (long)(deadline % 1000000000) } };

        *shared = deadline;
        timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
        if (epoll_wait(epoll, &e, 1, -1) < 0 || read(fd, &n, sizeof(n)) < 0)
            exit(1);
        if (pair) {
            n = 1;
            if (write(wake, &n, sizeof(n)) < 0 || read(back, &n, sizeof(n)) < 0)
                exit(1);
        } else {
            samples_add(&samples, far_now_ns() - deadline);
        }
    }
    if (pair)
        waitpid(child, NULL, 0);
    else
        samples_print(&samples, "timerfd");
}

int main(int argc, char **argv)
{
    static const struct far_frontend_timers_hooks hooks = {
        .expired = on_expired, .answered = on_answered
    };
    static const struct far_frontend_timers_hooks storm_hooks = {
        .expired = on_storm
    };
    const char *mode = argc > 2 ? argv[1] : "";
    uint64_t until = far_now_us() + 10000000;

    if (argc < 3) {
        fprintf(stderr, "usage: timers MODE ROUNDS [CPU-A CPU-B]\n");
        return 2;
    }
    rounds = (unsigned)strtoul(argv[2], NULL, 10);
    if (samples_init(&samples, rounds + TIMERS) < 0)
        return 1;
    if (!strcmp(mode, "timerfd") || !strcmp(mode, "pair")) {
        floor_timerfd(mode[0] == 'p', argc > 4 ? atoi(argv[3]) : -1,
                      argc > 4 ? atoi(argv[4]) : -1);
        return 0;
    }
    frontend = far_frontend_new();
    if (!frontend)
        return 1;
    if (!strcmp(mode, "idle")) {
        idle(rounds);
        far_frontend_free(frontend);
        return 0;
    }
    timers = far_frontend_timers_open(
        frontend, 0, TIMERS,
        strcmp(mode, "op") && strcmp(mode, "outside") && strcmp(mode, "storm")
            ? 0
            : FAR_FRONTEND_NO_POLL,
        strcmp(mode, "storm") ? &hooks : &storm_hooks, NULL);
    while (far_now_us() < until && !far_frontend_timers_now_ns(timers, NULL))
        (void)far_frontend_turn(frontend, 10000);
    /* the clock's rate is over a longer base by then */
    for (until = far_now_us() + 300000; far_now_us() < until;)
        (void)far_frontend_turn(frontend, 10000);
    if (!strcmp(mode, "op") || !strcmp(mode, "spin"))
        ops(mode);
    else if (!strcmp(mode, "outside"))
        outside();
    else if (!strcmp(mode, "storm"))
        storm();
    else if (!strcmp(mode, "clock"))
        clock_reads();
    else if (!strcmp(mode, "arm"))
        arms();
    else
        late();
    far_frontend_timers_close(timers);
    far_frontend_free(frontend);
    return 0;
}
