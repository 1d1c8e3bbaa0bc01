/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A layer whose device is far away: the client's side of an attachment, one
 * handle of a link. It outlives the layer above for a while when that one's
 * process has died, so that a successor finds the session as it was.
 */
#ifndef FARSIDE_NETPROXY_REMOTE_H
#define FARSIDE_NETPROXY_REMOTE_H

#include "devices/device.h"
#include "netproxy/credential.h"
#include "netproxy/link.h"
#include "netproxy/times.h"

#define FAR_REMOTE_WINDOW   128       /* interrupts on their way at most */
#define FAR_REMOTE_KEEP_US  120000000 /* without a user; as the owner does */
#define FAR_REMOTE_GONE_MAX 256       /* detached; the owner is to be told */

enum far_remote_phase {
    FAR_REMOTE_IDLE, /* the link is down */
    FAR_REMOTE_PREPARING,
    FAR_REMOTE_REFUSED, /* the reason stands in reason */
    FAR_REMOTE_PREPARED,
    FAR_REMOTE_ACTIVATING,
    FAR_REMOTE_ACTIVE,
};

/* What goes with each op. */
struct far_remote_slot {
    void *payload;  /* the submitter's */
    uint64_t order; /* in which it was submitted */
    /* A payload that comes in pieces: by which connection, how much of it. */
    const struct far_conn *source;
    uint32_t received;
    uint32_t given; /* of what it sends, in pieces, until now */
    uint8_t lane;   /* where it was sent */
};

struct far_remote {
    struct far_layer layer;
    struct far_link *link;
    struct far_local_who who;
    uint32_t handle;
    char chosen[FAR_NAME_BYTES]; /* where any was asked for: the one it has */
    enum far_remote_phase phase;
    struct far_conn *conn; /* of the last PREPARE: what is said of it elsewhere
                              is old; NULL: of none that is up */
    bool moving;           /* to another lane: nobody above need know */
    bool wanted;           /* the guest's front is there */
    bool parked;           /* nobody is above */
    bool detached; /* it will not come back; with nobody above: it is kept only
                      until the owner has been told */
    bool blocked;  /* above has no room */
    bool acks_due, draining;
    struct far_timer expiry; /* while parked */

    /* For an owner behind a relay (netproxy/vouch.h): of the next PREPARE. */
    uint8_t signature[sizeof(struct far_credential)];
    uint16_t signature_bytes;
    unsigned vouched; /* in a row, and not accepted */
    struct far_timer vouch_again;

    uint64_t incarnation, received; /* the last that went up or waits */
    uint64_t acked, acked_told, granted;
    uint32_t unanswered; /* ACTIVATEs, of this connection */
    uint64_t epoch;
    struct far_op waiting[FAR_REMOTE_WINDOW]; /* for room above */
    uint32_t waiting_first, waiting_count;

    struct far_op *ops; /* FAR_OP_SLOTS_MAX, at the first op */
    struct far_remote_slot *slots;
    uint64_t order;        /* of the last op */
    uint64_t busy, unsent; /* slots */
    uint64_t sent;         /* busy ones that were sent, ever */
    uint64_t repeats;      /* busy ones that are sent again: before they are all
                              answered nothing new is sent */
    uint32_t slot_bytes;   /* longest payload that the owner takes */
    uint32_t slots_max;    /* under way, at most: its credit */
    bool limits_known;
    bool exclusive, leased; /* as its owner says */
    struct far_fair_item fair;
    bool giving;           /* a payload, in pieces */
    struct far_lane *lane; /* in whose turns it is, or was last */

    /* What was said of the device, and what was passed up. */
    enum far_device_state state;
    uint64_t device_incarnation;
    uint8_t props[32];
    char reason[FAR_WIRE_TEXT_BYTES];
    bool stated; /* its state has come since it was activated */
    bool told;
    enum far_device_state told_state;
    uint64_t told_incarnation, told_device_incarnation;
    uint8_t told_props[32];
    char told_reason[FAR_WIRE_TEXT_BYTES];

    struct far_hist wire, deliver;
    struct far_times *times; /* NULL: none of its ops was timed yet */
    uint64_t repeated, lost, invalid, stray_feedbacks, elsewhere;
};

/* Takes up a parked one of the same guest and device, or makes one; never
 * fails because the link is down or the device is not there: state() tells. */
int far_remote_open(struct far_link *link, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error);
/* Is there a parked one that may be taken up? */
bool far_remote_left(const struct far_link *link,
                     const struct far_local_who *who);
/* Its layer will be closed: for good (the session ends), or not. */
void far_remote_leaving(struct far_link *link, const struct far_local_who *who,
                        bool detached);
/* All of a link, parked ones too. */
void far_remote_free_all(struct far_link *link);

/* From the link. */
void far_remote_link_up(struct far_remote *remote);
void far_remote_link_down(struct far_remote *remote);
int far_remote_frame(struct far_remote *remote, struct far_conn *conn,
                     const struct far_wire_frame *frame,
                     struct far_error *error);
/* A lane is no more: what was under way there is sent again on another one.
 * How many ops these are. */
unsigned far_remote_lane_down(struct far_remote *remote, struct far_lane *lane,
                              const struct far_conn *conn);
/* Is an op of it under way on that lane? */
bool far_remote_waits(const struct far_remote *remote, uint8_t lane);
void far_remote_send_acks(struct far_remote *remote);

/* Why no event comes, or "". */
const char *far_remote_reason(const struct far_remote *remote);
const char *far_remote_state_name(const struct far_remote *remote);

#endif
