/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `volatile`: a disk's write cache, which is lost with the process
 * that it lives in: for tests of what a power failure costs. A write is
 * answered when it is in the cache; a flush, and a write with FUA, when the
 * device behind has all of it. Now and then something is written earlier, so
 * that what is left after a loss is in no order. It stands in front of a file
 * or a memory.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "core/block.h"
#include "devices/filter.h"
#include "devices/types.h"

#define SECTOR       512u
#define BYTES_MAX    ((uint64_t)64 << 30)
#define RUN_MAX      FAR_OP_PAYLOAD_MAX / 8
#define RUN_SECTORS  (RUN_MAX / SECTOR)
#define SLOT         100u /* of what it writes itself: files have as many */
#define EARLY_ONE_IN 16u

struct volatile_device {
    struct far_device device;
    uint8_t *bytes; /* of the disk, where they are dirty */
    uint8_t *dirty; /* a bit each sector */
    uint64_t random;
};

struct asked {
    struct far_op op; /* opcode 0: none */
    uint8_t *payload;
    bool waits_flush, in_round;
    uint8_t had[RUN_SECTORS / 8]; /* of a read: these were in the cache */
};

struct volatile_filter {
    struct far_layer layer;
    struct volatile_device *device;
    struct far_block_props props; /* of the device behind */
    bool scanning, flushing, writing, full;
    uint64_t at, from, sectors; /* the scan; what is being written */
    uint64_t sequence;
    int32_t status; /* of the round */
    struct asked asked[FAR_OP_SLOTS_MAX];
    uint8_t run[RUN_MAX];
};

static struct volatile_filter *of_layer(struct far_layer *layer)
{
    return (struct volatile_filter *)(void *)layer;
}

static struct far_block_args args_of(const struct far_op *op)
{
    struct far_block_args a;

    memcpy(&a, op->args, sizeof(a));
    return a;
}

static bool bit(const uint8_t *bits, uint64_t n)
{
    return bits[n / 8] >> (n % 8) & 1;
}

static void set(uint8_t *bits, uint64_t n, bool on)
{
    bits[n / 8] =
        (uint8_t)((bits[n / 8] & ~(1u << (n % 8))) | (unsigned)on << (n % 8));
}

static bool being_written(const struct volatile_filter *v, uint64_t sector)
{
    return v->writing && sector >= v->from && sector < v->from + v->sectors;
}

static bool cached(const struct volatile_filter *v, uint64_t sector)
{
    return bit(v->device->dirty, sector) || being_written(v, sector);
}

/* ---- back to the device ---- */

static void go_on(struct volatile_filter *v);

static void round_over(struct volatile_filter *v)
{
    int32_t status = v->status;
    bool again = false;

    v->scanning = v->flushing = false;
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++) {
        struct asked *q = &v->asked[i];
        struct far_op op = q->op;

        if (!q->waits_flush)
            continue;
        if (!q->in_round) {
            again = true;
            continue;
        }
        q->waits_flush = q->in_round = false;
        q->op.opcode = 0;
        op.status = status;
        op.payload_bytes = 0;
        far_layer_complete(v->layer.above, &op);
    }
    if (again && !v->scanning)
        go_on(v);
}

static void begin_round(struct volatile_filter *v)
{
    v->scanning = true;
    v->at = 0;
    v->status = 0;
    for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++)
        v->asked[i].in_round = v->asked[i].waits_flush;
}

static bool find_run(struct volatile_filter *v, uint64_t at)
{
    uint64_t end = v->props.bytes / SECTOR;
    const uint8_t *dirty = v->device->dirty;

    while (at < end && !bit(dirty, at))
        at = at % 8 == 0 && !dirty[at / 8] ? at + 8 : at + 1;
    if (at >= end)
        return false;
    v->from = at;
    for (v->sectors = 0;
         v->sectors < RUN_SECTORS && v->from + v->sectors < end &&
         bit(dirty, v->from + v->sectors);
         v->sectors++)
        set(v->device->dirty, v->from + v->sectors, false);
    return true;
}

static void own_done(struct volatile_filter *v, const struct far_op *op)
{
    if (op->status)
        v->status = op->status;
    if (v->writing && op->status) /* it is in the cache still */
        for (uint64_t i = 0; i < v->sectors; i++)
            set(v->device->dirty, v->from + i, true);
    v->writing = false;
    if (v->flushing)
        round_over(v);
    go_on(v);
    if (v->full) {
        v->full = false;
        far_layer_room(v->layer.above);
    }
}

static void own_op(struct volatile_filter *v, uint16_t opcode)
{
    struct far_block_args a = { 0 };
    struct far_op op = { .slot = SLOT,
                         .sequence = ++v->sequence,
                         .opcode = opcode };

    if (opcode == FAR_BLOCK_WRITE) {
        a.offset_bytes = v->from * SECTOR;
        a.length_bytes = v->sectors * SECTOR;
        op.flags = FAR_OP_SENDS;
        op.payload_bytes = (uint32_t)a.length_bytes;
        memcpy(v->run, v->device->bytes + a.offset_bytes, a.length_bytes);
    }
    memcpy(op.args, &a, sizeof(a));
    switch (far_layer_submit(v->layer.below, &op, v->run)) {
    case FAR_DONE:
        own_done(v, &op);
        break;
    case FAR_LATER:
        break;
    default: /* files and memory have room for it */
        op.status = -EIO;
        own_done(v, &op);
    }
}

static void go_on(struct volatile_filter *v)
{
    if (v->writing || v->flushing)
        return;
    if (!v->scanning) {
        bool any = false;

        for (unsigned i = 0; i < FAR_OP_SLOTS_MAX; i++)
            any |= v->asked[i].waits_flush;
        if (!any)
            return;
        begin_round(v);
    }
    if (!v->status && find_run(v, v->at)) {
        v->at = v->from + v->sectors;
        v->writing = true;
        own_op(v, FAR_BLOCK_WRITE);
    } else if (v->status || !(v->props.can & FAR_BLOCK_CAN_FLUSH)) {
        round_over(v);
    } else {
        v->flushing = true;
        own_op(v, FAR_BLOCK_FLUSH);
    }
}

static void maybe_early(struct volatile_filter *v, uint64_t sector)
{
    uint64_t *x = &v->device->random;

    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    if (*x % EARLY_ONE_IN || v->scanning || v->writing || v->flushing ||
        !find_run(v, sector))
        return;
    v->writing = true;
    own_op(v, FAR_BLOCK_WRITE);
}

/* ---- ops ---- */

static enum far_verdict later(struct volatile_filter *v,
                              const struct far_op *op, void *payload)
{
    v->asked[op->slot].op = *op;
    v->asked[op->slot].payload = payload;
    return FAR_LATER;
}

static enum far_verdict wait_flush(struct volatile_filter *v,
                                   const struct far_op *op)
{
    v->asked[op->slot].waits_flush = true;
    v->asked[op->slot].in_round = false;
    (void)later(v, op, NULL);
    go_on(v);
    return FAR_LATER;
}

static enum far_verdict do_write(struct volatile_filter *v, struct far_op *op,
                                 const uint8_t *payload)
{
    struct far_block_args a = args_of(op);
    uint64_t first = a.offset_bytes / SECTOR;

    memcpy(v->device->bytes + a.offset_bytes, payload, a.length_bytes);
    for (uint64_t i = 0; i < a.length_bytes / SECTOR; i++)
        set(v->device->dirty, first + i, true);
    if (a.flags & FAR_BLOCK_FUA)
        return wait_flush(v, op);
    maybe_early(v, first);
    op->payload_bytes = 0;
    return FAR_DONE;
}

static void overlay(struct volatile_filter *v, const struct asked *q)
{
    struct far_block_args a = args_of(&q->op);
    uint64_t first = a.offset_bytes / SECTOR;

    for (uint64_t i = 0; i < a.length_bytes / SECTOR; i++)
        if (bit(q->had, i) || cached(v, first + i))
            memcpy(q->payload + i * SECTOR,
                   v->device->bytes + (first + i) * SECTOR, SECTOR);
}

static enum far_verdict do_read(struct volatile_filter *v, struct far_op *op,
                                uint8_t *payload)
{
    struct asked *q = &v->asked[op->slot];
    struct far_block_args a = args_of(op);
    uint64_t first = a.offset_bytes / SECTOR;
    enum far_verdict verdict;

    for (uint64_t i = 0; i < a.length_bytes / SECTOR; i++)
        set(q->had, i, cached(v, first + i));
    (void)later(v, op, payload);
    verdict = far_layer_forward(&v->layer, op, payload);
    if (verdict == FAR_DONE && !op->status)
        overlay(v, q);
    if (verdict != FAR_LATER)
        q->op.opcode = 0;
    return verdict;
}

static enum far_verdict do_discard(struct volatile_filter *v,
                                   const struct far_op *op)
{
    struct far_block_args a = args_of(op);
    uint64_t first = a.offset_bytes / SECTOR;

    if (v->writing) { /* what is on its way must not come after it */
        v->full = true;
        return FAR_FULL;
    }
    for (uint64_t i = 0; i < a.length_bytes / SECTOR; i++)
        set(v->device->dirty, first + i, false);
    return FAR_PASS;
}

static enum far_verdict volatile_submit(struct far_layer *layer,
                                        struct far_op *op, void *payload)
{
    struct volatile_filter *v = of_layer(layer);
    struct far_block_props props = v->props;
    struct far_block_args a = args_of(op);
    int r;

    props.can |= FAR_BLOCK_CAN_FLUSH;
    r = op->slot >= FAR_OP_SLOTS_MAX ? -EINVAL : far_block_check(op, &props);
    if (!r && far_block_is_stale(op, v->device->device.incarnation))
        r = FAR_BLOCK_STALE;
    if (!r && op->payload_bytes > RUN_MAX)
        r = -EMSGSIZE;
    if (r) {
        op->status = r;
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    a.incarnation = 0; /* what is behind has another one */
    memcpy(op->args, &a, sizeof(a));
    switch (op->opcode) {
    case FAR_BLOCK_READ:
        return do_read(v, op, payload);
    case FAR_BLOCK_WRITE:
        return do_write(v, op, payload);
    case FAR_BLOCK_FLUSH:
        return wait_flush(v, op);
    case FAR_BLOCK_DISCARD:
        return do_discard(v, op);
    default:
        return FAR_PASS;
    }
}

static void volatile_complete(struct far_layer *layer, const struct far_op *op)
{
    struct volatile_filter *v = of_layer(layer);

    if (op->slot == SLOT) {
        if (op->sequence == v->sequence)
            own_done(v, op);
        return;
    }
    if (op->slot < FAR_OP_SLOTS_MAX &&
        v->asked[op->slot].op.opcode == FAR_BLOCK_READ &&
        v->asked[op->slot].op.sequence == op->sequence) {
        if (!op->status)
            overlay(v, &v->asked[op->slot]);
        v->asked[op->slot].op.opcode = 0;
    }
    far_layer_complete(layer->above, op);
}

static void volatile_state(struct far_layer *layer, enum far_device_state state,
                           const struct far_layer_news *news)
{
    struct volatile_filter *v = of_layer(layer);
    struct far_layer_news mine = news ? *news : (struct far_layer_news){ 0 };
    struct far_block_props props;

    if (mine.ops_lost) { /* who gave them gives them again */
        memset(v->asked, 0, sizeof(v->asked));
        for (uint64_t i = 0; v->writing && i < v->sectors; i++)
            set(v->device->dirty, v->from + i, true);
        v->scanning = v->writing = v->flushing = false;
        v->sequence++;
    }
    memcpy(&props, mine.props, sizeof(props));
    if (state == FAR_DEVICE_READY) {
        v->props = props;
        mine.device_incarnation = v->device->device.incarnation;
        props.can |= FAR_BLOCK_CAN_FLUSH | FAR_BLOCK_LOSES;
        memcpy(mine.props, &props, sizeof(props));
        memcpy(v->device->device.props, &props, sizeof(props));
    }
    if (state == FAR_DEVICE_READY && props.bytes > BYTES_MAX) {
        state = FAR_DEVICE_GONE;
        mine.reason = "a disk behind `volatile` has at most 64 GiB";
    }
    far_layer_state(layer->above, state, &mine);
}

static const struct far_layer_ops volatile_ops = {
    .name = "volatile",
    .submit = volatile_submit,
    .close = far_filter_close,
    .complete = volatile_complete,
    .state = volatile_state,
};

static int volatile_create(struct far_device *device, struct far_error *error)
{
    struct volatile_device *d = (struct volatile_device *)(void *)device;
    size_t bits = BYTES_MAX / SECTOR / 8;

    d->random = device->incarnation;
    d->bytes = mmap(NULL, BYTES_MAX + bits, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (d->bytes == MAP_FAILED)
        return far_error(error, -errno,
                         "%s: there are no addresses for its cache: %s",
                         device->name, strerror(errno));
    d->dirty = d->bytes + BYTES_MAX;
    return far_filter_create(device, error);
}

static void volatile_destroy(struct far_device *device)
{
    struct volatile_device *d = (struct volatile_device *)(void *)device;

    munmap(d->bytes, BYTES_MAX + BYTES_MAX / SECTOR / 8);
}

/* As if this process had been killed. */
static void volatile_forget(struct far_device *device)
{
    struct volatile_device *d = (struct volatile_device *)(void *)device;

    (void)madvise(d->dirty, BYTES_MAX / SECTOR / 8, MADV_DONTNEED);
}

static int volatile_open(struct far_device *device,
                         const struct far_local_who *who,
                         struct far_layer **layer, struct far_error *error)
{
    struct volatile_filter *v;
    int r =
        far_filter_open(device, who, &volatile_ops, sizeof(*v), layer, error);

    if (r)
        return r;
    v = (struct volatile_filter *)(void *)*layer;
    v->device = (struct volatile_device *)(void *)device;
    return 0;
}

const struct far_device_type far_type_volatile = {
    .name = "volatile",
    .class = FAR_CLASS_BLOCK,
    .device_bytes = sizeof(struct volatile_device),
    .create = volatile_create,
    .destroy = volatile_destroy,
    .open = volatile_open,
    .forget = volatile_forget,
};
