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
 * was started here, "silences": how often it was given up as it answered
 * nothing}; null: no outside device. */
json_t *far_outside_json(const struct far_device *device);

#endif
