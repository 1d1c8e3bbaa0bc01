/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The control socket, both ends: lines of JSON over a Unix stream. The server
 * never blocks and holds at most one request and one answer for each client;
 * the client (for tools) blocks, with a time limit.
 */
#include "core/control.h"
#include "core/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_BYTES 4096
/* Who connects and then says nothing, or doesn't read, gives way to others. */
#define IDLE_US 30000000u

struct client {
    struct far_control *control;
    struct far_io io;
    char *in; /* NULL until something comes */
    size_t in_used, in_room;
    char *out; /* the answer that is being written */
    size_t out_used, out_bytes;
    uint64_t since_us;
    uid_t uid;
    int fd; /* that came with a request */
};

struct far_control {
    struct far_loop *loop;
    struct far_log *log;
    far_control_handler *handler;
    void *arg;
    char *path;
    struct far_io io;
    struct far_log_bucket bucket;
    struct client clients[FAR_CONTROL_CLIENTS_MAX];
    struct client *asking; /* while the handler runs */
};

static int socket_address(struct sockaddr_un *un, const char *path)
{
    size_t n = strlen(path);

    *un = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (n == 0 || n >= sizeof(un->sun_path))
        return -ENAMETOOLONG;
    memcpy(un->sun_path, path, n);
    return 0;
}

/* ---- the server -------------------------------------------------------- */

static void client_close(struct client *client)
{
    int fd = client->io.fd;

    if (!client->control)
        return;
    far_io_del(&client->io);
    close(fd);
    if (client->fd >= 0)
        close(client->fd);
    free(client->in);
    free(client->out);
    *client = (struct client){ .io.fd = -1, .fd = -1 };
}

/* false: the client is gone. */
static bool client_write(struct client *client)
{
    while (client->out_used < client->out_bytes) {
        ssize_t n = send(client->io.fd, client->out + client->out_used,
                         client->out_bytes - client->out_used,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            far_io_set(&client->io, EPOLLOUT); /* no request before that */
            return true;
        }
        if (n <= 0) {
            client_close(client);
            return false;
        }
        client->out_used += (size_t)n;
    }
    free(client->out);
    client->out = NULL;
    client->out_used = client->out_bytes = 0;
    far_io_set(&client->io, EPOLLIN);
    return true;
}

static json_t *answer_line(struct client *client, const char *line,
                           size_t bytes)
{
    struct far_control *control = client->control;
    json_error_t error;
    json_t *request = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &error);
    json_t *answer;

    if (!request)
        return far_control_error(-EINVAL, "the request is no JSON: %s",
                                 error.text);
    if (json_is_object(request)) {
        control->asking = client;
        answer = control->handler(request, control->arg);
        control->asking = NULL;
        if (!answer)
            answer = far_control_error(-ENOMEM, "out of memory");
    } else {
        answer = far_control_error(-EINVAL, "a request is a JSON object");
    }
    json_decref(request);
    return answer;
}

/* Takes over answer, which may be NULL. */
static bool client_answer(struct client *client, json_t *answer)
{
    size_t bytes;

    client->out = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);
    if (!client->out) {
        client_close(client);
        return false;
    }
    bytes = strlen(client->out);
    client->out[bytes] = '\n'; /* where the final zero was */
    client->out_bytes = bytes + 1;
    client->out_used = 0;
    return client_write(client);
}

/* Answers complete lines, one at a time: the next waits until the answer to
 * this one is written. */
static void client_lines(struct client *client)
{
    while (!client->out && client->in_used > 0) {
        char *end = memchr(client->in, '\n', client->in_used);
        size_t bytes;
        json_t *answer;

        if (!end)
            break;
        bytes = (size_t)(end - client->in);
        answer = answer_line(client, client->in, bytes);
        client->in_used -= bytes + 1;
        memmove(client->in, end + 1, client->in_used);
        if (!client_answer(client, answer))
            return;
    }
    if (!client->out && client->in_used > FAR_CONTROL_LINE_BYTES_MAX) {
        client->in_used = 0;
        if (client_answer(
                client, far_control_error(-EMSGSIZE,
                                          "a request is one line of at most %d "
                                          "bytes",
                                          FAR_CONTROL_LINE_BYTES_MAX)))
            client_close(client);
    }
}

/* Bytes, and perhaps a descriptor; of several the last counts. */
static ssize_t receive(struct client *client)
{
    struct iovec into = { client->in + client->in_used, READ_BYTES };
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } beside;
    struct msghdr message = { .msg_iov = &into,
                              .msg_iovlen = 1,
                              .msg_control = &beside,
                              .msg_controllen = sizeof(beside) };
    struct cmsghdr *c;
    ssize_t n =
        recvmsg(client->io.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    for (c = n < 0 ? NULL : CMSG_FIRSTHDR(&message); c;
         c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
            c->cmsg_len != CMSG_LEN(sizeof(int)))
            continue;
        if (client->fd >= 0)
            close(client->fd);
        memcpy(&client->fd, CMSG_DATA(c), sizeof(int));
    }
    return n;
}

static void client_read(struct client *client)
{
    ssize_t n;

    if (client->in_room - client->in_used < READ_BYTES) {
        size_t room = client->in_room ? client->in_room * 2 : READ_BYTES * 2;
        char *more = realloc(client->in, room);

        if (!more) {
            client_close(client);
            return;
        }
        client->in = more;
        client->in_room = room;
    }
    n = receive(client);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(client);
        return;
    }
    client->in_used += (size_t)n;
    client->since_us = far_loop_now_us(client->control->loop);
    client_lines(client);
}

static void client_ready(struct far_io *io, uint32_t events)
{
    struct client *client =
        (struct client *)(void *)((char *)io - offsetof(struct client, io));

    if (client->out) {
        if ((events & (EPOLLERR | EPOLLHUP)) != 0)
            client_close(client);
        else if (client_write(client) && !client->out)
            client_lines(client);
        return;
    }
    client_read(client);
}

static bool peer_allowed(int fd, struct ucred *peer)
{
    socklen_t bytes = sizeof(*peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &bytes) == 0 &&
           (peer->uid == 0 || peer->uid == geteuid() || peer->gid == getegid());
}

/* A free place; or the one of who has been silent longest, if too long. */
static struct client *place(struct far_control *control)
{
    uint64_t now_us = far_loop_now_us(control->loop);
    struct client *oldest = &control->clients[0];

    for (unsigned i = 0; i < FAR_CONTROL_CLIENTS_MAX; i++) {
        struct client *c = &control->clients[i];

        if (!c->control)
            return c;
        if (c->since_us < oldest->since_us)
            oldest = c;
    }
    if (now_us - oldest->since_us < IDLE_US)
        return NULL;
    client_close(oldest);
    return oldest;
}

static void accept_ready(struct far_io *io, uint32_t events)
{
    struct far_control *control =
        (struct far_control *)(void *)((char *)io -
                                       offsetof(struct far_control, io));
    int fd = accept4(io->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client;
    struct ucred peer;

    (void)events;
    if (fd < 0)
        return;
    if (!peer_allowed(fd, &peer)) {
        far_log_limited(control->log, &control->bucket, FAR_LOG_WARNING,
                        "%s: user %u (process %d) was turned away: it is "
                        "neither root nor of this daemon's user or group",
                        control->path, (unsigned)peer.uid, (int)peer.pid);
        close(fd);
        return;
    }
    client = place(control);
    if (!client ||
        far_io_add(control->loop, &client->io, fd, EPOLLIN, client_ready) < 0) {
        far_log_limited(control->log, &control->bucket, FAR_LOG_WARNING,
                        "%s: a client was turned away: there are %d already",
                        control->path, FAR_CONTROL_CLIENTS_MAX);
        close(fd);
        return;
    }
    client->control = control;
    client->uid = peer.uid;
    client->fd = -1;
    client->since_us = far_loop_now_us(control->loop);
}

bool far_control_is_root(const struct far_control *control)
{
    return control->asking &&
           (control->asking->uid == 0 || control->asking->uid == geteuid());
}

int far_control_take_fd(struct far_control *control)
{
    int fd = control->asking ? control->asking->fd : -1;

    if (control->asking)
        control->asking->fd = -1;
    return fd;
}

/* Not between bind and chmod: nobody can connect before listen. */
static int listen_at(const char *path)
{
    struct sockaddr_un un;
    struct stat st;
    int rc = socket_address(&un, path), fd;

    if (rc < 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* What a dead process left; the lock file says that it is dead. */
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
    if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
        chmod(path, 0660) < 0 || listen(fd, FAR_CONTROL_CLIENTS_MAX) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

struct far_control *far_control_new(struct far_loop *loop, struct far_log *log,
                                    const char *path,
                                    far_control_handler *handler, void *arg,
                                    struct far_error *error)
{
    struct far_control *control = calloc(1, sizeof(*control));
    int fd, rc = -ENOMEM;

    if (!control || !(control->path = strdup(path)))
        goto fail;
    control->loop = loop;
    control->log = log;
    control->handler = handler;
    control->arg = arg;
    for (unsigned i = 0; i < FAR_CONTROL_CLIENTS_MAX; i++)
        control->clients[i].io.fd = control->clients[i].fd = -1;
    rc = fd = listen_at(path);
    if (fd < 0)
        goto fail;
    rc = far_io_add(loop, &control->io, fd, EPOLLIN, accept_ready);
    if (rc == 0)
        return control;
    close(fd);
    unlink(path);
fail:
    far_error(error, rc, "%s: can't listen: %s%s", path, strerror(-rc),
              rc == -ENOENT ? " (is the run directory there?)" : "");
    if (control)
        free(control->path);
    free(control);
    return NULL;
}

void far_control_free(struct far_control *control)
{
    int fd;

    if (!control)
        return;
    for (unsigned i = 0; i < FAR_CONTROL_CLIENTS_MAX; i++)
        client_close(&control->clients[i]);
    fd = control->io.fd;
    far_io_del(&control->io);
    close(fd);
    unlink(control->path);
    free(control->path);
    free(control);
}

json_t *far_control_error(int code, const char *format, ...)
{
    char text[512], clean[1024];
    va_list args;
    json_t *answer;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    answer = json_pack("{ss si}", "error", text, "code", code);
    if (answer)
        return answer;
    /* Cut in the middle of a character, or never UTF-8. */
    far_escape(clean, sizeof(clean), text, strlen(text));
    return json_pack("{ss si}", "error", clean, "code", code);
}

/* ---- the client -------------------------------------------------------- */

static int wait_for(int fd, short events, uint64_t until_us)
{
    for (;;) {
        uint64_t now_us = far_now_us();
        uint64_t left_ms =
            now_us < until_us ? (until_us - now_us) / 1000 + 1 : 0;
        struct pollfd p = { .fd = fd, .events = events };
        int n = poll(&p, 1, left_ms > 1000000 ? 1000000 : (int)left_ms);

        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (now_us >= until_us)
            return -ETIMEDOUT;
    }
}

/* A Unix socket's connect() fails with EAGAIN when the queue is full. */
static int connect_to(int fd, const char *path, uint64_t until_us)
{
    struct sockaddr_un un;
    int rc = socket_address(&un, path);

    while (rc == 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (far_now_us() >= until_us)
            return -ETIMEDOUT;
        poll(NULL, 0, 5);
    }
    return rc;
}

/* with_fd: goes with the first byte. */
static ssize_t send_some(int fd, const char *line, size_t bytes, int with_fd)
{
    struct iovec from = { (char *)(uintptr_t)line, bytes };
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } beside;
    struct msghdr message = { .msg_iov = &from, .msg_iovlen = 1 };

    if (with_fd >= 0) {
        memset(&beside, 0, sizeof(beside));
        beside.header.cmsg_level = SOL_SOCKET;
        beside.header.cmsg_type = SCM_RIGHTS;
        beside.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&beside.header), &with_fd, sizeof(int));
        message.msg_control = &beside;
        message.msg_controllen = sizeof(beside);
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int write_line(int fd, const char *line, size_t bytes, int with_fd,
                      uint64_t until_us)
{
    while (bytes > 0) {
        ssize_t n = send_some(fd, line, bytes, with_fd);
        int rc;

        if (n >= 0) {
            with_fd = -1;
            line += n;
            bytes -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        rc = wait_for(fd, POLLOUT, until_us);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* *line is the caller's to free. */
static int read_line(int fd, char **line, size_t *bytes, uint64_t until_us)
{
    size_t room = 0;

    *line = NULL;
    *bytes = 0;
    for (;;) {
        ssize_t n;
        int rc = wait_for(fd, POLLIN, until_us);

        if (rc < 0)
            return rc;
        if (room - *bytes < READ_BYTES) {
            char *more = realloc(*line, room = room * 2 + READ_BYTES);

            if (!more)
                return -ENOMEM;
            *line = more;
        }
        n = recv(fd, *line + *bytes, READ_BYTES, MSG_DONTWAIT);
        if (n == 0)
            return -ECONNRESET;
        if (n < 0) {
            if (errno == EAGAIN || errno == EINTR)
                continue;
            return -errno;
        }
        *bytes += (size_t)n;
        if ((*line)[*bytes - 1] == '\n')
            return 0;
    }
}

static int take_answer(json_t **answer, const char *line, size_t bytes,
                       const char *path, struct far_error *error)
{
    json_error_t wrong;
    json_t *json = json_loadb(line, bytes, 0, &wrong), *text;
    int code;

    if (!json_is_object(json)) {
        json_decref(json);
        return far_error(error, -EPROTO, "%s: the answer is no JSON object",
                         path);
    }
    text = json_object_get(json, "error");
    if (!json_is_string(text)) {
        *answer = json;
        return 0;
    }
    code = (int)json_integer_value(json_object_get(json, "code"));
    if (code >= 0)
        code = -EIO;
    far_error(error, code, "%s", json_string_value(text));
    json_decref(json);
    return code;
}

int far_control_call(const char *path, json_t *request, json_t **answer,
                     uint64_t timeout_us, struct far_error *error)
{
    return far_control_call_fd(path, request, -1, answer, timeout_us, error);
}

int far_control_call_fd(const char *path, json_t *request, int with_fd,
                        json_t **answer, uint64_t timeout_us,
                        struct far_error *error)
{
    uint64_t until_us = far_now_us() + timeout_us;
    char *out = json_dumps(request, JSON_COMPACT), *in = NULL;
    size_t bytes = out ? strlen(out) : 0;
    int fd = -1, rc = -ENOMEM;

    *answer = NULL;
    if (!out)
        goto out;
    out[bytes++] = '\n';
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rc = fd < 0 ? -errno : connect_to(fd, path, until_us);
    if (rc == 0)
        rc = write_line(fd, out, bytes, with_fd, until_us);
    /* Turned away while we wrote: what was answered before counts. */
    if (rc == 0 || rc == -EPIPE)
        rc = read_line(fd, &in, &bytes, until_us);
out:
    if (rc == 0)
        rc = take_answer(answer, in, bytes, path, error);
    else if (rc == -ENOENT || rc == -ECONNREFUSED)
        far_error(error, rc,
                  "%s: nobody answers: the daemon does not run "
                  "(or another run directory is meant: -r)",
                  path);
    else if (rc == -EACCES || rc == -EPERM || rc == -ECONNRESET)
        far_error(error, rc,
                  "%s: turned away (%s): only root and the daemon's "
                  "user and group may ask",
                  path, strerror(-rc));
    else if (rc == -ETIMEDOUT)
        far_error(error, rc, "%s: no answer within %llu ms", path,
                  (unsigned long long)timeout_us / 1000);
    else
        far_error(error, rc, "%s: %s", path, strerror(-rc));
    if (fd >= 0)
        close(fd);
    free(out);
    free(in);
    return rc;
}
