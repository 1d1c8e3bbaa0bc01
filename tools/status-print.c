// SPDX-License-Identifier: GPL-2.0-or-later
//
// The merged status as a person reads it: platforms, guests with their
// devices, latencies by stage, devices, daemons. Pure: JSON in, text out. An
// absent field prints as nothing, so that daemons may grow and shrink.

#include <string.h>
#include "tools/status.h"

struct screen {
    FILE *out;
    bool colour;
};

enum tint { PLAIN, BOLD, GREEN, YELLOW, RED, DIM };

static const char *const tints[] = { "",         "\033[1m",  "\033[32m",
                                     "\033[33m", "\033[31m", "\033[2m" };

static size_t columns(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Text, then blanks up to width; one blank at least if width is not 0. */
static void put(const struct screen *s, enum tint tint, const char *text,
                size_t width)
{
    size_t n = columns(text);

    if (s->colour && tint != PLAIN)
        fprintf(s->out, "%s%s\033[0m", tints[tint], text);
    else
        fputs(text, s->out);
    if (width)
        fprintf(s->out, "%*s", n < width ? (int)(width - n) : 1, "");
}

static void put_right(const struct screen *s, const char *text, size_t width)
{
    size_t n = columns(text);

    fprintf(s->out, "%*s%s", n < width ? (int)(width - n) : 1, "", text);
}

static void heading(const struct screen *s, const char *text)
{
    put(s, BOLD, text, 0);
    fputc('\n', s->out);
}

char *far_duration_text(char *out, size_t out_bytes, uint64_t ns)
{
    double v = (double)ns;

    if (ns < 1000)
        snprintf(out, out_bytes, "%u ns", (unsigned)ns);
    else if (v < 99.95e3)
        snprintf(out, out_bytes, "%.1f µs", v / 1e3);
    else if (v < 999.5e3)
        snprintf(out, out_bytes, "%.0f µs", v / 1e3);
    else if (v < 999.5e6)
        snprintf(out, out_bytes, "%.2f ms", v / 1e6);
    else
        snprintf(out, out_bytes, "%.2f s", v / 1e9);
    return out;
}

static enum tint tint_of(const char *state)
{
    static const char *const good[] = { "connected", "ready", "up", "this" };
    static const char *const bad[] = { "down", "gone", "refused", "error",
                                       "failed" };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!strcmp(state, good[i]))
            return GREEN;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (!strcmp(state, bad[i]))
            return RED;
    return YELLOW;
}

static void reason_line(const struct screen *s, const json_t *object,
                        const char *indent)
{
    const char *reason = far_json_text(object, "reason");

    if (!*reason)
        return;
    fputs(indent, s->out);
    put(s, YELLOW, reason, 0);
    fputc('\n', s->out);
}

static const json_t *link_to(const json_t *status, const char *platform)
{
    size_t i;
    json_t *link;

    json_array_foreach (json_object_get(status, "links"), i, link)
        if (!strcmp(far_json_text(link, "platform"), platform))
            return link;
    return NULL;
}

static unsigned lanes_up(const json_t *link)
{
    unsigned n = 0;
    size_t i;
    json_t *lane;

    json_array_foreach (json_object_get(link, "lanes"), i, lane)
        n += !strcmp(far_json_text(lane, "state"), "up");
    return n;
}

static void print_platforms(const struct screen *s, const json_t *status)
{
    size_t i, j;
    json_t *p, *role;

    heading(s, "Platforms");
    json_array_foreach (json_object_get(status, "platforms"), i, p) {
        const char *name = far_json_text(p, "name");
        const char *state = far_json_text(p, "state");
        const json_t *link = link_to(status, name);
        const json_t *rtt = json_object_get(link, "rtt");
        char roles[64] = "";

        json_array_foreach (json_object_get(p, "roles"), j, role) {
            const char *text = json_string_value(role);
            size_t used = strlen(roles);

            if (text && !strstr(roles, text))
                snprintf(roles + used, sizeof(roles) - used, "%s%s",
                         used ? "+" : "", text);
        }
        fputs("  ", s->out);
        put(s, PLAIN, name, 18);
        put(s, PLAIN, !strcmp(roles, "this") ? "this platform" : roles,
            link ? 15 : 0);
        if (link) {
            put(s, tint_of(state), state, 12);
            put(s, PLAIN, far_json_text(p, "address"), 0);
            if (!strncmp(far_json_text(link, "tls"), "NONE", 4)) {
                fputs("  ", s->out);
                put(s, RED, "CLEAR TEXT", 0);
            }
            if (json_array_size(json_object_get(link, "lanes")) > 1)
                fprintf(s->out, "  %u of %zu lanes", lanes_up(link),
                        json_array_size(json_object_get(link, "lanes")));
            if (far_json_number(rtt, "count")) {
                char text[32];

                fprintf(s->out, "  round trip %s",
                        far_duration_text(
                            text, sizeof(text),
                            (uint64_t)far_json_number(rtt, "p50_ns")));
            }
        }
        fputc('\n', s->out);
        reason_line(s, p, "      ");
        if (*far_json_text(link, "fingerprint")) {
            fprintf(s->out, "      %s ", far_json_text(link, "proof"));
            put(s, DIM, far_json_text(link, "fingerprint"), 0);
            fputc('\n', s->out);
        }
    }
}

static void print_term(const struct screen *s, const json_t *cert, bool own)
{
    int64_t days = far_json_number(cert, "days_left");
    char text[160];

    if (!json_is_object(cert) || days >= 30)
        return;
    snprintf(text, sizeof(text),
             "%s certificate (%s) %s on %s: farside trust "
             "renew%s",
             own ? "our" : "the", far_json_text(cert, "platform"),
             days < 0 ? "has expired" : "expires", far_json_text(cert, "until"),
             own ? "" : " there");
    fputs("  ", s->out);
    put(s, YELLOW, text, 0);
    fputc('\n', s->out);
}

/* Only what somebody has to do something about. */
static void print_trust(const struct screen *s, const json_t *status)
{
    const json_t *trust =
        json_object_get(json_object_get(status, "netproxy"), "trust");
    size_t i;
    json_t *peer;

    reason_line(s, trust, "  ");
    print_term(s, json_object_get(trust, "own"), true);
    json_array_foreach (json_object_get(trust, "peers"), i, peer)
        print_term(s, peer, false);
}

/* "events 12, stale 3": what is not 0, wrapped. */
static void print_counters(const struct screen *s, const json_t *counters,
                           const char *indent)
{
    const char *name;
    json_t *value;
    size_t column = 0;

    json_object_foreach ((json_t *)(uintptr_t)counters, name, value) {
        char text[96];
        size_t n;

        if (!json_is_integer(value) || !json_integer_value(value))
            continue;
        n = (size_t)snprintf(text, sizeof(text), "%s %lld", name,
                             (long long)json_integer_value(value));
        for (char *c = text; *c; c++)
            if (*c == '_')
                *c = ' ';
        if (!column || column + 2 + n > 79) {
            fprintf(s->out, "%s%s", column ? ",\n" : "", indent);
            column = strlen(indent);
        } else {
            fputs(", ", s->out);
            column += 2;
        }
        put(s, DIM, text, 0);
        column += n;
    }
    if (column)
        fputc('\n', s->out);
}

/* Who raises the vectors of an interrupt controller. */
static void print_sources(const struct screen *s, const json_t *sources)
{
    const json_t *one;
    size_t i;

    json_array_foreach ((json_t *)(uintptr_t)sources, i, one) {
        long long first = (long long)far_json_number(one, "vector");
        const char *reason = far_json_text(one, "reason");

        fprintf(s->out, "        vectors %lld-%lld: %s %s%s%s\n", first,
                first + (long long)far_json_number(one, "vectors") - 1,
                far_json_text(one, "class"), far_json_text(one, "address"),
                *reason ? ": " : "", reason);
    }
}

static void print_guests(const struct screen *s, const json_t *status)
{
    const json_t *guests = json_object_get(status, "guests");
    size_t i, j;
    json_t *guest, *device;

    if (!json_array_size(guests))
        return;
    fputc('\n', s->out);
    heading(s, "Guests");
    json_array_foreach (guests, i, guest) {
        const char *name = far_json_text(guest, "name");

        fprintf(s->out, "  %s (domain %lld)\n",
                *name ? name : far_json_text(guest, "uuid"),
                (long long)far_json_number(guest, "domid"));
        json_array_foreach (json_object_get(guest, "devices"), j, device) {
            const char *state = far_json_text(device, "state");
            char what[48];

            snprintf(what, sizeof(what), "%s %lld",
                     far_json_text(device, "class"),
                     (long long)far_json_number(device, "devid"));
            fputs("    ", s->out);
            put(s, PLAIN, what, 10);
            put(s, PLAIN, far_json_text(device, "address"), 30);
            put(s, *far_json_text(device, "reason") ? YELLOW : tint_of(state),
                state, 0);
            fputc('\n', s->out);
            reason_line(s, device, "        ");
            print_sources(s, json_object_get(device, "sources"));
            if (*far_json_text(device, "stream"))
                fprintf(s->out, "        stream: %s\n",
                        far_json_text(device, "stream"));
            print_counters(s, json_object_get(device, "counters"), "        ");
        }
        if (json_object_get(guest, "notices")) {
            fputs("    interrupts of devices that it did not attach:\n",
                  s->out);
            print_counters(s, json_object_get(guest, "notices"), "        ");
        }
    }
}

/* Who owns what has an owner. */
static void print_leases(const struct screen *s, const json_t *directory)
{
    size_t i;
    json_t *lease;

    json_array_foreach (json_object_get(directory, "leases"), i, lease) {
        long long left_us = (long long)far_json_number(lease, "left_us"),
                  waits_us = (long long)far_json_number(lease, "waits_us");
        const char *holder = far_json_text(lease, "holder");

        fputs("    ", s->out);
        put(s, PLAIN, far_json_text(lease, "name"), 28);
        if (left_us)
            fprintf(s->out, "ours, %.1f s left\n", (double)left_us / 1e6);
        else if (waits_us)
            fprintf(s->out, "ours in %.1f s: its former owner is waited for\n",
                    (double)waits_us / 1e6);
        else
            fprintf(s->out, "%s\n", *holder ? holder : "nobody's");
    }
}

static void print_directory(const struct screen *s, const json_t *status)
{
    const json_t *directory =
        json_object_get(json_object_get(status, "netproxy"), "directory");

    if (!json_is_object(directory))
        return;
    fputc('\n', s->out);
    heading(s, "Directory");
    fprintf(s->out, "  %s %s, %zu names\n", far_json_text(directory, "kind"),
            far_json_text(directory, "at"),
            json_object_size(json_object_get(directory, "names")));
    reason_line(s, directory, "    ");
    print_leases(s, directory);
}

/* Devices that more than one server has: which one serves. */
static void print_standbys(const struct screen *s, const json_t *status)
{
    const json_t *standbys =
        json_object_get(json_object_get(status, "netproxy"), "standbys");
    size_t i, j;
    json_t *standby, *place;

    if (!json_array_size(standbys))
        return;
    fputc('\n', s->out);
    heading(s, "Devices with a standby");
    json_array_foreach (standbys, i, standby) {
        const char *serves = far_json_text(standby, "serves");
        char what[160];

        snprintf(what, sizeof(what), "%s %s", far_json_text(standby, "guest"),
                 far_json_text(standby, "device"));
        fputs("  ", s->out);
        put(s, PLAIN, what, 30);
        put(s, *serves ? GREEN : YELLOW, *serves ? serves : "nobody serves it",
            0);
        fprintf(s->out, "  (%lld switches)\n",
                (long long)far_json_number(standby, "switches"));
        json_array_foreach (json_object_get(standby, "places"), j, place)
            reason_line(s, place, "      ");
    }
}

/* What this platform passes on between others. */
/* What waits in the relay: one of the two is slow. */
static void print_waiting(const struct screen *s, const json_t *route)
{
    const int64_t client = far_json_number(route, "waiting_bytes"),
                  owner = far_json_number(route, "owner_waiting_bytes");

    if (client)
        fprintf(s->out, ", %lld KiB wait for %s",
                (long long)(client + 1023) / 1024,
                far_json_text(route, "from"));
    if (owner)
        fprintf(s->out, ", %lld KiB wait for the owner",
                (long long)(owner + 1023) / 1024);
}

static void print_routes(const struct screen *s, const json_t *status)
{
    const json_t *routes =
        json_object_get(json_object_get(status, "netproxy"), "routes");
    size_t i;
    json_t *route;

    if (!json_array_size(routes))
        return;
    fputc('\n', s->out);
    heading(s, "Passed on");
    json_array_foreach (routes, i, route) {
        const char *state = far_json_text(route, "state");
        char who[160];

        snprintf(who, sizeof(who), "%.63s of %.63s",
                 far_json_text(route, "guest"), far_json_text(route, "origin"));
        fputs("  ", s->out);
        put(s, PLAIN, who, 30);
        put(s, PLAIN, far_json_text(route, "to"), 30);
        put(s, tint_of(state), state, 0);
        print_waiting(s, route);
        fputc('\n', s->out);
        reason_line(s, route, "    ");
    }
}

/* What devices of this platform sent to guests that did not attach them. */
static void print_notices(const struct screen *s, const json_t *status)
{
    const json_t *sent = json_object_get(
        json_object_get(json_object_get(status, "netproxy"), "notices"),
        "sent");
    size_t i;
    json_t *one;

    if (!json_array_size(sent))
        return;
    fputc('\n', s->out);
    heading(s, "Interrupts to guests elsewhere");
    json_array_foreach (sent, i, one) {
        const char *relay = far_json_text(one, "by_way_of");

        fprintf(s->out, "  %s%s%s\n", far_json_text(one, "platform"),
                *relay ? " by way of " : "", relay);
        reason_line(s, one, "    ");
        print_counters(s, one, "    ");
    }
}

/* Stages in the order in which an event passes them, then those of an op
 * (core/times.h). */
static const struct {
    const char *key, *text;
} stages[] = {
    { "queue", "device to network" },
    { "raised", "device to network" },
    { "wire", "network, one way" },
    { "deliver", "through the netproxy" },
    { "ring", "netproxy to backend" },
    { "inject", "backend to guest's ring" },
    { "guest", "guest takes it" },
    { "age", "in all, to guest's ring" },
    { "op_ring", "op: guest's ring" },
    { "op_wait", "op: in the backend" },
    { "op_local", "op: backend to netproxy" },
    { "op_queue", "op: in the netproxy" },
    { "op_wire", "op: network, one way" },
    { "op_server", "op: server, to device" },
    { "op_device", "op: device" },
    { "op_return", "op: network, back" },
    { "op_home", "op: netproxy to backend" },
    { "op_inject", "op: to guest's ring" },
    { "op_total", "op: in all" },
};

#define STAGES (sizeof(stages) / sizeof(stages[0]))

static void print_stage(const struct screen *s, const char *what,
                        const char *stage, const json_t *hist)
{
    static const char *const keys[] = { "p50_ns", "p99_ns", "max_ns" };
    char text[32];

    if (columns(what) > 20) {
        fprintf(s->out, "  %s\n", what);
        what = "";
    }
    fputs("  ", s->out);
    put(s, PLAIN, what, 21);
    put(s, PLAIN, stage, 24);
    snprintf(text, sizeof(text), "%lld",
             (long long)far_json_number(hist, "count"));
    put_right(s, text, 6);
    for (size_t k = 0; k < 3; k++)
        put_right(s,
                  far_duration_text(text, sizeof(text),
                                    (uint64_t)far_json_number(hist, keys[k])),
                  9);
    fputc('\n', s->out);
}

static bool stage_is_known(const char *key)
{
    for (size_t i = 0; i < STAGES; i++)
        if (!strcmp(stages[i].key, key))
            return true;
    return false;
}

static void print_latency_of(const struct screen *s, const char *what,
                             const json_t *latency, bool *headed)
{
    const char *key;
    json_t *hist;
    bool named = false;

    for (size_t i = 0; i < STAGES + json_object_size(latency); i++) {
        const char *text;

        if (i < STAGES) {
            hist = json_object_get(latency, stages[i].key);
            text = stages[i].text;
        } else {
            /* A stage that a newer daemon knows: by its own name. */
            size_t n = 0;

            hist = NULL;
            text = NULL;
            json_object_foreach ((json_t *)(uintptr_t)latency, key, hist) {
                if (n++ == i - STAGES) {
                    text = stage_is_known(key) ? NULL : key;
                    break;
                }
            }
        }
        if (!text || !far_json_number(hist, "count"))
            continue;
        if (!*headed) {
            fputc('\n', s->out);
            put(s, BOLD, "Latency", 46);
            put_right(s, "count", 7);
            put_right(s, "median", 9);
            put_right(s, "99 %", 9);
            put_right(s, "worst", 9);
            fputc('\n', s->out);
            *headed = true;
        }
        print_stage(s, named ? "" : what, text, hist);
        named = true;
    }
}

static void print_latencies(const struct screen *s, const json_t *status)
{
    bool headed = false;
    size_t i, j;
    json_t *guest, *device, *session;

    json_array_foreach (json_object_get(status, "guests"), i, guest) {
        json_array_foreach (json_object_get(guest, "devices"), j, device) {
            char what[160];

            snprintf(what, sizeof(what), "%s %s", far_json_text(guest, "name"),
                     far_json_text(device, "address"));
            print_latency_of(s, what, json_object_get(device, "latency"),
                             &headed);
        }
    }
    json_array_foreach (json_object_get(status, "sessions"), i, session) {
        char what[160];

        snprintf(what, sizeof(what), "%s for %s",
                 far_json_text(session, "device"),
                 far_json_text(session, "platform"));
        print_latency_of(s, what, json_object_get(session, "latency"), &headed);
    }
}

/* Of an outside device. */
static void print_program(const struct screen *s, const json_t *program)
{
    if (!json_is_object(program))
        return;
    fprintf(s->out, "      program %s", far_json_text(program, "state"));
    if (far_json_number(program, "pid"))
        fprintf(s->out, ", pid %lld",
                (long long)far_json_number(program, "pid"));
    if (far_json_number(program, "starts"))
        fprintf(s->out, ", started %lld times",
                (long long)far_json_number(program, "starts"));
    if (far_json_number(program, "silences"))
        fprintf(s->out, ", answered nothing %lld times",
                (long long)far_json_number(program, "silences"));
    fputc('\n', s->out);
}

static void print_devices(const struct screen *s, const json_t *status)
{
    const json_t *devices = json_object_get(status, "devices");
    size_t i;
    json_t *device;

    if (!json_array_size(devices))
        return;
    fputc('\n', s->out);
    heading(s, "Devices of this platform");
    json_array_foreach (devices, i, device) {
        const char *state = far_json_text(device, "state");
        char what[64];

        fputs("  ", s->out);
        put(s, PLAIN, far_json_text(device, "name"), 18);
        snprintf(what, sizeof(what), "%s %s", far_json_text(device, "type"),
                 far_json_text(device, "class"));
        put(s, PLAIN, what, 18);
        put(s, tint_of(state), state, 9);
        fprintf(s->out, "%lld user%s%s\n",
                (long long)far_json_number(device, "users"),
                far_json_number(device, "users") == 1 ? "" : "s",
                json_is_true(json_object_get(device, "exported")) ? ", exported"
                                                                  : "");
        print_program(s, json_object_get(device, "program"));
        reason_line(s, device, "      ");
    }
}

/* Who may be read over the shoulder should know. */
static void print_captures(const struct screen *s, const json_t *daemon)
{
    size_t i;
    json_t *capture;

    json_array_foreach (json_object_get(daemon, "captures"), i, capture) {
        char text[128];

        if (!json_is_true(json_object_get(capture, "running")))
            continue;
        snprintf(text, sizeof(text),
                 "      the link with %s is being captured: %lld frames",
                 far_json_text(capture, "platform"),
                 (long long)far_json_number(capture, "frames"));
        put(s, YELLOW, text, 0);
        fputc('\n', s->out);
    }
}

static void print_daemon(const struct screen *s, const json_t *status,
                         const char *name)
{
    const json_t *daemon = json_object_get(status, name);
    const json_t *sandbox = json_object_get(daemon, "sandbox");
    const json_t *spin = json_object_get(daemon, "spin");
    long long spinning = far_json_number(spin, "connections");
    char program[32];

    snprintf(program, sizeof(program), "farside-%s", name);
    fputs("  ", s->out);
    put(s, PLAIN, program, 18);
    if (!json_is_true(json_object_get(daemon, "running"))) {
        put(s, RED, far_json_text(daemon, "error"), 0);
        fputc('\n', s->out);
        return;
    }
    fprintf(s->out, "pid %lld", (long long)far_json_number(daemon, "pid"));
    if (sandbox)
        fputs(json_is_true(sandbox) ? ", sandboxed" : ", NOT sandboxed",
              s->out);
    if (json_is_string(json_object_get(daemon, "netproxy")))
        fprintf(s->out, ", netproxy: %s", far_json_text(daemon, "netproxy"));
    if (spinning)
        fprintf(s->out, ", spins for %lld connection%s", spinning,
                spinning == 1 ? "" : "s");
    if (json_is_false(json_object_get(spin, "allowed")))
        fputs(", never spins", s->out);
    fputc('\n', s->out);
    print_captures(s, daemon);
}

void far_status_print(FILE *out, const json_t *status, bool colour)
{
    struct screen s = { .out = out, .colour = colour };

    print_platforms(&s, status);
    print_trust(&s, status);
    print_guests(&s, status);
    print_latencies(&s, status);
    print_devices(&s, status);
    print_notices(&s, status);
    print_directory(&s, status);
    print_standbys(&s, status);
    print_routes(&s, status);
    fputc('\n', out);
    heading(&s, "Daemons");
    print_daemon(&s, status, "backend");
    print_daemon(&s, status, "netproxy");
}
