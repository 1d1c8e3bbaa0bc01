// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A keyboard, pointer, tablet or touch screen that is not there: makes an
 * input device with uinput, prints its node, and plays what it reads from a
 * FIFO, a file or standard input in the words of Farside's traces. It is the
 * lab's "somebody types"; Farside's own devices are not here.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/uinput.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 8
#define CONTACTS  10
/* Nobody types faster; and evdev keeps 64 events for a reader, no more. */
#define STROKE_US 5000

static const struct {
    const char *name;
    uint16_t code;
} key_names[] = {
#include "keynames.h"
};

struct maker {
    int fd;
    int32_t width, height;
    bool keys, pointer, abs, touch;
    bool started;
    struct timespec start; /* when the first line with a time was read */
    long long first_us;
};

static int die(const char *what, const char *remedy)
{
    fprintf(stderr, "mkinput: %s: %s; %s\n", what, strerror(errno), remedy);
    return 1;
}

static void send_event(const struct maker *m, uint16_t type, uint16_t code,
                       int32_t value)
{
    struct input_event e = { .type = type, .code = code, .value = value };

    if (write(m->fd, &e, sizeof(e)) != sizeof(e))
        perror("mkinput: can't write to /dev/uinput");
}

static void sync_frame(const struct maker *m)
{
    send_event(m, EV_SYN, SYN_REPORT, 0);
}

static int find_key(const char *name)
{
    char *end;
    long number = strtol(name, &end, 0);

    for (size_t i = 0; i < sizeof(key_names) / sizeof(*key_names); i++)
        if (strcasecmp(key_names[i].name, name) == 0 ||
            (strncmp(key_names[i].name, "KEY_", 4) == 0 &&
             strcasecmp(key_names[i].name + 4, name) == 0))
            return key_names[i].code;
    /* A bare digit is a key's name. */
    return strncmp(name, "0x", 2) == 0 && !*end && number <= KEY_MAX
               ? (int)number
               : -1;
}

static void strike(const struct maker *m, int code, int first, int last)
{
    for (int value = first; value >= last; value--) {
        send_event(m, EV_KEY, (uint16_t)code, value);
        sync_frame(m);
    }
}

static void type_text(const struct maker *m, const char *text)
{
    char name[2] = "";

    for (; *text; text++) {
        int code;

        name[0] = *text;
        code = find_key(*text == ' ' ? "SPACE" : name);
        if (*text >= '0' && *text <= '9')
            code = *text == '0' ? KEY_0 : KEY_1 + (*text - '1');
        if (code >= 0)
            strike(m, code, 1, 0);
        usleep(STROKE_US);
    }
}

static void touch(const struct maker *m, char *const *w, int words)
{
    int id = atoi(w[1]);
    bool up = strcmp(w[2], "up") == 0;

    send_event(m, EV_ABS, ABS_MT_SLOT, id);
    if (strcmp(w[2], "down") == 0 || up)
        send_event(m, EV_ABS, ABS_MT_TRACKING_ID, up ? -1 : id + 100);
    if (words >= 5) {
        send_event(m, EV_ABS, ABS_MT_POSITION_X, atoi(w[3]));
        send_event(m, EV_ABS, ABS_MT_POSITION_Y, atoi(w[4]));
    }
    sync_frame(m);
}

static void wait_until(const struct maker *m, long long at_us)
{
    long long us = at_us - m->first_us;
    struct timespec t = m->start;

    t.tv_sec += (time_t)(us / 1000000);
    t.tv_nsec += (long)(us % 1000000) * 1000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

/* Returns false at the word "quit". */
static bool play_line(struct maker *m, char *line)
{
    char *w[WORDS_MAX], *text = NULL, *p = line;
    int words = 0, code;

    line[strcspn(line, "#\n")] = '\0';
    while (words < WORDS_MAX && (w[words] = strsep(&p, " \t")) != NULL) {
        if (!*w[words])
            continue;
        if (strcmp(w[words++], "text") == 0) {
            text = p;
            break;
        }
    }
    if (words && w[0][0] >= '0' && w[0][0] <= '9') {
        long long at_us = atoll(w[0]);

        if (!m->started) {
            clock_gettime(CLOCK_MONOTONIC, &m->start);
            m->first_us = at_us;
            m->started = true;
        }
        wait_until(m, at_us);
        memmove(w, w + 1, (size_t)--words * sizeof(*w));
    }
    if (!words)
        return true;
    if (strcmp(w[0], "quit") == 0)
        return false;
    if (strcmp(w[0], "text") == 0 && text != NULL) {
        type_text(m, text);
        return true;
    }
    if (strcmp(w[0], "sync") == 0) {
        sync_frame(m);
        return true;
    }
    if (words >= 2 && strcmp(w[0], "sleep") == 0) {
        usleep((useconds_t)atoi(w[1]) * 1000);
        return true;
    }
    if (words >= 2 && strcmp(w[0], "wheel") == 0) {
        send_event(m, EV_REL, REL_WHEEL, atoi(w[1]));
        sync_frame(m);
        return true;
    }
    if (words >= 3 && strcmp(w[0], "move") == 0) {
        send_event(m, EV_REL, REL_X, atoi(w[1]));
        send_event(m, EV_REL, REL_Y, atoi(w[2]));
        sync_frame(m);
        return true;
    }
    if (words >= 3 && strcmp(w[0], "abs") == 0) {
        send_event(m, EV_ABS, ABS_X, atoi(w[1]));
        send_event(m, EV_ABS, ABS_Y, atoi(w[2]));
        sync_frame(m);
        return true;
    }
    if (words >= 3 && strcmp(w[0], "touch") == 0) {
        touch(m, w, words);
        return true;
    }
    code = words >= 2 ? find_key(w[1]) : -1;
    if (code >= 0 && strcmp(w[0], "press") == 0)
        strike(m, code, 1, 1);
    else if (code >= 0 && strcmp(w[0], "release") == 0)
        strike(m, code, 0, 0);
    else if (code >= 0 && strcmp(w[0], "key") == 0)
        strike(m, code, 1, 0);
    else
        fprintf(stderr, "mkinput: '%s' is no word or lacks a known key\n",
                w[0]);
    return true;
}

static bool set_axis(const struct maker *m, uint16_t axis, int32_t maximum)
{
    struct uinput_abs_setup a = { .code = axis, .absinfo.maximum = maximum };

    return ioctl(m->fd, UI_SET_ABSBIT, axis) == 0 &&
           ioctl(m->fd, UI_ABS_SETUP, &a) == 0;
}

static bool set_bits(const struct maker *m)
{
    bool ok = ioctl(m->fd, UI_SET_EVBIT, EV_KEY) == 0;

    for (int code = 1; ok && m->keys && code < BTN_MISC; code++)
        ok = ioctl(m->fd, UI_SET_KEYBIT, code) == 0;
    if (m->pointer || m->abs)
        for (int code = BTN_LEFT; ok && code <= BTN_TASK; code++)
            ok = ioctl(m->fd, UI_SET_KEYBIT, code) == 0;
    if (m->pointer)
        ok = ok && ioctl(m->fd, UI_SET_EVBIT, EV_REL) == 0 &&
             ioctl(m->fd, UI_SET_RELBIT, REL_X) == 0 &&
             ioctl(m->fd, UI_SET_RELBIT, REL_Y) == 0 &&
             ioctl(m->fd, UI_SET_RELBIT, REL_WHEEL) == 0;
    if (m->abs || m->touch)
        ok = ok && ioctl(m->fd, UI_SET_EVBIT, EV_ABS) == 0;
    if (m->abs)
        ok = ok && set_axis(m, ABS_X, m->width - 1) &&
             set_axis(m, ABS_Y, m->height - 1);
    if (m->touch)
        ok = ok && ioctl(m->fd, UI_SET_PROPBIT, INPUT_PROP_DIRECT) == 0 &&
             set_axis(m, ABS_MT_SLOT, CONTACTS - 1) &&
             set_axis(m, ABS_MT_TRACKING_ID, 65535) &&
             set_axis(m, ABS_MT_POSITION_X, m->width - 1) &&
             set_axis(m, ABS_MT_POSITION_Y, m->height - 1);
    return ok;
}

static bool print_node(const struct maker *m)
{
    char sys[64], pattern[160];
    glob_t g;
    bool ok = false;

    if (ioctl(m->fd, UI_GET_SYSNAME(sizeof(sys)), sys) < 0)
        return false;
    snprintf(pattern, sizeof(pattern), "/sys/devices/virtual/input/%s/event*",
             sys);
    for (int tries = 0; !ok && tries < 100; tries++) {
        if (glob(pattern, 0, NULL, &g) == 0) {
            printf("/dev/input/%s\n", strrchr(g.gl_pathv[0], '/') + 1);
            fflush(stdout);
            globfree(&g);
            ok = true;
        } else {
            usleep(20000);
        }
    }
    return ok;
}

int main(int argc, char **argv)
{
    struct maker m = { .fd = -1, .width = 1024, .height = 768 };
    struct uinput_setup setup = {
        .id = { .bustype = BUS_USB, .vendor = 0x1209, .product = 1 },
        .name = "Lab Device",
    };
    const char *file = NULL;
    char line[1024];
    FILE *in = stdin;
    int option;

    while ((option = getopt(argc, argv, "n:f:x:y:")) != -1) {
        if (option == 'n')
            snprintf(setup.name, sizeof(setup.name), "%s", optarg);
        else if (option == 'f')
            file = optarg;
        else if (option == 'x')
            m.width = atoi(optarg);
        else if (option == 'y')
            m.height = atoi(optarg);
        else
            optind = argc;
    }
    for (; optind < argc; optind++) {
        m.keys = m.keys || strcmp(argv[optind], "keys") == 0;
        m.pointer = m.pointer || strcmp(argv[optind], "pointer") == 0;
        m.abs = m.abs || strcmp(argv[optind], "abs") == 0;
        m.touch = m.touch || strcmp(argv[optind], "touch") == 0;
    }
    if (!m.keys && !m.pointer && !m.abs && !m.touch) {
        fprintf(stderr, "usage: mkinput [-n NAME] [-f FIFO] [-x WIDTH] "
                        "[-y HEIGHT] keys|pointer|abs|touch…\n");
        return 2;
    }
    m.fd = open("/dev/uinput", O_RDWR | O_CLOEXEC);
    if (m.fd < 0)
        return die("can't open /dev/uinput", "load the module uinput");
    if (!set_bits(&m) || ioctl(m.fd, UI_DEV_SETUP, &setup) < 0 ||
        ioctl(m.fd, UI_DEV_CREATE) < 0)
        return die("can't make the device", "is the kernel older than 4.5?");
    if (!print_node(&m))
        return die("can't find the device's node", "is evdev loaded?");
    if (file != NULL) {
        /* Read and write, so that a FIFO's end is never seen. */
        int fd = open(file, O_RDWR | O_CLOEXEC);

        in = fd >= 0 ? fdopen(fd, "r") : NULL;
        if (in == NULL)
            return die(file, "make it with mkfifo");
    }
    while (fgets(line, sizeof(line), in) != NULL && play_line(&m, line))
        ;
    ioctl(m.fd, UI_DEV_DESTROY);
    return 0;
}
