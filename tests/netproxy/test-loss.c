/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The network between two platforms is gone for a while, and nobody is told:
 * bytes neither pass nor come back. Two guests that read slowly listen to one
 * keyboard, pointer and touch screen behind it, as a backend does; one has
 * `stale = off`, one the default in small. FARSIDE_LOSS_SECONDS adds a longer
 * cut. Wires that are cut at any byte are test-cuts.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/input.h"
#include "devices/input-queue.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define WIRES_MAX   16
#define TAPS_MAX    20000
#define TAP_US      8000 /* 250 events a second: 16384 are kept for a guest */
#define TAPPED      40   /* keys, from 2 on */
#define SHIFT       42
#define BUTTON      0x110
#define FINGER      3
#define ROOM_A_TURN 8 /* of a guest, each 500 us or later */
#define STALE_US    1000000
#define RELEASE_US  300000
#define CLOCK_US    200000 /* how wrong the other's clock may be taken for */

struct seat {
    struct far_layer layer; /* the port */
    struct far_layer *fast;
    struct far_local_client *client;
    uint64_t stale_us;
    enum far_device_state state;
    uint64_t ready_us;
    unsigned room;
    unsigned taps, next, refused;
    uint8_t heard[TAPS_MAX];
    struct far_key_set down;
    uint16_t contacts;
    int32_t x;
};

static struct rig rig;
static struct proxy atlas, borealis;
static struct seat seats[2];
static struct {
    int fd[2];
    bool used;
} wires[WIRES_MAX];
static int listener;
static uint16_t server_port;
static bool cut;
static unsigned taps;
static uint64_t sent_us[TAPS_MAX][2]; /* before, after */

/* ---- the wire ---- */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void pass(unsigned n, int from, int to)
{
    char bytes[65536];
    ssize_t got = recv(from, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0 && send(to, bytes, (size_t)got, MSG_NOSIGNAL) == got)
        return;
    close(from);
    close(to);
    wires[n].used = false;
}

static void turn_wires(void)
{
    struct sockaddr_in in = loopback(server_port);
    unsigned n;
    int fd;

    if (cut)
        return;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        for (n = 0; n < WIRES_MAX - 1 && wires[n].used; n++)
            ;
        ck_assert(!wires[n].used);
        wires[n].used = true;
        wires[n].fd[0] = fd;
        wires[n].fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(
            connect(wires[n].fd[1], (struct sockaddr *)&in, sizeof(in)), 0);
    }
    for (n = 0; n < WIRES_MAX; n++) {
        for (int i = 0; i < 2 && wires[n].used; i++)
            pass(n, wires[n].fd[i], wires[n].fd[1 - i]);
    }
}

/* ---- the guests ---- */

static bool seat_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct seat *s = (struct seat *)layer;
    struct far_input_event e;

    if (!s->room) {
        s->refused++;
        return false;
    }
    s->room--;
    memcpy(&e, op->args, sizeof(e));
    far_layer_ack(s->fast, op->sequence);
    if (e.type == FAR_INPUT_POS)
        s->x = e.x;
    if (e.type == FAR_INPUT_TOUCH && e.code == FAR_TOUCH_DOWN)
        s->contacts |= (uint16_t)(1u << e.value);
    if (e.type == FAR_INPUT_TOUCH && e.code == FAR_TOUCH_UP)
        s->contacts &= (uint16_t) ~(1u << e.value);
    if (e.type != FAR_INPUT_KEY)
        return true;
    ck_assert_msg(far_key_get(&s->down, e.code) != (e.value != 0),
                  "key %u is pressed or released twice", e.code);
    far_key_put(&s->down, e.code, e.value != 0);
    if (!e.value || e.code >= 2 + TAPPED)
        return true;
    /* Which one is it? The next of that key that was sent then. */
    while (s->next < taps &&
           (2 + s->next % TAPPED != e.code ||
            sent_us[s->next][1] + TAPPED / 2 * TAP_US < e.time_us))
        s->next++;
    ck_assert_msg(s->next < taps, "key %u is out of order, or comes twice",
                  e.code);
    if (s->stale_us != UINT64_MAX)
        ck_assert_uint_le(far_loop_now_us(rig.loop),
                          sent_us[s->next][1] + STALE_US + CLOCK_US);
    s->heard[s->next++] = 1;
    s->taps++;
    return true;
}

static void seat_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct seat *s = (struct seat *)layer;

    (void)news;
    if (state == FAR_DEVICE_READY && s->state != state)
        s->ready_us = far_now_us();
    s->state = state;
}

static const struct far_layer_ops seat_ops = { .name = "test port",
                                               .interrupt = seat_interrupt,
                                               .state = seat_state };

static void sit_down(unsigned n, uint64_t stale_us)
{
    const struct far_fast_input_options options = { .release_after_us =
                                                        RELEASE_US,
                                                    .stale_us = stale_us };
    struct far_local_who who = { .attachment = n + 1,
                                 .class = FAR_CLASS_INPUT,
                                 .platform = "borealis",
                                 .device = "all0" };
    struct seat *s = &seats[n];
    struct far_layer *below;
    struct far_error error;
    char path[128];

    memset(s, 0, sizeof(*s));
    memset(who.guest_uuid, (int)n + 1, sizeof(who.guest_uuid));
    snprintf(who.guest_name, sizeof(who.guest_name), "guest%u", n);
    snprintf(path, sizeof(path), "%s/atlas/devices.sock", rig.dir);
    s->layer.ops = &seat_ops;
    s->stale_us = stale_us;
    s->state = FAR_DEVICE_GONE;
    s->client = far_local_client_new(rig.loop, NULL, path, "atlas");
    ck_assert_ptr_nonnull(s->client);
    ck_assert_int_eq(far_local_client_open(s->client, &who, &below, &error), 0);
    s->fast = far_fast_input_new(rig.loop, &options);
    far_layer_stack(s->fast, below);
    far_layer_stack(&s->layer, s->fast);
    far_layer_activate(s->fast, 0, 0);
}

static void turn(void)
{
    turn_wires();
    far_loop_turn(rig.loop, 500);
    for (int i = 0; i < 2; i++) {
        seats[i].room = ROOM_A_TURN;
        far_layer_resume(seats[i].fast);
    }
}

/* ---- who types ---- */

static void feed(const char *events)
{
    char request[512];
    json_t *answer;

    snprintf(request, sizeof(request),
             "{\"request\":\"send\",\"device\":\"all0\",\"events\":[%s]}",
             events);
    answer = proxy_ask(&borealis, request);
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

/* SHIFT, BUTTON and a finger. */
static void hold(bool down)
{
    char events[400];

    snprintf(events, sizeof(events),
             "{\"type\":\"key\",\"code\":%d,\"value\":%d},"
             "{\"type\":\"key\",\"code\":%d,\"value\":%d},"
             "{\"type\":\"touch\",\"what\":\"%s\",\"id\":%d,\"x\":9,\"y\":9},"
             "{\"type\":\"touch\",\"what\":\"syn\"}",
             SHIFT, down, BUTTON, down, down ? "down" : "up", FINGER);
    feed(events);
}

static void point(int x)
{
    char event[80];

    snprintf(event, sizeof(event),
             "{\"type\":\"pos\",\"x\":%d,\"y\":%d,\"z\":0}", x, x);
    feed(event);
}

static void type_for(uint64_t us)
{
    uint64_t now_us = far_now_us(), end_us = now_us + us, next_us = now_us;

    while ((now_us = far_now_us()) < end_us) {
        if (now_us >= next_us) {
            ck_assert_uint_lt(taps, TAPS_MAX);
            sent_us[taps][0] = now_us;
            proxy_tap(&borealis, "all0", 2 + taps % TAPPED);
            sent_us[taps++][1] = far_now_us();
            next_us += TAP_US;
        }
        turn();
    }
}

static bool all_up(const struct seat *s)
{
    return far_key_set_empty(&s->down) && !s->contacts;
}

static void cut_for(uint64_t us, int x)
{
    uint64_t end_us;
    unsigned i, first, before[2];

    hold(true);
    type_for(300000);
    first = taps;
    for (i = 0; i < 2; i++) {
        ck_assert(far_key_get(&seats[i].down, SHIFT));
        ck_assert_uint_eq(seats[i].contacts, 1 << FINGER);
        before[i] = seats[i].taps;
    }
    cut = true;
    point(x); /* nobody learns of it until later, when it is old */
    type_for(us);
    /* Three heartbeats, and some: what was held is released. */
    if (us >= 4000000) {
        for (i = 0; i < 2; i++) {
            ck_assert_int_eq(seats[i].state, FAR_DEVICE_GONE);
            ck_assert(all_up(&seats[i]));
            ck_assert_uint_le(seats[i].taps, before[i] + TAPPED);
        }
    }
    cut = false;
    end_us = far_now_us() + 15000000;
    while (seats[0].state != FAR_DEVICE_READY ||
           seats[1].state != FAR_DEVICE_READY || seats[0].taps < first) {
        ck_assert_uint_lt(far_now_us(), end_us);
        type_for(TAP_US);
    }
    type_for(1500000);
    hold(false);
    for (end_us = far_now_us() + 15000000; seats[0].taps < taps;) {
        ck_assert_msg(far_now_us() < end_us, "%u of %u", seats[0].taps, taps);
        turn();
    }
    /* So do those of the other guest, and the releases, if they come at all. */
    for (end_us = far_now_us() + 300000; far_now_us() < end_us;)
        turn();
}

static void setup(void)
{
    struct sockaddr_in in = loopback(0);
    socklen_t bytes = sizeof(in);
    uint64_t end_us;

    rig_begin(&rig);
    memset(wires, 0, sizeof(wires));
    cut = false;
    taps = 0;
    server_port = rig_port();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&in, &bytes), 0);
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device all0]\ntype = virtual\n[export all0]\nallow = atlas\n",
              server_port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              ntohs(in.sin_port), rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    sit_down(0, UINT64_MAX);
    sit_down(1, STALE_US);
    for (end_us = far_now_us() + 10000000;
         seats[0].state != FAR_DEVICE_READY ||
         seats[1].state != FAR_DEVICE_READY;) {
        ck_assert_uint_lt(far_now_us(), end_us);
        turn();
    }
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++) {
        far_layer_close(seats[i].fast);
        far_local_client_free(seats[i].client);
    }
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    for (unsigned n = 0; n < WIRES_MAX; n++) {
        if (wires[n].used) {
            close(wires[n].fd[0]);
            close(wires[n].fd[1]);
        }
    }
    close(listener);
    rig_end(&rig);
}

START_TEST(after_a_cut_all_is_typed_or_nothing_that_is_old_and_no_key_is_down)
{
    const char *seconds = getenv("FARSIDE_LOSS_SECONDS");
    const uint64_t cuts_us[] = { 1000000, 4000000,
                                 seconds ? strtoull(seconds, NULL, 0) * 1000000
                                         : 0 };
    unsigned i, fresh, heard;

    type_for(300000);
    for (i = 0; i < 3; i++) {
        if (cuts_us[i])
            cut_for(cuts_us[i], 1000 * (int)(i + 1));
        for (int k = 0; k < 2; k++) {
            ck_assert(all_up(&seats[k]));
            ck_assert_int_eq(seats[k].x,
                             cuts_us[i] ? 1000 * (int)(i + 1) : seats[k].x);
        }
        /* What came when it was ready again was fresh. */
        for (unsigned t = fresh = heard = 0; t < taps; t++) {
            if (sent_us[t][0] < seats[1].ready_us)
                continue;
            fresh++;
            heard += seats[1].heard[t];
        }
        ck_assert_uint_ge(heard, fresh / 2);
    }
    /* Each once and in order; seat_interrupt() has seen to the order. */
    ck_assert_uint_eq(seats[0].taps, taps);
    ck_assert_uint_lt(seats[1].taps, taps);
    ck_assert_uint_gt(seats[0].refused, 10); /* the guest was too slow for it */
    printf("%u taps; with the default %u of them\n", taps, seats[1].taps);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: the network is gone");
    TCase *c = tcase_create("loss");

    tcase_set_timeout(c, 0);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(
        c, after_a_cut_all_is_typed_or_nothing_that_is_old_and_no_key_is_down);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
