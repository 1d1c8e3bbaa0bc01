/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The input class: keyboards, pointers, touch. A device sends events as
 * interrupts, one each; there are no ops but the empty one. Values are a
 * device's, independent of any guest: key codes are Linux's (input-event-
 * codes.h), positions are 0..FAR_INPUT_POS_MAX over the device's whole range,
 * and the port scales them to what the guest was promised.
 */
#ifndef FARSIDE_CORE_INPUT_H
#define FARSIDE_CORE_INPUT_H

#include <stdbool.h>
#include "core/op.h"

/* The only interrupt: args hold a struct far_input_event. At most once. */
#define FAR_INPUT_EVENT FAR_OPCODE(FAR_CLASS_INPUT, 0x80)

#define FAR_INPUT_POS_MAX      65535
#define FAR_INPUT_KEY_MAX      0x2ff /* Linux's KEY_MAX */
#define FAR_INPUT_CONTACTS_MAX 16

enum far_input_type {
    FAR_INPUT_MOTION = 1, /* x, y: relative; z: wheel, up is negative as in
                             kbdif.h (a device turns evdev's sign) */
    FAR_INPUT_KEY = 3,    /* code; value 1 pressed, 0 released */
    FAR_INPUT_POS = 4,    /* x, y: 0..FAR_INPUT_POS_MAX; z: wheel */
    FAR_INPUT_TOUCH = 5,  /* code: enum far_touch; value: contact id;
                             x, y as POS, or shape's major and minor,
                             or orientation in x */
    /* A device that comes back (or attaches) states which keys are down:
     * BEGIN, a KEY with value 1 and FAR_INPUT_HELD for each, END. What is not
     * stated is up. */
    FAR_INPUT_STATE_BEGIN = 0x10,
    FAR_INPUT_STATE_END = 0x11,
};

enum far_touch {
    FAR_TOUCH_DOWN = 0,
    FAR_TOUCH_UP = 1,
    FAR_TOUCH_MOVE = 2,
    FAR_TOUCH_SYN = 3,
    FAR_TOUCH_SHAPE = 4,
    FAR_TOUCH_ORIENTATION = 5,
};

#define FAR_INPUT_HELD 0x01 /* flag of KEY: stated, not pressed just now */
#define FAR_INPUT_MADE 0x02 /* flag: made by Farside, after a loss */

struct far_input_event {
    uint64_t time_us; /* CLOCK_MONOTONIC of this machine; a netproxy that
                         receives it from another one translates it */
    uint8_t type;     /* enum far_input_type */
    uint8_t flags;
    uint16_t code;
    int32_t value;
    int32_t x, y, z;
    uint32_t reserved;
};
static_assert(sizeof(struct far_input_event) == 32, "an op's arguments");

/* What a device can send; told at prepare. Unknown bits are ignored. */
enum far_input_can {
    FAR_INPUT_CAN_KEYS = 1,
    FAR_INPUT_CAN_BUTTONS = 2,
    FAR_INPUT_CAN_REL = 4,
    FAR_INPUT_CAN_ABS = 8,
    FAR_INPUT_CAN_TOUCH = 16,
};

struct far_input_props {
    uint32_t can; /* enum far_input_can */
    uint16_t contacts;
    uint16_t reserved;
};

/* Is this event one that a port may act on? Everything that came from another
 * process or machine goes through here first. Pure. */
bool far_input_event_valid(const struct far_input_event *e);
/* Puts a MOTION or POS behind another of the same type into that: steps and
 * wheels add up, up to what one event can hold; a position takes the earlier
 * one's place. false: these two can't be one. Pure. */
bool far_input_event_merge(struct far_input_event *into,
                           const struct far_input_event *more);
bool far_input_is_modifier(uint16_t code);

#endif
