/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The daemon's side of the directory in etcd (netproxy/etcd.h): the helper's
 * birth, renewals, what it says.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "config.h"
#include "netproxy/etcd.h"
#include "netproxy/sandbox.h"

#define MESSAGES_A_TURN 256

struct far_etcd {
    struct far_loop *loop;
    struct far_etcd_ops ops;
    struct far_io io;
    int fd;
    pid_t pid;
    bool dead;
    struct far_timer renew;
    /* What the helper is still to be told, from the first. */
    struct far_etcd_setup setup;
    struct far_etcd_offer *offers;
    unsigned count;
    bool told;
};

static bool send_it(struct far_etcd *e, const void *message, size_t bytes)
{
    return send(e->fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           (ssize_t)bytes;
}

static bool send_word(struct far_etcd *e, uint32_t what)
{
    return send_it(e, &what, sizeof(what));
}

/* All of it or, if the helper does not read as fast, all of it again later. */
static void tell_setup(struct far_etcd *e)
{
    unsigned i;

    if (!send_it(e, &e->setup, sizeof(e->setup)))
        return;
    for (i = 0; i < e->count; i++) {
        if (!send_it(e, &e->offers[i], sizeof(e->offers[i])))
            return;
    }
    e->told = send_word(e, FAR_ETCD_GO);
}

static void on_renew(struct far_timer *timer)
{
    struct far_etcd *e =
        (struct far_etcd *)((char *)timer - offsetof(struct far_etcd, renew));

    if (!e->told && !e->ops.late(e->ops.arg))
        tell_setup(e);
    send_word(e, FAR_ETCD_RENEW);
    far_timer_set(&e->renew, far_now_us() + e->setup.ttl_s * 1000000ull / 5);
}

static bool ends(const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes);
}

static void take(struct far_etcd *e, union far_etcd_message *m, size_t bytes)
{
    switch (bytes >= sizeof(m->what) ? m->what : 0) {
    case FAR_ETCD_BEGIN:
        e->ops.begin(e->ops.arg);
        break;
    case FAR_ETCD_PLACE:
        if (bytes == sizeof(m->place) && ends(m->place.name, FAR_NAME_BYTES) &&
            ends(m->place.platform, FAR_NAME_BYTES) &&
            ends(m->place.device, FAR_NAME_BYTES) &&
            far_name_valid(m->place.name) &&
            far_name_valid(m->place.platform) &&
            far_name_valid(m->place.device))
            e->ops.place(e->ops.arg, &m->place);
        break;
    case FAR_ETCD_END:
        e->ops.end(e->ops.arg);
        break;
    case FAR_ETCD_LEASE:
        if (bytes == sizeof(m->lease) && ends(m->lease.name, FAR_NAME_BYTES) &&
            ends(m->lease.holder, FAR_NAME_BYTES))
            e->ops.lease(e->ops.arg, &m->lease);
        break;
    case FAR_ETCD_TROUBLE:
        m->trouble.text[sizeof(m->trouble.text) - 1] = '\0';
        if (bytes == sizeof(m->trouble))
            e->ops.trouble(e->ops.arg, m->trouble.text);
        break;
    default:
        break;
    }
}

static void ready(struct far_io *io, uint32_t events)
{
    struct far_etcd *e =
        (struct far_etcd *)((char *)io - offsetof(struct far_etcd, io));
    union far_etcd_message m;
    unsigned i;

    (void)events;
    for (i = 0; i < MESSAGES_A_TURN; i++) {
        ssize_t n = recv(e->fd, &m, sizeof(m), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            far_io_del(&e->io);
            far_timer_cancel(&e->renew);
            e->dead = true;
            e->ops.trouble(e->ops.arg,
                           "the helper that talks to etcd has died: restart "
                           "farside-netproxy");
            return;
        }
        take(e, &m, (size_t)n);
    }
}

#ifdef HAVE_LIBCURL
static void __attribute__((noreturn))
begin_helper(int fd, const char *user, pid_t daemon)
{
    const char *became;
    sigset_t none;

    /* It reads what strangers answer: not as root. */
    if (far_privileges_drop(user, &became, NULL))
        _exit(1);
    prctl(PR_SET_NAME, "farside-etcd");
    prctl(PR_SET_DUMPABLE, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN); /* it is the daemon that decides */
    signal(SIGTERM, SIG_IGN);
    if (fd > 3) {
        dup2(fd, 3);
        fd = 3;
    }
    close_range(4, ~0u, 0);
    far_etcd_helper(fd, daemon);
}
#else
static void __attribute__((noreturn))
begin_helper(int fd, const char *user, pid_t daemon)
{
    (void)daemon;
    (void)fd;
    (void)user;
    _exit(1);
}
#endif

struct far_etcd *far_etcd_new(struct far_loop *loop, const char *user,
                              const struct far_etcd_ops *ops,
                              struct far_error *error)
{
#ifdef HAVE_LIBCURL
    const bool built = true;
#else
    const bool built = false;
#endif
    const pid_t daemon = getpid();
    struct far_etcd *e;
    int fds[2], rc;

    if (!built) {
        far_error(error, -EOPNOTSUPP,
                  "[directory] etcd: farside-netproxy was built without "
                  "libcurl, and can't talk to it");
        return NULL;
    }
    e = calloc(1, sizeof(*e));
    if (!e || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
        far_error(error, e ? -errno : -ENOMEM,
                  "the helper that talks to etcd: %s",
                  e ? strerror(errno) : "out of memory");
        free(e);
        return NULL;
    }
    e->loop = loop;
    e->ops = *ops;
    e->io.fd = -1;
    e->fd = fds[0];
    far_timer_init(&e->renew, loop, on_renew);
    e->pid = fork();
    if (e->pid == 0) {
        close(fds[0]);
        begin_helper(fds[1], user, daemon);
    }
    close(fds[1]);
    rc = e->pid < 0 ? -errno : far_io_add(loop, &e->io, e->fd, EPOLLIN, ready);
    if (rc) {
        far_error(error, rc, "the helper that talks to etcd: %s",
                  strerror(-rc));
        far_etcd_free(e);
        return NULL;
    }
    return e;
}

bool far_etcd_has(const struct far_etcd *e, const struct far_etcd_setup *setup)
{
    struct far_etcd_setup mine = e->setup;

    mine.generation = setup->generation;
    return !memcmp(&mine, setup, sizeof(mine));
}

void far_etcd_configure(struct far_etcd *e, const struct far_etcd_setup *setup,
                        const struct far_etcd_offer *offers, unsigned count)
{
    struct far_etcd_offer *copy = malloc((count + 1) * sizeof(*copy));

    if (!copy || e->dead || (!setup && !e->setup.what)) {
        free(copy);
        return; /* it goes on with what it had */
    }
    if (count)
        memcpy(copy, offers, count * sizeof(*copy));
    free(e->offers);
    e->offers = copy;
    e->count = count;
    if (setup)
        e->setup = *setup;
    e->told = false;
    far_timer_set(&e->renew, far_now_us()); /* not before the sessions end */
}

void far_etcd_free(struct far_etcd *e)
{
    if (!e)
        return;
    far_timer_cancel(&e->renew);
    far_io_del(&e->io);
    if (!e->dead && !e->ops.late(e->ops.arg))
        send_word(e, FAR_ETCD_BYE);
    close(e->fd); /* the helper reads its end, and needs no more of us */
    if (e->pid > 0)
        waitpid(e->pid, NULL, WNOHANG);
    free(e->offers);
    free(e);
}
