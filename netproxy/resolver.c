/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The resolver's two halves (netproxy/resolver.h): the helper process, which
 * answers one question after the other, and the daemon's side.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "netproxy/resolver.h"
#include "netproxy/sandbox.h"

struct question {
    uint64_t id;
    struct far_endpoint what;
};

struct answer {
    uint64_t id;
    uint32_t count;
    char error[92];
    struct sockaddr_storage addresses[FAR_RESOLVER_ADDRESSES];
};

struct far_resolver {
    struct far_loop *loop;
    struct far_io io;
    int fd;
    pid_t pid;
    uint64_t last_id;
    struct far_resolver_query *queries;
};

static void resolve(const struct question *q, struct answer *a)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *list = NULL, *at;
    char port[8];
    int r;

    memset(a, 0, sizeof(*a));
    a->id = q->id;
    snprintf(port, sizeof(port), "%u", q->what.port);
    r = getaddrinfo(q->what.host, port, &hints, &list);
    if (r) {
        snprintf(a->error, sizeof(a->error), "%s",
                 r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
        return;
    }
    for (at = list; at && a->count < FAR_RESOLVER_ADDRESSES; at = at->ai_next) {
        if (at->ai_family == AF_INET || at->ai_family == AF_INET6)
            memcpy(&a->addresses[a->count++], at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(list);
    if (!a->count)
        snprintf(a->error, sizeof(a->error), "the name has no address");
}

static void helper(int fd, const char *user)
{
    const char *became;
    struct question q;
    struct answer a;
    sigset_t none;

    /* It reads what strangers' name servers say: not as root. If this fails,
     * the daemon's own attempt says why. */
    if (far_privileges_drop(user, &became, NULL))
        _exit(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user has none yet */
    prctl(PR_SET_NAME, "farside-resolve");
    prctl(PR_SET_DUMPABLE, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN); /* it is the daemon that decides */
    setenv("RES_OPTIONS", "timeout:2 attempts:2", 0);
    if (fd > 3) {
        dup2(fd, 3);
        fd = 3;
    }
    close_range(4, ~0u, 0);
    while (recv(fd, &q, sizeof(q), 0) == sizeof(q)) {
        q.what.host[sizeof(q.what.host) - 1] = 0;
        resolve(&q, &a);
        if (send(fd, &a, sizeof(a), MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(0);
}

static struct far_resolver_query **find(struct far_resolver *r, uint64_t id)
{
    struct far_resolver_query **at = &r->queries;

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void finish(struct far_resolver *r, uint64_t id,
                   const struct sockaddr_storage *addresses, unsigned count,
                   const char *error)
{
    struct far_resolver_query **at = find(r, id), *query = *at;

    if (!query)
        return; /* cancelled */
    *at = query->next;
    query->id = 0;
    query->done(query, addresses, count, error);
}

static void ready(struct far_io *io, uint32_t events)
{
    struct far_resolver *r =
        (struct far_resolver *)((char *)io - offsetof(struct far_resolver, io));
    struct answer a;
    ssize_t n = recv(r->fd, &a, sizeof(a), MSG_DONTWAIT);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != sizeof(a)) { /* the helper has died */
        far_io_del(&r->io);
        while (r->queries)
            finish(r, r->queries->id, NULL, 0,
                   "the helper that resolves names has died: restart "
                   "farside-netproxy, or use numeric addresses");
        return;
    }
    a.error[sizeof(a.error) - 1] = 0;
    finish(r, a.id, a.addresses,
           a.count <= FAR_RESOLVER_ADDRESSES ? a.count : 0, a.error);
}

struct far_resolver *far_resolver_new(struct far_loop *loop, const char *user,
                                      struct far_error *error)
{
    struct far_resolver *r = calloc(1, sizeof(*r));
    int fds[2], rc;

    if (!r) {
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    r->loop = loop;
    r->io.fd = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        far_error(error, -errno, "socketpair: %s", strerror(errno));
        free(r);
        return NULL;
    }
    r->fd = fds[0];
    r->pid = fork();
    if (r->pid == 0) {
        close(fds[0]);
        helper(fds[1], user);
    }
    close(fds[1]);
    rc = r->pid < 0 ? -errno : far_io_add(loop, &r->io, r->fd, EPOLLIN, ready);
    if (rc) {
        far_error(error, rc, "the helper that resolves names: %s",
                  strerror(-rc));
        far_resolver_free(r);
        return NULL;
    }
    return r;
}

void far_resolver_free(struct far_resolver *r)
{
    if (!r)
        return;
    far_io_del(&r->io);
    close(r->fd); /* the helper reads its end */
    if (r->pid > 0)
        waitpid(r->pid, NULL, WNOHANG);
    free(r);
}

int far_resolver_ask(struct far_resolver *r, struct far_resolver_query *query,
                     const struct far_endpoint *what)
{
    struct question q;

    memset(&q, 0, sizeof(q)); /* its padding goes over the socket too */
    q.id = ++r->last_id;
    q.what = *what;
    far_resolver_cancel(r, query);
    if (send(r->fd, &q, sizeof(q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return -errno;
    query->id = q.id;
    query->next = r->queries;
    r->queries = query;
    return 0;
}

void far_resolver_cancel(struct far_resolver *r,
                         struct far_resolver_query *query)
{
    struct far_resolver_query **at;

    if (!query->id)
        return;
    at = find(r, query->id);
    if (*at)
        *at = query->next;
    query->id = 0;
}
