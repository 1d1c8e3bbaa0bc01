/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See socket.h. A client that does not read what it is sent is not waited for:
 * expiries are added up, and nothing more is read from it; rings for which it
 * has no room any more end its connection. Each has timers of its own.
 */
#include "frontend/socket.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "frontend/farside-client.h"

#define CLIENTS   16u
#define TIMERS    ((unsigned)FAR_FRONTEND_CLIENT_TIMERS)
#define DOORBELLS 16u
#define QUEUE     256u
#define BUSY      (QUEUE / 2) /* with so many waiting, it may ask no more */
#define A_TURN    32u

static_assert(sizeof(struct far_frontend_message) == 32, "it is a protocol");

struct client {
    struct far_socket *socket;
    struct far_io io; /* fd -1: this place is free */
    uint64_t expired[TIMERS];
    uint64_t some; /* a bit for each that has */
    struct far_frontend_message queue[QUEUE];
    unsigned first, count;
    uint64_t serial;  /* which of those that had this place */
    uint32_t listens; /* a bit for each doorbell */
};

struct bell {
    struct far_socket *socket;
    struct far_frontend_doorbell *doorbell; /* NULL: free */
    unsigned devid;
    struct { /* who rang what: by tag */
        uint64_t serial;
        uint32_t value;
        uint8_t client;
        bool used;
    } rings[128];
};

struct far_socket {
    struct far_frontend *frontend;
    struct far_frontend_timers *timers;
    uint32_t flags;
    struct far_io io;
    struct client clients[CLIENTS];
    struct bell bells[DOORBELLS];
    struct far_defer flush;
    uint64_t serial;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* --- to clients ------------------------------------------------------------
 */

static void drop(struct client *client)
{
    struct far_socket *socket = client->socket;
    unsigned first = (unsigned)(client - socket->clients) * TIMERS;
    int fd = client->io.fd;

    if (fd < 0)
        return;
    for (unsigned i = 0; i < TIMERS; i++)
        (void)far_frontend_timers_cancel(socket->timers, first + i);
    far_io_del(&client->io);
    close(fd);
    *client = (struct client){ .socket = socket, .io.fd = -1 };
}

/* True: it is gone, or can take no more now. */
static bool give(struct client *client, const struct far_frontend_message *m)
{
    if (send(client->io.fd, m, sizeof(*m), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return false;
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS)
        drop(client);
    return true;
}

static void flush_one(struct client *client)
{
    while (client->count) {
        if (give(client, &client->queue[client->first % QUEUE]))
            return;
        client->first++;
        client->count--;
    }
    while (client->some) {
        unsigned timer = (unsigned)__builtin_ctzll(client->some);
        struct far_frontend_message m = { .type = FAR_FRONTEND_EXPIRED,
                                          .number = timer,
                                          .count = client->expired[timer] };

        if (give(client, &m))
            return;
        client->expired[timer] = 0;
        client->some &= client->some - 1;
    }
}

/* Once a turn, for all that happened in it. */
static void flush(struct far_defer *defer)
{
    struct far_socket *socket = CONTAINER(struct far_socket, flush, defer);

    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &socket->clients[i];

        if (client->io.fd < 0)
            continue;
        flush_one(client);
        if (client->io.fd >= 0)
            (void)far_io_set(
                &client->io,
                (client->count < BUSY ? EPOLLIN : 0u) |
                    (client->count || client->some ? EPOLLOUT : 0u));
    }
}

static void flush_soon(struct far_socket *socket)
{
    far_defer(socket->frontend->loop, &socket->flush, flush);
}

static void queue(struct client *client, const struct far_frontend_message *m)
{
    if (client->count == QUEUE) {
        drop(client);
        return;
    }
    client->queue[(client->first + client->count++) % QUEUE] = *m;
    flush_soon(client->socket);
}

static void answer(struct client *client, const struct far_frontend_message *q,
                   int status)
{
    queue(client, &(struct far_frontend_message){ .type = FAR_FRONTEND_ANSWER,
                                                  .number = q->number,
                                                  .value = q->value,
                                                  .status = status });
}

/* --- the devices -----------------------------------------------------------
 */

static void expired(void *arg, unsigned timer, uint64_t count)
{
    struct far_socket *socket = arg;
    struct client *client = &socket->clients[timer / TIMERS];

    if (client->io.fd < 0)
        return;
    client->expired[timer % TIMERS] += count;
    client->some |= (uint64_t)1 << (timer % TIMERS);
    flush_soon(socket);
}

static void rung(void *arg, uint32_t value)
{
    struct bell *bell = arg;
    struct far_socket *socket = bell->socket;
    unsigned nth = (unsigned)(bell - socket->bells);

    for (unsigned i = 0; i < CLIENTS; i++)
        if (socket->clients[i].io.fd >= 0 &&
            socket->clients[i].listens & 1u << nth)
            queue(&socket->clients[i],
                  &(struct far_frontend_message){ .type = FAR_FRONTEND_RUNG,
                                                  .number = bell->devid,
                                                  .value = value });
}

static void answered(void *arg, unsigned tag, int status)
{
    struct bell *bell = arg;
    struct client *client = &bell->socket->clients[bell->rings[tag].client];
    struct far_frontend_message q = { .number = bell->devid,
                                      .value = bell->rings[tag].value };

    bell->rings[tag].used = false;
    if (client->io.fd >= 0 && client->serial == bell->rings[tag].serial)
        answer(client, &q, status);
}

static struct bell *bell_of(struct far_socket *socket, unsigned devid,
                            int *status)
{
    static const struct far_frontend_doorbell_hooks hooks = { .rung = rung,
                                                              .answered =
                                                                  answered };
    struct bell *bell = NULL;

    for (unsigned i = 0; i < DOORBELLS; i++) {
        if (socket->bells[i].doorbell && socket->bells[i].devid == devid)
            return &socket->bells[i];
        if (!socket->bells[i].doorbell && !bell)
            bell = &socket->bells[i];
    }
    *status = -ENOSPC;
    if (!bell)
        return NULL;
    bell->socket = socket;
    bell->devid = devid;
    bell->doorbell = far_frontend_doorbell_open(socket->frontend, devid,
                                                socket->flags, &hooks, bell);
    *status = bell->doorbell ? 0 : -errno;
    return bell->doorbell ? bell : NULL;
}

static int ring(struct client *client, const struct far_frontend_message *q)
{
    int status = 0;
    struct bell *bell = bell_of(client->socket, q->number, &status);
    unsigned tag = 0;

    if (!bell)
        return status;
    while (tag < 128 && bell->rings[tag].used)
        tag++;
    if (tag == 128)
        return -EAGAIN;
    bell->rings[tag].used = true;
    bell->rings[tag].serial = client->serial;
    bell->rings[tag].value = q->value;
    bell->rings[tag].client = (uint8_t)(client - client->socket->clients);
    status = far_frontend_doorbell_ring(bell->doorbell, q->value, tag);
    if (status)
        bell->rings[tag].used = false;
    return status;
}

/* --- from clients ----------------------------------------------------------
 */

static int listen_to(struct client *client,
                     const struct far_frontend_message *q)
{
    int status = 0;
    struct bell *bell = bell_of(client->socket, q->number, &status);

    if (bell)
        client->listens |= 1u << (bell - client->socket->bells);
    return status;
}

static void tell_time(struct client *client,
                      const struct far_frontend_message *q)
{
    uint64_t error_ns = 0;
    uint64_t now_ns =
        far_frontend_timers_now_ns(client->socket->timers, &error_ns);

    queue(client, &(struct far_frontend_message){ .type = FAR_FRONTEND_TIME,
                                                  .value = q->value,
                                                  .time_ns = now_ns,
                                                  .period_ns = error_ns });
}

static void serve(struct client *client, const struct far_frontend_message *q)
{
    struct far_frontend_timers *timers = client->socket->timers;
    unsigned timer = (unsigned)(client - client->socket->clients) * TIMERS +
                     q->number % TIMERS;
    bool none = q->number >= TIMERS;
    int r;

    switch (q->type) {
    case FAR_FRONTEND_ARM:
        r = none || q->value > FAR_FRONTEND_SLEW
                ? -EINVAL
                : far_frontend_timers_arm_in(
                      timers, timer, q->time_ns, q->period_ns,
                      (enum far_frontend_catch_up)q->value);
        if (r)
            answer(client, q, r);
        break;
    case FAR_FRONTEND_CANCEL:
        r = none ? -EINVAL : far_frontend_timers_cancel(timers, timer);
        if (r)
            answer(client, q, r);
        break;
    case FAR_FRONTEND_NOW:
        tell_time(client, q);
        break;
    case FAR_FRONTEND_LISTEN:
        answer(client, q, listen_to(client, q));
        break;
    case FAR_FRONTEND_RING:
        r = ring(client, q);
        if (r)
            answer(client, q, r);
        break;
    default:
        answer(client, q, -EINVAL);
    }
}

static void client_ready(struct far_io *io, uint32_t events)
{
    struct client *client = CONTAINER(struct client, io, io);
    struct far_frontend_message q;

    flush_soon(client->socket);
    for (unsigned n = 0; n < A_TURN && client->io.fd >= 0 &&
                         client->count < BUSY && events & ~(uint32_t)EPOLLOUT;
         n++) {
        ssize_t got = recv(io->fd, &q, sizeof(q), MSG_DONTWAIT | MSG_TRUNC);

        if (got == (ssize_t)sizeof(q)) {
            serve(client, &q);
            continue;
        }
        if (got >= 0 || (errno != EAGAIN && errno != EINTR))
            drop(client); /* it ended, or speaks something else */
        return;
    }
}

static void knock(struct far_io *io, uint32_t events)
{
    struct far_socket *socket = CONTAINER(struct far_socket, io, io);
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &socket->clients[i];

        if (client->io.fd >= 0)
            continue;
        client->serial = ++socket->serial;
        if (far_io_add(socket->frontend->loop, &client->io, fd, EPOLLIN,
                       client_ready))
            break;
        return;
    }
    close(fd);
}

/* --- the whole -------------------------------------------------------------
 */

/* One that nobody listens at any more is in the way. */
static int listen_at(const char *path, int *made)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r;

    if (fd < 0)
        return -errno;
    strcpy(at.sun_path, path);
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0) {
        close(fd);
        return -EADDRINUSE;
    }
    if (errno == ECONNREFUSED)
        unlink(path);
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || chmod(path, 0660) ||
        listen(fd, CLIENTS)) {
        r = -errno;
        close(fd);
        return r;
    }
    *made = fd;
    return 0;
}

struct far_socket *far_socket_open(struct far_frontend *frontend,
                                   const char *path, uint32_t flags)
{
    static const struct far_frontend_timers_hooks hooks = { .expired =
                                                                expired };
    struct far_socket *s;
    int fd = -1, r;

    if (strlen(path) >= sizeof(s->path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->frontend = frontend;
    s->flags = flags & FAR_FRONTEND_NO_POLL;
    s->io.fd = -1;
    strcpy(s->path, path);
    for (unsigned i = 0; i < CLIENTS; i++)
        s->clients[i] = (struct client){ .socket = s, .io.fd = -1 };
    r = listen_at(path, &fd);
    if (!r)
        r = far_io_add(frontend->loop, &s->io, fd, EPOLLIN, knock);
    if (!r) {
        s->timers = far_frontend_timers_open(frontend, 0, CLIENTS * TIMERS,
                                             s->flags, &hooks, s);
        r = s->timers ? 0 : -errno;
    }
    if (!r)
        return s;
    far_io_del(&s->io);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(s);
    errno = -r;
    return NULL;
}

void far_socket_close(struct far_socket *s)
{
    int fd;

    if (!s)
        return;
    for (unsigned i = 0; i < CLIENTS; i++)
        drop(&s->clients[i]);
    for (unsigned i = 0; i < DOORBELLS; i++)
        far_frontend_doorbell_close(s->bells[i].doorbell);
    far_frontend_timers_close(s->timers);
    far_defer_cancel(s->frontend->loop, &s->flush);
    fd = s->io.fd;
    far_io_del(&s->io);
    close(fd);
    unlink(s->path);
    free(s);
}
