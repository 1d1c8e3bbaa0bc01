/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's decision, without an event channel: every short
 * history of raising, waiting and asking, and long random ones.
 */
#include "backend/line.h"
#include "tests/core/suite.h"

/* Each history of so many steps, with every combination of limits. */
START_TEST(whatever_is_raised_is_injected_within_its_time_in_every_history)
{
    static const struct far_line_limits all[] = {
        { 0, 0, 0 }, { 0, 0, 3000 },         { 0, 2, 3000 },   { 50, 0, 0 },
        { 5, 0, 0 }, { 100000000, 3, 9000 }, { 5, 2, 2000000 }
    };
    enum { STEPS = 7 };

    for (unsigned l = 0; l < sizeof(all) / sizeof(all[0]); l++)
        for (unsigned history = 0; history < 1u << (2 * STEPS); history++) {
            struct far_line_state s = { 0 };
            uint64_t now = 1000000000, due = 0, raised = 0, injected = 0;
            bool waiting = false;

            for (unsigned step = 0; step < STEPS; step++) {
                enum far_line_verdict v;

                switch (history >> (2 * step) & 3) {
                case 0:
                    break; /* asked for nothing */
                case 1:
                    now += 1000;
                    break;
                case 2:
                    far_line_raised(&s, now);
                    raised++, waiting = true;
                    break;
                default: /* the timer that was asked for */
                    if (waiting && due > now)
                        now = due;
                    break;
                }
                v = far_line_ask(&s, &all[l], now, &due);
                ck_assert_int_eq(v == FAR_LINE_NOTHING, !waiting);
                if (v == FAR_LINE_INJECT)
                    injected++, waiting = false;
                if (v == FAR_LINE_LATER)
                    ck_assert_uint_gt(due, now);
            }
            ck_assert_uint_le(injected, raised);
            /* in the end all of it has come */
            for (unsigned i = 0; waiting && i < 3; i++) {
                now = due > now ? due : now;
                waiting =
                    far_line_ask(&s, &all[l], now, &due) != FAR_LINE_INJECT;
            }
            ck_assert(!waiting);
        }
}
END_TEST

START_TEST(a_storm_is_injected_at_its_limit_and_no_faster)
{
    static const uint32_t rates[] = { 1, 10, 1000, 30000 };

    for (unsigned r = 0; r < 4; r++) {
        struct far_line_limits limits = { .per_second = rates[r] };
        struct far_line_state s = { 0 };
        uint64_t begin = 5000000000, now, due, injected = 0, burst;

        for (now = begin; now < begin + 10000000000; now += 9777) {
            far_line_raised(&s, now);
            if (far_line_ask(&s, &limits, now, &due) == FAR_LINE_INJECT)
                injected++;
        }
        burst = rates[r] / 10 + 1;
        ck_assert_uint_le(injected, 10u * rates[r] + burst);
        ck_assert_uint_ge(injected, 10u * rates[r] * 99 / 100);
    }
}
END_TEST

START_TEST(some_that_come_together_are_one_and_a_late_first_one_is_not_kept)
{
    struct far_line_limits limits = { .coalesce_events = 4,
                                      .coalesce_ns = 1000000 };
    struct far_line_state s = { 0 };
    uint64_t due = 0;

    for (unsigned i = 0; i < 3; i++) {
        far_line_raised(&s, 100 + i);
        ck_assert_int_eq(far_line_ask(&s, &limits, 100 + i, &due),
                         FAR_LINE_LATER);
        ck_assert_uint_eq(due, 1000100);
    }
    far_line_raised(&s, 200);
    ck_assert_int_eq(far_line_ask(&s, &limits, 200, &due), FAR_LINE_INJECT);
    far_line_raised(&s, 300);
    ck_assert_int_eq(far_line_ask(&s, &limits, 1000299, &due), FAR_LINE_LATER);
    ck_assert_int_eq(far_line_ask(&s, &limits, 1000300, &due), FAR_LINE_INJECT);
    ck_assert_int_eq(far_line_ask(&s, &limits, 1000300, &due),
                     FAR_LINE_NOTHING);
}
END_TEST

SUITE_MAIN("line",
           whatever_is_raised_is_injected_within_its_time_in_every_history,
           a_storm_is_injected_at_its_limit_and_no_faster,
           some_that_come_together_are_one_and_a_late_first_one_is_not_kept)
