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
#include <linux/input.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "netproxy/sandbox.h"

#define DEFAULT_USER "farside"

#ifndef SO_PASSRIGHTS /* Linux 6.16 */
#define SO_PASSRIGHTS 83
#endif

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
    /* descriptors that are there; fcntl, ioctl are below */
    CALL(read), CALL(write), CALL(writev), /* the C library's last words */
    CALL(close), CALL(lseek),              /* fclose() */
    CALL(fstat), /* how an older C library looks at a descriptor */
    CALL(newfstatat), CALL(statx),
    /* the loop */
    CALL(epoll_ctl), CALL(epoll_wait), /* where there is no epoll_pwait2 */
    CALL(epoll_pwait), CALL(epoll_pwait2), CALL(timerfd_settime),
    /* sockets; socket, getsockopt, setsockopt are below */
    CALL(accept4), CALL(bind), CALL(listen), CALL(connect), CALL(getsockname),
    CALL(getpeername), CALL(sendto), CALL(recvfrom), CALL(sendmsg),
    CALL(recvmsg),
    /* /dev/input: who has what name, and waiting for a device; opening is
     * below. Removing our sockets at the end. */
    CALL(getdents64), CALL(inotify_init1), CALL(inotify_add_watch),
    CALL(inotify_rm_watch), CALL(unlink),
    CALL(unlinkat), /* where there is no unlink */
    /* disks in files: rings were made before, each restricted to its file, and
     * can't be made from here; without them plain calls */
    CALL(io_uring_enter), CALL(preadv), CALL(pwritev2), CALL(fdatasync),
    CALL(fallocate),
    /* what an attachment to an outside device is made of; memfd_create and
     * pipe2 are below */
    CALL(ftruncate), CALL(eventfd2),
    /* memory; mmap, mprotect, madvise are below */
    CALL(brk), CALL(munmap), CALL(mremap),
    /* time, where the kernel's page can't tell it; random numbers; who we are
     * (GnuTLS stirs some of it in; local peers are compared with us) */
    CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time),
    CALL(getrandom), CALL(getpid), CALL(gettid), CALL(getuid), CALL(geteuid),
    CALL(getgid), CALL(getegid), CALL(getrusage),
    CALL(getcpu),      /* rings ask where the other side runs */
    CALL(sched_yield), /* to a peer that shares our processor */
    CALL(sysinfo),     /* qsort() */
    /* the C library's own */
    CALL(futex), CALL(restart_syscall), CALL(rt_sigaction),
    CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(exit), CALL(exit_group),
    CALL(wait4), /* for the resolver's end */
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

/* Calls of which only some are allowed, by their arguments' lower 32 bits (all
 * that the kernel looks at of an int). Of argument n, BITS: those of mask are
 * x; EQ: it is x; NONE: none of bits is set. */
#define BITS(n, mask, x)                                         \
    {                                                            \
        (n), SCMP_CMP_MASKED_EQ, (uint32_t)(mask), (uint32_t)(x) \
    }
#define EQ(n, x)      BITS(n, 0xffffffffu, x)
#define NONE(n, bits) BITS(n, bits, 0)
#define WRITING                                         \
    (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | \
     (__O_TMPFILE & ~O_DIRECTORY))
#define STREAM BITS(1, ~(uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC), SOCK_STREAM)

static const struct {
    int call;
    unsigned count;
    struct scmp_arg_cmp args[2];
} conditional[] = {
    /* Files are opened for reading only. */
    { SCMP_SYS(openat), 1, { NONE(2, WRITING) } },
    { SCMP_SYS(open), 1, { NONE(1, WRITING) } },
    /* Descriptions that are shared with the backend, which is root, must not
     * begin to block, nor to send signals, nor get leases, locks or seals. */
    { SCMP_SYS(fcntl), 1, { EQ(1, F_GETFD) } },
    { SCMP_SYS(fcntl), 1, { EQ(1, F_SETFD) } },
    { SCMP_SYS(fcntl), 1, { EQ(1, F_GETFL) } },
    { SCMP_SYS(fcntl), 1, { EQ(1, F_GET_SEALS) } },
    { SCMP_SYS(fcntl), 1, { EQ(1, F_OFD_SETLK) } }, /* a disk's users */
    /* What goes to an outside device. The backend's memory is sealed against
     * more seals. */
    { SCMP_SYS(fcntl),
      2,
      { EQ(1, F_ADD_SEALS),
        EQ(2, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) } },
    { SCMP_SYS(memfd_create), 1, { EQ(1, MFD_CLOEXEC | MFD_ALLOW_SEALING) } },
    { SCMP_SYS(pipe2), 1, { EQ(1, O_CLOEXEC | O_NONBLOCK) } },
    { SCMP_SYS(fcntl),
      2,
      { EQ(1, F_SETFL),
        BITS(2, O_NONBLOCK | O_ASYNC | O_DIRECT, O_NONBLOCK) } },
    /* What evdev devices answer (all of 'E' that reads), and of what changes
     * something only grabbing and the clock; is stderr a terminal? Not
     * FIONBIO: see above. */
    { SCMP_SYS(ioctl),
      1,
      { BITS(1, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 0, 0),
             _IOC(_IOC_READ, 'E', 0, 0)) } },
    { SCMP_SYS(ioctl), 1, { EQ(1, EVIOCGRAB) } },
    { SCMP_SYS(ioctl), 1, { EQ(1, EVIOCSCLOCKID) } },
    { SCMP_SYS(ioctl), 1, { EQ(1, TCGETS) } },
    /* New sockets are TCP, and those of the local protocol, to outside devices;
     * options are those that we set (one with SO_LINGER, passed to the backend,
     * would block whoever closes it). */
    { SCMP_SYS(socket), 2, { EQ(0, AF_INET), STREAM } },
    { SCMP_SYS(socket), 2, { EQ(0, AF_INET6), STREAM } },
    { SCMP_SYS(socket),
      2,
      { EQ(0, AF_UNIX),
        BITS(1, ~(uint32_t)(SOCK_NONBLOCK | SOCK_CLOEXEC), SOCK_SEQPACKET) } },
    { SCMP_SYS(setsockopt), 2, { EQ(1, SOL_SOCKET), EQ(2, SO_PASSRIGHTS) } },
    { SCMP_SYS(setsockopt), 2, { EQ(1, SOL_SOCKET), EQ(2, SO_REUSEADDR) } },
    { SCMP_SYS(setsockopt), 2, { EQ(1, IPPROTO_TCP), EQ(2, TCP_NODELAY) } },
    { SCMP_SYS(setsockopt),
      2,
      { EQ(1, IPPROTO_TCP), EQ(2, TCP_USER_TIMEOUT) } },
    { SCMP_SYS(setsockopt),
      2,
      { EQ(1, IPPROTO_TCP), EQ(2, TCP_NOTSENT_LOWAT) } },
    { SCMP_SYS(setsockopt), 2, { EQ(1, IPPROTO_IPV6), EQ(2, IPV6_V6ONLY) } },
    { SCMP_SYS(getsockopt), 2, { EQ(1, SOL_SOCKET), EQ(2, SO_ERROR) } },
    { SCMP_SYS(getsockopt), 2, { EQ(1, SOL_SOCKET), EQ(2, SO_PEERCRED) } },
    { SCMP_SYS(getsockopt), 2, { EQ(1, SOL_SOCKET), EQ(2, SO_INCOMING_CPU) } },
    /* Nothing becomes executable. */
    { SCMP_SYS(mmap), 1, { NONE(2, PROT_EXEC) } },
    { SCMP_SYS(mprotect), 1, { NONE(2, PROT_EXEC) } },
    /* What the allocator wants; not MADV_REMOVE, which is a hole in memory
     * that is shared. */
    { SCMP_SYS(madvise), 1, { EQ(2, MADV_DONTNEED) } },
    { SCMP_SYS(madvise), 1, { EQ(2, MADV_HUGEPAGE) } },
};

static int add_conditional(scmp_filter_ctx ctx)
{
    size_t i;
    int r = 0;

    for (i = 0; !r && i < sizeof(conditional) / sizeof(conditional[0]); i++) {
        r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, conditional[i].call,
                                   conditional[i].count, conditional[i].args);
        if (r == -EDOM)
            r = 0; /* not a call of this architecture */
    }
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
    /* No core file holds our keys, and no other process of this user looks in
     * (best effort: it is the filter that counts). */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
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
