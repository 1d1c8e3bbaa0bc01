/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * core/sound.c: what streams and ops may be, and samples.
 */
#include "core/sound.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include "tests/core/suite.h"

static struct far_sound_params stereo(void)
{
    return (struct far_sound_params){ .rate = 48000,
                                      .format = FAR_SOUND_S16_LE,
                                      .channels = 2,
                                      .buffer_bytes = 65536,
                                      .period_bytes = 4096,
                                      .stream = 1 };
}

START_TEST(a_stream_that_can_be_is_taken_and_one_that_cannot_is_not)
{
    struct far_sound_params p = stereo();

    ck_assert_ptr_null(far_sound_params_fault(&p));
#define WRONG(member, value)                               \
    do {                                                   \
        p = stereo();                                      \
        p.member = (value);                                \
        ck_assert_ptr_nonnull(far_sound_params_fault(&p)); \
    } while (0)
    WRONG(rate, 0);
    WRONG(rate, FAR_SOUND_RATE_MAX + 1);
    WRONG(rate, UINT32_MAX);
    WRONG(format, 22);
    WRONG(format, 255);
    WRONG(channels, 0);
    WRONG(channels, FAR_SOUND_CHANNELS_MAX + 1);
    WRONG(channels, 255);
    WRONG(buffer_bytes, 0);
    WRONG(buffer_bytes, 4);
    WRONG(buffer_bytes, 65537);
    WRONG(buffer_bytes, UINT32_MAX - 3);
    WRONG(buffer_bytes, FAR_SOUND_BUFFER_MAX + 4);
    WRONG(period_bytes, 65540);
    WRONG(period_bytes, 3);
    WRONG(stream, 0);
    WRONG(records, 2);
    WRONG(offset_bytes, 1);
}
END_TEST

static struct far_op op_of(uint16_t opcode, uint64_t offset, uint32_t length)
{
    struct far_sound_args a = { .offset_bytes = offset,
                                .length_bytes = length,
                                .stream = 1 };
    struct far_op op = { .opcode = opcode, .payload_bytes = length };

    op.flags = opcode == FAR_SOUND_WRITE ? FAR_OP_SENDS : FAR_OP_RECEIVES;
    memcpy(op.args, &a, sizeof(a));
    return op;
}

START_TEST(an_op_must_be_of_the_open_stream_and_of_whole_frames)
{
    struct far_sound_params p = stereo();
    struct far_op op = op_of(FAR_SOUND_WRITE, 8, 4);
    struct far_sound_trigger_args t = { .type = FAR_SOUND_START, .stream = 1 };

    ck_assert_int_eq(far_sound_check(&op, &p), 0);
    ck_assert_int_eq(far_sound_check(&op, NULL), -ESTALE);
    op.flags = FAR_OP_RECEIVES;
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    op = op_of(FAR_SOUND_READ, 8, 4);
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    p.records = 1;
    ck_assert_int_eq(far_sound_check(&op, &p), 0);
    p.stream = 2;
    ck_assert_int_eq(far_sound_check(&op, &p), -ESTALE);
    p = stereo();
    op = op_of(FAR_SOUND_WRITE, 2, 4);
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    op = op_of(FAR_SOUND_WRITE, 4, 2);
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    op = op_of(FAR_SOUND_WRITE, 4, 0);
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    op = op_of(FAR_SOUND_WRITE, UINT64_MAX - 3, 4);
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    op = op_of(FAR_SOUND_WRITE, 0, 8);
    op.payload_bytes = 4;
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);

    op = (struct far_op){ .opcode = FAR_SOUND_TRIGGER };
    memcpy(op.args, &t, sizeof(t));
    ck_assert_int_eq(far_sound_check(&op, &p), 0);
    t.type = FAR_SOUND_RESUME + 1;
    memcpy(op.args, &t, sizeof(t));
    ck_assert_int_eq(far_sound_check(&op, &p), -EINVAL);
    op.opcode = FAR_OPCODE(FAR_CLASS_SOUND, 0x7f);
    ck_assert_int_eq(far_sound_check(&op, &p), -EOPNOTSUPP);
}
END_TEST

START_TEST(ranges_are_narrowed_and_empty_ones_refused)
{
    struct far_sound_caps c = far_sound_anything, by = far_sound_anything;

    by.formats = 1u << FAR_SOUND_S16_LE;
    by.rate_min = by.rate_max = 44100;
    by.channels_max = 2;
    ck_assert_int_eq(far_sound_narrow(&c, &by), 0);
    ck_assert_uint_eq(c.formats, 1u << FAR_SOUND_S16_LE);
    ck_assert_uint_eq(c.rate_min, 44100);
    ck_assert_uint_eq(c.rate_max, 44100);
    ck_assert_uint_eq(c.channels_min, 1);
    ck_assert_uint_eq(c.channels_max, 2);
    by.rate_min = by.rate_max = 48000;
    ck_assert_int_eq(far_sound_narrow(&c, &by), -EINVAL);
    c = far_sound_anything;
    c.channels_min = 3;
    c.channels_max = 2; /* upside down */
    ck_assert_int_eq(far_sound_narrow(&c, &far_sound_anything), -EINVAL);
    c = far_sound_anything;
    c.formats = 0;
    ck_assert_int_eq(far_sound_narrow(&c, &far_sound_anything), -EINVAL);
}
END_TEST

/* No drift: the frames of a second are its rate, after any number of them. */
START_TEST(frames_and_time_agree_for_days)
{
    struct far_sound_params p = stereo();
    uint64_t day = UINT64_C(86400) * 1000000000;

    p.rate = 44100;
    ck_assert_uint_eq(far_sound_bytes_of(&p, day), UINT64_C(86400) * 44100 * 4);
    for (uint64_t frames = 0; frames < 200000; frames += 997) {
        uint64_t ns = far_sound_ns_of(&p, frames * 4);

        ck_assert_uint_eq(far_sound_bytes_of(&p, ns), frames * 4);
        if (frames)
            ck_assert_uint_eq(far_sound_bytes_of(&p, ns - 1), frames * 4 - 4);
    }
}
END_TEST

/* Every integer of it comes back as it was. */
START_TEST(samples_come_back_as_they_were)
{
    for (unsigned format = 0; far_sound_sample_bytes(format); format++) {
        uint32_t bytes = far_sound_sample_bytes(format);
        const char *name = far_sound_format_name(format);
        uint8_t in[8] = { 0 }, out[8];
        uint64_t x = 88172645463325252u;

        ck_assert_int_eq(far_sound_format_from_name(name), (int)format);
        if (format == FAR_SOUND_SUBFRAME_LE || format == FAR_SOUND_SUBFRAME_BE)
            continue;
        for (unsigned i = 0; i < 20000; i++) {
            double value;

            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            memcpy(in, &x, sizeof(in));
            if (strstr(name, "24")) /* the fourth byte holds the sign */
                in[strstr(name, "_be") ? 0 : 3] =
                    name[0] == 's' && in[strstr(name, "_be") ? 1 : 2] & 0x80
                        ? 0xff
                        : 0;
            value = far_sound_decode(format, in);
            if (isnan(value))
                continue;
            far_sound_encode(format, out, value);
            if (format == FAR_SOUND_MU_LAW && in[0] == 0x7f)
                in[0] = 0xff; /* its second zero */
            if (memcmp(in, out, bytes))
                ck_abort_msg("%s: %02x%02x%02x%02x %f", name, in[0], in[1],
                             in[2], in[3], value);
        }
    }
    ck_assert_int_eq(far_sound_format_from_name("S16_LE"), FAR_SOUND_S16_LE);
    ck_assert_int_eq(far_sound_format_from_name("s17_le"), -1);
}
END_TEST

START_TEST(silence_is_silent_and_loud_is_clipped)
{
    for (unsigned format = 0; far_sound_sample_bytes(format); format++) {
        uint32_t bytes = far_sound_sample_bytes(format);
        uint8_t samples[64];

        memset(samples, 0x5a, sizeof(samples));
        far_sound_silence(format, samples, sizeof(samples));
        for (size_t i = 0; i < sizeof(samples); i += bytes)
            ck_assert(fabs(far_sound_decode(format, samples + i)) < 0.001);
        if (format == FAR_SOUND_SUBFRAME_LE || format == FAR_SOUND_SUBFRAME_BE)
            continue;
        far_sound_encode(format, samples, 1.0);
        ck_assert(far_sound_decode(format, samples) > 0.97);
        far_sound_encode(format, samples, -1.0);
        ck_assert(far_sound_decode(format, samples) < -0.97);
        if (strncmp(far_sound_format_name(format), "float", 5) == 0)
            continue;
        far_sound_encode(format, samples, 7.0);
        ck_assert(far_sound_decode(format, samples) > 0.97);
        far_sound_encode(format, samples, -7.0);
        ck_assert(far_sound_decode(format, samples) < -0.97);
    }
}
END_TEST

SUITE_MAIN("sound", a_stream_that_can_be_is_taken_and_one_that_cannot_is_not,
           an_op_must_be_of_the_open_stream_and_of_whole_frames,
           ranges_are_narrowed_and_empty_ones_refused,
           frames_and_time_agree_for_days, samples_come_back_as_they_were,
           silence_is_silent_and_loud_is_clipped)
