/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing captures (netproxy/capture.h); pcapng as in
 * draft-ietf-opsawg-pcapng, the few parts of it that are needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "netproxy/capture.h"

#define OPTION_NAME       2 /* of an interface */
#define OPTION_RESOLUTION 9 /* of its times: 9 is nanoseconds */
#define OPTION_FLAGS      2 /* of a packet: 1 in, 2 out */

static bool write_all(struct far_capture *c, struct iovec *parts, int count,
                      size_t bytes)
{
    ssize_t n = writev(c->fd, parts, count);

    /* A disk that is full leaves half a packet, and that is the end. */
    if (n >= 0 && (size_t)n == bytes)
        return true;
    far_capture_end(c);
    c->missed++;
    return false;
}

/* One section, one interface. */
static bool write_head(struct far_capture *c, const char *platform)
{
    struct {
        uint32_t type, bytes, order;
        uint16_t major, minor;
        int64_t length; /* not told */
        uint32_t again;
    } __attribute__((packed))
    section = { FAR_PCAPNG_SECTION, sizeof(section), FAR_PCAPNG_ORDER, 1, 0, -1,
                sizeof(section) };
    struct {
        uint32_t type, bytes;
        uint16_t link_type, reserved;
        uint32_t longest; /* 0: no limit */
        uint16_t resolution, resolution_bytes;
        uint8_t exponent, pad[3];
        uint16_t name, name_bytes;
        char platform[64];
        uint32_t end;
        uint32_t again;
    } __attribute__((packed)) interface = {
        .type = FAR_PCAPNG_INTERFACE,
        .bytes = sizeof(interface),
        .link_type = FAR_PCAPNG_LINK_TYPE,
        .resolution = OPTION_RESOLUTION,
        .resolution_bytes = 1,
        .exponent = 9,
        .name = OPTION_NAME,
        .name_bytes = sizeof(interface.platform),
        .again = sizeof(interface),
    };
    struct iovec parts[] = { { &section, sizeof(section) },
                             { &interface, sizeof(interface) } };

    snprintf(interface.platform, sizeof(interface.platform), "%s", platform);
    c->left_bytes -= sizeof(section) + sizeof(interface);
    return write_all(c, parts, 2, sizeof(section) + sizeof(interface));
}

int far_capture_begin(struct far_capture *c, int fd, uint64_t max_bytes,
                      const char *platform, struct far_error *error)
{
    struct stat st;

    far_capture_end(c);
    if (!max_bytes)
        max_bytes = FAR_CAPTURE_BYTES;
    /* A pipe or a terminal could make us wait. */
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        close(fd);
        return far_error(error, -EINVAL, "a capture goes into a regular file");
    }
    if (max_bytes < 4096 || max_bytes > FAR_CAPTURE_BYTES_MAX) {
        close(fd);
        return far_error(error, -ERANGE,
                         "a capture may have from 4096 bytes to 1 GiB");
    }
    *c = (struct far_capture){ .fd = fd, .left_bytes = max_bytes };
    if (!write_head(c, platform))
        return far_error(error, -EIO, "the capture can't be written");
    return 0;
}

void far_capture_end(struct far_capture *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void far_capture_frame(struct far_capture *c, bool out, const uint8_t *data,
                       size_t bytes)
{
    static const uint8_t zeros[8];
    size_t pad = -bytes & 3;
    struct {
        uint32_t type, bytes, interface, time_high, time_low, captured, whole;
    } head = { .type = FAR_PCAPNG_PACKET };
    struct {
        uint16_t flags, flags_bytes;
        uint32_t direction, end, again;
    } tail = { OPTION_FLAGS, 4, out ? 2 : 1, 0, 0 };
    struct iovec parts[] = { { &head, sizeof(head) },
                             { (void *)(uintptr_t)data, bytes },
                             { (void *)(uintptr_t)zeros, pad },
                             { &tail, sizeof(tail) } };
    size_t all = sizeof(head) + bytes + pad + sizeof(tail);
    struct timespec now;
    uint64_t ns;

    if (c->fd < 0)
        return;
    if (all > c->left_bytes) {
        far_capture_end(c);
        c->missed++;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    head.bytes = tail.again = (uint32_t)all;
    head.time_high = (uint32_t)(ns >> 32);
    head.time_low = (uint32_t)ns;
    head.captured = head.whole = (uint32_t)bytes;
    c->left_bytes -= all;
    if (write_all(c, parts, 4, all))
        c->frames++;
}
