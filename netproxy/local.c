/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Local users of exported devices (netproxy/local.h). They go through a session
 * as far ones do, so that a backend that is killed and comes back gets what it
 * had not received. An op that the session takes with it when it ends (its
 * permission is taken away, …) waits for the next one, and goes to that first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "netproxy/local.h"

/* An op that is not answered. */
struct local_op {
    struct far_op op;
    void *payload;
    uint64_t order; /* 0: free */
};

struct far_local_use {
    struct far_session_user user;
    struct far_layer layer; /* the bottom of the server's chain */
    struct far_controller *controller;
    struct far_local_who who;
    struct local_op *ops;     /* FAR_OP_SLOTS_MAX, at the first op */
    uint64_t order;           /* of the last */
    bool wanted;              /* the guest's front is there */
    char had[FAR_NAME_BYTES]; /* where it asks for any: the last device */
    struct far_local_use *next;
};

static struct far_local_use *of_layer(struct far_layer *layer)
{
    return (struct far_local_use *)((char *)layer -
                                    offsetof(struct far_local_use, layer));
}

static struct far_local_use *of_user(struct far_session_user *user)
{
    return (struct far_local_use *)user;
}

static bool use_interrupt(struct far_session_user *user,
                          const struct far_op *op)
{
    return far_layer_interrupt(of_user(user)->layer.above, op);
}

static void use_complete(struct far_session_user *user, const struct far_op *op)
{
    struct far_local_use *u = of_user(user);
    struct far_session *s = user->session;
    struct local_op *asked = u->ops ? &u->ops[op->slot] : NULL;

    far_session_told(s, op->slot);
    if (!asked || !asked->order || asked->op.sequence != op->sequence)
        return; /* of a backend that has gone */
    if (op->payload_bytes)
        memcpy(asked->payload, far_session_payload(s, op->slot),
               op->payload_bytes);
    asked->order = 0;
    far_layer_complete(u->layer.above, op);
}

/* To a session that has not had them, or does not know that we have not got
 * their answers. */
static void submit_again(struct far_local_use *u)
{
    uint64_t done = 0;

    while (u->ops && u->user.session) {
        struct local_op *first = NULL;
        unsigned i;
        int r;

        for (i = 0; i < FAR_OP_SLOTS_MAX; i++) {
            if (u->ops[i].order > done &&
                (!first || u->ops[i].order < first->order))
                first = &u->ops[i];
        }
        if (!first)
            return;
        done = first->order;
        first->op.flags |= FAR_OP_REPEAT;
        r = far_session_submit(u->user.session, &first->op, first->payload,
                               NULL);
        if (r) {
            struct far_op failed = first->op;

            failed.status = r;
            failed.payload_bytes = 0;
            first->order = 0;
            far_layer_complete(u->layer.above, &failed);
        }
    }
}

static void use_state(struct far_session_user *user)
{
    const struct far_session *s = user->session;
    struct far_layer_news news = {
        .incarnation = s->incarnation,
        .device_incarnation = s->device_incarnation,
        .reason = s->state == FAR_DEVICE_READY ? NULL : s->reason,
        .exclusive = s->exclusive,
        .leased = s->lease,
    };

    memcpy(news.props, s->props, sizeof(news.props));
    far_layer_state(of_user(user)->layer.above, s->state, &news);
}

static void use_lost(struct far_session_user *user, const char *reason)
{
    struct far_layer_news news = { .reason = reason };

    if (of_user(user)->layer.above)
        far_layer_state(of_user(user)->layer.above, FAR_DEVICE_GONE, &news);
}

static const struct far_session_user_ops use_ops = {
    .interrupt = use_interrupt,
    .complete = use_complete,
    .state = use_state,
    .lost = use_lost,
};

static enum far_verdict layer_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    struct far_local_use *u = of_layer(layer);
    struct local_op *mine;

    if (!u->ops)
        u->ops = calloc(FAR_OP_SLOTS_MAX, sizeof(*u->ops));
    if (!u->ops || op->slot >= FAR_OP_SLOTS_MAX) {
        op->status = u->ops ? -EINVAL : -ENOMEM;
        return FAR_DONE;
    }
    mine = &u->ops[op->slot];
    *mine = (struct local_op){ *op, payload, ++u->order };
    if (u->user.session && (op->flags & FAR_OP_TIMED))
        u->user.session->received_ns = far_now_ns();
    if (u->user.session &&
        far_session_submit(u->user.session, op, payload, NULL)) {
        mine->order = 0;
        op->status = -EINVAL;
        return FAR_DONE;
    }
    return FAR_LATER;
}

static void layer_activate(struct far_layer *layer, uint64_t incarnation,
                           uint64_t received)
{
    struct far_local_use *u = of_layer(layer);
    struct far_session *s = u->user.session;
    struct far_error error;

    u->wanted = true;
    if (!s)
        return;
    if (far_controller_may_activate(u->controller, s->platform, s->device,
                                    &u->who, &error)) {
        use_lost(&u->user, error.text);
        return;
    }
    if (!s->activated)
        far_session_activate(s, incarnation, received,
                             far_controller_activate(u->controller, s));
    far_session_grant(s, UINT64_MAX);
    far_session_go(s);
}

static void layer_ack(struct far_layer *layer, uint64_t sequence)
{
    struct far_local_use *u = of_layer(layer);

    if (u->user.session)
        far_session_ack(u->user.session, sequence);
}

static void layer_resume(struct far_layer *layer)
{
    struct far_local_use *u = of_layer(layer);

    if (u->user.session)
        far_session_pump(u->user.session);
}

static void layer_close(struct far_layer *layer)
{
    struct far_local_use *u = of_layer(layer),
                         **at = &u->controller->local_uses;

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    u->layer.above = NULL;
    far_session_leave(&u->user);
    free(u->ops);
    free(u);
}

static const struct far_layer_ops local_use_ops = {
    .name = "session-user",
    .submit = layer_submit,
    .activate = layer_activate,
    .ack = layer_ack,
    .resume = layer_resume,
    .close = layer_close,
};

int far_local_use_open(struct far_controller *controller,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct far_session *s =
        far_controller_prepare(controller, controller->platform, who, error);
    struct far_local_use *u;

    if (!s)
        return error->code;
    u = calloc(1, sizeof(*u));
    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", who->device);
    u->user.ops = &use_ops;
    u->layer.ops = &local_use_ops;
    u->layer.prompt_acks = s->layer.prompt_acks;
    u->controller = controller;
    u->who = *who;
    u->next = controller->local_uses;
    controller->local_uses = u;
    snprintf(u->had, sizeof(u->had), "%s", s->device);
    far_session_sit(s, &u->user, who, "another attachment has taken it");
    *layer = &u->layer;
    return 0;
}

void far_local_use_leaving(struct far_controller *controller,
                           const struct far_local_who *who, bool detached)
{
    struct far_session *s;

    if (!detached)
        return;
    for (s = controller->sessions; s; s = s->next_session) {
        if (far_session_is(s, controller->platform, who) && s->user &&
            s->user->ops == &use_ops) {
            far_session_leave(s->user);
            far_controller_end(controller, s, "detached");
            return;
        }
    }
}

bool far_local_use_left(const struct far_controller *controller,
                        const struct far_local_who *who)
{
    const struct far_session *s;

    for (s = controller->sessions; s; s = s->next_session) {
        if (far_session_is(s, controller->platform, who) && !s->user)
            return true;
    }
    return false;
}

void far_local_use_retry(struct far_controller *controller)
{
    struct far_local_use *u;
    struct far_error error;

    for (u = controller->local_uses; u; u = u->next) {
        struct far_session *s = u->user.session;

        if (s && u->wanted && !s->activated) /* it was not allowed to */
            layer_activate(&u->layer, 0, 0);
        if (s)
            continue;
        s = far_controller_prepare_any(controller, controller->platform,
                                       &u->who, u->had, &error);
        if (!s)
            continue;
        snprintf(u->had, sizeof(u->had), "%s", s->device);
        far_session_sit(s, &u->user, &u->who, "another attachment has it");
        if (u->wanted)
            layer_activate(&u->layer, 0, 0);
        submit_again(u);
    }
}
