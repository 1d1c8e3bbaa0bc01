/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sessions and the controller, in one process: numbering, keeping, windows,
 * slots, fencing, expiry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/input.h"
#include "devices/input-queue.h"
#include "netproxy/controller.h"
#include "tests/core/suite.h"

static struct far_loop *loop;
static struct far_conf *conf;
static struct far_devices devices;
static struct far_controller controller;
static struct far_device *kbd;

struct user {
    struct far_session_user user;
    uint64_t first, last;
    unsigned count, completions, states, losses;
    bool refuses;
    struct far_op completed;
    char reason[232];
};

static bool on_interrupt(struct far_session_user *user, const struct far_op *op)
{
    struct user *u = (struct user *)user;

    if (u->refuses)
        return false;
    if (!u->count++)
        u->first = op->sequence;
    else
        ck_assert_uint_eq(op->sequence, u->last + 1);
    u->last = op->sequence;
    return true;
}

static void on_complete(struct far_session_user *user, const struct far_op *op)
{
    struct user *u = (struct user *)user;

    u->completions++;
    u->completed = *op;
}

static void on_state(struct far_session_user *user)
{
    ((struct user *)user)->states++;
}

static void on_lost(struct far_session_user *user, const char *reason)
{
    struct user *u = (struct user *)user;

    u->losses++;
    strncpy(u->reason, reason, sizeof(u->reason) - 1);
}

static const struct far_session_user_ops user_ops = { on_interrupt, on_complete,
                                                      on_state, on_lost };

static struct far_local_who who_of(uint8_t guest)
{
    struct far_local_who who = { .attachment = guest,
                                 .class = FAR_CLASS_INPUT,
                                 .device = "kbd0" };

    memset(who.guest_uuid, guest, 16);
    return who;
}

static bool all(const struct far_conf *c, const struct far_conf_section *s)
{
    (void)c;
    (void)s;
    return true;
}

static void setup(void)
{
    static const char text[] = "[platform]\nname = borealis\n"
                               "[device kbd0]\ntype = virtual\n"
                               "[export kbd0]\nallow = atlas, cygnus\n"
                               "[export ghost]\nallow = atlas\n";
    unsigned problems = 0;

    loop = far_loop_new();
    conf =
        far_conf_parse("test", text, sizeof(text) - 1, NULL, NULL, &problems);
    far_devices_init(&devices, loop, NULL);
    ck_assert_uint_eq(far_devices_load(&devices, conf, all, NULL, NULL), 0);
    memset(&controller, 0, sizeof(controller));
    controller.loop = loop;
    controller.platform = "borealis";
    controller.conf = conf;
    controller.devices = &devices;
    kbd = far_device_find(&devices, "kbd0");
}

static void teardown(void)
{
    far_controller_free(&controller);
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
}

static struct far_session *sit(struct user *u, const char *platform,
                               uint8_t guest)
{
    struct far_local_who who = who_of(guest);
    struct far_error error;
    struct far_session *s =
        far_controller_prepare(&controller, platform, &who, &error);

    ck_assert_msg(s != NULL, "%s", error.text);
    memset(u, 0, sizeof(*u));
    u->user.ops = &user_ops;
    far_session_sit(s, &u->user, &who, "test");
    return s;
}

static void activate(struct far_session *s, uint64_t incarnation,
                     uint64_t received)
{
    far_session_activate(s, incarnation, received,
                         far_controller_activate(&controller, s));
    far_session_grant(s, UINT64_MAX);
    far_session_go(s);
}

static void type(unsigned keys)
{
    struct far_error error;

    while (keys--) {
        struct far_input_event e[2] = {
            { .type = FAR_INPUT_KEY, .code = 30, .value = 1 },
            { .type = FAR_INPUT_KEY, .code = 30, .value = 0 }
        };

        ck_assert_int_eq(kbd->type->feed(kbd, e, 2, &error), 0);
    }
}

START_TEST(numbers_begin_at_one_and_what_is_not_acked_is_given_again)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);
    uint64_t incarnation;

    activate(s, 0, 0);
    type(10);
    ck_assert_uint_eq(u.first, 1);
    ck_assert_uint_eq(u.count, u.last);
    ck_assert_int_eq(far_session_ack(s, 5), 0);
    incarnation = s->incarnation;
    far_session_leave(&u.user);
    type(10);
    ck_assert_ptr_eq(sit(&u, "atlas", 1), s);
    activate(s, incarnation, 8);
    ck_assert_uint_eq(s->incarnation, incarnation);
    ck_assert_uint_eq(u.first, 9);
    ck_assert_uint_eq(u.last, s->next - 1);
    ck_assert_uint_eq(u.states, 2); /* ours first, then the device's */
}
END_TEST

/* Activated twice, as over a relay that was asked anew in between. */
START_TEST(an_interrupt_never_comes_before_the_state_of_its_activation)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);
    uint64_t incarnation;
    unsigned states;

    activate(s, 0, 0);
    type(10);
    incarnation = s->incarnation;
    states = u.states;
    u.count = 0;
    far_session_activate(s, incarnation, 0,
                         far_controller_activate(&controller, s));
    far_session_grant(s, UINT64_MAX);
    type(1);
    ck_assert_uint_eq(u.count, 0);
    ck_assert_uint_eq(u.states, states);
    far_session_go(s);
    ck_assert_uint_gt(u.states, states);
    ck_assert_uint_eq(u.first, 1);
    ck_assert_uint_eq(u.last, s->next - 1);
}
END_TEST

START_TEST(who_knows_no_numbering_gets_a_new_one_and_nothing_twice)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);
    uint64_t before;

    activate(s, 0, 0);
    type(10);
    before = s->incarnation;
    far_session_leave(&u.user);
    sit(&u, "atlas", 1);
    activate(s, 0, 0);
    ck_assert_uint_ne(s->incarnation, before);
    ck_assert_uint_eq(u.first, 1);
    ck_assert_uint_le(u.count, 2); /* the statement of what is held */
    ck_assert_uint_ge(s->lost_kept, 20);
    far_session_leave(&u.user);
    before = s->incarnation;
    sit(&u, "atlas", 1);
    activate(s, before, 1000); /* of a future that was not */
    ck_assert_uint_ne(s->incarnation, before);
}
END_TEST

START_TEST(what_is_kept_is_bounded_and_then_the_device_waits)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);
    uint64_t incarnation, end;

    activate(s, 0, 0);
    incarnation = s->incarnation;
    far_session_leave(&u.user);
    type(FAR_SESSION_KEPT_MAX / 2 + 1000);
    ck_assert_uint_eq(far_session_kept(s), FAR_SESSION_KEPT_MAX);
    ck_assert(s->below_waits);
    /* the device's own queue is full too; of what came then each press is
     * counted, and its release is nothing without it (the statement of what is
     * held took two places as well) */
    ck_assert_uint_eq(far_layer_lost(s->layer.below),
                      1000 + 2 / 2 - FAR_INPUT_QUEUE_ENTRIES / 2);
    sit(&u, "atlas", 1);
    activate(s, incarnation, 0);
    ck_assert_uint_eq(u.first, 1);
    for (end = 0; end != u.last;) {
        end = u.last;
        ck_assert_int_eq(far_session_ack(s, end), 0);
    }
    type(1);
    ck_assert_uint_eq(u.last, s->next - 1);
    ck_assert_uint_gt(u.last, FAR_SESSION_KEPT_MAX);
}
END_TEST

static struct far_local_who numbered(uint32_t n)
{
    struct far_local_who who = who_of(1);

    who.guest_devid = n;
    return who;
}

START_TEST(one_platform_cannot_take_all_memory)
{
    static struct user users[160];
    struct far_session *s = NULL;
    struct far_error error;
    size_t bytes = 0;
    uint32_t i;

    memset(users, 0, sizeof(users));
    for (i = 0; i < 160; i++) {
        struct far_local_who who = numbered(i);

        users[i].user.ops = &user_ops;
        s = far_controller_prepare(&controller, "atlas", &who, &error);
        ck_assert_ptr_nonnull(s);
        far_session_sit(s, &users[i].user, &who, "");
        far_session_activate(s, 0, 0, 1);
        far_session_go(s); /* nothing is granted: all is kept */
    }
    type(3000);
    for (s = controller.sessions; s; s = s->next_session) {
        bytes += s->kept_room * sizeof(*s->kept);
        ck_assert_uint_ge(s->kept_room, 64);
    }
    ck_assert_uint_gt(bytes, FAR_QUOTA_KEPT_BYTES / 2);
    ck_assert_uint_le(bytes,
                      FAR_QUOTA_KEPT_BYTES + 160 * 64 * sizeof(*s->kept));
    ck_assert_uint_eq(bytes, controller.quotas->kept_bytes);
    /* what is taken is given back */
    s = users[0].user.session;
    far_session_grant(s, UINT64_MAX);
    ck_assert_int_eq(far_session_ack(s, users[0].last), 0);
    ck_assert_uint_lt(controller.quotas->kept_bytes, bytes);
}
END_TEST

START_TEST(one_platform_cannot_take_all_sessions)
{
    static struct user users[FAR_QUOTA_SESSIONS];
    struct far_local_who who;
    struct far_session *s;
    struct far_error error;
    uint32_t i;

    memset(users, 0, sizeof(users));
    for (i = 0; i < FAR_QUOTA_SESSIONS; i++) {
        who = numbered(i);
        users[i].user.ops = &user_ops;
        s = far_controller_prepare(&controller, "atlas", &who, &error);
        ck_assert_ptr_nonnull(s);
        far_session_sit(s, &users[i].user, &who, "");
    }
    who = numbered(i);
    ck_assert_ptr_null(
        far_controller_prepare(&controller, "atlas", &who, &error));
    ck_assert_int_eq(error.code, -ENOSPC);
    ck_assert_ptr_nonnull(
        far_controller_prepare(&controller, "cygnus", &who, &error));
    /* one that nobody uses any more makes room */
    far_session_leave(&users[7].user);
    ck_assert_ptr_nonnull(
        far_controller_prepare(&controller, "atlas", &who, &error));
    ck_assert_uint_eq(controller.session_count, FAR_QUOTA_SESSIONS + 1);
}
END_TEST

START_TEST(only_what_was_sent_can_be_acknowledged)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);

    activate(s, 0, 0);
    type(1);
    ck_assert_int_eq(far_session_ack(s, u.last + 1), -EPROTO);
    ck_assert_int_eq(far_session_ack(s, u.last), 0);
    ck_assert_int_eq(far_session_ack(s, 1), 0); /* an old one is no news */
    ck_assert_uint_eq(s->acked, u.last);
}
END_TEST

START_TEST(no_more_is_given_than_was_granted)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);

    far_session_activate(s, 0, 0, 1);
    far_session_grant(s, 5);
    far_session_go(s);
    type(10);
    ck_assert_uint_eq(u.last, 5);
    far_session_grant(s, 7);
    ck_assert_uint_eq(u.last, 7);
    far_session_grant(s, 6); /* never taken back */
    far_session_grant(s, 100);
    ck_assert_uint_eq(u.last, s->next - 1);
}
END_TEST

START_TEST(a_user_without_room_gets_the_same_one_again)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);

    activate(s, 0, 0);
    u.refuses = true;
    type(10);
    ck_assert_uint_lt(u.last, s->next - 1);
    u.refuses = false;
    far_session_pump(s);
    ck_assert_uint_eq(u.last, s->next - 1);
    ck_assert_uint_eq(u.count, u.last);
}
END_TEST

START_TEST(an_op_is_done_once_however_often_it_is_sent)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);
    struct far_op op = { .attachment = 1,
                         .sequence = 9,
                         .slot = 63,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    activate(s, 0, 0);
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_uint_eq(u.completions, 2);
    ck_assert_uint_eq(s->repeated_ops, 1);
    op.sequence = 8;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_uint_eq(u.completions, 2);
    ck_assert_uint_eq(s->old_ops, 1);
    s->slots[63].state = FAR_SLOT_EXECUTING;
    op.sequence = 10;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), -EPROTO);
}
END_TEST

START_TEST(activation_takes_a_guests_device_from_another_platform)
{
    static struct user a, c;
    struct far_session *on_atlas = sit(&a, "atlas", 1), *on_cygnus;
    uint64_t epoch;

    activate(on_atlas, 0, 0);
    epoch = on_atlas->epoch;
    on_cygnus = sit(&c, "cygnus", 1);
    ck_assert_uint_eq(a.losses, 0); /* preparing takes nothing */
    activate(on_cygnus, 0, 0);
    ck_assert_uint_eq(a.losses, 1);
    ck_assert_ptr_null(a.user.session);
    ck_assert_uint_gt(on_cygnus->epoch, epoch);
    ck_assert_uint_eq(controller.session_count, 1);
    /* another guest's is its own */
    activate(sit(&a, "atlas", 2), 0, 0);
    ck_assert_uint_eq(c.losses, 0);
    ck_assert_uint_eq(controller.session_count, 2);
}
END_TEST

START_TEST(a_session_that_nobody_comes_back_for_ends)
{
    static struct user u;
    struct far_session *s = sit(&u, "atlas", 1);

    activate(s, 0, 0);
    ck_assert(!far_timer_armed(&s->expiry));
    far_session_leave(&u.user);
    ck_assert(far_timer_armed(&s->expiry));
    ck_assert_uint_eq(kbd->users, 1);
    s->expiry.fire(&s->expiry);
    ck_assert_uint_eq(controller.session_count, 0);
    ck_assert_uint_eq(kbd->users, 0);
}
END_TEST

START_TEST(nothing_is_executed_without_the_lease)
{
    struct far_lease lease = { .name = "kbd0" };
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    struct user u;
    struct far_session *s = sit(&u, "atlas", 1);

    activate(s, 0, 0);
    s->lease = &lease;
    lease.until_us = far_boot_us() + 60000000;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_uint_eq(u.completions, 1);
    lease.until_us = far_boot_us(); /* a moment ago, and nobody has noticed */
    op.sequence = 2;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_uint_eq(u.completions, 1);
    ck_assert_uint_eq(s->waiting, 1);
    far_controller_end(&controller, s, "the end");
}
END_TEST

START_TEST(refusals_say_what_is_missing)
{
    struct far_local_who who = who_of(1);
    struct far_error error;

    ck_assert_ptr_null(
        far_controller_prepare(&controller, "mallory", &who, &error));
    ck_assert_int_eq(error.code, -EACCES);
    ck_assert_ptr_nonnull(strstr(error.text, "mallory"));
    ck_assert_ptr_nonnull(strstr(error.text, "[export kbd0]"));
    strcpy(who.device, "ghost");
    ck_assert_ptr_null(
        far_controller_prepare(&controller, "atlas", &who, &error));
    ck_assert_int_eq(error.code, -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "[device ghost]"));
    strcpy(who.device, "kbd1");
    ck_assert_ptr_null(
        far_controller_prepare(&controller, "atlas", &who, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "[export kbd1]"));
    ck_assert_uint_eq(controller.session_count, 0);
}
END_TEST

START_TEST(part_of_a_name_allows_nobody)
{
    struct far_error error;

    ck_assert_int_eq(far_controller_may(&controller, "atlas", "kbd0", &error),
                     0);
    ck_assert_int_eq(far_controller_may(&controller, "cygnus", "kbd0", &error),
                     0);
    ck_assert_int_eq(far_controller_may(&controller, "atla", "kbd0", &error),
                     -EACCES);
    ck_assert_int_eq(far_controller_may(&controller, "atlass", "kbd0", &error),
                     -EACCES);
    ck_assert_int_eq(far_controller_may(&controller, "", "kbd0", &error),
                     -EACCES);
    ck_assert_int_eq(
        far_controller_may(&controller, "borealis", "kbd0", &error), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: sessions");
    TCase *c = tcase_create("session");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c,
                   numbers_begin_at_one_and_what_is_not_acked_is_given_again);
    tcase_add_test(c,
                   an_interrupt_never_comes_before_the_state_of_its_activation);
    tcase_add_test(c, who_knows_no_numbering_gets_a_new_one_and_nothing_twice);
    tcase_add_test(c, what_is_kept_is_bounded_and_then_the_device_waits);
    tcase_add_test(c, one_platform_cannot_take_all_memory);
    tcase_add_test(c, one_platform_cannot_take_all_sessions);
    tcase_add_test(c, only_what_was_sent_can_be_acknowledged);
    tcase_add_test(c, no_more_is_given_than_was_granted);
    tcase_add_test(c, a_user_without_room_gets_the_same_one_again);
    tcase_add_test(c, an_op_is_done_once_however_often_it_is_sent);
    tcase_add_test(c, activation_takes_a_guests_device_from_another_platform);
    tcase_add_test(c, a_session_that_nobody_comes_back_for_ends);
    tcase_add_test(c, nothing_is_executed_without_the_lease);
    tcase_add_test(c, refusals_say_what_is_missing);
    tcase_add_test(c, part_of_a_name_allows_nobody);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
