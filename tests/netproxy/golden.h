/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The frames of tests/netproxy/golden (make-golden.c).
 */
#ifndef FARSIDE_TESTS_NETPROXY_GOLDEN_H
#define FARSIDE_TESTS_NETPROXY_GOLDEN_H

#include "netproxy/wire.h"

struct golden {
    const char *name; /* of its file, without .bin; NULL ends the table */
    uint8_t type;
    size_t (*make)(uint8_t *out, size_t room);
};
extern const struct golden golden_frames[];

#endif
