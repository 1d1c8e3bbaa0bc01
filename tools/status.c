// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside status and top: asks both daemons of this platform and merges what
// they say. No other machine is asked: what is known of one is what our
// netproxy's link has heard. Printing is in status-print.c.

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "config.h"
#include "tools/status.h"

/* Puts a copy of from[key] into to, if it is there. */
static void carry(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    if (value)
        json_object_set_new(to, key, json_deep_copy(value));
}

static json_t *find_platform(json_t *platforms, const char *name)
{
    size_t i;
    json_t *p;

    json_array_foreach (platforms, i, p)
        if (!strcmp(far_json_text(p, "name"), name))
            return p;
    return NULL;
}

static void add_platform(json_t *platforms, const char *name, const char *role,
                         const json_t *link)
{
    json_t *p = find_platform(platforms, name);

    if (!*name)
        return;
    if (!p) {
        p = json_pack("{s:s, s:[]}", "name", name, "roles");
        if (!p || json_array_append_new(platforms, p))
            return;
    }
    json_array_append_new(json_object_get(p, "roles"), json_string(role));
    if (link) {
        carry(p, link, "state");
        carry(p, link, "reason");
        carry(p, link, "address");
    } else {
        json_object_set_new(p, "state", json_string("up"));
    }
}

/* A device of a guest, and what the netproxy says of its far end. */
/* Is it one of those in PLATFORM+PLATFORM? */
static bool names_platform(const char *list, size_t bytes, const char *platform)
{
    const char *end = list + bytes;

    while (list < end) {
        const char *plus = memchr(list, '+', (size_t)(end - list));
        size_t n = (size_t)((plus ? plus : end) - list);

        if (strlen(platform) == n && !strncmp(platform, list, n))
            return true;
        list += n + 1;
    }
    return false;
}

static bool remote_matches(const json_t *remote, const json_t *guest,
                           const char *address)
{
    const char *name = far_json_text(remote, "guest");
    const char *platform = far_json_text(remote, "platform");
    const char *device = far_json_text(remote, "device");
    const char *slash = strchr(address, '/');
    size_t n = slash ? (size_t)(slash - address) : 0;

    if (strcmp(name, far_json_text(guest, "name")) &&
        strcmp(name, far_json_text(guest, "uuid")))
        return false;
    if (!slash)
        return !*platform && !strcmp(device, address);
    return names_platform(address, n, platform) && !strcmp(device, slash + 1);
}

static void merge_remote(json_t *device, const json_t *remote)
{
    json_t *latency = json_object_get(device, "latency");
    json_t *theirs = json_object_get(remote, "latency");
    json_t *far;
    const char *stage;
    json_t *hist;

    if (!latency) {
        latency = json_object();
        json_object_set_new(device, "latency", latency);
    }
    json_object_foreach (theirs, stage, hist)
        if (!json_object_get(latency, stage))
            json_object_set_new(latency, stage, json_deep_copy(hist));
    far = json_deep_copy(remote);
    if (far) {
        json_object_del(far, "latency");
        json_object_del(far, "guest");
        json_object_set_new(device, "remote", far);
    }
    /* The far end's reason is nearer to the cause than the backend's. */
    if (*far_json_text(remote, "reason"))
        carry(device, remote, "reason");
}

/* Lists come in the order in which things were found; people look for numbers.
 * Takes array over. */
static json_t *by_number(json_t *array, const char *key)
{
    json_t *sorted = json_array();
    json_t *item;
    size_t i;

    json_array_foreach (array, i, item) {
        size_t at = json_array_size(sorted);

        while (at && far_json_number(json_array_get(sorted, at - 1), key) >
                         far_json_number(item, key))
            at--;
        json_array_insert(sorted, at, item);
    }
    json_decref(array);
    return sorted;
}

static void merge_guests(json_t *status, const json_t *backend,
                         const json_t *netproxy)
{
    json_t *guests = json_deep_copy(json_object_get(backend, "guests"));
    const json_t *remotes = json_object_get(netproxy, "remotes");
    size_t i, j, k;
    json_t *guest, *device, *remote;

    guests = by_number(guests, "domid");
    json_object_set_new(status, "guests", guests);
    json_array_foreach (guests, i, guest) {
        device = json_object_get(guest, "devices");
        if (json_is_array(device))
            json_object_set_new(guest, "devices",
                                by_number(json_incref(device), "devid"));
        json_array_foreach (json_object_get(guest, "devices"), j, device) {
            const char *address = far_json_text(device, "address");

            json_array_foreach (remotes, k, remote) {
                json_t *devid = json_object_get(remote, "devid");

                if (!remote_matches(remote, guest, address))
                    continue;
                if (devid && json_integer_value(devid) !=
                                 far_json_number(device, "devid"))
                    continue;
                merge_remote(device, remote);
                break;
            }
        }
    }
}

static void merge_devices(json_t *status, const json_t *answer,
                          const char *where)
{
    json_t *devices = json_object_get(status, "devices");
    size_t i;
    json_t *device;

    json_array_foreach (json_object_get(answer, "devices"), i, device) {
        json_t *copy = json_deep_copy(device);

        if (!copy)
            continue;
        json_object_set_new(copy, "where", json_string(where));
        json_array_append_new(devices, copy);
    }
}

/* What is the daemon's own: pid, loop, sandbox. */
static json_t *daemon_part(const json_t *answer, const char *error)
{
    static const char *const lists[] = { "guests",   "devices", "links",
                                         "sessions", "remotes", "program",
                                         "platform" };
    json_t *part;

    if (!answer)
        return json_pack("{s:b, s:s}", "running", 0, "error",
                         error ? error : "not asked");
    part = json_deep_copy(answer);
    for (size_t i = 0; part && i < sizeof(lists) / sizeof(lists[0]); i++)
        json_object_del(part, lists[i]);
    if (part)
        json_object_set_new(part, "running", json_true());
    return part;
}

json_t *far_status_merge(const json_t *backend, const char *backend_error,
                         const json_t *netproxy, const char *netproxy_error)
{
    json_t *status =
        json_pack("{s:s, s:s, s:[], s:[], s:[], s:[], s:[]}", "program",
                  "farside", "version", PACKAGE_VERSION, "platforms", "guests",
                  "devices", "links", "sessions");
    json_t *platforms = json_object_get(status, "platforms");
    const char *here = far_json_text(backend, "platform");
    size_t i;
    json_t *link;

    if (!status)
        return NULL;
    if (!*here)
        here = far_json_text(netproxy, "platform");
    json_object_set_new(status, "platform", json_string(here));
    add_platform(platforms, here, "this", NULL);
    json_array_foreach (json_object_get(netproxy, "links"), i, link) {
        const char *role = far_json_text(link, "role");

        /* A link's role is our end's; the platform at the other end has the
         * other one. */
        add_platform(platforms, far_json_text(link, "platform"),
                     !strcmp(role, "client") ? "server" : "client", link);
    }
    merge_guests(status, backend, netproxy);
    merge_devices(status, backend, "backend");
    merge_devices(status, netproxy, "netproxy");
    if (json_object_get(netproxy, "links"))
        carry(status, netproxy, "links");
    if (json_object_get(netproxy, "sessions"))
        carry(status, netproxy, "sessions");
    json_object_set_new(status, "backend", daemon_part(backend, backend_error));
    json_object_set_new(status, "netproxy",
                        daemon_part(netproxy, netproxy_error));
    return status;
}

json_t *far_status_gather(const struct far_tool *tool, unsigned *reached)
{
    struct far_error backend_error, netproxy_error;
    json_t *backend, *netproxy, *status;

    *reached = 0;
    if (!far_ask_simple(tool, "backend", "status", &backend, &backend_error))
        ++*reached;
    if (!far_ask_simple(tool, "netproxy", "status", &netproxy, &netproxy_error))
        ++*reached;
    status = far_status_merge(backend, backend_error.text, netproxy,
                              netproxy_error.text);
    json_decref(backend);
    json_decref(netproxy);
    return status;
}

static bool wants_colour(FILE *out)
{
    const char *no = getenv("NO_COLOR");

    return isatty(fileno(out)) && !(no && *no);
}

static int complain_if_none(const char *command, unsigned reached,
                            const json_t *status)
{
    if (reached)
        return FAR_EXIT_OK;
    far_fail(command, FAR_EXIT_NO_DAEMON, "%s",
             far_json_text(json_object_get(status, "backend"), "error"));
    return far_fail(
        command, FAR_EXIT_NO_DAEMON, "%s",
        far_json_text(json_object_get(status, "netproxy"), "error"));
}

int far_status_command(struct far_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { NULL, 0, NULL, 0 },
    };
    bool as_json = false;
    unsigned reached;
    json_t *status;
    int option, result;

    while ((option = getopt_long(argc, argv, "+j", options, NULL)) != -1) {
        if (option != 'j')
            return far_usage("status", "no such option");
        as_json = true;
    }
    if (optind != argc)
        return far_usage("status", "'%s' is not understood", argv[optind]);

    status = far_status_gather(tool, &reached);
    if (!status)
        return far_fail("status", FAR_EXIT_FAILED, "out of memory");
    result = complain_if_none("status", reached, status);
    if (as_json) {
        json_dumpf(status, tool->out, JSON_INDENT(2));
        fputc('\n', tool->out);
    } else if (reached) {
        far_status_print(tool->out, status, wants_colour(tool->out));
    }
    json_decref(status);
    return result;
}

int far_top_command(struct far_tool *tool, int argc, char **argv)
{
    unsigned long times = 0;
    double seconds = 1;
    int option;
    char *end;

    while ((option = getopt(argc, argv, "+d:n:")) != -1) {
        switch (option) {
        case 'd':
            seconds = strtod(optarg, &end);
            if (end == optarg || *end || !(seconds >= 0.1 && seconds <= 3600))
                return far_usage("top",
                                 "-d wants seconds from 0.1 to 3600, not '%s'",
                                 optarg);
            break;
        case 'n':
            times = strtoul(optarg, &end, 10);
            if (end == optarg || *end || !times)
                return far_usage("top", "-n wants a number from 1, not '%s'",
                                 optarg);
            break;
        default:
            return far_usage("top", "no such option");
        }
    }
    if (optind != argc)
        return far_usage("top", "'%s' is not understood", argv[optind]);

    for (unsigned long i = 0; !times || i < times; i++) {
        struct timespec pause = {
            .tv_sec = (time_t)seconds,
            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9),
        };
        unsigned reached;
        json_t *status;

        if (i)
            nanosleep(&pause, NULL);
        status = far_status_gather(tool, &reached);
        if (!status)
            return far_fail("top", FAR_EXIT_FAILED, "out of memory");
        if (isatty(fileno(tool->out)))
            fputs("\033[H\033[2J", tool->out);
        if (!reached && !i) {
            complain_if_none("top", reached, status);
            json_decref(status);
            return FAR_EXIT_NO_DAEMON;
        }
        far_status_print(tool->out, status, wants_colour(tool->out));
        fflush(tool->out);
        json_decref(status);
    }
    return FAR_EXIT_OK;
}
