/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See nbd.h. The protocol is NBD's (fixed newstyle, simple replies); here is
 * what lies between it and blkif: a request that is larger than the pages of a
 * blkif request goes as several, in pages of the frontend's. While the backend
 * is away, requests wait. A client that breaks the protocol loses its
 * connection, and nothing else.
 */
#include "frontend/nbd.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <xen/io/blkif.h>
#include "core/loop.h"
#include "frontend/blk.h"
#include "xenbus/xs.h"

#define CLIENTS    8u
#define REQUESTS   32u         /* of a client, at once */
#define BYTES_MAX  (32u << 20) /* of a request: what every server takes */
#define TRIM_BYTES (1u << 20)  /* of memory that a request leaves */
#define OPTION_MAX 8192u       /* of an option's data: a name has 4096 */

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* --- NBD's numbers --- */

#define MAGIC_SERVER  0x4e42444d41474943ull
#define MAGIC_OPTION  0x49484156454f5054ull
#define MAGIC_ANSWER  0x0003e889045565a9ull
#define MAGIC_REQUEST 0x25609513u
#define MAGIC_REPLY   0x67446698u

enum { OPT_EXPORT_NAME = 1, OPT_ABORT, OPT_LIST, OPT_INFO = 6, OPT_GO };
enum { REP_ACK = 1, REP_SERVER, REP_INFO };
#define REP_UNSUPPORTED 0x80000001u
enum { INFO_EXPORT = 0, INFO_BLOCK_SIZE = 3 };
enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM };
enum {
    HAS_FLAGS = 1,
    READ_ONLY = 2,
    SEND_FLUSH = 4,
    SEND_FUA = 8,
    SEND_TRIM = 32,
    MULTI_CONN = 256,
};
#define CMD_FLAG_FUA   1u
#define FIXED_NEWSTYLE 1u
#define NO_ZEROES      2u
/* Its errors have Linux's numbers. */

struct request_header {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t bytes;
} __attribute__((packed));
static_assert(sizeof(struct request_header) == 28, "");

struct reply_header {
    uint32_t magic, error;
    uint64_t cookie;
} __attribute__((packed));
static_assert(sizeof(struct reply_header) == 16, "");

struct option_header {
    uint64_t magic;
    uint32_t option, bytes;
} __attribute__((packed));
static_assert(sizeof(struct option_header) == 16, "");

struct option_answer {
    uint64_t magic;
    uint32_t option, type, bytes;
} __attribute__((packed));
static_assert(sizeof(struct option_answer) == 20, "");

/* --- */

struct client;

struct request {
    struct client *client; /* NULL: it has gone */
    bool busy;
    uint8_t op; /* of blkif */
    bool then_flush, flushing;
    uint64_t cookie, offset;
    uint32_t bytes;
    uint32_t given; /* so much went into blkif's requests */
    unsigned under_way;
    uint32_t error;
    uint8_t *memory;      /* BYTES_MAX */
    struct request *next; /* of those to be given, or replied to */
};

struct queue {
    struct request *first, **last;
};

/* What is read next. */
enum phase { FLAGS, OPTION, OPTION_DATA, REQUEST, PAYLOAD };

struct client {
    struct export *export; /* NULL: free */
    struct far_io io;
    struct far_defer send;
    enum phase phase;
    bool no_zeroes, ends; /* ends: when all is sent */
    struct option_header option;
    struct request *incoming;
    uint8_t in[OPTION_MAX];
    uint32_t wanted, got;
    uint8_t out[16384]; /* answers to options; a reply's header */
    uint32_t out_bytes, out_sent;
    struct request *replying; /* its data follow */
    uint32_t replied;
    struct queue replies;
    struct request requests[REQUESTS];
};

struct export
{
    const struct far_nbd_options *options;
    struct far_loop *loop;
    struct far_blk *blk;
    bool connected;
    int status;
    struct far_io listener;
    struct queue waiting; /* for slots, or the backend */
    struct far_defer pump;
    struct {
        struct request *request;
        uint32_t at, bytes;
    } slots[FAR_BLK_SLOTS_MAX];
    struct client clients[CLIENTS];
};

static struct far_loop *to_stop;

static void put(struct queue *q, struct request *r)
{
    r->next = NULL;
    *q->last = r;
    q->last = &r->next;
}

static struct request *get(struct queue *q)
{
    struct request *r = q->first;

    if (!r)
        return NULL;
    q->first = r->next;
    if (!q->first)
        q->last = &q->first;
    return r;
}

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

/* --- towards the backend --- */

static void pump_run(struct far_defer *defer);
static void send_run(struct far_defer *defer);
static void listen_to(struct client *c);
static void begin_listening(struct export *e);

static void release(struct request *r)
{
    if (r->bytes > TRIM_BYTES)
        (void)madvise(r->memory, BYTES_MAX, MADV_DONTNEED);
    r->busy = false;
}

static void over(struct export *e, struct request *r)
{
    if (!r->error && r->then_flush && !r->flushing) {
        r->flushing = true;
        r->op = BLKIF_OP_FLUSH_DISKCACHE;
        put(&e->waiting, r);
        far_defer(e->loop, &e->pump, pump_run);
    } else if (!r->client) {
        release(r);
    } else {
        put(&r->client->replies, r);
        far_defer(e->loop, &r->client->send, send_run);
    }
}

static bool has_data(const struct request *r)
{
    return r->op == BLKIF_OP_READ || r->op == BLKIF_OP_WRITE;
}

/* False: there is no slot. */
static bool give_part(struct export *e, struct request *r)
{
    const struct far_blk_info *info = far_blk_info(e->blk);
    uint32_t most = info->segments * 4096u, part = r->bytes - r->given;
    int slot = far_blk_take(e->blk);

    if (slot < 0)
        return false;
    if (!has_data(r))
        part = r->op == BLKIF_OP_DISCARD ? r->bytes : 0;
    else if (part > most)
        part = most;
    e->slots[slot].request = r;
    e->slots[slot].at = r->given;
    e->slots[slot].bytes = part;
    if (r->op == BLKIF_OP_WRITE)
        memcpy(far_blk_memory(e->blk, (unsigned)slot), r->memory + r->given,
               part);
    r->given = has_data(r) ? r->given + part : r->bytes;
    r->under_way++;
    /* can't fail: it was judged when it came */
    (void)far_blk_submit(
        e->blk, (unsigned)slot, r->op,
        r->op == BLKIF_OP_FLUSH_DISKCACHE ? 0 : r->offset + e->slots[slot].at,
        part, false);
    return true;
}

static void pump_run(struct far_defer *defer)
{
    struct export *e = CONTAINER(struct export, pump, defer);

    while (e->connected && e->waiting.first) {
        struct request *r = e->waiting.first;

        if (!give_part(e, r))
            return;
        if (r->given == r->bytes)
            (void)get(&e->waiting);
    }
}

static bool is_waiting(const struct export *e, const struct request *r)
{
    return e->waiting.first == r;
}

static void on_done(void *arg, unsigned slot, int16_t status)
{
    struct export *e = arg;
    struct request *r = e->slots[slot].request;

    e->slots[slot].request = NULL;
    if (!r)
        return;
    if (status != BLKIF_RSP_OKAY)
        r->error = status == BLKIF_RSP_EOPNOTSUPP ? EINVAL : EIO;
    else if (r->op == BLKIF_OP_READ)
        memcpy(r->memory + e->slots[slot].at, far_blk_memory(e->blk, slot),
               e->slots[slot].bytes);
    far_defer(e->loop, &e->pump, pump_run);
    if (!--r->under_way && !is_waiting(e, r))
        over(e, r);
}

static void on_state(void *arg, enum far_blk_state state, const char *why)
{
    struct export *e = arg;

    e->connected = state == FAR_BLK_CONNECTED;
    if (state == FAR_BLK_GONE) {
        e->options->say("vbd/%u is gone%s%s", e->options->devid,
                        why ? ": " : "", why ? why : "");
        e->status = -ENODEV;
        far_loop_stop(e->loop);
        return;
    }
    if (e->connected && e->listener.fd < 0)
        begin_listening(e);
    far_defer(e->loop, &e->pump, pump_run);
}

/* --- what goes to a client --- */

/* Its requests may still be at the backend: they end without it. */
static void drop_client(struct client *c)
{
    struct request *r;
    int fd = c->io.fd;

    far_io_del(&c->io);
    far_defer_cancel(c->export->loop, &c->send);
    close(fd);
    while ((r = get(&c->replies)) != NULL)
        release(r);
    if (c->replying)
        release(c->replying);
    if (c->incoming)
        release(c->incoming);
    c->replying = c->incoming = NULL;
    for (unsigned i = 0; i < REQUESTS; i++)
        c->requests[i].client = NULL;
    c->export = NULL;
}

static bool is_idle(const struct client *c)
{
    for (unsigned i = 0; i < REQUESTS; i++)
        if (c->requests[i].busy)
            return false;
    return true;
}

/* The next reply's header, where the last one has left. */
static bool next_reply(struct client *c)
{
    struct request *r = get(&c->replies);
    struct reply_header header;

    if (!r)
        return false;
    header = (struct reply_header){ .magic = htobe32(MAGIC_REPLY),
                                    .error = htobe32(r->error),
                                    .cookie = r->cookie };
    memcpy(c->out, &header, sizeof(header));
    c->out_bytes = sizeof(header);
    c->out_sent = 0;
    c->replying = r;
    c->replied = r->op == BLKIF_OP_READ && !r->error ? 0 : r->bytes;
    return true;
}

/* 1: all is sent; 0: the socket is full; -1: it is lost. */
static int send_some(struct client *c, const uint8_t *from, uint32_t bytes,
                     uint32_t *sent)
{
    while (*sent < bytes) {
        ssize_t n = send(c->io.fd, from + *sent, bytes - *sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        *sent += (uint32_t)n;
    }
    return 1;
}

static void send_out(struct client *c)
{
    int r;

    do {
        r = send_some(c, c->out, c->out_bytes, &c->out_sent);
        if (r > 0 && c->replying)
            r = send_some(c, c->replying->memory, c->replying->bytes,
                          &c->replied);
        if (r > 0 && c->replying) {
            release(c->replying);
            c->replying = NULL;
        }
        if (r > 0)
            c->out_bytes = c->out_sent = 0;
    } while (r > 0 && next_reply(c));
    if (r < 0 || (r > 0 && c->ends && is_idle(c)))
        drop_client(c);
    else
        listen_to(c);
}

/* At the end of a turn: nobody works on the client then. */
static void send_run(struct far_defer *defer)
{
    send_out(CONTAINER(struct client, send, defer));
}

static void answer_option(struct client *c, uint32_t type, const void *data,
                          uint32_t bytes)
{
    struct option_answer a = { .magic = htobe64(MAGIC_ANSWER),
                               .option = htobe32(c->option.option),
                               .type = htobe32(type),
                               .bytes = htobe32(bytes) };

    if (sizeof(c->out) - c->out_bytes < sizeof(a) + bytes) {
        c->ends = true; /* who asks so much and reads nothing */
        return;
    }
    memcpy(c->out + c->out_bytes, &a, sizeof(a));
    if (bytes)
        memcpy(c->out + c->out_bytes + sizeof(a), data, bytes);
    c->out_bytes += (uint32_t)sizeof(a) + bytes;
}

/* --- what comes from one --- */

static void want(struct client *c, enum phase phase, uint32_t bytes)
{
    c->phase = phase;
    c->wanted = bytes;
    c->got = 0;
}

static uint16_t export_flags(const struct export *e)
{
    const struct far_blk_info *info = far_blk_info(e->blk);

    return (uint16_t)(HAS_FLAGS | MULTI_CONN |
                      (info->read_only ? READ_ONLY : 0) |
                      (info->flush ? SEND_FLUSH | SEND_FUA : 0) |
                      (info->discard ? SEND_TRIM : 0));
}

static uint64_t size_of(const struct export *e)
{
    return far_blk_info(e->blk)->sectors * 512;
}

static void take_over(struct client *c)
{
    want(c, REQUEST, sizeof(struct request_header));
}

static void export_name(struct client *c)
{
    struct {
        uint64_t size;
        uint16_t flags;
        uint8_t zeroes[124];
    } __attribute__((packed)) answer = {
        .size = htobe64(size_of(c->export)),
        .flags = htobe16(export_flags(c->export)),
    };
    uint32_t bytes = c->no_zeroes ? 10 : (uint32_t)sizeof(answer);

    if (sizeof(c->out) - c->out_bytes < bytes) {
        c->ends = true;
        return;
    }
    memcpy(c->out + c->out_bytes, &answer, bytes);
    c->out_bytes += bytes;
    take_over(c);
}

/* The name does not matter: there is one export. */
static void info_or_go(struct client *c)
{
    struct {
        uint16_t type;
        uint64_t size;
        uint16_t flags;
    } __attribute__((packed)) disk = {
        .type = htobe16(INFO_EXPORT),
        .size = htobe64(size_of(c->export)),
        .flags = htobe16(export_flags(c->export)),
    };
    struct {
        uint16_t type;
        uint32_t least, best, most;
    } __attribute__((packed)) blocks = {
        .type = htobe16(INFO_BLOCK_SIZE),
        .least = htobe32(far_blk_info(c->export->blk)->sector_bytes),
        .best = htobe32(4096),
        .most = htobe32(BYTES_MAX),
    };

    answer_option(c, REP_INFO, &disk, sizeof(disk));
    answer_option(c, REP_INFO, &blocks, sizeof(blocks));
    answer_option(c, REP_ACK, NULL, 0);
    if (c->option.option == OPT_GO)
        take_over(c);
}

static void on_option(struct client *c)
{
    static const uint32_t no_name;

    want(c, OPTION, sizeof(c->option));
    switch (c->option.option) {
    case OPT_EXPORT_NAME:
        export_name(c);
        break;
    case OPT_ABORT:
        answer_option(c, REP_ACK, NULL, 0);
        c->ends = true;
        break;
    case OPT_LIST:
        answer_option(c, REP_SERVER, &no_name, sizeof(no_name));
        answer_option(c, REP_ACK, NULL, 0);
        break;
    case OPT_INFO:
    case OPT_GO:
        info_or_go(c);
        break;
    default:
        answer_option(c, REP_UNSUPPORTED, NULL, 0);
    }
}

/* What may be done with it: 0 or NBD's error. */
static uint32_t judge(const struct export *e, const struct request *r,
                      uint16_t type)
{
    const struct far_blk_info *info = far_blk_info(e->blk);
    uint64_t size = size_of(e);

    if (type > CMD_TRIM || (type == CMD_FLUSH && !info->flush) ||
        (type == CMD_TRIM && !info->discard) || (r->then_flush && !info->flush))
        return EINVAL;
    if ((type == CMD_WRITE || type == CMD_TRIM) && info->read_only)
        return EPERM;
    if (type == CMD_FLUSH)
        return 0;
    if (r->offset > size || r->bytes > size - r->offset)
        return type == CMD_WRITE ? ENOSPC : EINVAL;
    return r->bytes && r->offset % info->sector_bytes == 0 &&
                   r->bytes % info->sector_bytes == 0
               ? 0
               : EINVAL;
}

static void submit(struct export *e, struct request *r)
{
    if (r->error) {
        over(e, r);
        return;
    }
    put(&e->waiting, r);
    far_defer(e->loop, &e->pump, pump_run);
}

/* REQUESTS: none. */
static unsigned free_request(const struct client *c)
{
    unsigned i = 0;

    while (i < REQUESTS && c->requests[i].busy)
        i++;
    return i;
}

/* False: the client is at fault. */
static bool on_request(struct client *c)
{
    static const uint8_t ops[] = {
        [CMD_READ] = BLKIF_OP_READ,
        [CMD_WRITE] = BLKIF_OP_WRITE,
        [CMD_FLUSH] = BLKIF_OP_FLUSH_DISKCACHE,
        [CMD_TRIM] = BLKIF_OP_DISCARD,
    };
    struct request *r = &c->requests[free_request(c)]; /* may_read() */
    struct request_header h;
    uint16_t type;

    memcpy(&h, c->in, sizeof(h));
    type = be16toh(h.type);
    if (be32toh(h.magic) != MAGIC_REQUEST)
        return false;
    if (type == CMD_DISC) {
        c->ends = true;
        return true;
    }
    *r =
        (struct request){ .client = c,
                          .busy = true,
                          .op = type <= CMD_TRIM ? ops[type] : BLKIF_OP_READ,
                          .then_flush = type != CMD_READ && type != CMD_FLUSH &&
                                        be16toh(h.flags) & CMD_FLAG_FUA,
                          .cookie = h.cookie,
                          .offset = be64toh(h.offset),
                          .bytes = be32toh(h.bytes),
                          .memory = r->memory };
    if ((type == CMD_READ || type == CMD_WRITE) && r->bytes > BYTES_MAX) {
        r->busy = false;
        return false;
    }
    r->error = judge(c->export, r, type);
    if (type == CMD_FLUSH)
        r->bytes = 0;
    take_over(c);
    if (type != CMD_WRITE || !r->bytes) {
        submit(c->export, r);
        return true;
    }
    c->incoming = r;
    want(c, PAYLOAD, r->bytes);
    return true;
}

static bool on_flags(struct client *c)
{
    uint32_t flags;

    memcpy(&flags, c->in, sizeof(flags));
    flags = be32toh(flags);
    c->no_zeroes = flags & NO_ZEROES;
    want(c, OPTION, sizeof(c->option));
    return flags & FIXED_NEWSTYLE && !(flags & ~(FIXED_NEWSTYLE | NO_ZEROES));
}

static bool on_option_header(struct client *c)
{
    memcpy(&c->option, c->in, sizeof(c->option));
    c->option.option = be32toh(c->option.option);
    c->option.bytes = be32toh(c->option.bytes);
    if (be64toh(c->option.magic) != MAGIC_OPTION ||
        c->option.bytes > OPTION_MAX)
        return false;
    if (!c->option.bytes)
        on_option(c);
    else
        want(c, OPTION_DATA, c->option.bytes);
    return true;
}

/* All that was wanted is there. */
static bool came(struct client *c)
{
    struct request *r = c->incoming;

    switch (c->phase) {
    case FLAGS:
        return on_flags(c);
    case OPTION:
        return on_option_header(c);
    case OPTION_DATA:
        on_option(c);
        return true;
    case REQUEST:
        return on_request(c);
    default:
        c->incoming = NULL;
        take_over(c);
        submit(c->export, r);
        return true;
    }
}

/* Who does not read his answers, or has all his requests under way, waits. */
static bool may_read(const struct client *c)
{
    return !c->ends &&
           (c->phase == PAYLOAD ||
            (c->phase == REQUEST ? free_request(c) < REQUESTS
                                 : sizeof(c->out) - c->out_bytes > 1024));
}

static void listen_to(struct client *c)
{
    bool sends = c->replying || c->out_sent < c->out_bytes;

    (void)far_io_set(&c->io, (may_read(c) ? (uint32_t)EPOLLIN : 0) |
                                 (sends ? (uint32_t)EPOLLOUT : 0));
}

/* False: it has gone, or is at fault. */
static bool receive(struct client *c)
{
    while (may_read(c)) {
        uint8_t *to = c->phase == PAYLOAD ? c->incoming->memory : c->in;
        ssize_t n =
            recv(c->io.fd, to + c->got, c->wanted - c->got, MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        c->got += (uint32_t)n;
        if (c->got == c->wanted && !came(c))
            return false;
    }
    return true;
}

static void on_client(struct far_io *io, uint32_t events)
{
    struct client *c = CONTAINER(struct client, io, io);

    /* one that has hung up wants no answer */
    if (events & (EPOLLHUP | EPOLLERR) || !receive(c))
        drop_client(c);
    else
        far_defer(c->export->loop, &c->send, send_run);
}

/* --- clients come --- */

static bool has_memory(struct client *c)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &c->requests[i];

        if (!r->memory)
            r->memory =
                mmap(NULL, BYTES_MAX, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (r->memory == MAP_FAILED)
            return r->memory = NULL, false;
    }
    return true;
}

/* What a client that has gone left at the backend must be over. */
static struct client *free_client(struct export *e)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (!e->clients[i].export && is_idle(&e->clients[i]))
            return &e->clients[i];
    return NULL;
}

static void on_arrival(struct far_io *io, uint32_t events)
{
    struct export *e = CONTAINER(struct export, listener, io);
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *c = free_client(e);
    struct {
        uint64_t magic, option;
        uint16_t flags;
    } __attribute__((packed))
    hello = { .magic = htobe64(MAGIC_SERVER),
              .option = htobe64(MAGIC_OPTION),
              .flags = htobe16(FIXED_NEWSTYLE | NO_ZEROES) };

    (void)events;
    if (fd < 0)
        return;
    if (!c || !has_memory(c) ||
        far_io_add(e->loop, &c->io, fd, EPOLLIN, on_client)) {
        close(fd);
        return;
    }
    c->export = e;
    c->ends = c->no_zeroes = false;
    queue_init(&c->replies);
    memcpy(c->out, &hello, sizeof(hello));
    c->out_bytes = sizeof(hello);
    c->out_sent = 0;
    want(c, FLAGS, sizeof(uint32_t));
    far_defer(e->loop, &c->send, send_run);
}

/* From when the size is known. */
static void begin_listening(struct export *e)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = e->options->path;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0177); /* whoever has the disk may let others have it */
    int r = 0;

    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
        listen(fd, 8))
        r = -errno;
    umask(mask);
    if (!r)
        r = far_io_add(e->loop, &e->listener, fd, EPOLLIN, on_arrival);
    if (!r) {
        e->options->ready();
        return;
    }
    e->options->say("%s: %s", path, strerror(-r));
    if (fd >= 0)
        close(fd);
    e->status = r;
    far_loop_stop(e->loop);
}

/* --- */

static void end(struct export *e)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (e->clients[i].export)
            drop_client(&e->clients[i]);
    if (e->listener.fd >= 0) {
        int fd = e->listener.fd;

        far_io_del(&e->listener);
        close(fd);
        unlink(e->options->path);
    }
    far_defer_cancel(e->loop, &e->pump);
    if (e->blk)
        far_blk_close(e->blk);
}

int far_nbd_export(const struct far_nbd_options *options)
{
    static const struct far_blk_options disk = { .queues = 1,
                                                 .ring_order = 2,
                                                 .slots = 64,
                                                 .segments = 32,
                                                 .persistent = true };
    static const struct far_blk_hooks hooks = { on_state, on_done };
    static struct export export;
    struct export *e = &export;
    struct far_xs *xs;

    if (strlen(options->path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        options->say("%s: too long for a socket's name", options->path);
        return -ENAMETOOLONG;
    }
    e->options = options;
    e->listener.fd = -1;
    queue_init(&e->waiting);
    e->loop = far_loop_new();
    xs = e->loop ? far_xs_open(e->loop, NULL, NULL) : NULL;
    if (!xs) {
        options->say("xenstore can't be reached: %s (is this a Xen guest, with "
                     "/dev/xen/xenbus?)",
                     strerror(errno));
        far_loop_free(e->loop);
        return -ENOTCONN;
    }
    to_stop = e->loop;
    e->blk = far_blk_open(e->loop, xs, options->devid, &disk, &hooks, e);
    if (!e->blk) {
        e->status = -errno;
        options->say("vbd/%u can't be opened: %s", options->devid,
                     strerror(errno));
    } else {
        int r = far_loop_run(e->loop);

        if (r && !e->status)
            e->status = r;
    }
    end(e);
    to_stop = NULL;
    far_xs_close(xs);
    far_loop_free(e->loop);
    return e->status;
}

void far_nbd_stop(void)
{
    if (to_stop)
        far_loop_stop(to_stop);
}
