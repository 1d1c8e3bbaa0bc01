/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counters and histograms as JSON, for the control socket. Not for the data
 * path.
 */
#ifndef FARSIDE_CORE_STATUS_H
#define FARSIDE_CORE_STATUS_H

#include <jansson.h>
#include "core/counters.h"
#include "core/loop.h"
#include "core/times.h"

/* A counter of that name. */
void far_count_json(json_t *to, const char *name, uint64_t value);
/* {"count", "sum_ns", "p50_ns", "p99_ns", "max_ns", "below"}, the last an array
 * of far_hist_below() if count is not 0; NULL if memory is out. */
json_t *far_hist_json(const struct far_hist *hist);
/* Adds what was measured to {STAGE: histogram, …}. stages may be NULL. */
void far_stages_json(json_t *to, const struct far_stages *stages);
/* {"turns", "sleeps", "spins", "fruitless_spins", "longest_turn_us"} */
json_t *far_loop_json(const struct far_loop *loop);

#endif
