/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The stream device: two ends by hand, also such as do what they should not.
 */
#include "core/stream.h"
#include "tests/core/suite.h"
#include "tests/devices/harness.h"

#define SLOTS   8u
#define LONGEST 256u

/* An end's user: what it gave, and what it was told. */
struct user {
    struct far_layer layer;
    struct far_op answers[SLOTS];
    bool waits[SLOTS];
    uint8_t payloads[SLOTS][LONGEST];
    uint64_t sequence;
    unsigned foreign, ready;
};

static struct far_loop *loop;
static struct far_devices devices;
static struct far_conf *conf;
static struct user a, b;

static void user_complete(struct far_layer *layer, const struct far_op *op)
{
    struct user *u = (struct user *)layer;

    if (op->slot >= SLOTS || !u->waits[op->slot] ||
        u->answers[op->slot].sequence != op->sequence) {
        u->foreign++;
        return;
    }
    u->waits[op->slot] = false;
    u->answers[op->slot] = *op;
}

static void user_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    (void)news;
    ((struct user *)layer)->ready += state == FAR_DEVICE_READY;
}

static void attach(struct user *u)
{
    static const struct far_layer_ops ops = { .name = "user",
                                              .complete = user_complete,
                                              .state = user_state };
    struct far_local_who who = { .attachment = u == &a ? 1 : 2,
                                 .class = FAR_CLASS_STREAM };
    struct far_layer *below;
    struct far_error error;

    memset(u, 0, sizeof(*u));
    u->layer.ops = &ops;
    ck_assert_int_eq(far_device_open(far_device_find(&devices, "wire"), &who,
                                     &below, &error),
                     0);
    far_layer_stack(&u->layer, below);
    far_layer_activate(below, 0, 0);
    ck_assert_uint_eq(u->ready, 1);
}

static void detach(struct user *u)
{
    if (!u->layer.below)
        return;
    u->layer.below->above = NULL;
    far_layer_close(u->layer.below);
    u->layer.below = NULL;
}

static void set_up(void)
{
    loop = far_loop_new();
    far_devices_init(&devices, loop, NULL);
    conf = conf_of("[device wire]\ntype = stream\npeer-timeout = 20ms\n");
    ck_assert_uint_eq(far_devices_load(&devices, conf, NULL, NULL, NULL), 0);
    attach(&a);
    attach(&b);
}

static void tear_down(void)
{
    detach(&a);
    detach(&b);
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
}

/* Gives an op; its status, or 1: it waits. */
static int give(struct user *u, unsigned slot, uint16_t opcode, uint64_t self,
                uint64_t peer, uint32_t offset, uint32_t bytes, uint16_t flags)
{
    struct far_stream_args args = { .self = self,
                                    .peer = peer,
                                    .offset = offset };
    struct far_op op = { .attachment = 1,
                         .slot = slot,
                         .sequence = ++u->sequence,
                         .opcode = opcode,
                         .payload_bytes = bytes };

    if (opcode == FAR_STREAM_CONNECT)
        args.flags = offset; /* a server? */
    if (opcode == FAR_STREAM_CONNECT)
        args.offset = 0;
    op.flags = flags;
    if (opcode == FAR_STREAM_READ)
        op.flags |= FAR_OP_RECEIVES;
    if (opcode == FAR_STREAM_WRITE)
        op.flags |= FAR_OP_SENDS;
    memcpy(op.args, &args, sizeof(args));
    ck_assert(!u->waits[slot]);
    u->answers[slot] = op;
    u->waits[slot] = true;
    if (far_layer_submit(u->layer.below, &op, u->payloads[slot]) == FAR_LATER)
        return u->waits[slot] ? 1 : u->answers[slot].status;
    u->waits[slot] = false;
    u->answers[slot] = op;
    return op.status;
}

static int write_at(struct user *u, unsigned slot, uint32_t offset,
                    const char *text)
{
    memcpy(u->payloads[slot], text, strlen(text));
    return give(u, slot, FAR_STREAM_WRITE, u == &a ? 10 : 20, u == &a ? 20 : 10,
                offset, (uint32_t)strlen(text), 0);
}

static int read_at(struct user *u, uint32_t offset)
{
    return give(u, 1, FAR_STREAM_READ, u == &a ? 10 : 20, u == &a ? 20 : 10,
                offset, LONGEST, 0);
}

static void has_read(const struct user *u, const char *text)
{
    ck_assert(!u->waits[1]);
    ck_assert_int_eq(u->answers[1].status, 0);
    ck_assert_uint_eq(u->answers[1].payload_bytes, strlen(text));
    ck_assert(!memcmp(u->payloads[1], text, strlen(text)));
}

static uint64_t peer_of(const struct user *u)
{
    struct far_stream_args args;

    memcpy(&args, u->answers[0].args, sizeof(args));
    return args.peer;
}

static void connect_both(void)
{
    ck_assert_int_eq(give(&a, 0, FAR_STREAM_CONNECT, 10, 0, 1, 0, 0), 1);
    ck_assert_int_eq(give(&b, 0, FAR_STREAM_CONNECT, 20, 0, 0, 0, 0), 0);
    ck_assert(!a.waits[0] && !a.answers[0].status);
    ck_assert_uint_eq(peer_of(&a), 20);
    ck_assert_uint_eq(peer_of(&b), 10);
}

START_TEST(the_ends_hear_each_others_numbers_and_there_is_no_third)
{
    struct far_local_who who = { .attachment = 3, .class = FAR_CLASS_STREAM };
    struct far_layer *below;
    struct far_error error;

    connect_both();
    ck_assert_int_eq(far_device_open(far_device_find(&devices, "wire"), &who,
                                     &below, &error),
                     -EBUSY);
    ck_assert_int_eq(give(&a, 2, FAR_OP_NOP(FAR_CLASS_STREAM), 0, 0, 0, 0, 0),
                     0);
}
END_TEST

START_TEST(two_of_one_side_wait)
{
    ck_assert_int_eq(give(&a, 0, FAR_STREAM_CONNECT, 10, 0, 1, 0, 0), 1);
    ck_assert_int_eq(give(&b, 0, FAR_STREAM_CONNECT, 20, 0, 1, 0, 0), 1);
    ck_assert_int_eq(give(&b, 1, FAR_STREAM_CONNECT, 21, 0, 0, 0, 0), 0);
    ck_assert_int_eq(b.answers[0].status, -EPIPE);
    ck_assert_uint_eq(peer_of(&a), 21);
}
END_TEST

START_TEST(a_write_is_done_when_the_other_end_says_that_it_has_it)
{
    connect_both();
    ck_assert_int_eq(read_at(&b, 0), 1);
    ck_assert_int_eq(write_at(&a, 2, 0, "hello"), 1);
    has_read(&b, "hello");
    ck_assert(a.waits[2]);
    ck_assert_int_eq(write_at(&a, 3, 5, " you"), 1);
    ck_assert_int_eq(read_at(&b, 5), 0);
    has_read(&b, " you");
    ck_assert(!a.waits[2] && !a.answers[2].status && a.waits[3]);
    ck_assert_int_eq(read_at(&b, 9), 1);
    ck_assert(!a.waits[3]);
}
END_TEST

START_TEST(pieces_are_put_together_whatever_their_order_and_also_around_zero)
{
    connect_both();
    ck_assert_int_eq(write_at(&a, 2, 0xfffffffe, "abcd"), 1);
    ck_assert_int_eq(write_at(&a, 4, 7, "xyz"), 1);
    ck_assert_int_eq(write_at(&a, 3, 2, "efghi"), 1);
    ck_assert_int_eq(read_at(&b, 0xffffffff), 0);
    has_read(&b, "bcdefghixyz");
    ck_assert_int_eq(read_at(&b, 4), 0);
    has_read(&b, "ghixyz");
    ck_assert(!a.waits[2] && a.waits[3] && a.waits[4]);
    ck_assert_int_eq(read_at(&b, 10), 1);
    ck_assert(!a.waits[3] && !a.waits[4]);
}
END_TEST

START_TEST(repeats_never_wait_and_an_activation_answers_all_that_does)
{
    ck_assert_int_eq(
        give(&a, 0, FAR_STREAM_CONNECT, 10, 0, 1, 0, FAR_OP_REPEAT), -EAGAIN);
    connect_both();
    ck_assert_int_eq(give(&b, 1, FAR_STREAM_READ, 20, 10, 0, 9, FAR_OP_REPEAT),
                     -EAGAIN);
    ck_assert_int_eq(read_at(&b, 0), 1);
    ck_assert_int_eq(write_at(&b, 2, 0, "abc"), 1);
    far_layer_activate(b.layer.below, 0, 0);
    ck_assert_int_eq(b.answers[1].status, -EAGAIN);
    ck_assert_int_eq(b.answers[2].status, -EAGAIN);
    ck_assert(!b.waits[1] && !b.waits[2]);
    ck_assert_int_eq(write_at(&a, 2, 0, "abc"), 1);
    ck_assert_int_eq(give(&b, 1, FAR_STREAM_READ, 20, 10, 0, 9, FAR_OP_REPEAT),
                     0);
    has_read(&b, "abc");
}
END_TEST

START_TEST(a_device_that_began_anew_learns_all_from_its_ends)
{
    connect_both();
    ck_assert_int_eq(write_at(&a, 2, 0, "abcdef"), 1);
    ck_assert_int_eq(read_at(&b, 0), 0);
    detach(&a);
    detach(&b);
    attach(&b);
    ck_assert_int_eq(read_at(&b, 4), 1);
    attach(&a);
    ck_assert_int_eq(write_at(&a, 2, 0, "abcdef"), 1);
    has_read(&b, "ef");
    ck_assert_int_eq(read_at(&b, 6), 1);
    ck_assert(!a.waits[2]);
}
END_TEST

START_TEST(who_closed_is_read_to_the_end_and_written_to_no_more)
{
    connect_both();
    ck_assert_int_eq(write_at(&a, 2, 0, "abc"), 1);
    ck_assert_int_eq(write_at(&b, 2, 0, "never"), 1);
    ck_assert_int_eq(give(&a, 5, FAR_STREAM_CLOSE, 10, 20, 6, 0, 0), 1);
    ck_assert_int_eq(b.answers[2].status, -EPIPE);
    ck_assert_int_eq(write_at(&a, 3, 3, "def"), 1);
    ck_assert_int_eq(read_at(&b, 0), 0);
    has_read(&b, "abcdef");
    ck_assert_int_eq(read_at(&b, 6), -EPIPE);
    ck_assert(!a.waits[2] && !a.waits[3] && a.waits[5]);
    ck_assert_int_eq(give(&b, 5, FAR_STREAM_CLOSE, 20, 10, 0, 0, 0), 0);
    ck_assert(!a.waits[5] && !a.answers[5].status);
}
END_TEST

START_TEST(an_end_that_goes_or_begins_anew_has_closed)
{
    connect_both();
    ck_assert_int_eq(read_at(&a, 0), 1);
    detach(&b);
    ck_assert(!a.waits[1]);
    ck_assert_int_eq(a.answers[1].status, -EPIPE);
    attach(&b);
    ck_assert_int_eq(give(&b, 0, FAR_STREAM_CONNECT, 21, 0, 0, 0, 0), 1);
    ck_assert_int_eq(read_at(&a, 0), -EPIPE);
    ck_assert_int_eq(give(&a, 0, FAR_STREAM_CONNECT, 11, 0, 1, 0, 0), 0);
    ck_assert_uint_eq(peer_of(&b), 11);
    ck_assert_int_eq(give(&b, 1, FAR_STREAM_READ, 21, 11, 0, 9, 0), 1);
    ck_assert_int_eq(give(&a, 0, FAR_STREAM_CONNECT, 12, 0, 1, 0, 0), 1);
    ck_assert_int_eq(b.answers[1].status, -EPIPE);
}
END_TEST

START_TEST(a_peer_that_does_not_come_back_has_closed_after_a_while)
{
    detach(&b);
    ck_assert_int_eq(read_at(&a, 100), 1);
    ck_assert_int_eq(write_at(&a, 2, 7, "abc"), 1);
    for (unsigned i = 0; i < 1000 && a.waits[1]; i++)
        far_loop_turn(loop, 10000);
    ck_assert_int_eq(a.answers[1].status, -EPIPE);
    ck_assert_int_eq(a.answers[2].status, -EPIPE);
}
END_TEST

/* --- what should not be ----------------------------------------------------
 */

START_TEST(ops_that_make_no_sense_are_refused)
{
    connect_both();
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_WRITE, 0, 20, 0, 1, 0), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_WRITE, 10, 0, 0, 1, 0), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_WRITE, 10, 20, 0, 0, 0), -EINVAL);
    ck_assert_int_eq(
        give(&a, 2, FAR_STREAM_WRITE, 10, 20, 0, FAR_STREAM_PAYLOAD_MAX + 1, 0),
        -EINVAL);
    ck_assert_int_eq(
        give(&a, 2, FAR_STREAM_WRITE, 10, 20, 0, 1, FAR_OP_RECEIVES), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_READ, 10, 20, 0, 0, 0), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_READ, 10, 0, 0, 1, 0), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_CLOSE, 10, 20, 0, 1, 0), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_CONNECT, 10, 0, 2, 0, 0), -EINVAL);
    ck_assert_int_eq(give(&a, 2, FAR_STREAM_CONNECT, 10, 20, 0, 0, 0), -EINVAL);
    ck_assert_int_eq(
        give(&a, 2, FAR_OPCODE(FAR_CLASS_STREAM, 9), 10, 20, 0, 0, 0),
        -EOPNOTSUPP);
    ck_assert_int_eq(write_at(&a, 2, 0, "abc"), 1); /* and it goes on */
    ck_assert_int_eq(read_at(&b, 0), 0);
}
END_TEST

START_TEST(of_more_than_may_wait_the_newer_count)
{
    connect_both();
    for (unsigned i = 0; i < FAR_STREAM_WRITES; i++)
        ck_assert_int_eq(write_at(&a, 2 + i, 3 * i, "abc"), 1);
    ck_assert_int_eq(write_at(&a, 6, 12, "abc"), 1);
    ck_assert(!a.waits[2] && a.waits[3]);
    ck_assert_int_eq(a.answers[2].status, -EAGAIN);
    ck_assert_int_eq(give(&a, 1, FAR_STREAM_READ, 10, 20, 0, 9, 0), 1);
    ck_assert_int_eq(give(&a, 7, FAR_STREAM_READ, 10, 20, 0, 9, 0), 1);
    ck_assert_int_eq(a.answers[1].status, -EAGAIN);
    ck_assert(a.waits[7]);
}
END_TEST

/* Whatever is said by either end, each op is answered once and nothing is
 * touched beside its payload. */
START_TEST(nonsense_of_both_ends_without_end_harms_nothing)
{
    static const uint64_t selves[] = { 10, 20, 10, 20, 11, 1 };
    uint32_t seed = 1;
    unsigned answered = 0;

    connect_both();
    for (unsigned i = 0; i < 100000; i++) {
        struct user *u = i & 1 ? &a : &b;
        uint64_t self, peer;
        unsigned slot;

        seed = seed * 1664525 + 1013904223;
        slot = seed >> 29;
        self = selves[(seed >> 26 & 7) % 6];
        peer = selves[(seed >> 23 & 7) % 6];
        if (u->waits[slot]) {
            if ((seed & 0xff) == 1)
                far_layer_activate(u->layer.below, 0, 0);
            continue;
        }
        if ((seed >> 8 & 0xff) == 7) {
            detach(u);
            attach(u);
            continue;
        }
        answered +=
            give(u, slot, (uint16_t)FAR_OPCODE(FAR_CLASS_STREAM, seed >> 5 & 7),
                 self, peer, seed >> 3 & 1023, 1 + (seed >> 13 & 127),
                 seed & 16 ? FAR_OP_REPEAT : 0) != 1;
    }
    ck_assert_uint_gt(answered, 1000);
    ck_assert_uint_eq(a.foreign + b.foreign, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_ends_hear_each_others_numbers_and_there_is_no_third,
        two_of_one_side_wait,
        a_write_is_done_when_the_other_end_says_that_it_has_it,
        pieces_are_put_together_whatever_their_order_and_also_around_zero,
        repeats_never_wait_and_an_activation_answers_all_that_does,
        a_device_that_began_anew_learns_all_from_its_ends,
        who_closed_is_read_to_the_end_and_written_to_no_more,
        an_end_that_goes_or_begins_anew_has_closed,
        a_peer_that_does_not_come_back_has_closed_after_a_while,
        ops_that_make_no_sense_are_refused,
        of_more_than_may_wait_the_newer_count,
        nonsense_of_both_ends_without_end_harms_nothing,
    };
    Suite *suite = suite_create("stream");
    TCase *tcase = tcase_create("stream");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
