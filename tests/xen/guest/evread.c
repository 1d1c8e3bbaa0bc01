// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The lab guest's reader: prints every event of every /dev/input/event*, and
 * what each device says of itself, as lines of text on standard output. It
 * knows Linux's input devices only, nothing of Xen or Farside; the scenarios
 * judge what it printed. It runs as the guest's first process.
 *
 *   DEV kbd0 event0 Xen_Virtual_Keyboard      a device is there (and opened)
 *   CAP kbd0 KEY 249                          how many codes of a type it has
 *   ABS ptr0 0 0 1024                         axis, minimum, maximum
 *   EV kbd0 KEY 30 1                          device, type, code, value
 *   GONE kbd0                                 the device went away
 * A xenbus device is named kbd, ptr or mt and its number in xenstore; others
 * as their node. Commands on standard input, a line each: "caps" prints
 * everything again, "held" the keys that are down, "sh CMD" runs a command,
 * "echo TEXT" answers "SAID TEXT", "once" prints each EV line that comes again
 * only once from then on, "each" every one (as at the beginning).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DEVICES_MAX 512
#define RESCAN_MS   1000
#define SEEN_MAX    4096 /* a power of two */
#define BITS(n)     (((n) + 8 * sizeof(long) - 1) / (8 * sizeof(long)))

struct device {
    int fd;
    char name[40];
    int number; /* of /dev/input/event<number> */
};

struct reader {
    struct device device[DEVICES_MAX];
    size_t n_devices;
    char out[65536];
    size_t out_bytes;
    char line[512];
    size_t line_bytes;
    bool once;
    unsigned long seen[SEEN_MAX]; /* lines' hashes, 0: none */
};

static void flush_out(struct reader *r)
{
    size_t done = 0;

    while (done < r->out_bytes) {
        ssize_t n = write(1, r->out + done, r->out_bytes - done);

        if (n < 0 && errno != EINTR && errno != EAGAIN)
            break;
        if (n > 0)
            done += (size_t)n;
    }
    r->out_bytes = 0;
}

__attribute__((format(printf, 2, 3))) static void say(struct reader *r,
                                                      const char *format, ...)
{
    va_list args;
    int n;

    if (sizeof(r->out) - r->out_bytes < 256)
        flush_out(r);
    va_start(args, format);
    n = vsnprintf(r->out + r->out_bytes, 256, format, args);
    va_end(args);
    if (n > 0)
        r->out_bytes += n < 256 ? (size_t)n : 255;
}

static bool bit_is_set(const unsigned long *bits, unsigned int n)
{
    return bits[n / (8 * sizeof(long))] >> n % (8 * sizeof(long)) & 1;
}

static const char *type_name(unsigned int type)
{
    switch (type) {
    case EV_KEY:
        return "KEY";
    case EV_REL:
        return "REL";
    case EV_ABS:
        return "ABS";
    case EV_SYN:
        return "SYN";
    case EV_MSC:
        return "MSC";
    default:
        return "OTHER";
    }
}

static void say_caps(struct reader *r, const struct device *d)
{
    static const struct {
        unsigned int type, count;
    } types[] = {
        { EV_KEY, KEY_CNT },
        { EV_REL, REL_CNT },
        { EV_ABS, ABS_CNT },
    };
    unsigned long bits[BITS(KEY_CNT)];
    char name[80] = "?";

    if (ioctl(d->fd, EVIOCGNAME(sizeof(name)), name) < 0)
        strcpy(name, "?");
    for (char *c = name; *c; c++)
        if (*c == ' ')
            *c = '_';
    say(r, "DEV %s event%d %s\n", d->name, d->number, name);
    for (size_t t = 0; t < sizeof(types) / sizeof(*types); t++) {
        unsigned int n = 0;

        memset(bits, 0, sizeof(bits));
        if (ioctl(d->fd, EVIOCGBIT(types[t].type, sizeof(bits)), bits) < 0)
            continue;
        for (unsigned int code = 0; code < types[t].count; code++) {
            struct input_absinfo a;

            if (!bit_is_set(bits, code))
                continue;
            n++;
            if (types[t].type == EV_ABS &&
                ioctl(d->fd, EVIOCGABS(code), &a) == 0)
                say(r, "ABS %s %u %d %d\n", d->name, code, a.minimum,
                    a.maximum);
        }
        say(r, "CAP %s %s %u\n", d->name, type_name(types[t].type), n);
    }
}

static void say_held(struct reader *r, const struct device *d)
{
    unsigned long bits[BITS(KEY_CNT)];

    memset(bits, 0, sizeof(bits));
    if (ioctl(d->fd, EVIOCGKEY(sizeof(bits)), bits) < 0)
        return;
    for (unsigned int code = 0; code < KEY_CNT; code++)
        if (bit_is_set(bits, code))
            say(r, "HELD %s %u\n", d->name, code);
}

static void name_device(struct device *d)
{
    char phys[80] = "", name[80] = "";
    const char *kind, *at;
    int number;

    snprintf(d->name, sizeof(d->name), "event%d", d->number);
    if (ioctl(d->fd, EVIOCGPHYS(sizeof(phys)), phys) < 0 ||
        ioctl(d->fd, EVIOCGNAME(sizeof(name)), name) < 0)
        return;
    at = strstr(phys, "device/vkbd/");
    if (at == NULL || sscanf(at, "device/vkbd/%d", &number) != 1)
        return;
    kind = strstr(name, "Keyboard") ? "kbd"
           : strstr(name, "ouch")   ? "mt"
                                    : "ptr";
    snprintf(d->name, sizeof(d->name), "%s%d", kind, number);
}

static void scan(struct reader *r)
{
    for (int number = 0; number < DEVICES_MAX; number++) {
        struct device *d = &r->device[r->n_devices];
        char path[40];
        bool known = false;

        for (size_t i = 0; i < r->n_devices; i++)
            known = known || r->device[i].number == number;
        if (known || r->n_devices == DEVICES_MAX)
            continue;
        snprintf(path, sizeof(path), "/dev/input/event%d", number);
        d->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (d->fd < 0)
            continue;
        d->number = number;
        name_device(d);
        r->n_devices++;
        say_caps(r, d);
    }
}

/* Has this event been printed since "once"? Forgets when it is full. */
static bool seen(struct reader *r, const struct device *d,
                 const struct input_event *e)
{
    unsigned long hash = 5381;

    for (const char *c = d->name; *c; c++)
        hash = hash * 33 ^ (unsigned char)*c;
    hash = hash * 1000003 ^ e->type;
    hash = hash * 1000003 ^ e->code;
    hash = (hash * 1000003 ^ (unsigned int)e->value) * 1000003;
    hash += !hash;
    for (size_t i = hash >> 7, n = 0; n < 32; i++, n++) {
        unsigned long *at = &r->seen[i % SEEN_MAX];

        if (*at == hash)
            return true;
        if (!*at) {
            *at = hash;
            return false;
        }
    }
    memset(r->seen, 0, sizeof(r->seen));
    return false;
}

/* False: the device is gone. */
static bool read_device(struct reader *r, const struct device *d)
{
    struct input_event e[64];
    ssize_t n = read(d->fd, e, sizeof(e));

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    for (size_t i = 0; i < (size_t)n / sizeof(*e); i++) {
        if (e[i].type == EV_SYN && e[i].code == SYN_REPORT)
            continue;
        if (r->once && seen(r, d, &e[i]))
            continue;
        say(r, "EV %s %s %u %d\n", d->name, type_name(e[i].type), e[i].code,
            e[i].value);
    }
    return true;
}

static void obey(struct reader *r, char *line)
{
    if (strcmp(line, "caps") == 0) {
        for (size_t i = 0; i < r->n_devices; i++)
            say_caps(r, &r->device[i]);
        say(r, "CAPS end\n");
    } else if (strcmp(line, "held") == 0) {
        for (size_t i = 0; i < r->n_devices; i++)
            say_held(r, &r->device[i]);
        say(r, "HELD end\n");
    } else if (strncmp(line, "echo ", 5) == 0) {
        say(r, "SAID %.200s\n", line + 5);
    } else if (strcmp(line, "once") == 0 || strcmp(line, "each") == 0) {
        memset(r->seen, 0, sizeof(r->seen));
        r->once = line[0] == 'o';
    } else if (strncmp(line, "sh ", 3) == 0) {
        int status;

        flush_out(r);
        status = system(line + 3);
        say(r, "SH %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
}

static void read_commands(struct reader *r)
{
    char buffer[256];
    ssize_t n = read(0, buffer, sizeof(buffer));

    for (ssize_t i = 0; i < n; i++) {
        if (buffer[i] != '\n' && buffer[i] != '\r') {
            if (r->line_bytes < sizeof(r->line) - 1)
                r->line[r->line_bytes++] = buffer[i];
            continue;
        }
        r->line[r->line_bytes] = '\0';
        r->line_bytes = 0;
        obey(r, r->line);
    }
}

static void quiet_terminal(void)
{
    struct termios t;

    if (tcgetattr(0, &t) == 0) {
        t.c_lflag &= (tcflag_t) ~(ECHO | ISIG);
        tcsetattr(0, TCSANOW, &t);
    }
}

int main(void)
{
    static struct reader r;
    static struct pollfd p[DEVICES_MAX + 2];
    int news = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    bool watching = false;
    char drain[4096];

    quiet_terminal();
    say(&r, "READER ready\n");
    for (;;) {
        size_t kept = 0, polled;

        if (!watching)
            watching = inotify_add_watch(news, "/dev/input", IN_CREATE) >= 0;
        scan(&r);
        flush_out(&r);
        p[0] = (struct pollfd){ .fd = 0, .events = POLLIN };
        p[1] = (struct pollfd){ .fd = news, .events = POLLIN };
        polled = r.n_devices;
        for (size_t i = 0; i < polled; i++)
            p[i + 2] =
                (struct pollfd){ .fd = r.device[i].fd, .events = POLLIN };
        if (poll(p, polled + 2, RESCAN_MS) <= 0)
            continue;
        while (read(news, drain, sizeof(drain)) > 0)
            ;
        for (size_t i = 0; i < polled; i++) {
            struct device d = r.device[i];

            if ((p[i + 2].revents & POLLIN) != 0 && !read_device(&r, &d))
                p[i + 2].revents |= POLLHUP;
            if ((p[i + 2].revents & (POLLHUP | POLLERR)) != 0) {
                say(&r, "GONE %s\n", d.name);
                close(d.fd);
                continue;
            }
            r.device[kept++] = d;
        }
        r.n_devices = kept;
        if ((p[0].revents & POLLIN) != 0)
            read_commands(&r);
    }
}
