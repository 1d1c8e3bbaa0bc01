/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The local device protocol's common half: which messages are well formed,
 * which shared memory is safe to map, and that packets and descriptors arrive.
 */
#include "core/local.h"
#include "tests/core/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct far_local_prepare prepare(void)
{
    struct far_local_prepare m = {
        .type = FAR_LOCAL_PREPARE,
        .bytes = sizeof(m),
        .who = { .attachment = 1,
                 .guest_name = "g1 (any text)",
                 .platform = "borealis",
                 .device = "kbd0",
                 .class = FAR_CLASS_INPUT },
        .down_entries = 64,
        .up_entries = 64,
    };

    return m;
}

static bool valid(const void *message)
{
    uint32_t head[2];

    memcpy(head, message, sizeof(head));
    return far_local_valid(message, head[1]);
}

START_TEST(well_formed_messages_are_valid)
{
    struct far_local_hello hello = {
        FAR_LOCAL_HELLO, sizeof(hello), FAR_LOCAL_MAGIC, 0, "atlas", 1, 0
    };
    struct far_local_prepare p = prepare();
    struct far_local_prepared prepared = { .type = FAR_LOCAL_PREPARED,
                                           .bytes = sizeof(prepared),
                                           .attachment = 1,
                                           .status = -ENOENT,
                                           .reason = "no such device" };
    struct far_local_activate activate = { FAR_LOCAL_ACTIVATE, sizeof(activate),
                                           1, 0, 0 };
    struct far_local_activated activated = { .type = FAR_LOCAL_ACTIVATED,
                                             .bytes = sizeof(activated),
                                             .attachment = 1 };
    struct far_local_state state = { .type = FAR_LOCAL_STATE,
                                     .bytes = sizeof(state),
                                     .attachment = 1,
                                     .state = FAR_DEVICE_READY };
    struct far_local_detach detach = { FAR_LOCAL_DETACH, sizeof(detach), 1, 0 };

    ck_assert(valid(&hello));
    ck_assert(valid(&p));
    ck_assert(valid(&prepared));
    ck_assert(valid(&activate));
    ck_assert(valid(&activated));
    ck_assert(valid(&state));
    ck_assert(valid(&detach));
    detach.type = FAR_LOCAL_ACK;
    ck_assert(valid(&detach));
    detach.type = 77;
    ck_assert_msg(valid(&detach), "an unknown type is for the caller to skip");
}
END_TEST

START_TEST(a_longer_message_than_known_is_valid)
{
    struct {
        struct far_local_prepare known;
        char more[100];
    } m = { .known = prepare() };

    m.known.bytes = sizeof(m);
    ck_assert(valid(&m));
}
END_TEST

START_TEST(a_size_that_is_not_the_packets_is_refused)
{
    struct far_local_prepare m = prepare();

    ck_assert(!far_local_valid(&m, sizeof(m) - 1));
    ck_assert(!far_local_valid(&m, sizeof(m) + 1));
    ck_assert(!far_local_valid(&m, 4));
    ck_assert(!far_local_valid(&m, 0));
    m.bytes = sizeof(m) - 8; /* shorter than its type wants */
    ck_assert(!valid(&m));
}
END_TEST

START_TEST(a_string_that_does_not_end_is_refused)
{
    struct far_local_prepare m = prepare();
    struct far_local_state state = { .type = FAR_LOCAL_STATE,
                                     .bytes = sizeof(state),
                                     .attachment = 1 };

    memset(m.who.guest_name, 'x', FAR_NAME_BYTES);
    ck_assert(!valid(&m));
    m = prepare();
    memset(m.who.device, 'x', FAR_NAME_BYTES);
    ck_assert(!valid(&m));
    m = prepare();
    memset(m.who.standby, 'x', FAR_NAME_BYTES);
    ck_assert(!valid(&m));
    memset(state.reason, 'x', sizeof(state.reason));
    ck_assert(!valid(&state));
}
END_TEST

START_TEST(a_name_that_is_none_is_refused)
{
    struct far_local_prepare m = prepare();
    struct far_local_hello hello = {
        FAR_LOCAL_HELLO, sizeof(hello), FAR_LOCAL_MAGIC, 0, "at/las", 1, 0
    };

    strcpy(m.who.device, "../kbd0");
    ck_assert(!valid(&m));
    m.who.device[0] = '\0';
    ck_assert(!valid(&m));
    m = prepare();
    strcpy(m.who.platform, "a b");
    ck_assert(!valid(&m));
    ck_assert(!valid(&hello));
}
END_TEST

START_TEST(values_that_mean_nothing_are_refused)
{
    struct far_local_prepare m = prepare();
    struct far_local_hello hello = {
        FAR_LOCAL_HELLO, sizeof(hello), FAR_LOCAL_MAGIC + 1, 0, "atlas", 1, 0
    };
    struct far_local_prepared prepared = { .type = FAR_LOCAL_PREPARED,
                                           .bytes = sizeof(prepared),
                                           .attachment = 1,
                                           .status = 5 };
    struct far_local_state state = { .type = FAR_LOCAL_STATE,
                                     .bytes = sizeof(state),
                                     .attachment = 1,
                                     .state = 2 };

    m.who.attachment = 0;
    ck_assert(!valid(&m));
    ck_assert(!valid(&hello));
    ck_assert(!valid(&prepared));
    ck_assert(!valid(&state));
}
END_TEST

START_TEST(fed_events_must_fit_their_count)
{
    struct far_local_feed m = { .type = FAR_LOCAL_FEED,
                                .bytes = sizeof(m),
                                .device = "typist",
                                .count = 64 };
    struct {
        struct far_local_feed known;
        char more[64];
    } longer = { .known = m };

    ck_assert(valid(&m));
    m.count = 65;
    ck_assert(!valid(&m));
    longer.known.bytes = sizeof(longer);
    ck_assert(valid(&longer));
    longer.known.count = 65; /* they are there, but not known */
    ck_assert(!valid(&longer));
    m.count = 0x08000001; /* times 32 it wraps to 32 */
    ck_assert(!valid(&m));
    m.count = 2;
    m.bytes = offsetof(struct far_local_feed, events) +
              2 * sizeof(struct far_input_event);
    ck_assert(valid(&m));
    m.count = 3;
    ck_assert(!valid(&m));
}
END_TEST

START_TEST(parts_of_the_layout_do_not_overlap)
{
    struct far_local_layout l;

    for (uint32_t down = 2; down <= 4096; down *= 2)
        for (uint32_t up = 2; up <= 4096; up *= 8)
            for (uint32_t arena = 0; arena <= 65536;
                 arena = arena ? arena * 16 : 64) {
                ck_assert_int_eq(far_local_layout(&l, down, up, arena), 0);
                ck_assert_uint_ge(l.down, sizeof(struct far_local_header));
                ck_assert_uint_ge(l.up, l.down + far_shring_bytes(down));
                ck_assert_uint_ge(l.arena, l.up + far_shring_bytes(up));
                ck_assert_uint_ge(l.total_bytes, l.arena + arena);
                ck_assert_uint_eq((l.down | l.up | l.arena) % 64, 0);
            }
    ck_assert_int_eq(far_local_layout(&l, 64, 64, 0), 0);
    ck_assert_msg(l.total_bytes <= 12288, "a keyboard's takes three pages");
}
END_TEST

START_TEST(sizes_above_the_limits_are_refused)
{
    struct far_local_layout l;

    ck_assert_int_eq(far_local_layout(&l, 0, 64, 0), -EINVAL);
    ck_assert_int_eq(far_local_layout(&l, 64, 63, 0), -EINVAL);
    ck_assert_int_eq(far_local_layout(&l, 8192, 64, 0), -EINVAL);
    ck_assert_int_eq(far_local_layout(&l, 64, 64, 100), -EINVAL);
    ck_assert_int_eq(far_local_layout(&l, 64, 64, 128u << 20), -EINVAL);
    ck_assert_int_eq(far_local_layout(&l, 64, 64, 0x80000000u), -EINVAL);
}
END_TEST

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

START_TEST(what_the_client_makes_the_server_maps)
{
    unsigned before = open_descriptors();
    struct far_local_shm client, server;
    struct far_op op = { .attachment = 1, .sequence = 7 };

    ck_assert_int_eq(far_local_shm_create(&client, 64, 16, 4096), 0);
    ck_assert_int_eq(far_local_shm_open(&server, dup(client.memfd),
                                        dup(client.to_server_read),
                                        dup(client.to_client), 64, 16, 4096),
                     0);
    ck_assert_int_eq(far_shring_put(&client.down, &op), 0);
    op.sequence = 0;
    ck_assert_int_eq(far_shring_get(&server.down, &op), 1);
    ck_assert_uint_eq(op.sequence, 7);
    ck_assert_int_eq(far_shring_put(&server.up, &op), 0);
    ck_assert_int_eq(far_shring_get(&client.up, &op), 1);
    client.arena[4095] = 9;
    ck_assert_uint_eq(server.arena[4095], 9);
    atomic_store(&client.header->acked, 5);
    ck_assert_uint_eq(atomic_load(&server.header->acked), 5);
    far_local_shm_close(&client), far_local_shm_close(&server);
    far_local_shm_close(&client), far_local_shm_close(&server);
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

static int pipe_end(int flags)
{
    int ends[2];

    ck_assert_int_eq(pipe2(ends, flags), 0);
    close(ends[1]);
    return ends[0];
}

/* The server's answer to such a memfd; no descriptor may be left over. */
static int open_memfd(unsigned seals, off_t bytes)
{
    unsigned before = open_descriptors();
    struct far_local_shm shm;
    int fd = memfd_create("test", MFD_ALLOW_SEALING), rc;

    ck_assert_int_eq(ftruncate(fd, bytes), 0);
    if (seals)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    rc = far_local_shm_open(&shm, fd, pipe_end(O_NONBLOCK),
                            eventfd(0, EFD_NONBLOCK), 64, 64, 0);
    ck_assert_ptr_eq(shm.memory, rc == 0 ? shm.header : NULL);
    far_local_shm_close(&shm);
    ck_assert_uint_eq(open_descriptors(), before);
    return rc;
}

START_TEST(memory_that_is_not_sealed_against_shrinking_is_refused)
{
    ck_assert_int_eq(open_memfd(F_SEAL_SHRINK, 65536), 0);
    ck_assert_int_eq(open_memfd(0, 65536), -EPERM);
    ck_assert_int_eq(open_memfd(F_SEAL_GROW | F_SEAL_SEAL, 65536), -EPERM);
}
END_TEST

START_TEST(memory_that_is_too_short_is_refused)
{
    struct far_local_layout l;

    ck_assert_int_eq(far_local_layout(&l, 64, 64, 0), 0);
    ck_assert_int_eq(open_memfd(F_SEAL_SHRINK, (off_t)l.total_bytes), 0);
    ck_assert_int_eq(open_memfd(F_SEAL_SHRINK, (off_t)l.total_bytes - 1),
                     -EMSGSIZE);
    ck_assert_int_eq(open_memfd(F_SEAL_SHRINK, 0), -EMSGSIZE);
}
END_TEST

START_TEST(the_clients_memory_cannot_be_shrunk_by_anyone)
{
    struct far_local_shm shm;

    ck_assert_int_eq(far_local_shm_create(&shm, 64, 64, 0), 0);
    ck_assert_int_eq(ftruncate(shm.memfd, 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(fcntl(shm.memfd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    far_local_shm_close(&shm);
}
END_TEST

START_TEST(an_ordinary_file_is_no_shared_memory_and_no_wake_up)
{
    struct far_local_shm shm, client;
    char path[] = "/tmp/farside-local-XXXXXX";
    int file = mkstemp(path), pipes[2];

    unlink(path);
    ck_assert_int_eq(ftruncate(file, 65536), 0);
    ck_assert_int_lt(far_local_shm_open(&shm, dup(file), pipe_end(O_NONBLOCK),
                                        eventfd(0, EFD_NONBLOCK), 64, 64, 0),
                     0);
    ck_assert_int_eq(far_local_shm_create(&client, 64, 64, 0), 0);
    ck_assert_int_eq(far_local_shm_open(&shm, dup(client.memfd), file,
                                        eventfd(0, EFD_NONBLOCK), 64, 64, 0),
                     -EINVAL);
    ck_assert_int_eq(pipe2(pipes, O_NONBLOCK), 0);
    ck_assert_int_eq(far_local_shm_open(&shm, dup(client.memfd), pipes[0],
                                        pipes[1], 64, 64, 0),
                     -EINVAL);
    ck_assert_msg(far_local_shm_open(&shm, dup(client.memfd), pipe_end(0),
                                     eventfd(0, EFD_NONBLOCK), 64, 64,
                                     0) == -EINVAL,
                  "a wake-up that could block");
    ck_assert_msg(far_local_shm_open(&shm, dup(client.memfd),
                                     pipe_end(O_NONBLOCK), eventfd(0, 0), 64,
                                     64, 0) == -EINVAL,
                  "a wake-up that could block");
    far_local_shm_close(&client);
}
END_TEST

/* All that a server that has what it was sent can do to that. */
static void spoil(int to_server)
{
    char name[64], junk[4096] = { 0 };
    uint64_t most = UINT64_MAX - 1;
    int other;

    fcntl(to_server, F_SETFL, fcntl(to_server, F_GETFL) & ~O_NONBLOCK);
    if (write(to_server, &most, sizeof(most)) > 0)
        return; /* an eventfd: full, and blocking */
    snprintf(name, sizeof(name), "/proc/self/fd/%d", to_server);
    other = open(name, O_WRONLY | O_NONBLOCK);
    ck_assert_int_ge(other, 0);
    while (write(other, junk, sizeof(junk)) > 0)
        ;
    while (write(other, junk, 1) > 0)
        ;
    fcntl(other, F_SETFL, fcntl(other, F_GETFL) & ~O_NONBLOCK);
    close(other);
}

START_TEST(a_server_cannot_make_the_clients_wake_up_block_or_kill)
{
    struct far_local_shm client, server;

    ck_assert_int_eq(far_local_shm_create(&client, 64, 64, 0), 0);
    ck_assert_int_eq(far_local_shm_open(&server, dup(client.memfd),
                                        dup(client.to_server_read),
                                        dup(client.to_client), 64, 64, 0),
                     0);
    for (int i = 0; i < 100000; i++)
        far_local_wake_server(&client); /* nobody reads */
    spoil(server.to_server);
    far_local_wake_server(&client);
    far_local_shm_close(&server);
    far_local_wake_server(&client); /* no SIGPIPE either */
    far_local_shm_close(&client);
}
END_TEST

static int pair[2];

static void begin(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
}

static void end(void)
{
    close(pair[0]), close(pair[1]);
}

START_TEST(a_packet_arrives_with_its_descriptors)
{
    struct far_local_prepare m = prepare();
    uint8_t in[FAR_LOCAL_BYTES_MAX];
    struct far_local_shm shm;
    int fds[3];
    unsigned n = 3;

    begin();
    ck_assert_int_eq(far_local_shm_create(&shm, 64, 64, 0), 0);
    ck_assert_int_eq(far_local_receive(pair[1], in, sizeof(in), fds, &n),
                     -EAGAIN);
    ck_assert_uint_eq(n, 0);
    n = 3;
    fds[0] = shm.memfd, fds[1] = shm.to_server_read, fds[2] = shm.to_client;
    ck_assert_int_eq(far_local_send(pair[0], &m, fds, 3), 0);
    ck_assert_int_eq(far_local_receive(pair[1], in, sizeof(in), fds, &n),
                     sizeof(m));
    ck_assert_uint_eq(n, 3);
    ck_assert_int_eq(memcmp(in, &m, sizeof(m)), 0);
    ck_assert_int_ne(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, 0);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
    far_local_shm_close(&shm);
    close(pair[0]);
    ck_assert_int_eq(far_local_receive(pair[1], in, sizeof(in), NULL, NULL), 0);
    close(pair[1]);
}
END_TEST

START_TEST(descriptors_of_a_bad_packet_do_not_stay_open)
{
    struct far_local_prepare m = prepare();
    uint8_t in[FAR_LOCAL_BYTES_MAX];
    int fds[3] = { 0, 1, 2 };
    unsigned n = 3, before;

    begin();
    before = open_descriptors();
    m.who.attachment = 0;
    ck_assert_int_eq(far_local_send(pair[0], &m, fds, 3), 0);
    ck_assert_int_eq(far_local_receive(pair[1], in, sizeof(in), fds, &n),
                     -EBADMSG);
    ck_assert_uint_eq(n, 0);
    m = prepare();
    fds[0] = 0, fds[1] = 1, fds[2] = 2;
    ck_assert_int_eq(far_local_send(pair[0], &m, fds, 3), 0);
    n = 3;
    ck_assert_int_eq(far_local_receive(pair[1], in, 16, fds, &n), -EMSGSIZE);
    ck_assert_uint_eq(n, 0);
    fds[0] = 0, fds[1] = 1, fds[2] = 2;
    ck_assert_int_eq(far_local_send(pair[0], &m, fds, 3), 0);
    n = 1; /* room for one only: the others are closed */
    ck_assert_int_eq(far_local_receive(pair[1], in, sizeof(in), fds, &n),
                     sizeof(m));
    ck_assert_uint_eq(n, 1);
    close(fds[0]);
    ck_assert_uint_eq(open_descriptors(), before);
    end();
}
END_TEST

START_TEST(more_descriptors_than_the_protocol_knows_are_refused)
{
    struct far_local_prepare m = prepare();
    struct iovec iov = { &m, sizeof(m) };
    _Alignas(8) char control[CMSG_SPACE(20 * sizeof(int))] = { 0 };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof(control) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    uint8_t in[FAR_LOCAL_BYTES_MAX];
    int fds[20] = { 0 };
    unsigned n = 3, before;

    begin();
    before = open_descriptors();
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(20 * sizeof(int));
    memcpy(CMSG_DATA(c), fds, sizeof(fds));
    ck_assert_int_eq(sendmsg(pair[0], &msg, 0), sizeof(m));
    ck_assert_int_eq(far_local_receive(pair[1], in, sizeof(in), fds, &n),
                     -EMSGSIZE);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(open_descriptors(), before);
    ck_assert_int_eq(far_local_send(pair[0], &m, fds, 4), -EINVAL);
    end();
}
END_TEST

START_TEST(a_full_socket_says_so_and_does_not_block)
{
    struct far_local_feed m = { .type = FAR_LOCAL_FEED,
                                .bytes = sizeof(m),
                                .device = "typist" };
    int rc, sent = 0;

    begin();
    while ((rc = far_local_send(pair[0], &m, NULL, 0)) == 0)
        sent++;
    ck_assert_int_eq(rc, -EAGAIN);
    ck_assert_int_gt(sent, 0);
    close(pair[1]);
    ck_assert_int_lt(far_local_send(pair[0], &m, NULL, 0), 0);
    close(pair[0]);
}
END_TEST

SUITE_MAIN("local", well_formed_messages_are_valid,
           a_longer_message_than_known_is_valid,
           a_size_that_is_not_the_packets_is_refused,
           a_string_that_does_not_end_is_refused,
           a_name_that_is_none_is_refused, values_that_mean_nothing_are_refused,
           fed_events_must_fit_their_count, parts_of_the_layout_do_not_overlap,
           sizes_above_the_limits_are_refused,
           what_the_client_makes_the_server_maps,
           memory_that_is_not_sealed_against_shrinking_is_refused,
           memory_that_is_too_short_is_refused,
           the_clients_memory_cannot_be_shrunk_by_anyone,
           an_ordinary_file_is_no_shared_memory_and_no_wake_up,
           a_server_cannot_make_the_clients_wake_up_block_or_kill,
           a_packet_arrives_with_its_descriptors,
           descriptors_of_a_bad_packet_do_not_stay_open,
           more_descriptors_than_the_protocol_knows_are_refused,
           a_full_socket_says_so_and_does_not_block)
