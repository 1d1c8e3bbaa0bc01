// SPDX-License-Identifier: GPL-2.0-or-later
//
// The files of the folder of trust (tools/trust-files.h).

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "netproxy/trust.h"
#include "tools/trust-files.h"

#define GROUP "farside" /* that the netproxy runs as */

static int path_of(char out[PATH_MAX], const char *dir, const char *name,
                   struct far_error *error)
{
    return far_trust_path(out, dir, name)
               ? 0
               : far_error(error, -ENAMETOOLONG, "%s: too long a path", dir);
}

/* Root gives what it makes to the netproxy's group; others have only theirs. */
static int give(int fd, mode_t mode)
{
    const struct group *group = geteuid() ? NULL : getgrnam(GROUP);

    if (group && fchown(fd, 0, group->gr_gid))
        return -errno;
    return fchmod(fd, mode) ? -errno : 0;
}

static int make_folder(const char *path, struct far_error *error)
{
    int rc, fd;

    if (mkdir(path, 0700))
        return errno == EEXIST
                   ? 0
                   : far_error(error, -errno, "%s: %s", path, strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    rc = fd < 0 ? -errno : give(fd, 0750);
    if (fd >= 0)
        close(fd);
    return rc ? far_error(error, rc, "%s: %s", path, strerror(-rc)) : 0;
}

int far_trust_files_prepare(const char *dir, struct far_error *error)
{
    char path[PATH_MAX];
    int rc = make_folder(dir, error);

    if (!rc)
        rc = path_of(path, dir, "peers", error);
    if (!rc)
        rc = make_folder(path, error);
    if (!rc)
        rc = path_of(path, dir, "psk", error);
    return rc ? rc : make_folder(path, error);
}

static int write_all(int fd, const char *text)
{
    size_t left = strlen(text);

    while (left) {
        ssize_t n = write(fd, text, left);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            left -= (size_t)n;
        }
    }
    return fsync(fd) ? -errno : 0;
}

/* That the new name outlives a power cut. */
static void settle(const char *path)
{
    char folder[PATH_MAX];
    int fd;

    snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path),
             path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

int far_trust_files_write(const char *dir, const char *name, const char *text,
                          bool secret, struct far_error *error)
{
    char path[PATH_MAX], temporary[PATH_MAX + 8];
    int rc = path_of(path, dir, name, error), fd;

    if (rc)
        return rc;
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    unlink(temporary); /* of one that was interrupted */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return far_error(error, -errno, "%s: %s", temporary, strerror(errno));
    rc = give(fd, secret ? 0640 : 0644);
    if (!rc)
        rc = write_all(fd, text);
    close(fd);
    if (!rc && rename(temporary, path))
        rc = -errno;
    if (rc) {
        unlink(temporary);
        return far_error(error, rc, "%s: %s", path, strerror(-rc));
    }
    settle(path);
    return 0;
}

int far_trust_files_remove(const char *dir, const char *name,
                           struct far_error *error)
{
    char path[PATH_MAX];
    int rc = path_of(path, dir, name, error);

    if (rc)
        return rc;
    if (unlink(path))
        return errno == ENOENT
                   ? 0
                   : far_error(error, -errno, "%s: %s", path, strerror(errno));
    settle(path);
    return 0;
}

int far_trust_files_rename(const char *dir, const char *from, const char *to,
                           struct far_error *error)
{
    char old[PATH_MAX], new[PATH_MAX];
    int rc = path_of(old, dir, from, error);

    if (!rc)
        rc = path_of(new, dir, to, error);
    if (!rc && rename(old, new))
        rc = far_error(error, -errno, "%s: %s", old, strerror(errno));
    if (!rc)
        settle(new);
    return rc;
}
