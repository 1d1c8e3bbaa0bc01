/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What farside-netproxy gives up once all is open: root, capabilities, and
 * every system call that its work does not need.
 */
#ifndef FARSIDE_NETPROXY_SANDBOX_H
#define FARSIDE_NETPROXY_SANDBOX_H

#include <stdbool.h>
#include "core/error.h"

/* As root: becomes that user with its groups (NULL: "farside", if there is such
 * a user; *became says who, or NULL if we stay who we are). No capabilities are
 * left, and none can be had again. 0 or a negative errno. */
int far_privileges_drop(const char *user, const char **became,
                        struct far_error *error);

/* The allow-list. A call that is not on it fails with EPERM and is logged by
 * the kernel's audit; those that only an intruder makes (exec, ptrace, mount …)
 * kill the process. kill_all: all of them kill, for tests. No way back. */
int far_sandbox_enter(bool kill_all, struct far_error *error);

#endif
