/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fardoorbell's frontend (docs/DOORBELL.md): rings another guest, and is rung.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "farside/io/fardoorbell.h"
#include "frontend/own.h"

#define REQUESTS 128u

struct far_frontend_doorbell {
    struct far_front_own own;
    struct far_frontend_doorbell_hooks hooks;
    void *arg;
    uint32_t consumed;
    struct {
        unsigned tag;
        bool busy;
    } requests[REQUESTS];
};

static struct far_frontend_doorbell *bell_of(struct far_front_own *own)
{
    return (struct far_frontend_doorbell *)(void *)own;
}

static struct fardoorbell_page *page_of(struct far_front_own *own)
{
    return own->control;
}

static int answers(struct far_frontend_doorbell *d)
{
    struct fardoorbell_response response;
    int r, n = 0;

    while (!d->own.closed &&
           (r = far_ring_response(&d->own.ring, &response)) != 0) {
        if (r < 0)
            return r;
        if (response.id >= REQUESTS || !d->requests[response.id].busy)
            return -EPROTO;
        n = 1;
        d->requests[response.id].busy = false;
        if (d->hooks.answered)
            d->hooks.answered(d->arg, d->requests[response.id].tag,
                              response.status);
    }
    return n;
}

static int rings(struct far_frontend_doorbell *d)
{
    struct fardoorbell_page *page = page_of(&d->own);
    uint32_t produced = __atomic_load_n(&page->produced, __ATOMIC_ACQUIRE);
    uint32_t first = d->consumed, there = produced - first;

    if (there > FARDOORBELL_EVENTS)
        return -EPROTO;
    if (!there)
        return 0;
    while (d->consumed != produced && !d->own.closed) {
        struct fardoorbell_event event;

        memcpy(&event, &page->events[d->consumed % FARDOORBELL_EVENTS],
               sizeof(event));
        d->consumed++;
        __atomic_store_n(&page->consumed, d->consumed, __ATOMIC_RELEASE);
        d->hooks.rung(d->arg, event.value);
    }
    if (d->own.closed)
        return 1;
    /* The backend may have filled the page meanwhile, and not have seen that
     * there was room by then: either it sees `consumed` when it looks once
     * more, or we see what it had produced before. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    produced = __atomic_load_n(&page->produced, __ATOMIC_RELAXED);
    if (produced - first >= FARDOORBELL_EVENTS)
        far_front_own_notify(&d->own);
    return 1;
}

static int bell_drain(struct far_front_own *own)
{
    struct far_frontend_doorbell *d = bell_of(own);
    int any = 0;

    for (;;) {
        int r = answers(d), e = r < 0 || own->closed ? 0 : rings(d);

        if (r < 0 || e < 0)
            return -EPROTO;
        any |= r | e;
        if (own->closed || own->polling || far_ring_front_arm(&own->ring))
            return any;
    }
}

static int bell_pages(struct far_front_own *own)
{
    (void)own;
    return 0;
}

static int bell_offer(struct far_front_own *own, far_xs_t t)
{
    bell_of(own)->consumed = 0;
    (void)t;
    return 0;
}

static void bell_connected(struct far_front_own *own)
{
    (void)own;
}

static void bell_dropped(struct far_front_own *own)
{
    struct far_frontend_doorbell *d = bell_of(own);

    for (unsigned i = 0; i < REQUESTS; i++)
        if (d->requests[i].busy) {
            d->requests[i].busy = false;
            if (d->hooks.answered)
                d->hooks.answered(d->arg, d->requests[i].tag, -ECONNRESET);
        }
}

static uint32_t bell_back_cpu(struct far_front_own *own)
{
    return __atomic_load_n(&page_of(own)->back_cpu, __ATOMIC_RELAXED);
}

static bool bell_arm(struct far_front_own *own)
{
    __atomic_store_n(&page_of(own)->front_cpu, 0, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&page_of(own)->produced, __ATOMIC_ACQUIRE) ==
               bell_of(own)->consumed &&
           far_ring_front_arm(&own->ring);
}

static void bell_disarm(struct far_front_own *own, uint32_t cpu)
{
    __atomic_store_n(&page_of(own)->front_cpu, cpu, __ATOMIC_RELAXED);
}

static void bell_told(struct far_front_own *own, enum far_frontend_state state,
                      const char *why)
{
    struct far_frontend_doorbell *d = bell_of(own);

    if (d->hooks.state)
        d->hooks.state(d->arg, state, why);
}

static void bell_freed(struct far_front_own *own)
{
    free(bell_of(own));
}

static const struct far_front_own_class bell_class = {
    .kind = "fardoorbell",
    .entry_bytes = sizeof(struct fardoorbell_request),
    .pages = bell_pages,
    .offer = bell_offer,
    .connected = bell_connected,
    .drain = bell_drain,
    .dropped = bell_dropped,
    .back_cpu = bell_back_cpu,
    .arm = bell_arm,
    .disarm = bell_disarm,
};

struct far_frontend_doorbell *far_frontend_doorbell_open(
    struct far_frontend *frontend, unsigned devid, uint32_t flags,
    const struct far_frontend_doorbell_hooks *hooks, void *arg)
{
    struct far_frontend_doorbell *d;
    int r;

    if (devid > FAR_FRONT_DEVID_MAX || !hooks->rung) {
        errno = EINVAL;
        return NULL;
    }
    d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->hooks = *hooks;
    d->arg = arg;
    d->own.class = &bell_class;
    d->own.devid = devid;
    d->own.poll = !(flags & FAR_FRONTEND_NO_POLL);
    d->own.told = bell_told;
    d->own.freed = bell_freed;
    r = far_front_own_open(frontend, &d->own);
    if (!r)
        return d;
    free(d);
    errno = -r;
    return NULL;
}

void far_frontend_doorbell_close(struct far_frontend_doorbell *d)
{
    if (d)
        far_front_own_close(&d->own);
}

int far_frontend_doorbell_ring(struct far_frontend_doorbell *d, uint32_t value,
                               unsigned tag)
{
    struct fardoorbell_request q = { .operation = FARDOORBELL_OP_RING,
                                     .value = value };
    unsigned id;

    if (!d->own.connected)
        return -ENOTCONN;
    for (id = 0; id < REQUESTS && d->requests[id].busy; id++)
        ;
    if (id == REQUESTS || !far_ring_room(&d->own.ring))
        return -EAGAIN;
    d->requests[id].busy = true;
    d->requests[id].tag = tag;
    q.id = (uint16_t)id;
    far_ring_put(&d->own.ring, &q);
    if (far_ring_front_push(&d->own.ring))
        far_front_own_notify(&d->own);
    return 0;
}
