/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The probe: for measuring. It moves the pointer of its user, and again as soon
 * as the guest has read that (`wait = taken`, on the same machine), or as it is
 * in the guest's ring and journalled (`wait = acked`, across a link too), or
 * every `interval`. Each move carries the time at which it was made (32 bits of
 * nanoseconds), so that a frontend on the same machine can tell its age; and a
 * wheel's click, by which it knows moves that were added up on the way.
 */
#include "devices/input-source.h"

#include <string.h>
#include "core/clock.h"
#include "devices/types.h"

struct probe {
    struct far_source source;
    struct far_hist round_trips;
    uint64_t interval_us, sent_ns; /* sent_ns 0: none is under way */
    uint64_t sequence;             /* the first user's, of the last one */
    struct far_timer timer;        /* the next one is due */
    struct far_defer next;
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void send_one(struct probe *p, uint64_t now_ns)
{
    struct far_loop *loop = p->source.device.devices->loop;
    struct far_input_event e = { .type = FAR_INPUT_MOTION };

    if (!p->source.active)
        return;
    p->sent_ns = now_ns;
    e.time_us = p->sent_ns / 1000;
    e.x = (int32_t)(p->sent_ns & 0xffff);
    e.y = (int32_t)(p->sent_ns >> 16 & 0xffff);
    e.z = 1; /* more than that where several became one: no time then */
    if (p->interval_us)
        far_timer_set(&p->timer, far_loop_now_us(loop) + p->interval_us);
    /* known before it is sent: the ack may come from within */
    p->sequence = far_source_sequence(&p->source, NULL) + 1;
    far_source_send(&p->source, &e, 1);
}

static void next_run(struct far_defer *defer)
{
    send_one(container(defer, struct probe, next), far_now_ns());
}

static void timer_fired(struct far_timer *timer)
{
    send_one(container(timer, struct probe, timer), far_now_ns());
}

static void came_back(struct probe *p)
{
    if (!p->sent_ns)
        return;
    far_hist_add(&p->round_trips, far_now_ns() - p->sent_ns);
    p->sent_ns = 0;
    if (!p->interval_us)
        far_defer(p->source.device.devices->loop, &p->next, next_run);
}

static void probe_taken(struct far_source *source, struct far_source_user *user)
{
    struct probe *p = (struct probe *)source;
    uint64_t now_ns;

    (void)user;
    if (!p->sent_ns)
        return;
    now_ns = far_now_ns();
    far_hist_add(&p->round_trips, now_ns - p->sent_ns);
    p->sent_ns = 0;
    /* in this turn: it never comes from within send() */
    if (!p->interval_us)
        send_one(p, now_ns);
}

static void probe_acked(struct far_source *source, struct far_source_user *user,
                        uint64_t sequence)
{
    struct probe *p = (struct probe *)source;

    (void)user;
    if (sequence >= p->sequence)
        came_back(p);
}

static void probe_busy(struct far_source *source, bool busy)
{
    struct probe *p = (struct probe *)source;
    struct far_loop *loop = source->device.devices->loop;

    far_timer_cancel(&p->timer);
    far_defer_cancel(loop, &p->next);
    p->sent_ns = 0;
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
    const struct far_input_props props = { .can = FAR_INPUT_CAN_REL };

    (void)error;
    p->interval_us = far_conf_time_us(device->section, "interval", 0);
    if (p->interval_us == UINT64_MAX)
        p->interval_us = 0;
    p->source.busy = probe_busy;
    if (!strcmp(far_conf_string(device->section, "wait", "taken"), "acked")) {
        p->source.prompt_acks = true;
        p->source.acked = probe_acked;
    } else {
        p->source.taken = probe_taken;
    }
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
