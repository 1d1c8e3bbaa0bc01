/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The answer to `farside screenshot`: see screen.h.
 */
#include "devices/screen.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/control.h"

/* A file of memory takes it at once, a pipe might not take it ever. */
static int write_all(int fd, const uint8_t *pixels, size_t bytes)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return -EBADF;
    while (bytes) {
        ssize_t n = write(fd, pixels, bytes);

        if (n <= 0)
            return n ? -errno : -EIO;
        pixels += n;
        bytes -= (size_t)n;
    }
    return 0;
}

json_t *far_screen_answer(int fd, const char *guest, const uint8_t *pixels,
                          uint32_t width, uint32_t height)
{
    int r = pixels ? write_all(fd, pixels, (size_t)width * height * 4) : 0;

    if (fd >= 0)
        close(fd);
    if (!guest)
        return far_control_error(-EINVAL, "screenshot: a \"guest\" is needed");
    if (!pixels)
        return far_control_error(-ENOENT,
                                 "%s: there is no guest of that name with "
                                 "such a screen, or it is off",
                                 guest);
    return r ? far_control_error(r, "the picture can't be given: %s",
                                 strerror(-r))
             : json_pack("{s:i s:i}", "width", (int)width, "height",
                         (int)height);
}
