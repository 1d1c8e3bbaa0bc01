/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copies of what a disk's guest has written, was told so, and has not flushed.
 * The device may be on another machine, whose power fails while the guest lives
 * on: its incarnation is another one then, and the copies are written again, in
 * their order, before it gets anything else. A layer between the vbd port and
 * the device; the copies lie in a file in memory that outlives this process.
 *
 *   - Every op names the device's incarnation (core/block.h). One that an owner
 *     finds meant for another, or that was answered by one that is gone, waits
 *     here and is given again after the copies: none reads or is flushed there
 *     without them.
 *   - Copies lie in two halves of 32 MiB. A flush that is given closes the half
 *     that is being filled, and empties it when it is done; where none is given
 *     for long, one of our own is. What finds no room waits.
 *   - Whoever had the disk before may have been answered writes that it had not
 *     flushed, on another platform perhaps, and its copies are no more: so the
 *     first op that a device gets is a flush of our own.
 *   - Where the copies can't be written again, or the device never keeps
 *     anything (memory) and began anew, every op fails: better no disk than
 *     one that has forgotten.
 */
#ifndef FARSIDE_BACKEND_KEPT_H
#define FARSIDE_BACKEND_KEPT_H

#include "devices/device.h"

/* Slots that are this layer's own: those above give only lower ones. */
#define FAR_KEPT_SLOTS      4u
#define FAR_KEPT_FIRST_SLOT (FAR_OP_SLOTS_MAX - FAR_KEPT_SLOTS)

/* Copies are kept of a device that says FAR_BLOCK_LOSES: its power is not the
 * guest's. NULL: memory is out. To be stacked on the device's layer. */
struct far_layer *far_kept_new(struct far_loop *loop, struct far_log *log,
                               const char *device);
/* Before the first op. fd: of a file in memory, taken (also when it fails);
 * adopt: what a predecessor left there counts. 0 or a negative errno: -ENOSPC
 * (there is no memory for copies), -EILSEQ (it is damaged). */
int far_kept_begin(struct far_layer *layer, int fd, bool adopt);

/* What is kept is made durable now, if the device is there: for a guest that is
 * saved, or moves. */
void far_kept_flush(struct far_layer *layer);
/* The same for one that lets go, and which gives no new op: true if nothing is
 * kept (or all has failed). Else room() is called when that has come, and
 * flushes go out until then, also after the device was gone. */
bool far_kept_drain(struct far_layer *layer);

struct far_kept_counters {
    uint64_t kept_bytes;    /* now */
    uint64_t written_again; /* copies, after another incarnation */
    uint64_t own_flushes;   /* for want of room, or at the end */
    uint64_t given_again;   /* ops that were meant for a former incarnation */
    uint64_t incarnations;  /* of the device, after the first */
};
void far_kept_counters(const struct far_layer *layer,
                       struct far_kept_counters *counters);
/* Why every op fails, or NULL. */
const char *far_kept_failed(const struct far_layer *layer);

#endif
