/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's loop: processes come and go, ask for what only the hypervisor
 * may do, and are cleaned up after when they die, however they die. Hosts are
 * started and stopped here; domains are made and ended on behalf of the
 * toolstack (xl.c), which is an ordinary program of dom0.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "sim/common.h"
#include "sim/keeper.h"
#include "sim/sim.h"

#define VIRQ_DOM_EXC 3

int keeper_watch(struct keeper *k, struct source *src, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = src };
    return epoll_ctl(k->epoll, EPOLL_CTL_ADD, src->fd, &e) ? -errno : 0;
}

void keeper_rewatch(struct keeper *k, struct source *src, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = src };
    epoll_ctl(k->epoll, EPOLL_CTL_MOD, src->fd, &e);
}

void keeper_drop(struct keeper *k, struct source *src)
{
    if (src->dead)
        return;
    src->dead = true;
    epoll_ctl(k->epoll, EPOLL_CTL_DEL, src->fd, NULL);
    close(src->fd);
    src->next_dead = k->dead;
    k->dead = src;
}

/* ---- guests and their processes ---- */

static struct guest *find_guest(struct keeper *k, const uint8_t uuid[16])
{
    struct guest *g = k->guests;
    while (g && (g->dying || memcmp(g->uuid, uuid, 16)))
        g = g->next;
    return g;
}

static void drop_guest(struct keeper *k, struct guest *g)
{
    bus_free(k, g);
    for (struct guest **at = &k->guests; *at; at = &(*at)->next)
        if (*at == g) {
            *at = g->next;
            break;
        }
    free(g);
}

static void signal_client(const struct client *c, int sig)
{
    if (c->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, c->pidfd, sig, NULL, 0);
}

static void signal_guest(struct keeper *k, struct guest *g, int sig)
{
    for (uint32_t i = 0; i < HV_CLIENTS; i++)
        if (k->clients[i] && k->clients[i]->guest == g)
            signal_client(k->clients[i], sig);
}

static void place_clients(struct keeper *k, struct guest *g)
{
    for (uint32_t i = 0; i < HV_CLIENTS; i++)
        if (k->clients[i] && k->clients[i]->guest == g) {
            k->clients[i]->host = g->host;
            atomic_store(&k->ro->client_dom[i], g->dom);
        }
}

/* The guest is no more; its processes are ended, the rest follows them. */
static void end_guest(struct keeper *k, struct guest *g)
{
    g->dying = true;
    g->dom = HV_NO_DOM;
    bus_detach(k, g);
    place_clients(k, g);
    signal_guest(k, g, SIGKILL);
    if (!g->processes)
        drop_guest(k, g);
}

static void end_domain(struct keeper *k, uint32_t slot, bool keep_guest)
{
    struct kdom *d = &k->doms[slot];
    struct guest *g = d->guest;
    struct host *h = d->host;
    bool home = g && g->dom == slot;

    if (home && keep_guest) {
        bus_detach(k, g);
        g->dom = HV_NO_DOM;
        place_clients(k, g);
    }
    hv_dom_destroy(k, slot);
    if (home && !keep_guest)
        end_guest(k, g);
    if (h->up)
        hv_virq(k, h, VIRQ_DOM_EXC);
}

/* ---- hosts ---- */

static struct host *find_host(struct keeper *k, const char *name)
{
    for (int i = 0; i < HV_HOSTS; i++)
        if (k->hosts[i].name[0] && !strcmp(k->hosts[i].name, name))
            return &k->hosts[i];
    return NULL;
}

static int start_xenstored(struct keeper *k, struct host *h, const char *path)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid) {
        h->xenstored = pid;
        return 0;
    }
    char file[256];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    if (far_sim_setenv(k->dir, h->name, NULL, 0))
        _exit(1);
    snprintf(file, sizeof(file), "%s/%s/xenstored.log", k->dir, h->name);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        dup2(fd, 1);
        dup2(fd, 2);
    }
    snprintf(file, sizeof(file), "%s/%s/xenstored/tdb", k->dir, h->name);
    execl(path, "xenstored", "-N", (char *)NULL);
    fprintf(stderr, "can't start %s: %s\n", path, strerror(errno));
    _exit(1);
}

static void free_host(struct host *h)
{
    free(h->slots);
    if (h->kva >= 0)
        close(h->kva);
    memset(h, 0, sizeof(*h));
}

static int host_up(struct keeper *k, const struct hv_req *req,
                   const char *xenstored)
{
    static const uint8_t no_uuid[16];

    if (find_host(k, req->host))
        return find_host(k, req->host)->up ? -EEXIST : -EBUSY;
    struct host *h = NULL;
    for (uint16_t i = 0; i < HV_HOSTS && !h; i++)
        if (!k->hosts[i].name[0]) {
            h = &k->hosts[i];
            h->index = i;
        }
    if (!h)
        return -ENOSPC;
    h->kva = memfd_create("farside-sim-xenstore", MFD_CLOEXEC);
    h->slots = calloc(HV_DOMID_RESERVED, sizeof(*h->slots));
    int r = h->kva < 0 || ftruncate(h->kva, HV_PAGE) || !h->slots ? -ENOMEM : 0;
    if (!r)
        r = hv_dom_create(k, h, 0, no_uuid, NULL);
    if (r >= 0) {
        memcpy(h->name, req->host, sizeof(h->name));
        h->next_domid = 1;
        h->dom0 = (uint32_t)r;
        h->store_port = (uint32_t)hv_bind_unbound(k, h->dom0, 0, HV_DOMID_SELF);
        h->up = true;
        k->had_host = true;
        r = start_xenstored(k, h, xenstored);
        if (r)
            hv_dom_destroy(k, h->dom0);
    }
    if (r < 0)
        free_host(h);
    return r;
}

static bool spared(const uint32_t *pids, uint32_t count, pid_t pid)
{
    for (uint32_t i = 0; i < count; i++)
        if (pids[i] == (uint32_t)pid)
            return true;
    return false;
}

static int host_down(struct keeper *k, const struct hv_req *req,
                     const uint32_t *spare, uint32_t count)
{
    struct host *h = find_host(k, req->host);
    struct guest *g, *next;

    if (!h)
        return -ENOENT;
    h->up = false;
    for (g = k->guests; g; g = next) {
        next = g->next;
        if (g->host != h || g->dying)
            continue;
        if (g->dom != HV_NO_DOM)
            end_domain(k, g->dom, false);
        else
            end_guest(k, g);
    }
    for (uint32_t s = 0; s < HV_DOMS; s++)
        if (k->doms[s].host == h && s != h->dom0)
            end_domain(k, s, false);
    for (uint32_t i = 0; i < HV_CLIENTS; i++) {
        struct client *c = k->clients[i];
        if (!c || c->host != h || c->guest)
            continue;
        if (spared(spare, count, c->pid))
            continue;
        signal_client(c, SIGKILL);
    }
    if (h->xenstored)
        kill(h->xenstored, SIGKILL);
    return 0;
}

/* A host that is going down goes when nothing of it runs any more. */
static void finish_hosts(struct keeper *k)
{
    bool any = false;

    for (int n = 0; n < HV_HOSTS; n++) {
        struct host *h = &k->hosts[n];
        bool busy = h->up || h->xenstored;
        if (!h->name[0])
            continue;
        for (struct guest *g = k->guests; g && !busy; g = g->next)
            busy = g->host == h;
        if (busy) {
            any = true;
            continue;
        }
        for (uint32_t i = 0; i < HV_CLIENTS; i++)
            if (k->clients[i] && k->clients[i]->host == h) {
                k->clients[i]->host = NULL;
                atomic_store(&k->ro->client_dom[i], HV_NO_DOM);
            }
        if (k->doms[h->dom0].host == h)
            hv_dom_destroy(k, h->dom0);
        free_host(h);
    }
    if (!any && k->had_host)
        k->quit = true;
}

/* ---- requests ---- */

struct answer {
    struct hv_rsp rsp;
    uint32_t words[HV_BATCH * 2];
    int fds[3];
    int nfds;
    bool close_fds;
};

static int hello(struct keeper *k, struct client *c, const struct hv_req *req,
                 struct answer *a)
{
    if (c->hello)
        return -EINVAL;
    if (req->host[0]) {
        c->host = find_host(k, req->host);
        if (!c->host && !req->a)
            return -ENOENT;
    }
    if (req->a) {
        struct guest *g = find_guest(k, req->uuid);
        if (!g)
            return -ENOENT;
        c->guest = g;
        c->host = g->host;
        g->processes++;
    }
    c->hello = true;
    atomic_store(&k->ro->client_dom[c->id], c->guest  ? c->guest->dom
                                            : c->host ? c->host->dom0
                                                      : HV_NO_DOM);
    a->rsp.a = c->id;
    a->fds[0] = k->ro_fd;
    a->fds[1] = k->rw_fd;
    a->fds[2] = k->mem_fd;
    a->nfds = 3;
    return 0;
}

static int bound(struct keeper *k, uint32_t slot, int port, struct answer *a)
{
    if (port < 0)
        return port;
    a->rsp.a = (uint32_t)port;
    a->rsp.b = slot;
    a->rsp.c = k->doms[slot].gen;
    return 0;
}

static int new_domain(struct keeper *k, const struct hv_req *req,
                      struct answer *a)
{
    struct host *h = find_host(k, req->host);
    if (!h || !h->up)
        return -ENOENT;
    struct guest *g = find_guest(k, req->uuid);
    bool fresh = !g;
    if (!g) {
        g = calloc(1, sizeof(*g));
        if (!g)
            return -ENOMEM;
        memcpy(g->uuid, req->uuid, 16);
        memcpy(g->name, req->name, sizeof(g->name));
        g->dom = HV_NO_DOM;
        g->host = h;
    }
    uint32_t domid = h->next_domid, tries = 0;
    while (h->slots[domid] && tries++ < HV_DOMID_RESERVED)
        domid = domid + 1 < HV_DOMID_RESERVED ? domid + 1 : 1;
    int slot = hv_dom_create(k, h, domid, req->uuid, g);
    if (slot < 0) {
        if (fresh)
            free(g);
        return slot;
    }
    h->next_domid = domid + 1 < HV_DOMID_RESERVED ? domid + 1 : 1;
    if (req->a)
        k->doms[slot].shared_limit = req->a;
    if (req->b)
        k->ro->doms[slot].memory_kb = req->b;
    if (fresh) {
        g->dom = (uint32_t)slot;
        g->next = k->guests;
        k->guests = g;
    }
    a->rsp.a = domid;
    a->rsp.b = 1; /* xenstore's port */
    a->rsp.c = k->doms[slot].ring_frame;
    a->rsp.d = k->doms[slot].console_frame;
    return 0;
}

static int unpause(struct keeper *k, uint32_t slot)
{
    struct guest *g = k->doms[slot].guest;
    if (!g)
        return -EINVAL;
    if (g->dom != slot) {
        bus_detach(k, g);
        g->dom = slot;
        g->host = k->doms[slot].host;
        place_clients(k, g);
    }
    k->ro->doms[slot].paused = 0;
    if (!g->ring) {
        int r = bus_attach(k, g);
        if (r)
            return r;
    }
    signal_guest(k, g, SIGCONT);
    return 0;
}

static void list_doms(struct keeper *k, const struct hv_req *req,
                      struct answer *a)
{
    struct hv_info *info = (struct hv_info *)a->words;
    uint32_t n = 0, skip = req->a;
    uint32_t max = (uint32_t)(sizeof(a->words) / (sizeof(*info)));

    for (struct guest *g = k->guests; g && n < max; g = g->next) {
        if (req->host[0] && strcmp(g->host->name, req->host))
            continue;
        if (skip) {
            skip--;
            continue;
        }
        memcpy(info[n].name, g->name, sizeof(g->name));
        memcpy(info[n].uuid, g->uuid, 16);
        info[n].processes = g->processes;
        info[n].pid = 0;
        info[n].domid = 0;
        if (g->dying) {
            info[n].state = HV_DYING;
        } else if (g->dom == HV_NO_DOM) {
            info[n].state = HV_SAVED;
        } else {
            info[n].domid = k->ro->doms[g->dom].domid;
            info[n].state = k->ro->doms[g->dom].paused ? HV_PAUSED : HV_RUNNING;
        }
        n++;
    }
    a->rsp.a = n;
    a->rsp.count = (uint32_t)(n * sizeof(*info) / sizeof(uint32_t));
}

static void list_hosts(struct keeper *k, struct answer *a)
{
    struct hv_info *info = (struct hv_info *)a->words;
    uint32_t n = 0;

    for (int i = 0; i < HV_HOSTS; i++) {
        const struct host *h = &k->hosts[i];
        if (!h->name[0])
            continue;
        memset(&info[n], 0, sizeof(info[n]));
        memcpy(info[n].name, h->name, sizeof(h->name));
        info[n].pid = (uint32_t)h->xenstored;
        info[n].state = h->up ? HV_RUNNING : HV_DYING;
        for (uint32_t c = 0; c < HV_CLIENTS; c++)
            if (k->clients[c] && k->clients[c]->host == h)
                info[n].processes++;
        n++;
    }
    a->rsp.a = n;
    a->rsp.count = (uint32_t)(n * sizeof(*info) / sizeof(uint32_t));
}

static int give(struct answer *a, int fd)
{
    if (fd < 0)
        return -errno;
    a->fds[0] = fd;
    a->nfds = 1;
    a->close_fds = true;
    return 0;
}

static int open_port_file(struct host *h, struct answer *a)
{
    char text[16];
    int fd = memfd_create("xsd_port", MFD_CLOEXEC);
    int n = snprintf(text, sizeof(text), "%u", h->store_port);
    if (fd >= 0 && pwrite(fd, text, (size_t)n, 0) != n) {
        close(fd);
        return -EIO;
    }
    return give(a, fd);
}

/* What a process may ask that lives in a domain. */
static int from_domain(struct keeper *k, struct client *c,
                       const struct hv_req *req, const uint32_t *words,
                       struct answer *a)
{
    uint32_t slot = k->ro->client_dom[c->id];
    struct handle *h = NULL;
    int r, fd = -1;

    if (req->op == HV_EVTCHN_OPEN) {
        r = hv_handle_open(k, c, &fd, &a->rsp.a);
        return r ? r : give(a, fd);
    }
    if (req->op == HV_EVTCHN_CLOSE || req->op == HV_UNBIND ||
        (req->op >= HV_BIND_UNBOUND && req->op <= HV_BIND_VIRQ)) {
        h = hv_handle(k, req->a);
        if (!h || h->client != c)
            return -EBADF;
    }
    switch (req->op) {
    case HV_EVTCHN_CLOSE:
        hv_handle_close(k, req->a);
        return 0;
    case HV_HANDLE_FD:
        h = hv_handle(k, req->a);
        return h ? give(a, fcntl(h->writer, F_DUPFD_CLOEXEC, 3)) : -ENOENT;
    case HV_RELEASE:
        return hv_release(k, c, req->a);
    case HV_UNBIND:
        if (slot != req->c || k->doms[slot].gen != req->d)
            return 0; /* of a former life */
        if (req->b < HV_PORTS && k->ro->ports[slot][req->b].handle == h->id)
            hv_close_port(k, slot, req->b);
        return 0;
    case HV_OPEN_XENBUS:
        if (!c->guest)
            return -ENXIO;
        r = bus_open(k, c->guest, &fd);
        return r ? r : give(a, fd);
    default:
        break;
    }
    if (slot == HV_NO_DOM)
        return -ENODEV;
    switch (req->op) {
    case HV_BIND_UNBOUND:
        return bound(k, slot, hv_bind_unbound(k, slot, req->a, req->b), a);
    case HV_BIND_INTERDOMAIN:
        r = hv_bind_interdomain(k, slot, req->a, req->b, req->c);
        if (r > 0) {
            uint64_t link = k->ro->ports[slot][r].link;
            uint32_t other = hv_link_slot(link);
            a->rsp.d = k->ro->ports[other][hv_link_port(link)].handle;
        }
        return bound(k, slot, r, a);
    case HV_BIND_VIRQ:
        return bound(k, slot, hv_bind_virq(k, slot, req->a, req->b), a);
    case HV_SHARE:
        r = hv_share(k, c, slot, req, a->words, &a->rsp.a);
        a->rsp.count = r ? 0 : req->x * 2;
        return r;
    case HV_MAP:
        r = hv_map(k, c, slot, req, words, a->words, &a->rsp.a);
        a->rsp.count = r ? 0 : req->count / 2;
        return r;
    case HV_OPEN_KVA:
        if (c->guest)
            return -ENOENT;
        return give(a, fcntl(c->host->kva, F_DUPFD_CLOEXEC, 3));
    case HV_OPEN_PORTFILE:
        return c->guest ? -ENOENT : open_port_file(c->host, a);
    default:
        return -EINVAL;
    }
}

/* What a toolstack may ask. A guest has none. */
static int from_toolstack(struct keeper *k, struct client *c,
                          const struct hv_req *req, const uint32_t *words,
                          struct answer *a)
{
    struct host *h = find_host(k, req->host);
    int slot = -ESRCH;

    if (c->guest)
        return -EPERM;
    if (h)
        slot = hv_find(k, h, req->c);
    switch (req->op) {
    case HV_HOST_UP:
        return host_up(k, req, (const char *)words);
    case HV_HOST_DOWN:
        return host_down(k, req, words, req->count);
    case HV_HOST_LIST:
        list_hosts(k, a);
        return 0;
    case HV_DOM_LIST:
        list_doms(k, req, a);
        return 0;
    case HV_DOM_CREATE:
        return new_domain(k, req, a);
    case HV_QUIT:
        k->had_host = true; /* if there is none now, none is to come */
        return 0;
    default:
        break;
    }
    if (slot < 0 || (uint32_t)slot == h->dom0)
        return -ESRCH;
    struct guest *g = k->doms[slot].guest;
    bool home = g && g->dom == (uint32_t)slot;
    switch (req->op) {
    case HV_DOM_PAUSE:
    case HV_DOM_SUSPEND:
        if (req->op == HV_DOM_PAUSE)
            k->ro->doms[slot].paused = 1;
        if (home) {
            signal_guest(k, g, SIGSTOP);
            a->rsp.a = bus_busy(g);
        }
        return 0;
    case HV_DOM_UNPAUSE:
        return unpause(k, (uint32_t)slot);
    case HV_DOM_DESTROY:
        end_domain(k, (uint32_t)slot, req->a != 0);
        return 0;
    default:
        return -EINVAL;
    }
}

static void send_answer(struct client *c, struct answer *a)
{
    struct iovec iov[2] = {
        { &a->rsp, sizeof(a->rsp) },
        { a->words, a->rsp.count * sizeof(uint32_t) },
    };
    union {
        char buf[CMSG_SPACE(3 * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

    if (a->nfds) {
        size_t bytes = (size_t)a->nfds * sizeof(int);
        memset(&ctl, 0, sizeof(ctl));
        msg.msg_control = ctl.buf;
        msg.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *m = CMSG_FIRSTHDR(&msg);
        m->cmsg_level = SOL_SOCKET;
        m->cmsg_type = SCM_RIGHTS;
        m->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(m), a->fds, bytes);
    }
    /* One request at a time: the socket's buffer is empty. */
    if (sendmsg(c->src.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        shutdown(c->src.fd, SHUT_RDWR);
    if (a->close_fds)
        for (int i = 0; i < a->nfds; i++)
            close(a->fds[i]);
}

static void client_gone(struct keeper *k, struct client *c)
{
    struct guest *g = c->guest;

    hv_resend(k, c);
    hv_release_all(k, c);
    for (uint32_t i = 0; i < HV_HANDLES; i++)
        if (k->handles[i].id && k->handles[i].client == c)
            hv_handle_close(k, k->handles[i].id);
    atomic_store(&k->ro->client_dom[c->id], HV_NO_DOM);
    k->clients[c->id] = NULL;
    if (c->pidfd >= 0)
        close(c->pidfd);
    keeper_drop(k, &c->src);
    if (g) {
        g->processes--;
        if (g->dying && !g->processes)
            drop_guest(k, g);
    }
}

static void client_input(struct keeper *k, struct client *c)
{
    static union {
        struct hv_req req;
        char bytes[HV_MSG_MAX];
    } in;
    static struct answer a;

    ssize_t n = recv(c->src.fd, in.bytes, sizeof(in.bytes) - 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_gone(k, c);
        return;
    }
    memset(&a.rsp, 0, sizeof(a.rsp));
    a.nfds = 0;
    a.close_fds = false;
    in.bytes[n] = 0;
    if ((size_t)n < sizeof(in.req) ||
        (size_t)n != sizeof(in.req) + in.req.count * sizeof(uint32_t)) {
        client_gone(k, c);
        return;
    }
    in.req.host[HV_NAME - 1] = in.req.name[HV_NAME - 1] = 0;
    const uint32_t *words = (const uint32_t *)(in.bytes + sizeof(in.req));
    int r;
    if (in.req.op == HV_HELLO)
        r = hello(k, c, &in.req, &a);
    else if (!c->hello)
        r = -EPERM;
    else if (in.req.op >= HV_HOST_UP)
        r = from_toolstack(k, c, &in.req, words, &a);
    else
        r = from_domain(k, c, &in.req, words, &a);
    a.rsp.err = r;
    if (r)
        a.rsp.count = 0;
    send_answer(c, &a);
}

static void accept_client(struct keeper *k)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    int fd = accept4(k->listen.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    uint32_t id = 0;
    while (id < HV_CLIENTS && k->clients[id])
        id++;
    struct client *c = id < HV_CLIENTS ? calloc(1, sizeof(*c)) : NULL;
    if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len)) {
        free(c);
        close(fd);
        return;
    }
    c->src.kind = SRC_CLIENT;
    c->src.fd = fd;
    c->id = id;
    c->pid = cred.pid;
    c->pidfd = (int)syscall(SYS_pidfd_open, cred.pid, 0);
    if (keeper_watch(k, &c->src, EPOLLIN)) {
        close(fd);
        free(c);
        return;
    }
    k->clients[id] = c;
    for (int i = 0; i < HV_SENDERS; i++)
        atomic_store(&k->rw->sending[id][i], 0);
}

/* ---- the loop ---- */

static void guests_events(struct keeper *k)
{
    uint32_t cookies[256];
    ssize_t n = read(k->events.fd, cookies, sizeof(cookies));

    for (ssize_t i = 0; i < n / (ssize_t)sizeof(uint32_t); i++) {
        uint32_t slot = cookies[i] >> 16, port = cookies[i] & 0xffff;
        if (slot >= HV_DOMS || !k->doms[slot].guest || port >= HV_PORTS)
            continue;
        atomic_fetch_and(&k->rw->flags[slot][port],
                         ~(uint32_t)(HV_MASKED | HV_PENDING));
        struct guest *g = k->doms[slot].guest;
        if (g->dom == slot)
            bus_event(k, g);
    }
}

static void children(struct keeper *k)
{
    struct signalfd_siginfo info;
    pid_t pid;

    if (read(k->child.fd, &info, sizeof(info)) < 0)
        return;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        for (int i = 0; i < HV_HOSTS; i++)
            if (k->hosts[i].xenstored == pid)
                k->hosts[i].xenstored = 0;
}

static int start(struct keeper *k, const char *dir)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct rlimit lim;
    sigset_t set;
    int reader = -1;

    if (!getrlimit(RLIMIT_NOFILE, &lim)) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    snprintf(k->dir, sizeof(k->dir), "%s", dir);
    k->epoll = epoll_create1(EPOLL_CLOEXEC);
    int r = hv_start(k);
    if (r)
        return r;
    r = hv_handle_open(k, NULL, &reader, &k->internal);
    if (r)
        return r;
    fcntl(reader, F_SETFL, O_RDWR | O_NONBLOCK);
    k->events = (struct source){ .kind = SRC_EVENTS, .fd = reader };

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    k->child = (struct source){
        .kind = SRC_CHILD,
        .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
    };
    k->listen = (struct source){
        .kind = SRC_LISTEN,
        .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
    };
    r = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir,
                 FAR_SIM_SOCKET);
    if (r < 0 || (size_t)r >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    unlink(addr.sun_path);
    if (k->listen.fd < 0 || k->child.fd < 0 ||
        bind(k->listen.fd, (struct sockaddr *)&addr, sizeof(addr)) ||
        listen(k->listen.fd, 1024))
        return -errno;
    r = keeper_watch(k, &k->listen, EPOLLIN);
    if (!r)
        r = keeper_watch(k, &k->events, EPOLLIN);
    if (!r)
        r = keeper_watch(k, &k->child, EPOLLIN);
    return r;
}

/* What was dropped in this turn; events of it may have been waiting. */
static void bury(struct keeper *k)
{
    while (k->dead) {
        struct source *src = k->dead;
        k->dead = src->next_dead;
        free(src);
    }
}

int keeper_main(const char *dir, int ready_fd)
{
    struct keeper *k = calloc(1, sizeof(*k));
    struct epoll_event events[64];
    char path[256];

    int r = k ? start(k, dir) : -ENOMEM;
    if (write(ready_fd, &r, sizeof(r)) != sizeof(r) || r) {
        free(k);
        return 1;
    }
    close(ready_fd);
    while (!k->quit) {
        int n = epoll_wait(k->epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct source *src = events[i].data.ptr;
            if (src->dead)
                continue;
            switch (src->kind) {
            case SRC_LISTEN:
                accept_client(k);
                break;
            case SRC_CLIENT:
                client_input(k, (struct client *)src);
                break;
            case SRC_BUS:
                bus_input(k, src, events[i].events);
                break;
            case SRC_EVENTS:
                guests_events(k);
                break;
            case SRC_CHILD:
                children(k);
                break;
            }
        }
        bury(k);
        finish_hosts(k);
    }
    for (uint32_t i = 0; i < HV_CLIENTS; i++)
        if (k->clients[i])
            client_gone(k, k->clients[i]);
    bury(k);
    snprintf(path, sizeof(path), "%s/%s", dir, FAR_SIM_SOCKET);
    unlink(path);
    free(k);
    return 0;
}
