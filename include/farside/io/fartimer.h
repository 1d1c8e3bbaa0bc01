/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fartimer: an event timer and a clock for a guest, between its frontend and
 * Farside's backend. This header holds the shared structures; what they mean,
 * the nodes and the states are described in docs/TIMER.md. Version 1.
 *
 * Little-endian. "Front" and "back" say who writes a field; the other side
 * reads it once, and judges what it read.
 */
#ifndef FARSIDE_IO_FARTIMER_H
#define FARSIDE_IO_FARTIMER_H

#include <stddef.h>
#include <stdint.h>
#include <xen/io/ring.h>

#define FARTIMER_VERSION    1
#define FARTIMER_TIMERS_MAX 8192

/* --- the clock, at the beginning of the control page; written by the back ---
 *
 * ns = base_ns + ((tsc - base_tsc) scaled by mul and shift), where scaled means
 * shift left by `shift` (right if it is negative), times mul, by 2^32: as in
 * Xen's struct vcpu_time_info. A reader takes version (an odd one: again), the
 * fields, and version once more: if it has changed, again.
 */
struct fartimer_clock {
    uint32_t version;
    uint32_t flags; /* FARTIMER_CLOCK_*; without VALID: don't read it */
    uint64_t base_tsc;
    uint64_t base_ns;
    uint32_t mul;
    int8_t shift;
    uint8_t reserved[3];
    uint64_t error_ns; /* bound of what was not known of the guest's counter */
    uint64_t host[2];  /* another clock if this is another one: random at each
                          boot of the host */
    uint64_t reserved2;
};
#define FARTIMER_CLOCK_VALID 1

/* --- one timer, in the pages of timers; FARTIMER_SLOTS_A_PAGE a page --- */
struct fartimer_slot {
    /* front */
    uint64_t deadline_ns; /* of that clock; 0: not armed */
    uint64_t period_ns;   /* 0: once; else at least FARTIMER_PERIOD_MIN_NS */
    uint32_t arm;         /* another one at each arming; never 0 when armed */
    /* back */
    uint32_t fired_arm; /* the arming that `expired` counts */
    uint64_t expired;   /* how often that one has expired */
};
#define FARTIMER_SLOTS_A_PAGE  128
#define FARTIMER_PERIOD_MIN_NS 1000

/* In arm, beside the number in the upper 24 bits: what to do about periods
 * that went by while nobody could look (the guest was paused, saved, moved). */
#define FARTIMER_CATCH_UP 0x03
#define FARTIMER_SKIP     0x00 /* one event, `expired` counts them all */
#define FARTIMER_BURST    0x01 /* an event for each */
#define FARTIMER_SLEW     0x02 /* one event, and periods begin anew from it */
/* The arming is for the device behind (another process or machine), by its
 * clock: passed on. Only through the ring. */
#define FARTIMER_OUTSIDE    0x04
#define FARTIMER_ARM_SHIFT  8
#define FARTIMER_ARM_NUMBER 0xffffff00u

/* --- the control page ---
 * Arming by a store: the front writes a slot (deadline last), sets its bit in
 * dirty, then the word's bit in dirty_words, both by an atomic or that is a
 * full barrier, then reads looks_ns; it notifies only if the deadline is
 * earlier. The back stores looks_ns, then a full barrier, then looks at
 * dirty_words once more before it sleeps. */
struct fartimer_page {
    struct fartimer_clock clock; /* back */
    /* back, from byte 64 */
    uint64_t looks_ns; /* when it will look by itself; 0: it looks now */
    uint32_t back_cpu; /* processor + 1 while it looks without being told */
    uint32_t pad1[13];
    /* front, from byte 128 */
    uint32_t front_cpu; /* the same */
    uint32_t pad2[15];
    /* front sets, back clears */
    uint64_t dirty_words[FARTIMER_TIMERS_MAX / 4096]; /* byte 192 */
    uint64_t pad3[6];
    /* back sets, front clears */
    uint64_t fired_words[FARTIMER_TIMERS_MAX / 4096]; /* byte 256 */
    uint64_t pad4[30];
    uint64_t dirty[FARTIMER_TIMERS_MAX / 64]; /* byte 512: front, back clears */
    uint64_t pad5[64];
    uint64_t
        fired[FARTIMER_TIMERS_MAX / 64]; /* byte 2048: back, front clears */
    uint64_t pad6[128];
};

/* --- the ring: one page --- */
enum fartimer_operation {
    FARTIMER_OP_NOP = 0,
    FARTIMER_OP_ARM = 1,    /* timer, arm, deadline_ns, period_ns */
    FARTIMER_OP_CANCEL = 2, /* timer; the answer's value: 1 if it was armed */
    /* deadline_ns is a distance from when the back takes the request; the
     * answer's value is the deadline that came of it */
    FARTIMER_OP_ARM_IN = 3,
    FARTIMER_OP_NOW = 4, /* the answer's value: the clock, in ns */
    /* Tells the back what the guest's counter says: docs/TIMER.md. deadline_ns
     * is the counter just before the request was made visible, period_ns the
     * counter just after the last answer to this operation was seen (0: none).
     * The answer's value is the bound of the error that is left. */
    FARTIMER_OP_TSC = 5,
};

struct fartimer_request {
    uint16_t id; /* echoed */
    uint16_t operation;
    uint32_t timer;
    uint32_t arm;
    uint32_t reserved; /* 0 */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

struct fartimer_response {
    uint16_t id;
    uint16_t operation;
    int32_t status; /* 0 or a negative Xen error number (xen/errno.h) */
    uint64_t value;
    uint64_t reserved[2]; /* 0 */
};

DEFINE_RING_TYPES(fartimer, struct fartimer_request, struct fartimer_response);

#endif
