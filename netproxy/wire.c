/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Encoding and decoding of frames (netproxy/wire.h, docs/PROTOCOL.md). Pure.
 * The structs of wire.h have no padding and stand in memory as on the wire:
 * little-endian (core/op.h refuses other machines), so a copy is the codec.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "netproxy/wire.h"

static const struct {
    const char *name;
    uint16_t fixed_bytes;
    bool needs_handle;
} types[FAR_WIRE_TYPES] = {
    [FAR_WIRE_HELLO] = { "hello", sizeof(struct far_wire_hello), false },
    [FAR_WIRE_ERROR] = { "error", sizeof(struct far_wire_error), false },
    [FAR_WIRE_HEARTBEAT] = { "heartbeat", sizeof(struct far_wire_heartbeat),
                             false },
    [FAR_WIRE_PREPARE] = { "prepare", sizeof(struct far_wire_prepare), true },
    [FAR_WIRE_PREPARED] = { "prepared", sizeof(struct far_wire_prepared),
                            true },
    [FAR_WIRE_ACTIVATE] = { "activate", sizeof(struct far_wire_activate),
                            true },
    [FAR_WIRE_ACTIVATED] = { "activated", sizeof(struct far_wire_activated),
                             true },
    [FAR_WIRE_OP] = { "op", sizeof(struct far_op), true },
    [FAR_WIRE_FEEDBACK] = { "feedback", sizeof(struct far_op), true },
    [FAR_WIRE_INTERRUPT] = { "interrupt", sizeof(struct far_op), true },
    [FAR_WIRE_ACK] = { "ack", 0, true },
    [FAR_WIRE_CANCEL] = { "cancel", sizeof(struct far_wire_cancel), true },
    [FAR_WIRE_DETACH] = { "detach", 0, true },
    [FAR_WIRE_STATE] = { "state", sizeof(struct far_wire_state), true },
    [FAR_WIRE_DATA] = { "data", sizeof(struct far_wire_data), true },
    [FAR_WIRE_SUBSCRIBE] = { "subscribe", sizeof(struct far_wire_subscribe),
                             false },
    [FAR_WIRE_ANNOUNCE] = { "announce", sizeof(struct far_wire_announce),
                            false },
    [FAR_WIRE_NOTIFY] = { "notify", sizeof(struct far_wire_notify), false },
    [FAR_WIRE_NOTIFIED] = { "notified", sizeof(struct far_wire_notified),
                            false },
};

const char *far_wire_type_name(unsigned type, char room[16])
{
    if (type < FAR_WIRE_TYPES && types[type].name)
        return types[type].name;
    snprintf(room, 16, "type %u", type);
    return room;
}

size_t far_wire_fixed_bytes(unsigned type)
{
    return types[type].fixed_bytes;
}

static size_t pad8(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

int far_wire_next(const uint8_t *data, size_t bytes, uint32_t frame_max,
                  struct far_error *error)
{
    uint32_t length;

    if (bytes < sizeof(length))
        return 0;
    memcpy(&length, data, sizeof(length));
    if (length < FAR_WIRE_HEADER_BYTES || length % 8)
        return far_error(error, -EPROTO, "a frame says it is %u bytes long",
                         length);
    if (length > frame_max || length > FAR_WIRE_FRAME_MAX)
        return far_error(error, -EMSGSIZE,
                         "a frame of %u bytes, where %u are the limit", length,
                         frame_max);
    return length <= bytes ? (int)length : 0;
}

/* How many bytes of a UTF-8 sequence at s are fit to be shown; 0: none. */
static size_t printable(const uint8_t *s, size_t bytes)
{
    size_t n, i;
    uint32_t c;

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    if (s[0] >= 0xc2 && s[0] < 0xe0)
        n = 2, c = s[0] & 0x1fu;
    else if (s[0] >= 0xe0 && s[0] < 0xf0)
        n = 3, c = s[0] & 0x0fu;
    else
        return 0; /* nothing that we say needs four bytes */
    if (n > bytes)
        return 0;
    for (i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < 0xa0 || (n == 3 && c < 0x800) || (c >= 0xd800 && c < 0xe000))
        return 0;
    if (c >= 0x2028 && c <= 0x202e) /* line breaks, changes of direction */
        return 0;
    return n;
}

static void take_text(char *out, const uint8_t *in, size_t bytes)
{
    size_t i = 0, o = 0;

    while (i < bytes && in[i]) {
        size_t n = printable(in + i, bytes - i), copy = n ? n : 1;

        if (o + copy >= FAR_WIRE_TEXT_BYTES)
            break;
        if (n)
            memcpy(out + o, in + i, n);
        else
            out[o] = '?';
        o += copy;
        i += copy;
    }
    out[o] = 0;
}

static int take_options(struct far_wire_frame *frame, const uint8_t *data,
                        size_t bytes, struct far_error *error)
{
    frame->options = data;
    frame->options_bytes = bytes;
    while (bytes >= 8) { /* both are multiples of 8 */
        struct far_wire_option option;
        size_t whole;

        memcpy(&option, data, sizeof(option));
        whole = pad8(sizeof(option) + option.bytes);
        if (whole > bytes)
            return far_error(error, -EPROTO,
                             "an option is longer than its frame");
        if (option.type == FAR_WIRE_OPTION_TEXT)
            take_text(frame->text, data + sizeof(option), option.bytes);
        else if ((option.type & FAR_WIRE_OPTION_MUST) &&
                 (option.type & ~FAR_WIRE_OPTION_MUST) >= FAR_WIRE_OPTIONS)
            frame->refused = true;
        data += whole;
        bytes -= whole;
    }
    return 0;
}

const uint8_t *far_wire_option(const struct far_wire_frame *frame,
                               uint16_t type, size_t *bytes)
{
    const uint8_t *at = frame->options;
    size_t left = frame->options_bytes;

    while (left >= 8) { /* take_options() has seen that they fit */
        struct far_wire_option option;

        memcpy(&option, at, sizeof(option));
        if ((option.type & ~FAR_WIRE_OPTION_MUST) == type) {
            *bytes = option.bytes;
            return at + sizeof(option);
        }
        left -= pad8(sizeof(option) + option.bytes);
        at += pad8(sizeof(option) + option.bytes);
    }
    *bytes = 0;
    return NULL;
}

/* A field of fixed length that holds a name: terminated, zeros behind. */
static bool name_field(const char *field, size_t bytes, bool empty_too)
{
    if (!memchr(field, 0, bytes))
        return false;
    return field[0] ? far_name_valid(field) : empty_too;
}

/* A guest's name is xl's business: whatever is printable. */
static bool string_field(const char *field, size_t bytes)
{
    size_t i;

    if (!memchr(field, 0, bytes))
        return false;
    for (i = 0; field[i]; i++) {
        if (field[i] < 0x20 || field[i] == 0x7f)
            return false;
    }
    return true;
}

static int check_body(struct far_wire_frame *f, struct far_error *error)
{
    char room[16];
    const char *type = far_wire_type_name(f->header.type, room);

    switch (f->header.type) {
    case FAR_WIRE_HELLO:
        if (memcmp(f->hello.magic, FAR_WIRE_MAGIC, 8))
            return far_error(error, -EPROTO,
                             "its hello is not one of Farside's");
        if (!name_field(f->hello.platform, FAR_NAME_BYTES, false))
            return far_error(error, -EPROTO,
                             "its hello gives no proper platform name");
        if (f->hello.version_min > f->hello.version_max ||
            f->hello.frame_max < FAR_WIRE_FRAME_MIN_MAX)
            return far_error(error, -EPROTO, "its hello contradicts itself");
        break;
    case FAR_WIRE_PREPARE:
        if (!name_field(f->prepare.device, FAR_NAME_BYTES, true) ||
            !string_field(f->prepare.guest_name, FAR_NAME_BYTES))
            return far_error(error, -EPROTO, "a prepare with a bad name");
        if (!f->prepare.attachment)
            return far_error(error, -EPROTO, "a prepare for attachment 0");
        break;
    case FAR_WIRE_OP:
        if (f->op.slot >= FAR_WIRE_SLOTS_MAX ||
            FAR_OPCODE_IS_INTERRUPT(f->op.opcode))
            return far_error(error, -EPROTO, "an op that is none");
        break;
    case FAR_WIRE_FEEDBACK:
        if (f->op.slot >= FAR_WIRE_SLOTS_MAX || f->op.status > 0)
            return far_error(error, -EPROTO, "a feedback that is none");
        break;
    case FAR_WIRE_INTERRUPT:
        if (!FAR_OPCODE_IS_INTERRUPT(f->op.opcode) || !f->op.sequence)
            return far_error(error, -EPROTO, "an interrupt that is none");
        break;
    case FAR_WIRE_DATA:
        if (f->data.slot >= FAR_WIRE_SLOTS_MAX || !f->data.bytes ||
            f->data.offset_bytes > FAR_OP_PAYLOAD_MAX ||
            f->data.bytes > FAR_OP_PAYLOAD_MAX - f->data.offset_bytes)
            return far_error(error, -EPROTO, "a piece that is none");
        break;
    case FAR_WIRE_ANNOUNCE:
        if (!name_field(f->announce.device, FAR_NAME_BYTES, false) ||
            f->announce.state > 1)
            return far_error(error, -EPROTO, "an announcement of nothing");
        break;
    case FAR_WIRE_NOTIFY:
        if (!name_field(f->notify.device, FAR_NAME_BYTES, false) ||
            !string_field(f->notify.guest_name, FAR_NAME_BYTES) ||
            !FAR_OPCODE_IS_INTERRUPT(f->notify.op.opcode) ||
            f->notify.op.payload_bytes || !f->notify.sequence)
            return far_error(error, -EPROTO, "a notice that is none");
        break;
    case FAR_WIRE_NOTIFIED:
        if (f->notified.status > 0)
            return far_error(error, -EPROTO, "a %s with status %d", type,
                             f->notified.status);
        break;
    case FAR_WIRE_PREPARED:
        if (f->prepared.status > 0)
            return far_error(error, -EPROTO, "a %s with status %d", type,
                             f->prepared.status);
        break;
    case FAR_WIRE_ACTIVATED:
        if (f->activated.status > 0 ||
            (!f->activated.status &&
             (!f->activated.incarnation || !f->activated.next)))
            return far_error(error, -EPROTO, "an %s that is none", type);
        break;
    case FAR_WIRE_STATE:
        if (f->state.state > 1)
            return far_error(error, -EPROTO, "a device state %u",
                             f->state.state);
        break;
    default:
        break;
    }
    return 0;
}

int far_wire_decode(struct far_wire_frame *f, const uint8_t *data, size_t bytes,
                    struct far_error *error)
{
    size_t fixed, used;
    char room[16];

    memcpy(&f->header, data, sizeof(f->header));
    f->refused = false;
    f->raw = data;
    f->payload = NULL;
    f->payload_bytes = 0;
    f->options = NULL;
    f->options_bytes = 0;
    f->text[0] = 0;
    f->known = f->header.type > 0 && f->header.type < FAR_WIRE_TYPES;
    if (!f->header.type)
        return far_error(error, -EPROTO, "a frame of type 0");
    /* Of an unknown type, too: it would come back in an answer. */
    if (f->header.handle >= FAR_WIRE_HANDLES_MAX)
        return far_error(error, -EPROTO, "a handle above the limit: %u",
                         f->header.handle);
    if (!f->known)
        return 0;
    fixed = types[f->header.type].fixed_bytes;
    if (bytes < FAR_WIRE_HEADER_BYTES + fixed)
        return far_error(error, -EPROTO, "a %s of only %zu bytes",
                         types[f->header.type].name, bytes);
    if (types[f->header.type].needs_handle != (f->header.handle != 0) &&
        f->header.type != FAR_WIRE_ERROR)
        return far_error(error, -EPROTO, "a %s with handle %u",
                         far_wire_type_name(f->header.type, room),
                         f->header.handle);
    memcpy(f->fixed, data + FAR_WIRE_HEADER_BYTES, fixed);
    used = FAR_WIRE_HEADER_BYTES + fixed;
    if (f->header.type >= FAR_WIRE_OP && f->header.type <= FAR_WIRE_INTERRUPT) {
        if (f->op.payload_bytes > FAR_OP_PAYLOAD_MAX)
            return far_error(error, -EPROTO, "a payload of %u bytes",
                             f->op.payload_bytes);
        f->payload_bytes = far_wire_op_payload(&f->header, &f->op);
    } else if (f->header.type == FAR_WIRE_DATA) {
        f->payload_bytes = f->data.bytes;
    }
    if (f->payload_bytes) {
        if (pad8(f->payload_bytes) > bytes - used)
            return far_error(error, -EPROTO,
                             "a payload of %zu bytes in a frame of %zu",
                             f->payload_bytes, bytes);
        f->payload = data + used;
        used += pad8(f->payload_bytes);
    }
    if (used < bytes) {
        int rc = take_options(f, data + used, bytes - used, error);

        if (rc)
            return rc;
    }
    return check_body(f, error);
}

size_t far_wire_encode(uint8_t *out, size_t room,
                       struct far_wire_header *header, const void *fixed,
                       size_t fixed_bytes, const char *text)
{
    size_t bytes = FAR_WIRE_HEADER_BYTES + fixed_bytes, length = 0;

    if (text && text[0]) {
        length = strnlen(text, FAR_WIRE_TEXT_BYTES - 1);
        bytes += pad8(sizeof(struct far_wire_option) + length);
    }
    if (bytes > room)
        return 0;
    header->bytes = (uint32_t)bytes;
    memcpy(out, header, FAR_WIRE_HEADER_BYTES);
    if (fixed_bytes)
        memcpy(out + FAR_WIRE_HEADER_BYTES, fixed, fixed_bytes);
    if (length) {
        uint8_t *at = out + FAR_WIRE_HEADER_BYTES + fixed_bytes;
        struct far_wire_option option = { FAR_WIRE_OPTION_TEXT,
                                          (uint16_t)length };

        memset(at, 0, (size_t)(out + bytes - at));
        memcpy(at, &option, sizeof(option));
        memcpy(at + sizeof(option), text, length);
    }
    return bytes;
}

size_t far_wire_add_option(uint8_t *out, size_t room, uint16_t type,
                           const void *value, size_t bytes)
{
    struct far_wire_option option = { type, (uint16_t)bytes };
    uint32_t length;
    size_t more = FAR_WIRE_OPTION_ROOM(bytes);

    memcpy(&length, out, sizeof(length));
    if (bytes > UINT16_MAX || length > room || more > room - length)
        return 0;
    memset(out + length, 0, more);
    memcpy(out + length, &option, sizeof(option));
    memcpy(out + length + sizeof(option), value, bytes);
    length += (uint32_t)more;
    memcpy(out, &length, sizeof(length));
    return length;
}

uint32_t far_wire_op_payload(const struct far_wire_header *header,
                             const struct far_op *op)
{
    uint16_t way = header->type == FAR_WIRE_OP ? FAR_OP_SENDS : FAR_OP_RECEIVES;

    if (header->type == FAR_WIRE_INTERRUPT)
        return op->payload_bytes;
    if ((header->flags & FAR_WIRE_PIECES) || !(op->flags & way))
        return 0;
    return op->payload_bytes;
}

size_t far_wire_encode_op(uint8_t *out, size_t room,
                          struct far_wire_header *header,
                          const struct far_op *op, const void *payload)
{
    size_t bytes = far_wire_op_bytes(header, op);
    uint32_t payload_bytes = far_wire_op_payload(header, op);
    uint8_t *at = out + FAR_WIRE_HEADER_BYTES + sizeof(*op);

    if (bytes > room)
        return 0;
    header->bytes = (uint32_t)bytes;
    memcpy(out, header, FAR_WIRE_HEADER_BYTES);
    memcpy(out + FAR_WIRE_HEADER_BYTES, op, sizeof(*op));
    if (payload_bytes) {
        memcpy(at, payload, payload_bytes);
        memset(at + payload_bytes, 0, pad8(payload_bytes) - payload_bytes);
    }
    return bytes;
}

int far_wire_version(const struct far_wire_hello *mine,
                     const struct far_wire_hello *theirs)
{
    uint16_t high = mine->version_max < theirs->version_max
                        ? mine->version_max
                        : theirs->version_max;
    uint16_t low = mine->version_min > theirs->version_min
                       ? mine->version_min
                       : theirs->version_min;

    return high >= low ? high : -EPROTONOSUPPORT;
}
