// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside link: what a person does with a link by hand. The netproxy does it;
// a capture's file is made here, by root, and passed to it.

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/tool.h"

static int ask(struct far_tool *tool, json_t *request, int fd, json_t **answer)
{
    struct far_error error = { 0 };
    int rc = request ? far_ask_fd(tool, "netproxy", request, fd, answer, &error)
                     : -ENOMEM;

    json_decref(request);
    if (!rc)
        return FAR_EXIT_OK;
    return far_fail("link",
                    rc == -EREMOTEIO || rc == -ENOMEM ? FAR_EXIT_FAILED
                                                      : FAR_EXIT_NO_DAEMON,
                    "%s", rc == -ENOMEM ? "out of memory" : error.text);
}

static int by_verb(struct far_tool *tool, const char *verb,
                   const char *platform)
{
    char what[16];
    json_t *answer = NULL;
    int status;

    snprintf(what, sizeof(what), "link %s", verb);
    status = ask(tool,
                 json_pack("{s:s, s:s}", "request", what, "platform", platform),
                 -1, &answer);
    json_decref(answer);
    return status;
}

static int capture_off(struct far_tool *tool, const char *platform)
{
    json_t *answer = NULL;
    int status = ask(tool,
                     json_pack("{s:s, s:s, s:b}", "request", "link capture",
                               "platform", platform, "off", 1),
                     -1, &answer);

    if (!status)
        fprintf(tool->out, "%lld frames, %lld not captured\n",
                (long long)far_json_number(answer, "frames"),
                (long long)far_json_number(answer, "missed"));
    json_decref(answer);
    return status;
}

// A new file that nobody but its owner can read: it holds what people type.
static int capture(struct far_tool *tool, const char *platform,
                   const char *file, long long bytes)
{
    json_t *answer = NULL;
    int fd =
        open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int status;

    if (fd < 0)
        return far_fail("link", FAR_EXIT_FAILED, "%s: %s", file,
                        errno == EEXIST
                            ? "it is there already; captures overwrite nothing"
                            : strerror(errno));
    status = ask(tool,
                 json_pack("{s:s, s:s, s:I}", "request", "link capture",
                           "platform", platform, "bytes", (json_int_t)bytes),
                 fd, &answer);
    close(fd);
    if (status)
        unlink(file);
    json_decref(answer);
    return status;
}

int far_link_command(struct far_tool *tool, int argc, char **argv)
{
    long long bytes = 0;
    const char *verb;
    char *end;
    int option;

    while ((option = getopt(argc, argv, "+s:")) != -1) {
        if (option != 's')
            return far_usage("link", "no such option");
        errno = 0;
        bytes = strtoll(optarg, &end, 10);
        if (errno || end == optarg || *end || bytes <= 0)
            return far_usage("link", "-s wants a number of bytes, not '%s'",
                             optarg);
    }
    argc -= optind;
    argv += optind;
    verb = argc ? argv[0] : "";
    if (argc == 2 && !bytes &&
        (!strcmp(verb, "stop") || !strcmp(verb, "start") ||
         !strcmp(verb, "rekey")))
        return by_verb(tool, verb, argv[1]);
    if (argc == 3 && !strcmp(verb, "capture"))
        return strcmp(argv[2], "off") != 0
                   ? capture(tool, argv[1], argv[2], bytes)
                   : capture_off(tool, argv[1]);
    return far_usage("link", "a verb, a platform, and what the verb wants");
}
