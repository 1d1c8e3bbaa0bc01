/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames in words (netproxy/describe.h). In order: values, classes, bodies,
 * options, the whole.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "core/stream.h"
#include "core/input.h"
#include "core/local.h"
#include "core/uuid.h"
#include "netproxy/describe.h"
#include "netproxy/wire.h"

/* Values. Numbers above 2^63 are told as text: JSON's integers end there. */

static void put(json_t *to, const char *key, uint64_t value)
{
    char text[24];

    if (value <= INT64_MAX) {
        json_object_set_new(to, key, json_integer((json_int_t)value));
        return;
    }
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    json_object_set_new(to, key, json_string(text));
}

static void put_signed(json_t *to, const char *key, int64_t value)
{
    json_object_set_new(to, key, json_integer(value));
}

static void put_id(json_t *to, const char *key, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
    json_object_set_new(to, key, json_string(text));
}

static json_t *hex(const uint8_t *data, size_t bytes)
{
    char *text = malloc(2 * bytes + 1);
    json_t *value;

    if (!text)
        return NULL;
    text[0] = 0;
    for (size_t i = 0; i < bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", data[i]);
    value = json_string(text);
    free(text);
    return value;
}

static void put_hex(json_t *to, const char *key, const void *data, size_t bytes)
{
    json_object_set_new(to, key, hex(data, bytes));
}

static void put_uuid(json_t *to, const char *key, const uint8_t uuid[16])
{
    char text[FAR_UUID_TEXT_BYTES];

    json_object_set_new(to, key, json_string(far_uuid_format(text, uuid)));
}

/* A field of fixed length, of which nothing is sure. */
static void put_text(json_t *to, const char *key, const char *field,
                     size_t bytes)
{
    size_t n = strnlen(field, bytes);
    json_t *text = json_stringn(field, n); /* NULL: no UTF-8 */

    json_object_set_new(to, key, text ? text : hex((const void *)field, n));
}

struct bit {
    uint64_t mask;
    const char *name;
};

/* "must+pieces+0x40"; "0" if there are none. */
static void put_bits(json_t *to, const char *key, uint64_t value,
                     const struct bit *bits)
{
    char text[256] = "";
    size_t used = 0;

    for (; bits->mask; bits++) {
        if (!(value & bits->mask))
            continue;
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
                                 used ? "+" : "", bits->name);
        value &= ~bits->mask;
    }
    if (value)
        snprintf(text + used, sizeof(text) - used, "%s0x%llx", used ? "+" : "",
                 (unsigned long long)value);
    json_object_set_new(to, key, json_string(text[0] ? text : "0"));
}

/* The name of a number, or the number. */
static void put_name(json_t *to, const char *key, uint64_t value,
                     const char *const *names, size_t count)
{
    if (value < count && names[value])
        json_object_set_new(to, key, json_string(names[value]));
    else
        put(to, key, value);
}

#define PUT_NAME(to, key, value, names) \
    put_name(to, key, value, names, sizeof(names) / sizeof((names)[0]))

static void put_class(json_t *to, const char *key, uint32_t class)
{
    const char *name = far_class_name((enum far_class) class);

    if (class && class <= FAR_CLASS_STREAM && name)
        json_object_set_new(to, key, json_string(name));
    else
        put(to, key, class);
}

/* Classes: what arguments and properties mean. */

static void put_input_event(json_t *to, const uint8_t *args)
{
    static const char *const types[] = {
        [FAR_INPUT_MOTION] = "motion",
        [FAR_INPUT_KEY] = "key",
        [FAR_INPUT_POS] = "pos",
        [FAR_INPUT_TOUCH] = "touch",
        [FAR_INPUT_STATE_BEGIN] = "state-begin",
        [FAR_INPUT_STATE_END] = "state-end",
    };
    static const struct bit flags[] = { { FAR_INPUT_HELD, "held" },
                                        { FAR_INPUT_MADE, "made" },
                                        { 0, NULL } };
    struct far_input_event e;

    memcpy(&e, args, sizeof(e));
    PUT_NAME(to, "event", e.type, types);
    put(to, "time_us", e.time_us);
    put_bits(to, "event_flags", e.flags, flags);
    put(to, "code", e.code);
    put_signed(to, "value", e.value);
    put_signed(to, "x", e.x);
    put_signed(to, "y", e.y);
    put_signed(to, "z", e.z);
}

static void put_block_args(json_t *to, const uint8_t *args)
{
    static const struct bit flags[] = { { FAR_BLOCK_FUA, "fua" },
                                        { FAR_BLOCK_SECURE, "secure" },
                                        { FAR_BLOCK_ZERO, "zero" },
                                        { 0, NULL } };
    struct far_block_args a;

    memcpy(&a, args, sizeof(a));
    put(to, "offset_bytes", a.offset_bytes);
    put(to, "length_bytes", a.length_bytes);
    put(to, "covers", a.covers);
    put_bits(to, "block_flags", a.flags, flags);
    put(to, "incarnation", a.incarnation);
}

static void put_input_props(json_t *to, const uint8_t *props)
{
    static const struct bit can[] = {
        { FAR_INPUT_CAN_KEYS, "keys" },   { FAR_INPUT_CAN_BUTTONS, "buttons" },
        { FAR_INPUT_CAN_REL, "rel" },     { FAR_INPUT_CAN_ABS, "abs" },
        { FAR_INPUT_CAN_TOUCH, "touch" }, { 0, NULL }
    };
    struct far_input_props p;

    memcpy(&p, props, sizeof(p));
    put_bits(to, "can", p.can, can);
    put(to, "contacts", p.contacts);
}

static void put_block_props(json_t *to, const uint8_t *props)
{
    static const struct bit can[] = { { FAR_BLOCK_CAN_WRITE, "write" },
                                      { FAR_BLOCK_CAN_FLUSH, "flush" },
                                      { FAR_BLOCK_CAN_DISCARD, "discard" },
                                      { FAR_BLOCK_CAN_SECURE, "secure" },
                                      { FAR_BLOCK_REMOVABLE, "removable" },
                                      { FAR_BLOCK_CDROM, "cdrom" },
                                      { FAR_BLOCK_VOLATILE, "volatile" },
                                      { 0, NULL } };
    struct far_block_props p;

    memcpy(&p, props, sizeof(p));
    put(to, "disk_bytes", p.bytes);
    put_bits(to, "can", p.can, can);
    put(to, "physical_bytes", p.physical_bytes);
    put(to, "discard_bytes", p.discard_bytes);
    put(to, "discard_align", p.discard_align);
    put(to, "block_bytes", p.block_bytes);
}

static void put_props(json_t *to, uint32_t class, const uint8_t *props)
{
    if (class == FAR_CLASS_INPUT)
        put_input_props(to, props);
    else if (class == FAR_CLASS_BLOCK)
        put_block_props(to, props);
    else
        put_hex(to, "props", props, 32);
}

static void put_opcode(json_t *to, uint16_t opcode)
{
    static const struct {
        uint16_t opcode;
        const char *name;
    } known[] = {
        { FAR_INPUT_EVENT, "input.event" },
        { FAR_BLOCK_READ, "block.read" },
        { FAR_BLOCK_WRITE, "block.write" },
        { FAR_BLOCK_FLUSH, "block.flush" },
        { FAR_BLOCK_DISCARD, "block.discard" },
        { FAR_STREAM_CONNECT, "stream.connect" },
        { FAR_STREAM_WRITE, "stream.write" },
        { FAR_STREAM_READ, "stream.read" },
        { FAR_STREAM_CLOSE, "stream.close" },
    };
    unsigned class = FAR_OPCODE_CLASS(opcode);
    char text[48];

    snprintf(text, sizeof(text), "0x%04x", opcode);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].opcode == opcode)
            snprintf(text, sizeof(text), "%s", known[i].name);
    }
    if (class && class <= FAR_CLASS_STREAM &&
        opcode == FAR_OP_NOP((uint16_t) class))
        snprintf(text, sizeof(text), "%s.nop",
                 far_class_name((enum far_class) class));
    json_object_set_new(to, "opcode", json_string(text));
}

/* Bodies. */

static void put_op(json_t *to, const struct far_op *op)
{
    static const struct bit flags[] = { { FAR_OP_SENDS, "sends" },
                                        { FAR_OP_RECEIVES, "receives" },
                                        { FAR_OP_REPEAT, "repeat" },
                                        { FAR_OP_TIMED, "timed" },
                                        { 0, NULL } };

    put_id(to, "attachment", op->attachment);
    put(to, "sequence", op->sequence);
    put(to, "slot", op->slot);
    put_opcode(to, op->opcode);
    put_bits(to, "op_flags", op->flags, flags);
    put_signed(to, "status", op->status);
    put(to, "payload_bytes", op->payload_bytes);
    if (op->opcode == FAR_INPUT_EVENT)
        put_input_event(to, op->args);
    else if (FAR_OPCODE_CLASS(op->opcode) == FAR_CLASS_BLOCK)
        put_block_args(to, op->args);
    else
        put_hex(to, "args", op->args, sizeof(op->args));
}

static void put_hello(json_t *to, const struct far_wire_hello *h)
{
    static const struct bit none[] = { { 0, NULL } };
    static const char *const roles[] = {
        [FAR_WIRE_CLIENT] = "client", [FAR_WIRE_SERVER] = "server"
    };

    put(to, "version_min", h->version_min);
    put(to, "version_max", h->version_max);
    put(to, "frame_max", h->frame_max);
    put_bits(to, "offers", h->offers, none);
    put_bits(to, "needs", h->needs, none);
    put(to, "hello_lane", h->lane);
    put(to, "lanes", h->lanes);
    PUT_NAME(to, "role", h->role, roles);
    put(to, "handles_max", h->handles_max);
    put_hex(to, "link", h->link, sizeof(h->link));
    put_hex(to, "instance", h->instance, sizeof(h->instance));
    put_text(to, "platform", h->platform, sizeof(h->platform));
}

static void put_error(json_t *to, const struct far_wire_error *e)
{
    char room[16];

    put_signed(to, "status", e->status);
    if (e->about)
        json_object_set_new(to, "about",
                            json_string(far_wire_type_name(e->about, room)));
}

static void put_heartbeat(json_t *to, const struct far_wire_heartbeat *h)
{
    static const struct bit flags[] = { { FAR_WIRE_HEARTBEAT_ASKS, "asks" },
                                        { FAR_WIRE_HEARTBEAT_ANSWERS,
                                          "answers" },
                                        { 0, NULL } };

    put_bits(to, "heartbeat_flags", h->flags, flags);
    if (h->delta_ns != FAR_WIRE_UNKNOWN_NS)
        put_signed(to, "delta_ns", h->delta_ns);
    put(to, "echo_ns", h->echo_ns);
    put(to, "held_ns", h->held_ns);
}

static void put_prepare(json_t *to, const struct far_wire_prepare *p)
{
    put_id(to, "attachment", p->attachment);
    put_uuid(to, "guest_uuid", p->guest_uuid);
    put_uuid(to, "generation", p->generation);
    put_class(to, "class", p->class);
    put(to, "guest_devid", p->guest_devid);
    put_text(to, "guest_name", p->guest_name, sizeof(p->guest_name));
    put_text(to, "device", p->device, sizeof(p->device));
}

static void put_prepared(json_t *to, const struct far_wire_prepared *p)
{
    static const struct bit flags[] = { { FAR_WIRE_PROMPT_ACKS, "prompt-acks" },
                                        { FAR_WIRE_EXCLUSIVE, "exclusive" },
                                        { FAR_WIRE_LEASED, "leased" },
                                        { 0, NULL } };

    put_signed(to, "status", p->status);
    put_class(to, "class", p->class);
    put_bits(to, "prepared_flags", p->flags, flags);
    put_id(to, "incarnation", p->incarnation);
    put_id(to, "device_incarnation", p->device_incarnation);
    put_props(to, p->class, p->props);
}

static void put_announce(json_t *to, const struct far_wire_announce *a)
{
    static const struct bit flags[] = {
        { FAR_WIRE_ANNOUNCE_FREE, "free" },
        { FAR_WIRE_ANNOUNCE_EXCLUSIVE, "exclusive" },
        { FAR_WIRE_ANNOUNCE_READ_ONLY, "read-only" },
        { 0, NULL }
    };
    static const char *const states[] = { "gone", "there" };

    put_class(to, "class", a->class);
    PUT_NAME(to, "state", a->state, states);
    put_bits(to, "announce_flags", a->flags, flags);
    put_text(to, "device", a->device, sizeof(a->device));
    put_props(to, a->class, a->props);
}

static void put_notify(json_t *to, const struct far_wire_notify *n)
{
    json_t *op = json_object();

    put(to, "sequence", n->sequence);
    put_uuid(to, "guest_uuid", n->guest_uuid);
    put_uuid(to, "generation", n->generation);
    put_text(to, "guest_name", n->guest_name, sizeof(n->guest_name));
    put_text(to, "device", n->device, sizeof(n->device));
    put_op(op, &n->op);
    json_object_set_new(to, "op", op);
}

static void put_state(json_t *to, const struct far_wire_state *s)
{
    static const char *const states[] = {
        [FAR_DEVICE_GONE] = "gone", [FAR_DEVICE_READY] = "ready"
    };

    PUT_NAME(to, "state", s->state, states);
    put_id(to, "incarnation", s->incarnation);
    put_id(to, "device_incarnation", s->device_incarnation);
    put_hex(to, "props", s->props, sizeof(s->props)); /* of which class? */
}

static void put_body(json_t *to, const struct far_wire_frame *f)
{
    switch (f->header.type) {
    case FAR_WIRE_HELLO:
        put_hello(to, &f->hello);
        break;
    case FAR_WIRE_ERROR:
        put_error(to, &f->error);
        break;
    case FAR_WIRE_HEARTBEAT:
        put_heartbeat(to, &f->heartbeat);
        break;
    case FAR_WIRE_PREPARE:
        put_prepare(to, &f->prepare);
        break;
    case FAR_WIRE_PREPARED:
        put_prepared(to, &f->prepared);
        break;
    case FAR_WIRE_ACTIVATE:
        put_id(to, "incarnation", f->activate.incarnation);
        put(to, "received", f->activate.received);
        break;
    case FAR_WIRE_ACTIVATED:
        put_signed(to, "status", f->activated.status);
        put_id(to, "incarnation", f->activated.incarnation);
        put(to, "epoch", f->activated.epoch);
        put(to, "next", f->activated.next);
        break;
    case FAR_WIRE_OP:
    case FAR_WIRE_FEEDBACK:
    case FAR_WIRE_INTERRUPT:
        put_op(to, &f->op);
        break;
    case FAR_WIRE_CANCEL:
        put(to, "sequence", f->cancel.sequence);
        put(to, "slot", f->cancel.slot);
        break;
    case FAR_WIRE_STATE:
        put_state(to, &f->state);
        break;
    case FAR_WIRE_DATA:
        put(to, "sequence", f->data.sequence);
        put(to, "slot", f->data.slot);
        put(to, "offset_bytes", f->data.offset_bytes);
        put(to, "piece_bytes", f->data.bytes);
        break;
    case FAR_WIRE_SUBSCRIBE:
        put_bits(to, "classes", f->subscribe.classes,
                 (const struct bit[]){ { 1 << FAR_CLASS_INPUT, "input" },
                                       { 1 << FAR_CLASS_SOUND, "sound" },
                                       { 1 << FAR_CLASS_DISPLAY, "display" },
                                       { 1 << FAR_CLASS_BLOCK, "block" },
                                       { 1 << FAR_CLASS_TIMER, "timer" },
                                       { 1 << FAR_CLASS_DOORBELL, "doorbell" },
                                       { 1 << FAR_CLASS_INTC, "intc" },
                                       { 1 << FAR_CLASS_STREAM, "stream" },
                                       { 0, NULL } });
        break;
    case FAR_WIRE_ANNOUNCE:
        put_announce(to, &f->announce);
        break;
    case FAR_WIRE_NOTIFY:
        put_notify(to, &f->notify);
        break;
    case FAR_WIRE_NOTIFIED:
        put(to, "sequence", f->notified.sequence);
        put_signed(to, "status", f->notified.status);
        break;
    default: /* ACK, DETACH: the header says all */
        break;
    }
}

/* Options. */

static const char *option_name(uint16_t type, char room[24])
{
    static const char *const names[] = {
        [FAR_WIRE_OPTION_TEXT] = "text",
        [FAR_WIRE_OPTION_VISITED] = "visited",
        [FAR_WIRE_OPTION_ORIGIN] = "origin",
        [FAR_WIRE_OPTION_CHALLENGE] = "challenge",
        [FAR_WIRE_OPTION_SIGNATURE] = "signature",
        [FAR_WIRE_OPTION_CERTIFICATE] = "certificate",
        [FAR_WIRE_OPTION_TIMES] = "times",
        [FAR_WIRE_OPTION_WANT] = "want",
        [FAR_WIRE_OPTION_LIMITS] = "limits",
        [FAR_WIRE_OPTION_DEVICE] = "device",
        [FAR_WIRE_OPTION_TARGET] = "target",
        [FAR_WIRE_OPTION_SOURCE] = "source",
    };
    uint16_t number = type & (uint16_t)~FAR_WIRE_OPTION_MUST;

    if (number < sizeof(names) / sizeof(names[0]) && names[number])
        return names[number];
    snprintf(room, 24, "option %u", number);
    return room;
}

static json_t *times(const uint8_t *value, size_t bytes)
{
    struct far_wire_times t;
    json_t *to;

    if (bytes != 8 && bytes != sizeof(t))
        return hex(value, bytes);
    memcpy(&t, value, bytes);
    to = json_object();
    put(to, bytes == 8 ? "raised_ns" : "received_ns", t.received_ns);
    if (bytes == sizeof(t)) {
        put(to, "submitted_ns", t.submitted_ns);
        put(to, "done_ns", t.done_ns);
    }
    return to;
}

static json_t *option_value(const struct far_wire_frame *f, uint16_t type,
                            const uint8_t *value, size_t bytes)
{
    json_t *names;

    switch (type & ~FAR_WIRE_OPTION_MUST) {
    case FAR_WIRE_OPTION_TEXT:
        return json_string(f->text);
    case FAR_WIRE_OPTION_LIMITS:
        if (bytes == 8) {
            uint32_t limits[2];

            memcpy(limits, value, sizeof(limits));
            return json_pack("{s:I, s:I}", "slots", (json_int_t)limits[0],
                             "payload_bytes", (json_int_t)limits[1]);
        }
        return hex(value, bytes);
    case FAR_WIRE_OPTION_TIMES:
        return times(value, bytes);
    case FAR_WIRE_OPTION_SOURCE:
        if (bytes == sizeof(struct far_wire_source)) {
            struct far_wire_source source;

            memcpy(&source, value, sizeof(source));
            return json_pack("{s:o, s:I}", "instance",
                             hex(source.instance, sizeof(source.instance)),
                             "sequence", (json_int_t)source.sequence);
        }
        return hex(value, bytes);
    case FAR_WIRE_OPTION_VISITED:
    case FAR_WIRE_OPTION_ORIGIN:
    case FAR_WIRE_OPTION_DEVICE:
    case FAR_WIRE_OPTION_TARGET:
        if (!bytes || bytes % FAR_NAME_BYTES)
            return hex(value, bytes);
        names = json_array();
        for (; bytes; bytes -= FAR_NAME_BYTES, value += FAR_NAME_BYTES) {
            json_t *name =
                json_stringn((const char *)value,
                             strnlen((const char *)value, FAR_NAME_BYTES));

            json_array_append_new(names,
                                  name ? name : hex(value, FAR_NAME_BYTES));
        }
        return names;
    default:
        return hex(value, bytes);
    }
}

static void put_options(json_t *to, const struct far_wire_frame *f)
{
    const uint8_t *at = f->options;
    size_t left = f->options_bytes;
    json_t *all = json_array();

    while (left >= 8) { /* far_wire_decode() has seen that they fit */
        struct far_wire_option option;
        char room[24];
        json_t *one;

        memcpy(&option, at, sizeof(option));
        if (option.type != FAR_WIRE_OPTION_PAD) {
            one = json_object();
            json_object_set_new(one, "option",
                                json_string(option_name(option.type, room)));
            if (option.type & FAR_WIRE_OPTION_MUST)
                json_object_set_new(one, "must", json_true());
            json_object_set_new(one, "value",
                                option_value(f, option.type,
                                             at + sizeof(option),
                                             option.bytes));
            json_array_append_new(all, one);
        }
        left -= FAR_WIRE_OPTION_ROOM(option.bytes);
        at += FAR_WIRE_OPTION_ROOM(option.bytes);
    }
    if (json_array_size(all))
        json_object_set_new(to, "options", all);
    else
        json_decref(all);
}

/* The whole. */

static void put_header(json_t *to, const struct far_wire_header *h)
{
    static const struct bit flags[] = { { FAR_WIRE_MUST, "must" },
                                        { FAR_WIRE_PIECES, "pieces" },
                                        { 0, NULL } };
    char room[16];

    json_object_set_new(to, "type",
                        json_string(far_wire_type_name(h->type, room)));
    put(to, "bytes", h->bytes);
    put_bits(to, "flags", h->flags, flags);
    put(to, "lane", h->lane);
    put(to, "hops", h->hops);
    put(to, "handle", h->handle);
    put(to, "credit", h->credit);
    put(to, "time_ns", h->time_ns);
    put(to, "acked", h->acked);
}

json_t *far_wire_describe(const uint8_t *data, size_t bytes, size_t payload_max)
{
    struct far_error error = { 0 };
    struct far_wire_frame f;
    json_t *to = json_object();
    int rc = far_wire_decode(&f, data, bytes, &error);

    if (!to)
        return NULL;
    put_header(to, &f.header);
    if (rc || !f.known) {
        size_t body = bytes - FAR_WIRE_HEADER_BYTES;

        if (rc)
            json_object_set_new(to, "wrong", json_string(error.text));
        put_hex(to, "body", data + FAR_WIRE_HEADER_BYTES,
                body < payload_max ? body : payload_max);
        return to;
    }
    put_body(to, &f);
    if (f.payload_bytes)
        put_hex(to, "payload", f.payload,
                f.payload_bytes < payload_max ? f.payload_bytes : payload_max);
    put_options(to, &f);
    return to;
}
