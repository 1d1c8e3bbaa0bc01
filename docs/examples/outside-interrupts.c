/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An outside device to copy: an interrupt source with 64 lines, in a process of
 * its own. It raises what it reads from a FIFO: "5" raises line 5 once, "5+"
 * until "5-". A real one would watch its hardware there.
 *
 *   cc -o outside-interrupts outside-interrupts.c $(pkg-config --cflags --libs
 * \ farside-device)
 *
 *   [device board]
 *   type = outside
 *   class = intc
 *   socket = /run/farside-devices/board
 *   start = /usr/local/libexec/outside-interrupts /run/farside-devices/lines
 */
#include <farside-device.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES 64

static struct far_outside *device;
static volatile sig_atomic_t ended;

static void end(int signal)
{
    (void)signal;
    ended = 1;
    far_outside_stop(device); /* wakes its descriptor */
}

static void raise_lines(FILE *lines)
{
    char text[32], *rest;

    while (fgets(text, sizeof(text), lines)) {
        unsigned line = (unsigned)strtoul(text, &rest, 10);

        if (*rest == '+' || *rest == '-'
                ? far_outside_level(device, line, *rest == '+')
                : far_outside_raise(device, line))
            fprintf(stderr, "there is no line %u\n", line);
    }
    clearerr(lines); /* a FIFO's end is only that nobody writes now */
}

int main(int argc, char **argv)
{
    struct pollfd fds[2];
    FILE *lines;
    char why[200];

    if (argc != 2 || (mkfifo(argv[1], 0660) && access(argv[1], R_OK)) ||
        !(lines =
              fdopen(open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC), "r"))) {
        fprintf(stderr, "usage: outside-interrupts FIFO\n");
        return 2;
    }
    device = far_outside_new(NULL, "intc", NULL, NULL, why, sizeof(why));
    if (!device || far_outside_lines(device, LINES)) {
        fprintf(stderr, "%s\n", device ? "out of memory" : why);
        return 1;
    }
    signal(SIGTERM, end);
    fds[0] = (struct pollfd){ .fd = far_outside_fd(device), .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = fileno(lines), .events = POLLIN };
    while (!ended) {
        far_outside_turn(device, 0);
        poll(fds, 2, -1);
        if (fds[1].revents)
            raise_lines(lines);
    }
    far_outside_free(device);
    return 0;
}
