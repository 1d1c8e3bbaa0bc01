/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The loop that each daemon turns, in one thread: file descriptors, timers,
 * work at the end of a turn, and pollers (shared memory that is looked at
 * before sleeping). Every struct here is embedded in its user's and may be
 * removed at any time, also from within its own callback or another's; a
 * removed one is not called again. Level-triggered; nothing is allocated but
 * in far_loop_new() and when a table grows at an add.
 */
#ifndef FARSIDE_CORE_LOOP_H
#define FARSIDE_CORE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct far_loop;

struct far_loop *far_loop_new(void); /* NULL and errno */
void far_loop_free(struct far_loop *loop);

/* Turns until far_loop_stop(); 0 or a negative errno. */
int far_loop_run(struct far_loop *loop);
/* One turn that waits at most timeout_us (0: not at all); number of callbacks
 * that were called, or a negative errno. For tests and libraries. */
int far_loop_turn(struct far_loop *loop, uint64_t timeout_us);
/* Any thread, and signal handlers. */
void far_loop_stop(struct far_loop *loop);
/* The loop's own descriptor, readable when a turn has something to do (timers
 * too): for programs with a loop of their own. */
int far_loop_fd(struct far_loop *loop);
/* Time at the beginning of this turn, CLOCK_MONOTONIC. */
uint64_t far_loop_now_us(const struct far_loop *loop);

/* Called first in each turn, before descriptors and timers: for who must know
 * at once that the process was stopped, and time has passed. There is one;
 * NULL: none. What pollers find while the loop spins comes before it. */
void far_loop_set_wake(struct far_loop *loop, void (*wake)(void *arg),
                       void *arg);

struct far_io {
    int fd;          /* -1: not in a loop */
    uint32_t events; /* EPOLLIN, EPOLLOUT */
    void (*ready)(struct far_io *io, uint32_t events);
    struct far_loop *loop;
    uint32_t index; /* the loop's */
};
int far_io_add(struct far_loop *loop, struct far_io *io, int fd,
               uint32_t events,
               void (*ready)(struct far_io *io, uint32_t events));
int far_io_set(struct far_io *io, uint32_t events);
/* Idempotent; does not close fd: the caller does, after this (a closed one
 * whose duplicate lives on in another process can't be taken out any more). */
void far_io_del(struct far_io *io);

struct far_timer {
    uint64_t due_us; /* CLOCK_MONOTONIC */
    void (*fire)(struct far_timer *timer);
    struct far_loop *loop;
    uint32_t heap_index; /* the loop's; 0: not armed */
};
void far_timer_init(struct far_timer *timer, struct far_loop *loop,
                    void (*fire)(struct far_timer *timer));
/* Arms or moves it. 0 or -ENOMEM. */
int far_timer_set(struct far_timer *timer, uint64_t due_us);
void far_timer_cancel(struct far_timer *timer); /* idempotent */
bool far_timer_armed(const struct far_timer *timer);

/* Runs once at the end of this turn (of the next one, if queued by a deferred
 * call): one send, one notification for all that the turn produced. */
struct far_defer {
    void (*run)(struct far_defer *defer);
    struct far_defer *next, **prev;
    bool queued;
};
void far_defer(struct far_loop *loop, struct far_defer *defer,
               void (*run)(struct far_defer *defer)); /* no-op if queued */
/* The same, but after all else of the turn: for what can wait. What it queues
 * with far_defer() still runs in this turn. */
void far_defer_late(struct far_loop *loop, struct far_defer *defer,
                    void (*run)(struct far_defer *defer));
void far_defer_cancel(struct far_loop *loop, struct far_defer *defer);

/* Shared memory that may be looked at instead of sleeping. poll() does what is
 * there and says whether there was anything; peer_elsewhere() says whether
 * the peer is known to run on another processor now (only then the loop
 * spins); peer_here() whether it looks too but on this one (then the loop gives
 * way to it once or twice). Before sleeping the loop calls arm() of every
 * poller, which asks the peer for a wake-up and returns false if work came in
 * meanwhile; after waking, disarm(). Spin policy: at most spin_us per sleep,
 * and after FAR_SPIN_FRUITLESS fruitless spins none for FAR_SPIN_PAUSE_US. */
#define FAR_SPIN_US        50
#define FAR_SPIN_FRUITLESS 8
#define FAR_SPIN_PAUSE_US  20000

struct far_poller {
    bool (*poll)(struct far_poller *poller);
    bool (*peer_elsewhere)(struct far_poller *poller); /* NULL: never spin */
    bool (*peer_here)(struct far_poller *poller); /* NULL: never give way */
    bool (*arm)(struct far_poller *poller);       /* NULL: true */
    void (*disarm)(struct far_poller *poller);    /* may be NULL */
    bool slow; /* poll() makes a system call: the clock is read after each */
    struct far_poller *next, **prev;
    struct far_loop *loop;
};
void far_poller_add(struct far_loop *loop, struct far_poller *poller);
void far_poller_del(struct far_poller *poller); /* idempotent */

/* Counters of the loop itself, for status and bench. */
struct far_loop_stats {
    uint64_t turns, sleeps, spins, fruitless_spins, longest_turn_us;
};
const struct far_loop_stats *far_loop_stats(const struct far_loop *loop);

#endif
