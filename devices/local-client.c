/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The client's half of the local device protocol (core/local.h): one
 * connection for all attachments of this process, each a layer. The server is
 * not trusted: what it sends is checked, and nonsense costs it the connection,
 * which is made again after a pause; meanwhile the users see GONE and why.
 *
 * Waking: an attachment whose ring had something is `hot`: the poller looks at
 * it. Before the loop sleeps, hot rings are armed and leave the list; all
 * others are armed already, so idle attachments cost nothing per turn.
 *
 * Payloads: place() gives out an arena at an address that stays. Each
 * connection has new shared memory (core/local.h says why): what is in flight
 * in the old arena is copied to the new one, which is then moved to that
 * address. So what is sent again after a loss is what the arena held, and a
 * server could have scribbled there; it could as well have executed something
 * else in the first place, so this trusts it with nothing more.
 */
#include "core/block.h"
#include "core/clock.h"
#include "core/usdt.h"
#include "devices/device.h"
#include "devices/silence.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RING_ENTRIES       64u
#define INFLIGHT_INPUT     4u
#define BACKOFF_FIRST_US   10000u
#define BACKOFF_REFUSED_US 50000u
#define BACKOFF_SILENT_US  1000000u
/* Refused for so long, nobody is about to restart it: wake up less often. */
#define REFUSED_LONG_US 5000000u
#define HELLO_WITHIN_US 1000000u
#define LIVED_US        2000000u
/* Before each, two ringfuls may have to be taken: a turn stays short also with
 * a server that wants it long. */
#define MESSAGES_A_TURN 8

#ifndef SO_PASSRIGHTS /* Linux 6.16 */
#define SO_PASSRIGHTS 83
#endif

struct pending {
    struct far_op op;
    void *payload;
    uint64_t given_ns;   /* if it is timed */
    uint32_t ring_index; /* of it in the ring down */
};

struct use {
    struct far_layer layer;
    struct far_local_client *client; /* NULL: it was freed before its user */
    struct far_local_who who;
    struct far_local_shm shm;
    struct far_io io; /* to_client */
    bool has_shm, prepare_sent, answered, prepared, activate_sent, activated;
    bool active; /* the user wants it */
    bool dead;   /* the user closed it; freed when DETACH is sent */
    bool ready;  /* what STATE said */
    bool blocked, draining, wake_server;
    uint64_t incarnation, received, acked;
    uint32_t turn;             /* of the last message */
    uint32_t incarnation_turn; /* of the one that told the incarnation */
    bool has_held;
    struct far_op held;      /* copied out of the ring, not taken yet */
    uint64_t held_waited_ns; /* there, if it is a timed one */
    uint8_t props[32];
    char reason[232];
    struct pending *inflight; /* in the order in which they were submitted */
    uint32_t inflight_used, inflight_room;
    uint32_t sent;    /* of them, in the ring down, now or before a loss */
    uint32_t repeats; /* of them, sent again and not answered yet: until they
                         are, nothing new is sent */
    uint64_t slots;   /* in use */
    uint8_t *arena;   /* at its address for good; NULL: the class has none */
    uint32_t arena_bytes, slot_bytes;
    uint64_t device_incarnation;
    bool room_wanted;
    struct far_sampler sampler;
    struct far_stages stages;
    struct use *next;
    struct use *hot_next, **hot_prev;
    struct use *flush_next;
    bool hot, flush;
};

enum connection { DOWN, GREETING, UP };

struct far_local_client {
    struct far_loop *loop;
    struct far_log *log;
    struct far_log_bucket bucket;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char platform[FAR_NAME_BYTES];
    char hint[200];
    enum connection connection;
    int fd;
    struct far_io io;
    struct far_timer timer; /* the next try, or the hello's deadline */
    struct far_defer sync, flush, doom;
    struct far_silence silence;
    void (*silent)(void *arg);
    void *silent_arg;
    uint64_t asked_alive; /* number of the last ALIVE */
    bool answers_alive;
    bool doomed, told;
    bool ended; /* the server closed: it restarts, it does not misbehave */
    uint64_t backoff_us, refused_since_us, connected_us;
    char reason[232];
    struct use *uses, *hot, *flushes;
    struct far_poller poller;
    uint32_t sample_every;
    struct far_local_client_notices notices; /* notify NULL: not wanted */
    far_local_client_name *name;             /* NULL: they keep their names */
    void *name_arg;
    bool guests_sent;
};

static void sync_later(struct far_local_client *c);
static void try_connect(struct far_local_client *c);

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* ---- hot and flush lists ---- */

static void make_hot(struct use *u)
{
    struct far_local_client *c = u->client;

    if (u->hot || !c || !u->has_shm || u->dead)
        return;
    far_shring_disarm(&u->shm.up);
    u->hot = true;
    u->hot_next = c->hot;
    u->hot_prev = &c->hot;
    if (u->hot_next)
        u->hot_next->hot_prev = &u->hot_next;
    c->hot = u;
}

static void make_cold(struct use *u)
{
    if (!u->hot)
        return;
    u->hot = false;
    *u->hot_prev = u->hot_next;
    if (u->hot_next)
        u->hot_next->hot_prev = u->hot_prev;
}

/* End of the turn: each server is woken once, for all that happened. */
static void flush_run(struct far_defer *defer)
{
    struct far_local_client *c =
        container(defer, struct far_local_client, flush);
    struct use *u;

    while ((u = c->flushes) != NULL) {
        bool wake = u->wake_server;

        c->flushes = u->flush_next;
        u->flush = false;
        u->wake_server = false;
        if (!u->has_shm)
            continue;
        wake |= far_shring_wake_needed(&u->shm.down);
        wake |= far_shring_room_wake_needed(&u->shm.up);
        if (wake)
            far_local_wake_server(&u->shm);
    }
}

static void flush_later(struct use *u)
{
    struct far_local_client *c = u->client;

    if (u->flush || !c || !u->has_shm)
        return;
    u->flush = true;
    u->flush_next = c->flushes;
    c->flushes = u;
    far_defer(c->loop, &c->flush, flush_run);
}

static void flush_forget(struct use *u)
{
    if (!u->flush)
        return;
    for (struct use **at = &u->client->flushes; *at; at = &(*at)->flush_next)
        if (*at == u) {
            *at = u->flush_next;
            break;
        }
    u->flush = false;
}

/* ---- what goes up ---- */

/* Its power is not ours. */
static void lives_elsewhere(uint8_t props[32])
{
    struct far_block_props block;

    memcpy(&block, props, sizeof(block));
    block.can |= FAR_BLOCK_LOSES;
    memcpy(props, &block, sizeof(block));
}

static void say(struct use *u, enum far_device_state state, const char *reason)
{
    struct far_layer_news news = { .incarnation = u->incarnation,
                                   .device_incarnation = u->device_incarnation,
                                   .reason = reason };

    u->ready = state == FAR_DEVICE_READY;
    if (reason != u->reason)
        snprintf(u->reason, sizeof(u->reason), "%s", reason ? reason : "");
    if (u->dead)
        return;
    memcpy(news.props, u->props, sizeof(news.props));
    if (u->who.class == FAR_CLASS_BLOCK && u->who.platform[0])
        lives_elsewhere(news.props);
    far_layer_state(u->layer.above, state, &news);
}

static void doom_run(struct far_defer *defer);

/* The connection ends at the end of this turn: nobody's list is walked then. */
static void __attribute__((format(printf, 2, 3)))
doom(struct far_local_client *c, const char *format, ...)
{
    va_list args;

    if (c->doomed || c->connection == DOWN)
        return;
    c->doomed = true;
    va_start(args, format);
    vsnprintf(c->reason, sizeof(c->reason), format, args);
    va_end(args);
    far_defer(c->loop, &c->doom, doom_run);
}

static void server_ended(struct far_local_client *c)
{
    if (c->doomed)
        return;
    c->ended = c->connection == UP;
    doom(c, "the server has gone; it will be tried again");
}

static void nonsense(struct use *u, const char *what)
{
    char text[160];

    snprintf(text, sizeof(text), "the server sent nonsense for %s: %s",
             u->who.device, what);
    doom(u->client, "%s", text);
}

/* ---- ops ---- */

static void *slot_place(const struct use *u, uint32_t slot)
{
    return u->arena + (size_t)slot * u->slot_bytes;
}

/* A timed op goes out. One that is sent again has a stage of its own, the loss;
 * it says nothing of the others. */
static void timed_out(struct use *u, struct pending *p, uint16_t flags)
{
    if (flags & FAR_OP_REPEAT) {
        p->given_ns = 0;
        return;
    }
    p->ring_index = u->shm.down.mine;
    far_stage_add(&u->stages, FAR_STAGE_OP_WAIT, far_now_ns() - p->given_ns);
}

static void timed_home(struct use *u, const struct pending *p)
{
    uint64_t local_ns = far_shring_waited_ns(&u->shm.down, p->ring_index);

    if (!p->given_ns)
        return;
    if (local_ns)
        far_stage_add(&u->stages, FAR_STAGE_OP_LOCAL, local_ns);
    if (u->held_waited_ns)
        far_stage_add(&u->stages, FAR_STAGE_OP_HOME, u->held_waited_ns);
    far_stage_add(&u->stages, FAR_STAGE_OP_TOTAL, far_now_ns() - p->given_ns);
}

/* Into the ring down; first the payload, unless it lies there. */
static void send_op(struct use *u, struct pending *p, uint16_t flags)
{
    struct far_op op = p->op;

    op.flags |= flags;
    if (op.flags & FAR_OP_TIMED)
        timed_out(u, p, flags);
    if ((op.flags & FAR_OP_SENDS) && op.payload_bytes) {
        void *place = slot_place(u, op.slot);

        if (p->payload != place)
            memcpy(place, p->payload, op.payload_bytes);
    }
    /* There is a place for each slot, unless what it says is not so. */
    if (far_shring_put(&u->shm.down, &op))
        nonsense(u, "a ring index that contradicts its answers");
    flush_later(u);
}

static void send_new(struct use *u)
{
    while (u->activated && !u->repeats && !u->client->doomed &&
           u->sent < u->inflight_used)
        send_op(u, &u->inflight[u->sent++], 0);
}

/* A new connection: what went out over an older one goes first. */
static void resubmit(struct use *u)
{
    u->repeats = u->sent;
    for (uint32_t i = 0; i < u->repeats; i++)
        send_op(u, &u->inflight[i], FAR_OP_REPEAT);
    send_new(u);
}

/* Takes the op that this answers off the list. */
static bool take_pending(struct use *u, const struct far_op *op,
                         struct pending *p)
{
    for (uint32_t i = 0; i < u->sent; i++) {
        const struct far_op *f = &u->inflight[i].op;

        if (f->slot != op->slot || f->sequence != op->sequence ||
            f->opcode != op->opcode)
            continue;
        *p = u->inflight[i];
        u->inflight_used--;
        u->sent--;
        u->repeats -= i < u->repeats;
        u->slots &= ~((uint64_t)1 << op->slot);
        memmove(&u->inflight[i], &u->inflight[i + 1],
                (u->inflight_used - i) * sizeof(*p));
        return true;
    }
    return false;
}

static void complete_up(struct use *u, struct far_op *op)
{
    struct pending p;
    uint32_t room;

    if (!take_pending(u, op, &p)) {
        nonsense(u, "an answer to what was not asked");
        return;
    }
    op->flags = p.op.flags;
    if (op->flags & FAR_OP_TIMED)
        timed_home(u, &p);
    room = op->flags & FAR_OP_RECEIVES ? p.op.payload_bytes : 0;
    if (op->status > 0 || op->payload_bytes > room) {
        op->status = -EPROTO;
        op->payload_bytes = 0;
        nonsense(u, "an answer that can't be");
    }
    if (op->payload_bytes && p.payload != slot_place(u, op->slot))
        memcpy(p.payload, slot_place(u, op->slot), op->payload_bytes);
    send_new(u);
    far_layer_complete(u->layer.above, op);
    if (u->room_wanted && !u->dead) {
        u->room_wanted = false;
        far_layer_room(u->layer.above);
    }
}

/* ---- interrupts ---- */

/* One interrupt from the ring: true if it is done with. */
static bool interrupt_up(struct use *u)
{
    struct far_op op = u->held;
    struct far_input_event event;

    if ((int32_t)(op.slot - u->turn) > 0)
        return false; /* its message has not come yet */
    if (!u->active || op.sequence == 0) {
        nonsense(u, u->active ? "an interrupt without a number"
                              : "an interrupt before it was activated");
        return true;
    }
    if (u->who.class == FAR_CLASS_INPUT) {
        memcpy(&event, op.args, sizeof(event));
        if (op.opcode != FAR_INPUT_EVENT || !far_input_event_valid(&event)) {
            nonsense(u, "no valid input event");
            return true;
        }
    }
    if ((int32_t)(op.slot - u->incarnation_turn) < 0)
        op.sequence = 0; /* of a device that was there before */
    else if (op.sequence <= u->received) {
        u->layer.counters.dropped++; /* sent again, had arrived */
        return true;
    }
    op.slot = 0;
    if (u->held_waited_ns) { /* not again, if it is refused now */
        far_stage_add(&u->stages, FAR_STAGE_RING, u->held_waited_ns);
        u->held_waited_ns = 0;
    }
    op.flags = 0;
    op.status = 0;
    op.payload_bytes = 0;
    if (!far_layer_interrupt(u->layer.above, &op)) {
        u->blocked = true;
        return false;
    }
    if (op.sequence)
        u->received = op.sequence;
    return true;
}

/* Takes what is in the ring; number of entries. */
static unsigned drain(struct use *u)
{
    unsigned n = 0;

    if (u->draining)
        return 0;
    u->draining = true;
    /* at most a ringful: a server that fills as fast as we empty must not keep
     * the turn from ending */
    while (!u->blocked && !u->dead && u->has_shm && n < RING_ENTRIES) {
        if (u->client->doomed)
            break;
        if (!u->has_held) {
            int r = far_shring_get(&u->shm.up, &u->held);

            if (r == 0)
                break;
            if (r < 0) {
                nonsense(u, "a ring index out of range");
                break;
            }
            u->held_waited_ns = u->shm.up.waited_ns;
            if (u->held.attachment != u->who.attachment ||
                FAR_OPCODE_CLASS(u->held.opcode) != u->who.class) {
                nonsense(u, "an entry of another attachment or class");
                break;
            }
        }
        u->has_held = true;
        if (FAR_OPCODE_IS_INTERRUPT(u->held.opcode)) {
            if (!interrupt_up(u))
                break;
            u->has_held = false;
        } else {
            struct far_op op = u->held;

            u->has_held = false;
            complete_up(u, &op);
        }
        n++;
    }
    u->draining = false;
    if (n)
        flush_later(u); /* the server may wait for room */
    return n;
}

static void ring_ready(struct far_io *io, uint32_t events)
{
    struct use *u = container(io, struct use, io);

    (void)events; /* edge-triggered: the count need not be read */
    make_hot(u);
    drain(u);
}

/* ---- the poller ---- */

static bool hot_poll(struct far_poller *poller)
{
    struct far_local_client *c =
        container(poller, struct far_local_client, poller);
    bool any = false;

    for (struct use *u = c->hot, *next; u; u = next) {
        next = u->hot_next;
        any |= drain(u) > 0;
    }
    return any;
}

static bool hot_peer_elsewhere(struct far_poller *poller)
{
    struct far_local_client *c =
        container(poller, struct far_local_client, poller);

    for (struct use *u = c->hot; u; u = u->hot_next)
        if (far_shring_peer_elsewhere(&u->shm.up, true))
            return true;
    return false;
}

static bool hot_arm(struct far_poller *poller)
{
    struct far_local_client *c =
        container(poller, struct far_local_client, poller);
    bool quiet = true;

    for (struct use *u = c->hot, *next; u; u = next) {
        next = u->hot_next;
        far_shring_producer_sleeps(&u->shm.down);
        /* One that waits for the layer above or for a message is armed too,
         * but its waiting entries are no reason to stay awake. */
        if (far_shring_arm(&u->shm.up) || u->has_held)
            make_cold(u);
        else
            quiet = false;
    }
    return quiet;
}

/* ---- the connection ---- */

static void drop_shm(struct use *u)
{
    make_cold(u);
    flush_forget(u);
    far_io_del(&u->io);
    if (u->has_shm)
        far_local_shm_close(&u->shm);
    u->has_shm = false;
    u->has_held = false;
    u->prepare_sent = u->answered = false;
    u->prepared = u->activate_sent = u->activated = false;
}

static void free_use(struct use *u)
{
    drop_shm(u);
    if (u->arena)
        munmap(u->arena, u->arena_bytes);
    free(u->inflight);
    far_stages_free(&u->stages);
    free(u);
}

static void schedule(struct far_local_client *c)
{
    if (!c->uses && !c->notices.notify)
        return;
    far_timer_set(&c->timer, far_loop_now_us(c->loop) + c->backoff_us);
}

static void back_off(struct far_local_client *c, uint64_t cap_us)
{
    c->backoff_us = c->backoff_us ? c->backoff_us * 2 : BACKOFF_FIRST_US;
    if (c->backoff_us > cap_us)
        c->backoff_us = cap_us;
}

/* Ends the connection and tells everybody; c->reason says why. */
static void lost(struct far_local_client *c)
{
    char reason[sizeof(c->reason)];

    far_silence_end(&c->silence);
    far_io_del(&c->io);
    close(c->fd);
    c->fd = -1;
    c->connection = DOWN;
    c->doomed = c->guests_sent = false;
    for (struct use **at = &c->uses; *at;) {
        struct use *u = *at;

        drop_shm(u);
        if (u->dead) {
            *at = u->next;
            free_use(u);
        } else {
            at = &u->next;
        }
    }
    if (far_loop_now_us(c->loop) - c->connected_us > LIVED_US)
        c->backoff_us = 0;
    back_off(c, c->ended ? BACKOFF_REFUSED_US : BACKOFF_SILENT_US);
    c->ended = false;
    memcpy(reason, c->reason, sizeof(reason));
    far_log_limited(c->log, &c->bucket, FAR_LOG_WARNING, "%s: %s", c->path,
                    reason);
    c->told = true;
    for (struct use *u = c->uses; u; u = u->next)
        say(u, FAR_DEVICE_GONE, reason);
    schedule(c);
}

static void doom_run(struct far_defer *defer)
{
    struct far_local_client *c =
        container(defer, struct far_local_client, doom);

    if (!c->doomed)
        return;
    /* What the dead server had put into the rings is still sound. */
    c->doomed = false;
    for (struct use *u = c->uses; u; u = u->next) {
        u->activated = false; /* nothing new is for the dead one */
        if (u->has_shm && !u->dead && !u->shm.up.broken)
            drain(u);
    }
    far_defer_cancel(c->loop, &c->doom);
    lost(c);
}

static struct use *find(struct far_local_client *c, uint64_t attachment)
{
    for (struct use *u = c->uses; u; u = u->next)
        if (u->who.attachment == attachment && !u->dead)
            return u;
    return NULL;
}

static void learn_incarnation(struct use *u, uint64_t incarnation,
                              uint32_t turn)
{
    if (incarnation == 0 || incarnation == u->incarnation)
        return;
    u->incarnation = incarnation;
    u->incarnation_turn = turn;
    u->received = u->acked = 0;
    atomic_store(&u->shm.header->acked, 0);
}

/* Reasons come from a process that is not trusted, and go to people. */
static void foreign_reason(struct use *u, const char *reason, size_t bytes)
{
    char text[sizeof(u->reason)];

    far_escape(text, sizeof(text), reason, strnlen(reason, bytes));
    snprintf(u->reason, sizeof(u->reason), "%s",
             text[0] ? text : "gone, and the server gave no reason");
}

static void take_prepared(struct use *u, const struct far_local_prepared *m)
{
    u->turn = m->turn;
    u->answered = true;
    if (m->status) {
        u->prepared = u->activate_sent = u->activated = false;
        foreign_reason(u, m->reason, sizeof(m->reason));
        say(u, FAR_DEVICE_GONE, u->reason);
        return;
    }
    learn_incarnation(u, m->incarnation, m->turn);
    u->device_incarnation = m->device_incarnation;
    memcpy(u->props, m->props, sizeof(u->props));
    if (!u->prepared) {
        u->prepared = true;
        u->reason[0] = '\0';
        sync_later(u->client);
    }
}

static void take_activated(struct use *u, const struct far_local_activated *m)
{
    u->turn = m->turn;
    if (m->status) {
        foreign_reason(u, m->reason, sizeof(m->reason));
        say(u, FAR_DEVICE_GONE, u->reason);
        return;
    }
    learn_incarnation(u, m->incarnation, m->turn);
    if (!u->activated) {
        u->activated = true;
        resubmit(u);
    }
}

static void take_state(struct use *u, const struct far_local_state *m)
{
    u->turn = m->turn;
    if (m->state == FAR_DEVICE_READY) {
        u->reason[0] = '\0';
        say(u, FAR_DEVICE_READY, NULL);
    } else {
        foreign_reason(u, m->reason, sizeof(m->reason));
        say(u, FAR_DEVICE_GONE, u->reason);
    }
}

union message {
    struct {
        uint32_t type, bytes;
    } head;
    struct far_local_hello hello;
    struct far_local_prepared prepared;
    struct far_local_activated activated;
    struct far_local_state state;
    struct far_local_notify notify;
    char raw[FAR_LOCAL_BYTES_MAX];
};

static void take(struct far_local_client *c, const union message *m)
{
    struct use *u;
    uint64_t attachment;

    if (c->connection == GREETING) {
        if (m->head.type != FAR_LOCAL_HELLO)
            doom(c, "the server did not say hello");
        else if (m->hello.version != FAR_LOCAL_VERSION)
            doom(c,
                 "the server speaks version %u of the local protocol, not "
                 "%d: is it of the same release?",
                 m->hello.version, FAR_LOCAL_VERSION);
        if (c->doomed)
            return;
        c->connection = UP;
        c->told = false;
        c->answers_alive = m->hello.flags & FAR_LOCAL_ANSWERS_ALIVE;
        snprintf(c->reason, sizeof(c->reason), "connected");
        far_timer_cancel(&c->timer);
        sync_later(c);
        return;
    }
    far_silence_heard(&c->silence);
    if (m->head.type == FAR_LOCAL_NOTIFY && c->guests_sent &&
        c->notices.notify) {
        struct far_local_notify whole = { 0 };

        memcpy(&whole, &m->notify,
               m->head.bytes < sizeof(whole) ? m->head.bytes : sizeof(whole));
        c->notices.notify(c->notices.arg, &whole);
        return;
    }
    if (m->head.type != FAR_LOCAL_PREPARED &&
        m->head.type != FAR_LOCAL_ACTIVATED && m->head.type != FAR_LOCAL_STATE)
        return; /* unknown types are skipped */
    /* attachment stands at the same place in all three */
    attachment = m->prepared.attachment;
    u = find(c, attachment);
    if (!u || !u->prepare_sent)
        return; /* closed just now */
    /* What came before the message is in the ring by now: a ringful at most,
     * and one that is held. More is later: it must not keep us here. */
    if (drain(u) == RING_ENTRIES)
        drain(u);
    if (u->dead || c->doomed)
        return;
    if (m->head.type == FAR_LOCAL_PREPARED)
        take_prepared(u, &m->prepared);
    else if (m->head.type == FAR_LOCAL_ACTIVATED)
        take_activated(u, &m->activated);
    else
        take_state(u, &m->state);
    if (u->has_held)
        drain(u); /* it waited for this message */
    make_hot(u);
}

static void socket_ready(struct far_io *io, uint32_t events)
{
    struct far_local_client *c = container(io, struct far_local_client, io);
    union message m;

    if (events & EPOLLOUT)
        sync_later(c);
    for (int i = 0; i < MESSAGES_A_TURN && !c->doomed; i++) {
        int r = far_local_receive(c->fd, &m, sizeof(m), NULL, NULL);

        if (r == -EAGAIN)
            return;
        if (r == 0 || r == -ECONNRESET)
            server_ended(c);
        else if (r < 0)
            doom(c, "the server sent nonsense (%s)", strerror(-r));
        else
            take(c, &m);
    }
}

/* Whoever answers there gets our guests' devices: root, whoever owns the run
 * directory, or, if only the trusted can write to that, who made the socket. */
static int check_peer(struct far_local_client *c)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    char dir[sizeof(c->path)];
    struct stat d, s;
    char *slash;

    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
        return -errno;
    if (peer.uid == 0)
        return 0;
    snprintf(dir, sizeof(dir), "%s", c->path);
    slash = strrchr(dir, '/');
    if (!slash)
        snprintf(dir, sizeof(dir), ".");
    else
        slash[slash == dir] = '\0';
    if (stat(dir, &d) < 0)
        return -errno;
    if (peer.uid == d.st_uid)
        return 0;
    if (!(d.st_mode & S_IWOTH) && lstat(c->path, &s) == 0 &&
        S_ISSOCK(s.st_mode) && s.st_uid == peer.uid)
        return 0;
    return -EPERM;
}

static void say_hello(struct far_local_client *c)
{
    struct far_local_hello hello = { .type = FAR_LOCAL_HELLO,
                                     .bytes = sizeof(hello),
                                     .magic = FAR_LOCAL_MAGIC,
                                     .version = FAR_LOCAL_VERSION,
                                     .pid = (uint32_t)getpid() };
    int r;

    snprintf(hello.platform, sizeof(hello.platform), "%s", c->platform);
    r = far_local_send(c->fd, &hello, NULL, 0);
    if (r)
        doom(c, "hello could not be sent: %s", strerror(-r));
}

static void refused(struct far_local_client *c, int code)
{
    uint64_t now_us = far_loop_now_us(c->loop);

    close(c->fd);
    c->fd = -1;
    if (!c->refused_since_us)
        c->refused_since_us = now_us;
    back_off(c, now_us - c->refused_since_us > REFUSED_LONG_US
                    ? BACKOFF_SILENT_US
                    : BACKOFF_REFUSED_US);
    snprintf(c->reason, sizeof(c->reason),
             code == -EPERM
                 ? "%s: whoever listens there is neither root nor the owner "
                   "of that directory%.0s%.0s"
                 : "%s: %s; %.120s",
             c->path, strerror(-code), c->hint);
    if (!c->told) {
        c->told = true;
        for (struct use *u = c->uses; u; u = u->next)
            say(u, FAR_DEVICE_GONE, c->reason);
    }
    schedule(c);
}

static void try_connect(struct far_local_client *c)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int r = 0, no = 0;

    if (c->connection != DOWN)
        return;
    far_timer_cancel(&c->timer);
    memcpy(address.sun_path, c->path, sizeof(c->path));
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* We take no descriptors, and closing one that was made for it (a socket
     * that lingers) could block us. An older kernel passes them. */
    if (c->fd >= 0)
        (void)setsockopt(c->fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
    if (c->fd < 0)
        r = -errno;
    else if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        r = -errno;
    else
        r = check_peer(c);
    if (r == 0)
        r = far_io_add(c->loop, &c->io, c->fd, EPOLLIN, socket_ready);
    if (r) {
        refused(c, r);
        return;
    }
    c->refused_since_us = 0;
    c->connection = GREETING;
    c->connected_us = far_loop_now_us(c->loop);
    snprintf(c->reason, sizeof(c->reason), "waiting for the server's hello");
    far_timer_set(&c->timer, c->connected_us + HELLO_WITHIN_US);
    say_hello(c);
}

static void timer_fired(struct far_timer *timer)
{
    struct far_local_client *c =
        container(timer, struct far_local_client, timer);

    if (c->connection == DOWN)
        try_connect(c);
    else if (c->connection == GREETING)
        doom(c, "the server does not answer");
    else
        sync_later(c); /* what failed for want of memory or descriptors */
}

/* ---- bringing the server to where we are ---- */

/* The new memory's arena takes the place of the old one, with what is in
 * flight. */
static int take_arena(struct use *u)
{
    for (uint32_t i = 0; i < u->inflight_used; i++) {
        const struct pending *p = &u->inflight[i];
        size_t at = (size_t)p->op.slot * u->slot_bytes;

        if ((p->op.flags & FAR_OP_SENDS) && p->op.payload_bytes &&
            p->payload == u->arena + at)
            memcpy(u->shm.arena + at, p->payload, p->op.payload_bytes);
    }
    return far_local_shm_move_arena(&u->shm, u->arena);
}

static int make_shm(struct use *u)
{
    int r = far_local_shm_create(&u->shm, RING_ENTRIES, RING_ENTRIES,
                                 u->arena_bytes);

    if (r)
        return r;
    u->has_shm = true;
    u->turn = u->incarnation_turn = 0;
    if (u->arena)
        r = take_arena(u);
    /* Edge-triggered: nobody reads the count. */
    if (r == 0)
        r = far_io_add(u->client->loop, &u->io, u->shm.to_client,
                       EPOLLIN | EPOLLET, ring_ready);
    if (r)
        drop_shm(u);
    return r;
}

/* Learns what its guest is called now. False: the same as before. */
static bool is_renamed(struct use *u)
{
    const struct far_local_client *c = u->client;
    const char *name = c->name ? c->name(c->name_arg, &u->who) : NULL;

    if (!name || !strcmp(name, u->who.guest_name))
        return false;
    snprintf(u->who.guest_name, sizeof(u->who.guest_name), "%s", name);
    return true;
}

static int send_prepare(struct use *u)
{
    struct far_local_prepare m = { .type = FAR_LOCAL_PREPARE,
                                   .bytes = sizeof(m),
                                   .down_entries = RING_ENTRIES,
                                   .up_entries = RING_ENTRIES,
                                   .arena_bytes = u->arena_bytes,
                                   .slot_bytes = u->slot_bytes };
    int fds[3], r;

    if (!u->has_shm) {
        r = make_shm(u);
        if (r)
            return r;
    }
    (void)is_renamed(u);
    m.who = u->who;
    fds[0] = u->shm.memfd;
    fds[1] = u->shm.to_server_read;
    fds[2] = u->shm.to_client;
    r = far_local_send(u->client->fd, &m, fds, 3);
    if (r)
        return r;
    u->prepare_sent = true;
    close(u->shm.memfd); /* it stays mapped */
    u->shm.memfd = -1;
    return 0;
}

static int send_activate(struct use *u)
{
    struct far_local_activate m = { .type = FAR_LOCAL_ACTIVATE,
                                    .bytes = sizeof(m),
                                    .attachment = u->who.attachment,
                                    .incarnation = u->incarnation,
                                    .received = u->received };
    int r = far_local_send(u->client->fd, &m, NULL, 0);

    if (r == 0)
        u->activate_sent = true;
    return r;
}

static int send_detach(struct use *u)
{
    struct far_local_detach m = { .type = FAR_LOCAL_DETACH,
                                  .bytes = sizeof(m),
                                  .attachment = u->who.attachment };

    return far_local_send(u->client->fd, &m, NULL, 0);
}

static int send_guests(struct far_local_client *c)
{
    struct far_local_guests m = { .type = FAR_LOCAL_GUESTS,
                                  .bytes = sizeof(m) };
    int r;

    if (c->connection != UP || !c->notices.notify || c->guests_sent)
        return 0;
    r = far_local_send(c->fd, &m, NULL, 0);
    if (r)
        return r;
    c->guests_sent = true;
    c->notices.connected(c->notices.arg);
    return 0;
}

static int sync_one(struct use *u)
{
    int r = 0;

    if (u->dead)
        return u->prepare_sent ? send_detach(u) : 0;
    /* It was prepared while it migrated, by another name, or was renamed: what
     * that one may says nothing of this one. */
    if (u->active && u->prepare_sent && !u->activate_sent && is_renamed(u)) {
        drain(u); /* what the server has put there is still sound */
        if (u->dead)
            return send_detach(u);
        drop_shm(u);
    }
    if (!u->prepare_sent)
        r = send_prepare(u);
    if (r == 0 && u->prepared && u->active && !u->activate_sent)
        r = send_activate(u);
    return r;
}

/* An older server is only asked by PREPARE. */
static bool ask_alive(struct far_silence *silence)
{
    struct far_local_client *c =
        container(silence, struct far_local_client, silence);
    struct far_local_alive m = { .type = FAR_LOCAL_ALIVE, .bytes = sizeof(m) };
    struct use *u;

    if (c->answers_alive && c->uses) {
        m.number = ++c->asked_alive;
        /* If there is no room it does not read: as good as no answer. */
        (void)far_local_send(c->fd, &m, NULL, 0);
        return true;
    }
    for (u = c->uses; u; u = u->next)
        if (u->prepare_sent && !u->answered)
            return true;
    return false;
}

static void server_silent(struct far_silence *silence)
{
    struct far_local_client *c =
        container(silence, struct far_local_client, silence);

    doom(c, "the server has not answered for %llu ms",
         (unsigned long long)(silence->within_us / 1000));
    if (c->silent)
        c->silent(c->silent_arg);
}

static void sync_run(struct far_defer *defer)
{
    struct far_local_client *c =
        container(defer, struct far_local_client, sync);
    uint32_t events = EPOLLIN;
    int r = send_guests(c);

    if (r == -EAGAIN)
        events |= EPOLLOUT;
    for (struct use **at = &c->uses; *at && r != -EAGAIN && !c->doomed;) {
        struct use *u = *at;

        r = c->connection == UP ? sync_one(u) : 0;
        if (r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN) {
            server_ended(c);
        } else if (r == -EAGAIN) {
            events |= EPOLLOUT;
        } else if (r < 0 && !u->dead) {
            char reason[160];

            snprintf(reason, sizeof(reason),
                     "%s: can't be attached: %s; it will be tried again",
                     u->who.device, strerror(-r));
            say(u, FAR_DEVICE_GONE, reason);
            far_timer_set(&c->timer,
                          far_loop_now_us(c->loop) + BACKOFF_SILENT_US);
        }
        if (u->dead && r != -EAGAIN) {
            *at = u->next;
            free_use(u);
        } else {
            at = &u->next;
        }
    }
    if (c->connection != DOWN)
        far_io_set(&c->io, events);
    if (c->connection == UP && c->uses)
        far_silence_begin(&c->silence);
    else
        far_silence_end(&c->silence);
}

static void sync_later(struct far_local_client *c)
{
    far_defer(c->loop, &c->sync, sync_run);
}

/* ---- the layer ---- */

/* What no layer above may do; 0 or a negative errno. */
static int check_op(const struct use *u, const struct far_op *op,
                    const void *payload)
{
    uint16_t way = op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES);

    if (!u->client)
        return -ENODEV;
    if (op->slot >= FAR_OP_SLOTS_MAX ||
        way == (FAR_OP_SENDS | FAR_OP_RECEIVES) ||
        (op->payload_bytes && (!way || !payload)))
        return -EINVAL;
    if (u->slots & (uint64_t)1 << op->slot)
        return -EBUSY;
    return op->payload_bytes > u->slot_bytes ? -EMSGSIZE : 0;
}

static enum far_verdict use_submit(struct far_layer *layer, struct far_op *op,
                                   void *payload)
{
    struct use *u = (struct use *)layer;
    struct pending *p;
    int r = check_op(u, op, payload);

    if (r) {
        op->status = r;
        return FAR_DONE;
    }
    if (u->inflight_used == u->inflight_room) {
        u->room_wanted = true;
        return FAR_FULL;
    }
    p = &u->inflight[u->inflight_used++];
    p->op = *op;
    p->op.attachment = u->who.attachment;
    p->payload = payload;
    if (p->op.flags & FAR_OP_TIMED || far_sample(&u->sampler)) {
        p->op.flags |= FAR_OP_TIMED;
        p->given_ns = far_now_ns();
    }
    u->slots |= (uint64_t)1 << op->slot;
    send_new(u);
    return FAR_LATER;
}

static const struct far_stages *use_stages(const struct far_layer *layer)
{
    return &((const struct use *)layer)->stages;
}

static void *use_place(struct far_layer *layer, uint32_t slot, uint32_t bytes)
{
    struct use *u = (struct use *)layer;

    if (!u->arena || slot >= FAR_OP_SLOTS_MAX || bytes > u->slot_bytes)
        return NULL;
    return slot_place(u, slot);
}

static void use_activate(struct far_layer *layer, uint64_t incarnation,
                         uint64_t received)
{
    struct use *u = (struct use *)layer;

    if (!u->active && incarnation &&
        (u->incarnation == 0 || u->incarnation == incarnation)) {
        u->incarnation = incarnation;
        u->received = received;
    }
    u->active = true;
    u->activate_sent = false;
    u->blocked = false;
    say(u, u->ready ? FAR_DEVICE_READY : FAR_DEVICE_GONE,
        u->ready                      ? NULL
        : u->reason[0]                ? u->reason
        : !u->client                  ? "the local client has ended"
        : u->client->connection == UP ? "waiting for the server's answer"
                                      : u->client->reason);
    if (u->client)
        sync_later(u->client);
}

static void use_ack(struct far_layer *layer, uint64_t sequence)
{
    struct use *u = (struct use *)layer;
    uint64_t wake_at;

    if (!u->has_shm || sequence <= u->acked)
        return;
    u->acked = sequence;
    /* Out before ack_wake_at is read; the server writes that before it reads
     * acked: one of the two sees the other. */
    atomic_store(&u->shm.header->acked, sequence);
    wake_at = atomic_load(&u->shm.header->ack_wake_at);
    if (wake_at && sequence >= wake_at) {
        u->wake_server = true;
        flush_later(u);
    }
}

static void use_resume(struct far_layer *layer)
{
    struct use *u = (struct use *)layer;

    u->blocked = false;
    if (!u->has_shm)
        return;
    make_hot(u);
    drain(u);
}

static void use_close(struct far_layer *layer)
{
    struct use *u = (struct use *)layer;
    bool told = u->prepare_sent;

    layer->above = NULL;
    if (!u->client) {
        free_use(u);
        return;
    }
    u->dead = true;
    drop_shm(u);
    u->prepare_sent = told;
    sync_later(u->client);
}

static const struct far_layer_ops use_ops = {
    .name = "local-client",
    .submit = use_submit,
    .place = use_place,
    .activate = use_activate,
    .ack = use_ack,
    .resume = use_resume,
    .stages = use_stages,
    .close = use_close,
};

/* An address for the arena, and memory there until the first connection:
 * touched only as far as it is used. */
static int reserve_arena(struct use *u)
{
    enum far_class class = (enum far_class)u->who.class;

    u->slot_bytes = far_class_payload_bytes(class);
    u->arena_bytes = u->slot_bytes * FAR_OP_SLOTS_MAX;
    if (!u->arena_bytes)
        return 0;
    u->arena = mmap(NULL, u->arena_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (u->arena != MAP_FAILED)
        return 0;
    u->arena = NULL;
    return -errno;
}

int far_local_client_open(struct far_local_client *c,
                          const struct far_local_who *who,
                          struct far_layer **layer, struct far_error *error)
{
    struct use *u;

    if (find(c, who->attachment))
        return far_error(error, -EEXIST, "%s: this attachment is open already",
                         who->device);
    u = calloc(1, sizeof(*u));
    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", who->device);
    u->who = *who;
    u->inflight_room =
        who->class == FAR_CLASS_INPUT ? INFLIGHT_INPUT : RING_ENTRIES;
    u->inflight = calloc(u->inflight_room, sizeof(*u->inflight));
    u->io.fd = -1;
    if (!u->inflight || reserve_arena(u)) {
        free(u->inflight);
        free(u);
        return far_error(error, -ENOMEM, "%s: out of memory", who->device);
    }
    u->layer.ops = &use_ops;
    u->client = c;
    u->sampler.every = c->sample_every;
    u->next = c->uses;
    c->uses = u;
    FAR_PROBE4(attach, who->attachment, who->class, who->device, 0);
    *layer = &u->layer;
    if (c->connection == DOWN && !far_timer_armed(&c->timer))
        far_timer_set(&c->timer, far_loop_now_us(c->loop));
    sync_later(c);
    return 0;
}

struct far_local_client *far_local_client_new(struct far_loop *loop,
                                              struct far_log *log,
                                              const char *socket_path,
                                              const char *platform)
{
    struct far_local_client *c;

    if (strlen(socket_path) >= sizeof(c->path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->loop = loop;
    c->sample_every = FAR_TIMES_EVERY;
    c->log = log;
    c->fd = -1;
    c->io.fd = -1;
    snprintf(c->path, sizeof(c->path), "%s", socket_path);
    snprintf(c->platform, sizeof(c->platform), "%s", platform);
    snprintf(c->reason, sizeof(c->reason), "nobody has needed it yet");
    snprintf(c->hint, sizeof(c->hint), "is farside-netproxy running?");
    far_timer_init(&c->timer, loop, timer_fired);
    far_silence_init(&c->silence, loop, ask_alive, server_silent);
    c->poller.poll = hot_poll;
    c->poller.peer_elsewhere = hot_peer_elsewhere;
    c->poller.arm = hot_arm;
    far_poller_add(loop, &c->poller);
    return c;
}

void far_local_client_sample(struct far_local_client *c, uint32_t every)
{
    c->sample_every = every;
    for (struct use *u = c->uses; u; u = u->next)
        u->sampler = (struct far_sampler){ .every = every };
}

void far_local_client_free(struct far_local_client *c)
{
    if (!c)
        return;
    for (struct use *u = c->uses, *next; u; u = next) {
        next = u->next;
        drop_shm(u);
        if (u->dead)
            free_use(u);
        else
            u->client = NULL; /* its user closes it */
    }
    far_timer_cancel(&c->timer);
    far_silence_end(&c->silence);
    far_defer_cancel(c->loop, &c->sync);
    far_defer_cancel(c->loop, &c->flush);
    far_defer_cancel(c->loop, &c->doom);
    far_poller_del(&c->poller);
    far_io_del(&c->io);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

void far_local_client_set_hint(struct far_local_client *c, const char *hint)
{
    snprintf(c->hint, sizeof(c->hint), "%s", hint);
}

void far_local_client_watch(struct far_local_client *c, uint64_t within_us,
                            void (*silent)(void *arg), void *arg)
{
    c->silence.within_us = within_us;
    c->silent = silent;
    c->silent_arg = arg;
}

void far_local_client_name_guests(struct far_local_client *c,
                                  far_local_client_name *name, void *arg)
{
    c->name = name;
    c->name_arg = arg;
}

void far_local_client_hurry(struct far_local_client *c)
{
    if (c->connection != DOWN)
        return;
    c->refused_since_us = c->backoff_us = 0;
    back_off(c, BACKOFF_FIRST_US);
    schedule(c);
}

void far_local_client_take_notices(
    struct far_local_client *c, const struct far_local_client_notices *notices)
{
    c->notices = notices ? *notices : (struct far_local_client_notices){ 0 };
    if (!notices)
        return;
    if (c->connection == DOWN && !far_timer_armed(&c->timer))
        try_connect(c);
    else
        sync_later(c);
}

void far_local_client_notified(struct far_local_client *c, uint64_t id,
                               int status, const char *reason)
{
    struct far_local_notified m = { .type = FAR_LOCAL_NOTIFIED,
                                    .bytes = sizeof(m),
                                    .id = id,
                                    .status = status };

    if (c->connection != UP || c->doomed)
        return;
    if (status)
        snprintf(m.reason, sizeof(m.reason), "%s", reason ? reason : "");
    /* It is asked again over the next connection, and answered the same. */
    if (far_local_send(c->fd, &m, NULL, 0))
        doom(c, "the server does not read the answers to its interrupts");
}

const char *far_local_client_reason(const struct far_local_client *c)
{
    return c->reason;
}

int far_local_client_feed(struct far_local_client *c, const char *device,
                          const struct far_input_event *events, unsigned count,
                          struct far_error *error)
{
    struct far_local_feed m = { .type = FAR_LOCAL_FEED };

    if (c->connection == DOWN)
        try_connect(c);
    if (c->connection == DOWN || c->doomed)
        return far_error(error, -ENOTCONN, "%s: %s", device, c->reason);
    snprintf(m.device, sizeof(m.device), "%s", device);
    while (count) {
        unsigned n = count < FAR_LOCAL_FEED_EVENTS_MAX
                         ? count
                         : FAR_LOCAL_FEED_EVENTS_MAX;
        int r;

        m.count = n;
        m.bytes = (uint32_t)(offsetof(struct far_local_feed, events) +
                             n * sizeof(*events));
        memcpy(m.events, events, n * sizeof(*events));
        r = far_local_send(c->fd, &m, NULL, 0);
        if (r)
            return far_error(error, r, "%s: could not be sent: %s", device,
                             strerror(-r));
        events += n;
        count -= n;
    }
    return 0;
}
