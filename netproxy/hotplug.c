/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Devices that come and go (netproxy/hotplug.h). A folder's watch only says
 * that something has changed; what there is now is then looked at as a whole,
 * so that no lost or doubled event matters.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/any.h"
#include "netproxy/hotplug.h"

#define INPUT_DIR   "/dev/input"
#define SETTLE_US   20000 /* udev gives a node its group after it has made it */
#define WORDS_BYTES 40    /* of a device's own name, in ours */

/* A node that is served, with the section that its device was made by. */
struct node {
    char path[PATH_MAX];
    char words[256]; /* its name, as the kernel says */
    struct far_conf_section section;
    struct far_conf_entry entries[3]; /* type, path, grab */
    char name[FAR_NAME_BYTES];
    bool seen;
    struct node *next;
};

struct far_hotplug_place {
    struct far_hotplug *hotplug;
    char name[FAR_NAME_BYTES];
    const struct far_conf_section *section;
    int fd; /* inotify's, or -1 */
    struct far_io io;
    struct far_timer settle;
    struct node *nodes;
    bool keep;
    struct far_hotplug_place *next;
};

#define container(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

void far_hotplug_name(char out[FAR_NAME_BYTES], const char *section,
                      const char *words)
{
    size_t n = (size_t)snprintf(out, FAR_NAME_BYTES, "%.20s-", section);
    size_t begin = n;

    for (; *words && n < begin + WORDS_BYTES; words++) {
        if (isalnum((unsigned char)*words) && isascii(*words))
            out[n++] = *words;
        else if (n > begin && out[n - 1] != '_')
            out[n++] = '_';
    }
    while (n > begin && out[n - 1] == '_')
        n--;
    if (n == begin)
        out[n++] = '1';
    out[n] = '\0';
}

static const char *folder(const struct far_hotplug_place *p)
{
    return far_conf_string(p->section, "path", INPUT_DIR);
}

/* ---- nodes ---- */

static void remove_node(struct far_hotplug_place *p, struct node *n)
{
    struct far_devices *devices = p->hotplug->devices;
    struct far_device *d = far_device_find(devices, n->name);
    struct node **at = &p->nodes;
    char reason[160];

    snprintf(reason, sizeof(reason), "%s: was unplugged", n->name);
    if (d && d->section == &n->section)
        far_devices_remove(devices, d, reason);
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    free(n);
}

/* Has a [device] of its own, which goes before. */
static bool configured(const struct far_hotplug_place *p,
                       const struct stat *node, const char *words)
{
    const struct far_conf_section *s;

    for (s = p->hotplug->conf->sections; s; s = s->next) {
        const char *path = far_conf_string(s, "path", NULL);
        struct stat st;

        if (strcmp(s->kind, "device") ||
            strcmp(far_conf_string(s, "type", ""), "evdev"))
            continue;
        if (!strcmp(far_conf_string(s, "match-name", ""), words) ||
            (path && stat(path, &st) == 0 && st.st_rdev == node->st_rdev))
            return true;
    }
    return false;
}

static bool wanted(const struct far_hotplug_place *p,
                   const struct far_device *d)
{
    const char *want = far_conf_string(p->section, "want", NULL);
    uint8_t props[FAR_PROPS_BYTES];
    char any[128];
    char *at;

    if (!want)
        return true;
    snprintf(any, sizeof(any), ".any.%s", want);
    for (at = any; *at; at++)
        if (*at == ' ' || *at == ',')
            *at = '.';
    return far_any_parse(props, any, FAR_CLASS_INPUT, NULL) == 0 &&
           far_any_fits(FAR_CLASS_INPUT, d->props, props);
}

/* A name that no other device has; false: there are too many of the kind. */
static bool name_node(struct far_hotplug_place *p, struct node *n)
{
    char base[FAR_NAME_BYTES];

    far_hotplug_name(base, p->name, n->words);
    snprintf(n->name, sizeof(n->name), "%s", base);
    for (unsigned i = 2; far_device_find(p->hotplug->devices, n->name); i++) {
        if (i > FAR_HOTPLUG_DEVICES_MAX)
            return false;
        snprintf(n->name, sizeof(n->name), "%.59s-%u", base, i);
    }
    return true;
}

static void add_node(struct far_hotplug_place *p, const char *path,
                     const char *words)
{
    struct far_devices *devices = p->hotplug->devices;
    struct far_error error = { 0 };
    struct far_device *d;
    struct node *n = calloc(1, sizeof(*n));
    const char *grab = far_conf_string(p->section, "grab", "on");

    if (!n)
        return;
    snprintf(n->path, sizeof(n->path), "%s", path);
    snprintf(n->words, sizeof(n->words), "%s", words);
    if (!name_node(p, n)) {
        free(n);
        return;
    }
    n->entries[0] =
        (struct far_conf_entry){ .key = (char *)(uintptr_t) "type",
                                 .value = (char *)(uintptr_t) "evdev",
                                 .next = &n->entries[1] };
    n->entries[1] = (struct far_conf_entry){ .key = (char *)(uintptr_t) "path",
                                             .value = n->path,
                                             .next = &n->entries[2] };
    n->entries[2] = (struct far_conf_entry){
        .key = (char *)(uintptr_t) "grab",
        .value = (char *)(uintptr_t)(strcmp(grab, "off") ? "on" : "off"),
    };
    n->section =
        (struct far_conf_section){ .kind = (char *)(uintptr_t) "device",
                                   .name = n->name,
                                   .entries = n->entries,
                                   .file = p->section->file };
    n->next = p->nodes;
    p->nodes = n;
    n->seen = true;
    d = far_devices_add(devices, &n->section, p->section, &error);
    if (!d)
        far_log(devices->log, FAR_LOG_ERROR, "[hotplug %s]: %s", p->name,
                error.text);
    else if (!wanted(p, d))
        far_devices_remove(devices, d, "it is not of the wanted kind");
    /* The node stays known, so that it is not tried again at each look. */
}

/* One entry of the folder. */
static void look_at(struct far_hotplug_place *p, int dir, const char *entry,
                    unsigned *count)
{
    const char *pattern = far_conf_string(p->section, "match-name", "*");
    char path[PATH_MAX], words[256] = "";
    struct node *n;
    struct stat st;
    int fd = openat(dir, entry, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    bool fits;

    if (fd < 0)
        return; /* not ours to read, not yet perhaps: its change is told */
    fits = fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
           ioctl(fd, EVIOCGNAME(sizeof(words) - 1), words) >= 0 &&
           fnmatch(pattern, words, 0) == 0 && !configured(p, &st, words);
    close(fd);
    if (!fits || (size_t)snprintf(path, sizeof(path), "%s/%s", folder(p),
                                  entry) >= sizeof(path))
        return;
    for (n = p->nodes; n; n = n->next)
        if (!strcmp(n->path, path) && !strcmp(n->words, words)) {
            n->seen = true;
            (*count)++;
            return;
        }
    if (*count >= FAR_HOTPLUG_DEVICES_MAX)
        return;
    (*count)++;
    for (n = p->nodes; n; n = n->next)
        if (!strcmp(n->path, path)) { /* another one in its place */
            remove_node(p, n);
            break;
        }
    add_node(p, path, words);
}

static void watch(struct far_hotplug_place *p);

static void look(struct far_hotplug_place *p)
{
    DIR *dir = opendir(folder(p));
    bool all = strcmp(folder(p), INPUT_DIR) != 0;
    struct dirent *entry;
    unsigned count = 0;
    struct node *n, *next;

    for (n = p->nodes; n; n = n->next)
        n->seen = false;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' &&
            (all || !strncmp(entry->d_name, "event", 5)))
            look_at(p, dirfd(dir), entry->d_name, &count);
    if (dir)
        closedir(dir);
    for (n = p->nodes; n; n = next) {
        next = n->next;
        if (!n->seen)
            remove_node(p, n);
    }
}

/* ---- watching ---- */

static void settled(struct far_timer *timer)
{
    struct far_hotplug_place *p =
        container(timer, struct far_hotplug_place, settle);

    watch(p); /* the folder itself may have come */
    look(p);
}

static void told(struct far_io *io, uint32_t events)
{
    struct far_hotplug_place *p = container(io, struct far_hotplug_place, io);
    char drain[4096];
    ssize_t n = read(p->fd, drain, sizeof(drain));

    (void)events;
    (void)n; /* what it was is seen in the folder */
    if (!far_timer_armed(&p->settle))
        far_timer_set(&p->settle,
                      far_loop_now_us(p->hotplug->devices->loop) + SETTLE_US);
}

static void unwatch(struct far_hotplug_place *p)
{
    far_io_del(&p->io);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

/* The folder, or the nearest one above it that exists. */
static void watch(struct far_hotplug_place *p)
{
    struct far_devices *devices = p->hotplug->devices;
    char dir[PATH_MAX], *slash;
    const uint32_t mask = IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE |
                          IN_MOVED_FROM | IN_DELETE_SELF | IN_ONLYDIR;

    unwatch(p);
    p->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->fd >= 0)
        snprintf(dir, sizeof(dir), "%s", folder(p));
    while (p->fd >= 0 && inotify_add_watch(p->fd, dir, mask) < 0) {
        slash = strrchr(dir, '/');
        if (!slash || !strcmp(dir, "/"))
            unwatch(p);
        else
            slash[slash == dir] = '\0';
    }
    if (p->fd >= 0 && far_io_add(devices->loop, &p->io, p->fd, EPOLLIN, told))
        unwatch(p);
    if (p->fd < 0)
        far_log(devices->log, FAR_LOG_ERROR,
                "[hotplug %s]: %s can't be watched (%s): what is plugged in "
                "later is found at the next reload",
                p->name, folder(p), strerror(errno));
}

/* ---- configuration ---- */

void far_hotplug_init(struct far_hotplug *h, struct far_devices *devices)
{
    h->devices = devices;
}

static void drop_place(struct far_hotplug_place *p)
{
    while (p->nodes)
        remove_node(p, p->nodes);
    far_timer_cancel(&p->settle);
    unwatch(p);
    free(p);
}

/* Who may have it can change without a device being made anew. */
static bool same(const struct far_conf_section *a,
                 const struct far_conf_section *b)
{
    static const char *const keys[] = { "path", "match-name", "want", "grab" };

    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(far_conf_string(a, keys[i], ""),
                   far_conf_string(b, keys[i], "")))
            return false;
    return true;
}

static struct far_hotplug_place *place_of(struct far_hotplug *h,
                                          const struct far_conf_section *s)
{
    struct far_hotplug_place *p;

    for (p = h->places; p; p = p->next)
        if (!strcmp(p->name, s->name))
            return p;
    p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->hotplug = h;
    snprintf(p->name, sizeof(p->name), "%s", s->name);
    p->fd = p->io.fd = -1;
    far_timer_init(&p->settle, h->devices->loop, settled);
    p->next = h->places;
    h->places = p;
    return p;
}

static void refresh(struct far_hotplug_place *p)
{
    for (struct node *n = p->nodes; n; n = n->next) {
        struct far_device *d = far_device_find(p->hotplug->devices, n->name);

        n->section.file = p->section->file;
        if (d && d->section == &n->section)
            d->export = p->section;
    }
}

void far_hotplug_configure(struct far_hotplug *h, const struct far_conf *conf)
{
    struct far_hotplug_place *p, **at = &h->places;
    const struct far_conf_section *s;

    h->conf = conf;
    for (p = h->places; p; p = p->next) {
        s = far_conf_section(conf, "hotplug", p->name);
        p->keep = s && same(s, p->section);
        if (p->keep)
            p->section = s;
    }
    while ((p = *at)) {
        if (p->keep) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        drop_place(p);
    }
    for (s = conf->sections; s; s = s->next) {
        if (strcmp(s->kind, "hotplug") || !far_name_valid(s->name) ||
            far_any_is(s->name))
            continue;
        p = place_of(h, s);
        if (!p)
            continue;
        p->section = s;
        refresh(p);
        watch(p);
        look(p);
    }
}

void far_hotplug_free(struct far_hotplug *h)
{
    while (h->places) {
        struct far_hotplug_place *p = h->places;

        h->places = p->next;
        drop_place(p);
    }
}
