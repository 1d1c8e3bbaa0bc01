/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Three real netproxies in a row: atlas, whose guests type; borealis, which
 * passes on; cygnus, which owns the keyboard. Then wrong configurations, rings,
 * kills of each, and a hand-made relay and a hand-made client that lie about
 * whose a request is and which way it came.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/input.h"
#include "netproxy/conn.h"
#include "netproxy/flow.h"
#include "netproxy/keys.h"
#include "netproxy/route.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

static struct rig rig;
static struct proxy atlas, borealis, cygnus;
static struct guest guest;
static uint16_t ports[3]; /* of atlas, borealis, cygnus */
static unsigned taps;

#define KEY(n) n ":00112233445566778899aabbccddeeff\n"

static void configure_owner(const char *more)
{
    rig_write(&rig, "cygnus.conf",
              "[platform]\nname = cygnus\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device keyboard]\ntype = virtual\n"
              "[export keyboard]\nallow = atlas borealis\n%s",
              ports[2], rig.dir, more);
}

static void configure_relay(const char *export)
{
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "%s",
              ports[1], rig.dir, ports[2], rig.dir, export);
}

#define FORWARD "[export kbd0]\nforward = cygnus/keyboard\nallow = atlas\n"
#define CARRY   "[relay borealis]\nmay-carry = atlas\nsigned = off\n"
#define SIGNED  "[relay borealis]\nmay-carry = atlas\n"

static void start_three(void)
{
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&borealis, &rig, "borealis");
    proxy_wait_text(&borealis, "links.0.state", "up");
    proxy_start(&atlas, &rig, "atlas");
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    taps = 0;
    rig_begin(&rig);
    for (unsigned i = 0; i < 3; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys", KEY("atlas") KEY("borealis") KEY("cygnus"));
    configure_owner(CARRY);
    configure_relay(FORWARD);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              ports[1], rig.dir);
}

static void teardown(void)
{
    if (guest.open)
        guest_detach(&guest);
    if (atlas.pid)
        proxy_kill(&atlas, SIGTERM);
    if (borealis.pid)
        proxy_kill(&borealis, SIGTERM);
    if (cygnus.pid)
        proxy_kill(&cygnus, SIGTERM);
    atlas.pid = borealis.pid = cygnus.pid = 0;
    rig_end(&rig);
}

static void attach(void)
{
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
}

static void tap(void)
{
    proxy_tap(&cygnus, "keyboard", 2 + taps++ % 80);
}

/* All that was typed, each once, in order, and in one numbering. */
static void check_typed(void)
{
    guest_wait_count(&guest, 2 * taps);
    rig_turn(&rig, 50);
    ck_assert_uint_eq(guest.count, 2 * taps);
    for (unsigned i = 0; i < guest.count; i++) {
        ck_assert_uint_eq(guest.events[i].code, 2 + i / 2 % 80);
        ck_assert_int_eq(guest.events[i].value, !(i % 2));
    }
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
    ck_assert_uint_eq(guest.incarnations, 1);
}

START_TEST(keys_come_through_a_relay_and_the_session_is_the_guests_platforms)
{
    uint64_t now_us;

    start_three();
    attach();
    guest_wait_ready(&guest);
    for (unsigned i = 0; i < 50; i++)
        tap();
    check_typed();
    now_us = far_now_us(); /* one machine: one clock */
    for (unsigned i = 0; i < guest.count; i++) {
        ck_assert_uint_lt(guest.events[i].time_us, now_us + 100000);
        ck_assert_uint_gt(guest.events[i].time_us + 10000000, now_us);
    }
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "atlas");
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.device"), "keyboard");
    ck_assert_str_eq(proxy_text(&borealis, "sessions.0.platform"), "");
    ck_assert_str_eq(proxy_text(&borealis, "routes.0.origin"), "atlas");
    ck_assert_str_eq(proxy_text(&borealis, "routes.0.to"), "cygnus/keyboard");
    ck_assert_str_eq(proxy_text(&borealis, "routes.0.state"), "active");
}
END_TEST

static bool has_completed(void *arg)
{
    return ((struct guest *)arg)->completions > 0;
}

START_TEST(an_op_and_its_feedback_come_through)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .slot = 3,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    start_three();
    attach();
    guest_wait_ready(&guest);
    ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, NULL), FAR_LATER);
    ck_assert(rig_until(&rig, has_completed, &guest, 5000));
    ck_assert_uint_eq(guest.completed.slot, 3);
    ck_assert_uint_eq(guest.completed.sequence, 1);
}
END_TEST

static void taps_for(unsigned ms, unsigned every_ms)
{
    for (unsigned i = 0; i < ms / every_ms; i++) {
        tap();
        rig_turn(&rig, every_ms);
    }
}

START_TEST(a_relay_that_is_killed_and_comes_back_loses_and_doubles_nothing)
{
    start_three();
    attach();
    guest_wait_ready(&guest);
    for (unsigned round = 0; round < 5; round++) {
        taps_for(50, 2);
        proxy_kill(&borealis, SIGKILL);
        taps_for(50, 2);
        proxy_start(&borealis, &rig, "borealis");
        taps_for(100, 2);
    }
    check_typed();
}
END_TEST

START_TEST(a_client_that_is_killed_and_comes_back_loses_and_doubles_nothing)
{
    start_three();
    attach();
    guest_wait_ready(&guest);
    for (unsigned round = 0; round < 5; round++) {
        taps_for(50, 2);
        proxy_kill(&atlas, SIGKILL);
        taps_for(50, 2);
        proxy_start(&atlas, &rig, "atlas");
        taps_for(100, 2);
    }
    check_typed();
    /* the routes of lost connections go when another one sits there */
    ck_assert_str_eq(proxy_text(&borealis, "routes.1.state"), "");
}
END_TEST

START_TEST(an_owner_that_is_killed_begins_a_new_numbering_and_keys_come_again)
{
    start_three();
    attach();
    guest_wait_ready(&guest);
    tap();
    check_typed();
    proxy_kill(&cygnus, SIGKILL);
    guest_wait_reason(&guest, "borealis waits for its link to cygnus");
    proxy_start(&cygnus, &rig, "cygnus");
    guest_wait_ready(&guest);
    ck_assert_uint_eq(guest.incarnations, 2);
    tap();
    guest_wait_count(&guest, 4);
}
END_TEST

START_TEST(an_owner_that_is_away_at_first_is_asked_when_it_is_there)
{
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    attach();
    guest_wait_reason(&guest, "waits for its link to cygnus");
    proxy_start(&cygnus, &rig, "cygnus");
    guest_wait_ready(&guest);
    tap();
    check_typed();
}
END_TEST

START_TEST(a_guest_of_the_relay_itself_has_the_device_too)
{
    configure_relay(FORWARD);
    start_three();
    guest_open(&guest, &rig, "borealis", 0, "", "kbd0");
    guest_wait_ready(&guest);
    tap();
    check_typed();
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "borealis");
}
END_TEST

START_TEST(a_detach_ends_the_session_at_the_owner)
{
    start_three();
    attach();
    guest_wait_ready(&guest);
    guest_detach(&guest);
    proxy_wait_text(&cygnus, "sessions.0.platform", "");
    for (unsigned i = 0; i < 200; i++) {
        if (!proxy_text(&cygnus, "sessions.0.platform")[0] &&
            !proxy_text(&borealis, "routes.0.origin")[0])
            return;
        rig_turn(&rig, 10);
    }
    ck_abort_msg("the session or the route stays");
}
END_TEST

START_TEST(a_relay_that_is_not_entrusted_is_refused_until_it_is)
{
    configure_owner("");
    start_three();
    attach();
    guest_wait_reason(&guest, "borealis may not speak for atlas");
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "");
    configure_owner(CARRY);
    proxy_reload(&cygnus);
    guest_wait_ready(&guest);
    tap();
    check_typed();
    configure_owner("[relay borealis]\nmay-carry = someone\nsigned = off\n");
    proxy_reload(&cygnus);
    guest_wait_reason(&guest, "borealis may not speak for atlas");
}
END_TEST

START_TEST(the_owner_and_the_relay_both_must_allow_the_guests_platform)
{
    configure_relay("[export kbd0]\nforward = cygnus/keyboard\nallow = x\n");
    start_three();
    attach();
    guest_wait_reason(&guest, "[export kbd0] of borealis does not allow");
    rig_write(&rig, "cygnus.conf",
              "[platform]\nname = cygnus\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device keyboard]\ntype = virtual\n"
              "[export keyboard]\nallow = borealis\n" CARRY,
              ports[2], rig.dir);
    proxy_reload(&cygnus);
    configure_relay(FORWARD);
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "[export keyboard] of cygnus does not allow");
    configure_owner(CARRY);
    proxy_reload(&cygnus);
    guest_wait_ready(&guest);
    configure_relay("");
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "kbd0");
}
END_TEST

/* What is read has problems, and is taken all the same. */
static void reload_anyway(struct proxy *proxy)
{
    json_decref(proxy_ask(proxy, "{\"request\":\"reload\"}"));
}

START_TEST(a_forward_to_itself_is_refused)
{
    configure_relay("[export kbd0]\nforward = borealis/kbd0\nallow = atlas\n");
    start_three();
    attach();
    guest_wait_reason(&guest, "in a circle: atlas -> borealis -> borealis");
    configure_relay("[export kbd0]\nforward = atlas/kbd0\nallow = atlas\n");
    reload_anyway(&borealis);
    guest_wait_reason(&guest, "in a circle: atlas -> borealis -> atlas");
    configure_relay("[export kbd0]\nforward = draco/kbd0\nallow = atlas\n");
    reload_anyway(&borealis);
    guest_wait_reason(&guest, "there is no [server draco]");
}
END_TEST

/* atlas → borealis → cygnus → atlas: whoever asks, nobody's frame comes twice
 * to the same one. */
START_TEST(three_platforms_in_a_ring_carry_no_frame_twice)
{
    static const char *const names[] = { "atlas", "borealis", "cygnus" };
    char conf[32];
    long long before, after;

    for (unsigned i = 0; i < 3; i++) {
        unsigned next = (i + 1) % 3;

        snprintf(conf, sizeof(conf), "%s.conf", names[i]);
        rig_write(&rig, conf,
                  "[platform]\nname = %s\n"
                  "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
                  "[server %s]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
                  "[export kbd0]\nforward = %s/kbd0\n"
                  "allow = atlas borealis cygnus\n"
                  "[relay atlas]\nmay-carry = borealis cygnus\n"
                  "[relay borealis]\nmay-carry = atlas cygnus\n"
                  "[relay cygnus]\nmay-carry = atlas borealis\n",
                  names[i], ports[i], rig.dir, names[next], ports[next],
                  rig.dir, names[next]);
    }
    start_three();
    proxy_wait_text(&atlas, "links.1.state", "up");
    proxy_wait_text(&borealis, "links.1.state", "up");
    proxy_wait_text(&cygnus, "links.1.state", "up");
    attach();
    guest_wait_reason(&guest,
                      "in a circle: atlas -> borealis -> cygnus -> atlas");
    before = proxy_number(&atlas, "links.1.counters.frames_in");
    rig_turn(&rig, 300);
    after = proxy_number(&atlas, "links.1.counters.frames_in");
    ck_assert_int_le(after - before, 2); /* heartbeats */
    ck_assert_str_eq(proxy_text(&atlas, "routes.0.origin"), "");
    ck_assert_int_eq((int)strlen(proxy_text(&borealis, "routes.1.origin")), 0);
}
END_TEST

/* Between the guest's platform and the owner, for signatures only. */
static void share_a_key(const char *key)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/atlas-keys", rig.dir);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/atlas-keys/psk", rig.dir);
    mkdir(path, 0755);
    rig_write(&rig, "atlas-keys/psk/server-cygnus", "atlas:%s\n", key);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\ntrust = %s/atlas-keys\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "may-reach = cygnus/keyboard\n",
              rig.dir, ports[1], rig.dir);
}

START_TEST(an_owner_wants_the_origins_signature_and_gets_it_over_every_loss)
{
    configure_owner(SIGNED);
    share_a_key("00112233445566778899aabbccddeeff");
    start_three();
    attach();
    guest_wait_ready(&guest);
    for (unsigned round = 0; round < 5; round++) {
        taps_for(30, 2);
        proxy_kill(&borealis, SIGKILL);
        taps_for(30, 2);
        proxy_start(&borealis, &rig, "borealis");
        taps_for(60, 2);
        proxy_kill(&atlas, SIGKILL);
        proxy_start(&atlas, &rig, "atlas");
        taps_for(60, 2);
    }
    check_typed();
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "atlas");
}
END_TEST

START_TEST(a_client_without_the_owners_key_or_with_a_wrong_one_is_refused)
{
    configure_owner(SIGNED);
    start_three();
    attach();
    guest_wait_reason(&guest, "cygnus");
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "");
    share_a_key("ffffffffffffffffffffffffffffffff");
    proxy_kill(&atlas, SIGKILL);
    proxy_start(&atlas, &rig, "atlas");
    guest_wait_reason(&guest, "signature");
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "");
    share_a_key("00112233445566778899aabbccddeeff");
    proxy_kill(&atlas, SIGKILL);
    proxy_start(&atlas, &rig, "atlas");
    guest_wait_ready(&guest);
    tap();
    check_typed();
}
END_TEST

/* A hand-made client of any name, in this process. */
static struct {
    struct far_conn *conn;
    struct far_traffic traffic;
    bool up, down;
    unsigned answers;
    int status;
    uint32_t handle;       /* by which it asks; 0: 1 */
    size_t stuffing;       /* so many bytes of an option go with it */
    uint8_t signature[64]; /* goes with what it asks, if it is not empty */
    struct far_challenge challenge; /* of the last answer */
    char why[FAR_WIRE_TEXT_BYTES], text[FAR_WIRE_TEXT_BYTES];
} liar;

static int liar_up(struct far_conn *conn, struct far_error *error)
{
    (void)conn;
    (void)error;
    liar.up = true;
    return 0;
}

static int liar_frame(struct far_conn *conn, const struct far_wire_frame *f,
                      struct far_error *error)
{
    const uint8_t *value;
    size_t bytes;

    (void)conn;
    if (f->header.type == FAR_WIRE_PREPARED) {
        liar.answers++;
        liar.status = f->prepared.status;
        memcpy(liar.text, f->text, sizeof(liar.text));
        value = far_wire_option(f, FAR_WIRE_OPTION_CHALLENGE, &bytes);
        if (value)
            return far_challenge_decode(&liar.challenge, value, bytes, error);
    }
    return 0;
}

static void liar_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    liar.down = true;
    snprintf(liar.why, sizeof(liar.why), "%s", reason);
    far_conn_free(conn, NULL);
    liar.conn = NULL;
}

static const struct far_conn_ops liar_ops = {
    .up = liar_up,
    .frame = liar_frame,
    .down = liar_down,
};

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void liar_comes(const char *name, const char *to, uint16_t port)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct far_wire_hello me = { .magic = FAR_WIRE_MAGIC,
                                 .frame_max = FAR_CONN_FRAME_MAX,
                                 .lanes = 1,
                                 .handles_max = 16 };
    struct far_keys keys = { 0 };
    struct far_error error;
    char path[128];

    memset(&liar, 0, sizeof(liar));
    snprintf(me.platform, sizeof(me.platform), "%s", name);
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&keys, path, &error), 0);
    liar.conn = far_conn_connect(rig.loop, &liar_ops, NULL, &liar.traffic, &me,
                                 to, far_keys_find(&keys, name), NULL,
                                 (struct sockaddr *)&in, sizeof(in), &error);
    ck_assert_ptr_nonnull(liar.conn);
    far_keys_free(&keys);
    ck_assert(rig_until(&rig, is_true, &liar.up, 5000));
}

static bool liar_answered(void *arg)
{
    return liar.answers > *(unsigned *)arg;
}

/* Asks for a device by that way (names, NULL at the end); the status. */
static int liar_asks(const char *device, uint8_t hops, const char *origin,
                     const char *const *visited)
{
    struct far_wire_prepare p = { .attachment = 1, .class = FAR_CLASS_INPUT };
    struct far_wire_header header = { .type = FAR_WIRE_PREPARE,
                                      .hops = hops,
                                      .handle = liar.handle ? liar.handle : 1 };
    static const uint8_t nothing[8192];
    char list[8][FAR_NAME_BYTES] = { "" }, name[FAR_NAME_BYTES] = "";
    unsigned n = 0, before = liar.answers;
    uint8_t out[16384];
    size_t bytes;

    p.guest_devid = liar.handle;
    memset(p.guest_uuid, 0x66, 16);
    snprintf(p.device, sizeof(p.device), "%s", device);
    bytes = far_wire_encode(out, sizeof(out), &header, &p, sizeof(p), NULL);
    if (origin) {
        snprintf(name, sizeof(name), "%s", origin);
        bytes = far_wire_add_option(out, sizeof(out), FAR_WIRE_OPTION_ORIGIN,
                                    name, sizeof(name));
    }
    for (; visited && visited[n]; n++)
        snprintf(list[n], FAR_NAME_BYTES, "%s", visited[n]);
    if (n)
        bytes = far_wire_add_option(out, sizeof(out), FAR_WIRE_OPTION_VISITED,
                                    list, n * FAR_NAME_BYTES);
    if (liar.signature[0])
        bytes = far_wire_add_option(out, sizeof(out), FAR_WIRE_OPTION_SIGNATURE,
                                    liar.signature, sizeof(liar.signature));
    if (liar.stuffing)
        bytes =
            far_wire_add_option(out, sizeof(out), 31, nothing, liar.stuffing);
    memcpy(&header, out, sizeof(header));
    far_conn_forward(liar.conn, &header, out + FAR_WIRE_HEADER_BYTES,
                     bytes - FAR_WIRE_HEADER_BYTES, NULL, 0);
    ck_assert(rig_until(&rig, liar_answered, &before, 5000));
    return liar.status;
}

#define WAY(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(an_owner_believes_no_relay_beyond_what_it_is_entrusted_with)
{
    start_three();
    proxy_kill(&borealis, SIGTERM); /* its place is taken by one that lies */
    borealis.pid = 0;
    liar_comes("borealis", "cygnus", ports[2]);
    /* what it may say */
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")), 0);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "atlas");
    ck_assert_int_eq(liar_asks("keyboard", 4, NULL, NULL), 0);
    ck_assert_int_eq(liar_asks("keyboard", 4, "borealis", NULL), 0);
    /* and what not */
    ck_assert_int_eq(liar_asks("keyboard", 3, "draco", WAY("borealis")),
                     -EACCES);
    ck_assert_ptr_nonnull(strstr(liar.text, "may not speak for draco"));
    ck_assert_int_eq(liar_asks("keyboard", 3, "cygnus", WAY("borealis")),
                     -ELOOP);
    ck_assert_int_eq(liar_asks("keyboard", 4, "atlas", NULL), -EPROTO);
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("draco")), -EPROTO);
    ck_assert_int_eq(
        liar_asks("keyboard", 2, "atlas", WAY("borealis", "draco")), -EPROTO);
    ck_assert_int_eq(
        liar_asks("keyboard", 2, "atlas", WAY("cygnus", "borealis")), -ELOOP);
    ck_assert_int_eq(
        liar_asks("keyboard", 2, "atlas", WAY("atlas", "borealis")), -ELOOP);
    ck_assert_int_eq(
        liar_asks("keyboard", 2, "atlas", WAY("borealis", "borealis")), -ELOOP);
    ck_assert_int_eq(
        liar_asks("keyboard", 0, "atlas", WAY("a", "b", "c", "d", "borealis")),
        -ELOOP);
    ck_assert_int_eq(liar_asks("keyboard", 3, "a/b", WAY("borealis")), -EPROTO);
    ck_assert(!liar.down);
    far_conn_free(liar.conn, NULL);
}
END_TEST

START_TEST(an_entrusted_relay_cannot_speak_without_the_origins_signature)
{
    configure_owner(SIGNED);
    start_three();
    proxy_kill(&borealis, SIGTERM);
    borealis.pid = 0;
    liar_comes("borealis", "cygnus", ports[2]);
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")),
                     -EKEYREJECTED);
    memset(liar.signature, 'x', sizeof(liar.signature));
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")),
                     -EKEYREJECTED);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "");
    /* for its own guests it needs none */
    liar.signature[0] = 0;
    ck_assert_int_eq(liar_asks("keyboard", 4, NULL, NULL), 0);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "borealis");
    far_conn_free(liar.conn, NULL);
}
END_TEST

/* As atlas would, which has the key. */
static void liar_gets_it_signed(const struct far_challenge *challenge)
{
    struct far_local_who who = { .device = "keyboard",
                                 .class = FAR_CLASS_INPUT };
    struct far_credential credential;
    struct far_keys keys = { 0 };
    struct far_claim claim;
    struct far_error error;
    char path[128];

    memset(who.guest_uuid, 0x66, 16);
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&keys, path, &error), 0);
    far_claim_make(&claim, challenge, "atlas", &who);
    ck_assert_int_eq(far_credential_sign_psk(&credential, &claim,
                                             far_keys_find(&keys, "atlas"),
                                             &error),
                     0);
    ck_assert_uint_eq(far_credential_encode(
                          liar.signature, sizeof(liar.signature), &credential),
                      sizeof(liar.signature));
    far_keys_free(&keys);
}

START_TEST(a_signature_is_good_once_and_on_its_own_connection)
{
    struct far_challenge before;

    configure_owner(SIGNED);
    start_three();
    proxy_kill(&borealis, SIGTERM);
    borealis.pid = 0;
    liar_comes("borealis", "cygnus", ports[2]);
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")),
                     -EKEYREJECTED);
    before = liar.challenge;
    far_conn_free(liar.conn, NULL);
    liar_comes("borealis", "cygnus", ports[2]);
    liar_gets_it_signed(&before);
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")),
                     -EKEYREJECTED);
    liar_gets_it_signed(&liar.challenge);
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")), 0);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "atlas");
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")),
                     -EKEYREJECTED);
    far_conn_free(liar.conn, NULL);
}
END_TEST

START_TEST(one_client_cannot_use_up_what_a_relay_can_pass_on)
{
    start_three();
    proxy_kill(&atlas, SIGTERM);
    atlas.pid = 0;
    for (unsigned round = 0; round < 4; round++) {
        liar_comes("atlas", "borealis", ports[1]);
        for (liar.handle = 1; liar.handle <= FAR_ROUTES_PEER_MAX; liar.handle++)
            ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), 0);
        if (round < 3)
            far_conn_free(liar.conn, NULL);
    }
    ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(liar.text, "of atlas to cygnus"));
    guest_open(&guest, &rig, "borealis", 0, "", "kbd0");
    guest_wait_ready(&guest);
    tap();
    check_typed();
    far_conn_free(liar.conn, NULL);
}
END_TEST

START_TEST(a_request_that_is_long_is_not_kept_but_refused)
{
    start_three();
    proxy_kill(&atlas, SIGTERM);
    atlas.pid = 0;
    liar_comes("atlas", "borealis", ports[1]);
    liar.stuffing = 8000;
    ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), -EMSGSIZE);
    liar.stuffing = 3000;
    ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), 0);
    ck_assert_ptr_nonnull(liar.conn);
    far_conn_free(liar.conn, NULL);
}
END_TEST

START_TEST(a_relay_that_is_entrusted_later_still_needs_the_signature)
{
    unsigned before;

    configure_owner("[relay borealis]\nmay-carry = someone\n");
    start_three();
    proxy_kill(&borealis, SIGTERM);
    borealis.pid = 0;
    liar_comes("borealis", "cygnus", ports[2]);
    ck_assert_int_eq(liar_asks("keyboard", 3, "atlas", WAY("borealis")),
                     -EACCES);
    before = liar.answers;
    configure_owner(SIGNED);
    proxy_reload(&cygnus);
    ck_assert(rig_until(&rig, liar_answered, &before, 5000));
    ck_assert_int_eq(liar.status, -EKEYREJECTED);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "");
    far_conn_free(liar.conn, NULL);
}
END_TEST

START_TEST(a_client_cannot_claim_another_origin_at_the_relay)
{
    start_three();
    proxy_kill(&atlas, SIGTERM);
    atlas.pid = 0;
    liar_comes("atlas", "borealis", ports[1]);
    ck_assert_int_eq(liar_asks("kbd0", 3, "draco", WAY("atlas")), -EACCES);
    ck_assert_int_eq(liar_asks("kbd0", 4, "draco", NULL), -EPROTO);
    ck_assert_int_eq(liar_asks("kbd0", 0, NULL, NULL), -ELOOP);
    ck_assert_ptr_nonnull(strstr(liar.text, "any further: atlas -> borealis"));
    ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), 0);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.platform"), "atlas");
    far_conn_free(liar.conn, NULL);
}
END_TEST

static void liar_sends(uint8_t type, uint8_t hops, const void *body,
                       size_t bytes)
{
    struct far_wire_header header = { .type = type, .hops = hops, .handle = 1 };

    far_conn_forward(liar.conn, &header, body, bytes, NULL, 0);
}

START_TEST(a_frame_without_hops_ends_only_the_connection_that_it_came_by)
{
    struct far_wire_activate a = { 0 };

    start_three();
    attach();
    guest_wait_ready(&guest);
    configure_relay("[export kbd0]\nforward = cygnus/keyboard\n"
                    "allow = atlas mallory\n");
    rig_write(&rig, "keys",
              KEY("atlas") KEY("borealis") KEY("cygnus") KEY("mallory"));
    configure_owner(
        "[relay borealis]\nmay-carry = atlas mallory\nsigned = off\n");
    proxy_reload(&borealis);
    proxy_reload(&cygnus);
    liar_comes("mallory", "borealis", ports[1]);
    ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), -EACCES);
    liar_sends(FAR_WIRE_ACTIVATE, 0, &a, sizeof(a));
    ck_assert(rig_until(&rig, is_true, &liar.down, 5000));
    ck_assert_ptr_nonnull(strstr(liar.why, "passed on any further"));
    tap();
    check_typed();
    ck_assert_int_eq(proxy_number(&borealis, "links.0.counters.reconnects"), 0);
}
END_TEST

static const char *guest_called(void *arg, const struct far_local_who *who)
{
    (void)who;
    return *(const char **)arg;
}

/* Its front comes (again), by that name. */
static void runs_as(const char **name, const char *now)
{
    *name = now;
    far_layer_activate(guest.layer.below, guest.incarnation, guest.received);
}

/* In turn, the owner and the relay allow a guest by its name. */
START_TEST(who_allows_a_guest_by_name_asks_what_it_is_called_when_it_runs)
{
    const char *name = "web--incoming";

    if (_i)
        configure_relay(FORWARD "guest = web\n");
    else
        configure_owner("guest = web\n" CARRY);
    start_three();
    attach();
    far_local_client_name_guests(guest.client, guest_called, &name);
    guest_wait_reason(&guest, "does not allow the guest web--incoming");
    runs_as(&name, "web");
    guest_wait_ready(&guest);
    tap();
    check_typed();
    runs_as(&name, "db");
    guest_wait_reason(&guest, "does not allow the guest db");
    runs_as(&name, "db--incoming");
    guest_wait_reason(&guest, "does not allow the guest db");
    runs_as(&name, "web");
    guest_wait_ready(&guest);
    tap();
    check_typed();
}
END_TEST

/* An owner that does not read, and a client that sends without end: the relay
 * keeps little, and lives. */
START_TEST(a_flood_for_an_owner_that_does_not_read_costs_the_relay_little)
{
    struct far_wire_activate a = { 0 };
    struct far_op op = { .attachment = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    unsigned sent = 0;

    start_three();
    proxy_kill(&atlas, SIGTERM);
    atlas.pid = 0;
    liar_comes("atlas", "borealis", ports[1]);
    ck_assert_int_eq(liar_asks("kbd0", 4, NULL, NULL), 0);
    liar_sends(FAR_WIRE_ACTIVATE, 4, &a, sizeof(a));
    rig_turn(&rig, 200);
    ck_assert_int_eq(kill(cygnus.pid, SIGSTOP), 0);
    for (unsigned i = 0; i < 400; i++) { /* 25 MiB, were they taken */
        while (!far_conn_full(liar.conn) && sent < 400000) {
            op.sequence = ++sent;
            liar_sends(FAR_WIRE_OP, 4, &op, sizeof(op));
        }
        rig_turn(&rig, 3);
        if (i % 10 == 0)
            ck_assert_int_le(
                proxy_number(&borealis, "routes.0.owner_waiting_bytes"),
                FAR_FLOW_LATE_BYTES);
    }
    ck_assert_int_eq(kill(cygnus.pid, SIGCONT), 0);
    far_conn_free(liar.conn, NULL);
    proxy_start(&atlas, &rig, "atlas");
    attach();
    guest_wait_ready(&guest);
    tap();
    check_typed();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        keys_come_through_a_relay_and_the_session_is_the_guests_platforms,
        an_op_and_its_feedback_come_through,
        a_relay_that_is_killed_and_comes_back_loses_and_doubles_nothing,
        a_client_that_is_killed_and_comes_back_loses_and_doubles_nothing,
        an_owner_that_is_killed_begins_a_new_numbering_and_keys_come_again,
        an_owner_that_is_away_at_first_is_asked_when_it_is_there,
        a_guest_of_the_relay_itself_has_the_device_too,
        a_detach_ends_the_session_at_the_owner,
        a_relay_that_is_not_entrusted_is_refused_until_it_is,
        the_owner_and_the_relay_both_must_allow_the_guests_platform,
        a_forward_to_itself_is_refused,
        three_platforms_in_a_ring_carry_no_frame_twice,
        an_owner_wants_the_origins_signature_and_gets_it_over_every_loss,
        a_client_without_the_owners_key_or_with_a_wrong_one_is_refused,
        an_entrusted_relay_cannot_speak_without_the_origins_signature,
        a_signature_is_good_once_and_on_its_own_connection,
        one_client_cannot_use_up_what_a_relay_can_pass_on,
        a_request_that_is_long_is_not_kept_but_refused,
        a_relay_that_is_entrusted_later_still_needs_the_signature,
        an_owner_believes_no_relay_beyond_what_it_is_entrusted_with,
        a_client_cannot_claim_another_origin_at_the_relay,
        a_frame_without_hops_ends_only_the_connection_that_it_came_by,
        a_flood_for_an_owner_that_does_not_read_costs_the_relay_little,
    };
    Suite *suite = suite_create("netproxy: relays");
    TCase *c = tcase_create("relay");

    tcase_set_timeout(c, 90);
    tcase_add_checked_fixture(c, setup, teardown);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(c, tests[i]);
    tcase_add_loop_test(
        c, who_allows_a_guest_by_name_asks_what_it_is_called_when_it_runs, 0,
        2);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
