/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Histograms of stages (core/times.h).
 */
#include <stdlib.h>
#include "core/times.h"

const char *far_stage_name(enum far_stage stage)
{
    static const char *const names[FAR_STAGES] = {
        [FAR_STAGE_OP_RING] = "op_ring",
        [FAR_STAGE_OP_WAIT] = "op_wait",
        [FAR_STAGE_OP_LOCAL] = "op_local",
        [FAR_STAGE_OP_QUEUE] = "op_queue",
        [FAR_STAGE_OP_WIRE] = "op_wire",
        [FAR_STAGE_OP_SERVER] = "op_server",
        [FAR_STAGE_OP_DEVICE] = "op_device",
        [FAR_STAGE_OP_RETURN] = "op_return",
        [FAR_STAGE_OP_HOME] = "op_home",
        [FAR_STAGE_OP_INJECT] = "op_inject",
        [FAR_STAGE_OP_TOTAL] = "op_total",
        [FAR_STAGE_RAISED] = "raised",
        [FAR_STAGE_RING] = "ring",
    };

    return names[stage];
}

void far_stage_add(struct far_stages *stages, enum far_stage stage, uint64_t ns)
{
    struct far_hist **hist = &stages->hists[stage];

    if (!*hist)
        *hist = calloc(1, sizeof(**hist));
    if (*hist)
        far_hist_add(*hist, ns);
}

void far_stages_free(struct far_stages *stages)
{
    for (unsigned i = 0; i < FAR_STAGES; i++) {
        free(stages->hists[i]);
        stages->hists[i] = NULL;
    }
}
