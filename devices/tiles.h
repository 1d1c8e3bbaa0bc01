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
/* The payload of an op that far_display_check() has passed, unpacked: *raw is
 * the payload itself if it is raw, else the packer's until its next call.
 * -EINVAL: it is not what it says; -EOPNOTSUPP. */
int far_unpack(struct far_packer *packer, const struct far_op *op,
               const void *payload, const uint8_t **raw);

#endif
