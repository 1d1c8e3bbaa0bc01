/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for libxengnttab, both halves: mapping and copying what others
 * granted, and granting pages of one's own. The keeper (domain.c) judges and
 * counts; here the frames, which are pages of one file in memory, are mapped.
 * As on Linux, a mapping outlives its handle and ends with munmap, which this
 * library therefore stands in for too.
 * Not as on Xen: a copy does not pin the grant, so a revocation in the very
 * same microseconds does not wait for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xengnttab.h>
#include "sim/client.h"

struct xengntdev_handle {
    int fd;
    uint32_t epoch;
};

/* What is mapped, sorted by address. */
struct range {
    uintptr_t start;
    size_t pages, live; /* as mapped; not yet unmapped */
    uint32_t id;        /* the keeper's name for it */
    bool shared;        /* our own pages */
};

static struct {
    pthread_mutex_t lock;
    struct range *all;
    _Atomic size_t count;
    size_t room;
} ranges = { .lock = PTHREAD_MUTEX_INITIALIZER };

static struct xengntdev_handle *open_handle(void)
{
    int r = sim_connect();
    if (r) {
        errno = -r;
        return NULL;
    }
    struct xengntdev_handle *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    h->epoch = sim.epoch;
    if (h->fd < 0) {
        free(h);
        return NULL;
    }
    return h;
}

static int close_handle(struct xengntdev_handle *h)
{
    if (!h)
        return 0;
    close(h->fd);
    free(h);
    return 0;
}

static void release(uint32_t id)
{
    struct hv_req req = { .op = HV_RELEASE, .a = id };
    struct hv_rsp rsp;
    sim_call(&req, NULL, &rsp, NULL, 0, NULL, 0);
}

/* The first range that ends above the address. Lock held. */
static size_t range_at(uintptr_t addr)
{
    size_t low = 0, high = ranges.count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (ranges.all[mid].start + ranges.all[mid].pages * HV_PAGE > addr)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

static int remember(void *addr, size_t pages, uint32_t id, bool shared)
{
    int r = 0;

    pthread_mutex_lock(&ranges.lock);
    if (ranges.count == ranges.room) {
        size_t room = ranges.room ? ranges.room * 2 : 64;
        struct range *all = realloc(ranges.all, room * sizeof(*all));
        if (all) {
            ranges.all = all;
            ranges.room = room;
        } else {
            r = -ENOMEM;
        }
    }
    if (!r) {
        size_t i = range_at((uintptr_t)addr);
        memmove(ranges.all + i + 1, ranges.all + i,
                (ranges.count - i) * sizeof(*ranges.all));
        ranges.all[i] =
            (struct range){ (uintptr_t)addr, pages, pages, id, shared };
        ranges.count++;
    }
    pthread_mutex_unlock(&ranges.lock);
    return r;
}

void sim_forget_range(void *addr, size_t len)
{
    uintptr_t start = (uintptr_t)addr;
    uintptr_t end = start + ((len + HV_PAGE - 1) & ~(uintptr_t)(HV_PAGE - 1));
    uint32_t gone[16];

    for (;;) {
        size_t count = 0;
        pthread_mutex_lock(&ranges.lock);
        size_t i = range_at(start);
        while (i < ranges.count && ranges.all[i].start < end && count < 16) {
            struct range *r = &ranges.all[i];
            uintptr_t from = r->start > start ? r->start : start;
            uintptr_t to = r->start + r->pages * HV_PAGE;
            to = to < end ? to : end;
            size_t pages = (to - from) / HV_PAGE;
            r->live -= pages < r->live ? pages : r->live;
            if (r->live) {
                i++;
                continue;
            }
            gone[count++] = r->id;
            memmove(r, r + 1, (ranges.count - i - 1) * sizeof(*r));
            ranges.count--;
        }
        pthread_mutex_unlock(&ranges.lock);
        for (size_t k = 0; k < count; k++)
            release(gone[k]);
        if (count < 16)
            return;
    }
}

int munmap(void *addr, size_t len)
{
    int r = sim_real_munmap(addr, len);
    if (!r && ranges.count) {
        int saved = errno;
        sim_forget_range(addr, len);
        errno = saved;
    }
    return r;
}

void sim_gnttab_forked(void)
{
    /* The pages themselves were not inherited. */
    pthread_mutex_init(&ranges.lock, NULL);
    ranges.count = 0;
}

/* Maps frames side by side. */
static void *map_frames(const uint32_t *frames, size_t count, int prot)
{
    char *addr = mmap(NULL, count * HV_PAGE, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (addr == MAP_FAILED)
        return NULL;
    for (size_t i = 0; i < count;) {
        size_t run = 1;
        while (i + run < count && frames[i + run] == frames[i] + run)
            run++;
        if (mmap(addr + i * HV_PAGE, run * HV_PAGE, prot,
                 MAP_SHARED | MAP_FIXED, sim.mem,
                 (off_t)frames[i] * HV_PAGE) == MAP_FAILED) {
            int saved = errno;
            sim_real_munmap(addr, count * HV_PAGE);
            errno = saved;
            return NULL;
        }
        i += run;
    }
    madvise(addr, count * HV_PAGE, MADV_DONTFORK);
    return addr;
}

static uint32_t notify_flags(uint32_t offset, evtchn_port_t port, size_t count)
{
    return (offset < HV_PAGE * count ? HV_F_CLEAR : 0) |
           (port != (evtchn_port_t)-1 ? HV_F_EVENT : 0);
}

/* ---- mapping ---- */

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger,
                                 unsigned open_flags)
{
    (void)logger;
    (void)open_flags;
    return open_handle();
}

int xengnttab_close(xengnttab_handle *xgt)
{
    return close_handle(xgt);
}

int xengnttab_fd(xengnttab_handle *xgt)
{
    return xgt->fd;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
    (void)nr_grants;
    return xgt->epoch == sim.epoch ? 0 : sim_fail(EBADF);
}

static void *map(xengnttab_handle *xgt, uint32_t count, const uint32_t *domids,
                 size_t stride, const uint32_t *refs, int prot, uint32_t offset,
                 evtchn_port_t port)
{
    if (xgt->epoch != sim.epoch) {
        errno = EBADF;
        return NULL;
    }
    if (!count || count > HV_MAX_MAP) {
        errno = EINVAL;
        return NULL;
    }
    uint32_t batch = count < HV_BATCH ? count : HV_BATCH;
    uint32_t small[96], *words = small;
    if (count * 3 > sizeof(small) / sizeof(small[0])) {
        words = malloc((batch * 2 + count) * sizeof(uint32_t));
        if (!words)
            return NULL;
    }
    uint32_t *frames = words + batch * 2;
    uint32_t id = 0;
    void *addr = NULL;
    int r = 0;

    for (uint32_t done = 0; done < count;) {
        uint32_t n = count - done < batch ? count - done : batch;
        struct hv_rsp rsp;
        struct hv_req req = {
            .op = HV_MAP,
            .a = (prot & PROT_WRITE ? 0 : HV_F_READONLY) |
                 notify_flags(offset, port, count),
            .b = id,
            .c = offset,
            .d = port,
            .count = n * 2,
        };
        for (uint32_t i = 0; i < n; i++) {
            words[i * 2] = domids[(done + i) * stride];
            words[i * 2 + 1] = refs[done + i];
        }
        r = sim_call(&req, words, &rsp, frames + done, n, NULL, 0);
        if (r)
            break;
        id = rsp.a;
        done += n;
    }
    if (!r) {
        addr = map_frames(frames, count, prot);
        r = addr ? remember(addr, count, id, false) : -errno;
    }
    if (r && addr) {
        sim_real_munmap(addr, (size_t)count * HV_PAGE);
        addr = NULL;
    }
    if (r && id)
        release(id);
    if (words != small)
        free(words);
    if (r)
        errno = -r;
    return addr;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid,
                              uint32_t ref, int prot)
{
    return map(xgt, 1, &domid, 0, &ref, prot, UINT32_MAX, (evtchn_port_t)-1);
}

void *xengnttab_map_grant_refs(xengnttab_handle *xgt, uint32_t count,
                               uint32_t *domids, uint32_t *refs, int prot)
{
    return map(xgt, count, domids, 1, refs, prot, UINT32_MAX,
               (evtchn_port_t)-1);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count,
                                      uint32_t domid, uint32_t *refs, int prot)
{
    return map(xgt, count, &domid, 0, refs, prot, UINT32_MAX,
               (evtchn_port_t)-1);
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid,
                                     uint32_t ref, int prot,
                                     uint32_t notify_offset,
                                     evtchn_port_t notify_port)
{
    return map(xgt, 1, &domid, 0, &ref, prot, notify_offset, notify_port);
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
    bool found = false;

    if (xgt->epoch != sim.epoch)
        return sim_fail(EBADF);
    pthread_mutex_lock(&ranges.lock);
    size_t i = range_at((uintptr_t)start_address);
    if (i < ranges.count) {
        const struct range *r = &ranges.all[i];
        found = r->start == (uintptr_t)start_address && r->pages == count &&
                !r->shared;
    }
    pthread_mutex_unlock(&ranges.lock);
    if (!found)
        return sim_fail(EINVAL);
    return munmap(start_address, (size_t)count * HV_PAGE);
}

/* ---- copying ---- */

/* GNTST_*, and the place in the frames' file. */
static int16_t find_frame(uint16_t domid, uint32_t ref, uint16_t offset,
                          bool write, off_t *pos)
{
    const struct hv_dom *me = sim_dom(NULL);
    if (!me)
        return GNTST_general_error;
    uint32_t slot = (uint32_t)(me - sim.ro->doms);
    if (domid != HV_DOMID_SELF && !sim_find_dom(me->host, domid, &slot))
        return GNTST_bad_domain;
    if (ref >= HV_GREFS)
        return GNTST_bad_gntref;
    const struct hv_grant *g = &sim.ro->grants[slot][ref];
    uint32_t who = atomic_load(&g->who);
    if (!(who >> 16 & HV_GRANT_VALID) || (who & 0xffff) != me->domid ||
        (write && (who >> 16 & HV_GRANT_READONLY)))
        return GNTST_general_error;
    *pos = (off_t)atomic_load(&g->frame) * HV_PAGE + offset;
    return GNTST_okay;
}

static int copy_one(xengnttab_grant_copy_segment_t *s)
{
    bool from = s->flags & GNTCOPY_source_gref;
    bool to = s->flags & GNTCOPY_dest_gref;
    off_t src = 0, dst = 0;
    char buf[HV_PAGE];
    ssize_t n = s->len;

    s->status = GNTST_okay;
    if (from)
        s->status = find_frame(s->source.foreign.domid, s->source.foreign.ref,
                               s->source.foreign.offset, false, &src);
    if (to && s->status == GNTST_okay)
        s->status = find_frame(s->dest.foreign.domid, s->dest.foreign.ref,
                               s->dest.foreign.offset, true, &dst);
    if (s->status != GNTST_okay)
        return 0;
    if (from && to) {
        n = pread(sim.mem, buf, s->len, src);
        if (n == s->len)
            n = pwrite(sim.mem, buf, s->len, dst);
    } else if (from) {
        n = pread(sim.mem, s->dest.virt, s->len, src);
    } else if (to) {
        n = pwrite(sim.mem, s->source.virt, s->len, dst);
    } else {
        memmove(s->dest.virt, s->source.virt, s->len);
    }
    return n == s->len ? 0 : EFAULT;
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
                         xengnttab_grant_copy_segment_t *segs)
{
    if (xgt->epoch != sim.epoch)
        return sim_fail(EBADF);
    for (uint32_t i = 0; i < count; i++) {
        xengnttab_grant_copy_segment_t *s = &segs[i];
        if ((s->flags & GNTCOPY_source_gref &&
             (uint32_t)s->source.foreign.offset + s->len > HV_PAGE) ||
            (s->flags & GNTCOPY_dest_gref &&
             (uint32_t)s->dest.foreign.offset + s->len > HV_PAGE))
            return sim_fail(EINVAL);
        int r = copy_one(s);
        if (r)
            return sim_fail(r);
    }
    return 0;
}

/* ---- dma-buf: there is no graphics driver here to hand one to ---- */

int xengnttab_dmabuf_exp_from_refs(xengnttab_handle *xgt, uint32_t domid,
                                   uint32_t flags, uint32_t count,
                                   const uint32_t *refs, uint32_t *fd)
{
    (void)xgt, (void)domid, (void)flags, (void)count, (void)refs, (void)fd;
    return sim_fail(EOPNOTSUPP);
}

int xengnttab_dmabuf_exp_wait_released(xengnttab_handle *xgt, uint32_t fd,
                                       uint32_t wait_to_ms)
{
    (void)xgt, (void)fd, (void)wait_to_ms;
    return sim_fail(EOPNOTSUPP);
}

int xengnttab_dmabuf_imp_to_refs(xengnttab_handle *xgt, uint32_t domid,
                                 uint32_t fd, uint32_t count, uint32_t *refs)
{
    (void)xgt, (void)domid, (void)fd, (void)count, (void)refs;
    return sim_fail(EOPNOTSUPP);
}

int xengnttab_dmabuf_imp_release(xengnttab_handle *xgt, uint32_t fd)
{
    (void)xgt, (void)fd;
    return sim_fail(EOPNOTSUPP);
}

/* ---- granting ---- */

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger,
                                 unsigned open_flags)
{
    (void)logger;
    (void)open_flags;
    return open_handle();
}

int xengntshr_close(xengntshr_handle *xgs)
{
    return close_handle(xgs);
}

int xengntshr_fd(xengntshr_handle *xgs)
{
    return xgs->fd;
}

static void *share(xengntshr_handle *xgs, uint32_t domid, int count,
                   uint32_t *refs, int writable, uint32_t offset,
                   evtchn_port_t port)
{
    void *addr = NULL;
    struct hv_rsp rsp = { 0 };

    if (xgs->epoch != sim.epoch) {
        errno = EBADF;
        return NULL;
    }
    if (count <= 0 || count > HV_BATCH) {
        errno = count <= 0 ? EINVAL : ENOSPC;
        return NULL;
    }
    uint32_t n = (uint32_t)count;
    uint32_t small[64], *words = small;
    if (n * 2 > sizeof(small) / sizeof(small[0])) {
        words = malloc(n * 2 * sizeof(uint32_t));
        if (!words)
            return NULL;
    }
    struct hv_req req = {
        .op = HV_SHARE,
        .a = (writable ? 0 : HV_F_READONLY) | notify_flags(offset, port, n),
        .b = domid,
        .c = offset,
        .d = port,
        .x = n,
    };
    int r = sim_call(&req, NULL, &rsp, words, n * 2, NULL, 0);
    if (!r) {
        addr = map_frames(words + n, n, PROT_READ | PROT_WRITE);
        r = addr ? remember(addr, n, rsp.a, true) : -errno;
        if (r) {
            if (addr)
                sim_real_munmap(addr, (size_t)n * HV_PAGE);
            addr = NULL;
            release(rsp.a);
        } else {
            memcpy(refs, words, n * sizeof(uint32_t));
        }
    }
    if (words != small)
        free(words);
    if (r)
        errno = -r;
    return addr;
}

void *xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count,
                            uint32_t *refs, int writable)
{
    return share(xgs, domid, count, refs, writable, UINT32_MAX,
                 (evtchn_port_t)-1);
}

void *xengntshr_share_page_notify(xengntshr_handle *xgs, uint32_t domid,
                                  uint32_t *ref, int writable,
                                  uint32_t notify_offset,
                                  evtchn_port_t notify_port)
{
    return share(xgs, domid, 1, ref, writable, notify_offset, notify_port);
}

int xengntshr_unshare(xengntshr_handle *xgs, void *start_address,
                      uint32_t count)
{
    if (xgs->epoch != sim.epoch)
        return sim_fail(EBADF);
    return munmap(start_address, (size_t)count * HV_PAGE);
}
