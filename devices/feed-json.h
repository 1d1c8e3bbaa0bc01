/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The events of a `send` request (farside send) as JSON, to the events of
 * core/input.h: {"type":"key","code":30,"value":1}, {"type":"motion","x","y",
 * "z"}, {"type":"pos","x","y","z"}, {"type":"touch","what":"down"|"up"|"move"|
 * "syn"|"shape"|"orientation","id","x","y"}. Pure.
 */
#ifndef FARSIDE_DEVICES_FEED_JSON_H
#define FARSIDE_DEVICES_FEED_JSON_H

#include <jansson.h>
#include "core/error.h"
#include "core/input.h"

/* Number of events put into out (time_us 0: now), or a negative errno with
 * error: -EINVAL names the event that is wrong, -E2BIG: more than room. */
int far_feed_events_from_json(const json_t *events, struct far_input_event *out,
                              unsigned room, struct far_error *error);
/* One event as JSON, as above; NULL if it has no such form. */
json_t *far_feed_event_to_json(const struct far_input_event *event);

#endif
