/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disk `memory`: for measuring, and for what may be lost. All its users
 * share the same bytes, which begin as zeros each time that the process does;
 * every operation is answered at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "core/block.h"
#include "devices/types.h"

#define SIZE_MIB  64u
#define PAGE_SIZE ((uint64_t)4096)

struct memory {
    struct far_device device;
    struct far_block_props props;
    uint8_t *bytes;
};

struct user {
    struct far_layer layer;
    struct memory *memory;
};

static struct user *of_layer(struct far_layer *layer)
{
    return (struct user *)(void *)layer;
}

/* Zeros; whole pages are given back. */
static void clear(const struct memory *m, uint64_t from, uint64_t to)
{
    uint64_t first = (from + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    uint64_t last = to & ~(PAGE_SIZE - 1);

    if (first < last &&
        madvise(m->bytes + first, last - first, MADV_DONTNEED) == 0) {
        memset(m->bytes + from, 0, first - from);
        memset(m->bytes + last, 0, to - last);
    } else {
        memset(m->bytes + from, 0, to - from);
    }
}

static enum far_verdict user_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    const struct memory *m = of_layer(layer)->memory;
    struct far_block_args a;

    memcpy(&a, op->args, sizeof(a));
    op->status = far_block_check(op, &m->props);
    if (op->status) {
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    switch (op->opcode) {
    case FAR_BLOCK_READ:
        memcpy(payload, m->bytes + a.offset_bytes, a.length_bytes);
        break;
    case FAR_BLOCK_WRITE:
        memcpy(m->bytes + a.offset_bytes, payload, a.length_bytes);
        break;
    case FAR_BLOCK_DISCARD:
        clear(m, a.offset_bytes, a.offset_bytes + a.length_bytes);
        break;
    default: /* a flush: there is nothing that could be made durable */
        break;
    }
    return FAR_DONE;
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    const struct far_device *d = &of_layer(layer)->memory->device;
    struct far_layer_news news = { .incarnation = d->incarnation };

    (void)incarnation;
    (void)received;
    memcpy(news.props, d->props, sizeof(news.props));
    far_layer_state(layer->above, FAR_DEVICE_READY, &news);
}

static void user_close(struct far_layer *layer)
{
    free(layer);
}

static const struct far_layer_ops user_ops = {
    .name = "memory",
    .submit = user_submit,
    .activate = user_activate,
    .close = user_close,
};

static int memory_open(struct far_device *device,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct user *u = calloc(1, sizeof(*u));

    (void)who;
    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    u->layer.ops = &user_ops;
    u->memory = (struct memory *)(void *)device;
    *layer = &u->layer;
    return 0;
}

static int memory_create(struct far_device *device, struct far_error *error)
{
    struct memory *m = (struct memory *)(void *)device;

    m->props = (struct far_block_props){
        .bytes = far_conf_number(device->section, "size", SIZE_MIB) << 20,
        .can = FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_DISCARD | FAR_BLOCK_VOLATILE,
        .physical_bytes = 4096,
        .block_bytes = 512,
    };
    m->bytes = mmap(NULL, m->props.bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->bytes == MAP_FAILED)
        return far_error(
            error, -errno, "%s: %llu MiB are more than can be had: %s",
            device->name, (unsigned long long)(m->props.bytes >> 20),
            strerror(errno));
    memcpy(device->props, &m->props, sizeof(m->props));
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void memory_destroy(struct far_device *device)
{
    struct memory *m = (struct memory *)(void *)device;

    munmap(m->bytes, m->props.bytes);
}

const struct far_device_type far_type_memory = {
    .name = "memory",
    .class = FAR_CLASS_BLOCK,
    .device_bytes = sizeof(struct memory),
    .create = memory_create,
    .destroy = memory_destroy,
    .open = memory_open,
};
