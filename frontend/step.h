/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The handshake from the frontend's side, pure: what is seen goes in, the next
 * thing to do comes out. Nothing of xenstore, of grants, or of a class.
 */
#ifndef FARSIDE_FRONTEND_STEP_H
#define FARSIDE_FRONTEND_STEP_H

#include <stdbool.h>
#include "xenbus/handshake.h"

struct far_front_view {
    bool exists;                 /* the device's directory names a backend */
    enum far_xenbus_state front; /* our state node, as it stands */
    enum far_xenbus_state wrote; /* what we wrote there last; UNKNOWN: we have
                                    not taken the device yet */
    enum far_xenbus_state back;  /* UNKNOWN also if it has no node */
    bool moved;    /* another domid, another backend than when it was taken */
    bool has_ring; /* page and port are offered */
    bool other;    /* a driver of the kernel has it */
    bool predecessor; /* one of our own kind had it and did not let go */
    bool force;
    bool held; /* the backend wrote nonsense a moment ago */
};

enum far_front_action {
    FAR_FRONT_NOTHING, /* wait for the next change */
    FAR_FRONT_GONE,    /* tell the owner */
    FAR_FRONT_REFUSE,  /* another driver's: tell the owner */
    FAR_FRONT_TAKE,    /* it is ours from now on: write driver and state 1 */
    FAR_FRONT_DROP,    /* unbind, end the grant */
    FAR_FRONT_ABANDON, /* end the grant; the port is no more */
    FAR_FRONT_YIELD,   /* another driver writes the same nodes: let go */
    FAR_FRONT_SET_1,
    FAR_FRONT_START, /* grant, offer, write the nodes and state 3 */
    FAR_FRONT_SET_4,
    FAR_FRONT_CONNECTED, /* both sides say 4 */
    FAR_FRONT_SET_6,
};

/* Called again after each action that it named, until it says NOTHING,
 * CONNECTED, GONE or REFUSE. */
enum far_front_action far_front_step(const struct far_front_view *view);
const char *far_front_action_name(enum far_front_action action);

#endif
