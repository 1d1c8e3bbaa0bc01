/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names of the device classes, how long their payloads are, and what
 * repeating an op means. What an op holds stands in core/op.h.
 */
#include "core/op.h"
#include "core/block.h"
#include "core/display.h"
#include "core/doorbell.h"
#include "core/intc.h"
#include "core/sound.h"
#include "core/stream.h"
#include "core/timer.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    [FAR_CLASS_NONE] = "none",         [FAR_CLASS_INPUT] = "input",
    [FAR_CLASS_SOUND] = "sound",       [FAR_CLASS_DISPLAY] = "display",
    [FAR_CLASS_BLOCK] = "block",       [FAR_CLASS_TIMER] = "timer",
    [FAR_CLASS_DOORBELL] = "doorbell", [FAR_CLASS_INTC] = "intc",
    [FAR_CLASS_STREAM] = "stream",
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
        return FAR_SOUND_PAYLOAD_MAX;
    case FAR_CLASS_DISPLAY:
    case FAR_CLASS_BLOCK: /* what a stock blkfront asks for at once */
        return 128u << 10;
    case FAR_CLASS_STREAM:
        return FAR_STREAM_PAYLOAD_MAX;
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

const char *far_op_name(uint16_t opcode, char *text, unsigned bytes)
{
    static const struct {
        uint16_t opcode;
        const char *name;
    } known[] = {
        { FAR_BLOCK_READ, "read" },
        { FAR_BLOCK_WRITE, "write" },
        { FAR_BLOCK_FLUSH, "flush" },
        { FAR_BLOCK_DISCARD, "discard" },
        { FAR_TIMER_ARM, "arm" },
        { FAR_TIMER_CANCEL, "cancel" },
        { FAR_TIMER_NOW, "now" },
        { FAR_DOORBELL_RING, "ring" },
        { FAR_SOUND_OPEN, "open" },
        { FAR_SOUND_CLOSE, "close" },
        { FAR_SOUND_WRITE, "write" },
        { FAR_SOUND_READ, "read" },
        { FAR_SOUND_QUERY, "query" },
        { FAR_SOUND_TRIGGER, "trigger" },
        { FAR_SOUND_MUTE, "mute" },
        { FAR_SOUND_SET_VOLUME, "set-volume" },
        { FAR_SOUND_GET_VOLUME, "get-volume" },
        { FAR_DISPLAY_MODE, "mode" },
        { FAR_DISPLAY_TILES, "tiles" },
        { FAR_INTC_EOI, "eoi" },
        { FAR_STREAM_CONNECT, "connect" },
        { FAR_STREAM_WRITE, "write" },
        { FAR_STREAM_READ, "read" },
        { FAR_STREAM_CLOSE, "close" },
    };
    const char *class =
        far_class_name((enum far_class)FAR_OPCODE_CLASS(opcode));

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].opcode == opcode) {
            snprintf(text, bytes, "%s.%s", class, known[i].name);
            return text;
        }
    if ((opcode & 0xff) == 0)
        snprintf(text, bytes, "%s.nop", class);
    else
        snprintf(text, bytes, "%s.%u", class, (unsigned)(opcode & 0xff));
    return text;
}

enum far_repeat far_op_repeat(uint16_t opcode)
{
    switch (FAR_OPCODE_CLASS(opcode)) {
    case FAR_CLASS_BLOCK:
        return far_block_repeat(opcode);
    case FAR_CLASS_SOUND:
        return far_sound_repeat(opcode);
    case FAR_CLASS_DISPLAY:
        return far_display_repeat(opcode);
    case FAR_CLASS_TIMER:
        return far_timer_repeat(opcode);
    case FAR_CLASS_INTC:
        return far_intc_repeat(opcode);
    case FAR_CLASS_STREAM:
        return far_stream_repeat(opcode);
    default:
        return (opcode & 0xff) == 0 ? FAR_REPEATABLE : FAR_AT_MOST_ONCE;
    }
}
