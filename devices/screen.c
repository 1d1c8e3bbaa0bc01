/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The screens that nobody looks at: `screen` keeps each user's picture in
 * memory, for who asks for it (farside screenshot), and `blank` keeps nothing.
 */
#include "devices/screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/tiles.h"
#include "devices/types.h"

struct screen {
    struct far_device device;
    struct far_packer *packer; /* NULL: of a blank one */
    struct user *users;
};

struct user {
    struct far_layer layer;
    struct screen *screen;
    struct far_local_who who;
    uint32_t width, height;
    uint8_t *pixels; /* NULL: it is off, or nothing is kept */
    struct user *next;
};

static struct user *of_layer(struct far_layer *layer)
{
    return (struct user *)(void *)layer;
}

static int set_mode(struct user *u, const struct far_op *op)
{
    struct far_display_mode mode;

    memcpy(&mode, op->args, sizeof(mode));
    if (mode.width == u->width && mode.height == u->height)
        return 0;
    free(u->pixels);
    u->width = u->height = 0;
    u->pixels = mode.width ? calloc((size_t)mode.width * mode.height, 4) : NULL;
    if (mode.width && !u->pixels)
        return -ENOMEM;
    u->width = mode.width;
    u->height = mode.height;
    return 0;
}

static void draw(void *arg, const struct far_display_rect *rect,
                 const uint8_t *pixels)
{
    struct user *u = arg;

    for (uint32_t y = 0; y < rect->height; y++)
        memcpy(u->pixels + ((size_t)(rect->y + y) * u->width + rect->x) * 4,
               pixels + (size_t)y * rect->width * 4, rect->width * 4);
}

static enum far_verdict screen_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    struct user *u = of_layer(layer);

    op->status = far_display_check(op);
    if (!op->status && op->opcode == FAR_DISPLAY_MODE)
        op->status = set_mode(u, op);
    else if (!op->status && op->opcode == FAR_DISPLAY_TILES)
        op->status = far_draw_tiles(u->screen->packer, op, payload, u->width,
                                    u->height, draw, u);
    return FAR_DONE;
}

static enum far_verdict blank_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    (void)layer;
    (void)payload;
    op->status = far_display_check(op);
    return FAR_DONE;
}

static void user_activate(struct far_layer *layer, uint64_t incarnation,
                          uint64_t received)
{
    struct far_layer_news news = {
        .incarnation = of_layer(layer)->screen->device.incarnation
    };

    (void)incarnation;
    (void)received;
    memcpy(news.props, of_layer(layer)->screen->device.props,
           sizeof(news.props));
    far_layer_state(layer->above, FAR_DEVICE_READY, &news);
}

static void user_close(struct far_layer *layer)
{
    struct user *u = of_layer(layer), **at;

    for (at = &u->screen->users; *at != u; at = &(*at)->next)
        ;
    *at = u->next;
    free(u->pixels);
    free(u);
}

static const struct far_layer_ops screen_ops = {
    .name = "screen",
    .submit = screen_submit,
    .activate = user_activate,
    .close = user_close,
};

static const struct far_layer_ops blank_ops = {
    .name = "blank",
    .submit = blank_submit,
    .activate = user_activate,
    .close = user_close,
};

static int screen_open(struct far_device *device,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct screen *screen = (struct screen *)(void *)device;
    struct user *u = calloc(1, sizeof(*u));

    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    u->layer.ops = device->type == &far_type_screen ? &screen_ops : &blank_ops;
    u->screen = screen;
    u->who = *who;
    u->next = screen->users;
    screen->users = u;
    *layer = &u->layer;
    return 0;
}

static int screen_create(struct far_device *device, struct far_error *error)
{
    struct screen *screen = (struct screen *)(void *)device;
    const struct far_display_props props = { .encodings =
                                                 far_tiles_encodings() };

    if (device->type == &far_type_screen) {
        screen->packer = far_packer_new();
        if (!screen->packer)
            return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    }
    memcpy(device->props, &props, sizeof(props));
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void screen_destroy(struct far_device *device)
{
    far_packer_free(((struct screen *)(void *)device)->packer);
}

const uint8_t *far_screen_pixels(const struct far_device *device,
                                 const char *guest, unsigned nth,
                                 uint32_t *width, uint32_t *height)
{
    const struct screen *screen = (const struct screen *)(const void *)device;

    if (device->type != &far_type_screen)
        return NULL;
    for (const struct user *u = screen->users; u; u = u->next) {
        if (!u->pixels || u->who.guest_devid != nth ||
            strcmp(u->who.guest_name, guest))
            continue;
        *width = u->width;
        *height = u->height;
        return u->pixels;
    }
    return NULL;
}

const struct far_device_type far_type_screen = {
    .name = "screen",
    .class = FAR_CLASS_DISPLAY,
    .device_bytes = sizeof(struct screen),
    .create = screen_create,
    .destroy = screen_destroy,
    .open = screen_open,
};

const struct far_device_type far_type_blank = {
    .name = "blank",
    .class = FAR_CLASS_DISPLAY,
    .device_bytes = sizeof(struct screen),
    .create = screen_create,
    .destroy = screen_destroy,
    .open = screen_open,
};
