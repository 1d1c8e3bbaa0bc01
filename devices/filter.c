/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What filters have in common: see filter.h.
 */
#include "devices/filter.h"

#include <errno.h>

int far_filter_create(struct far_device *filter, struct far_error *error)
{
    if (!far_conf_string(filter->section, "behind", NULL))
        return far_error(error, -EINVAL,
                         "%s: a filter needs `behind =`, the device that it "
                         "stands in front of",
                         filter->name);
    far_device_say(filter, FAR_DEVICE_READY, NULL);
    return 0;
}

void far_filter_destroy(struct far_device *filter)
{
    (void)filter;
}

int far_filter_behind(struct far_device *filter,
                      const struct far_local_who *who, struct far_layer **below,
                      struct far_error *error)
{
    const char *name = far_conf_string(filter->section, "behind", "");
    struct far_device *behind = far_device_find(filter->devices, name);

    if (!behind)
        return far_error(error, -ENOENT,
                         "%s: there is no device `%s` behind it here",
                         filter->name, name);
    return far_device_open(behind, who, below, error);
}
