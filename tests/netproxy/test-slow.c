/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A client of a relay that hardly reads what it asks for: mallory, hand-made,
 * in a loop of its own. atlas' guest, whose keyboard comes over the same link
 * from the relay to the owner, must notice nothing of it; the relay keeps
 * little, and mallory gets all in the end. Then the accounting by itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "core/input.h"
#include "netproxy/conn.h"
#include "netproxy/flow.h"
#include "netproxy/keys.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define KEY(n) n ":00112233445566778899aabbccddeeff\n"

#define READ_BYTES far_class_payload_bytes(FAR_CLASS_BLOCK)
#define PEER_MS    400 /* mallory looks that rarely */

static struct rig rig;
static struct proxy atlas, borealis, cygnus;
static struct guest guest;
static uint16_t ports[2]; /* of borealis, cygnus */
static unsigned taps;

static struct {
    struct far_loop *loop;
    struct far_conn *conn;
    struct far_traffic traffic;
    bool up;
    unsigned prepared, activated, feedbacks;
    unsigned slow; /* of the prepareds: it reads too slowly */
    uint64_t incarnation;
    int status; /* of the last prepared */
    uint64_t bytes;
    char text[FAR_WIRE_TEXT_BYTES], why[FAR_WIRE_TEXT_BYTES];
} mallory;

static int mallory_up(struct far_conn *conn, struct far_error *error)
{
    (void)conn;
    (void)error;
    mallory.up = true;
    return 0;
}

static int mallory_frame(struct far_conn *conn, const struct far_wire_frame *f,
                         struct far_error *error)
{
    (void)conn;
    (void)error;
    switch (f->header.type) {
    case FAR_WIRE_PREPARED:
        mallory.prepared++;
        mallory.status = f->prepared.status;
        mallory.slow += f->prepared.status == -ENOBUFS;
        if (f->prepared.status)
            memcpy(mallory.text, f->text, sizeof(mallory.text));
        break;
    case FAR_WIRE_ACTIVATED:
        mallory.activated++;
        if (f->activated.incarnation)
            mallory.incarnation = f->activated.incarnation;
        break;
    case FAR_WIRE_DATA:
        mallory.bytes += f->data.bytes;
        break;
    case FAR_WIRE_FEEDBACK:
        mallory.feedbacks++;
        ck_assert_int_eq(f->op.status, 0);
        break;
    default:
        break;
    }
    return 0;
}

static void mallory_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    snprintf(mallory.why, sizeof(mallory.why), "%s", reason);
    far_conn_free(conn, NULL);
    mallory.conn = NULL;
}

static const struct far_conn_ops mallory_ops = {
    .up = mallory_up,
    .frame = mallory_frame,
    .down = mallory_down,
};

static void mallory_failed(const char *condition)
{
    ck_abort_msg("not %s: %u prepared, %u activated, %u feedbacks, %llu bytes; "
                 "%s; at the relay %lld wait; %s",
                 condition, mallory.prepared, mallory.activated,
                 mallory.feedbacks, (unsigned long long)mallory.bytes,
                 mallory.conn ? mallory.text : mallory.why,
                 proxy_number(&borealis, "routes.0.waiting_bytes"),
                 proxy_text(&borealis, "routes.0.reason"));
}

/* While mallory reads as others do. */
#define MALLORY_UNTIL(condition, ms)                          \
    do {                                                      \
        uint64_t end_us = far_now_us() + (uint64_t)(ms)*1000; \
                                                              \
        while (!(condition) && far_now_us() < end_us)         \
            far_loop_turn(mallory.loop, 1000);                \
        if (!(condition))                                     \
            mallory_failed(#condition);                       \
    } while (0)

static void mallory_sends(uint8_t type, const void *body, size_t bytes,
                          uint32_t credit)
{
    struct far_wire_header header = {
        .type = type, .hops = FAR_WIRE_HOPS, .handle = 1, .credit = credit
    };

    ck_assert_ptr_nonnull(mallory.conn);
    far_conn_send(mallory.conn, &header, body, bytes, NULL);
}

/* It says something now and then, and so is not silent. */
static void mallory_looks(void)
{
    if (mallory.conn)
        mallory_sends(FAR_WIRE_ACK, NULL, 0, 1u << 30);
    far_loop_turn(mallory.loop, 0);
}

static void mallory_comes(const char *device, enum far_class class)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(ports[0]),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct far_wire_hello me = { .magic = FAR_WIRE_MAGIC,
                                 .frame_max = FAR_CONN_FRAME_MAX,
                                 .lanes = 1,
                                 .handles_max = 16,
                                 .platform = "mallory" };
    struct far_wire_prepare p = { .attachment = 1, .class = class };
    struct far_keys keys = { 0 };
    struct far_error error;
    char path[128];

    memset(&mallory, 0, sizeof(mallory));
    mallory.loop = far_loop_new();
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&keys, path, &error), 0);
    mallory.conn =
        far_conn_connect(mallory.loop, &mallory_ops, NULL, &mallory.traffic,
                         &me, "borealis", far_keys_find(&keys, "mallory"), NULL,
                         (struct sockaddr *)&in, sizeof(in), &error);
    ck_assert_ptr_nonnull(mallory.conn);
    far_keys_free(&keys);
    MALLORY_UNTIL(mallory.up, 5000);
    memset(p.guest_uuid, 0x66, 16);
    snprintf(p.device, sizeof(p.device), "%s", device);
    mallory_sends(FAR_WIRE_PREPARE, &p, sizeof(p), 0);
    MALLORY_UNTIL(mallory.prepared, 5000);
    ck_assert_int_eq(mallory.status, 0);
}

static void mallory_activates(void)
{
    /* Whatever it got, it says that it has none of it. */
    const struct far_wire_activate a = { .incarnation = mallory.incarnation };

    mallory_sends(FAR_WIRE_ACTIVATE, &a, sizeof(a), 1u << 30);
}

static void mallory_goes(void)
{
    far_conn_free(mallory.conn, NULL);
    far_loop_free(mallory.loop);
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    taps = 0;
    rig_begin(&rig);
    for (unsigned i = 0; i < 2; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys",
              KEY("atlas") KEY("borealis") KEY("cygnus") KEY("mallory"));
    rig_write(&rig, "cygnus.conf",
              "[platform]\nname = cygnus\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n"
              "[device kbd1]\ntype = virtual\n"
              "[export kbd1]\nallow = mallory\n"
              "[device disk0]\ntype = memory\nsize = 16\n"
              "[export disk0]\nallow = mallory\n"
              "[relay borealis]\nmay-carry = atlas mallory\nsigned = off\n",
              ports[1], rig.dir);
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[export kbd0]\nforward = cygnus/kbd0\nallow = atlas\n"
              "[export kbd1]\nforward = cygnus/kbd1\nallow = mallory\n"
              "[export disk0]\nforward = cygnus/disk0\nallow = mallory\n",
              ports[0], rig.dir, ports[1], rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              ports[0], rig.dir);
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&borealis, &rig, "borealis");
    proxy_wait_text(&borealis, "links.0.state", "up");
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
}

static void teardown(void)
{
    guest_detach(&guest);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    proxy_kill(&cygnus, SIGTERM);
    rig_end(&rig);
}

static bool has_all(void *arg)
{
    (void)arg;
    return guest.count == 2 * taps;
}

/* A key of the honest guest comes while mallory hardly looks. */
static void honest_goes_on(unsigned ms)
{
    for (unsigned i = 0; i < ms / PEER_MS; i++) {
        mallory_looks();
        taps++;
        proxy_tap(&cygnus, "kbd0", 30);
        ck_assert_msg(rig_until(&rig, has_all, NULL, 2000),
                      "%u of %u events came", guest.count, 2 * taps);
        rig_turn(&rig, PEER_MS / 2);
    }
}

START_TEST(a_client_that_hardly_reads_holds_up_nobody_else)
{
    struct far_block_args a = { .length_bytes = READ_BYTES };
    struct far_op op = { .attachment = 1,
                         .opcode = FAR_BLOCK_READ,
                         .flags = FAR_OP_RECEIVES,
                         .payload_bytes = READ_BYTES };
    long long waiting, most = 0;

    mallory_comes("disk0", FAR_CLASS_BLOCK);
    mallory_activates();
    MALLORY_UNTIL(mallory.activated, 5000);
    memcpy(op.args, &a, sizeof(a));
    for (unsigned i = 0; i < FAR_WIRE_SLOTS_MAX; i++) {
        op.slot = i;
        op.sequence = 1;
        mallory_sends(FAR_WIRE_OP, &op, sizeof(op), 1u << 30);
    }
    for (unsigned i = 0; i < 6000 / PEER_MS; i++) {
        honest_goes_on(PEER_MS);
        waiting = proxy_number(&borealis, "routes.0.waiting_bytes");
        most = waiting > most ? waiting : most;
    }
    ck_assert_ptr_nonnull(mallory.conn);
    ck_assert_uint_lt(mallory.feedbacks, FAR_WIRE_SLOTS_MAX);
    /* Of the 8 MiB that it asked for, the owner was not asked for all. */
    ck_assert_int_gt(most, 0);
    ck_assert_int_lt(most, FAR_FLOW_ASKED_BYTES + FAR_FLOW_ASKED_BYTES / 16);
    /* What it asked for it gets, once. */
    MALLORY_UNTIL(mallory.feedbacks == FAR_WIRE_SLOTS_MAX, 30000);
    ck_assert_uint_eq(mallory.bytes, (uint64_t)FAR_WIRE_SLOTS_MAX * READ_BYTES);
    for (unsigned i = 0; i < 100; i++)
        far_loop_turn(mallory.loop, 1000);
    ck_assert_uint_eq(mallory.feedbacks, FAR_WIRE_SLOTS_MAX);
    honest_goes_on(800);
    mallory_goes();
}
END_TEST

/* Without ever acknowledging what it got, or reading it. */
START_TEST(a_client_for_which_too_much_waits_is_told_so_and_asked_anew)
{
    unsigned prepared, activations = 1;

    mallory_comes("kbd1", FAR_CLASS_INPUT);
    mallory_activates();
    MALLORY_UNTIL(mallory.activated, 5000);
    for (unsigned i = 0; i < 2000; i++) {
        proxy_tap(&cygnus, "kbd1", 2 + i % 80);
        if (i % 64 == 0)
            mallory_looks();
    }
    prepared = mallory.prepared;
    for (; activations < 400 && mallory.prepared == prepared; activations++) {
        mallory_activates();
        mallory_looks();
        rig_turn(&rig, 20);
    }
    honest_goes_on(2000);
    MALLORY_UNTIL(mallory.slow, 20000);
    ck_assert_ptr_nonnull(strstr(mallory.text, "mallory reads too slowly"));
    MALLORY_UNTIL(mallory.prepared > prepared + 1, 20000);
    ck_assert_int_eq(mallory.status, 0);
    MALLORY_UNTIL(mallory.activated == activations,
                  20000); /* each is answered */
    honest_goes_on(800);
    mallory_goes();
}
END_TEST

START_TEST(what_a_client_does_wrong_ends_its_attachment_not_the_relays_link)
{
    struct far_op op = { .attachment = 1,
                         .opcode = FAR_BLOCK_READ,
                         .sequence = 1,
                         .flags = FAR_OP_RECEIVES,
                         .payload_bytes = 4 * READ_BYTES };

    mallory_comes("disk0", FAR_CLASS_BLOCK);
    mallory_activates();
    MALLORY_UNTIL(mallory.activated, 5000);
    mallory_sends(FAR_WIRE_OP, &op, sizeof(op), 1u << 30);
    MALLORY_UNTIL(mallory.prepared == 2, 5000);
    ck_assert_int_lt(mallory.status, 0);
    ck_assert_ptr_nonnull(strstr(mallory.text, "disk0"));
    honest_goes_on(400);
    ck_assert_int_eq(proxy_number(&borealis, "links.0.counters.reconnects"), 0);
    ck_assert_str_eq(proxy_text(&borealis, "links.0.lanes.0.reason"), "");
    mallory_goes();
}
END_TEST

/* ---- the accounting ---- */

static struct far_op reads(unsigned slot, uint64_t sequence, uint32_t bytes)
{
    return (struct far_op){ .slot = slot,
                            .sequence = sequence,
                            .flags = FAR_OP_RECEIVES,
                            .payload_bytes = bytes };
}

START_TEST(what_is_asked_is_bounded_and_one_op_is_always_let_through)
{
    struct far_flow_total total = { 0 };
    struct far_flow flow, other;
    struct far_op op = reads(0, 1, 3 << 20);

    far_flow_init(&flow, &total);
    far_flow_init(&other, &total);
    ck_assert_int_eq(far_flow_ask(&flow, &op), 0);
    ck_assert_int_eq(far_flow_ask(&flow, &op), 0); /* again: by another lane */
    ck_assert_uint_eq(flow.asked_bytes, 3 << 20);
    op.slot = 1;
    ck_assert_int_eq(far_flow_ask(&flow, &op), -EAGAIN);
    op.flags = FAR_OP_SENDS;
    ck_assert_int_eq(far_flow_ask(&flow, &op), 0); /* nothing comes back */
    op = reads(0, 2, 1 << 20);                     /* in its place */
    ck_assert_int_eq(far_flow_ask(&flow, &op), 0);
    ck_assert_uint_eq(flow.asked_bytes, 1 << 20);
    far_flow_answered(&flow, &(struct far_op){ .slot = 0, .sequence = 1 });
    ck_assert_uint_eq(flow.asked_bytes, 1 << 20);
    far_flow_answered(&flow, &op);
    far_flow_answered(&flow, &op);
    ck_assert_uint_eq(flow.asked_bytes, 0);
    op = reads(0, 3, UINT32_MAX);
    ck_assert_int_eq(far_flow_ask(&flow, &op), 0);
    ck_assert_int_eq(far_flow_ask(&other, &op), -EAGAIN); /* of one client */
    far_flow_clear(&flow);
    ck_assert_int_eq(far_flow_ask(&other, &op), 0);
    far_flow_clear(&other);
    ck_assert_uint_eq(total.asked_bytes, 0);
}
END_TEST

START_TEST(queues_are_bounded_and_their_ends_are_counted)
{
    struct far_wire_header header = { .type = FAR_WIRE_DATA };
    struct far_flow_total total = { 0 };
    static uint8_t payload[65536 - FAR_WIRE_HEADER_BYTES];
    struct far_flow flows[9];
    unsigned kept = 0;
    const uint8_t *body;

    for (unsigned i = 0; i < 9; i++) {
        far_flow_init(&flows[i], &total);
        while (!far_flow_keep(&flows[i], &flows[i].down, &header, NULL, 0,
                              payload, sizeof(payload)))
            kept++;
        ck_assert_uint_le(far_buf_used(&flows[i].down), FAR_FLOW_QUEUE_BYTES);
        ck_assert_uint_le(total.queued_bytes, FAR_FLOW_PEER_QUEUE_BYTES);
    }
    ck_assert_uint_eq(kept, FAR_FLOW_PEER_QUEUE_BYTES / 65536);
    far_flow_clear(&flows[1]);
    header.type = FAR_WIRE_ACTIVATED;
    ck_assert_int_eq(
        far_flow_keep(&flows[1], &flows[1].down, &header, payload, 32, NULL, 0),
        0);
    far_flow_first(&flows[1].down, &header, &body);
    ck_assert_uint_eq(header.bytes, FAR_WIRE_HEADER_BYTES + 32);
    ck_assert_uint_eq(far_flow_clear(&flows[1]), 1);
    header.type = FAR_WIRE_OP;
    while (
        !far_flow_keep(&flows[1], &flows[1].up, &header, payload, 64, NULL, 0))
        ck_assert_uint_eq(total.holding, 1);
    ck_assert_uint_le(far_buf_used(&flows[1].up), FAR_FLOW_HELD_BYTES);
    for (unsigned i = 0; i < 9; i++)
        far_flow_clear(&flows[i]);
    ck_assert_uint_eq(total.queued_bytes, 0);
    ck_assert_uint_eq(total.holding, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: slow clients of a relay");
    TCase *unit = tcase_create("accounting"), *whole = tcase_create("whole");

    tcase_add_test(unit,
                   what_is_asked_is_bounded_and_one_op_is_always_let_through);
    tcase_add_test(unit, queues_are_bounded_and_their_ends_are_counted);
    suite_add_tcase(suite, unit);
    tcase_set_timeout(whole, 120);
    tcase_add_checked_fixture(whole, setup, teardown);
    tcase_add_test(whole, a_client_that_hardly_reads_holds_up_nobody_else);
    tcase_add_test(whole,
                   a_client_for_which_too_much_waits_is_told_so_and_asked_anew);
    tcase_add_test(
        whole,
        what_a_client_does_wrong_ends_its_attachment_not_the_relays_link);
    suite_add_tcase(suite, whole);
    return suite_end(suite);
}
