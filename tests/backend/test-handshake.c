/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The handshake's table: each row by a case that only it fits, then whole lives
 * of devices, with a model of the one who does what the table says (as
 * backend/hotplug.c does). The traces are those that were measured on Xen.
 */
#include <string.h>
#include "tests/core/suite.h"
#include "xenbus/handshake.h"

#define KBD  (FAR_HS_CONNECT_AT_4 | FAR_HS_ADOPTS)
#define SND  (1u << 31) /* none of the flags */
#define DISK (FAR_HS_WAIT_FOR_FRONT | FAR_HS_NEEDS_DEVICE)
#define VBD  (DISK | FAR_HS_ADOPTS | FAR_HS_INSISTS)

/* A view in which what is usual need not be said: a keyboard, online, whose
 * front exists. */
struct seen {
    int back, front;
    bool no_front, offline, domain_dead, connected, front_connected_seen,
        adoptable, device_ready, published, refused, front_closed_seen,
        closed_shown, activated;
    uint32_t flags; /* 0: KBD */
};

static struct far_handshake_view view_of(struct seen s)
{
    return (struct far_handshake_view){
        .back = (enum far_xenbus_state)s.back,
        .front = (enum far_xenbus_state)s.front,
        .front_exists = !s.no_front,
        .online = !s.offline,
        .domain_dead = s.domain_dead,
        .connected = s.connected,
        .front_connected_seen = s.front_connected_seen,
        .adoptable = s.adoptable,
        .device_ready = s.device_ready,
        .activated = s.activated,
        .published = s.published,
        .refused = s.refused,
        .front_closed_seen = s.front_closed_seen,
        .closed_shown = s.closed_shown,
        .flags = s.flags ? s.flags : KBD,
    };
}

struct row_case {
    const char *rule;
    struct seen seen;
    enum far_handshake_action action;
};

static const struct row_case rows[] = {
    { "our nodes are gone while we serve",
      { .back = 0, .front = 4, .connected = true },
      FAR_HS_DISCONNECT },
    { "our nodes are gone",
      { .back = 0, .front = 1, .offline = true },
      FAR_HS_FORGET },
    { "the domain died while we serve",
      { .back = 4, .front = 4, .connected = true, .domain_dead = true },
      FAR_HS_DISCONNECT },
    { "the domain is dead and we are closed",
      { .back = 6, .front = 4, .domain_dead = true },
      FAR_HS_FORGET },
    { "the domain is dead",
      { .back = 4, .front = 4, .domain_dead = true },
      FAR_HS_SET_6 },
    { "offline, the front that we wait for is closed",
      { .back = 5,
        .front = 6,
        .connected = true,
        .offline = true,
        .flags = DISK },
      FAR_HS_DISCONNECT },
    { "offline, the front that we wait for is gone",
      { .back = 5,
        .front = 0,
        .connected = true,
        .offline = true,
        .no_front = true,
        .flags = DISK },
      FAR_HS_DISCONNECT },
    { "offline, asks the front that we wait for to close",
      { .back = 4,
        .front = 4,
        .connected = true,
        .offline = true,
        .flags = DISK },
      FAR_HS_SET_5 },
    { "offline, waits for the front",
      { .back = 5,
        .front = 5,
        .connected = true,
        .offline = true,
        .flags = DISK },
      FAR_HS_NOTHING },
    { "offline while we serve",
      { .back = 5, .front = 4, .connected = true, .offline = true },
      FAR_HS_DISCONNECT },
    { "offline and closed",
      { .back = 6, .front = 6, .offline = true },
      FAR_HS_FORGET },
    { "offline", { .back = 5, .front = 4, .offline = true }, FAR_HS_SET_6 },
    { "refused while we serve",
      { .back = 4, .front = 4, .connected = true, .refused = true },
      FAR_HS_DISCONNECT },
    { "refused and closed",
      { .back = 6, .front = 4, .refused = true },
      FAR_HS_NOTHING },
    { "refused and closing",
      { .back = 5, .front = 4, .refused = true },
      FAR_HS_SET_6 },
    { "refused", { .back = 2, .front = 4, .refused = true }, FAR_HS_SET_5 },
    { "the front is gone while we serve",
      { .back = 4, .front = 0, .connected = true, .no_front = true },
      FAR_HS_DISCONNECT },
    { "the front is not there yet",
      { .back = 1, .front = 0, .no_front = true },
      FAR_HS_NOTHING },
    { "the front is gone",
      { .back = 4, .front = 0, .no_front = true },
      FAR_HS_SET_6 },
    { "the front's state is nonsense while we serve",
      { .back = 4, .front = 0, .connected = true },
      FAR_HS_DISCONNECT },
    { "the front's state is nonsense, and we wait",
      { .back = 2, .front = 0 },
      FAR_HS_NOTHING },
    { "the front's state is nonsense",
      { .back = 4, .front = 0 },
      FAR_HS_SET_6 },
    { "the front closed while we serve",
      { .back = 4, .front = 6, .connected = true },
      FAR_HS_DISCONNECT },
    { "the front closed", { .back = 5, .front = 6 }, FAR_HS_SET_6 },
    { "the front is closing, but has I/O",
      { .back = 4, .front = 5, .connected = true, .flags = DISK },
      FAR_HS_SET_5 },
    { "the front is closing, we wait for its I/O",
      { .back = 5, .front = 5, .connected = true, .flags = DISK },
      FAR_HS_NOTHING },
    { "the front is closing while we serve",
      { .back = 4, .front = 5, .connected = true },
      FAR_HS_DISCONNECT },
    { "the front is closing", { .back = 4, .front = 5 }, FAR_HS_SET_5 },
    { "the front is closing, we wait for its 6",
      { .back = 5, .front = 5 },
      FAR_HS_NOTHING },
    { "the front starts again while we serve",
      { .back = 4, .front = 1, .connected = true },
      FAR_HS_DISCONNECT },
    { "the front restarts without a 1",
      { .back = 4,
        .front = 3,
        .connected = true,
        .front_connected_seen = true },
      FAR_HS_DISCONNECT },
    { "another wrote our state, it is set right",
      { .back = 6, .front = 4, .connected = true, .flags = VBD },
      FAR_HS_RECLAIM },
    { "another closes us, the front must close first",
      { .back = 5, .front = 4, .connected = true, .flags = DISK },
      FAR_HS_NOTHING },
    { "another wrote our state while we serve",
      { .back = 2, .front = 4, .connected = true },
      FAR_HS_DISCONNECT },
    { "served", { .back = 4, .front = 4, .connected = true }, FAR_HS_NOTHING },
    { "we are closing", { .back = 5, .front = 4 }, FAR_HS_SET_6 },
    { "closed, the front has not noticed",
      { .back = 6, .front = 4 },
      FAR_HS_NOTHING },
    { "closed, the front must see it",
      { .back = 6, .front = 6, .front_closed_seen = true },
      FAR_HS_NOTHING },
    { "closed, the front does nothing we know",
      { .back = 6, .front = 2 },
      FAR_HS_NOTHING },
    { "adopt", { .back = 4, .front = 4, .adoptable = true }, FAR_HS_ADOPT },
    { "bounce", { .back = 4, .front = 4 }, FAR_HS_SET_5 },
    { "bounce a predecessor that connected just now",
      { .back = 4, .front = 3 },
      FAR_HS_SET_5 },
    { "features first", { .back = 1, .front = 1 }, FAR_HS_PUBLISH },
    { "ready for a front",
      { .back = 1, .front = 1, .published = true },
      FAR_HS_SET_2 },
    { "in 2, but nothing was offered",
      { .back = 2, .front = 1 },
      FAR_HS_PUBLISH },
    { "the front is ready, the device must know",
      { .back = 2, .front = 3, .published = true, .flags = DISK },
      FAR_HS_ACTIVATE },
    { "the front is ready, the device is not",
      { .back = 2,
        .front = 3,
        .published = true,
        .activated = true,
        .flags = DISK },
      FAR_HS_NOTHING },
    { "the front is ready",
      { .back = 2, .front = 3, .published = true },
      FAR_HS_CONNECT },
    { "the front went ahead, the device is not there",
      { .back = 2,
        .front = 4,
        .published = true,
        .flags = FAR_HS_NEEDS_DEVICE | FAR_HS_CONNECT_AT_4 },
      FAR_HS_NOTHING },
    { "the front went ahead",
      { .back = 2, .front = 4, .published = true },
      FAR_HS_CONNECT },
    { "waiting for the front",
      { .back = 2, .front = 1, .published = true },
      FAR_HS_NOTHING },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

START_TEST(each_row_of_the_table_is_taken_by_its_own_case)
{
    const struct row_case *c = &rows[_i];
    struct far_handshake_view view = view_of(c->seen);

    ck_assert_str_eq(far_handshake_rule(&view), c->rule);
    ck_assert_msg(far_handshake_step(&view) == c->action, "%s: %s", c->rule,
                  far_handshake_action_name(far_handshake_step(&view)));
}
END_TEST

START_TEST(every_row_has_a_case)
{
    unsigned i;

    for (i = 0; far_handshake_rule_name(i); i++) {
        bool found = false;

        for (size_t k = 0; k < ROWS; k++)
            found |= !strcmp(rows[k].rule, far_handshake_rule_name(i));
        ck_assert_msg(found, "no case for \"%s\"", far_handshake_rule_name(i));
    }
    ck_assert_uint_eq(i, ROWS);
}
END_TEST

/* --- the model -------------------------------------------------------------*/

struct model {
    struct far_handshake_view v;
    char trace[512];
    bool forgotten, shown_later, adopt_fails, connect_fails;
};

static void say(struct model *m, const char *word)
{
    if (m->trace[0])
        strcat(m->trace, " ");
    strcat(m->trace, word);
}

/* What hotplug.c does, until there is nothing to do; the trace of it. */
static const char *settle(struct model *m)
{
    m->trace[0] = '\0';
    for (int i = 0; i < 40; i++) {
        struct far_handshake_view *v = &m->v;
        enum far_handshake_action action;

        if (m->forgotten)
            return m->trace;
        if (v->connected)
            v->front_connected_seen |= v->front == 4;
        else if (!v->front_exists || v->front == 6 || v->front == 1 ||
                 v->front == 7)
            v->front_closed_seen = true;
        if (v->back != 6)
            v->closed_shown = false;
        action = far_handshake_step(v);
        switch (action) {
        case FAR_HS_NOTHING:
            return m->trace;
        case FAR_HS_PUBLISH:
            ck_assert_msg(v->online && !v->domain_dead,
                          "features are written to nodes that are going");
            v->published = true;
            continue;
        case FAR_HS_SET_2:
            ck_assert_msg(v->online && v->published && !v->connected, "2");
            v->back = FAR_XB_INIT_WAIT;
            say(m, "2");
            continue;
        case FAR_HS_ACTIVATE:
            ck_assert(v->back == 2 && v->front == 3 && !v->activated);
            v->activated = true;
            say(m, "activate");
            continue;
        case FAR_HS_RECLAIM:
            ck_assert(v->online && v->connected);
            v->back = FAR_XB_CONNECTED;
            say(m, "reclaim 4");
            continue;
        case FAR_HS_CONNECT:
            ck_assert(v->back == 2 && !v->connected);
            if (m->connect_fails) {
                say(m, "refuse");
                v->refused = true;
                v->front_closed_seen = false;
                continue;
            }
            v->connected = true;
            v->back = FAR_XB_CONNECTED;
            v->front_closed_seen = false;
            v->front_connected_seen = v->front == 4;
            say(m, "connect 4");
            continue;
        case FAR_HS_ADOPT:
            v->adoptable = false;
            if (m->adopt_fails) {
                say(m, "unadoptable");
                continue;
            }
            v->connected = true;
            v->front_closed_seen = false;
            v->front_connected_seen = v->front == 4;
            say(m, "adopt");
            continue;
        case FAR_HS_DISCONNECT:
            ck_assert(v->connected);
            v->connected = v->published = v->activated = false;
            say(m, "disconnect");
            continue;
        case FAR_HS_SET_5:
            ck_assert(v->back != 5 && v->back != 6);
            v->back = FAR_XB_CLOSING;
            say(m, "5");
            continue;
        case FAR_HS_SET_6:
            ck_assert(v->back != 6 && !v->connected);
            v->back = FAR_XB_CLOSED;
            v->published = false;
            v->closed_shown = v->front != 5 && v->front != 6;
            say(m, "6");
            continue;
        case FAR_HS_FORGET:
            ck_assert(!v->connected);
            m->forgotten = true;
            say(m, "forget");
            continue;
        }
    }
    ck_abort_msg("it never settles: %s", m->trace);
    return NULL;
}

#define EXPECT(m, trace_, back_)                     \
    do {                                             \
        ck_assert_str_eq(settle(m), trace_);         \
        ck_assert_int_eq((int)(m)->v.back, (back_)); \
    } while (0)

static struct model born(uint32_t flags)
{
    struct model m = { .v = view_of((struct seen){
                           .back = 1, .front = 1, .device_ready = true }) };

    m.v.flags = flags;
    return m;
}

static struct model connected(uint32_t flags)
{
    struct model m = born(flags);

    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
    m.v.front = FAR_XB_CONNECTED;
    EXPECT(&m, "", 4);
    return m;
}

START_TEST(create_keyboard_goes_1_1_2_1_2_4_4_4)
{
    struct model m = born(KBD);

    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_CONNECTED; /* Linux goes there by itself */
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(create_sound_goes_1_1_2_1_2_3_4_3_4_4)
{
    struct model m = connected(SND);

    EXPECT(&m, "", 4);
}
END_TEST

START_TEST(a_disk_is_not_connected_before_its_device_answers)
{
    struct model m = born(DISK);

    m.v.device_ready = false;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "activate", 2);
    EXPECT(&m, "", 2);
    m.v.device_ready = true;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(a_keyboard_is_connected_though_its_device_is_not_there)
{
    struct model m = born(KBD);

    m.v.device_ready = false;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(a_front_that_was_at_4_before_we_came_is_connected)
{
    struct model m = born(KBD);

    m.v.front = FAR_XB_CONNECTED;
    ck_assert_str_eq(settle(&m), "2 connect 4");
}
END_TEST

START_TEST(detach_of_keyboard_goes_to_6_at_once)
{
    struct model m = connected(KBD);

    m.v.back = FAR_XB_CLOSING;
    m.v.online = false;
    EXPECT(&m, "disconnect 6 forget", 6);
}
END_TEST

START_TEST(detach_of_sound_goes_to_6_though_the_front_ignores_5)
{
    struct model m = connected(SND);

    m.v.back = FAR_XB_CLOSING;
    m.v.online = false;
    EXPECT(&m, "disconnect 6 forget", 6);
}
END_TEST

START_TEST(detach_of_a_disk_waits_for_the_front_to_write_out)
{
    struct model m = connected(DISK);

    m.v.back = FAR_XB_CLOSING;
    m.v.online = false;
    EXPECT(&m, "", 5);
    m.v.front = FAR_XB_CLOSING;
    EXPECT(&m, "", 5);
    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "disconnect 6 forget", 6);
}
END_TEST

START_TEST(destroy_goes_to_6_alone_as_the_front_is_gone)
{
    const uint32_t flags[] = { KBD, SND, DISK };

    for (int i = 0; i < 3; i++) {
        struct model m = connected(flags[i]);

        m.v.back = FAR_XB_CLOSING;
        m.v.online = false;
        m.v.front_exists = false;
        m.v.front = FAR_XB_UNKNOWN;
        EXPECT(&m, "disconnect 6 forget", 6);
    }
}
END_TEST

START_TEST(nothing_is_written_after_6_with_online_0)
{
    struct model m = { .v = view_of((struct seen){
                           .back = 6, .front = 6, .offline = true }) };

    EXPECT(&m, "forget", 6);
    for (int front = 0; front <= 8; front++) {
        struct model n = { .v = view_of(
                               (struct seen){ 6, front, .offline = true }) };

        EXPECT(&n, "forget", 6);
    }
}
END_TEST

START_TEST(never_2_after_online_0)
{
    for (int back = 0; back <= 8; back++) {
        for (int front = 0; front <= 8; front++) {
            for (int bits = 0; bits < 64; bits++) {
                struct model m = { .v = view_of((struct seen){
                                       back, front, .offline = true }) };

                m.v.connected = bits & 1;
                m.v.published = bits & 2;
                m.v.adoptable = bits & 4;
                m.v.front_closed_seen = bits & 8;
                m.v.front_exists = bits & 16;
                m.v.flags = bits & 32 ? DISK : KBD;
                settle(&m);
                ck_assert_ptr_null(strstr(m.trace, "2"));
                ck_assert_ptr_null(strstr(m.trace, "4"));
            }
        }
    }
}
END_TEST

START_TEST(save_is_a_destroy_and_restore_a_create_without_requests)
{
    struct model m = connected(KBD);

    m.v.back = FAR_XB_CLOSING;
    m.v.online = false;
    m.v.front_exists = false;
    EXPECT(&m, "disconnect 6 forget", 6);
    m = born(KBD); /* another domid */
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED; /* as Linux does when it resumes */
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(a_failed_migration_that_resumes_in_place_changes_nothing)
{
    struct model m = connected(KBD);

    EXPECT(&m, "", 4);
}
END_TEST

START_TEST(front_restart_3_1_3)
{
    struct model m = connected(SND);

    m.v.front = FAR_XB_INITIALISING;
    EXPECT(&m, "disconnect 2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(front_restart_4_3_is_seen_and_not_taken_for_the_way_to_4)
{
    struct model m = connected(KBD);

    m.v.front = FAR_XB_INITIALISED;
    ck_assert_str_eq(settle(&m), "disconnect 2 connect 4");
    EXPECT(&m, "", 4); /* 3 again, but now on its way */
    m.v.front = FAR_XB_CONNECTED;
    EXPECT(&m, "", 4);
}
END_TEST

START_TEST(front_4_4_is_nothing)
{
    struct model m = connected(KBD);

    for (int i = 0; i < 1000; i++)
        EXPECT(&m, "", 4);
}
END_TEST

START_TEST(front_6_3_a_driver_unloaded_and_loaded)
{
    struct model m = connected(KBD);

    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "disconnect 6", 6);
    m.v.closed_shown = true; /* half a second */
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(front_6_3_faster_than_our_6_was_shown)
{
    struct model m = connected(KBD);

    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "disconnect 6", 6);
    m.v.front = FAR_XB_INITIALISED;
    ck_assert_str_eq(settle(&m), "2 connect 4");
}
END_TEST

START_TEST(front_3_1_3_4_3_and_6_3_a_thousand_times_end_connected)
{
    static const enum far_xenbus_state dance[] = { 4, 3, 1, 3, 4, 3, 4,
                                                   6, 3, 4, 5, 6, 1, 3 };
    struct model m = connected(KBD);

    for (int i = 0; i < 1000; i++) {
        m.v.front = dance[(unsigned)i % (sizeof(dance) / sizeof(dance[0]))];
        settle(&m);
    }
    m.v.front = FAR_XB_INITIALISED;
    settle(&m);
    m.v.front = FAR_XB_CONNECTED;
    EXPECT(&m, "", 4);
    ck_assert(m.v.connected);
}
END_TEST

START_TEST(kexec_sees_5_then_6_then_2)
{
    struct model m = connected(KBD);

    m.v.front = FAR_XB_CLOSING;
    EXPECT(&m, "disconnect 5", 5);
    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "6", 6);
    EXPECT(&m, "", 6); /* it stands: the front looks for it */
    m.v.front = FAR_XB_INITIALISING;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(kexec_with_a_disk_waits_for_its_io_before_6)
{
    struct model m = connected(DISK);

    m.v.front = FAR_XB_CLOSING;
    EXPECT(&m, "5", 5);
    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "disconnect 6", 6);
    m.v.front = FAR_XB_INITIALISING;
    EXPECT(&m, "2", 2);
}
END_TEST

START_TEST(a_successor_adopts_what_the_journal_knows)
{
    struct model m = { .v = view_of((struct seen){
                           .back = 4, .front = 4, .adoptable = true }) };

    EXPECT(&m, "adopt", 4);
    EXPECT(&m, "", 4);
    m.v.front = FAR_XB_INITIALISED;
    ck_assert_str_eq(settle(&m), "disconnect 2 connect 4");
}
END_TEST

START_TEST(what_cannot_be_adopted_is_bounced_4_5_6_then_2_when_the_front_closed)
{
    struct model m = { .v = view_of((struct seen){ .back = 4, .front = 4 }) };

    EXPECT(&m, "5 6", 6);
    EXPECT(&m, "", 6); /* still 4: it has not noticed */
    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_CONNECTED; /* the same page and port: measured */
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(an_adoption_that_fails_is_a_bounce)
{
    struct model m = { .v = view_of((struct seen){
                           .back = 4, .front = 4, .adoptable = true }),
                       .adopt_fails = true };

    EXPECT(&m, "unadoptable 5 6", 6);
    m.v.front = FAR_XB_CLOSED;
    EXPECT(&m, "2", 2);
}
END_TEST

START_TEST(a_bounced_sound_front_comes_back_at_1)
{
    struct model m = { .v = view_of((struct seen){
                           .back = 4, .front = 4, .flags = SND }) };

    EXPECT(&m, "5 6", 6);
    m.v.front = FAR_XB_INITIALISING;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(a_bounced_screen_in_use_says_7_and_gets_a_2_to_wait_for)
{
    struct model m = { .v = view_of((struct seen){
                           .back = 4, .front = 4, .flags = SND }) };

    EXPECT(&m, "5 6", 6);
    m.v.front = FAR_XB_RECONFIGURING;
    EXPECT(&m, "2", 2);
    EXPECT(&m, "", 2);
    m.v.front = FAR_XB_INITIALISING;
    EXPECT(&m, "", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(a_predecessor_that_died_in_5_or_6_or_2_is_taken_up)
{
    struct model five = { .v =
                              view_of((struct seen){ .back = 5, .front = 4 }) };
    struct model six = { .v = view_of((struct seen){ .back = 6, .front = 6 }) };
    struct model two = { .v = view_of((struct seen){ .back = 2, .front = 1 }) };

    EXPECT(&five, "6", 6);
    EXPECT(&six, "", 6);
    six.v.closed_shown = true;
    EXPECT(&six, "2", 2);
    EXPECT(&two, "", 2);
    ck_assert(two.v.published);
}
END_TEST

START_TEST(our_own_state_rewritten_by_another_is_put_right)
{
    for (int back = 1; back <= 8; back++) {
        struct model m = connected(KBD);

        m.v.back = (enum far_xenbus_state)back;
        settle(&m);
        m.v.front = FAR_XB_CLOSED; /* where we closed, it does too */
        settle(&m);
        m.v.closed_shown = true;
        settle(&m);
        m.v.front = FAR_XB_CONNECTED;
        settle(&m);
        ck_assert_msg(m.v.back == 4 && m.v.connected, "from %d: %s", back,
                      m.trace);
    }
}
END_TEST

START_TEST(a_refusal_closes_and_stays_closed)
{
    struct model m = born(KBD);

    m.connect_fails = true;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "refuse 5 6", 6);
    for (int front = 0; front <= 8; front++) {
        m.v.front = (enum far_xenbus_state)front;
        EXPECT(&m, "", 6);
    }
}
END_TEST

START_TEST(attack_52_states_that_are_no_states)
{
    static const char *const texts[] = { "",   "abc", "-1", "99", "4 ", " 4",
                                         "04", "4x",  "0",  "9",  "+4", "4\n" };
    char huge[5121];

    memset(huge, '4', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        ck_assert_int_eq((int)far_xenbus_state_parse(texts[i]), 0);
    ck_assert_int_eq((int)far_xenbus_state_parse(huge), 0);
    ck_assert_int_eq((int)far_xenbus_state_parse(NULL), 0);
    for (int i = 1; i <= 8; i++) {
        char text[2] = { (char)('0' + i), '\0' };

        ck_assert_int_eq((int)far_xenbus_state_parse(text), i);
    }
}
END_TEST

START_TEST(attack_52_a_front_whose_state_is_nonsense_loses_its_device)
{
    struct model m = connected(KBD);

    m.v.front = FAR_XB_UNKNOWN;
    EXPECT(&m, "disconnect 6", 6);
    m.v.front = FAR_XB_CONNECTED; /* as if nothing had been */
    EXPECT(&m, "", 6);
    m.v.front = FAR_XB_INITIALISING; /* from the beginning */
    EXPECT(&m, "2", 2);
}
END_TEST

START_TEST(attack_52_a_deleted_front_is_let_go_and_a_new_one_taken)
{
    struct model m = connected(KBD);

    m.v.front = FAR_XB_UNKNOWN;
    m.v.front_exists = false;
    EXPECT(&m, "disconnect 6", 6);
    m.v.front_exists = true;
    m.v.front = FAR_XB_INITIALISING;
    EXPECT(&m, "2", 2);
    m.v.front = FAR_XB_INITIALISED;
    EXPECT(&m, "connect 4", 4);
}
END_TEST

START_TEST(attack_53_any_walk_of_a_front_settles_and_never_serves_unconnected)
{
    uint32_t seed = 12345;
    struct model m = connected(KBD);

    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525 + 1013904223;
        m.v.front = (enum far_xenbus_state)((seed >> 24) % 9);
        m.v.front_exists = (seed >> 8) % 16 != 0;
        if (!m.v.front_exists)
            m.v.front = FAR_XB_UNKNOWN;
        m.v.closed_shown |= seed & 1;
        settle(&m);
        ck_assert_msg((m.v.back == 4) == m.v.connected, "back %d after %s",
                      (int)m.v.back, m.trace);
    }
}
END_TEST

START_TEST(attack_59_our_nodes_deleted_in_mid_handshake)
{
    for (int step = 0; step < 3; step++) {
        struct model m = born(KBD);

        if (step > 0)
            EXPECT(&m, "2", 2);
        if (step > 1) {
            m.v.front = FAR_XB_INITIALISED;
            EXPECT(&m, "connect 4", 4);
        }
        m.v.back = FAR_XB_UNKNOWN;
        m.v.online = false;
        EXPECT(&m, step > 1 ? "disconnect forget" : "forget", 0);
    }
}
END_TEST

START_TEST(a_dead_domain_is_let_go_whatever_its_nodes_say)
{
    for (int back = 1; back <= 8; back++) {
        for (int front = 0; front <= 8; front++) {
            struct model m = { .v = view_of((struct seen){
                                   back, front, .connected = true,
                                   .domain_dead = true }) };

            settle(&m);
            ck_assert(m.forgotten && !m.v.connected);
        }
    }
}
END_TEST

START_TEST(every_view_settles)
{
    const uint32_t flags[] = { KBD, SND, DISK };

    for (int back = 0; back <= 8; back++) {
        for (int front = 0; front <= 8; front++) {
            for (unsigned bits = 0; bits < 4096 * 3; bits++) {
                struct model m = { .v = {
                                       .back = (enum far_xenbus_state)back,
                                       .front = (enum far_xenbus_state)front,
                                       .front_exists = bits & 1,
                                       .online = bits & 2,
                                       .domain_dead = bits & 4,
                                       .connected = bits & 8,
                                       .front_connected_seen = bits & 16,
                                       .adoptable = bits & 32,
                                       .device_ready = bits & 64,
                                       .published = bits & 128,
                                       .refused = bits & 256,
                                       .front_closed_seen = bits & 512,
                                       .closed_shown = bits & 1024,
                                       .flags = flags[bits >> 12],
                                   } };

                m.adopt_fails = bits & 2048;
                settle(&m);
            }
        }
    }
}
END_TEST

START_TEST(names_are_words)
{
    ck_assert_str_eq(far_xenbus_state_name(FAR_XB_CONNECTED), "Connected");
    ck_assert_str_eq(far_xenbus_state_name((enum far_xenbus_state)99),
                     "Unknown");
    ck_assert_str_eq(far_handshake_action_name(FAR_HS_ADOPT), "adopt");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_row_has_a_case,
        create_keyboard_goes_1_1_2_1_2_4_4_4,
        create_sound_goes_1_1_2_1_2_3_4_3_4_4,
        a_disk_is_not_connected_before_its_device_answers,
        a_keyboard_is_connected_though_its_device_is_not_there,
        a_front_that_was_at_4_before_we_came_is_connected,
        detach_of_keyboard_goes_to_6_at_once,
        detach_of_sound_goes_to_6_though_the_front_ignores_5,
        detach_of_a_disk_waits_for_the_front_to_write_out,
        destroy_goes_to_6_alone_as_the_front_is_gone,
        nothing_is_written_after_6_with_online_0,
        never_2_after_online_0,
        save_is_a_destroy_and_restore_a_create_without_requests,
        a_failed_migration_that_resumes_in_place_changes_nothing,
        front_restart_3_1_3,
        front_restart_4_3_is_seen_and_not_taken_for_the_way_to_4,
        front_4_4_is_nothing,
        front_6_3_a_driver_unloaded_and_loaded,
        front_6_3_faster_than_our_6_was_shown,
        front_3_1_3_4_3_and_6_3_a_thousand_times_end_connected,
        kexec_sees_5_then_6_then_2,
        kexec_with_a_disk_waits_for_its_io_before_6,
        a_successor_adopts_what_the_journal_knows,
        what_cannot_be_adopted_is_bounced_4_5_6_then_2_when_the_front_closed,
        an_adoption_that_fails_is_a_bounce,
        a_bounced_sound_front_comes_back_at_1,
        a_bounced_screen_in_use_says_7_and_gets_a_2_to_wait_for,
        a_predecessor_that_died_in_5_or_6_or_2_is_taken_up,
        our_own_state_rewritten_by_another_is_put_right,
        a_refusal_closes_and_stays_closed,
        attack_52_states_that_are_no_states,
        attack_52_a_front_whose_state_is_nonsense_loses_its_device,
        attack_52_a_deleted_front_is_let_go_and_a_new_one_taken,
        attack_53_any_walk_of_a_front_settles_and_never_serves_unconnected,
        attack_59_our_nodes_deleted_in_mid_handshake,
        a_dead_domain_is_let_go_whatever_its_nodes_say,
        every_view_settles,
        names_are_words,
    };
    Suite *suite = suite_create("handshake");
    TCase *tcase = tcase_create("handshake");

    tcase_add_loop_test(tcase, each_row_of_the_table_is_taken_by_its_own_case,
                        0, (int)ROWS);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
