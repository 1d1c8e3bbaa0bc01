/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated hypervisor: domains, event channel ports, grants, and the
 * frames that are granted. Errors are those of Xen 4.17 as Linux passes them
 * on. Nothing here knows sockets, xenstore or toolstacks.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "sim/keeper.h"

static int table(const char *name, size_t size, int *fd, void **map)
{
    *fd = memfd_create(name, MFD_CLOEXEC);
    if (*fd < 0 || ftruncate(*fd, (off_t)size) < 0)
        return -errno;
    if (!map)
        return 0;
    *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    return *map == MAP_FAILED ? -errno : 0;
}

static void *private_table(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int hv_start(struct keeper *k)
{
    void *ro, *rw;
    int r = table("farside-sim-tables", sizeof(*k->ro), &k->ro_fd, &ro);
    if (!r)
        r = table("farside-sim-flags", sizeof(*k->rw), &k->rw_fd, &rw);
    if (!r)
        r = table("farside-sim-memory", (size_t)HV_FRAMES * HV_PAGE, &k->mem_fd,
                  NULL);
    if (r)
        return r;
    k->ro = ro;
    k->rw = rw;
    k->doms = private_table(HV_DOMS * sizeof(*k->doms));
    k->frame_refs = private_table(HV_FRAMES * sizeof(*k->frame_refs));
    k->free_frames = private_table(HV_FRAMES * sizeof(*k->free_frames));
    if (!k->doms || !k->frame_refs || !k->free_frames)
        return -ENOMEM;
    k->ro->magic = HV_MAGIC;
    k->frames_used = 1; /* frame 0 is nobody's */
    for (uint32_t i = 0; i < HV_CLIENTS; i++)
        k->ro->client_dom[i] = HV_NO_DOM;
    return 0;
}

/* ---- frames ---- */

static int frame_get(struct keeper *k, uint32_t *frame)
{
    static const char zeros[HV_PAGE];

    if (k->frames_used < HV_FRAMES) {
        *frame = k->frames_used++;
    } else if (k->free_count) {
        *frame = k->free_frames[k->free_head];
        k->free_head = (k->free_head + 1) % HV_FRAMES;
        k->free_count--;
        /* A late grant copy may have written there after it was freed. */
        if (pwrite(k->mem_fd, zeros, HV_PAGE, (off_t)*frame * HV_PAGE) !=
            HV_PAGE)
            return -ENOMEM;
    } else {
        return -ENOMEM;
    }
    k->frame_refs[*frame] = 1;
    return 0;
}

static void frame_put(struct keeper *k, uint32_t frame)
{
    if (--k->frame_refs[frame])
        return;
    fallocate(k->mem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              (off_t)frame * HV_PAGE, HV_PAGE);
    k->free_frames[(k->free_head + k->free_count++) % HV_FRAMES] = frame;
}

/* ---- handles ---- */

struct handle *hv_handle(struct keeper *k, uint32_t id)
{
    struct handle *h = &k->handles[HV_HANDLE_SLOT(id)];
    return id && h->id == id ? h : NULL;
}

int hv_handle_open(struct keeper *k, struct client *c, int *reader,
                   uint32_t *id)
{
    char path[32];
    int p[2];
    uint32_t s = k->handle_hint;

    for (uint32_t n = 0; k->handles[s].id; n++) {
        if (n == HV_HANDLES)
            return -EMFILE;
        s = (s + 1) % HV_HANDLES;
    }
    k->handle_hint = (s + 1) % HV_HANDLES;

    /*
     * One pipe, opened twice: blocking for its owner, not blocking for those
     * who send. Both for reading and writing, so that nobody gets SIGPIPE or
     * sees an end of file.
     */
    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
    *reader = open(path, O_RDWR | O_CLOEXEC);
    int writer = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int err = errno;
    close(p[0]);
    close(p[1]);
    if (*reader < 0 || writer < 0) {
        if (*reader >= 0)
            close(*reader);
        if (writer >= 0)
            close(writer);
        return -err;
    }
    *id = ++k->handle_count << 14 | s;
    if (!(*id >> 14))
        *id = ++k->handle_count << 14 | s;
    k->handles[s] = (struct handle){ *id, c, writer };
    atomic_store(&k->ro->handle_id[s], *id);
    return 0;
}

void hv_handle_close(struct keeper *k, uint32_t id)
{
    struct handle *h = hv_handle(k, id);
    if (!h)
        return;
    uint32_t slot = h->client ? k->ro->client_dom[h->client->id] : HV_NO_DOM;
    if (slot != HV_NO_DOM)
        for (uint32_t p = 1; p < k->doms[slot].port_top; p++)
            if (k->ro->ports[slot][p].handle == id)
                hv_close_port(k, slot, p);
    atomic_store(&k->ro->handle_id[HV_HANDLE_SLOT(id)], 0);
    close(h->writer);
    h->id = 0;
    h->client = NULL;
}

/* ---- event channels ---- */

static struct hv_port *port_of(struct keeper *k, uint32_t slot, uint32_t port)
{
    return &k->ro->ports[slot][port];
}

static void write_cookie(struct keeper *k, uint32_t slot, uint32_t port)
{
    struct hv_port *p = port_of(k, slot, port);
    struct handle *h = hv_handle(k, p->handle);
    uint32_t cookie = p->cookie;
    if (h && write(h->writer, &cookie, sizeof(cookie)) < 0)
        return; /* a full pipe: its owner is not reading at all */
}

/* Marks it and tells its owner. */
static void fire(struct keeper *k, uint32_t slot, uint32_t port)
{
    _Atomic uint32_t *flag = &k->rw->flags[slot][port];
    uint32_t v = atomic_load(flag);

    for (;;) {
        if (v & HV_MASKED) {
            if (atomic_compare_exchange_weak(flag, &v, v | HV_PENDING))
                return;
        } else if (atomic_compare_exchange_weak(flag, &v, v | HV_MASKED)) {
            write_cookie(k, slot, port);
            return;
        }
    }
}

void hv_send(struct keeper *k, uint32_t slot, uint32_t port)
{
    uint64_t link = port_of(k, slot, port)->link;
    if (hv_link_state(link) == HV_INTERDOMAIN)
        fire(k, hv_link_slot(link), hv_link_port(link));
}

void hv_resend(struct keeper *k, struct client *c)
{
    for (int i = 0; i < HV_SENDERS; i++) {
        uint32_t v = atomic_exchange(&k->rw->sending[c->id][i], 0);
        uint32_t slot = (v - 1) >> 16, port = (v - 1) & 0xffff;
        if (v && slot < HV_DOMS && port < HV_PORTS)
            write_cookie(k, slot, port);
    }
}

void hv_virq(struct keeper *k, struct host *h, uint32_t virq)
{
    if (k->doms[h->dom0].virq[virq])
        fire(k, h->dom0, k->doms[h->dom0].virq[virq]);
}

static int alloc_port(struct keeper *k, uint32_t slot, uint32_t handle)
{
    struct kdom *d = &k->doms[slot];

    for (uint32_t p = 1; p < HV_PORTS; p++) {
        struct hv_port *port = port_of(k, slot, p);
        if (hv_link_state(port->link) != HV_FREE)
            continue;
        struct kport *kp = &d->ports[p];
        uint32_t gen = (kp->gen + 1) & 0xffffff;
        *kp = (struct kport){ .gen = gen };
        port->handle = handle;
        port->cookie = p;
        atomic_store(&k->rw->flags[slot][p], HV_MAKE_FLAG(gen));
        if (p >= d->port_top)
            d->port_top = p + 1;
        return (int)p;
    }
    return -ENOSPC;
}

int hv_bind_unbound(struct keeper *k, uint32_t slot, uint32_t handle,
                    uint32_t remote_domid)
{
    if (remote_domid == HV_DOMID_SELF)
        remote_domid = k->ro->doms[slot].domid;
    if (remote_domid > 0xffff)
        return -EINVAL;
    int p = alloc_port(k, slot, handle);
    if (p > 0)
        atomic_store(&port_of(k, slot, (uint32_t)p)->link,
                     hv_link(HV_UNBOUND, 0, 0, remote_domid));
    return p;
}

int hv_bind_interdomain(struct keeper *k, uint32_t slot, uint32_t handle,
                        uint32_t domid, uint32_t port)
{
    int found = domid == HV_DOMID_SELF ? (int)slot
                                       : hv_find(k, k->doms[slot].host, domid);
    if (found < 0)
        return -ESRCH;
    uint32_t other = (uint32_t)found;
    if (port == 0 || port >= HV_PORTS)
        return -EINVAL;
    struct hv_port *theirs = port_of(k, other, port);
    if (hv_link_state(theirs->link) != HV_UNBOUND ||
        hv_link_gen(theirs->link) != k->ro->doms[slot].domid)
        return -EINVAL;
    int p = alloc_port(k, slot, handle);
    if (p < 0)
        return p;
    uint32_t mine = (uint32_t)p;
    atomic_store(
        &port_of(k, slot, mine)->link,
        hv_link(HV_INTERDOMAIN, other, port, k->doms[other].ports[port].gen));
    atomic_store(&theirs->link, hv_link(HV_INTERDOMAIN, slot, mine,
                                        k->doms[slot].ports[mine].gen));
    /* Xen, too: what was sent while nobody was there may be waiting. */
    fire(k, slot, mine);
    return p;
}

int hv_bind_virq(struct keeper *k, uint32_t slot, uint32_t handle,
                 uint32_t virq)
{
    struct kdom *d = &k->doms[slot];
    if (virq >= sizeof(d->virq) / sizeof(d->virq[0]))
        return -EINVAL;
    if (d->virq[virq])
        return -EEXIST;
    int p = alloc_port(k, slot, handle);
    if (p < 0)
        return p;
    d->virq[virq] = (uint32_t)p;
    d->ports[p].virq = (uint8_t)virq;
    atomic_store(&port_of(k, slot, (uint32_t)p)->link,
                 hv_link(HV_VIRQ, 0, 0, virq));
    return p;
}

void hv_close_port(struct keeper *k, uint32_t slot, uint32_t port)
{
    struct kdom *d = &k->doms[slot];
    struct hv_port *p = port_of(k, slot, port);
    uint64_t link = p->link;

    if (hv_link_state(link) == HV_FREE)
        return;
    atomic_store(&p->handle, 0);
    if (d->ports[port].holds) {
        d->ports[port].closing = 1;
        return;
    }
    if (hv_link_state(link) == HV_INTERDOMAIN) {
        struct hv_port *theirs =
            port_of(k, hv_link_slot(link), hv_link_port(link));
        atomic_store(&theirs->link,
                     hv_link(HV_UNBOUND, 0, 0, k->ro->doms[slot].domid));
    } else if (hv_link_state(link) == HV_VIRQ) {
        d->virq[d->ports[port].virq] = 0;
    }
    atomic_store(&p->link, hv_link(HV_FREE, 0, 0, 0));
    d->ports[port].closing = 0;
    d->ports[port].gen = (d->ports[port].gen + 1) & 0xffffff;
    atomic_store(&k->rw->flags[slot][port], HV_MAKE_FLAG(d->ports[port].gen));
}

/* ---- domains ---- */

int hv_find(struct keeper *k, struct host *h, uint32_t domid)
{
    (void)k;
    if (domid >= HV_DOMID_RESERVED || !h->slots || !h->slots[domid])
        return -ESRCH;
    return h->slots[domid] - 1;
}

static void grant(struct keeper *k, uint32_t slot, uint32_t ref, uint32_t domid,
                  uint32_t frame, bool readonly)
{
    struct hv_grant *g = &k->ro->grants[slot][ref];
    if (ref >= k->doms[slot].gref_top)
        k->doms[slot].gref_top = ref + 1;
    atomic_store(&g->frame, frame);
    atomic_store(&g->who, (HV_GRANT_VALID | (readonly ? HV_GRANT_READONLY : 0u))
                                  << 16 |
                              domid);
}

int hv_dom_create(struct keeper *k, struct host *h, uint32_t domid,
                  const uint8_t uuid[16], struct guest *g)
{
    uint32_t s = 0;
    while (s < HV_DOMS && k->doms[s].host)
        s++;
    if (s == HV_DOMS)
        return -ENOSPC;

    struct kdom *d = &k->doms[s];
    struct hv_dom *pub = &k->ro->doms[s];
    uint32_t ring = 0, console = 0;
    if (domid) {
        int r = frame_get(k, &ring);
        if (r)
            return r;
        r = frame_get(k, &console);
        if (r) {
            frame_put(k, ring);
            return r;
        }
    }
    d->host = h;
    d->guest = g;
    d->gen = ++k->dom_gen;
    d->port_top = 1;
    d->gref_hint = HV_GREF_FIRST;
    d->gref_top = 0;
    d->shared_pages = 0;
    d->shared_limit = 1024; /* gntalloc's */
    memset(d->virq, 0, sizeof(d->virq));
    pub->domid = (uint16_t)domid;
    pub->host = h->index;
    pub->paused = domid != 0;
    pub->dying = pub->shutdown = pub->shutdown_reason = 0;
    pub->memory_kb = 128 * 1024;
    memcpy(pub->uuid, uuid, 16);
    d->ring_frame = ring;
    d->console_frame = console;
    if (domid) {
        grant(k, s, 0, 0, console, false);
        grant(k, s, 1, 0, ring, false);
        hv_bind_unbound(k, s, k->internal, 0); /* xenstore */
        port_of(k, s, 1)->cookie = s << 16 | 1;
        hv_bind_unbound(k, s, 0, 0); /* console */
    }
    atomic_store(&pub->gen, d->gen);
    h->slots[domid] = (uint16_t)(s + 1);
    return (int)s;
}

void hv_dom_destroy(struct keeper *k, uint32_t slot)
{
    struct kdom *d = &k->doms[slot];
    struct hv_dom *pub = &k->ro->doms[slot];

    pub->dying = 1;
    atomic_store(&pub->gen, 0);
    d->host->slots[pub->domid] = 0;
    for (uint32_t p = 1; p < d->port_top; p++) {
        d->ports[p].holds = 0;
        hv_close_port(k, slot, p);
    }
    for (uint32_t i = 0; i < d->gref_top; i++) {
        atomic_store(&k->ro->grants[slot][i].who, 0);
        d->grants[i] = (struct kgrant){ 0, 0 };
    }
    if (d->ring_frame) {
        frame_put(k, d->ring_frame);
        frame_put(k, d->console_frame);
    }
    d->host = NULL;
    d->guest = NULL;
}

/* ---- grants ---- */

static bool alive(struct keeper *k, uint32_t slot, uint32_t gen)
{
    return k->doms[slot].host && k->doms[slot].gen == gen;
}

/* An entry goes when neither its owner's page nor a map needs it: a page
 * that is unshared while it is mapped stays granted, as gntalloc leaves it. */
static void ungrant(struct keeper *k, const struct entry *e)
{
    struct kdom *d = &k->doms[e->slot];
    if (d->grants[e->ref].maps || d->grants[e->ref].shared)
        return;
    atomic_store(&k->ro->grants[e->slot][e->ref].who, 0);
    if (e->ref < d->gref_hint)
        d->gref_hint = e->ref;
    if (d->shared_pages)
        d->shared_pages--;
}

static int add_object(struct client *c, struct object *o, uint32_t *number)
{
    uint32_t i = 0;
    while (i < c->room && c->objects[i])
        i++;
    if (i == c->room) {
        uint32_t room = c->room ? c->room * 2 : 8;
        struct object **all = realloc(c->objects, room * sizeof(*all));
        if (!all)
            return -ENOMEM;
        memset(all + c->room, 0, (room - c->room) * sizeof(*all));
        c->objects = all;
        c->room = room;
    }
    c->objects[i] = o;
    *number = i + 1;
    return 0;
}

static struct object *new_object(uint32_t count)
{
    struct object *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    o->entries = calloc(count, sizeof(*o->entries));
    if (!o->entries) {
        free(o);
        return NULL;
    }
    return o;
}

static void free_object(struct object *o)
{
    free(o->entries);
    free(o);
}

/* What is to happen when the pages go. */
static int set_notify(struct keeper *k, struct object *o, uint32_t slot,
                      const struct hv_req *req)
{
    o->flags = req->a;
    o->offset = req->c;
    if (req->a & HV_F_CLEAR && !o->shared && req->a & HV_F_READONLY)
        return -EINVAL;
    if (!(req->a & HV_F_EVENT))
        return 0;
    if (req->d == 0 || req->d >= HV_PORTS ||
        hv_link_state(port_of(k, slot, req->d)->link) == HV_FREE)
        return -EINVAL;
    struct kport *kp = &k->doms[slot].ports[req->d];
    kp->holds++;
    o->port_slot = slot;
    o->port_dom_gen = k->doms[slot].gen;
    o->port = req->d;
    o->port_gen = kp->gen;
    return 0;
}

static void do_notify(struct keeper *k, struct object *o)
{
    if (o->flags & HV_F_CLEAR && o->offset / HV_PAGE < o->count) {
        uint32_t frame = o->entries[o->offset / HV_PAGE].frame;
        off_t at = (off_t)frame * HV_PAGE + o->offset % HV_PAGE;
        if (pwrite(k->mem_fd, "", 1, at) != 1)
            return;
    }
    if (o->port && alive(k, o->port_slot, o->port_dom_gen)) {
        struct kport *kp = &k->doms[o->port_slot].ports[o->port];
        if (kp->gen == o->port_gen && kp->holds) {
            hv_send(k, o->port_slot, o->port);
            if (!--kp->holds && kp->closing)
                hv_close_port(k, o->port_slot, o->port);
        }
    }
}

static void undo(struct keeper *k, struct object *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const struct entry *e = &o->entries[i];
        if (alive(k, e->slot, e->gen)) {
            struct kgrant *g = &k->doms[e->slot].grants[e->ref];
            if (o->shared)
                g->shared = 0;
            else if (g->maps)
                g->maps--;
            /* The toolstack's two grants are not gntalloc's. */
            if (e->ref >= HV_GREF_FIRST)
                ungrant(k, e);
        }
        frame_put(k, e->frame);
    }
    free_object(o);
}

int hv_share(struct keeper *k, struct client *c, uint32_t slot,
             const struct hv_req *req, uint32_t *words, uint32_t *number)
{
    struct kdom *d = &k->doms[slot];
    uint32_t n = req->x, domid = req->b, ref = d->gref_hint;

    if (!n || n > HV_BATCH || domid > 0xffff)
        return -EINVAL;
    if (d->shared_pages + n > d->shared_limit)
        return -ENOSPC;
    if (domid == HV_DOMID_SELF)
        domid = k->ro->doms[slot].domid;
    struct object *o = new_object(n);
    if (!o)
        return -ENOMEM;
    o->shared = true;
    int r = 0;
    for (; o->count < n && !r; ref++) {
        if (ref >= HV_GREFS) {
            r = -ENOSPC;
            break;
        }
        if (k->ro->grants[slot][ref].who)
            continue;
        struct entry *e = &o->entries[o->count];
        *e = (struct entry){ slot, d->gen, ref, 0 };
        r = frame_get(k, &e->frame);
        if (r)
            break;
        grant(k, slot, ref, domid, e->frame, req->a & HV_F_READONLY);
        d->grants[ref].shared = 1;
        d->shared_pages++;
        words[o->count] = ref;
        words[n + o->count] = e->frame;
        o->count++;
    }
    if (!r)
        r = set_notify(k, o, slot, req);
    if (!r)
        r = add_object(c, o, number);
    if (r) {
        undo(k, o);
        return r;
    }
    d->gref_hint = ref;
    return 0;
}

int hv_map(struct keeper *k, struct client *c, uint32_t slot,
           const struct hv_req *req, const uint32_t *words, uint32_t *frames,
           uint32_t *number)
{
    uint32_t n = req->count / 2;
    uint32_t me = k->ro->doms[slot].domid;
    struct object *o, *more = NULL;

    if (!n)
        return -EINVAL;
    if (req->b) {
        if (req->b > c->room || !c->objects[req->b - 1])
            return -EINVAL;
        more = c->objects[req->b - 1];
        if (more->shared || more->count + n > HV_MAX_MAP)
            return -EINVAL;
    }
    o = new_object(n);
    if (!o)
        return -ENOMEM;
    int r = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t domid = words[i * 2], ref = words[i * 2 + 1];
        int s = domid == HV_DOMID_SELF ? (int)slot
                                       : hv_find(k, k->doms[slot].host, domid);
        if (s < 0 || ref >= HV_GREFS) {
            r = -EINVAL;
            break;
        }
        struct hv_grant *g = &k->ro->grants[s][ref];
        struct kgrant *kg = &k->doms[s].grants[ref];
        uint32_t who = g->who, flags = who >> 16;
        if (!(flags & HV_GRANT_VALID) || (who & 0xffff) != me ||
            (flags & HV_GRANT_READONLY && !(req->a & HV_F_READONLY)) ||
            kg->maps == UINT16_MAX || k->frame_refs[g->frame] == UINT16_MAX) {
            r = -EINVAL;
            break;
        }
        kg->maps++;
        k->frame_refs[g->frame]++;
        o->entries[i] =
            (struct entry){ (uint32_t)s, k->doms[s].gen, ref, g->frame };
        frames[i] = g->frame;
        o->count++;
    }
    if (!r && more) {
        struct entry *all =
            realloc(more->entries, (more->count + n) * sizeof(*all));
        if (all) {
            memcpy(all + more->count, o->entries, n * sizeof(*all));
            more->entries = all;
            more->count += n;
            *number = req->b;
            free_object(o);
            return 0;
        }
        r = -ENOMEM;
    }
    if (!r)
        r = set_notify(k, o, slot, req);
    if (!r)
        r = add_object(c, o, number);
    if (r)
        undo(k, o);
    return r;
}

int hv_release(struct keeper *k, struct client *c, uint32_t number)
{
    if (!number || number > c->room || !c->objects[number - 1])
        return -EINVAL;
    struct object *o = c->objects[number - 1];
    c->objects[number - 1] = NULL;
    do_notify(k, o);
    undo(k, o);
    return 0;
}

void hv_release_all(struct keeper *k, struct client *c)
{
    for (uint32_t i = 1; i <= c->room; i++)
        hv_release(k, c, i);
    free(c->objects);
    c->objects = NULL;
    c->room = 0;
}
