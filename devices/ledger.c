/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disk `ledger`: what is appended to it is committed together with who
 * appended it (attachment, slot, sequence), in one write. A process that comes
 * after a killed one reads that back, and answers an append that it finds there
 * instead of doing it again: so each is done exactly once, whatever dies. It
 * can be read like any disk; it can't be written elsewhere.
 *
 * An attachment is known by its number, which its platform's backend draws by
 * lot, together with its guest and that one's generation: no platform can give
 * the name of another's.
 *
 * Its file is locked while it is used.
 *
 * Of each attachment the last append of each slot is kept in memory; of the
 * attachments, those that appended last.
 */
#include "devices/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "core/block.h"
#include "core/clock.h"
#include "devices/types.h"

#define SIZE_MIB    1024u
#define HISTORIES   256u
#define LOCK_US     20000u /* between two tries */
#define HEADER      sizeof(struct far_ledger_record)
#define CONTENT_MAX FAR_OP_PAYLOAD_MAX

/* The last append in each slot. */
struct history {
    uint64_t attachment, used; /* 0: free; the order of its last */
    uint8_t guest_uuid[16], generation[16];
    struct {
        uint64_t sequence, at; /* of its contents */
    } slots[FAR_OP_SLOTS_MAX];
};

struct ledger {
    struct far_device device;
    struct far_block_props props;
    int fd;
    bool open;       /* locked and read: it can be used */
    int failed;      /* why nothing can be appended any more, or 0 */
    uint64_t end;    /* of the last record */
    uint64_t order;  /* of it */
    uint8_t *buffer; /* CONTENT_MAX, for reading back */
    struct history *histories;
    struct far_timer lock;
    struct user *users;
};

struct user {
    struct far_layer layer;
    struct ledger *ledger;
    struct far_local_who who;
    bool active;
    struct user *next;
};

static struct user *of_layer(struct far_layer *layer)
{
    return (struct user *)(void *)layer;
}

/* FNV-1a over words: it finds what was cut short, not an enemy. */
static uint64_t sum(uint64_t h, const void *bytes, size_t count)
{
    const uint8_t *p = bytes;

    for (; count >= 8; p += 8, count -= 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
    }
    return h;
}

uint64_t far_ledger_check(const struct far_ledger_record *record,
                          const void *contents)
{
    size_t skip = offsetof(struct far_ledger_record, attachment);
    uint64_t h =
        sum(0xcbf29ce484222325u, (const uint8_t *)record + skip, HEADER - skip);

    return sum(h, contents, record->bytes);
}

/* ---- what was done ---- */

static bool is_of(const struct history *h,
                  const struct far_ledger_record *record)
{
    return h->attachment == record->attachment &&
           !memcmp(h->guest_uuid, record->guest_uuid, 16) &&
           !memcmp(h->generation, record->generation, 16);
}

static struct history *history_of(struct ledger *l,
                                  const struct far_ledger_record *record)
{
    for (unsigned i = 0; i < HISTORIES; i++)
        if (is_of(&l->histories[i], record))
            return &l->histories[i];
    return NULL;
}

static struct history *history_make(struct ledger *l,
                                    const struct far_ledger_record *record)
{
    struct history *h = history_of(l, record);

    if (h)
        return h;
    h = l->histories;
    for (unsigned i = 0; i < HISTORIES; i++)
        if (l->histories[i].used < h->used)
            h = &l->histories[i];
    memset(h, 0, sizeof(*h));
    h->attachment = record->attachment;
    memcpy(h->guest_uuid, record->guest_uuid, 16);
    memcpy(h->generation, record->generation, 16);
    return h;
}

static void remember(struct ledger *l, const struct far_ledger_record *record,
                     uint64_t at)
{
    struct history *h = history_make(l, record);

    h->used = record->order;
    h->slots[record->slot].sequence = record->sequence;
    h->slots[record->slot].at = at;
}

static int read_at(const struct ledger *l, void *bytes, size_t count,
                   uint64_t at)
{
    struct iovec part = { bytes, count };
    ssize_t n = preadv(l->fd, &part, 1, (off_t)at);

    if (n < 0)
        return -errno;
    memset((uint8_t *)bytes + n, 0, count - (size_t)n); /* behind its end */
    return 0;
}

static bool sound(const struct far_ledger_record *record, uint64_t order)
{
    return record->magic == FAR_LEDGER_MAGIC && record->order == order &&
           record->slot < FAR_OP_SLOTS_MAX && record->bytes &&
           record->bytes % 512 == 0 && record->bytes <= CONTENT_MAX &&
           record->attachment;
}

/* Takes up what is there. A record that is not whole is the last one, of a
 * process that was killed while it wrote: nobody was told that it was done, and
 * it is cut off. */
static int take_up(struct ledger *l, struct far_error *error)
{
    struct far_ledger_record record;
    struct stat st;
    int r;

    if (fstat(l->fd, &st))
        return far_error(error, -errno, "%s: %s", l->device.name,
                         strerror(errno));
    while (l->end + HEADER <= (uint64_t)st.st_size) {
        uint64_t at = l->end + HEADER;

        r = read_at(l, &record, HEADER, l->end);
        if (r)
            return far_error(error, r, "%s: %s", l->device.name, strerror(-r));
        if (l->end == 0 && record.magic != FAR_LEDGER_MAGIC)
            return far_error(error, -EINVAL,
                             "%s: its file holds something else, and is left "
                             "alone",
                             l->device.name);
        if (!sound(&record, l->order + 1) ||
            at + record.bytes > (uint64_t)st.st_size)
            break;
        if (at + record.bytes == (uint64_t)st.st_size) {
            r = read_at(l, l->buffer, record.bytes, at);
            if (r || record.check != far_ledger_check(&record, l->buffer))
                break;
        }
        remember(l, &record, at);
        l->order++;
        l->end = at + record.bytes;
    }
    if (ftruncate(l->fd, (off_t)l->end))
        return far_error(error, -errno, "%s: %s", l->device.name,
                         strerror(errno));
    l->open = true;
    return 0;
}

/* ---- operations ---- */

static void answer_at(struct far_op *op, uint64_t at)
{
    struct far_block_args a;

    memcpy(&a, op->args, sizeof(a));
    a.offset_bytes = at;
    memcpy(op->args, &a, sizeof(a));
    op->status = 0;
}

static int append(struct user *u, struct far_op *op, void *payload)
{
    struct ledger *l = u->ledger;
    const struct history *h;
    struct far_ledger_record record = {
        .magic = FAR_LEDGER_MAGIC,
        .attachment = u->who.attachment,
        .sequence = op->sequence,
        .slot = op->slot,
        .bytes = op->payload_bytes,
        .order = l->order + 1,
    };
    struct iovec parts[2] = { { &record, HEADER },
                              { l->buffer, op->payload_bytes } };
    ssize_t n;

    memcpy(record.guest_uuid, u->who.guest_uuid, 16);
    memcpy(record.generation, u->who.generation, 16);
    h = history_of(l, &record);
    if (h && h->slots[op->slot].sequence >= op->sequence &&
        h->slots[op->slot].at) {
        if (h->slots[op->slot].sequence > op->sequence)
            return -ESTALE;
        answer_at(op, h->slots[op->slot].at);
        return 0;
    }
    if (l->failed)
        return l->failed;
    if (l->end + HEADER + record.bytes > l->props.bytes)
        return -ENOSPC;
    /* Once: what is checked must be what is written. */
    memcpy(l->buffer, payload, record.bytes);
    record.check = far_ledger_check(&record, l->buffer);
    n = pwritev2(l->fd, parts, 2, (off_t)l->end, 0);
    if (n != (ssize_t)(HEADER + record.bytes)) {
        /* A piece of it may be there: it must not be taken for done later. */
        int failed = n < 0 ? -errno : -ENOSPC;

        if (ftruncate(l->fd, (off_t)l->end))
            l->failed = -EIO;
        return failed;
    }
    l->order++;
    remember(l, &record, l->end + HEADER);
    answer_at(op, l->end + HEADER);
    l->end += HEADER + record.bytes;
    return 0;
}

static enum far_verdict user_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct user *u = of_layer(layer);
    struct ledger *l = u->ledger;
    struct far_block_args a;

    op->status = l->open ? far_block_check(op, &l->props) : -ENODEV;
    memcpy(&a, op->args, sizeof(a));
    if (op->status == 0 && op->opcode == FAR_BLOCK_READ)
        op->status = read_at(l, payload, a.length_bytes, a.offset_bytes);
    else if (op->status == 0 && op->opcode == FAR_BLOCK_APPEND)
        op->status = append(u, op, payload);
    else if (op->status == 0 && op->opcode == FAR_BLOCK_FLUSH)
        op->status = fdatasync(l->fd) ? -errno : 0;
    if (op->status)
        op->payload_bytes = 0;
    return FAR_DONE;
}

static void tell(struct user *u)
{
    const struct far_device *d = &u->ledger->device;
    struct far_layer_news news = { .incarnation = d->incarnation,
                                   .reason = d->reason };

    memcpy(news.props, d->props, sizeof(news.props));
    if (u->active)
        far_layer_state(u->layer.above, d->state, &news);
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct user *u = of_layer(layer);

    (void)incarnation;
    (void)received;
    u->active = true;
    tell(u);
}

/* Nobody uses it: another process may, on another machine too. */
static void release(struct ledger *l)
{
    struct flock range = { .l_type = F_UNLCK };

    far_timer_cancel(&l->lock);
    l->open = false;
    l->end = l->order = 0;
    memset(l->histories, 0, HISTORIES * sizeof(*l->histories));
    (void)fcntl(l->fd, F_OFD_SETLK, &range);
}

static void user_close(struct far_layer *layer)
{
    struct user *u = of_layer(layer), **at = &u->ledger->users;

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    if (!u->ledger->users)
        release(u->ledger);
    free(u);
}

static const struct far_layer_ops user_ops = {
    .name = "ledger",
    .submit = user_submit,
    .activate = user_activate,
    .close = user_close,
};

/* ---- the device ---- */

/* A killed process's lock goes when its last write is over. */
static void try_lock(struct far_timer *timer)
{
    struct ledger *l = (struct ledger *)(void *)((char *)timer -
                                                 offsetof(struct ledger, lock));
    struct flock range = { .l_type = F_WRLCK };
    struct far_error error = { 0 };

    if (fcntl(l->fd, F_OFD_SETLK, &range)) {
        far_device_say(&l->device, FAR_DEVICE_GONE,
                       "another process has its file locked");
        far_timer_set(&l->lock, far_now_us() + LOCK_US);
    } else if (take_up(l, &error)) {
        far_device_say(&l->device, FAR_DEVICE_GONE, error.text);
    } else {
        far_device_say(&l->device, FAR_DEVICE_READY, NULL);
    }
    for (struct user *u = l->users; u; u = u->next)
        tell(u);
}

static int ledger_open(struct far_device *device,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct ledger *l = (struct ledger *)(void *)device;
    struct user *u = calloc(1, sizeof(*u));

    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    u->layer.ops = &user_ops;
    u->ledger = l;
    u->who = *who;
    if (!l->users)
        try_lock(&l->lock);
    u->next = l->users;
    l->users = u;
    *layer = &u->layer;
    return 0;
}

static void ledger_destroy(struct far_device *device)
{
    struct ledger *l = (struct ledger *)(void *)device;

    far_timer_cancel(&l->lock);
    if (l->fd >= 0)
        close(l->fd);
    free(l->buffer);
    free(l->histories);
}

static int ledger_create(struct far_device *device, struct far_error *error)
{
    struct ledger *l = (struct ledger *)(void *)device;
    const char *path = far_conf_string(device->section, "path", NULL);
    int r;

    if (!path)
        return far_error(error, -EINVAL,
                         "%s: has no path; say `path =` and a file's name",
                         device->name);
    far_timer_init(&l->lock, device->devices->loop, try_lock);
    l->buffer = malloc(CONTENT_MAX);
    l->histories = calloc(HISTORIES, sizeof(*l->histories));
    l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (!l->buffer || !l->histories || l->fd < 0) {
        r = far_error(error, l->fd < 0 ? -errno : -ENOMEM, "%s: %s: %s",
                      device->name, path,
                      l->fd < 0 ? strerror(errno) : "out of memory");
        ledger_destroy(device);
        return r;
    }
    l->props = (struct far_block_props){
        .bytes = far_conf_number(device->section, "size", SIZE_MIB) << 20,
        .can = FAR_BLOCK_CAN_APPEND | FAR_BLOCK_CAN_FLUSH,
        .physical_bytes = 4096,
        .block_bytes = 512,
    };
    memcpy(device->props, &l->props, sizeof(l->props));
    try_lock(&l->lock); /* what is wrong with it is said now */
    release(l);
    return 0;
}

const struct far_device_type far_type_ledger = {
    .name = "ledger",
    .class = FAR_CLASS_BLOCK,
    .device_bytes = sizeof(struct ledger),
    .create = ledger_create,
    .destroy = ledger_destroy,
    .open = ledger_open,
};
