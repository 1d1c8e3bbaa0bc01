/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disk `file`: a file or a block device of this machine, by io_uring, or by
 * plain calls in the loop where there is none. A ring is made when the device
 * is, and restricted to this file and four operations, so that a sandboxed
 * daemon needs no other right than to enter it.
 *
 * Memory for payloads is each user's own (place()): what the kernel still
 * writes into must not go with a user that closes, so that a user's memory
 * stays until its last operation is over, and the file and its lock with it. A
 * successor of a killed process gets the lock when the kernel has done the dead
 * one's last operation: only then is the device ready.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include "core/block.h"
#include "core/clock.h"
#include "devices/types.h"

#define DEPTH       128u /* operations of one user at once */
#define PIECE_BYTES (256u << 10)
#define LOOK_US     1000000u /* at the size */
#define LOCK_US     20000u   /* between two tries */
#define RING_SIZE   256u

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct user;

struct task {
    struct user *user;
    struct far_op op; /* opcode 0: free */
    uint8_t *payload; /* the submitter's */
    uint32_t done;    /* bytes of it */
    uint32_t asked;   /* bytes of what is under way */
    struct task *next;
};

/* What operations under way need: outlives device and users. */
struct disk {
    unsigned references; /* the device, and each operation */
    int fd;
    bool plain; /* no ring */
    struct far_loop *loop;
    struct far_log *log;
    struct far_log_bucket bucket;
    char name[FAR_NAME_BYTES];
    struct far_defer send;
    struct far_io io;
#ifdef HAVE_LIBURING
    struct io_uring ring;
    struct task *waiting, **last; /* the ring had no place for them */
#endif
};

struct file_device {
    struct far_device device;
    struct disk *disk;
    struct far_block_props props;
    uint64_t incarnation; /* of what the page cache and the drive's hold */
    bool is_block, writable, locked;
    struct far_timer look;
    struct user *users;
};

struct user {
    struct far_layer layer;
    struct file_device *file; /* NULL: the device is gone */
    struct disk *disk;
    struct far_local_who who;
    bool active, ready, closed;
    unsigned busy;
    uint8_t *arena;
    struct task tasks[DEPTH];
    struct user *next;
};

/* ---- operations ---- */

static uint8_t *piece_of(const struct task *task)
{
    const struct user *u = task->user;

    return u->arena + (size_t)(task - u->tasks) * PIECE_BYTES;
}

static bool in_place(const struct task *task)
{
    return task->payload == piece_of(task) &&
           task->op.payload_bytes <= PIECE_BYTES;
}

/* What the next call reads from or writes to. */
static uint8_t *buffer_of(const struct task *task)
{
    return in_place(task) ? task->payload + task->done : piece_of(task);
}

static struct far_block_args args_of(const struct task *task)
{
    struct far_block_args args;

    memcpy(&args, task->op.args, sizeof(args));
    return args;
}

static void disk_put(struct disk *disk)
{
    if (--disk->references)
        return;
    far_defer_cancel(disk->loop, &disk->send);
    far_io_del(&disk->io);
#ifdef HAVE_LIBURING
    if (!disk->plain)
        io_uring_queue_exit(&disk->ring);
#endif
    close(disk->fd);
    free(disk);
}

static void settle(struct file_device *f);

static void user_free(struct user *u)
{
    struct file_device *f = u->file;

    if (f) {
        struct user **at;

        for (at = &f->users; *at != u; at = &(*at)->next)
            ;
        *at = u->next;
        settle(f);
    }
    munmap(u->arena, (size_t)DEPTH * PIECE_BYTES);
    disk_put(u->disk);
    free(u);
}

static int plain_call(const struct disk *disk, const struct task *task)
{
    struct far_block_args a = args_of(task);
    struct iovec part = { buffer_of(task), task->asked };
    off_t at = (off_t)(a.offset_bytes + task->done);
    ssize_t n;

    switch (task->op.opcode) {
    case FAR_BLOCK_READ:
        n = preadv(disk->fd, &part, 1, at);
        break;
    case FAR_BLOCK_WRITE:
        n = pwritev2(disk->fd, &part, 1, at,
                     a.flags & FAR_BLOCK_FUA ? RWF_DSYNC : 0);
        break;
    case FAR_BLOCK_FLUSH:
        n = fdatasync(disk->fd);
        break;
    default:
        n = fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                      (off_t)a.length_bytes);
        break;
    }
    return n < 0 ? -errno : (int)n;
}

static void failed(struct task *task, int error, const char *words)
{
    static const char *const what[] = { "?", "reading", "writing", "flushing",
                                        "discarding" };
    struct far_block_args a = args_of(task);
    struct disk *disk = task->user->disk;

    far_log_limited(disk->log, &disk->bucket, FAR_LOG_ERROR,
                    "%s: %s %llu bytes at %llu: %s", disk->name,
                    what[task->op.opcode & 7],
                    (unsigned long long)a.length_bytes,
                    (unsigned long long)a.offset_bytes, words);
    task->op.status = error;
    task->op.payload_bytes = 0;
}

/* Takes a result; true: the operation is over. */
static bool came(struct task *task, int result)
{
    bool reads = task->op.opcode == FAR_BLOCK_READ;

    if (result == -EINTR || result == -EAGAIN)
        return false;
    if (result < 0) {
        /* said by the answer itself, and not worth a line each */
        if (task->op.opcode == FAR_BLOCK_DISCARD && result == -EOPNOTSUPP)
            task->op.status = result;
        else
            failed(task, result, strerror(-result));
        return true;
    }
    if (!reads && task->op.opcode != FAR_BLOCK_WRITE)
        return true;
    if (!result || (uint32_t)result > task->asked) {
        failed(task, -EIO, "it has become shorter");
        return true;
    }
    if (reads && !in_place(task) && !task->user->closed)
        memcpy(task->payload + task->done, piece_of(task), (size_t)result);
    task->done += (uint32_t)result;
    return task->done == task->op.payload_bytes;
}

/* Readies the next piece. */
static void prepare(struct task *task)
{
    task->asked = task->op.payload_bytes - task->done;
    if (in_place(task))
        return;
    if (task->asked > PIECE_BYTES)
        task->asked = PIECE_BYTES;
    if (task->op.opcode == FAR_BLOCK_WRITE)
        memcpy(piece_of(task), task->payload + task->done, task->asked);
}

#ifdef HAVE_LIBURING
/* The operation is over, with op.status. */
static void finish(struct task *task)
{
    struct user *u = task->user;
    struct far_op op = task->op;

    task->op.opcode = 0;
    u->busy--;
    if (u->closed) {
        if (!u->busy)
            user_free(u);
        return;
    }
    if (u->layer.above)
        far_layer_complete(u->layer.above, &op);
}

/* false: the ring is full, also after what is in it was offered to the kernel,
 * which takes nothing while too much that is done waits to be reaped. */
static bool give(struct task *task)
{
    struct far_block_args a = args_of(task);
    struct disk *disk = task->user->disk;
    uint64_t at = a.offset_bytes + task->done;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&disk->ring);

    if (!sqe) {
        (void)io_uring_submit(&disk->ring);
        sqe = io_uring_get_sqe(&disk->ring);
    }
    if (!sqe)
        return false;
    prepare(task);
    switch (task->op.opcode) {
    case FAR_BLOCK_READ:
        io_uring_prep_read(sqe, 0, buffer_of(task), task->asked, at);
        break;
    case FAR_BLOCK_WRITE:
        io_uring_prep_write(sqe, 0, buffer_of(task), task->asked, at);
        sqe->rw_flags = a.flags & FAR_BLOCK_FUA ? RWF_DSYNC : 0;
        break;
    case FAR_BLOCK_FLUSH:
        io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
        break;
    default:
        io_uring_prep_fallocate(sqe, 0,
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)at, (off_t)a.length_bytes);
        break;
    }
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, task);
    return true;
}

static void send_all(struct far_defer *defer);

/* In the order in which they came. */
static void give_or_wait(struct task *task)
{
    struct disk *disk = task->user->disk;

    if (disk->waiting || !give(task)) {
        task->next = NULL;
        *disk->last = task;
        disk->last = &task->next;
    }
    far_defer(disk->loop, &disk->send, send_all);
}

static void give_waiting(struct disk *disk)
{
    while (disk->waiting && give(disk->waiting)) {
        disk->waiting = disk->waiting->next;
        if (!disk->waiting)
            disk->last = &disk->waiting;
    }
}

static void reap(struct far_io *io, uint32_t events);

static void send_all(struct far_defer *defer)
{
    struct disk *disk = CONTAINER(struct disk, send, defer);
    int r;

    give_waiting(disk);
    r = io_uring_submit(&disk->ring);
    /* what was not taken stays in the ring for the next turn */
    if ((r < 0 && r != -EBADR) || disk->waiting ||
        io_uring_sq_ready(&disk->ring))
        far_defer(disk->loop, &disk->send, send_all);
    /* what the page cache had is done already */
    disk->references++;
    reap(&disk->io, 0);
    disk_put(disk);
}

static void reap(struct far_io *io, uint32_t events)
{
    struct disk *disk = CONTAINER(struct disk, io, io);
    struct io_uring_cqe *cqe;

    (void)events;
    disk->references++;
    while (!io_uring_peek_cqe(&disk->ring, &cqe)) {
        struct task *task = io_uring_cqe_get_data(cqe);
        int result = cqe->res;

        io_uring_cqe_seen(&disk->ring, cqe);
        /* a user that has closed has no payload any more */
        if (came(task, result) || task->user->closed) {
            finish(task);
            continue;
        }
        give_or_wait(task);
    }
    disk_put(disk);
}

/* liburing declares functions for these, but some of its versions lack them. */
static int ring_register(const struct disk *disk, unsigned what, void *arg,
                         unsigned count)
{
    return syscall(SYS_io_uring_register, disk->ring.ring_fd, what, arg, count)
               ? -errno
               : 0;
}

static int ring_make(struct disk *disk)
{
    static const uint8_t may[] = { IORING_OP_READ, IORING_OP_WRITE,
                                   IORING_OP_FSYNC, IORING_OP_FALLOCATE };
    struct io_uring_restriction rules[6] = { 0 };
    struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED |
                                               IORING_SETUP_CQSIZE,
                                      .cq_entries = 8 * RING_SIZE };
    int r = io_uring_queue_init_params(RING_SIZE, &disk->ring, &params);

    if (r)
        return r;
    for (unsigned i = 0; i < 4; i++) {
        rules[i].opcode = IORING_RESTRICTION_SQE_OP;
        rules[i].sqe_op = may[i];
    }
    rules[4].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    rules[4].sqe_flags = IOSQE_FIXED_FILE;
    rules[5].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    rules[5].sqe_flags = IOSQE_FIXED_FILE;
    r = io_uring_register_files(&disk->ring, &disk->fd, 1);
    if (!r)
        r = ring_register(disk, IORING_REGISTER_RESTRICTIONS, rules, 6);
    if (!r)
        r = ring_register(disk, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (!r)
        r = far_io_add(disk->loop, &disk->io, disk->ring.ring_fd, EPOLLIN,
                       reap);
    if (r)
        io_uring_queue_exit(&disk->ring);
    return r;
}
#endif

static enum far_verdict begin(struct task *task, struct far_op *op)
{
    struct user *u = task->user;

#ifdef HAVE_LIBURING
    if (!u->disk->plain) {
        u->busy++;
        give_or_wait(task);
        return FAR_LATER;
    }
#endif
    do
        prepare(task);
    while (!came(task, plain_call(u->disk, task)));
    *op = task->op;
    task->op.opcode = 0;
    return FAR_DONE;
}

/* ---- the layer of one user ---- */

static struct user *user_of(struct far_layer *layer)
{
    return (struct user *)(void *)layer;
}

static enum far_verdict file_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct user *u = user_of(layer);
    struct task *task = &u->tasks[op->slot % DEPTH];
    int r;

    if (!u->file || !u->ready) {
        op->status = -ENODEV;
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    r = far_block_check(op, &u->file->props);
    if (r || op->opcode == FAR_OP_NOP(FAR_CLASS_BLOCK)) {
        op->status = r;
        op->payload_bytes = 0;
        return FAR_DONE;
    }
    if (task->op.opcode) /* slots beyond DEPTH share */
        return FAR_FULL;
    task->user = u;
    task->op = *op;
    task->op.status = 0;
    task->payload = payload;
    task->done = 0;
    return begin(task, op);
}

static void *file_place(struct far_layer *layer, uint32_t slot, uint32_t bytes)
{
    struct user *u = user_of(layer);

    return bytes <= PIECE_BYTES
               ? u->arena + (size_t)(slot % DEPTH) * PIECE_BYTES
               : NULL;
}

static void tell(struct user *u, enum far_device_state state,
                 const char *reason)
{
    struct far_layer_news news = { .incarnation = u->file->device.incarnation,
                                   .device_incarnation = u->file->incarnation,
                                   .reason = reason };

    memcpy(news.props, &u->file->props, sizeof(u->file->props));
    u->ready = state == FAR_DEVICE_READY;
    if (u->layer.above)
        far_layer_state(u->layer.above, state, &news);
}

static bool lock(struct file_device *f)
{
    struct flock range = { .l_type = f->writable ? F_WRLCK : F_RDLCK };

    if (!f->locked)
        f->locked = !fcntl(f->disk->fd, F_OFD_SETLK, &range);
    return f->locked;
}

static void unlock(struct file_device *f)
{
    struct flock range = { .l_type = F_UNLCK };

    if (f->locked)
        (void)fcntl(f->disk->fd, F_OFD_SETLK, &range);
    f->locked = false;
}

static struct user *holder(const struct file_device *f)
{
    struct user *u;

    /* one that has closed may still have writes under way */
    for (u = f->users; u && !u->ready && !u->closed; u = u->next)
        ;
    return u;
}

/* Who waits, gets it as soon as nobody else may still write. */
static void settle(struct file_device *f)
{
    bool used = false, waits = false;
    char reason[160];

    for (struct user *u = f->users; u; u = u->next) {
        const struct user *other = f->writable ? holder(f) : NULL;

        used = used || u->active || u->closed;
        if (!u->active || u->ready)
            continue;
        if (other) {
            snprintf(reason, sizeof(reason), "%s: is in use by guest %s",
                     f->device.name, other->who.guest_name);
        } else if (!lock(f)) {
            snprintf(reason, sizeof(reason),
                     "%s: another process has the file locked", f->device.name);
        } else {
            tell(u, FAR_DEVICE_READY, NULL);
            continue;
        }
        waits = true;
        tell(u, FAR_DEVICE_GONE, reason);
    }
    if (used) {
        far_timer_set(&f->look, far_now_us() + (waits ? LOCK_US : LOOK_US));
    } else {
        far_timer_cancel(&f->look);
        unlock(f);
    }
}

static void file_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct user *u = user_of(layer);

    (void)incarnation;
    (void)received;
    if (!u->file)
        return;
    if (u->active && u->ready) {
        tell(u, FAR_DEVICE_READY, NULL);
        return;
    }
    u->active = true;
    settle(u->file);
}

static void file_close(struct far_layer *layer)
{
    struct user *u = user_of(layer);

    u->closed = true;
    u->active = u->ready = false;
    u->layer.above = NULL;
    if (!u->busy)
        user_free(u);
}

static const struct far_layer_ops file_ops = {
    .name = "file",
    .submit = file_submit,
    .place = file_place,
    .activate = file_activate,
    .close = file_close,
};

/* ---- the device ---- */

static int read_size(const struct file_device *f, uint64_t *bytes)
{
    struct stat st;

    if (f->is_block)
        return ioctl(f->disk->fd, BLKGETSIZE64, bytes) ? -errno : 0;
    if (fstat(f->disk->fd, &st))
        return -errno;
    *bytes = (uint64_t)st.st_size;
    return 0;
}

static void look(struct far_timer *timer)
{
    struct file_device *f = CONTAINER(struct file_device, look, timer);
    uint64_t bytes;

    (void)timer;
    if (!read_size(f, &bytes)) {
        bytes -= bytes % f->props.block_bytes;
        if (bytes != f->props.bytes) {
            far_log(f->device.devices->log, FAR_LOG_INFO,
                    "%s: had %llu bytes, has %llu now", f->device.name,
                    (unsigned long long)f->props.bytes,
                    (unsigned long long)bytes);
            f->props.bytes = bytes;
            memcpy(f->device.props, &f->props, sizeof(f->props));
            for (struct user *u = f->users; u; u = u->next)
                if (u->ready)
                    tell(u, FAR_DEVICE_READY, NULL);
        }
    }
    settle(f);
}

/* Can it be read past the page cache in units of block_bytes? */
static bool reads_directly(int fd, uint32_t block_bytes)
{
    void *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ssize_t n;

    if (page == MAP_FAILED)
        return false;
    n = pread(fd, page, block_bytes, block_bytes);
    munmap(page, 8192);
    return n >= 0;
}

static int open_file(struct file_device *f, const char *path,
                     struct far_error *error)
{
    const struct far_conf_section *s = f->device.section;
    const char *direct = far_conf_string(s, "direct", "auto");
    int flags = (f->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY;
    uint32_t block = (uint32_t)far_conf_number(s, "sector", 512);
    struct stat st;
    int fd = -1, least = 0;

    if (strcmp(direct, "off"))
        fd = open(path, flags | O_DIRECT);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) &&
        !ioctl(fd, BLKSSZGET, &least) && (uint32_t)least > block)
        block = (uint32_t)least;
    if (fd >= 0 && !reads_directly(fd, block)) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    if (fd < 0 && !strcmp(direct, "on"))
        return far_error(error, -errno,
                         "%s: %s can't be opened for direct I/O in units of "
                         "%u bytes: %s",
                         f->device.name, path, block, strerror(errno));
    if (fd < 0)
        fd = open(path, flags);
    if (fd < 0)
        return far_error(error, -errno, "%s: %s: %s", f->device.name, path,
                         strerror(errno));
    f->disk->fd = fd;
    if (fstat(fd, &st))
        return far_error(error, -errno, "%s: %s: %s", f->device.name, path,
                         strerror(errno));
    f->is_block = S_ISBLK(st.st_mode);
    if (!f->is_block && !S_ISREG(st.st_mode))
        return far_error(error, -EINVAL,
                         "%s: %s is neither a file nor a block device",
                         f->device.name, path);
    f->props.block_bytes = block;
    f->props.physical_bytes = 4096;
    if (st.st_blksize > 4096 && st.st_blksize <= 65536 &&
        !(st.st_blksize & (st.st_blksize - 1)))
        f->props.physical_bytes = (uint32_t)st.st_blksize;
    return 0;
}

/* What was written and not flushed is lost when the machine stops, and not
 * before, whatever becomes of this process. */
static uint64_t incarnation_of(const struct file_device *f)
{
    uint64_t h = 0xcbf29ce484222325u;
    char boot[64] = "";
    ssize_t n = -1;
    struct stat st;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        n = read(fd, boot, sizeof(boot));
        close(fd);
    }
    if (n <= 0 || fstat(f->disk->fd, &st))
        return f->device.incarnation;
    for (ssize_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)boot[i]) * 0x100000001b3u;
    h = (h ^ (f->is_block ? st.st_rdev : st.st_dev)) * 0x100000001b3u;
    h = (h ^ (f->is_block ? 0 : st.st_ino)) * 0x100000001b3u;
    return h ? h : 1;
}

static int file_create(struct far_device *device, struct far_error *error)
{
    struct file_device *f = (struct file_device *)(void *)device;
    const struct far_conf_section *s = device->section;
    const char *path = far_conf_string(s, "path", NULL);
    bool cdrom = far_conf_bool(s, "cdrom", false);
    struct disk *disk;
    int r;

    if (!path)
        return far_error(error, -EINVAL,
                         "%s: has no path; say `path = /dev/...` or the name "
                         "of a file",
                         device->name);
    disk = calloc(1, sizeof(*disk));
    if (!disk)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    disk->references = 1;
    disk->fd = -1;
    disk->io.fd = -1;
    disk->plain = true;
    disk->loop = device->devices->loop;
    disk->log = device->devices->log;
    memcpy(disk->name, device->name, sizeof(disk->name));
    f->disk = disk;
    f->writable = !cdrom && !far_conf_bool(s, "read-only", false);
    r = open_file(f, path, error);
    if (!r && (r = read_size(f, &f->props.bytes)) < 0)
        far_error(error, r, "%s: the size of %s can't be told: %s",
                  device->name, path, strerror(-r));
    if (r) {
        if (disk->fd < 0)
            free(disk);
        else
            disk_put(disk);
        return r;
    }
    f->incarnation = incarnation_of(f);
    f->props.bytes -= f->props.bytes % f->props.block_bytes;
    f->props.can = FAR_BLOCK_CAN_FLUSH;
    if (f->writable)
        f->props.can |= FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_DISCARD;
    if (cdrom)
        f->props.can |= FAR_BLOCK_CDROM | FAR_BLOCK_REMOVABLE;
    if (far_conf_bool(s, "removable", false))
        f->props.can |= FAR_BLOCK_REMOVABLE;
    f->props.discard_bytes = 4096;
    memcpy(device->props, &f->props, sizeof(f->props));
#ifdef HAVE_LIBURING
    disk->last = &disk->waiting;
    r = ring_make(disk);
    disk->plain = r != 0;
    if (r)
        far_log(disk->log, FAR_LOG_INFO,
                "%s: no io_uring here (%s): reads and writes are plain calls",
                device->name, strerror(-r));
#endif
    far_timer_init(&f->look, disk->loop, look);
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void file_destroy(struct far_device *device)
{
    struct file_device *f = (struct file_device *)(void *)device;

    far_timer_cancel(&f->look);
    for (struct user *u = f->users; u; u = u->next)
        u->file = NULL;
    /* The lock goes with the description, after its last operation. */
    disk_put(f->disk);
}

static int file_open(struct far_device *device, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    struct file_device *f = (struct file_device *)(void *)device;
    struct user *u = calloc(1, sizeof(*u));

    if (u)
        u->arena =
            mmap(NULL, (size_t)DEPTH * PIECE_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!u || u->arena == MAP_FAILED) {
        free(u);
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    }
    u->layer.ops = &file_ops;
    u->file = f;
    u->disk = f->disk;
    u->disk->references++;
    u->who = *who;
    u->next = f->users;
    f->users = u;
    *layer = &u->layer;
    return 0;
}

const struct far_device_type far_type_file = {
    .name = "file",
    .class = FAR_CLASS_BLOCK,
    .device_bytes = sizeof(struct file_device),
    .create = file_create,
    .destroy = file_destroy,
    .open = file_open,
};
