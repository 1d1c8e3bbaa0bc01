/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A source of an interrupt controller that says what none should: lines that
 * it has not, totals that go back, epochs that change all the time, interrupts
 * that there are none of, as fast as it is listened to; and to the end of an
 * interrupt whatever comes.
 */
#include <farside-device.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static struct far_outside_user *users[16];
static uint32_t seed = 1;

static uint32_t any(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static void attached(void *arg, struct far_outside_user *user,
                     const struct far_outside_who *who)
{
    (void)arg;
    (void)who;
    for (unsigned i = 0; i < 16; i++)
        if (!users[i]) {
            users[i] = user;
            return;
        }
}

static void detached(void *arg, struct far_outside_user *user)
{
    (void)arg;
    for (unsigned i = 0; i < 16; i++)
        if (users[i] == user)
            users[i] = NULL;
}

static bool op(void *arg, struct far_outside_user *user,
               struct far_outside_op *o, void *payload)
{
    (void)arg;
    (void)user;
    (void)payload;
    o->status = (int32_t)any();
    return true;
}

static void speak(struct far_outside_user *user)
{
    uint32_t words[8];
    uint64_t epoch = any() % 3; /* 0 is none */

    for (unsigned i = 0; i < 8; i++)
        words[i] = any() << 16 ^ any();
    words[0] = any() % 4 ? any() % 70 : words[0]; /* line */
    memcpy(&words[4], &epoch, sizeof(epoch));
    (void)far_outside_interrupt(
        user, (uint16_t)(any() % 8 ? 0x0780 : 0x0780 + any() % 128),
        (const uint8_t *)words);
}

int main(void)
{
    static const struct far_outside_calls calls = { .bytes = sizeof(calls),
                                                    .attached = attached,
                                                    .detached = detached,
                                                    .op = op };
    char why[200];
    struct far_outside *device =
        far_outside_new(NULL, "intc", &calls, NULL, why, sizeof(why));

    if (!device) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    while (far_outside_turn(device, 1) >= 0)
        for (unsigned n = 0; n < 200; n++)
            for (unsigned i = 0; i < 16; i++)
                if (users[i])
                    speak(users[i]);
    far_outside_free(device);
    return 0;
}
