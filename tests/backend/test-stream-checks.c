/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest's control page of a stream means, without a guest.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <xen/io/libxenvchan.h>
#include "backend/port-stream-checks.h"
#include "tests/core/suite.h"

static struct far_stream_place left, right;

static int judge(uint16_t left_order, uint16_t right_order)
{
    static uint32_t page[1024];
    struct vchan_interface *p = (struct vchan_interface *)(void *)page;
    struct far_error error;

    p->left_order = left_order;
    p->right_order = right_order;
    return far_stream_places(page, &left, &right, &error);
}

START_TEST(small_rings_lie_in_the_page_and_others_in_pages_of_their_own)
{
    ck_assert_int_eq(judge(10, 11), 0);
    ck_assert_uint_eq(left.bytes, 1024);
    ck_assert_uint_eq(left.offset, 1024);
    ck_assert_uint_eq(right.offset, 2048);
    ck_assert_uint_eq(right.pages, 0);
    ck_assert_int_eq(judge(12, 14), 0);
    ck_assert_uint_eq(left.first, 0);
    ck_assert_uint_eq(left.pages, 1);
    ck_assert_uint_eq(right.first, 1);
    ck_assert_uint_eq(right.pages, 4);
    ck_assert_uint_eq(right.bytes, 16384);
    ck_assert_int_eq(judge(20, 20), 0);
    ck_assert_uint_eq(right.first, 256);
    ck_assert_uint_eq(right.pages, FAR_STREAM_RING_PAGES_MAX);
}
END_TEST

START_TEST(orders_that_can_not_be_are_refused)
{
    for (unsigned order = 0; order < 65536; order++) {
        bool fits = order >= 10 && order <= 20;

        ck_assert_int_eq(judge((uint16_t)order, 12), fits ? 0 : -EINVAL);
        ck_assert_int_eq(judge(13, (uint16_t)order), fits ? 0 : -EINVAL);
    }
    ck_assert_int_eq(judge(10, 10), -EINVAL);
    ck_assert_int_eq(judge(11, 11), -EINVAL);
    /* 256 grants end behind byte 1024, where the other ring begins */
    ck_assert_int_eq(judge(10, 20), -EINVAL);
    ck_assert_int_eq(judge(20, 10), -EINVAL);
    ck_assert_int_eq(judge(10, 19), 0);
    ck_assert_int_eq(judge(11, 20), 0);
}
END_TEST

START_TEST(indexes_are_at_most_a_ring_apart)
{
    ck_assert_uint_eq(far_stream_between(5, 5, 1024), 0);
    ck_assert_uint_eq(far_stream_between(5, 1029, 1024), 1024);
    ck_assert_uint_eq(far_stream_between(5, 1030, 1024), UINT32_MAX);
    ck_assert_uint_eq(far_stream_between(5, 4, 1024), UINT32_MAX);
    ck_assert_uint_eq(far_stream_between(UINT32_MAX, 3, 1024), 4);
}
END_TEST

SUITE_MAIN("stream checks",
           small_rings_lie_in_the_page_and_others_in_pages_of_their_own,
           orders_that_can_not_be_are_refused, indexes_are_at_most_a_ring_apart)
