/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See stream.h. A vchan is connected once: when the backend lets go of it, or
 * the domain is another one, it is over, and its program opens another.
 */
#include "frontend/stream.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"

#define PAGE_SHIFT    12u
#define MOST_SHIFT    20u
#define STREAMS_MAX   64u
#define SHORTEST_SIZE (64u << 10) /* a link is longer than a memory bus */

static struct far_front_stream *stream_of(struct far_front_own *own)
{
    return (struct far_front_stream *)(void *)own;
}

static uint8_t *peer_live(const struct far_front_stream *s)
{
    return s->server ? &s->page->cli_live : &s->page->srv_live;
}

static size_t bytes_of(const struct far_front_stream *s)
{
    return FAR_PAGE_BYTES + ((size_t)1 << s->left_order) +
           ((size_t)1 << s->right_order);
}

static void lay_out(struct far_front_stream *s, void *page, void *rings)
{
    s->page = page;
    s->left = rings;
    s->right = s->left + ((size_t)1 << s->left_order);
}

/* --- the class -------------------------------------------------------------
 */

static int stream_pages(struct far_front_own *own)
{
    struct far_front_stream *s = stream_of(own);

    if (s->over) {
        snprintf(own->why, sizeof(own->why), "it is connected only once");
        return -ESHUTDOWN;
    }
    own->clear = s->server ? offsetof(struct vchan_interface, srv_live)
                           : offsetof(struct vchan_interface, cli_live);
    return (1 << (s->left_order - PAGE_SHIFT)) +
           (1 << (s->right_order - PAGE_SHIFT));
}

static int stream_offer(struct far_front_own *own, far_xs_t t)
{
    struct far_front_stream *s = stream_of(own);
    struct vchan_interface *page = own->control;
    unsigned pages = (1u << (s->left_order - PAGE_SHIFT)) +
                     (1u << (s->right_order - PAGE_SHIFT));

    lay_out(s, page, own->more);
    page->left_order = (uint16_t)s->left_order;
    page->right_order = (uint16_t)s->right_order;
    page->srv_live = s->server ? 1 : 2;
    page->cli_live = s->server ? 2 : 1;
    /* Whoever acts looks into the byte of its own side. */
    *(s->server ? &page->cli_notify : &page->srv_notify) = VCHAN_NOTIFY_WRITE;
    memcpy(page->grants, own->refs + 1, pages * sizeof(page->grants[0]));
    return far_front_own_write(own, t, FAR_NODE_OWN_FRONT_SERVER, s->server);
}

static void stream_connected(struct far_front_own *own)
{
    stream_of(own)->connected = true;
}

/* Each event is for who waits. */
static int stream_drain(struct far_front_own *own)
{
    (void)own;
    return 1;
}

static void stream_dropped(struct far_front_own *own)
{
    struct far_front_stream *s = stream_of(own);

    memcpy(s->copy, s->page, FAR_PAGE_BYTES);
    memcpy(s->copy + FAR_PAGE_BYTES, s->left, bytes_of(s) - FAR_PAGE_BYTES);
    lay_out(s, s->copy, s->copy + FAR_PAGE_BYTES);
    *peer_live(s) = 0;
    s->over = s->connected;
}

static void stream_told(struct far_front_own *own,
                        enum far_frontend_state state, const char *why)
{
    struct far_front_stream *s = stream_of(own);

    (void)why;
    if (state == FAR_FRONTEND_GONE || state == FAR_FRONTEND_REFUSED)
        s->error = ENODEV;
    if (s->over && !s->closed) {
        s->closed = true;
        far_front_own_close(own);
    }
}

static void stream_freed(struct far_front_own *own)
{
    (void)own; /* its owner frees it */
}

static const struct far_front_own_class stream_class = {
    .kind = "farstream",
    .pages = stream_pages,
    .offer = stream_offer,
    .connected = stream_connected,
    .drain = stream_drain,
    .dropped = stream_dropped,
};

/* --- opening and closing ---------------------------------------------------
 */

/* The number of the device that the backend in domid calls path. */
static int find(struct far_xs *xs, unsigned domid, const char *path,
                unsigned *devid)
{
    struct far_xs_list list;
    int r = far_xs_directory(xs, 0, &list, STREAMS_MAX, "device/%s",
                             stream_class.kind);
    bool found = false;

    if (r < 0)
        return r;
    for (unsigned i = 0; i < list.count && !found; i++) {
        char back[FAR_XS_PATH_BYTES], called[256];
        uint64_t id, back_id;

        found =
            !far_number_parse(list.names[i], FAR_FRONT_DEVID_MAX, &id) &&
            !far_xs_read_u64(xs, 0, &back_id, UINT32_MAX,
                             "device/%s/%u/backend-id", stream_class.kind,
                             (unsigned)id) &&
            back_id == domid &&
            far_xs_read(xs, 0, back, sizeof(back), "device/%s/%u/backend",
                        stream_class.kind, (unsigned)id) > 0 &&
            far_xs_read(xs, 0, called, sizeof(called), "%s/path", back) > 0 &&
            !strcmp(called, path);
        *devid = (unsigned)id;
    }
    far_xs_list_free(&list);
    return found ? 0 : -ENOENT;
}

static unsigned order_of(size_t bytes)
{
    unsigned order = PAGE_SHIFT;

    if (bytes < SHORTEST_SIZE)
        bytes = SHORTEST_SIZE;
    while (((size_t)1 << order) < bytes && order <= MOST_SHIFT)
        order++;
    return order;
}

static int make(struct far_front_stream *s, unsigned domid, const char *path,
                struct far_frontend *frontend)
{
    int r;

    if (s->left_order > MOST_SHIFT || s->right_order > MOST_SHIFT)
        return -E2BIG;
    r = find(frontend->xs, domid, path, &s->own.devid);
    if (r)
        return r;
    s->copy = calloc(1, bytes_of(s));
    if (!s->copy)
        return -ENOMEM;
    lay_out(s, s->copy, s->copy + FAR_PAGE_BYTES);
    return far_front_own_open(frontend, &s->own);
}

struct far_front_stream *far_front_stream_open(unsigned domid, const char *path,
                                               bool server, size_t left_min,
                                               size_t right_min,
                                               uint64_t timeout_us)
{
    struct far_frontend *frontend = far_frontend_new();
    struct far_front_stream *s = frontend ? calloc(1, sizeof(*s)) : NULL;
    uint64_t now = far_now_us(), until = now + timeout_us;
    int r;

    if (!s) {
        far_frontend_free(frontend);
        return NULL;
    }
    s->own.class = &stream_class;
    s->own.told = stream_told;
    s->own.freed = stream_freed;
    s->server = server;
    s->left_order = order_of(left_min);
    s->right_order = order_of(right_min);
    r = make(s, domid, path, frontend);
    if (r) {
        free(s->copy);
        free(s);
        far_frontend_free(frontend);
        errno = -r;
        return NULL;
    }
    for (; !s->connected && !s->error && r >= 0 && now < until;
         now = far_now_us())
        r = far_frontend_turn(frontend, until - now);
    if (s->connected && !s->over)
        return s;
    r = s->error ? s->error : r < 0 ? -r : ETIMEDOUT;
    far_front_stream_close(s);
    errno = r;
    return NULL;
}

int far_front_stream_turn(struct far_front_stream *s, uint64_t timeout_us)
{
    int r;

    if (s->over)
        return 0;
    r = far_frontend_turn(s->own.frontend, timeout_us);
    return r < 0 ? r : 0;
}

int far_front_stream_fd(struct far_front_stream *s)
{
    return far_frontend_fd(s->own.frontend);
}

void far_front_stream_notify(struct far_front_stream *s)
{
    if (!s->over)
        far_front_own_notify(&s->own);
}

void far_front_stream_close(struct far_front_stream *s)
{
    struct far_frontend *frontend = s->own.frontend;

    *(s->server ? &s->page->srv_live : &s->page->cli_live) = 0;
    far_front_stream_notify(s);
    if (!s->closed)
        far_front_own_close(&s->own);
    far_frontend_free(frontend);
    free(s->copy);
    free(s);
}
