/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An outside device to copy: a timer in a process of its own, which counts by
 * its machine's clock. Opcodes and arguments are those of Farside's class timer
 * (core/timer.h, docs/OUTSIDE.md). Periods that went by unseen are one expiry.
 *
 *   cc -o outside-timer outside-timer.c $(pkg-config --cflags --libs \
 *       farside-device)
 *
 *   [device tick]
 *   type = outside
 *   class = timer
 *   socket = /run/farside-devices/tick
 *   start = /usr/local/libexec/outside-timer
 */
#define _GNU_SOURCE 1 /* ppoll() */
#include <errno.h>
#include <farside-device.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ARM = 0x0501, CANCEL, NOW, EXPIRED = 0x0580, RELATIVE = 8 };
#define ARMED_MAX 256 /* of all users together */

struct args { /* of an op */
    uint32_t timer, arm;
    uint64_t deadline, period;
    uint32_t flags, reserved;
};
struct expired { /* of an interrupt */
    uint32_t timer, arm;
    uint64_t times, last, reserved; /* how often in all, and when */
};

static struct armed { /* user NULL: free */
    struct far_outside_user *user;
    struct args args;
    uint64_t expired;
} armed[ARMED_MAX];
static volatile sig_atomic_t ended;
static struct far_outside *device;

static void end(int signal)
{
    (void)signal;
    ended = 1;
    far_outside_stop(device); /* wakes its descriptor */
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* That timer of that user, or a free place if it is not armed; or NULL. */
static struct armed *find(struct far_outside_user *user, uint32_t timer)
{
    struct armed *free_one = NULL;

    for (struct armed *a = armed; a < armed + ARMED_MAX; a++)
        if (a->user == user && a->args.timer == timer)
            return a;
        else if (!a->user)
            free_one = a;
    return free_one;
}

static bool op(void *arg, struct far_outside_user *user,
               struct far_outside_op *op, void *payload)
{
    struct armed *a;
    struct args args;

    (void)arg;
    (void)payload;
    memcpy(&args, op->args, sizeof(args));
    a = find(user, args.timer);
    op->status = 0;
    if (op->opcode == ARM) {
        if (args.flags & RELATIVE)
            args.deadline += now_ns();
        if (a)
            *a = (struct armed){ .user = user, .args = args };
        else
            op->status = -ENOSPC;
    } else if (op->opcode == CANCEL) {
        args.arm = a && a->user ? a->args.arm : 0;
        if (a)
            a->user = NULL;
    } else if (op->opcode == NOW) {
        args.deadline = now_ns();
    } else {
        op->status = -EOPNOTSUPP;
    }
    memcpy(op->args, &args, sizeof(args));
    return true;
}

static void detached(void *arg, struct far_outside_user *user)
{
    (void)arg;
    for (struct armed *a = armed; a < armed + ARMED_MAX; a++)
        if (a->user == user)
            a->user = NULL;
}

/* Expires what is due; ns until the next one, at most a second. */
static uint64_t expire(void)
{
    uint64_t now = now_ns(), next = 1000000000;

    for (struct armed *a = armed; a < armed + ARMED_MAX; a++) {
        struct args *args = &a->args;
        struct expired e = { .timer = args->timer, .arm = args->arm };
        uint64_t times = 1;

        if (!a->user)
            continue;
        if (args->deadline <= now) {
            if (args->period)
                times += (now - args->deadline) / args->period;
            e.times = a->expired + times;
            e.last = args->deadline + (times - 1) * args->period;
            if (far_outside_interrupt(a->user, EXPIRED, (uint8_t *)&e)) {
                next = 1000000; /* nobody takes them: tried again soon */
                continue;
            }
            a->expired += times;
            args->deadline += times * args->period;
            if (!args->period)
                a->user = NULL;
        }
        if (a->user && args->deadline - now < next)
            next = args->deadline - now;
    }
    return next;
}

int main(void)
{
    const struct far_outside_calls calls = { .bytes = sizeof(calls),
                                             .op = op,
                                             .detached = detached };
    const uint32_t props[2] = { ARMED_MAX, 1000 }; /* so many, and so fine */
    struct pollfd fd = { .events = POLLIN };
    char why[200];

    device = far_outside_new(NULL, "timer", &calls, NULL, why, sizeof(why));
    if (!device) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    far_outside_props(device, props, sizeof(props));
    signal(SIGTERM, end);
    fd.fd = far_outside_fd(device);
    while (!ended) {
        struct timespec t = { .tv_nsec = 0 };
        uint64_t ns;

        far_outside_turn(device, 0);
        ns = expire();
        t.tv_sec = (time_t)(ns / 1000000000u);
        t.tv_nsec = (long)(ns % 1000000000u);
        ppoll(&fd, 1, &t, NULL);
    }
    far_outside_free(device);
    return 0;
}
