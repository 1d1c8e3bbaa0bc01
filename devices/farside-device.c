/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * libfarside-device (farside-device.h): one device of a program's own, behind
 * the local server. Input goes through the common source of events, which knows
 * what is held, interrupts through the common lines; users of other classes
 * have a queue each.
 */
#include "core/block.h"
#include "devices/farside-device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "core/clock.h"
#include "core/input.h"
#include "devices/input-source.h"
#include "devices/lines.h"
#include "devices/local-server.h"

#define QUEUE_MAX 256u

static_assert(sizeof(struct far_outside_op) == sizeof(struct far_op) &&
                  offsetof(struct far_outside_op, opcode) ==
                      offsetof(struct far_op, opcode) &&
                  offsetof(struct far_outside_op, args) ==
                      offsetof(struct far_op, args),
              "one op, two names");
static_assert(FAR_OUTSIDE_SENDS == FAR_OP_SENDS &&
                  FAR_OUTSIDE_RECEIVES == FAR_OP_RECEIVES,
              "");

struct far_outside {
    struct far_source source;
    struct far_devices devices;
    struct far_local_server *server;
    struct far_outside_calls calls;
    void *arg;
    struct far_outside_user *users; /* of any class but input */
    uint64_t device_incarnation;
    struct far_lines lines; /* of class intc: count 0: not said */
};

struct far_outside_user {
    struct far_layer layer;
    struct far_outside *outside;
    struct far_local_who who;
    bool active, blocked, pumping, dead, wants_room;
    uint64_t sequence;
    uint32_t first, count;
    struct far_op queue[QUEUE_MAX];
    struct far_outside_user *next;
};

static const struct far_device_type outside_type = {
    .name = "outside",
};

/* ---- users ---- */

static void pump(struct far_outside_user *u)
{
    if (u->pumping)
        return;
    u->pumping = true;
    while (u->active && !u->blocked && !u->dead && u->count) {
        struct far_op *op = &u->queue[u->first];

        op->sequence = u->sequence + 1;
        if (!far_layer_interrupt(u->layer.above, op)) {
            u->blocked = true;
            break;
        }
        u->sequence++;
        u->first = (u->first + 1) % QUEUE_MAX;
        u->count--;
    }
    u->pumping = false;
    if (u->wants_room && u->count < QUEUE_MAX && !u->dead) {
        u->wants_room = false;
        if (u->outside->calls.room)
            u->outside->calls.room(u->outside->arg, u);
    }
}

static enum far_verdict user_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct far_outside_user *u = (struct far_outside_user *)layer;
    struct far_outside_op copy;

    if (op->opcode == FAR_OP_NOP(u->outside->source.device.class)) {
        op->status = 0;
        return FAR_DONE;
    }
    if (!u->outside->calls.op ||
        far_block_is_stale(op, u->outside->device_incarnation)) {
        op->status = u->outside->calls.op ? FAR_BLOCK_STALE : -EOPNOTSUPP;
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    memcpy(&copy, op, sizeof(copy));
    if (!u->outside->calls.op(u->outside->arg, u, &copy, payload))
        return FAR_LATER;
    memcpy(op, &copy, sizeof(*op));
    return FAR_DONE;
}

static void say(struct far_outside_user *u)
{
    struct far_device *d = &u->outside->source.device;
    struct far_layer_news news = { .incarnation = d->incarnation,
                                   .device_incarnation =
                                       u->outside->device_incarnation };

    memcpy(news.props, d->props, sizeof(news.props));
    if (d->state != FAR_DEVICE_READY)
        news.reason = d->reason;
    far_layer_state(u->layer.above, d->state, &news);
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct far_outside_user *u = (struct far_outside_user *)layer;

    if (incarnation == u->outside->source.device.incarnation &&
        received > u->sequence)
        u->sequence = received;
    u->blocked = false;
    u->active = true;
    say(u);
    pump(u);
}

static void user_resume(struct far_layer *layer)
{
    struct far_outside_user *u = (struct far_outside_user *)layer;

    u->blocked = false;
    pump(u);
}

static void user_close(struct far_layer *layer)
{
    struct far_outside_user *u = (struct far_outside_user *)layer, **at;
    struct far_outside *o = u->outside;

    for (at = &o->users; *at != u; at = &(*at)->next)
        ;
    *at = u->next;
    u->dead = true;
    u->layer.above = NULL;
    if (o->calls.detached)
        o->calls.detached(o->arg, u);
    free(u);
}

static const struct far_layer_ops user_ops = {
    .name = "outside-user",
    .submit = user_submit,
    .activate = user_activate,
    .resume = user_resume,
    .close = user_close,
};

static int open_user(struct far_outside *o, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    struct far_outside_user *u = calloc(1, sizeof(*u));
    const struct far_outside_who public = {
        .guest_uuid = who->guest_uuid,
        .generation = who->generation,
        .guest_name = who->guest_name,
        .guest_devid = who->guest_devid,
    };

    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", who->device);
    u->layer.ops = &user_ops;
    u->outside = o;
    u->who = *who;
    u->next = o->users;
    o->users = u;
    *layer = &u->layer;
    if (o->calls.attached)
        o->calls.attached(o->arg, u, &public);
    return 0;
}

static int open_any(void *arg, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    struct far_outside *o = arg;
    const struct far_device *d = &o->source.device;

    if (who->class != (uint32_t)d->class)
        return far_error(error, -EINVAL, "%s: is of class %s, not %s",
                         who->device, far_class_name(d->class),
                         far_class_name((enum far_class)who->class));
    if (o->lines.count)
        return far_lines_open(&o->lines, who, layer, error);
    if (d->class == FAR_CLASS_INPUT)
        return far_source_open(&o->source.device, who, layer, error);
    return open_user(o, who, layer, error);
}

/* ---- the device ---- */

static void say_all(struct far_outside *o)
{
    for (struct far_outside_user *u = o->users, *next; u; u = next) {
        next = u->next;
        if (u->active)
            say(u);
    }
    far_lines_say(&o->lines);
}

int far_outside_props(struct far_outside *o, const void *props, size_t bytes)
{
    struct far_device *d = &o->source.device;
    struct far_input_props input = { 0 };

    if (bytes > sizeof(d->props))
        return -EINVAL;
    if (d->class == FAR_CLASS_INPUT) {
        memcpy(&input, props, bytes < sizeof(input) ? bytes : sizeof(input));
        far_source_ready(&o->source, &input);
        return 0;
    }
    memset(d->props, 0, sizeof(d->props));
    memcpy(d->props, props, bytes);
    say_all(o);
    return 0;
}

void far_outside_gone(struct far_outside *o, const char *reason)
{
    struct far_device *d = &o->source.device;
    struct far_input_props props;

    memcpy(&props, d->props, sizeof(props));
    if (d->class == FAR_CLASS_INPUT && reason) {
        far_source_gone(&o->source, reason);
    } else if (d->class == FAR_CLASS_INPUT) {
        far_source_ready(&o->source, &props);
    } else {
        far_device_say(d, reason ? FAR_DEVICE_GONE : FAR_DEVICE_READY, reason);
        say_all(o);
    }
}

static bool new_incarnation(uint64_t *incarnation)
{
    *incarnation = 0;
    while (!*incarnation)
        if (getrandom(incarnation, sizeof(*incarnation), 0) < 0 &&
            errno != EINTR)
            return false;
    return true;
}

void far_outside_lost(struct far_outside *o)
{
    /* the pool is there by now; were it not, any other number would do */
    uint64_t before = o->device_incarnation;

    if (!new_incarnation(&o->device_incarnation))
        o->device_incarnation = before + 1;
    say_all(o);
}

int far_outside_lines(struct far_outside *o, unsigned lines)
{
    struct far_device *d = &o->source.device;

    if (d->class != FAR_CLASS_INTC || !lines || lines > FAR_INTC_LINES_MAX ||
        o->lines.count || o->users)
        return -EINVAL;
    return far_lines_init(&o->lines, d, lines);
}

int far_outside_raise(struct far_outside *o, unsigned line)
{
    if (line >= o->lines.count)
        return -EINVAL;
    far_lines_edge(&o->lines, line);
    return 0;
}

int far_outside_level(struct far_outside *o, unsigned line, bool high)
{
    if (line >= o->lines.count)
        return -EINVAL;
    far_lines_level(&o->lines, line, high);
    return 0;
}

struct far_outside *far_outside_new(const char *socket_path, const char *class_,
                                    const struct far_outside_calls *calls,
                                    void *arg, char *why, size_t why_bytes)
{
    struct far_outside *o = calloc(1, sizeof(*o));
    struct far_local_server_ops ops = { .open = open_any,
                                        .group_peers = true,
                                        .arg = o };
    struct far_error error = { .text = "out of memory" };
    const char *name = getenv("FARSIDE_DEVICE");
    struct far_device *d;
    size_t bytes;

    if (!o)
        goto fail;
    d = &o->source.device;
    o->arg = arg;
    if (calls) {
        bytes = calls->bytes < sizeof(*calls) ? calls->bytes : sizeof(*calls);
        memcpy(&o->calls, calls, bytes);
    }
    o->devices.loop = far_loop_new(); /* all of a registry that it needs */
    if (!o->devices.loop)
        goto fail;
    d->type = &outside_type;
    d->devices = &o->devices;
    d->class = far_class_from_name(class_);
    d->state = FAR_DEVICE_READY;
    snprintf(d->name, sizeof(d->name), "%s", name ? name : "device");
    if (d->class == FAR_CLASS_NONE) {
        far_error(&error, -EINVAL, "there is no class \"%s\"", class_);
        goto fail;
    }
    if (!new_incarnation(&d->incarnation))
        goto fail;
    o->device_incarnation = d->incarnation;
    if (!socket_path)
        socket_path = getenv("FARSIDE_SOCKET");
    if (!socket_path || !*socket_path) {
        far_error(&error, -EINVAL,
                  "where to listen is not said: FARSIDE_SOCKET is not set");
        goto fail;
    }
    o->server = far_local_server_new(o->devices.loop, NULL, socket_path, "",
                                     &ops, &error);
    if (o->server)
        return o;
fail:
    if (why && why_bytes)
        snprintf(why, why_bytes, "%s", error.text);
    far_outside_free(o);
    return NULL;
}

void far_outside_free(struct far_outside *o)
{
    if (!o)
        return;
    far_local_server_free(o->server);
    far_lines_free(&o->lines);
    if (o->devices.loop)
        far_loop_free(o->devices.loop);
    free(o);
}

int far_outside_run(struct far_outside *o)
{
    return far_loop_run(o->devices.loop);
}

void far_outside_stop(struct far_outside *o)
{
    far_loop_stop(o->devices.loop);
}

int far_outside_fd(struct far_outside *o)
{
    return far_loop_fd(o->devices.loop);
}

int far_outside_turn(struct far_outside *o, int timeout_ms)
{
    int r = far_loop_turn(o->devices.loop, timeout_ms < 0
                                               ? UINT64_MAX
                                               : (uint64_t)timeout_ms * 1000);

    return r < 0 ? r : 0;
}

void far_outside_complete(struct far_outside_user *u,
                          const struct far_outside_op *op)
{
    struct far_op copy;

    memcpy(&copy, op, sizeof(copy));
    far_layer_complete(u->layer.above, &copy);
}

int far_outside_interrupt(struct far_outside_user *u, uint16_t opcode,
                          const uint8_t args[32])
{
    struct far_op *op;

    if (!FAR_OPCODE_IS_INTERRUPT(opcode) ||
        FAR_OPCODE_CLASS(opcode) != (int)u->outside->source.device.class)
        return -EINVAL;
    if (u->count == QUEUE_MAX) {
        u->wants_room = true;
        return -EAGAIN;
    }
    op = &u->queue[(u->first + u->count++) % QUEUE_MAX];
    memset(op, 0, sizeof(*op));
    op->attachment = u->who.attachment;
    op->opcode = opcode;
    memcpy(op->args, args, sizeof(op->args));
    pump(u);
    return 0;
}

static int send_input(struct far_outside *o, struct far_input_event *e)
{
    e->time_us = far_now_us();
    if (o->source.device.class != FAR_CLASS_INPUT || !far_input_event_valid(e))
        return -EINVAL;
    far_source_send(&o->source, e, 1);
    return 0;
}

int far_outside_key(struct far_outside *o, unsigned code, bool down)
{
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .code = (uint16_t)code,
                                 .value = down };

    return code > FAR_INPUT_KEY_MAX ? -EINVAL : send_input(o, &e);
}

int far_outside_move(struct far_outside *o, int dx, int dy, int dz)
{
    struct far_input_event e = {
        .type = FAR_INPUT_MOTION, .x = dx, .y = dy, .z = dz
    };

    return send_input(o, &e);
}

int far_outside_position(struct far_outside *o, int x, int y, int dz)
{
    struct far_input_event e = {
        .type = FAR_INPUT_POS, .x = x, .y = y, .z = dz
    };

    return send_input(o, &e);
}
