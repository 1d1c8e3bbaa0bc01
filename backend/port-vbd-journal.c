/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-vbd-journal.h.
 */
#include "backend/port-vbd-journal.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define EACH_SLOT(journal, s) \
    for ((s) = (journal)->slot; (s) < (journal)->slot + FAR_VBD_SLOTS; (s)++)

static uint64_t sum(uint64_t h, const void *memory, size_t bytes)
{
    const uint8_t *p = memory;
    uint64_t word;

    for (; bytes; p += word, bytes -= word) {
        uint64_t n = bytes < 8 ? bytes : 8;

        word = 0;
        memcpy(&word, p, n);
        h = (h ^ word) * 0x100000001b3u;
        h ^= h >> 29;
        word = n;
    }
    return h;
}

static uint64_t fixed_sum(const struct far_vbd_journal *j)
{
    return sum(0xcbf29ce484222325u, j, offsetof(struct far_vbd_journal, check));
}

static uint64_t slot_sum(const struct far_vbd_slot *s)
{
    uint64_t h = s->op.sequence << 32 ^ s->order << 16 ^ s->queue ^
                 (uint64_t)s->taken_at << 40;

    h = sum(h, &s->op, sizeof(s->op));
    return sum(h, &s->request,
               offsetof(struct far_vbd_request, segment) +
                   s->request.segments % (FAR_VBD_SEGMENTS_MAX + 1) *
                       sizeof(s->request.segment[0]));
}

static uint32_t state_of(const struct far_vbd_slot *s)
{
    return atomic_load_explicit(&s->state, memory_order_acquire);
}

void far_vbd_journal_begin(struct far_vbd_journal *j, uint64_t sequence)
{
    struct far_vbd_slot *s;

    j->order = 0;
    memset(j->queue, 0, sizeof(j->queue));
    EACH_SLOT(j, s)
    {
        atomic_store_explicit(&s->state, FAR_VBD_FREE, memory_order_relaxed);
        s->sequence = sequence;
    }
    j->check = fixed_sum(j);
}

uint64_t far_vbd_journal_sequence(const struct far_vbd_journal *j)
{
    const struct far_vbd_slot *s;
    uint64_t highest = 0;

    EACH_SLOT(j, s)
    if (s->sequence > highest)
        highest = s->sequence;
    return highest;
}

void far_vbd_take(struct far_vbd_journal *j, struct far_vbd_slot *s)
{
    s->op.slot = (uint32_t)(s - j->slot);
    s->op.sequence = ++s->sequence;
    s->order = ++j->order;
    s->check = slot_sum(s);
    atomic_store_explicit(&s->state, FAR_VBD_OPEN, memory_order_release);
    atomic_store_explicit(&j->queue[s->queue].consumed, s->taken_at + 1,
                          memory_order_release);
}

void far_vbd_flushed(struct far_vbd_slot *s)
{
    __atomic_store_n(&s->sequence, s->op.sequence + 1, __ATOMIC_RELEASE);
}

bool far_vbd_is_flushed(const struct far_vbd_slot *s)
{
    return s->sequence == s->op.sequence + 1;
}

uint32_t far_vbd_answered(struct far_vbd_journal *j, struct far_vbd_slot *s,
                          int16_t status)
{
    struct far_vbd_queue_journal *q = &j->queue[s->queue];
    uint32_t at = atomic_load_explicit(&q->answered, memory_order_relaxed);

    s->status = status;
    s->answered_at = at;
    atomic_store_explicit(&s->state, FAR_VBD_ANSWERED, memory_order_release);
    atomic_store_explicit(&q->answered, at + 1, memory_order_release);
    return at;
}

void far_vbd_release(struct far_vbd_slot *s)
{
    atomic_store_explicit(&s->state, FAR_VBD_FREE, memory_order_release);
}

static bool slot_sound(const struct far_vbd_journal *j,
                       const struct far_vbd_slot *s)
{
    return s->check == slot_sum(s) && s->op.slot == s - j->slot &&
           (s->op.sequence == s->sequence || far_vbd_is_flushed(s)) &&
           s->queue < j->mode.queues &&
           s->request.segments <= FAR_VBD_SEGMENTS_MAX;
}

/* One queue: moves on what a kill left behind, frees what the guest has seen,
 * counts the answers that it can't have. */
static int recover_queue(struct far_vbd_journal *j, uint32_t queue,
                         uint32_t produced)
{
    struct far_vbd_queue_journal *q = &j->queue[queue];
    struct far_vbd_slot *s;
    uint32_t consumed = q->consumed, answered = q->answered, unseen = 0;

    EACH_SLOT(j, s)
    {
        if (state_of(s) == FAR_VBD_FREE || s->queue != queue)
            continue;
        if (s->taken_at == consumed)
            q->consumed = consumed + 1;
        if (state_of(s) == FAR_VBD_ANSWERED && s->answered_at == answered)
            q->answered = answered + 1;
    }
    EACH_SLOT(j, s)
    {
        if (state_of(s) != FAR_VBD_ANSWERED || s->queue != queue)
            continue;
        if ((int32_t)(produced - s->answered_at) > 0)
            far_vbd_release(s);
        else
            unseen++;
    }
    return q->answered - produced == unseen ? 0 : -ESTALE;
}

int far_vbd_recover(struct far_vbd_journal *j, const uint32_t *produced)
{
    struct far_vbd_slot *s;

    if (j->check != fixed_sum(j) || !j->mode.queues ||
        j->mode.queues > FAR_VBD_QUEUES_MAX || !j->mode.pages ||
        j->mode.pages > FAR_VBD_RING_PAGES_MAX)
        return -EILSEQ;
    EACH_SLOT(j, s)
    if (state_of(s) != FAR_VBD_FREE && !slot_sound(j, s))
        return -EILSEQ;
    for (uint32_t i = 0; i < j->mode.queues; i++) {
        int r = recover_queue(j, i, produced[i]);

        if (r)
            return r;
    }
    return 0;
}

unsigned far_vbd_open_slots(struct far_vbd_journal *j,
                            struct far_vbd_slot **slots)
{
    struct far_vbd_slot *s;
    unsigned n = 0;

    EACH_SLOT(j, s)
    {
        unsigned at;

        if (state_of(s) != FAR_VBD_OPEN)
            continue;
        for (at = n++; at && slots[at - 1]->order > s->order; at--)
            slots[at] = slots[at - 1];
        slots[at] = s;
    }
    return n;
}
