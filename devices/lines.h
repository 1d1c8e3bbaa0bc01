/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupt lines of a device and what each of its users was told of them
 * (core/intc.h): for the device type of the daemons, and for those of
 * libfarside-device.
 */
#ifndef FARSIDE_DEVICES_LINES_H
#define FARSIDE_DEVICES_LINES_H

#include "core/intc.h"
#include "devices/device.h"

struct far_lines_user;

struct far_lines { /* zeroed before far_lines_init() */
    struct far_device *device;
    uint32_t count;
    uint64_t *totals;
    bool *level, *high;
    struct far_lines_user *users;
};

/* So many lines, up to FAR_INTC_LINES_MAX; they are the device's properties. 0
 * or -ENOMEM. */
int far_lines_init(struct far_lines *lines, struct far_device *device,
                   uint32_t count);
void far_lines_free(struct far_lines *lines); /* no users are left */
/* As far_device_type.open. */
int far_lines_open(struct far_lines *lines, const struct far_local_who *who,
                   struct far_layer **layer, struct far_error *error);
/* The device is there, or gone, by what far_device_say() said: to all. */
void far_lines_say(struct far_lines *lines);
/* An edge. line < count. */
void far_lines_edge(struct far_lines *lines, uint32_t line);
/* The line is high or low; users tell when they have served it. */
void far_lines_level(struct far_lines *lines, uint32_t line, bool high);

#endif
