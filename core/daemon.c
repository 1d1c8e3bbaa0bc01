/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What all daemons do alike: options, signals, one instance, systemd's notify
 * protocol (spoken here in a few lines; its library is not needed).
 */
#include "config.h"
#include "core/daemon.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define OPTIONS_MAX 16
#define OWN_OPTION  1000 /* what getopt says for the daemon's own ones */

/* ---- options ----------------------------------------------------------- */

static const char *from_environment(const char *name, const char *fallback)
{
    const char *value = getenv(name);

    return value && *value ? value : fallback;
}

const char *far_default_conf_file(void)
{
    return from_environment("FARSIDE_CONFIG",
                            FARSIDE_SYSCONFDIR "/farside.conf");
}

const char *far_default_run_dir(void)
{
    return from_environment("FARSIDE_RUN_DIR", FARSIDE_RUNDIR);
}

static void help(const struct far_daemon *daemon)
{
    printf("Usage: %s [OPTION…]\n%s\n\n"
           "  -c, --config=FILE    the configuration (%s)\n"
           "  -r, --run-dir=DIR    sockets and state (%s)\n"
           "  -v, --verbose        log more\n"
           "  -h, --help           this text\n"
           "  -V, --version        the version\n",
           daemon->program, daemon->summary, far_default_conf_file(),
           far_default_run_dir());
    for (const struct far_daemon_option *o = daemon->options; o && o->name;
         o++) {
        char left[64];

        snprintf(left, sizeof(left), "--%s%s%s", o->name,
                 o->argument ? "=" : "", o->argument ? o->argument : "");
        printf("      %-16s %s\n", left, o->help);
    }
    printf("\nFARSIDE_CONFIG and FARSIDE_RUN_DIR stand for -c and -r.\n");
}

static int options(struct far_daemon *daemon, int argc, char **argv)
{
    struct option table[5 + OPTIONS_MAX + 1] = {
        { "config", required_argument, NULL, 'c' },
        { "run-dir", required_argument, NULL, 'r' },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
    };
    const struct far_daemon_option *o = daemon->options;
    int c;

    for (int i = 0; o && o[i].name && i < OPTIONS_MAX; i++)
        table[5 + i] = (struct option){
            .name = o[i].name,
            .has_arg = o[i].argument ? required_argument : no_argument,
            .val = OWN_OPTION + i,
        };
    optind = 1;
    while ((c = getopt_long(argc, argv, "c:r:vhV", table, NULL)) != -1) {
        switch (c) {
        case 'c':
            daemon->conf_file = optarg;
            break;
        case 'r':
            daemon->run_dir = optarg;
            break;
        case 'v':
            daemon->verbose = true;
            break;
        case 'h':
            help(daemon);
            return 1;
        case 'V':
            printf("%s %s\n", daemon->program, PACKAGE_VERSION);
            return 1;
        case '?':
            fprintf(stderr, "%s: try --help\n", daemon->program);
            return -EINVAL;
        default:
            *o[c - OWN_OPTION].value = optarg ? optarg : "";
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: \"%s\" is no option; try --help\n",
                daemon->program, argv[optind]);
        return -EINVAL;
    }
    return 0;
}

int far_daemon_init(struct far_daemon *daemon, int argc, char **argv)
{
    int rc;

    daemon->signal_fd = daemon->lock_fd = daemon->notify_fd = -1;
    daemon->conf_file = far_default_conf_file();
    daemon->run_dir = far_default_run_dir();
    rc = options(daemon, argc, argv);
    if (rc != 0)
        return rc;
    daemon->log = far_log_new(daemon->program,
                              daemon->verbose ? FAR_LOG_DEBUG : FAR_LOG_INFO);
    daemon->loop = daemon->log ? far_loop_new() : NULL;
    if (!daemon->loop) {
        rc = errno ? -errno : -ENOMEM;
        fprintf(stderr, "%s: can't make the event loop: %s\n", daemon->program,
                strerror(-rc));
        far_daemon_free(daemon);
        return rc;
    }
    return 0;
}

char *far_daemon_path(const struct far_daemon *daemon, const char *name,
                      char *out, size_t out_bytes)
{
    int n = snprintf(out, out_bytes, "%s/%s", daemon->run_dir, name);

    if (n > 0 && (size_t)n < out_bytes)
        return out;
    far_log(daemon->log, FAR_LOG_ERROR,
            "run directory %s: the name is too long (give a shorter one with "
            "-r)",
            daemon->run_dir);
    return NULL;
}

/* ---- systemd ----------------------------------------------------------- */

static void notify_open(struct far_daemon *daemon)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    size_t n = path ? strlen(path) : 0;

    if (n < 2 || n >= sizeof(un.sun_path) || (*path != '/' && *path != '@'))
        return;
    memcpy(un.sun_path, path, n);
    if (*path == '@')
        un.sun_path[0] = '\0';
    /* Connected now: later the process may be sandboxed. */
    daemon->notify_fd =
        socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (daemon->notify_fd >= 0 &&
        connect(daemon->notify_fd, (struct sockaddr *)&un,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0) {
        far_log(daemon->log, FAR_LOG_WARNING, "NOTIFY_SOCKET %s: %s", path,
                strerror(errno));
        close(daemon->notify_fd);
        daemon->notify_fd = -1;
    }
}

static void notify(const struct far_daemon *daemon, const char *text)
{
    if (daemon->notify_fd >= 0 &&
        send(daemon->notify_fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        far_log(daemon->log, FAR_LOG_DEBUG, "systemd was not told \"%s\": %s",
                text, strerror(errno));
}

static void notify_reloading(const struct far_daemon *daemon)
{
    char text[64];

    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)far_now_us());
    notify(daemon, text);
}

void far_daemon_status(struct far_daemon *daemon, const char *format, ...)
{
    char text[256] = "STATUS=";
    va_list args;

    if (daemon->notify_fd < 0)
        return;
    va_start(args, format);
    vsnprintf(text + 7, sizeof(text) - 7, format, args);
    va_end(args);
    notify(daemon, text);
}

static void watchdog_fire(struct far_timer *timer)
{
    struct far_daemon *daemon =
        (struct far_daemon *)(void *)((char *)timer -
                                      offsetof(struct far_daemon, watchdog));

    notify(daemon, "WATCHDOG=1");
    far_timer_set(timer,
                  far_loop_now_us(daemon->loop) + daemon->watchdog_us / 2);
}

static void watchdog_start(struct far_daemon *daemon)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (daemon->notify_fd < 0 || !us ||
        (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return;
    daemon->watchdog_us = strtoull(us, NULL, 10);
    if (daemon->watchdog_us >= 2)
        far_timer_set(&daemon->watchdog,
                      far_now_us() + daemon->watchdog_us / 2);
}

/* ---- start, run, end --------------------------------------------------- */

static void signals_ready(struct far_io *io, uint32_t events)
{
    struct far_daemon *daemon =
        (struct far_daemon *)(void *)((char *)io -
                                      offsetof(struct far_daemon, signals));
    struct signalfd_siginfo info;

    (void)events;
    if (read(io->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    if (info.ssi_signo != SIGHUP) {
        far_log(daemon->log, FAR_LOG_INFO, "stopping: signal %u",
                info.ssi_signo);
        if (daemon->stop)
            daemon->stop(daemon);
        else
            far_loop_stop(daemon->loop);
        return;
    }
    if (!daemon->reload) {
        far_log(daemon->log, FAR_LOG_WARNING, "there is nothing to reload");
        return;
    }
    notify_reloading(daemon);
    daemon->reload(daemon);
    notify(daemon, "READY=1");
}

static int signals_start(struct far_daemon *daemon)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (daemon->signal_fd < 0)
        return -errno;
    return far_io_add(daemon->loop, &daemon->signals, daemon->signal_fd,
                      EPOLLIN, signals_ready);
}

/* A record lock: it ends with the process, whatever ends that, and a helper
 * that the process has forked does not keep it. */
static int lock(struct far_daemon *daemon)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char name[64], path[512];
    int rc;

    snprintf(name, sizeof(name), "%s.lock", daemon->program);
    if (!far_daemon_path(daemon, name, path, sizeof(path)))
        return -ENAMETOOLONG;
    if (mkdir(daemon->run_dir, 0755) < 0 && errno != EEXIST) {
        rc = -errno;
        far_log(daemon->log, FAR_LOG_ERROR,
                "run directory %s: can't be made: %s", daemon->run_dir,
                strerror(-rc));
        return rc;
    }
    daemon->lock_fd =
        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (daemon->lock_fd < 0) {
        rc = -errno;
        far_log(daemon->log, FAR_LOG_ERROR,
                "%s: %s (may this user write to the run directory?)", path,
                strerror(-rc));
        return rc;
    }
    if (fcntl(daemon->lock_fd, F_SETLK, &whole) < 0) {
        rc = -errno;
        if (errno == EACCES || errno == EAGAIN)
            far_log(daemon->log, FAR_LOG_ERROR,
                    "another %s runs with the run directory %s: stop it, or "
                    "give this one another directory with -r",
                    daemon->program, daemon->run_dir);
        else
            far_log(daemon->log, FAR_LOG_ERROR, "%s: can't be locked: %s", path,
                    strerror(-rc));
        return rc;
    }
    return 0;
}

int far_daemon_start(struct far_daemon *daemon)
{
    int rc = lock(daemon);

    if (rc < 0)
        return rc;
    rc = signals_start(daemon);
    if (rc < 0) {
        far_log(daemon->log, FAR_LOG_ERROR, "can't take up the signals: %s",
                strerror(-rc));
        return rc;
    }
    far_timer_init(&daemon->watchdog, daemon->loop, watchdog_fire);
    notify_open(daemon);
    return 0;
}

int far_daemon_run(struct far_daemon *daemon)
{
    int rc;

    watchdog_start(daemon);
    notify(daemon, "READY=1");
    rc = far_loop_run(daemon->loop);
    notify(daemon, "STOPPING=1");
    if (rc < 0)
        far_log(daemon->log, FAR_LOG_ERROR, "the event loop ended: %s",
                strerror(-rc));
    return rc;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void far_daemon_free(struct far_daemon *daemon)
{
    if (daemon->watchdog.loop)
        far_timer_cancel(&daemon->watchdog);
    if (daemon->signal_fd >= 0)
        far_io_del(&daemon->signals);
    close_fd(&daemon->signal_fd);
    close_fd(&daemon->notify_fd);
    close_fd(&daemon->lock_fd);
    far_loop_free(daemon->loop);
    daemon->loop = NULL;
    far_log_free(daemon->log);
    daemon->log = NULL;
}
