/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How much a relay keeps for a client, or an owner, that is slow. The link to
 * the owner is everybody's, and read as long as anybody is served: what one
 * client does not take waits here, in the route's own queue. So that this is
 * never long, no more is asked of the owner than the client can be expected to
 * take: ops whose answers would be too many bytes at once wait here as well.
 * And a client is read for all owners: what one of those does not take waits
 * here too; of an honest client's disk that is never more than its slots hold.
 * Pure accounting and three queues of frames; netproxy/pass.c moves them.
 */
#ifndef FARSIDE_NETPROXY_FLOW_H
#define FARSIDE_NETPROXY_FLOW_H

#include "core/op.h"
#include "netproxy/buf.h"
#include "netproxy/wire.h"

#define FAR_FLOW_ASKED_BYTES      (4u << 20)  /* of answers, of a route */
#define FAR_FLOW_PEER_ASKED_BYTES (32u << 20) /* of all routes of a client */
#define FAR_FLOW_QUEUE_BYTES      (2 * FAR_FLOW_ASKED_BYTES + (1u << 20))
#define FAR_FLOW_PEER_QUEUE_BYTES (64u << 20)
/* Twice what the slots of a disk hold: they may come again. */
#define FAR_FLOW_LATE_BYTES (2u * FAR_WIRE_SLOTS_MAX * (136u << 10))
#define FAR_FLOW_HELD_BYTES 65536u /* ops; an honest one's take 9 KiB */

/* Of all routes of a client. */
struct far_flow_total {
    uint64_t asked_bytes, queued_bytes, late_bytes;
    unsigned holding; /* routes with ops that wait */
};

struct far_flow {
    struct far_flow_total *total;
    struct far_buf down; /* frames that wait for the client's room */
    struct far_buf up;   /* ops that wait for answers to be taken */
    struct far_buf late; /* frames that wait for the owner's room */
    uint64_t asked_bytes;
    struct far_flow_slot {
        uint64_t sequence;
        uint32_t bytes; /* of its answer, which has not been taken; 0: none */
    } * slots;          /* FAR_WIRE_SLOTS_MAX, at the first that is asked */
};

void far_flow_init(struct far_flow *flow, struct far_flow_total *total);
/* Forgets all that waits and was asked. How many ACTIVATEDs were among what
 * waits: the client still counts on them. */
unsigned far_flow_clear(struct far_flow *flow);

/* May that op of the client go on now? Then it counts as asked. -EAGAIN: it
 * must wait; -ENOMEM. */
int far_flow_ask(struct far_flow *flow, const struct far_op *op);
/* Its answer has gone to the client. */
void far_flow_answered(struct far_flow *flow, const struct far_op *op);

/* A frame to the end of a queue (down, up or late); header's bytes is set here.
 * 0, or -ENOBUFS: it would be too long. */
int far_flow_keep(struct far_flow *flow, struct far_buf *queue,
                  struct far_wire_header *header, const void *fixed,
                  size_t fixed_bytes, const void *rest, size_t rest_bytes);
/* The first one (queue is not empty), and then without it. */
static inline void far_flow_first(const struct far_buf *queue,
                                  struct far_wire_header *header,
                                  const uint8_t **body)
{
    memcpy(header, far_buf_at(queue), sizeof(*header));
    *body = far_buf_at(queue) + FAR_WIRE_HEADER_BYTES;
}
void far_flow_next(struct far_flow *flow, struct far_buf *queue);

#endif
