/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest may write into a stream's control page (docs/STREAM.md; its
 * layout is struct vchan_interface of xen/io/libxenvchan.h), judged: where the
 * two rings lie, and how far their indexes are apart. Pure.
 */
#ifndef FARSIDE_BACKEND_PORT_STREAM_CHECKS_H
#define FARSIDE_BACKEND_PORT_STREAM_CHECKS_H

#include <stdint.h>
#include "core/error.h"

#define FAR_STREAM_RING_PAGES_MAX 256u

/* Where one ring lies. */
struct far_stream_place {
    uint32_t bytes;        /* a power of two */
    uint32_t offset;       /* in the control page; 0: it has pages of its own */
    uint32_t first, pages; /* of the grants in the page */
};

/* page: a copy of the control page. -EINVAL with error. */
int far_stream_places(const void *page, struct far_stream_place *left,
                      struct far_stream_place *right, struct far_error *error);

/* Bytes between two indexes; UINT32_MAX: more than the ring has. */
uint32_t far_stream_between(uint32_t from, uint32_t to, uint32_t ring_bytes);

#endif
