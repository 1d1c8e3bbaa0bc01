/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The directory (netproxy/directory.h): what is known, and watching its file.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>
#include "core/clock.h"
#include "netproxy/directory.h"

#define SETTLE_US 20000

/* ---- what is known ---- */

struct first {
    struct far_directory *directory;
    far_conf_report *report;
    void *arg;
};

static void keep_first(void *arg, const char *file, unsigned line,
                       unsigned column, const char *text)
{
    struct first *f = arg;

    if (!f->directory->reason[0])
        snprintf(f->directory->reason, sizeof(f->directory->reason),
                 "%.80s:%u:%u: %.120s", file, line, column, text);
    if (f->report)
        f->report(f->arg, file, line, column, text);
    else
        far_log(f->directory->log, FAR_LOG_ERROR, "%s:%u:%u: %s", file, line,
                column, text);
}

static void take(struct far_directory *d, struct far_directory_entry *entries,
                 unsigned count)
{
    bool same =
        count == d->count &&
        (!count || !memcmp(entries, d->entries, count * sizeof(*entries)));

    free(d->entries);
    d->entries = entries;
    d->count = count;
    if (!same)
        d->changed(d->arg);
}

static void read_file(struct far_directory *d, far_conf_report *report,
                      void *arg)
{
    struct first f = { d, report, arg };
    struct far_directory_entry *entries;
    unsigned count;

    d->reason[0] = '\0';
    entries = far_directory_read(d->file, &count, keep_first, &f);
    if (entries)
        take(d, entries, count);
    else if (!d->reason[0])
        snprintf(d->reason, sizeof(d->reason), "out of memory");
}

unsigned far_directory_find(const struct far_directory *d, const char *name,
                            struct far_standby_place places[FAR_STANDBY_PLACES])
{
    unsigned i, n = 0;

    for (i = 0; i < d->count && n < FAR_STANDBY_PLACES; i++) {
        if (!strcmp(d->entries[i].name, name))
            places[n++] = d->entries[i].place;
    }
    return n;
}

/* ---- watching ---- */

static void unwatch(struct far_directory *d)
{
    far_timer_cancel(&d->settle);
    if (d->fd < 0)
        return;
    far_io_del(&d->io);
    close(d->fd);
    d->fd = -1;
}

static void settled(struct far_timer *timer)
{
    struct far_directory *d =
        (struct far_directory *)((char *)timer -
                                 offsetof(struct far_directory, settle));

    read_file(d, NULL, NULL);
}

static void told(struct far_io *io, uint32_t events)
{
    struct far_directory *d =
        (struct far_directory *)((char *)io -
                                 offsetof(struct far_directory, io));
    _Alignas(struct inotify_event) char buffer[4096];
    const char *base = strrchr(d->file, '/') + 1;
    ssize_t n = read(d->fd, buffer, sizeof(buffer));
    bool ours = false;

    (void)events;
    for (ssize_t at = 0; n > 0 && at < n;) {
        const struct inotify_event *e = (const void *)(buffer + at);

        ours |= (e->mask & IN_Q_OVERFLOW) || (e->len && !strcmp(e->name, base));
        at += (ssize_t)(sizeof(*e) + e->len);
    }
    if (ours && !far_timer_armed(&d->settle))
        far_timer_set(&d->settle, far_now_us() + SETTLE_US);
}

/* The folder: editors put another file in the place of an old one. */
static void watch(struct far_directory *d)
{
    const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO;
    char folder[PATH_MAX];

    snprintf(folder, sizeof(folder), "%.*s",
             (int)(strrchr(d->file, '/') - d->file + 1), d->file);
    d->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (d->fd >= 0 && (inotify_add_watch(d->fd, folder, mask) < 0 ||
                       far_io_add(d->loop, &d->io, d->fd, EPOLLIN, told))) {
        close(d->fd);
        d->fd = -1;
    }
    if (d->fd < 0)
        far_log(d->log, FAR_LOG_ERROR,
                "[directory]: %s can't be watched (%s): it is read again at "
                "`farside reload` only",
                folder, strerror(errno));
}

void far_directory_configure(struct far_directory *d,
                             const struct far_conf_section *section,
                             far_conf_report *report, void *arg)
{
    const char *file = far_conf_string(section, "file", "");

    unwatch(d);
    d->reason[0] = '\0';
    snprintf(d->file, sizeof(d->file), "%s", *file == '/' ? file : "");
    if (!d->file[0]) {
        take(d, NULL, 0);
        return;
    }
    watch(d); /* first: nothing that is written in between is missed */
    read_file(d, report, arg);
}

void far_directory_init(struct far_directory *d, struct far_loop *loop,
                        struct far_log *log, void (*changed)(void *arg),
                        void *arg)
{
    *d = (struct far_directory){
        .loop = loop, .log = log, .changed = changed, .arg = arg, .fd = -1
    };
    far_timer_init(&d->settle, loop, settled);
}

json_t *far_directory_json(const struct far_directory *d)
{
    json_t *names = json_object();
    unsigned i;

    if (!d->file[0]) {
        json_decref(names);
        return json_null();
    }
    for (i = 0; i < d->count; i++) {
        const struct far_directory_entry *e = &d->entries[i];
        json_t *places = json_object_get(names, e->name);
        char text[2 * FAR_NAME_BYTES];

        if (!places) {
            places = json_array();
            json_object_set_new(names, e->name, places);
        }
        snprintf(text, sizeof(text), "%s/%s", e->place.platform,
                 e->place.device);
        json_array_append_new(places, json_string(text));
    }
    return json_pack(
        "{s:s, s:s, s:o, s:o}", "kind", "file", "at", d->file, "reason",
        d->reason[0] ? json_string(d->reason) : json_null(), "names", names);
}

void far_directory_free(struct far_directory *d)
{
    if (!d->loop)
        return;
    unwatch(d);
    free(d->entries);
    d->entries = NULL;
    d->count = 0;
}
