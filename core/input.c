/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The pure checks of the input class: which events a port may act on. The
 * meaning of the events stands in core/input.h; devices and ports elsewhere.
 */
#include "core/input.h"

#include <linux/input-event-codes.h>

static bool is_position(int32_t v)
{
    return v >= 0 && v <= FAR_INPUT_POS_MAX;
}

/* Steps and wheel clicks beyond this come from no device, and could overflow
 * when a port adds them up. */
static bool is_step(int32_t v)
{
    return v >= -FAR_INPUT_POS_MAX && v <= FAR_INPUT_POS_MAX;
}

static bool touch_valid(const struct far_input_event *e)
{
    if (e->code == FAR_TOUCH_SYN)
        return true;
    if (e->value < 0 || e->value >= FAR_INPUT_CONTACTS_MAX)
        return false;
    switch (e->code) {
    case FAR_TOUCH_DOWN:
    case FAR_TOUCH_MOVE:
    case FAR_TOUCH_SHAPE:
        return is_position(e->x) && is_position(e->y);
    case FAR_TOUCH_UP:
        return true;
    case FAR_TOUCH_ORIENTATION:
        return is_step(e->x);
    default:
        return false;
    }
}

bool far_input_event_valid(const struct far_input_event *e)
{
    switch (e->type) {
    case FAR_INPUT_MOTION:
        return is_step(e->x) && is_step(e->y) && is_step(e->z);
    case FAR_INPUT_KEY:
        return e->code > KEY_RESERVED && e->code <= FAR_INPUT_KEY_MAX &&
               (e->value == 0 || e->value == 1);
    case FAR_INPUT_POS:
        return is_position(e->x) && is_position(e->y) && is_step(e->z);
    case FAR_INPUT_TOUCH:
        return touch_valid(e);
    case FAR_INPUT_STATE_BEGIN:
    case FAR_INPUT_STATE_END:
        return true;
    default:
        return false;
    }
}

/* A sum that no single event could hold would not be valid any more. */
static int32_t add(int32_t a, int32_t b)
{
    int64_t sum = (int64_t)a + b;

    return sum > FAR_INPUT_POS_MAX    ? FAR_INPUT_POS_MAX
           : sum < -FAR_INPUT_POS_MAX ? -FAR_INPUT_POS_MAX
                                      : (int32_t)sum;
}

bool far_input_event_merge(struct far_input_event *into,
                           const struct far_input_event *more)
{
    if (into->type != more->type ||
        (more->type != FAR_INPUT_MOTION && more->type != FAR_INPUT_POS))
        return false;
    if (more->type == FAR_INPUT_MOTION) {
        into->x = add(into->x, more->x);
        into->y = add(into->y, more->y);
    } else {
        into->x = more->x;
        into->y = more->y;
    }
    into->z = add(into->z, more->z);
    into->time_us = more->time_us;
    return true;
}

bool far_input_is_modifier(uint16_t code)
{
    switch (code) {
    case KEY_LEFTCTRL:
    case KEY_RIGHTCTRL:
    case KEY_LEFTSHIFT:
    case KEY_RIGHTSHIFT:
    case KEY_LEFTALT:
    case KEY_RIGHTALT:
    case KEY_LEFTMETA:
    case KEY_RIGHTMETA:
        return true;
    default:
        return false;
    }
}
