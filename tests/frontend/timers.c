/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program in a guest that uses the library's timers and clock as lines tell
 * it, and answers each with a line. "wait" prints what has expired since the
 * last one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/clock.h"
#include "frontend/farside-frontend.h"

#define TIMERS_MAX 8192

static struct far_frontend *frontend;
static struct far_frontend_timers *timers;
static uint64_t counts[TIMERS_MAX], expired_at[TIMERS_MAX];
static uint64_t total, answers;
static int last_status;
static uint64_t last_value;
static enum far_frontend_state state;
static char why[256];

static void on_expired(void *arg, unsigned timer, uint64_t count)
{
    (void)arg;
    counts[timer] += count;
    expired_at[timer] = far_frontend_timers_now_ns(timers, NULL);
    total += count;
}

static void on_state(void *arg, enum far_frontend_state now, const char *text)
{
    (void)arg;
    state = now;
    snprintf(why, sizeof(why), "%s", text ? text : "");
}

static void on_answered(void *arg, unsigned tag, int status, uint64_t value)
{
    (void)arg;
    (void)tag;
    answers++;
    last_status = status;
    last_value = value;
}

static void turn_until(uint64_t until_us, const uint64_t *counter,
                       uint64_t target)
{
    while (far_now_us() < until_us && (!counter || *counter < target))
        if (far_frontend_turn(frontend, until_us - far_now_us()) < 0)
            break;
}

/* The clock against the host's own, which a simulated guest can read. */
static void clock_check(unsigned reads)
{
    int64_t worst = 0;
    uint64_t last = 0, error = 0;
    unsigned back = 0;

    for (unsigned i = 0; i < reads; i++) {
        uint64_t a = far_now_ns();
        uint64_t now = far_frontend_timers_now_ns(timers, &error);
        uint64_t b = far_now_ns();
        int64_t off = now < a   ? (int64_t)(a - now)
                      : now > b ? (int64_t)(now - b)
                                : 0;

        if (now < last)
            back++;
        last = now;
        if (off > worst)
            worst = off;
    }
    printf("ok %lld %llu %u\n", (long long)worst, (unsigned long long)error,
           back);
}

static void run(char *line)
{
    static const struct far_frontend_timers_hooks hooks = {
        .expired = on_expired, .state = on_state, .answered = on_answered
    };
    unsigned long long a = 0, b = 0;
    unsigned timer = 0, n = 0, policy = 0;
    char word[32] = "";
    int r = 0;

    sscanf(line, "%31s", word);
    if (!strcmp(word, "open")) { /* DEVID TIMERS FLAGS */
        sscanf(line, "%*s %u %u %u", &timer, &n, &policy);
        timers =
            far_frontend_timers_open(frontend, timer, n, policy, &hooks, NULL);
        printf(timers ? "ok\n" : "err %s\n", strerrorname_np(errno));
    } else if (!strcmp(word, "close")) {
        far_frontend_timers_close(timers);
        timers = NULL;
        printf("ok\n");
    } else if (!strcmp(word, "connected")) { /* MS, with a clock */
        uint64_t until = far_now_us();

        sscanf(line, "%*s %u", &n);
        until += (uint64_t)n * 1000;
        while (far_now_us() < until &&
               (state != FAR_FRONTEND_CONNECTED ||
                !far_frontend_timers_now_ns(timers, NULL)))
            turn_until(far_now_us() + 5000, NULL, 0);
        printf(state == FAR_FRONTEND_CONNECTED ? "ok\n" : "no %d %s\n",
               (int)state, why);
    } else if (!strcmp(word, "state")) {
        turn_until(far_now_us() + 1000, NULL, 0);
        printf("ok %d %s\n", (int)state, why);
    } else if (!strcmp(word, "in")) { /* TIMER NS PERIOD POLICY */
        sscanf(line, "%*s %u %llu %llu %u", &timer, &a, &b, &policy);
        r = far_frontend_timers_arm_in(timers, timer, a, b,
                                       (enum far_frontend_catch_up)policy);
        printf("ok %d\n", r);
    } else if (!strcmp(word, "at")) {
        sscanf(line, "%*s %u %llu %llu %u", &timer, &a, &b, &policy);
        r = far_frontend_timers_arm(timers, timer, a, b,
                                    (enum far_frontend_catch_up)policy);
        printf("ok %d\n", r);
    } else if (!strcmp(word, "cancel")) {
        sscanf(line, "%*s %u", &timer);
        printf("ok %d\n", far_frontend_timers_cancel(timers, timer));
    } else if (!strcmp(word, "outside")) { /* TIMER NS */
        uint64_t before = answers;

        sscanf(line, "%*s %u %llu", &timer, &a);
        r = far_frontend_timers_arm_outside(timers, timer, a, 0, 1);
        if (!r)
            turn_until(far_now_us() + 3000000, &answers, before + 1);
        printf("ok %d %d\n", r, answers > before ? last_status : 1);
    } else if (!strcmp(word, "nops")) {
        uint64_t before = answers, begin = far_now_ns();

        sscanf(line, "%*s %u", &n);
        for (unsigned i = 0; i < n && !r; i++) {
            r = far_frontend_timers_nop(timers, i);
            if (!r)
                turn_until(far_now_us() + 3000000, &answers, before + i + 1);
        }
        printf("ok %llu %llu\n", (unsigned long long)(answers - before),
               (unsigned long long)(far_now_ns() - begin));
    } else if (!strcmp(word, "many")) { /* N SPREAD_NS: random arms */
        uint64_t seed = 1;

        sscanf(line, "%*s %u %llu", &n, &a);
        for (unsigned i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            (void)far_frontend_timers_arm_in(timers, i, (seed >> 33) % a, 0,
                                             FAR_FRONTEND_SKIP);
        }
        printf("ok\n");
    } else if (!strcmp(word, "wait")) { /* TOTAL MS: until so many in all */
        sscanf(line, "%*s %llu %u", &a, &n);
        turn_until(far_now_us() + (uint64_t)n * 1000, &total, a);
        printf("ok %llu\n", (unsigned long long)total);
    } else if (!strcmp(word, "count")) {
        sscanf(line, "%*s %u", &timer);
        printf("ok %llu %llu\n", (unsigned long long)counts[timer],
               (unsigned long long)expired_at[timer]);
    } else if (!strcmp(word, "now")) {
        uint64_t error, now = far_frontend_timers_now_ns(timers, &error);

        printf("ok %llu %llu\n", (unsigned long long)now,
               (unsigned long long)error);
    } else if (!strcmp(word, "clock")) {
        sscanf(line, "%*s %u", &n);
        clock_check(n);
    } else if (!strcmp(word, "counters")) {
        const struct far_frontend_timers_counters *c =
            far_frontend_timers_counters(timers);

        printf("ok expired=%llu arms=%llu notifies=%llu wakeups=%llu "
               "connections=%llu\n",
               (unsigned long long)c->expired, (unsigned long long)c->arms,
               (unsigned long long)c->notifies, (unsigned long long)c->wakeups,
               (unsigned long long)c->connections);
    } else {
        printf("err what\n");
    }
}

int main(void)
{
    static char line[4096];

    frontend = far_frontend_new();
    if (!frontend) {
        perror("timers");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 1 << 12);
    printf("ok\n");
    while (fgets(line, sizeof(line), stdin))
        run(line);
    far_frontend_timers_close(timers);
    far_frontend_free(frontend);
    return 0;
}
