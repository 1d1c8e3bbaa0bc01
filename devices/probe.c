/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The probe: for measuring. It sends a key event to its first user, waits
 * until the guest has taken it (its ack), notes how long that took, and sends
 * the next: at once, or after `interval`. F24, which no guest misses.
 */
#include "devices/input-source.h"

#include <linux/input-event-codes.h>
#include <string.h>
#include "core/clock.h"
#include "devices/types.h"

/* An event that nobody acks in this time is given up. */
#define LOST_US 1000000u

struct probe {
    struct far_source source;
    struct far_hist round_trips;
    uint64_t interval_us, sent_ns, waiting; /* for this sequence; 0: not */
    bool down;
    struct far_timer timer; /* the next one is due, or the last one lost */
    struct far_defer next;
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void send_one(struct probe *p)
{
    struct far_loop *loop = p->source.device.devices->loop;
    struct far_input_event e = { .type = FAR_INPUT_KEY, .code = KEY_F24 };

    if (!p->source.active)
        return;
    p->down = !p->down;
    e.value = p->down;
    p->sent_ns = far_now_ns();
    e.time_us = p->sent_ns / 1000;
    /* known before it is sent: the ack may come from within */
    p->waiting = far_source_sequence(&p->source, NULL) + 1;
    far_timer_set(&p->timer, far_loop_now_us(loop) + LOST_US);
    far_source_send(&p->source, &e, 1);
}

static void next_run(struct far_defer *defer)
{
    send_one(container(defer, struct probe, next));
}

static void timer_fired(struct far_timer *timer)
{
    send_one(container(timer, struct probe, timer));
}

static void probe_acked(struct far_source *source, struct far_source_user *user,
                        uint64_t sequence)
{
    struct probe *p = (struct probe *)source;
    struct far_loop *loop = source->device.devices->loop;

    (void)user;
    if (!p->waiting || sequence < p->waiting)
        return;
    far_hist_add(&p->round_trips, far_now_ns() - p->sent_ns);
    p->waiting = 0;
    if (p->interval_us) {
        far_timer_set(&p->timer, far_loop_now_us(loop) + p->interval_us);
    } else {
        far_timer_cancel(&p->timer);
        far_defer(loop, &p->next, next_run);
    }
}

static void probe_busy(struct far_source *source, bool busy)
{
    struct probe *p = (struct probe *)source;
    struct far_loop *loop = source->device.devices->loop;

    far_timer_cancel(&p->timer);
    far_defer_cancel(loop, &p->next);
    p->waiting = 0;
    if (busy) /* not from within: it has not been told that we are ready */
        far_timer_set(&p->timer, far_loop_now_us(loop) + p->interval_us);
}

static const struct far_hist *probe_round_trips(const struct far_device *device)
{
    return &((const struct probe *)device)->round_trips;
}

static int probe_create(struct far_device *device, struct far_error *error)
{
    struct probe *p = (struct probe *)device;
    const struct far_input_props props = { .can = FAR_INPUT_CAN_KEYS };

    (void)error;
    p->interval_us = far_conf_time_us(device->section, "interval", 0);
    if (p->interval_us == UINT64_MAX)
        p->interval_us = 0;
    p->source.prompt_acks = true;
    p->source.busy = probe_busy;
    p->source.acked = probe_acked;
    far_timer_init(&p->timer, device->devices->loop, timer_fired);
    far_source_ready(&p->source, &props);
    return 0;
}

static void probe_destroy(struct far_device *device)
{
    struct probe *p = (struct probe *)device;

    far_timer_cancel(&p->timer);
    far_defer_cancel(device->devices->loop, &p->next);
}

const struct far_device_type far_type_probe = {
    .name = "probe",
    .class = FAR_CLASS_INPUT,
    .device_bytes = sizeof(struct probe),
    .create = probe_create,
    .destroy = probe_destroy,
    .open = far_source_open,
    .round_trips = probe_round_trips,
};
