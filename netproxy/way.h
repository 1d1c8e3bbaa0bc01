/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What an owner, and each relay, asks of a request that a relay carries: whose
 * it is, and which way it came. Pure.
 */
#ifndef FARSIDE_NETPROXY_WAY_H
#define FARSIDE_NETPROXY_WAY_H

#include "netproxy/address.h"
#include "netproxy/wire.h"

/* Where an export is forwarded to; false: nowhere, or the entry is wrong. */
bool far_forwarded(const struct far_conf *conf, const char *device,
                   struct far_address *to);

/* Whose request is it, and which way did it come? peer is who has proved to be
 * at the other end. origin: whose guest it is. 0, or why it is refused, with
 * the way in words: -EACCES (peer may not speak for that platform), -ELOOP (it
 * was here already, or has no more hops), -EPROTO. */
struct far_way {
    char origin[FAR_NAME_BYTES];
    unsigned count; /* of netproxies that passed it on */
    char visited[FAR_WIRE_HOPS][FAR_NAME_BYTES];
};
int far_way_read(struct far_way *way, const struct far_conf *conf,
                 const char *me, const char *peer,
                 const struct far_wire_frame *prepare, struct far_error *error);
/* May that relay carry that platform's requests? 0 or -EACCES. */
int far_way_allowed(const struct far_conf *conf, const char *relay,
                    const char *origin, struct far_error *error);
/* "atlas -> borealis -> cygnus" */
#define FAR_WAY_TEXT_BYTES ((FAR_WIRE_HOPS + 2) * (FAR_NAME_BYTES + 4))
const char *far_way_text(const struct far_way *way, const char *here, char *out,
                         size_t bytes);

#endif
