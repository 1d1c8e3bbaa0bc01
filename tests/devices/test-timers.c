/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Timers: the heap against a model that looks at every timer, the policies for
 * missed periods, and the layer, as a fast device and as a device.
 */
#include "devices/timers.h"

#include "devices/fast-timer.h"
#include "tests/core/suite.h"
#include "tests/devices/harness.h"

static struct far_timers t;

static void arm(uint32_t timer, uint64_t deadline, uint64_t period,
                uint32_t flags)
{
    far_timers_arm(&t, &(struct far_timer_args){ .timer = timer,
                                                 .arm = timer + 1,
                                                 .deadline_ns = deadline,
                                                 .period_ns = period,
                                                 .flags = flags });
}

static uint64_t random_u64(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

START_TEST(the_heap_does_what_looking_at_every_timer_would)
{
    enum { TIMERS = 61, ROUNDS = 200000 };
    uint64_t deadline[TIMERS] = { 0 }, now = 1;
    unsigned expired = 0;

    ck_assert_int_eq(far_timers_init(&t, TIMERS), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t timer = (uint32_t)(random_u64() % TIMERS);
        uint64_t first = UINT64_MAX;
        struct far_timer_expired e;

        switch (random_u64() % 4) {
        case 0:
        case 1:
            deadline[timer] = now + random_u64() % 1000 + 1;
            arm(timer, deadline[timer], 0, 0);
            break;
        case 2:
            ck_assert_uint_eq(far_timers_cancel(&t, timer),
                              deadline[timer] ? timer + 1 : 0);
            deadline[timer] = 0;
            break;
        default:
            now += random_u64() % 40;
            while (far_timers_expire(&t, now, &e)) {
                ck_assert_uint_eq(e.deadline_ns, deadline[e.timer]);
                ck_assert_uint_le(e.deadline_ns, now);
                ck_assert_uint_eq(e.arm, e.timer + 1);
                ck_assert_uint_eq(e.expired, 1);
                deadline[e.timer] = 0;
                expired++;
            }
            for (unsigned i = 0; i < TIMERS; i++)
                ck_assert(!deadline[i] || deadline[i] > now);
            break;
        }
        for (unsigned i = 0; i < TIMERS; i++)
            if (deadline[i] && deadline[i] < first)
                first = deadline[i];
        ck_assert_uint_eq(far_timers_next(&t), first);
    }
    ck_assert_uint_gt(expired, 10000);
    far_timers_free(&t);
}
END_TEST

START_TEST(a_missed_period_is_skipped_made_up_for_or_forgotten)
{
    struct far_timer_expired e;

    ck_assert_int_eq(far_timers_init(&t, 3), 0);
    arm(0, 100000, 10000, FAR_TIMER_SKIP);
    ck_assert(!far_timers_expire(&t, 99999, &e));
    ck_assert(far_timers_expire(&t, 100000, &e));
    ck_assert_uint_eq(e.expired, 1);
    /* 110, 120, … 150 went by */
    ck_assert(far_timers_expire(&t, 155000, &e));
    ck_assert_uint_eq(e.expired, 6);
    ck_assert(!far_timers_expire(&t, 155000, &e));
    ck_assert_uint_eq(far_timers_next(&t), 160000);
    far_timers_cancel(&t, 0);

    arm(1, 1000000, 10000, FAR_TIMER_BURST);
    for (unsigned i = 1; i <= 6; i++) {
        uint64_t now = 1050000 + (i - 1) * FAR_TIMERS_BURST_NS;

        ck_assert(far_timers_expire(&t, now, &e));
        ck_assert_uint_eq(e.expired, i);
        ck_assert_uint_eq(e.deadline_ns, 1000000 + (i - 1) * 10000);
        ck_assert(!far_timers_expire(&t, now, &e)); /* once a look */
    }
    far_timers_cancel(&t, 1);

    arm(2, 2000000, 10000, FAR_TIMER_SLEW);
    ck_assert(far_timers_expire(&t, 2057000, &e));
    ck_assert_uint_eq(e.expired, 1);
    ck_assert_uint_eq(far_timers_next(&t), 2067000);
    far_timers_free(&t);
}
END_TEST

START_TEST(the_end_of_time_is_no_beginning)
{
    static const uint64_t deadlines[] = { 1, UINT64_MAX - 5, UINT64_MAX };
    static const uint64_t periods[] = { 0, 1000, UINT64_MAX - 2, UINT64_MAX };
    struct far_timer_expired e;

    ck_assert_int_eq(far_timers_init(&t, 1), 0);
    for (unsigned d = 0; d < 3; d++)
        for (unsigned p = 0; p < 4; p++)
            for (uint32_t policy = 0; policy < 3; policy++) {
                uint64_t last = 0;

                arm(0, deadlines[d], periods[p], policy);
                for (unsigned i = 0; i < 5; i++)
                    if (far_timers_expire(&t, UINT64_MAX - 4, &e)) {
                        ck_assert_uint_gt(e.expired, last);
                        last = e.expired;
                    }
                if (far_timers_next(&t) != FAR_TIMERS_NEVER)
                    ck_assert_uint_ge(far_timers_next(&t), UINT64_MAX - 5);
                far_timers_cancel(&t, 0);
            }
    far_timers_free(&t);
}
END_TEST

START_TEST(an_op_that_makes_no_sense_is_refused)
{
    struct far_timer_args a = { .timer = 3, .arm = 1, .deadline_ns = 5 };
    struct far_op op = { .opcode = FAR_TIMER_ARM };

#define JUDGE() (memcpy(op.args, &a, sizeof(a)), far_timer_check(&op, 4))
    ck_assert_int_eq(JUDGE(), 0);
    a.timer = 4;
    ck_assert_int_eq(JUDGE(), -EINVAL);
    a.timer = 3, a.arm = 0;
    ck_assert_int_eq(JUDGE(), -EINVAL);
    a.arm = 1, a.flags = 3;
    ck_assert_int_eq(JUDGE(), -EINVAL);
    a.flags = 16;
    ck_assert_int_eq(JUDGE(), -EINVAL);
    a.flags = 0, a.period_ns = 999;
    ck_assert_int_eq(JUDGE(), -EINVAL);
    a.period_ns = 1000;
    ck_assert_int_eq(JUDGE(), 0);
    op.opcode = FAR_OPCODE(FAR_CLASS_TIMER, 9);
    ck_assert_int_eq(JUDGE(), -EOPNOTSUPP);
    ck_assert_int_eq(far_op_repeat(FAR_TIMER_ARM), FAR_REPEATABLE);
    ck_assert_int_eq(far_op_repeat(op.opcode), FAR_AT_MOST_ONCE);
}
END_TEST

/* ---- the layer ---- */

static struct far_timer_expired heard[4096];
static unsigned heard_count, room;

static bool take(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    ck_assert_uint_eq(op->opcode, FAR_TIMER_EXPIRED);
    if (!room)
        return false;
    room--;
    memcpy(&heard[heard_count++], op->args, sizeof(heard[0]));
    return true;
}

/* What stands behind the fast timer. */
static unsigned behind;
static enum far_verdict behind_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    (void)layer;
    (void)payload;
    behind++;
    op->status = -ENODEV;
    return FAR_DONE;
}

static void behind_close(struct far_layer *layer)
{
    (void)layer;
}

static const struct far_layer_ops top_ops = { .interrupt = take };
static const struct far_layer_ops behind_ops = { .name = "behind",
                                                 .submit = behind_submit,
                                                 .close = behind_close };
static struct far_layer top, below;
static struct far_layer *fast;
static struct far_loop *loop;

static void fast_begin(void)
{
    loop = far_loop_new();
    fast = far_fast_timer_new(loop, 1024);
    ck_assert(loop && fast);
    top = (struct far_layer){ .ops = &top_ops };
    below = (struct far_layer){ .ops = &behind_ops };
    far_layer_stack(fast, &below);
    far_layer_stack(&top, fast);
    heard_count = behind = 0;
    room = UINT32_MAX;
}

static void fast_end(void)
{
    far_layer_close(fast);
    far_loop_free(loop);
}

static struct far_timer_args submit(uint16_t opcode, struct far_timer_args a,
                                    int status)
{
    struct far_op op = { .attachment = 1, .opcode = opcode };

    memcpy(op.args, &a, sizeof(a));
    ck_assert_int_eq(far_layer_submit(fast, &op, NULL), FAR_DONE);
    ck_assert_int_eq(op.status, status);
    memcpy(&a, op.args, sizeof(a));
    return a;
}

START_TEST(one_wake_up_serves_many_timers_and_none_is_early)
{
    uint64_t begin, sleeps;

    fast_begin();
    begin = far_now_ns();
    for (uint32_t i = 0; i < 1000; i++)
        submit(FAR_TIMER_ARM,
               (struct far_timer_args){
                   .timer = i, .arm = 7, .deadline_ns = begin + 20000000 + i },
               0);
    sleeps = far_loop_stats(loop)->sleeps;
    while (heard_count < 1000)
        ck_assert_int_ge(far_loop_turn(loop, 1000000), 0);
    ck_assert_uint_ge(far_now_ns(), begin + 20000000);
    ck_assert_uint_le(far_loop_stats(loop)->sleeps - sleeps, 6);
    ck_assert_uint_eq(far_fast_timer_counters(fast)->late.count, 1000);
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_uint_eq(heard[i].timer, i);
    ck_assert_int_eq(far_loop_turn(loop, 0), 0); /* nothing is left */
    fast_end();
}
END_TEST

START_TEST(what_the_layer_above_cant_take_is_told_later_and_together)
{
    struct far_timer_args a = {
        .timer = 5, .arm = 9, .deadline_ns = 1, .period_ns = 1000
    };

    fast_begin();
    room = 0;
    submit(FAR_TIMER_ARM, a, 0);
    a.timer = 6, a.period_ns = 0;
    submit(FAR_TIMER_ARM, a, 0);
    a.timer = 8;
    submit(FAR_TIMER_ARM, a, 0);
    for (unsigned i = 0; i < 5; i++) {
        far_fast_timer_look(fast);
        usleep(1000);
    }
    ck_assert_uint_eq(heard_count, 0);
    /* of an arming that is over nobody is told */
    submit(FAR_TIMER_CANCEL, (struct far_timer_args){ .timer = 6 }, 0);
    room = 10;
    far_layer_resume(&top);
    far_layer_resume(fast);
    ck_assert_uint_eq(heard_count, 2);
    ck_assert_uint_eq(heard[0].timer, 5);
    ck_assert_uint_gt(heard[0].expired, 4000);
    ck_assert_uint_eq(heard[1].timer, 8);
    fast_end();
}
END_TEST

START_TEST(what_is_meant_for_outside_is_passed_and_only_that)
{
    struct far_timer_args a = { .timer = 1,
                                .arm = 1,
                                .deadline_ns = 1000000000,
                                .flags = FAR_TIMER_RELATIVE };

    fast_begin();
    a = submit(FAR_TIMER_ARM, a, 0);
    ck_assert_uint_gt(a.deadline_ns, far_now_ns());
    ck_assert_uint_eq(behind, 0);
    a.flags = FAR_TIMER_OUTSIDE | FAR_TIMER_RELATIVE;
    submit(FAR_TIMER_ARM, a, -ENODEV);
    ck_assert_uint_eq(behind, 1);
    /* the one here is no more armed; the cancel goes where the arm went */
    ck_assert_uint_eq(far_fast_timer_next(fast), FAR_TIMERS_NEVER);
    submit(FAR_TIMER_CANCEL, a, -ENODEV);
    ck_assert_uint_eq(behind, 2);
    a = submit(FAR_TIMER_CANCEL, a, 0);
    ck_assert_uint_eq(a.arm, 0);
    a = submit(FAR_TIMER_NOW, a, 0);
    ck_assert_uint_le(a.deadline_ns, far_now_ns());
    ck_assert_uint_eq(fast->counters.passed, 2);
    ck_assert_uint_eq(below.counters.answered, 2);
    fast_end();
}
END_TEST

START_TEST(a_device_of_type_timer_expires_for_each_user)
{
    struct far_local_who who = { .attachment = 4, .class = FAR_CLASS_TIMER };
    unsigned problems = 0;
    struct far_devices devices;
    struct far_error error = { 0 };
    static const char text[] = "[platform]\nname = a\n"
                               "[device t]\ntype = timer\ntimers = 10\n";
    struct far_conf *conf =
        far_conf_parse("test", text, strlen(text), NULL, NULL, &problems);

    loop = far_loop_new();
    ck_assert_uint_eq(far_conf_check(conf, NULL, NULL), 0);
    far_devices_init(&devices, loop, NULL);
    ck_assert_uint_eq(far_devices_load(&devices, conf, NULL, NULL, NULL), 0);
    ck_assert_int_eq(
        far_device_open(far_device_find(&devices, "t"), &who, &fast, &error),
        0);
    top = (struct far_layer){ .ops = &top_ops };
    far_layer_stack(&top, fast);
    far_layer_activate(fast, 0, 0);
    ck_assert_int_eq(top.device_state, FAR_DEVICE_READY);
    heard_count = 0;
    room = 1;
    submit(FAR_TIMER_ARM, (struct far_timer_args){ .timer = 10, .arm = 1 },
           -EINVAL);
    submit(FAR_TIMER_ARM,
           (struct far_timer_args){ .timer = 9,
                                    .arm = 1,
                                    .deadline_ns = 1000000,
                                    .flags = FAR_TIMER_OUTSIDE |
                                             FAR_TIMER_RELATIVE },
           0);
    while (!heard_count)
        ck_assert_int_ge(far_loop_turn(loop, 1000000), 0);
    ck_assert_uint_eq(heard[0].timer, 9);
    far_layer_close(fast);
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
}
END_TEST

SUITE_MAIN("timers", the_heap_does_what_looking_at_every_timer_would,
           a_missed_period_is_skipped_made_up_for_or_forgotten,
           the_end_of_time_is_no_beginning,
           an_op_that_makes_no_sense_is_refused,
           one_wake_up_serves_many_timers_and_none_is_early,
           what_the_layer_above_cant_take_is_told_later_and_together,
           what_is_meant_for_outside_is_passed_and_only_that,
           a_device_of_type_timer_expires_for_each_user)
