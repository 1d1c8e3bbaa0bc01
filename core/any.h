/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Requests that name no device but a kind: `.any`, or `.any` with the
 * properties that it must have (`.any.keys.rel`). No device's name begins with
 * a dot. In an address it stands where the device's name would:
 * borealis/.any.keys.
 */
#ifndef FARSIDE_CORE_ANY_H
#define FARSIDE_CORE_ANY_H

#include <stdbool.h>
#include <stdint.h>
#include "core/error.h"
#include "core/op.h"

#define FAR_PROPS_BYTES 32

/* Does this stand for any device? */
static inline bool far_any_is(const char *device)
{
    return device[0] == '.';
}
/* What it must have, in the shape of the class's properties. 0, or -EINVAL
 * with error: no such word, or none for that class. Pure. */
int far_any_parse(uint8_t want[FAR_PROPS_BYTES], const char *device,
                  enum far_class class, struct far_error *error);
/* Has a device with these properties all that is wanted? Pure. */
bool far_any_fits(enum far_class class, const uint8_t props[FAR_PROPS_BYTES],
                  const uint8_t want[FAR_PROPS_BYTES]);

#endif
