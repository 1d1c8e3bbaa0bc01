/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of the vbd port share: port-vbd.c serves the rings,
 * port-vbd-nodes.c reads and writes xenstore.
 */
#ifndef FARSIDE_BACKEND_PORT_VBD_H
#define FARSIDE_BACKEND_PORT_VBD_H

#include "backend/chain.h"
#include "backend/grant-cache.h"
#include "backend/kept.h"
#include "backend/port-vbd-journal.h"

struct port;

struct queue {
    struct port *port;
    struct far_vbd_queue_journal *journal;
    struct far_grant_map map;
    struct far_evtchn evtchn;
    uint32_t entries, entry_bytes;
    uint32_t produced;       /* rsp_prod, as published */
    uint32_t event_consumed; /* consumed at the guest's last event */
    unsigned answers_count;  /* put, but not published */
    uint8_t answers[FAR_VBD_SLOTS];
};

/* What is known of a slot beside the journal. */
struct work {
    enum { IDLE, PREFLUSH, SENT, COPYING } step;
    bool failed, barrier, repeat;
    uint8_t *memory; /* of its payload */
    uint32_t first_copy, copies;
    uint64_t began_ns; /* 0: not measured */
};

struct port {
    struct far_layer layer; /* top of the chain */
    struct far_layer *kept; /* next below; NULL: the chain is not open */
    struct far_attachment *a;
    struct far_chain chain;
    char reason[232]; /* what the device said last */

    bool writable; /* as the toolstack ordered */
    bool cdrom, removable, discards;
    struct far_block_props props;
    bool ready; /* the device answers */

    bool served;
    bool leaving; /* not served any more, but what is kept is not flushed */
    unsigned queues;
    struct queue queue[FAR_VBD_QUEUES_MAX];
    struct far_vbd_journal *journal;
    uint64_t sequence; /* of ops of former connections */
    struct far_grant_cache *cache;
    struct far_grant_copies *copies;
    uint8_t *memory; /* for payloads that the device has no place for */

    struct work work[FAR_VBD_SLOTS];
    uint8_t free[FAR_VBD_SLOTS]; /* slots; the last one is taken first */
    unsigned frees, in_flight;
    uint8_t done[FAR_VBD_SLOTS]; /* read, to be copied and answered */
    unsigned done_count;
    uint8_t held[FAR_VBD_SLOTS]; /* the device had no room */
    unsigned held_count;
    unsigned repeats; /* not answered yet: nothing new goes before */
    bool barrier;     /* one is under way: the same */
    bool starved;     /* something was left in a ring */
    bool lost;        /* open ops are at no device */

    struct far_poller poller;
    struct far_defer publish, resize;
    struct far_timer age;
    struct far_timer patience; /* while it leaves */

    bool sampling;
    uint64_t sample_us; /* when the next one may begin */
    struct far_hist latency;
    struct {
        uint64_t reads, writes, flushes, discards, read_bytes, written_bytes;
        uint64_t errors, refused, repeated, stale, held;
        uint64_t wakes, spurious, notifies;
        uint64_t copies, copy_calls, mapped_copies, copied_bytes;
    } counters;
};

/* --- port-vbd-nodes.c --- */
bool far_vbd_mine(struct far_attachment *a);
/* Reads what the toolstack ordered, and writes what is offered before state 2.
 */
int far_vbd_offer(struct port *port, struct far_error *error);
/* Says that the device is Farside's, for the script that waits for it. */
int far_vbd_claim(struct port *port, struct far_error *error);
/* Has the script taken the node from the kernel's driver? */
bool far_vbd_is_free(const struct port *port);
/* The front's nodes, as a whole judged. */
int far_vbd_read_front(struct port *port, struct far_vbd_mode *mode,
                       uint32_t (*refs)[FAR_VBD_RING_PAGES_MAX],
                       uint32_t *ports, struct far_error *error);
/* What the disk is, before state 4 (first); or its size, if it has changed:
 * state 4 is then written once more. */
int far_vbd_show(struct port *port, bool first, struct far_error *error);
/* Takes the node from the kernel's driver. */
void far_vbd_reclaim(struct far_attachment *a);

#endif
