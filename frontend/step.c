/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See step.h. Modelled on what Linux' xen-kbdfront does, but for the start: it
 * offers its page before the backend has published what it can; here the page
 * waits for InitWait, so that one reading of the backend's nodes is enough.
 */
#include "frontend/step.h"

static enum far_front_action take_or_not(const struct far_front_view *v)
{
    if (v->other && !v->force)
        return FAR_FRONT_REFUSE;
    if (v->front == FAR_XB_INITIALISING || v->predecessor || v->force)
        return FAR_FRONT_TAKE;
    /* A device that is being made has no state yet; one that has another than
     * 1 has been somebody's. */
    return v->front == FAR_XB_UNKNOWN ? FAR_FRONT_NOTHING : FAR_FRONT_REFUSE;
}

static enum far_front_action by_back(const struct far_front_view *v)
{
    switch (v->back) {
    case FAR_XB_UNKNOWN:
        return v->has_ring ? FAR_FRONT_DROP : FAR_FRONT_NOTHING;

    case FAR_XB_INITIALISING:
        if (v->has_ring)
            return FAR_FRONT_DROP;
        return v->wrote == FAR_XB_INITIALISING ? FAR_FRONT_NOTHING
                                               : FAR_FRONT_SET_1;

    case FAR_XB_INIT_WAIT:
        if (v->held)
            return FAR_FRONT_NOTHING;
        if (!v->has_ring)
            return FAR_FRONT_START;
        /* A backend that came again finds the page as it was: it may be
         * reading the nodes this moment, so they stay as they are. */
        return v->wrote == FAR_XB_CONNECTED ? FAR_FRONT_NOTHING
                                            : FAR_FRONT_SET_4;

    case FAR_XB_CONNECTED:
        if (v->has_ring)
            return v->wrote == FAR_XB_CONNECTED ? FAR_FRONT_CONNECTED
                                                : FAR_FRONT_SET_4;
        /* It serves a page that went with our predecessor: 1 sends it back to
         * InitWait. */
        return v->wrote == FAR_XB_INITIALISING || v->held ? FAR_FRONT_NOTHING
                                                          : FAR_FRONT_SET_1;

    case FAR_XB_CLOSING: /* it still has the page mapped */
        return v->wrote == FAR_XB_CLOSED ? FAR_FRONT_NOTHING : FAR_FRONT_SET_6;

    case FAR_XB_CLOSED:
        if (v->wrote != FAR_XB_CLOSED)
            return FAR_FRONT_SET_6;
        return v->has_ring ? FAR_FRONT_DROP : FAR_FRONT_NOTHING;

    case FAR_XB_INITIALISED:
    case FAR_XB_RECONFIGURING:
    case FAR_XB_RECONFIGURED:
        break;
    }
    return FAR_FRONT_NOTHING;
}

enum far_front_action far_front_step(const struct far_front_view *v)
{
    if (!v->exists) {
        if (v->has_ring)
            return v->moved ? FAR_FRONT_ABANDON : FAR_FRONT_DROP;
        return FAR_FRONT_GONE;
    }
    if (v->wrote == FAR_XB_UNKNOWN)
        return take_or_not(v);
    if (v->moved || v->front != v->wrote) {
        /* Nobody but the toolstack begins at 1: the domain was restored, or
         * the device was made anew. The old port may be none of ours. */
        if (v->moved || v->front == FAR_XB_INITIALISING ||
            v->front == FAR_XB_UNKNOWN)
            return v->has_ring ? FAR_FRONT_ABANDON : FAR_FRONT_TAKE;
        return FAR_FRONT_YIELD;
    }
    return by_back(v);
}

const char *far_front_action_name(enum far_front_action action)
{
    static const char *const names[] = {
        [FAR_FRONT_NOTHING] = "nothing",     [FAR_FRONT_GONE] = "gone",
        [FAR_FRONT_REFUSE] = "refuse",       [FAR_FRONT_TAKE] = "take",
        [FAR_FRONT_DROP] = "drop",           [FAR_FRONT_ABANDON] = "abandon",
        [FAR_FRONT_YIELD] = "yield",         [FAR_FRONT_SET_1] = "set 1",
        [FAR_FRONT_START] = "start",         [FAR_FRONT_SET_4] = "set 4",
        [FAR_FRONT_CONNECTED] = "connected", [FAR_FRONT_SET_6] = "set 6",
    };

    return (unsigned)action < sizeof(names) / sizeof(names[0]) ? names[action]
                                                               : "?";
}
