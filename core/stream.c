/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The one judge of stream ops (core/stream.h). Pure.
 */
#include "core/stream.h"

#include <errno.h>
#include <string.h>

int far_stream_check(const struct far_op *op)
{
    uint16_t way = op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES), wants = 0;
    struct far_stream_args a;

    memcpy(&a, op->args, sizeof(a));
    switch (op->opcode) {
    case FAR_OP_NOP(FAR_CLASS_STREAM):
        return 0;
    case FAR_STREAM_CONNECT:
        if (a.peer || a.flags & ~FAR_STREAM_SERVER)
            return -EINVAL;
        break;
    case FAR_STREAM_WRITE:
        if (!a.peer)
            return -EINVAL;
        wants = FAR_OP_SENDS;
        break;
    case FAR_STREAM_READ:
        if (!a.peer)
            return -EINVAL;
        wants = FAR_OP_RECEIVES;
        break;
    case FAR_STREAM_CLOSE:
        break;
    default:
        return -EOPNOTSUPP;
    }
    if (way != wants || !a.self || !op->payload_bytes != !wants ||
        op->payload_bytes > FAR_STREAM_PAYLOAD_MAX)
        return -EINVAL;
    return 0;
}

/* Offsets say which bytes are meant: twice is as once. */
enum far_repeat far_stream_repeat(uint16_t opcode)
{
    return (opcode & 0xff) <= (FAR_STREAM_CLOSE & 0xff) ? FAR_REPEATABLE
                                                        : FAR_AT_MOST_ONCE;
}
