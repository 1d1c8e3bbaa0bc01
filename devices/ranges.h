/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which ops on a disk are under way where: for filters that remember contents.
 * What was read, or is written, while something else was written to the same
 * place, says nothing of what is there afterwards.
 */
#ifndef FARSIDE_DEVICES_RANGES_H
#define FARSIDE_DEVICES_RANGES_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded for each op that is under way, zeroed before its first use. */
struct far_range {
    uint64_t from, to; /* bytes of the disk */
    bool busy, writes;
    bool crossed; /* a write of the same place was under way meanwhile */
    struct far_range *next, **prev;
};

struct far_ranges {
    struct far_range *first;
};

void far_range_begin(struct far_ranges *ranges, struct far_range *range,
                     uint64_t from, uint64_t to, bool writes);
void far_range_end(struct far_range *range); /* idempotent */

#endif
