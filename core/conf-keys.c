/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The table of all sections and keys of farside.conf, and the judge of a
 * configuration by it. A problem says where, what is wrong and what was meant.
 */
#include "core/conf-keys.h"
#include "core/conf.h"
#include "core/intc.h"
#include "core/op.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct far_conf_kind_of_section far_conf_section_kinds[] = {
    { "platform", false, false },  { "listen", false, true },
    { "server", true, true },      { "device", true, true },
    { "export", true, true },      { "hotplug", true, true },
    { "guest", true, true },       { "relay", true, true },
    { "directory", false, false }, { NULL, false, false },
};

/* clang-format off */
const struct far_conf_key far_conf_keys[] = {
    { .section = "platform", .key = "name", .kind = FAR_CONF_NAME,
      .required = true },
    { .section = "platform", .key = "release-after", .kind = FAR_CONF_TIME },
    { .section = "platform", .key = "spin", .kind = FAR_CONF_BOOL },
    { .section = "platform", .key = "stale", .kind = FAR_CONF_TIME },
    { .section = "platform", .key = "standby-after", .kind = FAR_CONF_TIME },
    { .section = "platform", .key = "times", .kind = FAR_CONF_NUMBER,
      .min = 0, .max = 65536 },
    { .section = "platform", .key = "trust", .kind = FAR_CONF_PATH },

    { .section = "listen", .key = "address", .kind = FAR_CONF_ADDRESS,
      .required = true, .repeat = true },
    { .section = "listen", .key = "psk-file", .kind = FAR_CONF_PATH },
    { .section = "listen", .key = "clear-text", .kind = FAR_CONF_BOOL },
    { .section = "listen", .key = "clear-address", .kind = FAR_CONF_ADDRESS,
      .repeat = true },
    { .section = "listen", .key = "clear-text-allow", .kind = FAR_CONF_NAMES,
      .repeat = true },

    { .section = "server", .key = "address", .kind = FAR_CONF_ADDRESS,
      .required = true, .repeat = true },
    { .section = "server", .key = "may-interrupt", .kind = FAR_CONF_MEANT,
      .repeat = true },
    { .section = "server", .key = "may-reach", .kind = FAR_CONF_REACH,
      .repeat = true },
    { .section = "server", .key = "psk-file", .kind = FAR_CONF_PATH },
    { .section = "server", .key = "clear-text", .kind = FAR_CONF_BOOL },
    { .section = "server", .key = "lanes", .kind = FAR_CONF_NUMBER,
      .min = 1, .max = 3 },

    { .section = "device", .key = "type", .kind = FAR_CONF_CHOICE,
      .required = true,
      .choices = "evdev virtual file memory ledger outside replay probe silence tone wav "
                 "timer doorbell stream interrupts vectors delay error log rate cache verify volatile screen blank" },
    { .section = "device", .types = "evdev", .key = "path",
      .kind = FAR_CONF_PATH },
    { .section = "device", .types = "evdev", .key = "match-name",
      .kind = FAR_CONF_TEXT },
    { .section = "device", .types = "evdev", .key = "grab",
      .kind = FAR_CONF_BOOL },
    { .section = "device", .types = "file", .key = "path",
      .kind = FAR_CONF_PATH, .required = true },
    { .section = "device", .types = "file", .key = "read-only",
      .kind = FAR_CONF_BOOL },
    { .section = "device", .types = "file", .key = "removable",
      .kind = FAR_CONF_BOOL },
    { .section = "device", .types = "file", .key = "cdrom",
      .kind = FAR_CONF_BOOL },
    { .section = "device", .types = "file", .key = "sector",
      .kind = FAR_CONF_CHOICE, .choices = "512 4096" },
    { .section = "device", .types = "file", .key = "direct",
      .kind = FAR_CONF_CHOICE, .choices = "auto on off" },
    { .section = "device", .types = "ledger", .key = "path",
      .kind = FAR_CONF_PATH, .required = true },
    { .section = "device", .types = "memory ledger cache", .key = "size",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1u << 20 },
    { .section = "device", .types = "tone", .key = "frequency",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 20000 },
    { .section = "device", .types = "wav", .key = "path",
      .kind = FAR_CONF_PATH, .required = true },
    { .section = "device", .types = "wav", .key = "loop",
      .kind = FAR_CONF_BOOL },
    { .section = "device", .types = "wav", .key = "limit",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1u << 20 },
    { .section = "device", .types = "replay", .key = "file",
      .kind = FAR_CONF_PATH, .required = true },
    { .section = "device", .types = "replay", .key = "loop",
      .kind = FAR_CONF_BOOL },
    { .section = "device", .types = "replay", .key = "speed",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1000 },
    { .section = "device", .types = "probe", .key = "interval",
      .kind = FAR_CONF_TIME },
    { .section = "device", .types = "probe", .key = "wait",
      .kind = FAR_CONF_CHOICE, .choices = "taken acked" },
    { .section = "device", .types = "timer", .key = "timers",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 8192 },
    { .section = "device", .types = "stream", .key = "peer-timeout",
      .kind = FAR_CONF_TIME },
    { .section = "device", .types = "interrupts", .key = "lines",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1024 },
    { .section = "device", .types = "interrupts", .key = "trigger",
      .kind = FAR_CONF_CHOICE, .choices = "edge level" },
    { .section = "device", .types = "vectors", .key = "source",
      .kind = FAR_CONF_SOURCE, .required = true, .repeat = true },
    { .section = "device", .types = "outside", .key = "socket",
      .kind = FAR_CONF_PATH, .required = true },
    { .section = "device", .types = "outside", .key = "class",
      .kind = FAR_CONF_CHOICE,
      .choices = "input sound display block timer doorbell intc stream" },
    { .section = "device", .types = "outside", .key = "device",
      .kind = FAR_CONF_NAME },
    { .section = "device", .types = "outside", .key = "start",
      .kind = FAR_CONF_PATH },
    { .section = "device", .types = "outside", .key = "user",
      .kind = FAR_CONF_TEXT },
    { .section = "device", .types = "outside", .key = "idle-stop",
      .kind = FAR_CONF_TIME },
    { .section = "device", .types = "outside", .key = "console",
      .kind = FAR_CONF_TEXT },
    { .section = "device", .types = "outside", .key = "answer-within",
      .kind = FAR_CONF_TIME },
    { .section = "device", .types = "delay error log rate cache verify volatile", .key = "behind",
      .kind = FAR_CONF_DEVICE, .required = true },
    { .section = "device", .types = "delay", .key = "delay",
      .kind = FAR_CONF_TIME, .required = true },
    { .section = "device", .types = "rate", .key = "ops",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1000000000 },
    { .section = "device", .types = "rate", .key = "bytes",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1000000000000 },
    { .section = "device", .types = "error", .key = "every",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = UINT32_MAX },
    { .section = "device", .types = "error", .key = "rate",
      .kind = FAR_CONF_PERCENT },

    { .section = "export", .key = "allow", .kind = FAR_CONF_NAMES,
      .repeat = true },
    { .section = "export", .key = "forward", .kind = FAR_CONF_FAR },
    { .section = "export", .key = "guest", .kind = FAR_CONF_NAMES,
      .repeat = true },
    { .section = "export", .key = "read-only", .kind = FAR_CONF_BOOL },
    { .section = "export", .key = "may-interrupt", .kind = FAR_CONF_GUESTS,
      .repeat = true },
    { .section = "export", .key = "any", .kind = FAR_CONF_BOOL },
    { .section = "export", .key = "directory", .kind = FAR_CONF_NAME },
    { .section = "export", .key = "lease", .kind = FAR_CONF_BOOL },
    { .section = "export", .key = "mode", .kind = FAR_CONF_CHOICE,
      .choices = "shared exclusive" },

    { .section = "relay", .key = "may-carry", .kind = FAR_CONF_NAMES,
      .required = true, .repeat = true },
    { .section = "relay", .key = "signed", .kind = FAR_CONF_BOOL },

    { .section = "directory", .key = "file", .kind = FAR_CONF_PATH },
    { .section = "directory", .key = "etcd", .kind = FAR_CONF_ADDRESS,
      .repeat = true },
    { .section = "directory", .key = "prefix", .kind = FAR_CONF_TEXT },
    { .section = "directory", .key = "ttl", .kind = FAR_CONF_TIME },
    { .section = "directory", .key = "ca", .kind = FAR_CONF_PATH },
    { .section = "directory", .key = "cert", .kind = FAR_CONF_PATH },
    { .section = "directory", .key = "key", .kind = FAR_CONF_PATH },
    { .section = "directory", .key = "clear-text", .kind = FAR_CONF_BOOL },

    { .section = "guest", .key = "interrupts-max", .kind = FAR_CONF_NUMBER,
      .min = 1, .max = 1000000 },
    { .section = "guest", .key = "interrupts-wait", .kind = FAR_CONF_TIME },
    { .section = "guest", .key = "interrupts-together",
      .kind = FAR_CONF_NUMBER, .min = 1, .max = 1000000 },
    { .section = "hotplug", .key = "path", .kind = FAR_CONF_PATH },
    { .section = "hotplug", .key = "match-name", .kind = FAR_CONF_TEXT },
    { .section = "hotplug", .key = "want", .kind = FAR_CONF_TEXT },
    { .section = "hotplug", .key = "grab", .kind = FAR_CONF_BOOL },
    { .section = "hotplug", .key = "allow", .kind = FAR_CONF_NAMES,
      .repeat = true },
    { .section = "hotplug", .key = "any", .kind = FAR_CONF_BOOL },
    { .section = "hotplug", .key = "mode", .kind = FAR_CONF_CHOICE,
      .choices = "shared exclusive" },

    { .section = "guest", .key = "attach", .kind = FAR_CONF_ATTACH,
      .repeat = true },
    { .section = "guest", .key = "may-use", .kind = FAR_CONF_DEVICES,
      .repeat = true },
    { .section = NULL },
};
/* clang-format on */

struct judge {
    const struct far_conf *conf;
    far_conf_report *report;
    void *arg;
    unsigned problems;
};

static void __attribute__((format(printf, 4, 5)))
problem(struct judge *j, unsigned line, unsigned column, const char *format,
        ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    j->problems++;
    if (j->report)
        j->report(j->arg, j->conf->file, line, column, text);
}

/* ---- what was meant ---------------------------------------------------- */

#define DISTANCE_BYTES_MAX 64u

/* Edit distance (Levenshtein), of strings that aren't too long. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[DISTANCE_BYTES_MAX + 1], n = (unsigned)strlen(b);

    if (strlen(a) > DISTANCE_BYTES_MAX || n > DISTANCE_BYTES_MAX)
        return UINT32_MAX;
    for (unsigned i = 0; i <= n; i++)
        row[i] = i;
    for (unsigned k = 1; *a; a++, k++) {
        unsigned diagonal = row[0];

        row[0] = k;
        for (unsigned i = 1; i <= n; i++) {
            unsigned best = diagonal + (*a != b[i - 1]);

            diagonal = row[i];
            if (row[i] + 1 < best)
                best = row[i] + 1;
            if (row[i - 1] + 1 < best)
                best = row[i - 1] + 1;
            row[i] = best;
        }
    }
    return row[n];
}

struct nearest {
    const char *wrong;
    char best[DISTANCE_BYTES_MAX + 1];
    unsigned distance;
    char all[200];
};

static void nearest_try(struct nearest *n, const char *candidate)
{
    size_t used = strlen(n->all);
    unsigned d = distance(n->wrong, candidate);

    snprintf(n->all + used, sizeof(n->all) - used, "%s%s", used ? ", " : "",
             candidate);
    if (d != UINT32_MAX && (!*n->best || d < n->distance)) {
        strcpy(n->best, candidate); /* it is short enough: it has a distance */
        n->distance = d;
    }
}

/* "; did you mean …" if something is near, else what is known. */
static const char *nearest_text(const struct nearest *n, char *out,
                                size_t out_bytes)
{
    if (*n->best && n->distance <= 1 + strlen(n->wrong) / 3)
        snprintf(out, out_bytes, "did you mean \"%s\"?", n->best);
    else
        snprintf(out, out_bytes, "known are: %s", n->all);
    return out;
}

/* Calls each() for the words of a list with blanks between them; its first
 * false ends that, and is the result. */
static bool each_word(const char *list,
                      bool (*each)(void *arg, const char *word), void *arg)
{
    char word[FAR_NAME_BYTES * 2];

    while (*list) {
        size_t n;

        list += strspn(list, " \t");
        n = strcspn(list, " \t");
        if (n == 0)
            break;
        snprintf(word, sizeof(word), "%.*s", (int)n, list);
        if (!each(arg, word))
            return false;
        list += n;
    }
    return true;
}

static bool differs(void *arg, const char *word)
{
    return strcmp(arg, word) != 0;
}

static bool in_list(const char *list, const char *word)
{
    return !each_word(list, differs, (void *)(uintptr_t)word);
}

/* ---- values ------------------------------------------------------------ */

bool far_percent_parse(uint32_t *value, const char *text)
{
    uint32_t whole = 0, part = 0, scale = 100;
    const char *p = text;

    for (; *p >= '0' && *p <= '9' && whole <= 100; p++)
        whole = whole * 10 + (uint32_t)(*p - '0');
    if (p == text)
        return false;
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9' && scale > 1; p++) {
            scale /= 10;
            part += (uint32_t)(*p - '0') * scale;
        }
    if (*p == '%')
        p++;
    if (*p || whole * 100 + part > 10000)
        return false;
    *value = whole * 100 + part;
    return true;
}

bool far_host_port_parse(char *host, uint16_t *port, const char *text)
{
    const char *begin = text, *colon = strrchr(text, ':'), *end = colon;
    struct in6_addr v6;
    uint64_t number;

    if (!colon || !far_uint_parse(&number, colon + 1) || number == 0 ||
        number > UINT16_MAX)
        return false;
    if (*begin == '[') {
        if (end == begin || end[-1] != ']')
            return false;
        begin++, end--;
    }
    if (end <= begin || end - begin > 255)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    if (begin != text) {
        char plain[256];

        /* fe80::1%eth0: the scope is the resolver's business */
        snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(host, "%"), host);
        if (inet_pton(AF_INET6, plain, &v6) != 1)
            return false;
    } else if (strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(host)) {
        return false;
    }
    *port = (uint16_t)number;
    return true;
}

static bool add_candidate(void *arg, const char *word)
{
    nearest_try(arg, word);
    return true;
}

static void wrong_choice(struct judge *j, const struct far_conf_entry *e,
                         const char *choices)
{
    struct nearest n = { .wrong = e->value };
    char text[256];

    each_word(choices, add_candidate, &n);
    problem(j, e->line, e->column, "%s = %.80s: no such choice; %s", e->key,
            e->value, nearest_text(&n, text, sizeof(text)));
}

static bool is_name(void *arg, const char *word)
{
    (void)arg;
    return far_name_valid(word);
}

static bool is_device(void *arg, const char *word)
{
    struct far_address address;
    struct far_error error;

    (void)arg;
    return !far_address_parse(&address, word, &error);
}

static bool is_guest(void *arg, const char *word)
{
    struct far_address address;
    struct far_error error;

    (void)arg;
    return strchr(word, '/') && !far_address_parse(&address, word, &error) &&
           !address.standby[0];
}

static bool is_meant(void *arg, const char *word)
{
    return far_name_valid(word) || is_guest(arg, word);
}

static bool is_reach(void *arg, const char *word)
{
    size_t length = strlen(word);
    char platform[FAR_NAME_BYTES];

    if (length < 3 || length - 2 >= sizeof(platform) ||
        strcmp(word + length - 2, "/*"))
        return is_guest(arg, word);
    memcpy(platform, word, length - 2);
    platform[length - 2] = 0;
    return far_name_valid(platform);
}

static void judge_attach(struct judge *j, const struct far_conf_entry *e)
{
    char class[32], address[FAR_NAME_BYTES * 3 + 2];
    struct far_address parsed;
    struct far_error error;

    if (sscanf(e->value, "%31s %193s", class, address) != 2) {
        problem(j, e->line, e->column,
                "attach = %.80s: wants CLASS ADDRESS [KEY=VALUE…]", e->value);
        return;
    }
    if (far_class_from_name(class) == FAR_CLASS_NONE)
        problem(j, e->line, e->column,
                "attach = %.80s: there is no class \"%s\"; known are: input, "
                "sound, display, block, timer, doorbell, intc, stream",
                e->value, class);
    if (far_address_parse(&parsed, address, &error) < 0)
        problem(j, e->line, e->column, "attach: %s", error.text);
}

static void judge_source(struct judge *j, const struct far_conf_entry *e)
{
    struct far_intc_source source;
    struct far_error error;

    if (far_intc_source_parse(&source, e->value, &error))
        problem(j, e->line, e->column, "source = %.80s: %s", e->value,
                error.text);
}

static void judge_value(struct judge *j, const struct far_conf_key *key,
                        const struct far_conf_entry *e)
{
    const char *wants = NULL;
    char host[256], text[96];
    uint64_t number;
    uint32_t percent;
    uint16_t port;
    bool on;

    if (!*e->value) {
        problem(j, e->line, e->column, "%s: there is no value", e->key);
        return;
    }
    switch (key->kind) {
    case FAR_CONF_TEXT:
        break;
    case FAR_CONF_BOOL:
        if (!far_bool_parse(&on, e->value))
            wants = "on or off";
        break;
    case FAR_CONF_TIME:
        if (!far_time_parse(&number, e->value))
            wants = "a time such as 100us, 20ms, 2s, or off";
        break;
    case FAR_CONF_NUMBER:
        if (!far_uint_parse(&number, e->value) || number < key->min ||
            (key->max && number > key->max)) {
            snprintf(text, sizeof(text), "a number from %llu to %llu",
                     (unsigned long long)key->min,
                     (unsigned long long)(key->max ? key->max : UINT64_MAX));
            wants = text;
        }
        break;
    case FAR_CONF_PERCENT:
        if (!far_percent_parse(&percent, e->value))
            wants = "a share from 0% to 100%, such as 2.5%";
        break;
    case FAR_CONF_NAME:
        if (!far_name_valid(e->value))
            wants = "a name of letters, digits, '.', '_' and '-', of at most "
                    "63 bytes";
        break;
    case FAR_CONF_NAMES:
        if (!each_word(e->value, is_name, NULL))
            wants = "names with blanks between them";
        break;
    case FAR_CONF_DEVICE:
        if (!is_device(NULL, e->value))
            wants = "a device: its name, or PLATFORM/DEVICE";
        break;
    case FAR_CONF_DEVICES:
        if (!each_word(e->value, is_device, NULL))
            wants = "devices as DEVICE or PLATFORM/DEVICE, with blanks "
                    "between them";
        break;
    case FAR_CONF_FAR:
        if (!is_guest(NULL, e->value))
            wants = "a device of another platform: PLATFORM/DEVICE";
        break;
    case FAR_CONF_MEANT:
        if (!each_word(e->value, is_meant, NULL))
            wants = "guests as NAME or UUID, or of another platform as "
                    "PLATFORM/NAME or PLATFORM/UUID, with blanks between them";
        break;
    case FAR_CONF_REACH:
        if (!each_word(e->value, is_reach, NULL))
            wants = "devices as PLATFORM/DEVICE, or PLATFORM/* for all of "
                    "one, with blanks between them";
        break;
    case FAR_CONF_GUESTS:
        if (!each_word(e->value, is_guest, NULL))
            wants = "guests as PLATFORM/NAME or PLATFORM/UUID, with blanks "
                    "between them";
        break;
    case FAR_CONF_ADDRESS:
        if (!far_host_port_parse(host, &port, e->value))
            wants = "HOST:PORT, 10.0.0.2:7420 or [fd00::2]:7420";
        break;
    case FAR_CONF_PATH:
        if (*e->value != '/')
            wants = "an absolute path, one that begins with /";
        break;
    case FAR_CONF_CHOICE:
        if (!in_list(key->choices, e->value))
            wrong_choice(j, e, key->choices);
        break;
    case FAR_CONF_SOURCE:
        judge_source(j, e);
        break;
    case FAR_CONF_ATTACH:
        judge_attach(j, e);
        break;
    }
    if (wants)
        problem(j, e->line, e->column, "%s = %.80s: wants %s", e->key, e->value,
                wants);
}

/* ---- sections ---------------------------------------------------------- */

static const struct far_conf_kind_of_section *
find_kind(const struct far_conf_section *s)
{
    const struct far_conf_kind_of_section *k = far_conf_section_kinds;

    while (k->kind && strcmp(k->kind, s->kind) != 0)
        k++;
    return k->kind ? k : NULL;
}

static bool judge_head(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_kind_of_section *kind = find_kind(s);
    const struct far_conf_section *other;
    struct nearest n = { .wrong = s->kind };
    char text[256];

    if (!kind) {
        for (kind = far_conf_section_kinds; kind->kind; kind++)
            nearest_try(&n, kind->kind);
        problem(j, s->line, 1, "unknown section [%.80s]; %s", s->kind,
                nearest_text(&n, text, sizeof(text)));
        return false;
    }
    if (kind->named && !*s->name)
        problem(j, s->line, 1, "[%s] needs a name: [%s NAME]", s->kind,
                s->kind);
    else if (!kind->named && *s->name)
        problem(j, s->line, 1, "[%s] takes no name", s->kind);
    else if (kind->named && !far_name_valid(s->name) &&
             strcmp(s->kind, "guest") != 0)
        problem(j, s->line, 1,
                "[%s %.80s]: names are of letters, digits, '.', '_' and '-', "
                "of at most 63 bytes",
                s->kind, s->name);
    if (!kind->named && kind->many)
        return true;
    if (kind->named && s->name[0] == '.')
        problem(j, s->line, 1,
                "[%s %.80s]: no name begins with a dot; .any in an address "
                "stands for any device",
                s->kind, s->name);
    other = far_conf_section(j->conf, s->kind, kind->named ? s->name : NULL);
    if (other != s)
        problem(j, s->line, 1, "[%s%s%.80s] stands in line %u already", s->kind,
                *s->name ? " " : "", s->name, other->line);
    return true;
}

static bool key_fits(const struct far_conf_key *key,
                     const struct far_conf_section *s, const char *type)
{
    return strcmp(key->section, s->kind) == 0 &&
           (!key->types || (type && in_list(key->types, type)));
}

static void judge_entry(struct judge *j, const struct far_conf_section *s,
                        const struct far_conf_entry *e, const char *type)
{
    const struct far_conf_key *key, *of_other_type = NULL;
    struct nearest n = { .wrong = e->key };
    char text[256];

    for (key = far_conf_keys; key->section; key++) {
        if (strcmp(key->section, s->kind) != 0)
            continue;
        if (key_fits(key, s, type)) {
            if (strcmp(key->key, e->key) == 0)
                break;
            nearest_try(&n, key->key);
        } else if (!of_other_type && strcmp(key->key, e->key) == 0) {
            of_other_type = key;
        }
    }
    if (key->section) {
        const struct far_conf_entry *first = far_conf_entry(s, e->key, NULL);

        judge_value(j, key, e);
        if (first != e && !key->repeat)
            problem(j, e->line, 1, "%s stands in line %u already", e->key,
                    first->line);
    } else if (of_other_type && type) {
        problem(j, e->line, 1,
                "key \"%s\" is for devices of type %s, not for type %.40s",
                e->key, of_other_type->types, type);
    } else if (!of_other_type) {
        problem(j, e->line, 1, "unknown key \"%.80s\" in [%s%s%.80s]; %s",
                e->key, s->kind, *s->name ? " " : "", s->name,
                nearest_text(&n, text, sizeof(text)));
    }
}

static void judge_required(struct judge *j, const struct far_conf_section *s,
                           const char *type)
{
    for (const struct far_conf_key *k = far_conf_keys; k->section; k++)
        if (k->required && key_fits(k, s, type) &&
            !far_conf_entry(s, k->key, NULL))
            problem(j, s->line, 1, "[%s%s%.80s] lacks the key \"%s\"", s->kind,
                    *s->name ? " " : "", s->name, k->key);
}

/* ---- what spans sections ----------------------------------------------- */

static void no_device(struct judge *j, unsigned line, unsigned column,
                      const char *what, const char *name)
{
    struct nearest n = { .wrong = name };
    char text[256];

    for (const struct far_conf_section *s = j->conf->sections; s; s = s->next)
        if (strcmp(s->kind, "device") == 0 && *s->name)
            nearest_try(&n, s->name);
    problem(j, line, column, "%s: there is no [device %.80s]; %s", what, name,
            *n.all ? nearest_text(&n, text, sizeof(text))
                   : "no device is described");
}

static void judge_behind(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_entry *e = far_conf_entry(s, "behind", NULL);
    const struct far_conf_section *at = s;
    unsigned steps = 0;

    if (!e || !far_name_valid(e->value))
        return;
    if (!far_conf_section(j->conf, "device", e->value)) {
        no_device(j, e->line, e->column, "behind", e->value);
        return;
    }
    while (at) {
        const char *next = far_conf_string(at, "behind", NULL);

        at = next ? far_conf_section(j->conf, "device", next) : NULL;
        if (at == s) {
            problem(j, e->line, e->column,
                    "behind = %s: the devices stand in a circle", e->value);
            return;
        }
        if (++steps > 1000)
            return; /* a circle further behind, reported there */
    }
}

/* A device is here, or it is elsewhere. */
static void judge_forward(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_entry *e = far_conf_entry(s, "forward", NULL);
    struct far_address to;

    if (far_address_parse(&to, e->value, NULL) || !to.platform[0])
        return;
    if (far_conf_section(j->conf, "device", s->name))
        problem(j, e->line, 1,
                "forward: there is a [device %.80s] here; it is one or the "
                "other",
                s->name);
    if (!far_conf_section(j->conf, "server", to.platform))
        problem(j, e->line, e->column,
                "forward = %.80s: there is no [server %s]", e->value,
                to.platform);
    if (far_conf_entry(s, "may-interrupt", NULL))
        problem(j, e->line, 1,
                "[export %.80s]: may-interrupt is said where the device is, "
                "on %s",
                s->name, to.platform);
}

/* A directory is one or the other; etcd is asked in clear text by name only. */
static void judge_directory(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_entry *etcd = far_conf_entry(s, "etcd", NULL);
    const struct far_conf_entry *file = far_conf_entry(s, "file", NULL);
    const struct far_conf_entry *prefix = far_conf_entry(s, "prefix", NULL);
    const struct far_conf_entry *ttl = far_conf_entry(s, "ttl", NULL);
    uint64_t us = far_conf_time_us(s, "ttl", 5000000);
    bool clear = far_conf_bool(s, "clear-text", false);

    if (!etcd == !file)
        problem(j, s->line, 1,
                "[directory] wants one of the keys \"file\" and \"etcd\"");
    if (etcd && !clear && !far_conf_entry(s, "ca", NULL))
        problem(j, etcd->line, 1,
                "etcd: without a ca it is not known who answers; if that is "
                "meant, say clear-text = on");
    if (clear && far_conf_entry(s, "ca", NULL))
        problem(j, s->line, 1,
                "[directory]: with clear-text = on nobody looks at the ca");
    if (!far_conf_entry(s, "cert", NULL) != !far_conf_entry(s, "key", NULL))
        problem(j, s->line, 1, "[directory]: cert and key go together");
    if (prefix && (prefix->value[0] != '/' || strlen(prefix->value) < 2 ||
                   strlen(prefix->value) > 100 ||
                   prefix->value[strlen(prefix->value) - 1] != '/'))
        problem(j, prefix->line, prefix->column,
                "prefix = %.80s: begins and ends with a /, as /farside/ does",
                prefix->value);
    if (ttl && (us < 2000000 || us > 3600000000u || us % 1000000))
        problem(j, ttl->line, ttl->column,
                "ttl = %.80s: wants whole seconds, from 2s to 3600s",
                ttl->value);
}

/* What an export is called in the directory, or NULL. */
static const char *registered_as(const struct far_conf_section *s)
{
    return far_conf_string(s, "directory",
                           far_conf_bool(s, "lease", false) ? s->name : NULL);
}

/* What this machine keeps in memory of a file would be read, or written, after
 * another one has owned it. */
static void judge_owned_file(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_section *d = s;
    unsigned depth;

    for (depth = 0; d && depth < 16; depth++) {
        const char *behind;

        d = far_conf_section(j->conf, "device", d->name);
        behind = far_conf_string(d, "behind", NULL);
        if (!behind)
            break;
        d = far_conf_section(j->conf, "device", behind);
    }
    if (d && !strcmp(far_conf_string(d, "type", ""), "file") &&
        !strcmp(far_conf_string(d, "direct", ""), "off"))
        problem(j, far_conf_entry(s, "lease", NULL)->line, 1,
                "[export %.80s]: what has an owner elsewhere at times must not "
                "be kept in memory here: [device %.80s] has direct = off",
                s->name, d->name);
}

/* Owners are named by leases, leases are etcd's. */
static void judge_lease(struct judge *j, const struct far_conf_section *s)
{
    const struct far_conf_section *directory =
        far_conf_section(j->conf, "directory", "");
    const struct far_conf_entry *e = far_conf_entry(s, "directory", NULL);
    const struct far_conf_section *other;

    if (far_conf_bool(s, "lease", false)) {
        e = far_conf_entry(s, "lease", NULL);
        judge_owned_file(j, s);
    }
    if (e && !far_conf_entry(directory, "etcd", NULL))
        problem(j, e->line, 1,
                "%s: there is no [directory] in etcd to register it in",
                e->key);
    if (e && far_conf_entry(s, "forward", NULL))
        problem(j, e->line, 1, "[export %.80s]: %s is said where the device is",
                s->name, e->key);
    for (other = j->conf->sections; e && other != s; other = other->next) {
        if (!strcmp(other->kind, "export") && registered_as(other) &&
            !strcmp(registered_as(other), registered_as(s)))
            problem(j, e->line, 1,
                    "%.80s is [export %.80s] in the directory already",
                    registered_as(s), other->name);
    }
}

static void judge_across(struct judge *j, const struct far_conf_section *s,
                         const char *type)
{
    if (strcmp(s->kind, "directory") == 0)
        judge_directory(j, s);
    if (strcmp(s->kind, "export") == 0)
        judge_lease(j, s);
    if (strcmp(s->kind, "export") == 0 && far_conf_entry(s, "forward", NULL))
        judge_forward(j, s);
    else if (strcmp(s->kind, "export") == 0 && far_name_valid(s->name) &&
             !far_conf_section(j->conf, "device", s->name))
        no_device(j, s->line, 1, "export", s->name);
    if (strcmp(s->kind, "device") != 0)
        return;
    judge_behind(j, s);
    if (type && strcmp(type, "evdev") == 0 &&
        !far_conf_entry(s, "path", NULL) &&
        !far_conf_entry(s, "match-name", NULL))
        problem(j, s->line, 1,
                "[device %.80s] lacks one of the keys \"path\" and "
                "\"match-name\"",
                s->name);
}

unsigned far_conf_check(const struct far_conf *conf, far_conf_report *report,
                        void *arg)
{
    struct judge j = { .conf = conf, .report = report, .arg = arg };
    const struct far_conf_section *s;

    for (s = conf->sections; s; s = s->next) {
        const char *type = NULL;

        if (!judge_head(&j, s))
            continue;
        if (strcmp(s->kind, "device") == 0)
            type = far_conf_string(s, "type", NULL);
        for (const struct far_conf_entry *e = s->entries; e; e = e->next)
            judge_entry(&j, s, e, type);
        judge_required(&j, s, type);
        judge_across(&j, s, type);
    }
    if (!far_conf_section(conf, "platform", NULL))
        problem(&j, 1, 1,
                "there is no [platform] section with this platform's name");
    return j.problems;
}
