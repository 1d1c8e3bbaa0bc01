/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The directory in etcd (v3, by its JSON gateway). A helper process talks to
 * it, forked before the sandbox closes: libcurl, name servers and whatever etcd
 * answers stay out of the daemon, which hears only the messages below.
 *
 * Keys under a prefix, by default /farside/:
 * - devices/NAME/PLATFORM = DEVICE: a place; under the lease of that platform;
 * - owner/NAME = PLATFORM BOOT-ID PROCESS TTL: who has it; the same;
 * - last/NAME = PLATFORM BOOT-ID PROCESS TTL: who had it and never gave it
 * back.
 *
 * The daemon asks for each renewal: one that is stopped, or whose loop hangs,
 * loses its lease although the helper lives. An owner's time is counted from
 * before the question, and ends a margin before the lease can; each renewal
 * also finds the owner's key as it was. A successor makes that key in the same
 * transaction in which it is missing, and then waits as long as a former owner
 * could still believe in it. It need not if `last` is not there: that one gave
 * it back, after its last act; or if that was a process of this platform in
 * this same boot of this machine, and can be seen to be dead.
 */
#ifndef FARSIDE_NETPROXY_ETCD_H
#define FARSIDE_NETPROXY_ETCD_H

#include <limits.h>
#include <sys/types.h>
#include "core/log.h"
#include "core/loop.h"
#include "netproxy/lease.h"

#define FAR_ETCD_ENDPOINTS    8
#define FAR_ETCD_OFFERS       256
#define FAR_ETCD_PLACES       4096
#define FAR_ETCD_PREFIX_BYTES 128
#define FAR_ETCD_TTL_S        5 /* by default */

enum far_etcd_what {
    FAR_ETCD_SETUP = 1, /* to the helper: struct far_etcd_setup */
    FAR_ETCD_OFFER,     /* a device of ours; after SETUP */
    FAR_ETCD_GO,        /* no more offers: all are in force now */
    FAR_ETCD_RENEW,
    FAR_ETCD_BYE,   /* nothing of ours acts any more: give all back */
    FAR_ETCD_BEGIN, /* from the helper: all places follow */
    FAR_ETCD_PLACE,
    FAR_ETCD_END,
    FAR_ETCD_LEASE,
    FAR_ETCD_TROUBLE, /* text; "": it is over */
};

struct far_etcd_setup {
    uint32_t what, ttl_s;
    uint32_t generation; /* what is said of leases says of which setup */
    char platform[FAR_NAME_BYTES];
    char prefix[FAR_ETCD_PREFIX_BYTES]; /* ends with a / */
    uint32_t endpoint_count;
    uint32_t clear; /* without TLS */
    char endpoints[FAR_ETCD_ENDPOINTS][280];
    char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX]; /* "": none */
};

struct far_etcd_offer {
    uint32_t what, leased;
    char name[FAR_NAME_BYTES], device[FAR_NAME_BYTES];
};

struct far_etcd_place {
    uint32_t what, owner;
    char name[FAR_NAME_BYTES], platform[FAR_NAME_BYTES], device[FAR_NAME_BYTES];
};

struct far_etcd_lease {
    uint32_t what, generation;
    char name[FAR_NAME_BYTES], holder[FAR_NAME_BYTES];
    uint64_t until_us, from_us;
};

struct far_etcd_trouble {
    uint32_t what;
    char text[232];
};

union far_etcd_message {
    uint32_t what;
    struct far_etcd_setup setup;
    struct far_etcd_offer offer;
    struct far_etcd_place place;
    struct far_etcd_lease lease;
    struct far_etcd_trouble trouble;
};

/* The daemon's side. */
struct far_etcd;

struct far_etcd_ops {
    /* Names are checked. */
    void (*begin)(void *arg);
    void (*place)(void *arg, const struct far_etcd_place *place);
    void (*end)(void *arg);
    void (*lease)(void *arg, const struct far_etcd_lease *lease);
    void (*trouble)(void *arg, const char *text);
    /* May something still be under way that was begun under a lease? */
    bool (*late)(void *arg);
    void *arg;
};

/* Forks the helper, as far_resolver_new() does. NULL with error: -EOPNOTSUPP if
 * it was built without libcurl. */
struct far_etcd *far_etcd_new(struct far_loop *loop, const char *user,
                              const struct far_etcd_ops *ops,
                              struct far_error *error);
/* Would it go on by that setup, and keep its leases? */
bool far_etcd_has(const struct far_etcd *etcd,
                  const struct far_etcd_setup *setup);
/* Takes it all in a later turn, once ops->late() says no; what is no longer
 * offered, or is by another setup, is given back: nothing may act by it any
 * more. setup may be NULL: as it was. */
void far_etcd_configure(struct far_etcd *etcd,
                        const struct far_etcd_setup *setup,
                        const struct far_etcd_offer *offers, unsigned count);
/* The helper gives all leases back, or lets them run out if ops->late(), and
 * ends: nothing may act by them any more. NULL is fine. */
void far_etcd_free(struct far_etcd *etcd);

/* The helper's: never returns. daemon: whose helper it is. */
void far_etcd_helper(int fd, pid_t daemon) __attribute__((noreturn));

#endif
