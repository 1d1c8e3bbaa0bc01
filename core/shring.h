/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Our own ring: ops between two processes that don't trust each other, one
 * producer and one consumer, in a page of shared memory. Each side keeps its
 * own index in private memory, reads the other's once, and takes a wrong one
 * as the end of the ring (-EPROTO, for good). Entries are copied out once.
 */
#ifndef FARSIDE_CORE_SHRING_H
#define FARSIDE_CORE_SHRING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdbool.h>
#include "core/op.h"

#define FAR_SHRING_ENTRIES_MAX 4096

/* In shared memory. Indexes run free; entries is a power of two and stands in
 * each side's private part, not here. */
struct far_shring_page {
    /* written by the producer */
    _Alignas(64) _Atomic uint32_t produced;
    _Atomic uint32_t producer_cpu; /* where it last ran, +1; 0: it sleeps */
    _Atomic uint32_t timed;        /* index of the last timed op, and when it */
    _Atomic uint64_t timed_ns;     /* was put; both clocks are this machine's */
    /* written by the consumer */
    _Alignas(64) _Atomic uint32_t consumed;
    _Atomic uint32_t wake_at; /* "wake me when produced passes this" */
    _Atomic uint32_t consumer_cpu;
    _Atomic uint32_t waited;    /* index of the last timed op that was taken, */
    _Atomic uint64_t waited_ns; /* and how long it had lain */
    /* written by the producer: "wake me when consumed passes this": a producer
     * that found the ring full */
    _Alignas(64) _Atomic uint32_t room_wake_at;
    _Alignas(64) struct far_op entries[];
};
static_assert(sizeof(struct far_shring_page) == 192, "shared layout");

struct far_shring {
    struct far_shring_page *page;
    uint32_t entries;
    uint32_t mine;     /* private copy of the own index */
    uint32_t theirs;   /* the other's, as last read and found sound */
    uint32_t notified; /* what the last wake-up check covered */
    bool broken;
    uint64_t waited_ns; /* consumer: how long the op that was got last had lain,
                           if it is a timed one; 0: not known */
};

/* 0 if entries is no power of two from 2 to FAR_SHRING_ENTRIES_MAX. */
size_t far_shring_bytes(uint32_t entries);
/* Both start at index 0 in zeroed memory. memory is aligned to 64 bytes and has
 * far_shring_bytes(entries). 0 or -EINVAL. */
int far_shring_init(struct far_shring *ring, void *memory, uint32_t entries);
/* A successor of a dead process takes up the index found there; -EPROTO if the
 * indexes found contradict each other. */
int far_shring_resume(struct far_shring *ring, void *memory, uint32_t entries,
                      bool i_consume);

/* Producer. */
int far_shring_put(struct far_shring *ring, const struct far_op *op);
/* 0, -ENOSPC (asks to be woken), -EPROTO; visible to the consumer at once */
bool far_shring_wake_needed(struct far_shring *ring);
/* once after a batch of puts: must the consumer be woken? */
uint32_t far_shring_room(struct far_shring *ring);
/* entries that can be put now; 0 too if the ring is broken. Does not ask to be
 * woken: only a refused put does. */
void far_shring_producer_sleeps(struct far_shring *ring);
/* before sleeping: a consumer need not spin for us (see peer_elsewhere). The
 * next far_shring_wake_needed() takes it back. */

uint64_t far_shring_waited_ns(const struct far_shring *ring, uint32_t index);
/* how long the timed op with this index (ring->mine before its put) lay in the
 * ring, as the consumer says; 0: it does not */

/* Consumer. */
int far_shring_get(struct far_shring *ring, struct far_op *op);
/* 1: one was copied out, 0: empty, -EPROTO */
bool far_shring_arm(struct far_shring *ring);
/* before sleeping; false: something has come, don't sleep */
void far_shring_disarm(struct far_shring *ring);
bool far_shring_room_wake_needed(struct far_shring *ring);
/* after gets: does the producer wait for room? (True once too often at the
 * beginning, since zeroed memory asks for it.) */
bool far_shring_peer_elsewhere(const struct far_shring *ring, bool i_consume);
/* the peer is known to run, on another processor than this thread's, as far as
 * it says: a lie costs a bounded spin */

#endif
