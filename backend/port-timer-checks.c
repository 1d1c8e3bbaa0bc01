/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the timer port decides: see port-timer-checks.h.
 */
#include "backend/port-timer-checks.h"

#include <errno.h>
#include <string.h>

static_assert(FARTIMER_SKIP == (int)FAR_TIMER_SKIP &&
                  FARTIMER_BURST == (int)FAR_TIMER_BURST &&
                  FARTIMER_SLEW == (int)FAR_TIMER_SLEW &&
                  FARTIMER_OUTSIDE == (int)FAR_TIMER_OUTSIDE &&
                  FARTIMER_PERIOD_MIN_NS == FAR_TIMER_PERIOD_MIN_NS &&
                  FARTIMER_TIMERS_MAX == FAR_TIMER_TIMERS_MAX,
              "the guest's numbers are ours");
static_assert(sizeof(struct fartimer_page) == 4096 &&
                  offsetof(struct fartimer_page, looks_ns) == 64 &&
                  offsetof(struct fartimer_page, front_cpu) == 128 &&
                  offsetof(struct fartimer_page, dirty_words) == 192 &&
                  offsetof(struct fartimer_page, fired_words) == 256 &&
                  offsetof(struct fartimer_page, dirty) == 512 &&
                  offsetof(struct fartimer_page, fired) == 2048 &&
                  sizeof(struct fartimer_slot) == 32 &&
                  sizeof(struct fartimer_request) == 32 &&
                  sizeof(struct fartimer_response) == 32,
              "the layout is a contract");

/* A number, and a known way to catch up. */
static bool arm_valid(uint32_t arm, uint32_t flags)
{
    return arm & FARTIMER_ARM_NUMBER &&
           !(arm & ~(uint32_t)FARTIMER_ARM_NUMBER & ~flags) &&
           (arm & FARTIMER_CATCH_UP) != FARTIMER_CATCH_UP;
}

enum far_slot_meaning far_timer_slot(const struct fartimer_slot *slot,
                                     uint32_t timer, uint64_t now_ns,
                                     struct far_timer_args *args,
                                     uint64_t *before)
{
    uint64_t gone;

    *before = 0;
    if (!slot->deadline_ns)
        return FAR_SLOT_DISARMED;
    if (slot->arm & FARTIMER_OUTSIDE && arm_valid(slot->arm, 0xff))
        return FAR_SLOT_DISARMED; /* armed elsewhere, by the ring */
    if (!arm_valid(slot->arm, FARTIMER_CATCH_UP) ||
        (slot->period_ns && slot->period_ns < FARTIMER_PERIOD_MIN_NS))
        return FAR_SLOT_WRONG;
    *args = (struct far_timer_args){
        .timer = timer,
        .arm = slot->arm,
        .deadline_ns = slot->deadline_ns,
        .period_ns = slot->period_ns,
        .flags = slot->arm & FARTIMER_CATCH_UP,
    };
    if (slot->fired_arm != slot->arm || !slot->expired)
        return FAR_SLOT_ARMED;
    if (!slot->period_ns)
        return FAR_SLOT_DISARMED;
    /* It goes on where it was. */
    *before = slot->expired;
    if (args->flags == FARTIMER_SLEW) {
        args->deadline_ns = now_ns > UINT64_MAX - slot->period_ns
                                ? UINT64_MAX
                                : now_ns + slot->period_ns;
        return FAR_SLOT_ARMED;
    }
    if (__builtin_mul_overflow(slot->expired, slot->period_ns, &gone) ||
        __builtin_add_overflow(gone, args->deadline_ns, &args->deadline_ns))
        return FAR_SLOT_WRONG;
    return FAR_SLOT_ARMED;
}

int far_timer_request(const struct fartimer_request *request, uint32_t timers,
                      struct far_op *op)
{
    struct far_timer_args args = { .timer = request->timer,
                                   .arm = request->arm,
                                   .deadline_ns = request->deadline_ns,
                                   .period_ns = request->period_ns,
                                   .flags = request->arm & 0xff };

    switch (request->operation) {
    case FARTIMER_OP_NOP:
        op->opcode = FAR_OP_NOP(FAR_CLASS_TIMER);
        args = (struct far_timer_args){ 0 };
        break;
    case FARTIMER_OP_NOW:
        op->opcode = FAR_TIMER_NOW;
        args = (struct far_timer_args){ 0 };
        break;
    case FARTIMER_OP_CANCEL:
        op->opcode = FAR_TIMER_CANCEL;
        args = (struct far_timer_args){ .timer = request->timer };
        break;
    case FARTIMER_OP_ARM:
    case FARTIMER_OP_ARM_IN:
        op->opcode = FAR_TIMER_ARM;
        if (!arm_valid(request->arm, FARTIMER_CATCH_UP | FARTIMER_OUTSIDE) ||
            request->reserved)
            return -EINVAL;
        if (request->operation == FARTIMER_OP_ARM_IN)
            args.flags |= FAR_TIMER_RELATIVE;
        else if (!args.deadline_ns || args.flags & FAR_TIMER_OUTSIDE)
            return -EINVAL; /* another machine has another clock */
        break;
    default:
        return -EOPNOTSUPP;
    }
    memcpy(op->args, &args, sizeof(args));
    return far_timer_check(op, timers);
}

uint64_t far_timer_value(uint16_t operation, const struct far_op *op)
{
    struct far_timer_args args;

    memcpy(&args, op->args, sizeof(args));
    if (op->status)
        return 0;
    switch (operation) {
    case FARTIMER_OP_CANCEL:
        return args.arm != 0;
    case FARTIMER_OP_ARM:
    case FARTIMER_OP_ARM_IN:
    case FARTIMER_OP_NOW:
        return args.deadline_ns;
    default:
        return 0;
    }
}

int32_t far_timer_status(int32_t status)
{
    switch (status) {
    case 0:
    case -EINVAL:
    case -EOPNOTSUPP:
    case -ENODEV:
    case -EAGAIN:
    case -EACCES:
    case -ENOTCONN:
    case -ETIMEDOUT:
        return status;
    default:
        return -EIO;
    }
}
