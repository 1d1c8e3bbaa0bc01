/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The heap of timers: see timers.h.
 */
#include "devices/timers.h"

#include <errno.h>
#include <stdlib.h>

int far_timers_init(struct far_timers *t, uint32_t count)
{
    *t = (struct far_timers){ .count = count };
    t->entries = calloc(count, sizeof(*t->entries));
    t->heap = calloc(count, sizeof(*t->heap));
    if (t->entries && t->heap)
        return 0;
    far_timers_free(t);
    return -ENOMEM;
}

void far_timers_free(struct far_timers *t)
{
    free(t->entries);
    free(t->heap);
    *t = (struct far_timers){ 0 };
}

static uint64_t at(const struct far_timers *t, uint32_t place)
{
    return t->entries[t->heap[place]].at_ns;
}

static void put(struct far_timers *t, uint32_t place, uint32_t timer)
{
    t->heap[place] = timer;
    t->entries[timer].heap = place + 1;
}

/* Puts timer where it belongs, beginning at an empty place. */
static void settle(struct far_timers *t, uint32_t place, uint32_t timer)
{
    uint64_t at_ns = t->entries[timer].at_ns;

    while (place && at(t, (place - 1) / 2) > at_ns) {
        put(t, place, t->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * place + 1;

        if (child >= t->armed)
            break;
        if (child + 1 < t->armed && at(t, child + 1) < at(t, child))
            child++;
        if (at(t, child) >= at_ns)
            break;
        put(t, place, t->heap[child]);
        place = child;
    }
    put(t, place, timer);
}

static void take_out(struct far_timers *t, uint32_t timer)
{
    uint32_t place = t->entries[timer].heap - 1;
    uint32_t last = t->heap[--t->armed];

    t->entries[timer].heap = 0;
    if (last != timer)
        settle(t, place, last);
}

void far_timers_arm(struct far_timers *t, const struct far_timer_args *args)
{
    struct far_timers_entry *e = &t->entries[args->timer];
    uint32_t heap = e->heap;

    *e = (struct far_timers_entry){
        .at_ns = args->deadline_ns,
        .deadline_ns = args->deadline_ns,
        .period_ns = args->period_ns,
        .arm = args->arm,
        .flags = args->flags,
        .heap = heap,
    };
    settle(t, heap ? heap - 1 : t->armed++, args->timer);
}

uint32_t far_timers_cancel(struct far_timers *t, uint32_t timer)
{
    struct far_timers_entry *e = &t->entries[timer];

    if (!e->heap)
        return 0;
    take_out(t, timer);
    return e->arm;
}

uint64_t far_timers_next(const struct far_timers *t)
{
    return t->armed ? at(t, 0) : FAR_TIMERS_NEVER;
}

/* Its next period; false: there is none. */
static bool advance(struct far_timers_entry *e, uint64_t now_ns)
{
    uint64_t n = 1;

    if (!e->period_ns) {
        e->expired++;
        return false;
    }
    switch (e->flags & FAR_TIMER_CATCH_UP) {
    case FAR_TIMER_SLEW:
        e->deadline_ns = now_ns;
        break;
    case FAR_TIMER_BURST:
        break;
    default:
        n += (now_ns - e->deadline_ns) / e->period_ns;
        break;
    }
    e->expired += n;
    /* All but the last addition stay at or below now. */
    e->deadline_ns += (n - 1) * e->period_ns;
    if (e->deadline_ns > UINT64_MAX - e->period_ns)
        return false; /* after the end of time */
    e->deadline_ns += e->period_ns;
    e->at_ns = e->deadline_ns;
    if (e->at_ns <= now_ns)
        e->at_ns = now_ns > UINT64_MAX - FAR_TIMERS_BURST_NS
                       ? UINT64_MAX
                       : now_ns + FAR_TIMERS_BURST_NS;
    return true;
}

bool far_timers_expire(struct far_timers *t, uint64_t now_ns,
                       struct far_timer_expired *expired)
{
    struct far_timers_entry *e;
    uint32_t timer;

    if (!t->armed || at(t, 0) > now_ns)
        return false;
    timer = t->heap[0];
    e = &t->entries[timer];
    *expired = (struct far_timer_expired){ .timer = timer, .arm = e->arm };
    expired->deadline_ns = e->deadline_ns;
    if (advance(e, now_ns))
        settle(t, e->heap - 1, timer);
    else
        take_out(t, timer);
    expired->expired = e->expired;
    return true;
}
