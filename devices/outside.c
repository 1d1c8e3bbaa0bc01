/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The outside device: its work is done by another process of this machine,
 * over the local protocol (docs/OUTSIDE.md). Its layers join a user to the
 * local client; what is here is the process: started by `start =` when the
 * first user comes, started again with back-off when it dies under users or
 * answers nothing any more, stopped `idle-stop` after the last one went.
 * Meanwhile ops are held by the client, which comes back to the socket by
 * itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "devices/outside.h"
#include "devices/types.h"

#define AGAIN_FIRST_US 100000u
#define AGAIN_LAST_US  30000000u
#define LIVED_US       10000000u
#define IDLE_STOP_US   60000000u
#define SILENT_US      30000000u
#define NOT_RUNNING    "its program is not running"

struct outside {
    struct far_device device;
    struct far_local_client *client;
    char there[FAR_NAME_BYTES]; /* what it is called there */
    struct far_starter_job job;
    bool started_here; /* it has a `start =`, and there is a starter */
    struct far_timer again, idle;
    uint64_t again_us, started_us, starts, silences;
    struct outside_user *users;
};

struct outside_user {
    struct far_layer layer;
    struct outside *outside;
    struct outside_user *next;
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* ---- its process ---- */

static uint64_t now_us(const struct outside *o)
{
    return far_loop_now_us(o->device.devices->loop);
}

static void start(struct outside *o)
{
    int r;

    far_timer_cancel(&o->idle);
    if (!o->started_here || far_timer_armed(&o->again) ||
        o->job.state != FAR_STARTER_IDLE)
        return;
    o->starts++;
    o->started_us = now_us(o);
    r = far_starter_start(o->device.devices->starter, &o->job);
    if (r)
        far_device_say(&o->device, FAR_DEVICE_GONE,
                       "its program can't be started: the helper that starts "
                       "programs is gone");
}

static void again_fired(struct far_timer *timer)
{
    struct outside *o = container(timer, struct outside, again);

    if (o->users)
        start(o);
}

static void idle_fired(struct far_timer *timer)
{
    struct outside *o = container(timer, struct outside, idle);

    far_log(o->device.devices->log, FAR_LOG_INFO,
            "%s: nobody uses it: its program is stopped", o->device.name);
    far_starter_stop(&o->job);
}

static void job_started(struct far_starter_job *job)
{
    struct outside *o = container(job, struct outside, job);

    far_local_client_hurry(o->client);
}

static void job_ended(struct far_starter_job *job, const char *why)
{
    struct outside *o = container(job, struct outside, job);
    struct far_layer_news news = { .incarnation = 0 };
    char text[200];

    far_timer_cancel(&o->idle);
    if (!why) { /* it was stopped, as one that nobody used */
        o->again_us = 0;
        if (o->users)
            start(o);
        return;
    }
    if (now_us(o) - o->started_us > LIVED_US)
        o->again_us = 0;
    o->again_us = o->again_us ? o->again_us * 2 : AGAIN_FIRST_US;
    if (o->again_us > AGAIN_LAST_US)
        o->again_us = AGAIN_LAST_US;
    far_timer_set(&o->again, now_us(o) + o->again_us);
    snprintf(text, sizeof(text), "its program %.160s", why);
    far_local_client_set_hint(o->client, text);
    far_device_say(&o->device, FAR_DEVICE_GONE, text);
    news.reason = o->device.reason;
    for (struct outside_user *u = o->users, *next; u; u = next) {
        next = u->next;
        far_layer_state(u->layer.above, FAR_DEVICE_GONE, &news);
    }
}

/* Stopped or hanging: if it is ours, another one takes its place when it has
 * ended, so that no two of them do what one was given. */
static void program_silent(void *arg)
{
    struct outside *o = arg;

    o->silences++;
    far_log(o->device.devices->log, FAR_LOG_WARNING,
            "%s: its program answers nothing%s", o->device.name,
            o->job.state == FAR_STARTER_RUNNING ? ": it is ended and started "
                                                  "again"
                                                : "");
    if (o->job.state == FAR_STARTER_RUNNING)
        far_starter_stop(&o->job);
}

json_t *far_outside_json(const struct far_device *device)
{
    static const char *const states[] = {
        [FAR_STARTER_IDLE] = "not running",
        [FAR_STARTER_STARTING] = "starting",
        [FAR_STARTER_RUNNING] = "running",
        [FAR_STARTER_STOPPING] = "stopping",
    };
    const struct outside *o = (const struct outside *)device;

    if (device->type != &far_type_outside)
        return json_null();
    return json_pack("{s:s, s:i, s:I, s:I}", "state",
                     !o->started_here ? "started elsewhere"
                     : far_timer_armed(&o->again)
                         ? "waiting to be started again"
                         : states[o->job.state],
                     "pid", (int)o->job.pid, "starts", (json_int_t)o->starts,
                     "silences", (json_int_t)o->silences);
}

/* ---- its users ---- */

static void user_state(struct far_layer *layer, enum far_device_state state,
                       const struct far_layer_news *news)
{
    struct outside *o = ((struct outside_user *)layer)->outside;

    struct far_layer_news better;

    if (state == FAR_DEVICE_READY) {
        memcpy(o->device.props, news->props, sizeof(o->device.props));
        far_local_client_set_hint(o->client, NOT_RUNNING);
    } else if (far_timer_armed(&o->again) && news) {
        /* Why its program ended says more than that it is not there. */
        better = *news;
        better.reason = o->device.reason;
        news = &better;
    }
    if (news)
        far_device_say(&o->device, state, news->reason);
    far_layer_state(layer->above, state, news);
}

static void user_close(struct far_layer *layer)
{
    struct outside_user *u = (struct outside_user *)layer, **at;
    struct outside *o = u->outside;
    uint64_t stop_us =
        far_conf_time_us(o->device.section, "idle-stop", IDLE_STOP_US);

    for (at = &o->users; *at != u; at = &(*at)->next)
        ;
    *at = u->next;
    layer->below->above = NULL;
    far_layer_close(layer->below);
    free(u);
    if (!o->users && o->job.state != FAR_STARTER_IDLE && stop_us != UINT64_MAX)
        far_timer_set(&o->idle, now_us(o) + stop_us);
}

static const struct far_layer_ops user_ops = {
    .name = "outside",
    .state = user_state,
    .close = user_close,
};

static int outside_open(struct far_device *device,
                        const struct far_local_who *who,
                        struct far_layer **layer, struct far_error *error)
{
    struct outside *o = (struct outside *)device;
    struct outside_user *u = calloc(1, sizeof(*u));
    struct far_local_who there = *who;
    struct far_layer *below;
    int r;

    if (!u)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    snprintf(there.device, sizeof(there.device), "%s", o->there);
    r = far_local_client_open(o->client, &there, &below, error);
    if (r) {
        free(u);
        return r;
    }
    u->layer.ops = &user_ops;
    u->outside = o;
    u->next = o->users;
    o->users = u;
    far_layer_stack(&u->layer, below);
    *layer = &u->layer;
    start(o);
    return 0;
}

/* ---- the device ---- */

static int outside_create(struct far_device *device, struct far_error *error)
{
    struct outside *o = (struct outside *)device;
    const char *path = far_conf_string(device->section, "socket", NULL);
    struct stat st;

    if (!path || path[0] != '/' ||
        strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return far_error(error, -EINVAL,
                         "%s: an outside device needs `socket =`, the absolute "
                         "path (of at most 107 bytes) at which its program "
                         "listens",
                         device->name);
    device->class =
        far_class_from_name(far_conf_string(device->section, "class", "input"));
    if (device->class == FAR_CLASS_NONE)
        return far_error(error, -EINVAL, "%s: there is no such class",
                         device->name);
    snprintf(o->there, sizeof(o->there), "%s",
             far_conf_string(device->section, "device", device->name));
    o->client = far_local_client_new(device->devices->loop,
                                     device->devices->log, path, "");
    if (!o->client)
        return far_error(error, -ENOMEM, "%s: out of memory", device->name);
    far_local_client_set_hint(o->client, NOT_RUNNING);
    far_local_client_watch(
        o->client,
        far_conf_time_us(device->section, "answer-within", SILENT_US),
        program_silent, o);
    snprintf(o->job.device, sizeof(o->job.device), "%s", device->name);
    o->job.started = job_started;
    o->job.ended = job_ended;
    far_timer_init(&o->again, device->devices->loop, again_fired);
    far_timer_init(&o->idle, device->devices->loop, idle_fired);
    o->started_here = device->devices->starter &&
                      far_conf_string(device->section, "start", NULL);
    /* What it is like shows when somebody uses it. */
    if (o->started_here || (stat(path, &st) == 0 && S_ISSOCK(st.st_mode)))
        far_device_say(device, FAR_DEVICE_READY, NULL);
    else
        far_device_say(device, FAR_DEVICE_GONE, NOT_RUNNING);
    return 0;
}

static void outside_destroy(struct far_device *device)
{
    struct outside *o = (struct outside *)device;

    far_timer_cancel(&o->again);
    far_timer_cancel(&o->idle);
    far_starter_forget(&o->job);
    far_local_client_free(o->client);
}

const struct far_device_type far_type_outside = {
    .name = "outside",
    .class = FAR_CLASS_NONE, /* its section says */
    .device_bytes = sizeof(struct outside),
    .create = outside_create,
    .destroy = outside_destroy,
    .open = outside_open,
};
