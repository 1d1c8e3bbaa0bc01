/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The event timer: see fast-timer.h. Expiries that the layer above can't take
 * are kept, a timer's together: what it is told is a total.
 */
#include "devices/fast-timer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "devices/timers.h"
#include "devices/types.h"

enum queued { NOT_QUEUED, QUEUED, VOID };

struct timer_layer {
    struct far_layer layer;
    struct far_loop *loop;
    bool bottom; /* the device itself */
    struct far_timers timers;
    struct far_timer look;
    uint64_t attachment, sequence;
    struct far_device *device; /* of a bottom one */

    /* Told when there is room: timers, first in first out. */
    struct far_timer_expired *kept; /* of each timer */
    uint32_t *queue;
    uint8_t *queued;  /* enum queued */
    uint8_t *outside; /* armed in the device behind */
    uint32_t head, used;
    bool blocked;
    void (*before)(struct far_layer *above);
    struct far_fast_timer_counters counters;
};

static struct timer_layer *timer_of(const struct far_layer *layer)
{
    return (struct timer_layer *)(uintptr_t)layer;
}

static bool tell(struct timer_layer *t, const struct far_timer_expired *e)
{
    struct far_op op = { .attachment = t->attachment,
                         .opcode = FAR_TIMER_EXPIRED };

    if (t->bottom)
        op.sequence = t->sequence + 1;
    memcpy(op.args, e, sizeof(*e));
    if (!far_layer_interrupt(t->layer.above, &op))
        return false;
    t->sequence++;
    return true;
}

static void keep(struct timer_layer *t, const struct far_timer_expired *e)
{
    uint8_t was = t->queued[e->timer];

    t->kept[e->timer] = *e;
    t->queued[e->timer] = QUEUED;
    if (was == QUEUED)
        t->counters.merged++;
    if (was)
        return;
    t->queue[(t->head + t->used++) % t->timers.count] = e->timer;
}

static void drain(struct timer_layer *t)
{
    while (t->used && !t->blocked) {
        uint32_t timer = t->queue[t->head];

        if (t->queued[timer] == QUEUED && !tell(t, &t->kept[timer])) {
            t->blocked = true;
            return;
        }
        t->queued[timer] = NOT_QUEUED;
        t->head = (t->head + 1) % t->timers.count;
        t->used--;
    }
}

/* The loop sleeps to the microsecond: the next whole one, as nothing expires
 * early. */
static void set_look(struct timer_layer *t)
{
    uint64_t next = far_timers_next(&t->timers);

    if (next == FAR_TIMERS_NEVER)
        far_timer_cancel(&t->look);
    else
        far_timer_set(&t->look, next / 1000 + (next % 1000 != 0));
}

static void look(struct timer_layer *t)
{
    struct far_timer_expired e;
    uint64_t now_ns;

    if (!t->layer.above)
        return;
    if (t->before)
        t->before(t->layer.above);
    now_ns = far_now_ns();
    while (far_timers_expire(&t->timers, now_ns, &e)) {
        t->counters.expiries++;
        far_hist_add(&t->counters.late, now_ns - e.deadline_ns);
        if (t->used || t->blocked || !tell(t, &e)) {
            keep(t, &e);
            t->blocked = true;
        }
    }
    set_look(t);
}

static void look_due(struct far_timer *timer)
{
    look((struct timer_layer *)((char *)timer -
                                offsetof(struct timer_layer, look)));
}

static void arm(struct timer_layer *t, struct far_op *op,
                struct far_timer_args *a)
{
    if (a->flags & FAR_TIMER_RELATIVE) {
        uint64_t now_ns = far_now_ns();

        a->deadline_ns = a->deadline_ns > UINT64_MAX - now_ns
                             ? UINT64_MAX
                             : now_ns + a->deadline_ns;
    }
    far_timers_arm(&t->timers, a);
    t->outside[a->timer] = 0;
    t->counters.armed++;
    memcpy(op->args, a, sizeof(*a));
    /* The loop's own timer moves only when the first one has. */
    if (t->timers.heap[0] == a->timer)
        set_look(t);
}

/* An expiry that nobody was told of is none of the new arming's: its place in
 * the queue is passed over. */
static void forget(struct timer_layer *t, uint32_t timer)
{
    if (t->queued[timer])
        t->queued[timer] = VOID;
}

static enum far_verdict timer_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    struct timer_layer *t = timer_of(layer);
    struct far_timer_args a;

    (void)payload;
    op->status = far_timer_check(op, t->timers.count);
    if (op->status == -EOPNOTSUPP && !t->bottom)
        return FAR_PASS;
    if (op->status)
        return FAR_DONE;
    t->attachment = op->attachment;
    memcpy(&a, op->args, sizeof(a));
    switch (op->opcode) {
    case FAR_TIMER_ARM:
        forget(t, a.timer);
        if (a.flags & FAR_TIMER_OUTSIDE && !t->bottom) {
            if (far_timers_cancel(&t->timers, a.timer))
                set_look(t);
            t->outside[a.timer] = 1;
            return FAR_PASS;
        }
        arm(t, op, &a);
        break;
    case FAR_TIMER_CANCEL:
        if (t->outside[a.timer]) {
            t->outside[a.timer] = 0;
            return FAR_PASS;
        }
        forget(t, a.timer);
        a = (struct far_timer_args){
            .timer = a.timer, .arm = far_timers_cancel(&t->timers, a.timer)
        };
        memcpy(op->args, &a, sizeof(a));
        /* An early look for nothing costs less than a change each time. */
        break;
    case FAR_TIMER_NOW:
        a = (struct far_timer_args){ .deadline_ns = far_now_ns() };
        memcpy(op->args, &a, sizeof(a));
        break;
    default:
        break;
    }
    return FAR_DONE;
}

/* The device behind speaks of its own armings, and of no other. */
static bool fast_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct far_timer_expired e;

    memcpy(&e, op->args, sizeof(e));
    if (op->opcode == FAR_TIMER_EXPIRED && !(e.arm & FAR_TIMER_OUTSIDE)) {
        layer->counters.dropped++;
        return true;
    }
    return far_layer_interrupt(layer->above, op);
}

static void timer_resume(struct far_layer *layer)
{
    struct timer_layer *t = timer_of(layer);

    t->blocked = false;
    drain(t);
    if (!t->bottom)
        far_layer_resume(layer->below);
}

static void timer_activate(struct far_layer *layer, uint64_t incarnation,
                           uint64_t received)
{
    struct timer_layer *t = timer_of(layer);

    if (t->bottom) {
        struct far_layer_news news = { .incarnation = t->device->incarnation };

        if (incarnation == news.incarnation && received > t->sequence)
            t->sequence = received;
        memcpy(news.props, t->device->props, sizeof(news.props));
        far_layer_state(layer->above, FAR_DEVICE_READY, &news);
    } else {
        far_layer_activate(layer->below, incarnation, received);
    }
}

static void timer_ack(struct far_layer *layer, uint64_t sequence)
{
    if (!timer_of(layer)->bottom)
        far_layer_ack(layer->below, sequence);
}

static void timer_close(struct far_layer *layer)
{
    struct timer_layer *t = timer_of(layer);
    struct far_layer *below = layer->below;

    far_timer_cancel(&t->look);
    if (below)
        below->above = NULL;
    far_layer_close(below);
    far_timers_free(&t->timers);
    free(t->kept);
    free(t->queue);
    free(t->queued);
    free(t->outside);
    free(t);
}

static const struct far_layer_ops fast_ops = {
    .name = "fast-timer",
    .submit = timer_submit,
    .interrupt = fast_interrupt,
    .activate = timer_activate,
    .ack = timer_ack,
    .resume = timer_resume,
    .close = timer_close,
};

static const struct far_layer_ops bottom_ops = {
    .name = "timer",
    .submit = timer_submit,
    .activate = timer_activate,
    .ack = timer_ack,
    .resume = timer_resume,
    .close = timer_close,
};

static struct timer_layer *make(struct far_loop *loop, uint32_t timers,
                                bool bottom)
{
    struct timer_layer *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    t->layer.ops = bottom ? &bottom_ops : &fast_ops;
    t->loop = loop;
    t->bottom = bottom;
    far_timer_init(&t->look, loop, look_due);
    t->kept = calloc(timers, sizeof(*t->kept));
    t->queue = calloc(timers, sizeof(*t->queue));
    t->queued = calloc(timers, 1);
    t->outside = calloc(timers, 1);
    if (!far_timers_init(&t->timers, timers) && t->kept && t->queue &&
        t->queued && t->outside)
        return t;
    timer_close(&t->layer);
    return NULL;
}

struct far_layer *far_fast_timer_new(struct far_loop *loop, uint32_t timers)
{
    struct timer_layer *t = make(loop, timers, false);

    return t ? &t->layer : NULL;
}

void far_fast_timer_before(struct far_layer *fast,
                           void (*before)(struct far_layer *above))
{
    timer_of(fast)->before = before;
}

void far_fast_timer_reset(struct far_layer *fast)
{
    struct timer_layer *t = timer_of(fast);

    for (uint32_t i = 0; i < t->timers.count; i++) {
        (void)far_timers_cancel(&t->timers, i);
        forget(t, i);
    }
    memset(t->outside, 0, t->timers.count);
    t->blocked = false;
    far_timer_cancel(&t->look);
}

uint64_t far_fast_timer_next(const struct far_layer *fast)
{
    return far_timers_next(&timer_of(fast)->timers);
}

void far_fast_timer_look(struct far_layer *fast)
{
    struct timer_layer *t = timer_of(fast);

    if (far_timers_next(&t->timers) != FAR_TIMERS_NEVER)
        look(t);
}

const struct far_fast_timer_counters *
far_fast_timer_counters(const struct far_layer *fast)
{
    return &timer_of(fast)->counters;
}

/* ---- as a device ---- */

static int device_create(struct far_device *device, struct far_error *error)
{
    struct far_timer_props props = {
        .timers = (uint32_t)far_conf_number(device->section, "timers", 1024),
        .resolution_ns = 1000,
    };

    (void)error;
    memcpy(device->props, &props, sizeof(props));
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void device_destroy(struct far_device *device)
{
    (void)device;
}

static int device_open(struct far_device *device,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct far_timer_props props;
    struct timer_layer *t;

    memcpy(&props, device->props, sizeof(props));
    t = make(device->devices->loop, props.timers, true);
    if (!t)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    t->device = device;
    t->attachment = who->attachment;
    *layer = &t->layer;
    return 0;
}

const struct far_device_type far_type_timer = {
    .name = "timer",
    .class = FAR_CLASS_TIMER,
    .device_bytes = sizeof(struct far_device),
    .create = device_create,
    .destroy = device_destroy,
    .open = device_open,
};
