/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The peer of the local input path: 40 bytes from one domain to another
 * through libxenvchan, and the reader's acknowledgement back, which vchan
 * gives as the event for "room again" (VCHAN_NOTIFY_READ), as kbdif's front
 * gives its in_cons and an event. The server measures from its write to the
 * moment at which the ring is empty again.
 *
 * usage: vchan server DOMID PATH ROUNDS CPU | vchan client DOMID PATH CPU
 */
#include <libxenvchan.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/samples.h"
#include "core/clock.h"

#define EVENT_BYTES 40 /* XENKBD_IN_EVENT_SIZE */

static int serve(int domid, const char *path, unsigned rounds)
{
    struct libxenvchan *v =
        libxenvchan_server_init(NULL, domid, path, 1024, 1024);
    unsigned warm_up = rounds / 10 + 1;
    char event[EVENT_BYTES] = { 1 };
    struct samples samples;
    int empty;

    if (!v || samples_init(&samples, rounds) < 0) {
        perror("vchan server");
        return 1;
    }
    v->blocking = -1; /* one bit, and signed */
    /* The client says that it is there. */
    if (libxenvchan_recv(v, event, 1) != 1)
        return 1;
    empty = libxenvchan_buffer_space(v);
    for (unsigned i = 0; i < rounds + warm_up; i++) {
        uint64_t start = far_now_ns();

        if (libxenvchan_send(v, event, sizeof event) != (int)sizeof event)
            return 1;
        while (libxenvchan_buffer_space(v) != empty)
            if (libxenvchan_wait(v) < 0)
                return 1;
        if (i >= warm_up)
            samples_add(&samples, far_now_ns() - start);
    }
    libxenvchan_close(v);
    samples_print(&samples, "vchan");
    return 0;
}

static int consume(int domid, const char *path)
{
    struct libxenvchan *v = NULL;
    char event[EVENT_BYTES] = { 1 };

    for (int tries = 0; tries < 500 && !v; tries++) {
        v = libxenvchan_client_init(NULL, domid, path);
        if (!v)
            usleep(10000);
    }
    if (!v) {
        perror("vchan client");
        return 1;
    }
    v->blocking = -1; /* one bit, and signed */
    if (libxenvchan_send(v, event, 1) != 1)
        return 1;
    while (libxenvchan_recv(v, event, sizeof event) == (int)sizeof event)
        ;
    libxenvchan_close(v);
    return 0;
}

int main(int argc, char **argv)
{
    bool server = argc == 6 && !strcmp(argv[1], "server");

    if (!server && (argc != 5 || strcmp(argv[1], "client"))) {
        fprintf(stderr, "usage: vchan server DOMID PATH ROUNDS CPU | "
                        "vchan client DOMID PATH CPU\n");
        return 2;
    }
    samples_pin(atoi(argv[server ? 5 : 4]));
    return server ? serve(atoi(argv[2]), argv[3],
                          (unsigned)strtoul(argv[4], NULL, 10))
                  : consume(atoi(argv[2]), argv[3]);
}
