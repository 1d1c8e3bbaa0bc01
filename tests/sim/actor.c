/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program in a domain that does what it is told, one line at a time, and
 * answers each with a line: "ok ..." or "err ERRNO". It calls libxenevtchn,
 * libxengnttab and libxenstore as any program for Xen does and knows nothing
 * of the simulator.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

#define PLACES 16
#define PAGE   4096u

static xenevtchn_handle *ev[PLACES];
static struct {
    char *addr;
    uint32_t count;
} area[PLACES];
static struct xs_handle *xs[PLACES];
static xengnttab_handle *gt;
static xengntshr_handle *gs;
static sigjmp_buf trap;

static void on_fault(int sig)
{
    (void)sig;
    siglongjmp(trap, 1);
}

static void failed(void)
{
    const char *name = strerrorname_np(errno);
    printf("err %s\n", name ? name : "?");
}

static void result(int r)
{
    if (r < 0)
        failed();
    else
        printf("ok %d\n", r);
}

static void wait_event(xenevtchn_handle *h, int ms)
{
    struct pollfd p = { xenevtchn_fd(h), POLLIN, 0 };
    if (poll(&p, 1, ms) != 1)
        puts("ok none");
    else
        result(xenevtchn_pending(h));
}

static void in_child(xenevtchn_handle *h, uint32_t port)
{
    fflush(stdout);
    pid_t pid = fork();
    int status = 0;
    if (!pid) {
        bool dead = xenevtchn_notify(h, port) < 0 &&
                    xenevtchn_bind_unbound_port(h, 0) < 0;
        xenevtchn_close(h);
        h = xenevtchn_open(NULL, 0); /* a new one works */
        _exit(dead && h && xenevtchn_bind_unbound_port(h, 0) > 0 ? 7 : 1);
    }
    waitpid(pid, &status, 0);
    result(WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void copy(bool from, uint32_t dom, uint32_t ref, uint32_t off,
                 uint32_t len, int byte)
{
    char buf[2 * PAGE];
    memset(buf, byte, sizeof(buf));
    xengnttab_grant_copy_segment_t s = { .len = (uint16_t)len };
    if (from) {
        s.flags = GNTCOPY_source_gref;
        s.source.foreign.ref = ref;
        s.source.foreign.offset = (uint16_t)off;
        s.source.foreign.domid = (uint16_t)dom;
        s.dest.virt = buf;
    } else {
        s.flags = GNTCOPY_dest_gref;
        s.dest.foreign.ref = ref;
        s.dest.foreign.offset = (uint16_t)off;
        s.dest.foreign.domid = (uint16_t)dom;
        s.source.virt = buf;
    }
    if (xengnttab_grant_copy(gt, 1, &s))
        failed();
    else
        printf("ok %d %d\n", s.status, buf[0]);
}

static void events(const char *c, xenevtchn_handle **h, uint32_t a, uint32_t b)
{
    if (!strcmp(c, "eopen"))
        result((*h = xenevtchn_open(NULL, 0)) ? 0 : -1);
    else if (!strcmp(c, "eclose"))
        result(xenevtchn_close(*h));
    else if (!strcmp(c, "unbound"))
        result(xenevtchn_bind_unbound_port(*h, a));
    else if (!strcmp(c, "bind"))
        result(xenevtchn_bind_interdomain(*h, a, b));
    else if (!strcmp(c, "virq"))
        result(xenevtchn_bind_virq(*h, a));
    else if (!strcmp(c, "unbind"))
        result(xenevtchn_unbind(*h, a));
    else if (!strcmp(c, "notify"))
        result(xenevtchn_notify(*h, a));
    else if (!strcmp(c, "unmask"))
        result(xenevtchn_unmask(*h, a));
    else if (!strcmp(c, "restrict"))
        result(xenevtchn_restrict(*h, (domid_t)a));
    else if (!strcmp(c, "wait"))
        wait_event(*h, (int)a);
    else if (!strcmp(c, "inchild"))
        in_child(*h, a);
    else if (!strcmp(c, "flood")) {
        puts("ok");
        fflush(stdout);
        for (;;) { /* until killed */
            xenevtchn_notify(*h, a);
            xenevtchn_unmask(*h, a);
        }
    } else
        puts("err what");
}

static void mapped(int place, void *addr, uint32_t count)
{
    if (!addr) {
        failed();
        return;
    }
    area[place].addr = addr;
    area[place].count = count;
    puts("ok");
}

static void grants(int argc, char **argv)
{
    const char *c = argv[0];
    int place = argc > 1 ? atoi(argv[1]) % PLACES : 0;
    uint32_t n[64] = { 0 };

    for (int i = 2; i < argc && i < 64; i++)
        n[i] = (uint32_t)strtoul(argv[i], NULL, 0);
    if (!strcmp(c, "share") || !strcmp(c, "sharen")) {
        /* share PLACE DOM COUNT WRITABLE; sharen PLACE DOM OFFSET PORT */
        static uint32_t refs[4096];
        uint32_t count = c[5] ? 1 : n[3];
        void *p =
            c[5] ? xengntshr_share_page_notify(gs, n[2], refs, 1, n[3], n[4])
                 : xengntshr_share_pages(gs, n[2], (int)count, refs, (int)n[4]);
        if (!p) {
            failed();
            return;
        }
        area[place].addr = p;
        area[place].count = count;
        printf("ok");
        for (uint32_t i = 0; i < count && i < 32; i++)
            printf(" %u", refs[i]);
        puts("");
    } else if (!strcmp(c, "map")) {
        /* map PLACE DOM WRITABLE REF... */
        uint32_t count = (uint32_t)(argc - 4);
        mapped(place,
               xengnttab_map_domain_grant_refs(gt, count, n[2], n + 4,
                                               n[3] ? PROT_READ | PROT_WRITE
                                                    : PROT_READ),
               count);
    } else if (!strcmp(c, "mapn")) {
        /* mapn PLACE DOM WRITABLE REF OFFSET PORT */
        mapped(place,
               xengnttab_map_grant_ref_notify(
                   gt, n[2], n[4], n[3] ? PROT_READ | PROT_WRITE : PROT_READ,
                   n[5], n[6]),
               1);
    } else if (!strcmp(c, "unmap")) {
        result(xengnttab_unmap(gt, area[place].addr,
                               argc > 2 ? n[2] : area[place].count));
    } else if (!strcmp(c, "munmap")) {
        result(munmap(area[place].addr, area[place].count * PAGE));
    } else if (!strcmp(c, "unshare")) {
        result(xengntshr_unshare(gs, area[place].addr, area[place].count));
    } else if (!strcmp(c, "peek")) {
        printf("ok %d\n", area[place].addr[n[2]]);
    } else if (!strcmp(c, "poke")) {
        if (sigsetjmp(trap, 1)) {
            puts("err fault");
        } else {
            area[place].addr[n[2]] = (char)n[3];
            puts("ok");
        }
    } else if (!strcmp(c, "copyfrom")) {
        copy(true, (uint32_t)atoi(argv[1]), n[2], n[3], n[4], 0);
    } else if (!strcmp(c, "copyto")) {
        copy(false, (uint32_t)atoi(argv[1]), n[2], n[3], n[4], (int)n[5]);
    } else {
        puts("err what");
    }
}

static void next_event(struct xs_handle *h, int ms)
{
    struct pollfd p = { xs_fileno(h), POLLIN, 0 };
    char **e = poll(&p, 1, ms) == 1 ? xs_check_watch(h) : NULL;
    if (!e)
        puts("ok none");
    else
        printf("ok %s %s\n", e[XS_WATCH_PATH], e[XS_WATCH_TOKEN]);
    free(e);
}

static void store(int argc, char **argv)
{
    static xs_transaction_t tx;
    const char *c = argv[0];
    struct xs_handle **h = &xs[argc > 1 ? atoi(argv[1]) % PLACES : 0];
    const char *path = argc > 2 ? argv[2] : "";
    const char *value = argc > 3 ? argv[3] : "";
    unsigned len;

    if (!strcmp(c, "xopen")) {
        result((*h = xs_open(0)) ? 0 : -1);
    } else if (!strcmp(c, "xclose")) {
        xs_close(*h);
        puts("ok");
    } else if (!strcmp(c, "xread")) {
        char *v = xs_read(*h, tx, path, &len);
        if (v)
            printf("ok %s\n", v);
        else
            failed();
        free(v);
    } else if (!strcmp(c, "xwrite")) {
        result(xs_write(*h, tx, path, value, (unsigned)strlen(value)) ? 0 : -1);
    } else if (!strcmp(c, "xrm")) {
        result(xs_rm(*h, tx, path) ? 0 : -1);
    } else if (!strcmp(c, "xwatch")) {
        result(xs_watch(*h, path, value) ? 0 : -1);
    } else if (!strcmp(c, "xunwatch")) {
        result(xs_unwatch(*h, path, value) ? 0 : -1);
    } else if (!strcmp(c, "xnext")) {
        next_event(*h, atoi(path));
    } else if (!strcmp(c, "xstart")) {
        result((tx = xs_transaction_start(*h)) ? 0 : -1);
    } else if (!strcmp(c, "xend")) {
        bool ok = xs_transaction_end(*h, tx, false);
        tx = 0;
        result(ok ? 0 : -1);
    } else {
        puts("err what");
    }
}

int main(void)
{
    char line[4096], *argv[64];

    signal(SIGSEGV, on_fault);
    gt = xengnttab_open(NULL, 0);
    gs = xengntshr_open(NULL, 0);
    if (!gt || !gs) {
        failed();
        return 1;
    }
    puts("ok");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        int argc = 0;
        char *save = NULL;
        for (char *w = strtok_r(line, " \n", &save); w && argc < 64;
             w = strtok_r(NULL, " \n", &save))
            argv[argc++] = w;
        if (!argc)
            continue;
        if (argv[0][0] == 'x')
            store(argc, argv);
        else if (strchr("smupc", argv[0][0]) && strncmp(argv[0], "unb", 3) &&
                 strcmp(argv[0], "unmask"))
            grants(argc, argv);
        else
            events(argv[0], &ev[argc > 1 ? atoi(argv[1]) % PLACES : 0],
                   argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 0,
                   argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0);
        fflush(stdout);
    }
    return 0;
}
