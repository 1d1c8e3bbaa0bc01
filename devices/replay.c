/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The replay device: plays a recorded trace with its timing, from the first
 * activation on. While nobody is activated it stands still. A trace is text:
 * MICROSECONDS-SINCE-START and a word of farside(1) in each line.
 */
#include "devices/input-source.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "devices/types.h"
#include "devices/words.h"

#define EVENTS_MAX    (1u << 20)
#define EVENTS_A_TURN 128u
#define LOOP_LEAST_US 1000u

struct step {
    uint64_t at_us;
    struct far_input_event event;
};

struct replay {
    struct far_source source;
    struct step *steps;
    uint32_t used, room, next;
    uint64_t speed;
    uint64_t start_us;  /* when step 0's time was or would have been */
    uint64_t played_us; /* while it stands still: how far it had got */
    struct far_timer timer;
    uint64_t line_us; /* while reading */
};

static int add_step(void *arg, const struct far_input_event *event)
{
    struct replay *t = arg;

    if (t->used == t->room) {
        uint32_t room = t->room ? t->room * 2 : 256;
        struct step *more;

        if (room > EVENTS_MAX)
            return -EFBIG;
        more = realloc(t->steps, room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        t->steps = more;
        t->room = room;
    }
    t->steps[t->used].at_us = t->line_us;
    t->steps[t->used++].event = *event;
    return 0;
}

static int read_line(struct replay *t, struct far_words *words, char *line,
                     struct far_error *error)
{
    const struct far_words_sink sink = { .event = add_step, .arg = t };
    char *at = line + strspn(line, " \t"), *end;
    unsigned long long us;
    int r;

    if (!*at || *at == '#' || *at == '\n')
        return 0;
    errno = 0;
    us = strtoull(at, &end, 10);
    if (*at < '0' || *at > '9' || errno || us > UINT64_MAX / 2 ||
        (*end != ' ' && *end != '\t'))
        return far_error(error, -EINVAL,
                         "a line begins with its time in microseconds");
    if (us < t->line_us)
        return far_error(error, -EINVAL,
                         "its time is before that of the line above");
    if (us > t->line_us) {
        /* touches of an earlier time without their `sync` */
        r = far_words_end(words, &sink);
        if (r)
            return far_error(error, r, "%s", strerror(-r));
    }
    t->line_us = us;
    error->code = 0;
    r = far_words_parse_line(words, end, &sink, error);
    if (r && !error->code)
        return far_error(error, r, "the trace is too long: %s", strerror(-r));
    return r;
}

static void forget(struct replay *t)
{
    free(t->steps);
    t->steps = NULL;
    t->used = t->room = t->next = 0;
    t->line_us = 0;
}

/* 0, -ENOENT and its like (not there yet), or -EINVAL: what is in it is
 * wrong. */
static int read_trace(struct replay *t, struct far_error *error)
{
    const struct far_device *d = &t->source.device;
    const char *file = far_conf_string(d->section, "file", NULL);
    const struct far_words_sink sink = { .event = add_step, .arg = t };
    struct far_words words = { 0 };
    struct far_error inner = { 0 };
    unsigned number = 0;
    char line[2048];
    FILE *f;
    int r = 0;

    if (!file)
        return far_error(error, -EINVAL, "%s: a replay device needs `file =`",
                         d->name);
    f = fopen(file, "re");
    if (!f)
        return far_error(error, -errno, "%s: %s can't be read: %s", d->name,
                         file, strerror(errno));
    while (r == 0 && fgets(line, sizeof(line), f)) {
        number++;
        r = read_line(t, &words, line, &inner);
    }
    if (r == 0 && ferror(f))
        r = far_error(error, -EIO, "%s: %s can't be read: %s", d->name, file,
                      strerror(errno));
    else if (r == 0)
        r = far_words_end(&words, &sink);
    else
        r = far_error(error, -EINVAL, "%s: %s:%u: %s", d->name, file, number,
                      inner.text);
    fclose(f);
    if (r)
        forget(t);
    return r;
}

static void arm(struct replay *t)
{
    if (!t->source.active || t->next >= t->used)
        return;
    far_timer_set(&t->timer, t->start_us + t->steps[t->next].at_us / t->speed);
}

static void play(struct far_timer *timer)
{
    struct replay *t =
        (struct replay *)(void *)((char *)timer -
                                  offsetof(struct replay, timer));
    const struct far_device *d = &t->source.device;
    uint64_t now_us = far_loop_now_us(d->devices->loop);

    for (unsigned n = 0; n < EVENTS_A_TURN && t->next < t->used; n++) {
        struct step *s = &t->steps[t->next];
        struct far_input_event e = s->event;

        e.time_us = t->start_us + s->at_us / t->speed;
        if (e.time_us > now_us)
            break;
        t->next++;
        far_source_send(&t->source, &e, 1);
    }
    if (t->next == t->used && far_conf_bool(d->section, "loop", false)) {
        uint64_t took_us = t->steps[t->used - 1].at_us / t->speed;

        t->start_us += took_us > LOOP_LEAST_US ? took_us : LOOP_LEAST_US;
        t->next = 0;
    }
    arm(t);
}

static void be_there(struct replay *t)
{
    const struct far_input_props props = {
        .can = FAR_INPUT_CAN_KEYS | FAR_INPUT_CAN_BUTTONS | FAR_INPUT_CAN_REL |
               FAR_INPUT_CAN_ABS | FAR_INPUT_CAN_TOUCH,
        .contacts = FAR_INPUT_CONTACTS_MAX,
    };

    far_source_ready(&t->source, &props);
}

static void replay_busy(struct far_source *source, bool busy)
{
    struct replay *t = (struct replay *)source;
    uint64_t now_us = far_loop_now_us(source->device.devices->loop);
    struct far_error error;

    if (!busy) {
        far_timer_cancel(&t->timer);
        t->played_us = now_us - t->start_us;
        return;
    }
    if (!t->steps) {
        if (read_trace(t, &error)) {
            far_source_gone(source, error.text);
            return;
        }
        be_there(t);
    }
    t->start_us = now_us - t->played_us;
    arm(t);
}

static int replay_create(struct far_device *device, struct far_error *error)
{
    struct replay *t = (struct replay *)device;
    int r;

    t->speed = far_conf_number(device->section, "speed", 1);
    if (!t->speed)
        t->speed = 1;
    t->source.busy = replay_busy;
    far_timer_init(&t->timer, device->devices->loop, play);
    r = read_trace(t, error);
    if (r == -EINVAL)
        return r;
    if (r) /* not there yet: looked for again at the next activation */
        far_source_gone(&t->source, error->text);
    else
        be_there(t);
    return 0;
}

static void replay_destroy(struct far_device *device)
{
    struct replay *t = (struct replay *)device;

    far_timer_cancel(&t->timer);
    forget(t);
}

const struct far_device_type far_type_replay = {
    .name = "replay",
    .class = FAR_CLASS_INPUT,
    .device_bytes = sizeof(struct replay),
    .create = replay_create,
    .destroy = replay_destroy,
    .open = far_source_open,
};
