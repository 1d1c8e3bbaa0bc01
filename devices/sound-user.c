/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See sound-user.h.
 */
#include "devices/sound-user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct far_sound_user *of(struct far_layer *layer)
{
    return (struct far_sound_user *)(void *)layer;
}

static void end_stream(struct far_sound_user *u)
{
    if (u->opened && u->calls->close)
        u->calls->close(u);
    u->opened = false;
}

static int begin_stream(struct far_sound_user *u, const struct far_op *op)
{
    struct far_sound_params p;
    struct far_sound_caps caps;
    int r;

    memcpy(&p, op->args, sizeof(p));
    memcpy(&caps, u->device->props, sizeof(caps));
    if (far_sound_params_fault(&p) || far_sound_params_unfit(&p, &caps))
        return -EINVAL;
    if (u->opened && p.stream == u->params.stream)
        return 0; /* the same one goes on */
    end_stream(u);
    u->params = p;
    r = u->calls->open(u);
    u->opened = !r;
    return r;
}

static int act(struct far_sound_user *u, const struct far_op *op,
               uint8_t *payload)
{
    struct far_sound_trigger_args t;
    struct far_sound_args a;
    int r;

    if (u->device->state != FAR_DEVICE_READY)
        return -ENODEV;
    if (op->opcode == FAR_SOUND_OPEN)
        return begin_stream(u, op);
    if (op->opcode == FAR_SOUND_CLOSE) {
        end_stream(u);
        return 0;
    }
    r = far_sound_check(op, u->opened ? &u->params : NULL);
    if (r)
        return r;
    memcpy(&a, op->args, sizeof(a));
    switch (op->opcode) {
    case FAR_SOUND_WRITE:
        return u->calls->play(u, a.offset_bytes, payload, a.length_bytes);
    case FAR_SOUND_READ:
        return u->calls->record(u, a.offset_bytes, payload, a.length_bytes);
    case FAR_SOUND_TRIGGER:
        memcpy(&t, op->args, sizeof(t));
        return u->calls->trigger ? u->calls->trigger(u, &t) : 0;
    default:
        return 0;
    }
}

static enum far_verdict user_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    op->status = act(of(layer), op, payload);
    if (op->status || !(op->flags & FAR_OP_RECEIVES))
        op->payload_bytes = 0;
    return FAR_DONE;
}

static void tell(struct far_sound_user *u)
{
    const struct far_device *d = u->device;
    struct far_layer_news news = { .incarnation = d->incarnation };

    memcpy(news.props, d->props, sizeof(news.props));
    news.reason = d->state == FAR_DEVICE_READY ? NULL : d->reason;
    if (u->layer.above)
        far_layer_state(u->layer.above, d->state, &news);
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    (void)incarnation;
    (void)received;
    tell(of(layer));
}

static void user_close(struct far_layer *layer)
{
    struct far_sound_user *u = of(layer), **at = u->list;

    end_stream(u);
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    free(u);
}

static void nothing(struct far_layer *layer, uint64_t sequence)
{
    (void)layer;
    (void)sequence;
}

static void no_room(struct far_layer *layer)
{
    (void)layer;
}

static const struct far_layer_ops user_ops = {
    .name = "sound",
    .submit = user_submit,
    .activate = user_activate,
    .ack = nothing,
    .resume = no_room,
    .close = user_close,
};

int far_sound_user_new(struct far_device *device, struct far_sound_user **list,
                       const struct far_sound_calls *calls, size_t user_bytes,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct far_sound_user *u = calloc(1, user_bytes);

    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    u->layer.ops = &user_ops;
    u->device = device;
    u->calls = calls;
    u->who = *who;
    u->list = list;
    u->next = *list;
    *list = u;
    *layer = &u->layer;
    return 0;
}

void far_sound_users_tell(struct far_sound_user *list)
{
    for (struct far_sound_user *u = list, *next; u; u = next) {
        next = u->next;
        tell(u);
    }
}
