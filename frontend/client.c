/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A program's end of farside-frontend's socket: see farside-client.h.
 */
#include "frontend/farside-client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct far_frontend_client {
    int fd;
};

struct far_frontend_client *far_frontend_client_open(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct far_frontend_client *client;
    int saved;

    if (!path)
        path = FAR_FRONTEND_SOCKET;
    if (strlen(path) >= sizeof(to.sun_path)) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    strcpy(to.sun_path, path);
    client = malloc(sizeof(*client));
    if (!client)
        return NULL;
    client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (client->fd >= 0 &&
        connect(client->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return client;
    saved = errno;
    if (client->fd >= 0)
        close(client->fd);
    free(client);
    errno = saved;
    return NULL;
}

void far_frontend_client_close(struct far_frontend_client *client)
{
    if (!client)
        return;
    close(client->fd);
    free(client);
}

int far_frontend_client_fd(const struct far_frontend_client *client)
{
    return client->fd;
}

static int tell(struct far_frontend_client *client,
                const struct far_frontend_message *m)
{
    ssize_t n;

    do
        n = send(client->fd, m, sizeof(*m), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int far_frontend_client_arm(struct far_frontend_client *client, unsigned timer,
                            uint64_t distance_ns, uint64_t period_ns,
                            unsigned catch_up)
{
    if (timer >= FAR_FRONTEND_CLIENT_TIMERS)
        return -EINVAL;
    return tell(client,
                &(struct far_frontend_message){ .type = FAR_FRONTEND_ARM,
                                                .number = timer,
                                                .value = catch_up,
                                                .time_ns = distance_ns,
                                                .period_ns = period_ns });
}

int far_frontend_client_cancel(struct far_frontend_client *client,
                               unsigned timer)
{
    if (timer >= FAR_FRONTEND_CLIENT_TIMERS)
        return -EINVAL;
    return tell(client, &(struct far_frontend_message){
                            .type = FAR_FRONTEND_CANCEL, .number = timer });
}

int far_frontend_client_now(struct far_frontend_client *client, uint32_t value)
{
    return tell(client, &(struct far_frontend_message){
                            .type = FAR_FRONTEND_NOW, .value = value });
}

int far_frontend_client_listen(struct far_frontend_client *client,
                               unsigned doorbell)
{
    return tell(client, &(struct far_frontend_message){
                            .type = FAR_FRONTEND_LISTEN, .number = doorbell });
}

int far_frontend_client_ring(struct far_frontend_client *client,
                             unsigned doorbell, uint32_t value)
{
    return tell(client,
                &(struct far_frontend_message){ .type = FAR_FRONTEND_RING,
                                                .number = doorbell,
                                                .value = value });
}

int far_frontend_client_next(struct far_frontend_client *client,
                             struct far_frontend_message *message,
                             int timeout_ms)
{
    struct pollfd p = { .fd = client->fd, .events = POLLIN };
    int r = poll(&p, 1, timeout_ms);
    ssize_t n;

    if (r <= 0)
        return r < 0 && errno != EINTR ? -errno : 0;
    n = recv(client->fd, message, sizeof(*message), MSG_DONTWAIT);
    if (n == (ssize_t)sizeof(*message))
        return 1;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    return -EPIPE;
}
