/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An owner behind a relay that does not read: borealis passes on disks of
 * cygnus, which is stopped, and one of delphi. What atlas' guests do on
 * delphi's goes on, though it comes over the same connection as what waits for
 * cygnus; in the end that is done too, once. Then the accounting by itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "netproxy/flow.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define KEY(n) n ":00112233445566778899aabbccddeeff\n"

#define BYTES  far_class_payload_bytes(FAR_CLASS_BLOCK)
#define USERS  4u /* of the slow disk: more than sockets hold */
#define WRITES FAR_WIRE_SLOTS_MAX

static struct rig rig;
static struct proxy atlas, borealis, cygnus, delphi;
static struct guest slow[USERS], quick;
static uint8_t payload[256 << 10];
static uint64_t sequence;

static void configure_owner(const char *name, const char *disk, uint16_t port)
{
    char file[32];

    snprintf(file, sizeof(file), "%s.conf", name);
    rig_write(&rig, file,
              "[platform]\nname = %s\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device %s]\ntype = memory\nsize = 16\n"
              "[export %s]\nallow = atlas\n"
              "[relay borealis]\nmay-carry = atlas\nsigned = off\n",
              name, port, rig.dir, disk, disk);
}

static void open_disk(struct guest *g, unsigned n, const char *disk)
{
    g->class = FAR_CLASS_BLOCK;
    guest_open(g, &rig, "atlas", n, "borealis", disk);
    guest_wait_ready(g);
}

static void setup(void)
{
    uint16_t ports[3];

    memset(slow, 0, sizeof(slow));
    memset(&quick, 0, sizeof(quick));
    sequence = 0;
    rig_begin(&rig);
    for (unsigned i = 0; i < 3; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys",
              KEY("atlas") KEY("borealis") KEY("cygnus") KEY("delphi"));
    configure_owner("cygnus", "disk0", ports[1]);
    configure_owner("delphi", "disk1", ports[2]);
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server delphi]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[export disk0]\nforward = cygnus/disk0\nallow = atlas\n"
              "[export disk1]\nforward = delphi/disk1\nallow = atlas\n",
              ports[0], rig.dir, ports[1], rig.dir, ports[2], rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              ports[0], rig.dir);
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&delphi, &rig, "delphi");
    proxy_start(&borealis, &rig, "borealis");
    proxy_wait_text(&borealis, "links.0.state", "up");
    proxy_wait_text(&borealis, "links.1.state", "up");
    proxy_start(&atlas, &rig, "atlas");
    for (unsigned i = 0; i < USERS; i++)
        open_disk(&slow[i], i, "disk0");
    open_disk(&quick, USERS, "disk1");
}

static void teardown(void)
{
    guest_detach(&quick);
    for (unsigned i = 0; i < USERS; i++)
        guest_detach(&slow[i]);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    proxy_kill(&delphi, SIGTERM);
    proxy_kill(&cygnus, SIGTERM);
    rig_end(&rig);
}

static void write_block(struct guest *g, unsigned slot)
{
    struct far_block_args a = { .offset_bytes = (uint64_t)slot * BYTES,
                                .length_bytes = BYTES };
    struct far_op op = { .sequence = ++sequence,
                         .slot = slot,
                         .opcode = FAR_BLOCK_WRITE,
                         .flags = FAR_OP_SENDS,
                         .payload_bytes = BYTES };

    memcpy(op.args, &a, sizeof(a));
    ck_assert_int_eq(far_layer_submit(g->layer.below, &op, payload), FAR_LATER);
}

static void fill_slow(void)
{
    for (unsigned i = 0; i < USERS; i++)
        for (unsigned slot = 0; slot < WRITES; slot++)
            write_block(&slow[i], slot);
}

/* That wait at the relay for cygnus. */
static long long waiting(void)
{
    long long sum = 0;
    char path[64];

    for (unsigned i = 0; i < USERS + 1; i++) {
        snprintf(path, sizeof(path), "routes.%u.owner_waiting_bytes", i);
        sum += proxy_number(&borealis, path);
    }
    return sum;
}

static bool is_waiting(void *arg)
{
    (void)arg;
    return waiting() > 0;
}

static bool quick_has(void *arg)
{
    return quick.completions >= *(unsigned *)arg;
}

static bool slow_have(void *arg)
{
    for (unsigned i = 0; i < USERS; i++)
        if (slow[i].completions < *(unsigned *)arg)
            return false;
    return true;
}

/* Something is written at delphi while cygnus, which is stopped, has not taken
 * all. False: that was given up meanwhile, as one that is silent; on a busy
 * machine that can come first. */
static bool quick_overtakes(void)
{
    unsigned want = quick.completions + 1;
    bool waits;

    ck_assert_int_eq(kill(cygnus.pid, SIGSTOP), 0);
    fill_slow();
    waits = rig_until(&rig, is_waiting, NULL, 1000);
    write_block(&quick, 0);
    return waits && rig_until(&rig, quick_has, &want, 1000) && waiting() > 0;
}

START_TEST(an_owner_that_does_not_read_holds_up_no_other_owner)
{
    unsigned rounds = 0, all;
    bool overtaken = false;

    while (!overtaken) {
        ck_assert_msg(rounds++ < 10, "it never happened");
        overtaken = quick_overtakes();
        ck_assert_int_eq(kill(cygnus.pid, SIGCONT), 0);
        all = rounds * WRITES;
        ck_assert(rig_until(&rig, slow_have, &all, 60000));
        ck_assert(rig_until(&rig, quick_has, &(unsigned){ rounds }, 10000));
    }
    rig_turn(&rig, 100);
    for (unsigned i = 0; i < USERS; i++) {
        ck_assert_uint_eq(slow[i].completions, rounds * WRITES);
        ck_assert_int_eq(slow[i].completed.status, 0);
    }
    ck_assert_int_eq(waiting(), 0);
}
END_TEST

/* ---- the accounting ---- */

START_TEST(what_waits_for_an_owner_is_bounded_for_each_and_for_all)
{
    struct far_wire_header header = { .type = FAR_WIRE_DATA };
    struct far_flow_total total = { 0 };
    struct far_flow flows[5];

    for (unsigned i = 0; i < 5; i++) {
        far_flow_init(&flows[i], &total);
        while (!far_flow_keep(&flows[i], &flows[i].late, &header, payload, 24,
                              payload, 32768))
            ;
        ck_assert_uint_le(far_buf_used(&flows[i].late), FAR_FLOW_LATE_BYTES);
        ck_assert_uint_le(total.late_bytes, FAR_FLOW_PEER_QUEUE_BYTES);
        /* An honest one's writes have room in it, twice. */
        if (i == 0)
            ck_assert_uint_gt(far_buf_used(&flows[i].late), 2 * WRITES * BYTES);
    }
    ck_assert_uint_gt(total.late_bytes, FAR_FLOW_PEER_QUEUE_BYTES - 40000);
    for (unsigned i = 0; i < 5; i++)
        far_flow_clear(&flows[i]);
    ck_assert_uint_eq(total.late_bytes, 0);
    ck_assert_uint_eq(total.queued_bytes, 0);
    ck_assert_uint_eq(total.holding, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: a slow owner");
    TCase *c = tcase_create("owner"), *flow = tcase_create("flow");

    tcase_set_timeout(c, 300);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, an_owner_that_does_not_read_holds_up_no_other_owner);
    suite_add_tcase(suite, c);
    tcase_set_timeout(flow, 60);
    tcase_add_test(flow,
                   what_waits_for_an_owner_is_bounded_for_each_and_for_all);
    suite_add_tcase(suite, flow);
    return suite_end(suite);
}
