/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ops of a session, in one process: payloads, what repeating means for each
 * kind of op, devices and processes that are replaced, and limits.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/block.h"
#include "devices/ledger.h"
#include "netproxy/controller.h"
#include "tests/core/suite.h"

#define BYTES 4096u

static char dir[64], ledger_path[96];
static struct far_loop *loop;
static struct far_conf *conf;
static struct far_devices devices;
static struct far_controller controller;

struct user {
    struct far_session_user user;
    bool tells; /* what is done leaves at once */
    unsigned completions;
    struct far_op done[256];
};

static bool on_interrupt(struct far_session_user *user, const struct far_op *op)
{
    (void)user;
    (void)op;
    return true;
}

static void on_complete(struct far_session_user *user, const struct far_op *op)
{
    struct user *u = (struct user *)user;

    ck_assert_uint_lt(u->completions, 256);
    u->done[u->completions++] = *op;
    if (u->tells)
        far_session_told(user->session, op->slot);
}

static void on_state(struct far_session_user *user)
{
    (void)user;
}

static void on_lost(struct far_session_user *user, const char *reason)
{
    (void)user;
    (void)reason;
}

static const struct far_session_user_ops user_ops = { on_interrupt, on_complete,
                                                      on_state, on_lost };

static bool all(const struct far_conf *c, const struct far_conf_section *s)
{
    (void)c;
    (void)s;
    return true;
}

#define DISKS                                  \
    "[device mem0]\ntype = memory\nsize = 1\n" \
    "[device kbd0]\ntype = virtual\n"          \
    "[export mem0]\nallow = atlas\n"           \
    "[export kbd0]\nallow = atlas\n"           \
    "[export ledger0]\nallow = atlas\n"

static void load(const char *disks)
{
    struct far_conf *old = conf;
    char text[2048];
    unsigned problems = 0;

    snprintf(text, sizeof(text), "[platform]\nname = borealis\n%s%s%s%s", disks,
             "[device ledger0]\ntype = ledger\npath = ", ledger_path, "\n");
    conf = far_conf_parse("test", text, strlen(text), NULL, NULL, &problems);
    ck_assert_uint_eq(far_devices_load(&devices, conf, all, NULL, NULL), 0);
    controller.conf = conf;
    far_conf_free(old);
}

static void process_begins(void)
{
    loop = far_loop_new();
    far_devices_init(&devices, loop, NULL);
    memset(&controller, 0, sizeof(controller));
    controller.loop = loop;
    controller.platform = "borealis";
    controller.devices = &devices;
    conf = NULL;
    load(DISKS);
}

static void process_dies(void)
{
    far_controller_free(&controller);
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/farside-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(ledger_path, sizeof(ledger_path), "%s/ledger", dir);
    process_begins();
}

static void teardown(void)
{
    process_dies();
    unlink(ledger_path);
    rmdir(dir);
}

static struct far_local_who who_of(const char *device, uint64_t attachment)
{
    struct far_local_who who = { .attachment = attachment,
                                 .class = strstr(device, "kbd")
                                              ? FAR_CLASS_INPUT
                                              : FAR_CLASS_BLOCK };

    snprintf(who.device, sizeof(who.device), "%s", device);
    memset(who.guest_uuid, 7, sizeof(who.guest_uuid));
    return who;
}

static struct far_session *attach(struct user *u, const char *device,
                                  uint64_t attachment)
{
    struct far_local_who who = who_of(device, attachment);
    struct far_error error;
    struct far_session *s =
        far_controller_prepare(&controller, "atlas", &who, &error);

    ck_assert_msg(s != NULL, "%s", error.text);
    memset(u, 0, sizeof(*u));
    u->tells = true;
    u->user.ops = &user_ops;
    far_session_sit(s, &u->user, &who, "test");
    far_session_activate(s, 0, 0, far_controller_activate(&controller, s));
    far_session_go(s);
    return s;
}

/* Put between a session and its device, it holds ops until they are let go. */
struct slow {
    struct far_layer layer;
    unsigned used;
    struct far_op ops[8];
    void *payloads[8];
};

static enum far_verdict slow_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    struct slow *slow = (struct slow *)layer;

    ck_assert_uint_lt(slow->used, 8);
    slow->ops[slow->used] = *op;
    slow->payloads[slow->used++] = payload;
    return FAR_LATER;
}

static void slow_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    if (news->ops_lost)
        ((struct slow *)layer)->used = 0;
    far_layer_state(layer->above, state, news);
}

static void slow_put(struct slow *slow, struct far_session *s)
{
    static const struct far_layer_ops ops = { .name = "slow",
                                              .submit = slow_submit,
                                              .state = slow_state };

    memset(slow, 0, sizeof(*slow));
    slow->layer.ops = &ops;
    far_layer_stack(&slow->layer, s->layer.below);
    far_layer_stack(&s->layer, &slow->layer);
}

static void slow_let_go(struct slow *slow)
{
    for (unsigned i = 0; i < slow->used; i++) {
        enum far_verdict verdict = far_layer_submit(
            slow->layer.below, &slow->ops[i], slow->payloads[i]);

        ck_assert_int_eq(verdict, FAR_DONE);
        far_layer_complete(slow->layer.above, &slow->ops[i]);
    }
    slow->used = 0;
}

static struct far_op op_of(uint16_t opcode, uint32_t slot, uint64_t sequence,
                           uint64_t offset_bytes)
{
    struct far_block_args a = { .offset_bytes = offset_bytes,
                                .length_bytes = BYTES };
    struct far_op op = { .attachment = 1,
                         .opcode = opcode,
                         .slot = slot,
                         .sequence = sequence,
                         .flags = opcode == FAR_BLOCK_READ ? FAR_OP_RECEIVES
                                                           : FAR_OP_SENDS,
                         .payload_bytes = BYTES };

    memcpy(op.args, &a, sizeof(a));
    return op;
}

static void submit(struct far_session *s, struct far_op op, uint8_t fill)
{
    uint8_t payload[BYTES];

    memset(payload, fill, BYTES);
    ck_assert_int_eq(far_session_submit(s, &op, payload, NULL), 0);
}

static struct far_op repeat(struct far_op op)
{
    op.flags |= FAR_OP_REPEAT;
    return op;
}

static uint64_t offset_of(const struct far_op *op)
{
    struct far_block_args a;

    memcpy(&a, op->args, sizeof(a));
    return a.offset_bytes;
}

/* Records in the file; each must be sound, none twice. */
static unsigned records(void)
{
    static uint8_t contents[1 << 20];
    struct far_ledger_record r;
    int fd = open(ledger_path, O_RDONLY);
    unsigned n = 0;

    ck_assert_int_ge(fd, 0);
    while (read(fd, &r, sizeof(r)) == (ssize_t)sizeof(r)) {
        ck_assert_int_eq(read(fd, contents, r.bytes), (ssize_t)r.bytes);
        ck_assert_uint_eq(r.check, far_ledger_check(&r, contents));
        ck_assert_uint_eq(r.order, ++n);
    }
    close(fd);
    return n;
}

START_TEST(what_is_written_is_read_by_all_that_share_the_memory)
{
    static struct user a, b;
    struct far_session *s = attach(&a, "mem0", 1), *other;
    const uint8_t *got;

    ck_assert_uint_eq(s->slot_bytes, 128u << 10);
    submit(s, op_of(FAR_BLOCK_WRITE, 3, 1, 8192), 0x5a);
    ck_assert_uint_eq(a.completions, 1);
    ck_assert_int_eq(a.done[0].status, 0);
    ck_assert_uint_eq(a.done[0].payload_bytes, 0);
    far_session_leave(&a.user);
    other = attach(&b, "mem0", 1);
    ck_assert_ptr_eq(other, s);
    submit(s, op_of(FAR_BLOCK_READ, 9, 1, 8192), 0);
    ck_assert_uint_eq(b.done[0].payload_bytes, BYTES);
    got = far_session_payload(s, 9);
    for (unsigned i = 0; i < BYTES; i++)
        ck_assert_uint_eq(got[i], 0x5a);
    submit(s, op_of(FAR_BLOCK_READ, 9, 2, 1 << 20), 0);
    ck_assert_int_eq(b.done[1].status, -ENOSPC);
    ck_assert_uint_eq(b.done[1].payload_bytes, 0);
}
END_TEST

/* Who wrote to the one before writes its copies again, first. */
START_TEST(an_op_for_another_incarnation_of_the_disk_is_not_executed)
{
    static struct user u;
    struct far_session *s = attach(&u, "mem0", 1);
    struct far_op op = op_of(FAR_BLOCK_WRITE, 3, 1, 8192);
    struct far_block_args a;

    memcpy(&a, op.args, sizeof(a));
    a.incarnation = far_block_incarnation(s->device_incarnation) ^ 1;
    memcpy(op.args, &a, sizeof(a));
    submit(s, op, 0x5a);
    ck_assert_int_eq(u.done[0].status, FAR_BLOCK_STALE);
    submit(s, op_of(FAR_BLOCK_READ, 9, 1, 8192), 0);
    ck_assert_uint_eq(*(const uint8_t *)far_session_payload(s, 9), 0);
    /* the same slot and sequence, when it is meant for this one */
    a.incarnation = far_block_incarnation(s->device_incarnation);
    memcpy(op.args, &a, sizeof(a));
    submit(s, repeat(op), 0x5a);
    ck_assert_int_eq(u.done[2].status, 0);
    submit(s, op_of(FAR_BLOCK_READ, 9, 2, 8192), 0);
    ck_assert_uint_eq(*(const uint8_t *)far_session_payload(s, 9), 0x5a);
}
END_TEST

START_TEST(what_is_discarded_reads_as_zeros)
{
    static struct user u;
    struct far_session *s = attach(&u, "mem0", 1);
    struct far_block_args a = { .offset_bytes = 512,
                                .length_bytes = 3 * BYTES };
    struct far_op op = { .opcode = FAR_BLOCK_DISCARD,
                         .slot = 0,
                         .sequence = 9 };
    const uint8_t *got;

    for (unsigned i = 0; i < 4; i++)
        submit(s, op_of(FAR_BLOCK_WRITE, i, 1, i * BYTES), 0x77);
    memcpy(op.args, &a, sizeof(a));
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_int_eq(u.done[4].status, 0);
    for (unsigned i = 0; i < 4; i++) {
        submit(s, op_of(FAR_BLOCK_READ, i, 20, i * BYTES), 0);
        got = far_session_payload(s, i);
        for (unsigned k = 0; k < BYTES; k++) {
            uint64_t at = i * BYTES + k;

            ck_assert_uint_eq(got[k],
                              at < 512 || at >= 512 + 3 * BYTES ? 0x77 : 0);
        }
    }
}
END_TEST

START_TEST(a_repeat_of_one_that_executes_joins_it)
{
    static struct user u;
    static struct slow slow;
    struct far_session *s = attach(&u, "mem0", 1);

    slow_put(&slow, s);
    submit(s, op_of(FAR_BLOCK_WRITE, 0, 1, 0), 1);
    submit(s, repeat(op_of(FAR_BLOCK_WRITE, 0, 1, 0)), 1);
    ck_assert_uint_eq(u.completions, 0);
    slow_let_go(&slow);
    ck_assert_uint_eq(u.completions, 1);
    ck_assert_uint_eq(s->ops, 1);
    ck_assert_uint_eq(s->repeated_ops, 1);
}
END_TEST

START_TEST(an_answer_that_has_not_left_is_given_again_and_then_executed_again)
{
    static struct user u;
    struct far_session *s = attach(&u, "mem0", 1);
    struct far_op op = op_of(FAR_BLOCK_WRITE, 0, 1, 0);

    u.tells = false;
    submit(s, op, 1);
    submit(s, repeat(op), 1);
    ck_assert_uint_eq(u.completions, 2);
    ck_assert_uint_eq(s->executed_again, 0);
    far_session_told(s, 0);
    submit(s, repeat(op), 1); /* it has left, and did not arrive */
    ck_assert_uint_eq(u.completions, 3);
    ck_assert_uint_eq(s->executed_again, 1);
    op.sequence = 0;
    submit(s, repeat(op), 1);
    ck_assert_uint_eq(u.completions, 3);
    ck_assert_uint_eq(s->old_ops, 1);
}
END_TEST

START_TEST(what_is_recorded_is_done_once_whatever_dies)
{
    static struct user u;
    struct far_session *s = attach(&u, "ledger0", 1);
    uint64_t at;

    submit(s, op_of(FAR_BLOCK_APPEND, 5, 1, 0), 1);
    ck_assert_int_eq(u.done[0].status, 0);
    at = offset_of(&u.done[0]);
    submit(s, repeat(op_of(FAR_BLOCK_APPEND, 5, 1, 0)), 1); /* kept */
    ck_assert_uint_eq(u.completions, 2);
    ck_assert_uint_eq(offset_of(&u.done[1]), at);
    ck_assert_uint_eq(s->executed_again, 0);
    for (unsigned i = 0; i < 3; i++) {
        process_dies();
        process_begins();
        s = attach(&u, "ledger0", 1);
        submit(s, repeat(op_of(FAR_BLOCK_APPEND, 5, 1, 0)), 1);
        ck_assert_int_eq(u.done[0].status, 0);
        ck_assert_uint_eq(offset_of(&u.done[0]), at);
    }
    submit(s, op_of(FAR_BLOCK_APPEND, 5, 2, 0), 2);
    ck_assert_uint_gt(offset_of(&u.done[1]), at);
    submit(s, op_of(FAR_BLOCK_READ, 6, 1, at), 0);
    ck_assert_uint_eq(((const uint8_t *)far_session_payload(s, 6))[77], 1);
    ck_assert_uint_eq(records(), 2);
    /* Another attachment's slot 5 is another. */
    far_session_leave(&u.user);
    s = attach(&u, "ledger0", 2);
    submit(s, op_of(FAR_BLOCK_APPEND, 5, 1, 0), 3);
    ck_assert_uint_eq(records(), 3);
}
END_TEST

START_TEST(a_record_that_is_cut_short_was_never_done)
{
    static struct user u;
    struct far_session *s = attach(&u, "ledger0", 1);
    struct stat st;

    submit(s, op_of(FAR_BLOCK_APPEND, 0, 1, 0), 1);
    submit(s, op_of(FAR_BLOCK_APPEND, 1, 1, 0), 2);
    process_dies();
    ck_assert_int_eq(stat(ledger_path, &st), 0);
    for (off_t cut = 1; cut < 4608; cut += 4000) {
        ck_assert_int_eq(truncate(ledger_path, st.st_size - cut), 0);
        process_begins();
        ck_assert_uint_eq(records(), 1);
        s = attach(&u, "ledger0", 1);
        submit(s, repeat(op_of(FAR_BLOCK_APPEND, 0, 1, 0)), 1);
        ck_assert_uint_eq(records(), 1);
        submit(s, repeat(op_of(FAR_BLOCK_APPEND, 1, 1, 0)), 2);
        ck_assert_int_eq(u.done[1].status, 0);
        ck_assert_uint_eq(records(), 2);
        process_dies();
    }
    /* As long as it should be, but with other contents. */
    {
        int fd = open(ledger_path, O_WRONLY);

        ck_assert_int_eq(pwrite(fd, "x", 1, st.st_size - 1), 1);
        close(fd);
    }
    process_begins();
    ck_assert_uint_eq(records(), 1);
}
END_TEST

START_TEST(what_may_be_done_once_only_fails_if_its_executor_died)
{
    static struct user u;
    struct far_session *s = attach(&u, "kbd0", 1);
    struct far_op op = { .opcode = FAR_OPCODE(FAR_CLASS_INPUT, 9),
                         .slot = 2,
                         .sequence = 4 };

    ck_assert_int_eq(far_op_repeat(op.opcode), FAR_AT_MOST_ONCE);
    /* Nobody here knows whether it was done. */
    op.flags = FAR_OP_REPEAT;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_uint_eq(u.completions, 1);
    ck_assert_int_eq(u.done[0].status, -EOWNERDEAD);
    ck_assert_uint_eq(s->unknown_outcomes, 1);
    /* A new one is executed; so is one that this session can't have had
     * executed, for it has had the one before. */
    op.flags = 0;
    op.sequence = 5;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_int_eq(u.done[1].status, -EOPNOTSUPP);
    op.flags = FAR_OP_REPEAT;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_uint_eq(u.completions, 3); /* the kept answer */
    op.sequence = 6;
    ck_assert_int_eq(far_session_submit(s, &op, NULL, NULL), 0);
    ck_assert_int_eq(u.done[3].status, -EOPNOTSUPP);
    ck_assert_uint_eq(s->ops, 2);
    ck_assert_uint_eq(s->executed_again, 0);
}
END_TEST

START_TEST(a_device_that_is_replaced_gets_what_the_former_one_had_not_answered)
{
    static struct user u, k;
    static struct slow slow, slow_kbd;
    struct far_session *s = attach(&u, "mem0", 1);
    struct far_session *once = attach(&k, "kbd0", 1);
    struct far_op op = { .opcode = FAR_OPCODE(FAR_CLASS_INPUT, 9) };

    slow_put(&slow, s);
    slow_put(&slow_kbd, once);
    submit(s, op_of(FAR_BLOCK_WRITE, 0, 1, 0), 1);
    op.sequence = 1;
    ck_assert_int_eq(far_session_submit(once, &op, NULL, NULL), 0);
    load("[export mem0]\nallow = atlas\n[export kbd0]\nallow = atlas\n");
    ck_assert_uint_eq(k.completions, 1);
    ck_assert_int_eq(k.done[0].status, -EOWNERDEAD);
    ck_assert_int_eq(s->state, FAR_DEVICE_GONE);
    submit(s, op_of(FAR_BLOCK_WRITE, 1, 1, BYTES), 2); /* waits */
    ck_assert_uint_eq(slow.used, 0);
    load(DISKS);
    ck_assert_uint_eq(slow.used, 2);
    ck_assert_uint_eq(slow.ops[0].flags, FAR_OP_SENDS | FAR_OP_REPEAT);
    ck_assert_uint_eq(slow.ops[1].flags, FAR_OP_SENDS);
    slow_let_go(&slow);
    ck_assert_uint_eq(u.completions, 2);
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(u.done[i].status, 0);
        ck_assert_uint_eq(u.done[i].slot, i); /* in order */
    }
    ck_assert_uint_eq(k.completions, 1);
}
END_TEST

START_TEST(an_attachment_that_is_made_anew_begins_anew)
{
    static struct user a, b;
    struct far_session *s = attach(&a, "mem0", 1);

    submit(s, op_of(FAR_BLOCK_WRITE, 0, 100, 0), 1);
    far_session_leave(&a.user);
    s = attach(&b, "mem0", 2);
    submit(s, op_of(FAR_BLOCK_WRITE, 0, 1, 0), 1);
    ck_assert_uint_eq(b.completions, 1);
    ck_assert_uint_eq(s->old_ops, 0);
}
END_TEST

START_TEST(a_payload_in_pieces_is_put_together_of_one_connection_only)
{
    static struct user u;
    struct far_session *s = attach(&u, "mem0", 1);
    struct far_op op = op_of(FAR_BLOCK_WRITE, 7, 1, 0);
    uint8_t bytes[BYTES];
    int x, y;

    memset(bytes, 1, sizeof(bytes));
    ck_assert_int_eq(far_session_piece(s, 7, 1, 0, bytes, 1000, &x), 0);
    ck_assert_int_eq(far_session_piece(s, 7, 1, 1000, bytes, 1000, &x), 0);
    /* After a gap the whole op must come again. */
    ck_assert_int_eq(far_session_piece(s, 7, 1, 3000, bytes, 1, &x), 0);
    ck_assert_int_eq(far_session_submit(s, &op, NULL, &x), 0);
    ck_assert_uint_eq(u.completions, 0);
    /* The other takes over, what the first still brings is not looked at. */
    memset(bytes, 2, sizeof(bytes));
    ck_assert_int_eq(far_session_piece(s, 7, 1, 0, bytes, 3000, &y), 0);
    ck_assert_int_eq(far_session_piece(s, 7, 1, 2000, bytes, 9, &x), 0);
    ck_assert_int_eq(far_session_submit(s, &op, NULL, &x), 0);
    ck_assert_uint_eq(u.completions, 0);
    ck_assert_int_eq(far_session_submit(s, &op, NULL, &y), -EPROTO);
    ck_assert_int_eq(far_session_piece(s, 7, 1, 3000, bytes, BYTES - 3000, &y),
                     0);
    ck_assert_int_eq(far_session_submit(s, &op, NULL, &y), 0);
    ck_assert_uint_eq(u.completions, 1);
    submit(s, op_of(FAR_BLOCK_READ, 8, 1, 0), 0);
    for (unsigned i = 0; i < BYTES; i++)
        ck_assert_uint_eq(((const uint8_t *)far_session_payload(s, 8))[i], 2);
    /* Of an older op, or beyond all. */
    ck_assert_int_eq(far_session_piece(s, 7, 0, 0, bytes, 9, &y), 0);
    ck_assert_uint_eq(s->stray_pieces, 3);
    ck_assert_int_eq(far_session_piece(s, 7, 2, 128 << 10, bytes, 1, &y),
                     -EPROTO);
    ck_assert_int_eq(far_session_piece(s, 64, 2, 0, bytes, 1, &y), -EPROTO);
}
END_TEST

START_TEST(pieces_do_not_touch_what_executes)
{
    static struct user u;
    static struct slow slow;
    struct far_session *s = attach(&u, "mem0", 1);
    uint8_t bytes[BYTES];
    int x;

    slow_put(&slow, s);
    memset(bytes, 9, sizeof(bytes));
    submit(s, op_of(FAR_BLOCK_WRITE, 0, 1, 0), 1);
    ck_assert_int_eq(far_session_piece(s, 0, 1, 0, bytes, BYTES, &x), 0);
    slow_let_go(&slow);
    submit(s, op_of(FAR_BLOCK_READ, 1, 1, 0), 0);
    slow_let_go(&slow);
    ck_assert_uint_eq(u.completions, 2);
    ck_assert_uint_eq(*(const uint8_t *)far_session_payload(s, 1), 1);
}
END_TEST

START_TEST(ops_that_can_not_be_are_refused)
{
    static struct user u;
    static struct slow slow;
    struct far_session *s = attach(&u, "mem0", 1);
    uint8_t bytes[BYTES] = { 0 };
    struct far_op bad[6];

    for (unsigned i = 0; i < 6; i++)
        bad[i] = op_of(FAR_BLOCK_WRITE, 0, 2, 0);
    bad[0].slot = 64;
    bad[1].flags = FAR_OP_SENDS | FAR_OP_RECEIVES;
    bad[2].flags = 0;
    bad[3].payload_bytes = (128u << 10) + 1;
    bad[4].opcode = FAR_OP_NOP(FAR_CLASS_INPUT);
    slow_put(&slow, s);
    submit(s, op_of(FAR_BLOCK_WRITE, 0, 1, 0), 1); /* 5: that slot is in use */
    for (unsigned i = 0; i < 6; i++)
        ck_assert_int_eq(far_session_submit(s, &bad[i], bytes, NULL), -EPROTO);
    slow_let_go(&slow);
    ck_assert_uint_eq(u.completions, 1);
    ck_assert_uint_eq(s->ops, 1);
}
END_TEST

START_TEST(a_platform_can_not_fill_the_memory)
{
    struct far_local_who who = who_of("mem0", 1);
    struct far_error error;
    unsigned n = 0;

    while (who.guest_devid = n,
           far_controller_prepare(&controller, "atlas", &who, &error))
        n++;
    ck_assert_uint_eq(n, 128);
    ck_assert_int_eq(error.code, -ENOBUFS);
    who.class = FAR_CLASS_INPUT;
    snprintf(who.device, sizeof(who.device), "kbd0");
    ck_assert_ptr_nonnull(
        far_controller_prepare(&controller, "atlas", &who, &error));
    /* What goes makes room. */
    far_controller_end(&controller, controller.sessions->next_session, "test");
    who = who_of("mem0", 1);
    who.guest_devid = 1000;
    ck_assert_ptr_nonnull(
        far_controller_prepare(&controller, "atlas", &who, &error));
}
END_TEST

START_TEST(an_attachment_that_has_had_ops_costs_under_16_kib)
{
    static struct user u[100];
    struct far_local_who who = who_of("mem0", 1);
    struct far_error error;
    size_t before = mallinfo2().uordblks;

    for (unsigned i = 0; i < 100; i++) {
        struct far_session *s;

        who.guest_devid = i;
        s = far_controller_prepare(&controller, "atlas", &who, &error);
        u[i].user.ops = &user_ops;
        u[i].tells = true;
        far_session_sit(s, &u[i].user, &who, "test");
        far_session_activate(s, 0, 0, far_controller_activate(&controller, s));
        far_session_go(s);
        submit(s, op_of(FAR_BLOCK_WRITE, 0, 1, 0), 1);
        ck_assert_uint_eq(u[i].completions, 1);
    }
    ck_assert_uint_le((mallinfo2().uordblks - before) / 100, 14 << 10);
    far_controller_free(&controller);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ops");
    TCase *c = tcase_create("ops");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, what_is_written_is_read_by_all_that_share_the_memory);
    tcase_add_test(c,
                   an_op_for_another_incarnation_of_the_disk_is_not_executed);
    tcase_add_test(c, what_is_discarded_reads_as_zeros);
    tcase_add_test(c, a_repeat_of_one_that_executes_joins_it);
    tcase_add_test(
        c, an_answer_that_has_not_left_is_given_again_and_then_executed_again);
    tcase_add_test(c, what_is_recorded_is_done_once_whatever_dies);
    tcase_add_test(c, a_record_that_is_cut_short_was_never_done);
    tcase_add_test(c, what_may_be_done_once_only_fails_if_its_executor_died);
    tcase_add_test(
        c, a_device_that_is_replaced_gets_what_the_former_one_had_not_answered);
    tcase_add_test(c, an_attachment_that_is_made_anew_begins_anew);
    tcase_add_test(c,
                   a_payload_in_pieces_is_put_together_of_one_connection_only);
    tcase_add_test(c, pieces_do_not_touch_what_executes);
    tcase_add_test(c, ops_that_can_not_be_are_refused);
    tcase_add_test(c, a_platform_can_not_fill_the_memory);
    tcase_add_test(c, an_attachment_that_has_had_ops_costs_under_16_kib);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
