// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is wrong with farside.conf beyond single keys and values (those are
// core/conf-keys.c's, as are sections that name others): what stands in the
// files that it names.

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "netproxy/directory.h"
#include "netproxy/trust.h"
#include "tools/check.h"

struct judge {
    const struct far_conf *conf;
    far_conf_report *report;
    void *arg;
    unsigned problems;
};

static void problem(struct judge *j, unsigned line, unsigned column,
                    const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void problem(struct judge *j, unsigned line, unsigned column,
                    const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    j->problems++;
    j->report(j->arg, j->conf->file, line, column, text);
}

/* The platform's own key for a server; any key for listeners. */
static void judge_keys(struct judge *j, const struct far_conf_section *section,
                       const char *identity)
{
    const struct far_conf_entry *e = far_conf_entry(section, "psk-file", NULL);
    char line[1024], text[256];
    bool found = false, other = false;
    unsigned number = 0;
    struct stat st;
    FILE *file;

    if (!e || *e->value != '/')
        return;
    file = fopen(e->value, "re");
    if (!file) {
        problem(j, e->line, e->column,
                "%s can't be read: %s (farside trust psk makes keys)", e->value,
                strerror(errno));
        return;
    }
    if (!fstat(fileno(file), &st) && (st.st_mode & 0007))
        problem(j, e->line, e->column,
                "%s holds keys and can be read by everybody: chmod o= %s",
                e->value, e->value);
    while (fgets(line, sizeof(line), file)) {
        size_t n = strcspn(line, "\r\n");
        char *colon;
        size_t digits;

        number++;
        line[n] = '\0';
        if (!*line || *line == '#')
            continue;
        colon = strchr(line, ':');
        if (!colon) {
            snprintf(text, sizeof(text), "%s:%u: no IDENTITY:HEXKEY", e->value,
                     number);
            problem(j, e->line, e->column, "%s", text);
            continue;
        }
        *colon++ = '\0';
        digits = strspn(colon, "0123456789abcdefABCDEF");
        if (colon[digits] || digits % 2 || digits < 32) {
            problem(j, e->line, e->column,
                    "%s:%u: the key of '%s' is not at least 32 hexadecimal "
                    "digits, in pairs",
                    e->value, number, line);
            continue;
        }
        if (identity && !strcmp(line, identity))
            found = true;
        other = true;
    }
    fclose(file);
    if (identity && !found)
        problem(j, e->line, e->column,
                "%s has no key of '%s', which is what this platform calls "
                "itself; the other side makes one: farside trust psk %s",
                e->value, identity, identity);
    else if (!identity && !other)
        problem(j, e->line, e->column, "%s holds no key: nobody can connect",
                e->value);
}

/* Faults of the folder of trust are shown at [platform]. */
static void trust_fault(void *arg, const char *text)
{
    struct judge *j = arg;
    const struct far_conf_section *s =
        far_conf_section(j->conf, "platform", NULL);

    problem(j, s ? s->line : 1, 1, "%s", text);
}

static void judge_term(struct judge *j, const struct far_cert *cert, bool own)
{
    int64_t now_s = time(NULL);
    char text[200], date[16];

    if (!cert || cert->until_s - now_s >= FAR_CERT_WARN_S)
        return;
    snprintf(text, sizeof(text),
             "%s certificate (%s) %s on %s: farside trust "
             "renew%s",
             own ? "our" : "a", cert->platform,
             cert->until_s <= now_s ? "has expired" : "expires",
             far_date_format(date, cert->until_s), own ? "" : " there");
    trust_fault(j, text);
}

static bool has_file(const struct far_trust *trust, const char *name)
{
    char path[PATH_MAX];

    return far_trust_path(path, trust->dir, name) && !access(path, F_OK);
}

/* Where no psk-file is given, is there another proof of who one is? */
static void judge_proofs(struct judge *j, const struct far_trust *trust)
{
    const struct far_cert *own = far_trust_own(trust);
    char name[FAR_NAME_BYTES + 16];

    for (const struct far_conf_section *s = j->conf->sections; s; s = s->next) {
        if (far_conf_entry(s, "psk-file", NULL) ||
            far_conf_bool(s, "clear-text", false))
            continue;
        snprintf(name, sizeof(name), "psk/server-%s", s->name);
        if (!strcmp(s->kind, "server") && !has_file(trust, name) &&
            !(own && far_trust_peer(trust, s->name)))
            problem(j, s->line, 1,
                    "[server %s]: %s (farside trust %s), and there is no key "
                    "that we share",
                    s->name,
                    own ? "its certificate is not installed in our trust"
                        : "we have no certificate",
                    own ? "install" : "init");
        if (!strcmp(s->kind, "listen") && !own &&
            !has_file(trust, "psk/clients"))
            problem(j, s->line, 1,
                    "[listen]: nobody can be let in: there is neither a "
                    "certificate of ours nor a key (farside trust init)");
    }
}

static void judge_trust(struct judge *j, const char *self)
{
    struct far_error error = { 0 };
    struct far_trust *trust;
    char dir[PATH_MAX];

    far_trust_folder(dir, j->conf, j->conf->file);
    trust = far_trust_read(dir, self, trust_fault, j, &error);
    if (!trust) {
        trust_fault(j, error.text);
        return;
    }
    judge_term(j, far_trust_own(trust), true);
    for (unsigned i = 0; i < trust->peers.count; i++) {
        const struct far_cert *c = &trust->peers.certs[i];

        if (c == far_trust_peer(trust, c->platform))
            judge_term(j, c, false);
    }
    judge_proofs(j, trust);
    far_trust_drop(trust);
}

static void judge_file(struct judge *j, const struct far_conf_section *section)
{
    const struct far_conf_entry *e = far_conf_entry(section, "file", NULL);

    if (strcmp(far_conf_string(section, "type", ""), "replay"))
        return;
    if (e && *e->value == '/' && access(e->value, R_OK))
        problem(j, e->line, e->column, "%s can't be read: %s", e->value,
                strerror(errno));
}

static void judge_durable(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_entry *at;
    char text[400];

    if (far_check_forgets(j->conf, s, &at, text, sizeof(text)))
        problem(j, at ? at->line : s->line, at ? at->column : 1, "%s", text);
}

/* What a person has asked for by name, and should see each time. */
static void judge_clear(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_entry *e = far_conf_entry(s, "clear-text", NULL);
    bool listens = !strcmp(s->kind, "listen");

    if (!far_conf_bool(s, "clear-text", false)) {
        e = far_conf_entry(s, "clear-address", NULL);
        if (e)
            problem(j, e->line, 1,
                    "nothing listens there: clear-text is not on");
        return;
    }
    problem(j, e->line, e->column,
            "IN CLEAR TEXT: anybody on the way can read and change all that "
            "goes over %s, and %s",
            listens ? "clear-address" : "this link",
            listens ? "be any platform that clear-text-allow names"
                    : "be that platform");
    if (listens && (!far_conf_entry(s, "clear-address", NULL) ||
                    !far_conf_entry(s, "clear-text-allow", NULL)))
        problem(j, e->line, 1,
                "clear-text wants a clear-address, and clear-text-allow with "
                "the platforms that may come there");
}

static void directory_fault(void *arg, const char *file, unsigned line,
                            unsigned column, const char *text)
{
    struct judge *j = arg;

    j->problems++;
    j->report(j->arg, file, line, column, text);
}

static void judge_directory(struct judge *j, const struct far_conf_section *s,
                            const char *self)
{
    const struct far_conf_entry *e = far_conf_entry(s, "file", NULL);
    struct far_directory_entry *entries;
    unsigned count, i;

    if (!e || *e->value != '/')
        return;
    entries = far_directory_read(e->value, &count, directory_fault, j);
    for (i = 0; entries && i < count; i++) {
        const struct far_standby_place *at = &entries[i].place;

        if (!far_conf_section(j->conf, "server", at->platform) &&
            (!self || strcmp(at->platform, self)))
            problem(j, e->line, e->column,
                    "%s: %s is at %s/%s, and there is no [server %s]", e->value,
                    entries[i].name, at->platform, at->device, at->platform);
    }
    free(entries);
}

unsigned far_check_conf(const struct far_conf *conf, far_conf_report *report,
                        void *arg)
{
    struct judge j = { .conf = conf, .report = report, .arg = arg };
    const char *self =
        far_conf_string(far_conf_section(conf, "platform", NULL), "name", NULL);

    for (const struct far_conf_section *s = conf->sections; s; s = s->next) {
        if (!strcmp(s->kind, "device")) {
            judge_file(&j, s);
            judge_durable(&j, s);
        } else if (!strcmp(s->kind, "directory")) {
            judge_directory(&j, s, self);
        } else if (!strcmp(s->kind, "server")) {
            if (self && !strcmp(s->name, self))
                problem(&j, s->line, 1,
                        "[server %s] is this platform itself: its devices "
                        "need no server",
                        s->name);
            judge_keys(&j, s, self);
            judge_clear(&j, s);
        } else if (!strcmp(s->kind, "listen")) {
            judge_keys(&j, s, NULL);
            judge_clear(&j, s);
        }
    }
    judge_trust(&j, self);
    return j.problems;
}
