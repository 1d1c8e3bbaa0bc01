/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fast input device, between an input port and whatever is behind: it
 * knows what the guest believes, and keeps that true. Presses and releases go
 * up at most once and in order; a held key is released when the device has
 * been gone too long, or comes back and does not state it. While the port has
 * no room its queue coalesces; what finds no place there either is refused, and
 * waits below: nothing but what is stale is dropped on its account.
 *
 * Acks: what goes up carries the sequence of the last interrupt that it
 * settles (merged, dropped, made ones included), so the port's ack is
 * cumulative as it stands; what was dropped behind the last one that went up is
 * acked together with that one.
 */
#include "devices/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "devices/input-queue.h"

struct fast_input {
    struct far_layer layer;
    struct far_loop *loop;
    struct far_fast_input_options options;
    struct far_timer release; /* runs while keys are held and nobody vouches */
    uint64_t attachment, incarnation;
    /* of this incarnation: */
    uint64_t seen;      /* last sequence that came in */
    uint64_t delivered; /* last that went up */
    uint64_t trailing;  /* last that was dropped, all before it settled */
    uint64_t acked_by_port, acked_below;
    bool known; /* activate or state told the incarnation */
    bool blocked, draining, stating;
    bool refusing; /* below waits until far_layer_resume() */
    bool lost; /* it was gone, or is another one, since the last statement */
    struct far_key_set stated; /* between STATE_BEGIN and STATE_END */
    struct far_key_set made;   /* released here, original not seen yet */
    /* Keys that others than the device hold down. The timer runs while there
     * are any: it releases those of `foreign_old`, and makes `foreign` old. */
    struct far_key_set foreign, foreign_old;
    struct far_timer foreign_release;
    struct far_fast_input_counters counters;
    char reason[232];
    struct far_input_queue queue;
};

static struct fast_input *fast_of(const struct far_layer *layer)
{
    return (struct fast_input *)(uintptr_t)layer;
}

static bool anything_held(const struct fast_input *f)
{
    return f->queue.keys_tail || f->queue.contacts_tail || f->queue.over_any ||
           f->queue.frame_tail;
}

static void ack_below(struct fast_input *f)
{
    uint64_t upto = f->acked_by_port;

    if (upto >= f->delivered && f->trailing > upto)
        upto = f->trailing;
    if (upto > f->acked_below) {
        f->acked_below = upto;
        far_layer_ack(f->layer.below, upto);
    }
}

/* What waits below may come. Half of the queue at once: each time costs. */
static void welcome(struct fast_input *f)
{
    if (!f->refusing || f->queue.used > FAR_INPUT_QUEUE_ENTRIES / 2)
        return;
    f->refusing = false;
    far_layer_resume(f->layer.below);
}

static void drain(struct fast_input *f)
{
    struct far_op op = { .attachment = f->attachment,
                         .opcode = FAR_INPUT_EVENT };
    uint64_t now_us, dropped = 0;

    if (f->draining || f->blocked || !f->layer.above)
        return;
    f->draining = true;
    now_us = far_loop_now_us(f->loop);
    for (;;) {
        uint64_t stale = 0, before = f->delivered;
        struct far_input_queue_entry *e =
            far_input_queue_peek(&f->queue, now_us, f->options.stale_us, &stale,
                                 &dropped, &f->trailing);

        f->counters.stale += stale;
        if (!e)
            break;
        op.sequence = e->sequence > f->delivered ? e->sequence : f->delivered;
        if (op.sequence < f->trailing)
            op.sequence = f->trailing;
        memcpy(op.args, &e->event, sizeof(e->event));
        /* set before: the port may ack from within */
        f->delivered = op.sequence;
        if (!far_layer_interrupt(f->layer.above, &op)) {
            f->delivered = before;
            f->blocked = true;
            break;
        }
        far_input_queue_took(&f->queue);
        f->counters.delivered++;
    }
    f->counters.dropped_presses += dropped;
    f->draining = false;
    ack_below(f);
    welcome(f);
}

/* False: there is no place, but will be; nothing was done. */
static bool put(struct fast_input *f, const struct far_input_event *event)
{
    enum far_input_put result = far_input_queue_put(&f->queue, event, f->seen);
    bool key = event->type == FAR_INPUT_KEY && event->code <= FAR_INPUT_KEY_MAX;

    switch (result) {
    case FAR_INPUT_QUEUED:
        if (key && event->value) {
            far_key_put(&f->made, event->code, false);
        } else if (key) {
            far_key_put(&f->foreign, event->code, false);
            far_key_put(&f->foreign_old, event->code, false);
        }
        return true;
    case FAR_INPUT_MERGED:
        f->counters.coalesced++;
        f->layer.counters.coalesced++;
        break;
    case FAR_INPUT_REPEATED:
        f->counters.repeats++;
        if (key && !event->value && far_key_get(&f->made, event->code)) {
            far_key_put(&f->made, event->code, false);
            f->counters.late_releases++;
        }
        f->layer.counters.dropped++;
        break;
    case FAR_INPUT_NO_PLACE:
        if (f->queue.used)
            return false;
        /* So many keys are held that no other finds a place beside their
         * releases; these may be behind it. */
        if (key)
            f->counters.dropped_presses++;
        f->layer.counters.dropped++;
        break;
    case FAR_INPUT_NOT_VALID:
        f->layer.counters.dropped++;
        break;
    }
    if (!f->queue.used && f->seen > f->trailing)
        f->trailing = f->seen;
    return true;
}

/* Releases what the device holds but is not in keep (NULL: all). */
static void make_releases(struct fast_input *f, const struct far_key_set *keep)
{
    struct far_key_set before = f->queue.tail, stay;

    for (unsigned i = 0; i < 12; i++)
        stay.bits[i] = f->foreign.bits[i] | f->foreign_old.bits[i] |
                       (keep ? keep->bits[i] : 0);
    f->counters.made_releases += far_input_queue_release(
        &f->queue, &stay, far_loop_now_us(f->loop), f->seen);
    for (unsigned i = 0; i < 12; i++)
        f->made.bits[i] |= before.bits[i] & ~f->queue.tail.bits[i];
}

static void make_lifts(struct fast_input *f)
{
    f->counters.made_releases +=
        far_input_queue_lift(&f->queue, far_loop_now_us(f->loop), f->seen);
}

/* What is stated is down, all else is up; a modifier that the guest believes
 * up is pressed again, another key is not: nobody pressed it just now. */
static void end_of_statement(struct fast_input *f)
{
    f->stating = false;
    far_timer_cancel(&f->release);
    make_releases(f, &f->stated);
    if (f->lost) /* touches can't be stated */
        make_lifts(f);
    f->lost = false;
    far_input_queue_point(&f->queue, far_loop_now_us(f->loop), f->seen);
    for (unsigned key = 0; key <= FAR_INPUT_KEY_MAX; key++) {
        struct far_input_event e = { .type = FAR_INPUT_KEY,
                                     .flags = FAR_INPUT_MADE | FAR_INPUT_HELD,
                                     .code = (uint16_t)key,
                                     .value = 1 };

        if (!far_key_get(&f->stated, key) || far_key_get(&f->queue.tail, key) ||
            !far_input_is_modifier((uint16_t)key))
            continue;
        e.time_us = far_loop_now_us(f->loop);
        if (put(f, &e))
            f->counters.made_presses++;
    }
}

static bool refuse(struct fast_input *f, uint64_t seen)
{
    f->seen = seen;
    f->refusing = true;
    return false;
}

static bool fast_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct fast_input *f = fast_of(layer);
    uint64_t before = f->seen;
    struct far_input_event e;

    if (op->opcode != FAR_INPUT_EVENT) {
        layer->counters.dropped++;
        return true;
    }
    if (op->sequence) {
        if (op->sequence <= f->seen) { /* sent again, but it had arrived */
            layer->counters.dropped++;
            return true;
        }
        f->seen = op->sequence;
    }
    memcpy(&e, op->args, sizeof(e));
    f->attachment = op->attachment;
    switch (e.type) {
    case FAR_INPUT_STATE_BEGIN:
        f->stating = true;
        memset(&f->stated, 0, sizeof(f->stated));
        break;
    case FAR_INPUT_STATE_END:
        /* Modifiers that are pressed again shall find a place. */
        if (f->stating && f->queue.used > FAR_INPUT_QUEUE_ENTRIES / 2)
            return refuse(f, before);
        if (f->stating)
            end_of_statement(f);
        break;
    default:
        if (f->stating && e.type == FAR_INPUT_KEY &&
            e.code <= FAR_INPUT_KEY_MAX) {
            far_key_put(&f->stated, e.code, e.value != 0);
        }
        if (e.flags & FAR_INPUT_HELD)
            break;
        if (!put(f, &e))
            return refuse(f, before);
        drain(f);
        return true;
    }
    /* a statement's own events never go up */
    if (f->queue.used)
        f->queue
            .entries[(f->queue.head + f->queue.used - 1) %
                     FAR_INPUT_QUEUE_ENTRIES]
            .sequence = f->seen;
    else if (f->seen > f->trailing)
        f->trailing = f->seen;
    drain(f);
    return true;
}

static void release_due(struct far_timer *timer)
{
    struct fast_input *f =
        (struct fast_input *)((char *)timer -
                              offsetof(struct fast_input, release));

    make_releases(f, NULL);
    make_lifts(f);
    drain(f);
}

static void arm_release(struct fast_input *f)
{
    if (f->options.release_after_us == UINT64_MAX || !anything_held(f) ||
        far_timer_armed(&f->release))
        return;
    far_timer_set(&f->release,
                  far_loop_now_us(f->loop) + f->options.release_after_us);
}

/* Whoever pressed these has not spoken of them for so long: he is gone, or has
 * forgotten. */
static void foreign_due(struct far_timer *timer)
{
    struct fast_input *f =
        (struct fast_input *)((char *)timer -
                              offsetof(struct fast_input, foreign_release));
    struct far_key_set keep;

    for (unsigned i = 0; i < 12; i++)
        keep.bits[i] = f->queue.tail.bits[i] & ~f->foreign_old.bits[i];
    f->counters.made_releases += far_input_queue_release(
        &f->queue, &keep, far_loop_now_us(f->loop), f->seen);
    f->foreign_old = f->foreign;
    memset(&f->foreign, 0, sizeof(f->foreign));
    if (!far_key_set_empty(&f->foreign_old))
        far_timer_set(&f->foreign_release,
                      far_loop_now_us(f->loop) + f->options.release_after_us);
    drain(f);
}

int far_fast_input_foreign(struct far_layer *layer,
                           const struct far_input_event *event)
{
    struct fast_input *f = fast_of(layer);
    bool held = false;

    if (f->blocked || f->draining || f->queue.used || f->queue.over_any)
        return -EAGAIN;
    if (event->type == FAR_INPUT_KEY) {
        held = far_key_get(&f->foreign, event->code) ||
               far_key_get(&f->foreign_old, event->code);
        if (event->value ? far_key_get(&f->queue.tail, event->code) && !held
                         : !held)
            return 1;
        far_key_put(&f->foreign_old, event->code, false);
        far_key_put(&f->foreign, event->code, event->value != 0);
        if (event->value && f->options.release_after_us != UINT64_MAX &&
            !far_timer_armed(&f->foreign_release))
            far_timer_set(&f->foreign_release, far_loop_now_us(f->loop) +
                                                   f->options.release_after_us);
        if (event->value && held)
            return 1;
    }
    put(f, event);
    f->counters.foreign++;
    drain(f);
    return 0;
}

static void new_incarnation(struct fast_input *f, uint64_t incarnation,
                            uint64_t received)
{
    f->known = true;
    f->incarnation = incarnation;
    f->seen = f->delivered = f->trailing = received;
    f->acked_by_port = f->acked_below = received;
    f->stating = false;
    far_input_queue_forget_sequences(&f->queue);
}

static void fast_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct fast_input *f = fast_of(layer);

    if (state == FAR_DEVICE_READY) {
        f->reason[0] = '\0';
        far_timer_cancel(&f->release);
        if (news && (!f->known || news->incarnation != f->incarnation)) {
            new_incarnation(f, news->incarnation, 0);
            f->lost = true;
            arm_release(f); /* it will state what is held; if not: up */
        }
    } else {
        snprintf(f->reason, sizeof(f->reason), "%s",
                 news && news->reason && news->reason[0]
                     ? news->reason
                     : "the device is gone, nobody said why");
        f->stating = false;
        f->lost = true;
        arm_release(f);
    }
    far_layer_state(layer->above, state, news);
    drain(f);
}

static enum far_verdict fast_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    (void)payload;
    (void)layer;
    if (op->opcode != FAR_OP_NOP(FAR_CLASS_INPUT))
        return FAR_PASS;
    op->status = 0;
    return FAR_DONE;
}

static void fast_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct fast_input *f = fast_of(layer);

    if (incarnation && (!f->known || f->incarnation != incarnation))
        new_incarnation(f, incarnation, received);
    else if (incarnation && received > f->seen)
        new_incarnation(f, incarnation, received);
    far_layer_activate(layer->below, incarnation, received);
    if (layer->device_state != FAR_DEVICE_READY)
        arm_release(f); /* a predecessor's held keys, and no device */
    drain(f);
}

static void fast_ack(struct far_layer *layer, uint64_t sequence)
{
    struct fast_input *f = fast_of(layer);

    /* one from another incarnation is over what went up in this one */
    if (sequence <= f->acked_by_port || sequence > f->delivered)
        return;
    f->acked_by_port = sequence;
    if (!f->draining)
        ack_below(f);
}

static void fast_resume(struct far_layer *layer)
{
    struct fast_input *f = fast_of(layer);

    f->blocked = false;
    drain(f);
}

static void fast_close(struct far_layer *layer)
{
    struct fast_input *f = fast_of(layer);
    struct far_layer *below = layer->below;

    far_timer_cancel(&f->release);
    far_timer_cancel(&f->foreign_release);
    if (below)
        below->above = NULL;
    far_layer_close(below);
    free(f);
}

static const struct far_layer_ops fast_ops = {
    .name = "fast-input",
    .submit = fast_submit,
    .activate = fast_activate,
    .ack = fast_ack,
    .resume = fast_resume,
    .close = fast_close,
    .interrupt = fast_interrupt,
    .state = fast_state,
};

struct far_layer *far_fast_input_new(struct far_loop *loop,
                                     const struct far_fast_input_options *o)
{
    struct fast_input *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->layer.ops = &fast_ops;
    f->loop = loop;
    f->options = *o;
    far_timer_init(&f->release, loop, release_due);
    far_timer_init(&f->foreign_release, loop, foreign_due);
    far_input_queue_init(&f->queue);
    snprintf(f->reason, sizeof(f->reason), "the device has not answered yet");
    return &f->layer;
}

const struct far_key_set *far_fast_input_held(const struct far_layer *fast)
{
    return &fast_of(fast)->queue.taken;
}

void far_fast_input_set_held(struct far_layer *fast,
                             const struct far_key_set *held)
{
    struct fast_input *f = fast_of(fast);

    far_input_queue_reset(&f->queue, held);
    memset(&f->made, 0, sizeof(f->made));
    memset(&f->foreign, 0, sizeof(f->foreign));
    memset(&f->foreign_old, 0, sizeof(f->foreign_old));
    far_timer_cancel(&f->foreign_release);
    f->stating = f->blocked = false;
    if (f->seen > f->trailing) /* what waited is dropped */
        f->trailing = f->seen;
    ack_below(f);
}

const char *far_fast_input_reason(const struct far_layer *fast)
{
    const struct fast_input *f = fast_of(fast);

    return f->layer.device_state == FAR_DEVICE_READY ? NULL : f->reason;
}

void far_fast_input_counters(const struct far_layer *fast,
                             struct far_fast_input_counters *counters)
{
    const struct fast_input *f = fast_of(fast);

    *counters = f->counters;
    counters->queue_high_water = f->queue.high_water;
}
