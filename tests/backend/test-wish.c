/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What libxl's record of a domain orders, and what it doesn't.
 */
#include "backend/wish.h"
#include "tests/core/suite.h"

/* As libxl 4.17 writes it, but for what has nothing to do with it. */
static const char text[] =
    "{\"c_info\":{\"type\":\"pvh\",\"name\":\"g\"},"
    "\"vsnds\":[{\"devid\":0,\"short_name\":\"c\",\"pcms\":[{\"name\":\"p0\","
    "\"streams\":[{\"unique_id\":\"borealis/wav0\",\"type\":\"p\"},"
    "{\"unique_id\":\"mic0\",\"type\":\"c\",\"params\":{}}]}]}],"
    "\"vdispls\":[{\"devid\":0,\"connectors\":[{\"unique_id\":\"disp0\","
    "\"width\":800,\"height\":600}]}]}";

START_TEST(what_dom0_ordered_is_granted_and_nothing_else)
{
    json_t *record = json_loads(text, 0, NULL);

    ck_assert_ptr_nonnull(record);
    ck_assert(far_wish_in_record(record, FAR_WISH_PLAY, "borealis/wav0"));
    ck_assert(far_wish_in_record(record, FAR_WISH_RECORD, "mic0"));
    ck_assert(far_wish_in_record(record, FAR_WISH_SHOW, "disp0"));
    /* another device; another's microphone; the same for another purpose */
    ck_assert(!far_wish_in_record(record, FAR_WISH_PLAY, "borealis/wav1"));
    ck_assert(!far_wish_in_record(record, FAR_WISH_PLAY, "wav0"));
    ck_assert(!far_wish_in_record(record, FAR_WISH_PLAY, "Borealis/wav0"));
    ck_assert(!far_wish_in_record(record, FAR_WISH_RECORD, "borealis/wav0"));
    ck_assert(!far_wish_in_record(record, FAR_WISH_PLAY, "mic0"));
    ck_assert(!far_wish_in_record(record, FAR_WISH_PLAY, "disp0"));
    ck_assert(!far_wish_in_record(record, FAR_WISH_SHOW, "mic0"));
    json_decref(record);
}
END_TEST

START_TEST(a_record_that_is_none_orders_nothing)
{
    static const char *const records[] = {
        "[]",
        "{}",
        "{\"vsnds\":7}",
        "{\"vsnds\":[7,{\"pcms\":{}}]}",
        "{\"vsnds\":[{\"pcms\":[{\"streams\":[null]}]}]}",
        "{\"vsnds\":[{\"pcms\":[{\"streams\":[{\"unique_id\":null}]}]}]}",
    };

    ck_assert(!far_wish_in_record(NULL, FAR_WISH_PLAY, "wav0"));
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        json_t *record = json_loads(records[i], JSON_DECODE_ANY, NULL);

        ck_assert_ptr_nonnull(record);
        ck_assert(!far_wish_in_record(record, FAR_WISH_PLAY, "wav0"));
        ck_assert(!far_wish_in_record(record, FAR_WISH_SHOW, "wav0"));
        json_decref(record);
    }
}
END_TEST

SUITE_MAIN("wish", what_dom0_ordered_is_granted_and_nothing_else,
           a_record_that_is_none_orders_nothing)
