/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Devices that are far away (netproxy/remote.h).
 *
 * Interrupts come numbered without gaps. `received` counts what went up or
 * stands in `waiting`; the owner may send up to `granted`, which never is more
 * than `waiting` has room for. Before the answer to an ACTIVATE is here,
 * what comes belongs to an older activation and is not looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/any.h"
#include "core/clock.h"
#include "core/usdt.h"
#include "core/input.h"
#include "netproxy/choice.h"
#include "netproxy/remote.h"
#include "netproxy/vouch.h"

#define ACK_EVERY (FAR_REMOTE_WINDOW / 2)

static struct far_remote *of_layer(struct far_layer *layer)
{
    return (struct far_remote *)layer;
}

static void tell_owner(struct far_remote *r, uint8_t type, const void *fixed,
                       size_t bytes)
{
    struct far_wire_header header = { .type = type,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = r->handle };

    if (type == FAR_WIRE_ACTIVATE || type == FAR_WIRE_ACK) {
        r->granted = r->received - r->waiting_count + FAR_REMOTE_WINDOW;
        header.credit = (uint32_t)r->granted;
        header.acked = r->acked;
        r->acked_told = r->acked;
    }
    if (r->conn)
        far_conn_send(r->conn, &header, fixed, bytes, NULL);
}

const char *far_remote_reason(const struct far_remote *r)
{
    if (!far_link_is_up(r->link))
        return r->link->reason;
    return r->reason;
}

const char *far_remote_state_name(const struct far_remote *r)
{
    switch (r->phase) {
    case FAR_REMOTE_IDLE:
        return "link down";
    case FAR_REMOTE_PREPARING:
        return "preparing";
    case FAR_REMOTE_REFUSED:
        return "refused";
    case FAR_REMOTE_PREPARED:
        return "prepared";
    case FAR_REMOTE_ACTIVATING:
        return "activating";
    case FAR_REMOTE_ACTIVE:
        return r->state == FAR_DEVICE_READY ? "ready" : "gone";
    }
    return "?";
}

/* Says upwards what is so now, if it is news. */
static void tell(struct far_remote *r)
{
    char reason[FAR_WIRE_TEXT_BYTES];
    struct far_layer_news news = { .incarnation = r->incarnation,
                                   .device_incarnation = r->device_incarnation,
                                   .reason = reason,
                                   .exclusive = r->exclusive,
                                   .leased = r->leased };
    enum far_device_state state =
        r->phase == FAR_REMOTE_ACTIVE ? r->state : FAR_DEVICE_GONE;
    const char *why = far_remote_reason(r);

    if (r->moving)
        return;
    reason[0] = 0;
    if (!far_link_is_up(r->link))
        snprintf(reason, sizeof(reason), "the link to %s is down: %.140s",
                 r->link->name, why[0] ? why : "connecting");
    else if (r->phase == FAR_REMOTE_REFUSED || state == FAR_DEVICE_GONE)
        snprintf(reason, sizeof(reason), "%s: %.160s", r->link->name,
                 why[0] ? why : "attaching");
    if (r->parked || !r->layer.above)
        return;
    memcpy(news.props, r->props, sizeof(news.props));
    if (r->told && state == r->told_state &&
        (state == FAR_DEVICE_GONE
             ? !strcmp(reason, r->told_reason)
             : r->told_incarnation == r->incarnation &&
                   r->told_device_incarnation == r->device_incarnation &&
                   !memcmp(r->told_props, r->props, sizeof(r->props))))
        return;
    r->told = true;
    r->told_state = state;
    r->told_incarnation = r->incarnation;
    r->told_device_incarnation = r->device_incarnation;
    memcpy(r->told_props, r->props, sizeof(r->props));
    memcpy(r->told_reason, reason, sizeof(reason));
    far_layer_state(r->layer.above, state, &news);
}

static void prepare(struct far_remote *r)
{
    struct far_wire_prepare p = {
        .attachment = r->who.attachment,
        .class = r->who.class,
        .guest_devid = r->who.guest_devid,
    };
    const struct far_wire_limits limits = {
        .slots = FAR_WIRE_SLOTS_MAX,
        .payload_bytes = far_class_payload_bytes((enum far_class)r->who.class),
    };
    const struct far_wire_value limits_option = { FAR_WIRE_OPTION_LIMITS,
                                                  sizeof(limits), &limits };
    const struct far_wire_value signature = { FAR_WIRE_OPTION_SIGNATURE,
                                              r->signature_bytes,
                                              r->signature };
    struct far_wire_value options[3];
    unsigned count = 0;
    struct far_wire_header header = { .type = FAR_WIRE_PREPARE,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = r->handle };

    memcpy(p.guest_uuid, r->who.guest_uuid, 16);
    memcpy(p.generation, r->who.generation, 16);
    memcpy(p.guest_name, r->who.guest_name, sizeof(p.guest_name));
    memcpy(p.device, r->who.device, sizeof(p.device));
    r->conn = r->link->control;
    r->phase = FAR_REMOTE_PREPARING;
    r->unanswered = 0;
    r->reason[0] = 0;
    if (limits.payload_bytes)
        options[count++] = limits_option;
    if (r->signature_bytes)
        options[count++] = signature;
    r->signature_bytes = 0; /* it is good once */
    if (r->chosen[0])
        options[count++] =
            (struct far_wire_value){ FAR_WIRE_OPTION_DEVICE, sizeof(r->chosen),
                                     r->chosen };
    if (r->conn)
        far_conn_send_options(r->conn, &header, &p, sizeof(p), NULL, options,
                              count);
}

/* The owner wants our signature, because a relay stands between. */
static bool vouch(struct far_remote *r, const struct far_wire_frame *f)
{
    const struct far_context *c = r->link->context;
    struct far_error error = { 0 };
    int n;

    /* Any other refusal comes between: it may be another owner's process by
     * now, or another way. */
    if (f->prepared.status != -EKEYREJECTED) {
        r->vouched = 0;
        return false;
    }
    far_timer_set(&r->vouch_again, far_now_us() + FAR_VOUCH_PAUSE_US);
    if (r->vouched >= FAR_VOUCH_TRIES)
        return false;
    n = far_vouch_sign(c->trust, c->me.platform, r->link->section, &r->who, f,
                       r->signature, sizeof(r->signature), &error);
    if (n <= 0) {
        snprintf(r->reason, sizeof(r->reason), "%s", error.text);
        return false;
    }
    far_timer_cancel(&r->vouch_again);
    r->signature_bytes = (uint16_t)n;
    r->vouched++;
    prepare(r);
    return true;
}

/* Keys may have been mended meanwhile, here or there. */
static void on_vouch_again(struct far_timer *timer)
{
    struct far_remote *r =
        (struct far_remote *)((char *)timer -
                              offsetof(struct far_remote, vouch_again));

    if (r->phase != FAR_REMOTE_REFUSED || !far_link_is_up(r->link))
        return;
    r->vouched = FAR_VOUCH_TRIES - 1;
    prepare(r);
}

static void activate(struct far_remote *r)
{
    struct far_wire_activate a = { .incarnation = r->incarnation,
                                   .received = r->received };

    r->phase = FAR_REMOTE_ACTIVATING;
    r->unanswered++;
    tell_owner(r, FAR_WIRE_ACTIVATE, &a, sizeof(a));
}

/* Up goes what waits. */
static void drain(struct far_remote *r)
{
    if (r->draining)
        return;
    r->draining = true;
    while (r->waiting_count && !r->blocked && !r->parked) {
        struct far_op *op = &r->waiting[r->waiting_first];

        if (!far_layer_interrupt(r->layer.above, op)) {
            r->blocked = true;
            break;
        }
        r->waiting_first = (r->waiting_first + 1) % FAR_REMOTE_WINDOW;
        r->waiting_count--;
    }
    r->draining = false;
}

/* Half of the window is used up, or that many were acknowledged. */
static void maybe_ack(struct far_remote *r)
{
    if (r->phase != FAR_REMOTE_ACTIVE)
        return;
    if (r->granted - (r->received - r->waiting_count) <= ACK_EVERY ||
        r->acked - r->acked_told >= ACK_EVERY) {
        r->acks_due = true;
        far_link_want_acks(r->link, true);
    } else if (r->acked != r->acked_told && !r->acks_due) {
        r->acks_due = true;
        far_link_want_acks(r->link, r->layer.prompt_acks);
    }
}

void far_remote_send_acks(struct far_remote *r)
{
    if (!r->acks_due || r->phase != FAR_REMOTE_ACTIVE)
        return;
    r->acks_due = false;
    tell_owner(r, FAR_WIRE_ACK, NULL, 0);
}

static void translate(struct far_remote *r, struct far_input_event *e)
{
    int64_t us = (int64_t)e->time_us + far_conn_offset_ns(r->conn) / 1000;

    if (e->time_us)
        e->time_us = us > 0 ? (uint64_t)us : 1;
}

static int interrupt(struct far_remote *r, const struct far_wire_frame *f,
                     struct far_error *error)
{
    struct far_op op = f->op;

    if (r->phase != FAR_REMOTE_ACTIVE || r->parked)
        return 0;
    if (op.sequence <= r->received) {
        r->repeated++;
        return 0;
    }
    /* Above, nobody knows yet in which numbering it counts. */
    if (!r->stated)
        return far_error(error, -EPROTO,
                         "an interrupt of %s comes before its state",
                         r->who.device);
    if (op.sequence != r->received + 1)
        return far_error(error, -EPROTO,
                         "interrupt %llu comes after %llu of %s",
                         (unsigned long long)op.sequence,
                         (unsigned long long)r->received, r->who.device);
    if (r->waiting_count == FAR_REMOTE_WINDOW)
        return far_error(error, -EPROTO, "more interrupts than it may send");
    r->received++;
    if (op.opcode == FAR_INPUT_EVENT) {
        struct far_input_event e;

        memcpy(&e, op.args, sizeof(e));
        if (r->who.class != FAR_CLASS_INPUT || !far_input_event_valid(&e)) {
            r->invalid++;
            maybe_ack(r);
            return 0;
        }
        translate(r, &e);
        memcpy(op.args, &e, sizeof(e));
    }
    op.attachment = r->who.attachment;
    op.payload_bytes = 0;
    far_times_interrupt(&r->times, f);
    far_hist_add(&r->wire, far_conn_wire_ns(r->conn, f->header.time_ns));
    if (r->blocked || r->waiting_count || r->draining ||
        !far_layer_interrupt(r->layer.above, &op)) {
        r->waiting[(r->waiting_first + r->waiting_count) % FAR_REMOTE_WINDOW] =
            op;
        r->waiting_count++;
        if (!r->draining)
            r->blocked = true;
    }
    far_hist_add(&r->deliver, far_now_ns() - r->conn->received_ns);
    maybe_ack(r);
    return 0;
}

static void set_prompt(struct far_remote *r, bool prompt)
{
    struct far_layer *l;

    for (l = &r->layer; l; l = l->above)
        l->prompt_acks |= prompt;
}

/* ---- ops ---- */

static void complete(struct far_remote *r, const struct far_op *op)
{
    uint64_t bit = (uint64_t)1 << op->slot;

    r->busy &= ~bit;
    r->unsent &= ~bit;
    r->sent &= ~bit;
    r->repeats &= ~bit;
    if (!r->parked)
        far_layer_complete(r->layer.above, op);
}

/* Of those that may be sent now, in the order in which they were submitted;
 * FAR_OP_SLOTS_MAX: none. */
static unsigned next_slot(const struct far_remote *r)
{
    uint64_t left = r->repeats ? r->repeats & r->unsent : r->unsent;
    unsigned best = FAR_OP_SLOTS_MAX;

    for (; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);

        if (best == FAR_OP_SLOTS_MAX ||
            r->slots[slot].order < r->slots[best].order)
            best = slot;
    }
    return best;
}

/* Ops wait for their turn among those of other attachments. */
static void send_ops(struct far_remote *r)
{
    struct far_lane *lane = far_link_lane(r->link, r->who.class);

    if (!r->unsent || r->phase != FAR_REMOTE_ACTIVE || !lane)
        return;
    /* Of a stream, none may overtake another on a lane that has come back; nor
     * may the rest of a payload go another way than its beginning. */
    if (r->lane && r->lane != lane && far_lane_is_up(r->lane) &&
        (r->giving || (r->who.class != FAR_CLASS_BLOCK &&
                       far_remote_waits(r, r->lane->number))))
        lane = r->lane;
    if (r->lane && r->lane != lane)
        far_fair_remove(&r->lane->fair, &r->fair);
    r->lane = lane;
    far_fair_add(&lane->fair, &r->fair);
    far_fair_run(&lane->fair);
}

static void stop_sending(struct far_remote *r)
{
    if (r->lane)
        far_fair_remove(&r->lane->fair, &r->fair);
    r->giving = false;
}

/* Its bytes, or what far_conn_send_piece() says. */
static int64_t send_piece(struct far_remote *r, unsigned number,
                          struct far_wire_header *header)
{
    struct far_remote_slot *slot = &r->slots[number];
    uint32_t most = far_conn_piece_bytes(r->lane->conn);
    const struct far_wire_data piece = {
        .sequence = r->ops[number].sequence,
        .slot = number,
        .offset_bytes = slot->given,
        .bytes = r->ops[number].payload_bytes - slot->given < most
                     ? r->ops[number].payload_bytes - slot->given
                     : most,
    };
    int rc = far_conn_send_piece(r->lane->conn, header, &piece,
                                 (const uint8_t *)slot->payload + slot->given);

    if (rc)
        return rc;
    slot->given += piece.bytes;
    r->giving = true;
    return header->bytes;
}

static int64_t send_next(struct far_fair_item *item)
{
    struct far_remote *r =
        (struct far_remote *)((char *)item - offsetof(struct far_remote, fair));
    struct far_wire_header header = { .type = FAR_WIRE_OP,
                                      .lane = r->lane->number,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = r->handle,
                                      .credit = (uint32_t)r->granted,
                                      .acked = r->acked };
    unsigned number = next_slot(r);
    const struct far_op *op;
    uint64_t bit;
    int rc;

    if (r->phase != FAR_REMOTE_ACTIVE || number == FAR_OP_SLOTS_MAX ||
        (unsigned)__builtin_popcountll(r->busy & ~r->unsent) >= r->slots_max)
        return 0;
    op = &r->ops[number];
    if ((op->flags & FAR_OP_SENDS) &&
        op->payload_bytes > far_conn_piece_bytes(r->lane->conn)) {
        if (r->slots[number].given < op->payload_bytes)
            return send_piece(r, number, &header);
        header.flags = FAR_WIRE_PIECES;
    }
    rc = far_conn_send_op(r->lane->conn, &header, op, r->slots[number].payload);
    if (rc)
        return rc;
    far_times_sent(r->times, op, header.time_ns);
    bit = (uint64_t)1 << number;
    r->giving = false;
    r->unsent &= ~bit;
    r->sent |= bit;
    r->slots[number].lane = r->lane->number;
    return header.bytes;
}

/* Longer than this owner takes: a device that moved to another one. */
static void refuse_long(struct far_remote *r)
{
    uint64_t left = r->unsent;

    for (; left; left &= left - 1) {
        struct far_op op = r->ops[__builtin_ctzll(left)];

        if (op.payload_bytes <= r->slot_bytes)
            continue;
        op.status = -EMSGSIZE;
        op.payload_bytes = 0;
        complete(r, &op);
    }
}

/* The owner may have had them, or not; it may be another process than that
 * which had them. */
static void resend_ops(struct far_remote *r)
{
    uint64_t left;

    r->unsent = r->busy;
    r->repeats = r->busy & r->sent;
    for (left = r->busy; left; left &= left - 1)
        r->slots[__builtin_ctzll(left)].given = 0;
    for (left = r->repeats; left; left &= left - 1)
        r->ops[__builtin_ctzll(left)].flags |= FAR_OP_REPEAT;
    refuse_long(r);
    send_ops(r);
}

bool far_remote_waits(const struct far_remote *r, uint8_t lane)
{
    uint64_t left = r->busy & ~r->unsent;

    for (; left; left &= left - 1) {
        if (r->slots[__builtin_ctzll(left)].lane == lane)
            return true;
    }
    return false;
}

/* The session there is the same, and knows by slot and sequence which it has
 * had: they are no repeats after a loss, but go before anything new as such. */
unsigned far_remote_lane_down(struct far_remote *r, struct far_lane *lane,
                              const struct far_conn *conn)
{
    uint64_t left = r->busy;
    unsigned moved = 0;

    if (r->conn == conn)
        r->conn = NULL;
    for (; left; left &= left - 1) {
        unsigned number = (unsigned)__builtin_ctzll(left);
        uint64_t bit = (uint64_t)1 << number;

        if (r->unsent & bit) {
            if (r->lane == lane)
                r->slots[number].given = 0;
        } else if (r->slots[number].lane == lane->number) {
            r->slots[number].given = 0;
            r->unsent |= bit;
            r->repeats |= bit;
            moved++;
        }
    }
    if (r->lane == lane) {
        stop_sending(r);
        r->lane = NULL;
    }
    send_ops(r);
    return moved;
}

static int activated(struct far_remote *r, const struct far_wire_frame *f,
                     struct far_error *error)
{
    const struct far_wire_activated *a = &f->activated;

    if (!r->unanswered)
        return far_error(error, -EPROTO, "an activated that nobody asked for");
    if (--r->unanswered || r->phase != FAR_REMOTE_ACTIVATING)
        return 0; /* of an older activation */
    if (a->status) {
        r->phase = FAR_REMOTE_REFUSED;
        r->moving = false;
        memcpy(r->reason, f->text, sizeof(r->reason));
        tell(r);
        return 0;
    }
    if (a->incarnation != r->incarnation) {
        /* A new numbering: what still waits here was numbered in the old one,
         * and nobody could say later whether it had arrived. */
        r->lost += r->waiting_count;
        r->waiting_count = 0;
        r->incarnation = a->incarnation;
        r->received = a->next - 1;
        r->acked = r->acked_told = r->received;
        r->granted = r->received + FAR_REMOTE_WINDOW; /* of our ACTIVATE */
    } else if (a->next > r->received + 1) {
        r->lost += a->next - 1 - r->received;
        r->received = a->next - 1;
    } else if (a->next <= r->received) {
        return far_error(error, -EPROTO, "it does not go on where we are");
    }
    r->epoch = a->epoch;
    r->phase = FAR_REMOTE_ACTIVE;
    r->state = FAR_DEVICE_GONE; /* until its state comes, next */
    r->stated = false;
    snprintf(r->reason, sizeof(r->reason), "attached");
    resend_ops(r);
    return 0;
}

static bool is_asked(const struct far_remote *r, uint32_t slot,
                     uint64_t sequence)
{
    return (r->busy & (uint64_t)1 << slot) && r->ops[slot].sequence == sequence;
}

/* How much may come with the answer. */
static uint32_t room_of(const struct far_op *asked)
{
    return asked->flags & FAR_OP_RECEIVES ? asked->payload_bytes : 0;
}

static int feedback(struct far_remote *r, const struct far_conn *conn,
                    const struct far_wire_frame *f, struct far_error *error)
{
    struct far_op done = f->op;
    struct far_remote_slot *slot;
    struct far_op *asked;

    /* A second answer, to what was sent twice; or of another one that had this
     * handle before. */
    if (!is_asked(r, done.slot, done.sequence) ||
        done.attachment != r->who.attachment ||
        r->ops[done.slot].opcode != done.opcode) {
        r->stray_feedbacks++;
        return 0;
    }
    asked = &r->ops[done.slot];
    slot = &r->slots[done.slot];
    if (!(done.flags & FAR_OP_RECEIVES) || done.status)
        done.payload_bytes = 0;
    if (done.payload_bytes > room_of(asked))
        return far_error(error, -EPROTO,
                         "an answer with %u bytes of payload, where %u were "
                         "asked for of %s",
                         done.payload_bytes, room_of(asked), r->who.device);
    if (done.payload_bytes && !f->payload && slot->source &&
        slot->source != conn) {
        r->stray_feedbacks++; /* another connection is bringing it as well */
        return 0;
    }
    if (done.payload_bytes && f->payload)
        memcpy(slot->payload, f->payload, done.payload_bytes);
    else if (done.payload_bytes &&
             (slot->source != conn || slot->received != done.payload_bytes))
        return far_error(error, -EPROTO,
                         "an answer of %s without all of its payload",
                         r->who.device);
    far_times_answered(r->times, conn, f);
    done.attachment = r->who.attachment;
    done.flags = asked->flags;
    complete(r, &done);
    send_ops(r);
    return 0;
}

/* A piece of an answer's payload. */
static int piece(struct far_remote *r, const struct far_conn *conn,
                 const struct far_wire_frame *f, struct far_error *error)
{
    const struct far_wire_data *d = &f->data;
    struct far_remote_slot *slot;

    if (!is_asked(r, d->slot, d->sequence)) {
        r->stray_feedbacks++;
        return 0;
    }
    slot = &r->slots[d->slot];
    if (d->offset_bytes == 0) {
        slot->source = conn;
        slot->received = 0;
    }
    if (slot->source != conn) /* another one brings it as well */
        return 0;
    if (slot->received != d->offset_bytes ||
        d->bytes > room_of(&r->ops[d->slot]) - slot->received)
        return far_error(error, -EPROTO,
                         "a piece of a payload that %s was not asked for",
                         r->who.device);
    memcpy((uint8_t *)slot->payload + slot->received, f->payload, d->bytes);
    slot->received += d->bytes;
    return 0;
}

static void bury(struct far_remote *r)
{
    far_timer_cancel(&r->expiry);
    far_timer_cancel(&r->vouch_again);
    stop_sending(r);
    if (r->detached && r->parked)
        r->link->gone--;
    far_link_remove(r->link, r->handle);
    free(r->ops);
    far_times_free(r->times);
    free(r->slots);
    free(r);
}

/* Of one that is only there for the owner to be told. Its handle is free for
 * others only when all its questions are answered: an answer must not be taken
 * for another's. */
static void last_words(struct far_remote *r, const struct far_wire_frame *f)
{
    if (f->header.type == FAR_WIRE_PREPARED && r->phase == FAR_REMOTE_PREPARING)
        r->phase = FAR_REMOTE_PREPARED;
    else if (f->header.type == FAR_WIRE_ACTIVATED && r->unanswered)
        r->unanswered--;
    else
        return;
    if (r->phase == FAR_REMOTE_PREPARING || r->unanswered)
        return;
    tell_owner(r, FAR_WIRE_DETACH, NULL, 0);
    bury(r);
}

static void take_limits(struct far_remote *r, const struct far_wire_frame *f)
{
    struct far_wire_limits limits = { 0 };
    size_t bytes;
    const uint8_t *value = far_wire_option(f, FAR_WIRE_OPTION_LIMITS, &bytes);

    if (value && bytes >= sizeof(limits))
        memcpy(&limits, value, sizeof(limits));
    r->slot_bytes = limits.payload_bytes;
    r->slots_max = limits.slots && limits.slots < FAR_WIRE_SLOTS_MAX
                       ? limits.slots
                       : FAR_WIRE_SLOTS_MAX;
    r->limits_known = true;
}

int far_remote_frame(struct far_remote *r, struct far_conn *conn,
                     const struct far_wire_frame *f, struct far_error *error)
{
    /* Only answers of ops may come by another lane. */
    if (conn != r->conn && f->header.type != FAR_WIRE_FEEDBACK &&
        f->header.type != FAR_WIRE_DATA) {
        r->elsewhere++;
        return 0;
    }
    if (r->detached && r->parked) {
        last_words(r, f);
        return 0;
    }
    switch (f->header.type) {
    case FAR_WIRE_INTERRUPT:
        return interrupt(r, f, error);
    case FAR_WIRE_PREPARED:
        if (f->prepared.status) {
            r->reason[0] = 0;
            if (vouch(r, f))
                return 0;
            r->moving = false;
            r->phase = FAR_REMOTE_REFUSED;
            if (!r->reason[0])
                memcpy(r->reason, f->text, sizeof(r->reason));
        } else {
            r->vouched = 0;
            take_limits(r, f);
            if (far_any_is(r->who.device))
                far_any_device(r->chosen, f);
            memcpy(r->props, f->prepared.props, sizeof(r->props));
            r->device_incarnation = f->prepared.device_incarnation;
            set_prompt(r, f->prepared.flags & FAR_WIRE_PROMPT_ACKS);
            r->exclusive = f->prepared.flags & FAR_WIRE_EXCLUSIVE;
            r->leased = f->prepared.flags & FAR_WIRE_LEASED;
            r->phase = FAR_REMOTE_PREPARED;
            r->reason[0] = 0;
            if (r->wanted)
                activate(r);
            else
                snprintf(r->reason, sizeof(r->reason),
                         "attached; the guest's front is not there yet");
            r->moving &= r->wanted;
        }
        tell(r);
        return 0;
    case FAR_WIRE_ACTIVATED:
        return activated(r, f, error);
    case FAR_WIRE_STATE:
        if (r->phase != FAR_REMOTE_ACTIVE)
            return 0;
        r->moving = false;
        r->state = f->state.state ? FAR_DEVICE_READY : FAR_DEVICE_GONE;
        r->stated = true;
        r->device_incarnation = f->state.device_incarnation;
        memcpy(r->props, f->state.props, sizeof(r->props));
        memcpy(r->reason, f->text, sizeof(r->reason));
        tell(r);
        return 0;
    case FAR_WIRE_FEEDBACK:
        return feedback(r, conn, f, error);
    case FAR_WIRE_DATA:
        return piece(r, conn, f, error);
    case FAR_WIRE_ACK: /* credit for ops: none is counted yet */
        return 0;
    case FAR_WIRE_ERROR:
        if (f->error.about == FAR_WIRE_ACTIVATE ||
            f->error.about == FAR_WIRE_PREPARE) {
            r->moving = false;
            r->phase = FAR_REMOTE_REFUSED;
            memcpy(r->reason, f->text, sizeof(r->reason));
            tell(r);
        }
        return 0;
    default:
        return far_error(error, -EPROTO, "a frame that only clients send");
    }
}

void far_remote_link_up(struct far_remote *r)
{
    r->moving |= r->phase == FAR_REMOTE_ACTIVE;
    r->acks_due = false;
    stop_sending(r);
    r->vouched = 0;
    prepare(r);
    tell(r);
}

void far_remote_link_down(struct far_remote *r)
{
    r->phase = FAR_REMOTE_IDLE;
    r->conn = NULL;
    r->moving = false;
    stop_sending(r);
    r->state = FAR_DEVICE_GONE;
    r->acks_due = false;
    r->unanswered = 0;
    tell(r);
}

/* The layer. */

static int need_slots(struct far_remote *r)
{
    if (!r->ops)
        r->ops = calloc(FAR_OP_SLOTS_MAX, sizeof(*r->ops));
    if (!r->slots)
        r->slots = calloc(FAR_OP_SLOTS_MAX, sizeof(*r->slots));
    return r->ops && r->slots ? 0 : -ENOMEM;
}

static enum far_verdict remote_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    struct far_remote *r = of_layer(layer);
    uint64_t bit;

    if (op->slot >= FAR_OP_SLOTS_MAX || (op->payload_bytes && !payload))
        op->status = -EINVAL;
    else if (op->payload_bytes > r->slot_bytes && r->limits_known)
        op->status = -EMSGSIZE;
    else
        op->status = need_slots(r);
    if (op->status) {
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    bit = (uint64_t)1 << op->slot;
    if (r->busy & bit)
        return FAR_FULL;
    r->ops[op->slot] = *op;
    r->slots[op->slot] =
        (struct far_remote_slot){ .payload = payload, .order = ++r->order };
    r->busy |= bit;
    r->unsent |= bit;
    far_times_given(&r->times, op);
    send_ops(r);
    return FAR_LATER;
}

static void remote_activate(struct far_layer *layer, uint64_t incarnation,
                            uint64_t received)
{
    struct far_remote *r = of_layer(layer);

    if (!r->wanted) {
        r->wanted = true;
        /* What the guest has is the truth; where this process got to with a
         * predecessor of the layer above is not. */
        r->waiting_count = 0;
        r->incarnation = incarnation;
        r->received = received;
        r->acked = r->acked_told = received;
        if (r->phase == FAR_REMOTE_PREPARED)
            activate(r);
    }
    r->blocked = false;
    r->told = false;
    tell(r);
    drain(r);
}

static void remote_ack(struct far_layer *layer, uint64_t sequence)
{
    struct far_remote *r = of_layer(layer);

    /* While a new numbering is under way, one of the old may come. */
    if (sequence <= r->acked || sequence > r->received - r->waiting_count)
        return;
    r->acked = sequence;
    maybe_ack(r);
}

static void remote_resume(struct far_layer *layer)
{
    struct far_remote *r = of_layer(layer);

    r->blocked = false;
    drain(r);
    maybe_ack(r);
}

static void on_expiry(struct far_timer *timer)
{
    struct far_remote *r =
        (struct far_remote *)((char *)timer -
                              offsetof(struct far_remote, expiry));

    if (r->phase != FAR_REMOTE_IDLE)
        tell_owner(r, FAR_WIRE_DETACH, NULL, 0);
    bury(r);
}

static void remote_close(struct far_layer *layer)
{
    struct far_remote *r = of_layer(layer);
    bool told = r->phase != FAR_REMOTE_IDLE &&
                r->phase != FAR_REMOTE_PREPARING && !r->unanswered;

    r->layer.above = NULL;
    if (r->detached && told)
        tell_owner(r, FAR_WIRE_DETACH, NULL, 0);
    if (r->detached && (told || r->link->gone >= FAR_REMOTE_GONE_MAX)) {
        bury(r);
        return;
    }
    /* The successor goes on with it; or it is detached, and tells the owner as
     * soon as that can be reached. After that long that one has forgotten. */
    r->parked = true;
    r->link->gone += r->detached;
    r->wanted = false;
    r->told = false;
    r->acks_due = false;
    r->waiting_count = 0;
    r->busy = r->unsent = r->sent = r->repeats = 0; /* the successor repeats */
    stop_sending(r);
    far_timer_set(&r->expiry, far_now_us() + FAR_REMOTE_KEEP_US);
}

static const struct far_stages *remote_stages(const struct far_layer *layer)
{
    return far_times_stages(((const struct far_remote *)layer)->times);
}

static const struct far_layer_ops remote_ops = {
    .name = "remote",
    .submit = remote_submit,
    .activate = remote_activate,
    .ack = remote_ack,
    .resume = remote_resume,
    .stages = remote_stages,
    .close = remote_close,
};

static bool same_user(const struct far_local_who *a,
                      const struct far_local_who *b)
{
    return a->guest_devid == b->guest_devid && a->class == b->class &&
           !memcmp(a->guest_uuid, b->guest_uuid, 16) &&
           !memcmp(a->generation, b->generation, 16) &&
           !strcmp(a->device, b->device);
}

int far_remote_open(struct far_link *link, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    struct far_remote *r = NULL;
    uint32_t i;

    for (i = 1; i < link->remotes_room && !r; i++) {
        if (link->remotes[i] && link->remotes[i]->parked &&
            same_user(&link->remotes[i]->who, who))
            r = link->remotes[i];
    }
    if (r) {
        far_timer_cancel(&r->expiry);
        link->gone -= r->detached; /* attached anew: nothing to be told */
        r->detached = false;
        r->parked = false;
        r->blocked = false;
    } else {
        r = calloc(1, sizeof(*r));
        if (!r)
            return far_error(error, -ENOMEM, "out of memory");
        r->layer.ops = &remote_ops;
        r->fair.send = send_next;
        r->slots_max = FAR_WIRE_SLOTS_MAX;
        r->link = link;
        far_timer_init(&r->expiry, link->context->loop, on_expiry);
        far_timer_init(&r->vouch_again, link->context->loop, on_vouch_again);
        r->handle = far_link_add(link, r);
        if (!r->handle) {
            free(r);
            return far_error(error, -ENOSPC,
                             "too many devices over the link to %s",
                             link->name);
        }
    }
    r->who = *who;
    if (far_link_is_up(link))
        prepare(r);
    *layer = &r->layer;
    FAR_PROBE4(attach, who->attachment, who->class, who->device, 0);
    return 0;
}

bool far_remote_left(const struct far_link *link,
                     const struct far_local_who *who)
{
    uint32_t i;

    for (i = 1; i < link->remotes_room; i++) {
        const struct far_remote *r = link->remotes[i];

        if (r && r->parked && !r->detached && same_user(&r->who, who))
            return true;
    }
    return false;
}

void far_remote_leaving(struct far_link *link, const struct far_local_who *who,
                        bool detached)
{
    uint32_t i;

    for (i = 1; i < link->remotes_room; i++) {
        struct far_remote *r = link->remotes[i];

        if (r && !r->parked && r->who.attachment == who->attachment &&
            same_user(&r->who, who))
            r->detached = detached;
    }
}

void far_remote_free_all(struct far_link *link)
{
    uint32_t i;

    for (i = 1; i < link->remotes_room; i++) {
        if (link->remotes[i]) {
            /* The session stays there: a successor of this process may come. */
            far_timer_cancel(&link->remotes[i]->expiry);
            far_timer_cancel(&link->remotes[i]->vouch_again);
            stop_sending(link->remotes[i]);
            free(link->remotes[i]->ops);
            far_times_free(link->remotes[i]->times);
            free(link->remotes[i]->slots);
            free(link->remotes[i]);
            link->remotes[i] = NULL;
        }
    }
}
