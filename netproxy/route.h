/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Forwarding: `[export NAME] forward = PLATFORM/DEVICE`. A route joins a handle
 * of a client's connection to one of our link to the next platform; frames pass
 * with the handle rewritten. Numbers, acks, credit and slots are between the
 * guest's platform and the owner: a route holds nothing whose loss would
 * matter. route.c is a route's life, pass.c what passes on it.
 */
#ifndef FARSIDE_NETPROXY_ROUTE_H
#define FARSIDE_NETPROXY_ROUTE_H

#include <jansson.h>
#include "netproxy/context.h"
#include "netproxy/controller.h"
#include "netproxy/link.h"
#include "netproxy/way.h"

/* Handles of a link: attachments of this platform's own guests are below. */
#define FAR_ROUTE_HANDLE_FIRST 2048u
#define FAR_ROUTES_MAX         2048u /* of a link */
#define FAR_ROUTES_PEER_MAX    512u  /* of these, of one client */
#define FAR_ROUTES_PARKED_MAX  256u  /* and more whose client is lost */
/* Its client is lost: how long the next platform keeps it seated. */
#define FAR_ROUTE_KEEP_US       120000000
#define FAR_ROUTE_PREPARE_BYTES 4096u

struct far_peer;
struct far_route;

/* What a route can wait for: room of a connection to its client, its owner. */
enum { FAR_ROUTE_CLIENT, FAR_ROUTE_OWNER, FAR_ROUTE_WAITS };

struct far_route_queue {
    struct far_route *first, **end;
};

struct far_router {
    struct far_context *context;
    struct far_controller *controller;
    struct far_link *(*link)(void *arg, const char *platform); /* NULL: none */
    void *arg;
    struct far_route *routes;
    struct far_route_queue waiting[FAR_ROUTE_WAITS];
    uint64_t refused, passed; /* frames that were passed on */
};

void far_router_init(struct far_router *router, struct far_context *context,
                     struct far_controller *controller,
                     struct far_link *(*link)(void *arg, const char *platform),
                     void *arg);
void far_router_free(struct far_router *router);
/* After a reload: what is no longer allowed ends, what was refused is asked
 * again. */
void far_router_review(struct far_router *router);

/* The server's: a PREPARE for a forwarded export, of FAR_ROUTE_PREPARE_BYTES at
 * most. The answer, whatever it is, goes out by the route itself. NULL: out of
 * memory. */
struct far_route *far_route_new(struct far_router *router,
                                struct far_peer *peer, struct far_conn *conn,
                                const struct far_wire_frame *prepare);
/* Is it a frame that a route passes on to the owner? */
bool far_route_takes(const struct far_wire_frame *frame);
/* Such a frame of its client. 0, or -ELOOP, -EPROTO with error: it ends the
 * connection. */
int far_route_from_client(struct far_route *route, struct far_conn *conn,
                          const struct far_wire_frame *frame,
                          struct far_error *error);
/* Its client has detached it, or is lost (for now). */
void far_route_end(struct far_route *route, bool detached);

/* A connection of that client, or of that link, has room: what waits for it
 * goes on. */
void far_routes_room(struct far_router *router, struct far_peer *peer);
void far_routes_owner_room(struct far_link *link);
/* A connection of its client has ended, others are there. */
void far_route_lane_down(struct far_route *route, const struct far_conn *conn);

/* The link's. */
int far_route_from_owner(struct far_link *link, struct far_conn *conn,
                         const struct far_wire_frame *frame,
                         struct far_error *error);
void far_routes_link_up(struct far_link *link);
void far_routes_link_down(struct far_link *link);
void far_routes_lane_down(struct far_link *link, unsigned lane);
json_t *far_router_status(const struct far_router *router);

#endif
