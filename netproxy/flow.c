/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a relay keeps for a slow client or owner (netproxy/flow.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "netproxy/flow.h"

void far_flow_init(struct far_flow *flow, struct far_flow_total *total)
{
    memset(flow, 0, sizeof(*flow));
    flow->total = total;
    far_buf_init(&flow->down, FAR_FLOW_QUEUE_BYTES);
    far_buf_init(&flow->up, FAR_FLOW_HELD_BYTES);
    far_buf_init(&flow->late, FAR_FLOW_LATE_BYTES);
}

unsigned far_flow_clear(struct far_flow *flow)
{
    struct far_wire_header header;
    const uint8_t *body;
    unsigned activated = 0;

    while (far_buf_used(&flow->down)) {
        far_flow_first(&flow->down, &header, &body);
        activated += header.type == FAR_WIRE_ACTIVATED;
        far_flow_next(flow, &flow->down);
    }
    while (far_buf_used(&flow->up))
        far_flow_next(flow, &flow->up);
    while (far_buf_used(&flow->late))
        far_flow_next(flow, &flow->late);
    flow->total->asked_bytes -= flow->asked_bytes;
    flow->asked_bytes = 0;
    free(flow->slots);
    flow->slots = NULL;
    far_buf_free(&flow->down);
    far_buf_free(&flow->up);
    far_buf_free(&flow->late);
    return activated;
}

int far_flow_ask(struct far_flow *flow, const struct far_op *op)
{
    struct far_flow_total *total = flow->total;
    struct far_flow_slot *slot;
    uint32_t bytes = op->payload_bytes;

    if (!(op->flags & FAR_OP_RECEIVES) || !bytes)
        return 0;
    if (!flow->slots)
        flow->slots = calloc(FAR_WIRE_SLOTS_MAX, sizeof(*flow->slots));
    if (!flow->slots)
        return -ENOMEM;
    slot = &flow->slots[op->slot];
    if (slot->bytes && slot->sequence == op->sequence)
        return 0; /* asked again: on another lane */
    if (flow->asked_bytes && flow->asked_bytes + bytes > FAR_FLOW_ASKED_BYTES)
        return -EAGAIN;
    if (total->asked_bytes &&
        total->asked_bytes + bytes > FAR_FLOW_PEER_ASKED_BYTES)
        return -EAGAIN;
    /* One whose answer is not waited for any more was in its place. */
    flow->asked_bytes -= slot->bytes;
    total->asked_bytes -= slot->bytes;
    slot->sequence = op->sequence;
    slot->bytes = bytes;
    flow->asked_bytes += bytes;
    total->asked_bytes += bytes;
    return 0;
}

void far_flow_answered(struct far_flow *flow, const struct far_op *op)
{
    struct far_flow_slot *slot;

    if (!flow->slots || op->slot >= FAR_WIRE_SLOTS_MAX)
        return;
    slot = &flow->slots[op->slot];
    if (!slot->bytes || slot->sequence != op->sequence)
        return;
    flow->asked_bytes -= slot->bytes;
    flow->total->asked_bytes -= slot->bytes;
    slot->bytes = 0;
}

/* What that queue's bytes count in, of all routes of the client; NULL: ops that
 * wait are counted as routes. */
static uint64_t *sum_of(struct far_flow *flow, const struct far_buf *queue)
{
    return queue == &flow->down   ? &flow->total->queued_bytes
           : queue == &flow->late ? &flow->total->late_bytes
                                  : NULL;
}

int far_flow_keep(struct far_flow *flow, struct far_buf *queue,
                  struct far_wire_header *header, const void *fixed,
                  size_t fixed_bytes, const void *rest, size_t rest_bytes)
{
    size_t bytes = FAR_WIRE_HEADER_BYTES + fixed_bytes + rest_bytes;
    uint64_t *sum = sum_of(flow, queue);
    uint8_t *room;

    if (sum && *sum + bytes > FAR_FLOW_PEER_QUEUE_BYTES)
        return -ENOBUFS;
    room = far_buf_reserve(queue, bytes);
    if (!room)
        return -ENOBUFS;
    if (sum)
        *sum += bytes;
    else if (!far_buf_used(queue))
        flow->total->holding++;
    header->bytes = (uint32_t)bytes;
    memcpy(room, header, sizeof(*header));
    if (fixed_bytes)
        memcpy(room + FAR_WIRE_HEADER_BYTES, fixed, fixed_bytes);
    if (rest_bytes)
        memcpy(room + FAR_WIRE_HEADER_BYTES + fixed_bytes, rest, rest_bytes);
    far_buf_commit(queue, bytes);
    return 0;
}

void far_flow_next(struct far_flow *flow, struct far_buf *queue)
{
    uint64_t *sum = sum_of(flow, queue);
    struct far_wire_header header;

    memcpy(&header, far_buf_at(queue), sizeof(header));
    far_buf_consume(queue, header.bytes);
    if (sum)
        *sum -= header.bytes;
    else if (!far_buf_used(queue))
        flow->total->holding--;
    far_buf_relax(queue);
}
