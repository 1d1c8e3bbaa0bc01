/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each guest's xenbus driver: what a guest's kernel does between the programs
 * that have /dev/xen/xenbus open and the one ring to xenstored. Requests get
 * numbers of our own, watches tokens of our own, so that programs do not see
 * each other's; a program that goes leaves no watch and no transaction. After
 * a restore or a migration the watches are set again in the new xenstored,
 * and fire, as on Linux.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xen/io/xs_wire.h>
#include "sim/keeper.h"

#define MSG_ROOM  (sizeof(struct xsd_sockmsg) + XENSTORE_PAYLOAD_MAX)
#define TXQ_LIMIT (64 * 1024) /* beyond, programs are not read any more */

struct bus_watch {
    struct bus_watch *next;
    uint32_t id;
    char *path, *token;
};

struct bus_tx {
    struct bus_tx *next;
    uint32_t id;
};

struct bus_conn {
    struct source src;
    struct bus_conn *next;
    struct guest *guest;
    bool gone;
    uint32_t interest;
    char in[MSG_ROOM];
    size_t in_len;
    char *out;
    size_t out_len, out_room;
    struct bus_watch *watches;
    struct bus_tx *txs;
};

/* A request on its way; `conn` is NULL if nobody waits for the answer. */
struct bus_pending {
    struct bus_pending *next;
    struct bus_conn *conn;
    uint32_t id, orig, type, tx;
    struct bus_watch *watch; /* a new one: becomes the conn's if granted */
};

static bool append(char **buf, size_t *len, size_t *room, const void *data,
                   size_t size)
{
    if (*len + size > *room) {
        size_t want = (*len + size) * 2;
        char *p = realloc(*buf, want);
        if (!p)
            return false;
        *buf = p;
        *room = want;
    }
    memcpy(*buf + *len, data, size);
    *len += size;
    return true;
}

static void free_watch(struct bus_watch *w)
{
    if (w) {
        free(w->path);
        free(w->token);
        free(w);
    }
}

/* ---- towards programs ---- */

static void update_interest(struct keeper *k, struct bus_conn *c)
{
    bool full = c->guest->txq_len > TXQ_LIMIT || !c->guest->ring;
    uint32_t want = (full ? 0u : (uint32_t)EPOLLIN) |
                    (c->out_len ? (uint32_t)EPOLLOUT : 0u);
    if (!c->gone && want != c->interest) {
        c->interest = want;
        keeper_rewatch(k, &c->src, want);
    }
}

static void flush_conn(struct keeper *k, struct bus_conn *c)
{
    while (c->out_len) {
        ssize_t n =
            send(c->src.fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n <= 0)
            break;
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    update_interest(k, c);
}

static void reply(struct keeper *k, struct bus_conn *c, uint32_t type,
                  uint32_t req_id, uint32_t tx, const void *body, size_t len)
{
    struct xsd_sockmsg h = { type, req_id, tx, (uint32_t)len };
    if (!c || c->gone)
        return;
    if (append(&c->out, &c->out_len, &c->out_room, &h, sizeof(h)) && len &&
        !append(&c->out, &c->out_len, &c->out_room, body, len))
        c->out_len -= sizeof(h);
    flush_conn(k, c);
}

/* ---- towards the ring ---- */

static void pump(struct keeper *k, struct guest *g)
{
    struct xenstore_domain_interface *x = g->ring;
    bool moved = false;

    if (!x)
        return;
    while (g->txq_len) {
        uint32_t cons = __atomic_load_n(&x->req_cons, __ATOMIC_ACQUIRE);
        uint32_t prod = x->req_prod;
        if (prod - cons > XENSTORE_RING_SIZE)
            return;
        uint32_t room = XENSTORE_RING_SIZE - (prod - cons);
        uint32_t run = XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(prod);
        run = run < room ? run : room;
        run = run < g->txq_len ? run : (uint32_t)g->txq_len;
        if (!run)
            break;
        memcpy(x->req + MASK_XENSTORE_IDX(prod), g->txq, run);
        __atomic_store_n(&x->req_prod, prod + run, __ATOMIC_RELEASE);
        g->txq_len -= run;
        memmove(g->txq, g->txq + run, g->txq_len);
        moved = true;
    }
    if (moved)
        hv_send(k, g->dom, 1);
}

static bool post(struct guest *g, uint32_t type, uint32_t id, uint32_t tx,
                 const void *body, size_t len)
{
    struct xsd_sockmsg h = { type, id, tx, (uint32_t)len };
    size_t before = g->txq_len;
    if (append(&g->txq, &g->txq_len, &g->txq_room, &h, sizeof(h)) &&
        (!len || append(&g->txq, &g->txq_len, &g->txq_room, body, len)))
        return true;
    g->txq_len = before;
    return false;
}

static struct bus_pending *expect(struct guest *g, struct bus_conn *c,
                                  const struct xsd_sockmsg *h)
{
    struct bus_pending *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->conn = c;
    p->id = ++g->next_id;
    p->type = h->type;
    p->orig = h->req_id;
    p->tx = h->tx_id;
    struct bus_pending **at = &g->pending;
    while (*at)
        at = &(*at)->next;
    *at = p;
    return p;
}

static void forget(struct guest *g, struct bus_pending *p)
{
    for (struct bus_pending **at = &g->pending; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            free(p);
            return;
        }
}

static void send_watch(struct guest *g, uint32_t type,
                       const struct bus_watch *w, uint32_t id)
{
    char body[XENSTORE_PAYLOAD_MAX];
    int n = snprintf(body, sizeof(body), "%s%c%X", w->path, 0, w->id);
    if (n > 0 && (size_t)n + 1 < sizeof(body))
        post(g, type, id, 0, body, (size_t)n + 1);
}

static const char ok[] = "OK";
static const char bad[] = "EINVAL";
static const char no_memory[] = "ENOMEM";

/* Splits "path\0token\0". */
static bool two_strings(const char *body, size_t len, const char **second)
{
    if (len < 2 || body[len - 1])
        return false;
    *second = body + strlen(body) + 1;
    return *second < body + len && *second + strlen(*second) + 1 == body + len;
}

static void request(struct keeper *k, struct bus_conn *c,
                    const struct xsd_sockmsg *h, const char *body)
{
    struct guest *g = c->guest;
    const char *token = NULL;

    if (h->type == XS_WATCH || h->type == XS_UNWATCH) {
        if (!two_strings(body, h->len, &token)) {
            reply(k, c, XS_ERROR, h->req_id, h->tx_id, bad, sizeof(bad));
            return;
        }
    }
    if (h->type == XS_UNWATCH) {
        for (struct bus_watch **at = &c->watches; *at; at = &(*at)->next) {
            struct bus_watch *w = *at;
            if (strcmp(w->path, body) || strcmp(w->token, token))
                continue;
            *at = w->next;
            struct xsd_sockmsg none = { XS_UNWATCH, 0, 0, 0 };
            struct bus_pending *p = expect(g, NULL, &none);
            if (p)
                send_watch(g, XS_UNWATCH, w, p->id);
            free_watch(w);
            break;
        }
        reply(k, c, XS_UNWATCH, h->req_id, h->tx_id, ok, sizeof(ok));
        return;
    }
    struct bus_pending *p = expect(g, c, h);
    if (p && h->type == XS_WATCH) {
        struct bus_watch *w = calloc(1, sizeof(*w));
        if (w) {
            w->id = p->id;
            w->path = strdup(body);
            w->token = strdup(token);
        }
        if (w && w->path && w->token) {
            p->watch = w;
            send_watch(g, XS_WATCH, w, p->id);
            return;
        }
        free_watch(w);
    } else if (p && post(g, h->type, p->id, h->tx_id, body, h->len)) {
        return;
    }
    if (p)
        forget(g, p);
    reply(k, c, XS_ERROR, h->req_id, h->tx_id, no_memory, sizeof(no_memory));
}

/* ---- from the ring ---- */

static void watch_event(struct keeper *k, struct guest *g, const char *body,
                        size_t len)
{
    const char *token;
    if (!two_strings(body, len, &token))
        return;
    uint32_t id = (uint32_t)strtoul(token, NULL, 16);
    for (struct bus_conn *c = g->conns; c; c = c->next)
        for (struct bus_watch *w = c->watches; w; w = w->next) {
            if (w->id != id)
                continue;
            char out[2 * XENSTORE_PAYLOAD_MAX];
            int n = snprintf(out, sizeof(out), "%s%c%s", body, 0, w->token);
            if (n > 0 && (size_t)n + 1 < sizeof(out))
                reply(k, c, XS_WATCH_EVENT, 0, 0, out, (size_t)n + 1);
            return;
        }
}

static void answer(struct keeper *k, struct guest *g,
                   const struct xsd_sockmsg *h, const char *body)
{
    if (h->type == XS_WATCH_EVENT) {
        watch_event(k, g, body, h->len);
        return;
    }
    struct bus_pending *p = g->pending;
    while (p && p->id != h->req_id)
        p = p->next;
    if (!p)
        return;
    struct bus_conn *c = p->conn;
    if (p->type == XS_TRANSACTION_START && h->type == XS_TRANSACTION_START) {
        struct bus_tx *tx = calloc(1, sizeof(*tx));
        uint32_t id = (uint32_t)strtoul(body, NULL, 10);
        if (tx && c) {
            tx->id = id;
            tx->next = c->txs;
            c->txs = tx;
        } else {
            free(tx);
            if (!c) {
                struct xsd_sockmsg end = { XS_TRANSACTION_END, 0, id, 0 };
                struct bus_pending *e = expect(g, NULL, &end);
                if (e)
                    post(g, XS_TRANSACTION_END, e->id, id, "F", 2);
            }
        }
    } else if (p->type == XS_TRANSACTION_END && c) {
        for (struct bus_tx **at = &c->txs; *at; at = &(*at)->next)
            if ((*at)->id == p->tx) {
                struct bus_tx *tx = *at;
                *at = tx->next;
                free(tx);
                break;
            }
    } else if (p->watch) {
        if (h->type == XS_WATCH && c) {
            p->watch->next = c->watches;
            c->watches = p->watch;
        } else {
            if (h->type == XS_WATCH) {
                struct xsd_sockmsg none = { XS_UNWATCH, 0, 0, 0 };
                struct bus_pending *e = expect(g, NULL, &none);
                if (e)
                    send_watch(g, XS_UNWATCH, p->watch, e->id);
            }
            free_watch(p->watch);
        }
        p->watch = NULL;
    }
    reply(k, c, h->type, p->orig, h->tx_id, body, h->len);
    forget(g, p);
}

static void drain(struct keeper *k, struct guest *g)
{
    struct xenstore_domain_interface *x = g->ring;
    bool moved = false;

    for (;;) {
        uint32_t cons = x->rsp_cons;
        uint32_t prod = __atomic_load_n(&x->rsp_prod, __ATOMIC_ACQUIRE);
        if (prod == cons || prod - cons > XENSTORE_RING_SIZE)
            break;
        struct xsd_sockmsg h;
        size_t want = sizeof(h);
        if (g->rx_len >= sizeof(h)) {
            memcpy(&h, g->rx, sizeof(h));
            if (h.len > XENSTORE_PAYLOAD_MAX)
                break; /* xenstored never does this */
            want += h.len;
        }
        size_t need = want - g->rx_len;
        uint32_t run = XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(cons);
        run = run < prod - cons ? run : prod - cons;
        run = run < need ? run : (uint32_t)need;
        memcpy(g->rx + g->rx_len, x->rsp + MASK_XENSTORE_IDX(cons), run);
        g->rx_len += run;
        __atomic_store_n(&x->rsp_cons, cons + run, __ATOMIC_RELEASE);
        moved = true;
        if (g->rx_len < sizeof(h))
            continue;
        memcpy(&h, g->rx, sizeof(h));
        if (h.len <= XENSTORE_PAYLOAD_MAX && g->rx_len == sizeof(h) + h.len) {
            g->rx_len = 0;
            g->rx[sizeof(h) + h.len] = 0;
            answer(k, g, &h, g->rx + sizeof(h));
        }
    }
    if (moved)
        hv_send(k, g->dom, 1);
}

void bus_event(struct keeper *k, struct guest *g)
{
    if (!g->ring)
        return;
    drain(k, g);
    pump(k, g);
    for (struct bus_conn *c = g->conns; c; c = c->next)
        update_interest(k, c);
}

/* ---- programs ---- */

int bus_open(struct keeper *k, struct guest *g, int *fd)
{
    int pair[2];
    struct bus_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        free(c);
        return -errno;
    }
    c->src.kind = SRC_BUS;
    c->src.fd = pair[0];
    c->guest = g;
    c->interest = g->ring ? EPOLLIN : 0;
    int r = keeper_watch(k, &c->src, c->interest);
    if (r) {
        close(pair[0]);
        close(pair[1]);
        free(c);
        return r;
    }
    c->next = g->conns;
    g->conns = c;
    *fd = pair[1];
    return 0;
}

static void close_conn(struct keeper *k, struct bus_conn *c)
{
    struct guest *g = c->guest;

    if (c->gone)
        return;
    c->gone = true;
    for (struct bus_conn **at = &g->conns; *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    for (struct bus_pending *p = g->pending; p; p = p->next)
        if (p->conn == c)
            p->conn = NULL;
    while (c->watches) {
        struct bus_watch *w = c->watches;
        c->watches = w->next;
        struct xsd_sockmsg none = { XS_UNWATCH, 0, 0, 0 };
        struct bus_pending *p = g->ring ? expect(g, NULL, &none) : NULL;
        if (p)
            send_watch(g, XS_UNWATCH, w, p->id);
        free_watch(w);
    }
    while (c->txs) {
        struct bus_tx *tx = c->txs;
        c->txs = tx->next;
        struct xsd_sockmsg end = { XS_TRANSACTION_END, 0, tx->id, 0 };
        struct bus_pending *p = g->ring ? expect(g, NULL, &end) : NULL;
        if (p)
            post(g, XS_TRANSACTION_END, p->id, tx->id, "F", 2);
        free(tx);
    }
    free(c->out);
    c->out = NULL;
    c->out_len = 0;
    pump(k, g);
    keeper_drop(k, &c->src);
}

void bus_input(struct keeper *k, struct source *src, uint32_t events)
{
    struct bus_conn *c = (struct bus_conn *)src;
    struct xsd_sockmsg h;

    if (events & EPOLLOUT)
        flush_conn(k, c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    size_t want = sizeof(h);
    if (c->in_len >= sizeof(h)) {
        memcpy(&h, c->in, sizeof(h));
        want += h.len;
    }
    if (!c->guest->ring && !(events & (EPOLLHUP | EPOLLERR)))
        return;
    ssize_t n =
        recv(c->src.fd, c->in + c->in_len, want - c->in_len, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            close_conn(k, c);
        return;
    }
    c->in_len += (size_t)n;
    if (c->in_len < sizeof(h))
        return;
    memcpy(&h, c->in, sizeof(h));
    if (h.len > XENSTORE_PAYLOAD_MAX) {
        close_conn(k, c);
        return;
    }
    if (c->in_len == sizeof(h) && h.len) {
        n = recv(c->src.fd, c->in + c->in_len, h.len, MSG_DONTWAIT);
        if (n > 0)
            c->in_len += (size_t)n;
    }
    if (c->in_len == sizeof(h) + h.len) {
        c->in_len = 0;
        request(k, c, &h, c->in + sizeof(h));
        pump(k, c->guest);
        update_interest(k, c);
    }
}

/* ---- the guest moves ---- */

int bus_attach(struct keeper *k, struct guest *g)
{
    if (!g->rx) {
        g->rx = malloc(MSG_ROOM + 1);
        if (!g->rx)
            return -ENOMEM;
    }
    void *p = mmap(NULL, HV_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, k->mem_fd,
                   (off_t)k->doms[g->dom].ring_frame * HV_PAGE);
    if (p == MAP_FAILED)
        return -errno;
    g->ring = p;
    g->txq_len = g->rx_len = 0;
    for (struct bus_conn *c = g->conns; c; c = c->next)
        for (struct bus_watch *w = c->watches; w; w = w->next) {
            struct xsd_sockmsg none = { XS_WATCH, 0, 0, 0 };
            struct bus_pending *e = expect(g, NULL, &none);
            if (e)
                send_watch(g, XS_WATCH, w, e->id);
        }
    bus_event(k, g);
    return 0;
}

void bus_detach(struct keeper *k, struct guest *g)
{
    static const char again[] = "EAGAIN";

    if (!g->ring)
        return;
    munmap(g->ring, HV_PAGE);
    g->ring = NULL;
    while (g->pending) {
        struct bus_pending *p = g->pending;
        reply(k, p->conn, XS_ERROR, p->orig, p->tx, again, sizeof(again));
        g->pending = p->next;
        free_watch(p->watch);
        free(p);
    }
    g->txq_len = g->rx_len = 0;
    for (struct bus_conn *c = g->conns; c; c = c->next) {
        while (c->txs) {
            struct bus_tx *tx = c->txs;
            c->txs = tx->next;
            free(tx);
        }
        update_interest(k, c);
    }
}

uint32_t bus_busy(const struct guest *g)
{
    uint32_t n = 0;
    for (const struct bus_pending *p = g->pending; p; p = p->next)
        n++;
    return n;
}

void bus_free(struct keeper *k, struct guest *g)
{
    bus_detach(k, g);
    while (g->conns)
        close_conn(k, g->conns);
    free(g->txq);
    free(g->rx);
    g->txq = g->rx = NULL;
}
