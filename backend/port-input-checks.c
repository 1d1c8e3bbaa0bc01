/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pure half of the input port; the argument for what is safe stands in the
 * header.
 */
#include "backend/port-input-checks.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>

static_assert(sizeof(struct far_kbd_mode) <= 64, "the journal's mode");

bool far_kbd_key_is_button(uint16_t code)
{
    return code >= BTN_LEFT && code <= BTN_TASK;
}

bool far_kbd_key_is_known(uint16_t code)
{
    return (code >= KEY_ESC && code < KEY_UNKNOWN) ||
           far_kbd_key_is_button(code) || (code >= KEY_OK && code < KEY_MAX);
}

/* A size that makes sense as the number of positions: they are int32 on the
 * ring, and int in the front. */
static bool size_sound(uint32_t size)
{
    return size >= 1 && size <= INT32_MAX;
}

int far_kbd_check_offer(struct far_kbd_offer *offer,
                        struct far_kbd_publish *publish,
                        struct far_error *error)
{
    memset(publish, 0, sizeof(*publish));
    if (offer->disable_pointer && offer->disable_keyboard && !offer->touch)
        return far_error(error, -EOPNOTSUPP,
                         "feature-disable-keyboard and feature-disable-pointer "
                         "are both set: nothing is left to serve; remove one "
                         "from the guest's vkb line");
    if (offer->disable_pointer && !offer->disable_keyboard) {
        publish->remove_disable_pointer = true;
        publish->write_abs = !offer->abs;
        offer->disable_pointer = false;
        offer->shielded = true;
        offer->abs = true;
    }
    if (offer->abs &&
        (!size_sound(offer->width) || !size_sound(offer->height))) {
        publish->write_size = true;
        offer->width = FAR_KBD_WIDTH_DEFAULT;
        offer->height = FAR_KBD_HEIGHT_DEFAULT;
    }
    if (!offer->touch)
        return 0;
    if (!size_sound(offer->touch_width) || !size_sound(offer->touch_height)) {
        publish->write_touch_size = true;
        offer->touch_width = FAR_KBD_WIDTH_DEFAULT;
        offer->touch_height = FAR_KBD_HEIGHT_DEFAULT;
    }
    if (!offer->touch_contacts ||
        offer->touch_contacts > FAR_INPUT_CONTACTS_MAX) {
        publish->write_contacts = true;
        offer->touch_contacts =
            offer->touch_contacts ? FAR_INPUT_CONTACTS_MAX : 1;
    }
    return 0;
}

int far_kbd_check_front(const struct far_kbd_offer *offer,
                        const struct far_kbd_request *request,
                        struct far_kbd_mode *mode, struct far_error *error)
{
    memset(mode, 0, sizeof(*mode));
    if (request->gref == -1 || request->port == -1)
        return far_error(error, -EINVAL,
                         "the guest's front says that it is ready, but has "
                         "written no %s",
                         request->gref == -1 ? "page-gref" : "event-channel");
    if (request->gref < 8 || request->gref > UINT32_MAX)
        return far_error(error, -EINVAL,
                         "the guest's page-gref is no grant reference");
    if (request->port < 1 || request->port >= 1 << 17)
        return far_error(error, -EINVAL,
                         "the guest's event-channel is no event channel");
    if (offer->shielded && request->abs != 1)
        return far_error(
            error, -EOPNOTSUPP,
            "feature-disable-pointer: this guest may have started without a "
            "pointer, then any key would crash it; remove "
            "feature-disable-pointer from its vkb line, or attach the device "
            "before the guest runs");
    if (offer->disable_pointer && !offer->disable_keyboard)
        return far_error(error, -EOPNOTSUPP,
                         "feature-disable-pointer was set after the guest "
                         "could see it: any key might crash it; detach the "
                         "device and attach it without");

    mode->gref = (uint32_t)request->gref;
    mode->port = (uint32_t)request->port;
    mode->keys = !offer->disable_keyboard && !offer->disable_pointer;
    /* A shielded pointer is there only to be safe; nobody wants it to move. */
    mode->pointer = !offer->disable_pointer && !offer->shielded;
    mode->buttons = mode->pointer;
    /* A restored front does not request again what it had: our own offer is
     * what tells, unless the front has said 0. */
    mode->abs = offer->abs && request->abs != 0;
    mode->raw =
        mode->abs && offer->raw && request->abs == 1 && request->raw == 1;
    mode->touch = offer->touch && request->touch != 0;
    mode->poll = request->poll == 1;
    mode->width = mode->raw ? FAR_KBD_RAW_MAX + 1 : offer->width;
    mode->height = mode->raw ? FAR_KBD_RAW_MAX + 1 : offer->height;
    if (!size_sound(mode->width))
        mode->width = FAR_KBD_WIDTH_DEFAULT;
    if (!size_sound(mode->height))
        mode->height = FAR_KBD_HEIGHT_DEFAULT;
    mode->touch_width = size_sound(offer->touch_width) ? offer->touch_width
                                                       : FAR_KBD_WIDTH_DEFAULT;
    mode->touch_height = size_sound(offer->touch_height)
                             ? offer->touch_height
                             : FAR_KBD_HEIGHT_DEFAULT;
    mode->touch_contacts = offer->touch_contacts;
    if (!mode->touch_contacts)
        mode->touch_contacts = 1;
    if (mode->touch_contacts > FAR_INPUT_CONTACTS_MAX)
        mode->touch_contacts = FAR_INPUT_CONTACTS_MAX;
    return 0;
}

void far_kbd_track_init(struct far_kbd_track *track,
                        const struct far_kbd_mode *mode)
{
    memset(track, 0, sizeof(*track));
    track->x = (int32_t)(mode->width / 2);
    track->y = (int32_t)(mode->height / 2);
}

/* 0 … FAR_INPUT_POS_MAX to 0 … size - 1, the ends to the ends. */
static int32_t scale(int32_t position, uint32_t size)
{
    int64_t p = position;

    if (p < 0)
        p = 0;
    if (p > FAR_INPUT_POS_MAX)
        p = FAR_INPUT_POS_MAX;
    return (int32_t)((p * (int64_t)(size - 1) + FAR_INPUT_POS_MAX / 2) /
                     FAR_INPUT_POS_MAX);
}

static int32_t move(int32_t position, int32_t by, uint32_t size)
{
    int64_t p = (int64_t)position + by;

    if (p < 0)
        p = 0;
    if (p > (int64_t)size - 1)
        p = (int64_t)size - 1;
    return (int32_t)p;
}

static enum far_kbd_verdict key(const struct far_kbd_mode *mode,
                                const struct far_input_event *event,
                                union xenkbd_in_event *out)
{
    if (!far_kbd_key_is_known(event->code))
        return FAR_KBD_NOT_TAKEN;
    if (far_kbd_key_is_button(event->code) ? !mode->buttons : !mode->keys)
        return FAR_KBD_NOT_WANTED;
    out->key.type = XENKBD_TYPE_KEY;
    out->key.pressed = event->value != 0;
    out->key.keycode = event->code;
    return FAR_KBD_SEND;
}

static enum far_kbd_verdict motion(const struct far_kbd_mode *mode,
                                   struct far_kbd_track *track,
                                   const struct far_input_event *event,
                                   union xenkbd_in_event *out)
{
    if (!mode->pointer)
        return FAR_KBD_NOT_WANTED;
    if (mode->abs) {
        track->x = move(track->x, event->x, mode->width);
        track->y = move(track->y, event->y, mode->height);
        out->pos.type = XENKBD_TYPE_POS;
        out->pos.abs_x = track->x;
        out->pos.abs_y = track->y;
        out->pos.rel_z = event->z;
        return FAR_KBD_SEND;
    }
    out->motion.type = XENKBD_TYPE_MOTION;
    out->motion.rel_x = event->x;
    out->motion.rel_y = event->y;
    out->motion.rel_z = event->z;
    return FAR_KBD_SEND;
}

static enum far_kbd_verdict pos(const struct far_kbd_mode *mode,
                                struct far_kbd_track *track,
                                const struct far_input_event *event,
                                union xenkbd_in_event *out)
{
    int32_t x, y;

    if (!mode->pointer)
        return FAR_KBD_NOT_WANTED;
    x = scale(event->x, mode->width);
    y = scale(event->y, mode->height);
    if (mode->abs) {
        track->x = x;
        track->y = y;
        out->pos.type = XENKBD_TYPE_POS;
        out->pos.abs_x = x;
        out->pos.abs_y = y;
        out->pos.rel_z = event->z;
        return FAR_KBD_SEND;
    }
    /* To a relative front go the differences; the first one says only where
     * the device is. */
    out->motion.type = XENKBD_TYPE_MOTION;
    out->motion.rel_x = track->from_known ? x - track->from_x : 0;
    out->motion.rel_y = track->from_known ? y - track->from_y : 0;
    out->motion.rel_z = event->z;
    track->from_x = x;
    track->from_y = y;
    track->from_known = 1;
    if (!out->motion.rel_x && !out->motion.rel_y && !out->motion.rel_z)
        return FAR_KBD_NOTHING;
    return FAR_KBD_SEND;
}

static enum far_kbd_verdict touch(const struct far_kbd_mode *mode,
                                  struct far_kbd_track *track,
                                  const struct far_input_event *event,
                                  union xenkbd_in_event *out)
{
    uint32_t id = (uint32_t)event->value;
    uint16_t bit;
    bool down;

    if (!mode->touch)
        return FAR_KBD_NOT_TAKEN;
    out->mtouch.type = XENKBD_TYPE_MTOUCH;
    if (event->code == FAR_TOUCH_SYN) {
        if (!track->frame)
            return FAR_KBD_NOTHING;
        out->mtouch.event_type = XENKBD_MT_EV_SYN;
        track->frame = 0;
        return FAR_KBD_SEND;
    }
    if (id >= mode->touch_contacts)
        return FAR_KBD_NOT_TAKEN;
    bit = (uint16_t)(1u << id);
    down = (track->contacts & bit) != 0;
    out->mtouch.contact_id = (uint8_t)id;
    switch (event->code) {
    case FAR_TOUCH_DOWN:
        if (down)
            return FAR_KBD_NOTHING;
        out->mtouch.event_type = XENKBD_MT_EV_DOWN;
        out->mtouch.u.pos.abs_x = scale(event->x, mode->touch_width);
        out->mtouch.u.pos.abs_y = scale(event->y, mode->touch_height);
        track->contacts |= bit;
        break;
    case FAR_TOUCH_UP:
        if (!down)
            return FAR_KBD_NOTHING;
        out->mtouch.event_type = XENKBD_MT_EV_UP;
        track->contacts &= (uint16_t)~bit;
        break;
    case FAR_TOUCH_MOVE:
        if (!down)
            return FAR_KBD_NOTHING;
        out->mtouch.event_type = XENKBD_MT_EV_MOTION;
        out->mtouch.u.pos.abs_x = scale(event->x, mode->touch_width);
        out->mtouch.u.pos.abs_y = scale(event->y, mode->touch_height);
        break;
    case FAR_TOUCH_SHAPE:
        if (!down)
            return FAR_KBD_NOTHING;
        out->mtouch.event_type = XENKBD_MT_EV_SHAPE;
        out->mtouch.u.shape.major =
            (uint32_t)scale(event->x, mode->touch_width);
        out->mtouch.u.shape.minor =
            (uint32_t)scale(event->y, mode->touch_height);
        break;
    case FAR_TOUCH_ORIENTATION:
        if (!down)
            return FAR_KBD_NOTHING;
        out->mtouch.event_type = XENKBD_MT_EV_ORIENT;
        out->mtouch.u.orientation = (int16_t)(event->x < -180  ? -180
                                              : event->x > 180 ? 180
                                                               : event->x);
        break;
    default:
        return FAR_KBD_NOT_VALID;
    }
    track->frame = 1;
    return FAR_KBD_SEND;
}

enum far_kbd_verdict far_kbd_translate(const struct far_kbd_mode *mode,
                                       struct far_kbd_track *track,
                                       const struct far_input_event *event,
                                       union xenkbd_in_event *out)
{
    memset(out, 0, sizeof(*out)); /* padding too: it goes to a guest */
    if (!far_input_event_valid(event))
        return FAR_KBD_NOT_VALID;
    switch (event->type) {
    case FAR_INPUT_KEY:
        return key(mode, event, out);
    case FAR_INPUT_MOTION:
        return motion(mode, track, event, out);
    case FAR_INPUT_POS:
        return pos(mode, track, event, out);
    case FAR_INPUT_TOUCH:
        return touch(mode, track, event, out);
    default:
        return FAR_KBD_NOTHING; /* a statement is the fast device's business */
    }
}
