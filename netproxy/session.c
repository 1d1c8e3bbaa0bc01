/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sessions (netproxy/session.h).
 *
 * Interrupts: acked < … <= sent < … < next. All above acked stand in the ring
 * `kept`, at their number modulo its size. A user that comes back says what it
 * has received; what is behind that is given again, from the ring.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/uuid.h"
#include "netproxy/session.h"

#define KEPT_FIRST  64
#define KEPT_SHRINK 512 /* with more room than that, none is kept empty */

static struct far_session *of_layer(struct far_layer *layer)
{
    return (struct far_session *)layer;
}

/* The first room is everybody's: with none at all nothing would ever be
 * acknowledged. */
static bool affordable(const struct far_session *s, uint32_t room)
{
    return !s->quota || room <= KEPT_FIRST ||
           s->quota->kept_bytes + (room - s->kept_room) * sizeof(*s->kept) <=
               FAR_QUOTA_KEPT_BYTES;
}

static void set_kept(struct far_session *s, struct far_op *kept, uint32_t room)
{
    if (s->quota) {
        s->quota->kept_bytes += room * sizeof(*kept);
        s->quota->kept_bytes -= s->kept_room * sizeof(*kept);
    }
    free(s->kept);
    s->kept = kept;
    s->kept_room = room;
}

static bool grow(struct far_session *s)
{
    uint32_t room = s->kept_room ? s->kept_room * 2 : KEPT_FIRST;
    struct far_op *kept;
    uint64_t n;

    if (room > FAR_SESSION_KEPT_MAX || !affordable(s, room))
        return false;
    kept = malloc(room * sizeof(*kept));
    if (!kept)
        return false;
    for (n = s->acked + 1; n < s->next; n++)
        kept[n & (room - 1)] = s->kept[n & (s->kept_room - 1)];
    set_kept(s, kept, room);
    return true;
}

static void note_queue(struct far_session *s, const struct far_op *op)
{
    uint64_t time_us, now_ns = far_now_ns();

    memcpy(&time_us, op->args, sizeof(time_us));
    if (time_us && time_us <= now_ns / 1000)
        far_hist_add(&s->queue, now_ns - time_us * 1000);
}

void far_session_pump(struct far_session *s)
{
    if (s->pumping)
        return;
    s->pumping = true;
    while (s->user && s->activated && s->sent + 1 < s->next &&
           s->sent < s->granted) {
        const struct far_op *op = &s->kept[(s->sent + 1) & (s->kept_room - 1)];

        s->sent++; /* before: the ack may come from within */
        if (!s->user->ops->interrupt(s->user, op)) {
            s->sent--;
            break;
        }
        if (op->opcode == FAR_INPUT_EVENT)
            note_queue(s, op);
    }
    s->pumping = false;
}

static bool session_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct far_session *s = of_layer(layer);
    struct far_op *keep;

    if (far_session_kept(s) >= s->kept_room && !grow(s)) {
        s->below_waits = true;
        return false;
    }
    keep = &s->kept[s->next & (s->kept_room - 1)];
    *keep = *op;
    keep->attachment = s->who.attachment;
    keep->sequence = s->next;
    keep->slot = 0;
    s->shift = s->next - op->sequence;
    s->next++;
    far_session_pump(s);
    return true;
}

static void session_state(struct far_layer *layer, enum far_device_state state,
                          const struct far_layer_news *news)
{
    struct far_session *s = of_layer(layer);

    s->state = state;
    if (news) {
        s->device_incarnation = news->incarnation;
        memcpy(s->props, news->props, sizeof(s->props));
        snprintf(s->reason, sizeof(s->reason), "%s",
                 news->reason ? news->reason : "");
    }
    if (s->user && s->activated)
        s->user->ops->state(s->user);
}

static void finish(struct far_session *s, struct far_session_slot *slot,
                   const struct far_op *op)
{
    slot->op = *op;
    slot->op.sequence = slot->sequence;
    slot->op.payload_bytes = 0;
    slot->state = FAR_SLOT_DONE;
    if (s->user)
        s->user->ops->complete(s->user, &slot->op);
}

static void session_complete(struct far_layer *layer, const struct far_op *op)
{
    struct far_session *s = of_layer(layer);

    if (!s->slots || op->slot >= FAR_WIRE_SLOTS_MAX ||
        s->slots[op->slot].state != FAR_SLOT_EXECUTING ||
        s->slots[op->slot].sequence != op->sequence)
        return; /* a device that answers what it was not asked */
    finish(s, &s->slots[op->slot], op);
}

static void execute(struct far_session *s, struct far_session_slot *slot)
{
    struct far_op op = slot->op;

    slot->state = FAR_SLOT_EXECUTING;
    switch (far_layer_submit(s->layer.below, &op, NULL)) {
    case FAR_DONE:
        finish(s, slot, &op);
        break;
    case FAR_LATER:
        break;
    case FAR_FULL:
        slot->state = FAR_SLOT_WAITING;
        break;
    case FAR_PASS: /* nobody is behind the last one */
        op.status = -EOPNOTSUPP;
        finish(s, slot, &op);
        break;
    }
}

static void session_room(struct far_layer *layer)
{
    struct far_session *s = of_layer(layer);
    unsigned i;

    for (i = 0; s->slots && i < FAR_WIRE_SLOTS_MAX; i++) {
        if (s->slots[i].state == FAR_SLOT_WAITING)
            execute(s, &s->slots[i]);
        if (s->slots[i].state == FAR_SLOT_WAITING)
            return; /* full again */
    }
}

static const struct far_layer_ops session_ops = {
    .name = "session",
    .complete = session_complete,
    .interrupt = session_interrupt,
    .state = session_state,
    .room = session_room,
};

int far_session_submit(struct far_session *s, const struct far_op *op)
{
    struct far_session_slot *slot;

    if (!s->slots) {
        s->slots = calloc(FAR_WIRE_SLOTS_MAX, sizeof(*s->slots));
        if (!s->slots)
            return -ENOMEM;
    }
    slot = &s->slots[op->slot];
    if (slot->state != FAR_SLOT_FREE) {
        if (op->sequence < slot->sequence) {
            s->old_ops++;
            return 0;
        }
        if (op->sequence == slot->sequence) {
            s->repeated_ops++; /* joins it, or gets the kept answer */
            if (slot->state == FAR_SLOT_DONE && s->user)
                s->user->ops->complete(s->user, &slot->op);
            return 0;
        }
        if (slot->state != FAR_SLOT_DONE)
            return -EPROTO;
    }
    slot->sequence = op->sequence;
    slot->op = *op;
    slot->op.status = 0;
    if (op->payload_bytes) { /* no class that has any is served yet */
        slot->op.status = -EOPNOTSUPP;
        finish(s, slot, &slot->op);
        return 0;
    }
    execute(s, slot);
    return 0;
}

static void on_expiry(struct far_timer *timer)
{
    struct far_session *s =
        (struct far_session *)((char *)timer -
                               offsetof(struct far_session, expiry));

    s->expired(s, s->arg);
}

struct far_session *
far_session_new(struct far_loop *loop, struct far_device *device,
                const char *platform, const struct far_local_who *who,
                void (*expired)(struct far_session *, void *arg), void *arg,
                struct far_error *error)
{
    struct far_session *s = calloc(1, sizeof(*s));
    struct far_layer *below;

    if (!s) {
        far_error(error, -ENOMEM, "%s: out of memory", who->device);
        return NULL;
    }
    if (far_device_open(device, who, &below, error)) {
        free(s);
        return NULL;
    }
    s->layer.ops = &session_ops;
    s->loop = loop;
    s->expired = expired;
    s->arg = arg;
    snprintf(s->platform, sizeof(s->platform), "%s", platform);
    s->who = *who;
    s->incarnation = far_random_u64();
    s->next = 1;
    s->state = device->state;
    s->device_incarnation = device->incarnation;
    memcpy(s->props, device->props, sizeof(s->props));
    snprintf(s->reason, sizeof(s->reason), "%s", device->reason);
    far_timer_init(&s->expiry, loop, on_expiry);
    far_timer_set(&s->expiry, far_now_us() + FAR_SESSION_KEEP_US);
    far_layer_stack(&s->layer, below);
    return s;
}

void far_session_free(struct far_session *s, const char *reason)
{
    struct far_session_user *user = s->user;
    struct far_layer *below = s->layer.below;

    s->user = NULL;
    if (user) {
        user->session = NULL;
        user->ops->lost(user, reason);
    }
    far_timer_cancel(&s->expiry);
    below->above = NULL;
    far_layer_close(below);
    set_kept(s, NULL, 0);
    free(s->slots);
    free(s);
}

bool far_session_is(const struct far_session *s, const char *platform,
                    const struct far_local_who *who)
{
    return s->who.guest_devid == who->guest_devid &&
           s->who.class == who->class &&
           !memcmp(s->who.guest_uuid, who->guest_uuid, 16) &&
           !memcmp(s->who.generation, who->generation, 16) &&
           !strcmp(s->who.device, who->device) &&
           (!platform || !strcmp(s->platform, platform));
}

void far_session_sit(struct far_session *s, struct far_session_user *user,
                     const struct far_local_who *who, const char *reason)
{
    struct far_session_user *old = s->user;

    s->user = NULL;
    if (old && old != user) {
        old->session = NULL;
        old->ops->lost(old, reason);
    }
    far_timer_cancel(&s->expiry);
    s->user = user;
    s->activated = false;
    s->who = *who;
    user->session = s;
}

void far_session_leave(struct far_session_user *user)
{
    struct far_session *s = user->session;

    if (!s)
        return;
    user->session = NULL;
    s->user = NULL;
    s->activated = false;
    far_timer_set(&s->expiry, far_now_us() + FAR_SESSION_KEEP_US);
}

void far_session_activate(struct far_session *s, uint64_t incarnation,
                          uint64_t received, uint64_t epoch)
{
    s->epoch = epoch;
    s->granted = 0;
    if (incarnation == s->incarnation && received < s->next) {
        /* The guest may have had less than what was acknowledged before only
         * if somebody lies; what is forgotten can't be given again. */
        s->sent = received > s->acked ? received : s->acked;
        return;
    }
    /* Somebody who knows nothing of this numbering: what is kept may have
     * arrived or not, and an event must arrive at most once. */
    s->lost_kept += far_session_kept(s);
    s->incarnation = far_random_u64();
    s->next = 1;
    s->sent = s->acked = 0;
    s->shift = 0;
}

void far_session_go(struct far_session *s)
{
    s->activated = true;
    /* First the state, which says what the numbers count in; then what was
     * kept; then the device, which states what is held now. */
    if (s->user)
        s->user->ops->state(s->user);
    far_session_pump(s);
    far_layer_activate(s->layer.below, 0, 0);
    if (s->below_waits && far_session_kept(s) < FAR_SESSION_KEPT_MAX) {
        s->below_waits = false;
        far_layer_resume(s->layer.below);
    }
}

int far_session_ack(struct far_session *s, uint64_t sequence)
{
    uint64_t below;

    if (sequence <= s->acked)
        return 0;
    if (sequence > s->sent) {
        s->hostile_acks++;
        return -EPROTO;
    }
    s->acked = sequence;
    /* What a long wait has made it grow to is given back. */
    if (s->kept_room > KEPT_SHRINK && !far_session_kept(s) && !s->pumping)
        set_kept(s, NULL, 0);
    below = sequence - s->shift; /* the device's own number */
    if (below && below < UINT64_MAX / 2)
        far_layer_ack(s->layer.below, below);
    if (s->below_waits) {
        s->below_waits = false;
        far_layer_resume(s->layer.below);
    }
    return 0;
}

void far_session_grant(struct far_session *s, uint64_t upto)
{
    if (upto <= s->granted)
        return;
    s->granted = upto;
    far_session_pump(s);
}
