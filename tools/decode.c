// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside decode: frames of the wire in words, one a line. What a frame's
// fields are is in netproxy/describe.c; here are the containers (a raw stream,
// or the pcapng that netproxy/capture.c writes), the lines, and the command.

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "netproxy/capture.h"
#include "netproxy/describe.h"
#include "netproxy/wire.h"
#include "tools/decode.h"
#include "tools/tool.h"

#define PAYLOAD_SHOWN 16
#define FILE_MAX      ((size_t)FAR_CAPTURE_BYTES_MAX)

// Lines.

static void print_value(FILE *out, const json_t *value)
{
    const char *text = json_string_value(value);
    char *dump;

    // A bare word where it can't be mistaken.
    if (text && *text && !text[strcspn(text, " \"=\\{}[],'")] &&
        !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
                           "Z0123456789.+-_:")]) {
        fputs(text, out);
        return;
    }
    dump =
        json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
    fputs(dump ? dump : "?", out);
    free(dump);
}

static void print_line(FILE *out, const json_t *frame)
{
    const char *direction = far_json_text(frame, "direction");
    const char *key;
    json_t *value, *option;
    size_t i;

    if (json_object_get(frame, "time"))
        fprintf(out, "%s ", far_json_text(frame, "time"));
    if (*direction)
        fprintf(out, "%s ", !strcmp(direction, "out") ? ">" : "<");
    fputs(far_json_text(frame, "type"), out);
    json_object_foreach ((json_t *)(uintptr_t)frame, key, value) {
        if (!strcmp(key, "time") || !strcmp(key, "direction") ||
            !strcmp(key, "type") || !strcmp(key, "options"))
            continue;
        fprintf(out, " %s=", key);
        print_value(out, value);
    }
    json_array_foreach (json_object_get(frame, "options"), i, option) {
        const char *name = far_json_text(option, "option");

        fputc(' ', out);
        for (; *name; name++)
            fputc(*name == ' ' ? '-' : *name, out);
        if (json_object_get(option, "must"))
            fputs("(must)", out);
        fputc('=', out);
        print_value(out, json_object_get(option, "value"));
    }
    fputc('\n', out);
}

// "2026-11-25T10:07:14.123456789Z"
static json_t *time_text(uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    char text[64], whole[32];
    struct tm tm;

    if (!gmtime_r(&seconds, &tm) ||
        !strftime(whole, sizeof(whole), "%Y-%m-%dT%H:%M:%S", &tm))
        return json_integer((json_int_t)(ns >> 1));
    snprintf(text, sizeof(text), "%s.%09uZ", whole,
             (unsigned)(ns % 1000000000));
    return json_string(text);
}

struct packet {
    uint64_t time_ns;   // 0: not known
    unsigned direction; // 1 in, 2 out
};

static int show(struct far_decode *d, const uint8_t *data, size_t bytes,
                const struct packet *packet)
{
    json_t *frame = far_wire_describe(data, bytes, d->payload_max);
    json_t *line = json_object();

    if (!frame || !line) {
        json_decref(frame);
        json_decref(line);
        return -ENOMEM;
    }
    if (packet && packet->time_ns)
        json_object_set_new(line, "time", time_text(packet->time_ns));
    if (packet && (packet->direction == 1 || packet->direction == 2))
        json_object_set_new(line, "direction",
                            json_string(packet->direction == 2 ? "out" : "in"));
    json_object_update(line, frame);
    d->frames++;
    if (json_object_get(frame, "wrong"))
        d->wrong++;
    if (d->as_json) {
        json_dumpf(line, d->out, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', d->out);
    } else {
        print_line(d->out, line);
    }
    json_decref(frame);
    json_decref(line);
    return 0;
}

// Containers.

static int trouble(struct far_decode *d, size_t at, const char *what)
{
    snprintf(d->trouble, sizeof(d->trouble), "at byte %zu: %s", at, what);
    return -EPROTO;
}

static int stream(struct far_decode *d, const uint8_t *data, size_t bytes,
                  size_t base, const struct packet *packet)
{
    size_t at = 0;

    while (at < bytes) {
        struct far_error error = { 0 };
        int n =
            far_wire_next(data + at, bytes - at, FAR_WIRE_FRAME_MAX, &error);

        if (n < 0)
            return trouble(d, base + at, error.text);
        if (!n)
            return trouble(d, base + at, "the last frame is cut off");
        if (show(d, data + at, (size_t)n, packet))
            return -ENOMEM;
        at += (size_t)n;
    }
    return 0;
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static uint16_t u16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

#define INTERFACES_MAX 32

struct pcapng {
    unsigned interfaces;
    bool ours[INTERFACES_MAX]; // of our link type
    uint8_t resolution[INTERFACES_MAX];
};

// The value of an option in a block's options, or NULL.
static const uint8_t *find_option(const uint8_t *at, size_t bytes,
                                  uint16_t type, size_t wanted)
{
    while (bytes >= 4) {
        size_t length = u16(at + 2), whole = 4 + ((length + 3) & ~(size_t)3);

        if (whole > bytes || !u16(at))
            return NULL;
        if (u16(at) == type && length == wanted)
            return at + 4;
        at += whole;
        bytes -= whole;
    }
    return NULL;
}

static void take_interface(struct pcapng *p, const uint8_t *body, size_t bytes)
{
    const uint8_t *resolution;
    unsigned i = p->interfaces;

    if (i == INTERFACES_MAX || bytes < 8)
        return;
    resolution = find_option(body + 8, bytes - 8, 9, 1);
    p->ours[i] = u16(body) == FAR_PCAPNG_LINK_TYPE;
    p->resolution[i] = resolution ? *resolution : 6;
    p->interfaces++;
}

static uint64_t to_ns(uint64_t time, uint8_t resolution)
{
    // Only powers of ten down to nanoseconds: others are shown without a time.
    if (resolution > 9)
        return 0;
    for (; resolution < 9; resolution++)
        if (__builtin_mul_overflow(time, 10, &time))
            return 0;
    return time;
}

static int take_packet(struct far_decode *d, const struct pcapng *p,
                       const uint8_t *body, size_t bytes, size_t base)
{
    struct packet packet = { 0 };
    const uint8_t *flags;
    size_t captured, padded;
    uint32_t interface;

    if (bytes < 20)
        return trouble(d, base, "a packet block that is too short");
    interface = u32(body);
    captured = u32(body + 12);
    padded = (captured + 3) & ~(size_t)3;
    if (padded > bytes - 20)
        return trouble(d, base, "a packet that is longer than its block");
    if (interface >= p->interfaces || !p->ours[interface])
        return 0; // another link type: not ours to read
    packet.time_ns = to_ns((uint64_t)u32(body + 4) << 32 | u32(body + 8),
                           p->resolution[interface]);
    flags = find_option(body + 20 + padded, bytes - 20 - padded, 2, 4);
    packet.direction = flags ? u32(flags) & 3 : 0;
    return stream(d, body + 20, captured, base + 20, &packet);
}

static int pcapng(struct far_decode *d, const uint8_t *data, size_t bytes)
{
    struct pcapng p = { 0 };
    size_t at = 0;

    while (at < bytes) {
        const uint8_t *block = data + at;
        size_t left = bytes - at, whole;
        int rc = 0;

        if (left < 12)
            return trouble(d, at, "the last block is cut off");
        whole = u32(block + 4);
        if (u32(block) == FAR_PCAPNG_SECTION) {
            if (u32(block + 8) != FAR_PCAPNG_ORDER)
                return trouble(d, at, "a pcapng file of a big-endian machine");
            memset(&p, 0, sizeof(p));
        }
        if (whole < 12 || whole % 4)
            return trouble(d, at, "this is no pcapng block");
        if (whole > left)
            return trouble(d, at, "the last block is cut off");
        if (u32(block) == FAR_PCAPNG_INTERFACE)
            take_interface(&p, block + 8, whole - 12);
        else if (u32(block) == FAR_PCAPNG_PACKET)
            rc = take_packet(d, &p, block + 8, whole - 12, at + 8);
        if (rc)
            return rc;
        at += whole;
    }
    return 0;
}

int far_decode(struct far_decode *d, const uint8_t *data, size_t bytes)
{
    d->trouble[0] = 0;
    if (bytes >= 12 && u32(data) == FAR_PCAPNG_SECTION)
        return pcapng(d, data, bytes);
    return stream(d, data, bytes, 0, NULL);
}

// The command.

static uint8_t *read_all(FILE *in, size_t *bytes)
{
    uint8_t *data = NULL;
    size_t room = 0, n;

    *bytes = 0;
    do {
        if (*bytes == room) {
            uint8_t *more;

            room = room ? room * 2 : 65536;
            more = room > 2 * FILE_MAX ? NULL : realloc(data, room);
            if (!more) {
                free(data);
                errno = ENOMEM;
                return NULL;
            }
            data = more;
        }
        n = fread(data + *bytes, 1, room - *bytes, in);
        *bytes += n;
    } while (n);
    if (ferror(in)) {
        free(data);
        return NULL;
    }
    return data;
}

static int decode_file(struct far_decode *d, const char *name)
{
    bool standard = !strcmp(name, "-");
    FILE *in = standard ? stdin : fopen(name, "re");
    uint8_t *data = NULL;
    size_t bytes;
    int rc;

    if (in)
        data = read_all(in, &bytes);
    rc = data ? 0 : -errno;
    if (in && !standard)
        fclose(in);
    if (!data)
        return far_fail("decode", FAR_EXIT_FAILED, "%s: %s", name,
                        strerror(-rc));
    rc = far_decode(d, data, bytes);
    free(data);
    if (rc)
        return far_fail("decode", FAR_EXIT_FAILED, "%s: %s", name,
                        rc == -EPROTO ? d->trouble : strerror(-rc));
    return FAR_EXIT_OK;
}

int far_decode_command(struct far_tool *tool, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "payload", no_argument, NULL, 'x' },
        { NULL, 0, NULL, 0 },
    };
    struct far_decode d = { .out = tool->out, .payload_max = PAYLOAD_SHOWN };
    int status = FAR_EXIT_OK, option;

    while ((option = getopt_long(argc, argv, "+jx", options, NULL)) != -1) {
        switch (option) {
        case 'j':
            d.as_json = true;
            break;
        case 'x':
            d.payload_max = FAR_OP_PAYLOAD_MAX;
            break;
        default:
            return far_usage("decode", "no such option");
        }
    }
    if (optind == argc)
        status = decode_file(&d, "-");
    for (; optind < argc; optind++)
        if (decode_file(&d, argv[optind]))
            status = FAR_EXIT_FAILED;
    return d.wrong ? FAR_EXIT_FAILED : status;
}
