/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vsnd port: sndif's rings towards a guest, the buffers that it grants, and
 * a chain of devices for each stream. What a request means is decided in
 * port-vsnd-checks.c, nodes are read in port-vsnd-nodes.c.
 *
 *   a stream's ring ── fast sound ── device of this process | local client |
 *                                    absent
 *
 * The fast device answers everything at once, so a request is answered before
 * the next one is taken, and no guest's driver ever gets impatient (Linux'
 * gives up after 3 s). Samples are copied by grant copy, never mapped: a page
 * that stays mapped would keep a guest from having it back, and what is written
 * to it would be lost in a live migration.
 */
#include "backend/port-vsnd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "backend/page-directory.h"
#include "backend/wish.h"
#include "core/status.h"

#define BUDGET      32u /* requests of a ring in one turn */
#define RING_BYTES  4096u
#define EVENTS      XENSND_IN_RING_LEN
#define EVENT_ARRAY XENSND_IN_RING_OFFS
#define STRANGE     "the guest has written nonsense into its ring"

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static struct port *port_of(const struct far_attachment *a)
{
    return a->port;
}

static void broken(struct port *port, const char *what)
{
    port->served = false;
    far_attachment_fail(port->a, "%s: %s", STRANGE, what);
}

/* --- events -----------------------------------------------------------------
 */

/* in_prod for everybody to see. */
static void publish_events(struct stream *s, uint32_t produced)
{
    struct xensnd_event_page *page = s->event_map.memory;

    s->events = produced;
    __atomic_store_n(&page->in_prod, produced, __ATOMIC_RELEASE);
    (void)far_evtchn_notify(&s->event_channel);
}

/* The position is absolute: one that finds no room is no loss. Events are
 * numbered from 0, without a gap, or Linux' front takes none any more. */
static bool port_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct stream *s = (struct stream *)(void *)layer;
    struct xensnd_event_page *page = s->event_map.memory;
    struct xensnd_evt event = { .type = XENSND_EVT_CUR_POS };
    struct far_sound_args a;
    uint32_t taken;

    if (op->opcode != FAR_SOUND_POSITION || !s->port->served)
        return false;
    taken = __atomic_load_n(&page->in_cons, __ATOMIC_ACQUIRE);
    if (taken - s->taken > s->events - s->taken) {
        broken(s->port, "in_cons is not between what it was and what was sent");
        return false;
    }
    s->taken = taken;
    if (s->events - taken == EVENTS) {
        s->counters.events_full++;
        return false;
    }
    memcpy(&a, op->args, sizeof(a));
    event.id = (uint16_t)(s->events - s->journal->first_event);
    event.op.cur_pos.position = a.position_bytes;
    memcpy((uint8_t *)page + EVENT_ARRAY + s->events % EVENTS * sizeof(event),
           &event, sizeof(event));
    atomic_store_explicit(&s->journal->events, s->events + 1,
                          memory_order_release);
    s->counters.events++;
    publish_events(s, s->events + 1);
    return true;
}

static const struct far_layer_ops stream_ops = {
    .name = "vsnd-port",
    .interrupt = port_interrupt,
};

/* Its driver has no reason to ring there. */
static enum far_evtchn_verdict event_fired(struct far_evtchn *evtchn)
{
    struct stream *s = CONTAINER(struct stream, event_channel, evtchn);

    return s->port->served ? FAR_EVTCHN_SPURIOUS : FAR_EVTCHN_BROKEN;
}

/* --- the guest's buffer -----------------------------------------------------
 */

/* Between the guest's pages and port->memory. */
static int copy(struct stream *s, uint32_t offset, uint32_t length,
                bool to_guest)
{
    struct port *port = s->port;
    uint32_t first = UINT32_MAX, count = 0;

    for (uint32_t done = 0, n; done < length; done += n) {
        uint32_t at = offset + done, number;

        n = FAR_PAGE_BYTES - at % FAR_PAGE_BYTES;
        if (n > length - done)
            n = length - done;
        number = far_grant_copies_add(
            port->copies, s->journal->refs[at / FAR_PAGE_BYTES],
            at % FAR_PAGE_BYTES, n, port->memory + done, to_guest);
        if (!count++)
            first = number;
    }
    far_grant_copies_run(port->copies);
    for (uint32_t i = 0; i < count; i++)
        if (far_grant_copies_failed(port->copies, first + i)) {
            s->counters.copy_faults++;
            return -EIO;
        }
    return 0;
}

/* --- requests ---------------------------------------------------------------
 */

static int submit(struct stream *s, struct far_op *op, const void *args)
{
    op->attachment = s->journal->who.attachment;
    if (args)
        memcpy(op->args, args, sizeof(op->args));
    if (far_layer_submit(s->fast, op,
                         op->payload_bytes ? s->port->memory : NULL) !=
        FAR_DONE)
        return -EIO; /* it answers all that it knows */
    return op->status;
}

static int do_open(struct stream *s, const struct xensnd_open_req *request)
{
    const struct far_vsnd_nodes *nodes = &s->journal->nodes;
    struct far_op op = { .opcode = FAR_SOUND_OPEN };
    struct far_sound_params params;
    uint32_t pages;
    int r =
        far_vsnd_open(&nodes->config, request, nodes->records, &params, &pages);

    if (!r)
        r = far_page_directory_read(s->port->a->guest, request->gref_directory,
                                    s->journal->refs, pages);
    for (uint32_t i = 0; !r && i < pages; i++)
        if (s->journal->refs[i] < FAR_GRANT_RESERVED)
            r = -EINVAL;
    if (r)
        return r;
    s->journal->pages = pages;
    s->counters.opens++;
    return submit(s, &op, &params);
}

static int do_close(struct stream *s)
{
    struct far_op op = { .opcode = FAR_SOUND_CLOSE };

    /* Linux' front closes what it never opened, too. */
    return s->journal->state.open ? submit(s, &op, NULL) : 0;
}

static int do_write(struct stream *s, const struct xensnd_rw_req *request)
{
    const struct far_sound_state *state = &s->journal->state;
    struct far_sound_args a = { .length_bytes = request->length,
                                .stream = state->params.stream };
    struct far_op op = { .opcode = FAR_SOUND_WRITE, .flags = FAR_OP_SENDS };
    int r = far_vsnd_part(state, request);

    if (!r && state->params.records)
        r = -EINVAL;
    if (!r)
        r = copy(s, request->offset, request->length, false);
    if (r)
        return r;
    a.offset_bytes = far_vsnd_written_at(state, request->offset);
    op.payload_bytes = request->length;
    s->counters.writes++;
    s->counters.written_bytes += request->length;
    return submit(s, &op, &a);
}

static int do_read(struct stream *s, const struct xensnd_rw_req *request)
{
    const struct far_sound_state *state = &s->journal->state;
    struct far_sound_args a = { .length_bytes = request->length,
                                .stream = state->params.stream };
    struct far_op op = { .opcode = FAR_SOUND_READ, .flags = FAR_OP_RECEIVES };
    int r = far_vsnd_part(state, request);

    if (!r && !state->params.records)
        r = -EINVAL;
    if (r)
        return r;
    a.offset_bytes = far_vsnd_read_at(state, request->offset, request->length);
    op.payload_bytes = request->length;
    r = submit(s, &op, &a);
    if (r)
        return r;
    s->counters.reads++;
    s->counters.read_bytes += request->length;
    return copy(s, request->offset, request->length, true);
}

static int do_volume(struct stream *s, const struct xensnd_rw_req *request,
                     bool set)
{
    struct far_op op = { .opcode = FAR_SOUND_GET_VOLUME,
                         .flags = FAR_OP_RECEIVES,
                         .payload_bytes = request->length };
    int r = far_vsnd_part(&s->journal->state, request);

    if (r)
        return r;
    s->counters.volumes++;
    if (set) {
        op.opcode = FAR_SOUND_SET_VOLUME;
        op.flags = FAR_OP_SENDS;
        r = copy(s, request->offset, request->length, false);
        return r ? r : submit(s, &op, NULL);
    }
    r = submit(s, &op, NULL);
    return r ? r : copy(s, request->offset, request->length, true);
}

/* sndif.h has a byte for each channel in its words and four in its picture:
 * the length says which. */
static int do_mute(struct stream *s, const struct xensnd_rw_req *request,
                   bool on)
{
    const struct far_sound_state *state = &s->journal->state;
    struct far_op op = { .opcode = FAR_SOUND_MUTE };
    struct far_sound_mute_args a = { .mute = on };
    uint32_t channels = state->params.channels, unit;
    int r = far_vsnd_part(state, request);

    if (r)
        return r;
    unit = request->length / channels;
    if (request->length % channels || (unit != 1 && unit != 4))
        return -EINVAL;
    r = copy(s, request->offset, request->length, false);
    if (r)
        return r;
    s->counters.volumes++;
    for (uint32_t i = 0; i < request->length; i++)
        if (s->port->memory[i])
            a.channels |= 1u << i / unit;
    return submit(s, &op, &a);
}

static int do_trigger(struct stream *s,
                      const struct xensnd_trigger_req *request)
{
    struct far_op op = { .opcode = FAR_SOUND_TRIGGER };
    struct far_sound_trigger_args a = { .type = request->type,
                                        .stream =
                                            s->journal->state.params.stream };

    s->counters.triggers++;
    return submit(s, &op, &a);
}

static int do_query(struct stream *s,
                    const struct xensnd_query_hw_param *request,
                    struct xensnd_query_hw_param *answer)
{
    struct far_op op = { .opcode = FAR_SOUND_QUERY };
    struct far_sound_caps caps;
    int r = far_vsnd_query(&s->journal->nodes.config, request, &caps);

    s->counters.queries++;
    if (!r)
        r = submit(s, &op, &caps);
    if (r)
        return r;
    memcpy(&caps, op.args, sizeof(caps));
    far_vsnd_queried(&caps, answer);
    return 0;
}

/* Of a private copy. */
static void obey(struct stream *s, const struct xensnd_req *request,
                 struct xensnd_resp *answer)
{
    int r;

    memset(answer, 0, sizeof(*answer));
    answer->id = request->id;
    answer->operation = request->operation;
    switch (request->operation) {
    case XENSND_OP_OPEN:
        r = do_open(s, &request->op.open);
        break;
    case XENSND_OP_CLOSE:
        r = do_close(s);
        break;
    case XENSND_OP_READ:
        r = do_read(s, &request->op.rw);
        break;
    case XENSND_OP_WRITE:
        r = do_write(s, &request->op.rw);
        break;
    case XENSND_OP_SET_VOLUME:
    case XENSND_OP_GET_VOLUME:
        r = do_volume(s, &request->op.rw,
                      request->operation == XENSND_OP_SET_VOLUME);
        break;
    case XENSND_OP_MUTE:
    case XENSND_OP_UNMUTE:
        r = do_mute(s, &request->op.rw, request->operation == XENSND_OP_MUTE);
        break;
    case XENSND_OP_TRIGGER:
        r = do_trigger(s, &request->op.trigger);
        break;
    case XENSND_OP_HW_PARAM_QUERY:
        r = do_query(s, &request->op.hw_param, &answer->resp.hw_param);
        break;
    default:
        r = -EOPNOTSUPP;
        break;
    }
    answer->status = far_vsnd_status(r);
    s->counters.refused += r != 0;
}

/* See struct far_vsnd_stream_journal. */
static void put_answer(struct stream *s)
{
    far_ring_answer(&s->ring, &s->journal->answer);
    if (far_ring_back_push(&s->ring)) {
        s->counters.notifies++;
        (void)far_evtchn_notify(&s->ring_channel);
    }
}

/* true: something was there */
static bool drain(struct stream *s)
{
    struct far_vsnd_stream_journal *j = s->journal;
    unsigned done = 0;
    int r;

    do {
        struct xensnd_req request;

        while (s->port->served && done < BUDGET &&
               (r = far_ring_request(&s->ring, &request)) > 0) {
            obey(s, &request, &j->answer);
            far_ring_took(&s->ring);
            atomic_store_explicit(&j->answered, s->ring.req,
                                  memory_order_release);
            put_answer(s);
            done++;
        }
        if (s->port->served && s->ring.broken) {
            broken(s->port, "there are more requests than a ring holds");
            return false;
        }
    } while (s->port->served && done < BUDGET && !far_ring_back_arm(&s->ring));
    return done != 0;
}

static void drain_again(struct far_defer *defer);

/* A guest that fills its ring faster than it is emptied, and need not tell of
 * it, has its turn again after others had theirs. */
static bool serve_ring(struct stream *s)
{
    bool any = drain(s);

    if (s->port->served && !far_ring_back_arm(&s->ring))
        far_defer(s->port->a->backend->loop, &s->again, drain_again);
    return any;
}

static void drain_again(struct far_defer *defer)
{
    struct stream *s = CONTAINER(struct stream, again, defer);

    if (s->port->served)
        (void)serve_ring(s);
}

static enum far_evtchn_verdict ring_fired(struct far_evtchn *evtchn)
{
    struct stream *s = CONTAINER(struct stream, ring_channel, evtchn);
    bool any;

    s->counters.wakes++;
    if (!s->port->served)
        return FAR_EVTCHN_BROKEN;
    any = serve_ring(s);
    if (!s->port->served)
        return FAR_EVTCHN_BROKEN;
    if (any)
        return FAR_EVTCHN_WORKED;
    s->counters.spurious++;
    return FAR_EVTCHN_SPURIOUS;
}

/* --- the chains -------------------------------------------------------------
 */

/* May it have what it wishes for? The address, or why there is none. */
static void judge_wish(struct stream *s)
{
    const struct far_vsnd_nodes *nodes = &s->journal->nodes;
    struct far_attachment *a = s->port->a;
    struct far_error error;

    s->denied = true;
    if (!nodes->wish[0]) {
        snprintf(s->absent, sizeof(s->absent),
                 "its vsnd line names no device; add unique-id=DEVICE or "
                 "unique-id=PLATFORM/DEVICE to the stream");
    } else if (far_address_parse(&s->address, nodes->wish, &error)) {
        snprintf(s->absent, sizeof(s->absent), "%s", error.text);
    } else if (!far_wish_granted(
                   a, nodes->records ? FAR_WISH_RECORD : FAR_WISH_PLAY,
                   nodes->wish)) {
        far_wish_refuse(a, "unique-id", nodes->wish, &error);
        snprintf(s->absent, sizeof(s->absent), "%s", error.text);
    } else {
        s->denied = false;
    }
}

static void close_chain(struct stream *s)
{
    if (s->fast) {
        s->fast->above = NULL;
        far_layer_close(s->fast);
    }
    s->fast = NULL;
    s->layer.below = NULL;
    s->binding = FAR_CHAIN_NONE;
}

static int open_chain(struct stream *s)
{
    struct far_backend *backend = s->port->a->backend;
    struct far_layer *bottom = NULL;

    s->fast = far_fast_sound_new(backend->loop, s->journal->who.attachment,
                                 &s->journal->state);
    if (s->fast && s->denied) {
        s->binding = FAR_CHAIN_ABSENT;
        bottom = far_chain_absent(s->absent);
    } else if (s->fast) {
        s->binding = far_chain_bottom(backend, &s->address, &s->journal->who,
                                      s->absent, &bottom);
    }
    if (!bottom) {
        far_layer_close(s->fast);
        s->fast = NULL;
        return -ENOMEM;
    }
    far_layer_stack(s->fast, bottom);
    far_layer_stack(&s->layer, s->fast);
    return 0;
}

/* As another user than before, of whoever has the device. */
static void name_user(struct stream *s)
{
    struct far_vsnd_nodes *nodes = &s->journal->nodes;
    struct far_attachment *a = s->port->a;
    struct far_local_who *who = &s->journal->who;

    *who = a->record->who;
    who->attachment = far_journal_attachment(a->backend->journal);
    who->guest_devid =
        a->devid << 16 | (uint32_t)nodes->pcm << 8 | nodes->stream;
    if (!s->denied)
        far_chain_fill_who(a->backend, &s->address, who);
}

/* What the guest wrote into its buffer, and what was not played yet, is there
 * still: the device may need it. */
static void refill(struct stream *s)
{
    const struct far_sound_state *state = &s->journal->state;
    uint32_t size = state->params.buffer_bytes;
    uint64_t from = state->taken_bytes, upto = state->ready_bytes;

    if (!state->open || state->params.records)
        return;
    if (upto - from > size)
        from = upto - size;
    while (from < upto) {
        struct far_sound_args a = { .offset_bytes = from,
                                    .stream = state->params.stream };
        struct far_op op = { .opcode = FAR_SOUND_WRITE, .flags = FAR_OP_SENDS };
        uint32_t at = (uint32_t)(from % size);

        a.length_bytes = size - at;
        if (a.length_bytes > upto - from)
            a.length_bytes = (uint32_t)(upto - from);
        op.payload_bytes = a.length_bytes;
        from += a.length_bytes;
        if (copy(s, at, a.length_bytes, false))
            return;
        (void)submit(s, &op, &a);
    }
}

static void activate(struct stream *s)
{
    far_layer_activate(s->fast, 0, 0);
}

/* --- serving ----------------------------------------------------------------
 */

static void unserve(struct port *port)
{
    port->served = false;
    for (unsigned i = 0; i < port->streams; i++) {
        struct stream *s = &port->stream[i];

        close_chain(s);
        far_defer_cancel(port->a->backend->loop, &s->again);
        far_evtchn_unbind(&s->ring_channel);
        far_evtchn_unbind(&s->event_channel);
        far_grant_unmap(&s->ring_map);
        far_grant_unmap(&s->event_map);
    }
    port->streams = 0;
    far_grant_copies_free(port->copies);
    port->copies = NULL;
    far_journal_annex_close(port->journal, sizeof(*port->journal));
    port->journal = NULL;
}

static int map_stream(struct stream *s, struct far_error *error)
{
    struct far_attachment *a = s->port->a;
    const struct far_vsnd_nodes *n = &s->journal->nodes;
    struct far_evtchns *channels = far_guest_channels(a->guest);
    const struct {
        struct far_grant_map *map;
        struct far_evtchn *channel;
        uint32_t ref, port;
        enum far_evtchn_verdict (*fired)(struct far_evtchn *);
    } pages[] = {
        { &s->ring_map, &s->ring_channel, n->ring_ref, n->ring_port,
          ring_fired },
        { &s->event_map, &s->event_channel, n->event_ref, n->event_port,
          event_fired },
    };

    if (!channels)
        return far_error(error, -errno, "no event channels: %s",
                         strerror(errno));
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        int r = far_grant_map(a->backend->grants, pages[i].map, a->guest->domid,
                              &pages[i].ref, 1, true, &a->guest->quota);

        if (r)
            return far_error(error, r,
                             "the grant %u of the guest's stream %u/%u can't "
                             "be mapped: %s",
                             pages[i].ref, n->pcm, n->stream, strerror(-r));
        r = far_evtchn_bind(channels, pages[i].channel, pages[i].port,
                            pages[i].fired);
        if (r)
            return far_error(error, r,
                             "the event channel %u of the guest's stream %u/%u "
                             "can't be bound: %s",
                             pages[i].port, n->pcm, n->stream, strerror(-r));
    }
    far_ring_attach(&s->ring, s->ring_map.memory, RING_BYTES,
                    sizeof(struct xensnd_req));
    return 0;
}

/* Streams as the journal has them: mapped and bound, not served yet. */
static int map_all(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;

    port->copies = far_grant_copies_new(a->backend->grants, a->guest->domid,
                                        FAR_VSND_BUFFER_PAGES + 1);
    if (!port->copies)
        return far_error(error, -ENOMEM, "memory is out");
    for (uint32_t i = 0; i < port->journal->streams; i++) {
        struct stream *s = &port->stream[i];
        int r;

        memset(s, 0, sizeof(*s));
        s->layer.ops = &stream_ops;
        s->port = port;
        s->journal = &port->journal->stream[i];
        port->streams = i + 1;
        judge_wish(s);
        r = map_stream(s, error);
        if (r)
            return r;
    }
    return 0;
}

static uint64_t sum(uint64_t h, const void *memory, size_t bytes)
{
    const uint8_t *at = memory;

    for (size_t i = 0; i < bytes; i++)
        h = (h ^ at[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t check_of(const struct far_vsnd_journal *j)
{
    uint64_t h =
        sum(UINT64_C(0xcbf29ce484222325), &j->streams, sizeof(j->streams));

    for (uint32_t i = 0; i < j->streams && i < FAR_VSND_STREAMS_MAX; i++)
        h = sum(h, &j->stream[i],
                offsetof(struct far_vsnd_stream_journal, answered));
    return h;
}

static void begin(struct port *port)
{
    port->served = true;
    for (unsigned i = 0; i < port->streams; i++)
        activate(&port->stream[i]);
    /* requests may have come before the event was bound */
    for (unsigned i = 0; i < port->streams && port->served; i++)
        (void)serve_ring(&port->stream[i]);
}

static struct port *port_get(struct far_attachment *a, struct far_error *error)
{
    struct port *port = a->port;
    void *memory;

    if (port)
        return port;
    port = calloc(1, sizeof(*port));
    memory = mmap(NULL, FAR_SOUND_BUFFER_MAX, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!port || memory == MAP_FAILED) {
        free(port);
        far_error(error, -ENOMEM, "memory is out");
        return NULL;
    }
    port->a = a;
    port->memory = memory;
    a->port = port;
    return port;
}

/* --- the port's table -------------------------------------------------------
 */

static bool vsnd_mine(struct far_attachment *a)
{
    (void)a;
    return true; /* nobody else serves it */
}

static int vsnd_publish(struct far_attachment *a, struct far_error *error)
{
    int r;

    if (!port_get(a, error))
        return -ENOMEM;
    r = far_vsnd_offer(a, error);
    return r ? r : far_attachment_record(a, error);
}

static int connect_all(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_vsnd_nodes nodes[FAR_VSND_STREAMS_MAX];
    int count = far_vsnd_read_front(a, nodes, error), r;

    if (count < 0)
        return count;
    port->journal = far_journal_annex(a->backend->journal, a->record,
                                      FAR_VSND_JOURNAL_VERSION,
                                      sizeof(*port->journal), true);
    if (!port->journal)
        return far_error(error, -errno, "the journal can't grow: %s",
                         strerror(errno));
    for (int i = 0; i < count; i++)
        port->journal->stream[i].nodes = nodes[i];
    port->journal->streams = (uint32_t)count;
    r = map_all(port, error);
    for (unsigned i = 0; !r && i < port->streams; i++) {
        struct stream *s = &port->stream[i];
        const struct xensnd_event_page *page = s->event_map.memory;

        /* new pages are zeroed; one that goes on says where */
        s->ring.req = s->ring.rsp = s->ring.pushed =
            __atomic_load_n(&s->ring.page->rsp_prod, __ATOMIC_ACQUIRE);
        s->events = __atomic_load_n(&page->in_prod, __ATOMIC_ACQUIRE);
        s->taken = s->events;
        s->journal->answered = s->ring.req;
        s->journal->events = s->journal->first_event = s->events;
        name_user(s);
        r = open_chain(s);
        if (r)
            far_error(error, r, "memory is out");
    }
    if (!r)
        port->journal->check = check_of(port->journal);
    return r;
}

static int vsnd_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    int r;

    unserve(port);
    r = connect_all(port, error);
    if (r) {
        unserve(port);
        return r;
    }
    far_journal_connected(a->record);
    begin(port);
    return 0;
}

/* The ring where the predecessor left it. */
static int adopt_stream(struct stream *s, struct far_error *error)
{
    struct far_vsnd_stream_journal *j = s->journal;
    const struct xensnd_event_page *page = s->event_map.memory;
    uint32_t answered = atomic_load(&j->answered);
    uint32_t produced =
        __atomic_load_n(&s->ring.page->rsp_prod, __ATOMIC_ACQUIRE);
    uint32_t events = __atomic_load_n(&page->in_prod, __ATOMIC_ACQUIRE);

    if (j->state.damaged ||
        (j->state.open && (far_sound_params_fault(&j->state.params) ||
                           j->pages > FAR_VSND_BUFFER_PAGES)))
        return far_error(error, -EILSEQ, "its journal is damaged");
    if (answered - produced > 1 || j->events - events > 1)
        return far_error(error, -ESTALE,
                         "the journal does not know the indexes in its rings");
    s->ring.req = answered;
    s->ring.rsp = s->ring.pushed = produced;
    s->events = events;
    atomic_store(&j->events, events);
    s->taken = __atomic_load_n(&page->in_cons, __ATOMIC_ACQUIRE);
    if (s->events - s->taken > EVENTS)
        return far_error(error, -EPROTO, "the indexes in its page are wrong");
    return open_chain(s) ? far_error(error, -ENOMEM, "memory is out") : 0;
}

static int adopt_all(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_vsnd_nodes nodes[FAR_VSND_STREAMS_MAX];
    struct far_vsnd_journal *j;
    int count = far_vsnd_read_front(a, nodes, error), r;

    if (count < 0)
        return count;
    j = far_journal_annex(a->backend->journal, a->record,
                          FAR_VSND_JOURNAL_VERSION, sizeof(*j), false);
    if (!j)
        return far_error(error, -errno, "its journal is damaged");
    port->journal = j;
    if (j->streams > FAR_VSND_STREAMS_MAX || j->check != check_of(j))
        return far_error(error, -EILSEQ, "its journal is damaged");
    if ((uint32_t)count != j->streams)
        return far_error(error, -ESTALE, "the guest has other streams now");
    for (int i = 0; i < count; i++)
        if (memcmp(&nodes[i], &j->stream[i].nodes, sizeof(nodes[i])))
            return far_error(error, -ESTALE,
                             "the nodes of the guest's stream %u/%u have "
                             "changed",
                             nodes[i].pcm, nodes[i].stream);
    r = map_all(port, error);
    for (unsigned i = 0; !r && i < port->streams; i++)
        r = adopt_stream(&port->stream[i], error);
    return r;
}

static int vsnd_adopt(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_get(a, error);
    int r;

    if (!port)
        return -ENOMEM;
    r = adopt_all(port, error);
    if (r) {
        unserve(port);
        return r;
    }
    for (unsigned i = 0; i < port->streams; i++) {
        struct stream *s = &port->stream[i];

        refill(s);
        if (s->ring.rsp != s->ring.req)
            put_answer(s);
        /* The predecessor may have died between an index and its event. */
        (void)far_evtchn_notify(&s->ring_channel);
        (void)far_evtchn_notify(&s->event_channel);
    }
    begin(port);
    return 0;
}

static void vsnd_disconnect(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    far_journal_disconnected(a->record);
}

static void vsnd_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    munmap(port->memory, FAR_SOUND_BUFFER_MAX);
    a->port = NULL;
    free(port);
}

static void vsnd_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port || !port->served)
        return;
    for (unsigned i = 0; i < port->streams; i++) {
        struct stream *s = &port->stream[i];
        enum far_binding wants = FAR_CHAIN_ABSENT;

        judge_wish(s);
        if (!s->denied)
            wants = far_chain_wanted(a->backend, &s->address, FAR_CLASS_SOUND);
        if (s->binding == wants && wants != FAR_CHAIN_ABSENT)
            continue;
        close_chain(s);
        name_user(s);
        port->journal->check = check_of(port->journal);
        if (open_chain(s)) {
            far_attachment_fail(a, "memory is out");
            return;
        }
        refill(s);
        activate(s);
    }
}

static bool vsnd_device_ready(const struct far_attachment *a)
{
    (void)a;
    return true; /* silence is always there */
}

/* --- status -----------------------------------------------------------------
 */

static void add(json_t *to, const char *name, uint64_t value)
{
    json_t *there = json_object_get(to, name);

    if (there)
        value += (uint64_t)json_integer_value(there);
    json_object_set_new(to, name, json_integer((json_int_t)value));
}

/* Of all streams together. */
static void add_counters(const struct stream *s, json_t *to)
{
    add(to, "opens", s->counters.opens);
    add(to, "writes", s->counters.writes);
    add(to, "reads", s->counters.reads);
    add(to, "written_bytes", s->counters.written_bytes);
    add(to, "read_bytes", s->counters.read_bytes);
    add(to, "triggers", s->counters.triggers);
    add(to, "queries", s->counters.queries);
    add(to, "volumes", s->counters.volumes);
    add(to, "refused", s->counters.refused);
    add(to, "events", s->counters.events);
    add(to, "events_full", s->counters.events_full);
    add(to, "wakes", s->counters.wakes);
    add(to, "spurious", s->counters.spurious);
    add(to, "notifies", s->counters.notifies);
    add(to, "copy_faults", s->counters.copy_faults);
    if (s->fast) {
        const struct far_fast_sound_counters *f =
            far_fast_sound_counters(s->fast);

        add(to, "played_bytes", f->played_bytes);
        add(to, "recorded_bytes", f->recorded_bytes);
        add(to, "positions", f->positions);
        add(to, "underruns", f->underruns);
        add(to, "late_bytes", f->late_bytes);
        add(to, "silent_bytes", f->silent_bytes);
        add(to, "device_refused", f->refused);
        add(to, "waits", f->waits);
    }
}

static const char *reason_of(const struct stream *s)
{
    if (s->binding == FAR_CHAIN_ABSENT)
        return s->absent;
    return s->fast ? far_fast_sound_reason(s->fast) : NULL;
}

static json_t *stream_json(const struct stream *s)
{
    const struct far_sound_state *state = &s->journal->state;
    const struct far_vsnd_nodes *n = &s->journal->nodes;
    const char *reason = reason_of(s);
    json_t *j =
        json_pack("{s:i, s:i, s:s, s:s, s:s?}", "device", (int)n->pcm, "stream",
                  (int)n->stream, "type", n->records ? "record" : "play",
                  "address", n->wish, "reason", reason);

    json_object_set_new(j, "state",
                        json_string(!state->open     ? "closed"
                                    : state->running ? "running"
                                                     : "open"));
    if (state->open && s->fast) {
        json_object_set_new(
            j, "format",
            json_string(far_sound_format_name(state->params.format)));
        add(j, "rate", state->params.rate);
        add(j, "channels", state->params.channels);
        add(j, "position_bytes", far_fast_sound_position(s->fast));
    }
    return j;
}

static void vsnd_status(const struct far_attachment *a, json_t *to)
{
    const struct port *port = port_of(a);
    json_t *counters = json_object(), *streams = json_array();
    char addresses[FAR_VSND_STREAMS_MAX * 40] = "";
    size_t used = 0;

    json_object_set_new(to, "counters", counters);
    json_object_set_new(to, "latency", json_object());
    json_object_set_new(to, "streams", streams);
    if (!port)
        return;
    for (unsigned i = 0; i < port->streams; i++) {
        const struct stream *s = &port->stream[i];
        const char *reason = reason_of(s);

        json_array_append_new(streams, stream_json(s));
        add_counters(s, counters);
        if (used < sizeof(addresses))
            used += (size_t)snprintf(addresses + used, sizeof(addresses) - used,
                                     "%s%s", used ? ", " : "",
                                     s->journal->nodes.wish);
        if (!reason || !json_is_null(json_object_get(to, "reason")))
            continue;
        json_object_set_new(to, "reason",
                            json_sprintf("stream %u/%u: %s",
                                         s->journal->nodes.pcm,
                                         s->journal->nodes.stream, reason));
        if (port->served)
            json_object_set_new(to, "state", json_string("waiting"));
    }
    if (port->streams)
        json_object_set_new(to, "address", json_string(addresses));
}

static const char *const vsnd_kinds[] = { "vsnd", NULL };

const struct far_port_type far_port_vsnd = {
    .kinds = vsnd_kinds,
    .class = FAR_CLASS_SOUND,
    .handshake = FAR_HS_ADOPTS,
    .mine = vsnd_mine,
    .publish = vsnd_publish,
    .connect = vsnd_connect,
    .adopt = vsnd_adopt,
    .disconnect = vsnd_disconnect,
    .detach = vsnd_detach,
    .reload = vsnd_reload,
    .device_ready = vsnd_device_ready,
    .status = vsnd_status,
};
