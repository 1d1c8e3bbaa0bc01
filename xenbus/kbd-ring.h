/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The two ends of kbdif's event ring (xen/io/kbdif.h: struct xenkbd_page): 51
 * events of 40 bytes, free-running indexes modulo 51. Own indexes are kept in
 * private memory; the other's is read once and checked.
 *
 * Farside's own extension, negotiated by feature-poll and request-poll: in the
 * unused bytes of the page from offset 64 on, two words in which each side
 * says on which processor it runs while it looks at the page by itself and
 * needs no event.
 */
#ifndef FARSIDE_XENBUS_KBD_RING_H
#define FARSIDE_XENBUS_KBD_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/io/kbdif.h>

struct far_kbd_poll {                /* at offset 64 of the page */
    _Atomic uint32_t back_polls_cpu; /* processor + 1; 0: notify me */
    uint32_t pad0[15];
    _Atomic uint32_t front_polls_cpu; /* at offset 128 */
};
#define FAR_KBD_POLL_OFFSET 64

struct far_kbd_ring {
    struct xenkbd_page *page;
    uint32_t mine;      /* back: in_prod; front: in_cons */
    uint32_t other;     /* last sound value of the other's index */
    uint32_t published; /* what the other side has been shown of mine */
    bool broken;
    bool polls; /* the extension was negotiated */
};

/* Where a back goes on that knows nothing of the page: the front's in_cons, as
 * it stands (0 in a new page). Linux' front goes on with the same page, and
 * does not clear it, when a backend has closed and comes again. */
uint32_t far_kbd_page_start(const void *page);

/* Back. mine: where to go on (far_kbd_page_start() for a new connection; the
 * journal's for an adopted one). Writes in_prod. */
void far_kbd_back_init(struct far_kbd_ring *ring, void *page, uint32_t mine,
                       bool polls);
/* Free entries, 0..51; -EPROTO if in_cons is ahead of us, too far behind, or
 * has gone back: the ring is broken from then on. Fewer than are free just
 * before the indexes wrap at 2^32, which is no multiple of 51. */
int far_kbd_back_room(struct far_kbd_ring *ring);
/* Copies one event in (not yet visible); caller has checked the room. */
void far_kbd_back_put(struct far_kbd_ring *ring,
                      const union xenkbd_in_event *event);
/* Makes all puts visible; true if the front must be notified (there was
 * something, and the front does not look by itself). */
bool far_kbd_back_publish(struct far_kbd_ring *ring);
/* Has in_cons moved since far_kbd_back_room()? For a poller: one load. */
bool far_kbd_back_moved(const struct far_kbd_ring *ring);
/* For a far_poller's members; no effect, true and -1 where the extension was
 * not negotiated. arm: from now on notify me; false: something has moved
 * meanwhile, don't sleep. disarm: I look by myself, on this processor.
 * peer_cpu: the processor on which the front says that it looks, or -1. */
#define FAR_KBD_CPU_MAX 65536u
bool far_kbd_back_arm(struct far_kbd_ring *ring);
void far_kbd_back_disarm(struct far_kbd_ring *ring, unsigned cpu);
int far_kbd_back_peer_cpu(const struct far_kbd_ring *ring);

/* Front. */
void far_kbd_front_init(struct far_kbd_ring *ring, void *page, bool polls);
/* 1: one was copied out; 0: empty; -EPROTO. */
int far_kbd_front_get(struct far_kbd_ring *ring, union xenkbd_in_event *event);
/* Makes the gets visible; true if the back must be notified. */
bool far_kbd_front_publish(struct far_kbd_ring *ring);
bool far_kbd_front_arm(struct far_kbd_ring *ring);
void far_kbd_front_disarm(struct far_kbd_ring *ring, unsigned cpu);
int far_kbd_front_peer_cpu(const struct far_kbd_ring *ring);
/* Another backend takes the page up: the former one's word is void. */
void far_kbd_front_forget_peer(struct far_kbd_ring *ring);

#endif
