/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The op: one operation on a device, its completion (feedback), or what a
 * device sends unasked (interrupt). The same 64 bytes travel in a function
 * call, in shared memory and on the wire; there a frame header goes round
 * them. What the arguments mean is the class's business: core/input.h etc.
 */
#ifndef FARSIDE_CORE_OP_H
#define FARSIDE_CORE_OP_H

#include <assert.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Farside's structures are little-endian, as Xen's processors are"
#endif

enum far_class {
    FAR_CLASS_NONE = 0,
    FAR_CLASS_INPUT = 1,
    FAR_CLASS_SOUND = 2,
    FAR_CLASS_DISPLAY = 3,
    FAR_CLASS_BLOCK = 4,
    FAR_CLASS_TIMER = 5,
    FAR_CLASS_DOORBELL = 6,
    FAR_CLASS_INTC = 7,
    FAR_CLASS_STREAM = 8,
};

/* An opcode is its class in the upper byte; from 0x80 in the lower byte on
 * it is an interrupt. */
#define FAR_OPCODE(class, n)       ((uint16_t)(((class) << 8) | (n)))
#define FAR_OPCODE_CLASS(opcode)   ((opcode) >> 8)
#define FAR_OPCODE_IS_INTERRUPT(o) (((o)&0x80) != 0)

/* Of every class: nothing is done, and said to be done. Repeatable. */
#define FAR_OP_NOP(class) FAR_OPCODE(class, 0)

/* Which way the payload goes: with the request, or with the answer (then the
 * request's payload_bytes is the room for it). At most one of them. Where it
 * lies: in a function call at `payload` (devices/device.h), in shared memory in
 * the arena at its slot's place (core/local.h), on the wire behind the op. */
#define FAR_OP_SENDS       0x0001
#define FAR_OP_RECEIVES    0x0002
#define FAR_OP_PAYLOAD_MAX (1u << 20)
/* Sent again after a loss: it may have been executed already. Set by whoever
 * repeats; an executor that knows nothing of it fails it with -EOWNERDEAD
 * ("the outcome is not known") if it may be done at most once. */
#define FAR_OP_REPEAT 0x0004
/* Sampled: its stages are measured (core/times.h). Set by whoever makes the op;
 * who knows nothing of it ignores it. */
#define FAR_OP_TIMED 0x0008
/* Slots are below this. There is one op in a slot at a time. */
#define FAR_OP_SLOTS_MAX 64

/* What repeating an op means, after a loss (docs/PROTOCOL.md, sessions). */
enum far_repeat {
    FAR_REPEATABLE,   /* doing it twice is as doing it once */
    FAR_RECORDED,     /* effect and answer are committed together; the answer
                         has no payload */
    FAR_AT_MOST_ONCE, /* fails if its executor died */
};

#define FAR_OP_ARGS_BYTES 32

struct far_op {
    uint64_t attachment;    /* whose: given by the backend, never 0 */
    uint64_t sequence;      /* an op's: per slot; an interrupt's: per
                               attachment, from 1, without gaps */
    uint32_t slot;          /* given by the backend; 0 in interrupts */
    uint16_t opcode;        /* FAR_OPCODE() */
    uint16_t flags;         /* FAR_OP_SENDS, …; others are 0, and ignored */
    int32_t status;         /* 0 or a negative errno; 0 in requests */
    uint32_t payload_bytes; /* of the payload, wherever it is; in an answer
                               of one that receives: how many have come */
    uint8_t args[FAR_OP_ARGS_BYTES];
};
static_assert(sizeof(struct far_op) == 64, "an op is 64 bytes, everywhere");

/* By the class's header; FAR_AT_MOST_ONCE for an opcode that nobody knows. */
enum far_repeat far_op_repeat(uint16_t opcode);

/* The longest payload of an op of that class; 0: its ops have none. */
uint32_t far_class_payload_bytes(enum far_class class);

/* "timer.arm"; "timer.9" for one that has no name; in text. */
const char *far_op_name(uint16_t opcode, char *text, unsigned bytes);

const char *far_class_name(enum far_class class);
/* FAR_CLASS_NONE if there is no such class. */
enum far_class far_class_from_name(const char *name);

#endif
