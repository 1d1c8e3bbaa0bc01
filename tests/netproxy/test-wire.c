/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The wire: golden bytes, what is skipped, what is refused; and the small pure
 * parts beside it: keys, addresses.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/input.h"
#include "netproxy/address.h"
#include "netproxy/keys.h"
#include "tests/core/suite.h"
#include "tests/netproxy/golden.h"

static size_t read_golden(const char *name, uint8_t *out, size_t room)
{
    const char *source = getenv("srcdir");
    char path[512];
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s/tests/netproxy/golden/%s.bin",
             source ? source : FARSIDE_SOURCE_DIR, name);
    f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s is missing", path);
    n = fread(out, 1, room, f);
    fclose(f);
    return n;
}

static struct far_wire_frame frame;
static struct far_error error;

static int decode(const uint8_t *data, size_t bytes)
{
    return far_wire_decode(&frame, data, bytes, &error);
}

START_TEST(every_frame_has_the_bytes_of_its_golden_file)
{
    const struct golden *g;

    for (g = golden_frames; g->name; g++) {
        uint8_t made[1024], golden[1024];
        size_t n = g->make(made, sizeof(made));
        size_t m = read_golden(g->name, golden, sizeof(golden));

        ck_assert_msg(n == m && !memcmp(made, golden, n),
                      "%s is not as in its golden file", g->name);
        ck_assert_int_eq(far_wire_next(golden, m, FAR_WIRE_FRAME_MAX, &error),
                         (int)m);
        ck_assert_msg(!decode(golden, m), "%s: %s", g->name, error.text);
        ck_assert_uint_eq(frame.header.type, g->type);
        ck_assert(frame.known);
        ck_assert_uint_eq(m % 8, 0);
    }
}
END_TEST

START_TEST(golden_bytes_mean_what_protocol_md_says)
{
    uint8_t d[1024];
    size_t n = read_golden("interrupt", d, sizeof(d));
    static const uint8_t expected[] = {
        0x60, 0,    0,    0, /* bytes: 96 */
        10,   0,    0,    4, /* interrupt, flags, lane, hops */
        7,    0,    0,    0, /* handle */
        0,    0,    0,    0, /* credit */
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* time_ns */
        0,    0,    0,    0,    0,    0,    0,    0,    /* acked */
        0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, /* attachment */
        0x01, 0x10, 0,    0,    0,    0,    0,    0,    /* sequence */
        0,    0,    0,    0,                            /* slot */
        0x80, 0x01, 0,    0, /* opcode: input, 0x80; flags */
        0,    0,    0,    0, /* status */
        0,    0,    0,    0, /* payload_bytes */
        0x89, 0x67, 0x45, 0x23, 0x01, 0,    0,    0, /* time_us */
        3,    0,    30,   0,                         /* key, flags, code */
        1,    0,    0,    0,                         /* value */
    };

    ck_assert_uint_eq(n, 96);
    ck_assert_mem_eq(d, expected, sizeof(expected));
    read_golden("hello", d, sizeof(d));
    ck_assert_mem_eq(d + 32, "FARSIDE", 8);
    ck_assert_str_eq((char *)d + 32 + 72, "atlas");
    read_golden("refused", d, sizeof(d));
    ck_assert(!decode(d, (size_t)far_wire_next(d, sizeof(d), 4096, &error)));
    ck_assert_int_eq(frame.prepared.status, -13);
    ck_assert_str_eq(
        frame.text,
        "[export kbd0] of borealis does not allow the platform atlas");
}
END_TEST

START_TEST(a_frame_that_is_not_whole_is_waited_for)
{
    uint8_t d[1024];
    size_t n = read_golden("prepare", d, sizeof(d));

    for (size_t have = 0; have < n; have++)
        ck_assert_int_eq(far_wire_next(d, have, FAR_WIRE_FRAME_MAX, &error), 0);
    ck_assert_int_eq(far_wire_next(d, n + 5, FAR_WIRE_FRAME_MAX, &error),
                     (int)n);
}
END_TEST

START_TEST(impossible_lengths_are_refused_before_anything_is_kept)
{
    static const uint32_t wrong[] = { 0,        1,          8,       24,
                                      31,       33,         36,      100,
                                      4096 + 8, 0xfffffff8, 1u << 31 };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t d[64] = { 0 };

        memcpy(d, &wrong[i], 4);
        ck_assert_int_lt(far_wire_next(d, 4, 4096, &error), 0);
        ck_assert_int_ne(error.text[0], 0);
    }
}
END_TEST

START_TEST(each_type_cut_short_is_refused)
{
    const struct golden *g;

    for (g = golden_frames; g->name; g++) {
        uint8_t d[1024];
        size_t n = g->make(d, sizeof(d));
        char text[sizeof(frame.text)];
        uint32_t shorter;

        ck_assert_int_eq(decode(d, n), 0);
        memcpy(text, frame.text, sizeof(text));
        for (shorter = FAR_WIRE_HEADER_BYTES; shorter < n; shorter += 8) {
            memcpy(d, &shorter, 4);
            if (decode(d, shorter) == 0) { /* only options were cut */
                ck_assert(!frame.text[0] || !strcmp(frame.text, text));
                ck_assert_uint_ne(g->type, FAR_WIRE_OP);
            }
        }
    }
}
END_TEST

START_TEST(a_type_that_is_not_known_is_skipped_by_its_length)
{
    uint8_t d[64] = { 64, 0, 0, 0, 77 };

    ck_assert_int_eq(far_wire_next(d, sizeof(d), 4096, &error), 64);
    ck_assert_int_eq(decode(d, 64), 0);
    ck_assert(!frame.known);
    d[4] = 0;
    ck_assert_int_eq(decode(d, 64), -EPROTO);
}
END_TEST

static size_t with_option(uint8_t *d, uint16_t type, uint16_t bytes)
{
    struct far_wire_header h = { .type = FAR_WIRE_DETACH, .handle = 7 };
    struct far_wire_option o = { type, bytes };
    size_t whole = (sizeof(o) + bytes + 7) & ~(size_t)7;

    memset(d, 'x', 256);
    far_wire_encode(d, 256, &h, NULL, 0, NULL);
    memcpy(d + 32, &o, sizeof(o));
    h.bytes = (uint32_t)(32 + whole);
    memcpy(d, &h.bytes, 4);
    return 32 + whole;
}

START_TEST(an_option_that_is_not_known_is_skipped_unless_it_must_be)
{
    uint8_t d[256];
    size_t n = with_option(d, 0x1234, 9);

    ck_assert_int_eq(decode(d, n), 0);
    ck_assert(!frame.refused);
    n = with_option(d, 0x9234, 9);
    ck_assert_int_eq(decode(d, n), 0);
    ck_assert(frame.refused);
    n = with_option(d, FAR_WIRE_OPTION_TEXT, 9);
    ck_assert_int_eq(decode(d, n), 0);
    ck_assert_str_eq(frame.text, "xxxxxxxxx");
}
END_TEST

START_TEST(an_option_longer_than_its_frame_is_refused)
{
    uint8_t d[256];
    size_t n = with_option(d, FAR_WIRE_OPTION_TEXT, 20);

    d[34] = 21;
    ck_assert_int_eq(decode(d, n), -EPROTO);
    d[34] = d[35] = 0xff;
    ck_assert_int_eq(decode(d, n), -EPROTO);
}
END_TEST

START_TEST(words_from_afar_are_printable)
{
    static const char text[] = "a\x1b[31m\xff b\xc3\xa9\xe2\x80\xae"
                               "c\n";
    uint8_t d[256];
    struct far_wire_header h = { .type = FAR_WIRE_DETACH, .handle = 7 };
    size_t n = far_wire_encode(d, sizeof(d), &h, NULL, 0, text);

    ck_assert_int_eq(decode(d, n), 0);
    ck_assert_str_eq(frame.text, "a?[31m? b\xc3\xa9???c?");
}
END_TEST

START_TEST(long_words_are_cut_not_spilled)
{
    char text[400];
    uint8_t d[400];
    struct far_wire_header h = { .type = FAR_WIRE_DETACH, .handle = 7 };
    size_t n;

    memset(text, 'y', sizeof(text));
    text[399] = 0;
    n = far_wire_encode(d, sizeof(d), &h, NULL, 0, text);
    ck_assert_uint_le(n, FAR_WIRE_ROOM(0));
    ck_assert_int_eq(decode(d, n), 0);
    ck_assert_uint_eq(strlen(frame.text), FAR_WIRE_TEXT_BYTES - 1);
    ck_assert_uint_eq(far_wire_encode(d, 40, &h, NULL, 0, text), 0);
}
END_TEST

static size_t golden(const char *name, uint8_t *d)
{
    return read_golden(name, d, 1024);
}

START_TEST(names_that_are_no_names_are_refused)
{
    uint8_t d[1024];
    size_t n = golden("hello", d);

    memset(d + 32 + 72, 'a', 64); /* no end */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("hello", d);
    memcpy(d + 32 + 72, "a/b", 4);
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("hello", d);
    d[32 + 72] = 0;
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("hello", d);
    d[32] = 'f';
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("prepare", d);
    memset(d + 32 + 112, 'k', 64);
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("prepare", d);
    memcpy(d + 32 + 112, "../x", 5);
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("prepare", d);
    d[32 + 48] = '\n';
    ck_assert_int_eq(decode(d, n), -EPROTO);
}
END_TEST

START_TEST(ops_that_are_none_are_refused)
{
    uint8_t d[1024];
    size_t n = golden("op", d);

    d[32 + 16] = FAR_WIRE_SLOTS_MAX; /* slot */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("op", d);
    d[32 + 20] = 0x80; /* an interrupt's opcode */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("op", d);
    memset(d + 32 + 28, 0xff, 4); /* payload_bytes */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("interrupt", d);
    d[32 + 20] = 0;
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("interrupt", d);
    memset(d + 32 + 8, 0, 8); /* sequence 0 */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("feedback", d);
    memset(d + 32 + 24, 0, 4);
    d[32 + 24] = 1; /* a positive status */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("op", d);
    memset(d + 8, 0, 4); /* no handle */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("heartbeat", d);
    d[8] = 1; /* of an attachment */
    ck_assert_int_eq(decode(d, n), -EPROTO);
    n = golden("state", d);
    d[32] = 2;
    ck_assert_int_eq(decode(d, n), -EPROTO);
}
END_TEST

START_TEST(random_bytes_never_pass_the_checks_unbounded)
{
    unsigned seed = 20260101, i;

    for (i = 0; i < 300000; i++) {
        uint8_t d[512];
        size_t n = 32 + (size_t)(rand_r(&seed) % 60) * 8, at;
        uint32_t bytes = (uint32_t)n;

        for (at = 0; at < n; at++)
            d[at] = (uint8_t)rand_r(&seed);
        memcpy(d, &bytes, 4);
        d[4] = (uint8_t)(1 + rand_r(&seed) % 15);
        d[10] = d[11] = 0;
        if (decode(d, n) == 0 && frame.payload)
            ck_assert_uint_le(frame.op.payload_bytes, n);
        ck_assert_uint_lt(strnlen(frame.text, sizeof(frame.text)),
                          sizeof(frame.text));
    }
}
END_TEST

START_TEST(versions_are_agreed_on_or_not)
{
    struct far_wire_hello a = { .version_min = 1, .version_max = 3 };
    struct far_wire_hello b = { .version_min = 2, .version_max = 5 };
    struct far_wire_hello c = { .version_min = 4, .version_max = 4 };

    ck_assert_int_eq(far_wire_version(&a, &b), 3);
    ck_assert_int_eq(far_wire_version(&b, &c), 4);
    ck_assert_int_eq(far_wire_version(&a, &c), -EPROTONOSUPPORT);
}
END_TEST

START_TEST(keys_are_read_and_wrong_lines_named)
{
    struct far_keys keys = { 0 };
    char good[] = "# ours\n\natlas:00112233445566778899AABBccddeeff\n"
                  "borealis:ffffffffffffffffffffffffffffffffffffffff \n";
    char no_colon[] = "x:00112233445566778899aabbccddeeff\natlas\n";
    char bad_digit[] = "atlas:0011223344556677889-aabbccddeeff\n";
    char brief[] = "atlas:0011\n";

    ck_assert_int_eq(far_keys_parse(&keys, "f", good, &error), 0);
    ck_assert_uint_eq(keys.count, 2);
    ck_assert_ptr_nonnull(far_keys_find(&keys, "atlas"));
    ck_assert_uint_eq(far_keys_find(&keys, "atlas")->key[15], 0xff);
    ck_assert_uint_eq(far_keys_find(&keys, "borealis")->bytes, 20);
    ck_assert_ptr_null(far_keys_find(&keys, "cygnus"));
    ck_assert_int_eq(far_keys_parse(&keys, "f", no_colon, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "f:2:"));
    ck_assert_uint_eq(keys.count, 2); /* nothing of it was taken */
    ck_assert_int_eq(far_keys_parse(&keys, "f", bad_digit, &error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "f:1:26:"));
    ck_assert_int_eq(far_keys_parse(&keys, "f", brief, &error), -EINVAL);
    ck_assert_int_eq(far_keys_read(&keys, "/nonexistent", &error), -ENOENT);
    far_keys_free(&keys);
}
END_TEST

START_TEST(addresses_are_taken_apart)
{
    struct far_endpoint e;
    struct sockaddr_storage s;
    socklen_t n;

    ck_assert_int_eq(far_endpoint_parse(&e, "10.0.0.2:99", &error), 0);
    ck_assert_str_eq(e.host, "10.0.0.2");
    ck_assert_uint_eq(e.port, 99);
    ck_assert(far_endpoint_numeric(&e, &s, &n));
    ck_assert_int_eq(s.ss_family, AF_INET);
    ck_assert_int_eq(far_endpoint_parse(&e, "[fe80::1]:99", &error), 0);
    ck_assert(far_endpoint_numeric(&e, &s, &n));
    ck_assert_int_eq(s.ss_family, AF_INET6);
    ck_assert_int_eq(far_endpoint_parse(&e, "host", &error), 0);
    ck_assert_uint_eq(e.port, FAR_WIRE_PORT);
    ck_assert(!far_endpoint_numeric(&e, &s, &n));
    ck_assert_int_eq(far_endpoint_parse(&e, "fe80::1", &error), -EINVAL);
    ck_assert_int_eq(far_endpoint_parse(&e, "h:70000", &error), -EINVAL);
    ck_assert_int_eq(far_endpoint_parse(&e, "h:", &error), -EINVAL);
    ck_assert_int_eq(far_endpoint_parse(&e, ":1", &error), -EINVAL);
    ck_assert_int_eq(far_endpoint_parse(&e, "[::1", &error), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: the wire");
    TCase *c = tcase_create("wire");

    tcase_set_timeout(c, 60);
    tcase_add_test(c, every_frame_has_the_bytes_of_its_golden_file);
    tcase_add_test(c, golden_bytes_mean_what_protocol_md_says);
    tcase_add_test(c, a_frame_that_is_not_whole_is_waited_for);
    tcase_add_test(c, impossible_lengths_are_refused_before_anything_is_kept);
    tcase_add_test(c, each_type_cut_short_is_refused);
    tcase_add_test(c, a_type_that_is_not_known_is_skipped_by_its_length);
    tcase_add_test(c, an_option_that_is_not_known_is_skipped_unless_it_must_be);
    tcase_add_test(c, an_option_longer_than_its_frame_is_refused);
    tcase_add_test(c, words_from_afar_are_printable);
    tcase_add_test(c, long_words_are_cut_not_spilled);
    tcase_add_test(c, names_that_are_no_names_are_refused);
    tcase_add_test(c, ops_that_are_none_are_refused);
    tcase_add_test(c, random_bytes_never_pass_the_checks_unbounded);
    tcase_add_test(c, versions_are_agreed_on_or_not);
    tcase_add_test(c, keys_are_read_and_wrong_lines_named);
    tcase_add_test(c, addresses_are_taken_apart);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
