/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside check: who judges what. Judges report each problem with file, line
 * and column, and go on with the rest.
 */
#ifndef FARSIDE_TOOLS_CHECK_H
#define FARSIDE_TOOLS_CHECK_H

#include <stddef.h>
#include "core/conf.h"

/* What far_conf_check() can't see, as it opens no file: keys of the link,
 * traces. Number of problems. */
unsigned far_check_conf(const struct far_conf *conf, far_conf_report *report,
                        void *arg);

/* A disk that may forget what a guest was told to be safe, or that fails where
 * nobody could tell: why, in text, and what of its section is at fault (NULL:
 * the whole). */
bool far_check_forgets(const struct far_conf *conf,
                       const struct far_conf_section *device,
                       const struct far_conf_entry **at, char *text,
                       size_t bytes);

/* The vkb lines of a guest's xl config. conf: the farside.conf of the platform
 * where the guest will run, or NULL if addresses can't be looked up. Pure but
 * for the report; number of problems. */
unsigned far_check_xl(const char *file, const char *text, size_t bytes,
                      const struct far_conf *conf, far_conf_report *report,
                      void *arg);

/* Does the text look like farside.conf: its first line that is neither empty
 * nor a comment begins a [section]? */
bool far_check_is_conf(const char *text, size_t bytes);

#endif
