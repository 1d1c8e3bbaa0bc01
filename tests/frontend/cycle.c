/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's program over libfarside-frontend: opens and closes device 0 as
 * often as it is told, each time once it is connected, and says how many
 * descriptors are open then. In a loop of its own, by far_frontend_fd().
 */
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include "frontend/farside-frontend.h"

static void event(void *arg, const union xenkbd_in_event *e)
{
    (void)arg;
    (void)e;
}

static int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    static const struct far_frontend_input_hooks hooks = { .event = event };
    struct far_frontend *f = far_frontend_new();
    int times = argc > 1 ? atoi(argv[1]) : 1;

    if (!f)
        return 1;
    for (int i = 0; i < times; i++) {
        struct far_frontend_input *input =
            far_frontend_input_open(f, 0, 0, &hooks, NULL);
        struct pollfd p = { .fd = far_frontend_fd(f), .events = POLLIN };

        if (!input)
            return 1;
        while (far_frontend_input_state(input) != FAR_FRONTEND_CONNECTED) {
            if (poll(&p, 1, 5000) != 1 || far_frontend_turn(f, 0) < 0)
                return 1;
        }
        far_frontend_input_close(input);
        printf("%d descriptors\n", descriptors());
        fflush(stdout);
    }
    far_frontend_free(f);
    return 0;
}
