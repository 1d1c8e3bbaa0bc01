/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vbd port's pure parts: what requests of both layouts say, and the
 * journal after a kill between any two of its steps.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xen/io/blkif.h>
#include "backend/port-vbd-journal.h"
#include "tests/core/suite.h"

static const struct far_block_props props = {
    .bytes = 1 << 20,
    .can = FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_FLUSH | FAR_BLOCK_CAN_DISCARD,
    .block_bytes = 512,
};

START_TEST(rings_have_the_sizes_of_xens_macros)
{
    for (uint32_t pages = 1; pages <= 16; pages *= 2) {
        ck_assert_uint_eq(far_vbd_ring_entries(FAR_VBD_64, pages), 32 * pages);
        ck_assert_uint_eq(far_vbd_ring_entries(FAR_VBD_32, pages), 32 * pages);
    }
}
END_TEST

START_TEST(a_request_says_the_same_in_both_layouts)
{
    struct blkif_request native = { .operation = BLKIF_OP_WRITE,
                                    .nr_segments = 2,
                                    .id = 0x123456789abcdefu,
                                    .sector_number = 77,
                                    .seg = { { 100, 1, 3 }, { 200, 0, 7 } } };
    struct far_vbd_request wide, narrow;
    uint8_t entry[112], small[108] = { 0 };
    struct far_block_args args;
    struct far_op op;

    memcpy(entry, &native, sizeof(entry));
    memcpy(small, entry, 4);
    memcpy(small + 4, entry + 8, 104); /* no padding before id */
    far_vbd_parse(FAR_VBD_64, entry, &wide);
    far_vbd_parse(FAR_VBD_32, small, &narrow);
    ck_assert_mem_eq(&wide, &narrow,
                     offsetof(struct far_vbd_request, segment) + 16);
    ck_assert_int_eq(far_vbd_judge(&wide, &props, true, &op), BLKIF_RSP_OKAY);
    memcpy(&args, op.args, sizeof(args));
    ck_assert_uint_eq(args.offset_bytes, 77 * 512);
    ck_assert_uint_eq(op.payload_bytes, (3 + 8) * 512);
    ck_assert_int_eq(far_vbd_judge(&wide, &props, false, &op), BLKIF_RSP_ERROR);
}
END_TEST

START_TEST(a_flush_has_no_place_whatever_stands_there)
{
    struct blkif_request native = { .operation = BLKIF_OP_FLUSH_DISKCACHE,
                                    .sector_number = UINT64_MAX };
    struct far_vbd_request r;
    struct far_block_args args, none = { 0 };
    struct far_op op;

    far_vbd_parse(FAR_VBD_64, (const uint8_t *)&native, &r);
    ck_assert_int_eq(far_vbd_judge(&r, &props, true, &op), BLKIF_RSP_OKAY);
    ck_assert_uint_eq(op.opcode, FAR_BLOCK_FLUSH);
    memcpy(&args, op.args, sizeof(args));
    ck_assert_mem_eq(&args, &none, sizeof(args));
    r.operation = r.acts = BLKIF_OP_WRITE_BARRIER;
    ck_assert_int_eq(far_vbd_judge(&r, &props, true, &op), BLKIF_RSP_OKAY);
    ck_assert_uint_eq(op.opcode, FAR_BLOCK_FLUSH);
    r.operation = r.acts = BLKIF_OP_DISCARD;
    ck_assert_int_eq(far_vbd_judge(&r, &props, true, &op), BLKIF_RSP_ERROR);
}
END_TEST

/* props, but for one of its words */
#define FAULT(field, value)                \
    ({                                     \
        struct far_block_props p_ = props; \
        p_.field = (value);                \
        far_block_props_fault(&p_);        \
    })

START_TEST(properties_that_no_disk_can_have_are_named)
{
    ck_assert_ptr_null(far_block_props_fault(&props));
    ck_assert_ptr_null(FAULT(block_bytes, 0));
    ck_assert_ptr_null(FAULT(block_bytes, 4096));
    ck_assert_ptr_null(FAULT(physical_bytes, 4096));
    ck_assert_ptr_null(FAULT(bytes, FAR_BLOCK_BYTES_MAX));
    ck_assert_ptr_nonnull(FAULT(bytes, 0));
    ck_assert_ptr_nonnull(FAULT(bytes, 1000));
    ck_assert_ptr_nonnull(FAULT(bytes, UINT64_MAX - 511));
    ck_assert_ptr_nonnull(FAULT(block_bytes, 1));
    ck_assert_ptr_nonnull(FAULT(block_bytes, 1024));
    ck_assert_ptr_nonnull(FAULT(block_bytes, 0x80000000u));
    ck_assert_ptr_nonnull(FAULT(physical_bytes, 100));
    ck_assert_ptr_nonnull(FAULT(physical_bytes, 0x80000000u));
    ck_assert_ptr_nonnull(FAULT(discard_bytes, 511));
    ck_assert_ptr_nonnull(FAULT(discard_align, 1));
}
END_TEST

/* Whatever stands in an entry, what is judged good lies in the disk. */
START_TEST(random_requests_never_leave_the_disk)
{
    unsigned x = 1, good = 0;

    for (unsigned i = 0; i < 200000; i++) {
        struct far_vbd_request r;
        struct far_block_args args;
        struct far_op op;
        uint8_t entry[112];

        for (unsigned k = 0; k < sizeof(entry); k++) {
            x = x * 1664525 + 1013904223;
            entry[k] = (uint8_t)(x >> 24);
            if (x >> 16 & 3)
                entry[k] &= 7; /* sometimes something sensible */
            if (k > 16 && k < 24)
                entry[k] = i % 3 ? 0 : entry[k];
        }
        far_vbd_parse(i % 2 ? FAR_VBD_64 : FAR_VBD_32, entry, &r);
        if (far_vbd_judge(&r, &props, true, &op) != BLKIF_RSP_OKAY)
            continue;
        memcpy(&args, op.args, sizeof(args));
        good++;
        ck_assert_uint_le(args.offset_bytes, props.bytes);
        ck_assert_uint_le(args.length_bytes, props.bytes - args.offset_bytes);
        ck_assert_uint_le(op.payload_bytes, FAR_VBD_BYTES_MAX);
        ck_assert_uint_le(r.segments, FAR_VBD_SEGMENTS_MAX);
    }
    ck_assert_uint_gt(good, 1000);
}
END_TEST

START_TEST(a_front_that_asks_for_too_much_is_refused)
{
    struct far_vbd_front front = { 0 };
    struct far_vbd_mode mode;
    struct far_error error;

    ck_assert_int_eq(far_vbd_check_front(&front, &mode, &error), 0);
    ck_assert(mode.queues == 1 && mode.pages == 1 && !mode.multi);
    front.queues = 17;
    ck_assert_int_lt(far_vbd_check_front(&front, &mode, &error), 0);
    front.queues = 16;
    front.order = 5;
    ck_assert_int_lt(far_vbd_check_front(&front, &mode, &error), 0);
    front.order = 31;
    ck_assert_int_lt(far_vbd_check_front(&front, &mode, &error), 0);
    front.order = 4;
    ck_assert_int_eq(far_vbd_check_front(&front, &mode, &error), 0);
    strcpy(front.protocol, "x86_16-abi");
    ck_assert_int_lt(far_vbd_check_front(&front, &mode, &error), 0);
}
END_TEST

/* A device may be in another process, whose places for ops are few and short.
 */
START_TEST(no_request_is_more_than_a_device_elsewhere_takes)
{
    ck_assert_uint_le(FAR_VBD_SLOTS, FAR_OP_SLOTS_MAX);
    ck_assert_uint_le(FAR_VBD_BYTES_MAX,
                      far_class_payload_bytes(FAR_CLASS_BLOCK));
}
END_TEST

/* ---- the journal ---- */

static struct far_vbd_journal *begun(void)
{
    struct far_vbd_journal *j = calloc(1, sizeof(*j));

    j->mode = (struct far_vbd_mode){ .queues = 2, .pages = 1 };
    far_vbd_journal_begin(j, 7);
    return j;
}

static struct far_vbd_slot *taken(struct far_vbd_journal *j, unsigned slot,
                                  uint32_t queue)
{
    struct far_vbd_slot *s = &j->slot[slot];

    s->queue = queue;
    s->taken_at = j->queue[queue].consumed;
    s->request.id = 1000 + slot;
    s->request.segments = 3;
    s->op.opcode = FAR_BLOCK_READ;
    far_vbd_take(j, s);
    return s;
}

START_TEST(open_requests_are_found_again_in_their_order)
{
    struct far_vbd_journal *j = begun();
    struct far_vbd_slot *open[FAR_VBD_SLOTS];
    uint32_t produced[2] = { 0, 0 };

    taken(j, 5, 0);
    taken(j, 2, 1);
    taken(j, 9, 0);
    ck_assert_int_eq(far_vbd_recover(j, produced), 0);
    ck_assert_uint_eq(far_vbd_open_slots(j, open), 3);
    ck_assert(open[0] == &j->slot[5] && open[1] == &j->slot[2] &&
              open[2] == &j->slot[9]);
    ck_assert_uint_eq(far_vbd_journal_sequence(j), 8);
    free(j);
}
END_TEST

START_TEST(a_kill_between_taking_and_the_index_loses_and_doubles_nothing)
{
    struct far_vbd_journal *j = begun();
    uint32_t produced[2] = { 0, 0 };

    taken(j, 0, 0);
    taken(j, 1, 0);
    j->queue[0].consumed = 1; /* as if it had not come to that */
    ck_assert_int_eq(far_vbd_recover(j, produced), 0);
    ck_assert_uint_eq(j->queue[0].consumed, 2);
    free(j);
}
END_TEST

START_TEST(an_answer_is_shown_again_if_and_only_if_it_was_not_seen)
{
    struct far_vbd_journal *j = begun();
    uint32_t produced[2] = { 0, 0 };

    far_vbd_answered(j, taken(j, 0, 0), BLKIF_RSP_OKAY);
    far_vbd_answered(j, taken(j, 1, 0), BLKIF_RSP_ERROR);
    j->queue[0].answered = 1; /* killed before it moved on */
    produced[0] = 1;          /* the first one was published */
    ck_assert_int_eq(far_vbd_recover(j, produced), 0);
    ck_assert_uint_eq(j->slot[0].state, FAR_VBD_FREE);
    ck_assert_uint_eq(j->slot[1].state, FAR_VBD_ANSWERED);
    ck_assert_uint_eq(j->slot[1].answered_at, 1);
    ck_assert_uint_eq(j->queue[0].answered, 2);
    free(j);
}
END_TEST

START_TEST(an_index_that_is_none_of_ours_is_not_believed)
{
    struct far_vbd_journal *j = begun();
    uint32_t produced[2] = { 0, 0 };

    far_vbd_answered(j, taken(j, 0, 0), BLKIF_RSP_OKAY);
    produced[0] = 5;
    ck_assert_int_eq(far_vbd_recover(j, produced), -ESTALE);
    produced[0] = UINT32_MAX;
    ck_assert_int_eq(far_vbd_recover(j, produced), -ESTALE);
    produced[0] = 0;
    produced[1] = 1;
    ck_assert_int_eq(far_vbd_recover(j, produced), -ESTALE);
    free(j);
}
END_TEST

START_TEST(the_second_step_of_a_barrier_is_found_again_as_an_op_of_its_own)
{
    struct far_vbd_journal *j = begun();
    uint32_t produced[2] = { 0, 0 };
    struct far_vbd_slot *s = taken(j, 4, 0);

    ck_assert(!far_vbd_is_flushed(s));
    far_vbd_flushed(s);
    ck_assert_int_eq(far_vbd_recover(j, produced), 0);
    ck_assert(far_vbd_is_flushed(s));
    ck_assert_uint_eq(s->sequence, 9);
    ck_assert_uint_eq(far_vbd_journal_sequence(j), 9);
    far_vbd_release(s);
    ck_assert(!far_vbd_is_flushed(taken(j, 4, 0)));
    ck_assert_uint_eq(s->op.sequence, 10);
    free(j);
}
END_TEST

START_TEST(a_damaged_slot_is_found)
{
    struct far_vbd_journal *j = begun();
    uint32_t produced[2] = { 0, 0 };

    taken(j, 4, 0)->request.segment[1].gref ^= 1;
    ck_assert_int_eq(far_vbd_recover(j, produced), -EILSEQ);
    free(j);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        rings_have_the_sizes_of_xens_macros,
        a_request_says_the_same_in_both_layouts,
        a_flush_has_no_place_whatever_stands_there,
        properties_that_no_disk_can_have_are_named,
        random_requests_never_leave_the_disk,
        a_front_that_asks_for_too_much_is_refused,
        no_request_is_more_than_a_device_elsewhere_takes,
        open_requests_are_found_again_in_their_order,
        a_kill_between_taking_and_the_index_loses_and_doubles_nothing,
        an_answer_is_shown_again_if_and_only_if_it_was_not_seen,
        an_index_that_is_none_of_ours_is_not_believed,
        the_second_step_of_a_barrier_is_found_again_as_an_op_of_its_own,
        a_damaged_slot_is_found,
    };
    Suite *suite = suite_create("vbd-checks");
    TCase *tcase = tcase_create("vbd-checks");

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
