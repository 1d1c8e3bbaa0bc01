/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For tests of the backend with devices of another machine: a folder for that
 * one, in which a netproxy runs, beside the simulated host.
 */
#ifndef FARSIDE_TESTS_BACKEND_FARHOST_H
#define FARSIDE_TESTS_BACKEND_FARHOST_H

#include "tests/backend/simhost.h"

static char far_dir[160]; /* of the machine that has the devices */
static unsigned port;
static pid_t near_proxy, far_proxy;

/* name: of its files. */
static inline pid_t start_platform(const char *name)
{
    char program[600], log[200], conf[200], run[200];
    pid_t pid;
    int fd;

    snprintf(program, sizeof(program), "%s/farside-netproxy", build);
    snprintf(log, sizeof(log), "%s/far.log", far_dir);
    snprintf(conf, sizeof(conf), "%s/%s.conf", far_dir, name);
    snprintf(run, sizeof(run), "%s/%s", far_dir, name);
    mkdir(run, 0755);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        setenv("FARSIDE_SANDBOX_KILLS", "1", 1);
        execl(program, program, "-c", conf, "-r", run, (char *)NULL);
        _exit(127);
    }
    close(fd);
    return pid;
}

static inline pid_t start_far(void)
{
    return start_platform("farside");
}

/* It takes signals as it should, and does not die of them. */
static inline void far_listens(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    uint64_t until = far_now_us() + 20000000;

    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool up = !connect(fd, (struct sockaddr *)&at, sizeof(at));

        close(fd);
        if (up)
            return;
        ck_assert_uint_lt(far_now_us(), until);
        nap_ms(10);
    }
}

static inline void fresh_two_hosts(void)
{
    fresh_host();
    snprintf(far_dir, sizeof(far_dir), "%s/far", host);
    mkdir(far_dir, 0755);
    port = 20000 +
           (unsigned)getpid() % 12000; /* below those that connect() gives */
}

#endif
