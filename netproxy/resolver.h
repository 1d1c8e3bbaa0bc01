/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Names to addresses, without blocking: getaddrinfo() runs in a helper process,
 * forked before the sandbox closes, since it blocks and needs files and
 * sockets that the daemon gives up.
 */
#ifndef FARSIDE_NETPROXY_RESOLVER_H
#define FARSIDE_NETPROXY_RESOLVER_H

#include <sys/socket.h>
#include "core/error.h"
#include "core/loop.h"
#include "netproxy/address.h"

#define FAR_RESOLVER_ADDRESSES 8

struct far_resolver;

/* Forks the helper; call it before there are threads, or secrets in memory.
 * NULL with error. user: that the helper becomes, as far_privileges_drop()
 * takes it. */
struct far_resolver *far_resolver_new(struct far_loop *loop, const char *user,
                                      struct far_error *error);
/* The helper ends with it. NULL is fine. */
void far_resolver_free(struct far_resolver *resolver);

struct far_resolver_query {
    /* count 0: error says why. The query may be asked again from within. */
    void (*done)(struct far_resolver_query *query,
                 const struct sockaddr_storage *addresses, unsigned count,
                 const char *error);
    uint64_t id; /* the resolver's; 0: not asked */
    struct far_resolver_query *next;
};
/* 0 or a negative errno. */
int far_resolver_ask(struct far_resolver *resolver,
                     struct far_resolver_query *query,
                     const struct far_endpoint *what);
void far_resolver_cancel(struct far_resolver *resolver,
                         struct far_resolver_query *query); /* idempotent */

#endif
