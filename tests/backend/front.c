/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A kbdif frontend that does what it is told, right or wrong, one line at a
 * time, and answers each with a line. Runs in a guest of the simulator, on
 * libxenstore, libxengnttab and libxenevtchn alone: it knows nothing of the
 * simulator or of Farside.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xen/io/kbdif.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#define PAGES 8

static struct xs_handle *xs;
static xengntshr_handle *shares;
static xenevtchn_handle *events;
static struct {
    struct xenkbd_page *page;
    uint32_t gref;
    evtchn_port_t port;
    uint32_t cons;
} d[PAGES];

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void failed(void)
{
    printf("err %s\n", strerrorname_np(errno));
}

static void ok(bool good)
{
    if (good)
        printf("ok\n");
    else
        failed();
}

static void print_event(const union xenkbd_in_event *e)
{
    switch (e->type) {
    case XENKBD_TYPE_KEY:
        printf(" k%u%c", e->key.keycode, e->key.pressed ? '+' : '-');
        break;
    case XENKBD_TYPE_MOTION:
        printf(" m%d,%d,%d", e->motion.rel_x, e->motion.rel_y, e->motion.rel_z);
        break;
    case XENKBD_TYPE_POS:
        printf(" p%d,%d,%d", e->pos.abs_x, e->pos.abs_y, e->pos.rel_z);
        break;
    case XENKBD_TYPE_MTOUCH:
        printf(" t%u:%u:%d,%d", e->mtouch.event_type, e->mtouch.contact_id,
               e->mtouch.u.pos.abs_x, e->mtouch.u.pos.abs_y);
        break;
    default:
        printf(" ?%u", e->type);
    }
}

/* Takes events until none has come for quiet_ms, at most max of them. */
static void drain(unsigned at, int quiet_ms, unsigned max)
{
    uint64_t until = now_ms() + (uint64_t)quiet_ms;
    unsigned n = 0;

    printf("ok");
    while (n < max) {
        uint32_t prod = __atomic_load_n(&d[at].page->in_prod, __ATOMIC_ACQUIRE);
        struct pollfd p = { .fd = xenevtchn_fd(events), .events = POLLIN };
        bool any = d[at].cons != prod;
        int left;

        if (prod - d[at].cons > XENKBD_IN_RING_LEN) {
            printf(" overflow");
            break;
        }
        while (d[at].cons != prod && n < max) {
            union xenkbd_in_event e =
                XENKBD_IN_RING_REF(d[at].page, d[at].cons);

            print_event(&e);
            d[at].cons++;
            n++;
        }
        if (any) {
            __atomic_store_n(&d[at].page->in_cons, d[at].cons,
                             __ATOMIC_RELEASE);
            xenevtchn_notify(events, d[at].port);
            until = now_ms() + (uint64_t)quiet_ms;
            continue;
        }
        left = (int)(until - now_ms());
        if (left <= 0)
            break;
        if (poll(&p, 1, left < 5 ? left : 5) == 1) {
            xenevtchn_port_or_error_t port = xenevtchn_pending(events);

            if (port >= 0)
                xenevtchn_unmask(events, (evtchn_port_t)port);
        }
    }
    printf("\n");
}

static void hammer(unsigned at, int ms)
{
    uint64_t until = now_ms() + (uint64_t)ms;
    uint32_t seed = 1;

    while (now_ms() < until) {
        for (int i = 0; i < 1000; i++) {
            seed = seed * 1664525 + 1013904223;
            __atomic_store_n(&d[at].page->in_cons, seed, __ATOMIC_RELAXED);
        }
        xenevtchn_notify(events, d[at].port);
    }
    printf("ok\n");
}

/* What another processor of the guest does to a page, as fast as it can, while
 * the next commands are done. A thread: shared pages do not go to a child. */
struct attack {
    volatile uint32_t *words;
    uint64_t until_ms;
};

/* Marks all of a timer page's first 64 timers. */
static void *mark(void *arg)
{
    struct attack attack = *(struct attack *)arg;

    free(arg);
    while (now_ms() < attack.until_ms)
        for (int i = 0; i < 100000; i++) {
            attack.words[512 / 4] = attack.words[512 / 4 + 1] = ~0u;
            attack.words[192 / 4] = 1;
        }
    return NULL;
}

/* The whole page, with anything. */
static void *wild(void *arg)
{
    struct attack attack = *(struct attack *)arg;
    uint32_t seed = 1;

    free(arg);
    while (now_ms() < attack.until_ms)
        for (int i = 0; i < 4096; i++) {
            seed = seed * 1664525 + 1013904223;
            attack.words[i % 1024] = i & 1024 ? seed : ~0u;
        }
    return NULL;
}

static void begin(void *(*attack)(void *), unsigned at, int ms)
{
    struct attack *a = malloc(sizeof(*a));
    pthread_t thread;

    if (a) {
        a->words = (volatile uint32_t *)d[at].page;
        a->until_ms = now_ms() + (uint64_t)ms;
    }
    ok(a && !pthread_create(&thread, NULL, attack, a) &&
       !pthread_detach(thread));
}

static bool state_is(const char *path, const char *states, int ms)
{
    uint64_t until = now_ms() + (uint64_t)ms;

    do {
        struct timespec nap = { 0, 2000000 };
        char *text = xs_read(xs, 0, path, NULL);
        bool hit = text && text[0] && !text[1] && strchr(states, text[0]);

        free(text);
        if (hit)
            return true;
        nanosleep(&nap, NULL);
    } while (now_ms() < until);
    return false;
}

static void run(char *line)
{
    char word[32] = "", path[256] = "";
    char text[8192] = "";
    unsigned at = 0, n = 0;
    int ms = 0;

    line[strcspn(line, "\n")] = '\0';
    sscanf(line, "%31s", word);
    if (!strcmp(word, "share")) {
        uint32_t gref = 0;
        int writable = 1;
        unsigned domid = 0;

        sscanf(line, "%*s %u %d %u", &at, &writable, &domid);
        d[at].page = xengntshr_share_pages(shares, domid, 1, &gref, writable);
        d[at].gref = gref;
        d[at].cons = 0;
        if (d[at].page)
            printf("ok %u\n", gref);
        else
            failed();
    } else if (!strcmp(word, "unshare")) {
        sscanf(line, "%*s %u", &at);
        ok(!xengntshr_unshare(shares, d[at].page, 1));
        d[at].page = NULL;
    } else if (!strcmp(word, "offer")) {
        xenevtchn_port_or_error_t port;

        sscanf(line, "%*s %u", &at);
        port = xenevtchn_bind_unbound_port(events, 0);
        d[at].port = (evtchn_port_t)port;
        if (port < 0)
            failed();
        else
            printf("ok %d\n", port);
    } else if (!strcmp(word, "unbind")) {
        sscanf(line, "%*s %u", &at);
        ok(!xenevtchn_unbind(events, d[at].port));
    } else if (!strcmp(word, "write")) {
        sscanf(line, "%*s %255s %8191[^\n]", path, text);
        ok(xs_write(xs, 0, path, text, (unsigned)strlen(text)));
    } else if (!strcmp(word, "long")) {
        sscanf(line, "%*s %255s %u", path, &n);
        if (n > sizeof(text) - 1)
            n = sizeof(text) - 1;
        memset(text, '4', n);
        ok(xs_write(xs, 0, path, text, n));
    } else if (!strcmp(word, "empty")) {
        sscanf(line, "%*s %255s", path);
        ok(xs_write(xs, 0, path, "", 0));
    } else if (!strcmp(word, "rm")) {
        sscanf(line, "%*s %255s", path);
        ok(xs_rm(xs, 0, path));
    } else if (!strcmp(word, "read")) {
        char *got;

        sscanf(line, "%*s %255s", path);
        got = xs_read(xs, 0, path, NULL);
        if (got)
            printf("ok %s\n", got);
        else
            failed();
        free(got);
    } else if (!strcmp(word, "private")) { /* nobody else may read it */
        struct xs_permissions mine = { .perms = XS_PERM_NONE };

        sscanf(line, "%*s %255s %u", path, &mine.id);
        ok(xs_set_permissions(xs, 0, path, &mine, 1));
    } else if (!strcmp(word, "flood")) { /* PATH COUNT WORDS: one by one */
        char *list[16], *save = NULL;
        unsigned words = 0;

        sscanf(line, "%*s %255s %u %8191[^\n]", path, &n, text);
        for (char *w = strtok_r(text, " ", &save); w && words < 16;
             w = strtok_r(NULL, " ", &save))
            list[words++] = w;
        for (unsigned i = 0; words && i < n; i++) {
            const char *w = list[i % words];

            if (!xs_write(xs, 0, path, w, (unsigned)strlen(w))) {
                failed();
                return;
            }
        }
        printf("ok\n");
    } else if (!strcmp(word, "wait")) { /* PATH STATES MS */
        sscanf(line, "%*s %255s %15s %d", path, text, &ms);
        if (state_is(path, text, ms))
            printf("ok\n");
        else {
            char *got = xs_read(xs, 0, path, NULL);

            printf("no %s\n", got ? got : "none");
            free(got);
        }
    } else if (!strcmp(word, "peek")) {
        sscanf(line, "%*s %u %u", &at, &n);
        printf("ok %u\n", ((volatile uint32_t *)d[at].page)[n / 4]);
    } else if (!strcmp(word, "poke")) {
        unsigned value = 0;

        sscanf(line, "%*s %u %u %u", &at, &n, &value);
        ((volatile uint32_t *)d[at].page)[n / 4] = value;
        printf("ok\n");
    } else if (!strcmp(word, "cons")) { /* our own index, and in the page */
        sscanf(line, "%*s %u %u", &at, &n);
        d[at].cons = n;
        d[at].page->in_cons = n;
        printf("ok\n");
    } else if (!strcmp(word, "drain")) {
        unsigned max = 1000000;

        sscanf(line, "%*s %u %d %u", &at, &ms, &max);
        drain(at, ms, max);
    } else if (!strcmp(word, "hammer")) {
        sscanf(line, "%*s %u %d", &at, &ms);
        hammer(at, ms);
    } else if (!strcmp(word, "mark")) {
        sscanf(line, "%*s %u %d", &at, &ms);
        begin(mark, at, ms);
    } else if (!strcmp(word, "wild")) {
        sscanf(line, "%*s %u %d", &at, &ms);
        begin(wild, at, ms);
    } else if (!strcmp(word, "notify")) {
        sscanf(line, "%*s %u %u", &at, &n);
        for (unsigned i = 0; i < n; i++)
            xenevtchn_notify(events, d[at].port);
        printf("ok\n");
    } else {
        printf("err what\n");
    }
}

int main(void)
{
    static char line[16384];

    xs = xs_open(0);
    shares = xengntshr_open(NULL, 0);
    events = xenevtchn_open(NULL, 0);
    if (!xs || !shares || !events) {
        perror("front");
        return 1;
    }
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    printf("ok\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        run(line);
        fflush(stdout);
    }
    return 0;
}
