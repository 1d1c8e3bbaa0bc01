/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See fast-sound.h. The stream's samples lie in a ring of the size of the
 * guest's buffer, at their offset modulo that size.
 *
 * Whose clock it is: the machine's, unless the device has one of its own
 * (FAR_SOUND_PACES), which then is followed: playing, by the positions that
 * come with its answers; recording, by what it has answered. A guest is paced
 * by the positions that it is told, so its clock and the device's never drift
 * apart, and nothing need be resampled.
 */
#include "devices/fast-sound.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "core/clock.h"

#define SLOTS    8u
#define CONTROLS 8u
/* What is asked of a recording device ahead, and when it is given up. */
#define AHEAD_NS     10000000u
#define STUCK_NS     500000000u
#define WAIT_TICK_NS 100000000u
#define AGAIN_US     1000000u /* a device that was busy is asked again */
#define JUMP_NS      100000000u
#define VOLUME_MIN   (-96000)
#define VOLUME_MAX   20000
#define FOLLOW_PART  4 /* of how far its position is from ours, each time */

struct slot {
    enum { FREE, SENT, DONE, LOST } is; /* DONE: a READ before it is not */
    uint16_t opcode;
    uint64_t sequence, offset_bytes, sent_ns;
    uint32_t length_bytes, stream;
    int32_t status;
    uint8_t *memory;
};

struct fast {
    struct far_layer layer;
    struct far_loop *loop;
    struct far_sound_state *s;
    uint64_t attachment;
    uint64_t sequence; /* never back, also over restarts */

    uint8_t *ring; /* of FAR_SOUND_BUFFER_MAX; used up to buffer_bytes */
    uint8_t *memory;
    double gain[FAR_SOUND_CHANNELS_MAX];
    bool gained; /* one of them is not 1 */

    enum { GONE, READY, REFUSED, OPEN } device;
    struct far_sound_caps caps; /* while it is not GONE */
    char reason[232];
    struct slot slots[SLOTS];
    struct far_op controls[CONTROLS]; /* first in, first out; before data */
    unsigned controls_count;
    bool full; /* it has no room: room() follows */

    uint64_t given_bytes; /* playing: the device has it up to here */
    uint64_t asked_bytes; /* recording: it was asked up to here */
    uint64_t next_bytes;  /* the position is told when it gets there */
    uint64_t waits_ns; /* a guest is waited for: the last look; 0: it isn't */
    uint64_t waits_bytes; /* … and where */
    unsigned waits_ticks; /* … and how long: seen piece by piece, since the
                             whole machine may stand still for a while */
    bool waited;          /* … and not any more, until it writes */
    bool stalled;         /* the same of the device, until it takes something */
    bool patient; /* the device has no clock, or had none before it went */
    bool underrun;

    struct far_timer due, again;
    struct far_fast_sound_counters counters;
};

static struct fast *of(const struct far_layer *layer)
{
    return (struct fast *)(uintptr_t)layer;
}

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static uint32_t frame_of(const struct fast *f)
{
    return far_sound_frame_bytes(&f->s->params);
}

/* Changes that belong together: a successor of a process that was killed in
 * between must not go on from half of them. */
static void edit(struct fast *f)
{
    f->s->damaged = 1;
    __asm__ volatile("" ::: "memory");
}

static void seal(struct fast *f)
{
    __asm__ volatile("" ::: "memory");
    f->s->damaged = 0;
}

/* --- the clock --------------------------------------------------------------
 */

static bool plays(const struct fast *f)
{
    return f->s->open && !f->s->params.records;
}

static bool paces(const struct fast *f)
{
    return f->device == OPEN && f->caps.flags & FAR_SOUND_PACES;
}

static bool waits(const struct fast *f)
{
    return plays(f) && f->patient && !f->waited && !f->stalled;
}

static void set_clock(struct fast *f, uint64_t now_ns, uint64_t bytes)
{
    edit(f);
    f->s->base_ns = now_ns;
    f->s->base_bytes = bytes;
    seal(f);
}

/* A device without a clock gets all that a guest plays: just before the end of
 * what it has, the position stands still for a while, as if all had slept. One
 * frame before, since a guest takes a position at its end for an underrun. */
static uint64_t wait_for_guest(struct fast *f, uint64_t now_ns, uint64_t bytes)
{
    uint64_t end =
        f->s->ready_bytes < f->given_bytes ? f->s->ready_bytes : f->given_bytes;
    uint64_t cap = end > f->s->base_bytes + frame_of(f) ? end - frame_of(f)
                                                        : f->s->base_bytes;

    if (f->waits_ns && cap > f->waits_bytes) { /* on from where it stood */
        f->waits_ns = 0;
        set_clock(f, now_ns, f->waits_bytes);
        return f->waits_bytes;
    }
    if (bytes <= cap)
        return bytes;
    if (!f->waits_ns) {
        f->waits_ns = now_ns;
        f->waits_bytes = cap;
        f->waits_ticks = 0;
        f->counters.waits++;
    } else if (now_ns - f->waits_ns >= WAIT_TICK_NS) {
        f->waits_ns = now_ns;
        f->waits_ticks++;
    }
    if (f->waits_ticks >= FAR_SOUND_WAIT_NS / WAIT_TICK_NS) {
        f->waits_ns = 0;
        if (f->given_bytes < f->s->ready_bytes)
            f->stalled = true;
        else
            f->waited = true;
        set_clock(f, now_ns, cap);
    }
    return cap;
}

static uint64_t position(struct fast *f, uint64_t now_ns)
{
    const struct far_sound_state *s = f->s;
    uint64_t bytes = s->base_bytes;

    if (s->running && now_ns > s->base_ns)
        bytes += far_sound_bytes_of(&s->params, now_ns - s->base_ns);
    if (s->running && waits(f))
        bytes = wait_for_guest(f, now_ns, bytes);
    return bytes > s->told_bytes ? bytes : s->told_bytes;
}

/* The device says where it is. */
static void follow(struct fast *f, uint64_t bytes)
{
    uint64_t now_ns = far_now_ns(), mine = position(f, now_ns);
    uint64_t jump = far_sound_bytes_of(&f->s->params, JUMP_NS);
    int64_t off = (int64_t)(bytes - mine), frame = frame_of(f);

    if (!f->s->running || bytes % (uint64_t)frame)
        return;
    if ((uint64_t)llabs(off) <= jump)
        off = off / FOLLOW_PART / frame * frame;
    set_clock(f, now_ns, mine + (uint64_t)off);
}

/* --- data -------------------------------------------------------------------
 */

static void set_gain(struct fast *f)
{
    f->gained = false;
    for (unsigned i = 0; i < FAR_SOUND_CHANNELS_MAX; i++) {
        f->gain[i] =
            f->s->muted & 1u << i ? 0 : pow(10, f->s->volume[i] / 20000.0);
        f->gained |= f->s->muted & 1u << i || f->s->volume[i];
    }
}

static void apply_gain(const struct fast *f, uint8_t *samples, uint32_t bytes)
{
    const struct far_sound_params *p = &f->s->params;
    uint32_t size = far_sound_sample_bytes(p->format);

    if (!f->gained || p->format == FAR_SOUND_SUBFRAME_LE ||
        p->format == FAR_SOUND_SUBFRAME_BE)
        return;
    for (uint32_t i = 0; i * size < bytes; i++)
        far_sound_encode(p->format, samples + i * size,
                         far_sound_decode(p->format, samples + i * size) *
                             f->gain[i % p->channels]);
}

/* How much of these bytes lies side by side in the ring, and where. */
static uint32_t part_of(const struct fast *f, uint64_t offset, uint32_t length,
                        uint32_t *at)
{
    uint32_t size = f->s->params.buffer_bytes;

    *at = (uint32_t)(offset % size);
    return size - *at < length ? size - *at : length;
}

static void to_ring(struct fast *f, uint64_t offset, const uint8_t *from,
                    uint32_t length)
{
    for (uint32_t at, part; length; length -= part) {
        part = part_of(f, offset, length, &at);
        memcpy(f->ring + at, from, part);
        from += part;
        offset += part;
    }
}

static void from_ring(const struct fast *f, uint64_t offset, uint8_t *to,
                      uint32_t length)
{
    for (uint32_t at, part; length; length -= part) {
        part = part_of(f, offset, length, &at);
        memcpy(to, f->ring + at, part);
        to += part;
        offset += part;
    }
}

static void silence(struct fast *f, uint64_t from, uint64_t to)
{
    uint32_t size = f->s->params.buffer_bytes;
    uint32_t length = to - from > size ? size : (uint32_t)(to - from);

    f->counters.silent_bytes += to - from;
    for (uint32_t at, part; length; length -= part) {
        part = part_of(f, to - length, length, &at);
        far_sound_silence(f->s->params.format, f->ring + at, part);
    }
}

/* --- what goes to the device ------------------------------------------------
 */

static struct slot *free_slot(struct fast *f)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (f->slots[i].is == FREE)
            return &f->slots[i];
    return NULL;
}

static void answered(struct fast *f, struct slot *slot,
                     const struct far_op *op);
static void received(struct fast *f);
static void set_due(struct fast *f);

/* false: no room */
static bool submit(struct fast *f, struct slot *slot, struct far_op *op)
{
    uint32_t number = (uint32_t)(slot - f->slots);

    op->attachment = f->attachment;
    op->slot = number;
    op->sequence = ++f->sequence;
    slot->opcode = op->opcode;
    slot->sequence = op->sequence;
    slot->stream = f->s->params.stream;
    slot->sent_ns = far_now_ns();
    slot->is = SENT;
    switch (far_layer_submit(f->layer.below, op,
                             op->payload_bytes ? slot->memory : NULL)) {
    case FAR_DONE:
        answered(f, slot, op);
        return true;
    case FAR_LATER:
        return true;
    default:
        slot->is = FREE;
        f->full = true;
        return false;
    }
}

static void control(struct fast *f, uint16_t opcode, const void *args);

/* What the device has for sure: before the first that it has not answered. */
static uint64_t taken(const struct fast *f)
{
    uint64_t bytes = f->given_bytes;

    for (unsigned i = 0; i < SLOTS; i++)
        if (f->slots[i].is == SENT && f->slots[i].opcode == FAR_SOUND_WRITE &&
            f->slots[i].offset_bytes < bytes)
            bytes = f->slots[i].offset_bytes;
    return bytes;
}

/* The stream as it is now, for a device that knows nothing of it. One without a
 * clock goes on behind what it has, and misses nothing that is still there. */
static void open_device(struct fast *f)
{
    struct far_sound_params p = f->s->params;
    struct far_sound_trigger_args t = { .stream = p.stream };

    f->controls_count = 0;
    if (!f->s->open) {
        control(f, FAR_SOUND_CLOSE, NULL);
        return;
    }
    t.offset_bytes = p.records ? f->s->ready_bytes : position(f, far_now_ns());
    p.offset_bytes = t.offset_bytes;
    if (!p.records) {
        if (f->caps.flags & FAR_SOUND_WAITS)
            p.offset_bytes = f->s->taken_bytes;
        f->given_bytes = p.offset_bytes;
        if (f->s->ready_bytes > f->given_bytes + p.buffer_bytes)
            f->given_bytes = f->s->ready_bytes - p.buffer_bytes;
    }
    control(f, FAR_SOUND_OPEN, &p);
    if (f->s->running)
        control(f, FAR_SOUND_TRIGGER, &t);
}

static void control(struct fast *f, uint16_t opcode, const void *args)
{
    struct far_op *op;

    if (f->device == GONE)
        return;
    if (f->controls_count == CONTROLS) {
        open_device(f); /* all of them have come to this */
        return;
    }
    op = &f->controls[f->controls_count++];
    *op = (struct far_op){ .opcode = opcode };
    if (args)
        memcpy(op->args, args, sizeof(op->args));
}

static bool give_controls(struct fast *f)
{
    while (f->controls_count) {
        struct far_op op = f->controls[0];
        struct slot *slot = free_slot(f);

        if (!slot || f->full)
            return false;
        /* taken out before: an answer within may bring us here again */
        f->controls_count--;
        memmove(f->controls, f->controls + 1,
                f->controls_count * sizeof(f->controls[0]));
        if (!submit(f, slot, &op)) {
            memmove(f->controls + 1, f->controls,
                    f->controls_count * sizeof(f->controls[0]));
            f->controls[0] = op;
            f->controls_count++;
            return false;
        }
    }
    return true;
}

/* The next piece of `most` bytes at the most; false: not now. */
static bool data(struct fast *f, uint16_t opcode, uint64_t offset,
                 uint64_t most)
{
    struct far_sound_args a = { .offset_bytes = offset,
                                .stream = f->s->params.stream };
    struct far_op op = { .opcode = opcode };
    struct slot *slot = free_slot(f);
    uint32_t piece = FAR_SOUND_PAYLOAD_MAX / frame_of(f) * frame_of(f);

    if (!slot || f->full)
        return false;
    a.length_bytes = most < piece ? (uint32_t)most : piece;
    slot->offset_bytes = offset;
    slot->length_bytes = a.length_bytes;
    slot->memory = far_layer_place(f->layer.below, (uint32_t)(slot - f->slots),
                                   a.length_bytes);
    if (!slot->memory)
        slot->memory =
            f->memory + (size_t)(slot - f->slots) * FAR_SOUND_PAYLOAD_MAX;
    op.flags = opcode == FAR_SOUND_WRITE ? FAR_OP_SENDS : FAR_OP_RECEIVES;
    op.payload_bytes = a.length_bytes;
    if (opcode == FAR_SOUND_WRITE) {
        from_ring(f, offset, slot->memory, a.length_bytes);
        apply_gain(f, slot->memory, a.length_bytes);
    }
    memcpy(op.args, &a, sizeof(a));
    return submit(f, slot, &op);
}

static void give_samples(struct fast *f)
{
    uint64_t now = position(f, far_now_ns());

    /* too late: it would be played after what comes next */
    if (f->given_bytes < now && !(f->caps.flags & FAR_SOUND_WAITS)) {
        if (now <= f->s->ready_bytes)
            f->counters.late_bytes += now - f->given_bytes;
        f->given_bytes = now;
    }
    if (f->s->ready_bytes > f->given_bytes + f->s->params.buffer_bytes) {
        /* the guest has written over it */
        uint64_t first = f->s->ready_bytes - f->s->params.buffer_bytes;

        f->counters.late_bytes += first - f->given_bytes;
        f->given_bytes = first;
    }
    while (f->given_bytes < f->s->ready_bytes) {
        uint64_t from = f->given_bytes;

        /* moved before: an answer within may bring us here again */
        f->given_bytes = f->s->ready_bytes;
        if (f->given_bytes - from > FAR_SOUND_PAYLOAD_MAX)
            f->given_bytes =
                from + FAR_SOUND_PAYLOAD_MAX / frame_of(f) * frame_of(f);
        if (!data(f, FAR_SOUND_WRITE, from, f->given_bytes - from)) {
            f->given_bytes = from;
            return;
        }
    }
}

/* What was recorded by now; of a device with a clock, what it will have soon.
 */
static void ask_samples(struct fast *f)
{
    uint64_t upto = position(f, far_now_ns()), most = FAR_SOUND_PAYLOAD_MAX;
    uint64_t ahead = far_sound_bytes_of(&f->s->params, AHEAD_NS);

    if (paces(f)) {
        if (ahead < frame_of(f))
            ahead = frame_of(f);
        if (most > ahead)
            most = ahead;
        upto = f->s->ready_bytes + 4 * most;
    } else if (upto < f->next_bytes && upto < f->asked_bytes + ahead) {
        return; /* not one by one */
    }
    while (f->asked_bytes < upto) {
        uint64_t from = f->asked_bytes;
        uint64_t length = upto - from < most ? upto - from : most;

        f->asked_bytes += length / frame_of(f) * frame_of(f);
        if (!data(f, FAR_SOUND_READ, from, f->asked_bytes - from)) {
            f->asked_bytes = from;
            break;
        }
    }
    received(f);
}

static void pump(struct fast *f)
{
    if (f->device == GONE || !give_controls(f) || f->device != OPEN ||
        !f->s->open)
        return;
    if (plays(f)) {
        give_samples(f);
        if (f->waits_ns) {
            (void)position(f, far_now_ns());
            set_due(f);
        }
    } else if (f->s->running) {
        ask_samples(f);
    }
}

/* --- the position -----------------------------------------------------------
 */

static void tell(struct fast *f, uint64_t bytes)
{
    struct far_sound_args a = { .position_bytes = bytes,
                                .stream = f->s->params.stream };
    struct far_op op = { .attachment = f->attachment,
                         .opcode = FAR_SOUND_POSITION };

    memcpy(op.args, &a, sizeof(a));
    if (far_layer_interrupt(f->layer.above, &op)) {
        f->s->told_bytes = bytes;
        f->counters.positions++;
    }
}

/* One frame after the end of a period: Linux' front counts a period only when
 * more than its frames have gone by. */
static void next_period(struct fast *f, uint64_t bytes)
{
    const struct far_sound_params *p = &f->s->params;
    uint64_t least = far_sound_bytes_of(p, FAR_SOUND_TELL_NS);
    uint64_t period = p->period_bytes;

    if (!period) {
        f->next_bytes = UINT64_MAX;
        return;
    }
    f->next_bytes = bytes - bytes % period + period + frame_of(f);
    if (f->next_bytes < bytes + least)
        f->next_bytes = bytes + least;
}

static void set_due(struct fast *f)
{
    const struct far_sound_state *s = f->s;
    uint64_t at_ns, want = f->next_bytes;

    if (!s->running || (s->params.records && paces(f) && want == UINT64_MAX)) {
        far_timer_cancel(&f->due);
        return;
    }
    /* Also with nobody to tell: what is recorded must be fetched. */
    if (want == UINT64_MAX)
        want = s->base_bytes +
               s->params.buffer_bytes / 4 / frame_of(f) * frame_of(f);
    at_ns = want > s->base_bytes
                ? s->base_ns + far_sound_ns_of(&s->params, want - s->base_bytes)
                : far_now_ns() + FAR_SOUND_TELL_NS;
    if (f->waits_ns)
        at_ns = f->waits_ns + WAIT_TICK_NS;
    else if (s->params.records && f->asked_bytes >= want)
        at_ns = far_now_ns() + AHEAD_NS; /* is it stuck? */
    else if (at_ns < far_now_ns() + FAR_SOUND_TELL_NS / 2)
        at_ns = far_now_ns() + FAR_SOUND_TELL_NS / 2;
    (void)far_timer_set(&f->due, at_ns / 1000 + 1);
}

/* What is missing up to there, and what was asked for, is silence; what comes
 * after all is thrown away. */
static void give_up(struct fast *f, uint64_t upto)
{
    if (upto < f->asked_bytes)
        upto = f->asked_bytes;
    if (upto <= f->s->ready_bytes)
        return;
    silence(f, f->s->ready_bytes, upto);
    f->s->ready_bytes = f->asked_bytes = upto;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (f->slots[i].opcode != FAR_SOUND_READ)
            continue;
        if (f->slots[i].is == SENT)
            f->slots[i].is = LOST;
        else if (f->slots[i].is == DONE)
            f->slots[i].is = FREE;
    }
}

static bool stuck(const struct fast *f, uint64_t now_ns)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (f->slots[i].is == SENT && f->slots[i].opcode == FAR_SOUND_READ &&
            now_ns - f->slots[i].sent_ns > STUCK_NS)
            return true;
    return false;
}

/* The position has moved, or it is time to see whether it has. */
static void look(struct fast *f)
{
    uint64_t now_ns = far_now_ns(), bytes;

    if (!f->s->open || !f->s->running)
        return;
    bytes = position(f, now_ns);
    if (f->s->params.records) {
        pump(f);
        if (f->device != OPEN || stuck(f, far_now_ns())) {
            set_clock(f, now_ns, bytes);
            give_up(f, bytes);
        }
        bytes = f->s->ready_bytes;
    } else {
        bool dry = bytes > f->s->ready_bytes;

        f->counters.underruns += dry && !f->underrun;
        f->underrun = dry;
    }
    if (bytes >= f->next_bytes) {
        tell(f, bytes);
        next_period(f, bytes);
    }
    set_due(f);
}

static void due(struct far_timer *timer)
{
    look(CONTAINER(struct fast, due, timer));
}

static void again(struct far_timer *timer)
{
    struct fast *f = CONTAINER(struct fast, again, timer);

    if (f->device == REFUSED) {
        open_device(f);
        pump(f);
    }
}

/* --- what comes from the device ---------------------------------------------
 */

static void opened(struct fast *f, int status)
{
    const char *unfit;

    if (status) {
        f->device = REFUSED;
        f->counters.refused++;
        unfit = far_sound_params_unfit(&f->s->params, &f->caps);
        if (status == -EBUSY)
            unfit = "the device is in use by another stream";
        snprintf(f->reason, sizeof(f->reason), "%s",
                 unfit ? unfit : strerror(-status));
        (void)far_timer_set(&f->again, far_now_us() + AGAIN_US);
        return;
    }
    f->reason[0] = '\0';
    f->device = OPEN;
    if (f->s->params.records)
        f->asked_bytes = f->s->ready_bytes;
}

static void received(struct fast *f)
{
    bool any = true;

    while (any) {
        any = false;
        for (unsigned i = 0; i < SLOTS; i++) {
            struct slot *slot = &f->slots[i];

            if (slot->is != DONE || slot->offset_bytes != f->s->ready_bytes)
                continue;
            any = true;
            slot->is = FREE;
            if (slot->status) {
                silence(f, slot->offset_bytes,
                        slot->offset_bytes + slot->length_bytes);
            } else {
                to_ring(f, slot->offset_bytes, slot->memory,
                        slot->length_bytes);
                f->counters.recorded_bytes += slot->length_bytes;
            }
            f->s->ready_bytes += slot->length_bytes;
        }
    }
    if (paces(f))
        set_clock(f, far_now_ns(), f->s->ready_bytes);
}

static void answered(struct fast *f, struct slot *slot, const struct far_op *op)
{
    struct far_sound_args a;
    bool lost = slot->is == LOST;

    memcpy(&a, op->args, sizeof(a));
    slot->is = FREE;
    if (lost)
        return;
    switch (slot->opcode) {
    case FAR_SOUND_OPEN:
        if (f->s->open && slot->stream == f->s->params.stream)
            opened(f, op->status);
        break;
    case FAR_SOUND_WRITE:
        if (op->status || slot->stream != f->s->params.stream)
            break;
        f->s->taken_bytes = taken(f);
        f->stalled = false;
        f->counters.played_bytes += slot->length_bytes;
        if (paces(f) && a.stream == f->s->params.stream)
            follow(f, a.position_bytes);
        break;
    case FAR_SOUND_READ:
        slot->is = DONE;
        slot->status = op->status;
        if (op->payload_bytes != slot->length_bytes && !op->status)
            slot->status = -EIO;
        break;
    default:
        break;
    }
}

static void fast_complete(struct far_layer *layer, const struct far_op *op)
{
    struct fast *f = of(layer);
    struct slot *slot;

    if (op->slot >= SLOTS)
        return;
    slot = &f->slots[op->slot];
    if ((slot->is != SENT && slot->is != LOST) ||
        slot->sequence != op->sequence)
        return;
    answered(f, slot, op);
    received(f);
    pump(f);
    if (f->s->open && f->s->params.records)
        look(f);
}

static void fast_room(struct far_layer *layer)
{
    of(layer)->full = false;
    pump(of(layer));
}

static void drop_slots(struct fast *f)
{
    for (unsigned i = 0; i < SLOTS; i++)
        f->slots[i].is = FREE;
}

/* What another process or machine says of its device may be anything. */
static bool is_sound(struct fast *f, const struct far_layer_news *news)
{
    memcpy(&f->caps, news->props, sizeof(f->caps));
    if (!far_sound_narrow(&f->caps, &far_sound_anything))
        return true;
    snprintf(f->reason, sizeof(f->reason), "what it says of itself can't be");
    return false;
}

static void fast_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct fast *f = of(layer);
    uint64_t now_ns = far_now_ns(), now = position(f, now_ns);

    layer->device_state = state;
    f->full = false;
    f->controls_count = 0;
    far_timer_cancel(&f->again);
    /* From here on another clock counts, from where this one has got to. */
    f->waits_ns = 0;
    if (f->s->open && f->s->running)
        set_clock(f, now_ns, f->s->params.records ? f->s->ready_bytes : now);
    if (plays(f))
        f->given_bytes = taken(f);
    if (news && news->ops_lost)
        drop_slots(f);
    f->device = GONE;
    snprintf(f->reason, sizeof(f->reason), "%s",
             news && news->reason ? news->reason : "");
    if (state == FAR_DEVICE_READY && news && is_sound(f, news)) {
        f->device = READY;
        f->patient = f->caps.flags & FAR_SOUND_WAITS;
        open_device(f);
        pump(f);
    }
    look(f);
}

static bool fast_interrupt(struct far_layer *layer, const struct far_op *op)
{
    (void)op;
    layer->counters.dropped++;
    return true;
}

/* --- the guest's ops --------------------------------------------------------
 */

static void stop_clock(struct fast *f, uint64_t bytes)
{
    edit(f);
    f->s->running = 0;
    f->s->base_bytes = bytes;
    seal(f);
    far_timer_cancel(&f->due);
    f->waits_ns = 0;
    f->waited = f->stalled = false;
}

static void close_stream(struct fast *f)
{
    struct far_sound_params p = f->s->params;

    if (!f->s->open)
        return;
    stop_clock(f, position(f, far_now_ns()));
    f->s->open = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        if (f->slots[i].is == SENT && f->slots[i].opcode == FAR_SOUND_READ)
            f->slots[i].is = LOST;
        else if (f->slots[i].is == DONE)
            f->slots[i].is = FREE;
    }
    if (f->device == REFUSED || f->device == OPEN)
        f->device = READY;
    control(f, FAR_SOUND_CLOSE, &p);
}

static int open_stream(struct fast *f, const struct far_op *op)
{
    struct far_sound_params p;

    memcpy(&p, op->args, sizeof(p));
    p.stream = f->s->streams + 1;
    p.offset_bytes = 0;
    if (far_sound_params_fault(&p))
        return -EINVAL;
    close_stream(f);
    edit(f);
    f->s->params = p;
    f->s->streams = p.stream;
    f->s->base_bytes = f->s->told_bytes = f->s->ready_bytes = 0;
    f->s->taken_bytes = 0;
    f->s->open = 1;
    seal(f);
    f->given_bytes = f->asked_bytes = 0;
    f->underrun = false;
    set_gain(f);
    next_period(f, 0);
    control(f, FAR_SOUND_OPEN, &p);
    return 0;
}

static int write_samples(struct fast *f, const struct far_op *op,
                         const uint8_t *payload)
{
    const struct far_sound_params *p = &f->s->params;
    uint64_t now = position(f, far_now_ns()), end;
    struct far_sound_args a;
    int r = far_sound_check(op, f->s->open ? p : NULL);

    if (r)
        return r;
    memcpy(&a, op->args, sizeof(a));
    end = a.offset_bytes + a.length_bytes;
    if (end > now + p->buffer_bytes || a.length_bytes > p->buffer_bytes)
        return -ENOSPC;
    f->waited = false;
    if (a.offset_bytes > f->s->ready_bytes)
        silence(f, f->s->ready_bytes, a.offset_bytes);
    to_ring(f, a.offset_bytes, payload, a.length_bytes);
    if (end > f->s->ready_bytes)
        f->s->ready_bytes = end;
    if (a.offset_bytes < f->given_bytes)
        f->given_bytes = a.offset_bytes;
    return 0;
}

static int read_samples(struct fast *f, const struct far_op *op,
                        uint8_t *payload)
{
    const struct far_sound_params *p = &f->s->params;
    struct far_sound_args a;
    uint64_t oldest;
    int r = far_sound_check(op, f->s->open ? p : NULL);

    if (r)
        return r;
    memcpy(&a, op->args, sizeof(a));
    if (a.length_bytes > p->buffer_bytes)
        return -ENOSPC;
    oldest = f->s->ready_bytes > p->buffer_bytes
                 ? f->s->ready_bytes - p->buffer_bytes
                 : 0;
    far_sound_silence(p->format, payload, a.length_bytes);
    if (a.offset_bytes >= oldest && a.offset_bytes < f->s->ready_bytes) {
        uint64_t there = f->s->ready_bytes - a.offset_bytes;

        from_ring(f, a.offset_bytes, payload,
                  there < a.length_bytes ? (uint32_t)there : a.length_bytes);
    }
    apply_gain(f, payload, a.length_bytes);
    return 0;
}

static int trigger(struct fast *f, const struct far_op *op)
{
    struct far_sound_trigger_args t;
    uint64_t now_ns = far_now_ns(), now = position(f, now_ns);
    const struct far_sound_params *p = &f->s->params;
    int r = far_sound_check(op, f->s->open ? p : NULL);

    if (r)
        return r;
    memcpy(&t, op->args, sizeof(t));
    if (p->records)
        now = f->s->ready_bytes;
    if (t.type == FAR_SOUND_START || t.type == FAR_SOUND_RESUME) {
        if (f->s->running)
            return 0;
        edit(f);
        f->s->base_ns = now_ns;
        f->s->base_bytes = now;
        f->s->running = 1;
        seal(f);
        f->waited = false;
        next_period(f, now);
    } else {
        bool ran = f->s->running;

        stop_clock(f, now);
        /* Linux' front begins again at its buffer's start, and goes on
         * counting from where it was: so a stop leads there. */
        t.offset_bytes = now;
        if (t.type == FAR_SOUND_STOP && ran) {
            uint64_t start =
                (now + p->buffer_bytes - 1) / p->buffer_bytes * p->buffer_bytes;

            control(f, FAR_SOUND_TRIGGER, &t);
            edit(f);
            f->s->base_bytes = f->s->ready_bytes = start;
            f->s->taken_bytes = start;
            seal(f);
            f->given_bytes = f->asked_bytes = start;
            if (p->period_bytes && start > f->s->told_bytes)
                tell(f, start);
            f->s->told_bytes = start;
            return 0;
        }
    }
    t.offset_bytes = now;
    control(f, FAR_SOUND_TRIGGER, &t);
    set_due(f);
    return 0;
}

static int set_volume(struct fast *f, const struct far_op *op,
                      const uint8_t *payload)
{
    uint32_t bytes = f->s->params.channels * (uint32_t)sizeof(int32_t);

    if (!f->s->open)
        return -ESTALE;
    if (op->payload_bytes != bytes)
        return -EINVAL;
    for (unsigned i = 0; i < f->s->params.channels; i++) {
        int32_t v;

        memcpy(&v, payload + i * sizeof(v), sizeof(v));
        f->s->volume[i] = v < VOLUME_MIN   ? VOLUME_MIN
                          : v > VOLUME_MAX ? VOLUME_MAX
                                           : v;
    }
    return 0;
}

static int mute(struct fast *f, const struct far_op *op)
{
    struct far_sound_mute_args a;

    if (!f->s->open)
        return -ESTALE;
    memcpy(&a, op->args, sizeof(a));
    f->s->muted = a.mute ? f->s->muted | a.channels : f->s->muted & ~a.channels;
    return 0;
}

/* What was given and not played is given again, as loud as it is now. */
static void regain(struct fast *f)
{
    uint64_t now = position(f, far_now_ns());

    set_gain(f);
    if (plays(f) && f->given_bytes > now)
        f->given_bytes = now;
}

static int query(const struct fast *f, struct far_op *op)
{
    struct far_sound_caps caps;
    uint32_t least = UINT32_MAX, most;
    int r;

    memcpy(&caps, op->args, sizeof(caps));
    caps.flags = 0;
    r = far_sound_narrow(&caps, &far_sound_anything);
    if (!r && f->device != GONE)
        r = far_sound_narrow(&caps, &f->caps);
    if (r)
        return r;
    for (unsigned i = 0; far_sound_sample_bytes(i); i++)
        if (caps.formats & 1u << i && far_sound_sample_bytes(i) < least)
            least = far_sound_sample_bytes(i);
    most = FAR_SOUND_BUFFER_MAX / (least * caps.channels_min);
    if (caps.buffer_max > most)
        caps.buffer_max = most;
    if (caps.period_max > caps.buffer_max)
        caps.period_max = caps.buffer_max;
    if (caps.buffer_min > caps.buffer_max || caps.period_min > caps.period_max)
        return -EINVAL;
    memcpy(op->args, &caps, sizeof(caps));
    return 0;
}

static enum far_verdict fast_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct fast *f = of(layer);
    uint32_t had = op->payload_bytes;

    switch (op->opcode) {
    case FAR_SOUND_OPEN:
        op->status = open_stream(f, op);
        break;
    case FAR_SOUND_CLOSE:
        op->status = f->s->open ? 0 : -ESTALE;
        close_stream(f);
        break;
    case FAR_SOUND_WRITE:
        op->status = write_samples(f, op, payload);
        break;
    case FAR_SOUND_READ:
        op->status = read_samples(f, op, payload);
        break;
    case FAR_SOUND_TRIGGER:
        op->status = trigger(f, op);
        break;
    case FAR_SOUND_SET_VOLUME:
        op->status = set_volume(f, op, payload);
        regain(f);
        break;
    case FAR_SOUND_GET_VOLUME:
        op->status = !f->s->open                                      ? -ESTALE
                     : had != f->s->params.channels * sizeof(int32_t) ? -EINVAL
                                                                      : 0;
        if (!op->status)
            memcpy(payload, f->s->volume, had);
        break;
    case FAR_SOUND_MUTE:
        op->status = mute(f, op);
        regain(f);
        break;
    case FAR_SOUND_QUERY:
        op->status = query(f, op);
        break;
    case FAR_OP_NOP(FAR_CLASS_SOUND):
        op->status = 0;
        break;
    default:
        op->status = -EOPNOTSUPP;
        break;
    }
    op->payload_bytes = op->flags & FAR_OP_RECEIVES && !op->status ? had : 0;
    pump(f);
    return FAR_DONE;
}

/* --- its life ---------------------------------------------------------------
 */

static void fast_close(struct far_layer *layer)
{
    struct fast *f = of(layer);

    far_timer_cancel(&f->due);
    far_timer_cancel(&f->again);
    if (layer->below) {
        layer->below->above = NULL;
        far_layer_close(layer->below);
    }
    munmap(f->ring, FAR_SOUND_BUFFER_MAX);
    munmap(f->memory, SLOTS * FAR_SOUND_PAYLOAD_MAX);
    free(f);
}

static const struct far_layer_ops fast_ops = {
    .name = "fast-sound",
    .submit = fast_submit,
    .complete = fast_complete,
    .interrupt = fast_interrupt,
    .state = fast_state,
    .room = fast_room,
    .close = fast_close,
};

static uint8_t *map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

struct far_layer *far_fast_sound_new(struct far_loop *loop, uint64_t attachment,
                                     struct far_sound_state *state)
{
    struct fast *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->ring = map(FAR_SOUND_BUFFER_MAX);
    f->memory = map(SLOTS * FAR_SOUND_PAYLOAD_MAX);
    if (!f->ring || !f->memory) {
        if (f->ring)
            munmap(f->ring, FAR_SOUND_BUFFER_MAX);
        if (f->memory)
            munmap(f->memory, SLOTS * FAR_SOUND_PAYLOAD_MAX);
        free(f);
        return NULL;
    }
    f->layer.ops = &fast_ops;
    f->loop = loop;
    f->s = state;
    f->attachment = attachment;
    f->sequence = far_now_ns();
    far_timer_init(&f->due, loop, due);
    far_timer_init(&f->again, loop, again);
    set_gain(f);
    if (state->open) {
        f->given_bytes = state->taken_bytes;
        f->asked_bytes = state->ready_bytes;
        next_period(f, state->told_bytes);
        set_due(f);
    }
    return &f->layer;
}

uint64_t far_fast_sound_position(struct far_layer *fast)
{
    struct fast *f = of(fast);

    return f->s->open ? position(f, far_now_ns()) : 0;
}

const char *far_fast_sound_reason(const struct far_layer *fast)
{
    const struct fast *f = of(fast);

    return f->reason[0] ? f->reason : NULL;
}

const struct far_fast_sound_counters *
far_fast_sound_counters(const struct far_layer *fast)
{
    return &of(fast)->counters;
}
