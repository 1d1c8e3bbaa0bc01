/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Farside's own kinds of devices: what their ports have in common (a control
 * page, a ring's page and an event channel, their nodes), and their nodes'
 * making and removal, which is the toolstack's for all other kinds (libxl
 * knows none of ours).
 */
#ifndef FARSIDE_BACKEND_OWN_H
#define FARSIDE_BACKEND_OWN_H

#include "backend/backend.h"
#include "xenstore-schema/schema.h"

/* --- own-port.c: what a connection consists of --- */
struct far_own {
    struct far_grant_map control, ring;
    struct far_evtchn evtchn;
    bool ringless; /* there is no page for a ring, and nobody polls */
    struct far_schema_own_back back;
    struct far_schema_own_front front;
};

/* Reads the backend's nodes and writes the version and what we can; with
 * timers also how many. 0, -EAGAIN, or a negative errno with error. */
int far_own_publish(struct far_attachment *a, struct far_own *own, bool timers,
                    struct far_error *error);
/* Reads the front's nodes. */
int far_own_read_front(struct far_attachment *a, struct far_own *own,
                       struct far_error *error);
/* Reads a grant reference of the front's nodes by name. */
int far_own_read_ref(struct far_attachment *a, const char *node, uint32_t *ref,
                     struct far_error *error);
/* Maps and binds what far_own_read_front() read; all or nothing. */
int far_own_map(struct far_attachment *a, struct far_own *own,
                enum far_evtchn_verdict (*fired)(struct far_evtchn *),
                struct far_error *error);
void far_own_unmap(struct far_attachment *a, struct far_own *own);
/* idempotent */

/* --- own-nodes.c --- */
bool far_own_kind(const char *kind);
/* The kind of devices of that class; NULL if it isn't one of ours. */
const char *far_own_kind_of_class(enum far_class class);

struct far_own_nodes; /* watches domains, and makes what [guest] orders */
int far_own_nodes_start(struct far_backend *backend,
                        struct far_own_nodes **nodes);
void far_own_nodes_stop(struct far_own_nodes *nodes); /* NULL is fine */
/* The configuration was read anew. */
void far_own_nodes_reload(struct far_own_nodes *nodes);
/* Makes a device's nodes, with the next number; devid, or a negative errno. */
int far_own_attach(struct far_backend *backend, unsigned domid,
                   enum far_class class, const char *address,
                   struct far_error *error);
/* As libxl would ask: online 0, state 5; the nodes go when it is closed. */
int far_own_detach(struct far_backend *backend, unsigned domid,
                   enum far_class class, unsigned devid,
                   struct far_error *error);
/* It is closed and not wanted any more, or its guest is dead: removes what
 * libxl would. */
void far_own_remove(struct far_attachment *a);
/* By number or name. 0, or -ENOENT with error. */
int far_own_find_domain(struct far_backend *backend, const char *domain,
                        unsigned *domid, struct far_error *error);

#endif
