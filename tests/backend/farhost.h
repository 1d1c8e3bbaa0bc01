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

__attribute__((format(printf, 3, 4))) static inline void
put(const char *folder, const char *name, const char *format, ...)
{
    char path[300];
    va_list args;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    va_start(args, format);
    vfprintf(f, format, args);
    va_end(args);
    fclose(f);
}

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

static inline void fresh_two_hosts(void)
{
    fresh_host();
    snprintf(far_dir, sizeof(far_dir), "%s/far", host);
    mkdir(far_dir, 0755);
    port = 20000 +
           (unsigned)getpid() % 12000; /* below those that connect() gives */
}

#endif
