/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the ports of our own kinds have in common: see own.h.
 */
#include "backend/own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VERSION 1u

struct reader {
    struct far_attachment *a;
    far_xs_t t;
    const char *dir;
};

static int read_node(void *arg, const char *node, char *value, size_t room)
{
    struct reader *reader = arg;

    return far_xs_read(reader->a->backend->xs, reader->t, value, room, "%s/%s",
                       reader->dir, node);
}

struct publication {
    struct far_attachment *a;
    struct far_own *own;
    bool timers, failed;
    struct far_error *error;
};

static int write_node(struct publication *p, far_xs_t t, const char *node,
                      uint32_t value)
{
    char path[FAR_XS_PATH_BYTES + 32];

    snprintf(path, sizeof(path), "%s/%s", p->a->back, node);
    return far_xs_write(p->a->backend->xs, t, path, "%u", value);
}

static int publish(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct publication *p = arg;
    struct reader reader = { .a = p->a, .t = t, .dir = p->a->back };
    struct far_schema_fault fault = { 0 };
    int r = far_schema_own_back_read(&p->own->back, read_node, &reader, &fault);

    (void)xs;
    p->failed = r && r != -EAGAIN;
    if (r)
        return far_error(p->error, r, "its own node %s",
                         fault.node ? fault.text : strerror(-r));
    r = write_node(p, t, FAR_NODE_OWN_BACK_VERSION, VERSION);
    if (!r)
        r = write_node(p, t, FAR_NODE_OWN_BACK_FEATURE_POLL, !p->own->ringless);
    if (!r && p->timers)
        r = write_node(p, t, FAR_NODE_OWN_BACK_MAX_TIMERS,
                       p->own->back.max_timers);
    return r;
}

int far_own_publish(struct far_attachment *a, struct far_own *own, bool timers,
                    struct far_error *error)
{
    struct publication p = {
        .a = a, .own = own, .timers = timers, .error = error
    };
    int r = far_xs_transact(a->backend->xs, publish, &p);

    if (r && !p.failed)
        far_error(error, r, "xenstore: %s", strerror(-r));
    return r;
}

int far_own_read_front(struct far_attachment *a, struct far_own *own,
                       struct far_error *error)
{
    struct reader reader = { .a = a, .dir = a->front };
    struct far_schema_fault fault = { 0 };
    int r = far_schema_own_front_read(&own->front, read_node, &reader, &fault);

    if (r)
        return far_error(error, r, "the guest's node %s",
                         fault.node ? fault.text : strerror(-r));
    if (own->front.version != VERSION)
        return far_error(error, -EPROTONOSUPPORT,
                         "the guest's driver speaks version %u, not %u",
                         own->front.version, VERSION);
    return 0;
}

int far_own_read_ref(struct far_attachment *a, const char *node, uint32_t *ref,
                     struct far_error *error)
{
    uint64_t value;
    int r = far_xs_read_u64(a->backend->xs, 0, &value, UINT32_MAX, "%s/%s",
                            a->front, node);

    if (!r && value < FAR_GRANT_RESERVED)
        r = -EINVAL;
    if (r)
        return far_error(error, r, "the guest's node %s is no grant reference",
                         node);
    *ref = (uint32_t)value;
    return 0;
}

int far_own_map(struct far_attachment *a, struct far_own *own,
                enum far_evtchn_verdict (*fired)(struct far_evtchn *),
                struct far_error *error)
{
    struct far_evtchns *channels = far_guest_channels(a->guest);
    const struct far_schema_own_front *front = &own->front;
    struct {
        struct far_grant_map *map;
        uint32_t ref;
        const char *name;
    } pages[] = { { &own->control, front->control_ref, "control-ref" },
                  { &own->ring, front->ring_ref, "ring-ref" } };
    unsigned count = own->ringless ? 1 : 2;
    int r;

    if (!own->ringless && !front->has_ring_ref)
        return far_error(error, -ENOENT, "the guest's ring-ref is missing");
    if (!channels)
        return far_error(error, -errno, "no event channels: %s",
                         strerror(errno));
    for (unsigned i = 0; i < count; i++) {
        r = far_grant_map(a->backend->grants, pages[i].map, a->guest->domid,
                          &pages[i].ref, 1, true, &a->guest->quota);
        if (r) {
            far_own_unmap(a, own);
            return far_error(error, r, "the guest's %s %u can't be mapped: %s",
                             pages[i].name, pages[i].ref, strerror(-r));
        }
    }
    r = far_evtchn_bind(channels, &own->evtchn, front->event_channel, fired);
    if (r) {
        far_own_unmap(a, own);
        return far_error(error, r,
                         "the guest's event-channel %u can't be bound: %s",
                         front->event_channel, strerror(-r));
    }
    far_attachment_line(a, &own->evtchn);
    return 0;
}

void far_own_unmap(struct far_attachment *a, struct far_own *own)
{
    far_attachment_line(a, NULL);
    far_evtchn_unbind(&own->evtchn);
    far_grant_unmap(&own->control);
    far_grant_unmap(&own->ring);
}
