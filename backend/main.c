/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-backend: opens what the daemon stands on, and closes it in the right
 * order. What it does is elsewhere: hotplug.c finds devices, the ports serve
 * them, control.c answers questions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "backend/backend.h"
#include "backend/notify.h"
#include "backend/clock.h"
#include "backend/own.h"
#include "core/control.h"
#include "core/daemon.h"
#include "devices/starter.h"

static const struct far_port_type *const ports[] = {
    &far_port_vdispl, &far_port_input,  &far_port_vbd,
    &far_port_vsnd,   &far_port_timer,  &far_port_doorbell,
    &far_port_intc,   &far_port_stream, NULL
};

struct program {
    struct far_daemon daemon;
    struct far_backend backend;
    struct far_control *control;
    struct far_starter *starter; /* of outside devices' programs */
    bool xenstored_lost;
};

static struct program *program_of(struct far_backend *backend)
{
    return (struct program *)(void *)((char *)backend -
                                      offsetof(struct program, backend));
}

static void report(void *arg, const char *file, unsigned line, unsigned column,
                   const char *text)
{
    far_log(arg, FAR_LOG_ERROR, "%s:%u:%u: %s", file, line, column, text);
}

static bool ours(const struct far_conf *conf,
                 const struct far_conf_section *device)
{
    return !far_device_is_exported(conf, device->name);
}

/* What is wrong is reported, what is right is taken: a typing error in one
 * section must not take everybody's keyboard away at the next boot. */
static struct far_conf *read_conf(struct program *p, unsigned *problems,
                                  struct far_error *error)
{
    struct far_conf *conf = far_conf_read(p->daemon.conf_file, report,
                                          p->daemon.log, problems, error);

    if (conf)
        *problems += far_conf_check(conf, report, p->daemon.log);
    return conf;
}

static const char *guest_name(void *arg, const struct far_local_who *who)
{
    const struct far_backend *b = arg;

    for (const struct far_guest *g = b->guests; g; g = g->next)
        if (!memcmp(g->uuid, who->guest_uuid, sizeof(g->uuid)) &&
            !memcmp(g->generation, who->generation, sizeof(g->generation)))
            return g->name;
    return NULL;
}

/* Of another platform: through this machine's netproxy. */
static int open_far(void *arg, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    struct far_backend *backend = arg;

    if (!strcmp(who->platform, backend->platform))
        return far_error(error, -EINVAL,
                         "%s/%s is this platform's own: say `behind = %s`",
                         who->platform, who->device, who->device);
    return far_local_client_open(backend->client, who, layer, error);
}

static void sample(struct far_backend *backend)
{
    far_local_client_sample(backend->client,
                            (uint32_t)far_conf_number(
                                far_conf_section(backend->conf, "platform", ""),
                                "times", FAR_TIMES_EVERY));
}

static int reload(struct far_backend *backend, struct far_error *error)
{
    struct program *p = program_of(backend);
    unsigned problems = 0;
    struct far_conf *old = backend->conf;
    struct far_conf *conf = read_conf(p, &problems, error);

    if (!conf)
        return error->code ? error->code : -EINVAL;
    if (problems) { /* at a reload somebody looks: nothing is changed */
        far_conf_free(conf);
        return far_error(error, -EINVAL,
                         "%s: %u problem%s, nothing was changed; farside check "
                         "shows them",
                         p->daemon.conf_file, problems,
                         problems == 1 ? "" : "s");
    }
    backend->conf = conf;
    problems =
        far_devices_load(&backend->devices, conf, ours, report, p->daemon.log);
    sample(backend);
    far_hotplug_reload(backend);
    far_notify_configure(backend);
    far_own_nodes_reload(backend->own_nodes);
    far_conf_free(old);
    if (problems)
        return far_error(error, -EINVAL,
                         "%u device%s could not be made; the log says why",
                         problems, problems == 1 ? "" : "s");
    far_log(p->daemon.log, FAR_LOG_INFO, "configuration read again");
    return 0;
}

static void reload_signal(struct far_daemon *daemon)
{
    struct program *p = daemon->arg;
    struct far_error error = { 0 };

    if (reload(&p->backend, &error))
        far_log(daemon->log, FAR_LOG_ERROR, "reload: %s", error.text);
}

/* A restarted xenstored knows none of our watches: a successor begins anew,
 * and adopts what the journal holds. */
static void xenstored_lost(struct far_xs *xs, void *arg)
{
    struct program *p = arg;

    (void)xs;
    far_log(p->daemon.log, FAR_LOG_ERROR,
            "xenstored has gone; ending, so that a successor finds it again");
    p->xenstored_lost = true;
    far_loop_stop(p->daemon.loop);
}

static int open_all(struct program *p)
{
    struct far_backend *b = &p->backend;
    struct far_daemon *d = &p->daemon;
    struct far_error error = { 0 };
    const char *anew;
    char path[256];
    unsigned problems = 0;
    int r;

    p->starter = far_starter_new(d->loop, d->log, d->conf_file, NULL, &error);
    if (!p->starter) {
        far_log(d->log, FAR_LOG_ERROR, "%s", error.text);
        return error.code;
    }
    b->conf = read_conf(p, &problems, &error);
    if (!b->conf) {
        far_log(d->log, FAR_LOG_ERROR, "%s", error.text);
        return error.code ? error.code : -EINVAL;
    }
    snprintf(
        b->platform, sizeof(b->platform), "%s",
        far_conf_string(far_conf_section(b->conf, "platform", ""), "name", ""));
    if (!far_name_valid(b->platform)) {
        far_log(d->log, FAR_LOG_ERROR,
                "%s: [platform] has no name; add a line: name = THIS-MACHINE",
                d->conf_file);
        return -EINVAL;
    }
    if (!far_daemon_path(d, "journal", path, sizeof(path)))
        return -ENAMETOOLONG;
    b->journal = far_journal_open(path, &anew, &error);
    if (!b->journal) {
        far_log(d->log, FAR_LOG_ERROR, "%s", error.text);
        return error.code;
    }
    if (anew)
        far_log(d->log, FAR_LOG_WARNING,
                "%s: %s; begun anew, connected devices are connected again",
                path, anew);

    b->xs = far_xs_open(d->loop, xenstored_lost, p);
    if (!b->xs) {
        r = -errno;
        far_log(d->log, FAR_LOG_ERROR,
                "xenstored can't be reached: %s; is this Xen's dom0, and is "
                "xenstored running?",
                strerror(-r));
        return r;
    }
    b->grants = far_grants_open();
    if (!b->grants) {
        r = -errno;
        far_log(d->log, FAR_LOG_ERROR,
                "/dev/xen/gntdev can't be opened: %s; is xen-gntdev loaded?",
                strerror(-r));
        return r;
    }
    if (!far_daemon_path(d, "devices.sock", path, sizeof(path)))
        return -ENAMETOOLONG;
    b->client = far_local_client_new(d->loop, d->log, path, b->platform);
    if (!b->client)
        return -ENOMEM;
    far_local_client_name_guests(b->client, guest_name, b);
    sample(b);
    far_devices_init(&b->devices, d->loop, d->log);
    b->devices.starter = p->starter;
    b->devices.open_far = open_far;
    b->devices.open_far_arg = b;
    far_devices_load(&b->devices, b->conf, ours, report, d->log);

    /* A guest's timer is not to wait for company: the kernel lets a process
     * sleep 50 us longer otherwise. */
    (void)prctl(PR_SET_TIMERSLACK, 1);
    b->clock = far_clock_new(d->loop);
    r = far_hotplug_start(b);
    if (!r)
        r = far_own_nodes_start(b, &b->own_nodes);
    if (r) {
        far_log(d->log, FAR_LOG_ERROR, "xenstore can't be watched: %s",
                strerror(-r));
        return r;
    }
    far_notify_configure(b);
    if (!far_daemon_path(d, "backend.sock", path, sizeof(path)))
        return -ENAMETOOLONG;
    p->control = b->control =
        far_control_new(d->loop, d->log, path, far_backend_control, b, &error);
    if (!p->control) {
        far_log(d->log, FAR_LOG_ERROR, "%s", error.text);
        return error.code;
    }
    return 0;
}

/* Ends as kill -9 would, but tidily: guests stay connected and the journal
 * stays. The client goes first, so that the netproxy sees a lost connection,
 * which it keeps what is unacked for, and no detach. */
static void close_all(struct program *p)
{
    struct far_backend *b = &p->backend;

    far_control_free(p->control);
    far_local_client_free(b->client);
    b->client = NULL;
    far_own_nodes_stop(b->own_nodes);
    far_hotplug_stop(b);
    far_clock_free(b->clock);
    if (b->devices.loop)
        far_devices_free(&b->devices);
    far_starter_free(p->starter);
    if (b->xs)
        far_xs_close(b->xs);
    if (b->grants)
        far_grants_close(b->grants);
    far_journal_close(b->journal);
    if (b->conf)
        far_conf_free(b->conf);
}

int main(int argc, char **argv)
{
    struct program *p = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return 1;
    p->daemon.program = "farside-backend";
    p->daemon.summary = "serves Xen guests' paravirtual devices, wherever the "
                        "devices live";
    p->daemon.reload = reload_signal;
    p->daemon.arg = p;
    r = far_daemon_init(&p->daemon, argc, argv);
    if (r) {
        far_daemon_free(&p->daemon);
        free(p);
        return r < 0 ? 2 : 0;
    }
    p->backend.loop = p->daemon.loop;
    p->backend.log = p->daemon.log;
    p->backend.ports = ports;
    p->backend.reload = reload;
    r = far_daemon_start(&p->daemon);
    if (!r)
        r = open_all(p);
    if (!r)
        r = far_daemon_run(&p->daemon);
    close_all(p);
    if (p->xenstored_lost)
        r = -ECONNRESET;
    far_daemon_free(&p->daemon);
    free(p);
    return r ? 1 : 0;
}
