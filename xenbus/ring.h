/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The two ends of Xen's request ring (xen/io/ring.h), whatever its entries are:
 * as functions, which copy once and judge the other's index, where Xen's macros
 * leave both to their user. Own indexes are kept in private memory; an index of
 * the other side that is impossible ends the ring for good (-EPROTO).
 */
#ifndef FARSIDE_XENBUS_RING_H
#define FARSIDE_XENBUS_RING_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What every ring's page begins with: struct *_sring. */
struct far_ring_page {
    uint32_t req_prod, req_event;
    uint32_t rsp_prod, rsp_event;
    uint8_t pad[48];
    uint8_t entries[];
};

struct far_ring {
    struct far_ring_page *page;
    uint32_t entries, entry_bytes;
    uint32_t req, rsp; /* back: req_cons and rsp_prod; front: req_prod and
                          rsp_cons */
    uint32_t pushed;   /* what the other side has been shown of ours */
    bool broken;
};

/* Entries that fit, rounded down to a power of two, as __RING_SIZE says. */
static inline void far_ring_attach(struct far_ring *ring, void *page,
                                   uint32_t page_bytes, uint32_t entry_bytes)
{
    uint32_t fit =
        (page_bytes - (uint32_t)sizeof(struct far_ring_page)) / entry_bytes;

    *ring = (struct far_ring){ .page = page,
                               .entries = 1u << (31 - __builtin_clz(fit)),
                               .entry_bytes = entry_bytes };
}

/* A front's: the page is made anew. */
static inline void far_ring_front_init(struct far_ring *ring, void *page,
                                       uint32_t page_bytes,
                                       uint32_t entry_bytes)
{
    memset(page, 0, page_bytes);
    far_ring_attach(ring, page, page_bytes, entry_bytes);
    ring->page->req_event = ring->page->rsp_event = 1;
}

static inline void *far_ring_entry(const struct far_ring *ring, uint32_t index)
{
    return ring->page->entries +
           (size_t)(index & (ring->entries - 1)) * ring->entry_bytes;
}

/* Were `to` shown after `from`, does the other side ask for an event? */
static inline bool far_ring_show(uint32_t *prod, const uint32_t *event,
                                 uint32_t from, uint32_t to)
{
    if (from == to)
        return false;
    __atomic_store_n(prod, to, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return to - __atomic_load_n(event, __ATOMIC_RELAXED) < to - from;
}

/* --- back --- */

/* 1: one was copied out, and stays there until far_ring_took(); 0: there is
 * none; -EPROTO. */
static inline int far_ring_request(struct far_ring *ring, void *copy)
{
    uint32_t prod = __atomic_load_n(&ring->page->req_prod, __ATOMIC_ACQUIRE);

    if (ring->broken)
        return -EPROTO;
    if (prod == ring->req)
        return 0;
    if (prod - ring->rsp > ring->entries || prod - ring->req > ring->entries) {
        ring->broken = true;
        return -EPROTO;
    }
    memcpy(copy, far_ring_entry(ring, ring->req), ring->entry_bytes);
    /* the copy counts: nothing is read from there again */
    __asm__ volatile("" ::: "memory");
    return 1;
}

static inline void far_ring_took(struct far_ring *ring)
{
    ring->req++;
}

/* Of a request that was taken: there is room. */
static inline void far_ring_answer(struct far_ring *ring, const void *response)
{
    memcpy(far_ring_entry(ring, ring->rsp), response, ring->entry_bytes);
    ring->rsp++;
}

/* Shows all answers; true: notify. */
static inline bool far_ring_back_push(struct far_ring *ring)
{
    uint32_t from = ring->pushed;

    ring->pushed = ring->rsp;
    return far_ring_show(&ring->page->rsp_prod, &ring->page->rsp_event, from,
                         ring->rsp);
}

/* Asks for an event for the next request; false: there is one already. */
static inline bool far_ring_back_arm(struct far_ring *ring)
{
    __atomic_store_n(&ring->page->req_event, ring->req + 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&ring->page->req_prod, __ATOMIC_ACQUIRE) ==
           ring->req;
}

/* --- front --- */

static inline uint32_t far_ring_room(const struct far_ring *ring)
{
    return ring->entries - (ring->req - ring->rsp);
}

/* Not yet visible; the caller has looked at the room. */
static inline void far_ring_put(struct far_ring *ring, const void *request)
{
    memcpy(far_ring_entry(ring, ring->req), request, ring->entry_bytes);
    ring->req++;
}

static inline bool far_ring_front_push(struct far_ring *ring)
{
    uint32_t from = ring->pushed;

    ring->pushed = ring->req;
    return far_ring_show(&ring->page->req_prod, &ring->page->req_event, from,
                         ring->req);
}

/* 1: one was copied out; 0; -EPROTO. */
static inline int far_ring_response(struct far_ring *ring, void *copy)
{
    uint32_t prod = __atomic_load_n(&ring->page->rsp_prod, __ATOMIC_ACQUIRE);

    if (ring->broken)
        return -EPROTO;
    if (prod == ring->rsp)
        return 0;
    if (prod - ring->rsp > ring->pushed - ring->rsp) {
        ring->broken = true;
        return -EPROTO;
    }
    memcpy(copy, far_ring_entry(ring, ring->rsp), ring->entry_bytes);
    __asm__ volatile("" ::: "memory");
    ring->rsp++;
    return 1;
}

static inline bool far_ring_front_arm(struct far_ring *ring)
{
    __atomic_store_n(&ring->page->rsp_event, ring->rsp + 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&ring->page->rsp_prod, __ATOMIC_ACQUIRE) ==
           ring->rsp;
}

#endif
