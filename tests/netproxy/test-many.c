/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two client platforms with four guests each, two server platforms with two
 * disks each: every request reaches the device that it names, every answer the
 * guest that asked, and what happens to one platform is nothing to the other.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "devices/ledger.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define GUESTS 4u
#define OPS    16u
#define BYTES  512u

/* A guest's disk: what a port would be. */
struct disk {
    struct far_layer layer;
    unsigned platform, guest;
    char server[16], device[16];
    enum far_device_state state;
    unsigned states, completions;
    uint64_t sequences[FAR_OP_SLOTS_MAX];
    char bytes[OPS][BYTES];
    uint64_t at[OPS];
    int32_t status[OPS];
};

static const char *const clients[] = { "atlas", "cygnus" };
static const char *const servers[] = { "borealis", "dione" };
static struct rig rig;
static struct proxy proxies[4]; /* the clients', the servers' */
static struct far_local_client *backends[2];
static struct disk disks[2][GUESTS];

static void on_complete(struct far_layer *layer, const struct far_op *op)
{
    struct disk *d = (struct disk *)layer;
    struct far_block_args a;

    ck_assert_uint_lt(op->slot, OPS);
    ck_assert_uint_eq(op->sequence, d->sequences[op->slot]);
    memcpy(&a, op->args, sizeof(a));
    d->at[op->slot] = a.offset_bytes;
    d->status[op->slot] = op->status;
    d->completions++;
}

static void on_state(struct far_layer *layer, enum far_device_state state,
                     const struct far_layer_news *news)
{
    struct disk *d = (struct disk *)layer;

    (void)news;
    d->state = state;
    d->states++;
}

static void attach(struct disk *d)
{
    static const struct far_layer_ops ops = { .name = "disk",
                                              .complete = on_complete,
                                              .state = on_state };
    struct far_local_who who = { .attachment = 1 + d->guest,
                                 .class = FAR_CLASS_BLOCK };
    struct far_error error;
    struct far_layer *below;

    d->layer.ops = &ops;
    /* Guests of two platforms may have the same name, and number here. */
    who.guest_uuid[0] = (uint8_t)(1 + d->platform);
    who.guest_uuid[1] = (uint8_t)(1 + d->guest);
    snprintf(who.guest_name, sizeof(who.guest_name), "guest%u", d->guest);
    snprintf(who.platform, sizeof(who.platform), "%s", d->server);
    snprintf(who.device, sizeof(who.device), "%s", d->device);
    ck_assert_int_eq(
        far_local_client_open(backends[d->platform], &who, &below, &error), 0);
    far_layer_stack(&d->layer, below);
    far_layer_activate(below, 0, 0);
}

/* What it appends says whose it is, and where it is to go. */
static void append_all(struct disk *d)
{
    d->completions = 0;
    for (unsigned i = 0; i < OPS; i++) {
        struct far_block_args a = { .length_bytes = BYTES };
        struct far_op op = { .slot = i,
                             .sequence = ++d->sequences[i],
                             .opcode = FAR_BLOCK_APPEND,
                             .flags = FAR_OP_SENDS,
                             .payload_bytes = BYTES };

        memcpy(op.args, &a, sizeof(a));
        snprintf(d->bytes[i], BYTES, "%s guest%u %s/%s", clients[d->platform],
                 d->guest, d->server, d->device);
        ck_assert_int_eq(far_layer_submit(d->layer.below, &op, d->bytes[i]),
                         FAR_LATER);
    }
}

static void read_all(struct disk *d)
{
    d->completions = 0;
    for (unsigned i = 0; i < OPS; i++) {
        struct far_block_args a = { .offset_bytes = d->at[i],
                                    .length_bytes = BYTES };
        struct far_op op = { .slot = i,
                             .sequence = ++d->sequences[i],
                             .opcode = FAR_BLOCK_READ,
                             .flags = FAR_OP_RECEIVES,
                             .payload_bytes = BYTES };

        memcpy(op.args, &a, sizeof(a));
        memset(d->bytes[i], 0, BYTES);
        ck_assert_int_eq(far_layer_submit(d->layer.below, &op, d->bytes[i]),
                         FAR_LATER);
    }
}

static bool all_done(void *arg)
{
    const struct disk *d = arg;

    return d->completions == OPS;
}

static void wait_done(struct disk *d)
{
    ck_assert_msg(rig_until(&rig, all_done, d, 10000),
                  "%s guest%u: only %u of its ops were answered",
                  clients[d->platform], d->guest, d->completions);
    for (unsigned i = 0; i < OPS; i++)
        ck_assert_int_eq(d->status[i], 0);
}

static void setup(void)
{
    uint16_t ports[2] = { rig_port(), rig_port() };
    char name[32], path[128];

    memset(disks, 0, sizeof(disks));
    memset(proxies, 0, sizeof(proxies));
    rig_begin(&rig);
    rig_write(&rig, "keys",
              "atlas:00112233445566778899aabbccddeeff\n"
              "cygnus:ffeeddccbbaa99887766554433221100\n");
    for (unsigned i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "%s.conf", servers[i]);
        rig_write(&rig, name,
                  "[platform]\nname = %s\n"
                  "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
                  "[device disk0]\ntype = ledger\npath = %s/%s-disk0\n"
                  "[device disk1]\ntype = ledger\npath = %s/%s-disk1\n"
                  "[export disk0]\nallow = atlas cygnus\n"
                  "[export disk1]\nallow = atlas cygnus\n",
                  servers[i], ports[i], rig.dir, rig.dir, servers[i], rig.dir,
                  servers[i]);
        proxy_start(&proxies[2 + i], &rig, servers[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "%s.conf", clients[i]);
        rig_write(&rig, name,
                  "[platform]\nname = %s\n"
                  "[server borealis]\naddress = 127.0.0.1:%u\n"
                  "psk-file = %s/keys\n"
                  "[server dione]\naddress = 127.0.0.1:%u\n"
                  "psk-file = %s/keys\n",
                  clients[i], ports[0], rig.dir, ports[1], rig.dir);
        proxy_start(&proxies[i], &rig, clients[i]);
        snprintf(path, sizeof(path), "%s/%s/devices.sock", rig.dir, clients[i]);
        backends[i] = far_local_client_new(rig.loop, NULL, path, clients[i]);
        for (unsigned g = 0; g < GUESTS; g++) {
            struct disk *d = &disks[i][g];

            d->platform = i;
            d->guest = g;
            snprintf(d->server, sizeof(d->server), "%s", servers[g & 1]);
            snprintf(d->device, sizeof(d->device), "disk%u", g >> 1);
            attach(d);
        }
    }
}

static void teardown(void)
{
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned g = 0; g < GUESTS; g++)
            far_layer_close(disks[i][g].layer.below);
        rig_turn(&rig, 20);
        far_local_client_free(backends[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        if (proxies[i].pid)
            proxy_kill(&proxies[i], SIGTERM);
    rig_end(&rig);
}

/* All records of one device are those of the guests that named it. */
static unsigned judge(const char *server, const char *device)
{
    struct far_ledger_record r;
    char path[128], bytes[BYTES], platform[16], where[40], wants[40];
    unsigned guest, n = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s-%s", rig.dir, server, device);
    snprintf(wants, sizeof(wants), "%s/%s", server, device);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    while (fread(&r, sizeof(r), 1, f) == 1) {
        ck_assert_uint_eq(r.bytes, BYTES);
        ck_assert_uint_eq(fread(bytes, BYTES, 1, f), 1);
        ck_assert_int_eq(
            sscanf(bytes, "%15s guest%u %39s", platform, &guest, where), 3);
        ck_assert_str_eq(where, wants);
        ck_assert_str_eq(platform, clients[r.guest_uuid[0] - 1]);
        ck_assert_uint_eq(guest, r.guest_uuid[1] - 1u);
        n++;
    }
    fclose(f);
    return n;
}

START_TEST(requests_reach_the_device_they_name_and_answers_the_guest_that_asked)
{
    char wants[BYTES];

    for (unsigned i = 0; i < 2; i++)
        for (unsigned g = 0; g < GUESTS; g++)
            append_all(&disks[i][g]);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned g = 0; g < GUESTS; g++)
            wait_done(&disks[i][g]);
    for (unsigned s = 0; s < 2; s++) {
        ck_assert_uint_eq(judge(servers[s], "disk0"), 2 * OPS);
        ck_assert_uint_eq(judge(servers[s], "disk1"), 2 * OPS);
    }
    for (unsigned i = 0; i < 2; i++)
        for (unsigned g = 0; g < GUESTS; g++)
            read_all(&disks[i][g]);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned g = 0; g < GUESTS; g++) {
            const struct disk *d = &disks[i][g];

            wait_done(&disks[i][g]);
            snprintf(wants, sizeof(wants), "%s guest%u %s/%s", clients[i], g,
                     d->server, d->device);
            for (unsigned k = 0; k < OPS; k++)
                ck_assert_str_eq(d->bytes[k], wants);
        }
}
END_TEST

static bool told(void *arg)
{
    return ((struct disk *)arg)->state == FAR_DEVICE_READY;
}

START_TEST(what_happens_to_one_platform_is_nothing_to_the_others)
{
    unsigned states[GUESTS];

    for (unsigned i = 0; i < 2; i++)
        for (unsigned g = 0; g < GUESTS; g++)
            ck_assert(rig_until(&rig, told, &disks[i][g], 10000));
    for (unsigned g = 0; g < GUESTS; g++)
        states[g] = disks[1][g].states;
    /* One client's netproxy dies with ops under way; then one server. */
    for (unsigned g = 0; g < GUESTS; g++)
        append_all(&disks[0][g]);
    proxy_kill(&proxies[0], SIGKILL);
    for (unsigned g = 0; g < GUESTS; g++)
        append_all(&disks[1][g]);
    for (unsigned g = 0; g < GUESTS; g++) {
        wait_done(&disks[1][g]);
        ck_assert_uint_eq(disks[1][g].states, states[g]);
    }
    proxy_start(&proxies[0], &rig, clients[0]);
    for (unsigned g = 0; g < GUESTS; g++)
        wait_done(&disks[0][g]);
    proxy_kill(&proxies[3], SIGKILL); /* guests 1 and 3 use it */
    for (unsigned i = 0; i < 2; i++)
        for (unsigned g = 0; g < GUESTS; g++)
            append_all(&disks[i][g]);
    for (unsigned i = 0; i < 2; i++) {
        wait_done(&disks[i][0]);
        wait_done(&disks[i][2]);
        ck_assert_uint_eq(disks[i][1].completions, 0);
    }
    ck_assert_uint_eq(disks[1][0].states, states[0]);
    ck_assert_uint_eq(disks[1][2].states, states[2]);
    proxy_start(&proxies[3], &rig, servers[1]);
    for (unsigned i = 0; i < 2; i++) {
        wait_done(&disks[i][1]);
        wait_done(&disks[i][3]);
    }
    for (unsigned s = 0; s < 2; s++) {
        ck_assert_uint_eq(judge(servers[s], "disk0"), 4 * OPS);
        ck_assert_uint_eq(judge(servers[s], "disk1"), 4 * OPS);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: many of each");
    TCase *c = tcase_create("many");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(
        c,
        requests_reach_the_device_they_name_and_answers_the_guest_that_asked);
    tcase_add_test(c, what_happens_to_one_platform_is_nothing_to_the_others);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
