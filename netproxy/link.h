/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The client's end of a link: one for each [server NAME]. It connects, comes
 * back by itself, and carries this platform's attachments to devices there
 * (netproxy/remote.h).
 */
#ifndef FARSIDE_NETPROXY_LINK_H
#define FARSIDE_NETPROXY_LINK_H

#include "core/conf.h"
#include "netproxy/conn.h"
#include "netproxy/context.h"
#include "netproxy/resolver.h"

#define FAR_LINK_RETRY_US         10000   /* the first time, then doubled */
#define FAR_LINK_RETRY_REFUSED_US 50000   /* at most, while it says no */
#define FAR_LINK_RETRY_SILENT_US  1000000 /* at most, while it is silent */
#define FAR_LINK_LIVED_US         1000000 /* up for so long: the next try is quick */
#define FAR_LINK_ADDRESSES_MAX    8
#define FAR_LINK_ACK_US           250000 /* acks that nobody waits for */

struct far_remote;

enum far_link_state {
    FAR_LINK_DOWN, /* between two tries, or a reason why none is made */
    FAR_LINK_CONNECTING,
    FAR_LINK_UP,
    FAR_LINK_STOPPED, /* a person wants it so */
};

struct far_link {
    struct far_context *context;
    char name[FAR_NAME_BYTES]; /* of the other platform */
    struct far_endpoint addresses[FAR_LINK_ADDRESSES_MAX];
    unsigned address_count, attempt;
    struct far_key key;  /* bytes 0: none */
    bool by_certificate; /* instead. Neither: reason says why */
    bool configured;     /* its section is in the configuration */
    enum far_link_state state;
    char reason[FAR_WIRE_TEXT_BYTES]; /* why it is not up; "" if it is */
    char address[64];                 /* of the current or last try */
    uint64_t since_us, delay_us, up_us;
    uint64_t reconnects;
    uint8_t id[16];
    struct far_conn *conn;
    struct far_timer retry, acks;
    struct far_resolver_query query;
    struct far_traffic traffic;
    struct far_log_bucket bucket;
    struct far_remote **remotes; /* by handle */
    uint32_t remotes_room;
    uint32_t gone; /* of them: detached, which the owner does not know yet */
    struct far_defer prompt; /* acks that somebody waits for */
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
/* Acks of some remote are to be sent: soon, or in this turn. */
void far_link_want_acks(struct far_link *link, bool prompt);

#endif
