/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * kbdif's frontend, inside: what kbd.c and frontend.c share, and the pure check
 * of a backend's events. The public side is farside-frontend.h.
 */
#ifndef FARSIDE_FRONTEND_KBD_H
#define FARSIDE_FRONTEND_KBD_H

#include "core/loop.h"
#include "frontend/farside-frontend.h"
#include "xenbus/xs.h"

struct far_front_own;

struct far_frontend {
    struct far_loop *loop;
    struct far_xs *xs;
    bool lost;
    unsigned domid;
    struct far_xs_watch domid_watch;
    struct far_xs_watch devices_watch; /* device/vkbd */
    void (*found)(void *arg, unsigned devid);
    void *found_arg;
    /* What was found and not gone since. */
    uint8_t known[128]; /* a bit for each devid */
    struct far_frontend_input *inputs;
    struct far_front_own *owns; /* devices of Farside's own kinds */
};

#define FAR_FRONT_DEVID_MAX 1023u

/* One of an event's values can't be used: false, and it is dropped. Positions
 * outside are drawn in. Pure. */
bool far_front_event_check(union xenkbd_in_event *event,
                           const struct far_frontend_input_info *info);

/* Looks at the device's nodes at the end of this turn. */
void far_front_input_look(struct far_frontend_input *input);
struct far_frontend_input *
far_front_input_next(const struct far_frontend_input *input);

#endif
