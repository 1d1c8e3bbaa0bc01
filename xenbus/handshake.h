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
    FAR_HS_INSISTS = 16,     /* a state that another wrote is set right (vbd: a
                                xen-blkback that was loaded late) */
};

/* What is seen. */
struct far_handshake_view {
    enum far_xenbus_state back;  /* our own state node, as it stands */
    enum far_xenbus_state front; /* UNKNOWN also if its nodes are gone */
    bool front_exists;           /* the front's directory has a state node */
    bool online;                 /* "online" is 1 */
    bool domain_dead;            /* @releaseDomain said so */
    bool connected;              /* we have its ring mapped and serve it */
    bool front_connected_seen;   /* since we connected, the front was at 4: a 3
                                    now is a restart, not its way to 4 */
    bool adoptable;              /* the journal knows it: same guest, same
                                    nodes, same version */
    bool device_ready;           /* the device behind answers */
    bool activated;              /* it was told that the front is there */
    bool published;              /* features are in xenstore */
    bool refused;                /* we will not serve it: error node says why */
    bool front_closed_seen;      /* since we let go of it (or began), the front
                                    was at 6, 1 or 7, or not there */
    bool closed_shown;           /* our Closed has stood long enough to be seen
                                    by a front that mirrors it (kexec), or we
                                    were the first to close */
    uint32_t flags;              /* enum far_handshake_flags */
};

enum far_handshake_action {
    FAR_HS_NOTHING,    /* wait for the next change */
    FAR_HS_PUBLISH,    /* write the features (before state 2) */
    FAR_HS_SET_2,      /* write InitWait */
    FAR_HS_ACTIVATE,   /* the front is there: tell the device, which may then
                          fence a former holder, and answers when it can */
    FAR_HS_CONNECT,    /* read the front's nodes, map, bind, serve: then 4 */
    FAR_HS_ADOPT,      /* the same without a change of state */
    FAR_HS_DISCONNECT, /* stop serving, unbind, unmap (idempotent) */
    FAR_HS_RECLAIM,    /* take the node from whoever else drives it, write 4 */
    FAR_HS_SET_5,
    FAR_HS_SET_6,
    FAR_HS_FORGET, /* toolstack will remove the nodes: drop it */
};

/* Pure: the first row of the table that fits. A state 4 of ours while we are
 * not connected is a dead predecessor's: adopted or bounced (4, 5, 6, wait for
 * the front to close, 2). After FAR_HS_SET_2 a caller waits for its own watch
 * to tell of it before it steps on: libxl looks for a 2 that stands. */
enum far_handshake_action
far_handshake_step(const struct far_handshake_view *view);
/* The name of the row that step() took, for logs and tests. */
const char *far_handshake_rule(const struct far_handshake_view *view);
/* All rows, for the test that each one is reached: NULL after the last. */
const char *far_handshake_rule_name(unsigned index);

/* From the text of a state node; strict. */
enum far_xenbus_state far_xenbus_state_parse(const char *text);
const char *far_xenbus_state_name(enum far_xenbus_state state);
const char *far_handshake_action_name(enum far_handshake_action action);

#endif
