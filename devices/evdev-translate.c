/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From Linux's input events to Farside's: see evdev-translate.h. Autorepeat is
 * left out: guests repeat by themselves.
 */
#include "devices/evdev-translate.h"

#include <linux/input-event-codes.h>
#include <string.h>

int32_t far_evdev_normalise(int32_t value, struct far_evdev_range range)
{
    int64_t span = (int64_t)range.max - range.min;
    int64_t at = (int64_t)value - range.min;

    if (span <= 0 || at <= 0)
        return 0;
    if (at >= span)
        return FAR_INPUT_POS_MAX;
    return (int32_t)(at * FAR_INPUT_POS_MAX / span);
}

void far_evdev_translate_init(struct far_evdev_translate *t)
{
    memset(t, 0, sizeof(*t));
    for (unsigned i = 0; i < FAR_INPUT_CONTACTS_MAX; i++)
        t->slots[i].id = -1;
}

static int32_t step(int64_t value)
{
    return value > FAR_INPUT_POS_MAX    ? FAR_INPUT_POS_MAX
           : value < -FAR_INPUT_POS_MAX ? -FAR_INPUT_POS_MAX
                                        : (int32_t)value;
}

static void relative(struct far_evdev_translate *t, uint16_t code,
                     int32_t value)
{
    switch (code) {
    case REL_X:
        t->rel_x += value;
        break;
    case REL_Y:
        t->rel_y += value;
        break;
    case REL_WHEEL: /* up is positive here, negative in kbdif.h */
        t->wheel -= value;
        break;
    default: /* kbdif.h has no place for others */
        return;
    }
    t->rel = true;
}

static void tracking(struct far_evdev_slot *s, int32_t id)
{
    if (id != s->id && s->down)
        s->lifted = true;
    s->id = id;
    s->moved |= id >= 0;
}

static void absolute(struct far_evdev_translate *t, uint16_t code,
                     int32_t value)
{
    struct far_evdev_slot *s = t->slot >= 0 ? &t->slots[t->slot] : NULL;

    switch (code) {
    case ABS_X:
        t->pos_x = value;
        t->pos |= !t->multi_touch;
        break;
    case ABS_Y:
        t->pos_y = value;
        t->pos |= !t->multi_touch;
        break;
    case ABS_MT_SLOT:
        t->slot = value >= 0 && value < FAR_INPUT_CONTACTS_MAX ? value : -1;
        break;
    case ABS_MT_TRACKING_ID:
        if (s)
            tracking(s, value);
        break;
    case ABS_MT_POSITION_X:
        if (s) {
            s->x = value;
            s->moved = true;
        }
        break;
    case ABS_MT_POSITION_Y:
        if (s) {
            s->y = value;
            s->moved = true;
        }
        break;
    default:
        break;
    }
}

/* A touch screen with slots also says what the first finger does as if it were
 * a tablet: that would be everything twice. */
static bool single_touch_button(uint16_t code)
{
    return code == BTN_TOUCH ||
           (code >= BTN_TOOL_PEN && code <= BTN_TOOL_QUADTAP &&
            code != BTN_STYLUS && code != BTN_STYLUS2 && code != BTN_STYLUS3);
}

static unsigned end_of_frame(struct far_evdev_translate *t, uint64_t time_us,
                             struct far_input_event *out)
{
    const struct far_input_event blank = { .time_us = time_us };
    unsigned n = 0;
    bool touched = false;

    if (t->pos) {
        out[n] = blank;
        out[n].type = FAR_INPUT_POS;
        out[n].x = far_evdev_normalise(t->pos_x, t->x);
        out[n].y = far_evdev_normalise(t->pos_y, t->y);
        out[n++].z = t->rel && !t->rel_x && !t->rel_y ? step(t->wheel) : 0;
    }
    if (t->rel && (!t->pos || t->rel_x || t->rel_y)) {
        out[n] = blank;
        out[n].type = FAR_INPUT_MOTION;
        out[n].x = step(t->rel_x);
        out[n].y = step(t->rel_y);
        out[n++].z = step(t->wheel);
    }
    for (unsigned i = 0; i < t->keys_used; i++) {
        out[n] = blank;
        out[n].type = FAR_INPUT_KEY;
        out[n].code = t->keys[i].code;
        out[n++].value = t->keys[i].down;
    }
    for (int i = 0; i < FAR_INPUT_CONTACTS_MAX; i++) {
        struct far_evdev_slot *s = &t->slots[i];

        if (s->lifted) {
            out[n] = blank;
            out[n].type = FAR_INPUT_TOUCH;
            out[n].code = FAR_TOUCH_UP;
            out[n++].value = i;
            s->lifted = s->down = false;
            touched = true;
        }
        if (s->moved && s->id >= 0) {
            out[n] = blank;
            out[n].type = FAR_INPUT_TOUCH;
            out[n].code = s->down ? FAR_TOUCH_MOVE : FAR_TOUCH_DOWN;
            out[n].value = i;
            out[n].x = far_evdev_normalise(s->x, t->mt_x);
            out[n++].y = far_evdev_normalise(s->y, t->mt_y);
            s->down = true;
            touched = true;
        }
        s->moved = false;
    }
    if (touched) {
        out[n] = blank;
        out[n].type = FAR_INPUT_TOUCH;
        out[n++].code = FAR_TOUCH_SYN;
    }
    t->rel_x = t->rel_y = t->wheel = 0;
    t->rel = t->pos = false;
    t->keys_used = 0;
    return n;
}

unsigned far_evdev_translate(struct far_evdev_translate *t, uint16_t type,
                             uint16_t code, int32_t value, uint64_t time_us,
                             struct far_input_event out[FAR_EVDEV_OUT_MAX])
{
    switch (type) {
    case EV_SYN:
        if (code == SYN_REPORT)
            return end_of_frame(t, time_us, out);
        break;
    case EV_REL:
        relative(t, code, value);
        break;
    case EV_ABS:
        absolute(t, code, value);
        break;
    case EV_KEY:
        if (value < 0 || value > 1 || code == KEY_RESERVED ||
            code > FAR_INPUT_KEY_MAX ||
            (t->multi_touch && single_touch_button(code)))
            break;
        t->keys[t->keys_used].code = code;
        t->keys[t->keys_used++].down = value != 0;
        if (t->keys_used == FAR_EVDEV_FRAME_KEYS)
            return end_of_frame(t, time_us, out); /* early, but none is lost */
        break;
    default:
        break;
    }
    return 0;
}
