/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-stream-checks.h.
 */
#include "backend/port-stream-checks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <xen/io/libxenvchan.h>

#define PAGE_SHIFT  12u
#define SMALL_SHIFT 10u /* a ring at byte 1024 of the control page */
#define LARGE_SHIFT 11u /* at byte 2048 */
#define MOST_SHIFT  20u

static int place(struct far_stream_place *place, uint16_t order,
                 uint32_t *grants, struct far_error *error)
{
    if (order < SMALL_SHIFT || order > MOST_SHIFT)
        return far_error(error, -EINVAL,
                         "the guest's ring is of order %u, not 10 to 20",
                         order);
    *place = (struct far_stream_place){ .bytes = 1u << order };
    if (order < PAGE_SHIFT) {
        place->offset = place->bytes;
        return 0;
    }
    place->first = *grants;
    place->pages = 1u << (order - PAGE_SHIFT);
    *grants += place->pages;
    return 0;
}

int far_stream_places(const void *page, struct far_stream_place *left,
                      struct far_stream_place *right, struct far_error *error)
{
    uint32_t grants = 0, room = 4096;
    uint16_t orders[2];
    int r;

    memcpy(orders,
           (const char *)page + offsetof(struct vchan_interface, left_order),
           sizeof(orders));
    r = place(left, orders[0], &grants, error);
    if (!r)
        r = place(right, orders[1], &grants, error);
    if (r)
        return r;
    if (left->offset && left->offset == right->offset)
        return far_error(error, -EINVAL,
                         "the guest's rings lie in the same place");
    if (left->offset)
        room = left->offset;
    if (right->offset && right->offset < room)
        room = right->offset;
    if (offsetof(struct vchan_interface, grants) + grants * 4 > room)
        return far_error(error, -EINVAL,
                         "the guest's grants lie where its ring is");
    return 0;
}

uint32_t far_stream_between(uint32_t from, uint32_t to, uint32_t ring_bytes)
{
    return to - from <= ring_bytes ? to - from : UINT32_MAX;
}
