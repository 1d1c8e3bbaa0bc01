/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The loop: one epoll call a turn at most, timers in a binary heap, deferred
 * work, pollers and when to spin. Nothing here knows what it drives.
 *
 * A turn: wait (look at the pollers, spin, or arm them and sleep) - descriptors
 * - timers - pollers - deferred work. Two clock reads: after the wait (the
 * turn's time) and at its end (how long it took, how long to sleep).
 */
#include "core/loop.h"
#include "core/clock.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_A_TURN 32
#define NEVER         UINT64_MAX

/* While pollers find work, descriptors are looked at this often at least. */
#define BUSY_EPOLL_NS 20000u
/* One turn's share of a spin: descriptors and timers wait no longer. */
#define SPIN_SLICE_NS 4000u
/* A slice that took this long was not ours: the processor was given away. */
#define SPIN_STOLEN_NS 200000u
#define SPIN_PAUSES    16 /* looks between two clock reads */
/* Until a timer is so near, what wakes us for it is a descriptor that stays as
 * it is: a time given to each sleep costs the kernel as much as a wake-up. */
#define NEAR_NS   2000000u
#define GIVE_WAYS 2 /* times that a peer here is let go first */

/* The descriptor's place in epoll's data is an index and a generation, never
 * an address: an event of a removed one, late or from a duplicate of its
 * descriptor in another process, finds nobody. */
struct slot {
    struct far_io *io;
    uint32_t generation;
    uint32_t next_free;
};

struct defers {
    struct far_defer *first, **tail;
};

#define SLOT_STOP  UINT32_MAX
#define SLOT_TIMER (UINT32_MAX - 1)

struct far_loop {
    void (*wake)(void *arg);
    void *wake_arg;
    int epoll_fd;
    int stop_fd;
    int timer_fd;          /* -1: there is none to be had */
    uint64_t timer_due_us; /* when it wakes us; NEVER */
    bool timer_woke;       /* it did, this turn */
    bool foreign;          /* far_loop_fd() was called */
    atomic_bool stop;
    bool turning;
    bool one_turn; /* somebody waits for its end: far_loop_turn() */
    bool no_pwait2;
    bool busy;  /* the last turn's pollers found something */
    bool armed; /* pollers were armed and not disarmed yet */
    uint64_t now_ns;
    uint64_t end_ns;   /* of the last turn */
    uint64_t epoll_ns; /* when descriptors were looked at last */

    struct slot *slots;
    uint32_t slots_used, slots_room, free_slot; /* free_slot: index + 1 */

    struct far_timer **heap; /* from 1 */
    uint32_t heap_used, heap_room;

    struct defers now, late;
    struct far_defer *running;

    struct far_poller *pollers;
    struct far_poller *cursor; /* the next one of the walk under way */
    unsigned slow_pollers;

    uint64_t spin_end_ns; /* 0: no spin is under way */
    uint64_t spin_pause_ns;
    unsigned fruitless;

    struct far_loop_stats stats;
};

/* ---- making, ending ---------------------------------------------------- */

static uint64_t event_data(uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << 32 | index;
}

static int watch_own(struct far_loop *loop, int fd, uint32_t index)
{
    struct epoll_event e = { .events = EPOLLIN,
                             .data.u64 = event_data(index, 0) };

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

struct far_loop *far_loop_new(void)
{
    struct far_loop *loop = calloc(1, sizeof(*loop));
    int rc;

    if (!loop)
        return NULL;
    loop->stop_fd = -1;
    loop->timer_due_us = NEVER;
    loop->timer_fd =
        timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop->now.tail = &loop->now.first;
    loop->late.tail = &loop->late.first;
    atomic_init(&loop->stop, false);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        goto fail;
    loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->stop_fd < 0)
        goto fail;
    rc = watch_own(loop, loop->stop_fd, SLOT_STOP);
    if (rc < 0) {
        errno = -rc;
        goto fail;
    }
    if (loop->timer_fd >= 0) {
        rc = watch_own(loop, loop->timer_fd, SLOT_TIMER);
        if (rc < 0) {
            errno = -rc;
            goto fail;
        }
    }
    loop->now_ns = loop->end_ns = far_now_ns();
    return loop;
fail:
    rc = errno;
    far_loop_free(loop);
    errno = rc;
    return NULL;
}

void far_loop_free(struct far_loop *loop)
{
    if (!loop)
        return;
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->stop_fd >= 0)
        close(loop->stop_fd);
    if (loop->timer_fd >= 0)
        close(loop->timer_fd);
    free(loop->slots);
    free(loop->heap);
    free(loop);
}

/* Makes the loop's descriptor readable: also how a stop is told. */
static void kick(const struct far_loop *loop)
{
    uint64_t one = 1;
    int saved = errno; /* far_loop_stop() may be in a signal handler */
    ssize_t n = write(loop->stop_fd, &one, sizeof(one));

    (void)n; /* EAGAIN: it is readable already */
    errno = saved;
}

void far_loop_stop(struct far_loop *loop)
{
    atomic_store(&loop->stop, true);
    kick(loop);
}

uint64_t far_loop_now_us(const struct far_loop *loop)
{
    return loop->now_ns / 1000;
}

const struct far_loop_stats *far_loop_stats(const struct far_loop *loop)
{
    return &loop->stats;
}

/* ---- descriptors ------------------------------------------------------- */

static int slot_take(struct far_loop *loop, uint32_t *index)
{
    if (loop->free_slot) {
        *index = loop->free_slot - 1;
        loop->free_slot = loop->slots[*index].next_free;
        return 0;
    }
    if (loop->slots_used == loop->slots_room) {
        uint32_t room = loop->slots_room ? loop->slots_room * 2 : 16;
        struct slot *more = realloc(loop->slots, room * sizeof(*more));

        if (!more)
            return -ENOMEM;
        loop->slots = more;
        loop->slots_room = room;
    }
    *index = loop->slots_used++;
    loop->slots[*index] = (struct slot){ .generation = 1 };
    return 0;
}

static void slot_give(struct far_loop *loop, uint32_t index)
{
    struct slot *slot = &loop->slots[index];

    slot->io = NULL;
    slot->generation++;
    slot->next_free = loop->free_slot;
    loop->free_slot = index + 1;
}

int far_io_add(struct far_loop *loop, struct far_io *io, int fd,
               uint32_t events,
               void (*ready)(struct far_io *io, uint32_t events))
{
    struct epoll_event e = { .events = events };
    uint32_t index;
    int rc = slot_take(loop, &index);

    if (rc < 0)
        return rc;
    e.data.u64 = event_data(index, loop->slots[index].generation);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
        rc = -errno;
        slot_give(loop, index);
        return rc;
    }
    *io = (struct far_io){
        .fd = fd, .events = events, .ready = ready, .loop = loop, .index = index
    };
    loop->slots[index].io = io;
    return 0;
}

int far_io_set(struct far_io *io, uint32_t events)
{
    struct epoll_event e = { .events = events };
    struct far_loop *loop = io->loop;

    if (io->fd < 0 || !loop)
        return -EINVAL;
    if (io->events == events)
        return 0;
    e.data.u64 = event_data(io->index, loop->slots[io->index].generation);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &e) < 0)
        return -errno;
    io->events = events;
    return 0;
}

void far_io_del(struct far_io *io)
{
    struct far_loop *loop = io->loop;

    if (io->fd < 0 || !loop)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
    slot_give(loop, io->index);
    io->fd = -1;
    io->loop = NULL;
}

/* ---- timers ------------------------------------------------------------ */

static void heap_put(struct far_loop *loop, uint32_t at, struct far_timer *t)
{
    loop->heap[at] = t;
    t->heap_index = at;
}

static void heap_up(struct far_loop *loop, uint32_t at, struct far_timer *t)
{
    while (at > 1 && loop->heap[at / 2]->due_us > t->due_us) {
        heap_put(loop, at, loop->heap[at / 2]);
        at /= 2;
    }
    heap_put(loop, at, t);
}

static void heap_down(struct far_loop *loop, uint32_t at, struct far_timer *t)
{
    for (;;) {
        uint32_t child = at * 2;

        if (child > loop->heap_used)
            break;
        if (child < loop->heap_used &&
            loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
            child++;
        if (loop->heap[child]->due_us >= t->due_us)
            break;
        heap_put(loop, at, loop->heap[child]);
        at = child;
    }
    heap_put(loop, at, t);
}

static void heap_move(struct far_loop *loop, uint32_t at, struct far_timer *t)
{
    if (at > 1 && loop->heap[at / 2]->due_us > t->due_us)
        heap_up(loop, at, t);
    else
        heap_down(loop, at, t);
}

static void set_timer_fd(struct far_loop *loop, uint64_t due_us)
{
    struct itimerspec when = { 0 };

    if (due_us == loop->timer_due_us || loop->timer_fd < 0)
        return;
    loop->timer_due_us = due_us;
    if (due_us == 0)
        due_us = 1; /* 0 would disarm it */
    if (due_us != NEVER) {
        when.it_value.tv_sec = (time_t)(due_us / 1000000u);
        when.it_value.tv_nsec = (long)(due_us % 1000000u * 1000u);
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* The descriptor wakes us at due_us, or before: it is not touched when what it
 * was set for goes away, but wakes us once for nothing. */
static void wake_at(struct far_loop *loop, uint64_t due_us)
{
    if (due_us < loop->timer_due_us)
        set_timer_fd(loop, due_us);
}

/* A foreign loop wakes up for nothing else. */
static void follow_earliest(struct far_loop *loop)
{
    if (loop->foreign)
        set_timer_fd(loop, loop->heap_used ? loop->heap[1]->due_us : NEVER);
}

void far_timer_init(struct far_timer *timer, struct far_loop *loop,
                    void (*fire)(struct far_timer *timer))
{
    *timer = (struct far_timer){ .loop = loop, .fire = fire };
}

int far_timer_set(struct far_timer *timer, uint64_t due_us)
{
    struct far_loop *loop = timer->loop;

    if (timer->heap_index) {
        timer->due_us = due_us;
        heap_move(loop, timer->heap_index, timer);
    } else {
        if (loop->heap_used + 1 >= loop->heap_room) {
            uint32_t room = loop->heap_room ? loop->heap_room * 2 : 16;
            struct far_timer **more =
                realloc(loop->heap, room * sizeof(struct far_timer *));

            if (!more)
                return -ENOMEM;
            loop->heap = more;
            loop->heap_room = room;
        }
        timer->due_us = due_us;
        heap_up(loop, ++loop->heap_used, timer);
    }
    if (!loop->turning)
        follow_earliest(loop);
    return 0;
}

void far_timer_cancel(struct far_timer *timer)
{
    struct far_loop *loop = timer->loop;
    uint32_t at = timer->heap_index;
    struct far_timer *last;

    if (!at)
        return;
    timer->heap_index = 0;
    last = loop->heap[loop->heap_used--];
    if (last != timer)
        heap_move(loop, at, last);
    if (!loop->turning)
        follow_earliest(loop);
}

bool far_timer_armed(const struct far_timer *timer)
{
    return timer->heap_index != 0;
}

/* At most as many as were armed at the beginning: one that sets itself into
 * the past again must not keep the turn from ending. */
static int timers_run(struct far_loop *loop)
{
    uint64_t now_us = loop->now_ns / 1000;
    uint32_t left = loop->heap_used;
    int called = 0;

    while (left-- > 0 && loop->heap_used > 0) {
        struct far_timer *timer = loop->heap[1];

        if (timer->due_us > now_us)
            break;
        far_timer_cancel(timer);
        timer->fire(timer);
        called++;
    }
    return called;
}

/* ---- deferred work ----------------------------------------------------- */

static void defer_to(struct far_loop *loop, struct defers *list,
                     struct far_defer *defer,
                     void (*run)(struct far_defer *defer))
{
    if (defer->queued)
        return;
    defer->run = run;
    defer->next = NULL;
    defer->prev = list->tail;
    *list->tail = defer;
    list->tail = &defer->next;
    defer->queued = true;
    if (!loop->turning && loop->foreign)
        kick(loop);
}

void far_defer(struct far_loop *loop, struct far_defer *defer,
               void (*run)(struct far_defer *defer))
{
    defer_to(loop, &loop->now, defer, run);
}

void far_defer_late(struct far_loop *loop, struct far_defer *defer,
                    void (*run)(struct far_defer *defer))
{
    defer_to(loop, &loop->late, defer, run);
}

static bool has_deferred(const struct far_loop *loop)
{
    return loop->now.first || loop->late.first;
}

static void defer_unlink(struct far_loop *loop, struct far_defer *defer)
{
    *defer->prev = defer->next;
    if (defer->next)
        defer->next->prev = defer->prev;
    if (loop->now.tail == &defer->next)
        loop->now.tail = defer->prev;
    if (loop->late.tail == &defer->next)
        loop->late.tail = defer->prev;
    defer->queued = false;
}

void far_defer_cancel(struct far_loop *loop, struct far_defer *defer)
{
    if (defer->queued)
        defer_unlink(loop, defer);
}

static int list_run(struct far_loop *loop, struct defers *list)
{
    int called = 0;

    if (!list->first)
        return 0;
    /* What they queue themselves is for the next time. */
    loop->running = list->first;
    loop->running->prev = &loop->running;
    list->first = NULL;
    list->tail = &list->first;
    while (loop->running) {
        struct far_defer *defer = loop->running;

        defer_unlink(loop, defer);
        defer->run(defer);
        called++;
    }
    return called;
}

static int defers_run(struct far_loop *loop)
{
    int called = list_run(loop, &loop->now);

    if (loop->late.first) {
        called += list_run(loop, &loop->late);
        called += list_run(loop, &loop->now);
    }
    return called;
}

/* ---- pollers ----------------------------------------------------------- */

void far_poller_add(struct far_loop *loop, struct far_poller *poller)
{
    poller->loop = loop;
    poller->next = loop->pollers;
    poller->prev = &loop->pollers;
    if (poller->next)
        poller->next->prev = &poller->next;
    loop->pollers = poller;
    loop->slow_pollers += poller->slow;
    if (!loop->turning && loop->foreign)
        kick(loop); /* a turn will arm it */
}

void far_poller_del(struct far_poller *poller)
{
    struct far_loop *loop = poller->loop;

    if (!loop)
        return;
    if (loop->cursor == poller)
        loop->cursor = poller->next;
    *poller->prev = poller->next;
    if (poller->next)
        poller->next->prev = poller->prev;
    loop->slow_pollers -= poller->slow;
    poller->loop = NULL;
}

/* The walk allows any poller to be removed meanwhile. */
static struct far_poller *walk_begin(struct far_loop *loop)
{
    struct far_poller *first = loop->pollers;

    loop->cursor = first ? first->next : NULL;
    return first;
}

static struct far_poller *walk_next(struct far_loop *loop)
{
    struct far_poller *p = loop->cursor;

    loop->cursor = p ? p->next : NULL;
    return p;
}

static int pollers_poll(struct far_loop *loop)
{
    int called = 0;

    for (struct far_poller *p = walk_begin(loop); p; p = walk_next(loop))
        if (p->poll(p))
            called++;
    return called;
}

/* Where the peers are that look at shared memory as we do. */
enum where { AWAY, HERE, ELSEWHERE };

static enum where peers_where(struct far_loop *loop)
{
    enum where where = AWAY;

    for (struct far_poller *p = walk_begin(loop); p; p = walk_next(loop)) {
        if (p->peer_elsewhere && p->peer_elsewhere(p))
            return ELSEWHERE;
        if (p->peer_here && p->peer_here(p))
            where = HERE;
    }
    return where;
}

static void pollers_disarm(struct far_loop *loop)
{
    loop->armed = false;
    for (struct far_poller *p = walk_begin(loop); p; p = walk_next(loop))
        if (p->disarm)
            p->disarm(p);
}

/* false: something came in meanwhile. */
static bool pollers_arm(struct far_loop *loop)
{
    bool quiet = true;

    loop->armed = true;
    for (struct far_poller *p = walk_begin(loop); p; p = walk_next(loop))
        if (p->arm && !p->arm(p))
            quiet = false;
    return quiet;
}

static inline void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void spin_fruitless(struct far_loop *loop, uint64_t now_ns)
{
    loop->spin_end_ns = 0;
    loop->stats.fruitless_spins++;
    if (++loop->fruitless >= FAR_SPIN_FRUITLESS) {
        loop->fruitless = 0;
        loop->spin_pause_ns = now_ns + FAR_SPIN_PAUSE_US * 1000u;
    }
}

enum spin {
    SPIN_NONE,  /* not allowed, or over: sleep */
    SPIN_FOUND, /* callbacks were called */
    SPIN_GOING, /* this turn's share is used up: look at descriptors */
};

/* The peer looks too, and shares our processor: it is let go first, and what it
 * has done is seen without anybody having slept. */
static enum spin give_way(struct far_loop *loop, int *called)
{
    for (int i = 0; i < GIVE_WAYS; i++) {
        (void)sched_yield();
        *called = pollers_poll(loop);
        if (*called > 0) {
            loop->fruitless = 0;
            return SPIN_FOUND;
        }
    }
    loop->stats.spins++;
    loop->end_ns = far_now_ns();
    spin_fruitless(loop, loop->end_ns);
    return SPIN_NONE;
}

/* Looks at the pollers for a slice of the spin, and does at once what follows
 * from what they find: a turn costs more than an event. (One who turns the loop
 * himself goes on with what was found at once.) Spins only while a peer
 * is known to run on another processor: on a shared one it would wait for us.
 */
static enum spin spin(struct far_loop *loop, uint64_t until_ns, int *called)
{
    uint64_t begin = loop->end_ns, now = begin;
    enum where where;

    if (begin < loop->spin_pause_ns)
        return SPIN_NONE;
    where = peers_where(loop);
    if (where != ELSEWHERE) {
        loop->spin_end_ns = 0;
        return where == HERE ? give_way(loop, called) : SPIN_NONE;
    }
    if (loop->spin_end_ns == 0) {
        loop->spin_end_ns = begin + FAR_SPIN_US * 1000u;
        loop->stats.spins++;
    }
    do {
        for (int i = 0; i < (loop->slow_pollers ? 1 : SPIN_PAUSES); i++) {
            int n = pollers_poll(loop);

            if (n > 0) {
                *called += n + defers_run(loop);
                break; /* it took time: look at the clock */
            }
            pause_a_little();
        }
        now = far_now_ns();
        if (*called) {
            loop->fruitless = 0;
            if (loop->one_turn)
                break;
        } else if (now - begin > SPIN_STOLEN_NS || now >= loop->spin_end_ns) {
            loop->end_ns = now;
            spin_fruitless(loop, now);
            return SPIN_NONE;
        }
    } while (now - begin < SPIN_SLICE_NS && now < until_ns &&
             !has_deferred(loop) &&
             !atomic_load_explicit(&loop->stop, memory_order_relaxed));
    loop->end_ns = now;
    if (!*called)
        return SPIN_GOING;
    loop->spin_end_ns = 0; /* the next one begins anew */
    return SPIN_FOUND;
}

/* ---- the turn ---------------------------------------------------------- */

static int epoll_call(struct far_loop *loop, struct epoll_event *events,
                      uint64_t timeout_ns)
{
    uint64_t ms;

    if (timeout_ns == 0 || timeout_ns == NEVER)
        return epoll_wait(loop->epoll_fd, events, EVENTS_A_TURN,
                          timeout_ns == 0 ? 0 : -1);
    if (!loop->no_pwait2) {
        struct timespec t = { .tv_sec = (time_t)(timeout_ns / 1000000000u),
                              .tv_nsec = (long)(timeout_ns % 1000000000u) };
        int n = epoll_pwait2(loop->epoll_fd, events, EVENTS_A_TURN, &t, NULL);

        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n;
        loop->no_pwait2 = true;
    }
    ms = (timeout_ns + 999999u) / 1000000u; /* never early */
    return epoll_wait(loop->epoll_fd, events, EVENTS_A_TURN,
                      ms > INT_MAX ? INT_MAX : (int)ms);
}

static int dispatch(struct far_loop *loop, const struct epoll_event *events,
                    int n)
{
    int called = 0;

    for (int i = 0; i < n; i++) {
        uint32_t index = (uint32_t)events[i].data.u64;
        uint32_t generation = (uint32_t)(events[i].data.u64 >> 32);
        struct far_io *io;
        uint64_t count;
        ssize_t r;

        if (index >= SLOT_TIMER) {
            if (index == SLOT_TIMER) {
                loop->timer_due_us = NEVER;
                loop->timer_woke = true;
            }
            r = read(index == SLOT_STOP ? loop->stop_fd : loop->timer_fd,
                     &count, sizeof(count));
            (void)r; /* it only has to be unreadable again */
            continue;
        }
        if (loop->slots[index].generation != generation)
            continue;
        io = loop->slots[index].io;
        io->ready(io, events[i].events);
        called++;
    }
    return called;
}

/* How long to sleep, at most: NEVER if a descriptor wakes us by then. */
static uint64_t sleep_ns(struct far_loop *loop, uint64_t until_ns)
{
    uint64_t left_ns = until_ns - loop->end_ns;

    if (until_ns == NEVER || left_ns <= NEAR_NS || loop->timer_fd < 0)
        return until_ns == NEVER ? NEVER : left_ns;
    wake_at(loop, until_ns / 1000 + (until_ns % 1000 != 0));
    return NEVER;
}

static int turn(struct far_loop *loop, uint64_t until_ns)
{
    struct epoll_event events[EVENTS_A_TURN];
    uint64_t timeout_ns = 0, begin_ns;
    bool look = true; /* at the descriptors */
    int n = 0, called = 0, polled = 0;

    loop->timer_woke = false;
    if (loop->armed)
        pollers_disarm(loop);
    if (loop->heap_used > 0 && loop->heap[1]->due_us < until_ns / 1000)
        until_ns = loop->heap[1]->due_us * 1000;
    if (loop->busy) {
        /* Still at it: descriptors may wait a little, and nobody sleeps. */
        look = loop->end_ns - loop->epoll_ns >= BUSY_EPOLL_NS ||
               has_deferred(loop);
    } else if (!has_deferred(loop) && until_ns > loop->end_ns &&
               !atomic_load_explicit(&loop->stop, memory_order_relaxed)) {
        enum spin spun =
            loop->pollers ? spin(loop, until_ns, &polled) : SPIN_NONE;

        if (spun == SPIN_FOUND)
            look = loop->end_ns - loop->epoll_ns >= BUSY_EPOLL_NS;
        else if (spun == SPIN_NONE && (!loop->pollers || pollers_arm(loop)) &&
                 until_ns > loop->end_ns) /* it is later than before the spin */
            timeout_ns = sleep_ns(loop, until_ns);
    }
    if (look) {
        if (timeout_ns)
            loop->stats.sleeps++;
        n = epoll_call(loop, events, timeout_ns);
        if (n < 0) {
            if (errno != EINTR)
                return -errno;
            n = 0;
        }
    }
    if (loop->armed)
        pollers_disarm(loop);
    begin_ns = far_now_ns();
    loop->now_ns = begin_ns;
    if (look)
        loop->epoll_ns = begin_ns;

    if (loop->wake)
        loop->wake(loop->wake_arg);
    called = polled + dispatch(loop, events, n);
    if (called > 0) /* what is waited for next is waited for anew */
        loop->spin_end_ns = 0;
    if (loop->heap_used > 0)
        called += timers_run(loop);
    if (loop->pollers) {
        if (polled == 0)
            polled = pollers_poll(loop), called += polled;
        loop->busy = polled > 0;
    } else {
        loop->busy = false;
    }
    called += defers_run(loop);

    loop->end_ns = far_now_ns();
    loop->stats.turns++;
    if ((loop->end_ns - begin_ns) / 1000 > loop->stats.longest_turn_us)
        loop->stats.longest_turn_us = (loop->end_ns - begin_ns) / 1000;
    return called;
}

static int turn_guarded(struct far_loop *loop, uint64_t until_ns)
{
    int rc;

    if (loop->turning)
        return -EBUSY;
    loop->turning = true;
    rc = turn(loop, until_ns);
    loop->turning = false;
    return rc;
}

void far_loop_set_wake(struct far_loop *loop, void (*wake)(void *arg),
                       void *arg)
{
    loop->wake = wake;
    loop->wake_arg = arg;
}

int far_loop_turn(struct far_loop *loop, uint64_t timeout_us)
{
    uint64_t until = NEVER;
    int rc;

    loop->end_ns = far_now_ns(); /* time passed outside */
    if (timeout_us < (NEVER - loop->end_ns) / 1000)
        until = loop->end_ns + timeout_us * 1000;
    loop->one_turn = true;
    do /* until it is somebody's, or time */
        rc = turn_guarded(loop, until);
    while (rc == 0 && loop->timer_woke && loop->end_ns < until &&
           !atomic_load_explicit(&loop->stop, memory_order_relaxed));
    loop->one_turn = false;
    if (loop->foreign && rc != -EBUSY) {
        follow_earliest(loop);
        if (loop->busy || has_deferred(loop) || !pollers_arm(loop))
            kick(loop);
    }
    return rc;
}

int far_loop_run(struct far_loop *loop)
{
    int rc = 0;

    loop->end_ns = far_now_ns();
    while (rc >= 0 && !atomic_load_explicit(&loop->stop, memory_order_relaxed))
        rc = turn_guarded(loop, NEVER);
    if (rc != -EBUSY)
        atomic_store(&loop->stop, false);
    return rc < 0 ? rc : 0;
}

int far_loop_fd(struct far_loop *loop)
{
    if (loop->timer_fd < 0)
        return -EMFILE;
    if (loop->foreign)
        return loop->epoll_fd;
    loop->foreign = true;
    follow_earliest(loop);
    kick(loop); /* the first turn arms the pollers */
    return loop->epoll_fd;
}
