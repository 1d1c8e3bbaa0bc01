/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The nodes of our own kinds, of which libxl knows nothing: made for what
 * [guest] orders at each creation of a domain (also by a reboot, a restore or a
 * migration) and at the daemon's start, or for `farside attach`; removed when a
 * device was detached and when its guest is dead. A domain's number may be
 * another guest's by then: each device says whose it is. How a device is served
 * is hotplug.c's business, which finds it in xenstore as all others.
 */
#include "backend/own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/uuid.h"

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define DOMAINS_LISTED 32768u
#define DEVICES_LISTED 1024u
#define INCOMING       "--incoming"

static const struct {
    enum far_class class;
    const char *kind;
} kinds[] = {
    { FAR_CLASS_TIMER, "fartimer" },
    { FAR_CLASS_DOORBELL, "fardoorbell" },
    { FAR_CLASS_INTC, "farintc" },
    { FAR_CLASS_STREAM, "farstream" },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* A domain for which [guest] was done: what a person detaches afterwards does
 * not come back by itself. */
struct done {
    unsigned domid;
    char uuid[FAR_UUID_TEXT_BYTES];
    bool seen;
    struct done *next;
};

struct far_own_nodes {
    struct far_backend *backend;
    unsigned own_domid;
    struct far_xs_watch introduced, released;
    struct done *done;
};

bool far_own_kind(const char *kind)
{
    for (size_t i = 0; i < KINDS; i++)
        if (!strcmp(kind, kinds[i].kind))
            return true;
    return false;
}

const char *far_own_kind_of_class(enum far_class class)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].class == class)
            return kinds[i].kind;
    return NULL;
}

/* The domain's UUID as text; false: there is no such domain. */
static bool read_uuid(struct far_xs *xs, far_xs_t t, unsigned domid,
                      char text[FAR_UUID_TEXT_BYTES])
{
    char vm[64];
    uint8_t uuid[16];

    if (far_xs_read(xs, t, vm, sizeof(vm), "/local/domain/%u/vm", domid) < 0 ||
        strncmp(vm, "/vm/", 4))
        return false;
    if (strlen(vm + 4) > 36)
        vm[4 + 36] = '\0'; /* libxl's /vm/UUID-1 */
    if (far_uuid_parse(uuid, vm + 4))
        return false;
    (void)far_uuid_format(text, uuid);
    return true;
}

/* --- making ----------------------------------------------------------------
 */

struct make {
    struct far_backend *backend;
    unsigned domid, own_domid, devid;
    const char *kind, *address;
    const char *path;  /* of a stream; NULL: its address */
    uint32_t timers;   /* 0: not said */
    bool unless_there; /* not if the guest has that address already */
    bool was_there;
};

static int dir_made(struct far_xs *xs, far_xs_t t, const char *dir,
                    unsigned owner, unsigned reader)
{
    int r = far_xs_mkdir(xs, t, dir);

    return r ? r : far_xs_permit(xs, t, dir, owner, reader);
}

/* The lowest free number; -EEXIST if that address is there. */
static int choose(struct far_xs *xs, far_xs_t t, struct make *m)
{
    char value[256];

    for (m->devid = 0; m->devid < FAR_GUEST_DEVICES_MAX; m->devid++) {
        int r =
            far_xs_read(xs, t, value, sizeof(value), "backend/%s/%u/%u/address",
                        m->kind, m->domid, m->devid);

        if (r == -ENOENT)
            return 0;
        if (r < 0)
            return r;
        if (m->unless_there && !strcmp(value, m->address))
            return -EEXIST;
    }
    return -ENOSPC;
}

static int make_nodes(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct make *m = arg;
    char back[128], front[128], path[192], uuid[FAR_UUID_TEXT_BYTES];
    int r;

#define WRITE(dir, node, ...)                               \
    do {                                                    \
        snprintf(path, sizeof(path), "%s/%s", (dir), node); \
        if (!r)                                             \
            r = far_xs_write(xs, t, path, __VA_ARGS__);     \
    } while (0)

    if (!read_uuid(xs, t, m->domid, uuid))
        return -ESRCH;
    r = choose(xs, t, m);
    if (r)
        return r;
    snprintf(back, sizeof(back), "/local/domain/%u/backend/%s/%u/%u",
             m->own_domid, m->kind, m->domid, m->devid);
    snprintf(front, sizeof(front), "/local/domain/%u/device/%s/%u", m->domid,
             m->kind, m->devid);
    /* what a guest left there, or another daemon, is void */
    r = far_xs_remove(xs, t, "%s", front);
    if (!r)
        r = dir_made(xs, t, front, m->domid, m->own_domid);
    WRITE(front, "backend", "%s", back);
    WRITE(front, "backend-id", "%u", m->own_domid);
    WRITE(front, "state", "1");
    if (!r)
        r = dir_made(xs, t, back, m->own_domid, m->domid);
    WRITE(back, "frontend", "%s", front);
    WRITE(back, "frontend-id", "%u", m->domid);
    WRITE(back, "guest-uuid", "%s", uuid);
    WRITE(back, "address", "%s", m->address);
    if (!strcmp(m->kind, "farstream"))
        WRITE(back, "path", "%s", m->path ? m->path : m->address);
    if (m->timers)
        WRITE(back, "max-timers", "%u", m->timers);
    WRITE(back, "online", "1");
    WRITE(back, "state", "1");
#undef WRITE
    return r;
}

static int make(struct make *m)
{
    int r = far_xs_transact(m->backend->xs, make_nodes, m);

    m->was_there = r == -EEXIST;
    return m->was_there ? 0 : r;
}

int far_own_attach(struct far_backend *backend, unsigned domid,
                   enum far_class class, const char *address,
                   struct far_error *error)
{
    struct make m = { .backend = backend,
                      .domid = domid,
                      .own_domid = far_xs_own_domid(backend->xs),
                      .kind = far_own_kind_of_class(class),
                      .address = address };
    struct far_address parsed;
    int r;

    if (!m.kind)
        return far_error(error, -EOPNOTSUPP,
                         "devices of class %s are libxl's to attach",
                         far_class_name(class));
    r = far_address_parse(&parsed, address, error);
    if (r)
        return r;
    r = make(&m);
    if (r == -ESRCH)
        return far_error(error, r, "there is no domain %u", domid);
    if (r == -ENOSPC)
        return far_error(error, r, "this guest has as many as one may have");
    if (r)
        return far_error(error, r, "its nodes can't be made in xenstore: %s",
                         strerror(-r));
    return (int)m.devid;
}

/* One line of [guest]: CLASS ADDRESS [KEY=VALUE…]. */
static void order(struct far_own_nodes *nodes, unsigned domid,
                  const struct far_conf_section *guest,
                  const struct far_conf_entry *line)
{
    struct far_backend *backend = nodes->backend;
    char class[32], address[3 * FAR_NAME_BYTES + 2];
    struct make m = { .backend = backend,
                      .domid = domid,
                      .own_domid = nodes->own_domid,
                      .address = address,
                      .unless_there = true };
    const char *timers = strstr(line->value, " max-timers=");
    const char *path = strstr(line->value, " path=");
    char path_text[256];
    struct far_address parsed;
    struct far_error error;
    uint64_t number;
    int r;

    if (sscanf(line->value, "%31s %193s", class, address) != 2 ||
        far_address_parse(&parsed, address, &error))
        return; /* far_conf_check() has said so */
    m.kind = far_own_kind_of_class(far_class_from_name(class));
    if (!m.kind)
        return; /* a device of xl's: its line is xl's, ours allows it */
    if (timers) {
        char digits[16];

        snprintf(digits, sizeof(digits), "%.*s", (int)strcspn(timers + 12, " "),
                 timers + 12);
        if (!far_number_parse(digits, 8192, &number) && number >= 64)
            m.timers = (uint32_t)number;
        else
            far_log(backend->log, FAR_LOG_ERROR,
                    "[guest %s] attach = %s: max-timers wants 64 to 8192",
                    guest->name, line->value);
    }
    if (path) {
        path += strlen(" path=");
        snprintf(path_text, sizeof(path_text), "%.*s", (int)strcspn(path, " "),
                 path);
        m.path = path_text;
    }
    r = make(&m);
    if (r && r != -ESRCH)
        far_log(backend->log, FAR_LOG_ERROR,
                "[guest %s] attach = %s: can't be made for domain %u: %s",
                guest->name, line->value, domid, strerror(-r));
    else if (!r && !m.was_there)
        far_log(backend->log, FAR_LOG_INFO, "%s/%u made for guest %s (%u)",
                m.kind, m.devid, guest->name, domid);
}

/* Names as a person knows them: a migration's target is called
 * NAME--incoming until it runs. */
static bool is_meant(const struct far_conf_section *guest, const char *name,
                     const char *uuid)
{
    size_t n = strlen(name), tail = strlen(INCOMING);

    if (n > tail && !strcmp(name + n - tail, INCOMING))
        n -= tail;
    return !strcasecmp(guest->name, uuid) ||
           (strlen(guest->name) == n && !strncmp(guest->name, name, n));
}

static void provide(struct far_own_nodes *nodes, unsigned domid,
                    const char *uuid)
{
    struct far_backend *backend = nodes->backend;
    char name[256] = "";

    (void)far_xs_read(backend->xs, 0, name, sizeof(name),
                      "/local/domain/%u/name", domid);
    for (const struct far_conf_section *s = backend->conf->sections; s;
         s = s->next) {
        const struct far_conf_entry *e = NULL;

        if (strcmp(s->kind, "guest") || !is_meant(s, name, uuid))
            continue;
        while ((e = far_conf_entry(s, "attach", e)))
            order(nodes, domid, s, e);
    }
}

static struct done *find_done(struct far_own_nodes *nodes, unsigned domid,
                              const char *uuid)
{
    struct done *d;

    for (d = nodes->done; d; d = d->next)
        if (d->domid == domid && !strcmp(d->uuid, uuid))
            return d;
    return NULL;
}

/* All domains that there are: the new ones get what is ordered for them. */
static void look_at_domains(struct far_own_nodes *nodes)
{
    struct far_xs *xs = nodes->backend->xs;
    struct far_xs_list list;
    struct done *d, **at;

    if (far_xs_directory(xs, 0, &list, DOMAINS_LISTED, "/local/domain") < 0)
        return;
    for (d = nodes->done; d; d = d->next)
        d->seen = false;
    for (unsigned i = 0; i < list.count; i++) {
        char uuid[FAR_UUID_TEXT_BYTES];
        unsigned domid;

        if (far_domid_parse(list.names[i], &domid) ||
            domid == nodes->own_domid || !read_uuid(xs, 0, domid, uuid))
            continue;
        d = find_done(nodes, domid, uuid);
        if (!d) {
            d = calloc(1, sizeof(*d));
            if (!d)
                break;
            d->domid = domid;
            memcpy(d->uuid, uuid, sizeof(uuid));
            d->next = nodes->done;
            nodes->done = d;
            provide(nodes, domid, uuid);
        }
        d->seen = true;
    }
    far_xs_list_free(&list);
    for (at = &nodes->done; *at;) {
        d = *at;
        if (d->seen) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        free(d);
    }
}

/* --- removing --------------------------------------------------------------
 */

struct removal {
    const char *kind;
    unsigned domid, devid;
    bool dead_only; /* not if it is wanted by a guest that lives */
    bool left;      /* it stays */
};

static int remove_nodes(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct removal *m = arg;
    char uuid[FAR_UUID_TEXT_BYTES], whose[64] = "", online[4] = "",
                                    state[4] = "";
    bool lives = read_uuid(xs, t, m->domid, uuid), same;
    struct far_xs_list list;
    int r;

    (void)far_xs_read(xs, t, whose, sizeof(whose),
                      "backend/%s/%u/%u/guest-uuid", m->kind, m->domid,
                      m->devid);
    (void)far_xs_read(xs, t, online, sizeof(online), "backend/%s/%u/%u/online",
                      m->kind, m->domid, m->devid);
    (void)far_xs_read(xs, t, state, sizeof(state), "backend/%s/%u/%u/state",
                      m->kind, m->domid, m->devid);
    same = lives && !strcasecmp(uuid, whose);
    m->left =
        same && (!strcmp(online, "1") || (m->dead_only && strcmp(state, "6")));
    if (m->left)
        return 0;
    r = far_xs_remove(xs, t, "backend/%s/%u/%u", m->kind, m->domid, m->devid);
    if (!r && same)
        r = far_xs_remove(xs, t, "/local/domain/%u/device/%s/%u", m->domid,
                          m->kind, m->devid);
    if (!r)
        r = far_xs_remove(xs, t, "error/backend/%s/%u/%u", m->kind, m->domid,
                          m->devid);
    /* and the directory of the last one */
    if (!r && far_xs_directory(xs, t, &list, 1, "backend/%s/%u", m->kind,
                               m->domid) >= 0) {
        if (!list.count)
            r = far_xs_remove(xs, t, "backend/%s/%u", m->kind, m->domid);
        far_xs_list_free(&list);
    }
    return r;
}

void far_own_remove(struct far_attachment *a)
{
    struct removal m = { .kind = a->kind,
                         .domid = a->guest->domid,
                         .devid = a->devid };

    if (far_own_kind(a->kind))
        (void)far_xs_transact(a->backend->xs, remove_nodes, &m);
}

/* Devices of guests that are dead, or whose number is another's now, and
 * detached ones whose daemon died before it could remove them. */
static void sweep(struct far_own_nodes *nodes, const char *kind)
{
    struct far_xs *xs = nodes->backend->xs;
    struct far_xs_list domains, devices;

    if (far_xs_directory(xs, 0, &domains, DOMAINS_LISTED, "backend/%s", kind) <
        0)
        return;
    for (unsigned i = 0; i < domains.count; i++) {
        unsigned domid;

        if (far_domid_parse(domains.names[i], &domid) ||
            far_xs_directory(xs, 0, &devices, DEVICES_LISTED, "backend/%s/%u",
                             kind, domid) < 0)
            continue;
        for (unsigned k = 0; k < devices.count; k++) {
            struct removal m = { .kind = kind,
                                 .domid = domid,
                                 .dead_only = true };
            uint64_t devid;

            if (far_number_parse(devices.names[k], UINT32_MAX, &devid))
                continue;
            m.devid = (unsigned)devid;
            (void)far_xs_transact(xs, remove_nodes, &m);
        }
        far_xs_list_free(&devices);
    }
    far_xs_list_free(&domains);
}

static void released(struct far_xs_watch *watch, const char *path)
{
    struct far_own_nodes *nodes =
        CONTAINER(struct far_own_nodes, released, watch);

    (void)path;
    for (size_t i = 0; i < KINDS; i++)
        sweep(nodes, kinds[i].kind);
}

static void introduced(struct far_xs_watch *watch, const char *path)
{
    (void)path;
    look_at_domains(CONTAINER(struct far_own_nodes, introduced, watch));
}

struct offline {
    const char *kind;
    unsigned domid, devid;
};

static int go_offline(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct offline *o = arg;
    char state[4], path[96];
    int r = far_xs_read(xs, t, state, sizeof(state), "backend/%s/%u/%u/state",
                        o->kind, o->domid, o->devid);

    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "backend/%s/%u/%u/online", o->kind, o->domid,
             o->devid);
    r = far_xs_write(xs, t, path, "0");
    if (r || !strcmp(state, "6"))
        return r;
    snprintf(path, sizeof(path), "backend/%s/%u/%u/state", o->kind, o->domid,
             o->devid);
    return far_xs_write(xs, t, path, "5");
}

int far_own_detach(struct far_backend *backend, unsigned domid,
                   enum far_class class, unsigned devid,
                   struct far_error *error)
{
    struct offline o = { .kind = far_own_kind_of_class(class),
                         .domid = domid,
                         .devid = devid };
    int r;

    if (!o.kind)
        return far_error(error, -EOPNOTSUPP,
                         "devices of class %s are libxl's to detach",
                         far_class_name(class));
    r = far_xs_transact(backend->xs, go_offline, &o);
    if (r == -ENOENT)
        return far_error(error, r, "domain %u has no %s %u", domid,
                         far_class_name(class), devid);
    return r ? far_error(error, r, "xenstore: %s", strerror(-r)) : 0;
}

/* --- the whole -------------------------------------------------------------
 */

int far_own_find_domain(struct far_backend *backend, const char *domain,
                        unsigned *domid, struct far_error *error)
{
    struct far_xs_list list;
    char text[256];
    bool found = false;

    if (!far_domid_parse(domain, domid)) {
        if (far_xs_read(backend->xs, 0, text, sizeof(text),
                        "/local/domain/%u/vm", *domid) >= 0)
            return 0;
    } else if (far_xs_directory(backend->xs, 0, &list, DOMAINS_LISTED,
                                "/local/domain") >= 0) {
        for (unsigned i = 0; !found && i < list.count; i++)
            found = !far_domid_parse(list.names[i], domid) &&
                    far_xs_read(backend->xs, 0, text, sizeof(text),
                                "/local/domain/%u/name", *domid) > 0 &&
                    !strcmp(text, domain);
        far_xs_list_free(&list);
        if (found)
            return 0;
    }
    return far_error(error, -ENOENT, "there is no domain %s", domain);
}

int far_own_nodes_start(struct far_backend *backend,
                        struct far_own_nodes **made)
{
    struct far_own_nodes *nodes = calloc(1, sizeof(*nodes));
    int r;

    if (!nodes)
        return -ENOMEM;
    nodes->backend = backend;
    nodes->own_domid = far_xs_own_domid(backend->xs);
    /* Both fire at once, in the first turn. */
    r = far_xs_watch(backend->xs, &nodes->released, released, "@releaseDomain");
    if (!r)
        r = far_xs_watch(backend->xs, &nodes->introduced, introduced,
                         "@introduceDomain");
    if (r) {
        far_own_nodes_stop(nodes);
        return r;
    }
    *made = nodes;
    return 0;
}

void far_own_nodes_stop(struct far_own_nodes *nodes)
{
    if (!nodes)
        return;
    far_xs_unwatch(&nodes->introduced);
    far_xs_unwatch(&nodes->released);
    while (nodes->done) {
        struct done *next = nodes->done->next;

        free(nodes->done);
        nodes->done = next;
    }
    free(nodes);
}

void far_own_nodes_reload(struct far_own_nodes *nodes)
{
    if (!nodes)
        return;
    while (nodes->done) {
        struct done *next = nodes->done->next;

        free(nodes->done);
        nodes->done = next;
    }
    look_at_domains(nodes);
}
