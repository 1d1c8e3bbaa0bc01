/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The words of `farside send` and of traces, key names, and the translation
 * from Linux's input events.
 */
#include "tests/devices/harness.h"

#include <linux/input-event-codes.h>
#include "devices/evdev-translate.h"
#include "devices/words.h"

static struct port *seen; /* its text is what is compared */
static uint64_t slept_us;

static int take(void *arg, const struct far_input_event *event)
{
    (void)arg;
    ck_assert(far_input_event_valid(event));
    seen->events[seen->used++] = *event;
    return 0;
}

static int take_sleep(void *arg, uint64_t us)
{
    (void)arg;
    slept_us += us;
    return 0;
}

static const struct far_words_sink sink = { .event = take,
                                            .sleep = take_sleep };

static void setup(void)
{
    seen = port_new(NULL);
    slept_us = 0;
}

static void teardown(void)
{
    free(seen);
}

static const char *parsed(unsigned count, const char *const *words)
{
    struct far_words state = { 0 };
    struct far_error error = { 0 };

    ck_assert_int_eq(far_words_parse(&state, words, count, NULL, &error), 0);
    ck_assert_uint_eq(seen->used, 0); /* a dry run does nothing */
    ck_assert_int_eq(far_words_parse(&state, words, count, &sink, &error), 0);
    ck_assert_int_eq(far_words_end(&state, &sink), 0);
    return port_text(seen, 0);
}

#define PARSED(...)                                                  \
    parsed(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
           (const char *[]){ __VA_ARGS__ })

static const char *wrong(unsigned count, const char *const *words)
{
    static struct far_error error;
    struct far_words state = { 0 };

    error.text[0] = '\0';
    ck_assert_int_eq(far_words_parse(&state, words, count, NULL, &error),
                     -EINVAL);
    ck_assert_str_ne(error.text, "");
    return error.text;
}

#define WRONG(...)                                                  \
    wrong(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), \
          (const char *[]){ __VA_ARGS__ })

START_TEST(text_is_typed_on_a_us_keyboard_with_shift)
{
    ck_assert_str_eq(PARSED("text", "aB 1!\n"),
                     "+30 -30 +42 +48 -48 -42 +57 -57 +2 -2 +42 +2 -2 -42 "
                     "+28 -28");
}
END_TEST

START_TEST(every_printable_character_has_a_key)
{
    char text[2] = "";

    for (char c = ' '; c < 127; c++) {
        text[0] = c;
        seen->used = 0;
        PARSED("text", text);
        ck_assert_msg(seen->used == 2 || seen->used == 4, "%c", c);
    }
    seen->used = 0;
    ck_assert_str_eq(PARSED("text", "?|~\"_"),
                     "+42 +53 -53 -42 +42 +43 -43 -42 +42 +41 -41 -42 "
                     "+42 +40 -40 -42 +42 +12 -12 -42");
}
END_TEST

START_TEST(all_words_do_what_the_manual_says)
{
    ck_assert_str_eq(PARSED("key", "KEY_A", "press", "leftshift", "release",
                            "BTN_LEFT", "move", "3", "-4", "wheel", "2", "abs",
                            "0", "65535", "sleep", "15", "key", "0x2fe"),
                     "+30 -30 +42 -272 m3,-4,0 m0,0,-2 p0,65535,0 +766 -766");
    ck_assert_uint_eq(slept_us, 15000);
}
END_TEST

START_TEST(touches_end_with_a_syn_whoever_forgets_it)
{
    ck_assert_str_eq(PARSED("touch", "0", "down", "1", "2", "touch", "1",
                            "down", "3", "4", "sync", "touch", "0", "move", "5",
                            "6", "key", "a", "touch", "0", "up"),
                     "t0d1,2 t1d3,4 syn t0m5,6 syn +30 -30 t0u0,0 syn");
}
END_TEST

START_TEST(a_wrong_word_is_named_and_what_was_meant)
{
    ck_assert_ptr_nonnull(strstr(WRONG("jump", "3"), "no word `jump`"));
    ck_assert_ptr_nonnull(strstr(WRONG("key", "KEY_NOSUCH"), "KEY_NOSUCH"));
    ck_assert_ptr_nonnull(strstr(WRONG("key"), "missing"));
    ck_assert_ptr_nonnull(strstr(WRONG("move", "3"), "missing"));
    ck_assert_ptr_nonnull(strstr(WRONG("abs", "1", "65536"), "0 to 65535"));
    ck_assert_ptr_nonnull(strstr(WRONG("move", "1x", "1"), "not `1x`"));
    ck_assert_ptr_nonnull(strstr(WRONG("touch", "16", "up"), "0 to 15"));
    ck_assert_ptr_nonnull(strstr(WRONG("touch", "1", "hit"), "not `hit`"));
    ck_assert_ptr_nonnull(strstr(WRONG("touch", "1", "down", "5"), "missing"));
    ck_assert_ptr_nonnull(strstr(WRONG("text", "\xc3\xa4"), "0xc3"));
    ck_assert_ptr_nonnull(strstr(WRONG("key", "0x300"), "0x300"));
    ck_assert_ptr_nonnull(strstr(WRONG("key", "0x0"), "0x0"));
    ck_assert_ptr_nonnull(
        strstr(WRONG("wheel", "99999999999999999999"), "wheel"));
}
END_TEST

START_TEST(a_line_takes_the_rest_as_text)
{
    struct far_words state = { 0 };
    struct far_error error = { 0 };

    ck_assert_int_eq(
        far_words_parse_line(&state, "  press\ta text b  c\r\n", &sink, &error),
        0);
    ck_assert_str_eq(port_text(seen, 0), "+30 +48 -48 +57 -57 +57 -57 +46 -46");
    ck_assert_int_eq(far_words_parse_line(&state, "", &sink, &error), 0);
}
END_TEST

START_TEST(names_and_codes_of_keys_agree)
{
    unsigned named = 0;

    for (unsigned code = 0; code <= FAR_INPUT_KEY_MAX; code++)
        if (far_key_name(code)) {
            named++;
            ck_assert_int_eq(far_key_code(far_key_name(code)), (int)code);
        }
    ck_assert_uint_gt(named, 500);
    ck_assert_int_eq(far_key_code("KEY_ENTER"), KEY_ENTER);
    ck_assert_int_eq(far_key_code("btn_touch"), BTN_TOUCH);
    ck_assert_int_eq(far_key_code("left"), KEY_LEFT);
    ck_assert_int_eq(far_key_code("1"), KEY_1);
    ck_assert_int_eq(far_key_code(""), -1);
}
END_TEST

/* ---- from Linux's events ---- */

static struct far_evdev_translate t;

static void event(uint16_t type, uint16_t code, int32_t value)
{
    seen->used += far_evdev_translate(&t, type, code, value, 1234,
                                      &seen->events[seen->used]);
}

static const char *frame(void)
{
    event(EV_SYN, SYN_REPORT, 0);
    return port_text(seen, 0);
}

START_TEST(a_frame_becomes_motion_then_keys_and_repeats_are_left_out)
{
    far_evdev_translate_init(&t);
    event(EV_MSC, MSC_SCAN, 77);
    event(EV_KEY, BTN_LEFT, 1);
    event(EV_REL, REL_X, 3);
    event(EV_REL, REL_Y, -2);
    event(EV_REL, REL_WHEEL, 1);
    event(EV_REL, REL_HWHEEL, 1);
    event(EV_KEY, KEY_A, 2);
    ck_assert_uint_eq(seen->used, 0);
    ck_assert_str_eq(frame(), "m3,-2,-1 +272");
    ck_assert_uint_eq(seen->events[0].time_us, 1234);
    event(EV_KEY, BTN_LEFT, 0);
    ck_assert_str_eq(frame(), "m3,-2,-1 +272 -272");
    ck_assert_str_eq(frame(), "m3,-2,-1 +272 -272"); /* an empty frame */
}
END_TEST

START_TEST(positions_are_normalised_over_the_range_of_the_device)
{
    far_evdev_translate_init(&t);
    t.x = (struct far_evdev_range){ -100, 100 };
    t.y = (struct far_evdev_range){ 0, 4095 };
    event(EV_ABS, ABS_X, 0);
    event(EV_ABS, ABS_Y, 4095);
    ck_assert_str_eq(frame(), "p32767,65535,0");
    event(EV_ABS, ABS_X, -1000);
    ck_assert_str_eq(frame(), "p32767,65535,0 p0,65535,0");
    ck_assert_int_eq(
        far_evdev_normalise(INT32_MAX,
                            (struct far_evdev_range){ INT32_MIN, INT32_MAX }),
        FAR_INPUT_POS_MAX);
    ck_assert_int_eq(far_evdev_normalise(5, (struct far_evdev_range){ 3, 3 }),
                     0);
}
END_TEST

START_TEST(slots_become_touches_and_the_single_touch_copy_is_left_out)
{
    far_evdev_translate_init(&t);
    t.multi_touch = true;
    t.mt_x = t.mt_y = (struct far_evdev_range){ 0, FAR_INPUT_POS_MAX };
    event(EV_ABS, ABS_MT_SLOT, 0);
    event(EV_ABS, ABS_MT_TRACKING_ID, 100);
    event(EV_ABS, ABS_MT_POSITION_X, 10);
    event(EV_ABS, ABS_MT_POSITION_Y, 20);
    event(EV_KEY, BTN_TOUCH, 1);
    event(EV_KEY, BTN_TOOL_FINGER, 1);
    event(EV_ABS, ABS_X, 10);
    ck_assert_str_eq(frame(), "t0d10,20 syn");
    seen->used = 0;
    event(EV_ABS, ABS_MT_POSITION_X, 11);
    event(EV_ABS, ABS_MT_SLOT, 1);
    event(EV_ABS, ABS_MT_TRACKING_ID, 101);
    event(EV_ABS, ABS_MT_POSITION_X, 5);
    event(EV_ABS, ABS_MT_SLOT, 40); /* not followed */
    event(EV_ABS, ABS_MT_TRACKING_ID, 102);
    event(EV_ABS, ABS_MT_POSITION_X, 9);
    ck_assert_str_eq(frame(), "t0m11,20 t1d5,0 syn");
    seen->used = 0;
    event(EV_ABS, ABS_MT_SLOT, 0);
    event(EV_ABS, ABS_MT_TRACKING_ID, -1);
    event(EV_ABS, ABS_MT_SLOT, 1);
    event(EV_ABS, ABS_MT_TRACKING_ID, 200); /* another finger at once */
    event(EV_KEY, KEY_VOLUMEUP, 1);
    ck_assert_str_eq(frame(), "+115 t0u0,0 t1u0,0 t1d5,0 syn");
}
END_TEST

START_TEST(a_frame_with_very_many_keys_loses_none)
{
    far_evdev_translate_init(&t);
    for (uint16_t k = 1; k <= 100; k++)
        event(EV_KEY, k, 1);
    frame();
    ck_assert_uint_eq(seen->used, 100);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(seen->events[i].code, i + 1);
}
END_TEST

START_TEST(whatever_a_device_sends_becomes_valid_events_only)
{
    uint64_t r = 88172645463325252u;

    far_evdev_translate_init(&t);
    t.x = t.mt_x = (struct far_evdev_range){ -5, 70000 };
    for (int i = 0; i < 200000; i++) {
        static const int32_t odd[] = { 0,  1,         2,         -1,
                                       15, INT32_MAX, INT32_MIN, 40000 };
        uint16_t type, code;

        r ^= r << 13;
        r ^= r >> 7;
        r ^= r << 17;
        type = (uint16_t)(r >> 8 & 3);
        code = (uint16_t)(r >> 16 & (type == EV_ABS ? 0x3f : 0x3ff));
        if (type == EV_SYN)
            code = 0;
        t.multi_touch = r >> 40 & 1;
        seen->used = 0;
        event(type, code, odd[r >> 32 & 7]);
        for (unsigned k = 0; k < seen->used; k++)
            ck_assert(far_input_event_valid(&seen->events[k]));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("words");
    TCase *c = tcase_create("words"), *e = tcase_create("evdev");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, text_is_typed_on_a_us_keyboard_with_shift);
    tcase_add_test(c, every_printable_character_has_a_key);
    tcase_add_test(c, all_words_do_what_the_manual_says);
    tcase_add_test(c, touches_end_with_a_syn_whoever_forgets_it);
    tcase_add_test(c, a_wrong_word_is_named_and_what_was_meant);
    tcase_add_test(c, a_line_takes_the_rest_as_text);
    tcase_add_test(c, names_and_codes_of_keys_agree);
    suite_add_tcase(suite, c);
    tcase_add_checked_fixture(e, setup, teardown);
    tcase_add_test(e,
                   a_frame_becomes_motion_then_keys_and_repeats_are_left_out);
    tcase_add_test(e, positions_are_normalised_over_the_range_of_the_device);
    tcase_add_test(e,
                   slots_become_touches_and_the_single_touch_copy_is_left_out);
    tcase_add_test(e, a_frame_with_very_many_keys_loses_none);
    tcase_add_test(e, whatever_a_device_sends_becomes_valid_events_only);
    suite_add_tcase(suite, e);
    return suite_end(suite);
}
