/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds devices in xenstore and walks each through the handshake. Scans mark
 * and sweep: whatever a watch says, what there is counts, so that lost, doubled
 * and coalesced events converge. Three kinds of watch keep a change's cost
 * independent of the number of guests: one on backend/KIND tells which domains
 * there are, one on backend/KIND/DOMID which devices and what became of ours,
 * and one on exactly the front's state node tells of the guest. Knows no class.
 */
#include "backend/backend.h"
#include "backend/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/uuid.h"
#include "backend/own.h"

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define DOMAINS_LISTED 32768u
#define DEVICES_LISTED 1024u
#define STEPS          16u
/* A front that mirrors our state (kexec) must be able to see our 6. */
#define CLOSED_STANDS_US 500000u
/* Connections of one device: this many at once, then one each CONNECT_US. */
#define CONNECT_BURST 10u
#define CONNECT_US    500000u
#define TRY_AGAIN_US  100000u

struct place {
    struct far_xs_watch watch; /* backend/KIND/DOMID */
    struct far_work scan;
    struct root *root;
    struct far_guest *guest;
    unsigned domid;
    bool seen;
    struct far_attachment *attachments;
    struct place *next;
};

struct root {
    struct far_xs_watch watch; /* backend/KIND */
    struct far_hotplug *hotplug;
    const struct far_port_type *type;
    const char *kind;
    struct place *places;
    struct root *next;
};

struct far_hotplug {
    struct far_backend *backend;
    struct root *roots;
    struct far_xs_watch release; /* @releaseDomain */
    struct far_work *first, **last;
    struct far_defer turn;
    unsigned own_domid;
};

/* --- one thing a turn ---------------------------------------------------- */

static void work_cancel(struct far_hotplug *hotplug, struct far_work *work)
{
    if (!work->prev)
        return;
    *work->prev = work->next;
    if (work->next)
        work->next->prev = work->prev;
    else
        hotplug->last = work->prev;
    work->prev = NULL;
    work->next = NULL;
}

static void work_one(struct far_hotplug *hotplug)
{
    struct far_work *work = hotplug->first;

    work_cancel(hotplug, work);
    work->run(work);
}

static void work_turn(struct far_defer *defer)
{
    struct far_hotplug *hotplug = CONTAINER(struct far_hotplug, turn, defer);

    if (hotplug->first)
        work_one(hotplug);
    if (hotplug->first)
        far_defer(hotplug->backend->loop, &hotplug->turn, work_turn);
}

static void work_later(struct far_hotplug *hotplug, struct far_work *work,
                       void (*run)(struct far_work *))
{
    if (work->prev)
        return;
    work->run = run;
    work->next = NULL;
    work->prev = hotplug->last;
    *hotplug->last = work;
    hotplug->last = &work->next;
    far_defer(hotplug->backend->loop, &hotplug->turn, work_turn);
}

static void step(struct far_attachment *a);

/* --- guests ------------------------------------------------------------ */

static bool read_uuid(struct far_backend *backend, unsigned domid,
                      uint8_t uuid[16])
{
    char vm[64];

    if (far_xs_read(backend->xs, 0, vm, sizeof(vm), "/local/domain/%u/vm",
                    domid) < 0 ||
        strncmp(vm, "/vm/", 4))
        return false;
    /* libxl makes a suffix when a name is taken for a moment: /vm/UUID-1 */
    if (strlen(vm + 4) > 36)
        vm[4 + 36] = '\0';
    return !far_uuid_parse(uuid, vm + 4);
}

static void guest_renamed(struct far_xs_watch *watch, const char *path)
{
    struct far_guest *guest = CONTAINER(struct far_guest, name_watch, watch);
    char name[256];
    int r = far_xs_read(guest->backend->xs, 0, name, sizeof(name),
                        "/local/domain/%u/name", guest->domid);

    (void)path;
    if (r > 0)
        far_escape(guest->name, sizeof(guest->name), name, (size_t)r);
}

static struct far_guest *guest_get(struct far_backend *backend, unsigned domid)
{
    struct far_guest *guest;
    uint8_t uuid[16] = { 0 };
    bool known = read_uuid(backend, domid, uuid);

    for (guest = backend->guests; guest; guest = guest->next) {
        if (guest->domid == domid && guest->known == known &&
            !memcmp(guest->uuid, uuid, sizeof(uuid))) {
            guest->references++;
            return guest;
        }
    }
    guest = calloc(1, sizeof(*guest));
    if (!guest)
        return NULL;
    guest->backend = backend;
    guest->domid = domid;
    guest->known = known;
    memcpy(guest->uuid, uuid, sizeof(uuid));
    guest->quota.pages_max = FAR_GUEST_PAGES_MAX;
    guest->references = 1;
    snprintf(guest->name, sizeof(guest->name), "domain-%u", domid);
    guest_renamed(&guest->name_watch, "");
    far_xs_watch(backend->xs, &guest->name_watch, guest_renamed,
                 "/local/domain/%u/name", domid);
    guest->next = backend->guests;
    backend->guests = guest;
    return guest;
}

static void guest_put(struct far_guest *guest)
{
    struct far_guest **at;

    if (!guest || --guest->references)
        return;
    for (at = &guest->backend->guests; *at != guest; at = &(*at)->next)
        ;
    *at = guest->next;
    far_notify_free(guest);
    far_xs_unwatch(&guest->name_watch);
    far_evtchns_close(guest->channels);
    free(guest);
}

struct far_evtchns *far_guest_channels(struct far_guest *guest)
{
    if (!guest->channels)
        guest->channels = far_evtchns_open(guest->backend->loop, guest->domid);
    return guest->channels;
}

/* The generation is random at each build of a domain and outlives save,
 * migration and daemons. It stands in /local/domain/DOMID/farside/generation,
 * which dom0 alone can read or write: the directory of a domain goes with it,
 * so that a reboot (a new domain of the same uuid) gets another one, and this
 * daemon's successor finds it. libxl carries no node of ours: whoever
 * migrates or saves a guest must read the node at the source and write it at
 * the target before the device reaches state 2 (docs/GENERATION.md); a guest
 * that arrives without one counts as newly built. */
struct generation_make {
    struct far_guest *guest;
    unsigned own_domid;
    uint8_t made[16];
    bool found;
};

static int generation_change(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct generation_make *make = arg;
    unsigned domid = make->guest->domid;
    char text[64], dir[64], path[80];
    int r;

    make->found = false;
    r = far_xs_read(xs, t, text, sizeof(text),
                    "/local/domain/%u/farside/generation", domid);
    if (r == 32 && !far_uuid_parse(make->made, text)) {
        make->found = true;
        return 0;
    }
    if (r < 0 && r != -ENOENT && r != -E2BIG && r != -EINVAL)
        return r;
    /* not for a domain that has just gone: it would be made anew */
    r = far_xs_read(xs, t, text, sizeof(text), "/local/domain/%u/vm", domid);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", make->made[i]);
    snprintf(dir, sizeof(dir), "/local/domain/%u/farside", domid);
    snprintf(path, sizeof(path), "%s/generation", dir);
    r = far_xs_mkdir(xs, t, dir);
    if (!r)
        r = far_xs_permit(xs, t, dir, make->own_domid, make->own_domid);
    if (!r)
        r = far_xs_write(xs, t, path, "%s", text);
    if (!r)
        r = far_xs_permit(xs, t, path, make->own_domid, make->own_domid);
    return r;
}

static void guest_generation(struct far_guest *guest)
{
    struct generation_make make = { .guest = guest,
                                    .own_domid =
                                        guest->backend->hotplug->own_domid };

    if (guest->has_generation)
        return;
    if (far_random_bytes(make.made, sizeof(make.made)))
        return;
    /* A driver domain may not write there: then the generation lives in the
     * journal alone. */
    (void)far_xs_transact(guest->backend->xs, generation_change, &make);
    memcpy(guest->generation, make.made, sizeof(make.made));
    guest->has_generation = true;
}

/* The one that is there, if there is one. */
static void guest_read_generation(struct far_guest *guest)
{
    char text[64];

    if (guest->has_generation)
        return;
    if (far_xs_read(guest->backend->xs, 0, text, sizeof(text),
                    "/local/domain/%u/farside/generation",
                    guest->domid) == 32 &&
        !far_uuid_parse(guest->generation, text))
        guest->has_generation = true;
}

/* --- what is written ----------------------------------------------------- */

struct state_change {
    struct far_attachment *a;
    enum far_xenbus_state from, to;
    bool online;
};

static int state_change(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct state_change *c = arg;
    char text[8], path[FAR_XS_PATH_BYTES + 8];
    int r;

    /* Only where what we decided by still stands: a write to a node that the
     * toolstack has just removed would make it anew, for ever. */
    r = far_xs_read(xs, t, text, sizeof(text), "%s/state", c->a->back);
    if (r < 0 || far_xenbus_state_parse(text) != c->from)
        return r == -EAGAIN ? r : -ESTALE;
    r = far_xs_read(xs, t, text, sizeof(text), "%s/online", c->a->back);
    if ((r == 1 && text[0] == '1') != c->online)
        return r == -EAGAIN ? r : -ESTALE;
    snprintf(path, sizeof(path), "%s/state", c->a->back);
    return far_xs_write(xs, t, path, "%d", (int)c->to);
}

static int set_state(struct far_attachment *a, enum far_xenbus_state to)
{
    struct state_change c = {
        .a = a, .from = a->view.back, .to = to, .online = a->view.online
    };

    int r = far_xs_transact(a->backend->xs, state_change, &c);

    a->written = a->written || !r;
    return r;
}

struct error_change {
    struct far_attachment *a;
    const char *text; /* NULL: remove */
};

static int error_change(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct error_change *c = arg;
    char path[FAR_XS_PATH_BYTES + 16], text[8];
    int r;

    snprintf(path, sizeof(path), "error/%s/error", c->a->back);
    if (c->text)
        r = far_xs_write(xs, t, path, "%s", c->text);
    else
        r = far_xs_remove(xs, t, "error/%s", c->a->back);
    if (r)
        return r;
    r = far_xs_read(xs, t, text, sizeof(text), "%s/state", c->a->back);
    if (r == -ENOENT)
        return 0;
    snprintf(path, sizeof(path), "%s/error", c->a->back);
    return c->text ? far_xs_write(xs, t, path, "%s", c->text)
                   : far_xs_remove(xs, t, "%s", path);
}

static void write_error(struct far_attachment *a, const char *text)
{
    struct error_change c = { .a = a, .text = text };

    if (!text && !a->error_written)
        return;
    (void)far_xs_transact(a->backend->xs, error_change, &c);
    a->error_written = text != NULL;
}

static void refuse(struct far_attachment *a, bool hard, const char *text)
{
    a->view.refused = true;
    a->refused_hard = a->refused_hard || hard;
    /* it has to close, or start anew, before it is looked at again */
    a->view.front_closed_seen = false;
    a->refusals++;
    snprintf(a->reason, sizeof(a->reason), "%s", text);
    far_log_limited(a->backend->log, &a->guest->bucket, FAR_LOG_WARNING,
                    "%s/%u of guest %s (domain %u) is not served: %s", a->kind,
                    a->devid, a->guest->name, a->guest->domid, text);
    write_error(a, text);
}

/* --- attachments ----------------------------------------------------------*/

static void step_now(struct far_work *work)
{
    step(CONTAINER(struct far_attachment, step, work));
}

void far_attachment_step(struct far_attachment *a)
{
    if (a->backend->hotplug && !a->detached)
        work_later(a->backend->hotplug, &a->step, step_now);
}

static void step_again(struct far_timer *timer)
{
    far_attachment_step(CONTAINER(struct far_attachment, again, timer));
}

static void front_changed(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    far_attachment_step(CONTAINER(struct far_attachment, front_watch, watch));
}

void far_attachment_fail(struct far_attachment *a, const char *format, ...)
{
    char text[232];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!a->view.refused)
        refuse(a, false, text);
    far_attachment_step(a);
}

int far_attachment_record(struct far_attachment *a, struct far_error *error)
{
    struct far_journal_record *record = a->record;

    if (record)
        return 0;
    record = far_journal_take(a->backend->journal);
    if (!record)
        return far_error(error, -errno, "the journal can't grow: %s",
                         strerror(errno));
    guest_generation(a->guest);
    snprintf(record->kind, sizeof(record->kind), "%s", a->kind);
    record->domid = a->guest->domid;
    record->devid = a->devid;
    record->who.attachment = far_journal_attachment(a->backend->journal);
    memcpy(record->who.guest_uuid, a->guest->uuid, 16);
    memcpy(record->who.generation, a->guest->generation, 16);
    snprintf(record->who.guest_name, sizeof(record->who.guest_name), "%s",
             a->guest->name);
    record->who.class = (uint32_t)a->type->class;
    record->who.guest_devid = a->devid;
    a->record = record;
    return 0;
}

/* What a predecessor left of this device, if it is the same guest's. */
static void find_record(struct far_attachment *a)
{
    struct far_journal_record *record = far_journal_find(
        a->backend->journal, a->kind, a->guest->domid, a->devid);
    struct far_guest *guest = a->guest;

    if (!record)
        return;
    guest_read_generation(guest);
    if (!guest->known || memcmp(record->who.guest_uuid, guest->uuid, 16) ||
        (guest->has_generation &&
         memcmp(record->who.generation, guest->generation, 16)) ||
        record->who.class != (uint32_t)a->type->class) {
        far_journal_drop(a->backend->journal, record);
        return;
    }
    if (!guest->has_generation) { /* a driver domain: it stands only here */
        memcpy(guest->generation, record->who.generation, 16);
        guest->has_generation = true;
    }
    a->record = record;
    a->view.adoptable = record->connected != 0;
}

static struct far_attachment *attachment_new(struct place *place,
                                             unsigned devid)
{
    struct far_attachment *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->backend = place->root->hotplug->backend;
    a->guest = place->guest;
    a->guest->references++;
    a->type = place->root->type;
    a->kind = place->root->kind;
    a->devid = devid;
    a->view.flags = a->type->handshake;
    snprintf(a->back, sizeof(a->back), "backend/%s/%u/%u", a->kind,
             place->domid, devid);
    far_timer_init(&a->again, a->backend->loop, step_again);
    find_record(a);
    return a;
}

/* Lets go of the device. The nodes are the toolstack's. */
static void detach(struct far_attachment *a)
{
    if (a->detached)
        return;
    a->detached = true;
    far_xs_unwatch(&a->front_watch);
    far_timer_cancel(&a->again);
    work_cancel(a->backend->hotplug, &a->step);
    a->type->disconnect(a);
    a->view.connected = false;
    a->type->detach(a);
    if (a->mine)
        a->guest->devices--;
    a->mine = false;
    far_journal_drop(a->backend->journal, a->record);
    a->record = NULL;
    if (a->error_written) /* only what is below error/: ours is going */
        (void)far_xs_remove(a->backend->xs, 0, "error/%s", a->back);
}

static void attachment_free(struct far_attachment *a)
{
    detach(a);
    guest_put(a->guest);
    free(a);
}

/* --- the handshake --------------------------------------------------------*/

static enum far_xenbus_state read_state(struct far_xs *xs, const char *dir,
                                        bool *exists)
{
    char text[8];
    int r = far_xs_read(xs, 0, text, sizeof(text), "%s/state", dir);

    *exists = r != -ENOENT;
    return r < 0 ? FAR_XB_UNKNOWN : far_xenbus_state_parse(text);
}

/* Where the front is: from our own nodes, which only dom0 writes; checked all
 * the same, so that a typing error there does not watch somebody else. */
static void find_front(struct far_attachment *a)
{
    char front[FAR_XS_PATH_BYTES], prefix[64];
    uint64_t domid;
    int r;

    r = far_xs_read(a->backend->xs, 0, front, sizeof(front), "%s/frontend",
                    a->back);
    if (r == -ENOENT)
        return; /* not written yet */
    snprintf(prefix, sizeof(prefix), "/local/domain/%u/", a->guest->domid);
    if (r <= 0 || strncmp(front, prefix, strlen(prefix)) ||
        front[r - 1] == '/' ||
        far_xs_read_u64(a->backend->xs, 0, &domid, UINT32_MAX, "%s/frontend-id",
                        a->back) ||
        domid != a->guest->domid) {
        a->front_bad = true;
        return;
    }
    memcpy(a->front, front, (size_t)r + 1);
    far_xs_watch(a->backend->xs, &a->front_watch, front_changed, "%s/state",
                 a->front);
}

static void look(struct far_attachment *a)
{
    struct far_handshake_view *v = &a->view;
    uint64_t now = far_now_us();
    char text[4];
    bool exists;

    v->back = read_state(a->backend->xs, a->back, &exists);
    v->online = far_xs_read(a->backend->xs, 0, text, sizeof(text), "%s/online",
                            a->back) == 1 &&
                text[0] == '1';
    if (!a->front[0])
        find_front(a);
    if (a->front[0])
        v->front = read_state(a->backend->xs, a->front, &v->front_exists);
    else
        v->front_exists = false;
    if (!v->front_exists)
        v->front = FAR_XB_UNKNOWN;

    if (v->connected) {
        v->front_connected_seen |= v->front == FAR_XB_CONNECTED;
    } else if (!v->front_exists || v->front == FAR_XB_CLOSED ||
               v->front == FAR_XB_INITIALISING ||
               v->front == FAR_XB_RECONFIGURING) {
        v->front_closed_seen = true;
    }
    if (v->back != FAR_XB_CLOSED) {
        a->shown_us = 0;
        v->closed_shown = false;
    } else if (!a->shown_us) { /* found so */
        a->shown_us = now + CLOSED_STANDS_US;
    }
    if (v->back == FAR_XB_CLOSED && now >= a->shown_us)
        v->closed_shown = true;
    v->device_ready = a->mine && a->type->device_ready(a);
}

/* One more connection, or one more try after a refusal? If not, the timer
 * knows when. */
static bool may_connect(struct far_attachment *a)
{
    uint64_t now = far_now_us();

    if (a->connects_us < now)
        a->connects_us = now;
    if (a->connects_us >= now + CONNECT_BURST * CONNECT_US) {
        far_timer_set(&a->again,
                      a->connects_us - (CONNECT_BURST - 1) * CONNECT_US);
        return false;
    }
    a->connects_us += CONNECT_US;
    return true;
}

/* A front that was at fault gets another chance when it has closed and begins
 * again. */
static bool pardon(struct far_attachment *a)
{
    struct far_handshake_view *v = &a->view;

    if (!v->refused || a->refused_hard || v->connected || !v->online ||
        v->back != FAR_XB_CLOSED || !v->front_closed_seen ||
        (v->front != FAR_XB_INITIALISING && v->front != FAR_XB_INITIALISED &&
         v->front != FAR_XB_CONNECTED))
        return false;
    if (!may_connect(a))
        return false;
    v->refused = false;
    a->reason[0] = '\0';
    write_error(a, NULL);
    return true;
}

static void served(struct far_attachment *a)
{
    a->view.connected = true;
    a->view.front_closed_seen = false;
    a->view.front_connected_seen = a->view.front == FAR_XB_CONNECTED;
    a->view.adoptable = false;
    a->reason[0] = '\0';
    write_error(a, NULL);
}

static bool connect_front(struct far_attachment *a)
{
    struct far_error error = { 0 };
    int r;

    if (!may_connect(a))
        return false;
    r = a->type->connect(a, &error);
    if (r) {
        refuse(a, false, error.text);
        return true;
    }
    if (set_state(a, FAR_XB_CONNECTED)) {
        a->type->disconnect(a);
        return true;
    }
    a->connects++;
    served(a);
    return true;
}

static void adopt(struct far_attachment *a)
{
    struct far_error error = { 0 };

    a->view.adoptable = false;
    if (a->type->adopt(a, &error)) {
        far_log_limited(a->backend->log, &a->guest->bucket, FAR_LOG_WARNING,
                        "%s/%u of guest %s (domain %u) can't be adopted, it "
                        "is connected anew: %s",
                        a->kind, a->devid, a->guest->name, a->guest->domid,
                        error.text);
        return;
    }
    a->adoptions++;
    served(a);
}

static bool claim(struct far_attachment *a)
{
    if (a->mine)
        return true;
    /* a device that is going was never ours */
    if (a->view.back == FAR_XB_UNKNOWN ||
        (!a->view.online && a->view.back == FAR_XB_CLOSED))
        return false;
    if ((!a->front[0] && !a->front_bad) || !a->type->mine(a))
        return false;
    a->mine = true;
    if (a->guest->devices++ >= FAR_GUEST_DEVICES_MAX)
        refuse(a, true, "this guest has as many devices as one guest may have");
    return true;
}

/* Does what the table says until there is nothing to do. */
static void step(struct far_attachment *a)
{
    struct far_error error;

    if (a->detached)
        return;
    for (unsigned i = 0; i < STEPS; i++) {
        struct far_handshake_view *v = &a->view;
        enum far_handshake_action action;
        bool first;
        int r;

        look(a);
        if (!claim(a))
            return;
        (void)pardon(a);
        action = a->leaving ? FAR_HS_DISCONNECT : far_handshake_step(v);
        if (action != FAR_HS_NOTHING)
            far_log(a->backend->log, FAR_LOG_DEBUG,
                    "%s/%u of domain %u: back %s, front %s: %s (%s)", a->kind,
                    a->devid, a->guest->domid, far_xenbus_state_name(v->back),
                    far_xenbus_state_name(v->front),
                    far_handshake_action_name(action), far_handshake_rule(v));
        switch (action) {
        case FAR_HS_NOTHING:
            if (v->back == FAR_XB_CLOSED && v->front == FAR_XB_CLOSED &&
                !v->closed_shown && v->online && !v->refused)
                far_timer_set(&a->again, a->shown_us);
            return;
        case FAR_HS_PUBLISH:
            error.text[0] = '\0';
            r = a->type->publish(a, &error);
            if (r == -EAGAIN) { /* others write there without a pause */
                far_timer_set(&a->again, far_now_us() + TRY_AGAIN_US);
                return;
            }
            if (r)
                refuse(a, true, error.text);
            else
                v->published = true;
            break;
        case FAR_HS_SET_2:
            if (set_state(a, FAR_XB_INIT_WAIT))
                break;
            /* our own watch brings us back: libxl looks for a 2 that stands */
            return;
        case FAR_HS_ACTIVATE:
            v->activated = true;
            a->type->activate(a);
            break;
        case FAR_HS_CONNECT:
            if (!connect_front(a))
                return;
            break;
        case FAR_HS_ADOPT:
            adopt(a);
            break;
        case FAR_HS_DISCONNECT:
            a->leaving = a->type->leave && !a->type->leave(a);
            if (a->leaving)
                return;
            a->type->disconnect(a);
            a->disconnects++;
            v->connected = false;
            v->published = false;
            v->activated = false;
            break;
        case FAR_HS_RECLAIM:
            /* it may go on for a while, and need not be quick */
            if (!may_connect(a))
                return;
            a->type->reclaim(a);
            if (!set_state(a, FAR_XB_CONNECTED))
                a->reclaims++;
            break;
        case FAR_HS_SET_5:
            if (v->back == FAR_XB_CONNECTED && !v->refused &&
                v->front != FAR_XB_CLOSING)
                a->bounces++;
            (void)set_state(a, FAR_XB_CLOSING);
            break;
        case FAR_HS_SET_6:
            first = v->front != FAR_XB_CLOSING && v->front != FAR_XB_CLOSED;
            if (!set_state(a, FAR_XB_CLOSED)) {
                v->published = false;
                v->activated = false;
                a->shown_us = first ? 1 : far_now_us() + CLOSED_STANDS_US;
                /* it was at 6 before ours was written */
                if (v->front == FAR_XB_CLOSED)
                    v->front_closed_seen = true;
            }
            break;
        case FAR_HS_FORGET:
            detach(a);
            far_own_remove(a); /* as libxl does with its kinds */
            return;
        }
    }
}

/* --- scans ----------------------------------------------------------------*/

static void place_scan(struct far_work *work);

static void place_changed(struct far_xs_watch *watch, const char *path)
{
    struct place *place = CONTAINER(struct place, watch, watch);

    (void)path;
    work_later(place->root->hotplug, &place->scan, place_scan);
}

static void place_clear(struct place *place)
{
    while (place->attachments) {
        struct far_attachment *a = place->attachments;

        place->attachments = a->next;
        attachment_free(a);
    }
}

static void place_free(struct place *place)
{
    far_xs_unwatch(&place->watch);
    work_cancel(place->root->hotplug, &place->scan);
    place_clear(place);
    guest_put(place->guest);
    free(place);
}

static struct far_attachment *place_find(struct place *place, unsigned devid)
{
    struct far_attachment *a;

    for (a = place->attachments; a && a->devid != devid; a = a->next)
        ;
    return a;
}

static void sweep(struct place *place)
{
    struct far_attachment **at = &place->attachments;

    while (*at) {
        struct far_attachment *a = *at;

        if (a->seen) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        attachment_free(a);
    }
}

/* The same domid may be another guest by now, within one turn. */
static bool same_guest(struct place *place)
{
    struct far_guest *guest = place->guest;
    uint8_t uuid[16];
    bool known = read_uuid(place->root->hotplug->backend, place->domid, uuid);

    if (!known)
        return true; /* it is going, or not told yet */
    if (!guest->known) {
        guest->known = true;
        memcpy(guest->uuid, uuid, sizeof(uuid));
        return true;
    }
    return !memcmp(guest->uuid, uuid, sizeof(uuid));
}

static void place_scan(struct far_work *work)
{
    struct place *place = CONTAINER(struct place, scan, work);
    struct far_backend *backend = place->root->hotplug->backend;
    struct far_attachment *a;
    struct far_xs_list list;
    int n;

    if (!same_guest(place)) {
        place_clear(place);
        guest_put(place->guest);
        place->guest = guest_get(backend, place->domid);
        if (!place->guest)
            return;
    }
    n = far_xs_directory(backend->xs, 0, &list, DEVICES_LISTED, "backend/%s/%u",
                         place->root->kind, place->domid);
    if (n < 0 && n != -ENOENT)
        return; /* can't be told: nothing is swept */
    for (a = place->attachments; a; a = a->next)
        a->seen = false;
    for (unsigned i = 0; n > 0 && i < list.count; i++) {
        uint64_t devid;

        if (far_number_parse(list.names[i], UINT32_MAX, &devid))
            continue;
        a = place_find(place, (unsigned)devid);
        /* Taken away and given anew between two looks: it is at 1 again. */
        if (a && (a->detached || a->written)) {
            bool exists;

            if (read_state(backend->xs, a->back, &exists) ==
                FAR_XB_INITIALISING) {
                a->seen = false;
                sweep(place);
                a = NULL;
            }
        }
        if (!a) {
            a = attachment_new(place, (unsigned)devid);
            if (!a)
                break;
            a->next = place->attachments;
            place->attachments = a;
        }
        a->seen = true;
        far_attachment_step(a);
    }
    if (n >= 0)
        far_xs_list_free(&list);
    sweep(place);
}

static void root_scan(struct root *root)
{
    struct far_backend *backend = root->hotplug->backend;
    struct place *place, **at;
    struct far_xs_list list;
    int n;

    n = far_xs_directory(backend->xs, 0, &list, DOMAINS_LISTED, "backend/%s",
                         root->kind);
    if (n < 0 && n != -ENOENT)
        return;
    for (place = root->places; place; place = place->next)
        place->seen = false;
    for (unsigned i = 0; n > 0 && i < list.count; i++) {
        unsigned domid;

        if (far_domid_parse(list.names[i], &domid))
            continue;
        for (place = root->places; place && place->domid != domid;
             place = place->next)
            ;
        if (!place) {
            place = calloc(1, sizeof(*place));
            if (!place)
                break;
            place->root = root;
            place->domid = domid;
            place->guest = guest_get(backend, domid);
            if (!place->guest ||
                far_xs_watch(backend->xs, &place->watch, place_changed,
                             "backend/%s/%u", root->kind, domid)) {
                place_free(place);
                break;
            }
            place->next = root->places;
            root->places = place;
            place_changed(&place->watch, "");
        }
        place->seen = true;
    }
    if (n >= 0)
        far_xs_list_free(&list);
    for (at = &root->places; *at;) {
        place = *at;
        if (place->seen) {
            at = &place->next;
            continue;
        }
        *at = place->next;
        place_free(place);
    }
}

static void root_changed(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    root_scan(CONTAINER(struct root, watch, watch));
}

#define EACH_ATTACHMENT(hotplug, a)                                         \
    for (struct root *root_ = (hotplug)->roots; root_; root_ = root_->next) \
        for (struct place *place_ = root_->places; place_;                  \
             place_ = place_->next)                                         \
            for ((a) = place_->attachments; (a); (a) = (a)->next)

/* Some domain has gone, or was suspended. Its nodes may stay for a while, or
 * for ever if its toolstack died: its pages must not. */
static void released(struct far_xs_watch *watch, const char *path)
{
    struct far_hotplug *hotplug = CONTAINER(struct far_hotplug, release, watch);
    struct far_attachment *a;

    (void)path;
    EACH_ATTACHMENT(hotplug, a)
    {
        if (a->detached || a->view.domain_dead)
            continue;
        if (far_xs_is_introduced(hotplug->backend->xs, a->guest->domid)) {
            if (a->mine && a->type->halted)
                a->type->halted(a);
            continue;
        }
        a->view.domain_dead = true;
        far_attachment_step(a);
    }
}

static bool known_record(const struct far_journal_record *record, void *arg)
{
    struct far_hotplug *hotplug = arg;
    struct far_attachment *a;

    EACH_ATTACHMENT(hotplug, a)
    {
        if (a->record == record)
            return true;
    }
    return false;
}

int far_hotplug_start(struct far_backend *backend)
{
    struct far_hotplug *hotplug = calloc(1, sizeof(*hotplug));
    struct root *root, **last;
    int r;

    if (!hotplug)
        return -ENOMEM;
    hotplug->backend = backend;
    hotplug->last = &hotplug->first;
    hotplug->own_domid = far_xs_own_domid(backend->xs);
    backend->hotplug = hotplug;
    last = &hotplug->roots;
    for (unsigned i = 0; backend->ports[i]; i++) {
        for (unsigned k = 0; backend->ports[i]->kinds[k]; k++) {
            root = calloc(1, sizeof(*root));
            if (!root)
                return -ENOMEM;
            root->hotplug = hotplug;
            root->type = backend->ports[i];
            root->kind = root->type->kinds[k];
            *last = root;
            last = &root->next;
            r = far_xs_watch(backend->xs, &root->watch, root_changed,
                             "backend/%s", root->kind);
            if (r)
                return r;
        }
    }
    r = far_xs_watch(backend->xs, &hotplug->release, released,
                     "@releaseDomain");
    if (r)
        return r;
    /* All that is there now is looked at before we say that we are ready. */
    for (root = hotplug->roots; root; root = root->next)
        root_scan(root);
    while (hotplug->first)
        work_one(hotplug);
    far_journal_sweep(backend->journal, known_record, hotplug);
    return 0;
}

void far_hotplug_each(struct far_backend *backend,
                      void (*each)(struct far_attachment *attachment,
                                   void *arg),
                      void *arg)
{
    struct far_attachment *a;

    if (!backend->hotplug)
        return;
    EACH_ATTACHMENT(backend->hotplug, a)
    {
        if (a->mine && !a->detached)
            each(a, arg);
    }
}

const struct far_conf_section *far_guest_section(const struct far_guest *guest)
{
    char uuid[FAR_UUID_TEXT_BYTES];

    (void)far_uuid_format(uuid, guest->uuid);
    for (const struct far_conf_section *s = guest->backend->conf->sections; s;
         s = s->next)
        if (!strcmp(s->kind, "guest") &&
            (!strcmp(s->name, guest->name) || !strcasecmp(s->name, uuid)))
            return s;
    return NULL;
}

static struct far_line_limits limits_of(const struct far_attachment *a)
{
    const struct far_conf_section *s = far_guest_section(a->guest);

    return (struct far_line_limits){
        .per_second = (uint32_t)far_conf_number(s, "interrupts-max", 0),
        .coalesce_events =
            (uint32_t)far_conf_number(s, "interrupts-together", 0),
        .coalesce_ns = far_conf_time_us(s, "interrupts-wait", 0) * 1000,
    };
}

void far_attachment_line(struct far_attachment *a, struct far_evtchn *evtchn)
{
    struct far_line_limits limits = limits_of(a);

    if (evtchn)
        far_line_connect(&a->line, a->backend->loop, evtchn, &limits);
    else
        far_line_disconnect(&a->line);
}

static void reload(struct far_attachment *a, void *arg)
{
    (void)arg;
    a->line.limits = limits_of(a);
    a->type->reload(a);
}

void far_hotplug_reload(struct far_backend *backend)
{
    far_hotplug_each(backend, reload, NULL);
}

void far_hotplug_stop(struct far_backend *backend)
{
    struct far_hotplug *hotplug = backend->hotplug;

    if (!hotplug)
        return;
    far_xs_unwatch(&hotplug->release);
    far_defer_cancel(backend->loop, &hotplug->turn);
    while (hotplug->roots) {
        struct root *root = hotplug->roots;

        far_xs_unwatch(&root->watch);
        while (root->places) {
            struct place *place = root->places;

            root->places = place->next;
            for (struct far_attachment *a = place->attachments; a; a = a->next)
                a->record = NULL; /* stays for the successor */
            place_free(place);
        }
        hotplug->roots = root->next;
        free(root);
    }
    backend->hotplug = NULL;
    free(hotplug);
}
