/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What status shows of an outside device's program; the device itself is one
 * of the registry's types.
 */
#ifndef FARSIDE_DEVICES_OUTSIDE_H
#define FARSIDE_DEVICES_OUTSIDE_H

#include <jansson.h>
#include "devices/device.h"
#include "devices/starter.h"

/* {"state": "running", …, "pid": 0 if it does not run, "starts": how often it
 * was started}; null: no outside device, or one that is not started here. */
json_t *far_outside_json(const struct far_device *device);

#endif
