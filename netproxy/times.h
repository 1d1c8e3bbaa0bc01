/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where the time of ops went that cross a link, at its client's end: four times
 * of each timed op, two by the clock here and two by the clock there, and no
 * comparison between the two but for the estimate of one way. The server's end
 * is in session.c; what the times are is in docs/PROTOCOL.md, option 7.
 */
#ifndef FARSIDE_NETPROXY_TIMES_H
#define FARSIDE_NETPROXY_TIMES_H

#include "core/times.h"
#include "netproxy/conn.h"

struct far_times {
    struct far_stages stages;
    struct {
        uint64_t given_ns, sent_ns; /* 0: it is not timed, or was repeated */
    } slots[FAR_WIRE_SLOTS_MAX];
};

/* Each does nothing if op is not a timed one. *times is made at the first that
 * is; NULL stands for none. */
void far_times_given(struct far_times **times, const struct far_op *op);
/* sent_ns: the frame's time. Sent again it is no longer timed. */
void far_times_sent(struct far_times *times, const struct far_op *op,
                    uint64_t sent_ns);
void far_times_answered(struct far_times *times, const struct far_conn *conn,
                        const struct far_wire_frame *frame);
/* An interrupt that has come. */
void far_times_interrupt(struct far_times **times,
                         const struct far_wire_frame *frame);
static inline const struct far_stages *
far_times_stages(const struct far_times *times)
{
    return times ? &times->stages : NULL;
}
void far_times_free(struct far_times *times);

#endif
