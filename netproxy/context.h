/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the parts of one netproxy share: made by netproxy.c, borrowed by all.
 */
#ifndef FARSIDE_NETPROXY_CONTEXT_H
#define FARSIDE_NETPROXY_CONTEXT_H

#include "core/log.h"
#include "core/loop.h"
#include "netproxy/spin.h"
#include "netproxy/wire.h"

struct far_notifier;
struct far_resolver;
struct far_router;
struct far_trust;

struct far_context {
    struct far_loop *loop;
    struct far_log *log;
    struct far_resolver *resolver; /* NULL: numeric addresses only */
    struct far_notifier *notifier;
    uint32_t times_every; /* [platform] times */
    struct far_spin spin;
    struct far_router *router;
    struct far_wire_hello me; /* role and link are set per connection */
    struct far_trust *trust;  /* netproxy.c's; a reload brings another */
};

#endif
