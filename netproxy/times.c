/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Times of ops at the client's end (netproxy/times.h).
 */
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "netproxy/times.h"

/* What a peer says of its own stages; nothing takes that long. */
#define STAGE_MAX_NS 3600000000000u

static struct far_times *want(struct far_times **times)
{
    if (!*times)
        *times = calloc(1, sizeof(**times));
    return *times;
}

void far_times_given(struct far_times **times, const struct far_op *op)
{
    if (!(op->flags & FAR_OP_TIMED) || !want(times))
        return;
    (*times)->slots[op->slot].given_ns =
        op->flags & FAR_OP_REPEAT ? 0 : far_now_ns();
    (*times)->slots[op->slot].sent_ns = 0;
}

void far_times_sent(struct far_times *t, const struct far_op *op,
                    uint64_t sent_ns)
{
    if (!t || !(op->flags & FAR_OP_TIMED) || !t->slots[op->slot].given_ns)
        return;
    if (t->slots[op->slot].sent_ns)
        t->slots[op->slot].given_ns = 0;
    else
        t->slots[op->slot].sent_ns = sent_ns;
}

/* Two of one clock; 0 if they are wild. */
static bool between(uint64_t from_ns, uint64_t to_ns)
{
    return from_ns <= to_ns && to_ns - from_ns <= STAGE_MAX_NS;
}

void far_times_answered(struct far_times *t, const struct far_conn *conn,
                        const struct far_wire_frame *f)
{
    uint64_t given_ns, sent_ns, whole_ns, there_ns, both_ns, wire_ns;
    struct far_wire_times theirs;
    const uint8_t *value;
    size_t bytes;

    if (!t || f->op.slot >= FAR_WIRE_SLOTS_MAX)
        return;
    given_ns = t->slots[f->op.slot].given_ns;
    sent_ns = t->slots[f->op.slot].sent_ns;
    t->slots[f->op.slot].given_ns = 0;
    value = far_wire_option(f, FAR_WIRE_OPTION_TIMES, &bytes);
    if (!given_ns || !sent_ns || !value || bytes < sizeof(theirs))
        return;
    memcpy(&theirs, value, sizeof(theirs));
    if (!between(theirs.received_ns, theirs.submitted_ns) ||
        !between(theirs.submitted_ns, theirs.done_ns) ||
        !between(sent_ns, conn->received_ns))
        return;
    whole_ns = conn->received_ns - sent_ns;
    there_ns = theirs.done_ns - theirs.received_ns;
    if (there_ns > whole_ns)
        return; /* it says that it took longer than it has */
    both_ns = whole_ns - there_ns;
    /* How much of it was the way there: by the clocks' estimate, which can't
     * be more than both. */
    wire_ns = far_conn_way_ns(conn, sent_ns, theirs.received_ns);
    if (wire_ns > both_ns)
        wire_ns = both_ns;
    far_stage_add(&t->stages, FAR_STAGE_OP_QUEUE, sent_ns - given_ns);
    far_stage_add(&t->stages, FAR_STAGE_OP_WIRE, wire_ns);
    far_stage_add(&t->stages, FAR_STAGE_OP_SERVER,
                  theirs.submitted_ns - theirs.received_ns);
    far_stage_add(&t->stages, FAR_STAGE_OP_DEVICE,
                  theirs.done_ns - theirs.submitted_ns);
    far_stage_add(&t->stages, FAR_STAGE_OP_RETURN, both_ns - wire_ns);
}

void far_times_interrupt(struct far_times **times,
                         const struct far_wire_frame *f)
{
    uint64_t raised_ns;
    const uint8_t *value;
    size_t bytes;

    if (!f->options_bytes)
        return;
    value = far_wire_option(f, FAR_WIRE_OPTION_TIMES, &bytes);
    if (!value || bytes < sizeof(raised_ns))
        return;
    memcpy(&raised_ns, value, sizeof(raised_ns));
    if (between(raised_ns, f->header.time_ns) && want(times))
        far_stage_add(&(*times)->stages, FAR_STAGE_RAISED,
                      f->header.time_ns - raised_ns);
}

void far_times_free(struct far_times *t)
{
    if (t)
        far_stages_free(&t->stages);
    free(t);
}
