/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the commands of `farside` share: where the daemons are, how they are
 * asked, how xl is run. Each command is a file; main.c holds their table.
 * Nothing here talks to Xen or to the network: that is the daemons' work, and
 * xl's.
 */
#ifndef FARSIDE_TOOLS_TOOL_H
#define FARSIDE_TOOLS_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "core/conf.h"
#include "core/error.h"

/* Exit statuses; described in farside(1). */
enum far_exit {
    FAR_EXIT_OK = 0,
    FAR_EXIT_FAILED = 1,    /* the reason is on stderr */
    FAR_EXIT_USAGE = 2,     /* the command line can't be understood */
    FAR_EXIT_NO_DAEMON = 3, /* a daemon that is needed doesn't answer */
    FAR_EXIT_WAITING = 4, /* done, but no event can come yet: reason printed */
};

struct far_tool {
    const char *conf_file; /* -c, $FARSIDE_CONFIG, /etc/farside/farside.conf */
    const char *run_dir;   /* -r, $FARSIDE_RUN_DIR, /run/farside */
    FILE *out;
};

struct far_command {
    const char *name;
    const char *usage; /* what follows the name */
    const char *help;
    /* argv[0] is the command's name */
    int (*run)(struct far_tool *tool, int argc, char **argv);
};

extern const struct far_command far_commands[]; /* ends with a NULL name */
const struct far_command *far_command_find(const char *name);

int far_status_command(struct far_tool *tool, int argc, char **argv);
int far_top_command(struct far_tool *tool, int argc, char **argv);
int far_attach_command(struct far_tool *tool, int argc, char **argv);
int far_detach_command(struct far_tool *tool, int argc, char **argv);
int far_check_command(struct far_tool *tool, int argc, char **argv);
int far_send_command(struct far_tool *tool, int argc, char **argv);
int far_decode_command(struct far_tool *tool, int argc, char **argv);
int far_metrics_command(struct far_tool *tool, int argc, char **argv);
int far_devices_command(struct far_tool *tool, int argc, char **argv);
int far_link_command(struct far_tool *tool, int argc, char **argv);
int far_trust_command(struct far_tool *tool, int argc, char **argv);
int far_console_command(struct far_tool *tool, int argc, char **argv);
int far_screenshot_command(struct far_tool *tool, int argc, char **argv);
int far_reload_command(struct far_tool *tool, int argc, char **argv);

/* "farside: COMMAND: …" on stderr; returns status. */
int far_fail(const char *command, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with "usage: farside COMMAND …" behind it; FAR_EXIT_USAGE. */
int far_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Asks a daemon ("backend" or "netproxy") one thing. 0 and *answer (the
 * caller's), or a negative errno and a text that says what to do. A daemon
 * that answers {"error": …} gives -EREMOTEIO and its words. */
int far_ask(const struct far_tool *tool, const char *daemon, json_t *request,
            json_t **answer, struct far_error *error);
/* The same with a descriptor beside the request (-1: none), which stays the
 * caller's. */
int far_ask_fd(const struct far_tool *tool, const char *daemon, json_t *request,
               int fd, json_t **answer, struct far_error *error);
/* The same for {"request": request}. */
int far_ask_simple(const struct far_tool *tool, const char *daemon,
                   const char *request, json_t **answer,
                   struct far_error *error);

/* json helpers that never fail: "" or 0 for what is not there */
const char *far_json_text(const json_t *object, const char *key);
int64_t far_json_number(const json_t *object, const char *key);

#endif
