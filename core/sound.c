/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See core/sound.h: what streams and ops may be, and samples of all formats.
 * Pure.
 */
#include "core/sound.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define NS_PER_S 1000000000u

const struct far_sound_caps far_sound_anything = {
    .formats = FAR_SOUND_FORMATS_KNOWN,
    .rate_min = FAR_SOUND_RATE_MIN,
    .rate_max = FAR_SOUND_RATE_MAX,
    .channels_min = 1,
    .channels_max = FAR_SOUND_CHANNELS_MAX,
    .buffer_min = 2,
    .buffer_max = FAR_SOUND_BUFFER_MAX,
    .period_min = 1,
    .period_max = FAR_SOUND_BUFFER_MAX,
};

/* What one sample of a format is. sndif's numbers above these are of compressed
 * sound: its samples have no size, and a ring of them no pace. */
static const struct format {
    const char *name;
    uint8_t bytes, bits; /* bits: of those that count, the lower ones */
    enum { NOTHING, SIGNED, UNSIGNED, FLOAT, MU_LAW, A_LAW, SUBFRAME } kind;
    bool big; /* the first byte counts most */
} formats[] = {
    { "s8", 1, 8, SIGNED, false },
    { "u8", 1, 8, UNSIGNED, false },
    { "s16_le", 2, 16, SIGNED, false },
    { "s16_be", 2, 16, SIGNED, true },
    { "u16_le", 2, 16, UNSIGNED, false },
    { "u16_be", 2, 16, UNSIGNED, true },
    { "s24_le", 4, 24, SIGNED, false },
    { "s24_be", 4, 24, SIGNED, true },
    { "u24_le", 4, 24, UNSIGNED, false },
    { "u24_be", 4, 24, UNSIGNED, true },
    { "s32_le", 4, 32, SIGNED, false },
    { "s32_be", 4, 32, SIGNED, true },
    { "u32_le", 4, 32, UNSIGNED, false },
    { "u32_be", 4, 32, UNSIGNED, true },
    { "float_le", 4, 32, FLOAT, false },
    { "float_be", 4, 32, FLOAT, true },
    { "float64_le", 8, 64, FLOAT, false },
    { "float64_be", 8, 64, FLOAT, true },
    { "iec958_subframe_le", 4, 32, SUBFRAME, false },
    { "iec958_subframe_be", 4, 32, SUBFRAME, true },
    { "mu_law", 1, 8, MU_LAW, false },
    { "a_law", 1, 8, A_LAW, false },
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))
static_assert((1u << FORMATS) - 1 == FAR_SOUND_FORMATS_KNOWN, "");

uint32_t far_sound_sample_bytes(unsigned format)
{
    return format < FORMATS ? formats[format].bytes : 0;
}

int far_sound_format_from_name(const char *name)
{
    for (size_t i = 0; i < FORMATS; i++)
        if (!strcasecmp(name, formats[i].name))
            return (int)i;
    return -1;
}

const char *far_sound_format_name(unsigned format)
{
    return format < FORMATS ? formats[format].name : NULL;
}

const char *far_sound_params_fault(const struct far_sound_params *p)
{
    uint32_t frame = far_sound_frame_bytes(p);

    if (!far_sound_sample_bytes(p->format))
        return "there is no such sample format";
    if (!p->channels || p->channels > FAR_SOUND_CHANNELS_MAX)
        return "it has no number of channels that can be had";
    if (p->rate < FAR_SOUND_RATE_MIN || p->rate > FAR_SOUND_RATE_MAX)
        return "its sample rate can't be had";
    if (!p->buffer_bytes || p->buffer_bytes > FAR_SOUND_BUFFER_MAX ||
        p->buffer_bytes % frame || p->buffer_bytes < 2 * frame)
        return "its buffer is no number of frames that can be had";
    if (p->period_bytes > p->buffer_bytes || p->period_bytes % frame)
        return "its period is no number of frames of its buffer";
    if (!p->stream || p->offset_bytes % frame || p->records > 1)
        return "it is not one that could have been opened";
    return NULL;
}

const char *far_sound_params_unfit(const struct far_sound_params *p,
                                   const struct far_sound_caps *caps)
{
    if (!(caps->formats & 1u << p->format))
        return "the device has another sample format";
    if (p->rate < caps->rate_min || p->rate > caps->rate_max)
        return "the device has another sample rate";
    if (p->channels < caps->channels_min || p->channels > caps->channels_max)
        return "the device has another number of channels";
    return NULL;
}

static bool narrow(uint32_t *min, uint32_t *max, uint32_t by_min,
                   uint32_t by_max)
{
    if (*min < by_min)
        *min = by_min;
    if (*max > by_max)
        *max = by_max;
    return *min <= *max;
}

int far_sound_narrow(struct far_sound_caps *caps,
                     const struct far_sound_caps *by)
{
    uint32_t least = caps->channels_min, most = caps->channels_max;
    bool any;

    caps->formats &= by->formats;
    any = caps->formats != 0;
    any &= narrow(&caps->rate_min, &caps->rate_max, by->rate_min, by->rate_max);
    any &= narrow(&least, &most, by->channels_min, by->channels_max);
    any &= narrow(&caps->buffer_min, &caps->buffer_max, by->buffer_min,
                  by->buffer_max);
    any &= narrow(&caps->period_min, &caps->period_max, by->period_min,
                  by->period_max);
    caps->channels_min = (uint8_t)least;
    caps->channels_max = (uint8_t)most;
    return any ? 0 : -EINVAL;
}

static int check_data(const struct far_op *op, uint16_t way, bool records,
                      const struct far_sound_params *open)
{
    struct far_sound_args a;
    uint32_t frame;

    if (!open)
        return -ESTALE;
    memcpy(&a, op->args, sizeof(a));
    frame = far_sound_frame_bytes(open);
    if ((op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES)) != way ||
        op->payload_bytes != a.length_bytes || !a.length_bytes ||
        records != open->records || a.offset_bytes % frame ||
        a.length_bytes % frame || a.offset_bytes > UINT64_MAX / 2)
        return -EINVAL;
    return a.stream == open->stream ? 0 : -ESTALE;
}

int far_sound_check(const struct far_op *op,
                    const struct far_sound_params *open)
{
    struct far_sound_trigger_args t;

    switch (op->opcode) {
    case FAR_OP_NOP(FAR_CLASS_SOUND):
        return 0;
    case FAR_SOUND_WRITE:
        return check_data(op, FAR_OP_SENDS, false, open);
    case FAR_SOUND_READ:
        return check_data(op, FAR_OP_RECEIVES, true, open);
    case FAR_SOUND_TRIGGER:
        if (!open)
            return -ESTALE;
        memcpy(&t, op->args, sizeof(t));
        if (t.type > FAR_SOUND_RESUME ||
            t.offset_bytes % far_sound_frame_bytes(open))
            return -EINVAL;
        return t.stream == open->stream ? 0 : -ESTALE;
    default:
        return -EOPNOTSUPP;
    }
}

enum far_repeat far_sound_repeat(uint16_t opcode)
{
    return opcode <= FAR_SOUND_QUERY ? FAR_REPEATABLE : FAR_AT_MOST_ONCE;
}

uint64_t far_sound_bytes_of(const struct far_sound_params *p, uint64_t ns)
{
    uint64_t frames =
        ns / NS_PER_S * p->rate + ns % NS_PER_S * p->rate / NS_PER_S;

    return frames * far_sound_frame_bytes(p);
}

uint64_t far_sound_ns_of(const struct far_sound_params *p, uint64_t bytes)
{
    uint64_t frames = bytes / far_sound_frame_bytes(p);

    return frames / p->rate * NS_PER_S +
           (frames % p->rate * NS_PER_S + p->rate - 1) / p->rate;
}

/* --- samples ---------------------------------------------------------------
 */

static uint64_t get(const struct format *f, const uint8_t *at)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < f->bytes; i++)
        value |= (uint64_t)at[i] << 8 * (f->big ? f->bytes - 1 - i : i);
    return value;
}

static void put(const struct format *f, uint8_t *at, uint64_t value)
{
    for (unsigned i = 0; i < f->bytes; i++)
        at[i] = (uint8_t)(value >> 8 * (f->big ? f->bytes - 1 - i : i));
}

/* G.711; both give 16 bits. */
static int decode_mu_law(uint8_t code)
{
    uint8_t u = (uint8_t)~code;
    int t = (((u & 0x0f) << 3) + 0x84) << ((u & 0x70) >> 4);

    return u & 0x80 ? 0x84 - t : t - 0x84;
}

static int decode_a_law(uint8_t code)
{
    uint8_t a = code ^ 0x55;
    int segment = (a & 0x70) >> 4, t = ((a & 0x0f) << 4) + 8;

    if (segment)
        t = (t + 0x100) << (segment - 1);
    return a & 0x80 ? t : -t;
}

static unsigned highest_bit(unsigned value)
{
    return 31u - (unsigned)__builtin_clz(value);
}

static uint8_t encode_mu_law(int s)
{
    unsigned sign = s < 0 ? 0x80 : 0, t = (unsigned)(s < 0 ? -s : s), segment;

    if (t > 32635)
        t = 32635;
    t += 0x84;
    segment = highest_bit(t) - 7;
    return (uint8_t) ~(sign | segment << 4 | (t >> (segment + 3) & 0x0f));
}

static uint8_t encode_a_law(int s)
{
    unsigned sign = s < 0 ? 0 : 0x80, t = (unsigned)(s < 0 ? -s : s);
    unsigned segment;

    if (t > 32767)
        t = 32767;
    segment = t < 256 ? 0 : highest_bit(t) - 7;
    return (uint8_t)((sign | segment << 4 |
                      (t >> (segment ? segment + 3 : 4) & 0x0f)) ^
                     0x55);
}

void far_sound_silence(unsigned format, void *samples, size_t bytes)
{
    const struct format *f = &formats[format];
    uint8_t *at = samples;

    memset(at, 0, bytes);
    if (f->kind == NOTHING || f->kind == SIGNED || f->kind == FLOAT ||
        f->kind == SUBFRAME)
        return;
    for (size_t i = 0; i + f->bytes <= bytes; i += f->bytes)
        far_sound_encode(format, at + i, 0);
}

double far_sound_decode(unsigned format, const void *sample)
{
    const struct format *f = &formats[format];
    uint64_t raw = get(f, sample);
    uint64_t half = UINT64_C(1) << (f->bits - 1);
    uint32_t single;
    double value;
    float narrow_value;

    switch (f->kind) {
    case SIGNED:
    case UNSIGNED:
        raw &= (half << 1) - 1;
        if (f->kind == SIGNED)
            raw ^= half;
        return ((double)raw - (double)half) / (double)half;
    case FLOAT:
        if (f->bytes == sizeof(value)) {
            memcpy(&value, &raw, sizeof(value));
            return value;
        }
        single = (uint32_t)raw;
        memcpy(&narrow_value, &single, sizeof(narrow_value));
        return (double)narrow_value;
    case MU_LAW:
        return decode_mu_law((uint8_t)raw) / 32768.0;
    case A_LAW:
        return decode_a_law((uint8_t)raw) / 32768.0;
    default:
        return 0;
    }
}

/* Rounds to whole steps of 1 / half, within what they reach. */
static int64_t steps(double value, double half)
{
    double scaled = value * half;

    if (!(scaled > -half)) /* and what is no number */
        return -(int64_t)half;
    if (scaled >= half - 1)
        return (int64_t)half - 1;
    return (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
}

void far_sound_encode(unsigned format, void *sample, double value)
{
    const struct format *f = &formats[format];
    uint64_t half = UINT64_C(1) << (f->bits - 1), raw = 0;
    float single = (float)value;
    uint32_t raw_single;

    switch (f->kind) {
    case SIGNED: /* of 24 bits: with its sign in the fourth byte */
        raw = (uint64_t)steps(value, (double)half);
        break;
    case UNSIGNED:
        raw = (uint64_t)(steps(value, (double)half) + (int64_t)half);
        break;
    case FLOAT:
        memcpy(&raw, &value, sizeof(raw));
        if (f->bytes == sizeof(single)) {
            memcpy(&raw_single, &single, sizeof(raw_single));
            raw = raw_single;
        }
        break;
    case MU_LAW:
        raw = encode_mu_law((int)steps(value, 32768.0));
        break;
    case A_LAW:
        raw = encode_a_law((int)steps(value, 32768.0));
        break;
    default:
        break;
    }
    put(f, sample, raw);
}
