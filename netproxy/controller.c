/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The controller (netproxy/controller.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "core/any.h"
#include "netproxy/choice.h"
#include "netproxy/controller.h"
#include "netproxy/permission.h"

int far_controller_may(const struct far_controller *c, const char *platform,
                       const char *device, struct far_error *error)
{
    const struct far_conf_section *export = far_choice_export(c, device);

    if (!device[0])
        return far_error(error, -EOPNOTSUPP,
                         "a request must name its device here");
    if (!export)
        return far_error(error, -ENOENT,
                         "no device %s is exported by %s ([export %s] is "
                         "missing in its farside.conf)",
                         device, c->platform, device);
    if (!strcmp(platform, c->platform))
        return 0;
    if (far_conf_lists(export, "allow", platform))
        return 0;
    return far_error(error, -EACCES,
                     "[%s %s] of %s does not allow the platform %s",
                     export->kind, export->name, c->platform, platform);
}

void far_controller_changed(struct far_controller *c)
{
    if (c->changed)
        c->changed(c->changed_arg);
}

static struct far_lease *lease_of(const struct far_controller *c,
                                  const struct far_conf_section *export)
{
    const char *name = far_directory_leased(export);

    return name && c->directory ? far_directory_lease(c->directory, name)
                                : NULL;
}

/* What is under a lease is served by who holds it. */
static int may_now(const struct far_controller *c, const char *device,
                   struct far_error *error)
{
    const struct far_conf_section *export = far_choice_export(c, device);
    const struct far_lease *lease = lease_of(c, export);

    if (!far_directory_leased(export) || (lease && far_lease_held(lease)))
        return 0;
    if (!lease)
        return far_error(error, -ENOLCK,
                         "[export %s] of %s wants a lease, and its directory "
                         "has none to give ([directory] etcd = ...)",
                         device, c->platform);
    if (far_boot_us() < lease->from_us)
        return far_error(error, -ENOLCK,
                         "%s is the next owner of %s, and waits until the "
                         "former one can't act any more",
                         c->platform, lease->name);
    return far_error(
        error, -ENOLCK, "%s does not own %s: the directory's lease is %s's",
        c->platform, lease->name,
        lease->holder[0] && strcmp(lease->holder, c->platform) ? lease->holder
                                                               : "nobody");
}

int far_controller_may_guest(const struct far_controller *c,
                             const char *platform, const char *device,
                             const struct far_local_who *who,
                             struct far_error *error)
{
    int rc = far_controller_may(c, platform, device, error);

    if (!rc)
        rc = far_permission_guest(far_choice_export(c, device), who, error);
    return rc ? rc : may_now(c, device, error);
}

int far_controller_may_activate(const struct far_controller *c,
                                const char *platform, const char *device,
                                const struct far_local_who *who,
                                struct far_error *error)
{
    int rc = far_controller_may(c, platform, device, error);

    if (!rc)
        rc = far_permission_running(far_choice_export(c, device), who, error);
    return rc ? rc : may_now(c, device, error);
}

static void limit(const struct far_controller *c, struct far_session *s)
{
    const struct far_conf_section *export = far_choice_export(c, s->device);

    far_session_limit(s, far_permission_read_only(export));
    s->exclusive = far_choice_exclusive(export);
    far_session_own(s, lease_of(c, export));
}

static struct far_session *find(const struct far_controller *c,
                                const char *platform,
                                const struct far_local_who *who)
{
    struct far_session *s;

    for (s = c->sessions; s; s = s->next_session) {
        if (far_session_is(s, platform, who))
            return s;
    }
    return NULL;
}

void far_controller_end(struct far_controller *c, struct far_session *session,
                        const char *reason)
{
    struct far_session **at = &c->sessions;
    struct far_quota *quota = session->quota, **link = &c->quotas;

    while (*at != session)
        at = &(*at)->next_session;
    *at = session->next_session;
    c->session_count--;
    if (session->lease && session->executing)
        session->lease->late_us = far_boot_us();
    if (quota)
        quota->payload_bytes -=
            (uint64_t)session->slot_bytes * FAR_OP_SLOTS_MAX;
    far_session_free(session, reason);
    far_controller_changed(c);
    if (!quota || --quota->sessions)
        return;
    while (*link != quota)
        link = &(*link)->next;
    *link = quota->next;
    free(quota);
}

static void expired(struct far_session *session, void *arg)
{
    struct far_controller *c = arg;

    far_log(c->log, FAR_LOG_INFO, "%s: nobody on %s came back for it: given up",
            session->who.device, session->platform);
    far_controller_end(c, session, "nobody came back for it");
}

/* A platform's quota, with room for one more session; NULL with error. */
static struct far_quota *quota_of(struct far_controller *c,
                                  const char *platform, struct far_error *error)
{
    struct far_session *s, *left = NULL;
    struct far_quota *q;

    for (q = c->quotas; q; q = q->next) {
        if (!strcmp(q->platform, platform))
            break;
    }
    if (q && q->sessions >= FAR_QUOTA_SESSIONS) {
        for (s = c->sessions; s; s = s->next_session) {
            if (s->quota == q && !s->user)
                left = s; /* the oldest is the last */
        }
        if (!left) {
            far_error(error, -ENOSPC,
                      "%s has %u devices of %s in use: no more are served",
                      platform, q->sessions, c->platform);
            return NULL;
        }
        far_controller_end(c, left, "another one has taken its place");
    }
    if (!q) {
        q = calloc(1, sizeof(*q));
        if (!q) {
            far_error(error, -ENOMEM, "out of memory");
            return NULL;
        }
        snprintf(q->platform, sizeof(q->platform), "%s", platform);
        q->next = c->quotas;
        c->quotas = q;
    }
    return q;
}

static void drop_unused(struct far_controller *c)
{
    struct far_quota *q, **link = &c->quotas;

    while ((q = *link)) {
        if (q->sessions) {
            link = &q->next;
            continue;
        }
        *link = q->next;
        free(q);
    }
}

struct far_session *far_controller_prepare_any(struct far_controller *c,
                                               const char *platform,
                                               const struct far_local_who *who,
                                               const char *had,
                                               struct far_error *error)
{
    const bool any = far_any_is(who->device);
    struct far_device *device;
    struct far_quota *quota;
    struct far_session *s;
    uint64_t payload_bytes;

    if (!any && far_controller_may_guest(c, platform, who->device, who, error))
        return NULL;
    s = find(c, platform, who);
    if (s && s->slots && s->who.attachment != who->attachment) {
        /* Sequences began anew: what was executed for the former one must not
         * be taken for an answer. */
        far_controller_end(c, s, "the guest's device was attached anew");
        s = NULL;
    }
    if (s)
        return s;
    device = any ? far_choice_make(c, platform, who, had, error)
                 : far_device_find(c->devices, who->device);
    if (!device && any)
        return NULL;
    if (!device && !far_conf_section(c->conf, "export", who->device)) {
        far_error(error, -ENOENT, "%s is not plugged in at %s", who->device,
                  c->platform);
        return NULL;
    }
    if (!device) {
        far_error(error, -ENOENT,
                  "%s exports %s, but has no such device: its [device %s] "
                  "is missing or has a fault",
                  c->platform, who->device, who->device);
        return NULL;
    }
    if (far_choice_alone(c, platform, who, device->name, error))
        return NULL;
    if (c->session_count >= FAR_SESSIONS_MAX) {
        far_error(error, -ENOSPC, "%s has too many users already", c->platform);
        return NULL;
    }
    quota = quota_of(c, platform, error);
    if (!quota)
        return NULL;
    payload_bytes =
        (uint64_t)far_class_payload_bytes((enum far_class)who->class) *
        FAR_OP_SLOTS_MAX;
    if (quota->payload_bytes + payload_bytes > FAR_QUOTA_PAYLOAD_BYTES) {
        far_error(error, -ENOBUFS,
                  "%s has so many disks or screens of %s in use that their "
                  "operations could fill its memory: no more are served",
                  platform, c->platform);
        return NULL;
    }
    s = far_session_new(c->loop, device, platform, who, expired, c, error);
    if (!s) {
        drop_unused(c);
        return NULL;
    }
    limit(c, s);
    s->quota = quota;
    quota->sessions++;
    quota->payload_bytes += payload_bytes;
    s->next_session = c->sessions;
    c->sessions = s;
    c->session_count++;
    far_controller_changed(c);
    return s;
}

struct far_session *far_controller_prepare(struct far_controller *c,
                                           const char *platform,
                                           const struct far_local_who *who,
                                           struct far_error *error)
{
    return far_controller_prepare_any(c, platform, who, "", error);
}

uint64_t far_controller_activate(struct far_controller *c,
                                 const struct far_session *session)
{
    struct far_session *s, *next;
    struct timespec t;
    uint64_t now;

    /* Growing over restarts of this process too: nothing is kept of a former
     * one but the time of day. */
    clock_gettime(CLOCK_REALTIME, &t);
    now = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    c->last_epoch = now > c->last_epoch ? now : c->last_epoch + 1;
    for (s = c->sessions; s; s = next) {
        next = s->next_session;
        if (s != session && far_session_is(s, NULL, &session->who)) {
            far_log(c->log, FAR_LOG_INFO, "%s: taken over from %s by %s",
                    s->who.device, s->platform, session->platform);
            far_controller_end(c, s, "the guest has it on another platform");
        }
    }
    return c->last_epoch;
}

/* While another platform owns a device, it changes there. */
static void forget(const struct far_controller *c, const char *name)
{
    struct far_device *d;
    unsigned depth;

    for (depth = 0; name && depth < 16; depth++) {
        d = far_device_find(c->devices, name);
        if (!d)
            return;
        if (d->type->forget)
            d->type->forget(d);
        name = far_conf_string(d->section, "behind", NULL);
    }
}

static void forget_lost(const struct far_controller *c)
{
    const struct far_conf_section *s;
    const struct far_lease *lease;

    for (s = c->conf->sections; s; s = s->next) {
        if (strcmp(s->kind, "export") || !far_directory_leased(s))
            continue;
        lease = lease_of(c, s);
        if (!lease || !far_lease_held(lease))
            forget(c, s->name);
    }
}

void far_controller_review(struct far_controller *c)
{
    struct far_session *s, *next;
    struct far_error error;

    for (s = c->sessions; s; s = next) {
        next = s->next_session;
        if ((s->activated ? far_controller_may_activate
                          : far_controller_may_guest)(c, s->platform, s->device,
                                                      &s->who, &error))
            far_controller_end(c, s, error.text);
        else
            limit(c, s);
    }
    forget_lost(c);
}

bool far_controller_owner_busy(const struct far_controller *c)
{
    const struct far_session *s;

    for (s = c->sessions; s; s = s->next_session) {
        if (s->lease && s->executing)
            return true;
    }
    return false;
}

void far_controller_free(struct far_controller *c)
{
    while (c->sessions)
        far_controller_end(c, c->sessions, "farside-netproxy ends");
}
