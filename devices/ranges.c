/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See ranges.h.
 */
#include "devices/ranges.h"

#include <stddef.h>

void far_range_begin(struct far_ranges *ranges, struct far_range *range,
                     uint64_t from, uint64_t to, bool writes)
{
    far_range_end(range);
    *range = (struct far_range){
        .from = from, .to = to, .busy = true, .writes = writes
    };
    for (struct far_range *r = ranges->first; r; r = r->next) {
        if (r->from >= to || from >= r->to)
            continue;
        r->crossed |= writes;
        range->crossed |= r->writes;
    }
    range->next = ranges->first;
    range->prev = &ranges->first;
    if (range->next)
        range->next->prev = &range->next;
    ranges->first = range;
}

void far_range_end(struct far_range *range)
{
    if (!range->busy)
        return;
    range->busy = false;
    *range->prev = range->next;
    if (range->next)
        range->next->prev = range->prev;
}
