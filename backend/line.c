/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's lines: see line.h.
 */
#include "backend/line.h"

#include <stddef.h>
#include "core/clock.h"

void far_line_raised(struct far_line_state *s, uint64_t now_ns)
{
    if (!s->raised) {
        s->raised = true;
        s->events = 0;
        s->first_ns = now_ns;
    }
    if (s->events < UINT32_MAX)
        s->events++;
}

/* The limit is a bucket, held as the time up to which it is spent. */
enum far_line_verdict far_line_ask(struct far_line_state *s,
                                   const struct far_line_limits *limits,
                                   uint64_t now_ns, uint64_t *due_ns)
{
    uint64_t token_ns, ahead_ns;

    if (!s->raised)
        return FAR_LINE_NOTHING;
    if (limits->coalesce_ns &&
        (!limits->coalesce_events || s->events < limits->coalesce_events) &&
        now_ns - s->first_ns < limits->coalesce_ns) {
        *due_ns = s->first_ns + limits->coalesce_ns;
        return FAR_LINE_LATER;
    }
    if (limits->per_second) {
        token_ns = (1000000000u + limits->per_second - 1) / limits->per_second;
        ahead_ns =
            token_ns < FAR_LINE_BURST_NS ? FAR_LINE_BURST_NS - token_ns : 0;
        if (s->spent_ns < now_ns)
            s->spent_ns = now_ns;
        if (s->spent_ns - now_ns > ahead_ns) {
            *due_ns = s->spent_ns - ahead_ns;
            return FAR_LINE_LATER;
        }
        s->spent_ns += token_ns;
    }
    s->raised = false;
    return FAR_LINE_INJECT;
}

static bool limited(const struct far_line *line)
{
    return line->limits.per_second || line->limits.coalesce_ns;
}

static int inject(struct far_line *line)
{
    int r = far_evtchn_notify(line->evtchn);

    line->injected++;
    return r ? r : 1;
}

static int ask(struct far_line *line, uint64_t now_ns)
{
    uint64_t due_ns = 0;

    switch (far_line_ask(&line->state, &line->limits, now_ns, &due_ns)) {
    case FAR_LINE_INJECT:
        far_timer_cancel(&line->later);
        return inject(line);
    case FAR_LINE_LATER:
        if (!far_timer_armed(&line->later))
            line->delayed++;
        (void)far_timer_set(&line->later, due_ns / 1000 + 1);
        return 0;
    case FAR_LINE_NOTHING:
        break;
    }
    return 0;
}

static void later(struct far_timer *timer)
{
    struct far_line *line =
        (struct far_line *)(void *)((char *)timer -
                                    offsetof(struct far_line, later));

    if (line->evtchn)
        (void)ask(line, far_now_ns());
}

void far_line_connect(struct far_line *line, struct far_loop *loop,
                      struct far_evtchn *evtchn,
                      const struct far_line_limits *limits)
{
    far_line_disconnect(line);
    line->evtchn = evtchn;
    line->limits = *limits;
    line->state = (struct far_line_state){ 0 };
    far_timer_init(&line->later, loop, later);
}

void far_line_disconnect(struct far_line *line)
{
    if (!line->evtchn)
        return;
    far_timer_cancel(&line->later);
    line->evtchn = NULL;
}

int far_line_raise(struct far_line *line)
{
    uint64_t now_ns;

    if (!line->evtchn)
        return 0;
    line->raised++;
    if (__builtin_expect(!limited(line), 1))
        return inject(line);
    now_ns = far_now_ns();
    far_line_raised(&line->state, now_ns);
    return ask(line, now_ns);
}
