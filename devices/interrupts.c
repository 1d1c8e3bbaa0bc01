/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The software interrupt source: lines that `farside send` raises: a key's code
 * is the line, its press raises it, its release lets a level line down. Also
 * the device type `vectors`, which only says what a guest's interrupt
 * controller is made of: the backend reads it, where the guest is, and nobody
 * can attach it.
 */
#include <errno.h>
#include <string.h>
#include "devices/lines.h"
#include "devices/types.h"

struct interrupts {
    struct far_device device;
    struct far_lines lines;
    bool level;
};

static int interrupts_open(struct far_device *device,
                           const struct far_local_who *who,
                           struct far_layer **layer, struct far_error *error)
{
    return far_lines_open(&((struct interrupts *)device)->lines, who, layer,
                          error);
}

static int interrupts_feed(struct far_device *device,
                           const struct far_input_event *events, unsigned count,
                           struct far_error *error)
{
    struct interrupts *s = (struct interrupts *)device;

    for (unsigned i = 0; i < count; i++)
        if (events[i].type != FAR_INPUT_KEY || events[i].code >= s->lines.count)
            return far_error(error, -EINVAL,
                             "%s: it has %u lines: a key's code, below that, "
                             "is the line; pressed it is raised, released a "
                             "level line is low",
                             device->name, s->lines.count);
    for (unsigned i = 0; i < count; i++)
        if (s->level)
            far_lines_level(&s->lines, events[i].code, events[i].value);
        else if (events[i].value)
            far_lines_edge(&s->lines, events[i].code);
    return 0;
}

static int interrupts_create(struct far_device *device, struct far_error *error)
{
    struct interrupts *s = (struct interrupts *)device;
    uint32_t lines = (uint32_t)far_conf_number(device->section, "lines", 64);

    s->level =
        !strcmp(far_conf_string(device->section, "trigger", "edge"), "level");
    if (far_lines_init(&s->lines, device, lines))
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void interrupts_destroy(struct far_device *device)
{
    far_lines_free(&((struct interrupts *)device)->lines);
}

const struct far_device_type far_type_interrupts = {
    .name = "interrupts",
    .class = FAR_CLASS_INTC,
    .device_bytes = sizeof(struct interrupts),
    .create = interrupts_create,
    .destroy = interrupts_destroy,
    .open = interrupts_open,
    .feed = interrupts_feed,
};

/* --- vectors --------------------------------------------------------------
 */

static int vectors_create(struct far_device *device, struct far_error *error)
{
    if (!far_conf_entry(device->section, "source", NULL))
        return far_error(error, -EINVAL,
                         "%s: vectors need `source =`, who raises them",
                         device->name);
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void vectors_destroy(struct far_device *device)
{
    (void)device;
}

static int vectors_open(struct far_device *device,
                        const struct far_local_who *who,
                        struct far_layer **layer, struct far_error *error)
{
    (void)who;
    (void)layer;
    return far_error(error, -EOPNOTSUPP,
                     "%s: vectors are put together on the guest's own "
                     "platform: don't export it, but its sources",
                     device->name);
}

const struct far_device_type far_type_vectors = {
    .name = "vectors",
    .class = FAR_CLASS_INTC,
    .device_bytes = sizeof(struct far_device),
    .create = vectors_create,
    .destroy = vectors_destroy,
    .open = vectors_open,
};
