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
#include "core/uuid.h"
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
        d->ops.changed(d->ops.arg);
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
    bool owner = true;

    do {
        for (i = 0; i < d->count && n < FAR_STANDBY_PLACES; i++) {
            if (d->entries[i].owner == owner &&
                !strcmp(d->entries[i].name, name))
                places[n++] = d->entries[i].place;
        }
        owner = !owner;
    } while (!owner);
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

/* ---- leases ---- */

const char *far_directory_leased(const struct far_conf_section *export)
{
    if (!far_conf_bool(export, "lease", false))
        return NULL;
    return far_conf_string(export, "directory", export->name);
}

static struct far_lease *find_lease(const struct far_directory *d,
                                    const char *name)
{
    struct far_lease *l = d->leases;

    while (l && strcmp(l->name, name))
        l = l->next;
    return l;
}

struct far_lease *far_directory_lease(const struct far_directory *d,
                                      const char *name)
{
    struct far_lease *l = find_lease(d, name);

    return l && l->wanted ? l : NULL;
}

static void judge_leases(struct far_directory *d);

/* Timers of ops that filters hold back are due, too, in a process that was
 * stopped for a while: leases come first. */
static void on_wake(void *arg)
{
    struct far_directory *d = arg;

    if (far_boot_us() >= d->first_us)
        judge_leases(d);
}

/* Who is to be told of what has changed; when it is to be looked at again. */
static void judge_leases(struct far_directory *d)
{
    uint64_t now_us = far_boot_us(), first_us = UINT64_MAX;
    bool news = false;
    struct far_lease *l;

    for (l = d->leases; l; l = l->next) {
        bool held = now_us < l->until_us;

        if (held && l->until_us < first_us)
            first_us = l->until_us;
        if (held == l->told)
            continue;
        l->told = held;
        news = true;
        if (held)
            l->term = far_random_u64();
        far_log(d->log, held ? FAR_LOG_INFO : FAR_LOG_WARNING,
                held ? "%s: the directory's lease is ours: it is served"
                     : "%s: the directory's lease is not ours any more: it is "
                       "not served",
                l->name);
    }
    d->first_us = first_us;
    if (first_us != UINT64_MAX)
        far_timer_set(&d->lapse, far_now_us() + (first_us - now_us) + 1);
    far_loop_set_wake(d->loop, first_us != UINT64_MAX ? on_wake : NULL, d);
    if (news)
        d->ops.leases(d->ops.arg);
}

static void on_lapse(struct far_timer *timer)
{
    judge_leases(
        (struct far_directory *)((char *)timer -
                                 offsetof(struct far_directory, lapse)));
}

static void want_lease(struct far_directory *d, const char *name)
{
    struct far_lease *l = find_lease(d, name);

    if (!l) {
        l = calloc(1, sizeof(*l));
        if (!l)
            return; /* it is not served */
        snprintf(l->name, sizeof(l->name), "%s", name);
        l->generation = d->generation;
        l->next = d->leases;
        d->leases = l;
    }
    l->wanted = true;
}

/* Is something still under way in a device, without a session? As long as that
 * may be, its lease is not given back: who comes next would not wait. */
static bool late(void *arg)
{
    const struct far_directory *d = arg;
    const struct far_lease *l;

    for (l = d->leases; l; l = l->next) {
        if (l->late_us && far_boot_us() - l->late_us < d->patience_us)
            return true;
    }
    return false;
}

void far_directory_stop(struct far_directory *d)
{
    struct far_lease *l;

    far_timer_cancel(&d->lapse);
    far_loop_set_wake(d->loop, NULL, NULL);
    for (l = d->leases; l; l = l->next) {
        l->wanted = false;
        l->until_us = 0;
    }
}

/* ---- etcd ---- */

static void etcd_begin(void *arg)
{
    ((struct far_directory *)arg)->coming_count = 0;
}

static void etcd_place(void *arg, const struct far_etcd_place *p)
{
    struct far_directory *d = arg;
    struct far_directory_entry *e;

    if (!d->coming || d->coming_count == FAR_ETCD_PLACES)
        return;
    e = &d->coming[d->coming_count++];
    memset(e, 0, sizeof(*e));
    memcpy(e->name, p->name, strlen(p->name));
    memcpy(e->place.platform, p->platform, strlen(p->platform));
    memcpy(e->place.device, p->device, strlen(p->device));
    e->owner = p->owner;
}

static void etcd_end(void *arg)
{
    struct far_directory *d = arg;
    struct far_directory_entry *copy;

    if (!d->in_etcd || !d->coming)
        return;
    copy = malloc((d->coming_count + 1) * sizeof(*copy));
    if (!copy)
        return;
    memcpy(copy, d->coming, d->coming_count * sizeof(*copy));
    take(d, copy, d->coming_count);
}

static void etcd_lease(void *arg, const struct far_etcd_lease *m)
{
    struct far_directory *d = arg;
    struct far_lease *l = find_lease(d, m->name);
    bool other;

    on_wake(d); /* one that has run out is lost, and won anew: ops wait */
    if (!l || !l->wanted || m->generation < l->generation)
        return;
    other = strcmp(l->holder, m->holder);
    memcpy(l->holder, m->holder, sizeof(l->holder));
    l->until_us = m->until_us;
    l->from_us = m->from_us;
    judge_leases(d);
    if (other)
        d->ops.leases(d->ops.arg);
}

static void etcd_trouble(void *arg, const char *text)
{
    struct far_directory *d = arg;

    if (!d->in_etcd || !strcmp(d->reason, text))
        return;
    if (*text && !d->reason[0])
        far_log(d->log, FAR_LOG_WARNING, "[directory]: %s", text);
    else if (!*text)
        far_log(d->log, FAR_LOG_INFO, "[directory]: etcd answers");
    snprintf(d->reason, sizeof(d->reason), "%s", text);
}

static bool wants_etcd(const struct far_conf *conf)
{
    return far_conf_entry(far_conf_section(conf, "directory", ""), "etcd",
                          NULL);
}

void far_directory_start(struct far_directory *d, const struct far_conf *conf,
                         const char *user)
{
    const struct far_etcd_ops ops = {
        .begin = etcd_begin,
        .place = etcd_place,
        .end = etcd_end,
        .lease = etcd_lease,
        .trouble = etcd_trouble,
        .late = late,
        .arg = d,
    };
    struct far_error error = { 0 };

    if (!wants_etcd(conf))
        return;
    d->etcd = far_etcd_new(d->loop, user, &ops, &error);
    d->coming = malloc(FAR_ETCD_PLACES * sizeof(*d->coming));
    if (!d->etcd)
        far_log(d->log, FAR_LOG_ERROR, "%s", error.text);
}

static void add_offer(struct far_directory *d, struct far_etcd_offer *offers,
                      unsigned *count, const struct far_conf_section *export)
{
    const char *lease = far_directory_leased(export);
    const char *name =
        lease ? lease : far_conf_string(export, "directory", NULL);
    struct far_etcd_offer *o = &offers[*count];

    if (!name || !far_name_valid(name) || name[0] == '.' ||
        !far_name_valid(export->name))
        return;
    for (unsigned i = 0; i < *count; i++) {
        if (strcmp(offers[i].name, name))
            continue;
        far_log(d->log, FAR_LOG_ERROR,
                "[export %s]: %s is [export %s] in the directory already",
                export->name, name, offers[i].device);
        return;
    }
    if (lease)
        want_lease(d, name);
    if (*count == FAR_ETCD_OFFERS) {
        far_log(d->log, FAR_LOG_ERROR,
                "[export %s]: a platform has %u names in the directory at most",
                export->name, FAR_ETCD_OFFERS);
        return;
    }
    ++*count;
    memset(o, 0, sizeof(*o));
    o->what = FAR_ETCD_OFFER;
    o->leased = lease != NULL;
    memcpy(o->name, name, strlen(name));
    memcpy(o->device, export->name, strlen(export->name));
}

static void fill_setup(struct far_directory *d, struct far_etcd_setup *s,
                       const struct far_conf *conf,
                       const struct far_conf_section *section)
{
    const struct far_conf_entry *e = NULL;
    uint64_t ttl_us =
        far_conf_time_us(section, "ttl", FAR_ETCD_TTL_S * 1000000ull);

    s->what = FAR_ETCD_SETUP;
    s->ttl_s = ttl_us < 2000000              ? 2
               : ttl_us > 3600u * 1000000ull ? 3600
                                             : (uint32_t)(ttl_us / 1000000);
    s->generation = d->generation;
    snprintf(
        s->platform, sizeof(s->platform), "%s",
        far_conf_string(far_conf_section(conf, "platform", ""), "name", ""));
    snprintf(s->prefix, sizeof(s->prefix), "%s",
             far_conf_string(section, "prefix", "/farside/"));
    d->at[0] = '\0';
    while ((e = far_conf_entry(section, "etcd", e)) &&
           s->endpoint_count < FAR_ETCD_ENDPOINTS) {
        size_t used = strlen(d->at);

        snprintf(d->at + used, sizeof(d->at) - used, "%s%s", used ? " " : "",
                 e->value);
        snprintf(s->endpoints[s->endpoint_count++], sizeof(s->endpoints[0]),
                 "%s", e->value);
    }
    snprintf(s->ca, sizeof(s->ca), "%s", far_conf_string(section, "ca", ""));
    snprintf(s->cert, sizeof(s->cert), "%s",
             far_conf_string(section, "cert", ""));
    snprintf(s->key, sizeof(s->key), "%s", far_conf_string(section, "key", ""));
    s->clear = far_conf_bool(section, "clear-text", false);
}

/* What would be asked must be whole: in clear text only if that was asked for,
 * keys under a prefix of ours. */
static bool may_ask(struct far_directory *d, const struct far_etcd_setup *s)
{
    size_t n = strlen(s->prefix);

    if (!d->etcd)
        snprintf(d->reason, sizeof(d->reason),
                 "nothing talks to etcd: restart farside-netproxy (and see its "
                 "log)");
    else if (!s->clear && !s->ca[0])
        snprintf(d->reason, sizeof(d->reason),
                 "[directory] has neither a ca nor clear-text = on: etcd is "
                 "not asked");
    else if (n < 2 || s->prefix[0] != '/' || s->prefix[n - 1] != '/')
        snprintf(d->reason, sizeof(d->reason),
                 "[directory] prefix: begins and ends with a /, as /farside/ "
                 "does");
    else
        return true;
    far_log(d->log, FAR_LOG_ERROR, "%s", d->reason);
    return false;
}

/* What is no longer ours to hold is not held before that is told: the helper
 * hears of it when the sessions have ended (far_etcd_configure()). */
static void let_go(struct far_directory *d, bool all)
{
    struct far_lease *l;

    for (l = d->leases; l; l = l->next) {
        if (l->wanted && !all)
            continue;
        l->until_us = l->from_us = 0;
        l->generation = d->generation;
    }
}

static void configure_etcd(struct far_directory *d, const struct far_conf *conf,
                           const struct far_conf_section *section)
{
    struct far_etcd_setup *setup = calloc(1, sizeof(*setup));
    struct far_etcd_offer *offers =
        calloc(FAR_ETCD_OFFERS + 1, sizeof(*offers));
    const struct far_conf_section *s;
    struct far_lease *l;
    unsigned count = 0;

    d->in_etcd = wants_etcd(conf);
    d->generation++;
    for (l = d->leases; l; l = l->next)
        l->wanted = false;
    for (s = conf->sections; setup && offers && s; s = s->next) {
        if (!strcmp(s->kind, "export") && d->in_etcd)
            add_offer(d, offers, &count, s);
    }
    if (setup && offers && d->in_etcd)
        fill_setup(d, setup, conf, section);
    if (setup && offers && d->in_etcd && may_ask(d, setup)) {
        let_go(d, !far_etcd_has(d->etcd, setup));
        d->patience_us =
            setup->ttl_s * 1000000ull + far_lease_margin_us(setup->ttl_s);
        far_etcd_configure(d->etcd, setup, offers, count);
    } else {
        let_go(d, true);
        if (d->etcd)
            far_etcd_configure(d->etcd, NULL, NULL, 0);
    }
    free(setup);
    free(offers);
}

void far_directory_configure(struct far_directory *d,
                             const struct far_conf *conf,
                             far_conf_report *report, void *arg)
{
    const struct far_conf_section *section =
        far_conf_section(conf, "directory", "");
    const char *file = far_conf_string(section, "file", "");

    unwatch(d);
    d->reason[0] = '\0';
    configure_etcd(d, conf, section);
    judge_leases(d);
    snprintf(d->file, sizeof(d->file), "%s",
             *file == '/' && !d->in_etcd ? file : "");
    if (d->file[0]) {
        watch(d); /* first: nothing that is written in between is missed */
        read_file(d, report, arg);
    } else if (!d->in_etcd) {
        take(d, NULL, 0);
    }
}

void far_directory_init(struct far_directory *d, struct far_loop *loop,
                        struct far_log *log,
                        const struct far_directory_ops *ops)
{
    *d = (struct far_directory){
        .loop = loop, .log = log, .ops = *ops, .fd = -1
    };
    far_timer_init(&d->settle, loop, settled);
    far_timer_init(&d->lapse, loop, on_lapse);
}

static json_t *leases_json(const struct far_directory *d)
{
    uint64_t now_us = far_boot_us();
    json_t *all = json_array();
    const struct far_lease *l;

    for (l = d->leases; l; l = l->next) {
        if (l->wanted)
            json_array_append_new(
                all,
                json_pack(
                    "{s:s, s:s, s:b, s:I, s:I}", "name", l->name, "holder",
                    l->holder, "held", far_lease_held(l), "left_us",
                    (json_int_t)(now_us < l->until_us ? l->until_us - now_us
                                                      : 0),
                    "waits_us",
                    (json_int_t)(now_us < l->from_us ? l->from_us - now_us
                                                     : 0)));
    }
    return all;
}

json_t *far_directory_json(const struct far_directory *d)
{
    json_t *names;
    unsigned i;

    if (!d->file[0] && !d->in_etcd)
        return json_null();
    names = json_object();
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
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "kind",
                     d->in_etcd ? "etcd" : "file", "at",
                     d->in_etcd ? d->at : d->file, "reason",
                     d->reason[0] ? json_string(d->reason) : json_null(),
                     "names", names, "leases", leases_json(d));
}

void far_directory_free(struct far_directory *d)
{
    if (!d->loop)
        return;
    unwatch(d);
    far_timer_cancel(&d->lapse);
    far_loop_set_wake(d->loop, NULL, NULL);
    far_etcd_free(d->etcd);
    while (d->leases) {
        struct far_lease *l = d->leases;

        d->leases = l->next;
        free(l);
    }
    free(d->coming);
    free(d->entries);
    memset(d, 0, sizeof(*d));
}
