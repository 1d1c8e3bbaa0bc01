/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two real farside-netproxy processes, sandboxed, over loopback TLS; a guest at
 * one and a virtual keyboard at the other: what a person would see when things
 * go well, and when either is killed.
 */
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/input.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;
static uint16_t port;

#define KEY_LINE "atlas:00112233445566778899aabbccddeeff\n"

static void write_borealis(const char *allow)
{
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = %s\n",
              port, rig.dir, allow);
}

static void write_atlas(void)
{
    rig_write(
        &rig, "atlas.conf",
        "[platform]\nname = atlas\n"
        "[server borealis]\naddress = 127.0.0.1:%u\n"
        "psk-file = %s/atlas-keys\n"
        "[device own0]\ntype = virtual\n[export own0]\nallow = borealis\n",
        port, rig.dir);
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", KEY_LINE);
    rig_write(&rig, "atlas-keys", KEY_LINE);
    write_borealis("cygnus atlas");
    write_atlas();
}

static void teardown(void)
{
    if (guest.open)
        guest_detach(&guest);
    if (atlas.pid > 0)
        proxy_kill(&atlas, SIGTERM);
    if (borealis.pid > 0)
        proxy_kill(&borealis, SIGTERM);
    atlas.pid = borealis.pid = 0;
    rig_end(&rig);
}

static void start_both(void)
{
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
}

static void expect_taps(unsigned first, unsigned last)
{
    unsigned i;

    guest_wait_count(&guest, 2 * last);
    for (i = first; i < last; i++) {
        ck_assert_uint_eq(guest.events[2 * i].code, 2 + i % 80);
        ck_assert_int_eq(guest.events[2 * i].value, 1);
        ck_assert_uint_eq(guest.events[2 * i + 1].code, 2 + i % 80);
        ck_assert_int_eq(guest.events[2 * i + 1].value, 0);
    }
    ck_assert_uint_eq(guest.count, 2 * last);
    ck_assert_uint_eq(guest.repeats, 0);
    ck_assert_uint_eq(guest.gaps, 0);
}

static void tap(unsigned first, unsigned last)
{
    for (unsigned i = first; i < last; i++)
        proxy_tap(&borealis, "kbd0", 2 + i % 80);
}

START_TEST(a_key_typed_on_borealis_reaches_the_guest_on_atlas)
{
    uint64_t now_us;

    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    tap(0, 50);
    expect_taps(0, 50);
    now_us = far_now_us();
    ck_assert_uint_le(guest.events[99].time_us, now_us + 1000);
    ck_assert_uint_gt(guest.events[99].time_us, now_us - 5000000);
    ck_assert_int_eq(proxy_number(&borealis, "sessions.0.sent"), 102);
    ck_assert_int_ge(proxy_number(&atlas, "remotes.0.latency.wire.count"), 100);
    ck_assert_int_gt(proxy_number(&borealis, "sessions.0.latency.queue.count"),
                     0);
    ck_assert_str_eq(proxy_text(&atlas, "links.0.role"), "client");
    ck_assert_str_eq(proxy_text(&borealis, "links.0.role"), "server");
    ck_assert_str_eq(proxy_text(&borealis, "links.0.platform"), "atlas");
}
END_TEST

START_TEST(acks_of_the_guest_empty_what_the_owner_keeps)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    tap(0, 200);
    expect_taps(0, 200);
    for (int i = 0; i < 100 && proxy_number(&borealis, "sessions.0.kept") > 64;
         i++) {
        tap(0, 0);
        rig_turn(&rig, 20);
    }
    ck_assert_int_le(proxy_number(&borealis, "sessions.0.kept"), 130);
    ck_assert_int_ge(proxy_number(&borealis, "sessions.0.acked"), 270);
}
END_TEST

START_TEST(an_empty_op_is_answered_from_afar)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, NULL), FAR_LATER);
    for (int i = 0; i < 200 && !guest.completions; i++)
        rig_turn(&rig, 10);
    ck_assert_uint_eq(guest.completions, 1);
    ck_assert_uint_eq(guest.completed.sequence, 1);
}
END_TEST

START_TEST(a_local_guest_reaches_an_exported_device_too)
{
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "", "own0");
    guest_wait_ready(&guest);
    proxy_tap(&atlas, "own0", 2);
    expect_taps(0, 1);
    guest_crash(&guest);
    proxy_tap(&atlas, "own0", 3);
    guest_open(&guest, &rig, "atlas", 0, "atlas", "own0");
    guest_wait_ready(&guest);
    expect_taps(0, 2);
    ck_assert_uint_eq(guest.incarnations, 1);
}
END_TEST

START_TEST(the_owner_killed_and_back_gets_a_new_incarnation_and_goes_on)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    tap(0, 10);
    expect_taps(0, 10);
    proxy_kill(&borealis, SIGKILL);
    guest_wait_reason(&guest, "the link to borealis is down");
    proxy_start(&borealis, &rig, "borealis");
    guest_wait_ready(&guest);
    tap(10, 20);
    expect_taps(0, 20);
    ck_assert_uint_eq(guest.incarnations, 2);
}
END_TEST

START_TEST(the_clients_netproxy_killed_loses_and_doubles_nothing)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    for (unsigned round = 0; round < 5; round++) {
        tap(20 * round, 20 * round + 10);
        proxy_kill(&atlas, SIGKILL); /* some may be under way */
        tap(20 * round + 10, 20 * round + 20);
        proxy_start(&atlas, &rig, "atlas");
        expect_taps(0, 20 * round + 20);
    }
    guest_wait_ready(&guest);
    ck_assert_uint_eq(guest.incarnations, 1);
}
END_TEST

START_TEST(a_backend_killed_loses_and_doubles_nothing)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    for (unsigned round = 0; round < 5; round++) {
        tap(20 * round, 20 * round + 10);
        guest_crash(&guest);
        tap(20 * round + 10, 20 * round + 20);
        guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
        expect_taps(0, 20 * round + 20);
    }
    ck_assert_uint_eq(guest.incarnations, 1);
    ck_assert_int_eq(proxy_number(&borealis, "sessions.1.sent"), 0);
}
END_TEST

START_TEST(a_guest_that_is_full_gets_all_in_order_later)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    guest.full = true;
    tap(0, 600); /* far more than all windows and rings on the way */
    rig_turn(&rig, 50);
    ck_assert_uint_eq(guest.count, 0);
    ck_assert_int_gt(proxy_number(&borealis, "sessions.0.kept"), 500);
    guest.full = false;
    far_layer_resume(guest.layer.below);
    expect_taps(0, 600);
}
END_TEST

START_TEST(a_link_that_is_stopped_stays_down_until_it_is_started)
{
    json_t *answer;

    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    answer = proxy_ask(&atlas,
                       "{\"request\":\"link stop\",\"platform\":\"borealis\"}");
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
    guest_wait_reason(&guest, "stopped by a person");
    tap(0, 5);
    rig_turn(&rig, 300);
    ck_assert_str_eq(proxy_text(&atlas, "links.0.state"), "stopped");
    answer = proxy_ask(
        &atlas, "{\"request\":\"link start\",\"platform\":\"borealis\"}");
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
    guest_wait_ready(&guest);
    expect_taps(0, 5);
}
END_TEST

static void set_link(const char *what)
{
    char request[128];
    json_t *answer;

    snprintf(request, sizeof(request),
             "{\"request\":\"link %s\",\"platform\":\"borealis\"}", what);
    answer = proxy_ask(&atlas, request);
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

START_TEST(a_device_detached_while_the_link_is_down_is_given_back_when_it_is_up)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    set_link("stop");
    guest_wait_reason(&guest, "stopped by a person");
    guest_detach(&guest);
    ck_assert_int_eq(proxy_number(&borealis, "devices.0.users"), 1);
    set_link("start");
    for (int i = 0; i < 300 && proxy_number(&borealis, "devices.0.users"); i++)
        rig_turn(&rig, 10);
    ck_assert_int_eq(proxy_number(&borealis, "devices.0.users"), 0);
    ck_assert_str_eq(proxy_text(&atlas, "remotes.0.state"), "");
    /* and all goes on as ever */
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
}
END_TEST

START_TEST(detached_and_attached_again_while_the_link_is_down_it_is_there)
{
    static struct guest other;

    memset(&other, 0, sizeof(other));
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_open(&other, &rig, "atlas", 1, "borealis", "kbd0");
    guest_wait_ready(&guest);
    guest_wait_ready(&other);
    set_link("stop");
    guest_wait_reason(&guest, "stopped by a person");
    guest_detach(&guest);
    guest_detach(&other);
    guest.incarnation = guest.received = 0;
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    set_link("start");
    guest_wait_ready(&guest);
    tap(0, 3);
    expect_taps(0, 3);
    ck_assert_int_eq(proxy_number(&borealis, "devices.0.users"), 1);
}
END_TEST

START_TEST(a_server_that_is_not_there_yet_is_found_when_it_comes)
{
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, "refused");
    proxy_start(&borealis, &rig, "borealis");
    guest_wait_ready(&guest);
    tap(0, 3);
    expect_taps(0, 3);
}
END_TEST

START_TEST(an_unknown_platform_is_named_and_comes_with_a_reload)
{
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "cygnus", "kbd0");
    guest_wait_reason(&guest, "[server cygnus]");
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              port, rig.dir);
    proxy_reload(&atlas);
    guest_wait_reason(&guest, "the link to cygnus is down");
}
END_TEST

START_TEST(a_device_that_does_not_exist_says_so_and_comes_with_a_reload)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd7");
    guest_wait_reason(&guest, "no device kbd7 is exported by borealis");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd7]\ntype = virtual\n"
              "[export kbd7]\nallow = atlas\n",
              port, rig.dir);
    proxy_reload(&borealis);
    guest_wait_ready(&guest);
    proxy_tap(&borealis, "kbd7", 2);
    expect_taps(0, 1);
}
END_TEST

START_TEST(a_platform_that_is_not_allowed_is_told_and_let_in_by_a_reload)
{
    write_borealis("cygnus");
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, "does not allow the platform atlas");
    write_borealis("atlas");
    proxy_reload(&borealis);
    guest_wait_ready(&guest);
    tap(0, 1);
    expect_taps(0, 1);
    /* and taken away again */
    write_borealis("cygnus");
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "does not allow the platform atlas");
    write_borealis("atlas");
    proxy_reload(&borealis);
    guest_wait_ready(&guest);
    tap(1, 2);
    expect_taps(0, 2);
}
END_TEST

START_TEST(a_wrong_key_is_named_as_such_and_a_right_one_works_after_a_reload)
{
    rig_write(&rig, "atlas-keys", "atlas:ffffffffffffffffffffffffffffffff\n");
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_reason(&guest, "refused our key");
    proxy_wait_text(&atlas, "links.0.reason", "refused our key");
    ck_assert_int_gt(proxy_number(&borealis, "arrivals.rejected"), 0);
    rig_write(&rig, "atlas-keys", KEY_LINE);
    proxy_reload(&atlas);
    guest_wait_ready(&guest);
}
END_TEST

START_TEST(a_key_file_that_everybody_can_read_is_refused)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(chmod(path, 0644), 0);
    proxy_start(&borealis, &rig, "borealis");
    ck_assert_ptr_nonnull(
        strstr(proxy_text(&borealis, "listen.0.reason"), "read by everybody"));
    snprintf(path, sizeof(path), "%s/atlas-keys", rig.dir);
    ck_assert_int_eq(chmod(path, 0642), 0);
    proxy_start(&atlas, &rig, "atlas");
    ck_assert_ptr_nonnull(
        strstr(proxy_text(&atlas, "links.0.reason"), "written by everybody"));
    ck_assert_int_eq(chmod(path, 0640), 0);
    snprintf(path, sizeof(path), "%s/keys", rig.dir);
    ck_assert_int_eq(chmod(path, 0640), 0);
    proxy_reload(&borealis);
    proxy_reload(&atlas);
    proxy_wait_text(&atlas, "links.0.state", "up");
}
END_TEST

START_TEST(a_platform_that_calls_itself_otherwise_than_expected_is_refused)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              port, rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.reason", "expected the platform cygnus");
}
END_TEST

START_TEST(a_reload_that_changes_nothing_disturbs_nobody)
{
    unsigned states;

    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    states = guest.states;
    proxy_reload(&borealis);
    proxy_reload(&atlas);
    tap(0, 2);
    expect_taps(0, 2);
    ck_assert_uint_eq(guest.states, states);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
}
END_TEST

START_TEST(a_broken_configuration_leaves_the_old_one_in_force)
{
    json_t *answer;

    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    rig_write(&rig, "borealis.conf", "nonsense\n");
    answer = proxy_ask(&borealis, "{\"request\":\"reload\"}");
    ck_assert_ptr_null(answer); /* an error */
    tap(0, 2);
    expect_taps(0, 2);
}
END_TEST

START_TEST(a_silent_peer_is_given_up_after_three_heartbeats)
{
    uint64_t begin_us;

    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    begin_us = far_now_us();
    kill(borealis.pid, SIGSTOP);
    guest_wait_reason(&guest, "silent for three heartbeats");
    ck_assert_uint_gt(far_now_us() - begin_us, 900000);
    ck_assert_uint_lt(far_now_us() - begin_us, 4000000);
    kill(borealis.pid, SIGCONT);
    guest_wait_ready(&guest);
    tap(0, 2);
    expect_taps(0, 2);
    ck_assert_uint_eq(guest.incarnations, 1);
}
END_TEST

START_TEST(a_name_is_resolved_by_the_helper)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = localhost:%u\n"
              "psk-file = %s/atlas-keys\n",
              port, rig.dir);
    start_both();
}
END_TEST

static void listen_at(const char *host)
{
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = %s:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n",
              host, port, rig.dir);
}

static void connect_to(const char *host)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = %s:%u\n"
              "psk-file = %s/atlas-keys\n",
              host, port, rig.dir);
}

/* /etc/hosts, for this test and whom it starts, is what it writes. */
static void hosts_are(const char *text)
{
    static bool mounted;
    char path[128];

    rig_write(&rig, "hosts", "%s", text);
    if (mounted)
        return;
    snprintf(path, sizeof(path), "%s/hosts", rig.dir);
    ck_assert(!unshare(CLONE_NEWNS) &&
              !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
              !mount(path, "/etc/hosts", NULL, MS_BIND, NULL));
    mounted = true;
}

/* Needs root. */
START_TEST(a_name_is_resolved_again_when_its_host_has_moved)
{
    hosts_are("127.0.0.1 borealis.test\n");
    listen_at("127.0.0.1");
    connect_to("borealis.test");
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    tap(0, 1);
    expect_taps(0, 1);
    proxy_kill(&borealis, SIGKILL);
    hosts_are("127.0.0.2 borealis.test\n");
    listen_at("127.0.0.2");
    proxy_start(&borealis, &rig, "borealis");
    guest_wait_ready(&guest);
    tap(1, 2);
    guest_wait_count(&guest, 4);
}
END_TEST

/* Where this machine has it. */
START_TEST(a_link_goes_over_ipv6)
{
    listen_at("[::1]");
    connect_to("[::1]");
    start_both();
    ck_assert_ptr_nonnull(
        strstr(proxy_text(&atlas, "links.0.address"), "[::1]:"));
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    tap(0, 3);
    expect_taps(0, 3);
}
END_TEST

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a));

    if (fd >= 0)
        close(fd);
    return has;
}

START_TEST(many_guests_each_get_only_their_own_events)
{
    static struct guest many[40];
    unsigned i;

    start_both();
    memset(many, 0, sizeof(many));
    for (i = 0; i < 40; i++) {
        many[i].shared = i != 0;
        many[i].client = many[0].client;
        guest_open(&many[i], &rig, "atlas", i, "borealis", "kbd0");
    }
    for (i = 0; i < 40; i++)
        guest_wait_ready(&many[i]);
    tap(0, 5);
    for (i = 0; i < 40; i++) {
        guest_wait_count(&many[i], 10);
        ck_assert_uint_eq(many[i].repeats + many[i].gaps, 0);
    }
    guest_detach(&many[39]);
    rig_turn(&rig, 50);
    tap(5, 6);
    for (i = 0; i < 39; i++)
        guest_wait_count(&many[i], 12);
    ck_assert_uint_eq(many[39].count, 10);
    ck_assert_int_eq(proxy_number(&borealis, "devices.0.users"), 39);
    for (i = 39; i-- > 0;)
        guest_detach(&many[i]);
    ck_assert_int_eq(proxy_number(&borealis, "devices.0.users"), 0);
}
END_TEST

START_TEST(a_key_taken_away_ends_the_connection_and_one_given_back_lets_in)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    rig_write(&rig, "keys", "cygnus:00112233445566778899aabbccddeeff\n");
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "key");
    rig_write(&rig, "keys", KEY_LINE);
    proxy_reload(&borealis);
    guest_wait_ready(&guest);
    tap(0, 1);
    expect_taps(0, 1);
}
END_TEST

START_TEST(a_server_that_moves_is_followed_after_a_reload)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    tap(0, 3);
    expect_taps(0, 3);
    port = rig_port();
    write_borealis("atlas");
    write_atlas();
    proxy_reload(&borealis);
    tap(3, 6); /* connections that are there stay */
    expect_taps(0, 6);
    proxy_reload(&atlas);
    tap(6, 9);
    expect_taps(0, 9);
    guest_wait_ready(&guest);
    ck_assert_uint_eq(guest.incarnations, 1);
}
END_TEST

START_TEST(the_second_address_is_used_when_the_first_is_dead)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\n"
              "address = 127.0.0.1:%u\npsk-file = %s/atlas-keys\n",
              rig_port(), port, rig.dir);
    start_both();
}
END_TEST

START_TEST(two_platforms_serve_each_other)
{
    static struct guest other;

    memset(&other, 0, sizeof(other));
    rig_write(&rig, "atlas-keys",
              KEY_LINE "borealis:ffeeddccbbaa99887766554433221100\n");
    rig_write(&rig, "keys",
              KEY_LINE "borealis:ffeeddccbbaa99887766554433221100\n");
    {
        uint16_t back = rig_port();

        rig_write(&rig, "atlas.conf",
                  "[platform]\nname = atlas\n"
                  "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
                  "[server borealis]\naddress = 127.0.0.1:%u\n"
                  "psk-file = %s/keys\n"
                  "[device own0]\ntype = virtual\n"
                  "[export own0]\nallow = borealis\n",
                  back, rig.dir, port, rig.dir);
        rig_write(&rig, "borealis.conf",
                  "[platform]\nname = borealis\n"
                  "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
                  "[server atlas]\naddress = 127.0.0.1:%u\n"
                  "psk-file = %s/keys\n"
                  "[device kbd0]\ntype = virtual\n"
                  "[export kbd0]\nallow = atlas\n",
                  port, rig.dir, back, rig.dir);
    }
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_open(&other, &rig, "borealis", 1, "atlas", "own0");
    guest_wait_ready(&guest);
    guest_wait_ready(&other);
    tap(0, 3);
    proxy_tap(&atlas, "own0", 77);
    expect_taps(0, 3);
    guest_wait_count(&other, 2);
    ck_assert_uint_eq(other.events[0].code, 77);
    guest_detach(&other);
}
END_TEST

START_TEST(a_filter_that_is_exported_has_the_device_behind_it)
{
    uint64_t begin_us;

    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[device slow]\ntype = delay\nbehind = kbd0\ndelay = 80ms\n"
              "[export slow]\nallow = atlas\n",
              port, rig.dir);
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "slow");
    guest_wait_ready(&guest);
    begin_us = far_now_us();
    tap(0, 1);
    expect_taps(0, 1);
    ck_assert_uint_ge(far_now_us() - begin_us, 80000);
}
END_TEST

START_TEST(a_second_machine_of_the_same_name_is_found_out)
{
    struct proxy twin = { .program = NULL };

    start_both();
    rig_write(&rig, "twin.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\n"
              "psk-file = %s/atlas-keys\n",
              port, rig.dir);
    proxy_start(&twin, &rig, "twin");
    for (int i = 0; i < 300; i++) {
        if (strstr(proxy_text(&atlas, "links.0.reason"), "one name") ||
            strstr(proxy_text(&twin, "links.0.reason"), "one name"))
            break;
        ck_assert_int_ne(i, 299);
        rig_turn(&rig, 10);
    }
    rig_turn(&rig, 2000); /* they go on fighting, but slowly */
    ck_assert_int_lt(proxy_number(&borealis, "links.0.counters.reconnects"),
                     100);
    proxy_kill(&twin, SIGTERM);
    proxy_wait_text(&atlas, "links.0.state", "up");
}
END_TEST

/* Capabilities, no_new_privs, and the filter of a process. */
static void expect_harmless(int pid, bool wants_filter)
{
    char path[64], line[128];
    bool filter = false, no_new = false;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f)) {
        filter |= !strcmp(line, "Seccomp:\t2\n");
        no_new |= !strcmp(line, "NoNewPrivs:\t1\n");
        if (!strncmp(line, "CapEff:", 7) || !strncmp(line, "CapPrm:", 7))
            ck_assert_str_eq(strpbrk(line, "\t") + 1, "0000000000000000\n");
    }
    fclose(f);
    ck_assert(no_new);
    if (wants_filter && !getenv("FARSIDE_NO_SANDBOX"))
        ck_assert(filter);
}

START_TEST(the_running_daemon_is_sandboxed)
{
    proxy_start(&atlas, &rig, "atlas");
    expect_harmless((int)atlas.pid, true);
}
END_TEST

START_TEST(the_helper_that_resolves_names_has_no_rights_either)
{
    char path[64], name[32] = "";
    int pid = 0, tries;
    FILE *f;

    proxy_start(&atlas, &rig, "atlas");
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)atlas.pid,
             (int)atlas.pid);
    f = fopen(path, "r");
    if (!f)
        return; /* a kernel that does not tell */
    ck_assert_int_eq(fscanf(f, "%d", &pid), 1);
    fclose(f);
    /* It takes its name when it is ready to be asked. */
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    for (tries = 0; strcmp(name, "farside-resolve") && tries < 500; tries++) {
        rig_turn(&rig, 10);
        f = fopen(path, "r");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(fscanf(f, "%31s", name), 1);
        fclose(f);
    }
    expect_harmless(pid, false);
}
END_TEST

START_TEST(a_key_that_has_changed_ends_the_connection_that_used_the_old_one)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    rig_write(&rig, "keys", "atlas:ff112233445566778899aabbccddeeff\n");
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "key");
    rig_write(&rig, "atlas-keys", "atlas:ff112233445566778899aabbccddeeff\n");
    proxy_reload(&atlas);
    guest_wait_ready(&guest);
    tap(0, 1);
    expect_taps(0, 1);
}
END_TEST

START_TEST(a_platform_that_no_longer_listens_lets_its_users_go)
{
    start_both();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n");
    proxy_reload(&borealis);
    guest_wait_reason(&guest, "link to borealis is down");
    rig_turn(&rig, 300);
    ck_assert(!guest_ready(&guest));
    write_borealis("atlas");
    proxy_reload(&borealis);
    guest_wait_ready(&guest);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: two platforms");
    TCase *c = tcase_create("link");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_key_typed_on_borealis_reaches_the_guest_on_atlas);
    tcase_add_test(c, acks_of_the_guest_empty_what_the_owner_keeps);
    tcase_add_test(c, an_empty_op_is_answered_from_afar);
    tcase_add_test(c, a_local_guest_reaches_an_exported_device_too);
    tcase_add_test(
        c, the_owner_killed_and_back_gets_a_new_incarnation_and_goes_on);
    tcase_add_test(c, the_clients_netproxy_killed_loses_and_doubles_nothing);
    tcase_add_test(c, a_backend_killed_loses_and_doubles_nothing);
    tcase_add_test(c, a_guest_that_is_full_gets_all_in_order_later);
    tcase_add_test(c, a_link_that_is_stopped_stays_down_until_it_is_started);
    tcase_add_test(
        c,
        a_device_detached_while_the_link_is_down_is_given_back_when_it_is_up);
    tcase_add_test(
        c, detached_and_attached_again_while_the_link_is_down_it_is_there);
    tcase_add_test(c, a_server_that_is_not_there_yet_is_found_when_it_comes);
    tcase_add_test(c, an_unknown_platform_is_named_and_comes_with_a_reload);
    tcase_add_test(
        c, a_device_that_does_not_exist_says_so_and_comes_with_a_reload);
    tcase_add_test(
        c, a_platform_that_is_not_allowed_is_told_and_let_in_by_a_reload);
    tcase_add_test(
        c, a_wrong_key_is_named_as_such_and_a_right_one_works_after_a_reload);
    tcase_add_test(c, a_key_file_that_everybody_can_read_is_refused);
    tcase_add_test(
        c, a_platform_that_calls_itself_otherwise_than_expected_is_refused);
    tcase_add_test(c, a_reload_that_changes_nothing_disturbs_nobody);
    tcase_add_test(c, a_broken_configuration_leaves_the_old_one_in_force);
    tcase_add_test(c, a_silent_peer_is_given_up_after_three_heartbeats);
    tcase_add_test(c, a_name_is_resolved_by_the_helper);
    if (geteuid() == 0)
        tcase_add_test(c, a_name_is_resolved_again_when_its_host_has_moved);
    if (has_ipv6())
        tcase_add_test(c, a_link_goes_over_ipv6);
    tcase_add_test(c, many_guests_each_get_only_their_own_events);
    tcase_add_test(
        c, a_key_taken_away_ends_the_connection_and_one_given_back_lets_in);
    tcase_add_test(c, a_server_that_moves_is_followed_after_a_reload);
    tcase_add_test(c, the_second_address_is_used_when_the_first_is_dead);
    tcase_add_test(c, two_platforms_serve_each_other);
    tcase_add_test(c, a_filter_that_is_exported_has_the_device_behind_it);
    tcase_add_test(c, a_second_machine_of_the_same_name_is_found_out);
    tcase_add_test(c, the_running_daemon_is_sandboxed);
    tcase_add_test(c, the_helper_that_resolves_names_has_no_rights_either);
    tcase_add_test(
        c, a_key_that_has_changed_ends_the_connection_that_used_the_old_one);
    tcase_add_test(c, a_platform_that_no_longer_listens_lets_its_users_go);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
