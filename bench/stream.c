/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two programs that use libxenvchan's calls, for the rows of streams; linked
 * with Xen's library and with Farside's. The client measures: how long 40 bytes
 * take there and back (echo), or how many arrive in a second (bulk).
 *
 * usage: stream server|client DOMID PATH echo|bulk ROUNDS CPU
 */
#include <libxenvchan.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/samples.h"
#include "core/clock.h"

#define ECHO_BYTES 40
#define BULK_BYTES 65536
#define RING_BYTES (1u << 20)

static char bytes[BULK_BYTES] = { 1 };

static int serve(struct libxenvchan *v, bool bulk, unsigned rounds)
{
    unsigned size = bulk ? BULK_BYTES : ECHO_BYTES;

    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned got = 0; got < size;) {
            int n = libxenvchan_read(v, bytes + got, size - got);

            if (n <= 0)
                return 1;
            got += (unsigned)n;
        }
        if (!bulk && libxenvchan_send(v, bytes, size) != (int)size)
            return 1;
    }
    /* the last word, and then the client's */
    return libxenvchan_send(v, bytes, 1) != 1 ||
           libxenvchan_read(v, bytes, 1) != 1;
}

static int echo(struct libxenvchan *v, unsigned rounds)
{
    unsigned warm_up = rounds / 10;
    struct samples samples;

    if (samples_init(&samples, rounds) < 0)
        return 1;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t start = far_now_ns();

        if (libxenvchan_send(v, bytes, ECHO_BYTES) != ECHO_BYTES ||
            libxenvchan_recv(v, bytes, ECHO_BYTES) != ECHO_BYTES)
            return 1;
        if (i >= warm_up)
            samples_add(&samples, far_now_ns() - start);
    }
    samples_print(&samples, "stream");
    return 0;
}

static int bulk(struct libxenvchan *v, unsigned rounds)
{
    uint64_t start = far_now_ns();

    for (unsigned i = 0; i < rounds; i++)
        if (libxenvchan_write(v, bytes, BULK_BYTES) != BULK_BYTES)
            return 1;
    if (libxenvchan_read(v, bytes, 1) != 1)
        return 1;
    printf("{\"name\": \"stream\", \"mb_per_s\": %.1f}\n",
           (double)rounds * BULK_BYTES * 1000.0 /
               (double)(far_now_ns() - start));
    return libxenvchan_write(v, bytes, 1) != 1;
}

static int call(struct libxenvchan *v, bool is_bulk, unsigned rounds)
{
    if (is_bulk)
        return bulk(v, rounds);
    return echo(v, rounds) || libxenvchan_read(v, bytes, 1) != 1 ||
           libxenvchan_write(v, bytes, 1) != 1;
}

int main(int argc, char **argv)
{
    bool server = argc == 7 && !strcmp(argv[1], "server"), is_bulk;
    struct libxenvchan *v = NULL;
    unsigned rounds;
    int r;

    if (argc != 7) {
        fprintf(
            stderr,
            "usage: stream server|client DOMID PATH echo|bulk ROUNDS CPU\n");
        return 2;
    }
    is_bulk = !strcmp(argv[4], "bulk");
    rounds = (unsigned)strtoul(argv[5], NULL, 10);
    samples_pin(atoi(argv[6]));
    for (unsigned tries = 0; tries < 500 && !v; tries++) {
        v = server ? libxenvchan_server_init(NULL, atoi(argv[2]), argv[3],
                                             RING_BYTES, RING_BYTES)
                   : libxenvchan_client_init(NULL, atoi(argv[2]), argv[3]);
        if (!v)
            usleep(10000);
    }
    if (!v) {
        perror("stream");
        return 1;
    }
    v->blocking = -1; /* one bit, and signed */
    r = server ? serve(v, is_bulk, rounds) : call(v, is_bulk, rounds);
    libxenvchan_close(v);
    return r;
}
