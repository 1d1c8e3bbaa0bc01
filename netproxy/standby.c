/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Devices with a standby (netproxy/standby.h).
 *
 * An op is given to a leg only while that one is ready, so that what was given
 * is what may have been executed. When another leg takes over, each of those
 * has the outcome that its opcode promises: it is given to the new one as a
 * repeat, or fails because nobody knows. All repeats are answered before
 * anything new is given.
 *
 * Legs are closed at the end of a turn only: what they say comes from within.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "core/clock.h"
#include "netproxy/standby.h"

struct leg {
    struct far_layer layer; /* the top of its chain */
    struct far_standby *standby;
    struct far_standby_place place;
    struct far_local_who who;
    unsigned rank; /* among the places, from 1; 0: it is not there any more */
    bool open, ready, leased;
    char reason[232]; /* why it is not ready */
};

/* An op that is not answered. */
struct op_of {
    struct far_op op;
    void *payload;
    uint64_t order; /* in which it was submitted */
};

struct far_standby {
    struct far_layer layer; /* the bottom of the guest's chain */
    struct far_standbys *all;
    struct far_local_who who;
    struct leg legs[FAR_STANDBY_PLACES];
    struct leg *home;    /* tried first; what the guest has is numbered there */
    struct leg *serving; /* NULL: none was ready yet */
    bool taken_up;       /* home has executed what a dead backend submitted */
    bool activated;
    uint64_t incarnation, received; /* as of the activation */
    struct op_of *ops;              /* FAR_OP_SLOTS_MAX, at the first op */
    uint64_t order;
    uint64_t busy, given, repeats; /* slots */
    struct far_timer patience;
    struct far_defer later;
    char said[232]; /* upwards, as the reason; "" while it is ready */
    bool ready;     /* as was said */
    uint64_t switches, repeated, unknown, elsewhere;
    struct far_standby *next;
};

static struct far_standby *of_layer(struct far_layer *layer)
{
    return (struct far_standby *)(void *)layer;
}

static struct leg *leg_of(struct far_layer *layer)
{
    return (struct leg *)(void *)layer;
}

static const char *name_of(const struct leg *leg)
{
    return leg->place.platform[0] ? leg->place.platform : "this platform";
}

const char *far_standby_unfit(enum far_class class,
                              const struct far_layer_news *news)
{
    struct far_block_props props;

    if (class == FAR_CLASS_TIMER || class == FAR_CLASS_DOORBELL ||
        class == FAR_CLASS_STREAM)
        return "what a guest does with it stays at its server: it can have no "
               "standby";
    if (news->leased)
        return NULL;
    if (news->exclusive)
        return "it is for one user at a time (mode = exclusive), and no "
               "directory says at which server (lease = on)";
    memcpy(&props, news->props, sizeof(props));
    if (class == FAR_CLASS_BLOCK &&
        (props.can & (FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_APPEND)))
        return "it can be written, and no directory says at which server "
               "(lease = on)";
    return NULL;
}

/* ---- ops ---- */

static void complete(struct far_standby *s, const struct far_op *op)
{
    uint64_t bit = (uint64_t)1 << op->slot;

    s->busy &= ~bit;
    s->given &= ~bit;
    s->repeats &= ~bit;
    if (s->layer.above)
        far_layer_complete(s->layer.above, op);
}

static void on_later(struct far_defer *defer);

static void later(struct far_standby *s)
{
    far_defer(s->all->loop, &s->later, on_later);
}

/* Of those that may be given now, the one that was submitted first. */
static unsigned next_slot(const struct far_standby *s)
{
    uint64_t left = (s->repeats ? s->repeats : s->busy) & ~s->given;
    unsigned best = FAR_OP_SLOTS_MAX;

    for (; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);

        if (best == FAR_OP_SLOTS_MAX || s->ops[slot].order < s->ops[best].order)
            best = slot;
    }
    return best;
}

static void fail(struct far_standby *s, unsigned slot)
{
    struct far_op op = s->ops[slot].op;

    op.status = -EOWNERDEAD;
    op.payload_bytes = 0;
    s->unknown++;
    complete(s, &op);
}

/* False: there is no room. */
static bool give(struct far_standby *s, unsigned slot)
{
    uint64_t bit = (uint64_t)1 << slot;
    struct far_op op = s->ops[slot].op;

    /* Submitted by a dead backend, to whichever server that was. */
    if ((op.flags & FAR_OP_REPEAT) &&
        far_op_repeat(op.opcode) == FAR_RECORDED && !s->serving->leased &&
        !(s->taken_up && s->serving == s->home)) {
        fail(s, slot);
        return true;
    }
    s->given |= bit;
    switch (
        far_layer_submit(s->serving->layer.below, &op, s->ops[slot].payload)) {
    case FAR_FULL:
        s->given &= ~bit;
        return false;
    case FAR_DONE:
        complete(s, &op);
        break;
    case FAR_LATER:
    case FAR_PASS: /* far_layer_submit() never says it */
        break;
    }
    return true;
}

static void give_all(struct far_standby *s)
{
    unsigned slot;

    while (s->serving && s->serving->ready &&
           (slot = next_slot(s)) != FAR_OP_SLOTS_MAX) {
        if (!give(s, slot))
            return;
    }
}

/* It may have been executed, and not by whom it would be given to. Without a
 * lease the two servers' devices have nothing in common. */
static bool outcome_unknown(const struct far_op *op, bool leased)
{
    switch (far_op_repeat(op->opcode)) {
    case FAR_REPEATABLE:
        return false;
    case FAR_RECORDED:
        return !leased;
    case FAR_AT_MOST_ONCE:
        break;
    }
    return true;
}

/* Another leg serves from now on. */
static void repeat_ops(struct far_standby *s)
{
    uint64_t left = s->given;

    for (; left; left &= left - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(left);

        if (outcome_unknown(&s->ops[slot].op, s->serving->leased)) {
            fail(s, slot);
            continue;
        }
        s->ops[slot].op.flags |= FAR_OP_REPEAT;
        s->repeats |= (uint64_t)1 << slot;
        s->repeated++;
    }
    s->given = 0;
}

/* ---- legs ---- */

static void leg_close(struct leg *leg)
{
    struct far_standbys *all;

    if (!leg->open) /* or there is no such place */
        return;
    all = leg->standby->all;
    leg->open = leg->ready = false;
    all->ops.leaving(all->ops.arg, &leg->who, true);
    leg->layer.below->above = NULL;
    far_layer_close(leg->layer.below);
    leg->layer.below = NULL;
}

static void leg_activate(struct leg *leg)
{
    struct far_standby *s = leg->standby;
    bool known = leg == s->home;

    far_layer_activate(leg->layer.below, known ? s->incarnation : 0,
                       known ? s->received : 0);
}

static void leg_open(struct leg *leg)
{
    struct far_standbys *all = leg->standby->all;
    struct far_error error = { 0 };
    struct far_layer *below = NULL;

    if (leg->open)
        return;
    if (all->ops.open(all->ops.arg, &leg->who, &below, &error)) {
        snprintf(leg->reason, sizeof(leg->reason), "%.231s", error.text);
        return;
    }
    snprintf(leg->reason, sizeof(leg->reason), "%s: attaching", name_of(leg));
    leg->open = true;
    far_layer_stack(&leg->layer, below);
    if (leg->standby->activated)
        leg_activate(leg);
}

/* Upwards, that nobody serves it, and why; if it is news. */
static void say_gone(struct far_standby *s)
{
    struct far_layer_news news = { .reason = s->said };
    char text[sizeof(s->said)] = "";
    unsigned i, listed = 0;

    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        size_t used = strlen(text);

        listed += s->legs[i].rank > 0;
        if (s->legs[i].reason[0])
            snprintf(text + used, sizeof(text) - used, "%s%s", used ? "; " : "",
                     s->legs[i].reason);
    }
    if (!listed && !text[0])
        snprintf(text, sizeof(text),
                 "%s: the directory knows no server that "
                 "has it",
                 s->who.device);
    if (!s->layer.above || (!s->ready && !strcmp(text, s->said)))
        return;
    s->ready = false;
    memcpy(s->said, text, sizeof(s->said));
    far_layer_state(s->layer.above, FAR_DEVICE_GONE, &news);
}

static void be_patient(struct far_standby *s)
{
    if (!far_timer_armed(&s->patience) && s->all->after_us != UINT64_MAX)
        far_timer_set(&s->patience, far_now_us() + s->all->after_us);
}

static void serve_by(struct far_standby *s, struct leg *leg)
{
    struct leg *before = s->serving;

    s->serving = leg;
    far_timer_cancel(&s->patience);
    if (!before || before == leg)
        return;
    s->switches++;
    far_log(s->all->log, FAR_LOG_WARNING, "%s of %s: %s serves it now; %.160s",
            s->who.device, s->who.guest_name, name_of(leg), before->reason);
    repeat_ops(s);
}

static void leg_state(struct far_layer *layer, enum far_device_state state,
                      const struct far_layer_news *news)
{
    struct leg *leg = leg_of(layer);
    struct far_standby *s = leg->standby;
    const char *unfit = NULL;
    struct far_layer *l;

    if (state == FAR_DEVICE_READY)
        unfit = far_standby_unfit((enum far_class)s->who.class, news);
    leg->ready = state == FAR_DEVICE_READY && !unfit;
    leg->leased = news && news->leased;
    if (!leg->ready) {
        snprintf(leg->reason, sizeof(leg->reason), "%s%s%.160s",
                 unfit ? name_of(leg) : "", unfit ? ": " : "",
                 unfit                  ? unfit
                 : news && news->reason ? news->reason
                                        : "gone");
        if (leg == s->serving || !s->serving || !s->serving->ready) {
            say_gone(s);
            be_patient(s);
        }
        return;
    }
    leg->reason[0] = '\0';
    later(s); /* who is not needed is closed, ops are given */
    if (leg != s->serving && s->serving && s->serving->ready)
        return;
    serve_by(s, leg);
    for (l = &s->layer; l; l = l->above)
        l->prompt_acks |= leg->layer.prompt_acks;
    s->ready = true;
    s->said[0] = '\0';
    if (s->layer.above)
        far_layer_state(s->layer.above, FAR_DEVICE_READY, news);
}

static bool leg_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct leg *leg = leg_of(layer);
    struct far_standby *s = leg->standby;

    if (leg != s->serving || !s->layer.above) {
        s->elsewhere++;
        return true;
    }
    return far_layer_interrupt(s->layer.above, op);
}

static void leg_complete(struct far_layer *layer, const struct far_op *op)
{
    struct leg *leg = leg_of(layer);
    struct far_standby *s = leg->standby;
    uint64_t bit = (uint64_t)1 << op->slot;

    if (leg != s->serving || !(s->given & bit) ||
        s->ops[op->slot].op.sequence != op->sequence) {
        s->elsewhere++; /* the one that serves now is asked for it */
        return;
    }
    if (s->repeats == bit)
        later(s); /* now what is new */
    complete(s, op);
}

static void leg_room(struct far_layer *layer)
{
    if (leg_of(layer) == leg_of(layer)->standby->serving)
        later(leg_of(layer)->standby);
}

static const struct far_layer_ops leg_ops = {
    .name = "standby-leg",
    .complete = leg_complete,
    .interrupt = leg_interrupt,
    .state = leg_state,
    .room = leg_room,
};

static void on_later(struct far_defer *defer)
{
    struct far_standby *s =
        (struct far_standby *)((char *)defer -
                               offsetof(struct far_standby, later));
    unsigned i;

    for (i = 0; s->serving && s->serving->ready && i < FAR_STANDBY_PLACES;
         i++) {
        if (&s->legs[i] != s->serving)
            leg_close(&s->legs[i]);
    }
    give_all(s);
}

/* Nobody has served it for a while: all may try. The first that can does. */
static void on_patience(struct far_timer *timer)
{
    struct far_standby *s =
        (struct far_standby *)((char *)timer -
                               offsetof(struct far_standby, patience));
    unsigned i;

    if (s->serving && s->serving->ready)
        return;
    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        if (s->legs[i].rank)
            leg_open(&s->legs[i]);
    }
    if (s->serving && s->serving->ready)
        return;
    say_gone(s);
    be_patient(s);
}

/* ---- the layer ---- */

static enum far_verdict standby_submit(struct far_layer *layer,
                                       struct far_op *op, void *payload)
{
    struct far_standby *s = of_layer(layer);
    uint64_t bit;

    if (op->slot >= FAR_OP_SLOTS_MAX) {
        op->status = -EINVAL;
        return FAR_DONE;
    }
    if (!s->ops)
        s->ops = calloc(FAR_OP_SLOTS_MAX, sizeof(*s->ops));
    if (!s->ops) {
        op->status = -ENOMEM;
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    bit = (uint64_t)1 << op->slot;
    if (s->busy & bit)
        return FAR_FULL;
    s->ops[op->slot] = (struct op_of){ *op, payload, ++s->order };
    s->busy |= bit;
    if (!s->serving || !s->serving->ready || s->repeats ||
        (s->busy & ~s->given) != bit) {
        later(s); /* others are before it, or nobody is there */
        return FAR_LATER;
    }
    give(s, op->slot);
    return FAR_LATER;
}

static void standby_activate(struct far_layer *layer, uint64_t incarnation,
                             uint64_t received)
{
    struct far_standby *s = of_layer(layer);
    unsigned i;

    s->activated = true;
    s->incarnation = incarnation;
    s->received = received;
    s->ready = false; /* all is said again */
    s->said[0] = '\0';
    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        if (s->legs[i].open)
            leg_activate(&s->legs[i]);
    }
    if (!s->serving || !s->serving->ready) {
        say_gone(s);
        be_patient(s);
    }
}

static void standby_ack(struct far_layer *layer, uint64_t sequence)
{
    struct far_standby *s = of_layer(layer);

    if (s->serving && s->serving->open)
        far_layer_ack(s->serving->layer.below, sequence);
}

static void standby_taken(struct far_layer *layer)
{
    struct far_standby *s = of_layer(layer);

    if (s->serving && s->serving->open)
        far_layer_taken(s->serving->layer.below);
}

static void standby_resume(struct far_layer *layer)
{
    struct far_standby *s = of_layer(layer);

    if (s->serving && s->serving->open)
        far_layer_resume(s->serving->layer.below);
}

static const struct far_stages *standby_stages(const struct far_layer *layer)
{
    const struct far_standby *s = (const void *)layer;

    return s->serving && s->serving->open
               ? far_layer_stages(s->serving->layer.below)
               : NULL;
}

static void standby_close(struct far_layer *layer)
{
    struct far_standby *s = of_layer(layer), **at = &s->all->first;
    unsigned i;

    far_timer_cancel(&s->patience);
    far_defer_cancel(s->all->loop, &s->later);
    s->layer.above = NULL;
    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        if (!s->legs[i].open)
            continue;
        s->legs[i].layer.below->above = NULL;
        far_layer_close(s->legs[i].layer.below);
    }
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    free(s->ops);
    free(s);
}

static const struct far_layer_ops standby_ops = {
    .name = "standby",
    .submit = standby_submit,
    .activate = standby_activate,
    .ack = standby_ack,
    .taken = standby_taken,
    .resume = standby_resume,
    .stages = standby_stages,
    .close = standby_close,
};

static struct leg *find_leg(struct far_standby *s,
                            const struct far_standby_place *place)
{
    unsigned i;

    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        struct leg *leg = &s->legs[i];

        if (leg->standby && !strcmp(leg->place.platform, place->platform) &&
            !strcmp(leg->place.device, place->device))
            return leg;
    }
    return NULL;
}

/* A leg that nobody needs, or NULL: one serves that is in no place. */
static struct leg *make_leg(struct far_standby *s,
                            const struct far_standby_place *place)
{
    struct leg *leg = s->legs;

    while (leg->rank || leg->open) {
        if (++leg == s->legs + FAR_STANDBY_PLACES)
            return NULL;
    }
    memset(leg, 0, sizeof(*leg));
    leg->layer.ops = &leg_ops;
    leg->standby = s;
    leg->place = *place;
    leg->who = s->who;
    memcpy(leg->who.platform, place->platform, sizeof(leg->who.platform));
    memset(leg->who.standby, 0, sizeof(leg->who.standby));
    memcpy(leg->who.device, place->device, sizeof(leg->who.device));
    if (s->home == leg) /* it was another place */
        s->home = NULL;
    return leg;
}

/* False: all is as it was. */
static bool list(struct far_standby *s, const struct far_standby_place *places,
                 unsigned count)
{
    unsigned ranks[FAR_STANDBY_PLACES], i;
    bool other = false;

    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        ranks[i] = s->legs[i].rank;
        s->legs[i].rank = 0;
    }
    for (i = 0; i < count && i < FAR_STANDBY_PLACES; i++) {
        struct leg *leg = find_leg(s, &places[i]);

        if (!leg) {
            leg = make_leg(s, &places[i]);
            other = true;
        }
        if (leg && !leg->rank)
            leg->rank = i + 1;
    }
    for (i = 0; i < FAR_STANDBY_PLACES; i++)
        other |= ranks[i] != s->legs[i].rank;
    return other;
}

static struct leg *first_leg(struct far_standby *s)
{
    struct leg *best = NULL;
    unsigned i;

    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        if (s->legs[i].rank && (!best || s->legs[i].rank < best->rank))
            best = &s->legs[i];
    }
    return best;
}

/* Begins, once there are places. */
static void settle(struct far_standby *s)
{
    struct far_standbys *all = s->all;
    unsigned i;

    for (i = 0; !s->home && i < FAR_STANDBY_PLACES; i++) {
        if (s->legs[i].rank && all->ops.left(all->ops.arg, &s->legs[i].who))
            s->home = &s->legs[i];
    }
    s->taken_up = s->home;
    if (!s->home)
        s->home = first_leg(s);
    if (s->home)
        leg_open(s->home);
}

int far_standby_open(struct far_standbys *all, const struct far_local_who *who,
                     const struct far_standby_place *places, unsigned count,
                     struct far_layer **layer, struct far_error *error)
{
    struct far_standby *s = calloc(1, sizeof(*s));

    if (!s)
        return far_error(error, -ENOMEM, "%s: out of memory", who->device);
    s->layer.ops = &standby_ops;
    s->all = all;
    s->who = *who;
    far_timer_init(&s->patience, all->loop, on_patience);
    s->next = all->first;
    all->first = s;
    list(s, places, count);
    settle(s);
    *layer = &s->layer;
    return 0;
}

void far_standby_set_places(struct far_standby *s,
                            const struct far_standby_place *places,
                            unsigned count)
{
    unsigned i;

    if (!list(s, places, count))
        return;
    for (i = 0; i < FAR_STANDBY_PLACES; i++) {
        if (s->legs[i].rank || &s->legs[i] == s->serving)
            continue;
        leg_close(&s->legs[i]);
        s->legs[i].reason[0] = '\0';
    }
    if (s->serving && s->serving->ready)
        return;
    if (!s->serving && !(s->home && s->home->open)) {
        s->home = NULL;
        settle(s);
    } else {
        on_patience(&s->patience); /* who came may be who can */
    }
    if (s->activated && !(s->serving && s->serving->ready)) {
        say_gone(s);
        be_patient(s);
    }
}

void far_standbys_each(struct far_standbys *all, const char *platform,
                       void (*each)(void *arg, struct far_standby *standby,
                                    const char *device),
                       void *arg)
{
    struct far_standby *s;

    for (s = all->first; s; s = s->next) {
        if (!strcmp(s->who.platform, platform))
            each(arg, s, s->who.device);
    }
}

void far_standby_leaving(struct far_standbys *all,
                         const struct far_local_who *who, bool detached)
{
    struct far_standby *s;
    unsigned i;

    for (s = all->first; s; s = s->next) {
        const struct leg *stays = s->serving ? s->serving : s->home;

        if (s->who.attachment != who->attachment)
            continue;
        for (i = 0; i < FAR_STANDBY_PLACES; i++) {
            if (s->legs[i].open)
                all->ops.leaving(all->ops.arg, &s->legs[i].who,
                                 detached || &s->legs[i] != stays);
        }
    }
}

json_t *far_standbys_json(const struct far_standbys *all)
{
    json_t *list = json_array();
    const struct far_standby *s;
    unsigned i;

    for (s = all->first; s; s = s->next) {
        json_t *places = json_array();

        for (i = 0; i < FAR_STANDBY_PLACES; i++) {
            const struct leg *leg = &s->legs[i];

            if (!leg->rank && !leg->open)
                continue;
            json_array_append_new(
                places,
                json_pack("{s:s, s:s, s:s, s:o}", "platform",
                          leg->place.platform, "device", leg->place.device,
                          "state",
                          leg->ready && leg == s->serving ? "serves"
                          : leg->open                     ? "tried"
                                                          : "stands by",
                          "reason",
                          leg->open && leg->reason[0] ? json_string(leg->reason)
                                                      : json_null()));
        }
        json_array_append_new(
            list,
            json_pack("{s:s, s:i, s:s, s:s, s:o, s:I, s:I, s:I}", "guest",
                      s->who.guest_name, "devid", (int)s->who.guest_devid,
                      "device", s->who.device, "serves",
                      s->serving && s->serving->ready ? name_of(s->serving)
                                                      : "",
                      "places", places, "switches", (json_int_t)s->switches,
                      "repeated_ops", (json_int_t)s->repeated,
                      "unknown_outcome", (json_int_t)s->unknown));
    }
    return list;
}
