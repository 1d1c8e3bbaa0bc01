/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An outside device to copy: a keyboard that types what it reads from a FIFO,
 * one key name's code a line ("30" is the key A), in a process of its own.
 *
 *   cc -o outside-keyboard outside-keyboard.c $(pkg-config --cflags --libs \
 *       farside-device)
 *
 *   [device typist]
 *   type = outside
 *   socket = /run/farside-devices/typist
 *   start = /usr/local/libexec/outside-keyboard /run/farside-devices/keys
 */
#include <farside-device.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAN_KEYS 1 /* of struct far_input_props: what it can send */

static struct far_outside *device;
static volatile sig_atomic_t ended;

static void end(int signal)
{
    (void)signal;
    ended = 1;
    far_outside_stop(device); /* wakes its descriptor */
}

static void type(FILE *keys)
{
    char line[32];

    while (fgets(line, sizeof(line), keys)) {
        unsigned code = (unsigned)strtoul(line, NULL, 10);

        if (far_outside_key(device, code, true) ||
            far_outside_key(device, code, false))
            fprintf(stderr, "%u is no key\n", code);
    }
    clearerr(keys); /* a FIFO's end is only that nobody writes now */
}

int main(int argc, char **argv)
{
    const uint32_t can[2] = { CAN_KEYS, 0 };
    struct pollfd fds[2];
    FILE *keys;
    char why[200];

    if (argc != 2 || (mkfifo(argv[1], 0660) && access(argv[1], R_OK)) ||
        !(keys = fdopen(open(argv[1], O_RDWR | O_NONBLOCK | O_CLOEXEC), "r"))) {
        fprintf(stderr, "usage: outside-keyboard FIFO\n");
        return 2;
    }
    device = far_outside_new(NULL, "input", NULL, NULL, why, sizeof(why));
    if (!device) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    far_outside_props(device, can, sizeof(can));
    signal(SIGTERM, end);
    fds[0] = (struct pollfd){ .fd = far_outside_fd(device), .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = fileno(keys), .events = POLLIN };
    while (!ended) {
        far_outside_turn(device, 0);
        poll(fds, 2, -1);
        if (fds[1].revents)
            type(keys);
    }
    far_outside_free(device);
    return 0;
}
