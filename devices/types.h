/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The device types that are built in, for devices/types.c and the files that
 * define them. Nobody else includes it: types are found by name.
 */
#ifndef FARSIDE_DEVICES_TYPES_H
#define FARSIDE_DEVICES_TYPES_H

#include "devices/device.h"

extern const struct far_device_type far_type_virtual;
extern const struct far_device_type far_type_evdev;
extern const struct far_device_type far_type_file;
extern const struct far_device_type far_type_ledger;
extern const struct far_device_type far_type_memory;
extern const struct far_device_type far_type_outside;
extern const struct far_device_type far_type_replay;
extern const struct far_device_type far_type_probe;
extern const struct far_device_type far_type_screen;
extern const struct far_device_type far_type_blank;
extern const struct far_device_type far_type_timer;
extern const struct far_device_type far_type_doorbell;
extern const struct far_device_type far_type_interrupts;
extern const struct far_device_type far_type_vectors;
extern const struct far_device_type far_type_stream;
extern const struct far_device_type far_type_silence;
extern const struct far_device_type far_type_tone;
extern const struct far_device_type far_type_wav;
extern const struct far_device_type far_type_delay;
extern const struct far_device_type far_type_error;
extern const struct far_device_type far_type_log;
extern const struct far_device_type far_type_rate;
extern const struct far_device_type far_type_cache;
extern const struct far_device_type far_type_verify;
extern const struct far_device_type far_type_volatile;

#endif
