/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sources of input events and their users: see input-source.h. Events that a
 * user has no room for wait in its queue, coalesced; they are numbered when the
 * layer above takes them, so sequences have no gaps. Whoever types can't be
 * made to wait: what finds no place in the queue is lost, counted, and said
 * once.
 */
#include "devices/input-source.h"

#include <stdlib.h>
#include <string.h>

struct far_source_user {
    struct far_layer layer;
    struct far_source *source;
    uint64_t attachment, sequence;
    bool active, blocked, pumping, dead;
    bool statement_due; /* when the queue is empty */
    bool losing;        /* since the queue was empty last */
    char guest[FAR_NAME_BYTES];
    bool stating;
    unsigned state_next; /* 0: BEGIN, then key + 1, then END */
    struct far_key_set stated;
    struct far_source_user *next;
    struct far_input_queue queue;
};

#define STATE_END_AT (FAR_INPUT_KEY_MAX + 2u)

static struct far_source_user *user_of(struct far_layer *layer)
{
    return (struct far_source_user *)layer;
}

static bool give(struct far_source_user *u, const struct far_input_event *event)
{
    struct far_op op = { .attachment = u->attachment,
                         .sequence = u->sequence + 1,
                         .opcode = FAR_INPUT_EVENT };

    memcpy(op.args, event, sizeof(*event));
    u->sequence++; /* before: the ack may come from within */
    if (far_layer_interrupt(u->layer.above, &op))
        return true;
    u->sequence--;
    u->blocked = true;
    return false;
}

static void state_one(struct far_source_user *u)
{
    struct far_input_event e = { .time_us = far_loop_now_us(
                                     u->source->device.devices->loop),
                                 .type = FAR_INPUT_STATE_BEGIN };

    if (u->state_next == STATE_END_AT) {
        e.type = FAR_INPUT_STATE_END;
    } else if (u->state_next > 0) {
        e.type = FAR_INPUT_KEY;
        e.flags = FAR_INPUT_HELD;
        e.code = (uint16_t)(u->state_next - 1);
        e.value = 1;
    }
    if (!give(u, &e))
        return;
    if (u->state_next == STATE_END_AT) {
        u->stating = false;
        return;
    }
    u->state_next++;
    while (u->state_next < STATE_END_AT &&
           !far_key_get(&u->stated, u->state_next - 1))
        u->state_next++;
}

static void pump(struct far_source_user *u)
{
    uint64_t none = 0;

    if (u->pumping)
        return;
    u->pumping = true;
    while (u->active && !u->blocked && !u->dead) {
        struct far_input_queue_entry *e;

        if (u->stating) {
            state_one(u);
            continue;
        }
        e = far_input_queue_peek(&u->queue, 0, UINT64_MAX, &none,
                                 &u->layer.counters.dropped, &none);
        if (e) {
            if (give(u, &e->event))
                far_input_queue_took(&u->queue);
            continue;
        }
        u->losing = false;
        if (!u->statement_due)
            break;
        /* The queue is empty: what is down now is down after all that went
         * up. What comes meanwhile waits behind the statement. */
        u->statement_due = false;
        u->stating = true;
        u->state_next = 0;
        u->stated = u->source->down;
        far_input_queue_reset(&u->queue, &u->stated);
    }
    u->pumping = false;
}

static void say(struct far_source_user *u)
{
    struct far_device *d = &u->source->device;
    struct far_layer_news news = { .incarnation = d->incarnation };

    memcpy(news.props, d->props, sizeof(news.props));
    if (d->state != FAR_DEVICE_READY)
        news.reason = d->reason;
    far_layer_state(u->layer.above, d->state, &news);
    if (d->state == FAR_DEVICE_READY && u->active) {
        u->statement_due = true;
        pump(u);
    }
}

static void walk_begin(struct far_source *s)
{
    s->walking++;
}

static void walk_end(struct far_source *s)
{
    struct far_source_user **at = &s->users;

    if (--s->walking)
        return;
    while (*at) {
        struct far_source_user *u = *at;

        if (u->dead && !u->pumping) {
            *at = u->next;
            free(u);
        } else {
            at = &u->next;
        }
    }
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct far_source_user *u = user_of(layer);
    struct far_source *s = u->source;

    walk_begin(s);
    if (incarnation == s->device.incarnation && received > u->sequence)
        u->sequence = received;
    u->blocked = false;
    u->stating = false;
    if (!u->active) {
        u->active = true;
        if (s->active++ == 0 && s->busy)
            s->busy(s, true);
    }
    if (!u->dead)
        say(u);
    walk_end(s);
}

static void user_ack(struct far_layer *layer, uint64_t sequence)
{
    struct far_source_user *u = user_of(layer);

    if (u->source->acked && u->active)
        u->source->acked(u->source, u, sequence);
}

static void user_taken(struct far_layer *layer)
{
    struct far_source_user *u = user_of(layer);

    if (u->source->taken && u->active)
        u->source->taken(u->source, u);
}

static void user_resume(struct far_layer *layer)
{
    struct far_source_user *u = user_of(layer);

    walk_begin(u->source);
    u->blocked = false;
    pump(u);
    walk_end(u->source);
}

static void user_close(struct far_layer *layer)
{
    struct far_source_user *u = user_of(layer);
    struct far_source *s = u->source;
    bool was = u->active;

    walk_begin(s);
    u->dead = true;
    u->active = false;
    u->layer.above = NULL;
    if (was && --s->active == 0 && s->busy)
        s->busy(s, false);
    walk_end(s);
}

static const struct far_layer_ops user_ops = {
    .name = "source",
    .activate = user_activate,
    .ack = user_ack,
    .taken = user_taken,
    .resume = user_resume,
    .close = user_close,
};

int far_source_open(struct far_device *device, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    struct far_source *s = (struct far_source *)device;
    struct far_source_user *u = calloc(1, sizeof(*u));

    if (!u)
        return far_error(error, -12, "%s: out of memory", device->name);
    u->layer.ops = &user_ops;
    u->layer.prompt_acks = s->prompt_acks;
    u->source = s;
    u->attachment = who->attachment;
    memcpy(u->guest, who->guest_name, sizeof(u->guest));
    far_input_queue_init(&u->queue);
    u->next = s->users;
    s->users = u;
    *layer = &u->layer;
    return 0;
}

static void say_all(struct far_source *s)
{
    walk_begin(s);
    for (struct far_source_user *u = s->users; u; u = u->next)
        if (!u->dead && u->active)
            say(u);
    walk_end(s);
}

void far_source_ready(struct far_source *s, const struct far_input_props *props)
{
    memset(s->device.props, 0, sizeof(s->device.props));
    memcpy(s->device.props, props, sizeof(*props));
    far_device_say(&s->device, FAR_DEVICE_READY, NULL);
    say_all(s);
}

void far_source_gone(struct far_source *s, const char *reason)
{
    memset(&s->down, 0, sizeof(s->down));
    far_device_say(&s->device, FAR_DEVICE_GONE, reason);
    say_all(s);
}

static void lose(struct far_source_user *u)
{
    const struct far_device *d = &u->source->device;
    char guest[4 * FAR_NAME_BYTES];

    u->layer.counters.lost++;
    if (u->losing)
        return;
    u->losing = true;
    far_escape(guest, sizeof(guest), u->guest,
               strnlen(u->guest, sizeof(u->guest)));
    far_log_limited(d->devices->log, &u->source->bucket, FAR_LOG_WARNING,
                    "%s: guest %s has not taken its events for so long that no "
                    "more can be kept: new ones are lost until it does",
                    d->name, guest);
}

void far_source_send(struct far_source *s, const struct far_input_event *events,
                     unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (events[i].type == FAR_INPUT_KEY &&
            events[i].code <= FAR_INPUT_KEY_MAX)
            far_key_put(&s->down, events[i].code, events[i].value != 0);
    walk_begin(s);
    for (struct far_source_user *u = s->users; u; u = u->next) {
        if (!u->active)
            continue;
        for (unsigned i = 0; i < count; i++) {
            enum far_input_put put =
                far_input_queue_put(&u->queue, &events[i], 0);

            if (put == FAR_INPUT_MERGED)
                u->layer.counters.coalesced++;
            else if (put == FAR_INPUT_NO_PLACE)
                lose(u);
            else if (put != FAR_INPUT_QUEUED)
                u->layer.counters.dropped++;
            pump(u);
        }
    }
    walk_end(s);
}

uint64_t far_source_sequence(const struct far_source *s,
                             const struct far_source_user *user)
{
    if (!user)
        for (user = s->users; user && !user->active; user = user->next)
            ;
    return user ? user->sequence : 0;
}
