// SPDX-License-Identifier: GPL-2.0-or-later
//
// Asking the daemons over their control sockets, and the words for when one
// doesn't answer. What the answers mean is the commands' business.

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/control.h"
#include "tools/tool.h"

#define FAR_ASK_TIMEOUT_US 5000000u

int far_fail(const char *command, int status, const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "farside: %s: ", command);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

const char *far_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int64_t far_json_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_real(value))
        return (int64_t)json_real_value(value);
    return (int64_t)json_integer_value(value);
}

/* Is there somebody? 0 or a negative errno. Tells a daemon that isn't there
 * from one that answers "no such thing". */
static int knock(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, r = 0;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
        r = -errno;
    close(fd);
    return r;
}

int far_ask(const struct far_tool *tool, const char *daemon, json_t *request,
            json_t **answer, struct far_error *error)
{
    return far_ask_fd(tool, daemon, request, -1, answer, error);
}

int far_ask_fd(const struct far_tool *tool, const char *daemon, json_t *request,
               int fd, json_t **answer, struct far_error *error)
{
    struct far_error why = { 0, "" };
    char path[PATH_MAX];
    int n, r;

    *answer = NULL;
    n = snprintf(path, sizeof(path), "%s/%s.sock", tool->run_dir, daemon);
    r = n < 0 || (size_t)n >= sizeof(path) ? -ENAMETOOLONG : knock(path);
    switch (r) {
    case 0:
        break;
    case -ENAMETOOLONG:
        return far_error(error, r, "the run directory's path is too long: %s",
                         tool->run_dir);
    case -ENOENT:
    case -ECONNREFUSED:
        return far_error(error, r,
                         "farside-%s is not running (nobody listens at %s); "
                         "start it: systemctl start farside-%s",
                         daemon, path, daemon);
    case -EACCES:
    case -EPERM:
        return far_error(error, r,
                         "you may not speak to farside-%s at %s: run this as "
                         "root",
                         daemon, path);
    default:
        return far_error(error, r, "farside-%s at %s: %s", daemon, path,
                         strerror(-r));
    }

    r = far_control_call_fd(path, request, fd, answer, FAR_ASK_TIMEOUT_US,
                            &why);
    if (!r)
        return 0;
    if (r == -ETIMEDOUT)
        return far_error(error, r,
                         "farside-%s does not answer within 5 s; see its log: "
                         "journalctl -u farside-%s",
                         daemon, daemon);
    /* The daemon's own words, or those of the call. */
    return far_error(error, -EREMOTEIO, "%s",
                     why.text[0] ? why.text : strerror(-r));
}

int far_ask_simple(const struct far_tool *tool, const char *daemon,
                   const char *request, json_t **answer,
                   struct far_error *error)
{
    json_t *object = json_pack("{s:s}", "request", request);
    int r;

    if (!object)
        return far_error(error, -ENOMEM, "out of memory");
    r = far_ask(tool, daemon, object, answer, error);
    json_decref(object);
    return r;
}
