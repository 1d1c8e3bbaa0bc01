/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device nodes that programs for Xen open by name, and the few calls of
 * libxenctrl that xenstored makes. /dev/xen/xenbus becomes a connection to
 * the guest's xenbus driver (xenbus.c, in the keeper); /proc/xen/xsd_* are
 * what dom0's kernel tells xenstored.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenctrl.h>
#include "sim/client.h"

/* Ours are glibc's names, seen without its inline versions. */
int open(const char *path, int flags, ...);
int open64(const char *path, int flags, ...);

static uint32_t node_op(const char *path)
{
    if (!path ||
        (strncmp(path, "/dev/xen/", 9) && strncmp(path, "/proc/xen/", 10)))
        return 0;
    if (sim_connect())
        return 0;
    if (!strcmp(path, "/dev/xen/xenbus") || !strcmp(path, "/proc/xen/xenbus"))
        return HV_OPEN_XENBUS;
    if (!strcmp(path, "/proc/xen/xsd_kva"))
        return HV_OPEN_KVA;
    if (!strcmp(path, "/proc/xen/xsd_port"))
        return HV_OPEN_PORTFILE;
    return 0;
}

static int open_node(uint32_t op, int flags)
{
    struct hv_req req = { .op = op };
    struct hv_rsp rsp;
    int fd = -1;
    int r = sim_call(&req, NULL, &rsp, NULL, 0, &fd, 1);

    if (r)
        return sim_fail(r);
    if (fd >= 0 && !(flags & O_CLOEXEC))
        fcntl(fd, F_SETFD, 0);
    if (fd >= 0 && flags & O_NONBLOCK)
        fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    return fd < 0 ? sim_fail(EMFILE) : fd;
}

typedef int open_fn(const char *path, int flags, ...);

static int open_common(const char *name, const char *path, int flags,
                       mode_t mode)
{
    uint32_t op = node_op(path);
    if (op)
        return open_node(op, flags);
    open_fn *real = (open_fn *)dlsym(RTLD_NEXT, name);
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_common("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_common("open64", path, flags, mode);
}

static bool is_device(const char *path)
{
    static const char *const names[] = { "evtchn", "gntdev", "gntalloc",
                                         "xenbus" };
    if (!path || strncmp(path, "/dev/xen/", 9) || sim_connect())
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (!strcmp(path + 9, names[i]))
            return true;
    return false;
}

int stat(const char *restrict path, struct stat *restrict st)
{
    if (is_device(path)) {
        memset(st, 0, sizeof(*st));
        st->st_mode = S_IFCHR | 0600;
        st->st_nlink = 1;
        st->st_uid = getuid();
        st->st_gid = getgid();
        return 0;
    }
    int (*real)(const char *, struct stat *) =
        (int (*)(const char *, struct stat *))dlsym(RTLD_NEXT, "stat");
    return real(path, st);
}

int access(const char *path, int mode)
{
    if (is_device(path))
        return mode & X_OK ? sim_fail(EACCES) : 0;
    int (*real)(const char *, int) =
        (int (*)(const char *, int))dlsym(RTLD_NEXT, "access");
    return real(path, mode);
}

/* ---- libxenctrl ---- */

struct xc_interface_core {
    int unused;
};

xc_interface *xc_interface_open(xentoollog_logger *logger,
                                xentoollog_logger *dombuild_logger,
                                unsigned open_flags)
{
    (void)logger, (void)dombuild_logger, (void)open_flags;
    int r = sim_connect();
    if (r) {
        errno = -r;
        return NULL;
    }
    return calloc(1, sizeof(struct xc_interface_core));
}

int xc_interface_close(xc_interface *xch)
{
    free(xch);
    return 0;
}

/* The domain of our host with the lowest domid from `first` on. */
static const struct hv_dom *next_dom(uint32_t first)
{
    const struct hv_dom *me = sim_dom(NULL), *best = NULL;

    for (uint32_t s = 0; me && s < HV_DOMS; s++) {
        const struct hv_dom *d = &sim.ro->doms[s];
        if (!atomic_load(&d->gen) || d->host != me->host || d->domid < first)
            continue;
        if (d->domid == first)
            return d;
        if (!best || d->domid < best->domid)
            best = d;
    }
    return best;
}

static bool may_ask(void)
{
    const struct hv_dom *me = sim_dom(NULL);
    return me && me->domid == 0;
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first_domid,
                      unsigned int max_doms, xc_dominfo_t *info)
{
    unsigned int n = 0;
    (void)xch;

    if (!may_ask())
        return sim_fail(EPERM);
    memset(info, 0, max_doms * sizeof(*info));
    for (; n < max_doms; n++) {
        const struct hv_dom *d = next_dom(first_domid);
        if (!d)
            break;
        info[n].domid = d->domid;
        info[n].paused = d->paused ? 1 : 0;
        info[n].dying = d->dying ? 1 : 0;
        info[n].shutdown = d->shutdown ? 1 : 0;
        info[n].shutdown_reason = d->shutdown_reason;
        info[n].max_memkb = d->memory_kb;
        info[n].nr_pages = d->memory_kb / 4;
        info[n].nr_online_vcpus = 1;
        memcpy(info[n].handle, d->uuid, sizeof(info[n].handle));
        first_domid = d->domid + 1u;
    }
    if (!n && max_doms)
        return sim_fail(ESRCH);
    return (int)n;
}

int xc_domain_getinfolist(xc_interface *xch, uint32_t first_domain,
                          unsigned int max_domains, xc_domaininfo_t *info)
{
    unsigned int n = 0;
    (void)xch;

    if (!may_ask())
        return sim_fail(EPERM);
    memset(info, 0, max_domains * sizeof(*info));
    for (; n < max_domains; n++) {
        const struct hv_dom *d = next_dom(first_domain);
        if (!d)
            break;
        info[n].domain = d->domid;
        info[n].flags = (d->paused ? XEN_DOMINF_paused : 0u) |
                        (d->dying ? XEN_DOMINF_dying : 0u) |
                        (d->shutdown ? XEN_DOMINF_shutdown : 0u);
        info[n].max_pages = d->memory_kb / 4;
        info[n].tot_pages = d->memory_kb / 4;
        memcpy(info[n].handle, d->uuid, sizeof(info[n].handle));
        first_domain = d->domid + 1u;
    }
    return (int)n;
}
