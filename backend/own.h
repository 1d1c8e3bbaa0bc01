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
    struct far_grant_map control, ring, slots;
    struct far_evtchn evtchn;
    bool ringless; /* there is no page for a ring, and nobody polls */
    bool broken;   /* the guest has written nonsense into its pages */
    struct far_schema_own_back back;
    struct far_schema_own_front front;
    struct far_poller poller;
    uint32_t *front_cpu, *back_cpu; /* NULL: not looked at */
};

/* Of port types: nobody else serves these kinds; and, for most, nothing is
 * taken over from a dead process, as all that matters stands in the guest's
 * pages. */
bool far_own_mine(struct far_attachment *a);
int far_own_adopt(struct far_attachment *a, struct far_error *error);
/* Reads the backend's nodes, and writes the version and what all can; and what
 * else the class can, by more (NULL: nothing), which writes nodes by
 * far_own_write(). 0, -EAGAIN, or a negative errno with error. */
int far_own_publish(struct far_attachment *a, struct far_own *own,
                    int (*more)(struct far_attachment *a, far_xs_t t,
                                const struct far_own *own),
                    struct far_error *error);
int far_own_write(struct far_attachment *a, far_xs_t t, const char *node,
                  uint32_t value);
/* Reads the front's nodes. */
int far_own_read_front(struct far_attachment *a, struct far_own *own,
                       struct far_error *error);
/* Maps so many pages of slots, by the front's nodes NODE0, NODE1 …, before
 * far_own_map(). */
int far_own_map_slots(struct far_attachment *a, struct far_own *own,
                      const char *node, uint32_t pages,
                      struct far_error *error);
/* Maps and binds what far_own_read_front() read; all or nothing, with the
 * slots. */
int far_own_map(struct far_attachment *a, struct far_own *own,
                enum far_evtchn_verdict (*fired)(struct far_evtchn *),
                struct far_error *error);
void far_own_unmap(struct far_attachment *a, struct far_own *own);
/* idempotent */
/* From now on, if the front wants it: own->poller looks while the loop spins.
 * The words are those of the control page by which each side says so. arm is as
 * in struct far_poller, and begins with far_own_looks(own, false). disarm NULL:
 * far_own_looks(own, true) is all. Ends by far_own_unmap(). */
void far_own_look(struct far_attachment *a, struct far_own *own,
                  uint32_t *front_cpu, uint32_t *back_cpu,
                  bool (*poll)(struct far_poller *),
                  bool (*arm)(struct far_poller *),
                  void (*disarm)(struct far_poller *));
void far_own_looks(struct far_own *own, bool looks);
/* The guest has written nonsense: it loses this device, and what is wrong is
 * said once. Nothing in its pages is looked at any more. */
void far_own_broken(struct far_attachment *a, struct far_own *own,
                    const char *what);
/* The guest looks, and need not be told of anything in its pages. */
bool far_own_guest_looks(const struct far_own *own);

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
