/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A frame of the wire as a person reads it: every field by its name, in the
 * order of docs/PROTOCOL.md. For captures; not on the data path.
 */
#ifndef FARSIDE_NETPROXY_DESCRIBE_H
#define FARSIDE_NETPROXY_DESCRIBE_H

#include <jansson.h>
#include <stdint.h>

/* Takes a frame (bytes as its header says, at least FAR_WIRE_HEADER_BYTES) for
 * {"type": "op", "bytes": 96, …}: the header's fields, the body's, then
 * "payload" and "options". What is not known is told by number and in
 * hexadecimal digits; what breaks the protocol is in "wrong", in words. At most
 * payload_max bytes of a payload are shown. The caller's to decref; NULL if
 * memory is out. Pure. */
json_t *far_wire_describe(const uint8_t *data, size_t bytes,
                          size_t payload_max);

#endif
