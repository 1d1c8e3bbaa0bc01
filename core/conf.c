/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The reader of farside.conf: lines into sections and entries, with places.
 * What the sections and keys mean is said in core/conf-keys.c, what the values
 * mean in core/conf-values.c.
 */
#include "core/conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct far_conf *conf;
    struct far_conf_section *section, **section_tail;
    struct far_conf_entry **entry_tail;
    const char *begin; /* of the line */
    unsigned line, problems;
    bool skipping; /* a section that can't be named: its keys are not judged */
    far_conf_report *report;
    void *arg;
};

static void __attribute__((format(printf, 3, 4)))
problem(struct reader *r, const char *at, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    r->problems++;
    if (r->report)
        r->report(r->arg, r->conf->file, r->line, (unsigned)(at - r->begin) + 1,
                  text);
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static const char *skip(const char *p, const char *end)
{
    while (p < end && blank(*p))
        p++;
    return p;
}

static const char *trim(const char *begin, const char *end)
{
    while (end > begin && blank(end[-1]))
        end--;
    return end;
}

/* A comment begins at a # that begins the line or stands behind a blank, and
 * not in quotes. */
static const char *before_comment(const char *p, const char *end)
{
    bool quoted = false;

    for (const char *c = p; c < end; c++) {
        if (*c == '"')
            quoted = !quoted;
        if (*c == '#' && !quoted && (c == p || blank(c[-1])))
            return c;
    }
    return end;
}

static bool read_section(struct reader *r, const char *p, const char *end)
{
    const char *close = memchr(p, ']', (size_t)(end - p));
    const char *kind = skip(p + 1, end), *kind_end, *name, *name_end;
    struct far_conf_section *s;

    r->skipping = true;
    if (!close) {
        problem(r, end, "] is missing: a section is [KIND] or [KIND NAME]");
        return true;
    }
    if (close + 1 != end) {
        problem(r, skip(close + 1, end), "nothing may stand behind ]");
        return true;
    }
    for (kind_end = kind; kind_end < close && !blank(*kind_end);)
        kind_end++;
    name = skip(kind_end, close);
    name_end = trim(name, close);
    if (kind == kind_end) {
        problem(r, kind, "the section has no kind: [KIND] or [KIND NAME]");
        return true;
    }
    s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    *r->section_tail = s;
    r->section_tail = &s->next;
    r->section = s;
    r->entry_tail = &s->entries;
    s->kind = strndup(kind, (size_t)(kind_end - kind));
    s->name = strndup(name, (size_t)(name_end - name));
    s->line = r->line;
    s->file = r->conf->file;
    r->skipping = false;
    return s->kind && s->name;
}

static bool read_entry(struct reader *r, const char *p, const char *end)
{
    const char *equals = memchr(p, '=', (size_t)(end - p));
    const char *key_end, *value;
    struct far_conf_entry *e;

    if (!equals) {
        problem(r, p, "neither [SECTION] nor KEY = VALUE nor # comment");
        return true;
    }
    key_end = trim(p, equals);
    value = skip(equals + 1, end);
    if (key_end == p) {
        problem(r, p, "there is no key before =");
        return true;
    }
    if (!r->section && !r->skipping) {
        problem(r, p, "key before the first [SECTION]");
        return true;
    }
    if (r->skipping)
        return true;
    if (value < end && *value == '"') {
        if (end - value < 2 ||
            memchr(value + 1, '"', (size_t)(end - value - 1)) != end - 1) {
            problem(r, value, "a value that begins with \" must end with it");
            return true;
        }
        value++, end--;
    }
    e = calloc(1, sizeof(*e));
    if (!e)
        return false;
    *r->entry_tail = e;
    r->entry_tail = &e->next;
    e->key = strndup(p, (size_t)(key_end - p));
    e->value = strndup(value, (size_t)(end - value));
    e->line = r->line;
    e->column = (unsigned)(value - r->begin) + 1;
    return e->key && e->value;
}

static bool read_line(struct reader *r, const char *end)
{
    const char *p = r->begin;

    if (end > p && end[-1] == '\r')
        end--;
    for (const char *c = p; c < end; c++)
        if ((unsigned char)*c < 0x20 && *c != '\t') {
            problem(r, c, "character 0x%02x can't stand here",
                    (unsigned char)*c);
            return true;
        }
    p = skip(p, end);
    end = trim(p, before_comment(p, end));
    if (p == end)
        return true;
    return *p == '[' ? read_section(r, p, end) : read_entry(r, p, end);
}

struct far_conf *far_conf_parse(const char *file, const char *text,
                                size_t bytes, far_conf_report *report,
                                void *arg, unsigned *problems)
{
    struct far_conf *conf = calloc(1, sizeof(*conf));
    struct reader r = { .conf = conf, .report = report, .arg = arg };
    const char *end = text + bytes;
    bool ok = conf && (conf->file = strdup(file));

    if (ok)
        r.section_tail = &conf->sections;
    for (r.begin = text; ok && r.begin < end; r.begin++) {
        const char *stop = memchr(r.begin, '\n', (size_t)(end - r.begin));

        r.line++;
        ok = read_line(&r, stop ? stop : end);
        r.begin = stop ? stop : end;
    }
    if (problems)
        *problems += r.problems;
    if (ok)
        return conf;
    far_conf_free(conf);
    return NULL;
}
