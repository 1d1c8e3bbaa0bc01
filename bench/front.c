/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's end of the input rows: a frontend of the library that takes what
 * a device of type `probe` sends. A probe sends its next event when the last
 * one was acknowledged, so that the time between two events here is the round
 * trip; with `oneway` it is the time since the event was made, which it
 * carries in its motion (the bench's hosts share one clock).
 *
 * usage: front ROUNDS [poll] [oneway]     0: connect, say so, and stay
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/samples.h"
#include "core/clock.h"
#include "frontend/farside-frontend.h"

struct bench {
    struct far_frontend *frontend;
    struct far_frontend_input *input;
    struct samples samples;
    struct rusage begin;
    uint64_t last_ns, events, merged;
    unsigned warm_up;
    uint32_t flags;
    bool oneway;
    bool stays;
};

static void event(void *arg, const union xenkbd_in_event *e)
{
    struct bench *bench = arg;
    uint64_t now = far_now_ns();

    if (e->type != XENKBD_TYPE_MOTION)
        return;
    if (e->motion.rel_z != 1) {
        /* Several in one: the sum of their times is none, and looked like
         * delays of seconds. */
        bench->merged++;
        bench->last_ns = now;
        return;
    }
    bench->events++;
    if (bench->events == bench->warm_up)
        getrusage(RUSAGE_SELF, &bench->begin);
    if (bench->events > bench->warm_up) {
        uint32_t made = (uint32_t)(e->motion.rel_y << 16 | e->motion.rel_x);

        samples_add(&bench->samples, bench->oneway ? (uint32_t)now - made
                                                   : now - bench->last_ns);
        if (bench->samples.count == bench->samples.room && !bench->stays)
            far_frontend_stop(bench->frontend);
    }
    bench->last_ns = now;
}

static void state(void *arg, enum far_frontend_state state, const char *why)
{
    struct bench *bench = arg;

    if (state == FAR_FRONTEND_CONNECTED && bench->stays) {
        puts("connected");
        fflush(stdout);
    } else if (state == FAR_FRONTEND_REFUSED) {
        fprintf(stderr, "front: refused: %s\n", why ? why : "?");
        exit(1);
    }
}

static void found(void *arg, unsigned devid)
{
    struct bench *bench = arg;
    static const struct far_frontend_input_hooks hooks = { .event = event,
                                                           .state = state };

    if (!bench->input)
        bench->input = far_frontend_input_open(bench->frontend, devid,
                                               bench->flags, &hooks, bench);
    if (!bench->input) {
        perror("front: open");
        exit(1);
    }
}

static double us(struct timeval a, struct timeval b)
{
    return (double)(b.tv_sec - a.tv_sec) * 1e6 +
           (double)(b.tv_usec - a.tv_usec);
}

int main(int argc, char **argv)
{
    struct bench bench = { .flags = FAR_FRONTEND_NO_POLL };
    struct rusage end;
    double turns;

    if (argc < 2) {
        fprintf(stderr, "usage: front ROUNDS [poll] [oneway]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "poll"))
            bench.flags &= ~FAR_FRONTEND_NO_POLL;
        else if (!strcmp(argv[i], "oneway"))
            bench.oneway = true;
    }
    unsigned rounds = (unsigned)strtoul(argv[1], NULL, 10);

    bench.stays = rounds == 0;
    bench.warm_up = rounds / 10 + 1;
    bench.frontend = far_frontend_new();
    if (!bench.frontend || samples_init(&bench.samples, rounds) < 0 ||
        far_frontend_inputs(bench.frontend, found, &bench) < 0) {
        perror("front");
        return 1;
    }
    if (far_frontend_run(bench.frontend) < 0) {
        perror("front: run");
        return 1;
    }
    getrusage(RUSAGE_SELF, &end);
    turns = bench.samples.count ? bench.samples.count : 1;
    qsort(bench.samples.ns, bench.samples.count, sizeof *bench.samples.ns,
          samples_compare);
    printf("{\"name\": \"front\", \"count\": %u, \"turns\": %llu, \"merged\": "
           "%llu, "
           "\"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, "
           "\"max_us\": %.3f, \"front_us_per_op\": %.3f, "
           "\"front_sleeps_per_op\": %.3f}\n",
           bench.samples.count, (unsigned long long)bench.events,
           (unsigned long long)bench.merged, samples_us(&bench.samples, 0.5),
           samples_us(&bench.samples, 0.9), samples_us(&bench.samples, 0.99),
           samples_us(&bench.samples, 1),
           (us(bench.begin.ru_utime, end.ru_utime) +
            us(bench.begin.ru_stime, end.ru_stime)) /
               turns,
           (double)(end.ru_nvcsw - bench.begin.ru_nvcsw) / turns);
    far_frontend_free(bench.frontend);
    return 0;
}
