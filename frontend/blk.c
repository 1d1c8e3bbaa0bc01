/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See blk.h. The handshake is the one of Linux' blkfront: waits for 2, offers
 * rings and goes to 3, reads what the disk is at 4; a backend that closes is
 * followed to 6, and begun anew with when it comes back to 2. What a backend
 * writes is checked: a wrong answer ends the device.
 */
#include "frontend/blk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/io/blkif.h>
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/handshake.h"

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define HEADER_BYTES    64u
#define ENTRY_BYTES_MAX 112u

enum { REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT };

struct ring {
    struct far_blk *blk;
    struct far_share share;
    uint32_t refs[16];
    struct far_evtchn evtchn;
    uint32_t entries, produced, pushed, consumed;
};

struct slot {
    bool taken, open; /* open: in a ring, or to be put there */
    uint8_t op, secure;
    uint32_t stamp; /* what its next answer has to carry */
    uint64_t offset, bytes;
};

struct far_blk {
    struct far_loop *loop;
    struct far_xs *xs;
    unsigned devid, backend_id;
    char back[FAR_XS_PATH_BYTES];
    struct far_blk_options options;
    struct far_blk_hooks hooks;
    void *arg;
    struct far_xs_watch watch;
    struct far_defer look, push;
    bool leaving;

    enum far_xenbus_state state; /* ours, as written */
    struct far_blk_info info;
    struct far_blk_counters counters;
    struct far_evtchns *channels;
    struct far_shares *shares;
    struct ring rings[FAR_BLK_QUEUES_MAX];
    struct slot slots[FAR_BLK_SLOTS_MAX];
    struct far_share data[FAR_BLK_SLOTS_MAX]; /* one page more if indirect */
    uint32_t *refs;                           /* of data */
    unsigned in_flight, next;
};

/* --- rings ---------------------------------------------------------------- */

static _Atomic uint32_t *word(const struct ring *r, unsigned which)
{
    return (_Atomic uint32_t *)r->share.memory + which;
}

static uint32_t entry_bytes(const struct far_blk *blk)
{
    return blk->options.abi_32 ? 108 : 112;
}

static uint8_t *entry_at(const struct ring *r, uint32_t index)
{
    return (uint8_t *)r->share.memory + HEADER_BYTES +
           (index & (r->entries - 1)) * entry_bytes(r->blk);
}

static unsigned pages_of(const struct far_blk *blk)
{
    return blk->options.segments > BLKIF_MAX_SEGMENTS_PER_REQUEST
               ? blk->options.segments + 1
               : blk->options.segments;
}

static uint64_t id_of(const struct far_blk *blk, unsigned slot)
{
    return (uint64_t)blk->slots[slot].stamp << 32 | slot;
}

static void put_segments(const struct far_blk *blk, unsigned slot, uint8_t *at)
{
    const struct slot *s = &blk->slots[slot];
    const uint32_t *refs = blk->refs + slot * pages_of(blk);
    uint64_t left = s->bytes;

    for (unsigned i = 0; left; i++) {
        uint32_t bytes = left < 4096 ? (uint32_t)left : 4096;
        struct blkif_request_segment segment = {
            .gref = refs[i], .last_sect = (uint8_t)(bytes / 512 - 1)
        };

        memcpy(at + i * sizeof(segment), &segment, sizeof(segment));
        left -= bytes;
    }
}

/* Puts an open slot's request into its ring. */
static void put(struct far_blk *blk, unsigned slot)
{
    const struct slot *s = &blk->slots[slot];
    struct ring *r = &blk->rings[slot % blk->info.queues];
    unsigned wide = blk->options.abi_32 ? 0 : 4;
    uint64_t id = id_of(blk, slot), sector = s->offset / 512;
    unsigned segments = (unsigned)((s->bytes + 4095) / 4096);
    uint8_t entry[ENTRY_BYTES_MAX] = { s->op };

    memcpy(entry + 4 + wide, &id, sizeof(id));
    memcpy(entry + 12 + wide, &sector, sizeof(sector));
    if (s->op == BLKIF_OP_DISCARD) {
        uint64_t sectors = s->bytes / 512;

        entry[1] = s->secure ? BLKIF_DISCARD_SECURE : 0;
        memcpy(entry + 20 + wide, &sectors, sizeof(sectors));
    } else if (segments > BLKIF_MAX_SEGMENTS_PER_REQUEST) {
        uint16_t count = (uint16_t)segments;
        uint32_t page = blk->refs[slot * pages_of(blk) + blk->options.segments];

        put_segments(blk, slot,
                     (uint8_t *)blk->data[slot].memory +
                         blk->options.segments * 4096);
        entry[0] = BLKIF_OP_INDIRECT;
        entry[1] = s->op;
        memcpy(entry + 2, &count, sizeof(count));
        memcpy(entry + (blk->options.abi_32 ? 24 : 28), &page, sizeof(page));
    } else {
        entry[1] = (uint8_t)segments;
        put_segments(blk, slot, entry + 20 + wide);
    }
    memcpy(entry_at(r, r->produced++), entry, entry_bytes(blk));
    blk->counters.requests++;
}

static void push_all(struct far_defer *defer)
{
    struct far_blk *blk = CONTAINER(struct far_blk, push, defer);

    if (blk->state != FAR_XB_CONNECTED)
        return;
    for (unsigned i = 0; i < blk->info.queues; i++) {
        struct ring *r = &blk->rings[i];
        uint32_t event;

        if (r->produced == r->pushed)
            continue;
        atomic_store_explicit(word(r, REQ_PROD), r->produced,
                              memory_order_release);
        atomic_thread_fence(memory_order_seq_cst);
        event = atomic_load_explicit(word(r, REQ_EVENT), memory_order_relaxed);
        if (r->produced - event < r->produced - r->pushed) {
            blk->counters.notifies++;
            (void)far_evtchn_notify(&r->evtchn);
        }
        r->pushed = r->produced;
    }
}

static void tell(struct far_blk *blk, enum far_blk_state state, const char *why)
{
    if (blk->hooks.state)
        blk->hooks.state(blk->arg, state, why);
}

static void set_state(struct far_blk *blk, enum far_xenbus_state state)
{
    char path[FAR_XS_PATH_BYTES];

    snprintf(path, sizeof(path), "device/vbd/%u/state", blk->devid);
    blk->state = state;
    (void)far_xs_write(blk->xs, 0, path, "%d", (int)state);
}

static void drop(struct far_blk *blk)
{
    for (unsigned i = 0; i < FAR_BLK_QUEUES_MAX; i++) {
        far_evtchn_unbind(&blk->rings[i].evtchn);
        far_unshare(&blk->rings[i].share);
    }
    far_evtchns_close(blk->channels);
    blk->channels = NULL;
}

static void wrong(struct far_blk *blk, const char *what)
{
    blk->counters.wrong++;
    drop(blk);
    set_state(blk, FAR_XB_CLOSED);
    blk->leaving = true;
    tell(blk, FAR_BLK_GONE, what);
}

/* One answer, copied out once. */
static bool take_answer(struct far_blk *blk, const uint8_t *entry)
{
    uint8_t copy[16];
    uint64_t id;
    int16_t status;
    struct slot *s;
    uint8_t op;

    memcpy(copy, entry, sizeof(copy));
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(&id, copy, sizeof(id));
    memcpy(&status, copy + 10, sizeof(status));
    op = copy[8];
    if ((uint32_t)id >= blk->options.slots) {
        wrong(blk, "the backend answers what was not asked");
        return false;
    }
    s = &blk->slots[(uint32_t)id];
    if (!s->open || id != id_of(blk, (uint32_t)id) || op != s->op ||
        status < BLKIF_RSP_EOPNOTSUPP || status > BLKIF_RSP_OKAY) {
        wrong(blk, "the backend answers what was not asked");
        return false;
    }
    s->open = s->taken = false;
    blk->in_flight--;
    blk->counters.answers++;
    blk->hooks.done(blk->arg, (uint32_t)id, status);
    return true;
}

/* 1: there was something; 0: nothing; -1: the ring is no more */
static int drain(struct ring *r)
{
    struct far_blk *blk = r->blk;
    int any = 0;

    for (;;) {
        uint32_t produced =
            atomic_load_explicit(word(r, RSP_PROD), memory_order_acquire);

        if (produced - r->consumed > r->pushed - r->consumed) {
            wrong(blk, "the backend wrote an impossible index into the ring");
            return -1;
        }
        for (; r->consumed != produced; r->consumed++) {
            any = 1;
            if (!take_answer(blk, entry_at(r, r->consumed)))
                return -1;
        }
        atomic_store_explicit(word(r, RSP_EVENT), r->consumed + 1,
                              memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(word(r, RSP_PROD), memory_order_acquire) ==
            r->consumed)
            return any;
    }
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct ring *r = CONTAINER(struct ring, evtchn, evtchn);
    int n;

    r->blk->counters.wakes++;
    n = drain(r);
    return n < 0 ? FAR_EVTCHN_BROKEN
           : n   ? FAR_EVTCHN_WORKED
                 : FAR_EVTCHN_SPURIOUS;
}

/* --- nodes ---------------------------------------------------------------- */

static uint64_t back_number(struct far_blk *blk, const char *node,
                            uint64_t fallback)
{
    uint64_t value;

    return far_xs_read_u64(blk->xs, 0, &value, UINT64_MAX, "%s/%s", blk->back,
                           node)
               ? fallback
               : value;
}

static int write_front(struct far_blk *blk, far_xs_t t, const char *node,
                       unsigned long value)
{
    char path[FAR_XS_PATH_BYTES];

    snprintf(path, sizeof(path), "device/vbd/%u/%s", blk->devid, node);
    return far_xs_write(blk->xs, t, path, "%lu", value);
}

static int write_rings(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct far_blk *blk = arg;
    char path[FAR_XS_PATH_BYTES], node[64], queue[24] = "";
    int r;

    snprintf(path, sizeof(path), "device/vbd/%u/protocol", blk->devid);
    r = far_xs_write(xs, t, path, "%s",
                     blk->options.abi_32 ? "x86_32-abi" : "x86_64-abi");
    if (!r)
        r = write_front(blk, t, "feature-persistent", blk->options.persistent);
    if (!r && blk->info.queues > 1)
        r = write_front(blk, t, "multi-queue-num-queues", blk->info.queues);
    if (!r && blk->info.ring_pages > 1) {
        unsigned order = 0;

        while (1u << order < blk->info.ring_pages)
            order++;
        r = write_front(blk, t, "ring-page-order", order);
    }
    for (unsigned i = 0; !r && i < blk->info.queues; i++) {
        if (blk->info.queues > 1)
            snprintf(queue, sizeof(queue), "queue-%u/", i);
        for (unsigned page = 0; !r && page < blk->info.ring_pages; page++) {
            if (blk->info.ring_pages > 1)
                snprintf(node, sizeof(node), "%sring-ref%u", queue, page);
            else
                snprintf(node, sizeof(node), "%sring-ref", queue);
            r = write_front(blk, t, node, blk->rings[i].refs[page]);
        }
        snprintf(node, sizeof(node), "%sevent-channel", queue);
        if (!r)
            r = write_front(blk, t, node, blk->rings[i].evtchn.local_port);
    }
    return r;
}

static int make_ring(struct far_blk *blk, struct ring *r)
{
    uint32_t fit =
        (blk->info.ring_pages * 4096 - HEADER_BYTES) / entry_bytes(blk);
    int e;

    *r = (struct ring){ .blk = blk, .entries = 1 };
    while (r->entries * 2 <= fit)
        r->entries *= 2;
    e = far_share_pages(blk->shares, &r->share, blk->backend_id,
                        blk->info.ring_pages, true, r->refs);
    if (e)
        return e;
    *word(r, REQ_EVENT) = *word(r, RSP_EVENT) = 1;
    return far_evtchn_offer(blk->channels, &r->evtchn, fired);
}

/* From 2 to 3. */
static int start(struct far_blk *blk)
{
    const struct far_blk_options *o = &blk->options;
    unsigned order = (unsigned)back_number(blk, "max-ring-page-order", 0);
    unsigned queues = (unsigned)back_number(blk, "multi-queue-max-queues", 1);
    int r = 0;

    drop(blk);
    blk->info = (struct far_blk_info){ 0 };
    blk->info.queues = queues && queues < o->queues ? queues : o->queues;
    blk->info.ring_pages = 1u
                           << (order < o->ring_order ? order : o->ring_order);
    blk->channels = far_evtchns_open(blk->loop, blk->backend_id);
    if (!blk->channels)
        return -errno;
    for (unsigned i = 0; !r && i < blk->info.queues; i++)
        r = make_ring(blk, &blk->rings[i]);
    if (!r && o->slots > blk->info.queues * blk->rings[0].entries)
        r = -ENOSPC;
    if (!r)
        r = far_xs_transact(blk->xs, write_rings, blk);
    if (r) {
        drop(blk);
        return r;
    }
    set_state(blk, FAR_XB_INITIALISED);
    return 0;
}

static void learn(struct far_blk *blk)
{
    struct far_blk_info *info = &blk->info;
    uint64_t bits = back_number(blk, "info", 0);
    unsigned indirect =
        (unsigned)back_number(blk, "feature-max-indirect-segments", 0);
    unsigned most = blk->options.segments;

    info->sectors = back_number(blk, "sectors", 0);
    info->sector_bytes = (uint32_t)back_number(blk, "sector-size", 512);
    info->physical_bytes =
        (uint32_t)back_number(blk, "physical-sector-size", 512);
    info->cdrom = bits & VDISK_CDROM;
    info->removable = bits & VDISK_REMOVABLE;
    info->read_only = bits & VDISK_READONLY;
    info->flush = back_number(blk, "feature-flush-cache", 0) == 1;
    info->barrier = back_number(blk, "feature-barrier", 0) == 1;
    info->discard = back_number(blk, "feature-discard", 0) == 1;
    info->secure_discard = back_number(blk, "discard-secure", 0) == 1;
    info->persistent = blk->options.persistent &&
                       back_number(blk, "feature-persistent", 0) == 1;
    if (most > BLKIF_MAX_SEGMENTS_PER_REQUEST && most > indirect)
        most = indirect > BLKIF_MAX_SEGMENTS_PER_REQUEST
                   ? indirect
                   : BLKIF_MAX_SEGMENTS_PER_REQUEST;
    info->segments = most;
}

/* Both are at 4: what was open before goes out again. */
static void connected(struct far_blk *blk)
{
    learn(blk);
    set_state(blk, FAR_XB_CONNECTED);
    blk->counters.connects++;
    for (unsigned i = 0; i < blk->options.slots; i++)
        if (blk->slots[i].open)
            put(blk, i);
    far_defer(blk->loop, &blk->push, push_all);
    tell(blk, FAR_BLK_CONNECTED, NULL);
}

static void look(struct far_defer *defer)
{
    struct far_blk *blk = CONTAINER(struct far_blk, look, defer);
    char text[8] = "";
    enum far_xenbus_state back;

    if (far_xs_read(blk->xs, 0, text, sizeof(text), "%s/state", blk->back) < 0)
        text[0] = '\0';
    back = far_xenbus_state_parse(text);
    switch (back) {
    case FAR_XB_INIT_WAIT:
        if (!blk->leaving && (blk->state == FAR_XB_INITIALISING ||
                              blk->state == FAR_XB_CLOSED)) {
            int r;

            if (blk->state == FAR_XB_CLOSED)
                set_state(blk, FAR_XB_INITIALISING);
            r = start(blk);
            if (r)
                tell(blk, FAR_BLK_GONE, strerror(-r));
        }
        break;
    case FAR_XB_CONNECTED:
        if (blk->state == FAR_XB_INITIALISED) {
            connected(blk);
        } else if (blk->state == FAR_XB_CONNECTED) {
            uint64_t before = blk->info.sectors;

            learn(blk);
            if (blk->info.sectors != before)
                tell(blk, FAR_BLK_CONNECTED, "the size has changed");
        }
        break;
    case FAR_XB_UNKNOWN:
    case FAR_XB_CLOSING:
    case FAR_XB_CLOSED:
        if (blk->state == FAR_XB_CLOSED || blk->state == FAR_XB_INITIALISING)
            break;
        drop(blk);
        set_state(blk, FAR_XB_CLOSED);
        tell(blk, blk->leaving ? FAR_BLK_GONE : FAR_BLK_WAITS,
             "the backend has closed");
        break;
    default:
        break;
    }
}

static void changed(struct far_xs_watch *watch, const char *path)
{
    struct far_blk *blk = CONTAINER(struct far_blk, watch, watch);

    (void)path;
    far_defer(blk->loop, &blk->look, look);
}

/* --- requests ------------------------------------------------------------- */

int far_blk_take(struct far_blk *blk)
{
    for (unsigned i = 0; i < blk->options.slots; i++) {
        unsigned slot = (blk->next + i) % blk->options.slots;

        if (blk->slots[slot].taken)
            continue;
        blk->slots[slot].taken = true;
        return (int)slot;
    }
    return -1;
}

void *far_blk_memory(struct far_blk *blk, unsigned slot)
{
    return blk->data[slot].memory;
}

int far_blk_submit(struct far_blk *blk, unsigned slot, uint8_t op,
                   uint64_t offset, uint64_t bytes, bool secure)
{
    struct slot *s = &blk->slots[slot];

    if (slot >= blk->options.slots || !s->taken || s->open || offset % 512 ||
        bytes % 512 ||
        (op != BLKIF_OP_DISCARD && bytes > blk->options.segments * 4096u))
        return -EINVAL;
    s->open = true;
    s->op = op;
    s->secure = secure;
    s->offset = offset;
    s->bytes = bytes;
    s->stamp++;
    blk->in_flight++;
    if (blk->state == FAR_XB_CONNECTED) {
        put(blk, slot);
        far_defer(blk->loop, &blk->push, push_all);
    }
    return 0;
}

unsigned far_blk_in_flight(const struct far_blk *blk)
{
    return blk->in_flight;
}

const struct far_blk_info *far_blk_info(const struct far_blk *blk)
{
    return &blk->info;
}

const struct far_blk_counters *far_blk_counters(const struct far_blk *blk)
{
    return &blk->counters;
}

void *far_blk_ring(struct far_blk *blk, unsigned queue)
{
    return blk->rings[queue].share.memory;
}

int far_blk_kick(struct far_blk *blk, unsigned queue)
{
    return far_evtchn_notify(&blk->rings[queue].evtchn);
}

uint32_t far_blk_gref(const struct far_blk *blk, unsigned slot, unsigned page)
{
    return blk->refs[slot * pages_of(blk) + page];
}

/* --- a device's life ------------------------------------------------------ */

static void free_all(struct far_blk *blk)
{
    far_xs_unwatch(&blk->watch);
    far_defer_cancel(blk->loop, &blk->look);
    far_defer_cancel(blk->loop, &blk->push);
    drop(blk);
    for (unsigned i = 0; i < FAR_BLK_SLOTS_MAX; i++)
        far_unshare(&blk->data[i]);
    far_shares_close(blk->shares);
    free(blk->refs);
    free(blk);
}

struct far_blk *far_blk_open(struct far_loop *loop, struct far_xs *xs,
                             unsigned devid,
                             const struct far_blk_options *options,
                             const struct far_blk_hooks *hooks, void *arg)
{
    struct far_blk *blk = calloc(1, sizeof(*blk));
    uint64_t id;
    int r;

    if (!blk)
        return NULL;
    blk->loop = loop;
    blk->xs = xs;
    blk->devid = devid;
    blk->options = *options;
    blk->hooks = *hooks;
    blk->arg = arg;
    if (!blk->options.queues)
        blk->options.queues = 1;
    if (!blk->options.segments)
        blk->options.segments = BLKIF_MAX_SEGMENTS_PER_REQUEST;
    if (!blk->options.slots)
        blk->options.slots = 32;
    r = -EINVAL;
    if (blk->options.queues > FAR_BLK_QUEUES_MAX ||
        blk->options.segments > FAR_BLK_SEGMENTS_MAX ||
        blk->options.slots > FAR_BLK_SLOTS_MAX || blk->options.ring_order > 4)
        goto out;
    r = far_xs_read(xs, 0, blk->back, sizeof(blk->back),
                    "device/vbd/%u/backend", devid);
    if (r < 0)
        goto out;
    r = far_xs_read_u64(xs, 0, &id, UINT16_MAX, "device/vbd/%u/backend-id",
                        devid);
    if (r)
        goto out;
    blk->backend_id = (unsigned)id;
    r = -ENOMEM;
    blk->refs = calloc(blk->options.slots, pages_of(blk) * sizeof(uint32_t));
    blk->shares = far_shares_open();
    if (!blk->refs || !blk->shares)
        goto out;
    for (unsigned i = 0; i < blk->options.slots; i++) {
        r = far_share_pages(blk->shares, &blk->data[i], blk->backend_id,
                            pages_of(blk), true, blk->refs + i * pages_of(blk));
        if (r)
            goto out;
    }
    set_state(blk, FAR_XB_INITIALISING);
    r = far_xs_watch(xs, &blk->watch, changed, "%s/state", blk->back);
    if (r)
        goto out;
    return blk;
out:
    free_all(blk);
    errno = -r;
    return NULL;
}

void far_blk_leave(struct far_blk *blk)
{
    blk->leaving = true;
    drop(blk);
    set_state(blk, FAR_XB_CLOSED);
}

void far_blk_close(struct far_blk *blk)
{
    if (!blk)
        return;
    far_blk_leave(blk);
    free_all(blk);
}
