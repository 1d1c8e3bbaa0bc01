/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libxenvchan's calls (libxenvchan.h of Xen 4.17, and its structures): between
 * two domains here through pages that they share, as Xen's own library does,
 * with which it can talk; and with the domain of Farside's backend, by a path
 * that farside.conf gives a stream, with a guest wherever it is.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenstore.h>
#include "core/clock.h"
#include "frontend/stream.h"

#define PAGE_SHIFT      12
#define SMALL_SHIFT     10 /* a ring at byte 1024 of the shared page */
#define LARGE_SHIFT     11 /* at byte 2048 */
#define MOST_SHIFT      20
#define FAR_TIMEOUT_US  10000000u /* for the backend */
#define PEER_TIMEOUT_US 5000000u  /* for who is connected to */

#define EXPORT __attribute__((visibility("default")))

struct vchan {
    struct libxenvchan ctrl;      /* what programs see */
    struct far_front_stream *far; /* NULL: it is between two domains here */
};

static struct vchan *vchan_of(struct libxenvchan *ctrl)
{
    return (struct vchan *)(void *)ctrl;
}

/* --- what is in the shared pages -------------------------------------------
 */

static uint32_t ring_bytes(const struct libxenvchan_ring *ring)
{
    return 1u << ring->order;
}

/* Bytes that are in a ring; an index that can't be gives none, for good. */
static uint32_t held(const struct libxenvchan_ring *ring, bool *sound)
{
    uint32_t prod = __atomic_load_n(&ring->shr->prod, __ATOMIC_ACQUIRE);
    uint32_t cons = __atomic_load_n(&ring->shr->cons, __ATOMIC_ACQUIRE);

    *sound = prod - cons <= ring_bytes(ring);
    return *sound ? prod - cons : 0;
}

static uint32_t ready(const struct libxenvchan *ctrl)
{
    bool sound;

    return held(&ctrl->read, &sound);
}

static uint32_t space(const struct libxenvchan *ctrl)
{
    bool sound;
    uint32_t bytes = held(&ctrl->write, &sound);

    return sound ? ring_bytes(&ctrl->write) - bytes : 0;
}

/* Each side looks into the byte of its own name for what the other wants. */
static void request(struct libxenvchan *ctrl, uint8_t bit)
{
    __atomic_fetch_or(ctrl->is_server ? &ctrl->ring->cli_notify
                                      : &ctrl->ring->srv_notify,
                      bit, __ATOMIC_SEQ_CST);
}

static void notify(struct libxenvchan *ctrl)
{
    struct vchan *v = vchan_of(ctrl);

    if (v->far)
        far_front_stream_notify(v->far);
    else
        (void)xenevtchn_notify(ctrl->event, ctrl->event_port);
}

static void acted(struct libxenvchan *ctrl, uint8_t bit)
{
    uint8_t *wanted =
        ctrl->is_server ? &ctrl->ring->srv_notify : &ctrl->ring->cli_notify;

    /* the index, before what is wanted is looked at */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(wanted, __ATOMIC_RELAXED) & bit &&
        __atomic_fetch_and(wanted, (uint8_t)~bit, __ATOMIC_SEQ_CST) & bit)
        notify(ctrl);
}

/* At least `wanted` bytes, or an event when there are more. */
static uint32_t ready_or_ask(struct libxenvchan *ctrl, size_t wanted)
{
    uint32_t bytes = ready(ctrl);

    if (bytes >= wanted)
        return bytes;
    request(ctrl, VCHAN_NOTIFY_WRITE);
    return ready(ctrl);
}

static uint32_t space_or_ask(struct libxenvchan *ctrl, size_t wanted)
{
    uint32_t bytes = space(ctrl);

    if (bytes >= wanted)
        return bytes;
    request(ctrl, VCHAN_NOTIFY_READ);
    return space(ctrl);
}

/* bytes are there, or there is room for them. */
static void copy(const struct libxenvchan_ring *ring, uint32_t index,
                 const void *from, void *to, size_t bytes)
{
    uint32_t offset = index & (ring_bytes(ring) - 1);
    size_t first = ring_bytes(ring) - offset;
    uint8_t *place = (uint8_t *)ring->buffer;

    if (first > bytes)
        first = bytes;
    if (from) {
        memcpy(place + offset, from, first);
        memcpy(place, (const uint8_t *)from + first, bytes - first);
    } else {
        memcpy(to, place + offset, first);
        memcpy((uint8_t *)to + first, place, bytes - first);
    }
}

static int put(struct libxenvchan *ctrl, const void *data, size_t bytes)
{
    struct ring_shared *shared = ctrl->write.shr;
    uint32_t prod = shared->prod;

    copy(&ctrl->write, prod, data, NULL, bytes);
    __atomic_store_n(&shared->prod, prod + (uint32_t)bytes, __ATOMIC_RELEASE);
    acted(ctrl, VCHAN_NOTIFY_WRITE);
    return (int)bytes;
}

static int take(struct libxenvchan *ctrl, void *data, size_t bytes)
{
    struct ring_shared *shared = ctrl->read.shr;
    uint32_t cons = shared->cons;

    copy(&ctrl->read, cons, NULL, data, bytes);
    __atomic_store_n(&shared->cons, cons + (uint32_t)bytes, __ATOMIC_RELEASE);
    acted(ctrl, VCHAN_NOTIFY_READ);
    return (int)bytes;
}

/* --- the calls -------------------------------------------------------------
 */

static void follow(struct vchan *v)
{
    struct libxenvchan *ctrl = &v->ctrl;
    struct far_front_stream *far = v->far;

    ctrl->ring = far->page;
    ctrl->event_port = far->own.evtchn.local_port;
    ctrl->read.shr = far->server ? &far->page->left : &far->page->right;
    ctrl->read.buffer = far->server ? far->left : far->right;
    ctrl->write.shr = far->server ? &far->page->right : &far->page->left;
    ctrl->write.buffer = far->server ? far->right : far->left;
}

EXPORT int libxenvchan_wait(struct libxenvchan *ctrl)
{
    struct vchan *v = vchan_of(ctrl);
    int r;

    if (v->far) {
        r = far_front_stream_turn(v->far, UINT64_MAX);
        follow(v);
        return r < 0 ? -1 : 0;
    }
    r = xenevtchn_pending(ctrl->event);
    if (r < 0)
        return -1;
    return xenevtchn_unmask(ctrl->event, (evtchn_port_t)r) ? -1 : 0;
}

EXPORT int libxenvchan_fd_for_select(struct libxenvchan *ctrl)
{
    struct vchan *v = vchan_of(ctrl);

    return v->far ? far_front_stream_fd(v->far) : xenevtchn_fd(ctrl->event);
}

EXPORT int libxenvchan_is_open(struct libxenvchan *ctrl)
{
    if (ctrl->is_server && ctrl->server_persist)
        return 1;
    return __atomic_load_n(ctrl->is_server ? &ctrl->ring->cli_live
                                           : &ctrl->ring->srv_live,
                           __ATOMIC_ACQUIRE);
}

EXPORT int libxenvchan_data_ready(struct libxenvchan *ctrl)
{
    request(ctrl, VCHAN_NOTIFY_WRITE);
    return (int)ready(ctrl);
}

EXPORT int libxenvchan_buffer_space(struct libxenvchan *ctrl)
{
    request(ctrl, VCHAN_NOTIFY_READ);
    return (int)space(ctrl);
}

EXPORT int libxenvchan_send(struct libxenvchan *ctrl, const void *data,
                            size_t size)
{
    while (libxenvchan_is_open(ctrl)) {
        if (space_or_ask(ctrl, size) >= size)
            return put(ctrl, data, size);
        if (!ctrl->blocking)
            return 0;
        if (size > ring_bytes(&ctrl->write) || libxenvchan_wait(ctrl))
            return -1;
    }
    return -1;
}

EXPORT int libxenvchan_write(struct libxenvchan *ctrl, const void *data,
                             size_t size)
{
    size_t done = 0;

    while (libxenvchan_is_open(ctrl)) {
        size_t bytes = space_or_ask(ctrl, size - done);

        if (bytes > size - done)
            bytes = size - done;
        if (bytes)
            put(ctrl, (const uint8_t *)data + done, bytes);
        done += bytes;
        if (done == size || !ctrl->blocking)
            return (int)done;
        if (libxenvchan_wait(ctrl))
            return -1;
    }
    return -1;
}

/* What was written before the other side closed is read before the end. */
EXPORT int libxenvchan_recv(struct libxenvchan *ctrl, void *data, size_t size)
{
    for (;;) {
        int open = libxenvchan_is_open(ctrl);

        if (ready_or_ask(ctrl, size) >= size)
            return take(ctrl, data, size);
        if (!open)
            return -1;
        if (!ctrl->blocking)
            return 0;
        if (size > ring_bytes(&ctrl->read) || libxenvchan_wait(ctrl))
            return -1;
    }
}

EXPORT int libxenvchan_read(struct libxenvchan *ctrl, void *data, size_t size)
{
    for (;;) {
        int open = libxenvchan_is_open(ctrl);
        uint32_t bytes = ready_or_ask(ctrl, size ? 1 : 0);

        if (bytes || !size)
            return take(ctrl, data, bytes < size ? bytes : size);
        if (!open)
            return -1;
        if (!ctrl->blocking)
            return 0;
        if (libxenvchan_wait(ctrl))
            return -1;
    }
}

/* --- between two domains here ----------------------------------------------
 */

static unsigned pages_of(int order)
{
    return order < PAGE_SHIFT ? 0 : 1u << (order - PAGE_SHIFT);
}

/* Of small rings two have room in the shared page; then that is where they are.
 */
static int choose_orders(int orders[2], size_t left_min, size_t right_min)
{
    size_t min[2] = { left_min, right_min };
    bool large = false, small = false;

    for (unsigned i = 0; i < 2; i++) {
        /* the larger of two small ones first */
        unsigned k = right_min > left_min ? 1 - i : i;

        if (min[k] > 1u << MOST_SHIFT)
            return -E2BIG;
        if (min[k] <= 1u << LARGE_SHIFT && !large) {
            orders[k] = LARGE_SHIFT;
            large = true;
        } else if (min[k] <= 1u << SMALL_SHIFT && !small) {
            orders[k] = SMALL_SHIFT;
            small = true;
        } else {
            for (orders[k] = PAGE_SHIFT; min[k] > 1u << orders[k]; orders[k]++)
                ;
        }
    }
    return 0;
}

static void set_sides(struct libxenvchan *ctrl)
{
    ctrl->read.shr = ctrl->is_server ? &ctrl->ring->left : &ctrl->ring->right;
    ctrl->write.shr = ctrl->is_server ? &ctrl->ring->right : &ctrl->ring->left;
}

static void *in_page(const struct libxenvchan *ctrl, int order)
{
    return (uint8_t *)ctrl->ring + (1u << order);
}

/* A ring's memory: of the shared page, or pages of its own, granted. */
static int share_ring(struct libxenvchan *ctrl, struct libxenvchan_ring *ring,
                      int domain, uint32_t **grants)
{
    unsigned pages = pages_of(ring->order);

    if (!pages) {
        ring->buffer = in_page(ctrl, ring->order);
        return 0;
    }
    ring->buffer = xengntshr_share_pages(ctrl->gntshr, (uint32_t)domain,
                                         (int)pages, *grants, 1);
    *grants += pages;
    return ring->buffer ? 0 : -1;
}

static int map_ring(struct libxenvchan *ctrl, struct libxenvchan_ring *ring,
                    int domain, uint32_t **grants)
{
    unsigned pages = pages_of(ring->order);

    if (!pages) {
        ring->buffer = in_page(ctrl, ring->order);
        return 0;
    }
    ring->buffer = xengnttab_map_domain_grant_refs(
        ctrl->gnttab, pages, (uint32_t)domain, *grants, PROT_READ | PROT_WRITE);
    *grants += pages;
    return ring->buffer ? 0 : -1;
}

static bool write_node(struct xs_handle *xs, xs_transaction_t t,
                       const char *base, const char *node, uint32_t value,
                       struct xs_permissions permissions[2])
{
    char path[XENSTORE_ABS_PATH_MAX + 1], text[16];
    int n = snprintf(path, sizeof(path), "%s/%s", base, node);

    if (n < 0 || n >= (int)sizeof(path))
        return false;
    n = snprintf(text, sizeof(text), "%u", value);
    return xs_write(xs, t, path, text, (unsigned)n) &&
           xs_set_permissions(xs, t, path, permissions, 2);
}

/* Where the client finds the page and the port; -1 and errno. */
static int publish(struct libxenvchan *ctrl, int domain, uint32_t ref)
{
    struct xs_handle *xs = xs_open(0);
    struct xs_permissions permissions[2] = { { .perms = XS_PERM_NONE },
                                             { .id = (unsigned)domain,
                                               .perms = XS_PERM_READ } };
    unsigned length;
    int saved;
    char *own = xs ? xs_read(xs, 0, "domid", &length) : NULL;
    bool done = false, again = own != NULL;

    permissions[0].id = own ? (unsigned)strtoul(own, NULL, 10) : 0;
    while (again) {
        xs_transaction_t t = xs_transaction_start(xs);
        bool wrote =
            t &&
            write_node(xs, t, ctrl->xs_path, "ring-ref", ref, permissions) &&
            write_node(xs, t, ctrl->xs_path, "event-channel", ctrl->event_port,
                       permissions);

        done = t && xs_transaction_end(xs, t, !wrote) && wrote;
        again = t && wrote && !done && errno == EAGAIN;
    }
    saved = errno;
    free(own);
    if (xs)
        xs_close(xs);
    errno = saved;
    return done ? 0 : -1;
}

static int read_node(struct xs_handle *xs, const char *base, const char *node,
                     uint32_t *value)
{
    char path[XENSTORE_ABS_PATH_MAX + 1], *text, *end;
    int n = snprintf(path, sizeof(path), "%s/%s", base, node);
    unsigned long number;
    unsigned length;

    text =
        n < 0 || n >= (int)sizeof(path) ? NULL : xs_read(xs, 0, path, &length);
    if (!text)
        return -1;
    number = strtoul(text, &end, 10);
    n = end == text || *end || number > UINT32_MAX;
    free(text);
    *value = (uint32_t)number;
    if (n)
        errno = EINVAL;
    return n ? -1 : 0;
}

static int serve_here(struct libxenvchan *ctrl, int domain, const char *path,
                      size_t left_min, size_t right_min)
{
    uint32_t ref, *grants;
    int orders[2], r = choose_orders(orders, left_min, right_min);

    if (r) {
        errno = -r;
        return -1;
    }
    ctrl->read.order = orders[0];
    ctrl->write.order = orders[1];
    ctrl->xs_path = strdup(path);
    ctrl->event = xenevtchn_open(NULL, 0);
    ctrl->gntshr = xengntshr_open(NULL, 0);
    if (!ctrl->xs_path || !ctrl->event || !ctrl->gntshr)
        return -1;
    r = xenevtchn_bind_unbound_port(ctrl->event, (uint32_t)domain);
    if (r < 0)
        return -1;
    ctrl->event_port = (uint32_t)r;
    ctrl->ring = xengntshr_share_page_notify(
        ctrl->gntshr, (uint32_t)domain, &ref, 1,
        offsetof(struct vchan_interface, srv_live), ctrl->event_port);
    if (!ctrl->ring)
        return -1;
    memset(ctrl->ring, 0, FAR_PAGE_BYTES);
    set_sides(ctrl);
    ctrl->ring->left_order = (uint16_t)ctrl->read.order;
    ctrl->ring->right_order = (uint16_t)ctrl->write.order;
    ctrl->ring->cli_live = 2;
    ctrl->ring->srv_live = 1;
    ctrl->ring->cli_notify = VCHAN_NOTIFY_WRITE;
    grants = ctrl->ring->grants;
    if (share_ring(ctrl, &ctrl->read, domain, &grants) ||
        share_ring(ctrl, &ctrl->write, domain, &grants))
        return -1;
    return publish(ctrl, domain, ref);
}

static bool sound_orders(const struct libxenvchan *ctrl)
{
    int left = ctrl->write.order, right = ctrl->read.order;

    return left >= SMALL_SHIFT && left <= MOST_SHIFT && right >= SMALL_SHIFT &&
           right <= MOST_SHIFT && (left != right || left >= PAGE_SHIFT);
}

static int connect_here(struct libxenvchan *ctrl, int domain, const char *path)
{
    struct xs_handle *xs = xs_open(0);
    uint32_t ref, port, copied[2 << (MOST_SHIFT - PAGE_SHIFT)];
    uint32_t *grants = copied;
    int r = -1, saved;

    if (!xs)
        return -1;
    if (!read_node(xs, path, "ring-ref", &ref) &&
        !read_node(xs, path, "event-channel", &port))
        r = 0;
    saved = errno;
    xs_close(xs);
    errno = saved;
    if (r)
        return -1;
    ctrl->event = xenevtchn_open(NULL, 0);
    ctrl->gnttab = xengnttab_open(NULL, 0);
    if (!ctrl->event || !ctrl->gnttab)
        return -1;
    r = xenevtchn_bind_interdomain(ctrl->event, (uint32_t)domain, port);
    if (r < 0)
        return -1;
    ctrl->event_port = (uint32_t)r;
    ctrl->ring = xengnttab_map_grant_ref_notify(
        ctrl->gnttab, (uint32_t)domain, ref, PROT_READ | PROT_WRITE,
        offsetof(struct vchan_interface, cli_live), ctrl->event_port);
    if (!ctrl->ring)
        return -1;
    set_sides(ctrl);
    ctrl->write.order = ctrl->ring->left_order;
    ctrl->read.order = ctrl->ring->right_order;
    memcpy(copied, ctrl->ring->grants, sizeof(copied));
    if (!sound_orders(ctrl)) {
        errno = EINVAL;
        return -1;
    }
    if (map_ring(ctrl, &ctrl->write, domain, &grants) ||
        map_ring(ctrl, &ctrl->read, domain, &grants))
        return -1;
    ctrl->ring->srv_notify = VCHAN_NOTIFY_WRITE;
    __atomic_store_n(&ctrl->ring->cli_live, 1, __ATOMIC_SEQ_CST);
    (void)xenevtchn_notify(ctrl->event, ctrl->event_port);
    return 0;
}

static void let_go(struct libxenvchan *ctrl, struct libxenvchan_ring *ring)
{
    unsigned pages = pages_of(ring->order);

    if (!pages || !ring->buffer)
        return;
    if (ctrl->is_server)
        (void)xengntshr_unshare(ctrl->gntshr, ring->buffer, pages);
    else
        (void)xengnttab_unmap(ctrl->gnttab, ring->buffer, pages);
}

static void unpublish(const char *base)
{
    struct xs_handle *xs = xs_open(0);
    char path[XENSTORE_ABS_PATH_MAX + 32];

    if (!xs)
        return;
    snprintf(path, sizeof(path), "%s/ring-ref", base);
    (void)xs_rm(xs, 0, path);
    snprintf(path, sizeof(path), "%s/event-channel", base);
    (void)xs_rm(xs, 0, path);
    xs_close(xs);
}

static void close_here(struct libxenvchan *ctrl)
{
    if (ctrl->is_server && ctrl->xs_path)
        unpublish(ctrl->xs_path);
    let_go(ctrl, &ctrl->read);
    let_go(ctrl, &ctrl->write);
    if (ctrl->ring) {
        __atomic_store_n(ctrl->is_server ? &ctrl->ring->srv_live
                                         : &ctrl->ring->cli_live,
                         0, __ATOMIC_SEQ_CST);
        (void)xenevtchn_notify(ctrl->event, ctrl->event_port);
        if (ctrl->is_server)
            (void)xengntshr_unshare(ctrl->gntshr, ctrl->ring, 1);
        else
            (void)xengnttab_unmap(ctrl->gnttab, ctrl->ring, 1);
    }
    if (ctrl->event)
        (void)xenevtchn_close(ctrl->event);
    if (ctrl->is_server && ctrl->gntshr)
        (void)xengntshr_close(ctrl->gntshr);
    else if (ctrl->gnttab)
        (void)xengnttab_close(ctrl->gnttab);
    free(ctrl->xs_path);
}

/* --- opening and closing ---------------------------------------------------
 */

EXPORT void libxenvchan_close(struct libxenvchan *ctrl)
{
    struct vchan *v;

    if (!ctrl)
        return;
    v = vchan_of(ctrl);
    if (v->far)
        far_front_stream_close(v->far);
    else
        close_here(ctrl);
    free(v);
}

/* The client's: there is somebody to be connected to, or there isn't. */
static bool has_peer(struct vchan *v)
{
    uint64_t now = far_now_us(), until = now + PEER_TIMEOUT_US;

    while (libxenvchan_is_open(&v->ctrl) == 2 && now < until) {
        if (far_front_stream_turn(v->far, until - now) < 0)
            return false;
        follow(v);
        now = far_now_us();
    }
    return libxenvchan_is_open(&v->ctrl) == 1;
}

/* A stream of Farside's? 1, 0 (no), or -1 and errno. */
static int open_far(struct vchan *v, int domain, const char *path, bool server,
                    size_t left_min, size_t right_min)
{
    v->far = far_front_stream_open((unsigned)domain, path, server, left_min,
                                   right_min, FAR_TIMEOUT_US);
    if (!v->far)
        return errno == ENOENT ? 0 : -1;
    v->ctrl.read.order =
        (int)(server ? v->far->left_order : v->far->right_order);
    v->ctrl.write.order =
        (int)(server ? v->far->right_order : v->far->left_order);
    follow(v);
    if (server || has_peer(v))
        return 1;
    errno = ECONNREFUSED;
    return -1;
}

static struct libxenvchan *open_one(int domain, const char *path, bool server,
                                    size_t left_min, size_t right_min)
{
    struct vchan *v = calloc(1, sizeof(*v));
    int r, saved;

    if (!v)
        return NULL;
    v->ctrl.is_server = server ? -1 : 0; /* one bit, and signed */
    r = open_far(v, domain, path, server, left_min, right_min);
    if (r == 0)
        r = server ? serve_here(&v->ctrl, domain, path, left_min, right_min)
                   : connect_here(&v->ctrl, domain, path);
    if (r >= 0)
        return &v->ctrl;
    saved = errno;
    libxenvchan_close(&v->ctrl);
    errno = saved;
    return NULL;
}

EXPORT struct libxenvchan *
libxenvchan_server_init(struct xentoollog_logger *logger, int domain,
                        const char *xs_path, size_t left_min, size_t right_min)
{
    (void)logger;
    return open_one(domain, xs_path, true, left_min, right_min);
}

EXPORT struct libxenvchan *
libxenvchan_client_init(struct xentoollog_logger *logger, int domain,
                        const char *xs_path)
{
    (void)logger;
    return open_one(domain, xs_path, false, 0, 0);
}
