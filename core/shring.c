/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The ring between two processes that don't trust each other. The peer's index
 * is read once, compared with what was known before, and a wrong one breaks the
 * ring for good; every entry is copied out once.
 */
#include "core/shring.h"
#include "core/clock.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* An index that will not be passed for the next 2^31 entries. */
#define FAR_AWAY 0x80000000u
/* Nothing lies that long. */
#define FAR_TIMED_MAX_NS 60000000000u

size_t far_shring_bytes(uint32_t entries)
{
    if (entries < 2 || entries > FAR_SHRING_ENTRIES_MAX ||
        (entries & (entries - 1)) != 0)
        return 0;
    return sizeof(struct far_shring_page) + entries * sizeof(struct far_op);
}

int far_shring_init(struct far_shring *ring, void *memory, uint32_t entries)
{
    if (far_shring_bytes(entries) == 0 || ((uintptr_t)memory & 63) != 0)
        return -EINVAL;
    *ring = (struct far_shring){ .page = memory, .entries = entries };
    return 0;
}

int far_shring_resume(struct far_shring *ring, void *memory, uint32_t entries,
                      bool i_consume)
{
    uint32_t produced, consumed;
    int rc = far_shring_init(ring, memory, entries);

    if (rc < 0)
        return rc;
    produced =
        atomic_load_explicit(&ring->page->produced, memory_order_acquire);
    consumed =
        atomic_load_explicit(&ring->page->consumed, memory_order_acquire);
    if (produced - consumed > entries) {
        ring->broken = true;
        return -EPROTO;
    }
    ring->mine = i_consume ? consumed : produced;
    ring->theirs = i_consume ? produced : consumed;
    /* Nobody knows what the dead process had told: tell it again. */
    ring->notified = i_consume ? consumed - entries : produced - entries;
    return 0;
}

static uint32_t this_cpu(void)
{
    return (uint32_t)sched_getcpu() + 1;
}

/* The consumer's index moves from what was known towards ours, never back. */
static bool refresh_consumed(struct far_shring *ring)
{
    uint32_t now =
        atomic_load_explicit(&ring->page->consumed, memory_order_acquire);

    if (ring->mine - now > ring->mine - ring->theirs) {
        ring->broken = true;
        return false;
    }
    ring->theirs = now;
    return true;
}

int far_shring_put(struct far_shring *ring, const struct far_op *op)
{
    struct far_shring_page *page = ring->page;

    if (ring->broken)
        return -EPROTO;
    if (ring->mine - ring->theirs == ring->entries) {
        if (!refresh_consumed(ring))
            return -EPROTO;
        if (ring->mine - ring->theirs == ring->entries) {
            /* Ask, then look again: the consumer may have moved between, and
             * then it has not seen that we wait. */
            atomic_store_explicit(&page->room_wake_at, ring->theirs,
                                  memory_order_relaxed);
            atomic_thread_fence(memory_order_seq_cst);
            if (!refresh_consumed(ring))
                return -EPROTO;
            if (ring->mine - ring->theirs == ring->entries)
                return -ENOSPC;
        }
    }
    memcpy(&page->entries[ring->mine & (ring->entries - 1)], op, sizeof(*op));
    if (__builtin_expect(op->flags & FAR_OP_TIMED, 0)) {
        atomic_store_explicit(&page->timed, ring->mine, memory_order_relaxed);
        atomic_store_explicit(&page->timed_ns, far_now_ns(),
                              memory_order_relaxed);
    }
    ring->mine++;
    /* The entry is there before the index that covers it. */
    atomic_store_explicit(&page->produced, ring->mine, memory_order_release);
    return 0;
}

/* Did the index pass `at` since the last check? */
static bool passed(const struct far_shring *ring, uint32_t at)
{
    return ring->mine - 1 - at < ring->mine - ring->notified;
}

bool far_shring_wake_needed(struct far_shring *ring)
{
    bool needed;

    if (ring->broken)
        return false;
    atomic_store_explicit(&ring->page->producer_cpu, this_cpu(),
                          memory_order_relaxed);
    /* The index is out before wake_at is read: pairs with far_shring_arm(),
     * where wake_at is out before the index is read. One of the two sees. */
    atomic_thread_fence(memory_order_seq_cst);
    needed = passed(
        ring, atomic_load_explicit(&ring->page->wake_at, memory_order_relaxed));
    ring->notified = ring->mine;
    return needed;
}

uint32_t far_shring_room(struct far_shring *ring)
{
    if (ring->broken || !refresh_consumed(ring))
        return 0;
    return ring->entries - (ring->mine - ring->theirs);
}

void far_shring_producer_sleeps(struct far_shring *ring)
{
    atomic_store_explicit(&ring->page->producer_cpu, 0, memory_order_relaxed);
}

/* Figures for people, from memory that the other side writes, too: a wild one
 * is not believed, and nothing hangs on the others. */
static void note_waited(struct far_shring *ring)
{
    struct far_shring_page *page = ring->page;
    uint64_t now_ns = far_now_ns(), then_ns;

    if (atomic_load_explicit(&page->timed, memory_order_relaxed) != ring->mine)
        return; /* a later one was timed meanwhile */
    then_ns = atomic_load_explicit(&page->timed_ns, memory_order_relaxed);
    if (then_ns > now_ns || now_ns - then_ns > FAR_TIMED_MAX_NS)
        return;
    ring->waited_ns = now_ns - then_ns + (now_ns == then_ns);
    atomic_store_explicit(&page->waited_ns, ring->waited_ns,
                          memory_order_relaxed);
    atomic_store_explicit(&page->waited, ring->mine, memory_order_relaxed);
}

int far_shring_get(struct far_shring *ring, struct far_op *op)
{
    struct far_shring_page *page = ring->page;

    if (ring->broken)
        return -EPROTO;
    if (ring->theirs == ring->mine) {
        uint32_t now =
            atomic_load_explicit(&page->produced, memory_order_acquire);

        if (now == ring->mine)
            return 0;
        if (now - ring->mine > ring->entries) {
            ring->broken = true;
            return -EPROTO;
        }
        ring->theirs = now;
    }
    memcpy(op, &page->entries[ring->mine & (ring->entries - 1)], sizeof(*op));
    /* From here on only the copy counts: nothing may be read again. */
    atomic_signal_fence(memory_order_seq_cst);
    __asm__ volatile("" ::: "memory");
    ring->waited_ns = 0;
    if (__builtin_expect(op->flags & FAR_OP_TIMED, 0))
        note_waited(ring);
    ring->mine++;
    atomic_store_explicit(&page->consumed, ring->mine, memory_order_release);
    return 1;
}

uint64_t far_shring_waited_ns(const struct far_shring *ring, uint32_t index)
{
    const struct far_shring_page *page = ring->page;

    uint64_t ns = atomic_load_explicit(&page->waited_ns, memory_order_relaxed);

    if (atomic_load_explicit(&page->waited, memory_order_relaxed) != index ||
        ns > FAR_TIMED_MAX_NS)
        return 0;
    return ns;
}

bool far_shring_arm(struct far_shring *ring)
{
    struct far_shring_page *page = ring->page;

    if (ring->broken)
        return true; /* nothing will come */
    atomic_store_explicit(&page->consumer_cpu, 0, memory_order_relaxed);
    atomic_store_explicit(&page->wake_at, ring->mine, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* see wake_needed */
    return atomic_load_explicit(&page->produced, memory_order_relaxed) ==
           ring->mine;
}

void far_shring_disarm(struct far_shring *ring)
{
    if (ring->broken)
        return;
    atomic_store_explicit(&ring->page->wake_at, ring->mine + FAR_AWAY,
                          memory_order_relaxed);
    atomic_store_explicit(&ring->page->consumer_cpu, this_cpu(),
                          memory_order_relaxed);
}

bool far_shring_room_wake_needed(struct far_shring *ring)
{
    bool needed;

    if (ring->broken || ring->mine == ring->notified)
        return false;
    atomic_thread_fence(memory_order_seq_cst); /* see put */
    needed = passed(ring, atomic_load_explicit(&ring->page->room_wake_at,
                                               memory_order_relaxed));
    ring->notified = ring->mine;
    return needed;
}

bool far_shring_peer_elsewhere(const struct far_shring *ring, bool i_consume)
{
    const struct far_shring_page *page = ring->page;
    uint32_t cpu = atomic_load_explicit(i_consume ? &page->producer_cpu
                                                  : &page->consumer_cpu,
                                        memory_order_relaxed);

    return !ring->broken && cpu != 0 && cpu != this_cpu();
}
