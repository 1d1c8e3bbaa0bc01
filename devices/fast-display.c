/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See fast-display.h. One picture is kept, the shadow: what the screen behind
 * was or will be sent. A tile that differs from it is copied there and marked;
 * marked tiles go out as long as there are free slots.
 */
#include "devices/fast-display.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "devices/pixels.h"
#include "devices/tiles.h"

#define BEATS_A_SECOND 60u
#define LOOK_US        250000u /* at a picture that is not flipped */
#define SLOTS          16u
#define OPS_A_TURN     2u
/* What is packed in one turn, and for how long it is packed better after the
 * way to the screen was seen to be slow. */
#define PACK_BYTES 65536u
#define SLOW_US    1000000u

struct slot {
    bool busy;
    uint64_t sequence;
    uint16_t opcode;
    uint8_t *memory; /* of our own; NULL: none yet, or the device has one */
};

struct fast {
    struct far_layer layer;
    struct far_loop *loop;
    uint64_t attachment;
    struct far_fast_display_calls calls;
    void *arg;

    struct far_picture picture;
    uint32_t width, height;
    uint8_t *shadow, *line;
    uint8_t *marks; /* a byte a tile */
    uint32_t columns, rows, marked, first_mark;

    struct far_defer compare;
    uint32_t row, rows_left; /* to be compared */
    uint64_t frame, flipped_us;
    struct far_timer look;

    struct far_timer beat;
    uint64_t began_us; /* the beats are counted from here */
    bool flipping;

    bool ready;     /* the device behind is */
    bool mode_due;  /* it is to be told of the size */
    bool mode_told; /* and has answered */
    uint32_t mode_slot;
    struct slot slots[SLOTS];
    uint64_t sequence;
    bool stuck;                /* FAR_FULL: room() comes */
    struct far_packer *packer; /* NULL: nothing is packed */
    uint8_t *raw;
    uint32_t encodings; /* that the device can unpack */
    uint64_t slow_us;   /* all slots were busy: it was slow then */
    struct far_defer pump;

    uint32_t wish_width, wish_height;
    char reason[232];
    struct far_fast_display_counters counters;
    struct far_hist late;
};

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static struct fast *fast_of(struct far_layer *layer)
{
    return (struct fast *)(void *)layer;
}

static const struct fast *const_fast(const struct far_layer *layer)
{
    return (const struct fast *)(const void *)layer;
}

/* --- what has changed ------------------------------------------------------
 */

static void pump_run(struct far_defer *defer);

static void pump_later(struct fast *f)
{
    if (f->ready && !f->stuck && (f->mode_due || f->marked))
        far_defer_late(f->loop, &f->pump, pump_run);
}

static void mark(struct fast *f, uint32_t column, uint32_t row)
{
    uint32_t tile = row * f->columns + column;

    if (f->marks[tile])
        return;
    f->marks[tile] = 1;
    f->marked++;
}

static void mark_all(struct fast *f)
{
    f->marked = f->columns * f->rows;
    if (f->marks)
        memset(f->marks, 1, f->marked);
}

/* One row of pixels, from x on: what differs is taken over. */
static void compare_line(struct fast *f, const uint8_t *pixels, uint32_t x,
                         uint32_t y, uint32_t count)
{
    uint8_t *shadow = f->shadow + ((size_t)y * f->width + x) * 4;
    uint32_t row = y / FAR_DISPLAY_TILE;

    if (!memcmp(shadow, pixels, (size_t)count * 4))
        return;
    while (count) {
        uint32_t n = FAR_DISPLAY_TILE - x % FAR_DISPLAY_TILE;

        if (n > count)
            n = count;
        if (memcmp(shadow, pixels, (size_t)n * 4)) {
            memcpy(shadow, pixels, (size_t)n * 4);
            mark(f, x / FAR_DISPLAY_TILE, row);
        }
        shadow += n * 4;
        pixels += n * 4;
        x += n;
        count -= n;
    }
}

static void compare_row(struct fast *f, uint32_t row)
{
    const struct far_picture *p = &f->picture;
    uint32_t from = row * FAR_DISPLAY_TILE, to = from + FAR_DISPLAY_TILE;
    bool as_it_is = far_pixels_bytes(p->format) == 4;

    if (from < p->y)
        from = p->y;
    if (to > p->y + p->height)
        to = p->y + p->height;
    for (uint32_t y = from; y < to; y++) {
        const uint8_t *line = p->memory + (size_t)(y - p->y) * p->pitch_bytes;

        if (!as_it_is) {
            far_pixels_convert(p->format, f->line, line, p->width);
            line = f->line;
        }
        compare_line(f, line, p->x, y, p->width);
    }
}

static void compare_run(struct far_defer *defer)
{
    struct fast *f = CONTAINER(struct fast, compare, defer);
    uint32_t before = f->marked;

    if (!f->picture.memory || !f->shadow || !f->rows_left)
        return;
    compare_row(f, f->row);
    f->row = (f->row + 1) % f->rows;
    f->counters.compared += f->columns;
    f->counters.changed += f->marked - before;
    if (--f->rows_left)
        far_defer_late(f->loop, &f->compare, compare_run);
    pump_later(f);
}

/* All rows, from where we are. */
static void compare_all(struct fast *f)
{
    if (!f->picture.memory || !f->shadow)
        return;
    if (!f->rows_left)
        f->row = 0;
    f->rows_left = f->rows;
    f->frame++;
    far_defer_late(f->loop, &f->compare, compare_run);
}

static void look(struct far_timer *timer)
{
    struct fast *f = CONTAINER(struct fast, look, timer);

    if (!f->rows_left)
        compare_all(f);
    far_timer_set(timer, far_loop_now_us(f->loop) + LOOK_US);
}

/* --- towards the screen ----------------------------------------------------
 */

static struct slot *free_slot(struct fast *f)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!f->slots[i].busy)
            return &f->slots[i];
    return NULL;
}

static uint8_t *memory_of(struct fast *f, struct slot *s)
{
    uint8_t *at = far_layer_place(f->layer.below, (uint32_t)(s - f->slots),
                                  FAR_DISPLAY_PAYLOAD_MAX);

    if (at)
        return at;
    if (!s->memory)
        s->memory = malloc(FAR_DISPLAY_PAYLOAD_MAX);
    return s->memory;
}

/* The fourth byte of a guest's pixel may be anything. */
static void put_pixels(uint8_t *to, const uint8_t *from, uint32_t count)
{
    const uint32_t *source = (const uint32_t *)(const void *)from;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t pixel = source[i] & 0xffffff;

        memcpy(to + i * 4, &pixel, 4);
    }
}

/* As many marked tiles as fit, one after the other from where we were last: all
 * have their turn, however much changes at the top. */
static void put_tiles(struct fast *f, uint8_t *at, uint32_t room,
                      struct far_display_tiles *a)
{
    uint32_t tiles = f->columns * f->rows;

    for (uint32_t n = 0; n < tiles && f->marked; n++) {
        uint32_t number = (f->first_mark + n) % tiles;
        struct far_display_tile tile = { (uint16_t)(number % f->columns),
                                         (uint16_t)(number / f->columns) };
        struct far_display_rect r;

        if (!f->marks[number])
            continue;
        (void)far_display_tile_rect(&r, &tile, f->width, f->height);
        if (a->raw_bytes + sizeof(tile) + r.width * r.height * 4 > room) {
            f->first_mark = number;
            return;
        }
        memcpy(at, &tile, sizeof(tile));
        at += sizeof(tile);
        for (uint32_t y = 0; y < r.height; y++, at += r.width * 4)
            put_pixels(at, f->shadow + ((size_t)(r.y + y) * f->width + r.x) * 4,
                       r.width);
        a->raw_bytes += (uint32_t)sizeof(tile) + r.width * r.height * 4;
        a->count++;
        f->marks[number] = 0;
        f->marked--;
    }
    f->first_mark = 0;
}

static void answered(struct fast *f, struct slot *s)
{
    s->busy = false;
    if (s->opcode == FAR_DISPLAY_MODE && !f->mode_due)
        f->mode_told = true;
}

static bool submit(struct fast *f, struct slot *s, struct far_op *op,
                   void *payload)
{
    op->attachment = f->attachment;
    op->slot = (uint32_t)(s - f->slots);
    op->sequence = ++f->sequence;
    s->busy = true;
    s->opcode = op->opcode;
    s->sequence = op->sequence;
    switch (far_layer_submit(f->layer.below, op, payload)) {
    case FAR_DONE:
        answered(f, s);
        return true;
    case FAR_LATER:
        return true;
    default:
        s->busy = false;
        f->stuck = true;
        f->counters.full++;
        return false;
    }
}

static void send_mode(struct fast *f, struct slot *s)
{
    struct far_display_mode mode = { .width = f->width, .height = f->height };
    struct far_op op = { .opcode = FAR_DISPLAY_MODE };

    memcpy(op.args, &mode, sizeof(mode));
    f->mode_due = false;
    if (!submit(f, s, &op, NULL))
        f->mode_due = true;
}

/* Zstandard makes less of them, LZ4 takes less time: while the way to the
 * screen keeps up, nobody gains by fewer bytes. */
static enum far_display_encoding encoding(const struct fast *f)
{
    bool slow = far_loop_now_us(f->loop) - f->slow_us < SLOW_US;

    if (!f->packer)
        return FAR_DISPLAY_RAW;
    if (f->encodings & 1u << FAR_DISPLAY_ZSTD &&
        (slow || !(f->encodings & 1u << FAR_DISPLAY_LZ4)))
        return FAR_DISPLAY_ZSTD;
    return f->encodings & 1u << FAR_DISPLAY_LZ4 ? FAR_DISPLAY_LZ4
                                                : FAR_DISPLAY_RAW;
}

/* To where the op has it, packed if that makes it smaller. */
static uint32_t pack(struct fast *f, struct far_display_tiles *a,
                     uint8_t *memory)
{
    uint32_t bytes = far_pack(f->packer, encoding(f), memory,
                              FAR_DISPLAY_PAYLOAD_MAX, f->raw, a->raw_bytes);

    if (bytes) {
        a->encoding = (uint8_t)encoding(f);
        return bytes;
    }
    memcpy(memory, f->raw, a->raw_bytes);
    return a->raw_bytes;
}

static void send_tiles(struct fast *f, struct slot *s, uint8_t *memory)
{
    struct far_display_tiles a = { .width = f->width,
                                   .height = f->height,
                                   .frame = f->frame,
                                   .time_us = f->flipped_us };
    struct far_op op = { .opcode = FAR_DISPLAY_TILES, .flags = FAR_OP_SENDS };
    struct far_display_walk walk;
    struct far_display_rect r;
    const uint8_t *pixels, *raw = f->packer ? f->raw : memory;

    if (f->packer) {
        put_tiles(f, f->raw, PACK_BYTES, &a);
        op.payload_bytes = pack(f, &a, memory);
    } else {
        put_tiles(f, memory, FAR_DISPLAY_PAYLOAD_MAX, &a);
        op.payload_bytes = a.raw_bytes;
    }
    a.last = !f->marked && !f->rows_left;
    memcpy(op.args, &a, sizeof(a));
    if (submit(f, s, &op, memory)) {
        f->counters.sent_tiles += a.count;
        f->counters.sent_bytes += op.payload_bytes;
        f->counters.raw_bytes += a.raw_bytes;
        return;
    }
    /* it will be made anew, of what the tiles are then */
    far_display_walk_begin(&walk, &a, raw);
    while (far_display_walk_next(&walk, &r, &pixels) == 1)
        mark(f, r.x / FAR_DISPLAY_TILE, r.y / FAR_DISPLAY_TILE);
}

static void pump_run(struct far_defer *defer)
{
    struct fast *f = CONTAINER(struct fast, pump, defer);

    for (unsigned n = 0; n < OPS_A_TURN && f->ready && !f->stuck; n++) {
        struct slot *s = free_slot(f);
        uint8_t *memory;

        if (!s) {
            f->slow_us = far_loop_now_us(f->loop);
            return;
        }
        if (f->mode_due) {
            send_mode(f, s);
            continue;
        }
        if (!f->mode_told || !f->marked)
            return;
        memory = memory_of(f, s);
        if (!memory)
            return; /* the next look brings us back */
        send_tiles(f, s, memory);
    }
    pump_later(f);
}

static void fast_complete(struct far_layer *layer, const struct far_op *op)
{
    struct fast *f = fast_of(layer);

    if (op->slot >= SLOTS || !f->slots[op->slot].busy ||
        f->slots[op->slot].sequence != op->sequence)
        return;
    answered(f, &f->slots[op->slot]);
    pump_later(f);
}

static void fast_room(struct far_layer *layer)
{
    struct fast *f = fast_of(layer);

    f->stuck = false;
    pump_later(f);
}

static bool fast_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct fast *f = fast_of(layer);
    struct far_display_mode wish;

    memcpy(&wish, op->args, sizeof(wish));
    if (op->opcode == FAR_DISPLAY_WISH &&
        far_display_size_valid(wish.width, wish.height)) {
        f->wish_width = wish.width;
        f->wish_height = wish.height;
    }
    far_layer_ack(layer->below, op->sequence);
    return true;
}

/* Who comes (back) may know nothing of what was shown. */
static void fast_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct fast *f = fast_of(layer);

    layer->device_state = state;
    snprintf(f->reason, sizeof(f->reason), "%s",
             news && news->reason ? news->reason : "");
    if (news && news->ops_lost)
        for (unsigned i = 0; i < SLOTS; i++)
            f->slots[i].busy = false;
    f->ready = state == FAR_DEVICE_READY;
    if (f->ready && news) {
        struct far_display_props props;

        memcpy(&props, news->props, sizeof(props));
        f->encodings = props.encodings & far_tiles_encodings();
    }
    f->stuck = false;
    f->mode_told = false;
    f->mode_due = f->ready;
    mark_all(f);
    pump_later(f);
    if (layer->above)
        far_layer_state(layer->above, state, news);
}

static void fast_close(struct far_layer *layer)
{
    struct fast *f = fast_of(layer);

    far_defer_cancel(f->loop, &f->compare);
    far_defer_cancel(f->loop, &f->pump);
    far_timer_cancel(&f->look);
    far_timer_cancel(&f->beat);
    if (layer->below) {
        layer->below->above = NULL;
        far_layer_close(layer->below);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        free(f->slots[i].memory);
    far_packer_free(f->packer);
    free(f->raw);
    free(f->shadow);
    free(f->line);
    free(f->marks);
    free(f);
}

static const struct far_layer_ops fast_ops = {
    .name = "fast-display",
    .complete = fast_complete,
    .interrupt = fast_interrupt,
    .state = fast_state,
    .room = fast_room,
    .close = fast_close,
};

/* --- flips -----------------------------------------------------------------
 */

static void beat(struct far_timer *timer)
{
    struct fast *f = CONTAINER(struct fast, beat, timer);
    uint64_t now_ns = far_now_ns(), due_ns = timer->due_us * 1000;

    far_hist_add(&f->late, now_ns > due_ns ? now_ns - due_ns : 0);
    f->flipping = false;
    f->counters.flips++;
    f->calls.flipped(f->arg);
}

void far_fast_display_flip(struct far_layer *layer,
                           const struct far_picture *picture)
{
    struct fast *f = fast_of(layer);
    uint64_t now = far_now_us(), beats;

    far_fast_display_show(layer, picture);
    if (f->flipping)
        return;
    f->flipping = true;
    beats = (now - f->began_us) * BEATS_A_SECOND / 1000000 + 1;
    far_timer_set(&f->beat,
                  f->began_us +
                      (beats * 1000000 + BEATS_A_SECOND - 1) / BEATS_A_SECOND);
}

void far_fast_display_forget(struct far_layer *layer)
{
    struct fast *f = fast_of(layer);

    f->flipping = false;
    far_timer_cancel(&f->beat);
}

void far_fast_display_show(struct far_layer *layer,
                           const struct far_picture *picture)
{
    struct fast *f = fast_of(layer);

    f->picture = *picture;
    far_timer_cancel(&f->look);
    if (!picture->memory)
        return;
    f->counters.pictures++;
    f->flipped_us = far_loop_now_us(f->loop);
    compare_all(f);
    far_timer_set(&f->look, f->flipped_us + LOOK_US);
}

int far_fast_display_mode(struct far_layer *layer, uint32_t width,
                          uint32_t height)
{
    struct fast *f = fast_of(layer);
    int r = 0;

    if (width == f->width && height == f->height)
        return 0;
    f->picture.memory = NULL;
    free(f->shadow);
    free(f->marks);
    free(f->line);
    f->shadow = f->marks = f->line = NULL;
    f->columns = (width + FAR_DISPLAY_TILE - 1) / FAR_DISPLAY_TILE;
    f->rows = (height + FAR_DISPLAY_TILE - 1) / FAR_DISPLAY_TILE;
    if (width) {
        f->shadow = calloc((size_t)width * height, 4);
        f->marks = calloc(f->columns, f->rows);
        f->line = malloc((size_t)width * 4);
        if (!f->shadow || !f->marks || !f->line) {
            free(f->shadow);
            free(f->marks);
            f->shadow = f->marks = NULL;
            f->columns = f->rows = width = height = 0;
            r = -ENOMEM;
        }
    }
    f->width = width;
    f->height = height;
    f->marked = f->first_mark = f->rows_left = 0;
    f->mode_due = f->ready;
    f->mode_told = false;
    pump_later(f);
    return r;
}

/* --- for the port ----------------------------------------------------------
 */

struct far_layer *
far_fast_display_new(struct far_loop *loop, uint64_t attachment, bool distant,
                     const struct far_fast_display_calls *calls, void *arg)
{
    struct fast *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->layer.ops = &fast_ops;
    f->loop = loop;
    f->attachment = attachment;
    f->calls = *calls;
    f->arg = arg;
    f->began_us = far_now_us();
    if (distant) {
        f->packer = far_packer_new();
        f->raw = malloc(PACK_BYTES);
        if (!f->packer || !f->raw) {
            far_packer_free(f->packer);
            free(f->raw);
            free(f);
            return NULL;
        }
    }
    far_timer_init(&f->look, loop, look);
    far_timer_init(&f->beat, loop, beat);
    return &f->layer;
}

const struct far_picture *far_fast_display_shown(const struct far_layer *layer)
{
    return &const_fast(layer)->picture;
}

const uint8_t *far_fast_display_pixels(const struct far_layer *layer,
                                       uint32_t *width, uint32_t *height)
{
    const struct fast *f = const_fast(layer);

    *width = f->width;
    *height = f->height;
    return f->shadow;
}

void far_fast_display_wish(const struct far_layer *layer, uint32_t *width,
                           uint32_t *height)
{
    *width = const_fast(layer)->wish_width;
    *height = const_fast(layer)->wish_height;
}

const char *far_fast_display_reason(const struct far_layer *layer)
{
    const struct fast *f = const_fast(layer);

    return f->ready || !f->reason[0] ? NULL : f->reason;
}

const struct far_fast_display_counters *
far_fast_display_counters(const struct far_layer *layer)
{
    return &const_fast(layer)->counters;
}

const struct far_hist *far_fast_display_late(const struct far_layer *layer)
{
    return &const_fast(layer)->late;
}
