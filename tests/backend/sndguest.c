/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's side of a sound card, for tests: does what it is told, right or
 * wrong, one line at a time, and answers each with a line. It plays and records
 * as aplay and arecord do on Linux' front: paced by positions, a buffer ahead.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/clock.h"
#include "frontend/snd.h"
#include "tests/backend/sound.h"
#include "xenbus/ring.h"

static struct far_loop *loop;
static struct far_xs *xs;
static struct far_snd *snd;
static enum far_snd_state state;
static const char *why = "";

static struct stream {
    struct xensnd_open_req open;
    uint32_t frame; /* bytes */
    uint64_t position, positions;
    uint64_t first_ns, last_ns; /* when positions came */
    bool answered;
    struct xensnd_resp answer;
} streams[FAR_SND_STREAMS_MAX];

static void on_state(void *arg, enum far_snd_state now, const char *reason)
{
    (void)arg;
    state = now;
    why = reason ? reason : "";
}

static void on_answer(void *arg, unsigned stream,
                      const struct xensnd_resp *answer)
{
    (void)arg;
    streams[stream].answer = *answer;
    streams[stream].answered = true;
}

static void on_position(void *arg, unsigned stream, uint64_t bytes)
{
    struct stream *s = &streams[stream];

    (void)arg;
    s->position = bytes;
    s->last_ns = far_now_ns();
    if (!s->positions++)
        s->first_ns = s->last_ns;
}

static bool turn_until(const bool *holds, unsigned ms)
{
    uint64_t until = far_now_us() + ms * 1000ull;

    while (!*holds && state != FAR_SND_GONE) {
        if (far_now_us() > until)
            return false;
        far_loop_turn(loop, 10000);
    }
    return *holds;
}

static bool turn_to(enum far_snd_state wanted, unsigned ms)
{
    uint64_t until = far_now_us() + ms * 1000ull;

    while (state != wanted && far_now_us() < until)
        far_loop_turn(loop, 10000);
    return state == wanted;
}

/* Its status; 1000: no answer. */
static int ask(unsigned stream, const struct xensnd_req *request)
{
    struct stream *s = &streams[stream];

    s->answered = false;
    if (far_snd_ask(snd, stream, request) || !turn_until(&s->answered, 10000))
        return 1000;
    return s->answer.status;
}

static int transfer(unsigned stream, uint8_t operation, uint64_t offset,
                    uint32_t length)
{
    struct xensnd_req r = { .operation = operation };

    r.op.rw.offset = (uint32_t)(offset % streams[stream].open.buffer_sz);
    r.op.rw.length = length;
    return ask(stream, &r);
}

static int trigger(unsigned stream, uint8_t type)
{
    struct xensnd_req r = { .operation = XENSND_OP_TRIGGER };

    r.op.trigger.type = type;
    return ask(stream, &r);
}

static int prepare(unsigned stream, unsigned rate, unsigned format,
                   unsigned channels, unsigned frame, unsigned buffer,
                   unsigned period)
{
    struct stream *s = &streams[stream];

    memset(s, 0, sizeof(*s));
    s->open = (struct xensnd_open_req){
        .pcm_rate = rate,
        .pcm_format = (uint8_t)format,
        .pcm_channels = (uint8_t)channels,
        .buffer_sz = buffer,
        .period_sz = period,
    };
    s->frame = frame;
    if (far_snd_prepare(snd, stream, &s->open) ||
        !turn_until(&s->answered, 10000))
        return 1000;
    return s->answer.status;
}

/* Samples are what sound.h says, from `seed` on. A buffer ahead, as many bytes
 * at once as are free; started when it is full; stopped when all was played. */
static void play(unsigned stream, uint64_t bytes, uint32_t seed)
{
    struct stream *s = &streams[stream];
    uint32_t size = s->open.buffer_sz;
    uint64_t base = s->position - s->position % size, written = 0;
    uint64_t until = far_now_us() + 60000000;
    bool started = false;
    int r = 0;

    while (!r && (written < bytes || s->position < base + bytes)) {
        uint64_t free = base + size - written;
        uint32_t at = (uint32_t)((base + written) % size), n = size - at;

        free =
            (s->position > base ? s->position : base) + size - base - written;
        if (n > free)
            n = (uint32_t)(free / s->frame * s->frame);
        if (n > bytes - written)
            n = (uint32_t)(bytes - written);
        if (n && written < bytes) {
            sound_fill((uint8_t *)far_snd_memory(snd, stream) + at, n, seed,
                       written);
            r = transfer(stream, XENSND_OP_WRITE, base + written, n);
            written += n;
            continue;
        }
        if (!started) {
            started = true;
            r = trigger(stream, XENSND_OP_TRIGGER_START);
            continue;
        }
        if (far_now_us() > until || state != FAR_SND_CONNECTED)
            break;
        far_loop_turn(loop, 10000);
    }
    if (r || s->position < base + bytes)
        printf("err status %d written %llu position %llu\n", r,
               (unsigned long long)written, (unsigned long long)s->position);
    else if ((r = trigger(stream, XENSND_OP_TRIGGER_STOP)))
        printf("err stop %d\n", r);
    else
        printf("ok written %llu positions %llu\n", (unsigned long long)written,
               (unsigned long long)s->positions);
}

/* Into a file, as the bytes come. */
static void record(unsigned stream, uint64_t bytes, const char *path)
{
    struct stream *s = &streams[stream];
    uint32_t size = s->open.buffer_sz;
    uint64_t base = s->position - s->position % size, got = 0;
    uint64_t until = far_now_us() + 60000000;
    FILE *f = fopen(path, "we");
    int r = trigger(stream, XENSND_OP_TRIGGER_START);

    while (f && !r && got < bytes && state == FAR_SND_CONNECTED) {
        uint64_t there =
            s->position > base + got ? s->position - base - got : 0;
        uint32_t at = (uint32_t)((base + got) % size), n = size - at;

        if (n > there)
            n = (uint32_t)there;
        if (n > bytes - got)
            n = (uint32_t)(bytes - got);
        if (!n) {
            if (far_now_us() > until)
                break;
            far_loop_turn(loop, 10000);
            continue;
        }
        r = transfer(stream, XENSND_OP_READ, base + got, n);
        fwrite((uint8_t *)far_snd_memory(snd, stream) + at, 1, n, f);
        got += n;
    }
    if (f)
        fclose(f);
    if (!r)
        r = trigger(stream, XENSND_OP_TRIGGER_STOP);
    printf(r || got < bytes ? "err status %d got %llu\n" : "ok %d got %llu\n",
           r, (unsigned long long)got);
}

/* --- by hand ----------------------------------------------------------------
 */

static void from_hex(const char *hex, void *to, size_t room)
{
    uint8_t *at = to;

    for (size_t n = 0; n < room && sscanf(hex, "%2hhx", &at[n]) == 1; n++)
        hex += 2;
}

/* A whole request but for its id; prints the status, and what came with it. */
static void raw(unsigned stream, const char *hex)
{
    struct xensnd_req r = { 0 };
    const uint8_t *at = (const uint8_t *)&streams[stream].answer;
    int status;

    from_hex(hex, &r, sizeof(r));
    status = ask(stream, &r);
    printf("ok %d ", status);
    for (size_t i = 8; i < sizeof(struct xensnd_resp); i++)
        printf("%02x", at[i]);
    printf("\n");
}

static _Atomic uint32_t *word(void *page, unsigned which)
{
    return (_Atomic uint32_t *)page + which;
}

/* Requests of random bytes, one after the other, answered or not. */
static void flood(unsigned stream, unsigned count, uint64_t x)
{
    struct far_ring_page *page = far_snd_ring(snd, stream);
    uint32_t prod = page->req_prod;

    for (unsigned i = 0; i < count; i++) {
        uint64_t *entry =
            (uint64_t *)(void *)(page->entries + (prod & 31) * 64);
        uint64_t until = far_now_us() + 2000000;

        for (unsigned k = 0; k < 8; k++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            entry[k] = x;
        }
        ((uint8_t *)entry)[2] %= 11; /* an operation, mostly */
        atomic_store(word(page, 0), ++prod);
        far_snd_kick(snd, stream);
        while (atomic_load(word(page, 2)) != prod && far_now_us() < until)
            ;
        if (atomic_load(word(page, 2)) != prod) {
            printf("err after %u\n", i);
            return;
        }
    }
    printf("ok\n");
}

/* A ring that is full again before it is emptied; events as the ring says. */
static void storm(unsigned stream, unsigned count)
{
    struct far_ring_page *page = far_snd_ring(snd, stream);
    uint64_t until = far_now_us() + 20000000;
    uint32_t prod = page->req_prod, first = prod;

    while (atomic_load(word(page, 2)) - first < count) {
        uint32_t old = prod, event;

        while (prod - atomic_load(word(page, 2)) < 32 && prod - first < count) {
            memset(page->entries + (prod & 31) * 64, 0, 64);
            page->entries[(prod & 31) * 64 + 2] = XENSND_OP_CLOSE;
            prod++;
        }
        atomic_store(word(page, 0), prod);
        event = atomic_load(word(page, 1));
        if (prod - event < prod - old)
            far_snd_kick(snd, stream);
        if (far_now_us() > until) {
            printf("err after %u\n", atomic_load(word(page, 2)) - first);
            return;
        }
    }
    printf("ok\n");
}

static void write_node(char *text)
{
    char *value = strchr(text, ' ');

    if (value)
        *value++ = '\0';
    printf(!far_xs_write(xs, 0, text, "%s", value ? value : "") ? "ok\n"
                                                                : "err\n");
}

static void open_card(unsigned devid)
{
    static const struct far_snd_hooks hooks = { on_state, on_answer,
                                                on_position };

    far_snd_close(snd);
    memset(streams, 0, sizeof(streams));
    state = FAR_SND_WAITS;
    snd = far_snd_open(loop, xs, devid, &hooks, NULL);
    printf(snd ? "ok\n" : "err %s\n", strerror(errno));
}

static bool obey(char *line)
{
    unsigned a, b, c, d, e, f, g;
    unsigned long long n;
    char path[256];
    int used;

    if (sscanf(line, "open %u", &a) == 1) {
        open_card(a);
    } else if (!strcmp(line, "connected")) {
        printf(turn_to(FAR_SND_CONNECTED, 10000) ? "ok\n" : "err %s\n", why);
    } else if (!strcmp(line, "waits")) {
        printf(turn_to(FAR_SND_WAITS, 10000) ? "ok\n" : "err %s\n", why);
    } else if (!strcmp(line, "streams")) {
        printf("ok");
        for (a = 0; a < far_snd_streams(snd); a++)
            printf(" %c", far_snd_records(snd, a) ? 'c' : 'p');
        printf("\n");
    } else if (sscanf(line, "prepare %u %u %u %u %u %u %u", &a, &b, &c, &d, &e,
                      &f, &g) == 7) {
        printf("ok %d\n", prepare(a, b, c, d, e, f, g));
    } else if (sscanf(line, "play %u %llu %u", &a, &n, &b) == 3) {
        play(a, n, b);
    } else if (sscanf(line, "record %u %llu %255s", &a, &n, path) == 3) {
        record(a, n, path);
    } else if (sscanf(line, "trigger %u %u", &a, &b) == 2) {
        printf("ok %d\n", trigger(a, (uint8_t)b));
    } else if (sscanf(line, "transfer %u %u %u %u", &a, &b, &c, &d) == 4) {
        struct xensnd_req r = { .operation = (uint8_t)b };

        r.op.rw.offset = c;
        r.op.rw.length = d;
        printf("ok %d\n", ask(a, &r));
    } else if (sscanf(line, "raw %u %n", &a, &used) == 1) {
        raw(a, line + used);
    } else if (sscanf(line, "poke %u %u %n", &a, &b, &used) == 2) {
        from_hex(line + used, (uint8_t *)far_snd_memory(snd, a) + b,
                 strlen(line + used) / 2);
        printf("ok\n");
    } else if (sscanf(line, "peek %u %u", &a, &b) == 2) {
        const uint8_t *at = (const uint8_t *)far_snd_memory(snd, a) + b;

        printf("ok %02x%02x%02x%02x\n", at[0], at[1], at[2], at[3]);
    } else if (sscanf(line, "position %u", &a) == 1) {
        printf("ok %llu %llu %llu\n", (unsigned long long)streams[a].position,
               (unsigned long long)streams[a].positions,
               (unsigned long long)(streams[a].last_ns - streams[a].first_ns));
    } else if (sscanf(line, "turn %u", &a) == 1) {
        bool never = false;

        turn_until(&never, a);
        printf("ok\n");
    } else if (sscanf(line, "sleep %u", &a) == 1) {
        usleep(a * 1000);
        printf("ok\n");
    } else if (sscanf(line, "prod %u %u", &a, &b) == 2) {
        atomic_fetch_add(word(far_snd_ring(snd, a), 0), b);
        far_snd_kick(snd, a);
        printf("ok\n");
    } else if (sscanf(line, "cons %u %u", &a, &b) == 2) {
        atomic_fetch_add(word(far_snd_events(snd, a), 0), b);
        usleep(100000); /* before it is set right with the next event */
        printf("ok\n");
    } else if (sscanf(line, "storm %u %u", &a, &b) == 2) {
        storm(a, b);
    } else if (sscanf(line, "flood %u %u %u", &a, &b, &c) == 3) {
        flood(a, b, c);
    } else if (sscanf(line, "directory %u %u %u", &a, &b, &c) == 3) {
        /* word 0: the next page's grant */
        ((uint32_t *)far_snd_memory(snd, a))[(int)b - 1024] = c;
        printf("ok\n");
    } else if (sscanf(line, "gref %u %u", &a, &b) == 2) {
        printf("ok %u\n", far_snd_gref(snd, a, b));
    } else if (!strncmp(line, "write ", 6)) {
        write_node(line + 6);
    } else if (!strcmp(line, "close")) {
        far_snd_close(snd);
        snd = NULL;
        printf("ok\n");
    } else {
        return false;
    }
    return true;
}

int main(void)
{
    char line[4096];

    setvbuf(stdout, NULL, _IOLBF, 0);
    loop = far_loop_new();
    xs = loop ? far_xs_open(loop, NULL, NULL) : NULL;
    if (!xs) {
        fprintf(stderr, "no xenstore here\n");
        return 1;
    }
    printf("ok\n");
    for (;;) {
        struct pollfd p = { .fd = 0, .events = POLLIN };

        /* the card goes on while nothing is asked */
        if (poll(&p, 1, 5) == 0) {
            if (snd)
                far_loop_turn(loop, 0);
            continue;
        }
        if (!fgets(line, sizeof(line), stdin))
            return 0;
        line[strcspn(line, "\n")] = '\0';
        if (!obey(line))
            printf("err what\n");
        fflush(stdout);
    }
}
