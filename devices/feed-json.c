/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Events as JSON and back (devices/feed-json.h).
 */
#include <errno.h>
#include <string.h>
#include "devices/feed-json.h"

static const char *const touches[] = {
    [FAR_TOUCH_DOWN] = "down",   [FAR_TOUCH_UP] = "up",
    [FAR_TOUCH_MOVE] = "move",   [FAR_TOUCH_SYN] = "syn",
    [FAR_TOUCH_SHAPE] = "shape", [FAR_TOUCH_ORIENTATION] = "orientation",
};
#define TOUCHES (sizeof(touches) / sizeof(touches[0]))

/* An integer member; absent is 0 unless it must be there. */
static int take(const json_t *event, const char *name, bool must, int64_t low,
                int64_t high, int64_t *out, unsigned i, struct far_error *error)
{
    const json_t *j = json_object_get(event, name);

    *out = 0;
    if (!j)
        return must ? far_error(error, -EINVAL, "event %u has no \"%s\"", i,
                                name)
                    : 0;
    if (!json_is_integer(j))
        return far_error(error, -EINVAL, "event %u: \"%s\" is no whole number",
                         i, name);
    *out = json_integer_value(j);
    if (*out < low || *out > high)
        return far_error(
            error, -EINVAL, "event %u: \"%s\" is %lld, not within %lld to %lld",
            i, name, (long long)*out, (long long)low, (long long)high);
    return 0;
}

static int take_place(const json_t *event, struct far_input_event *e,
                      int64_t low, int64_t high, unsigned i,
                      struct far_error *error)
{
    int64_t x, y, z;
    int rc = take(event, "x", false, low, high, &x, i, error);

    if (!rc)
        rc = take(event, "y", false, low, high, &y, i, error);
    if (!rc)
        rc = take(event, "z", false, INT16_MIN, INT16_MAX, &z, i, error);
    if (rc)
        return rc;
    e->x = (int32_t)x;
    e->y = (int32_t)y;
    e->z = (int32_t)z;
    return 0;
}

static int take_touch(const json_t *event, struct far_input_event *e,
                      unsigned i, struct far_error *error)
{
    const json_t *what = json_object_get(event, "what");
    int64_t id, code = TOUCHES;
    unsigned t;
    int rc;

    e->type = FAR_INPUT_TOUCH;
    if (json_is_string(what)) {
        for (t = 0; t < TOUCHES; t++) {
            if (!strcmp(json_string_value(what), touches[t]))
                code = t;
        }
    } else {
        rc =
            take(event, "code", true, 0, (int64_t)TOUCHES - 1, &code, i, error);
        if (rc)
            return rc;
    }
    if (code == TOUCHES)
        return far_error(error, -EINVAL,
                         "event %u: a touch is down, up, move, syn, shape or "
                         "orientation",
                         i);
    e->code = (uint16_t)code;
    rc = take(event, json_object_get(event, "id") ? "id" : "value", false, 0,
              FAR_INPUT_CONTACTS_MAX - 1, &id, i, error);
    if (rc)
        return rc;
    e->value = (int32_t)id;
    return take_place(event, e, INT16_MIN, FAR_INPUT_POS_MAX, i, error);
}

static int take_event(const json_t *event, struct far_input_event *e,
                      unsigned i, struct far_error *error)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    int64_t code, value;
    int rc;

    memset(e, 0, sizeof(*e));
    if (!type)
        return far_error(error, -EINVAL, "event %u has no \"type\"", i);
    if (!strcmp(type, "key")) {
        e->type = FAR_INPUT_KEY;
        rc = take(event, "code", true, 0, FAR_INPUT_KEY_MAX, &code, i, error);
        if (!rc)
            rc = take(event, "value", true, 0, 1, &value, i, error);
        if (rc)
            return rc;
        e->code = (uint16_t)code;
        e->value = (int32_t)value;
    } else if (!strcmp(type, "motion")) {
        e->type = FAR_INPUT_MOTION;
        rc = take_place(event, e, INT16_MIN, INT16_MAX, i, error);
    } else if (!strcmp(type, "pos")) {
        e->type = FAR_INPUT_POS;
        rc = take_place(event, e, 0, FAR_INPUT_POS_MAX, i, error);
    } else if (!strcmp(type, "touch")) {
        rc = take_touch(event, e, i, error);
    } else {
        return far_error(error, -EINVAL,
                         "event %u: a type is key, motion, pos or touch", i);
    }
    if (rc)
        return rc;
    if (!far_input_event_valid(e))
        return far_error(error, -EINVAL, "event %u is out of its ranges", i);
    return 0;
}

int far_feed_events_from_json(const json_t *events, struct far_input_event *out,
                              unsigned room, struct far_error *error)
{
    size_t i, n = json_array_size(events);
    int rc;

    if (!json_is_array(events))
        return far_error(error, -EINVAL, "\"events\" is no array");
    if (n > room)
        return far_error(error, -E2BIG, "%zu events at once; %u are the limit",
                         n, room);
    for (i = 0; i < n; i++) {
        rc = take_event(json_array_get(events, i), &out[i], (unsigned)i + 1,
                        error);
        if (rc)
            return rc;
    }
    return (int)n;
}

json_t *far_feed_event_to_json(const struct far_input_event *e)
{
    switch (e->type) {
    case FAR_INPUT_KEY:
        return json_pack("{s:s, s:i, s:i}", "type", "key", "code", (int)e->code,
                         "value", (int)e->value);
    case FAR_INPUT_MOTION:
    case FAR_INPUT_POS:
        return json_pack("{s:s, s:i, s:i, s:i}", "type",
                         e->type == FAR_INPUT_POS ? "pos" : "motion", "x",
                         (int)e->x, "y", (int)e->y, "z", (int)e->z);
    case FAR_INPUT_TOUCH:
        if (e->code >= TOUCHES)
            return NULL;
        return json_pack("{s:s, s:s, s:i, s:i, s:i}", "type", "touch", "what",
                         touches[e->code], "id", (int)e->value, "x", (int)e->x,
                         "y", (int)e->y);
    default:
        return NULL;
    }
}
