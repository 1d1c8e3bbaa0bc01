/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's lines: each device of a guest raises one, and the
 * line decides when its event channel is driven: at once, or after some have
 * come together, or when the guest's limit allows it. What is raised meanwhile
 * is one interrupt: a guest looks at what there is. Nothing is lost: what was
 * raised is injected in the end. The decision is pure (far_line_ask); a line
 * without limits costs a comparison.
 */
#ifndef FARSIDE_BACKEND_LINE_H
#define FARSIDE_BACKEND_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include "core/loop.h"
#include "xenbus/evtchn.h"

struct far_line_limits {
    uint32_t per_second;      /* injections; 0: as many as come */
    uint32_t coalesce_events; /* inject when so many were raised … */
    uint64_t coalesce_ns;     /* … or the first is so old; 0: at once */
};

/* So much of a second's worth may come at once after a rest. */
#define FAR_LINE_BURST_NS 100000000u

struct far_line_state {
    bool raised;
    uint32_t events;   /* raised since the last injection */
    uint64_t first_ns; /* when the first of them was */
    uint64_t spent_ns; /* the limit is spent up to this time */
};

enum far_line_verdict { FAR_LINE_NOTHING, FAR_LINE_INJECT, FAR_LINE_LATER };

/* Pure: one more was raised. */
void far_line_raised(struct far_line_state *state, uint64_t now_ns);
/* Pure: inject now (then the state says that it was done), or ask again at
 * due_ns. */
enum far_line_verdict far_line_ask(struct far_line_state *state,
                                   const struct far_line_limits *limits,
                                   uint64_t now_ns, uint64_t *due_ns);

struct far_line {
    struct far_evtchn *evtchn; /* NULL: not connected */
    struct far_line_limits limits;
    struct far_line_state state;
    struct far_timer later;
    uint64_t raised, injected, delayed;
};
/* Embedded, zeroed at first. The event channel is bound. */
void far_line_connect(struct far_line *line, struct far_loop *loop,
                      struct far_evtchn *evtchn,
                      const struct far_line_limits *limits);
void far_line_disconnect(struct far_line *line); /* idempotent */
/* 1: the guest was notified now; 0: it will be; or a negative errno. */
int far_line_raise(struct far_line *line);

#endif
