/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The library's ground: loop, xenstore, the guest's own number, and which input
 * devices there are. The devices themselves are in kbd.c.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "frontend/own.h"

#define CONTAINER(type, member, pointer) \
    ((type *)((char *)(pointer)-offsetof(type, member)))

static void lost(struct far_xs *xs, void *arg)
{
    struct far_frontend *frontend = arg;

    (void)xs;
    frontend->lost = true;
    far_loop_stop(frontend->loop);
}

/* Fires also when the kernel has told xenstore of our watches again, after a
 * restore: then everything is looked at, whatever the number. */
static void domid_changed(struct far_xs_watch *watch, const char *path)
{
    struct far_frontend *frontend =
        CONTAINER(struct far_frontend, domid_watch, watch);

    (void)path;
    for (struct far_frontend_input *input = frontend->inputs; input;
         input = far_front_input_next(input))
        far_front_input_look(input);
    for (struct far_front_own *own = frontend->owns; own; own = own->next)
        far_front_own_look(own);
}

static void devices_changed(struct far_xs_watch *watch, const char *path)
{
    struct far_frontend *frontend =
        CONTAINER(struct far_frontend, devices_watch, watch);
    uint8_t there[sizeof(frontend->known)] = { 0 };
    struct far_xs_list list;

    (void)path;
    if (far_xs_directory(frontend->xs, 0, &list, FAR_FRONT_DEVID_MAX,
                         "device/vkbd") < 0)
        list = (struct far_xs_list){ 0 };
    for (unsigned i = 0; i < list.count; i++) {
        uint64_t id;
        unsigned byte, bit;

        if (far_number_parse(list.names[i], FAR_FRONT_DEVID_MAX, &id))
            continue;
        byte = (unsigned)id / 8;
        bit = 1u << (id % 8);
        there[byte] |= (uint8_t)bit;
        if (frontend->known[byte] & bit)
            continue;
        frontend->known[byte] |= (uint8_t)bit;
        frontend->found(frontend->found_arg, (unsigned)id);
    }
    far_xs_list_free(&list);
    for (size_t i = 0; i < sizeof(there); i++)
        frontend->known[i] &= there[i];
}

struct far_frontend *far_frontend_new(void)
{
    struct far_frontend *frontend = calloc(1, sizeof(*frontend));
    int r;

    if (!frontend)
        return NULL;
    frontend->loop = far_loop_new();
    if (!frontend->loop) {
        r = -errno;
        goto out;
    }
    frontend->xs = far_xs_open(frontend->loop, lost, frontend);
    if (!frontend->xs) {
        r = -errno;
        goto out;
    }
    frontend->domid = far_xs_own_domid(frontend->xs);
    r = far_xs_watch(frontend->xs, &frontend->domid_watch, domid_changed,
                     "domid");
    if (!r)
        return frontend;
out:
    far_xs_close(frontend->xs);
    if (frontend->loop)
        far_loop_free(frontend->loop);
    free(frontend);
    errno = -r;
    return NULL;
}

void far_frontend_free(struct far_frontend *frontend)
{
    if (!frontend)
        return;
    while (frontend->inputs)
        far_frontend_input_close(frontend->inputs);
    while (frontend->owns)
        far_front_own_close(frontend->owns);
    far_xs_close(frontend->xs);
    far_loop_free(frontend->loop);
    free(frontend);
}

int far_frontend_fd(struct far_frontend *frontend)
{
    return far_loop_fd(frontend->loop);
}

int far_frontend_turn(struct far_frontend *frontend, uint64_t timeout_us)
{
    int r;

    if (frontend->lost)
        return -ENOTCONN;
    r = far_loop_turn(frontend->loop, timeout_us);
    return frontend->lost ? -ENOTCONN : r;
}

int far_frontend_run(struct far_frontend *frontend)
{
    int r;

    if (frontend->lost)
        return -ENOTCONN;
    r = far_loop_run(frontend->loop);
    return frontend->lost ? -ENOTCONN : r;
}

void far_frontend_stop(struct far_frontend *frontend)
{
    far_loop_stop(frontend->loop);
}

int far_frontend_inputs(struct far_frontend *frontend,
                        void (*found)(void *arg, unsigned devid), void *arg)
{
    if (frontend->devices_watch.xs)
        return -EALREADY;
    frontend->found = found;
    frontend->found_arg = arg;
    return far_xs_watch(frontend->xs, &frontend->devices_watch, devices_changed,
                        "device/vkbd");
}
