/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside decode: golden files, captures that a netproxy wrote, what is
 * unknown, what is broken.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/control.h"
#include "netproxy/capture.h"
#include "netproxy/wire.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"
#include "tools/decode.h"

#define GOLDEN FARSIDE_SOURCE_DIR "/tests/netproxy/golden"

static uint8_t data[1 << 18];

static size_t load(const char *path)
{
    FILE *f = fopen(path, "r");
    size_t n;

    ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
    n = fread(data, 1, sizeof(data), f);
    fclose(f);
    return n;
}

/* Text that is valid until the next call. */
static const char *decode(struct far_decode *d, size_t bytes)
{
    static char *text;
    size_t n;
    int rc;

    free(text);
    d->out = open_memstream(&text, &n);
    rc = far_decode(d, data, bytes);
    fclose(d->out);
    ck_assert(rc == (d->trouble[0] ? -EPROTO : 0));
    return text;
}

START_TEST(every_golden_frame_is_told_by_its_type_and_fields)
{
    static const struct {
        const char *file, *type, *part;
    } want[] = {
        { "hello.bin", "hello ", " role=client handles_max=4096 " },
        { "error.bin", "error ", " status=-95 about=\"type 77\" text=\"" },
        { "heartbeat.bin", "heartbeat ", " delta_ns=-12345678 " },
        { "prepare.bin", "prepare ", " guest_name=\"web server\" device=kbd0" },
        { "prepared.bin", "prepared ", " prepared_flags=prompt-acks " },
        { "refused.bin", "prepared ", " text=\"[export kbd0] of" },
        { "activate.bin", "activate ", " received=4096" },
        { "activated.bin", "activated ", " next=4097" },
        { "op.bin", "op ", " payload=68656c6c6f" },
        { "feedback.bin", "feedback ", " opcode=input.nop " },
        { "interrupt.bin", "interrupt ", " event=key " },
        { "ack.bin", "ack ", " handle=7 credit=4224 " },
        { "cancel.bin", "cancel ", " sequence=4097 slot=5" },
        { "detach.bin", "detach ", " handle=7 " },
        { "state.bin", "state ", " state=gone " },
        { "data.bin", "data ", " offset_bytes=65536 piece_bytes=11 " },
        { "subscribe.bin", "subscribe ", " classes=input" },
        { "announce.bin", "announce ", " state=there " },
        { "notify.bin", "notify ", "\"event\":\"key\"" },
        { "notified.bin", "notified ", " status=-3 text=\"no such guest" },
        { "prepare-relayed.bin", "prepare ", " visited=[\"borealis\"]" },
        { "prepared-challenge.bin", "prepared ", " challenge=70717273" },
        { "prepare-signed.bin", "prepare ", " signature=01000000" },
        { "feedback-timed.bin", "feedback ", " times={\"received_ns\":" },
        { "notify-relayed.bin", "notify ", " origin=[\"cygnus\"]" },
        { "notified-relayed.bin", "notified ", " target(must)=[" },
    };
    struct far_decode d = { .payload_max = 16 };
    unsigned files = 0;
    struct dirent *e;
    DIR *dir = opendir(GOLDEN);
    char path[512];

    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        const char *line;

        snprintf(path, sizeof(path), "%s/%s", GOLDEN, want[i].file);
        line = decode(&d, load(path));
        ck_assert_msg(!strncmp(line, want[i].type, strlen(want[i].type)) &&
                          strstr(line, want[i].part),
                      "%s: %s", want[i].file, line);
    }
    /* Also those that came later are whole, and nothing in them is wrong. */
    ck_assert_ptr_nonnull(dir);
    while ((e = readdir(dir))) {
        if (!strstr(e->d_name, ".bin"))
            continue;
        snprintf(path, sizeof(path), "%s/%s", GOLDEN, e->d_name);
        decode(&d, load(path));
        ck_assert_msg(!d.trouble[0] && !d.wrong, "%s", e->d_name);
        files++;
    }
    closedir(dir);
    ck_assert_uint_ge(files, sizeof(want) / sizeof(want[0]));
    ck_assert_uint_eq(d.frames, files + sizeof(want) / sizeof(want[0]));
}
END_TEST

START_TEST(json_has_one_object_a_line_with_the_same_fields)
{
    struct far_decode d = { .payload_max = 16, .as_json = true };
    json_t *frame = json_loads(decode(&d, load(GOLDEN "/op.bin")), 0, NULL);

    ck_assert_str_eq(json_string_value(json_object_get(frame, "type")), "op");
    ck_assert_int_eq(json_integer_value(json_object_get(frame, "slot")), 5);
    ck_assert_str_eq(json_string_value(json_object_get(frame, "payload")),
                     "68656c6c6f20776f726c64");
    json_decref(frame);
}
END_TEST

START_TEST(unknown_types_options_and_flags_are_told_as_such)
{
    struct far_decode d = { .payload_max = 16 };
    struct far_wire_header header = { .type = 77, .flags = 0xc0, .handle = 3 };
    uint32_t body[2] = { 0x11223344, 0 };
    const char *line;
    size_t n;

    n = far_wire_encode(data, sizeof(data), &header, body, sizeof(body), NULL);
    line = decode(&d, n);
    ck_assert_msg(strstr(line, "type 77 ") == line &&
                      strstr(line, " flags=must+0x40 ") &&
                      strstr(line, " body=4433221100000000"),
                  "%s", line);
    header = (struct far_wire_header){ .type = FAR_WIRE_ACK, .handle = 3 };
    far_wire_encode(data, sizeof(data), &header, NULL, 0, "\033[31mred");
    n = far_wire_add_option(data, sizeof(data), 0x8000 | 99, body, 4);
    line = decode(&d, n);
    ck_assert_msg(strstr(line, " option-99(must)=44332211") &&
                      strstr(line, "text=\"?[31mred\""),
                  "%s", line);
    ck_assert_uint_eq(d.wrong, 0);
}
END_TEST

/* What follows is still read, as long as lengths make sense. */
START_TEST(frames_that_break_the_rules_are_told_and_skipped)
{
    struct far_decode d = { .payload_max = 16 };
    size_t n = load(GOLDEN "/op.bin");
    const char *text;

    memset(data + 4 + 4, 0, 4); /* an op without a handle */
    memcpy(data + n, data, n);
    data[n + 8] = 7;
    text = decode(&d, 2 * n);
    ck_assert_uint_eq(d.frames, 2);
    ck_assert_uint_eq(d.wrong, 1);
    ck_assert_msg(strstr(text, " wrong=\"a op with handle 0\""), "%s", text);
    /* A length that can't be: there is no way on. */
    data[n] = 3;
    decode(&d, 2 * n);
    ck_assert_ptr_nonnull(strstr(d.trouble, "at byte 112: "));
    /* Cut off. */
    decode(&d, n - 8);
    ck_assert_ptr_nonnull(strstr(d.trouble, "cut off"));
}
END_TEST

START_TEST(no_bytes_at_all_crash_it)
{
    struct far_decode d = { .payload_max = 1 << 20 };
    size_t length = 0;

    srandom(7);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned flips = (unsigned)random() % 8;

        if (!(round % 100)) {
            static const char *const files[] = { "/op.bin", "/hello.bin",
                                                 "/notify.bin", "/refused.bin",
                                                 "/announce.bin" };
            char path[512];

            snprintf(path, sizeof(path), "%s%s", GOLDEN, files[random() % 5]);
            length = load(path);
        }
        for (unsigned i = 0; i < flips; i++)
            data[(size_t)random() % length] = (uint8_t)random();
        d.as_json = round & 1;
        decode(&d, (size_t)random() % (length + 1));
    }
}
END_TEST

static int empty_file(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    return fd;
}

START_TEST(a_capture_holds_no_more_than_it_may_and_is_whole)
{
    char name[] = "/tmp/farside-capture-XXXXXX";
    struct far_capture c = { .fd = -1 };
    struct far_decode d = { .payload_max = 16 };
    struct far_error error;
    uint8_t frame[512];
    size_t n, bytes;
    const char *text;
    int pipes[2];

    close(mkstemp(name));
    unlink(name);
    n = load(GOLDEN "/op.bin");
    memcpy(frame, data, n);
    ck_assert_int_eq(
        far_capture_begin(&c, empty_file(name), 4096, "borealis", &error), 0);
    for (unsigned i = 0; i < 100; i++)
        far_capture_frame(&c, i & 1, frame, n);
    ck_assert_int_eq(c.fd, -1); /* it was full */
    ck_assert_uint_gt(c.frames, 20);
    ck_assert_uint_eq(c.missed, 1);
    bytes = load(name);
    ck_assert_uint_le(bytes, 4096);
    text = decode(&d, bytes);
    ck_assert_uint_eq(d.frames, c.frames);
    ck_assert_ptr_nonnull(strstr(text, "Z > op "));
    ck_assert_ptr_nonnull(strstr(text, "Z < op "));
    for (size_t cut = 0; cut < bytes; cut++)
        decode(&d, cut);
    for (size_t at = 0; at < bytes; at++) {
        uint8_t was = data[at];

        data[at] ^= 0xff;
        decode(&d, bytes);
        data[at] = was;
    }
    unlink(name);
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(far_capture_begin(&c, pipes[1], 0, "x", &error), -EINVAL);
    close(pipes[0]);
}
END_TEST

static int farside(const struct rig *rig, const char *arguments)
{
    char command[512];

    snprintf(command, sizeof(command), "./farside -r %s/borealis %s >%s/out",
             rig->dir, arguments, rig->dir);
    return WEXITSTATUS(system(command));
}

START_TEST(a_link_is_captured_and_decoded_by_hand)
{
    static struct rig rig;
    static struct proxy atlas, borealis;
    static struct guest guest;
    char arguments[256], path[128];
    struct stat st;
    uint16_t port;

    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "atlas-keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n[export kbd0]\nallow = atlas\n",
              port, rig.dir);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n[server borealis]\n"
              "address = 127.0.0.1:%u\npsk-file = %s/atlas-keys\n",
              port, rig.dir);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");

    snprintf(path, sizeof(path), "%s/capture", rig.dir);
    snprintf(arguments, sizeof(arguments), "link capture nobody %s", path);
    ck_assert_int_eq(farside(&rig, arguments), 1);
    ck_assert_int_eq(access(path, F_OK), -1);
    snprintf(arguments, sizeof(arguments), "link capture atlas %s", path);
    ck_assert_int_eq(farside(&rig, arguments), 0);
    ck_assert_int_eq(farside(&rig, arguments), 1); /* the file is there */
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);

    guest_open(&guest, &rig, "atlas", 0, "borealis", "kbd0");
    guest_wait_ready(&guest);
    proxy_tap(&borealis, "kbd0", 30);
    guest_wait_count(&guest, 2);
    guest_detach(&guest);
    ck_assert_int_eq(farside(&rig, "link capture atlas off"), 0);
    ck_assert_int_eq(proxy_number(&borealis, "captures.0.missed"), 0);
    ck_assert_int_gt(proxy_number(&borealis, "captures.0.frames"), 5);

    snprintf(arguments, sizeof(arguments), "decode %s", path);
    ck_assert_int_eq(farside(&rig, arguments), 0);
    snprintf(path, sizeof(path), "%s/out", rig.dir);
    data[load(path)] = 0;
    ck_assert_ptr_nonnull(strstr((char *)data, " < prepare "));
    ck_assert_ptr_nonnull(strstr((char *)data, " > prepared "));
    ck_assert_ptr_nonnull(strstr((char *)data, " > interrupt "));
    ck_assert_ptr_nonnull(strstr((char *)data, " code=30 value=1 "));

    proxy_kill(&atlas, SIGTERM);
    proxy_kill(&borealis, SIGTERM);
    rig_end(&rig);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tools: decode");
    TCase *tcase = tcase_create("decode");

    suite_add_tcase(suite, tcase);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, every_golden_frame_is_told_by_its_type_and_fields);
    tcase_add_test(tcase, json_has_one_object_a_line_with_the_same_fields);
    tcase_add_test(tcase, unknown_types_options_and_flags_are_told_as_such);
    tcase_add_test(tcase, frames_that_break_the_rules_are_told_and_skipped);
    tcase_add_test(tcase, no_bytes_at_all_crash_it);
    tcase_add_test(tcase, a_capture_holds_no_more_than_it_may_and_is_whole);
    tcase_add_test(tcase, a_link_is_captured_and_decoded_by_hand);
    return suite_end(suite);
}
