/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The stream: a device with two ends, which hands what is written at one to
 * who reads at the other (core/stream.h). It keeps no bytes and remembers
 * nothing that the ends do not know as well: after it has begun anew, what they
 * say next is enough to go on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/stream.h"
#include "devices/types.h"

#define ENDS            2u
#define PEER_TIMEOUT_US 120000000u

/* An op that is not answered yet; its payload is its submitter's memory. */
struct waiting {
    struct far_op op;
    struct far_stream_args args;
    void *payload;
    bool used;
};

struct end {
    struct far_layer layer;
    struct stream *stream;
    uint64_t self, peer; /* 0: nobody, or not known */
    bool server;         /* as CONNECT said */
    bool connected;      /* its CONNECT was answered, or it knew its peer */
    bool closed;         /* by itself; it has written all below final */
    bool over;           /* its peer is another one now, or gone */
    uint32_t final;
    struct waiting connect, read, close, writes[FAR_STREAM_WRITES];
};

struct stream {
    struct far_device device;
    struct end *ends[ENDS];
    struct far_timer missing; /* one end waits for the other to come back */
    uint64_t peer_timeout_us;
    struct waiting *given; /* by the submit() that runs */
    struct far_op *given_op;
    bool matching, again;
};

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static struct end *other_of(const struct end *end)
{
    return end->stream->ends[end->stream->ends[0] == end];
}

/* --- answering -------------------------------------------------------------
 */

static void answer(struct end *end, struct waiting *w, int32_t status,
                   uint32_t payload_bytes)
{
    struct stream *stream = end->stream;
    struct far_op op = w->op;

    if (!w->used)
        return;
    w->used = false;
    op.status = status;
    op.payload_bytes = payload_bytes;
    memcpy(op.args, &w->args, sizeof(op.args));
    if (w == stream->given) {
        *stream->given_op = op;
        stream->given = NULL;
    } else if (end->layer.above) {
        far_layer_complete(end->layer.above, &op);
    }
}

static void answer_all(struct end *end, int32_t status)
{
    answer(end, &end->connect, status, 0);
    answer(end, &end->read, status, 0);
    for (unsigned i = 0; i < FAR_STREAM_WRITES; i++)
        answer(end, &end->writes[i], status, 0);
    answer(end, &end->close, status == -EPIPE ? 0 : status, 0);
}

/* --- the two ends ----------------------------------------------------------
 */

static bool pair(const struct end *a, const struct end *b)
{
    return a && b && a->self && b->self && !a->over && !b->over &&
           (!a->peer || a->peer == b->self) && (!b->peer || b->peer == a->self);
}

static void introduce(struct end *a, struct end *b)
{
    if ((!a->connected && !a->connect.used) ||
        (!b->connected && !b->connect.used))
        return;
    if (!a->connected && !b->connected && a->server == b->server)
        return; /* each waits for one that is what it is not */
    a->peer = b->self;
    b->peer = a->self;
    a->connected = b->connected = true;
    a->connect.args.peer = b->self;
    b->connect.args.peer = a->self;
    answer(a, &a->connect, 0, 0);
    answer(b, &b->connect, 0, 0);
}

/* Of what waits at `from`, all that follows on offset: copied to `to`. */
static uint32_t gather(struct end *from, uint32_t offset, uint8_t *to,
                       uint32_t room)
{
    uint32_t got = 0, before;

    do {
        before = got;
        for (unsigned i = 0; i < FAR_STREAM_WRITES && got < room; i++) {
            const struct waiting *w = &from->writes[i];
            uint32_t skip = offset + got - w->args.offset, bytes;

            if (!w->used || skip >= w->op.payload_bytes)
                continue;
            bytes = w->op.payload_bytes - skip;
            if (bytes > room - got)
                bytes = room - got;
            memcpy(to + got, (const uint8_t *)w->payload + skip, bytes);
            got += bytes;
        }
    } while (got != before && got < room);
    return got;
}

static void move_bytes(struct end *from, struct end *to)
{
    uint32_t bytes;

    if (!to->read.used)
        return;
    /* What it has can be forgotten by who wrote it. */
    for (unsigned i = 0; i < FAR_STREAM_WRITES; i++) {
        struct waiting *w = &from->writes[i];
        uint32_t end = w->args.offset + w->op.payload_bytes;

        if (w->used && (int32_t)(to->read.args.offset - end) >= 0)
            answer(from, w, 0, 0);
    }
    bytes = gather(from, to->read.args.offset, to->read.payload,
                   to->read.op.payload_bytes);
    if (bytes)
        answer(to, &to->read, 0, bytes);
    else if (from->closed && (int32_t)(to->read.args.offset - from->final) >= 0)
        answer(to, &to->read, -EPIPE, 0);
}

static void refuse_writes(struct end *end)
{
    for (unsigned i = 0; i < FAR_STREAM_WRITES; i++)
        answer(end, &end->writes[i], -EPIPE, 0);
}

static bool misses_peer(const struct end *end, const struct end *other)
{
    return end && end->self && end->peer && !end->over &&
           (!other || !other->self);
}

static void match_once(struct stream *stream)
{
    struct end *a = stream->ends[0], *b = stream->ends[1];

    for (unsigned i = 0; i < ENDS; i++) {
        struct end *end = stream->ends[i], *other = stream->ends[1 - i];

        if (end && end->peer && other && other->self && !pair(end, other))
            end->over = true;
    }
    if (pair(a, b))
        introduce(a, b);
    for (unsigned i = 0; i < ENDS; i++) {
        struct end *end = stream->ends[i], *other = stream->ends[1 - i];

        if (!end)
            continue;
        if (end->over) {
            answer_all(end, -EPIPE);
        } else if (pair(end, other) && end->peer) {
            move_bytes(end, other);
            if (other->closed)
                refuse_writes(end);
            if (other->closed)
                answer(end, &end->close, 0, 0);
        } else if (!end->peer) { /* nobody was there */
            answer(end, &end->close, 0, 0);
        }
    }
}

/* Answers what can be answered by now, also what comes meanwhile. */
static void match(struct stream *stream)
{
    bool missing;

    stream->again = true;
    if (stream->matching)
        return;
    stream->matching = true;
    while (stream->again) {
        stream->again = false;
        match_once(stream);
    }
    stream->matching = false;
    missing = misses_peer(stream->ends[0], stream->ends[1]) ||
              misses_peer(stream->ends[1], stream->ends[0]);
    if (!missing)
        far_timer_cancel(&stream->missing);
    else if (!far_timer_armed(&stream->missing) &&
             stream->peer_timeout_us != UINT64_MAX)
        far_timer_set(&stream->missing, far_now_us() + stream->peer_timeout_us);
}

static void peer_is_lost(struct far_timer *timer)
{
    struct stream *stream = CONTAINER(struct stream, missing, timer);

    for (unsigned i = 0; i < ENDS; i++)
        if (misses_peer(stream->ends[i], stream->ends[1 - i]))
            stream->ends[i]->over = true;
    match(stream);
}

/* --- the layer -------------------------------------------------------------
 */

/* Another connection of this end: the one before is over. */
static void begin(struct end *end, uint64_t self)
{
    answer_all(end, -EPIPE);
    end->self = self;
    end->peer = 0;
    end->server = end->connected = end->closed = end->over = false;
}

/* If there is none the oldest is of a process that died: of those that live
 * none has so many. */
static struct waiting *place_to_write(struct end *end)
{
    struct waiting *oldest = &end->writes[0];

    for (unsigned i = 0; i < FAR_STREAM_WRITES; i++) {
        if (!end->writes[i].used)
            return &end->writes[i];
        if (end->writes[i].op.sequence < oldest->op.sequence)
            oldest = &end->writes[i];
    }
    return oldest;
}

static struct waiting *place_of(struct end *end, uint16_t opcode)
{
    switch (opcode) {
    case FAR_STREAM_CONNECT:
        return &end->connect;
    case FAR_STREAM_READ:
        return &end->read;
    case FAR_STREAM_CLOSE:
        return &end->close;
    default:
        return place_to_write(end);
    }
}

static void learn(struct end *end, const struct far_op *op,
                  const struct far_stream_args *args)
{
    if (args->self != end->self)
        begin(end, args->self);
    if (args->peer) {
        if (end->peer && end->peer != args->peer)
            end->over = true;
        end->peer = args->peer;
        end->connected = true;
    }
    if (op->opcode == FAR_STREAM_CONNECT)
        end->server = args->flags & FAR_STREAM_SERVER;
    if (op->opcode == FAR_STREAM_CLOSE) {
        end->closed = true;
        end->final = args->offset;
        answer(end, &end->connect, -EPIPE, 0);
    }
}

static enum far_verdict end_submit(struct far_layer *layer, struct far_op *op,
                                   void *payload)
{
    struct end *end = (struct end *)layer;
    struct stream *stream = end->stream;
    struct far_stream_args args;
    struct waiting *w;

    op->status = far_stream_check(op);
    if (!op->status && op->payload_bytes && !payload)
        op->status = -EINVAL;
    if (op->status || op->opcode == FAR_OP_NOP(FAR_CLASS_STREAM))
        return FAR_DONE;
    memcpy(&args, op->args, sizeof(args));
    learn(end, op, &args);
    w = place_of(end, op->opcode);
    answer(end, w, -EAGAIN, 0); /* the newer one counts */
    *w = (struct waiting){
        .op = *op, .args = args, .payload = payload, .used = true
    };
    if (stream->matching) { /* from within an answer: there, later */
        stream->again = true;
        return FAR_LATER;
    }
    stream->given = w;
    stream->given_op = op;
    match(stream);
    if (stream->given == w && (op->flags & FAR_OP_REPEAT))
        answer(end, w, -EAGAIN, 0);
    if (stream->given != w)
        return FAR_DONE;
    stream->given = NULL;
    return FAR_LATER;
}

/* What waits is asked again, as repeats, before anything new. */
static void end_activate(struct far_layer *layer, uint64_t incarnation,
                         uint64_t received)
{
    struct end *end = (struct end *)layer;
    struct far_layer_news news = { .incarnation =
                                       end->stream->device.incarnation };

    (void)incarnation;
    (void)received;
    answer_all(end, -EAGAIN);
    far_layer_state(layer->above, FAR_DEVICE_READY, &news);
}

static void end_ack(struct far_layer *layer, uint64_t sequence)
{
    (void)layer;
    (void)sequence;
}

static void end_resume(struct far_layer *layer)
{
    (void)layer;
}

static void end_close(struct far_layer *layer)
{
    struct end *end = (struct end *)layer, *other = other_of(end);
    struct stream *stream = end->stream;

    for (unsigned i = 0; i < ENDS; i++)
        if (stream->ends[i] == end)
            stream->ends[i] = NULL;
    if (other && other->peer && other->peer == end->self)
        other->over = true;
    free(end);
    match(stream);
}

static const struct far_layer_ops end_ops = {
    .name = "stream",
    .submit = end_submit,
    .activate = end_activate,
    .ack = end_ack,
    .resume = end_resume,
    .close = end_close,
};

/* --- the device ------------------------------------------------------------
 */

static int stream_create(struct far_device *device, struct far_error *error)
{
    struct stream *stream = (struct stream *)device;

    (void)error;
    stream->peer_timeout_us =
        far_conf_time_us(device->section, "peer-timeout", PEER_TIMEOUT_US);
    far_timer_init(&stream->missing, device->devices->loop, peer_is_lost);
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void stream_destroy(struct far_device *device)
{
    far_timer_cancel(&((struct stream *)device)->missing);
}

static int stream_open(struct far_device *device,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct stream *stream = (struct stream *)device;
    unsigned at = stream->ends[0] ? 1 : 0;
    struct end *end;

    (void)who;
    if (stream->ends[at])
        return far_error(error, -EBUSY,
                         "%s: a stream has two ends, and both are taken",
                         device->name);
    end = calloc(1, sizeof(*end));
    if (!end)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    end->layer.ops = &end_ops;
    end->stream = stream;
    stream->ends[at] = end;
    *layer = &end->layer;
    return 0;
}

const struct far_device_type far_type_stream = {
    .name = "stream",
    .class = FAR_CLASS_STREAM,
    .device_bytes = sizeof(struct stream),
    .create = stream_create,
    .destroy = stream_destroy,
    .open = stream_open,
};
