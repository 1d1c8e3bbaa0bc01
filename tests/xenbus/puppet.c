/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's process for tests: does what it reads, a line at a time, and
 * answers each with a line "ok …" or "error ERRNO".
 *
 *   offer DOMID            a port that DOMID may bind: its number and PORT
 *   notify N [TIMES]       over the port that was offered as N-th (from 0)
 *   fired N                how often it fired since it was asked last
 *   share DOMID PAGES MODE pages (rw, ro): the references
 *   unshare N              the N-th
 *   fill N PAGE BYTE       writes a page full of it
 *   peek N OFFSET          a byte
 *   write PATH VALUE       and: read PATH, rm PATH, flood PATH TIMES
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core/loop.h"
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/xs.h"

#define MAX 64

struct port {
    struct far_evtchn evtchn;
    unsigned fired;
};

static struct {
    struct far_loop *loop;
    struct far_io input;
    struct far_xs *xs;
    struct far_shares *shares;
    struct port ports[MAX];
    struct far_share pages[MAX];
    unsigned ports_n, pages_n;
    char line[8192];
    size_t used;
} p;

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    ((struct port *)evtchn)->fired++;
    return FAR_EVTCHN_WORKED;
}

static int offer(unsigned domid)
{
    struct far_evtchns *channels = far_evtchns_open(p.loop, domid);
    int r;

    if (!channels)
        return -errno;
    r = far_evtchn_offer(channels, &p.ports[p.ports_n].evtchn, fired);
    if (r)
        return r;
    printf("ok %u %u\n", p.ports_n, p.ports[p.ports_n].evtchn.local_port);
    p.ports_n++;
    return 0;
}

static int share(unsigned domid, unsigned pages, const char *mode)
{
    uint32_t refs[MAX];
    int r;

    if (!p.shares)
        p.shares = far_shares_open();
    if (!p.shares)
        return -errno;
    r = far_share_pages(p.shares, &p.pages[p.pages_n], domid, pages,
                        !strcmp(mode, "rw"), refs);
    if (r)
        return r;
    printf("ok %u", p.pages_n++);
    for (unsigned i = 0; i < pages; i++)
        printf(" %u", refs[i]);
    putchar('\n');
    return 0;
}

static int flood(const char *path, unsigned times)
{
    int r = 0;

    for (unsigned i = 0; i < times && !r; i++)
        r = far_xs_write(p.xs, 0, path, "%u", i);
    if (!r)
        puts("ok flooded");
    return r;
}

static int obey(char *line)
{
    char word[16] = "", text[512] = "", mode[512] = "";
    unsigned a = 0, b = 0, c = 0;
    char value[4096];
    int r, n;

    sscanf(line, "%15s", word);
    if (!strcmp(word, "hello")) {
        puts("ok hello");
        return 0;
    }
    if (sscanf(line, "offer %u", &a) == 1)
        return offer(a);
    if ((n = sscanf(line, "notify %u %u", &a, &b)) >= 1 && a < p.ports_n) {
        for (r = 0, b = n == 2 ? b : 1; b && !r; b--)
            r = far_evtchn_notify(&p.ports[a].evtchn);
        if (!r)
            puts("ok notified");
        return r;
    }
    if (sscanf(line, "fired %u", &a) == 1 && a < p.ports_n) {
        printf("ok %u\n", p.ports[a].fired);
        p.ports[a].fired = 0;
        return 0;
    }
    if (sscanf(line, "share %u %u %15s", &a, &b, mode) == 3 && b <= MAX)
        return share(a, b, mode);
    if (sscanf(line, "unshare %u", &a) == 1 && a < p.pages_n) {
        far_unshare(&p.pages[a]);
        puts("ok unshared");
        return 0;
    }
    if (sscanf(line, "fill %u %u %u", &a, &b, &c) == 3 && a < p.pages_n) {
        memset((char *)p.pages[a].memory + b * FAR_PAGE_BYTES, (int)c,
               FAR_PAGE_BYTES);
        puts("ok filled");
        return 0;
    }
    if (sscanf(line, "peek %u %u", &a, &b) == 2 && a < p.pages_n) {
        printf("ok %u\n", ((uint8_t *)p.pages[a].memory)[b]);
        return 0;
    }
    if (sscanf(line, "flood %511s %u", text, &a) == 2)
        return flood(text, a);
    if (sscanf(line, "write %511s %511s", text, mode) == 2) {
        r = far_xs_write(p.xs, 0, text, "%s", mode);
        if (!r)
            puts("ok written");
        return r;
    }
    if (sscanf(line, "read %511s", text) == 1) {
        r = far_xs_read(p.xs, 0, value, sizeof(value), "%s", text);
        if (r >= 0)
            printf("ok %s\n", value);
        return r < 0 ? r : 0;
    }
    if (sscanf(line, "rm %511s", text) == 1) {
        r = far_xs_remove(p.xs, 0, "%s", text);
        if (!r)
            puts("ok removed");
        return r;
    }
    return -EINVAL;
}

static void input_ready(struct far_io *io, uint32_t events)
{
    ssize_t n = read(io->fd, p.line + p.used, sizeof(p.line) - p.used - 1);
    char *end;

    (void)events;
    if (n <= 0)
        exit(0);
    p.used += (size_t)n;
    p.line[p.used] = '\0';
    while ((end = strchr(p.line, '\n'))) {
        int r;

        *end = '\0';
        r = obey(p.line);
        if (r < 0)
            printf("error %d\n", -r);
        fflush(stdout);
        p.used -= (size_t)(end + 1 - p.line);
        memmove(p.line, end + 1, p.used + 1);
    }
}

int main(void)
{
    p.loop = far_loop_new();
    p.xs = p.loop ? far_xs_open(p.loop, NULL, NULL) : NULL;
    if (!p.xs || far_io_add(p.loop, &p.input, 0, EPOLLIN, input_ready) < 0) {
        perror("puppet");
        return 1;
    }
    return far_loop_run(p.loop) < 0;
}
