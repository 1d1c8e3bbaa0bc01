/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vbd port: blkif's rings towards a guest, its grants, and the chain of
 * devices behind. What a request means is decided in port-vbd-checks.c, what a
 * successor must know is kept by port-vbd-journal.c, nodes are read and written
 * in port-vbd-nodes.c; when to connect, hotplug.c knows.
 *
 * A request's way: taken from the ring into a slot of the journal; its data
 * copied from the guest, if it writes, straight to where the device wants it;
 * submitted; done; its data copied to the guest, if it reads; answered. Copies
 * of all requests that are at the same step are one hypercall, answers of a
 * turn one index and one event. An answer goes out after its copy is done.
 */
#include "backend/port-vbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/io/blkif.h>
#include "core/clock.h"
#include "core/status.h"

#define BUDGET      64u /* requests of a ring in one turn */
#define COPIES      512u
#define CACHE_PAGES 1056u /* as xen-blkback has it */
#define AGE_US      60000000u
#define LOOK_AGE_US 10000000u
#define SAMPLE_US   1000u
/* xl waits for 10 s for a disk to close */
#define LEAVE_US 5000000u

/* A device may be in another process: then this is what it takes at once. */
static_assert(FAR_VBD_SLOTS <= FAR_KEPT_FIRST_SLOT, "a slot is an op's");

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static struct port *port_of(const struct far_attachment *a)
{
    return a->port;
}

/* --- the ring ---------------------------------------------------------------
 */

/* Words of its header (struct blkif_sring). */
enum { REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT };

static _Atomic uint32_t *word(const struct queue *q, unsigned which)
{
    return (_Atomic uint32_t *)q->map.memory + which;
}

static uint8_t *entry_at(const struct queue *q, uint32_t index)
{
    return (uint8_t *)q->map.memory + FAR_VBD_HEADER_BYTES +
           (index & (q->entries - 1)) * q->entry_bytes;
}

static uint32_t consumed(const struct queue *q)
{
    return atomic_load_explicit(&q->journal->consumed, memory_order_relaxed);
}

static bool waiting(const struct queue *q)
{
    return atomic_load_explicit(word(q, REQ_PROD), memory_order_acquire) !=
           consumed(q);
}

static bool can_take(const struct port *port)
{
    return port->served && port->ready && port->frees && !port->held_count &&
           !port->barrier && !port->repeats;
}

static void broken(struct port *port)
{
    port->served = false;
    far_attachment_fail(port->a,
                        "the guest has written nonsense into its ring: there "
                        "are more requests than a ring holds");
}

/* --- data ------------------------------------------------------------------
 */

static struct far_vbd_slot *slot_of(struct port *port, unsigned number)
{
    return &port->journal->slot[number];
}

/* Copies the segments of a request whose data are at `memory`; noted, or done
 * at once where pages are mapped. false: copies has no room, nothing is kept of
 * it but what is copied twice then. */
static bool copy_segments(struct port *port, unsigned number, bool to_guest)
{
    struct far_vbd_request *r = &slot_of(port, number)->request;
    struct work *work = &port->work[number];
    uint64_t now = far_loop_now_us(port->a->backend->loop);
    uint8_t *at = work->memory;

    work->first_copy = UINT32_MAX;
    work->copies = 0;
    for (unsigned i = 0; i < r->segments; i++) {
        const struct far_vbd_segment *s = &r->segment[i];
        uint32_t offset = s->first * 512u;
        uint32_t bytes = (uint32_t)(s->last - s->first + 1) * 512u;
        uint8_t *page =
            port->cache ? far_grant_cache_get(port->cache, s->gref, now) : NULL;

        if (page) {
            if (to_guest)
                memcpy(page + offset, at, bytes);
            else
                memcpy(at, page + offset, bytes);
            port->counters.mapped_copies++;
        } else {
            uint32_t copy = far_grant_copies_add(port->copies, s->gref, offset,
                                                 bytes, at, to_guest);

            if (copy == UINT32_MAX)
                return false;
            if (!work->copies++)
                work->first_copy = copy;
        }
        at += bytes;
    }
    return true;
}

static bool copies_failed(const struct port *port, unsigned number)
{
    const struct work *work = &port->work[number];

    for (uint32_t i = 0; i < work->copies; i++)
        if (far_grant_copies_failed(port->copies, work->first_copy + i))
            return true;
    return false;
}

static void run_copies(struct port *port, uint32_t noted)
{
    if (!noted)
        return;
    far_grant_copies_run(port->copies);
    port->counters.copy_calls++;
    port->counters.copies += noted;
}

/* For each of these requests: data from or to the guest; `failed` of those
 * whose pages could not be had. */
static void copy_all(struct port *port, const uint8_t *numbers, unsigned count,
                     bool to_guest)
{
    unsigned from = 0;

    while (from < count) {
        uint32_t noted = 0;
        unsigned upto = from;

        /* one that does not fit any more begins the next call */
        while (upto < count && copy_segments(port, numbers[upto], to_guest))
            noted += port->work[numbers[upto++]].copies;
        run_copies(port, noted);
        for (; from < upto; from++) {
            struct work *work = &port->work[numbers[from]];

            work->failed = copies_failed(port, numbers[from]);
            if (!work->failed)
                port->counters.copied_bytes +=
                    slot_of(port, numbers[from])->op.payload_bytes;
        }
    }
}

/* The page of an indirect request: into the slot, once. */
static bool fetch_segments(struct port *port, struct far_vbd_request *r,
                           uint32_t count)
{
    uint32_t copy;

    copy = far_grant_copies_add(port->copies, r->indirect, 0,
                                count * (uint32_t)sizeof(r->segment[0]),
                                r->segment, false);
    if (copy == UINT32_MAX)
        return false;
    run_copies(port, 1);
    return !far_grant_copies_failed(port->copies, copy);
}

static void publish_run(struct far_defer *defer);

/* At the end of the turn. */
static void publish_later(struct port *port)
{
    far_defer(port->a->backend->loop, &port->publish, publish_run);
}

/* The rings are looked at, too. */
static void look_again(struct port *port)
{
    port->starved = true;
    publish_later(port);
}

/* --- answers ---------------------------------------------------------------
 */

/* Where the ring's entry is, is known only to the journal: also for one that
 * a predecessor could not show any more. */
static void put_answer(struct port *port, struct far_vbd_slot *slot)
{
    struct queue *q = &port->queue[slot->queue];
    uint8_t answer[FAR_VBD_ENTRY_BYTES_MAX];
    uint32_t bytes =
        far_vbd_answer(port->journal->mode.abi, answer, slot->request.id,
                       slot->request.acts, slot->status);

    memcpy(entry_at(q, slot->answered_at), answer, bytes);
    q->answers[q->answers_count++] = (uint8_t)(slot - port->journal->slot);
}

static void answer(struct port *port, unsigned number, int16_t status)
{
    struct far_vbd_slot *slot = slot_of(port, number);
    struct work *work = &port->work[number];

    if (status != BLKIF_RSP_OKAY)
        port->counters.errors++;
    if (work->began_ns) {
        far_hist_add(&port->latency, far_now_ns() - work->began_ns);
        work->began_ns = 0;
        port->sampling = false;
    }
    if (work->barrier)
        port->barrier = false;
    if (work->repeat)
        port->repeats--;
    work->barrier = work->repeat = false;
    work->step = IDLE;
    port->in_flight--;
    far_vbd_answered(port->journal, slot, status);
    put_answer(port, slot);
    publish_later(port);
}

static void publish_queue(struct port *port, struct queue *q)
{
    uint32_t old = q->produced;
    uint32_t new =
        atomic_load_explicit(&q->journal->answered, memory_order_relaxed);
    uint32_t event;

    if (!q->answers_count)
        return;
    atomic_store_explicit(word(q, RSP_PROD), new, memory_order_release);
    q->produced = new;
    for (unsigned i = 0; i < q->answers_count; i++) {
        far_vbd_release(slot_of(port, q->answers[i]));
        port->free[port->frees++] = q->answers[i];
    }
    q->answers_count = 0;
    atomic_thread_fence(memory_order_seq_cst);
    event = atomic_load_explicit(word(q, RSP_EVENT), memory_order_relaxed);
    if (new - event < new - old) {
        port->counters.notifies++;
        (void)far_evtchn_notify(&q->evtchn);
    }
}

static void finish_reads(struct port *port)
{
    uint8_t numbers[FAR_VBD_SLOTS];
    unsigned count = port->done_count;

    if (!count)
        return;
    memcpy(numbers, port->done, count);
    port->done_count = 0;
    copy_all(port, numbers, count, true);
    for (unsigned i = 0; i < count; i++)
        answer(port, numbers[i],
               port->work[numbers[i]].failed ? BLKIF_RSP_ERROR
                                             : BLKIF_RSP_OKAY);
}

static void drain_all(struct port *port);

static void publish_all(struct port *port)
{
    finish_reads(port);
    for (unsigned i = 0; i < port->queues; i++)
        publish_queue(port, &port->queue[i]);
}

/* End of the turn. */
static void publish_run(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, publish, defer);

    if (!port->served)
        return;
    publish_all(port);
    /* what was left in a ring for want of a slot */
    if (port->starved && can_take(port)) {
        port->starved = false;
        drain_all(port);
    }
}

/* --- the device ------------------------------------------------------------
 */

static bool reads(const struct far_op *op)
{
    return op->opcode == FAR_BLOCK_READ;
}

static void send(struct port *port, unsigned number);

/* The op of this slot was answered by the device. */
static void done(struct port *port, unsigned number, const struct far_op *op)
{
    struct far_vbd_slot *slot = slot_of(port, number);
    struct work *work = &port->work[number];
    int32_t status = op->status;

    if (work->step == PREFLUSH && !status) {
        work->step = SENT;
        far_vbd_flushed(slot);
        send(port, number);
        return;
    }
    if (!status && reads(&slot->op)) {
        if (op->payload_bytes == slot->op.payload_bytes) {
            port->done[port->done_count++] = (uint8_t)number;
            work->step = COPYING;
            publish_later(port);
            return;
        }
        status = -EIO; /* the rest would be what was in memory before */
    }
    answer(port, number, far_vbd_status(status));
}

/* Submits; a barrier's first step is a flush. */
static void send(struct port *port, unsigned number)
{
    struct work *work = &port->work[number];
    struct far_op op = slot_of(port, number)->op;
    void *payload = op.payload_bytes ? work->memory : NULL;

    op.sequence = slot_of(port, number)->sequence;
    if (work->step == PREFLUSH) {
        op.opcode = FAR_BLOCK_FLUSH;
        op.flags = 0;
        op.payload_bytes = 0;
        memset(op.args, 0, sizeof(op.args));
        payload = NULL;
    }
    if (work->repeat)
        op.flags |= FAR_OP_REPEAT;
    op.attachment = port->a->record->who.attachment;
    switch (far_layer_submit(port->layer.below, &op, payload)) {
    case FAR_DONE:
        done(port, number, &op);
        break;
    case FAR_LATER:
        break;
    default: /* room() brings us back */
        port->held[port->held_count++] = (uint8_t)number;
        port->counters.held++;
        break;
    }
}

/* Requests that were taken, or are to be repeated. */
static void start(struct port *port, const uint8_t *numbers, unsigned count)
{
    uint8_t writes[FAR_VBD_SLOTS];
    unsigned writes_count = 0;

    for (unsigned i = 0; i < count; i++) {
        struct far_vbd_slot *slot = slot_of(port, numbers[i]);
        struct work *work = &port->work[numbers[i]];

        work->failed = false;
        work->step = SENT;
        if (far_vbd_is_barrier(&slot->request)) {
            work->barrier = port->barrier = true;
            if (slot->op.opcode == FAR_BLOCK_WRITE && !far_vbd_is_flushed(slot))
                work->step = PREFLUSH;
        }
        if (!slot->op.payload_bytes)
            continue;
        work->memory = far_layer_place(port->layer.below, numbers[i],
                                       slot->op.payload_bytes);
        if (!work->memory)
            work->memory =
                port->memory + (size_t)numbers[i] * FAR_VBD_BYTES_MAX;
        if (slot->op.opcode == FAR_BLOCK_WRITE)
            writes[writes_count++] = numbers[i];
    }
    if (writes_count)
        copy_all(port, writes, writes_count, false);
    for (unsigned i = 0; i < count; i++) {
        if (port->work[numbers[i]].failed)
            answer(port, numbers[i], BLKIF_RSP_ERROR);
        else
            send(port, numbers[i]);
    }
}

static void count_request(struct port *port, const struct far_op *op)
{
    struct far_block_args args;

    memcpy(&args, op->args, sizeof(args));
    switch (op->opcode) {
    case FAR_BLOCK_READ:
        port->counters.reads++;
        port->counters.read_bytes += op->payload_bytes;
        break;
    case FAR_BLOCK_WRITE:
        port->counters.writes++;
        port->counters.written_bytes += op->payload_bytes;
        break;
    case FAR_BLOCK_FLUSH:
        port->counters.flushes++;
        break;
    default:
        port->counters.discards++;
    }
}

/* Takes one request; its slot's number, or -1: it must wait. */
static int take(struct port *port, struct queue *q, uint32_t index,
                int16_t *status)
{
    uint8_t entry[FAR_VBD_ENTRY_BYTES_MAX];
    unsigned number = port->free[port->frees - 1];
    struct far_vbd_slot *slot = slot_of(port, number);
    uint32_t indirect;

    /* once; what the guest writes there from now on is nothing to us */
    memcpy(entry, entry_at(q, index), q->entry_bytes);
    atomic_signal_fence(memory_order_seq_cst);
    far_vbd_parse(port->journal->mode.abi, entry, &slot->request);
    if (far_vbd_is_barrier(&slot->request) && port->in_flight)
        return -1;
    *status = BLKIF_RSP_OKAY;
    indirect = far_vbd_indirect(&slot->request);
    if (indirect && !fetch_segments(port, &slot->request, indirect)) {
        slot->request.segments = 0;
        *status = BLKIF_RSP_ERROR;
    }
    if (*status == BLKIF_RSP_OKAY)
        *status = far_vbd_judge(&slot->request, &port->props, port->writable,
                                &slot->op);
    if (*status != BLKIF_RSP_OKAY) {
        /* answered at once, and never submitted, not by a successor either */
        memset(&slot->op, 0, sizeof(slot->op));
        slot->op.opcode = FAR_OP_NOP(FAR_CLASS_BLOCK);
        slot->request.segments = 0;
        port->counters.refused++;
    } else {
        count_request(port, &slot->op);
    }
    slot->status = *status;
    slot->queue = (uint32_t)(q - port->queue);
    slot->taken_at = index;
    port->frees--;
    port->in_flight++;
    far_vbd_take(port->journal, slot);
    return (int)number;
}

/* true: something was taken */
static bool drain(struct port *port, struct queue *q)
{
    uint32_t produced =
        atomic_load_explicit(word(q, REQ_PROD), memory_order_acquire);
    uint8_t fresh[BUDGET];
    unsigned count = 0, budget = BUDGET;
    uint32_t index = consumed(q);

    if (produced - index > q->entries) {
        broken(port);
        return false;
    }
    if (produced == index)
        return false;
    for (; index != produced && budget && can_take(port); index++, budget--) {
        int16_t status;
        int number = take(port, q, index, &status);

        if (number < 0) { /* a barrier waits for all before it */
            port->starved = true;
            break;
        }
        if (!port->sampling &&
            far_loop_now_us(port->a->backend->loop) >= port->sample_us) {
            port->sampling = true;
            port->sample_us =
                far_loop_now_us(port->a->backend->loop) + SAMPLE_US;
            port->work[number].began_ns = far_now_ns();
        }
        if (status != BLKIF_RSP_OKAY) {
            answer(port, (unsigned)number, status);
            continue;
        }
        fresh[count++] = (uint8_t)number;
        if (far_vbd_is_barrier(&slot_of(port, (unsigned)number)->request)) {
            index++;
            break;
        }
    }
    if (index != produced)
        port->starved = true;
    if (port->starved && !budget) /* else an answer brings us back */
        publish_later(port);
    start(port, fresh, count);
    return count != 0;
}

static void drain_all(struct port *port)
{
    for (unsigned i = 0; i < port->queues && port->served; i++)
        (void)drain(port, &port->queue[i]);
}

static void port_complete(struct far_layer *layer, const struct far_op *op)
{
    struct port *port = (struct port *)(void *)layer;
    struct far_vbd_slot *slot;

    if (!port->journal || op->slot >= FAR_VBD_SLOTS)
        return;
    slot = slot_of(port, op->slot);
    if ((port->work[op->slot].step != SENT &&
         port->work[op->slot].step != PREFLUSH) ||
        slot->sequence != op->sequence) {
        port->counters.stale++;
        return;
    }
    done(port, op->slot, op);
}

/* The data are copied anew: the memory that they lay in was of a device that
 * did not take the request, and may be another one now. */
static void port_room(struct far_layer *layer)
{
    struct port *port = (struct port *)(void *)layer;
    uint8_t numbers[FAR_VBD_SLOTS];
    unsigned count = port->held_count;

    if (port->leaving)
        far_attachment_step(port->a);
    memcpy(numbers, port->held, count);
    port->held_count = 0;
    start(port, numbers, count);
    if (!port->held_count && port->served)
        publish_later(port);
}

/* All that no device has any more: what a predecessor left open, or what a
 * device had that is no longer there. */
static void repeat_all(struct port *port)
{
    struct far_vbd_slot *open[FAR_VBD_SLOTS];
    uint8_t numbers[FAR_VBD_SLOTS];
    unsigned n = far_vbd_open_slots(port->journal, open), count = 0;

    port->held_count = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned number = (unsigned)(open[i] - port->journal->slot);
        struct work *work = &port->work[number];

        if (work->step == COPYING)
            continue; /* the device has done its part */
        if (!work->repeat)
            port->repeats++;
        work->repeat = true;
        if (open[i]->status != BLKIF_RSP_OKAY) /* refused, but not told so */
            answer(port, number, open[i]->status);
        else
            numbers[count++] = (uint8_t)number;
    }
    port->counters.repeated += count;
    port->lost = false;
    start(port, numbers, count);
}

static void resize_run(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, resize, defer);
    struct far_error error;

    if (port->served)
        (void)far_vbd_show(port, false, &error);
}

/* What another process or machine says of its disk may be anything: a disk that
 * can't be is waited for, as one that does not answer. */
static bool is_sound(struct port *port, const struct far_layer_news *news)
{
    struct far_block_props props;
    const char *fault;

    memcpy(&props, news->props, sizeof(props));
    fault = far_block_props_fault(&props);
    if (!fault)
        return true;
    snprintf(port->reason, sizeof(port->reason), "%s can't be a disk: %s",
             port->chain.address.device, fault);
    far_log_limited(port->a->backend->log, &port->a->guest->bucket,
                    FAR_LOG_WARNING, "%s/%u of guest %s: %s", port->a->kind,
                    port->a->devid, port->a->guest->name, port->reason);
    return false;
}

static void port_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct port *port = (struct port *)(void *)layer;
    bool was_ready = port->ready;

    layer->device_state = state;
    snprintf(port->reason, sizeof(port->reason), "%s",
             news && news->reason ? news->reason : "");
    port->ready = state == FAR_DEVICE_READY && news && is_sound(port, news);
    if (news && news->ops_lost && port->served) {
        /* what was read lies in memory that goes with the device's layers */
        finish_reads(port);
        port->held_count = 0;
        port->lost = true;
    }
    if (port->ready) {
        struct far_block_props before = port->props;

        memcpy(&port->props, news->props, sizeof(port->props));
        if (!port->discards)
            port->props.can &= ~(uint32_t)FAR_BLOCK_CAN_DISCARD;
        if (port->served && port->lost)
            repeat_all(port);
        if (port->served && before.bytes != port->props.bytes)
            far_defer(port->a->backend->loop, &port->resize, resize_run);
        if (port->served)
            look_again(port);
    }
    if (!port->served && port->ready != was_ready)
        far_attachment_step(port->a);
}

static const struct far_layer_ops port_ops = {
    .name = "vbd-port",
    .complete = port_complete,
    .state = port_state,
    .room = port_room,
};

/* --- events ----------------------------------------------------------------
 */

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct queue *q = CONTAINER(struct queue, evtchn, evtchn);
    struct port *port = q->port;
    enum far_evtchn_verdict verdict;

    port->counters.wakes++;
    if (!port->served)
        return FAR_EVTCHN_BROKEN;
    (void)drain(port, q);
    if (!port->served)
        return FAR_EVTCHN_BROKEN;
    /* what it tells of may have been found before it came */
    verdict = consumed(q) == q->event_consumed && !port->starved
                  ? FAR_EVTCHN_SPURIOUS
                  : FAR_EVTCHN_WORKED;
    if (verdict == FAR_EVTCHN_SPURIOUS)
        port->counters.spurious++;
    q->event_consumed = consumed(q);
    return verdict;
}

static bool poll_rings(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, poller, poller);
    bool any = false;

    if (!can_take(port))
        return false;
    for (unsigned i = 0; i < port->queues && port->served; i++)
        any |= drain(port, &port->queue[i]);
    return any;
}

static bool poll_arm(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, poller, poller);
    bool sleep = true;

    if (!port->served)
        return true;
    for (unsigned i = 0; i < port->queues; i++)
        atomic_store_explicit(word(&port->queue[i], REQ_EVENT),
                              consumed(&port->queue[i]) + 1,
                              memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    /* an answer of the device, or the end of the turn, brings us back */
    if (!can_take(port) || port->starved)
        return true;
    for (unsigned i = 0; i < port->queues; i++)
        sleep &= !waiting(&port->queue[i]);
    return sleep;
}

static void age(struct far_timer *timer)
{
    struct port *port = CONTAINER(struct port, age, timer);
    uint64_t now = far_now_us();

    if (port->cache && now > AGE_US)
        far_grant_cache_age(port->cache, now - AGE_US);
    far_timer_set(timer, now + LOOK_AGE_US);
}

static void impatient(struct far_timer *timer)
{
    far_attachment_step(CONTAINER(struct port, patience, timer)->a);
}

/* --- the chain -------------------------------------------------------------
 */

static int open_chain(struct port *port, struct far_error *error)
{
    char text[FAR_CHAIN_ADDRESS_BYTES];
    struct far_layer *bottom;

    if (port->layer.below)
        return 0;
    far_chain_address_text(&port->chain, text, sizeof(text));
    port->kept =
        far_kept_new(port->a->backend->loop, port->a->backend->log, text);
    if (!port->kept || far_chain_open(&port->chain, &bottom)) {
        far_layer_close(port->kept);
        port->kept = NULL;
        return far_error(error, -ENOMEM, "memory is out");
    }
    far_layer_stack(port->kept, bottom);
    far_layer_stack(&port->layer, port->kept);
    return 0;
}

/* Room for copies of what is not flushed, or a predecessor's. */
static int begin_kept(struct port *port, bool adopt, struct far_error *error)
{
    int fd =
        far_journal_file(port->a->backend->journal, port->a->record, !adopt);
    int r = fd < 0 ? fd : far_kept_begin(port->kept, fd, adopt);

    if (r)
        return far_error(error, r,
                         "copies of what it writes can't be kept in the run "
                         "directory: %s",
                         r == -EILSEQ ? "they are damaged" : strerror(-r));
    return 0;
}

static void close_chain(struct port *port)
{
    if (port->layer.below) {
        port->layer.below->above = NULL;
        far_layer_close(port->layer.below);
    }
    port->layer.below = port->kept = NULL;
    port->layer.device_state = FAR_DEVICE_GONE;
    port->ready = false;
    port->held_count = 0;
    port->chain.binding = FAR_CHAIN_NONE;
}

/* Record and chain. Whoever is behind takes a user that was closed and comes
 * again for another one. */
static int prepare(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    bool known = a->record != NULL, changed = false;
    int r = far_chain_record(&port->chain, &changed, error);

    if (r)
        return r;
    if (changed)
        close_chain(port);
    if (known && !changed && !port->layer.below) {
        far_journal_edit(a->record);
        a->record->who.attachment = far_journal_attachment(a->backend->journal);
        far_journal_seal(a->record);
    }
    return open_chain(port, error);
}

/* --- serving ---------------------------------------------------------------
 */

static void unserve(struct port *port)
{
    struct far_loop *loop = port->a->backend->loop;

    port->served = false;
    far_defer_cancel(loop, &port->publish);
    far_defer_cancel(loop, &port->resize);
    far_timer_cancel(&port->age);
    far_poller_del(&port->poller);
    for (unsigned i = 0; i < FAR_VBD_QUEUES_MAX; i++) {
        far_evtchn_unbind(&port->queue[i].evtchn);
        far_grant_unmap(&port->queue[i].map);
        port->queue[i].answers_count = 0;
    }
    far_grant_cache_free(port->cache);
    far_grant_copies_free(port->copies);
    port->cache = NULL;
    port->copies = NULL;
    port->queues = 0;
    port->done_count = port->held_count = port->frees = 0;
    port->in_flight = port->repeats = 0;
    port->barrier = port->starved = port->lost = port->sampling = false;
    memset(port->work, 0, sizeof(port->work));
    far_journal_annex_close(port->journal, sizeof(*port->journal));
    port->journal = NULL;
}

/* Maps and binds what the journal says. */
static int serve(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_backend *backend = a->backend;
    struct far_vbd_journal *j = port->journal;
    struct far_evtchns *channels = far_guest_channels(a->guest);
    int r;

    if (!channels)
        return far_error(error, -errno, "no event channels: %s",
                         strerror(errno));
    port->copies =
        far_grant_copies_new(backend->grants, a->guest->domid, COPIES);
    if (j->mode.persistent)
        port->cache = far_grant_cache_new(backend->grants, a->guest->domid,
                                          &a->guest->quota, CACHE_PAGES);
    if (!port->copies || (j->mode.persistent && !port->cache))
        return far_error(error, -ENOMEM, "memory is out");
    for (uint32_t i = 0; i < j->mode.queues; i++) {
        struct queue *q = &port->queue[i];

        q->port = port;
        q->journal = &j->queue[i];
        q->entries = far_vbd_ring_entries(j->mode.abi, j->mode.pages);
        q->entry_bytes = far_vbd_entry_bytes(j->mode.abi);
        q->answers_count = 0;
        r = far_grant_map(backend->grants, &q->map, a->guest->domid, j->refs[i],
                          j->mode.pages, true, &a->guest->quota);
        if (r)
            return far_error(error, r,
                             "the guest's ring %u (grant %u) can't be mapped: "
                             "%s",
                             i, j->refs[i][0], strerror(-r));
        r = far_evtchn_bind(channels, &q->evtchn, j->ports[i], fired);
        if (r)
            return far_error(error, r,
                             "the guest's event-channel %u can't be bound: %s",
                             j->ports[i], strerror(-r));
    }
    port->queues = j->mode.queues;
    return 0;
}

static void begin(struct port *port)
{
    struct far_loop *loop = port->a->backend->loop;

    port->served = true;
    port->poller = (struct far_poller){ .poll = poll_rings, .arm = poll_arm };
    far_poller_add(loop, &port->poller);
    far_timer_set(&port->age, far_now_us() + LOOK_AGE_US);
    look_again(port); /* requests may have come before the event was bound */
}

static struct port *port_get(struct far_attachment *a, struct far_error *error)
{
    struct port *port = a->port;
    void *memory;

    if (port)
        return port;
    port = calloc(1, sizeof(*port));
    memory = mmap(NULL, (size_t)FAR_VBD_SLOTS * FAR_VBD_BYTES_MAX,
                  PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!port || memory == MAP_FAILED) {
        free(port);
        far_error(error, -ENOMEM, "memory is out");
        return NULL;
    }
    port->layer.ops = &port_ops;
    port->memory = memory;
    port->a = a;
    port->chain.a = a;
    far_timer_init(&port->age, a->backend->loop, age);
    far_timer_init(&port->patience, a->backend->loop, impatient);
    a->port = port;
    return port;
}

/* --- the port's table ------------------------------------------------------
 */

static int vbd_publish(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_get(a, error);
    int r;

    if (!port)
        return -ENOMEM;
    r = far_vbd_offer(port, error);
    if (r)
        return r;
    r = prepare(port, error);
    if (r)
        return r;
    /* A guest would wait for it for minutes; who attaches it can be told. */
    if (port->chain.binding == FAR_CHAIN_ABSENT) {
        close_chain(port);
        return far_error(error, -ENODEV, "%s", port->chain.absent);
    }
    return far_vbd_claim(port, error);
}

static void vbd_activate(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (port && port->layer.below)
        far_layer_activate(port->layer.below, 0, 0);
}

static int connect_rings(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_vbd_journal *j;
    int r;

    j = far_journal_annex(a->backend->journal, a->record,
                          FAR_VBD_JOURNAL_VERSION, sizeof(*j), true);
    if (!j)
        return far_error(error, -errno, "the journal can't grow: %s",
                         strerror(errno));
    port->journal = j;
    r = far_vbd_read_front(port, &j->mode, j->refs, j->ports, error);
    if (r)
        return r;
    far_vbd_journal_begin(j, port->sequence);
    r = begin_kept(port, false, error);
    if (!r)
        r = serve(port, error);
    if (r)
        return r;
    for (uint32_t i = 0; i < port->queues; i++) {
        struct queue *q = &port->queue[i];

        /* a new ring is zeroed; one that goes on says where */
        q->produced =
            atomic_load_explicit(word(q, RSP_PROD), memory_order_relaxed);
        q->journal->consumed = q->journal->answered = q->produced;
        q->event_consumed = q->produced;
    }
    while (port->frees < FAR_VBD_SLOTS) {
        port->free[port->frees] = (uint8_t)(FAR_VBD_SLOTS - 1 - port->frees);
        port->frees++;
    }
    return far_vbd_show(port, true, error);
}

static int vbd_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    int r;

    unserve(port);
    r = connect_rings(port, error);
    if (r) {
        unserve(port);
        return r;
    }
    far_journal_connected(a->record);
    begin(port);
    return 0;
}

static int adopt_rings(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_vbd_journal *j, now = { 0 };
    uint32_t produced[FAR_VBD_QUEUES_MAX];
    struct far_vbd_slot *slot;
    int r;

    j = far_journal_annex(a->backend->journal, a->record,
                          FAR_VBD_JOURNAL_VERSION, sizeof(*j), false);
    if (!j)
        return far_error(error, -errno, "its journal is damaged");
    port->journal = j;
    r = far_vbd_offer(port, error);
    if (!r)
        r = far_vbd_read_front(port, &now.mode, now.refs, now.ports, error);
    if (r)
        return r;
    if (!far_chain_same_who(&port->chain))
        return far_error(error, -ESTALE, "%s was ordered meanwhile",
                         port->chain.address.device);
    if (memcmp(&now.mode, &j->mode, sizeof(now.mode)) ||
        memcmp(now.refs, j->refs, sizeof(now.refs)) ||
        memcmp(now.ports, j->ports, sizeof(now.ports)))
        return far_error(error, -ESTALE,
                         "the guest has other rings or event channels now");
    r = serve(port, error);
    if (r)
        return r;
    for (uint32_t i = 0; i < port->queues; i++)
        produced[i] = port->queue[i].produced = atomic_load_explicit(
            word(&port->queue[i], RSP_PROD), memory_order_acquire);
    r = far_vbd_recover(j, produced);
    if (r)
        return far_error(error, r,
                         "the journal does not know the indexes in its rings");
    for (slot = j->slot + FAR_VBD_SLOTS; slot-- > j->slot;) {
        switch (atomic_load_explicit(&slot->state, memory_order_relaxed)) {
        case FAR_VBD_FREE:
            port->free[port->frees++] = (uint8_t)(slot - j->slot);
            break;
        case FAR_VBD_ANSWERED:
            put_answer(port, slot);
            break;
        default:
            port->in_flight++;
        }
    }
    for (uint32_t i = 0; i < port->queues; i++)
        port->queue[i].event_consumed = consumed(&port->queue[i]);
    return 0;
}

static int vbd_adopt(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_get(a, error);
    int r;

    if (!port)
        return -ENOMEM;
    r = adopt_rings(port, error);
    if (!r)
        r = open_chain(port, error);
    if (!r)
        r = begin_kept(port, true, error);
    if (r) {
        unserve(port);
        return r;
    }
    port->lost = true; /* all that is open */
    begin(port);
    vbd_activate(a);
    /* The predecessor may have died between rsp_prod and its event. */
    for (uint32_t i = 0; i < port->queues; i++)
        (void)far_evtchn_notify(&port->queue[i].evtchn);
    return 0;
}

static void stop_serving(struct port *port)
{
    struct far_attachment *a = port->a;

    if (port->served)
        publish_all(port);
    if (port->journal)
        port->sequence = far_vbd_journal_sequence(port->journal);
    unserve(port);
    far_journal_disconnected(a->record);
}

/* What was answered and not flushed is on the disk before its copies go: the
 * guest may go on elsewhere, or its disk with another. */
static bool vbd_leave(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port || !port->kept)
        return true;
    if (!port->leaving) {
        stop_serving(port);
        port->leaving = true;
        far_timer_set(&port->patience, far_now_us() + LEAVE_US);
    }
    port->leaving =
        !far_kept_drain(port->kept) && far_timer_armed(&port->patience);
    return !port->leaving;
}

static void vbd_halted(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (port && port->kept && port->served)
        far_kept_flush(port->kept);
}

/* Copies are about to go of what was never flushed. */
static void tell_unflushed(const struct port *port)
{
    const struct far_attachment *a = port->a;
    struct far_kept_counters kept = { 0 };
    char text[FAR_CHAIN_ADDRESS_BYTES];

    if (!port->kept || !a->record || far_kept_failed(port->kept))
        return;
    far_kept_counters(port->kept, &kept);
    if (!kept.kept_bytes)
        return;
    far_chain_address_text(&port->chain, text, sizeof(text));
    far_log(a->backend->log, FAR_LOG_ERROR,
            "%s/%u of guest %s: %s could not be flushed when the guest let it "
            "go: the last %llu KiB that it wrote are lost if the disk's "
            "machine loses its power before whoever has it next flushes%s%s",
            a->kind, a->devid, a->guest->name, text,
            (unsigned long long)(kept.kept_bytes + 1023) / 1024,
            port->reason[0] ? ". It said: " : "", port->reason);
}

static void vbd_disconnect(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    stop_serving(port);
    far_timer_cancel(&port->patience);
    port->leaving = false;
    tell_unflushed(port);
    /* lets go of the device: another may have it now */
    close_chain(port);
}

static void vbd_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    close_chain(port);
    munmap(port->memory, (size_t)FAR_VBD_SLOTS * FAR_VBD_BYTES_MAX);
    a->port = NULL;
    free(port);
}

static void vbd_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);
    struct far_error error;

    if (!port || !port->layer.below || !a->record ||
        !far_chain_renew(&port->chain))
        return;
    if (port->journal)
        far_journal_annex_renew(port->journal, a->record);
    finish_reads(port);
    close_chain(port);
    if (open_chain(port, &error) ||
        (port->served && begin_kept(port, true, &error))) {
        far_attachment_fail(a, "%s", error.text);
        return;
    }
    port->lost = port->served;
    if (port->served || a->view.activated)
        vbd_activate(a);
}

static bool vbd_device_ready(const struct far_attachment *a)
{
    const struct port *port = port_of(a);

    return port && port->ready && (port->served || far_vbd_is_free(port));
}

static void vbd_status(const struct far_attachment *a, json_t *to)
{
    const struct port *port = port_of(a);
    json_t *counters = far_chain_status(port ? &port->chain : NULL, to),
           *latency = json_object_get(to, "latency");

    if (!port)
        return;
    if (port->reason[0] && json_is_null(json_object_get(to, "reason"))) {
        json_object_set_new(to, "reason", json_string(port->reason));
        if (port->served)
            json_object_set_new(to, "state", json_string("waiting"));
    }
    if (port->kept && far_kept_failed(port->kept))
        json_object_set_new(to, "state", json_string("failed"));
    far_count_json(counters, "reads", port->counters.reads);
    far_count_json(counters, "writes", port->counters.writes);
    far_count_json(counters, "flushes", port->counters.flushes);
    far_count_json(counters, "discards", port->counters.discards);
    far_count_json(counters, "read_bytes", port->counters.read_bytes);
    far_count_json(counters, "written_bytes", port->counters.written_bytes);
    far_count_json(counters, "errors", port->counters.errors);
    far_count_json(counters, "refused", port->counters.refused);
    far_count_json(counters, "in_flight", port->in_flight);
    far_count_json(counters, "repeated", port->counters.repeated);
    far_count_json(counters, "stale", port->counters.stale);
    far_count_json(counters, "held", port->counters.held);
    far_count_json(counters, "wakes", port->counters.wakes);
    far_count_json(counters, "spurious", port->counters.spurious);
    far_count_json(counters, "notifies", port->counters.notifies);
    far_count_json(counters, "grant_copies", port->counters.copies);
    far_count_json(counters, "grant_copy_calls", port->counters.copy_calls);
    far_count_json(counters, "mapped_copies", port->counters.mapped_copies);
    far_count_json(counters, "copied_bytes", port->counters.copied_bytes);
    if (port->kept) {
        struct far_kept_counters kept;

        json_object_set_new(to, "ops",
                            far_layer_ops_json(port->kept, FAR_CLASS_BLOCK));

        far_kept_counters(port->kept, &kept);
        far_count_json(counters, "kept_bytes", kept.kept_bytes);
        far_count_json(counters, "written_again", kept.written_again);
        far_count_json(counters, "given_again", kept.given_again);
        far_count_json(counters, "own_flushes", kept.own_flushes);
        far_count_json(counters, "incarnations", kept.incarnations);
    }
    if (port->cache) {
        const struct far_grant_cache_counters *c =
            far_grant_cache_counters(port->cache);

        far_count_json(counters, "grants_mapped", c->pages);
        far_count_json(counters, "grant_hits", c->hits);
        far_count_json(counters, "grant_maps", c->maps);
        far_count_json(counters, "grant_unmaps", c->unmaps);
    }
    json_object_set_new(latency, "op", far_hist_json(&port->latency));
}

static const char *const vbd_kinds[] = { "vbd", NULL };

const struct far_port_type far_port_vbd = {
    .kinds = vbd_kinds,
    .class = FAR_CLASS_BLOCK,
    .handshake = FAR_HS_WAIT_FOR_FRONT | FAR_HS_NEEDS_DEVICE | FAR_HS_ADOPTS |
                 FAR_HS_INSISTS,
    .mine = far_vbd_mine,
    .publish = vbd_publish,
    .activate = vbd_activate,
    .connect = vbd_connect,
    .adopt = vbd_adopt,
    .leave = vbd_leave,
    .halted = vbd_halted,
    .disconnect = vbd_disconnect,
    .reclaim = far_vbd_reclaim,
    .detach = vbd_detach,
    .reload = vbd_reload,
    .device_ready = vbd_device_ready,
    .status = vbd_status,
};
