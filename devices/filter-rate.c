/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `rate`: lets so many ops, and so many bytes of their payloads,
 * through in a second, of all its users together. A bucket each, of 100 ms: an
 * op goes through while there is something in both, and may leave less than
 * nothing. Whoever finds none keeps his op, and is told when there is room; a
 * timer does that, in turn.
 */
#include <errno.h>
#include "core/clock.h"
#include "devices/filter.h"
#include "devices/types.h"

#define BURST_US 100000
#define SCALE    1000000 /* buckets count millionths */

struct bucket {
    int64_t a_second; /* 0: no limit */
    int64_t has;
};

struct rate_user;

struct rate_device {
    struct far_device device;
    struct bucket ops, bytes;
    uint64_t filled_us;
    struct far_timer timer;
    struct rate_user *users; /* who is first is told first */
};

struct rate_user {
    struct far_layer layer;
    struct rate_device *device;
    bool waits;
    struct rate_user *next;
};

static void fill(struct bucket *b, int64_t us)
{
    int64_t most = b->a_second * BURST_US;

    b->has += b->a_second * us;
    if (b->has > most)
        b->has = most;
}

/* How long until there is something in it. */
static uint64_t empty_us(const struct bucket *b)
{
    return b->a_second && b->has <= 0 ? (uint64_t)(-b->has / b->a_second) + 1
                                      : 0;
}

static void refill(struct rate_device *d, uint64_t now_us)
{
    uint64_t us = now_us - d->filled_us;

    /* a bucket that was far below nothing is full again after that long, too */
    if (us > 100 * SCALE)
        us = 100 * SCALE;
    d->filled_us = now_us;
    fill(&d->ops, (int64_t)us);
    fill(&d->bytes, (int64_t)us);
}

static enum far_verdict rate_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct rate_user *u = (struct rate_user *)(void *)layer;
    struct rate_device *d = u->device;
    uint64_t wait_us, bytes_us;

    (void)payload;
    refill(d, far_loop_now_us(d->device.devices->loop));
    wait_us = empty_us(&d->ops);
    bytes_us = empty_us(&d->bytes);
    if (bytes_us > wait_us)
        wait_us = bytes_us;
    if (!wait_us) {
        d->ops.has -= SCALE;
        d->bytes.has -= (int64_t)op->payload_bytes * SCALE;
        return FAR_PASS;
    }
    u->waits = true;
    if (!far_timer_armed(&d->timer))
        far_timer_set(&d->timer, d->filled_us + wait_us);
    return FAR_FULL;
}

/* The last one of those who wait, who then is the last of all: so it is
 * another one's turn the next time. */
static struct rate_user *next_user(struct rate_device *d)
{
    struct rate_user **at, **found = NULL, *u;

    for (at = &d->users; *at; at = &(*at)->next)
        if ((*at)->waits)
            found = at;
    if (!found)
        return NULL;
    u = *found;
    *found = u->next;
    u->next = d->users;
    d->users = u;
    return u;
}

static void due(struct far_timer *timer)
{
    struct rate_device *d =
        (struct rate_device *)(void *)((char *)timer -
                                       offsetof(struct rate_device, timer));
    struct rate_user *u;

    /* who finds it empty again has armed the timer */
    while (!far_timer_armed(timer) && (u = next_user(d)) != NULL) {
        u->waits = false;
        far_layer_room(u->layer.above);
    }
}

static void rate_close(struct far_layer *layer)
{
    struct rate_user *u = (struct rate_user *)(void *)layer, **at;

    for (at = &u->device->users; *at != u; at = &(*at)->next)
        ;
    *at = u->next;
    far_filter_close(layer);
}

static const struct far_layer_ops rate_ops = {
    .name = "rate",
    .submit = rate_submit,
    .close = rate_close,
};

static int rate_create(struct far_device *device, struct far_error *error)
{
    struct rate_device *d = (struct rate_device *)(void *)device;

    d->ops.a_second = (int64_t)far_conf_number(device->section, "ops", 0);
    d->bytes.a_second = (int64_t)far_conf_number(device->section, "bytes", 0);
    if (!d->ops.a_second && !d->bytes.a_second)
        return far_error(error, -EINVAL,
                         "%s: says no limit; say `ops =` or `bytes =`, of a "
                         "second",
                         device->name);
    far_timer_init(&d->timer, device->devices->loop, due);
    return far_filter_create(device, error);
}

static void rate_destroy(struct far_device *device)
{
    struct rate_device *d = (struct rate_device *)(void *)device;

    far_timer_cancel(&d->timer);
}

static int rate_open(struct far_device *device, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    struct rate_device *d = (struct rate_device *)(void *)device;
    struct rate_user *u;
    int r = far_filter_open(device, who, &rate_ops, sizeof(*u), layer, error);

    if (r)
        return r;
    u = (struct rate_user *)(void *)*layer;
    u->device = d;
    u->next = d->users;
    d->users = u;
    return 0;
}

const struct far_device_type far_type_rate = {
    .name = "rate",
    .class = FAR_CLASS_NONE,
    .device_bytes = sizeof(struct rate_device),
    .create = rate_create,
    .destroy = rate_destroy,
    .open = rate_open,
};
