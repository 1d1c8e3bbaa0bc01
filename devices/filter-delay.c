/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `delay`: what the device behind sends unasked comes later by a
 * fixed time, in its order. Ops go through at once. What it holds is bounded;
 * more is held back by the device behind. A change of state does not wait: it
 * pushes what was held out in front of it.
 */
#include "devices/filter.h"
#include "devices/types.h"

#define HELD_MAX 256u

struct delay {
    struct far_layer layer;
    struct far_loop *loop;
    uint64_t delay_us;
    struct far_timer timer;
    bool blocked;       /* the layer above had no room */
    bool below_blocked; /* we had none */
    bool giving;
    uint32_t head, used;
    struct {
        uint64_t due_us;
        struct far_op op;
    } held[HELD_MAX];
};

static void give(struct delay *d, uint64_t upto_us)
{
    if (d->giving)
        return;
    d->giving = true;
    while (d->used && !d->blocked && d->held[d->head].due_us <= upto_us) {
        if (!far_layer_interrupt(d->layer.above, &d->held[d->head].op)) {
            d->blocked = true;
            break;
        }
        d->head = (d->head + 1) % HELD_MAX;
        d->used--;
    }
    d->giving = false;
    if (d->used && !d->blocked)
        far_timer_set(&d->timer, d->held[d->head].due_us);
    if (d->below_blocked && d->used < HELD_MAX) {
        d->below_blocked = false;
        far_layer_resume(d->layer.below);
    }
}

static void due(struct far_timer *timer)
{
    struct delay *d =
        (struct delay *)(void *)((char *)timer - offsetof(struct delay, timer));

    give(d, far_loop_now_us(d->loop));
}

static bool delay_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct delay *d = (struct delay *)layer;
    uint32_t at = (d->head + d->used) % HELD_MAX;

    if (d->used == HELD_MAX) {
        d->below_blocked = true;
        return false;
    }
    d->held[at].due_us = far_loop_now_us(d->loop) + d->delay_us;
    d->held[at].op = *op;
    if (d->used++ == 0 && !d->blocked)
        far_timer_set(&d->timer, d->held[at].due_us);
    return true;
}

static void delay_state(struct far_layer *layer, enum far_device_state state,
                        const struct far_layer_news *news)
{
    struct delay *d = (struct delay *)layer;

    give(d, UINT64_MAX);
    far_layer_state(layer->above, state, news);
}

static void delay_resume(struct far_layer *layer)
{
    struct delay *d = (struct delay *)layer;

    d->blocked = false;
    give(d, far_loop_now_us(d->loop));
}

static void delay_close(struct far_layer *layer)
{
    struct delay *d = (struct delay *)layer;

    far_timer_cancel(&d->timer);
    far_filter_close(layer);
}

static const struct far_layer_ops delay_ops = {
    .name = "delay",
    .resume = delay_resume,
    .close = delay_close,
    .interrupt = delay_interrupt,
    .state = delay_state,
};

static int delay_open(struct far_device *device,
                      const struct far_local_who *who, struct far_layer **layer,
                      struct far_error *error)
{
    struct delay *d;
    int r = far_filter_open(device, who, &delay_ops, sizeof(*d), layer, error);

    if (r)
        return r;
    d = (struct delay *)(void *)*layer;
    d->loop = device->devices->loop;
    d->delay_us = far_conf_time_us(device->section, "delay", 0);
    if (d->delay_us > UINT64_MAX / 4)
        d->delay_us = 0; /* off */
    far_timer_init(&d->timer, d->loop, due);
    return 0;
}

const struct far_device_type far_type_delay = {
    .name = "delay",
    .class = FAR_CLASS_NONE,
    .device_bytes = sizeof(struct far_device),
    .create = far_filter_create,
    .destroy = far_filter_destroy,
    .open = delay_open,
};
