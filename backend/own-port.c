/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the ports of our own kinds have in common: see own.h.
 */
#include "backend/own.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#define VERSION 1u
/* of fartimer, which has the most */
#define SLOT_PAGES_MAX 64u

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

bool far_own_mine(struct far_attachment *a)
{
    (void)a;
    return true;
}

int far_own_adopt(struct far_attachment *a, struct far_error *error)
{
    (void)a;
    return far_error(error, -EOPNOTSUPP, "it is connected anew");
}

struct publication {
    struct far_attachment *a;
    struct far_own *own;
    int (*more)(struct far_attachment *a, far_xs_t t,
                const struct far_own *own);
    bool failed;
    struct far_error *error;
};

int far_own_write(struct far_attachment *a, far_xs_t t, const char *node,
                  uint32_t value)
{
    char path[FAR_XS_PATH_BYTES + 32];

    snprintf(path, sizeof(path), "%s/%s", a->back, node);
    return far_xs_write(a->backend->xs, t, path, "%u", value);
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
    r = far_own_write(p->a, t, FAR_NODE_OWN_BACK_VERSION, VERSION);
    if (!r)
        r = far_own_write(p->a, t, FAR_NODE_OWN_BACK_FEATURE_POLL,
                          !p->own->ringless);
    return r || !p->more ? r : p->more(p->a, t, p->own);
}

int far_own_publish(struct far_attachment *a, struct far_own *own,
                    int (*more)(struct far_attachment *a, far_xs_t t,
                                const struct far_own *own),
                    struct far_error *error)
{
    struct publication p = { .a = a, .own = own, .more = more, .error = error };
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

static int read_ref(struct far_attachment *a, const char *node, uint32_t *ref,
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

int far_own_map_slots(struct far_attachment *a, struct far_own *own,
                      const char *node, uint32_t pages, struct far_error *error)
{
    uint32_t refs[SLOT_PAGES_MAX];
    char name[32];
    int r;

    if (pages > SLOT_PAGES_MAX)
        return far_error(error, -E2BIG, "the guest offers %u pages of %s",
                         pages, node);
    for (uint32_t i = 0; i < pages; i++) {
        snprintf(name, sizeof(name), "%s%u", node, i);
        r = read_ref(a, name, &refs[i], error);
        if (r)
            return r;
    }
    r = far_grant_map(a->backend->grants, &own->slots, a->guest->domid, refs,
                      pages, true, &a->guest->quota);
    return r ? far_error(error, r, "the guest's %s can't be mapped: %s", node,
                         strerror(-r))
             : 0;
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
    int r = 0;

    if (!own->ringless && !front->has_ring_ref)
        r = far_error(error, -ENOENT, "the guest's ring-ref is missing");
    else if (!channels)
        r = far_error(error, -errno, "no event channels: %s", strerror(errno));
    if (r) {
        far_own_unmap(a, own);
        return r;
    }
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
    far_poller_del(&own->poller);
    own->front_cpu = own->back_cpu = NULL;
    far_attachment_line(a, NULL);
    far_evtchn_unbind(&own->evtchn);
    far_grant_unmap(&own->control);
    far_grant_unmap(&own->ring);
    far_grant_unmap(&own->slots);
}

/* --- looking ------------------------------------------------------------- */

static struct far_own *looking(struct far_poller *poller)
{
    return (struct far_own *)(void *)((char *)poller -
                                      offsetof(struct far_own, poller));
}

static int peer_cpu(const struct far_own *own)
{
    uint32_t cpu = __atomic_load_n(own->front_cpu, __ATOMIC_RELAXED);

    return cpu && cpu < 65536 ? (int)cpu - 1 : -1;
}

static bool peer_elsewhere(struct far_poller *poller)
{
    int cpu = peer_cpu(looking(poller));

    return cpu >= 0 && cpu != sched_getcpu();
}

static bool peer_here(struct far_poller *poller)
{
    int cpu = peer_cpu(looking(poller));

    return cpu >= 0 && cpu == sched_getcpu();
}

static void disarm_pages(struct far_poller *poller)
{
    far_own_looks(looking(poller), true);
}

void far_own_looks(struct far_own *own, bool looks)
{
    int cpu = looks ? sched_getcpu() : -1;

    __atomic_store_n(own->back_cpu,
                     !looks    ? 0
                     : cpu < 0 ? 1u
                               : (uint32_t)cpu + 1,
                     __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void far_own_broken(struct far_attachment *a, struct far_own *own,
                    const char *what)
{
    if (own->broken)
        return;
    own->broken = true;
    far_attachment_fail(a, "the guest has written nonsense: %s", what);
}

bool far_own_guest_looks(const struct far_own *own)
{
    if (!own->front_cpu)
        return false;
    /* It looks once more after it has said that it doesn't: either we see that,
     * or it sees what was written before. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(own->front_cpu, __ATOMIC_ACQUIRE);
}

void far_own_look(struct far_attachment *a, struct far_own *own,
                  uint32_t *front_cpu, uint32_t *back_cpu,
                  bool (*poll)(struct far_poller *),
                  bool (*arm)(struct far_poller *),
                  void (*disarm)(struct far_poller *))
{
    if (!own->front.request_poll)
        return;
    own->front_cpu = front_cpu;
    own->back_cpu = back_cpu;
    own->poller =
        (struct far_poller){ .poll = poll,
                             .peer_elsewhere = peer_elsewhere,
                             .peer_here = peer_here,
                             .arm = arm,
                             .disarm = disarm ? disarm : disarm_pages };
    far_poller_add(a->backend->loop, &own->poller);
}
