/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * farintc's frontend (docs/INTC.md): takes what is pending by priority, masks,
 * ends interrupts. What has been handled is known here, in memory of our own,
 * so that a backend which begins anew, or a guest that was moved, neither loses
 * an edge nor doubles one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "farside/io/farintc.h"
#include "frontend/own.h"

#define REQUESTS 64u
#define WORDS    FARINTC_WORDS
#define NO_TAG   UINT32_MAX

struct record {
    uint64_t handled;       /* edges that the program knows of */
    bool in_service;        /* a level that it has not ended */
    bool is_set, set_waits; /* set: to be said again to each backend */
    struct far_frontend_intc_set set;
    struct farintc_slot slot; /* as the last backend left it */
};

struct channel {
    struct far_evtchn evtchn;
    struct far_frontend_intc *intc;
};

struct far_frontend_intc {
    struct far_front_own own;
    struct far_frontend_intc_hooks hooks;
    void *arg;
    uint32_t vectors, channels;
    struct record *records;
    uint64_t masked[WORDS];
    uint32_t threshold;
    bool sets_wait;
    struct channel extra[FARINTC_CHANNELS_MAX - 1];
    struct {
        unsigned tag;
        uint16_t operation;
        bool busy;
    } requests[REQUESTS];
    struct far_frontend_intc_counters counters;
};

static struct far_frontend_intc *intc_of(struct far_front_own *own)
{
    return (struct far_frontend_intc *)(void *)own;
}

static struct farintc_page *page_of(struct far_frontend_intc *d)
{
    return d->own.control;
}

static struct farintc_slot *slot_of(struct far_frontend_intc *d,
                                    uint32_t vector)
{
    return (struct farintc_slot *)d->own.more + vector;
}

static uint64_t bit_of(uint32_t vector)
{
    return (uint64_t)1 << (vector % 64);
}

static void notify(struct far_frontend_intc *d)
{
    d->counters.notifies++;
    far_front_own_notify(&d->own);
}

/* ---- requests ------------------------------------------------------------ */

static int request(struct far_frontend_intc *d, struct farintc_request *q,
                   unsigned tag)
{
    unsigned id;

    if (!d->own.connected)
        return -ENOTCONN;
    for (id = 0; id < REQUESTS && d->requests[id].busy; id++)
        ;
    if (id == REQUESTS || !far_ring_room(&d->own.ring))
        return -EAGAIN;
    d->requests[id].busy = true;
    d->requests[id].tag = tag;
    d->requests[id].operation = q->operation;
    q->id = (uint16_t)id;
    far_ring_put(&d->own.ring, q);
    if (far_ring_front_push(&d->own.ring))
        notify(d);
    return 0;
}

static int request_set(struct far_frontend_intc *d, uint32_t vector,
                       unsigned tag)
{
    const struct far_frontend_intc_set *set = &d->records[vector].set;
    struct farintc_request q = { .operation = FARINTC_OP_SET,
                                 .vector = vector,
                                 .priority = set->priority,
                                 .channel = set->channel,
                                 .per_second = set->per_second,
                                 .together = set->together,
                                 .wait_ns = set->wait_ns };

    return request(d, &q, tag);
}

/* As many of those that the backend does not know as there is room for. */
static void say_sets(struct far_frontend_intc *d)
{
    if (!d->sets_wait)
        return;
    for (uint32_t i = 0; i < d->vectors; i++)
        if (d->records[i].set_waits) {
            if (request_set(d, i, NO_TAG))
                return;
            d->records[i].set_waits = false;
        }
    d->sets_wait = false;
}

static int answers(struct far_frontend_intc *d)
{
    struct farintc_response response;
    int r, n = 0;

    while (!d->own.closed &&
           (r = far_ring_response(&d->own.ring, &response)) != 0) {
        if (r < 0)
            return r;
        if (response.id >= REQUESTS || !d->requests[response.id].busy ||
            d->requests[response.id].operation != response.operation)
            return -EPROTO;
        n = 1;
        d->requests[response.id].busy = false;
        if (d->requests[response.id].tag != NO_TAG && d->hooks.answered)
            d->hooks.answered(d->arg, d->requests[response.id].tag,
                              response.status, response.value);
    }
    if (n && !d->own.closed)
        say_sets(d);
    return n;
}

/* ---- vectors ------------------------------------------------------------- */

/* True: the program was told. pending: the backend has said so; an edge needs
 * no word, its count is enough. */
static bool take(struct far_frontend_intc *d, uint32_t vector, bool pending)
{
    const struct farintc_slot *slot = slot_of(d, vector);
    struct record *r = &d->records[vector];
    uint64_t count = __atomic_load_n(&slot->count, __ATOMIC_ACQUIRE);
    uint64_t news = count - r->handled;

    if (__atomic_load_n(&slot->flags, __ATOMIC_RELAXED) & FARINTC_LEVEL) {
        r->handled = count;
        if (!pending || r->in_service)
            return false;
        r->in_service = true;
        news = 1;
    } else {
        if ((int64_t)news <= 0)
            return false;
        r->handled = count;
    }
    d->counters.raised++;
    d->hooks.raised(d->arg, vector, news);
    return true;
}

/* What is pending of a word of one priority, and not masked. */
static bool take_word(struct far_frontend_intc *d, unsigned priority,
                      uint32_t word)
{
    struct farintc_page *page = page_of(d);
    uint64_t bits;
    bool any = false;

    __atomic_fetch_and(&page->ready[priority], ~((uint64_t)1 << word),
                       __ATOMIC_SEQ_CST);
    bits = __atomic_load_n(&page->pending[priority][word], __ATOMIC_SEQ_CST) &
           ~d->masked[word];
    if (!bits)
        return false;
    bits &= __atomic_fetch_and(&page->pending[priority][word], ~bits,
                               __ATOMIC_SEQ_CST);
    for (; bits && !d->own.closed; bits &= bits - 1) {
        uint32_t vector = word * 64 + (uint32_t)__builtin_ctzll(bits);

        if (vector < d->vectors)
            any |= take(d, vector, true);
    }
    return any;
}

/* The highest priority first, looked for anew after each word. */
static bool take_all(struct far_frontend_intc *d)
{
    struct farintc_page *page = page_of(d);
    bool any = false;
    unsigned p = 0;

    while (p < d->threshold && p < FARINTC_PRIORITIES && !d->own.closed) {
        uint64_t words = __atomic_load_n(&page->ready[p], __ATOMIC_ACQUIRE) &
                         (((uint64_t)1 << WORDS) - 1);

        if (!words) {
            p++;
            continue;
        }
        any |= take_word(d, p, (uint32_t)__builtin_ctzll(words));
        p = 0;
    }
    return any;
}

static bool pending_bit(struct far_frontend_intc *d, uint32_t vector,
                        bool take_it)
{
    struct farintc_page *page = page_of(d);
    uint64_t bit = bit_of(vector), found = 0;

    for (unsigned p = 0; p < FARINTC_PRIORITIES; p++) {
        uint64_t *word = &page->pending[p][vector / 64];

        if (take_it && __atomic_load_n(word, __ATOMIC_SEQ_CST) & bit)
            found |= __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
        else
            found |= __atomic_load_n(word, __ATOMIC_SEQ_CST);
    }
    return found & bit;
}

static bool below_threshold(struct far_frontend_intc *d, uint32_t vector)
{
    return __atomic_load_n(&slot_of(d, vector)->priority, __ATOMIC_RELAXED) <
           d->threshold;
}

/* Found when the threshold rises, as if it were raised then: its bits may be
 * gone, taken while it was masked, or with a backend that was killed. */
static void hold(struct far_frontend_intc *d, uint32_t vector)
{
    struct farintc_page *page = page_of(d);
    const struct farintc_slot *slot = slot_of(d, vector);
    unsigned own = __atomic_load_n(&slot->priority, __ATOMIC_RELAXED);
    uint32_t word = vector / 64;

    if (!(__atomic_load_n(&slot->flags, __ATOMIC_RELAXED) & FARINTC_LEVEL) &&
        own < FARINTC_PRIORITIES &&
        __atomic_load_n(&slot->count, __ATOMIC_ACQUIRE) !=
            d->records[vector].handled)
        __atomic_fetch_or(&page->pending[own][word], bit_of(vector),
                          __ATOMIC_SEQ_CST);
    for (unsigned p = 0; p < FARINTC_PRIORITIES; p++)
        if (__atomic_load_n(&page->pending[p][word], __ATOMIC_SEQ_CST) &
            bit_of(vector))
            __atomic_fetch_or(&page->ready[p], (uint64_t)1 << word,
                              __ATOMIC_SEQ_CST);
}

static int intc_drain(struct far_front_own *own)
{
    struct far_frontend_intc *d = intc_of(own);
    int any = 0;

    d->counters.wakeups++;
    for (;;) {
        int r = answers(d);
        bool taken = r >= 0 && !own->closed && take_all(d);

        if (r < 0)
            return -EPROTO;
        any |= r | taken;
        if (own->closed || own->polling || far_ring_front_arm(&own->ring))
            return any;
    }
}

/* ---- the device ---------------------------------------------------------- */

static int intc_pages(struct far_front_own *own)
{
    struct far_frontend_intc *d = intc_of(own);

    if (!own->nodes.has_max_vectors || !own->nodes.has_max_channels ||
        own->nodes.max_vectors < d->vectors ||
        own->nodes.max_channels < d->channels) {
        snprintf(own->why, sizeof(own->why),
                 "the backend has no %u vectors on %u channels", d->vectors,
                 d->channels);
        return -ENOSPC;
    }
    for (unsigned i = 0; i < FARINTC_CHANNELS_MAX - 1; i++)
        d->extra[i] = (struct channel){ .intc = d };
    return (int)((d->vectors + FARINTC_SLOTS_A_PAGE - 1) /
                 FARINTC_SLOTS_A_PAGE);
}

static enum far_evtchn_verdict extra_fired(struct far_evtchn *evtchn)
{
    return far_front_own_fired(&((struct channel *)(void *)evtchn)->intc->own);
}

static int intc_offer(struct far_front_own *own, far_xs_t t)
{
    struct far_frontend_intc *d = intc_of(own);
    uint32_t pages =
        (d->vectors + FARINTC_SLOTS_A_PAGE - 1) / FARINTC_SLOTS_A_PAGE;
    char node[32];
    int r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_VECTORS, d->vectors);

    for (uint32_t i = 0; i < d->vectors; i++)
        *slot_of(d, i) = d->records[i].slot;
    memcpy(page_of(d)->masked, d->masked, sizeof(d->masked));
    page_of(d)->threshold = d->threshold;
    if (!r)
        r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_CHANNELS,
                                d->channels);
    for (uint32_t i = 0; !r && i < pages; i++) {
        snprintf(node, sizeof(node), "vectors-ref%u", i);
        r = far_front_own_write(own, t, node, own->refs[2 + i]);
    }
    for (uint32_t i = 1; !r && i < d->channels; i++) {
        struct far_evtchn *e = &d->extra[i - 1].evtchn;

        if (!e->local_port) /* a transaction may come a second time */
            r = far_evtchn_offer(own->channels, e, extra_fired);
        snprintf(node, sizeof(node), "event-channel-%u", i);
        if (!r)
            r = far_front_own_write(own, t, node, e->local_port);
    }
    return r;
}

static void intc_connected(struct far_front_own *own)
{
    struct far_frontend_intc *d = intc_of(own);

    d->counters.connections++;
    for (uint32_t i = 0; i < d->vectors; i++) {
        d->records[i].set_waits = d->records[i].is_set;
        d->sets_wait |= d->records[i].is_set;
    }
    say_sets(d);
    /* What was raised while nobody could be told. */
    far_front_own_enter(own);
    for (uint32_t i = 0; i < d->vectors && !own->closed; i++)
        if (d->masked[i / 64] & bit_of(i))
            continue;
        else if (below_threshold(d, i))
            (void)take(d, i, false);
        else
            hold(d, i);
    if (!own->closed)
        (void)take_all(d);
    (void)far_front_own_leave(own);
}

static void intc_dropped(struct far_front_own *own)
{
    struct far_frontend_intc *d = intc_of(own);

    for (uint32_t i = 0; i < d->vectors; i++)
        d->records[i].slot = *slot_of(d, i);
    for (unsigned i = 0; i < REQUESTS; i++)
        if (d->requests[i].busy) {
            d->requests[i].busy = false;
            if (d->requests[i].tag != NO_TAG && d->hooks.answered)
                d->hooks.answered(d->arg, d->requests[i].tag, -ECONNRESET, 0);
        }
}

static uint32_t intc_back_cpu(struct far_front_own *own)
{
    return __atomic_load_n(&page_of(intc_of(own))->back_cpu, __ATOMIC_RELAXED);
}

static bool intc_arm(struct far_front_own *own)
{
    struct far_frontend_intc *d = intc_of(own);
    struct farintc_page *page = page_of(d);

    __atomic_store_n(&page->front_cpu, 0, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned p = 0; p < d->threshold && p < FARINTC_PRIORITIES; p++)
        if (__atomic_load_n(&page->ready[p], __ATOMIC_ACQUIRE))
            return false;
    return far_ring_front_arm(&own->ring);
}

static void intc_disarm(struct far_front_own *own, uint32_t cpu)
{
    __atomic_store_n(&page_of(intc_of(own))->front_cpu, cpu, __ATOMIC_RELAXED);
}

static void intc_told(struct far_front_own *own, enum far_frontend_state state,
                      const char *why)
{
    struct far_frontend_intc *d = intc_of(own);

    if (d->hooks.state)
        d->hooks.state(d->arg, state, why);
}

static void intc_freed(struct far_front_own *own)
{
    struct far_frontend_intc *d = intc_of(own);

    free(d->records);
    free(d);
}

static const struct far_front_own_class intc_class = {
    .kind = "farintc",
    .entry_bytes = sizeof(struct farintc_request),
    .pages = intc_pages,
    .offer = intc_offer,
    .connected = intc_connected,
    .drain = intc_drain,
    .dropped = intc_dropped,
    .back_cpu = intc_back_cpu,
    .arm = intc_arm,
    .disarm = intc_disarm,
};

/* ---- for programs -------------------------------------------------------- */

struct far_frontend_intc *
far_frontend_intc_open(struct far_frontend *frontend, unsigned devid,
                       unsigned vectors, unsigned channels, uint32_t flags,
                       const struct far_frontend_intc_hooks *hooks, void *arg)
{
    struct far_frontend_intc *d;
    int r;

    if (devid > FAR_FRONT_DEVID_MAX || !vectors ||
        vectors > FARINTC_VECTORS_MAX || !channels ||
        channels > FARINTC_CHANNELS_MAX || !hooks->raised) {
        errno = EINVAL;
        return NULL;
    }
    d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->records = calloc(vectors, sizeof(*d->records));
    d->hooks = *hooks;
    d->arg = arg;
    d->vectors = vectors;
    d->channels = channels;
    d->threshold = FARINTC_PRIORITIES;
    d->own.class = &intc_class;
    d->own.devid = devid;
    d->own.poll = !(flags & FAR_FRONTEND_NO_POLL);
    d->own.told = intc_told;
    d->own.freed = intc_freed;
    r = d->records ? far_front_own_open(frontend, &d->own) : -ENOMEM;
    if (!r)
        return d;
    free(d->records);
    free(d);
    errno = -r;
    return NULL;
}

void far_frontend_intc_close(struct far_frontend_intc *d)
{
    if (d)
        far_front_own_close(&d->own);
}

int far_frontend_intc_mask(struct far_frontend_intc *d, unsigned vector)
{
    if (vector >= d->vectors)
        return -EINVAL;
    d->masked[vector / 64] |= bit_of(vector);
    if (d->own.has_ring)
        __atomic_fetch_or(&page_of(d)->masked[vector / 64], bit_of(vector),
                          __ATOMIC_SEQ_CST);
    return 0;
}

int far_frontend_intc_unmask(struct far_frontend_intc *d, unsigned vector)
{
    if (vector >= d->vectors)
        return -EINVAL;
    d->masked[vector / 64] &= ~bit_of(vector);
    if (!d->own.has_ring)
        return 0;
    /* First the mask, then pending: the backend does it the other way round. */
    __atomic_fetch_and(&page_of(d)->masked[vector / 64], ~bit_of(vector),
                       __ATOMIC_SEQ_CST);
    if (!d->own.connected)
        return 0;
    if (!below_threshold(d, vector)) {
        hold(d, vector);
        return 0;
    }
    far_front_own_enter(&d->own);
    (void)take(d, vector, pending_bit(d, vector, true));
    (void)far_front_own_leave(&d->own);
    return 0;
}

int far_frontend_intc_threshold(struct far_frontend_intc *d, unsigned priority)
{
    if (priority > FARINTC_PRIORITIES)
        return -EINVAL;
    d->threshold = priority;
    if (!d->own.has_ring)
        return 0;
    __atomic_store_n(&page_of(d)->threshold, priority, __ATOMIC_SEQ_CST);
    if (!d->own.connected)
        return 0;
    far_front_own_enter(&d->own);
    (void)take_all(d);
    (void)far_front_own_leave(&d->own);
    return 0;
}

int far_frontend_intc_pending(struct far_frontend_intc *d, unsigned vector)
{
    const struct farintc_slot *slot;

    if (vector >= d->vectors)
        return -EINVAL;
    if (!d->own.connected)
        return -ENOTCONN;
    slot = slot_of(d, vector);
    if (__atomic_load_n(&slot->flags, __ATOMIC_RELAXED) & FARINTC_LEVEL)
        return pending_bit(d, vector, false);
    return __atomic_load_n(&slot->count, __ATOMIC_ACQUIRE) !=
           d->records[vector].handled;
}

int far_frontend_intc_eoi(struct far_frontend_intc *d, unsigned vector)
{
    struct farintc_page *page = page_of(d);
    uint32_t word = vector / 64;

    if (vector >= d->vectors || !d->records[vector].in_service)
        return -EINVAL;
    d->records[vector].in_service = false;
    if (!d->own.connected)
        return 0; /* the next backend begins with what is high */
    d->counters.eois++;
    __atomic_fetch_or(&page->eoi[word], bit_of(vector), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&page->eoi_words, (uint64_t)1 << word, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&page->high[word], __ATOMIC_SEQ_CST) & bit_of(vector) &&
        !(d->own.polling && __atomic_load_n(&page->back_cpu, __ATOMIC_SEQ_CST)))
        notify(d);
    return 0;
}

int far_frontend_intc_set(struct far_frontend_intc *d, unsigned vector,
                          const struct far_frontend_intc_set *set, unsigned tag)
{
    struct record before, *r;
    int result;

    if (vector >= d->vectors || set->priority >= FARINTC_PRIORITIES ||
        set->channel >= d->channels || set->wait_ns > 1000000000u ||
        (set->together && !set->wait_ns))
        return -EINVAL;
    r = &d->records[vector];
    before = *r;
    r->set = *set;
    r->is_set = true;
    result = request_set(d, vector, tag);
    if (result == -EAGAIN)
        *r = before; /* it is asked for again */
    return result;
}

int far_frontend_intc_ask(struct far_frontend_intc *d, unsigned vector,
                          unsigned tag)
{
    struct farintc_request q = { .operation = FARINTC_OP_ASK,
                                 .vector = vector };

    return vector < d->vectors ? request(d, &q, tag) : -EINVAL;
}

const struct far_frontend_intc_counters *
far_frontend_intc_counters(const struct far_frontend_intc *d)
{
    return &d->counters;
}
