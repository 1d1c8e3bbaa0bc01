/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-frontend: drives the guest's input devices from userspace and hands
 * their events on: as lines, to a program, or to uinput; or a disk, which
 * nbd.c exports; and its timers and doorbells, which programs share by a socket
 * (socket.c). Options and output are here; the frontends themselves are the
 * library's.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "config.h"
#include "core/clock.h"
#include "frontend/farside-client.h"
#include "frontend/farside-frontend.h"
#include "frontend/nbd.h"
#include "frontend/socket.h"
#include "frontend/uinput.h"
#ifdef HAVE_LIBEVDEV
#include <libevdev/libevdev.h>
#endif

#define PROGRAM    "farside-frontend"
#define LINE_BYTES 128

struct output {
    int fd; /* -1: no lines */
    bool times;
    size_t used;
    char buffer[8192];
};

struct program {
    struct far_frontend *frontend;
    struct output output;
    bool uinput;
    uint32_t flags;
    bool some; /* only those in wanted */
    uint8_t wanted[128];
    struct device *devices;
    int status;
};

struct device {
    struct program *program;
    struct device *next;
    unsigned devid;
    struct far_frontend_input *input;
    struct far_uinput *uinput;
    struct far_frontend_input_info uinput_info;
};

static struct far_frontend *to_stop;

static void on_signal(int number)
{
    (void)number;
    far_frontend_stop(to_stop);
}

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;

    fputs(PROGRAM ": ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* The reader may be slow; then the ring fills, and the backend waits. */
static void output_flush(struct program *program)
{
    struct output *output = &program->output;
    size_t done = 0;

    while (done < output->used) {
        ssize_t n =
            write(output->fd, output->buffer + done, output->used - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno != EPIPE)
                say("lines can't be written: %s", strerror(errno));
            program->status = errno == EPIPE ? 0 : 1;
            output->fd = -1;
            far_frontend_stop(program->frontend);
            break;
        }
        done += (size_t)n;
    }
    output->used = 0;
}

static void line(struct device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void line(struct device *device, const char *format, ...)
{
    struct program *program = device->program;
    struct output *output = &program->output;
    char text[LINE_BYTES + 256];
    size_t room = sizeof(text) - 1, n = 0;
    va_list args;
    int r;

    if (output->fd < 0)
        return;
    if (output->times)
        n += (size_t)snprintf(text, room, "%llu ",
                              (unsigned long long)far_now_us());
    n += (size_t)snprintf(text + n, room - n, "%u ", device->devid);
    va_start(args, format);
    r = vsnprintf(text + n, room - n, format, args);
    va_end(args);
    n += r < 0 ? 0 : (size_t)r < room - n ? (size_t)r : room - n - 1;
    text[n++] = '\n';
    if (output->used + n > sizeof(output->buffer))
        output_flush(program);
    if (output->fd < 0)
        return;
    memcpy(output->buffer + output->used, text, n);
    output->used += n;
}

static const char *key_name(uint32_t code)
{
#ifdef HAVE_LIBEVDEV
    const char *name = libevdev_event_code_get_name(EV_KEY, code);

    if (name)
        return name;
#endif
    (void)code;
    return "";
}

static void touch_line(struct device *device, const struct xenkbd_mtouch *m)
{
    switch (m->event_type) {
    case XENKBD_MT_EV_DOWN:
    case XENKBD_MT_EV_MOTION:
        line(device, "touch %u %s %d %d", m->contact_id,
             m->event_type == XENKBD_MT_EV_DOWN ? "down" : "move",
             m->u.pos.abs_x, m->u.pos.abs_y);
        break;
    case XENKBD_MT_EV_UP:
        line(device, "touch %u up", m->contact_id);
        break;
    case XENKBD_MT_EV_SYN:
        line(device, "touch %u syn", m->contact_id);
        break;
    case XENKBD_MT_EV_SHAPE:
        line(device, "touch %u shape %u %u", m->contact_id, m->u.shape.major,
             m->u.shape.minor);
        break;
    case XENKBD_MT_EV_ORIENT:
        line(device, "touch %u orientation %d", m->contact_id,
             m->u.orientation);
        break;
    default:
        break;
    }
}

static void on_event(void *arg, const union xenkbd_in_event *event)
{
    struct device *device = arg;
    const char *name;

    if (device->uinput)
        far_uinput_event(device->uinput, event);
    switch (event->type) {
    case XENKBD_TYPE_KEY:
        name = key_name(event->key.keycode);
        line(device, "key %u %u%s%s", event->key.keycode, event->key.pressed,
             *name ? " " : "", name);
        break;
    case XENKBD_TYPE_MOTION:
        line(device, "motion %d %d %d", event->motion.rel_x,
             event->motion.rel_y, event->motion.rel_z);
        break;
    case XENKBD_TYPE_POS:
        line(device, "pos %d %d %d", event->pos.abs_x, event->pos.abs_y,
             event->pos.rel_z);
        break;
    case XENKBD_TYPE_MTOUCH:
        touch_line(device, &event->mtouch);
        break;
    default:
        break;
    }
}

static void on_flush(void *arg)
{
    struct device *device = arg;

    if (device->uinput)
        far_uinput_flush(device->uinput);
    output_flush(device->program);
}

static void connect_uinput(struct device *device)
{
    const struct far_frontend_input_info *info =
        far_frontend_input_info(device->input);

    if (device->uinput && memcmp(&device->uinput_info, info, sizeof(*info))) {
        far_uinput_free(device->uinput);
        device->uinput = NULL;
    }
    if (device->uinput)
        return;
    device->uinput = far_uinput_new(device->devid, info);
    device->uinput_info = *info;
    if (!device->uinput)
        say("vkbd/%u: no device can be made with /dev/uinput: %s (is the "
            "module uinput loaded, and may this user open it?)",
            device->devid, strerror(errno));
}

static void forget(struct device *device)
{
    struct device **d = &device->program->devices;

    while (*d != device)
        d = &(*d)->next;
    *d = device->next;
    far_frontend_input_close(device->input);
    far_uinput_free(device->uinput);
    free(device);
}

static void on_state(void *arg, enum far_frontend_state state, const char *why)
{
    static const char *const names[] = {
        [FAR_FRONTEND_WAITING] = "waiting",
        [FAR_FRONTEND_CONNECTED] = "connected",
        [FAR_FRONTEND_CLOSED] = "closed",
        [FAR_FRONTEND_GONE] = "gone",
        [FAR_FRONTEND_REFUSED] = "refused",
        [FAR_FRONTEND_FAILED] = "failed",
    };
    struct device *device = arg;
    struct program *program = device->program;

    line(device, "state %s%s%s", names[state], why ? " " : "", why ? why : "");
    output_flush(program);
    if (state == FAR_FRONTEND_REFUSED)
        say("vkbd/%u is not driven: %s (--force takes it nevertheless)",
            device->devid, why ? why : "");
    if (state == FAR_FRONTEND_FAILED)
        say("vkbd/%u fails: %s", device->devid, why ? why : "");
    if (state == FAR_FRONTEND_CONNECTED) {
        if (program->uinput)
            connect_uinput(device);
    } else if (device->uinput) {
        far_uinput_release(device->uinput);
    }
    if (state == FAR_FRONTEND_GONE)
        forget(device);
}

static void on_found(void *arg, unsigned devid)
{
    static const struct far_frontend_input_hooks hooks = { .event = on_event,
                                                           .flush = on_flush,
                                                           .state = on_state };
    struct program *program = arg;
    struct device *device;

    if (program->some && (devid / 8 >= sizeof(program->wanted) ||
                          !(program->wanted[devid / 8] & 1u << devid % 8)))
        return;
    for (device = program->devices; device; device = device->next)
        if (device->devid == devid)
            return;
    device = calloc(1, sizeof(*device));
    if (!device) {
        say("vkbd/%u: out of memory", devid);
        return;
    }
    device->program = program;
    device->devid = devid;
    device->input = far_frontend_input_open(program->frontend, devid,
                                            program->flags, &hooks, device);
    if (!device->input) {
        say("vkbd/%u can't be opened: %s", devid, strerror(errno));
        free(device);
        return;
    }
    device->next = program->devices;
    program->devices = device;
}

static void usage(FILE *to)
{
    fputs("usage: " PROGRAM " [OPTION...] [DEVID...]\n"
          "       " PROGRAM " --nbd=PATH DEVID\n"
          "Drives this guest's input devices (xenstore's device/vkbd/DEVID; "
          "all of them\nwithout a DEVID) and hands their events on.\n\n"
          "  -p, --print      write a line for each event (the default)\n"
          "  -e, --exec=CMD   the same, to the standard input of a shell "
          "command\n"
          "  -u, --uinput     make input devices of this guest with "
          "/dev/uinput\n"
          "  -s, --socket[=PATH]  let programs share the timers and "
          "doorbells\n"
          "  -t, --times      begin each line with microseconds "
          "(CLOCK_MONOTONIC)\n"
          "      --raw        ask for raw positions where they are offered\n"
          "      --no-poll    always sleep until an event comes\n"
          "      --force      also take devices that another driver has\n"
          "      --nbd=PATH   serve the disk device/vbd/DEVID by NBD at a Unix "
          "socket\n"
          "  -c FILE, -r DIR  as all of Farside's programs take them; not "
          "used here\n"
          "  -h, --help       this\n"
          "  -V, --version    the version\n",
          to);
}

/* The command gets lines until we end; its end is ours. */
static int run_command(const char *command, pid_t *pid)
{
    int ends[2];

    if (pipe(ends) < 0)
        return -errno;
    *pid = fork();
    if (*pid < 0) {
        int r = -errno;

        close(ends[0]);
        close(ends[1]);
        return r;
    }
    if (!*pid) {
        signal(SIGPIPE, SIG_DFL);
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(ends[0]);
    return ends[1];
}

static void tell_systemd(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = path ? strlen(path) : 0;
    int fd;

    if (!length || length >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL,
                 (struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

static int parse_devid(struct program *program, const char *text)
{
    char *end;
    unsigned long id = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end ||
        id >= sizeof(program->wanted) * 8)
        return -EINVAL;
    program->some = true;
    program->wanted[id / 8] |= (uint8_t)(1u << id % 8);
    return 0;
}

static void ready(void)
{
    tell_systemd("READY=1");
}

static void on_nbd_signal(int number)
{
    (void)number;
    far_nbd_stop();
}

static int export_disk(const char *path, char **words, int count)
{
    struct far_nbd_options options = { .path = path,
                                       .say = say,
                                       .ready = ready };
    struct sigaction action = { .sa_handler = on_nbd_signal };
    char *end = NULL;
    unsigned long devid = count == 1 && *words[0] >= '0' && *words[0] <= '9'
                              ? strtoul(words[0], &end, 10)
                              : 0;

    if (!end || *end || devid >= 1ul << 29) {
        say("--nbd wants one disk: the N of xenstore's device/vbd/N (51712 is "
            "xvda)");
        return 2;
    }
    options.devid = (unsigned)devid;
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return far_nbd_export(&options) ? 1 : 0;
}

enum { OPTION_RAW = 256, OPTION_NO_POLL, OPTION_FORCE, OPTION_NBD };

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "print", no_argument, NULL, 'p' },
        { "exec", required_argument, NULL, 'e' },
        { "uinput", no_argument, NULL, 'u' },
        { "socket", optional_argument, NULL, 's' },
        { "times", no_argument, NULL, 't' },
        { "raw", no_argument, NULL, OPTION_RAW },
        { "no-poll", no_argument, NULL, OPTION_NO_POLL },
        { "force", no_argument, NULL, OPTION_FORCE },
        { "nbd", required_argument, NULL, OPTION_NBD },
        { "config", required_argument, NULL, 'c' },
        { "run-dir", required_argument, NULL, 'r' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    static struct program program = { .output = { .fd = -1 } };
    struct sigaction action = { .sa_handler = on_signal };
    const char *command = NULL, *nbd = NULL, *path = NULL;
    struct far_socket *guests = NULL;
    bool print = false;
    pid_t child = 0;
    int c, r, wait_status;

    while ((c = getopt_long(argc, argv, "pe:us::tc:r:hV", options, NULL)) != -1)
        switch (c) {
        case 'p':
            print = true;
            break;
        case 'e':
            command = optarg;
            break;
        case 'u':
            program.uinput = true;
            break;
        case 's':
            path = optarg ? optarg : FAR_FRONTEND_SOCKET;
            break;
        case 't':
            program.output.times = true;
            break;
        case OPTION_RAW:
            program.flags |= FAR_FRONTEND_RAW;
            break;
        case OPTION_NO_POLL:
            program.flags |= FAR_FRONTEND_NO_POLL;
            break;
        case OPTION_FORCE:
            program.flags |= FAR_FRONTEND_FORCE;
            break;
        case OPTION_NBD:
            nbd = optarg;
            break;
        case 'c':
        case 'r':
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'V':
            puts(PROGRAM " " PACKAGE_VERSION);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    if (nbd)
        return export_disk(nbd, argv + optind, argc - optind);
    for (; optind < argc; optind++)
        if (parse_devid(&program, argv[optind]) < 0) {
            say("\"%s\" is no device number: the N of xenstore's "
                "device/vkbd/N is meant",
                argv[optind]);
            return 2;
        }
    if (print && command) {
        say("--print and --exec both want the lines: choose one");
        return 2;
    }
    if (print || (!command && !program.uinput && !path))
        program.output.fd = STDOUT_FILENO;

    program.frontend = far_frontend_new();
    if (!program.frontend) {
        say("xenstore can't be reached: %s (is this a Xen guest, with "
            "/dev/xen/xenbus?)",
            strerror(errno));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    to_stop = program.frontend;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (command) {
        r = run_command(command, &child);
        if (r < 0) {
            say("\"%s\" can't be run: %s", command, strerror(-r));
            far_frontend_free(program.frontend);
            return 1;
        }
        program.output.fd = r;
    }
    r = 0;
    if (path) {
        guests = far_socket_open(program.frontend, path, program.flags);
        if (!guests) {
            say("%s can't be listened at: %s", path, strerror(errno));
            program.status = 1;
        }
    }
    if (program.output.fd >= 0 || program.uinput)
        r = far_frontend_inputs(program.frontend, on_found, &program);
    if (!r && !program.status) {
        tell_systemd("READY=1");
        r = far_frontend_run(program.frontend);
        tell_systemd("STOPPING=1");
    }
    if (r < 0) {
        say(r == -ENOTCONN ? "xenstore has gone"
                           : "the devices can't be followed: %s",
            strerror(-r));
        program.status = 1;
    }
    far_socket_close(guests);
    while (program.devices)
        forget(program.devices);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    far_frontend_free(program.frontend);
    if (child) {
        close(program.output.fd);
        if (waitpid(child, &wait_status, 0) == child &&
            WIFEXITED(wait_status) && WEXITSTATUS(wait_status))
            program.status = WEXITSTATUS(wait_status);
    }
    return program.status;
}
