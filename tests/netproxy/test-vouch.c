/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a platform signs that attaches devices over a relay, with a hand-made
 * relay that asks for signatures as it likes: for another device or owner than
 * the one that was wanted, again and again, or between refusals.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "netproxy/conn.h"
#include "netproxy/vouch.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define KEY "00112233445566778899aabbccddeeff"

static struct rig rig;
static struct proxy atlas;
static struct guest guest;
static uint16_t port;

/* The relay, in this process. */
static struct {
    int listener;
    struct far_io io;
    struct far_conn *conn;
    struct far_traffic traffic;
    struct far_keys keys;
    unsigned asked, served; /* PREPAREs that came, and that were answered */
    uint32_t handle;
    struct far_local_who who; /* of the last one */
    bool has_signature;
    struct far_credential signature;
} relay;

static int relay_up(struct far_conn *conn, struct far_error *error)
{
    (void)conn;
    (void)error;
    return 0;
}

static int relay_frame(struct far_conn *conn, const struct far_wire_frame *f,
                       struct far_error *error)
{
    const uint8_t *value;
    size_t bytes;

    (void)conn;
    if (f->header.type != FAR_WIRE_PREPARE)
        return 0;
    relay.asked++;
    relay.handle = f->header.handle;
    memcpy(relay.who.guest_uuid, f->prepare.guest_uuid, 16);
    memcpy(relay.who.generation, f->prepare.generation, 16);
    memcpy(relay.who.guest_name, f->prepare.guest_name, FAR_NAME_BYTES);
    memcpy(relay.who.device, f->prepare.device, FAR_NAME_BYTES);
    relay.who.class = f->prepare.class;
    relay.who.guest_devid = f->prepare.guest_devid;
    value = far_wire_option(f, FAR_WIRE_OPTION_SIGNATURE, &bytes);
    relay.has_signature = value != NULL;
    return value ? far_credential_decode(&relay.signature, value, bytes, error)
                 : 0;
}

static void relay_down(struct far_conn *conn, int code, const char *reason)
{
    (void)code;
    (void)reason;
    far_conn_free(conn, NULL);
    if (relay.conn == conn)
        relay.conn = NULL;
}

static const struct far_conn_ops relay_ops = {
    .up = relay_up,
    .frame = relay_frame,
    .down = relay_down,
};

static void on_arrival(struct far_io *io, uint32_t events)
{
    const struct far_wire_hello me = { .magic = FAR_WIRE_MAGIC,
                                       .frame_max = FAR_CONN_FRAME_MAX,
                                       .lanes = 1,
                                       .handles_max = FAR_CONN_HANDLES_MAX,
                                       .platform = "borealis" };
    struct far_error error;
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0)
        return;
    relay.conn = far_conn_accept(rig.loop, &relay_ops, NULL, &relay.traffic,
                                 &me, &relay.keys, NULL, fd, &error);
    ck_assert_ptr_nonnull(relay.conn);
}

static void configure(const char *may_reach)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\ntrust = %s/trust-keys\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "%s",
              rig.dir, port, rig.dir, may_reach);
}

static void setup(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof(in);
    struct far_error error;
    char path[160];

    memset(&guest, 0, sizeof(guest));
    memset(&relay, 0, sizeof(relay));
    rig_begin(&rig);
    rig_write(&rig, "keys", "atlas:" KEY "\n");
    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/trust-keys%s", rig.dir,
                 i ? "/psk" : "");
        ck_assert_int_eq(mkdir(path, 0755), 0);
    }
    rig_write(&rig, "trust-keys/psk/server-cygnus", "atlas:" KEY "\n");
    rig_write(&rig, "trust-keys/psk/server-draco", "atlas:" KEY "\n");
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(far_keys_read(&relay.keys, path, &error), 0);
    relay.listener =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(
        bind(relay.listener, (const struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(relay.listener, 8), 0);
    ck_assert_int_eq(
        getsockname(relay.listener, (struct sockaddr *)&in, &bytes), 0);
    port = ntohs(in.sin_port);
    ck_assert_int_eq(
        far_io_add(rig.loop, &relay.io, relay.listener, EPOLLIN, on_arrival),
        0);
}

static void teardown(void)
{
    guest_detach(&guest);
    proxy_kill(&atlas, SIGTERM);
    far_conn_free(relay.conn, NULL);
    far_io_del(&relay.io);
    close(relay.listener);
    far_keys_free(&relay.keys);
    rig_end(&rig);
}

static bool was_asked(void *arg)
{
    (void)arg;
    return relay.asked > relay.served;
}

static void begin(const char *may_reach)
{
    configure(may_reach);
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    ck_assert(rig_until(&rig, was_asked, NULL, 10000));
    ck_assert(!relay.has_signature);
}

static void refuse(int status, const char *text,
                   const struct far_wire_value *options, unsigned count)
{
    struct far_wire_header header = { .type = FAR_WIRE_PREPARED,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = relay.handle };
    const struct far_wire_prepared p = { .status = status };

    relay.served = relay.asked;
    far_conn_send_options(relay.conn, &header, &p, sizeof(p), text, options,
                          count);
}

/* Is a request for that device of that owner signed, and so that it fits? */
static bool signs(const char *owner, const char *device, unsigned ms)
{
    static struct far_nonces nonces;
    const struct far_key *key = far_keys_find(&relay.keys, "atlas");
    struct far_challenge what;
    struct far_local_who who;
    struct far_error error;
    struct far_claim claim;
    uint8_t value[sizeof(what)];
    char name[FAR_NAME_BYTES] = "";
    const struct far_wire_value options[] = {
        { FAR_WIRE_OPTION_CHALLENGE, sizeof(value), value },
        { FAR_WIRE_OPTION_DEVICE, sizeof(name), name },
    };

    far_nonces_issue(&nonces, &what, owner, "borealis", far_now_us());
    far_challenge_encode(value, sizeof(value), &what);
    snprintf(name, sizeof(name), "%s", device);
    refuse(-EKEYREJECTED, "it is to be signed", options, 2);
    if (!rig_until(&rig, was_asked, NULL, ms) || !relay.has_signature)
        return false;
    who = relay.who;
    memcpy(who.device, name, sizeof(who.device));
    far_claim_make(&claim, &what, "atlas", &who);
    ck_assert_int_eq(
        far_credential_verify_psk(&relay.signature, &claim, key, &error), 0);
    return true;
}

START_TEST(without_a_list_only_a_device_of_the_same_name_is_signed_for)
{
    begin("");
    ck_assert(signs("cygnus", "kbd0", 5000));
    ck_assert(signs("draco", "kbd0", 5000));
    ck_assert(!signs("cygnus", "secrets", 500));
    guest_wait_reason(&guest, "may-reach = cygnus/secrets");
}
END_TEST

START_TEST(with_a_list_only_what_it_names_is_signed_for)
{
    begin("may-reach = cygnus/keyboard draco/*\n");
    ck_assert(signs("cygnus", "keyboard", 5000));
    ck_assert(signs("draco", "whatever", 5000));
    ck_assert(!signs("cygnus", "kbd0", 500));
    guest_wait_reason(&guest, "may-reach = cygnus/kbd0");
    configure("may-reach = cygnus/kbd0\n");
    proxy_reload(&atlas);
    relay.served = relay.asked;
    ck_assert(rig_until(&rig, was_asked, NULL, 15000)); /* it tries again */
    ck_assert(signs("cygnus", "kbd0", 5000));
}
END_TEST

/* The owner is killed again and again, each time before it has judged. */
START_TEST(what_was_signed_for_an_owner_that_died_is_signed_anew)
{
    begin("");
    for (unsigned i = 0; i < 4 * FAR_VOUCH_TRIES; i++) {
        ck_assert(signs("cygnus", "kbd0", 5000));
        refuse(-ENOTCONN, "borealis waits for its link to cygnus", NULL, 0);
    }
}
END_TEST

START_TEST(signatures_that_are_not_taken_are_tried_more_rarely_but_always)
{
    uint64_t began_us;

    begin("");
    for (unsigned i = 0; i < FAR_VOUCH_TRIES; i++)
        ck_assert(signs("cygnus", "kbd0", 5000));
    ck_assert(!signs("cygnus", "kbd0", 500));
    guest_wait_reason(&guest, "to be signed");
    for (unsigned i = 0; i < 2; i++) {
        began_us = far_now_us();
        ck_assert(rig_until(&rig, was_asked, NULL, 15000));
        ck_assert_uint_gt(far_now_us() - began_us, FAR_VOUCH_PAUSE_US / 2);
        ck_assert(!relay.has_signature);
        ck_assert(signs("cygnus", "kbd0", 5000));
        ck_assert(!signs("cygnus", "kbd0", 500));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: what is signed");
    TCase *c = tcase_create("vouch");

    tcase_set_timeout(c, 90);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c,
                   without_a_list_only_a_device_of_the_same_name_is_signed_for);
    tcase_add_test(c, with_a_list_only_what_it_names_is_signed_for);
    tcase_add_test(c, what_was_signed_for_an_owner_that_died_is_signed_anew);
    tcase_add_test(
        c, signatures_that_are_not_taken_are_tried_more_rarely_but_always);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
