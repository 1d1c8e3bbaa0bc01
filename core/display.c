/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The one judge of display ops (core/display.h). Pure.
 */
#include "core/display.h"

#include <errno.h>
#include <string.h>

bool far_display_size_valid(uint32_t width, uint32_t height)
{
    return width && height && width <= FAR_DISPLAY_PIXELS_MAX &&
           height <= FAR_DISPLAY_PIXELS_MAX &&
           (uint64_t)width * height * 4 <= FAR_DISPLAY_BYTES_MAX;
}

static int check_tiles(const struct far_op *op)
{
    struct far_display_tiles a;

    memcpy(&a, op->args, sizeof(a));
    if ((op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES)) != FAR_OP_SENDS ||
        !far_display_size_valid(a.width, a.height) || !a.count ||
        a.raw_bytes > FAR_DISPLAY_PAYLOAD_MAX ||
        op->payload_bytes > FAR_DISPLAY_PAYLOAD_MAX || !op->payload_bytes ||
        a.encoding > FAR_DISPLAY_ZSTD)
        return -EINVAL;
    if (a.encoding == FAR_DISPLAY_RAW && op->payload_bytes != a.raw_bytes)
        return -EINVAL;
    return 0;
}

int far_display_check(const struct far_op *op)
{
    struct far_display_mode mode;

    switch (op->opcode) {
    case FAR_OP_NOP(FAR_CLASS_DISPLAY):
        return 0;
    case FAR_DISPLAY_MODE:
        memcpy(&mode, op->args, sizeof(mode));
        if (op->flags & (FAR_OP_SENDS | FAR_OP_RECEIVES) || op->payload_bytes)
            return -EINVAL;
        return (!mode.width && !mode.height) ||
                       far_display_size_valid(mode.width, mode.height)
                   ? 0
                   : -EINVAL;
    case FAR_DISPLAY_TILES:
        return check_tiles(op);
    default:
        return -EOPNOTSUPP;
    }
}

enum far_repeat far_display_repeat(uint16_t opcode)
{
    switch (opcode) {
    case FAR_OP_NOP(FAR_CLASS_DISPLAY):
    case FAR_DISPLAY_MODE:
    case FAR_DISPLAY_TILES:
        return FAR_REPEATABLE;
    default:
        return FAR_AT_MOST_ONCE;
    }
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

bool far_display_tile_rect(struct far_display_rect *rect,
                           const struct far_display_tile *tile, uint32_t width,
                           uint32_t height)
{
    rect->x = tile->column * FAR_DISPLAY_TILE;
    rect->y = tile->row * FAR_DISPLAY_TILE;
    if (rect->x >= width || rect->y >= height)
        return false;
    rect->width = least(FAR_DISPLAY_TILE, width - rect->x);
    rect->height = least(FAR_DISPLAY_TILE, height - rect->y);
    return true;
}

void far_display_walk_begin(struct far_display_walk *walk,
                            const struct far_display_tiles *tiles,
                            const void *raw)
{
    *walk = (struct far_display_walk){ .at = raw,
                                       .left = tiles->raw_bytes,
                                       .width = tiles->width,
                                       .height = tiles->height,
                                       .count = tiles->count };
}

int far_display_walk_next(struct far_display_walk *walk,
                          struct far_display_rect *rect, const uint8_t **pixels)
{
    struct far_display_tile tile;
    uint32_t bytes;

    if (!walk->count)
        return walk->left ? -EINVAL : 0;
    if (walk->left < sizeof(tile))
        return -EINVAL;
    memcpy(&tile, walk->at, sizeof(tile));
    /* the copy counts: the memory may be another process's too */
    __asm__ volatile("" ::: "memory");
    if (!far_display_tile_rect(rect, &tile, walk->width, walk->height))
        return -EINVAL;
    bytes = rect->width * rect->height * 4;
    if (walk->left - sizeof(tile) < bytes)
        return -EINVAL;
    *pixels = walk->at + sizeof(tile);
    walk->at += sizeof(tile) + bytes;
    walk->left -= (uint32_t)sizeof(tile) + bytes;
    walk->count--;
    return 1;
}
