/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Links of several lanes: real netproxies, whose connections run through wires
 * of this test that can be cut one by one; a keyboard, and a disk whose ops are
 * checked, while lanes die, move, get new keys, and share one connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/block.h"
#include "core/clock.h"
#include "netproxy/fair.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define BLOCK_BYTES 131072u /* several pieces */
#define DEPTH       8u
#define DISK_MIB    4u
#define BLOCKS      (DISK_MIB * 1048576u / BLOCK_BYTES)

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;
static uint16_t port, clear_port;

/* A guest's disk: writes and reads blocks of known contents, DEPTH at once. */
static struct disk {
    struct far_layer layer;
    struct far_local_client *client;
    bool ready;
    unsigned states, done, failed, wrong;
    uint64_t sequence;
    uint8_t round[BLOCKS]; /* what each block holds; 0: zeros */
    struct {
        bool busy, writes;
        unsigned block;
        uint8_t round;
        void *payload;
        uint8_t own[BLOCK_BYTES];
    } slots[DEPTH];
    bool stop;
} disk;

static void fill(uint8_t *to, unsigned block, uint8_t round)
{
    for (unsigned i = 0; i < BLOCK_BYTES; i += 8) {
        uint64_t v =
            round ? ((uint64_t)round << 32 | block) * 2654435761u + i : 0;

        memcpy(to + i, &v, 8);
    }
}

static void disk_submit(unsigned slot)
{
    struct far_op op = { .attachment = 99,
                         .sequence = ++disk.sequence,
                         .slot = slot,
                         .payload_bytes = BLOCK_BYTES };
    struct far_block_args a = { .length_bytes = BLOCK_BYTES };
    unsigned block = (unsigned)(disk.sequence * 7 % BLOCKS);

    for (unsigned i = 0; i < DEPTH; i++) { /* none is in use twice */
        if (disk.slots[i].busy && disk.slots[i].block == block) {
            block = (block + 1) % BLOCKS;
            i = UINT32_MAX;
        }
    }
    disk.slots[slot].busy = true;
    disk.slots[slot].block = block;
    disk.slots[slot].writes = disk.sequence % 3 == 0;
    disk.slots[slot].payload =
        far_layer_place(disk.layer.below, slot, BLOCK_BYTES);
    if (!disk.slots[slot].payload)
        disk.slots[slot].payload = disk.slots[slot].own;
    a.offset_bytes = (uint64_t)block * BLOCK_BYTES;
    memcpy(op.args, &a, sizeof(a));
    if (disk.slots[slot].writes) {
        disk.slots[slot].round = (uint8_t)(disk.round[block] % 250 + 1);
        fill(disk.slots[slot].payload, block, disk.slots[slot].round);
        op.opcode = FAR_BLOCK_WRITE;
        op.flags = FAR_OP_SENDS;
    } else {
        op.opcode = FAR_BLOCK_READ;
        op.flags = FAR_OP_RECEIVES;
    }
    ck_assert_int_eq(
        far_layer_submit(disk.layer.below, &op, disk.slots[slot].payload),
        FAR_LATER);
}

static void disk_complete(struct far_layer *layer, const struct far_op *op)
{
    static uint8_t want[BLOCK_BYTES];
    unsigned slot = op->slot, block = disk.slots[slot].block;

    (void)layer;
    disk.done++;
    disk.failed += op->status != 0;
    if (disk.slots[slot].writes) {
        disk.round[block] = disk.slots[slot].round;
    } else {
        fill(want, block, disk.round[block]);
        disk.wrong += op->payload_bytes != BLOCK_BYTES ||
                      memcmp(want, disk.slots[slot].payload, BLOCK_BYTES);
    }
    disk.slots[slot].busy = false;
    if (!disk.stop)
        disk_submit(slot);
}

static void disk_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    (void)layer;
    (void)news;
    disk.states++;
    disk.ready = state == FAR_DEVICE_READY;
}

static const struct far_layer_ops disk_ops = {
    .name = "disk",
    .complete = disk_complete,
    .state = disk_state,
};

static bool disk_ready(void *arg)
{
    (void)arg;
    return disk.ready;
}

static void disk_begin(void)
{
    struct far_local_who who = { .attachment = 99, .class = FAR_CLASS_BLOCK };
    struct far_error error;
    struct far_layer *below;
    char path[128];

    memset(&disk, 0, sizeof(disk));
    disk.layer.ops = &disk_ops;
    snprintf(path, sizeof(path), "%s/atlas/devices.sock", rig.dir);
    disk.client = far_local_client_new(rig.loop, NULL, path, "atlas");
    memset(who.guest_uuid, 9, sizeof(who.guest_uuid));
    memset(who.generation, 7, sizeof(who.generation));
    snprintf(who.guest_name, sizeof(who.guest_name), "disk");
    snprintf(who.platform, sizeof(who.platform), "borealis");
    snprintf(who.device, sizeof(who.device), "disk0");
    ck_assert_int_eq(far_local_client_open(disk.client, &who, &below, &error),
                     0);
    far_layer_stack(&disk.layer, below);
    far_layer_activate(below, 0, 0);
    ck_assert(rig_until(&rig, disk_ready, NULL, 10000));
    disk.states = 0;
    for (unsigned i = 0; i < DEPTH; i++)
        disk_submit(i);
}

static unsigned want_done;
static bool disk_has_done(void *arg)
{
    (void)arg;
    return disk.done >= want_done;
}

/* So many more are done, and all of them right. */
static void disk_goes_on(unsigned ops)
{
    want_done = disk.done + ops;
    ck_assert_msg(rig_until(&rig, disk_has_done, NULL, 20000),
                  "only %u of %u ops were done", disk.done, want_done);
    ck_assert_uint_eq(disk.failed, 0);
    ck_assert_uint_eq(disk.wrong, 0);
}

static void disk_end(void)
{
    if (!disk.client)
        return;
    disk.stop = true;
    far_layer_close(disk.layer.below);
    far_local_client_free(disk.client);
    disk.client = NULL;
}

/* Wires: each accepted connection is joined with one to borealis. */
#define WIRES 32
#define PIECE 65536
static struct wire {
    struct wires *of;
    int fds[2];
    struct far_io ios[2];
    uint8_t *data[2]; /* read from fds[n] */
    size_t at[2], end[2];
    bool frozen; /* silent, in both directions */
} wires[WIRES];

static struct wires {
    uint16_t port;
    int listener;
    struct far_io io;
    bool refuse;
    unsigned count;
} ways[2];

static void wire_drop(struct wire *w)
{
    for (unsigned i = 0; i < 2; i++) {
        far_io_del(&w->ios[i]);
        if (w->fds[i] >= 0)
            close(w->fds[i]);
        free(w->data[i]);
    }
    memset(w, 0, sizeof(*w));
    w->fds[0] = w->fds[1] = -1;
}

static void wire_watch(struct wire *w)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t events = 0;

        if (!w->frozen && w->at[i] == w->end[i])
            events |= EPOLLIN;
        if (!w->frozen && w->at[!i] != w->end[!i])
            events |= EPOLLOUT;
        far_io_set(&w->ios[i], events);
    }
}

static void wire_ready(struct far_io *io, uint32_t events)
{
    struct wire *w = NULL;
    unsigned from = 0;

    (void)events;
    for (unsigned i = 0; i < WIRES; i++) {
        if (io == &wires[i].ios[0] || io == &wires[i].ios[1]) {
            w = &wires[i];
            from = io == &wires[i].ios[1];
        }
    }
    if (w->frozen) {
        wire_watch(w);
        return;
    }
    for (unsigned k = 0; k < 2; k++, from = !from) {
        ssize_t n;

        if (w->at[from] == w->end[from]) {
            n = recv(w->fds[from], w->data[from], PIECE, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN)) {
                wire_drop(w);
                return;
            }
            w->at[from] = 0;
            w->end[from] = n > 0 ? (size_t)n : 0;
        }
        if (w->at[from] < w->end[from]) {
            n = send(w->fds[!from], w->data[from] + w->at[from],
                     w->end[from] - w->at[from], MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) {
                wire_drop(w);
                return;
            }
            w->at[from] += n > 0 ? (size_t)n : 0;
        }
    }
    wire_watch(w);
}

static void wires_accept(struct far_io *io, uint32_t events)
{
    struct wires *of = io == &ways[0].io ? &ways[0] : &ways[1];
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = accept(of->listener, NULL, NULL);
    struct wire *w = wires;

    (void)events;
    if (fd < 0)
        return;
    if (of->refuse) {
        close(fd);
        return;
    }
    while (w->of)
        w++;
    ck_assert_ptr_ne(w, wires + WIRES);
    w->of = of;
    w->fds[0] = fd;
    w->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    of->count++;
    w->data[0] = malloc(PIECE);
    w->data[1] = malloc(PIECE);
    if (connect(w->fds[1], (struct sockaddr *)&to, sizeof(to))) {
        w->ios[0].fd = w->ios[1].fd = -1;
        wire_drop(w);
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(
            far_io_add(rig.loop, &w->ios[i], w->fds[i], EPOLLIN, wire_ready),
            0);
}

static void wires_begin(void)
{
    for (unsigned i = 0; i < WIRES; i++)
        wires[i].fds[0] = wires[i].fds[1] = -1;
    for (unsigned i = 0; i < 2; i++) {
        struct sockaddr_in in = { .sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int one = 1;

        memset(&ways[i], 0, sizeof(ways[i]));
        ways[i].port = rig_port();
        in.sin_port = htons(ways[i].port);
        ways[i].listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(ways[i].listener, SOL_SOCKET, SO_REUSEADDR, &one,
                   sizeof(one));
        ck_assert_int_eq(
            bind(ways[i].listener, (struct sockaddr *)&in, sizeof(in)), 0);
        ck_assert_int_eq(listen(ways[i].listener, 16), 0);
        ck_assert_int_eq(far_io_add(rig.loop, &ways[i].io, ways[i].listener,
                                    EPOLLIN, wires_accept),
                         0);
    }
}

static void wires_end(void)
{
    for (unsigned i = 0; i < WIRES; i++) {
        if (wires[i].of)
            wire_drop(&wires[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        far_io_del(&ways[i].io);
        close(ways[i].listener);
    }
}

/* The wires that are there, in the order in which they came, are the lanes'. */
static unsigned wires_there(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < WIRES; i++)
        n += wires[i].of != NULL;
    return n;
}

static struct wire *wire_of_lane(unsigned lane)
{
    struct sockaddr_in in = { 0 };
    const char *address;
    char path[64];

    /* By the port that the server sees. */
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "links.0.lanes.%u.lane", i);
        if (proxy_number(&borealis, path) != (long long)lane)
            continue;
        snprintf(path, sizeof(path), "links.0.lanes.%u.address", i);
        address = strrchr(proxy_text(&borealis, path), ':');
        if (!address)
            continue;
        for (unsigned k = 0; k < WIRES; k++) {
            socklen_t bytes = sizeof(in);

            if (wires[k].of &&
                !getsockname(wires[k].fds[1], (struct sockaddr *)&in, &bytes) &&
                ntohs(in.sin_port) == atoi(address + 1))
                return &wires[k];
        }
    }
    ck_abort_msg("lane %u has no wire", lane);
    return NULL;
}

static void write_confs(const char *extra)
{
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "atlas-keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "clear-text = on\nclear-address = 127.0.0.1:%u\n"
              "clear-text-allow = cygnus atlas\n"
              "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = atlas\n"
              "[device disk0]\ntype = memory\nsize = %u\n"
              "[export disk0]\nallow = atlas\n",
              port, rig.dir, clear_port, DISK_MIB);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n[server borealis]\n"
              "psk-file = %s/atlas-keys\n%s",
              rig.dir, extra);
}

static void start_both(const char *lanes)
{
    char extra[256];

    snprintf(extra, sizeof(extra),
             "address = 127.0.0.1:%u\naddress = 127.0.0.1:%u\n%s", ways[0].port,
             ways[1].port, lanes);
    write_confs(extra);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
}

static bool three_up(void *arg)
{
    (void)arg;
    return proxy_number(&borealis, "links.0.lanes.2.lane") == 2 &&
           !strcmp(proxy_text(&atlas, "links.0.lanes.2.state"), "up") &&
           !strcmp(proxy_text(&atlas, "links.0.lanes.1.state"), "up") &&
           !strcmp(proxy_text(&atlas, "links.0.lanes.0.state"), "up");
}

static void wait_lanes(void)
{
    ck_assert(rig_until(&rig, three_up, NULL, 10000));
}

static unsigned taps;

static void type(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        proxy_tap(&borealis, "kbd0", 2 + taps++ % 80);
}

static void all_keys_came(void)
{
    guest_wait_count(&guest, 2 * taps);
    for (unsigned i = 0; i < taps; i++)
        ck_assert_uint_eq(guest.events[2 * i].code, 2 + i % 80);
    ck_assert_uint_eq(guest.count, 2 * taps);
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
    ck_assert_uint_eq(guest.incarnations, 1);
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    memset(&disk, 0, sizeof(disk));
    taps = 0;
    rig_begin(&rig);
    port = rig_port();
    clear_port = rig_port();
    wires_begin();
}

static void teardown(void)
{
    disk_end();
    if (guest.open)
        guest_detach(&guest);
    if (atlas.pid > 0)
        proxy_kill(&atlas, SIGTERM);
    if (borealis.pid > 0)
        proxy_kill(&borealis, SIGTERM);
    atlas.pid = borealis.pid = 0;
    wires_end();
    rig_end(&rig);
}

START_TEST(a_link_has_three_lanes_spread_over_its_addresses)
{
    start_both("");
    wait_lanes();
    ck_assert_uint_eq(wires_there(), 3);
    ck_assert_uint_eq(ways[0].count, 2);
    ck_assert_uint_eq(ways[1].count, 1);
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    disk_begin();
    disk_goes_on(100);
    type(20);
    all_keys_came();
    /* Blocks went by the third, keys by the first. */
    ck_assert_int_gt(proxy_number(&atlas, "links.0.lanes.2.counters.bytes_in"),
                     30ll * BLOCK_BYTES);
    ck_assert_int_lt(proxy_number(&atlas, "links.0.lanes.0.counters.bytes_in"),
                     200000);
}
END_TEST

START_TEST(each_number_of_lanes_carries_all_that_there_is)
{
    char lanes[32];

    snprintf(lanes, sizeof(lanes), "lanes = %d\n", _i);
    start_both(lanes);
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    disk_begin();
    disk_goes_on(100);
    type(20);
    all_keys_came();
    disk_goes_on(50);
    ck_assert_uint_eq(wires_there(), (unsigned)_i);
}
END_TEST

START_TEST(whichever_lane_is_cut_nothing_is_lost_or_wrong_and_it_comes_back)
{
    start_both("");
    wait_lanes();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    guest.states = 0;
    disk_begin();
    for (unsigned i = 0; i < 9; i++) {
        disk_goes_on(20);
        type(5);
        wire_drop(wire_of_lane(i % 3));
        type(5);
        disk_goes_on(20);
        wait_lanes();
        all_keys_came();
    }
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
    ck_assert_uint_eq(disk.states, 0); /* nobody was told of anything */
    ck_assert_uint_eq(guest.states, 0);
}
END_TEST

START_TEST(a_lane_that_falls_silent_is_found_out_while_ops_are_under_way_on_it)
{
    struct wire *w;

    start_both("");
    wait_lanes();
    disk_begin();
    disk_goes_on(20);
    w = wire_of_lane(2);
    w->frozen = true;
    wire_watch(w);
    disk_goes_on(DEPTH + 50);
    ck_assert_int_ge(proxy_number(&atlas, "links.0.lanes.2.moved_ops"), 1);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
    wire_drop(w);
    wait_lanes();
    disk_goes_on(50);
}
END_TEST

START_TEST(when_one_address_dies_its_lanes_move_to_the_other)
{
    start_both("");
    wait_lanes();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    disk_begin();
    disk_goes_on(20);
    ways[0].refuse = true;
    for (unsigned i = 0; i < WIRES; i++) {
        if (wires[i].of == &ways[0])
            wire_drop(&wires[i]);
    }
    type(10);
    all_keys_came();
    disk_goes_on(50);
    wait_lanes();
    for (unsigned i = 0; i < WIRES; i++)
        ck_assert_ptr_ne(wires[i].of, &ways[0]);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
}
END_TEST

START_TEST(new_keys_on_every_lane_under_load_disturb_nobody)
{
    start_both("");
    wait_lanes();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    disk_begin();
    for (unsigned i = 0; i < 10; i++) {
        json_t *answer = NULL;

        for (unsigned tries = 0; !answer && tries < 20; tries++) {
            answer = proxy_ask(&atlas, "{\"request\":\"link rekey\","
                                       "\"platform\":\"borealis\"}");
            disk_goes_on(10);
        }
        ck_assert_ptr_nonnull(answer);
        json_decref(answer);
        type(2);
        rig_turn(&rig, 200); /* a peer takes 8 a second */
    }
    all_keys_came();
    ck_assert_int_ge(proxy_number(&atlas, "links.0.counters.rekeys"), 27);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
    for (unsigned i = 0; i < 3; i++) {
        char path[64];

        snprintf(path, sizeof(path), "links.0.lanes.%u.counters.reconnects", i);
        ck_assert_int_eq(proxy_number(&atlas, path), 0);
    }
}
END_TEST

START_TEST(the_server_killed_and_back_all_lanes_come_back_within_100_ms)
{
    uint64_t least_us = UINT64_MAX;

    start_both("");
    wait_lanes();
    disk_begin();
    disk_goes_on(20);
    for (unsigned i = 0; i < 5 && least_us > 100000; i++) {
        uint64_t begun_us;

        proxy_kill(&borealis, SIGKILL);
        memset(disk.round, 0, sizeof(disk.round));
        disk.stop = true;
        rig_turn(&rig, 300);
        proxy_start(&borealis, &rig, "borealis"); /* it answers: it listens */
        begun_us = far_now_us();
        want_done = disk.done + 1;
        ck_assert(rig_until(&rig, disk_has_done, NULL, 10000));
        if (far_now_us() - begun_us < least_us)
            least_us = far_now_us() - begun_us;
        rig_turn(&rig, 500);
        for (unsigned k = 0; k < DEPTH; k++)
            ck_assert(!disk.slots[k].busy);
        /* Its memory is empty: what was read before may be wrong. */
        memset(disk.round, 0, sizeof(disk.round));
        disk_end();
        disk_begin();
        disk.wrong = 0;
    }
    ck_assert_uint_le(least_us, 100000);
    ck_assert_uint_eq(disk.failed, 0);
}
END_TEST

static void pin(pid_t pid, const cpu_set_t *set)
{
    ck_assert_int_eq(sched_setaffinity(pid, sizeof(*set), set), 0);
}

/* Each op of the disk is four pieces that one end seals and the other opens;
 * what is urgent comes in between. Two of three are reads: over 1,000 pieces
 * of 400 ops go the same way. */
START_TEST(no_turn_takes_more_than_a_piece_of_bulk)
{
    long long turns[2];
    char extra[64];
    cpu_set_t one;

    snprintf(extra, sizeof(extra), "address = 127.0.0.1:%u\n", port);
    write_confs(extra);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    wait_lanes();
    CPU_ZERO(&one); /* where each gives way to the other */
    CPU_SET((unsigned)sched_getcpu(), &one);
    pin(atlas.pid, &one);
    pin(borealis.pid, &one);
    disk_begin();
    disk_goes_on(50);
    turns[0] = proxy_number(&atlas, "loop.turns");
    turns[1] = proxy_number(&borealis, "loop.turns");
    disk_goes_on(400);
    turns[0] = proxy_number(&atlas, "loop.turns") - turns[0];
    turns[1] = proxy_number(&borealis, "loop.turns") - turns[1];
    ck_assert_int_ge(turns[0], 1000);
    ck_assert_int_ge(turns[1], 1000);
}
END_TEST

START_TEST(fewer_lanes_after_a_reload_lose_nothing)
{
    char extra[256];

    start_both("");
    wait_lanes();
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    disk_begin();
    disk_goes_on(20);
    snprintf(extra, sizeof(extra),
             "address = 127.0.0.1:%u\naddress = 127.0.0.1:%u\nlanes = 1\n",
             ways[0].port, ways[1].port);
    write_confs(extra);
    proxy_reload(&atlas);
    disk_goes_on(50);
    type(10);
    all_keys_came();
    ck_assert_uint_eq(wires_there(), 1);
    snprintf(extra, sizeof(extra),
             "address = 127.0.0.1:%u\naddress = 127.0.0.1:%u\n", ways[0].port,
             ways[1].port);
    write_confs(extra);
    proxy_reload(&atlas);
    wait_lanes();
    disk_goes_on(50);
    ck_assert_int_eq(proxy_number(&atlas, "links.0.counters.reconnects"), 0);
}
END_TEST

START_TEST(clear_text_goes_only_where_both_sides_name_it)
{
    char extra[256];

    snprintf(extra, sizeof(extra), "address = 127.0.0.1:%u\nclear-text = on\n",
             clear_port);
    write_confs(extra);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.tls", "clear text");
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    disk_begin();
    disk_goes_on(100);
    type(10);
    all_keys_came();
    disk_end();
    /* To the port of TLS: no. */
    snprintf(extra, sizeof(extra), "address = 127.0.0.1:%u\nclear-text = on\n",
             port);
    write_confs(extra);
    proxy_reload(&atlas);
    proxy_wait_text(&atlas, "links.0.state", "down");
    /* TLS to the port of clear text: no. */
    snprintf(extra, sizeof(extra), "address = 127.0.0.1:%u\n", clear_port);
    write_confs(extra);
    proxy_reload(&atlas);
    proxy_wait_text(&atlas, "links.0.state", "down");
}
END_TEST

START_TEST(in_clear_text_nobody_gets_in_whom_the_configuration_does_not_name)
{
    char extra[256];

    snprintf(extra, sizeof(extra), "address = 127.0.0.1:%u\nclear-text = on\n",
             clear_port);
    write_confs(extra);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "clear-text = on\nclear-address = 127.0.0.1:%u\n"
              "clear-text-allow = cygnus\n",
              port, rig.dir, clear_port);
    proxy_reload(&borealis);
    proxy_wait_text(&atlas, "links.0.reason", "clear");
    proxy_wait_text(&borealis, "links.0.state", "down");
}
END_TEST

/* Whose turn it is: no processes here. */

static struct sender {
    struct far_fair_item item;
    int64_t bytes;
    uint64_t sent, pieces, left;
} senders[3];
static uint64_t room;

static int64_t give(struct far_fair_item *item)
{
    struct sender *s = (struct sender *)item;

    if (!s->left)
        return 0;
    if (room < (uint64_t)s->bytes)
        return -EAGAIN;
    room -= (uint64_t)s->bytes;
    s->left--;
    s->sent += (uint64_t)s->bytes;
    s->pieces++;
    return s->bytes;
}

static struct far_fair fair;

static void want(unsigned n, int64_t bytes, uint64_t pieces)
{
    senders[n] =
        (struct sender){ .item.send = give, .bytes = bytes, .left = pieces };
    far_fair_add(&fair, &senders[n].item);
    far_fair_add(&fair, &senders[n].item); /* once is enough */
}

START_TEST(large_and_small_pieces_get_the_same_number_of_bytes)
{
    fair.first = NULL;
    want(0, 32768 + 96, 1000000);
    want(1, 4096 + 96, 1000000);
    for (unsigned i = 0; i < 500; i++) { /* room comes bit by bit */
        room = 65536;
        ck_assert(far_fair_run(&fair));
    }
    ck_assert_uint_ge(senders[0].sent, senders[1].sent * 9 / 10);
    ck_assert_uint_le(senders[0].sent, senders[1].sent * 11 / 10);
}
END_TEST

START_TEST(the_smallest_ones_count_by_number)
{
    fair.first = NULL;
    want(0, 96, 1000000);
    want(1, 160, 1000000);
    for (unsigned i = 0; i < 500; i++) {
        room = 4096;
        ck_assert(far_fair_run(&fair));
    }
    ck_assert_uint_ge(senders[0].pieces, senders[1].pieces * 9 / 10);
    ck_assert_uint_le(senders[0].pieces, senders[1].pieces * 11 / 10);
}
END_TEST

START_TEST(a_flood_of_one_keeps_no_other_waiting_for_more_than_a_turn)
{
    fair.first = NULL;
    want(0, 32768, 1000000);
    room = 10 * 32768;
    ck_assert(far_fair_run(&fair));
    want(1, 4096, 4);
    want(2, 96, 4);
    room = 2 * 32768 + 4 * 4096 + 4 * 96;
    ck_assert(far_fair_run(&fair));
    ck_assert_uint_eq(senders[1].pieces, 4);
    ck_assert_uint_eq(senders[2].pieces, 4);
    far_fair_remove(&fair, &senders[0].item);
    ck_assert(!far_fair_run(&fair)); /* nobody is left */
    ck_assert_ptr_null(fair.first);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lanes");
    TCase *c = tcase_create("lanes");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_link_has_three_lanes_spread_over_its_addresses);
    tcase_add_loop_test(c, each_number_of_lanes_carries_all_that_there_is, 1,
                        4);
    tcase_add_test(
        c, whichever_lane_is_cut_nothing_is_lost_or_wrong_and_it_comes_back);
    tcase_add_test(
        c, a_lane_that_falls_silent_is_found_out_while_ops_are_under_way_on_it);
    tcase_add_test(c, when_one_address_dies_its_lanes_move_to_the_other);
    tcase_add_test(c, new_keys_on_every_lane_under_load_disturb_nobody);
    tcase_add_test(
        c, the_server_killed_and_back_all_lanes_come_back_within_100_ms);
    tcase_add_test(c, no_turn_takes_more_than_a_piece_of_bulk);
    tcase_add_test(c, fewer_lanes_after_a_reload_lose_nothing);
    tcase_add_test(c, clear_text_goes_only_where_both_sides_name_it);
    tcase_add_test(
        c, in_clear_text_nobody_gets_in_whom_the_configuration_does_not_name);
    suite_add_tcase(s, c);
    c = tcase_create("fair");
    tcase_add_test(c, large_and_small_pieces_get_the_same_number_of_bytes);
    tcase_add_test(c, the_smallest_ones_count_by_number);
    tcase_add_test(c,
                   a_flood_of_one_keeps_no_other_waiting_for_more_than_a_turn);
    suite_add_tcase(s, c);
    return suite_end(s);
}
