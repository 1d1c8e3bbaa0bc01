/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The registry of devices. Each user of a device
 * sits on a seat: a layer that stays when a reload takes the device away, says
 * so to the layer above, and takes the device of that name when there is one
 * again. So neither a port nor a filter need know of reloads.
 */
#include "devices/device.h"
#include "core/usdt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- seats ---- */

struct far_seat {
    struct far_layer layer;
    struct far_devices *devices;
    struct far_device *device; /* NULL: an orphan */
    struct far_local_who who;
    char name[FAR_NAME_BYTES]; /* of the device */
    bool active, told, tried;
    struct far_seat *next, **prev;
};

static void seat_link(struct far_seat **list, struct far_seat *seat)
{
    seat->next = *list;
    seat->prev = list;
    if (seat->next)
        seat->next->prev = &seat->next;
    *list = seat;
}

static void seat_unlink(struct far_seat *seat)
{
    *seat->prev = seat->next;
    if (seat->next)
        seat->next->prev = seat->prev;
}

static enum far_verdict seat_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    const struct far_seat *seat = (const struct far_seat *)layer;

    (void)payload;
    if (seat->device)
        return FAR_PASS;
    /* A disk that is away for a while is a pause, not an error. */
    if (seat->who.class == FAR_CLASS_BLOCK)
        return FAR_FULL;
    op->status = -ENODEV;
    return FAR_DONE;
}

static void seat_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct far_seat *seat = (struct far_seat *)layer;

    seat->active = true;
    if (layer->below) {
        far_layer_activate(layer->below, incarnation, received);
    } else {
        struct far_layer_news news = { .reason =
                                           "the device is not configured" };

        far_layer_state(layer, FAR_DEVICE_GONE, &news);
    }
}

static void seat_close(struct far_layer *layer)
{
    struct far_seat *seat = (struct far_seat *)layer;

    seat_unlink(seat);
    if (layer->below) {
        layer->below->above = NULL;
        far_layer_close(layer->below);
    }
    if (seat->device)
        seat->device->users--;
    free(seat);
}

static const struct far_layer_ops seat_ops = {
    .name = "seat",
    .submit = seat_submit,
    .activate = seat_activate,
    .close = seat_close,
};

/* The device's own open, with what every type needs checked. */
static int open_below(struct far_device *device,
                      const struct far_local_who *who, struct far_layer **layer,
                      struct far_error *error)
{
    int r;

    if (device->class != FAR_CLASS_NONE &&
        who->class != (uint32_t)device->class)
        return far_error(error, -EINVAL, "%s: is of class %s, not %s",
                         device->name, far_class_name(device->class),
                         far_class_name((enum far_class)who->class));
    if (device->opening)
        return far_error(error, -ELOOP,
                         "%s: stands behind itself; look at its `behind =`",
                         device->name);
    device->opening = true;
    *layer = NULL;
    r = device->type->open(device, who, layer, error);
    device->opening = false;
    return r;
}

int far_device_open(struct far_device *device, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    struct far_seat *seat = calloc(1, sizeof(*seat));
    struct far_layer *below;
    int r;

    if (!seat)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    r = open_below(device, who, &below, error);
    FAR_PROBE4(attach, who->attachment, who->class, device->name, r);
    if (r) {
        free(seat);
        return r;
    }
    seat->layer.ops = &seat_ops;
    seat->devices = device->devices;
    seat->device = device;
    seat->who = *who;
    memcpy(seat->name, device->name, sizeof(seat->name));
    seat_link(&device->seats, seat);
    device->users++;
    far_layer_stack(&seat->layer, below);
    *layer = &seat->layer;
    return 0;
}

/* Takes the users off a device that will end. They are told later, when no
 * list is being walked: they may close. Their layers stay until they have been
 * told: what they have at place() is in memory of those. */
static void orphan_users(struct far_device *device)
{
    while (device->seats) {
        struct far_seat *seat = device->seats;

        seat_unlink(seat);
        seat->device = NULL;
        seat->told = false;
        seat_link(&device->devices->orphans, seat);
        device->users--;
    }
}

static void close_orphans(struct far_devices *devices)
{
    struct far_seat *seat;

again:
    for (seat = devices->orphans; seat; seat = seat->next) {
        struct far_layer *below = seat->layer.below;

        if (!below)
            continue;
        seat->layer.below = NULL;
        below->above = NULL;
        far_layer_close(below); /* there may be seats in there */
        goto again;
    }
}

/* And then takes their layers away. reason NULL: it is no longer in the
 * configuration. */
static void tell_orphans(struct far_devices *devices, const char *why)
{
    struct far_seat *seat;
    char reason[160];
    struct far_layer_news news = { .reason = why ? why : reason,
                                   .ops_lost = true };

again:
    for (seat = devices->orphans; seat; seat = seat->next)
        if (!seat->told) {
            seat->told = true;
            snprintf(reason, sizeof(reason),
                     "%s: is no longer in the configuration", seat->name);
            far_layer_state(&seat->layer, FAR_DEVICE_GONE, &news);
            goto again;
        }
    close_orphans(devices);
}

static void seat_orphans(struct far_devices *devices)
{
    struct far_seat *seat;

    for (seat = devices->orphans; seat; seat = seat->next)
        seat->tried = false;
again:
    for (seat = devices->orphans; seat; seat = seat->next) {
        struct far_device *device = far_device_find(devices, seat->name);
        struct far_layer *below;
        struct far_error error;
        int r;

        if (!device || seat->tried)
            continue;
        seat->tried = true;
        r = open_below(device, &seat->who, &below, &error);
        if (r) {
            struct far_layer_news news = { .reason = error.text };

            far_layer_state(&seat->layer, FAR_DEVICE_GONE, &news);
        } else {
            seat_unlink(seat);
            seat->device = device;
            seat_link(&device->seats, seat);
            device->users++;
            far_layer_stack(&seat->layer, below);
            if (seat->active)
                far_layer_activate(below, 0, 0);
        }
        goto again;
    }
}

/* ---- the registry ---- */

void far_devices_init(struct far_devices *devices, struct far_loop *loop,
                      struct far_log *log)
{
    memset(devices, 0, sizeof(*devices));
    devices->loop = loop;
    devices->log = log;
}

struct far_device *far_device_find(const struct far_devices *devices,
                                   const char *name)
{
    for (struct far_device *d = devices->first; d; d = d->next)
        if (!strcmp(d->name, name))
            return d;
    return NULL;
}

const struct far_conf_section *far_device_hotplug(const struct far_conf *conf,
                                                  const char *name)
{
    const struct far_conf_section *s;

    for (s = conf->sections; s; s = s->next) {
        size_t n = strlen(s->name);

        if (!strcmp(s->kind, "hotplug") && !strncmp(name, s->name, n) &&
            name[n] == '-')
            return s;
    }
    return NULL;
}

bool far_device_is_exported(const struct far_conf *conf, const char *name)
{
    return far_conf_section(conf, "export", name) != NULL ||
           (!far_conf_section(conf, "device", name) &&
            far_device_hotplug(conf, name));
}

static bool same_section(const struct far_conf_section *a,
                         const struct far_conf_section *b)
{
    const struct far_conf_entry *x = a->entries, *y = b->entries;

    for (; x && y; x = x->next, y = y->next)
        if (strcmp(x->key, y->key) || strcmp(x->value, y->value))
            return false;
    return !x && !y;
}

static const struct far_device_type *type_named(const char *name)
{
    for (unsigned i = 0; far_device_types[i]; i++)
        if (!strcmp(far_device_types[i]->name, name))
            return far_device_types[i];
    return NULL;
}

static int make(struct far_devices *devices,
                const struct far_conf_section *section, struct far_error *error)
{
    const char *type_name = far_conf_string(section, "type", NULL);
    const struct far_device_type *type;
    struct far_device *d, **last;
    int r;

    if (!far_name_valid(section->name) || section->name[0] == '.')
        return far_error(error, -EINVAL,
                         "[device %s]: a name is of letters, digits, `.`, "
                         "`_`, `-`, at most %d of them, with no `.` first",
                         section->name, FAR_NAME_BYTES - 1);
    if (!type_name)
        return far_error(error, -EINVAL,
                         "%s: has no type; say `type = evdev`, for example",
                         section->name);
    type = type_named(type_name);
    if (!type)
        return far_error(
            error, -EINVAL, "%s: there is no device type `%s` in this build%s",
            section->name, type_name,
            strcmp(type_name, "evdev") ? "" : ": it lacks libevdev");
    d = calloc(1, type->device_bytes);
    if (!d)
        return far_error(error, -ENOMEM, "%s: out of memory", section->name);
    d->type = type;
    d->class = type->class;
    d->devices = devices;
    snprintf(d->name, sizeof(d->name), "%s", section->name);
    d->section = section;
    while (!d->incarnation)
        if (getrandom(&d->incarnation, sizeof(d->incarnation), 0) < 0 &&
            errno != EINTR) {
            r = -errno;
            free(d);
            return far_error(error, r, "%s: getrandom failed: %s",
                             section->name, strerror(-r));
        }
    r = type->create(d, error);
    if (r) {
        free(d);
        return r;
    }
    for (last = &devices->first; *last; last = &(*last)->next)
        ;
    *last = d;
    return 0;
}

/* Of one whose users are told. */
static void drop(struct far_device *device)
{
    if (device->type->destroy)
        device->type->destroy(device);
    free(device);
}

unsigned far_devices_load(struct far_devices *devices,
                          const struct far_conf *conf,
                          bool (*mine)(const struct far_conf *conf,
                                       const struct far_conf_section *device),
                          far_conf_report *report, void *arg)
{
    struct far_device **at = &devices->first, *gone = NULL;
    unsigned failed = 0;

    while (*at) {
        struct far_device *d = *at;
        const struct far_conf_section *s =
            far_conf_section(conf, "device", d->name);

        /* A section of its own goes before one that came by itself. */
        if (!s && d->export)
            at = &d->next;
        else if (s && !d->export && (!mine || mine(conf, s)) &&
                 same_section(s, d->section)) {
            d->section = s;
            at = &d->next;
        } else {
            *at = d->next;
            d->next = gone;
            gone = d;
            orphan_users(d);
        }
    }
    tell_orphans(devices, NULL);
    while (gone) {
        struct far_device *next = gone->next;

        drop(gone);
        gone = next;
    }
    for (struct far_conf_section *s = conf->sections; s; s = s->next) {
        struct far_error error;

        if (strcmp(s->kind, "device") || (mine && !mine(conf, s)) ||
            far_device_find(devices, s->name))
            continue;
        if (make(devices, s, &error) == 0)
            continue;
        failed++;
        if (report)
            report(arg, s->file ? s->file : conf->file, s->line, 1, error.text);
    }
    seat_orphans(devices);
    return failed;
}

struct far_device *far_devices_add(struct far_devices *devices,
                                   const struct far_conf_section *section,
                                   const struct far_conf_section *export,
                                   struct far_error *error)
{
    struct far_device *d;

    if (make(devices, section, error))
        return NULL;
    d = far_device_find(devices, section->name);
    d->export = export;
    seat_orphans(devices);
    return d;
}

void far_devices_remove(struct far_devices *devices, struct far_device *device,
                        const char *reason)
{
    struct far_device **at = &devices->first;

    while (*at != device)
        at = &(*at)->next;
    *at = device->next;
    far_log(devices->log, FAR_LOG_INFO, "%s", reason);
    orphan_users(device);
    tell_orphans(devices, reason);
    drop(device);
    if (devices->changed)
        devices->changed(devices->changed_arg);
}

void far_devices_free(struct far_devices *devices)
{
    struct far_seat *seat;

    /* Users should be gone by now; those that are not keep their seats, and
     * give them back by themselves when they close. */
    for (struct far_device *d = devices->first; d; d = d->next)
        orphan_users(d);
    tell_orphans(devices, NULL);
    while (devices->first) {
        struct far_device *d = devices->first;

        devices->first = d->next;
        drop(d);
    }
    while ((seat = devices->orphans) != NULL) {
        devices->orphans = seat->next;
        seat->next = NULL;
        seat->prev = &seat->next; /* a list of its own: unlink is harmless */
        if (devices->orphans)
            devices->orphans->prev = &devices->orphans;
    }
}
