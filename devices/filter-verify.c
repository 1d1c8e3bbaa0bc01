/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `verify`: remembers a checksum of every sector that is written
 * through it, and compares what is read. What differs is not given to the guest
 * (-EIO), and the log names the sector. It knows nothing of what was written
 * before this process began, past it, or to a disk of another incarnation.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "core/block.h"
#include "devices/filter.h"
#include "devices/ranges.h"
#include "devices/types.h"

#define SECTOR      512u
#define SECTORS_MAX ((uint64_t)1 << 31) /* of a disk: 1 TiB */
#define OP_SECTORS  (FAR_BLOCK_PAYLOAD_MAX / SECTOR)

struct verify_device {
    struct far_device device;
    struct far_log_bucket bucket;
    struct far_ranges ranges;
    uint32_t *sums; /* 0: not known */
    uint64_t incarnation;
};

struct asked {
    struct far_range range;
    struct far_op op;
    const uint8_t *payload;
    uint32_t sums[OP_SECTORS]; /* of what is written */
};

struct verify_filter {
    struct far_layer layer;
    struct verify_device *device;
    struct asked asked[FAR_OP_SLOTS_MAX];
};

static uint32_t sum_of(const uint8_t *sector)
{
    uint64_t h = 0xcbf29ce484222325u, word;

    for (unsigned i = 0; i < SECTOR; i += 8) {
        memcpy(&word, sector + i, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    h ^= h >> 32;
    return (uint32_t)h ? (uint32_t)h : 1;
}

static void forget(struct verify_device *d, uint64_t from, uint64_t to)
{
    memset(d->sums + from / SECTOR, 0, (to - from) / SECTOR * sizeof(*d->sums));
}

static void forget_all(struct verify_device *d)
{
    /* back to zeros, and to the system */
    (void)madvise(d->sums, SECTORS_MAX * sizeof(*d->sums), MADV_DONTNEED);
}

static void compare(struct verify_device *d, const struct asked *q,
                    struct far_op *op)
{
    const uint32_t *known = d->sums + q->range.from / SECTOR;

    for (uint32_t i = 0; i < op->payload_bytes / SECTOR; i++) {
        if (!known[i] || known[i] == sum_of(q->payload + i * SECTOR))
            continue;
        far_log_limited(d->device.devices->log, &d->bucket, FAR_LOG_ERROR,
                        "%s: the sector at %llu (512 bytes) is not what was "
                        "written there",
                        d->device.name,
                        (unsigned long long)(q->range.from + i * SECTOR));
        op->status = -EIO;
        op->payload_bytes = 0;
        return;
    }
}

/* The answer to what was asked, before it goes up. */
static void ended(struct verify_filter *v, struct asked *q, struct far_op *op)
{
    struct verify_device *d = v->device;

    if (!q->range.busy)
        return;
    far_range_end(&q->range);
    if (op->status || q->range.crossed)
        return;
    if (op->opcode == FAR_BLOCK_READ)
        compare(d, q, op);
    else if (op->opcode == FAR_BLOCK_WRITE)
        memcpy(d->sums + q->range.from / SECTOR, q->sums,
               (q->range.to - q->range.from) / SECTOR * sizeof(*q->sums));
}

static enum far_verdict verify_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    struct verify_filter *v = (struct verify_filter *)(void *)layer;
    struct verify_device *d = v->device;
    struct far_block_args a;
    struct asked *q;
    bool writes =
        op->opcode == FAR_BLOCK_WRITE || op->opcode == FAR_BLOCK_DISCARD;
    enum far_verdict verdict;

    memcpy(&a, op->args, sizeof(a));
    /* What is odd is for the device to refuse. */
    if (!(writes || op->opcode == FAR_BLOCK_READ) ||
        op->slot >= FAR_OP_SLOTS_MAX || a.offset_bytes % SECTOR ||
        a.length_bytes % SECTOR || a.offset_bytes > SECTORS_MAX * SECTOR ||
        a.length_bytes > SECTORS_MAX * SECTOR - a.offset_bytes ||
        op->payload_bytes > FAR_BLOCK_PAYLOAD_MAX ||
        (op->opcode != FAR_BLOCK_DISCARD &&
         op->payload_bytes != a.length_bytes))
        return FAR_PASS;
    q = &v->asked[op->slot];
    q->op = *op;
    q->payload = payload;
    far_range_begin(&d->ranges, &q->range, a.offset_bytes,
                    a.offset_bytes + a.length_bytes, writes);
    if (writes)
        forget(d, q->range.from, q->range.to);
    for (uint32_t i = 0;
         op->opcode == FAR_BLOCK_WRITE && i < op->payload_bytes / SECTOR; i++)
        q->sums[i] = sum_of(q->payload + i * SECTOR);
    verdict = far_layer_forward(layer, op, payload);
    if (verdict == FAR_DONE)
        ended(v, q, op);
    else if (verdict != FAR_LATER)
        far_range_end(&q->range);
    return verdict;
}

static void verify_complete(struct far_layer *layer, const struct far_op *op)
{
    struct verify_filter *v = (struct verify_filter *)(void *)layer;
    struct far_op copy = *op;

    if (op->slot < FAR_OP_SLOTS_MAX &&
        v->asked[op->slot].op.sequence == op->sequence)
        ended(v, &v->asked[op->slot], &copy);
    far_layer_complete(layer->above, &copy);
}

static void all_over(struct verify_filter *v)
{
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++)
        far_range_end(&v->asked[i].range);
}

static void verify_state(struct far_layer *layer, enum far_device_state state,
                         const struct far_layer_news *news)
{
    struct verify_filter *v = (struct verify_filter *)(void *)layer;
    struct verify_device *d = v->device;
    uint64_t incarnation = 0;

    if (news && news->ops_lost)
        all_over(v);
    if (news && state == FAR_DEVICE_READY)
        incarnation = far_news_device(news);
    if (incarnation && incarnation != d->incarnation) {
        forget_all(d);
        d->incarnation = incarnation;
    }
    far_layer_state(layer->above, state, news);
}

static void verify_close(struct far_layer *layer)
{
    all_over((struct verify_filter *)(void *)layer);
    far_filter_close(layer);
}

static const struct far_layer_ops verify_ops = {
    .name = "verify",
    .submit = verify_submit,
    .close = verify_close,
    .complete = verify_complete,
    .state = verify_state,
};

static int verify_create(struct far_device *device, struct far_error *error)
{
    struct verify_device *d = (struct verify_device *)(void *)device;

    d->sums = mmap(NULL, SECTORS_MAX * sizeof(*d->sums), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (d->sums == MAP_FAILED)
        return far_error(error, -errno,
                         "%s: there are no addresses for its checksums: %s",
                         device->name, strerror(errno));
    return far_filter_create(device, error);
}

static void verify_destroy(struct far_device *device)
{
    struct verify_device *d = (struct verify_device *)(void *)device;

    munmap(d->sums, SECTORS_MAX * sizeof(*d->sums));
}

static void verify_forget(struct far_device *device)
{
    forget_all((struct verify_device *)(void *)device);
}

static int verify_open(struct far_device *device,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct verify_filter *v;
    int r = far_filter_open(device, who, &verify_ops, sizeof(*v), layer, error);

    if (r)
        return r;
    v = (struct verify_filter *)(void *)*layer;
    v->device = (struct verify_device *)(void *)device;
    return 0;
}

const struct far_device_type far_type_verify = {
    .name = "verify",
    .class = FAR_CLASS_BLOCK,
    .device_bytes = sizeof(struct verify_device),
    .create = verify_create,
    .destroy = verify_destroy,
    .open = verify_open,
    .forget = verify_forget,
};
