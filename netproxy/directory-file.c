/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A directory that is a file: in the form of farside.conf, a section
 * [name NAME] for each, and in it a line `at = PLATFORM/DEVICE` for each
 * server.
 */
#include <stdio.h>
#include <stdlib.h>
#include "core/any.h"
#include "netproxy/directory.h"

struct reading {
    far_conf_report *report;
    void *arg;
    unsigned problems;
};

static void problem(void *arg, const char *file, unsigned line, unsigned column,
                    const char *text)
{
    struct reading *r = arg;

    r->problems++;
    if (r->report)
        r->report(r->arg, file, line, column, text);
}

static void read_name(struct reading *r, const struct far_conf *conf,
                      const struct far_conf_section *s,
                      struct far_directory_entry *entries, unsigned *count)
{
    const struct far_conf_entry *e;
    unsigned places = 0;

    if (strcmp(s->kind, "name") || !far_name_valid(s->name) ||
        s->name[0] == '.') {
        problem(r, s->file, s->line, 1,
                "a directory has sections [name NAME] only");
        return;
    }
    if (far_conf_section(conf, "name", s->name) != s)
        problem(r, s->file, s->line, 1, "this name stands above already");
    for (e = s->entries; e; e = e->next) {
        struct far_directory_entry *entry = &entries[*count];
        struct far_address at;
        struct far_error error;

        if (strcmp(e->key, "at")) {
            problem(r, s->file, e->line, 1,
                    "a name has keys \"at\" only: at = PLATFORM/DEVICE");
        } else if (far_address_parse(&at, e->value, &error)) {
            problem(r, s->file, e->line, e->column, error.text);
        } else if (!at.platform[0] || at.standby[0] ||
                   far_any_is(at.platform)) {
            problem(r, s->file, e->line, e->column,
                    "one server's device is meant: at = PLATFORM/DEVICE");
        } else if (places == FAR_STANDBY_PLACES ||
                   *count == FAR_DIRECTORY_ENTRIES) {
            problem(r, s->file, e->line, 1,
                    "a name is at 8 servers at most, a directory has 4096 "
                    "entries");
            return;
        } else {
            memset(entry, 0, sizeof(*entry));
            memcpy(entry->name, s->name, strlen(s->name));
            memcpy(entry->place.platform, at.platform, sizeof(at.platform));
            memcpy(entry->place.device, at.device, sizeof(at.device));
            ++*count;
            places++;
        }
    }
    if (!places)
        problem(r, s->file, s->line, 1, "this name is at no server");
}

struct far_directory_entry *far_directory_read(const char *file,
                                               unsigned *count,
                                               far_conf_report *report,
                                               void *arg)
{
    struct reading r = { .report = report, .arg = arg };
    struct far_directory_entry *entries;
    struct far_error error = { 0 };
    struct far_conf *conf;
    unsigned syntax = 0;

    *count = 0;
    conf = far_conf_read(file, problem, &r, &syntax, &error);
    if (!conf) {
        problem(&r, file, 0, 0, error.text);
        return NULL;
    }
    entries = malloc(FAR_DIRECTORY_ENTRIES * sizeof(*entries));
    for (struct far_conf_section *s = conf->sections; s && entries; s = s->next)
        read_name(&r, conf, s, entries, count);
    far_conf_free(conf);
    if (!entries || r.problems) {
        free(entries);
        return NULL;
    }
    return realloc(entries, (*count + 1) * sizeof(*entries));
}
