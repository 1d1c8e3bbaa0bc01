/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Many timers by number, pure: armed, cancelled, and taken out when they are
 * due, with what a period that was missed means. A heap over an array that is
 * counted out at the start: nothing is allocated afterwards, arming costs
 * O(log n). Time is the caller's.
 */
#ifndef FARSIDE_DEVICES_TIMERS_H
#define FARSIDE_DEVICES_TIMERS_H

#include "core/timer.h"

/* Between two expiries of a timer that makes up for what it missed (BURST). */
#define FAR_TIMERS_BURST_NS 50000u
#define FAR_TIMERS_NEVER    UINT64_MAX

struct far_timers_entry {
    uint64_t at_ns;       /* when it is looked at: the heap's order */
    uint64_t deadline_ns; /* the next one */
    uint64_t period_ns;
    uint64_t expired;
    uint32_t arm;
    uint32_t heap; /* place in the heap + 1; 0: not armed */
    uint32_t flags;
};

struct far_timers {
    struct far_timers_entry *entries;
    uint32_t *heap;
    uint32_t count, armed;
};

int far_timers_init(struct far_timers *timers, uint32_t count); /* -ENOMEM */
void far_timers_free(struct far_timers *timers);
/* args were checked (far_timer_check), the deadline is absolute. */
void far_timers_arm(struct far_timers *timers,
                    const struct far_timer_args *args);
/* The arming that has ended; 0: there was none. */
uint32_t far_timers_cancel(struct far_timers *timers, uint32_t timer);
/* When to look; FAR_TIMERS_NEVER. */
uint64_t far_timers_next(const struct far_timers *timers);
/* One that is due now: true, and what to tell. Each timer once a look, if now
 * stays the same over it. */
bool far_timers_expire(struct far_timers *timers, uint64_t now_ns,
                       struct far_timer_expired *expired);

#endif
