/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two real netproxies whose wire runs through a TCP proxy of this test, which
 * cuts it at a random byte, delays it, stalls it, closes half of it, while
 * keys are typed: each event arrives once and in order. FARSIDE_SEED and
 * FARSIDE_CUTS_SECONDS choose another run, and a longer one.
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
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define WIRES_MAX    32
#define PIECE_BYTES  4096
#define TAP_EVERY_US 4000

enum fate { FATE_RESET, FATE_END, FATE_HALF, FATE_SILENCE, FATES };

/* One way of a connection; 0: from the client, 1: from the server. */
struct way {
    int from, to;
    uint8_t piece[PIECE_BYTES];
    size_t at, end;
    uint64_t hold_until_us; /* the piece */
    bool over;              /* nothing is passed on any more */
};

struct wire {
    bool used;
    struct way ways[2];
    uint64_t passed, cut_at; /* bytes, both ways */
    enum fate fate;
    unsigned delay_us;
    uint64_t die_us;
};

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guest;
static struct wire wires[WIRES_MAX];
static int listener;
static uint16_t server_port;
static uint64_t seed;
static unsigned fates[FATES], delays;
static bool kind; /* no more harm is done */

static uint64_t dice(uint64_t sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % sides;
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void end_wire(struct wire *w, bool reset)
{
    struct linger hard = { .l_onoff = 1 };

    for (int i = 0; i < 2; i++) {
        if (reset)
            setsockopt(w->ways[i].from, SOL_SOCKET, SO_LINGER, &hard,
                       sizeof(hard));
        close(w->ways[i].from);
    }
    w->used = false;
}

static void new_wire(int client)
{
    struct sockaddr_in in = loopback(server_port);
    struct wire *w = wires;
    int fd;

    while (w < wires + WIRES_MAX && w->used)
        w++;
    ck_assert(w < wires + WIRES_MAX);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    memset(w, 0, sizeof(*w));
    w->used = true;
    w->ways[0].from = w->ways[1].to = client;
    w->ways[1].from = w->ways[0].to = fd;
    /* Some die in the handshake or the hello, most among the events. */
    w->cut_at = dice(4) ? 1000 + dice(30000) : dice(1000);
    w->fate = (enum fate)(dice(10) ? dice(FATE_SILENCE) : FATE_SILENCE);
    w->delay_us = dice(3) ? 0 : (unsigned)dice(40000);
    if (w->delay_us)
        delays++;
}

/* The byte at which it is to end has passed. */
static void meet_fate(struct wire *w, struct way *way)
{
    if (w->die_us || kind)
        return;
    fates[w->fate]++;
    switch (w->fate) {
    case FATE_RESET:
        end_wire(w, true);
        break;
    case FATE_END:
        end_wire(w, false);
        break;
    case FATE_HALF: /* one of them hears an end, the other nothing yet */
        shutdown(way->to, SHUT_WR);
        way->over = true;
        w->die_us = far_now_us() + 200000;
        break;
    default:
        w->ways[0].over = w->ways[1].over = true;
        w->die_us = far_now_us() + 100000 + dice(400000);
        break;
    }
}

static void turn_way(struct wire *w, struct way *way)
{
    ssize_t n;

    if (way->at == way->end) {
        n = recv(way->from, way->piece, sizeof(way->piece), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            end_wire(w, false);
            return;
        }
        way->at = 0;
        way->end = (size_t)n;
        way->hold_until_us =
            w->delay_us && !kind ? far_now_us() + dice(w->delay_us) : 0;
    }
    if (way->over) { /* swallowed */
        way->at = way->end;
        return;
    }
    if (far_now_us() < way->hold_until_us)
        return;
    n = (ssize_t)(way->end - way->at);
    if (!kind && w->passed + (uint64_t)n > w->cut_at)
        n = w->passed < w->cut_at ? (ssize_t)(w->cut_at - w->passed) : 0;
    if (n) {
        n = send(way->to, way->piece + way->at, (size_t)n,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            end_wire(w, true);
            return;
        }
        way->at += (size_t)n;
        w->passed += (uint64_t)n;
    }
    if (w->passed >= w->cut_at)
        meet_fate(w, way);
}

static void turn(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        new_wire(fd);
    for (struct wire *w = wires; w < wires + WIRES_MAX; w++) {
        for (int i = 0; i < 2 && w->used; i++)
            turn_way(w, &w->ways[i]);
        if (w->used && w->die_us && far_now_us() > w->die_us)
            end_wire(w, false);
    }
    far_loop_turn(rig.loop, 500);
}

static void setup(void)
{
    struct sockaddr_in in = loopback(0);
    socklen_t bytes = sizeof(in);

    memset(&guest, 0, sizeof(guest));
    rig_begin(&rig);
    server_port = rig_port();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
    ck_assert_int_eq(listen(listener, 8), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&in, &bytes), 0);
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = atlas\n",
              server_port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              ntohs(in.sin_port), rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
}

static void teardown(void)
{
    guest_detach(&guest);
    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    for (struct wire *w = wires; w < wires + WIRES_MAX; w++) {
        if (w->used)
            end_wire(w, false);
    }
    close(listener);
    rig_end(&rig);
}

START_TEST(through_a_wire_that_is_cut_anywhere_each_event_comes_once_in_order)
{
    const char *chosen = getenv("FARSIDE_SEED"),
               *seconds = getenv("FARSIDE_CUTS_SECONDS");
    uint64_t first = chosen ? strtoull(chosen, NULL, 0) : 20260, next_us,
             end_us;
    unsigned taps = 0, i, harm = 0;

    seed = first * 0x9e3779b97f4a7c15u + 1;
    kind = true; /* until the first attachment: what was typed before it is
                    nobody's */
    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    for (end_us = far_now_us() + 5000000; !guest_ready(&guest);) {
        ck_assert_uint_lt(far_now_us(), end_us);
        turn();
    }
    kind = false;
    next_us = far_now_us();
    end_us =
        next_us + 1000 * (seconds ? strtoull(seconds, NULL, 0) * 1000 : 2200);
    while (far_now_us() < end_us && 2 * taps + 200 < GUEST_EVENTS) {
        if (far_now_us() >= next_us) {
            proxy_tap(&borealis, "kbd0", 2 + taps++ % 80);
            next_us += TAP_EVERY_US;
        }
        turn();
    }
    kind = true;
    for (struct wire *w = wires; w < wires + WIRES_MAX; w++) {
        if (w->used)
            end_wire(w, true);
    }
    end_us = far_now_us() + 10000000;
    while (guest.count < 2 * taps && far_now_us() < end_us)
        turn();
    for (i = 0; i < FATES; i++)
        harm += fates[i];
    printf("seed %llu: %u taps, %u cuts (%u reset, %u ended, %u half, %u "
           "silent), %u slow wires\n",
           (unsigned long long)first, taps, harm, fates[FATE_RESET],
           fates[FATE_END], fates[FATE_HALF], fates[FATE_SILENCE], delays);
    ck_assert_msg(guest.count == 2 * taps, "seed %llu: %u of %u events (%s)",
                  (unsigned long long)first, guest.count, 2 * taps,
                  guest.reason);
    for (i = 0; i < guest.count; i++) {
        ck_assert_msg(guest.events[i].code == 2 + i / 2 % 80 &&
                          guest.events[i].value == !(i % 2),
                      "seed %llu: event %u is key %u %d",
                      (unsigned long long)first, i, guest.events[i].code,
                      guest.events[i].value);
    }
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
    ck_assert_uint_eq(guest.incarnations, 1);
    ck_assert_uint_ge(harm, 3); /* or nothing was tested */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: a wire that is cut");
    TCase *c = tcase_create("cuts");

    tcase_set_timeout(c, 0);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(
        c, through_a_wire_that_is_cut_anywhere_each_event_comes_once_in_order);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
