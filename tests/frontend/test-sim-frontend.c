/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-frontend in a simulated guest against a backend that the tests play
 * themselves, in dom0: good, hostile, dying. Started by sim-frontend.test.
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/loop.h"
#include "tests/core/suite.h"
#include "tests/xenbus/puppet.h"
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/handshake.h"
#include "xenbus/kbd-ring.h"
#include "xenbus/xs.h"

#define WAIT_US 8000000u

static struct far_loop *loop;
static struct far_xs *xs;
static struct far_grants *grants;
static struct puppet front;
static char *front_args[8];

/* The backend that we play. */
static unsigned domid;
static char be[128], fe[128];
static struct far_evtchns *channels;
static struct far_evtchn evtchn;
static struct far_grant_map map;
static struct far_kbd_ring ring;
static uint32_t gref, port;
static unsigned acks;

static enum far_evtchn_verdict fired(struct far_evtchn *e)
{
    (void)e;
    acks++;
    return FAR_EVTCHN_WORKED;
}

static void put_node(const char *directory, const char *node, const char *value)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/%s", directory, node);
    ck_assert_int_eq(far_xs_write(xs, 0, path, "%s", value), 0);
}

static unsigned number(const char *directory, const char *node)
{
    uint64_t v = 0;

    far_xs_read_u64(xs, 0, &v, UINT32_MAX, "%s/%s", directory, node);
    return (unsigned)v;
}

static void state(unsigned n)
{
    char text[4];

    snprintf(text, sizeof(text), "%u", n);
    put_node(be, "state", text);
}

static void turn(void)
{
    ck_assert_int_ge(far_loop_turn(loop, 2000), 0);
}

static void front_reaches(unsigned a, unsigned b)
{
    uint64_t end = far_now_us() + WAIT_US;
    unsigned n;

    while ((n = number(fe, "state")) != a && n != b) {
        ck_assert_msg(far_now_us() < end, "front is %u, not %u or %u", n, a, b);
        turn();
    }
}

static void find_domain(void)
{
    struct far_xs_list list;
    unsigned newest = 0, d;

    if (far_xs_directory(xs, 0, &list, 10, "backend/vinput") < 1)
        return;
    for (unsigned i = 0; i < list.count; i++)
        if (!far_domid_parse(list.names[i], &d) && d > newest)
            newest = d;
    far_xs_list_free(&list);
    domid = newest;
    snprintf(be, sizeof(be), "/local/domain/0/backend/vinput/%u/0", domid);
    snprintf(fe, sizeof(fe), "/local/domain/%u/device/vkbd/0", domid);
}

static void let_go(void)
{
    far_evtchns_close(channels);
    channels = NULL;
    far_grant_unmap(&map);
}

/* Maps and binds what the front offers; start: where to go on. */
static void take_up(uint32_t start, bool adopted)
{
    bool polls = number(fe, "request-poll") && number(be, "feature-poll");

    gref = number(fe, "page-gref");
    port = number(fe, "event-channel");
    ck_assert_int_eq(far_grant_map(grants, &map, domid, &gref, 1, true, NULL),
                     0);
    channels = far_evtchns_open(loop, domid);
    ck_assert_int_eq(far_evtchn_bind(channels, &evtchn, port, fired), 0);
    far_kbd_back_init(&ring, map.memory,
                      adopted ? start : far_kbd_page_start(map.memory), polls);
}

static void offer_back(void)
{
    state(2);
    front_reaches(3, 4);
    take_up(0, false);
    state(4);
}

static void connect_back(void)
{
    offer_back();
    front_reaches(4, 4);
}

static void send_event(const union xenkbd_in_event *e)
{
    ck_assert_int_gt(far_kbd_back_room(&ring), 0);
    far_kbd_back_put(&ring, e);
    if (far_kbd_back_publish(&ring))
        ck_assert_int_eq(far_evtchn_notify(&evtchn), 0);
}

static void send_key(uint32_t code, uint8_t pressed)
{
    union xenkbd_in_event e = { 0 };

    e.key.type = XENKBD_TYPE_KEY;
    e.key.keycode = code;
    e.key.pressed = pressed;
    send_event(&e);
}

/* The next line that farside-frontend prints, while our loop turns. */
static const char *next_line(void)
{
    static char line[512];
    uint64_t end = far_now_us() + WAIT_US;
    struct pollfd p = { .fd = fileno(front.from), .events = POLLIN };
    size_t n = 0;

    for (;;) {
        ck_assert_msg(far_now_us() < end, "no line came");
        if (poll(&p, 1, 0) < 1) {
            turn();
            continue;
        }
        ck_assert_int_eq(read(p.fd, line + n, 1), 1);
        if (line[n] == '\n')
            break;
        ck_assert_uint_lt(++n, sizeof(line));
    }
    line[n] = '\0';
    return line;
}

static void expect(const char *wanted)
{
    const char *line = next_line();

    ck_assert_msg(!strncmp(line, wanted, strlen(wanted)), "\"%s\", not \"%s\"",
                  line, wanted);
}

/* Skips states on the way. */
static void expect_after(const char *wanted)
{
    const char *line;

    do {
        line = next_line();
    } while (strncmp(line, wanted, strlen(wanted)));
}

static void start_front(void)
{
    puppet_run(&front, "atlas/g1", front_args);
}

static void end_front(void)
{
    int status;

    kill(front.pid, SIGTERM);
    ck_assert_int_eq(waitpid(front.pid, &status, 0), front.pid);
    ck_assert_msg(WIFEXITED(status) && !WEXITSTATUS(status), "status %x",
                  (unsigned)status);
    fclose(front.to);
    fclose(front.from);
    front.pid = 0;
}

static void setup(void)
{
    static const char *const nodes[] = { "feature-abs-pointer",
                                         "feature-multi-touch",
                                         "feature-raw-pointer",
                                         "feature-poll",
                                         "width",
                                         "height",
                                         "multi-touch-width",
                                         "multi-touch-height",
                                         "feature-disable-keyboard",
                                         "multi-touch-num-contacts" };

    loop = far_loop_new();
    xs = far_xs_open(loop, NULL, NULL);
    grants = far_grants_open();
    ck_assert(xs && grants);
    find_domain();
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        far_xs_remove(xs, 0, "%s/%s", be, nodes[i]);
    far_xs_remove(xs, 0, "%s/driver", fe);
    put_node(be, "online", "1");
    state(1);
    put_node(fe, "state", "1");
    memset(front_args, 0, sizeof(front_args));
    front_args[0] = getenv("FARSIDE_FRONTEND");
    front_args[1] = (char *)"--print";
    acks = 0;
}

static void teardown(void)
{
    let_go();
    if (front.pid)
        puppet_kill(&front);
    far_grants_close(grants);
    far_xs_close(xs);
    far_loop_free(loop);
}

static void start_and_connect(void)
{
    start_front();
    expect("0 state waiting");
    connect_back();
    expect("0 state connected");
}

START_TEST(keys_motion_and_wheel_arrive_in_order)
{
    union xenkbd_in_event e = { 0 };

    start_and_connect();
    send_key(KEY_A, 1);
    send_key(KEY_A, 0);
    e.motion.type = XENKBD_TYPE_MOTION;
    e.motion.rel_x = -3;
    e.motion.rel_y = 4;
    e.motion.rel_z = 1;
    send_event(&e);
    send_key(BTN_LEFT, 1);
    expect("0 key 30 1");
    expect("0 key 30 0");
    expect("0 motion -3 4 1");
    expect("0 key 272 1");
    ck_assert_uint_eq(number(fe, "request-abs-pointer"), 0);
    ck_assert_uint_gt(acks, 0);
    end_front();
    ck_assert_uint_eq(number(fe, "state"), 6);
}
END_TEST

START_TEST(ten_thousand_keys_arrive_each_once)
{
    start_and_connect();
    for (unsigned sent = 0, got = 0; got < 10000;) {
        char wanted[32];

        while (sent < 10000 && far_kbd_back_room(&ring) > 0) {
            send_key(1 + sent % 500, 1);
            sent++;
        }
        snprintf(wanted, sizeof(wanted), "0 key %u 1", 1 + got % 500);
        expect(wanted);
        got++;
    }
    end_front();
}
END_TEST

START_TEST(positions_and_contacts_are_asked_for_where_they_are_offered)
{
    union xenkbd_in_event e = { 0 };

    put_node(be, "feature-abs-pointer", "1");
    put_node(be, "width", "1024");
    put_node(be, "height", "768");
    put_node(be, "feature-multi-touch", "1");
    put_node(be, "multi-touch-width", "100");
    put_node(be, "multi-touch-height", "100");
    put_node(be, "multi-touch-num-contacts", "2");
    start_and_connect();
    ck_assert_uint_eq(number(fe, "request-abs-pointer"), 1);
    ck_assert_uint_eq(number(fe, "request-multi-touch"), 1);
    ck_assert_uint_eq(number(fe, "request-raw-pointer"), 0);
    e.pos.type = XENKBD_TYPE_POS;
    e.pos.abs_x = 5000; /* outside */
    e.pos.abs_y = 767;
    send_event(&e);
    expect("0 pos 1023 767 0");
    memset(&e, 0, sizeof(e));
    e.mtouch.type = XENKBD_TYPE_MTOUCH;
    e.mtouch.contact_id = 1;
    e.mtouch.u.pos.abs_x = 7;
    e.mtouch.u.pos.abs_y = 8;
    send_event(&e);
    expect("0 touch 1 down 7 8");
    end_front();
}
END_TEST

START_TEST(with_the_extension_the_page_is_looked_at)
{
    struct far_kbd_poll *words;
    unsigned quiet = 0;

    put_node(be, "feature-poll", "1");
    start_and_connect();
    ck_assert_uint_eq(number(fe, "request-poll"), 1);
    ck_assert(ring.polls);
    for (unsigned i = 0; i < 2000; i++) {
        send_key(1 + i % 100, 1);
        if (i % 10 == 9)
            for (unsigned k = i - 9; k <= i; k++) {
                char wanted[32];

                snprintf(wanted, sizeof(wanted), "0 key %u 1", 1 + k % 100);
                expect(wanted);
            }
    }
    /* A backend that says that it looks, on another processor, is looked for:
     * the front is awake, and needs no event. */
    for (uint64_t end = far_now_us() + WAIT_US; far_now_us() < end && !quiet;) {
        union xenkbd_in_event e = { 0 };

        far_kbd_back_disarm(&ring, 4000);
        e.key.type = XENKBD_TYPE_KEY;
        e.key.keycode = 7;
        if (far_kbd_back_room(&ring) <= 0)
            continue;
        far_kbd_back_put(&ring, &e);
        if (far_kbd_back_publish(&ring))
            far_evtchn_notify(&evtchn);
        else
            quiet++;
        usleep(20);
    }
    ck_assert_uint_gt(quiet, 0);
    send_key(2, 1);
    expect_after("0 key 2 1");
    /* A page that claims to be looked at by nobody's processor is no harm. */
    words = (struct far_kbd_poll *)(void *)((char *)map.memory +
                                            FAR_KBD_POLL_OFFSET);
    words->back_polls_cpu = 0xffffffffu;
    send_key(1, 1);
    expect("0 key 1 1");
    end_front();
}
END_TEST

START_TEST(an_impossible_index_closes_the_device_for_a_moment)
{
    start_and_connect();
    ring.page->in_prod = ring.mine + 5000;
    far_evtchn_notify(&evtchn);
    expect_after("0 state failed the backend wrote an impossible index");
    front_reaches(6, 6);
    let_go();
    connect_back();
    expect_after("0 state connected");
    send_key(KEY_B, 1);
    expect("0 key 48 1");
    end_front();
}
END_TEST

START_TEST(events_that_can_not_be_are_dropped)
{
    union xenkbd_in_event e = { 0 };

    start_and_connect();
    send_key(60000, 1);
    e.type = 77;
    send_event(&e);
    e.pos.type = XENKBD_TYPE_POS; /* was not offered */
    send_event(&e);
    send_key(KEY_C, 1);
    expect("0 key 46 1");
    end_front();
}
END_TEST

START_TEST(a_node_with_nonsense_is_named_and_forgiven_once_it_is_right)
{
    put_node(be, "width", "12ab");
    start_front();
    expect("0 state waiting");
    state(2);
    expect("0 state failed the backend's node width is \"12ab\"");
    ck_assert_uint_eq(number(fe, "page-gref"), 0);
    put_node(be, "width", "1024");
    connect_back();
    expect_after("0 state connected");
    end_front();
}
END_TEST

START_TEST(a_backend_that_closes_may_come_again)
{
    start_and_connect();
    for (unsigned i = 0; i < 3; i++) {
        state(5);
        front_reaches(6, 6);
        let_go();
        state(6);
        expect_after("0 state closed");
        connect_back();
        expect_after("0 state connected");
        send_key(KEY_A + i, 1);
        expect_after("0 key");
    }
    end_front();
}
END_TEST

START_TEST(a_backend_that_was_killed_is_succeeded_unnoticed)
{
    uint32_t mine;

    start_and_connect();
    send_key(KEY_A, 1);
    expect("0 key 30 1");
    mine = ring.mine;
    let_go();
    take_up(mine, true);
    send_key(KEY_A, 0);
    expect("0 key 30 0"); /* and no change of state before it */
    ck_assert_uint_eq(number(fe, "state"), 4);
    end_front();
}
END_TEST

START_TEST(a_backend_that_came_again_unseen_finds_the_page)
{
    start_and_connect();
    send_key(KEY_A, 1);
    expect("0 key 30 1");
    let_go();
    connect_back();
    send_key(KEY_A, 0);
    expect_after("0 key 30 0");
    end_front();
}
END_TEST

START_TEST(a_successor_is_notified_though_the_dead_one_was_looking)
{
    uint64_t end;

    put_node(be, "feature-poll", "1");
    start_and_connect();
    far_kbd_back_disarm(&ring, 1);
    let_go();
    state(2);
    expect("0 state waiting");
    take_up(0, false);
    state(4);
    expect("0 state connected");
    acks = 0;
    send_key(KEY_A, 1);
    expect("0 key 30 1");
    end = far_now_us() + 1000000;
    while (!acks && far_now_us() < end)
        turn();
    ck_assert_uint_ge(acks, 1);
    end_front();
}
END_TEST

START_TEST(a_device_that_is_closed_leaves_nothing_open)
{
    char first[64] = "";

    front_args[0] = getenv("FRONT_CYCLE");
    front_args[1] = (char *)"5";
    puppet_run(&front, "atlas/g1", front_args);
    for (int i = 0; i < 5; i++) {
        const char *line;

        /* it closes as soon as it is connected: its 4 may not be seen */
        offer_back();
        line = next_line();
        if (!i)
            snprintf(first, sizeof(first), "%s", line);
        else
            ck_assert_str_eq(line, first);
        let_go();
        state(6);
    }
    puppet_kill(&front);
}
END_TEST

START_TEST(a_frontend_that_was_killed_is_succeeded)
{
    start_and_connect();
    puppet_kill(&front);
    start_front();
    front_reaches(1, 1);
    let_go();
    connect_back();
    expect_after("0 state connected");
    send_key(KEY_A, 1);
    expect("0 key 30 1");
    end_front();
}
END_TEST

START_TEST(one_that_ended_begins_again)
{
    start_and_connect();
    end_front();
    ck_assert_uint_eq(number(fe, "state"), 6);
    let_go();
    state(6);
    start_front();
    connect_back();
    expect_after("0 state connected");
    end_front();
}
END_TEST

START_TEST(another_drivers_device_is_left_alone_but_by_force)
{
    put_node(fe, "state", "4");
    state(4);
    start_front();
    expect("0 state refused another driver has it");
    ck_assert_uint_eq(number(fe, "state"), 4);
    end_front();
    ck_assert_uint_eq(number(fe, "state"), 4);
    front_args[2] = (char *)"--force";
    start_front();
    front_reaches(1, 1);
    connect_back();
    expect_after("0 state connected");
    end_front();
}
END_TEST

START_TEST(a_driver_that_writes_over_ours_is_given_way)
{
    start_and_connect();
    put_node(fe, "state", "3");
    expect("0 state refused another driver has it");
    ck_assert_uint_eq(number(fe, "state"), 3);
    end_front();
    ck_assert_uint_eq(number(fe, "state"), 3);
}
END_TEST

START_TEST(a_saved_guest_goes_on_where_it_is_restored)
{
    unsigned old = domid;
    uint64_t end;

    start_and_connect();
    send_key(KEY_A, 1);
    expect("0 key 30 1");
    ck_assert_int_eq(system("(\"$FARSIDE_SIM\" save atlas g1 && "
                            "\"$FARSIDE_SIM\" restore atlas g1) "
                            ">/dev/null 2>&1 &"),
                     0);
    end = far_now_us() + WAIT_US;
    while (number(be, "online")) { /* force: the front has gone, 5 */
        ck_assert(far_now_us() < end);
        turn();
    }
    let_go();
    state(6);
    while (find_domain(), domid == old) {
        ck_assert(far_now_us() < end);
        turn();
    }
    connect_back();
    expect_after("0 state connected");
    send_key(KEY_A, 0);
    expect("0 key 30 0");
    end_front();
}
END_TEST

static void answer_detach(void)
{
    uint64_t end = far_now_us() + WAIT_US;

    while (number(be, "state") != 5) {
        ck_assert(far_now_us() < end);
        turn();
    }
    front_reaches(6, 0);
    let_go();
    state(6);
}

START_TEST(a_device_may_go_and_come)
{
    start_and_connect();
    ck_assert_int_eq(system("\"$FARSIDE_SIM\" vkb-detach atlas g1 0 "
                            ">/dev/null 2>&1 &"),
                     0);
    answer_detach();
    expect_after("0 state gone");
    ck_assert_int_eq(sim_do("vkb-attach atlas g1 "
                            "backend-type=linux,unique-id=kbd0"),
                     0);
    expect("0 state waiting");
    connect_back();
    expect("0 state connected");
    send_key(KEY_A, 1);
    expect("0 key 30 1");
    end_front();
}
END_TEST

START_TEST(a_program_gets_the_lines)
{
    front_args[1] = (char *)"--exec=sed -u 's/^/told: /'";
    start_front();
    expect("told: 0 state waiting");
    connect_back();
    expect("told: 0 state connected");
    send_key(KEY_A, 1);
    expect("told: 0 key 30 1");
    end_front();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("farside-frontend on the simulator");
    TCase *tcase = tcase_create("kbd"), *restore = tcase_create("restore");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, keys_motion_and_wheel_arrive_in_order);
    tcase_add_test(tcase, ten_thousand_keys_arrive_each_once);
    tcase_add_test(tcase,
                   positions_and_contacts_are_asked_for_where_they_are_offered);
    tcase_add_test(tcase, with_the_extension_the_page_is_looked_at);
    tcase_add_test(tcase, an_impossible_index_closes_the_device_for_a_moment);
    tcase_add_test(tcase, events_that_can_not_be_are_dropped);
    tcase_add_test(tcase,
                   a_node_with_nonsense_is_named_and_forgiven_once_it_is_right);
    tcase_add_test(tcase, a_backend_that_closes_may_come_again);
    tcase_add_test(tcase, a_backend_that_was_killed_is_succeeded_unnoticed);
    tcase_add_test(tcase, a_backend_that_came_again_unseen_finds_the_page);
    tcase_add_test(tcase,
                   a_successor_is_notified_though_the_dead_one_was_looking);
    tcase_add_test(tcase, a_device_that_is_closed_leaves_nothing_open);
    tcase_add_test(tcase, a_frontend_that_was_killed_is_succeeded);
    tcase_add_test(tcase, one_that_ended_begins_again);
    tcase_add_test(tcase, another_drivers_device_is_left_alone_but_by_force);
    tcase_add_test(tcase, a_driver_that_writes_over_ours_is_given_way);
    tcase_add_test(tcase, a_device_may_go_and_come);
    tcase_add_test(tcase, a_program_gets_the_lines);
    suite_add_tcase(suite, tcase);
    tcase_set_timeout(restore, 60);
    tcase_add_checked_fixture(restore, setup, teardown);
    tcase_add_test(restore, a_saved_guest_goes_on_where_it_is_restored);
    suite_add_tcase(suite, restore);
    return suite_end(suite);
}
