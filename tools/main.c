// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside, the tool a person types: the options that all commands share. Which
// commands there are is in commands.c; each is in a file of its own.

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "config.h"
#include "core/daemon.h"
#include "tools/tool.h"

static void usage(FILE *out)
{
    fprintf(out, "usage: farside [-c FILE] [-r DIR] COMMAND [ARGUMENT...]\n\n");
    for (const struct far_command *c = far_commands; c->name; c++)
        fprintf(out, "  %-7s %-50s %s\n", c->name, c->usage, c->help);
    fprintf(out, "\n"
                 "  -c, --config FILE   farside.conf "
                 "(/etc/farside/farside.conf)\n"
                 "  -r, --run-dir DIR   where the daemons' sockets are "
                 "(/run/farside)\n"
                 "  -h, --help          this text\n"
                 "  -V, --version       the version\n"
                 "\n"
                 "ADDRESS is DEVICE for one of this platform, or "
                 "PLATFORM/DEVICE.\n"
                 "Exit status: 0 done, 1 failed, 2 wrong usage, 3 a daemon "
                 "does not answer,\n"
                 "4 done but no event can come yet. See farside(1).\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "run-dir", required_argument, NULL, 'r' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    struct far_tool tool = {
        .conf_file = far_default_conf_file(),
        .run_dir = far_default_run_dir(),
        .out = stdout,
    };
    const struct far_command *command;
    int status, option;

    while ((option = getopt_long(argc, argv, "+c:r:hV", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            tool.conf_file = optarg;
            break;
        case 'r':
            tool.run_dir = optarg;
            break;
        case 'h':
            usage(stdout);
            return FAR_EXIT_OK;
        case 'V':
            printf("farside %s\n", PACKAGE_VERSION);
            return FAR_EXIT_OK;
        default:
            usage(stderr);
            return FAR_EXIT_USAGE;
        }
    }
    if (optind == argc) {
        usage(stderr);
        return FAR_EXIT_USAGE;
    }
    if (!strcmp(argv[optind], "help")) {
        usage(stdout);
        return FAR_EXIT_OK;
    }
    command = far_command_find(argv[optind]);
    if (!command) {
        fprintf(stderr,
                "farside: '%s' is no command; they are: ", argv[optind]);
        for (const struct far_command *c = far_commands; c->name; c++)
            fprintf(stderr, "%s%s", c == far_commands ? "" : ", ", c->name);
        fputc('\n', stderr);
        return FAR_EXIT_USAGE;
    }
    argc -= optind;
    argv += optind;
    optind = 0; /* glibc: begin anew, with the command's own options */
    status = command->run(&tool, argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        perror("farside: standard output");
        return FAR_EXIT_FAILED;
    }
    return status;
}
