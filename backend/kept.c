/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See kept.h.
 *
 * Why kill -9 at any instant is safe (stores stay, in program order): a copy is
 * written, then `used` of its half moves on, then the answer goes up. Killed
 * before: the port's journal still has the request, and it is done again. Which
 * copy is under way in which slot, under which sequence, is noted before it is
 * given: the successor gives the same again, and goes on when all are answered.
 * `incarnation` changes when the last copy is answered: killed before, all are
 * written once more.
 */
#include "backend/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/block.h"
#include "core/clock.h"

#define MADE         0x315445504b524146u /* "FARKPET1", written last */
#define HEADER_BYTES 4096u
#define HALF_BYTES   ((uint64_t)32 << 20)
#define STEP_BYTES   ((uint64_t)256 << 10) /* memory is taken by so much */
#define WHOLE_BYTES  (HEADER_BYTES + 2 * HALF_BYTES)
#define SPARE_BYTES  ((size_t)FAR_KEPT_FIRST_SLOT * FAR_BLOCK_PAYLOAD_MAX)
#define RETRY_US     1000000u

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* A copy: this, then its payload, then padding to 64 bytes. */
struct record {
    uint32_t bytes; /* with payload and padding */
    uint16_t opcode, flags;
    uint32_t payload_bytes, reserved[5];
    struct far_block_args args;
};
static_assert(sizeof(struct record) == 64, "");

/* What is under way in one of our slots. */
struct noted {
    _Atomic uint64_t busy;
    uint64_t sequence;
    uint64_t at; /* of a copy, in the file; 0: a flush */
};

struct header {
    _Atomic uint64_t made;
    uint64_t incarnation; /* the device has all copies under this one */
    uint64_t sequence;    /* of our own ops */
    _Atomic uint64_t active;
    _Atomic uint64_t used[2];
    struct noted own[FAR_KEPT_SLOTS];
};
static_assert(sizeof(struct header) <= HEADER_BYTES, "");

/* An op of the layer above. */
struct given {
    struct far_op op;
    void *payload;
    uint64_t order;
    uint64_t epoch;    /* of a flush: which halves it covers */
    uint64_t reserved; /* bytes for its copy */
    uint32_t tag;      /* incarnation it was given to */
    bool below, waits;
};

struct kept {
    struct far_layer layer;
    struct far_loop *loop;
    struct far_log *log;
    char name[FAR_NAME_BYTES];
    bool keeps;
    bool ready; /* the device */
    bool open;  /* ops may pass */
    bool replaying, settling, stalled, room_wanted, told, draining;
    char failed[160];
    uint64_t device; /* its incarnation */
    struct far_layer_news news;
    struct far_block_props props;

    int fd;
    uint8_t *memory; /* NULL: not begun */
    struct header *header;
    uint64_t allocated[2];
    uint64_t reserved;
    uint64_t epoch; /* counts closed halves */
    uint64_t order;
    struct given slots[FAR_KEPT_FIRST_SLOT];
    uint8_t *spare; /* for payloads of what waits here: to the layers below it
                       is done, and the memory that they gave for it free */
    struct {
        uint64_t epoch;
        uint32_t tag;
        bool below; /* else, if it is busy, a predecessor's */
    } own[FAR_KEPT_SLOTS];
    unsigned half; /* of the next copy to be written again: 0, 1; 2: none */
    uint64_t at;   /* in that half */
    uint64_t replay_began_us, replayed;
    struct far_timer retry;
    struct far_defer again;
    struct far_kept_counters counters;
};

static struct kept *of_layer(struct far_layer *layer)
{
    return (struct kept *)(void *)layer;
}

static uint32_t tag_now(const struct kept *k)
{
    return far_block_incarnation(k->device);
}

/* ---- the copies ---- */

static uint64_t copy_bytes(uint32_t payload_bytes)
{
    return (sizeof(struct record) + payload_bytes + 63) & ~(uint64_t)63;
}

static unsigned active(const struct kept *k)
{
    return (unsigned)atomic_load_explicit(&k->header->active,
                                          memory_order_relaxed);
}

static uint64_t used(const struct kept *k, unsigned half)
{
    return atomic_load_explicit(&k->header->used[half], memory_order_relaxed);
}

static uint64_t place_of(unsigned half, uint64_t at)
{
    return HEADER_BYTES + half * HALF_BYTES + at;
}

static struct record *record_at(const struct kept *k, uint64_t place)
{
    return (struct record *)(void *)(k->memory + place);
}

/* Memory that is not there would be a SIGBUS when it is written. */
static bool grow(struct kept *k, unsigned half, uint64_t bytes)
{
    while (k->allocated[half] < bytes) {
        if (bytes > HALF_BYTES ||
            fallocate(k->fd, 0, (off_t)place_of(half, k->allocated[half]),
                      (off_t)STEP_BYTES))
            return false;
        k->allocated[half] += STEP_BYTES;
    }
    return true;
}

static bool has_room(struct kept *k, uint64_t bytes)
{
    unsigned half = active(k);

    return grow(k, half, used(k, half) + k->reserved + bytes);
}

/* A flush goes out: what was answered before it is what it covers. */
static uint64_t close_half(struct kept *k)
{
    unsigned half = active(k);

    if (!used(k, half) || used(k, !half) || !grow(k, !half, k->reserved))
        return k->epoch;
    atomic_store_explicit(&k->header->active, !half, memory_order_release);
    return ++k->epoch;
}

static void flushed(struct kept *k, uint64_t epoch)
{
    if (epoch == k->epoch)
        atomic_store_explicit(&k->header->used[!active(k)], 0,
                              memory_order_release);
}

static void keep(struct kept *k, const struct given *g)
{
    unsigned half = active(k);
    uint64_t at = used(k, half);
    struct record *r = record_at(k, place_of(half, at));

    *r = (struct record){ .bytes = (uint32_t)g->reserved,
                          .opcode = g->op.opcode,
                          .flags = g->op.flags & FAR_OP_SENDS,
                          .payload_bytes = g->op.payload_bytes };
    memcpy(&r->args, g->op.args, sizeof(r->args));
    if (g->op.payload_bytes)
        memcpy(r + 1, g->payload, g->op.payload_bytes);
    atomic_store_explicit(&k->header->used[half], at + r->bytes,
                          memory_order_release);
}

/* ---- ops of our own ---- */

static void pump(struct kept *k);
static void judge(struct kept *k);
static void begun(struct kept *k, int32_t status);
static void drain(struct kept *k);

static bool own_busy(const struct kept *k)
{
    for (unsigned i = 0; i < FAR_KEPT_SLOTS; i++)
        if (k->header->own[i].busy)
            return true;
    return false;
}

static void fail(struct kept *k, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void own_ended(struct kept *k, unsigned i, int32_t status)
{
    struct noted *n = &k->header->own[i];
    bool flush = n->at == 0, current = k->own[i].tag == tag_now(k);

    atomic_store_explicit(&n->busy, 0, memory_order_release);
    k->own[i].below = false;
    if (k->settling) { /* a predecessor's: what matters is that it is over */
        if (!own_busy(k)) {
            k->settling = false;
            judge(k);
        }
        return;
    }
    if (status == FAR_BLOCK_STALE && current) {
        k->stalled = true; /* until the device says which one it is now */
    } else if (!current || status == FAR_BLOCK_STALE) {
        ; /* all are written again, this one too */
    } else if (!k->header->incarnation) {
        begun(k, status);
    } else if (flush && !status) {
        flushed(k, k->own[i].epoch);
    } else if (flush) {
        far_log(k->log, FAR_LOG_ERROR,
                "%s: what its guest has written can't be flushed (%s): more "
                "waits until it can",
                k->name, strerror(-status));
        far_timer_set(&k->retry, far_now_us() + RETRY_US);
    } else if (status) {
        fail(k,
             "the device has lost what it was given, and it can't be written "
             "again: %s",
             strerror(-status));
    }
    pump(k);
    drain(k);
}

/* at: of a copy, or 0: a flush. False: there is no room below. */
static bool own_give(struct kept *k, unsigned i, uint64_t at, bool repeat)
{
    struct noted *n = &k->header->own[i];
    const struct record *r = at ? record_at(k, at) : NULL;
    struct far_op op = { .slot = FAR_KEPT_FIRST_SLOT + i,
                         .opcode = r ? r->opcode : FAR_BLOCK_FLUSH,
                         .flags = r ? r->flags : 0,
                         .payload_bytes = r ? r->payload_bytes : 0 };
    struct far_block_args args = { 0 };
    void *payload = op.payload_bytes ? k->memory + at + sizeof(*r) : NULL;

    if (r)
        args = r->args;
    args.incarnation = tag_now(k);
    memcpy(op.args, &args, sizeof(args));
    if (!repeat) {
        n->sequence = ++k->header->sequence;
        n->at = at;
    }
    op.flags |= repeat ? FAR_OP_REPEAT : 0;
    op.sequence = n->sequence;
    k->own[i].tag = args.incarnation;
    k->own[i].below = true;
    atomic_store_explicit(&n->busy, 1, memory_order_release);
    switch (far_layer_submit(k->layer.below, &op, payload)) {
    case FAR_DONE:
        own_ended(k, i, op.status);
        return true;
    case FAR_LATER:
        return true;
    default:
        atomic_store_explicit(&n->busy, 0, memory_order_release);
        k->own[i].below = false;
        return false;
    }
}

static void own_flush(struct kept *k)
{
    if (!k->open || k->failed[0] || own_busy(k) || far_timer_armed(&k->retry))
        return;
    k->counters.own_flushes++;
    k->own[0].epoch = close_half(k);
    own_give(k, 0, 0, false);
}

static void retry(struct far_timer *timer)
{
    own_flush(CONTAINER(struct kept, retry, timer));
}

static bool keeps_any(const struct kept *k)
{
    return k->memory && !k->failed[0] && (used(k, 0) || used(k, 1));
}

static void drain(struct kept *k)
{
    if (!k->draining)
        return;
    if (keeps_any(k)) {
        own_flush(k);
        return;
    }
    k->draining = false;
    far_layer_room(k->layer.above);
}

void far_kept_flush(struct far_layer *layer)
{
    struct kept *k = of_layer(layer);

    if (keeps_any(k))
        own_flush(k);
}

bool far_kept_drain(struct far_layer *layer)
{
    struct kept *k = of_layer(layer);

    if (!keeps_any(k))
        return true;
    k->draining = true;
    own_flush(k);
    return !keeps_any(k);
}

/* ---- writing again ---- */

static bool overlap(const struct record *a, const struct record *b)
{
    return a->args.offset_bytes < b->args.offset_bytes + b->args.length_bytes &&
           b->args.offset_bytes < a->args.offset_bytes + a->args.length_bytes;
}

/* The next copy, or 0. The half that was closed is the older one. */
static uint64_t next_copy(struct kept *k)
{
    unsigned last = active(k);

    if (k->half != last && k->at >= used(k, k->half)) {
        k->half = last;
        k->at = 0;
    }
    return k->at < used(k, k->half) ? place_of(k->half, k->at) : 0;
}

/* A free slot of ours for it, or -1: one of the same place is under way. */
static int slot_for(const struct kept *k, const struct record *r)
{
    int free = -1;

    for (unsigned i = 0; i < FAR_KEPT_SLOTS; i++) {
        const struct noted *n = &k->header->own[i];

        if (!n->busy)
            free = (int)i;
        else if (!n->at || overlap(record_at(k, n->at), r))
            return -1;
    }
    return free;
}

static void tell_ready(struct kept *k)
{
    k->told = true;
    far_layer_state(k->layer.above, FAR_DEVICE_READY, &k->news);
}

static void again_run(struct far_defer *defer);

static void open_up(struct kept *k)
{
    k->open = true;
    far_defer(k->loop, &k->again, again_run);
}

static void replayed(struct kept *k)
{
    k->replaying = false;
    k->header->incarnation = k->device;
    far_log(k->log, FAR_LOG_WARNING,
            "%s: the device had lost its cache (its machine or process has "
            "begun anew): %llu writes were written again, in %llu ms",
            k->name, (unsigned long long)k->replayed,
            (unsigned long long)(far_now_us() - k->replay_began_us) / 1000);
    open_up(k);
}

/* The device's first op: whatever was answered before is durable then. */
static void begin(struct kept *k)
{
    if (k->ready && !k->settling && !k->stalled && !own_busy(k))
        own_give(k, 0, 0, false);
}

static void begun(struct kept *k, int32_t status)
{
    if (status)
        far_log(k->log, FAR_LOG_ERROR,
                "%s: it can't be flushed (%s): what whoever had it before "
                "wrote last may be lost with its machine's power",
                k->name, strerror(-status));
    k->header->incarnation = k->device;
    open_up(k);
}

static void pump(struct kept *k)
{
    uint64_t at;

    if (!k->header->incarnation && k->keeps) {
        begin(k);
        return;
    }
    while (k->replaying && k->ready && !k->stalled &&
           (at = next_copy(k)) != 0) {
        const struct record *r = record_at(k, at);
        int i = slot_for(k, r);
        uint64_t was = k->at;

        if (i < 0)
            return;
        k->at += r->bytes;
        k->counters.written_again++;
        k->replayed++;
        if (!own_give(k, (unsigned)i, at, false)) {
            k->at = was;
            k->counters.written_again--;
            k->replayed--;
            return;
        }
    }
    if (k->replaying && k->ready && !k->stalled && !own_busy(k))
        replayed(k);
}

static void replay(struct kept *k)
{
    if (!k->replaying) {
        k->replay_began_us = far_now_us();
        k->replayed = 0;
    }
    k->replaying = true;
    k->half = !active(k);
    k->at = 0;
    pump(k);
}

static void fail(struct kept *k, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(k->failed, sizeof(k->failed), format, args);
    va_end(args);
    k->replaying = k->told = false;
    k->news.reason = k->failed;
    far_log(k->log, FAR_LOG_ERROR,
            "%s: %s; all of its guest's requests fail from now on. Detach it, "
            "look at what it holds, and attach it again",
            k->name, k->failed);
    open_up(k);
}

/* The device is ready, and of that incarnation. */
static void judge(struct kept *k)
{
    struct header *h = k->header;

    if (!k->ready || k->settling || k->open)
        return;
    if (!h->incarnation && k->keeps && !k->failed[0]) {
        begin(k);
        return;
    }
    if (!h->incarnation)
        h->incarnation = k->device;
    if (h->incarnation == k->device || k->failed[0]) {
        k->replaying = false;
        open_up(k);
        return;
    }
    if (!k->replaying)
        k->counters.incarnations++;
    if (k->props.can & FAR_BLOCK_VOLATILE) {
        fail(k, "what it held is gone: it is memory, of a process that has "
                "begun anew");
    } else if (k->keeps) {
        replay(k);
    } else {
        h->incarnation = k->device;
        open_up(k);
    }
}

/* What a predecessor had under way. */
static void settle(struct kept *k)
{
    bool theirs[FAR_KEPT_SLOTS];

    for (unsigned i = 0; i < FAR_KEPT_SLOTS; i++) {
        theirs[i] = k->header->own[i].busy && !k->own[i].below;
        k->settling |= theirs[i];
    }
    for (unsigned i = 0; i < FAR_KEPT_SLOTS; i++)
        if (theirs[i])
            own_give(k, i, k->header->own[i].at, true);
    k->settling &= own_busy(k);
}

/* ---- ops of the layer above ---- */

static void forget(struct kept *k, struct given *g)
{
    k->reserved -= g->reserved;
    g->reserved = 0;
    g->below = g->waits = false;
}

static uint8_t *spare_of(const struct kept *k, const struct given *g)
{
    return k->spare + (size_t)(g - k->slots) * FAR_BLOCK_PAYLOAD_MAX;
}

static bool sends(const struct given *g)
{
    return (g->op.flags & FAR_OP_SENDS) && g->op.payload_bytes;
}

/* It was answered: false: it is to be given again, and nothing goes up. */
static bool ended(struct kept *k, struct given *g, struct far_op *op)
{
    g->below = false;
    if (g->tag && (op->status == FAR_BLOCK_STALE || g->tag != tag_now(k))) {
        g->waits = true;
        if (sends(g))
            memcpy(spare_of(k, g), g->payload, g->op.payload_bytes);
        if (k->open)
            far_defer(k->loop, &k->again, again_run);
        return false;
    }
    if (!op->status && op->opcode == FAR_BLOCK_FLUSH && g->epoch)
        flushed(k, g->epoch);
    if (!op->status && g->reserved)
        keep(k, g);
    forget(k, g);
    return true;
}

static enum far_verdict give(struct kept *k, struct given *g, struct far_op *op)
{
    /* memory that began anew must not answer what was meant for the old one */
    bool named = k->keeps || (k->props.can & FAR_BLOCK_VOLATILE);
    struct far_block_args args;
    enum far_verdict verdict;

    *op = g->op;
    memcpy(&args, op->args, sizeof(args));
    g->tag = args.incarnation = named ? tag_now(k) : 0;
    memcpy(op->args, &args, sizeof(args));
    if (op->opcode == FAR_BLOCK_FLUSH && k->keeps)
        /* one of a predecessor may have been given before a half was closed */
        g->epoch = op->flags & FAR_OP_REPEAT ? 0 : close_half(k);
    g->below = true;
    g->waits = false;
    verdict = far_layer_forward(&k->layer, op, g->payload);
    if (verdict == FAR_DONE && !ended(k, g, op))
        return FAR_LATER;
    return verdict;
}

static bool is_kept(const struct kept *k, const struct far_op *op)
{
    return k->keeps &&
           (op->opcode == FAR_BLOCK_WRITE || op->opcode == FAR_BLOCK_DISCARD);
}

static enum far_verdict kept_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct kept *k = of_layer(layer);
    enum far_verdict verdict;
    struct given *g;
    uint64_t bytes = 0;

    if (k->failed[0] || op->slot >= FAR_KEPT_FIRST_SLOT || !k->memory ||
        op->payload_bytes > FAR_BLOCK_PAYLOAD_MAX) {
        op->status = k->failed[0] ? -EIO : -EINVAL;
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    g = &k->slots[op->slot];
    forget(k, g); /* who gives anew knows that the one before is lost */
    if (is_kept(k, op))
        bytes = copy_bytes(op->payload_bytes);
    if (k->open && bytes && !has_room(k, bytes))
        own_flush(k); /* begins the other half, if that is empty */
    if (!k->open || (bytes && !has_room(k, bytes))) {
        k->room_wanted = true;
        return FAR_FULL;
    }
    *g = (struct given){
        .op = *op, .payload = payload, .order = ++k->order, .reserved = bytes
    };
    k->reserved += bytes;
    if (bytes && used(k, active(k)) + k->reserved > HALF_BYTES / 2)
        own_flush(k);
    verdict = give(k, g, op);
    if (verdict == FAR_FULL) {
        forget(k, g);
        k->room_wanted = true;
    }
    return verdict;
}

static struct given *first_waiting(struct kept *k)
{
    struct given *first = NULL;

    for (unsigned i = 0; i < FAR_KEPT_FIRST_SLOT; i++) {
        struct given *g = &k->slots[i];

        /* one that is stale for this incarnation, too, waits for the next */
        if (g->waits && (k->failed[0] || g->tag != tag_now(k)) &&
            (!first || g->order < first->order))
            first = g;
    }
    return first;
}

static void make_room(struct kept *k)
{
    if (!k->room_wanted || !k->open)
        return;
    k->room_wanted = false;
    far_layer_room(k->layer.above);
}

/* What waits, in its order, before anything new. */
static void again_run(struct far_defer *defer)
{
    struct kept *k = CONTAINER(struct kept, again, defer);
    struct given *g;

    while (k->open && (g = first_waiting(k)) != NULL) {
        struct far_op op = g->op;
        enum far_verdict verdict = FAR_DONE;

        if (k->failed[0]) {
            forget(k, g);
            op.status = -EIO;
            op.payload_bytes = 0;
        } else {
            k->counters.given_again++;
            if (sends(g))
                memcpy(g->payload, spare_of(k, g), g->op.payload_bytes);
            verdict = give(k, g, &op);
        }
        if (verdict == FAR_FULL) {
            g->below = false;
            g->waits = true;
            g->tag = 0;
            return; /* kept_room() */
        }
        if (verdict == FAR_DONE)
            far_layer_complete(k->layer.above, &op);
    }
    if (k->open && !k->told)
        tell_ready(k);
    make_room(k);
    if (k->open)
        drain(k);
}

static void kept_complete(struct far_layer *layer, const struct far_op *op)
{
    struct kept *k = of_layer(layer);
    struct far_op copy = *op;
    struct given *g;

    if (!k->memory || op->slot >= FAR_OP_SLOTS_MAX)
        return;
    if (op->slot >= FAR_KEPT_FIRST_SLOT) {
        unsigned i = op->slot - FAR_KEPT_FIRST_SLOT;

        if (k->header->own[i].busy &&
            k->header->own[i].sequence == op->sequence)
            own_ended(k, i, op->status);
        make_room(k);
        return;
    }
    g = &k->slots[op->slot];
    if (!g->below || g->op.sequence != op->sequence) {
        far_layer_complete(layer->above, op); /* which counts it as stray */
        return;
    }
    if (ended(k, g, &copy))
        far_layer_complete(layer->above, &copy);
    make_room(k);
}

static void kept_room(struct far_layer *layer)
{
    struct kept *k = of_layer(layer);

    if (k->memory)
        pump(k);
    if (k->memory && k->open)
        far_defer(k->loop, &k->again, again_run);
    if (!k->memory)
        far_layer_room(layer->above);
}

/* ---- the device ---- */

static void ops_lost(struct kept *k)
{
    for (unsigned i = 0; i < FAR_KEPT_FIRST_SLOT; i++)
        forget(k, &k->slots[i]);
    for (unsigned i = 0; k->memory && i < FAR_KEPT_SLOTS; i++) {
        k->own[i].below = false;
        k->header->own[i].busy = 0;
    }
    k->settling = false;
}

static void take_device(struct kept *k, const struct far_layer_news *news)
{
    uint64_t device = far_news_device(news);

    if (device != k->device)
        k->open = k->told = false;
    k->ready = true;
    k->stalled = false;
    k->device = device;
    k->news = *news;
    k->news.reason = k->failed[0] ? k->failed : NULL;
    memcpy(&k->props, news->props, sizeof(k->props));
    k->keeps = (k->props.can & FAR_BLOCK_CAN_WRITE) &&
               (k->props.can & FAR_BLOCK_CAN_FLUSH) &&
               (k->props.can & FAR_BLOCK_LOSES);
}

static void kept_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct kept *k = of_layer(layer);

    if (state != FAR_DEVICE_READY || !news) {
        if (news && news->ops_lost)
            ops_lost(k);
        k->ready = k->open = k->told = false;
        far_layer_state(layer->above, state, news);
        return;
    }
    take_device(k, news);
    if (!k->memory) {
        tell_ready(k);
        return;
    }
    if (k->open) { /* its size has changed, for example */
        tell_ready(k);
        return;
    }
    if (!k->settling)
        settle(k);
    judge(k);
}

static void kept_close(struct far_layer *layer)
{
    struct kept *k = of_layer(layer);

    far_timer_cancel(&k->retry);
    far_defer_cancel(k->loop, &k->again);
    layer->above = NULL;
    if (layer->below) {
        layer->below->above = NULL;
        far_layer_close(layer->below);
    }
    if (k->memory)
        munmap(k->memory, WHOLE_BYTES);
    munmap(k->spare, SPARE_BYTES);
    if (k->fd >= 0)
        close(k->fd);
    free(k);
}

static const struct far_layer_ops kept_ops = {
    .name = "kept",
    .submit = kept_submit,
    .close = kept_close,
    .complete = kept_complete,
    .state = kept_state,
    .room = kept_room,
};

struct far_layer *far_kept_new(struct far_loop *loop, struct far_log *log,
                               const char *device)
{
    struct kept *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->spare = mmap(NULL, SPARE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (k->spare == MAP_FAILED) {
        free(k);
        return NULL;
    }
    k->layer.ops = &kept_ops;
    k->loop = loop;
    k->log = log;
    k->fd = -1;
    k->epoch = 1;
    snprintf(k->name, sizeof(k->name), "%s", device);
    far_timer_init(&k->retry, loop, retry);
    return &k->layer;
}

/* ---- its file ---- */

static bool sound(const struct kept *k)
{
    const struct header *h = k->header;

    if (h->made != MADE || h->active > 1 || used(k, 0) > HALF_BYTES ||
        used(k, 1) > HALF_BYTES)
        return false;
    for (unsigned half = 0; half < 2; half++) {
        uint64_t at = 0;

        while (at < used(k, half)) {
            const struct record *r = record_at(k, place_of(half, at));

            if (r->bytes > used(k, half) - at ||
                r->bytes != copy_bytes(r->payload_bytes))
                return false;
            at += r->bytes;
        }
        if (at != used(k, half))
            return false;
    }
    for (unsigned i = 0; i < FAR_KEPT_SLOTS; i++) {
        uint64_t at = h->own[i].busy ? h->own[i].at : 0;

        if (at && (at < HEADER_BYTES || at % 64 || at >= WHOLE_BYTES ||
                   record_at(k, at)->bytes > WHOLE_BYTES - at ||
                   record_at(k, at)->bytes !=
                       copy_bytes(record_at(k, at)->payload_bytes)))
            return false;
    }
    return true;
}

int far_kept_begin(struct far_layer *layer, int fd, bool adopt)
{
    struct kept *k = of_layer(layer);
    struct stat st;
    int r = 0;

    k->fd = fd;
    if (!adopt && (ftruncate(fd, 0) || ftruncate(fd, (off_t)WHOLE_BYTES) ||
                   fallocate(fd, 0, 0, HEADER_BYTES)))
        return -errno;
    if (fstat(fd, &st))
        return -errno;
    if (st.st_size != (off_t)WHOLE_BYTES)
        return -EILSEQ;
    k->memory =
        mmap(NULL, WHOLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (k->memory == MAP_FAILED) {
        r = -errno;
        k->memory = NULL;
        return r;
    }
    k->header = (struct header *)(void *)k->memory;
    if (!adopt) {
        /* above those of a process before this one, since the machine booted */
        k->header->sequence = far_now_us() << 8;
        atomic_store_explicit(&k->header->made, MADE, memory_order_release);
    } else if (!sound(k)) {
        return -EILSEQ;
    }
    /* so that it never waits for memory that there is none of */
    for (unsigned half = 0; k->keeps && half < 2; half++)
        if (!grow(k, half, used(k, half) + STEP_BYTES) && !used(k, half))
            return -ENOSPC;
    if (k->ready) {
        settle(k);
        judge(k);
    }
    return 0;
}

void far_kept_counters(const struct far_layer *layer,
                       struct far_kept_counters *counters)
{
    const struct kept *k = (const struct kept *)(const void *)layer;

    *counters = k->counters;
    if (k->memory)
        counters->kept_bytes = used(k, 0) + used(k, 1);
}

const char *far_kept_failed(const struct far_layer *layer)
{
    const struct kept *k = (const struct kept *)(const void *)layer;

    return k->failed[0] ? k->failed : NULL;
}
