/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the timer port decides, as pure functions: what a slot in the guest's
 * page means, and what a request of the ring becomes. Reads no node and touches
 * no page; port-timer.c does.
 */
#ifndef FARSIDE_BACKEND_PORT_TIMER_CHECKS_H
#define FARSIDE_BACKEND_PORT_TIMER_CHECKS_H

#include <stdbool.h>
#include "core/timer.h"
#include "farside/io/fartimer.h"

enum far_slot_meaning {
    FAR_SLOT_ARMED,    /* args say how */
    FAR_SLOT_DISARMED, /* or it has expired already */
    FAR_SLOT_WRONG,    /* nonsense: disarmed, and counted */
};

/* slot is a private copy. *before: how often this arming had expired, which
 * args don't count. */
enum far_slot_meaning far_timer_slot(const struct fartimer_slot *slot,
                                     uint32_t timer, uint64_t now_ns,
                                     struct far_timer_args *args,
                                     uint64_t *before);

/* An op of a request (a private copy): 0, or the status to answer with.
 * FARTIMER_OP_TSC is none of a device's: -EOPNOTSUPP. */
int far_timer_request(const struct fartimer_request *request, uint32_t timers,
                      struct far_op *op);
/* The answer's value, of the op as it was completed. */
uint64_t far_timer_value(uint16_t operation, const struct far_op *op);

/* A negative errno of Linux as one of Xen's (xen/errno.h): the same numbers for
 * all that is used here. */
int32_t far_timer_status(int32_t status);

#endif
