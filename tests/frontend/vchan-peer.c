/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program in a guest that uses libxenvchan's calls as lines tell it, and says
 * what came of it. Knows nothing of Farside: tests link it with one library or
 * the other.
 *
 *   server DOMID PATH LEFT RIGHT | client DOMID PATH
 *   move SEND RECEIVE SEED   both at once, as a known sequence, not blocking
 *   open | ready | space | close | write BYTES | wait MS
 */
#include <libxenvchan.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

static struct libxenvchan *v;

/* The byte at a place of the sequence of a seed. */
static uint8_t byte_at(uint64_t place, unsigned seed)
{
    uint64_t x = (place / 8 + seed) * 0x9e3779b97f4a7c15u;

    return (uint8_t)((x ^ x >> 29) >> place % 8 * 7);
}

static void wait_ms(int ms)
{
    struct pollfd p = { .fd = libxenvchan_fd_for_select(v), .events = POLLIN };

    if (poll(&p, 1, ms) > 0)
        (void)libxenvchan_wait(v);
}

/* What there is room for, and what has come. False: the other has closed. */
static bool step(uint64_t *sent, uint64_t to_send, uint64_t *got,
                 uint64_t to_get, unsigned seed, bool *moved)
{
    static uint8_t buffer[128 * 1024];
    size_t n = sizeof(buffer);
    int r;

    *moved = false;
    if (*sent < to_send) {
        if (n > to_send - *sent)
            n = (size_t)(to_send - *sent);
        for (size_t i = 0; i < n; i++)
            buffer[i] = byte_at(*sent + i, seed);
        r = libxenvchan_write(v, buffer, n);
        if (r < 0)
            return false;
        *sent += (unsigned)r;
        *moved |= r > 0;
    }
    if (*got >= to_get)
        return true;
    n = sizeof(buffer);
    if (n > to_get - *got)
        n = (size_t)(to_get - *got);
    r = libxenvchan_read(v, buffer, n);
    if (r < 0)
        return false;
    for (int i = 0; i < r; i++)
        if (buffer[i] != byte_at(*got + (unsigned)i, seed)) {
            printf("wrong byte at %llu\n",
                   (unsigned long long)(*got + (unsigned)i));
            exit(1);
        }
    *got += (unsigned)r;
    *moved |= r > 0;
    return true;
}

static void move(uint64_t to_send, uint64_t to_get, unsigned seed)
{
    uint64_t sent = 0, got = 0;
    bool moved, on = true;

    v->blocking = 0;
    while (on && (sent < to_send || got < to_get)) {
        on = step(&sent, to_send, &got, to_get, seed, &moved);
        if (on && !moved)
            wait_ms(1000);
    }
    printf("%s %llu %llu\n", on ? "ok" : "closed", (unsigned long long)sent,
           (unsigned long long)got);
}

static void say_opened(void)
{
    if (v)
        printf("ok\n");
    else
        printf("no %s\n", strerror(errno));
}

int main(void)
{
    char line[512], path[256];
    unsigned long long a, b;
    unsigned domid, seed;

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ok\n");
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "server %u %255s %llu %llu", &domid, path, &a, &b) ==
            4) {
            v = libxenvchan_server_init(NULL, (int)domid, path, a, b);
            say_opened();
        } else if (sscanf(line, "client %u %255s", &domid, path) == 2) {
            v = libxenvchan_client_init(NULL, (int)domid, path);
            say_opened();
        } else if (!v) {
            printf("no vchan\n");
        } else if (sscanf(line, "move %llu %llu %u", &a, &b, &seed) == 3) {
            move(a, b, seed);
        } else if (sscanf(line, "wait %llu", &a) == 1) {
            wait_ms((int)a);
            printf("ok\n");
        } else if (!strncmp(line, "open", 4)) {
            printf("ok %d\n", libxenvchan_is_open(v));
        } else if (!strncmp(line, "ready", 5)) {
            printf("ok %d\n", libxenvchan_data_ready(v));
        } else if (!strncmp(line, "space", 5)) {
            printf("ok %d\n", libxenvchan_buffer_space(v));
        } else if (!strncmp(line, "close", 5)) {
            libxenvchan_close(v);
            v = NULL;
            printf("ok\n");
        } else {
            printf("what?\n");
        }
    }
    return 0;
}
