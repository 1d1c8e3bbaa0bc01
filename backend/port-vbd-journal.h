/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the vbd port keeps for its successor beside the journal's record: which
 * pages and ports, how far each ring has got, and a private copy of every
 * request in flight with its answer. In memory that outlives the process
 * (far_journal_annex()); knows nothing of rings' contents or of devices.
 *
 * Why kill -9 at any instant is safe (stores stay, in program order):
 *   take     the slot is filled, then it is OPEN, then `consumed` moves on.
 *            Killed before OPEN: the request is still in the guest's ring.
 *            Killed before `consumed`: an OPEN slot holds the request of that
 *            very index, and recover() moves it on.
 *   answer   status and index go into the slot, then it is ANSWERED, then
 *            `answered` moves on. Killed before ANSWERED: the op is repeated,
 *            and the guest was told nothing. Killed before `answered`: as with
 *            `consumed`.
 *   barrier  is two ops, one after the other, with sequences of their own: that
 *            the first is done is one store. Killed before it: the flush is
 *            repeated; after it: the write, which a device may have by then.
 *   publish  the guest's rsp_prod is written; then far_vbd_release() frees
 *            the slots. Killed before: the successor reads rsp_prod from the
 *            page, knows by it which answers the guest can have seen, and puts
 *            the others into the ring again: the same answers at the same
 *            indexes. The page is the guest's: a value that is none of ours
 *            makes recover() fail, and the device is bounced.
 */
#ifndef FARSIDE_BACKEND_PORT_VBD_JOURNAL_H
#define FARSIDE_BACKEND_PORT_VBD_JOURNAL_H

#include <stdatomic.h>
#include "backend/port-vbd-checks.h"

#define FAR_VBD_JOURNAL_VERSION 3u
/* Of an attachment's 64, the rest are backend/kept.c's. */
#define FAR_VBD_SLOTS 60u

enum far_vbd_slot_state { FAR_VBD_FREE, FAR_VBD_OPEN, FAR_VBD_ANSWERED };

struct far_vbd_slot {
    _Atomic uint32_t state;
    uint32_t queue;
    uint32_t taken_at;    /* index of the request in its ring */
    uint32_t answered_at; /* index of the answer */
    int16_t status;
    uint16_t reserved[3];
    uint64_t sequence; /* of what was submitted last: op.sequence, or the next
                          one (far_vbd_flushed()) */
    uint64_t order, check;
    struct far_op op;
    struct far_vbd_request request;
};

struct far_vbd_queue_journal {
    _Atomic uint32_t consumed, answered;
};

struct far_vbd_journal {
    struct far_vbd_mode mode;
    uint32_t refs[FAR_VBD_QUEUES_MAX][FAR_VBD_RING_PAGES_MAX];
    uint32_t ports[FAR_VBD_QUEUES_MAX];
    uint64_t check; /* over all above */
    uint64_t order;
    struct far_vbd_queue_journal queue[FAR_VBD_QUEUES_MAX];
    struct far_vbd_slot slot[FAR_VBD_SLOTS];
};

/* After mode, refs and ports were filled in: rings begin at 0. Sequences go on
 * from `sequence`, so that no device takes a new op for an old one. */
void far_vbd_journal_begin(struct far_vbd_journal *journal, uint64_t sequence);
/* The highest sequence given. */
uint64_t far_vbd_journal_sequence(const struct far_vbd_journal *journal);

/* A free slot that was filled (queue, taken_at, op, request) becomes OPEN. */
/* Gives slot and sequence into the op, and moves `consumed` on. */
void far_vbd_take(struct far_vbd_journal *journal, struct far_vbd_slot *slot);
/* Of a barrier: its flush is done, and its op, which is next, gets a sequence
 * of its own. */
void far_vbd_flushed(struct far_vbd_slot *slot);
bool far_vbd_is_flushed(const struct far_vbd_slot *slot);
/* Returns the index at which the answer goes into its ring. */
uint32_t far_vbd_answered(struct far_vbd_journal *journal,
                          struct far_vbd_slot *slot, int16_t status);
/* rsp_prod was written: the guest can see the answer. */
void far_vbd_release(struct far_vbd_slot *slot);

/* A successor's: makes sound what a kill left half done. produced: each
 * queue's rsp_prod as the page has it. 0; or -EILSEQ: damaged, -ESTALE: a page
 * holds what we did not write. Afterwards all busy slots are OPEN, or ANSWERED
 * and not published. */
int far_vbd_recover(struct far_vbd_journal *journal, const uint32_t *produced);
/* The OPEN slots in the order in which they were taken; number of them. */
unsigned far_vbd_open_slots(struct far_vbd_journal *journal,
                            struct far_vbd_slot **slots);

#endif
