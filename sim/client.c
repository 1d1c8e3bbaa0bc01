/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The preloaded library's connection to the keeper: found by environment
 * (FARSIDE_SIM_DIR, FARSIDE_SIM_HOST, FARSIDE_SIM_GUEST), opened when the
 * program starts so that the keeper knows every process of a domain, closed
 * by the process's death, which is how the keeper learns of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "sim/client.h"
#include "sim/common.h"

struct sim_client sim = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .sock = -1,
    .mem = -1,
};

int sim_fail(int err)
{
    errno = err < 0 ? -err : err;
    return -1;
}

int sim_real_munmap(void *addr, size_t len)
{
    return (int)syscall(SYS_munmap, addr, len);
}

static int call_locked(struct hv_req *req, const uint32_t *words,
                       struct hv_rsp *rsp, uint32_t *answer, uint32_t max_words,
                       int *fds, int nfds)
{
    struct iovec out[2] = {
        { req, sizeof(*req) },
        { (void *)(uintptr_t)words, req->count * sizeof(uint32_t) },
    };
    struct msghdr msg = { .msg_iov = out, .msg_iovlen = req->count ? 2 : 1 };
    ssize_t n;

    do
        n = sendmsg(sim.sock, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EPIPE || errno == ECONNRESET ? -ENODEV : -errno;

    struct iovec in[2] = {
        { rsp, sizeof(*rsp) },
        { answer, max_words * sizeof(uint32_t) },
    };
    union {
        char buf[CMSG_SPACE(4 * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    memset(&msg, 0, sizeof(msg));
    msg.msg_iov = in;
    msg.msg_iovlen = max_words ? 2 : 1;
    msg.msg_control = ctl.buf;
    msg.msg_controllen = sizeof(ctl.buf);
    do
        n = recvmsg(sim.sock, &msg, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? -ENODEV : -errno;
    if ((size_t)n < sizeof(*rsp))
        return -ENODEV;

    int got = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (got < nfds)
                fds[got++] = fd;
            else
                close(fd);
        }
    }
    while (got < nfds)
        fds[got++] = -1;
    return rsp->err;
}

static int connect_locked(void)
{
    const char *dir = getenv("FARSIDE_SIM_DIR");
    const char *host = getenv("FARSIDE_SIM_HOST");
    const char *guest = getenv("FARSIDE_SIM_GUEST");
    struct hv_req req = { .op = HV_HELLO };
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct hv_rsp rsp;
    int fds[3] = { -1, -1, -1 };
    int r;

    if (sim.sock >= 0)
        return 0;
    if (!dir || !host)
        return -ENODEV;
    const char *name = strrchr(host, '/');
    name = name ? name + 1 : host;
    if (strlen(name) >= sizeof(req.host))
        return -ENODEV;
    memcpy(req.host, name, strlen(name));
    if (guest && far_sim_uuid_parse(guest, req.uuid))
        return -ENODEV;
    if (guest)
        req.a = 1;

    r = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", dir,
                 FAR_SIM_SOCKET);
    if (r < 0 || (size_t)r >= sizeof(addr.sun_path))
        return -ENAMETOOLONG;
    sim.sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sim.sock < 0)
        return -errno;
    if (connect(sim.sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        r = -ENODEV;
        goto fail;
    }
    r = call_locked(&req, NULL, &rsp, NULL, 0, fds, 3);
    if (r)
        goto fail;
    sim.id = rsp.a;
    sim.mem = fds[2];
    if (!sim.ro) {
        void *ro =
            mmap(NULL, sizeof(struct hv_ro), PROT_READ, MAP_SHARED, fds[0], 0);
        void *rw = mmap(NULL, sizeof(struct hv_rw), PROT_READ | PROT_WRITE,
                        MAP_SHARED, fds[1], 0);
        if (ro == MAP_FAILED || rw == MAP_FAILED) {
            r = -errno;
            goto fail;
        }
        madvise(ro, sizeof(struct hv_ro), MADV_DONTDUMP);
        madvise(rw, sizeof(struct hv_rw), MADV_DONTDUMP);
        sim.ro = ro;
        sim.rw = rw;
    }
    close(fds[0]);
    close(fds[1]);
    return 0;
fail:
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    sim.mem = -1;
    close(sim.sock);
    sim.sock = -1;
    return r;
}

int sim_connect(void)
{
    if (__atomic_load_n(&sim.sock, __ATOMIC_ACQUIRE) >= 0)
        return 0;
    pthread_mutex_lock(&sim.lock);
    int r = connect_locked();
    pthread_mutex_unlock(&sim.lock);
    return r;
}

int sim_call(struct hv_req *req, const uint32_t *words, struct hv_rsp *rsp,
             uint32_t *answer, uint32_t max_words, int *fds, int nfds)
{
    pthread_mutex_lock(&sim.lock);
    int r = connect_locked();
    if (!r)
        r = call_locked(req, words, rsp, answer, max_words, fds, nfds);
    pthread_mutex_unlock(&sim.lock);
    return r;
}

const struct hv_dom *sim_dom(uint32_t *slot)
{
    if (!sim.ro)
        return NULL;
    uint32_t s = atomic_load(&sim.ro->client_dom[sim.id]);
    if (s >= HV_DOMS || !atomic_load(&sim.ro->doms[s].gen))
        return NULL;
    if (slot)
        *slot = s;
    return &sim.ro->doms[s];
}

const struct hv_dom *sim_find_dom(uint16_t host, uint32_t domid, uint32_t *slot)
{
    for (uint32_t s = 0; s < HV_DOMS; s++) {
        const struct hv_dom *d = &sim.ro->doms[s];
        if (atomic_load(&d->gen) && d->host == host && d->domid == domid) {
            if (slot)
                *slot = s;
            return d;
        }
    }
    return NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&sim.lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&sim.lock);
}

/*
 * The child keeps nothing: neither the connection, which would hide its
 * parent's death from the keeper, nor handles. It is introduced on its own so
 * that the keeper can end it with its domain.
 */
static void after_fork_child(void)
{
    pthread_mutex_init(&sim.lock, NULL);
    sim.epoch++;
    if (sim.sock >= 0)
        close(sim.sock);
    if (sim.mem >= 0)
        close(sim.mem);
    sim.sock = sim.mem = -1;
    sim_evtchn_forked();
    sim_gnttab_forked();
    sim_connect();
}

__attribute__((constructor)) static void start(void)
{
    struct rlimit lim;

    if (!getenv("FARSIDE_SIM_HOST"))
        return;
    /* Each peer's pipe costs a descriptor that the real device does not. */
    if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur < lim.rlim_max &&
        lim.rlim_cur < 65536) {
        lim.rlim_cur = lim.rlim_max < 65536 ? lim.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    int r = sim_connect();
    if (r && !getenv("FARSIDE_SIM_QUIET"))
        fprintf(stderr,
                "farside-sim: no simulated host '%s' here: %s; "
                "start it with 'farside-sim up'\n",
                getenv("FARSIDE_SIM_HOST"), strerror(-r));
}
