/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fardoorbell: a guest rings another guest, here or on another platform, with
 * a number of 32 bits: an event channel across machines. This header holds the
 * shared structures; nodes, states and meaning are in docs/DOORBELL.md.
 * Version 1.
 *
 * Little-endian. "Front" and "back" say who writes a field; the other side
 * reads it once, and judges what it read.
 */
#ifndef FARSIDE_IO_FARDOORBELL_H
#define FARSIDE_IO_FARDOORBELL_H

#include <stddef.h>
#include <stdint.h>
#include <xen/io/ring.h>

#define FARDOORBELL_VERSION 1

/* A ring that has come. */
struct fardoorbell_event {
    uint32_t value;
    uint32_t sequence; /* from 1, one more for each: a gap is a loss */
};
#define FARDOORBELL_EVENTS 256

/* The control page. Indexes run free; an event is at its index modulo
 * FARDOORBELL_EVENTS. */
struct fardoorbell_page {
    /* back */
    uint32_t produced;
    uint32_t back_cpu; /* processor + 1 while it looks without being told */
    uint32_t pad1[14];
    /* front, from byte 64 */
    uint32_t consumed;
    uint32_t front_cpu;
    uint32_t pad2[14];
    uint32_t pad3[480];
    struct fardoorbell_event events[FARDOORBELL_EVENTS]; /* byte 2048 */
};

enum fardoorbell_operation {
    FARDOORBELL_OP_NOP = 0,
    FARDOORBELL_OP_RING = 1, /* value */
};

struct fardoorbell_request {
    uint16_t id; /* echoed */
    uint16_t operation;
    uint32_t value;
    uint64_t reserved; /* 0 */
};

struct fardoorbell_response {
    uint16_t id;
    uint16_t operation;
    /* 0: the other guest has it, or will have it. -EAGAIN: its page is full.
     * -ENOTCONN: nobody is at the other end. -EIO: not known. */
    int32_t status;
    uint64_t reserved; /* 0 */
};

DEFINE_RING_TYPES(fardoorbell, struct fardoorbell_request,
                  struct fardoorbell_response);

#endif
