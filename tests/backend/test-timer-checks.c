/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest's slots, requests and counter mean, without a guest.
 */
#include <errno.h>
#include <string.h>
#include "backend/clock.h"
#include "backend/port-timer-checks.h"
#include "core/clock.h"
#include "tests/core/suite.h"

static struct far_timer_args args;
static uint64_t before;

static enum far_slot_meaning mean(uint64_t deadline, uint64_t period,
                                  uint32_t arm, uint32_t fired_arm,
                                  uint64_t expired)
{
    struct fartimer_slot slot = { .deadline_ns = deadline,
                                  .period_ns = period,
                                  .arm = arm,
                                  .fired_arm = fired_arm,
                                  .expired = expired };

    return far_timer_slot(&slot, 7, 1000000, &args, &before);
}

START_TEST(a_slot_is_armed_if_all_of_it_makes_sense)
{
    ck_assert_int_eq(mean(5, 0, 0x100, 0, 0), FAR_SLOT_ARMED);
    ck_assert_uint_eq(args.timer, 7);
    ck_assert_uint_eq(args.arm, 0x100);
    ck_assert_uint_eq(args.deadline_ns, 5);
    ck_assert_int_eq(mean(0, 0, 0x100, 0, 0), FAR_SLOT_DISARMED);
    for (uint32_t flags = 0; flags < 256; flags++) {
        enum far_slot_meaning m = mean(5, 0, 0x100 | flags, 0, 0);

        if (flags & FARTIMER_OUTSIDE)
            ck_assert_int_ne(m, FAR_SLOT_ARMED);
        else
            ck_assert_int_eq(m, flags < 3 ? FAR_SLOT_ARMED : FAR_SLOT_WRONG);
        ck_assert_int_ne(mean(5, 0, flags, 0, 0), FAR_SLOT_ARMED);
    }
    ck_assert_int_eq(mean(5, 999, 0x100, 0, 0), FAR_SLOT_WRONG);
    ck_assert_int_eq(mean(5, 1000, 0x100, 0, 0), FAR_SLOT_ARMED);
}
END_TEST

START_TEST(an_arming_goes_on_where_a_former_backend_left_it)
{
    ck_assert_int_eq(mean(5, 0, 0x100, 0x100, 1), FAR_SLOT_DISARMED);
    ck_assert_int_eq(mean(5, 0, 0x200, 0x100, 1), FAR_SLOT_ARMED);
    ck_assert_uint_eq(before, 0);
    ck_assert_int_eq(mean(5, 1000, 0x100, 0x100, 3), FAR_SLOT_ARMED);
    ck_assert_uint_eq(before, 3);
    ck_assert_uint_eq(args.deadline_ns, 3005);
    ck_assert_int_eq(mean(5, 1000, 0x102, 0x102, 3), FAR_SLOT_ARMED);
    ck_assert_uint_eq(args.deadline_ns, 1001000); /* slewed: from now */
    ck_assert_int_eq(mean(5, 1000, 0x100, 0x100, UINT64_MAX), FAR_SLOT_WRONG);
    ck_assert_int_eq(mean(5, UINT64_MAX, 0x100, 0x100, 1), FAR_SLOT_WRONG);
    ck_assert_int_eq(mean(5, UINT64_MAX, 0x102, 0x102, 1), FAR_SLOT_ARMED);
}
END_TEST

START_TEST(a_request_becomes_an_op_or_its_error)
{
    struct fartimer_request r = {
        .operation = FARTIMER_OP_ARM, .timer = 3, .arm = 0x100, .deadline_ns = 9
    };
    struct far_op op = { 0 };

    ck_assert_int_eq(far_timer_request(&r, 4, &op), 0);
    ck_assert_uint_eq(op.opcode, FAR_TIMER_ARM);
    ck_assert_int_eq(far_timer_request(&r, 3, &op), -EINVAL);
    r.reserved = 1;
    ck_assert_int_eq(far_timer_request(&r, 4, &op), -EINVAL);
    r.reserved = 0, r.deadline_ns = 0;
    ck_assert_int_eq(far_timer_request(&r, 4, &op), -EINVAL);
    r.deadline_ns = 9, r.arm = 0x100 | FARTIMER_OUTSIDE;
    ck_assert_int_eq(far_timer_request(&r, 4, &op), -EINVAL);
    r.operation = FARTIMER_OP_ARM_IN;
    ck_assert_int_eq(far_timer_request(&r, 4, &op), 0);
    memcpy(&args, op.args, sizeof(args));
    ck_assert_uint_eq(args.flags, FAR_TIMER_OUTSIDE | FAR_TIMER_RELATIVE);
    r.arm = 0x100 | FAR_TIMER_RELATIVE; /* ours, not the guest's to say */
    ck_assert_int_eq(far_timer_request(&r, 4, &op), -EINVAL);
    r.operation = FARTIMER_OP_CANCEL, r.arm = 0;
    ck_assert_int_eq(far_timer_request(&r, 4, &op), 0);
    ck_assert_uint_eq(far_timer_value(FARTIMER_OP_CANCEL, &op), 0);
    for (unsigned o = 6; o < 70000; o += 13) {
        r.operation = (uint16_t)o;
        if (r.operation > FARTIMER_OP_NOW)
            ck_assert_int_eq(far_timer_request(&r, 4, &op), -EOPNOTSUPP);
    }
    ck_assert_int_eq(far_timer_status(-ENOMEM), -EIO);
    ck_assert_int_eq(far_timer_status(5), -EIO);
}
END_TEST

START_TEST(a_rate_is_kept_to_a_part_in_two_billion)
{
    static const uint64_t khz[] = {
        32, 1000, 24000, 2100000, 2999997, 7777777
    };

    for (unsigned i = 0; i < sizeof(khz) / sizeof(khz[0]); i++) {
        struct far_clock_line line = { .base_tsc = 5, .base_ns = 7 };
        uint64_t ticks = khz[i] * 1000 * 10; /* in 10 s */
        uint64_t ns;

        ck_assert(far_clock_rate(&line, 10000000000u, ticks));
        ck_assert_uint_ge(line.mul, 1u << 31);
        ck_assert_uint_eq(far_clock_ns(&line, 5), 7);
        ns = far_clock_ns(&line, 5 + ticks) - 7;
        ck_assert_uint_le(ns, 10000000000u);
        ck_assert_uint_ge(ns, 10000000000u - 12 - 1000000 / khz[i]);
    }
    ck_assert(!far_clock_rate(&(struct far_clock_line){ 0 }, 0, 1));
    ck_assert(!far_clock_rate(&(struct far_clock_line){ 0 }, 1, 0));
    ck_assert(!far_clock_rate(&(struct far_clock_line){ 0 }, UINT64_MAX, 1));
}
END_TEST

START_TEST(a_guests_offset_is_cut_out_of_what_its_rounds_allow)
{
    struct far_clock_offset o = { 0 };
    /* it began 1000000 ticks after we did: its counter is so much behind */
    const uint64_t offset = (uint64_t)-1000000;
    static const unsigned there[] = { 900, 50, 3000, 700 },
                          back[] = { 800, 4000, 60, 500 };
    uint64_t now = 5000000, seen = 0;

    for (unsigned i = 0; i < 4; i++) {
        uint64_t host = now + there[i];

        far_clock_offset_add(&o, now + offset, seen, host);
        seen = host + back[i] + offset;
        now = host + back[i] + 100;
    }
    far_clock_offset_add(&o, now + offset, seen, now + 5000);
    ck_assert(o.has_low && o.has_high);
    ck_assert_int_eq(o.low, (int64_t)offset - 50);
    ck_assert_int_eq(o.high, (int64_t)offset + 60);
    ck_assert_uint_eq(far_clock_offset_error(&o), 55);
    ck_assert_uint_eq(o.contradictions, 0);
    /* a lie, or another counter: everything begins anew */
    far_clock_offset_add(&o, 77, 0, now + 9000);
    far_clock_offset_add(&o, 90, 78, now + 9100);
    ck_assert_uint_ge(o.contradictions, 1);
}
END_TEST

START_TEST(the_line_follows_the_clock_and_a_page_never_goes_back)
{
    struct far_loop *loop = far_loop_new();
    struct far_clock *clock = far_clock_new(loop);
    struct fartimer_clock page = { 0 };
    struct far_clock_guest guest = { 0 };
    uint64_t last = 0, seen = 0, until = far_now_us() + 400000,
             error = UINT64_MAX;

    if (!clock) { /* a machine without such a counter */
        far_loop_free(loop);
        return;
    }
    far_clock_join(clock, &guest, &page);
    while (far_now_us() < until) {
        struct far_clock_line line;
        uint64_t tsc, ns, lo, hi;

        ck_assert_int_ge(far_loop_turn(loop, 3000), 0);
        /* the guest is ourselves: both counters are one */
        tsc = far_clock_counter();
        error = far_clock_round(&guest, tsc, seen);
        seen = far_clock_counter();
        if (error == UINT64_MAX)
            continue;
        ck_assert_uint_eq(page.version % 2, 0);
        ck_assert_uint_eq(page.flags, FARTIMER_CLOCK_VALID);
        line = (struct far_clock_line){ .base_tsc = page.base_tsc,
                                        .base_ns = page.base_ns,
                                        .mul = page.mul,
                                        .shift = page.shift };
        lo = far_now_ns();
        ns = far_clock_ns(&line, far_clock_counter());
        hi = far_now_ns();
        ck_assert_uint_ge(ns, last);
        last = ns;
        ck_assert_uint_ge(ns + page.error_ns + 2000, lo);
        ck_assert_uint_le(ns, hi + page.error_ns + 2000);
    }
    ck_assert_uint_ne(error, UINT64_MAX);
    /* it doubled: seldom, not all the time */
    ck_assert_uint_ge(far_clock_updates(clock), 3);
    ck_assert_uint_le(far_clock_updates(clock), 8);
    far_clock_leave(&guest);
    far_clock_free(clock);
    far_loop_free(loop);
}
END_TEST

START_TEST(a_clock_that_nobody_reads_wakes_nobody)
{
    struct far_loop *loop = far_loop_new();
    struct far_clock *clock = far_clock_new(loop);
    struct fartimer_clock page = { 0 };
    struct far_clock_guest guest = { 0 };

    if (!clock) {
        far_loop_free(loop);
        return;
    }
    ck_assert_int_eq(far_loop_turn(loop, 100000), 0);
    ck_assert_uint_eq(far_clock_updates(clock), 0);
    far_clock_join(clock, &guest, &page);
    ck_assert_int_eq(far_loop_turn(loop, 1000000), 1);
    ck_assert_uint_eq(far_clock_updates(clock), 1);
    far_clock_leave(&guest);
    far_clock_free(clock);
    far_loop_free(loop);
}
END_TEST

static uint64_t read_page(const struct fartimer_clock *page, uint64_t tsc)
{
    struct far_clock_line line = { .base_tsc = page->base_tsc,
                                   .base_ns = page->base_ns,
                                   .mul = page->mul,
                                   .shift = page->shift };

    return (int64_t)(tsc - line.base_tsc) < 0 ? line.base_ns
                                              : far_clock_ns(&line, tsc);
}

/* Rounds that cut what is known of the guest's counter from below only: each
 * moves the middle, and with it what the clock says, back. */
START_TEST(a_better_bound_never_makes_a_page_go_back)
{
    struct far_loop *loop = far_loop_new();
    struct far_clock *clock = far_clock_new(loop);
    struct fartimer_clock page = { 0 };
    struct far_clock_guest guest = { 0 };
    const uint64_t offset = (uint64_t)-1000000000;
    uint64_t seen = 0, slack, last = 0, until, lo, ns;

    if (!clock) {
        far_loop_free(loop);
        return;
    }
    for (until = far_now_us() + 40000; far_now_us() < until;)
        ck_assert_int_ge(far_loop_turn(loop, 5000), 0);
    far_clock_join(clock, &guest, &page);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t now;

        slack = 2000000 / (i + 1); /* ticks, about 1 ms at first */
        (void)far_clock_round(&guest, far_clock_counter() + offset - slack,
                              seen);
        now = far_clock_counter() + offset;
        if (page.flags) {
            ck_assert_uint_ge(read_page(&page, now), last);
            last = read_page(&page, far_clock_counter() + offset);
        }
        seen = far_clock_counter() + offset;
    }
    ck_assert_uint_gt(last, 0);
    /* and what it is ahead melts */
    until = far_now_us() + 5000000;
    do {
        ck_assert_int_ge(far_loop_turn(loop, 1000), 0);
        lo = far_now_ns();
        ns = read_page(&page, far_clock_counter() + offset);
        ck_assert_uint_ge(ns, last);
        last = ns;
    } while (guest.melted_ns && far_now_us() < until);
    ck_assert_uint_eq(guest.melted_ns, 0);
    ck_assert_uint_ge(ns + page.error_ns + 2000, lo);
    ck_assert_uint_le(ns, far_now_ns() + page.error_ns + 2000);
    far_clock_leave(&guest);
    far_clock_free(clock);
    far_loop_free(loop);
}
END_TEST

SUITE_MAIN("timer checks", a_slot_is_armed_if_all_of_it_makes_sense,
           an_arming_goes_on_where_a_former_backend_left_it,
           a_request_becomes_an_op_or_its_error,
           a_rate_is_kept_to_a_part_in_two_billion,
           a_guests_offset_is_cut_out_of_what_its_rounds_allow,
           the_line_follows_the_clock_and_a_page_never_goes_back,
           a_clock_that_nobody_reads_wakes_nobody,
           a_better_bound_never_makes_a_page_go_back)
