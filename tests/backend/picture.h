/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pictures that tests of screens draw in the guest and look for at the
 * other end: one for each seed, different in every pixel.
 */
#ifndef FARSIDE_TESTS_BACKEND_PICTURE_H
#define FARSIDE_TESTS_BACKEND_PICTURE_H

#include <stdint.h>
#include <string.h>

/* 0x00RRGGBB */
static inline uint32_t picture_pixel(unsigned seed, uint32_t x, uint32_t y)
{
    uint32_t v = (x * 2654435761u) ^ (y * 2246822519u) ^ (seed * 3266489917u);

    v ^= v >> 15;
    return (v * 2246822519u) >> 8;
}

static inline uint32_t picture_bytes(const char *format)
{
    return !strcmp(format, "RG24")                              ? 3
           : !strcmp(format, "XR24") || !strcmp(format, "AR24") ? 4
                                                                : 2;
}

/* The pixel as that format can hold it; rubbish where it holds nothing. */
static inline uint32_t picture_in(const char *format, uint32_t pixel)
{
    uint32_t r = pixel >> 16, g = pixel >> 8 & 255, b = pixel & 255;

    if (!strcmp(format, "RG16"))
        return r >> 3 << 11 | g >> 2 << 5 | b >> 3;
    if (!strcmp(format + 1, "R15"))
        return 0x8000 | r >> 3 << 10 | g >> 3 << 5 | b >> 3;
    if (!strcmp(format + 1, "R12"))
        return 0xa000 | r >> 4 << 8 | g >> 4 << 4 | b >> 4;
    return pixel | 0xa5000000;
}

/* Is a colour that was seen the one that was drawn, as far as so many bits of
 * it can say? */
static inline int picture_close(unsigned bits, uint8_t drawn, uint8_t seen)
{
    int most = (1 << bits) - 1;
    int wanted = ((drawn >> (8 - bits)) * 255 + most / 2) / most;
    int off = wanted - seen;

    return bits == 8 ? drawn == seen : off >= -1 && off <= 1;
}

/* The same of a pixel: red, green, blue. */
static inline int picture_is(const char *format, uint32_t pixel,
                             const uint8_t seen[3])
{
    unsigned bits = !strcmp(format + 1, "R12")   ? 4
                    : picture_bytes(format) == 2 ? 5
                                                 : 8;
    unsigned green = !strcmp(format, "RG16") ? 6 : bits;

    return picture_close(bits, (uint8_t)(pixel >> 16), seen[0]) &&
           picture_close(green, (uint8_t)(pixel >> 8), seen[1]) &&
           picture_close(bits, (uint8_t)pixel, seen[2]);
}

#endif
