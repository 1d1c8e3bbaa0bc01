/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The stream class: bytes between two ends, each way, once and in order. The
 * ends hold the bytes, not the device between them: a writer's bytes stay where
 * they are until the reader's end has them, so that whatever dies in between
 * can be asked anew. Bytes are numbered modulo 2^32 from 0, as in the ring of
 * a vchan (xen/io/libxenvchan.h). There are no interrupts.
 *
 * All ops may wait long for what the other end does. One that is repeated does
 * not: it is answered at once, with -EAGAIN if there is nothing to answer yet,
 * and so are all that wait when their end is activated anew. Nothing new is
 * sent before all repeats are answered, and the other end may wait for that.
 */
#ifndef FARSIDE_CORE_STREAM_H
#define FARSIDE_CORE_STREAM_H

#include <stdbool.h>
#include "core/op.h"

#define FAR_STREAM_PAYLOAD_MAX (64u << 10)

/* Once, of a new connection. Done when the other end has one too: the answer's
 * peer is its self. */
#define FAR_STREAM_CONNECT FAR_OPCODE(FAR_CLASS_STREAM, 1)
/* Sends bytes from offset on. Done when the other end has all of them. -EPIPE:
 * it has closed, and will not take them. */
#define FAR_STREAM_WRITE FAR_OPCODE(FAR_CLASS_STREAM, 2)
/* All bytes below offset are there: receives those from offset on, at least
 * one. -EPIPE: there will be none, as the other end has closed. */
#define FAR_STREAM_READ FAR_OPCODE(FAR_CLASS_STREAM, 3)
/* Nothing is read any more, and nothing written from offset on; what is below
 * may still be under way. Done when the other end has closed too. */
#define FAR_STREAM_CLOSE FAR_OPCODE(FAR_CLASS_STREAM, 4)

#define FAR_STREAM_WRITES 4u /* of one end that may wait at once */

#define FAR_STREAM_SERVER 1u /* flags, of CONNECT: there is one at one end */

/* An op whose self is another than before means that what had that is over. */
struct far_stream_args {
    uint64_t self;   /* random, of this connection of this end; never 0 */
    uint64_t peer;   /* the other end's; 0 in CONNECT, or if it is not known */
    uint32_t offset; /* of READ, WRITE and CLOSE */
    uint32_t flags;
    uint32_t reserved[2];
};
static_assert(sizeof(struct far_stream_args) == FAR_OP_ARGS_BYTES, "");

/* Is this op one that a device may act on? 0, -EINVAL or -EOPNOTSUPP. Pure. */
int far_stream_check(const struct far_op *op);
enum far_repeat far_stream_repeat(uint16_t opcode);

#endif
