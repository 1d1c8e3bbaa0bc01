/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copies of writes that are not flushed (backend/kept.c), between a port and a
 * disk that this test plays: what is given in which order when its incarnation
 * changes, what waits, and what a successor finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/kept.h"
#include "core/block.h"
#include "tests/core/suite.h"

#define BYTES 4096u

/* The disk: keeps what it is given until it is told to answer. */
static struct disk {
    struct far_layer layer;
    uint64_t incarnation;
    unsigned count;
    struct far_op given[64];
    void *payload[64];
    uint8_t first[64]; /* byte of what was sent */
    bool full;
} disk;

static struct port {
    struct far_layer layer;
    unsigned answers, rooms, readies;
    struct far_op answer[256];
    char reason[200];
} port;

static struct far_loop *loop;
static struct far_layer *kept;
static int file;
static uint8_t data[60][BYTES];

static enum far_verdict disk_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    (void)layer;
    if (disk.full)
        return FAR_FULL;
    ck_assert_uint_lt(disk.count, 64);
    disk.given[disk.count] = *op;
    disk.payload[disk.count] = payload;
    disk.first[disk.count] = op->flags & FAR_OP_SENDS ? *(uint8_t *)payload : 0;
    disk.count++;
    return FAR_LATER;
}

static void disk_close(struct far_layer *layer)
{
    (void)layer;
}

static const struct far_layer_ops disk_ops = { .name = "disk",
                                               .submit = disk_submit,
                                               .close = disk_close };

static void port_complete(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    ck_assert_uint_lt(port.answers, 256);
    port.answer[port.answers++] = *op;
}

static void port_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    (void)layer;
    port.readies += state == FAR_DEVICE_READY;
    snprintf(port.reason, sizeof(port.reason), "%s",
             news->reason ? news->reason : "");
}

static void port_room(struct far_layer *layer)
{
    (void)layer;
    port.rooms++;
}

static const struct far_layer_ops port_ops = { .name = "port",
                                               .complete = port_complete,
                                               .state = port_state,
                                               .room = port_room };

static void turn(void)
{
    far_loop_turn(loop, 0);
}

static void ready(uint64_t incarnation)
{
    struct far_layer_news news = { .incarnation = 1,
                                   .device_incarnation = incarnation };
    struct far_block_props props = { .bytes = 64 << 20,
                                     .can = FAR_BLOCK_CAN_WRITE |
                                            FAR_BLOCK_CAN_FLUSH |
                                            FAR_BLOCK_LOSES,
                                     .block_bytes = 512 };

    disk.incarnation = incarnation;
    memcpy(news.props, &props, sizeof(props));
    far_layer_state(disk.layer.above, FAR_DEVICE_READY, &news);
    turn();
}

static void gone(bool ops_lost)
{
    struct far_layer_news news = { .reason = "away", .ops_lost = ops_lost };

    far_layer_state(disk.layer.above, FAR_DEVICE_GONE, &news);
    turn();
}

/* A process, or its successor. */
static void answer(unsigned n);

static void comes(bool adopt, uint64_t incarnation)
{
    memset(&disk, 0, sizeof(disk));
    memset(&port, 0, sizeof(port));
    disk.layer.ops = &disk_ops;
    port.layer.ops = &port_ops;
    kept = far_kept_new(loop, NULL, "far/disk");
    ck_assert_ptr_nonnull(kept);
    far_layer_stack(kept, &disk.layer);
    far_layer_stack(&port.layer, kept);
    ck_assert_int_eq(far_kept_begin(kept, dup(file), adopt), 0);
    ready(incarnation);
}

/* The same, and the disk is flushed, as it is before it is used. */
static void begins(bool adopt, uint64_t incarnation)
{
    comes(adopt, incarnation);
    if (adopt)
        return;
    ck_assert_uint_eq(disk.count, 1);
    ck_assert_uint_eq(disk.given[0].opcode, FAR_BLOCK_FLUSH);
    answer(0);
    disk.count = 0;
}

static void dies(void)
{
    kept->above = NULL;
    far_layer_close(kept);
}

static void set_up(void)
{
    loop = far_loop_new();
    file = memfd_create("kept", MFD_CLOEXEC);
    ck_assert(loop && file >= 0);
    begins(false, 100);
    ck_assert_uint_eq(port.readies, 1);
}

static void tear_down(void)
{
    dies();
    close(file);
    far_loop_free(loop);
}

static enum far_verdict submit(uint16_t opcode, uint32_t slot,
                               uint64_t sequence, unsigned block, uint8_t fill)
{
    struct far_block_args a = { .offset_bytes = (uint64_t)block * BYTES,
                                .length_bytes = BYTES };
    struct far_op op = {
        .attachment = 1, .slot = slot, .sequence = sequence, .opcode = opcode
    };

    if (opcode == FAR_BLOCK_FLUSH) {
        memset(&a, 0, sizeof(a));
    } else {
        op.payload_bytes = BYTES;
        op.flags = opcode == FAR_BLOCK_WRITE ? FAR_OP_SENDS : FAR_OP_RECEIVES;
        memset(data[slot], fill, BYTES);
    }
    memcpy(op.args, &a, sizeof(a));
    return far_layer_submit(port.layer.below, &op,
                            op.payload_bytes ? data[slot] : NULL);
}

static struct far_block_args args_of(const struct far_op *op)
{
    struct far_block_args a;

    memcpy(&a, op->args, sizeof(a));
    return a;
}

/* The disk answers the n-th that it was given, as an owner does. */
static void answer(unsigned n)
{
    struct far_op op = disk.given[n];

    op.status = far_block_is_stale(&op, disk.incarnation) ? FAR_BLOCK_STALE : 0;
    if (!(op.flags & FAR_OP_RECEIVES))
        op.payload_bytes = 0;
    far_layer_complete(disk.layer.above, &op);
    turn();
}

static void written(uint32_t slot, uint64_t sequence, unsigned block,
                    uint8_t fill)
{
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, slot, sequence, block, fill),
                     FAR_LATER);
    answer(disk.count - 1);
    memset(data[slot], 0xff, BYTES); /* the guest uses it for other things */
}

static uint64_t kept_bytes(void)
{
    struct far_kept_counters c;

    far_kept_counters(kept, &c);
    return c.kept_bytes;
}

/* Answers all copies as they come; checks blocks and contents. */
static void copies_come(unsigned from, unsigned count, const unsigned *blocks,
                        const uint8_t *fills)
{
    for (unsigned i = 0; i < count; i++) {
        ck_assert_uint_gt(disk.count, from + i);
        ck_assert_uint_ge(disk.given[from + i].slot, FAR_KEPT_FIRST_SLOT);
        ck_assert_uint_eq(args_of(&disk.given[from + i]).offset_bytes,
                          (uint64_t)blocks[i] * BYTES);
        ck_assert_uint_eq(disk.first[from + i], fills[i]);
        answer(from + i);
    }
}

START_TEST(copies_go_again_in_order_before_anything_else)
{
    static const unsigned blocks[] = { 7, 7, 8, 7 };
    static const uint8_t fills[] = { 1, 2, 3, 4 };
    unsigned from;

    for (unsigned i = 0; i < 4; i++)
        written(i, i + 1, blocks[i], fills[i]);
    gone(false);
    from = disk.count;
    ready(200);
    ck_assert_uint_eq(port.readies, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 9, 9, 7, 0), FAR_FULL);
    /* of one place, one after the other */
    ck_assert_uint_eq(disk.count, from + 1);
    copies_come(from, 4, blocks, fills);
    ck_assert_uint_eq(port.readies, 2);
    ck_assert_uint_eq(port.rooms, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 9, 9, 7, 0), FAR_LATER);
    ck_assert_uint_eq(args_of(&disk.given[from + 4]).incarnation,
                      far_block_incarnation(200));
    /* and they are kept still: nothing was flushed */
    ck_assert_uint_gt(kept_bytes(), 4 * BYTES);
}
END_TEST

START_TEST(what_was_under_way_is_given_again_after_the_copies)
{
    static const unsigned block = 3;
    static const uint8_t fill = 5;
    unsigned from;

    written(0, 1, 3, 5);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 2, 3, 0), FAR_LATER);
    ck_assert_int_eq(submit(FAR_BLOCK_FLUSH, 2, 3, 0, 0), FAR_LATER);
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, 3, 4, 4, 9), FAR_LATER);
    from = disk.count;
    disk.incarnation = 200;
    for (unsigned i = 1; i < 4; i++)
        answer(i); /* stale, all of them */
    ck_assert_uint_eq(port.answers, 1);
    ck_assert_uint_eq(disk.count, from);
    ready(200);
    ck_assert_uint_eq(disk.count, from + 1);
    copies_come(from, 1, &block, &fill);
    ck_assert_uint_eq(disk.count, from + 4);
    for (unsigned i = 1; i < 4; i++) {
        ck_assert_uint_eq(disk.given[from + i].sequence, i + 1);
        answer(from + i);
    }
    ck_assert_uint_eq(port.answers, 4);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(port.answer[i].status, 0);
}
END_TEST

/* It was on its way when the disk lost what it is about. */
START_TEST(an_answer_of_a_former_incarnation_is_none)
{
    written(0, 1, 3, 5);
    ck_assert_int_eq(submit(FAR_BLOCK_FLUSH, 2, 3, 0, 0), FAR_LATER);
    ready(200);
    disk.incarnation = 100;
    answer(1);
    disk.incarnation = 200;
    ck_assert_uint_eq(port.answers, 1);
    ck_assert_uint_gt(kept_bytes(), BYTES);
    answer(2); /* the copy */
    ck_assert_uint_eq(disk.given[3].opcode, FAR_BLOCK_FLUSH);
    answer(3);
    ck_assert_uint_eq(port.answers, 2);
    ck_assert_uint_eq(kept_bytes(), 0);
}
END_TEST

START_TEST(a_flush_lets_go_of_what_was_answered_before_it)
{
    written(0, 1, 1, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, 1, 2, 2, 2), FAR_LATER);
    ck_assert_int_eq(submit(FAR_BLOCK_FLUSH, 2, 3, 0, 0), FAR_LATER);
    answer(1); /* after the flush was given: not of it */
    answer(2);
    ck_assert_uint_eq(kept_bytes(), BYTES + 64);
    ck_assert_int_eq(submit(FAR_BLOCK_FLUSH, 2, 4, 0, 0), FAR_LATER);
    answer(3);
    ck_assert_uint_eq(kept_bytes(), 0);
}
END_TEST

START_TEST(a_flush_that_fails_lets_go_of_nothing)
{
    struct far_op op;

    written(0, 1, 1, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_FLUSH, 2, 3, 0, 0), FAR_LATER);
    op = disk.given[1];
    op.status = -EIO;
    far_layer_complete(disk.layer.above, &op);
    ck_assert_int_eq(port.answer[1].status, -EIO);
    ck_assert_uint_eq(kept_bytes(), BYTES + 64);
    /* nor one that a dead process gave at nobody knows what time */
    dies();
    begins(true, 100);
    ck_assert_uint_eq(kept_bytes(), BYTES + 64);
}
END_TEST

START_TEST(a_successor_finds_the_copies_and_what_was_under_way)
{
    uint64_t sequence;

    for (unsigned i = 0; i < 6; i++)
        written(i, i + 1, i, (uint8_t)(i + 1));
    ready(200);
    ck_assert_uint_eq(disk.count, 6 + FAR_KEPT_SLOTS);
    answer(6);
    ck_assert_uint_eq(disk.count, 7 + FAR_KEPT_SLOTS);
    sequence = disk.given[7].sequence;
    dies();
    begins(true, 200);
    /* the same under the same names, then all of them */
    ck_assert_uint_eq(disk.count, FAR_KEPT_SLOTS);
    ck_assert_uint_eq(port.readies, 0);
    for (unsigned i = 0; i < FAR_KEPT_SLOTS; i++) {
        ck_assert(disk.given[i].flags & FAR_OP_REPEAT);
        ck_assert_uint_ge(disk.given[i].sequence, sequence);
        answer(i);
    }
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_eq(args_of(&disk.given[FAR_KEPT_SLOTS + i]).offset_bytes,
                          i * BYTES);
        answer(FAR_KEPT_SLOTS + i);
    }
    ck_assert_uint_eq(port.readies, 1);
}
END_TEST

START_TEST(a_copy_that_can_not_be_written_fails_the_disk)
{
    struct far_op op;

    written(0, 1, 1, 1);
    gone(false);
    ready(200);
    op = disk.given[1];
    op.status = -ENOSPC;
    op.payload_bytes = 0;
    far_layer_complete(disk.layer.above, &op);
    turn();
    ck_assert_ptr_nonnull(strstr(port.reason, "can't be written again"));
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 2, 1, 0), FAR_DONE);
    ck_assert_ptr_nonnull(far_kept_failed(kept));
}
END_TEST

START_TEST(a_disk_is_flushed_before_it_is_used)
{
    dies();
    comes(false, 100);
    ck_assert_uint_eq(port.readies, 0);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 1, 1, 1), FAR_FULL);
    disk.incarnation = 200; /* what was to be flushed is lost */
    answer(0);
    ck_assert_uint_eq(port.readies, 0);
    ready(200);
    ck_assert_uint_eq(disk.count, 2);
    ck_assert_uint_eq(disk.given[1].opcode, FAR_BLOCK_FLUSH);
    dies(); /* so does who was about to */
    comes(true, 200);
    ck_assert_uint_eq(disk.count, 1);
    ck_assert(disk.given[0].flags & FAR_OP_REPEAT);
    answer(0);
    ck_assert_uint_eq(disk.count, 2);
    answer(1);
    ck_assert_uint_eq(port.readies, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 1, 1, 1), FAR_LATER);
}
END_TEST

START_TEST(a_disk_that_can_not_be_flushed_at_first_is_used_all_the_same)
{
    struct far_op op;

    dies();
    comes(false, 100);
    op = disk.given[0];
    op.status = -EIO;
    far_layer_complete(disk.layer.above, &op);
    turn();
    ck_assert_uint_eq(port.readies, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 1, 1, 1), FAR_LATER);
}
END_TEST

START_TEST(who_lets_go_has_all_flushed_also_what_ends_meanwhile)
{
    ck_assert(far_kept_drain(kept)); /* there is nothing */
    written(0, 1, 1, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, 1, 2, 2, 2), FAR_LATER);
    ck_assert(!far_kept_drain(kept));
    ck_assert_uint_eq(disk.count, 3);
    ck_assert_uint_eq(disk.given[2].opcode, FAR_BLOCK_FLUSH);
    answer(1); /* after the flush was given: not of it */
    answer(2);
    ck_assert_uint_eq(port.rooms, 0);
    ck_assert_uint_eq(disk.count, 4);
    gone(false); /* it comes back without its cache */
    ready(200);
    answer(3);
    for (unsigned i = 4; i < disk.count; i++)
        answer(i);
    ck_assert_uint_eq(disk.given[4].opcode, FAR_BLOCK_WRITE);
    ck_assert_uint_eq(disk.given[disk.count - 1].opcode, FAR_BLOCK_FLUSH);
    ck_assert_uint_eq(port.rooms, 1);
    ck_assert_uint_eq(kept_bytes(), 0);
    ck_assert(far_kept_drain(kept));
}
END_TEST

START_TEST(one_flush_goes_out_for_a_guest_that_halts_and_may_go_on)
{
    far_kept_flush(kept);
    ck_assert_uint_eq(disk.count, 0);
    written(0, 1, 1, 1);
    far_kept_flush(kept);
    ck_assert_uint_eq(disk.count, 2);
    written(1, 2, 2, 2);
    answer(1);
    ck_assert_uint_eq(kept_bytes(), BYTES + 64);
    ck_assert_uint_eq(disk.count, 3);
    ck_assert_uint_eq(port.rooms, 0);
}
END_TEST

/* To those below it was answered: another op's may be there. */
START_TEST(the_payload_of_what_waits_is_kept_apart)
{
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, 1, 1, 4, 9), FAR_LATER);
    disk.incarnation = 200;
    answer(0);
    memset(data[1], 0, BYTES);
    ready(200);
    ck_assert_uint_eq(disk.count, 2);
    ck_assert_uint_eq(disk.first[1], 9);
    answer(1);
    ck_assert_uint_eq(port.answers, 1);
}
END_TEST

START_TEST(who_gives_all_anew_is_not_answered_twice)
{
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, 1, 1, 1, 1), FAR_LATER);
    gone(true);
    ready(100);
    ck_assert_int_eq(submit(FAR_BLOCK_WRITE, 1, 1, 1, 1), FAR_LATER);
    answer(1);
    ck_assert_uint_eq(port.answers, 1);
    ck_assert_uint_eq(kept_bytes(), BYTES + 64);
}
END_TEST

START_TEST(who_found_no_room_is_told_when_there_is)
{
    disk.full = true;
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 1, 1, 1), FAR_FULL);
    turn();
    ck_assert_uint_eq(port.rooms, 0);
    disk.full = false;
    far_layer_room(disk.layer.above);
    turn();
    ck_assert_uint_eq(port.rooms, 1);
    ck_assert_int_eq(submit(FAR_BLOCK_READ, 1, 1, 1, 1), FAR_LATER);
}
END_TEST

START_TEST(a_damaged_file_is_refused)
{
    struct far_layer *other = far_kept_new(loop, NULL, "far/disk");
    uint32_t wrong = 77;

    written(0, 1, 1, 1);
    ck_assert_int_eq(pwrite(file, &wrong, 4, 4096), 4);
    ck_assert_int_eq(far_kept_begin(other, dup(file), true), -EILSEQ);
    far_layer_close(other);
    ck_assert_int_eq(ftruncate(file, 4096), 0);
    other = far_kept_new(loop, NULL, "far/disk");
    ck_assert_int_eq(far_kept_begin(other, dup(file), true), -EILSEQ);
    far_layer_close(other);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        copies_go_again_in_order_before_anything_else,
        what_was_under_way_is_given_again_after_the_copies,
        an_answer_of_a_former_incarnation_is_none,
        a_flush_lets_go_of_what_was_answered_before_it,
        a_flush_that_fails_lets_go_of_nothing,
        a_successor_finds_the_copies_and_what_was_under_way,
        a_copy_that_can_not_be_written_fails_the_disk,
        a_disk_is_flushed_before_it_is_used,
        a_disk_that_can_not_be_flushed_at_first_is_used_all_the_same,
        who_lets_go_has_all_flushed_also_what_ends_meanwhile,
        one_flush_goes_out_for_a_guest_that_halts_and_may_go_on,
        the_payload_of_what_waits_is_kept_apart,
        who_gives_all_anew_is_not_answered_twice,
        who_found_no_room_is_told_when_there_is,
        a_damaged_file_is_refused,
    };
    Suite *suite = suite_create("kept");
    TCase *tcase = tcase_create("kept");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
