/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The timer port: fartimer's pages towards a guest (docs/TIMER.md), and the
 * chain of devices behind them. What a slot or a request means is decided in
 * port-timer-checks.c; when a timer is due, in devices/timers.c.
 *
 *   port ── fast timer ── device of this process | local client | absent
 *
 * The slots in the guest's pages are what is armed, so that nothing need be
 * kept for a successor: it reads them. The order is docs/TIMER.md's: what is
 * marked dirty is taken before anything expires and once more after looks_ns
 * was written.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/chain.h"
#include "backend/clock.h"
#include "backend/own.h"
#include "backend/port-timer-checks.h"
#include "core/clock.h"
#include "core/status.h"
#include "devices/fast-timer.h"
#include "devices/timers.h"
#include "xenbus/ring.h"

#define WORDS (FARTIMER_TIMERS_MAX / 64)
/* Slots and requests in one turn: others want to be served too. */
#define SLOTS_A_TURN    512u
#define REQUESTS_A_TURN 128u

struct outside { /* an op that was passed on */
    uint64_t sequence;
    uint16_t id, operation;
    uint32_t timer;
    bool busy, stale; /* stale: of a connection that is over */
    bool quiet;       /* ours: the guest hears no answer */
};

struct port {
    struct far_layer layer; /* top of the chain */
    struct far_attachment *a;
    struct far_layer *fast;
    struct far_chain chain;

    struct far_own own;
    struct fartimer_page *page;  /* the guest's, as long as served */
    struct fartimer_slot *slots; /* the guest's */
    struct far_ring ring;
    struct far_clock_guest clock;
    struct far_defer settle;
    uint32_t timers, timers_made; /* of this connection; of the chain */
    uint64_t *before; /* of each of the chain's timers: expiries that the chain
                         doesn't count */
    uint64_t dirty[WORDS]; /* taken from the page, not looked at yet */
    unsigned dirty_left;   /* bits in it */
    bool served, notify, full;

    uint64_t incarnation, received;
    struct outside outside[FAR_OP_SLOTS_MAX];
    uint64_t outside_busy; /* a bit each */
    uint64_t sequence;
    /* A bit for each timer: armed in the device behind; and not any more, so
     * that what it still says of it is passed over. */
    uint64_t outside_on[WORDS], outside_off[WORDS];

    uint64_t stores, wrong_slots, requests, wrong_requests, expiries, notifies,
        wakes, spurious, foreign, passed_over;
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

static bool bit_get(const uint64_t *bits, uint32_t at)
{
    return bits[at / 64] >> at % 64 & 1;
}

static void bit_put(uint64_t *bits, uint32_t at, bool on)
{
    uint64_t bit = (uint64_t)1 << at % 64;

    bits[at / 64] = on ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

/* --- expiries ----------------------------------------------------------------
 */

static bool port_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct port *port = (struct port *)(void *)layer;
    struct far_timer_expired e;
    struct fartimer_slot *slot;

    memcpy(&e, op->args, sizeof(e));
    if (op->sequence)
        port->received = op->sequence;
    if (op->opcode != FAR_TIMER_EXPIRED || e.timer >= port->timers) {
        port->foreign++;
        return true;
    }
    if (e.arm & FARTIMER_OUTSIDE && bit_get(port->outside_off, e.timer)) {
        port->passed_over++;
        return true;
    }
    if (!port->served)
        return true; /* the slots say it to the next connection */
    slot = &port->slots[e.timer];
    __atomic_store_n(&slot->expired, port->before[e.timer] + e.expired,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&slot->fired_arm, e.arm, __ATOMIC_RELEASE);
    __atomic_fetch_or(&port->page->fired[e.timer / 64],
                      (uint64_t)1 << (e.timer % 64), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&port->page->fired_words[e.timer / 4096],
                      (uint64_t)1 << (e.timer / 64 % 64), __ATOMIC_SEQ_CST);
    port->expiries++;
    port->notify = true;
    settle_soon(port);
    return true;
}

/* --- slots -------------------------------------------------------------------
 */

static int submit(struct port *port, struct far_op *op)
{
    op->attachment = port->a->record->who.attachment;
    return (int)far_layer_submit(port->fast, op, NULL);
}

/* The timer is the device's behind no more: it is told, if there is room for
 * that; if there isn't, what it says of it is passed over. */
static void take_back(struct port *port, uint32_t timer)
{
    struct far_op op = { .opcode = FAR_TIMER_CANCEL };
    struct far_timer_args args = { .timer = timer };

    if (!bit_get(port->outside_on, timer))
        return;
    bit_put(port->outside_on, timer, false);
    bit_put(port->outside_off, timer, true);
    if (port->full || port->outside_busy == UINT64_MAX)
        return;
    op.slot = (uint32_t)__builtin_ctzll(~port->outside_busy);
    op.sequence = ++port->sequence;
    memcpy(op.args, &args, sizeof(args));
    switch (submit(port, &op)) {
    case FAR_DONE:
        break;
    case FAR_LATER:
        port->outside_busy |= (uint64_t)1 << op.slot;
        port->outside[op.slot] = (struct outside){
            .sequence = op.sequence, .timer = timer, .busy = true, .quiet = true
        };
        break;
    default:
        port->full = true;
        break;
    }
}

static void slot_changed(struct port *port, uint32_t timer)
{
    const struct fartimer_slot *shared = &port->slots[timer];
    struct far_op op = { .opcode = FAR_TIMER_CANCEL };
    struct far_timer_args args = { .timer = timer };
    struct fartimer_slot slot;

    /* Once, each field for itself: a slot that is torn is marked once more. */
    slot.deadline_ns = __atomic_load_n(&shared->deadline_ns, __ATOMIC_ACQUIRE);
    slot.period_ns = __atomic_load_n(&shared->period_ns, __ATOMIC_RELAXED);
    slot.arm = __atomic_load_n(&shared->arm, __ATOMIC_RELAXED);
    slot.fired_arm = __atomic_load_n(&shared->fired_arm, __ATOMIC_RELAXED);
    slot.expired = __atomic_load_n(&shared->expired, __ATOMIC_RELAXED);
    port->stores++;
    switch (far_timer_slot(&slot, timer, far_now_ns(), &args,
                           &port->before[timer])) {
    case FAR_SLOT_ARMED:
        op.opcode = FAR_TIMER_ARM;
        break;
    case FAR_SLOT_WRONG:
        port->wrong_slots++;
        break;
    case FAR_SLOT_DISARMED:
        if (slot.arm & FARTIMER_OUTSIDE && slot.deadline_ns)
            return; /* another device's, and no store's business */
        break;
    }
    if (bit_get(port->outside_on, timer)) {
        take_back(port, timer);
        if (op.opcode == FAR_TIMER_CANCEL)
            return;
    }
    if (op.opcode == FAR_TIMER_CANCEL)
        args = (struct far_timer_args){ .timer = timer };
    memcpy(op.args, &args, sizeof(args));
    /* The fast device answers both. */
    (void)submit(port, &op);
}

/* Moves marks from the page here; true if there were any. */
static bool take_marks(struct port *port)
{
    bool any = false;

    for (unsigned i = 0; i < FARTIMER_TIMERS_MAX / 4096; i++) {
        uint64_t *summary = &port->page->dirty_words[i], words;

        if (!__atomic_load_n(summary, __ATOMIC_ACQUIRE))
            continue;
        words = __atomic_exchange_n(summary, 0, __ATOMIC_SEQ_CST);
        while (words) {
            unsigned word = i * 64 + (unsigned)__builtin_ctzll(words);
            uint64_t bits = __atomic_exchange_n(&port->page->dirty[word], 0,
                                                __ATOMIC_SEQ_CST);

            words &= words - 1;
            if (word * 64 >= port->timers)
                continue;
            if (port->timers - word * 64 < 64)
                bits &= ((uint64_t)1 << (port->timers - word * 64)) - 1;
            bits &= ~port->dirty[word];
            port->dirty[word] |= bits;
            port->dirty_left += (unsigned)__builtin_popcountll(bits);
            any = true;
        }
    }
    return any || port->dirty_left;
}

/* False: some are left for the next turn. */
static bool take_slots(struct port *port)
{
    unsigned budget = SLOTS_A_TURN;

    for (unsigned word = 0; port->dirty_left && word < WORDS; word++)
        while (port->dirty[word]) {
            unsigned bit = (unsigned)__builtin_ctzll(port->dirty[word]);

            if (!budget--)
                return false;
            port->dirty[word] &= port->dirty[word] - 1;
            port->dirty_left--;
            slot_changed(port, word * 64 + bit);
        }
    return true;
}

/* --- the ring ----------------------------------------------------------------
 */

static void answer(struct port *port, uint16_t id, uint16_t operation,
                   int32_t status, uint64_t value)
{
    struct fartimer_response response = { .id = id,
                                          .operation = operation,
                                          .status = far_timer_status(status),
                                          .value = value };

    far_ring_answer(&port->ring, &response);
}

/* What was armed through the ring stands in the slot as well. */
static void note_arm(struct port *port, const struct far_op *op)
{
    struct far_timer_args args;
    struct fartimer_slot *slot;

    memcpy(&args, op->args, sizeof(args));
    slot = &port->slots[args.timer];
    port->before[args.timer] = 0;
    __atomic_store_n(&slot->period_ns, args.period_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->arm, args.arm, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->deadline_ns, args.deadline_ns, __ATOMIC_RELEASE);
}

static void done(struct port *port, uint16_t id, uint16_t operation,
                 const struct far_op *op)
{
    if (!op->status && op->opcode == FAR_TIMER_ARM)
        note_arm(port, op);
    if (!op->status && op->opcode == FAR_TIMER_CANCEL) {
        struct far_timer_args args;

        memcpy(&args, op->args, sizeof(args));
        __atomic_store_n(&port->slots[args.timer].deadline_ns, 0,
                         __ATOMIC_RELEASE);
    }
    answer(port, id, operation, op->status, far_timer_value(operation, op));
}

/* One request; false: it must wait, and stays in the ring. */
static bool serve_request(struct port *port,
                          const struct fartimer_request *request)
{
    struct far_op op = { 0 };
    struct far_timer_args args;
    bool outside;
    unsigned slot;
    int r;

    if (request->operation == FARTIMER_OP_TSC) {
        uint64_t error = far_clock_round(&port->clock, request->deadline_ns,
                                         request->period_ns);

        answer(port, request->id, request->operation,
               port->clock.clock ? 0 : -EOPNOTSUPP, error);
        return true;
    }
    r = far_timer_request(request, port->timers, &op);
    if (r) {
        port->wrong_requests++;
        answer(port, request->id, request->operation, r, 0);
        return true;
    }
    memcpy(&args, op.args, sizeof(args));
    outside = op.opcode == FAR_TIMER_ARM && args.flags & FAR_TIMER_OUTSIDE;
    if (op.opcode == FAR_TIMER_ARM && !outside)
        take_back(port, args.timer);
    if (port->outside_busy == UINT64_MAX)
        return false;
    if (outside || op.opcode == FAR_TIMER_CANCEL) {
        bit_put(port->outside_on, args.timer, outside);
        bit_put(port->outside_off, args.timer, !outside);
    }
    slot = (unsigned)__builtin_ctzll(~port->outside_busy);
    op.slot = slot;
    op.sequence = ++port->sequence;
    switch (submit(port, &op)) {
    case FAR_DONE:
        done(port, request->id, request->operation, &op);
        return true;
    case FAR_LATER:
        if (outside) /* not armed by the slot any more */
            __atomic_store_n(&port->slots[args.timer].deadline_ns, 0,
                             __ATOMIC_RELEASE);
        port->outside_busy |= (uint64_t)1 << slot;
        port->outside[slot] = (struct outside){ .sequence = op.sequence,
                                                .id = request->id,
                                                .operation = request->operation,
                                                .timer = args.timer,
                                                .busy = true };
        return true;
    default:
        port->full = true;
        return false;
    }
}

/* True: there may be more. */
static bool take_requests(struct port *port)
{
    struct fartimer_request request;
    unsigned budget = REQUESTS_A_TURN;
    int r = 0;

    if (port->full)
        return false;
    while (budget-- && (r = far_ring_request(&port->ring, &request)) > 0) {
        if (!serve_request(port, &request))
            return false;
        port->requests++;
        far_ring_took(&port->ring);
    }
    if (r < 0)
        far_own_broken(port->a, &port->own,
                       "more requests than its ring holds");
    return r > 0;
}

static void port_complete(struct far_layer *layer, const struct far_op *op)
{
    struct port *port = (struct port *)(void *)layer;
    struct outside *o;

    if (op->slot >= FAR_OP_SLOTS_MAX)
        return;
    o = &port->outside[op->slot];
    if (!o->busy || o->sequence != op->sequence) {
        port->foreign++;
        return;
    }
    o->busy = false;
    port->outside_busy &= ~((uint64_t)1 << op->slot);
    if (!port->served || o->stale)
        return;
    if (o->quiet) {
        settle_soon(port); /* there is room for a request */
        return;
    }
    /* Nothing that comes from there is believed but for its value. */
    answer(port, o->id, o->operation, op->status,
           far_timer_value(o->operation, op));
    settle_soon(port);
}

static void port_room(struct far_layer *layer)
{
    struct port *port = (struct port *)(void *)layer;

    port->full = false;
    if (port->served)
        settle_soon(port);
}

/* Nobody answers them any more. */
static void lose_outside(struct port *port)
{
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++) {
        struct outside *o = &port->outside[i];

        if (o->busy && !o->stale && !o->quiet && port->served)
            answer(port, o->id, o->operation, -EIO, 0);
        *o = (struct outside){ 0 };
    }
    port->outside_busy = 0;
    if (port->served)
        settle_soon(port);
}

static void port_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct port *port = (struct port *)(void *)layer;

    layer->device_state = state;
    if (news && news->ops_lost)
        lose_outside(port);
    if (state == FAR_DEVICE_READY && news &&
        news->incarnation != port->incarnation) {
        port->incarnation = news->incarnation;
        port->received = 0;
    }
    port->a->view.device_ready = state == FAR_DEVICE_READY;
}

static const struct far_layer_ops port_ops = {
    .name = "timer-port",
    .complete = port_complete,
    .interrupt = port_interrupt,
    .state = port_state,
    .room = port_room,
};

/* --- looking ------------------------------------------------------------- */

/* Requests stay in the ring until an outside device has answered. */
static bool waits(const struct port *port)
{
    return port->full || port->outside_busy == UINT64_MAX;
}

static void looks_at(struct port *port, uint64_t ns)
{
    __atomic_store_n(&port->page->looks_ns, ns, __ATOMIC_SEQ_CST);
    atomic_thread_fence(memory_order_seq_cst);
}

/* The end of a turn in which something was done: takes what is there, says
 * when it will look next, notifies once. */
static void settle(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, settle, defer);
    bool more = false, push;

    if (!port->served || port->own.broken)
        return;
    more = take_requests(port);
    if (take_marks(port) && !take_slots(port))
        more = true;
    if (!more && !port->own.front_cpu) {
        looks_at(port, far_fast_timer_next(port->fast));
        /* Looked at in the next turn: a guest that marks as fast as we look
         * must not keep this one from ending. */
        more = take_marks(port);
        if (!far_ring_back_arm(&port->ring) && !waits(port))
            more = true;
    }
    push = far_ring_back_push(&port->ring);
    if (port->notify && !far_own_guest_looks(&port->own))
        push = true;
    port->notify = false;
    if (push) {
        port->notifies++;
        (void)far_line_raise(&port->a->line);
    }
    if (port->received)
        far_layer_ack(port->fast, port->received);
    if (more)
        settle_soon(port);
}

/* Has the guest asked for anything? */
static bool look(struct port *port)
{
    uint64_t stores = port->stores, requests = port->requests;

    (void)take_requests(port);
    if (take_marks(port))
        (void)take_slots(port);
    return stores != port->stores || requests != port->requests;
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct port *port = CONTAINER(struct port, own.evtchn, evtchn);
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

/* Before anything expires: a cancel that was stored in time counts. */
static void before_look(struct far_layer *above)
{
    struct port *port = (struct port *)(void *)above;

    if (port->served && !port->own.broken && take_marks(port)) {
        (void)take_slots(port);
        settle_soon(port);
    }
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
    looks_at(port, far_fast_timer_next(port->fast));
    if (__atomic_load_n(&port->page->dirty_words[0], __ATOMIC_RELAXED) ||
        __atomic_load_n(&port->page->dirty_words[1], __ATOMIC_RELAXED))
        return false;
    return far_ring_back_arm(&port->ring) || waits(port);
}

static void poll_disarm(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, own.poller, poller);

    if (!port->served || port->own.broken)
        return;
    __atomic_store_n(&port->page->looks_ns, 0, __ATOMIC_RELAXED);
    far_own_looks(&port->own, true);
}

/* --- the chain ------------------------------------------------------------ */

static void close_chain(struct port *port)
{
    far_layer_close(port->fast);
    port->fast = NULL;
    port->layer.below = NULL;
    port->layer.device_state = FAR_DEVICE_GONE;
    port->chain.binding = FAR_CHAIN_NONE;
    memset(port->outside, 0, sizeof(port->outside));
    port->outside_busy = 0;
    memset(port->outside_on, 0, sizeof(port->outside_on));
    memset(port->outside_off, 0, sizeof(port->outside_off));
    port->full = false;
}

static int open_chain(struct port *port, struct far_error *error)
{
    uint32_t timers = port->own.back.max_timers;
    struct far_layer *bottom;

    if (port->fast)
        return 0;
    if (port->timers_made != timers) {
        free(port->before);
        port->before = calloc(timers, sizeof(*port->before));
        port->timers_made = port->before ? timers : 0;
    }
    port->fast = far_fast_timer_new(port->a->backend->loop, timers);
    if (!port->fast || !port->before || far_chain_open(&port->chain, &bottom)) {
        far_layer_close(port->fast);
        port->fast = NULL;
        port->chain.binding = FAR_CHAIN_NONE;
        return far_error(error, -ENOMEM, "memory is out");
    }
    far_fast_timer_before(port->fast, before_look);
    far_layer_stack(port->fast, bottom);
    far_layer_stack(&port->layer, port->fast);
    return 0;
}

static void activate(struct port *port)
{
    far_layer_activate(port->fast, port->received ? port->incarnation : 0,
                       port->received);
    far_layer_resume(port->fast);
}

/* --- the port's table --------------------------------------------------------
 */

static int write_nodes(struct far_attachment *a, far_xs_t t,
                       const struct far_own *own)
{
    return far_own_write(a, t, FAR_NODE_OWN_BACK_MAX_TIMERS,
                         own->back.max_timers);
}

static int timer_publish(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    bool changed;
    int r;

    if (!port) {
        port = calloc(1, sizeof(*port));
        if (!port)
            return far_error(error, -ENOMEM, "memory is out");
        port->layer.ops = &port_ops;
        port->a = port->chain.a = a;
        /* never back, also over restarts: sequences are a slot's for good */
        port->sequence = far_now_ns();
        a->port = port;
    }
    r = far_own_publish(a, &port->own, write_nodes, error);
    if (!r)
        r = far_chain_order(&port->chain, "address", port->own.back.address,
                            error);
    if (!r)
        r = far_chain_record(&port->chain, &changed, error);
    if (r)
        return r;
    /* max-timers is the toolstack's to change: the chain holds so many */
    if (changed || port->timers_made != port->own.back.max_timers)
        close_chain(port);
    return open_chain(port, error);
}

static void unserve(struct port *port)
{
    port->served = false;
    far_defer_cancel(port->a->backend->loop, &port->settle);
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++)
        port->outside[i].stale = true;
    far_clock_leave(&port->clock);
    far_own_unmap(port->a, &port->own);
    port->page = NULL;
    port->slots = NULL;
}

static int timer_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    struct far_own *own = &port->own;
    int r;

    unserve(port);
    r = far_own_read_front(a, own, error);
    if (r)
        return r;
    if (own->front.timers > port->timers_made)
        return far_error(error, -EINVAL,
                         "the guest wants %u timers, and may have %u",
                         own->front.timers, port->timers_made);
    port->timers = own->front.timers;
    r = far_own_map_slots(a, own, "timers-ref",
                          (port->timers + FARTIMER_SLOTS_A_PAGE - 1) /
                              FARTIMER_SLOTS_A_PAGE,
                          error);
    if (!r)
        r = far_own_map(a, own, fired, error);
    if (r) {
        unserve(port);
        return r;
    }
    port->page = own->control.memory;
    port->slots = own->slots.memory;
    port->own.broken = port->full = port->notify = false;
    far_ring_attach(&port->ring, own->ring.memory, FAR_PAGE_BYTES,
                    sizeof(struct fartimer_request));
    if (a->backend->clock)
        far_clock_join(a->backend->clock, &port->clock, &port->page->clock);
    /* What it armed for somebody before us is armed; what we armed for somebody
     * before it is not. */
    far_fast_timer_reset(port->fast);
    memset(port->outside_on, 0, sizeof(port->outside_on));
    memset(port->outside_off, 0, sizeof(port->outside_off));
    memset(port->dirty, 0, sizeof(port->dirty));
    for (uint32_t i = 0; i < port->timers; i++)
        port->dirty[i / 64] |= (uint64_t)1 << (i % 64);
    port->dirty_left = port->timers;
    port->served = true;
    far_own_look(a, &port->own, &port->page->front_cpu, &port->page->back_cpu,
                 poll_pages, poll_arm, poll_disarm);
    settle_soon(port);
    activate(port);
    return 0;
}

static void timer_disconnect(struct far_attachment *a)
{
    if (port_of(a))
        unserve(port_of(a));
}

static void timer_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    close_chain(port);
    a->port = NULL;
    free(port->before);
    free(port);
}

static void timer_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);
    struct far_error error;

    if (!port || !port->fast || !a->record || !far_chain_renew(&port->chain))
        return;
    close_chain(port);
    if (open_chain(port, &error)) {
        port->own.broken = true; /* nothing is looked at any more */
        far_attachment_fail(a, "%s", error.text);
        return;
    }
    if (port->served) {
        /* as at a connection: the chain knows nothing of what is armed */
        for (uint32_t i = 0; i < port->timers; i++)
            port->dirty[i / 64] |= (uint64_t)1 << (i % 64);
        port->dirty_left = port->timers;
        activate(port);
        settle_soon(port);
    }
}

static bool timer_device_ready(const struct far_attachment *a)
{
    return port_of(a) && port_of(a)->layer.device_state == FAR_DEVICE_READY;
}

static void timer_status(const struct far_attachment *a, json_t *to)
{
    const struct port *port = port_of(a);
    json_t *counters = far_chain_status(port ? &port->chain : NULL, to),
           *latency = json_object_get(to, "latency");

    if (!port)
        return;
    far_count_json(counters, "stores", port->stores);
    far_count_json(counters, "wrong_slots", port->wrong_slots);
    far_count_json(counters, "requests", port->requests);
    far_count_json(counters, "wrong_requests", port->wrong_requests);
    far_count_json(counters, "expiries", port->expiries);
    far_count_json(counters, "notifies", port->notifies);
    far_count_json(counters, "wakes", port->wakes);
    far_count_json(counters, "spurious", port->spurious);
    far_count_json(counters, "foreign", port->foreign);
    far_count_json(counters, "passed_over", port->passed_over);
    far_count_json(counters, "clock_rounds", port->clock.offset.rounds);
    far_count_json(counters, "clock_contradictions",
                   port->clock.offset.contradictions);
    if (!port->fast)
        return;
    json_object_set_new(to, "ops",
                        far_layer_ops_json(port->fast, FAR_CLASS_TIMER));
    json_object_set_new(
        latency, "late",
        far_hist_json(&far_fast_timer_counters(port->fast)->late));
}

static const char *const timer_kinds[] = { "fartimer", NULL };

const struct far_port_type far_port_timer = {
    .kinds = timer_kinds,
    .class = FAR_CLASS_TIMER,
    .handshake = FAR_HS_CONNECT_AT_4, /* as xenbus' simplest fronts go */
    .mine = far_own_mine,
    .publish = timer_publish,
    .connect = timer_connect,
    .adopt = far_own_adopt,
    .disconnect = timer_disconnect,
    .detach = timer_detach,
    .reload = timer_reload,
    .device_ready = timer_device_ready,
    .status = timer_status,
};
