/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sound class: one stream, which plays or records. Its samples lie in a row
 * that begins at offset 0 when it is opened; an op names the place in that row,
 * so that doing it twice is as doing it once. Formats have sndif's numbers.
 */
#ifndef FARSIDE_CORE_SOUND_H
#define FARSIDE_CORE_SOUND_H

#include <stdbool.h>
#include <stddef.h>
#include "core/op.h"

/* All ops are FAR_REPEATABLE. Offsets and lengths are whole frames, in bytes.
 *
 * Begins a stream, or goes on with the one of that number, at offset_bytes. */
#define FAR_SOUND_OPEN  FAR_OPCODE(FAR_CLASS_SOUND, 1)
#define FAR_SOUND_CLOSE FAR_OPCODE(FAR_CLASS_SOUND, 2)
/* Sends length_bytes, to be played at offset_bytes: silence where nothing was
 * written in time. What was not played yet may be written again. */
#define FAR_SOUND_WRITE FAR_OPCODE(FAR_CLASS_SOUND, 3)
/* Receives length_bytes that were recorded at offset_bytes; answered when all
 * of them are there. */
#define FAR_SOUND_READ FAR_OPCODE(FAR_CLASS_SOUND, 4)
/* args: struct far_sound_trigger_args */
#define FAR_SOUND_TRIGGER FAR_OPCODE(FAR_CLASS_SOUND, 5)
/* Of the fast device only: payload is an int32_t for each channel, in 0.001 dB;
 * 0 is what the guest plays. */
#define FAR_SOUND_SET_VOLUME FAR_OPCODE(FAR_CLASS_SOUND, 6)
#define FAR_SOUND_GET_VOLUME FAR_OPCODE(FAR_CLASS_SOUND, 7)
/* args: struct far_sound_mute_args */
#define FAR_SOUND_MUTE FAR_OPCODE(FAR_CLASS_SOUND, 8)
/* args: struct far_sound_caps, both ways: of what is asked for, what can be
 * had. */
#define FAR_SOUND_QUERY FAR_OPCODE(FAR_CLASS_SOUND, 9)
/* Interrupt of the fast device: args hold a struct far_sound_args, of which
 * only position_bytes counts. */
#define FAR_SOUND_POSITION FAR_OPCODE(FAR_CLASS_SOUND, 0x80)

#define FAR_SOUND_PAYLOAD_MAX  (16u << 10)
#define FAR_SOUND_RATE_MIN     4000u
#define FAR_SOUND_RATE_MAX     384000u
#define FAR_SOUND_CHANNELS_MAX 32u
#define FAR_SOUND_BUFFER_MAX   (1u << 20) /* bytes */

/* As xen/io/sndif.h has them. */
enum far_sound_format {
    FAR_SOUND_S8 = 0,
    FAR_SOUND_U8 = 1,
    FAR_SOUND_S16_LE = 2,
    FAR_SOUND_S24_LE = 6, /* in 4 bytes, as all of 24 bits */
    FAR_SOUND_S32_LE = 10,
    FAR_SOUND_FLOAT_LE = 14,
    FAR_SOUND_FLOAT64_LE = 16,
    FAR_SOUND_SUBFRAME_LE = 18, /* IEC 958: passed as it is, volume and all */
    FAR_SOUND_SUBFRAME_BE = 19,
    FAR_SOUND_MU_LAW = 20,
    FAR_SOUND_A_LAW = 21,
};
#define FAR_SOUND_FORMATS_KNOWN 0x3fffffu /* a bit for each */

struct far_sound_params { /* of OPEN */
    uint32_t rate;        /* frames a second */
    uint8_t format, channels;
    uint8_t records; /* 0: it plays */
    uint8_t reserved;
    uint32_t buffer_bytes; /* never more is written ahead of the position */
    uint32_t period_bytes; /* the position is told so often; 0: never */
    uint32_t stream;       /* its number among the user's; not 0 */
    uint32_t reserved_2;
    uint64_t offset_bytes;
};
static_assert(sizeof(struct far_sound_params) == FAR_OP_ARGS_BYTES, "");

struct far_sound_args { /* of WRITE and READ */
    uint64_t offset_bytes;
    uint32_t length_bytes;
    uint32_t stream;
    uint64_t position_bytes; /* in answers of a device that has a clock of its
                                own: what was played or recorded by now */
    uint64_t reserved;
};
static_assert(sizeof(struct far_sound_args) == FAR_OP_ARGS_BYTES, "");

enum far_sound_trigger { /* as sndif has them */
                         FAR_SOUND_START = 0,
                         FAR_SOUND_PAUSE = 1,
                         FAR_SOUND_STOP = 2,
                         FAR_SOUND_RESUME = 3,
};

struct far_sound_trigger_args {
    uint64_t offset_bytes; /* the position when it happens */
    uint32_t type;         /* enum far_sound_trigger */
    uint32_t stream;
    uint64_t reserved[2];
};
static_assert(sizeof(struct far_sound_trigger_args) == FAR_OP_ARGS_BYTES, "");

struct far_sound_mute_args {
    uint32_t channels; /* a bit for each one that changes */
    uint32_t mute;     /* 1 or 0 */
    uint64_t reserved[3];
};
static_assert(sizeof(struct far_sound_mute_args) == FAR_OP_ARGS_BYTES, "");

enum far_sound_flag {
    FAR_SOUND_WAITS = 1, /* it has no clock: playing waits a while for a guest
                            that is late */
    FAR_SOUND_PACES = 2, /* it has a clock of its own */
};

/* Ranges; also what a device says of itself at prepare. */
struct far_sound_caps {
    uint32_t formats; /* a bit for each */
    uint32_t rate_min, rate_max;
    uint8_t channels_min, channels_max;
    uint16_t flags;                  /* enum far_sound_flag; of a device */
    uint32_t buffer_min, buffer_max; /* frames */
    uint32_t period_min, period_max; /* frames */
};
static_assert(sizeof(struct far_sound_caps) == FAR_OP_ARGS_BYTES, "");

/* All that the class can. */
extern const struct far_sound_caps far_sound_anything;

/* 0: no format that is known. */
uint32_t far_sound_sample_bytes(unsigned format);
static inline uint32_t far_sound_frame_bytes(const struct far_sound_params *p)
{
    return far_sound_sample_bytes(p->format) * p->channels;
}
/* sndif's names; -1 and NULL if there is no such. */
int far_sound_format_from_name(const char *name);
const char *far_sound_format_name(unsigned format);

/* Can a stream be so? NULL, or what is wrong, in words. Pure. */
const char *far_sound_params_fault(const struct far_sound_params *params);
/* And on a device that can this? */
const char *far_sound_params_unfit(const struct far_sound_params *params,
                                   const struct far_sound_caps *caps);
/* Leaves in caps what is in both; -EINVAL: nothing, or ranges that are upside
 * down. flags are left alone. */
int far_sound_narrow(struct far_sound_caps *caps,
                     const struct far_sound_caps *by);
/* Is this WRITE, READ or TRIGGER one that may be acted on while a stream of
 * these parameters is open (NULL: none is)? 0, -EINVAL, -ESTALE (another
 * stream's), -EOPNOTSUPP. Pure. */
int far_sound_check(const struct far_op *op,
                    const struct far_sound_params *open);
enum far_repeat far_sound_repeat(uint16_t opcode);

/* Whole frames of that time, in bytes, and the least time that gives so many
 * bytes. */
uint64_t far_sound_bytes_of(const struct far_sound_params *p, uint64_t ns);
uint64_t far_sound_ns_of(const struct far_sound_params *p, uint64_t bytes);

void far_sound_silence(unsigned format, void *samples, size_t bytes);
/* One sample as a number from -1 to 1, and back, with clipping. Exact both ways
 * for every integer format. */
double far_sound_decode(unsigned format, const void *sample);
void far_sound_encode(unsigned format, void *sample, double value);

#endif
