/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A route, for the two files that are one: route.c and pass.c.
 */
#ifndef FARSIDE_NETPROXY_ROUTE_INNER_H
#define FARSIDE_NETPROXY_ROUTE_INNER_H

#include "netproxy/flow.h"
#include "netproxy/route.h"

struct far_route {
    struct far_router *router;
    struct far_peer *peer;     /* NULL: parked, its client is lost */
    char from[FAR_NAME_BYTES]; /* that client */
    struct far_conn *conn; /* of its last PREPARE or ACTIVATE; NULL: that one is
                              gone, and it will come by another */
    uint32_t client_handle;
    struct far_link *link; /* NULL: refused before it got one */
    uint32_t owner_handle;
    struct far_way way;
    char device[FAR_NAME_BYTES]; /* as the client calls it */
    char guest[FAR_NAME_BYTES];  /* for status */
    struct far_address to;
    uint8_t *prepare; /* the client's frame */
    size_t prepare_bytes;
    bool fresh;           /* it was never asked: its signature is still good */
    bool asked;           /* over this connection of the link */
    bool live;            /* an ACTIVATE has passed since */
    unsigned unanswered;  /* ACTIVATEs */
    struct far_flow flow; /* while it has a peer */
    bool slow;            /* too much waited: asked anew when there is room */
    /* In the router's queues: for room of its client, of its owner. */
    struct far_route_wait {
        bool waits;
        struct far_route *next;
    } wait[FAR_ROUTE_WAITS];
    bool told;
    int status; /* that the client was told last */
    char reason[FAR_WIRE_TEXT_BYTES];
    struct far_timer expiry;
    struct far_route *next;
};

/* route.c's. */

/* Asks with the PREPARE that is kept, or refuses; by a new handle. */
void far_route_begin(struct far_route *route);
/* What still comes for it finds nobody; the owner is told, or learns by the
 * next one that has its place. */
void far_route_leave_owner(struct far_route *route);
void far_route_unseat(struct far_route *route);
/* An answer of our own to its client. */
void far_route_answer(struct far_route *route, uint8_t type, const void *fixed,
                      size_t bytes, const char *text);
/* Its end; nobody is told. */
void far_route_drop(struct far_route *route);
/* The client is told why; error->code. */
int far_route_refuse(struct far_route *route, const struct far_error *error);
/* May its guest, by the name that it was asked with last, be served now? */
int far_route_may_activate(const struct far_route *route,
                           struct far_error *error);

/* pass.c's. */

/* What is under way, either way, is void. */
void far_route_clear(struct far_route *route);

#endif
