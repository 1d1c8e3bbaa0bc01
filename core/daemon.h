/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What all daemons do alike: options, signals in the loop, one instance a run
 * directory, systemd's notify protocol and watchdog where they are asked for.
 * Everything else is the daemon's own.
 *
 *   far_daemon_init()    options, log, loop           (nothing done outside)
 *   far_daemon_start()   run directory, lock, signals
 *   … the daemon opens what it needs; drops what it doesn't …
 *   far_daemon_run()     READY=1, turns the loop, STOPPING=1
 *   far_daemon_free()
 */
#ifndef FARSIDE_CORE_DAEMON_H
#define FARSIDE_CORE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/log.h"
#include "core/loop.h"

/* An option of one daemon alone: --NAME, or --NAME=ARGUMENT. */
struct far_daemon_option {
    const char *name;     /* NULL ends the table */
    const char *argument; /* what help calls it; NULL: takes none */
    const char *help;
    const char **value; /* set to the argument, or to "" if it takes none */
};

struct far_daemon {
    /* Set by the caller before init; the rest zeroed. */
    const char *program;                     /* "farside-backend" */
    const char *summary;                     /* one line for --help */
    const struct far_daemon_option *options; /* may be NULL */
    /* SIGHUP; between RELOADING=1 and READY=1. May be NULL. */
    void (*reload)(struct far_daemon *daemon);
    /* SIGTERM, SIGINT; NULL: the loop is stopped. */
    void (*stop)(struct far_daemon *daemon);
    void *arg; /* the caller's */

    /* Set by init; borrowed by the caller until free. */
    const char *conf_file;
    const char *run_dir;
    bool verbose;
    struct far_loop *loop;
    struct far_log *log;

    /* The daemon code's own. */
    struct far_io signals;
    struct far_timer watchdog;
    uint64_t watchdog_us;
    int signal_fd, lock_fd, notify_fd;
};

/* 0: go on; 1: all was said (--help, --version), exit with 0; negative: a
 * message was printed, exit with 2. */
int far_daemon_init(struct far_daemon *daemon, int argc, char **argv);
/* Makes the run directory if it's missing, takes RUNDIR/PROGRAM.lock (which
 * ends with the process, however it dies), blocks and takes up the signals,
 * ignores SIGPIPE. 0 or a negative errno, logged. */
int far_daemon_start(struct far_daemon *daemon);
/* Until stopped; 0 or a negative errno. */
int far_daemon_run(struct far_daemon *daemon);
void far_daemon_free(struct far_daemon *daemon); /* idempotent */

/* RUNDIR/NAME into out; out, or NULL if it doesn't fit (logged). */
char *far_daemon_path(const struct far_daemon *daemon, const char *name,
                      char *out, size_t out_bytes);
/* One line for `systemctl status`; costs nothing without systemd. */
void far_daemon_status(struct far_daemon *daemon, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For programs that are no daemons (farside, farside-frontend): what -c and -r
 * mean when they are not given. */
const char *far_default_conf_file(void); /* FARSIDE_CONFIG or /etc/… */
const char *far_default_run_dir(void);   /* FARSIDE_RUN_DIR or /run/farside */

#endif
