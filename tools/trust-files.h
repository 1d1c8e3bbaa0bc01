/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How `farside trust` writes the folder of trust: with the right owner and mode
 * from the first byte on, whole or not at all.
 */
#ifndef FARSIDE_TOOLS_TRUST_FILES_H
#define FARSIDE_TOOLS_TRUST_FILES_H

#include <stdbool.h>
#include "core/error.h"

/* Makes DIR with its folders peers and psk, 0750 root:farside; what is there
 * stays as it is. 0 or a negative errno with error. */
int far_trust_files_prepare(const char *dir, struct far_error *error);
/* DIR/NAME with that text, in place of what was there: 0640 if it is secret,
 * else 0644. 0 or a negative errno with error, and nothing has changed. */
int far_trust_files_write(const char *dir, const char *name, const char *text,
                          bool secret, struct far_error *error);
/* 0 also if it is not there. */
int far_trust_files_remove(const char *dir, const char *name,
                           struct far_error *error);
int far_trust_files_rename(const char *dir, const char *from, const char *to,
                           struct far_error *error);

#endif
