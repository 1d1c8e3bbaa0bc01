/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of device types. What a library was missing for at configure is
 * not in it.
 */
#include "config.h"
#include "devices/types.h"

/* clang-format off */
const struct far_device_type *const far_device_types[] = {
    &far_type_virtual,
#ifdef HAVE_LIBEVDEV
    &far_type_evdev,
#endif
    &far_type_file,
    &far_type_memory,
    &far_type_ledger,
    &far_type_outside,
    &far_type_replay,
    &far_type_probe,
    &far_type_screen,
    &far_type_blank,
    &far_type_timer,
    &far_type_doorbell,
    &far_type_interrupts,
    &far_type_vectors,
    &far_type_stream,
    &far_type_silence,
    &far_type_tone,
#ifdef HAVE_LIBSNDFILE
    &far_type_wav,
#endif
    &far_type_delay,
    &far_type_error,
    &far_type_log,
    &far_type_rate,
    &far_type_cache,
    &far_type_verify,
    &far_type_volatile,
    NULL,
};
/* clang-format on */
