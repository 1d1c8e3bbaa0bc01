/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-frontend --nbd in a simulated guest: a disk of Farside's behind it,
 * libnbd before it, every byte compared; a backend that is killed, clients that
 * vanish, and clients that speak nonsense.
 */
#include <endian.h>
#include <libnbd.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "tests/backend/disk.h"

#define DISK_BYTES (64u * MIB)

static char at[200];
static pid_t exporter;
static uint8_t *model, *buffer;

static void set_up(void)
{
    char path[700], out[256];
    FILE *f;

    fresh_host();
    snprintf(path, sizeof(path), "truncate -s %u %s/disk.img", DISK_BYTES,
             host);
    ck_assert_int_eq(system(path), 0);
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device disk0]\ntype = file\npath = %s/disk.img\n",
            host);
    fclose(f);
    start_backend();
    ck_assert_int_eq(
        host_do(out, sizeof(out),
                "create atlas g memory=256 gntalloc=8192 disk=" LINE("xvda",
                                                                     "disk0")),
        0);
    snprintf(at, sizeof(at), "%s/g.nbd", host);
    snprintf(path, sizeof(path), "%s/frontend/farside-frontend", build);
    exporter = fork();
    if (!exporter) {
        char option[256];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(option, sizeof(option), "--nbd=%s", at);
        execl(sim, sim, "run", "atlas/g", "--", path, option, "51712",
              (char *)NULL);
        _exit(127);
    }
    for (unsigned i = 0; access(at, F_OK); i++) {
        ck_assert_uint_lt(i, 1000);
        nap_ms(10);
    }
    model = calloc(1, DISK_BYTES);
    buffer = malloc(DISK_BYTES);
    ck_assert(model && buffer);
}

static void tear_down(void)
{
    end_with(&exporter, SIGTERM);
    if (backend)
        kill_backend(SIGTERM);
    free(model);
    free(buffer);
}

static struct nbd_handle *connected(void)
{
    struct nbd_handle *nbd = nbd_create();

    ck_assert_msg(nbd && !nbd_connect_unix(nbd, at), "%s", nbd_get_error());
    return nbd;
}

static uint32_t next(uint32_t *x)
{
    *x = *x * 1664525 + 1013904223;
    return *x >> 8;
}

static void write_both(struct nbd_handle *nbd, uint32_t offset, uint32_t bytes,
                       uint32_t *x, uint32_t flags)
{
    for (uint32_t i = 0; i < bytes; i += 4) {
        uint32_t word = next(x);

        memcpy(model + offset + i, &word, 4);
    }
    ck_assert_msg(!nbd_pwrite(nbd, model + offset, bytes, offset, flags), "%s",
                  nbd_get_error());
}

static void same(struct nbd_handle *nbd, uint32_t offset, uint32_t bytes)
{
    ck_assert_msg(!nbd_pread(nbd, buffer, bytes, offset, 0), "%s",
                  nbd_get_error());
    ck_assert_int_eq(memcmp(buffer, model + offset, bytes), 0);
}

START_TEST(every_byte_of_every_size_is_what_was_written)
{
    static const uint32_t sizes[] = { 512,     4096,    65536 + 512,
                                      131072,  1 << 20, (8 << 20) + 1536,
                                      32 << 20 };
    struct nbd_handle *nbd = connected(), *other = connected();
    uint32_t x = 7;

    ck_assert_int_eq(nbd_get_size(nbd), DISK_BYTES);
    ck_assert_int_eq(nbd_can_flush(nbd), 1);
    ck_assert_int_eq(nbd_can_fua(nbd), 1);
    ck_assert_int_eq(nbd_can_trim(nbd), 1);
    ck_assert_int_eq(nbd_is_read_only(nbd), 0);
    for (unsigned i = 0; i < 40; i++) {
        uint32_t bytes = sizes[i % 7],
                 offset = next(&x) % ((DISK_BYTES - bytes) / 512 + 1) * 512;

        write_both(nbd, offset, bytes, &x, i % 3 ? 0 : LIBNBD_CMD_FLAG_FUA);
        same(other, offset, bytes);
    }
    ck_assert_int_eq(nbd_flush(nbd, 0), 0);
    same(nbd, 0, 32 << 20);
    same(nbd, 32 << 20, 32 << 20);
    ck_assert_int_eq(nbd_trim(nbd, MIB, 0, 0), 0);
    ck_assert_int_eq(nbd_shutdown(nbd, 0), 0);
    nbd_close(nbd);
    nbd_close(other);
}
END_TEST

START_TEST(what_is_outside_or_no_block_is_refused_and_the_rest_goes_on)
{
    struct nbd_handle *nbd = connected();
    uint32_t x = 1;

    nbd_set_strict_mode(nbd, 0);
    ck_assert_int_eq(nbd_pread(nbd, buffer, 4096, DISK_BYTES, 0), -1);
    ck_assert_int_eq(nbd_pread(nbd, buffer, 4096, UINT64_MAX - 511, 0), -1);
    ck_assert_int_eq(nbd_pwrite(nbd, buffer, 4096, DISK_BYTES - 512, 0), -1);
    ck_assert_int_eq(nbd_get_errno(), ENOSPC);
    ck_assert_int_eq(nbd_pread(nbd, buffer, 100, 0, 0), -1);
    ck_assert_int_eq(nbd_pwrite(nbd, buffer, 512, 3, 0), -1);
    ck_assert_int_eq(nbd_zero(nbd, 4096, 0, 0), -1);
    write_both(nbd, 0, 4096, &x, 0);
    same(nbd, 0, 4096);
    nbd_close(nbd);
}
END_TEST

static int count_done(void *arg, int *error)
{
    *(unsigned *)arg += *error == 0;
    return 1;
}

/* Eighty requests are under way, more than it takes at once. */
START_TEST(a_backend_that_is_killed_costs_nothing)
{
    struct nbd_handle *nbd = connected();
    unsigned done = 0;
    uint32_t x = 3;

    for (unsigned round = 0; round < 5; round++) {
        done = 0;
        for (uint32_t i = 0; i < 80; i++) {
            nbd_completion_callback callback = { .callback = count_done,
                                                 .user_data = &done };
            uint32_t offset = i * 262144;

            for (uint32_t k = 0; k < 262144; k += 4) {
                uint32_t word = next(&x);

                memcpy(model + offset + k, &word, 4);
            }
            ck_assert_int_ge(nbd_aio_pwrite(nbd, model + offset, 262144, offset,
                                            callback, 0),
                             0);
            if (i == 40) {
                kill_backend(SIGKILL);
                start_backend();
            }
        }
        while (nbd_aio_in_flight(nbd) > 0)
            ck_assert_int_ge(nbd_poll(nbd, 20000), 0);
        ck_assert_uint_eq(done, 80);
        same(nbd, 0, 80 * 262144);
    }
    nbd_close(nbd);
}
END_TEST

static int raw(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, at, strlen(at) + 1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)),
                     0);
    return fd;
}

static void push(int fd, const void *bytes, size_t count)
{
    if (send(fd, bytes, count, MSG_NOSIGNAL) < 0)
        ck_assert(errno == EPIPE || errno == ECONNRESET);
}

/* One with which requests are taken; eight at once are, and those that have
 * just gone may not be forgotten yet. */
static int going(void)
{
    struct {
        uint32_t flags;
        uint64_t magic;
        uint32_t option, bytes;
    } __attribute__((packed))
    start = { htobe32(3), htobe64(0x49484156454f5054ull), htobe32(1), 0 };
    uint8_t answer[28];

    for (unsigned i = 0;; i++) {
        int fd = raw();

        push(fd, &start, sizeof(start));
        if (recv(fd, answer, sizeof(answer), MSG_WAITALL) == 28)
            return fd;
        ck_assert_uint_lt(i, 1000);
        close(fd);
        nap_ms(10);
    }
}

struct wire_request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t cookie, offset;
    uint32_t bytes;
} __attribute__((packed));

static void request(int fd, uint16_t type, uint64_t offset, uint32_t bytes)
{
    struct wire_request r = { .magic = htobe32(0x25609513),
                              .type = htobe16(type),
                              .offset = htobe64(offset),
                              .bytes = htobe32(bytes) };

    push(fd, &r, sizeof(r));
}

/* True: the connection was ended. */
static bool is_over(int fd)
{
    struct timeval wait = { .tv_sec = 10 };
    uint8_t bytes[4096];
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        ;
    return n == 0 || errno == ECONNRESET;
}

START_TEST(clients_that_speak_nonsense_or_vanish_lose_only_themselves)
{
    static const uint8_t zeros[64];
    uint32_t x = 99;
    int fd;

    for (unsigned i = 0; i < 300; i++) {
        uint8_t noise[200];

        for (unsigned k = 0; k < sizeof(noise); k++)
            noise[k] = (uint8_t)next(&x);
        fd = i % 3 == 1 ? going() : raw();
        if (i % 3 == 2) { /* flags that fit, then noise */
            uint32_t flags = htobe32(3);

            push(fd, &flags, 4);
        }
        push(fd, noise, sizeof(noise));
        if (i % 4 == 0)
            ck_assert(is_over(fd));
        close(fd);
    }
    /* an option that is too long; a request that is; an unknown flag */
    fd = raw();
    {
        struct {
            uint32_t flags;
            uint64_t magic;
            uint32_t option, bytes;
        } __attribute__((packed))
        long_one = { htobe32(3), htobe64(0x49484156454f5054ull), htobe32(7),
                     UINT32_MAX };

        push(fd, &long_one, sizeof(long_one));
    }
    ck_assert(is_over(fd));
    close(fd);
    fd = going();
    request(fd, 1, 0, UINT32_MAX);
    ck_assert(is_over(fd));
    close(fd);
    fd = raw();
    push(fd, "\xff\xff\xff\xff", 4);
    ck_assert(is_over(fd));
    close(fd);
    /* many answers are asked for and none is read; half a write */
    for (unsigned i = 0; i < 10; i++) {
        fd = going();
        for (unsigned k = 0; k < 40; k++)
            request(fd, 0, 0, 2 << 20);
        nap_ms(20);
        close(fd);
        fd = going();
        request(fd, 1, 0, 1 << 20);
        push(fd, zeros, sizeof(zeros));
        close(fd);
    }
    for (unsigned i = 0;; i++) { /* when theirs are over */
        struct nbd_handle *nbd = nbd_create();

        ck_assert_uint_lt(i, 1000);
        if (!nbd_connect_unix(nbd, at)) {
            write_both(nbd, 4096, 8192, &x, 0);
            same(nbd, 0, MIB);
            nbd_close(nbd);
            break;
        }
        nbd_close(nbd);
        nap_ms(20);
    }
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { every_byte_of_every_size_is_what_was_written, 1 },
        { what_is_outside_or_no_block_is_refused_and_the_rest_goes_on, 1 },
        { a_backend_that_is_killed_costs_nothing, 1 },
        { clients_that_speak_nonsense_or_vanish_lose_only_themselves, 1 },
    };

    return host_main("vbd-export", tests, sizeof(tests) / sizeof(tests[0]),
                     set_up, tear_down, 180, argc, argv);
}
