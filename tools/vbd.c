// SPDX-License-Identifier: GPL-2.0-or-later
//
// The words of a disk line (xl-disk-configuration(5)) as far as they mean
// something for a disk of Farside's.

#include "tools/vbd.h"

#include <stdio.h>
#include <string.h>
#include "tools/vkb.h"

static const char *const keys[] = {
    "vdev",    "access",      "devtype",       "script",     "target",
    "format",  "cdrom",       "discard",       "no-discard", "direct-io-safe",
    "backend", "backendtype", "specification", "removable",  NULL,
};

bool far_vbd_is_script(const char *value)
{
    const char *slash = strrchr(value, '/');

    return !strcmp(slash ? slash + 1 : value, FAR_VBD_SCRIPT);
}

static bool known(const char *name)
{
    for (size_t i = 0; keys[i]; i++)
        if (!strcmp(keys[i], name))
            return true;
    return false;
}

static bool one_of(const char *value, const char *const *values)
{
    while (*values && strcmp(value, *values))
        values++;
    return *values != NULL;
}

/* xvda to xvdzzz, with a partition perhaps; and what xl takes beside. */
bool far_vbd_is_vdev(const char *value)
{
    size_t letters;

    if (strncmp(value, "xvd", 3) && strncmp(value, "hd", 2) &&
        strncmp(value, "sd", 2))
        return value[0] == 'd' && value[1] >= '0' && value[1] <= '9';
    value += *value == 'x' ? 3 : 2;
    letters = strspn(value, "abcdefghijklmnopqrstuvwxyz");
    return letters > 0 && letters < 4 &&
           strspn(value + letters, "0123456789") == strlen(value + letters);
}

bool far_vbd_word_ok(const char *name, const char *value, char *text,
                     size_t text_bytes)
{
    static const char *const accesses[] = { "r", "ro", "w", "rw", NULL };
    static const char *const bare[] = {
        "r",     "ro",        "w",          "rw",
        "cdrom", "discard",   "no-discard", "direct-io-safe",
        "raw",   "removable", NULL
    };

    if (!value) {
        if (one_of(name, bare) || far_vbd_is_vdev(name))
            return true;
        snprintf(text, text_bytes,
                 "'%s' is no KEY=VALUE, and no word that disk lines know",
                 name);
        return false;
    }
    if (!known(name)) {
        const char *nearest = far_nearest(name, keys);

        snprintf(text, text_bytes, "disk lines have no key '%s'%s%s%s", name,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                 nearest ? "\"?" : "");
        return false;
    }
    *text = '\0';
    if (!strcmp(name, "vdev") && !far_vbd_is_vdev(value))
        snprintf(text, text_bytes,
                 "vdev is the guest's name of the disk, as xvda, not '%s'",
                 value);
    else if (!strcmp(name, "access") && !one_of(value, accesses))
        snprintf(text, text_bytes, "access is rw or ro, not '%s'", value);
    else if (!strcmp(name, "devtype") && strcmp(value, "cdrom") &&
             strcmp(value, "disk"))
        snprintf(text, text_bytes, "devtype is disk or cdrom, not '%s'", value);
    else if (!strcmp(name, "format") && strcmp(value, "raw"))
        snprintf(text, text_bytes,
                 "with a script xl knows format=raw only, not '%s'; what an "
                 "image is, Farside's [device] knows",
                 value);
    else if (!strcmp(name, "backendtype") && strcmp(value, "phy"))
        snprintf(text, text_bytes,
                 "backendtype=%s is not Farside's; leave it out", value);
    else if (!strcmp(name, "specification") && strcmp(value, "xen"))
        snprintf(text, text_bytes,
                 "Farside's disks are specification=xen, not '%s'", value);
    return !*text;
}
