/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The stream port: farstream's page and rings towards a guest (docs/STREAM.md)
 * and the stream behind them, here or on another machine. What the guest writes
 * stays in its ring until the other end has it, so a successor goes on from
 * the indexes there; all that the journal adds is which connection it is.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/io/libxenvchan.h>
#include "backend/chain.h"
#include "backend/own.h"
#include "backend/port-stream-checks.h"
#include "core/clock.h"
#include "core/status.h"
#include "core/stream.h"
#include "core/uuid.h"

static_assert(sizeof(struct vchan_interface) == 24 &&
                  offsetof(struct vchan_interface, right) == 8 &&
                  offsetof(struct vchan_interface, left_order) == 16 &&
                  offsetof(struct vchan_interface, cli_live) == 20 &&
                  offsetof(struct vchan_interface, cli_notify) == 22,
              "the layout is a contract");

enum { CONNECT, CLOSE, READ, WRITE, SLOTS = WRITE + FAR_STREAM_WRITES };
/* Ops wait long, and those of a dead predecessor may come to the device after
 * our first: each process has slots that the one before it had not. */
#define BANK_SLOTS 8u
#define BANKS      (FAR_OP_SLOTS_MAX / BANK_SLOTS)
static_assert(SLOTS <= BANK_SLOTS, "");
#define ROOM_BYTES ((size_t)SLOTS * FAR_STREAM_PAYLOAD_MAX)
/* As long as a server keeps a session whose client it does not hear of. */
#define PATIENCE_US 120000000u

enum op_state { FREE, BUSY, AGAIN, DONE };

struct given {
    enum op_state state;
    bool stale; /* of a connection that is over: only its end is waited for */
    uint16_t opcode;
    uint32_t offset, bytes;
    uint64_t sequence;
    void *payload;
};

/* A ring in the guest's pages. */
struct ring {
    struct ring_shared *shared;
    uint8_t *data;
    uint32_t bytes;
    struct far_grant_map map; /* not mapped: it lies in the control page */
};

enum phase {
    NOBODY,     /* there is no connection */
    CONNECTING, /* the other end is not known */
    OPEN,
    OVER, /* the other end has closed, and all that it wrote is here */
};

/* What the journal keeps of a connection. */
struct mode {
    uint64_t self, peer;
    uint32_t bank, reserved;
};

struct port {
    struct far_layer layer; /* top of the chain */
    struct far_attachment *a;
    struct far_layer *bottom;
    struct far_chain chain;

    struct far_own own;
    struct vchan_interface *page; /* the guest's, as long as served */
    uint8_t *front_live, *back_live;
    uint8_t *front_asks, *back_asks; /* for events: VCHAN_NOTIFY_* */
    struct ring in, out;             /* that the guest reads, that it writes */
    struct far_defer settle;
    bool served, server, notify, full;
    bool later; /* this one begins when what the one before wrote is there */

    enum phase phase;
    uint64_t self, peer;
    struct mode next;     /* what begins, now or later */
    uint32_t got;         /* the guest has all bytes below it */
    uint32_t acked, sent; /* the other end has these; is given these */
    bool closing, close_done;
    bool refused;   /* the other end takes no more */
    uint32_t final; /* of closing: the guest has written up to here */
    uint8_t *tail;  /* from tail_from to final, when its ring is gone */
    uint32_t tail_from;
    uint32_t seen_prod, seen_cons; /* for telling events for nothing */

    struct given given[SLOTS];
    uint32_t bank; /* of slots */
    bool has_bank;
    uint64_t sequence;
    uint8_t *rooms; /* for payloads, where the device has no place for them */
    bool stalled; /* the device is away: ops are given again when it is back */
    struct far_timer gone; /* for so long that the other end has closed */

    uint64_t connections, bytes_in, bytes_out, repeats, notifies, wakes,
        spurious, foreign;
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

/* --- the guest's rings -----------------------------------------------------
 */

static void tell(struct port *port, uint8_t bit)
{
    if (__atomic_fetch_and(port->front_asks, (uint8_t)~bit, __ATOMIC_SEQ_CST) &
        bit)
        port->notify = true;
}

static void ask(struct port *port, uint8_t bit)
{
    __atomic_fetch_or(port->back_asks, bit, __ATOMIC_SEQ_CST);
}

static void show(struct port *port, uint8_t live)
{
    if (!port->served || port->later)
        return;
    __atomic_store_n(port->back_live, live, __ATOMIC_SEQ_CST);
    port->notify = true;
}

/* How far the guest has written; false: nonsense. */
static bool written(struct port *port, uint32_t *prod)
{
    *prod = __atomic_load_n(&port->out.shared->prod, __ATOMIC_ACQUIRE);
    if (far_stream_between(port->acked, *prod, port->out.bytes) == UINT32_MAX ||
        (int32_t)(*prod - port->sent) < 0) {
        far_own_broken(port->a, &port->own,
                       "it has written more than its ring holds");
        return false;
    }
    return true;
}

/* Free bytes of the ring that it reads; 0 if it is broken. */
static uint32_t room(struct port *port)
{
    uint32_t cons = __atomic_load_n(&port->in.shared->cons, __ATOMIC_ACQUIRE);
    uint32_t held = far_stream_between(cons, port->got, port->in.bytes);

    if (held == UINT32_MAX) {
        far_own_broken(port->a, &port->own,
                       "it has read more than it was given");
        return 0;
    }
    return port->in.bytes - held;
}

/* The place of an index, and how many bytes follow there. */
static uint8_t *at(const struct ring *ring, uint32_t index, uint32_t *bytes)
{
    uint32_t offset = index & (ring->bytes - 1);

    if (*bytes > ring->bytes - offset)
        *bytes = ring->bytes - offset;
    return ring->data + offset;
}

/* What the guest has written from offset on. */
static void copy_out(struct port *port, uint32_t offset, uint8_t *to,
                     uint32_t bytes)
{
    while (bytes) {
        uint32_t n = bytes;
        const uint8_t *from = port->tail
                                  ? port->tail + (offset - port->tail_from)
                                  : at(&port->out, offset, &n);

        memcpy(to, from, n);
        to += n;
        offset += n;
        bytes -= n;
    }
}

static void copy_in(struct port *port, const uint8_t *from, uint32_t bytes)
{
    port->bytes_in += bytes;
    while (bytes) {
        uint32_t n = bytes;
        uint8_t *to = at(&port->in, port->got, &n);

        memcpy(to, from, n);
        from += n;
        port->got += n;
        bytes -= n;
    }
    __atomic_store_n(&port->in.shared->prod, port->got, __ATOMIC_RELEASE);
    tell(port, VCHAN_NOTIFY_WRITE);
}

static void set_acked(struct port *port, uint32_t acked)
{
    if (acked == port->acked)
        return;
    port->bytes_out += acked - port->acked;
    port->acked = acked;
    if (!port->served || port->later)
        return;
    __atomic_store_n(&port->out.shared->cons, acked, __ATOMIC_RELEASE);
    tell(port, VCHAN_NOTIFY_READ);
}

/* --- ops -------------------------------------------------------------------
 */

static bool give(struct port *port, unsigned slot);

static void *payload_of(struct port *port, unsigned slot, uint32_t bytes)
{
    void *place =
        far_layer_place(port->bottom, port->bank * BANK_SLOTS + slot, bytes);

    return place ? place : port->rooms + (size_t)slot * FAR_STREAM_PAYLOAD_MAX;
}

static void is_over(struct port *port)
{
    port->phase = OVER;
    port->refused = true;
    show(port, 0);
}

static void note(struct port *port)
{
    struct far_journal_record *record = port->a->record;
    struct mode mode = { .self = port->self,
                         .peer = port->peer,
                         .bank = port->bank };

    far_journal_edit(record);
    memset(record->mode, 0, sizeof(record->mode));
    memcpy(record->mode, &mode, sizeof(mode));
    far_journal_seal(record);
}

static void connected(struct port *port, uint64_t peer)
{
    port->peer = peer;
    port->phase = OPEN;
    if (port->closing)
        return; /* only to say so */
    port->connections++;
    note(port);
    show(port, 1);
}

static void received(struct port *port, const struct given *g, uint32_t bytes)
{
    if (!port->served || port->closing || g->offset != port->got)
        return;
    if (bytes > room(port)) {
        far_own_broken(port->a, &port->own,
                       "it has taken back what it had read");
        return;
    }
    copy_in(port, g->payload, bytes);
}

/* All that the other end has in a row can leave the guest's ring. */
static void advance(struct port *port)
{
    uint32_t acked = port->acked, before;

    do {
        before = acked;
        for (unsigned i = WRITE; i < SLOTS; i++) {
            struct given *g = &port->given[i];

            if (g->state != DONE || g->offset != acked)
                continue;
            g->state = FREE;
            acked += g->bytes;
        }
    } while (acked != before);
    set_acked(port, acked);
}

static void done(struct port *port, unsigned slot, const struct far_op *op)
{
    struct given *g = &port->given[slot];
    struct far_stream_args args;

    g->state = FREE;
    if (g->stale)
        return;
    if (op->status == -EAGAIN || op->status == -ENODEV) {
        port->stalled |= op->status == -ENODEV;
        port->repeats++;
        g->state = slot >= WRITE ? AGAIN : FREE;
        return;
    }
    memcpy(&args, op->args, sizeof(args));
    switch (slot) {
    case CONNECT:
        if (!op->status && args.peer && port->phase == CONNECTING)
            connected(port, args.peer);
        else
            is_over(port);
        break;
    case CLOSE:
        port->close_done = true;
        break;
    case READ:
        if (op->status || !op->payload_bytes || op->payload_bytes > g->bytes)
            is_over(port);
        else
            received(port, g, op->payload_bytes);
        break;
    default:
        if (op->status) {
            port->refused = true;
            break;
        }
        g->state = DONE;
        advance(port);
    }
}

/* Gives the op of a slot; false: it must wait. */
static bool give(struct port *port, unsigned slot)
{
    struct given *g = &port->given[slot];
    struct far_stream_args args = { .self = port->self,
                                    .peer = port->peer,
                                    .offset = g->offset };
    struct far_op op = { .attachment = port->a->record->who.attachment,
                         .sequence = ++port->sequence,
                         .slot = port->bank * BANK_SLOTS + slot,
                         .opcode = g->opcode,
                         .payload_bytes = g->bytes };

    if (slot == CONNECT && port->server)
        args.flags = FAR_STREAM_SERVER;
    if (slot >= READ) {
        op.flags = slot == READ ? FAR_OP_RECEIVES : FAR_OP_SENDS;
        g->payload = payload_of(port, slot, g->bytes);
    }
    if (slot >= WRITE)
        copy_out(port, g->offset, g->payload, g->bytes);
    memcpy(op.args, &args, sizeof(args));
    g->state = BUSY;
    g->stale = false;
    g->sequence = op.sequence;
    switch (
        far_layer_submit(port->bottom, &op, slot >= READ ? g->payload : NULL)) {
    case FAR_DONE:
        done(port, slot, &op);
        return !port->stalled;
    case FAR_LATER:
        return true;
    default:
        g->state = slot >= WRITE ? AGAIN : FREE;
        port->full = true;
        return false;
    }
}

static bool ask_for(struct port *port, unsigned slot, uint16_t opcode,
                    uint32_t offset, uint32_t bytes)
{
    struct given *g = &port->given[slot];

    if (g->state != FREE)
        return true;
    g->opcode = opcode;
    g->offset = offset;
    g->bytes = bytes;
    return give(port, slot);
}

/* What the guest has written goes out, as far as there are slots. */
static bool send(struct port *port)
{
    uint32_t end = port->final;

    for (unsigned i = WRITE; i < SLOTS; i++)
        if (port->given[i].state == AGAIN && !give(port, i))
            return false;
    if (!port->closing && !written(port, &end))
        return false;
    for (unsigned i = WRITE; i < SLOTS && port->sent != end; i++) {
        struct given *g = &port->given[i];
        uint32_t bytes = end - port->sent;

        if (g->state != FREE)
            continue;
        g->opcode = FAR_STREAM_WRITE;
        g->offset = port->sent;
        g->bytes =
            bytes < FAR_STREAM_PAYLOAD_MAX ? bytes : FAR_STREAM_PAYLOAD_MAX;
        port->sent += g->bytes;
        if (!give(port, i))
            return false;
    }
    return true;
}

/* Nobody takes it: the guest's writer must not wait. */
static void discard(struct port *port)
{
    uint32_t end = port->final;

    for (unsigned i = WRITE; i < SLOTS; i++) {
        if (port->given[i].state == BUSY)
            port->given[i].stale = true;
        else
            port->given[i].state = FREE;
    }
    if (!port->closing && (!port->served || !written(port, &end)))
        return;
    port->sent = end;
    set_acked(port, end);
}

static void receive(struct port *port)
{
    uint32_t bytes;

    if (port->closing || port->given[READ].state != FREE)
        return;
    bytes = room(port);
    if (bytes > FAR_STREAM_PAYLOAD_MAX)
        bytes = FAR_STREAM_PAYLOAD_MAX;
    if (bytes)
        (void)ask_for(port, READ, FAR_STREAM_READ, port->got, bytes);
}

static bool close_it(struct port *port)
{
    return port->close_done ||
           ask_for(port, CLOSE, FAR_STREAM_CLOSE,
                   port->closing ? port->final : port->acked, 0);
}

/* The guest is gone, and what it wrote is where it should be. */
static bool is_finished(const struct port *port)
{
    if (!port->closing || port->given[CONNECT].state == BUSY)
        return false;
    return port->phase == NOBODY || port->phase == OVER ||
           port->phase == CONNECTING ||
           (port->phase == OPEN && port->acked == port->final);
}

static void forget(struct port *port)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (port->given[i].state == BUSY)
            port->given[i].stale = true;
        else
            port->given[i].state = FREE;
    }
    free(port->tail);
    port->tail = NULL;
    port->phase = NOBODY;
    port->closing = port->close_done = port->refused = false;
    port->peer = 0;
}

static void begin(struct port *port)
{
    forget(port);
    port->self = port->next.self;
    port->peer = port->next.peer;
    port->acked = port->sent =
        __atomic_load_n(&port->out.shared->cons, __ATOMIC_ACQUIRE);
    port->got = __atomic_load_n(&port->in.shared->prod, __ATOMIC_ACQUIRE);
    port->later = false;
    if (!port->peer) {
        port->phase = CONNECTING;
    } else if (!__atomic_load_n(port->back_live, __ATOMIC_RELAXED)) {
        port->phase = OVER;
    } else {
        port->phase = OPEN;
        show(port, 1);
    }
}

/* One pass over all that can be given now. */
static void go_on(struct port *port)
{
    if (port->later && is_finished(port))
        begin(port);
    else if (!port->served && port->close_done && is_finished(port))
        forget(port);
    if (!port->bottom || port->full || port->stalled || port->own.broken)
        return;
    if (port->phase == OPEN && port->refused)
        discard(port);
    switch (port->phase) {
    case CONNECTING:
        if (!port->closing)
            (void)ask_for(port, CONNECT, FAR_STREAM_CONNECT, 0, 0);
        else if (port->given[CONNECT].state == BUSY)
            (void)close_it(port);
        break;
    case OPEN:
        if (port->closing && !close_it(port))
            break;
        if (port->refused || send(port))
            receive(port);
        break;
    case OVER:
        discard(port);
        (void)close_it(port);
        break;
    case NOBODY:
        break;
    }
}

static void port_complete(struct far_layer *layer, const struct far_op *op)
{
    struct port *port = (struct port *)(void *)layer;

    uint32_t slot = op->slot - port->bank * BANK_SLOTS;

    if (slot >= SLOTS || port->given[slot].state != BUSY ||
        port->given[slot].sequence != op->sequence) {
        port->foreign++;
        return;
    }
    done(port, slot, op);
    settle_soon(port);
}

static bool port_interrupt(struct far_layer *layer, const struct far_op *op)
{
    (void)op;
    ((struct port *)(void *)layer)->foreign++; /* the class has none */
    return true;
}

static void port_room(struct far_layer *layer)
{
    struct port *port = (struct port *)(void *)layer;

    port->full = false;
    settle_soon(port);
}

/* Who had them is no more, and answers nothing. */
static void ops_lost(struct port *port)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct given *g = &port->given[i];

        if (g->state == BUSY)
            g->state = i >= WRITE && !g->stale ? AGAIN : FREE;
    }
}

/* Where it was, the other end's session is over as well. */
static void gone_for_good(struct far_timer *timer)
{
    struct port *port = CONTAINER(struct port, gone, timer);

    if (port->phase == OPEN)
        is_over(port);
    settle_soon(port);
}

static void port_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct port *port = (struct port *)(void *)layer;

    layer->device_state = state;
    if (news && news->ops_lost)
        ops_lost(port);
    if (state == FAR_DEVICE_READY) {
        far_timer_cancel(&port->gone);
        port->stalled = false;
        settle_soon(port);
    } else if (!far_timer_armed(&port->gone)) {
        far_timer_set(&port->gone, far_now_us() + PATIENCE_US);
    }
    port->a->view.device_ready = state == FAR_DEVICE_READY;
}

static const struct far_layer_ops port_ops = {
    .name = "stream-port",
    .complete = port_complete,
    .interrupt = port_interrupt,
    .state = port_state,
    .room = port_room,
};

/* --- looking ---------------------------------------------------------------
 */

static void front_closed(struct port *port, uint32_t prod)
{
    port->closing = true;
    port->final = prod;
}

/* Has the guest closed? What it wrote before stands in its ring. */
static void look(struct port *port)
{
    uint32_t prod;

    if (!port->served || port->later || port->closing ||
        __atomic_load_n(port->front_live, __ATOMIC_ACQUIRE) == 1)
        return;
    if (written(port, &prod))
        front_closed(port, prod);
}

/* Events that we want; true: what they would say has happened meanwhile. */
static bool arm(struct port *port)
{
    uint32_t prod;

    if (!port->served || port->own.broken || port->later || port->closing)
        return false;
    ask(port, VCHAN_NOTIFY_WRITE);
    if (port->phase == OPEN && !room(port)) {
        ask(port, VCHAN_NOTIFY_READ);
        if (room(port))
            return true;
    }
    if (port->phase != OPEN || port->full || port->stalled ||
        port->own.broken || !written(port, &prod) || prod == port->sent)
        return false;
    for (unsigned i = WRITE; i < SLOTS; i++)
        if (port->given[i].state == FREE)
            return true;
    return false;
}

static void settle(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, settle, defer);
    enum phase before;

    do {
        before = port->phase;
        look(port);
        go_on(port);
    } while (port->phase != before);
    if (arm(port))
        settle_soon(port);
    if (!port->notify)
        return;
    port->notify = false;
    if (port->served && !port->own.broken) {
        port->notifies++;
        (void)far_line_raise(&port->a->line);
    }
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct port *port = CONTAINER(struct port, own.evtchn, evtchn);
    uint32_t prod, cons;
    bool moved;

    port->wakes++;
    if (!port->served || port->own.broken)
        return FAR_EVTCHN_BROKEN;
    prod = __atomic_load_n(&port->out.shared->prod, __ATOMIC_RELAXED);
    cons = __atomic_load_n(&port->in.shared->cons, __ATOMIC_RELAXED);
    moved = prod != port->seen_prod || cons != port->seen_cons;
    port->seen_prod = prod;
    port->seen_cons = cons;
    settle_soon(port);
    if (moved)
        return FAR_EVTCHN_WORKED;
    port->spurious++;
    return FAR_EVTCHN_SPURIOUS;
}

/* --- the chain --------------------------------------------------------------
 */

static void close_chain(struct port *port)
{
    far_layer_close(port->bottom);
    port->bottom = NULL;
    port->layer.below = NULL;
    port->layer.device_state = FAR_DEVICE_GONE;
    port->chain.binding = FAR_CHAIN_NONE;
    port->full = port->stalled = false;
    far_timer_cancel(&port->gone);
    ops_lost(port);
}

static int open_chain(struct port *port, struct far_error *error)
{
    if (port->bottom)
        return 0;
    if (far_chain_open(&port->chain, &port->bottom))
        return far_error(error, -ENOMEM, "memory is out");
    far_layer_stack(&port->layer, port->bottom);
    return 0;
}

static void activate(struct port *port)
{
    far_layer_activate(port->bottom, 0, 0);
    far_layer_resume(port->bottom);
}

/* --- the port's table --------------------------------------------------------
 */

static struct port *port_get(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    void *rooms;

    if (port)
        return port;
    port = calloc(1, sizeof(*port));
    rooms = mmap(NULL, ROOM_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!port || rooms == MAP_FAILED) {
        if (rooms != MAP_FAILED)
            munmap(rooms, ROOM_BYTES);
        free(port);
        far_error(error, -ENOMEM, "memory is out");
        return NULL;
    }
    port->rooms = rooms;
    port->layer.ops = &port_ops;
    port->a = port->chain.a = a;
    port->own.ringless = true;
    far_timer_init(&port->gone, a->backend->loop, gone_for_good);
    /* never back, also over restarts: sequences are a slot's for good */
    port->sequence = far_now_ns();
    a->port = port;
    return port;
}

static int stream_publish(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_get(a, error);
    bool changed;
    int r;

    if (!port)
        return -ENOMEM;
    r = far_own_publish(a, &port->own, NULL, error);
    if (!r)
        r = far_chain_order(&port->chain, "address", port->own.back.address,
                            error);
    if (!r)
        r = far_chain_record(&port->chain, &changed, error);
    if (r)
        return r;
    if (changed)
        close_chain(port);
    return open_chain(port, error);
}

static void unmap(struct port *port)
{
    port->served = false;
    far_own_unmap(port->a, &port->own);
    far_grant_unmap(&port->in.map);
    far_grant_unmap(&port->out.map);
    port->page = NULL;
}

/* What it wrote last may still be on its way when its pages are gone. */
static void keep_tail(struct port *port)
{
    uint32_t prod = port->final, bytes;
    uint8_t *tail;

    if (port->phase != OPEN || port->own.broken ||
        (!port->closing && !written(port, &prod)))
        prod = port->acked;
    bytes = prod - port->acked;
    tail = bytes && !port->refused ? malloc(bytes) : NULL;
    if (tail)
        copy_out(port, port->acked, tail, bytes);
    else
        port->refused = true;
    port->tail_from = port->acked;
    port->tail = tail;
    front_closed(port, prod);
    if (!tail)
        discard(port);
}

static void unserve(struct port *port)
{
    if (port->served && !port->later)
        keep_tail(port);
    port->later = port->own.broken = false;
    unmap(port);
}

static int map_ring(struct port *port, struct ring *ring,
                    const struct far_stream_place *place,
                    const uint32_t *grants, struct ring_shared *shared,
                    struct far_error *error)
{
    struct far_attachment *a = port->a;
    int r = 0;

    ring->bytes = place->bytes;
    ring->shared = shared;
    ring->data = (uint8_t *)port->page + place->offset;
    if (place->offset)
        return 0;
    r = far_grant_map(a->backend->grants, &ring->map, a->guest->domid,
                      grants + place->first, place->pages, true,
                      &a->guest->quota);
    if (r)
        return far_error(error, r, "the guest's ring can't be mapped: %s",
                         strerror(-r));
    ring->data = ring->map.memory;
    return 0;
}

static void take_sides(struct port *port)
{
    struct vchan_interface *page = port->page;
    bool server = port->server;

    port->front_live = server ? &page->srv_live : &page->cli_live;
    port->back_live = server ? &page->cli_live : &page->srv_live;
    /* Each looks into the byte of its own name for what the other wants. */
    port->front_asks = server ? &page->cli_notify : &page->srv_notify;
    port->back_asks = server ? &page->srv_notify : &page->cli_notify;
}

static int map_all(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    uint32_t copy[FAR_PAGE_BYTES / 4];
    const uint32_t *grants =
        copy + offsetof(struct vchan_interface, grants) / 4;
    struct far_stream_place left, right;
    int r = far_own_map(a, &port->own, fired, error);

    if (r)
        return r;
    port->page = port->own.control.memory;
    port->server = port->own.front.server;
    take_sides(port);
    memcpy(copy, port->page, sizeof(copy));
    r = far_stream_places(copy, &left, &right, error);
    if (!r)
        r = map_ring(port, port->server ? &port->in : &port->out, &left, grants,
                     &port->page->left, error);
    if (!r)
        r = map_ring(port, port->server ? &port->out : &port->in, &right,
                     grants, &port->page->right, error);
    if (r) {
        unmap(port);
        return r;
    }
    return 0;
}

static void serve(struct port *port)
{
    port->own.broken = port->notify = false;
    port->served = true;
    port->seen_prod = port->out.shared->prod;
    port->seen_cons = port->in.shared->cons;
    port->later = true;
    if (!port->closing || is_finished(port))
        begin(port);
    settle_soon(port);
    activate(port);
}

/* Once for this process. */
static void choose_bank(struct port *port)
{
    struct mode before;

    if (port->has_bank)
        return;
    memcpy(&before, port->a->record->mode, sizeof(before));
    port->bank = (before.bank + 1) % BANKS;
    port->has_bank = true;
}

static int stream_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    struct far_journal_record *record = a->record;
    int r;

    unserve(port);
    r = far_own_read_front(a, &port->own, error);
    if (!r)
        r = map_all(port, error);
    if (r)
        return r;
    choose_bank(port);
    port->next =
        (struct mode){ .self = far_random_u64() | 1, .bank = port->bank };
    far_journal_edit(record);
    record->connected = 1;
    record->refs_count = record->ports_count = 1;
    record->refs[0] = port->own.front.control_ref;
    record->ports[0] = port->own.front.event_channel;
    memset(record->mode, 0, sizeof(record->mode));
    memcpy(record->mode, &port->next, sizeof(port->next));
    far_journal_seal(record);
    port->in.shared->prod = port->out.shared->cons = 0;
    *port->back_live = 2; /* nobody is there yet */
    serve(port);
    return 0;
}

/* The rings stay as they are: what is not acknowledged is sent again. */
static int stream_adopt(struct far_attachment *a, struct far_error *error)
{
    struct far_journal_record *record = a->record;
    struct port *port = port_get(a, error);
    int r;

    if (!port)
        return -ENOMEM;
    r = far_own_publish(a, &port->own, NULL, error);
    if (!r)
        r = far_chain_order(&port->chain, "address", port->own.back.address,
                            error);
    if (!r && !far_chain_same_who(&port->chain))
        r = far_error(error, -ESTALE, "another stream was ordered meanwhile");
    if (!r)
        r = open_chain(port, error);
    if (!r)
        r = far_own_read_front(a, &port->own, error);
    if (r)
        return r;
    if (record->refs_count != 1 || record->ports_count != 1 ||
        record->refs[0] != port->own.front.control_ref ||
        record->ports[0] != port->own.front.event_channel)
        return far_error(error, -ESTALE,
                         "the guest has another page or event channel now");
    r = map_all(port, error);
    if (r)
        return r;
    choose_bank(port);
    memcpy(&port->next, record->mode, sizeof(port->next));
    port->self = port->next.self;
    port->peer = port->next.peer;
    note(port);
    serve(port);
    return 0;
}

static void stream_disconnect(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    settle_soon(port);
    far_journal_disconnected(a->record);
}

static void stream_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    far_defer_cancel(a->backend->loop, &port->settle);
    far_timer_cancel(&port->gone);
    close_chain(port);
    free(port->tail);
    munmap(port->rooms, ROOM_BYTES);
    a->port = NULL;
    free(port);
}

static void stream_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);
    struct far_error error;

    if (!port || !port->bottom || !a->record || !far_chain_renew(&port->chain))
        return;
    close_chain(port);
    if (open_chain(port, &error)) {
        far_attachment_fail(a, "%s", error.text);
        return;
    }
    if (port->served || port->phase != NOBODY)
        activate(port);
}

static bool stream_device_ready(const struct far_attachment *a)
{
    return port_of(a) && port_of(a)->layer.device_state == FAR_DEVICE_READY;
}

static void stream_status(const struct far_attachment *a, json_t *to)
{
    static const char *const phases[] = { "closed", "waiting for its peer",
                                          "open", "its peer has closed" };
    const struct port *port = port_of(a);
    json_t *counters = far_chain_status(port ? &port->chain : NULL, to);

    if (!port)
        return;
    if (port->chain.binding == FAR_CHAIN_ABSENT)
        json_object_set_new(to, "reason", json_string(port->chain.absent));
    json_object_set_new(to, "stream", json_string(phases[port->phase]));
    far_count_json(counters, "connections", port->connections);
    far_count_json(counters, "bytes_in", port->bytes_in);
    far_count_json(counters, "bytes_out", port->bytes_out);
    far_count_json(counters, "repeats", port->repeats);
    far_count_json(counters, "notifies", port->notifies);
    far_count_json(counters, "wakes", port->wakes);
    far_count_json(counters, "spurious", port->spurious);
    far_count_json(counters, "foreign", port->foreign);
    if (port->bottom)
        json_object_set_new(to, "ops",
                            far_layer_ops_json(port->bottom, FAR_CLASS_STREAM));
}

static const char *const stream_kinds[] = { "farstream", NULL };

const struct far_port_type far_port_stream = {
    .kinds = stream_kinds,
    .class = FAR_CLASS_STREAM,
    .handshake = FAR_HS_CONNECT_AT_4 | FAR_HS_ADOPTS,
    .mine = far_own_mine,
    .publish = stream_publish,
    .connect = stream_connect,
    .adopt = stream_adopt,
    .disconnect = stream_disconnect,
    .detach = stream_detach,
    .reload = stream_reload,
    .device_ready = stream_device_ready,
    .status = stream_status,
};
