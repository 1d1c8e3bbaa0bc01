/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input port: kbdif's ring towards a guest, the chain of devices behind
 * it, and what stands in the journal about it. What is safe and what an event
 * becomes is decided in port-input-checks.c; when to connect, in hotplug.c.
 *
 *   port ── fast input ── device of this process | local client | absent
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend/chain.h"
#include "backend/notify.h"
#include "backend/port-input-checks.h"
#include "core/clock.h"
#include "core/usdt.h"
#include "core/status.h"
#include "xenbus/kbd-ring.h"
#include "xenstore-schema/schema.h"

/* Between two samples of latency, if events come faster than that. */
#define SAMPLE_US 1000u

/* Ours, beside kbdif's, in BE: see port-input-checks.h. */
#define NODE_SHIELD FAR_NODE_VKB_BACK_FARSIDE_SHIELD

/* The journal's state->own. */
struct own {
    struct far_key_set held;
    struct far_notify_marks marks;
    struct far_kbd_track track;
};
static_assert(sizeof(struct own) <= FAR_JOURNAL_OWN_BYTES, "fits the journal");
static_assert(sizeof(struct far_kbd_mode) <= FAR_JOURNAL_MODE_BYTES,
              "fits the journal");

struct port {
    struct far_layer layer; /* top of the chain */
    struct far_attachment *a;
    struct far_layer *fast;
    struct far_chain chain;

    struct far_kbd_offer offer;
    struct far_kbd_mode mode;
    struct far_kbd_track track;
    struct far_kbd_ring ring;
    struct far_grant_map map;
    struct far_evtchn evtchn;
    struct far_poller poller;
    struct far_defer publish;
    bool served;
    uint32_t event_cons; /* in_cons at the guest's last event */
    bool blocked;        /* the chain was told that there is no room */
    bool unsettled;      /* something to journal and to ack */

    uint64_t incarnation, received;

    /* latency: of one event at a time */
    uint64_t sampled_us; /* when the last sample began */
    uint64_t begin_ns;   /* interrupt() was called; 0: no sample runs */
    uint64_t event_us;   /* its time */
    uint64_t out_ns;     /* published; 0: nothing is waited for */
    uint32_t out_prod;   /* in_cons that acknowledges it */
    struct far_hist age, inject, guest;

    uint64_t events, notifies, wakes, spurious, full, not_taken, not_wanted,
        not_valid;
};

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static struct port *port_of(const struct far_attachment *a)
{
    return a->port;
}

/* --- towards the guest -----------------------------------------------------
 */

static void broken(struct port *port)
{
    port->served = false;
    far_attachment_fail(port->a,
                        "the guest has written nonsense into its page: in_cons "
                        "is not between what it was and what was sent");
}

/* What the guest has, in the journal; before in_prod is written. */
static void note(struct port *port)
{
    struct far_journal_state state = { .incarnation = port->incarnation,
                                       .received = port->received,
                                       .ring = port->ring.mine };
    struct own own = { .held = *far_fast_input_held(port->fast),
                       .marks = port->a->guest->marks,
                       .track = port->track };

    memcpy(state.own, &own, sizeof(own));
    far_journal_note(port->a->record, &state);
}

/* End of the turn, or a full ring: one index, one event, one ack for all. The
 * order is journal.h's. */
static void publish_now(struct port *port)
{
    bool any = port->ring.mine != port->ring.published;

    if (!port->unsettled || !port->served || !port->a->record)
        return;
    port->unsettled = false;
    note(port);
    FAR_PROBE4(inject, port->a->record->who.attachment, port->received,
               port->ring.mine - port->ring.published, port->begin_ns);
    if (far_kbd_back_publish(&port->ring)) {
        port->notifies++;
        (void)far_line_raise(&port->a->line);
    }
    if (any && port->begin_ns) {
        uint64_t now = far_now_ns();

        far_hist_add(&port->inject, now - port->begin_ns);
        if (now / 1000 >= port->event_us)
            far_hist_add(&port->age, now - port->event_us * 1000);
        if (!port->out_ns) {
            port->out_ns = now;
            port->out_prod = port->ring.mine;
        }
        port->begin_ns = 0;
    }
    if (port->received)
        far_layer_ack(port->fast, port->received);
}

static void publish_deferred(struct far_defer *defer)
{
    publish_now(CONTAINER(struct port, publish, defer));
}

static bool port_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct port *port = (struct port *)(void *)layer;
    struct far_backend *backend = port->a->backend;
    struct far_input_event event;
    union xenkbd_in_event entry;
    int room;

    if (op->opcode != FAR_INPUT_EVENT) {
        port->not_valid++;
        return true;
    }
    if (!port->served) {
        port->blocked = true;
        return false;
    }
    room = far_kbd_back_room(&port->ring);
    if (room <= 0) {
        if (room < 0) {
            broken(port);
        } else {
            port->full++;
            publish_now(port);
        }
        port->blocked = true;
        return false;
    }
    memcpy(&event, op->args, sizeof(event));
    switch (far_kbd_translate(&port->mode, &port->track, &event, &entry)) {
    case FAR_KBD_SEND:
        if (!port->begin_ns &&
            far_loop_now_us(backend->loop) >= port->sampled_us + SAMPLE_US) {
            port->sampled_us = far_loop_now_us(backend->loop);
            port->begin_ns = far_now_ns();
            port->event_us = event.time_us;
        }
        far_kbd_back_put(&port->ring, &entry);
        port->events++;
        break;
    case FAR_KBD_NOTHING:
        break;
    case FAR_KBD_NOT_VALID:
        port->not_valid++;
        break;
    case FAR_KBD_NOT_TAKEN:
        port->not_taken++;
        break;
    case FAR_KBD_NOT_WANTED:
        port->not_wanted++;
        break;
    }
    if (op->sequence > port->received)
        port->received = op->sequence;
    port->unsettled = true;
    far_defer(backend->loop, &port->publish, publish_deferred);
    return true;
}

static void port_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct port *port = (struct port *)(void *)layer;

    layer->device_state = state;
    if (state == FAR_DEVICE_READY && news &&
        news->incarnation != port->incarnation) {
        /* its sequence begins anew */
        port->incarnation = news->incarnation;
        port->received = 0;
    }
    /* Input connects without its device (no FAR_HS_NEEDS_DEVICE): there is no
     * step to take: each costs questions to xenstored, and a netproxy that is
     * not trusted may say this as often as it likes. */
    port->a->view.device_ready = state == FAR_DEVICE_READY;
}

static const struct far_layer_ops port_ops = {
    .name = "input-port",
    .interrupt = port_interrupt,
    .state = port_state,
};

/* The guest has taken something, or says so. */
static enum far_evtchn_verdict look(struct port *port)
{
    uint32_t before = port->ring.other;
    int room = far_kbd_back_room(&port->ring);

    if (room < 0) {
        broken(port);
        return FAR_EVTCHN_BROKEN;
    }
    if (port->ring.other == before)
        return FAR_EVTCHN_SPURIOUS;
    if (port->out_ns && (int32_t)(port->ring.other - port->out_prod) >= 0) {
        far_hist_add(&port->guest, far_now_ns() - port->out_ns);
        port->out_ns = 0;
    }
    if (port->ring.other == port->ring.published)
        far_layer_taken(port->fast);
    if (port->blocked && room) {
        port->blocked = false;
        far_layer_resume(port->fast);
        far_notify_room(port->a->guest);
    }
    return FAR_EVTCHN_WORKED;
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct port *port = CONTAINER(struct port, evtchn, evtchn);
    enum far_evtchn_verdict verdict;

    port->wakes++;
    if (!port->served)
        return FAR_EVTCHN_BROKEN;
    verdict = look(port);
    if (verdict == FAR_EVTCHN_BROKEN)
        return verdict;
    /* What it tells of may have been seen before it came, by an event on its
     * way in or by a poll: an event is for nothing only if in_cons is where it
     * was at the last one. */
    if (port->ring.other == port->event_cons)
        port->spurious++;
    else
        verdict = FAR_EVTCHN_WORKED;
    port->event_cons = port->ring.other;
    return verdict;
}

/* The extension: in_cons is looked at while the loop spins. */
static bool poll_ring(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, poller, poller);

    return port->served && far_kbd_back_moved(&port->ring) &&
           look(port) == FAR_EVTCHN_WORKED;
}

static bool poll_elsewhere(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, poller, poller);
    int cpu = far_kbd_back_peer_cpu(&port->ring);

    return cpu >= 0 && cpu != sched_getcpu();
}

static bool poll_here(struct far_poller *poller)
{
    struct port *port = CONTAINER(struct port, poller, poller);
    int cpu = far_kbd_back_peer_cpu(&port->ring);

    return cpu >= 0 && cpu == sched_getcpu();
}

static bool poll_arm(struct far_poller *poller)
{
    return far_kbd_back_arm(&CONTAINER(struct port, poller, poller)->ring);
}

static void poll_disarm(struct far_poller *poller)
{
    int cpu = sched_getcpu();

    far_kbd_back_disarm(&CONTAINER(struct port, poller, poller)->ring,
                        cpu < 0 ? 0 : (unsigned)cpu);
}

/* --- nodes ------------------------------------------------------------------
 */

/* Most nodes are not there: one listing saves asking for each. */
#define NODES_LISTED 64u

struct reader {
    struct far_xs *xs;
    far_xs_t t;
    const char *dir;
    struct far_xs_list list;
    bool listed;
};

static struct reader reader_of(struct far_attachment *a, far_xs_t t,
                               const char *dir)
{
    struct reader reader = { .xs = a->backend->xs, .t = t, .dir = dir };

    reader.listed = far_xs_directory(reader.xs, t, &reader.list, NODES_LISTED,
                                     "%s", dir) >= 0;
    return reader;
}

static void reader_end(struct reader *reader)
{
    if (reader->listed)
        far_xs_list_free(&reader->list);
}

static int read_node(void *arg, const char *node, char *value, size_t room)
{
    struct reader *reader = arg;
    bool there = !reader->listed || reader->list.more;

    for (unsigned i = 0; !there && i < reader->list.count; i++)
        there = !strcmp(reader->list.names[i], node);
    if (!there)
        return -ENOENT;
    return far_xs_read(reader->xs, reader->t, value, room, "%s/%s", reader->dir,
                       node);
}

static int read_offer(struct far_attachment *a, far_xs_t t,
                      struct far_schema_vkb_back *back,
                      struct far_kbd_offer *offer, struct far_error *error)
{
    struct reader reader = reader_of(a, t, a->back);
    struct far_schema_fault fault = { 0 };
    int r = far_schema_vkb_back_read(back, read_node, &reader, &fault);

    reader_end(&reader);
    if (r)
        return far_error(error, r, "its own node %s",
                         fault.node ? fault.text : strerror(-r));
    *offer = (struct far_kbd_offer){
        .disable_keyboard = back->feature_disable_keyboard,
        .disable_pointer = back->feature_disable_pointer,
        .abs = back->feature_abs_pointer,
        .raw = back->feature_raw_pointer,
        .touch = back->feature_multi_touch,
        .shielded = back->has_farside_shield,
        .width = back->width,
        .height = back->height,
        .touch_width = back->multi_touch_width,
        .touch_height = back->multi_touch_height,
        .touch_contacts = back->multi_touch_num_contacts,
    };
    return 0;
}

static int8_t asked(bool has, bool value)
{
    return has ? (int8_t)value : (int8_t)-1;
}

static int read_request(struct far_attachment *a,
                        struct far_kbd_request *request,
                        struct far_error *error)
{
    struct reader reader = reader_of(a, 0, a->front);
    struct far_schema_fault fault = { 0 };
    struct far_schema_vkb_front front;
    int r = far_schema_vkb_front_read(&front, read_node, &reader, &fault);

    reader_end(&reader);
    if (r)
        return far_error(error, r, "the guest's node %s",
                         fault.node ? fault.text : strerror(-r));
    *request = (struct far_kbd_request){
        .abs = asked(front.has_request_abs_pointer, front.request_abs_pointer),
        .raw = asked(front.has_request_raw_pointer, front.request_raw_pointer),
        .touch =
            asked(front.has_request_multi_touch, front.request_multi_touch),
        .poll = front.request_poll,
        .gref = front.page_gref,
        .port = front.event_channel,
    };
    return 0;
}

/* --- the chain ---------------------------------------------------------------
 */

static const struct far_conf_section *platform_of(struct far_backend *backend)
{
    return far_conf_section(backend->conf, "platform", "");
}

static int open_chain(struct port *port, struct far_error *error)
{
    struct far_backend *backend = port->a->backend;
    const struct far_conf_section *platform = platform_of(backend);
    struct far_fast_input_options options = {
        .release_after_us = far_conf_time_us(platform, "release-after", 500000),
        .stale_us = far_conf_time_us(platform, "stale", 2000000),
    };
    struct far_layer *bottom;

    if (port->fast)
        return 0;
    port->fast = far_fast_input_new(backend->loop, &options);
    if (!port->fast || far_chain_open(&port->chain, &bottom)) {
        far_layer_close(port->fast);
        port->fast = NULL;
        port->chain.binding = FAR_CHAIN_NONE;
        return far_error(error, -ENOMEM, "memory is out");
    }
    far_layer_stack(port->fast, bottom);
    far_layer_stack(&port->layer, port->fast);
    return 0;
}

static void close_chain(struct port *port)
{
    far_layer_close(port->fast);
    port->fast = NULL;
    port->layer.below = NULL;
    port->layer.device_state = FAR_DEVICE_GONE;
    port->chain.binding = FAR_CHAIN_NONE;
}

/* --- the port's table --------------------------------------------------------
 */

static bool input_mine(struct far_attachment *a)
{
    struct far_address address;
    struct far_error error;
    char text[256];
    bool exists;

    if (strcmp(a->kind, "vkbd"))
        return true; /* vinput is nobody else's */
    /* QEMU serves vkbd, and takes a node at state 1. libxl starts it, if it
     * does, before it lets a new domain run, but after it wrote this node: so
     * only a front that runs shows that no device model is coming. */
    if (a->view.front != FAR_XB_INITIALISED &&
        a->view.front != FAR_XB_CONNECTED)
        return false;
    if (far_xs_read(a->backend->xs, 0, text, sizeof(text), "%s/unique-id",
                    a->back) <= 0 ||
        far_address_parse(&address, text, &error))
        return false;
    exists = far_xs_read(a->backend->xs, 0, text, sizeof(text),
                         "device-model/%u/state", a->guest->domid) != -ENOENT ||
             far_xs_read(a->backend->xs, 0, text, sizeof(text),
                         "/local/domain/%u/image/device-model-pid",
                         a->guest->domid) != -ENOENT;
    return !exists;
}

struct publication {
    struct port *port;
    struct far_schema_vkb_back back;
    struct far_error *error;
    bool failed; /* with error: not xenstore's */
};

static int write_features(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct publication *p = arg;
    struct port *port = p->port;
    struct far_kbd_offer *offer = &port->offer;
    struct far_kbd_publish publish;
    char path[FAR_XS_PATH_BYTES + 32];
    int r;

#define WRITE(node, ...)                                            \
    do {                                                            \
        snprintf(path, sizeof(path), "%s/%s", port->a->back, node); \
        r = far_xs_write(xs, t, path, __VA_ARGS__);                 \
        if (r)                                                      \
            return r;                                               \
    } while (0)

    p->failed = false;
    r = read_offer(port->a, t, &p->back, offer, p->error);
    if (!r)
        r = far_kbd_check_offer(offer, &publish, p->error);
    if (r) {
        p->failed = r != -EAGAIN;
        return r;
    }
    if (publish.remove_disable_pointer) {
        r = far_xs_remove(xs, t, "%s/%s", port->a->back,
                          FAR_NODE_VKB_BACK_FEATURE_DISABLE_POINTER);
        if (r)
            return r;
        WRITE(NODE_SHIELD, "pointer");
    }
    if (publish.write_abs)
        WRITE(FAR_NODE_VKB_BACK_FEATURE_ABS_POINTER, "1");
    if (publish.write_size) {
        WRITE(FAR_NODE_VKB_BACK_WIDTH, "%u", offer->width);
        WRITE(FAR_NODE_VKB_BACK_HEIGHT, "%u", offer->height);
    }
    if (publish.write_touch_size) {
        WRITE(FAR_NODE_VKB_BACK_MULTI_TOUCH_WIDTH, "%u", offer->touch_width);
        WRITE(FAR_NODE_VKB_BACK_MULTI_TOUCH_HEIGHT, "%u", offer->touch_height);
    }
    if (publish.write_contacts)
        WRITE(FAR_NODE_VKB_BACK_MULTI_TOUCH_NUM_CONTACTS, "%u",
              offer->touch_contacts);
    if (!p->back.feature_poll)
        WRITE(FAR_NODE_VKB_BACK_FEATURE_POLL, "1");
#undef WRITE
    return 0;
}

static struct port *port_get(struct far_attachment *a, struct far_error *error)
{
    struct port *port = a->port;

    if (port)
        return port;
    port = calloc(1, sizeof(*port));
    if (!port) {
        far_error(error, -ENOMEM, "memory is out");
        return NULL;
    }
    port->layer.ops = &port_ops;
    port->a = port->chain.a = a;
    a->port = port;
    return port;
}

/* Which device was ordered; unique-id stands where only dom0 can write. */
static int read_address(struct port *port, const char *unique_id,
                        struct far_error *error)
{
    if (!unique_id)
        return far_error(error, -EINVAL,
                         "its vkb line names no device; add "
                         "unique-id=DEVICE or unique-id=PLATFORM/DEVICE");
    return far_chain_order(&port->chain, "unique-id", unique_id, error);
}

/* Which interrupts of others a guest has had does not depend on whether its
 * ring is adopted. */
static void adopt_marks(struct port *port)
{
    struct far_journal_state state;
    struct own own;

    if (far_journal_last(port->a->record, &state))
        return;
    memcpy(&own, state.own, sizeof(own));
    far_notify_adopt(port->a->guest, &own.marks);
}

/* Record and chain, for publish and adopt. */
static int prepare(struct port *port, struct far_error *error)
{
    bool changed;
    int r = far_chain_record(&port->chain, &changed, error);

    if (r)
        return r;
    adopt_marks(port);
    if (changed)
        close_chain(port); /* another device was ordered */
    return open_chain(port, error);
}

static int input_publish(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_get(a, error);
    struct publication p = { .port = port, .error = error };
    int r;

    if (!port)
        return -ENOMEM;
    r = far_xs_transact(a->backend->xs, write_features, &p);
    if (r)
        return p.failed ? r : far_error(error, r, "xenstore: %s", strerror(-r));
    r = read_address(port, p.back.has_unique_id ? p.back.unique_id : NULL,
                     error);
    return r ? r : prepare(port, error);
}

/* Map, bind, begin at mine (or where the page says, if that is -1). */
static int serve(struct port *port, int64_t mine, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_evtchns *channels = far_guest_channels(a->guest);
    uint32_t gref = port->mode.gref;
    int r;

    if (!channels)
        return far_error(error, -errno, "no event channels: %s",
                         strerror(errno));
    r = far_grant_map(a->backend->grants, &port->map, a->guest->domid, &gref, 1,
                      true, &a->guest->quota);
    if (r)
        return far_error(error, r,
                         "the guest's page-gref %u can't be mapped: %s", gref,
                         strerror(-r));
    r = far_evtchn_bind(channels, &port->evtchn, port->mode.port, fired);
    if (r) {
        far_grant_unmap(&port->map);
        return far_error(error, r,
                         "the guest's event-channel %u can't be bound: %s",
                         port->mode.port, strerror(-r));
    }
    far_attachment_line(a, &port->evtchn);
    far_kbd_back_init(&port->ring, port->map.memory,
                      mine < 0 ? far_kbd_page_start(port->map.memory)
                               : (uint32_t)mine,
                      port->mode.poll != 0);
    if (port->mode.poll) {
        port->poller = (struct far_poller){ .poll = poll_ring,
                                            .peer_elsewhere = poll_elsewhere,
                                            .peer_here = poll_here,
                                            .arm = poll_arm,
                                            .disarm = poll_disarm };
        far_poller_add(a->backend->loop, &port->poller);
    }
    port->event_cons = port->ring.other;
    port->served = true;
    port->out_ns = port->begin_ns = 0;
    return 0;
}

static void unserve(struct port *port)
{
    port->served = false;
    port->unsettled = false;
    far_defer_cancel(port->a->backend->loop, &port->publish);
    far_poller_del(&port->poller);
    far_attachment_line(port->a, NULL);
    far_evtchn_unbind(&port->evtchn);
    far_grant_unmap(&port->map);
}

/* The chain is told that a guest is there. */
static void activate(struct port *port)
{
    far_layer_activate(port->fast, port->received ? port->incarnation : 0,
                       port->received);
    port->blocked = false;
    far_layer_resume(port->fast);
}

static int input_connect(struct far_attachment *a, struct far_error *error)
{
    static const struct far_key_set none;
    struct port *port = port_of(a);
    struct far_journal_record *record = a->record;
    struct far_kbd_request request;
    struct far_schema_vkb_back back;
    int r;

    unserve(port);
    r = read_offer(a, 0, &back, &port->offer, error);
    if (!r)
        r = read_request(a, &request, error);
    if (!r)
        r = far_kbd_check_front(&port->offer, &request, &port->mode, error);
    if (r)
        return r;
    r = serve(port, -1, error);
    if (r)
        return r;
    /* A front that starts has no key down, and knows nothing of what waited
     * for another. */
    far_fast_input_set_held(port->fast, &none);
    far_kbd_track_init(&port->track, &port->mode);
    far_journal_edit(record);
    record->connected = 1;
    record->refs_count = record->ports_count = 1;
    record->refs[0] = port->mode.gref;
    record->ports[0] = port->mode.port;
    memcpy(record->mode, &port->mode, sizeof(port->mode));
    note(port);
    far_journal_seal(record);
    activate(port);
    return 0;
}

static int input_adopt(struct far_attachment *a, struct far_error *error)
{
    struct far_journal_record *record = a->record;
    struct far_journal_state state;
    struct far_kbd_request request;
    struct far_schema_vkb_back back;
    struct far_kbd_mode now;
    struct far_address ordered;
    struct far_grant_map look_map = { 0 };
    struct port *port = port_get(a, error);
    struct own own;
    uint32_t in_prod;
    int r;

    if (!port)
        return -ENOMEM;
    memcpy(&port->mode, record->mode, sizeof(port->mode));
    if (record->refs_count != 1 || record->ports_count != 1 ||
        record->refs[0] != port->mode.gref ||
        record->ports[0] != port->mode.port)
        return far_error(error, -EILSEQ, "its journal is damaged");
    /* The front must still mean the same page and port, and what was agreed
     * then must still be safe now. The request-* nodes may say what they like:
     * what was agreed counts. */
    r = read_offer(a, 0, &back, &port->offer, error);
    if (!r)
        r = read_request(a, &request, error);
    if (!r)
        r = far_kbd_check_front(&port->offer, &request, &now, error);
    if (r)
        return r;
    if (now.gref != port->mode.gref || now.port != port->mode.port)
        return far_error(error, -ESTALE,
                         "the guest has another page or event channel now");
    if (port->mode.keys > now.keys || port->mode.buttons > now.buttons ||
        port->mode.pointer > now.pointer)
        return far_error(error, -ESTALE, "its nodes have changed");
    r = read_address(port, back.has_unique_id ? back.unique_id : NULL, error);
    if (r)
        return r;
    ordered = port->chain.address;
    if (!far_chain_same_who(&port->chain))
        return far_error(error, -ESTALE, "%s was ordered meanwhile",
                         ordered.device);

    /* Mapped for a look first: which in_prod did the guest see? */
    r = far_grant_map(a->backend->grants, &look_map, a->guest->domid,
                      &port->mode.gref, 1, true, &a->guest->quota);
    if (r)
        return far_error(error, r, "its page can't be mapped: %s",
                         strerror(-r));
    in_prod =
        __atomic_load_n(&((const struct xenkbd_page *)look_map.memory)->in_prod,
                        __ATOMIC_ACQUIRE);
    far_grant_unmap(&look_map);
    r = far_journal_resume(record, in_prod, &state);
    if (r)
        return far_error(error, r,
                         "the journal does not know the index in its page");
    memcpy(&own, state.own, sizeof(own));
    port->track = own.track;
    port->incarnation = state.incarnation;
    port->received = state.received;
    r = prepare(port, error);
    if (r)
        return r;
    r = serve(port, (int64_t)in_prod, error);
    if (r)
        return r;
    if (far_kbd_back_room(&port->ring) < 0) {
        unserve(port);
        return far_error(error, -EPROTO, "the indexes in its page are wrong");
    }
    far_fast_input_set_held(port->fast, &own.held);
    /* Nobody knows any more whose fingers these were. */
    for (unsigned id = 0; id < FAR_INPUT_CONTACTS_MAX; id++) {
        struct far_input_event up = { .type = FAR_INPUT_TOUCH,
                                      .flags = FAR_INPUT_MADE,
                                      .code = FAR_TOUCH_UP,
                                      .value = (int32_t)id };
        union xenkbd_in_event entry;

        if (port->track.contacts & 1u << id &&
            far_kbd_back_room(&port->ring) > 1 &&
            far_kbd_translate(&port->mode, &port->track, &up, &entry) ==
                FAR_KBD_SEND)
            far_kbd_back_put(&port->ring, &entry);
    }
    if (port->track.frame && far_kbd_back_room(&port->ring) > 0) {
        struct far_input_event syn = { .type = FAR_INPUT_TOUCH,
                                       .flags = FAR_INPUT_MADE,
                                       .code = FAR_TOUCH_SYN };
        union xenkbd_in_event entry;

        if (far_kbd_translate(&port->mode, &port->track, &syn, &entry) ==
            FAR_KBD_SEND)
            far_kbd_back_put(&port->ring, &entry);
    }
    port->unsettled = true;
    activate(port);
    publish_now(port);
    /* The predecessor may have died between in_prod and its event. */
    (void)far_line_raise(&port->a->line);
    return 0;
}

static int input_notify(struct far_attachment *a,
                        const struct far_notice *notice,
                        struct far_error *error)
{
    struct port *port = port_of(a);
    struct far_kbd_track track;
    struct far_input_event event;
    union xenkbd_in_event entry;
    int r;

    if (!port || !port->served || !port->fast || !a->record)
        return -ENXIO;
    memcpy(&event, notice->op.args, sizeof(event));
    track = port->track;
    switch (far_kbd_translate(&port->mode, &track, &event, &entry)) {
    case FAR_KBD_SEND:
    case FAR_KBD_NOTHING:
        break;
    default:
        return far_error(error, -ENXIO,
                         "the devices of %s can't take such an event",
                         a->guest->name);
    }
    r = far_kbd_back_room(&port->ring);
    if (r < 0) {
        broken(port);
        return -ENXIO;
    }
    r = r ? far_fast_input_foreign(port->fast, &event) : -EAGAIN;
    if (r == -EAGAIN) {
        port->blocked = true;
        return r;
    }
    port->unsettled = true;
    publish_now(port);
    return r;
}

static void input_disconnect(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    if (port->served)
        publish_now(port);
    unserve(port);
    far_journal_disconnected(a->record);
}

static void input_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    close_chain(port);
    a->port = NULL;
    free(port);
}

static void input_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);
    struct far_key_set held;
    struct far_error error;

    if (!port || !port->fast || !a->record)
        return;
    if (!far_chain_renew(&port->chain))
        return;
    held = *far_fast_input_held(port->fast);
    close_chain(port);
    if (open_chain(port, &error)) {
        far_attachment_fail(a, "%s", error.text);
        return;
    }
    if (port->served) {
        far_fast_input_set_held(port->fast, &held);
        activate(port);
    }
}

static bool input_device_ready(const struct far_attachment *a)
{
    return port_of(a) && port_of(a)->layer.device_state == FAR_DEVICE_READY;
}

static void input_status(const struct far_attachment *a, json_t *to)
{
    const struct port *port = port_of(a);
    struct far_fast_input_counters fast = { 0 };
    json_t *counters = far_chain_status(port ? &port->chain : NULL, to),
           *latency = json_object_get(to, "latency");
    const char *reason;

    if (!port)
        return;
    if (port->fast) {
        json_object_set_new(to, "ops",
                            far_layer_ops_json(port->fast, FAR_CLASS_INPUT));
        reason = far_fast_input_reason(port->fast);

        far_fast_input_counters(port->fast, &fast);
        if (reason && port->chain.binding == FAR_CHAIN_ABSENT)
            reason = port->chain.absent;
        if (reason && json_is_null(json_object_get(to, "reason"))) {
            json_object_set_new(to, "reason", json_string(reason));
            if (port->served)
                json_object_set_new(to, "state", json_string("waiting"));
        }
    }
    far_count_json(counters, "events", port->events);
    far_count_json(counters, "notifies", port->notifies);
    far_count_json(counters, "wakes", port->wakes);
    far_count_json(counters, "spurious", port->spurious);
    far_count_json(counters, "full", port->full);
    far_count_json(counters, "not_taken", port->not_taken);
    far_count_json(counters, "not_wanted", port->not_wanted);
    far_count_json(counters, "not_valid", port->not_valid);
    far_count_json(counters, "received", port->received);
    far_count_json(counters, "delivered", fast.delivered);
    far_count_json(counters, "repeats", fast.repeats);
    far_count_json(counters, "coalesced", fast.coalesced);
    far_count_json(counters, "stale", fast.stale);
    far_count_json(counters, "late_releases", fast.late_releases);
    far_count_json(counters, "made_releases", fast.made_releases);
    far_count_json(counters, "made_presses", fast.made_presses);
    far_count_json(counters, "dropped_presses", fast.dropped_presses);
    far_count_json(counters, "foreign", fast.foreign);
    far_count_json(counters, "lost", far_layer_lost(port->layer.below));
    far_count_json(counters, "queue_high_water", fast.queue_high_water);
    json_object_set_new(latency, "age", far_hist_json(&port->age));
    json_object_set_new(latency, "inject", far_hist_json(&port->inject));
    json_object_set_new(latency, "guest", far_hist_json(&port->guest));
    far_stages_json(latency, far_layer_stages(port->layer.below));
}

static const char *const input_kinds[] = { "vinput", "vkbd", NULL };

const struct far_port_type far_port_input = {
    .kinds = input_kinds,
    .class = FAR_CLASS_INPUT,
    .handshake = FAR_HS_CONNECT_AT_4 | FAR_HS_ADOPTS,
    .mine = input_mine,
    .publish = input_publish,
    .connect = input_connect,
    .adopt = input_adopt,
    .disconnect = input_disconnect,
    .detach = input_detach,
    .reload = input_reload,
    .device_ready = input_device_ready,
    .notify = input_notify,
    .status = input_status,
};
