/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The virtual input device: a keyboard, pointer and touch screen that are fed
 * by `farside send`. It is always there.
 */
#include "devices/input-source.h"

#include <errno.h>
#include "core/clock.h"
#include "devices/types.h"

static int virtual_create(struct far_device *device, struct far_error *error)
{
    const struct far_input_props props = {
        .can = FAR_INPUT_CAN_KEYS | FAR_INPUT_CAN_BUTTONS | FAR_INPUT_CAN_REL |
               FAR_INPUT_CAN_ABS | FAR_INPUT_CAN_TOUCH,
        .contacts = FAR_INPUT_CONTACTS_MAX,
    };

    (void)error;
    far_source_ready((struct far_source *)device, &props);
    return 0;
}

static void virtual_destroy(struct far_device *device)
{
    (void)device;
}

static int virtual_feed(struct far_device *device,
                        const struct far_input_event *events, unsigned count,
                        struct far_error *error)
{
    uint64_t now_us = far_now_us();

    for (unsigned i = 0; i < count; i++)
        if (!far_input_event_valid(&events[i]) ||
            events[i].type >= FAR_INPUT_STATE_BEGIN)
            return far_error(error, -EINVAL,
                             "%s: event %u of %u is not one that can be sent",
                             device->name, i + 1, count);
    for (unsigned i = 0; i < count; i++) {
        struct far_input_event e = events[i];

        if (e.time_us == 0 || e.time_us > now_us)
            e.time_us = now_us;
        e.flags = 0;
        far_source_send((struct far_source *)device, &e, 1);
    }
    return 0;
}

const struct far_device_type far_type_virtual = {
    .name = "virtual",
    .class = FAR_CLASS_INPUT,
    .device_bytes = sizeof(struct far_source),
    .create = virtual_create,
    .destroy = virtual_destroy,
    .open = far_source_open,
    .feed = virtual_feed,
};
