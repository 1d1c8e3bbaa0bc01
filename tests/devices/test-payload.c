/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ops with payload through the local protocol: what is copied and what is not,
 * what is sent again after a loss, in which order, and peers that promise other
 * lengths than they bring.
 */
#include "tests/devices/harness.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "core/block.h"
#include "devices/local-server.h"

#define BYTES 8192u
#define OPS   256u

static char dir[64], path[96];
static struct far_loop *loop;
static struct far_local_server *server;
static struct far_local_client *client;

/* A device that answers when it is told to. */
static struct {
    struct far_layer layer;
    unsigned submitted;
    struct far_op ops[OPS];
    uint8_t *payloads[OPS];
} disk;

static enum far_verdict disk_submit(struct far_layer *layer, struct far_op *op,
                                    void *payload)
{
    (void)layer;
    ck_assert_uint_lt(disk.submitted, OPS);
    disk.ops[disk.submitted] = *op;
    disk.payloads[disk.submitted++] = payload;
    return FAR_LATER;
}

static void disk_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct far_layer_news news = { .incarnation = 5, .device_incarnation = 6 };

    (void)incarnation;
    (void)received;
    far_layer_state(layer->above, FAR_DEVICE_READY, &news);
}

static void disk_close(struct far_layer *layer)
{
    (void)layer;
}

static const struct far_layer_ops disk_ops = {
    .name = "disk",
    .submit = disk_submit,
    .activate = disk_activate,
    .close = disk_close,
};

static int open_disk(void *arg, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    (void)arg;
    (void)who;
    (void)error;
    disk.layer.above = NULL;
    *layer = &disk.layer;
    return 0;
}

static void server_start(void)
{
    const struct far_local_server_ops ops = { .open = open_disk };
    struct far_error error = { 0 };

    server = far_local_server_new(loop, NULL, path, "borealis", &ops, &error);
    ck_assert_msg(server != NULL, "%s", error.text);
}

static void server_stop(void)
{
    far_local_server_free(server);
    server = NULL;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/farside-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/devices.sock", dir);
    loop = far_loop_new();
    ck_assert_ptr_nonnull(loop);
    client = far_local_client_new(loop, NULL, path, "atlas");
    ck_assert_ptr_nonnull(client);
    memset(&disk, 0, sizeof(disk));
    disk.layer.ops = &disk_ops;
}

static void teardown(void)
{
    far_local_client_free(client);
    far_local_server_free(server);
    server = NULL;
    far_loop_free(loop);
    unlink(path);
    rmdir(dir);
}

static struct far_local_who who(void)
{
    struct far_local_who w = who_of("disk0", 1);

    w.class = FAR_CLASS_BLOCK;
    return w;
}

static struct port *attach(void)
{
    struct far_local_who w = who();
    struct far_layer *layer;
    struct far_error error = { 0 };
    struct port *p;

    ck_assert_int_eq(far_local_client_open(client, &w, &layer, &error), 0);
    p = port_new(layer);
    far_layer_activate(layer, 0, 0);
    return p;
}

static struct far_op op_of(uint32_t slot, uint64_t sequence, uint16_t way)
{
    struct far_op op = { .sequence = sequence,
                         .slot = slot,
                         .opcode = way & FAR_OP_SENDS ? FAR_BLOCK_WRITE
                                                      : FAR_BLOCK_READ,
                         .flags = way,
                         .payload_bytes = BYTES };

    return op;
}

static void submit(struct port *p, struct far_op op, void *payload)
{
    ck_assert_int_eq(far_layer_submit(p->layer.below, &op, payload), FAR_LATER);
}

static int refused(struct port *p, struct far_op op, void *payload)
{
    ck_assert_int_eq(far_layer_submit(p->layer.below, &op, payload), FAR_DONE);
    return op.status;
}

static void answer(unsigned i)
{
    far_layer_complete(disk.layer.above, &disk.ops[i]);
}

static void filled_with(const uint8_t *memory, uint8_t byte)
{
    for (unsigned i = 0; i < BYTES; i++)
        ck_assert_uint_eq(memory[i], byte);
}

START_TEST(a_payload_goes_to_the_device_and_another_comes_back)
{
    static uint8_t out[BYTES], in[BYTES];
    struct port *p;

    server_start();
    p = attach();
    turn_until(loop, p->state == FAR_DEVICE_READY);
    ck_assert_uint_eq(p->news.device_incarnation, 6);
    memset(out, 0x77, BYTES);
    submit(p, op_of(63, 1, FAR_OP_SENDS), out);
    submit(p, op_of(0, 1, FAR_OP_RECEIVES), in);
    turn_until(loop, disk.submitted == 2);
    ck_assert_uint_eq(disk.ops[0].flags & ~(uint32_t)FAR_OP_TIMED,
                      FAR_OP_SENDS);
    filled_with(disk.payloads[0], 0x77);
    memset(disk.payloads[1], 0x55, BYTES);
    answer(0);
    answer(1);
    turn_until(loop, p->completed == 2);
    ck_assert_uint_eq(p->last_complete.payload_bytes, BYTES);
    ck_assert_uint_eq(p->last_complete.flags & ~(uint32_t)FAR_OP_TIMED,
                      FAR_OP_RECEIVES);
    filled_with(in, 0x55);
    port_free(p);
}
END_TEST

START_TEST(a_payload_that_lies_in_its_place_is_not_copied)
{
    struct port *p = attach();
    uint8_t *place = far_layer_place(p->layer.below, 7, BYTES);
    uint8_t *other = far_layer_place(p->layer.below, 8, BYTES);

    /* Before there is a server, too. */
    ck_assert_ptr_nonnull(place);
    ck_assert_ptr_null(far_layer_place(p->layer.below, 7, 2u << 20));
    ck_assert_ptr_null(far_layer_place(p->layer.below, 64, 1));
    memset(place, 0x31, BYTES);
    submit(p, op_of(7, 1, FAR_OP_SENDS), place);
    submit(p, op_of(8, 1, FAR_OP_RECEIVES), other);
    server_start();
    turn_until(loop, disk.submitted == 2);
    filled_with(disk.payloads[0], 0x31);
    place[5] = 0x32; /* the same memory */
    ck_assert_uint_eq(disk.payloads[0][5], 0x32);
    disk.payloads[1][BYTES - 1] = 0x33;
    ck_assert_uint_eq(other[BYTES - 1], 0x33);
    ck_assert_ptr_eq(far_layer_place(p->layer.below, 7, BYTES), place);
    port_free(p);
}
END_TEST

START_TEST(after_a_loss_all_repeats_come_first_and_in_order_with_what_was_sent)
{
    static uint8_t own[BYTES], late[BYTES];
    struct port *p;
    uint8_t *place;
    unsigned i;

    server_start();
    p = attach();
    turn_until(loop, p->state == FAR_DEVICE_READY);
    place = far_layer_place(p->layer.below, 9, BYTES);
    memset(own, 0x41, BYTES);
    memset(place, 0x42, BYTES);
    memset(late, 0x43, BYTES);
    submit(p, op_of(20, 4, FAR_OP_SENDS), own);
    submit(p, op_of(9, 5, FAR_OP_SENDS), place);
    submit(p, op_of(3, 6, FAR_OP_RECEIVES), own);
    turn_until(loop, disk.submitted == 3);
    ck_assert_uint_eq(disk.ops[0].flags & FAR_OP_REPEAT, 0);
    for (unsigned round = 0; round < 3; round++) {
        server_stop();
        turn_until(loop, p->state == FAR_DEVICE_GONE);
        if (round == 0)
            submit(p, op_of(1, 7, FAR_OP_SENDS), late);
        disk.submitted = 0;
        server_start();
        turn_until(loop, p->state == FAR_DEVICE_READY && disk.submitted >= 3);
        turn_for(loop, 3000);
        ck_assert_uint_eq(disk.submitted, 3);
        for (i = 0; i < 3; i++) {
            ck_assert_uint_eq(disk.ops[i].sequence, 4 + i);
            ck_assert_uint_eq(disk.ops[i].flags & FAR_OP_REPEAT, FAR_OP_REPEAT);
        }
        filled_with(disk.payloads[0], 0x41);
        filled_with(disk.payloads[1], 0x42);
    }
    answer(1);
    answer(0);
    turn_for(loop, 3000);
    ck_assert_uint_eq(disk.submitted, 3);
    answer(2);
    turn_until(loop, disk.submitted == 4);
    ck_assert_uint_eq(disk.ops[3].flags & FAR_OP_REPEAT, 0);
    filled_with(disk.payloads[3], 0x43);
    answer(3);
    turn_until(loop, p->completed == 4);
    port_free(p);
}
END_TEST

START_TEST(what_no_layer_may_submit_is_refused)
{
    static uint8_t own[BYTES];
    struct port *p = attach();
    struct far_op op = op_of(64, 1, FAR_OP_SENDS);

    ck_assert_int_eq(refused(p, op, own), -EINVAL);
    op = op_of(1, 1, FAR_OP_SENDS | FAR_OP_RECEIVES);
    ck_assert_int_eq(refused(p, op, own), -EINVAL);
    op = op_of(1, 1, 0);
    ck_assert_int_eq(refused(p, op, own), -EINVAL);
    op = op_of(1, 1, FAR_OP_SENDS);
    ck_assert_int_eq(refused(p, op, NULL), -EINVAL);
    op.payload_bytes = (128u << 10) + 1;
    ck_assert_int_eq(refused(p, op, own), -EMSGSIZE);
    submit(p, op_of(1, 1, FAR_OP_SENDS), own);
    ck_assert_int_eq(refused(p, op_of(1, 2, FAR_OP_SENDS), own), -EBUSY);
    port_free(p);
}
END_TEST

START_TEST(a_device_that_answers_twice_or_too_much_is_not_believed)
{
    static uint8_t own[BYTES];
    struct port *p;

    server_start();
    p = attach();
    turn_until(loop, p->state == FAR_DEVICE_READY);
    submit(p, op_of(1, 1, FAR_OP_RECEIVES), own);
    submit(p, op_of(2, 1, FAR_OP_SENDS), own);
    turn_until(loop, disk.submitted == 2);
    disk.ops[0].payload_bytes = BYTES + 1;
    disk.ops[1].status = -EIO;
    answer(0);
    answer(0);
    turn_until(loop, p->completed == 1);
    ck_assert_int_eq(p->last_complete.status, -EIO);
    answer(0);
    answer(1);
    answer(1);
    turn_until(loop, p->completed == 2);
    turn_for(loop, 3000);
    ck_assert_uint_eq(p->completed, 2);
    ck_assert_uint_eq(p->last_complete.payload_bytes, 0);
    ck_assert_str_eq(far_local_client_reason(client), "connected");
    port_free(p);
}
END_TEST

/* ---- a server that is not trusted ---- */

struct fake {
    int listen_fd, fd;
    struct far_local_shm shm;
};

static void receive(int fd, uint32_t type, void *message, int fds[3])
{
    unsigned nfds = 3;
    int r = 0;

    turn_until(loop, (nfds = 3,
                      r = far_local_receive(fd, message, FAR_LOCAL_BYTES_MAX,
                                            fds, &nfds),
                      r > 0 && *(uint32_t *)message == type));
}

static void say_hello(int fd)
{
    struct far_local_hello m = { .type = FAR_LOCAL_HELLO,
                                 .bytes = sizeof(m),
                                 .magic = FAR_LOCAL_MAGIC,
                                 .version = FAR_LOCAL_VERSION };

    ck_assert_int_eq(far_local_send(fd, &m, NULL, 0), 0);
}

static void fake_listen(struct fake *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    f->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(
        bind(f->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(f->listen_fd, 4), 0);
}

static void fake_serve(struct fake *f)
{
    static _Alignas(8) char raw[FAR_LOCAL_BYTES_MAX];
    struct far_local_prepared prepared = { .type = FAR_LOCAL_PREPARED,
                                           .bytes = sizeof(prepared),
                                           .attachment = 1,
                                           .turn = 1,
                                           .incarnation = 77 };
    struct far_local_activated activated = { .type = FAR_LOCAL_ACTIVATED,
                                             .bytes = sizeof(activated),
                                             .attachment = 1,
                                             .turn = 2,
                                             .incarnation = 77 };
    struct far_local_prepare m;
    int fds[3];

    turn_until(loop,
               (f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
    say_hello(f->fd);
    receive(f->fd, FAR_LOCAL_PREPARE, raw, fds);
    memcpy(&m, raw, sizeof(m));
    ck_assert_int_eq(far_local_slots(m.arena_bytes, m.slot_bytes), 64);
    ck_assert_int_eq(far_local_shm_open(&f->shm, fds[0], fds[1], fds[2],
                                        m.down_entries, m.up_entries,
                                        m.arena_bytes),
                     0);
    ck_assert_int_eq(far_local_send(f->fd, &prepared, NULL, 0), 0);
    receive(f->fd, FAR_LOCAL_ACTIVATE, raw, fds);
    ck_assert_int_eq(far_local_send(f->fd, &activated, NULL, 0), 0);
}

static void fake_get(struct fake *f, struct far_op *op)
{
    turn_until(loop, far_shring_get(&f->shm.down, op) == 1);
}

static void fake_put(struct fake *f, const struct far_op *op)
{
    uint64_t one = 1;

    ck_assert_int_eq(far_shring_put(&f->shm.up, op), 0);
    ck_assert_int_eq(write(f->shm.to_client, &one, 8), 8);
}

static void fake_hang_up(struct fake *f)
{
    far_local_shm_close(&f->shm);
    close(f->fd);
}

START_TEST(a_server_that_answers_with_more_than_it_was_asked_is_given_up)
{
    static uint8_t own[BYTES];
    struct fake f;
    struct port *p;
    struct far_op op;

    fake_listen(&f);
    p = attach();
    for (unsigned i = 0; i < 3; i++) {
        unsigned before = p->completed;

        fake_serve(&f);
        submit(p, op_of(2, 1 + i, i == 2 ? FAR_OP_SENDS : FAR_OP_RECEIVES),
               own);
        fake_get(&f, &op);
        if (i == 0) /* of memory that is not its slot's */
            op.payload_bytes = BYTES + 1;
        else if (i == 1) /* of nothing */
            op.sequence++;
        fake_put(&f, &op);
        turn_until(loop, strstr(p->reason, "nonsense"));
        if (i != 1) {
            ck_assert_uint_eq(p->completed, before + 1);
            ck_assert_int_eq(p->last_complete.status, -EPROTO);
        }
        fake_hang_up(&f);
        if (i == 1) { /* that op still waits: it is answered properly now */
            fake_serve(&f);
            fake_get(&f, &op);
            ck_assert_uint_eq(op.flags & ~(uint32_t)FAR_OP_TIMED,
                              FAR_OP_RECEIVES | FAR_OP_REPEAT);
            fake_put(&f, &op);
            turn_until(loop, p->completed == before + 1);
            fake_hang_up(&f);
        }
    }
    close(f.listen_fd);
    port_free(p);
}
END_TEST

START_TEST(late_input_of_a_dead_server_does_not_reach_the_new_memory)
{
    struct fake f, dead;
    struct port *p;
    struct far_op op;
    uint8_t *place, *copy;

    fake_listen(&f);
    p = attach();
    place = far_layer_place(p->layer.below, 0, BYTES);
    memset(place, 0x11, BYTES);
    submit(p, op_of(0, 1, FAR_OP_SENDS), place);
    fake_serve(&f);
    fake_get(&f, &op);
    filled_with(f.shm.arena, 0x11);
    dead = f;
    close(f.fd); /* but its memory stays, as with I/O that is under way */
    fake_serve(&f);
    fake_get(&f, &op);
    memset(dead.shm.arena, 0x66, BYTES);
    copy = f.shm.arena;
    filled_with(copy, 0x11);
    filled_with(place, 0x11);
    far_local_shm_close(&dead.shm);
    fake_hang_up(&f);
    close(f.listen_fd);
    port_free(p);
}
END_TEST

/* ---- a client that is not trusted ---- */

START_TEST(a_client_with_payloads_that_can_not_be_is_thrown_out)
{
    const struct far_op good = { .attachment = 1,
                                 .sequence = 1,
                                 .opcode = FAR_BLOCK_WRITE,
                                 .flags = FAR_OP_SENDS,
                                 .payload_bytes = 512 };
    struct far_op bad[6];

    server_start();
    for (unsigned i = 0; i < 6; i++)
        bad[i] = good;
    bad[0].payload_bytes = 513;                    /* longer than a slot */
    bad[1].flags = 0;                              /* neither way */
    bad[2].flags = FAR_OP_SENDS | FAR_OP_RECEIVES; /* both */
    bad[3].slot = 2;                               /* behind the arena */
    bad[4].slot = 64;                              /* no slot */
    bad[4].payload_bytes = 0;
    bad[5].sequence = 2; /* a slot that is in use */
    for (unsigned i = 0; i < 6; i++) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct far_local_prepare m = { .type = FAR_LOCAL_PREPARE,
                                       .bytes = sizeof(m),
                                       .who = who(),
                                       .down_entries = 64,
                                       .up_entries = 64,
                                       .arena_bytes = 1024,
                                       .slot_bytes = 512 };
        struct far_local_activate activate = { .type = FAR_LOCAL_ACTIVATE,
                                               .bytes = sizeof(activate),
                                               .attachment = 1 };
        struct far_local_shm shm;
        char raw[FAR_LOCAL_BYTES_MAX];
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0), fds[3];
        ssize_t n = 0;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        ck_assert_int_eq(
            connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        say_hello(fd);
        ck_assert_int_eq(far_local_shm_create(&shm, 64, 64, 1024), 0);
        fds[0] = shm.memfd;
        fds[1] = shm.to_server_read;
        fds[2] = shm.to_client;
        ck_assert_int_eq(far_local_send(fd, &m, fds, 3), 0);
        ck_assert_int_eq(far_local_send(fd, &activate, NULL, 0), 0);
        disk.submitted = 0;
        ck_assert_int_eq(far_shring_put(&shm.down, &good), 0);
        far_local_wake_server(&shm);
        turn_until(loop, disk.submitted == 1);
        if (i < 5)
            answer(0);
        ck_assert_int_eq(far_shring_put(&shm.down, &bad[i]), 0);
        far_local_wake_server(&shm);
        turn_until(loop, (n = recv(fd, raw, sizeof(raw), MSG_DONTWAIT)) == 0 ||
                             (n < 0 && errno == ECONNRESET));
        ck_assert_uint_eq(disk.submitted, 1);
        close(fd);
        far_local_shm_close(&shm);
    }
}
END_TEST

START_TEST(sizes_of_an_arena_are_judged)
{
    ck_assert_int_eq(far_local_slots(0, 0), 0);
    ck_assert_int_eq(far_local_slots(8u << 20, 128u << 10), 64);
    ck_assert_int_eq(far_local_slots(1024, 512), 2);
    ck_assert_int_eq(far_local_slots(1024, 0), -EINVAL);
    ck_assert_int_eq(far_local_slots(0, 512), -EINVAL);
    ck_assert_int_eq(far_local_slots(1024, 500), -EINVAL);
    ck_assert_int_eq(far_local_slots(1024, 768), -EINVAL);
    ck_assert_int_eq(far_local_slots(65 * 512, 512), -EINVAL);
    ck_assert_int_eq(far_local_slots(2u << 20, 2u << 20), -EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("payload");
    TCase *c = tcase_create("both"), *b = tcase_create("bad peers");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_payload_goes_to_the_device_and_another_comes_back);
    tcase_add_test(c, a_payload_that_lies_in_its_place_is_not_copied);
    tcase_add_test(
        c, after_a_loss_all_repeats_come_first_and_in_order_with_what_was_sent);
    tcase_add_test(c, what_no_layer_may_submit_is_refused);
    tcase_add_test(c, sizes_of_an_arena_are_judged);
    suite_add_tcase(suite, c);

    tcase_add_checked_fixture(b, setup, teardown);
    tcase_set_timeout(b, 60);
    tcase_add_test(b, a_device_that_answers_twice_or_too_much_is_not_believed);
    tcase_add_test(
        b, a_server_that_answers_with_more_than_it_was_asked_is_given_up);
    tcase_add_test(b,
                   late_input_of_a_dead_server_does_not_reach_the_new_memory);
    tcase_add_test(b, a_client_with_payloads_that_can_not_be_is_thrown_out);
    suite_add_tcase(suite, b);
    return suite_end(suite);
}
