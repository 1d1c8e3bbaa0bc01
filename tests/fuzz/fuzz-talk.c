/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whole conversations with a hostile peer: the owner's side (server, sessions,
 * devices) against a client, and the client's side (link, remotes) against a
 * server. All that is real but what is below: TLS lets everything through (its
 * functions are here, so that netproxy/tls.c is not linked), connections are
 * socket pairs, and the clock stands still unless the input moves it (the
 * linker wraps a few calls, see tests/local.mk).
 *
 * An input is a side (even: the peer is a client) and steps of four bytes and
 * some data: what, a, b, n, and n bytes. Frames are made whole from little,
 * with what was seen of the other side, so that most inputs get far.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "core/block.h"
#include "core/clock.h"
#include "core/input.h"
#include "netproxy/controller.h"
#include "netproxy/route.h"
#include "netproxy/link.h"
#include "netproxy/notify.h"
#include "netproxy/remote.h"
#include "netproxy/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define STEPS_MAX 256
#define PEERS     4 /* connections at a time */
#define GUESTS    3

/* ---- TLS that is none ---- */

int far_tls_client(struct far_tls *tls, const struct far_key *key,
                   struct far_trust *trust, const char *platform,
                   struct far_error *error)
{
    (void)key;
    (void)trust;
    (void)platform;
    (void)error;
    memset(tls, 0, sizeof(*tls));
    far_buf_init(&tls->in, 1 << 18);
    far_buf_init(&tls->out, 1 << 18);
    tls->session = (gnutls_session_t)(void *)tls;
    snprintf(tls->identity, sizeof(tls->identity), "mallory");
    return 0;
}

int far_tls_server(struct far_tls *tls, const struct far_keys *keys,
                   struct far_trust *trust, struct far_error *error)
{
    (void)keys;
    return far_tls_client(tls, NULL, trust, "", error);
}

void far_tls_free(struct far_tls *tls)
{
    far_buf_free(&tls->in);
    far_buf_free(&tls->out);
    tls->session = NULL;
}

int far_tls_handshake(struct far_tls *tls, struct far_error *error)
{
    (void)error;
    tls->up = true;
    return 0;
}

ssize_t far_tls_read(struct far_tls *tls, void *data, size_t bytes,
                     struct far_error *error)
{
    size_t n = far_buf_used(&tls->in);

    (void)error;
    if (!n)
        return tls->in_ended ? 0 : -EAGAIN;
    n = n < bytes ? n : bytes;
    memcpy(data, far_buf_at(&tls->in), n);
    far_buf_consume(&tls->in, n);
    return (ssize_t)n;
}

int far_tls_write(struct far_tls *tls, const void *data, size_t bytes,
                  struct far_error *error)
{
    uint8_t *room = far_buf_reserve(&tls->out, bytes);

    (void)error;
    if (!room)
        return -ENOBUFS;
    memcpy(room, data, bytes);
    far_buf_commit(&tls->out, bytes);
    return 0;
}

int far_tls_rekey(struct far_tls *tls, struct far_error *error)
{
    (void)tls;
    (void)error;
    return 0;
}

bool far_tls_wants_rekey(const struct far_tls *tls, uint64_t now_us)
{
    (void)tls;
    (void)now_us;
    return false;
}

enum far_distrust far_tls_judge(const struct far_tls *tls,
                                const struct far_trust *trust, int64_t now_s,
                                struct far_error *error)
{
    (void)tls;
    (void)trust;
    (void)now_s;
    (void)error;
    return FAR_DISTRUST_NONE;
}

void far_tls_bye(struct far_tls *tls)
{
    (void)tls;
}

void far_tls_proof(const struct far_tls *tls, char *out, size_t bytes)
{
    (void)tls;
    snprintf(out, bytes, "none");
}

void far_tls_describe(const struct far_tls *tls, char *out, size_t bytes)
{
    (void)tls;
    snprintf(out, bytes, "none");
}

/* ---- what the linker wraps ---- */

static uint64_t clock_ns;
static int timer_fd = -1;
static int peers[PEERS]; /* our ends; -1: none */
static int to_accept = -1;

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    if (clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, t);
    t->tv_sec = (time_t)(clock_ns / 1000000000);
    t->tv_nsec = (long)(clock_ns % 1000000000);
    return 0;
}

int __real_timerfd_settime(int fd, int flags, const struct itimerspec *when,
                           struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
                           struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *when,
                           struct itimerspec *old)
{
    (void)flags;
    (void)when;
    (void)old;
    timer_fd = fd;
    return 0;
}

static int new_peer(void)
{
    int pair[2];

    for (unsigned i = 0; i < PEERS; i++) {
        if (peers[i] >= 0)
            continue;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                       pair))
            abort();
        peers[i] = pair[0];
        return pair[1];
    }
    return -1;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    int other = new_peer();

    (void)address;
    (void)bytes;
    if (other < 0) {
        errno = ECONNREFUSED;
        return -1;
    }
    if (dup3(other, fd, SOCK_CLOEXEC) < 0)
        abort();
    close(other);
    return 0;
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes,
                   int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *bytes,
                   int flags)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    int other = to_accept;

    (void)fd;
    (void)flags;
    to_accept = -1;
    if (other < 0) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(address, &in, sizeof(in));
    *bytes = sizeof(in);
    return other;
}

/* A listener is the end of a pipe: readable when somebody wants in. */
static int knock[2];
int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain;
    (void)protocol;
    (void)type;
    return dup(knock[0]);
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
    (void)fd;
    (void)address;
    (void)bytes;
    return 0;
}

int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
    (void)fd;
    (void)backlog;
    return 0;
}

/* ---- our side ---- */

/* Who attaches, at the client's side. */
struct guest {
    struct far_layer layer;
    struct far_local_who who;
    uint64_t incarnation, received, sequence;
    uint64_t busy; /* slots */
    uint64_t sequences[FAR_OP_SLOTS_MAX];
    uint16_t opcodes[FAR_OP_SLOTS_MAX];
    bool open, full, numbered;
    uint8_t payload[FAR_OP_SLOTS_MAX][512];
};

static struct world {
    struct far_loop *loop;
    struct far_log *log;
    struct far_conf *conf;
    struct far_context context;
    struct far_devices devices;
    struct far_controller controller;
    struct far_router router; /* nothing is forwarded: there is no such link */
    struct far_server server;
    struct far_notifier notifier;
    struct far_link *link;
    struct guest guests[GUESTS];
    /* What the peer has heard. */
    struct far_wire_frame heard[FAR_WIRE_TYPES];
    struct far_op ops[FAR_OP_SLOTS_MAX];
    uint8_t in[PEERS][1 << 17];
    size_t in_used[PEERS];
} w;

static bool guest_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct guest *g = (struct guest *)layer;

    if (g->full)
        return false;
    if (op->attachment != g->who.attachment)
        abort(); /* another's */
    /* One that is gone tells nothing of its numbering. */
    if (g->numbered && op->sequence != g->received + 1)
        abort(); /* lost, or doubled */
    g->numbered = layer->device_state == FAR_DEVICE_READY;
    g->received = op->sequence;
    if (op->opcode == FAR_INPUT_EVENT) {
        struct far_input_event e;

        memcpy(&e, op->args, sizeof(e));
        if (!far_input_event_valid(&e))
            abort();
    }
    far_layer_ack(layer->below, op->sequence);
    return true;
}

static void guest_complete(struct far_layer *layer, const struct far_op *op)
{
    struct guest *g = (struct guest *)layer;
    uint64_t bit = (uint64_t)1 << (op->slot % FAR_OP_SLOTS_MAX);

    if (op->slot >= FAR_OP_SLOTS_MAX || !(g->busy & bit) ||
        g->sequences[op->slot] != op->sequence ||
        g->opcodes[op->slot] != op->opcode || op->status > 0 ||
        op->payload_bytes > sizeof(g->payload[0]) ||
        op->attachment != g->who.attachment)
        abort(); /* twice, or not what was asked */
    g->busy &= ~bit;
}

static void guest_state(struct far_layer *layer, enum far_device_state state,
                        const struct far_layer_news *news)
{
    struct guest *g = (struct guest *)layer;

    if (state == FAR_DEVICE_READY && news &&
        news->incarnation != g->incarnation) {
        g->incarnation = news->incarnation;
        g->numbered = false; /* where it goes on, the first one tells */
    }
}

static const struct far_layer_ops guest_ops = {
    .name = "guest",
    .interrupt = guest_interrupt,
    .complete = guest_complete,
    .state = guest_state,
};

static bool every(const struct far_conf *conf, const struct far_conf_section *s)
{
    (void)conf;
    (void)s;
    return true;
}

static void guest_toggle(unsigned n, bool detached)
{
    struct guest *g = &w.guests[n];
    struct far_layer *below;
    struct far_error error;

    if (g->open) {
        far_remote_leaving(w.link, &g->who, detached);
        below = g->layer.below;
        below->above = NULL;
        far_layer_close(below);
        memset(g, 0, sizeof(*g));
        return;
    }
    g->layer.ops = &guest_ops;
    g->who.attachment = n + 1;
    g->who.class = n ? FAR_CLASS_BLOCK : FAR_CLASS_INPUT;
    memset(g->who.guest_uuid, (int)n + 1, 16);
    snprintf(g->who.device, sizeof(g->who.device), n ? "disk0" : "kbd0");
    if (far_remote_open(w.link, &g->who, &below, &error)) {
        memset(g, 0, sizeof(*g));
        return;
    }
    g->open = true;
    far_layer_stack(&g->layer, below);
    far_layer_activate(below, 0, 0);
}

static void guest_submit(unsigned n, uint8_t a, uint8_t b)
{
    static const uint16_t opcodes[] = { FAR_BLOCK_READ, FAR_BLOCK_WRITE,
                                        FAR_BLOCK_FLUSH,
                                        FAR_OP_NOP(FAR_CLASS_BLOCK) };
    struct guest *g = &w.guests[n];
    struct far_op op = { .slot = a % FAR_OP_SLOTS_MAX };
    uint64_t bit = (uint64_t)1 << op.slot;
    struct far_block_args args = { .length_bytes = 512 };

    if (!g->open || (g->busy & bit))
        return;
    op.attachment = g->who.attachment;
    op.opcode = n ? opcodes[b % 4] : FAR_OP_NOP(FAR_CLASS_INPUT);
    op.sequence = ++g->sequence;
    op.flags = b & 16 ? FAR_OP_TIMED : 0;
    if (op.opcode == FAR_BLOCK_READ)
        op.flags |= FAR_OP_RECEIVES;
    if (op.opcode == FAR_BLOCK_WRITE)
        op.flags |= FAR_OP_SENDS;
    if (op.flags & (FAR_OP_RECEIVES | FAR_OP_SENDS))
        op.payload_bytes = 512;
    memcpy(op.args, &args, sizeof(args));
    g->busy |= bit;
    g->sequences[op.slot] = op.sequence;
    g->opcodes[op.slot] = op.opcode;
    switch (far_layer_submit(g->layer.below, &op, g->payload[op.slot])) {
    case FAR_LATER:
        break;
    default:
        g->busy &= ~bit;
        break;
    }
}

static struct far_link *no_link(void *arg, const char *platform)
{
    (void)arg;
    (void)platform;
    return NULL;
}

static void begin(bool server)
{
    static const char text[] =
        "[platform]\nname = atlas\n"
        "[listen]\naddress = 127.0.0.1:7\npsk-file = /dev/null\n"
        "[server mallory]\naddress = 127.0.0.1:7\npsk-file = /dev/null\n"
        "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = mallory\n"
        "[device disk0]\ntype = memory\nsize = 1M\n"
        "[export disk0]\nallow = mallory\n";
    struct far_wire_hello *me = &w.context.me;
    struct far_endpoint address = { .port = 7 };
    unsigned problems = 0;

    memset(&w, 0, sizeof(w));
    for (unsigned i = 0; i < PEERS; i++)
        peers[i] = -1;
    clock_ns = 1000000000000;
    if (pipe2(knock, O_CLOEXEC | O_NONBLOCK))
        abort();
    w.loop = far_loop_new();
    w.conf =
        far_conf_parse("fuzz", text, sizeof(text) - 1, NULL, NULL, &problems);
    if (!w.loop || !w.conf)
        abort();
    w.context.loop = w.loop;
    w.context.notifier = &w.notifier;
    memcpy(me->magic, FAR_WIRE_MAGIC, sizeof(me->magic));
    me->frame_max = FAR_CONN_FRAME_MAX;
    me->lanes = FAR_WIRE_LANES;
    me->handles_max = FAR_CONN_HANDLES_MAX;
    memset(me->instance, 3, sizeof(me->instance));
    snprintf(me->platform, sizeof(me->platform), "atlas");
    far_devices_init(&w.devices, w.loop, NULL);
    w.controller.loop = w.loop;
    w.controller.devices = &w.devices;
    w.controller.platform = me->platform;
    w.controller.conf = w.conf;
    w.context.router = &w.router;
    far_router_init(&w.router, &w.context, &w.controller, no_link, NULL);
    far_notifier_init(&w.notifier, &w.context, &w.controller, &w.server);
    far_server_init(&w.server, &w.context, &w.controller);
    if (server) {
        far_devices_load(&w.devices, w.conf, every, NULL, NULL);
        far_server_configure(&w.server, far_conf_section(w.conf, "listen", ""));
        return;
    }
    w.link = far_link_new(&w.context, "mallory");
    if (!w.link)
        abort();
    /* As far_link_configure() does with a key, for which it wants a file. */
    snprintf(address.host, sizeof(address.host), "127.0.0.1");
    w.link->addresses[0] = address;
    w.link->address_count = 1;
    w.link->lane_count = FAR_WIRE_LANES;
    for (unsigned i = 0; i < FAR_WIRE_LANES; i++)
        w.link->lanes[i].wanted = true;
    w.link->key.bytes = 16;
    w.link->configured = true;
    far_link_stop(w.link);
    far_link_start(w.link);
}

static void end(void)
{
    for (unsigned i = 0; i < GUESTS; i++) {
        if (w.guests[i].open)
            guest_toggle(i, i & 1);
    }
    far_server_free(&w.server);
    far_controller_free(&w.controller);
    if (w.link) {
        far_remote_free_all(w.link);
        far_link_free(w.link);
    }
    far_notifier_free(&w.notifier);
    far_devices_free(&w.devices);
    far_loop_free(w.loop);
    far_conf_free(w.conf);
    for (unsigned i = 0; i < PEERS; i++) {
        if (peers[i] >= 0)
            close(peers[i]);
    }
    if (to_accept >= 0)
        close(to_accept);
    to_accept = -1;
    close(knock[0]);
    close(knock[1]);
}

/* ---- the peer ---- */

static void turn(void)
{
    for (unsigned i = 0; i < 6; i++)
        far_loop_turn(w.loop, 0);
}

static void advance(uint64_t ns)
{
    struct itimerspec soon = { .it_value.tv_nsec = 1 };

    clock_ns += ns;
    if (timer_fd >= 0)
        __real_timerfd_settime(timer_fd, 0, &soon, NULL);
    turn();
}

/* What our side has said: it must be sound, and is remembered. */
static void hear(unsigned n)
{
    struct far_wire_frame frame;
    struct far_error error;
    size_t at = 0;
    ssize_t got;
    int bytes;

    if (peers[n] < 0)
        return;
    got = recv(peers[n], w.in[n] + w.in_used[n], sizeof(w.in[n]) - w.in_used[n],
               MSG_DONTWAIT);
    if (got > 0)
        w.in_used[n] += (size_t)got;
    while ((bytes = far_wire_next(w.in[n] + at, w.in_used[n] - at,
                                  FAR_WIRE_FRAME_MAX, &error)) > 0) {
        if (far_wire_decode(&frame, w.in[n] + at, (size_t)bytes, &error))
            abort(); /* we say what we would not take */
        frame.payload = frame.options = NULL;
        w.heard[frame.header.type] = frame;
        if (frame.header.type == FAR_WIRE_OP)
            w.ops[frame.op.slot] = frame.op;
        at += (size_t)bytes;
    }
    if (bytes < 0)
        abort();
    memmove(w.in[n], w.in[n] + at, w.in_used[n] - at);
    w.in_used[n] -= at;
}

static void say(unsigned n, const void *data, size_t bytes)
{
    if (peers[n] >= 0)
        (void)!send(peers[n], data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void close_peer(unsigned n)
{
    if (peers[n] >= 0)
        close(peers[n]);
    peers[n] = -1;
    w.in_used[n] = 0;
}

static void come(void)
{
    if (to_accept >= 0 || w.link)
        return;
    to_accept = new_peer();
    if (to_accept >= 0)
        (void)!write(knock[1], "", 1);
    turn();
    (void)!read(knock[0], &(char){ 0 }, 1);
}

/* The fixed part that a peer of good will would send. */
static void likely(struct far_wire_frame *f, uint8_t a, uint8_t b, bool server)
{
    const struct far_op *op = &w.ops[b % FAR_OP_SLOTS_MAX];

    f->header.handle = (b >> 6) + 1u;
    switch (f->header.type) {
    case FAR_WIRE_HELLO:
        f->header.handle = 0;
        memcpy(f->hello.magic, FAR_WIRE_MAGIC, 8);
        f->hello.frame_max = 65536;
        f->hello.lanes = 3;
        f->hello.lane = b % 3;
        f->hello.role = server ? FAR_WIRE_CLIENT : FAR_WIRE_SERVER;
        f->hello.handles_max = 64;
        memcpy(f->hello.link, w.heard[FAR_WIRE_HELLO].hello.link, 16);
        snprintf(f->hello.platform, sizeof(f->hello.platform), "mallory");
        break;
    case FAR_WIRE_ERROR:
        f->error.status = -EIO;
        f->error.about = b & 31;
        break;
    case FAR_WIRE_HEARTBEAT:
        f->header.handle = 0;
        f->heartbeat.flags = b & 3;
        f->heartbeat.delta_ns = 5;
        f->heartbeat.echo_ns = w.heard[FAR_WIRE_HEARTBEAT].header.time_ns;
        break;
    case FAR_WIRE_PREPARE:
        f->prepare.attachment = f->header.handle;
        f->prepare.class =
            f->header.handle == 1 ? FAR_CLASS_INPUT : FAR_CLASS_BLOCK;
        f->prepare.guest_uuid[0] = f->header.handle == 1 ? 1 : 2;
        snprintf(f->prepare.device, sizeof(f->prepare.device),
                 f->header.handle == 1 ? "kbd0" : "disk0");
        break;
    case FAR_WIRE_PREPARED:
        f->prepared.status = b & 1 ? -EACCES : 0;
        f->prepared.class = f->header.handle == 1 ? 1 : 4;
        f->prepared.incarnation = 9;
        f->prepared.device_incarnation = 8 + (b >> 5 & 1);
        break;
    case FAR_WIRE_ACTIVATE:
        f->activate.incarnation =
            w.heard[FAR_WIRE_PREPARED].prepared.incarnation;
        f->activate.received = a >> 5;
        f->header.credit = 64;
        break;
    case FAR_WIRE_ACTIVATED:
        f->activated.incarnation = 9;
        f->activated.epoch = 1;
        f->activated.next =
            w.heard[FAR_WIRE_ACTIVATE].activate.received + 1 + (b >> 5 & 1);
        break;
    case FAR_WIRE_OP:
        f->op.attachment = f->header.handle;
        f->op.slot = b % 8;
        f->op.sequence = a >> 5;
        f->op.opcode = f->header.handle == 1
                           ? FAR_OP_NOP(FAR_CLASS_INPUT)
                           : FAR_OPCODE(FAR_CLASS_BLOCK, b >> 3 & 3);
        f->header.credit = 64;
        f->header.acked = w.heard[FAR_WIRE_INTERRUPT].op.sequence;
        break;
    case FAR_WIRE_FEEDBACK:
        f->op = *op;
        f->header.handle = (uint32_t)op->attachment;
        break;
    case FAR_WIRE_INTERRUPT:
        f->op.attachment = 1;
        f->header.handle = 1;
        f->op.opcode = FAR_INPUT_EVENT;
        f->op.sequence = w.guests[0].received + 1;
        f->op.args[8] = FAR_INPUT_KEY;
        f->op.args[10] = 30;
        f->op.args[12] = b & 1;
        break;
    case FAR_WIRE_ACK:
        f->header.credit =
            w.heard[FAR_WIRE_INTERRUPT].op.sequence + 64u > 0
                ? (uint32_t)w.heard[FAR_WIRE_INTERRUPT].op.sequence + 64
                : 0;
        f->header.acked = w.heard[FAR_WIRE_INTERRUPT].op.sequence;
        break;
    case FAR_WIRE_CANCEL:
        f->cancel.slot = b % 8;
        f->cancel.sequence = a >> 5;
        break;
    case FAR_WIRE_STATE:
        f->state.state = b & 1;
        f->state.incarnation = 9;
        f->state.device_incarnation = 8 + (b >> 5 & 1);
        break;
    case FAR_WIRE_DATA:
        f->data.slot = b % 8;
        f->data.sequence = server ? a >> 5 : op->sequence;
        f->data.bytes = 64;
        break;
    case FAR_WIRE_SUBSCRIBE:
        f->header.handle = 0;
        f->subscribe.classes = 0x7e;
        break;
    case FAR_WIRE_ANNOUNCE:
        f->header.handle = 0;
        f->announce.class = 1;
        f->announce.state = b & 1;
        snprintf(f->announce.device, sizeof(f->announce.device), "kbd0");
        break;
    case FAR_WIRE_NOTIFY:
        f->header.handle = 0;
        f->notify.sequence = a >> 5;
        f->notify.guest_uuid[0] = 1;
        f->notify.op.opcode = FAR_INPUT_EVENT;
        snprintf(f->notify.device, sizeof(f->notify.device), "kbd0");
        break;
    case FAR_WIRE_NOTIFIED:
        f->header.handle = 0;
        f->notified.sequence = a >> 5;
        break;
    default:
        break;
    }
}

/* a: type in its lower five bits; b: slot, handle, variants. Data overlays the
 * frame: first where (two bytes: at the header or behind), then what. */
static void frame(unsigned peer, uint8_t a, uint8_t b, const uint8_t *data,
                  size_t n, bool server)
{
    static const size_t fixed[32] = {
        [FAR_WIRE_HELLO] = sizeof(struct far_wire_hello),
        [FAR_WIRE_ERROR] = sizeof(struct far_wire_error),
        [FAR_WIRE_HEARTBEAT] = sizeof(struct far_wire_heartbeat),
        [FAR_WIRE_PREPARE] = sizeof(struct far_wire_prepare),
        [FAR_WIRE_PREPARED] = sizeof(struct far_wire_prepared),
        [FAR_WIRE_ACTIVATE] = sizeof(struct far_wire_activate),
        [FAR_WIRE_ACTIVATED] = sizeof(struct far_wire_activated),
        [FAR_WIRE_OP] = sizeof(struct far_op),
        [FAR_WIRE_FEEDBACK] = sizeof(struct far_op),
        [FAR_WIRE_INTERRUPT] = sizeof(struct far_op),
        [FAR_WIRE_CANCEL] = sizeof(struct far_wire_cancel),
        [FAR_WIRE_STATE] = sizeof(struct far_wire_state),
        [FAR_WIRE_DATA] = sizeof(struct far_wire_data),
        [FAR_WIRE_SUBSCRIBE] = sizeof(struct far_wire_subscribe),
        [FAR_WIRE_ANNOUNCE] = sizeof(struct far_wire_announce),
        [FAR_WIRE_NOTIFY] = sizeof(struct far_wire_notify),
        [FAR_WIRE_NOTIFIED] = sizeof(struct far_wire_notified),
    };
    static uint8_t out[4096];
    struct far_wire_frame f;
    size_t bytes, payload = 0;

    memset(&f, 0, sizeof(f));
    f.header.type = a & 31;
    likely(&f, a, b, server);
    f.header.time_ns = clock_ns;
    memset(out, 0, sizeof(out));
    bytes = FAR_WIRE_HEADER_BYTES + fixed[f.header.type];
    memcpy(out + FAR_WIRE_HEADER_BYTES, f.fixed, fixed[f.header.type]);
    memcpy(out, &f.header, FAR_WIRE_HEADER_BYTES);
    if (n > 2) {
        size_t at = (data[0] | (size_t)data[1] << 8) % (bytes + 16);

        memcpy(out + at, data + 2, n - 2);
        /* What stands behind it now is payload or options. */
        if (at + n - 2 > bytes)
            bytes = (at + n - 2 + 7) & ~(size_t)7;
        memcpy(&f.header, out, FAR_WIRE_HEADER_BYTES);
        memcpy(f.fixed, out + FAR_WIRE_HEADER_BYTES, sizeof(f.fixed));
    }
    if (f.header.type >= FAR_WIRE_OP && f.header.type <= FAR_WIRE_INTERRUPT)
        payload = far_wire_op_payload(&f.header, &f.op);
    else if (f.header.type == FAR_WIRE_DATA)
        payload = f.data.bytes;
    if (payload <= 1024 &&
        bytes < FAR_WIRE_HEADER_BYTES + fixed[f.header.type % 32] + payload)
        bytes =
            (FAR_WIRE_HEADER_BYTES + fixed[f.header.type % 32] + payload + 7) &
            ~(size_t)7;
    f.header.bytes = (uint32_t)bytes;
    memcpy(out, &f.header.bytes, 4);
    say(peer, out, bytes);
}

static void local_step(uint8_t a, uint8_t b, bool server)
{
    struct far_device *d = server ? far_device_find(&w.devices, "kbd0") : NULL;
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .code = b,
                                 .value = a >> 4 & 1 };

    if (server) {
        if (d)
            d->type->feed(d, &e, 1, &(struct far_error){ 0 });
        return;
    }
    switch (a & 3) {
    case 0:
        guest_toggle(b % GUESTS, b & 16);
        break;
    case 1:
        w.guests[b % GUESTS].full ^= true;
        if (w.guests[b % GUESTS].open && !w.guests[b % GUESTS].full)
            far_layer_resume(w.guests[b % GUESTS].layer.below);
        break;
    default:
        guest_submit(b % GUESTS, a >> 2, b);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    bool server = bytes && !(data[0] & 1);
    unsigned steps = 0;

    if (!bytes)
        return 0;
    data++;
    bytes--;
    begin(server);
    if (server)
        come();
    while (bytes >= 4 && steps++ < STEPS_MAX) {
        uint8_t what = data[0], a = data[1], b = data[2];
        size_t n = data[3];
        unsigned peer = what >> 6;

        data += 4;
        bytes -= 4;
        n = n < bytes ? n : bytes;
        switch (what & 7) {
        case 0:
            say(peer, data, n);
            break;
        case 1:
            local_step(a, b, server);
            break;
        case 2:
            advance((uint64_t)(a + 1) << (10 + b % 26));
            break;
        case 3:
            if (a & 1)
                close_peer(peer);
            else
                come();
            break;
        default:
            frame(peer, a, b, data, n, server);
            break;
        }
        data += n;
        bytes -= n;
        if (what & 8)
            continue; /* all that in one turn */
        turn();
        for (unsigned i = 0; i < PEERS; i++)
            hear(i);
    }
    turn();
    end();
    return 0;
}
