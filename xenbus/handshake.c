/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The handshake's table. Rows are tried from the top, the first that fits is
 * taken; a condition that a row does not name does not matter to it. Pure:
 * nothing here reads a node or keeps a state, so that lost, doubled and
 * reordered watch events converge.
 */
#include "xenbus/handshake.h"

#include <stddef.h>
#include <string.h>

/* Sets of states. */
#define S(state) (1u << (state))
#define UNKNOWN  S(FAR_XB_UNKNOWN)
#define INIT     S(FAR_XB_INITIALISING)
#define WAIT     S(FAR_XB_INIT_WAIT)
#define READY    S(FAR_XB_INITIALISED)
#define CONN     S(FAR_XB_CONNECTED)
#define CLOSING  S(FAR_XB_CLOSING)
#define CLOSED   S(FAR_XB_CLOSED)
#define RECONF   S(FAR_XB_RECONFIGURING)
#define RECONFD  S(FAR_XB_RECONFIGURED)
#define ANY      0x1ffu

/* Facts. */
enum {
    EXISTS = 1 << 0, /* the front's state node */
    ONLINE = 1 << 1,
    DEAD = 1 << 2,
    SERVED = 1 << 3, /* connected: we serve it */
    WAS_4 = 1 << 4,
    ADOPTABLE = 1 << 5,
    ANSWERS = 1 << 6,
    PUBLISHED = 1 << 7,
    REFUSED = 1 << 8,
    CLOSED_SEEN = 1 << 9,
    CLOSED_SHOWN = 1 << 10,
    AT_4 = 1 << 11,
    WAITS = 1 << 12,
    NEEDS = 1 << 13,
    ADOPTS = 1 << 14,
    INSISTS = 1 << 15,
    ACTIVE = 1 << 16,
};

struct row {
    const char *name;
    unsigned back, front; /* sets of states */
    unsigned is, is_not;  /* facts */
    enum far_handshake_action action;
};

static const struct row table[] = {
    /* The nodes or the domain are gone. Writing would make a removed node
     * anew, so nothing is written where there is no state. */
    { "our nodes are gone while we serve", UNKNOWN, ANY, SERVED, 0,
      FAR_HS_DISCONNECT },
    { "our nodes are gone", UNKNOWN, ANY, 0, 0, FAR_HS_FORGET },
    { "the domain died while we serve", ANY, ANY, SERVED | DEAD, 0,
      FAR_HS_DISCONNECT },
    { "the domain is dead and we are closed", CLOSED, ANY, DEAD, 0,
      FAR_HS_FORGET },
    { "the domain is dead", ANY, ANY, DEAD, 0, FAR_HS_SET_6 },

    /* The toolstack takes it away: online is 0. Sound, display and input go
     * to 6 at once (their fronts ignore 5); a disk waits for its front, which
     * may have a file system to write out. Never 2 again, nothing after 6. */
    { "offline, the front that we wait for is closed", ANY, CLOSED, SERVED,
      ONLINE, FAR_HS_DISCONNECT },
    { "offline, the front that we wait for is gone", ANY, ANY, SERVED,
      ONLINE | EXISTS, FAR_HS_DISCONNECT },
    { "offline, asks the front that we wait for to close",
      INIT | WAIT | READY | CONN | RECONF | RECONFD, ANY, SERVED | WAITS,
      ONLINE, FAR_HS_SET_5 },
    { "offline, waits for the front", ANY, ANY, SERVED | WAITS, ONLINE,
      FAR_HS_NOTHING },
    { "offline while we serve", ANY, ANY, SERVED, ONLINE, FAR_HS_DISCONNECT },
    { "offline and closed", CLOSED, ANY, 0, ONLINE, FAR_HS_FORGET },
    { "offline", ANY, ANY, 0, ONLINE, FAR_HS_SET_6 },

    /* What is refused is closed, and stays so until whoever refused it says
     * otherwise: going to 2 would make the front try again, for ever. */
    { "refused while we serve", ANY, ANY, SERVED | REFUSED, 0,
      FAR_HS_DISCONNECT },
    { "refused and closed", CLOSED, ANY, REFUSED, 0, FAR_HS_NOTHING },
    { "refused and closing", CLOSING, ANY, REFUSED, 0, FAR_HS_SET_6 },
    { "refused", ANY, ANY, REFUSED, 0, FAR_HS_SET_5 },

    /* The front's nodes are gone, or hold no state: it loses the device. */
    { "the front is gone while we serve", ANY, ANY, SERVED, EXISTS,
      FAR_HS_DISCONNECT },
    { "the front is not there yet", INIT | WAIT | CLOSED, ANY, 0, EXISTS,
      FAR_HS_NOTHING },
    { "the front is gone", ANY, ANY, 0, EXISTS, FAR_HS_SET_6 },
    { "the front's state is nonsense while we serve", ANY, UNKNOWN, SERVED, 0,
      FAR_HS_DISCONNECT },
    { "the front's state is nonsense, and we wait", INIT | WAIT | CLOSED,
      UNKNOWN, 0, 0, FAR_HS_NOTHING },
    { "the front's state is nonsense", ANY, UNKNOWN, 0, 0, FAR_HS_SET_6 },

    /* The front closes: mirrored, so that a kexec'd kernel that resets its
     * devices sees 5, then 6, then 2. */
    { "the front closed while we serve", ANY, CLOSED, SERVED, 0,
      FAR_HS_DISCONNECT },
    { "the front closed", READY | CONN | CLOSING | RECONF | RECONFD, CLOSED, 0,
      0, FAR_HS_SET_6 },
    { "the front is closing, but has I/O", ANY & ~CLOSED & ~CLOSING, CLOSING,
      SERVED | WAITS, 0, FAR_HS_SET_5 },
    { "the front is closing, we wait for its I/O", CLOSING, CLOSING,
      SERVED | WAITS, 0, FAR_HS_NOTHING },
    { "the front is closing while we serve", ANY, CLOSING, SERVED, 0,
      FAR_HS_DISCONNECT },
    { "the front is closing", ANY & ~CLOSED & ~CLOSING, CLOSING, 0, 0,
      FAR_HS_SET_5 },
    { "the front is closing, we wait for its 6", CLOSING | CLOSED, CLOSING, 0,
      0, FAR_HS_NOTHING },

    /* The front starts again. */
    { "the front starts again while we serve", ANY, INIT, SERVED, 0,
      FAR_HS_DISCONNECT },
    { "the front restarts without a 1", ANY, READY, SERVED | WAS_4, 0,
      FAR_HS_DISCONNECT },

    /* Another wrote our state under a front that is served. */
    { "another wrote our state, it is set right", ANY & ~CONN, READY | CONN,
      SERVED | INSISTS, 0, FAR_HS_RECLAIM },
    { "another closes us, the front must close first", CLOSING,
      ANY & ~CLOSED & ~INIT, SERVED | WAITS, 0, FAR_HS_NOTHING },
    { "another wrote our state while we serve", ANY & ~CONN, ANY, SERVED, 0,
      FAR_HS_DISCONNECT },
    { "served", CONN, ANY, SERVED, 0, FAR_HS_NOTHING },

    /* From here on nobody serves it. We closed (a bounce, or another wrote 5):
     * 6 at once, then the front has to close or start again by itself. */
    { "we are closing", CLOSING, ANY, 0, 0, FAR_HS_SET_6 },
    { "closed, the front has not noticed", CLOSED, READY | CONN, 0, CLOSED_SEEN,
      FAR_HS_NOTHING },
    { "closed, the front must see it", CLOSED, CLOSED, 0, CLOSED_SHOWN,
      FAR_HS_NOTHING },
    { "closed, the front does nothing we know", CLOSED, WAIT | RECONFD, 0, 0,
      FAR_HS_NOTHING },

    /* A dead predecessor's. */
    { "adopt", CONN, READY | CONN, ADOPTABLE | ADOPTS, 0, FAR_HS_ADOPT },
    { "bounce", CONN, CONN | RECONF | RECONFD | WAIT, 0, 0, FAR_HS_SET_5 },
    { "bounce a predecessor that connected just now", CONN, READY, 0,
      CLOSED_SEEN | WAS_4, FAR_HS_SET_5 },

    /* Towards 2, and from 2 to 4. */
    { "features first", INIT | READY | CONN | CLOSED | RECONF | RECONFD, ANY, 0,
      PUBLISHED, FAR_HS_PUBLISH },
    { "ready for a front", INIT | READY | CONN | CLOSED | RECONF | RECONFD, ANY,
      0, 0, FAR_HS_SET_2 },
    { "in 2, but nothing was offered", WAIT, ANY, 0, PUBLISHED,
      FAR_HS_PUBLISH },
    { "the front is ready, the device must know", WAIT, READY, NEEDS,
      ANSWERS | ACTIVE, FAR_HS_ACTIVATE },
    { "the front is ready, the device is not", WAIT, READY, NEEDS, ANSWERS,
      FAR_HS_NOTHING },
    { "the front is ready", WAIT, READY, 0, 0, FAR_HS_CONNECT },
    { "the front went ahead, the device is not there", WAIT, CONN, AT_4 | NEEDS,
      ANSWERS, FAR_HS_NOTHING },
    { "the front went ahead", WAIT, CONN, AT_4, 0, FAR_HS_CONNECT },
    { "waiting for the front", WAIT, ANY, 0, 0, FAR_HS_NOTHING },
};

#define ROWS (sizeof(table) / sizeof(table[0]))

static unsigned facts(const struct far_handshake_view *v)
{
    unsigned f = 0;

    f |= v->front_exists ? EXISTS : 0;
    f |= v->online ? ONLINE : 0;
    f |= v->domain_dead ? DEAD : 0;
    f |= v->connected ? SERVED : 0;
    f |= v->front_connected_seen ? WAS_4 : 0;
    f |= v->adoptable ? ADOPTABLE : 0;
    f |= v->device_ready ? ANSWERS : 0;
    f |= v->activated ? ACTIVE : 0;
    f |= v->published ? PUBLISHED : 0;
    f |= v->refused ? REFUSED : 0;
    f |= v->front_closed_seen ? CLOSED_SEEN : 0;
    f |= v->closed_shown ? CLOSED_SHOWN : 0;
    f |= v->flags & FAR_HS_CONNECT_AT_4 ? AT_4 : 0;
    f |= v->flags & FAR_HS_WAIT_FOR_FRONT ? WAITS : 0;
    f |= v->flags & FAR_HS_NEEDS_DEVICE ? NEEDS : 0;
    f |= v->flags & FAR_HS_ADOPTS ? ADOPTS : 0;
    f |= v->flags & FAR_HS_INSISTS ? INSISTS : 0;
    return f;
}

static const struct row *find(const struct far_handshake_view *v)
{
    unsigned f = facts(v);
    unsigned back = (unsigned)v->back <= 8 ? S(v->back) : UNKNOWN;
    unsigned front = (unsigned)v->front <= 8 ? S(v->front) : UNKNOWN;

    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];

        if ((row->back & back) && (row->front & front) &&
            (f & row->is) == row->is && !(f & row->is_not))
            return row;
    }
    return NULL;
}

enum far_handshake_action
far_handshake_step(const struct far_handshake_view *view)
{
    const struct row *row = find(view);

    return row ? row->action : FAR_HS_NOTHING;
}

const char *far_handshake_rule(const struct far_handshake_view *view)
{
    const struct row *row = find(view);

    return row ? row->name : NULL;
}

const char *far_handshake_rule_name(unsigned index)
{
    return index < ROWS ? table[index].name : NULL;
}

enum far_xenbus_state far_xenbus_state_parse(const char *text)
{
    if (!text || text[0] < '1' || text[0] > '8' || text[1])
        return FAR_XB_UNKNOWN;
    return (enum far_xenbus_state)(text[0] - '0');
}

const char *far_xenbus_state_name(enum far_xenbus_state state)
{
    static const char *const names[] = {
        "Unknown", "Initialising", "InitWait",      "Initialised",  "Connected",
        "Closing", "Closed",       "Reconfiguring", "Reconfigured",
    };

    return (unsigned)state <= 8 ? names[state] : names[0];
}

const char *far_handshake_action_name(enum far_handshake_action action)
{
    switch (action) {
    case FAR_HS_NOTHING:
        return "nothing";
    case FAR_HS_PUBLISH:
        return "publish";
    case FAR_HS_SET_2:
        return "set 2";
    case FAR_HS_ACTIVATE:
        return "activate";
    case FAR_HS_CONNECT:
        return "connect";
    case FAR_HS_ADOPT:
        return "adopt";
    case FAR_HS_DISCONNECT:
        return "disconnect";
    case FAR_HS_RECLAIM:
        return "reclaim";
    case FAR_HS_SET_5:
        return "set 5";
    case FAR_HS_SET_6:
        return "set 6";
    case FAR_HS_FORGET:
        return "forget";
    }
    return "?";
}
