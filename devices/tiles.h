/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tiles of a screen on their way to another machine: packed by LZ4 or
 * Zstandard, whichever was built in. One thread for each packer.
 */
#ifndef FARSIDE_DEVICES_TILES_H
#define FARSIDE_DEVICES_TILES_H

#include "core/display.h"

/* What can be unpacked here: struct far_display_props.encodings. */
uint32_t far_tiles_encodings(void);

struct far_packer;
struct far_packer *far_packer_new(void); /* NULL: memory is out */
void far_packer_free(struct far_packer *packer);
/* At most `room` bytes; how many, or 0: that way it would be no smaller. */
uint32_t far_pack(struct far_packer *packer, enum far_display_encoding encoding,
                  uint8_t *to, uint32_t room, const uint8_t *raw,
                  uint32_t bytes);
/* For who shows a picture of that size: each rectangle of TILES, an op that
 * far_display_check() has passed, is given to draw(). Those for a picture of
 * another size are passed over. -EINVAL: it is not what it says; -EOPNOTSUPP.
 */
int far_draw_tiles(struct far_packer *packer, const struct far_op *op,
                   const void *payload, uint32_t width, uint32_t height,
                   void (*draw)(void *arg, const struct far_display_rect *rect,
                                const uint8_t *pixels),
                   void *arg);

#endif
