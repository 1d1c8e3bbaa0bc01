// SPDX-License-Identifier: GPL-2.0-or-later
//
// Judges the vkb lines of a guest's xl config. xl itself says little: it
// splits lines at commas, takes what is no number for 0, and gives a line of
// the wrong shape no device. The reader here knows xl's syntax just as far as
// is needed to find strings in lists, with their lines and columns.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "tools/check.h"
#include "tools/vkb.h"

struct reader {
    const char *file;
    const char *at, *end;
    const char *line_begin;
    unsigned line;
    const struct far_conf *conf;
    far_conf_report *report;
    void *arg;
    unsigned problems;
};

/* A place in the text; strings of xl end in the line that they begin in. */
struct place {
    unsigned line, column;
};

static struct place here(const struct reader *r)
{
    return (struct place){ r->line, (unsigned)(r->at - r->line_begin) + 1 };
}

static void problem(struct reader *r, struct place p, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void problem(struct reader *r, struct place p, const char *format, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    r->problems++;
    r->report(r->arg, r->file, p.line, p.column, text);
}

static void newline(struct reader *r)
{
    r->line++;
    r->line_begin = r->at;
}

/* Blanks and comments; line ends too, if lines. */
static void skip(struct reader *r, bool lines)
{
    while (r->at < r->end) {
        if (*r->at == ' ' || *r->at == '\t' || *r->at == '\r') {
            r->at++;
        } else if (*r->at == '#') {
            while (r->at < r->end && *r->at != '\n')
                r->at++;
        } else if (lines && *r->at == '\n') {
            r->at++;
            newline(r);
        } else {
            break;
        }
    }
}

static void skip_line(struct reader *r)
{
    while (r->at < r->end && *r->at != '\n')
        r->at++;
}

/* At a quote: the text between, without its escapes resolved (none is of use
 * in a device line). false: no closing quote in this line, reported. */
static bool string(struct reader *r, const char **begin, size_t *bytes,
                   struct place *place)
{
    struct place opened = here(r);
    char quote = *r->at++;

    *begin = r->at;
    *place = here(r);
    while (r->at < r->end && *r->at != '\n' && *r->at != quote)
        r->at +=
            *r->at == '\\' && r->at + 1 < r->end && r->at[1] != '\n' ? 2 : 1;
    *bytes = (size_t)(r->at - *begin);
    if (r->at >= r->end || *r->at != quote) {
        problem(r, opened, "this quote is not closed in its line");
        skip_line(r);
        return false;
    }
    r->at++;
    return true;
}

/* The keys of one vkb line, for what depends on others. */
struct line {
    bool backend_type, unique_id, multi_touch;
    bool multi_touch_width, multi_touch_height, multi_touch_contacts;
};

static const char *nearest_section(const struct far_conf *conf,
                                   const char *kind, const char *name)
{
    const char *names[64];
    size_t n = 0;

    for (const struct far_conf_section *s = conf->sections; s && n < 63;
         s = s->next)
        if (!strcmp(s->kind, kind))
            names[n++] = s->name;
    names[n] = NULL;
    return far_nearest(name, names);
}

static void look_up(struct reader *r, struct place p, const char *kind,
                    const char *what, const char *name)
{
    const char *nearest;

    if (far_conf_section(r->conf, kind, name))
        return;
    nearest = nearest_section(r->conf, kind, name);
    problem(r, p,
            "%s has no [%s %s], and no key will come until %s is "
            "there%s%s%s",
            r->conf->file, kind, name, what, nearest ? "; did you mean \"" : "",
            nearest ? nearest : "", nearest ? "\"?" : "");
}

static void judge_address(struct reader *r, struct place p, const char *value)
{
    struct far_address address;
    const char *self;

    if (!r->conf || far_address_parse(&address, value, NULL))
        return;
    self = far_conf_string(far_conf_section(r->conf, "platform", NULL), "name",
                           "");
    if (!*address.platform || !strcmp(address.platform, self)) {
        look_up(r, p, "device", "the device", address.device);
        return;
    }
    if (!strcmp(address.platform, ".directory")) {
        if (!far_conf_section(r->conf, "directory", ""))
            problem(r, p,
                    "%s has no [directory], which would say at which server "
                    "%s is",
                    r->conf->file, address.device);
        return;
    }
    look_up(r, p, "server", "the server", address.platform);
    if (*address.standby)
        look_up(r, p, "server", "the standby", address.standby);
}

static void judge_pair(struct reader *r, struct place p, const char *text,
                       size_t bytes, struct line *line)
{
    const char *equals = memchr(text, '=', bytes);
    const struct far_vkb_key *key;
    char name[64], value[192], why[320];
    size_t n;
    struct place at_value = p;

    if (!equals) {
        problem(r, p,
                "'%.*s' is no KEY=VALUE; xl splits device lines at commas: "
                "none may stand in an address or a name",
                (int)(bytes < 64 ? bytes : 64), text);
        return;
    }
    n = (size_t)(equals - text);
    snprintf(name, sizeof(name), "%.*s", (int)(n < 63 ? n : 63), text);
    snprintf(value, sizeof(value), "%.*s",
             (int)(bytes - n - 1 < 191 ? bytes - n - 1 : 191), equals + 1);
    at_value.column += (unsigned)n + 1;

    key = far_vkb_key(name);
    if (!key) {
        const char *nearest = far_vkb_nearest(name);

        if (n && (name[n - 1] == ' ' || name[n - 1] == '\t'))
            problem(r, p, "no blank may stand before the '=' of '%s'", name);
        else
            problem(r, p, "vkb lines have no key '%s'%s%s%s", name,
                    nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                    nearest ? "\"?" : "");
        return;
    }
    line->backend_type |= key->kind == FAR_VKB_BACKEND_TYPE;
    line->unique_id |= key->kind == FAR_VKB_ADDRESS;
    line->multi_touch |=
        !strcmp(name, "feature-multi-touch") && !strcmp(value, "1");
    line->multi_touch_width |= !strcmp(name, "multi-touch-width");
    line->multi_touch_height |= !strcmp(name, "multi-touch-height");
    line->multi_touch_contacts |= !strcmp(name, "multi-touch-num-contacts");

    if (*value && (value[strlen(value) - 1] == ' ' || *value == ' ')) {
        problem(r, at_value,
                "blanks round a value belong to it, for xl: '%s' is not what "
                "was meant",
                value);
        return;
    }
    if (!far_vkb_value_ok(key, value, why, sizeof(why))) {
        problem(r, at_value, "%s", why);
        return;
    }
    if (far_vkb_is_dangerous(name, value))
        problem(r, p, "%s=%s %s", name, value, FAR_VKB_DANGER);
    if (key->kind == FAR_VKB_ADDRESS)
        judge_address(r, at_value, value);
}

static void judge_line(struct reader *r, struct place p, const char *text,
                       size_t bytes)
{
    struct line line = { 0 };
    const char *end = text + bytes;
    struct place at = p;

    while (text < end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t n = (size_t)((comma ? comma : end) - text);
        size_t blanks = 0;

        while (blanks < n && text[blanks] == ' ')
            blanks++;
        if (n > blanks) {
            struct place pair = { at.line, at.column + (unsigned)blanks };

            judge_pair(r, pair, text + blanks, n - blanks, &line);
        }
        n += comma ? 1 : 0;
        at.column += (unsigned)n;
        text += n;
    }
    if (!line.backend_type)
        problem(r, p,
                "backend-type is missing: xl refuses the line, and what has "
                "none is QEMU's; add backend-type=linux");
    if (!line.unique_id)
        problem(r, p,
                "unique-id is missing: it is the address of the device, "
                "DEVICE or PLATFORM/DEVICE; Farside refuses a device without "
                "one");
    if ((line.multi_touch || line.multi_touch_width ||
         line.multi_touch_height || line.multi_touch_contacts) &&
        !(line.multi_touch_width && line.multi_touch_height &&
          line.multi_touch_contacts))
        problem(r, p,
                "multi-touch wants all of multi-touch-width, "
                "multi-touch-height and multi-touch-num-contacts");
}

/* After "vkb =". */
static void vkb(struct reader *r)
{
    const char *text;
    size_t bytes;
    struct place p;

    skip(r, false);
    if (r->at >= r->end || *r->at != '[') {
        problem(r, here(r),
                "vkb is a list; without brackets xl makes no device: "
                "vkb = [ '...' ]");
        skip_line(r);
        return;
    }
    p = here(r);
    r->at++;
    for (;;) {
        skip(r, true);
        if (r->at >= r->end) {
            problem(r, p, "this '[' is not closed");
            return;
        }
        if (*r->at == ']') {
            r->at++;
            return;
        }
        if (*r->at == ',') {
            r->at++;
            continue;
        }
        if (*r->at != '\'' && *r->at != '"') {
            problem(r, here(r), "a vkb line is a string in quotes, not this");
            skip_line(r);
            continue;
        }
        if (string(r, &text, &bytes, &p))
            judge_line(r, p, text, bytes);
    }
}

/* Any other value: brackets may go over lines. */
static void other(struct reader *r)
{
    unsigned depth = 0;
    const char *text;
    size_t bytes;
    struct place p, opened = here(r);

    for (;;) {
        skip(r, depth > 0);
        if (r->at >= r->end) {
            if (depth)
                problem(r, opened, "this '[' is not closed");
            return;
        }
        switch (*r->at) {
        case '\n':
        case ';':
            if (!depth)
                return;
            r->at++;
            break;
        case '[':
            if (!depth++)
                opened = here(r);
            r->at++;
            break;
        case ']':
            depth -= depth > 0;
            r->at++;
            break;
        case '\'':
        case '"':
            if (!string(r, &text, &bytes, &p) && !depth)
                return;
            break;
        default:
            r->at++;
        }
    }
}

unsigned far_check_xl(const char *file, const char *text, size_t bytes,
                      const struct far_conf *conf, far_conf_report *report,
                      void *arg)
{
    struct reader r = {
        .file = file,
        .at = text,
        .end = text + bytes,
        .line_begin = text,
        .line = 1,
        .conf = conf,
        .report = report,
        .arg = arg,
    };

    for (;;) {
        struct place p;
        const char *name;
        size_t n;

        skip(&r, true);
        if (r.at < r.end && *r.at == ';') {
            r.at++;
            continue;
        }
        if (r.at >= r.end)
            return r.problems;
        p = here(&r);
        name = r.at;
        while (r.at < r.end &&
               ((*r.at >= 'a' && *r.at <= 'z') ||
                (*r.at >= '0' && *r.at <= '9') || *r.at == '_' || *r.at == '.'))
            r.at++;
        n = (size_t)(r.at - name);
        if (!n) {
            problem(&r, p,
                    "a setting begins with its name in small letters, as in "
                    "vkb = [ ... ]");
            skip_line(&r);
            continue;
        }
        skip(&r, false);
        if (r.at < r.end && *r.at == '+')
            r.at++;
        if (r.at >= r.end || *r.at != '=') {
            problem(&r, here(&r), "'=' is missing behind '%.*s'",
                    (int)(n < 64 ? n : 64), name);
            skip_line(&r);
            continue;
        }
        r.at++;
        if (n == 3 && !memcmp(name, "vkb", 3)) {
            vkb(&r);
        } else {
            if (n == 4 && !memcmp(name, "vkbd", 4))
                problem(&r, p, "xl ignores 'vkbd'; meant: vkb");
            other(&r);
        }
    }
}

bool far_check_is_conf(const char *text, size_t bytes)
{
    struct reader r = {
        .at = text, .end = text + bytes, .line_begin = text, .line = 1
    };

    skip(&r, true);
    return r.at < r.end && *r.at == '[';
}
