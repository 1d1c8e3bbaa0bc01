/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One device of Farside's own kinds from the guest's side, whatever its class:
 * the handshake (frontend/step.c says what is next), a control page, a ring, an
 * event channel, further pages that the class asks for, and beginning anew when
 * the backend or the domain is another one. What is in the pages is the
 * class's: timer.c, doorbell.c, intc.c.
 */
#ifndef FARSIDE_FRONTEND_OWN_H
#define FARSIDE_FRONTEND_OWN_H

#include "frontend/kbd.h"
#include "frontend/step.h"
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/ring.h"
#include "xenstore-schema/schema.h"

struct far_front_own;

struct far_front_own_class {
    const char *kind;     /* "fartimer" */
    uint32_t entry_bytes; /* 0: it has no ring, and nobody polls */
    /* The backend's nodes were read: how many pages beside control and ring?
     * Or a negative errno, with own->why. Without a ring it sets own->clear,
     * the byte of the control page that is 0 when we are gone. */
    int (*pages)(struct far_front_own *own);
    /* Further nodes, in the transaction that offers the pages. */
    int (*offer)(struct far_front_own *own, far_xs_t t);
    /* Both sides say 4. */
    void (*connected)(struct far_front_own *own);
    /* Takes what is there: 1, 0 or -EPROTO. */
    int (*drain)(struct far_front_own *own);
    /* The pages go away. */
    void (*dropped)(struct far_front_own *own);
    /* For a poller: where the back says that it looks (processor + 1); asks
     * for an event from now on (false: something has come); says that we look.
     */
    uint32_t (*back_cpu)(struct far_front_own *own);
    bool (*arm)(struct far_front_own *own);
    void (*disarm)(struct far_front_own *own, uint32_t cpu);
};

struct far_front_own {
    struct far_frontend *frontend;
    const struct far_front_own_class *class;
    struct far_front_own *next, **prev;
    unsigned devid;
    bool poll; /* wanted */
    void (*told)(struct far_front_own *own, enum far_frontend_state state,
                 const char *why);

    enum far_frontend_state state;
    bool was_told;
    char why[232], told_why[232];
    unsigned busy;
    bool
        closed; /* freed by the class when busy is 0: see far_front_own_enter */
    void (*freed)(struct far_front_own *own);

    unsigned domid, back_id;
    char back[FAR_XS_PATH_BYTES];
    enum far_xenbus_state wrote;
    bool connected;
    uint64_t connections;
    struct far_schema_own_back nodes;

    struct far_xs_watch nodes_watch, back_watch;
    char watched[FAR_XS_PATH_BYTES];
    struct far_defer look;
    struct far_timer hold;
    uint64_t hold_us, hold_end_us;
    bool held;

    bool has_ring;
    struct far_evtchns *channels;
    struct far_evtchn evtchn;
    struct far_shares *shares;
    struct far_share share;  /* control, ring, the class's pages */
    struct far_share others; /* the class's, if there is no ring */
    uint32_t refs[2 + 512];
    uint32_t clear;
    void *control;
    struct far_ring ring;
    void *more; /* the class's pages */
    struct far_poller poller;
    bool polling;
};

/* Zeroed but for class, devid, poll, told, freed. 0 or a negative errno. */
int far_front_own_open(struct far_frontend *frontend,
                       struct far_front_own *own);
/* Lets go; calls freed() now, or when the call from which it came is over. */
void far_front_own_close(struct far_front_own *own);
/* Around calls of the program's hooks, which may close the device; leave says
 * false if it is no more. */
void far_front_own_enter(struct far_front_own *own);
bool far_front_own_leave(struct far_front_own *own);
/* The back wrote nonsense: closed, and tried again after a while. */
void far_front_own_broken(struct far_front_own *own, const char *why);
void far_front_own_notify(struct far_front_own *own);
/* For a class with further event channels: one of them has fired. */
enum far_evtchn_verdict far_front_own_fired(struct far_front_own *own);
int far_front_own_write(struct far_front_own *own, far_xs_t t, const char *node,
                        uint32_t value);
/* Looks at its nodes at the end of this turn. */
void far_front_own_look(struct far_front_own *own);

#endif
