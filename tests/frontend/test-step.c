/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The frontend's half of the handshake as a table, and what it lets through of
 * a backend's events. No xenstore.
 */
#include <linux/input-event-codes.h>
#include <string.h>
#include "frontend/kbd.h"
#include "frontend/step.h"
#include "tests/core/suite.h"

struct row {
    const char *what;
    struct far_front_view v;
    enum far_front_action action;
};

/* exists, front, wrote, back */
#define V(f, w, b, ...)                                                      \
    {                                                                        \
        .exists = true, .front = (f), .wrote = (w), .back = (b), __VA_ARGS__ \
    }

static const struct row rows[] = {
    { "a new device is taken", V(1, 0, 1, 0), FAR_FRONT_TAKE },
    { "whatever its backend is doing", V(1, 0, 0, 0), FAR_FRONT_TAKE },
    { "the kernel's is left alone", V(1, 0, 2, .other = true),
      FAR_FRONT_REFUSE },
    { "but by force", V(4, 0, 4, .other = true, .force = true),
      FAR_FRONT_TAKE },
    { "another driver's is left alone", V(4, 0, 4, 0), FAR_FRONT_REFUSE },
    { "also a closed one", V(6, 0, 6, 0), FAR_FRONT_REFUSE },
    { "a dead predecessor's is taken over", V(4, 0, 4, .predecessor = true),
      FAR_FRONT_TAKE },
    { "one without a state is not ready", V(0, 0, 1, 0), FAR_FRONT_NOTHING },
    { "we wait for InitWait", V(1, 1, 1, 0), FAR_FRONT_NOTHING },
    { "then we start", V(1, 1, 2, 0), FAR_FRONT_START },
    { "and connect", V(3, 3, 2, .has_ring = true), FAR_FRONT_SET_4 },
    { "and wait", V(4, 4, 2, .has_ring = true), FAR_FRONT_NOTHING },
    { "a backend in 4 before us", V(3, 3, 4, .has_ring = true),
      FAR_FRONT_SET_4 },
    { "both in 4", V(4, 4, 4, .has_ring = true), FAR_FRONT_CONNECTED },
    { "the backend closes: the page stays", V(4, 4, 5, .has_ring = true),
      FAR_FRONT_SET_6 },
    { "until it has let go", V(6, 6, 5, .has_ring = true), FAR_FRONT_NOTHING },
    { "then the page goes", V(6, 6, 6, .has_ring = true), FAR_FRONT_DROP },
    { "and we wait", V(6, 6, 6, 0), FAR_FRONT_NOTHING },
    { "and start again", V(6, 6, 2, 0), FAR_FRONT_START },
    { "a backend that skipped 5", V(4, 4, 6, .has_ring = true),
      FAR_FRONT_SET_6 },
    { "a backend that came again unseen finds the page",
      V(4, 4, 2, .has_ring = true), FAR_FRONT_NOTHING },
    { "a backend made anew", V(4, 4, 1, .has_ring = true), FAR_FRONT_DROP },
    { "begins at 1", V(4, 4, 1, 0), FAR_FRONT_SET_1 },
    { "a backend without nodes", V(4, 4, 0, .has_ring = true), FAR_FRONT_DROP },
    { "stays without", V(4, 4, 0, 0), FAR_FRONT_NOTHING },
    { "a backend that serves our predecessor's page is sent back",
      V(4, 4, 4, 0), FAR_FRONT_SET_1 },
    { "and waited for", V(1, 1, 4, 0), FAR_FRONT_NOTHING },
    { "a device that never started is let go", V(1, 1, 5, 0), FAR_FRONT_SET_6 },
    { "restored: another domid", V(1, 4, 1, .has_ring = true, .moved = true),
      FAR_FRONT_ABANDON },
    { "restored: and taken again", V(1, 4, 1, .moved = true), FAR_FRONT_TAKE },
    { "restored with the same domid", V(1, 4, 2, .has_ring = true),
      FAR_FRONT_ABANDON },
    { "and taken again", V(1, 4, 2, 0), FAR_FRONT_TAKE },
    { "restored before the state was there", V(0, 4, 0, .has_ring = true),
      FAR_FRONT_ABANDON },
    { "another driver writes 3 over our 4", V(3, 4, 4, .has_ring = true),
      FAR_FRONT_YIELD },
    { "a device that was removed",
      { .wrote = 4, .has_ring = true },
      FAR_FRONT_DROP },
    { "is gone", { .wrote = 4 }, FAR_FRONT_GONE },
    { "a device that never was", { 0 }, FAR_FRONT_GONE },
    { "removed in a restored domain",
      { .wrote = 4, .has_ring = true, .moved = true },
      FAR_FRONT_ABANDON },
    { "nonsense: no start for a while", V(6, 6, 2, .held = true),
      FAR_FRONT_NOTHING },
    { "nonsense: nor a provocation", V(6, 6, 4, .held = true),
      FAR_FRONT_NOTHING },
    { "reconfiguring is nothing to us", V(4, 4, 7, .has_ring = true),
      FAR_FRONT_NOTHING },
};

START_TEST(the_table_of_steps_holds)
{
    const struct row *row = &rows[_i];
    enum far_front_action action = far_front_step(&row->v);

    ck_assert_msg(action == row->action, "%s: %s, not %s", row->what,
                  far_front_action_name(action),
                  far_front_action_name(row->action));
}
END_TEST

/* Carries an action out in the view alone. */
static void act(struct far_front_view *v, enum far_front_action action)
{
    switch (action) {
    case FAR_FRONT_TAKE:
        v->moved = false;
        v->front = v->wrote = 1;
        break;
    case FAR_FRONT_SET_1:
        v->front = v->wrote = 1;
        break;
    case FAR_FRONT_START:
        v->front = v->wrote = 3;
        v->has_ring = true;
        break;
    case FAR_FRONT_SET_4:
        v->front = v->wrote = 4;
        break;
    case FAR_FRONT_SET_6:
        v->front = v->wrote = 6;
        break;
    case FAR_FRONT_YIELD:
        v->wrote = 0;
        v->has_ring = v->force = false;
        break;
    case FAR_FRONT_DROP:
    case FAR_FRONT_ABANDON:
        v->has_ring = false;
        break;
    default:
        break;
    }
}

START_TEST(from_every_view_the_steps_come_to_rest)
{
    for (unsigned n = 0; n < 9 * 9 * 9 * 128; n++) {
        struct far_front_view v = {
            .front = n % 9,
            .wrote = n / 9 % 9,
            .back = n / 81 % 9,
        };
        unsigned bits = n / 729, steps = 0;
        enum far_front_action action;

        v.exists = bits & 1;
        v.moved = bits & 2 && v.wrote;
        v.has_ring = bits & 4 && v.wrote;
        v.other = bits & 8 && !v.wrote;
        v.predecessor = bits & 16;
        v.force = bits & 32;
        v.held = bits & 64;
        do {
            action = far_front_step(&v);
            act(&v, action);
            ck_assert_msg(steps++ < 12, "front %u wrote %u back %u bits %x: %s",
                          n % 9, n / 9 % 9, n / 81 % 9, bits,
                          far_front_action_name(action));
        } while (action != FAR_FRONT_NOTHING && action != FAR_FRONT_CONNECTED &&
                 action != FAR_FRONT_GONE && action != FAR_FRONT_REFUSE);
        /* Connected means that there is a page. */
        if (action == FAR_FRONT_CONNECTED)
            ck_assert(v.has_ring && v.front == 4 && v.back == 4);
    }
}
END_TEST

static const struct far_frontend_input_info all = {
    .keyboard = true,
    .pointer = true,
    .absolute = true,
    .multi_touch = true,
    .width = 800,
    .height = 600,
    .touch_width = 100,
    .touch_height = 50,
    .contacts = 4,
};

static bool key_ok(const struct far_frontend_input_info *info, uint32_t code,
                   uint8_t pressed)
{
    union xenkbd_in_event e;

    memset(&e, 0xaa, sizeof(e));
    e.key.type = XENKBD_TYPE_KEY;
    e.key.pressed = pressed;
    e.key.keycode = code;
    return far_front_event_check(&e, info);
}

START_TEST(keys_that_can_not_be_are_dropped)
{
    struct far_frontend_input_info info = all;

    ck_assert(key_ok(&info, KEY_A, 1));
    ck_assert(key_ok(&info, KEY_A, 0));
    ck_assert(!key_ok(&info, KEY_A, 2));
    ck_assert(!key_ok(&info, 0, 1));
    ck_assert(key_ok(&info, KEY_MAX, 1));
    ck_assert(!key_ok(&info, KEY_MAX + 1, 1));
    ck_assert(!key_ok(&info, 60000, 1));
    ck_assert(!key_ok(&info, UINT32_MAX, 1));
    info.pointer = false;
    ck_assert(key_ok(&info, KEY_A, 1));
    ck_assert(!key_ok(&info, BTN_LEFT, 1));
    info = all;
    info.keyboard = false;
    ck_assert(!key_ok(&info, KEY_A, 1));
    ck_assert(key_ok(&info, BTN_LEFT, 1));
}
END_TEST

START_TEST(types_that_can_not_be_are_dropped)
{
    for (unsigned type = 0; type < 256; type++) {
        union xenkbd_in_event e = { 0 };
        bool known = type == XENKBD_TYPE_MOTION || type == XENKBD_TYPE_POS ||
                     type == XENKBD_TYPE_MTOUCH;

        e.type = (uint8_t)type; /* a key 0 is none */
        ck_assert_msg(far_front_event_check(&e, &all) == known, "%u", type);
    }
}
END_TEST

START_TEST(positions_outside_are_drawn_in)
{
    struct far_frontend_input_info info = all;
    union xenkbd_in_event e = { 0 };

    e.pos.type = XENKBD_TYPE_POS;
    e.pos.abs_x = 800;
    e.pos.abs_y = -5;
    ck_assert(far_front_event_check(&e, &info));
    ck_assert_int_eq(e.pos.abs_x, 799);
    ck_assert_int_eq(e.pos.abs_y, 0);
    e.pos.abs_x = INT32_MAX;
    e.pos.abs_y = 599;
    ck_assert(far_front_event_check(&e, &info));
    ck_assert_int_eq(e.pos.abs_x, 799);
    ck_assert_int_eq(e.pos.abs_y, 599);
    info.raw = true;
    e.pos.abs_x = 30000;
    ck_assert(far_front_event_check(&e, &info));
    ck_assert_int_eq(e.pos.abs_x, 30000);
    info.absolute = false;
    ck_assert(!far_front_event_check(&e, &info));
}
END_TEST

START_TEST(contacts_that_can_not_be_are_dropped)
{
    struct far_frontend_input_info info = all;
    union xenkbd_in_event e = { 0 };

    e.mtouch.type = XENKBD_TYPE_MTOUCH;
    e.mtouch.contact_id = 3;
    e.mtouch.u.pos.abs_x = 100;
    e.mtouch.u.pos.abs_y = 49;
    ck_assert(far_front_event_check(&e, &info));
    ck_assert_int_eq(e.mtouch.u.pos.abs_x, 99);
    ck_assert_int_eq(e.mtouch.u.pos.abs_y, 49);
    e.mtouch.contact_id = 4;
    ck_assert(!far_front_event_check(&e, &info));
    e.mtouch.contact_id = 0;
    e.mtouch.event_type = XENKBD_MT_EV_ORIENT + 1;
    ck_assert(!far_front_event_check(&e, &info));
    e.mtouch.event_type = XENKBD_MT_EV_UP;
    ck_assert(far_front_event_check(&e, &info));
    info.multi_touch = false;
    ck_assert(!far_front_event_check(&e, &info));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frontend");
    TCase *tcase = tcase_create("pure");

    tcase_add_loop_test(tcase, the_table_of_steps_holds, 0,
                        (int)(sizeof(rows) / sizeof(rows[0])));
    tcase_add_test(tcase, from_every_view_the_steps_come_to_rest);
    tcase_add_test(tcase, keys_that_can_not_be_are_dropped);
    tcase_add_test(tcase, types_that_can_not_be_are_dropped);
    tcase_add_test(tcase, positions_outside_are_drawn_in);
    tcase_add_test(tcase, contacts_that_can_not_be_are_dropped);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
