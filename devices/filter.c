/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What filters have in common: see filter.h.
 */
#include "devices/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* PLATFORM+STANDBY/DEVICE */
static int open_far(struct far_device *filter, const struct far_local_who *who,
                    const char *text, struct far_layer **below,
                    struct far_error *error)
{
    const struct far_devices *devices = filter->devices;
    struct far_local_who other = *who;
    struct far_address address;
    struct far_error why;

    if (!devices->open_far)
        return far_error(error, -EOPNOTSUPP,
                         "%s: what stands before another platform's device "
                         "(%s) can't be exported",
                         filter->name, text);
    if (far_address_parse(&address, text, &why))
        return far_error(error, -EINVAL, "%s: behind: %s", filter->name,
                         why.text);
    memcpy(other.platform, address.platform, sizeof(other.platform));
    memcpy(other.standby, address.standby, sizeof(other.standby));
    memcpy(other.device, address.device, sizeof(other.device));
    return devices->open_far(devices->open_far_arg, &other, below, error);
}

static int open_behind(struct far_device *filter,
                       const struct far_local_who *who,
                       struct far_layer **below, struct far_error *error)
{
    const char *name = far_conf_string(filter->section, "behind", "");
    struct far_device *behind;

    if (strchr(name, '/'))
        return open_far(filter, who, name, below, error);
    behind = far_device_find(filter->devices, name);
    if (!behind)
        return far_error(error, -ENOENT,
                         "%s: there is no device `%s` behind it here",
                         filter->name, name);
    return far_device_open(behind, who, below, error);
}

int far_filter_open(struct far_device *filter, const struct far_local_who *who,
                    const struct far_layer_ops *ops, size_t bytes,
                    struct far_layer **layer, struct far_error *error)
{
    struct far_layer *below, *own = calloc(1, bytes);
    int r;

    if (!own)
        return far_error(error, -ENOMEM, "%s: out of memory", filter->name);
    r = open_behind(filter, who, &below, error);
    if (r) {
        free(own);
        return r;
    }
    own->ops = ops;
    far_layer_stack(own, below);
    *layer = own;
    return 0;
}

void far_filter_close(struct far_layer *layer)
{
    layer->below->above = NULL;
    far_layer_close(layer->below);
    free(layer);
}
