/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest with a screen for tests on the simulator: displguest.c, which draws;
 * and what is seen of it, by farside screenshot.
 */
#ifndef FARSIDE_TESTS_BACKEND_SCREEN_H
#define FARSIDE_TESTS_BACKEND_SCREEN_H

#include <png.h>
#include "tests/backend/picture.h"
#include "tests/backend/simhost.h"

#define GUEST "tests/backend/displguest"

static const char *shot_options = ""; /* of farside: where to ask */

/* line: behind `vdispl=`. */
static inline struct guest guest(const char *name, const char *line)
{
    char lines[512];

    snprintf(lines, sizeof(lines), "memory=256 gntalloc=20000 'vdispl=%s'",
             line);
    return guest_with(GUEST, name, lines);
}

static inline struct guest connected(const char *name, const char *line)
{
    struct guest g = guest(name, line);

    OK(&g, "open 0");
    OK(&g, "connected");
    return g;
}

static inline png_bytep picture(const char *of, png_image *image)
{
    char path[200];
    png_bytep pixels;

    snprintf(path, sizeof(path), "%s/shot.png", host);
    if (host_do(NULL, 0, "run atlas -- %s/farside %s screenshot %s %s 2>&1",
                build, shot_options, of, path))
        return NULL;
    memset(image, 0, sizeof(*image));
    image->version = PNG_IMAGE_VERSION;
    ck_assert(png_image_begin_read_from_file(image, path));
    image->format = PNG_FORMAT_RGB;
    pixels = malloc(PNG_IMAGE_SIZE(*image));
    ck_assert(png_image_finish_read(image, NULL, pixels, 0, NULL));
    return pixels;
}

/* Does the screen show that picture at (x, y), w by h of it, and else nothing?
 */
static inline bool shows_part(const char *of, const char *format, unsigned seed,
                              uint32_t width, uint32_t height, uint32_t x0,
                              uint32_t y0, uint32_t w, uint32_t h)
{
    static const uint8_t black[3];
    png_image image;
    png_bytep pixels = picture(of, &image);
    bool good = pixels && image.width == width && image.height == height;

    for (uint32_t y = 0; good && y < height; y++)
        for (uint32_t x = 0; good && x < width; x++) {
            const uint8_t *at = pixels + ((size_t)y * width + x) * 3;
            bool in = x >= x0 && y >= y0 && x - x0 < w && y - y0 < h;

            good =
                in ? picture_is(format, picture_pixel(seed, x - x0, y - y0), at)
                   : !memcmp(at, black, 3);
        }
    free(pixels);
    return good;
}

static inline bool shows(const char *of, const char *format, unsigned seed,
                         uint32_t width, uint32_t height)
{
    return shows_part(of, format, seed, width, height, 0, 0, width, height);
}

/* A screen is looked at row by row, and a picture that is not flipped only four
 * times a second. */
#define SEEN(...)                                                   \
    do {                                                            \
        uint64_t until_ = far_now_us() + 60000000;                  \
        while (!shows(__VA_ARGS__)) {                               \
            ck_assert_msg(far_now_us() < until_, "is not seen: %s", \
                          #__VA_ARGS__);                            \
            nap_ms(50);                                             \
        }                                                           \
    } while (0)

static inline json_t *device_of(const struct guest *g)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *that, *found = NULL;
    size_t i;

    json_array_foreach (json_object_get(whole, "guests"), i, that)
        if (json_integer_value(json_object_get(that, "domid")) ==
            (json_int_t)g->domid)
            found = json_incref(
                json_array_get(json_object_get(that, "devices"), 0));
    json_decref(whole);
    return found;
}

static inline bool is_in_state(const struct guest *g, const char *state)
{
    json_t *device = device_of(g);
    const char *is = json_string_value(json_object_get(device, "state"));
    bool yes = is && !strcmp(is, state);

    json_decref(device);
    return yes;
}

static inline void becomes(const struct guest *g, const char *state)
{
    uint64_t until = far_now_us() + 60000000;

    while (!is_in_state(g, state)) {
        ck_assert_msg(far_now_us() < until, "does not become %s", state);
        nap_ms(20);
    }
}

static inline json_int_t counter(const struct guest *g, const char *name)
{
    json_t *device = device_of(g);
    json_int_t value = json_integer_value(
        json_object_get(json_object_get(device, "counters"), name));

    json_decref(device);
    return value;
}

static inline json_int_t pages_of(const struct guest *g)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *that;
    json_int_t pages = 0;
    size_t i;

    json_array_foreach (json_object_get(whole, "guests"), i, that)
        if (json_integer_value(json_object_get(that, "domid")) ==
            (json_int_t)g->domid)
            pages = json_integer_value(json_object_get(that, "pages"));
    json_decref(whole);
    return pages;
}

#endif
