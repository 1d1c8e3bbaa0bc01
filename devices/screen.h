/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a screen shows, for `farside screenshot`: pictures that devices of type
 * `screen` keep, and the answer to who asks for one, in either daemon.
 */
#ifndef FARSIDE_DEVICES_SCREEN_H
#define FARSIDE_DEVICES_SCREEN_H

#include <jansson.h>
#include "devices/device.h"

/* Of the nth connector of a guest, if that is on this screen and on: pixels as
 * of core/display.h, until the device is used again; or NULL. */
const uint8_t *far_screen_pixels(const struct far_device *device,
                                 const char *guest, unsigned nth,
                                 uint32_t *width, uint32_t *height);
/* Writes a picture of guest (NULL: nobody was named) to a file of who asked (fd
 * is closed; -1: there is none), and says how large it is: {"width", "height"}.
 * pixels NULL: there is none. */
json_t *far_screen_answer(int fd, const char *guest, const uint8_t *pixels,
                          uint32_t width, uint32_t height);

#endif
