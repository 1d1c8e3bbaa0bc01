// SPDX-License-Identifier: GPL-2.0-or-later
//
// Judges the vkb and vdispl lines of a guest's xl config, and its disk lines
// that are Farside's. xl itself says little: it splits lines at commas, takes
// what is no number for 0, and gives a line of the wrong shape no device. The
// reader here knows xl's syntax just as far as is needed to find strings in
// lists, with their lines and columns.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "core/display.h"
#include "tools/check.h"
#include "tools/vbd.h"
#include "tools/vkb.h"

/* A place in the text; strings of xl end in the line that they begin in. */
struct place {
    unsigned line, column;
};

struct reader {
    const char *file;
    const char *at, *end;
    const char *line_begin;
    unsigned line;
    const struct far_conf *conf;
    far_conf_report *report;
    void *arg;
    unsigned problems;
    char type[8];       /* of the guest: pv, pvh, hvm */
    struct place cdrom; /* the first one that is Farside's; line 0: none */
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
            "%s has no [%s %s], and the line is of no use until %s is "
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

/* ID:WIDTHxHEIGHT of a vdispl line's connectors. */
static void judge_connector(struct reader *r, struct place p, const char *text,
                            size_t bytes)
{
    char one[256], rest;
    unsigned width = 0, height = 0;
    struct far_address address;
    struct far_error why;
    char *colon;

    snprintf(one, sizeof(one), "%.*s", (int)(bytes < 255 ? bytes : 255), text);
    colon = strchr(one, ':');
    if (!colon || sscanf(colon, ":%ux%u%c", &width, &height, &rest) != 2 ||
        !far_display_size_valid(width, height)) {
        problem(r, p,
                "a connector is DEVICE:WIDTHxHEIGHT, as screen0:1280x800; "
                "'%.60s' is none that a screen can be",
                one);
        return;
    }
    *colon = '\0';
    if (far_address_parse(&address, one, &why))
        problem(r, p, "%s", why.text);
    else
        judge_address(r, p, one);
}

static void judge_vdispl(struct reader *r, struct place p, const char *text,
                         size_t bytes)
{
    static const char key[] = "connectors=";
    const char *end = text + bytes;
    unsigned connectors = 0;
    struct place at = p;

    while (text < end) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        const char *word = text, *stop = comma ? comma : end;

        while (word < stop && *word == ' ')
            word++;
        at.column = p.column + (unsigned)(word - (end - bytes));
        if ((size_t)(stop - word) > sizeof(key) - 1 &&
            !memcmp(word, key, sizeof(key) - 1)) {
            word += sizeof(key) - 1;
            while (word < stop) {
                const char *semicolon =
                    memchr(word, ';', (size_t)(stop - word));
                size_t n = (size_t)((semicolon ? semicolon : stop) - word);

                at.column = p.column + (unsigned)(word - (end - bytes));
                judge_connector(r, at, word, n);
                connectors++;
                word += n + (semicolon != NULL);
            }
        } else if (word < stop && strncmp(word, "backend=", 8) &&
                   strncmp(word, "be-alloc=", 9)) {
            problem(r, at,
                    "vdispl lines have no '%.*s'; they know backend, be-alloc "
                    "and connectors",
                    (int)(stop - word < 40 ? stop - word : 40), word);
        }
        text = comma ? comma + 1 : end;
    }
    if (!connectors)
        problem(r, p,
                "connectors is missing: which screens the guest has, as "
                "connectors=DEVICE:WIDTHxHEIGHT");
}

/* One disk line. Those of others are not Farside's to judge. */
struct disk {
    bool ours, vdev, target, cdrom;
    struct place target_at;
    char address[192];
};

static void judge_word(struct reader *r, struct place p, const char *text,
                       size_t bytes, struct disk *disk, bool report)
{
    const char *equals = memchr(text, '=', bytes);
    size_t n = equals ? (size_t)(equals - text) : bytes;
    char name[64], value[192] = "", why[320];

    snprintf(name, sizeof(name), "%.*s", (int)(n < 63 ? n : 63), text);
    if (equals)
        snprintf(value, sizeof(value), "%.*s",
                 (int)(bytes - n - 1 < 191 ? bytes - n - 1 : 191), equals + 1);
    if (equals && !strcmp(name, "script"))
        disk->ours |= far_vbd_is_script(value);
    disk->vdev |= equals ? !strcmp(name, "vdev") : far_vbd_is_vdev(name);
    disk->cdrom |= equals ? !strcmp(name, "devtype") && !strcmp(value, "cdrom")
                          : !strcmp(name, "cdrom");
    if (equals && !strcmp(name, "target")) {
        disk->target = true;
        disk->target_at = p;
        disk->target_at.column += (unsigned)n + 1;
        memcpy(disk->address, value, sizeof(value));
    }
    if (report &&
        !far_vbd_word_ok(name, equals ? value : NULL, why, sizeof(why)))
        problem(r, p, "%s", why);
}

static void each_word(struct reader *r, struct place p, const char *text,
                      size_t bytes, struct disk *disk, bool report)
{
    const char *end = text + bytes;

    while (text < end) {
        const char *comma;

        if (*text == ' ') {
            p.column++;
            text++;
            continue;
        }
        /* the rest of the line, with commas and all */
        comma = end - text > 7 && !memcmp(text, "target=", 7)
                    ? NULL
                    : memchr(text, ',', (size_t)(end - text));
        if (comma != text)
            judge_word(r, p, text, (size_t)((comma ? comma : end) - text), disk,
                       report);
        p.column += (unsigned)((comma ? comma + 1 : end) - text);
        text = comma ? comma + 1 : end;
    }
}

static void judge_disk(struct reader *r, struct place p, const char *text,
                       size_t bytes)
{
    struct disk disk = { 0 };
    struct far_address address;
    struct far_error error;

    each_word(r, p, text, bytes, &disk, false);
    if (!disk.ours)
        return;
    each_word(r, p, text, bytes, &disk, true);
    if (!disk.vdev)
        problem(r, p,
                "vdev is missing: the guest's name of the disk, as "
                "vdev=xvda");
    if (!disk.target)
        problem(r, p,
                "target is missing: it is the address of the device, "
                "target=DEVICE or target=PLATFORM/DEVICE, and the last word of "
                "the line");
    else if (strchr(disk.address, ','))
        problem(r, disk.target_at,
                "target takes the rest of the line: put it last");
    else if (far_address_parse(&address, disk.address, &error))
        problem(r, disk.target_at, "%s", error.text);
    else
        judge_address(r, disk.target_at, disk.address);
    if (disk.cdrom && !r->cdrom.line)
        r->cdrom = p;
}

/* One string of a vsnd list: a card, a pcm or a stream, each "KIND, KEY=VALUE,
 * …". xl says of a wrong one that it is wrong, but not why. */
static void judge_sound(struct reader *r, struct place p, const char *text,
                        size_t bytes)
{
    char copy[512], *word, *save = NULL;
    bool first = true, stream = false, named = false, typed = false;
    struct far_address address;
    struct far_error error;

    snprintf(copy, sizeof(copy), "%.*s", (int)(bytes < 511 ? bytes : 511),
             text);
    for (word = strtok_r(copy, ",", &save); word;
         word = strtok_r(NULL, ",", &save), first = false) {
        struct place here_p = p;
        char *value;

        word += strspn(word, " ");
        word[strcspn(word, " ")] = '\0';
        here_p.column += (unsigned)(word - copy);
        value = strchr(word, '=');
        if (value)
            *value++ = '\0';
        if (first) {
            stream = !strcmp(word, "stream");
            if (!stream && strcmp(word, "card") && strcmp(word, "pcm"))
                problem(r, here_p,
                        "a string of a vsnd list begins with card, pcm or "
                        "stream, and not with \"%.40s\"",
                        word);
        } else if (value && stream && !strcmp(word, "type")) {
            typed = true;
            if (strcasecmp(value, "p") && strcasecmp(value, "c"))
                problem(r, here_p,
                        "type is p (it plays) or c (it records), and not "
                        "\"%.40s\"",
                        value);
        } else if (value && stream && !strcmp(word, "unique-id")) {
            named = true;
            here_p.column += (unsigned)(value - word);
            if (far_address_parse(&address, value, &error))
                problem(r, here_p, "%s", error.text);
            else
                judge_address(r, here_p, value);
        } else if (stream && !strcmp(word, "id")) {
            problem(r, here_p, "xl knows no id of a stream; meant: unique-id");
        }
    }
    if (stream && !named)
        problem(r, p,
                "unique-id is missing: it is the address of the device, "
                "unique-id=DEVICE or unique-id=PLATFORM/DEVICE; without it the "
                "stream is silent");
    if (stream && !typed)
        problem(r, p, "type is missing: type=p (it plays) or type=c");
}

/* After "NAME =": a list of strings. */
static void list(struct reader *r, const char *name,
                 void (*judge)(struct reader *, struct place, const char *,
                               size_t))
{
    const char *text;
    size_t bytes;
    struct place p;

    skip(r, false);
    if (r->at >= r->end || *r->at != '[') {
        problem(r, here(r),
                "%s is a list; without brackets xl makes no device: "
                "%s = [ '...' ]",
                name, name);
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
            problem(r, here(r), "a %s line is a string in quotes, not this",
                    name);
            skip_line(r);
            continue;
        }
        if (string(r, &text, &bytes, &p))
            judge(r, p, text, bytes);
    }
}

/* After "type =" */
static void guest_type(struct reader *r)
{
    const char *text;
    size_t bytes;
    struct place p;

    skip(r, false);
    if (r->at < r->end && (*r->at == '\'' || *r->at == '"') &&
        string(r, &text, &bytes, &p))
        snprintf(r->type, sizeof(r->type), "%.*s", (int)(bytes < 7 ? bytes : 7),
                 text);
}

/* Any other value: brackets may go over lines. judge: each string in it; NULL:
 * nobody. */
static void other(struct reader *r, void (*judge)(struct reader *, struct place,
                                                  const char *, size_t))
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
            if (!string(r, &text, &bytes, &p)) {
                if (!depth)
                    return;
            } else if (judge) {
                judge(r, p, text, bytes);
            }
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
            break;
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
            list(&r, "vkb", judge_line);
        } else if (n == 4 && !memcmp(name, "disk", 4)) {
            list(&r, "disk", judge_disk);
        } else if (n == 6 && !memcmp(name, "vdispl", 6)) {
            list(&r, "vdispl", judge_vdispl);
        } else {
            if (n == 4 && !memcmp(name, "type", 4))
                guest_type(&r);
            if (n == 4 && !memcmp(name, "vkbd", 4))
                problem(&r, p, "xl ignores 'vkbd'; meant: vkb");
            other(&r, n == 4 && !memcmp(name, "vsnd", 4) ? judge_sound : NULL);
        }
    }
    if (r.cdrom.line && !strcmp(r.type, "pvh"))
        problem(&r, r.cdrom,
                "PVH guests refuse CD-ROMs; a disk with access=ro shows them "
                "the same");
    return r.problems;
}

bool far_check_is_conf(const char *text, size_t bytes)
{
    struct reader r = {
        .at = text, .end = text + bytes, .line_begin = text, .line = 1
    };

    skip(&r, true);
    return r.at < r.end && *r.at == '[';
}
