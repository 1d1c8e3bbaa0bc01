/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The evdev device: a keyboard, pointer or touch screen of this machine, read
 * through libevdev. It is read, and grabbed, only while somebody is activated.
 * While it is not there, inotify tells of its return; nothing polls. Opening
 * wants no root, but the group that may read /dev/input (`input`).
 */
#include "devices/input-source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libevdev/libevdev.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "devices/evdev-translate.h"
#include "devices/types.h"

#define INPUT_DIR      "/dev/input"
#define EVENTS_A_TURN  256
#define RETRY_FIRST_US 100000u
#define RETRY_LAST_US  30000000u

struct evdev {
    struct far_source source;
    int fd;
    struct libevdev *dev;
    struct far_io io;
    bool syncing, grabbed;
    int inotify_fd;
    struct far_io inotify_io;
    struct far_timer retry; /* only where inotify can't be had */
    uint64_t retry_us;
    struct far_evdev_translate translate;
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void be_gone(struct evdev *e, const char *reason);

/* ---- opening ---- */

static bool name_matches(int fd, const char *name)
{
    char found[256] = "";

    return ioctl(fd, EVIOCGNAME(sizeof(found) - 1), found) >= 0 &&
           !strcmp(found, name);
}

/* A descriptor, or a negative errno: -EACCES if one could not be looked at. */
static int open_by_name(const char *name)
{
    DIR *dir = opendir(INPUT_DIR);
    struct dirent *entry;
    int fd = -1, r = -ENOENT;

    if (!dir)
        return -errno;
    while (fd < 0 && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, "event", 5))
            continue;
        fd = openat(dirfd(dir), entry->d_name,
                    O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) {
            if (errno == EACCES)
                r = -EACCES;
        } else if (!name_matches(fd, name)) {
            close(fd);
            fd = -1;
        }
    }
    closedir(dir);
    return fd >= 0 ? fd : r;
}

static struct far_evdev_range range_of(const struct libevdev *dev,
                                       unsigned axis)
{
    const struct input_absinfo *info = libevdev_get_abs_info(dev, axis);
    struct far_evdev_range range = { 0, 0 };

    if (info) {
        range.min = info->minimum;
        range.max = info->maximum;
    }
    return range;
}

static struct far_input_props props_of(const struct libevdev *dev,
                                       bool multi_touch)
{
    struct far_input_props props = { 0 };

    for (unsigned code = KEY_ESC; code <= KEY_MAX; code++) {
        if (!libevdev_has_event_code(dev, EV_KEY, code))
            continue;
        if (code >= BTN_MISC && code < KEY_OK)
            props.can |= FAR_INPUT_CAN_BUTTONS;
        else
            props.can |= FAR_INPUT_CAN_KEYS;
    }
    if (libevdev_has_event_code(dev, EV_REL, REL_X))
        props.can |= FAR_INPUT_CAN_REL;
    if (multi_touch) {
        int slots = libevdev_get_num_slots(dev);

        props.can |= FAR_INPUT_CAN_TOUCH;
        props.contacts = slots < 1 ? 1
                         : slots > FAR_INPUT_CONTACTS_MAX
                             ? FAR_INPUT_CONTACTS_MAX
                             : (uint16_t)slots;
    } else if (libevdev_has_event_code(dev, EV_ABS, ABS_X)) {
        props.can |= FAR_INPUT_CAN_ABS;
    }
    return props;
}

static void learn_state(struct evdev *e)
{
    struct far_evdev_translate *t = &e->translate;

    far_evdev_translate_init(t);
    t->x = range_of(e->dev, ABS_X);
    t->y = range_of(e->dev, ABS_Y);
    t->mt_x = range_of(e->dev, ABS_MT_POSITION_X);
    t->mt_y = range_of(e->dev, ABS_MT_POSITION_Y);
    t->multi_touch = libevdev_has_event_code(e->dev, EV_ABS, ABS_MT_SLOT);
    t->pos_x = libevdev_get_event_value(e->dev, EV_ABS, ABS_X);
    t->pos_y = libevdev_get_event_value(e->dev, EV_ABS, ABS_Y);
    t->slot = libevdev_get_current_slot(e->dev);
    if (t->slot >= FAR_INPUT_CONTACTS_MAX)
        t->slot = -1;
    memset(&e->source.down, 0, sizeof(e->source.down));
    for (unsigned code = KEY_ESC; code <= KEY_MAX; code++)
        if (libevdev_get_event_value(e->dev, EV_KEY, code) > 0)
            far_key_put(&e->source.down, code, true);
}

static void grab(struct evdev *e, bool on)
{
    const struct far_device *d = &e->source.device;
    int r;

    if (on == e->grabbed || !e->dev ||
        (on && !far_conf_bool(d->section, "grab", true)))
        return;
    r = libevdev_grab(e->dev, on ? LIBEVDEV_GRAB : LIBEVDEV_UNGRAB);
    if (r == 0)
        e->grabbed = on;
    else if (on)
        far_log(d->devices->log, FAR_LOG_WARNING,
                "%s: can't be grabbed (%s): this machine sees its events too; "
                "`grab = off` if that is meant",
                d->name, strerror(-r));
}

static void device_ready(struct far_io *io, uint32_t events);

static void close_device(struct evdev *e)
{
    grab(e, false);
    far_io_del(&e->io);
    libevdev_free(e->dev);
    e->dev = NULL;
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
    e->grabbed = e->syncing = false;
}

static void explain(const struct far_device *d, int code, char *text,
                    size_t room)
{
    const char *path = far_conf_string(d->section, "path", NULL);
    const char *name = far_conf_string(d->section, "match-name", "");

    if (code == -ENOENT && path)
        snprintf(text, room, "%s: %s is not plugged in", d->name, path);
    else if (code == -ENOENT)
        snprintf(text, room, "%s: no device with the name \"%s\" is plugged in",
                 d->name, name);
    else if (code == -EACCES)
        snprintf(text, room,
                 "%s: %s may not be read; is this program's user in the group "
                 "`input`?",
                 d->name, path ? path : INPUT_DIR);
    else
        snprintf(text, room, "%s: %s can't be opened: %s", d->name,
                 path ? path : name, strerror(-code));
}

static int open_device(struct evdev *e)
{
    struct far_device *d = &e->source.device;
    const char *path = far_conf_string(d->section, "path", NULL);
    int r;

    e->fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
                 : open_by_name(far_conf_string(d->section, "match-name", ""));
    if (e->fd < 0) {
        r = path ? -errno : e->fd;
        e->fd = -1;
        return r;
    }
    r = libevdev_new_from_fd(e->fd, &e->dev);
    if (r == 0)
        r = libevdev_set_clock_id(e->dev, CLOCK_MONOTONIC);
    /* While nobody is activated only its disappearance (EPOLLERR, which needs
     * no asking) matters. */
    if (r == 0)
        r = far_io_add(d->devices->loop, &e->io, e->fd,
                       e->source.active ? EPOLLIN : 0, device_ready);
    if (r)
        close_device(e);
    return r;
}

/* ---- waiting for it ---- */

static void try_open(struct evdev *e);

static void stop_waiting(struct evdev *e)
{
    far_timer_cancel(&e->retry);
    far_io_del(&e->inotify_io);
    if (e->inotify_fd >= 0)
        close(e->inotify_fd);
    e->inotify_fd = -1;
}

static void something_changed(struct far_io *io, uint32_t events)
{
    struct evdev *e = container(io, struct evdev, inotify_io);

    (void)events;
    try_open(e); /* closes and makes anew what we wait with */
}

static void retry_fired(struct far_timer *timer)
{
    try_open(container(timer, struct evdev, retry));
}

/* The folder where it will appear, or the nearest one above that exists. */
static int watch_for(struct evdev *e)
{
    const char *path =
        far_conf_string(e->source.device.section, "path", INPUT_DIR "/event0");
    char dir[PATH_MAX];
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd < 0)
        return -1;
    snprintf(dir, sizeof(dir), "%s", path);
    for (;;) {
        char *slash = strrchr(dir, '/');

        if (!slash)
            break;
        slash[slash == dir] = '\0';
        /* ATTRIB: udev gives it its group after it has made it */
        if (inotify_add_watch(fd, dir,
                              IN_CREATE | IN_MOVED_TO | IN_ATTRIB |
                                  IN_DELETE_SELF) >= 0)
            return fd;
        if (slash == dir)
            break;
    }
    close(fd);
    return -1;
}

static void wait_for_it(struct evdev *e)
{
    struct far_loop *loop = e->source.device.devices->loop;

    e->inotify_fd = watch_for(e);
    if (e->inotify_fd >= 0 && far_io_add(loop, &e->inotify_io, e->inotify_fd,
                                         EPOLLIN, something_changed) == 0)
        return;
    if (e->inotify_fd >= 0)
        close(e->inotify_fd);
    e->inotify_fd = -1;
    e->retry_us = e->retry_us ? e->retry_us * 2 : RETRY_FIRST_US;
    if (e->retry_us > RETRY_LAST_US)
        e->retry_us = RETRY_LAST_US;
    far_timer_set(&e->retry, far_loop_now_us(loop) + e->retry_us);
}

static void try_open(struct evdev *e)
{
    struct far_input_props props;
    char reason[200];
    int r;

    stop_waiting(e);
    r = open_device(e);
    if (r) {
        /* It may have come between our look and the watch: look again. */
        wait_for_it(e);
        r = open_device(e);
    }
    if (r) {
        explain(&e->source.device, r, reason, sizeof(reason));
        if (e->source.device.state != FAR_DEVICE_GONE ||
            strcmp(e->source.device.reason, reason))
            far_source_gone(&e->source, reason);
        return;
    }
    stop_waiting(e);
    e->retry_us = 0;
    learn_state(e);
    grab(e, e->source.active > 0);
    props = props_of(e->dev, e->translate.multi_touch);
    far_source_ready(&e->source, &props);
}

static void be_gone(struct evdev *e, const char *reason)
{
    close_device(e);
    far_source_gone(&e->source, reason);
    try_open(e);
}

/* ---- reading ---- */

static void device_ready(struct far_io *io, uint32_t events)
{
    struct evdev *e = container(io, struct evdev, io);
    struct far_input_event out[FAR_EVDEV_OUT_MAX];
    char reason[160];

    if (!e->source.active && (events & (EPOLLERR | EPOLLHUP))) {
        snprintf(reason, sizeof(reason), "%s: was unplugged",
                 e->source.device.name);
        be_gone(e, reason);
        return;
    }
    for (int i = 0; i < EVENTS_A_TURN; i++) {
        struct input_event ev;
        unsigned n;
        int r = libevdev_next_event(e->dev,
                                    e->syncing ? LIBEVDEV_READ_FLAG_SYNC
                                               : LIBEVDEV_READ_FLAG_NORMAL,
                                    &ev);

        if (r == -EAGAIN) {
            if (!e->syncing)
                return;
            e->syncing = false; /* that was all; now what is new */
            continue;
        }
        if (r == -EINTR)
            continue;
        if (r < 0) {
            if (r == -ENODEV)
                snprintf(reason, sizeof(reason), "%s: was unplugged",
                         e->source.device.name);
            else
                snprintf(reason, sizeof(reason), "%s: can't be read: %s",
                         e->source.device.name, strerror(-r));
            be_gone(e, reason);
            return;
        }
        /* Events were lost: libevdev works out what differs. */
        if (r == LIBEVDEV_READ_STATUS_SYNC && !e->syncing) {
            e->syncing = true;
            continue;
        }
        n = far_evdev_translate(&e->translate, ev.type, ev.code, ev.value,
                                (uint64_t)ev.input_event_sec * 1000000u +
                                    (uint64_t)ev.input_event_usec,
                                out);
        far_source_send(&e->source, out, n);
        if (!e->source.active || !e->dev)
            return;
    }
}

static void evdev_busy(struct far_source *source, bool busy)
{
    struct evdev *e = (struct evdev *)source;

    if (!e->dev)
        return;
    if (!busy) {
        grab(e, false);
        far_io_set(&e->io, 0);
        return;
    }
    /* What was typed while nobody listened is nobody's: a new description
     * begins with an empty buffer and the present state. */
    close_device(e);
    try_open(e);
}

static int evdev_create(struct far_device *device, struct far_error *error)
{
    struct evdev *e = (struct evdev *)device;
    const char *path = far_conf_string(device->section, "path", NULL);
    const char *name = far_conf_string(device->section, "match-name", NULL);

    if (!path == !name)
        return far_error(error, -EINVAL,
                         "%s: an evdev device needs `path =` or `match-name "
                         "=`%s",
                         device->name, path ? ", not both" : "");
    if (path && strlen(path) >= PATH_MAX)
        return far_error(error, -ENAMETOOLONG, "%s: the path is too long",
                         device->name);
    e->fd = e->inotify_fd = -1;
    e->io.fd = e->inotify_io.fd = -1;
    e->source.busy = evdev_busy;
    far_timer_init(&e->retry, device->devices->loop, retry_fired);
    try_open(e);
    return 0;
}

static void evdev_destroy(struct far_device *device)
{
    struct evdev *e = (struct evdev *)device;

    stop_waiting(e);
    close_device(e);
}

const struct far_device_type far_type_evdev = {
    .name = "evdev",
    .class = FAR_CLASS_INPUT,
    .device_bytes = sizeof(struct evdev),
    .create = evdev_create,
    .destroy = evdev_destroy,
    .open = far_source_open,
};
