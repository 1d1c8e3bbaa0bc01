/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vdispl port: displif's rings towards a guest, a pair for each connector,
 * and behind each connector a screen: a fast display and whatever the connector
 * was ordered to be on. What a request means is decided in
 * port-vdispl-checks.c; when to connect, hotplug.c knows.
 *
 * Every request is answered at once. A successor of a killed backend goes on
 * with what the journal's annex holds: it maps the same buffers, of which the
 * guest still holds the directories, and shows them anew.
 */
#include "backend/port-vdispl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/status.h"

#define BUDGET 32u /* requests of a ring in one turn */

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static struct port *port_of(const struct far_attachment *a)
{
    return a->port;
}

/* --- screens ---------------------------------------------------------------
 */

static bool same(const struct far_picture *a, const struct far_picture *b)
{
    return a->memory == b->memory &&
           (!a->memory ||
            (a->width == b->width && a->height == b->height &&
             a->pitch_bytes == b->pitch_bytes && a->format == b->format &&
             a->x == b->x && a->y == b->y));
}

/* Lets the screen show what the state says. */
static int show(struct connector *c)
{
    struct far_picture picture;
    uint32_t on = c->screen->on;
    int r;

    r = far_fast_display_mode(c->fast, on ? c->screen->width : 0,
                              on ? c->screen->height : 0);
    far_vdispl_picture(c->port, c, &picture);
    if (r)
        picture.memory = NULL;
    if (!same(&picture, far_fast_display_shown(c->fast)))
        far_fast_display_show(c->fast, &picture);
    return r;
}

static void show_all(struct port *port)
{
    for (unsigned i = 0; i < port->connectors; i++)
        (void)show(&port->connector[i]);
}

static struct xendispl_event_page *event_page(const struct connector *c)
{
    return c->event_map.memory;
}

static uint32_t events_told(const struct connector *c)
{
    return c->journal->event_base + c->screen->told;
}

/* A flip is done. The guest may confirm events or not (displif.h): what it says
 * of how far it has read is not looked at, and there is one event at a time. */
static void flipped(void *arg)
{
    struct connector *c = arg;
    struct xendispl_evt event = { .type = XENDISPL_EVT_PG_FLIP };

    if (!c->port->served || c->screen->flips == c->screen->told)
        return;
    event.id = (uint16_t)c->screen->told;
    event.op.pg_flip.fb_cookie = c->screen->flipping;
    memcpy(&XENDISPL_IN_RING_REF(event_page(c), events_told(c)), &event,
           sizeof(event));
    __atomic_store_n(&c->screen->told, c->screen->told + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&event_page(c)->in_prod, events_told(c), __ATOMIC_RELEASE);
    c->events++;
    (void)far_evtchn_notify(&c->event_evtchn);
}

static const struct far_fast_display_calls calls = { .flipped = flipped };

static void close_screen(struct connector *c)
{
    far_layer_close(c->fast);
    c->fast = NULL;
    c->binding = FAR_CHAIN_NONE;
}

/* Whoever is behind sees another user each time. */
static int open_screen(struct connector *c, struct far_error *error)
{
    struct far_attachment *a = c->port->a;
    struct far_layer *bottom = NULL;

    c->who = a->record->who;
    c->who.attachment = far_journal_attachment(a->backend->journal);
    c->who.guest_devid = a->devid * FAR_VDISPL_CONNECTORS_MAX + c->number;
    far_chain_fill_who(a->backend, &c->address, &c->who);
    c->fast = far_fast_display_new(a->backend->loop, c->who.attachment,
                                   c->who.platform[0] != '\0', &calls, c);
    if (c->fast)
        c->binding = far_chain_bottom(a->backend, &c->address, &c->who,
                                      c->absent, &bottom);
    if (!c->fast || !bottom) {
        close_screen(c);
        return far_error(error, -ENOMEM, "memory is out");
    }
    far_layer_stack(c->fast, bottom);
    far_layer_activate(c->fast, 0, 0);
    return 0;
}

/* --- requests --------------------------------------------------------------
 */

static int act(struct connector *c, const struct xendispl_req *request,
               bool again, struct xendispl_resp *response)
{
    struct port *port = c->port;
    struct far_vdispl_dbuf *dbuf;
    struct far_picture picture;
    enum far_vdispl_act what;
    int r = far_vdispl_request(&port->journal->state, c->number, request, again,
                               &what, &dbuf);

    switch (what) {
    case FAR_VDISPL_NOTHING:
        break;
    case FAR_VDISPL_MAP:
        r = far_vdispl_map(port, dbuf);
        if (r)
            dbuf->cookie = 0;
        break;
    case FAR_VDISPL_UNMAP:
        dbuf->cookie = 0;
        far_vdispl_unmap(port, dbuf);
        break;
    case FAR_VDISPL_SHOW:
        r = show(c);
        show_all(port);
        break;
    case FAR_VDISPL_FLIP:
        far_vdispl_picture(port, c, &picture);
        far_fast_display_flip(c->fast, &picture);
        break;
    case FAR_VDISPL_GET_EDID:
        r = far_vdispl_edid(port, c, &request->op.get_edid,
                            &response->op.get_edid.edid_sz);
        break;
    }
    return r;
}

/* Does what lies in the journal; true: notify. */
static bool serve_request(struct connector *c, bool again)
{
    const struct xendispl_req *request = &c->journal->request;
    struct xendispl_resp response;

    memset(&response, 0, sizeof(response));
    response.id = request->id;
    response.operation = request->operation;
    response.status = act(c, request, again, &response);
    c->requests++;
    if (response.status)
        c->refused++;
    far_ring_took(&c->ring);
    far_ring_answer(&c->ring, &response);
    return far_ring_back_push(&c->ring);
}

/* How many were taken; -EPROTO. Mapping a buffer takes so long that it is the
 * last thing of a turn. */
static int drain(struct connector *c, unsigned budget)
{
    struct xendispl_req request;
    bool notify = false;
    int taken = 0, r = 0;

    while (budget && (r = far_ring_request(&c->ring, &request)) > 0) {
        c->journal->request = request;
        __atomic_store_n(&c->journal->taken, c->ring.req + 1, __ATOMIC_RELEASE);
        notify |= serve_request(c, false);
        budget = request.operation == XENDISPL_OP_DBUF_CREATE ? 0 : budget - 1;
        taken++;
    }
    if (notify)
        (void)far_evtchn_notify(&c->request_evtchn);
    if (r >= 0)
        return taken;
    c->port->served = false;
    far_attachment_fail(c->port->a,
                        "connector %u: the guest has written nonsense into its "
                        "ring: there are more requests than a ring holds",
                        c->number);
    return r;
}

static void more(struct far_defer *defer);

/* Until the ring is empty, or the turn's share is used up. */
static int look(struct connector *c)
{
    int taken = 0, r;

    do {
        r = drain(c, BUDGET);
        if (r < 0)
            return r;
        taken += r;
    } while (!r && !far_ring_back_arm(&c->ring));
    if (r)
        far_defer_late(c->port->a->backend->loop, &c->port->more, more);
    return taken;
}

static void more(struct far_defer *defer)
{
    struct port *port = CONTAINER(struct port, more, defer);

    for (unsigned i = 0; i < port->connectors && port->served; i++)
        (void)look(&port->connector[i]);
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct connector *c = CONTAINER(struct connector, request_evtchn, evtchn);
    int r = c->port->served ? look(c) : -EPROTO;

    return r < 0 ? FAR_EVTCHN_BROKEN
           : r   ? FAR_EVTCHN_WORKED
                 : FAR_EVTCHN_SPURIOUS;
}

/* The front confirms events here, if it likes. */
static enum far_evtchn_verdict confirmed(struct far_evtchn *evtchn)
{
    struct connector *c = CONTAINER(struct connector, event_evtchn, evtchn);

    return c->port->served ? FAR_EVTCHN_SPURIOUS : FAR_EVTCHN_BROKEN;
}

/* --- serving ---------------------------------------------------------------
 */

static void unserve(struct port *port)
{
    port->served = false;
    far_defer_cancel(port->a->backend->loop, &port->more);
    for (unsigned i = 0; i < FAR_VDISPL_CONNECTORS_MAX; i++) {
        struct connector *c = &port->connector[i];

        close_screen(c);
        far_evtchn_unbind(&c->request_evtchn);
        far_evtchn_unbind(&c->event_evtchn);
        far_grant_unmap(&c->request_map);
        far_grant_unmap(&c->event_map);
        c->screen = NULL;
        c->journal = NULL;
    }
    port->connectors = 0;
    far_vdispl_unmap_all(port);
    far_journal_annex_close(port->journal, sizeof(*port->journal));
    port->journal = NULL;
}

/* Maps and binds what the journal says of this connector. */
static int bind_connector(struct connector *c, struct far_evtchns *channels,
                          struct far_error *error)
{
    static const char *const names[] = { "request", "event" };
    struct far_attachment *a = c->port->a;
    struct far_grant_map *maps[] = { &c->request_map, &c->event_map };
    struct far_evtchn *evtchns[] = { &c->request_evtchn, &c->event_evtchn };
    int r;

    for (unsigned i = 0; i < 2; i++) {
        r = far_grant_map(a->backend->grants, maps[i], a->guest->domid,
                          &c->journal->refs[i], 1, true, &a->guest->quota);
        if (r)
            return far_error(error, r,
                             "connector %u: the guest's %s page (grant %u) "
                             "can't be mapped: %s",
                             c->number, names[i], c->journal->refs[i],
                             strerror(-r));
        r = far_evtchn_bind(channels, evtchns[i], c->journal->ports[i],
                            i ? confirmed : fired);
        if (r)
            return far_error(error, r,
                             "connector %u: the guest's %s event channel %u "
                             "can't be bound: %s",
                             c->number, names[i], c->journal->ports[i],
                             strerror(-r));
    }
    far_ring_attach(&c->ring, c->request_map.memory, FAR_PAGE_BYTES,
                    sizeof(struct xendispl_req));
    return 0;
}

static int serve(struct port *port, const struct far_vdispl_front *front,
                 struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_evtchns *channels = far_guest_channels(a->guest);
    int r;

    if (!channels)
        return far_error(error, -errno, "no event channels: %s",
                         strerror(errno));
    for (unsigned i = 0; i < front->connectors; i++) {
        struct connector *c = &port->connector[i];

        c->port = port;
        c->number = i;
        c->screen = &port->journal->state.screen[i];
        c->journal = &port->journal->ring[i];
        c->address = front->connector[i].address;
        c->requests = c->refused = c->events = 0;
        port->connectors = i + 1;
        r = bind_connector(c, channels, error);
        if (!r)
            r = open_screen(c, error);
        if (r)
            return r;
    }
    return 0;
}

static void begin(struct port *port)
{
    port->served = true;
    /* requests may have come before the event was bound */
    far_defer_late(port->a->backend->loop, &port->more, more);
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
    port->a = a;
    a->port = port;
    return port;
}

/* --- the port's table ------------------------------------------------------
 */

static bool vdispl_mine(struct far_attachment *a)
{
    (void)a;
    return true; /* vdispl is nobody else's */
}

static int vdispl_publish(struct far_attachment *a, struct far_error *error)
{
    int r = port_get(a, error) ? far_attachment_record(a, error) : -ENOMEM;

    return r ? r : far_vdispl_offer(a, error);
}

static void fill_ring(struct far_vdispl_ring_journal *ring,
                      const struct far_vdispl_front *front, unsigned i)
{
    memcpy(ring->refs, front->connector[i].refs, sizeof(ring->refs));
    memcpy(ring->ports, front->connector[i].ports, sizeof(ring->ports));
}

static int connect_screens(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_vdispl_front front;
    struct far_vdispl_state *s;
    int r = far_vdispl_read_front(a, &front, error);

    if (r)
        return r;
    port->journal = far_journal_annex(a->backend->journal, a->record,
                                      FAR_VDISPL_JOURNAL_VERSION,
                                      sizeof(*port->journal), true);
    if (!port->journal)
        return far_error(error, -errno, "the journal can't grow: %s",
                         strerror(errno));
    s = &port->journal->state;
    s->be_alloc = front.be_alloc;
    s->version = front.version;
    s->connectors = front.connectors;
    for (unsigned i = 0; i < front.connectors; i++) {
        s->screen[i].width = front.connector[i].width;
        s->screen[i].height = front.connector[i].height;
        fill_ring(&port->journal->ring[i], &front, i);
    }
    r = serve(port, &front, error);
    for (unsigned i = 0; !r && i < front.connectors; i++) {
        struct connector *c = &port->connector[i];

        /* new pages are zeroed; one that goes on says where */
        c->ring.req = c->ring.rsp = c->ring.pushed =
            __atomic_load_n(&c->ring.page->rsp_prod, __ATOMIC_RELAXED);
        c->journal->taken = c->ring.req;
        c->journal->event_base =
            __atomic_load_n(&event_page(c)->in_prod, __ATOMIC_RELAXED);
    }
    return r;
}

static int vdispl_connect(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_of(a);
    int r;

    unserve(port);
    r = connect_screens(port, error);
    if (r) {
        unserve(port);
        return r;
    }
    far_journal_connected(a->record);
    begin(port);
    return 0;
}

/* Does the guest still mean the same? */
static bool is_same_front(const struct far_vdispl_journal *j,
                          const struct far_vdispl_front *front)
{
    struct far_vdispl_ring_journal now = { 0 };

    if (front->connectors != j->state.connectors ||
        front->version != j->state.version ||
        front->be_alloc != j->state.be_alloc)
        return false;
    for (unsigned i = 0; i < front->connectors; i++) {
        fill_ring(&now, front, i);
        if (memcmp(now.refs, j->ring[i].refs, sizeof(now.refs)) ||
            memcmp(now.ports, j->ring[i].ports, sizeof(now.ports)) ||
            front->connector[i].width != j->state.screen[i].width ||
            front->connector[i].height != j->state.screen[i].height)
            return false;
    }
    return true;
}

/* Both rings go on where the predecessor was killed; see port-vdispl.h. */
static int resume(struct connector *c, struct far_error *error)
{
    uint32_t answered =
        __atomic_load_n(&c->ring.page->rsp_prod, __ATOMIC_ACQUIRE);
    uint32_t told = __atomic_load_n(&event_page(c)->in_prod, __ATOMIC_ACQUIRE);

    if (c->journal->taken - answered > 1 || events_told(c) - told > 1)
        return far_error(error, -ENOENT,
                         "the journal does not know the indexes in its rings");
    c->ring.req = c->ring.rsp = c->ring.pushed = answered;
    __atomic_store_n(&event_page(c)->in_prod, events_told(c), __ATOMIC_RELEASE);
    return 0;
}

static int adopt_screens(struct port *port, struct far_error *error)
{
    struct far_attachment *a = port->a;
    struct far_vdispl_front front;
    struct far_vdispl_state *s;
    int r;

    port->journal = far_journal_annex(a->backend->journal, a->record,
                                      FAR_VDISPL_JOURNAL_VERSION,
                                      sizeof(*port->journal), false);
    if (!port->journal)
        return far_error(error, -errno, "its journal is damaged");
    s = &port->journal->state;
    r = far_vdispl_read_front(a, &front, error);
    if (r)
        return r;
    if (!is_same_front(port->journal, &front))
        return far_error(error, -ESTALE, "its nodes have changed");
    for (unsigned i = 0; i < FAR_VDISPL_DBUFS_MAX; i++) {
        if (!s->dbuf[i].cookie)
            continue;
        r = s->dbuf[i].ours ? -ESTALE : far_vdispl_map(port, &s->dbuf[i]);
        if (r)
            return far_error(error, r,
                             s->dbuf[i].ours
                                 ? "it draws in pages that went with them"
                                 : "its buffers can't be mapped any more");
    }
    r = serve(port, &front, error);
    for (unsigned i = 0; !r && i < port->connectors; i++)
        r = resume(&port->connector[i], error);
    return r;
}

static int vdispl_adopt(struct far_attachment *a, struct far_error *error)
{
    struct port *port = port_get(a, error);
    int r;

    if (!port)
        return -ENOMEM;
    r = adopt_screens(port, error);
    if (r) {
        unserve(port);
        return r;
    }
    show_all(port);
    begin(port);
    for (unsigned i = 0; i < port->connectors; i++) {
        struct connector *c = &port->connector[i];

        if (c->screen->flips != c->screen->told)
            far_fast_display_flip(c->fast, far_fast_display_shown(c->fast));
        if (c->journal->taken != c->ring.req)
            (void)serve_request(c, true);
        /* The predecessor may have died between an index and its event. */
        (void)far_evtchn_notify(&c->request_evtchn);
        (void)far_evtchn_notify(&c->event_evtchn);
    }
    return 0;
}

static void vdispl_disconnect(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    far_journal_disconnected(a->record);
}

static void vdispl_detach(struct far_attachment *a)
{
    struct port *port = port_of(a);

    if (!port)
        return;
    unserve(port);
    a->port = NULL;
    free(port);
}

/* What was allowed may not be any more; what was not there may be. */
static void vdispl_reload(struct far_attachment *a)
{
    struct port *port = port_of(a);
    struct far_vdispl_front front;
    struct far_error error = { 0 };

    if (!port || !port->served)
        return;
    if (far_vdispl_read_front(a, &front, &error)) {
        port->served = false;
        far_attachment_fail(a, "%s", error.text);
        return;
    }
    for (unsigned i = 0; i < port->connectors; i++) {
        struct connector *c = &port->connector[i];

        if (c->binding != FAR_CHAIN_ABSENT &&
            far_chain_wanted(a->backend, &c->address, a->type->class) ==
                c->binding)
            continue;
        close_screen(c);
        if (open_screen(c, &error)) {
            port->served = false;
            far_attachment_fail(a, "%s", error.text);
            return;
        }
        (void)show(c);
        if (c->screen->flips != c->screen->told)
            far_fast_display_flip(c->fast, far_fast_display_shown(c->fast));
    }
}

static bool vdispl_device_ready(const struct far_attachment *a)
{
    const struct port *port = port_of(a);

    if (!port || !port->connectors)
        return false;
    for (unsigned i = 0; i < port->connectors; i++)
        if (!port->connector[i].fast ||
            port->connector[i].fast->device_state != FAR_DEVICE_READY)
            return false;
    return true;
}

static void add(json_t *to, const char *name, uint64_t value)
{
    json_object_set_new(to, name, json_integer((json_int_t)value));
}

static const char *reason_of(const struct connector *c)
{
    return c->binding == FAR_CHAIN_ABSENT ? c->absent
                                          : far_fast_display_reason(c->fast);
}

static json_t *connector_status(const struct connector *c, const char *address)
{
    const struct far_fast_display_counters *f =
        far_fast_display_counters(c->fast);
    const struct far_vdispl_screen *s = c->screen;
    json_t *one =
        json_pack("{s:i s:s s:i s:i s:b s:s?}", "number", (int)c->number,
                  "address", address, "width", (int)s->width, "height",
                  (int)s->height, "on", (int)s->on, "reason", reason_of(c));
    json_t *counters = json_object(), *latency = json_object();
    uint32_t width, height;

    far_fast_display_wish(c->fast, &width, &height);
    if (width)
        json_object_set_new(one, "wish",
                            json_pack("[ii]", (int)width, (int)height));
    add(counters, "requests", c->requests);
    add(counters, "refused", c->refused);
    add(counters, "events", c->events);
    add(counters, "flips", f->flips);
    add(counters, "pictures", f->pictures);
    add(counters, "tiles_compared", f->compared);
    add(counters, "tiles_changed", f->changed);
    add(counters, "tiles_sent", f->sent_tiles);
    add(counters, "bytes_sent", f->sent_bytes);
    add(counters, "bytes_unpacked", f->raw_bytes);
    add(counters, "full", f->full);
    json_object_set_new(one, "counters", counters);
    json_object_set_new(latency, "late",
                        far_hist_json(far_fast_display_late(c->fast)));
    json_object_set_new(one, "latency", latency);
    json_object_set_new(one, "ops",
                        far_layer_ops_json(c->fast, FAR_CLASS_DISPLAY));
    return one;
}

/* Of the device as a whole: all addresses, the first reason, sums. */
static void vdispl_status(const struct far_attachment *a, json_t *to)
{
    static const char *const sums[] = { "requests", "refused", "events",
                                        "tiles_sent", "bytes_sent" };
    const struct port *port = port_of(a);
    json_t *counters = json_object(), *connectors = json_array();
    char text[FAR_CHAIN_ADDRESS_BYTES], all[256] = "";
    uint64_t sum[sizeof(sums) / sizeof(sums[0])] = { 0 };

    json_object_set_new(to, "counters", counters);
    json_object_set_new(to, "latency", json_object());
    json_object_set_new(to, "connectors", connectors);
    if (!port)
        return;
    for (unsigned i = 0; i < port->connectors; i++) {
        const struct connector *c = &port->connector[i];
        json_t *one;

        far_address_text(&c->address, text, sizeof(text));
        one = connector_status(c, text);
        json_array_append_new(connectors, one);
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
                 i ? ";" : "", text);
        for (unsigned k = 0; k < sizeof(sums) / sizeof(sums[0]); k++)
            sum[k] += (uint64_t)json_integer_value(
                json_object_get(json_object_get(one, "counters"), sums[k]));
        if (reason_of(c) && json_is_null(json_object_get(to, "reason"))) {
            json_object_set_new(to, "reason", json_string(reason_of(c)));
            json_object_set_new(to, "state", json_string("waiting"));
        }
    }
    if (all[0])
        json_object_set_new(to, "address", json_string(all));
    for (unsigned k = 0; k < sizeof(sums) / sizeof(sums[0]); k++)
        add(counters, sums[k], sum[k]);
}

static const uint8_t *vdispl_pixels(const struct far_attachment *a,
                                    unsigned connector, uint32_t *width,
                                    uint32_t *height)
{
    const struct port *port = port_of(a);

    return port && connector < port->connectors
               ? far_fast_display_pixels(port->connector[connector].fast, width,
                                         height)
               : NULL;
}

static const char *const vdispl_kinds[] = { "vdispl", NULL };

const struct far_port_type far_port_vdispl = {
    .kinds = vdispl_kinds,
    .class = FAR_CLASS_DISPLAY,
    .handshake = FAR_HS_ADOPTS,
    .mine = vdispl_mine,
    .publish = vdispl_publish,
    .connect = vdispl_connect,
    .adopt = vdispl_adopt,
    .disconnect = vdispl_disconnect,
    .detach = vdispl_detach,
    .reload = vdispl_reload,
    .device_ready = vdispl_device_ready,
    .pixels = vdispl_pixels,
    .status = vdispl_status,
};
