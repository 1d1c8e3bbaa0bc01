/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table of device types. What a library was missing for at configure is
 * not in it.
 */
#include "config.h"
#include "devices/types.h"

const struct far_device_type *const far_device_types[] = {
    &far_type_virtual,
    NULL,
};
