/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupt lines: see lines.h. What a user is told is how a line stands: so
 * one that is slow misses nothing and keeps nobody, and what is said twice is
 * nothing new.
 */
#include "devices/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS(lines) (((lines) + 63u) / 64u)

struct far_lines_user {
    struct far_layer layer;
    struct far_lines *lines;
    struct far_lines_user *next;
    uint64_t attachment, sequence;
    bool active, blocked, all_stated;
    uint64_t *said;            /* of each line: the total that was told last */
    uint64_t *unstated, *news; /* a bit for each line */
};

static bool say(struct far_lines_user *user, uint32_t line, bool stated)
{
    struct far_lines *s = user->lines;
    struct far_intc_args args = { .line = line,
                                  .total = stated ? user->said[line]
                                                  : s->totals[line],
                                  .epoch = s->device->incarnation };
    struct far_op op = { .attachment = user->attachment,
                         .opcode = FAR_INTC_LINE,
                         .sequence = user->sequence + 1 };

    if (s->level[line])
        args.flags |= FAR_INTC_LEVEL | FAR_INTC_RESAMPLE |
                      (s->high[line] ? (uint32_t)FAR_INTC_HIGH : 0);
    if (stated)
        args.flags |= FAR_INTC_STATED;
    memcpy(op.args, &args, sizeof(args));
    if (!far_layer_interrupt(user->layer.above, &op))
        return false;
    user->sequence++;
    user->said[line] = args.total;
    return true;
}

/* One of the marked ones after the other; false: it is to wait for resume(). */
static bool say_marked(struct far_lines_user *user, uint64_t *marks,
                       bool stated)
{
    for (uint32_t w = 0; w < WORDS(user->lines->count); w++)
        while (marks[w]) {
            uint32_t line = w * 64 + (uint32_t)__builtin_ctzll(marks[w]);
            uint64_t bit = marks[w] & -marks[w];

            marks[w] &= ~bit; /* before: it may be raised from within */
            if (!say(user, line, stated)) {
                marks[w] |= bit;
                return false;
            }
        }
    return true;
}

/* What was not stated had never been raised. */
static bool say_all_stated(struct far_lines_user *user)
{
    struct far_intc_args args = { .flags = FAR_INTC_ALL_STATED,
                                  .epoch = user->lines->device->incarnation };
    struct far_op op = { .attachment = user->attachment,
                         .opcode = FAR_INTC_LINE,
                         .sequence = user->sequence + 1 };

    if (user->all_stated)
        return true;
    memcpy(op.args, &args, sizeof(args));
    if (!far_layer_interrupt(user->layer.above, &op))
        return false;
    user->sequence++;
    return user->all_stated = true;
}

static void flush(struct far_lines_user *user)
{
    if (!user->active || user->blocked)
        return;
    user->blocked = !say_marked(user, user->unstated, true) ||
                    !say_all_stated(user) ||
                    !say_marked(user, user->news, false);
}

static void changed(struct far_lines *s, uint32_t line)
{
    for (struct far_lines_user *u = s->users, *next; u; u = next) {
        next = u->next;
        u->news[line / 64] |= (uint64_t)1 << (line % 64);
        flush(u);
    }
}

void far_lines_edge(struct far_lines *s, uint32_t line)
{
    s->level[line] = false;
    s->totals[line]++;
    changed(s, line);
}

void far_lines_level(struct far_lines *s, uint32_t line, bool high)
{
    if (s->level[line] && s->high[line] == high)
        return;
    s->level[line] = true;
    s->high[line] = high;
    s->totals[line] += high;
    changed(s, line);
}

/* --- a user --------------------------------------------------------------- */

static enum far_verdict user_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct far_lines_user *user = (struct far_lines_user *)layer;
    struct far_intc_args args;

    (void)payload;
    memcpy(&args, op->args, sizeof(args));
    op->status = 0;
    if (op->opcode == FAR_OP_NOP(FAR_CLASS_INTC))
        return FAR_DONE;
    if (op->opcode != FAR_INTC_EOI) {
        op->status = -EOPNOTSUPP;
    } else if (args.line >= user->lines->count) {
        op->status = -EINVAL;
    } else if (user->lines->high[args.line]) {
        user->news[args.line / 64] |= (uint64_t)1 << (args.line % 64);
        flush(user);
    }
    return FAR_DONE;
}

static void tell_state(struct far_lines_user *user)
{
    struct far_device *d = user->lines->device;
    struct far_layer_news news = { .incarnation = d->incarnation };

    memcpy(news.props, d->props, sizeof(news.props));
    if (d->state != FAR_DEVICE_READY)
        news.reason = d->reason;
    far_layer_state(user->layer.above, d->state, &news);
}

void far_lines_say(struct far_lines *s)
{
    for (struct far_lines_user *u = s->users, *next; u; u = next) {
        next = u->next;
        if (u->active)
            tell_state(u);
    }
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct far_lines_user *user = (struct far_lines_user *)layer;
    struct far_lines *s = user->lines;

    if (incarnation == s->device->incarnation && received > user->sequence)
        user->sequence = received;
    for (uint32_t i = 0; i < s->count; i++) {
        user->said[i] = s->totals[i];
        if (s->totals[i])
            user->unstated[i / 64] |= (uint64_t)1 << (i % 64);
    }
    memset(user->news, 0, WORDS(s->count) * sizeof(*user->news));
    user->active = true;
    user->blocked = user->all_stated = false;
    tell_state(user);
    flush(user);
}

static void user_ack(struct far_layer *layer, uint64_t sequence)
{
    (void)layer;
    (void)sequence;
}

static void user_resume(struct far_layer *layer)
{
    struct far_lines_user *user = (struct far_lines_user *)layer;

    user->blocked = false;
    flush(user);
}

static void user_close(struct far_layer *layer)
{
    struct far_lines_user *user = (struct far_lines_user *)layer, **at;

    for (at = &user->lines->users; *at != user; at = &(*at)->next)
        ;
    *at = user->next;
    free(user->said);
    free(user);
}

static const struct far_layer_ops user_ops = {
    .name = "lines",
    .submit = user_submit,
    .activate = user_activate,
    .ack = user_ack,
    .resume = user_resume,
    .close = user_close,
};

int far_lines_open(struct far_lines *s, const struct far_local_who *who,
                   struct far_layer **layer, struct far_error *error)
{
    struct far_lines_user *user = calloc(1, sizeof(*user));

    if (user)
        user->said =
            calloc(s->count + 2 * WORDS(s->count), sizeof(*user->said));
    if (!user || !user->said) {
        free(user);
        return far_error(error, -ENOMEM, "%s: out of memory", s->device->name);
    }
    user->layer.ops = &user_ops;
    user->lines = s;
    user->attachment = who->attachment;
    user->unstated = user->said + s->count;
    user->news = user->unstated + WORDS(s->count);
    user->next = s->users;
    s->users = user;
    *layer = &user->layer;
    return 0;
}

int far_lines_init(struct far_lines *s, struct far_device *device,
                   uint32_t count)
{
    struct far_intc_props props = { .lines = count };

    s->device = device;
    s->count = count;
    s->totals = calloc(count, sizeof(*s->totals));
    s->level = calloc(count, sizeof(*s->level));
    s->high = calloc(count, sizeof(*s->high));
    if (!s->totals || !s->level || !s->high) {
        far_lines_free(s);
        return -ENOMEM;
    }
    memset(device->props, 0, sizeof(device->props));
    memcpy(device->props, &props, sizeof(props));
    return 0;
}

void far_lines_free(struct far_lines *s)
{
    free(s->totals);
    free(s->level);
    free(s->high);
    *s = (struct far_lines){ 0 };
}
