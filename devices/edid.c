/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See edid.h. Blanking is that of VESA's CVT with reduced blanking: nothing has
 * to move a beam back.
 */
#include "devices/edid.h"

#include <stdbool.h>
#include <string.h>

#define H_BLANK       160u
#define H_FRONT       48u
#define H_SYNC        32u
#define V_FRONT       3u
#define V_SYNC        6u
#define V_BLANK_LEAST 28u
#define HERTZ         60u
#define DOTS_A_CM     38u /* about 96 dots an inch */

static void put_timing(uint8_t t[18], uint32_t width, uint32_t height)
{
    uint32_t v_blank = V_BLANK_LEAST;
    uint32_t clock = (uint32_t)((uint64_t)(width + H_BLANK) *
                                (height + v_blank) * HERTZ / 10000);
    uint32_t mm[2] = { width * 10 / DOTS_A_CM, height * 10 / DOTS_A_CM };

    t[0] = (uint8_t)clock;
    t[1] = (uint8_t)(clock >> 8);
    t[2] = (uint8_t)width;
    t[3] = (uint8_t)H_BLANK;
    t[4] = (uint8_t)(width >> 8 << 4);
    t[5] = (uint8_t)height;
    t[6] = (uint8_t)v_blank;
    t[7] = (uint8_t)(height >> 8 << 4);
    t[8] = (uint8_t)H_FRONT;
    t[9] = (uint8_t)H_SYNC;
    t[10] = (uint8_t)(V_FRONT << 4 | V_SYNC);
    t[12] = (uint8_t)mm[0];
    t[13] = (uint8_t)mm[1];
    t[14] = (uint8_t)((mm[0] >> 8 & 15) << 4 | (mm[1] >> 8 & 15));
    t[17] = 0x1a; /* separate sync, positive, negative */
}

static void put_text(uint8_t d[18], uint8_t tag, const char *text)
{
    size_t n = strlen(text);

    d[3] = tag;
    memset(d + 5, ' ', 13);
    memcpy(d + 5, text, n);
    d[5 + n] = '\n';
}

void far_edid_make(uint8_t e[FAR_EDID_BYTES], uint32_t width, uint32_t height)
{
    static const uint8_t head[] = {
        0,
        255,
        255,
        255,
        255,
        255,
        255,
        0, /* header */
        0x18,
        0x32, /* maker: "FAR", five bits a letter */
        1,
        0,
        0,
        0,
        0,
        0, /* product, no serial number */
        0,
        30, /* made in 2020 */
        1,
        4,    /* EDID 1.4 */
        0xa5, /* digital, 8 bits a colour, DisplayPort */
        0,
        0,    /* size unknown: as the mode says */
        120,  /* gamma 2.2 */
        0x06, /* RGB; the first timing is its own */
        /* sRGB's colours */
        0xee,
        0x91,
        0xa3,
        0x54,
        0x4c,
        0x99,
        0x26,
        0x0f,
        0x50,
        0x54,
    };
    bool fits = width < 4096 && height < 4096 &&
                (uint64_t)(width + H_BLANK) * (height + V_BLANK_LEAST) * HERTZ <
                    655350000u;
    uint8_t sum = 0;

    memset(e, 0, FAR_EDID_BYTES);
    memcpy(e, head, sizeof(head));
    memset(e + 38, 1, 16); /* no standard timings */
    if (fits)
        put_timing(e + 54, width, height);
    else
        e[57] = 0x10; /* nothing */
    put_text(e + 72, 0xfc, "Farside");
    e[93] = 0x10;
    e[111] = 0x10;
    for (unsigned i = 0; i < FAR_EDID_BYTES - 1; i++)
        sum = (uint8_t)(sum + e[i]);
    e[FAR_EDID_BYTES - 1] = (uint8_t)-sum;
}
