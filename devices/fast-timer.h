/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The event timer as a layer: as the fast device in front of another one,
 * where it answers all but what is meant for that one (FAR_TIMER_OUTSIDE), and
 * as the device type "timer", where it answers everything. One wake-up of the
 * loop serves all its timers; nothing is allocated per op.
 */
#ifndef FARSIDE_DEVICES_FAST_TIMER_H
#define FARSIDE_DEVICES_FAST_TIMER_H

#include "core/timer.h"
#include "devices/device.h"

/* NULL: memory is out. */
struct far_layer *far_fast_timer_new(struct far_loop *loop, uint32_t timers);
/* Called with the layer above before anything is let expire. */
void far_fast_timer_before(struct far_layer *fast,
                           void (*before)(struct far_layer *above));
/* Another user's: nothing is armed any more, and nobody told. */
void far_fast_timer_reset(struct far_layer *fast);
/* When it will look by itself (ns); FAR_TIMERS_NEVER. For one who keeps the
 * loop awake anyway. */
uint64_t far_fast_timer_next(const struct far_layer *fast);
/* Tells what is due now, without waiting for the loop. */
void far_fast_timer_look(struct far_layer *fast);

struct far_fast_timer_counters {
    uint64_t armed, expiries, merged;
    struct far_hist late; /* from the deadline to being told */
};
/* Valid as long as the layer. */
const struct far_fast_timer_counters *
far_fast_timer_counters(const struct far_layer *fast);

#endif
