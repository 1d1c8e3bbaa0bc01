/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hostile peers: a hand-made client against a real, sandboxed farside-netproxy,
 * while an honest platform's guest goes on typing; and a hand-made server
 * against a real client. Each ends only its own connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/block.h"
#include "core/input.h"
#include "netproxy/keys.h"
#include "netproxy/tls.h"
#include "netproxy/wire.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;
static uint16_t port;
static unsigned taps;

#define KEYS                                   \
    "atlas:00112233445566778899aabbccddeeff\n" \
    "mallory:ff112233445566778899aabbccddeeff\n"

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    taps = 0;
    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", KEYS);
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas mallory\n"
              "[device mem0]\ntype = memory\nsize = 1\n"
              "[export mem0]\nallow = mallory\n"
              "[device private]\ntype = virtual\n"
              "[export private]\nallow = atlas\n",
              port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              port, rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
}

/* The honest guest has noticed nothing. */
static void honest_goes_on(void)
{
    proxy_tap(&borealis, "kbd0", 30);
    taps++;
    guest_wait_count(&guest, 2 * taps);
    ck_assert_uint_eq(guest.count, 2 * taps);
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
    ck_assert_uint_eq(guest.incarnations, 1);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
}

static void teardown(void)
{
    guest_detach(&guest);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}

/* Mallory: blocking, with the honest TLS code below and nothing above. */
struct mallory {
    int fd;
    struct far_tls tls;
    struct far_key key;
    struct far_wire_frame got;
    uint8_t plain[65536];
    size_t have;
};
static struct mallory m;

static int tcp(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 8 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void pour(void)
{
    while (far_buf_used(&m.tls.out)) {
        ssize_t n = send(m.fd, far_buf_at(&m.tls.out), far_buf_used(&m.tls.out),
                         MSG_NOSIGNAL);

        if (n <= 0) { /* they have hung up: so be it */
            far_buf_consume(&m.tls.out, far_buf_used(&m.tls.out));
            return;
        }
        far_buf_consume(&m.tls.out, (size_t)n);
    }
}

static ssize_t draw(void)
{
    uint8_t *room = far_buf_reserve(&m.tls.in, 4096);
    ssize_t n = recv(m.fd, room, 4096, 0);

    if (n > 0)
        far_buf_commit(&m.tls.in, (size_t)n);
    else
        m.tls.in_ended = true;
    return n;
}

/* 0, or what the handshake ended with. */
static int enter(const char *identity, const char *key)
{
    struct far_error error;
    int rc;

    memset(&m, 0, sizeof(m));
    snprintf(m.key.identity, sizeof(m.key.identity), "%s", identity);
    for (m.key.bytes = 0; m.key.bytes < 16; m.key.bytes++) {
        unsigned byte;

        sscanf(key + 2 * m.key.bytes, "%2x", &byte);
        m.key.key[m.key.bytes] = (uint8_t)byte;
    }
    m.fd = tcp();
    ck_assert_int_eq(far_tls_client(&m.tls, &m.key, NULL, "borealis", &error),
                     0);
    while ((rc = far_tls_handshake(&m.tls, &error)) == -EAGAIN) {
        pour();
        if (draw() <= 0)
            return -ECONNRESET;
    }
    pour();
    return rc;
}

static void mallory_enters(void)
{
    ck_assert_int_eq(enter("mallory", "ff112233445566778899aabbccddeeff"), 0);
}

static void leave(void)
{
    far_tls_free(&m.tls);
    close(m.fd);
}

static void say(const void *data, size_t bytes)
{
    ck_assert_int_eq(far_tls_write(&m.tls, data, bytes, NULL), 0);
    pour();
}

/* The next frame of that type; false at the end of the connection. */
static bool hear(uint8_t type)
{
    struct far_error error;

    for (;;) {
        int n = far_wire_next(m.plain, m.have, FAR_WIRE_FRAME_MAX, &error);
        ssize_t r;

        if (n > 0) {
            ck_assert_int_eq(
                far_wire_decode(&m.got, m.plain, (size_t)n, &error), 0);
            memmove(m.plain, m.plain + n, m.have - (size_t)n);
            m.have -= (size_t)n;
            if (m.got.header.type == type)
                return true;
            continue;
        }
        r = far_tls_read(&m.tls, m.plain + m.have, sizeof(m.plain) - m.have,
                         &error);
        if (r > 0)
            m.have += (size_t)r;
        else if (r == -EAGAIN && !m.tls.in_ended)
            draw();
        else
            return false;
    }
}

static void say_frame(uint8_t type, uint32_t handle, const void *body,
                      size_t bytes)
{
    struct far_wire_header h = { .type = type, .handle = handle };
    static uint8_t frame[8192];

    say(frame, far_wire_encode(frame, sizeof(frame), &h, body, bytes, NULL));
}

static struct far_wire_hello hello_of(const char *platform)
{
    struct far_wire_hello h = { .magic = FAR_WIRE_MAGIC,
                                .frame_max = 4096,
                                .lanes = 1,
                                .role = FAR_WIRE_CLIENT,
                                .handles_max = 16 };

    snprintf(h.platform, sizeof(h.platform), "%s", platform);
    return h;
}

static void mallory_is_up(void)
{
    struct far_wire_hello h = hello_of("mallory");

    mallory_enters();
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
    ck_assert(hear(FAR_WIRE_HELLO));
}

static void prepare(uint32_t handle, const char *device)
{
    struct far_wire_prepare p = { .attachment = 1, .class = FAR_CLASS_INPUT };

    memset(p.guest_uuid, 0x66, 16);
    snprintf(p.device, sizeof(p.device), "%s", device);
    say_frame(FAR_WIRE_PREPARE, handle, &p, sizeof(p));
    ck_assert(hear(FAR_WIRE_PREPARED));
}

static void prepare_disk(uint32_t handle)
{
    struct far_wire_prepare p = { .attachment = 1, .class = FAR_CLASS_BLOCK };

    memset(p.guest_uuid, 0x67, 16);
    snprintf(p.device, sizeof(p.device), "mem0");
    say_frame(FAR_WIRE_PREPARE, handle, &p, sizeof(p));
    ck_assert(hear(FAR_WIRE_PREPARED));
    ck_assert_int_eq(m.got.prepared.status, 0);
}

static void say_op(uint8_t type, uint8_t flags, const struct far_op *op,
                   const void *payload)
{
    struct far_wire_header h = { .type = type, .flags = flags, .handle = 1 };
    static uint8_t frame[16384];

    say(frame, far_wire_encode_op(frame, sizeof(frame), &h, op, payload));
}

static void say_piece(uint32_t slot, uint32_t offset_bytes, uint32_t bytes)
{
    struct far_wire_data d = { .sequence = 1,
                               .slot = slot,
                               .offset_bytes = offset_bytes,
                               .bytes = bytes };
    uint8_t body[sizeof(d) + 4096] = { 0 };

    memcpy(body, &d, sizeof(d));
    say_frame(FAR_WIRE_DATA, 1, body, (sizeof(d) + bytes + 7) & ~(size_t)7);
}

static void activate(uint32_t handle)
{
    struct far_wire_activate a = { 0 };

    say_frame(FAR_WIRE_ACTIVATE, handle, &a, sizeof(a));
    ck_assert(hear(FAR_WIRE_ACTIVATED));
}

/* The connection ends, and the words why contain that. */
static void turned_out(const char *words)
{
    ck_assert_msg(hear(FAR_WIRE_ERROR), "no word of why");
    ck_assert_msg(strstr(m.got.text, words) != NULL, "it says: %s", m.got.text);
    ck_assert(!hear(FAR_WIRE_HEARTBEAT));
    leave();
}

START_TEST(clear_text_is_turned_away)
{
    char byte;

    m.fd = tcp();
    ck_assert_int_gt(send(m.fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL), 0);
    while (recv(m.fd, &byte, 1, 0) > 0)
        ;
    close(m.fd);
    honest_goes_on();
    ck_assert_int_eq(proxy_number(&borealis, "arrivals.rejected"), 1);
}
END_TEST

START_TEST(a_wrong_key_is_turned_away)
{
    ck_assert_int_ne(enter("mallory", "00000000000000000000000000000000"), 0);
    leave();
    ck_assert_int_ne(enter("nobody", "00000000000000000000000000000000"), 0);
    leave();
    honest_goes_on();
}
END_TEST

/* Nobody learns by trying which platforms there are. */
START_TEST(an_unknown_name_and_a_wrong_key_sound_the_same)
{
    gnutls_alert_description_t known, unknown;

    ck_assert_int_ne(enter("mallory", "00000000000000000000000000000000"), 0);
    known = gnutls_alert_get(m.tls.session);
    leave();
    ck_assert_int_ne(enter("nobody", "00000000000000000000000000000000"), 0);
    unknown = gnutls_alert_get(m.tls.session);
    leave();
    ck_assert_int_eq(known, unknown);
}
END_TEST

START_TEST(a_platform_cannot_call_itself_another)
{
    struct far_wire_hello h = hello_of("atlas");

    mallory_enters();
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
    turned_out("its key is that of mallory");
    honest_goes_on();
}
END_TEST

START_TEST(a_hello_of_another_version_is_told_so)
{
    struct far_wire_hello h = hello_of("mallory");

    h.version_min = 9;
    h.version_max = 11;
    mallory_enters();
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
    turned_out("versions 9 to 11");
    honest_goes_on();
}
END_TEST

START_TEST(a_hello_that_needs_what_we_lack_is_told_so)
{
    struct far_wire_hello h = hello_of("mallory");

    h.offers = ~(uint64_t)0; /* those are ignored */
    h.needs = 0x4000;
    mallory_enters();
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
    turned_out("capabilities");
    honest_goes_on();
}
END_TEST

START_TEST(who_does_not_greet_is_turned_out)
{
    struct far_wire_activate a = { 0 };

    mallory_enters();
    say_frame(FAR_WIRE_ACTIVATE, 1, &a, sizeof(a));
    turned_out("does not begin with a hello");
    honest_goes_on();
}
END_TEST

START_TEST(frames_too_short_and_too_long_end_the_connection)
{
    static const uint32_t wrong[] = { 0, 31, 36, 20000, 0xffffffff };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t d[64] = { 0 };

        mallory_is_up();
        memcpy(d, &wrong[i], 4);
        say(d, sizeof(d));
        ck_assert(hear(FAR_WIRE_ERROR));
        ck_assert(!hear(FAR_WIRE_HEARTBEAT));
        leave();
    }
    honest_goes_on();
}
END_TEST

START_TEST(an_unknown_frame_is_skipped_and_one_that_must_be_known_answered)
{
    uint8_t d[64] = { 64, 0, 0, 0, 77 };

    mallory_is_up();
    say(d, sizeof(d));
    d[5] = FAR_WIRE_MUST;
    say(d, sizeof(d));
    ck_assert(hear(FAR_WIRE_ERROR));
    ck_assert_int_eq(m.got.error.status, -EOPNOTSUPP);
    ck_assert_uint_eq(m.got.error.about, 77);
    prepare(1, "kbd0"); /* the connection goes on */
    ck_assert_int_eq(m.got.prepared.status, 0);
    leave();
    honest_goes_on();
}
END_TEST

START_TEST(a_device_that_is_not_allowed_is_refused_in_words)
{
    mallory_is_up();
    prepare(1, "private");
    ck_assert_int_eq(m.got.prepared.status, -EACCES);
    ck_assert_ptr_nonnull(strstr(m.got.text, "mallory"));
    prepare(2, "nothing");
    ck_assert_int_eq(m.got.prepared.status, -ENOENT);
    prepare(3, "");
    ck_assert_int_lt(m.got.prepared.status, 0);
    /* activating what was refused */
    activate(1);
    ck_assert_int_eq(m.got.activated.status, -EACCES);
    leave();
    honest_goes_on();
}
END_TEST

START_TEST(a_class_that_the_device_is_not_of_is_refused)
{
    struct far_wire_prepare p = { .attachment = 1, .class = FAR_CLASS_BLOCK };

    mallory_is_up();
    snprintf(p.device, sizeof(p.device), "kbd0");
    say_frame(FAR_WIRE_PREPARE, 1, &p, sizeof(p));
    ck_assert(hear(FAR_WIRE_PREPARED));
    ck_assert_int_lt(m.got.prepared.status, 0);
    leave();
    honest_goes_on();
}
END_TEST

START_TEST(acknowledging_what_was_never_sent_ends_the_connection)
{
    struct far_wire_header h = { .type = FAR_WIRE_ACK,
                                 .handle = 1,
                                 .acked = 1u << 20 };
    uint8_t frame[64];

    mallory_is_up();
    prepare(1, "kbd0");
    activate(1);
    say(frame, far_wire_encode(frame, sizeof(frame), &h, NULL, 0, NULL));
    turned_out("never sent");
    honest_goes_on();
}
END_TEST

START_TEST(handles_that_were_never_prepared_end_the_connection)
{
    struct far_wire_activate a = { 0 };

    mallory_is_up();
    say_frame(FAR_WIRE_ACTIVATE, 9, &a, sizeof(a));
    turned_out("never prepared");
    mallory_is_up();
    say_frame(FAR_WIRE_ACK, 60000, NULL, 0);
    turned_out("never prepared");
    honest_goes_on();
}
END_TEST

START_TEST(ops_for_a_handle_that_nobody_has_are_dropped_and_counted)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    mallory_is_up();
    say_frame(FAR_WIRE_OP, 9, &op, sizeof(op)); /* was never prepared */
    prepare(1, "kbd0");
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op)); /* is not active */
    activate(1);
    op.attachment = 77;
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op)); /* another's */
    op.attachment = 1;
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op));
    ck_assert(hear(FAR_WIRE_FEEDBACK)); /* the connection has gone on */
    leave();
    honest_goes_on();
}
END_TEST

START_TEST(a_lane_that_there_is_not_is_refused)
{
    struct far_wire_hello h = hello_of("mallory");

    mallory_enters();
    h.lane = FAR_WIRE_LANES;
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
    turned_out("lane");
    honest_goes_on();
}
END_TEST

START_TEST(a_handle_above_the_limit_ends_the_connection)
{
    struct far_wire_prepare p = { .attachment = 1, .class = FAR_CLASS_INPUT };

    mallory_is_up();
    say_frame(FAR_WIRE_PREPARE, 50000, &p, sizeof(p));
    turned_out("limit");
    honest_goes_on();
}
END_TEST

START_TEST(invented_completions_and_interrupts_end_the_connection)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_INPUT_EVENT };

    mallory_is_up();
    prepare(1, "kbd0");
    say_frame(FAR_WIRE_INTERRUPT, 1, &op, sizeof(op));
    turned_out("only servers send");
    op.opcode = FAR_OP_NOP(FAR_CLASS_INPUT);
    mallory_is_up();
    say_frame(FAR_WIRE_FEEDBACK, 1, &op, sizeof(op));
    turned_out("only servers send");
    honest_goes_on();
}
END_TEST

START_TEST(a_frame_that_is_cut_off_is_nothing)
{
    struct far_wire_header h = { .type = FAR_WIRE_DETACH,
                                 .bytes = 32,
                                 .handle = 1 };

    mallory_is_up();
    prepare(1, "kbd0");
    activate(1);
    say(&h, 31);
    leave();
    /* The session is still there for who comes back. */
    mallory_is_up();
    prepare(1, "kbd0");
    activate(1);
    ck_assert_uint_eq(m.got.activated.next, 1);
    leave();
    honest_goes_on();
}
END_TEST

/* The last of what the daemon has logged since it was started. */
static const char *logged(void)
{
    static char text[65536];
    char path[128];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/log", rig.dir);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

/* Which of borealis' links is the one with mallory, and its failures. */
static long long mallorys_failures(void)
{
    char path[64];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "links.%d.platform", i);
        if (strcmp(proxy_text(&borealis, path), "mallory") != 0)
            continue;
        snprintf(path, sizeof(path), "links.%d.counters.failures", i);
        return proxy_number(&borealis, path);
    }
    return 0;
}

START_TEST(each_end_is_counted_and_logged_with_the_peer_and_the_reason)
{
    static const struct {
        uint8_t type;
        uint32_t handle;
        size_t bytes;
        const char *reason;
    } wrong[] = {
        { FAR_WIRE_DETACH, 9, 0, "handle 9 was never prepared" },
        { FAR_WIRE_STATE, 1, 56, "a frame that only servers send" },
        { FAR_WIRE_OP, 1, 16, "a op of only 48 bytes" },
        { FAR_WIRE_ACK, 0, 0, "a ack with handle 0" },
    };
    static const uint8_t zeros[256];
    char path[128], line[256];
    int log, old = dup(2);

    /* Borealis anew, with a log of its own. */
    proxy_kill(&borealis, SIGTERM);
    snprintf(path, sizeof(path), "%s/log", rig.dir);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(log, 0);
    dup2(log, 2);
    proxy_start(&borealis, &rig, "borealis");
    dup2(old, 2);
    close(log);
    close(old);
    guest_wait_ready(&guest);

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        mallory_is_up();
        say_frame(wrong[i].type, wrong[i].handle, zeros, wrong[i].bytes);
        turned_out(wrong[i].reason);
        for (int wait = 0; wait < 500 && mallorys_failures() <= i; wait++)
            rig_turn(&rig, 10);
        ck_assert_int_eq(mallorys_failures(), i + 1);
        snprintf(line, sizeof(line), "connection ended: %s\n", wrong[i].reason);
        ck_assert_msg(strstr(logged(), line) != NULL, "no \"%s\" in: %s", line,
                      logged());
    }
    ck_assert_ptr_nonnull(strstr(logged(), "platform mallory (127.0.0.1:"));
    /* And nothing of it befell another. */
    ck_assert_ptr_null(strstr(logged(), "platform atlas (127.0.0.1"));
    proxy_tap(&borealis, "kbd0", 30);
    guest_wait_count(&guest, 2);
}
END_TEST

START_TEST(the_same_op_repeated_is_done_once_and_an_older_one_dropped)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 5,
                         .slot = 3,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    mallory_is_up();
    prepare(1, "kbd0");
    activate(1);
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op));
    ck_assert(hear(FAR_WIRE_FEEDBACK));
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op));
    ck_assert(hear(FAR_WIRE_FEEDBACK));
    ck_assert_uint_eq(m.got.op.sequence, 5);
    op.sequence = 4;
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op));
    op.sequence = 6;
    say_frame(FAR_WIRE_OP, 1, &op, sizeof(op));
    ck_assert(hear(FAR_WIRE_FEEDBACK));
    ck_assert_uint_eq(m.got.op.sequence, 6);
    leave();
    honest_goes_on();
}
END_TEST

static struct far_op disk_op(uint16_t opcode, uint16_t flags)
{
    struct far_block_args a = { .length_bytes = 1024 };
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = opcode,
                         .flags = flags,
                         .payload_bytes = 1024 };

    memcpy(op.args, &a, sizeof(a));
    return op;
}

START_TEST(ops_with_payloads_that_can_not_be_end_the_connection)
{
    static uint8_t payload[1024];
    struct far_op op;

    for (int i = 0; i < 5; i++) {
        mallory_is_up();
        prepare_disk(1);
        activate(1);
        op = disk_op(FAR_BLOCK_WRITE, FAR_OP_SENDS);
        memset(payload, i, sizeof(payload));
        say_op(FAR_WIRE_OP, 0, &op, payload); /* a good one first */
        ck_assert(hear(FAR_WIRE_FEEDBACK));
        ck_assert_int_eq(m.got.op.status, 0);
        op.sequence = 2;
        switch (i) {
        case 0: /* longer than what was agreed on */
            op.payload_bytes = (128u << 10) + 512;
            say_op(FAR_WIRE_OP, FAR_WIRE_PIECES, &op, NULL);
            break;
        case 1:
            op.flags = FAR_OP_SENDS | FAR_OP_RECEIVES;
            say_op(FAR_WIRE_OP, 0, &op, payload);
            break;
        case 2:
            op.flags = 0;
            say_op(FAR_WIRE_OP, 0, &op, NULL);
            break;
        case 3:
            op.opcode = FAR_OPCODE(FAR_CLASS_INPUT, 2);
            say_op(FAR_WIRE_OP, 0, &op, payload);
            break;
        default: /* it says that all has come */
            say_piece(5, 0, 512);
            op.slot = 5;
            op.sequence = 1;
            say_op(FAR_WIRE_OP, FAR_WIRE_PIECES, &op, NULL);
            break;
        }
        turned_out("can't be");
    }
    honest_goes_on();
}
END_TEST

START_TEST(payloads_go_there_and_back_whole_and_in_pieces)
{
    static uint8_t payload[1024];
    struct far_op op = disk_op(FAR_BLOCK_WRITE, FAR_OP_SENDS);

    memset(payload, 0x5a, sizeof(payload));
    mallory_is_up();
    prepare_disk(1);
    activate(1);
    say_op(FAR_WIRE_OP, 0, &op, payload);
    ck_assert(hear(FAR_WIRE_FEEDBACK));
    ck_assert_int_eq(m.got.op.status, 0);
    ck_assert_uint_eq(m.got.op.payload_bytes, 0);
    op = disk_op(FAR_BLOCK_READ, FAR_OP_RECEIVES);
    op.slot = 63;
    say_op(FAR_WIRE_OP, 0, &op, NULL);
    ck_assert(hear(FAR_WIRE_FEEDBACK));
    ck_assert_uint_eq(m.got.payload_bytes, 1024);
    /* With one missing it is not done: the whole of it will come again. */
    say_piece(1, 0, 512);
    say_piece(1, 768, 256);
    op = disk_op(FAR_BLOCK_WRITE, FAR_OP_SENDS);
    op.slot = 1;
    say_op(FAR_WIRE_OP, FAR_WIRE_PIECES, &op, NULL);
    say_piece(1, 0, 1000); /* zeros */
    say_piece(1, 1000, 24);
    op = disk_op(FAR_BLOCK_WRITE, FAR_OP_SENDS);
    op.slot = 1;
    say_op(FAR_WIRE_OP, FAR_WIRE_PIECES, &op, NULL);
    ck_assert(hear(FAR_WIRE_FEEDBACK));
    ck_assert_int_eq(m.got.op.status, 0);
    leave();
    honest_goes_on();
}
END_TEST

START_TEST(a_slow_handshake_ends_after_five_seconds)
{
    uint64_t begin_us = far_now_us();
    char byte;

    m.fd = tcp();
    ck_assert_int_eq(send(m.fd, "\x16", 1, MSG_NOSIGNAL), 1);
    while (recv(m.fd, &byte, 1, 0) > 0)
        ;
    close(m.fd);
    ck_assert_uint_gt(far_now_us() - begin_us, 4000000);
    ck_assert_uint_lt(far_now_us() - begin_us, 7500000);
    honest_goes_on();
}
END_TEST

START_TEST(a_crowd_that_says_nothing_does_not_keep_others_out)
{
    int fds[100], i;

    for (i = 0; i < 100; i++)
        fds[i] = tcp();
    rig_turn(&rig, 100);
    ck_assert_int_le(proxy_number(&borealis, "arrivals.waiting"), 64);
    ck_assert_int_ge(proxy_number(&borealis, "arrivals.turned_away"), 36);
    honest_goes_on();
    mallory_is_up(); /* a new one comes in as well */
    leave();
    for (i = 0; i < 100; i++)
        close(fds[i]);
    rig_turn(&rig, 100);
    ck_assert_int_eq(proxy_number(&borealis, "arrivals.waiting"), 0);
    mallory_is_up();
    leave();
}
END_TEST

START_TEST(who_was_looked_up_before_the_keys_changed_does_not_get_in)
{
    struct far_wire_hello h = hello_of("mallory");

    mallory_enters(); /* TLS is up, the hello is still to come */
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    proxy_reload(&borealis);
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
    while (hear(FAR_WIRE_HELLO))
        ;
    leave();
    ck_assert_int_eq(proxy_number(&borealis, "arrivals.waiting"), 0);
    ck_assert_int_eq(proxy_number(&borealis, "arrivals.turned_away"), 1);
    honest_goes_on();
}
END_TEST

START_TEST(a_peer_that_stops_reading_is_dropped_and_costs_bounded_memory)
{
    struct far_wire_header h = { .type = FAR_WIRE_PREPARE, .handle = 1 };
    struct far_wire_prepare p = { .attachment = 1, .class = FAR_CLASS_INPUT };
    uint8_t frames[16 * 256];
    size_t n = 0;
    int small = 4096, i;

    mallory_is_up();
    setsockopt(m.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    snprintf(p.device, sizeof(p.device), "nothing");
    for (i = 0; i < 16; i++)
        n += far_wire_encode(frames + n, sizeof(frames) - n, &h, &p, sizeof(p),
                             NULL);
    /* Each question makes an answer that is not read. */
    fcntl(m.fd, F_SETFL, O_NONBLOCK);
    for (i = 0; i < 20000; i++) {
        struct pollfd poll_fd = { .fd = m.fd, .events = POLLOUT };
        ssize_t sent;

        ck_assert_int_eq(far_tls_write(&m.tls, frames, n, NULL), 0);
        if (poll(&poll_fd, 1, 7000) <= 0 || (poll_fd.revents & POLLERR))
            break;
        sent = send(m.fd, far_buf_at(&m.tls.out), far_buf_used(&m.tls.out),
                    MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            break;
        if (sent > 0)
            far_buf_consume(&m.tls.out, (size_t)sent);
        if (far_buf_used(&m.tls.out) > 65536)
            rig_turn(&rig, 20);
    }
    ck_assert_int_lt(i, 20000);
    leave();
    honest_goes_on();
}
END_TEST

START_TEST(who_subscribes_for_ever_and_never_reads_is_dropped)
{
    struct far_wire_subscribe all = { .classes = ~(uint64_t)0 };
    struct timeval soon = { .tv_usec = 20000 };

    mallory_is_up();
    setsockopt(m.fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon));
    /* Each time the other way round, so that there is something to be told. */
    for (int i = 0; i < 20000; i++) {
        all.classes = i % 2 ? ~(uint64_t)0 : 0;
        say_frame(FAR_WIRE_SUBSCRIBE, 0, &all, sizeof(all));
        if (i % 1000 == 0)
            honest_goes_on();
    }
    honest_goes_on();
    leave();
}
END_TEST

START_TEST(a_thousand_requests_for_any_device_disturb_nobody)
{
    mallory_is_up();
    for (uint32_t n = 1; n <= 1000; n++) {
        prepare(n, n % 3 ? ".any" : n % 2 ? ".any.keys" : ".nonsense");
        ck_assert_int_lt(m.got.prepared.status, 0);
        if (n % 100 == 0)
            honest_goes_on();
    }
    honest_goes_on();
    leave();
}
END_TEST

START_TEST(a_half_open_connection_is_given_up)
{
    mallory_is_up();
    prepare(1, "kbd0");
    activate(1);
    /* and now silence, without an end: as if the cable were pulled */
    for (int i = 0; i < 40; i++) {
        json_t *status;
        size_t at;
        json_t *session;
        bool connected = false;

        rig_turn(&rig, 100);
        status = proxy_ask(&borealis, "{\"request\":\"status\"}");
        json_array_foreach (json_object_get(status, "sessions"), at, session) {
            if (!strcmp(json_string_value(json_object_get(session, "platform")),
                        "mallory"))
                connected = json_is_true(json_object_get(session, "connected"));
        }
        json_decref(status);
        if (!connected) {
            ck_assert_int_ge(i, 8);
            leave();
            honest_goes_on();
            return;
        }
    }
    ck_abort_msg("it is still held for connected");
}
END_TEST

/* A hostile server: the client's side. The connection is accepted here. */

static int listener;

static void serve(void)
{
    static struct far_keys keys;
    struct far_error error;
    char text[] = "atlas:00112233445566778899aabbccddeeff\n";
    int rc;

    if (!keys.count)
        ck_assert_int_eq(far_keys_parse(&keys, "keys", text, &error), 0);
    memset(&m, 0, sizeof(m));
    for (int i = 0; i < 500; i++) {
        rig_turn(&rig, 10);
        m.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (m.fd >= 0)
            break;
    }
    ck_assert_int_ge(m.fd, 0);
    ck_assert_int_eq(far_tls_server(&m.tls, &keys, NULL, &error), 0);
    while ((rc = far_tls_handshake(&m.tls, &error)) == -EAGAIN) {
        pour();
        ck_assert_int_gt(draw(), 0);
    }
    ck_assert_msg(rc == 0, "%s", error.text);
    pour();
    ck_assert(hear(FAR_WIRE_HELLO));
}

static void serve_hello(void)
{
    struct far_wire_hello h = hello_of("evil");

    h.role = FAR_WIRE_SERVER;
    serve();
    say_frame(FAR_WIRE_HELLO, 0, &h, sizeof(h));
}

static void serve_active(uint64_t incarnation, uint64_t next)
{
    struct far_wire_prepared p = { .class = FAR_CLASS_INPUT,
                                   .incarnation = incarnation };
    struct far_wire_activated a = { .incarnation = incarnation,
                                    .epoch = 1,
                                    .next = next };
    struct far_wire_state s = { .state = 1, .incarnation = incarnation };

    serve_hello();
    ck_assert(hear(FAR_WIRE_PREPARE));
    say_frame(FAR_WIRE_PREPARED, 1, &p, sizeof(p));
    ck_assert(hear(FAR_WIRE_ACTIVATE));
    say_frame(FAR_WIRE_ACTIVATED, 1, &a, sizeof(a));
    say_frame(FAR_WIRE_STATE, 1, &s, sizeof(s));
}

static void send_key(uint64_t sequence, uint16_t code)
{
    struct far_op op = { .attachment = 99,
                         .sequence = sequence,
                         .opcode = FAR_INPUT_EVENT };
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .code = code,
                                 .value = 1 };

    memcpy(op.args, &e, sizeof(e));
    say_frame(FAR_WIRE_INTERRUPT, 1, &op, sizeof(op));
}

static struct guest victim;

static void setup_server(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1;

    memset(&guest, 0, sizeof(guest));
    memset(&victim, 0, sizeof(victim));
    taps = 0;
    rig_begin(&rig);
    port = rig_port();
    in.sin_port = htons(port);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    rig_write(&rig, "keys", KEYS);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server evil]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device own0]\ntype = virtual\n[export own0]\n",
              port, rig.dir);
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "", "own0");
    guest_wait_ready(&guest);
    guest_open(&victim, &rig, "atlas", 1, "evil", "kbd0");
}

/* Another guest, whose device is here, has noticed nothing. */
static void other_goes_on(void)
{
    proxy_tap(&atlas, "own0", 30);
    taps++;
    guest_wait_count(&guest, 2 * taps);
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
}

static void teardown_server(void)
{
    guest_detach(&victim);
    guest_detach(&guest);
    close(listener);
    proxy_kill(&atlas, SIGTERM);
    rig_end(&rig);
}

START_TEST(a_server_that_leaves_a_gap_loses_its_connection)
{
    serve_active(77, 1);
    guest_wait_ready(&victim);
    send_key(1, 30);
    guest_wait_count(&victim, 1);
    send_key(3, 31);
    turned_out("comes after");
    ck_assert_uint_eq(victim.count, 1);
    other_goes_on();
}
END_TEST

START_TEST(an_interrupt_before_the_devices_state_ends_the_connection)
{
    struct far_wire_prepared p = { .class = FAR_CLASS_INPUT,
                                   .incarnation = 77 };
    struct far_wire_activated a = { .incarnation = 77, .epoch = 1, .next = 1 };

    serve_hello();
    ck_assert(hear(FAR_WIRE_PREPARE));
    say_frame(FAR_WIRE_PREPARED, 1, &p, sizeof(p));
    ck_assert(hear(FAR_WIRE_ACTIVATE));
    say_frame(FAR_WIRE_ACTIVATED, 1, &a, sizeof(a));
    send_key(1, 30);
    turned_out("before its state");
    ck_assert_uint_eq(victim.count, 0);
    other_goes_on();
}
END_TEST

START_TEST(a_server_that_repeats_is_heard_once)
{
    serve_active(77, 1);
    guest_wait_ready(&victim);
    send_key(1, 30);
    send_key(1, 30);
    send_key(2, 31);
    send_key(1, 30);
    guest_wait_count(&victim, 2);
    rig_turn(&rig, 100);
    ck_assert_uint_eq(victim.count, 2);
    leave();
    other_goes_on();
}
END_TEST

START_TEST(a_server_that_floods_beyond_its_credit_loses_its_connection)
{
    uint64_t n;

    serve_active(77, 1);
    guest_wait_ready(&victim);
    victim.full = true;
    for (n = 1; n < 400; n++)
        send_key(n, 30);
    turned_out("more interrupts than it may send");
    victim.full = false;
    other_goes_on();
}
END_TEST

START_TEST(impossible_events_never_reach_the_guest)
{
    serve_active(77, 1);
    guest_wait_ready(&victim);
    send_key(1, 0x7ff);
    send_key(2, 0);
    send_key(3, 30);
    guest_wait_count(&victim, 1);
    ck_assert_uint_eq(victim.events[0].code, 30);
    leave();
    other_goes_on();
}
END_TEST

START_TEST(answers_that_nobody_asked_for_end_the_connection)
{
    struct far_wire_activated a = { .incarnation = 1, .epoch = 1, .next = 1 };

    serve_hello();
    ck_assert(hear(FAR_WIRE_PREPARE));
    say_frame(FAR_WIRE_ACTIVATED, 1, &a, sizeof(a));
    turned_out("nobody asked for");
    other_goes_on();
}
END_TEST

/* A disk of the victim's, at handle 2; its own memory and the answer to its one
 * op. */
static struct {
    struct far_layer layer;
    unsigned completions;
    struct far_op done;
    uint8_t bytes[4096];
} disk;

static void disk_complete(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    disk.completions++;
    disk.done = *op;
}

static void disk_reads(uint32_t handle)
{
    static const struct far_layer_ops ops = { .name = "disk",
                                              .complete = disk_complete };
    struct far_local_who who = { .attachment = 50,
                                 .class = FAR_CLASS_BLOCK,
                                 .guest_name = "guest1",
                                 .platform = "evil",
                                 .device = "disk0" };
    struct far_wire_prepared p = { .class = FAR_CLASS_BLOCK,
                                   .incarnation = 78 };
    struct far_wire_activated a = { .incarnation = 78, .epoch = 1, .next = 1 };
    struct far_wire_limits limits = { 64, 65536 };
    struct far_wire_header h = { .type = FAR_WIRE_PREPARED, .handle = handle };
    struct far_op op = disk_op(FAR_BLOCK_READ, FAR_OP_RECEIVES);
    struct far_layer *below;
    uint8_t frame[512];
    size_t n;

    memset(&disk, 0, sizeof(disk));
    disk.layer.ops = &ops;
    memset(who.guest_uuid, 2, sizeof(who.guest_uuid));
    ck_assert_int_eq(far_local_client_open(victim.client, &who, &below, NULL),
                     0);
    far_layer_stack(&disk.layer, below);
    far_layer_activate(below, 0, 0);
    ck_assert_int_eq(far_layer_submit(below, &op, disk.bytes), FAR_LATER);
    rig_turn(&rig, 50);
    ck_assert(hear(FAR_WIRE_PREPARE));
    ck_assert_uint_eq(m.got.header.handle, handle);
    n = far_wire_encode(frame, sizeof(frame), &h, &p, sizeof(p), NULL);
    n = far_wire_add_option(frame, sizeof(frame), FAR_WIRE_OPTION_LIMITS,
                            &limits, sizeof(limits));
    say(frame, n);
    ck_assert(hear(FAR_WIRE_ACTIVATE));
    say_frame(FAR_WIRE_ACTIVATED, handle, &a, sizeof(a));
    rig_turn(&rig, 50);
    ck_assert(hear(FAR_WIRE_OP));
    ck_assert_uint_eq(m.got.op.payload_bytes, 1024);
}

static void disk_ends(void)
{
    far_layer_close(disk.layer.below);
}

static void say_answer(uint32_t handle, uint8_t flags, const struct far_op *op,
                       const void *payload)
{
    struct far_wire_header h = { .type = FAR_WIRE_FEEDBACK,
                                 .flags = flags,
                                 .handle = handle };
    static uint8_t frame[16384];

    say(frame, far_wire_encode_op(frame, sizeof(frame), &h, op, payload));
}

START_TEST(answers_with_other_payloads_than_were_asked_for_end_the_connection)
{
    static uint8_t payload[4096];

    for (int i = 0; i < 3; i++) {
        struct far_op op = disk_op(FAR_BLOCK_READ, FAR_OP_RECEIVES);
        struct far_wire_data d = { .sequence = 1,
                                   .offset_bytes = 0,
                                   .bytes = 2048 };
        uint8_t body[sizeof(d) + 2048] = { 0 };

        serve_active(77, 1);
        disk_reads(2);
        memset(payload, 0xee, sizeof(payload));
        op.attachment = 50;
        if (i == 0) {
            op.payload_bytes = 4096;
            say_answer(2, 0, &op, payload);
            turned_out("where 1024 were asked for");
        } else if (i == 1) {
            say_answer(2, FAR_WIRE_PIECES, &op, NULL);
            turned_out("without all of its payload");
        } else {
            memcpy(body, &d, sizeof(d));
            say_frame(FAR_WIRE_DATA, 2, body, sizeof(body));
            turned_out("not asked for");
        }
        rig_turn(&rig, 20);
        ck_assert_uint_eq(disk.completions, 0); /* it is asked again */
        for (unsigned k = 0; k < 4096; k++)
            ck_assert_uint_eq(disk.bytes[k], 0);
        disk_ends();
        rig_turn(&rig, 50);
        if (i < 2) {
            teardown_server();
            setup_server();
        }
    }
    other_goes_on();
}
END_TEST

START_TEST(an_op_is_completed_once_however_often_the_server_answers)
{
    static uint8_t payload[1024];
    struct far_op op = disk_op(FAR_BLOCK_READ, FAR_OP_RECEIVES);

    serve_active(77, 1);
    disk_reads(2);
    memset(payload, 0xee, sizeof(payload));
    op.attachment = 50;
    op.sequence = 2; /* of the future */
    say_answer(2, 0, &op, payload);
    op.sequence = 1;
    op.slot = 5; /* of a slot where nothing is */
    say_answer(2, 0, &op, payload);
    rig_turn(&rig, 50);
    ck_assert_uint_eq(disk.completions, 0);
    op.slot = 0;
    for (int i = 0; i < 3; i++)
        say_answer(2, 0, &op, payload);
    rig_turn(&rig, 100);
    ck_assert_uint_eq(disk.completions, 1);
    ck_assert_uint_eq(disk.done.payload_bytes, 1024);
    ck_assert_uint_eq(disk.bytes[1023], 0xee);
    ck_assert_uint_eq(disk.bytes[1024], 0);
    disk_ends();
    leave();
    other_goes_on();
}
END_TEST

/* Its answer must not be taken for the next one's. */
START_TEST(a_handle_is_not_used_again_before_the_owner_has_answered)
{
    struct far_wire_prepared p = { .class = FAR_CLASS_INPUT,
                                   .incarnation = 77 };

    serve_hello();
    ck_assert(hear(FAR_WIRE_PREPARE));
    ck_assert_uint_eq(m.got.header.handle, 1);
    guest_detach(&victim);
    memset(&victim, 0, sizeof(victim));
    guest_open(&victim, &rig, "atlas", 2, "evil", "kbd1");
    rig_turn(&rig, 50);
    ck_assert(hear(FAR_WIRE_PREPARE));
    ck_assert_uint_eq(m.got.header.handle, 2);
    say_frame(FAR_WIRE_PREPARED, 1, &p, sizeof(p));
    ck_assert(hear(FAR_WIRE_DETACH));
    ck_assert_uint_eq(m.got.header.handle, 1);
    leave();
    other_goes_on();
}
END_TEST

/* Long enough for a flood to be taken. */
static void announce(unsigned n, uint32_t state, uint32_t flags)
{
    struct far_wire_announce a = { .class = FAR_CLASS_INPUT,
                                   .state = state,
                                   .flags = flags };

    snprintf(a.device, sizeof(a.device), "kbd%u", n);
    say_frame(FAR_WIRE_ANNOUNCE, 0, &a, sizeof(a));
}

START_TEST(a_flood_of_announcements_is_bounded)
{
    serve_active(5, 1);
    for (unsigned n = 0; n < 5000; n++)
        announce(n, 1, 1);
    for (unsigned n = 0; n < 20000; n++)
        announce(7, n % 2, 1);
    other_goes_on();
    for (int i = 0; proxy_number(&atlas, "links.0.announcements.heard") < 25000;
         i++) {
        ck_assert_int_lt(i, 1000);
        rig_turn(&rig, 10);
    }
    ck_assert_int_eq(proxy_number(&atlas, "links.0.announcements.kept"), 1024);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.announcements.not_kept"),
                     5000 - 1024);
    for (unsigned n = 0; n < 5000; n++)
        announce(n, 0, 0);
    for (int i = 0; proxy_number(&atlas, "links.0.announcements.kept"); i++) {
        ck_assert_int_lt(i, 1000);
        rig_turn(&rig, 10);
    }
    other_goes_on();
}
END_TEST

START_TEST(wild_clocks_move_no_event_out_of_reason)
{
    struct far_wire_heartbeat h = { .flags = FAR_WIRE_HEARTBEAT_ANSWERS,
                                    .delta_ns = INT64_MAX,
                                    .echo_ns = 1,
                                    .held_ns = UINT64_MAX };

    serve_active(77, 1);
    guest_wait_ready(&victim);
    say_frame(FAR_WIRE_HEARTBEAT, 0, &h, sizeof(h));
    h.delta_ns = INT64_MIN + 1;
    say_frame(FAR_WIRE_HEARTBEAT, 0, &h, sizeof(h));
    send_key(1, 30);
    guest_wait_count(&victim, 1);
    leave();
    other_goes_on();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: hostile peers");
    TCase *c = tcase_create("clients"), *s = tcase_create("servers");

    tcase_set_timeout(c, 60);
    tcase_set_timeout(s, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_checked_fixture(s, setup_server, teardown_server);
    tcase_add_test(c, clear_text_is_turned_away);
    tcase_add_test(c, a_wrong_key_is_turned_away);
    tcase_add_test(c, an_unknown_name_and_a_wrong_key_sound_the_same);
    tcase_add_test(c, a_platform_cannot_call_itself_another);
    tcase_add_test(c, a_hello_of_another_version_is_told_so);
    tcase_add_test(c, a_hello_that_needs_what_we_lack_is_told_so);
    tcase_add_test(c, who_does_not_greet_is_turned_out);
    tcase_add_test(c, frames_too_short_and_too_long_end_the_connection);
    tcase_add_test(
        c, an_unknown_frame_is_skipped_and_one_that_must_be_known_answered);
    tcase_add_test(c, a_device_that_is_not_allowed_is_refused_in_words);
    tcase_add_test(c, a_class_that_the_device_is_not_of_is_refused);
    tcase_add_test(c, acknowledging_what_was_never_sent_ends_the_connection);
    tcase_add_test(c, ops_for_a_handle_that_nobody_has_are_dropped_and_counted);
    tcase_add_test(c, a_lane_that_there_is_not_is_refused);
    tcase_add_test(c, handles_that_were_never_prepared_end_the_connection);
    tcase_add_test(c, a_handle_above_the_limit_ends_the_connection);
    tcase_add_test(c, invented_completions_and_interrupts_end_the_connection);
    tcase_add_test(c, a_frame_that_is_cut_off_is_nothing);
    tcase_add_test(c,
                   each_end_is_counted_and_logged_with_the_peer_and_the_reason);
    tcase_add_test(c,
                   the_same_op_repeated_is_done_once_and_an_older_one_dropped);
    tcase_add_test(c, ops_with_payloads_that_can_not_be_end_the_connection);
    tcase_add_test(c, payloads_go_there_and_back_whole_and_in_pieces);
    tcase_add_test(c, a_slow_handshake_ends_after_five_seconds);
    tcase_add_test(c, a_crowd_that_says_nothing_does_not_keep_others_out);
    tcase_add_test(c,
                   who_was_looked_up_before_the_keys_changed_does_not_get_in);
    tcase_add_test(
        c, a_peer_that_stops_reading_is_dropped_and_costs_bounded_memory);
    tcase_add_test(c, who_subscribes_for_ever_and_never_reads_is_dropped);
    tcase_add_test(c, a_thousand_requests_for_any_device_disturb_nobody);
    tcase_add_test(c, a_half_open_connection_is_given_up);
    suite_add_tcase(suite, c);
    tcase_add_test(s, a_server_that_leaves_a_gap_loses_its_connection);
    tcase_add_test(s,
                   an_interrupt_before_the_devices_state_ends_the_connection);
    tcase_add_test(s, a_server_that_repeats_is_heard_once);
    tcase_add_test(s,
                   a_server_that_floods_beyond_its_credit_loses_its_connection);
    tcase_add_test(s, impossible_events_never_reach_the_guest);
    tcase_add_test(s, answers_that_nobody_asked_for_end_the_connection);
    tcase_add_test(
        s, answers_with_other_payloads_than_were_asked_for_end_the_connection);
    tcase_add_test(s, an_op_is_completed_once_however_often_the_server_answers);
    tcase_add_test(s, a_handle_is_not_used_again_before_the_owner_has_answered);
    tcase_add_test(s, a_flood_of_announcements_is_bounded);
    tcase_add_test(s, wild_clocks_move_no_event_out_of_reason);
    suite_add_tcase(suite, s);
    return suite_end(suite);
}
