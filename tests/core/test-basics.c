/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The small parts of core: errors, log and its buckets, escaping, histograms,
 * uuids, classes, and which input events are valid.
 */
#include "core/clock.h"
#include "core/counters.h"
#include "core/error.h"
#include "core/input.h"
#include "core/log.h"
#include "core/status.h"
#include "core/uuid.h"
#include "tests/core/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

START_TEST(an_error_keeps_its_code_and_text)
{
    struct far_error e;

    ck_assert_int_eq(far_error(&e, -ENOENT, "%s: gone", "kbd0"), -ENOENT);
    ck_assert_int_eq(e.code, -ENOENT);
    ck_assert_str_eq(e.text, "kbd0: gone");
    ck_assert_int_eq(far_error(NULL, -EIO, "nobody asks"), -EIO);
}
END_TEST

START_TEST(too_long_an_error_ends_with_an_ellipsis)
{
    struct far_error e;
    char text[300];
    size_t n;

    memset(text, 'x', sizeof(text));
    text[299] = '\0';
    far_error(&e, -EIO, "%s", text);
    n = strlen(e.text);
    ck_assert_uint_eq(n, sizeof(e.text) - 1);
    ck_assert_str_eq(e.text + n - 3, "…");
    /* A character of several bytes is left out whole. */
    memset(text, 'x', 227);
    strcpy(text + 227, "äöü and more");
    far_error(&e, -EIO, "%s", text);
    ck_assert_str_eq(e.text + 226, "x…");
}
END_TEST

/* What is written to stderr by write(), in a file. */
static int saved_stderr, caught;

static void catch_stderr(void)
{
    char path[] = "/tmp/farside-log-XXXXXX";

    caught = mkstemp(path);
    ck_assert_int_ge(caught, 0);
    unlink(path);
    saved_stderr = dup(STDERR_FILENO);
    dup2(caught, STDERR_FILENO);
}

static const char *caught_text(void)
{
    static char text[65536];
    ssize_t n = pread(caught, text, sizeof(text) - 1, 0);

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(caught);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

START_TEST(lines_name_program_and_level_and_stay_one_line)
{
    struct far_log *log;

    unsetenv("JOURNAL_STREAM");
    log = far_log_new("prog", FAR_LOG_INFO);
    catch_stderr();
    far_log(log, FAR_LOG_ERROR, "kbd0: %d", 5);
    far_log(log, FAR_LOG_INFO, "two\nlines\r");
    far_log(log, FAR_LOG_DEBUG, "not wanted");
    far_log_set_level(log, FAR_LOG_DEBUG);
    far_log(log, FAR_LOG_DEBUG, "wanted");
    far_log(NULL, FAR_LOG_ERROR, "nobody");
    ck_assert_str_eq(caught_text(), "prog: error: kbd0: 5\n"
                                    "prog: two lines \n"
                                    "prog: debug: wanted\n");
    far_log_free(log);
}
END_TEST

START_TEST(the_journal_is_told_the_priority)
{
    struct far_log *log;

    setenv("JOURNAL_STREAM", "1:2", 1);
    log = far_log_new("prog", FAR_LOG_DEBUG);
    catch_stderr();
    far_log(log, FAR_LOG_ERROR, "a");
    far_log(log, FAR_LOG_WARNING, "b");
    far_log(log, FAR_LOG_INFO, "c");
    far_log(log, FAR_LOG_DEBUG, "d");
    ck_assert_str_eq(caught_text(), "<3>a\n<4>b\n<6>c\n<7>d\n");
    far_log_free(log);
}
END_TEST

START_TEST(too_long_a_line_is_cut_with_an_ellipsis)
{
    struct far_log *log = far_log_new("prog", FAR_LOG_INFO);
    char text[3000];
    const char *out;

    memset(text, 'x', sizeof(text));
    text[2999] = '\0';
    catch_stderr();
    far_log(log, FAR_LOG_INFO, "%s", text);
    out = caught_text();
    ck_assert_uint_eq(strlen(out), 1023);
    ck_assert_str_eq(out + 1019, "…\n");
    strcpy(text + 1012, "äöü and more"); /* whole characters only */
    catch_stderr();
    far_log(log, FAR_LOG_INFO, "%s", text);
    out = caught_text();
    ck_assert_str_eq(out + 1016, "xx…\n");
    far_log_free(log);
}
END_TEST

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;

    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

START_TEST(a_bucket_lets_ten_lines_through_and_then_one_each_six_seconds)
{
    struct far_log *log;
    struct far_log_bucket bucket = { .used = 0 }, other = { .used = 0 };
    const char *out;

    unsetenv("JOURNAL_STREAM");
    log = far_log_new("prog", FAR_LOG_INFO);
    catch_stderr();
    for (int i = 0; i < 100; i++)
        far_log_limited(log, &bucket, FAR_LOG_INFO, "line %d", i);
    far_log_limited(log, &other, FAR_LOG_INFO, "another's");
    bucket.filled_us -= 6000000; /* six seconds pass */
    far_log_limited(log, &bucket, FAR_LOG_INFO, "late");
    far_log_limited(log, &bucket, FAR_LOG_INFO, "too much again");
    bucket.filled_us -= 3600000000u; /* an hour: ten, not six hundred */
    for (int i = 0; i < 100; i++)
        far_log_limited(log, &bucket, FAR_LOG_INFO, "hour");
    out = caught_text();
    ck_assert_uint_eq(lines_of(out), 10 + 1 + 1 + 10);
    ck_assert_ptr_nonnull(strstr(out, "line 9\nprog: another's\n"));
    ck_assert_ptr_nonnull(
        strstr(out, "prog: late (90 lines like this one were dropped before "
                    "it)\nprog: hour (1 lines"));
    ck_assert_uint_eq(bucket.dropped, 90);
    far_log_free(log);
}
END_TEST

START_TEST(a_line_that_is_not_wanted_takes_nothing_from_the_bucket)
{
    struct far_log *log = far_log_new("prog", FAR_LOG_ERROR);
    struct far_log_bucket bucket = { .used = 0 };

    far_log_limited(log, &bucket, FAR_LOG_INFO, "x");
    ck_assert_uint_eq(bucket.used, 0);
    far_log_free(log);
}
END_TEST

START_TEST(foreign_strings_are_escaped)
{
    char out[64];

    ck_assert_str_eq(far_escape(out, sizeof(out), "kbd 0~", 6), "kbd 0~");
    ck_assert_str_eq(far_escape(out, sizeof(out), "a\\\"\n\0\x7f\xff", 7),
                     "a\\x5c\\x22\\x0a\\x00\\x7f\\xff");
    ck_assert_str_eq(far_escape(out, sizeof(out), "", 0), "");
}
END_TEST

START_TEST(escaping_cuts_with_an_ellipsis_and_never_within_an_escape)
{
    char out[16], small[3] = "zz";

    ck_assert_str_eq(far_escape(out, 6, "abcde", 5), "abcde");
    ck_assert_str_eq(far_escape(out, 6, "abcdef", 6), "ab…");
    ck_assert_str_eq(far_escape(out, 9, "ab\n\n", 4), "ab…");
    ck_assert_str_eq(far_escape(out, 10, "ab\n\n", 4), "ab\\x0a…");
    ck_assert_str_eq(far_escape(small, 3, "abc", 3), "");
    ck_assert_str_eq(far_escape(small, 1, "abc", 3), "");
    far_escape(NULL, 0, "abc", 3);
}
END_TEST

START_TEST(a_quantile_is_the_upper_bound_of_its_bucket)
{
    static struct far_hist h;

    ck_assert_uint_eq(far_hist_quantile_ns(&h, 0.5), 0);
    for (uint64_t i = 1; i <= 1000; i++)
        far_hist_add(&h, i * 1000);
    ck_assert_uint_eq(h.count, 1000);
    ck_assert_uint_eq(h.max_ns, 1000000);
    ck_assert_uint_eq(h.sum_ns, 500500000);
    for (int i = 1; i <= 100; i++) {
        double exact = i * 10000;
        double got = (double)far_hist_quantile_ns(&h, i / 100.0);

        ck_assert_msg(got >= exact && got <= exact * 1.126,
                      "%d %%: %f instead of %f", i, got, exact);
    }
    ck_assert_uint_eq(far_hist_quantile_ns(&h, 1), 1000000);
    ck_assert_uint_eq(far_hist_quantile_ns(&h, 7), 1000000);
    ck_assert_uint_eq(far_hist_quantile_ns(&h, -1),
                      far_hist_quantile_ns(&h, 0.001));
}
END_TEST

START_TEST(small_values_are_exact_and_huge_ones_are_kept)
{
    static struct far_hist h;

    for (uint64_t i = 0; i < 8; i++) {
        memset(&h, 0, sizeof(h));
        far_hist_add(&h, i);
        far_hist_add(&h, 100);
        ck_assert_uint_eq(far_hist_quantile_ns(&h, 0.5), i);
    }
    memset(&h, 0, sizeof(h));
    far_hist_add(&h, UINT64_MAX);
    ck_assert_uint_eq(far_hist_quantile_ns(&h, 0.5), UINT64_MAX);
    ck_assert_uint_eq(h.buckets[FAR_HIST_BUCKETS - 1], 1);
}
END_TEST

/* Every value falls into a bucket whose bound is not below it, and the buckets'
 * bounds rise. */
START_TEST(buckets_cover_all_values_without_a_gap)
{
    static struct far_hist h;

    for (uint64_t v = 1; v < UINT64_C(1) << 32; v += 1 + v / 29) {
        uint64_t bound;

        memset(&h, 0, sizeof(h));
        far_hist_add(&h, v);
        h.max_ns = UINT64_MAX; /* shows the bound itself */
        bound = far_hist_quantile_ns(&h, 0.5);
        ck_assert_uint_ge(bound, v);
        if (bound != UINT64_MAX)
            ck_assert_uint_le(bound, v + v / 8);
        else
            ck_assert_uint_ge(v, UINT64_C(15) << 28);
    }
}
END_TEST

START_TEST(a_bucket_that_is_full_does_not_begin_anew)
{
    static struct far_hist h;

    far_hist_add(&h, 1);
    h.buckets[1] = UINT32_MAX, h.buckets[3] = UINT32_MAX - 1;
    far_hist_add(&h, 1);
    far_hist_add(&h, 3);
    ck_assert_uint_eq(far_hist_quantile_ns(&h, 0.5), 1);
    ck_assert_uint_eq(far_hist_quantile_ns(&h, 0.6), 3);
}
END_TEST

START_TEST(a_histogram_is_shown_as_json)
{
    static struct far_hist h;
    json_t *json;

    far_hist_add(&h, 5);
    far_hist_add(&h, 1000);
    json = far_hist_json(&h);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "count")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "p50_ns")), 5);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "p99_ns")), 1000);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "max_ns")), 1000);
    json_decref(json);
}
END_TEST

START_TEST(uuids_are_read_and_written)
{
    static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
    char out[FAR_UUID_TEXT_BYTES];
    uint8_t uuid[16];

    ck_assert_int_eq(far_uuid_parse(uuid, text), 0);
    ck_assert_uint_eq(uuid[0], 0x01);
    ck_assert_uint_eq(uuid[15], 0xef);
    ck_assert_str_eq(far_uuid_format(out, uuid), text);
    ck_assert_int_eq(far_uuid_parse(uuid, "0123456789ABCDEF0123456789ABCDEF"),
                     0);
    ck_assert_str_eq(far_uuid_format(out, uuid), text);
}
END_TEST

START_TEST(what_is_no_uuid_is_refused_and_leaves_the_old_one)
{
    static const char *const wrong[] = {
        "",
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "0123456789ab-cdef-0123-4567-89abcdef",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "01234567 89ab cdef 0123 456789abcdef",
        "0123456789ABCDEF0123456789ABCDE-",
    };
    uint8_t uuid[16] = { 9 };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_int_eq(far_uuid_parse(uuid, wrong[i]), -EINVAL);
    ck_assert_uint_eq(uuid[0], 9);
}
END_TEST

START_TEST(random_bytes_differ)
{
    uint8_t a[32] = { 0 }, b[32] = { 0 };

    ck_assert_int_eq(far_random_bytes(a, sizeof(a)), 0);
    ck_assert_int_eq(far_random_bytes(b, sizeof(b)), 0);
    ck_assert_int_ne(memcmp(a, b, sizeof(a)), 0);
    ck_assert_uint_ne(far_random_u64(), far_random_u64());
}
END_TEST

START_TEST(classes_have_names)
{
    for (int c = FAR_CLASS_INPUT; c <= FAR_CLASS_STREAM; c++)
        ck_assert_int_eq(
            (int)far_class_from_name(far_class_name((enum far_class)c)), c);
    ck_assert_int_eq(far_class_from_name("printer"), FAR_CLASS_NONE);
    ck_assert_int_eq(far_class_from_name("none"), FAR_CLASS_NONE);
    ck_assert_str_eq(far_class_name((enum far_class)99), "unknown");
}
END_TEST

START_TEST(valid_events_are_valid)
{
    static const struct far_input_event good[] = {
        { .type = FAR_INPUT_MOTION, .x = -3, .y = 65535, .z = -1 },
        { .type = FAR_INPUT_KEY, .code = KEY_A, .value = 1 },
        { .type = FAR_INPUT_KEY, .code = FAR_INPUT_KEY_MAX, .value = 0 },
        { .type = FAR_INPUT_KEY, .code = 1, .value = 1, .flags = 3 },
        { .type = FAR_INPUT_POS, .x = 0, .y = 65535, .z = 1 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_DOWN, .value = 15 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_UP, .value = 0 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_SYN, .value = -1 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_SHAPE, .x = 7 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_ORIENTATION, .x = -9 },
        { .type = FAR_INPUT_STATE_BEGIN },
        { .type = FAR_INPUT_STATE_END },
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_msg(far_input_event_valid(&good[i]), "number %zu", i);
}
END_TEST

START_TEST(invalid_events_are_refused)
{
    static const struct far_input_event bad[] = {
        { .type = 0 },
        { .type = 2 },
        { .type = 0xff },
        { .type = FAR_INPUT_MOTION, .x = 65536 },
        { .type = FAR_INPUT_MOTION, .y = INT32_MIN },
        { .type = FAR_INPUT_MOTION, .z = INT32_MAX },
        { .type = FAR_INPUT_KEY, .code = 0, .value = 1 },
        { .type = FAR_INPUT_KEY, .code = FAR_INPUT_KEY_MAX + 1, .value = 1 },
        { .type = FAR_INPUT_KEY, .code = 0xffff, .value = 0 },
        { .type = FAR_INPUT_KEY, .code = KEY_A, .value = 2 },
        { .type = FAR_INPUT_KEY, .code = KEY_A, .value = -1 },
        { .type = FAR_INPUT_POS, .x = -1 },
        { .type = FAR_INPUT_POS, .y = 65536 },
        { .type = FAR_INPUT_POS, .z = INT32_MIN },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_DOWN, .value = 16 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_UP, .value = -1 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_MOVE, .x = 65536 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_SHAPE, .y = -1 },
        { .type = FAR_INPUT_TOUCH, .code = FAR_TOUCH_ORIENTATION, .x = 65536 },
        { .type = FAR_INPUT_TOUCH, .code = 6 },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!far_input_event_valid(&bad[i]), "number %zu", i);
}
END_TEST

START_TEST(modifiers_are_known)
{
    ck_assert(far_input_is_modifier(KEY_LEFTSHIFT));
    ck_assert(far_input_is_modifier(KEY_RIGHTMETA));
    ck_assert(!far_input_is_modifier(KEY_A));
    ck_assert_msg(!far_input_is_modifier(KEY_CAPSLOCK), "it is a toggle");
}
END_TEST

SUITE_MAIN("basics", an_error_keeps_its_code_and_text,
           too_long_an_error_ends_with_an_ellipsis,
           lines_name_program_and_level_and_stay_one_line,
           the_journal_is_told_the_priority,
           too_long_a_line_is_cut_with_an_ellipsis,
           a_bucket_lets_ten_lines_through_and_then_one_each_six_seconds,
           a_line_that_is_not_wanted_takes_nothing_from_the_bucket,
           foreign_strings_are_escaped,
           escaping_cuts_with_an_ellipsis_and_never_within_an_escape,
           a_quantile_is_the_upper_bound_of_its_bucket,
           small_values_are_exact_and_huge_ones_are_kept,
           buckets_cover_all_values_without_a_gap,
           a_bucket_that_is_full_does_not_begin_anew,
           a_histogram_is_shown_as_json, uuids_are_read_and_written,
           what_is_no_uuid_is_refused_and_leaves_the_old_one,
           random_bytes_differ, classes_have_names, valid_events_are_valid,
           invalid_events_are_refused, modifiers_are_known)
