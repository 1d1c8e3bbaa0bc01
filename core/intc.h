/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The interrupt class: lines of a device, by number, that are raised. What goes
 * up says how a line stands, not what has changed: so one that comes again
 * (after a lost link, a killed process, a moved guest) is nothing new, and
 * those that wait may become one. Also the words of a controller's sources in
 * farside.conf.
 */
#ifndef FARSIDE_CORE_INTC_H
#define FARSIDE_CORE_INTC_H

#include <stdbool.h>
#include "core/conf.h"
#include "core/op.h"

/* args: struct far_intc_args, only `line`. The guest has served the interrupt
 * of a level line with FAR_INTC_RESAMPLE: it counts as low, and is raised again
 * if it is still high. Repeatable. */
#define FAR_INTC_EOI FAR_OPCODE(FAR_CLASS_INTC, 1)
/* Interrupt: args hold a struct far_intc_args. */
#define FAR_INTC_LINE FAR_OPCODE(FAR_CLASS_INTC, 0x80)
/* Interrupt, to a guest that did not attach the device (FAR_LOCAL_NOTIFY): args
 * hold a struct far_intc_args, only `line`, which was raised once. */
#define FAR_INTC_RAISE FAR_OPCODE(FAR_CLASS_INTC, 0x81)

enum far_intc_flag {
    FAR_INTC_LEVEL = 1, /* a level line; without: edges */
    FAR_INTC_HIGH = 2,  /* … which is high */
    /* … whose device wants to be told (FAR_INTC_EOI) when it was served */
    FAR_INTC_RESAMPLE = 4,
    /* No news: so it stood when the user was activated. Each line that has ever
     * been raised is stated after each activation, before anything else of it
     * is said. */
    FAR_INTC_STATED = 8,
    /* The end of that, also if there was none: `line` and `total` say nothing,
     * and a line that was not stated had never been raised in this epoch. */
    FAR_INTC_ALL_STATED = 16,
};

struct far_intc_args {
    uint32_t line;
    uint32_t flags; /* enum far_intc_flag; others are 0, and ignored */
    uint64_t total; /* how often it was raised in this epoch */
    uint64_t epoch; /* random when the device was made, never 0 */
    uint64_t reserved;
};
static_assert(sizeof(struct far_intc_args) == FAR_OP_ARGS_BYTES, "");

/* What a device says of itself at prepare. */
struct far_intc_props {
    uint32_t lines;
};

#define FAR_INTC_LINES_MAX   1024u
#define FAR_INTC_PRIORITIES  8u
#define FAR_INTC_SOURCES_MAX 16u

enum far_repeat far_intc_repeat(uint16_t opcode);

/* `source =` of a [device] with `type = vectors`:
 * VECTOR[-VECTOR] CLASS|notices ADDRESS [line=N] [priority=N] [max=N]
 * [wait=TIME] [together=N] */
struct far_intc_source {
    uint32_t first, count; /* vectors */
    enum far_class class;
    bool notices; /* FAR_INTC_RAISE of that device, which is not attached */
    char address[3 * FAR_NAME_BYTES + 2];
    uint32_t line; /* of the first vector */
    uint32_t priority;
    uint32_t max_per_s; /* interrupts of each vector; 0: as many as come */
    uint32_t together;  /* so many raises, or … */
    uint64_t wait_us;   /* … so long after the first; 0: at once */
};
/* 0, or -EINVAL and what is wrong. */
int far_intc_source_parse(struct far_intc_source *source, const char *text,
                          struct far_error *error);

#endif
