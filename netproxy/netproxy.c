/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A netproxy's parts, put together (netproxy/netproxy.h): configuration, who
 * asks whom, reload.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/uuid.h"
#include "netproxy/choice.h"
#include "netproxy/local.h"
#include "netproxy/netproxy.h"
#include "netproxy/remote.h"

/* At the end, for devices to answer what was begun. */
#define DRAIN_US 1000000

struct problems {
    struct far_log *log;
    unsigned count;
    char first[200];
};

static void report(void *arg, const char *file, unsigned line, unsigned column,
                   const char *text)
{
    struct problems *p = arg;

    far_log(p->log, FAR_LOG_ERROR, "%s:%u:%u: %s", file, line, column, text);
    if (!p->count++)
        snprintf(p->first, sizeof(p->first), "%s:%u:%u: %s", file, line, column,
                 text);
}

/* Ours are the exported ones, and what stands behind an exported filter. */
static bool mine(const struct far_conf *conf,
                 const struct far_conf_section *device)
{
    const struct far_conf_section *s;
    unsigned depth;

    if (far_device_is_exported(conf, device->name))
        return true;
    for (s = conf->sections; s; s = s->next) {
        const struct far_conf_section *at = s;

        if (strcmp(s->kind, "export"))
            continue;
        for (depth = 0; at && depth < 16; depth++) {
            const char *behind;

            at = far_conf_section(conf, "device", at->name);
            behind = far_conf_string(at, "behind", NULL);
            if (!behind)
                break;
            if (!strcmp(behind, device->name))
                return true;
            at = far_conf_section(conf, "device", behind);
        }
    }
    return false;
}

struct far_link *far_netproxy_link(const struct far_netproxy *n,
                                   const char *platform)
{
    struct far_link *l;

    for (l = n->links; l; l = l->next) {
        if (!strcmp(l->name, platform))
            return l;
    }
    return NULL;
}

static struct far_link *find_link(void *arg, const char *platform)
{
    return far_netproxy_link(arg, platform);
}

/* The local server's questions: who asks is this machine's backend. */

static bool is_ours(const struct far_netproxy *n,
                    const struct far_local_who *who)
{
    return !who->platform[0] || !strcmp(who->platform, n->context.me.platform);
}

/* A device of ours that is elsewhere is that one, for our own guests too. */
static struct far_local_who behind(const struct far_netproxy *n,
                                   const struct far_local_who *who)
{
    struct far_local_who there = *who;
    struct far_address to;

    if (!is_ours(n, who) || !far_forwarded(n->conf, who->device, &to))
        return there;
    memcpy(there.platform, to.platform, sizeof(there.platform));
    memcpy(there.device, to.device, sizeof(there.device));
    return there;
}

static int open_at(void *arg, const struct far_local_who *asked,
                   struct far_layer **layer, struct far_error *error)
{
    struct far_netproxy *n = arg;
    struct far_local_who there = behind(n, asked), *who = &there;
    struct far_link *l;

    if (is_ours(n, who))
        return far_local_use_open(&n->controller, who, layer, error);
    l = far_netproxy_link(n, who->platform);
    if (!l || !l->configured)
        return far_error(error, -ENOENT,
                         "no platform %s is known: there is no [server %s] "
                         "in %s",
                         who->platform, who->platform, n->conf_file);
    return far_remote_open(l, who, layer, error);
}

static void leaving_at(void *arg, const struct far_local_who *asked,
                       bool detached)
{
    struct far_netproxy *n = arg;
    struct far_local_who there = behind(n, asked), *who = &there;
    struct far_link *l;

    if (is_ours(n, who)) {
        far_local_use_leaving(&n->controller, who, detached);
        return;
    }
    l = far_netproxy_link(n, who->platform);
    if (l)
        far_remote_leaving(l, who, detached);
}

static bool left_at(void *arg, const struct far_local_who *asked)
{
    struct far_netproxy *n = arg;
    struct far_local_who who = behind(n, asked);
    const struct far_link *l;

    if (is_ours(n, &who))
        return far_local_use_left(&n->controller, &who);
    l = far_netproxy_link(n, who.platform);
    return l && far_remote_left(l, &who);
}

static int open_for_guest(void *arg, const struct far_local_who *who,
                          struct far_layer **layer, struct far_error *error)
{
    struct far_netproxy *n = arg;
    struct far_standby_place places[FAR_STANDBY_PLACES] = { 0 };

    if (far_directory_is(who->platform))
        return far_standby_open(
            &n->standbys, who, places,
            far_directory_find(&n->directory, who->device, places), layer,
            error);
    if (!who->standby[0])
        return open_at(n, who, layer, error);
    memcpy(places[0].platform, who->platform, FAR_NAME_BYTES);
    memcpy(places[1].platform, who->standby, FAR_NAME_BYTES);
    memcpy(places[0].device, who->device, FAR_NAME_BYTES);
    memcpy(places[1].device, who->device, FAR_NAME_BYTES);
    return far_standby_open(&n->standbys, who, places, 2, layer, error);
}

static void guest_leaving(void *arg, const struct far_local_who *who,
                          bool detached)
{
    struct far_netproxy *n = arg;

    if (who->standby[0] || far_directory_is(who->platform))
        far_standby_leaving(&n->standbys, who, detached);
    else
        leaving_at(n, who, detached);
}

int far_netproxy_feed(struct far_netproxy *n, const char *device,
                      const struct far_input_event *events, unsigned count,
                      struct far_error *error)
{
    struct far_device *d = far_device_find(&n->devices, device);

    if (!d)
        return far_error(error, -ENOENT,
                         "no device %s is exported by this platform", device);
    if (!d->type->feed)
        return far_error(error, -EOPNOTSUPP,
                         "%s is of type %s: only virtual devices can be sent "
                         "events",
                         device, d->type->name);
    return d->type->feed(d, events, count, error);
}

static void guests(void *arg, bool anew)
{
    far_notify_guests(&((struct far_netproxy *)arg)->notifier, anew);
}

static void notified(void *arg, const struct far_local_notified *message)
{
    far_notify_notified(&((struct far_netproxy *)arg)->notifier, message);
}

static int feed(void *arg, const char *device,
                const struct far_input_event *events, unsigned count,
                struct far_error *error)
{
    return far_netproxy_feed(arg, device, events, count, error);
}

/* What changes in a burst is looked at once. */
#define LOOK_AGAIN_US 10000

static void look_again(struct far_timer *timer)
{
    struct far_netproxy *n =
        (struct far_netproxy *)((char *)timer -
                                offsetof(struct far_netproxy, look_again));

    far_choice_review(&n->controller);
    far_server_retry(&n->server);
    far_local_use_retry(&n->controller);
    far_local_server_retry(n->local);
    far_server_announce(&n->server);
}

static void changed(void *arg)
{
    struct far_netproxy *n = arg;

    if (n->local && !far_timer_armed(&n->look_again))
        far_timer_set(&n->look_again,
                      far_loop_now_us(n->context.loop) + LOOK_AGAIN_US);
}

static void set_places(void *arg, struct far_standby *standby,
                       const char *device)
{
    struct far_standby_place places[FAR_STANDBY_PLACES] = { 0 };

    far_standby_set_places(standby, places,
                           far_directory_find(arg, device, places));
}

static void directory_changed(void *arg)
{
    struct far_netproxy *n = arg;

    far_standbys_each(&n->standbys, FAR_DIRECTORY, set_places, &n->directory);
}

/* First those end who may act no more. */
static void leases_changed(void *arg)
{
    struct far_netproxy *n = arg;

    far_controller_review(&n->controller);
    changed(n);
}

/* Configuration. */

static struct far_conf *read_conf(struct far_netproxy *n, struct problems *p,
                                  struct far_error *error)
{
    unsigned syntax = 0;
    struct far_conf *conf;
    const char *name;

    conf = far_conf_read(n->conf_file, report, p, &syntax, error);
    if (!conf)
        return NULL;
    far_conf_check(conf, report, p);
    n->problems = p->count;
    name = far_conf_string(far_conf_section(conf, "platform", ""), "name", "");
    if (!far_name_valid(name))
        far_error(error, -EINVAL,
                  "%s: [platform] needs a name (name = atlas): it is who this "
                  "machine is to all others",
                  n->conf_file);
    else if (n->conf && strcmp(name, n->context.me.platform))
        far_error(error, -EINVAL,
                  "%s: the platform's name was %s and can't change to "
                  "%s while farside-netproxy runs: restart it",
                  n->conf_file, n->context.me.platform, name);
    else
        return conf;
    far_conf_free(conf);
    return NULL;
}

static void configure_links(struct far_netproxy *n)
{
    struct far_conf_section *s;
    struct far_link *l, **at = &n->links;

    for (l = n->links; l; l = l->next)
        far_link_configure(l, far_conf_section(n->conf, "server", l->name));
    for (s = n->conf->sections; s; s = s->next) {
        if (strcmp(s->kind, "server") || !far_name_valid(s->name) ||
            far_netproxy_link(n, s->name))
            continue;
        if (!strcmp(s->name, n->context.me.platform)) {
            far_log(n->context.log, FAR_LOG_ERROR,
                    "%s:%u: [server %s] is this platform itself", s->file,
                    s->line, s->name);
            continue;
        }
        l = far_link_new(&n->context, s->name);
        if (!l)
            continue;
        while (*at)
            at = &(*at)->next;
        *at = l;
        far_link_configure(l, s);
    }
}

static void report_trust(void *arg, const char *text)
{
    struct problems *p = arg;

    far_log(p->log, FAR_LOG_ERROR, "%s", text);
    if (!p->count++)
        snprintf(p->first, sizeof(p->first), "%s", text);
}

/* The trust that it needs stands in n->context already. */
static void configure(struct far_netproxy *n, struct far_conf *conf,
                      struct problems *p)
{
    struct far_conf *old = n->conf;

    n->problems = p->count;

    n->conf = conf;
    n->controller.conf = conf;
    n->standbys.after_us =
        far_conf_time_us(far_conf_section(conf, "platform", ""),
                         "standby-after", FAR_STANDBY_AFTER_US);
    n->context.times_every = (uint32_t)far_conf_number(
        far_conf_section(conf, "platform", ""), "times", FAR_TIMES_EVERY);
    n->context.spin.allowed =
        far_conf_bool(far_conf_section(conf, "platform", ""), "spin", true);
    far_devices_load(&n->devices, conf, mine, report, p);
    far_hotplug_configure(&n->hotplug, conf);
    far_directory_configure(&n->directory, conf, report, p);
    far_controller_review(&n->controller);
    far_server_configure(&n->server, far_conf_section(conf, "listen", ""));
    configure_links(n);
    far_netproxy_review_trust(n);
    far_conf_free(old);
    changed(n);
    far_server_retry(&n->server);
    far_router_review(&n->router);
    far_notify_ways(&n->notifier);
    far_local_use_retry(&n->controller);
    far_local_server_retry(n->local);
}

int far_netproxy_reload(struct far_netproxy *n, struct far_error *error)
{
    struct problems p = { .log = n->context.log };
    struct far_conf *conf = read_conf(n, &p, error);

    if (!conf)
        return error->code;
    far_netproxy_read_trust(n, conf, report_trust, &p);
    configure(n, conf, &p);
    far_log(n->context.log, FAR_LOG_INFO, "%s: read again%s", n->conf_file,
            p.count ? ", with problems" : "");
    if (p.count)
        return far_error(error, -EINVAL, "%.200s", p.first);
    return 0;
}

static char *path_of(const struct far_netproxy *n, const char *name, char *out,
                     size_t bytes)
{
    snprintf(out, bytes, "%s/%s", n->run_dir, name);
    return out;
}

struct far_netproxy *far_netproxy_new(struct far_loop *loop,
                                      struct far_log *log,
                                      const struct far_netproxy_options *o,
                                      struct far_error *error)
{
    struct far_netproxy *n = calloc(1, sizeof(*n));
    struct far_local_server_ops ops = {
        .open = open_for_guest,
        .feed = feed,
        .leaving = guest_leaving,
        .guests = guests,
        .notified = notified,
        .arg = n,
    };
    struct far_wire_hello *me;
    struct problems p = { .log = log };
    struct far_conf *conf;
    char path[512];

    if (!n) {
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    n->context.loop = loop;
    n->context.log = log;
    far_timer_init(&n->trust_timer, loop, far_netproxy_on_trust_timer);
    far_devices_init(&n->devices, loop, log);
    far_hotplug_init(&n->hotplug, &n->devices);
    n->controller.loop = loop;
    n->controller.log = log;
    n->controller.devices = &n->devices;
    n->controller.changed = n->devices.changed = changed;
    n->controller.changed_arg = n->devices.changed_arg = n;
    far_timer_init(&n->look_again, loop, look_again);
    n->controller.platform = n->context.me.platform;
    n->context.notifier = &n->notifier;
    n->context.router = &n->router;
    n->standbys = (struct far_standbys){
        .loop = loop,
        .log = log,
        .ops = { open_at, leaving_at, left_at, n },
        .after_us = FAR_STANDBY_AFTER_US,
    };
    far_directory_init(&n->directory, loop, log,
                       &(const struct far_directory_ops){ directory_changed,
                                                          leases_changed, n });
    n->controller.directory = &n->directory;
    far_router_init(&n->router, &n->context, &n->controller, find_link, n);
    far_notifier_init(&n->notifier, &n->context, &n->controller, &n->server);
    far_server_init(&n->server, &n->context, &n->controller);
    n->conf_file = strdup(o->conf_file);
    n->run_dir = strdup(o->run_dir);
    if (!n->conf_file || !n->run_dir) {
        far_error(error, -ENOMEM, "out of memory");
        goto fail;
    }
    if (!o->no_resolver) {
        n->resolver = far_resolver_new(loop, o->user, error);
        if (!n->resolver)
            goto fail;
        n->context.resolver = n->resolver;
        n->starter = far_starter_new(loop, log, n->conf_file, o->user, error);
        if (!n->starter)
            goto fail;
        n->devices.starter = n->starter;
    }
    conf = read_conf(n, &p, error);
    if (!conf)
        goto fail;
    if (!o->no_resolver)
        far_directory_start(&n->directory, conf, o->user);
    me = &n->context.me;
    memcpy(me->magic, FAR_WIRE_MAGIC, sizeof(me->magic));
    me->version_min = FAR_WIRE_VERSION_MIN;
    me->version_max = FAR_WIRE_VERSION_MAX;
    me->frame_max = FAR_CONN_FRAME_MAX;
    me->lanes = FAR_WIRE_LANES;
    me->handles_max = FAR_CONN_HANDLES_MAX;
    far_random_bytes(me->instance, sizeof(me->instance));
    snprintf(
        me->platform, sizeof(me->platform), "%s",
        far_conf_string(far_conf_section(conf, "platform", ""), "name", ""));

    n->local = far_local_server_new(
        loop, log, path_of(n, "devices.sock", path, sizeof(path)), me->platform,
        &ops, error);
    if (!n->local) {
        far_conf_free(conf);
        goto fail;
    }
    n->notifier.local = n->local;
    n->control = far_control_new(
        loop, log, path_of(n, "netproxy.sock", path, sizeof(path)),
        far_netproxy_request, n, error);
    if (!n->control) {
        far_conf_free(conf);
        goto fail;
    }
    if (far_netproxy_read_trust(n, conf, report_trust, &p)) {
        far_error(error, -ENOMEM, "out of memory");
        far_conf_free(conf);
        goto fail;
    }
    configure(n, conf, &p);
    return n;

fail:
    far_netproxy_free(n);
    return NULL;
}

/* Leases can be given back at once when no device of ours has an op any more;
 * what has not begun is repeated at the next owner. */
static void drain(struct far_netproxy *n)
{
    uint64_t until_us = far_now_us() + DRAIN_US;

    far_directory_stop(&n->directory);
    while (far_controller_owner_busy(&n->controller) &&
           far_now_us() < until_us &&
           far_loop_turn(n->context.loop, 10000) >= 0)
        ;
}

void far_netproxy_free(struct far_netproxy *n)
{
    if (!n)
        return;
    far_defer_cancel(n->context.loop, &n->reload);
    drain(n);
    n->controller.changed = n->devices.changed = NULL;
    far_timer_cancel(&n->look_again);
    far_control_free(n->control);
    n->notifier.local = NULL;
    far_local_server_free(n->local);
    far_server_free(&n->server);
    far_router_free(&n->router);
    far_controller_free(&n->controller);
    while (n->links) {
        struct far_link *l = n->links;

        n->links = l->next;
        far_remote_free_all(l);
        far_link_free(l);
    }
    far_netproxy_captures_free(n);
    far_directory_free(&n->directory);
    far_hotplug_free(&n->hotplug);
    far_devices_free(&n->devices);
    far_starter_free(n->starter);
    far_notifier_free(&n->notifier);
    far_resolver_free(n->resolver);
    far_timer_cancel(&n->trust_timer);
    far_trust_drop(n->context.trust);
    far_conf_free(n->conf);
    free(n->conf_file);
    free(n->run_dir);
    free(n);
}
