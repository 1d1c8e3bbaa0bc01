/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sound devices that need nothing: `silence`, which swallows what is played and
 * records silence, and `tone`, which records a sine. Both are exact to the
 * sample, and any number of guests may have them.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include "devices/sound-user.h"
#include "devices/types.h"

#define AMPLITUDE 0.5

struct tone {
    struct far_device device;
    struct far_sound_user *users;
    double hertz; /* 0: silence */
};

static int tone_begin(struct far_sound_user *user)
{
    (void)user;
    return 0;
}

static int tone_play(struct far_sound_user *user, uint64_t offset_bytes,
                     const uint8_t *samples, uint32_t bytes)
{
    (void)user;
    (void)offset_bytes;
    (void)samples;
    (void)bytes;
    return 0;
}

static int tone_record(struct far_sound_user *user, uint64_t offset_bytes,
                       uint8_t *samples, uint32_t bytes)
{
    const struct tone *tone = (const struct tone *)(const void *)user->device;
    const struct far_sound_params *p = &user->params;
    uint32_t size = far_sound_sample_bytes(p->format);
    uint32_t frame = far_sound_frame_bytes(p);
    uint64_t at = offset_bytes / frame;

    if (tone->hertz == 0) {
        far_sound_silence(p->format, samples, bytes);
        return 0;
    }
    for (uint32_t i = 0; i < bytes / frame; i++, at++) {
        /* whole seconds are left out: they are whole periods */
        double t = (double)(at % p->rate) / p->rate;
        double value = AMPLITUDE * sin(2 * M_PI * tone->hertz * t);

        for (unsigned c = 0; c < p->channels; c++)
            far_sound_encode(p->format, samples + i * frame + c * size, value);
    }
    return 0;
}

static const struct far_sound_calls tone_calls = {
    .open = tone_begin,
    .play = tone_play,
    .record = tone_record,
};

static int tone_create(struct far_device *device, struct far_error *error)
{
    struct tone *tone = (struct tone *)(void *)device;

    (void)error;
    if (!strcmp(device->type->name, "tone"))
        tone->hertz =
            (double)far_conf_number(device->section, "frequency", 440);
    memcpy(device->props, &far_sound_anything, sizeof(device->props));
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void tone_destroy(struct far_device *device)
{
    (void)device;
}

static int tone_open(struct far_device *device, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    struct tone *tone = (struct tone *)(void *)device;

    return far_sound_user_new(device, &tone->users, &tone_calls,
                              sizeof(struct far_sound_user), who, layer, error);
}

const struct far_device_type far_type_tone = {
    .name = "tone",
    .class = FAR_CLASS_SOUND,
    .device_bytes = sizeof(struct tone),
    .create = tone_create,
    .destroy = tone_destroy,
    .open = tone_open,
};

const struct far_device_type far_type_silence = {
    .name = "silence",
    .class = FAR_CLASS_SOUND,
    .device_bytes = sizeof(struct tone),
    .create = tone_create,
    .destroy = tone_destroy,
    .open = tone_open,
};
