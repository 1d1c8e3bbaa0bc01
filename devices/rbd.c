/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-rbd: serves an image of a Ceph cluster as an outside device, in a
 * process of its own. librbd talks to the cluster, libfarside-device to
 * Farside; here is what lies between.
 *
 * There is no cache here: what is answered lies on the media of the cluster.
 * The image's exclusive lock is the fence: who gets it has the cluster refuse
 * whatever a former holder may still have under way. Payloads are copied, as
 * librbd can't be told to let go of memory whose user has gone; what such a one
 * wrote is over before another op is given.
 *
 * Opening may take long, and has a thread. librbd answers in threads of its
 * own: they mark the request, and wake the main thread, which does the rest.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <rados/librados.h>
#include <rbd/features.h>
#include <rbd/librbd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "core/block.h"
#include "devices/farside-device.h"

#define REQUESTS 1024u
#define AGAIN_S  1u
/* for the cluster to answer at all, while it is opened */
#define MOUNT_S "10"
#define OWNERS  8

struct program;

struct request {
    struct program *program;
    struct far_outside_user *user; /* NULL: it has gone */
    struct far_outside_op op;
    void *payload;   /* the user's */
    uint8_t *memory; /* ours */
    enum { FREE, HELD, GIVEN } state;
    uint64_t order;
    _Atomic bool ended; /* `result` is there */
    int64_t result;
};

struct program {
    char pool[128], space[128], image[128], snapshot[128];
    const char *conf, *id;
    bool read_only, take_over;
    struct far_outside *outside;
    int wake;

    /* The thread that opens writes these and then `opened`. */
    rados_t cluster;
    rados_ioctx_t pool_io;
    rbd_image_t disk;
    uint64_t watch;
    struct far_block_props props;
    _Atomic bool opened;
    pthread_mutex_t lock; /* of why */
    char why[300];

    _Atomic bool resized;
    bool ready;       /* `opened` was seen */
    bool failed;      /* for good */
    unsigned orphans; /* given, of users that are gone */
    uint64_t order;
    struct request requests[REQUESTS];
};

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "farside-rbd: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static void wake(const struct program *p)
{
    uint64_t one = 1;

    if (write(p->wake, &one, sizeof(one)) < 0)
        return; /* it is awake */
}

/* ---- answers ---- */

static void answer(struct request *r, int status)
{
    r->state = FREE;
    r->op.status = status;
    if (status || r->op.opcode != FAR_BLOCK_READ)
        r->op.payload_bytes = 0;
    if (r->op.payload_bytes)
        memcpy(r->payload, r->memory, r->op.payload_bytes);
    far_outside_complete(r->user, &r->op);
}

static void fail(struct program *p, const char *why)
{
    if (p->failed)
        return;
    p->failed = true;
    say("%s/%s: %s: the disk fails from now on. Look at who has it, and start "
        "farside-rbd again",
        p->pool, p->image, why);
    for (unsigned i = 0; i < REQUESTS; i++)
        if (p->requests[i].state == HELD)
            answer(&p->requests[i], -EIO);
}

/* In a thread of librbd's. */
static void on_complete(rbd_completion_t completion, void *arg)
{
    struct request *r = arg;
    const struct program *p = r->program;

    r->result = rbd_aio_get_return_value(completion);
    rbd_aio_release(completion);
    atomic_store_explicit(&r->ended, true, memory_order_release);
    wake(p);
}

static void take_answers(struct program *p)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &p->requests[i];
        int status;

        if (r->state != GIVEN ||
            !atomic_load_explicit(&r->ended, memory_order_acquire))
            continue;
        status = r->result < 0 ? (int)r->result : 0;
        if (r->op.opcode == FAR_BLOCK_READ && !status &&
            r->result != (int64_t)r->op.payload_bytes)
            status = -EIO;
        if (status == -ESHUTDOWN)
            fail(p, "the cluster takes nothing from us any more: another "
                    "client has taken the image over");
        if (r->user) {
            answer(r, status);
        } else {
            r->state = FREE;
            p->orphans--;
        }
    }
}

/* ---- requests ---- */

static void give(struct request *r)
{
    rbd_image_t disk = r->program->disk;
    rbd_completion_t completion;
    struct far_block_args a;
    int result;

    memcpy(&a, r->op.args, sizeof(a));
    atomic_store_explicit(&r->ended, false, memory_order_relaxed);
    if (rbd_aio_create_completion(r, on_complete, &completion)) {
        answer(r, -EIO);
        return;
    }
    r->state = GIVEN;
    switch (r->op.opcode) {
    case FAR_BLOCK_READ:
        result = rbd_aio_read(disk, a.offset_bytes, r->op.payload_bytes,
                              (char *)r->memory, completion);
        break;
    case FAR_BLOCK_WRITE:
        result = rbd_aio_write(disk, a.offset_bytes, r->op.payload_bytes,
                               (const char *)r->memory, completion);
        break;
    case FAR_BLOCK_FLUSH:
        result = rbd_aio_flush(disk, completion);
        break;
    default:
        result = a.flags & FAR_BLOCK_ZERO
                     ? rbd_aio_write_zeroes(disk, a.offset_bytes,
                                            a.length_bytes, completion, 0, 0)
                     : rbd_aio_discard(disk, a.offset_bytes, a.length_bytes,
                                       completion);
    }
    if (result < 0) {
        rbd_aio_release(completion);
        answer(r, result == -EROFS ? -EROFS : -EIO);
    }
}

static struct request *next_held(struct program *p)
{
    struct request *first = NULL;

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &p->requests[i];

        if (r->state == HELD && (!first || r->order < first->order))
            first = r;
    }
    return first;
}

static void give_held(struct program *p)
{
    struct request *r;

    while (p->ready && !p->orphans && (r = next_held(p)) != NULL) {
        struct far_op op;
        int status;

        memcpy(&op, &r->op, sizeof(op));
        op.status = 0;
        status = p->failed ? -EIO : far_block_check(&op, &p->props);
        if (status)
            answer(r, status);
        else
            give(r);
    }
}

/* ---- what Farside asks ---- */

static bool on_op(void *arg, struct far_outside_user *user,
                  struct far_outside_op *op, void *payload)
{
    struct program *p = arg;
    struct request *r = NULL;

    for (unsigned i = 0; !r && i < REQUESTS; i++)
        if (p->requests[i].state == FREE)
            r = &p->requests[i];
    op->status = !r ? -EAGAIN : p->failed ? -EIO : 0;
    if (!op->status && op->payload_bytes > FAR_BLOCK_PAYLOAD_MAX)
        op->status = -EINVAL;
    if (op->status) {
        op->payload_bytes = 0;
        return true;
    }
    r->user = user;
    r->op = *op;
    r->payload = payload;
    r->state = HELD;
    r->order = ++p->order;
    if (op->flags & FAR_OUTSIDE_SENDS) /* once: it may change */
        memcpy(r->memory, payload, op->payload_bytes);
    give_held(p);
    return false;
}

static void on_detached(void *arg, struct far_outside_user *user)
{
    struct program *p = arg;

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &p->requests[i];

        if (r->state == FREE || r->user != user)
            continue;
        r->user = NULL;
        if (r->state == HELD)
            r->state = FREE;
        else
            p->orphans++;
    }
}

/* ---- opening, in a thread of its own ---- */

/* In a thread of librbd's. */
static void on_update(void *arg)
{
    struct program *p = arg;

    atomic_store(&p->resized, true);
    wake(p);
}

static int wrong(char *why, size_t bytes, int r, const char *what)
{
    snprintf(why, bytes, "%s: %s", what, strerror(-r));
    return r;
}

/* Whoever has the lock loses it, and the cluster takes nothing from him. */
static int break_lock(struct program *p, char *why, size_t bytes)
{
    char *owners[OWNERS] = { NULL };
    size_t count = OWNERS;
    rbd_lock_mode_t mode;
    int r = rbd_lock_get_owners(p->disk, &mode, owners, &count);

    if (r == -ENOENT)
        return 0;
    for (size_t i = 0; !r && i < count; i++)
        r = rbd_lock_break(p->disk, mode, owners[i]);
    if (r != -ENOENT && r < 0)
        wrong(why, bytes, r, "the lock of another client can't be broken");
    rbd_lock_get_owners_cleanup(owners, count);
    return r == -ENOENT ? 0 : r;
}

static int lock_image(struct program *p, char *why, size_t bytes)
{
    uint64_t features = 0;
    int r = rbd_get_features(p->disk, &features);

    if (r)
        return wrong(why, bytes, r, "its features can't be read");
    if (!(features & RBD_FEATURE_EXCLUSIVE_LOCK)) {
        snprintf(why, bytes,
                 "the image has no exclusive lock, so that nothing would keep "
                 "two writers apart: give it one by rbd feature enable");
        return -EINVAL;
    }
    if (p->take_over) {
        r = break_lock(p, why, bytes);
        if (r)
            return r;
    }
    r = rbd_lock_acquire(p->disk, RBD_LOCK_MODE_EXCLUSIVE);
    return r ? wrong(why, bytes, r,
                     "another client has the image's lock (that of one which "
                     "died ends after half a minute)")
             : 0;
}

static int read_size(struct program *p)
{
    uint64_t bytes;
    int r = rbd_get_size(p->disk, &bytes);

    if (!r)
        p->props.bytes = bytes - bytes % p->props.block_bytes;
    return r;
}

static int open_disk(struct program *p, char *why, size_t bytes)
{
    const char *snapshot = p->snapshot[0] ? p->snapshot : NULL;
    int r = p->read_only
                ? rbd_open_read_only(p->pool_io, p->image, &p->disk, snapshot)
                : rbd_open(p->pool_io, p->image, &p->disk, NULL);

    if (r)
        return wrong(why, bytes, r, "the image can't be opened");
    p->props =
        (struct far_block_props){ .physical_bytes = 4096, .block_bytes = 512 };
    if (!p->read_only)
        p->props.can = FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_DISCARD;
    r = p->read_only ? 0 : lock_image(p, why, bytes);
    if (!r && read_size(p))
        r = wrong(why, bytes, -EIO, "its size can't be read");
    if (!r && rbd_update_watch(p->disk, &p->watch, on_update, p))
        r = wrong(why, bytes, -EIO, "its size can't be watched");
    if (r)
        rbd_close(p->disk);
    return r;
}

static int open_cluster(struct program *p, char *why, size_t bytes)
{
    int r = rados_create(&p->cluster, p->id);

    if (r)
        return wrong(why, bytes, r, "no client of Ceph can be made");
    r = rados_conf_read_file(p->cluster, p->conf);
    if (r)
        wrong(why, bytes, r, "the configuration of Ceph can't be read");
    /* what is answered is durable */
    if (!r && (rados_conf_set(p->cluster, "rbd_cache", "false") ||
               rados_conf_set(p->cluster, "client_mount_timeout", MOUNT_S)))
        r = wrong(why, bytes, -EINVAL, "librbd does not know its own options");
    if (!r) {
        r = rados_connect(p->cluster);
        if (r)
            wrong(why, bytes, r, "the cluster does not answer");
    }
    if (!r) {
        r = rados_ioctx_create(p->cluster, p->pool, &p->pool_io);
        if (r)
            wrong(why, bytes, r, "there is no such pool");
    }
    if (!r) {
        rados_ioctx_set_namespace(p->pool_io, p->space);
        r = open_disk(p, why, bytes);
        if (r)
            rados_ioctx_destroy(p->pool_io);
    }
    if (r)
        rados_shutdown(p->cluster);
    return r;
}

static void *opener(void *arg)
{
    struct program *p = arg;
    char why[sizeof(p->why)];

    while (open_cluster(p, why, sizeof(why))) {
        pthread_mutex_lock(&p->lock);
        if (strcmp(p->why, why))
            say("%s/%s: %s", p->pool, p->image, why);
        memcpy(p->why, why, sizeof(why));
        pthread_mutex_unlock(&p->lock);
        wake(p);
        sleep(AGAIN_S);
    }
    atomic_store_explicit(&p->opened, true, memory_order_release);
    wake(p);
    return NULL;
}

/* ---- the main thread ---- */

static void look(struct program *p)
{
    char why[sizeof(p->why)];

    if (!p->ready && !atomic_load_explicit(&p->opened, memory_order_acquire)) {
        pthread_mutex_lock(&p->lock);
        memcpy(why, p->why, sizeof(why));
        pthread_mutex_unlock(&p->lock);
        far_outside_gone(p->outside, why);
        return;
    }
    if (atomic_exchange(&p->resized, false) && p->ready && !read_size(p))
        far_outside_props(p->outside, &p->props, sizeof(p->props));
    if (!p->ready) {
        p->ready = true;
        far_outside_props(p->outside, &p->props, sizeof(p->props));
        far_outside_gone(p->outside, NULL);
    }
    take_answers(p);
    give_held(p);
}

static int serve(struct program *p, int signals)
{
    struct pollfd fds[] = { { .fd = far_outside_fd(p->outside),
                              .events = POLLIN },
                            { .fd = p->wake, .events = POLLIN },
                            { .fd = signals, .events = POLLIN } };
    uint64_t count;
    pthread_t thread;

    if (pthread_create(&thread, NULL, opener, p)) {
        say("no thread: %s", strerror(errno));
        return 1;
    }
    pthread_detach(thread);
    while (poll(fds, 3, -1) >= 0 || errno == EINTR) {
        if (fds[2].revents)
            break;
        if (fds[1].revents && read(p->wake, &count, sizeof(count)) > 0)
            look(p);
        (void)far_outside_turn(p->outside, 0);
    }
    return 0;
}

/* POOL/[NAMESPACE/]IMAGE[@SNAPSHOT] */
static bool parse(struct program *p, const char *text)
{
    static const char word[] = "%127[^/@]";
    char format[64];
    int end = 0;

    snprintf(format, sizeof(format), "%s/%s/%s%%n", word, word, word);
    if (sscanf(text, format, p->pool, p->space, p->image, &end) < 3) {
        p->space[0] = '\0';
        snprintf(format, sizeof(format), "%s/%s%%n", word, word);
        if (sscanf(text, format, p->pool, p->image, &end) < 2)
            return false;
    }
    text += end;
    if (*text == '@') {
        snprintf(p->snapshot, sizeof(p->snapshot), "%s", text + 1);
        p->read_only = true;
        return p->snapshot[0] && !strchr(text + 1, '/');
    }
    return !*text;
}

static void usage(void)
{
    fputs("usage: farside-rbd [--socket=PATH] [--conf=FILE] [--id=NAME] "
          "[--read-only]\n"
          "                   [--take-over] POOL/[NAMESPACE/]IMAGE[@SNAPSHOT]\n"
          "Serves an image of a Ceph cluster as an outside device of Farside; "
          "see\nfarside-rbd(8).\n",
          stderr);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "socket", required_argument, NULL, 's' },
        { "conf", required_argument, NULL, 'c' },
        { "id", required_argument, NULL, 'i' },
        { "read-only", no_argument, NULL, 'r' },
        { "take-over", no_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    static const struct far_outside_calls calls = { .bytes = sizeof(calls),
                                                    .detached = on_detached,
                                                    .op = on_op };
    static struct program p = { .lock = PTHREAD_MUTEX_INITIALIZER,
                                .why = "the cluster is being connected to" };
    const char *socket = NULL;
    uint8_t *memory;
    sigset_t ends;
    char why[200];
    int c, status;

    while ((c = getopt_long(argc, argv, "s:c:i:rth", options, NULL)) != -1) {
        if (c == 's')
            socket = optarg;
        else if (c == 'c')
            p.conf = optarg;
        else if (c == 'i')
            p.id = optarg;
        else if (c == 'r')
            p.read_only = true;
        else if (c == 't')
            p.take_over = true;
        else
            return usage(), c == 'h' ? 0 : 2;
    }
    if (optind != argc - 1 || !parse(&p, argv[optind]))
        return usage(), 2;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* of all threads to come */
    memory = mmap(NULL, (size_t)REQUESTS * FAR_BLOCK_PAYLOAD_MAX,
                  PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    p.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (memory == MAP_FAILED || p.wake < 0) {
        say("memory or descriptors are out: %s", strerror(errno));
        return 1;
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        p.requests[i].program = &p;
        p.requests[i].memory = memory + (size_t)i * FAR_BLOCK_PAYLOAD_MAX;
    }
    p.outside = far_outside_new(socket, "block", &calls, &p, why, sizeof(why));
    if (!p.outside) {
        say("%s", why);
        return 1;
    }
    far_outside_gone(p.outside, p.why);
    status = serve(&p, signalfd(-1, &ends, SFD_CLOEXEC));
    far_outside_free(p.outside);
    if (p.ready) { /* lets go of the lock, so that the next one has it at once
                    */
        rbd_update_unwatch(p.disk, p.watch);
        rbd_close(p.disk);
        rados_ioctx_destroy(p.pool_io);
        rados_shutdown(p.cluster);
    }
    return status;
}
