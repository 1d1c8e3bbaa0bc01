/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Calls between layers, and what a device says of itself: all of device.h that
 * is no registry, so that a program with one device needs no more.
 */
#include "devices/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/usdt.h"

enum far_verdict far_layer_submit(struct far_layer *top, struct far_op *op,
                                  void *payload)
{
    unsigned nth = op->opcode & 0xff;

    FAR_PROBE4(op__submit, op->attachment, op->slot, op->sequence, op->opcode);

    if (nth >= FAR_LAYER_OPS)
        nth = FAR_LAYER_OPS - 1;
    for (struct far_layer *l = top; l; l = l->below) {
        struct far_layer_op *counter = &l->counters.ops[nth];
        enum far_verdict verdict;

        if (!l->ops->submit)
            continue;
        verdict = l->ops->submit(l, op, payload);
        if (verdict == FAR_PASS || l->forwarded) {
            l->counters.passed += verdict != FAR_FULL;
            counter->passed += verdict != FAR_FULL;
            l->forwarded = false;
            if (verdict == FAR_PASS)
                continue;
            return verdict;
        }
        if (verdict == FAR_FULL) {
            l->counters.held++;
        } else {
            l->counters.answered++;
            counter->answered++;
        }
        return verdict;
    }
    op->status = -EOPNOTSUPP;
    return FAR_DONE;
}

enum far_verdict far_layer_forward(struct far_layer *layer, struct far_op *op,
                                   void *payload)
{
    enum far_verdict verdict = far_layer_submit(layer->below, op, payload);

    layer->forwarded = true;
    return verdict;
}

void *far_layer_place(struct far_layer *top, uint32_t slot, uint32_t bytes)
{
    for (struct far_layer *l = top; l; l = l->below)
        if (l->ops->place)
            return l->ops->place(l, slot, bytes);
    return NULL;
}

void far_layer_activate(struct far_layer *layer, uint64_t incarnation,
                        uint64_t received)
{
    for (; layer; layer = layer->below)
        if (layer->ops->activate) {
            FAR_PROBE3(activate, layer->ops->name, incarnation, received);
            layer->ops->activate(layer, incarnation, received);
            return;
        }
}

void far_layer_ack(struct far_layer *layer, uint64_t sequence)
{
    for (; layer; layer = layer->below)
        if (layer->ops->ack) {
            layer->ops->ack(layer, sequence);
            return;
        }
}

void far_layer_taken(struct far_layer *layer)
{
    for (; layer; layer = layer->below)
        if (layer->ops->taken) {
            layer->ops->taken(layer);
            return;
        }
}

void far_layer_resume(struct far_layer *layer)
{
    for (; layer; layer = layer->below)
        if (layer->ops->resume) {
            layer->ops->resume(layer);
            return;
        }
}

const struct far_stages *far_layer_stages(const struct far_layer *layer)
{
    for (; layer; layer = layer->below)
        if (layer->ops->stages)
            return layer->ops->stages(layer);
    return NULL;
}

void far_layer_close(struct far_layer *layer)
{
    for (; layer; layer = layer->below)
        if (layer->ops->close) {
            layer->ops->close(layer);
            return;
        }
}

void far_layer_complete(struct far_layer *to, const struct far_op *op)
{
    FAR_PROBE5(op__complete, op->attachment, op->slot, op->sequence, op->opcode,
               op->status);
    for (; to; to = to->above)
        if (to->ops->complete) {
            to->ops->complete(to, op);
            return;
        }
}

bool far_layer_interrupt(struct far_layer *to, const struct far_op *op)
{
    for (; to; to = to->above)
        if (to->ops->interrupt) {
            bool taken = to->ops->interrupt(to, op);

            FAR_PROBE5(interrupt, op->attachment, op->sequence, op->opcode,
                       to->ops->name, taken);

            if (taken)
                to->counters.interrupts++;
            else
                to->counters.held++;
            return taken;
        }
    return true; /* nobody listens: it is lost, not late */
}

void far_layer_state(struct far_layer *to, enum far_device_state state,
                     const struct far_layer_news *news)
{
    for (; to; to = to->above) {
        to->device_state = state;
        if (to->ops->state) {
            to->ops->state(to, state, news);
            return;
        }
    }
}

void far_layer_room(struct far_layer *to)
{
    for (; to; to = to->above)
        if (to->ops->room) {
            to->ops->room(to);
            return;
        }
}

uint64_t far_layer_lost(const struct far_layer *layer)
{
    uint64_t lost = 0;

    for (; layer; layer = layer->below)
        lost += layer->counters.lost;
    return lost;
}

void far_layer_stack(struct far_layer *upper, struct far_layer *lower)
{
    upper->below = lower;
    lower->above = upper;
    upper->prompt_acks |= lower->prompt_acks;
}

void far_device_say(struct far_device *device, enum far_device_state state,
                    const char *reason)
{
    if (!reason)
        reason = "";
    if (device->state == state && !strcmp(device->reason, reason))
        return;
    device->state = state;
    snprintf(device->reason, sizeof(device->reason), "%s", reason);
    if (device->devices->changed)
        device->devices->changed(device->devices->changed_arg);
    far_log(device->devices->log, FAR_LOG_INFO, "%s: %s%s%s", device->name,
            state == FAR_DEVICE_READY ? "ready" : "not there",
            reason[0] ? ": " : "", reason);
}
