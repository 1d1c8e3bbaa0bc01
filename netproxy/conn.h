/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One connection between two netproxies: socket, TLS, hello, frames in and
 * out, heartbeat, and the estimate of the other's clock. Both roles. Knows
 * nothing of devices; who reconnects is netproxy/link.c, who accepts is
 * netproxy/server.c.
 */
#ifndef FARSIDE_NETPROXY_CONN_H
#define FARSIDE_NETPROXY_CONN_H

#include <sys/socket.h>
#include "core/counters.h"
#include "core/log.h"
#include "core/loop.h"
#include "netproxy/capture.h"
#include "netproxy/spin.h"
#include "netproxy/tls.h"
#include "netproxy/wire.h"

#define FAR_CONN_CONNECT_US   1000000 /* a silent host */
#define FAR_CONN_HANDSHAKE_US 5000000 /* TCP's accept to hello */
#define FAR_CONN_HEARTBEAT_US 500000  /* of silence, times three */
#define FAR_CONN_STALLED_US   5000000 /* output that does not move */
#define FAR_CONN_FRAME_MAX    65536   /* what we take */
#define FAR_CONN_HANDLES_MAX  4096
/* Of a payload that stands behind its op, and of each piece of a longer one. */
#define FAR_CONN_PIECE_BYTES 32768u
/* Plain text that waits here: bulk, if others share the connection, or if it
 * has it for itself. */
#define FAR_CONN_SHARED_BYTES 32768u
#define FAR_CONN_BULK_BYTES   131072u

/* Lives longer than a connection. */
struct far_traffic {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t sends, receives;
    uint64_t heartbeats, unknown_frames;
    uint64_t connects, failures, rekeys;
    uint64_t distrusted; /* of the failures: what it showed was not taken */
    struct far_hist rtt;
    struct far_capture *capture; /* NULL: none, as always */
};

void far_traffic_add(struct far_traffic *sum, const struct far_traffic *more);

enum far_conn_state {
    FAR_CONN_CONNECTING,
    FAR_CONN_HANDSHAKE,
    FAR_CONN_GREETING, /* TLS is there, the other's hello is not */
    FAR_CONN_UP,
    FAR_CONN_ENDED,
};

struct far_conn;

struct far_conn_ops {
    /* The hellos agree; conn->platform says who it is. A negative errno with
     * error refuses it (the other side is told). */
    int (*up)(struct far_conn *conn, struct far_error *error);
    /* Checked by far_wire_decode(); valid only for the call. Not hello,
     * heartbeat, or an error of the link itself. A negative errno with error
     * ends the connection. */
    int (*frame)(struct far_conn *conn, const struct far_wire_frame *frame,
                 struct far_error *error);
    /* After -EAGAIN from far_conn_send_op(). */
    void (*room)(struct far_conn *conn);
    /* May be NULL. Does anybody wait for something on this connection? Then
     * silence is looked into also where there are no heartbeats. */
    bool (*waits)(const struct far_conn *conn);
    /* May be NULL. A question was left without an answer for a heartbeat: the
     * link's other connections may be as dead. */
    void (*silent)(struct far_conn *conn);
    /* It has ended, whoever wanted it (but not by far_conn_free()): once, at
     * the end of the turn. Its owner frees it here. */
    void (*down)(struct far_conn *conn, int code, const char *reason);
};

struct far_conn {
    struct far_loop *loop;
    const struct far_conn_ops *ops;
    void *owner;
    struct far_traffic *traffic; /* may be replaced in up() */
    enum far_conn_state state;
    bool server;
    bool clear;  /* no TLS: nobody has proved who he is */
    bool shared; /* others share it with bulk, which must be short */
    bool watched,
        asked; /* heartbeats when idle; this silence was asked about */
    bool freed, told_peer;
    unsigned busy; /* callbacks of ours that are on the stack */
    int fd;
    struct far_io io;
    struct far_timer timer;
    struct far_look look;
    struct far_defer flush, bury, late;
    uint32_t late_events;
    bool behind; /* not all of what was received is decrypted yet */
    struct far_tls tls;
    struct far_buf in, out; /* plain text */
    size_t receive_bytes;   /* at most, the next time */
    bool wants_room, out_blocked;
    uint16_t option_type, option_bytes; /* with the next frame; bytes 0: none */
    uint8_t option[24];
    uint64_t stalled_since_us;
    int code; /* why it ended */
    struct far_error why;
    struct far_nonces *nonces; /* given on it, which is a relay's; or NULL */
    struct far_wire_hello mine, theirs;
    int version;
    char platform[FAR_NAME_BYTES]; /* of the other; "" until known */
    char address[64];
    uint64_t since_us; /* of this state */

    /* Liveness and clocks. */
    uint64_t heard_us;
    unsigned missed;
    uint64_t received_ns;   /* when the current batch of frames came */
    int64_t delta_ns[2];    /* least (received - sent): this window, last one */
    uint64_t window_us;     /* when this window began */
    int64_t their_delta_ns; /* what the other sees; FAR_WIRE_UNKNOWN_NS */
    uint64_t synced_us;
};

/* A client: connects to that address with that key (NULL: with trust's own
 * certificate), and expects that platform there. A server: takes over an
 * accepted socket (closed also on failure). NULL with error. me: our own
 * hello's platform, instance, link and lane. Without key and trust, or without
 * keys: in clear text. It is made shared, and not watched. */
struct far_conn *
far_conn_connect(struct far_loop *loop, const struct far_conn_ops *ops,
                 void *owner, struct far_traffic *traffic,
                 const struct far_wire_hello *me, const char *platform,
                 const struct far_key *key, struct far_trust *trust,
                 const struct sockaddr *address, socklen_t address_bytes,
                 struct far_error *error);
struct far_conn *
far_conn_accept(struct far_loop *loop, const struct far_conn_ops *ops,
                void *owner, struct far_traffic *traffic,
                const struct far_wire_hello *me, const struct far_keys *keys,
                struct far_trust *trust, int fd, struct far_error *error);
/* At once, also from within its callbacks; down() is not called. NULL is
 * fine. With a reason, the other side is told. */
void far_conn_free(struct far_conn *conn, const char *reason);
/* Ends it with that reason, which the other side is told; down() follows. */
void far_conn_fail(struct far_conn *conn, int code, const char *reason);

/* Control frames: queued, or the connection ends (the other does not read).
 * time_ns and bytes of header are set here. */
void far_conn_send(struct far_conn *conn, struct far_wire_header *header,
                   const void *fixed, size_t fixed_bytes, const char *text);
/* The same with options, at most 1024 bytes of values. */
void far_conn_send_options(struct far_conn *conn,
                           struct far_wire_header *header, const void *fixed,
                           size_t fixed_bytes, const char *text,
                           const struct far_wire_value *options,
                           unsigned count);
/* An op: 0, -EAGAIN (room() will be called), -ENOTCONN. On the lane for bulk
 * (by header) it takes up less room than on the others. */
int far_conn_send_op(struct far_conn *conn, struct far_wire_header *header,
                     const struct far_op *op, const void *payload);
/* A piece of a payload, in the same way; header's type is set here. */
int far_conn_send_piece(struct far_conn *conn, struct far_wire_header *header,
                        const struct far_wire_data *piece, const void *payload);
/* Longest payload, or piece of it, that one frame to the other can carry, with
 * an option (far_conn_with_option()). */
uint32_t far_conn_piece_bytes(const struct far_conn *conn);

/* room() is called when there is some again, also without -EAGAIN. */
void far_conn_want_room(struct far_conn *conn);

/* Must bulk on it be short, as others share it? (It is made so.) */
void far_conn_share(struct far_conn *conn, bool shared);
/* It may be looked at instead of waited for, from now on. */
void far_conn_spin(struct far_conn *conn, struct far_spin *spin);
/* Heartbeats when it is idle (on), or only while somebody waits. */
void far_conn_watch(struct far_conn *conn, bool on);
/* Is it still there? If no answer comes it ends, as a watched one does. */
void far_conn_ask(struct far_conn *conn);
/* New keys for both directions. 0, -EOPNOTSUPP (clear text), -EAGAIN (no room
 * for it now), or a negative errno; error may be NULL. */
int far_conn_rekey(struct far_conn *conn, struct far_error *error);

/* Goes with the next frame that is sent, whatever becomes of it: an option of
 * at most FAR_CONN_OPTION_BYTES. */
#define FAR_CONN_OPTION_BYTES 24
void far_conn_with_option(struct far_conn *conn, uint16_t type,
                          const void *value, size_t bytes);

/* A frame that came over another connection, as it is: header, fixed part and
 * the rest; only bytes and time_ns of header are set here. It is taken even if
 * there is no more room, once: see far_conn_full(). 0, -ENOTCONN, or -EMSGSIZE:
 * too long for the other side. */
int far_conn_forward(struct far_conn *conn, struct far_wire_header *header,
                     const void *fixed, size_t fixed_bytes, const void *rest,
                     size_t rest_bytes);
/* Is there so much in front of it that no more is to be passed on over it? */
bool far_conn_full(struct far_conn *conn);

/* The other's clock: its nanoseconds plus this are ours (an estimate, good to
 * half the difference of the two ways' least delays). */
int64_t far_conn_offset_ns(const struct far_conn *conn);
/* How long a frame that was made at their_ns was under way until now: above
 * the least of late, plus half the least round trip. */
uint64_t far_conn_wire_ns(const struct far_conn *conn, uint64_t their_ns);
/* The same for one of ours, from our clock's time to theirs of its receipt; 0
 * if the clocks are not known yet. */
uint64_t far_conn_way_ns(const struct far_conn *conn, uint64_t our_ns,
                         uint64_t their_ns);
/* Least round trip of late, 0 if unknown. */
uint64_t far_conn_rtt_ns(const struct far_conn *conn);

/* "10.0.0.2:7420", "[fe80::1]:7420" */
void far_conn_address_text(char *out, size_t bytes,
                           const struct sockaddr *address);

#endif
