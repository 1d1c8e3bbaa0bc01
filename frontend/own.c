/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A device of our own kinds from the guest's side: see own.h. Pages, grants and
 * port belong to one incarnation of the device, each with handles of its own,
 * as those of a domain that was saved are of no use in the restored one.
 */
#include "frontend/own.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"

#define HOLD_FIRST_US 1000000u
#define HOLD_LAST_US  60000000u
#define STEPS_MAX     32

#define CONTAINER(type, member, pointer) \
    ((type *)((char *)(pointer)-offsetof(type, member)))

static void evaluate(struct far_front_own *own);

void far_front_own_enter(struct far_front_own *own)
{
    own->busy++;
}

bool far_front_own_leave(struct far_front_own *own)
{
    own->busy--;
    if (!own->closed)
        return true;
    if (!own->busy)
        own->freed(own);
    return false;
}

static void tell(struct far_front_own *own, enum far_frontend_state state,
                 const char *why)
{
    if (!why)
        why = "";
    if (own->was_told && own->state == state && !strcmp(own->told_why, why))
        return;
    own->was_told = true;
    own->state = state;
    snprintf(own->told_why, sizeof(own->told_why), "%s", why);
    own->told(own, state, *why ? own->told_why : NULL);
}

static void look_now(struct far_defer *defer)
{
    evaluate(CONTAINER(struct far_front_own, look, defer));
}

void far_front_own_look(struct far_front_own *own)
{
    far_defer(own->frontend->loop, &own->look, look_now);
}

/* ---- pages --------------------------------------------------------------- */

static int drain(struct far_front_own *own)
{
    int r;

    if (!own->connected)
        return 0;
    far_front_own_enter(own);
    r = own->class->drain(own);
    if (!far_front_own_leave(own))
        return -ESHUTDOWN;
    if (r == -EPROTO)
        far_front_own_broken(own, "the backend wrote nonsense into a page");
    return r;
}

static void hold_over(struct far_timer *timer)
{
    struct far_front_own *own = CONTAINER(struct far_front_own, hold, timer);

    own->held = false;
    far_front_own_look(own);
}

void far_front_own_broken(struct far_front_own *own, const char *why)
{
    uint64_t now = far_now_us();

    if (!own->hold_us || now > own->hold_end_us + HOLD_LAST_US)
        own->hold_us = HOLD_FIRST_US;
    else if (own->hold_us < HOLD_LAST_US)
        own->hold_us *= 2;
    own->hold_end_us = now + own->hold_us;
    own->held = true;
    if (why != own->why)
        snprintf(own->why, sizeof(own->why), "%s", why);
    far_timer_set(&own->hold, own->hold_end_us);
    far_front_own_look(own);
}

enum far_evtchn_verdict far_front_own_fired(struct far_front_own *own)
{
    int r = drain(own);

    return r == -EPROTO ? FAR_EVTCHN_BROKEN
           : r == 0     ? FAR_EVTCHN_SPURIOUS
                        : FAR_EVTCHN_WORKED;
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    return far_front_own_fired(CONTAINER(struct far_front_own, evtchn, evtchn));
}

void far_front_own_notify(struct far_front_own *own)
{
    if (far_evtchn_notify(&own->evtchn) < 0)
        far_front_own_look(own);
}

static bool poll_pages(struct far_poller *poller)
{
    return drain(CONTAINER(struct far_front_own, poller, poller)) > 0;
}

static int back_cpu(struct far_poller *poller)
{
    struct far_front_own *own = CONTAINER(struct far_front_own, poller, poller);
    uint32_t cpu = own->class->back_cpu(own);

    return cpu && cpu < 65536 ? (int)cpu - 1 : -1;
}

static bool back_elsewhere(struct far_poller *poller)
{
    int cpu = back_cpu(poller);

    return cpu >= 0 && cpu != sched_getcpu();
}

static bool back_here(struct far_poller *poller)
{
    int cpu = back_cpu(poller);

    return cpu >= 0 && cpu == sched_getcpu();
}

static bool arm_pages(struct far_poller *poller)
{
    struct far_front_own *own = CONTAINER(struct far_front_own, poller, poller);

    return own->class->arm(own);
}

static void disarm_pages(struct far_poller *poller)
{
    struct far_front_own *own = CONTAINER(struct far_front_own, poller, poller);
    int cpu = sched_getcpu();

    own->class->disarm(own, cpu < 0 ? 1u : (uint32_t)cpu + 1);
}

/* restored: the port is none of this domain's. */
static void drop(struct far_front_own *own, bool restored)
{
    if (own->polling)
        far_poller_del(&own->poller);
    own->polling = false;
    if (own->has_ring)
        own->class->dropped(own);
    if (restored)
        far_evtchns_abandon(own->channels);
    else
        far_evtchns_close(own->channels);
    own->channels = NULL;
    far_unshare(&own->share);
    far_unshare(&own->others);
    far_shares_close(own->shares);
    own->shares = NULL;
    own->control = own->more = NULL;
    if (own->connected)
        own->was_told = false;
    own->has_ring = own->connected = false;
}

/* ---- nodes --------------------------------------------------------------- */

static int fault(struct far_front_own *own, const char *what, int r)
{
    snprintf(own->why, sizeof(own->why), "%s: %s", what, strerror(-r));
    return r;
}

int far_front_own_write(struct far_front_own *own, far_xs_t t, const char *node,
                        uint32_t value)
{
    char path[FAR_XS_PATH_BYTES];

    snprintf(path, sizeof(path), "device/%s/%u/%s", own->class->kind,
             own->devid, node);
    return far_xs_write(own->frontend->xs, t, path, "%u", value);
}

static int set_state(struct far_front_own *own, enum far_xenbus_state state)
{
    int r =
        far_front_own_write(own, 0, FAR_NODE_OWN_FRONT_STATE, (uint32_t)state);

    if (r < 0)
        return fault(own, "our nodes can't be written", r);
    own->wrote = state;
    return 0;
}

static int read_back(void *arg, const char *node, char *value, size_t room)
{
    struct far_front_own *own = arg;

    return far_xs_read(own->frontend->xs, 0, value, room, "%s/%s", own->back,
                       node);
}

static int learn(struct far_front_own *own)
{
    struct far_schema_fault fault_ = { 0 };
    int r = far_schema_own_back_read(&own->nodes, read_back, own, &fault_);

    if (r < 0) {
        snprintf(own->why, sizeof(own->why), "the backend's %s",
                 fault_.node ? fault_.text : strerror(-r));
        return r;
    }
    if (!own->nodes.has_version || own->nodes.version < 1)
        return fault(own, "the backend says no version", -EPROTO);
    return 0;
}

/* All that the backend needs, and that it may come: at once or not at all. */
static int offer(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct far_front_own *own = arg;
    int r;

    (void)xs;
    r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_VERSION, 1);
    if (!r)
        r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_CONTROL_REF,
                                own->refs[0]);
    if (!r && own->class->entry_bytes)
        r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_RING_REF,
                                own->refs[1]);
    if (!r)
        r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_EVENT_CHANNEL,
                                own->evtchn.local_port);
    if (!r)
        r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_REQUEST_POLL,
                                own->polling);
    if (!r)
        r = own->class->offer(own, t);
    if (!r)
        r = far_front_own_write(own, t, FAR_NODE_OWN_FRONT_STATE,
                                FAR_XB_INITIALISED);
    return r;
}

/* Control, ring, and the class's pages in a row. */
static int share(struct far_front_own *own, uint32_t pages)
{
    int r = far_share_pages(own->shares, &own->share, own->back_id, pages + 2,
                            true, own->refs);

    if (r < 0)
        return r;
    memset(own->share.memory, 0, (pages + 2) * (size_t)FAR_PAGE_BYTES);
    own->control = own->share.memory;
    own->more = (char *)own->share.memory + 2 * FAR_PAGE_BYTES;
    far_ring_front_init(&own->ring, (char *)own->share.memory + FAR_PAGE_BYTES,
                        FAR_PAGE_BYTES, own->class->entry_bytes);
    return 0;
}

static int share_ringless(struct far_front_own *own, uint32_t pages)
{
    int r =
        far_share_page_notify(own->shares, &own->share, own->back_id, own->refs,
                              own->clear, own->evtchn.local_port);

    if (r == 0 && pages)
        r = far_share_pages(own->shares, &own->others, own->back_id, pages,
                            true, own->refs + 1);
    if (r < 0)
        return r;
    memset(own->share.memory, 0, FAR_PAGE_BYTES);
    own->control = own->share.memory;
    own->more = own->others.memory;
    return 0;
}

static int start(struct far_front_own *own)
{
    struct far_loop *loop = own->frontend->loop;
    uint32_t pages;
    int r = learn(own);

    if (r < 0)
        return r;
    r = own->class->pages(own);
    if (r < 0)
        return r;
    pages = (uint32_t)r;
    own->shares = far_shares_open();
    if (!own->shares)
        return fault(own, "/dev/xen/gntalloc can't be opened", -errno);
    own->channels = far_evtchns_open(loop, own->back_id);
    if (!own->channels) {
        r = fault(own, "/dev/xen/evtchn can't be opened",
                  errno ? -errno : -EIO);
        goto out;
    }
    r = far_evtchn_offer(own->channels, &own->evtchn, fired);
    if (r < 0) {
        fault(own, "no event channel for the backend", r);
        goto out;
    }
    r = own->class->entry_bytes ? share(own, pages)
                                : share_ringless(own, pages);
    if (r < 0) {
        fault(own, "the pages can't be granted to the backend", r);
        goto out;
    }
    own->polling =
        own->poll && own->nodes.feature_poll && own->class->entry_bytes;
    r = far_xs_transact(own->frontend->xs, offer, own);
    if (r < 0) {
        own->polling = false;
        fault(own, "our nodes can't be written", r);
        goto out;
    }
    own->wrote = FAR_XB_INITIALISED;
    own->has_ring = true;
    if (own->polling) {
        own->poller = (struct far_poller){ .poll = poll_pages,
                                           .peer_elsewhere = back_elsewhere,
                                           .peer_here = back_here,
                                           .arm = arm_pages,
                                           .disarm = disarm_pages };
        far_poller_add(loop, &own->poller);
    }
    return 0;

out:
    drop(own, false);
    return r;
}

/* ---- the handshake ------------------------------------------------------- */

static void node_changed(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    evaluate(CONTAINER(struct far_front_own, nodes_watch, watch));
}

static void back_changed(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    evaluate(CONTAINER(struct far_front_own, back_watch, watch));
}

static enum far_xenbus_state read_state(struct far_front_own *own,
                                        const char *directory)
{
    char text[16];

    if (far_xs_read(own->frontend->xs, 0, text, sizeof(text), "%s/state",
                    directory) < 0)
        return FAR_XB_UNKNOWN;
    return far_xenbus_state_parse(text);
}

struct seen {
    struct far_front_view view;
    char back[FAR_XS_PATH_BYTES];
    unsigned back_id;
};

static void look(struct far_front_own *own, struct seen *seen)
{
    struct far_xs *xs = own->frontend->xs;
    char front[64], text[32];
    uint64_t id;

    *seen = (struct seen){ 0 };
    if (far_xs_read_u64(xs, 0, &id, UINT32_MAX, "domid") == 0)
        own->frontend->domid = (unsigned)id;
    snprintf(front, sizeof(front), "device/%s/%u", own->class->kind,
             own->devid);
    seen->view.exists =
        far_xs_read(xs, 0, seen->back, sizeof(seen->back), "%s/%s", front,
                    FAR_NODE_OWN_FRONT_BACKEND) > 0 &&
        far_schema_check(&far_schema_own_front_group,
                         FAR_NODE_OWN_FRONT_BACKEND, seen->back, NULL,
                         NULL) == 0 &&
        far_xs_read(xs, 0, text, sizeof(text), "%s/%s", front,
                    FAR_NODE_OWN_FRONT_BACKEND_ID) > 0 &&
        far_schema_check(&far_schema_own_front_group,
                         FAR_NODE_OWN_FRONT_BACKEND_ID, text, &id, NULL) == 0;
    if (seen->view.exists) {
        seen->back_id = (unsigned)id;
        seen->view.front = read_state(own, front);
        seen->view.back = read_state(own, seen->back);
    }
    seen->view.wrote = own->wrote;
    seen->view.moved = own->wrote != FAR_XB_UNKNOWN &&
                       (own->frontend->domid != own->domid ||
                        (seen->view.exists && (strcmp(seen->back, own->back) ||
                                               seen->back_id != own->back_id)));
    seen->view.has_ring = own->has_ring;
    seen->view.held = own->held;
    /* No driver of the kernel knows these kinds: what another state than 1
     * says is that one of us had it before. */
    seen->view.predecessor = true;
}

static int take(struct far_front_own *own, const struct seen *seen)
{
    int r;

    own->domid = own->frontend->domid;
    own->back_id = seen->back_id;
    memcpy(own->back, seen->back, sizeof(own->back));
    if (seen->view.front != FAR_XB_INITIALISING) {
        r = set_state(own, FAR_XB_INITIALISING);
        if (r < 0)
            return r;
    }
    own->wrote = FAR_XB_INITIALISING;
    return 0;
}

/* Watches the state of the backend that is there now. */
static void follow(struct far_front_own *own, const char *back)
{
    if (!strcmp(own->watched, back))
        return;
    far_xs_unwatch(&own->back_watch);
    own->watched[0] = '\0';
    if (*back && far_xs_watch(own->frontend->xs, &own->back_watch, back_changed,
                              "%s/state", back) == 0)
        snprintf(own->watched, sizeof(own->watched), "%s", back);
}

static void tell_waiting(struct far_front_own *own,
                         const struct far_front_view *view)
{
    if (own->held)
        tell(own, FAR_FRONTEND_FAILED, own->why);
    else if (view->back == FAR_XB_CLOSING || view->back == FAR_XB_CLOSED)
        tell(own, FAR_FRONTEND_CLOSED, NULL);
    else if (view->back == FAR_XB_UNKNOWN)
        tell(own, FAR_FRONTEND_WAITING, "there is no backend for it");
    else
        tell(own, FAR_FRONTEND_WAITING, NULL);
}

static bool or_hold(struct far_front_own *own, int r)
{
    if (r == 0)
        return true;
    far_front_own_broken(own, own->why);
    tell(own, FAR_FRONTEND_FAILED, own->why);
    return false;
}

/* One step. False: wait for the next change. */
static bool step(struct far_front_own *own)
{
    struct seen seen;

    look(own, &seen);
    follow(own, seen.view.exists ? seen.back : "");
    /* A page with nonsense in it is let go before anything else. */
    if (own->held && own->has_ring && !seen.view.moved) {
        if (own->wrote != FAR_XB_CLOSED)
            (void)set_state(own, FAR_XB_CLOSED);
        drop(own, false);
        return true;
    }
    /* It began anew, and we missed its closing: the indexes of its ring too. */
    if (own->connected && seen.view.back == FAR_XB_INIT_WAIT &&
        !seen.view.moved) {
        drop(own, false);
        return true;
    }
    switch (far_front_step(&seen.view)) {
    case FAR_FRONT_NOTHING:
        tell_waiting(own, &seen.view);
        return false;
    case FAR_FRONT_CONNECTED:
        if (!own->connected) {
            own->connected = true;
            own->connections++;
            own->class->connected(own);
        }
        tell(own, FAR_FRONTEND_CONNECTED, NULL);
        return false;
    case FAR_FRONT_GONE:
        own->wrote = FAR_XB_UNKNOWN;
        tell(own, FAR_FRONTEND_GONE, NULL);
        return false;
    case FAR_FRONT_REFUSE:
        tell(own, FAR_FRONTEND_REFUSED, "another driver has it");
        return false;
    case FAR_FRONT_TAKE:
        return or_hold(own, take(own, &seen));
    case FAR_FRONT_DROP:
        drop(own, false);
        return true;
    case FAR_FRONT_ABANDON:
        drop(own, true);
        return true;
    case FAR_FRONT_YIELD: /* another program drives it */
        drop(own, false);
        own->wrote = FAR_XB_UNKNOWN;
        tell(own, FAR_FRONTEND_REFUSED, "another program took it");
        return false;
    case FAR_FRONT_SET_1:
        return or_hold(own, set_state(own, FAR_XB_INITIALISING));
    case FAR_FRONT_START:
        return or_hold(own, start(own));
    case FAR_FRONT_SET_4:
        return or_hold(own, set_state(own, FAR_XB_CONNECTED));
    case FAR_FRONT_SET_6:
        return or_hold(own, set_state(own, FAR_XB_CLOSED));
    }
    return false;
}

static void evaluate(struct far_front_own *own)
{
    if (own->frontend->lost)
        return;
    /* who was refused stays so until he opens it anew */
    if (own->was_told && own->state == FAR_FRONTEND_REFUSED)
        return;
    far_front_own_enter(own);
    for (unsigned i = 0; i < STEPS_MAX && !own->closed; i++)
        if (!step(own))
            break;
    (void)far_front_own_leave(own);
}

int far_front_own_open(struct far_frontend *frontend, struct far_front_own *own)
{
    int r;

    own->frontend = frontend;
    far_timer_init(&own->hold, frontend->loop, hold_over);
    /* Its first event, in the next turn, begins everything. */
    r = far_xs_watch(frontend->xs, &own->nodes_watch, node_changed,
                     "device/%s/%u", own->class->kind, own->devid);
    if (r < 0)
        return r;
    own->next = frontend->owns;
    own->prev = &frontend->owns;
    if (own->next)
        own->next->prev = &own->next;
    frontend->owns = own;
    return 0;
}

void far_front_own_close(struct far_front_own *own)
{
    struct seen seen;
    bool ours = true;

    far_xs_unwatch(&own->nodes_watch);
    far_xs_unwatch(&own->back_watch);
    far_defer_cancel(own->frontend->loop, &own->look);
    far_timer_cancel(&own->hold);
    if (own->wrote != FAR_XB_UNKNOWN && !own->frontend->lost) {
        look(own, &seen);
        ours = !seen.view.moved &&
               (!seen.view.exists || seen.view.front == own->wrote);
        if (ours && seen.view.exists)
            (void)set_state(own, FAR_XB_CLOSED);
    }
    drop(own, !ours);
    *own->prev = own->next;
    if (own->next)
        own->next->prev = own->prev;
    if (own->busy)
        own->closed = true;
    else
        own->freed(own);
}
