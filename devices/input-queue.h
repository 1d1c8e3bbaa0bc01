/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A bounded queue of input events for one consumer that may have no room. It
 * coalesces motion, keeps keys and touches in pairs, and never loses a release:
 * each press that is accepted reserves the place of its release. Pure: knows
 * no layer, no clock, no loop. far_input_queue_took() says that the consumer
 * has taken what it was shown; so the queue knows what the consumer believes.
 */
#ifndef FARSIDE_DEVICES_INPUT_QUEUE_H
#define FARSIDE_DEVICES_INPUT_QUEUE_H

#include "devices/device.h"

#define FAR_INPUT_QUEUE_ENTRIES 128u

struct far_input_queue_entry {
    struct far_input_event event;
    uint64_t sequence; /* all up to it are in, merged, or dropped */
};

struct far_input_queue {
    uint32_t head, used, high_water;
    uint32_t keys_tail;       /* how many are in tail */
    struct far_key_set taken; /* keys that the consumer believes down */
    struct far_key_set tail;  /* and what it will believe after the queue */
    struct far_key_set over;  /* releases that found no place: only if taken was
                                 set to more keys than the queue has places */
    uint16_t contacts_taken, contacts_tail;
    bool frame_taken, frame_tail; /* touches without their SYN yet */
    bool over_any;
    struct far_input_queue_entry spare; /* for over's releases */
    /* Where the pointer is by a position that was too old to be shown; it goes
     * before the next event that is not, so that no click misses. */
    struct far_input_queue_entry place;
    bool place_due, place_shown;
    struct far_input_queue_entry entries[FAR_INPUT_QUEUE_ENTRIES];
};
static_assert(sizeof(struct far_input_queue) <= 8192, "memory per attachment");

enum far_input_put {
    FAR_INPUT_QUEUED,
    FAR_INPUT_MERGED,    /* into one that waits */
    FAR_INPUT_REPEATED,  /* press of a key that is down, or the like: dropped */
    FAR_INPUT_NO_PLACE,  /* not taken; a press: its release will be dropped */
    FAR_INPUT_NOT_VALID, /* dropped: no such key, contact, type */
};

void far_input_queue_init(struct far_input_queue *queue);
/* Forgets all; the consumer believes these keys down (NULL: none). */
void far_input_queue_reset(struct far_input_queue *queue,
                           const struct far_key_set *taken);
/* Sequence goes to the event, or, if it was merged or dropped, to the last that
 * waits: all up to it will be settled then. If none waits, it is the caller's
 * to remember. */
enum far_input_put far_input_queue_put(struct far_input_queue *queue,
                                       const struct far_input_event *event,
                                       uint64_t sequence);
/* The next one for the consumer, or NULL. Drops on the way what the consumer
 * need not see: older than stale_us (UINT64_MAX: off) at now_us, and what
 * belongs to a dropped press; never the release of what it believes down.
 * *stale counts the first kind, *dropped the second; *settled is raised to the
 * sequence of what was dropped. Of positions that are too old the last comes
 * with the next event that is shown. */
struct far_input_queue_entry *
far_input_queue_peek(struct far_input_queue *queue, uint64_t now_us,
                     uint64_t stale_us, uint64_t *stale, uint64_t *dropped,
                     uint64_t *settled);
/* The consumer has taken what peek returned. */
void far_input_queue_took(struct far_input_queue *queue);
/* Queues that position without waiting for the next event, if there is one. */
bool far_input_queue_point(struct far_input_queue *queue, uint64_t now_us,
                           uint64_t sequence);
/* Queues a made release for each key that will be down but is not in keep
 * (NULL: none is). Number of them. */
unsigned far_input_queue_release(struct far_input_queue *queue,
                                 const struct far_key_set *keep,
                                 uint64_t now_us, uint64_t sequence);
/* The same for touches: lifts all. */
unsigned far_input_queue_lift(struct far_input_queue *queue, uint64_t now_us,
                              uint64_t sequence);
/* Entries that wait no longer count for acks: their sequences are of an
 * incarnation that ended. */
void far_input_queue_forget_sequences(struct far_input_queue *queue);

static inline bool far_key_get(const struct far_key_set *set, unsigned key)
{
    return set->bits[key / 64] >> (key % 64) & 1;
}

static inline void far_key_put(struct far_key_set *set, unsigned key, bool down)
{
    uint64_t bit = (uint64_t)1 << (key % 64);

    if (down)
        set->bits[key / 64] |= bit;
    else
        set->bits[key / 64] &= ~bit;
}

bool far_key_set_empty(const struct far_key_set *set);

#endif
