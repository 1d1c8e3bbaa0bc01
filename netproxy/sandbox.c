/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Privileges and seccomp (netproxy/sandbox.h). The list is an allow-list. It is
 * written for glibc, GnuTLS, libevdev and our own code; what each entry is for
 * stands beside it.
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "netproxy/sandbox.h"

#define DEFAULT_USER "farside"

int far_privileges_drop(const char *user, const char **became,
                        struct far_error *error)
{
    const char *name = user ? user : DEFAULT_USER;
    int r;

    *became = NULL;
    if (geteuid() == 0) {
        const struct passwd *pw = getpwnam(name);

        if (!pw && user)
            return far_error(error, -ENOENT, "--user %s: there is no such user",
                             user);
        if (pw && pw->pw_uid != 0) {
            if (initgroups(pw->pw_name, pw->pw_gid) ||
                setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) ||
                setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid))
                return far_error(error, -errno, "--user %s: %s", name,
                                 strerror(errno));
            *became = name;
        }
    } else if (user) {
        const struct passwd *pw = getpwnam(user);

        if (!pw || pw->pw_uid != geteuid())
            return far_error(error, -EPERM,
                             "--user %s: only root can become another user",
                             user);
    }
    capng_clear(CAPNG_SELECT_BOTH);
    /* The bounding set needs CAP_SETPCAP; without it there is nothing to
     * lose: no_new_privs closes the way back to any capability. */
    r = capng_apply(CAPNG_SELECT_CAPS);
    if (r)
        return far_error(error, -EPERM, "capabilities could not be dropped");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return far_error(error, -errno, "no_new_privs: %s", strerror(errno));
    return 0;
}

struct entry {
    int call;
    const char *name;
};
#define CALL(name)            \
    {                         \
        SCMP_SYS(name), #name \
    }

static const struct entry allowed[] = {
    /* descriptors that are there */
    CALL(read),
    CALL(readv),
    CALL(pread64),
    CALL(write),
    CALL(writev),
    CALL(close),
    CALL(close_range),
    CALL(dup),
    CALL(dup2),
    CALL(dup3),
    CALL(fcntl),
    CALL(fstat),
    CALL(lseek),
    CALL(flock),
    CALL(poll),
    CALL(ppoll),
    CALL(select),
    CALL(pselect6),
    /* the loop */
    CALL(epoll_create1),
    CALL(epoll_ctl),
    CALL(epoll_wait),
    CALL(epoll_pwait),
    CALL(epoll_pwait2),
    CALL(eventfd2),
    CALL(timerfd_create),
    CALL(timerfd_settime),
    CALL(timerfd_gettime),
    CALL(signalfd4),
    /* sockets; socket() and setsockopt() are below */
    CALL(accept4),
    CALL(accept),
    CALL(bind),
    CALL(listen),
    CALL(connect),
    CALL(shutdown),
    CALL(getsockopt),
    CALL(getsockname),
    CALL(getpeername),
    CALL(sendto),
    CALL(recvfrom),
    CALL(sendmsg),
    CALL(recvmsg),
    /* files: reading the configuration and keys again, /dev/input; opening
     * is below. Removing our sockets at the end. */
    CALL(newfstatat),
    CALL(stat),
    CALL(lstat),
    CALL(statx),
    CALL(access),
    CALL(faccessat),
    CALL(faccessat2),
    CALL(getdents64),
    CALL(readlink),
    CALL(readlinkat),
    CALL(unlink),
    CALL(unlinkat),
    CALL(inotify_init1),
    CALL(inotify_add_watch),
    CALL(inotify_rm_watch),
    /* memory; mmap and mprotect are below */
    CALL(brk),
    CALL(munmap),
    CALL(mremap),
    CALL(madvise),
    /* time, random numbers, who and where we are */
    CALL(clock_gettime),
    CALL(clock_getres),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(gettimeofday),
    CALL(time),
    CALL(getrandom),
    CALL(getpid),
    CALL(gettid),
    CALL(getppid),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(getcpu),
    CALL(sched_getaffinity),
    CALL(sched_yield),
    CALL(getrusage),
    CALL(times),
    CALL(uname),
    CALL(sysinfo),
    CALL(prlimit64),
    CALL(getrlimit),
    /* the C library's own */
    CALL(futex),
    CALL(rseq),
    CALL(set_robust_list),
    CALL(membarrier),
    CALL(restart_syscall),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(sigaltstack),
    CALL(exit),
    CALL(exit_group),
    CALL(wait4),
};

/* Nobody but an intruder makes these. */
static const struct entry deadly[] = {
    CALL(execve),
    CALL(execveat),
    CALL(ptrace),
    CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(init_module),
    CALL(finit_module),
    CALL(kexec_load),
    CALL(mount),
    CALL(umount2),
    CALL(pivot_root),
    CALL(chroot),
    CALL(bpf),
    CALL(unshare),
    CALL(setns),
    CALL(add_key),
    CALL(keyctl),
    CALL(userfaultfd),
    CALL(setuid),
    CALL(setresuid),
    CALL(setgid),
    CALL(setresgid),
    CALL(perf_event_open),
};

static int add(scmp_filter_ctx ctx, uint32_t action, const struct entry *e)
{
    int r = seccomp_rule_add(ctx, action, e->call, 0);

    return r == -EDOM ? 0 : r; /* not a call of this architecture */
}

static int add_conditional(scmp_filter_ctx ctx)
{
    const uint64_t writing =
        O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | __O_TMPFILE;
    static const int families[] = { AF_INET, AF_INET6 };
    static const struct {
        int level, name;
    } options[] = {
        { SOL_SOCKET, SO_REUSEADDR },
        { IPPROTO_IPV6, IPV6_V6ONLY },
        { IPPROTO_TCP, TCP_NODELAY },
        { IPPROTO_TCP, TCP_USER_TIMEOUT },
    };
    unsigned i;
    int r;

    /* Files are opened for reading only. */
    r = seccomp_rule_add(
        ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
        SCMP_A2(SCMP_CMP_MASKED_EQ, writing & ~(uint64_t)O_DIRECTORY, 0));
    if (!r)
        r = seccomp_rule_add(
            ctx, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
            SCMP_A1(SCMP_CMP_MASKED_EQ, writing & ~(uint64_t)O_DIRECTORY, 0));
    if (r && r != -EDOM)
        return r;
    /* New sockets are TCP only. */
    for (i = 0; i < 2; i++) {
        r = seccomp_rule_add(
            ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0),
            SCMP_A1(SCMP_CMP_MASKED_EQ,
                    (scmp_datum_t) ~(SOCK_NONBLOCK | SOCK_CLOEXEC) & 0xffffffff,
                    SOCK_STREAM));
        if (r)
            return r;
    }
    /* A socket with SO_LINGER that is passed to the backend blocks that when it
     * is closed there, even unseen. */
    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff,
                                     (scmp_datum_t)options[i].level),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, 0xffffffff,
                                     (scmp_datum_t)options[i].name));
        if (r)
            return r;
    }
    /* Nothing becomes executable. */
    r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!r)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* evdev's ioctls ('E'), and whether stderr is a terminal. */
    if (!r)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, 'E' << 8));
    if (!r)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, 0x5401));
    /* abort(): a signal to ourselves */
    if (!r)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    return r;
}

int far_sandbox_enter(bool kill_all, struct far_error *error)
{
    scmp_filter_ctx ctx =
        seccomp_init(kill_all ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
    unsigned i;
    int r = 0;

    if (!ctx)
        return far_error(error, -ENOMEM, "seccomp: no filter could be made");
    /* An old kernel without the log has the filter all the same. */
    seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
    for (i = 0; !r && i < sizeof(allowed) / sizeof(allowed[0]); i++)
        r = add(ctx, SCMP_ACT_ALLOW, &allowed[i]);
    for (i = 0; !kill_all && !r && i < sizeof(deadly) / sizeof(deadly[0]); i++)
        r = add(ctx, SCMP_ACT_KILL_PROCESS, &deadly[i]);
    if (!r)
        r = add_conditional(ctx);
    if (!r)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    if (r)
        return far_error(error, r,
                         "the sandbox could not be entered: %s (does the "
                         "kernel have seccomp filters? --no-sandbox runs "
                         "without)",
                         strerror(-r));
    return 0;
}
