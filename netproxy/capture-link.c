/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Switching captures of links on and off, by request of `farside link
 * capture`: root passes the descriptor of a file, so that this process, which
 * may open none for writing, needs not to. Writing is netproxy/capture.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "netproxy/netproxy.h"

struct far_link_capture {
    struct far_capture file;
    char platform[FAR_NAME_BYTES];
    struct far_link_capture *next;
};

/* Both links with that platform, if there are two. */
static bool point(struct far_netproxy *n, const char *platform,
                  struct far_capture *to)
{
    struct far_link *l;
    struct far_peer *p;
    bool found = false;

    for (l = n->links; l; l = l->next) {
        if (!strcmp(l->name, platform)) {
            for (unsigned i = 0; i < FAR_WIRE_LANES; i++)
                l->lanes[i].traffic.capture = to;
            found = true;
        }
    }
    for (p = n->server.peers; p; p = p->next) {
        if (!strcmp(p->platform, platform)) {
            p->traffic.capture = to;
            found = true;
        }
    }
    return found;
}

static struct far_link_capture *find(const struct far_netproxy *n,
                                     const char *platform)
{
    struct far_link_capture *c;

    for (c = n->captures; c && strcmp(c->platform, platform); c = c->next)
        ;
    return c;
}

static struct far_link_capture *find_or_make(struct far_netproxy *n,
                                             const char *platform)
{
    struct far_link_capture *c = find(n, platform);

    if (c || !(c = calloc(1, sizeof(*c))))
        return c;
    c->file.fd = -1;
    snprintf(c->platform, sizeof(c->platform), "%s", platform);
    c->next = n->captures;
    n->captures = c;
    return c;
}

static json_t *start(struct far_netproxy *n, const char *platform, int fd,
                     uint64_t max_bytes)
{
    struct far_link_capture *c;
    struct far_error error = { 0 };

    if (!point(n, platform, NULL)) {
        close(fd);
        return far_control_error(-ENOENT, "there is no link with \"%s\"",
                                 platform);
    }
    c = find_or_make(n, platform);
    if (!c) {
        close(fd);
        return NULL;
    }
    if (far_capture_begin(&c->file, fd, max_bytes, platform, &error))
        return far_control_error(error.code, "%s", error.text);
    point(n, platform, &c->file);
    far_log(n->context.log, FAR_LOG_WARNING,
            "link with %s: captured from now on: what is typed and read over "
            "it goes into a file",
            platform);
    return json_pack("{s:b}", "ok", 1);
}

static json_t *stop(struct far_netproxy *n, const char *platform)
{
    struct far_link_capture *c = find(n, platform);
    json_t *answer;

    point(n, platform, NULL);
    if (!c)
        return far_control_error(
            -ENOENT, "the link with \"%s\" is not captured", platform);
    if (c->file.fd >= 0)
        far_log(n->context.log, FAR_LOG_INFO,
                "link with %s: no longer captured", platform);
    far_capture_end(&c->file);
    answer = json_pack("{s:b, s:I, s:I}", "ok", 1, "frames",
                       (json_int_t)c->file.frames, "missed",
                       (json_int_t)c->file.missed);
    return answer;
}

json_t *far_netproxy_capture(struct far_netproxy *n, const json_t *request)
{
    const char *platform =
        json_string_value(json_object_get(request, "platform"));
    int64_t bytes = json_integer_value(json_object_get(request, "bytes"));
    bool off = json_is_true(json_object_get(request, "off"));
    int fd = far_control_take_fd(n->control);

    if (far_control_is_root(n->control) && platform && bytes >= 0 &&
        (off || fd >= 0)) {
        if (!off)
            return start(n, platform, fd, (uint64_t)bytes);
        if (fd >= 0)
            close(fd);
        return stop(n, platform);
    }
    if (fd >= 0)
        close(fd);
    if (!far_control_is_root(n->control))
        return far_control_error(-EPERM,
                                 "only root may see what goes over a link");
    return far_control_error(-EINVAL,
                             "link capture: a \"platform\", and \"off\" or a "
                             "descriptor of a file");
}

json_t *far_netproxy_captures(const struct far_netproxy *n)
{
    json_t *all = json_array();
    const struct far_link_capture *c;

    for (c = n->captures; c; c = c->next)
        json_array_append_new(
            all, json_pack("{s:s, s:b, s:I, s:I, s:I}", "platform", c->platform,
                           "running", c->file.fd >= 0, "frames",
                           (json_int_t)c->file.frames, "missed",
                           (json_int_t)c->file.missed, "left_bytes",
                           (json_int_t)c->file.left_bytes));
    return all;
}

void far_netproxy_captures_free(struct far_netproxy *n)
{
    while (n->captures) {
        struct far_link_capture *c = n->captures;

        n->captures = c->next;
        far_capture_end(&c->file);
        free(c);
    }
}
