/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The chaos test's wire: a TCP proxy that cuts connections at any byte, closes
 * half of them, delays and stalls them, and sends what one has carried to the
 * server a second time by another.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/clock.h"
#include "tests/chaos/chaos.h"

#define WIRES       64
#define PIECE_BYTES 16384
#define KEPT_BYTES  65536

/* One way of a connection; 0: from the client, 1: from the server. */
struct way {
    int from, to;
    uint8_t piece[PIECE_BYTES];
    size_t at, end;
    uint64_t hold_until_us; /* the piece */
    bool over;              /* nothing is passed on any more */
};

enum fate { RESET, END, HALF, SILENCE, TWICE, FATES };

struct wire {
    bool used;
    struct way ways[2];
    uint64_t passed, cut_at; /* bytes, both ways */
    enum fate fate;
    unsigned delay_us;
    uint64_t die_us;
    uint8_t kept[KEPT_BYTES]; /* of the client's */
    size_t kept_used;
};

static struct wire all[WIRES];
static uint16_t server_port;
static uint64_t state;
static volatile sig_atomic_t kind;

static uint64_t dice(uint64_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % sides;
}

static void be_kind(int signal_number)
{
    (void)signal_number;
    kind = 1;
}

static void end_wire(struct wire *w, bool reset)
{
    struct linger hard = { .l_onoff = 1 };

    for (int i = 0; i < 2; i++) {
        if (reset)
            setsockopt(w->ways[i].from, SOL_SOCKET, SO_LINGER, &hard,
                       sizeof(hard));
        close(w->ways[i].from);
    }
    w->used = false;
}

static int to_server(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(server_port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&in, sizeof(in))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void new_wire(int client)
{
    struct linger hard = { .l_onoff = 1 };
    struct wire *w = all;
    int fd = to_server();

    while (w < all + WIRES && w->used)
        w++;
    if (fd < 0 || w == all + WIRES) { /* as if it did not listen */
        setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close(client);
        if (fd >= 0)
            close(fd);
        return;
    }
    memset(w, 0, offsetof(struct wire, kept));
    w->kept_used = 0;
    w->used = true;
    w->ways[0].from = w->ways[1].to = client;
    w->ways[1].from = w->ways[0].to = fd;
    /* Some die in the handshake or the hello, most among the ops. */
    w->cut_at = dice(4) ? 2000 + dice(3000000) : dice(2000);
    w->fate = (enum fate)dice(FATES);
    w->delay_us = dice(3) ? 0 : (unsigned)dice(30000);
}

/* The server hears all of it once more, from a stranger. */
static void say_twice(const struct wire *w)
{
    int fd = to_server();

    if (fd < 0)
        return;
    (void)!send(fd, w->kept, w->kept_used, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void meet_fate(struct wire *w, struct way *way)
{
    if (w->die_us)
        return;
    switch (w->fate) {
    case RESET:
        end_wire(w, true);
        break;
    case TWICE:
        say_twice(w);
        end_wire(w, false);
        break;
    case HALF: /* one of them hears an end, the other nothing yet */
        shutdown(way->to, SHUT_WR);
        way->over = true;
        w->die_us = far_now_us() + 200000;
        break;
    case SILENCE:
        w->ways[0].over = w->ways[1].over = true;
        w->die_us = far_now_us() + 100000 + dice(2000000);
        break;
    default:
        end_wire(w, false);
        break;
    }
}

static void keep(struct wire *w, const uint8_t *bytes, size_t count)
{
    if (count > KEPT_BYTES - w->kept_used)
        count = KEPT_BYTES - w->kept_used;
    memcpy(w->kept + w->kept_used, bytes, count);
    w->kept_used += count;
}

static void turn_way(struct wire *w, struct way *way)
{
    ssize_t n;

    if (way->at == way->end) {
        n = recv(way->from, way->piece, sizeof(way->piece), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            end_wire(w, n < 0);
            return;
        }
        way->at = 0;
        way->end = (size_t)n;
        way->hold_until_us =
            w->delay_us && !kind ? far_now_us() + dice(w->delay_us) : 0;
        if (way == &w->ways[0])
            keep(w, way->piece, way->end);
    }
    if (way->over) { /* swallowed */
        way->at = way->end;
        return;
    }
    if (far_now_us() < way->hold_until_us)
        return;
    n = (ssize_t)(way->end - way->at);
    if (!kind && w->passed + (uint64_t)n > w->cut_at)
        n = w->passed < w->cut_at ? (ssize_t)(w->cut_at - w->passed) : 0;
    if (n) {
        n = send(way->to, way->piece + way->at, (size_t)n,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            end_wire(w, true);
            return;
        }
        way->at += (size_t)n;
        w->passed += (uint64_t)n;
    }
    if (w->passed >= w->cut_at && !kind)
        meet_fate(w, way);
}

/* Until something comes, or 500 us have passed. */
static void wait_for(int listener)
{
    struct pollfd fds[1 + 2 * WIRES] = { { listener, POLLIN, 0 } };
    const struct timespec pause = { .tv_nsec = 500000 };
    nfds_t n = 1;
    bool waits = false;

    for (struct wire *w = all; w < all + WIRES; w++) {
        waits |= w->used && w->die_us;
        for (int i = 0; i < 2 && w->used; i++) {
            const struct way *way = &w->ways[i];

            if (way->at == way->end)
                fds[n++] = (struct pollfd){ way->from, POLLIN, 0 };
            else
                waits = true;
        }
    }
    ppoll(fds, n, waits ? &pause : NULL, NULL);
}

void wires(int listener, uint16_t to, uint64_t seed)
{
    server_port = to;
    state = seed;
    signal(SIGUSR1, be_kind);
    for (;;) {
        int fd;

        while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            new_wire(fd);
        for (struct wire *w = all; w < all + WIRES; w++) {
            for (int i = 0; i < 2 && w->used; i++)
                turn_way(w, &w->ways[i]);
            if (w->used && w->die_us && (kind || far_now_us() > w->die_us))
                end_wire(w, false);
        }
        wait_for(listener);
    }
}
