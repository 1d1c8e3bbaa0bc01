/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest at front.c with a keyboard, for tests on the simulator.
 */
#ifndef FARSIDE_TESTS_BACKEND_KEYBOARD_H
#define FARSIDE_TESTS_BACKEND_KEYBOARD_H

#include "tests/backend/simhost.h"

static inline const char *back(const struct guest *g, unsigned devid)
{
    static char path[8][128];
    static unsigned next;
    char *p = path[next++ % 8];

    snprintf(p, 128, "/local/domain/0/backend/vinput/%u/%u", g->domid, devid);
    return p;
}

/* As xen-kbdfront does it: nodes, 3, and 4 when the backend is at 2 or 4. */
static inline void offer(struct guest *g, unsigned devid)
{
    g->gref[devid] = (unsigned)strtoul(say(g, "share %u", devid) + 3, NULL, 10);
    g->port[devid] = (unsigned)strtoul(say(g, "offer %u", devid) + 3, NULL, 10);
    OK(g, "write device/vkbd/%u/page-gref %u", devid, g->gref[devid]);
    OK(g, "write device/vkbd/%u/event-channel %u", devid, g->port[devid]);
}

static inline void join(struct guest *g, unsigned devid)
{
    OK(g, "write device/vkbd/%u/state 3", devid);
    OK(g, "wait %s/state 24 5000", back(g, devid));
    OK(g, "write device/vkbd/%u/state 4", devid);
    OK(g, "wait %s/state 4 5000", back(g, devid));
}

static inline void connect_front(struct guest *g, unsigned devid)
{
    offer(g, devid);
    join(g, devid);
}

#endif
