/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A byte queue in one piece of memory: grows by doubling up to its bound, is
 * read at the front and written at the end. Nothing else lives here.
 */
#ifndef FARSIDE_NETPROXY_BUF_H
#define FARSIDE_NETPROXY_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct far_buf {
    uint8_t *data;
    size_t start, end, room, max_bytes;
};

static inline void far_buf_init(struct far_buf *b, size_t max_bytes)
{
    memset(b, 0, sizeof(*b));
    b->max_bytes = max_bytes;
}

/* What people typed went through it. */
static inline void far_buf_free(struct far_buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->room);
    free(b->data);
    b->data = NULL;
    b->start = b->end = b->room = 0;
}

static inline size_t far_buf_used(const struct far_buf *b)
{
    return b->end - b->start;
}

static inline uint8_t *far_buf_at(const struct far_buf *b)
{
    return b->data + b->start;
}

/* Room for that many more bytes at the end, or NULL: the bound is reached, or
 * memory is out. */
static inline uint8_t *far_buf_reserve(struct far_buf *b, size_t bytes)
{
    size_t used = far_buf_used(b);

    if (b->room - b->end >= bytes && b->data)
        return b->data + b->end;
    if (used + bytes > b->max_bytes)
        return NULL;
    if (b->start) {
        memmove(b->data, b->data + b->start, used);
        b->start = 0;
        b->end = used;
    }
    if (b->room < used + bytes) {
        size_t room = b->room ? b->room : 4096;
        uint8_t *data;

        while (room < used + bytes)
            room *= 2;
        if (room > b->max_bytes)
            room = b->max_bytes;
        /* Not realloc(), which leaves what it holds in what it gives back. */
        data = malloc(room);
        if (!data)
            return NULL;
        if (used)
            memcpy(data, b->data, used);
        far_buf_free(b);
        b->data = data;
        b->end = used;
        b->room = room;
    }
    return b->data + b->end;
}

static inline void far_buf_commit(struct far_buf *b, size_t bytes)
{
    b->end += bytes;
}

static inline void far_buf_consume(struct far_buf *b, size_t bytes)
{
    b->start += bytes;
    if (b->start == b->end)
        b->start = b->end = 0;
}

/* Gives back the memory of one that is empty. */
static inline void far_buf_relax(struct far_buf *b)
{
    if (b->data && b->start == b->end)
        far_buf_free(b);
}

#endif
