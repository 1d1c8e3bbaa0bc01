/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See pixels.h. All of them are little-endian words, as drm_fourcc.h has it.
 */
#include "devices/pixels.h"

#include <stddef.h>
#include <string.h>

/* A word's colours: how far up, and how many bits. */
struct format {
    uint32_t code;
    uint8_t bytes;
    uint8_t red, green, blue; /* shifts */
    uint8_t red_bits, green_bits, blue_bits;
};

static const struct format formats[] = {
    { FAR_PIXELS_XRGB8888, 4, 16, 8, 0, 8, 8, 8 },
    { FAR_FOURCC('A', 'R', '2', '4'), 4, 16, 8, 0, 8, 8, 8 },
    { FAR_FOURCC('R', 'G', '2', '4'), 3, 16, 8, 0, 8, 8, 8 },
    { FAR_FOURCC('R', 'G', '1', '6'), 2, 11, 5, 0, 5, 6, 5 },
    { FAR_FOURCC('X', 'R', '1', '5'), 2, 10, 5, 0, 5, 5, 5 },
    { FAR_FOURCC('A', 'R', '1', '5'), 2, 10, 5, 0, 5, 5, 5 },
    { FAR_FOURCC('X', 'R', '1', '2'), 2, 8, 4, 0, 4, 4, 4 },
    { FAR_FOURCC('A', 'R', '1', '2'), 2, 8, 4, 0, 4, 4, 4 },
};

static const struct format *find(uint32_t code)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (formats[i].code == code)
            return &formats[i];
    return NULL;
}

uint32_t far_pixels_bytes(uint32_t format)
{
    const struct format *f = find(format);

    return f ? f->bytes : 0;
}

/* Widened so that all ones stay all ones. */
static uint8_t widen(uint32_t word, unsigned shift, unsigned bits)
{
    uint32_t value = word >> shift & ((1u << bits) - 1);

    return (uint8_t)(bits == 8 ? value
                     : bits == 4
                         ? value * 17
                         : value << (8 - bits) | value >> (2 * bits - 8));
}

void far_pixels_convert(uint32_t format, uint8_t *to, const uint8_t *from,
                        uint32_t count)
{
    const struct format *f = find(format);

    if (f->bytes == 4) {
        memcpy(to, from, (size_t)count * 4);
        return;
    }
    for (uint32_t i = 0; i < count; i++, from += f->bytes, to += 4) {
        uint32_t word = 0;

        memcpy(&word, from, f->bytes);
        to[0] = widen(word, f->blue, f->blue_bits);
        to[1] = widen(word, f->green, f->green_bits);
        to[2] = widen(word, f->red, f->red_bits);
        to[3] = 0;
    }
}
