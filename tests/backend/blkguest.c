/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's side of a disk, for tests: does what it is told, right or wrong,
 * one line at a time, and answers each with a line. What is right goes through
 * the frontend's library; what is wrong is put into the ring by hand.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/blkif.h>
#include "core/clock.h"
#include "frontend/blk.h"

static struct far_loop *loop;
static struct far_xs *xs;
static struct far_blk *blk;
static enum far_blk_state state;
static struct far_blk_options options;

/* --- a checking workload -------------------------------------------------
 * Each block holds its number and a version in every 512 bytes. A block with a
 * request under way is left alone: so each read has exactly one right answer.
 */

#define BLOCKS_MAX 4096u
static struct {
    bool runs;
    uint64_t seed, ops, errors, bad, flushes;
    unsigned depth;
    uint32_t blocks, block_bytes;
    uint32_t version[BLOCKS_MAX];
    bool busy[BLOCKS_MAX];
    struct {
        uint32_t block, count;
        uint8_t op;
    } slot[FAR_BLK_SLOTS_MAX];
    uint64_t until_us;
} load;

static int16_t one_status;
static bool one_done;

static uint64_t rnd(void)
{
    load.seed ^= load.seed << 13;
    load.seed ^= load.seed >> 7;
    load.seed ^= load.seed << 17;
    return load.seed;
}

static void stamp(void *memory, uint32_t block, uint32_t version)
{
    uint32_t *at = memory;

    for (unsigned i = 0; i < load.block_bytes / 4; i++)
        at[i] = block * 2654435761u ^ version * 40503u ^ i;
}

static bool stamped(const void *memory, uint32_t block, uint32_t version)
{
    const uint32_t *at = memory;

    for (unsigned i = 0; i < load.block_bytes / 4; i++)
        if (at[i] != (block * 2654435761u ^ version * 40503u ^ i))
            return false;
    return true;
}

/* False: no slot is free. */
static bool next_one(void)
{
    uint32_t block = (uint32_t)(rnd() % load.blocks), count = 1, most;
    uint32_t kind = (uint32_t)(rnd() % 100);
    int slot = far_blk_take(blk);
    uint8_t *memory;

    if (slot < 0)
        return false;
    memory = far_blk_memory(blk, (unsigned)slot);
    load.slot[slot].op = kind < 45   ? BLKIF_OP_READ
                         : kind < 96 ? BLKIF_OP_WRITE
                                     : BLKIF_OP_FLUSH_DISKCACHE;
    if (load.slot[slot].op == BLKIF_OP_FLUSH_DISKCACHE) {
        load.slot[slot].count = 0;
        far_blk_submit(blk, (unsigned)slot, BLKIF_OP_FLUSH_DISKCACHE, 0, 0,
                       false);
        return true;
    }
    while (load.busy[block])
        block = (block + 1) % load.blocks;
    /* some blocks are always left alone */
    most = options.segments * 4096 / load.block_bytes;
    if (most > load.blocks / (2 * load.depth))
        most = load.blocks / (2 * load.depth);
    most = (uint32_t)(rnd() % most) + 1;
    while (count < most && block + count < load.blocks &&
           !load.busy[block + count])
        count++;
    load.slot[slot].block = block;
    load.slot[slot].count = count;
    for (uint32_t i = 0; i < count; i++) {
        load.busy[block + i] = true;
        if (load.slot[slot].op == BLKIF_OP_WRITE)
            stamp(memory + i * load.block_bytes, block + i,
                  load.version[block + i] + 1);
        else
            memset(memory + i * load.block_bytes, 0xee, load.block_bytes);
    }
    far_blk_submit(blk, (unsigned)slot, load.slot[slot].op,
                   (uint64_t)block * load.block_bytes,
                   (uint64_t)count * load.block_bytes, false);
    return true;
}

static void load_done(unsigned slot, int16_t status)
{
    uint8_t *memory = far_blk_memory(blk, slot);
    uint32_t block = load.slot[slot].block;

    load.ops++;
    load.errors += status != BLKIF_RSP_OKAY;
    load.flushes += load.slot[slot].op == BLKIF_OP_FLUSH_DISKCACHE;
    for (uint32_t i = 0; i < load.slot[slot].count; i++) {
        load.busy[block + i] = false;
        if (load.slot[slot].op == BLKIF_OP_WRITE && status == BLKIF_RSP_OKAY)
            load.version[block + i]++;
        if (load.slot[slot].op == BLKIF_OP_READ && status == BLKIF_RSP_OKAY &&
            !stamped(memory + i * load.block_bytes, block + i,
                     load.version[block + i])) {
            load.bad++;
            fprintf(stderr, "block %u is not at version %u\n", block + i,
                    load.version[block + i]);
        }
    }
}

static void on_done(void *arg, unsigned slot, int16_t status)
{
    (void)arg;
    if (load.runs) {
        load_done(slot, status);
    } else {
        one_status = status;
        one_done = true;
    }
}

static void on_state(void *arg, enum far_blk_state now, const char *why)
{
    (void)arg;
    (void)why;
    state = now;
}

static bool turn_until(bool (*holds)(void), unsigned ms)
{
    uint64_t until = far_now_us() + ms * 1000ull;

    while (!holds()) {
        if (far_now_us() > until)
            return false;
        far_loop_turn(loop, 10000);
    }
    return true;
}

static bool is_connected(void)
{
    return state == FAR_BLK_CONNECTED;
}

static bool is_gone(void)
{
    return state == FAR_BLK_GONE;
}

static bool is_one_done(void)
{
    return one_done;
}

static bool is_idle(void)
{
    return far_blk_in_flight(blk) == 0;
}

/* Every block once, so that all versions are known; then for ms. */
static void run_load(uint64_t seed, unsigned ms, unsigned depth,
                     uint32_t blocks, uint32_t block_bytes)
{
    memset(&load, 0, sizeof(load));
    load.runs = true;
    load.seed = seed * 0x9e3779b97f4a7c15u + 1;
    load.blocks = blocks;
    load.depth = depth;
    load.block_bytes = block_bytes;
    for (uint32_t block = 0; block < blocks;) {
        int slot = far_blk_take(blk);

        if (slot < 0) {
            far_loop_turn(loop, 10000);
            continue;
        }
        load.slot[slot].op = BLKIF_OP_WRITE;
        load.slot[slot].block = block;
        load.slot[slot].count = 1;
        load.busy[block] = true;
        stamp(far_blk_memory(blk, (unsigned)slot), block, 1);
        far_blk_submit(blk, (unsigned)slot, BLKIF_OP_WRITE,
                       (uint64_t)block * block_bytes, block_bytes, false);
        block++;
    }
    load.until_us = far_now_us() + ms * 1000ull;
    printf("going\n");
    while (far_now_us() < load.until_us) {
        while (far_blk_in_flight(blk) < depth && next_one())
            ;
        far_loop_turn(loop, 10000);
    }
    if (!turn_until(is_idle, 20000))
        printf("err stuck %u of %llu: req_prod %u event %u rsp_prod %u event "
               "%u\n",
               far_blk_in_flight(blk), (unsigned long long)load.ops,
               ((uint32_t *)far_blk_ring(blk, 0))[0],
               ((uint32_t *)far_blk_ring(blk, 0))[1],
               ((uint32_t *)far_blk_ring(blk, 0))[2],
               ((uint32_t *)far_blk_ring(blk, 0))[3]);
    else
        printf("ok ops %llu errors %llu bad %llu\n",
               (unsigned long long)load.ops, (unsigned long long)load.errors,
               (unsigned long long)load.bad);
    load.runs = false;
}

/* One request: its status, and what is at the beginning of its memory. */
static void run_one(unsigned op, uint64_t offset, uint64_t bytes, unsigned fill)
{
    int slot = far_blk_take(blk);
    unsigned char *memory;

    if (slot < 0) {
        printf("err no slot\n");
        return;
    }
    memory = far_blk_memory(blk, (unsigned)slot);
    memset(memory, (int)fill, options.segments * 4096);
    one_done = false;
    if (far_blk_submit(blk, (unsigned)slot, (uint8_t)(op & 0xff), offset, bytes,
                       op & 0x100)) {
        printf("err submit\n");
        return;
    }
    if (!turn_until(is_one_done, 10000))
        printf("err no answer\n");
    else
        printf("ok %d %02x %02x\n", one_status, memory[0],
               memory[bytes ? bytes - 1 : 0]);
}

/* --- by hand -------------------------------------------------------------- */

static _Atomic uint32_t *word(unsigned which)
{
    return (_Atomic uint32_t *)far_blk_ring(blk, 0) + which;
}

static uint8_t *entry(uint32_t index)
{
    uint32_t bytes = options.abi_32 ? 108 : 112;

    return (uint8_t *)far_blk_ring(blk, 0) + 64 + (index & 31) * bytes;
}

/* Puts these bytes into the ring. */
static void put_raw(const char *hex)
{
    uint32_t at = atomic_load(word(0));
    uint8_t bytes[112] = { 0 };

    for (size_t n = 0; n < 112 && sscanf(hex, "%2hhx", &bytes[n]) == 1; n++)
        hex += 2;
    memcpy(entry(at), bytes, options.abi_32 ? 108 : 112);
    atomic_store(word(0), at + 1);
    far_blk_kick(blk, 0);
}

/* The same, and prints the answer. */
static void raw(const char *hex)
{
    uint32_t answers = atomic_load(word(2));
    uint64_t until = far_now_us() + 5000000, id;
    uint8_t *e;
    int16_t status;

    put_raw(hex);
    while (atomic_load(word(2)) == answers && far_now_us() < until)
        usleep(200);
    if (atomic_load(word(2)) == answers) {
        printf("none\n");
        return;
    }
    e = entry(answers);
    memcpy(&id, e, sizeof(id));
    memcpy(&status, e + 10, sizeof(status));
    printf("ok %016llx %u %d %02x\n", (unsigned long long)id, e[8], status,
           e[9] | (options.abi_32 ? 0 : e[12] | e[13] | e[14] | e[15]));
}

static atomic_bool hammering;
static uint8_t *hammered;
static size_t hammered_bytes;

static void *hammer_thread(void *arg)
{
    uint64_t x = 88172645463325252u;

    (void)arg;
    while (hammering) {
        for (unsigned i = 0; i < 256; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            hammered[x % hammered_bytes] = (uint8_t)(x >> 32);
        }
    }
    return NULL;
}

/* Pushes requests while a thread rewrites the ring's entries, or (indirect)
 * the page of segments, without a pause. */
static void hammer(unsigned ms, bool indirect)
{
    uint64_t until = far_now_us() + ms * 1000ull, pushed = 0;
    pthread_t thread;
    unsigned segments_page = options.segments;

    hammered = indirect
                   ? (uint8_t *)far_blk_memory(blk, 0) + segments_page * 4096
                   : entry(0);
    hammered_bytes = indirect ? 512 : 32 * (options.abi_32 ? 108 : 112);
    hammering = true;
    pthread_create(&thread, NULL, hammer_thread, NULL);
    while (far_now_us() < until) {
        uint32_t at = atomic_load(word(0));

        if (at - atomic_load(word(2)) >= 32) {
            usleep(100);
            continue;
        }
        if (indirect) {
            uint32_t page = far_blk_gref(blk, 0, segments_page);
            uint16_t count = (uint16_t)(at % 65);
            uint8_t *e = entry(at);

            memset(e, 0, 112);
            e[0] = BLKIF_OP_INDIRECT;
            e[1] = at & 1 ? BLKIF_OP_READ : BLKIF_OP_WRITE;
            memcpy(e + 2, &count, 2);
            memcpy(e + 28, &page, 4);
        } else {
            entry(at)[0] = (uint8_t)(at % 7);
        }
        atomic_store(word(0), at + 1);
        pushed++;
        if (pushed % 8 == 0)
            far_blk_kick(blk, 0);
    }
    hammering = false;
    pthread_join(thread, NULL);
    printf("ok %llu\n", (unsigned long long)pushed);
}

/* --- lines ---------------------------------------------------------------- */

static void open_disk(char *text)
{
    static const struct far_blk_hooks hooks = { on_state, on_done };
    unsigned devid, persistent, abi_32;

    if (blk)
        far_blk_close(blk);
    memset(&options, 0, sizeof(options));
    state = FAR_BLK_WAITS;
    if (sscanf(text, "%u %u %u %u %u %u %u", &devid, &options.queues,
               &options.ring_order, &options.slots, &options.segments,
               &persistent, &abi_32) != 7) {
        printf("err usage\n");
        return;
    }
    options.persistent = persistent;
    options.abi_32 = abi_32;
    blk = far_blk_open(loop, xs, devid, &options, &hooks, NULL);
    printf(blk ? "ok\n" : "err %s\n", strerror(errno));
}

static void print_info(void)
{
    const struct far_blk_info *i = far_blk_info(blk);
    const struct far_blk_counters *c = far_blk_counters(blk);

    printf("ok sectors %llu sector %u cdrom %d removable %d ro %d flush %d "
           "barrier %d discard %d secure %d persistent %d segments %u queues "
           "%u pages %u connects %llu wrong %llu\n",
           (unsigned long long)i->sectors, i->sector_bytes, i->cdrom,
           i->removable, i->read_only, i->flush, i->barrier, i->discard,
           i->secure_discard, i->persistent, i->segments, i->queues,
           i->ring_pages, (unsigned long long)c->connects,
           (unsigned long long)c->wrong);
}

static void write_node(char *text)
{
    char *value = strchr(text, ' ');

    if (value)
        *value++ = '\0';
    printf(!far_xs_write(xs, 0, text, "%s", value ? value : "") ? "ok\n"
                                                                : "err\n");
}

static bool obey(char *line)
{
    unsigned a, b, c, d, e;
    unsigned long long offset, bytes;

    if (!strncmp(line, "open ", 5))
        open_disk(line + 5);
    else if (!strcmp(line, "connected"))
        printf(turn_until(is_connected, 10000) ? "ok\n" : "err\n");
    else if (!strcmp(line, "gone"))
        printf(turn_until(is_gone, 10000) ? "ok\n" : "err\n");
    else if (sscanf(line, "turn %u", &a) == 1)
        printf(turn_until(is_gone, a) ? "gone\n" : "ok\n");
    else if (!strcmp(line, "info"))
        print_info();
    else if (sscanf(line, "load %u %u %u %u %u", &a, &b, &c, &d, &e) == 5)
        run_load(a, b, c, d, e);
    else if (sscanf(line, "one %u %llu %llu %u", &a, &offset, &bytes, &b) == 4)
        run_one(a, offset, bytes, b);
    else if (!strncmp(line, "raw ", 4))
        raw(line + 4);
    else if (!strncmp(line, "put ", 4))
        put_raw(line + 4), printf("ok\n");
    else if (sscanf(line, "gref %u %u", &a, &b) == 2)
        printf("ok %u\n", far_blk_gref(blk, a, b));
    else if (sscanf(line, "prod %u", &a) == 1)
        atomic_store(word(0), atomic_load(word(0)) + a), far_blk_kick(blk, 0),
            printf("ok\n");
    else if (sscanf(line, "hammer %u %u", &a, &b) == 2)
        hammer(a, b);
    else if (sscanf(line, "fill %u %u", &a, &b) == 2)
        memset(far_blk_memory(blk, a), (int)b, options.segments * 4096),
            printf("ok\n");
    else if (sscanf(line, "peek %u %llu", &a, &offset) == 2)
        printf("ok %02x\n", ((uint8_t *)far_blk_memory(blk, a))[offset]);
    else if (!strncmp(line, "segments ", 9)) {
        /* into the indirect page of slot 0: gref first last */
        struct blkif_request_segment s = { 0 };
        unsigned n, first, last, gref;

        if (sscanf(line + 9, "%u %u %u %u", &n, &gref, &first, &last) == 4) {
            s.gref = gref;
            s.first_sect = (uint8_t)first;
            s.last_sect = (uint8_t)last;
            memcpy((uint8_t *)far_blk_memory(blk, 0) + options.segments * 4096 +
                       n * sizeof(s),
                   &s, sizeof(s));
        }
        printf("ok\n");
    } else if (!strcmp(line, "leave"))
        far_blk_leave(blk), printf("ok\n");
    else if (!strncmp(line, "write ", 6))
        write_node(line + 6);
    else if (!strcmp(line, "close"))
        far_blk_close(blk), blk = NULL, printf("ok\n");
    else
        return false;
    return true;
}

int main(void)
{
    char line[4096];

    setvbuf(stdout, NULL, _IOLBF, 0);
    loop = far_loop_new();
    xs = loop ? far_xs_open(loop, NULL, NULL) : NULL;
    if (!xs) {
        fprintf(stderr, "no xenstore here\n");
        return 1;
    }
    printf("ok\n");
    for (;;) {
        struct pollfd p = { .fd = 0, .events = POLLIN };

        /* the disk goes on while nothing is asked */
        if (poll(&p, 1, 5) == 0) {
            if (blk && !load.runs)
                far_loop_turn(loop, 0);
            continue;
        }
        if (!fgets(line, sizeof(line), stdin))
            return 0;
        line[strcspn(line, "\n")] = '\0';
        if (!obey(line))
            printf("err what\n");
        fflush(stdout);
    }
}
