/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fast input device against its promises, one by one and, at the end,
 * against a model with a million random operations (FARSIDE_SEED chooses
 * others).
 */
#include "tests/devices/harness.h"

#define A     30
#define B     48
#define SHIFT 42

/* The layer below: a device under the test's control. What is refused waits in
 * it, as in the layers that there are. */
#define WAITING_MAX 4096u
struct source {
    struct far_layer layer;
    uint64_t sequence, acked, incarnation;
    unsigned activations;
    unsigned first, waiting, most_waiting;
    struct far_op ops[WAITING_MAX];
};

static void source_ack(struct far_layer *layer, uint64_t sequence)
{
    struct source *s = (struct source *)layer;

    ck_assert_uint_gt(sequence, s->acked);
    ck_assert_uint_le(sequence, s->sequence);
    s->acked = sequence;
}

static void source_activate(struct far_layer *layer, uint64_t incarnation,
                            uint64_t received)
{
    (void)incarnation;
    (void)received;
    ((struct source *)layer)->activations++;
}

static void source_close(struct far_layer *layer)
{
    (void)layer;
}

static void source_resume(struct far_layer *layer)
{
    struct source *s = (struct source *)layer;

    while (s->waiting &&
           far_layer_interrupt(s->layer.above, &s->ops[s->first])) {
        s->first = (s->first + 1) % WAITING_MAX;
        s->waiting--;
    }
}

static const struct far_layer_ops source_ops = { .name = "test source",
                                                 .ack = source_ack,
                                                 .activate = source_activate,
                                                 .resume = source_resume,
                                                 .close = source_close };

static struct far_loop *loop;
static struct source source;
static struct far_layer *fast;
static struct port *port;

static void begin(uint64_t release_after_us, uint64_t stale_us)
{
    struct far_fast_input_options o = { .release_after_us = release_after_us,
                                        .stale_us = stale_us };

    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    memset(&source, 0, sizeof(source));
    source.layer.ops = &source_ops;
    source.incarnation = 1;
    fast = far_fast_input_new(loop, &o);
    ck_assert_ptr_nonnull(fast);
    far_layer_stack(fast, &source.layer);
    port = port_new(fast);
    far_layer_activate(fast, 0, 0);
}

static void end(void)
{
    port_free(port);
    far_loop_free(loop);
}

static void send_event(struct far_input_event e)
{
    struct far_op op = { .attachment = 7,
                         .sequence = ++source.sequence,
                         .opcode = FAR_INPUT_EVENT };

    memcpy(op.args, &e, sizeof(e));
    if (!source.waiting && far_layer_interrupt(source.layer.above, &op))
        return;
    ck_assert_uint_lt(source.waiting, WAITING_MAX);
    source.ops[(source.first + source.waiting++) % WAITING_MAX] = op;
    if (source.waiting > source.most_waiting)
        source.most_waiting = source.waiting;
}

static void send_key(uint16_t code, int down)
{
    send_event(key_event(code, down));
}

static void send_type(uint8_t type)
{
    struct far_input_event e = { .type = type };

    send_event(e);
}

static void send_held(uint16_t code)
{
    struct far_input_event e = key_event(code, 1);

    e.flags = FAR_INPUT_HELD;
    send_event(e);
}

static void say_ready(void)
{
    struct far_layer_news news = { .incarnation = source.incarnation };

    far_layer_state(source.layer.above, FAR_DEVICE_READY, &news);
}

static void say_gone(void)
{
    struct far_layer_news news = { .incarnation = source.incarnation,
                                   .reason = "unplugged" };

    far_layer_state(source.layer.above, FAR_DEVICE_GONE, &news);
}

static struct far_fast_input_counters counters(void)
{
    struct far_fast_input_counters c;

    far_fast_input_counters(fast, &c);
    return c;
}

START_TEST(what_is_pressed_and_moved_arrives_in_order)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    send_key(A, 1);
    send_event(motion_event(3, 4));
    send_event(motion_event(1, 1));
    send_key(A, 0);
    ck_assert_str_eq(port_text(port, 0), "+30 m3,4,0 m1,1,0 -30");
    ck_assert_uint_eq(source.acked, 4);
    ck_assert_uint_eq(port->sequences[3], 4);
    end();
}
END_TEST

START_TEST(motion_is_coalesced_while_the_port_has_no_room_and_keys_are_not)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    port->room = 0;
    for (int i = 0; i < 1000; i++)
        send_event(motion_event(1, -1));
    send_key(A, 1);
    send_key(A, 0);
    for (int i = 0; i < 10; i++)
        send_event(motion_event(1, 0));
    ck_assert_uint_eq(port->used, 0);
    ck_assert_uint_eq(source.acked, 0);
    port_give_room(port, 100);
    ck_assert_str_eq(port_text(port, 0), "m1000,-1000,0 +30 -30 m10,0,0");
    /* the merged ones are acked with the event they were merged into */
    ck_assert_uint_eq(port->sequences[0], 1000);
    ck_assert_uint_eq(source.acked, 1012);
    ck_assert_uint_eq(counters().coalesced, 999 + 9);
    end();
}
END_TEST

START_TEST(positions_and_touch_moves_are_coalesced_to_the_last)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    send_event(touch_event(0, FAR_TOUCH_DOWN, 1, 1));
    send_event(touch_event(1, FAR_TOUCH_DOWN, 2, 2));
    send_event(touch_event(0, FAR_TOUCH_SYN, 0, 0));
    port->room = 0;
    for (int i = 10; i < 50; i++) {
        send_event(touch_event(0, FAR_TOUCH_MOVE, i, 0));
        send_event(touch_event(1, FAR_TOUCH_MOVE, i + 1, 0));
        send_event(touch_event(0, FAR_TOUCH_SYN, 0, 0));
    }
    send_event(touch_event(0, FAR_TOUCH_UP, 0, 0));
    send_event(touch_event(1, FAR_TOUCH_MOVE, 99, 0));
    send_event(touch_event(0, FAR_TOUCH_SYN, 0, 0));
    for (int i = 0; i < 5; i++)
        send_event((struct far_input_event){
            .type = FAR_INPUT_POS, .time_us = far_now_us(), .x = i, .z = 1 });
    port_give_room(port, 100);
    ck_assert_str_eq(port_text(port, 3),
                     "t0m49,0 t1m50,0 syn t0u0,0 t1m99,0 syn p4,0,5");
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(what_finds_no_place_waits_below_and_nothing_is_dropped)
{
    struct far_key_set none = { { 0 } };
    unsigned i;

    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    for (uint16_t k = 1; k <= 20; k++)
        send_key(k, 1);
    port->room = 0;
    /* 54 pairs fit beside the 20 releases that are owed */
    for (uint16_t k = 100; k < 300; k++) {
        send_key(k, 1);
        send_key(k, 0);
    }
    for (uint16_t k = 1; k <= 20; k++)
        send_key(k, 0);
    ck_assert_uint_eq(source.waiting, 2 * (200 - 54) + 20);
    /* a guest that takes a few, ever again */
    for (i = 0; i < 1000 && port->used < 440; i++)
        port_give_room(port, 7);
    ck_assert_uint_eq(port->used, 20 + 2 * 200 + 20);
    for (i = 0; i < 400; i++) {
        ck_assert_uint_eq(port->events[20 + i].code, 100 + i / 2);
        ck_assert_int_eq(port->events[20 + i].value, !(i % 2));
        ck_assert_uint_eq(port->sequences[20 + i], 21 + i);
    }
    ck_assert_uint_eq(counters().dropped_presses, 0);
    ck_assert_mem_eq(far_fast_input_held(fast), &none, sizeof(none));
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(a_key_that_never_finds_a_place_is_dropped_with_its_release)
{
    unsigned held = 0;

    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    /* more than a guest's queue could ever release */
    for (uint16_t k = 1; k <= FAR_INPUT_QUEUE_ENTRIES + 10; k++)
        send_key(k, 1);
    held = port->used;
    ck_assert_uint_ge(held, FAR_INPUT_QUEUE_ENTRIES / 2);
    ck_assert_uint_eq(source.waiting, 0);
    ck_assert_uint_eq(counters().dropped_presses,
                      FAR_INPUT_QUEUE_ENTRIES + 10 - held);
    for (uint16_t k = 1; k <= FAR_INPUT_QUEUE_ENTRIES + 10; k++)
        send_key(k, 0);
    ck_assert_uint_eq(port->used, 2 * held);
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(a_statement_waits_until_modifiers_find_a_place)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    port->room = 0;
    for (uint16_t k = 100; k < 100 + FAR_INPUT_QUEUE_ENTRIES / 2; k++) {
        send_key(k, 1);
        send_key(k, 0);
    }
    send_type(FAR_INPUT_STATE_BEGIN);
    send_held(SHIFT);
    send_type(FAR_INPUT_STATE_END);
    port_give_room(port, 1000);
    ck_assert_uint_eq(port->used, FAR_INPUT_QUEUE_ENTRIES + 1);
    ck_assert_uint_eq(port->events[port->used - 1].code, SHIFT);
    ck_assert_uint_eq(counters().made_presses, 1);
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(repeats_of_press_and_release_are_dropped)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    send_key(A, 0);
    send_key(A, 1);
    send_key(A, 1);
    send_key(A, 0);
    send_key(A, 0);
    ck_assert_str_eq(port_text(port, 0), "+30 -30");
    ck_assert_uint_eq(source.acked, 5);
    end();
}
END_TEST

START_TEST(an_interrupt_that_is_sent_again_is_dropped)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    send_event(motion_event(1, 1));
    send_event(motion_event(1, 1));
    source.sequence = 0;
    send_event(motion_event(1, 1));
    send_event(motion_event(1, 1));
    ck_assert_uint_eq(port->used, 2);
    send_event(motion_event(2, 2));
    ck_assert_uint_eq(port->used, 3);
    end();
}
END_TEST

START_TEST(a_successor_goes_on_where_the_guest_had_got_to)
{
    struct far_key_set held = { { 0 } };

    begin(UINT64_MAX, UINT64_MAX);
    far_key_put(&held, A, true);
    far_fast_input_set_held(fast, &held);
    far_layer_activate(fast, 1, 10);
    say_ready();
    source.sequence = 8; /* 9 and 10 are sent again */
    send_key(B, 1);
    send_key(B, 0);
    source.acked = 10;
    send_key(A, 1);
    send_key(A, 0);
    ck_assert_str_eq(port_text(port, 0), "-30");
    ck_assert_uint_eq(source.acked, 12);
    end();
}
END_TEST

START_TEST(held_keys_are_released_when_the_device_is_gone_too_long)
{
    begin(300000, UINT64_MAX);
    say_ready();
    send_key(A, 1);
    send_key(SHIFT, 1);
    send_event(touch_event(3, FAR_TOUCH_DOWN, 1, 1));
    send_event(touch_event(0, FAR_TOUCH_SYN, 0, 0));
    say_gone();
    ck_assert_str_eq(far_fast_input_reason(fast), "unplugged");
    turn_for(loop, 10000);
    ck_assert_uint_eq(port->used, 4);
    turn_until(loop, port->used >= 8);
    ck_assert_str_eq(port_text(port, 4), "-30m -42m t3u0,0 syn");
    ck_assert_uint_eq(port->events[6].flags, FAR_INPUT_MADE);
    /* made ones say "received up to here" */
    ck_assert_uint_eq(port->sequences[7], 4);
    /* the late originals */
    say_ready();
    ck_assert_ptr_null(far_fast_input_reason(fast));
    send_key(A, 0);
    send_key(SHIFT, 0);
    send_event(touch_event(3, FAR_TOUCH_UP, 1, 1));
    send_event(touch_event(0, FAR_TOUCH_SYN, 0, 0));
    ck_assert_uint_eq(port->used, 8);
    ck_assert_uint_eq(counters().late_releases, 2);
    ck_assert_uint_ge(counters().repeats, 2);
    ck_assert_uint_eq(counters().made_releases, 3);
    ck_assert_uint_eq(source.acked, source.sequence);
    send_key(A, 1);
    ck_assert_str_eq(port_text(port, 8), "+30");
    end();
}
END_TEST

START_TEST(a_short_absence_releases_nothing)
{
    begin(400000, UINT64_MAX);
    say_ready();
    send_key(A, 1);
    say_gone();
    turn_for(loop, 10000);
    say_ready();
    turn_for(loop, 500000);
    ck_assert_str_eq(port_text(port, 0), "+30");
    send_key(A, 0);
    ck_assert_str_eq(port_text(port, 0), "+30 -30");
    end();
}
END_TEST

START_TEST(on_return_what_is_not_stated_is_released_and_modifiers_are_pressed)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    send_key(A, 1);
    send_key(B, 1);
    say_gone();
    source.incarnation = 2;
    source.sequence = source.acked = 0;
    say_ready();
    send_type(FAR_INPUT_STATE_BEGIN);
    send_held(B);
    send_held(SHIFT);
    send_held(31);
    send_type(FAR_INPUT_STATE_END);
    ck_assert_str_eq(port_text(port, 2), "-30m +42mh");
    ck_assert_uint_eq(counters().made_presses, 1);
    send_key(SHIFT, 0);
    send_key(31, 0);
    send_key(B, 0);
    ck_assert_str_eq(port_text(port, 4), "-42 -48");
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(another_incarnation_that_states_nothing_does_not_keep_keys_down)
{
    begin(20000, UINT64_MAX);
    say_ready();
    send_key(A, 1);
    source.incarnation = 2;
    source.sequence = source.acked = 0;
    say_ready();
    turn_until(loop, port->used == 2);
    ck_assert_str_eq(port_text(port, 0), "+30 -30m");
    end();
}
END_TEST

START_TEST(acks_of_an_earlier_incarnation_are_not_passed_on)
{
    begin(UINT64_MAX, UINT64_MAX);
    port->ack = false;
    say_ready();
    for (int i = 0; i < 10; i++)
        send_event(motion_event(1, 1));
    source.incarnation = 2;
    source.sequence = source.acked = 0;
    say_ready();
    send_event(motion_event(1, 1));
    far_layer_ack(fast, 10); /* late, of the first */
    ck_assert_uint_eq(source.acked, 0);
    far_layer_ack(fast, 1);
    ck_assert_uint_eq(source.acked, 1);
    end();
}
END_TEST

START_TEST(what_waits_over_a_change_of_incarnation_is_not_counted_in_the_new)
{
    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    port->room = 0;
    for (int i = 0; i < 50; i++)
        send_event(motion_event(1, 1));
    source.incarnation = 2;
    source.sequence = source.acked = 0;
    say_ready();
    send_key(A, 1);
    port_give_room(port, 10);
    ck_assert_str_eq(port_text(port, 0), "m50,50,0 +30");
    ck_assert_uint_eq(port->sequences[0], 0);
    ck_assert_uint_eq(port->sequences[1], 1);
    ck_assert_uint_eq(source.acked, 1);
    end();
}
END_TEST

START_TEST(stale_events_are_dropped_but_never_the_release_of_a_held_key)
{
    struct far_input_event e;

    begin(UINT64_MAX, 1000000);
    say_ready();
    send_key(A, 1);
    e = key_event(B, 1);
    e.time_us -= 2000000;
    send_event(e);
    e = motion_event(1, 1);
    e.time_us -= 2000000;
    send_event(e);
    e = key_event(A, 0);
    e.time_us -= 2000000;
    send_event(e);
    send_key(B, 0); /* fresh, but of a press that was dropped */
    ck_assert_str_eq(port_text(port, 0), "+30 -30");
    ck_assert_uint_eq(counters().stale, 2);
    ck_assert_uint_eq(source.acked, 5);
    end();
}
END_TEST

START_TEST(a_modifier_whose_press_was_stale_is_pressed_when_it_is_stated)
{
    struct far_input_event e;

    begin(UINT64_MAX, 1000000);
    say_ready();
    e = key_event(SHIFT, 1);
    e.time_us -= 2000000;
    send_event(e);
    ck_assert_uint_eq(port->used, 0);
    send_type(FAR_INPUT_STATE_BEGIN);
    send_held(SHIFT);
    send_type(FAR_INPUT_STATE_END);
    send_key(SHIFT, 0);
    ck_assert_str_eq(port_text(port, 0), "+42mh -42");
    end();
}
END_TEST

static struct far_input_event old_pos(int32_t x, int32_t wheel)
{
    struct far_input_event e = { .time_us = 1, .type = FAR_INPUT_POS };

    e.x = e.y = x;
    e.z = wheel;
    return e;
}

START_TEST(a_click_after_a_cut_goes_where_the_pointer_was_moved_meanwhile)
{
    struct far_input_event fresh = { .type = FAR_INPUT_POS, .x = 7, .y = 8 };

    begin(UINT64_MAX, 1000000);
    say_ready();
    send_event(old_pos(100, 0));
    send_event(old_pos(200, 1)); /* nobody turns the wheel now */
    ck_assert_uint_eq(port->used, 0);
    ck_assert_uint_eq(source.acked, 2);
    send_key(0x110, 1);
    ck_assert_str_eq(port_text(port, 0), "p200,200,0 +272");
    send_key(0x110, 0);
    ck_assert_uint_eq(source.acked, source.sequence);
    /* a fresh position is enough */
    send_event(old_pos(300, 0));
    fresh.time_us = far_loop_now_us(loop);
    send_event(fresh);
    ck_assert_str_eq(port_text(port, 3), "p7,8,0");
    /* without a click, the statement is what it comes with; and only once */
    send_event(old_pos(400, 0));
    send_type(FAR_INPUT_STATE_BEGIN);
    send_type(FAR_INPUT_STATE_END);
    send_key(A, 1);
    ck_assert_str_eq(port_text(port, 4), "p400,400,0 +30");
    ck_assert_uint_eq(counters().stale, 4);
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(a_place_that_finds_no_room_is_shown_later_and_once)
{
    begin(UINT64_MAX, 1000000);
    say_ready();
    send_event(old_pos(100, 0));
    port->room = 0;
    send_key(A, 1);
    send_key(A, 0);
    port_give_room(port, 1);
    port_give_room(port, 1);
    port_give_room(port, 1000);
    ck_assert_str_eq(port_text(port, 0), "p100,100,0 +30 -30");
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(what_was_dropped_behind_the_last_is_acked_with_it)
{
    struct far_input_event e;

    begin(UINT64_MAX, 1000000);
    port->ack = false;
    say_ready();
    send_key(A, 1);
    e = motion_event(1, 1);
    e.time_us -= 2000000;
    send_event(e);
    ck_assert_uint_eq(source.acked, 0); /* the first is not acked yet */
    far_layer_ack(fast, 1);
    ck_assert_uint_eq(source.acked, 2);
    end();
}
END_TEST

START_TEST(held_keys_of_a_predecessor_are_released_if_no_device_comes)
{
    struct far_key_set held = { { 0 } };

    begin(20000, UINT64_MAX);
    far_key_put(&held, A, true);
    far_key_put(&held, 0x2ff, true);
    far_fast_input_set_held(fast, &held);
    far_layer_activate(fast, 5, 5);
    turn_until(loop, port->used == 2);
    ck_assert_str_eq(port_text(port, 0), "-30m -767m");
    end();
}
END_TEST

START_TEST(held_keys_of_a_predecessor_are_released_if_the_device_states_nothing)
{
    struct far_key_set held = { { 0 } };

    begin(20000, UINT64_MAX);
    far_key_put(&held, A, true);
    far_fast_input_set_held(fast, &held);
    say_ready();
    turn_until(loop, port->used == 1);
    ck_assert_str_eq(port_text(port, 0), "-30m");
    end();
}
END_TEST

START_TEST(more_held_keys_than_the_queue_has_places_are_all_released)
{
    struct far_key_set held, none = { { 0 } };

    begin(0, UINT64_MAX);
    memset(&held, 0xff, sizeof(held));
    far_fast_input_set_held(fast, &held);
    far_layer_activate(fast, 5, 5);
    turn_until(loop, port->used == 768);
    ck_assert_mem_eq(far_fast_input_held(fast), &none, sizeof(none));
    end();
}
END_TEST

START_TEST(a_front_that_was_made_anew_begins_with_all_keys_up)
{
    struct far_key_set none = { { 0 } };

    begin(UINT64_MAX, UINT64_MAX);
    say_ready();
    send_key(A, 1);
    port->room = 0;
    send_key(A, 0);
    send_key(B, 1);
    far_fast_input_set_held(fast, &none);
    port->room = 100;
    far_layer_activate(fast, 1, 1);
    send_key(B, 0);
    send_key(A, 1);
    ck_assert_str_eq(port_text(port, 1), "+30");
    ck_assert_uint_eq(source.acked, source.sequence);
    end();
}
END_TEST

START_TEST(the_empty_op_is_answered_here)
{
    struct far_op op = { .opcode = FAR_OP_NOP(FAR_CLASS_INPUT), .status = 9 };

    begin(UINT64_MAX, UINT64_MAX);
    ck_assert_int_eq(far_layer_submit(fast, &op, NULL), FAR_DONE);
    ck_assert_int_eq(op.status, 0);
    op.opcode = FAR_OPCODE(FAR_CLASS_INPUT, 1);
    ck_assert_int_eq(far_layer_submit(fast, &op, NULL), FAR_DONE);
    ck_assert_int_lt(op.status, 0);
    end();
}
END_TEST

/* ---- the model ---- */

#define MODEL_KEYS 24u
#define STALE_US   1000000u
#define OPERATIONS 1000000u
#define SENT_MAX   65536u

static uint64_t random_state;

static uint32_t rnd(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20) % below;
}

static struct {
    struct far_layer layer; /* the port */
    unsigned room;
    bool down[MODEL_KEYS]; /* what the guest believes */
    bool physical[MODEL_KEYS];
    uint16_t contacts, contacts_physical;
    bool frame;
    int32_t stamp; /* last given to an event */
    int32_t stamp_seen;
    uint64_t sequence_seen, acked_here;
    uint64_t sequence_of[SENT_MAX]; /* by stamp */
    bool gone;
    uint64_t delivered;
    struct far_key_set held_before, held_after;
    bool famine; /* the guest is paused */
} m;

static bool model_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct far_input_event e;

    (void)layer;
    if (!m.room)
        return false;
    m.room--;
    m.delivered++;
    memcpy(&e, op->args, sizeof(e));
    ck_assert(e.type < FAR_INPUT_STATE_BEGIN);
    if (op->sequence) {
        ck_assert_uint_ge(op->sequence, m.sequence_seen);
        m.sequence_seen = op->sequence;
    }
    if (!(e.flags & FAR_INPUT_MADE) && e.type == FAR_INPUT_KEY) {
        /* each at most once, in order, and none after its ack */
        ck_assert_int_gt(e.x, m.stamp_seen);
        m.stamp_seen = e.x;
        if (op->sequence)
            ck_assert_uint_gt(m.sequence_of[e.x % (int32_t)SENT_MAX],
                              source.acked);
        if (e.value)
            ck_assert_uint_le(far_loop_now_us(loop), e.time_us + STALE_US);
    }
    switch (e.type) {
    case FAR_INPUT_KEY:
        ck_assert_uint_ge(e.code, 30);
        ck_assert_uint_lt(e.code, 30 + MODEL_KEYS);
        ck_assert(m.down[e.code - 30] == !e.value);
        m.down[e.code - 30] = e.value != 0;
        break;
    case FAR_INPUT_TOUCH:
        if (e.code == FAR_TOUCH_SYN) {
            ck_assert(m.frame);
            m.frame = false;
            break;
        }
        m.frame = true;
        ck_assert(((m.contacts >> e.value & 1) != 0) ==
                  (e.code != FAR_TOUCH_DOWN));
        if (e.code == FAR_TOUCH_DOWN)
            m.contacts |= (uint16_t)(1u << e.value);
        if (e.code == FAR_TOUCH_UP)
            m.contacts &= (uint16_t) ~(1u << e.value);
        break;
    default:
        ck_assert(far_input_event_valid(&e));
        break;
    }
    /* what the journal would be told */
    m.held_before = m.held_after;
    if (e.type == FAR_INPUT_KEY)
        far_key_put(&m.held_after, e.code, e.value != 0);
    ck_assert_mem_eq(far_fast_input_held(fast), &m.held_before,
                     sizeof(m.held_before));
    return true;
}

static void model_state(struct far_layer *layer, enum far_device_state state,
                        const struct far_layer_news *news)
{
    (void)layer;
    (void)state;
    (void)news;
}

static void model_send(struct far_input_event e)
{
    if (e.type == FAR_INPUT_KEY && !(e.flags & FAR_INPUT_HELD)) {
        e.x = ++m.stamp;
        m.sequence_of[e.x % (int32_t)SENT_MAX] = source.sequence + 1;
    }
    send_event(e);
}

static void model_statement(void)
{
    send_type(FAR_INPUT_STATE_BEGIN);
    for (unsigned k = 0; k < MODEL_KEYS; k++)
        if (m.physical[k])
            send_held((uint16_t)(30 + k));
    send_type(FAR_INPUT_STATE_END);
}

static void model_new_incarnation(void)
{
    source.incarnation++;
    source.waiting = 0; /* it has died with what it had */
    source.sequence = source.acked = 0;
    m.sequence_seen = m.acked_here = 0;
    m.contacts_physical = 0;
    say_ready();
    m.gone = false;
    model_statement();
}

static void model_step(void)
{
    uint64_t time_us = far_loop_now_us(loop) - (rnd(8) ? 0 : rnd(2000000));
    struct far_input_event e = { .time_us = time_us };
    unsigned k, dice = rnd(100);

    if (dice < 40 && !m.gone) {
        k = rnd(MODEL_KEYS);
        if (rnd(20)) /* mostly what a keyboard does; sometimes a repeat */
            m.physical[k] = !m.physical[k];
        e.type = FAR_INPUT_KEY;
        e.code = (uint16_t)(30 + k);
        e.value = m.physical[k];
        model_send(e);
    } else if (dice < 55 && !m.gone) {
        e.type = rnd(2) ? FAR_INPUT_MOTION : FAR_INPUT_POS;
        e.x = (int32_t)rnd(65536);
        e.y = (int32_t)rnd(65536);
        e.z = (int32_t)rnd(3) - 1;
        model_send(e);
    } else if (dice < 70 && !m.gone) {
        e.type = FAR_INPUT_TOUCH;
        e.code = (uint16_t)rnd(6);
        e.value = e.code == FAR_TOUCH_SYN ? 0 : (int32_t)rnd(16);
        if (e.code == FAR_TOUCH_DOWN)
            m.contacts_physical |= (uint16_t)(1u << e.value);
        if (e.code == FAR_TOUCH_UP)
            m.contacts_physical &= (uint16_t) ~(1u << e.value);
        model_send(e);
    } else if (dice < 90) {
        if (rnd(50) == 0)
            m.famine = !m.famine;
        m.room = m.famine ? rnd(3) : rnd(100);
        far_layer_resume(fast);
    } else if (dice < 95) {
        if (m.sequence_seen > m.acked_here) {
            m.acked_here += 1 + rnd((uint32_t)(m.sequence_seen - m.acked_here));
            far_layer_ack(fast, m.acked_here);
        }
    } else if (dice < 97) {
        if (!m.gone)
            say_gone();
        m.gone = true;
    } else if (dice < 98) {
        ck_assert_int_ge(far_loop_turn(loop, 0), 0); /* timers */
    } else if (m.gone) {
        if (rnd(2)) {
            model_new_incarnation();
        } else { /* the same: it goes on, and states */
            say_ready();
            m.gone = false;
            model_statement();
        }
    }
    ck_assert_uint_le(counters().queue_high_water, FAR_INPUT_QUEUE_ENTRIES);
}

static void model_settle(void)
{
    struct far_input_event syn = { .type = FAR_INPUT_TOUCH,
                                   .code = FAR_TOUCH_SYN };

    m.room = UINT32_MAX;
    far_layer_resume(fast);
    memset(m.physical, 0, sizeof(m.physical));
    say_gone();
    ck_assert_int_ge(far_loop_turn(loop, 1000), 0);
    say_ready();
    m.gone = false;
    model_statement();
    send_event(syn);
    for (unsigned k = 0; k < MODEL_KEYS; k++)
        ck_assert_msg(!m.down[k], "key %u is stuck", 30 + k);
    ck_assert_uint_eq(m.contacts, 0);
    ck_assert(!m.frame);
    if (m.sequence_seen > m.acked_here)
        far_layer_ack(fast, m.sequence_seen);
    m.acked_here = m.sequence_seen;
    /* all are settled: delivered and acked, or dropped */
    ck_assert_uint_eq(source.acked, source.sequence);
}

START_TEST(a_million_random_operations_keep_every_promise)
{
    static const struct far_layer_ops ops = { .name = "model",
                                              .interrupt = model_interrupt,
                                              .state = model_state };
    const char *seed = getenv("FARSIDE_SEED");
    struct far_fast_input_counters c;

    random_state = seed ? strtoull(seed, NULL, 0) : 20231120;
    random_state |= (uint64_t)1 << 63;
    begin(0, STALE_US);
    memset(&m, 0, sizeof(m));
    m.layer.ops = &ops;
    far_layer_stack(&m.layer, fast);
    say_ready();
    for (unsigned i = 0; i < OPERATIONS; i++) {
        model_step();
        if (i % 1000 == 999)
            model_settle();
    }
    c = counters();
    /* the run has been everywhere */
    ck_assert_uint_gt(m.delivered, 100000);
    ck_assert_uint_gt(c.coalesced, 1000);
    ck_assert_uint_gt(c.stale, 1000);
    ck_assert_uint_gt(c.late_releases, 100);
    ck_assert_uint_gt(c.made_releases, 1000);
    ck_assert_uint_gt(c.dropped_presses, 100);
    ck_assert_uint_gt(source.most_waiting, 10);
    m.layer.below = NULL;
    fast->above = &port->layer;
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fast-input");
    TCase *one = tcase_create("promises"), *all = tcase_create("model");

    tcase_add_test(one, what_is_pressed_and_moved_arrives_in_order);
    tcase_add_test(
        one, motion_is_coalesced_while_the_port_has_no_room_and_keys_are_not);
    tcase_add_test(one, positions_and_touch_moves_are_coalesced_to_the_last);
    tcase_add_test(one, what_finds_no_place_waits_below_and_nothing_is_dropped);
    tcase_add_test(one,
                   a_key_that_never_finds_a_place_is_dropped_with_its_release);
    tcase_add_test(one, a_statement_waits_until_modifiers_find_a_place);
    tcase_add_test(one, repeats_of_press_and_release_are_dropped);
    tcase_add_test(one, an_interrupt_that_is_sent_again_is_dropped);
    tcase_add_test(one, a_successor_goes_on_where_the_guest_had_got_to);
    tcase_add_test(one,
                   held_keys_are_released_when_the_device_is_gone_too_long);
    tcase_add_test(one, a_short_absence_releases_nothing);
    tcase_add_test(
        one,
        on_return_what_is_not_stated_is_released_and_modifiers_are_pressed);
    tcase_add_test(
        one, another_incarnation_that_states_nothing_does_not_keep_keys_down);
    tcase_add_test(one, acks_of_an_earlier_incarnation_are_not_passed_on);
    tcase_add_test(
        one, what_waits_over_a_change_of_incarnation_is_not_counted_in_the_new);
    tcase_add_test(
        one, stale_events_are_dropped_but_never_the_release_of_a_held_key);
    tcase_add_test(
        one, a_modifier_whose_press_was_stale_is_pressed_when_it_is_stated);
    tcase_add_test(
        one, a_click_after_a_cut_goes_where_the_pointer_was_moved_meanwhile);
    tcase_add_test(one, a_place_that_finds_no_room_is_shown_later_and_once);
    tcase_add_test(one, what_was_dropped_behind_the_last_is_acked_with_it);
    tcase_add_test(one,
                   held_keys_of_a_predecessor_are_released_if_no_device_comes);
    tcase_add_test(
        one,
        held_keys_of_a_predecessor_are_released_if_the_device_states_nothing);
    tcase_add_test(one,
                   more_held_keys_than_the_queue_has_places_are_all_released);
    tcase_add_test(one, a_front_that_was_made_anew_begins_with_all_keys_up);
    tcase_add_test(one, the_empty_op_is_answered_here);
    suite_add_tcase(suite, one);
    tcase_set_timeout(all, 120);
    tcase_add_test(all, a_million_random_operations_keep_every_promise);
    suite_add_tcase(suite, all);
    return suite_end(suite);
}
