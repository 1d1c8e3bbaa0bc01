/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One input device from the guest's side: does what frontend/step.c says, reads
 * and writes its nodes, and takes events out of the page. What becomes of
 * events is the program's business.
 *
 * A page, its grant and its port belong to one incarnation of the device; each
 * incarnation has handles of its own, as those of a domain that was saved are
 * of no use in the one that was restored.
 */
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/clock.h"
#include "frontend/kbd.h"
#include "frontend/step.h"
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/kbd-ring.h"
#include "xenstore-schema/schema.h"

#define DRIVER        "farside-frontend"
#define HOLD_FIRST_US 1000000u
#define HOLD_LAST_US  60000000u
#define STEPS_MAX     32
#define NOBODY        UINT32_MAX
/* What Linux' frontend assumes where the backend says nothing. */
#define DEFAULT_WIDTH  800u
#define DEFAULT_HEIGHT 600u
/* Events in one turn before the loop sees to other things. */
#define BURST 64u

struct far_frontend_input {
    struct far_frontend *frontend;
    struct far_frontend_input *next, **prev;
    unsigned devid;
    uint32_t flags;
    struct far_frontend_input_hooks hooks;
    void *arg;
    unsigned busy; /* hooks under way */
    bool closed;   /* freed when they are over */

    enum far_frontend_state state;
    bool told; /* state was told at all */
    char why[232];
    char told_why[232];
    struct far_frontend_input_info info;
    struct far_frontend_input_counters counters;

    /* Whose it was when it was taken. */
    unsigned domid;
    unsigned back_id;
    char back[FAR_XS_PATH_BYTES];
    enum far_xenbus_state wrote;
    bool connected; /* the backend said 4 since it was started */
    bool yielded;

    struct far_xs_watch nodes_watch, back_watch;
    char watched[FAR_XS_PATH_BYTES]; /* the backend's, "" if none */
    struct far_defer look;
    struct far_timer hold;
    uint64_t hold_us, hold_end_us;
    bool held;

    bool has_ring;
    struct far_evtchns *channels;
    struct far_evtchn evtchn;
    struct far_shares *shares;
    struct far_share share;
    uint32_t gref;
    struct far_kbd_ring ring;
    struct far_poller poller;
    bool polling;
};

#define CONTAINER(type, member, pointer) \
    ((type *)((char *)(pointer)-offsetof(type, member)))

static void evaluate(struct far_frontend_input *input);

/* Round calls of hooks, which may close the device. False: it is no more. */
static bool leave(struct far_frontend_input *input)
{
    input->busy--;
    if (!input->closed)
        return true;
    if (!input->busy)
        free(input);
    return false;
}

static void tell(struct far_frontend_input *input,
                 enum far_frontend_state state, const char *why)
{
    if (!why)
        why = "";
    if (input->told && input->state == state && !strcmp(input->told_why, why))
        return;
    input->told = true;
    input->state = state;
    snprintf(input->told_why, sizeof(input->told_why), "%s", why);
    if (input->hooks.state)
        input->hooks.state(input->arg, state, *why ? input->told_why : NULL);
}

static void look_now(struct far_defer *defer)
{
    evaluate(CONTAINER(struct far_frontend_input, look, defer));
}

static void look_soon(struct far_frontend_input *input)
{
    far_defer(input->frontend->loop, &input->look, look_now);
}

/* ---- the page ------------------------------------------------------------ */

/* Takes out what there is: 1 if there was something, 0 if not, -EPROTO when the
 * ring is no ring, -ESHUTDOWN when a hook has closed the device. */
static int drain(struct far_frontend_input *input)
{
    union xenkbd_in_event event;
    unsigned n = 0;
    int r = 0;

    input->busy++;
    while (n < BURST && (r = far_kbd_front_get(&input->ring, &event)) > 0) {
        n++;
        if (!far_front_event_check(&event, &input->info)) {
            input->counters.invalid++;
            continue;
        }
        input->counters.events++;
        input->hooks.event(input->arg, &event);
        if (input->closed)
            break;
    }
    if (n && !input->closed) {
        /* The backend's room first, then the program's own batch. */
        if (far_kbd_front_publish(&input->ring) &&
            far_evtchn_notify(&input->evtchn) < 0)
            look_soon(input);
        if (input->hooks.flush)
            input->hooks.flush(input->arg);
    }
    if (!leave(input))
        return -ESHUTDOWN;
    return r < 0 ? r : n != 0;
}

static void hold_over(struct far_timer *timer)
{
    struct far_frontend_input *input =
        CONTAINER(struct far_frontend_input, hold, timer);

    input->held = false;
    look_soon(input);
}

static void hold(struct far_frontend_input *input, const char *why)
{
    uint64_t now = far_now_us();

    if (!input->hold_us || now > input->hold_end_us + HOLD_LAST_US)
        input->hold_us = HOLD_FIRST_US;
    else if (input->hold_us < HOLD_LAST_US)
        input->hold_us *= 2;
    input->hold_end_us = now + input->hold_us;
    input->held = true;
    snprintf(input->why, sizeof(input->why), "%s", why);
    far_timer_set(&input->hold, input->hold_end_us);
    look_soon(input);
}

static void broken(struct far_frontend_input *input)
{
    hold(input, "the backend wrote an impossible index into the page");
}

static enum far_evtchn_verdict fired(struct far_evtchn *evtchn)
{
    struct far_frontend_input *input =
        CONTAINER(struct far_frontend_input, evtchn, evtchn);
    int r;

    input->counters.wakeups++;
    r = drain(input);
    if (r == -EPROTO) {
        broken(input);
        return FAR_EVTCHN_BROKEN;
    }
    return r == 0 ? FAR_EVTCHN_SPURIOUS : FAR_EVTCHN_WORKED;
}

/* Wakes it up again by itself: a burst was cut short. */
static bool poll_page(struct far_poller *poller)
{
    struct far_frontend_input *input =
        CONTAINER(struct far_frontend_input, poller, poller);
    int r = drain(input);

    if (r == -EPROTO && !input->held)
        broken(input);
    return r > 0;
}

static bool back_elsewhere(struct far_poller *poller)
{
    struct far_frontend_input *input =
        CONTAINER(struct far_frontend_input, poller, poller);
    int cpu = far_kbd_front_peer_cpu(&input->ring);

    return cpu >= 0 && cpu != sched_getcpu();
}

static bool back_here(struct far_poller *poller)
{
    struct far_frontend_input *input =
        CONTAINER(struct far_frontend_input, poller, poller);
    int cpu = far_kbd_front_peer_cpu(&input->ring);

    return cpu >= 0 && cpu == sched_getcpu();
}

static bool arm_page(struct far_poller *poller)
{
    return far_kbd_front_arm(
        &CONTAINER(struct far_frontend_input, poller, poller)->ring);
}

static void disarm_page(struct far_poller *poller)
{
    int cpu = sched_getcpu();

    far_kbd_front_disarm(
        &CONTAINER(struct far_frontend_input, poller, poller)->ring,
        cpu < 0 ? 0 : (unsigned)cpu);
}

/* restored: the port is none of this domain's. */
static void drop(struct far_frontend_input *input, bool restored)
{
    if (input->polling)
        far_poller_del(&input->poller);
    input->polling = false;
    if (restored)
        far_evtchns_abandon(input->channels);
    else
        far_evtchns_close(input->channels);
    input->channels = NULL;
    far_unshare(&input->share);
    far_shares_close(input->shares);
    input->shares = NULL;
    if (input->connected)
        input->told = false; /* the next connection may be another one */
    input->has_ring = false;
    input->connected = false;
}

/* ---- nodes --------------------------------------------------------------- */

static int fault(struct far_frontend_input *input, const char *what, int r)
{
    snprintf(input->why, sizeof(input->why), "%s: %s", what, strerror(-r));
    return r;
}

static int write_node(struct far_frontend_input *input, far_xs_t t,
                      const char *node, uint32_t value)
{
    char path[FAR_XS_PATH_BYTES];

    snprintf(path, sizeof(path), "device/vkbd/%u/%s", input->devid, node);
    return far_xs_write(input->frontend->xs, t, path, "%u", value);
}

static int remove_node(struct far_frontend_input *input, far_xs_t t,
                       const char *node)
{
    return far_xs_remove(input->frontend->xs, t, "device/vkbd/%u/%s",
                         input->devid, node);
}

static int set_state(struct far_frontend_input *input,
                     enum far_xenbus_state state)
{
    int r = write_node(input, 0, FAR_NODE_VKB_FRONT_STATE, (uint32_t)state);

    if (r < 0)
        return fault(input, "our nodes can't be written", r);
    input->wrote = state;
    return 0;
}

struct back_reader {
    struct far_frontend_input *input;
};

/* What a backend calls itself is its own business, and the paths are known. */
static int read_back(void *arg, const char *node, char *value, size_t room)
{
    struct far_frontend_input *input = ((struct back_reader *)arg)->input;

    if (!strcmp(node, FAR_NODE_VKB_BACK_UNIQUE_ID))
        return -ENOENT;
    return far_xs_read(input->frontend->xs, 0, value, room, "%s/%s",
                       input->back, node);
}

static int learn(struct far_frontend_input *input)
{
    struct far_schema_vkb_back back;
    struct far_schema_fault fault;
    struct back_reader reader = { input };
    struct far_frontend_input_info *info = &input->info;
    int r = far_schema_vkb_back_read(&back, read_back, &reader, &fault);

    if (r < 0) {
        snprintf(input->why, sizeof(input->why), "the backend's %s",
                 fault.text);
        return r;
    }
    *info = (struct far_frontend_input_info){
        .keyboard = !back.feature_disable_keyboard,
        .pointer = !back.feature_disable_pointer,
        .absolute = back.feature_abs_pointer,
        .raw = back.feature_raw_pointer && back.feature_abs_pointer &&
               (input->flags & FAR_FRONTEND_RAW),
        .multi_touch = back.feature_multi_touch,
        .polls = back.feature_poll && !(input->flags & FAR_FRONTEND_NO_POLL),
        .width = back.width ? back.width : DEFAULT_WIDTH,
        .height = back.height ? back.height : DEFAULT_HEIGHT,
    };
    if (info->multi_touch) {
        info->touch_width =
            back.multi_touch_width ? back.multi_touch_width : info->width;
        info->touch_height =
            back.multi_touch_height ? back.multi_touch_height : info->height;
        info->contacts =
            back.multi_touch_num_contacts ? back.multi_touch_num_contacts : 1;
    }
    return 0;
}

static int request(struct far_frontend_input *input, far_xs_t t,
                   const char *node, bool wanted)
{
    return wanted ? write_node(input, t, node, 1) : remove_node(input, t, node);
}

/* All that the backend needs, and that it may come: at once or not at all. */
static int offer(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct far_frontend_input *input = arg;
    const struct far_frontend_input_info *info = &input->info;
    int r;

    (void)xs;
    r = write_node(input, t, FAR_NODE_VKB_FRONT_PAGE_GREF, input->gref);
    if (!r)
        r = write_node(input, t, FAR_NODE_VKB_FRONT_EVENT_CHANNEL,
                       input->evtchn.local_port);
    /* A frame number, which no backend should need, we don't know. */
    if (!r)
        r = remove_node(input, t, FAR_NODE_VKB_FRONT_PAGE_REF);
    if (!r)
        r = request(input, t, FAR_NODE_VKB_FRONT_REQUEST_ABS_POINTER,
                    info->absolute);
    if (!r)
        r = request(input, t, FAR_NODE_VKB_FRONT_REQUEST_RAW_POINTER,
                    info->raw);
    if (!r)
        r = request(input, t, FAR_NODE_VKB_FRONT_REQUEST_MULTI_TOUCH,
                    info->multi_touch);
    if (!r)
        r = request(input, t, FAR_NODE_VKB_FRONT_REQUEST_POLL, info->polls);
    if (!r)
        r = write_node(input, t, FAR_NODE_VKB_FRONT_STATE, FAR_XB_INITIALISED);
    return r;
}

static int start(struct far_frontend_input *input)
{
    struct far_loop *loop = input->frontend->loop;
    int r = learn(input);

    if (r < 0)
        return r;
    input->shares = far_shares_open();
    if (!input->shares)
        return fault(input, "/dev/xen/gntalloc can't be opened", -errno);
    r = far_share_pages(input->shares, &input->share, input->back_id, 1, true,
                        &input->gref);
    if (r < 0) {
        fault(input, "no page can be granted to the backend", r);
        goto out;
    }
    input->channels = far_evtchns_open(loop, input->back_id);
    if (!input->channels) {
        r = fault(input, "/dev/xen/evtchn can't be opened",
                  errno ? -errno : -EIO);
        goto out;
    }
    r = far_evtchn_offer(input->channels, &input->evtchn, fired);
    if (r < 0) {
        fault(input, "no event channel for the backend", r);
        goto out;
    }
    memset(input->share.memory, 0, FAR_PAGE_BYTES);
    far_kbd_front_init(&input->ring, input->share.memory, input->info.polls);
    r = far_xs_transact(input->frontend->xs, offer, input);
    if (r < 0) {
        fault(input, "our nodes can't be written", r);
        goto out;
    }
    input->wrote = FAR_XB_INITIALISED;
    input->has_ring = true;
    if (input->info.polls) {
        input->poller = (struct far_poller){ .poll = poll_page,
                                             .peer_elsewhere = back_elsewhere,
                                             .peer_here = back_here,
                                             .arm = arm_page,
                                             .disarm = disarm_page };
        far_poller_add(loop, &input->poller);
        input->polling = true;
    }
    return 0;

out:
    drop(input, false);
    return r;
}

static void node_changed(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    evaluate(CONTAINER(struct far_frontend_input, nodes_watch, watch));
}

static void back_changed(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    evaluate(CONTAINER(struct far_frontend_input, back_watch, watch));
}

static enum far_xenbus_state read_state(struct far_frontend_input *input,
                                        const char *directory)
{
    char text[16];

    if (far_xs_read(input->frontend->xs, 0, text, sizeof(text), "%s/state",
                    directory) < 0)
        return FAR_XB_UNKNOWN;
    return far_xenbus_state_parse(text);
}

/* A kernel with a driver of its own probes each device as it appears: there is
 * no moment at which one could be sure that it will not. */
static bool kernel_has(void)
{
    return access("/sys/bus/xen/drivers/vkbd", F_OK) == 0;
}

struct seen {
    struct far_front_view view;
    char back[FAR_XS_PATH_BYTES];
    unsigned back_id;
};

static void look(struct far_frontend_input *input, struct seen *seen)
{
    struct far_xs *xs = input->frontend->xs;
    char front[32], text[32];
    uint64_t id;

    *seen = (struct seen){ 0 };
    if (far_xs_read_u64(xs, 0, &id, UINT32_MAX, "domid") == 0)
        input->frontend->domid = (unsigned)id;
    snprintf(front, sizeof(front), "device/vkbd/%u", input->devid);
    seen->view.exists =
        far_xs_read(xs, 0, seen->back, sizeof(seen->back), "%s/%s", front,
                    FAR_NODE_VKB_FRONT_BACKEND) > 0 &&
        far_schema_check(&far_schema_vkb_front_group,
                         FAR_NODE_VKB_FRONT_BACKEND, seen->back, NULL,
                         NULL) == 0 &&
        far_xs_read(xs, 0, text, sizeof(text), "%s/%s", front,
                    FAR_NODE_VKB_FRONT_BACKEND_ID) > 0 &&
        far_schema_check(&far_schema_vkb_front_group,
                         FAR_NODE_VKB_FRONT_BACKEND_ID, text, &id, NULL) == 0;
    if (seen->view.exists) {
        seen->back_id = (unsigned)id;
        seen->view.front = read_state(input, front);
        seen->view.back = read_state(input, seen->back);
    }
    seen->view.wrote = input->wrote;
    seen->view.moved =
        input->wrote != FAR_XB_UNKNOWN &&
        (input->frontend->domid != input->domid ||
         (seen->view.exists && (strcmp(seen->back, input->back) ||
                                seen->back_id != input->back_id)));
    seen->view.has_ring = input->has_ring;
    seen->view.force = (input->flags & FAR_FRONTEND_FORCE) && !input->yielded;
    seen->view.held = input->held;
    if (input->wrote == FAR_XB_UNKNOWN && seen->view.exists) {
        seen->view.other = kernel_has();
        seen->view.predecessor =
            !input->yielded &&
            far_xs_read(xs, 0, text, sizeof(text), "%s/%s", front,
                        FAR_NODE_VKB_FRONT_DRIVER) > 0 &&
            !strcmp(text, DRIVER);
    }
}

static int take(struct far_frontend_input *input, const struct seen *seen)
{
    char path[FAR_XS_PATH_BYTES];
    int r;

    input->domid = input->frontend->domid;
    input->back_id = seen->back_id;
    memcpy(input->back, seen->back, sizeof(input->back));
    snprintf(path, sizeof(path), "device/vkbd/%u/%s", input->devid,
             FAR_NODE_VKB_FRONT_DRIVER);
    r = far_xs_write(input->frontend->xs, 0, path, "%s", DRIVER);
    /* What a predecessor offered is no more. */
    if (!r)
        r = remove_node(input, 0, FAR_NODE_VKB_FRONT_PAGE_GREF);
    if (!r)
        r = remove_node(input, 0, FAR_NODE_VKB_FRONT_EVENT_CHANNEL);
    if (r < 0)
        return fault(input, "our nodes can't be written", r);
    if (seen->view.wrote != FAR_XB_UNKNOWN)
        input->counters.restored++;
    if (seen->view.front != FAR_XB_INITIALISING) {
        r = set_state(input, FAR_XB_INITIALISING);
        if (r < 0)
            return r;
    }
    input->wrote = FAR_XB_INITIALISING;
    return 0;
}

/* Watches the state of the backend that is there now. */
static void follow(struct far_frontend_input *input, const char *back)
{
    if (!strcmp(input->watched, back))
        return;
    far_xs_unwatch(&input->back_watch);
    input->watched[0] = '\0';
    if (*back && far_xs_watch(input->frontend->xs, &input->back_watch,
                              back_changed, "%s/state", back) == 0)
        snprintf(input->watched, sizeof(input->watched), "%s", back);
}

/* What to say of a device that waits. */
static void tell_waiting(struct far_frontend_input *input,
                         const struct far_front_view *view)
{
    if (input->held)
        tell(input, FAR_FRONTEND_FAILED, input->why);
    else if (view->back == FAR_XB_CLOSING || view->back == FAR_XB_CLOSED)
        tell(input, FAR_FRONTEND_CLOSED, NULL);
    else if (view->back == FAR_XB_UNKNOWN)
        tell(input, FAR_FRONTEND_WAITING, "there is no backend for it");
    else
        tell(input, FAR_FRONTEND_WAITING, NULL);
}

static void step_failed(struct far_frontend_input *input)
{
    char why[sizeof(input->why)];

    memcpy(why, input->why, sizeof(why));
    hold(input, why);
    tell(input, FAR_FRONTEND_FAILED, input->why);
}

/* One step. False: wait for the next change. */
static bool step(struct far_frontend_input *input)
{
    struct seen seen;

    look(input, &seen);
    follow(input, seen.view.exists ? seen.back : "");
    /* A page with nonsense in it is let go before anything else. */
    if (input->held && input->has_ring && !seen.view.moved) {
        if (input->wrote != FAR_XB_CLOSED)
            (void)set_state(input, FAR_XB_CLOSED);
        drop(input, false);
        return true;
    }
    switch (far_front_step(&seen.view)) {
    case FAR_FRONT_NOTHING:
        if (seen.view.back == FAR_XB_INIT_WAIT && input->connected) {
            /* It came again; what it said of itself in the page is old. */
            input->connected = false;
            far_kbd_front_forget_peer(&input->ring);
        }
        tell_waiting(input, &seen.view);
        return false;
    case FAR_FRONT_CONNECTED:
        if (!input->connected) {
            input->connected = true;
            input->counters.connected++;
        }
        tell(input, FAR_FRONTEND_CONNECTED, NULL);
        return false;
    case FAR_FRONT_GONE:
        input->wrote = FAR_XB_UNKNOWN;
        tell(input, FAR_FRONTEND_GONE, NULL);
        return false;
    case FAR_FRONT_REFUSE:
        tell(input, FAR_FRONTEND_REFUSED,
             seen.view.other ? "the kernel's own driver takes input devices"
                             : "another driver has it");
        return false;
    case FAR_FRONT_TAKE:
        return take(input, &seen) == 0 || (step_failed(input), false);
    case FAR_FRONT_DROP:
        drop(input, false);
        return true;
    case FAR_FRONT_ABANDON:
        drop(input, true);
        return true;
    case FAR_FRONT_YIELD:
        drop(input, false);
        (void)remove_node(input, 0, FAR_NODE_VKB_FRONT_DRIVER);
        input->wrote = FAR_XB_UNKNOWN;
        input->yielded = true;
        return true;
    case FAR_FRONT_SET_1:
        return set_state(input, FAR_XB_INITIALISING) == 0 ||
               (step_failed(input), false);
    case FAR_FRONT_START:
        return start(input) == 0 || (step_failed(input), false);
    case FAR_FRONT_SET_4:
        return set_state(input, FAR_XB_CONNECTED) == 0 ||
               (step_failed(input), false);
    case FAR_FRONT_SET_6:
        return set_state(input, FAR_XB_CLOSED) == 0 ||
               (step_failed(input), false);
    }
    return false;
}

static void evaluate(struct far_frontend_input *input)
{
    if (input->frontend->lost)
        return;
    input->busy++;
    for (unsigned i = 0; i < STEPS_MAX && !input->closed; i++)
        if (!step(input))
            break;
    (void)leave(input);
}

void far_front_input_look(struct far_frontend_input *input)
{
    look_soon(input);
}

struct far_frontend_input *
far_front_input_next(const struct far_frontend_input *input)
{
    return input->next;
}

/* ---- for programs -------------------------------------------------------- */

struct far_frontend_input *
far_frontend_input_open(struct far_frontend *frontend, unsigned devid,
                        uint32_t flags,
                        const struct far_frontend_input_hooks *hooks, void *arg)
{
    struct far_frontend_input *input;
    int r;

    if (devid > FAR_FRONT_DEVID_MAX || !hooks->event) {
        errno = EINVAL;
        return NULL;
    }
    input = calloc(1, sizeof(*input));
    if (!input)
        return NULL;
    input->frontend = frontend;
    input->devid = devid;
    input->flags = flags;
    input->hooks = *hooks;
    input->arg = arg;
    far_timer_init(&input->hold, frontend->loop, hold_over);
    /* Its first event, in the next turn, begins everything. */
    r = far_xs_watch(frontend->xs, &input->nodes_watch, node_changed,
                     "device/vkbd/%u", devid);
    if (r < 0) {
        free(input);
        errno = -r;
        return NULL;
    }
    input->next = frontend->inputs;
    input->prev = &frontend->inputs;
    if (input->next)
        input->next->prev = &input->next;
    frontend->inputs = input;
    return input;
}

void far_frontend_input_close(struct far_frontend_input *input)
{
    struct seen seen;

    if (!input)
        return;
    far_xs_unwatch(&input->nodes_watch);
    far_xs_unwatch(&input->back_watch);
    far_defer_cancel(input->frontend->loop, &input->look);
    far_timer_cancel(&input->hold);
    if (input->wrote != FAR_XB_UNKNOWN && !input->frontend->lost) {
        bool ours;

        look(input, &seen);
        ours = !seen.view.moved &&
               (!seen.view.exists || seen.view.front == input->wrote);
        /* Only what is still ours is let go: another one's state stays. So
         * does the node that says who drove it last. */
        if (ours && seen.view.exists)
            (void)set_state(input, FAR_XB_CLOSED);
        drop(input, !ours);
    } else {
        drop(input, false);
    }
    *input->prev = input->next;
    if (input->next)
        input->next->prev = input->prev;
    if (input->busy)
        input->closed = true;
    else
        free(input);
}

enum far_frontend_state
far_frontend_input_state(const struct far_frontend_input *input)
{
    return input->state;
}

const struct far_frontend_input_info *
far_frontend_input_info(const struct far_frontend_input *input)
{
    return &input->info;
}

const struct far_frontend_input_counters *
far_frontend_input_counters(const struct far_frontend_input *input)
{
    return &input->counters;
}
