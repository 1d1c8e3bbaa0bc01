/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fartimer's frontend (docs/TIMER.md): timers that are armed by a store, and
 * the clock that is read from the counter. What is armed is kept here, by the
 * program's clock: a new backend or another host gets it anew, translated.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "farside/io/fartimer.h"
#include "frontend/own.h"

#define REQUESTS 64u
/* The handshake of the clock ends when the bound is good, or stands. */
#define ROUNDS_MIN  32u
#define ROUNDS_MAX  400u
#define ROUNDS_GOOD 300u /* ns */
/* A backend that has just begun does not know its own clock's rate yet. */
#define AGAIN_US 20000u
#define NO_CLOCK 0u

struct record {
    uint64_t deadline_ns, period_ns; /* of the program's clock */
    uint64_t handled;                /* expiries */
    uint32_t arm;
    bool armed, relative, outside;
};

struct request {
    unsigned tag;
    uint16_t operation;
    bool busy;
};

struct far_frontend_timers {
    struct far_front_own own;
    struct far_frontend_timers_hooks hooks;
    void *arg;
    uint32_t count;
    struct record *records;
    struct far_frontend_timers_counters counters;
    struct request requests[REQUESTS];

    /* the clock: ours = host's + shift */
    bool ready; /* slots can be written: the clock is there */
    uint64_t shift, last_ns;
    uint64_t host[2];
    bool has_host;
    unsigned rounds;
    uint64_t seen_tsc, bound_ns;
    unsigned stood; /* rounds without a better bound */
    struct far_timer again;
};

static struct far_frontend_timers *timers_of(struct far_front_own *own)
{
    return (struct far_frontend_timers *)(void *)own;
}

static struct fartimer_page *page_of(struct far_frontend_timers *t)
{
    return t->own.control;
}

static uint64_t counter(void)
{
#if defined(__x86_64__) || defined(__i386__)
    uint64_t tsc;

    __builtin_ia32_lfence();
    tsc = __builtin_ia32_rdtsc();
    return tsc;
#elif defined(__aarch64__)
    uint64_t tsc;

    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(tsc)::"memory");
    return tsc;
#else
    return 0;
#endif
}

/* ---- the clock ----------------------------------------------------------- */

/* The host's time, or NO_CLOCK. */
static uint64_t host_ns(struct far_frontend_timers *t, uint64_t *error_ns,
                        uint64_t host[2])
{
    const struct fartimer_clock *c = &page_of(t)->clock;

    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t version = __atomic_load_n(&c->version, __ATOMIC_ACQUIRE);
        uint64_t delta, base, ns;
        uint32_t flags, mul;
        int8_t shift;

        if (version & 1) {
            far_relax();
            continue;
        }
        flags = __atomic_load_n(&c->flags, __ATOMIC_RELAXED);
        base = __atomic_load_n(&c->base_ns, __ATOMIC_RELAXED);
        delta = counter() - __atomic_load_n(&c->base_tsc, __ATOMIC_RELAXED);
        mul = __atomic_load_n(&c->mul, __ATOMIC_RELAXED);
        shift = __atomic_load_n(&c->shift, __ATOMIC_RELAXED);
        if (error_ns)
            *error_ns = __atomic_load_n(&c->error_ns, __ATOMIC_RELAXED);
        if (host) {
            host[0] = __atomic_load_n(&c->host[0], __ATOMIC_RELAXED);
            host[1] = __atomic_load_n(&c->host[1], __ATOMIC_RELAXED);
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&c->version, __ATOMIC_RELAXED) != version)
            continue;
        if (!(flags & FARTIMER_CLOCK_VALID) || shift < -63 || shift > 63)
            return NO_CLOCK;
        /* The counter of one processor may be a little behind another's. */
        if ((int64_t)delta < 0)
            delta = 0;
        delta = shift >= 0 ? delta << shift : delta >> -shift;
        ns = base + (uint64_t)(((unsigned __int128)delta * mul) >> 32);
        return ns;
    }
    return NO_CLOCK;
}

uint64_t far_frontend_timers_now_ns(struct far_frontend_timers *t,
                                    uint64_t *error_ns)
{
    uint64_t now;

    if (error_ns)
        *error_ns = 0;
    if (!t->ready)
        return t->last_ns;
    now = host_ns(t, error_ns, NULL);
    if (now == NO_CLOCK)
        return t->last_ns;
    now += t->shift;
    if (now > t->last_ns)
        t->last_ns = now;
    return t->last_ns;
}

/* ---- requests ------------------------------------------------------------ */

static int request(struct far_frontend_timers *t, struct fartimer_request *r,
                   unsigned tag)
{
    unsigned id;

    if (!t->own.connected)
        return -ENOTCONN;
    for (id = 0; id < REQUESTS && t->requests[id].busy; id++)
        ;
    if (id == REQUESTS || !far_ring_room(&t->own.ring))
        return -EAGAIN;
    t->requests[id] =
        (struct request){ .tag = tag, .operation = r->operation, .busy = true };
    r->id = (uint16_t)id;
    far_ring_put(&t->own.ring, r);
    if (far_ring_front_push(&t->own.ring)) {
        t->counters.notifies++;
        far_front_own_notify(&t->own);
    }
    return 0;
}

static int round_now(struct far_frontend_timers *t)
{
    struct fartimer_request r = { .operation = FARTIMER_OP_TSC,
                                  .period_ns = t->seen_tsc };

    t->counters.clock_rounds++;
    t->rounds++;
    r.deadline_ns = counter();
    return request(t, &r, 0);
}

/* ---- slots --------------------------------------------------------------- */

static struct fartimer_slot *slot_of(struct far_frontend_timers *t,
                                     uint32_t timer)
{
    return (struct fartimer_slot *)t->own.more + timer;
}

static void mark(struct far_frontend_timers *t, uint32_t timer)
{
    struct fartimer_page *page = page_of(t);

    __atomic_fetch_or(&page->dirty[timer / 64], (uint64_t)1 << (timer % 64),
                      __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&page->dirty_words[timer / 4096],
                      (uint64_t)1 << (timer / 64 % 64), __ATOMIC_SEQ_CST);
}

/* By the host's clock; 0 would be no deadline. */
static uint64_t to_host(const struct far_frontend_timers *t, uint64_t ns)
{
    uint64_t host = ns - t->shift;

    if ((int64_t)t->shift >= 0 ? ns <= t->shift : host < ns)
        return (int64_t)t->shift >= 0 ? 1 : UINT64_MAX;
    return host;
}

/* Only one that is earlier than the backend's next look needs a word. */
static void store(struct far_frontend_timers *t, uint32_t timer)
{
    struct record *r = &t->records[timer];
    struct fartimer_slot *slot = slot_of(t, timer);
    uint64_t deadline = to_host(t, r->deadline_ns);

    __atomic_store_n(&slot->period_ns, r->period_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->arm, r->arm, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->deadline_ns, deadline, __ATOMIC_RELEASE);
    mark(t, timer);
    if (deadline < __atomic_load_n(&page_of(t)->looks_ns, __ATOMIC_SEQ_CST)) {
        t->counters.notifies++;
        far_front_own_notify(&t->own);
    }
}

/* The clock is there: what is armed goes into the slots. */
static void begin(struct far_frontend_timers *t)
{
    uint64_t host[2], now = host_ns(t, NULL, host);

    if (now == NO_CLOCK)
        return;
    if (!t->has_host || memcmp(host, t->host, sizeof(host))) {
        /* Another host's clock: ours goes on where it was. */
        if (t->has_host)
            t->shift = t->last_ns - now;
        memcpy(t->host, host, sizeof(host));
        t->has_host = true;
    }
    t->ready = true;
    now = far_frontend_timers_now_ns(t, NULL);
    for (uint32_t i = 0; i < t->count; i++) {
        struct record *r = &t->records[i];
        struct fartimer_slot *slot = slot_of(t, i);

        if (!r->armed || r->outside)
            continue;
        if (r->relative) {
            r->deadline_ns = r->deadline_ns > UINT64_MAX - now
                                 ? UINT64_MAX
                                 : now + r->deadline_ns;
            r->relative = false;
        }
        if (r->handled) {
            slot->expired = r->handled;
            slot->fired_arm = r->arm;
        }
        store(t, i);
    }
}

static void rounds(struct far_frontend_timers *t, uint64_t bound_ns)
{
    if (bound_ns < t->bound_ns) {
        t->bound_ns = bound_ns;
        t->stood = 0;
    } else {
        t->stood++;
    }
    if (t->rounds < ROUNDS_MIN ||
        (t->rounds < ROUNDS_MAX && t->bound_ns > ROUNDS_GOOD &&
         t->stood < ROUNDS_MAX / 4)) {
        if (round_now(t) == 0)
            return;
    }
    if (!t->ready)
        begin(t);
    if (!t->ready)
        (void)far_timer_set(&t->again, far_now_us() + AGAIN_US);
}

static void rounds_again(struct far_timer *timer)
{
    struct far_frontend_timers *t =
        (struct far_frontend_timers *)(void *)((char *)timer -
                                               offsetof(
                                                   struct far_frontend_timers,
                                                   again));

    t->rounds = t->stood = 0;
    if (!t->ready && round_now(t))
        (void)far_timer_set(&t->again, far_now_us() + AGAIN_US);
}

/* ---- from the backend ---------------------------------------------------- */

static int answers(struct far_frontend_timers *t)
{
    struct fartimer_response response;
    int r, n = 0;

    while (!t->own.closed &&
           (r = far_ring_response(&t->own.ring, &response)) != 0) {
        struct request *q;

        if (r < 0)
            return r;
        if (response.id >= REQUESTS || !t->requests[response.id].busy ||
            t->requests[response.id].operation != response.operation)
            return -EPROTO;
        n = 1;
        q = &t->requests[response.id];
        q->busy = false;
        if (q->operation == FARTIMER_OP_TSC) {
            t->seen_tsc = counter();
            rounds(t, response.status ? UINT64_MAX : response.value);
        } else if (t->hooks.answered) {
            t->hooks.answered(t->arg, q->tag, response.status, response.value);
        }
    }
    return n;
}

static void expire(struct far_frontend_timers *t, uint32_t timer)
{
    const struct fartimer_slot *slot = slot_of(t, timer);
    struct record *r = &t->records[timer];
    uint32_t arm = __atomic_load_n(&slot->fired_arm, __ATOMIC_ACQUIRE);
    uint64_t expired = __atomic_load_n(&slot->expired, __ATOMIC_RELAXED);
    uint64_t count = expired - r->handled;

    if (!r->armed || arm != r->arm || expired <= r->handled)
        return;
    r->handled = expired;
    if (!r->period_ns)
        r->armed = false;
    t->counters.expired += count;
    t->hooks.expired(t->arg, timer, count);
}

static int expiries(struct far_frontend_timers *t)
{
    struct fartimer_page *page = page_of(t);
    int n = 0;

    for (unsigned i = 0; i < FARTIMER_TIMERS_MAX / 4096; i++) {
        uint64_t words;

        if (!__atomic_load_n(&page->fired_words[i], __ATOMIC_ACQUIRE))
            continue;
        words = __atomic_exchange_n(&page->fired_words[i], 0, __ATOMIC_SEQ_CST);
        for (; words && !t->own.closed; words &= words - 1) {
            unsigned word = i * 64 + (unsigned)__builtin_ctzll(words);
            uint64_t bits =
                __atomic_exchange_n(&page->fired[word], 0, __ATOMIC_SEQ_CST);

            for (; bits && !t->own.closed; bits &= bits - 1) {
                unsigned timer = word * 64 + (unsigned)__builtin_ctzll(bits);

                if (timer >= t->count)
                    return -EPROTO;
                n = 1;
                expire(t, timer);
            }
        }
    }
    return n;
}

static int timers_drain(struct far_front_own *own)
{
    struct far_frontend_timers *t = timers_of(own);
    int any = 0;

    t->counters.wakeups++;
    for (;;) {
        int r = answers(t), e = r < 0 || own->closed ? 0 : expiries(t);

        if (r < 0 || e < 0)
            return -EPROTO;
        any |= r | e;
        if (own->closed || own->polling || far_ring_front_arm(&own->ring))
            return any;
    }
}

static int timers_pages(struct far_front_own *own)
{
    struct far_frontend_timers *t = timers_of(own);

    if (t->count > own->nodes.max_timers) {
        snprintf(own->why, sizeof(own->why),
                 "%u timers are wanted, the backend allows %u", t->count,
                 own->nodes.max_timers);
        return -ENOSPC;
    }
    return (int)((t->count + FARTIMER_SLOTS_A_PAGE - 1) /
                 FARTIMER_SLOTS_A_PAGE);
}

static int timers_offer(struct far_front_own *own, far_xs_t t)
{
    struct far_frontend_timers *timers = timers_of(own);
    int pages = timers_pages(own);
    int r =
        far_front_own_write(own, t, FAR_NODE_OWN_FRONT_TIMERS, timers->count);

    for (int i = 0; !r && i < pages; i++) {
        char node[32];

        snprintf(node, sizeof(node), "timers-ref%d", i);
        r = far_front_own_write(own, t, node, own->refs[2 + i]);
    }
    return r;
}

static void timers_connected(struct far_front_own *own)
{
    struct far_frontend_timers *t = timers_of(own);

    t->counters.connections++;
    t->rounds = t->stood = 0;
    t->seen_tsc = 0;
    t->bound_ns = UINT64_MAX;
    (void)round_now(t);
}

static void timers_dropped(struct far_front_own *own)
{
    struct far_frontend_timers *t = timers_of(own);

    far_timer_cancel(&t->again);
    /* What the backend said last counts, if it is still there to be read. */
    if (t->ready)
        (void)far_frontend_timers_now_ns(t, NULL);
    t->ready = false;
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct request *q = &t->requests[i];

        if (!q->busy)
            continue;
        q->busy = false;
        if (q->operation != FARTIMER_OP_TSC && t->hooks.answered)
            t->hooks.answered(t->arg, q->tag, -ECONNRESET, 0);
    }
}

static uint32_t timers_back_cpu(struct far_front_own *own)
{
    return __atomic_load_n(&page_of(timers_of(own))->back_cpu,
                           __ATOMIC_RELAXED);
}

static bool timers_arm_pages(struct far_front_own *own)
{
    struct fartimer_page *page = page_of(timers_of(own));

    __atomic_store_n(&page->front_cpu, 0, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return !__atomic_load_n(&page->fired_words[0], __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&page->fired_words[1], __ATOMIC_ACQUIRE) &&
           far_ring_front_arm(&own->ring);
}

static void timers_disarm_pages(struct far_front_own *own, uint32_t cpu)
{
    __atomic_store_n(&page_of(timers_of(own))->front_cpu, cpu,
                     __ATOMIC_RELAXED);
}

static void timers_told(struct far_front_own *own,
                        enum far_frontend_state state, const char *why)
{
    struct far_frontend_timers *t = timers_of(own);

    if (t->hooks.state)
        t->hooks.state(t->arg, state, why);
}

static void timers_freed(struct far_front_own *own)
{
    struct far_frontend_timers *t = timers_of(own);

    free(t->records);
    free(t);
}

static const struct far_front_own_class timers_class = {
    .kind = "fartimer",
    .entry_bytes = sizeof(struct fartimer_request),
    .pages = timers_pages,
    .offer = timers_offer,
    .connected = timers_connected,
    .drain = timers_drain,
    .dropped = timers_dropped,
    .back_cpu = timers_back_cpu,
    .arm = timers_arm_pages,
    .disarm = timers_disarm_pages,
};

/* ---- for programs -------------------------------------------------------- */

struct far_frontend_timers *far_frontend_timers_open(
    struct far_frontend *frontend, unsigned devid, unsigned timers,
    uint32_t flags, const struct far_frontend_timers_hooks *hooks, void *arg)
{
    struct far_frontend_timers *t;
    int r;

    if (devid > FAR_FRONT_DEVID_MAX || !timers ||
        timers > FARTIMER_TIMERS_MAX || !hooks->expired) {
        errno = EINVAL;
        return NULL;
    }
    t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->records = calloc(timers, sizeof(*t->records));
    if (!t->records) {
        free(t);
        return NULL;
    }
    t->count = timers;
    t->hooks = *hooks;
    t->arg = arg;
    far_timer_init(&t->again, frontend->loop, rounds_again);
    t->own.class = &timers_class;
    t->own.devid = devid;
    t->own.poll = !(flags & FAR_FRONTEND_NO_POLL);
    t->own.told = timers_told;
    t->own.freed = timers_freed;
    r = far_front_own_open(frontend, &t->own);
    if (!r)
        return t;
    timers_freed(&t->own);
    errno = -r;
    return NULL;
}

void far_frontend_timers_close(struct far_frontend_timers *t)
{
    if (t)
        far_front_own_close(&t->own);
}

enum far_frontend_state
far_frontend_timers_state(const struct far_frontend_timers *t)
{
    return t->own.state;
}

static uint32_t next_arm(uint32_t arm, uint32_t flags)
{
    arm = (arm & FARTIMER_ARM_NUMBER) + (1u << FARTIMER_ARM_SHIFT);
    if (!arm)
        arm = 1u << FARTIMER_ARM_SHIFT;
    return arm | flags;
}

static int arm(struct far_frontend_timers *t, unsigned timer,
               uint64_t deadline_ns, uint64_t period_ns,
               enum far_frontend_catch_up catch_up, bool relative)
{
    struct record *r;

    if (timer >= t->count || (unsigned)catch_up > FAR_FRONTEND_SLEW ||
        (period_ns && period_ns < FARTIMER_PERIOD_MIN_NS))
        return -EINVAL;
    r = &t->records[timer];
    r->arm = next_arm(r->arm, (uint32_t)catch_up);
    r->deadline_ns = deadline_ns;
    r->period_ns = period_ns;
    r->handled = 0;
    r->armed = true;
    r->outside = false;
    r->relative = relative;
    t->counters.arms++;
    if (t->ready)
        store(t, timer);
    return 0;
}

int far_frontend_timers_arm(struct far_frontend_timers *t, unsigned timer,
                            uint64_t deadline_ns, uint64_t period_ns,
                            enum far_frontend_catch_up catch_up)
{
    return arm(t, timer, deadline_ns, period_ns, catch_up, false);
}

int far_frontend_timers_arm_in(struct far_frontend_timers *t, unsigned timer,
                               uint64_t distance_ns, uint64_t period_ns,
                               enum far_frontend_catch_up catch_up)
{
    uint64_t now;

    if (!t->ready)
        return arm(t, timer, distance_ns, period_ns, catch_up, true);
    now = far_frontend_timers_now_ns(t, NULL);
    return arm(t, timer,
               distance_ns > UINT64_MAX - now ? UINT64_MAX : now + distance_ns,
               period_ns, catch_up, false);
}

int far_frontend_timers_cancel(struct far_frontend_timers *t, unsigned timer)
{
    struct record *r;

    if (timer >= t->count)
        return -EINVAL;
    r = &t->records[timer];
    if (r->outside && t->own.connected) {
        struct fartimer_request q = { .operation = FARTIMER_OP_CANCEL,
                                      .timer = timer };

        (void)request(t, &q, UINT32_MAX);
    } else if (r->armed && t->ready) {
        __atomic_store_n(&slot_of(t, timer)->deadline_ns, 0, __ATOMIC_RELEASE);
        mark(t, timer);
    }
    r->armed = r->outside = false;
    return 0;
}

int far_frontend_timers_arm_outside(struct far_frontend_timers *t,
                                    unsigned timer, uint64_t distance_ns,
                                    uint64_t period_ns, unsigned tag)
{
    struct fartimer_request q = { .operation = FARTIMER_OP_ARM_IN,
                                  .timer = timer,
                                  .deadline_ns = distance_ns,
                                  .period_ns = period_ns };
    struct record *r;
    int rc;

    if (timer >= t->count || (period_ns && period_ns < FARTIMER_PERIOD_MIN_NS))
        return -EINVAL;
    r = &t->records[timer];
    q.arm = next_arm(r->arm, FARTIMER_OUTSIDE);
    rc = request(t, &q, tag);
    if (rc)
        return rc;
    *r = (struct record){
        .period_ns = period_ns, .arm = q.arm, .armed = true, .outside = true
    };
    return 0;
}

int far_frontend_timers_nop(struct far_frontend_timers *t, unsigned tag)
{
    struct fartimer_request q = { .operation = FARTIMER_OP_NOP };

    return request(t, &q, tag);
}

const struct far_frontend_timers_counters *
far_frontend_timers_counters(const struct far_frontend_timers *t)
{
    return &t->counters;
}
