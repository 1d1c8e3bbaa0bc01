/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where the time went: the stages that an op and an interrupt pass, and a
 * histogram for each that was passed. Only ops with FAR_OP_TIMED are looked at,
 * one in so many; whoever makes an op chooses, all behind measure the same
 * ones. Each stage is measured by one clock, at one of its ends, as a
 * difference; no two clocks are compared. docs/PROTOCOL.md, "times".
 */
#ifndef FARSIDE_CORE_TIMES_H
#define FARSIDE_CORE_TIMES_H

#include <stdbool.h>
#include "core/counters.h"

#define FAR_TIMES_EVERY     64u /* one in so many, unless [platform] times= */
#define FAR_TIMES_EVERY_MAX 65536u

/* In the order in which an op passes them. */
enum far_stage {
    FAR_STAGE_OP_RING,   /* in the guest's ring, and for room: the port's */
    FAR_STAGE_OP_WAIT,   /* in the backend, for the ring to the netproxy */
    FAR_STAGE_OP_LOCAL,  /* in that ring */
    FAR_STAGE_OP_QUEUE,  /* in the client's netproxy */
    FAR_STAGE_OP_WIRE,   /* one way; an estimate */
    FAR_STAGE_OP_SERVER, /* in the server's netproxy, for the device */
    FAR_STAGE_OP_DEVICE,
    FAR_STAGE_OP_RETURN, /* done to received: queue and wire back */
    FAR_STAGE_OP_HOME,   /* in the ring to the backend */
    FAR_STAGE_OP_INJECT, /* into the guest's ring: the port's */
    FAR_STAGE_OP_TOTAL,  /* of the port's ops: given to answered */
    FAR_STAGE_RAISED,    /* an interrupt's: device to network, by its server */
    FAR_STAGE_RING,      /* an interrupt's: in the ring to the backend */
    FAR_STAGES
};

/* "op_wire"; the key in the JSON of status. */
const char *far_stage_name(enum far_stage stage);

/* All zeros: nothing was measured, and takes no memory. */
struct far_stages {
    struct far_hist *hists[FAR_STAGES];
};

/* One thread. Memory is taken at a stage's first sample; if there is none the
 * sample is forgotten. */
void far_stage_add(struct far_stages *stages, enum far_stage stage,
                   uint64_t ns);
void far_stages_free(struct far_stages *stages);

/* One in `every`, the first among them; 0: none. */
struct far_sampler {
    uint32_t every, left;
};
static inline bool far_sample(struct far_sampler *s)
{
    if (s->left) {
        s->left--;
        return false;
    }
    if (!s->every)
        return false;
    s->left = s->every - 1;
    return true;
}

#endif
