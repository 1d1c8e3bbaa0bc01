/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The wire between two netproxies: frames, and what each type's body is;
 * docs/PROTOCOL.md says it byte by byte, tests/netproxy/golden holds it still.
 * Pure encoding, decoding and validation: no sockets, no state. All that came
 * from a peer goes through far_wire_next() and far_wire_decode() first.
 */
#ifndef FARSIDE_NETPROXY_WIRE_H
#define FARSIDE_NETPROXY_WIRE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include "core/conf.h"
#include "core/error.h"
#include "core/op.h"

#define FAR_WIRE_VERSION_MIN 0
#define FAR_WIRE_VERSION_MAX 0
#define FAR_WIRE_MAGIC       "FARSIDE" /* with its NUL: 8 bytes */
#define FAR_WIRE_PORT        7420

#define FAR_WIRE_HEADER_BYTES 32
#define FAR_WIRE_FRAME_MAX    131072 /* nobody may ever send a longer one */
#define FAR_WIRE_FRAME_MIN_MAX                                               \
    4096                            /* everybody takes frames of this length \
                                     */
#define FAR_WIRE_HELLO_MAX     1024 /* before the other's hello is known */
#define FAR_WIRE_HOPS          4
#define FAR_WIRE_HANDLES_MAX   65536
#define FAR_WIRE_TEXT_BYTES    232
#define FAR_WIRE_SLOTS_MAX     FAR_OP_SLOTS_MAX
#define FAR_WIRE_LANE_CONTROL  0 /* control and interrupts */
#define FAR_WIRE_LANE_REALTIME 1 /* input's and sound's ops */
#define FAR_WIRE_LANE_BULK     2
#define FAR_WIRE_LANES         3

enum far_wire_type {
    FAR_WIRE_HELLO = 1,
    FAR_WIRE_ERROR = 2,
    FAR_WIRE_HEARTBEAT = 3,
    FAR_WIRE_PREPARE = 4,
    FAR_WIRE_PREPARED = 5,
    FAR_WIRE_ACTIVATE = 6,
    FAR_WIRE_ACTIVATED = 7,
    FAR_WIRE_OP = 8,
    FAR_WIRE_FEEDBACK = 9,
    FAR_WIRE_INTERRUPT = 10,
    FAR_WIRE_ACK = 11,
    FAR_WIRE_CANCEL = 12,
    FAR_WIRE_DETACH = 13,
    FAR_WIRE_STATE = 14,
    FAR_WIRE_DATA = 15,      /* a piece of an op's or a feedback's payload */
    FAR_WIRE_SUBSCRIBE = 16, /* client: tell me of devices that come and go */
    FAR_WIRE_ANNOUNCE = 17,  /* server */
    FAR_WIRE_NOTIFY = 18,    /* server: an interrupt for a guest that need not
                                have attached anything */
    FAR_WIRE_NOTIFIED = 19,  /* client: what became of it */
    FAR_WIRE_TYPES           /* first unknown one */
};

/* Header flag: who does not know this type answers with an ERROR frame (and
 * skips it all the same). Other bits are ignored. */
#define FAR_WIRE_MUST 0x80
/* Header flag of OP and FEEDBACK: the payload came before, in DATA frames on
 * the same connection; none is behind this op. */
#define FAR_WIRE_PIECES 0x01

struct far_wire_header {
    uint32_t bytes; /* of the frame with this header; a multiple of 8 */
    uint8_t type;
    uint8_t flags;
    uint8_t lane;
    uint8_t hops;     /* how many more netproxies may pass it on */
    uint32_t handle;  /* of the attachment, chosen by who prepared it; 0: the
                         link itself */
    uint32_t credit;  /* how far the other may go, modulo 2^32: interrupts up
                         to this sequence (from the client) */
    uint64_t time_ns; /* the sender's CLOCK_MONOTONIC when it was made */
    uint64_t acked;   /* interrupts up to this one are in the guest */
};
static_assert(sizeof(struct far_wire_header) == FAR_WIRE_HEADER_BYTES, "");

enum far_wire_role {
    FAR_WIRE_CLIENT = 1, /* attaches */
    FAR_WIRE_SERVER = 2, /* owns, or passes on */
};

struct far_wire_hello {
    char magic[8];
    uint16_t version_min, version_max;
    uint32_t frame_max; /* the longest that the sender takes */
    uint64_t offers;    /* capabilities; unknown bits are ignored */
    uint64_t needs;     /* unknown bits end the connection */
    uint8_t lane, lanes;
    uint16_t role;
    uint32_t handles_max;
    uint8_t link[16];     /* random, by the client: joins a link's lanes */
    uint8_t instance[16]; /* random at each start of the sender */
    char platform[FAR_NAME_BYTES];
};
static_assert(sizeof(struct far_wire_hello) == 136, "");

struct far_wire_error {
    int32_t status;
    uint16_t about; /* a frame's type, or 0 */
    uint16_t reserved;
};
static_assert(sizeof(struct far_wire_error) == 8, "");

#define FAR_WIRE_HEARTBEAT_ASKS    1
#define FAR_WIRE_HEARTBEAT_ANSWERS 2
#define FAR_WIRE_UNKNOWN_NS        INT64_MIN
struct far_wire_heartbeat {
    uint32_t flags;
    uint32_t reserved;
    int64_t delta_ns; /* least (received - sent) of late, by both clocks */
    uint64_t echo_ns; /* answer: the header's time_ns of the question */
    uint64_t held_ns; /* answer: between its receipt and this */
};
static_assert(sizeof(struct far_wire_heartbeat) == 32, "");

struct far_wire_prepare {
    uint64_t attachment;
    uint8_t guest_uuid[16];
    uint8_t generation[16];
    uint32_t class;
    uint32_t guest_devid;
    char guest_name[FAR_NAME_BYTES];
    char device[FAR_NAME_BYTES];
};
static_assert(sizeof(struct far_wire_prepare) == 176, "");

#define FAR_WIRE_PROMPT_ACKS 1 /* the device waits for acks: no collecting */
#define FAR_WIRE_EXCLUSIVE   2 /* it is for one user at a time */
#define FAR_WIRE_LEASED      4 /* its server holds the directory's lease for it */
struct far_wire_prepared {
    int32_t status;
    uint32_t class;
    uint32_t flags;
    uint32_t reserved;
    uint64_t incarnation;        /* of the interrupts' numbering */
    uint64_t device_incarnation; /* of the device */
    uint8_t props[32];           /* the class's */
};
static_assert(sizeof(struct far_wire_prepared) == 64, "");

struct far_wire_activate {
    uint64_t incarnation;
    uint64_t received;
};
static_assert(sizeof(struct far_wire_activate) == 16, "");

struct far_wire_activated {
    int32_t status;
    uint32_t reserved;
    uint64_t incarnation;
    uint64_t epoch;
    uint64_t next; /* the first interrupt that will follow */
};
static_assert(sizeof(struct far_wire_activated) == 32, "");

struct far_wire_cancel {
    uint64_t sequence;
    uint32_t slot;
    uint32_t reserved;
};
static_assert(sizeof(struct far_wire_cancel) == 16, "");

struct far_wire_state {
    uint32_t state; /* enum far_device_state */
    uint32_t reserved;
    uint64_t incarnation;
    uint64_t device_incarnation;
    uint8_t props[32];
};
static_assert(sizeof(struct far_wire_state) == 56, "");

struct far_wire_data {
    uint64_t sequence; /* of the op */
    uint32_t slot;
    uint32_t offset_bytes; /* of this piece in the op's payload */
    uint32_t bytes;        /* of payload behind this */
    uint32_t reserved;
};
static_assert(sizeof(struct far_wire_data) == 24, "");

struct far_wire_subscribe {
    uint64_t classes; /* bit 1 << enum far_class; 0: of none any more */
};
static_assert(sizeof(struct far_wire_subscribe) == 8, "");

#define FAR_WIRE_ANNOUNCE_FREE      1 /* nobody has it, or it can be shared */
#define FAR_WIRE_ANNOUNCE_EXCLUSIVE 2
#define FAR_WIRE_ANNOUNCE_READ_ONLY 4
struct far_wire_announce {
    uint32_t class;
    uint32_t state; /* enum far_device_state; gone, or there */
    uint32_t flags;
    uint32_t reserved;
    char device[FAR_NAME_BYTES];
    uint8_t props[32];
};
static_assert(sizeof(struct far_wire_announce) == 112, "");

struct far_wire_notify {
    uint64_t sequence; /* from 1, of this sender's instance */
    uint8_t guest_uuid[16];
    uint8_t generation[16];          /* zeros: of whichever lives now */
    char guest_name[FAR_NAME_BYTES]; /* if guest_uuid is zeros */
    char device[FAR_NAME_BYTES];     /* that sends it */
    struct far_op op;                /* the interrupt */
};
static_assert(sizeof(struct far_wire_notify) == 232, "");

struct far_wire_notified {
    uint64_t sequence;
    int32_t status; /* 0: it is in the guest's ring and in the journal */
    uint32_t reserved;
};
static_assert(sizeof(struct far_wire_notified) == 16, "");

/* Option `times` of a FEEDBACK whose op was timed (FAR_OP_TIMED), all by the
 * sender's clock. That of an INTERRUPT is a uint64_t: when it was raised. */
struct far_wire_times {
    uint64_t received_ns, submitted_ns, done_ns;
};
static_assert(sizeof(struct far_wire_times) == 24, "");

/* Behind a body's fixed part: options, each padded to 8 bytes. */
struct far_wire_option {
    uint16_t type;  /* FAR_WIRE_OPTION_… */
    uint16_t bytes; /* of the value, without this header and the padding */
};
#define FAR_WIRE_OPTION_PAD         0
#define FAR_WIRE_OPTION_TEXT        1 /* words for a person, UTF-8 */
#define FAR_WIRE_OPTION_VISITED     2 /* prepare, notify: name[64] of each */
#define FAR_WIRE_OPTION_ORIGIN      3 /* prepare, notify: name[64], whose it is */
#define FAR_WIRE_OPTION_CHALLENGE   4 /* prepared: the owner's nonce, expiry */
#define FAR_WIRE_OPTION_SIGNATURE   5 /* prepare: the origin's, for the owner */
#define FAR_WIRE_OPTION_CERTIFICATE 6 /* prepare: the origin's, DER */
#define FAR_WIRE_OPTION_TIMES       7 /* sampled: where the time went */
#define FAR_WIRE_OPTION_WANT        8 /* prepare: properties of any device */
#define FAR_WIRE_OPTION_LIMITS      9 /* prepare, prepared: slots, payload */
#define FAR_WIRE_OPTION_DEVICE      10 /* prepared: name[64], the chosen one */
#define FAR_WIRE_OPTION_TARGET      32 /* notify, notified: name[64] */
#define FAR_WIRE_OPTION_SOURCE      33 /* notify: its sender's own numbers */
#define FAR_WIRE_OPTIONS            34 /* known ones are below */
#define FAR_WIRE_OPTION_MUST \
    0x8000 /* bit: unknown, it makes its frame refused */

/* Of FAR_WIRE_OPTION_LIMITS. In PREPARE: what the client would like; in
 * PREPARED: what the server takes. Without it no op has a payload. */
struct far_wire_limits {
    uint32_t slots; /* FAR_WIRE_SLOTS_MAX, in version 0 */
    uint32_t payload_bytes;
};
static_assert(sizeof(struct far_wire_limits) == 8, "");

/* Of FAR_WIRE_OPTION_SOURCE: what a notice that was passed on is at its origin.
 */
struct far_wire_source {
    uint8_t instance[16];
    uint64_t sequence;
};
static_assert(sizeof(struct far_wire_source) == 24, "");

/* An option that goes with a frame. */
struct far_wire_value {
    uint16_t type, bytes;
    const void *value;
};

/* One frame, taken apart. */
struct far_wire_frame {
    struct far_wire_header header;
    bool known;   /* false: of an unknown type, only the header is set */
    bool refused; /* has an option that must be understood, and was not */
    union {
        uint8_t fixed[232];
        struct far_wire_hello hello;
        struct far_wire_error error;
        struct far_wire_heartbeat heartbeat;
        struct far_wire_prepare prepare;
        struct far_wire_prepared prepared;
        struct far_wire_activate activate;
        struct far_wire_activated activated;
        struct far_op op; /* OP, FEEDBACK, INTERRUPT */
        struct far_wire_cancel cancel;
        struct far_wire_state state;
        struct far_wire_data data;
        struct far_wire_subscribe subscribe;
        struct far_wire_announce announce;
        struct far_wire_notify notify;
        struct far_wire_notified notified;
    };
    const uint8_t *payload; /* of an op or piece; points into the data */
    size_t payload_bytes;   /* that are in this frame */
    const uint8_t *raw;     /* the whole frame: where all of these point into */
    const uint8_t *options; /* point into the data; far_wire_option() */
    size_t options_bytes;
    char text[FAR_WIRE_TEXT_BYTES]; /* "" if there is none; printable */
};

/* Is a whole frame at the beginning of data? Its length; 0: more is needed;
 * -EPROTO, -EMSGSIZE: this can't be a frame, and error says why. */
int far_wire_next(const uint8_t *data, size_t bytes, uint32_t frame_max,
                  struct far_error *error);
/* Takes one whole frame apart (bytes as far_wire_next() said). 0, or -EPROTO
 * with error. Everything in *frame is checked: names, strings, lengths. */
int far_wire_decode(struct far_wire_frame *frame, const uint8_t *data,
                    size_t bytes, struct far_error *error);

/* The value of the first option of that type, or NULL; not of text. Only its
 * length is sure: what it holds must be checked. */
const uint8_t *far_wire_option(const struct far_wire_frame *frame,
                               uint16_t type, size_t *bytes);

/* Writes a frame; header's bytes is set here. fixed: the type's struct. text
 * may be NULL; too long a one is cut. Length, or 0 if room is too small:
 * FAR_WIRE_ROOM(fixed_bytes) is always enough. */
#define FAR_WIRE_ROOM(fixed_bytes) \
    (FAR_WIRE_HEADER_BYTES + (fixed_bytes) + 8 + FAR_WIRE_TEXT_BYTES)
size_t far_wire_encode(uint8_t *out, size_t room,
                       struct far_wire_header *header, const void *fixed,
                       size_t fixed_bytes, const char *text);
/* Adds an option to a frame that stands at out, and corrects its length; the
 * new length, or 0 if room is too small (nothing has changed then). */
#define FAR_WIRE_OPTION_ROOM(bytes) ((4 + (size_t)(bytes) + 7) & ~(size_t)7)
size_t far_wire_add_option(uint8_t *out, size_t room, uint16_t type,
                           const void *value, size_t bytes);
/* An op, feedback (by header->type) or interrupt with the payload that it has
 * in its frame; payload may be NULL if that is none. */
size_t far_wire_encode_op(uint8_t *out, size_t room,
                          struct far_wire_header *header,
                          const struct far_op *op, const void *payload);
/* How much of op's payload stands in a frame with that header. */
uint32_t far_wire_op_payload(const struct far_wire_header *header,
                             const struct far_op *op);
static inline size_t far_wire_op_bytes(const struct far_wire_header *header,
                                       const struct far_op *op)
{
    return FAR_WIRE_HEADER_BYTES + sizeof(*op) +
           (((size_t)far_wire_op_payload(header, op) + 7) & ~(size_t)7);
}

/* The version that two hellos agree on, or -EPROTONOSUPPORT. */
int far_wire_version(const struct far_wire_hello *mine,
                     const struct far_wire_hello *theirs);
/* Of the fixed part of that type, which is known. */
size_t far_wire_fixed_bytes(unsigned type);
/* "prepare", or "type 77" put into room. */
const char *far_wire_type_name(unsigned type, char room[16]);

#endif
