/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The block class: disks. All numbers are bytes, whatever sectors a guest or a
 * device has; the port and the device translate. There are no interrupts.
 */
#ifndef FARSIDE_CORE_BLOCK_H
#define FARSIDE_CORE_BLOCK_H

#include <errno.h>
#include <stdbool.h>
#include "core/op.h"

#define FAR_BLOCK_PAYLOAD_MAX (128u << 10)

/* Receives length_bytes of payload; fewer is an error of the device. */
#define FAR_BLOCK_READ FAR_OPCODE(FAR_CLASS_BLOCK, 1)
/* Sends length_bytes of payload. With FAR_BLOCK_FUA it is durable when done. */
#define FAR_BLOCK_WRITE FAR_OPCODE(FAR_CLASS_BLOCK, 2)
/* All writes that were answered before it was given are durable when done. */
#define FAR_BLOCK_FLUSH FAR_OPCODE(FAR_CLASS_BLOCK, 3)
/* No payload; the range may read as anything (with FAR_BLOCK_ZERO: as zeros)
 * afterwards. */
#define FAR_BLOCK_DISCARD FAR_OPCODE(FAR_CLASS_BLOCK, 4)
/* Sends length_bytes of payload, which are put behind all that was appended;
 * where that is, the answer says in offset_bytes. The device commits effect and
 * answer together (FAR_RECORDED). */
#define FAR_BLOCK_APPEND FAR_OPCODE(FAR_CLASS_BLOCK, 5)
/* All others may be repeated as long as nothing newer was answered meanwhile:
 * whoever repeats sends all repeats before anything new. */

enum far_block_flag {
    FAR_BLOCK_FUA = 1,    /* of a write */
    FAR_BLOCK_SECURE = 2, /* of a discard: what was there can't be had again */
    FAR_BLOCK_ZERO = 4,   /* of a discard */
};

struct far_block_args {
    uint64_t offset_bytes;
    uint64_t length_bytes;
    uint64_t covers;      /* of a flush: the last sequence that it covers */
    uint32_t flags;       /* enum far_block_flag */
    uint32_t incarnation; /* far_block_incarnation() of the device that it is
                             meant for; 0: whichever */
};
static_assert(sizeof(struct far_block_args) == FAR_OP_ARGS_BYTES, "");

/* What a disk is and can do; told at prepare. Unknown bits are ignored. */
enum far_block_can {
    FAR_BLOCK_CAN_WRITE = 1,
    FAR_BLOCK_CAN_FLUSH = 2, /* has a cache that a flush empties; without it
                                what is answered is durable, or never is */
    FAR_BLOCK_CAN_DISCARD = 4,
    FAR_BLOCK_CAN_SECURE = 8,
    FAR_BLOCK_REMOVABLE = 16,
    FAR_BLOCK_CDROM = 32,
    FAR_BLOCK_VOLATILE = 64, /* never durable: memory */
    FAR_BLOCK_CAN_APPEND = 128,
    FAR_BLOCK_LOSES = 256, /* what is answered and not flushed may be lost while
                              the guest lives on; the device has another
                              incarnation then */
};

#define FAR_BLOCK_BYTES_MAX (1ull << 60)

struct far_block_props {
    uint64_t bytes;          /* of whole blocks, at most FAR_BLOCK_BYTES_MAX */
    uint32_t can;            /* enum far_block_can */
    uint32_t physical_bytes; /* what is best written at once, a power of 2; 0:
                                not known */
    uint32_t discard_bytes;  /* granularity, whole blocks; 0: any */
    uint32_t discard_align;
    uint32_t block_bytes; /* least unit of any op: 512 or 4096; 0: 512 */
    uint32_t reserved;
};
static_assert(sizeof(struct far_block_props) == 32, "");

/* Is this op one that a device of those properties may act on: a known opcode,
 * flags and payload that fit it, whole blocks, inside the disk? 0 or a negative
 * errno: -EOPNOTSUPP, -EINVAL, -EROFS, -ENOSPC (outside). Pure. */
int far_block_check(const struct far_op *op,
                    const struct far_block_props *props);

/* What was answered may be gone from a device that has another incarnation: who
 * kept it writes it again before anything else is done there. So ops name the
 * incarnation that they are meant for, and whoever executes one for another
 * answers it with this instead. Its submitter comes again. */
#define FAR_BLOCK_STALE (-EREMCHG)
/* Never 0. */
uint32_t far_block_incarnation(uint64_t device_incarnation);
bool far_block_is_stale(const struct far_op *op, uint64_t device_incarnation);
/* Are these properties that a disk can have? For who gets them from another
 * process or machine. NULL, or what is wrong, in words. Pure. */
const char *far_block_props_fault(const struct far_block_props *props);
enum far_repeat far_block_repeat(uint16_t opcode);

#endif
