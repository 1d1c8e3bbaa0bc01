/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The display class: screens. A device is one screen; its user says how large
 * it is and sends the tiles that have changed. A tile is a square of
 * FAR_DISPLAY_TILE pixels, cut off at the right and lower edge; a pixel is four
 * bytes: blue, green, red, nothing. Who draws, and when, is the port's
 * business; how a picture reaches a person, the device's.
 */
#ifndef FARSIDE_CORE_DISPLAY_H
#define FARSIDE_CORE_DISPLAY_H

#include <stdbool.h>
#include "core/op.h"

#define FAR_DISPLAY_PAYLOAD_MAX (128u << 10)
#define FAR_DISPLAY_TILE        64u
#define FAR_DISPLAY_TILE_BYTES  (FAR_DISPLAY_TILE * FAR_DISPLAY_TILE * 4)
#define FAR_DISPLAY_PIXELS_MAX  16384u /* of a side */
#define FAR_DISPLAY_BYTES_MAX   (256u << 20)

/* The screen has that size from now on and is black; 0 by 0: it is off. Given
 * again by whoever comes back to a device that may have forgotten. */
#define FAR_DISPLAY_MODE FAR_OPCODE(FAR_CLASS_DISPLAY, 1)
/* Sends tiles: `count` times a struct far_display_tile with its pixels, row by
 * row, behind it. Those of another size than the screen's are of an earlier
 * mode: answered, and not shown. */
#define FAR_DISPLAY_TILES FAR_OPCODE(FAR_CLASS_DISPLAY, 2)
/* Both may be repeated: whoever does repeats all in order before anything new.
 */

/* The only interrupt: who looks would like the screen to have that size. Kept
 * as a wish; args: struct far_display_mode. */
#define FAR_DISPLAY_WISH FAR_OPCODE(FAR_CLASS_DISPLAY, 0x80)

struct far_display_mode {
    uint32_t width, height; /* pixels */
    uint32_t reserved[6];
};
static_assert(sizeof(struct far_display_mode) == FAR_OP_ARGS_BYTES, "");

enum far_display_encoding {
    FAR_DISPLAY_RAW = 0,
    FAR_DISPLAY_LZ4 = 1,  /* one block of LZ4 */
    FAR_DISPLAY_ZSTD = 2, /* one frame of Zstandard */
};

struct far_display_tiles {
    uint32_t width, height; /* of the screen that they are of */
    uint16_t count;
    uint8_t encoding;   /* enum far_display_encoding, of all of the payload */
    uint8_t last;       /* 1: with these the picture is complete */
    uint32_t raw_bytes; /* what the payload becomes: its length, if raw */
    uint64_t frame;     /* rises with each picture */
    uint64_t time_us;   /* when it was flipped: CLOCK_MONOTONIC of whom it
                           came from */
};
static_assert(sizeof(struct far_display_tiles) == FAR_OP_ARGS_BYTES, "");

struct far_display_tile {
    uint16_t column, row; /* in tiles */
};

/* What a device is; told at prepare. */
struct far_display_props {
    uint16_t width, height; /* that it would like best; 0: any */
    uint32_t encodings;     /* bits: 1 << enum far_display_encoding; raw always
                             */
    uint32_t reserved[6];
};
static_assert(sizeof(struct far_display_props) == 32, "");

/* Is that a size which a screen may have? 0 by 0 is none. Pure. */
bool far_display_size_valid(uint32_t width, uint32_t height);
/* Is this op one that a device may act on? 0, -EINVAL or -EOPNOTSUPP. What is
 * in the payload is judged as it is walked. Pure. */
int far_display_check(const struct far_op *op);
enum far_repeat far_display_repeat(uint16_t opcode);

/* A tile's place in a screen of that size; false: it has no such tile. Pure. */
struct far_display_rect {
    uint32_t x, y, width, height; /* pixels */
};
bool far_display_tile_rect(struct far_display_rect *rect,
                           const struct far_display_tile *tile, uint32_t width,
                           uint32_t height);

/* The tiles of a payload that is raw, one after the other; what is read for a
 * decision is read once. 1 and *rect, *pixels (rect->width * rect->height of
 * them); 0: there are no more; -EINVAL. */
struct far_display_walk {
    const uint8_t *at;
    uint32_t left; /* bytes */
    uint32_t width, height;
    uint16_t count;
};
void far_display_walk_begin(struct far_display_walk *walk,
                            const struct far_display_tiles *tiles,
                            const void *raw);
int far_display_walk_next(struct far_display_walk *walk,
                          struct far_display_rect *rect,
                          const uint8_t **pixels);

#endif
