/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The owner's end of links: listens, lets platforms in, and turns their frames
 * into calls of sessions.
 */
#ifndef FARSIDE_NETPROXY_SERVER_H
#define FARSIDE_NETPROXY_SERVER_H

#include "netproxy/address.h"
#include "netproxy/conn.h"
#include "netproxy/context.h"
#include "netproxy/controller.h"
#include "netproxy/fair.h"
#include "netproxy/flow.h"

#define FAR_ARRIVALS_MAX         64 /* connections that nobody vouches for yet */
#define FAR_ARRIVALS_ADDRESS_MAX 32 /* of one address */

struct far_server;

/* One of the platforms that were here; kept when its link is lost. */
struct far_peer {
    struct far_server *server;
    char platform[FAR_NAME_BYTES];
    uint8_t link[16];                       /* of its lanes' hellos */
    struct far_conn *lanes[FAR_WIRE_LANES]; /* that are up */
    struct far_conn *control;               /* as others were told */
    struct far_fair fair[FAR_WIRE_LANES];   /* attachments that have answers */
    struct far_flow_total flow;             /* of its routes */
    uint64_t stray_ops;                     /* of nobody who is active */
    char address[64];
    char reason[FAR_WIRE_TEXT_BYTES]; /* why it is not connected */
    uint64_t since_us, reconnects;
    struct far_traffic traffic;
    struct far_log_bucket bucket;
    struct far_attachment **attachments; /* by handle */
    uint32_t attachments_room;
    uint64_t subscribed;             /* 1 << class: whose devices it hears of */
    struct far_announced *announced; /* what it was told */
    struct far_peer *next;
};

struct far_listener {
    struct far_server *server;
    char text[FAR_HOST_BYTES + 8];
    struct sockaddr_storage address;
    socklen_t address_bytes;
    int fd;
    struct far_io io;
    struct far_timer retry;
    char reason[FAR_WIRE_TEXT_BYTES]; /* why it does not listen, or "" */
    uint16_t port;                    /* that it has got */
    bool clear;                       /* those who come do not prove who they
                                         are */
    bool keep;                        /* while reloading */
    struct far_listener *next;
};

struct far_arrival {
    struct far_server *server;
    struct far_conn *conn;
    char host[64];            /* of IPv6 the network: one machine has it all */
    struct far_arrival *next; /* an older one */
};

struct far_server {
    struct far_context *context;
    struct far_controller *controller;
    struct far_keys keys;
    char keys_reason[FAR_WIRE_TEXT_BYTES]; /* why there are none, or "" */
    struct far_listener *listeners;
    const struct far_conf_section *section; /* [listen], or NULL */
    struct far_arrival *arrivals;
    unsigned arrival_count;
    struct far_peer *peers;
    struct far_traffic traffic;         /* of arrivals */
    uint64_t turned_away, rejected;     /* turned away: to make room */
    uint64_t distrusted[FAR_DISTRUSTS]; /* of the rejected, by reason */
    struct far_log_bucket bucket;
};

void far_server_init(struct far_server *server, struct far_context *context,
                     struct far_controller *controller);
/* Takes [listen] (NULL: none). Connections that are there stay. */
void far_server_configure(struct far_server *server,
                          const struct far_conf_section *section);
/* Another trust is in force, or time has passed: ends connections whose
 * certificate is no longer to be trusted. */
void far_server_review(struct far_server *server, int64_t now_s);
/* Its lowest lane that is up, or NULL: it is not connected. */
struct far_conn *far_peer_control(const struct far_peer *peer);
/* What was refused is asked again, and the answer sent if it is a new one:
 * devices or permissions may have come. */
void far_server_retry(struct far_server *server);
/* The connection of a platform that is here now, or NULL. */
struct far_conn *far_server_conn(const struct far_server *server,
                                 const char *platform);
/* Devices or who has them may have changed: tells who subscribed to it. */
void far_server_announce(struct far_server *server);
void far_server_free(struct far_server *server);

#endif
