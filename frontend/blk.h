/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * blkif's frontend (xen/io/blkif.h): a disk from the guest's side, with all
 * that the protocol has: several rings, rings of several pages, indirect
 * segments, pages that stay granted, flush, barrier, discard, a size that
 * changes. One thread, in a loop. Data lie in pages that the frontend grants,
 * a region for each request: whoever uses it works in them, and nothing is
 * copied here.
 *
 * A backend that goes away and comes back gets all open requests again; nobody
 * but the latency tells of it.
 */
#ifndef FARSIDE_FRONTEND_BLK_H
#define FARSIDE_FRONTEND_BLK_H

#include <stdbool.h>
#include <stdint.h>
#include "core/loop.h"
#include "xenbus/xs.h"

#define FAR_BLK_SLOTS_MAX    256u
#define FAR_BLK_SEGMENTS_MAX 256u
#define FAR_BLK_QUEUES_MAX   8u

struct far_blk;

struct far_blk_options {
    unsigned queues;     /* at most; 0: 1 */
    unsigned ring_order; /* at most, of pages a ring */
    unsigned slots;      /* requests at once; 0: as many as one page's ring
                            has */
    unsigned segments;   /* pages of one request; 0: 11, what needs no
                            indirect page */
    bool persistent;     /* say that pages stay granted (they do anyway) */
    bool abi_32;         /* requests as a 32-bit guest lays them out */
};

enum far_blk_state { FAR_BLK_WAITS, FAR_BLK_CONNECTED, FAR_BLK_GONE };

struct far_blk_hooks {
    /* why: for a person, may be NULL. The size may have changed. */
    void (*state)(void *arg, enum far_blk_state state, const char *why);
    /* A request is over: BLKIF_RSP_*. Its slot is free again afterwards; its
     * memory holds what was read until it is taken again. */
    void (*done)(void *arg, unsigned slot, int16_t status);
};

/* What the backend says that the disk is. */
struct far_blk_info {
    uint64_t sectors; /* of 512 bytes */
    uint32_t sector_bytes, physical_bytes;
    bool cdrom, removable, read_only;
    bool flush, barrier, discard, secure_discard, persistent;
    unsigned segments; /* of one request of ours */
    unsigned queues, ring_pages;
};

/* xs and loop are the caller's and outlive it. NULL and errno. */
struct far_blk *far_blk_open(struct far_loop *loop, struct far_xs *xs,
                             unsigned devid,
                             const struct far_blk_options *options,
                             const struct far_blk_hooks *hooks, void *arg);
/* Lets go: state 6, grants ended. Not from within a hook. */
void far_blk_close(struct far_blk *blk);
/* Asks to close as an unmount does (state 5, then 6): for block-detach. */
void far_blk_leave(struct far_blk *blk);
const struct far_blk_info *far_blk_info(const struct far_blk *blk);

/* A free slot, or -1. It is the caller's until done(). */
int far_blk_take(struct far_blk *blk);
/* Its pages, side by side: info.segments of them, valid while connected. */
void *far_blk_memory(struct far_blk *blk, unsigned slot);
/* op: BLKIF_OP_READ, WRITE, WRITE_BARRIER, FLUSH_DISKCACHE, DISCARD; offset and
 * bytes in bytes, of whole sectors, bytes at most what a slot's memory holds
 * (a discard's: any). secure: of a discard. Sent at the end of this turn. The
 * queue is chosen by the slot. 0 or -EINVAL. */
int far_blk_submit(struct far_blk *blk, unsigned slot, uint8_t op,
                   uint64_t offset, uint64_t bytes, bool secure);
unsigned far_blk_in_flight(const struct far_blk *blk);

struct far_blk_counters {
    uint64_t requests, answers, notifies, wakes, connects, wrong;
};
const struct far_blk_counters *far_blk_counters(const struct far_blk *blk);

/* For hostile tests: a ring's first page, and what its queue is woken by. */
void *far_blk_ring(struct far_blk *blk, unsigned queue);
int far_blk_kick(struct far_blk *blk, unsigned queue);
uint32_t far_blk_gref(const struct far_blk *blk, unsigned slot, unsigned page);

#endif
