/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two ends of a libxenvchan, as its users write them: the server sends back
 * what the client sent. Knows nothing of the simulator.
 * usage: vchan_echo server|client DOMID PATH
 */
#include <libxenvchan.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int serve(struct libxenvchan *v)
{
    char buf[512];
    int n;
    while ((n = libxenvchan_read(v, buf, sizeof(buf))) > 0)
        if (libxenvchan_send(v, buf, (size_t)n) != n)
            return 1;
    return 0; /* the client closed */
}

static int ask(struct libxenvchan *v)
{
    char out[256], in[256];

    for (int i = 0; i < 2000; i++) {
        size_t len = 1 + (size_t)i % sizeof(out);
        memset(out, i & 0xff, len);
        memset(in, 0, sizeof(in));
        if (libxenvchan_send(v, out, len) != (int)len ||
            libxenvchan_recv(v, in, len) != (int)len || memcmp(in, out, len))
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct timespec nap = { 0, 10 * 1000 * 1000 };
    struct libxenvchan *v = NULL;

    if (argc != 4)
        return 2;
    if (!strcmp(argv[1], "server"))
        v = libxenvchan_server_init(NULL, atoi(argv[2]), argv[3], 0, 0);
    for (int i = 0; !v && !strcmp(argv[1], "client") && i < 200; i++) {
        v = libxenvchan_client_init(NULL, atoi(argv[2]), argv[3]);
        if (!v)
            nanosleep(&nap, NULL);
    }
    if (!v) {
        perror("libxenvchan");
        return 1;
    }
    v->blocking = -1; /* one bit, signed */
    int rc = strcmp(argv[1], "server") ? ask(v) : serve(v);
    libxenvchan_close(v);
    return rc;
}
