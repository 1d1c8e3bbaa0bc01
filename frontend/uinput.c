/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See uinput.h. Which keys and axes a device has follows the kernel's own
 * xen-kbdfront, so that a guest sees the same by either way.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/uinput.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "frontend/uinput.h"

#define VENDOR_XEN   0x5853
#define TRACKING_MAX 0xffff
#define CONTACTS_MAX 256

enum { KEYBOARD, POINTER, TOUCH, KINDS };

struct far_uinput {
    int fd[KINDS];
    bool written[KINDS]; /* since the last SYN_REPORT */
    uint32_t contacts;
    uint32_t slot;
    int32_t tracking;
    uint8_t down[(KEY_MAX + 1) / 8];
    bool touching[CONTACTS_MAX];
};

static int axis(int fd, uint16_t code, int32_t maximum)
{
    struct uinput_abs_setup setup = { .code = code,
                                      .absinfo = { .maximum = maximum } };

    if (ioctl(fd, UI_SET_ABSBIT, (int)code) < 0)
        return -1;
    return ioctl(fd, UI_ABS_SETUP, &setup);
}

static int keys(int fd, int first, int last)
{
    for (int code = first; code <= last; code++)
        if (ioctl(fd, UI_SET_KEYBIT, code) < 0)
            return -1;
    return 0;
}

static int last_below(uint32_t size)
{
    return size ? (int)size - 1 : 0;
}

static int describe(int fd, int kind,
                    const struct far_frontend_input_info *info)
{
    int r = 0;

    switch (kind) {
    case KEYBOARD:
        r = ioctl(fd, UI_SET_EVBIT, EV_KEY);
        r = r < 0 ? r : keys(fd, KEY_ESC, KEY_UNKNOWN - 1);
        return r < 0 ? r : keys(fd, KEY_OK, KEY_MAX);
    case POINTER:
        r = ioctl(fd, UI_SET_EVBIT, EV_KEY);
        r = r < 0 ? r : keys(fd, BTN_LEFT, BTN_TASK);
        r = r < 0 ? r : ioctl(fd, UI_SET_EVBIT, EV_REL);
        r = r < 0 ? r : ioctl(fd, UI_SET_RELBIT, REL_WHEEL);
        if (!info->absolute) {
            r = r < 0 ? r : ioctl(fd, UI_SET_RELBIT, REL_X);
            return r < 0 ? r : ioctl(fd, UI_SET_RELBIT, REL_Y);
        }
        r = r < 0 ? r : ioctl(fd, UI_SET_EVBIT, EV_ABS);
        r = r < 0 ? r : axis(fd, ABS_X, last_below(info->width));
        return r < 0 ? r : axis(fd, ABS_Y, last_below(info->height));
    default:
        r = ioctl(fd, UI_SET_EVBIT, EV_KEY);
        r = r < 0 ? r : keys(fd, BTN_TOUCH, BTN_TOUCH);
        r = r < 0 ? r : ioctl(fd, UI_SET_EVBIT, EV_ABS);
        r = r < 0 ? r : ioctl(fd, UI_SET_PROPBIT, INPUT_PROP_DIRECT);
        r = r < 0 ? r : axis(fd, ABS_MT_SLOT, last_below(info->contacts));
        r = r < 0 ? r : axis(fd, ABS_MT_TRACKING_ID, TRACKING_MAX);
        r = r < 0 ? r : axis(fd, ABS_MT_TOUCH_MAJOR, last_below(info->width));
        r = r < 0 ? r
                  : axis(fd, ABS_MT_POSITION_X, last_below(info->touch_width));
        return r < 0 ? r
                     : axis(fd, ABS_MT_POSITION_Y,
                            last_below(info->touch_height));
    }
}

static int make(unsigned devid, int kind,
                const struct far_frontend_input_info *info)
{
    static const char *const names[] = { "keyboard", "pointer", "touch" };
    struct uinput_setup setup = {
        .id = { .bustype = BUS_VIRTUAL,
                .vendor = VENDOR_XEN,
                .product = (uint16_t)(0xffff - kind) },
    };
    int fd = open("/dev/uinput", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int saved;

    if (fd < 0)
        return -1;
    snprintf(setup.name, sizeof(setup.name), "Farside %s vkbd/%u", names[kind],
             devid);
    if (describe(fd, kind, info) < 0 || ioctl(fd, UI_DEV_SETUP, &setup) < 0 ||
        ioctl(fd, UI_DEV_CREATE) < 0) {
        saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct far_uinput *far_uinput_new(unsigned devid,
                                  const struct far_frontend_input_info *info)
{
    bool wanted[KINDS] = { info->keyboard, info->pointer, info->multi_touch };
    struct far_uinput *uinput = calloc(1, sizeof(*uinput));
    int saved;

    if (!uinput)
        return NULL;
    for (int i = 0; i < KINDS; i++)
        uinput->fd[i] = -1;
    uinput->contacts =
        info->contacts < CONTACTS_MAX ? info->contacts : CONTACTS_MAX;
    for (int i = 0; i < KINDS; i++) {
        if (!wanted[i])
            continue;
        uinput->fd[i] = make(devid, i, info);
        if (uinput->fd[i] < 0) {
            saved = errno;
            far_uinput_free(uinput);
            errno = saved;
            return NULL;
        }
    }
    return uinput;
}

void far_uinput_free(struct far_uinput *uinput)
{
    if (!uinput)
        return;
    for (int i = 0; i < KINDS; i++)
        if (uinput->fd[i] >= 0)
            close(uinput->fd[i]); /* the kernel releases what is held */
    free(uinput);
}

static void put(struct far_uinput *uinput, int kind, uint16_t type,
                uint16_t code, int32_t value)
{
    struct input_event event = { .type = type, .code = code, .value = value };

    if (uinput->fd[kind] < 0)
        return;
    /* uinput takes an event or refuses it as nonsense; it is never full. */
    if (write(uinput->fd[kind], &event, sizeof(event)) == sizeof(event))
        uinput->written[kind] = true;
}

static void key(struct far_uinput *uinput, uint32_t code, bool pressed)
{
    bool pointers = code >= BTN_MOUSE && code <= BTN_TASK;
    uint8_t bit = (uint8_t)(1u << code % 8);

    if (pressed)
        uinput->down[code / 8] |= bit;
    else
        uinput->down[code / 8] &= (uint8_t)~bit;
    put(uinput, pointers ? POINTER : KEYBOARD, EV_KEY, (uint16_t)code, pressed);
}

static void contact(struct far_uinput *uinput, const struct xenkbd_mtouch *m)
{
    uint8_t id = m->contact_id;

    if (m->event_type == XENKBD_MT_EV_SYN) {
        far_uinput_flush(uinput);
        return;
    }
    put(uinput, TOUCH, EV_ABS, ABS_MT_SLOT, id);
    switch (m->event_type) {
    case XENKBD_MT_EV_DOWN:
        uinput->tracking = (uinput->tracking + 1) & TRACKING_MAX;
        uinput->touching[id] = true;
        put(uinput, TOUCH, EV_ABS, ABS_MT_TRACKING_ID, uinput->tracking);
        put(uinput, TOUCH, EV_ABS, ABS_MT_POSITION_X, m->u.pos.abs_x);
        put(uinput, TOUCH, EV_ABS, ABS_MT_POSITION_Y, m->u.pos.abs_y);
        break;
    case XENKBD_MT_EV_MOTION:
        put(uinput, TOUCH, EV_ABS, ABS_MT_POSITION_X, m->u.pos.abs_x);
        put(uinput, TOUCH, EV_ABS, ABS_MT_POSITION_Y, m->u.pos.abs_y);
        break;
    case XENKBD_MT_EV_UP:
        uinput->touching[id] = false;
        put(uinput, TOUCH, EV_ABS, ABS_MT_TRACKING_ID, -1);
        break;
    case XENKBD_MT_EV_SHAPE:
        put(uinput, TOUCH, EV_ABS, ABS_MT_TOUCH_MAJOR,
            (int32_t)(m->u.shape.major & INT32_MAX));
        break;
    default:
        break;
    }
}

void far_uinput_event(struct far_uinput *uinput,
                      const union xenkbd_in_event *event)
{
    switch (event->type) {
    case XENKBD_TYPE_KEY:
        key(uinput, event->key.keycode, event->key.pressed);
        break;
    case XENKBD_TYPE_MOTION:
        if (event->motion.rel_x)
            put(uinput, POINTER, EV_REL, REL_X, event->motion.rel_x);
        if (event->motion.rel_y)
            put(uinput, POINTER, EV_REL, REL_Y, event->motion.rel_y);
        if (event->motion.rel_z)
            put(uinput, POINTER, EV_REL, REL_WHEEL,
                (int32_t)(0u - (uint32_t)event->motion.rel_z));
        break;
    case XENKBD_TYPE_POS:
        put(uinput, POINTER, EV_ABS, ABS_X, event->pos.abs_x);
        put(uinput, POINTER, EV_ABS, ABS_Y, event->pos.abs_y);
        if (event->pos.rel_z)
            put(uinput, POINTER, EV_REL, REL_WHEEL,
                (int32_t)(0u - (uint32_t)event->pos.rel_z));
        break;
    case XENKBD_TYPE_MTOUCH:
        contact(uinput, &event->mtouch);
        return; /* has a SYN of its own */
    default:
        return;
    }
    /* A press and its release in one batch are two reports. */
    far_uinput_flush(uinput);
}

void far_uinput_flush(struct far_uinput *uinput)
{
    for (int i = 0; i < KINDS; i++) {
        if (!uinput->written[i])
            continue;
        put(uinput, i, EV_SYN, SYN_REPORT, 0);
        uinput->written[i] = false;
    }
}

void far_uinput_release(struct far_uinput *uinput)
{
    for (uint32_t code = 0; code <= KEY_MAX; code++)
        if (uinput->down[code / 8] & 1u << code % 8)
            key(uinput, code, false);
    for (uint32_t id = 0; id < uinput->contacts; id++)
        if (uinput->touching[id]) {
            uinput->touching[id] = false;
            put(uinput, TOUCH, EV_ABS, ABS_MT_SLOT, (int32_t)id);
            put(uinput, TOUCH, EV_ABS, ABS_MT_TRACKING_ID, -1);
        }
    far_uinput_flush(uinput);
}
