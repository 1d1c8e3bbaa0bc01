/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What passes on routes (netproxy/route.h): frames with another handle, and
 * where they wait. In order: waiting for room, one frame at a time, both ways.
 *
 * Neither side can hold up the other's others. The link to the owner is read
 * whatever a client does, and a client whatever an owner does: what one of them
 * does not take waits in its routes (netproxy/flow.h), and one for which too
 * much waits is asked anew when there is room.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/input.h"
#include "netproxy/route-inner.h"
#include "netproxy/server.h"

/* Waiting for room. */

static void wait_for(struct far_route *r, unsigned what)
{
    struct far_route_queue *queue = &r->router->waiting[what];

    if (r->wait[what].waits)
        return;
    r->wait[what].waits = true;
    r->wait[what].next = NULL;
    *queue->end = r;
    queue->end = &r->wait[what].next;
}

static void wait_no_more(struct far_route *r, unsigned what)
{
    struct far_route_queue *queue = &r->router->waiting[what];
    struct far_route **at = &queue->first;

    if (!r->wait[what].waits)
        return;
    while (*at != r)
        at = &(*at)->wait[what].next;
    *at = r->wait[what].next;
    if (!*at)
        queue->end = at;
    r->wait[what].waits = false;
}

static void ask_more(struct far_router *router, struct far_peer *peer);

void far_route_clear(struct far_route *r)
{
    r->slow = false;
    for (unsigned i = 0; i < FAR_ROUTE_WAITS; i++)
        wait_no_more(r, i);
    if (!r->peer)
        return;
    if (far_buf_used(&r->flow.down))
        r->told = false; /* it may not have heard what was said last */
    r->unanswered += far_flow_clear(&r->flow);
    ask_more(r->router, r->peer);
}

/* Whoever is slow has had the chance: the client activates anew when there is
 * room again, and what is lost now comes then. */
static void drop_slow(struct far_route *r, unsigned what)
{
    struct far_conn *full = r->conn;
    struct far_error error;

    if (what == FAR_ROUTE_CLIENT)
        far_error(&error, -ENOBUFS,
                  "%s reads too slowly what it wants of %s: it is asked again "
                  "when that has gone out",
                  r->from, r->to.platform);
    else
        far_error(&error, -ENOBUFS,
                  "%s takes too slowly what %s sends it: it is asked again "
                  "when there is room",
                  r->to.platform, r->from);
    if (what == FAR_ROUTE_OWNER)
        full = r->link->control;
    far_route_unseat(r);
    far_route_refuse(r, &error);
    r->slow = true;
    wait_for(r, what);
    if (full)
        far_conn_want_room(full);
}

/* One frame at a time. */

/* The header and fixed part with which it goes on. 0, or -ELOOP with error. */
static int readdress(const struct far_conn *from, uint32_t handle,
                     const struct far_wire_frame *f,
                     struct far_wire_header *header,
                     uint8_t fixed[sizeof(f->fixed)], struct far_error *error)
{
    if (!f->header.hops)
        return far_error(error, -ELOOP,
                         "a frame that may not be passed on any further");
    *header = f->header;
    header->hops--;
    header->handle = handle;
    memcpy(fixed, f->fixed, far_wire_fixed_bytes(f->header.type));
    if (header->type == FAR_WIRE_INTERRUPT && f->op.opcode == FAR_INPUT_EVENT) {
        struct far_op op = f->op;
        struct far_input_event e; /* by our clock, as our frames are */
        int64_t us;

        memcpy(&e, op.args, sizeof(e));
        us = (int64_t)e.time_us + far_conn_offset_ns(from) / 1000;
        if (e.time_us)
            e.time_us = us > 0 ? (uint64_t)us : 1;
        memcpy(op.args, &e, sizeof(e));
        memcpy(fixed, &op, sizeof(op));
    }
    return 0;
}

/* To be passed on behind the fixed part: payload and options. */
static size_t rest_of(const struct far_wire_frame *f, const uint8_t **rest)
{
    size_t before =
        FAR_WIRE_HEADER_BYTES + far_wire_fixed_bytes(f->header.type);

    *rest = f->raw + before;
    return f->header.bytes - before;
}

static void send_on(struct far_route *r, struct far_conn *to,
                    struct far_wire_header *header, const uint8_t *fixed,
                    size_t fixed_bytes, const uint8_t *rest, size_t rest_bytes)
{
    size_t bytes = FAR_WIRE_HEADER_BYTES + fixed_bytes + rest_bytes;
    struct far_error error = { 0 };

    if (far_conn_forward(to, header, fixed, fixed_bytes, rest, rest_bytes) ==
        -EMSGSIZE) {
        far_error(&error, -EMSGSIZE,
                  "a frame of %zu bytes, which is too long for %s", bytes,
                  to->platform);
        far_route_refuse(r, &error);
        return;
    }
    r->router->passed++;
}

static bool is_bulk(uint8_t type)
{
    return type == FAR_WIRE_OP || type == FAR_WIRE_DATA ||
           type == FAR_WIRE_FEEDBACK;
}

/* An op goes on by the lane that it came by, its answer comes back so; all else
 * goes where the attachment is. */
static struct far_conn *to_owner(const struct far_route *r, uint8_t lane,
                                 uint8_t type)
{
    const struct far_lane *same = &r->link->lanes[lane];

    return is_bulk(type) && far_lane_is_up(same) ? same->conn
                                                 : r->link->control;
}

static struct far_conn *to_client(const struct far_route *r, uint8_t lane,
                                  uint8_t type)
{
    struct far_conn *same = r->peer ? r->peer->lanes[lane] : NULL;

    return is_bulk(type) && same ? same : r->conn;
}

/* To the owner, or into the route's queue: a client is read for all owners. */
static void pass_up(struct far_route *r, uint8_t lane,
                    struct far_wire_header *header, const uint8_t *fixed,
                    size_t fixed_bytes, const uint8_t *rest, size_t rest_bytes)
{
    struct far_conn *to = to_owner(r, lane, header->type);

    if (!far_buf_used(&r->flow.late) && !far_conn_full(to)) {
        send_on(r, to, header, fixed, fixed_bytes, rest, rest_bytes);
        return;
    }
    header->lane = lane;
    if (far_flow_keep(&r->flow, &r->flow.late, header, fixed, fixed_bytes, rest,
                      rest_bytes)) {
        drop_slow(r, FAR_ROUTE_OWNER);
        return;
    }
    wait_for(r, FAR_ROUTE_OWNER);
    far_conn_want_room(to);
}

/* Ops that may go on, as their client has taken answers. */
static void ask_more(struct far_router *router, struct far_peer *peer)
{
    struct far_route *r;

    for (r = router->routes; r && peer->flow.holding; r = r->next) {
        while (r->peer == peer && r->live && far_buf_used(&r->flow.up) &&
               far_link_is_up(r->link)) {
            struct far_wire_header header;
            const uint8_t *body;
            struct far_op op;

            far_flow_first(&r->flow.up, &header, &body);
            memcpy(&op, body, sizeof(op));
            if (far_flow_ask(&r->flow, &op))
                break;
            pass_up(r, header.lane, &header, body,
                    header.bytes - FAR_WIRE_HEADER_BYTES, NULL, 0);
            if (far_buf_used(&r->flow.up)) /* it was not refused */
                far_flow_next(&r->flow, &r->flow.up);
        }
    }
}

/* It has left for the client. */
static void taken(struct far_route *r, uint8_t type, const uint8_t *fixed)
{
    struct far_op op;

    if (type != FAR_WIRE_FEEDBACK)
        return;
    memcpy(&op, fixed, sizeof(op));
    far_flow_answered(&r->flow, &op);
    ask_more(r->router, r->peer);
}

/* To the client, or into its queue: who feeds it is not held up. */
static int deliver(struct far_route *r, const struct far_conn *from,
                   const struct far_wire_frame *f, struct far_error *error)
{
    struct far_conn *to = to_client(r, from->mine.lane, f->header.type);
    size_t fixed_bytes = far_wire_fixed_bytes(f->header.type), rest_bytes;
    uint8_t fixed[sizeof(f->fixed)];
    struct far_wire_header header;
    const uint8_t *rest;
    int rc;

    if (!to)
        return 0;
    rc = readdress(from, r->client_handle, f, &header, fixed, error);
    if (rc)
        return rc;
    rest_bytes = rest_of(f, &rest);
    if (!far_buf_used(&r->flow.down) && !far_conn_full(to)) {
        send_on(r, to, &header, fixed, fixed_bytes, rest, rest_bytes);
        taken(r, header.type, fixed);
        return 0;
    }
    header.lane = from->mine.lane;
    if (far_flow_keep(&r->flow, &r->flow.down, &header, fixed, fixed_bytes,
                      rest, rest_bytes)) {
        drop_slow(r, FAR_ROUTE_CLIENT);
        return 0;
    }
    wait_for(r, FAR_ROUTE_CLIENT);
    far_conn_want_room(to);
    return 0;
}

#define QUANTUM_BYTES 32768 /* of one route, then it is another's turn */

/* Has anything gone? */
static bool deliver_more(struct far_route *r)
{
    size_t sent = 0;

    while (far_buf_used(&r->flow.down) && sent < QUANTUM_BYTES) {
        struct far_wire_header header;
        struct far_op op = { 0 };
        const uint8_t *body;
        struct far_conn *to;
        uint8_t type;

        far_flow_first(&r->flow.down, &header, &body);
        type = header.type;
        to = to_client(r, header.lane, type);
        if (to && far_conn_full(to)) {
            far_conn_want_room(to);
            break;
        }
        sent += header.bytes;
        if (type == FAR_WIRE_FEEDBACK)
            memcpy(&op, body, sizeof(op));
        if (to)
            send_on(r, to, &header, body, header.bytes - FAR_WIRE_HEADER_BYTES,
                    NULL, 0);
        if (!far_buf_used(&r->flow.down))
            break; /* it was refused, and all of it is void */
        far_flow_next(&r->flow, &r->flow.down);
        taken(r, type, (const uint8_t *)&op);
    }
    return sent > 0;
}

/* The same towards the owner, while its link is up. */
static bool pass_more(struct far_route *r)
{
    size_t sent = 0;

    while (far_buf_used(&r->flow.late) && sent < QUANTUM_BYTES &&
           far_link_is_up(r->link)) {
        struct far_wire_header header;
        const uint8_t *body;
        struct far_conn *to;

        far_flow_first(&r->flow.late, &header, &body);
        to = to_owner(r, header.lane, header.type);
        if (far_conn_full(to)) {
            far_conn_want_room(to);
            break;
        }
        sent += header.bytes;
        send_on(r, to, &header, body, header.bytes - FAR_WIRE_HEADER_BYTES,
                NULL, 0);
        if (far_buf_used(&r->flow.late)) /* it was not refused */
            far_flow_next(&r->flow, &r->flow.late);
    }
    return sent > 0;
}

/* Of those that wait for what has room now, in turn, as long as any of them
 * gets on. */
static void go_on(struct far_router *router, unsigned what,
                  const struct far_peer *peer, const struct far_link *link)
{
    struct far_route_queue *queue = &router->waiting[what];
    bool owner = what == FAR_ROUTE_OWNER, progress = queue->first != NULL;

    while (progress) {
        struct far_route *r;
        unsigned n = 0;

        progress = false;
        for (r = queue->first; r; r = r->wait[what].next)
            n++;
        for (; n && (r = queue->first); n--) {
            struct far_conn *to = owner ? r->link->control : r->conn;

            wait_no_more(r, what);
            if (owner ? r->link != link : r->peer != peer) {
                wait_for(r, what);
            } else if (r->slow) {
                if (to && !far_conn_full(to))
                    far_route_begin(r);
                else if (to) {
                    wait_for(r, what);
                    far_conn_want_room(to);
                }
            } else {
                progress |= owner ? pass_more(r) : deliver_more(r);
                if (far_buf_used(owner ? &r->flow.late : &r->flow.down))
                    wait_for(r, what);
            }
        }
    }
}

void far_routes_room(struct far_router *router, struct far_peer *peer)
{
    go_on(router, FAR_ROUTE_CLIENT, peer, NULL);
}

void far_routes_owner_room(struct far_link *link)
{
    go_on(link->context->router, FAR_ROUTE_OWNER, NULL, link);
}

bool far_route_takes(const struct far_wire_frame *f)
{
    switch (f->header.type) {
    case FAR_WIRE_ACTIVATE:
    case FAR_WIRE_OP:
    case FAR_WIRE_DATA:
    case FAR_WIRE_ACK:
    case FAR_WIRE_CANCEL:
    case FAR_WIRE_ERROR:
        return true;
    default:
        return false;
    }
}

int far_route_from_client(struct far_route *r, struct far_conn *conn,
                          const struct far_wire_frame *f,
                          struct far_error *error)
{
    uint8_t fixed[sizeof(f->fixed)];
    struct far_wire_header header;
    const uint8_t *rest;
    size_t rest_bytes;
    int rc;

    if (!r->asked || !far_link_is_up(r->link)) {
        struct far_wire_activated body = { .status = r->status ? r->status
                                                               : -ENOTCONN };

        if (f->header.type == FAR_WIRE_ACTIVATE)
            far_route_answer(r, FAR_WIRE_ACTIVATED, &body, sizeof(body),
                             r->reason);
        return 0;
    }
    if (f->header.type == FAR_WIRE_ACTIVATE) {
        struct far_error why = { 0 };

        r->conn = conn;
        r->unanswered++;
        if (far_route_may_activate(r, &why)) {
            far_route_leave_owner(r);
            far_route_refuse(r, &why);
            return 0;
        }
        r->live = true;
        while (far_buf_used(&r->flow.up)) /* they come again */
            far_flow_next(&r->flow, &r->flow.up);
    } else if (!r->live) {
        return 0;
    }
    rc = readdress(conn, r->owner_handle, f, &header, fixed, error);
    if (rc)
        return rc;
    rest_bytes = rest_of(f, &rest);
    if (f->header.type == FAR_WIRE_OP && far_flow_ask(&r->flow, &f->op)) {
        header.lane = conn->theirs.lane;
        rc = far_flow_keep(&r->flow, &r->flow.up, &header, fixed,
                           sizeof(struct far_op), rest, rest_bytes);
        return rc ? far_error(error, -EPROTO,
                              "more operations at once than there are slots")
                  : 0;
    }
    pass_up(r, conn->theirs.lane, &header, fixed,
            far_wire_fixed_bytes(f->header.type), rest, rest_bytes);
    return 0;
}

int far_route_from_owner(struct far_link *l, struct far_conn *conn,
                         const struct far_wire_frame *f,
                         struct far_error *error)
{
    uint32_t at = f->header.handle - FAR_ROUTE_HANDLE_FIRST;
    struct far_route *r =
        l->routes && at < FAR_ROUTES_MAX ? l->routes[at] : NULL;

    if (!r || !r->asked)
        return 0; /* its client has given it up */
    switch (f->header.type) {
    case FAR_WIRE_PREPARED:
        if (!r->peer) {
            if (f->prepared.status) /* another one sits there now */
                far_route_drop(r);
            return 0;
        }
        r->told = true;
        r->status = f->prepared.status;
        memcpy(r->reason, f->text, sizeof(r->reason));
        break;
    case FAR_WIRE_ACTIVATED:
        if (!r->unanswered)
            return far_error(error, -EPROTO,
                             "an activated that nobody asked for");
        r->unanswered--;
        break;
    case FAR_WIRE_FEEDBACK:
    case FAR_WIRE_INTERRUPT:
    case FAR_WIRE_DATA:
    case FAR_WIRE_STATE:
        if (!r->live)
            return 0;
        break;
    case FAR_WIRE_ACK:
    case FAR_WIRE_ERROR:
        break;
    default:
        return far_error(error, -EPROTO, "a frame that only clients send");
    }
    return deliver(r, conn, f, error);
}
