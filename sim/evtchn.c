/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for libxenevtchn. Sending, unmasking and waiting happen here,
 * with at most one cheap system call and never a word to the keeper: a port's
 * flags are in memory that all processes map, and its number goes through the
 * pipe of the handle that it is bound to. The keeper (domain.c) binds and
 * closes.
 * Not as on Linux: xentoolcore_restrict_all() does not reach these handles.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenevtchn.h>
#include "sim/client.h"

struct xenevtchn_handle {
    int fd;
    uint32_t id;
    uint32_t epoch;
    uint32_t restricted; /* to this domid; HV_NO_DOM: not */
    /* By port: domain slot << 32 | domain generation, 0 if not ours. The
     * generation tells a port of an earlier life of this domain. */
    _Atomic uint64_t *ports;
};

#define PORTS_BYTES (HV_PORTS * sizeof(uint64_t))

/* Descriptors of other handles' pipes, by handle slot: id << 32 | fd + 1. */
static struct {
    pthread_mutex_t lock;
    _Atomic uint64_t fd[HV_HANDLES];
    _Atomic uint32_t users; /* threads that may be writing into one */
    uint32_t filled, sweep_at;
} peers = { .lock = PTHREAD_MUTEX_INITIALIZER, .sweep_at = 64 };

static _Atomic uint32_t threads;
static _Thread_local uint32_t thread_index;

/* Closes pipes whose readers are gone. Called with peers.lock held. */
static void sweep(void)
{
    int dead[64];
    uint32_t count = 0, left = 0;

    for (uint32_t s = 0; s < HV_HANDLES; s++) {
        uint64_t v = atomic_load(&peers.fd[s]);
        if (!v)
            continue;
        if (atomic_load(&sim.ro->handle_id[s]) == (uint32_t)(v >> 32) ||
            count == 64) {
            left++;
            continue;
        }
        dead[count++] = (int)(uint32_t)v - 1;
        atomic_store(&peers.fd[s], 0);
    }
    while (count && atomic_load(&peers.users))
        sched_yield();
    while (count)
        close(dead[--count]);
    peers.filled = left;
    peers.sweep_at = left < 32 ? 64 : left * 2;
}

static int learn_peer(uint32_t id)
{
    struct hv_req req = { .op = HV_HANDLE_FD, .a = id };
    struct hv_rsp rsp;
    uint32_t s = HV_HANDLE_SLOT(id);
    int fd = -1;

    pthread_mutex_lock(&peers.lock);
    uint64_t v = atomic_load(&peers.fd[s]);
    if (v >> 32 == id) {
        pthread_mutex_unlock(&peers.lock);
        return 0;
    }
    if (v || peers.filled >= peers.sweep_at)
        sweep();
    int r = sim_call(&req, NULL, &rsp, NULL, 0, &fd, 1);
    if (!r && fd >= 0) {
        if (!atomic_load(&peers.fd[s])) {
            peers.filled++;
            atomic_store(&peers.fd[s], (uint64_t)id << 32 | (uint32_t)(fd + 1));
        } else {
            close(fd);
        }
    }
    pthread_mutex_unlock(&peers.lock);
    return r;
}

static void tell(uint32_t id, uint32_t cookie)
{
    for (int tries = 0; id && tries < 2; tries++) {
        atomic_fetch_add_explicit(&peers.users, 1, memory_order_acquire);
        uint64_t v = atomic_load(&peers.fd[HV_HANDLE_SLOT(id)]);
        if (v >> 32 == id) {
            /* Never full: a port is in its pipe once. */
            ssize_t n = write((int)(uint32_t)v - 1, &cookie, sizeof(cookie));
            (void)n;
            atomic_fetch_sub(&peers.users, 1);
            return;
        }
        atomic_fetch_sub(&peers.users, 1);
        if (learn_peer(id))
            return;
    }
}

static void deliver(uint32_t slot, uint32_t port, uint32_t gen)
{
    _Atomic uint32_t *flag = &sim.rw->flags[slot][port];
    int saved = errno;

    uint32_t v = atomic_load_explicit(flag, memory_order_relaxed);
    for (;;) {
        if (HV_FLAG_GEN(v) != gen)
            return; /* closed meanwhile */
        if (v & HV_PENDING) {
            /* What the caller wrote before must be seen by whoever clears
             * the bit after this look at it; an exchange does that alone. */
            atomic_thread_fence(memory_order_seq_cst);
            v = atomic_load(flag);
            if (v & HV_PENDING)
                return;
            continue;
        }
        if (v & HV_MASKED) {
            if (atomic_compare_exchange_weak(flag, &v, v | HV_PENDING))
                return;
            continue;
        }
        if (!thread_index)
            thread_index = 1 + atomic_fetch_add(&threads, 1) % HV_SENDERS;
        _Atomic uint32_t *note = &sim.rw->sending[sim.id][thread_index - 1];
        atomic_store_explicit(note, (slot << 16 | port) + 1,
                              memory_order_relaxed);
        if (atomic_compare_exchange_strong(flag, &v, v | HV_MASKED)) {
            const struct hv_port *p = &sim.ro->ports[slot][port];
            tell(atomic_load(&p->handle), atomic_load(&p->cookie));
            atomic_store_explicit(note, 0, memory_order_release);
            errno = saved;
            return;
        }
        atomic_store_explicit(note, 0, memory_order_relaxed);
    }
}

static bool stale(const xenevtchn_handle *h)
{
    return h->epoch != sim.epoch;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger,
                                 unsigned int flags)
{
    struct hv_req req = { .op = HV_EVTCHN_OPEN };
    struct hv_rsp rsp;
    (void)logger;
    (void)flags;

    xenevtchn_handle *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->ports = mmap(NULL, PORTS_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (h->ports == MAP_FAILED) {
        free(h);
        return NULL;
    }
    int r = sim_call(&req, NULL, &rsp, NULL, 0, &h->fd, 1);
    if (r || h->fd < 0) {
        sim_real_munmap(h->ports, PORTS_BYTES);
        free(h);
        errno = r ? -r : EMFILE;
        return NULL;
    }
    h->id = rsp.a;
    h->epoch = sim.epoch;
    h->restricted = HV_NO_DOM;
    return h;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd,
                                   unsigned open_flags)
{
    (void)logger;
    (void)fd;
    (void)open_flags;
    errno = EOPNOTSUPP;
    return NULL;
}

int xenevtchn_close(xenevtchn_handle *h)
{
    struct hv_rsp rsp;

    if (!h)
        return 0;
    if (!stale(h)) {
        struct hv_req req = { .op = HV_EVTCHN_CLOSE, .a = h->id };
        sim_call(&req, NULL, &rsp, NULL, 0, NULL, 0);
    }
    close(h->fd);
    sim_real_munmap(h->ports, PORTS_BYTES);
    free(h);
    return 0;
}

int xenevtchn_fd(xenevtchn_handle *h)
{
    return h->fd;
}

int xenevtchn_notify(xenevtchn_handle *h, evtchn_port_t port)
{
    if (stale(h))
        return sim_fail(EBADF);
    uint64_t mine = port < HV_PORTS ? atomic_load(&h->ports[port]) : 0;
    if (!mine)
        return sim_fail(ENOTCONN);

    uint32_t slot = (uint32_t)(mine >> 32);
    if (atomic_load(&sim.ro->doms[slot].gen) != (uint32_t)mine)
        return 0; /* bound before a restore: into the void, no error */
    uint64_t link = atomic_load(&sim.ro->ports[slot][port].link);
    switch (hv_link_state(link)) {
    case HV_INTERDOMAIN:
        deliver(hv_link_slot(link), hv_link_port(link), hv_link_gen(link));
        return 0;
    case HV_UNBOUND:
        return 0;
    default:
        return sim_fail(EINVAL);
    }
}

static xenevtchn_port_or_error_t bind(xenevtchn_handle *h, struct hv_req *req)
{
    struct hv_rsp rsp;

    if (stale(h))
        return sim_fail(EBADF);
    req->a = h->id;
    int r = sim_call(req, NULL, &rsp, NULL, 0, NULL, 0);
    if (r)
        return sim_fail(r);
    atomic_store(&h->ports[rsp.a], (uint64_t)rsp.b << 32 | rsp.c);
    /* The other end's pipe is fetched now, so that no notify has to. */
    if (rsp.d)
        learn_peer(rsp.d);
    return (int)rsp.a;
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *h,
                                                      uint32_t domid)
{
    struct hv_req req = { .op = HV_BIND_UNBOUND, .b = domid };
    if (h->restricted != HV_NO_DOM && h->restricted != domid)
        return sim_fail(EACCES);
    return bind(h, &req);
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *h,
                                                     uint32_t domid,
                                                     evtchn_port_t remote_port)
{
    struct hv_req req = { .op = HV_BIND_INTERDOMAIN,
                          .b = domid,
                          .c = remote_port };
    if (h->restricted != HV_NO_DOM && h->restricted != domid)
        return sim_fail(EACCES);
    return bind(h, &req);
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *h,
                                              unsigned int virq)
{
    struct hv_req req = { .op = HV_BIND_VIRQ, .b = virq };
    if (h->restricted != HV_NO_DOM)
        return sim_fail(EACCES);
    return bind(h, &req);
}

int xenevtchn_unbind(xenevtchn_handle *h, evtchn_port_t port)
{
    struct hv_req req = { .op = HV_UNBIND, .a = h->id, .b = port };
    struct hv_rsp rsp;

    if (stale(h))
        return sim_fail(EBADF);
    if (port >= HV_PORTS)
        return sim_fail(EINVAL);
    uint64_t mine = atomic_exchange(&h->ports[port], 0);
    if (!mine)
        return sim_fail(ENOTCONN);
    req.c = (uint32_t)(mine >> 32);
    req.d = (uint32_t)mine;
    int r = sim_call(&req, NULL, &rsp, NULL, 0, NULL, 0);
    return r ? sim_fail(r) : 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *h)
{
    evtchn_port_t port;

    if (stale(h))
        return sim_fail(EBADF);
    if (read(h->fd, &port, sizeof(port)) != sizeof(port))
        return -1;
    return (int)port;
}

int xenevtchn_unmask(xenevtchn_handle *h, evtchn_port_t port)
{
    if (stale(h))
        return sim_fail(EBADF);
    uint64_t mine = port < HV_PORTS ? atomic_load(&h->ports[port]) : 0;
    uint32_t slot = (uint32_t)(mine >> 32);
    if (!mine || atomic_load(&sim.ro->doms[slot].gen) != (uint32_t)mine)
        return 0; /* the device ignores what is not bound, too */

    _Atomic uint32_t *flag = &sim.rw->flags[slot][port];
    uint32_t v = atomic_load(flag);
    for (;;) {
        if (!(v & HV_MASKED))
            return 0;
        if (v & HV_PENDING) {
            if (!atomic_compare_exchange_weak(flag, &v,
                                              v & ~(uint32_t)HV_PENDING))
                continue;
            ssize_t n = write(h->fd, &port, sizeof(port));
            (void)n;
            return 0;
        }
        if (atomic_compare_exchange_weak(flag, &v, v & ~(uint32_t)HV_MASKED))
            return 0;
    }
}

int xenevtchn_restrict(xenevtchn_handle *h, domid_t domid)
{
    if (stale(h))
        return sim_fail(EBADF);
    if (h->restricted != HV_NO_DOM)
        return sim_fail(EACCES);
    if (domid == 0 || domid >= HV_DOMID_RESERVED)
        return sim_fail(EINVAL);
    h->restricted = domid;
    return 0;
}

void sim_evtchn_forked(void)
{
    pthread_mutex_init(&peers.lock, NULL);
    atomic_store(&peers.users, 0);
    if (!peers.filled)
        return;
    for (uint32_t s = 0; s < HV_HANDLES; s++) {
        uint64_t v = atomic_exchange(&peers.fd[s], 0);
        if (v)
            close((int)(uint32_t)v - 1);
    }
    peers.filled = 0;
}
