/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fast display: goes between a display port and whatever screen is behind.
 * It answers for the screen: a flip is done at the next of 60 beats a second of
 * an exact clock, whatever the screen does. It compares what the guest shows
 * with what was shown before, tile by tile, and passes on what has changed; of
 * a screen that is slow it keeps in mind which tiles are old, never old tiles.
 *
 * Comparing is done a row of tiles in each turn of the loop. Pictures that are
 * not flipped are looked at four times a second: a guest may draw into what it
 * shows.
 */
#ifndef FARSIDE_DEVICES_FAST_DISPLAY_H
#define FARSIDE_DEVICES_FAST_DISPLAY_H

#include "core/display.h"
#include "devices/device.h"

/* Where a guest has drawn; read only, and the guest may change it meanwhile. */
struct far_picture {
    const uint8_t *memory; /* NULL: nothing is shown */
    uint32_t width, height, pitch_bytes;
    uint32_t format; /* of devices/pixels.h */
    uint32_t x, y;   /* where on the screen; it fits */
};

struct far_fast_display_calls {
    /* The flip is done: the guest may be told. */
    void (*flipped)(void *arg);
};

/* The layer is made here and stacked by the caller, who closes it. attachment:
 * whose ops these are. distant: the screen is another machine's: tiles are
 * packed, as far as it can unpack them. NULL: memory is out. */
struct far_layer *
far_fast_display_new(struct far_loop *loop, uint64_t attachment, bool distant,
                     const struct far_fast_display_calls *calls, void *arg);
/* The screen has that size (a valid one), or is off (0 by 0). -ENOMEM: it is
 * off. */
int far_fast_display_mode(struct far_layer *fast, uint32_t width,
                          uint32_t height);
/* Shown from now on, until the next show or flip; its memory stays that long.
 */
void far_fast_display_show(struct far_layer *fast,
                           const struct far_picture *picture);
/* The same, and flipped() is called at the next beat: once, also for several
 * flips. */
void far_fast_display_flip(struct far_layer *fast,
                           const struct far_picture *picture);
/* The flip that is under way will not be told of. */
void far_fast_display_forget(struct far_layer *fast);
/* Is the memory of this picture being looked at? */
const struct far_picture *far_fast_display_shown(const struct far_layer *fast);
/* What is on the screen: width * height pixels, as of core/display.h (without
 * its fourth byte); NULL: it is off. */
const uint8_t *far_fast_display_pixels(const struct far_layer *fast,
                                       uint32_t *width, uint32_t *height);
/* The size that who looks would like; 0 by 0: has not said. */
void far_fast_display_wish(const struct far_layer *fast, uint32_t *width,
                           uint32_t *height);
/* Why nobody sees it, or NULL. */
const char *far_fast_display_reason(const struct far_layer *fast);
struct far_fast_display_counters {
    uint64_t flips, pictures, compared, changed, sent_tiles, sent_bytes, full;
    uint64_t raw_bytes; /* before they were packed */
};
const struct far_fast_display_counters *
far_fast_display_counters(const struct far_layer *fast);
/* How long after its beat a flip was told of, in ns; how long comparing a
 * picture took. */
const struct far_hist *far_fast_display_late(const struct far_layer *fast);

#endif
