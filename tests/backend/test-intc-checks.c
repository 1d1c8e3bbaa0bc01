/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's arithmetic: what a source's word means for a
 * vector's count, in every history of losses, repeats and deaths; and how a
 * source is written.
 */
#include <errno.h>
#include <string.h>
#include "backend/port-intc-checks.h"
#include "tests/core/suite.h"

/* A source that raises, a backend that hears it or not, hears it twice, dies at
 * each of the three stores: in the end the guest has counted each once. */
START_TEST(no_edge_is_lost_or_counted_twice_in_any_history)
{
    enum { STEPS = 6, KINDS = 6 };
    unsigned histories = 1;

    for (unsigned i = 0; i < STEPS; i++)
        histories *= KINDS;
    for (unsigned history = 0; history < histories; history++) {
        struct far_intc_count shown = { .count = 1000 }, mine = shown;
        uint64_t epoch = 7, total = 40, raised = 0;
        unsigned h = history;

        /* what it counted before the guest was there is not the guest's */
        far_intc_account(&mine, epoch, total, true);
        shown = mine;
        for (unsigned step = 0; step < STEPS; step++, h /= KINDS) {
            switch (h % KINDS) {
            case 0: /* raised and heard */
                total++, raised++;
                far_intc_account(&mine, epoch, total, false);
                shown = mine;
                break;
            case 1: /* raised, and the word is lost */
                total++, raised++;
                break;
            case 2: /* said again */
                far_intc_account(&mine, epoch, total, false);
                shown = mine;
                break;
            case 3: /* killed: a successor reads the slot, the source states */
                mine = shown;
                far_intc_account(&mine, epoch, total, true);
                shown = mine;
                break;
            case 4: { /* killed between base and epoch of another source's */
                struct far_intc_count next = mine;

                epoch++, total = 1, raised++;
                far_intc_account(&next, epoch, total, true);
                shown.base = next.base;
                mine = shown;
                far_intc_account(&mine, epoch, total, true);
                shown = mine;
                break;
            }
            default: /* another source, heard at its first edge */
                epoch++, total = 1, raised++;
                far_intc_account(&mine, epoch, total, false);
                shown = mine;
                break;
            }
        }
        /* a source that is another by now had told all, or nobody can */
        far_intc_account(&mine, epoch, total, false);
        if (mine.count != 1000 + raised) {
            /* only what a dead source never got across may be missing */
            unsigned lost = 0, unheard = 0;

            h = history;
            for (unsigned step = 0; step < STEPS; step++, h /= KINDS) {
                if (h % KINDS == 1)
                    unheard++;
                else if (h % KINDS >= 4)
                    lost += unheard, unheard = 0;
                else
                    unheard = 0;
            }
            ck_assert_uint_eq(mine.count + lost, 1000 + raised);
        }
    }
}
END_TEST

START_TEST(a_total_that_goes_back_counts_nothing_and_wraps_are_no_trouble)
{
    struct far_intc_count c = { .count = UINT64_MAX - 1 };

    ck_assert_uint_eq(far_intc_account(&c, 5, 10, true), 0);
    ck_assert_uint_eq(far_intc_account(&c, 5, 13, false), 3);
    ck_assert_uint_eq(c.count, 1);
    ck_assert_uint_eq(far_intc_account(&c, 5, 11, false), 0);
    ck_assert_uint_eq(far_intc_account(&c, 5, 0, false), 0);
    ck_assert_uint_eq(c.count, 1);
    ck_assert_uint_eq(far_intc_account(&c, 5, 14, false), 1);
    /* whatever a guest has written there, it is its own count alone */
    c = (struct far_intc_count){ UINT64_MAX, 3, 5 };
    far_intc_account(&c, 5, UINT64_MAX, false);
    far_intc_account(&c, 6, UINT64_MAX, true);
}
END_TEST

START_TEST(requests_that_ask_for_what_there_is_not_are_refused)
{
    struct farintc_request q = { .operation = FARINTC_OP_SET, .vector = 9 };

    ck_assert_int_eq(far_intc_request(&q, 10, 1), 0);
    ck_assert_int_eq(far_intc_request(&q, 9, 1), -EINVAL);
    q.channel = 1;
    ck_assert_int_eq(far_intc_request(&q, 10, 1), -EINVAL);
    ck_assert_int_eq(far_intc_request(&q, 10, 2), 0);
    q.priority = 8;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), -EINVAL);
    q.priority = 7;
    q.wait_ns = 1000000001;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), -EINVAL);
    q.wait_ns = 0;
    q.together = 2;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), -EINVAL);
    q.operation = FARINTC_OP_ASK;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), 0);
    q.vector = UINT32_MAX;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), -EINVAL);
    q.operation = 3;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), -EOPNOTSUPP);
    q.operation = FARINTC_OP_NOP;
    ck_assert_int_eq(far_intc_request(&q, 10, 2), 0);
}
END_TEST

START_TEST(a_guest_can_make_limits_stricter_and_not_laxer)
{
    struct far_line_limits conf = { 100, 4, 5000 }, guest = { 200, 2, 1000 }, s;

    s = far_intc_stricter(&conf, &guest);
    ck_assert_uint_eq(s.per_second, 100);
    ck_assert_uint_eq(s.coalesce_events, 4);
    ck_assert_uint_eq(s.coalesce_ns, 5000);
    guest = (struct far_line_limits){ 50, 0, 9000 };
    s = far_intc_stricter(&conf, &guest);
    ck_assert_uint_eq(s.per_second, 50);
    ck_assert_uint_eq(s.coalesce_events, 0);
    ck_assert_uint_eq(s.coalesce_ns, 9000);
    conf = (struct far_line_limits){ 0, 0, 0 };
    ck_assert_uint_eq(far_intc_stricter(&conf, &guest).per_second, 50);
    ck_assert_uint_eq(far_intc_stricter(&guest, &conf).per_second, 50);
}
END_TEST

START_TEST(sources_are_read_and_what_is_wrong_is_named)
{
    static const struct {
        const char *text, *words;
    } wrong[] = {
        { "1 doorbell", "wants VECTOR CLASS ADDRESS" },
        { "x intc a", "vectors are numbers" },
        { "1024 intc a", "vectors are numbers" },
        { "5-4 intc a", "vectors are numbers" },
        { "1 input a", "can't be a source" },
        { "1 intc a b", "not KEY=VALUE" },
        { "1 intc a prio=3", "no \"prio\"" },
        { "1 intc a priority=8", "out of range" },
        { "1 intc a max=0", "out of range" },
        { "1 intc a wait=2s", "out of range" },
        { "1 intc a together=2", "wants a wait" },
        { "0-1 doorbell a", "one vector" },
        { "1 doorbell a line=1", "one vector" },
        { "0-1000 intc a line=100", "not so many lines" },
        { "1 intc a/b/c", "" },
    };
    struct far_intc_source s;
    struct far_error error;

    ck_assert_int_eq(
        far_intc_source_parse(&s,
                              "8-15  intc\tborealis/board line=2 priority=0 "
                              "max=1000 wait=50us together=8",
                              &error),
        0);
    ck_assert_uint_eq(s.first, 8);
    ck_assert_uint_eq(s.count, 8);
    ck_assert_int_eq(s.class, FAR_CLASS_INTC);
    ck_assert_str_eq(s.address, "borealis/board");
    ck_assert_uint_eq(s.line, 2);
    ck_assert_uint_eq(s.priority, 0);
    ck_assert_uint_eq(s.max_per_s, 1000);
    ck_assert_uint_eq(s.wait_us, 50);
    ck_assert_uint_eq(s.together, 8);
    ck_assert_int_eq(far_intc_source_parse(&s, "3 doorbell bell0", &error), 0);
    ck_assert_uint_eq(s.count, 1);
    ck_assert_uint_eq(s.priority, 4);
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(far_intc_source_parse(&s, wrong[i].text, &error),
                         -EINVAL);
        ck_assert_msg(strstr(error.text, wrong[i].words) != NULL, "%s: %s",
                      wrong[i].text, error.text);
    }
}
END_TEST

SUITE_MAIN("intc-checks", no_edge_is_lost_or_counted_twice_in_any_history,
           a_total_that_goes_back_counts_nothing_and_wraps_are_no_trouble,
           requests_that_ask_for_what_there_is_not_are_refused,
           a_guest_can_make_limits_stricter_and_not_laxer,
           sources_are_read_and_what_is_wrong_is_named)
