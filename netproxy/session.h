/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The owner's side of an attachment: one session for each (platform, guest,
 * generation, device of the guest, our device). It outlives the connection that
 * it was made over: interrupts are numbered here and kept until the guest has
 * them, answers of ops are kept until their slot is used again. Who sits at its
 * upper end (a connection, or this machine's backend) is its user.
 */
#ifndef FARSIDE_NETPROXY_SESSION_H
#define FARSIDE_NETPROXY_SESSION_H

#include "devices/device.h"
#include "netproxy/wire.h"

#define FAR_SESSION_KEPT_MAX 4096        /* interrupts; then devices wait */
#define FAR_QUOTA_KEPT_BYTES (16u << 20) /* of all of a platform's sessions */
#define FAR_QUOTA_SESSIONS   1024        /* of a platform */
#define FAR_SESSION_KEEP_US  120000000   /* without a user */

struct far_session;
struct far_session_user;

/* What one platform may cost its owner; the controller's. */
struct far_quota {
    char platform[FAR_NAME_BYTES];
    unsigned sessions;
    size_t kept_bytes;
    struct far_quota *next;
};

struct far_session_user_ops {
    /* false: not now; far_session_pump() will be called. op is valid for the
     * call only. */
    bool (*interrupt)(struct far_session_user *user, const struct far_op *op);
    /* An op is done. If it can't be passed on now it need not be: the other
     * side repeats it, and gets the kept answer. */
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
    uint64_t sequence;
    struct far_op op; /* WAITING: the request; DONE: the answer */
};

struct far_session {
    struct far_layer layer; /* the top of the device's chain */
    struct far_loop *loop;
    struct far_timer expiry;
    void (*expired)(struct far_session *session, void *arg);
    void *arg;
    char platform[FAR_NAME_BYTES];
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
    uint64_t device_incarnation;
    uint8_t props[32];
    char reason[FAR_WIRE_TEXT_BYTES];

    struct far_session_slot *slots; /* FAR_WIRE_SLOTS_MAX, at the first op */
    struct far_session_user *user;
    struct far_hist queue; /* event's time to the user, input only */
    uint64_t lost_kept, old_ops, repeated_ops, hostile_acks;
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
/* The answer goes to user->ops->complete, perhaps before this returns. 0 or
 * -EPROTO: a slot is used twice. */
int far_session_submit(struct far_session *session, const struct far_op *op);

static inline uint64_t far_session_kept(const struct far_session *s)
{
    return s->next - 1 - s->acked;
}

#endif
