/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-nbd: serves a disk of an NBD server (nbdkit, qemu-nbd with whatever
 * QEMU can open) as an outside device, in a process of its own. libnbd talks to
 * the server, libfarside-device to Farside; here is what lies between, and what
 * a lost connection means.
 *
 * What the server had answered and not flushed may be gone with it: the disk
 * has another incarnation then, and whoever wrote keeps copies. What it had not
 * answered it may still do, at any time: NBD has no fence. So after a loss with
 * writes under way the disk fails, unless --fenced says that this server is
 * known to end a connection's requests before it takes the next one.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <libnbd.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "core/clock.h"
#include "devices/farside-device.h"

#define REQUESTS  1024u
#define AGAIN_US  200000u
#define DETACH_MS 5000

struct program;

struct request {
    struct program *program;
    struct far_outside_user *user;
    struct far_outside_op op;
    void *payload;
    bool busy, given, writes;
    bool then_flush; /* what FUA means, where the server has none */
    bool flushing;   /* it has come to that */
    bool ended;      /* the server has answered: `status` */
    int status;
    uint64_t order;
};

struct program {
    const char *uri;
    bool fenced, read_only;
    bool failed; /* for good */
    struct far_outside *outside;
    struct nbd_handle *nbd; /* NULL: not connected */
    bool fua;
    struct far_block_props props;
    uint64_t again_us, order;
    sigset_t waiting; /* what is blocked while it waits, and not else */
    struct request requests[REQUESTS];
};

static volatile sig_atomic_t ends;

static void on_signal(int number)
{
    (void)number;
    ends = 1;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "farside-nbd: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* ---- answers ---- */

static void answer(struct request *r, int status)
{
    r->busy = r->given = false;
    r->op.status = status;
    if (status || r->op.opcode != FAR_BLOCK_READ)
        r->op.payload_bytes = 0;
    if (r->user)
        far_outside_complete(r->user, &r->op);
}

/* From within libnbd, which must not be called now. */
static int done(void *arg, int *error)
{
    struct request *r = arg;

    r->ended = true;
    r->status = -*error;
    return 1;
}

/* libnbd's words for a connection that has ended, not the server's. */
static bool says_lost(int status)
{
    return status == -ENOTCONN || status == -ESHUTDOWN ||
           status == -ECONNRESET || status == -EPIPE;
}

static void give(struct request *r)
{
    struct program *p = r->program;
    nbd_completion_callback callback = { .callback = done, .user_data = r };
    struct far_block_args a;
    int64_t cookie;

    memcpy(&a, r->op.args, sizeof(a));
    r->given = true;
    switch (r->flushing ? FAR_BLOCK_FLUSH : r->op.opcode) {
    case FAR_BLOCK_READ:
        cookie = nbd_aio_pread(p->nbd, r->payload, r->op.payload_bytes,
                               a.offset_bytes, callback, 0);
        break;
    case FAR_BLOCK_WRITE:
        cookie = nbd_aio_pwrite(
            p->nbd, r->payload, r->op.payload_bytes, a.offset_bytes, callback,
            a.flags & FAR_BLOCK_FUA && p->fua ? LIBNBD_CMD_FLAG_FUA : 0);
        break;
    case FAR_BLOCK_FLUSH:
        cookie = nbd_aio_flush(p->nbd, callback, 0);
        break;
    default:
        cookie = a.flags & FAR_BLOCK_ZERO
                     ? nbd_aio_zero(p->nbd, a.length_bytes, a.offset_bytes,
                                    callback, 0)
                     : nbd_aio_trim(p->nbd, a.length_bytes, a.offset_bytes,
                                    callback, 0);
    }
    /* One that can't be sent any more waits for the next connection. */
    if (cookie == -1) {
        r->given = false;
        if (!nbd_aio_is_dead(p->nbd) && !nbd_aio_is_closed(p->nbd))
            answer(r, -EIO);
    }
}

/* ---- the connection ---- */

static bool connect_once(struct program *p, char *why, size_t bytes)
{
    int64_t size, least;

    p->nbd = nbd_create();
    if (!p->nbd || nbd_connect_uri(p->nbd, p->uri) ||
        (size = nbd_get_size(p->nbd)) < 0) {
        snprintf(why, bytes, "%s: %s", p->uri, nbd_get_error());
        nbd_close(p->nbd);
        p->nbd = NULL;
        return false;
    }
    least = nbd_get_block_size(p->nbd, LIBNBD_SIZE_MINIMUM);
    p->props =
        (struct far_block_props){ .physical_bytes = 4096,
                                  .block_bytes = least > 512 ? 4096 : 512 };
    p->props.bytes = (uint64_t)size - (uint64_t)size % p->props.block_bytes;
    p->fua = nbd_can_fua(p->nbd) == 1;
    /* Without a flush nothing is ever known to be durable. */
    if (!p->read_only && nbd_is_read_only(p->nbd) == 0 &&
        nbd_can_flush(p->nbd) == 1)
        p->props.can = FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_FLUSH |
                       FAR_BLOCK_LOSES |
                       (nbd_can_trim(p->nbd) == 1 ? FAR_BLOCK_CAN_DISCARD : 0u);
    else if (!p->read_only && nbd_is_read_only(p->nbd) == 0)
        say("%s can't flush: nothing written there could be said to be "
            "durable; it is read only",
            p->uri);
    return true;
}

static struct request *next_held(struct program *p)
{
    struct request *first = NULL;

    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &p->requests[i];

        if (r->busy && !r->given && (!first || r->order < first->order))
            first = r;
    }
    return first;
}

static void give_held(struct program *p)
{
    struct request *r;

    while (p->nbd && !nbd_aio_is_dead(p->nbd) && !nbd_aio_is_closed(p->nbd) &&
           (r = next_held(p)) != NULL) {
        struct far_op op;
        int status;

        memcpy(&op, &r->op, sizeof(op));
        op.status = 0;
        status = far_block_check(&op, &p->props);
        if (status)
            answer(r, status);
        else
            give(r);
    }
}

static void try_connect(struct program *p)
{
    char why[400];

    if (p->nbd || p->failed || far_now_us() < p->again_us)
        return;
    if (!connect_once(p, why, sizeof(why))) {
        p->again_us = far_now_us() + AGAIN_US;
        far_outside_gone(p->outside, why);
        return;
    }
    far_outside_props(p->outside, &p->props, sizeof(p->props));
    far_outside_gone(p->outside, NULL);
    give_held(p);
}

/* Answered with an error, and all that comes: late writes may follow. */
static void fail(struct program *p)
{
    p->failed = true;
    say("%s: the connection was lost with writes under way, which the server "
        "may still do at any time: the disk fails from now on. Look at it, and "
        "start farside-nbd again; or say --fenced if this server ends a "
        "connection's requests before it takes the next one",
        p->uri);
    for (unsigned i = 0; i < REQUESTS; i++)
        if (p->requests[i].busy)
            answer(&p->requests[i], -EIO);
}

static void lost(struct program *p)
{
    bool late = false;

    say("%s: the connection is lost: %s", p->uri,
        nbd_get_error() ? nbd_get_error() : "the server closed it");
    for (unsigned i = 0; i < REQUESTS; i++)
        late |= p->requests[i].given && p->requests[i].writes;
    for (unsigned i = 0; i < REQUESTS; i++)
        p->requests[i].given = p->requests[i].ended = false;
    nbd_close(p->nbd);
    p->nbd = NULL;
    p->again_us = 0;
    if (late && !p->fenced) {
        far_outside_lost(p->outside);
        fail(p);
        return;
    }
    far_outside_gone(p->outside, "the connection to the NBD server is lost");
    /* What it had not flushed may be gone: those who wrote come again. */
    far_outside_lost(p->outside);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &p->requests[i];
        struct far_block_args a;

        memcpy(&a, r->op.args, sizeof(a));
        if (r->busy && a.incarnation)
            answer(r, FAR_BLOCK_STALE);
        else /* who names no incarnation has written nothing */
            r->flushing = false;
    }
}

static void take_answers(struct program *p)
{
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *r = &p->requests[i];

        if (!r->ended || says_lost(r->status))
            continue; /* lost() */
        r->ended = r->given = false;
        if (r->status || !r->then_flush || r->flushing)
            answer(r, r->status);
        else
            r->flushing = true; /* give_held() */
    }
}

static void step(struct program *p, short events)
{
    unsigned way = nbd_aio_get_direction(p->nbd);

    if (events & (POLLIN | POLLHUP | POLLERR) &&
        way & LIBNBD_AIO_DIRECTION_READ)
        (void)nbd_aio_notify_read(p->nbd);
    else if (events & POLLOUT && way & LIBNBD_AIO_DIRECTION_WRITE)
        (void)nbd_aio_notify_write(p->nbd);
    take_answers(p);
    give_held(p);
    if (nbd_aio_is_dead(p->nbd) || nbd_aio_is_closed(p->nbd))
        lost(p);
}

/* For the server, or (outside: its descriptor) for either, or for so long. */
static void wait_a_while(struct program *p, int outside, int ms)
{
    struct pollfd fds[2] = { { .fd = outside, .events = POLLIN },
                             { .fd = -1 } };
    struct timespec limit = { ms / 1000, ms % 1000 * 1000000L };

    if (p->nbd) {
        unsigned way = nbd_aio_get_direction(p->nbd);

        fds[1].fd = nbd_aio_get_fd(p->nbd);
        fds[1].events =
            (short)((way & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                    (way & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
    }
    /* a signal that came before it is seen, too */
    if (ppoll(fds, 2, ms < 0 ? NULL : &limit, &p->waiting) > 0 &&
        fds[1].revents)
        step(p, fds[1].revents);
}

/* ---- what Farside asks ---- */

static bool on_op(void *arg, struct far_outside_user *user,
                  struct far_outside_op *op, void *payload)
{
    struct program *p = arg;
    struct request *r = NULL;
    struct far_block_args a;
    struct far_op copy;

    memcpy(&copy, op, sizeof(copy));
    memcpy(&a, op->args, sizeof(a));
    /* before the first connection nobody knows what fits: give_held() */
    op->status = p->failed              ? -EIO
                 : p->props.block_bytes ? far_block_check(&copy, &p->props)
                                        : 0;
    for (unsigned i = 0; !r && i < REQUESTS; i++)
        if (!p->requests[i].busy)
            r = &p->requests[i];
    if (!op->status && !r)
        op->status = -EAGAIN;
    if (op->status) {
        op->payload_bytes = 0;
        return true;
    }
    *r = (struct request){ .program = p,
                           .user = user,
                           .op = *op,
                           .payload = payload,
                           .busy = true,
                           .order = ++p->order };
    r->writes =
        op->opcode == FAR_BLOCK_WRITE || op->opcode == FAR_BLOCK_DISCARD;
    r->then_flush =
        op->opcode == FAR_BLOCK_WRITE && !p->fua && (a.flags & FAR_BLOCK_FUA);
    if (p->nbd)
        give(r);
    return false;
}

static bool has_given(const struct program *p,
                      const struct far_outside_user *user)
{
    for (unsigned i = 0; i < REQUESTS; i++)
        if (p->requests[i].given && p->requests[i].user == user)
            return true;
    return false;
}

/* Its memory goes: nothing may be read into it any more, and what it wrote is
 * over before another one begins. */
static void on_detached(void *arg, struct far_outside_user *user)
{
    struct program *p = arg;
    uint64_t until_us = far_now_us() + DETACH_MS * 1000u;

    for (unsigned i = 0; i < REQUESTS; i++)
        if (p->requests[i].user == user && !p->requests[i].given)
            p->requests[i].busy = false;
    while (p->nbd && has_given(p, user)) {
        if (far_now_us() > until_us)
            lost(p);
        else
            wait_a_while(p, -1, 100);
    }
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (p->requests[i].user == user) {
            p->requests[i].user = NULL;
            p->requests[i].busy = false;
        }
    }
}

static void usage(void)
{
    fputs("usage: farside-nbd [--socket=PATH] [--read-only] [--fenced] URI\n"
          "Serves the disk at an NBD URI as an outside device of Farside; see "
          "farside-nbd(8).\n",
          stderr);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "socket", required_argument, NULL, 's' },
        { "read-only", no_argument, NULL, 'r' },
        { "fenced", no_argument, NULL, 'f' },
        { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    static const struct far_outside_calls calls = { .bytes = sizeof(calls),
                                                    .detached = on_detached,
                                                    .op = on_op };
    static struct program p;
    struct sigaction action = { .sa_handler = on_signal };
    const char *socket = NULL;
    sigset_t signals;
    char why[200];
    int c;

    while ((c = getopt_long(argc, argv, "s:rfh", options, NULL)) != -1) {
        if (c == 's')
            socket = optarg;
        else if (c == 'r')
            p.read_only = true;
        else if (c == 'f')
            p.fenced = true;
        else
            return usage(), c == 'h' ? 0 : 2;
    }
    if (optind != argc - 1)
        return usage(), 2;
    p.uri = argv[optind];
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, &p.waiting);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    p.outside = far_outside_new(socket, "block", &calls, &p, why, sizeof(why));
    if (!p.outside) {
        say("%s", why);
        return 1;
    }
    far_outside_gone(p.outside, "it is being connected to");
    while (!ends) {
        try_connect(&p);
        (void)far_outside_turn(p.outside, 0);
        if (p.nbd && (nbd_aio_is_dead(p.nbd) || nbd_aio_is_closed(p.nbd)))
            lost(&p);
        wait_a_while(&p, far_outside_fd(p.outside),
                     p.nbd || p.failed ? -1 : (int)(AGAIN_US / 1000));
    }
    far_outside_free(p.outside);
    nbd_close(p.nbd);
    return 0;
}
