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
    uint32_t mine;  /* back: in_prod; front: in_cons */
    uint32_t other; /* last sound value of the other's index */
    bool broken;
    bool polls; /* the extension was negotiated */
};

/* Back. mine: where to go on (0 for a new page; the journal's for an adopted
 * one). */
void far_kbd_back_init(struct far_kbd_ring *ring, void *page, uint32_t mine,
                       bool polls);
/* Free entries, 0..51; -EPROTO if in_cons is ahead of us or too far behind: the
 * ring is broken from then on. */
int far_kbd_back_room(struct far_kbd_ring *ring);
/* Copies one event in (not yet visible); caller has checked the room. */
void far_kbd_back_put(struct far_kbd_ring *ring,
                      const union xenkbd_in_event *event);
/* Makes all puts visible; true if the front must be notified. */
bool far_kbd_back_publish(struct far_kbd_ring *ring);

/* Front. */
void far_kbd_front_init(struct far_kbd_ring *ring, void *page, bool polls);
/* 1: one was copied out; 0: empty; -EPROTO. */
int far_kbd_front_get(struct far_kbd_ring *ring, union xenkbd_in_event *event);
/* Makes the gets visible; true if the back must be notified. */
bool far_kbd_front_publish(struct far_kbd_ring *ring);

#endif
