/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The owner's end of links (netproxy/server.h). In order: attachments, frames,
 * peers, arrivals, listeners.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core/any.h"
#include "core/clock.h"
#include "netproxy/announce.h"
#include "netproxy/choice.h"
#include "netproxy/notify.h"
#include "netproxy/route.h"
#include "netproxy/server.h"
#include "netproxy/vouch.h"

#define LISTEN_RETRY_US 1000000

/* One handle of a link. */
struct far_attachment {
    struct far_session_user user;
    struct far_peer *peer;
    struct far_conn *conn; /* of its last PREPARE or ACTIVATE, where all but
                              answers goes; NULL: that one is gone */
    uint32_t handle;
    uint64_t answers; /* slots that are done, and wait for their turn */
    uint8_t op_lanes[FAR_WIRE_SLOTS_MAX];     /* where each was asked */
    uint8_t answer_lanes[FAR_WIRE_SLOTS_MAX]; /* where those answers wait */
    struct far_fair_item fair[FAR_WIRE_LANES];
    uint8_t giving[FAR_WIRE_LANES]; /* slot whose payload goes in pieces */
    uint32_t given[FAR_WIRE_LANES]; /* bytes of it */
    struct far_local_who who;
    char origin[FAR_NAME_BYTES]; /* whose guest it is: the peer's, or that of a
                                    platform for which the peer speaks */
    struct far_route *route;     /* NULL: the device is here, or nowhere */
    char had[FAR_NAME_BYTES];    /* where it asks for any: the last device */
    bool vouched;                /* its origin has signed it, or need not */
    bool refused; /* and asked again when the reason may be gone */
    bool ended;   /* by another platform: not asked again */
    int status;   /* that was told last */
    char reason[FAR_WIRE_TEXT_BYTES];
};

static struct far_attachment *of_user(struct far_session_user *user)
{
    return (struct far_attachment *)user;
}

/* Attachments. */

static void answer(struct far_attachment *a, int status, const char *reason)
{
    struct far_wire_header header = { .type = FAR_WIRE_PREPARED,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = a->handle };
    struct far_wire_prepared p = { .status = status };
    struct far_wire_limits limits = { .slots = FAR_WIRE_SLOTS_MAX };
    struct far_wire_value options[3];
    unsigned count = 0;

    if (a->user.session) {
        const struct far_session *s = a->user.session;

        p.class = s->who.class;
        p.incarnation = s->incarnation;
        p.device_incarnation = s->device_incarnation;
        p.flags = (s->layer.prompt_acks ? FAR_WIRE_PROMPT_ACKS : 0) |
                  (s->exclusive ? FAR_WIRE_EXCLUSIVE : 0) |
                  (s->lease ? FAR_WIRE_LEASED : 0);
        memcpy(p.props, s->props, sizeof(p.props));
    }
    a->status = status;
    snprintf(a->reason, sizeof(a->reason), "%s", reason ? reason : "");
    if (!a->conn)
        return;
    if (a->user.session) {
        limits.payload_bytes = a->user.session->slot_bytes;
        if (far_any_is(a->who.device))
            options[count++] =
                (struct far_wire_value){ FAR_WIRE_OPTION_DEVICE, sizeof(a->had),
                                         a->had };
    }
    if (limits.payload_bytes)
        options[count++] = (struct far_wire_value){ FAR_WIRE_OPTION_LIMITS,
                                                    sizeof(limits), &limits };
    far_conn_send_options(a->conn, &header, &p, sizeof(p), reason, options,
                          count);
}

static bool user_interrupt(struct far_session_user *user,
                           const struct far_op *op)
{
    struct far_attachment *a = of_user(user);
    struct far_wire_header header = { .type = FAR_WIRE_INTERRUPT,
                                      .lane = FAR_WIRE_LANE_CONTROL,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = a->handle };

    if (!a->conn)
        return false;
    if (op->sequence == user->session->timed)
        far_conn_with_option(a->conn, FAR_WIRE_OPTION_TIMES,
                             &user->session->timed_ns,
                             sizeof(user->session->timed_ns));
    if (far_conn_send_op(a->conn, &header, op, NULL))
        return false;
    if (op->sequence == user->session->timed)
        user->session->timed = 0;
    return true;
}

/* Answers go where they were asked for; if that lane is gone, by the control
 * lane: a peer whose link has none at all asks again. */
static unsigned lane_of(const struct far_peer *peer, unsigned asked)
{
    unsigned i;

    if (peer->lanes[asked])
        return asked;
    for (i = 0; i < FAR_WIRE_LANES - 1 && !peer->lanes[i]; i++)
        ;
    return i;
}

static void want_answer(struct far_attachment *a, unsigned slot)
{
    struct far_peer *peer = a->peer;
    unsigned lane = lane_of(peer, a->op_lanes[slot]), i;

    /* From its beginning, and by one lane only: half of it may have gone by
     * another one, which who asked again does not listen to any more. */
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        if (a->giving[i] == slot)
            a->given[i] = 0;
    }
    a->answer_lanes[slot] = (uint8_t)lane;
    a->answers |= (uint64_t)1 << slot;
    far_fair_add(&peer->fair[lane], &a->fair[lane]);
}

/* Which answer is next on that lane: the one that has begun, or the first. */
static unsigned next_answer(struct far_attachment *a, unsigned lane)
{
    const struct far_session *s = a->user.session;
    uint64_t left = a->answers;

    if (a->given[lane] && (left >> a->giving[lane] & 1) &&
        s->slots[a->giving[lane]].state == FAR_SLOT_DONE)
        return a->giving[lane];
    for (; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);

        if (a->answer_lanes[slot] != lane)
            continue;
        if (s->slots[slot].state == FAR_SLOT_DONE)
            return slot;
        a->answers &= ~((uint64_t)1 << slot); /* of an op before */
    }
    return FAR_WIRE_SLOTS_MAX;
}

static int64_t send_answer(struct far_attachment *a, unsigned lane)
{
    struct far_wire_header header = { .type = FAR_WIRE_FEEDBACK,
                                      .lane = (uint8_t)lane,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = a->handle };
    struct far_conn *conn = a->peer->lanes[lane];
    struct far_session *s = a->user.session;
    unsigned slot = s && conn ? next_answer(a, lane) : FAR_WIRE_SLOTS_MAX;
    const uint8_t *payload = NULL;
    uint32_t most, left;
    struct far_op op;
    int rc;

    if (slot == FAR_WIRE_SLOTS_MAX)
        return 0;
    op = s->slots[slot].op;
    op.attachment = a->who.attachment;
    if (op.payload_bytes)
        payload = far_session_payload(s, slot);
    most = far_conn_piece_bytes(conn);
    if (op.payload_bytes > most) {
        if (a->giving[lane] != slot) {
            a->giving[lane] = (uint8_t)slot;
            a->given[lane] = 0;
        }
        left = op.payload_bytes - a->given[lane];
        if (left) {
            const struct far_wire_data piece = {
                .sequence = op.sequence,
                .slot = slot,
                .offset_bytes = a->given[lane],
                .bytes = left < most ? left : most,
            };

            rc = far_conn_send_piece(conn, &header, &piece,
                                     payload + piece.offset_bytes);
            if (rc)
                return rc;
            a->given[lane] += piece.bytes;
            return header.bytes;
        }
        header.flags = FAR_WIRE_PIECES;
    }
    if (op.flags & FAR_OP_TIMED)
        far_conn_with_option(conn, FAR_WIRE_OPTION_TIMES, &s->slots[slot].times,
                             sizeof(s->slots[slot].times));
    rc = far_conn_send_op(conn, &header, &op, payload);
    if (rc)
        return rc;
    a->answers &= ~((uint64_t)1 << slot);
    a->given[lane] = 0;
    far_session_told(s, slot);
    return header.bytes;
}

#define ANSWERS_BY(n)                                                         \
    static int64_t send_answer_##n(struct far_fair_item *item)                \
    {                                                                         \
        return send_answer(                                                   \
            (struct far_attachment *)(void *)((char *)item -                  \
                                              offsetof(struct far_attachment, \
                                                       fair[n])),             \
            n);                                                               \
    }
ANSWERS_BY(0)
ANSWERS_BY(1)
ANSWERS_BY(2)

static void stop_answers(struct far_attachment *a)
{
    unsigned i;

    a->answers = 0;
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        far_fair_remove(&a->peer->fair[i], &a->fair[i]);
        a->given[i] = 0;
    }
}

static void user_complete(struct far_session_user *user,
                          const struct far_op *op)
{
    struct far_attachment *a = of_user(user);
    struct far_peer *peer = a->peer;
    unsigned lane;

    want_answer(a, op->slot);
    lane = a->answer_lanes[op->slot];
    if (peer->lanes[lane])
        far_fair_run(&peer->fair[lane]);
}

static void user_state(struct far_session_user *user)
{
    struct far_attachment *a = of_user(user);
    const struct far_session *s = user->session;
    struct far_wire_header header = { .type = FAR_WIRE_STATE,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = a->handle };
    struct far_wire_state state = {
        .state = s->state,
        .incarnation = s->incarnation,
        .device_incarnation = s->device_incarnation,
    };

    memcpy(state.props, s->props, sizeof(state.props));
    if (a->conn)
        far_conn_send(a->conn, &header, &state, sizeof(state), s->reason);
}

static void user_lost(struct far_session_user *user, const char *reason)
{
    struct far_attachment *a = of_user(user);
    struct far_error error = { 0 };
    const struct far_controller *c = a->peer->server->controller;
    int rc = far_controller_may_guest(c, a->origin, a->had, &a->who, &error);

    stop_answers(a);
    a->refused = true;
    a->ended = !rc && !c->choosing;
    answer(a, rc ? rc : -ESTALE, reason);
}

static const struct far_session_user_ops attachment_ops = {
    .interrupt = user_interrupt,
    .complete = user_complete,
    .state = user_state,
    .lost = user_lost,
};

/* Its origin is to sign that: the relay brings it, and may bring it back. */
static void challenge(struct far_attachment *a,
                      const struct far_challenge *what,
                      const struct far_error *why)
{
    struct far_wire_header header = { .type = FAR_WIRE_PREPARED,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = a->handle };
    struct far_wire_prepared p = { .status = -EKEYREJECTED };
    uint8_t value[sizeof(*what)];
    const struct far_wire_value options[] = {
        { FAR_WIRE_OPTION_CHALLENGE,
          (uint16_t)far_challenge_encode(value, sizeof(value), what), value },
        { FAR_WIRE_OPTION_DEVICE, FAR_NAME_BYTES, a->who.device },
    };

    a->refused = false; /* its origin is waited for */
    a->status = -EKEYREJECTED;
    snprintf(a->reason, sizeof(a->reason), "%s", why->text);
    if (a->conn)
        far_conn_send_options(a->conn, &header, &p, sizeof(p), why->text,
                              options, 2);
}

/* Does the origin stand behind what a relay brings? */
static bool vouched(struct far_attachment *a, const struct far_wire_frame *f)
{
    struct far_peer *peer = a->peer;
    const struct far_server *s = peer->server;
    struct far_challenge what;
    struct far_error why = { 0 };

    if (!strcmp(a->origin, peer->platform) ||
        !far_vouch_wanted(s->controller->conf, peer->platform))
        return true;
    if (!a->conn || a->conn->state != FAR_CONN_UP)
        return false; /* it comes again, by a connection that is there */
    if (!a->conn->nonces)
        a->conn->nonces = calloc(1, sizeof(*a->conn->nonces));
    if (!a->conn->nonces) {
        answer(a, -ENOMEM, "out of memory");
        return false;
    }
    if (!far_vouch_check(a->conn->nonces, s->context->trust, &s->keys,
                         s->controller->platform, peer->platform, a->origin,
                         &a->who, f, &what, &why))
        return true;
    challenge(a, &what, &why);
    return false;
}

/* May the peer speak for its guest? */
static bool entrusted(const struct far_attachment *a, struct far_error *error)
{
    return !strcmp(a->origin, a->peer->platform) ||
           !far_way_allowed(a->peer->server->controller->conf,
                            a->peer->platform, a->origin, error);
}

static void prepare(struct far_attachment *a, bool again)
{
    static const struct far_wire_frame unsigned_one;
    struct far_peer *peer = a->peer;
    struct far_error error = { 0 };
    struct far_session *s = NULL;
    bool may = entrusted(a, &error);

    /* It was refused before anybody looked whether it is signed. */
    if (may && !a->vouched && !(a->vouched = vouched(a, &unsigned_one)))
        return;
    if (may)
        s = far_controller_prepare_any(peer->server->controller, a->origin,
                                       &a->who, a->had, &error);
    if (!s) {
        if (again && a->status == error.code && !strcmp(a->reason, error.text))
            return; /* nothing new */
        a->refused = true;
        far_log_limited(peer->server->context->log, &peer->bucket,
                        FAR_LOG_WARNING, "%s asks for %s: refused: %s",
                        a->origin, a->who.device, error.text);
        answer(a, error.code, error.text);
        return;
    }
    a->refused = a->ended = false;
    s->sampler.every = peer->server->context->times_every;
    snprintf(a->had, sizeof(a->had), "%s", s->device);
    far_session_sit(s, &a->user, &a->who, "another attachment has taken it");
    answer(a, 0, NULL);
}

static struct far_attachment *at(struct far_peer *peer, uint32_t handle)
{
    return handle < peer->attachments_room ? peer->attachments[handle] : NULL;
}

static struct far_attachment *make(struct far_peer *peer, uint32_t handle,
                                   struct far_error *error)
{
    struct far_attachment *a;

    if (handle >= FAR_CONN_HANDLES_MAX) {
        far_error(error, -EPROTO, "handle %u, where %d was the limit", handle,
                  FAR_CONN_HANDLES_MAX);
        return NULL;
    }
    if (handle >= peer->attachments_room) {
        uint32_t room = peer->attachments_room ? peer->attachments_room : 16;
        struct far_attachment **more;

        while (room <= handle)
            room *= 2;
        more = realloc(peer->attachments, room * sizeof(*more));
        if (!more) {
            far_error(error, -ENOMEM, "out of memory");
            return NULL;
        }
        memset(more + peer->attachments_room, 0,
               (room - peer->attachments_room) * sizeof(*more));
        peer->attachments = more;
        peer->attachments_room = room;
    }
    a = calloc(1, sizeof(*a));
    if (!a) {
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    a->user.ops = &attachment_ops;
    a->peer = peer;
    a->fair[0].send = send_answer_0;
    a->fair[1].send = send_answer_1;
    a->fair[2].send = send_answer_2;
    a->handle = handle;
    peer->attachments[handle] = a;
    return a;
}

/* The connection is gone; sessions stay for who comes back. */
static void drop_attachments(struct far_peer *peer)
{
    uint32_t i;

    for (i = 0; i < peer->attachments_room; i++) {
        if (peer->attachments[i]) {
            stop_answers(peer->attachments[i]);
            if (peer->attachments[i]->route)
                far_route_end(peer->attachments[i]->route, false);
            far_session_leave(&peer->attachments[i]->user);
            free(peer->attachments[i]);
        }
    }
    free(peer->attachments);
    peer->attachments = NULL;
    peer->attachments_room = 0;
}

/* Frames. */

static int on_prepare(struct far_peer *peer, struct far_conn *conn,
                      const struct far_wire_frame *f, struct far_error *error)
{
    const struct far_wire_prepare *p = &f->prepare;
    const struct far_controller *c = peer->server->controller;
    struct far_attachment *a = at(peer, f->header.handle);
    struct far_address elsewhere;
    struct far_error why = { 0 };
    struct far_way way;

    if (!a)
        a = make(peer, f->header.handle, error);
    if (!a)
        return error->code;
    stop_answers(a);
    far_session_leave(&a->user);
    a->conn = conn;
    if (a->route)
        far_route_end(a->route, false);
    a->route = NULL;
    a->refused = a->ended = false;
    if (far_forwarded(c->conf, p->device, &elsewhere)) {
        if (f->header.bytes > FAR_ROUTE_PREPARE_BYTES) {
            answer(a, -EMSGSIZE, "the request is too long to be passed on");
            return 0;
        }
        a->route = far_route_new(peer->server->context->router, peer, conn, f);
        return a->route ? 0 : far_error(error, -ENOMEM, "out of memory");
    }
    memset(&a->who, 0, sizeof(a->who));
    a->who.attachment = p->attachment;
    memcpy(a->who.guest_uuid, p->guest_uuid, 16);
    memcpy(a->who.generation, p->generation, 16);
    memcpy(a->who.guest_name, p->guest_name, sizeof(a->who.guest_name));
    memcpy(a->who.platform, peer->server->controller->platform,
           sizeof(a->who.platform));
    memcpy(a->who.device, p->device, sizeof(a->who.device));
    a->who.class = p->class;
    a->who.guest_devid = p->guest_devid;
    if (far_way_read(&way, c->conf, c->platform, peer->platform, f, &why) &&
        why.code != -EACCES) {
        far_log_limited(peer->server->context->log, &peer->bucket,
                        FAR_LOG_WARNING, "%s asks for %s: refused: %s",
                        peer->platform, a->who.device, why.text);
        answer(a, why.code, why.text);
        return 0;
    }
    memcpy(a->origin, way.origin, sizeof(a->origin));
    far_any_device(a->had, f);
    a->vouched = false;
    if (entrusted(a, &why) && !(a->vouched = vouched(a, f)))
        return 0;
    prepare(a, false);
    return 0;
}

/* A guest that runs is judged by its own name, whatever it was prepared as. */
static bool may_activate(struct far_attachment *a)
{
    const struct far_session *s = a->user.session;
    struct far_error why = { 0 };

    if (!s ||
        !far_controller_may_activate(a->peer->server->controller, s->platform,
                                     s->device, &s->who, &why))
        return s != NULL;
    far_log_limited(a->peer->server->context->log, &a->peer->bucket,
                    FAR_LOG_WARNING, "%s activates %s: refused: %s", a->origin,
                    a->who.device, why.text);
    stop_answers(a);
    far_session_leave(&a->user);
    a->refused = true; /* asked again when the configuration changes */
    a->status = why.code;
    snprintf(a->reason, sizeof(a->reason), "%s", why.text);
    return false;
}

static void on_activate(struct far_attachment *a, struct far_conn *conn,
                        const struct far_wire_frame *f)
{
    const struct far_wire_activate *want = &f->activate;
    struct far_session *s = a->user.session;
    struct far_wire_header header = { .type = FAR_WIRE_ACTIVATED,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = a->handle };
    struct far_wire_activated answer_body = { 0 };
    uint32_t window = f->header.credit - (uint32_t)want->received;

    a->conn = conn;
    if (!may_activate(a)) {
        answer_body.status = a->status ? a->status : -ENOENT;
        far_conn_send(conn, &header, &answer_body, sizeof(answer_body),
                      a->reason);
        return;
    }
    far_session_activate(
        s, want->incarnation, want->received,
        far_controller_activate(a->peer->server->controller, s));
    answer_body.incarnation = s->incarnation;
    answer_body.epoch = s->epoch;
    answer_body.next = s->sent + 1;
    far_conn_send(conn, &header, &answer_body, sizeof(answer_body), NULL);
    if (s->incarnation == want->incarnation &&
        f->header.acked <= want->received) {
        far_session_ack(s, f->header.acked);
        far_session_grant(s, want->received + window);
    } else {
        far_session_grant(s, s->sent + window);
    }
    far_session_go(s);
}

static int take_credit(struct far_attachment *a, const struct far_wire_frame *f,
                       struct far_error *error)
{
    struct far_session *s = a->user.session;
    int32_t more;

    if (!s || !s->activated)
        return 0;
    if (far_session_ack(s, f->header.acked))
        return far_error(error, -EPROTO,
                         "it acknowledges interrupt %llu of %s, which was "
                         "never sent",
                         (unsigned long long)f->header.acked, a->who.device);
    more = (int32_t)(f->header.credit - (uint32_t)s->sent);
    if (more > 0)
        far_session_grant(s, s->sent + (uint32_t)more);
    return 0;
}

static unsigned lanes_up(const struct far_peer *peer)
{
    unsigned i, n = 0;

    for (i = 0; i < FAR_WIRE_LANES; i++)
        n += peer->lanes[i] != NULL;
    return n;
}

/* An op may have been overtaken, on its lane, by what was said on another: then
 * it belongs to nobody, or will be sent again. It is never held against the
 * peer. What it grants and acknowledges counts only where the attachment was
 * activated. */
static bool is_carried(const struct far_attachment *a)
{
    return strcmp(a->origin, a->peer->platform) != 0;
}

/* What is wrong with it ends the connection; or, if its platform is behind a
 * relay, whose connection is others' too, the attachment. */
static int fault(struct far_attachment *a, int code, struct far_error *error)
{
    if (!code || !a || !is_carried(a))
        return code;
    far_log_limited(a->peer->server->context->log, &a->peer->bucket,
                    FAR_LOG_WARNING, "%s by way of %s: %s: its attachment ends",
                    a->origin, a->peer->platform, error->text);
    stop_answers(a);
    far_session_leave(&a->user);
    a->refused = false;
    a->ended = true;
    answer(a, code, error->text);
    return 0;
}

static int on_op(struct far_peer *peer, struct far_conn *conn,
                 struct far_attachment *a, const struct far_wire_frame *f,
                 struct far_error *error)
{
    int rc = 0;

    if (a && a->conn == conn)
        rc = take_credit(a, f, error);
    if (rc)
        return rc;
    if (!a || !a->user.session || !a->user.session->activated ||
        f->op.attachment != a->who.attachment) {
        peer->stray_ops++;
        return 0;
    }
    a->op_lanes[f->op.slot] = conn->theirs.lane;
    a->user.session->received_ns = conn->received_ns;
    rc = far_session_submit(a->user.session, &f->op, f->payload, conn);
    if (rc)
        return far_error(error, rc,
                         "an op in slot %u of %s that can't be: that slot is "
                         "in use, or its payload is not what it says",
                         f->op.slot, a->who.device);
    return 0;
}

static int on_piece(struct far_peer *peer, struct far_conn *conn,
                    struct far_attachment *a, const struct far_wire_frame *f,
                    struct far_error *error)
{
    int rc;

    if (!a || !a->user.session || !a->user.session->activated) {
        peer->stray_ops++;
        return 0;
    }
    rc = far_session_piece(a->user.session, f->data.slot, f->data.sequence,
                           f->data.offset_bytes, f->payload, f->data.bytes,
                           conn);
    if (rc)
        return far_error(error, rc,
                         "a piece of a payload in slot %u of %s that can't be",
                         f->data.slot, a->who.device);
    return 0;
}

static int peer_frame(struct far_conn *conn, const struct far_wire_frame *f,
                      struct far_error *error)
{
    struct far_peer *peer = conn->owner;
    struct far_attachment *a = at(peer, f->header.handle);

    if (a && a->route && far_route_takes(f))
        return far_route_from_client(a->route, conn, f, error);
    switch (f->header.type) {
    case FAR_WIRE_PREPARE:
        return on_prepare(peer, conn, f, error);
    case FAR_WIRE_NOTIFIED:
        return far_notify_answered(peer->server->context->notifier,
                                   peer->platform, f, error);
    case FAR_WIRE_SUBSCRIBE:
        far_announce_forget(peer);
        peer->subscribed = f->subscribe.classes;
        far_controller_changed(peer->server->controller); /* soon */
        return 0;
    case FAR_WIRE_ERROR:
        return 0; /* about something that it did not know */
    case FAR_WIRE_OP:
        return fault(a, on_op(peer, conn, a, f, error), error);
    case FAR_WIRE_DATA:
        return fault(a, on_piece(peer, conn, a, f, error), error);
    case FAR_WIRE_ACTIVATE:
    case FAR_WIRE_ACK:
    case FAR_WIRE_CANCEL:
    case FAR_WIRE_DETACH:
        break;
    default:
        return far_error(error, -EPROTO, "a frame that only servers send");
    }
    if (!a && lanes_up(peer) > 1)
        return 0; /* the attachment has moved to another lane, and ended */
    if (!a)
        return far_error(error, -EPROTO, "handle %u was never prepared",
                         f->header.handle);
    switch (f->header.type) {
    case FAR_WIRE_ACTIVATE:
        on_activate(a, conn, f);
        return 0;
    case FAR_WIRE_ACK:
        return a->conn == conn ? fault(a, take_credit(a, f, error), error) : 0;
    case FAR_WIRE_CANCEL:
        /* The op's own feedback answers it: nothing that is served yet takes
         * long enough to be stopped half way. */
        return 0;
    default: /* DETACH */
        stop_answers(a);
        if (a->user.session) {
            struct far_session *s = a->user.session;

            far_session_leave(&a->user);
            far_controller_end(peer->server->controller, s, "detached");
        }
        if (a->route)
            far_route_end(a->route, true);
        peer->attachments[f->header.handle] = NULL;
        free(a);
        return 0;
    }
}

static void peer_room(struct far_conn *conn)
{
    struct far_peer *peer = conn->owner;
    uint32_t i;

    for (i = 0; i < peer->attachments_room; i++) {
        struct far_attachment *a = peer->attachments[i];

        if (a && a->conn == conn && a->user.session)
            far_session_pump(a->user.session);
    }
    far_fair_run(&peer->fair[conn->theirs.lane]);
    far_routes_room(peer->server->context->router, peer);
}

/* Peers. */

struct far_conn *far_peer_control(const struct far_peer *peer)
{
    return peer->lanes[lane_of(peer, 0)];
}

/* Bulk has a connection for itself only while the others have one, too. */
static void tune_lanes(struct far_peer *peer)
{
    struct far_conn *control = far_peer_control(peer);
    unsigned i;

    if (peer->control != control) {
        far_notify_ways(peer->server->context->notifier);
        /* What was announced by the former one may be lost. */
        far_announce_forget(peer);
        far_controller_changed(peer->server->controller);
    }
    peer->control = control;
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        struct far_conn *c = peer->lanes[i];

        if (!c)
            continue;
        far_conn_watch(c, c == control);
        far_conn_share(c, i != FAR_WIRE_LANE_BULK || c == control);
    }
}

static void peer_gone(struct far_peer *peer, const char *reason)
{
    far_announce_forget(peer);
    peer->subscribed = 0;
    peer->since_us = far_now_us();
    snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
    drop_attachments(peer);
}

/* A lane is gone. Attachments that were activated there wait for the client to
 * activate them elsewhere; their answers go by other lanes. */
static void lane_gone(struct far_peer *peer, const struct far_conn *conn)
{
    unsigned lane = conn->theirs.lane, slot;
    uint32_t i;

    if (peer->lanes[lane] != conn)
        return;
    peer->lanes[lane] = NULL;
    for (i = 0; i < peer->attachments_room; i++) {
        struct far_attachment *a = peer->attachments[i];

        if (!a)
            continue;
        if (a->conn == conn)
            a->conn = NULL;
        if (a->route)
            far_route_lane_down(a->route, conn);
        far_fair_remove(&peer->fair[lane], &a->fair[lane]);
        for (slot = 0; slot < FAR_WIRE_SLOTS_MAX; slot++) {
            if ((a->answers >> slot & 1) && a->answer_lanes[slot] == lane)
                want_answer(a, slot);
        }
    }
    tune_lanes(peer);
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        if (peer->lanes[i])
            far_fair_run(&peer->fair[i]);
    }
}

static void peer_down(struct far_conn *conn, int code, const char *reason)
{
    struct far_peer *peer = conn->owner;

    lane_gone(peer, conn);
    far_log_limited(
        peer->server->context->log, &peer->bucket,
        code == -ESHUTDOWN ? FAR_LOG_INFO : FAR_LOG_WARNING,
        "platform %s (%s): %s ended: %s", peer->platform, conn->address,
        lanes_up(peer) ? "one of its connections" : "connection", reason);
    if (!lanes_up(peer))
        peer_gone(peer, reason);
    far_conn_free(conn, NULL);
}

static void peer_silent(struct far_conn *conn)
{
    struct far_peer *peer = conn->owner;
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        if (peer->lanes[i] && peer->lanes[i] != conn)
            far_conn_ask(peer->lanes[i]);
    }
}

static const struct far_conn_ops peer_ops = {
    .frame = peer_frame,
    .room = peer_room,
    .silent = peer_silent,
    .down = peer_down,
};

static int no_frame(struct far_conn *conn, const struct far_wire_frame *f,
                    struct far_error *error)
{
    (void)conn;
    (void)f;
    return far_error(error, -EPROTO, "out of turn");
}

static void orphan_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    (void)reason;
    far_conn_free(conn, NULL);
}

/* Of a connection whose place another has taken. */
static const struct far_conn_ops orphan_ops = {
    .frame = no_frame,
    .down = orphan_down,
};

static struct far_peer *find_peer(struct far_server *server,
                                  const char *platform)
{
    struct far_peer *p;

    for (p = server->peers; p; p = p->next) {
        if (!strcmp(p->platform, platform))
            return p;
    }
    p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->server = server;
    snprintf(p->platform, sizeof(p->platform), "%s", platform);
    p->next = server->peers;
    server->peers = p;
    return p;
}

/* Arrivals. */

static void forget_arrival(struct far_arrival *arrival)
{
    struct far_arrival **link = &arrival->server->arrivals;

    while (*link != arrival)
        link = &(*link)->next;
    *link = arrival->next;
    arrival->server->arrival_count--;
    free(arrival);
}

static void throw_out(struct far_peer *peer, struct far_conn *old,
                      const char *why)
{
    old->ops = &orphan_ops;
    old->owner = NULL;
    old->traffic = &peer->server->traffic;
    far_conn_fail(old, -EEXIST, why);
}

/* Connections of the same link are its lanes; those of an older link make
 * room, and so does an older one of the same lane. */
static void make_way(struct far_peer *peer, const struct far_conn *conn)
{
    struct far_conn *old[FAR_WIRE_LANES];
    unsigned i;

    memcpy(old, peer->lanes, sizeof(old));
    if (!memcmp(peer->link, conn->theirs.link, sizeof(peer->link))) {
        struct far_conn *same = peer->lanes[conn->theirs.lane];

        if (same) {
            lane_gone(peer, same);
            throw_out(peer, same, "this lane has a newer connection");
        }
        return;
    }
    memcpy(peer->link, conn->theirs.link, sizeof(peer->link));
    memset(peer->lanes, 0, sizeof(peer->lanes));
    drop_attachments(peer);
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        if (old[i])
            throw_out(peer, old[i],
                      "a newer connection of the same platform has come (do "
                      "two machines have one name?)");
    }
}

/* In clear text nobody has proved a name; it is enough for those that the
 * configuration gives. */
static bool may_be_clear(const struct far_server *server, const char *platform)
{
    return server->section &&
           far_conf_bool(server->section, "clear-text", false) &&
           far_conf_lists(server->section, "clear-text-allow", platform);
}

static int arrival_up(struct far_conn *conn, struct far_error *error)
{
    struct far_arrival *arrival = conn->owner;
    struct far_server *server = arrival->server;
    struct far_peer *peer = find_peer(server, conn->platform);
    char proof[FAR_TLS_PROOF_BYTES];

    if (!peer)
        return far_error(error, -ENOMEM, "out of memory");
    if (conn->theirs.lane >= FAR_WIRE_LANES)
        return far_error(error, -EPROTO, "it wants to be lane %u",
                         conn->theirs.lane);
    if (conn->clear && !may_be_clear(server, conn->platform))
        return far_error(error, -EACCES,
                         "the platform %s is not one that may come in clear "
                         "text ([listen] clear-text-allow)",
                         conn->platform);
    make_way(peer, conn);
    forget_arrival(arrival);
    conn->owner = peer;
    conn->ops = &peer_ops;
    conn->traffic = &peer->traffic;
    far_conn_spin(conn, &server->context->spin);
    if (!lanes_up(peer)) {
        peer->since_us = far_now_us();
        peer->reason[0] = 0;
        peer->reconnects++;
        snprintf(peer->address, sizeof(peer->address), "%s", conn->address);
        far_tls_proof(&conn->tls, proof, sizeof(proof));
        far_log_limited(server->context->log, &peer->bucket, FAR_LOG_INFO,
                        "platform %s: connected from %s, %s", peer->platform,
                        peer->address, proof);
    }
    peer->lanes[conn->theirs.lane] = conn;
    tune_lanes(peer);
    return 0;
}

static void arrival_down(struct far_conn *conn, int code, const char *reason)
{
    struct far_arrival *arrival = conn->owner;
    struct far_server *server = arrival->server;
    char who[4 * FAR_NAME_BYTES];

    (void)code;
    server->rejected++;
    server->distrusted[conn->tls.distrust]++;
    far_escape(who, sizeof(who), conn->tls.identity,
               strlen(conn->tls.identity));
    far_log_limited(server->context->log, &server->bucket, FAR_LOG_WARNING,
                    "connection from %s%s%s turned away: %s", conn->address,
                    who[0] ? ", which says it is " : "", who, reason);
    forget_arrival(arrival);
    far_conn_free(conn, NULL);
}

static const struct far_conn_ops arrival_ops = {
    .up = arrival_up,
    .frame = no_frame,
    .down = arrival_down,
};

/* Who is to go so that another can come: the one that has been waiting the
 * longest, of that host if it has too many places. An honest handshake takes
 * milliseconds; those that hold places for nothing are older. */
static struct far_arrival *in_the_way(const struct far_server *server,
                                      const char *host)
{
    struct far_arrival *a, *oldest = NULL, *oldest_same = NULL;
    unsigned same = 0;

    for (a = server->arrivals; a; a = a->next) {
        oldest = a;
        if (!strcmp(a->host, host)) {
            oldest_same = a;
            same++;
        }
    }
    if (same >= FAR_ARRIVALS_ADDRESS_MAX)
        return oldest_same;
    return server->arrival_count >= FAR_ARRIVALS_MAX ? oldest : NULL;
}

static void turn_away(struct far_arrival *arrival, const char *why)
{
    struct far_server *server = arrival->server;

    server->turned_away++;
    far_log_limited(server->context->log, &server->bucket, FAR_LOG_WARNING,
                    "connection from %s turned away: %s",
                    arrival->conn->address, why);
    far_conn_free(arrival->conn, NULL);
    forget_arrival(arrival);
}

static void host_text(char *out, size_t bytes, const struct sockaddr *address)
{
    struct sockaddr_in6 network;

    if (address->sa_family == AF_INET6) {
        memcpy(&network, address, sizeof(network));
        if (!IN6_IS_ADDR_V4MAPPED(&network.sin6_addr))
            memset(network.sin6_addr.s6_addr + 8, 0, 8);
        address = (const struct sockaddr *)&network;
        far_conn_address_text(out, bytes, address);
    } else {
        far_conn_address_text(out, bytes, address);
    }
    if (strrchr(out, ':'))
        *strrchr(out, ':') = 0;
}

static void let_in(struct far_listener *l, int fd,
                   const struct sockaddr *address)
{
    struct far_server *server = l->server;
    struct far_arrival *arrival;
    struct far_error error = { 0 };
    char host[64];

    host_text(host, sizeof(host), address);
    arrival = in_the_way(server, host);
    if (arrival)
        turn_away(arrival, "it has not shown who it is, and others wait");
    arrival = calloc(1, sizeof(*arrival));
    if (!arrival) {
        close(fd);
        return;
    }
    arrival->server = server;
    snprintf(arrival->host, sizeof(arrival->host), "%s", host);
    arrival->conn = far_conn_accept(
        server->context->loop, &arrival_ops, arrival, &server->traffic,
        &server->context->me, l->clear ? NULL : &server->keys,
        server->context->trust, fd, &error);
    if (!arrival->conn) {
        free(arrival);
        far_log_limited(server->context->log, &server->bucket, FAR_LOG_WARNING,
                        "connection from %s: %s", host, error.text);
        return;
    }
    arrival->next = server->arrivals;
    server->arrivals = arrival;
    server->arrival_count++;
}

/* Listeners. */

static void on_listener(struct far_io *io, uint32_t events)
{
    struct far_listener *l =
        (struct far_listener *)((char *)io - offsetof(struct far_listener, io));
    unsigned i;

    (void)events;
    for (i = 0; i < 16; i++) { /* the rest comes next turn */
        struct sockaddr_storage address;
        socklen_t bytes = sizeof(address);
        int fd = accept4(l->fd, (struct sockaddr *)&address, &bytes,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
                errno == ENOBUFS) {
                /* Level-triggered: without a pause the loop would turn
                 * for nothing. */
                far_log_limited(l->server->context->log, &l->server->bucket,
                                FAR_LOG_WARNING, "accept on %s: %s", l->text,
                                strerror(errno));
                far_io_del(&l->io);
                far_timer_set(&l->retry, far_now_us() + LISTEN_RETRY_US);
            }
            return;
        }
        let_in(l, fd, (struct sockaddr *)&address);
    }
}

static void start_listening(struct far_listener *l)
{
    struct sockaddr_storage got;
    socklen_t bytes = sizeof(got);
    int one = 1, rc = 0;

    if (l->fd < 0) {
        l->fd = socket(l->address.ss_family,
                       SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (l->fd < 0) {
            rc = -errno;
            goto out;
        }
        setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (l->address.ss_family == AF_INET6)
            setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
        if (bind(l->fd, (struct sockaddr *)&l->address, l->address_bytes) ||
            listen(l->fd, 128)) {
            rc = -errno;
            goto out;
        }
        if (!getsockname(l->fd, (struct sockaddr *)&got, &bytes))
            l->port = ntohs(got.ss_family == AF_INET6
                                ? ((struct sockaddr_in6 *)&got)->sin6_port
                                : ((struct sockaddr_in *)&got)->sin_port);
        far_log(l->server->context->log,
                l->clear ? FAR_LOG_WARNING : FAR_LOG_INFO, "listening on %s%s",
                l->text,
                l->clear ? " IN CLEAR TEXT: anybody on the way can read and "
                           "change all of it, and be any platform that "
                           "clear-text-allow names"
                         : "");
    }
    rc = far_io_add(l->server->context->loop, &l->io, l->fd, EPOLLIN,
                    on_listener);
out:
    if (!rc) {
        l->reason[0] = 0;
        return;
    }
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (!l->reason[0])
        far_log(l->server->context->log, FAR_LOG_ERROR,
                "can't listen on %s: %s; trying again each second", l->text,
                strerror(-rc));
    snprintf(l->reason, sizeof(l->reason), "%s", strerror(-rc));
    far_timer_set(&l->retry, far_now_us() + LISTEN_RETRY_US);
}

static void on_listen_retry(struct far_timer *timer)
{
    start_listening(
        (struct far_listener *)((char *)timer -
                                offsetof(struct far_listener, retry)));
}

static void close_listener(struct far_listener *l)
{
    far_timer_cancel(&l->retry);
    far_io_del(&l->io);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

static void want_listener(struct far_server *server, const char *text,
                          bool clear)
{
    struct far_endpoint what;
    struct far_error error = { 0 };
    struct far_listener *l;

    for (l = server->listeners; l; l = l->next) {
        if (!strcmp(l->text, text) && l->clear == clear) {
            l->keep = true;
            return;
        }
    }
    l = calloc(1, sizeof(*l));
    if (!l)
        return;
    l->server = server;
    l->fd = l->io.fd = -1;
    l->keep = true;
    l->clear = clear;
    far_timer_init(&l->retry, server->context->loop, on_listen_retry);
    snprintf(l->text, sizeof(l->text), "%s", text);
    l->next = server->listeners;
    server->listeners = l;
    if (far_endpoint_parse(&what, text, &error) ||
        !far_endpoint_numeric(&what, &l->address, &l->address_bytes)) {
        snprintf(l->reason, sizeof(l->reason), "%.200s",
                 error.text[0] ? error.text
                               : "one listens on a numeric address");
        far_log(server->context->log, FAR_LOG_ERROR, "can't listen on %s: %s",
                text, l->reason);
        return;
    }
    start_listening(l);
}

void far_server_init(struct far_server *server, struct far_context *context,
                     struct far_controller *controller)
{
    memset(server, 0, sizeof(*server));
    server->context = context;
    server->controller = controller;
}

static bool same_key(const struct far_key *a, const struct far_key *b)
{
    return a && b && a->bytes == b->bytes && !memcmp(a->key, b->key, a->bytes);
}

/* Whoever came with a key that is no longer in force goes; so does who has not
 * shown his yet: it may have been looked up already. */
static void replace_keys(struct far_server *server, struct far_keys *keys)
{
    struct far_keys old = server->keys;
    bool same = old.count == keys->count;
    struct far_peer *p;
    unsigned i;

    server->keys = *keys;
    for (i = 0; same && i < old.count; i++)
        same =
            same_key(&old.keys[i], far_keys_find(keys, old.keys[i].identity));
    while (!same && server->arrivals)
        turn_away(server->arrivals, "the keys have changed meanwhile");
    for (p = server->peers; p; p = p->next) {
        const struct far_key *now = far_keys_find(keys, p->platform);

        if (same_key(now, far_keys_find(&old, p->platform)))
            continue;
        for (i = 0; i < FAR_WIRE_LANES; i++) {
            if (p->lanes[i] && !p->lanes[i]->clear &&
                !p->lanes[i]->tls.by_certificate)
                far_conn_fail(p->lanes[i], -EKEYREVOKED,
                              now ? "the key of this platform has changed"
                                  : "the key of this platform was taken away");
        }
    }
    far_keys_free(&old);
}

static void read_keys(struct far_server *server,
                      const struct far_conf_section *section)
{
    const char *file = far_conf_string(section, "psk-file", NULL);
    const struct far_trust *trust = server->context->trust;
    char path[PATH_MAX];
    struct far_keys keys = { 0 };
    struct far_error error = { 0 };

    if (!section) { /* it serves nobody any more */
        server->keys_reason[0] = 0;
        replace_keys(server, &keys);
        return;
    }
    if (file) {
        far_keys_read(&keys, file, &error);
    } else if (!far_trust_path(path, trust->dir, "psk/clients")) {
        far_error(&error, -ENAMETOOLONG, "%s: too long a path", trust->dir);
    } else if (far_keys_read(&keys, path, &error) == -ENOENT) {
        memset(&error, 0, sizeof(error)); /* certificates only */
        if (!far_trust_own(trust) && trust->own_reason[0])
            far_error(&error, -ENOKEY, "%.231s", trust->own_reason);
        else if (!far_trust_own(trust))
            far_error(&error, -ENOKEY,
                      "nobody can be let in: there is neither a certificate "
                      "of ours nor a psk-file (farside trust init)");
    }
    if (error.code) {
        far_log(server->context->log, FAR_LOG_ERROR, "%s", error.text);
        snprintf(server->keys_reason, sizeof(server->keys_reason), "%.231s",
                 error.text);
        return; /* those that we had stay */
    }
    server->keys_reason[0] = 0;
    replace_keys(server, &keys);
}

void far_server_review(struct far_server *server, int64_t now_s)
{
    struct far_arrival *a, *next;
    struct far_error error = { 0 };
    struct far_peer *p;
    unsigned i;

    for (p = server->peers; p; p = p->next) {
        for (i = 0; i < FAR_WIRE_LANES; i++) {
            if (p->lanes[i] &&
                far_tls_judge(&p->lanes[i]->tls, server->context->trust, now_s,
                              &error))
                far_conn_fail(p->lanes[i], -EKEYREVOKED, error.text);
        }
    }
    for (a = server->arrivals; a; a = next) {
        next = a->next;
        /* It may have been judged already, by what was in force then. */
        if (a->conn->tls.trust && a->conn->tls.trust != server->context->trust)
            turn_away(a, "what is trusted has changed meanwhile");
    }
}

/* Who came in clear text, and may no longer. */
static void turn_out_clear(struct far_server *server)
{
    struct far_peer *p;
    unsigned i;

    for (p = server->peers; p; p = p->next) {
        for (i = 0; i < FAR_WIRE_LANES; i++) {
            if (p->lanes[i] && p->lanes[i]->clear &&
                !may_be_clear(server, p->platform))
                far_conn_fail(p->lanes[i], -EACCES,
                              "clear text is no longer allowed");
        }
    }
}

void far_server_configure(struct far_server *server,
                          const struct far_conf_section *section)
{
    const struct far_conf_entry *e = NULL;
    struct far_listener *l, **link = &server->listeners;

    server->section = section;
    read_keys(server, section);
    turn_out_clear(server);
    for (l = server->listeners; l; l = l->next)
        l->keep = false;
    while (section && (e = far_conf_entry(section, "address", e)))
        want_listener(server, e->value, false);
    e = NULL;
    while (section && far_conf_bool(section, "clear-text", false) &&
           (e = far_conf_entry(section, "clear-address", e)))
        want_listener(server, e->value, true);
    while ((l = *link)) {
        if (l->keep) {
            link = &l->next;
            continue;
        }
        *link = l->next;
        far_log(server->context->log, FAR_LOG_INFO, "no longer listening on %s",
                l->text);
        close_listener(l);
    }
}

void far_server_retry(struct far_server *server)
{
    struct far_error error;
    struct far_peer *p;
    uint32_t i;

    for (p = server->peers; p; p = p->next) {
        for (i = 0; i < p->attachments_room; i++) {
            struct far_attachment *a = p->attachments[i];

            if (!a || a->route)
                continue;
            if (a->user.session && !entrusted(a, &error)) {
                far_session_leave(&a->user);
                a->refused = true;
            }
            if (a->refused && !a->ended)
                prepare(a, true);
        }
    }
}

struct far_conn *far_server_conn(const struct far_server *server,
                                 const char *platform)
{
    const struct far_peer *p;

    for (p = server->peers; p; p = p->next) {
        if (!strcmp(p->platform, platform))
            return far_peer_control(p);
    }
    return NULL;
}

void far_server_announce(struct far_server *server)
{
    struct far_peer *p;

    for (p = server->peers; p; p = p->next)
        far_announce(p);
}

void far_server_free(struct far_server *server)
{
    while (server->listeners) {
        struct far_listener *l = server->listeners;

        server->listeners = l->next;
        close_listener(l);
    }
    while (server->arrivals) {
        far_conn_free(server->arrivals->conn, NULL);
        forget_arrival(server->arrivals);
    }
    while (server->peers) {
        struct far_peer *p = server->peers;

        for (unsigned i = 0; i < FAR_WIRE_LANES; i++)
            far_conn_free(p->lanes[i], "farside-netproxy ends");
        far_announce_forget(p);
        drop_attachments(p);
        server->peers = p->next;
        free(p);
    }
    far_keys_free(&server->keys);
}
