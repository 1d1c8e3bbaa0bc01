/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Announcements (netproxy/announce.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/input.h"
#include "netproxy/announce.h"
#include "netproxy/choice.h"
#include "netproxy/permission.h"
#include "netproxy/server.h"

/* The server's end. */

struct far_announced {
    struct far_wire_announce told;
    bool still; /* while looking: it is to be had */
    struct far_announced *next;
};

static void send_one(struct far_peer *peer, const struct far_wire_announce *a,
                     const char *reason)
{
    struct far_wire_header header = { .type = FAR_WIRE_ANNOUNCE,
                                      .hops = FAR_WIRE_HOPS };

    far_conn_send(far_peer_control(peer), &header, a, sizeof(*a), reason);
}

static void describe(const struct far_controller *c,
                     const struct far_device *device,
                     struct far_wire_announce *a)
{
    const struct far_conf_section *export = far_choice_export(c, device->name);
    bool exclusive = far_choice_exclusive(export);

    memset(a, 0, sizeof(*a));
    a->class = device->class;
    a->state = device->state;
    if (!exclusive || !far_choice_others(c, NULL, NULL, device->name))
        a->flags |= FAR_WIRE_ANNOUNCE_FREE;
    if (exclusive)
        a->flags |= FAR_WIRE_ANNOUNCE_EXCLUSIVE;
    snprintf(a->device, sizeof(a->device), "%s", device->name);
    memcpy(a->props, device->props, sizeof(a->props));
    if (far_permission_read_only(export))
        far_permission_mask(a->props, a->class);
    if (far_permission_read_only(export) ||
        far_conf_bool(device->section, "read-only", false))
        a->flags |= FAR_WIRE_ANNOUNCE_READ_ONLY;
}

static struct far_announced *told(struct far_peer *peer, const char *device)
{
    struct far_announced *a;

    for (a = peer->announced; a; a = a->next) {
        if (!strcmp(a->told.device, device))
            return a;
    }
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    a->next = peer->announced;
    peer->announced = a;
    return a;
}

void far_announce(struct far_peer *peer)
{
    const struct far_controller *c = peer->server->controller;
    struct far_announced *a, **at = &peer->announced;
    const struct far_device *d;

    if (!far_peer_control(peer) || (!peer->subscribed && !peer->announced))
        return;
    for (a = peer->announced; a; a = a->next)
        a->still = false;
    for (d = c->devices->first; d; d = d->next) {
        struct far_wire_announce now;

        if (d->class == FAR_CLASS_NONE ||
            !(peer->subscribed & (uint64_t)1 << d->class) ||
            far_controller_may(c, peer->platform, d->name, NULL))
            continue;
        describe(c, d, &now);
        a = told(peer, d->name);
        if (!a)
            continue; /* no memory: it is not told now */
        a->still = true;
        if (!memcmp(&a->told, &now, sizeof(now)))
            continue;
        a->told = now;
        send_one(peer, &now, d->reason);
    }
    while ((a = *at)) {
        if (a->still) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        a->told.state = FAR_DEVICE_GONE;
        a->told.flags = 0;
        if (peer->subscribed & (uint64_t)1 << a->told.class)
            send_one(peer, &a->told, "it is no longer served");
        free(a);
    }
}

void far_announce_forget(struct far_peer *peer)
{
    while (peer->announced) {
        struct far_announced *a = peer->announced;

        peer->announced = a->next;
        free(a);
    }
}

/* The client's end. */

void far_offers_ask(struct far_conn *conn)
{
    struct far_wire_header header = { .type = FAR_WIRE_SUBSCRIBE,
                                      .hops = FAR_WIRE_HOPS };
    const struct far_wire_subscribe all = { .classes = ~(uint64_t)0 };

    far_conn_send(conn, &header, &all, sizeof(all), NULL);
}

/* Where it stands, or would stand. */
static unsigned find(const struct far_offers *o, const char *device)
{
    unsigned from = 0, to = o->count;

    while (from < to) {
        unsigned middle = (from + to) / 2;

        if (strcmp(o->list[middle].device.device, device) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool make_room(struct far_offers *o)
{
    unsigned room = o->room ? o->room * 2 : 16;
    struct far_offer *more;

    if (o->count < o->room)
        return true;
    if (room > FAR_OFFERS_MAX)
        return false;
    more = realloc(o->list, room * sizeof(*more));
    if (!more)
        return false;
    o->list = more;
    o->room = room;
    return true;
}

void far_offers_take(struct far_offers *o, const struct far_wire_frame *f)
{
    const struct far_wire_announce *a = &f->announce;
    unsigned at = find(o, a->device);
    bool known = at < o->count && !strcmp(o->list[at].device.device, a->device);

    o->heard++;
    /* One that is only unplugged has a flag; one that is served no more, none
     * (docs/PROTOCOL.md). */
    if (a->state == FAR_DEVICE_GONE && !a->flags) {
        if (!known)
            return;
        o->count--;
        memmove(&o->list[at], &o->list[at + 1],
                (o->count - at) * sizeof(*o->list));
        return;
    }
    if (!known) {
        if (!make_room(o)) {
            o->not_kept++;
            return;
        }
        memmove(&o->list[at + 1], &o->list[at],
                (o->count - at) * sizeof(*o->list));
        o->count++;
    }
    o->list[at].device = *a;
    memcpy(o->list[at].reason, f->text, sizeof(o->list[at].reason));
}

void far_offers_clear(struct far_offers *o)
{
    free(o->list);
    o->list = NULL;
    o->count = o->room = 0;
}

json_t *far_props_json(enum far_class class, const uint8_t bytes[32])
{
    static const struct {
        uint32_t can;
        const char *word;
    } words[] = {
        { FAR_INPUT_CAN_KEYS, "keys" },   { FAR_INPUT_CAN_BUTTONS, "buttons" },
        { FAR_INPUT_CAN_REL, "rel" },     { FAR_INPUT_CAN_ABS, "abs" },
        { FAR_INPUT_CAN_TOUCH, "touch" },
    };
    struct far_input_props props;
    json_t *list = json_array();

    memcpy(&props, bytes, sizeof(props));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (class == FAR_CLASS_INPUT && props.can & words[i].can)
            json_array_append_new(list, json_string(words[i].word));
    }
    return list;
}

json_t *far_offers_json(const struct far_offers *o)
{
    json_t *all = json_array();

    for (unsigned i = 0; i < o->count; i++) {
        const struct far_wire_announce *a = &o->list[i].device;
        const char *reason = o->list[i].reason;

        json_array_append_new(
            all,
            json_pack(
                "{s:s, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "name", a->device,
                "class", far_class_name((enum far_class)a->class), "state",
                a->state == FAR_DEVICE_READY ? "ready" : "gone", "free",
                (a->flags & FAR_WIRE_ANNOUNCE_FREE) != 0, "exclusive",
                (a->flags & FAR_WIRE_ANNOUNCE_EXCLUSIVE) != 0, "read_only",
                (a->flags & FAR_WIRE_ANNOUNCE_READ_ONLY) != 0, "can",
                far_props_json((enum far_class)a->class, a->props), "reason",
                reason[0] ? json_string(reason) : json_null()));
    }
    return all;
}
