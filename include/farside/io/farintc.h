/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * farintc: an interrupt controller for a guest, between its frontend and
 * Farside's backend. This header holds the shared structures; what they mean,
 * the nodes and the states are described in docs/INTC.md. Version 1.
 *
 * Little-endian. "Front" and "back" say who writes a field; the other side
 * reads it once, and judges what it read.
 */
#ifndef FARSIDE_IO_FARINTC_H
#define FARSIDE_IO_FARINTC_H

#include <stddef.h>
#include <stdint.h>
#include <xen/io/ring.h>

#define FARINTC_VERSION      1
#define FARINTC_VECTORS_MAX  1024
#define FARINTC_WORDS        (FARINTC_VECTORS_MAX / 64)
#define FARINTC_PRIORITIES   8 /* 0 comes first */
#define FARINTC_CHANNELS_MAX 32

/* --- one vector, in the pages of vectors; FARINTC_SLOTS_A_PAGE a page ---
 * All of it is the back's. base, epoch and source are of no meaning to the
 * front, which gives them back as they were when it connects again. */
struct farintc_slot {
    uint64_t count; /* how often it was raised: never goes back */
    uint64_t base;
    uint64_t epoch;
    uint32_t source;
    uint8_t priority;
    uint8_t channel;
    uint8_t flags; /* FARINTC_* */
    uint8_t reserved;
};
#define FARINTC_SLOTS_A_PAGE 128
#define FARINTC_ROUTED       1 /* a source was configured for it */
#define FARINTC_LEVEL        2 /* it wants an end of interrupt */

/* --- the control page --- */
struct farintc_page {
    /* back */
    uint32_t back_cpu; /* processor + 1 while it looks without being told */
    uint32_t pad1[15];
    /* front, from byte 64 */
    uint32_t front_cpu; /* the same */
    uint32_t threshold; /* the back tells of priorities below it */
    uint32_t pad2[14];
    /* back, byte 128: level vectors that are high */
    uint64_t high[FARINTC_WORDS];
    /* front, byte 256: vectors that it doesn't want to hear of */
    uint64_t masked[FARINTC_WORDS];
    /* front sets, back clears, byte 384: the end of an interrupt */
    uint64_t eoi[FARINTC_WORDS];
    /* the same, byte 512: a bit for each word of eoi */
    uint64_t eoi_words;
    uint64_t pad3[7];
    /* back sets, front clears, byte 576: a bit for each word of pending */
    uint64_t ready[FARINTC_PRIORITIES];
    uint64_t pad4[48];
    /* back sets, front clears, byte 1024: by priority, a bit for each vector */
    uint64_t pending[FARINTC_PRIORITIES][FARINTC_WORDS];
    uint64_t pad5[256];
};

/* --- the ring: one page --- */
enum farintc_operation {
    FARINTC_OP_NOP = 0,
    /* vector, priority, channel, and limits, which hold beside the
     * configuration's: the stricter one counts */
    FARINTC_OP_SET = 1,
    FARINTC_OP_ASK = 2, /* vector: the answer's value, FARINTC_ASK_* */
};

struct farintc_request {
    uint16_t id; /* echoed */
    uint16_t operation;
    uint32_t vector;
    uint32_t priority;
    uint32_t channel;    /* 0: event-channel; 1: event-channel-1; … */
    uint32_t per_second; /* interrupts at most; 0: as many as come */
    uint32_t together;   /* when so many were raised, or … */
    uint64_t wait_ns;    /* … the first is so old; 0: at once; up to 1 s */
};

struct farintc_response {
    uint16_t id;
    uint16_t operation;
    int32_t status; /* 0 or a negative Xen error number (xen/errno.h) */
    uint64_t value;
    uint64_t reserved[2]; /* 0 */
};
#define FARINTC_ASK_ROUTED 1 /* a source was configured */
#define FARINTC_ASK_THERE  2 /* and its device is there */

DEFINE_RING_TYPES(farintc, struct farintc_request, struct farintc_response);

#endif
