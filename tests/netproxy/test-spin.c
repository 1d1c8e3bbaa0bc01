/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * When a connection is looked at instead of waited for: only while frames come
 * one soon after the other from another processor, for few at a time, not when
 * idle, and not when the configuration says no.
 */
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "netproxy/spin.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define ELSEWHERE 4095 /* no processor of ours */
#define SOON_NS   20000u
#define LATE_NS   (FAR_SPIN_SOON_US * 1000u)

static struct far_loop *loop;
static struct far_spin spin;
static uint64_t now_ns;

static void pin(pid_t pid, int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    ck_assert_int_eq(sched_setaffinity(pid, sizeof(set), &set), 0);
}

static bool finds_nothing(struct far_poller *poller)
{
    (void)poller;
    return false;
}

/* One whose peer runs there; it is not asked where for a while. */
static void begin(struct far_look *look, int peer_cpu)
{
    far_look_init(look, &spin, finds_nothing);
    look->peer_cpu = peer_cpu;
    look->where_ns = now_ns;
}

static void hear(struct far_look *look, unsigned times, uint64_t gap_ns)
{
    while (times--) {
        now_ns += gap_ns;
        look->where_ns = now_ns;
        far_look_heard(look, loop, -1, now_ns);
    }
}

static void setup(void)
{
    pin(0, sched_getcpu());
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    spin = (struct far_spin){ .allowed = true };
    now_ns = far_now_ns();
}

static void teardown(void)
{
    far_loop_free(loop);
}

START_TEST(what_comes_often_is_looked_at_until_it_comes_late)
{
    struct far_look look;

    begin(&look, ELSEWHERE);
    hear(&look, FAR_SPIN_SOON, SOON_NS); /* the first one is after nothing */
    ck_assert_uint_eq(spin.conns, 0);
    hear(&look, 1, SOON_NS);
    ck_assert_uint_eq(spin.conns, 1);
    hear(&look, 1, LATE_NS);
    ck_assert_uint_eq(spin.conns, 0);
    hear(&look, FAR_SPIN_SOON - 1, SOON_NS);
    ck_assert_uint_eq(spin.conns, 0);
    hear(&look, 1000, LATE_NS);
    ck_assert_uint_eq(spin.begun, 1);
}
END_TEST

START_TEST(a_peer_on_our_own_processor_is_waited_for)
{
    struct far_look here, unknown, moves;

    begin(&here, sched_getcpu());
    begin(&unknown, -1);
    begin(&moves, ELSEWHERE);
    hear(&here, 100, SOON_NS);
    hear(&unknown, 100, SOON_NS);
    ck_assert_uint_eq(spin.begun, 0);
    hear(&moves, 100, SOON_NS);
    ck_assert_uint_eq(spin.conns, 1);
    moves.peer_cpu = sched_getcpu();
    ck_assert(!far_look_worth(&moves));
    hear(&moves, 1, SOON_NS);
    ck_assert_uint_eq(spin.conns, 0);
}
END_TEST

START_TEST(it_is_let_be_when_the_loop_sleeps_all_the_same)
{
    struct far_look look;
    uint64_t spins;

    begin(&look, ELSEWHERE);
    hear(&look, 100, SOON_NS);
    ck_assert_uint_eq(spin.conns, 1);
    for (unsigned i = 0; i < 10000 && spin.conns; i++)
        far_loop_turn(loop, 2000);
    ck_assert_uint_eq(spin.conns, 0);
    ck_assert_uint_ge(far_loop_stats(loop)->sleeps, FAR_SPIN_VAIN);
    spins = far_loop_stats(loop)->spins;
    ck_assert_uint_ge(spins, 1);
    ck_assert_uint_le(spins, FAR_SPIN_VAIN);
    for (unsigned i = 0; i < 20; i++)
        far_loop_turn(loop, 2000);
    ck_assert_uint_eq(far_loop_stats(loop)->spins, spins);
    /* And again, when it is worth it. */
    hear(&look, 100, SOON_NS);
    ck_assert_uint_eq(spin.conns, 1);
    far_look_stop(&look);
    far_look_stop(&look);
    ck_assert_uint_eq(spin.conns, 0);
}
END_TEST

START_TEST(few_are_looked_at_however_many_there_are)
{
    struct far_look looks[3 * FAR_SPIN_CONNS_MAX];

    for (unsigned i = 0; i < 3 * FAR_SPIN_CONNS_MAX; i++) {
        begin(&looks[i], ELSEWHERE);
        hear(&looks[i], 100, SOON_NS);
    }
    ck_assert_uint_eq(spin.conns, FAR_SPIN_CONNS_MAX);
    far_look_stop(&looks[0]);
    ck_assert_uint_eq(spin.conns, FAR_SPIN_CONNS_MAX - 1);
    hear(&looks[7], FAR_SPIN_SOON + 1, SOON_NS);
    ck_assert_uint_eq(spin.conns, FAR_SPIN_CONNS_MAX);
    for (unsigned i = 0; i < 3 * FAR_SPIN_CONNS_MAX; i++)
        far_look_stop(&looks[i]);
    ck_assert_uint_eq(spin.conns, 0);
}
END_TEST

START_TEST(the_configuration_ends_it_at_once)
{
    struct far_look look;

    begin(&look, ELSEWHERE);
    hear(&look, 100, SOON_NS);
    ck_assert(far_look_worth(&look));
    spin.allowed = false;
    ck_assert(!far_look_worth(&look));
    hear(&look, 100, SOON_NS);
    ck_assert_uint_eq(spin.conns, 0);
    ck_assert_uint_eq(spin.begun, 1);
}
END_TEST

/* Two platforms, and a guest that never stops asking. */
static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;
static struct far_op op;
static unsigned asked;

static bool answered(void *arg)
{
    return ((struct guest *)arg)->completions != 0;
}

static void ask(unsigned times)
{
    while (times--) {
        op.sequence = ++asked;
        guest.completions = 0;
        ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, NULL),
                         FAR_LATER);
        ck_assert(rig_until(&rig, answered, &guest, 10000));
    }
}

static void platforms_begin(const char *spins)
{
    uint16_t port;

    asked = 0;
    op = (struct far_op){ .attachment = 1,
                          .slot = 3,
                          .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "atlas-keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n%s"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = atlas\n",
              spins, port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n[server borealis]\n"
              "address = 127.0.0.1:%u\npsk-file = %s/atlas-keys\n",
              port, rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
}

static void platforms_end(void)
{
    guest_detach(&guest);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}

/* -1: there is no such processor for us. */
static int processor(unsigned n)
{
    cpu_set_t set;

    ck_assert_int_eq(sched_getaffinity(getppid(), sizeof(set), &set), 0);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET((unsigned)i, &set) && !n--)
            return i;
    }
    return -1;
}

/* On a busy machine they are often late. */
static bool begins(void)
{
    for (int i = 0; i < 100; i++) {
        ask(200);
        if (proxy_number(&borealis, "spin.begun"))
            return true;
    }
    return false;
}

START_TEST(busy_peers_on_two_processors_spin_and_idle_ones_do_not)
{
    long long spins;

    if (processor(1) < 0)
        return;
    platforms_begin("");
    pin(atlas.pid, processor(0));
    pin(borealis.pid, processor(1));
    ck_assert(begins());
    ck_assert_int_gt(proxy_number(&borealis, "loop.spins"), 0);
    rig_turn(&rig, 300);
    ck_assert_int_eq(proxy_number(&borealis, "spin.connections"), 0);
    spins = proxy_number(&borealis, "loop.spins");
    rig_turn(&rig, 1500); /* with heartbeats, and our questions */
    ck_assert_int_eq(proxy_number(&borealis, "loop.spins"), spins);
    ask(100);
    platforms_end();
}
END_TEST

START_TEST(peers_on_one_processor_do_not_spin)
{
    platforms_begin("");
    pin(atlas.pid, processor(0));
    pin(borealis.pid, processor(0));
    rig_turn(&rig, 100);
    ask(2000);
    ck_assert_int_eq(proxy_number(&borealis, "spin.begun"), 0);
    ck_assert_int_eq(proxy_number(&atlas, "spin.begun"), 0);
    platforms_end();
}
END_TEST

START_TEST(nobody_spins_where_the_configuration_says_no)
{
    if (processor(1) < 0)
        return;
    platforms_begin("spin = off\n");
    pin(atlas.pid, processor(0));
    pin(borealis.pid, processor(1));
    ask(2000);
    ck_assert_int_eq(proxy_number(&borealis, "spin.begun"), 0);
    ck_assert_int_eq(proxy_number(&borealis, "loop.spins"), 0);
    platforms_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: spin");
    TCase *unit = tcase_create("unit"), *whole = tcase_create("whole");

    suite_add_tcase(suite, unit);
    tcase_add_checked_fixture(unit, setup, teardown);
    tcase_add_test(unit, what_comes_often_is_looked_at_until_it_comes_late);
    tcase_add_test(unit, a_peer_on_our_own_processor_is_waited_for);
    tcase_add_test(unit, it_is_let_be_when_the_loop_sleeps_all_the_same);
    tcase_add_test(unit, few_are_looked_at_however_many_there_are);
    tcase_add_test(unit, the_configuration_ends_it_at_once);
    suite_add_tcase(suite, whole);
    tcase_set_timeout(whole, 120);
    tcase_add_test(whole,
                   busy_peers_on_two_processors_spin_and_idle_ones_do_not);
    tcase_add_test(whole, peers_on_one_processor_do_not_spin);
    tcase_add_test(whole, nobody_spins_where_the_configuration_says_no);
    return suite_end(suite);
}
