/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's side of screens, for tests: does what it is told, right or wrong,
 * one line at a time, and answers each with a line. Requests go through the
 * frontend's library as they stand; what is wrong with a ring is put there by
 * hand. A picture is a function of its seed (tests/backend/picture.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/grant_table.h>
#include "core/clock.h"
#include "frontend/displ.h"
#include "tests/backend/picture.h"

#define BUFFERS 64u

static struct far_loop *loop;
static struct far_xs *xs;
static struct far_displ *displ;
static unsigned devid;
static enum far_displ_state state;

static struct {
    uint64_t cookie;
    struct far_displ_buffer *buffer;
    uint32_t width, height, bpp;
} buffers[BUFFERS];

static struct {
    bool done;
    unsigned connector;
    int id;
    struct xendispl_resp response;
} answer;

static struct {
    unsigned count, wrong;
    uint16_t next[FAR_DISPL_CONNECTORS_MAX];
    uint64_t cookie[FAR_DISPL_CONNECTORS_MAX];
    uint64_t at_us[FAR_DISPL_CONNECTORS_MAX];
    bool fresh[FAR_DISPL_CONNECTORS_MAX];
} events;

static void on_state(void *arg, enum far_displ_state now, const char *why)
{
    (void)arg;
    (void)why;
    state = now;
    memset(&events, 0, sizeof(events));
}

static void on_answer(void *arg, unsigned connector,
                      const struct xendispl_resp *response)
{
    (void)arg;
    if (connector != answer.connector || response->id != answer.id)
        return;
    answer.response = *response;
    answer.done = true;
}

static void on_event(void *arg, unsigned connector,
                     const struct xendispl_evt *event)
{
    (void)arg;
    events.count++;
    if (event->type != XENDISPL_EVT_PG_FLIP ||
        event->id != events.next[connector]++)
        events.wrong++;
    events.cookie[connector] = event->op.pg_flip.fb_cookie;
    events.at_us[connector] = far_now_us();
    events.fresh[connector] = true;
}

static bool turn_until(const bool *holds, unsigned ms)
{
    uint64_t until = far_now_us() + ms * 1000ull;

    while (!*holds) {
        if (far_now_us() > until)
            return false;
        far_loop_turn(loop, 10000);
    }
    return true;
}

static bool wait_state(enum far_displ_state wanted, unsigned ms)
{
    uint64_t until = far_now_us() + ms * 1000ull;

    while (state != wanted && far_now_us() < until)
        far_loop_turn(loop, 10000);
    return state == wanted;
}

/* Its status, or 1: no answer. */
static int request(unsigned connector, struct xendispl_req *r)
{
    answer.done = false;
    answer.connector = connector;
    answer.id = far_displ_request(displ, connector, r);
    if (answer.id < 0)
        return answer.id;
    if (!turn_until(&answer.done, 60000))
        return 1;
    /* what is not said is zero: nothing of the backend's leaks */
    for (unsigned i = r->operation == XENDISPL_OP_GET_EDID ? 4 : 0; i < 56; i++)
        if (answer.response.op.reserved1[i])
            return 2;
    return answer.response.operation == r->operation &&
                   !answer.response.reserved
               ? answer.response.status
               : 2;
}

static unsigned place_of(uint64_t cookie)
{
    unsigned i = 0;

    while (i < BUFFERS && buffers[i].cookie != cookie)
        i++;
    return i;
}

static void forget(unsigned i)
{
    far_displ_buffer_free(buffers[i].buffer);
    memset(&buffers[i], 0, sizeof(buffers[i]));
}

/* A buffer of that size, all as it should be. */
static int make_buffer(uint64_t cookie, uint32_t width, uint32_t height,
                       uint32_t bpp, bool theirs)
{
    struct xendispl_req r = { .operation = XENDISPL_OP_DBUF_CREATE };
    uint32_t bytes = width * height * (bpp / 8);
    unsigned i = place_of(0);
    int status;

    if (i == BUFFERS)
        return -ENOSPC;
    buffers[i].buffer = far_displ_buffer_new(displ, bytes, !theirs);
    if (!buffers[i].buffer)
        return -errno;
    r.op.dbuf_create = (struct xendispl_dbuf_create_req){
        .dbuf_cookie = cookie,
        .width = width,
        .height = height,
        .bpp = bpp,
        .buffer_sz = bytes,
        .flags = theirs ? XENDISPL_DBUF_FLG_REQ_ALLOC : 0,
        .gref_directory = far_displ_buffer_directory(buffers[i].buffer)
    };
    status = request(0, &r);
    if (!status && theirs)
        status = far_displ_take_pages(buffers[i].buffer);
    if (status) {
        forget(i);
        return status;
    }
    buffers[i].cookie = cookie;
    buffers[i].width = width;
    buffers[i].height = height;
    buffers[i].bpp = bpp;
    return 0;
}

static int simple(unsigned connector, uint8_t operation, uint64_t cookie)
{
    struct xendispl_req r = { .operation = operation };

    r.op.pg_flip.fb_cookie = cookie; /* all of them begin so */
    return request(connector, &r);
}

static int attach(uint64_t dbuf, uint64_t fb, uint32_t width, uint32_t height,
                  const char *format)
{
    struct xendispl_req r = { .operation = XENDISPL_OP_FB_ATTACH };

    r.op.fb_attach.dbuf_cookie = dbuf;
    r.op.fb_attach.fb_cookie = fb;
    r.op.fb_attach.width = width;
    r.op.fb_attach.height = height;
    memcpy(&r.op.fb_attach.pixel_format, format, 4);
    return request(0, &r);
}

static int configure(unsigned connector, uint64_t fb, uint32_t x, uint32_t y,
                     uint32_t width, uint32_t height, uint32_t bpp)
{
    struct xendispl_req r = { .operation = XENDISPL_OP_SET_CONFIG };

    r.op.set_config = (struct xendispl_set_config_req){ .fb_cookie = fb,
                                                        .x = x,
                                                        .y = y,
                                                        .width = width,
                                                        .height = height,
                                                        .bpp = bpp };
    return request(connector, &r);
}

/* Draws with other pixels beside those that count. */
static int draw(uint64_t cookie, const char *format, unsigned seed)
{
    unsigned i = place_of(cookie);
    uint8_t *at;

    if (i == BUFFERS || !cookie)
        return -ENOENT;
    at = far_displ_buffer_memory(buffers[i].buffer);
    for (uint32_t y = 0; y < buffers[i].height; y++)
        for (uint32_t x = 0; x < buffers[i].width; x++) {
            uint32_t word = picture_in(format, picture_pixel(seed, x, y));

            memcpy(at, &word, buffers[i].bpp / 8);
            at += buffers[i].bpp / 8;
        }
    return 0;
}

static int fill(uint64_t cookie, uint32_t pixel)
{
    unsigned i = place_of(cookie);
    uint32_t *at;

    if (i == BUFFERS || !cookie || buffers[i].bpp != 32)
        return -ENOENT;
    at = far_displ_buffer_memory(buffers[i].buffer);
    for (uint32_t n = 0; n < buffers[i].width * buffers[i].height; n++)
        at[n] = pixel;
    return 0;
}

/* Two buffers in turn, each flip after the event of the last; the gaps between
 * events are those of a screen. */
static void animate(unsigned connector, unsigned flips, unsigned seed)
{
    uint64_t first = 0, last = 0, longest = 0, shortest = UINT64_MAX;

    for (unsigned n = 0; n < flips; n++) {
        uint64_t fb = 101 + n % 2;
        uint64_t gap;

        if (draw(1 + n % 2, "XR24", seed + n)) {
            puts("no buffer");
            return;
        }
        events.fresh[connector] = false;
        if (simple(connector, XENDISPL_OP_PG_FLIP, fb) ||
            !turn_until(&events.fresh[connector], 60000) ||
            events.cookie[connector] != fb) {
            printf("flip %u failed\n", n);
            return;
        }
        gap = events.at_us[connector] - last;
        if (n) {
            longest = gap > longest ? gap : longest;
            shortest = gap < shortest ? gap : shortest;
        } else {
            first = events.at_us[connector];
        }
        last = events.at_us[connector];
    }
    printf("ok flips %u mean %" PRIu64 " shortest %" PRIu64 " longest %" PRIu64
           " wrong %u\n",
           flips, flips > 1 ? (last - first) / (flips - 1) : 0, shortest,
           longest, events.wrong);
}

/* The standard scene: two buffers, two framebuffers, the first one shown. */
static int set_scene(unsigned connector, const char *format, unsigned seed)
{
    uint32_t width, height, bpp = picture_bytes(format) * 8;
    int r;

    far_displ_resolution(displ, connector, &width, &height);
    for (unsigned i = 1; i <= 2; i++) {
        r = make_buffer(i, width, height, bpp, false);
        if (!r)
            r = attach(i, 100 + i, width, height, format);
        if (r)
            return r;
    }
    r = draw(1, format, seed);
    return r ? r : configure(connector, 101, 0, 0, width, height, bpp);
}

static int edid(unsigned connector, uint32_t bytes, bool good)
{
    struct xendispl_req r = { .operation = XENDISPL_OP_GET_EDID };
    struct far_displ_buffer *buffer = far_displ_buffer_new(displ, 32768, true);
    const uint8_t *e;
    uint8_t sum = 0;
    int status;

    if (!buffer)
        return -errno;
    memset(far_displ_buffer_memory(buffer), 0xee, 32768);
    r.op.get_edid.buffer_sz = bytes;
    r.op.get_edid.gref_directory =
        good ? far_displ_buffer_directory(buffer) : 3;
    status = request(connector, &r);
    e = far_displ_buffer_memory(buffer);
    if (!status) {
        for (unsigned i = 0; i < 128; i++)
            sum = (uint8_t)(sum + e[i]);
        if (answer.response.op.get_edid.edid_sz != 128 || sum ||
            e[128] != 0xee || e[1] != 255)
            status = 3;
        else
            printf("ok %ux%u\n", e[56] | e[58] >> 4 << 8,
                   e[59] | e[61] >> 4 << 8);
    }
    far_displ_buffer_free(buffer);
    return status;
}

static void say_status(int status)
{
    if (status)
        printf("%d\n", status);
    else
        puts("ok");
}

static void say_if(bool good, const char *else_what)
{
    puts(good ? "ok" : else_what);
}

static const struct far_displ_hooks hooks = { on_state, on_answer, on_event };

static void open_device(unsigned number)
{
    devid = number;
    state = FAR_DISPL_WAITS;
    displ = far_displ_open(loop, xs, devid, &hooks, NULL);
    say_if(displ != NULL, strerror(errno));
}

/* A request that is wrong by hand: all of its words. */
static void raw(const char *line)
{
    struct xendispl_req r = { 0 };
    uint32_t words[14] = { 0 };
    unsigned connector, operation;
    int at = 0, n = 0;

    if (sscanf(line, "raw %u %u%n", &connector, &operation, &at) != 2) {
        puts("what?");
        return;
    }
    r.operation = (uint8_t)operation;
    line += at;
    for (unsigned i = 0;
         i < 14 && sscanf(line, "%" SCNu32 "%n", &words[i], &n) == 1; i++)
        line += n;
    memcpy(r.op.reserved, words, sizeof(words));
    say_status(request(connector, &r));
}

static void node(const char *name, const char *value)
{
    char path[256];
    int r;

    snprintf(path, sizeof(path), "device/vdispl/%u/%s", devid, name);
    r = value ? far_xs_write(xs, 0, path, "%s", value)
              : far_xs_remove(xs, 0, "%s", path);
    say_status(r);
}

static bool do_line(const char *line)
{
    unsigned u[7] = { 0 };
    uint64_t a, b;
    char word[128], value[200];
    int at = 0;

    if (sscanf(line, "open %u", &u[0]) == 1)
        open_device(u[0]);
    else if (!strcmp(line, "close")) {
        for (unsigned i = 0; i < BUFFERS; i++)
            if (buffers[i].buffer)
                forget(i);
        far_displ_close(displ);
        displ = NULL;
        puts("ok");
    } else if (!strcmp(line, "connected"))
        say_if(wait_state(FAR_DISPL_CONNECTED, 60000), "not connected");
    else if (!strcmp(line, "waits"))
        say_if(wait_state(FAR_DISPL_WAITS, 60000), "does not wait");
    else if (!strcmp(line, "gone"))
        say_if(wait_state(FAR_DISPL_GONE, 60000), "not gone");
    else if (!strcmp(line, "forget")) { /* after a backend that closed */
        for (unsigned i = 0; i < BUFFERS; i++)
            if (buffers[i].buffer)
                forget(i);
        puts("ok");
    } else if (sscanf(line, "scene %u %4s %u", &u[0], word, &u[1]) == 3)
        say_status(set_scene(u[0], word, u[1]));
    else if (sscanf(line, "buffer %" SCNu64 " %u %u %u %u", &a, &u[0], &u[1],
                    &u[2], &u[3]) == 5)
        say_status(make_buffer(a, u[0], u[1], u[2], u[3]));
    else if (sscanf(line, "directory %" SCNu64 " %u %u", &a, &u[0], &u[1]) ==
             3) {
        far_displ_buffer_words(buffers[place_of(a)].buffer)[u[0]] = u[1];
        puts("ok");
    } else if (sscanf(line, "again %" SCNu64 " %" SCNu64, &a, &b) == 2) {
        /* the directory of one, as another buffer */
        unsigned i = place_of(a);
        struct xendispl_req r = { .operation = XENDISPL_OP_DBUF_CREATE };

        r.op.dbuf_create = (struct xendispl_dbuf_create_req){
            .dbuf_cookie = b,
            .width = buffers[i].width,
            .height = buffers[i].height,
            .bpp = buffers[i].bpp,
            .buffer_sz =
                buffers[i].width * buffers[i].height * (buffers[i].bpp / 8),
            .gref_directory = far_displ_buffer_directory(buffers[i].buffer)
        };
        say_status(request(0, &r));
    } else if (sscanf(line, "attach %" SCNu64 " %" SCNu64 " %u %u %4s", &a, &b,
                      &u[0], &u[1], word) == 5)
        say_status(attach(a, b, u[0], u[1], word));
    else if (sscanf(line, "detach %" SCNu64, &a) == 1)
        say_status(simple(0, XENDISPL_OP_FB_DETACH, a));
    else if (sscanf(line, "destroy %" SCNu64, &a) == 1) {
        int r = simple(0, XENDISPL_OP_DBUF_DESTROY, a);
        unsigned i = place_of(a);

        if (!r && a && i < BUFFERS)
            forget(i);
        say_status(r);
    } else if (sscanf(line, "config %u %" SCNu64 " %u %u %u %u %u", &u[0], &a,
                      &u[1], &u[2], &u[3], &u[4], &u[5]) == 7)
        say_status(configure(u[0], a, u[1], u[2], u[3], u[4], u[5]));
    else if (sscanf(line, "draw %" SCNu64 " %4s %u", &a, word, &u[0]) == 3)
        say_status(draw(a, word, u[0]));
    else if (sscanf(line, "fill %" SCNu64 " %x", &a, &u[0]) == 2)
        say_status(fill(a, u[0]));
    else if (sscanf(line, "flip %u %" SCNu64, &u[0], &a) == 2) {
        events.fresh[u[0]] = false;
        say_status(simple(u[0], XENDISPL_OP_PG_FLIP, a));
    } else if (sscanf(line, "event %u %" SCNu64, &u[0], &a) == 2)
        say_if(turn_until(&events.fresh[u[0]], 60000) &&
                   events.cookie[u[0]] == a && !events.wrong,
               "no event, or a wrong one");
    else if (sscanf(line, "animate %u %u %u", &u[0], &u[1], &u[2]) == 3)
        animate(u[0], u[1], u[2]);
    else if (sscanf(line, "edid %u %u %u", &u[0], &u[1], &u[2]) == 3) {
        int r = edid(u[0], u[1], u[2] != 0);

        if (r)
            say_status(r);
    } else if (!strncmp(line, "raw ", 4))
        raw(line);
    else if (sscanf(line, "prod %u %u", &u[0], &u[1]) == 2) {
        /* the ring's own words: req_prod, req_event, rsp_prod, rsp_event */
        uint32_t *words = far_displ_ring(displ, u[0]);

        words[0] += u[1];
        say_status(far_displ_kick(displ, u[0]));
    } else if (sscanf(line, "word %u %u %u", &u[0], &u[1], &u[2]) == 3) {
        ((uint32_t *)far_displ_ring(displ, u[0]))[u[1]] = u[2];
        puts("ok");
    } else if (sscanf(line, "evtword %u %u %u", &u[0], &u[1], &u[2]) == 3) {
        ((uint32_t *)far_displ_events(displ, u[0]))[u[1]] = u[2];
        puts("ok");
    } else if (sscanf(line, "kick %u %u", &u[0], &u[1]) == 2) {
        while (u[1]--)
            (void)far_displ_kick(displ, u[0]);
        puts("ok");
    } else if (sscanf(line, "node %127s %199[^\n]", word, value) == 2)
        node(word, value);
    else if (sscanf(line, "rm %127s", word) == 1)
        node(word, NULL);
    else if (sscanf(line, "turn %u%n", &u[0], &at) == 1) {
        bool never = false;

        (void)turn_until(&never, u[0]);
        puts("ok");
    } else
        return false;
    return true;
}

int main(void)
{
    char line[512];

    loop = far_loop_new();
    xs = loop ? far_xs_open(loop, NULL, NULL) : NULL;
    if (!xs) {
        puts("no xenstore");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ok");
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (!do_line(line))
            printf("what? %s\n", line);
    }
    return 0;
}
