/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input port's pure half: what is offered, what a front's nodes mean, what
 * an event becomes; and, against a model of Linux' xen-kbdfront, that nothing
 * that is sent can harm it.
 */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>
#include "backend/port-input-checks.h"
#include "tests/core/suite.h"

static const struct far_kbd_request plain = {
    .abs = -1, .raw = -1, .touch = -1, .poll = 0, .gref = 8, .port = 9
};

/* The offer after publishing, as the front and a later check see it. */
static struct far_kbd_offer published(struct far_kbd_offer offer)
{
    struct far_kbd_publish publish;
    struct far_error error;

    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    return offer;
}

static struct far_kbd_mode agreed(struct far_kbd_offer offer,
                                  struct far_kbd_request request)
{
    struct far_kbd_mode mode;
    struct far_error error = { 0 };

    ck_assert_msg(!far_kbd_check_front(&offer, &request, &mode, &error), "%s",
                  error.text);
    return mode;
}

static struct far_input_event key(uint16_t code, int32_t value)
{
    return (struct far_input_event){ .type = FAR_INPUT_KEY,
                                     .code = code,
                                     .value = value };
}

static struct far_input_event at(uint8_t type, int32_t x, int32_t y, int32_t z)
{
    return (struct far_input_event){ .type = type, .x = x, .y = y, .z = z };
}

static struct far_input_event touch(uint16_t what, int32_t id, int32_t x,
                                    int32_t y)
{
    return (struct far_input_event){
        .type = FAR_INPUT_TOUCH, .code = what, .value = id, .x = x, .y = y
    };
}

#define SEND(mode, track, event, out)                                    \
    ck_assert_int_eq((int)far_kbd_translate(mode, track, &(event), out), \
                     FAR_KBD_SEND)

START_TEST(a_plain_keyboard_needs_no_change)
{
    struct far_kbd_offer offer = { 0 };
    struct far_kbd_publish publish;
    struct far_kbd_mode mode;
    struct far_error error;

    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert(!publish.remove_disable_pointer && !publish.write_abs &&
              !publish.write_size && !publish.write_touch_size &&
              !publish.write_contacts);
    mode = agreed(offer, plain);
    ck_assert(mode.keys && mode.buttons && mode.pointer && !mode.abs &&
              !mode.touch && !mode.raw);
}
END_TEST

START_TEST(an_absolute_pointer_without_a_size_gets_linux_own)
{
    struct far_kbd_offer offer = { .abs = true };
    struct far_kbd_publish publish;
    struct far_error error;

    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert(publish.write_size);
    ck_assert_uint_eq(offer.width, 800);
    ck_assert_uint_eq(offer.height, 600);
    offer = (struct far_kbd_offer){ .abs = true, .width = 1024, .height = 768 };
    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert(!publish.write_size && offer.width == 1024);
}
END_TEST

START_TEST(contacts_are_brought_to_what_a_front_can_allocate)
{
    struct far_kbd_offer offer = { .touch = true, .touch_contacts = 200 };
    struct far_kbd_publish publish;
    struct far_error error;

    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert(publish.write_contacts && publish.write_touch_size);
    ck_assert_uint_eq(offer.touch_contacts, 16);
    offer = (struct far_kbd_offer){ .touch = true };
    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert_uint_eq(offer.touch_contacts, 1);
}
END_TEST

START_TEST(both_disabled_leaves_nothing_and_is_refused)
{
    struct far_kbd_offer offer = { .disable_keyboard = true,
                                   .disable_pointer = true };
    struct far_kbd_publish publish;
    struct far_error error = { 0 };

    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error),
                     -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(error.text, "nothing is left"));
    offer.touch = true;
    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert(!publish.remove_disable_pointer);
}
END_TEST

START_TEST(a_disabled_pointer_is_removed_marked_and_offered_absolute)
{
    struct far_kbd_offer offer = { .disable_pointer = true };
    struct far_kbd_publish publish;
    struct far_error error;

    ck_assert_int_eq(far_kbd_check_offer(&offer, &publish, &error), 0);
    ck_assert(publish.remove_disable_pointer && publish.write_abs &&
              publish.write_size);
    ck_assert(offer.shielded && offer.abs && !offer.disable_pointer);
}
END_TEST

START_TEST(a_shielded_front_that_did_not_ask_for_its_pointer_is_refused)
{
    struct far_kbd_offer offer =
        published((struct far_kbd_offer){ .disable_pointer = true });
    struct far_kbd_request request = plain;
    struct far_kbd_mode mode;
    struct far_error error = { 0 };

    ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                     -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(error.text, "feature-disable-pointer"));
    request.abs = 0;
    ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                     -EOPNOTSUPP);
    request.abs = 1;
    mode = agreed(offer, request);
    ck_assert(mode.keys && !mode.buttons && !mode.pointer);
}
END_TEST

START_TEST(disable_pointer_that_appears_later_is_refused)
{
    struct far_kbd_offer offer = { .disable_pointer = true };
    struct far_kbd_request request = plain;
    struct far_kbd_mode mode;
    struct far_error error = { 0 };

    request.abs = 1;
    ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                     -EOPNOTSUPP);
}
END_TEST

START_TEST(a_disabled_keyboard_gets_buttons_and_motion_only)
{
    struct far_kbd_mode mode = agreed(
        published((struct far_kbd_offer){ .disable_keyboard = true }), plain);
    struct far_kbd_track track;
    union xenkbd_in_event out;
    struct far_input_event a = key(KEY_A, 1), left = key(BTN_LEFT, 1);
    struct far_input_event m = at(FAR_INPUT_MOTION, 1, 2, 0);

    far_kbd_track_init(&track, &mode);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &a, &out),
                     FAR_KBD_NOT_WANTED);
    SEND(&mode, &track, left, &out);
    SEND(&mode, &track, m, &out);
}
END_TEST

START_TEST(attack_46_and_49_grefs_and_ports_that_can_be_none)
{
    static const int64_t grefs[] = {
        -2, 0, 1, 7, (int64_t)UINT32_MAX + 1, INT64_MAX, INT64_MIN
    };
    static const int64_t ports[] = { -2, 0, 1 << 17, INT64_MAX, INT64_MIN };
    struct far_kbd_offer offer = { 0 };
    struct far_kbd_mode mode;
    struct far_error error;

    for (size_t i = 0; i < sizeof(grefs) / sizeof(grefs[0]); i++) {
        struct far_kbd_request request = plain;

        request.gref = grefs[i];
        ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                         -EINVAL);
    }
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        struct far_kbd_request request = plain;

        request.port = ports[i];
        ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                         -EINVAL);
    }
}
END_TEST

START_TEST(attack_66_a_front_without_its_nodes_is_named_the_missing_one)
{
    struct far_kbd_request request = plain;
    struct far_kbd_offer offer = { 0 };
    struct far_kbd_mode mode;
    struct far_error error = { 0 };

    request.gref = -1;
    ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "page-gref"));
    request = plain;
    request.port = -1;
    ck_assert_int_eq(far_kbd_check_front(&offer, &request, &mode, &error),
                     -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "event-channel"));
}
END_TEST

START_TEST(a_restored_front_that_does_not_request_again_stays_absolute)
{
    struct far_kbd_offer offer = { .abs = true, .width = 1024, .height = 768 };
    struct far_kbd_request request = plain;

    ck_assert(agreed(offer, request).abs);
    request.abs = 0; /* it says that it is relative */
    ck_assert(!agreed(offer, request).abs);
    request.abs = 1;
    ck_assert(agreed(offer, request).abs);
    offer.abs = false; /* a request for what is not offered has no effect */
    ck_assert(!agreed(offer, request).abs);
}
END_TEST

START_TEST(raw_positions_only_when_offered_and_asked_for)
{
    struct far_kbd_offer offer = {
        .abs = true, .raw = true, .width = 1024, .height = 768
    };
    struct far_kbd_request request = plain;
    struct far_kbd_track track;
    struct far_kbd_mode mode;
    union xenkbd_in_event out;
    struct far_input_event p = at(FAR_INPUT_POS, 65535, 0, 0);

    request.abs = request.raw = 1;
    mode = agreed(offer, request);
    far_kbd_track_init(&track, &mode);
    SEND(&mode, &track, p, &out);
    ck_assert_int_eq(out.pos.abs_x, 0x7fff);
    request.raw = -1;
    mode = agreed(offer, request);
    SEND(&mode, &track, p, &out);
    ck_assert_int_eq(out.pos.abs_x, 1023);
    offer.raw = false;
    request.raw = 1;
    ck_assert(!agreed(offer, request).raw);
}
END_TEST

START_TEST(positions_are_scaled_and_clamped_to_the_size)
{
    struct far_kbd_offer offer = { .abs = true, .width = 1024, .height = 768 };
    struct far_kbd_mode mode = agreed(offer, plain);
    struct far_kbd_track track;
    union xenkbd_in_event out;

    far_kbd_track_init(&track, &mode);
    for (int32_t v = 0; v <= FAR_INPUT_POS_MAX; v += 77) {
        struct far_input_event p =
            at(FAR_INPUT_POS, v, FAR_INPUT_POS_MAX - v, 0);

        SEND(&mode, &track, p, &out);
        ck_assert_int_eq(out.pos.type, XENKBD_TYPE_POS);
        ck_assert(out.pos.abs_x >= 0 && out.pos.abs_x < 1024);
        ck_assert(out.pos.abs_y >= 0 && out.pos.abs_y < 768);
    }
}
END_TEST

START_TEST(relative_motion_for_an_absolute_front_moves_a_tracked_position)
{
    struct far_kbd_offer offer = { .abs = true, .width = 100, .height = 50 };
    struct far_kbd_mode mode = agreed(offer, plain);
    struct far_kbd_track track;
    union xenkbd_in_event out;
    struct far_input_event m = at(FAR_INPUT_MOTION, 3, -4, 2);

    far_kbd_track_init(&track, &mode);
    SEND(&mode, &track, m, &out);
    ck_assert_int_eq(out.pos.type, XENKBD_TYPE_POS);
    ck_assert_int_eq(out.pos.abs_x, 53);
    ck_assert_int_eq(out.pos.abs_y, 21);
    ck_assert_int_eq(out.pos.rel_z, 2);
    m = at(FAR_INPUT_MOTION, 60000, -60000, 0);
    SEND(&mode, &track, m, &out);
    ck_assert(out.pos.abs_x == 99 && out.pos.abs_y == 0);
}
END_TEST

START_TEST(positions_for_a_relative_front_become_differences)
{
    struct far_kbd_mode mode = agreed((struct far_kbd_offer){ 0 }, plain);
    struct far_kbd_track track;
    union xenkbd_in_event out;
    struct far_input_event p = at(FAR_INPUT_POS, 32768, 32768, 0);

    far_kbd_track_init(&track, &mode);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &p, &out),
                     FAR_KBD_NOTHING);
    p = at(FAR_INPUT_POS, 65535, 0, 1);
    SEND(&mode, &track, p, &out);
    ck_assert_int_eq(out.motion.type, XENKBD_TYPE_MOTION);
    ck_assert_int_eq(out.motion.rel_x, 399);
    ck_assert_int_eq(out.motion.rel_y, -300);
    ck_assert_int_eq(out.motion.rel_z, 1);
    p = at(FAR_INPUT_POS, 65535, 0, 0);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &p, &out),
                     FAR_KBD_NOTHING);
}
END_TEST

START_TEST(touch_only_when_negotiated_and_only_contacts_that_the_front_has)
{
    struct far_kbd_offer offer =
        published((struct far_kbd_offer){ .touch = true,
                                          .touch_width = 1000,
                                          .touch_height = 500,
                                          .touch_contacts = 2 });
    struct far_kbd_mode mode = agreed(offer, plain), none;
    struct far_kbd_request no = plain;
    struct far_kbd_track track;
    union xenkbd_in_event out;
    struct far_input_event down0 = touch(FAR_TOUCH_DOWN, 0, 65535, 65535);
    struct far_input_event down2 = touch(FAR_TOUCH_DOWN, 2, 0, 0);
    struct far_input_event move1 = touch(FAR_TOUCH_MOVE, 1, 0, 0);
    struct far_input_event up0 = touch(FAR_TOUCH_UP, 0, 0, 0);
    struct far_input_event syn = touch(FAR_TOUCH_SYN, 0, 0, 0);

    far_kbd_track_init(&track, &mode);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &syn, &out),
                     FAR_KBD_NOTHING);
    SEND(&mode, &track, down0, &out);
    ck_assert_int_eq(out.mtouch.event_type, XENKBD_MT_EV_DOWN);
    ck_assert_int_eq(out.mtouch.u.pos.abs_x, 999);
    ck_assert_int_eq(out.mtouch.u.pos.abs_y, 499);
    ck_assert_uint_eq(track.contacts, 1);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &down0, &out),
                     FAR_KBD_NOTHING);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &down2, &out),
                     FAR_KBD_NOT_TAKEN);
    ck_assert_int_eq((int)far_kbd_translate(&mode, &track, &move1, &out),
                     FAR_KBD_NOTHING);
    SEND(&mode, &track, syn, &out);
    SEND(&mode, &track, up0, &out);
    ck_assert_uint_eq(track.contacts, 0);
    no.touch = 0;
    none = agreed(offer, no);
    ck_assert_int_eq((int)far_kbd_translate(&none, &track, &down0, &out),
                     FAR_KBD_NOT_TAKEN);
    none = agreed((struct far_kbd_offer){ 0 }, plain);
    ck_assert_int_eq((int)far_kbd_translate(&none, &track, &down0, &out),
                     FAR_KBD_NOT_TAKEN);
}
END_TEST

START_TEST(the_padding_of_every_entry_is_zero)
{
    static const char zero[sizeof(union xenkbd_in_event)];
    struct far_kbd_mode mode = agreed((struct far_kbd_offer){ 0 }, plain);
    struct far_kbd_track track;
    union xenkbd_in_event out;
    struct far_input_event a = key(KEY_A, 1);

    far_kbd_track_init(&track, &mode);
    memset(&out, 0xff, sizeof(out));
    SEND(&mode, &track, a, &out);
    ck_assert_int_eq(memcmp(out.pad + sizeof(struct xenkbd_key), zero,
                            sizeof(zero) - sizeof(struct xenkbd_key)),
                     0);
    ck_assert(out.pad[2] == 0 && out.pad[3] == 0);
}
END_TEST

START_TEST(keys_that_a_stock_front_has_not_are_not_sent)
{
    static const uint16_t bad[] = { 0,     KEY_UNKNOWN,  255,
                                    BTN_0, BTN_TASK + 1, BTN_TOUCH,
                                    0x15f, KEY_MAX,      KEY_MAX + 1,
                                    60000, 65535 };
    static const uint16_t good[] = { KEY_ESC,  KEY_A,  239,        BTN_LEFT,
                                     BTN_TASK, KEY_OK, KEY_MAX - 1 };
    struct far_kbd_mode mode = agreed((struct far_kbd_offer){ 0 }, plain);
    struct far_kbd_track track;
    union xenkbd_in_event out;

    far_kbd_track_init(&track, &mode);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct far_input_event e = key(bad[i], 1);

        ck_assert_int_ne((int)far_kbd_translate(&mode, &track, &e, &out),
                         FAR_KBD_SEND);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct far_input_event e = key(good[i], 1);

        SEND(&mode, &track, e, &out);
        ck_assert_uint_eq(out.key.keycode, good[i]);
    }
}
END_TEST

/* --- against Linux ---------------------------------------------------------*/

/* What xen-kbdfront made at its probe, and what an event does to it: false is
 * an oops or a warning. Written from the argument in port-input-checks.h. */
struct front {
    bool kbd, ptr, mtouch;
    bool asked_abs, asked_touch;
};

static struct front probe(bool disable_kbd, bool disable_ptr, bool touch_node,
                          bool abs_node)
{
    struct front f = { .kbd = !disable_kbd,
                       .ptr = !disable_ptr,
                       .mtouch = touch_node };

    f.asked_abs = f.ptr && abs_node;
    f.asked_touch = f.mtouch;
    return f;
}

static bool survives(const struct front *f, const union xenkbd_in_event *e)
{
    switch (e->type) {
    case XENKBD_TYPE_KEY:
        if (e->key.keycode > KEY_MAX || !f->ptr)
            return false;
        if (e->key.keycode >= BTN_LEFT && e->key.keycode <= BTN_TASK)
            return true;
        if (!f->kbd)
            return false;
        return (e->key.keycode >= KEY_ESC && e->key.keycode < KEY_UNKNOWN) ||
               (e->key.keycode >= KEY_OK && e->key.keycode < KEY_MAX);
    case XENKBD_TYPE_MTOUCH:
        return !f->mtouch || e->mtouch.contact_id < 16;
    case XENKBD_TYPE_MOTION:
    case XENKBD_TYPE_POS:
        return true;
    default:
        return false;
    }
}

static uint32_t seed;
static uint32_t random32(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* A device that sends anything at all. */
static struct far_input_event anything(void)
{
    struct far_input_event e = { .type = (uint8_t)(random32() % 7),
                                 .code = (uint16_t)random32(),
                                 .value = (int32_t)random32() % 20,
                                 .x = (int32_t)(random32() % 140000) - 70000,
                                 .y = (int32_t)(random32() % 140000) - 70000,
                                 .z = (int32_t)(random32() % 9) - 4 };

    if (random32() & 1)
        e.code %= 0x300;
    if (random32() & 1)
        e.value &= 1;
    if (e.type == FAR_INPUT_TOUCH && random32() % 4)
        e.code %= 7;
    return e;
}

/* Bits of an order: what the guest's vkb line says. */
static struct far_kbd_offer order(unsigned bits)
{
    return (struct far_kbd_offer){ .disable_keyboard = bits & 1,
                                   .disable_pointer = bits & 2,
                                   .touch = bits & 4,
                                   .abs = bits & 8,
                                   .raw = bits & 16,
                                   .touch_contacts = 16 };
}

/* reads: for the two nodes that publishing changes, whether the front read
 * each before (its order of reading is fixed: pointer, then abs). */
static void play(unsigned bits, bool ptr_before, bool abs_before, bool fresh)
{
    struct far_kbd_offer ordered = order(bits), offer = ordered;
    struct far_kbd_publish publish;
    struct far_kbd_request request = plain;
    struct far_kbd_track track;
    struct far_kbd_mode mode;
    struct far_error error;
    struct front f;

    if (far_kbd_check_offer(&offer, &publish, &error))
        return; /* refused: nothing is ever sent */
    f = probe(ordered.disable_keyboard,
              ptr_before ? ordered.disable_pointer : offer.disable_pointer,
              ordered.touch, abs_before ? ordered.abs : offer.abs);
    if (!f.kbd && !f.ptr && !f.mtouch)
        return;  /* its probe fails */
    if (fresh) { /* a restored front says nothing */
        request.abs = f.asked_abs ? 1 : -1;
        request.touch = f.asked_touch ? 1 : -1;
    }
    if (far_kbd_check_front(&offer, &request, &mode, &error))
        return;
    far_kbd_track_init(&track, &mode);
    for (int i = 0; i < 20000; i++) {
        struct far_input_event e = anything();
        union xenkbd_in_event out;

        if (far_kbd_translate(&mode, &track, &e, &out) != FAR_KBD_SEND)
            continue;
        ck_assert_msg(survives(&f, &out),
                      "order %x, probed %s: type %d code %u kills it", bits,
                      ptr_before ? "before us" : "after us", out.type,
                      out.type == XENKBD_TYPE_KEY ? out.key.keycode : 0);
        ck_assert(mode.abs ? out.type != XENKBD_TYPE_MOTION
                           : out.type != XENKBD_TYPE_POS);
    }
}

START_TEST(no_device_can_harm_a_front_whatever_it_read_before_or_after_us)
{
    seed = 1;
    for (unsigned bits = 0; bits < 32; bits++) {
        play(bits, false, false, true); /* probed after publication */
        play(bits, true, true, true);   /* before */
        play(bits, true, false, true);  /* in between */
        play(bits, true, true, false);  /* before, and was restored since */
        play(bits, true, false, false);
        play(bits, false, false, false);
    }
}
END_TEST

START_TEST(a_guest_that_was_created_with_its_pointer_disabled_gets_its_keys)
{
    struct far_kbd_offer offer = published(order(2));
    struct far_kbd_request request = plain;
    struct front f = probe(false, false, false, offer.abs);
    struct far_kbd_track track;
    struct far_kbd_mode mode;
    union xenkbd_in_event out;
    struct far_input_event a = key(KEY_A, 1);

    request.abs = f.asked_abs ? 1 : -1;
    mode = agreed(offer, request);
    far_kbd_track_init(&track, &mode);
    SEND(&mode, &track, a, &out);
    ck_assert(survives(&f, &out));
}
END_TEST

SUITE_MAIN("input checks", a_plain_keyboard_needs_no_change,
           an_absolute_pointer_without_a_size_gets_linux_own,
           contacts_are_brought_to_what_a_front_can_allocate,
           both_disabled_leaves_nothing_and_is_refused,
           a_disabled_pointer_is_removed_marked_and_offered_absolute,
           a_shielded_front_that_did_not_ask_for_its_pointer_is_refused,
           disable_pointer_that_appears_later_is_refused,
           a_disabled_keyboard_gets_buttons_and_motion_only,
           attack_46_and_49_grefs_and_ports_that_can_be_none,
           attack_66_a_front_without_its_nodes_is_named_the_missing_one,
           a_restored_front_that_does_not_request_again_stays_absolute,
           raw_positions_only_when_offered_and_asked_for,
           positions_are_scaled_and_clamped_to_the_size,
           relative_motion_for_an_absolute_front_moves_a_tracked_position,
           positions_for_a_relative_front_become_differences,
           touch_only_when_negotiated_and_only_contacts_that_the_front_has,
           the_padding_of_every_entry_is_zero,
           keys_that_a_stock_front_has_not_are_not_sent,
           no_device_can_harm_a_front_whatever_it_read_before_or_after_us,
           a_guest_that_was_created_with_its_pointer_disabled_gets_its_keys)
