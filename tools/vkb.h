/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What may stand in a vkb line of xl: keys, their values, and what is wrong
 * with one for a person. For `check` (a guest's config) and for `attach`. Pure.
 */
#ifndef FARSIDE_TOOLS_VKB_H
#define FARSIDE_TOOLS_VKB_H

#include <stdbool.h>
#include <stddef.h>
#include "core/conf.h"

enum far_vkb_kind {
    FAR_VKB_FLAG,   /* 0 or 1 */
    FAR_VKB_NUMBER, /* 1 to 65535 */
    FAR_VKB_BACKEND_TYPE,
    FAR_VKB_ADDRESS,
    FAR_VKB_DOMAIN,
};

struct far_vkb_key {
    const char *name;
    enum far_vkb_kind kind;
};

extern const struct far_vkb_key far_vkb_keys[]; /* ends with a NULL name */

const struct far_vkb_key *far_vkb_key(const char *name);

/* The nearest of names (NULL-terminated), or NULL if none is near. */
const char *far_nearest(const char *name, const char *const *names);
const char *far_vkb_nearest(const char *name);

/* Is value right for key? If not, text says why and what was meant. */
bool far_vkb_value_ok(const struct far_vkb_key *key, const char *value,
                      char *text, size_t text_bytes);

/* Features whose setting makes stock Linux guests crash. */
bool far_vkb_is_dangerous(const char *name, const char *value);
#define FAR_VKB_DANGER                                                       \
    "crashes Linux guests at the first key (xen-kbdfront looks a key up in " \
    "an input device that it did not make); leave it out: a keyboard that "  \
    "sends no motion moves no pointer"

#endif
