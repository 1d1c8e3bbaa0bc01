/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Finding entries of a configuration that was read, and what values mean:
 * switches, numbers, times, names, addresses. Pure.
 */
#include "core/conf.h"
#include "core/conf-keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct far_conf_section *far_conf_section(const struct far_conf *conf,
                                          const char *kind, const char *name)
{
    struct far_conf_section *s = conf ? conf->sections : NULL;

    while (s &&
           (strcmp(s->kind, kind) != 0 || (name && strcmp(s->name, name) != 0)))
        s = s->next;
    return s;
}

struct far_conf_entry *far_conf_entry(const struct far_conf_section *section,
                                      const char *key,
                                      const struct far_conf_entry *after)
{
    struct far_conf_entry *e = after     ? after->next
                               : section ? section->entries
                                         : NULL;

    while (e && strcmp(e->key, key) != 0)
        e = e->next;
    return e;
}

bool far_conf_lists(const struct far_conf_section *section, const char *key,
                    const char *word)
{
    const struct far_conf_entry *e = NULL;
    size_t length = strlen(word);

    while ((e = far_conf_entry(section, key, e))) {
        const char *at = e->value;

        while (*at) {
            size_t n = strcspn(at, " \t,");

            if (n == length && n && !memcmp(at, word, n))
                return true;
            at += n;
            at += strspn(at, " \t,");
        }
    }
    return false;
}

const char *far_conf_string(const struct far_conf_section *section,
                            const char *key, const char *fallback)
{
    const struct far_conf_entry *e = far_conf_entry(section, key, NULL);

    return e ? e->value : fallback;
}

bool far_bool_parse(bool *value, const char *text)
{
    static const char *const words[] = { "off", "on",    "no",
                                         "yes", "false", "true" };

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(text, words[i]) == 0) {
            *value = (i & 1) != 0;
            return true;
        }
    return false;
}

/* Digits only, then *rest. */
static bool digits(uint64_t *value, const char *text, const char **rest)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    *rest = end;
    return errno == 0;
}

bool far_uint_parse(uint64_t *value, const char *text)
{
    const char *rest;
    uint64_t v;

    if (!digits(&v, text, &rest) || *rest)
        return false;
    *value = v;
    return true;
}

bool far_time_parse(uint64_t *time_us, const char *text)
{
    static const struct {
        const char *suffix;
        uint64_t us;
    } units[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 } };
    const char *rest;
    uint64_t v;

    if (strcmp(text, "off") == 0) {
        *time_us = UINT64_MAX;
        return true;
    }
    if (!digits(&v, text, &rest))
        return false;
    if (v == 0 && !*rest) {
        *time_us = 0;
        return true;
    }
    while (*rest == ' ')
        rest++;
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(rest, units[i].suffix) == 0) {
            if (v > FAR_TIME_MAX_US / units[i].us)
                return false;
            *time_us = v * units[i].us;
            return true;
        }
    return false;
}

bool far_conf_bool(const struct far_conf_section *section, const char *key,
                   bool fallback)
{
    const struct far_conf_entry *e = far_conf_entry(section, key, NULL);

    if (e)
        far_bool_parse(&fallback, e->value);
    return fallback;
}

uint64_t far_conf_number(const struct far_conf_section *section,
                         const char *key, uint64_t fallback)
{
    const struct far_conf_entry *e = far_conf_entry(section, key, NULL);

    if (e)
        far_uint_parse(&fallback, e->value);
    return fallback;
}

uint64_t far_conf_time_us(const struct far_conf_section *section,
                          const char *key, uint64_t fallback_us)
{
    const struct far_conf_entry *e = far_conf_entry(section, key, NULL);

    if (e)
        far_time_parse(&fallback_us, e->value);
    return fallback_us;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool far_name_valid(const char *name)
{
    size_t n = 0;

    while (n < FAR_NAME_BYTES && name_char(name[n]))
        n++;
    return n > 0 && n < FAR_NAME_BYTES && !name[n];
}

static int take_name(char out[FAR_NAME_BYTES], const char *begin,
                     const char *end, const char *what, const char *text,
                     struct far_error *error)
{
    size_t n = (size_t)(end - begin);

    if (n == 0)
        return far_error(error, -EINVAL,
                         "address \"%.80s\": the %s has no name", text, what);
    if (n >= FAR_NAME_BYTES)
        return far_error(error, -EINVAL,
                         "address \"%.80s\": the %s's name is longer than %d "
                         "bytes",
                         text, what, FAR_NAME_BYTES - 1);
    for (const char *c = begin; c < end; c++)
        if (!name_char(*c))
            return far_error(error, -EINVAL,
                             "address \"%.80s\": names are of letters, "
                             "digits, '.', '_' and '-' (DEVICE, "
                             "PLATFORM/DEVICE or PLATFORM+STANDBY/DEVICE)",
                             text);
    memcpy(out, begin, n);
    out[n] = '\0';
    return 0;
}

int far_address_parse(struct far_address *address, const char *text,
                      struct far_error *error)
{
    const char *slash = strchr(text, '/'), *end = text + strlen(text);
    struct far_address a = { .platform = "" };
    int rc = 0;

    if (slash) {
        const char *plus = memchr(text, '+', (size_t)(slash - text));

        rc = take_name(a.platform, text, plus ? plus : slash, "platform", text,
                       error);
        if (rc == 0 && plus)
            rc = take_name(a.standby, plus + 1, slash, "standby", text, error);
    }
    if (rc == 0)
        rc = take_name(a.device, slash ? slash + 1 : text, end, "device", text,
                       error);
    if (rc == 0 && *a.standby && strcmp(a.platform, a.standby) == 0)
        rc = far_error(error, -EINVAL,
                       "address \"%.80s\": the standby must be another "
                       "platform",
                       text);
    if (rc == 0)
        *address = a;
    return rc;
}
