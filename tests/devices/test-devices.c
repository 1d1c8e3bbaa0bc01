/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The registry and its reloads, the virtual and the replay device, an evdev
 * device that is not there, and the filters.
 */
#include "tests/devices/harness.h"

static struct far_loop *loop;
static struct far_devices devices;
static struct far_conf *conf;

static void setup(void)
{
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    far_devices_init(&devices, loop, NULL);
    conf = NULL;
}

static void teardown(void)
{
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
}

static char problems[4096];

static void note_problem(void *arg, const char *file, unsigned line,
                         unsigned column, const char *text)
{
    size_t n = strlen(problems);

    (void)arg;
    (void)column;
    snprintf(problems + n, sizeof(problems) - n, "%s:%u: %s\n", file, line,
             text);
}

static unsigned load(const char *text)
{
    struct far_conf *old = conf;
    unsigned failed;

    problems[0] = '\0';
    conf = conf_of(text);
    failed = far_devices_load(&devices, conf, NULL, note_problem, NULL);
    far_conf_free(old);
    return failed;
}

static struct port *use(const char *name)
{
    struct far_local_who who = who_of(name, 1);
    struct far_device *d = far_device_find(&devices, name);
    struct far_layer *layer;
    struct far_error error = { 0 };

    ck_assert_ptr_nonnull(d);
    ck_assert_msg(far_device_open(d, &who, &layer, &error) == 0, "%s",
                  error.text);
    return port_new(layer);
}

static struct port *use_active(const char *name)
{
    struct port *p = use(name);

    far_layer_activate(p->layer.below, 0, 0);
    return p;
}

static void feed(const char *name, struct far_input_event e)
{
    struct far_device *d = far_device_find(&devices, name);
    struct far_error error = { 0 };

    ck_assert_msg(d->type->feed(d, &e, 1, &error) == 0, "%s", error.text);
}

START_TEST(each_user_gets_all_events_from_its_activation_on)
{
    struct port *a, *b;

    ck_assert_uint_eq(load("[device k]\ntype = virtual\n"), 0);
    a = use("k");
    b = use_active("k");
    feed("k", key_event(30, 1));
    ck_assert_uint_eq(a->used, 0);
    ck_assert_uint_eq(a->states, 0);
    far_layer_activate(a->layer.below, 0, 0);
    feed("k", key_event(30, 0));
    ck_assert_str_eq(port_text(a, 0), "begin +30h end -30");
    ck_assert_str_eq(port_text(b, 0), "begin end +30 -30");
    ck_assert_uint_eq(far_device_find(&devices, "k")->users, 2);
    port_free(a);
    feed("k", key_event(30, 1));
    ck_assert_str_eq(port_text(b, 4), "+30");
    port_free(b);
    ck_assert_uint_eq(far_device_find(&devices, "k")->users, 0);
}
END_TEST

START_TEST(numbers_go_on_from_what_a_user_of_this_incarnation_received)
{
    struct port *p;

    load("[device k]\ntype = virtual\n");
    p = use("k");
    far_layer_activate(p->layer.below,
                       far_device_find(&devices, "k")->incarnation, 57);
    ck_assert_uint_eq(p->sequences[0], 58);
    port_free(p);
    p = use("k");
    far_layer_activate(p->layer.below, 1, 57);
    ck_assert_uint_eq(p->sequences[0], 1);
    port_free(p);
}
END_TEST

START_TEST(a_user_without_room_gets_its_events_later_in_order_and_coalesced)
{
    struct port *p;

    load("[device k]\ntype = virtual\n");
    p = use_active("k");
    p->room = 1;
    feed("k", key_event(30, 1));
    for (int i = 0; i < 50; i++)
        feed("k", motion_event(2, 1));
    feed("k", key_event(30, 0));
    ck_assert_str_eq(port_text(p, 2), "+30");
    port_give_room(p, 1);
    ck_assert_str_eq(port_text(p, 2), "+30 m100,50,0");
    port_give_room(p, 10);
    ck_assert_str_eq(port_text(p, 2), "+30 m100,50,0 -30");
    for (unsigned i = 0; i < p->used; i++)
        ck_assert_uint_eq(p->sequences[i], i + 1);
    port_free(p);
}
END_TEST

START_TEST(a_statement_that_finds_no_room_goes_on_where_it_stopped)
{
    struct port *p;

    load("[device k]\ntype = virtual\n");
    feed("k", key_event(30, 1));
    feed("k", key_event(42, 1));
    p = use("k");
    p->room = 2;
    far_layer_activate(p->layer.below, 0, 0);
    feed("k", key_event(42, 0));
    ck_assert_str_eq(port_text(p, 0), "begin +30h");
    port_give_room(p, 1);
    port_give_room(p, 9);
    ck_assert_str_eq(port_text(p, 0), "begin +30h +42h end -42");
    port_free(p);
}
END_TEST

START_TEST(a_class_that_does_not_fit_is_refused_in_words)
{
    struct far_local_who who = who_of("k", 1);
    struct far_layer *layer;
    struct far_error error = { 0 };

    load("[device k]\ntype = virtual\n[device f]\ntype = log\nbehind = k\n");
    who.class = FAR_CLASS_BLOCK;
    ck_assert_int_eq(
        far_device_open(far_device_find(&devices, "k"), &who, &layer, &error),
        -EINVAL);
    ck_assert_ptr_nonnull(strstr(error.text, "k: is of class input"));
    /* through a filter too */
    ck_assert_int_eq(
        far_device_open(far_device_find(&devices, "f"), &who, &layer, &error),
        -EINVAL);
    ck_assert_uint_eq(far_device_find(&devices, "f")->users, 0);
}
END_TEST

START_TEST(a_wrong_section_fails_alone_with_file_and_line)
{
    ck_assert_uint_eq(load("[device k]\ntype = virtual\n"
                           "[device x]\ntype = nosuch\n"
                           "[device y]\ntype = evdev\n"
                           "[device z]\ntype = log\n"),
                      3);
    ck_assert_ptr_nonnull(strstr(problems, "test.conf:3: x: there is no "));
    ck_assert_ptr_nonnull(strstr(problems, "test.conf:5: y: "));
    ck_assert_ptr_nonnull(strstr(problems, "test.conf:7: z: a filter needs"));
    ck_assert_ptr_nonnull(far_device_find(&devices, "k"));
    ck_assert_ptr_null(far_device_find(&devices, "x"));
}
END_TEST

START_TEST(a_reload_disturbs_only_what_changed)
{
    struct port *a, *b, *c;
    uint64_t of_a;

    load("[device a]\ntype = virtual\n"
         "[device b]\ntype = delay\nbehind = a\ndelay = 0ms\n"
         "[device c]\ntype = virtual\n");
    a = use_active("a");
    b = use_active("b");
    c = use_active("c");
    turn_until(loop, b->used == 2);
    of_a = a->news.incarnation;
    /* c is gone, b changed, a the same, in another order */
    load("[device b]\ntype = delay\nbehind = a\ndelay = 1ms\n"
         "# a comment\n[device a]\ntype = virtual\n");
    ck_assert_uint_eq(a->states, 1);
    ck_assert_uint_eq(a->used, 2);
    ck_assert_int_eq(b->state, FAR_DEVICE_READY);
    ck_assert_uint_eq(b->states, 3); /* ready, gone, ready */
    ck_assert_int_eq(c->state, FAR_DEVICE_GONE);
    ck_assert_str_eq(c->reason, "c: is no longer in the configuration");
    feed("a", key_event(30, 1));
    turn_until(loop, b->used == 5);
    ck_assert_str_eq(port_text(b, 2), "begin end +30");
    ck_assert_str_eq(port_text(a, 2), "+30");
    ck_assert_uint_eq(far_device_find(&devices, "a")->incarnation, of_a);
    /* c comes again, as something else that fits */
    load("[device a]\ntype = virtual\n[device c]\ntype = log\nbehind = a\n");
    ck_assert_int_eq(c->state, FAR_DEVICE_READY);
    ck_assert_str_eq(port_text(c, 2), "begin +30h end");
    ck_assert_int_eq(b->state, FAR_DEVICE_GONE);
    port_free(b); /* an orphan may close */
    port_free(c);
    port_free(a);
    ck_assert_uint_eq(far_device_find(&devices, "a")->users, 0);
}
END_TEST

START_TEST(users_outlive_the_registry)
{
    struct port *a, *b;

    load("[device a]\ntype = virtual\n");
    a = use_active("a");
    b = use("a");
    far_devices_free(&devices);
    ck_assert_int_eq(a->state, FAR_DEVICE_GONE);
    port_free(a);
    port_free(b);
    far_devices_init(&devices, loop, NULL);
}
END_TEST

START_TEST(an_event_that_is_none_is_refused_by_the_virtual_device)
{
    struct far_input_event e = key_event(0, 1);
    struct far_error error = { 0 };
    struct far_device *d;

    load("[device k]\ntype = virtual\n");
    d = far_device_find(&devices, "k");
    ck_assert_int_eq(d->type->feed(d, &e, 1, &error), -EINVAL);
    e.type = FAR_INPUT_STATE_BEGIN;
    ck_assert_int_eq(d->type->feed(d, &e, 1, &error), -EINVAL);
}
END_TEST

/* ---- replay ---- */

static char trace[64];

static void write_trace(const char *text)
{
    int fd;

    snprintf(trace, sizeof(trace), "/tmp/farside-trace.XXXXXX");
    fd = mkstemp(trace);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static unsigned load_trace(const char *text, const char *more)
{
    char section[256];

    write_trace(text);
    snprintf(section, sizeof(section),
             "[device t]\ntype = replay\nfile = %s\n%s", trace, more);
    return load(section);
}

START_TEST(a_trace_is_played_with_its_timing)
{
    struct port *p;

    ck_assert_uint_eq(load_trace("# typed by hand\n"
                                 "0 press a\n"
                                 "20000 release a\n"
                                 "20000 touch 0 down 5 5\n"
                                 "50000 touch 0 up\n",
                                 ""),
                      0);
    turn_for(loop, 30000); /* nothing before the first activation */
    p = use_active("t");
    turn_until(loop, p->used == 8);
    unlink(trace);
    ck_assert_str_eq(port_text(p, 0),
                     "begin end +30 -30 t0d5,5 syn t0u0,0 syn");
    ck_assert_uint_eq(p->events[3].time_us - p->events[2].time_us, 20000);
    ck_assert_uint_eq(p->events[6].time_us - p->events[2].time_us, 50000);
    ck_assert_uint_ge(far_now_us(), p->events[6].time_us);
    ck_assert_uint_lt(far_now_us() - p->events[6].time_us, 500000);
    port_free(p);
}
END_TEST

START_TEST(speed_and_loop_do_what_they_say)
{
    struct port *p;

    load_trace("0 press a\n100000 release a\n", "speed = 10\nloop = on\n");
    p = use_active("t");
    turn_until(loop, p->used >= 8);
    unlink(trace);
    ck_assert_str_eq(port_text(p, 2), "+30 -30 +30 -30 +30 -30");
    ck_assert_uint_eq(p->events[3].time_us - p->events[2].time_us, 10000);
    ck_assert_uint_eq(p->events[4].time_us - p->events[2].time_us, 10000);
    port_free(p);
}
END_TEST

START_TEST(a_trace_stands_still_while_nobody_listens)
{
    struct port *p;

    load_trace("0 press a\n400000 release a\n", "");
    p = use_active("t");
    turn_until(loop, p->used == 3);
    port_free(p);
    turn_for(loop, 500000);
    p = use_active("t");
    ck_assert_str_eq(port_text(p, 0), "begin +30h end");
    turn_for(loop, 5000);
    ck_assert_uint_eq(p->used, 3);
    turn_until(loop, p->used == 4);
    unlink(trace);
    port_free(p);
}
END_TEST

START_TEST(a_wrong_line_of_a_trace_is_named)
{
    ck_assert_uint_eq(load_trace("0 press a\n5 jump\n", ""), 1);
    unlink(trace);
    ck_assert_ptr_nonnull(strstr(problems, ":2: there is no word `jump`"));
    ck_assert_uint_eq(load_trace("10 press a\n5 release a\n", ""), 1);
    unlink(trace);
    ck_assert_ptr_nonnull(strstr(problems, ":2: its time is before"));
    ck_assert_uint_eq(load_trace("press a\n", ""), 1);
    unlink(trace);
    ck_assert_uint_eq(load_trace("1 sleep 5\n", ""), 1);
    unlink(trace);
}
END_TEST

START_TEST(a_trace_that_is_not_there_is_waited_for)
{
    struct port *p;
    FILE *f;

    write_trace("");
    unlink(trace);
    ck_assert_uint_eq(load_trace("0 key a\n", ""), 0);
    unlink(trace);
    load("");
    {
        char section[200];

        snprintf(section, sizeof(section),
                 "[device t]\ntype = replay\nfile = %s\n", trace);
        ck_assert_uint_eq(load(section), 0);
    }
    p = use_active("t");
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    ck_assert_ptr_nonnull(strstr(p->reason, "No such file"));
    port_free(p);
    f = fopen(trace, "w");
    fputs("0 key a\n", f);
    fclose(f);
    p = use_active("t");
    turn_until(loop, p->used == 4);
    unlink(trace);
    port_free(p);
}
END_TEST

/* ---- filters ---- */

START_TEST(delay_delays_each_event_and_keeps_their_order)
{
    struct port *p;
    uint64_t before_us;

    load("[device k]\ntype = virtual\n"
         "[device d]\ntype = delay\nbehind = k\ndelay = 30ms\n");
    p = use_active("d");
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    turn_until(loop, p->used == 2);
    before_us = far_now_us();
    far_loop_turn(loop, 0);
    feed("k", key_event(30, 1));
    feed("k", motion_event(1, 1));
    feed("k", motion_event(1, 1));
    feed("k", key_event(30, 0));
    turn_until(loop, p->used == 6);
    ck_assert_uint_ge(far_now_us() - before_us, 29000);
    ck_assert_str_eq(port_text(p, 2), "+30 m1,1,0 m1,1,0 -30");
    port_free(p);
}
END_TEST

START_TEST(delay_holds_back_the_device_when_it_is_full_and_loses_nothing)
{
    struct port *p;

    load("[device k]\ntype = virtual\n"
         "[device d]\ntype = delay\nbehind = k\ndelay = 1ms\n");
    p = use_active("d");
    turn_until(loop, p->used == 2);
    p->room = 0;
    for (uint16_t i = 0; i < 150; i++) {
        feed("k", key_event((uint16_t)(i + 1), 1));
        feed("k", key_event((uint16_t)(i + 1), 0));
    }
    turn_for(loop, 5000);
    p->room = UINT32_MAX;
    far_layer_resume(p->layer.below);
    turn_until(loop, p->used == 302);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_uint_eq(p->events[2 + i].code, 1 + i / 2);
    port_free(p);
}
END_TEST

START_TEST(error_loses_every_nth_event_but_no_statement)
{
    struct port *p;

    load("[device k]\ntype = virtual\n"
         "[device e]\ntype = error\nbehind = k\nevery = 3\n");
    p = use_active("e");
    for (int i = 1; i <= 9; i++)
        feed("k", motion_event(i, 0));
    ck_assert_str_eq(port_text(p, 0),
                     "begin end m1,0,0 m2,0,0 m4,0,0 m5,0,0 m7,0,0 m8,0,0");
    port_free(p);
}
END_TEST

START_TEST(error_fails_by_its_rate)
{
    struct port *p;

    load("[device k]\ntype = virtual\n"
         "[device e]\ntype = error\nbehind = k\nrate = 25%\n");
    p = use_active("e");
    for (int i = 1; i <= 1000; i++)
        feed("k", motion_event(i, 0));
    ck_assert_uint_gt(p->used, 700);
    ck_assert_uint_lt(p->used, 800);
    port_free(p);
}
END_TEST

START_TEST(error_fails_ops)
{
    struct port *p;
    struct far_op op = { .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    load("[device k]\ntype = virtual\n"
         "[device e]\ntype = error\nbehind = k\nevery = 1\n");
    p = use_active("e");
    ck_assert_int_eq(far_layer_submit(p->layer.below, &op, NULL), FAR_DONE);
    ck_assert_int_eq(op.status, -EIO);
    port_free(p);
}
END_TEST

START_TEST(filters_stack_and_one_behind_itself_is_found_out)
{
    struct far_local_who who = who_of("x", 1);
    struct far_layer *layer;
    struct far_error error = { 0 };
    struct port *p;

    load("[device k]\ntype = virtual\n"
         "[device l]\ntype = log\nbehind = k\n"
         "[device d]\ntype = delay\nbehind = l\ndelay = 0ms\n"
         "[device x]\ntype = log\nbehind = y\n"
         "[device y]\ntype = log\nbehind = x\n"
         "[device z]\ntype = log\nbehind = nosuch\n");
    p = use_active("d");
    feed("k", key_event(30, 1));
    turn_until(loop, p->used == 3);
    port_free(p);
    ck_assert_int_eq(
        far_device_open(far_device_find(&devices, "x"), &who, &layer, &error),
        -ELOOP);
    ck_assert_int_eq(
        far_device_open(far_device_find(&devices, "z"), &who, &layer, &error),
        -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "nosuch"));
    ck_assert_uint_eq(far_device_find(&devices, "k")->users, 0);
}
END_TEST

#include "config.h"
#ifdef HAVE_LIBEVDEV
START_TEST(an_evdev_device_that_is_not_there_says_so_and_costs_no_wake_ups)
{
    struct port *p;
    uint64_t sleeps;

    load("[device k]\ntype = evdev\npath = /tmp/farside-no-such-folder/event0\n"
         "[device n]\ntype = evdev\nmatch-name = No Such Keyboard\n");
    p = use_active("k");
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    ck_assert_ptr_nonnull(strstr(p->reason, "is not plugged in"));
    ck_assert_ptr_nonnull(
        strstr(far_device_find(&devices, "n")->reason, "No Such Keyboard"));
    sleeps = far_loop_stats(loop)->sleeps;
    turn_for(loop, 300000);
    ck_assert_uint_lt(far_loop_stats(loop)->sleeps - sleeps, 50);
    port_free(p);
}
END_TEST

START_TEST(what_appears_at_the_path_is_tried_at_once)
{
    char dir[64] = "/tmp/farside-input.XXXXXX", path[96], text[200];
    struct port *p;
    FILE *f;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/event0", dir);
    snprintf(text, sizeof(text), "[device k]\ntype = evdev\npath = %s\n", path);
    load(text);
    p = use_active("k");
    ck_assert_ptr_nonnull(strstr(p->reason, "is not plugged in"));
    f = fopen(path, "w"); /* no input device, and it says so */
    fclose(f);
    turn_until(loop, strstr(p->reason, "can't be opened"));
    unlink(path);
    turn_until(loop, (rmdir(dir), strstr(p->reason, "is not plugged in")));
    port_free(p);
}
END_TEST
#endif

START_TEST(a_device_that_came_by_itself_outlives_a_reload_and_not_its_removal)
{
    struct far_conf *other = conf_of("[device came]\ntype = virtual\n"
                                     "[hotplug came]\nallow = atlas\n");
    const struct far_conf_section *section =
                                      far_conf_section(other, "device", "came"),
                                  *export = far_conf_section(other, "hotplug",
                                                             "came");
    struct far_error error = { 0 };
    struct far_device *d;
    struct port *p;

    ck_assert_uint_eq(load("[device own]\ntype = virtual\n"), 0);
    d = far_devices_add(&devices, section, export, &error);
    ck_assert_msg(d != NULL, "%s", error.text);
    p = use_active("came");
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    ck_assert_uint_eq(load("[device own]\ntype = virtual\n"), 0);
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    ck_assert_ptr_eq(far_device_find(&devices, "came"), d);
    far_devices_remove(&devices, d, "came: was unplugged");
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    ck_assert_str_eq(p->reason, "came: was unplugged");
    ck_assert_ptr_null(far_device_find(&devices, "came"));
    ck_assert_ptr_nonnull(far_devices_add(&devices, section, export, &error));
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    port_free(p);
    far_devices_remove(&devices, far_device_find(&devices, "came"), "gone");
    far_conf_free(other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("devices");
    TCase *c = tcase_create("devices");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 30);
    tcase_add_test(
        c, a_device_that_came_by_itself_outlives_a_reload_and_not_its_removal);
    tcase_add_test(c, each_user_gets_all_events_from_its_activation_on);
    tcase_add_test(c,
                   numbers_go_on_from_what_a_user_of_this_incarnation_received);
    tcase_add_test(
        c, a_user_without_room_gets_its_events_later_in_order_and_coalesced);
    tcase_add_test(c, a_statement_that_finds_no_room_goes_on_where_it_stopped);
    tcase_add_test(c, a_class_that_does_not_fit_is_refused_in_words);
    tcase_add_test(c, a_wrong_section_fails_alone_with_file_and_line);
    tcase_add_test(c, a_reload_disturbs_only_what_changed);
    tcase_add_test(c, users_outlive_the_registry);
    tcase_add_test(c, an_event_that_is_none_is_refused_by_the_virtual_device);
    tcase_add_test(c, a_trace_is_played_with_its_timing);
    tcase_add_test(c, speed_and_loop_do_what_they_say);
    tcase_add_test(c, a_trace_stands_still_while_nobody_listens);
    tcase_add_test(c, a_wrong_line_of_a_trace_is_named);
    tcase_add_test(c, a_trace_that_is_not_there_is_waited_for);
    tcase_add_test(c, delay_delays_each_event_and_keeps_their_order);
    tcase_add_test(
        c, delay_holds_back_the_device_when_it_is_full_and_loses_nothing);
    tcase_add_test(c, error_loses_every_nth_event_but_no_statement);
    tcase_add_test(c, error_fails_by_its_rate);
    tcase_add_test(c, error_fails_ops);
    tcase_add_test(c, filters_stack_and_one_behind_itself_is_found_out);
#ifdef HAVE_LIBEVDEV
    tcase_add_test(
        c, an_evdev_device_that_is_not_there_says_so_and_costs_no_wake_ups);
    tcase_add_test(c, what_appears_at_the_path_is_tried_at_once);
#endif
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
