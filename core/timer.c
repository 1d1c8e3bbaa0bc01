/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The one judge of timer ops (core/timer.h): devices and ports ask it before
 * they act on anything. Pure.
 */
#include "core/timer.h"

#include <errno.h>
#include <string.h>

#define KNOWN \
    (FAR_TIMER_CATCH_UP | (uint32_t)FAR_TIMER_OUTSIDE | FAR_TIMER_RELATIVE)

int far_timer_check(const struct far_op *op, uint32_t timers)
{
    struct far_timer_args a;

    memcpy(&a, op->args, sizeof(a));
    switch (op->opcode) {
    case FAR_OP_NOP(FAR_CLASS_TIMER):
    case FAR_TIMER_NOW:
        return 0;
    case FAR_TIMER_CANCEL:
        return a.timer < timers ? 0 : -EINVAL;
    case FAR_TIMER_ARM:
        if (a.timer >= timers || !a.arm || a.flags & ~KNOWN ||
            (a.flags & FAR_TIMER_CATCH_UP) == FAR_TIMER_CATCH_UP ||
            (a.period_ns && a.period_ns < FAR_TIMER_PERIOD_MIN_NS))
            return -EINVAL;
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

/* The same arming twice is one arming; a cancel finds nothing more to do. Only
 * the distance of a relative one begins anew. */
enum far_repeat far_timer_repeat(uint16_t opcode)
{
    switch (opcode) {
    case FAR_OP_NOP(FAR_CLASS_TIMER):
    case FAR_TIMER_ARM:
    case FAR_TIMER_CANCEL:
    case FAR_TIMER_NOW:
        return FAR_REPEATABLE;
    default:
        return FAR_AT_MOST_ONCE;
    }
}
