/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From Linux's input events to Farside's: pure, so that it can be tested
 * without a device. Who reads the device: devices/evdev.c.
 */
#ifndef FARSIDE_DEVICES_EVDEV_TRANSLATE_H
#define FARSIDE_DEVICES_EVDEV_TRANSLATE_H

#include "core/input.h"

struct far_evdev_range {
    int32_t min, max;
};

struct far_evdev_slot {
    int32_t id, x, y; /* id: the kernel's; -1: no finger */
    bool down;        /* as told upwards */
    bool lifted;      /* another finger took the slot within one frame */
    bool moved;
};

#define FAR_EVDEV_FRAME_KEYS 32u
/* What one input event can become, at most (a SYN_REPORT does). */
#define FAR_EVDEV_OUT_MAX \
    (2u + FAR_EVDEV_FRAME_KEYS + 2u * FAR_INPUT_CONTACTS_MAX + 1u)

struct far_evdev_translate {
    struct far_evdev_range x, y, mt_x, mt_y;
    bool multi_touch; /* it has slots: single touch is left out then */
    /* the frame so far */
    int64_t rel_x, rel_y, wheel;
    bool rel, pos;
    int32_t pos_x, pos_y; /* last known, raw */
    unsigned keys_used;
    struct {
        uint16_t code;
        bool down;
    } keys[FAR_EVDEV_FRAME_KEYS];
    int slot; /* -1: one that is not followed */
    struct far_evdev_slot slots[FAR_INPUT_CONTACTS_MAX];
};

/* Ranges and multi_touch are the caller's to set, after this. */
void far_evdev_translate_init(struct far_evdev_translate *t);
/* One event of the kernel's. What a frame holds is told at its SYN_REPORT:
 * position first, then keys and buttons in their order, then touches. Number of
 * events put into out. */
unsigned far_evdev_translate(struct far_evdev_translate *t, uint16_t type,
                             uint16_t code, int32_t value, uint64_t time_us,
                             struct far_input_event out[FAR_EVDEV_OUT_MAX]);
/* 0..FAR_INPUT_POS_MAX over the range. */
int32_t far_evdev_normalise(int32_t value, struct far_evdev_range range);

#endif
