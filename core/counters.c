/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Histograms of latencies: where a value falls, and quantiles.
 */
#include "core/counters.h"

/* The first 8 buckets hold one nanosecond each; then every power of two has 8
 * sub-buckets. 240 of them reach 2^32 ns; the last takes what is above. */
static unsigned bucket_of(uint64_t ns)
{
    unsigned top, bucket;

    if (ns < 8)
        return (unsigned)ns;
    top = 63u - (unsigned)__builtin_clzll(ns);
    bucket = (top - 2) * 8 + (unsigned)((ns >> (top - 3)) & 7);
    return bucket < FAR_HIST_BUCKETS ? bucket : FAR_HIST_BUCKETS - 1;
}

/* The largest value that falls into it. */
static uint64_t upper_bound(unsigned bucket)
{
    unsigned shift;

    if (bucket < 8)
        return bucket;
    shift = bucket / 8 - 1;
    return ((uint64_t)(8 + bucket % 8 + 1) << shift) - 1;
}

void far_hist_add(struct far_hist *hist, uint64_t ns)
{
    unsigned bucket;

    hist->count++;
    hist->sum_ns += ns;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
    bucket = bucket_of(ns);
    if (hist->buckets[bucket] == UINT32_MAX)
        for (unsigned i = 0; i < FAR_HIST_BUCKETS; i++)
            hist->buckets[i] /= 2; /* the shape stays */
    hist->buckets[bucket]++;
}

uint64_t far_hist_below(const struct far_hist *hist, unsigned i)
{
    unsigned end = bucket_of((uint64_t)1 << (2 * (5 + i)));
    uint64_t n = 0;

    for (unsigned b = 0; b < end; b++)
        n += hist->buckets[b];
    return n;
}

void far_hist_merge(struct far_hist *sum, const struct far_hist *more)
{
    sum->count += more->count;
    sum->sum_ns += more->sum_ns;
    if (more->max_ns > sum->max_ns)
        sum->max_ns = more->max_ns;
    for (unsigned i = 0; i < FAR_HIST_BUCKETS; i++)
        sum->buckets[i] += more->buckets[i];
}

uint64_t far_hist_quantile_ns(const struct far_hist *hist, double fraction)
{
    uint64_t total = 0, wanted, seen = 0;

    /* Summed up rather than taken from count: the buckets may be written while
     * we read. */
    for (unsigned i = 0; i < FAR_HIST_BUCKETS; i++)
        total += hist->buckets[i];
    if (total == 0)
        return 0;
    if (!(fraction > 0))
        fraction = 0;
    if (fraction > 1)
        fraction = 1;
    wanted = (uint64_t)(fraction * (double)total);
    if ((double)wanted < fraction * (double)total || wanted == 0)
        wanted++; /* rounded up, at least the first */
    for (unsigned i = 0; i < FAR_HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen >= wanted) {
            uint64_t bound = upper_bound(i);

            /* The last bucket has no bound of its own. */
            return i == FAR_HIST_BUCKETS - 1 || bound > hist->max_ns
                       ? hist->max_ns
                       : bound;
        }
    }
    return hist->max_ns;
}
