/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Event channels: one handle a domain, so that one guest's storm is its own,
 * each port with a callback. A port is unmasked after its handler has run, and
 * not at all if the handler says that the guest's ring is broken; events that
 * bring no work make the unmask wait: the first in a row not (work is often
 * found before its event comes), the second 1 ms, doubling to 250 ms.
 *
 * All structs are zeroed before their first use. One thread. A handler may
 * unbind its own port or another, free it, or close the handle.
 */
#ifndef FARSIDE_XENBUS_EVTCHN_H
#define FARSIDE_XENBUS_EVTCHN_H

#include <stdbool.h>
#include <stdint.h>
#include "core/loop.h"

struct far_evtchns; /* a handle: all ports that we have with one domain */

/* NULL and errno. Restricted to that domain, where the kernel can do it, at the
 * first bind; not if a port was offered before (the kernel then refuses to make
 * more). */
struct far_evtchns *far_evtchns_open(struct far_loop *loop, unsigned domid);
void far_evtchns_close(struct far_evtchns *channels); /* unbinds all */
/* After this domain was restored as another one: its ports are no more, and
 * Linux' driver dies of a BUG when one of them is unbound or its descriptor is
 * closed (no interrupt belongs to it any longer). So the descriptor is left
 * open, on purpose, for as long as the process lives. */
void far_evtchns_abandon(struct far_evtchns *channels);

enum far_evtchn_verdict {
    FAR_EVTCHN_WORKED,   /* unmask */
    FAR_EVTCHN_SPURIOUS, /* nothing was there: unmask, in a row with a pause */
    FAR_EVTCHN_BROKEN,   /* leave it masked: a broken ring is a silent ring */
};

struct far_evtchn {
    uint32_t local_port; /* 0: not bound */
    uint32_t remote_port;
    struct far_evtchns *channels;
    enum far_evtchn_verdict (*fired)(struct far_evtchn *evtchn);
    struct far_timer unmask; /* while a pause for spurious events runs */
    uint32_t spurious_run;
    struct far_evtchn *next;
};

/* The backend's: to a port that the guest has offered. 0 or a negative errno
 * (-EINVAL: no such port, or not for us). The guest's port goes back to
 * waiting when we unbind or die: a successor binds it again. */
int far_evtchn_bind(struct far_evtchns *channels, struct far_evtchn *evtchn,
                    uint32_t remote_port,
                    enum far_evtchn_verdict (*fired)(struct far_evtchn *));
/* A frontend's: a new port that the domain of the handle may bind. */
int far_evtchn_offer(struct far_evtchns *channels, struct far_evtchn *evtchn,
                     enum far_evtchn_verdict (*fired)(struct far_evtchn *));
void far_evtchn_unbind(struct far_evtchn *evtchn); /* idempotent */
/* Wakes the other side. 0 or a negative errno (-ENOTCONN: not bound). That the
 * peer died, or that we were restored in another domain, does not show here. */
int far_evtchn_notify(struct far_evtchn *evtchn);

#endif
