/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The local device protocol's common half: shared memory, packets, and the
 * judgement of what came in. Who answers what: devices/local-client.c and
 * devices/local-server.c.
 */
#include "core/local.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_ALIGN 4096u
#define FDS_MAX     3

static size_t align_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) & ~(to - 1);
}

int far_local_layout(struct far_local_layout *layout, uint32_t down_entries,
                     uint32_t up_entries, uint32_t arena_bytes)
{
    size_t down = far_shring_bytes(down_entries);
    size_t up = far_shring_bytes(up_entries);

    if (down == 0 || up == 0 || arena_bytes > FAR_LOCAL_ARENA_BYTES_MAX ||
        (arena_bytes & (arena_bytes - 1)) != 0)
        return -EINVAL;
    layout->down = sizeof(struct far_local_header);
    layout->up = layout->down + down; /* multiples of 64 all */
    layout->arena = align_up(layout->up + up, arena_bytes ? ARENA_ALIGN : 64);
    layout->total_bytes = align_up(layout->arena + arena_bytes, ARENA_ALIGN);
    return 0;
}

int far_local_slots(uint32_t arena_bytes, uint32_t slot_bytes)
{
    if (slot_bytes == 0)
        return arena_bytes == 0 ? 0 : -EINVAL;
    if (slot_bytes % 64 != 0 || slot_bytes > FAR_OP_PAYLOAD_MAX ||
        arena_bytes == 0 || arena_bytes % slot_bytes != 0 ||
        arena_bytes / slot_bytes > FAR_OP_SLOTS_MAX)
        return -EINVAL;
    return (int)(arena_bytes / slot_bytes);
}

static int map(struct far_local_shm *shm, const struct far_local_layout *layout,
               uint32_t down_entries, uint32_t up_entries, uint32_t arena_bytes)
{
    uint8_t *base;
    int rc;

    shm->memory = mmap(NULL, layout->total_bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED, shm->memfd, 0);
    if (shm->memory == MAP_FAILED) {
        shm->memory = NULL;
        return -errno;
    }
    shm->bytes = layout->total_bytes;
    base = shm->memory;
    shm->header = (struct far_local_header *)(void *)base;
    rc = far_shring_init(&shm->down, base + layout->down, down_entries);
    if (rc == 0)
        rc = far_shring_init(&shm->up, base + layout->up, up_entries);
    shm->arena = arena_bytes ? base + layout->arena : NULL;
    shm->arena_bytes = arena_bytes;
    return rc;
}

int far_local_shm_create(struct far_local_shm *shm, uint32_t down_entries,
                         uint32_t up_entries, uint32_t arena_bytes)
{
    struct far_local_layout layout;
    int rc = far_local_layout(&layout, down_entries, up_entries, arena_bytes);
    int ends[2];

    *shm = (struct far_local_shm){
        .memfd = -1, .to_server = -1, .to_server_read = -1, .to_client = -1
    };
    if (rc < 0)
        return rc;
    shm->memfd =
        memfd_create("farside-attachment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (shm->memfd < 0 ||
        ftruncate(shm->memfd, (off_t)layout.total_bytes) < 0 ||
        fcntl(shm->memfd, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        goto fail;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        goto fail;
    shm->to_server_read = ends[0];
    shm->to_server = ends[1];
    shm->to_client = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (shm->to_client < 0)
        goto fail;
    rc = map(shm, &layout, down_entries, up_entries, arena_bytes);
    if (rc < 0)
        far_local_shm_close(shm);
    return rc;
fail:
    rc = -errno;
    far_local_shm_close(shm);
    return rc;
}

/* Without the seal against shrinking the peer could cut the file under our
 * mapping, and our next look would be a SIGBUS. */
static int check_memfd(int memfd, size_t bytes)
{
    struct stat st;
    int seals = fcntl(memfd, F_GET_SEALS);

    if (seals < 0)
        return -errno;
    if ((seals & F_SEAL_SHRINK) == 0)
        return -EPERM;
    if (fstat(memfd, &st) < 0)
        return -errno;
    if (st.st_size < 0 || (size_t)st.st_size < bytes)
        return -EMSGSIZE;
    return 0;
}

/* A wake-up must never block, nor be an ordinary file: a pipe, or an eventfd,
 * which has no type, as all anonymous inodes. */
static int check_wake(int fd, mode_t type, int access)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_mode & S_IFMT) != type || (flags & O_ACCMODE) != access ||
        (flags & O_NONBLOCK) == 0)
        return -EINVAL;
    return 0;
}

int far_local_shm_open(struct far_local_shm *shm, int memfd, int to_server,
                       int to_client, uint32_t down_entries,
                       uint32_t up_entries, uint32_t arena_bytes)
{
    struct far_local_layout layout;
    int rc = far_local_layout(&layout, down_entries, up_entries, arena_bytes);

    *shm = (struct far_local_shm){ .memfd = memfd,
                                   .to_server = to_server,
                                   .to_server_read = -1,
                                   .to_client = to_client };
    if (rc == 0)
        rc = check_memfd(memfd, layout.total_bytes);
    if (rc == 0)
        rc = check_wake(to_server, S_IFIFO, O_RDONLY);
    if (rc == 0)
        rc = check_wake(to_client, 0, O_RDWR);
    if (rc == 0)
        rc = map(shm, &layout, down_entries, up_entries, arena_bytes);
    if (rc < 0)
        far_local_shm_close(shm);
    return rc;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void far_local_shm_close(struct far_local_shm *shm)
{
    if (shm->memory)
        munmap(shm->memory, shm->bytes);
    shm->memory = NULL;
    shm->header = NULL;
    shm->arena = NULL;
    shm->down = (struct far_shring){ .broken = true };
    shm->up = shm->down;
    close_fd(&shm->memfd);
    close_fd(&shm->to_server);
    close_fd(&shm->to_server_read);
    close_fd(&shm->to_client);
}

int far_local_shm_move_arena(struct far_local_shm *shm, void *at)
{
    size_t before = (size_t)(shm->arena - (uint8_t *)shm->memory);

    /* A mapping that can't be moved for want of memory stays, and so does what
     * is there: that is found out before anything is unmapped. */
    if (mremap(shm->arena, shm->bytes - before, shm->bytes - before,
               MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
        return -errno;
    shm->arena = at;
    shm->bytes = before;
    return 0;
}

void far_local_wake_server(const struct far_local_shm *shm)
{
    ssize_t n = write(shm->to_server, "", 1);

    (void)n; /* EAGAIN: it is awake already */
}

void far_local_woken(const struct far_local_shm *shm)
{
    char bytes[256];
    ssize_t n = read(shm->to_server, bytes, sizeof(bytes));

    (void)n; /* how often does not matter */
}

/* ---- packets ----------------------------------------------------------- */

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

int far_local_send(int fd, const void *message, const int *fds, unsigned nfds)
{
    uint32_t bytes;
    struct iovec iov = { .iov_base = (void *)(uintptr_t)message };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union control control = { .bytes = { 0 } };
    ssize_t n;

    if (nfds > FDS_MAX)
        return -EINVAL;
    memcpy(&bytes, (const char *)message + sizeof(uint32_t), sizeof(bytes));
    iov.iov_len = bytes;
    if (nfds > 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    do
        n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static void take_fds(struct msghdr *msg, int *fds, unsigned room, unsigned *n)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        size_t count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (*n < room)
                fds[(*n)++] = fd;
            else
                close(fd);
        }
    }
}

int far_local_receive(int fd, void *message, size_t room, int *fds,
                      unsigned *nfds)
{
    struct iovec iov = { .iov_base = message, .iov_len = room };
    union control control;
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    unsigned fds_room = fds && nfds ? *nfds : 0, got = 0;
    ssize_t n;
    int rc;

    if (nfds)
        *nfds = 0;
    do
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    take_fds(&msg, fds, fds_room, &got);
    if (n == 0)
        rc = 0;
    else if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
        rc = -EMSGSIZE;
    else if (!far_local_valid(message, (size_t)n))
        rc = -EBADMSG;
    else
        rc = (int)n;
    if (rc <= 0)
        while (got > 0)
            close(fds[--got]);
    if (nfds)
        *nfds = got;
    return rc;
}

/* ---- judging ----------------------------------------------------------- */

static bool ends(const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes) != NULL;
}

static bool name_or_empty(const char name[FAR_NAME_BYTES])
{
    return ends(name, FAR_NAME_BYTES) && (!*name || far_name_valid(name));
}

static bool who_valid(const struct far_local_who *who)
{
    return who->attachment != 0 && ends(who->guest_name, FAR_NAME_BYTES) &&
           name_or_empty(who->platform) && name_or_empty(who->standby) &&
           ends(who->device, FAR_NAME_BYTES) && far_name_valid(who->device);
}

/* The known part of a message of that type; 0: unknown type. FEED ends with as
 * many events as it says. */
static size_t known_bytes(uint32_t type)
{
    switch (type) {
    case FAR_LOCAL_HELLO:
        return sizeof(struct far_local_hello);
    case FAR_LOCAL_PREPARE:
        return sizeof(struct far_local_prepare);
    case FAR_LOCAL_PREPARED:
        return sizeof(struct far_local_prepared);
    case FAR_LOCAL_ACTIVATE:
        return sizeof(struct far_local_activate);
    case FAR_LOCAL_ACTIVATED:
        return sizeof(struct far_local_activated);
    case FAR_LOCAL_STATE:
        return sizeof(struct far_local_state);
    case FAR_LOCAL_ACK:
    case FAR_LOCAL_DETACH:
        return sizeof(struct far_local_detach);
    case FAR_LOCAL_FEED:
        return offsetof(struct far_local_feed, events);
    case FAR_LOCAL_GUESTS:
        return sizeof(struct far_local_guests);
    case FAR_LOCAL_NOTIFY:
        return offsetof(struct far_local_notify, relay);
    case FAR_LOCAL_NOTIFIED:
        return sizeof(struct far_local_notified);
    case FAR_LOCAL_ALIVE:
        return sizeof(struct far_local_alive);
    default:
        return 0;
    }
}

bool far_local_valid(const void *message, size_t bytes)
{
    /* A copy of the known part: the caller's buffer need not be aligned. */
    union {
        struct {
            uint32_t type, bytes;
        } head;
        struct far_local_hello hello;
        struct far_local_prepare prepare;
        struct far_local_prepared prepared;
        struct far_local_activate activate;
        struct far_local_activated activated;
        struct far_local_state state;
        struct far_local_detach detach;
        struct far_local_guests guests;
        struct far_local_notify notify;
        struct far_local_notified notified;
        struct far_local_alive alive;
        uint8_t feed[offsetof(struct far_local_feed, events)];
    } m;
    size_t known;
    uint32_t count;

    if (bytes < sizeof(m.head) || bytes > FAR_LOCAL_BYTES_MAX)
        return false;
    memcpy(&m.head, message, sizeof(m.head));
    if (m.head.bytes != bytes)
        return false;
    known = known_bytes(m.head.type);
    if (known == 0)
        return true;
    if (bytes < known)
        return false;
    if (m.head.type == FAR_LOCAL_NOTIFY) {
        memset(&m.notify, 0, sizeof(m.notify));
        known = bytes < sizeof(m.notify) ? bytes : sizeof(m.notify);
    }
    memcpy(&m, message, known);
    switch (m.head.type) {
    case FAR_LOCAL_HELLO:
        return m.hello.magic == FAR_LOCAL_MAGIC &&
               name_or_empty(m.hello.platform);
    case FAR_LOCAL_PREPARE:
        return who_valid(&m.prepare.who);
    case FAR_LOCAL_PREPARED:
        return m.prepared.attachment != 0 && m.prepared.status <= 0 &&
               ends(m.prepared.reason, sizeof(m.prepared.reason));
    case FAR_LOCAL_ACTIVATE:
        return m.activate.attachment != 0;
    case FAR_LOCAL_ACTIVATED:
        return m.activated.attachment != 0 && m.activated.status <= 0 &&
               ends(m.activated.reason, sizeof(m.activated.reason));
    case FAR_LOCAL_STATE:
        return m.state.attachment != 0 && m.state.state <= FAR_DEVICE_READY &&
               ends(m.state.reason, sizeof(m.state.reason));
    case FAR_LOCAL_ACK:
    case FAR_LOCAL_DETACH:
        return m.detach.attachment != 0;
    case FAR_LOCAL_FEED:
        memcpy(&count, m.feed + offsetof(struct far_local_feed, count),
               sizeof(count));
        return name_or_empty((const char *)m.feed +
                             offsetof(struct far_local_feed, device)) &&
               count <= FAR_LOCAL_FEED_EVENTS_MAX &&
               bytes >= known + count * sizeof(struct far_input_event);
    case FAR_LOCAL_GUESTS:
    case FAR_LOCAL_ALIVE:
        return true;
    case FAR_LOCAL_NOTIFY:
        return m.notify.id && m.notify.sequence &&
               ends(m.notify.platform, FAR_NAME_BYTES) &&
               far_name_valid(m.notify.platform) &&
               ends(m.notify.device, FAR_NAME_BYTES) &&
               far_name_valid(m.notify.device) &&
               ends(m.notify.guest_name, FAR_NAME_BYTES) &&
               name_or_empty(m.notify.relay) &&
               FAR_OPCODE_IS_INTERRUPT(m.notify.op.opcode) &&
               !m.notify.op.payload_bytes;
    case FAR_LOCAL_NOTIFIED:
        return m.notified.id && m.notified.status <= 0 &&
               ends(m.notified.reason, sizeof(m.notified.reason));
    default:
        return false;
    }
}
