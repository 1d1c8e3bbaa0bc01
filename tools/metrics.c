// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside metrics: the status as OpenMetrics. What the daemons count is turned
// into families by its key, so that a counter that they gain tomorrow is here,
// too. Serving is in metrics-listen.c.

#include <ctype.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "core/counters.h"
#include "tools/metrics.h"
#include "tools/status.h"

// A family's lines must stand together, and no sample may come twice: so they
// are gathered first. {FAMILY: {"type": …, "help": …, "samples": {LINE:
// VALUE}}}
struct families {
    json_t *all;
    bool failed; // memory is out
};

static json_t *family(struct families *f, const char *name, const char *type,
                      const char *help)
{
    json_t *family = json_object_get(f->all, name);

    // A counter that is called as something else is can't be told.
    if (family)
        return strcmp(far_json_text(family, "type"), type) != 0
                   ? NULL
                   : json_object_get(family, "samples");
    family =
        json_pack("{s:s, s:s, s:{}}", "type", type, "help", help, "samples");
    if (!family || json_object_set_new(f->all, name, family))
        f->failed = true;
    return json_object_get(family, "samples");
}

// "a_total{x="y"}" to its value; the first one counts, should two have the same
// labels.
static void __attribute__((format(printf, 5, 6)))
sample(struct families *f, json_t *samples, const char *name,
       const char *labels, const char *format, ...)
{
    char value[48], *line = NULL;
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (!samples)
        return;
    if (asprintf(&line, "%s%s%s%s", name, *labels ? "{" : "", labels,
                 *labels ? "}" : "") < 0) {
        f->failed = true;
        return;
    }
    if (!json_object_get(samples, line) &&
        json_object_set_new(samples, line, json_string(value)))
        f->failed = true;
    free(line);
}

// Labels. A value may have any text: a guest chooses its own name.

#define VALUE_BYTES  256
#define LABELS_BYTES 4096 // of all: there is room for seven

struct labels {
    char text[LABELS_BYTES];
};

static void add_label(struct labels *l, const char *name, const char *value)
{
    size_t used = strlen(l->text);
    char *at = l->text + used, *end = l->text + sizeof(l->text) - 2;
    size_t head = strlen(name) + 4;
    const char *last;

    if ((size_t)(end - at) < head)
        return;
    at += sprintf(at, "%s%s=\"", used ? "," : "", name);
    last = value + VALUE_BYTES;
    for (; *value && value < last && at + 2 < end; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            *at++ = '\\';
        *at++ = *value == '\n' ? 'n' : *value;
    }
    // Cut off in the middle of a character it would be no UTF-8.
    if (*value) {
        while (((unsigned char)at[-1] & 0xc0) == 0x80)
            at--;
        if ((unsigned char)at[-1] >= 0xc0)
            at--;
    }
    strcpy(at, "\"");
}

static void add_number(struct labels *l, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRId64, value);
    add_label(l, name, text);
}

// Kinds of families.

// A JSON key as a part of a name.
static void part_of_name(char out[64], const char *key)
{
    size_t i;

    for (i = 0; key[i] && i < 63; i++)
        out[i] = isalnum((unsigned char)key[i]) ? (char)key[i] : '_';
    out[i] = 0;
}

static void add_gauge(struct families *f, const char *name, const char *help,
                      const struct labels *labels, int64_t value)
{
    sample(f, family(f, name, "gauge", help), name, labels->text, "%" PRId64,
           value);
}

static void add_counter(struct families *f, const char *name, const char *help,
                        const struct labels *labels, int64_t value)
{
    char total[160];

    snprintf(total, sizeof(total), "%s_total", name);
    if (value >= 0)
        sample(f, family(f, name, "counter", help), total, labels->text,
               "%" PRId64, value);
}

// Each integer in an object is a counter: PREFIX_KEY_total.
static void add_counters(struct families *f, const char *prefix,
                         const char *what, const struct labels *labels,
                         const json_t *counters)
{
    const char *key;
    json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)counters, key, value) {
        char name[128], part[64], help[128];

        if (!json_is_integer(value))
            continue;
        part_of_name(part, key);
        snprintf(name, sizeof(name), "%s_%s", prefix, part);
        snprintf(help, sizeof(help), "%s of %s.", part, what);
        for (char *c = help; *c; c++)
            if (*c == '_')
                *c = ' ';
        *help = (char)toupper((unsigned char)*help);
        add_counter(f, name, help, labels, json_integer_value(value));
    }
}

// As far_hist_json() tells it, in seconds.
static void add_histogram(struct families *f, const char *name,
                          const char *help, const struct labels *labels,
                          const json_t *hist)
{
    const json_t *below = json_object_get(hist, "below");
    int64_t count = far_json_number(hist, "count"), before = 0;
    json_t *samples;
    char line[160];
    unsigned i;

    if (count <= 0 || json_array_size(below) != FAR_HIST_STEPS)
        return;
    samples = family(f, name, "histogram", help);
    for (i = 0; i < FAR_HIST_STEPS; i++) {
        int64_t n = json_integer_value(json_array_get(below, i));
        struct labels with = *labels;
        char le[32];

        if (n < before || n > count) // told while it changed
            n = n < before ? before : count;
        before = n;
        // Whole nanoseconds: below 4^(5 + i) is up to one less.
        snprintf(le, sizeof(le), "%.9g",
                 (double)(((uint64_t)1 << (2 * (5 + i))) - 1) / 1e9);
        add_label(&with, "le", le);
        snprintf(line, sizeof(line), "%s_bucket", name);
        sample(f, samples, line, with.text, "%" PRId64, n);
    }
    {
        struct labels with = *labels;

        add_label(&with, "le", "+Inf");
        sample(f, samples, line, with.text, "%" PRId64, count);
    }
    snprintf(line, sizeof(line), "%s_count", name);
    sample(f, samples, line, labels->text, "%" PRId64, count);
    snprintf(line, sizeof(line), "%s_sum", name);
    sample(f, samples, line, labels->text, "%.9f",
           (double)far_json_number(hist, "sum_ns") / 1e9);
}

static void add_latencies(struct families *f, const char *name,
                          const char *help, const struct labels *labels,
                          const json_t *latency)
{
    const char *stage;
    json_t *hist;

    json_object_foreach ((json_t *)(uintptr_t)latency, stage, hist) {
        struct labels with = *labels;

        add_label(&with, "stage", stage);
        add_histogram(f, name, help, &with, hist);
    }
}

// The parts of the status.

static void add_daemon(struct families *f, const json_t *status,
                       const char *name)
{
    const json_t *daemon = json_object_get(status, name);
    const json_t *loop = json_object_get(daemon, "loop");
    json_t *counted = json_deep_copy(loop);
    struct labels labels = { "" };

    add_label(&labels, "daemon", name);
    add_gauge(f, "farside_daemon_up", "Whether the daemon answers.", &labels,
              json_is_true(json_object_get(daemon, "running")));
    json_object_del(counted, "longest_turn_us");
    add_counters(f, "farside_loop", "the daemon's loop", &labels, counted);
    json_decref(counted);
    if (loop)
        sample(f,
               family(f, "farside_loop_longest_turn_seconds", "gauge",
                      "Longest turn of the daemon's loop."),
               "farside_loop_longest_turn_seconds", labels.text, "%.6f",
               (double)far_json_number(loop, "longest_turn_us") / 1e6);
}

static void add_links(struct families *f, const json_t *status)
{
    json_t *link;
    size_t i;

    json_array_foreach (json_object_get(status, "links"), i, link) {
        struct labels labels = { "" };

        add_label(&labels, "platform", far_json_text(link, "platform"));
        add_label(&labels, "role", far_json_text(link, "role"));
        add_gauge(f, "farside_link_up", "Whether the link is up.", &labels,
                  !strcmp(far_json_text(link, "state"), "up"));
        add_counters(f, "farside_link", "the link", &labels,
                     json_object_get(link, "counters"));
        add_histogram(f, "farside_link_round_trip_seconds",
                      "Round trips of heartbeats.", &labels,
                      json_object_get(link, "rtt"));
    }
}

static void add_guest_device(struct families *f, const json_t *guest,
                             const json_t *device)
{
    struct labels labels = { "" };

    add_label(&labels, "guest", far_json_text(guest, "name"));
    add_number(&labels, "domid", far_json_number(guest, "domid"));
    add_label(&labels, "class", far_json_text(device, "class"));
    add_number(&labels, "devid", far_json_number(device, "devid"));
    add_label(&labels, "address", far_json_text(device, "address"));
    add_gauge(f, "farside_guest_device_up",
              "Whether the guest's device is connected.", &labels,
              !strcmp(far_json_text(device, "state"), "connected"));
    add_counters(f, "farside_guest_device", "the guest's device", &labels,
                 json_object_get(device, "counters"));
    add_latencies(f, "farside_guest_device_stage_seconds",
                  "Time of sampled operations and interrupts in each stage.",
                  &labels, json_object_get(device, "latency"));
}

static void add_guests(struct families *f, const json_t *status)
{
    json_t *guest, *device;
    size_t i, j;

    json_array_foreach (json_object_get(status, "guests"), i, guest)
        json_array_foreach (json_object_get(guest, "devices"), j, device)
            add_guest_device(f, guest, device);
}

static void add_sessions(struct families *f, const json_t *status)
{
    static const char *const counters[] = { "sent", "lost", "overflowed",
                                            "repeated_ops", "ops" };
    json_t *session, *counted;
    size_t i, k;

    json_array_foreach (json_object_get(status, "sessions"), i, session) {
        struct labels labels = { "" };

        add_label(&labels, "device", far_json_text(session, "device"));
        add_label(&labels, "platform", far_json_text(session, "platform"));
        add_label(&labels, "guest", far_json_text(session, "guest"));
        add_number(&labels, "devid", far_json_number(session, "devid"));
        add_gauge(f, "farside_session_active",
                  "Whether the session's guest is there.", &labels,
                  !strcmp(far_json_text(session, "state"), "active"));
        add_gauge(f, "farside_session_kept",
                  "Interrupts that no guest has acknowledged yet.", &labels,
                  far_json_number(session, "kept"));
        counted = json_object();
        for (k = 0; k < sizeof(counters) / sizeof(counters[0]); k++)
            json_object_set(counted, counters[k],
                            json_object_get(session, counters[k]));
        add_counters(f, "farside_session", "the session", &labels, counted);
        json_decref(counted);
        add_latencies(f, "farside_session_stage_seconds",
                      "Time of sampled operations and interrupts in each "
                      "stage at their device's end.",
                      &labels, json_object_get(session, "latency"));
    }
}

static void add_devices(struct families *f, const json_t *status)
{
    json_t *device;
    size_t i;

    json_array_foreach (json_object_get(status, "devices"), i, device) {
        struct labels labels = { "" };

        add_label(&labels, "device", far_json_text(device, "name"));
        add_label(&labels, "type", far_json_text(device, "type"));
        add_label(&labels, "where", far_json_text(device, "where"));
        add_gauge(f, "farside_device_ready", "Whether the device is there.",
                  &labels, !strcmp(far_json_text(device, "state"), "ready"));
        add_gauge(f, "farside_device_users", "Users of the device.", &labels,
                  far_json_number(device, "users"));
    }
}

static void add_arrivals(struct families *f, const json_t *status)
{
    const json_t *arrivals =
        json_object_get(json_object_get(status, "netproxy"), "arrivals");
    json_t *counted = json_deep_copy(arrivals);
    struct labels none = { "" };

    if (!arrivals)
        return;
    json_object_del(counted, "waiting");
    add_counters(f, "farside_arrivals", "connections that nobody vouched for",
                 &none, counted);
    json_decref(counted);
    add_gauge(f, "farside_arrivals_waiting",
              "Connections that nobody vouches for yet.", &none,
              far_json_number(arrivals, "waiting"));
}

static void add_build(struct families *f, const json_t *status)
{
    struct labels labels = { "" };

    add_label(&labels, "version", far_json_text(status, "version"));
    add_label(&labels, "platform", far_json_text(status, "platform"));
    sample(f, family(f, "farside_build", "info", "Version of the program."),
           "farside_build_info", labels.text, "1");
}

static void print_families(FILE *out, const json_t *all)
{
    static const char unit[] = "_seconds";
    const char *name, *line;
    json_t *family, *value;

    json_object_foreach ((json_t *)(uintptr_t)all, name, family) {
        size_t n = strlen(name);

        fprintf(out, "# TYPE %s %s\n", name, far_json_text(family, "type"));
        if (n > sizeof(unit) - 1 && !strcmp(name + n - sizeof(unit) + 1, unit))
            fprintf(out, "# UNIT %s seconds\n", name);
        fprintf(out, "# HELP %s %s\n", name, far_json_text(family, "help"));
        json_object_foreach (json_object_get(family, "samples"), line, value)
            fprintf(out, "%s %s\n", line, json_string_value(value));
    }
    fputs("# EOF\n", out);
}

char *far_metrics_text(const json_t *status, size_t *bytes)
{
    struct families f = { .all = json_object() };
    char *text = NULL;
    FILE *out;

    add_build(&f, status);
    add_daemon(&f, status, "backend");
    add_daemon(&f, status, "netproxy");
    add_links(&f, status);
    add_arrivals(&f, status);
    add_guests(&f, status);
    add_sessions(&f, status);
    add_devices(&f, status);
    out = f.all && !f.failed ? open_memstream(&text, bytes) : NULL;
    if (out) {
        print_families(out, f.all);
        if (fclose(out)) {
            free(text);
            text = NULL;
        }
    }
    json_decref(f.all);
    return text;
}

static int print(struct far_tool *tool)
{
    unsigned reached;
    json_t *status = far_status_gather(tool, &reached);
    size_t bytes;
    char *text = status ? far_metrics_text(status, &bytes) : NULL;

    json_decref(status);
    if (!text)
        return far_fail("metrics", FAR_EXIT_FAILED, "out of memory");
    fwrite(text, 1, bytes, tool->out);
    free(text);
    return reached ? FAR_EXIT_OK : FAR_EXIT_NO_DAEMON;
}

int far_metrics_command(struct far_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {
        { "listen", required_argument, NULL, 'l' },
        { NULL, 0, NULL, 0 },
    };
    const char *address = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "+l:", options, NULL)) != -1) {
        if (option != 'l')
            return far_usage("metrics", "no such option");
        address = optarg;
    }
    if (optind != argc)
        return far_usage("metrics", "'%s' is not understood", argv[optind]);
    if (!address)
        return print(tool);
#if HAVE_LIBMICROHTTPD
    return far_metrics_listen(tool, address);
#else
    return far_fail("metrics", FAR_EXIT_FAILED,
                    "--listen: this program was built without libmicrohttpd; "
                    "farside metrics without it prints the same");
#endif
}
