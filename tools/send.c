// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside send: words to events, and those to the daemon in which the device
// lives: the netproxy if it is exported, else the backend. All words are
// judged before the first has an effect.

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "devices/feed-json.h"
#include "devices/words.h"
#include "tools/tool.h"

/* As many as one message of the local protocol holds. */
#define EVENTS_MAX 64
/* How long a guest's platform may take to say that it has them. */
#define TAKEN_WITHIN_MS 10000u
#define LOOK_MS         20u

struct sender {
    struct far_tool *tool;
    const char *device;
    const char *daemon; /* where the device lives */
    const char *to;     /* PLATFORM/GUEST; NULL: to who attached it */
    json_t *events;     /* not sent yet */
    struct far_error error;
};

static void nap_us(uint64_t us)
{
    struct timespec pause = { .tv_sec = (time_t)(us / 1000000),
                              .tv_nsec = (long)(us % 1000000) * 1000 };

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, &pause) == EINTR)
        ;
}

/* Until that one, and so all before it, are in the guest. */
static int wait_taken(struct sender *s, int64_t sequence)
{
    json_t *request = json_pack(
        "{s:s, s:s#, s:I}", "request", "notified", "platform", s->to,
        (int)(strchr(s->to, '/') - s->to), "sequence", (json_int_t)sequence);
    bool done = false;
    int r = 0;

    if (!request)
        return far_error(&s->error, -ENOMEM, "out of memory");
    for (unsigned ms = 0; !done && !r; ms += LOOK_MS) {
        json_t *answer;

        r = far_ask(s->tool, s->daemon, request, &answer, &s->error);
        done = !r && json_is_true(json_object_get(answer, "done"));
        if (!r && !done && ms >= TAKEN_WITHIN_MS)
            r = far_error(&s->error, -EREMOTEIO, "%s",
                          far_json_text(answer, "reason"));
        json_decref(answer);
        if (!done && !r)
            nap_us(LOOK_MS * 1000);
    }
    json_decref(request);
    return r;
}

static int flush(struct sender *s)
{
    json_t *request, *answer;
    int64_t sequence;
    int r;

    if (!json_array_size(s->events))
        return 0;
    request = json_pack("{s:s, s:s, s:O}", "request", "send", "device",
                        s->device, "events", s->events);
    if (!request)
        return far_error(&s->error, -ENOMEM, "out of memory");
    if (s->to)
        json_object_set_new(request, "to", json_string(s->to));
    r = far_ask(s->tool, s->daemon, request, &answer, &s->error);
    sequence = far_json_number(answer, "sequence");
    json_decref(request);
    json_decref(answer);
    json_array_clear(s->events);
    return r || !s->to || !sequence ? r : wait_taken(s, sequence);
}

static int take_event(void *arg, const struct far_input_event *event)
{
    struct sender *s = arg;
    json_t *object = far_feed_event_to_json(event);

    if (!object || json_array_append_new(s->events, object))
        return far_error(&s->error, -ENOMEM, "out of memory");
    return json_array_size(s->events) == EVENTS_MAX ? flush(s) : 0;
}

static int take_sleep(void *arg, uint64_t us)
{
    int r = flush(arg);

    if (!r)
        nap_us(us);
    return r;
}

static int ignore_event(void *arg, const struct far_input_event *event)
{
    (void)arg;
    (void)event;
    return 0;
}

static int ignore_sleep(void *arg, uint64_t us)
{
    (void)arg;
    (void)us;
    return 0;
}

/* Exported devices live in the netproxy. If farside.conf can't be read, the
 * backend knows. */
static const char *home_of(const struct far_tool *tool, const char *device)
{
    struct far_conf *conf;
    const char *daemon = "backend";
    unsigned problems = 0;

    conf = far_conf_read(tool->conf_file, NULL, NULL, &problems, NULL);
    if (conf && far_conf_section(conf, "export", device))
        daemon = "netproxy";
    far_conf_free(conf);
    return daemon;
}

/* A guest: PLATFORM/GUEST. */
static bool is_guest(const char *text)
{
    struct far_address address;

    return !far_address_parse(&address, text, NULL) && address.platform[0] &&
           !address.standby[0];
}

int far_send_command(struct far_tool *tool, int argc, char **argv)
{
    struct far_words_sink judge = { ignore_event, ignore_sleep, NULL };
    struct far_words_sink sink = { take_event, take_sleep, NULL };
    struct sender s = { .tool = tool };
    struct far_words words = { 0 };
    const char *const *rest;
    unsigned count;
    int r;

    if (getopt(argc, argv, "+") != -1)
        return far_usage("send", "no such option");
    argc -= optind;
    argv += optind;
    if (argc < 2)
        return far_usage("send", "DEVICE and words are needed, such as: send "
                                 "typist text Hello");
    s.device = argv[0];
    if (!far_name_valid(s.device))
        return far_usage("send",
                         strchr(s.device, '/')
                             ? "%s: a device of another platform is fed there; "
                               "run this on it"
                             : "%s: no name of a device",
                         s.device);
    if (!strcmp(argv[1], "--to")) {
        if (argc < 4)
            return far_usage("send", "--to wants PLATFORM/GUEST, and words "
                                     "behind it");
        s.to = argv[2];
        if (!is_guest(s.to))
            return far_usage("send",
                             "%s: no guest; PLATFORM/GUEST is one, by "
                             "its name or uuid",
                             s.to);
        argc -= 2;
        argv += 2;
    }
    rest = (const char *const *)argv + 1;
    count = (unsigned)argc - 1;
    if (far_words_parse(&words, rest, count, &judge, &s.error))
        return far_usage("send", "%s", s.error.text);

    /* Only a device that is exported has leave to interrupt anybody. */
    s.daemon = s.to ? "netproxy" : home_of(tool, s.device);
    s.events = json_array();
    if (!s.events)
        return far_fail("send", FAR_EXIT_FAILED, "out of memory");
    sink.arg = &s;
    words = (struct far_words){ 0 };
    r = far_words_parse(&words, rest, count, &sink, &s.error);
    if (!r)
        r = far_words_end(&words, &sink);
    if (!r)
        r = flush(&s);
    json_decref(s.events);
    if (!r)
        return FAR_EXIT_OK;
    r = r == -EREMOTEIO || r == -ENOMEM ? FAR_EXIT_FAILED : FAR_EXIT_NO_DAEMON;
    /* The daemons begin with the device's name, most of the time. */
    if (!strncmp(s.error.text, s.device, strlen(s.device)))
        return far_fail("send", r, "%s", s.error.text);
    return far_fail("send", r, "%s: %s", s.device, s.error.text);
}
