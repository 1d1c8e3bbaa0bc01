/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The doorbell: a device with two ends. What the user of one rings is an
 * interrupt to the user of the other, wherever they are: a guest of this
 * machine, or, where the device is exported, one of another. Nothing is kept
 * here: a ring that the other end can't take is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include "core/doorbell.h"
#include "devices/types.h"

#define ENDS 2u

struct end {
    struct far_layer layer;
    struct bell *bell;
    uint64_t attachment, sequence;
    bool active;
};

struct bell {
    struct far_device device;
    struct end *ends[ENDS];
};

static struct end *other_of(const struct end *end)
{
    return end->bell->ends[end->bell->ends[0] == end];
}

static enum far_verdict end_submit(struct far_layer *layer, struct far_op *op,
                                   void *payload)
{
    struct end *end = (struct end *)layer, *other = other_of(end);
    struct far_op rung = { .opcode = FAR_DOORBELL_RUNG };

    (void)payload;
    op->status = 0;
    if (op->opcode == FAR_OP_NOP(FAR_CLASS_DOORBELL))
        return FAR_DONE;
    if (op->opcode != FAR_DOORBELL_RING) {
        op->status = -EOPNOTSUPP;
    } else if (!other || !other->active || !other->layer.above) {
        op->status = -ENOTCONN;
    } else {
        rung.attachment = other->attachment;
        rung.sequence = other->sequence + 1;
        for (unsigned i = 0; i < sizeof(rung.args); i++)
            rung.args[i] = i < 4 ? op->args[i] : 0; /* the number alone */
        if (far_layer_interrupt(other->layer.above, &rung))
            other->sequence++;
        else
            op->status = -EAGAIN;
    }
    return FAR_DONE;
}

static void end_activate(struct far_layer *layer, uint64_t incarnation,
                         uint64_t received)
{
    struct end *end = (struct end *)layer;
    struct far_layer_news news = { .incarnation =
                                       end->bell->device.incarnation };

    if (incarnation == news.incarnation && received > end->sequence)
        end->sequence = received;
    end->active = true;
    far_layer_state(layer->above, FAR_DEVICE_READY, &news);
}

static void end_ack(struct far_layer *layer, uint64_t sequence)
{
    (void)layer;
    (void)sequence;
}

static void end_resume(struct far_layer *layer)
{
    (void)layer;
}

static void end_close(struct far_layer *layer)
{
    struct end *end = (struct end *)layer;

    for (unsigned i = 0; i < ENDS; i++)
        if (end->bell->ends[i] == end)
            end->bell->ends[i] = NULL;
    free(end);
}

static const struct far_layer_ops end_ops = {
    .name = "doorbell",
    .submit = end_submit,
    .activate = end_activate,
    .ack = end_ack,
    .resume = end_resume,
    .close = end_close,
};

static int bell_create(struct far_device *device, struct far_error *error)
{
    (void)error;
    far_device_say(device, FAR_DEVICE_READY, NULL);
    return 0;
}

static void bell_destroy(struct far_device *device)
{
    (void)device;
}

static int bell_open(struct far_device *device, const struct far_local_who *who,
                     struct far_layer **layer, struct far_error *error)
{
    struct bell *bell = (struct bell *)device;
    unsigned at = bell->ends[0] ? 1 : 0;
    struct end *end;

    if (bell->ends[at])
        return far_error(error, -EBUSY,
                         "%s: a doorbell has two ends, and both are taken",
                         device->name);
    end = calloc(1, sizeof(*end));
    if (!end)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    end->layer.ops = &end_ops;
    end->bell = bell;
    end->attachment = who->attachment;
    bell->ends[at] = end;
    *layer = &end->layer;
    return 0;
}

const struct far_device_type far_type_doorbell = {
    .name = "doorbell",
    .class = FAR_CLASS_DOORBELL,
    .device_bytes = sizeof(struct bell),
    .create = bell_create,
    .destroy = bell_destroy,
    .open = bell_open,
};
