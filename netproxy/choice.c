/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The controller's choice (netproxy/choice.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/any.h"
#include "core/uuid.h"
#include "netproxy/choice.h"

void far_any_device(char out[FAR_NAME_BYTES], const struct far_wire_frame *f)
{
    size_t bytes;
    const uint8_t *value = far_wire_option(f, FAR_WIRE_OPTION_DEVICE, &bytes);

    memset(out, 0, FAR_NAME_BYTES);
    if (value && bytes == FAR_NAME_BYTES)
        memcpy(out, value, FAR_NAME_BYTES - 1);
    if (!far_name_valid(out) || far_any_is(out))
        out[0] = '\0';
}

const struct far_conf_section *far_choice_export(const struct far_controller *c,
                                                 const char *device)
{
    const struct far_conf_section *export =
        far_conf_section(c->conf, "export", device);
    const struct far_device *d;

    if (export)
        return export;
    d = far_device_find(c->devices, device);
    if (d)
        return d->export;
    return far_device_hotplug(c->conf, device); /* it may come */
}

bool far_choice_exclusive(const struct far_conf_section *export)
{
    return !strcmp(far_conf_string(export, "mode", "shared"), "exclusive");
}

/* The next user of that device from s on who is not *who of platform. */
static const struct far_session *other(const struct far_session *s,
                                       const char *platform,
                                       const struct far_local_who *who,
                                       const char *device)
{
    for (; s; s = s->next_session) {
        if (strcmp(s->device, device))
            continue;
        /* The same guest on another platform moves: it takes it over. */
        if (who && s->who.guest_devid == who->guest_devid &&
            !memcmp(s->who.guest_uuid, who->guest_uuid, 16) &&
            !memcmp(s->who.generation, who->generation, 16) &&
            (!strcmp(s->who.device, who->device) ||
             !strcmp(s->platform, platform)))
            continue;
        break;
    }
    return s;
}

unsigned far_choice_others(const struct far_controller *c, const char *platform,
                           const struct far_local_who *who, const char *device)
{
    const struct far_session *s = other(c->sessions, platform, who, device);
    unsigned n = 0;

    for (; s; s = other(s->next_session, platform, who, device))
        n++;
    return n;
}

int far_choice_alone(const struct far_controller *c, const char *platform,
                     const struct far_local_who *who, const char *device,
                     struct far_error *error)
{
    const struct far_session *s = other(c->sessions, platform, who, device);
    char holder[2 * FAR_NAME_BYTES], uuid[FAR_UUID_TEXT_BYTES];

    if (!s || !far_choice_exclusive(far_choice_export(c, device)))
        return 0;
    /* Its own guests it knows, and here all are known. */
    if (!strcmp(platform, s->platform) || !strcmp(platform, c->platform))
        snprintf(holder, sizeof(holder), "%s/%s", s->platform,
                 s->who.guest_name[0]
                     ? s->who.guest_name
                     : far_uuid_format(uuid, s->who.guest_uuid));
    else
        snprintf(holder, sizeof(holder), "a guest of another platform");
    return far_error(error, -EBUSY,
                     "%s of %s is for one guest at a time, and %s has it",
                     device, c->platform, holder);
}

/* FNV-1a: which of equals a guest gets is the same each time, and another for
 * another guest. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    while (n--)
        hash = (hash ^ *at++) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t weight(const struct far_local_who *who, const char *device)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    hash = mix(hash, who->guest_uuid, sizeof(who->guest_uuid));
    hash = mix(hash, &who->guest_devid, sizeof(who->guest_devid));
    hash = mix(hash, device, strlen(device));
    return hash ^ hash >> 32;
}

struct far_device *far_choice_make(const struct far_controller *c,
                                   const char *platform,
                                   const struct far_local_who *who,
                                   const char *had, struct far_error *error)
{
    uint8_t want[FAR_PROPS_BYTES];
    struct far_device *d, *best = NULL;
    unsigned best_others = 0;
    uint64_t best_weight = 0;
    bool taken = false;

    if (far_any_parse(want, who->device, (enum far_class)who->class, error))
        return NULL;
    for (d = c->devices->first; d; d = d->next) {
        const struct far_conf_section *export = far_choice_export(c, d->name);
        unsigned others;
        uint64_t w;

        if ((uint32_t)d->class != who->class || d->state != FAR_DEVICE_READY ||
            !export || !far_conf_bool(export, "any", false) ||
            !far_any_fits(d->class, d->props, want) ||
            far_controller_may_guest(c, platform, d->name, who, NULL))
            continue;
        others = far_choice_others(c, platform, who, d->name);
        if (others && far_choice_exclusive(export)) {
            taken = true;
            continue;
        }
        if (strcmp(d->name, had) == 0)
            return d;
        w = weight(who, d->name);
        if (!best || others < best_others ||
            (others == best_others && w > best_weight)) {
            best = d;
            best_others = others;
            best_weight = w;
        }
    }
    if (best && had[0] && who->class == FAR_CLASS_BLOCK) {
        far_error(error, -ENOENT,
                  "%s: %s has gone, and another disk is not the same: it is "
                  "waited for",
                  who->device, had);
        return NULL;
    }
    if (!best)
        far_error(error, taken ? -EBUSY : -ENOENT,
                  taken ? "%s: all devices of %s that fit are in use: the next "
                          "that is free is yours"
                        : "%s: %s has no device that fits and may be had by "
                          "any such request ([export] with any = on)",
                  who->device, c->platform);
    return best;
}

static bool moves(const struct far_controller *c, const struct far_session *s)
{
    return far_any_is(s->who.device) && s->who.class != FAR_CLASS_BLOCK &&
           s->state == FAR_DEVICE_GONE &&
           far_choice_make(c, s->platform, &s->who, s->device, NULL);
}

unsigned far_choice_review(struct far_controller *c)
{
    struct far_session *s, *next;
    unsigned n = 0;

    c->choosing = true;
    for (s = c->sessions; s; s = next) {
        next = s->next_session;
        if (!moves(c, s))
            continue;
        far_log(c->log, FAR_LOG_INFO,
                "%s of %s for %s: %s has gone; another "
                "one takes its place",
                s->who.device, c->platform, s->platform, s->device);
        far_controller_end(c, s,
                           "the device has gone; another one takes its "
                           "place");
        n++;
    }
    c->choosing = false;
    return n;
}
