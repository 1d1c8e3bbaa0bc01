/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fast sound device over a device that does what a test says, and sound
 * files.
 */
#include <math.h>
#include "devices/fast-sound.h"
#include "tests/devices/harness.h"

/* --- a port, and a device ---------------------------------------------------
 */

static struct far_loop *loop;
static struct far_sound_state state;
static struct far_layer port, *fast;
static uint64_t position, positions;
static bool deaf;

static bool on_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct far_sound_args a;

    (void)layer;
    ck_assert_uint_eq(op->opcode, FAR_SOUND_POSITION);
    if (deaf)
        return false;
    memcpy(&a, op->args, sizeof(a));
    ck_assert_uint_ge(a.position_bytes, position);
    position = a.position_bytes;
    positions++;
    return true;
}

static const struct far_layer_ops port_ops = { .name = "test port",
                                               .interrupt = on_interrupt };

#define ROOM (1u << 22)
static struct device {
    struct far_layer layer;
    bool later;  /* ops are kept, until answer_all() */
    int refuses; /* status of OPEN */
    bool has_clock;
    uint64_t clock_bytes; /* what it says with each answer */
    unsigned opens, starts, stops, closes;
    uint64_t opened_at, started_at, stopped_at;
    struct far_op kept[64];
    void *payloads[64];
    unsigned kept_count;
    uint8_t samples[ROOM]; /* what was played, at its offset */
    uint64_t upto;
} device;

static void answer(struct far_op *op, uint8_t *payload)
{
    struct far_sound_params p;
    struct far_sound_trigger_args t;
    struct far_sound_args a;

    memcpy(&a, op->args, sizeof(a));
    memcpy(&t, op->args, sizeof(t));
    memcpy(&p, op->args, sizeof(p));
    op->status = 0;
    switch (op->opcode) {
    case FAR_SOUND_OPEN:
        op->status = device.refuses;
        device.opens++;
        device.opened_at = p.offset_bytes;
        break;
    case FAR_SOUND_CLOSE:
        device.closes++;
        break;
    case FAR_SOUND_TRIGGER:
        if (t.type == FAR_SOUND_START)
            device.starts++, device.started_at = t.offset_bytes;
        else if (t.type == FAR_SOUND_STOP)
            device.stops++, device.stopped_at = t.offset_bytes;
        break;
    case FAR_SOUND_WRITE:
        ck_assert_uint_le(a.offset_bytes + a.length_bytes, ROOM);
        memcpy(device.samples + a.offset_bytes, payload, a.length_bytes);
        if (a.offset_bytes + a.length_bytes > device.upto)
            device.upto = a.offset_bytes + a.length_bytes;
        break;
    case FAR_SOUND_READ:
        for (uint32_t i = 0; i < a.length_bytes; i++)
            payload[i] = (uint8_t)((a.offset_bytes + i) * 7 >> 2);
        break;
    default:
        ck_abort_msg("opcode %x", op->opcode);
    }
    a.position_bytes = device.clock_bytes;
    if (op->opcode == FAR_SOUND_WRITE || op->opcode == FAR_SOUND_READ)
        memcpy(op->args, &a, sizeof(a));
    if (!(op->flags & FAR_OP_RECEIVES))
        op->payload_bytes = 0;
}

static enum far_verdict device_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    (void)layer;
    if (device.later) {
        ck_assert_uint_lt(device.kept_count, 64);
        device.kept[device.kept_count] = *op;
        device.payloads[device.kept_count++] = payload;
        return FAR_LATER;
    }
    answer(op, payload);
    return FAR_DONE;
}

/* Those that are there now: each answer may bring another. */
static void answer_all(void)
{
    for (unsigned n = device.kept_count; n; n--) {
        struct far_op op = device.kept[0];
        void *payload = device.payloads[0];

        device.kept_count--;
        memmove(device.kept, device.kept + 1,
                device.kept_count * sizeof(device.kept[0]));
        memmove(device.payloads, device.payloads + 1,
                device.kept_count * sizeof(device.payloads[0]));
        answer(&op, payload);
        far_layer_complete(fast, &op);
    }
}

static void device_close(struct far_layer *layer)
{
    (void)layer;
}

static const struct far_layer_ops device_ops = { .name = "test device",
                                                 .submit = device_submit,
                                                 .close = device_close };

static void comes(uint16_t flags)
{
    struct far_layer_news news = { .incarnation = 1 };
    struct far_sound_caps caps = far_sound_anything;

    caps.flags = flags;
    memcpy(news.props, &caps, sizeof(caps));
    far_layer_state(fast, FAR_DEVICE_READY, &news);
}

static void goes(bool ops_lost)
{
    struct far_layer_news news = { .reason = "the cable is out",
                                   .ops_lost = ops_lost };

    far_layer_state(fast, FAR_DEVICE_GONE, &news);
}

static void set_up(void)
{
    loop = far_loop_new();
    memset(&state, 0, sizeof(state));
    memset(&device, 0, sizeof(device));
    position = positions = 0;
    deaf = false;
    device.layer.ops = &device_ops;
    port = (struct far_layer){ .ops = &port_ops };
    fast = far_fast_sound_new(loop, 1, &state);
    ck_assert(loop && fast);
    far_layer_stack(fast, &device.layer);
    far_layer_stack(&port, fast);
}

static void tear_down(void)
{
    far_layer_close(fast);
    far_loop_free(loop);
}

/* --- ops --------------------------------------------------------------------
 */

#define FRAME  4u
#define RATE   48000u
#define SECOND (RATE * FRAME)
#define BUFFER FAR_SOUND_BUFFER_MAX /* five seconds: machines are busy */

static int give(uint16_t opcode, const void *args, void *payload,
                uint32_t bytes, uint16_t flags)
{
    struct far_op op = { .opcode = opcode,
                         .flags = flags,
                         .payload_bytes = bytes };

    if (args)
        memcpy(op.args, args, sizeof(op.args));
    ck_assert_int_eq(far_layer_submit(fast, &op, payload), FAR_DONE);
    return op.status;
}

static void open_stream(bool records)
{
    struct far_sound_params p = { .rate = RATE,
                                  .format = FAR_SOUND_S16_LE,
                                  .channels = 2,
                                  .records = records,
                                  .buffer_bytes = BUFFER,
                                  .period_bytes = 4096,
                                  .stream = 1 };

    ck_assert_int_eq(give(FAR_SOUND_OPEN, &p, NULL, 0, 0), 0);
}

static uint8_t sample(uint64_t place)
{
    return (uint8_t)(place * 131 >> 3 ^ place);
}

static int write_at(uint64_t offset, uint32_t bytes)
{
    struct far_sound_args a = { .offset_bytes = offset,
                                .length_bytes = bytes,
                                .stream = state.params.stream };
    static uint8_t payload[BUFFER + FRAME];

    for (uint32_t i = 0; i < bytes; i++)
        payload[i] = sample(offset + i);
    return give(FAR_SOUND_WRITE, &a, payload, bytes, FAR_OP_SENDS);
}

/* The device has what was written there. */
static void played(uint64_t from, uint64_t upto)
{
    for (uint64_t i = from; i < upto; i++)
        if (device.samples[i] != sample(i))
            ck_abort_msg("byte %llu of %llu is wrong", (unsigned long long)i,
                         (unsigned long long)upto);
}

static int trigger(uint32_t type)
{
    struct far_sound_trigger_args t = { .type = type,
                                        .stream = state.params.stream };

    return give(FAR_SOUND_TRIGGER, &t, NULL, 0, 0);
}

/* As a guest does, a buffer ahead. */
static void play_until(uint64_t bytes)
{
    uint64_t until_us = far_now_us() + 20000000;

    while (position < bytes) {
        while (state.ready_bytes + 4096 <= position + BUFFER)
            ck_assert_int_eq(write_at(state.ready_bytes, 4096), 0);
        far_loop_turn(loop, 5000);
        ck_assert(far_now_us() < until_us);
    }
}

/* --- playing ----------------------------------------------------------------
 */

START_TEST(what_is_written_reaches_the_device_at_once_and_whole)
{
    comes(0);
    open_stream(false);
    ck_assert_int_eq(write_at(0, 20000), 0);
    ck_assert_int_eq(write_at(20000, BUFFER - 20000), 0);
    ck_assert_int_eq(write_at(0, 4), 0);      /* again: no harm */
    ck_assert_int_lt(write_at(4, BUFFER), 0); /* over what is not played */
    ck_assert_int_lt(write_at(BUFFER, FRAME), 0);
    ck_assert_uint_eq(device.upto, BUFFER);
    played(0, BUFFER);
    ck_assert_uint_eq(device.opens, 1);
}
END_TEST

START_TEST(the_position_goes_by_the_clock_and_a_frame_beyond_each_period)
{
    uint64_t begin_ns, spent;

    comes(0);
    open_stream(false);
    ck_assert_int_eq(write_at(0, BUFFER), 0);
    begin_ns = far_now_ns();
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    turn_until(loop, positions == 1);
    /* Linux' front counts a period only when more than it has gone by */
    ck_assert_uint_gt(position, 4096);
    play_until(SECOND);
    spent = far_sound_bytes_of(&state.params, far_now_ns() - begin_ns);
    ck_assert_uint_le(position, spent); /* never ahead of time */
    ck_assert_int_eq(trigger(FAR_SOUND_PAUSE), 0);
    spent = position;
    turn_for(loop, 100000);
    ck_assert_uint_eq(position, spent);
    /* a stop leads to the buffer's start */
    ck_assert_int_eq(trigger(FAR_SOUND_RESUME), 0);
    ck_assert_int_eq(trigger(FAR_SOUND_STOP), 0);
    ck_assert_uint_eq(position % BUFFER, 0);
    ck_assert_uint_eq(device.stops, 1);
    ck_assert_uint_lt(device.stopped_at, position);
}
END_TEST

START_TEST(a_port_without_room_is_told_where_it_is_later)
{
    comes(0);
    open_stream(false);
    deaf = true;
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    turn_for(loop, 200000);
    ck_assert_uint_eq(positions, 0);
    deaf = false;
    turn_until(loop, positions);
    ck_assert_uint_ge(position, far_sound_bytes_of(&state.params, 200000000));
}
END_TEST

START_TEST(
    a_device_that_is_away_is_silence_and_gets_what_is_due_when_it_is_back)
{
    uint64_t gone_at;

    comes(0);
    open_stream(false);
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    play_until(SECOND / 8);
    goes(true);
    ck_assert_str_eq(far_fast_sound_reason(fast), "the cable is out");
    gone_at = position;
    memset(device.samples, 0, sizeof(device.samples));
    play_until(gone_at + SECOND / 2);
    ck_assert_uint_eq(device.opens, 1);
    comes(0);
    ck_assert_uint_eq(device.opens, 2);
    ck_assert_uint_eq(device.starts, 2);
    ck_assert_uint_ge(device.opened_at, gone_at + SECOND / 2 - 4096);
    ck_assert_uint_eq(device.opened_at, device.started_at);
    ck_assert_ptr_null(far_fast_sound_reason(fast));
    play_until(position + 8192);
    played(device.opened_at, device.upto);
}
END_TEST

START_TEST(a_device_that_refuses_is_silence_and_is_asked_again)
{
    comes(0);
    device.refuses = -EBUSY;
    open_stream(false);
    ck_assert_ptr_nonnull(strstr(far_fast_sound_reason(fast), "in use"));
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    play_until(SECOND / 8);
    ck_assert_uint_eq(device.upto, 0);
    device.refuses = 0;
    turn_until(loop, device.opens == 2);
    ck_assert_ptr_null(far_fast_sound_reason(fast));
    play_until(position + 8192);
    ck_assert_uint_gt(device.upto, 0);
}
END_TEST

START_TEST(a_device_without_a_clock_gets_all_that_a_late_guest_plays)
{
    uint64_t waits, stands;

    comes(FAR_SOUND_WAITS);
    open_stream(false);
    ck_assert_int_eq(write_at(0, 8192), 0);
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    turn_for(loop, 300000); /* much more than it has */
    ck_assert_uint_eq(far_fast_sound_position(fast), 8192 - FRAME);
    ck_assert_uint_eq(far_fast_sound_counters(fast)->underruns, 0);
    ck_assert_int_eq(write_at(8192, 8192), 0);
    ck_assert_uint_lt(far_fast_sound_position(fast), 16384);
    turn_until(loop, far_fast_sound_position(fast) == 16384 - FRAME);
    /* but not for ever */
    stands = far_now_us();
    turn_until(loop, far_fast_sound_position(fast) > 16384);
    ck_assert_uint_gt(far_now_us() - stands, 500000);
    waits = far_fast_sound_counters(fast)->waits;
    ck_assert_uint_eq(waits, 2);
}
END_TEST

START_TEST(a_device_that_takes_nothing_any_more_stops_no_guest)
{
    comes(FAR_SOUND_WAITS);
    open_stream(false);
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    play_until(8192);
    device.later = true;
    play_until(SECOND); /* the wait for it is two seconds, once */
    ck_assert_uint_le(device.kept_count, 8);
    device.later = false;
    answer_all();
    play_until(position + BUFFER);
    played(device.upto - 4096, device.upto);
}
END_TEST

START_TEST(the_clock_of_a_device_that_has_one_is_followed)
{
    uint64_t begin_us;

    comes(FAR_SOUND_PACES);
    open_stream(false);
    ck_assert_int_eq(write_at(0, BUFFER), 0);
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    /* one that is a tenth slow: whatever time this takes, they stay together */
    begin_us = far_now_us();
    while (far_now_us() - begin_us < 1500000) {
        device.clock_bytes =
            (far_now_us() - begin_us) * 9 / 10 * RATE / 1000000 * FRAME;
        while (state.ready_bytes + 2048 <= position + BUFFER)
            ck_assert_int_eq(write_at(state.ready_bytes, 2048), 0);
        far_loop_turn(loop, 2000);
    }
    ck_assert_uint_lt(far_fast_sound_position(fast),
                      device.clock_bytes + SECOND / 20);
    ck_assert_uint_gt(far_fast_sound_position(fast),
                      device.clock_bytes - SECOND / 20);
}
END_TEST

START_TEST(volume_is_heard_at_once_also_in_what_was_sent_ahead)
{
    int32_t volume[2] = { -6021, 0 }, got[2]; /* half, and as it is */
    struct far_sound_mute_args mute = { .channels = 2, .mute = 1 };

    comes(0);
    open_stream(false);
    ck_assert_int_eq(write_at(0, 8192), 0);
    ck_assert_int_eq(
        give(FAR_SOUND_SET_VOLUME, NULL, volume, sizeof(volume), FAR_OP_SENDS),
        0);
    ck_assert_int_eq(give(FAR_SOUND_MUTE, &mute, NULL, 0, 0), 0);
    for (uint32_t i = 0; i < 8192; i += FRAME) {
        int16_t was, left, right;
        uint8_t bytes[2] = { sample(i), sample(i + 1) };

        memcpy(&was, bytes, 2);
        memcpy(&left, device.samples + i, 2);
        memcpy(&right, device.samples + i + 2, 2);
        ck_assert_int_le(abs(left - was / 2), 2);
        ck_assert_int_eq(right, 0);
    }
    ck_assert_int_eq(
        give(FAR_SOUND_GET_VOLUME, NULL, got, sizeof(got), FAR_OP_RECEIVES), 0);
    ck_assert_int_eq(got[0], -6021);
    volume[0] = INT32_MIN;
    volume[1] = INT32_MAX;
    ck_assert_int_eq(
        give(FAR_SOUND_SET_VOLUME, NULL, volume, sizeof(volume), FAR_OP_SENDS),
        0);
    volume[0] = 0;
    volume[1] = 0;
    mute.mute = 0;
    ck_assert_int_eq(
        give(FAR_SOUND_SET_VOLUME, NULL, volume, sizeof(volume), FAR_OP_SENDS),
        0);
    ck_assert_int_eq(give(FAR_SOUND_MUTE, &mute, NULL, 0, 0), 0);
    played(0, 8192);
}
END_TEST

/* --- recording --------------------------------------------------------------
 */

static void read_at(uint64_t offset, uint8_t *to, uint32_t bytes)
{
    struct far_sound_args a = { .offset_bytes = offset,
                                .length_bytes = bytes,
                                .stream = state.params.stream };

    ck_assert_int_eq(give(FAR_SOUND_READ, &a, to, bytes, FAR_OP_RECEIVES), 0);
}

static void records_until(uint64_t bytes, bool answers)
{
    static uint8_t got[4096];
    uint64_t until_us = far_now_us() + 20000000, at = position & ~4095ull;

    while (at + 4096 <= bytes) {
        if (answers)
            answer_all();
        if (position < at + 4096) {
            far_loop_turn(loop, 5000);
            ck_assert(far_now_us() < until_us);
            continue;
        }
        read_at(at, got, sizeof(got));
        for (uint32_t i = 0; i < sizeof(got); i++)
            ck_assert_uint_eq(got[i], (uint8_t)((at + i) * 7 >> 2));
        at += 4096;
    }
}

START_TEST(what_is_recorded_is_there_when_the_position_says_so)
{
    static const uint16_t flags[] = { 0, FAR_SOUND_PACES };

    for (unsigned later = 0; later < 2; later++) {
        comes(flags[later]);
        device.later = later;
        open_stream(true);
        answer_all();
        ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
        position = 0;
        records_until(SECOND / 4, later);
        ck_assert_int_eq(trigger(FAR_SOUND_STOP), 0);
    }
    ck_assert_uint_eq(far_fast_sound_counters(fast)->silent_bytes, 0);
}
END_TEST

START_TEST(a_device_that_does_not_answer_is_given_up_and_silence_recorded)
{
    uint8_t got[4096];

    comes(0);
    open_stream(true);
    device.later = true;
    ck_assert_int_eq(trigger(FAR_SOUND_START), 0);
    turn_until(loop, position > SECOND / 2);
    read_at(state.ready_bytes - 8192, got, sizeof(got));
    for (uint32_t i = 0; i < sizeof(got); i++)
        ck_assert_uint_eq(got[i], 0);
    /* what comes after all is nobody's */
    device.later = false;
    answer_all();
    turn_until(loop, far_fast_sound_counters(fast)->recorded_bytes > 0);
    goes(false);
    position = 0;
    turn_until(loop, position > 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sound");
    TCase *c = tcase_create("fast");
    const TTest *const tests[] = {
        what_is_written_reaches_the_device_at_once_and_whole,
        the_position_goes_by_the_clock_and_a_frame_beyond_each_period,
        a_port_without_room_is_told_where_it_is_later,
        a_device_that_is_away_is_silence_and_gets_what_is_due_when_it_is_back,
        a_device_that_refuses_is_silence_and_is_asked_again,
        a_device_without_a_clock_gets_all_that_a_late_guest_plays,
        a_device_that_takes_nothing_any_more_stops_no_guest,
        the_clock_of_a_device_that_has_one_is_followed,
        volume_is_heard_at_once_also_in_what_was_sent_ahead,
        what_is_recorded_is_there_when_the_position_says_so,
        a_device_that_does_not_answer_is_given_up_and_silence_recorded,
    };

    tcase_add_checked_fixture(c, set_up, tear_down);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(c, tests[i]);
    tcase_set_timeout(c, 60);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
