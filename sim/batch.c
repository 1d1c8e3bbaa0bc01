/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A xenstore transaction of many writes whose answers are not waited for one
 * by one (xen/io/xs_wire.h). A missing node is no error for rm.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xenstore.h>
#include <xenstore_lib.h>
#include <xen/io/xs_wire.h>
#include "sim/batch.h"

int batch_open(struct batch *b)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path = getenv("XENSTORED_PATH");

    memset(b, 0, sizeof(*b));
    b->fd = -1;
    if (!path || strlen(path) >= sizeof(addr.sun_path))
        return -EINVAL;
    memcpy(addr.sun_path, path, strlen(path));
    b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&addr, sizeof(addr)))
        return -errno;
    return 0;
}

void batch_close(struct batch *b)
{
    if (b->fd >= 0)
        close(b->fd);
    free(b->buf);
    b->fd = -1;
    b->buf = NULL;
}

static void add(struct batch *b, uint32_t type, const char *first,
                size_t first_len, const char *rest, size_t rest_len)
{
    struct xsd_sockmsg h = { type, b->count, b->tx,
                             (uint32_t)(first_len + rest_len) };
    size_t need = sizeof(h) + first_len + rest_len;

    if (b->len + need > b->room) {
        size_t room = (b->len + need) * 2;
        char *p = realloc(b->buf, room);
        if (!p) {
            b->err = -ENOMEM;
            return;
        }
        b->buf = p;
        b->room = room;
    }
    memcpy(b->buf + b->len, &h, sizeof(h));
    memcpy(b->buf + b->len + sizeof(h), first, first_len);
    if (rest_len)
        memcpy(b->buf + b->len + sizeof(h) + first_len, rest, rest_len);
    b->len += need;
    b->count++;
}

static int whole(int fd, char *buf, size_t len,
                 ssize_t (*io)(int, char *, size_t))
{
    while (len) {
        ssize_t n = io(fd, buf, len);
        if (n == 0)
            return -ECONNRESET;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        buf += n;
        len -= (size_t)n;
    }
    return 0;
}

static ssize_t out(int fd, char *buf, size_t len)
{
    return send(fd, buf, len, MSG_NOSIGNAL);
}

static ssize_t in(int fd, char *buf, size_t len)
{
    return recv(fd, buf, len, 0);
}

static int number_of(const char *name)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
        if (!strcmp(xsd_errors[i].errstring, name))
            return -xsd_errors[i].errnum;
    return -EIO;
}

/* Sends all and takes all answers; the last one's body is left in `body`. */
static int flush(struct batch *b, char body[XENSTORE_PAYLOAD_MAX + 1])
{
    int r = whole(b->fd, b->buf, b->len, out);

    for (uint32_t i = 0; i < b->count && !r; i++) {
        struct xsd_sockmsg h;
        r = whole(b->fd, (char *)&h, sizeof(h), in);
        if (!r && h.len > XENSTORE_PAYLOAD_MAX)
            r = -EPROTO;
        if (!r)
            r = whole(b->fd, body, h.len, in);
        if (r)
            break;
        body[h.len] = 0;
        if (h.type == XS_ERROR && strcmp(body, "ENOENT") && !b->err)
            b->err = number_of(body);
    }
    b->len = 0;
    b->count = 0;
    if (r)
        b->err = r;
    r = b->err;
    b->err = 0;
    return r;
}

int batch_begin(struct batch *b)
{
    char body[XENSTORE_PAYLOAD_MAX + 1] = "";

    b->tx = 0;
    add(b, XS_TRANSACTION_START, "", 1, NULL, 0);
    int r = flush(b, body);
    if (!r)
        b->tx = (uint32_t)strtoul(body, NULL, 10);
    return r;
}

void batch_write(struct batch *b, const char *path, const char *value)
{
    add(b, XS_WRITE, path, strlen(path) + 1, value, strlen(value));
}

void batch_rm(struct batch *b, const char *path)
{
    add(b, XS_RM, path, strlen(path) + 1, NULL, 0);
}

void batch_perms(struct batch *b, const char *path,
                 const struct xs_permissions *perms, unsigned count)
{
    char text[256];
    size_t len = 0;

    for (unsigned i = 0; i < count && len < sizeof(text) - 16; i++) {
        char letter = perms[i].perms == XS_PERM_NONE    ? 'n'
                      : perms[i].perms == XS_PERM_READ  ? 'r'
                      : perms[i].perms == XS_PERM_WRITE ? 'w'
                                                        : 'b';
        len += (size_t)sprintf(text + len, "%c%u", letter, perms[i].id) + 1;
    }
    add(b, XS_SET_PERMS, path, strlen(path) + 1, text, len);
}

int batch_commit(struct batch *b)
{
    char body[XENSTORE_PAYLOAD_MAX + 1];
    add(b, XS_TRANSACTION_END, "T", 2, NULL, 0);
    int r = flush(b, body);
    b->tx = 0;
    return r;
}
