/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What filters have in common: a device that stands in front of another one
 * (`behind =`), of whatever class that is.
 */
#ifndef FARSIDE_DEVICES_FILTER_H
#define FARSIDE_DEVICES_FILTER_H

#include "devices/device.h"

/* Types' open: in *layer one of so many bytes, zeros but for the struct
 * far_layer that it begins with, on top of the device behind. 0, or -errno. */
int far_filter_open(struct far_device *filter, const struct far_local_who *who,
                    const struct far_layer_ops *ops, size_t bytes,
                    struct far_layer **layer, struct far_error *error);
/* The end of a layer's close(), or all of it: lets go what is below, frees. */
void far_filter_close(struct far_layer *layer);
/* Types' create and destroy, for filters without a state of their own. */
int far_filter_create(struct far_device *filter, struct far_error *error);
void far_filter_destroy(struct far_device *filter);

#endif
