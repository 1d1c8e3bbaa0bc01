/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's port: farintc's pages towards a guest
 * (docs/INTC.md), and the sources behind it, each a chain of its own: devices
 * here, in other processes, on other machines, doorbells, and notices of
 * devices that the guest never attached. What a source's word means for a count
 * is decided in port-intc-checks.c; how fast a vector may be raised in line.c,
 * as for any event channel.
 *
 *   port ─┬─ leg ── device of this process | local client | absent
 *         ├─ leg ── …
 *         └─ leg    (of notices: they come by intc_notify())
 *
 * Counts stand in the guest's pages, and sources say how their lines stand: so
 * nothing need be kept for a successor but the legs' names, and how many
 * notices there were (the annex).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "backend/chain.h"
#include "backend/notify.h"
#include "backend/own.h"
#include "backend/port-intc-checks.h"
#include "core/clock.h"
#include "core/doorbell.h"
#include "core/intc.h"
#include "core/status.h"
#include "farside/io/farintc.h"
#include "xenbus/ring.h"

#define REQUESTS_A_TURN 128u
#define VECTORS         FARINTC_VECTORS_MAX
#define WORDS           FARINTC_WORDS
#define LEGS            FAR_INTC_SOURCES_MAX
#define ANNEX_VERSION   1u

static_assert(sizeof(struct farintc_slot) == 32 &&
                  sizeof(struct farintc_page) == 4096 &&
                  offsetof(struct farintc_page, front_cpu) == 64 &&
                  offsetof(struct farintc_page, high) == 128 &&
                  offsetof(struct farintc_page, masked) == 256 &&
                  offsetof(struct farintc_page, eoi) == 384 &&
                  offsetof(struct farintc_page, eoi_words) == 512 &&
                  offsetof(struct farintc_page, ready) == 576 &&
                  offsetof(struct farintc_page, pending) == 1024 &&
                  sizeof(struct farintc_request) == 32 &&
                  sizeof(struct farintc_response) == 32,
              "the layout is a contract");
static_assert(VECTORS == FAR_INTC_LINES_MAX &&
                  FARINTC_PRIORITIES == FAR_INTC_PRIORITIES,
              "a vector for each line, a priority for each");

/* What a successor goes on with: the names of the legs' attachments, and how
 * far they had got; and, as a source does, how many notices there were for each
 * vector since it was made. */
struct annex {
    struct annex_leg {
        uint64_t attachment;            /* 0: free */
        uint64_t incarnation, received; /* of which the counts know */
        uint32_t class;
        char address[FAR_CHAIN_ADDRESS_BYTES];
    } legs[LEGS];
    uint64_t epoch;
    uint64_t served; /* the guest's driver is, or was when we were killed */
    uint64_t noticed[VECTORS];
};

/* The journal's state->own: a notice is counted, and its sender's mark is set,
 * by one note. `noticed` follows, and is mended by a successor. */
struct own {
    struct far_notify_marks marks;
    uint64_t epoch; /* the annex's; 0: no notice yet */
    uint64_t noticed;
    uint32_t vector;
};
static_assert(sizeof(struct own) <= FAR_JOURNAL_OWN_BYTES, "fits the journal");

struct leg {
    struct far_layer layer; /* top of its chain */
    struct port *port;
    struct far_layer *bottom; /* NULL: notices */
    enum far_binding binding;
    struct far_address address;
    struct annex_leg *kept; /* NULL: notices */
    struct far_local_who who;
    char absent[FAR_CHAIN_REASON_BYTES];
    char reason[FAR_CHAIN_REASON_BYTES]; /* why it is gone */
    uint64_t incarnation, received;
    bool full;
    /* ends of interrupts under way */
    uint64_t sequence, busy;
    uint64_t sequences[FAR_OP_SLOTS_MAX];
    uint64_t news;
};

struct vector {
    uint8_t leg; /* LEGS: none */
    uint8_t priority, channel;
    bool level, resample;
    bool high;       /* the source says so, and no end of interrupt since */
    bool in_service; /* pending was set, and there was no end of interrupt */
    uint32_t line;   /* of the source */
    uint32_t source; /* as in the slot: which one it is */
    uint64_t epoch;  /* what the source said last; 0: nothing yet */
    uint64_t total;
    struct far_intc_count count;         /* as in the slot */
    struct far_line_limits conf, limits; /* conf: without the guest's */
    uint8_t conf_priority;
    struct far_line_state state;
};

struct channel {
    struct far_evtchn evtchn;
    struct far_line line;
    struct port *port;
};

struct port {
    struct far_attachment *a;
    struct far_chain chain; /* names the controller; never opened */

    struct far_intc_source routes[LEGS];
    unsigned routes_count;
    struct leg *legs[LEGS];
    unsigned legs_count;
    struct annex *annex;

    struct far_own own;
    struct farintc_page *page;  /* the guest's, as long as served */
    struct farintc_slot *slots; /* the guest's */
    struct far_ring ring;
    struct channel extra[FARINTC_CHANNELS_MAX - 1];
    struct far_defer settle;
    struct far_timer later; /* those that wait for their time */
    uint64_t waiting[WORDS];
    uint64_t ends[WORDS]; /* those whose end is to be told to the source */
    uint32_t vectors_used, channels; /* of this connection */
    uint32_t tell;                   /* channels, a bit each */
    bool served;
    struct vector vectors[VECTORS];
    struct farintc_request sets[VECTORS]; /* of this connection; NOP: none */

    uint64_t raised, injected, merged, withdrawn, delayed, masked, notices,
        eois, wrong_eois, requests, wrong_requests, notifies, wakes, spurious,
        foreign;
};

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void settle(struct far_defer *defer);

static struct port *port_of(const struct far_attachment *a)
{
    return a->port;
}

static void settle_soon(struct port *port)
{
    far_defer(port->a->backend->loop, &port->settle, settle);
}

/* --- vectors -----------------------------------------------------------------
 */

static uint64_t bit_of(uint32_t vector)
{
    return (uint64_t)1 << (vector % 64);
}

/* The guest sees it, and is told unless it said that it doesn't want to be. The
 * exchange of pending is a full barrier: a guest that takes its mask away, or
 * raises its threshold, looks at pending afterwards. */
static void inject(struct port *port, uint32_t vector)
{
    struct vector *v = &port->vectors[vector];
    struct farintc_page *page = port->page;
    uint32_t word = vector / 64;
    uint64_t before = __atomic_fetch_or(&page->pending[v->priority][word],
                                        bit_of(vector), __ATOMIC_SEQ_CST);

    __atomic_fetch_or(&page->ready[v->priority], (uint64_t)1 << word,
                      __ATOMIC_SEQ_CST);
    v->in_service = v->level;
    if (before & bit_of(vector)) {
        port->merged++;
        return;
    }
    port->injected++;
    if (__atomic_load_n(&page->masked[word], __ATOMIC_SEQ_CST) &
            bit_of(vector) ||
        v->priority >= __atomic_load_n(&page->threshold, __ATOMIC_SEQ_CST)) {
        port->masked++;
        return;
    }
    port->tell |= 1u << v->channel;
    settle_soon(port);
}

static void wait_until(struct port *port, uint32_t vector, uint64_t due_ns)
{
    uint64_t due_us = due_ns / 1000 + 1;

    port->waiting[vector / 64] |= bit_of(vector);
    if (!far_timer_armed(&port->later) || due_us < port->later.due_us)
        (void)far_timer_set(&port->later, due_us);
}

static void ask(struct port *port, uint32_t vector, uint64_t now_ns)
{
    struct vector *v = &port->vectors[vector];
    uint64_t due_ns = 0;

    switch (far_line_ask(&v->state, &v->limits, now_ns, &due_ns)) {
    case FAR_LINE_INJECT:
        port->waiting[vector / 64] &= ~bit_of(vector);
        inject(port, vector);
        break;
    case FAR_LINE_LATER:
        if (!(port->waiting[vector / 64] & bit_of(vector)))
            port->delayed++;
        wait_until(port, vector, due_ns);
        break;
    case FAR_LINE_NOTHING:
        port->waiting[vector / 64] &= ~bit_of(vector);
        break;
    }
}

static void raise_vector(struct port *port, uint32_t vector)
{
    struct vector *v = &port->vectors[vector];
    uint64_t now_ns;

    port->raised++;
    if (!v->limits.per_second && !v->limits.coalesce_ns) {
        inject(port, vector);
        return;
    }
    now_ns = far_now_ns();
    far_line_raised(&v->state, now_ns);
    ask(port, vector, now_ns);
}

static void later(struct far_timer *timer)
{
    struct port *port = CONTAINER(struct port, later, timer);
    uint64_t now_ns = far_now_ns();

    for (uint32_t w = 0; w < WORDS; w++)
        for (uint64_t left = port->waiting[w]; left; left &= left - 1)
            ask(port, w * 64 + (uint32_t)__builtin_ctzll(left), now_ns);
}

/* Where the guest sees whether an end of interrupt concerns anybody. */
static void show_high(struct port *port, uint32_t vector)
{
    uint64_t *word = &port->page->high[vector / 64];

    if (port->vectors[vector].high)
        __atomic_fetch_or(word, bit_of(vector), __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(word, ~bit_of(vector), __ATOMIC_SEQ_CST);
}

static void show_slot(struct port *port, uint32_t vector)
{
    const struct vector *v = &port->vectors[vector];
    struct farintc_slot *slot = &port->slots[vector];
    unsigned flags =
        (v->leg < LEGS ? FARINTC_ROUTED : 0u) | (v->level ? FARINTC_LEVEL : 0u);

    __atomic_store_n(&slot->source, v->source, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->priority, v->priority, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->channel, v->channel, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->flags, (uint8_t)flags, __ATOMIC_RELEASE);
}

/* The order lets a kill come at any time: a base without its epoch is made
 * again by who comes, as its epoch still differs; and a count follows from the
 * two. */
static uint64_t count(struct port *port, uint32_t vector, bool stated)
{
    struct vector *v = &port->vectors[vector];
    struct farintc_slot *slot = &port->slots[vector];
    uint64_t news = far_intc_account(&v->count, v->epoch, v->total, stated);

    __atomic_store_n(&slot->base, v->count.base, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->epoch, v->count.epoch, __ATOMIC_RELEASE);
    __atomic_store_n(&slot->count, v->count.count, __ATOMIC_RELEASE);
    return news;
}

static bool is_pending(struct port *port, uint32_t vector)
{
    return __atomic_load_n(&port->page->pending[port->vectors[vector].priority]
                                               [vector / 64],
                           __ATOMIC_SEQ_CST) &
           bit_of(vector);
}

/* The source's line is low again before the guest has looked. */
static void withdraw(struct port *port, uint32_t vector)
{
    struct vector *v = &port->vectors[vector];
    uint64_t before;

    v->state.raised = false;
    port->waiting[vector / 64] &= ~bit_of(vector);
    if (!v->in_service)
        return;
    before = __atomic_fetch_and(&port->page->pending[v->priority][vector / 64],
                                ~bit_of(vector), __ATOMIC_SEQ_CST);
    if (before & bit_of(vector)) {
        v->in_service = false;
        port->withdrawn++;
    }
}

static bool take_ends(struct port *port);

static void line_said(struct port *port, uint32_t vector,
                      const struct far_intc_args *args)
{
    struct vector *v = &port->vectors[vector];
    bool level = args->flags & FAR_INTC_LEVEL, was_high;
    uint64_t news;

    v->epoch = args->epoch;
    v->total = args->total;
    v->resample = args->flags & FAR_INTC_RESAMPLE;
    if (v->level != level) {
        v->level = level;
        v->in_service = v->high = false;
        show_high(port, vector);
        show_slot(port, vector);
    }
    news = count(port, vector, args->flags & FAR_INTC_STATED);
    if (!level) {
        if (news)
            raise_vector(port, vector);
        return;
    }
    was_high = v->high;
    v->high = args->flags & FAR_INTC_HIGH;
    if (v->high != was_high)
        show_high(port, vector);
    if (!v->high) {
        withdraw(port, vector);
        return;
    }
    /* A guest doesn't tell of an end while the line is low: it may be there. */
    if (v->in_service)
        (void)take_ends(port);
    if (v->high && !v->in_service && !v->state.raised)
        raise_vector(port, vector);
}

/* From now on each raise of what was not stated is the guest's, whether we hear
 * of it or find it in a later statement. */
static void all_stated(struct port *port, const struct leg *leg, uint64_t epoch)
{
    for (uint32_t i = 0; i < port->vectors_used; i++) {
        struct vector *v = &port->vectors[i];

        if (v->leg >= LEGS || port->legs[v->leg] != leg ||
            v->count.epoch == epoch)
            continue;
        v->epoch = epoch;
        v->total = 0;
        (void)count(port, i, false);
    }
}

/* --- legs ------------------------------------------------------------------
 */

static bool goes_to(const struct port *port, unsigned leg,
                    const struct far_intc_source *route)
{
    const struct leg *l = port->legs[leg];
    char text[FAR_CHAIN_ADDRESS_BYTES];
    struct far_chain chain = { .address = l->address };

    far_chain_address_text(&chain, text, sizeof(text));
    return l->who.class == (uint32_t)route->class &&
           !l->bottom == route->notices && !strcmp(text, route->address);
}

static bool leg_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct leg *leg = (struct leg *)(void *)layer;
    struct port *port = leg->port;
    struct far_intc_args args;

    if (!port->served || port->own.broken)
        return false; /* it says it again when there is a guest to hear it */
    if (op->opcode == FAR_INTC_LINE && leg->who.class == FAR_CLASS_INTC) {
        memcpy(&args, op->args, sizeof(args));
    } else if (op->opcode == FAR_DOORBELL_RUNG &&
               leg->who.class == FAR_CLASS_DOORBELL) {
        /* Its number says how often it was rung since its end was made. */
        args = (struct far_intc_args){ .total = op->sequence,
                                       .epoch = leg->incarnation };
    } else {
        args = (struct far_intc_args){ .epoch = 0 };
    }
    if (op->sequence)
        leg->received = op->sequence;
    if (!args.epoch || args.line >= FAR_INTC_LINES_MAX) {
        port->foreign++;
        return true;
    }
    leg->news++;
    settle_soon(port);
    if (args.flags & FAR_INTC_ALL_STATED) {
        all_stated(port, leg, args.epoch);
        return true;
    }
    for (unsigned i = 0; i < port->routes_count; i++) {
        const struct far_intc_source *route = &port->routes[i];
        uint32_t vector = route->first + (args.line - route->line);

        if (args.line - route->line < route->count &&
            vector < port->vectors_used &&
            port->legs[port->vectors[vector].leg] == leg)
            line_said(port, vector, &args);
    }
    return true;
}

/* Tells the source that the guest has served it; false: it has to wait. */
static bool tell_source(struct port *port, uint32_t vector)
{
    const struct vector *v = &port->vectors[vector];
    struct leg *leg = port->legs[v->leg];
    struct far_intc_args args = { .line = v->line };
    struct far_op op = { .opcode = FAR_INTC_EOI,
                         .attachment = leg->who.attachment };
    unsigned slot;

    if (leg->full || leg->busy == UINT64_MAX)
        return false;
    slot = (unsigned)__builtin_ctzll(~leg->busy);
    op.slot = slot;
    op.sequence = ++leg->sequence;
    memcpy(op.args, &args, sizeof(args));
    switch (far_layer_submit(leg->bottom, &op, NULL)) {
    case FAR_DONE:
        return true;
    case FAR_LATER:
        leg->busy |= (uint64_t)1 << slot;
        leg->sequences[slot] = op.sequence;
        return true;
    default:
        leg->full = true;
        return false;
    }
}

/* At the end of a turn, as a source may answer from within: what it says then
 * may be heard while another one speaks. */
static void tell_sources(struct port *port)
{
    for (uint32_t w = 0; w < WORDS; w++) {
        uint64_t left = port->ends[w];

        port->ends[w] = 0;
        for (; left; left &= left - 1)
            if (!tell_source(port, w * 64 + (uint32_t)__builtin_ctzll(left)))
                port->ends[w] |= left & -left;
    }
}

static void leg_complete(struct far_layer *layer, const struct far_op *op)
{
    struct leg *leg = (struct leg *)(void *)layer;
    uint64_t bit;

    if (op->slot >= FAR_OP_SLOTS_MAX)
        return;
    bit = (uint64_t)1 << op->slot;
    if (!(leg->busy & bit) || leg->sequences[op->slot] != op->sequence) {
        leg->port->foreign++;
        return;
    }
    if (leg->busy == UINT64_MAX)
        settle_soon(leg->port);
    leg->busy &= ~bit;
}

static void leg_room(struct far_layer *layer)
{
    struct leg *leg = (struct leg *)(void *)layer;

    leg->full = false;
    settle_soon(leg->port);
}

static bool all_ready(const struct port *port)
{
    for (unsigned i = 0; i < port->legs_count; i++)
        if (port->legs[i]->layer.device_state != FAR_DEVICE_READY)
            return false;
    return port->legs_count > 0;
}

/* Never from the guest's memory, though it could be found there: sources trust
 * us. Killed in between, the sequence is 0, and nothing is presumed. */
static void keep_received(struct leg *leg)
{
    if (leg->kept->incarnation != leg->incarnation) {
        __atomic_store_n(&leg->kept->received, 0, __ATOMIC_RELEASE);
        __atomic_store_n(&leg->kept->incarnation, leg->incarnation,
                         __ATOMIC_RELEASE);
    }
    __atomic_store_n(&leg->kept->received, leg->received, __ATOMIC_RELEASE);
}

static void leg_state(struct far_layer *layer, enum far_device_state state,
                      const struct far_layer_news *news)
{
    struct leg *leg = (struct leg *)(void *)layer;
    struct port *port = leg->port;

    layer->device_state = state;
    if (news && news->ops_lost)
        leg->busy = 0; /* who comes instead states what is high */
    snprintf(leg->reason, sizeof(leg->reason), "%s",
             state != FAR_DEVICE_READY && news && news->reason ? news->reason
                                                               : "");
    if (state == FAR_DEVICE_READY && news &&
        news->incarnation != leg->incarnation) {
        /* Another one: it states what is high. */
        leg->incarnation = news->incarnation;
        leg->received = 0;
        keep_received(leg);
        for (uint32_t i = 0; i < VECTORS; i++) {
            struct vector *v = &port->vectors[i];

            if (v->leg >= LEGS || port->legs[v->leg] != leg || !v->high)
                continue;
            v->high = false;
            if (!port->served || i >= port->vectors_used)
                continue;
            show_high(port, i);
            withdraw(port, i);
        }
    }
    port->a->view.device_ready = all_ready(port);
}

static const struct far_layer_ops leg_ops = {
    .name = "intc-port",
    .complete = leg_complete,
    .interrupt = leg_interrupt,
    .state = leg_state,
    .room = leg_room,
};

/* --- the guest's side -----------------------------------------------------
 */

static void end_of_interrupt(struct port *port, uint32_t vector)
{
    struct vector *v = &port->vectors[vector];

    if (!v->level || !v->in_service || is_pending(port, vector)) {
        port->wrong_eois++;
        return;
    }
    port->eois++;
    v->in_service = false;
    if (!v->high)
        return;
    if (v->resample) {
        v->high = false;
        show_high(port, vector);
        port->ends[vector / 64] |= bit_of(vector);
        settle_soon(port);
    } else {
        raise_vector(port, vector);
    }
}

/* True: there were any. */
static bool take_ends(struct port *port)
{
    struct farintc_page *page = port->page;
    uint64_t words;
    bool any = false;

    if (!__atomic_load_n(&page->eoi_words, __ATOMIC_ACQUIRE))
        return false;
    words = __atomic_exchange_n(&page->eoi_words, 0, __ATOMIC_SEQ_CST) &
            (((uint64_t)1 << WORDS) - 1);
    for (; words; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctzll(words);
        uint64_t bits =
            __atomic_exchange_n(&page->eoi[word], 0, __ATOMIC_SEQ_CST);

        for (; bits; bits &= bits - 1) {
            uint32_t vector = word * 64 + (uint32_t)__builtin_ctzll(bits);

            if (vector < port->vectors_used)
                end_of_interrupt(port, vector);
            any = true;
        }
    }
    return any;
}

/* Other limits or another place for what is pending. */
static void set(struct port *port, const struct farintc_request *request)
{
    struct vector *v = &port->vectors[request->vector];
    struct far_line_limits wanted = { .per_second = request->per_second,
                                      .coalesce_events = request->together,
                                      .coalesce_ns = request->wait_ns };
    uint32_t word = request->vector / 64;
    uint8_t from = v->priority;

    v->limits = far_intc_stricter(&v->conf, &wanted);
    v->channel = (uint8_t)request->channel;
    v->priority = (uint8_t)request->priority;
    show_slot(port, request->vector);
    if (from != v->priority &&
        __atomic_fetch_and(&port->page->pending[from][word],
                           ~bit_of(request->vector), __ATOMIC_SEQ_CST) &
            bit_of(request->vector))
        inject(port, request->vector);
    if (v->state.raised)
        ask(port, request->vector, far_now_ns());
}

static void serve_request(struct port *port,
                          const struct farintc_request *request)
{
    struct farintc_response response = { .id = request->id,
                                         .operation = request->operation };
    const struct vector *v;

    response.status =
        far_intc_request(request, port->vectors_used, port->channels);
    if (response.status) {
        port->wrong_requests++;
    } else if (request->operation == FARINTC_OP_SET) {
        port->sets[request->vector] = *request;
        set(port, request);
    } else if (request->operation == FARINTC_OP_ASK) {
        v = &port->vectors[request->vector];
        if (v->leg < LEGS)
            response.value =
                FARINTC_ASK_ROUTED |
                (port->legs[v->leg]->layer.device_state == FAR_DEVICE_READY
                     ? FARINTC_ASK_THERE
                     : 0u);
    }
    far_ring_answer(&port->ring, &response);
}

/* True: there may be more. */
static bool take_requests(struct port *port)
{
    struct farintc_request request;
    unsigned budget = REQUESTS_A_TURN;
    int r = 0;

    while (budget-- && (r = far_ring_request(&port->ring, &request)) > 0) {
        serve_request(port, &request);
        port->requests++;
        far_ring_took(&port->ring);
    }
    if (r < 0)
        far_own_broken(port->a, &port->own,
                       "more requests than its ring holds");
    return r > 0;
}

static struct far_line *line_of(struct port *port, unsigned channel)
{
    return channel ? &port->extra[channel - 1].line : &port->a->line;
}

/* The end of a turn in which something was done. */
static void settle(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, settle, defer);
    uint32_t tell;
    bool more;

    if (!port->served || port->own.broken)
        return;
    more = take_requests(port);
    if (take_ends(port))
        more = true; /* in the next turn: others want to be served, too */
    tell_sources(port);
    if (!more && !port->own.front_cpu && !far_ring_back_arm(&port->ring))
        more = true;
    tell = far_own_guest_looks(&port->own) ? 0 : port->tell;
    port->tell = 0;
    if (far_ring_back_push(&port->ring))
        tell |= 1;
    for (; tell; tell &= tell - 1) {
        port->notifies++;
        (void)far_line_raise(line_of(port, (unsigned)__builtin_ctz(tell)));
    }
    for (unsigned i = 0; i < port->legs_count; i++)
        if (port->legs[i]->news) {
            port->legs[i]->news = 0;
            keep_received(port->legs[i]);
            far_layer_ack(port->legs[i]->bottom, port->legs[i]->received);
        }
    if (more)
        settle_soon(port);
}

static bool look(struct port *port)
{
    uint64_t requests = port->requests;

    (void)take_requests(port);
    return take_ends(port) || requests != port->requests;
}

static enum far_evtchn_verdict woken(struct port *port)
{
    bool any;

    port->wakes++;
    if (!port->served || port->own.broken)
        return FAR_EVTCHN_BROKEN;
    any = look(port);
    settle_soon(port);
    if (port->own.broken)
        return FAR_EVTCHN_BROKEN;
    if (any)
        return FAR_EVTCHN_WORKED;
    port->spurious++;
    return FAR_EVTCHN_SPURIOUS;
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    return woken(CONTAINER(struct port, own.evtchn, evtchn));
}

static enum far_evtchn_verdict extra_fired(struct far_evtchn *evtchn)
{
    return woken(CONTAINER(struct channel, evtchn, evtchn)->port);
}

static bool poll_pages(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, own.poller, poller);

    if (!port->served || port->own.broken || !look(port))
        return false;
    settle_soon(port);
    return true;
}

static bool poll_arm(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, own.poller, poller);

    if (!port->served || port->own.broken)
        return true;
    far_own_looks(&port->own, false);
    return !__atomic_load_n(&port->page->eoi_words, __ATOMIC_ACQUIRE) &&
           far_ring_back_arm(&port->ring);
}

/* --- sources -----------------------------------------------------------------
 */

/* What the controller is made of: the lines of one device, or what a section
 * of type vectors says. */
static int read_routes(const struct port *port,
                       struct far_intc_source routes[LEGS], unsigned *n,
                       struct far_error *error)
{
    const struct far_backend *backend = port->a->backend;
    const struct far_address *address = &port->chain.address;
    const struct far_conf_section *s = NULL;
    const struct far_conf_entry *e = NULL;
    struct far_error why;

    memset(routes, 0, LEGS * sizeof(*routes));
    *n = 0;
    if (!address->platform[0] || !strcmp(address->platform, backend->platform))
        s = far_conf_section(backend->conf, "device", address->device);
    if (strcmp(far_conf_string(s, "type", ""), "vectors") ||
        far_device_is_exported(backend->conf, address->device)) {
        routes[0].count = VECTORS;
        routes[0].class = FAR_CLASS_INTC;
        routes[0].priority = FARINTC_PRIORITIES / 2;
        far_chain_address_text(&port->chain, routes[0].address,
                               sizeof(routes[0].address));
        *n = 1;
        return 0;
    }
    while ((e = far_conf_entry(s, "source", e))) {
        if (*n == LEGS)
            return far_error(error, -E2BIG,
                             "[device %s] has more than %u sources",
                             address->device, LEGS);
        if (far_intc_source_parse(&routes[*n], e->value, &why))
            return far_error(error, -EINVAL, "[device %s] source = %s: %s",
                             address->device, e->value, why.text);
        for (unsigned i = 0; i < *n; i++)
            if (routes[i].first < routes[*n].first + routes[*n].count &&
                routes[*n].first < routes[i].first + routes[i].count)
                return far_error(error, -EINVAL,
                                 "[device %s] source = %s: a vector has one "
                                 "source, and source = %u … has it",
                                 address->device, e->value, routes[i].first);
        ++*n;
    }
    return 0;
}

static bool is_kept(const struct annex_leg *kept,
                    const struct far_intc_source *route)
{
    return kept->attachment && !route->notices &&
           kept->class == (uint32_t)route->class &&
           !strncmp(kept->address, route->address, FAR_CHAIN_ADDRESS_BYTES);
}

/* As a predecessor left it, or a new one: there is room for all routes. */
static struct annex_leg *kept_of(struct port *port,
                                 const struct far_intc_source *route)
{
    struct annex_leg *legs = port->annex->legs;
    unsigned at = 0;

    while (at < LEGS && !is_kept(&legs[at], route))
        at++;
    if (at < LEGS)
        return &legs[at];
    for (at = 0; legs[at].attachment; at++)
        ;
    legs[at] = (struct annex_leg){ .class = (uint32_t)route->class };
    snprintf(legs[at].address, sizeof(legs[at].address), "%s", route->address);
    __atomic_store_n(&legs[at].attachment,
                     far_journal_attachment(port->a->backend->journal),
                     __ATOMIC_RELEASE);
    return &legs[at];
}

static struct leg *leg_new(struct port *port,
                           const struct far_intc_source *route)
{
    struct far_attachment *a = port->a;
    struct leg *leg = calloc(1, sizeof(*leg));

    if (!leg)
        return NULL;
    leg->layer.ops = &leg_ops;
    leg->port = port;
    (void)far_address_parse(&leg->address, route->address, NULL);
    if (route->notices) {
        leg->layer.device_state = FAR_DEVICE_READY; /* nobody knows better */
        return leg;
    }
    leg->who = a->record->who;
    leg->who.class = (uint32_t)route->class;
    /* not taken for a device of that class which the guest has itself */
    if (route->class != FAR_CLASS_INTC)
        leg->who.guest_devid += FAR_GUEST_DEVICES_MAX;
    far_chain_fill_who(a->backend, &leg->address, &leg->who);
    leg->kept = kept_of(port, route);
    leg->who.attachment = leg->kept->attachment;
    leg->incarnation = leg->kept->incarnation;
    leg->received = leg->kept->received;
    /* never back, also over restarts: sequences are a slot's for good */
    leg->sequence = far_now_ns();
    leg->binding = far_chain_bottom(a->backend, &leg->address, &leg->who,
                                    leg->absent, &leg->bottom);
    if (!leg->bottom) {
        free(leg);
        return NULL;
    }
    far_layer_stack(&leg->layer, leg->bottom);
    return leg;
}

/* What a predecessor with another configuration had. */
static void forget_others(struct port *port,
                          const struct far_intc_source *routes, unsigned n)
{
    for (unsigned at = 0; at < LEGS; at++) {
        unsigned i;

        for (i = 0; i < n && !is_kept(&port->annex->legs[at], &routes[i]); i++)
            ;
        if (i == n)
            __atomic_store_n(&port->annex->legs[at].attachment, 0,
                             __ATOMIC_RELEASE);
    }
}

static void close_legs(struct port *port)
{
    for (unsigned i = 0; i < port->legs_count; i++) {
        far_layer_close(port->legs[i]->bottom);
        free(port->legs[i]);
        port->legs[i] = NULL;
    }
    port->legs_count = port->routes_count = 0;
    memset(port->ends, 0, sizeof(port->ends));
    for (uint32_t i = 0; i < VECTORS; i++)
        port->vectors[i] =
            (struct vector){ .leg = LEGS,
                             .priority = FARINTC_PRIORITIES / 2,
                             .conf_priority = FARINTC_PRIORITIES / 2 };
    far_journal_annex_close(port->annex, sizeof(*port->annex));
    port->annex = NULL;
}

static void route_vectors(struct port *port,
                          const struct far_intc_source *route, unsigned leg)
{
    for (uint32_t i = 0; i < route->count; i++) {
        struct vector *v = &port->vectors[route->first + i];

        v->leg = (uint8_t)leg;
        v->line = route->line + i;
        v->source = far_intc_source_id(route, v->line);
        v->priority = v->conf_priority = (uint8_t)route->priority;
        v->conf =
            (struct far_line_limits){ .per_second = route->max_per_s,
                                      .coalesce_events = route->together,
                                      .coalesce_ns = route->wait_us * 1000 };
        v->limits = v->conf;
    }
}

/* A notice may have been noted and no more. */
static void mend_annex(struct port *port)
{
    struct annex *annex = port->annex;
    struct far_journal_state state;
    struct own own;

    if (far_journal_last(port->a->record, &state))
        return;
    memcpy(&own, state.own, sizeof(own));
    far_notify_adopt(port->a->guest, &own.marks);
    if (own.epoch && own.epoch == annex->epoch && own.vector < VECTORS &&
        annex->noticed[own.vector] < own.noticed)
        annex->noticed[own.vector] = own.noticed;
}

static int open_annex(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    bool make = false;

    do {
        port->annex =
            far_journal_annex(a->backend->journal, a->record, ANNEX_VERSION,
                              sizeof(*port->annex), make);
    } while (!port->annex && (make = !make));
    if (!port->annex)
        return far_error(error, -errno, "the journal can't grow: %s",
                         strerror(errno));
    /* killed before it had one: there was no notice yet */
    while (!port->annex->epoch)
        if (getrandom(&port->annex->epoch, sizeof(port->annex->epoch), 0) < 0 &&
            errno != EINTR)
            port->annex->epoch = far_now_ns();
    mend_annex(port);
    return 0;
}

static int open_legs(struct port *port, struct far_error *error)
{
    struct far_intc_source routes[LEGS];
    unsigned n, leg;
    int r = read_routes(port, routes, &n, error);

    if (r || port->legs_count)
        return r;
    r = open_annex(port, error);
    if (r)
        return r;
    forget_others(port, routes, n);
    memcpy(port->routes, routes, sizeof(routes));
    for (unsigned i = 0; i < n; i++) {
        for (leg = 0; leg < port->legs_count && !goes_to(port, leg, &routes[i]);
             leg++)
            ;
        if (leg == port->legs_count) {
            port->legs[leg] = leg_new(port, &routes[i]);
            if (!port->legs[leg]) {
                close_legs(port);
                return far_error(error, -ENOMEM, "memory is out");
            }
            port->legs_count++;
        }
        route_vectors(port, &routes[i], leg);
    }
    port->routes_count = n;
    return 0;
}

static void activate(struct port *port)
{
    for (unsigned i = 0; i < port->legs_count; i++) {
        struct leg *leg = port->legs[i];

        if (!leg->bottom)
            continue;
        far_layer_activate(leg->bottom, leg->received ? leg->incarnation : 0,
                           leg->received);
        far_layer_resume(leg->bottom);
    }
}

/* --- notices ----------------------------------------------------------------
 */

static bool is_sender(const struct port *port, const struct leg *leg,
                      const struct far_notice *notice)
{
    const char *platform = leg->address.platform;

    if (!platform[0])
        platform = port->a->backend->platform;
    return !leg->bottom && !strcmp(platform, notice->platform) &&
           !strcmp(leg->address.device, notice->device);
}

/* The vector that a notice is for; VECTORS: none. */
static uint32_t noticed_vector(const struct port *port,
                               const struct far_notice *notice)
{
    struct far_intc_args args;

    memcpy(&args, notice->op.args, sizeof(args));
    for (unsigned i = 0; i < port->routes_count; i++) {
        const struct far_intc_source *route = &port->routes[i];

        if (args.line - route->line < route->count &&
            is_sender(port, port->legs[port->vectors[route->first].leg],
                      notice))
            return route->first + (args.line - route->line);
    }
    return VECTORS;
}

/* The order: the sender's mark and the new number by one note; then where the
 * number is looked for; then the guest. */
static int intc_notify(struct far_attachment *a,
                       const struct far_notice *notice, struct far_error *error)
{
    struct port *port = port_of(a);
    struct far_intc_args args = { 0 };
    struct far_journal_state state = { 0 };
    struct own own = { .marks = a->guest->marks };
    uint32_t vector;

    if (!port || !port->annex)
        return -EAGAIN; /* soon: we have just begun */
    vector = noticed_vector(port, notice);
    if (vector == VECTORS)
        return far_error(error, -ENXIO,
                         "no vector of %s is for notices of %s/%s and that "
                         "line (source = VECTOR notices %s/%s)",
                         a->guest->name, notice->platform, notice->device,
                         notice->platform, notice->device);
    if (!port->served || port->own.broken)
        return port->annex->served
                   ? -EAGAIN
                   : far_error(error, -ENXIO,
                               "%s has no driver at its interrupt controller",
                               a->guest->name);
    if (vector >= port->vectors_used)
        return far_error(error, -ENXIO, "%s does not use its vector %u",
                         a->guest->name, vector);
    own.vector = vector;
    own.epoch = args.epoch = port->annex->epoch;
    own.noticed = args.total = port->annex->noticed[vector] + 1;
    memcpy(state.own, &own, sizeof(own));
    far_journal_note(a->record, &state);
    __atomic_store_n(&port->annex->noticed[vector], args.total,
                     __ATOMIC_RELEASE);
    port->notices++;
    line_said(port, vector, &args);
    settle_soon(port);
    return 0;
}

/* --- the port's table --------------------------------------------------------
 */

static int write_nodes(struct far_attachment *a, far_xs_t t,
                       const struct far_own *own)
{
    int r = far_own_write(a, t, FAR_NODE_OWN_BACK_MAX_VECTORS, VECTORS);

    (void)own;
    return r ? r
             : far_own_write(a, t, FAR_NODE_OWN_BACK_MAX_CHANNELS,
                             FARINTC_CHANNELS_MAX);
}

static int intc_publish(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    bool changed;
    int r;

    if (!port) {
        port = calloc(1, sizeof(*port));
        if (!port)
            return far_error(error, -ENOMEM, "memory is out");
        port->a = port->chain.a = a;
        far_timer_init(&port->later, a->backend->loop, later);
        for (unsigned i = 0; i < FARINTC_CHANNELS_MAX - 1; i++)
            port->extra[i].port = port;
        a->port = port;
        close_legs(port);
    }
    r = far_own_publish(a, &port->own, write_nodes, error);
    if (!r)
        r = far_chain_order(&port->chain, "address", port->own.back.address,
                            error);
    if (!r)
        r = far_chain_record(&port->chain, &changed, error);
    if (r)
        return r;
    if (changed)
        close_legs(port);
    return open_legs(port, error);
}

static void unserve(struct port *port)
{
    port->served = false;
    far_defer_cancel(port->a->backend->loop, &port->settle);
    far_timer_cancel(&port->later);
    memset(port->waiting, 0, sizeof(port->waiting));
    memset(port->ends, 0, sizeof(port->ends));
    for (unsigned i = 0; i < FARINTC_CHANNELS_MAX - 1; i++) {
        far_line_disconnect(&port->extra[i].line);
        far_evtchn_unbind(&port->extra[i].evtchn);
    }
    far_own_unmap(port->a, &port->own);
    port->page = NULL;
    port->slots = NULL;
}

static int bind_extra(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_evtchns *channels = far_guest_channels(a->guest);

    for (unsigned i = 1; i < port->channels; i++) {
        struct channel *c = &port->extra[i - 1];
        uint64_t remote = 0;
        int r = far_xs_read_u64(a->backend->xs, 0, &remote, INT32_MAX,
                                "%s/event-channel-%u", a->front, i);

        if (!r)
            r = far_evtchn_bind(channels, &c->evtchn, (uint32_t)remote,
                                extra_fired);
        if (r)
            return far_error(error, r,
                             "the guest's event-channel-%u can't be bound: %s",
                             i, strerror(-r));
        far_line_connect(&c->line, a->backend->loop, &c->evtchn,
                         &a->line.limits);
    }
    return 0;
}

/* What the guest's memory and the sources say becomes one. */
static void begin(struct port *port)
{
    for (uint32_t w = 0; w < WORDS; w++)
        __atomic_store_n(&port->page->high[w], 0, __ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < port->vectors_used; i++) {
        struct vector *v = &port->vectors[i];
        struct farintc_slot *slot = &port->slots[i];

        v->count.count = __atomic_load_n(&slot->count, __ATOMIC_RELAXED);
        v->count.base = __atomic_load_n(&slot->base, __ATOMIC_RELAXED);
        v->count.epoch = __atomic_load_n(&slot->epoch, __ATOMIC_RELAXED);
        if (__atomic_load_n(&slot->source, __ATOMIC_RELAXED) != v->source) {
            /* what another one had counted says nothing */
            v->count.epoch = 0;
            __atomic_store_n(&slot->epoch, 0, __ATOMIC_RELEASE);
        }
        v->limits = v->conf;
        v->priority = v->conf_priority;
        v->state = (struct far_line_state){ 0 };
        v->channel = 0;
        v->in_service = false;
        show_slot(port, i);
        if (v->leg < LEGS && !port->legs[v->leg]->bottom) {
            v->epoch = port->annex->epoch;
            v->total = port->annex->noticed[i];
        }
        if (!v->epoch)
            continue; /* the source has not said anything */
        if (count(port, i, true) && !v->level)
            raise_vector(port, i);
        if (v->high) {
            show_high(port, i);
            raise_vector(port, i);
        }
    }
    for (uint32_t i = 0; i < port->vectors_used; i++)
        if (port->sets[i].operation == FARINTC_OP_SET)
            set(port, &port->sets[i]);
}

static int intc_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    struct far_own *own = &port->own;
    int r;

    unserve(port);
    r = far_own_read_front(a, own, error);
    if (r)
        return r;
    port->vectors_used = own->front.vectors;
    port->channels = own->front.channels;
    r = far_own_map_slots(a, own, "vectors-ref",
                          (port->vectors_used + FARINTC_SLOTS_A_PAGE - 1) /
                              FARINTC_SLOTS_A_PAGE,
                          error);
    if (!r)
        r = far_own_map(a, own, fired, error);
    if (!r)
        r = bind_extra(port, error);
    if (r) {
        unserve(port);
        return r;
    }
    port->page = own->control.memory;
    port->slots = own->slots.memory;
    port->own.broken = false;
    port->tell = 0;
    memset(port->sets, 0, sizeof(port->sets));
    far_ring_attach(&port->ring, own->ring.memory, FAR_PAGE_BYTES,
                    sizeof(struct farintc_request));
    port->served = true;
    port->annex->served = 1;
    begin(port);
    far_own_look(a, &port->own, &port->page->front_cpu, &port->page->back_cpu,
                 poll_pages, poll_arm, NULL);
    settle_soon(port);
    activate(port);
    far_notify_room(a->guest);
    return 0;
}

static void intc_disconnect(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    if (port->served && port->annex && a->record)
        port->annex->served = 0; /* it has no driver any more */
    unserve(port);
}

static void intc_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    close_legs(port);
    a->port = NULL;
    free(port);
}

static bool sources_changed(struct port *port)
{
    struct far_intc_source routes[LEGS];
    struct far_error error;
    unsigned n;

    if (read_routes(port, routes, &n, &error) || n != port->routes_count ||
        memcmp(routes, port->routes, sizeof(routes)))
        return true;
    for (unsigned i = 0; i < port->legs_count; i++) {
        const struct leg *leg = port->legs[i];

        if (leg->bottom && leg->binding == FAR_CHAIN_ABSENT)
            return true;
        if (leg->bottom &&
            far_chain_wanted(port->a->backend, &leg->address,
                             (enum far_class)leg->who.class) != leg->binding)
            return true;
    }
    return false;
}

static void intc_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);
    struct far_error error;

    if (!port || !a->record)
        return;
    for (unsigned i = 0; i < FARINTC_CHANNELS_MAX - 1; i++)
        port->extra[i].line.limits = a->line.limits;
    if (!port->legs_count || !sources_changed(port))
        return;
    close_legs(port);
    far_journal_edit(a->record);
    a->record->who.attachment = far_journal_attachment(a->backend->journal);
    far_journal_seal(a->record);
    if (open_legs(port, &error)) {
        port->own.broken = true; /* nothing is looked at any more */
        far_attachment_fail(a, "%s", error.text);
        return;
    }
    port->annex->served = port->served;
    if (port->served) {
        begin(port);
        activate(port);
        settle_soon(port);
    }
}

static bool intc_device_ready(const struct far_attachment *a)
{
    return port_of(a) && all_ready(port_of(a));
}

static json_t *sources_json(const struct port *port, json_t *to)
{
    json_t *sources = json_array(), *one;
    bool said = false;

    for (unsigned i = 0; i < port->routes_count; i++) {
        const struct far_intc_source *route = &port->routes[i];
        const struct leg *leg = port->legs[port->vectors[route->first].leg];
        bool ready = leg->layer.device_state == FAR_DEVICE_READY;
        const char *reason =
            leg->binding == FAR_CHAIN_ABSENT ? leg->absent : leg->reason;

        one =
            json_pack("{s:i s:i s:s s:s s:b s:s}", "vector", (int)route->first,
                      "vectors", (int)route->count, "class",
                      route->notices ? "notices" : far_class_name(route->class),
                      "address", route->address, "there", ready, "reason",
                      ready ? "" : reason);
        if (one && leg->bottom) /* who answered the ends of interrupts */
            json_object_set_new(one, "ops",
                                far_layer_ops_json(leg->bottom, route->class));
        json_array_append_new(sources, one);
        if (!ready && *reason && !said) {
            json_object_set_new(to, "reason", json_string(reason));
            said = true;
        }
    }
    return sources;
}

static void intc_status(const struct far_attachment *a, json_t *to)
{
    const struct port *port = port_of(a);
    json_t *counters = far_chain_status(port ? &port->chain : NULL, to);

    if (!port)
        return;
    json_object_set_new(to, "sources", sources_json(port, to));
    far_count_json(counters, "raised", port->raised);
    far_count_json(counters, "injected", port->injected);
    far_count_json(counters, "merged", port->merged);
    far_count_json(counters, "withdrawn", port->withdrawn);
    far_count_json(counters, "delayed", port->delayed);
    far_count_json(counters, "masked", port->masked);
    far_count_json(counters, "notices", port->notices);
    far_count_json(counters, "eois", port->eois);
    far_count_json(counters, "wrong_eois", port->wrong_eois);
    far_count_json(counters, "requests", port->requests);
    far_count_json(counters, "wrong_requests", port->wrong_requests);
    far_count_json(counters, "notifies", port->notifies);
    far_count_json(counters, "wakes", port->wakes);
    far_count_json(counters, "spurious", port->spurious);
    far_count_json(counters, "foreign", port->foreign);
}

static const char *const intc_kinds[] = { "farintc", NULL };

const struct far_port_type far_port_intc = {
    .kinds = intc_kinds,
    .class = FAR_CLASS_INTC,
    .handshake = FAR_HS_CONNECT_AT_4,
    .mine = far_own_mine,
    .publish = intc_publish,
    .connect = intc_connect,
    .adopt = far_own_adopt,
    .disconnect = intc_disconnect,
    .detach = intc_detach,
    .reload = intc_reload,
    .device_ready = intc_device_ready,
    .notify = intc_notify,
    .status = intc_status,
};
