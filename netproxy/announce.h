/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Announcements: a server tells the platforms that subscribed which devices
 * they may attach, and what changes; a client keeps what each of its servers
 * announced. Nothing is attached by it: it is for people, and for what chooses.
 */
#ifndef FARSIDE_NETPROXY_ANNOUNCE_H
#define FARSIDE_NETPROXY_ANNOUNCE_H

#include <jansson.h>
#include "netproxy/conn.h"

#define FAR_OFFERS_MAX 1024 /* of one server; more are counted, not kept */

struct far_peer;

/* The server's end: sends the peer what it was not told yet of the devices of
 * the classes that it subscribed to. */
void far_announce(struct far_peer *peer);
/* It may have lost what it was told: all is told again. */
void far_announce_forget(struct far_peer *peer);

/* The client's end. */
struct far_offer {
    struct far_wire_announce device; /* checked */
    char reason[FAR_WIRE_TEXT_BYTES];
};
struct far_offers {
    struct far_offer *list; /* by name */
    unsigned count, room;
    uint64_t heard, not_kept;
};
/* Subscribes to all classes. */
void far_offers_ask(struct far_conn *conn);
void far_offers_take(struct far_offers *offers,
                     const struct far_wire_frame *frame);
void far_offers_clear(struct far_offers *offers);
json_t *far_offers_json(const struct far_offers *offers);
/* What a device can do, as words: ["keys", "rel"]. */
json_t *far_props_json(enum far_class class, const uint8_t props[32]);

#endif
