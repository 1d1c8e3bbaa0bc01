/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What an [export] permits: which guests, and whether they may write; also when
 * that changes while the device is in use.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "core/input.h"
#include "netproxy/controller.h"
#include "netproxy/permission.h"
#include "tests/core/suite.h"

#define BYTES 512

static struct far_loop *loop;
static struct far_conf *conf;
static struct far_devices devices;
static struct far_controller controller;
static struct far_local_who who;
static struct far_error error;

static struct user {
    struct far_session_user user;
    unsigned completions, states, losses;
    struct far_op completed;
} user;

static bool on_interrupt(struct far_session_user *u, const struct far_op *op)
{
    (void)u;
    (void)op;
    return true;
}

static void on_complete(struct far_session_user *u, const struct far_op *op)
{
    (void)u;
    user.completions++;
    user.completed = *op;
}

static void on_state(struct far_session_user *u)
{
    (void)u;
    user.states++;
}

static void on_lost(struct far_session_user *u, const char *reason)
{
    (void)u;
    (void)reason;
    user.losses++;
}

static const struct far_session_user_ops user_ops = { on_interrupt, on_complete,
                                                      on_state, on_lost };

static bool all(const struct far_conf *c, const struct far_conf_section *s)
{
    (void)c;
    (void)s;
    return true;
}

/* mem0, whose [export] has these lines too. */
static void load(const char *lines)
{
    struct far_conf *old = conf;
    char text[1024];
    unsigned problems = 0;

    snprintf(text, sizeof(text),
             "[platform]\nname = borealis\n"
             "[device mem0]\ntype = memory\nsize = 1\n"
             "[export mem0]\nallow = atlas\n%s",
             lines);
    conf = far_conf_parse("test", text, strlen(text), NULL, NULL, &problems);
    ck_assert_uint_eq(far_devices_load(&devices, conf, all, NULL, NULL), 0);
    controller.conf = conf;
    far_controller_review(&controller);
    far_conf_free(old);
}

static void set_up(void)
{
    loop = far_loop_new();
    far_devices_init(&devices, loop, NULL);
    memset(&controller, 0, sizeof(controller));
    memset(&user, 0, sizeof(user));
    controller.loop = loop;
    controller.platform = "borealis";
    controller.devices = &devices;
    conf = NULL;
    who = (struct far_local_who){ .attachment = 1,
                                  .guest_name = "alice",
                                  .device = "mem0",
                                  .class = FAR_CLASS_BLOCK };
    memset(who.guest_uuid, 0xab, sizeof(who.guest_uuid));
}

static void tear_down(void)
{
    far_controller_free(&controller);
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
}

static int asks_as(const char *name)
{
    memset(who.guest_name, 0, sizeof(who.guest_name));
    snprintf(who.guest_name, sizeof(who.guest_name), "%s", name);
    return far_controller_may_guest(&controller, "atlas", "mem0", &who, &error);
}

static struct far_session *attach(void)
{
    struct far_session *s =
        far_controller_prepare(&controller, "atlas", &who, &error);

    ck_assert_msg(s != NULL, "%s", error.text);
    user.user.ops = &user_ops;
    far_session_sit(s, &user.user, &who, "test");
    far_session_activate(s, 0, 0, far_controller_activate(&controller, s));
    far_session_go(s);
    return s;
}

/* What that guest of that platform is told while alice of atlas has it. */
static const char *others_hear(const char *platform, const char *guest)
{
    struct far_local_who other = who;

    memset(other.guest_uuid, 0xcd, sizeof(other.guest_uuid));
    snprintf(other.guest_name, sizeof(other.guest_name), "%s", guest);
    ck_assert_ptr_null(
        far_controller_prepare(&controller, platform, &other, &error));
    ck_assert_int_eq(error.code, -EBUSY);
    return error.text;
}

START_TEST(who_has_an_exclusive_device_is_told_to_its_own_platform_and_here)
{
    load("allow = cygnus borealis\nmode = exclusive\n");
    attach();
    ck_assert_ptr_nonnull(strstr(others_hear("atlas", "bob"), "atlas/alice"));
    ck_assert_ptr_nonnull(
        strstr(others_hear("borealis", "bob"), "atlas/alice"));
    ck_assert_ptr_nonnull(
        strstr(others_hear("cygnus", "bob"), "a guest of another platform"));
    ck_assert_ptr_null(strstr(error.text, "alice"));
    ck_assert_ptr_null(strstr(error.text, "atlas"));
}
END_TEST

static int does(struct far_session *s, uint16_t opcode)
{
    static uint64_t sequence;
    struct far_block_args a = { .length_bytes = BYTES };
    struct far_op op = { .attachment = 1,
                         .opcode = opcode,
                         .sequence = ++sequence,
                         .flags = opcode == FAR_BLOCK_READ    ? FAR_OP_RECEIVES
                                  : opcode == FAR_BLOCK_WRITE ? FAR_OP_SENDS
                                                              : 0,
                         .payload_bytes = BYTES };
    uint8_t payload[BYTES] = { 0 };
    unsigned before = user.completions;

    if (opcode == FAR_BLOCK_DISCARD)
        op.payload_bytes = 0;
    memcpy(op.args, &a, sizeof(a));
    ck_assert_int_eq(far_session_submit(s, &op, payload, NULL), 0);
    ck_assert_uint_eq(user.completions, before + 1);
    return user.completed.status;
}

static uint32_t can(const struct far_session *s)
{
    struct far_block_props props;

    memcpy(&props, s->props, sizeof(props));
    return props.can;
}

START_TEST(without_a_guest_in_the_export_any_may)
{
    load("");
    ck_assert_int_eq(asks_as("alice"), 0);
    ck_assert_int_eq(asks_as(""), 0);
}
END_TEST

START_TEST(with_one_only_that_one_may_by_name)
{
    load("guest = alice bob\nguest = carol\n");
    ck_assert_int_eq(asks_as("alice"), 0);
    ck_assert_int_eq(asks_as("carol"), 0);
    ck_assert_int_eq(asks_as("alic"), -EACCES);
    ck_assert_int_eq(asks_as("alicea"), -EACCES);
    ck_assert_int_eq(asks_as(""), -EACCES);
    ck_assert_int_eq(asks_as("mallory"), -EACCES);
    ck_assert_ptr_nonnull(strstr(error.text, "the guest mallory"));
}
END_TEST

START_TEST(one_that_is_migrated_is_who_it_will_be)
{
    load("guest = alice\n");
    ck_assert_int_eq(asks_as("alice--incoming"), 0);
    ck_assert_int_eq(asks_as("mallory--incoming"), -EACCES);
    ck_assert_int_eq(asks_as("alice--incoming--incoming"), -EACCES);
    ck_assert_int_eq(asks_as("--incoming"), -EACCES);
}
END_TEST

static int runs_as(const char *name)
{
    snprintf(who.guest_name, sizeof(who.guest_name), "%s", name);
    return far_controller_may_activate(&controller, "atlas", "mem0", &who,
                                       &error);
}

START_TEST(one_that_runs_is_who_it_is_called)
{
    load("guest = alice\n");
    ck_assert_int_eq(runs_as("alice"), 0);
    ck_assert_int_eq(runs_as("alice--incoming"), -EACCES);
    ck_assert_ptr_nonnull(strstr(error.text, "the guest alice--incoming"));
    ck_assert_int_eq(runs_as("mallory"), -EACCES);
    load("guest = alice--incoming\n");
    ck_assert_int_eq(asks_as("alice--incoming"), 0);
    ck_assert_int_eq(runs_as("alice--incoming"), 0);
    ck_assert_int_eq(asks_as("alice"), -EACCES);
}
END_TEST

START_TEST(or_by_uuid_whatever_its_name)
{
    load("guest = abababab-abab-abab-abab-abababababab\n");
    ck_assert_int_eq(asks_as("mallory"), 0);
    who.guest_uuid[15] = 0;
    ck_assert_int_eq(asks_as("mallory"), -EACCES);
}
END_TEST

START_TEST(of_a_platform_that_may_not_no_guest_may)
{
    load("guest = alice\n");
    ck_assert_int_eq(
        far_controller_may_guest(&controller, "mallory", "mem0", &who, &error),
        -EACCES);
}
END_TEST

START_TEST(a_guest_that_is_no_longer_named_loses_its_device)
{
    load("guest = alice\n");
    attach();
    load("guest = alice\nguest = bob\n");
    ck_assert_uint_eq(user.losses, 0);
    load("guest = bob\n");
    ck_assert_uint_eq(user.losses, 1);
    ck_assert_ptr_null(
        far_controller_prepare(&controller, "atlas", &who, &error));
}
END_TEST

START_TEST(what_is_read_only_is_not_written)
{
    struct far_session *s;

    load("read-only = on\n");
    s = attach();
    ck_assert_uint_eq(can(s) & (FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_DISCARD),
                      0);
    ck_assert_int_eq(does(s, FAR_BLOCK_WRITE), -EROFS);
    ck_assert_int_eq(does(s, FAR_BLOCK_DISCARD), -EROFS);
    ck_assert_int_eq(does(s, FAR_BLOCK_READ), 0);
    ck_assert_uint_eq(s->refused_writes, 2);
}
END_TEST

START_TEST(the_right_to_write_is_given_and_taken_while_it_is_in_use)
{
    struct far_session *s;

    load("");
    s = attach();
    ck_assert_int_eq(does(s, FAR_BLOCK_WRITE), 0);
    user.states = 0;
    load("read-only = on\n");
    ck_assert_uint_eq(user.states, 1);
    ck_assert_uint_eq(can(s) & FAR_BLOCK_CAN_WRITE, 0);
    ck_assert_int_eq(does(s, FAR_BLOCK_WRITE), -EROFS);
    load("read-only = off\n");
    ck_assert_uint_eq(user.states, 2);
    ck_assert_uint_ne(can(s) & FAR_BLOCK_CAN_WRITE, 0);
    ck_assert_int_eq(does(s, FAR_BLOCK_WRITE), 0);
    ck_assert_uint_eq(user.losses, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("permission");
    TCase *c = tcase_create("permission");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, without_a_guest_in_the_export_any_may);
    tcase_add_test(c, with_one_only_that_one_may_by_name);
    tcase_add_test(c, one_that_is_migrated_is_who_it_will_be);
    tcase_add_test(c, one_that_runs_is_who_it_is_called);
    tcase_add_test(c, or_by_uuid_whatever_its_name);
    tcase_add_test(c, of_a_platform_that_may_not_no_guest_may);
    tcase_add_test(c, a_guest_that_is_no_longer_named_loses_its_device);
    tcase_add_test(c, what_is_read_only_is_not_written);
    tcase_add_test(
        c, who_has_an_exclusive_device_is_told_to_its_own_platform_and_here);
    tcase_add_test(c, the_right_to_write_is_given_and_taken_while_it_is_in_use);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
