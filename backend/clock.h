/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The clock that guests read without a transition (docs/TIMER.md): this
 * machine's CLOCK_MONOTONIC as a line over its time stamp counter, kept right
 * for all guests together, and per guest the offset of its own counter, which
 * is narrowed by a handshake. What a guest says of its counter can make only
 * its own clock wrong.
 */
#ifndef FARSIDE_BACKEND_CLOCK_H
#define FARSIDE_BACKEND_CLOCK_H

#include <stdbool.h>
#include "core/loop.h"
#include "farside/io/fartimer.h"

/* ns = base_ns + (tsc - base_tsc) * mul * 2^shift / 2^32 */
struct far_clock_line {
    uint64_t base_tsc, base_ns;
    uint32_t mul;
    int8_t shift;
};
/* Pure. So many nanoseconds went by in so many ticks: mul and shift. False if
 * that is no rate (0, or over 2^31 either way). */
bool far_clock_rate(struct far_clock_line *line, uint64_t ns, uint64_t ticks);
uint64_t far_clock_ns(const struct far_clock_line *line, uint64_t tsc);

/* What is known of a guest's counter: guest = host + offset. */
struct far_clock_offset {
    bool has_low, has_high;
    int64_t low, high;   /* it lies between them */
    uint64_t last;       /* the host's counter at the last request */
    uint64_t last_guest; /* what the guest said then */
    uint64_t rounds, contradictions;
};
/* Pure. A request carried the guest's counter `before` it was made visible and
 * `seen` when the last one's answer was seen (0: none); the host's counter was
 * host meanwhile. A contradiction begins anew. */
void far_clock_offset_add(struct far_clock_offset *offset, uint64_t before,
                          uint64_t seen, uint64_t host);
/* Half of what is left, in ticks; UINT64_MAX if one side is open. */
uint64_t far_clock_offset_error(const struct far_clock_offset *offset);

/* This processor's time stamp counter; 0: it has none. */
uint64_t far_clock_counter(void);

struct far_clock;
/* One for the process; it costs nothing before a guest joins. NULL: memory is
 * out, or this processor has no counter that runs at one rate. */
struct far_clock *far_clock_new(struct far_loop *loop);
void far_clock_free(struct far_clock *clock); /* NULL is fine */

/* A guest's clock page; embedded, zeroed. */
struct far_clock_guest {
    struct far_clock *clock;
    struct fartimer_clock *page; /* the guest can write there: never read */
    struct far_clock_offset offset;
    /* What the page says: over the guest's counter; mul 0: nothing yet. */
    struct far_clock_line written;
    uint64_t written_error_ns;
    uint64_t melted_ns; /* when it is ahead of what is known no more; 0 */
    uint32_t version;
    struct far_clock_guest *next, **prev;
};
void far_clock_join(struct far_clock *clock, struct far_clock_guest *guest,
                    struct fartimer_clock *page);
void far_clock_leave(struct far_clock_guest *guest); /* idempotent */
/* One request of the handshake: narrows the offset and writes the page. The
 * bound of the error in ns; UINT64_MAX as long as there is none. */
uint64_t far_clock_round(struct far_clock_guest *guest, uint64_t before,
                         uint64_t seen);
/* How often the line was written anew, for status. */
uint64_t far_clock_updates(const struct far_clock *clock);

#endif
