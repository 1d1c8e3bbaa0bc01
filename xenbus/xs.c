/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * xenstore over libxenstore: checked reads and writes, transactions, and the
 * coalescing table of watches. What nodes mean is xenstore-schema's and the
 * ports' business.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xenstore.h>
#include "core/clock.h"
#include "xenbus/xs.h"

#define TRIES 16

/* A token is an index into the table and the generation of that slot: an event
 * that was still queued when its watch went finds another generation. */
#define SLOTS_MAX          (1u << 16)
#define TOKEN(index, gen)  ((uint32_t)(gen) << 16 | (index))
#define TOKEN_INDEX(token) ((token)&0xffffu)
#define TOKEN_TEXT_BYTES   12

/* Taken from libxenstore's queue in one turn; the rest in the next. */
#define DRAIN_EVENTS 512

/* Callbacks of one watch: this many at once, then one each PACE_US, so that a
 * guest which rewrites its nodes without end costs a bounded share. */
#define PACE_BURST 32u
#define PACE_US    10000u

struct slot {
    struct far_xs_watch *watch; /* NULL: free */
    char **last;                /* path and token of the last event */
    uint64_t paced_us;          /* burst is full up to this time */
    uint16_t generation;
    bool queued; /* stands in xs->dirty */
};

struct far_xs {
    struct xs_handle *handle;
    struct far_loop *loop;
    struct far_io queue;    /* libxenstore's pipe */
    struct far_io presence; /* a connection that says nothing: its end is
                               xenstored's end, which libxenstore keeps to
                               itself */
    int presence_fd;
    struct far_defer dispatch, tell_lost;
    struct far_timer pace;
    void (*lost)(struct far_xs *xs, void *arg);
    void *arg;
    bool is_lost;
    bool *gone; /* set by a close from within a callback */
    struct slot *slots;
    uint32_t *dirty; /* room for all slots */
    uint32_t slots_n, slots_free_from, dirty_n;
    struct far_xs_watch *first;
};

#define CONTAINER(type, member, pointer) \
    ((type *)((char *)(pointer)-offsetof(type, member)))

/* errno of a failed call; if it means that the connection has ended, the owner
 * hears of it at the end of the turn. */
static void lose(struct far_xs *xs);

static int failed(struct far_xs *xs)
{
    int e = errno;

    if (e == EBADF || e == EPIPE || e == ECONNRESET)
        lose(xs);
    return e > 0 ? -e : -EIO;
}

static int path_of(char *path, const char *format, va_list args)
{
    int n = vsnprintf(path, FAR_XS_PATH_BYTES, format, args);

    if (n < 0)
        return -EINVAL;
    return n < FAR_XS_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

#define PATH(path, format)                         \
    char path[FAR_XS_PATH_BYTES];                  \
    int path_error;                                \
    va_list path_args;                             \
                                                   \
    va_start(path_args, format);                   \
    path_error = path_of(path, format, path_args); \
    va_end(path_args)

int far_number_parse(const char *text, uint64_t max, uint64_t *value)
{
    uint64_t v = 0;

    if (!*text)
        return -EINVAL;
    for (unsigned i = 0; text[i]; i++) {
        uint64_t digit = (uint64_t)((unsigned char)text[i] - '0');

        if (text[i] < '0' || text[i] > '9' || i >= 20 ||
            v > (UINT64_MAX - digit) / 10)
            return -EINVAL;
        v = v * 10 + digit;
    }
    if (v > max)
        return -EINVAL;
    *value = v;
    return 0;
}

int far_domid_parse(const char *text, unsigned *domid)
{
    uint64_t v;
    int r = far_number_parse(text, DOMID_FIRST_RESERVED - 1, &v);

    if (!r)
        *domid = (unsigned)v;
    return r;
}

static int read_node(struct far_xs *xs, far_xs_t t, const char *path,
                     char *value, size_t room)
{
    unsigned length;
    char *got;
    int r;

    value[0] = '\0';
    got = xs_read(xs->handle, t, path, &length);
    if (!got)
        return failed(xs);
    if (length >= room)
        r = -E2BIG;
    else if (memchr(got, '\0', length))
        r = -EINVAL;
    else {
        memcpy(value, got, length);
        value[length] = '\0';
        r = (int)length;
    }
    free(got);
    return r;
}

int far_xs_read(struct far_xs *xs, far_xs_t t, char *value, size_t room,
                const char *path_format, ...)
{
    PATH(path, path_format);

    if (path_error)
        return path_error;
    return read_node(xs, t, path, value, room);
}

int far_xs_read_u64(struct far_xs *xs, far_xs_t t, uint64_t *value,
                    uint64_t max, const char *path_format, ...)
{
    char text[24];
    int r;
    PATH(path, path_format);

    if (path_error)
        return path_error;
    r = read_node(xs, t, path, text, sizeof(text));
    if (r == -E2BIG)
        return -EINVAL;
    return r < 0 ? r : far_number_parse(text, max, value);
}

int far_xs_write(struct far_xs *xs, far_xs_t t, const char *path,
                 const char *value_format, ...)
{
    char value[FAR_XS_VALUE_BYTES];
    va_list args;
    int n;

    va_start(args, value_format);
    n = vsnprintf(value, sizeof(value), value_format, args);
    va_end(args);
    if (n < 0)
        return -EINVAL;
    if ((size_t)n >= sizeof(value))
        return -E2BIG;
    return xs_write(xs->handle, t, path, value, (unsigned)n) ? 0 : failed(xs);
}

int far_xs_write_if_new(struct far_xs *xs, far_xs_t t, const char *path,
                        const char *value)
{
    size_t length = strlen(value);
    unsigned got_length;
    char *got = xs_read(xs->handle, t, path, &got_length);
    bool same = got && got_length == length && !memcmp(got, value, length);

    free(got);
    if (same)
        return 0;
    if (length >= FAR_XS_VALUE_BYTES)
        return -E2BIG;
    return xs_write(xs->handle, t, path, value, (unsigned)length) ? 1
                                                                  : failed(xs);
}

int far_xs_remove(struct far_xs *xs, far_xs_t t, const char *path_format, ...)
{
    int r;
    PATH(path, path_format);

    if (path_error)
        return path_error;
    if (xs_rm(xs->handle, t, path))
        return 0;
    r = failed(xs);
    return r == -ENOENT ? 0 : r;
}

int far_xs_mkdir(struct far_xs *xs, far_xs_t t, const char *path)
{
    return xs_mkdir(xs->handle, t, path) ? 0 : failed(xs);
}

int far_xs_permit(struct far_xs *xs, far_xs_t t, const char *path,
                  unsigned owner_domid, unsigned reader_domid)
{
    struct xs_permissions permissions[2] = {
        { .id = owner_domid, .perms = XS_PERM_NONE },
        { .id = reader_domid, .perms = XS_PERM_READ },
    };

    return xs_set_permissions(xs->handle, t, path, permissions, 2) ? 0
                                                                   : failed(xs);
}

int far_xs_directory(struct far_xs *xs, far_xs_t t, struct far_xs_list *list,
                     unsigned max, const char *path_format, ...)
{
    PATH(path, path_format);

    *list = (struct far_xs_list){ 0 };
    if (path_error)
        return path_error;
    list->names = xs_directory(xs->handle, t, path, &list->count);
    if (!list->names)
        return failed(xs);
    if (list->count > max) {
        list->count = max;
        list->more = true;
    }
    return (int)list->count;
}

void far_xs_list_free(struct far_xs_list *list)
{
    free(list->names); /* libxenstore: names and strings in one piece */
    *list = (struct far_xs_list){ 0 };
}

int far_xs_transact(struct far_xs *xs,
                    int (*change)(struct far_xs *xs, far_xs_t t, void *arg),
                    void *arg)
{
    for (unsigned i = 0; i < TRIES; i++) {
        xs_transaction_t t = xs_transaction_start(xs->handle);
        int r;

        if (t == XBT_NULL) {
            r = failed(xs);
            if (r == -EAGAIN)
                continue;
            return r;
        }
        r = change(xs, t, arg);
        /* A conflict may also show in the middle, as a call that fails. */
        if (r < 0) {
            (void)xs_transaction_end(xs->handle, t, true);
            if (r == -EAGAIN)
                continue;
            return r;
        }
        if (xs_transaction_end(xs->handle, t, false))
            return 0;
        if (errno != EAGAIN)
            return failed(xs);
    }
    return -EAGAIN;
}

unsigned far_xs_own_domid(struct far_xs *xs)
{
    uint64_t domid;

    if (far_xs_read_u64(xs, 0, &domid, DOMID_FIRST_RESERVED - 1, "domid"))
        return 0;
    return (unsigned)domid;
}

bool far_xs_is_introduced(struct far_xs *xs, unsigned domid)
{
    errno = 0;
    return xs_is_domain_introduced(xs->handle, domid) || errno;
}

static void say_lost(struct far_defer *defer)
{
    struct far_xs *xs = CONTAINER(struct far_xs, tell_lost, defer);

    xs->lost(xs, xs->arg);
}

static void lose(struct far_xs *xs)
{
    if (xs->is_lost)
        return;
    xs->is_lost = true;
    if (!xs->loop)
        return;
    far_io_del(&xs->queue);
    far_io_del(&xs->presence);
    if (xs->lost)
        far_defer(xs->loop, &xs->tell_lost, say_lost);
}

bool far_xs_is_lost(const struct far_xs *xs)
{
    return xs->is_lost;
}

/* What was there at the beginning is called, each at most once; what became
 * dirty meanwhile waits for the next turn. */
static void dispatch(struct far_defer *defer)
{
    struct far_xs *xs = CONTAINER(struct far_xs, dispatch, defer);
    uint32_t n = xs->dirty_n, kept = 0;
    uint64_t now = far_now_us();
    bool gone = false;

    xs->gone = &gone;
    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = &xs->slots[xs->dirty[i]];
        struct far_xs_watch *watch = slot->watch;
        char **last;

        if (!watch || !watch->dirty) {
            slot->queued = false;
            continue;
        }
        if (slot->paced_us < now)
            slot->paced_us = now;
        if (slot->paced_us >= now + PACE_BURST * PACE_US) {
            xs->dirty[kept++] = xs->dirty[i];
            continue;
        }
        slot->paced_us += PACE_US;
        slot->queued = false;
        watch->dirty = false;
        last = slot->last;
        slot->last = NULL;
        /* From here on slot may be stale: the callback may add watches. */
        watch->changed(watch, last ? last[XS_WATCH_PATH] : "");
        free(last);
        if (gone)
            return;
    }
    xs->gone = NULL;
    for (uint32_t i = n; i < xs->dirty_n; i++)
        xs->dirty[kept++] = xs->dirty[i];
    xs->dirty_n = kept;
    if (kept)
        far_timer_set(&xs->pace, now + PACE_US);
}

static void pace_over(struct far_timer *timer)
{
    struct far_xs *xs = CONTAINER(struct far_xs, pace, timer);

    far_defer(xs->loop, &xs->dispatch, dispatch);
}

static void take(struct far_xs *xs, char **event)
{
    uint64_t token;
    struct slot *slot;
    char *end;

    token = strtoull(event[XS_WATCH_TOKEN], &end, 16);
    if (*end || TOKEN_INDEX(token) >= xs->slots_n)
        goto drop;
    slot = &xs->slots[TOKEN_INDEX(token)];
    if (!slot->watch || slot->watch->token != token)
        goto drop;
    free(slot->last);
    slot->last = event;
    slot->watch->events++;
    slot->watch->dirty = true;
    if (!slot->queued) {
        slot->queued = true;
        xs->dirty[xs->dirty_n++] = (uint32_t)TOKEN_INDEX(token);
        far_defer(xs->loop, &xs->dispatch, dispatch);
    }
    return;
drop:
    free(event);
}

static void queue_ready(struct far_io *io, uint32_t events)
{
    struct far_xs *xs = CONTAINER(struct far_xs, queue, io);

    (void)events;
    for (unsigned i = 0; i < DRAIN_EVENTS; i++) {
        char **event = xs_check_watch(xs->handle);

        if (!event) {
            if (errno != EAGAIN && errno != ENOMEM)
                lose(xs);
            return;
        }
        take(xs, event);
    }
}

static void presence_ready(struct far_io *io, uint32_t events)
{
    struct far_xs *xs = CONTAINER(struct far_xs, presence, io);
    char byte;
    ssize_t n;

    (void)events;
    n = recv(io->fd, &byte, 1, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        lose(xs);
}

/* In a guest there is no socket, and a store that can't go without the machine:
 * then there is nothing to see to. */
static int presence_open(struct far_xs *xs)
{
    const char *path = xs_daemon_socket();
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    int fd, r;

    if (!path || stat(path, &st) || !S_ISSOCK(st.st_mode) ||
        strlen(path) >= sizeof(address.sun_path))
        return 0;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        r = -errno;
    else
        r = far_io_add(xs->loop, &xs->presence, fd, EPOLLIN, presence_ready);
    if (r < 0)
        close(fd);
    else
        xs->presence_fd = fd;
    return r;
}

struct far_xs *far_xs_open(struct far_loop *loop,
                           void (*lost)(struct far_xs *xs, void *arg),
                           void *arg)
{
    struct far_xs *xs = calloc(1, sizeof(*xs));
    int fd, r;

    if (!xs)
        return NULL;
    xs->loop = loop;
    xs->lost = lost;
    xs->arg = arg;
    xs->queue.fd = -1;
    xs->presence.fd = -1;
    xs->presence_fd = -1;
    xs->handle = xs_open(0);
    if (!xs->handle) {
        r = errno ? -errno : -EIO;
        goto out;
    }
    if (loop) {
        far_timer_init(&xs->pace, loop, pace_over);
        fd = xs_fileno(xs->handle);
        if (fd < 0) {
            r = -EMFILE;
            goto out;
        }
        r = far_io_add(loop, &xs->queue, fd, EPOLLIN, queue_ready);
        if (r < 0)
            goto out;
        r = presence_open(xs);
        if (r < 0)
            goto out;
    }
    return xs;

out:
    far_io_del(&xs->queue);
    if (xs->handle)
        xs_close(xs->handle);
    free(xs);
    errno = -r;
    return NULL;
}

void far_xs_close(struct far_xs *xs)
{
    if (!xs)
        return;
    if (xs->loop) {
        far_defer_cancel(xs->loop, &xs->dispatch);
        far_defer_cancel(xs->loop, &xs->tell_lost);
        far_timer_cancel(&xs->pace);
    }
    while (xs->first)
        far_xs_unwatch(xs->first);
    far_io_del(&xs->queue);
    far_io_del(&xs->presence);
    if (xs->presence_fd >= 0)
        close(xs->presence_fd);
    xs_close(xs->handle);
    if (xs->gone)
        *xs->gone = true;
    free(xs->slots);
    free(xs->dirty);
    free(xs);
}

static int grow(struct far_xs *xs)
{
    uint32_t n = xs->slots_n ? xs->slots_n * 2 : 16;
    struct slot *slots;
    uint32_t *dirty;

    if (n > SLOTS_MAX)
        return -ENOSPC;
    slots = realloc(xs->slots, n * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    xs->slots = slots;
    dirty = realloc(xs->dirty, n * sizeof(*dirty));
    if (!dirty)
        return -ENOMEM;
    xs->dirty = dirty;
    memset(slots + xs->slots_n, 0, (n - xs->slots_n) * sizeof(*slots));
    xs->slots_n = n;
    return 0;
}

int far_xs_watch(struct far_xs *xs, struct far_xs_watch *watch,
                 void (*changed)(struct far_xs_watch *watch, const char *path),
                 const char *path_format, ...)
{
    char token[TOKEN_TEXT_BYTES];
    uint32_t index;
    struct slot *slot;
    int r;
    PATH(path, path_format);

    *watch = (struct far_xs_watch){ .changed = changed };
    if (path_error)
        return path_error;
    if (!xs->loop)
        return -EINVAL;
    for (index = xs->slots_free_from; index < xs->slots_n; index++)
        if (!xs->slots[index].watch)
            break;
    if (index == xs->slots_n) {
        r = grow(xs);
        if (r < 0)
            return r;
    }
    watch->path = strdup(path);
    if (!watch->path)
        return -ENOMEM;
    slot = &xs->slots[index];
    slot->generation++;
    slot->paced_us = 0;
    slot->watch = watch;
    watch->token = TOKEN(index, slot->generation);
    snprintf(token, sizeof(token), "%" PRIx32, watch->token);
    if (!xs_watch(xs->handle, path, token)) {
        r = failed(xs);
        slot->watch = NULL;
        free(watch->path);
        watch->path = NULL;
        return r;
    }
    xs->slots_free_from = index + 1;
    watch->xs = xs;
    watch->next = xs->first;
    watch->prev = &xs->first;
    if (xs->first)
        xs->first->prev = &watch->next;
    xs->first = watch;
    return 0;
}

void far_xs_unwatch(struct far_xs_watch *watch)
{
    struct far_xs *xs = watch->xs;
    char token[TOKEN_TEXT_BYTES];
    uint32_t index;

    if (!xs)
        return;
    index = TOKEN_INDEX(watch->token);
    snprintf(token, sizeof(token), "%" PRIx32, watch->token);
    if (!xs->is_lost)
        (void)xs_unwatch(xs->handle, watch->path, token);
    xs->slots[index].watch = NULL;
    free(xs->slots[index].last);
    xs->slots[index].last = NULL;
    if (index < xs->slots_free_from)
        xs->slots_free_from = index;
    *watch->prev = watch->next;
    if (watch->next)
        watch->next->prev = watch->prev;
    free(watch->path);
    *watch = (struct far_xs_watch){ .events = watch->events };
}
