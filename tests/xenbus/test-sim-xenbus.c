/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The wrappers of xenbus/ against a guest that may be hostile, in dom0 of a
 * simulated host. Started by sim-xenbus.test.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>
#include "core/clock.h"
#include "core/loop.h"
#include "tests/core/suite.h"
#include "tests/xenbus/puppet.h"
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/xs.h"

#define FLOOD 20000u
#define FRONT "/local/domain/%u/device/vkbd/0"

static struct far_loop *loop;
static struct far_xs *xs;
static struct far_grants *grants;
static struct puppet puppet;
static unsigned domid;

static void setup(void)
{
    struct far_xs_list list;

    loop = far_loop_new();
    xs = far_xs_open(loop, NULL, NULL);
    ck_assert_ptr_nonnull(xs);
    grants = far_grants_open();
    ck_assert_ptr_nonnull(grants);
    ck_assert_int_ge(far_xs_directory(xs, 0, &list, 10, "backend/vinput"), 1);
    ck_assert_int_eq(far_domid_parse(list.names[0], &domid), 0);
    far_xs_list_free(&list);
    puppet_start(&puppet, "atlas/g1");
}

static void teardown(void)
{
    puppet_kill(&puppet);
    far_grants_close(grants);
    far_xs_close(xs);
    far_loop_free(loop);
}

static void turn_for(uint64_t us)
{
    uint64_t end = far_now_us() + us, now;

    while ((now = far_now_us()) < end)
        ck_assert_int_ge(far_loop_turn(loop, end - now), 0);
}

static void turn_until(bool (*done)(void))
{
    uint64_t end = far_now_us() + 5000000;

    while (!done()) {
        ck_assert_msg(far_now_us() < end, "it never came");
        ck_assert_int_ge(far_loop_turn(loop, 100000), 0);
    }
}

/* ---- xenstore ------------------------------------------------------------ */

struct watched {
    struct far_xs_watch watch;
    unsigned called;
    char path[256];
    struct far_xs_watch *unwatch;
};

static struct watched w1, w2;

static void changed(struct far_xs_watch *watch, const char *path)
{
    struct watched *w = (struct watched *)watch;

    w->called++;
    snprintf(w->path, sizeof(w->path), "%s", path);
    if (w->unwatch)
        far_xs_unwatch(w->unwatch);
}

static bool w1_called(void)
{
    return w1.called > 0;
}

START_TEST(a_watch_fires_at_the_start_and_after_changes)
{
    ck_assert_int_eq(far_xs_write(xs, 0, "/test/a", "1"), 0);
    ck_assert_int_eq(far_xs_watch(xs, &w1.watch, changed, "/test"), 0);
    turn_until(w1_called);
    ck_assert_uint_eq(w1.called, 1);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(far_xs_write(xs, 0, "/test/b", "%d", i), 0);
    turn_for(50000);
    ck_assert_uint_ge(w1.called, 2);
    ck_assert_str_eq(w1.path, "/test/b");
    ck_assert(w1.watch.events == 11);
    w1.called = 0;
    far_xs_unwatch(&w1.watch);
    far_xs_unwatch(&w1.watch);
    far_xs_write(xs, 0, "/test/b", "x");
    turn_for(50000);
    ck_assert_uint_eq(w1.called, 0);
}
END_TEST

START_TEST(a_watch_may_be_removed_by_its_own_callback_and_by_another)
{
    ck_assert_int_eq(far_xs_watch(xs, &w1.watch, changed, "/test"), 0);
    ck_assert_int_eq(far_xs_watch(xs, &w2.watch, changed, "/test"), 0);
    turn_for(50000);
    w1.called = w2.called = 0;
    w1.unwatch = w2.unwatch = &w2.watch;
    far_xs_write(xs, 0, "/test/c", "1");
    turn_for(50000);
    ck_assert_uint_eq(w1.called, 1);
    ck_assert_uint_le(w2.called, 1);
    w1.unwatch = &w1.watch;
    far_xs_write(xs, 0, "/test/c", "2");
    turn_for(50000);
    ck_assert_uint_eq(w1.called, 2);
    far_xs_write(xs, 0, "/test/c", "3");
    turn_for(50000);
    ck_assert_uint_eq(w1.called, 2);
}
END_TEST

START_TEST(an_event_of_a_watch_that_went_does_not_reach_its_successor)
{
    struct watched other = { 0 };

    ck_assert_int_eq(far_xs_watch(xs, &w1.watch, changed, "/test"), 0);
    turn_until(w1_called);
    far_xs_write(xs, 0, "/test/d", "1"); /* queued and not yet seen */
    usleep(50000);
    far_xs_unwatch(&w1.watch);
    ck_assert_int_eq(far_xs_watch(xs, &other.watch, changed, "/elsewhere"), 0);
    turn_for(50000);
    ck_assert_uint_eq(other.called, 1);
    ck_assert(other.watch.events == 1); /* its own first one, no other */
    ck_assert_str_eq(other.path, "/elsewhere");
    far_xs_unwatch(&other.watch);
}
END_TEST

static char last_seen[16];

static void look(struct far_xs_watch *watch, const char *path)
{
    changed(watch, path);
    far_xs_read(xs, 0, last_seen, sizeof(last_seen), "%s", watch->path);
}

START_TEST(a_flood_of_writes_makes_few_calls)
{
    struct pollfd answer = { .fd = fileno(puppet.from), .events = POLLIN };
    char path[256], line[64], wanted[16];
    uint64_t start, us;
    unsigned quiet;

    snprintf(path, sizeof(path), FRONT "/state", domid);
    ck_assert_int_eq(far_xs_watch(xs, &w1.watch, look, "%s", path), 0);
    ck_assert_int_eq(far_xs_watch(xs, &w2.watch, changed, "/test"), 0);
    turn_until(w1_called);
    start = far_now_us();
    fprintf(puppet.to, "flood device/vkbd/0/state %u\n", FLOOD);
    fflush(puppet.to);
    while (poll(&answer, 1, 0) == 0)
        far_loop_turn(loop, 1000);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), puppet.from));
    ck_assert_str_eq(line, "ok flooded\n");
    us = far_now_us() - start;
    /* A watch beside it is served at once. */
    quiet = w2.called;
    far_xs_write(xs, 0, "/test/e", "1");
    turn_for(50000);
    ck_assert_uint_eq(w2.called, quiet + 1);
    fprintf(stderr, "%u writes in %llu ms: %llu events, %u calls\n", FLOOD,
            (unsigned long long)us / 1000, (unsigned long long)w1.watch.events,
            w1.called);
    /* xenstored itself drops what is the same as an event that waits. */
    ck_assert(w1.watch.events > FLOOD / 10);
    ck_assert_uint_le(w1.called, us / 10000 + 50);
    /* And what is there in the end was seen. */
    snprintf(wanted, sizeof(wanted), "%u", FLOOD - 1);
    ck_assert_str_eq(last_seen, wanted);
    ck_assert_int_eq(far_xs_write(xs, 0, path, "1"), 0);
}
END_TEST

struct conflict {
    struct far_xs *other;
    unsigned runs, disturb;
};

static int change(struct far_xs *x, far_xs_t t, void *arg)
{
    struct conflict *c = arg;
    char value[16];

    c->runs++;
    far_xs_read(x, t, value, sizeof(value), "/test/transaction");
    if (c->disturb) {
        c->disturb--;
        far_xs_write(c->other, 0, "/test/transaction", "%u", c->runs);
    }
    return far_xs_write(x, t, "/test/transaction", "mine");
}

START_TEST(a_transaction_is_tried_again_but_not_for_ever)
{
    struct conflict c = { .other = far_xs_open(NULL, NULL, NULL),
                          .disturb = 3 };
    char value[16];

    ck_assert_int_eq(far_xs_write(xs, 0, "/test/transaction", "0"), 0);
    ck_assert_int_eq(far_xs_transact(xs, change, &c), 0);
    ck_assert_uint_eq(c.runs, 4);
    far_xs_read(xs, 0, value, sizeof(value), "/test/transaction");
    ck_assert_str_eq(value, "mine");
    c.runs = 0;
    c.disturb = 1000;
    ck_assert_int_eq(far_xs_transact(xs, change, &c), -EAGAIN);
    ck_assert_uint_eq(c.runs, 16);
    far_xs_close(c.other);
}
END_TEST

static int give_up(struct far_xs *x, far_xs_t t, void *arg)
{
    (void)arg;
    ck_assert_int_eq(far_xs_write(x, t, "/test/given-up", "1"), 0);
    return -EPERM;
}

START_TEST(a_transaction_that_gives_up_leaves_nothing)
{
    char value[16];

    ck_assert_int_eq(far_xs_transact(xs, give_up, NULL), -EPERM);
    ck_assert_int_eq(far_xs_read(xs, 0, value, sizeof(value), "/test/given-up"),
                     -ENOENT);
}
END_TEST

START_TEST(a_node_is_read_whole_or_not_at_all)
{
    struct xs_handle *raw = xs_open(0);
    char value[8], big[2000];
    uint64_t number = 7;

    far_xs_write(xs, 0, "/test/long", "%s", "1234567");
    ck_assert_int_eq(far_xs_read(xs, 0, value, sizeof(value), "/test/long"), 7);
    far_xs_write(xs, 0, "/test/long", "%s", "12345678");
    ck_assert_int_eq(far_xs_read(xs, 0, value, sizeof(value), "/test/long"),
                     -E2BIG);
    ck_assert_str_eq(value, "");
    ck_assert(xs_write(raw, 0, "/test/zero", "4\0x", 3));
    ck_assert_int_eq(far_xs_read(xs, 0, value, sizeof(value), "/test/zero"),
                     -EINVAL);
    ck_assert_int_eq(far_xs_read_u64(xs, 0, &number, 100, "/test/zero"),
                     -EINVAL);
    ck_assert(number == 7);
    memset(big, '1', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    far_xs_write(xs, 0, "/test/big", "%s", big);
    ck_assert_int_eq(far_xs_read_u64(xs, 0, &number, UINT64_MAX, "/test/big"),
                     -EINVAL);
    ck_assert_int_eq(far_xs_read(xs, 0, value, sizeof(value), "/test/none"),
                     -ENOENT);
    ck_assert_int_eq(far_xs_read(xs, 0, value, sizeof(value), "/%s", big),
                     -ENAMETOOLONG);
    ck_assert_int_eq(far_xs_remove(xs, 0, "/test/none"), 0);
    xs_close(raw);
}
END_TEST

START_TEST(only_what_differs_is_written)
{
    ck_assert_int_eq(far_xs_write_if_new(xs, 0, "/test/new", "a"), 1);
    ck_assert_int_eq(far_xs_write_if_new(xs, 0, "/test/new", "a"), 0);
    ck_assert_int_eq(far_xs_write_if_new(xs, 0, "/test/new", "b"), 1);
}
END_TEST

START_TEST(a_list_is_bounded)
{
    struct far_xs_list list;

    for (int i = 0; i < 20; i++) {
        char path[64];

        snprintf(path, sizeof(path), "/test/list/%d", i);
        far_xs_write(xs, 0, path, "1");
    }
    ck_assert_int_eq(far_xs_directory(xs, 0, &list, 7, "/test/list"), 7);
    ck_assert(list.more);
    far_xs_list_free(&list);
    far_xs_list_free(&list);
    ck_assert_int_eq(far_xs_directory(xs, 0, &list, 7, "/none"), -ENOENT);
}
END_TEST

START_TEST(a_guest_reads_what_it_is_permitted_and_nothing_else)
{
    char path[256];

    snprintf(path, sizeof(path), "/test/for-%u", domid);
    far_xs_write(xs, 0, path, "secret");
    ck_assert_int_eq(puppet_fails(&puppet, "read %s", path), EACCES);
    ck_assert_int_eq(far_xs_permit(xs, 0, path, 0, domid), 0);
    ck_assert_str_eq(puppet_do(&puppet, "read %s", path), "secret");
    ck_assert_int_eq(puppet_fails(&puppet, "write %s x", path), EACCES);
    ck_assert_uint_eq(far_xs_own_domid(xs), 0);
}
END_TEST

/* ---- event channels ------------------------------------------------------ */

struct counted {
    struct far_evtchn evtchn;
    unsigned fired;
    enum far_evtchn_verdict verdict;
    void (*also)(struct counted *);
    bool heap;
};

static struct far_evtchns *channels;
static struct counted c1;

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct counted *c = (struct counted *)evtchn;
    enum far_evtchn_verdict verdict = c->verdict;

    c->fired++;
    if (c->also)
        c->also(c);
    return verdict;
}

static bool c1_fired(void)
{
    return c1.fired > 0;
}

static uint32_t offered(unsigned *n)
{
    unsigned port;

    ck_assert_int_eq(sscanf(puppet_do(&puppet, "offer 0"), "%u %u", n, &port),
                     2);
    return port;
}

/* Bound, with the event of the binding itself over. */
static void bind_c1(unsigned *n)
{
    uint32_t port = offered(n);

    channels = far_evtchns_open(loop, domid);
    ck_assert_ptr_nonnull(channels);
    ck_assert_int_eq(far_evtchn_bind(channels, &c1.evtchn, port, fired), 0);
    ck_assert_uint_eq(c1.evtchn.remote_port, port);
    turn_for(20000);
    c1.fired = 0;
}

START_TEST(an_event_comes_and_goes_both_ways)
{
    unsigned n;

    bind_c1(&n);
    puppet_do(&puppet, "fired %u", n);
    puppet_do(&puppet, "notify %u", n);
    turn_until(c1_fired);
    turn_for(20000);
    ck_assert_uint_eq(c1.fired, 1);
    ck_assert_int_eq(far_evtchn_notify(&c1.evtchn), 0);
    usleep(50000);
    ck_assert_str_eq(puppet_do(&puppet, "fired %u", n), "1");
    far_evtchn_unbind(&c1.evtchn);
    far_evtchn_unbind(&c1.evtchn);
    ck_assert_int_eq(far_evtchn_notify(&c1.evtchn), -ENOTCONN);
    far_evtchns_close(channels);
}
END_TEST

START_TEST(a_broken_port_stays_silent)
{
    unsigned n;

    bind_c1(&n);
    c1.verdict = FAR_EVTCHN_BROKEN;
    puppet_do(&puppet, "notify %u", n);
    turn_until(c1_fired);
    puppet_do(&puppet, "notify %u 100000", n);
    turn_for(400000);
    ck_assert_uint_eq(c1.fired, 1);
    far_evtchns_close(channels);
}
END_TEST

START_TEST(events_for_nothing_are_paused_and_an_end_is_made_of_the_pause)
{
    uint64_t end;
    unsigned n;

    bind_c1(&n);
    c1.verdict = FAR_EVTCHN_SPURIOUS;
    end = far_now_us() + 1000000;
    while (far_now_us() < end) {
        puppet_do(&puppet, "notify %u 100", n);
        far_loop_turn(loop, 0);
    }
    /* 1 free, then after 1, 2, 4 … 250, 250 ms */
    ck_assert_uint_ge(c1.fired, 8);
    ck_assert_uint_le(c1.fired, 14);
    /* Work ends the pause at once. */
    c1.verdict = FAR_EVTCHN_WORKED;
    turn_for(300000);
    c1.fired = 0;
    for (int i = 0; i < 20; i++) {
        puppet_do(&puppet, "notify %u", n);
        turn_for(1000);
    }
    ck_assert_uint_eq(c1.fired, 20);
    far_evtchns_close(channels);
}
END_TEST

START_TEST(a_port_that_is_not_for_us_is_refused)
{
    static const uint32_t bad[] = { 0, 4000, 0x7fffffff, 0x80000000,
                                    0xffffffff };
    unsigned n;
    uint32_t port = offered(&n);

    channels = far_evtchns_open(loop, domid);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_lt(far_evtchn_bind(channels, &c1.evtchn, bad[i], fired),
                         0);
        ck_assert_uint_eq(c1.evtchn.local_port, 0);
        far_evtchn_unbind(&c1.evtchn);
    }
    ck_assert_int_eq(far_evtchn_bind(channels, &c1.evtchn, port, fired), 0);
    ck_assert_int_lt(
        far_evtchn_bind(channels, &(struct far_evtchn){ 0 }, port, fired), 0);
    far_evtchns_close(channels);
}
END_TEST

START_TEST(a_successor_binds_the_port_that_we_let_go)
{
    unsigned n;

    bind_c1(&n);
    for (int i = 0; i < 5; i++) {
        uint32_t port = c1.evtchn.remote_port;

        far_evtchns_close(channels);
        ck_assert_uint_eq(c1.evtchn.local_port, 0);
        channels = far_evtchns_open(loop, domid);
        ck_assert_int_eq(far_evtchn_bind(channels, &c1.evtchn, port, fired), 0);
    }
    turn_for(20000);
    c1.fired = 0;
    puppet_do(&puppet, "notify %u", n);
    turn_until(c1_fired);
    far_evtchns_close(channels);
}
END_TEST

START_TEST(each_of_forty_ports_reaches_its_own_handler)
{
    struct counted many[40] = { 0 };
    unsigned n[40];

    channels = far_evtchns_open(loop, domid);
    for (int i = 0; i < 40; i++) {
        uint32_t port = offered(&n[i]);

        ck_assert_int_eq(
            far_evtchn_bind(channels, &many[i].evtchn, port, fired), 0);
    }
    turn_for(50000);
    for (int i = 0; i < 40; i++)
        many[i].fired = 0;
    for (int i = 0; i < 40; i += 3)
        puppet_do(&puppet, "notify %u", n[i]);
    far_evtchn_unbind(&many[3].evtchn); /* has fired already */
    turn_for(50000);
    for (int i = 0; i < 40; i++)
        ck_assert_uint_eq(many[i].fired, i % 3 == 0 && i != 3);
    far_evtchns_close(channels);
    for (int i = 0; i < 40; i++)
        ck_assert_uint_eq(many[i].evtchn.local_port, 0);
}
END_TEST

static void also_unbind(struct counted *c)
{
    far_evtchn_unbind(&c->evtchn);
    if (c->heap) {
        memset(c, 0xee, sizeof(*c));
        free(c);
    }
}

static void also_close(struct counted *c)
{
    (void)c;
    far_evtchns_close(channels);
}

START_TEST(a_handler_may_unbind_free_and_close)
{
    struct counted *heap = calloc(1, sizeof(*heap));
    unsigned n, m;
    uint32_t port;

    bind_c1(&n);
    heap->heap = true;
    port = offered(&m);
    ck_assert_int_eq(far_evtchn_bind(channels, &heap->evtchn, port, fired), 0);
    heap->also = also_unbind; /* at the binding's own event */
    turn_for(20000);
    c1.also = also_close;
    puppet_do(&puppet, "notify %u", n);
    turn_until(c1_fired);
    turn_for(20000);
    ck_assert_uint_eq(c1.evtchn.local_port, 0);
}
END_TEST

/* ---- grants -------------------------------------------------------------- */

START_TEST(pages_are_mapped_in_a_row)
{
    struct far_grant_quota quota = { .pages_max = 4 };
    struct far_grant_map map;
    unsigned n, refs[3];

    ck_assert_int_eq(sscanf(puppet_do(&puppet, "share 0 3 rw"), "%u %u %u %u",
                            &n, &refs[0], &refs[1], &refs[2]),
                     4);
    for (unsigned i = 0; i < 3; i++)
        puppet_do(&puppet, "fill %u %u %u", n, i, 10 + i);
    ck_assert_int_eq(far_grant_map(grants, &map, domid, refs, 3, true, &quota),
                     0);
    ck_assert_uint_eq(quota.pages, 3);
    for (unsigned i = 0; i < 3 * FAR_PAGE_BYTES; i++)
        ck_assert_uint_eq(((uint8_t *)map.memory)[i], 10 + i / FAR_PAGE_BYTES);
    ((uint8_t *)map.memory)[FAR_PAGE_BYTES + 5] = 99;
    ck_assert_str_eq(puppet_do(&puppet, "peek %u %u", n, FAR_PAGE_BYTES + 5),
                     "99");
    far_grant_unmap(&map);
    far_grant_unmap(&map);
    ck_assert_uint_eq(quota.pages, 0);
}
END_TEST

START_TEST(a_guest_has_no_more_pages_mapped_than_its_quota)
{
    struct far_grant_quota quota = { .pages_max = 4 };
    struct far_grant_map one, two;
    unsigned n, r[3];

    sscanf(puppet_do(&puppet, "share 0 3 rw"), "%u %u %u %u", &n, &r[0], &r[1],
           &r[2]);
    ck_assert_int_eq(far_grant_map(grants, &one, domid, r, 3, true, &quota), 0);
    ck_assert_int_eq(far_grant_map(grants, &two, domid, r, 2, true, &quota),
                     -EDQUOT);
    ck_assert_ptr_null(two.memory);
    ck_assert_int_eq(far_grant_map(grants, &two, domid, r, 1, true, &quota), 0);
    ck_assert_uint_eq(quota.pages, 4);
    far_grant_unmap(&one);
    far_grant_unmap(&two);
    ck_assert_uint_eq(quota.pages, 0);
}
END_TEST

START_TEST(all_pages_are_mapped_or_none)
{
    struct far_grant_quota quota = { .pages_max = 100 };
    struct far_grant_map map;
    unsigned n, r[3], bad[3];

    sscanf(puppet_do(&puppet, "share 0 3 rw"), "%u %u %u %u", &n, &r[0], &r[1],
           &r[2]);
    for (unsigned k = 0; k < 3; k++) {
        memcpy(bad, r, sizeof(bad));
        bad[k] = 400000;
        ck_assert_int_lt(
            far_grant_map(grants, &map, domid, bad, 3, true, &quota), 0);
        ck_assert_ptr_null(map.memory);
        ck_assert_uint_eq(quota.pages, 0);
        far_grant_unmap(&map);
    }
}
END_TEST

START_TEST(a_grant_that_is_not_ours_is_refused)
{
    struct far_grant_quota quota = { .pages_max = 100 };
    struct far_grant_map map;
    unsigned n, r;
    uint32_t bad[] = { 0, 1, 7, 300, 0x7fffffff, 0xffffffff };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_int_lt(
            far_grant_map(grants, &map, domid, &bad[i], 1, true, &quota), 0);
    sscanf(puppet_do(&puppet, "share 77 1 rw"), "%u %u", &n, &r);
    ck_assert_int_lt(far_grant_map(grants, &map, domid, &r, 1, true, &quota),
                     0);
    sscanf(puppet_do(&puppet, "share 0 1 ro"), "%u %u", &n, &r);
    ck_assert_int_lt(far_grant_map(grants, &map, domid, &r, 1, true, &quota),
                     0);
    ck_assert_int_eq(far_grant_map(grants, &map, domid, &r, 1, false, &quota),
                     0);
    far_grant_unmap(&map);
    sscanf(puppet_do(&puppet, "share 0 1 rw"), "%u %u", &n, &r);
    puppet_do(&puppet, "unshare %u", n);
    ck_assert_int_lt(far_grant_map(grants, &map, domid, &r, 1, true, &quota),
                     0);
    ck_assert_int_eq(far_grant_map(grants, &map, domid, &r, 0, true, &quota),
                     -EINVAL);
    ck_assert_uint_eq(quota.pages, 0);
}
END_TEST

START_TEST(a_map_outlives_its_grant_and_its_guest)
{
    struct far_grant_map map;
    unsigned n, r;

    sscanf(puppet_do(&puppet, "share 0 1 rw"), "%u %u", &n, &r);
    puppet_do(&puppet, "fill %u 0 42", n);
    ck_assert_int_eq(far_grant_map(grants, &map, domid, &r, 1, true, NULL), 0);
    puppet_do(&puppet, "unshare %u", n);
    ck_assert_uint_eq(((uint8_t *)map.memory)[0], 42);
    puppet_kill(&puppet);
    puppet_start(&puppet, "atlas/g1");
    ((uint8_t *)map.memory)[0] = 1; /* still a page, nobody's */
    far_grant_unmap(&map);
}
END_TEST

/* ---- the end ------------------------------------------------------------- */

static unsigned lost_calls;

static void lost(struct far_xs *x, void *arg)
{
    (void)x;
    ck_assert_ptr_eq(arg, &lost_calls);
    lost_calls++;
}

static bool is_lost(void)
{
    return lost_calls > 0;
}

START_TEST(the_loss_of_xenstored_is_noticed_while_nothing_happens)
{
    struct far_xs *x;
    char path[256];
    FILE *f;
    int pid;

    /* A host of its own, whose xenstored may die. */
    ck_assert_int_eq(sim_do("up borealis"), 0);
    f = popen("\"$FARSIDE_SIM\" list | "
              "sed -n 's/^borealis: xenstored \\([0-9]*\\).*/\\1/p'",
              "r");
    ck_assert_int_eq(fscanf(f, "%d", &pid), 1);
    pclose(f);
    snprintf(path, sizeof(path), "%s/borealis/xenstored/socket",
             getenv("FARSIDE_SIM_DIR"));
    setenv("XENSTORED_PATH", path, 1);
    x = far_xs_open(loop, lost, &lost_calls);
    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(far_xs_watch(x, &w1.watch, changed, "/local"), 0);
    turn_until(w1_called);
    ck_assert(!far_xs_is_lost(x));
    kill(pid, SIGKILL);
    turn_until(is_lost);
    ck_assert(far_xs_is_lost(x));
    turn_for(50000);
    ck_assert_uint_eq(lost_calls, 1);
    ck_assert_int_lt(far_xs_write(x, 0, "/test/lost", "1"), 0);
    far_xs_unwatch(&w1.watch);
    far_xs_close(x);
    sim_do("down borealis");
}
END_TEST

static TCase *tcase_of(const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("xenbus on the simulator");
    TCase *store = tcase_of("xenstore"), *events = tcase_of("event channels"),
          *pages = tcase_of("grants"), *end = tcase_of("loss");

    tcase_add_test(store, a_watch_fires_at_the_start_and_after_changes);
    tcase_add_test(store,
                   a_watch_may_be_removed_by_its_own_callback_and_by_another);
    tcase_add_test(store,
                   an_event_of_a_watch_that_went_does_not_reach_its_successor);
    tcase_add_test(store, a_flood_of_writes_makes_few_calls);
    tcase_add_test(store, a_transaction_is_tried_again_but_not_for_ever);
    tcase_add_test(store, a_transaction_that_gives_up_leaves_nothing);
    tcase_add_test(store, a_node_is_read_whole_or_not_at_all);
    tcase_add_test(store, only_what_differs_is_written);
    tcase_add_test(store, a_list_is_bounded);
    tcase_add_test(store, a_guest_reads_what_it_is_permitted_and_nothing_else);
    suite_add_tcase(suite, store);
    tcase_add_test(events, an_event_comes_and_goes_both_ways);
    tcase_add_test(events, a_broken_port_stays_silent);
    tcase_add_test(
        events, events_for_nothing_are_paused_and_an_end_is_made_of_the_pause);
    tcase_add_test(events, a_port_that_is_not_for_us_is_refused);
    tcase_add_test(events, a_successor_binds_the_port_that_we_let_go);
    tcase_add_test(events, each_of_forty_ports_reaches_its_own_handler);
    tcase_add_test(events, a_handler_may_unbind_free_and_close);
    suite_add_tcase(suite, events);
    tcase_add_test(pages, pages_are_mapped_in_a_row);
    tcase_add_test(pages, a_guest_has_no_more_pages_mapped_than_its_quota);
    tcase_add_test(pages, all_pages_are_mapped_or_none);
    tcase_add_test(pages, a_grant_that_is_not_ours_is_refused);
    tcase_add_test(pages, a_map_outlives_its_grant_and_its_guest);
    suite_add_tcase(suite, pages);
    tcase_add_test(end, the_loss_of_xenstored_is_noticed_while_nothing_happens);
    suite_add_tcase(suite, end);
    return suite_end(suite);
}
