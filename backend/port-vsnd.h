/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of the vsnd port share: port-vsnd.c serves the rings,
 * port-vsnd-nodes.c reads and writes xenstore.
 */
#ifndef FARSIDE_BACKEND_PORT_VSND_H
#define FARSIDE_BACKEND_PORT_VSND_H

#include "backend/chain.h"
#include "backend/port-vsnd-checks.h"
#include "xenbus/ring.h"

#define FAR_VSND_STREAMS_MAX 16u /* of one card, all its devices together */
#define FAR_VSND_WISH_BYTES  192u

/* A stream, as its nodes say. */
struct far_vsnd_nodes {
    uint8_t pcm, stream; /* its directories' numbers */
    uint8_t records;
    char wish[FAR_VSND_WISH_BYTES]; /* unique-id; "": none */
    uint32_t ring_ref, ring_port, event_ref, event_port;
    struct far_vsnd_config config;
};

/* What a successor must know (far_journal_annex()).
 *
 * Why kill -9 at any instant is safe: a stream's front asks one thing at a
 * time, every request may be done twice, and `answered` moves on, after the
 * answer was kept, before the guest's rsp_prod does. So where the two differ by
 * one, the kept answer is put into the ring again; a request that was not
 * answered is still there and is done again. Events are the same: `events` is
 * what in_prod becomes. What lies in the guest's buffer still lies there. */
#define FAR_VSND_JOURNAL_VERSION 1u
struct far_vsnd_stream_journal {
    struct far_vsnd_nodes nodes;
    struct far_local_who who;
    uint32_t first_event; /* in_prod, when its page was mapped first */
    /* what changes: */
    _Atomic uint32_t answered, events;
    struct xensnd_resp answer;
    uint32_t pages;
    uint32_t refs[FAR_VSND_BUFFER_PAGES]; /* of the buffer */
    struct far_sound_state state;
};

struct far_vsnd_journal {
    uint32_t streams;
    uint64_t check; /* of all streams' fixed parts */
    struct far_vsnd_stream_journal stream[FAR_VSND_STREAMS_MAX];
};

struct stream {
    struct far_layer layer; /* top of its chain */
    struct port *port;
    struct far_vsnd_stream_journal *journal;
    struct far_layer *fast; /* NULL: the chain is not open */
    enum far_binding binding;
    struct far_address address;
    bool denied; /* `absent` says why */
    char absent[FAR_CHAIN_REASON_BYTES];

    struct far_grant_map ring_map, event_map;
    struct far_evtchn ring_channel, event_channel;
    struct far_ring ring;
    struct far_defer again; /* more requests than one turn has time for */
    uint32_t events;        /* in_prod, as published */
    uint32_t taken;         /* in_cons, as last read */
    struct {
        uint64_t opens, writes, reads, triggers, queries, volumes, refused;
        uint64_t written_bytes, read_bytes, events, events_full;
        uint64_t wakes, spurious, notifies, copy_faults;
    } counters;
};

struct port {
    struct far_attachment *a;
    bool served;
    struct far_vsnd_journal *journal;
    unsigned streams;
    struct stream stream[FAR_VSND_STREAMS_MAX];
    struct far_grant_copies *copies;
    uint8_t *memory; /* of one transfer */
};

/* --- port-vsnd-nodes.c --- */
int far_vsnd_offer(struct far_attachment *a, struct far_error *error);
/* The card as the front's nodes have it now, judged as a whole; number of
 * streams, or a negative errno with error. */
int far_vsnd_read_front(struct far_attachment *a, struct far_vsnd_nodes *nodes,
                        struct far_error *error);

#endif
