/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The one judge of block ops (core/block.h): devices and ports ask it before
 * they act on anything. Pure.
 */
#include "core/block.h"

#include <string.h>

static bool fits(const struct far_block_args *a,
                 const struct far_block_props *p)
{
    return a->length_bytes <= p->bytes &&
           a->offset_bytes <= p->bytes - a->length_bytes;
}

static bool whole(const struct far_block_args *a,
                  const struct far_block_props *p)
{
    uint64_t unit = p->block_bytes ? p->block_bytes : 512;

    return a->offset_bytes % unit == 0 && a->length_bytes % unit == 0 &&
           a->length_bytes;
}

int far_block_check(const struct far_op *op, const struct far_block_props *p)
{
    struct far_block_args a;
    uint16_t way = op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES);
    uint32_t allowed = 0, needs = 0;
    uint16_t wants = 0;

    memcpy(&a, op->args, sizeof(a));
    switch (op->opcode) {
    case FAR_BLOCK_READ:
        wants = FAR_OP_RECEIVES;
        break;
    case FAR_BLOCK_WRITE:
        wants = FAR_OP_SENDS;
        allowed = FAR_BLOCK_FUA;
        needs = FAR_BLOCK_CAN_WRITE;
        break;
    case FAR_BLOCK_APPEND:
        wants = FAR_OP_SENDS;
        needs = FAR_BLOCK_CAN_APPEND;
        break;
    case FAR_BLOCK_FLUSH:
        return way || op->payload_bytes || a.flags ? -EINVAL : 0;
    case FAR_BLOCK_DISCARD:
        allowed = FAR_BLOCK_SECURE | FAR_BLOCK_ZERO;
        needs = FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_DISCARD;
        if (a.flags & FAR_BLOCK_SECURE)
            needs |= FAR_BLOCK_CAN_SECURE;
        break;
    default:
        return op->opcode == FAR_OP_NOP(FAR_CLASS_BLOCK) ? 0 : -EOPNOTSUPP;
    }
    if ((needs & FAR_BLOCK_CAN_WRITE) && !(p->can & FAR_BLOCK_CAN_WRITE))
        return -EROFS;
    if ((p->can & needs) != needs)
        return -EOPNOTSUPP;
    if (way != wants || (a.flags & ~allowed) ||
        op->payload_bytes != (way ? a.length_bytes : 0) || !whole(&a, p))
        return -EINVAL;
    return fits(&a, p) ? 0 : -ENOSPC;
}

uint32_t far_block_incarnation(uint64_t device_incarnation)
{
    uint32_t folded = (uint32_t)(device_incarnation >> 32 ^ device_incarnation);

    return folded ? folded : 1;
}

bool far_block_is_stale(const struct far_op *op, uint64_t device_incarnation)
{
    struct far_block_args a;

    if (FAR_OPCODE_CLASS(op->opcode) != FAR_CLASS_BLOCK)
        return false;
    memcpy(&a, op->args, sizeof(a));
    return a.incarnation &&
           a.incarnation != far_block_incarnation(device_incarnation);
}

const char *far_block_props_fault(const struct far_block_props *p)
{
    uint32_t unit = p->block_bytes ? p->block_bytes : 512;

    if (unit != 512 && unit != 4096)
        return "its blocks have neither 512 nor 4096 bytes";
    if (!p->bytes)
        return "it has no bytes";
    if (p->bytes % unit || p->bytes > FAR_BLOCK_BYTES_MAX)
        return "its size is no number of blocks that a disk may have";
    if (p->physical_bytes &&
        (p->physical_bytes < unit || p->physical_bytes > 1u << 30 ||
         p->physical_bytes & (p->physical_bytes - 1)))
        return "what it writes at once is no power of two of bytes";
    if (p->discard_bytes % 512 || p->discard_bytes > 1u << 30 ||
        p->discard_align % 512)
        return "what it discards at once is no number of sectors";
    return NULL;
}

enum far_repeat far_block_repeat(uint16_t opcode)
{
    return opcode == FAR_BLOCK_APPEND ? FAR_RECORDED : FAR_REPEATABLE;
}
