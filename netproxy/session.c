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
#include <sys/mman.h>
#include "core/block.h"
#include "core/clock.h"
#include "core/uuid.h"
#include "netproxy/permission.h"
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
    if (far_sample(&s->sampler)) {
        s->timed = s->next;
        s->timed_ns = far_now_ns();
    }
    s->next++;
    far_session_pump(s);
    return true;
}

static void ops_lost(struct far_session *s);
static void start(struct far_session *s, struct far_session_slot *only);

static void take_props(struct far_session *s, const uint8_t props[32])
{
    memcpy(s->device_props, props, sizeof(s->device_props));
    memcpy(s->props, props, sizeof(s->props));
    if (s->read_only)
        far_permission_mask(s->props, s->who.class);
}

void far_session_limit(struct far_session *s, bool read_only)
{
    if (read_only == s->read_only)
        return;
    s->read_only = read_only;
    take_props(s, s->device_props);
    if (s->user && s->activated)
        s->user->ops->state(s->user);
}

/* A device that another server owned meanwhile is not the same: what was
 * answered here and not flushed may be gone, and what was meant for it then
 * comes too late. */
static void take_incarnation(struct far_session *s, uint64_t below)
{
    s->below_incarnation = below;
    s->device_incarnation = s->lease ? below ^ s->lease->term : below;
}

void far_session_own(struct far_session *s, struct far_lease *lease)
{
    uint64_t was = s->device_incarnation;

    s->lease = lease;
    take_incarnation(s, s->below_incarnation);
    if (s->device_incarnation != was && s->user && s->activated)
        s->user->ops->state(s->user);
}

static void session_state(struct far_layer *layer, enum far_device_state state,
                          const struct far_layer_news *news)
{
    struct far_session *s = of_layer(layer);

    s->state = state;
    if (news) {
        take_incarnation(s, far_news_device(news));
        take_props(s, news->props);
        snprintf(s->reason, sizeof(s->reason), "%s",
                 news->reason ? news->reason : "");
    }
    if (news && news->ops_lost)
        ops_lost(s);
    if (s->user && s->activated)
        s->user->ops->state(s->user);
    if (s->waiting)
        start(s, NULL);
}

/* ---- ops ---- */

/* Done, and the answer has left: nothing of it is kept if doing it twice is as
 * doing it once. */
static bool may_do_again(const struct far_session_slot *slot)
{
    return slot->state == FAR_SLOT_DONE && slot->told &&
           far_op_repeat(slot->op.opcode) == FAR_REPEATABLE;
}

static uint8_t *device_room(const struct far_session *s, uint32_t slot)
{
    return s->slots[slot].own
               ? NULL
               : far_layer_place(s->layer.below, slot, s->slot_bytes);
}

/* Where the payload of a slot lies; NULL: memory is out. */
static void *room_of(struct far_session *s, uint32_t slot)
{
    void *place = device_room(s, slot);

    if (place)
        return place;
    if (!s->memory) {
        void *memory = mmap(NULL, (size_t)s->slot_bytes * FAR_OP_SLOTS_MAX,
                            PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (memory == MAP_FAILED)
            return NULL;
        s->memory = memory;
    }
    s->trim_order = s->order;
    if (!far_timer_armed(&s->trim))
        far_timer_set(&s->trim, far_now_us() + FAR_SESSION_TRIM_US);
    return s->memory + (size_t)slot * s->slot_bytes;
}

const void *far_session_payload(const struct far_session *s, uint32_t slot)
{
    const void *place = device_room(s, slot);

    return place ? place : s->memory + (size_t)slot * s->slot_bytes;
}

/* Some payload is still needed: on its way, or of an answer that is kept. */
static bool owes_payload(const struct far_session *s)
{
    unsigned i;

    for (i = 0; s->slots && i < FAR_OP_SLOTS_MAX; i++) {
        const struct far_session_slot *slot = &s->slots[i];

        if ((slot->state == FAR_SLOT_DONE && slot->op.payload_bytes &&
             !may_do_again(slot)) ||
            slot->incoming_bytes)
            return true;
    }
    return false;
}

static void on_trim(struct far_timer *timer)
{
    struct far_session *s =
        (struct far_session *)((char *)timer -
                               offsetof(struct far_session, trim));

    if (s->order == s->trim_order && !s->waiting && !s->executing &&
        !owes_payload(s)) {
        madvise(s->memory, (size_t)s->slot_bytes * FAR_OP_SLOTS_MAX,
                MADV_DONTNEED);
        return;
    }
    s->trim_order = s->order;
    far_timer_set(&s->trim, far_now_us() + FAR_SESSION_TRIM_US);
}

static void note_done(struct far_session *s, struct far_session_slot *slot)
{
    struct far_wire_times *t = &slot->times;

    t->done_ns = far_now_ns();
    if (!t->submitted_ns)
        t->submitted_ns = t->done_ns; /* no device has seen it */
    if (!t->received_ns)
        t->received_ns = t->submitted_ns;
    far_stage_add(&s->stages, FAR_STAGE_OP_SERVER,
                  t->submitted_ns - t->received_ns);
    far_stage_add(&s->stages, FAR_STAGE_OP_DEVICE,
                  t->done_ns - t->submitted_ns);
}

/* The slot holds its request; op is the answer. */
static void finish(struct far_session *s, struct far_session_slot *slot,
                   const struct far_op *op)
{
    uint16_t way =
        slot->op.flags & (FAR_OP_SENDS | FAR_OP_RECEIVES | FAR_OP_TIMED);
    uint32_t room = way & FAR_OP_RECEIVES ? slot->op.payload_bytes : 0;
    uint32_t number = slot->op.slot;

    slot->op = *op;
    slot->op.slot = number;
    slot->op.sequence = slot->sequence;
    slot->op.flags = way;
    if (slot->op.status || !room)
        slot->op.payload_bytes = 0;
    if (slot->op.payload_bytes > room) { /* the device is broken */
        slot->op.payload_bytes = 0;
        slot->op.status = -EIO;
    }
    slot->state = FAR_SLOT_DONE;
    slot->told = false;
    if (way & FAR_OP_TIMED)
        note_done(s, slot);
    if (s->user)
        s->user->ops->complete(s->user, &slot->op);
}

void far_session_told(struct far_session *s, uint32_t slot)
{
    if (s->slots && s->slots[slot].state == FAR_SLOT_DONE)
        s->slots[slot].told = true;
}

static void session_complete(struct far_layer *layer, const struct far_op *op)
{
    struct far_session *s = of_layer(layer);

    if (!s->slots || op->slot >= FAR_OP_SLOTS_MAX ||
        s->slots[op->slot].state != FAR_SLOT_EXECUTING ||
        s->slots[op->slot].sequence != op->sequence)
        return; /* a device that answers what it was not asked */
    s->executing--;
    finish(s, &s->slots[op->slot], op);
}

/* What names our device as its user sees it names it as it calls itself. */
static void rename_device(const struct far_session *s, struct far_op *op)
{
    struct far_block_args args;

    if (FAR_OPCODE_CLASS(op->opcode) != FAR_CLASS_BLOCK)
        return;
    memcpy(&args, op->args, sizeof(args));
    if (args.incarnation)
        args.incarnation = far_block_incarnation(s->below_incarnation);
    memcpy(op->args, &args, sizeof(args));
}

static void execute(struct far_session *s, struct far_session_slot *slot)
{
    struct far_op op = slot->op;
    void *payload = op.payload_bytes ? room_of(s, op.slot) : NULL;

    if (far_block_is_stale(&op, s->device_incarnation)) {
        op.status = FAR_BLOCK_STALE;
        s->stale_ops++;
        finish(s, slot, &op);
        return;
    }
    if (s->lease)
        rename_device(s, &op);
    if (op.flags & FAR_OP_TIMED)
        slot->times.submitted_ns = far_now_ns();
    slot->state = FAR_SLOT_EXECUTING;
    s->executing++;
    switch (far_layer_submit(s->layer.below, &op, payload)) {
    case FAR_DONE:
        s->executing--;
        finish(s, slot, &op);
        break;
    case FAR_LATER:
        break;
    case FAR_FULL:
        s->executing--;
        slot->state = FAR_SLOT_WAITING;
        break;
    case FAR_PASS: /* nobody is behind the last one */
        s->executing--;
        op.status = -EOPNOTSUPP;
        finish(s, slot, &op);
        break;
    }
}

static struct far_session_slot *first_waiting(struct far_session *s)
{
    struct far_session_slot *first = NULL;
    unsigned i;

    for (i = 0; i < FAR_OP_SLOTS_MAX; i++) {
        struct far_session_slot *slot = &s->slots[i];

        if (slot->state == FAR_SLOT_WAITING &&
            (!first || slot->order < first->order))
            first = slot;
    }
    return first;
}

/* What waits, in the order in which it came, until there is no room; from
 * within it too: what comes meanwhile waits for its turn. While the device is
 * gone, all waits: it may come back, and how long that may take is for the
 * guest's side to say. only: the one that waits, if there is one; NULL: look.
 */
static void start(struct far_session *s, struct far_session_slot *only)
{
    if (s->starting)
        return;
    s->starting = true;
    while (s->waiting && s->state == FAR_DEVICE_READY &&
           (!s->lease || far_lease_held(s->lease))) {
        struct far_session_slot *first = only ? only : first_waiting(s);

        only = NULL;
        s->waiting--;
        execute(s, first);
        if (first->state == FAR_SLOT_WAITING) {
            s->waiting++;
            break;
        }
    }
    s->starting = false;
}

/* The device's memory goes with it: what lies there moves to the session's own,
 * and the slot stays there until its next op. */
static void move_out(struct far_session *s, struct far_session_slot *slot)
{
    uint32_t number = (uint32_t)(slot - s->slots), bytes = slot->incoming_bytes;
    uint8_t *from = device_room(s, number), *to;

    if (slot->state == FAR_SLOT_DONE ||
        (slot->state != FAR_SLOT_FREE && (slot->op.flags & FAR_OP_SENDS)))
        bytes = slot->op.payload_bytes > bytes ? slot->op.payload_bytes : bytes;
    if (!from || !bytes)
        return;
    slot->own = true;
    to = room_of(s, number);
    if (to) {
        memcpy(to, from, bytes);
        return;
    }
    /* Memory is out: better no data than wrong ones. */
    slot->own = false;
    slot->incoming_bytes = 0;
    slot->source = NULL;
    slot->op.status = -ENOMEM;
    slot->op.payload_bytes = 0;
}

/* Who executed them is no more. */
static void ops_lost(struct far_session *s)
{
    unsigned i;

    if (s->lease && s->executing)
        s->lease->late_us = far_boot_us();
    for (i = 0; s->slots && i < FAR_OP_SLOTS_MAX; i++)
        move_out(s, &s->slots[i]);
    for (i = 0; s->slots && i < FAR_OP_SLOTS_MAX; i++) {
        struct far_session_slot *slot = &s->slots[i];
        struct far_op unknown = slot->op;

        if (slot->state != FAR_SLOT_EXECUTING)
            continue;
        s->executing--;
        if (far_op_repeat(slot->op.opcode) == FAR_AT_MOST_ONCE) {
            s->unknown_outcomes++;
            unknown.status = -EOWNERDEAD;
            finish(s, slot, &unknown);
            continue;
        }
        slot->op.flags |= FAR_OP_REPEAT;
        slot->state = FAR_SLOT_WAITING;
        s->waiting++;
    }
}

static void session_room(struct far_layer *layer)
{
    struct far_session *s = of_layer(layer);

    if (s->waiting)
        start(s, NULL);
}

static const struct far_layer_ops session_ops = {
    .name = "session",
    .complete = session_complete,
    .interrupt = session_interrupt,
    .state = session_state,
    .room = session_room,
};

static int need_slots(struct far_session *s)
{
    if (!s->slots)
        s->slots = calloc(FAR_OP_SLOTS_MAX, sizeof(*s->slots));
    return s->slots ? 0 : -ENOMEM;
}

static bool can_be(const struct far_session *s, const struct far_op *op)
{
    uint16_t way = op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES);

    return op->slot < FAR_OP_SLOTS_MAX &&
           FAR_OPCODE_CLASS(op->opcode) == s->who.class &&
           way != (FAR_OP_SENDS | FAR_OP_RECEIVES) &&
           op->payload_bytes <= (way ? s->slot_bytes : 0);
}

int far_session_piece(struct far_session *s, uint32_t number, uint64_t sequence,
                      uint32_t offset_bytes, const void *bytes, uint32_t count,
                      const void *source)
{
    struct far_session_slot *slot;
    uint8_t *room;

    if (number >= FAR_OP_SLOTS_MAX || offset_bytes > s->slot_bytes ||
        count > s->slot_bytes - offset_bytes)
        return -EPROTO;
    if (need_slots(s))
        return -ENOMEM;
    slot = &s->slots[number];
    /* Of an op that is executing or done, its memory is not to be touched. One
     * that is done may be executed again: then the memory is free. */
    if (slot->state == FAR_SLOT_WAITING || slot->state == FAR_SLOT_EXECUTING ||
        (slot->state == FAR_SLOT_DONE &&
         (sequence < slot->sequence ||
          (sequence == slot->sequence && !may_do_again(slot))))) {
        s->stray_pieces++;
        return 0;
    }
    if (offset_bytes == 0) { /* what another connection began is forgotten */
        slot->source = source;
        slot->incoming = sequence;
        slot->incoming_bytes = 0;
        slot->own = false;
    }
    if (slot->source != source || slot->incoming != sequence) {
        s->stray_pieces++;
        return 0;
    }
    if (slot->incoming_bytes != offset_bytes) {
        /* What came before it came between two activations: the whole op is
         * sent again. */
        slot->source = NULL;
        slot->incoming_bytes = 0;
        s->stray_pieces++;
        return 0;
    }
    room = room_of(s, number);
    if (!room)
        return -ENOMEM;
    memcpy(room + offset_bytes, bytes, count);
    slot->incoming_bytes += count;
    return 0;
}

/* What it sends is in its place: 0, -ENOMEM, -EPROTO, or -EAGAIN: another
 * connection is bringing it. */
static int take_payload(struct far_session *s, struct far_session_slot *slot,
                        const struct far_op *op, const void *payload,
                        const void *source)
{
    uint8_t *room;
    bool all = slot->source == source && slot->incoming == op->sequence &&
               slot->incoming_bytes == op->payload_bytes;

    if (!op->payload_bytes)
        return 0;
    slot->own &= !payload && (op->flags & FAR_OP_SENDS);
    room = room_of(s, op->slot);
    if (!room)
        return -ENOMEM;
    if (!(op->flags & FAR_OP_SENDS))
        return 0;
    if (!payload && !all)
        return slot->source == source ? -EPROTO : -EAGAIN;
    if (payload)
        memcpy(room, payload, op->payload_bytes);
    slot->source = NULL;
    slot->incoming = 0;
    slot->incoming_bytes = 0;
    return 0;
}

/* One that it has had. True: there is nothing to be done. */
static bool known(struct far_session *s, struct far_session_slot *slot,
                  const struct far_op *op)
{
    if (op->sequence < slot->sequence) {
        s->old_ops++;
        return true;
    }
    if (op->sequence != slot->sequence)
        return false;
    s->repeated_ops++;
    if (slot->state != FAR_SLOT_DONE)
        return true; /* joins it */
    if (may_do_again(slot)) {
        s->executed_again++;
        return false;
    }
    if (s->user)
        s->user->ops->complete(s->user, &slot->op);
    return true;
}

int far_session_submit(struct far_session *s, const struct far_op *op,
                       const void *payload, const void *source)
{
    struct far_session_slot *slot;
    int r;

    if (!can_be(s, op))
        return -EPROTO;
    if (need_slots(s))
        return -ENOMEM;
    slot = &s->slots[op->slot];
    if (slot->state != FAR_SLOT_FREE) {
        if (known(s, slot, op))
            return 0;
        if (slot->state != FAR_SLOT_DONE)
            return -EPROTO;
    }
    r = take_payload(s, slot, op, payload, source);
    if (r)
        return r == -EAGAIN ? 0 : r;
    if (s->read_only && far_permission_writes(op->opcode)) {
        struct far_op refused = *op;

        s->refused_writes++;
        refused.status = -EROFS;
        slot->sequence = op->sequence;
        slot->op = *op;
        finish(s, slot, &refused);
        return 0;
    }
    if (slot->state == FAR_SLOT_FREE && (op->flags & FAR_OP_REPEAT) &&
        far_op_repeat(op->opcode) == FAR_AT_MOST_ONCE) {
        /* Who executed it, if anybody did, is dead: this session is younger
         * than the op. */
        struct far_op unknown = *op;

        s->unknown_outcomes++;
        unknown.status = -EOWNERDEAD;
        slot->sequence = op->sequence;
        slot->op = *op;
        finish(s, slot, &unknown);
        return 0;
    }
    s->ops++;
    slot->sequence = op->sequence;
    slot->order = ++s->order;
    slot->op = *op;
    slot->op.attachment = s->who.attachment;
    slot->op.status = 0;
    slot->op.flags &=
        FAR_OP_SENDS | FAR_OP_RECEIVES | FAR_OP_REPEAT | FAR_OP_TIMED;
    slot->times = (struct far_wire_times){ .received_ns = s->received_ns };
    slot->state = FAR_SLOT_WAITING;
    /* Others that wait wait for room: none may be overtaken. */
    if (!s->waiting++)
        start(s, slot);
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
    snprintf(s->device, sizeof(s->device), "%s", device->name);
    s->who = *who;
    s->incarnation = far_random_u64();
    s->next = 1;
    s->state = device->state;
    take_incarnation(s, device->incarnation);
    take_props(s, device->props);
    snprintf(s->reason, sizeof(s->reason), "%s", device->reason);
    far_timer_init(&s->expiry, loop, on_expiry);
    far_timer_set(&s->expiry, far_now_us() + FAR_SESSION_KEEP_US);
    far_timer_init(&s->trim, loop, on_trim);
    s->slot_bytes = far_class_payload_bytes((enum far_class)who->class);
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
    far_timer_cancel(&s->trim);
    below->above = NULL;
    far_layer_close(below);
    if (s->memory)
        munmap(s->memory, (size_t)s->slot_bytes * FAR_OP_SLOTS_MAX);
    set_kept(s, NULL, 0);
    free(s->slots);
    far_stages_free(&s->stages);
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
    s->activated = false; /* no interrupt goes before the state, in go() */
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
