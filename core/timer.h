/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The timer class: many timers of one attachment, by number, in nanoseconds of
 * the CLOCK_MONOTONIC of the machine where the device is. Whoever sends an op
 * to another machine gives distances, as the two clocks have nothing in common.
 */
#ifndef FARSIDE_CORE_TIMER_H
#define FARSIDE_CORE_TIMER_H

#include <stdbool.h>
#include "core/op.h"

/* args: struct far_timer_args. Takes the place of what the timer was armed for
 * before. The answer's deadline_ns is the absolute one. */
#define FAR_TIMER_ARM FAR_OPCODE(FAR_CLASS_TIMER, 1)
/* Only `timer` counts; the answer's `arm` is the arming that has ended, 0 if
 * the timer was not armed. */
#define FAR_TIMER_CANCEL FAR_OPCODE(FAR_CLASS_TIMER, 2)
/* The answer's deadline_ns is the time. */
#define FAR_TIMER_NOW FAR_OPCODE(FAR_CLASS_TIMER, 3)
/* Interrupt: args hold a struct far_timer_expired. */
#define FAR_TIMER_EXPIRED FAR_OPCODE(FAR_CLASS_TIMER, 0x80)

enum far_timer_flag {
    FAR_TIMER_SKIP = 0,  /* what to do about periods that went by unseen: one */
    FAR_TIMER_BURST = 1, /* expiry for all; one for each; one, and periods   */
    FAR_TIMER_SLEW = 2,  /* begin anew from it                               */
    FAR_TIMER_CATCH_UP = 3,
    FAR_TIMER_OUTSIDE = 4,  /* for the device behind, by its clock: a fast
                               device passes it */
    FAR_TIMER_RELATIVE = 8, /* deadline_ns is a distance from now */
};

#define FAR_TIMER_PERIOD_MIN_NS 1000u
#define FAR_TIMER_TIMERS_MAX    8192u

struct far_timer_args {
    uint32_t timer; /* below FAR_TIMER_TIMERS_MAX */
    uint32_t arm;   /* the user's name for this arming; not 0 */
    uint64_t deadline_ns;
    uint64_t period_ns; /* 0: once */
    uint32_t flags;     /* enum far_timer_flag */
    uint32_t reserved;
};
static_assert(sizeof(struct far_timer_args) == FAR_OP_ARGS_BYTES, "");

struct far_timer_expired {
    uint32_t timer;
    uint32_t arm;
    uint64_t expired;     /* how often this arming has expired in all */
    uint64_t deadline_ns; /* of the last of them, by the device's clock */
    uint64_t reserved;
};
static_assert(sizeof(struct far_timer_expired) == FAR_OP_ARGS_BYTES, "");

/* What a timer device says of itself at prepare. */
struct far_timer_props {
    uint32_t timers;        /* so many at once */
    uint32_t resolution_ns; /* an expiry is not early, and about so late */
};

/* Is this op one that a device with so many timers may act on? 0, -EOPNOTSUPP
 * or -EINVAL. Pure. */
int far_timer_check(const struct far_op *op, uint32_t timers);
enum far_repeat far_timer_repeat(uint16_t opcode);

#endif
