/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the control socket is asked: status, send, reload. Attaching and
 * detaching go through libxl's own commands, and reach us as nodes. Nothing of
 * the data path.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backend/backend.h"
#include "backend/notify.h"
#include "backend/own.h"
#include "core/control.h"
#include "core/status.h"
#include "core/uuid.h"
#include "devices/feed-json.h"
#include "devices/outside.h"
#include "devices/screen.h"

#define EVENTS_MAX 4096u

static const char *state_word(const struct far_attachment *a)
{
    const struct far_handshake_view *v = &a->view;

    if (v->refused)
        return "refused";
    if (v->connected)
        return v->front == FAR_XB_CONNECTED ? "connected" : "connecting";
    if (!v->online)
        return "going";
    switch (v->back) {
    case FAR_XB_CLOSING:
    case FAR_XB_CLOSED:
        return "closed";
    default:
        return "waiting for the guest";
    }
}

struct guest_list {
    const struct far_guest *guest;
    json_t *devices;
};

static void add_device(struct far_attachment *a, void *arg)
{
    struct guest_list *list = arg;
    json_t *device;

    if (a->guest != list->guest)
        return;
    device = json_pack(
        "{s:s s:i s:s s:n s:s s:i s:i s:n s:b s:I s:I s:I s:I "
        "s:I}",
        "kind", a->kind, "devid", (int)a->devid, "class",
        far_class_name(a->type->class), "address", "state", state_word(a),
        "back", (int)a->view.back, "front", (int)a->view.front, "reason",
        "device_ready", (int)a->view.device_ready, "connects",
        (json_int_t)a->connects, "adoptions", (json_int_t)a->adoptions,
        "bounces", (json_int_t)a->bounces, "refusals", (json_int_t)a->refusals,
        "disconnects", (json_int_t)a->disconnects);
    if (!device)
        return;
    if (a->reason[0])
        json_object_set_new(device, "reason", json_string(a->reason));
    json_object_set_new(device, "interrupts",
                        json_pack("{s:I s:I s:I}", "raised",
                                  (json_int_t)a->line.raised, "injected",
                                  (json_int_t)a->line.injected, "delayed",
                                  (json_int_t)a->line.delayed));
    a->type->status(a, device);
    json_array_append_new(list->devices, device);
}

static json_t *guests_json(struct far_backend *backend)
{
    json_t *guests = json_array();

    for (const struct far_guest *g = backend->guests; g; g = g->next) {
        struct guest_list list = { .guest = g, .devices = json_array() };
        char uuid[FAR_UUID_TEXT_BYTES];
        json_t *one, *notices;

        far_hotplug_each(backend, add_device, &list);
        if (!json_array_size(list.devices)) {
            json_decref(list.devices);
            continue;
        }
        one = json_pack("{s:s s:s s:i s:i s:o}", "name", g->name, "uuid",
                        far_uuid_format(uuid, g->uuid), "domid", (int)g->domid,
                        "pages", (int)g->quota.pages, "devices", list.devices);
        notices = far_notify_json(g);
        if (one && notices)
            json_object_set_new(one, "notices", notices);
        json_array_append_new(guests, one);
    }
    return guests;
}

static json_t *devices_json(const struct far_backend *backend)
{
    json_t *devices = json_array();

    for (const struct far_device *d = backend->devices.first; d; d = d->next) {
        json_t *one =
            json_pack("{s:s s:s s:s s:s s:n s:i s:o}", "name", d->name, "type",
                      d->type->name, "class", far_class_name(d->class), "state",
                      d->state == FAR_DEVICE_READY ? "ready" : "gone", "reason",
                      "users", (int)d->users, "program", far_outside_json(d));

        if (one && d->reason[0])
            json_object_set_new(one, "reason", json_string(d->reason));
        json_array_append_new(devices, one);
    }
    return devices;
}

static json_t *status(struct far_backend *backend)
{
    return json_pack("{s:s s:s s:i s:o s:s s:o s:o}", "program",
                     "farside-backend", "platform", backend->platform, "pid",
                     (int)getpid(), "loop", far_loop_json(backend->loop),
                     "netproxy", far_local_client_reason(backend->client),
                     "guests", guests_json(backend), "devices",
                     devices_json(backend));
}

static json_t *send_events(struct far_backend *backend, const json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "device"));
    const json_t *words = json_object_get(request, "events");
    size_t room = json_array_size(words);
    struct far_error error = { 0 };
    struct far_input_event *events;
    struct far_device *device;
    unsigned count;
    int r;

    if (!name || !far_name_valid(name))
        return far_control_error(-EINVAL, "send: \"device\" must name one");
    if (room > EVENTS_MAX)
        return far_control_error(-E2BIG, "send: more than %u events at once",
                                 EVENTS_MAX);
    events = calloc(room + 1, sizeof(*events));
    if (!events)
        return far_control_error(-ENOMEM, "send: memory is out");
    r = far_feed_events_from_json(words, events, (unsigned)room, &error);
    if (r < 0) {
        free(events);
        return far_control_error(r, "%s", error.text);
    }
    count = (unsigned)r;
    r = 0;
    device = far_device_find(&backend->devices, name);
    if (far_device_is_exported(backend->conf, name)) {
        for (unsigned at = 0; !r && at < count; at += 64)
            r = far_local_client_feed(backend->client, name, events + at,
                                      count - at < 64 ? count - at : 64,
                                      &error);
    } else if (!device) {
        r = far_error(&error, -ENOENT,
                      "%s: there is no [device %s] in farside.conf", name,
                      name);
    } else if (!device->type->feed) {
        r = far_error(&error, -EOPNOTSUPP,
                      "%s is of type %s, which takes its events from "
                      "elsewhere; only a virtual device can be fed",
                      name, device->type->name);
    } else {
        r = device->type->feed(device, events, count, &error);
    }
    free(events);
    return r ? far_control_error(r, "%s", error.text)
             : json_pack("{s:b s:i}", "ok", 1, "events", (int)count);
}

/* Devices of our own kinds: libxl has no command for them. */
static json_t *attach(struct far_backend *backend, const json_t *request,
                      bool detach)
{
    const char *domain = json_string_value(json_object_get(request, "domain"));
    const char *class = json_string_value(json_object_get(request, "class"));
    const char *address =
        json_string_value(json_object_get(request, "address"));
    const json_t *devid = json_object_get(request, "devid");
    struct far_error error = { 0 };
    unsigned domid;
    int r;

    if (!domain || !class || (detach ? !json_is_integer(devid) : !address))
        return far_control_error(-EINVAL,
                                 "\"domain\", \"class\" and \"%s\" "
                                 "are needed",
                                 detach ? "devid" : "address");
    r = far_own_find_domain(backend, domain, &domid, &error);
    if (!r && detach)
        r = far_own_detach(backend, domid, far_class_from_name(class),
                           (unsigned)json_integer_value(devid), &error);
    else if (!r)
        r = far_own_attach(backend, domid, far_class_from_name(class), address,
                           &error);
    return r < 0 ? far_control_error(r, "%s", error.text)
                 : json_pack("{s:b s:i}", "ok", 1, "devid", r);
}

struct shot {
    const char *guest;
    unsigned connector; /* of all screens that the guest has */
    const uint8_t *pixels;
    uint32_t width, height;
};

static void find_screen(struct far_attachment *a, void *arg)
{
    struct shot *shot = arg;

    if (!shot->pixels && a->type->pixels &&
        !strcmp(a->guest->name, shot->guest))
        shot->pixels =
            a->type->pixels(a, shot->connector, &shot->width, &shot->height);
}

static json_t *screenshot(struct far_backend *backend, const json_t *request)
{
    struct shot shot = { .guest = json_string_value(
                             json_object_get(request, "guest")),
                         .connector = (unsigned)json_integer_value(
                             json_object_get(request, "connector")) };
    int fd = far_control_take_fd(backend->control);

    if (shot.guest)
        far_hotplug_each(backend, find_screen, &shot);
    return far_screen_answer(fd, shot.guest, shot.pixels, shot.width,
                             shot.height);
}

json_t *far_backend_control(json_t *request, void *arg)
{
    struct far_backend *backend = arg;
    const char *what = json_string_value(json_object_get(request, "request"));
    struct far_error error = { 0 };

    if (!what)
        return far_control_error(-EINVAL, "there is no \"request\"");
    if (!strcmp(what, "status"))
        return status(backend);
    if (!strcmp(what, "send"))
        return send_events(backend, request);
    if (!strcmp(what, "attach") || !strcmp(what, "detach"))
        return attach(backend, request, what[0] == 'd');
    if (!strcmp(what, "screenshot"))
        return screenshot(backend, request);
    if (!strcmp(what, "reload")) {
        int r = backend->reload(backend, &error);

        return r ? far_control_error(r, "%s", error.text)
                 : json_pack("{s:b}", "ok", 1);
    }
    return far_control_error(-EOPNOTSUPP,
                             "farside-backend knows no request \"%s\"; it "
                             "knows status, send, attach, detach, screenshot, "
                             "reload",
                             what);
}
