/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sandbox: in a child, what farside-netproxy needs works, and what it does
 * not need is refused, or kills.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/input.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "netproxy/sandbox.h"
#include "tests/core/suite.h"

static int shared; /* an eventfd */

/* The child's status; its exit status is what act() returns. */
static int inside(bool kill_all, int (*act)(void))
{
    int status;
    pid_t pid;

    shared = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ck_assert_int_ge(shared, 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (!pid) {
        struct far_error error;
        const char *became;

        if (far_privileges_drop(NULL, &became, &error) ||
            far_sandbox_enter(kill_all, &error)) {
            fprintf(stderr, "%s\n", error.text);
            _exit(99);
        }
        _exit(act());
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    close(shared);
    return status;
}

/* 0: refused with EPERM, 1: it worked, 2: another error. */
static int verdict(long r)
{
    return r >= 0 ? 1 : errno == EPERM ? 0 : 2;
}

static int try_write(void)
{
    return verdict(open("/tmp", O_WRONLY | O_TMPFILE, 0600)) |
           verdict(open("/dev/null", O_WRONLY)) |
           verdict(open("/dev/null", O_RDWR)) |
           verdict(open("/tmp/x", O_RDONLY | O_CREAT, 0600));
}

static int try_sockets(void)
{
    return verdict(socket(AF_UNIX, SOCK_STREAM, 0)) |
           verdict(socket(AF_INET, SOCK_DGRAM, 0)) |
           verdict(socket(AF_INET, SOCK_RAW, 6)) |
           verdict(socket(AF_NETLINK, SOCK_RAW, 0)) |
           verdict(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_linger(void)
{
    struct linger linger = { .l_onoff = 1, .l_linger = 3600 };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
        return 4;
    return verdict(
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

static int try_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return 4;
    return verdict(mprotect(page, 4096, PROT_READ | PROT_EXEC)) |
           verdict((long)mmap(NULL, 4096, PROT_READ | PROT_EXEC,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static int try_others(void)
{
    return verdict(kill(getppid(), 0)) |
           verdict(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) |
           verdict(rename("/nonexistent", "/nonexistent2")) |
           verdict(prctl(PR_SET_DUMPABLE, 1)) |
           verdict(chmod("/nonexistent", 0)) |
           verdict(syscall(SYS_memfd_create, "x", 0));
}

/* What is shared with the backend, which is root, may not begin to block. */
static int try_blocking(void)
{
    int on = 0;

    return verdict(fcntl(shared, F_SETFL, 0)) |
           verdict(fcntl(shared, F_SETFL, O_NONBLOCK | O_ASYNC)) |
           verdict(ioctl(shared, FIONBIO, &on)) |
           verdict(ioctl(shared, FIOASYNC, &on)) |
           verdict(fcntl(shared, F_SETOWN, getpid())) |
           verdict(fcntl(shared, F_SETSIG, SIGIO)) |
           verdict(fcntl(shared, F_ADD_SEALS, 0)) |
           verdict(flock(shared, LOCK_EX));
}

static int try_options(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sock_filter code = { .code = 6 };
    struct sock_fprog filter = { .len = 1, .filter = &code };

    if (fd < 0)
        return 4;
    return verdict(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter,
                              sizeof(filter))) |
           verdict(setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &one, sizeof(one))) |
           verdict(ioctl(fd, EVIOCSREP, &one)) |
           verdict(madvise(NULL, 0, MADV_REMOVE));
}

static int try_exec(void)
{
    execl("/bin/true", "true", NULL);
    return 1;
}

static int try_needed(void)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    char byte;

    if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) ||
        listen(fd, 1) || close(fd))
        return 1;
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0 && errno == EPERM)
        return 2;
    fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &byte, 1) != 1)
        return 3;
    if (fcntl(shared, F_GETFL) < 0 || fcntl(shared, F_SETFL, O_NONBLOCK))
        return 4;
    free(malloc(1 << 20));
    return 0;
}

static int try_open_for_writing(void)
{
    return open("/dev/null", O_WRONLY) < 0;
}

START_TEST(what_the_daemon_needs_still_works)
{
    ck_assert_int_eq(inside(true, try_needed), 0);
}
END_TEST

START_TEST(no_file_is_opened_for_writing)
{
    ck_assert_int_eq(inside(false, try_write), 0);
}
END_TEST

START_TEST(new_sockets_are_tcp_only)
{
    ck_assert_int_eq(inside(false, try_sockets), 0);
}
END_TEST

START_TEST(no_socket_is_made_that_blocks_whoever_closes_it)
{
    ck_assert_int_eq(inside(false, try_linger), 0);
}
END_TEST

START_TEST(nothing_becomes_executable)
{
    ck_assert_int_eq(inside(false, try_code), 0);
}
END_TEST

START_TEST(calls_that_are_not_on_the_list_are_refused)
{
    ck_assert_int_eq(inside(false, try_others), 0);
}
END_TEST

START_TEST(nothing_shared_with_the_backend_begins_to_block)
{
    ck_assert_int_eq(inside(false, try_blocking), 0);
}
END_TEST

START_TEST(sockets_and_devices_are_not_tampered_with)
{
    ck_assert_int_eq(inside(false, try_options), 0);
}
END_TEST

START_TEST(another_program_is_death)
{
    int status = inside(false, try_exec);

    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSYS);
}
END_TEST

START_TEST(in_tests_every_forbidden_call_is_death)
{
    int status = inside(true, try_open_for_writing);

    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGSYS);
}
END_TEST

int main(void)
{
    Suite *suite;
    TCase *c;

    if (getenv("FARSIDE_NO_SANDBOX")) {
        printf("without the sandbox, as FARSIDE_NO_SANDBOX asks: skipped\n");
        return 77;
    }
    suite = suite_create("netproxy: the sandbox");
    c = tcase_create("sandbox");
    tcase_add_test(c, what_the_daemon_needs_still_works);
    tcase_add_test(c, no_file_is_opened_for_writing);
    tcase_add_test(c, new_sockets_are_tcp_only);
    tcase_add_test(c, no_socket_is_made_that_blocks_whoever_closes_it);
    tcase_add_test(c, nothing_becomes_executable);
    tcase_add_test(c, calls_that_are_not_on_the_list_are_refused);
    tcase_add_test(c, nothing_shared_with_the_backend_begins_to_block);
    tcase_add_test(c, sockets_and_devices_are_not_tampered_with);
    tcase_add_test(c, another_program_is_death);
    tcase_add_test(c, in_tests_every_forbidden_call_is_death);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
