/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The owner's side of an attachment: one session for each (platform, guest,
 * generation, device of the guest, our device). It outlives the connection that
 * it was made over: interrupts are numbered here and kept until the guest has
 * them, answers of ops are kept until their slot is used again. Who sits at its
 * upper end (a connection, or this machine's backend) is its user.
 *
 * Payloads lie in memory of the session, or of the device (place()), one piece
 * for each slot: so a device never touches what a user could take away. It is
 * touched as far as it is used, and given back when nothing was done for a
 * while.
 */
#ifndef FARSIDE_NETPROXY_SESSION_H
#define FARSIDE_NETPROXY_SESSION_H

#include "devices/device.h"
#include "netproxy/lease.h"
#include "netproxy/wire.h"

/* Interrupts; then devices wait. A minute of 270 a second: a mouse that is
 * moved without pause reports 125. */
#define FAR_SESSION_KEPT_MAX 16384
#define FAR_QUOTA_KEPT_BYTES (16u << 20) /* of all of a platform's sessions */
#define FAR_QUOTA_SESSIONS   1024        /* of a platform */
#define FAR_SESSION_KEEP_US  120000000   /* without a user */
/* Of a platform's sessions, together: payloads under way, if all slots are in
 * use. */
#define FAR_QUOTA_PAYLOAD_BYTES (1ull << 30)
#define FAR_SESSION_TRIM_US     10000000 /* payloads' memory is given back */

struct far_session;
struct far_session_user;

/* What one platform may cost its owner; the controller's. */
struct far_quota {
    char platform[FAR_NAME_BYTES];
    unsigned sessions;
    size_t kept_bytes;
    uint64_t payload_bytes;
    struct far_quota *next;
};

struct far_session_user_ops {
    /* false: not now; far_session_pump() will be called. op is valid for the
     * call only. */
    bool (*interrupt)(struct far_session_user *user, const struct far_op *op);
    /* An op is done: op is slots[op->slot].op, its payload (if it receives and
     * has not failed) is far_session_payload(). Both stay until
     * far_session_told(), which says that the answer is on its way. If it is
     * lost there, the other side repeats the op. Again for a repeat. */
    void (*complete)(struct far_session_user *user, const struct far_op *op);
    /* session->state and news have changed. */
    void (*state)(struct far_session_user *user);
    /* The session has another user now, or ends; it is no longer to be
     * touched. */
    void (*lost)(struct far_session_user *user, const char *reason);
};

struct far_session_user {
    const struct far_session_user_ops *ops;
    struct far_session *session; /* NULL: none */
};

enum far_slot_state {
    FAR_SLOT_FREE,
    FAR_SLOT_WAITING,
    FAR_SLOT_EXECUTING,
    FAR_SLOT_DONE
};

struct far_session_slot {
    enum far_slot_state state;
    bool told; /* DONE: the answer has left */
    bool own;  /* the payload lies in memory of the session, not the device's */
    uint64_t sequence;
    uint64_t order;              /* of arrival, in the session */
    struct far_wire_times times; /* if it is a timed op */
    struct far_op op;            /* the request; DONE: the answer */
    /* A payload that comes in pieces: from where, of which op, how much. */
    const void *source;
    uint64_t incoming;
    uint32_t incoming_bytes;
};

struct far_session {
    struct far_layer layer; /* the top of the device's chain */
    struct far_loop *loop;
    struct far_timer expiry;
    void (*expired)(struct far_session *session, void *arg);
    void *arg;
    char platform[FAR_NAME_BYTES];
    char device[FAR_NAME_BYTES]; /* the one that was chosen, or who.device */
    struct far_local_who who;

    uint64_t incarnation; /* of the numbering */
    uint64_t epoch;
    uint64_t next;           /* the next interrupt's number */
    uint64_t sent;           /* the last that the user was given */
    uint64_t acked;          /* the last that is in the guest */
    uint64_t granted;        /* how far the user may be given */
    uint64_t shift;          /* our number minus the device's, modulo 2^64 */
    struct far_quota *quota; /* its platform's, or NULL */
    struct far_op *kept;     /* a ring of kept_room, a power of two */
    uint32_t kept_room;
    bool activated, below_waits, pumping;

    enum far_device_state state;
    uint64_t device_incarnation; /* as its user sees it */
    uint64_t below_incarnation;  /* as the device tells it */
    uint8_t props[32];           /* as its user sees them */
    uint8_t device_props[32];    /* as the device tells them */
    bool read_only;              /* its [export] says so */
    bool exclusive;              /* that too; the controller's */
    /* NULL, or nothing is executed unless it is held, at that moment. */
    struct far_lease *lease;
    uint64_t refused_writes;
    char reason[FAR_WIRE_TEXT_BYTES];

    struct far_session_slot *slots; /* FAR_OP_SLOTS_MAX, at the first op */
    uint64_t order;                 /* of the last op */
    unsigned waiting, executing;    /* slots */
    bool starting;
    uint32_t slot_bytes; /* longest payload */
    uint8_t *memory;     /* of payloads: slot_bytes for each slot */
    struct far_timer trim;
    uint64_t trim_order; /* the last op when the timer was set */
    struct far_session_user *user;
    struct far_hist queue; /* event's time to the user, input only */
    uint64_t received_ns;  /* set by the user: when what it submits came */
    struct far_stages stages;
    struct far_sampler sampler; /* of interrupts; by the user */
    uint64_t timed, timed_ns;   /* the interrupt that is timed, and when it was
                                   raised; until it is sent */
    uint64_t lost_kept, old_ops, repeated_ops, hostile_acks;
    uint64_t stale_ops; /* meant for another incarnation of the device */
    uint64_t ops, executed_again, unknown_outcomes, stray_pieces;
    struct far_session *next_session;
};

/* Opens the device for it. NULL with error. expired: nobody came for
 * FAR_SESSION_KEEP_US; to be freed there. */
struct far_session *
far_session_new(struct far_loop *loop, struct far_device *device,
                const char *platform, const struct far_local_who *who,
                void (*expired)(struct far_session *, void *arg), void *arg,
                struct far_error *error);
/* Tells its user, closes its device. */
void far_session_free(struct far_session *session, const char *reason);
/* Its device is served under that lease (NULL: under none). Its user hears of a
 * change. */
void far_session_own(struct far_session *session, struct far_lease *lease);
/* May it write? Its user hears of a change. */
void far_session_limit(struct far_session *session, bool read_only);
bool far_session_is(const struct far_session *session, const char *platform,
                    const struct far_local_who *who);

/* Seats a user; the former one loses it. */
void far_session_sit(struct far_session *session, struct far_session_user *user,
                     const struct far_local_who *who, const char *reason);
/* The user is gone, and may come back. */
void far_session_leave(struct far_session_user *user);

/* The guest's front is there, and has got up to `received` of `incarnation`.
 * Numbering goes on from there, or begins anew (another incarnation). After
 * this the user tells its side session->incarnation, epoch and sent + 1, and
 * then calls far_session_go(). */
void far_session_activate(struct far_session *session, uint64_t incarnation,
                          uint64_t received, uint64_t epoch);
void far_session_go(struct far_session *session);
/* 0, or -EPROTO: that was never sent. */
int far_session_ack(struct far_session *session, uint64_t sequence);
void far_session_grant(struct far_session *session, uint64_t upto);
void far_session_pump(struct far_session *session);

/* ---- ops ----
 * An op's source is the connection that it came by, or NULL: pieces of one
 * payload from two of them are not mixed.
 *
 * The answer goes to user->ops->complete, perhaps before this returns. payload:
 * op->payload_bytes that are sent, copied here; NULL: they came before, by
 * far_session_piece(). An op that the session has had joins the one that
 * executes, or is told the answer that is kept; it is executed again if that
 * has left and the class says that it may be. An older one is dropped.
 * 0, -ENOMEM, -EPROTO: no such op may come (two in one slot, a payload longer
 * than slot_bytes or than what came, both ways). */
int far_session_submit(struct far_session *session, const struct far_op *op,
                       const void *payload, const void *source);
/* A piece of the payload of an op that will follow. 0, -ENOMEM, -EPROTO. */
int far_session_piece(struct far_session *session, uint32_t slot,
                      uint64_t sequence, uint32_t offset_bytes,
                      const void *bytes, uint32_t count, const void *source);
const void *far_session_payload(const struct far_session *session,
                                uint32_t slot);
void far_session_told(struct far_session *session, uint32_t slot);

static inline uint64_t far_session_kept(const struct far_session *s)
{
    return s->next - 1 - s->acked;
}

#endif
