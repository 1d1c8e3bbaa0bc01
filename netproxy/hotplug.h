/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Devices that nobody knew beforehand: each [hotplug NAME] watches a folder,
 * /dev/input or one that a udev rule fills with links, and makes a device of
 * each evdev node there that matches, NAME-WORDS, which lives as long as the
 * node. Nothing polls.
 */
#ifndef FARSIDE_NETPROXY_HOTPLUG_H
#define FARSIDE_NETPROXY_HOTPLUG_H

#include "devices/device.h"

#define FAR_HOTPLUG_DEVICES_MAX 64 /* of one section */

struct far_hotplug {
    struct far_devices *devices;
    const struct far_conf *conf;
    struct far_hotplug_place *places;
};

void far_hotplug_init(struct far_hotplug *hotplug, struct far_devices *devices);
/* Takes all [hotplug] of conf, which stays until the next call. What stayed the
 * same is not disturbed. Call it after far_devices_load(), which has the first
 * word about names. */
void far_hotplug_configure(struct far_hotplug *hotplug,
                           const struct far_conf *conf);
void far_hotplug_free(struct far_hotplug *hotplug);

/* "usb" and "My Keyboard (2)": "usb-My_Keyboard_2". Pure. */
void far_hotplug_name(char out[FAR_NAME_BYTES], const char *section,
                      const char *words);

#endif
