/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One connection (netproxy/conn.h). In order: clocks, sending, ending,
 * receiving, the timer, beginning.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/usdt.h"
#include "netproxy/conn.h"

#define OPS_BYTES_MAX     65536u  /* plain text that waits: interrupts, ops */
#define FORWARD_BYTES_MAX 65536u  /* and then one more, that was passed on */
#define CONTROL_BYTES_MAX 32768u  /* and control frames above all others */
#define RECEIVE_FIRST     4096u   /* doubled while that is too little */
#define RECEIVE_MAX       131072u /* a turn, clear */
#define SEALED_MAX        65536u  /* a turn: what 50 us encrypt */
#define PIECE_BULK        32768u /* the same, of bulk: others come in between */
#define SEALED_MAX_BULK   131072u /* and what waits then */
#define NOT_SENT_BYTES    32768   /* at most, in the socket */
#define NOT_SENT_BULK     131072
#define CLOCK_WINDOW_US   10000000u
#define RESYNC_US         30000000u
#define USER_TIMEOUT_MS   2000

/* Clocks. */

static void clock_reset(struct far_conn *c)
{
    c->delta_ns[0] = c->delta_ns[1] = FAR_WIRE_UNKNOWN_NS;
    c->their_delta_ns = FAR_WIRE_UNKNOWN_NS;
    c->window_us = 0;
}

static void clock_seen(struct far_conn *c, uint64_t their_ns)
{
    int64_t delta = (int64_t)(c->received_ns - their_ns);

    if (c->received_ns / 1000 - c->window_us > CLOCK_WINDOW_US) {
        c->delta_ns[1] = c->delta_ns[0];
        c->delta_ns[0] = delta;
        c->window_us = c->received_ns / 1000;
    } else if (delta < c->delta_ns[0]) {
        c->delta_ns[0] = delta;
    }
}

static int64_t clock_least(const struct far_conn *c)
{
    if (c->delta_ns[1] == FAR_WIRE_UNKNOWN_NS)
        return c->delta_ns[0];
    return c->delta_ns[0] < c->delta_ns[1] ? c->delta_ns[0] : c->delta_ns[1];
}

/* What the other says is a number like any: a wild one is not believed. Both
 * clocks count from a boot; deltas cancel to a round trip of under a minute. */
static uint64_t least_round_trip(const struct far_conn *c, int64_t *least)
{
    int64_t sum;

    *least = clock_least(c);
    if (*least == FAR_WIRE_UNKNOWN_NS ||
        c->their_delta_ns == FAR_WIRE_UNKNOWN_NS ||
        __builtin_add_overflow(*least, c->their_delta_ns, &sum) || sum < 0 ||
        sum > 60000000000)
        return 0;
    return (uint64_t)sum;
}

int64_t far_conn_offset_ns(const struct far_conn *c)
{
    int64_t least;
    uint64_t rtt = least_round_trip(c, &least);

    if (least == FAR_WIRE_UNKNOWN_NS)
        return 0;
    return least - (int64_t)(rtt / 2);
}

uint64_t far_conn_wire_ns(const struct far_conn *c, uint64_t their_ns)
{
    int64_t least, above;
    uint64_t rtt = least_round_trip(c, &least);

    above = (int64_t)(c->received_ns - their_ns) - least;
    return (above > 0 ? (uint64_t)above : 0) + rtt / 2;
}

uint64_t far_conn_way_ns(const struct far_conn *c, uint64_t our_ns,
                         uint64_t their_ns)
{
    int64_t way = (int64_t)(their_ns - our_ns) + far_conn_offset_ns(c);

    return way > 0 ? (uint64_t)way : 0;
}

uint64_t far_conn_rtt_ns(const struct far_conn *c)
{
    int64_t least;

    return least_round_trip(c, &least);
}

/* Sending. */

static void watch(struct far_conn *c)
{
    uint32_t events = EPOLLIN;

    if (c->state == FAR_CONN_CONNECTING)
        events = EPOLLOUT;
    else if (c->out_blocked)
        events |= EPOLLOUT;
    if (c->io.events != events)
        far_io_set(&c->io, events);
}

static void want_flush(struct far_conn *c);
static void go_on(struct far_conn *c);

/* Plain text to records, as many as a turn sends. */
static int seal(struct far_conn *c, struct far_error *error)
{
    size_t used, room = c->shared ? SIZE_MAX : PIECE_BULK;

    if (far_tls_wants_rekey(&c->tls, c->received_ns / 1000))
        far_conn_rekey(c, NULL);
    while ((used = far_buf_used(&c->out)) && room &&
           far_buf_used(&c->tls.out) <
               (c->shared ? SEALED_MAX : SEALED_MAX_BULK)) {
        int rc;

        if (used > FAR_TLS_RECORD_BYTES)
            used = FAR_TLS_RECORD_BYTES;
        rc = far_tls_write(&c->tls, far_buf_at(&c->out), used, error);
        if (rc == -ENOBUFS)
            break;
        if (rc)
            return rc;
        far_buf_consume(&c->out, used);
        room -= used < room ? used : room;
    }
    return 0;
}

static void arm(struct far_conn *c);

/* All that waits, in one send: plain text to records to the socket. */
static void transmit(struct far_conn *c)
{
    struct far_buf *out = c->clear ? &c->out : &c->tls.out;
    struct far_error error = { 0 };
    size_t used;
    ssize_t n;
    int rc;

    if (c->state == FAR_CONN_ENDED || c->fd < 0)
        return;
    rc = c->tls.up ? seal(c, &error) : 0;
    if (rc) {
        far_conn_fail(c, rc, error.text);
        return;
    }
    used = far_buf_used(out);
    if (!used)
        return;
    n = send(c->fd, far_buf_at(out), used, MSG_NOSIGNAL | MSG_DONTWAIT);
    c->traffic->sends++;
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            far_conn_fail(c, -errno,
                          errno == EPIPE || errno == ECONNRESET
                              ? "the other side hung up"
                              : strerror(errno));
            return;
        }
        n = 0;
    }
    if (n > 0) {
        c->traffic->bytes_out += (uint64_t)n;
        far_buf_consume(out, (size_t)n);
        c->stalled_since_us = 0;
    }
    c->out_blocked = far_buf_used(out) != 0;
    if (c->out_blocked && !c->stalled_since_us) {
        c->stalled_since_us = far_now_us();
        arm(c);
    }
    watch(c);
    /* Plain text for which there was no room, or no time: the socket is
     * writable, so nobody else would call us. */
    if (far_buf_used(&c->out) && c->tls.up)
        go_on(c);
}

static void give_room(struct far_conn *c)
{
    if (c->wants_room && !c->out_blocked && c->state == FAR_CONN_UP) {
        c->wants_room = false;
        if (c->ops->room)
            c->ops->room(c);
    }
}

/* For who looks: a frame that is whole, before it is sent or taken apart. */
static void captured(const struct far_conn *c, bool out, const uint8_t *frame,
                     size_t bytes)
{
    if (out)
        FAR_PROBE3(wire__send, c->platform, frame, bytes);
    else
        FAR_PROBE3(wire__receive, c->platform, frame, bytes);
    if (__builtin_expect(c->traffic->capture != NULL, 0))
        far_capture_frame(c->traffic->capture, out, frame, bytes);
}

static void unwind(struct far_conn *c);

static void run_flush(struct far_defer *defer)
{
    struct far_conn *c =
        (struct far_conn *)((char *)defer - offsetof(struct far_conn, flush));

    c->busy++;
    transmit(c);
    give_room(c);
    unwind(c);
}

static void want_flush(struct far_conn *c)
{
    if (!c->out_blocked)
        far_defer(c->loop, &c->flush, run_flush);
}

/* In the next turn, when what is urgent there has been done. */
static void go_on(struct far_conn *c)
{
    if (c->shared)
        want_flush(c);
    else if (!c->out_blocked)
        far_defer_late(c->loop, &c->flush, run_flush);
}

void far_conn_with_option(struct far_conn *c, uint16_t type, const void *value,
                          size_t bytes)
{
    c->option_type = type;
    c->option_bytes = (uint16_t)bytes;
    memcpy(c->option, value, bytes);
}

/* Room that it takes in the next frame. */
static size_t option_room(const struct far_conn *c)
{
    return c->option_bytes ? FAR_WIRE_OPTION_ROOM(c->option_bytes) : 0;
}

/* Behind the frame at `frame`, for which there is room; its new length. */
static size_t add_option(struct far_conn *c, uint8_t *frame, size_t bytes)
{
    if (c->option_bytes)
        bytes = far_wire_add_option(frame, bytes + option_room(c),
                                    c->option_type, c->option, c->option_bytes);
    c->option_bytes = 0;
    return bytes;
}

void far_conn_send(struct far_conn *c, struct far_wire_header *header,
                   const void *fixed, size_t fixed_bytes, const char *text)
{
    far_conn_send_options(c, header, fixed, fixed_bytes, text, NULL, 0);
}

void far_conn_send_options(struct far_conn *c, struct far_wire_header *header,
                           const void *fixed, size_t fixed_bytes,
                           const char *text,
                           const struct far_wire_value *options, unsigned count)
{
    size_t bytes = FAR_WIRE_ROOM(fixed_bytes), n;
    uint8_t *room;
    unsigned i;

    if (c->state != FAR_CONN_UP && c->state != FAR_CONN_GREETING)
        return;
    for (i = 0; i < count; i++)
        bytes += FAR_WIRE_OPTION_ROOM(options[i].bytes);
    room = far_buf_reserve(&c->out, bytes);
    if (!room) {
        far_conn_fail(c, -ENOBUFS, "it does not read what it asked for");
        return;
    }
    header->time_ns = far_now_ns();
    n = far_wire_encode(room, bytes, header, fixed, fixed_bytes, text);
    for (i = 0; i < count; i++)
        n = far_wire_add_option(room, bytes, options[i].type, options[i].value,
                                options[i].bytes);
    captured(c, true, room, n);
    far_buf_commit(&c->out, n);
    c->traffic->frames_out++;
    want_flush(c);
}

/* Bulk waits at its sources, where it can be chosen from, not here; what is
 * urgent finds room behind it. */
static uint8_t *room_for(struct far_conn *c, uint8_t lane, size_t bytes)
{
    size_t waits = far_buf_used(&c->out), most = OPS_BYTES_MAX + bytes;
    uint8_t *room = NULL;

    if (lane == FAR_WIRE_LANE_BULK) {
        most = c->shared ? FAR_CONN_SHARED_BYTES : FAR_CONN_BULK_BYTES;
        waits += far_buf_used(&c->tls.out);
    }
    if (waits < most)
        room = far_buf_reserve(&c->out, bytes);
    if (!room)
        c->wants_room = true;
    return room;
}

void far_conn_want_room(struct far_conn *c)
{
    c->wants_room = true;
    want_flush(c);
}

static void sent(struct far_conn *c, const uint8_t *frame, size_t bytes)
{
    captured(c, true, frame, bytes);
    far_buf_commit(&c->out, bytes);
    c->traffic->frames_out++;
    want_flush(c);
    arm(c);
}

int far_conn_send_op(struct far_conn *c, struct far_wire_header *header,
                     const struct far_op *op, const void *payload)
{
    size_t bytes = far_wire_op_bytes(header, op);
    size_t whole = bytes + option_room(c);
    uint8_t *room;

    if (c->state != FAR_CONN_UP)
        return -ENOTCONN;
    room = room_for(c, header->lane, whole);
    if (!room) {
        c->option_bytes = 0;
        return -EAGAIN;
    }
    header->time_ns = far_now_ns();
    far_wire_encode_op(room, bytes, header, op, payload);
    bytes = add_option(c, room, bytes);
    sent(c, room, bytes);
    return 0;
}

int far_conn_send_piece(struct far_conn *c, struct far_wire_header *header,
                        const struct far_wire_data *piece, const void *payload)
{
    size_t padded = (piece->bytes + (size_t)7) & ~(size_t)7;
    size_t bytes = FAR_WIRE_HEADER_BYTES + sizeof(*piece) + padded;
    uint8_t *room, *body;

    if (c->state != FAR_CONN_UP)
        return -ENOTCONN;
    room = room_for(c, header->lane, bytes);
    if (!room)
        return -EAGAIN;
    header->type = FAR_WIRE_DATA;
    header->bytes = (uint32_t)bytes;
    header->time_ns = far_now_ns();
    body = room + FAR_WIRE_HEADER_BYTES;
    memcpy(room, header, FAR_WIRE_HEADER_BYTES);
    memcpy(body, piece, sizeof(*piece));
    memcpy(body + sizeof(*piece), payload, piece->bytes);
    memset(body + sizeof(*piece) + piece->bytes, 0, padded - piece->bytes);
    sent(c, room, bytes);
    return 0;
}

uint32_t far_conn_piece_bytes(const struct far_conn *c)
{
    uint32_t most = c->theirs.frame_max - FAR_WIRE_HEADER_BYTES -
                    (uint32_t)sizeof(struct far_op) -
                    (uint32_t)FAR_WIRE_OPTION_ROOM(sizeof(c->option));

    return most < FAR_CONN_PIECE_BYTES ? most & ~7u : FAR_CONN_PIECE_BYTES;
}

int far_conn_rekey(struct far_conn *c, struct far_error *error)
{
    int rc;

    if (c->clear)
        return far_error(error, -EOPNOTSUPP,
                         "the connection is in clear text: it has no keys");
    if (c->state != FAR_CONN_UP)
        return far_error(error, -ENOTCONN, "the connection is not up");
    rc = far_tls_rekey(&c->tls, error);
    if (rc == -ENOBUFS)
        return far_error(error, -EAGAIN, "too much waits to be sent");
    if (rc)
        return rc;
    c->traffic->rekeys++;
    want_flush(c);
    return 0;
}

bool far_conn_full(struct far_conn *c)
{
    return c->state == FAR_CONN_UP && far_buf_used(&c->out) > FORWARD_BYTES_MAX;
}

int far_conn_forward(struct far_conn *c, struct far_wire_header *header,
                     const void *fixed, size_t fixed_bytes, const void *rest,
                     size_t rest_bytes)
{
    size_t bytes = FAR_WIRE_HEADER_BYTES + fixed_bytes + rest_bytes;
    uint8_t *room;

    if (c->state != FAR_CONN_UP)
        return -ENOTCONN;
    if (bytes > c->theirs.frame_max)
        return -EMSGSIZE;
    room = far_buf_reserve(&c->out, bytes);
    if (!room) {
        far_conn_fail(c, -ENOBUFS, "it does not read what it asked for");
        return -ENOTCONN;
    }
    header->bytes = (uint32_t)bytes;
    header->time_ns = far_now_ns();
    memcpy(room, header, FAR_WIRE_HEADER_BYTES);
    memcpy(room + FAR_WIRE_HEADER_BYTES, fixed, fixed_bytes);
    if (rest_bytes)
        memcpy(room + FAR_WIRE_HEADER_BYTES + fixed_bytes, rest, rest_bytes);
    sent(c, room, bytes);
    return 0;
}

/* Ending. */

static void release(struct far_conn *c)
{
    far_io_del(&c->io);
    far_look_stop(&c->look);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    far_timer_cancel(&c->timer);
    far_defer_cancel(c->loop, &c->flush);
    far_defer_cancel(c->loop, &c->late);
    far_tls_free(&c->tls);
    free(c->nonces);
    c->nonces = NULL;
    far_buf_free(&c->in);
    far_buf_free(&c->out);
}

/* The last frame, with the reason, as far as the socket takes it now. */
static void tell_peer(struct far_conn *c, int code, const char *reason)
{
    struct far_wire_header header = { .type = FAR_WIRE_ERROR };
    struct far_wire_error body = { .status = code };

    struct far_buf *out = c->clear ? &c->out : &c->tls.out;

    if (c->told_peer || c->fd < 0 || (!c->clear && !c->tls.session))
        return;
    c->told_peer = true;
    if (c->clear && reason) {
        uint8_t *room = far_buf_reserve(&c->out, FAR_WIRE_ROOM(sizeof(body)));

        header.time_ns = far_now_ns();
        if (room)
            far_buf_commit(
                &c->out, far_wire_encode(room, FAR_WIRE_ROOM(sizeof(body)),
                                         &header, &body, sizeof(body), reason));
    } else if (c->tls.up && reason) {
        uint8_t frame[FAR_WIRE_ROOM(sizeof(body))];
        size_t n;

        header.time_ns = far_now_ns();
        n = far_wire_encode(frame, sizeof(frame), &header, &body, sizeof(body),
                            reason);
        if (far_buf_used(&c->out) <= FAR_TLS_RECORD_BYTES &&
            far_buf_used(&c->out))
            far_tls_write(&c->tls, far_buf_at(&c->out), far_buf_used(&c->out),
                          NULL);
        captured(c, true, frame, n);
        far_tls_write(&c->tls, frame, n, NULL);
        far_tls_bye(&c->tls);
    }
    /* Also the alert of a handshake that failed. */
    if (far_buf_used(out)) {
        ssize_t n = send(c->fd, far_buf_at(out), far_buf_used(out),
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        (void)n; /* it may not listen any more */
    }
}

static void run_bury(struct far_defer *defer)
{
    struct far_conn *c =
        (struct far_conn *)((char *)defer - offsetof(struct far_conn, bury));

    c->busy++;
    release(c);
    if (!c->freed)
        c->ops->down(c, c->code, c->why.text);
    unwind(c);
}

void far_conn_fail(struct far_conn *c, int code, const char *reason)
{
    if (c->state == FAR_CONN_ENDED)
        return;
    /* Words that came from c->why itself stay where they are. */
    if (reason != c->why.text)
        far_error(&c->why, code, "%s", reason);
    c->code = code;
    if (c->state != FAR_CONN_CONNECTING)
        tell_peer(c, code, reason);
    c->state = FAR_CONN_ENDED;
    c->traffic->failures++;
    c->traffic->distrusted += c->tls.distrust != FAR_DISTRUST_NONE;
    far_io_del(&c->io);
    far_look_stop(&c->look);
    far_timer_cancel(&c->timer);
    far_defer_cancel(c->loop, &c->late);
    far_defer(c->loop, &c->bury, run_bury);
}

/* Leaves a callback: frees what was freed in it. */
static void unwind(struct far_conn *c)
{
    if (--c->busy || !c->freed)
        return;
    far_defer_cancel(c->loop, &c->bury);
    release(c);
    free(c);
}

void far_conn_free(struct far_conn *c, const char *reason)
{
    if (!c || c->freed)
        return;
    if (reason && c->state != FAR_CONN_ENDED && c->state != FAR_CONN_CONNECTING)
        tell_peer(c, -ESHUTDOWN, reason);
    c->state = FAR_CONN_ENDED;
    c->freed = true;
    far_io_del(&c->io);
    far_look_stop(&c->look);
    far_timer_cancel(&c->timer);
    far_defer_cancel(c->loop, &c->flush);
    far_defer_cancel(c->loop, &c->late);
    c->busy++;
    unwind(c);
}

/* Receiving. */

static void enter(struct far_conn *c, enum far_conn_state state)
{
    c->state = state;
    c->since_us = far_now_us();
}

static void send_heartbeat(struct far_conn *c, uint32_t flags, uint64_t echo_ns)
{
    struct far_wire_header header = { .type = FAR_WIRE_HEARTBEAT };
    struct far_wire_heartbeat body = {
        .flags = flags,
        .delta_ns = clock_least(c),
        .echo_ns = echo_ns,
        .held_ns = echo_ns ? far_now_ns() - c->received_ns : 0,
    };

    if (flags & FAR_WIRE_HEARTBEAT_ASKS)
        c->synced_us = far_now_us();
    c->traffic->heartbeats++;
    far_conn_send(c, &header, &body, sizeof(body), NULL);
}

static int greeted(struct far_conn *c, const struct far_wire_frame *f,
                   struct far_error *error)
{
    const struct far_wire_hello *h = &f->hello;
    int version, rc;

    version = far_wire_version(&c->mine, h);
    if (version < 0)
        return far_error(error, version,
                         "it speaks versions %u to %u of the protocol, we %u "
                         "to %u: upgrade the older one",
                         h->version_min, h->version_max, c->mine.version_min,
                         c->mine.version_max);
    if (h->needs)
        return far_error(error, -EPROTONOSUPPORT,
                         "it insists on capabilities that we lack: %llx",
                         (unsigned long long)h->needs);
    if (c->clear && c->server) /* claimed: up() says whether that is enough */
        memcpy(c->platform, h->platform, sizeof(c->platform));
    if (h->role != (c->server ? FAR_WIRE_CLIENT : FAR_WIRE_SERVER))
        return far_error(error, -EPROTO, "it has the same role as we");
    if (strcmp(h->platform, c->platform))
        return far_error(error, -EACCES,
                         !c->server ? "expected the platform %s there, but "
                                      "it calls itself %s"
                         : c->tls.by_certificate
                             ? "its certificate is that of %s, but it calls "
                               "itself %s"
                             : "its key is that of %s, but it calls itself %s",
                         c->platform, h->platform);
    c->theirs = *h;
    c->version = version;
    enter(c, FAR_CONN_UP);
    c->missed = 0;
    far_timer_cancel(&c->timer);
    arm(c);
    rc = c->ops->up(c, error);
    if (rc)
        return rc;
    if (!c->server) /* so that the round trip is known before it matters */
        send_heartbeat(c, FAR_WIRE_HEARTBEAT_ASKS, 0);
    return 0;
}

static void heard_heartbeat(struct far_conn *c, const struct far_wire_frame *f)
{
    const struct far_wire_heartbeat *h = &f->heartbeat;

    c->their_delta_ns = h->delta_ns;
    if (h->flags & FAR_WIRE_HEARTBEAT_ANSWERS) {
        uint64_t rtt = c->received_ns - h->echo_ns - h->held_ns;

        if (rtt < 60000000000u)
            far_hist_add(&c->traffic->rtt, rtt);
    }
    if (h->flags & FAR_WIRE_HEARTBEAT_ASKS)
        send_heartbeat(c, FAR_WIRE_HEARTBEAT_ANSWERS, f->header.time_ns);
}

static int take_frame(struct far_conn *c, const struct far_wire_frame *f,
                      struct far_error *error)
{
    clock_seen(c, f->header.time_ns);
    if (c->state == FAR_CONN_GREETING) {
        if (f->header.type == FAR_WIRE_ERROR)
            return far_error(error, f->error.status ? f->error.status : -EPROTO,
                             "it says: %s", f->text);
        if (f->header.type != FAR_WIRE_HELLO)
            return far_error(error, -EPROTO, "it does not begin with a hello");
        return greeted(c, f, error);
    }
    if (!f->known || f->refused) {
        c->traffic->unknown_frames++;
        if (f->refused || (f->header.flags & FAR_WIRE_MUST)) {
            struct far_wire_header header = { .type = FAR_WIRE_ERROR,
                                              .handle = f->header.handle };
            struct far_wire_error body = { .status = -EOPNOTSUPP,
                                           .about = f->header.type };
            char room[16], text[64];

            snprintf(text, sizeof(text), "%s: not known here",
                     far_wire_type_name(f->header.type, room));
            far_conn_send(c, &header, &body, sizeof(body), text);
        }
        return 0;
    }
    switch (f->header.type) {
    case FAR_WIRE_HELLO:
        return far_error(error, -EPROTO, "it greets twice");
    case FAR_WIRE_HEARTBEAT:
        heard_heartbeat(c, f);
        return 0;
    case FAR_WIRE_ERROR:
        if (f->header.handle || f->error.about)
            break;
        c->told_peer = true; /* nothing to add */
        return far_error(error, f->error.status < 0 ? f->error.status : -EPROTO,
                         "it says: %s",
                         f->text[0] ? f->text : "goodbye, without a reason");
    default:
        break;
    }
    return c->ops->frame(c, f, error);
}

/* All whole frames of what was decrypted. */
static int take_frames(struct far_conn *c, struct far_error *error)
{
    while (c->state == FAR_CONN_GREETING || c->state == FAR_CONN_UP) {
        struct far_wire_frame frame;
        int n = far_wire_next(far_buf_at(&c->in), far_buf_used(&c->in),
                              c->state == FAR_CONN_UP ? FAR_CONN_FRAME_MAX
                                                      : FAR_WIRE_HELLO_MAX,
                              error);
        int rc;

        if (n <= 0)
            return n;
        captured(c, false, far_buf_at(&c->in), (size_t)n);
        rc = far_wire_decode(&frame, far_buf_at(&c->in), (size_t)n, error);
        if (!rc) {
            c->traffic->frames_in++;
            rc = take_frame(c, &frame, error);
        }
        if (rc)
            return rc;
        if (c->freed)
            return 0;
        far_buf_consume(&c->in, (size_t)n);
    }
    return 0;
}

static void say_hello(struct far_conn *c)
{
    struct far_wire_header header = { .type = FAR_WIRE_HELLO,
                                      .hops = FAR_WIRE_HOPS };

    enter(c, FAR_CONN_GREETING);
    if (c->server && !c->clear)
        memcpy(c->platform, c->tls.identity, sizeof(c->platform));
    far_conn_send(c, &header, &c->mine, sizeof(c->mine), NULL);
}

static void run_late(struct far_defer *defer);

static int take_bytes(struct far_conn *c, struct far_error *error)
{
    size_t taken = 0;
    ssize_t n;
    int rc;

    if (c->clear) {
        rc = take_frames(c, error);
        if (!rc && !c->freed && c->tls.in_ended)
            rc = far_error(error, -ECONNRESET, "it hung up");
        return rc;
    }
    if (c->state == FAR_CONN_HANDSHAKE) {
        rc = far_tls_handshake(&c->tls, error);
        if (rc && rc != -EAGAIN)
            return rc;
        if (!rc)
            say_hello(c);
        want_flush(c);
        if (rc == -EAGAIN)
            return c->tls.in_ended ? far_error(error, -ECONNRESET,
                                               "it hung up in the handshake")
                                   : 0;
    }
    while (!c->freed && c->state != FAR_CONN_ENDED) {
        uint8_t *room;

        if (taken >= PIECE_BULK && !c->shared) {
            c->behind = true;
            c->late_events |= EPOLLIN;
            far_defer_late(c->loop, &c->late, run_late);
            return 0;
        }
        room = far_buf_reserve(&c->in, FAR_TLS_RECORD_BYTES);
        if (!room)
            return far_error(error, -ENOMEM, "out of memory");
        n = far_tls_read(&c->tls, room, FAR_TLS_RECORD_BYTES, error);
        if (n == -EAGAIN)
            return c->tls.in_ended ? far_error(error, -ECONNRESET, "it hung up")
                                   : 0;
        if (!n)
            return far_error(error, -ECONNRESET, "it hung up");
        if (n < 0)
            return (int)n;
        far_buf_commit(&c->in, (size_t)n);
        taken += (size_t)n;
        rc = take_frames(c, error);
        if (rc)
            return rc;
    }
    return 0;
}

static void take(struct far_conn *c)
{
    struct far_error error = { 0 };
    int rc;

    c->behind = false;
    rc = take_bytes(c, &error);
    if (rc && !c->freed)
        far_conn_fail(c, rc, error.text);
    else if (far_buf_used(&c->tls.out)) /* TLS's own: new keys */
        want_flush(c);
}

/* One recv a turn: what does not fit comes with the next. Was there anything?
 */
static bool receive(struct far_conn *c)
{
    struct far_buf *in = c->clear ? &c->in : &c->tls.in;
    uint8_t *room;
    size_t bytes = c->receive_bytes;
    ssize_t n;

    if (c->behind) {
        take(c);
        return true;
    }
    room = far_buf_reserve(in, c->receive_bytes);
    if (!room) {
        far_conn_fail(c, -EPROTO, "what never ends can't be read");
        return true;
    }
    n = recv(c->fd, room, bytes, MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return false;
        far_conn_fail(c, -errno,
                      errno == ECONNRESET ? "it hung up" : strerror(errno));
        return true;
    }
    c->traffic->receives++;
    c->received_ns = far_now_ns();
    far_look_heard(&c->look, c->loop, c->fd, c->received_ns);
    c->heard_us = c->received_ns / 1000;
    c->missed = 0;
    c->asked = false;
    if (!n)
        c->tls.in_ended = true;
    if ((size_t)n == bytes &&
        bytes < (c->shared && !c->clear ? SEALED_MAX : RECEIVE_MAX))
        c->receive_bytes *= 2;
    far_buf_commit(in, (size_t)n);
    c->traffic->bytes_in += (uint64_t)n;
    take(c);
    return true;
}

static void connected(struct far_conn *c)
{
    struct far_error error = { 0 };
    int code = 0, rc;
    socklen_t bytes = sizeof(code);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &bytes))
        code = errno;
    if (code) {
        far_conn_fail(c, -code,
                      code == ECONNREFUSED
                          ? "connection refused (is farside-netproxy running "
                            "there, and listening?)"
                          : strerror(code));
        return;
    }
    enter(c, FAR_CONN_HANDSHAKE);
    far_timer_set(&c->timer, far_now_us() + FAR_CONN_HANDSHAKE_US);
    watch(c);
    if (c->clear) {
        say_hello(c);
        return;
    }
    rc = far_tls_handshake(&c->tls, &error);
    if (rc && rc != -EAGAIN) {
        far_conn_fail(c, rc, error.text);
        return;
    }
    want_flush(c);
}

static void serve(struct far_conn *c, uint32_t events)
{
    c->busy++;
    if (c->state == FAR_CONN_CONNECTING) {
        connected(c);
    } else {
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(c);
        if ((events & EPOLLOUT) && c->state != FAR_CONN_ENDED) {
            c->out_blocked = false;
            transmit(c);
            give_room(c);
        }
    }
    unwind(c);
}

static void run_late(struct far_defer *defer)
{
    struct far_conn *c =
        (struct far_conn *)((char *)defer - offsetof(struct far_conn, late));

    uint32_t events = c->late_events;
    bool here = far_look_here(&c->look);

    c->late_events = 0;
    serve(c, events);
    /* Bulk has had its piece. A peer that waits for the same processor may have
     * something urgent: it need not wait until our time is used up. */
    if (here)
        (void)sched_yield();
}

/* While the loop would sleep. What this turn takes anyway is left to it. */
static bool look(struct far_poller *poller)
{
    struct far_conn *c =
        (struct far_conn *)((char *)poller -
                            offsetof(struct far_conn, look.poller));
    bool any;

    if (c->late.queued || !far_look_worth(&c->look))
        return false;
    c->busy++;
    any = receive(c);
    unwind(c);
    return any;
}

/* Bulk comes after all else that this turn has to do. */
static void ready(struct far_io *io, uint32_t events)
{
    struct far_conn *c =
        (struct far_conn *)((char *)io - offsetof(struct far_conn, io));

    if (c->state == FAR_CONN_UP && !c->shared) {
        c->late_events |= events;
        far_defer_late(c->loop, &c->late, run_late);
    } else {
        serve(c, events);
    }
}

static bool has_need(const struct far_conn *c)
{
    return c->watched || c->asked || c->stalled_since_us ||
           (c->ops->waits && c->ops->waits(c));
}

/* It ticks while it is in use, and then as long as there is a need. */
static void arm(struct far_conn *c)
{
    if (c->state == FAR_CONN_UP && !far_timer_armed(&c->timer))
        far_timer_set(&c->timer, far_now_us() + FAR_CONN_HEARTBEAT_US);
}

void far_conn_share(struct far_conn *c, bool shared)
{
    int bytes = shared ? NOT_SENT_BYTES : NOT_SENT_BULK;

    if (c->shared == shared)
        return;
    c->shared = shared;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

void far_conn_spin(struct far_conn *c, struct far_spin *spin)
{
    far_look_stop(&c->look);
    far_look_init(&c->look, spin, look);
}

void far_conn_watch(struct far_conn *c, bool on)
{
    c->watched = on;
    if (on)
        arm(c);
}

void far_conn_ask(struct far_conn *c)
{
    if (c->state != FAR_CONN_UP || c->asked)
        return;
    c->asked = true;
    c->missed = 1; /* who asks has waited already */
    send_heartbeat(c, FAR_WIRE_HEARTBEAT_ASKS, 0);
    arm(c);
}

/* Nothing was heard for a heartbeat: what its busy times made it take is given
 * back. */
static void relax(struct far_conn *c)
{
    c->receive_bytes = RECEIVE_FIRST;
    far_buf_relax(&c->in);
    far_buf_relax(&c->out);
    far_buf_relax(&c->tls.in);
    far_buf_relax(&c->tls.out);
}

static void beat(struct far_conn *c, uint64_t now_us)
{
    uint64_t next_us = c->heard_us + FAR_CONN_HEARTBEAT_US;

    if (next_us <= now_us) {
        next_us = now_us + FAR_CONN_HEARTBEAT_US;
        relax(c);
        if (!has_need(c))
            return;
        c->asked = true;
        send_heartbeat(c, FAR_WIRE_HEARTBEAT_ASKS, 0);
        if (c->missed++ && c->ops->silent)
            c->ops->silent(c);
    } else if (c->watched && now_us - c->synced_us > RESYNC_US) {
        send_heartbeat(c, FAR_WIRE_HEARTBEAT_ASKS, 0);
    }
    if (c->state == FAR_CONN_UP)
        far_timer_set(&c->timer, next_us);
}

/* The timer: connecting, the handshake, and then the heartbeat. Silence is
 * counted in beats, not by the clock: after a stop of this process (or of the
 * whole machine) what has come meanwhile is read first. */
static void tick(struct far_timer *timer)
{
    struct far_conn *c =
        (struct far_conn *)((char *)timer - offsetof(struct far_conn, timer));
    uint64_t now_us = far_now_us();

    c->busy++;
    if (c->state == FAR_CONN_CONNECTING)
        far_conn_fail(c, -ETIMEDOUT, "no answer: the host is silent");
    else if (c->state != FAR_CONN_UP)
        far_conn_fail(c, -ETIMEDOUT, "it did not finish the handshake in time");
    else if (c->stalled_since_us &&
             now_us - c->stalled_since_us > FAR_CONN_STALLED_US)
        far_conn_fail(c, -ETIMEDOUT, "it has stopped reading");
    else if (now_us - c->heard_us >= FAR_CONN_HEARTBEAT_US && c->missed >= 2 &&
             has_need(c))
        far_conn_fail(c, -ETIMEDOUT, "it has been silent for three heartbeats");
    else
        beat(c, now_us);
    unwind(c);
}

void far_traffic_add(struct far_traffic *sum, const struct far_traffic *more)
{
    sum->frames_in += more->frames_in;
    sum->frames_out += more->frames_out;
    sum->bytes_in += more->bytes_in;
    sum->bytes_out += more->bytes_out;
    sum->sends += more->sends;
    sum->receives += more->receives;
    sum->heartbeats += more->heartbeats;
    sum->unknown_frames += more->unknown_frames;
    sum->connects += more->connects;
    sum->failures += more->failures;
    sum->rekeys += more->rekeys;
    sum->distrusted += more->distrusted;
    far_hist_merge(&sum->rtt, &more->rtt);
}

/* Beginning. */

void far_conn_address_text(char *out, size_t bytes,
                           const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        snprintf(out, bytes, "%s:%u", text, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;

        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        snprintf(out, bytes, "[%s]:%u", text, ntohs(in6->sin6_port));
    } else {
        snprintf(out, bytes, "?");
    }
}

static struct far_conn *create(struct far_loop *loop,
                               const struct far_conn_ops *ops, void *owner,
                               struct far_traffic *traffic,
                               const struct far_wire_hello *me, bool server)
{
    struct far_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->loop = loop;
    c->ops = ops;
    c->owner = owner;
    c->traffic = traffic;
    c->mine = *me;
    c->mine.role = server ? FAR_WIRE_SERVER : FAR_WIRE_CLIENT;
    c->server = server;
    c->shared = true;
    c->receive_bytes = RECEIVE_FIRST;
    c->fd = c->io.fd = -1;
    far_timer_init(&c->timer, loop, tick);
    far_buf_init(&c->in, FAR_CONN_FRAME_MAX + RECEIVE_MAX);
    far_buf_init(&c->out,
                 FAR_CONN_BULK_BYTES + OPS_BYTES_MAX + CONTROL_BYTES_MAX);
    clock_reset(c);
    return c;
}

static void tune(int fd)
{
    int one = 1, ms = USER_TIMEOUT_MS, bytes = NOT_SENT_BYTES;

    /* Best effort: none is needed for correctness. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

struct far_conn *
far_conn_connect(struct far_loop *loop, const struct far_conn_ops *ops,
                 void *owner, struct far_traffic *traffic,
                 const struct far_wire_hello *me, const char *platform,
                 const struct far_key *key, struct far_trust *trust,
                 const struct sockaddr *address, socklen_t address_bytes,
                 struct far_error *error)
{
    struct far_conn *c = create(loop, ops, owner, traffic, me, false);
    int rc;

    if (!c) {
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    snprintf(c->platform, sizeof(c->platform), "%s", platform);
    far_conn_address_text(c->address, sizeof(c->address), address);
    c->clear = !key && !trust;
    if (!c->clear && far_tls_client(&c->tls, key, trust, platform, error))
        goto out;
    c->fd = socket(address->sa_family,
                   SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        far_error(error, -errno, "socket: %s", strerror(errno));
        goto out;
    }
    tune(c->fd);
    if (connect(c->fd, address, address_bytes) && errno != EINPROGRESS) {
        far_error(error, -errno, "%s", strerror(errno));
        goto out;
    }
    rc = far_io_add(loop, &c->io, c->fd, EPOLLOUT, ready);
    if (rc) {
        far_error(error, rc, "%s", strerror(-rc));
        goto out;
    }
    enter(c, FAR_CONN_CONNECTING);
    far_timer_set(&c->timer, far_now_us() + FAR_CONN_CONNECT_US);
    traffic->connects++;
    return c;

out:
    release(c);
    free(c);
    return NULL;
}

struct far_conn *
far_conn_accept(struct far_loop *loop, const struct far_conn_ops *ops,
                void *owner, struct far_traffic *traffic,
                const struct far_wire_hello *me, const struct far_keys *keys,
                struct far_trust *trust, int fd, struct far_error *error)
{
    struct far_conn *c = create(loop, ops, owner, traffic, me, true);
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    int rc;

    if (!c) {
        close(fd);
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    c->fd = fd;
    tune(fd);
    if (!getpeername(fd, (struct sockaddr *)&address, &bytes))
        far_conn_address_text(c->address, sizeof(c->address),
                              (struct sockaddr *)&address);
    c->clear = !keys;
    rc = keys ? far_tls_server(&c->tls, keys, trust, error) : 0;
    if (!rc) {
        rc = far_io_add(loop, &c->io, fd, EPOLLIN, ready);
        if (rc)
            far_error(error, rc, "%s", strerror(-rc));
    }
    if (rc) {
        release(c);
        free(c);
        return NULL;
    }
    enter(c, FAR_CONN_HANDSHAKE);
    far_timer_set(&c->timer, far_now_us() + FAR_CONN_HANDSHAKE_US);
    traffic->connects++;
    if (c->clear)
        say_hello(c);
    return c;
}
