/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's end of the disk rows: a frontend of the library that reads blocks
 * at random places of a disk that it has filled, with so many requests under
 * way. With `copy` it is the floor of bulk: one thread that copies random
 * 128 KiB of a disk's memory into eight buffers, in pages.
 *
 * usage: disk BYTES DEPTH SECONDS | disk copy SECONDS
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/io/blkif.h>
#include "bench/samples.h"
#include "core/clock.h"
#include "core/loop.h"
#include "frontend/blk.h"
#include "xenbus/xs.h"

#define DEVID      51712u
#define WARM_US    300000u
#define FILL_BYTES 131072u
#define COPY_DISK  (128ull << 20)
#define COPY_BYTES (128u << 10)

static struct far_loop *loop;
static struct far_blk *blk;
static struct samples samples;
static struct far_defer refill;
static uint64_t bytes, size, fill_at, done_ops, begun_us, end_us, run_us;
static uint64_t begun_ns[FAR_BLK_SLOTS_MAX], x = 88172645463325252u;
static unsigned depth, in_flight;
static enum { CONNECTING, FILLING, WARMING, MEASURING, OVER } phase;
static struct rusage before;

static uint64_t next_random(void)
{
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "disk: %s\n", what);
    exit(1);
}

static void ask(int slot)
{
    bool fills = phase == FILLING;
    uint64_t at = fills ? fill_at : next_random() % (size / bytes) * bytes;

    if (fills) {
        memset(far_blk_memory(blk, (unsigned)slot), 1 + slot, FILL_BYTES);
        fill_at += FILL_BYTES;
    }
    begun_ns[slot] = far_now_ns();
    if (far_blk_submit(blk, (unsigned)slot,
                       fills ? BLKIF_OP_WRITE : BLKIF_OP_READ, at,
                       fills ? FILL_BYTES : bytes, false))
        die("no such request");
    in_flight++;
}

static void step(uint64_t now_us)
{
    if (phase == FILLING && fill_at + FILL_BYTES > size && !in_flight) {
        phase = WARMING;
        begun_us = now_us;
    } else if (phase == WARMING && now_us - begun_us >= WARM_US) {
        phase = MEASURING;
        puts("begun");
        fflush(stdout);
        getrusage(RUSAGE_SELF, &before);
        begun_us = far_now_us();
    } else if (phase == MEASURING && now_us - begun_us >= run_us) {
        phase = OVER;
        end_us = now_us;
        far_loop_stop(loop);
    }
}

static void refill_run(struct far_defer *defer)
{
    int slot;

    (void)defer;
    step(far_now_us());
    while (phase != CONNECTING && phase != OVER && in_flight < depth &&
           (phase != FILLING || fill_at + FILL_BYTES <= size) &&
           (slot = far_blk_take(blk)) >= 0)
        ask(slot);
}

static void on_done(void *arg, unsigned slot, int16_t status)
{
    (void)arg;
    if (status != BLKIF_RSP_OKAY)
        die("a request failed");
    in_flight--;
    if (phase == MEASURING) {
        done_ops++;
        samples_add(&samples, far_now_ns() - begun_ns[slot]);
    }
    far_defer(loop, &refill, refill_run);
}

static void on_state(void *arg, enum far_blk_state state, const char *why)
{
    (void)arg;
    if (state == FAR_BLK_GONE)
        die(why ? why : "it is gone");
    if (state != FAR_BLK_CONNECTED || phase != CONNECTING)
        return;
    size = far_blk_info(blk)->sectors * 512;
    phase = FILLING;
    far_defer(loop, &refill, refill_run);
}

static double us(struct timeval a, struct timeval b)
{
    return (double)(b.tv_sec - a.tv_sec) * 1e6 +
           (double)(b.tv_usec - a.tv_usec);
}

static void print_rates(void)
{
    double seconds = (double)(end_us - begun_us) * 1e-6;
    double ops = done_ops ? (double)done_ops : 1;
    struct rusage after;

    getrusage(RUSAGE_SELF, &after);
    qsort(samples.ns, samples.count, sizeof(*samples.ns), samples_compare);
    printf("{\"ops\": %llu, \"per_s\": %.1f, \"mib_per_s\": %.2f, "
           "\"p50_us\": %.3f, \"p99_us\": %.3f, \"front_us_per_op\": %.3f, "
           "\"front_sleeps_per_op\": %.3f}\n",
           (unsigned long long)done_ops, ops / seconds,
           ops * (double)bytes / seconds / 1048576, samples_us(&samples, 0.5),
           samples_us(&samples, 0.99),
           (us(before.ru_utime, after.ru_utime) +
            us(before.ru_stime, after.ru_stime)) /
               ops,
           (double)(after.ru_nvcsw - before.ru_nvcsw) / ops);
}

static int copy(double seconds)
{
    uint8_t *disk = mmap(NULL, COPY_DISK, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *buffers = malloc(8 * COPY_BYTES);
    uint64_t n = 0;

    if (disk == MAP_FAILED || !buffers)
        die("memory is out");
    memset(disk, 1, COPY_DISK);
    memset(buffers, 2, 8 * COPY_BYTES);
    begun_us = far_now_us();
    while ((double)(far_now_us() - begun_us) * 1e-6 < seconds) {
        const uint8_t *from =
            disk + next_random() % (COPY_DISK / COPY_BYTES) * COPY_BYTES;
        uint8_t *to = buffers + n++ % 8 * COPY_BYTES;

        for (unsigned i = 0; i < COPY_BYTES; i += 4096) {
            memcpy(to + i, from + i, 4096);
            /* the copy is wanted */
            __asm__ volatile("" : : "r"(to) : "memory");
        }
    }
    seconds = (double)(far_now_us() - begun_us) * 1e-6;
    printf("{\"mib_per_s\": %.2f}\n",
           (double)(n * COPY_BYTES) / seconds / 1048576);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct far_blk_hooks hooks = { on_state, on_done };
    struct far_blk_options options = { .queues = 1,
                                       .ring_order = 2,
                                       .persistent = true };
    struct far_xs *xs;

    if (argc == 3 && !strcmp(argv[1], "copy"))
        return copy(atof(argv[2]));
    if (argc != 4)
        return 2;
    bytes = strtoull(argv[1], NULL, 10);
    depth = (unsigned)strtoul(argv[2], NULL, 10);
    run_us = (uint64_t)(atof(argv[3]) * 1e6);
    options.slots = depth;
    options.segments = FILL_BYTES / 4096;
    loop = far_loop_new();
    xs = loop ? far_xs_open(loop, NULL, NULL) : NULL;
    if (!xs || !bytes || !depth || samples_init(&samples, 8u << 20))
        die("no xenstore here");
    blk = far_blk_open(loop, xs, DEVID, &options, &hooks, NULL);
    if (!blk || far_loop_run(loop))
        die("it can't be opened");
    print_rates();
    fflush(stdout);
    (void)getchar(); /* until what the backend has counted was read */
    far_blk_close(blk);
    far_xs_close(xs);
    far_loop_free(loop);
    free(samples.ns);
    return 0;
}
