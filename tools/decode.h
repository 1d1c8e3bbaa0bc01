/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Captures and raw streams of frames, taken apart. Pure, for `farside decode`
 * and its fuzzer: any bytes may be given.
 */
#ifndef FARSIDE_TOOLS_DECODE_H
#define FARSIDE_TOOLS_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct far_decode {
    FILE *out;
    bool as_json;       /* an object a line */
    size_t payload_max; /* bytes of a payload that are shown */
    uint64_t frames, wrong;
    char trouble[300]; /* why the rest can't be read; "" if all was */
};

/* One file's bytes. 0 or a negative errno (-ENOMEM; -EPROTO: see trouble). */
int far_decode(struct far_decode *decode, const uint8_t *data, size_t bytes);

#endif
