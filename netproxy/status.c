/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What netproxy.sock answers: status, send, reload, link stop, start, rekey.
 * Nothing of the data path.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/intc.h"
#include "core/status.h"
#include "core/uuid.h"
#include "devices/feed-json.h"
#include "devices/outside.h"
#include "devices/screen.h"
#include "netproxy/netproxy.h"
#include "netproxy/remote.h"

#define EVENTS_MAX 1024

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? json_string(text) : json_null();
}

static json_t *counters(const struct far_traffic *t, uint64_t reconnects)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I}",
        "frames_in", (json_int_t)t->frames_in, "frames_out",
        (json_int_t)t->frames_out, "bytes_in", (json_int_t)t->bytes_in,
        "bytes_out", (json_int_t)t->bytes_out, "sends", (json_int_t)t->sends,
        "receives", (json_int_t)t->receives, "heartbeats",
        (json_int_t)t->heartbeats, "unknown_frames",
        (json_int_t)t->unknown_frames, "connects", (json_int_t)t->connects,
        "failures", (json_int_t)t->failures, "distrusted",
        (json_int_t)t->distrusted, "rekeys", (json_int_t)t->rekeys,
        "reconnects", (json_int_t)reconnects);
}

static void add_tls(json_t *link, const struct far_conn *conn)
{
    char text[64], print[FAR_FINGERPRINT_TEXT_BYTES];

    if (!conn || conn->state != FAR_CONN_UP)
        return;
    if (conn->clear)
        snprintf(text, sizeof(text), "NONE: clear text");
    else
        far_tls_describe(&conn->tls, text, sizeof(text));
    json_object_set_new(link, "tls", json_string(text));
    json_object_set_new(
        link, "proof",
        json_string(conn->tls.by_certificate ? "certificate" : "key"));
    json_object_set_new(
        link, "fingerprint",
        json_string(far_fingerprint_format(print, conn->tls.fingerprint)));
    json_object_set_new(link, "version", json_integer(conn->version));
    json_object_set_new(link, "least_rtt_ns",
                        json_integer((json_int_t)far_conn_rtt_ns(conn)));
}

static json_t *client_lanes(const struct far_link *l)
{
    json_t *all = json_array();
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        const struct far_lane *lane = &l->lanes[i];

        if (lane->wanted)
            json_array_append_new(
                all,
                json_pack(
                    "{s:i, s:s, s:b, s:o, s:o, s:I, s:o}", "lane", (int)i,
                    "state",
                    far_lane_is_up(lane) ? "up"
                    : lane->conn         ? "connecting"
                                         : "down",
                    "control", lane->conn != NULL && lane->conn == l->control,
                    "address", text_or_null(lane->address), "reason",
                    text_or_null(lane->reason), "moved_ops",
                    (json_int_t)lane->moved, "counters",
                    counters(&lane->traffic,
                             lane->reconnects ? lane->reconnects - 1 : 0)));
    }
    return all;
}

static json_t *server_lanes(const struct far_peer *p)
{
    const struct far_conn *control = far_peer_control(p);
    json_t *all = json_array();
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        if (p->lanes[i])
            json_array_append_new(
                all, json_pack("{s:i, s:s, s:b, s:s}", "lane", (int)i, "state",
                               "up", "control", p->lanes[i] == control,
                               "address", p->lanes[i]->address));
    }
    return all;
}

static json_t *links(const struct far_netproxy *n)
{
    static const char *const states[] = {
        [FAR_LINK_DOWN] = "down",
        [FAR_LINK_CONNECTING] = "connecting",
        [FAR_LINK_UP] = "up",
        [FAR_LINK_STOPPED] = "stopped",
    };
    json_t *all = json_array(), *one;
    const struct far_link *l;
    const struct far_peer *p;
    struct far_traffic sum;

    for (l = n->links; l; l = l->next) {
        far_link_traffic(l, &sum);
        one = json_pack(
            "{s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:o}", "platform",
            l->name, "role", "client", "state", states[l->state], "reason",
            text_or_null(l->reason), "address",
            text_or_null(l->control ? l->control->address
                                    : l->lanes[0].address),
            "since_us", (json_int_t)l->since_us, "rtt", far_hist_json(&sum.rtt),
            "counters", counters(&sum, l->reconnects ? l->reconnects - 1 : 0),
            "lanes", client_lanes(l));
        json_object_set_new(one, "announced", far_offers_json(&l->offers));
        json_object_set_new(one, "announcements",
                            json_pack("{s:I, s:I, s:i}", "heard",
                                      (json_int_t)l->offers.heard, "not_kept",
                                      (json_int_t)l->offers.not_kept, "kept",
                                      (int)l->offers.count));
        add_tls(one, l->control);
        json_array_append_new(all, one);
    }
    for (p = n->server.peers; p; p = p->next) {
        one = json_pack(
            "{s:s, s:s, s:s, s:o, s:o, s:I, s:o, s:o, s:I, s:o}", "platform",
            p->platform, "role", "server", "state",
            far_peer_control(p) ? "up" : "down", "reason",
            text_or_null(p->reason), "address", text_or_null(p->address),
            "since_us", (json_int_t)p->since_us, "rtt",
            far_hist_json(&p->traffic.rtt), "counters",
            counters(&p->traffic, p->reconnects ? p->reconnects - 1 : 0),
            "stray_ops", (json_int_t)p->stray_ops, "lanes", server_lanes(p));
        add_tls(one, far_peer_control(p));
        json_array_append_new(all, one);
    }
    return all;
}

static json_t *listeners(const struct far_netproxy *n)
{
    json_t *all = json_array();
    const struct far_listener *l;

    for (l = n->server.listeners; l; l = l->next)
        json_array_append_new(
            all, json_pack("{s:s, s:i, s:b, s:s, s:o}", "address", l->text,
                           "port", (int)l->port, "clear_text", l->clear,
                           "state", l->fd >= 0 ? "up" : "down", "reason",
                           text_or_null(l->reason[0] ? l->reason
                                                     : n->server.keys_reason)));
    return all;
}

static json_t *devices(const struct far_netproxy *n)
{
    json_t *all = json_array();
    const struct far_device *d;

    for (d = n->devices.first; d; d = d->next)
        json_array_append_new(
            all,
            json_pack("{s:s, s:s, s:s, s:s, s:o, s:i, s:b, s:o, s:o}", "name",
                      d->name, "type", d->type->name, "class",
                      d->class ? far_class_name(d->class) : "any", "state",
                      d->state == FAR_DEVICE_READY ? "ready" : "gone", "reason",
                      text_or_null(d->reason), "users", (int)d->users,
                      "exported", far_device_is_exported(n->conf, d->name),
                      "program", far_outside_json(d), "can",
                      far_props_json(d->class, d->props)));
    return all;
}

static const char *guest_text(const struct far_local_who *who,
                              char room[FAR_UUID_TEXT_BYTES])
{
    return who->guest_name[0] ? who->guest_name
                              : far_uuid_format(room, who->guest_uuid);
}

static json_t *sessions(const struct far_netproxy *n)
{
    json_t *all = json_array();
    const struct far_session *s;
    char room[FAR_UUID_TEXT_BYTES];

    for (s = n->controller.sessions; s; s = s->next_session) {
        json_t *one = json_pack(
            "{s:s, s:s, s:i, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, "
            "s:I, s:I, s:{s:o}}",
            "platform", s->platform, "guest", guest_text(&s->who, room),
            "devid", (int)s->who.guest_devid, "device", s->device, "asked",
            s->who.device, "state",
            s->activated ? "active"
            : s->user    ? "prepared"
                         : "waiting for its platform",
            "connected", s->user != NULL, "epoch", (json_int_t)s->epoch,
            "incarnation", (json_int_t)s->incarnation, "sent",
            (json_int_t)s->sent, "acked", (json_int_t)s->acked, "kept",
            (json_int_t)far_session_kept(s), "lost", (json_int_t)s->lost_kept,
            "repeated_ops", (json_int_t)s->repeated_ops, "latency", "queue",
            far_hist_json(&s->queue));

        json_object_set_new(
            one, "ops",
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "begun",
                      (json_int_t)s->ops, "again",
                      (json_int_t)s->executed_again, "older",
                      (json_int_t)s->old_ops, "unknown_outcome",
                      (json_int_t)s->unknown_outcomes, "stale",
                      (json_int_t)s->stale_ops, "stray_pieces",
                      (json_int_t)s->stray_pieces, "executing",
                      (int)s->executing, "waiting", (int)s->waiting));
        json_object_set_new(
            one, "overflowed",
            json_integer((json_int_t)far_layer_lost(s->layer.below)));
        json_object_set_new(
            one, "answered_by",
            far_layer_ops_json(s->layer.below, (enum far_class)s->who.class));
        json_object_set_new(one, "read_only", json_boolean(s->read_only));
        json_object_set_new(one, "refused_writes",
                            json_integer((json_int_t)s->refused_writes));
        far_stages_json(json_object_get(one, "latency"), &s->stages);
        json_array_append_new(all, one);
    }
    return all;
}

static json_t *remotes(const struct far_netproxy *n)
{
    json_t *all = json_array();
    const struct far_link *l;
    char room[FAR_UUID_TEXT_BYTES];
    uint32_t i;

    for (l = n->links; l; l = l->next) {
        for (i = 1; i < l->remotes_room; i++) {
            const struct far_remote *r = l->remotes[i];
            json_t *one;

            if (!r)
                continue;
            one = json_pack(
                "{s:s, s:i, s:s, s:s, s:o, s:s, s:o, s:I, s:I, s:I, s:I, "
                "s:I, s:I, s:I, s:{s:o, s:o}}",
                "guest", guest_text(&r->who, room), "devid",
                (int)r->who.guest_devid, "platform", l->name, "device",
                r->who.device, "chosen", text_or_null(r->chosen), "state",
                !r->parked    ? far_remote_state_name(r)
                : r->detached ? "detached, which its owner is still to be told"
                              : "waiting for its backend",
                "reason", text_or_null(far_remote_reason(r)), "epoch",
                (json_int_t)r->epoch, "incarnation", (json_int_t)r->incarnation,
                "received", (json_int_t)r->received, "acked",
                (json_int_t)r->acked, "repeats", (json_int_t)r->repeated,
                "lost", (json_int_t)r->lost, "invalid", (json_int_t)r->invalid,
                "latency", "wire", far_hist_json(&r->wire), "deliver",
                far_hist_json(&r->deliver));
            far_stages_json(json_object_get(one, "latency"),
                            far_times_stages(r->times));
            json_array_append_new(all, one);
        }
    }
    return all;
}

static json_t *distrusted(const struct far_server *server)
{
    json_t *all = json_object();
    enum far_distrust i;

    for (i = FAR_DISTRUST_NONE + 1; i < FAR_DISTRUSTS; i++)
        json_object_set_new(all, far_distrust_name(i),
                            json_integer((json_int_t)server->distrusted[i]));
    return all;
}

static json_t *status(const struct far_netproxy *n)
{
    return json_pack(
        "{s:s, s:s, s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:{s:I, "
        "s:I, s:i, s:o}, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o}",
        "program", "farside-netproxy", "platform", n->context.me.platform,
        "pid", (int)getpid(), "sandbox", n->sandboxed, "user",
        text_or_null(n->user), "loop", far_loop_json(n->context.loop), "listen",
        listeners(n), "devices", devices(n), "links", links(n), "sessions",
        sessions(n), "remotes", remotes(n), "local_clients",
        (int)far_local_server_clients(n->local), "arrivals", "turned_away",
        (json_int_t)n->server.turned_away, "rejected",
        (json_int_t)n->server.rejected, "waiting", (int)n->server.arrival_count,
        "distrusted", distrusted(&n->server), "trust",
        far_netproxy_trust_json(n), "problems", (int)n->problems, "captures",
        far_netproxy_captures(n), "notices", far_notify_status(&n->notifier),
        "routes", far_router_status(&n->router), "standbys",
        far_standbys_json(&n->standbys), "directory",
        far_directory_json(&n->directory), "spin",
        json_pack("{s:b, s:i, s:I}", "allowed", n->context.spin.allowed,
                  "connections", (int)n->context.spin.conns, "begun",
                  (json_int_t)n->context.spin.begun));
}

/* The interrupt that an event of a device is; false: it is none. */
static bool notice_of(const struct far_device *d,
                      const struct far_input_event *event, struct far_op *op)
{
    struct far_input_event e = *event;
    struct far_intc_args line = { .line = e.code };

    *op = (struct far_op){ .opcode = FAR_INPUT_EVENT };
    if (d && d->class == FAR_CLASS_INTC) {
        op->opcode = FAR_INTC_RAISE;
        memcpy(op->args, &line, sizeof(line));
        return e.type == FAR_INPUT_KEY && e.value;
    }
    if (!e.time_us)
        e.time_us = far_now_us();
    memcpy(op->args, &e, sizeof(e));
    return true;
}

static int notify_events(struct far_netproxy *n, const char *device,
                         const char *to, const struct far_input_event *events,
                         unsigned count, uint64_t *last,
                         struct far_error *error)
{
    struct far_device *d = far_device_find(&n->devices, device);
    struct far_address address;
    int rc;

    if (far_address_parse(&address, to, error) || !address.platform[0] ||
        address.standby[0])
        return far_error(error, -EINVAL,
                         "\"%s\" names no guest: PLATFORM/GUEST does, by its "
                         "name or uuid",
                         to);
    if (d && !d->type->feed)
        return far_error(error, -EOPNOTSUPP,
                         "%s is of type %s: only virtual devices can be sent "
                         "events",
                         device, d->type->name);
    for (unsigned i = 0; i < count; i++) {
        struct far_op op;

        if (!notice_of(d, &events[i], &op))
            continue;
        rc = far_controller_notify(&n->notifier, device, address.platform,
                                   address.device, &op, last, error);
        if (rc)
            return rc;
    }
    return 0;
}

/* "sequence": of the last one, for `notified`. */
static json_t *send_to(struct far_netproxy *n, const char *device,
                       const char *to, const struct far_input_event *events,
                       unsigned count)
{
    struct far_error error = { 0 };
    uint64_t last = 0;
    int rc = notify_events(n, device, to, events, count, &last, &error);

    if (rc)
        return far_control_error(rc, "%s", error.text);
    return json_pack("{s:b, s:I}", "ok", 1, "sequence", (json_int_t)last);
}

static json_t *notified(const struct far_netproxy *n, const json_t *request)
{
    const char *platform =
        json_string_value(json_object_get(request, "platform"));
    json_int_t sequence =
        json_integer_value(json_object_get(request, "sequence"));
    struct far_error error = { 0 };
    int rc;

    if (!platform || sequence <= 0)
        return far_control_error(-EINVAL,
                                 "notified: \"platform\" and \"sequence\" say "
                                 "of what");
    rc = far_notify_result(&n->notifier, platform, (uint64_t)sequence, &error);
    if (rc && rc != -EINPROGRESS)
        return far_control_error(rc, "%s", error.text);
    return json_pack("{s:b, s:b, s:o}", "ok", 1, "done", !rc, "reason",
                     text_or_null(rc ? error.text : ""));
}

static json_t *send_events(struct far_netproxy *n, const json_t *request)
{
    struct far_input_event *events;
    struct far_error error = { 0 };
    const char *device = json_string_value(json_object_get(request, "device"));
    const char *to = json_string_value(json_object_get(request, "to"));
    json_t *answer = NULL;
    int count;

    if (!device)
        return far_control_error(-EINVAL, "send: no \"device\"");
    events = calloc(EVENTS_MAX, sizeof(*events));
    if (!events)
        return far_control_error(-ENOMEM, "out of memory");
    count = far_feed_events_from_json(json_object_get(request, "events"),
                                      events, EVENTS_MAX, &error);
    if (count > 0 && to)
        answer = send_to(n, device, to, events, (unsigned)count);
    else if (count > 0)
        count = far_netproxy_feed(n, device, events, (unsigned)count, &error);
    free(events);
    if (answer)
        return answer;
    if (count < 0)
        return far_control_error(count, "%s", error.text);
    return json_pack("{s:b}", "ok", 1);
}

enum link_command { LINK_STOP, LINK_START, LINK_REKEY };

static json_t *link_command(struct far_netproxy *n, const json_t *request,
                            enum link_command command)
{
    const char *name = json_string_value(json_object_get(request, "platform"));
    struct far_link *l = name ? far_netproxy_link(n, name) : NULL;
    struct far_error error = { 0 };

    if (!l)
        return far_control_error(-ENOENT,
                                 "there is no link to \"%s\" ([server %s] in "
                                 "farside.conf)",
                                 name ? name : "", name ? name : "NAME");
    if (command == LINK_REKEY && far_link_rekey(l, &error))
        return far_control_error(error.code, "%s", error.text);
    if (command == LINK_STOP)
        far_link_stop(l);
    if (command == LINK_START)
        far_link_start(l);
    return json_pack("{s:b}", "ok", 1);
}

/* Of a guest of another platform, whose screen is here. */
static json_t *screenshot(struct far_netproxy *n, const json_t *request)
{
    const char *guest = json_string_value(json_object_get(request, "guest"));
    unsigned nth =
        (unsigned)json_integer_value(json_object_get(request, "connector"));
    int fd = far_control_take_fd(n->control);
    const uint8_t *pixels = NULL;
    uint32_t width = 0, height = 0;

    for (const struct far_device *d = n->devices.first; guest && d && !pixels;
         d = d->next)
        pixels = far_screen_pixels(d, guest, nth, &width, &height);
    return far_screen_answer(fd, guest, pixels, width, height);
}

json_t *far_netproxy_request(json_t *request, void *arg)
{
    struct far_netproxy *n = arg;
    const char *what = json_string_value(json_object_get(request, "request"));
    struct far_error error = { 0 };

    if (!what)
        return far_control_error(-EINVAL, "no \"request\"");
    if (!strcmp(what, "status"))
        return status(n);
    if (!strcmp(what, "send"))
        return send_events(n, request);
    if (!strcmp(what, "notified"))
        return notified(n, request);
    if (!strcmp(what, "screenshot"))
        return screenshot(n, request);
    if (!strcmp(what, "reload")) {
        if (far_netproxy_reload(n, &error))
            return far_control_error(error.code, "%s", error.text);
        return json_pack("{s:b}", "ok", 1);
    }
    if (!strcmp(what, "link stop"))
        return link_command(n, request, LINK_STOP);
    if (!strcmp(what, "link start"))
        return link_command(n, request, LINK_START);
    if (!strcmp(what, "link rekey"))
        return link_command(n, request, LINK_REKEY);
    if (!strcmp(what, "link capture"))
        return far_netproxy_capture(n, request);
    return far_control_error(-EOPNOTSUPP,
                             "farside-netproxy knows no request \"%s\"", what);
}
