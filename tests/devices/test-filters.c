/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Filters of disks, in front of a file: what a rate lets through, what a cache
 * answers and when it must not, what a verifier finds.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "core/block.h"
#include "devices/ranges.h"
#include "tests/devices/harness.h"

#define MIB   (1u << 20)
#define BYTES 4096u
#define SLOTS 16u

static char path[] = "/tmp/farside-test-disk-XXXXXX";
static int file;
static struct far_loop *loop;
static struct far_conf *conf;
static struct far_devices devices;
static struct port *p;

/* Between the port and the filter: counts, and forgets nothing. */
static unsigned rooms;
static uint64_t answered_slots;
static int32_t statuses[FAR_OP_SLOTS_MAX];

static void on_room(struct far_layer *layer)
{
    (void)layer;
    rooms++;
}

static void on_complete(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    answered_slots |= (uint64_t)1 << op->slot;
    statuses[op->slot] = op->status;
    p->completed++;
    p->last_complete = *op;
}

static void load(const char *filter)
{
    struct far_conf *old = conf;
    char text[400];

    snprintf(text, sizeof(text), "[device disk0]\ntype = file\npath = %s\n%s",
             path, filter);
    conf = conf_of(text);
    ck_assert_uint_eq(far_devices_load(&devices, conf, NULL, no_problem, NULL),
                      0);
    far_conf_free(old);
}

static void use(const char *filter)
{
    static struct far_layer_ops ops;
    struct far_local_who who = who_of("top", 1);
    struct far_error error = { 0 };
    struct far_layer *layer;

    load(filter);
    who.class = FAR_CLASS_BLOCK;
    ck_assert_msg(!far_device_open(far_device_find(&devices, "top"), &who,
                                   &layer, &error),
                  "%s", error.text);
    p = port_new(layer);
    ops = *p->layer.ops;
    ops.room = on_room;
    ops.complete = on_complete;
    p->layer.ops = &ops;
    far_layer_activate(p->layer.below, 0, 0);
    turn_until(loop, p->state == FAR_DEVICE_READY);
}

static void setup(void)
{
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    far_devices_init(&devices, loop, NULL);
    conf = NULL;
    rooms = 0;
    answered_slots = 0;
    strcpy(path, "/tmp/farside-test-disk-XXXXXX");
    file = mkostemp(path, O_CLOEXEC);
    ck_assert(file >= 0 && !ftruncate(file, 4 * MIB));
}

static void teardown(void)
{
    port_free(p);
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
    close(file);
    unlink(path);
}

static struct far_op op_of(uint16_t opcode, uint64_t offset, uint32_t bytes,
                           uint32_t slot)
{
    static uint64_t sequence;
    struct far_block_args args = { .offset_bytes = offset,
                                   .length_bytes = bytes };
    struct far_op op = {
        .attachment = 1, .sequence = ++sequence, .slot = slot, .opcode = opcode
    };

    if (opcode == FAR_BLOCK_READ)
        op.flags = FAR_OP_RECEIVES;
    if (opcode == FAR_BLOCK_WRITE)
        op.flags = FAR_OP_SENDS;
    if (op.flags)
        op.payload_bytes = bytes;
    memcpy(op.args, &args, sizeof(args));
    return op;
}

static enum far_verdict submit(struct far_op op, void *payload)
{
    enum far_verdict verdict = far_layer_submit(p->layer.below, &op, payload);

    if (verdict == FAR_DONE)
        on_complete(&p->layer, &op);
    return verdict;
}

/* To the end; its status. */
static int act(uint16_t opcode, uint64_t offset, uint32_t bytes, void *payload)
{
    unsigned before = p->completed;

    ck_assert_int_ne(submit(op_of(opcode, offset, bytes, 3), payload),
                     FAR_FULL);
    turn_until(loop, p->completed > before);
    return p->last_complete.status;
}

/* How many of these the layer of that name has answered itself. */
static uint64_t answered(const char *name, uint16_t opcode)
{
    const struct far_layer *l = &p->layer;

    while (l && strcmp(l->ops->name, name))
        l = l->below;
    ck_assert_ptr_nonnull(l);
    return l->counters.ops[opcode & 0xff].answered;
}

#define CACHE "[device top]\ntype = cache\nbehind = disk0\nsize = 1\n"

START_TEST(what_is_cached_is_answered_without_the_device)
{
    static uint8_t data[3 * BYTES], back[3 * BYTES];

    use(CACHE);
    memset(data, 0x5a, sizeof(data));
    ck_assert_int_eq(act(FAR_BLOCK_WRITE, BYTES, sizeof(data), data), 0);
    /* through: it is there */
    ck_assert_int_eq(pread(file, back, sizeof(back), BYTES), sizeof(back));
    ck_assert_mem_eq(back, data, sizeof(data));
    memset(back, 0, sizeof(back));
    ck_assert_int_eq(act(FAR_BLOCK_READ, BYTES, sizeof(back), back), 0);
    ck_assert_mem_eq(back, data, sizeof(data));
    ck_assert_uint_eq(p->last_complete.payload_bytes, sizeof(back));
    ck_assert_int_eq(act(FAR_BLOCK_READ, BYTES + 512, 1024, back), 0);
    ck_assert_uint_eq(answered("cache", FAR_BLOCK_READ), 2);
    ck_assert_uint_eq(answered("file", FAR_BLOCK_READ), 0);
    /* a part of it is not */
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, 2 * BYTES, back), 0);
    ck_assert_uint_eq(answered("file", FAR_BLOCK_READ), 1);
    ck_assert_uint_eq(back[0], 0);
    ck_assert_uint_eq(back[BYTES], 0x5a);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, 2 * BYTES, back), 0);
    ck_assert_uint_eq(answered("cache", FAR_BLOCK_READ), 3);
}
END_TEST

START_TEST(what_was_discarded_or_written_in_part_is_not_answered_from_before)
{
    static uint8_t data[2 * BYTES], back[2 * BYTES];

    use(CACHE);
    memset(data, 0x5a, sizeof(data));
    ck_assert_int_eq(act(FAR_BLOCK_WRITE, 0, sizeof(data), data), 0);
    memset(data, 0xa5, 512);
    ck_assert_int_eq(act(FAR_BLOCK_WRITE, 1024, 512, data), 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, BYTES, back), 0);
    ck_assert_uint_eq(back[0], 0x5a);
    ck_assert_uint_eq(back[1024], 0xa5);
    ck_assert_int_eq(act(FAR_BLOCK_DISCARD, BYTES, BYTES, NULL), 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, 2 * BYTES, back), 0);
    ck_assert_uint_eq(back[BYTES], 0);
    /* one that is shorter now has no end that could be read */
    ck_assert_int_eq(ftruncate(file, BYTES), 0);
    turn_until(loop, p->states > 1);
    ck_assert_int_eq(act(FAR_BLOCK_READ, BYTES, 512, back), -ENOSPC);
}
END_TEST

START_TEST(a_full_cache_goes_on)
{
    static uint8_t data[2 * MIB], back[BYTES];
    uint64_t hits = 0;

    use(CACHE);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i / BYTES * 3 + i);
    for (unsigned i = 0; i < 2 * MIB; i += 16 * BYTES)
        ck_assert_int_eq(act(FAR_BLOCK_WRITE, i, 16 * BYTES, data + i), 0);
    for (unsigned i = 0; i < 2 * MIB; i += BYTES) {
        ck_assert_int_eq(act(FAR_BLOCK_READ, i, BYTES, back), 0);
        ck_assert_mem_eq(back, data + i, BYTES);
    }
    /* what is used again and again stays */
    for (unsigned i = 0; i < 200; i++) {
        hits = answered("cache", FAR_BLOCK_READ);
        ck_assert_int_eq(act(FAR_BLOCK_READ, 7 * BYTES, BYTES, back), 0);
        ck_assert_int_eq(
            act(FAR_BLOCK_READ, MIB + i % 200 * BYTES, BYTES, back), 0);
    }
    ck_assert_uint_gt(answered("cache", FAR_BLOCK_READ), hits);
}
END_TEST

/* Overlapping reads, writes and discards at random; when all are answered, the
 * cache says what the file does. */
START_TEST(whatever_overlaps_the_cache_says_what_the_disk_does)
{
    static uint8_t payload[SLOTS][8 * BYTES], there[256 << 10], said[256 << 10];
    uint64_t x = 88172645463325252u;

    use(CACHE);
    for (unsigned round = 0; round < 300; round++) {
        unsigned before = p->completed, given = 0;

        for (unsigned slot = 0; slot < SLOTS; slot++) {
            uint64_t at;
            uint32_t bytes;
            uint16_t opcode;

            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            at = x % 56 * 512 * (x >> 20 & 1 ? 8 : 1);
            bytes = (uint32_t)(1 + (x >> 24) % 64) * 512;
            opcode = x >> 32 & 1   ? FAR_BLOCK_READ
                     : x >> 33 & 7 ? FAR_BLOCK_WRITE
                                   : FAR_BLOCK_DISCARD;
            if (opcode == FAR_BLOCK_DISCARD)
                at &= ~(uint64_t)4095, bytes = BYTES;
            if (opcode == FAR_BLOCK_WRITE)
                memset(payload[slot], (int)(x >> 40), bytes);
            ck_assert_int_ne(
                submit(op_of(opcode, at, bytes, slot), payload[slot]),
                FAR_FULL);
            given++;
            if (x >> 50 & 1)
                far_loop_turn(loop, 0);
        }
        turn_until(loop, p->completed == before + given);
        ck_assert_int_eq(pread(file, there, sizeof(there), 0), sizeof(there));
        for (unsigned i = 0; i < sizeof(said); i += 8 * BYTES)
            ck_assert_int_eq(act(FAR_BLOCK_READ, i, 8 * BYTES, said + i), 0);
        ck_assert_mem_eq(said, there, sizeof(said));
    }
    ck_assert_uint_gt(answered("cache", FAR_BLOCK_READ), 1000);
}
END_TEST

START_TEST(what_is_not_what_was_written_is_found)
{
    static uint8_t data[4 * BYTES], back[4 * BYTES];

    use("[device top]\ntype = verify\nbehind = disk0\n");
    /* what nobody wrote through it, it does not judge */
    memset(data, 0x11, sizeof(data));
    ck_assert_int_eq(pwrite(file, data, BYTES, MIB), BYTES);
    ck_assert_int_eq(act(FAR_BLOCK_READ, MIB, BYTES, back), 0);
    ck_assert_int_eq(act(FAR_BLOCK_WRITE, 0, sizeof(data), data), 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, sizeof(back), back), 0);
    ck_assert_int_eq(pwrite(file, "?", 1, 2 * BYTES + 700), 1);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, sizeof(back), back), -EIO);
    ck_assert_uint_eq(p->last_complete.payload_bytes, 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, 2 * BYTES, back), 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 2 * BYTES, 512, back), 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 2 * BYTES + 512, 512, back), -EIO);
    ck_assert_int_eq(act(FAR_BLOCK_DISCARD, 2 * BYTES, BYTES, NULL), 0);
    ck_assert_int_eq(act(FAR_BLOCK_READ, 0, sizeof(back), back), 0);
}
END_TEST

/* Keeps `wanted` under way for so long; how many were answered. */
static unsigned run_for(uint64_t us, uint32_t bytes, unsigned *turns)
{
    static uint8_t payload[SLOTS][128 << 10];
    uint64_t end_us = far_now_us() + us, free = (1u << SLOTS) - 1;
    unsigned done = 0;
    bool full = false;

    *turns = 0;
    rooms = 0;
    answered_slots = 0;
    while (far_now_us() < end_us) {
        while (free && !full) {
            unsigned slot = (unsigned)__builtin_ctzll(free);

            full = submit(op_of(FAR_BLOCK_READ, 0, bytes, slot),
                          payload[slot]) == FAR_FULL;
            if (!full)
                free &= ~((uint64_t)1 << slot);
        }
        far_loop_turn(loop, end_us - far_now_us());
        ++*turns;
        full &= !rooms;
        rooms = 0;
        done += (unsigned)__builtin_popcountll(answered_slots);
        free |= answered_slots;
        answered_slots = 0;
    }
    return done;
}

START_TEST(a_rate_lets_through_what_it_says_and_sleeps_between)
{
    unsigned turns, done;

    use(_i ? "[device top]\ntype = rate\nbehind = disk0\nbytes = 4096000\n"
           : "[device top]\ntype = rate\nbehind = disk0\nops = 1000\n");
    done = run_for(1000000, BYTES, &turns);
    /* 1000 in a second, and the tenth that was there at first; a busy machine
     * may be slower */
    ck_assert_uint_le(done, 1000 + 100 + SLOTS + 20);
    ck_assert_uint_ge(done, 300);
    ck_assert_uint_lt(turns, 6 * done + 200);
    /* one that is longer than the bucket passes, and is paid for later */
    if (_i) {
        done = run_for(1000000, 128 << 10, &turns);
        ck_assert_uint_le(done, 31 + 4 + 2);
        ck_assert_uint_ge(done, 10);
    }
}
END_TEST

START_TEST(ranges_that_cross_are_told)
{
    struct far_ranges all = { 0 };
    struct far_range a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

    far_range_begin(&all, &a, 0, 10, false);
    far_range_begin(&all, &b, 10, 20, true);
    far_range_begin(&all, &c, 5, 8, false);
    ck_assert(!a.crossed && !b.crossed && !c.crossed);
    far_range_begin(&all, &d, 9, 11, true);
    ck_assert(a.crossed && b.crossed && !c.crossed && d.crossed);
    far_range_end(&b);
    far_range_end(&b);
    far_range_end(&d);
    far_range_begin(&all, &b, 9, 11, false);
    ck_assert(!b.crossed);
    far_range_end(&a);
    far_range_end(&c);
    far_range_end(&b);
    ck_assert_ptr_null(all.first);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("filters");
    TCase *c = tcase_create("filters"), *pure = tcase_create("ranges");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, what_is_cached_is_answered_without_the_device);
    tcase_add_test(
        c, what_was_discarded_or_written_in_part_is_not_answered_from_before);
    tcase_add_test(c, a_full_cache_goes_on);
    tcase_add_test(c, whatever_overlaps_the_cache_says_what_the_disk_does);
    tcase_add_test(c, what_is_not_what_was_written_is_found);
    tcase_add_loop_test(c, a_rate_lets_through_what_it_says_and_sleeps_between,
                        0, 2);
    tcase_add_test(pure, ranges_that_cross_are_told);
    suite_add_tcase(suite, c);
    suite_add_tcase(suite, pure);
    return suite_end(suite);
}
