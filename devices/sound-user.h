/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What sound devices without a clock have in common: a user's stream as the
 * bottom layer, which judges ops and calls the device for what is left. Such a
 * device has what is recorded at once, and takes what is played as it comes.
 */
#ifndef FARSIDE_DEVICES_SOUND_USER_H
#define FARSIDE_DEVICES_SOUND_USER_H

#include "core/sound.h"
#include "devices/device.h"

struct far_sound_user;

/* Each returns 0 or a negative errno, which is the op's answer. */
struct far_sound_calls {
    /* A stream begins, at user->params.offset_bytes. */
    int (*open)(struct far_sound_user *user);
    int (*play)(struct far_sound_user *user, uint64_t offset_bytes,
                const uint8_t *samples, uint32_t bytes);
    int (*record)(struct far_sound_user *user, uint64_t offset_bytes,
                  uint8_t *samples, uint32_t bytes);
    /* May be NULL. */
    int (*trigger)(struct far_sound_user *user,
                   const struct far_sound_trigger_args *args);
    /* It ends; also when the user goes. Idempotent. May be NULL. */
    void (*close)(struct far_sound_user *user);
};

struct far_sound_user {
    struct far_layer layer;
    struct far_device *device;
    const struct far_sound_calls *calls;
    struct far_local_who who;
    bool opened;                    /* a stream is */
    struct far_sound_params params; /* of it */
    struct far_sound_user *next;    /* of the device; in no order */
    struct far_sound_user **list;
};

/* For a device's open(): *list is the device's list of its users. */
int far_sound_user_new(struct far_device *device, struct far_sound_user **list,
                       const struct far_sound_calls *calls, size_t user_bytes,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error);
/* Tells all users what far_device_say() says of the device. */
void far_sound_users_tell(struct far_sound_user *list);

#endif
