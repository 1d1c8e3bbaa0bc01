/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The xenbus handshake of a backend, once for all classes: a table that says,
 * for the state of the front, of ourselves and of the toolstack, what to do
 * next (pure: far_handshake_step), and what a class adds to it (flags). It
 * knows nothing of xenstore; backend/ reads the nodes, calls the step, does
 * what it says, and calls again until it says FAR_HS_NOTHING.
 */
#ifndef FARSIDE_XENBUS_HANDSHAKE_H
#define FARSIDE_XENBUS_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

enum far_xenbus_state {
    FAR_XB_UNKNOWN = 0, /* no such node, or not a number from 1 to 8 */
    FAR_XB_INITIALISING = 1,
    FAR_XB_INIT_WAIT = 2,
    FAR_XB_INITIALISED = 3,
    FAR_XB_CONNECTED = 4,
    FAR_XB_CLOSING = 5,
    FAR_XB_CLOSED = 6,
    FAR_XB_RECONFIGURING = 7,
    FAR_XB_RECONFIGURED = 8,
};

/* How classes differ (XEN-FACTS 0.5, 4.3). */
enum far_handshake_flags {
    FAR_HS_CONNECT_AT_4 = 1,   /* the front goes to 4 by itself (kbd, fb) */
    FAR_HS_WAIT_FOR_FRONT = 2, /* closing: the front must reach 6 first (vbd:
                                  a mounted file system) */
    FAR_HS_NEEDS_DEVICE = 4, /* no Connected before the device answers (vbd) */
    FAR_HS_ADOPTS = 8,       /* a successor takes the ring over as it is */
};

/* What is seen. */
struct far_handshake_view {
    enum far_xenbus_state back;  /* our own state node, as it stands */
    enum far_xenbus_state front; /* UNKNOWN also if its nodes are gone */
    bool front_exists;           /* the front's directory has a state node */
    bool online;                 /* "online" is 1 */
    bool domain_dead;            /* @releaseDomain said so */
    bool connected;              /* we have its ring mapped and serve it */
    bool foreign_connected;      /* back and front say 4, but it was a dead
                                    predecessor that served it */
    bool adoptable;              /* the journal knows it: same guest, same
                                    nodes, same version */
    bool device_ready;           /* the device behind answers */
    bool published;              /* features are in xenstore */
    bool refused;                /* we will not serve it: error node says why */
    bool front_closed_seen;      /* since our last Closed (before 2 again) */
    uint32_t flags;              /* enum far_handshake_flags */
};

enum far_handshake_action {
    FAR_HS_NOTHING,    /* wait for the next change */
    FAR_HS_PUBLISH,    /* write the features (before state 2) */
    FAR_HS_SET_2,      /* write InitWait */
    FAR_HS_CONNECT,    /* read the front's nodes, map, bind, serve: then 4 */
    FAR_HS_ADOPT,      /* the same without a change of state */
    FAR_HS_DISCONNECT, /* stop serving, unbind, unmap (idempotent) */
    FAR_HS_SET_5,
    FAR_HS_SET_6,
    FAR_HS_FORGET, /* toolstack will remove the nodes: drop it */
};

enum far_handshake_action
far_handshake_step(const struct far_handshake_view *view);

/* From the text of a state node; strict. */
enum far_xenbus_state far_xenbus_state_parse(const char *text);
const char *far_xenbus_state_name(enum far_xenbus_state state);
const char *far_handshake_action_name(enum far_handshake_action action);

#endif
