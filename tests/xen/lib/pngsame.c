// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pngsame FILE SEED WIDTH HEIGHT: is it that picture, pixel by pixel? Says what
 * is another, and ends with 0 only if nothing is.
 */
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/backend/picture.h"

int main(int argc, char **argv)
{
    png_image image = { .version = PNG_IMAGE_VERSION };
    unsigned seed, wrong = 0;
    uint32_t width, height;
    png_bytep pixels;

    if (argc != 5)
        return 2;
    seed = (unsigned)strtoul(argv[2], NULL, 10);
    width = (uint32_t)strtoul(argv[3], NULL, 10);
    height = (uint32_t)strtoul(argv[4], NULL, 10);
    if (!png_image_begin_read_from_file(&image, argv[1])) {
        printf("%s: %s\n", argv[1], image.message);
        return 1;
    }
    image.format = PNG_FORMAT_RGB;
    pixels = malloc(PNG_IMAGE_SIZE(image));
    if (!pixels || !png_image_finish_read(&image, NULL, pixels, 0, NULL)) {
        printf("%s: %s\n", argv[1], image.message);
        return 1;
    }
    if (image.width != width || image.height != height) {
        printf("it has %ux%u pixels\n", image.width, image.height);
        return 1;
    }
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            wrong += !picture_is("XR24", picture_pixel(seed, x, y),
                                 pixels + ((size_t)y * width + x) * 3);
    if (wrong)
        printf("%u of %u pixels are others\n", wrong, width * height);
    free(pixels);
    return wrong != 0;
}
