/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a guest lets through of what a backend wrote into its page. Pure.
 */
#include <linux/input-event-codes.h>
#include "frontend/kbd.h"

/* Positions are below limit; 0: no limit is known. */
static int32_t drawn_in(int32_t v, uint32_t limit)
{
    if (v < 0)
        return 0;
    return limit && (uint32_t)v >= limit ? (int32_t)(limit - 1) : v;
}

bool far_front_event_check(union xenkbd_in_event *event,
                           const struct far_frontend_input_info *info)
{
    switch (event->type) {
    case XENKBD_TYPE_MOTION:
        return info->pointer;
    case XENKBD_TYPE_KEY:
        return event->key.keycode && event->key.keycode <= KEY_MAX &&
               event->key.pressed <= 1 &&
               (event->key.keycode >= BTN_MISC && event->key.keycode < KEY_OK
                    ? info->pointer
                    : info->keyboard);
    case XENKBD_TYPE_POS:
        if (!info->pointer || !info->absolute)
            return false;
        event->pos.abs_x =
            drawn_in(event->pos.abs_x, info->raw ? 0 : info->width);
        event->pos.abs_y =
            drawn_in(event->pos.abs_y, info->raw ? 0 : info->height);
        return true;
    case XENKBD_TYPE_MTOUCH:
        if (!info->multi_touch || event->mtouch.contact_id >= info->contacts)
            return false;
        switch (event->mtouch.event_type) {
        case XENKBD_MT_EV_DOWN:
        case XENKBD_MT_EV_MOTION:
            event->mtouch.u.pos.abs_x =
                drawn_in(event->mtouch.u.pos.abs_x, info->touch_width);
            event->mtouch.u.pos.abs_y =
                drawn_in(event->mtouch.u.pos.abs_y, info->touch_height);
            return true;
        case XENKBD_MT_EV_UP:
        case XENKBD_MT_EV_SYN:
        case XENKBD_MT_EV_SHAPE:
        case XENKBD_MT_EV_ORIENT:
            return true;
        default:
            return false;
        }
    default:
        return false;
    }
}
