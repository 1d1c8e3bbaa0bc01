/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The client's end of a link: one for each [server NAME]. It has up to three
 * lanes, a connection each, which come back by themselves, and carries this
 * platform's attachments to devices there (netproxy/remote.h).
 *
 * The lowest lane that is up is the control lane: attachments are prepared,
 * activated and interrupted there. When it dies the next one takes over; when a
 * lower one comes back it is given back. An op goes by its class's lane, or, if
 * that is down, by the control lane.
 */
#ifndef FARSIDE_NETPROXY_LINK_H
#define FARSIDE_NETPROXY_LINK_H

#include "core/conf.h"
#include "netproxy/announce.h"
#include "netproxy/conn.h"
#include "netproxy/context.h"
#include "netproxy/fair.h"
#include "netproxy/resolver.h"

#define FAR_LINK_RETRY_US         10000   /* the first time, then doubled */
#define FAR_LINK_RETRY_REFUSED_US 50000   /* at most, while it says no */
#define FAR_LINK_RETRY_SILENT_US  1000000 /* at most, while it is silent */
#define FAR_LINK_LIVED_US         1000000 /* up for so long: the next try is quick */
#define FAR_LINK_ADDRESSES_MAX    8
#define FAR_LINK_ACK_US           250000 /* acks that nobody waits for */

struct far_remote;
struct far_route;

enum far_link_state {
    FAR_LINK_DOWN, /* between two tries, or a reason why none is made */
    FAR_LINK_CONNECTING,
    FAR_LINK_UP,
    FAR_LINK_STOPPED, /* a person wants it so */
};

/* One connection of it. */
struct far_lane {
    struct far_link *link;
    uint8_t number; /* as in its hello */
    bool wanted;
    struct far_conn *conn; /* connecting, or up */
    unsigned attempt;      /* which address is next */
    uint64_t delay_us, up_us;
    uint64_t reconnects, moved; /* moved: ops that were sent again elsewhere */
    char address[64];           /* of the current or last try */
    char reason[FAR_WIRE_TEXT_BYTES]; /* why it is not up; "" if it is */
    struct far_timer retry;
    struct far_resolver_query query;
    struct far_traffic traffic;
    struct far_fair fair; /* remotes that have ops to send on it */
};

struct far_link {
    struct far_context *context;
    char name[FAR_NAME_BYTES];              /* of the other platform */
    const struct far_conf_section *section; /* NULL: there is none */
    struct far_endpoint addresses[FAR_LINK_ADDRESSES_MAX];
    unsigned address_count;
    unsigned lane_count; /* that are wanted, 1 to FAR_WIRE_LANES */
    struct far_key key;  /* bytes 0: none */
    bool by_certificate; /* instead. Neither, nor clear: reason says why */
    bool clear;          /* without key and TLS, as its section wants */
    bool configured;     /* its section is in the configuration */
    enum far_link_state state;
    char reason[FAR_WIRE_TEXT_BYTES]; /* why it is not up; "" if it is */
    uint64_t since_us;
    uint64_t reconnects;
    uint8_t id[16];
    struct far_lane lanes[FAR_WIRE_LANES];
    struct far_conn *control; /* of the lowest lane that is up; NULL: none is */
    bool up;                  /* as remotes were told */
    struct far_defer elect;   /* a lane went down: who is it now? */
    struct far_timer acks;
    struct far_log_bucket bucket;
    struct far_remote **remotes; /* by handle */
    uint32_t remotes_room;
    uint32_t gone; /* of them: detached, which the owner does not know yet */
    struct far_route **routes; /* netproxy/route.h; by handle, above those */
    unsigned route_next;
    struct far_offers offers; /* what its server has announced */
    struct far_defer prompt;  /* acks that somebody waits for */
    struct far_link *next;
};

struct far_link *far_link_new(struct far_context *context, const char *name);
/* Its remotes must be gone. */
void far_link_free(struct far_link *link);
/* Takes what its section says (NULL: it has none any more); reconnects only if
 * that changed, or if it was down for a reason that may be gone now. */
void far_link_configure(struct far_link *link,
                        const struct far_conf_section *section);
/* Ends connections whose certificate is no longer to be trusted. */
void far_link_review(struct far_link *link, int64_t now_s);
void far_link_stop(struct far_link *link); /* until far_link_start() */
void far_link_start(struct far_link *link);

/* For remotes. A free handle, or 0. */
uint32_t far_link_add(struct far_link *link, struct far_remote *remote);
void far_link_remove(struct far_link *link, uint32_t handle);
bool far_link_is_up(const struct far_link *link);
/* The lane on which ops of that class go now; NULL: the link is down. */
struct far_lane *far_link_lane(struct far_link *link, enum far_class class);
/* Of all lanes together. */
void far_link_traffic(const struct far_link *link, struct far_traffic *sum);
static inline bool far_lane_is_up(const struct far_lane *lane)
{
    return lane->conn && lane->conn->state == FAR_CONN_UP;
}
/* New keys on each lane. 0, or a negative errno with error. */
int far_link_rekey(struct far_link *link, struct far_error *error);
/* Acks of some remote are to be sent: soon, or in this turn. */
void far_link_want_acks(struct far_link *link, bool prompt);

#endif
