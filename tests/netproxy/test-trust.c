/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who is let in with which certificate: two real farside-netproxy processes,
 * each with a folder of trust of its own, and strangers who come with all kinds
 * of wrong ones. Whatever comes, the honest guest goes on.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "netproxy/tls.h"
#include "netproxy/wire.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define DAY_S 86400

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;
static uint16_t port;
static unsigned taps;

struct pair {
    char *certificate, *key;
};

static struct pair make(const char *platform, int64_t from_days,
                        int64_t until_days)
{
    int64_t now_s = time(NULL);
    struct far_error error;
    struct pair pair;

    ck_assert_int_eq(far_cert_make(platform, now_s + from_days * DAY_S,
                                   now_s + until_days * DAY_S,
                                   &pair.certificate, &pair.key, &error),
                     0);
    return pair;
}

static void drop(struct pair *pair)
{
    free(pair->certificate);
    free(pair->key);
    memset(pair, 0, sizeof(*pair));
}

static void folder(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
    ck_assert(!mkdir(path, 0755) || errno == EEXIST);
}

static void folders(const char *platform)
{
    char name[128];

    snprintf(name, sizeof(name), "trust-%s", platform);
    folder(name);
    strcat(name, "/peers");
    folder(name);
    snprintf(name, sizeof(name), "trust-%s/psk", platform);
    folder(name);
}

/* A key, for the daemon's user and for nobody else. */
static void put_secret(const char *name, const char *text)
{
    const struct passwd *pw = geteuid() ? NULL : getpwnam("farside");
    char path[256];

    rig_write(&rig, name, "%s", text);
    snprintf(path, sizeof(path), "%s/%s", rig.dir, name);
    ck_assert_int_eq(chmod(path, 0640), 0);
    if (pw)
        ck_assert_int_eq(chown(path, 0, pw->pw_gid), 0);
}

static void put_own(const char *platform, const struct pair *pair)
{
    char name[128];

    snprintf(name, sizeof(name), "trust-%s/own.pem", platform);
    rig_write(&rig, name, "%s", pair->certificate);
    snprintf(name, sizeof(name), "trust-%s/own.key", platform);
    put_secret(name, pair->key);
}

static void put_peer(const char *at, const char *platform, const char *first,
                     const char *second)
{
    char name[256];

    snprintf(name, sizeof(name), "trust-%s/peers/%s.pem", at, platform);
    rig_write(&rig, name, "%s%s", first, second);
}

static void fingerprint(char out[FAR_FINGERPRINT_TEXT_BYTES],
                        const struct pair *pair)
{
    struct far_certs certs = { 0 };
    struct far_error error;

    ck_assert_int_eq(far_certs_parse(&certs, "test", pair->certificate,
                                     strlen(pair->certificate), &error),
                     0);
    far_fingerprint_format(out, certs.certs[0].fingerprint);
    far_certs_free(&certs);
}

static struct pair of_atlas, of_borealis;

static void set_up(void)
{
    memset(&guest, 0, sizeof(guest));
    memset(&atlas, 0, sizeof(atlas));
    memset(&borealis, 0, sizeof(borealis));
    taps = 0;
    rig_begin(&rig);
    port = rig_port();
    folders("atlas");
    folders("borealis");
    of_atlas = make("atlas", -1, 400);
    of_borealis = make("borealis", -1, 400);
    put_own("atlas", &of_atlas);
    put_own("borealis", &of_borealis);
    put_peer("atlas", "borealis", of_borealis.certificate, "");
    put_peer("borealis", "atlas", of_atlas.certificate, "");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\ntrust = %s/trust-borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas cygnus\n",
              rig.dir, port);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\ntrust = %s/trust-atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\n",
              rig.dir, port);
}

static void start_borealis(void)
{
    proxy_start(&borealis, &rig, "borealis");
}

static void start_atlas(void)
{
    proxy_start(&atlas, &rig, "atlas");
}

static void start(void)
{
    start_borealis();
    start_atlas();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
}

static void tear_down(void)
{
    if (guest.open)
        guest_detach(&guest);
    if (atlas.pid)
        proxy_kill(&atlas, SIGTERM);
    if (borealis.pid)
        proxy_kill(&borealis, SIGTERM);
    drop(&of_atlas);
    drop(&of_borealis);
    rig_end(&rig);
}

static void works(void)
{
    proxy_tap(&borealis, "kbd0", 30);
    taps++;
    guest_wait_count(&guest, 2 * taps);
    ck_assert_uint_eq(guest.count, 2 * taps);
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
}

/* And was never disturbed. */
static void honest_goes_on(void)
{
    works();
    ck_assert_uint_eq(guest.incarnations, 1);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
}

static void wait_number(struct proxy *proxy, const char *path, long long least)
{
    for (int i = 0; proxy_number(proxy, path) < least; i++) {
        ck_assert_msg(i < 1000, "%s stays below %lld", path, least);
        rig_turn(&rig, 10);
    }
}

START_TEST(certificates_let_in_and_both_ends_show_them)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES];

    start();
    honest_goes_on();
    fingerprint(print, &of_borealis);
    ck_assert_str_eq(proxy_text(&atlas, "links.0.fingerprint"), print);
    ck_assert_str_eq(proxy_text(&atlas, "links.0.proof"), "certificate");
    ck_assert_str_eq(proxy_text(&borealis, "trust.own.fingerprint"), print);
    fingerprint(print, &of_atlas);
    ck_assert_str_eq(proxy_text(&borealis, "links.0.fingerprint"), print);
    ck_assert_str_eq(proxy_text(&borealis, "trust.peers.0.fingerprint"), print);
}
END_TEST

/* What a person sees at atlas (`there`), and is counted at borealis. */
static void atlas_is_refused(const char *there, const char *counter)
{
    char path[64];

    start_borealis();
    start_atlas();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, there);
    snprintf(path, sizeof(path), "arrivals.distrusted.%s", counter);
    wait_number(&borealis, path, 1);
}

START_TEST(a_certificate_that_has_expired_is_refused)
{
    drop(&of_atlas);
    of_atlas = make("atlas", -400, -1);
    put_own("atlas", &of_atlas);
    put_peer("borealis", "atlas", of_atlas.certificate, "");
    atlas_is_refused("it has expired", "expired");
}
END_TEST

START_TEST(a_certificate_that_is_not_valid_yet_is_refused)
{
    drop(&of_atlas);
    of_atlas = make("atlas", 2, 400);
    put_own("atlas", &of_atlas);
    put_peer("borealis", "atlas", of_atlas.certificate, "");
    atlas_is_refused("not valid yet", "not_yet_valid");
}
END_TEST

START_TEST(a_certificate_that_is_not_installed_is_refused_whatever_its_name)
{
    struct pair other = make("atlas", -1, 400);

    put_peer("borealis", "atlas", other.certificate, "");
    atlas_is_refused("not installed there", "unknown");
    /* Installed, it is let in without a restart of anything. */
    put_peer("borealis", "atlas", other.certificate, of_atlas.certificate);
    proxy_reload(&borealis);
    guest_wait_ready(&guest);
    works();
    drop(&other);
}
END_TEST

START_TEST(a_certificate_in_the_file_of_another_platform_is_not_used)
{
    put_peer("borealis", "cygnus", of_atlas.certificate, "");
    put_peer("borealis", "atlas", of_borealis.certificate, "");
    atlas_is_refused("not installed there", "unknown");
    ck_assert_int_ge(proxy_number(&borealis, "problems"), 2);
}
END_TEST

START_TEST(a_server_that_is_another_platform_is_not_talked_to)
{
    struct pair cygnus = make("cygnus", -1, 400);

    /* One that atlas knows and trusts; but it is not borealis. */
    put_peer("atlas", "cygnus", cygnus.certificate, "");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = cygnus\ntrust = %s/trust-borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\n",
              rig.dir, port);
    put_own("borealis", &cygnus);
    start_borealis();
    start_atlas();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, "is that of cygnus, not of borealis");
    wait_number(&atlas, "links.0.counters.distrusted", 1);
    ck_assert_int_eq(proxy_number(&borealis, "links.0.since_us"), 0);
    drop(&cygnus);
}
END_TEST

START_TEST(a_server_whose_certificate_is_not_installed_is_not_talked_to)
{
    struct pair other = make("borealis", -1, 400);

    put_own("borealis", &other);
    start_borealis();
    start_atlas();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, "is not installed here");
    wait_number(&atlas, "links.0.counters.distrusted", 1);
    drop(&other);
}
END_TEST

START_TEST(revoking_a_certificate_ends_its_link_and_no_other)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES];
    struct pair cygnus = make("cygnus", -1, 400);

    put_peer("borealis", "cygnus", cygnus.certificate, "");
    start();
    works();
    /* Somebody else's: nothing happens. */
    fingerprint(print, &cygnus);
    rig_write(&rig, "trust-borealis/revoked", "# gone\n%s cygnus\n", print);
    proxy_reload(&borealis);
    honest_goes_on();
    fingerprint(print, &of_atlas);
    rig_write(&rig, "trust-borealis/revoked", "%s\n", print);
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "revoked");
    wait_number(&borealis, "arrivals.distrusted.revoked", 1);
    drop(&cygnus);
}
END_TEST

START_TEST(a_list_of_the_revoked_that_has_a_fault_leaves_what_was_in_force)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES];

    start();
    fingerprint(print, &of_atlas);
    rig_write(&rig, "trust-borealis/revoked", "%s\nSHA256:nonsense\n", print);
    json_decref(proxy_ask(&borealis, "{\"request\":\"reload\"}"));
    honest_goes_on();
    ck_assert_int_eq(proxy_number(&borealis, "problems"), 1);
    /* At the start there is nothing in force yet: nobody is trusted. */
    proxy_kill(&borealis, SIGKILL);
    start_borealis();
    guest_wait_reason(&guest, "takes no certificates");
}
END_TEST

START_TEST(a_platform_renews_without_a_break)
{
    struct pair renewed = make("atlas", -1, 800);
    char print[FAR_FINGERPRINT_TEXT_BYTES];

    start();
    works();
    /* Both are installed: the link does not notice. */
    put_peer("borealis", "atlas", of_atlas.certificate, renewed.certificate);
    proxy_reload(&borealis);
    honest_goes_on();
    /* The new one is used from the next connection on; this one stays. */
    put_own("atlas", &renewed);
    proxy_reload(&atlas);
    honest_goes_on();
    proxy_kill(&atlas, SIGKILL);
    guest_crash(&guest);
    start_atlas();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    fingerprint(print, &renewed);
    ck_assert_str_eq(proxy_text(&borealis, "links.0.fingerprint"), print);
    /* The old one goes: still no notice. */
    put_peer("borealis", "atlas", renewed.certificate, "");
    proxy_reload(&borealis);
    ck_assert_str_eq(proxy_text(&borealis, "links.0.state"), "up");
    works();
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
    drop(&renewed);
}
END_TEST

START_TEST(a_reload_that_changes_nothing_disturbs_nobody)
{
    start();
    for (int i = 0; i < 5; i++) {
        proxy_reload(&borealis);
        proxy_reload(&atlas);
    }
    honest_goes_on();
}
END_TEST

/* One that accepts, and says nothing. */
START_TEST(a_handshake_that_began_before_a_reload_is_not_ended_by_old_trust)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 3 }; /* a handshake has 5 */
    int fd, first, second, one = 1;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    start_atlas();
    first = accept(fd, NULL, NULL);
    ck_assert_int_ge(first, 0);
    proxy_reload(&atlas);
    second = accept(fd, NULL, NULL);
    ck_assert_int_ge(second, 0);
    close(first);
    close(second);
    close(fd);
    start_borealis();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
}
END_TEST

START_TEST(a_certificate_whose_term_ends_soon_is_shown)
{
    drop(&of_atlas);
    of_atlas = make("atlas", -300, 10);
    put_own("atlas", &of_atlas);
    put_peer("borealis", "atlas", of_atlas.certificate, "");
    start();
    honest_goes_on();
    ck_assert_int_le(proxy_number(&borealis, "trust.peers.0.days_left"), 10);
    ck_assert_int_ge(proxy_number(&borealis, "trust.peers.0.days_left"), 9);
    ck_assert_int_le(proxy_number(&atlas, "trust.own.days_left"), 10);
    ck_assert_int_ge(proxy_number(&atlas, "trust.peers.0.days_left"), 398);
}
END_TEST

START_TEST(one_listener_takes_certificates_and_keys)
{
    char path[256];

    put_secret("trust-borealis/psk/clients",
               "atlas:00112233445566778899aabbccddeeff\n");
    start();
    honest_goes_on();
    /* The client decides: from now on it comes with the key. */
    put_secret("trust-atlas/psk/server-borealis",
               "atlas:00112233445566778899aabbccddeeff\n");
    snprintf(path, sizeof(path), "%s/trust-atlas/peers/borealis.pem", rig.dir);
    ck_assert_int_eq(unlink(path), 0);
    proxy_reload(&atlas);
    proxy_wait_text(&atlas, "links.0.proof", "key");
    guest_wait_ready(&guest);
    works();
    ck_assert_str_eq(proxy_text(&borealis, "links.0.proof"), "key");
    snprintf(path, sizeof(path), "%s",
             proxy_text(&borealis, "links.0.fingerprint"));
    ck_assert_str_eq(proxy_text(&atlas, "links.0.fingerprint"), path);
}
END_TEST

/* A stranger at borealis' door: blocking, with our own TLS below. */
static struct far_tls stranger;
static struct far_trust *folder_of_stranger;
static int stranger_fd;

static void stranger_pours(void)
{
    while (far_buf_used(&stranger.out)) {
        ssize_t n = send(stranger_fd, far_buf_at(&stranger.out),
                         far_buf_used(&stranger.out), MSG_NOSIGNAL);

        /* They may have hung up: so be it. */
        far_buf_consume(&stranger.out,
                        n > 0 ? (size_t)n : far_buf_used(&stranger.out));
    }
}

static bool stranger_draws(void)
{
    uint8_t *room = far_buf_reserve(&stranger.in, 4096);
    ssize_t n = recv(stranger_fd, room, 4096, 0);

    if (n > 0)
        far_buf_commit(&stranger.in, (size_t)n);
    else
        stranger.in_ended = true;
    return n > 0;
}

/* With that pair (whose platform gets a folder of trust that trusts borealis),
 * or with that key. What the handshake ends with. */
static int stranger_comes(const char *platform, const struct pair *pair,
                          const struct far_key *key)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval patience = { .tv_sec = 8 };
    struct far_error error = { 0 };
    char dir[256];
    int rc;

    folders(platform);
    if (pair)
        put_own(platform, pair);
    put_peer(platform, "borealis", of_borealis.certificate, "");
    snprintf(dir, sizeof(dir), "%s/trust-%s", rig.dir, platform);
    folder_of_stranger = far_trust_read(dir, NULL, NULL, NULL, &error);
    ck_assert_msg(folder_of_stranger != NULL, "%s", error.text);
    if (!key && !pair) /* will have none to show */
        ck_assert_int_eq(gnutls_certificate_allocate_credentials(
                             &folder_of_stranger->credentials),
                         0);
    stranger_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(stranger_fd, 0);
    ck_assert_int_eq(connect(stranger_fd, (struct sockaddr *)&in, sizeof(in)),
                     0);
    setsockopt(stranger_fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
               sizeof(patience));
    ck_assert_int_eq(
        far_tls_client(&stranger, key, folder_of_stranger, "borealis", &error),
        0);
    while ((rc = far_tls_handshake(&stranger, &error)) == -EAGAIN) {
        stranger_pours();
        if (!stranger_draws())
            return -ECONNRESET;
    }
    stranger_pours();
    return rc;
}

static void stranger_goes(void)
{
    far_tls_free(&stranger);
    far_trust_drop(folder_of_stranger);
    close(stranger_fd);
}

/* TLS lets a client finish before it is judged; it gets no further than that.
 * True if it was not told anything but the end. */
static bool stranger_is_out(char *words, size_t bytes)
{
    uint8_t plain[4096];
    struct far_error error = { 0 };
    ssize_t n;

    for (;;) {
        n = far_tls_read(&stranger, plain, sizeof(plain), &error);
        if (n > 0)
            return false;
        if (n == -EAGAIN && !stranger.in_ended) {
            stranger_draws();
            continue;
        }
        snprintf(words, bytes, "%s", error.text);
        return true;
    }
}

START_TEST(who_shows_no_certificate_is_not_let_in)
{
    char words[256];

    start();
    ck_assert_int_eq(stranger_comes("mallory", NULL, NULL), 0);
    ck_assert(stranger_is_out(words, sizeof(words)));
    stranger_goes();
    wait_number(&borealis, "arrivals.distrusted.no_certificate", 1);
    honest_goes_on();
}
END_TEST

START_TEST(who_is_not_known_is_told_so_and_nothing_else)
{
    struct pair mallory = make("mallory", -1, 400);
    char words[256];

    start();
    ck_assert_int_eq(stranger_comes("mallory", &mallory, NULL), 0);
    ck_assert(stranger_is_out(words, sizeof(words)));
    ck_assert_msg(strstr(words, "not installed there") != NULL, "%s", words);
    stranger_goes();
    wait_number(&borealis, "arrivals.distrusted.unknown", 1);
    honest_goes_on();
    drop(&mallory);
}
END_TEST

START_TEST(a_certificate_with_anothers_key_is_not_used)
{
    struct pair mallory = make("mallory", -1, 400);
    struct pair wrong = { of_atlas.certificate, mallory.key };
    struct far_error error = { 0 };
    struct far_trust *t;
    char dir[256];

    folders("mallory");
    put_own("mallory", &wrong);
    snprintf(dir, sizeof(dir), "%s/trust-mallory", rig.dir);
    t = far_trust_read(dir, NULL, NULL, NULL, &error);
    ck_assert_ptr_nonnull(t);
    ck_assert_ptr_null(far_trust_own(t));
    ck_assert_ptr_nonnull(strstr(t->own_reason, "don't fit"));
    far_trust_drop(t);
    drop(&mallory);
}
END_TEST

START_TEST(who_has_proved_to_be_one_platform_can_not_be_another)
{
    struct pair cygnus = make("cygnus", -1, 400);
    struct far_wire_hello hello = { .magic = FAR_WIRE_MAGIC,
                                    .frame_max = 4096,
                                    .lanes = 1,
                                    .role = FAR_WIRE_CLIENT,
                                    .handles_max = 16,
                                    .platform = "atlas" };
    struct far_wire_header header = { .type = FAR_WIRE_HELLO };
    uint8_t frame[512], plain[4096];
    struct far_error error = { 0 };
    size_t bytes;

    put_peer("borealis", "cygnus", cygnus.certificate, "");
    start();
    ck_assert_int_eq(stranger_comes("cygnus", &cygnus, NULL), 0);
    bytes = far_wire_encode(frame, sizeof(frame), &header, &hello,
                            sizeof(hello), NULL);
    ck_assert_int_eq(far_tls_write(&stranger, frame, bytes, &error), 0);
    stranger_pours();
    for (;;) { /* its hello, an error, the end */
        ssize_t n = far_tls_read(&stranger, plain, sizeof(plain), &error);

        if (n > 0)
            continue;
        if (n != -EAGAIN || stranger.in_ended)
            break;
        stranger_draws();
    }
    stranger_goes();
    wait_number(&borealis, "arrivals.rejected", 1);
    honest_goes_on();
    drop(&cygnus);
}
END_TEST

START_TEST(a_key_that_does_not_exist_is_no_way_round_a_certificate)
{
    const struct far_key key = { .identity = "atlas",
                                 .key = "0123456789abcdef",
                                 .bytes = 16 };

    start();
    ck_assert_int_ne(stranger_comes("mallory", NULL, &key), 0);
    stranger_goes();
    wait_number(&borealis, "arrivals.distrusted.wrong_key", 1);
    honest_goes_on();
}
END_TEST

START_TEST(a_server_can_not_talk_a_client_out_of_certificates)
{
    char path[256];

    /* It has none itself, but a key that atlas has, too. */
    snprintf(path, sizeof(path), "%s/trust-borealis/own.pem", rig.dir);
    ck_assert_int_eq(unlink(path), 0);
    put_secret("trust-borealis/psk/clients",
               "atlas:00112233445566778899aabbccddeeff\n");
    put_secret("trust-atlas/psk/server-borealis",
               "atlas:00112233445566778899aabbccddeeff\n");
    start_borealis();
    start_atlas();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, "takes no certificates");
    rig_turn(&rig, 300);
    ck_assert_str_eq(proxy_text(&atlas, "links.0.state"), "down");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trust");
    TCase *c = tcase_create("trust");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, certificates_let_in_and_both_ends_show_them);
    tcase_add_test(c, a_certificate_that_has_expired_is_refused);
    tcase_add_test(c, a_certificate_that_is_not_valid_yet_is_refused);
    tcase_add_test(
        c, a_certificate_that_is_not_installed_is_refused_whatever_its_name);
    tcase_add_test(c,
                   a_certificate_in_the_file_of_another_platform_is_not_used);
    tcase_add_test(c, a_server_that_is_another_platform_is_not_talked_to);
    tcase_add_test(
        c, a_server_whose_certificate_is_not_installed_is_not_talked_to);
    tcase_add_test(c, revoking_a_certificate_ends_its_link_and_no_other);
    tcase_add_test(
        c, a_list_of_the_revoked_that_has_a_fault_leaves_what_was_in_force);
    tcase_add_test(c, a_platform_renews_without_a_break);
    tcase_add_test(c, a_reload_that_changes_nothing_disturbs_nobody);
    tcase_add_test(
        c, a_handshake_that_began_before_a_reload_is_not_ended_by_old_trust);
    tcase_add_test(c, a_certificate_whose_term_ends_soon_is_shown);
    tcase_add_test(c, one_listener_takes_certificates_and_keys);
    tcase_add_test(c, who_shows_no_certificate_is_not_let_in);
    tcase_add_test(c, who_is_not_known_is_told_so_and_nothing_else);
    tcase_add_test(c, a_certificate_with_anothers_key_is_not_used);
    tcase_add_test(c, who_has_proved_to_be_one_platform_can_not_be_another);
    tcase_add_test(c, a_key_that_does_not_exist_is_no_way_round_a_certificate);
    tcase_add_test(c, a_server_can_not_talk_a_client_out_of_certificates);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
