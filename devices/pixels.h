/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pixel formats that a guest may draw in (DRM's codes, drm_fourcc.h), and
 * their way to the one that Farside's screens have: blue, green, red, nothing.
 * Pure.
 */
#ifndef FARSIDE_DEVICES_PIXELS_H
#define FARSIDE_DEVICES_PIXELS_H

#include <stdint.h>

#define FAR_FOURCC(a, b, c, d)                                  \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | \
     (uint32_t)(d) << 24)
#define FAR_PIXELS_XRGB8888 FAR_FOURCC('X', 'R', '2', '4')

/* Of a pixel; 0: not a format that is known here. */
uint32_t far_pixels_bytes(uint32_t format);
/* `count` pixels; what the fourth byte becomes is not said. */
void far_pixels_convert(uint32_t format, uint8_t *to, const uint8_t *from,
                        uint32_t count);

#endif
