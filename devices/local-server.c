/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's half of the local device protocol: see local-server.h. An
 * attachment is the top layer of its chain. Messages and wake-ups go out once,
 * at the end of the turn. As in the client, only rings that had something
 * lately (`hot`) are looked at by the poller; the others are armed.
 */
#include "devices/local-server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS_MAX     16u
#define ATTACHMENTS_MAX 4096u
#define RING_MAX        1024u
#define MESSAGES_A_TURN 64
/* Acks cost the client nothing: it is not asked to wake us for them. After the
 * last interrupt of a burst we look a few times, ever later, then no more: a
 * guest may be paused. */
#define ACK_LOOK_US   20000u
#define ACK_LOOKS_MAX 10u

struct client;

/* What executes below; its payload lies in the arena. */
struct executing {
    uint64_t sequence;
    uint32_t room; /* for the payload of its answer */
    uint16_t opcode, flags;
};

struct attachment {
    struct far_layer layer; /* the top */
    struct far_local_server *server;
    struct client *client;
    struct far_local_who who;
    struct far_local_shm shm;
    struct far_io io; /* to_server */
    bool active, blocked_up, draining, wake_client;
    bool say_prepared, say_activated, say_state;
    uint32_t turn;
    int status; /* of open(): 0 or why not */
    enum far_device_state state;
    bool state_known;
    uint64_t incarnation, sent, acked;
    uint32_t ack_looks;
    uint8_t props[32];
    char reason[232];
    /* ops: those whose answers are not in the ring yet; those below, by slot;
     * answers that found no room in the ring */
    uint32_t executing, answers_used;
    uint32_t slot_bytes, arena_slots;
    uint64_t busy; /* slots, until the answer is in the ring */
    struct executing slots[FAR_OP_SLOTS_MAX];
    uint64_t device_incarnation;
    struct far_op *answers; /* down_entries of them */
    bool has_held;
    struct far_op held;         /* the layer below had no room */
    struct far_sampler sampler; /* of interrupts */
    struct attachment *next, **prev;
    struct attachment *hot_next, **hot_prev;
    struct attachment *flush_next, **flush_prev;
    bool hot, flush;
};

struct client {
    struct far_local_server *server;
    struct far_io io;
    int fd;
    pid_t pid;
    bool greeted, doomed;
    bool guests_wait; /* interrupts for its guests found no room */
    unsigned attachments;
    char reason[160];
    struct client *next;
};

struct far_local_server {
    struct far_loop *loop;
    struct far_log *log;
    struct far_log_bucket bucket;
    struct far_local_server_ops ops;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char platform[FAR_NAME_BYTES];
    struct far_io io;
    int fd;
    unsigned clients_used;
    struct client *clients, *guests; /* who has guests */
    struct attachment *attachments, *hot, *flushes;
    struct far_defer flush, reap, retry;
    struct far_timer ack_timer;
    struct far_poller poller;
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void reap_run(struct far_defer *defer);

/* The client's connection ends at the end of this turn. */
static void __attribute__((format(printf, 2, 3)))
doom(struct client *c, const char *format, ...)
{
    va_list args;

    if (c->doomed)
        return;
    c->doomed = true;
    va_start(args, format);
    vsnprintf(c->reason, sizeof(c->reason), format, args);
    va_end(args);
    far_io_del(&c->io);
    far_defer(c->server->loop, &c->server->reap, reap_run);
}

/* ---- messages and wake-ups ---- */

static int post(struct attachment *a)
{
    uint32_t turn = a->turn - (uint32_t)a->say_prepared -
                    (uint32_t)a->say_activated - (uint32_t)a->say_state;
    int r;

    if (a->say_prepared) {
        struct far_local_prepared m = { .type = FAR_LOCAL_PREPARED,
                                        .bytes = sizeof(m),
                                        .attachment = a->who.attachment,
                                        .status = a->status,
                                        .turn = ++turn,
                                        .incarnation = a->incarnation,
                                        .device_incarnation =
                                            a->device_incarnation };

        memcpy(m.props, a->props, sizeof(m.props));
        if (a->status)
            snprintf(m.reason, sizeof(m.reason), "%s", a->reason);
        r = far_local_send(a->client->fd, &m, NULL, 0);
        if (r)
            return r;
        a->say_prepared = false;
    }
    if (a->say_activated) {
        struct far_local_activated m = { .type = FAR_LOCAL_ACTIVATED,
                                         .bytes = sizeof(m),
                                         .attachment = a->who.attachment,
                                         .turn = ++turn,
                                         .incarnation = a->incarnation };

        r = far_local_send(a->client->fd, &m, NULL, 0);
        if (r)
            return r;
        a->say_activated = false;
    }
    if (a->say_state) {
        struct far_local_state m = { .type = FAR_LOCAL_STATE,
                                     .bytes = sizeof(m),
                                     .attachment = a->who.attachment,
                                     .turn = ++turn,
                                     .state = a->state };

        if (a->state != FAR_DEVICE_READY)
            snprintf(m.reason, sizeof(m.reason), "%s", a->reason);
        r = far_local_send(a->client->fd, &m, NULL, 0);
        if (r)
            return r;
        a->say_state = false;
    }
    return 0;
}

static void hear_acks(struct attachment *a);

static void flush_one(struct attachment *a)
{
    bool wake = a->wake_client;

    a->wake_client = false;
    wake |= far_shring_wake_needed(&a->shm.up);
    wake |= far_shring_room_wake_needed(&a->shm.down);
    if (wake) {
        uint64_t one = 1;
        ssize_t n = write(a->shm.to_client, &one, sizeof(one));

        (void)n; /* EAGAIN: it is awake already */
    }
    if (a->layer.prompt_acks && a->sent > a->acked) {
        /* Out before acked is read: see the client's ack. */
        atomic_store(&a->shm.header->ack_wake_at, a->sent);
        hear_acks(a);
    }
}

static bool owes_message(const struct attachment *a)
{
    return a->say_prepared || a->say_activated || a->say_state;
}

static void flush_unlink(struct attachment *a)
{
    if (!a->flush)
        return;
    a->flush = false;
    *a->flush_prev = a->flush_next;
    if (a->flush_next)
        a->flush_next->flush_prev = a->flush_prev;
}

static void flush_run(struct far_defer *defer)
{
    struct far_local_server *s =
        container(defer, struct far_local_server, flush);

    while (s->flushes) {
        struct attachment *a = s->flushes;
        int r = 0;

        flush_unlink(a);
        if (a->client->doomed)
            continue;
        if (owes_message(a))
            r = post(a);
        if (r == -EAGAIN) { /* client_ready() goes on */
            far_io_set(&a->client->io, EPOLLIN | EPOLLOUT);
        } else if (r) {
            doom(a->client, "has gone (%s)", strerror(-r));
            continue;
        }
        flush_one(a);
    }
}

static void flush_later(struct attachment *a)
{
    struct far_local_server *s = a->server;

    if (!a->flush) {
        a->flush = true;
        a->flush_next = s->flushes;
        a->flush_prev = &s->flushes;
        if (a->flush_next)
            a->flush_next->flush_prev = &a->flush_next;
        s->flushes = a;
    }
    far_defer(s->loop, &s->flush, flush_run);
}

static void mark(struct attachment *a, bool *what)
{
    a->turn++; /* also if two are sent as one */
    *what = true;
    flush_later(a);
}

/* ---- hot rings ---- */

static void make_hot(struct attachment *a)
{
    struct far_local_server *s = a->server;

    if (a->hot)
        return;
    far_shring_disarm(&a->shm.down);
    a->hot = true;
    a->hot_next = s->hot;
    a->hot_prev = &s->hot;
    if (a->hot_next)
        a->hot_next->hot_prev = &a->hot_next;
    s->hot = a;
}

static void make_cold(struct attachment *a)
{
    if (!a->hot)
        return;
    a->hot = false;
    *a->hot_prev = a->hot_next;
    if (a->hot_next)
        a->hot_next->hot_prev = a->hot_prev;
}

/* ---- downwards ---- */

static void hear_acks(struct attachment *a)
{
    uint64_t acked = atomic_load(&a->shm.header->acked);

    /* One above what was sent is nonsense, or of an earlier incarnation. */
    if (acked <= a->acked || acked > a->sent)
        return;
    a->acked = acked;
    a->ack_looks = 0;
    atomic_store_explicit(&a->shm.header->heard, acked, memory_order_relaxed);
    far_layer_ack(a->layer.below, acked);
}

static void ack_timer_fired(struct far_timer *timer)
{
    struct far_local_server *s =
        container(timer, struct far_local_server, ack_timer);
    uint32_t least = ACK_LOOKS_MAX;

    for (struct attachment *a = s->attachments; a; a = a->next) {
        if (a->sent == a->acked || a->ack_looks >= ACK_LOOKS_MAX)
            continue;
        a->ack_looks++;
        hear_acks(a);
        if (a->sent != a->acked && a->ack_looks < least)
            least = a->ack_looks;
    }
    if (least < ACK_LOOKS_MAX)
        far_timer_set(&s->ack_timer,
                      far_loop_now_us(s->loop) + (ACK_LOOK_US << least));
}

/* True if it went into the ring. */
static bool answer_put(struct attachment *a, const struct far_op *op)
{
    int r = far_shring_put(&a->shm.up, op);

    if (r == -EPROTO)
        doom(a->client, "has a ring index out of range");
    if (r == 0) {
        a->executing--;
        a->busy &= ~((uint64_t)1 << op->slot);
    }
    flush_later(a);
    return r == 0;
}

static void answer(struct attachment *a, const struct far_op *op)
{
    const struct executing *e = &a->slots[op->slot];
    struct far_op copy = *op;

    copy.attachment = a->who.attachment;
    copy.flags = e->flags;
    if (!(e->flags & FAR_OP_RECEIVES) || copy.status)
        copy.payload_bytes = 0;
    if (copy.payload_bytes > e->room) {
        copy.payload_bytes = 0;
        copy.status = -EIO; /* the device is broken: it says it wrote there */
    }
    if (a->answers_used || !answer_put(a, &copy)) {
        if (a->answers_used < a->shm.down.entries)
            a->answers[a->answers_used++] = copy;
        else
            doom(a->client, "got more answers than it asked for");
    }
}

/* Does its answer wait for room? */
static bool answered(const struct attachment *a, uint32_t slot)
{
    for (uint32_t i = 0; i < a->answers_used; i++)
        if (a->answers[i].slot == slot)
            return true;
    return false;
}

static void put_answers(struct attachment *a)
{
    uint32_t n = 0;

    while (n < a->answers_used && answer_put(a, &a->answers[n]))
        n++;
    a->answers_used -= n;
    memmove(a->answers, a->answers + n, a->answers_used * sizeof(*a->answers));
}

/* The client copied it out of the guest's hands, and is not trusted. */
static bool can_be(const struct attachment *a, const struct far_op *op)
{
    uint16_t way = op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES);

    return op->attachment == a->who.attachment &&
           FAR_OPCODE_CLASS(op->opcode) == a->who.class &&
           !FAR_OPCODE_IS_INTERRUPT(op->opcode) &&
           op->slot < FAR_OP_SLOTS_MAX &&
           !(a->busy & (uint64_t)1 << op->slot) &&
           way != (FAR_OP_SENDS | FAR_OP_RECEIVES) &&
           op->payload_bytes <=
               (way && op->slot < a->arena_slots ? a->slot_bytes : 0);
}

static void *payload_of(const struct attachment *a, const struct far_op *op)
{
    if (!op->payload_bytes)
        return NULL;
    return a->shm.arena + (size_t)op->slot * a->slot_bytes;
}

static void begin(struct attachment *a, const struct far_op *op)
{
    a->executing++;
    a->busy |= (uint64_t)1 << op->slot;
    a->slots[op->slot] = (struct executing){ .sequence = op->sequence,
                                             .room = op->payload_bytes,
                                             .opcode = op->opcode,
                                             .flags = op->flags };
}

static unsigned drain(struct attachment *a)
{
    unsigned n = 0;

    if (a->draining || a->client->doomed || !a->layer.below || !a->active)
        return 0;
    a->draining = true;
    /* executing counts an op until its answer is in the ring: so answers[]
     * always has a place. */
    while (a->executing < a->shm.down.entries && n < a->shm.down.entries) {
        struct far_op op;

        if (!a->has_held) {
            int r = far_shring_get(&a->shm.down, &a->held);

            if (r == 0)
                break;
            if (r < 0) {
                doom(a->client, "has a ring index out of range");
                break;
            }
            if (!can_be(a, &a->held)) {
                doom(a->client, "sent an op that can't be");
                break;
            }
            a->held.status = 0;
            a->held.flags &=
                FAR_OP_SENDS | FAR_OP_RECEIVES | FAR_OP_REPEAT | FAR_OP_TIMED;
            n++;
        }
        a->has_held = false;
        op = a->held;
        begin(a, &op);
        switch (far_layer_submit(a->layer.below, &op, payload_of(a, &op))) {
        case FAR_FULL:
            a->has_held = true;
            a->executing--;
            a->busy &= ~((uint64_t)1 << op.slot);
            break;
        case FAR_DONE:
            answer(a, &op);
            break;
        case FAR_LATER:
        case FAR_PASS: /* far_layer_submit() never says it */
            break;
        }
        if (a->has_held)
            break;
    }
    a->draining = false;
    if (n)
        flush_later(a);
    return n;
}

/* The client woke us, or its ring is hot: ops, acks, room. */
static unsigned look(struct attachment *a)
{
    unsigned n;
    uint64_t acked = a->acked;

    if (a->client->doomed)
        return 0;
    hear_acks(a);
    n = drain(a) + (a->acked != acked);
    if (a->answers_used)
        put_answers(a);
    if (a->blocked_up && !a->answers_used && far_shring_room(&a->shm.up)) {
        a->blocked_up = false;
        n++;
        if (a->layer.below)
            far_layer_resume(a->layer.below);
    }
    return n;
}

static void ring_ready(struct far_io *io, uint32_t events)
{
    struct attachment *a = container(io, struct attachment, io);

    far_local_woken(&a->shm);
    if (events & EPOLLHUP)
        far_io_del(&a->io); /* nobody can wake us any more: DETACH follows */
    make_hot(a);
    look(a);
}

static bool hot_poll(struct far_poller *poller)
{
    struct far_local_server *s =
        container(poller, struct far_local_server, poller);
    bool any = false;

    for (struct attachment *a = s->hot, *next; a; a = next) {
        next = a->hot_next;
        any |= look(a) > 0;
    }
    return any;
}

static bool hot_peer_elsewhere(struct far_poller *poller)
{
    struct far_local_server *s =
        container(poller, struct far_local_server, poller);

    for (struct attachment *a = s->hot; a; a = a->hot_next)
        if (far_shring_peer_elsewhere(&a->shm.down, true))
            return true;
    return false;
}

static bool hot_arm(struct far_poller *poller)
{
    struct far_local_server *s =
        container(poller, struct far_local_server, poller);
    bool quiet = true;

    for (struct attachment *a = s->hot, *next; a; a = next) {
        next = a->hot_next;
        far_shring_producer_sleeps(&a->shm.up);
        /* what can't be taken now is no reason to stay awake */
        if (far_shring_arm(&a->shm.down) || a->has_held || !a->active ||
            a->client->doomed || a->executing == a->shm.down.entries)
            make_cold(a);
        else
            quiet = false;
    }
    return quiet;
}

/* ---- upwards: what the chain tells its top ---- */

static void att_complete(struct far_layer *layer, const struct far_op *op)
{
    struct attachment *a = (struct attachment *)layer;

    const struct executing *e = &a->slots[op->slot % FAR_OP_SLOTS_MAX];

    /* A device that answers what it was not asked, or twice, is not heard. */
    if (a->client->doomed || op->slot >= FAR_OP_SLOTS_MAX ||
        !(a->busy & (uint64_t)1 << op->slot) || e->sequence != op->sequence ||
        e->opcode != op->opcode || answered(a, op->slot))
        return;
    answer(a, op);
    if (a->executing + 1 == a->shm.down.entries)
        make_hot(a); /* it may be cold with ops that found no place */
}

static bool att_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct attachment *a = (struct attachment *)layer;
    struct far_local_server *s = a->server;
    struct far_op copy = *op;
    int r;

    if (!a->active || a->client->doomed) {
        layer->counters.dropped++;
        return true;
    }
    if (a->answers_used) {
        a->blocked_up = true;
        return false;
    }
    copy.attachment = a->who.attachment;
    copy.slot = a->turn;
    copy.flags = far_sample(&a->sampler) ? FAR_OP_TIMED : 0;
    r = far_shring_put(&a->shm.up, &copy);
    if (r == -ENOSPC) {
        /* put() has asked to be woken; what is in the ring already must be
         * known to the client, or it never makes room */
        a->blocked_up = true;
        flush_later(a);
        return false;
    }
    if (r) {
        doom(a->client, "has a ring index out of range");
        return true;
    }
    a->sent = op->sequence;
    hear_acks(a);
    a->ack_looks = 0;
    if (!far_timer_armed(&s->ack_timer))
        far_timer_set(&s->ack_timer, far_loop_now_us(s->loop) + ACK_LOOK_US);
    flush_later(a);
    return true;
}

static void new_incarnation(struct attachment *a, uint64_t incarnation)
{
    a->incarnation = incarnation;
    a->sent = a->acked = 0;
    /* the client does the same when it reads of it */
    atomic_store(&a->shm.header->acked, 0);
}

static void att_state(struct far_layer *layer, enum far_device_state state,
                      const struct far_layer_news *news)
{
    struct attachment *a = (struct attachment *)layer;

    if (news && state == FAR_DEVICE_READY) {
        bool other = news->incarnation && news->incarnation != a->incarnation;
        uint64_t device = far_news_device(news);

        if (other)
            new_incarnation(a, news->incarnation);
        other |= device != a->device_incarnation;
        a->device_incarnation = device;
        if (other || memcmp(a->props, news->props, sizeof(a->props))) {
            memcpy(a->props, news->props, sizeof(a->props));
            mark(a, &a->say_prepared);
        }
    }
    if (news && news->ops_lost && a->executing) {
        /* It comes back, and gives them again. */
        doom(a->client, "loses its connection: %s is another device now",
             a->who.device);
        return;
    }
    a->state = state;
    a->state_known = true;
    snprintf(a->reason, sizeof(a->reason), "%s",
             state != FAR_DEVICE_READY && news && news->reason ? news->reason
                                                               : "");
    mark(a, &a->say_state);
}

static void att_room(struct far_layer *layer)
{
    struct attachment *a = (struct attachment *)layer;

    make_hot(a); /* a ringful is taken now, the rest next turn */
    drain(a);
}

static const struct far_layer_ops att_ops = {
    .name = "local-server",
    .complete = att_complete,
    .interrupt = att_interrupt,
    .state = att_state,
    .room = att_room,
};

/* ---- attachments ---- */

static void att_end(struct attachment *a, bool detached)
{
    struct far_local_server *s = a->server;

    if (a->layer.below) {
        if (s->ops.leaving)
            s->ops.leaving(s->ops.arg, &a->who, detached);
        a->layer.below->above = NULL;
        far_layer_close(a->layer.below);
    }
    make_cold(a);
    flush_unlink(a);
    far_io_del(&a->io);
    far_local_shm_close(&a->shm);
    *a->prev = a->next;
    if (a->next)
        a->next->prev = a->prev;
    a->client->attachments--;
    free(a->answers);
    free(a);
}

static struct attachment *att_find(struct far_local_server *s,
                                   const struct client *c, uint64_t id)
{
    for (struct attachment *a = s->attachments; a; a = a->next)
        if (a->who.attachment == id && (!c || a->client == c))
            return a;
    return NULL;
}

/* Asks the owner of devices; a change of the answer is told to the client. */
static void att_open(struct attachment *a, bool first)
{
    struct far_local_server *s = a->server;
    struct far_error error = { 0 };
    struct far_layer *below = NULL;
    int r = s->ops.open(s->ops.arg, &a->who, &below, &error);

    if (r == 0 && !below)
        r = far_error(&error, -ENODEV, "%s: no device was opened",
                      a->who.device);
    if (r == 0) {
        a->status = 0;
        a->reason[0] = '\0';
        mark(a, &a->say_prepared);
        far_layer_stack(&a->layer, below);
        return;
    }
    if (!first && r == a->status && !strcmp(error.text, a->reason))
        return;
    a->status = r;
    snprintf(a->reason, sizeof(a->reason), "%s",
             error.text[0] ? error.text : strerror(-r));
    mark(a, &a->say_prepared);
}

static int att_new(struct client *c, const struct far_local_prepare *m,
                   const int fds[3])
{
    struct far_local_server *s = c->server;
    struct attachment *a, *old;
    int r;

    a = calloc(1, sizeof(*a));
    if (a)
        a->answers = calloc(m->down_entries, sizeof(*a->answers));
    if (!a || !a->answers) {
        free(a);
        for (int i = 0; i < 3; i++)
            close(fds[i]);
        return -ENOMEM;
    }
    r = far_local_shm_open(&a->shm, fds[0], fds[1], fds[2], m->down_entries,
                           m->up_entries, m->arena_bytes);
    if (r == 0)
        r = far_io_add(s->loop, &a->io, a->shm.to_server, EPOLLIN, ring_ready);
    if (r) {
        far_local_shm_close(&a->shm);
        free(a->answers);
        free(a);
        return r;
    }
    close(a->shm.memfd); /* it stays mapped */
    a->shm.memfd = -1;
    /* A successor whose predecessor we have not seen die yet. */
    old = att_find(s, NULL, m->who.attachment);
    if (old)
        att_end(old, false);
    a->layer.ops = &att_ops;
    a->server = s;
    a->client = c;
    a->sampler.every = FAR_TIMES_EVERY;
    a->who = m->who;
    a->slot_bytes = m->slot_bytes;
    a->arena_slots = (uint32_t)far_local_slots(m->arena_bytes, m->slot_bytes);
    a->next = s->attachments;
    a->prev = &s->attachments;
    if (a->next)
        a->next->prev = &a->next;
    s->attachments = a;
    c->attachments++;
    att_open(a, true);
    return 0;
}

/* ---- clients ---- */

union message {
    struct {
        uint32_t type, bytes;
    } head;
    struct far_local_hello hello;
    struct far_local_prepare prepare;
    struct far_local_activate activate;
    struct far_local_detach detach;
    struct far_local_feed feed;
    struct far_local_notified notified;
    struct far_local_alive alive;
    char raw[FAR_LOCAL_BYTES_MAX];
};

static void take_prepare(struct client *c, const union message *m,
                         const int *fds, unsigned nfds)
{
    struct far_local_layout layout;
    int r;

    if (nfds != 3 || c->attachments >= ATTACHMENTS_MAX ||
        m->prepare.down_entries > RING_MAX ||
        m->prepare.up_entries > RING_MAX ||
        far_local_layout(&layout, m->prepare.down_entries,
                         m->prepare.up_entries, m->prepare.arena_bytes) ||
        far_local_slots(m->prepare.arena_bytes, m->prepare.slot_bytes) < 0) {
        for (unsigned i = 0; i < nfds; i++)
            close(fds[i]);
        doom(c, "sent a prepare that can't be");
        return;
    }
    r = att_new(c, &m->prepare, fds);
    if (r)
        doom(c, "sent shared memory that can't be used: %s", strerror(-r));
}

static void take_activate(struct client *c, const struct far_local_activate *m)
{
    struct attachment *a = att_find(c->server, c, m->attachment);

    if (!a || !a->layer.below)
        return; /* it crossed a refusal */
    a->active = true;
    a->blocked_up = false;
    if (m->incarnation && m->incarnation == a->incarnation &&
        m->received > a->sent)
        a->sent = a->acked = m->received;
    else if (m->incarnation && !a->incarnation) {
        a->incarnation = m->incarnation;
        a->sent = a->acked = m->received;
    }
    mark(a, &a->say_activated);
    far_layer_activate(a->layer.below, m->incarnation, m->received);
    make_hot(a);
    look(a);
}

static void take(struct client *c, const union message *m, const int *fds,
                 unsigned nfds)
{
    struct far_local_server *s = c->server;
    struct attachment *a;
    struct far_error error = { 0 };
    char name[FAR_NAME_BYTES];

    if (m->head.type != FAR_LOCAL_PREPARE)
        for (unsigned i = 0; i < nfds; i++)
            close(fds[i]);
    if (!c->greeted) {
        if (m->head.type == FAR_LOCAL_PREPARE)
            for (unsigned i = 0; i < nfds; i++)
                close(fds[i]);
        if (m->head.type != FAR_LOCAL_HELLO)
            doom(c, "did not say hello");
        else if (m->hello.version != FAR_LOCAL_VERSION)
            doom(c, "speaks version %u of the local protocol, not %d",
                 m->hello.version, FAR_LOCAL_VERSION);
        else
            c->greeted = true;
        return;
    }
    switch (m->head.type) {
    case FAR_LOCAL_PREPARE:
        take_prepare(c, m, fds, nfds);
        break;
    case FAR_LOCAL_ACTIVATE:
        take_activate(c, &m->activate);
        break;
    case FAR_LOCAL_ACK:
        a = att_find(s, c, m->detach.attachment);
        if (a && m->detach.sequence > a->acked &&
            m->detach.sequence <= a->sent) {
            a->acked = m->detach.sequence;
            far_layer_ack(a->layer.below, a->acked);
        }
        break;
    case FAR_LOCAL_DETACH:
        a = att_find(s, c, m->detach.attachment);
        if (a)
            att_end(a, true);
        break;
    case FAR_LOCAL_FEED:
        memcpy(name, m->feed.device, sizeof(name));
        for (uint32_t i = 0; i < m->feed.count; i++)
            if (!far_input_event_valid(&m->feed.events[i])) {
                doom(c, "fed an event that can't be");
                return;
            }
        if (!s->ops.feed)
            far_error(&error, -EOPNOTSUPP, "%s: nothing here can be fed", name);
        else
            s->ops.feed(s->ops.arg, name, m->feed.events, m->feed.count,
                        &error);
        if (error.code)
            far_log_limited(s->log, &s->bucket, FAR_LOG_WARNING, "%s",
                            error.text);
        break;
    case FAR_LOCAL_GUESTS:
        s->guests = c;
        if (s->ops.guests)
            s->ops.guests(s->ops.arg, true);
        break;
    case FAR_LOCAL_NOTIFIED:
        if (s->guests == c && s->ops.notified)
            s->ops.notified(s->ops.arg, &m->notified);
        break;
    case FAR_LOCAL_ALIVE:
        /* One that asks and does not read is told nothing: it asks again. */
        (void)far_local_send(c->fd, &m->alive, NULL, 0);
        break;
    default: /* unknown: skipped */
        break;
    }
}

int far_local_server_notify(struct far_local_server *s,
                            const struct far_local_notify *message)
{
    struct client *c = s->guests;
    int r;

    if (!c || c->doomed)
        return -ENOTCONN;
    if (c->guests_wait)
        return -EAGAIN; /* one at a time: they keep their order */
    r = far_local_send(c->fd, message, NULL, 0);
    if (r == -EAGAIN) {
        c->guests_wait = true;
        far_io_set(&c->io, EPOLLIN | EPOLLOUT);
    } else if (r) {
        doom(c, "takes no interrupts (%s)", strerror(-r));
        r = -ENOTCONN;
    }
    return r;
}

static void client_ready(struct far_io *io, uint32_t events)
{
    struct client *c = container(io, struct client, io);
    union message m;

    if (events & EPOLLOUT) {
        far_io_set(&c->io, EPOLLIN);
        for (struct attachment *a = c->server->attachments; a; a = a->next)
            if (a->client == c && owes_message(a))
                flush_later(a);
        if (c->guests_wait) {
            c->guests_wait = false;
            if (c->server->ops.guests)
                c->server->ops.guests(c->server->ops.arg, false);
        }
    }
    for (int i = 0; i < MESSAGES_A_TURN && !c->doomed; i++) {
        int fds[3];
        unsigned nfds = 3;
        int r = far_local_receive(c->fd, &m, sizeof(m), fds, &nfds);

        if (r == -EAGAIN)
            return;
        if (r == 0 || r == -ECONNRESET)
            doom(c, "has gone");
        else if (r < 0)
            doom(c, "sent nonsense (%s)", strerror(-r));
        else
            take(c, &m, fds, nfds);
    }
}

static void client_end(struct client *c)
{
    struct far_local_server *s = c->server;
    struct client **at = &s->clients;

    for (struct attachment *a = s->attachments, *next; a; a = next) {
        next = a->next;
        if (a->client == c)
            att_end(a, false);
    }
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (s->guests == c)
        s->guests = NULL;
    s->clients_used--;
    far_io_del(&c->io);
    close(c->fd);
    free(c);
}

static void reap_run(struct far_defer *defer)
{
    struct far_local_server *s =
        container(defer, struct far_local_server, reap);

again:
    for (struct client *c = s->clients; c; c = c->next)
        if (c->doomed) {
            far_log_limited(s->log, &s->bucket, FAR_LOG_INFO,
                            "local client (pid %d): %s", (int)c->pid,
                            c->reason);
            client_end(c);
            goto again;
        }
}

static void accept_ready(struct far_io *io, uint32_t events)
{
    struct far_local_server *s = container(io, struct far_local_server, io);
    struct far_local_hello hello = { .type = FAR_LOCAL_HELLO,
                                     .bytes = sizeof(hello),
                                     .magic = FAR_LOCAL_MAGIC,
                                     .version = FAR_LOCAL_VERSION,
                                     .pid = (uint32_t)getpid(),
                                     .flags = FAR_LOCAL_ANSWERS_ALIVE };
    struct ucred peer;
    socklen_t bytes = sizeof(peer);
    struct client *c;
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0 ||
        (!s->ops.group_peers && peer.uid != 0 && peer.uid != geteuid())) {
        far_log_limited(s->log, &s->bucket, FAR_LOG_WARNING,
                        "%s: a process of user %u was refused: only root and "
                        "this program's own user may attach devices",
                        s->path, (unsigned)peer.uid);
        close(fd);
        return;
    }
    c = s->clients_used < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (!c || far_io_add(s->loop, &c->io, fd, EPOLLIN, client_ready)) {
        free(c);
        close(fd);
        return;
    }
    c->server = s;
    c->fd = fd;
    c->pid = peer.pid;
    c->next = s->clients;
    s->clients = c;
    s->clients_used++;
    snprintf(hello.platform, sizeof(hello.platform), "%s", s->platform);
    if (far_local_send(fd, &hello, NULL, 0))
        doom(c, "did not take our hello");
}

/* ---- the server ---- */

/* Who may connect to the socket, from before it listens. A program's own group
 * may be many others' (`nogroup`): what counts is its folder's. */
static int restrict_to(const struct far_local_server *s)
{
    char folder[sizeof(s->path)];
    char *slash;
    struct stat st;
    mode_t mode = 0660;

    if (s->ops.group_peers) {
        snprintf(folder, sizeof(folder), "%s", s->path);
        slash = strrchr(folder, '/');
        if (!slash)
            snprintf(folder, sizeof(folder), ".");
        else
            slash[slash == folder] = '\0';
        if (stat(folder, &st) < 0 || chown(s->path, (uid_t)-1, st.st_gid) < 0)
            mode = 0600;
    }
    return chmod(s->path, mode);
}

static int listen_on(struct far_local_server *s)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    int r;

    if (lstat(s->path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(s->path);
    s->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return -errno;
    memcpy(address.sun_path, s->path, sizeof(s->path));
    if (bind(s->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        restrict_to(s) < 0 || listen(s->fd, 16) < 0) {
        r = -errno;
        close(s->fd);
        s->fd = -1;
        return r;
    }
    r = far_io_add(s->loop, &s->io, s->fd, EPOLLIN, accept_ready);
    if (r) {
        close(s->fd);
        s->fd = -1;
    }
    return r;
}

struct far_local_server *
far_local_server_new(struct far_loop *loop, struct far_log *log,
                     const char *path, const char *platform,
                     const struct far_local_server_ops *ops,
                     struct far_error *error)
{
    struct far_local_server *s;
    int r;

    if (strlen(path) >= sizeof(s->path)) {
        far_error(error, -ENAMETOOLONG,
                  "%s: too long a path for a socket; choose another run "
                  "directory",
                  path);
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (!s) {
        far_error(error, -ENOMEM, "%s: out of memory", path);
        return NULL;
    }
    s->loop = loop;
    s->log = log;
    s->ops = *ops;
    s->io.fd = -1;
    snprintf(s->path, sizeof(s->path), "%s", path);
    snprintf(s->platform, sizeof(s->platform), "%s", platform);
    r = listen_on(s);
    if (r) {
        far_error(error, r, "%s: can't listen there: %s", path, strerror(-r));
        free(s);
        return NULL;
    }
    far_timer_init(&s->ack_timer, loop, ack_timer_fired);
    s->poller.poll = hot_poll;
    s->poller.peer_elsewhere = hot_peer_elsewhere;
    s->poller.arm = hot_arm;
    far_poller_add(loop, &s->poller);
    return s;
}

void far_local_server_free(struct far_local_server *s)
{
    if (!s)
        return;
    while (s->clients)
        client_end(s->clients);
    far_timer_cancel(&s->ack_timer);
    far_poller_del(&s->poller);
    far_defer_cancel(s->loop, &s->flush);
    far_defer_cancel(s->loop, &s->reap);
    far_defer_cancel(s->loop, &s->retry);
    far_io_del(&s->io);
    close(s->fd);
    unlink(s->path);
    free(s);
}

static void retry_run(struct far_defer *defer)
{
    struct far_local_server *s =
        container(defer, struct far_local_server, retry);

    for (struct attachment *a = s->attachments; a; a = a->next)
        if (!a->layer.below && !a->client->doomed)
            att_open(a, false);
}

void far_local_server_retry(struct far_local_server *s)
{
    far_defer(s->loop, &s->retry, retry_run);
}

void far_local_server_each(struct far_local_server *s,
                           void (*each)(void *arg,
                                        const struct far_local_server_use *use),
                           void *arg)
{
    for (struct attachment *a = s->attachments; a; a = a->next) {
        struct far_local_server_use use = { .who = &a->who,
                                            .pid = a->client->pid,
                                            .open = a->layer.below != NULL,
                                            .active = a->active,
                                            .state = a->state,
                                            .reason = a->reason,
                                            .sent = a->sent,
                                            .acked = a->acked };

        each(arg, &use);
    }
}

unsigned far_local_server_clients(const struct far_local_server *s)
{
    return s->clients_used;
}
