/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who may attach an outside device: processes of several users and groups at
 * the socket of a server that has one of its own. Only root can make them; for
 * others what is left is their own socket.
 */
#include "tests/devices/harness.h"

#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "devices/local-server.h"

/* Of nobody on this machine, but for NOGROUP: that is many programs'. */
#define SERVER  61001
#define OTHER   61002
#define FRIENDS 61003
#define NOGROUP 65534

static char dir[64], path[96];
static pid_t server;

static void become(uid_t user, gid_t group, gid_t more)
{
    if (geteuid() == 0 &&
        (setgroups(more ? 1 : 0, &more) || setresgid(group, group, group) ||
         setresuid(user, user, user)))
        _exit(9);
}

static int open_none(void *arg, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    (void)arg;
    (void)who;
    (void)layer;
    return far_error(error, -ENODEV, "nothing is here");
}

/* Of that user and those groups, in a folder of that group. */
static void serve(uid_t user, gid_t group, gid_t more, gid_t folder)
{
    const struct far_local_server_ops ops = { .open = open_none,
                                              .group_peers = true };
    struct far_loop *loop;
    int pipes[2];
    char byte = 0;

    snprintf(dir, sizeof(dir), "/tmp/farside-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/typist", dir);
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(geteuid() ? 0 : chown(dir, user, folder), 0);
    ck_assert_int_eq(pipe(pipes), 0);
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        become(user, group, more);
        loop = far_loop_new();
        byte = far_local_server_new(loop, NULL, path, "", &ops, NULL) != NULL;
        if (write(pipes[1], &byte, 1) != 1 || !byte)
            _exit(1);
        far_loop_run(loop);
        _exit(0);
    }
    ck_assert_int_eq(read(pipes[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 1);
    close(pipes[0]);
    close(pipes[1]);
}

static void end(void)
{
    char command[96];

    kill(server, SIGKILL);
    ck_assert_int_eq(waitpid(server, NULL, 0), server);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* 0: it is greeted there; else an errno, or 1: it is hung up on. */
static int attaches_as(uid_t user, gid_t group, gid_t more)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct pollfd p = { .events = POLLIN };
    struct far_local_hello hello;
    int status, fd, n;
    pid_t pid = fork();

    if (pid) {
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        return WEXITSTATUS(status);
    }
    become(user, group, more);
    memcpy(address.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        _exit(errno);
    p.fd = fd;
    if (poll(&p, 1, 10000) != 1)
        _exit(ETIMEDOUT);
    n = far_local_receive(fd, &hello, sizeof(hello), NULL, NULL);
    _exit(n != sizeof(hello));
}

static unsigned mode_and_group(gid_t *group)
{
    struct stat st;

    ck_assert_int_eq(stat(path, &st), 0);
    *group = st.st_gid;
    return st.st_mode & 07777;
}

START_TEST(the_group_of_its_folder_may_if_the_program_is_in_it)
{
    gid_t group;

    serve(SERVER, NOGROUP, FRIENDS, FRIENDS);
    ck_assert_uint_eq(mode_and_group(&group), 0660);
    ck_assert_uint_eq(group, FRIENDS);
    ck_assert_int_eq(attaches_as(0, 0, 0), 0);
    ck_assert_int_eq(attaches_as(SERVER, NOGROUP, 0), 0);
    ck_assert_int_eq(attaches_as(OTHER, FRIENDS, 0), 0);
    ck_assert_int_eq(attaches_as(OTHER, OTHER, FRIENDS), 0);
    ck_assert_int_eq(attaches_as(OTHER, NOGROUP, 0), EACCES);
    end();
}
END_TEST

START_TEST(else_nobody_but_root_and_its_own_user)
{
    gid_t group;

    serve(SERVER, NOGROUP, 0, FRIENDS);
    ck_assert_uint_eq(mode_and_group(&group), 0600);
    ck_assert_int_eq(attaches_as(0, 0, 0), 0);
    ck_assert_int_eq(attaches_as(SERVER, OTHER, 0), 0);
    ck_assert_int_eq(attaches_as(OTHER, FRIENDS, 0), EACCES);
    ck_assert_int_eq(attaches_as(OTHER, NOGROUP, 0), EACCES);
    end();
}
END_TEST

START_TEST(whom_its_owner_lets_in_afterwards_may)
{
    serve(SERVER, NOGROUP, 0, FRIENDS);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(attaches_as(OTHER, OTHER, 0), 0);
    end();
}
END_TEST

START_TEST(ones_own_is_ones_own)
{
    serve(geteuid(), getegid(), 0, getegid());
    ck_assert_int_eq(attaches_as(geteuid(), getegid(), 0), 0);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("socket");
    TCase *c = tcase_create("socket");

    tcase_add_test(c, ones_own_is_ones_own);
    if (geteuid() == 0) {
        tcase_add_test(c, the_group_of_its_folder_may_if_the_program_is_in_it);
        tcase_add_test(c, else_nobody_but_root_and_its_own_user);
        tcase_add_test(c, whom_its_owner_lets_in_afterwards_may);
    }
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
