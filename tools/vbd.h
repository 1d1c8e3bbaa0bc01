/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What may stand in a disk line of xl that is Farside's (script=block-farside):
 * for `check` (a guest's config) and for `attach`. Pure.
 */
#ifndef FARSIDE_TOOLS_VBD_H
#define FARSIDE_TOOLS_VBD_H

#include <stdbool.h>
#include <stddef.h>

#define FAR_VBD_SCRIPT "block-farside"

/* Is this the value of a script that is Farside's? */
bool far_vbd_is_script(const char *value);

/* A guest's name of a disk, as xvda? */
bool far_vbd_is_vdev(const char *value);

/* Is "key=value", or a bare word (value NULL), right in such a line? If not,
 * text says why and what was meant. The target's value is not judged here. */
bool far_vbd_word_ok(const char *name, const char *value, char *text,
                     size_t text_bytes);

#endif
