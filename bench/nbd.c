/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The peer of the bench of links: reads from an NBD server with so many
 * requests under way, by libnbd's asynchronous calls, and nothing else.
 *
 * usage: nbd PORT BYTES DEPTH SECONDS [PSK-FILE IDENTITY]
 */
#include <libnbd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "bench/samples.h"
#include "core/clock.h"

#define WARM_US    300000u
#define DEPTH_MAX  64
#define FILL_BYTES 65536u

struct request {
    uint64_t begun_ns;
    bool busy, done;
};

static struct nbd_handle *nbd;
static struct request requests[DEPTH_MAX];
static uint8_t *buffers;
static uint64_t next_offset, size_bytes, done_ops;
static size_t bytes;
static struct samples samples;
static bool warm;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "nbd: %s: %s\n", what, nbd_get_error());
    exit(1);
}

static int completed(void *data, int *error)
{
    struct request *r = data;

    if (*error)
        die("read");
    r->done = true;
    return 1; /* retire it */
}

static void ask(unsigned i)
{
    struct request *r = &requests[i];

    r->begun_ns = far_now_ns();
    r->busy = true;
    r->done = false;
    if (nbd_aio_pread(
            nbd, buffers + i * bytes, bytes, next_offset,
            (nbd_completion_callback){ .callback = completed, .user_data = r },
            0) < 0)
        die("pread");
    next_offset += bytes;
    if (next_offset + bytes > size_bytes)
        next_offset = 0;
}

static void reap(unsigned depth, bool again)
{
    for (unsigned i = 0; i < depth; i++) {
        if (!requests[i].busy || !requests[i].done)
            continue;
        requests[i].busy = false;
        if (warm) {
            done_ops++;
            samples_add(&samples, far_now_ns() - requests[i].begun_ns);
        }
        if (again)
            ask(i);
    }
}

int main(int argc, char **argv)
{
    unsigned depth;
    uint64_t begun_us, end_us;
    struct rusage before, after;
    double seconds;
    int64_t size;

    if (argc < 5)
        return 2;
    bytes = (size_t)atol(argv[2]);
    depth = (unsigned)atoi(argv[3]);
    seconds = atof(argv[4]);
    nbd = nbd_create();
    if (!nbd || depth > DEPTH_MAX || samples_init(&samples, 4u << 20))
        return 1;
    if (argc > 6 && (nbd_set_tls(nbd, LIBNBD_TLS_REQUIRE) < 0 ||
                     nbd_set_tls_psk_file(nbd, argv[5]) < 0 ||
                     nbd_set_tls_username(nbd, argv[6]) < 0))
        die("TLS");
    if (nbd_connect_tcp(nbd, "127.0.0.1", argv[1]) < 0)
        die("connect");
    size = nbd_get_size(nbd);
    buffers = calloc(depth, bytes);
    if (size < (int64_t)bytes || !buffers)
        die("size");
    size_bytes = (uint64_t)size;
    for (uint64_t at = 0; at + FILL_BYTES <= size_bytes; at += FILL_BYTES) {
        static const uint8_t some[FILL_BYTES] = { 1 };

        if (nbd_pwrite(nbd, some, FILL_BYTES, at, 0) < 0)
            die("write");
    }
    for (unsigned i = 0; i < depth; i++)
        ask(i);
    end_us = far_now_us() + WARM_US;
    while (far_now_us() < end_us) {
        if (nbd_poll(nbd, 1000) < 0)
            die("poll");
        reap(depth, true);
    }
    warm = true;
    getrusage(RUSAGE_SELF, &before);
    begun_us = far_now_us();
    end_us = begun_us + (uint64_t)(seconds * 1e6);
    while (far_now_us() < end_us) {
        if (nbd_poll(nbd, 1000) < 0)
            die("poll");
        reap(depth, true);
    }
    seconds = (double)(far_now_us() - begun_us) * 1e-6;
    getrusage(RUSAGE_SELF, &after);
    qsort(samples.ns, samples.count, sizeof *samples.ns, samples_compare);
    printf("{\"ops\": %llu, \"per_s\": %.1f, \"mib_per_s\": %.2f, "
           "\"p50_us\": %.3f, \"p99_us\": %.3f, \"sleeps\": %ld}\n",
           (unsigned long long)done_ops, (double)done_ops / seconds,
           (double)done_ops * (double)bytes / seconds / 1048576,
           samples_us(&samples, 0.5), samples_us(&samples, 0.99),
           after.ru_nvcsw - before.ru_nvcsw);
    warm = false;
    end_us = far_now_us() + 100000;
    while (nbd_aio_in_flight(nbd) > 0 && far_now_us() < end_us) {
        if (nbd_poll(nbd, 10) < 0)
            break;
        reap(depth, false);
    }
    nbd_close(nbd);
    free(buffers);
    free(samples.ns);
    return 0;
}
