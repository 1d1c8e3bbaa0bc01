/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of the vdispl port share: port-vdispl.c serves the rings,
 * port-vdispl-buffers.c maps what a guest draws in, port-vdispl-nodes.c reads
 * and writes xenstore.
 */
#ifndef FARSIDE_BACKEND_PORT_VDISPL_H
#define FARSIDE_BACKEND_PORT_VDISPL_H

#include "backend/chain.h"
#include "backend/port-vdispl-checks.h"
#include "devices/fast-display.h"
#include "xenbus/ring.h"

#define FAR_VDISPL_JOURNAL_VERSION 1u

/* Of one connector: its pages and ports, and how far both rings have got.
 *
 * A request is copied here and counted in `taken` before it is done; then its
 * answer is written, and shown at once. So whoever finds the ring's rsp_prod
 * one below `taken` does the request, which lies here, once more (`again`).
 * An event is written, counted as told, and shown; whoever finds it not shown
 * shows it. */
struct far_vdispl_ring_journal {
    uint32_t refs[2], ports[2]; /* requests, events */
    uint32_t taken;             /* requests */
    uint32_t event_base;        /* in_prod when it was connected */
    struct xendispl_req request;
};

/* The annex. */
struct far_vdispl_journal {
    struct far_vdispl_state state;
    struct far_vdispl_ring_journal ring[FAR_VDISPL_CONNECTORS_MAX];
};

struct port;

struct connector {
    struct port *port;
    unsigned number;
    struct far_vdispl_screen *screen; /* in the journal */
    struct far_vdispl_ring_journal *journal;
    struct far_grant_map request_map, event_map;
    struct far_evtchn request_evtchn, event_evtchn;
    struct far_ring ring;

    struct far_address address;
    struct far_local_who who;
    enum far_binding binding;
    char absent[FAR_CHAIN_REASON_BYTES];
    struct far_layer *fast;

    uint64_t requests, refused, events;
};

struct port {
    struct far_attachment *a;
    bool served;
    struct far_vdispl_journal *journal;
    struct connector connector[FAR_VDISPL_CONNECTORS_MAX];
    unsigned connectors;
    /* of the journal's buffers, by the same index: the guest's, or our own */
    struct far_grant_map maps[FAR_VDISPL_DBUFS_MAX];
    struct far_share shares[FAR_VDISPL_DBUFS_MAX];
    struct far_shares *sharing; /* once one is asked for */
    struct far_defer more;      /* requests, in the next turn */
};

/* --- port-vdispl-buffers.c --- */
/* Makes a buffer's pixels reachable, the guest's or our own; nothing if it
 * fails. 0 or a negative errno, which is the request's status. */
int far_vdispl_map(struct port *port, struct far_vdispl_dbuf *dbuf);
void far_vdispl_unmap(struct port *port, const struct far_vdispl_dbuf *dbuf);
void far_vdispl_unmap_all(struct port *port);
/* What the connector is to show now; its memory NULL: nothing. */
void far_vdispl_picture(struct port *port, const struct connector *c,
                        struct far_picture *picture);
/* Writes the connector's EDID where the guest wants it; *bytes of it. */
int far_vdispl_edid(struct port *port, const struct connector *c,
                    const struct xendispl_get_edid_req *request,
                    uint32_t *bytes);

/* --- port-vdispl-nodes.c --- */
int far_vdispl_offer(struct far_attachment *a, struct far_error *error);
/* What the front's nodes say, as a whole judged: which connectors there are,
 * which screen each is to be on (and that the guest may have it), pages and
 * ports. Nothing of the port is changed. */
struct far_vdispl_front {
    uint32_t be_alloc, version, connectors;
    struct {
        struct far_address address;
        uint32_t width, height;
        uint32_t refs[2], ports[2];
    } connector[FAR_VDISPL_CONNECTORS_MAX];
};
int far_vdispl_read_front(struct far_attachment *a,
                          struct far_vdispl_front *front,
                          struct far_error *error);

#endif
