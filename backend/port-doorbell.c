/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The doorbell port: fardoorbell's pages towards a guest (docs/DOORBELL.md) and
 * the doorbell behind them, here or on another machine. Nothing is kept for a
 * successor but how far the guest had got.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "backend/chain.h"
#include "backend/own.h"
#include "core/clock.h"
#include "core/doorbell.h"
#include "core/status.h"
#include "farside/io/fardoorbell.h"
#include "xenbus/ring.h"

#define REQUESTS_A_TURN 128u

static_assert(sizeof(struct fardoorbell_page) == 4096 &&
                  offsetof(struct fardoorbell_page, consumed) == 64 &&
                  offsetof(struct fardoorbell_page, events) == 2048 &&
                  sizeof(struct fardoorbell_request) == 16 &&
                  sizeof(struct fardoorbell_response) == 16,
              "the layout is a contract");

struct ring_out { /* a ring that is under way to another process */
    uint64_t sequence;
    uint16_t id, operation;
    bool busy, stale; /* stale: of a connection that is over */
};

struct port {
    struct far_layer layer; /* top of the chain */
    struct far_attachment *a;
    struct far_layer *bottom;
    struct far_chain chain;

    struct far_own own;
    struct fardoorbell_page *page; /* the guest's, as long as served */
    struct far_ring ring;
    struct far_defer settle;
    uint32_t produced, consumed; /* of the page: ours, and the guest's as last
                                    found sound */
    uint32_t number;
    bool served, notify, full, blocked;

    uint64_t incarnation, received, sequence;
    struct ring_out out[FAR_OP_SLOTS_MAX];
    uint64_t out_busy; /* a bit each */

    uint64_t rings, rung, refused, wrong_requests, notifies, wakes, spurious,
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

/* --- rung -------------------------------------------------------------------
 */

/* Free places in the page; none if it is broken. True in moved: the guest has
 * taken something since. */
static uint32_t room(struct port *port, bool *moved)
{
    uint32_t consumed =
        __atomic_load_n(&port->page->consumed, __ATOMIC_ACQUIRE);

    if (port->produced - consumed > FARDOORBELL_EVENTS ||
        consumed - port->consumed > port->produced - port->consumed) {
        far_own_broken(port->a, &port->own,
                       "it has taken more than it was given");
        return 0;
    }
    if (moved)
        *moved = consumed != port->consumed;
    port->consumed = consumed;
    return FARDOORBELL_EVENTS - (port->produced - consumed);
}

/* A place in the page, or word of it by an event: the guest notifies if it sees
 * that the page was full when it took something. */
static bool has_room(struct port *port)
{
    if (!port->served || port->own.broken)
        return false;
    if (room(port, NULL))
        return true;
    /* What it took just now it took without knowing that we wait: either we see
     * it, or it sees all that was produced. */
    atomic_thread_fence(memory_order_seq_cst);
    return room(port, NULL) != 0;
}

static bool port_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct port *port = (struct port *)(void *)layer;
    struct far_doorbell_args args;
    struct fardoorbell_event event;

    if (op->opcode != FAR_DOORBELL_RUNG) {
        port->foreign++;
        return true;
    }
    if (!has_room(port)) {
        port->refused++;
        port->blocked = true;
        return false;
    }
    memcpy(&args, op->args, sizeof(args));
    event = (struct fardoorbell_event){ .value = args.value,
                                        .sequence = ++port->number };
    memcpy(&port->page->events[port->produced % FARDOORBELL_EVENTS], &event,
           sizeof(event));
    port->produced++;
    __atomic_store_n(&port->page->produced, port->produced, __ATOMIC_RELEASE);
    if (op->sequence)
        port->received = op->sequence;
    port->rung++;
    port->notify = true;
    settle_soon(port);
    return true;
}

/* --- ringing ---------------------------------------------------------------
 */

static int32_t status_of(int32_t status)
{
    switch (status) {
    case 0:
    case -EINVAL:
    case -EOPNOTSUPP:
    case -EAGAIN:
    case -EACCES:
    case -ENOTCONN:
        return status;
    case -ENODEV:
        return -ENOTCONN;
    default:
        return -EIO;
    }
}

static void answer(struct port *port, uint16_t id, uint16_t operation,
                   int32_t status)
{
    struct fardoorbell_response response = { .id = id,
                                             .operation = operation,
                                             .status = status_of(status) };

    far_ring_answer(&port->ring, &response);
}

/* One request; false: it must wait, and stays in the ring. */
static bool serve_request(struct port *port,
                          const struct fardoorbell_request *request)
{
    struct far_op op = { .opcode = FAR_DOORBELL_RING,
                         .attachment = port->a->record->who.attachment };
    struct far_doorbell_args args = { .value = request->value };
    unsigned slot;

    if (request->operation == FARDOORBELL_OP_NOP) {
        answer(port, request->id, request->operation, 0);
        return true;
    }
    if (request->operation != FARDOORBELL_OP_RING || request->reserved) {
        port->wrong_requests++;
        answer(port, request->id, request->operation,
               request->reserved ? -EINVAL : -EOPNOTSUPP);
        return true;
    }
    if (port->out_busy == UINT64_MAX)
        return false;
    slot = (unsigned)__builtin_ctzll(~port->out_busy);
    op.slot = slot;
    op.sequence = ++port->sequence;
    memcpy(op.args, &args, sizeof(args));
    port->rings++;
    switch (far_layer_submit(port->bottom, &op, NULL)) {
    case FAR_DONE:
        answer(port, request->id, request->operation, op.status);
        return true;
    case FAR_LATER:
        port->out_busy |= (uint64_t)1 << slot;
        port->out[slot] = (struct ring_out){ .sequence = op.sequence,
                                             .id = request->id,
                                             .operation = request->operation,
                                             .busy = true };
        return true;
    default:
        port->rings--;
        port->full = true;
        return false;
    }
}

/* True: there may be more. */
static bool take_requests(struct port *port)
{
    struct fardoorbell_request request;
    unsigned budget = REQUESTS_A_TURN;
    int r = 0;

    if (port->full)
        return false;
    while (budget-- && (r = far_ring_request(&port->ring, &request)) > 0) {
        if (!serve_request(port, &request))
            return false;
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
    struct ring_out *o;

    if (op->slot >= FAR_OP_SLOTS_MAX)
        return;
    o = &port->out[op->slot];
    if (!o->busy || o->sequence != op->sequence) {
        port->foreign++;
        return;
    }
    o->busy = false;
    port->out_busy &= ~((uint64_t)1 << op->slot);
    if (!port->served || o->stale)
        return;
    answer(port, o->id, o->operation, op->status);
    settle_soon(port);
}

static void port_room(struct far_layer *layer)
{
    struct port *port = (struct port *)(void *)layer;

    port->full = false;
    if (port->served)
        settle_soon(port);
}

/* Nobody answers them any more: whether they rang is not known. */
static void lose_rings(struct port *port)
{
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++) {
        struct ring_out *o = &port->out[i];

        if (o->busy && !o->stale && port->served)
            answer(port, o->id, o->operation, -EIO);
        *o = (struct ring_out){ 0 };
    }
    port->out_busy = 0;
    if (port->served)
        settle_soon(port);
}

static void port_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct port *port = (struct port *)(void *)layer;

    layer->device_state = state;
    if (news && news->ops_lost)
        lose_rings(port);
    if (state == FAR_DEVICE_READY && news &&
        news->incarnation != port->incarnation) {
        port->incarnation = news->incarnation;
        port->received = 0;
    }
    port->a->view.device_ready = state == FAR_DEVICE_READY;
}

static const struct far_layer_ops port_ops = {
    .name = "doorbell-port",
    .complete = port_complete,
    .interrupt = port_interrupt,
    .state = port_state,
    .room = port_room,
};

/* --- looking ---------------------------------------------------------------
 */

static bool waits(const struct port *port)
{
    return port->full || port->out_busy == UINT64_MAX;
}

/* Room has come for what was refused. */
static bool look(struct port *port)
{
    bool moved = false;

    if (room(port, &moved) && port->blocked) {
        port->blocked = false;
        far_layer_resume(port->bottom);
    }
    return moved;
}

static void settle(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, settle, defer);
    bool more, push;

    if (!port->served || port->own.broken)
        return;
    more = take_requests(port);
    if (!more && !port->own.front_cpu && !far_ring_back_arm(&port->ring) &&
        !waits(port))
        more = true;
    push = far_ring_back_push(&port->ring);
    if (port->notify && !far_own_guest_looks(&port->own))
        push = true;
    port->notify = false;
    if (push) {
        port->notifies++;
        (void)far_line_raise(&port->a->line);
    }
    if (port->received)
        far_layer_ack(port->bottom, port->received);
    if (more)
        settle_soon(port);
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct port *port = CONTAINER(struct port, own.evtchn, evtchn);
    uint32_t requests = port->ring.req;
    bool moved;

    port->wakes++;
    if (!port->served || port->own.broken)
        return FAR_EVTCHN_BROKEN;
    (void)take_requests(port);
    moved = look(port);
    settle_soon(port);
    if (port->own.broken)
        return FAR_EVTCHN_BROKEN;
    if (moved || requests != port->ring.req)
        return FAR_EVTCHN_WORKED;
    port->spurious++;
    return FAR_EVTCHN_SPURIOUS;
}

static bool poll_pages(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, own.poller, poller);
    uint32_t requests = port->ring.req;
    bool moved;

    if (!port->served || port->own.broken)
        return false;
    (void)take_requests(port);
    moved = look(port);
    if (!moved && requests == port->ring.req)
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
    return far_ring_back_arm(&port->ring) || waits(port);
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
    memset(port->out, 0, sizeof(port->out));
    port->out_busy = 0;
    port->full = false;
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
    far_layer_activate(port->bottom, port->received ? port->incarnation : 0,
                       port->received);
    far_layer_resume(port->bottom);
}

/* --- the port's table --------------------------------------------------------
 */

static int doorbell_publish(struct far_attachment *a, struct far_error *error)
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

static void unserve(struct port *port)
{
    port->served = false;
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++)
        port->out[i].stale = true;
    far_defer_cancel(port->a->backend->loop, &port->settle);
    far_own_unmap(port->a, &port->own);
    port->page = NULL;
}

static int doorbell_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    int r;

    unserve(port);
    r = far_own_read_front(a, &port->own, error);
    if (!r)
        r = far_own_map(a, &port->own, fired, error);
    if (r)
        return r;
    port->page = port->own.control.memory;
    port->own.broken = port->full = port->notify = port->blocked = false;
    port->produced = port->consumed = port->number = 0;
    __atomic_store_n(&port->page->produced, 0, __ATOMIC_RELAXED);
    far_ring_attach(&port->ring, port->own.ring.memory, FAR_PAGE_BYTES,
                    sizeof(struct fardoorbell_request));
    port->served = true;
    far_own_look(a, &port->own, &port->page->front_cpu, &port->page->back_cpu,
                 poll_pages, poll_arm, NULL);
    settle_soon(port);
    activate(port);
    return 0;
}

static void doorbell_disconnect(struct far_attachment *a)
{
    if (port_of(a))
        unserve(port_of(a));
}

static void doorbell_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    close_chain(port);
    a->port = NULL;
    free(port);
}

static void doorbell_reload(struct far_attachment *a)
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
    if (port->served)
        activate(port);
}

static bool doorbell_device_ready(const struct far_attachment *a)
{
    return port_of(a) && port_of(a)->layer.device_state == FAR_DEVICE_READY;
}

static void doorbell_status(const struct far_attachment *a, json_t *to)
{
    const struct port *port = port_of(a);
    json_t *counters = far_chain_status(port ? &port->chain : NULL, to);

    if (!port)
        return;
    if (port->chain.binding == FAR_CHAIN_ABSENT)
        json_object_set_new(to, "reason", json_string(port->chain.absent));
    far_count_json(counters, "rings", port->rings);
    far_count_json(counters, "rung", port->rung);
    far_count_json(counters, "refused", port->refused);
    far_count_json(counters, "wrong_requests", port->wrong_requests);
    far_count_json(counters, "notifies", port->notifies);
    far_count_json(counters, "wakes", port->wakes);
    far_count_json(counters, "spurious", port->spurious);
    far_count_json(counters, "foreign", port->foreign);
    if (port->bottom)
        json_object_set_new(
            to, "ops", far_layer_ops_json(port->bottom, FAR_CLASS_DOORBELL));
}

static const char *const doorbell_kinds[] = { "fardoorbell", NULL };

const struct far_port_type far_port_doorbell = {
    .kinds = doorbell_kinds,
    .class = FAR_CLASS_DOORBELL,
    .handshake = FAR_HS_CONNECT_AT_4,
    .mine = far_own_mine,
    .publish = doorbell_publish,
    .connect = doorbell_connect,
    .adopt = far_own_adopt,
    .disconnect = doorbell_disconnect,
    .detach = doorbell_detach,
    .reload = doorbell_reload,
    .device_ready = doorbell_device_ready,
    .status = doorbell_status,
};
