/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The doorbell class: a number of 32 bits that one guest sends to another.
 * There is one op, and one interrupt, which is the same number at the other
 * end.
 */
#ifndef FARSIDE_CORE_DOORBELL_H
#define FARSIDE_CORE_DOORBELL_H

#include "core/op.h"

/* args: struct far_doorbell_args. Done when the number is in the other guest's
 * page: -EAGAIN if that is full, -ENOTCONN if nobody is there. At most once. */
#define FAR_DOORBELL_RING FAR_OPCODE(FAR_CLASS_DOORBELL, 1)
/* args the same. */
#define FAR_DOORBELL_RUNG FAR_OPCODE(FAR_CLASS_DOORBELL, 0x80)

struct far_doorbell_args {
    uint32_t value;
    uint32_t reserved[7];
};
static_assert(sizeof(struct far_doorbell_args) == FAR_OP_ARGS_BYTES, "");

#endif
