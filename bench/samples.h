/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the programs of the bench share: every sample is kept (a histogram's
 * buckets are too wide for a bar of 1.3), quantiles, pinning, one JSON line.
 */
#ifndef FARSIDE_BENCH_SAMPLES_H
#define FARSIDE_BENCH_SAMPLES_H

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

struct samples {
    uint64_t *ns;
    unsigned count, room;
};

static inline int samples_init(struct samples *samples, unsigned room)
{
    samples->ns = calloc(room ? room : 1, sizeof *samples->ns);
    samples->count = 0;
    samples->room = room;
    return samples->ns ? 0 : -1;
}

static inline void samples_add(struct samples *samples, uint64_t ns)
{
    if (samples->count < samples->room)
        samples->ns[samples->count++] = ns;
}

static inline int samples_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static inline double samples_us(const struct samples *samples, double fraction)
{
    unsigned last = samples->count ? samples->count - 1 : 0;

    return (double)samples->ns[(unsigned)(fraction * last)] / 1000.0;
}

/* One line of JSON; sorts the samples. Processor time is this process's and
 * that of its children that were waited for. */
static inline void samples_print(struct samples *samples, const char *name)
{
    struct rusage self = { 0 }, children = { 0 };

    qsort(samples->ns, samples->count, sizeof *samples->ns, samples_compare);
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    printf("{\"name\": \"%s\", \"count\": %u, \"p50_us\": %.3f, "
           "\"p90_us\": %.3f, \"p99_us\": %.3f, \"max_us\": %.3f, "
           "\"sleeps\": %ld}\n",
           name, samples->count, samples_us(samples, 0.5),
           samples_us(samples, 0.9), samples_us(samples, 0.99),
           samples_us(samples, 1), self.ru_nvcsw + children.ru_nvcsw);
    fflush(stdout);
}

/* To one processor; a negative number leaves it as it is. */
static inline void samples_pin(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0) {
        perror("sched_setaffinity");
        exit(1);
    }
}

#endif
