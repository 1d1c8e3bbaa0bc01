/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `cache`: a fast device that answers what was read or written
 * lately from memory, in pages of 4 KiB, of all its users together. Writes go
 * through: what is answered is at the device behind, too. Memory is taken when
 * the device is made, and pages that were not asked for since the hand came by
 * last make room. Whoever writes past it must not be there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "core/block.h"
#include "devices/filter.h"
#include "devices/ranges.h"
#include "devices/types.h"

#define PAGE     4096u
#define SIZE_MIB 64u
#define NONE     UINT32_MAX

struct frame {
    uint64_t page; /* of the disk, plus 1; 0: free */
    uint32_t next; /* of the same bucket */
    bool used;     /* since the hand came by */
};

struct cache_device {
    struct far_device device;
    struct far_ranges ranges;
    uint64_t incarnation, disk_bytes;
    uint32_t frames, hand, mask;
    struct frame *frame;
    uint32_t *bucket;
    uint8_t *memory;
};

struct asked {
    struct far_range range;
    struct far_op op;
    const uint8_t *payload;
};

struct cache_filter {
    struct far_layer layer;
    struct cache_device *device;
    struct asked asked[FAR_OP_SLOTS_MAX];
};

/* ---- pages ---- */

static uint32_t *bucket_of(const struct cache_device *d, uint64_t page)
{
    return &d->bucket[(page * 0x9e3779b97f4a7c15u >> 32) & d->mask];
}

static uint32_t find(const struct cache_device *d, uint64_t page)
{
    uint32_t n = *bucket_of(d, page);

    while (n != NONE && d->frame[n].page != page + 1)
        n = d->frame[n].next;
    return n;
}

static void release(struct cache_device *d, uint32_t n)
{
    uint32_t *at = bucket_of(d, d->frame[n].page - 1);

    while (*at != n)
        at = &d->frame[*at].next;
    *at = d->frame[n].next;
    d->frame[n].page = 0;
}

static void put(struct cache_device *d, uint64_t page, const uint8_t *from)
{
    uint32_t n = find(d, page), *bucket = bucket_of(d, page);

    if (n == NONE) {
        while (d->frame[d->hand].page && d->frame[d->hand].used) {
            d->frame[d->hand].used = false;
            d->hand = (d->hand + 1) % d->frames;
        }
        n = d->hand;
        d->hand = (d->hand + 1) % d->frames;
        if (d->frame[n].page)
            release(d, n);
        d->frame[n] = (struct frame){ .page = page + 1, .next = *bucket };
        *bucket = n;
    }
    memcpy(d->memory + (size_t)n * PAGE, from, PAGE);
}

static void drop(struct cache_device *d, uint64_t from, uint64_t to)
{
    uint64_t first = from / PAGE, last = (to + PAGE - 1) / PAGE;

    if (last - first > d->frames) { /* a large discard */
        for (uint32_t n = 0; n < d->frames; n++)
            if (d->frame[n].page > first && d->frame[n].page <= last)
                release(d, n);
        return;
    }
    for (uint64_t page = first; page < last; page++) {
        uint32_t n = find(d, page);

        if (n != NONE)
            release(d, n);
    }
}

static void drop_all(struct cache_device *d)
{
    for (uint32_t n = 0; n < d->frames; n++)
        d->frame[n] = (struct frame){ 0 };
    memset(d->bucket, 0xff, ((size_t)d->mask + 1) * sizeof(*d->bucket));
}

/* The pages that lie in it wholly. */
static void remember(struct cache_device *d, const struct asked *q)
{
    uint64_t at = (q->range.from + PAGE - 1) / PAGE * PAGE;

    for (; at + PAGE <= q->range.to; at += PAGE)
        put(d, at / PAGE, q->payload + (at - q->range.from));
}

/* All of it, or nothing. */
static bool recall(struct cache_device *d, uint64_t from, uint64_t to,
                   uint8_t *into)
{
    for (uint64_t page = from / PAGE; page * PAGE < to; page++)
        if (find(d, page) == NONE)
            return false;
    while (from < to) {
        uint32_t n = find(d, from / PAGE), inside = (uint32_t)(from % PAGE);
        uint64_t bytes = PAGE - inside < to - from ? PAGE - inside : to - from;

        memcpy(into, d->memory + (size_t)n * PAGE + inside, bytes);
        d->frame[n].used = true;
        into += bytes;
        from += bytes;
    }
    return true;
}

/* ---- ops ---- */

static void ended(struct cache_filter *c, struct asked *q,
                  const struct far_op *op)
{
    if (!q->range.busy)
        return;
    far_range_end(&q->range);
    if (op->status || q->range.crossed || op->opcode == FAR_BLOCK_DISCARD ||
        (op->opcode == FAR_BLOCK_READ &&
         op->payload_bytes != q->range.to - q->range.from))
        return;
    remember(c->device, q);
}

static enum far_verdict cache_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    struct cache_filter *c = (struct cache_filter *)(void *)layer;
    struct cache_device *d = c->device;
    struct far_block_args a;
    bool reads = op->opcode == FAR_BLOCK_READ, writes;
    enum far_verdict verdict;
    struct asked *q;
    uint64_t to;

    writes = op->opcode == FAR_BLOCK_WRITE || op->opcode == FAR_BLOCK_DISCARD;
    memcpy(&a, op->args, sizeof(a));
    to = a.offset_bytes + a.length_bytes;
    /* What is odd is for the device to refuse. */
    if (!(reads || writes) || op->slot >= FAR_OP_SLOTS_MAX ||
        a.length_bytes > d->disk_bytes || to > d->disk_bytes ||
        to < a.offset_bytes || !a.length_bytes ||
        (op->opcode != FAR_BLOCK_DISCARD &&
         op->payload_bytes != a.length_bytes) ||
        far_block_is_stale(op, d->incarnation))
        return FAR_PASS;
    if (reads && recall(d, a.offset_bytes, to, payload)) {
        op->status = 0;
        return FAR_DONE;
    }
    q = &c->asked[op->slot];
    q->op = *op;
    q->payload = payload;
    far_range_begin(&d->ranges, &q->range, a.offset_bytes, to, writes);
    if (writes)
        drop(d, a.offset_bytes, to);
    verdict = far_layer_forward(layer, op, payload);
    if (verdict == FAR_DONE)
        ended(c, q, op);
    else if (verdict != FAR_LATER)
        far_range_end(&q->range);
    return verdict;
}

static void cache_complete(struct far_layer *layer, const struct far_op *op)
{
    struct cache_filter *c = (struct cache_filter *)(void *)layer;

    if (op->slot < FAR_OP_SLOTS_MAX &&
        c->asked[op->slot].op.sequence == op->sequence)
        ended(c, &c->asked[op->slot], op);
    far_layer_complete(layer->above, op);
}

static void all_over(struct cache_filter *c)
{
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++)
        far_range_end(&c->asked[i].range);
}

static void take_device(struct cache_device *d,
                        const struct far_layer_news *news)
{
    uint64_t incarnation = far_news_device(news);
    struct far_block_props props;

    memcpy(&props, news->props, sizeof(props));
    memcpy(d->device.props, &props, sizeof(props));
    if (incarnation == d->incarnation && props.bytes == d->disk_bytes)
        return;
    drop_all(d);
    d->incarnation = incarnation;
    d->disk_bytes = props.bytes;
}

static void cache_state(struct far_layer *layer, enum far_device_state state,
                        const struct far_layer_news *news)
{
    struct cache_filter *c = (struct cache_filter *)(void *)layer;

    if (news && news->ops_lost)
        all_over(c);
    if (news && state == FAR_DEVICE_READY)
        take_device(c->device, news);
    far_layer_state(layer->above, state, news);
}

static void cache_close(struct far_layer *layer)
{
    all_over((struct cache_filter *)(void *)layer);
    far_filter_close(layer);
}

static const struct far_layer_ops cache_ops = {
    .name = "cache",
    .submit = cache_submit,
    .close = cache_close,
    .complete = cache_complete,
    .state = cache_state,
};

static void cache_destroy(struct far_device *device)
{
    struct cache_device *d = (struct cache_device *)(void *)device;

    if (d->memory)
        munmap(d->memory, (size_t)d->frames * PAGE);
    free(d->frame);
    free(d->bucket);
}

static void cache_forget(struct far_device *device)
{
    drop_all((struct cache_device *)(void *)device);
}

static int cache_create(struct far_device *device, struct far_error *error)
{
    struct cache_device *d = (struct cache_device *)(void *)device;
    uint64_t mib = far_conf_number(device->section, "size", SIZE_MIB);
    uint32_t buckets = 1;

    d->frames = (uint32_t)(mib << 20 >> 12);
    while (buckets < d->frames)
        buckets *= 2;
    d->mask = buckets - 1;
    d->frame = calloc(d->frames, sizeof(*d->frame));
    d->bucket = calloc(buckets, sizeof(*d->bucket));
    d->memory = mmap(NULL, (size_t)d->frames * PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (d->memory == MAP_FAILED)
        d->memory = NULL;
    if (!d->frame || !d->bucket || !d->memory) {
        cache_destroy(device);
        return far_error(error, -ENOMEM, "%s: there are no %llu MiB of memory",
                         device->name, (unsigned long long)mib);
    }
    drop_all(d);
    return far_filter_create(device, error);
}

static int cache_open(struct far_device *device,
                      const struct far_local_who *who, struct far_layer **layer,
                      struct far_error *error)
{
    struct cache_filter *c;
    int r = far_filter_open(device, who, &cache_ops, sizeof(*c), layer, error);

    if (r)
        return r;
    c = (struct cache_filter *)(void *)*layer;
    c->device = (struct cache_device *)(void *)device;
    return 0;
}

const struct far_device_type far_type_cache = {
    .name = "cache",
    .class = FAR_CLASS_BLOCK,
    .device_bytes = sizeof(struct cache_device),
    .create = cache_create,
    .destroy = cache_destroy,
    .open = cache_open,
    .forget = cache_forget,
};
