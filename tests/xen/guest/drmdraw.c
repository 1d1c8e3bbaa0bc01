// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A DRM client of the lab's guest: draws known pictures on every connector with
 * page flips, each after the event of the last. It knows Linux's DRM only,
 * nothing of Xen or Farside. What it did it prints:
 *
 *   DRM 0 1280x800          a connector is there
 *   DRM 0 shows 20 flips 20 this picture is on it, after so many flips
 *   DRM error WHAT
 * The pictures, FIRST to LAST, are named in a file, whose name is the argument;
 * when it changes it goes on with what stands there then. "0 0" ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <libdrm/drm.h>
#include <libdrm/drm_fourcc.h>
#include <libdrm/drm_mode.h>
#include "tests/backend/picture.h"

#define SCREENS    4
#define EVENT_WAIT 10000 /* ms */

struct screen {
    uint32_t connector, crtc, width, height;
    struct drm_mode_modeinfo mode;
    struct {
        uint32_t fb, pitch;
        uint8_t *memory;
    } buffer[2];
    unsigned flips;
};

static void call(int fd, unsigned long request, void *argument,
                 const char *name)
{
    if (!ioctl(fd, request, argument))
        return;
    printf("DRM error %s: %s\n", name, strerror(errno));
    exit(1);
}
#define CALL(fd, request, argument) call(fd, request, argument, #request)

static void make_buffer(int fd, struct screen *s, unsigned n)
{
    struct drm_mode_create_dumb dumb = { .width = s->width,
                                         .height = s->height,
                                         .bpp = 32 };
    struct drm_mode_map_dumb map = { 0 };
    struct drm_mode_fb_cmd2 fb = { .width = s->width,
                                   .height = s->height,
                                   .pixel_format = DRM_FORMAT_XRGB8888 };

    CALL(fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb);
    fb.handles[0] = map.handle = dumb.handle;
    fb.pitches[0] = s->buffer[n].pitch = dumb.pitch;
    CALL(fd, DRM_IOCTL_MODE_ADDFB2, &fb);
    CALL(fd, DRM_IOCTL_MODE_MAP_DUMB, &map);
    s->buffer[n].fb = fb.fb_id;
    s->buffer[n].memory = mmap(NULL, dumb.size, PROT_READ | PROT_WRITE,
                               MAP_SHARED, fd, (off_t)map.offset);
    if (s->buffer[n].memory == MAP_FAILED) {
        printf("DRM error mmap: %s\n", strerror(errno));
        exit(1);
    }
}

static void draw(struct screen *s, unsigned n, unsigned seed)
{
    for (uint32_t y = 0; y < s->height; y++) {
        uint32_t *line = (uint32_t *)(void *)(s->buffer[n].memory +
                                              (size_t)y * s->buffer[n].pitch);

        for (uint32_t x = 0; x < s->width; x++)
            line[x] = picture_pixel(seed, x, y);
    }
}

static int await_event(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    char event[256];

    return poll(&p, 1, EVENT_WAIT) == 1 && read(fd, event, sizeof(event)) > 0;
}

static void show(int fd, struct screen *s, unsigned number, unsigned first,
                 unsigned last)
{
    for (unsigned seed = first; seed <= last; seed++) {
        unsigned n = s->flips % 2;
        struct drm_mode_crtc_page_flip flip = { .crtc_id = s->crtc,
                                                .fb_id = s->buffer[n].fb,
                                                .flags =
                                                    DRM_MODE_PAGE_FLIP_EVENT };

        draw(s, n, seed);
        CALL(fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip);
        if (!await_event(fd)) {
            printf("DRM error %u: no event for flip %u\n", number, s->flips);
            exit(1);
        }
        s->flips++;
    }
    printf("DRM %u shows %u flips %u\n", number, last, s->flips);
}

static void begin(int fd, struct screen *s, unsigned number)
{
    struct drm_mode_modeinfo modes[4] = { 0 };
    struct drm_mode_get_connector c = { .connector_id = s->connector };
    struct drm_mode_crtc crtc = { .crtc_id = s->crtc,
                                  .mode_valid = 1,
                                  .count_connectors = 1,
                                  .set_connectors_ptr =
                                      (uintptr_t)&s->connector };

    /* without room for modes the driver looks which there are */
    CALL(fd, DRM_IOCTL_MODE_GETCONNECTOR, &c);
    c.modes_ptr = (uintptr_t)modes;
    c.count_modes = c.count_modes < 4 ? c.count_modes : 4;
    c.count_encoders = c.count_props = 0;
    CALL(fd, DRM_IOCTL_MODE_GETCONNECTOR, &c);
    s->mode = modes[0];
    s->width = s->mode.hdisplay;
    s->height = s->mode.vdisplay;
    printf("DRM %u %ux%u\n", number, s->width, s->height);
    make_buffer(fd, s, 0);
    make_buffer(fd, s, 1);
    crtc.fb_id = s->buffer[1].fb;
    crtc.mode = s->mode;
    CALL(fd, DRM_IOCTL_MODE_SETCRTC, &crtc);
}

/* What stands in the file; waits until it is something else than before. */
static void next(const char *path, unsigned *first, unsigned *last)
{
    unsigned was[2] = { *first, *last };

    for (;; usleep(100000)) {
        FILE *f = fopen(path, "r");
        int n = f ? fscanf(f, "%u %u", first, last) : 0;

        if (f)
            fclose(f);
        if (n == 2 && (*first != was[0] || *last != was[1]))
            return;
    }
}

int main(int argc, char **argv)
{
    static struct screen screens[SCREENS];
    uint32_t connectors[SCREENS], crtcs[SCREENS];
    struct drm_mode_card_res res = { .connector_id_ptr = (uintptr_t)connectors,
                                     .crtc_id_ptr = (uintptr_t)crtcs,
                                     .count_connectors = SCREENS,
                                     .count_crtcs = SCREENS };
    unsigned first = 0, last = 0;
    int fd = -1;

    if (argc != 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; fd < 0 && i < 300; i++, usleep(100000))
        fd = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        puts("DRM error there is no card");
        return 1;
    }
    (void)ioctl(fd, DRM_IOCTL_SET_MASTER, 0);
    CALL(fd, DRM_IOCTL_MODE_GETRESOURCES, &res);
    for (unsigned i = 0; i < res.count_connectors && i < SCREENS; i++) {
        screens[i].connector = connectors[i];
        screens[i].crtc = crtcs[i];
        begin(fd, &screens[i], i);
    }
    for (;;) {
        next(argv[1], &first, &last);
        if (!last)
            return 0;
        for (unsigned i = 0; i < res.count_connectors && i < SCREENS; i++)
            show(fd, &screens[i], i, first + i * 1000, last + i * 1000);
    }
}
