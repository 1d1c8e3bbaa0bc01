/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The clock that guests read: see clock.h.
 *
 * The line is measured over a base that doubles: an end of it is known to some
 * 50 ns, so that a line over a base B, used for another B, is off by at most
 * twice that. It ends doubling at LAST_US, where the 32 bits of the rate come
 * to as much. While the kernel's clock is being disciplined its rate changes:
 * then the line is taken from the last second, each second.
 */
#include "backend/clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/uuid.h"

#define TRIES          16
#define FIRST_US       20000u
#define LAST_US        1000000000u
#define DISCIPLINED_US 1000000u
/* A page that is ahead runs slower, by 500 parts in a million at most, until it
 * isn't; so little that nobody need do anything about it: */
#define MELT_NS   100000000u
#define MELT_PART 2000u
#define AHEAD_NS  16u

struct pair {
    uint64_t tsc, ns, error_ticks;
};

struct far_clock {
    struct far_loop *loop;
    struct far_timer again, melt;
    struct pair first, last;
    struct far_clock_line line;
    uint64_t error_ns; /* of a reading, and of what the line is ahead */
    uint64_t host[2], updates;
    struct far_clock_guest *guests;
};

uint64_t far_clock_counter(void)
{
#if defined(__x86_64__) || defined(__i386__)
    uint64_t tsc;

    /* not before what came before it */
    __builtin_ia32_lfence();
    tsc = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return tsc;
#elif defined(__aarch64__)
    uint64_t tsc;

    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(tsc)::"memory");
    return tsc;
#else
    return 0;
#endif
}

/* The tightest of some: the others were interrupted. */
static struct pair measure(void)
{
    struct pair best = { .error_ticks = UINT64_MAX };

    for (unsigned i = 0; i < TRIES; i++) {
        uint64_t a = far_clock_counter(), ns = far_now_ns(),
                 b = far_clock_counter();

        if (b - a < best.error_ticks)
            best = (struct pair){ .tsc = a + (b - a) / 2,
                                  .ns = ns,
                                  .error_ticks = b - a };
    }
    best.error_ticks /= 2;
    return best;
}

/* --- pure ------------------------------------------------------------------
 */

bool far_clock_rate(struct far_clock_line *line, uint64_t ns, uint64_t ticks)
{
    int shift = 0;
    unsigned __int128 mul;

    if (!ns || !ticks || ns >> 31 > ticks || ticks >> 31 > ns)
        return false;
    mul = ((unsigned __int128)ns << 32) / ticks;
    while (mul >> 32) {
        shift++;
        mul = ((unsigned __int128)ns << (32 - shift)) / ticks;
    }
    while (!(mul >> 31)) {
        shift--;
        mul = ((unsigned __int128)ns << (32 - shift)) / ticks;
    }
    line->mul = (uint32_t)mul;
    line->shift = (int8_t)shift;
    return true;
}

uint64_t far_clock_ns(const struct far_clock_line *line, uint64_t tsc)
{
    uint64_t delta = tsc - line->base_tsc;

    delta = line->shift >= 0 ? delta << line->shift : delta >> -line->shift;
    return line->base_ns +
           (uint64_t)(((unsigned __int128)delta * line->mul) >> 32);
}

void far_clock_offset_add(struct far_clock_offset *o, uint64_t before,
                          uint64_t seen, uint64_t host)
{
    o->rounds++;
    /* The last answer was seen after it was made. */
    if (seen && o->last && (int64_t)(seen - o->last_guest) >= 0) {
        int64_t high = (int64_t)(seen - o->last);

        if (!o->has_high || high < o->high)
            o->high = high;
        o->has_high = true;
    }
    if (!o->has_low || (int64_t)(before - host) > o->low)
        o->low = (int64_t)(before - host);
    o->has_low = true;
    o->last = host;
    o->last_guest = before;
    if (o->has_high && o->low > o->high) {
        /* Another counter, or a rate of its own: what was known is void. */
        o->contradictions++;
        o->low = (int64_t)(before - host);
        o->has_high = false;
    }
}

uint64_t far_clock_offset_error(const struct far_clock_offset *o)
{
    return o->has_low && o->has_high ? (uint64_t)(o->high - o->low) / 2
                                     : UINT64_MAX;
}

/* --- guests ----------------------------------------------------------------
 */

static uint64_t ticks_ns(const struct far_clock *clock, uint64_t ticks)
{
    struct far_clock_line line = clock->line;

    line.base_tsc = line.base_ns = 0;
    return far_clock_ns(&line, ticks);
}

static void put32(uint32_t *at, uint32_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}

static void put64(uint64_t *at, uint64_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELAXED);
}

/* As a guest reads it. */
static uint64_t read_ns(const struct far_clock_line *line, uint64_t tsc)
{
    return (int64_t)(tsc - line->base_tsc) < 0 ? line->base_ns
                                               : far_clock_ns(line, tsc);
}

/* The line over the guest's counter, as it is known now. Where the page was
 * ahead of that it goes on from where it was, and slower. How much it is ahead.
 */
static uint64_t guest_line(struct far_clock_guest *guest, uint64_t error_ns,
                           struct far_clock_line *line)
{
    const struct far_clock_offset *o = &guest->offset;
    const struct far_clock_line *old = &guest->written;
    uint64_t tsc = far_clock_counter(), ahead = 0, melt, high;
    /* the guest's counter is between these, and so is what it reads */
    const uint64_t between[] = { tsc + (uint64_t)o->low,
                                 tsc + (uint64_t)o->high };

    *line = guest->clock->line;
    line->base_tsc += (uint64_t)(o->low + (o->high - o->low) / 2);
    guest->melted_ns = 0;
    if (!old->mul)
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        /* both round down */
        uint64_t was = read_ns(old, between[i]) + 2,
                 is = read_ns(line, between[i]);

        if (was > is && was - is > ahead)
            ahead = was - is;
    }
    if (ahead > guest->written_error_ns + error_ns + AHEAD_NS)
        return 0; /* the guest's counter is another one by now */
    if ((int64_t)(between[0] - line->base_tsc) > 0) {
        line->base_ns = far_clock_ns(line, between[0]);
        line->base_tsc = between[0];
    }
    high = read_ns(line, between[1]) + ahead;
    if (ahead > AHEAD_NS) {
        melt = ahead > MELT_NS / MELT_PART ? ahead * MELT_PART : MELT_NS;
        line->mul -= (uint32_t)((unsigned __int128)line->mul * ahead / melt);
        guest->melted_ns = far_now_ns() + melt;
        if (!far_timer_armed(&guest->clock->melt))
            far_timer_set(&guest->clock->melt, guest->melted_ns / 1000);
    }
    /* By the upper end, as it runs slower: below that it is the more ahead. */
    line->base_ns += high - read_ns(line, between[1]);
    return ahead;
}

/* The bound of what is not known of the guest's counter. */
static uint64_t write_page(struct far_clock_guest *guest)
{
    struct far_clock *clock = guest->clock;
    struct fartimer_clock *page = guest->page;
    uint64_t error = far_clock_offset_error(&guest->offset), ahead;
    struct far_clock_line line;

    if (error == UINT64_MAX || !clock->line.mul)
        return UINT64_MAX;
    error = ticks_ns(clock, error) + clock->error_ns;
    ahead = guest_line(guest, error, &line);
    guest->written = line;
    guest->written_error_ns = error + ahead;
    put32(&page->version, ++guest->version);
    atomic_thread_fence(memory_order_release);
    put64(&page->base_tsc, line.base_tsc);
    put64(&page->base_ns, line.base_ns);
    put32(&page->mul, line.mul);
    __atomic_store_n(&page->shift, line.shift, __ATOMIC_RELAXED);
    put64(&page->error_ns, error + ahead);
    put64(&page->host[0], clock->host[0]);
    put64(&page->host[1], clock->host[1]);
    put32(&page->flags, FARTIMER_CLOCK_VALID);
    __atomic_store_n(&page->version, ++guest->version, __ATOMIC_RELEASE);
    return error;
}

static void melted(struct far_timer *timer)
{
    struct far_clock *clock =
        (struct far_clock *)(void *)((char *)timer -
                                     offsetof(struct far_clock, melt));
    uint64_t now = far_now_ns(), next = UINT64_MAX;

    for (struct far_clock_guest *g = clock->guests; g; g = g->next) {
        if (g->melted_ns && g->melted_ns <= now + 1000)
            (void)write_page(g);
        if (g->melted_ns && g->melted_ns < next)
            next = g->melted_ns;
    }
    if (next != UINT64_MAX)
        far_timer_set(&clock->melt, next / 1000);
}

void far_clock_join(struct far_clock *clock, struct far_clock_guest *guest,
                    struct fartimer_clock *page)
{
    far_clock_leave(guest);
    if (!far_timer_armed(&clock->again)) { /* nobody read it until now */
        clock->last = measure();
        far_timer_set(&clock->again, clock->last.ns / 1000 + FIRST_US);
    }
    *guest = (struct far_clock_guest){ .clock = clock, .page = page };
    guest->next = clock->guests;
    guest->prev = &clock->guests;
    if (guest->next)
        guest->next->prev = &guest->next;
    clock->guests = guest;
}

void far_clock_leave(struct far_clock_guest *guest)
{
    if (!guest->prev)
        return;
    *guest->prev = guest->next;
    if (guest->next)
        guest->next->prev = guest->prev;
    guest->prev = NULL;
    guest->clock = NULL;
}

/* --- the line --------------------------------------------------------------
 */

static bool disciplined(void)
{
    struct timex t = { .modes = 0 };

    return adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC);
}

static void update(struct far_clock *clock)
{
    struct pair now = measure();
    bool ntp = disciplined();
    const struct pair *from = ntp ? &clock->last : &clock->first;
    uint64_t line_ns =
                 clock->line.mul ? far_clock_ns(&clock->line, now.tsc) : now.ns,
             base_us = (now.ns - from->ns) / 1000, next_us;

    if (now.ns - from->ns < FIRST_US * 500u)
        return; /* too short to say anything */
    if (!far_clock_rate(&clock->line, now.ns - from->ns, now.tsc - from->tsc))
        return;
    clock->line.base_tsc = now.tsc;
    /* Never back: a line that was ahead goes on from where it was. */
    clock->line.base_ns = line_ns > now.ns ? line_ns : now.ns;
    clock->error_ns = 2 * ticks_ns(clock, now.error_ticks + from->error_ticks) +
                      (clock->line.base_ns - now.ns);
    clock->last = now;
    clock->updates++;
    for (struct far_clock_guest *g = clock->guests; g; g = g->next)
        (void)write_page(g);
    next_us = ntp ? DISCIPLINED_US : base_us < LAST_US ? base_us : LAST_US;
    far_timer_set(&clock->again, now.ns / 1000 + next_us);
}

static void again(struct far_timer *timer)
{
    struct far_clock *clock =
        (struct far_clock *)(void *)((char *)timer -
                                     offsetof(struct far_clock, again));

    update(clock);
    if (!far_timer_armed(&clock->again))
        far_timer_set(&clock->again, far_now_us() + FIRST_US);
}

static void read_host(uint64_t host[2])
{
    char text[40] = "";
    uint8_t id[16];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    if (n > 36)
        text[36] = '\0';
    if (far_uuid_parse(id, text)) {
        host[0] = far_random_u64();
        host[1] = far_random_u64();
    } else {
        memcpy(host, id, sizeof(id));
    }
}

struct far_clock *far_clock_new(struct far_loop *loop)
{
    struct far_clock *clock = calloc(1, sizeof(*clock));

    if (!clock)
        return NULL;
    clock->loop = loop;
    clock->first = clock->last = measure();
    if (!clock->first.tsc) {
        free(clock);
        return NULL;
    }
    read_host(clock->host);
    far_timer_init(&clock->again, loop, again);
    far_timer_init(&clock->melt, loop, melted);
    return clock;
}

void far_clock_free(struct far_clock *clock)
{
    if (!clock)
        return;
    far_timer_cancel(&clock->again);
    far_timer_cancel(&clock->melt);
    while (clock->guests)
        far_clock_leave(clock->guests);
    free(clock);
}

uint64_t far_clock_round(struct far_clock_guest *guest, uint64_t before,
                         uint64_t seen)
{
    if (!guest->clock)
        return UINT64_MAX;
    if (!guest->clock->line.mul)
        update(guest->clock);
    far_clock_offset_add(&guest->offset, before, seen, far_clock_counter());
    return write_page(guest);
}

uint64_t far_clock_updates(const struct far_clock *clock)
{
    return clock ? clock->updates : 0;
}
