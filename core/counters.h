/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counters, and histograms of latencies: base-2 buckets with 8 sub-buckets
 * each, 12 % wide, fixed size, no allocation. One thread writes; readers of
 * the same process may read any time.
 */
#ifndef FARSIDE_CORE_COUNTERS_H
#define FARSIDE_CORE_COUNTERS_H

#include <stdint.h>
#include <stddef.h>

#define FAR_HIST_BUCKETS 240 /* 1 ns to 4 s; the last: above */

struct far_hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint32_t buckets[FAR_HIST_BUCKETS];
};

void far_hist_add(struct far_hist *hist, uint64_t ns);
/* How many were below 4^(5 + i) ns, for i below FAR_HIST_STEPS: from 1.024 us
 * to 1.07 s. */
#define FAR_HIST_STEPS 11
uint64_t far_hist_below(const struct far_hist *hist, unsigned i);
void far_hist_merge(struct far_hist *sum, const struct far_hist *more);
/* Upper bound of the bucket that holds the given fraction (0..1); 0 if empty.
 */
uint64_t far_hist_quantile_ns(const struct far_hist *hist, double fraction);

#endif
