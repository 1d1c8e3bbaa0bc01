/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-netproxy: options, the order of opening and giving up, the loop. All
 * else is netproxy.c's.
 */
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include "core/daemon.h"
#include "netproxy/netproxy.h"
#include "netproxy/sandbox.h"

static void reload(struct far_daemon *daemon)
{
    struct far_netproxy *netproxy = daemon->arg;
    struct far_error error = { 0 };

    if (far_netproxy_reload(netproxy, &error))
        far_log(daemon->log, FAR_LOG_ERROR, "reload: %s", error.text);
}

/* Root first, system calls last: nothing after this opens what it could not
 * open again at a reload. */
static int give_up_rights(struct far_daemon *daemon, struct far_netproxy *n,
                          const char *user, bool sandbox)
{
    struct far_error error = { 0 };
    const char *test = getenv("FARSIDE_SANDBOX_KILLS");

    if (far_privileges_drop(user, &n->user, &error)) {
        far_log(daemon->log, FAR_LOG_ERROR, "%s", error.text);
        return error.code;
    }
    if (!sandbox) {
        far_log(daemon->log, FAR_LOG_WARNING,
                "running without the sandbox, as was asked for");
        return 0;
    }
    if (far_sandbox_enter(test && *test, &error)) {
        far_log(daemon->log, FAR_LOG_ERROR, "%s", error.text);
        return error.code;
    }
    n->sandboxed = true;
    return 0;
}

int main(int argc, char **argv)
{
    const char *user = NULL, *no_sandbox = NULL;
    const struct far_daemon_option options[] = {
        { "user", "NAME",
          "become this user (default, as root: farside, if there is one)",
          &user },
        { "no-sandbox", NULL, "for debugging: keep all system calls",
          &no_sandbox },
        { .name = NULL },
    };
    struct far_daemon daemon = {
        .program = "farside-netproxy",
        .summary = "joins this platform's guests and devices with those of "
                   "other platforms",
        .options = options,
        .reload = reload,
    };
    struct far_netproxy_options o = { 0 };
    struct far_netproxy *n;
    struct far_error error = { 0 };
    bool sandbox;
    int rc;

    rc = far_daemon_init(&daemon, argc, argv);
    if (rc)
        return rc > 0 ? 0 : 2;
    sandbox = !no_sandbox && !getenv("FARSIDE_NO_SANDBOX");
    rc = far_daemon_start(&daemon);
    if (rc) {
        far_daemon_free(&daemon);
        return 1;
    }
    if (gnutls_global_init() < 0) { /* now: it opens files */
        far_log(daemon.log, FAR_LOG_ERROR, "GnuTLS can't start");
        far_daemon_free(&daemon);
        return 1;
    }
    o.conf_file = daemon.conf_file;
    o.run_dir = daemon.run_dir;
    o.user = user;
    n = far_netproxy_new(daemon.loop, daemon.log, &o, &error);
    if (!n) {
        far_log(daemon.log, FAR_LOG_ERROR, "%s", error.text);
        far_daemon_free(&daemon);
        return 1;
    }
    daemon.arg = n;
    rc = give_up_rights(&daemon, n, user, sandbox);
    if (!rc) {
        far_daemon_status(&daemon, "platform %s%s", n->context.me.platform,
                          n->sandboxed ? "" : ", not sandboxed");
        rc = far_daemon_run(&daemon);
    }
    far_netproxy_free(n);
    far_daemon_free(&daemon);
    gnutls_global_deinit();
    return rc ? 1 : 0;
}
