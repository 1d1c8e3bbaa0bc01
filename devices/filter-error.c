/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The filter `error`: fails ops (-EIO) and loses interrupts, every Nth or at
 * random by a rate, for tests. What states a device's keys is not lost, or
 * nothing could recover. The random numbers are the same in every run.
 */
#include <errno.h>
#include <string.h>
#include "core/conf-keys.h"
#include "devices/filter.h"
#include "devices/types.h"

struct error_filter {
    struct far_layer layer;
    uint64_t every, count;
    uint32_t rate; /* of 10000 */
    uint64_t random;
};

static bool unlucky(struct error_filter *f)
{
    f->count++;
    if (f->every && f->count % f->every == 0)
        return true;
    /* xorshift64 */
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return f->random % 10000 < f->rate;
}

static enum far_verdict error_submit(struct far_layer *layer, struct far_op *op,
                                     void *payload)
{
    (void)payload;
    struct error_filter *f = (struct error_filter *)layer;

    if (!unlucky(f))
        return FAR_PASS;
    op->status = -EIO;
    return FAR_DONE;
}

static bool error_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct error_filter *f = (struct error_filter *)layer;
    struct far_input_event e;

    if (op->opcode == FAR_INPUT_EVENT) {
        memcpy(&e, op->args, sizeof(e));
        if (e.type >= FAR_INPUT_STATE_BEGIN || (e.flags & FAR_INPUT_HELD))
            return far_layer_interrupt(layer->above, op);
    }
    if (!unlucky(f))
        return far_layer_interrupt(layer->above, op);
    layer->counters.dropped++;
    return true;
}

static const struct far_layer_ops error_ops = {
    .name = "error",
    .submit = error_submit,
    .close = far_filter_close,
    .interrupt = error_interrupt,
};

static int error_open(struct far_device *device,
                      const struct far_local_who *who, struct far_layer **layer,
                      struct far_error *error)
{
    struct error_filter *f;
    int r = far_filter_open(device, who, &error_ops, sizeof(*f), layer, error);

    if (r)
        return r;
    f = (struct error_filter *)(void *)*layer;
    f->every = far_conf_number(device->section, "every", 0);
    if (!far_percent_parse(&f->rate,
                           far_conf_string(device->section, "rate", "0")))
        f->rate = 0; /* it was reported when the file was read */
    f->random = 0x9e3779b97f4a7c15u;
    return 0;
}

const struct far_device_type far_type_error = {
    .name = "error",
    .class = FAR_CLASS_NONE,
    .device_bytes = sizeof(struct far_device),
    .create = far_filter_create,
    .destroy = far_filter_destroy,
    .open = error_open,
};
