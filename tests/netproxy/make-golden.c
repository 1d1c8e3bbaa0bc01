/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One frame of each type with fixed contents: as files (make-golden DIR, by
 * hand, when the wire gets a new version), and for test-wire, which compares
 * them with the files in the tree.
 */
#include <stdio.h>
#include <string.h>
#include "core/input.h"
#include "core/local.h"
#include "tests/netproxy/golden.h"

static void fill(void *out, size_t bytes, uint8_t first)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)out)[i] = (uint8_t)(first + i);
}

static struct far_wire_header header_of(uint8_t type)
{
    struct far_wire_header h = {
        .type = type,
        .lane = FAR_WIRE_LANE_CONTROL,
        .hops = FAR_WIRE_HOPS,
        .handle =
            type > FAR_WIRE_HEARTBEAT && type < FAR_WIRE_SUBSCRIBE ? 7 : 0,
        .credit =
            type == FAR_WIRE_ACTIVATE || type == FAR_WIRE_ACK ? 0x1080u : 0,
        .time_ns = 0x0102030405060708u,
        .acked =
            type == FAR_WIRE_ACTIVATE || type == FAR_WIRE_ACK ? 0x0fffu : 0,
    };

    return h;
}

static size_t fixed(uint8_t *out, size_t room, uint8_t type, const void *body,
                    size_t bytes, const char *text)
{
    struct far_wire_header h = header_of(type);

    return far_wire_encode(out, room, &h, body, bytes, text);
}

static size_t hello(uint8_t *out, size_t room)
{
    struct far_wire_hello b = { .magic = FAR_WIRE_MAGIC,
                                .version_min = 0,
                                .version_max = 0,
                                .frame_max = 16384,
                                .lane = 0,
                                .lanes = 1,
                                .role = FAR_WIRE_CLIENT,
                                .handles_max = 4096,
                                .platform = "atlas" };

    fill(b.link, sizeof(b.link), 0x10);
    fill(b.instance, sizeof(b.instance), 0x20);
    return fixed(out, room, FAR_WIRE_HELLO, &b, sizeof(b), NULL);
}

static size_t error(uint8_t *out, size_t room)
{
    struct far_wire_error b = { .status = -95, .about = 77 };

    return fixed(out, room, FAR_WIRE_ERROR, &b, sizeof(b),
                 "type 77: not known here");
}

static size_t heartbeat(uint8_t *out, size_t room)
{
    struct far_wire_heartbeat b = { .flags = FAR_WIRE_HEARTBEAT_ASKS |
                                             FAR_WIRE_HEARTBEAT_ANSWERS,
                                    .delta_ns = -12345678,
                                    .echo_ns = 0x1122334455667788u,
                                    .held_ns = 4321 };

    return fixed(out, room, FAR_WIRE_HEARTBEAT, &b, sizeof(b), NULL);
}

static size_t prepare(uint8_t *out, size_t room)
{
    struct far_wire_prepare b = { .attachment = 0x0123456789abcdefu,
                                  .class = FAR_CLASS_INPUT,
                                  .guest_devid = 3,
                                  .guest_name = "web server",
                                  .device = "kbd0" };

    fill(b.guest_uuid, sizeof(b.guest_uuid), 0x30);
    fill(b.generation, sizeof(b.generation), 0x40);
    return fixed(out, room, FAR_WIRE_PREPARE, &b, sizeof(b), NULL);
}

static size_t prepared(uint8_t *out, size_t room)
{
    struct far_wire_prepared b = { .class = FAR_CLASS_INPUT,
                                   .flags = FAR_WIRE_PROMPT_ACKS,
                                   .incarnation = 0xa1a2a3a4a5a6a7a8u,
                                   .device_incarnation = 0xb1b2b3b4b5b6b7b8u };

    fill(b.props, sizeof(b.props), 0x50);
    return fixed(out, room, FAR_WIRE_PREPARED, &b, sizeof(b), NULL);
}

static size_t refused(uint8_t *out, size_t room)
{
    struct far_wire_prepared b = { .status = -13 };

    return fixed(out, room, FAR_WIRE_PREPARED, &b, sizeof(b),
                 "[export kbd0] of borealis does not allow the platform atlas");
}

static size_t activate(uint8_t *out, size_t room)
{
    struct far_wire_activate b = { 0xa1a2a3a4a5a6a7a8u, 0x1000 };

    return fixed(out, room, FAR_WIRE_ACTIVATE, &b, sizeof(b), NULL);
}

static size_t activated(uint8_t *out, size_t room)
{
    struct far_wire_activated b = { .incarnation = 0xa1a2a3a4a5a6a7a8u,
                                    .epoch = 0x0005e0c0ffee0001u,
                                    .next = 0x1001 };

    return fixed(out, room, FAR_WIRE_ACTIVATED, &b, sizeof(b), NULL);
}

static struct far_op op_of(uint16_t opcode)
{
    struct far_op op = { .attachment = 0x0123456789abcdefu,
                         .sequence = 0x1001,
                         .opcode = opcode };

    fill(op.args, sizeof(op.args), 0x60);
    return op;
}

static size_t op(uint8_t *out, size_t room)
{
    struct far_wire_header h = header_of(FAR_WIRE_OP);
    struct far_op o = op_of(FAR_OP_NOP(FAR_CLASS_INPUT));

    o.slot = 5;
    o.flags = FAR_OP_SENDS;
    o.payload_bytes = 11;
    return far_wire_encode_op(out, room, &h, &o, "hello world");
}

static size_t feedback(uint8_t *out, size_t room)
{
    struct far_wire_header h = header_of(FAR_WIRE_FEEDBACK);
    struct far_op o = op_of(FAR_OP_NOP(FAR_CLASS_INPUT));

    o.slot = 5;
    o.status = -5;
    return far_wire_encode_op(out, room, &h, &o, NULL);
}

static size_t interrupt(uint8_t *out, size_t room)
{
    struct far_wire_header h = header_of(FAR_WIRE_INTERRUPT);
    struct far_op o = op_of(FAR_INPUT_EVENT);
    struct far_input_event e = { .time_us = 0x0000000123456789u,
                                 .type = FAR_INPUT_KEY,
                                 .code = 30,
                                 .value = 1 };

    memcpy(o.args, &e, sizeof(e));
    return far_wire_encode_op(out, room, &h, &o, NULL);
}

static size_t ack(uint8_t *out, size_t room)
{
    return fixed(out, room, FAR_WIRE_ACK, NULL, 0, NULL);
}

static size_t cancel(uint8_t *out, size_t room)
{
    struct far_wire_cancel b = { .sequence = 0x1001, .slot = 5 };

    return fixed(out, room, FAR_WIRE_CANCEL, &b, sizeof(b), NULL);
}

static size_t detach(uint8_t *out, size_t room)
{
    return fixed(out, room, FAR_WIRE_DETACH, NULL, 0, NULL);
}

static size_t state(uint8_t *out, size_t room)
{
    struct far_wire_state b = { .state = 0,
                                .incarnation = 0xa1a2a3a4a5a6a7a8u,
                                .device_incarnation = 0xb1b2b3b4b5b6b7b8u };

    fill(b.props, sizeof(b.props), 0x50);
    return fixed(out, room, FAR_WIRE_STATE, &b, sizeof(b), "kbd0: unplugged");
}

static size_t data(uint8_t *out, size_t room)
{
    struct far_wire_data b = {
        .sequence = 0x1001, .slot = 5, .offset_bytes = 65536, .bytes = 11
    };
    uint8_t body[sizeof(b) + 16] = { 0 };

    memcpy(body, &b, sizeof(b));
    memcpy(body + sizeof(b), "hello world", 11);
    return fixed(out, room, FAR_WIRE_DATA, body, sizeof(body), NULL);
}

static size_t subscribe(uint8_t *out, size_t room)
{
    struct far_wire_subscribe b = { .classes = 1u << FAR_CLASS_INPUT };

    return fixed(out, room, FAR_WIRE_SUBSCRIBE, &b, sizeof(b), NULL);
}

static size_t announce(uint8_t *out, size_t room)
{
    struct far_wire_announce b = { .class = FAR_CLASS_INPUT,
                                   .state = FAR_DEVICE_READY,
                                   .flags = FAR_WIRE_ANNOUNCE_FREE |
                                            FAR_WIRE_ANNOUNCE_EXCLUSIVE,
                                   .device = "kbd0" };

    fill(b.props, sizeof(b.props), 0x50);
    return fixed(out, room, FAR_WIRE_ANNOUNCE, &b, sizeof(b), NULL);
}

static size_t notify(uint8_t *out, size_t room)
{
    struct far_wire_notify b = { .sequence = 9,
                                 .guest_name = "web server",
                                 .device = "kbd0",
                                 .op = op_of(FAR_INPUT_EVENT) };
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .code = 30,
                                 .value = 1 };

    fill(b.guest_uuid, sizeof(b.guest_uuid), 0x30);
    fill(b.generation, sizeof(b.generation), 0x40);
    memcpy(b.op.args, &e, sizeof(e));
    return fixed(out, room, FAR_WIRE_NOTIFY, &b, sizeof(b), NULL);
}

static size_t notified(uint8_t *out, size_t room)
{
    struct far_wire_notified b = { .sequence = 9, .status = -3 };

    return fixed(out, room, FAR_WIRE_NOTIFIED, &b, sizeof(b),
                 "no such guest lives here");
}

/* As over a relay: what only stands there. */

static size_t with(uint8_t *out, size_t room, uint16_t type, const void *value,
                   size_t bytes)
{
    return far_wire_add_option(out, room, type, value, bytes);
}

static size_t with_name(uint8_t *out, size_t room, uint16_t type,
                        const char *name)
{
    char value[FAR_NAME_BYTES] = { 0 };

    snprintf(value, sizeof(value), "%s", name);
    return with(out, room, type, value, sizeof(value));
}

static size_t prepare_relayed(uint8_t *out, size_t room)
{
    struct far_wire_limits limits = { FAR_WIRE_SLOTS_MAX, 262144 };

    prepare(out, room);
    with_name(out, room, FAR_WIRE_OPTION_DEVICE, "kbd1");
    with(out, room, FAR_WIRE_OPTION_LIMITS, &limits, sizeof(limits));
    with_name(out, room, FAR_WIRE_OPTION_ORIGIN, "atlas");
    return with_name(out, room, FAR_WIRE_OPTION_VISITED, "borealis");
}

static size_t prepared_challenge(uint8_t *out, size_t room)
{
    struct far_wire_prepared b = { .status = -129 };
    uint8_t challenge[152] = { 0 };
    uint64_t expires_us = 0x0000001122334455u;

    fill(challenge, 16, 0x70);
    memcpy(challenge + 16, &expires_us, sizeof(expires_us));
    memcpy(challenge + 24, "cygnus", 6);
    memcpy(challenge + 88, "borealis", 8);
    fixed(out, room, FAR_WIRE_PREPARED, &b, sizeof(b), NULL);
    with(out, room, FAR_WIRE_OPTION_CHALLENGE, challenge, sizeof(challenge));
    return with_name(out, room, FAR_WIRE_OPTION_DEVICE, "kbd0");
}

static size_t prepare_signed(uint8_t *out, size_t room)
{
    uint8_t signature[32 + 64];
    uint32_t head[2] = { 1, 64 };
    uint64_t expires_us = 0x0000001122334455u;

    memcpy(signature, head, sizeof(head));
    fill(signature + 8, 16, 0x70);
    memcpy(signature + 24, &expires_us, sizeof(expires_us));
    fill(signature + 32, 64, 0x80);
    prepare(out, room);
    return with(out, room, FAR_WIRE_OPTION_SIGNATURE, signature,
                sizeof(signature));
}

static size_t feedback_timed(uint8_t *out, size_t room)
{
    struct far_wire_header h = header_of(FAR_WIRE_FEEDBACK);
    struct far_op o = op_of(FAR_OP_NOP(FAR_CLASS_INPUT));
    struct far_wire_times times = { 0x0102030405060710u, 0x0102030405060720u,
                                    0x0102030405060730u };

    o.slot = 5;
    o.flags = FAR_OP_TIMED;
    far_wire_encode_op(out, room, &h, &o, NULL);
    return with(out, room, FAR_WIRE_OPTION_TIMES, &times, sizeof(times));
}

static size_t notify_relayed(uint8_t *out, size_t room)
{
    struct far_wire_source source = { .sequence = 41 };

    fill(source.instance, sizeof(source.instance), 0x20);
    notify(out, room);
    with_name(out, room, FAR_WIRE_OPTION_TARGET | FAR_WIRE_OPTION_MUST,
              "atlas");
    with(out, room, FAR_WIRE_OPTION_SOURCE | FAR_WIRE_OPTION_MUST, &source,
         sizeof(source));
    with_name(out, room, FAR_WIRE_OPTION_ORIGIN, "cygnus");
    return with_name(out, room, FAR_WIRE_OPTION_VISITED, "borealis");
}

static size_t notified_relayed(uint8_t *out, size_t room)
{
    notified(out, room);
    return with_name(out, room, FAR_WIRE_OPTION_TARGET | FAR_WIRE_OPTION_MUST,
                     "atlas");
}

const struct golden golden_frames[] = {
    { "hello", FAR_WIRE_HELLO, hello },
    { "error", FAR_WIRE_ERROR, error },
    { "heartbeat", FAR_WIRE_HEARTBEAT, heartbeat },
    { "prepare", FAR_WIRE_PREPARE, prepare },
    { "prepared", FAR_WIRE_PREPARED, prepared },
    { "refused", FAR_WIRE_PREPARED, refused },
    { "activate", FAR_WIRE_ACTIVATE, activate },
    { "activated", FAR_WIRE_ACTIVATED, activated },
    { "op", FAR_WIRE_OP, op },
    { "feedback", FAR_WIRE_FEEDBACK, feedback },
    { "interrupt", FAR_WIRE_INTERRUPT, interrupt },
    { "ack", FAR_WIRE_ACK, ack },
    { "cancel", FAR_WIRE_CANCEL, cancel },
    { "detach", FAR_WIRE_DETACH, detach },
    { "state", FAR_WIRE_STATE, state },
    { "data", FAR_WIRE_DATA, data },
    { "subscribe", FAR_WIRE_SUBSCRIBE, subscribe },
    { "announce", FAR_WIRE_ANNOUNCE, announce },
    { "notify", FAR_WIRE_NOTIFY, notify },
    { "notified", FAR_WIRE_NOTIFIED, notified },
    { "prepare-relayed", FAR_WIRE_PREPARE, prepare_relayed },
    { "prepared-challenge", FAR_WIRE_PREPARED, prepared_challenge },
    { "prepare-signed", FAR_WIRE_PREPARE, prepare_signed },
    { "feedback-timed", FAR_WIRE_FEEDBACK, feedback_timed },
    { "notify-relayed", FAR_WIRE_NOTIFY, notify_relayed },
    { "notified-relayed", FAR_WIRE_NOTIFIED, notified_relayed },
    { NULL, 0, NULL },
};

#ifdef MAKE_GOLDEN
int main(int argc, char **argv)
{
    const struct golden *g;

    if (argc != 2) {
        fprintf(stderr, "usage: make-golden DIR\n");
        return 2;
    }
    for (g = golden_frames; g->name; g++) {
        uint8_t frame[1024];
        char path[512];
        size_t n = g->make(frame, sizeof(frame));
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s.bin", argv[1], g->name);
        f = fopen(path, "wb");
        if (!f || fwrite(frame, 1, n, f) != n || fclose(f)) {
            perror(path);
            return 1;
        }
    }
    return 0;
}
#endif
