/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Event channels over libxenevtchn: the path from the descriptor to a port's
 * handler, unmasking after it, and the pause after events that brought no work.
 * What a handler does is its port's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <xenevtchn.h>
#include <xen/sys/evtchn.h>
#include "core/clock.h"
#include "xenbus/evtchn.h"

#define PAUSE_FIRST_US 1000u
#define PAUSE_LAST_US  250000u
#define SLOTS_FIRST    4u
#define SLOTS_MAX      (1u << 17) /* Xen's own limit of ports */
/* Ports served in one turn of the loop, so that a guest with many of them
 * leaves room for the others. */
#define BURST 32u

struct far_evtchns {
    xenevtchn_handle *handle;
    struct far_loop *loop;
    struct far_io io;
    unsigned domid;
    uint32_t bound;  /* ports */
    bool drains;     /* reading an empty descriptor doesn't block */
    bool offered;    /* a restricted handle can't make ports */
    bool restricted; /* or it was tried */
    bool *gone;      /* set by a close from within a handler */
    struct far_evtchn *first;
    uint32_t mask; /* of the slots below: a power of two minus 1 */
    /* By port & mask; the table is as large as it must be for no two ports to
     * share a slot, so that an event is one load and one comparison. */
    struct far_evtchn **slots;
};

static uint64_t pause_us(uint32_t run)
{
    uint64_t us = PAUSE_FIRST_US;

    while (--run && us < PAUSE_LAST_US)
        us *= 2;
    return us < PAUSE_LAST_US ? us : PAUSE_LAST_US;
}

static void unmask(struct far_evtchn *evtchn)
{
    (void)xenevtchn_unmask(evtchn->channels->handle, evtchn->local_port);
}

static void pause_over(struct far_timer *timer)
{
    struct far_evtchn *evtchn =
        (struct far_evtchn *)((char *)timer -
                              offsetof(struct far_evtchn, unmask));

    unmask(evtchn);
}

/* evtchn has fired and is masked. False: channels is no more. */
static bool serve(struct far_evtchns *channels, struct far_evtchn *evtchn)
{
    uint32_t port = evtchn->local_port;
    enum far_evtchn_verdict verdict;
    bool gone = false, *outer = channels->gone;

    channels->gone = &gone;
    verdict = evtchn->fired(evtchn);
    if (gone) {
        if (outer)
            *outer = true;
        return false;
    }
    channels->gone = outer;

    /* The handler may have unbound it, and even freed it. */
    if (channels->slots[port & channels->mask] != evtchn ||
        evtchn->local_port != port)
        return true;

    if (__builtin_expect(verdict == FAR_EVTCHN_WORKED, 1)) {
        evtchn->spurious_run = 0;
        unmask(evtchn);
    } else if (verdict == FAR_EVTCHN_SPURIOUS) {
        /* One for nothing is normal: the work was found before its event. */
        if (evtchn->spurious_run < UINT32_MAX)
            evtchn->spurious_run++;
        if (evtchn->spurious_run == 1 ||
            far_timer_set(&evtchn->unmask,
                          far_now_us() + pause_us(evtchn->spurious_run - 1)))
            unmask(evtchn);
    }
    return true;
}

/* The kernel's ring of fired ports overflowed, and which ones were lost nobody
 * knows: all are looked at. */
static void overflowed(struct far_evtchns *channels)
{
    if (ioctl(xenevtchn_fd(channels->handle), IOCTL_EVTCHN_RESET, 0) < 0) {
        far_io_del(&channels->io); /* no event will ever come again */
        return;
    }
    for (uint32_t i = 0; i <= channels->mask; i++) {
        struct far_evtchn *evtchn = channels->slots[i];

        if (evtchn && !far_timer_armed(&evtchn->unmask) &&
            !serve(channels, evtchn))
            return;
    }
}

static void ready(struct far_io *io, uint32_t events)
{
    struct far_evtchns *channels =
        (struct far_evtchns *)((char *)io - offsetof(struct far_evtchns, io));
    uint32_t budget = BURST;

    if (__builtin_expect(!(events & EPOLLIN), 0)) {
        if (events & EPOLLERR)
            overflowed(channels);
        return;
    }
    do {
        struct far_evtchn *evtchn;
        int port = xenevtchn_pending(channels->handle);

        if (port < 0) {
            if (errno == EFBIG)
                overflowed(channels);
            return;
        }
        evtchn = channels->slots[(uint32_t)port & channels->mask];
        /* A port that was unbound after it had fired is nobody's. */
        if (evtchn && evtchn->local_port == (uint32_t)port &&
            !serve(channels, evtchn))
            return;
        /* With one port there can't be a second event before the next turn:
         * no read for nothing. */
    } while (channels->bound > 1 && channels->drains && --budget);
}

struct far_evtchns *far_evtchns_open(struct far_loop *loop, unsigned domid)
{
    struct far_evtchns *channels = calloc(1, sizeof(*channels));
    int fd, flags, saved, r;

    if (!channels)
        return NULL;
    channels->loop = loop;
    channels->domid = domid;
    channels->io.fd = -1;
    channels->mask = SLOTS_FIRST - 1;
    channels->slots = calloc(SLOTS_FIRST, sizeof(struct far_evtchn *));
    if (!channels->slots)
        goto out;
    channels->handle = xenevtchn_open(NULL, 0);
    if (!channels->handle)
        goto out;
    fd = xenevtchn_fd(channels->handle);
    flags = fcntl(fd, F_GETFL);
    channels->drains =
        flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
    r = far_io_add(loop, &channels->io, fd, EPOLLIN, ready);
    if (r < 0) {
        errno = -r;
        goto out;
    }
    return channels;

out:
    saved = errno;
    if (channels->handle)
        xenevtchn_close(channels->handle);
    free(channels->slots);
    free(channels);
    errno = saved ? saved : EIO;
    return NULL;
}

static void forget(struct far_evtchns *channels, struct far_evtchn *evtchn)
{
    far_timer_cancel(&evtchn->unmask);
    for (struct far_evtchn **e = &channels->first; *e; e = &(*e)->next)
        if (*e == evtchn) {
            *e = evtchn->next;
            break;
        }
    channels->slots[evtchn->local_port & channels->mask] = NULL;
    channels->bound--;
    evtchn->local_port = 0;
    evtchn->channels = NULL;
    evtchn->next = NULL;
}

static void end(struct far_evtchns *channels)
{
    if (channels->gone)
        *channels->gone = true;
    free(channels->slots);
    free(channels);
}

void far_evtchns_close(struct far_evtchns *channels)
{
    if (!channels)
        return;
    while (channels->first)
        far_evtchn_unbind(channels->first);
    far_io_del(&channels->io);
    xenevtchn_close(channels->handle);
    end(channels);
}

void far_evtchns_abandon(struct far_evtchns *channels)
{
    if (!channels)
        return;
    while (channels->first)
        forget(channels, channels->first);
    far_io_del(&channels->io);
    /* A second descriptor keeps the kernel's side open when the library closes
     * its own. If there is none to be had, the library keeps its own. */
    if (fcntl(xenevtchn_fd(channels->handle), F_DUPFD_CLOEXEC, 0) >= 0)
        xenevtchn_close(channels->handle);
    end(channels);
}

/* Puts a port into the table, which grows until each has a slot of its own. */
static int insert(struct far_evtchns *channels, struct far_evtchn *evtchn)
{
    uint32_t mask = channels->mask;
    struct far_evtchn **slots;

    if (!channels->slots[evtchn->local_port & mask]) {
        channels->slots[evtchn->local_port & mask] = evtchn;
        return 0;
    }
    for (;;) {
        bool shared = false;

        mask = mask * 2 + 1;
        if (mask >= SLOTS_MAX)
            return -ENOSPC;
        slots = calloc((size_t)mask + 1, sizeof(*slots));
        if (!slots)
            return -ENOMEM;
        slots[evtchn->local_port & mask] = evtchn;
        for (struct far_evtchn *e = channels->first; e && !shared;
             e = e->next) {
            if (slots[e->local_port & mask])
                shared = true;
            else
                slots[e->local_port & mask] = e;
        }
        if (!shared)
            break;
        free(slots);
    }
    free(channels->slots);
    channels->slots = slots;
    channels->mask = mask;
    return 0;
}

static int adopt(struct far_evtchns *channels, struct far_evtchn *evtchn,
                 int port, uint32_t remote_port,
                 enum far_evtchn_verdict (*fired)(struct far_evtchn *))
{
    int r;

    if (port < 0)
        return errno > 0 ? -errno : -EINVAL;
    evtchn->local_port = (uint32_t)port;
    evtchn->remote_port = remote_port;
    evtchn->channels = channels;
    evtchn->fired = fired;
    evtchn->spurious_run = 0;
    evtchn->next = NULL;
    r = insert(channels, evtchn);
    if (r < 0) {
        (void)xenevtchn_unbind(channels->handle, evtchn->local_port);
        evtchn->local_port = 0;
        evtchn->channels = NULL;
        return r;
    }
    far_timer_init(&evtchn->unmask, channels->loop, pause_over);
    evtchn->next = channels->first;
    channels->first = evtchn;
    channels->bound++;
    return 0;
}

int far_evtchn_bind(struct far_evtchns *channels, struct far_evtchn *evtchn,
                    uint32_t remote_port,
                    enum far_evtchn_verdict (*fired)(struct far_evtchn *))
{
    evtchn->local_port = 0;
    evtchn->channels = NULL;
    /* Port 0 is never one. A port is 31 bits in libxenevtchn's signature. */
    if (!remote_port || remote_port > INT32_MAX)
        return -EINVAL;
    if (!channels->restricted && !channels->offered) {
        /* Best effort: an older kernel has no such call. */
        channels->restricted = true;
        (void)xenevtchn_restrict(channels->handle, (domid_t)channels->domid);
    }
    errno = 0;
    return adopt(channels, evtchn,
                 xenevtchn_bind_interdomain(channels->handle, channels->domid,
                                            remote_port),
                 remote_port, fired);
}

int far_evtchn_offer(struct far_evtchns *channels, struct far_evtchn *evtchn,
                     enum far_evtchn_verdict (*fired)(struct far_evtchn *))
{
    evtchn->local_port = 0;
    evtchn->channels = NULL;
    channels->offered = true;
    errno = 0;
    return adopt(channels, evtchn,
                 xenevtchn_bind_unbound_port(channels->handle, channels->domid),
                 0, fired);
}

void far_evtchn_unbind(struct far_evtchn *evtchn)
{
    struct far_evtchns *channels = evtchn->channels;
    uint32_t port = evtchn->local_port;

    if (!port || !channels)
        return;
    forget(channels, evtchn);
    (void)xenevtchn_unbind(channels->handle, port);
}

int far_evtchn_notify(struct far_evtchn *evtchn)
{
    if (__builtin_expect(!evtchn->local_port, 0))
        return -ENOTCONN;
    if (xenevtchn_notify(evtchn->channels->handle, evtchn->local_port) < 0)
        return errno > 0 ? -errno : -EIO;
    return 0;
}
