/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Is the process at the other end of a socket still there, if it says nothing?
 * One that was stopped, or hangs, keeps its connection: it is asked now and
 * then, and one that leaves that unanswered is given up. What is asked, and
 * how, is the caller's. One loop's thread.
 */
#ifndef FARSIDE_DEVICES_SILENCE_H
#define FARSIDE_DEVICES_SILENCE_H

#include "core/loop.h"

struct far_silence {
    struct far_timer timer;
    struct far_loop *loop;
    uint64_t within_us; /* UINT64_MAX: nobody is asked */
    bool waits;
    unsigned missed;
    /* Asks, also again; false: there is nothing that it would answer. */
    bool (*ask)(struct far_silence *silence);
    /* It was not heard for that long, or half as long again. */
    void (*silent)(struct far_silence *silence);
};

void far_silence_init(struct far_silence *silence, struct far_loop *loop,
                      bool (*ask)(struct far_silence *silence),
                      void (*silent)(struct far_silence *silence));
/* From now on; a no-op where it has begun. */
void far_silence_begin(struct far_silence *silence);
void far_silence_end(struct far_silence *silence); /* idempotent */
void far_silence_heard(struct far_silence *silence);

#endif
