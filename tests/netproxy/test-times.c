/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where the time of ops and interrupts went: what four times of two clocks
 * come to, that wild ones count nothing, and that every stage is measured
 * between a guest and a device that is far away.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/input.h"
#include "netproxy/times.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define MS 1000000u

static struct far_times *times;
static struct far_conn conn;

static void setup(void)
{
    times = NULL;
    memset(&conn, 0, sizeof(conn));
    /* Their clock is 500 s ahead; the least ways are 2 ms each. */
    conn.delta_ns[0] = -500000ll * MS + 2 * MS;
    conn.delta_ns[1] = FAR_WIRE_UNKNOWN_NS;
    conn.their_delta_ns = 500000ll * MS + 2 * MS;
}

static void teardown(void)
{
    far_times_free(times);
}

static const struct far_op timed = { .attachment = 1,
                                     .sequence = 1,
                                     .slot = 5,
                                     .opcode = FAR_OP_NOP(FAR_CLASS_INPUT),
                                     .flags = FAR_OP_TIMED };

/* Its answer, with these times by their clock. */
static void answer(const struct far_wire_times *theirs, size_t bytes)
{
    struct far_wire_header header = { .type = FAR_WIRE_FEEDBACK, .handle = 1 };
    struct far_wire_frame frame;
    struct far_error error;
    uint8_t data[256];
    size_t n = far_wire_encode_op(data, sizeof(data), &header, &timed, NULL);

    if (theirs)
        n = far_wire_add_option(data, sizeof(data), FAR_WIRE_OPTION_TIMES,
                                theirs, bytes);
    ck_assert_int_eq(far_wire_decode(&frame, data, n, &error), 0);
    far_times_answered(times, &conn, &frame);
}

START_TEST(an_answer_with_its_times_is_never_longer_than_the_other_takes)
{
    const uint32_t limits[] = { FAR_WIRE_FRAME_MIN_MAX, 5000, 32768, 65536 };

    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct far_wire_header header = { .type = FAR_WIRE_FEEDBACK };
        struct far_op op = timed;

        conn.theirs.frame_max = limits[i];
        op.flags |= FAR_OP_RECEIVES;
        op.payload_bytes = far_conn_piece_bytes(&conn);
        ck_assert_uint_ge(op.payload_bytes, 2048);
        ck_assert_uint_le(
            far_wire_op_bytes(&header, &op) +
                FAR_WIRE_OPTION_ROOM(sizeof(struct far_wire_times)),
            limits[i]);
    }
}
END_TEST

static uint64_t sum(enum far_stage stage)
{
    const struct far_hist *hist = times->stages.hists[stage];

    return hist ? hist->sum_ns : 0;
}

static uint64_t count(enum far_stage stage)
{
    const struct far_hist *hist = times->stages.hists[stage];

    return hist ? hist->count : 0;
}

START_TEST(four_times_of_two_clocks_are_told_apart)
{
    struct far_wire_times theirs = { 500107ull * MS, 500110ull * MS,
                                     500150ull * MS };

    far_times_given(&times, &timed);
    times->slots[5].given_ns = 100 * MS;
    far_times_sent(times, &timed, 104ull * MS);
    conn.received_ns = 157ull * MS;
    answer(&theirs, sizeof(theirs));
    ck_assert_uint_eq(sum(FAR_STAGE_OP_QUEUE), 4 * MS);
    ck_assert_uint_eq(sum(FAR_STAGE_OP_WIRE), 3 * MS);
    ck_assert_uint_eq(sum(FAR_STAGE_OP_SERVER), 3 * MS);
    ck_assert_uint_eq(sum(FAR_STAGE_OP_DEVICE), 40 * MS);
    ck_assert_uint_eq(sum(FAR_STAGE_OP_RETURN), 7 * MS);
    /* Once. */
    answer(&theirs, sizeof(theirs));
    ck_assert_uint_eq(count(FAR_STAGE_OP_WIRE), 1);
}
END_TEST

START_TEST(the_two_ways_are_never_more_than_what_is_left)
{
    struct far_wire_times theirs = { 500290ull * MS, 500290ull * MS,
                                     500291ull * MS };

    far_times_given(&times, &timed);
    times->slots[5].given_ns = 100 * MS;
    far_times_sent(times, &timed, 100ull * MS);
    conn.received_ns = 110ull * MS;
    answer(&theirs, sizeof(theirs));
    ck_assert_uint_eq(sum(FAR_STAGE_OP_WIRE), 9 * MS);
    ck_assert_uint_eq(sum(FAR_STAGE_OP_RETURN), 0);
}
END_TEST

START_TEST(wild_times_count_nothing)
{
    static const struct far_wire_times wild[] = {
        { 500110ull * MS, 500107ull * MS, 500150ull * MS },
        { 500107ull * MS, 500160ull * MS, 500150ull * MS },
        { 500107ull * MS, 500108ull * MS, 500307ull * MS },
        { 0, UINT64_MAX / 2, UINT64_MAX },
        { UINT64_MAX, UINT64_MAX, UINT64_MAX - 1 },
    };

    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        far_times_given(&times, &timed);
        times->slots[5].given_ns = 100 * MS;
        far_times_sent(times, &timed, 104ull * MS);
        conn.received_ns = 157ull * MS;
        answer(&wild[i], sizeof(wild[i]));
    }
    far_times_given(&times, &timed);
    far_times_sent(times, &timed, 104ull * MS);
    answer(&wild[0], 16); /* too short */
    far_times_given(&times, &timed);
    far_times_sent(times, &timed, 104ull * MS);
    answer(NULL, 0); /* an older peer says nothing */
    for (unsigned i = 0; i < FAR_STAGES; i++)
        ck_assert_ptr_null(times->stages.hists[i]);
}
END_TEST

START_TEST(what_is_sent_again_is_not_timed)
{
    struct far_wire_times theirs = { 500107ull * MS, 500110ull * MS,
                                     500150ull * MS };
    struct far_op op = timed;

    far_times_given(&times, &timed);
    times->slots[5].given_ns = 100 * MS;
    far_times_sent(times, &timed, 104ull * MS);
    far_times_sent(times, &timed, 105ull * MS);
    conn.received_ns = 157ull * MS;
    answer(&theirs, sizeof(theirs));
    op.flags |= FAR_OP_REPEAT;
    far_times_given(&times, &op);
    far_times_sent(times, &op, 104ull * MS);
    answer(&theirs, sizeof(theirs));
    ck_assert_uint_eq(count(FAR_STAGE_OP_WIRE), 0);
}
END_TEST

START_TEST(one_in_so_many_is_chosen_and_the_first_is)
{
    struct far_sampler all = { .every = 1 }, none = { 0 }, few = { .every = 4 };
    unsigned chosen = 0;

    ck_assert(far_sample(&all) && far_sample(&all) && far_sample(&all));
    ck_assert(!far_sample(&none) && !far_sample(&none));
    ck_assert(far_sample(&few));
    for (unsigned i = 0; i < 400; i++)
        chosen += far_sample(&few);
    ck_assert_uint_eq(chosen, 100);
}
END_TEST

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;

static bool answered(void *arg)
{
    return ((struct guest *)arg)->completions != 0;
}

START_TEST(every_stage_between_a_guest_and_a_far_device_is_measured)
{
    static const enum far_stage here[] = { FAR_STAGE_OP_WAIT,
                                           FAR_STAGE_OP_LOCAL,
                                           FAR_STAGE_OP_HOME,
                                           FAR_STAGE_OP_TOTAL };
    static const char *const there[] = { "op_queue", "op_wire", "op_server",
                                         "op_device", "op_return" };
    struct far_op op = { .attachment = 1,
                         .slot = 9,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    const struct far_stages *stages;
    uint16_t port;
    long long parts = 0;
    char path[128];

    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "atlas-keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\ntimes = 1\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = atlas\n",
              port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n[server borealis]\n"
              "address = 127.0.0.1:%u\npsk-file = %s/atlas-keys\n",
              port, rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    /* By default the first one and then one in 64; here as the guest likes. */
    for (op.sequence = 1; op.sequence <= 100; op.sequence++) {
        op.flags = op.sequence % 4 ? 0 : FAR_OP_TIMED;
        guest.completions = 0;
        ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, NULL),
                         FAR_LATER);
        ck_assert(rig_until(&rig, answered, &guest, 10000));
    }
    stages = far_layer_stages(guest.layer.below);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_msg(stages->hists[here[i]] != NULL, "%s",
                      far_stage_name(here[i]));
        ck_assert_uint_ge(stages->hists[here[i]]->count, 25);
        ck_assert_uint_le(stages->hists[here[i]]->count, 30);
        if (here[i] != FAR_STAGE_OP_TOTAL)
            parts += (long long)stages->hists[here[i]]->sum_ns;
    }
    for (unsigned i = 0; i < 5; i++) {
        snprintf(path, sizeof(path), "remotes.0.latency.%s.count", there[i]);
        ck_assert_msg(proxy_number(&atlas, path) >= 25, "%s", path);
        snprintf(path, sizeof(path), "remotes.0.latency.%s.sum_ns", there[i]);
        parts += proxy_number(&atlas, path);
    }
    ck_assert_int_le(parts,
                     (long long)stages->hists[FAR_STAGE_OP_TOTAL]->sum_ns);
    ck_assert_int_ge(
        proxy_number(&borealis, "sessions.0.latency.op_device.count"), 25);
    /* Interrupts: all, since borealis says so; in the ring, one in 64. */
    for (unsigned i = 0; i < 100; i++)
        proxy_tap(&borealis, "kbd0", 30);
    guest_wait_count(&guest, 200);
    ck_assert_int_ge(proxy_number(&atlas, "remotes.0.latency.raised.count"),
                     100);
    ck_assert_ptr_nonnull(stages->hists[FAR_STAGE_RING]);
    guest_detach(&guest);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: times");
    TCase *unit = tcase_create("unit"), *whole = tcase_create("whole");

    suite_add_tcase(suite, unit);
    tcase_add_checked_fixture(unit, setup, teardown);
    tcase_add_test(unit, four_times_of_two_clocks_are_told_apart);
    tcase_add_test(unit, the_two_ways_are_never_more_than_what_is_left);
    tcase_add_test(unit, wild_times_count_nothing);
    tcase_add_test(
        unit, an_answer_with_its_times_is_never_longer_than_the_other_takes);
    tcase_add_test(unit, what_is_sent_again_is_not_timed);
    tcase_add_test(unit, one_in_so_many_is_chosen_and_the_first_is);
    suite_add_tcase(suite, whole);
    tcase_set_timeout(whole, 60);
    tcase_add_test(whole,
                   every_stage_between_a_guest_and_a_far_device_is_measured);
    return suite_end(suite);
}
