/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a monitor says of itself (VESA E-EDID 1.4): one block, of a screen with
 * 60 pictures a second. Pure.
 */
#ifndef FARSIDE_DEVICES_EDID_H
#define FARSIDE_DEVICES_EDID_H

#include <stdint.h>

#define FAR_EDID_BYTES 128u

/* width and height: the one mode that it has, in pixels; one that a detailed
 * timing can't say (4095, or a clock of 655 MHz) is left out, and the monitor
 * says of itself only what it is. */
void far_edid_make(uint8_t edid[FAR_EDID_BYTES], uint32_t width,
                   uint32_t height);

#endif
