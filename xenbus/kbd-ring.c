/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Both ends of kbdif's event ring (xen/io/kbdif.h). Pure memory: no event
 * channel, no grant, no system call. What events mean is the callers'.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "xenbus/kbd-ring.h"

#define LEN ((uint32_t)XENKBD_IN_RING_LEN)

static_assert(XENKBD_IN_RING_LEN == 51, "kbdif.h: 51 events of 40 bytes");
static_assert(sizeof(union xenkbd_in_event) == 40, "kbdif.h: event size");
static_assert(offsetof(struct far_kbd_poll, front_polls_cpu) == 64,
              "the two words stand in cache lines of their own");
static_assert(FAR_KBD_POLL_OFFSET + sizeof(struct far_kbd_poll) <=
                  XENKBD_IN_RING_OFFS,
              "the extension ends before the ring begins");

static struct far_kbd_poll *poll_words(const struct far_kbd_ring *ring)
{
    return (struct far_kbd_poll *)((char *)ring->page + FAR_KBD_POLL_OFFSET);
}

static uint32_t load(const uint32_t *index)
{
    return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

/* An event of a page that the other side may be writing is copied as five
 * words, each of them loaded once. */
typedef uint64_t __attribute__((may_alias)) far_event_word;

static void copy_out(union xenkbd_in_event *to,
                     const union xenkbd_in_event *from)
{
    const far_event_word *source = (const void *)from;
    uint64_t words[sizeof(*to) / sizeof(uint64_t)];

    for (unsigned i = 0; i < sizeof(*to) / sizeof(uint64_t); i++)
        words[i] = __atomic_load_n(source + i, __ATOMIC_RELAXED);
    memcpy(to, words, sizeof(*to));
}

uint32_t far_kbd_page_start(const void *page)
{
    return load(&((const struct xenkbd_page *)page)->in_cons);
}

void far_kbd_back_init(struct far_kbd_ring *ring, void *page, uint32_t mine,
                       bool polls)
{
    ring->page = page;
    ring->mine = mine;
    /* The farthest behind that in_cons may be; the first look decides. */
    ring->other = mine - LEN;
    ring->published = mine;
    ring->broken = false;
    ring->polls = polls;
    __atomic_store_n(&ring->page->in_prod, mine, __ATOMIC_RELEASE);
}

int far_kbd_back_room(struct far_kbd_ring *ring)
{
    uint32_t cons, used, room, to_wrap;

    if (ring->broken)
        return -EPROTO;
    cons = load(&ring->page->in_cons);
    /* Sound are the values from the last sound one up to what is published:
     * the front can't have read what it can't see, nor can it give back. */
    if (cons - ring->other > ring->published - ring->other) {
        ring->broken = true;
        return -EPROTO;
    }
    ring->other = cons;

    used = ring->mine - cons;
    room = LEN - used;
    /* 2^32 is no multiple of 51: the indexes 2^32-1 and 0 share a slot, so
     * that a run of entries must not pass the wrap before the front has. */
    if (!ring->mine)
        return used ? 0 : (int)room;
    to_wrap = 0u - ring->mine;
    return (int)(room < to_wrap ? room : to_wrap);
}

void far_kbd_back_put(struct far_kbd_ring *ring,
                      const union xenkbd_in_event *event)
{
    memcpy(XENKBD_IN_RING(ring->page) + ring->mine % LEN, event,
           sizeof(*event));
    ring->mine++;
}

bool far_kbd_back_publish(struct far_kbd_ring *ring)
{
    if (ring->published == ring->mine)
        return false;
    ring->published = ring->mine;
    __atomic_store_n(&ring->page->in_prod, ring->mine, __ATOMIC_RELEASE);
    if (!ring->polls)
        return true;
    /* Our index first, then its word; far_kbd_front_arm() does it the other
     * way round: one of the two sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&poll_words(ring)->front_polls_cpu,
                                memory_order_relaxed) == 0;
}

bool far_kbd_back_arm(struct far_kbd_ring *ring)
{
    if (!ring->polls || ring->broken)
        return true;
    atomic_store_explicit(&poll_words(ring)->back_polls_cpu, 0,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return load(&ring->page->in_cons) == ring->other;
}

void far_kbd_back_disarm(struct far_kbd_ring *ring, unsigned cpu)
{
    if (ring->polls && !ring->broken)
        atomic_store_explicit(&poll_words(ring)->back_polls_cpu, cpu + 1,
                              memory_order_relaxed);
}

int far_kbd_back_peer_cpu(const struct far_kbd_ring *ring)
{
    uint32_t word;

    if (!ring->polls || ring->broken)
        return -1;
    word = atomic_load_explicit(&poll_words(ring)->front_polls_cpu,
                                memory_order_relaxed);
    return word && word <= FAR_KBD_CPU_MAX ? (int)(word - 1) : -1;
}

bool far_kbd_back_moved(const struct far_kbd_ring *ring)
{
    return !ring->broken && load(&ring->page->in_cons) != ring->other;
}

void far_kbd_front_init(struct far_kbd_ring *ring, void *page, bool polls)
{
    ring->page = page;
    ring->mine = far_kbd_page_start(page);
    ring->other = ring->mine;
    ring->published = ring->mine;
    ring->broken = false;
    ring->polls = polls;
}

int far_kbd_front_get(struct far_kbd_ring *ring, union xenkbd_in_event *event)
{
    if (ring->broken)
        return -EPROTO;
    if (ring->mine == ring->other) {
        uint32_t prod = load(&ring->page->in_prod);

        if (prod - ring->mine > LEN) {
            ring->broken = true;
            return -EPROTO;
        }
        if (prod == ring->mine)
            return 0;
        ring->other = prod;
    }
    copy_out(event, XENKBD_IN_RING(ring->page) + ring->mine % LEN);
    ring->mine++;
    return 1;
}

bool far_kbd_front_publish(struct far_kbd_ring *ring)
{
    if (ring->published == ring->mine)
        return false;
    ring->published = ring->mine;
    __atomic_store_n(&ring->page->in_cons, ring->mine, __ATOMIC_RELEASE);
    if (!ring->polls)
        return true;
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&poll_words(ring)->back_polls_cpu,
                                memory_order_relaxed) == 0;
}

bool far_kbd_front_arm(struct far_kbd_ring *ring)
{
    if (!ring->polls || ring->broken)
        return true;
    atomic_store_explicit(&poll_words(ring)->front_polls_cpu, 0,
                          memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return ring->mine == ring->other &&
           load(&ring->page->in_prod) == ring->mine;
}

void far_kbd_front_disarm(struct far_kbd_ring *ring, unsigned cpu)
{
    if (ring->polls && !ring->broken)
        atomic_store_explicit(&poll_words(ring)->front_polls_cpu, cpu + 1,
                              memory_order_relaxed);
}

int far_kbd_front_peer_cpu(const struct far_kbd_ring *ring)
{
    uint32_t word;

    if (!ring->polls || ring->broken)
        return -1;
    word = atomic_load_explicit(&poll_words(ring)->back_polls_cpu,
                                memory_order_relaxed);
    return word && word <= FAR_KBD_CPU_MAX ? (int)(word - 1) : -1;
}

void far_kbd_front_forget_peer(struct far_kbd_ring *ring)
{
    if (ring->polls && !ring->broken)
        atomic_store_explicit(&poll_words(ring)->back_polls_cpu, 0,
                              memory_order_relaxed);
}
