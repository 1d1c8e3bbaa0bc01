/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names of the device classes, how long their payloads are, and what
 * repeating an op means. What an op holds stands in core/op.h.
 */
#include "core/op.h"
#include "core/block.h"
#include "core/timer.h"

#include <stddef.h>
#include <string.h>

static const char *const names[] = {
    [FAR_CLASS_NONE] = "none",         [FAR_CLASS_INPUT] = "input",
    [FAR_CLASS_SOUND] = "sound",       [FAR_CLASS_DISPLAY] = "display",
    [FAR_CLASS_BLOCK] = "block",       [FAR_CLASS_TIMER] = "timer",
    [FAR_CLASS_DOORBELL] = "doorbell",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

const char *far_class_name(enum far_class class)
{
    return (size_t) class < NAMES ? names[class] : "unknown";
}

uint32_t far_class_payload_bytes(enum far_class class)
{
    switch (class) {
    case FAR_CLASS_SOUND:
    case FAR_CLASS_DISPLAY:
    case FAR_CLASS_BLOCK: /* what a stock blkfront asks for at once */
        return 128u << 10;
    default:
        return 0;
    }
}

enum far_class far_class_from_name(const char *name)
{
    for (size_t i = FAR_CLASS_NONE + 1; i < NAMES; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum far_class)i;
    return FAR_CLASS_NONE;
}

enum far_repeat far_op_repeat(uint16_t opcode)
{
    switch (FAR_OPCODE_CLASS(opcode)) {
    case FAR_CLASS_BLOCK:
        return far_block_repeat(opcode);
    case FAR_CLASS_TIMER:
        return far_timer_repeat(opcode);
    default:
        return (opcode & 0xff) == 0 ? FAR_REPEATABLE : FAR_AT_MOST_ONCE;
    }
}
