/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The local device protocol: between the backend (client) and whatever serves
 * a device in another process of this machine: a netproxy or an outside device
 * (server). A SOCK_SEQPACKET Unix socket whose peer is checked carries the
 * control messages below, one a packet; ops and interrupts go through two
 * rings and a buffer arena in a memfd per attachment, which the client makes,
 * sizes and seals, with one wake-up for each direction. Nothing else crosses.
 * Both sides check all that they read; a message of an unknown type is
 * ignored, a longer one than known is read as far as it is known.
 */
#ifndef FARSIDE_CORE_LOCAL_H
#define FARSIDE_CORE_LOCAL_H

#include <assert.h>
#include "core/conf.h"
#include "core/input.h"
#include "core/shring.h"

#define FAR_LOCAL_MAGIC   0x4c524146u /* "FARL" */
#define FAR_LOCAL_VERSION 1

enum far_local_type {
    FAR_LOCAL_HELLO = 1,     /* both ways, first */
    FAR_LOCAL_PREPARE = 2,   /* client: what is it, may I; with 3 descriptors:
                                memfd, the reading end of a pipe, by which
                                the server is woken, eventfd to the client */
    FAR_LOCAL_PREPARED = 3,  /* server: the answer; status 0, -ENOENT, -EACCES,
                                -EBUSY …; sent again by itself when an earlier
                                refusal's reason is gone */
    FAR_LOCAL_ACTIVATE = 4,  /* client: the guest's front is there */
    FAR_LOCAL_ACTIVATED = 5, /* server */
    FAR_LOCAL_STATE = 6,     /* server: device or link is gone, or back */
    FAR_LOCAL_ACK = 7,       /* client: interrupts up to this sequence are in
                                the guest's ring and in the journal (also in
                                the shared header, at no cost: see acked) */
    FAR_LOCAL_DETACH = 8,    /* client */
    FAR_LOCAL_FEED = 9,      /* client: events typed by a person (`farside
                                send`) for a device that lives at the server */
    FAR_LOCAL_GUESTS = 10,   /* client: it has guests, NOTIFY may come */
    FAR_LOCAL_NOTIFY = 11,   /* server: an interrupt for a guest, from a device
                                that it need not have attached; sent again over
                                a new connection until it is answered */
    FAR_LOCAL_NOTIFIED = 12, /* client: what became of it */
    FAR_LOCAL_ALIVE = 13,    /* client: are you there? server: the same, back */
};

#define FAR_LOCAL_ANSWERS_ALIVE 1 /* hello's flags, of a server */

struct far_local_hello {
    uint32_t type, bytes; /* of the whole message */
    uint32_t magic, version;
    char platform[FAR_NAME_BYTES];
    uint32_t pid;
    uint32_t flags; /* FAR_LOCAL_ANSWERS_…; unknown ones are ignored */
};

/* Messages and rings are two ways: `turn` keeps them in order. The server
 * counts its messages for an attachment (PREPARED, ACTIVATED, STATE), from 1 in
 * each connection, and an interrupt in the ring up carries in its slot the
 * number of the last one before it. The client takes an interrupt only after
 * that message, and empties the ring before it acts on a message. */

/* Who attaches what: the same for every step, and kept in the journal. */
struct far_local_who {
    uint64_t attachment; /* chosen by the backend, unique in its journal */
    uint8_t guest_uuid[16];
    uint8_t generation[16]; /* of the guest: random at each build, kept over
                               save, migration and daemons' restarts */
    char guest_name[FAR_NAME_BYTES];
    char platform[FAR_NAME_BYTES]; /* the one that owns the device, or "" */
    char standby[FAR_NAME_BYTES];
    char device[FAR_NAME_BYTES];
    uint32_t class;       /* enum far_class */
    uint32_t guest_devid; /* "vkbd/0"'s 0: two of one guest are told apart */
};

struct far_local_prepare {
    uint32_t type, bytes;
    struct far_local_who who;
    uint32_t down_entries, up_entries; /* of the rings, powers of two */
    uint32_t arena_bytes;
    uint32_t slot_bytes; /* the payload of the op in slot s lies in the arena
                            at s * slot_bytes; 0 if there is no arena */
};

struct far_local_prepared {
    uint32_t type, bytes;
    uint64_t attachment;
    int32_t status;
    uint32_t turn;
    uint64_t incarnation; /* of the owning device: a change means that its
                             interrupt sequence began anew */
    uint64_t device_incarnation; /* a change means that answered but unflushed
                                    effects may be gone */
    uint8_t props[32];           /* the class's: struct far_input_props … */
    char reason[232];            /* for a person, if status is not 0 */
};

struct far_local_activate {
    uint32_t type, bytes;
    uint64_t attachment;
    uint64_t incarnation; /* the one that `received` counts in; 0: none */
    uint64_t received;    /* last interrupt sequence that is in the guest */
};

struct far_local_activated {
    uint32_t type, bytes;
    uint64_t attachment;
    int32_t status;
    uint32_t turn;
    uint64_t incarnation;
    uint64_t epoch;
    char reason[232];
};

enum far_device_state {
    FAR_DEVICE_GONE = 0, /* link lost, device unplugged: reason says which */
    FAR_DEVICE_READY = 1,
};

struct far_local_state {
    uint32_t type, bytes;
    uint64_t attachment;
    uint32_t state; /* enum far_device_state */
    uint32_t turn;
    char reason[232];
};

struct far_local_detach { /* ACK too, with sequence */
    uint32_t type, bytes;
    uint64_t attachment;
    uint64_t sequence;
};

/* Ends behind the last of its count events. */
#define FAR_LOCAL_FEED_EVENTS_MAX 64
struct far_local_feed {
    uint32_t type, bytes;
    char device[FAR_NAME_BYTES];
    uint32_t count, reserved;
    struct far_input_event events[FAR_LOCAL_FEED_EVENTS_MAX];
};

struct far_local_guests {
    uint32_t type, bytes;
};

/* Who sends is told apart by (platform, instance), his interrupts for one
 * guest by rising sequences: one that is not above the last that the guest had
 * from him is a repeat. */
struct far_local_notify {
    uint32_t type, bytes;
    uint64_t id;       /* of this question, given by the server, never 0 */
    uint64_t sequence; /* of the sender, never 0 */
    uint8_t instance[16];
    char platform[FAR_NAME_BYTES]; /* of the sender */
    char device[FAR_NAME_BYTES];
    uint8_t guest_uuid[16];          /* zeros: the name counts */
    uint8_t generation[16];          /* zeros: whichever lives now */
    char guest_name[FAR_NAME_BYTES]; /* printable, or "" */
    struct far_op op;
    /* Came later: a message may end before it. The platform that brought it, if
     * that is another one than its sender. */
    char relay[FAR_NAME_BYTES];
};

struct far_local_notified {
    uint32_t type, bytes;
    uint64_t id;
    int32_t status; /* 0: it is in the guest's ring and in the journal */
    uint32_t reserved;
    char reason[232];
};

struct far_local_alive {
    uint32_t type, bytes;
    uint64_t number; /* the client's; an answer has its question's */
};

#define FAR_LOCAL_BYTES_MAX 4096

/* The memfd: this header, the ring down (client to server: ops), the ring up
 * (server to client: completions and interrupts), the arena. The offsets follow
 * from the sizes in PREPARE by far_local_layout(), and stand nowhere in
 * shared memory.
 *
 * The payload of the op in slot s lies in the arena at s * slot_bytes: there
 * before an op that sends goes into the ring down, and before the answer of one
 * that receives goes into the ring up. One op per slot at a time. The rings'
 * entries are copied before they are judged; payloads are not: either side may
 * change them while the other reads, so a server must not decide anything by
 * what it reads there twice.
 *
 * Each connection has new memory. The server may have been killed with I/O
 * under way, which ends in the old memory after its death, and must not end in
 * a slot that meanwhile is another op's. */
struct far_local_header {
    _Alignas(64) _Atomic uint64_t acked; /* client: as FAR_LOCAL_ACK; the server
                                            looks when it wants to forget */
    _Alignas(64) _Atomic uint64_t heard; /* server */
    _Atomic uint64_t ack_wake_at;        /* server: "wake me when acked reaches
                                            this"; 0: no need */
};

struct far_local_layout {
    size_t down, up, arena, total_bytes;
};
#define FAR_LOCAL_ARENA_BYTES_MAX (64u << 20)
/* How many slots such an arena has, or -EINVAL. Pure. */
int far_local_slots(uint32_t arena_bytes, uint32_t slot_bytes);
/* -EINVAL if sizes are no powers of two or above the limits (arena: 0 too).
 * Pure. */
int far_local_layout(struct far_local_layout *layout, uint32_t down_entries,
                     uint32_t up_entries, uint32_t arena_bytes);

/* One attachment's shared memory, either side's. */
struct far_local_shm {
    void *memory;
    size_t bytes;
    int memfd;
    /* The server is woken through a pipe, of which each side has only its end:
     * the flags of an eventfd belong to both, and a server that is not trusted
     * could make the client's write block. */
    int to_server;      /* client: the writing end; server: the reading end */
    int to_server_read; /* client: what the server is sent; it stays open, so
                           that there always is a reader. Server: -1 */
    int to_client;      /* an eventfd; the client never reads it */
    struct far_local_header *header;
    struct far_shring down, up;
    uint8_t *arena;
    uint32_t arena_bytes;
};
/* The client's: makes, sizes, seals (shrink, grow, seal) and maps. */
int far_local_shm_create(struct far_local_shm *shm, uint32_t down_entries,
                         uint32_t up_entries, uint32_t arena_bytes);
/* The server's: takes the descriptors (also when it fails), checks seals and
 * size before it maps. -EPERM: not sealed against shrinking; -EMSGSIZE: too
 * short; -EINVAL: sizes, or no non-blocking pipe and eventfd. */
int far_local_shm_open(struct far_local_shm *shm, int memfd, int to_server,
                       int to_client, uint32_t down_entries,
                       uint32_t up_entries, uint32_t arena_bytes);
void far_local_shm_close(struct far_local_shm *shm); /* idempotent */
/* Client: moves the mapping of the arena to `at` (aligned to a page), over what
 * is mapped there. From then on that address is the caller's, also after
 * far_local_shm_close(). 0, or a negative errno: nothing has moved. */
int far_local_shm_move_arena(struct far_local_shm *shm, void *at);
/* Client: wakes the server. Never blocks, whatever the server did. */
void far_local_wake_server(const struct far_local_shm *shm);
/* Server: takes what woke it (level-triggered), before it looks. */
void far_local_woken(const struct far_local_shm *shm);

/* One packet with up to 3 descriptors; 0 or a negative errno (-EAGAIN: the
 * socket is full; nothing was sent). */
int far_local_send(int fd, const void *message, const int *fds, unsigned nfds);
/* Bytes received, 0 at the end, or a negative errno. message is checked for
 * type, bytes and terminated strings (far_local_valid). *nfds: room in, number
 * out; descriptors are close-on-exec. */
int far_local_receive(int fd, void *message, size_t room, int *fds,
                      unsigned *nfds);
/* Pure: is this a well-formed message? Its strings end, its size fits. */
bool far_local_valid(const void *message, size_t bytes);

#endif
