/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `log`: says in the log what passes, at a limited rate (lines that
 * were left out are counted there). It shows what is typed: for tests.
 */
#include <stdio.h>
#include <string.h>
#include "core/block.h"
#include "devices/filter.h"
#include "devices/types.h"
#include "devices/words.h"

struct log_device {
    struct far_device device;
    struct far_log_bucket bucket;
};

struct log_filter {
    struct far_layer layer;
    struct log_device *device;
    char guest[FAR_NAME_BYTES * 4];
};

static void describe(const struct far_op *op, char *text, size_t room)
{
    static const char *const touch[] = { "down", "up",    "move",
                                         "sync", "shape", "orientation" };
    struct far_input_event e;
    const char *name;
    char opcode[32];

    if (FAR_OPCODE_CLASS(op->opcode) == FAR_CLASS_BLOCK) {
        struct far_block_args a;

        memcpy(&a, op->args, sizeof(a));
        snprintf(text, room, "%s %llu bytes at %llu%s",
                 far_op_name(op->opcode, opcode, sizeof(opcode)),
                 (unsigned long long)a.length_bytes,
                 (unsigned long long)a.offset_bytes,
                 a.flags & FAR_BLOCK_FUA && op->opcode == FAR_BLOCK_WRITE
                     ? ", durable"
                     : "");
        return;
    }
    if (op->opcode != FAR_INPUT_EVENT) {
        snprintf(text, room, "%s %s",
                 FAR_OPCODE_IS_INTERRUPT(op->opcode) ? "interrupt" : "op",
                 far_op_name(op->opcode, opcode, sizeof(opcode)));
        return;
    }
    memcpy(&e, op->args, sizeof(e));
    name = e.type == FAR_INPUT_KEY ? far_key_name(e.code) : NULL;
    switch (e.type) {
    case FAR_INPUT_KEY:
        if (name)
            snprintf(text, room, "%s %s",
                     e.flags & FAR_INPUT_HELD ? "held"
                     : e.value                ? "press"
                                              : "release",
                     name);
        else
            snprintf(text, room, "%s 0x%x", e.value ? "press" : "release",
                     e.code);
        break;
    case FAR_INPUT_MOTION:
        snprintf(text, room, "move %d %d wheel %d", e.x, e.y, -e.z);
        break;
    case FAR_INPUT_POS:
        snprintf(text, room, "abs %d %d wheel %d", e.x, e.y, -e.z);
        break;
    case FAR_INPUT_TOUCH:
        snprintf(text, room, "touch %d %s %d %d", e.value,
                 e.code < 6 ? touch[e.code] : "?", e.x, e.y);
        break;
    default:
        snprintf(text, room, "%s of a statement",
                 e.type == FAR_INPUT_STATE_BEGIN ? "begin" : "end");
        break;
    }
}

static void say(struct log_filter *f, const char *text)
{
    far_log_limited(f->device->device.devices->log, &f->device->bucket,
                    FAR_LOG_INFO, "%s: %s: %s", f->device->device.name,
                    f->guest, text);
}

static enum far_verdict log_submit(struct far_layer *layer, struct far_op *op,
                                   void *payload)
{
    (void)payload;
    char text[120];

    describe(op, text, sizeof(text));
    say((struct log_filter *)layer, text);
    return FAR_PASS;
}

static bool log_interrupt(struct far_layer *layer, const struct far_op *op)
{
    char text[120];

    if (!far_layer_interrupt(layer->above, op))
        return false; /* said when it is taken */
    describe(op, text, sizeof(text));
    say((struct log_filter *)layer, text);
    return true;
}

static void log_state(struct far_layer *layer, enum far_device_state state,
                      const struct far_layer_news *news)
{
    char text[280];

    snprintf(text, sizeof(text), "%s%s%s",
             state == FAR_DEVICE_READY ? "ready" : "gone",
             news && news->reason ? ": " : "",
             news && news->reason ? news->reason : "");
    say((struct log_filter *)layer, text);
    far_layer_state(layer->above, state, news);
}

static const struct far_layer_ops log_ops = {
    .name = "log",
    .submit = log_submit,
    .close = far_filter_close,
    .interrupt = log_interrupt,
    .state = log_state,
};

static int log_open(struct far_device *device, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    struct log_filter *f;
    int r = far_filter_open(device, who, &log_ops, sizeof(*f), layer, error);

    if (r)
        return r;
    f = (struct log_filter *)(void *)*layer;
    f->device = (struct log_device *)device;
    far_escape(f->guest, sizeof(f->guest), who->guest_name,
               strnlen(who->guest_name, sizeof(who->guest_name)));
    return 0;
}

const struct far_device_type far_type_log = {
    .name = "log",
    .class = FAR_CLASS_NONE,
    .device_bytes = sizeof(struct log_device),
    .create = far_filter_create,
    .destroy = far_filter_destroy,
    .open = log_open,
};
