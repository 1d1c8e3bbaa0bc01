/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The disk `file`: by io_uring and, with io_uring taken away, by plain calls;
 * what happens to a file under its users; who may write at a time.
 */
#include "config.h"

#include <dlfcn.h>
#include <fcntl.h>
#ifdef HAVE_LIBURING
#include <liburing.h>
#endif
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include "core/block.h"
#include "tests/devices/harness.h"

#define MIB (1u << 20)

static struct far_loop *loop;
static struct far_devices devices;
static struct far_conf *conf;
static char path[64];
static int file;

#ifdef HAVE_LIBURING
static bool kernel_is_busy;

/* Instead of the library's: a kernel that takes nothing for a while. */
int io_uring_submit(struct io_uring *ring)
{
    static int (*real)(struct io_uring *);

    if (!real)
        real = (int (*)(struct io_uring *))dlsym(RTLD_NEXT, "io_uring_submit");
    return kernel_is_busy ? -EBUSY : real(ring);
}
#endif

/* As in a sandbox: then the device has to do without. */
static void forbid_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { 4, code };

    ck_assert(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
              !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void load(const char *more)
{
    struct far_conf *old = conf;
    char text[256];

    snprintf(text, sizeof(text), "[device disk0]\ntype = file\npath = %s\n%s",
             path, more);
    conf = conf_of(text);
    ck_assert_uint_eq(far_devices_load(&devices, conf, NULL, no_problem, NULL),
                      0);
    far_conf_free(old);
}

static void setup(void)
{
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    far_devices_init(&devices, loop, NULL);
    conf = NULL;
    strcpy(path, "/tmp/farside-test-disk-XXXXXX");
    file = mkostemp(path, O_CLOEXEC);
    ck_assert(file >= 0 && !ftruncate(file, 4 * MIB));
    load("");
}

static void setup_plain(void)
{
    forbid_io_uring();
    setup();
}

static void teardown(void)
{
    far_devices_free(&devices);
    far_conf_free(conf);
    far_loop_free(loop);
    close(file);
    unlink(path);
}

static struct port *open_for(const char *guest)
{
    struct far_local_who who = who_of("disk0", 1);
    struct far_layer *layer;
    struct far_error error = { 0 };

    who.class = FAR_CLASS_BLOCK;
    snprintf(who.guest_name, sizeof(who.guest_name), "%s", guest);
    ck_assert_msg(!far_device_open(far_device_find(&devices, "disk0"), &who,
                                   &layer, &error),
                  "%s", error.text);
    return port_new(layer);
}

static struct port *use(void)
{
    struct port *p = open_for("guest");

    far_layer_activate(p->layer.below, 0, 0);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    return p;
}

static struct far_block_props props_of(const struct port *p)
{
    struct far_block_props props;

    memcpy(&props, p->news.props, sizeof(props));
    return props;
}

static struct far_op op_of(uint16_t opcode, uint64_t offset, uint32_t bytes,
                           uint32_t flags, uint32_t slot)
{
    struct far_block_args args = { .offset_bytes = offset,
                                   .length_bytes = bytes,
                                   .flags = flags };
    struct far_op op = {
        .attachment = 1, .sequence = 1, .slot = slot, .opcode = opcode
    };

    if (opcode == FAR_BLOCK_READ)
        op.flags = FAR_OP_RECEIVES;
    if (opcode == FAR_BLOCK_WRITE)
        op.flags = FAR_OP_SENDS;
    if (op.flags)
        op.payload_bytes = bytes;
    memcpy(op.args, &args, sizeof(args));
    return op;
}

/* To the end; the answer. */
static struct far_op act(struct port *p, struct far_op op, void *payload)
{
    unsigned before = p->completed;
    enum far_verdict verdict = far_layer_submit(p->layer.below, &op, payload);

    if (verdict == FAR_DONE)
        return op;
    ck_assert_int_eq(verdict, FAR_LATER);
    turn_until(loop, p->completed > before);
    ck_assert_uint_eq(p->last_complete.slot, op.slot);
    return p->last_complete;
}

static uint8_t *pattern(uint32_t bytes, uint8_t seed)
{
    uint8_t *memory = malloc(bytes);

    ck_assert_ptr_nonnull(memory);
    for (uint32_t i = 0; i < bytes; i++)
        memory[i] = (uint8_t)(i * 7 + i / 512 + seed);
    return memory;
}

START_TEST(what_is_written_is_read_wherever_the_payload_lies)
{
    struct port *p = use();

    for (uint32_t bytes = 512; bytes <= MIB; bytes *= 8) {
        uint8_t *data = pattern(bytes, 1), *back = calloc(1, bytes);
        uint8_t *place = far_layer_place(p->layer.below, 3, bytes);
        struct far_op op;

        op = act(p, op_of(FAR_BLOCK_WRITE, 512, bytes, 0, 3), data);
        ck_assert_int_eq(op.status, 0);
        op = act(p, op_of(FAR_BLOCK_READ, 512, bytes, 0, 200), back);
        ck_assert_int_eq(op.status, 0);
        ck_assert_uint_eq(op.payload_bytes, bytes);
        ck_assert_mem_eq(back, data, bytes);
        if (place) {
            data[7]++;
            memcpy(place, data, bytes);
            op = act(p, op_of(FAR_BLOCK_WRITE, 1024, bytes, FAR_BLOCK_FUA, 3),
                     place);
            ck_assert_int_eq(op.status, 0);
            memset(place, 0, bytes);
            op = act(p, op_of(FAR_BLOCK_READ, 1024, bytes, 0, 3), place);
            ck_assert_int_eq(op.status, 0);
            ck_assert_mem_eq(place, data, bytes);
        }
        ck_assert_int_eq(
            act(p, op_of(FAR_BLOCK_FLUSH, 0, 0, 0, 0), NULL).status, 0);
        free(data);
        free(back);
    }
    port_free(p);
}
END_TEST

START_TEST(a_discarded_range_reads_as_zeros_and_frees_its_room)
{
    struct port *p = use();
    uint8_t *data = pattern(MIB, 2), *back = malloc(MIB), zero[4096] = { 0 };
    struct stat before, after;

    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_WRITE, 0, MIB, FAR_BLOCK_FUA, 0), data).status,
        0);
    fstat(file, &before);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_DISCARD, 65536, 65536, 0, 0), NULL).status, 0);
    fstat(file, &after);
    ck_assert_int_lt(after.st_blocks, before.st_blocks);
    ck_assert_int_eq(act(p, op_of(FAR_BLOCK_READ, 0, MIB, 0, 0), back).status,
                     0);
    ck_assert_mem_eq(back, data, 65536);
    ck_assert_mem_eq(back + 65536, zero, sizeof(zero));
    ck_assert_mem_eq(back + 131072, data + 131072, MIB - 131072);
    /* it can't promise that nothing is left */
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_DISCARD, 0, 4096, FAR_BLOCK_SECURE, 0), NULL)
            .status,
        -EOPNOTSUPP);
    free(data);
    free(back);
    port_free(p);
}
END_TEST

START_TEST(a_file_that_has_become_shorter_answers_with_an_error_and_says_so)
{
    struct port *p = use();
    uint8_t back[8192];
    struct far_op op;
    unsigned states = p->states;

    ck_assert_int_eq(ftruncate(file, MIB), 0);
    op = act(p, op_of(FAR_BLOCK_READ, MIB - 4096, 8192, 0, 0), back);
    ck_assert_int_eq(op.status, -EIO);
    ck_assert_uint_eq(op.payload_bytes, 0);
    turn_until(loop, p->states > states);
    ck_assert_uint_eq(props_of(p).bytes, MIB);
    op = act(p, op_of(FAR_BLOCK_READ, MIB - 4096, 8192, 0, 0), back);
    ck_assert_int_eq(op.status, -ENOSPC);
    port_free(p);
}
END_TEST

START_TEST(a_file_that_has_grown_is_told_of)
{
    struct port *p = use();
    unsigned states = p->states;
    uint8_t back[512];

    ck_assert_uint_eq(props_of(p).bytes, 4 * MIB);
    ck_assert_int_eq(ftruncate(file, 6 * MIB + 100), 0);
    turn_until(loop, p->states > states);
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    ck_assert_uint_eq(props_of(p).bytes, 6 * MIB);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_READ, 6 * MIB - 512, 512, 0, 0), back).status,
        0);
    port_free(p);
}
END_TEST

START_TEST(a_file_that_can_not_grow_answers_with_the_systems_error)
{
    struct port *p;
    struct rlimit limit = { 2 * MIB, 2 * MIB };
    uint8_t *data = pattern(MIB, 3);

    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    p = use();
    ck_assert_int_eq(act(p, op_of(FAR_BLOCK_WRITE, 0, 4096, 0, 0), data).status,
                     0);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_WRITE, 3 * MIB, 4096, 0, 0), data).status,
        -EFBIG);
    free(data);
    port_free(p);
}
END_TEST

START_TEST(a_read_only_file_is_not_written_and_has_many_users)
{
    struct port *p, *q;
    uint8_t back[512];

    load("read-only = yes\ncdrom = yes\n");
    p = use();
    q = use();
    ck_assert_uint_eq(props_of(p).can, FAR_BLOCK_CAN_FLUSH | FAR_BLOCK_CDROM |
                                           FAR_BLOCK_REMOVABLE);
    ck_assert_int_eq(act(p, op_of(FAR_BLOCK_WRITE, 0, 512, 0, 0), back).status,
                     -EROFS);
    ck_assert_int_eq(act(q, op_of(FAR_BLOCK_READ, 0, 512, 0, 0), back).status,
                     0);
    port_free(p);
    port_free(q);
}
END_TEST

START_TEST(one_guest_at_a_time_may_write_and_the_next_one_gets_it_by_itself)
{
    struct port *p = use(), *q = open_for("other");
    uint8_t data[512] = { 1 };

    far_layer_activate(q->layer.below, 0, 0);
    ck_assert_int_eq(q->state, FAR_DEVICE_GONE);
    ck_assert_str_eq(q->reason, "disk0: is in use by guest guest");
    ck_assert_int_eq(act(q, op_of(FAR_BLOCK_WRITE, 0, 512, 0, 0), data).status,
                     -ENODEV);
    port_free(p);
    turn_until(loop, q->state == FAR_DEVICE_READY);
    ck_assert_int_eq(act(q, op_of(FAR_BLOCK_WRITE, 0, 512, 0, 0), data).status,
                     0);
    port_free(q);
}
END_TEST

START_TEST(a_file_that_another_process_has_locked_is_waited_for)
{
    struct flock range = { .l_type = F_WRLCK };
    struct port *p = open_for("guest");

    ck_assert_int_eq(fcntl(file, F_OFD_SETLK, &range), 0);
    far_layer_activate(p->layer.below, 0, 0);
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    turn_for(loop, 50000);
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    range.l_type = F_UNLCK;
    ck_assert_int_eq(fcntl(file, F_OFD_SETLK, &range), 0);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    range.l_type = F_RDLCK;
    ck_assert_int_eq(fcntl(file, F_OFD_SETLK, &range), -1);
    port_free(p);
    ck_assert_int_eq(fcntl(file, F_OFD_SETLK, &range), 0);
}
END_TEST

START_TEST(a_user_that_closes_with_writes_under_way_leaves_them_whole)
{
    for (unsigned round = 0; round < 20; round++) {
        struct port *p = use(), *q;
        uint8_t *data = pattern(65536, (uint8_t)round), *back = malloc(65536);

        for (uint32_t slot = 0; slot < 32; slot++) {
            struct far_op op =
                op_of(FAR_BLOCK_WRITE, slot * 65536, 65536, 0, slot);
            void *place = far_layer_place(p->layer.below, slot, 65536);

            memcpy(place, data, 65536);
            far_layer_submit(p->layer.below, &op, place);
        }
        if (round % 2)
            far_loop_turn(loop, 0);
        port_free(p);
        q = use(); /* ready only when they are over */
        for (uint32_t slot = 0; slot < 32; slot++) {
            ck_assert_int_eq(
                act(q, op_of(FAR_BLOCK_READ, slot * 65536, 65536, 0, slot),
                    back)
                    .status,
                0);
            ck_assert_mem_eq(back, data, 65536);
        }
        port_free(q);
        free(data);
        free(back);
    }
}
END_TEST

START_TEST(a_device_that_a_reload_takes_away_ends_its_operations_first)
{
    struct port *p = use();
    uint8_t *data = pattern(65536, 9);

    for (uint32_t slot = 0; slot < 32; slot++) {
        struct far_op op = op_of(FAR_BLOCK_WRITE, 0, 65536, 0, slot);

        far_layer_submit(p->layer.below, &op, data);
    }
    load("read-only = yes\n"); /* another section: another device */
    turn_until(loop, p->state == FAR_DEVICE_READY);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_WRITE, 0, 65536, 0, 0), data).status, -EROFS);
    free(data);
    port_free(p);
}
END_TEST

#ifdef HAVE_LIBURING
START_TEST(more_than_the_queue_holds_waits_for_the_kernel)
{
    enum { USERS = 3, OPS = 128 };
    struct port *p[USERS];
    uint8_t *data = pattern(OPS * 512, 4), *back = calloc(USERS * OPS, 512);

    ck_assert_int_eq(pwrite(file, data, OPS * 512, 0), OPS * 512);
    load("read-only = yes\n");
    for (unsigned u = 0; u < USERS; u++)
        p[u] = use();
    kernel_is_busy = true;
    for (unsigned i = 0; i < USERS * OPS; i++) {
        struct far_op op =
            op_of(FAR_BLOCK_READ, i % OPS * 512, 512, 0, i % OPS);

        ck_assert_int_eq(
            far_layer_submit(p[i / OPS]->layer.below, &op, back + i * 512),
            FAR_LATER);
    }
    for (unsigned i = 0; i < 3; i++)
        far_loop_turn(loop, 1);
    kernel_is_busy = false;
    for (unsigned u = 0; u < USERS; u++) {
        turn_until(loop, p[u]->completed == OPS);
        ck_assert_mem_eq(back + u * OPS * 512, data, OPS * 512);
        port_free(p[u]);
    }
    free(data);
    free(back);
}
END_TEST
#endif

START_TEST(what_is_outside_or_no_whole_block_is_refused)
{
    struct port *p;
    uint8_t *data = pattern(8192, 0);

    load("sector = 4096\n");
    p = use();
    ck_assert_uint_eq(props_of(p).block_bytes, 4096);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_WRITE, 512, 4096, 0, 0), data).status, -EINVAL);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_WRITE, 4 * MIB - 4096, 8192, 0, 0), data).status,
        -ENOSPC);
    ck_assert_int_eq(
        act(p, op_of(FAR_BLOCK_READ, UINT64_MAX - 4095, 4096, 0, 0), data)
            .status,
        -ENOSPC);
    free(data);
    port_free(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file");
    TCase *tc = tcase_create("io_uring"), *plain = tcase_create("plain");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_is_written_is_read_wherever_the_payload_lies);
    tcase_add_test(tc, a_discarded_range_reads_as_zeros_and_frees_its_room);
    tcase_add_test(
        tc, a_file_that_has_become_shorter_answers_with_an_error_and_says_so);
    tcase_add_test(tc, a_file_that_has_grown_is_told_of);
    tcase_add_test(tc, a_file_that_can_not_grow_answers_with_the_systems_error);
    tcase_add_test(tc, a_read_only_file_is_not_written_and_has_many_users);
    tcase_add_test(
        tc, one_guest_at_a_time_may_write_and_the_next_one_gets_it_by_itself);
    tcase_add_test(tc, a_file_that_another_process_has_locked_is_waited_for);
    tcase_add_test(tc,
                   a_user_that_closes_with_writes_under_way_leaves_them_whole);
    tcase_add_test(tc,
                   a_device_that_a_reload_takes_away_ends_its_operations_first);
    tcase_add_test(tc, what_is_outside_or_no_whole_block_is_refused);
#ifdef HAVE_LIBURING
    tcase_add_test(tc, more_than_the_queue_holds_waits_for_the_kernel);
#endif
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(plain, setup_plain, teardown);
    tcase_add_test(plain, what_is_written_is_read_wherever_the_payload_lies);
    tcase_add_test(plain, a_discarded_range_reads_as_zeros_and_frees_its_room);
    tcase_add_test(
        plain,
        a_file_that_has_become_shorter_answers_with_an_error_and_says_so);
    suite_add_tcase(suite, plain);
    return suite_end(suite);
}
