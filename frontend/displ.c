/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See displ.h. The handshake is the one of Linux' drm_xen_front: waits for 2,
 * offers pages and ports of all connectors and goes to 3, and to 4 with the
 * backend; a backend that has closed is begun anew with. What a backend writes
 * is checked: a wrong index or answer ends the device.
 */
#include "frontend/displ.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/handshake.h"
#include "xenbus/ring.h"

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define REFS (FAR_PAGE_BYTES / 4 - 1) /* of a directory's page */

struct connector {
    struct far_displ *displ;
    unsigned number;
    uint32_t width, height;
    struct far_share request_share, event_share;
    uint32_t refs[2];
    struct far_evtchn request_evtchn, event_evtchn;
    struct far_ring ring;
    uint32_t consumed; /* events */
    uint16_t next_id;
};

struct far_displ {
    struct far_loop *loop;
    struct far_xs *xs;
    unsigned devid, backend_id;
    char back[FAR_XS_PATH_BYTES];
    struct far_displ_hooks hooks;
    void *arg;
    struct far_xs_watch watch;
    struct far_defer look;
    enum far_xenbus_state state; /* ours, as written */
    bool leaving;
    struct far_evtchns *channels;
    struct far_shares *shares;
    struct far_grants *grants; /* for pages of the backend's */
    unsigned connectors;
    struct connector connector[FAR_DISPL_CONNECTORS_MAX];
};

struct far_displ_buffer {
    struct far_displ *displ;
    uint32_t pages, directory_pages;
    struct far_share data, directory;
    uint32_t directory_ref;
    struct far_grant_map map;
};

/* --- rings ---------------------------------------------------------------- */

static void tell(struct far_displ *d, enum far_displ_state state,
                 const char *why)
{
    if (d->hooks.state)
        d->hooks.state(d->arg, state, why);
}

static void set_state(struct far_displ *d, enum far_xenbus_state state)
{
    char path[FAR_XS_PATH_BYTES];

    snprintf(path, sizeof(path), "device/vdispl/%u/state", d->devid);
    d->state = state;
    (void)far_xs_write(d->xs, 0, path, "%d", (int)state);
}

static void drop(struct far_displ *d)
{
    for (unsigned i = 0; i < FAR_DISPL_CONNECTORS_MAX; i++) {
        struct connector *c = &d->connector[i];

        far_evtchn_unbind(&c->request_evtchn);
        far_evtchn_unbind(&c->event_evtchn);
        far_unshare(&c->request_share);
        far_unshare(&c->event_share);
    }
    far_evtchns_close(d->channels);
    d->channels = NULL;
}

static enum far_evtchn_verdict wrong(struct far_displ *d, const char *what)
{
    drop(d);
    d->leaving = true;
    set_state(d, FAR_XB_CLOSED);
    tell(d, FAR_DISPL_GONE, what);
    return FAR_EVTCHN_BROKEN;
}

static enum far_evtchn_verdict answered(struct far_evtchn *evtchn)
{
    struct connector *c = CONTAINER(struct connector, request_evtchn, evtchn);
    struct xendispl_resp response;
    bool any = false;
    int r;

    do {
        while ((r = far_ring_response(&c->ring, &response)) > 0) {
            any = true;
            if (c->displ->hooks.answer)
                c->displ->hooks.answer(c->displ->arg, c->number, &response);
        }
        if (r < 0)
            return wrong(c->displ,
                         "the backend wrote an impossible index into a ring");
    } while (!far_ring_front_arm(&c->ring));
    return any ? FAR_EVTCHN_WORKED : FAR_EVTCHN_SPURIOUS;
}

static enum far_evtchn_verdict happened(struct far_evtchn *evtchn)
{
    struct connector *c = CONTAINER(struct connector, event_evtchn, evtchn);
    struct xendispl_event_page *page = c->event_share.memory;
    uint32_t produced = __atomic_load_n(&page->in_prod, __ATOMIC_ACQUIRE);
    bool any = false;

    if (produced - c->consumed > XENDISPL_IN_RING_LEN)
        return wrong(
            c->displ,
            "the backend wrote an impossible index into an event page");
    while (c->consumed != produced) {
        struct xendispl_evt event;

        memcpy(&event, &XENDISPL_IN_RING_REF(page, c->consumed), sizeof(event));
        c->consumed++;
        any = true;
        if (c->displ->hooks.event)
            c->displ->hooks.event(c->displ->arg, c->number, &event);
    }
    __atomic_store_n(&page->in_cons, c->consumed, __ATOMIC_RELEASE);
    return any ? FAR_EVTCHN_WORKED : FAR_EVTCHN_SPURIOUS;
}

int far_displ_request(struct far_displ *d, unsigned connector,
                      struct xendispl_req *request)
{
    struct connector *c = &d->connector[connector];

    if (d->state != FAR_XB_CONNECTED || connector >= d->connectors)
        return -ENOTCONN;
    if (!far_ring_room(&c->ring))
        return -EAGAIN;
    request->id = c->next_id++;
    far_ring_put(&c->ring, request);
    if (far_ring_front_push(&c->ring))
        (void)far_evtchn_notify(&c->request_evtchn);
    return request->id;
}

/* --- nodes ---------------------------------------------------------------- */

static int write_nodes(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct far_displ *d = arg;
    char path[FAR_XS_PATH_BYTES];
    int r;

    snprintf(path, sizeof(path), "device/vdispl/%u/version", d->devid);
    r = far_xs_write(xs, t, path, "2");
    for (unsigned i = 0; !r && i < d->connectors; i++) {
        const struct connector *c = &d->connector[i];
        const struct {
            const char *name;
            uint32_t value;
        } nodes[] = {
            { XENDISPL_FIELD_REQ_RING_REF, c->refs[0] },
            { XENDISPL_FIELD_REQ_CHANNEL, c->request_evtchn.local_port },
            { XENDISPL_FIELD_EVT_RING_REF, c->refs[1] },
            { XENDISPL_FIELD_EVT_CHANNEL, c->event_evtchn.local_port },
        };

        for (unsigned k = 0; !r && k < 4; k++) {
            snprintf(path, sizeof(path), "device/vdispl/%u/%u/%s", d->devid, i,
                     nodes[k].name);
            r = far_xs_write(xs, t, path, "%u", nodes[k].value);
        }
    }
    return r;
}

static int make_connector(struct far_displ *d, struct connector *c)
{
    int r = far_share_pages(d->shares, &c->request_share, d->backend_id, 1,
                            true, &c->refs[0]);

    if (!r)
        r = far_share_pages(d->shares, &c->event_share, d->backend_id, 1, true,
                            &c->refs[1]);
    if (r)
        return r;
    far_ring_front_init(&c->ring, c->request_share.memory, FAR_PAGE_BYTES,
                        sizeof(struct xendispl_req));
    c->consumed = 0;
    r = far_evtchn_offer(d->channels, &c->request_evtchn, answered);
    return r ? r : far_evtchn_offer(d->channels, &c->event_evtchn, happened);
}

/* From 2 to 3. */
static int start(struct far_displ *d)
{
    int r = 0;

    drop(d);
    d->channels = far_evtchns_open(d->loop, d->backend_id);
    if (!d->channels)
        return -errno;
    for (unsigned i = 0; !r && i < d->connectors; i++)
        r = make_connector(d, &d->connector[i]);
    if (!r)
        r = far_xs_transact(d->xs, write_nodes, d);
    if (r) {
        drop(d);
        return r;
    }
    set_state(d, FAR_XB_INITIALISED);
    return 0;
}

static void look(struct far_defer *defer)
{
    struct far_displ *d = CONTAINER(struct far_displ, look, defer);
    char text[8] = "";
    int r;

    if (far_xs_read(d->xs, 0, text, sizeof(text), "%s/state", d->back) < 0)
        text[0] = '\0';
    switch (far_xenbus_state_parse(text)) {
    case FAR_XB_INIT_WAIT:
        if (d->leaving || d->state != FAR_XB_INITIALISING)
            break;
        r = start(d);
        if (r)
            tell(d, FAR_DISPL_GONE, strerror(-r));
        break;
    case FAR_XB_CONNECTED:
        if (d->state != FAR_XB_INITIALISED)
            break;
        set_state(d, FAR_XB_CONNECTED);
        tell(d, FAR_DISPL_CONNECTED, NULL);
        break;
    case FAR_XB_UNKNOWN:
    case FAR_XB_CLOSED: /* 5 is not looked at, as Linux' front does not */
        if (d->state != FAR_XB_INITIALISED && d->state != FAR_XB_CONNECTED)
            break;
        drop(d);
        tell(d, FAR_DISPL_WAITS, "the backend has closed");
        set_state(d, FAR_XB_INITIALISING);
        break;
    default:
        break;
    }
}

static void changed(struct far_xs_watch *watch, const char *path)
{
    struct far_displ *d = CONTAINER(struct far_displ, watch, watch);

    (void)path;
    far_defer(d->loop, &d->look, look);
}

/* --- buffers -------------------------------------------------------------- */

struct far_displ_buffer *far_displ_buffer_new(struct far_displ *d,
                                              uint32_t bytes, bool ours)
{
    struct far_displ_buffer *b = calloc(1, sizeof(*b));
    uint32_t *refs = NULL, *words, directory_refs[16];
    int r = -ENOMEM;

    if (!b)
        return NULL;
    b->displ = d;
    b->pages =
        (uint32_t)(((uint64_t)bytes + FAR_PAGE_BYTES - 1) / FAR_PAGE_BYTES);
    b->directory_pages = (b->pages + REFS - 1) / REFS;
    refs = calloc(b->pages, sizeof(*refs));
    if (!refs || b->directory_pages > 16)
        goto out;
    if (ours) {
        r = far_share_pages(d->shares, &b->data, d->backend_id, b->pages, true,
                            refs);
        if (r)
            goto out;
    }
    r = far_share_pages(d->shares, &b->directory, d->backend_id,
                        b->directory_pages, true, directory_refs);
    if (r)
        goto out;
    words = b->directory.memory;
    for (uint32_t i = 0; i < b->directory_pages; i++)
        words[i * (REFS + 1)] =
            i + 1 < b->directory_pages ? directory_refs[i + 1] : 0;
    for (uint32_t i = 0; ours && i < b->pages; i++)
        words[i / REFS * (REFS + 1) + 1 + i % REFS] = refs[i];
    b->directory_ref = directory_refs[0];
    free(refs);
    return b;
out:
    free(refs);
    far_displ_buffer_free(b);
    errno = -r;
    return NULL;
}

void far_displ_buffer_free(struct far_displ_buffer *b)
{
    if (!b)
        return;
    far_grant_unmap(&b->map);
    far_unshare(&b->data);
    far_unshare(&b->directory);
    free(b);
}

int far_displ_take_pages(struct far_displ_buffer *b)
{
    const uint32_t *words = b->directory.memory;
    uint32_t *refs = calloc(b->pages, sizeof(*refs));
    int r = -ENOMEM;

    if (!b->displ->grants)
        b->displ->grants = far_grants_open();
    if (refs && b->displ->grants) {
        for (uint32_t i = 0; i < b->pages; i++)
            refs[i] = words[i / REFS * (REFS + 1) + 1 + i % REFS];
        r = far_grant_map(b->displ->grants, &b->map, b->displ->backend_id, refs,
                          b->pages, true, NULL);
    }
    free(refs);
    return r;
}

void *far_displ_buffer_memory(const struct far_displ_buffer *b)
{
    return b->map.memory ? b->map.memory : b->data.memory;
}

uint32_t far_displ_buffer_directory(const struct far_displ_buffer *b)
{
    return b->directory_ref;
}

uint32_t *far_displ_buffer_words(struct far_displ_buffer *b)
{
    return b->directory.memory;
}

/* --- a device's life ------------------------------------------------------ */

unsigned far_displ_connectors(const struct far_displ *d)
{
    return d->connectors;
}

void far_displ_resolution(const struct far_displ *d, unsigned connector,
                          uint32_t *width, uint32_t *height)
{
    *width = d->connector[connector].width;
    *height = d->connector[connector].height;
}

void *far_displ_ring(struct far_displ *d, unsigned connector)
{
    return d->connector[connector].request_share.memory;
}

void *far_displ_events(struct far_displ *d, unsigned connector)
{
    return d->connector[connector].event_share.memory;
}

int far_displ_kick(struct far_displ *d, unsigned connector)
{
    return far_evtchn_notify(&d->connector[connector].request_evtchn);
}

static int read_nodes(struct far_displ *d)
{
    char text[32];
    uint64_t id;
    int r = far_xs_read(d->xs, 0, d->back, sizeof(d->back),
                        "device/vdispl/%u/backend", d->devid);

    if (r < 0)
        return r;
    r = far_xs_read_u64(d->xs, 0, &id, UINT16_MAX,
                        "device/vdispl/%u/backend-id", d->devid);
    if (r)
        return r;
    d->backend_id = (unsigned)id;
    while (d->connectors < FAR_DISPL_CONNECTORS_MAX) {
        struct connector *c = &d->connector[d->connectors];

        if (far_xs_read(d->xs, 0, text, sizeof(text),
                        "device/vdispl/%u/%u/resolution", d->devid,
                        d->connectors) < 0)
            break;
        if (sscanf(text, "%ux%u", &c->width, &c->height) != 2)
            return -EINVAL;
        c->displ = d;
        c->number = d->connectors++;
    }
    return d->connectors ? 0 : -ENOENT;
}

static void free_all(struct far_displ *d)
{
    far_xs_unwatch(&d->watch);
    far_defer_cancel(d->loop, &d->look);
    drop(d);
    far_grants_close(d->grants);
    far_shares_close(d->shares);
    free(d);
}

struct far_displ *far_displ_open(struct far_loop *loop, struct far_xs *xs,
                                 unsigned devid,
                                 const struct far_displ_hooks *hooks, void *arg)
{
    struct far_displ *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return NULL;
    d->loop = loop;
    d->xs = xs;
    d->devid = devid;
    d->hooks = *hooks;
    d->arg = arg;
    r = read_nodes(d);
    if (r)
        goto out;
    r = -ENOMEM;
    d->shares = far_shares_open();
    if (!d->shares)
        goto out;
    set_state(d, FAR_XB_INITIALISING);
    r = far_xs_watch(xs, &d->watch, changed, "%s/state", d->back);
    if (r)
        goto out;
    return d;
out:
    free_all(d);
    errno = -r;
    return NULL;
}

void far_displ_close(struct far_displ *d)
{
    if (!d)
        return;
    d->leaving = true;
    drop(d);
    set_state(d, FAR_XB_CLOSED);
    free_all(d);
}
