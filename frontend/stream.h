/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A farstream from the guest's side (docs/STREAM.md): the shared pages of a
 * vchan whose other side is the backend, and how they come to be there. What is
 * read and written in them is vchan.c's.
 */
#ifndef FARSIDE_FRONTEND_STREAM_H
#define FARSIDE_FRONTEND_STREAM_H

#include <libxenvchan.h>
#include "frontend/own.h"

struct far_front_stream {
    struct far_front_own own;
    bool server;
    unsigned left_order, right_order;
    bool connected;
    bool over;   /* it was connected, and will not be again */
    bool closed; /* `own` is closed */
    int error;   /* why it is over before it was connected; 0: it isn't */
    /* Where the page and the rings are: in shared pages while connected, then
     * copies, so that what came can still be read. */
    struct vchan_interface *page;
    uint8_t *left, *right;
    uint8_t *copy;
};

/* The stream that this guest's configuration calls path, with rings of at least
 * so many bytes each; turns the loop until its backend has it, or for at most
 * timeout_us. NULL and errno: ENOENT: no stream is called so, ENOMEM, E2BIG
 * (over 1 MiB), ETIMEDOUT … */
struct far_front_stream *far_front_stream_open(unsigned domid, const char *path,
                                               bool server, size_t left_min,
                                               size_t right_min,
                                               uint64_t timeout_us);
/* Waits for an event, or for the end; page and rings may have moved then. 0 or
 * a negative errno. */
int far_front_stream_turn(struct far_front_stream *stream, uint64_t timeout_us);
int far_front_stream_fd(struct far_front_stream *stream);
void far_front_stream_notify(struct far_front_stream *stream);
void far_front_stream_close(struct far_front_stream *stream);

#endif
