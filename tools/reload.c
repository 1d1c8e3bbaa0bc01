// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside reload: both daemons read farside.conf again.

#include <errno.h>
#include <unistd.h>
#include "tools/tool.h"

int far_reload_command(struct far_tool *tool, int argc, char **argv)
{
    static const char *const daemons[] = { "backend", "netproxy" };
    struct far_error error;
    int status = FAR_EXIT_NO_DAEMON;

    if (getopt(argc, argv, "+") != -1 || optind != argc)
        return far_usage("reload", "no arguments are taken");
    for (unsigned i = 0; i < 2; i++) {
        json_t *answer;
        int r = far_ask_simple(tool, daemons[i], "reload", &answer, &error);

        if (!r) {
            fprintf(tool->out, "farside-%s: reloaded\n", daemons[i]);
            json_decref(answer);
            if (status == FAR_EXIT_NO_DAEMON)
                status = FAR_EXIT_OK;
        } else if (r == -EREMOTEIO) {
            far_fail("reload", 0, "farside-%s: %s", daemons[i], error.text);
            status = FAR_EXIT_FAILED;
        } else {
            /* One of the two may well not be used here. */
            far_fail("reload", 0, "%s", error.text);
        }
    }
    return status;
}
