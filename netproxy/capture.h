/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Captures of a link: its decrypted frames with time and direction, in a
 * pcapng file of bounded size (link type USER0, one frame a packet) that
 * `farside decode` and other tools read. What stands in it: SECURITY.md.
 */
#ifndef FARSIDE_NETPROXY_CAPTURE_H
#define FARSIDE_NETPROXY_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/error.h"

#define FAR_PCAPNG_SECTION   0x0a0d0d0au
#define FAR_PCAPNG_ORDER     0x1a2b3c4du
#define FAR_PCAPNG_INTERFACE 1u
#define FAR_PCAPNG_PACKET    6u
#define FAR_PCAPNG_LINK_TYPE 147 /* USER0 */

#define FAR_CAPTURE_BYTES     (16u << 20) /* unless told otherwise */
#define FAR_CAPTURE_BYTES_MAX (1u << 30)

struct far_capture {
    int fd; /* -1: none */
    uint64_t left_bytes;
    uint64_t frames, missed; /* missed: no room was left, or a write failed */
};

/* Takes fd over, also if it fails: an empty regular file, open for writing.
 * max_bytes 0: FAR_CAPTURE_BYTES. platform: of the link's other end. 0 or a
 * negative errno with error. */
int far_capture_begin(struct far_capture *capture, int fd, uint64_t max_bytes,
                      const char *platform, struct far_error *error);
void far_capture_end(struct far_capture *capture); /* idempotent */
/* One whole frame. When the file is full the capture ends. */
void far_capture_frame(struct far_capture *capture, bool out,
                       const uint8_t *data, size_t bytes);

#endif
