/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Programs that serve outside devices, started on demand: a helper process,
 * forked before its daemon gives up its rights and closes its sandbox, runs the
 * `start =` of a device's section. The daemon names the device only: what is
 * run, and as whom, the helper reads in farside.conf itself, so that a daemon
 * that was broken into can run nothing that does not stand there. When to
 * start, and when to stop, is the daemon's business (devices/outside.c).
 */
#ifndef FARSIDE_DEVICES_STARTER_H
#define FARSIDE_DEVICES_STARTER_H

#include <sys/types.h>
#include "core/conf.h"
#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"

struct far_starter;

enum far_starter_state {
    FAR_STARTER_IDLE,     /* nothing runs */
    FAR_STARTER_STARTING, /* asked for */
    FAR_STARTER_RUNNING,
    FAR_STARTER_STOPPING,
};

/* One program; embedded in its user's struct, zeroed. */
struct far_starter_job {
    char device[FAR_NAME_BYTES]; /* the section's name */
    /* It runs, or does not run any more: why is NULL if it was stopped. May
     * start it again from within. */
    void (*started)(struct far_starter_job *job);
    void (*ended)(struct far_starter_job *job, const char *why);
    /* The starter's. */
    enum far_starter_state state;
    pid_t pid; /* while it runs */
    uint32_t id;
    struct far_log_bucket bucket; /* of what it says on stderr */
    struct far_starter *starter;
    struct far_starter_job *next;
};

/* Forks the helper; call it before there are threads, or secrets in memory.
 * user: whom programs run as whose section names nobody; NULL: `farside`, or
 * `nobody` where there is no such user. Only a helper of root can choose; any
 * other runs all as itself. NULL with error. */
struct far_starter *far_starter_new(struct far_loop *loop, struct far_log *log,
                                    const char *conf_file, const char *user,
                                    struct far_error *error);
/* All programs are stopped, without waiting for it. NULL is fine. */
void far_starter_free(struct far_starter *starter);

/* 0, or a negative errno: the helper is gone. No-op while it runs. */
int far_starter_start(struct far_starter *starter, struct far_starter_job *job);
/* SIGTERM, and SIGKILL to what is still there 3 s later; ended() follows. */
void far_starter_stop(struct far_starter_job *job);
/* Before the job's memory goes: it is stopped, and ended() not called. */
void far_starter_forget(struct far_starter_job *job);

/* Pure: words with blanks between them; "…" and '…' keep blanks, there are no
 * escapes. Puts pointers into argv, NULL at the end; text is cut up for it.
 * Their number, or -EINVAL (an open quote), -E2BIG, -ENOENT (none). */
int far_starter_words(char *text, char **argv, unsigned room);

#endif
