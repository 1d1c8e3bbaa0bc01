/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * When a connection is looked at instead of waited for: a wake-up on another
 * processor costs more than all else that an op costs. It is while frames come
 * one soon after the other, and its peer's packets arrive on another processor
 * than ours. How long the loop looks at a time, and when it lets it be for a
 * while, is its own policy (core/loop.h). Does not read anything itself.
 */
#ifndef FARSIDE_NETPROXY_SPIN_H
#define FARSIDE_NETPROXY_SPIN_H

#include "core/loop.h"

#define FAR_SPIN_SOON_US   150 /* a frame that came so soon after another */
#define FAR_SPIN_SOON      8 /* so many in a row: from now on it is looked at */
#define FAR_SPIN_VAIN      4 /* the loop has slept so often: no more */
#define FAR_SPIN_WHERE_US  1000 /* where the peer is, is asked so often */
#define FAR_SPIN_CONNS_MAX 4    /* looked at: each costs a system call a look */

/* Of all connections of a netproxy. */
struct far_spin {
    bool allowed;   /* [platform] spin */
    unsigned conns; /* that are looked at */
    uint64_t begun; /* how often one has begun to be */
};

/* Of one connection. */
struct far_look {
    struct far_poller poller; /* in the loop while it is looked at */
    struct far_spin *spin;    /* NULL: never */
    unsigned soon, vain;
    int peer_cpu; /* -1: not known */
    uint64_t heard_ns, where_ns;
};

/* poll: as a far_poller's; asks far_look_worth() before it reads. */
void far_look_init(struct far_look *look, struct far_spin *spin,
                   bool (*poll)(struct far_poller *poller));
/* Something came by fd. */
void far_look_heard(struct far_look *look, struct far_loop *loop, int fd,
                    uint64_t now_ns);
/* It is allowed, and its peer is known to run on another processor than we. */
bool far_look_worth(const struct far_look *look);
/* Its peer is known to run on ours. */
bool far_look_here(const struct far_look *look);
void far_look_stop(struct far_look *look); /* idempotent */

#endif
