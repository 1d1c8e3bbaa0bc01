/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What filters have in common: a device that stands in front of another one
 * (`behind =`), of whatever class that is.
 */
#ifndef FARSIDE_DEVICES_FILTER_H
#define FARSIDE_DEVICES_FILTER_H

#include "devices/device.h"

/* Opens the device behind. */
int far_filter_behind(struct far_device *filter,
                      const struct far_local_who *who, struct far_layer **below,
                      struct far_error *error);
/* Types' create and destroy, for filters without a state of their own. */
int far_filter_create(struct far_device *filter, struct far_error *error);
void far_filter_destroy(struct far_device *filter);

#endif
