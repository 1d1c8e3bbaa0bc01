// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside screenshot: what a guest's screen shows, as a PNG. The guest's
// platform knows it; so does the one where the screen is, if it keeps it.

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tools/tool.h"

static int ask_for(struct far_tool *tool, const char *daemon, const char *guest,
                   unsigned connector, int fd, json_t **answer,
                   struct far_error *error)
{
    json_t *request = json_pack("{s:s s:s s:i}", "request", "screenshot",
                                "guest", guest, "connector", (int)connector);
    int r = request ? far_ask_fd(tool, daemon, request, fd, answer, error)
                    : far_error(error, -ENOMEM, "out of memory");

    json_decref(request);
    return r;
}

static int write_png(const char *file, int fd, uint32_t width, uint32_t height)
{
    png_image image = { .version = PNG_IMAGE_VERSION,
                        .width = width,
                        .height = height,
                        .format = PNG_FORMAT_BGR };
    size_t pixels = (size_t)width * height, bytes = pixels * 4;
    uint8_t *from, *packed = malloc(pixels * 3);
    bool ok;

    from = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (from == MAP_FAILED || !packed) {
        free(packed);
        return far_fail("screenshot", FAR_EXIT_FAILED, "out of memory");
    }
    for (size_t i = 0; i < pixels; i++)
        memcpy(packed + i * 3, from + i * 4, 3);
    if (!strcmp(file, "-"))
        ok = png_image_write_to_stdio(&image, stdout, 0, packed, 0, NULL);
    else
        ok = png_image_write_to_file(&image, file, 0, packed, 0, NULL);
    munmap(from, bytes);
    free(packed);
    return ok ? FAR_EXIT_OK
              : far_fail("screenshot", FAR_EXIT_FAILED, "%s: %s", file,
                         image.message);
}

int far_screenshot_command(struct far_tool *tool, int argc, char **argv)
{
    char guest[256], *slash, *end = NULL;
    unsigned long connector = 0;
    struct far_error error = { 0 };
    json_t *answer = NULL;
    int fd, r;

    if (argc != 3 || strlen(argv[1]) >= sizeof(guest))
        return far_usage("screenshot", "wants a guest and a file");
    strcpy(guest, argv[1]);
    slash = strchr(guest, '/');
    if (slash) {
        *slash = '\0';
        connector = strtoul(slash + 1, &end, 10);
        if (!slash[1] || *end || connector > 255)
            return far_usage("screenshot", "%s is not a connector's number",
                             slash + 1);
    }
    fd = memfd_create("screenshot", MFD_CLOEXEC);
    if (fd < 0)
        return far_fail("screenshot", FAR_EXIT_FAILED, "out of memory");
    r = ask_for(tool, "backend", guest, (unsigned)connector, fd, &answer,
                &error);
    if (r) {
        struct far_error other = { 0 };

        if (!ask_for(tool, "netproxy", guest, (unsigned)connector, fd, &answer,
                     &other))
            r = 0;
    }
    r = r ? far_fail("screenshot",
                     r == -EREMOTEIO ? FAR_EXIT_FAILED : FAR_EXIT_NO_DAEMON,
                     "%s", error.text)
          : write_png(argv[2], fd, (uint32_t)far_json_number(answer, "width"),
                      (uint32_t)far_json_number(answer, "height"));
    json_decref(answer);
    close(fd);
    return r;
}
