// SPDX-License-Identifier: GPL-2.0-or-later
//
// The keys of a vkb line as libxl 4.17 to 4.22 reads them, which is less
// strict than one would like: a number that is none counts as 0, and nobody
// says so. Here everything is said.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/vkb.h"

const struct far_vkb_key far_vkb_keys[] = {
    { "backend", FAR_VKB_DOMAIN },
    { "backend-type", FAR_VKB_BACKEND_TYPE },
    { "unique-id", FAR_VKB_ADDRESS },
    { "feature-disable-keyboard", FAR_VKB_FLAG },
    { "feature-disable-pointer", FAR_VKB_FLAG },
    { "feature-abs-pointer", FAR_VKB_FLAG },
    { "feature-raw-pointer", FAR_VKB_FLAG },
    { "feature-multi-touch", FAR_VKB_FLAG },
    { "multi-touch-width", FAR_VKB_NUMBER },
    { "multi-touch-height", FAR_VKB_NUMBER },
    { "multi-touch-num-contacts", FAR_VKB_NUMBER },
    { "width", FAR_VKB_NUMBER },
    { "height", FAR_VKB_NUMBER },
    { NULL, FAR_VKB_FLAG },
};

const struct far_vkb_key *far_vkb_key(const char *name)
{
    for (const struct far_vkb_key *k = far_vkb_keys; k->name; k++)
        if (!strcmp(k->name, name))
            return k;
    return NULL;
}

/* Edit distance, for short words; longer ones are far away. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t row[MAX + 1], n = strlen(b);

    if (strlen(a) > MAX || n > MAX)
        return MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            size_t other = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;

            diagonal = row[j + 1];
            row[j + 1] = change < other ? change : other;
        }
    }
    return row[n];
}

const char *far_nearest(const char *name, const char *const *names)
{
    size_t best = strlen(name) / 3 + 2;
    const char *nearest = NULL;

    for (; *names; names++) {
        size_t d = distance(name, *names);

        if (d < best) {
            best = d;
            nearest = *names;
        }
    }
    return nearest;
}

const char *far_vkb_nearest(const char *name)
{
    const char *names[sizeof(far_vkb_keys) / sizeof(far_vkb_keys[0])];
    size_t i;

    for (i = 0; far_vkb_keys[i].name; i++)
        names[i] = far_vkb_keys[i].name;
    names[i] = NULL;
    return far_nearest(name, names);
}

bool far_vkb_value_ok(const struct far_vkb_key *key, const char *value,
                      char *text, size_t text_bytes)
{
    struct far_address address;
    struct far_error error;
    unsigned long number;
    char *end;

    switch (key->kind) {
    case FAR_VKB_FLAG:
        if (!strcmp(value, "0") || !strcmp(value, "1"))
            return true;
        snprintf(text, text_bytes,
                 "%s is 0 or 1, not '%s' (xl would take that for 0 or worse "
                 "without a word)",
                 key->name, value);
        return false;
    case FAR_VKB_NUMBER:
        number = strtoul(value, &end, 10);
        if (*value >= '0' && *value <= '9' && !*end && number >= 1 &&
            number <= 65535)
            return true;
        snprintf(text, text_bytes, "%s is a number from 1 to 65535, not '%s'",
                 key->name, value);
        return false;
    case FAR_VKB_BACKEND_TYPE:
        if (!strcmp(value, "linux"))
            return true;
        if (!strcmp(value, "qemu"))
            snprintf(text, text_bytes,
                     "with backend-type=qemu this device is QEMU's, not "
                     "Farside's; meant: backend-type=linux");
        else
            snprintf(text, text_bytes,
                     "backend-type is linux or qemu, not '%s'; for a device "
                     "of Farside: backend-type=linux",
                     value);
        return false;
    case FAR_VKB_ADDRESS:
        if (!far_address_parse(&address, value, &error))
            return true;
        snprintf(text, text_bytes, "%s", error.text);
        return false;
    case FAR_VKB_DOMAIN:
    default:
        if (*value)
            return true;
        snprintf(text, text_bytes, "%s is empty", key->name);
        return false;
    }
}

bool far_vkb_is_dangerous(const char *name, const char *value)
{
    return (!strcmp(name, "feature-disable-keyboard") ||
            !strcmp(name, "feature-disable-pointer")) &&
           strtoul(value, NULL, 0);
}
