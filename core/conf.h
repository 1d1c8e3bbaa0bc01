/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The reader of farside.conf: sections, keys, values, each with its line and
 * column, so that a wrong one can be shown. Which keys exist is said by tables
 * of struct far_conf_key; an unknown key is an error that names the nearest
 * known one. Nothing is cut silently.
 */
#ifndef FARSIDE_CORE_CONF_H
#define FARSIDE_CORE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/error.h"

struct far_conf_entry {
    char *key, *value;
    unsigned line, column; /* of the value, from 1 */
    struct far_conf_entry *next;
};

struct far_conf_section {
    char *kind; /* "device" of [device kbd0] */
    char *name; /* "kbd0", "" if there is none */
    unsigned line;
    struct far_conf_entry *entries;
    struct far_conf_section *next;
    const char *file;
};

struct far_conf {
    char *file;
    struct far_conf_section *sections;
};

/* A problem found: called for each, so that `farside check` shows all. */
typedef void far_conf_report(void *arg, const char *file, unsigned line,
                             unsigned column, const char *text);

/* NULL only if the file can't be read or memory is out (error says which).
 * Syntax errors are reported and the rest is read; *problems counts them. */
struct far_conf *far_conf_read(const char *file, far_conf_report *report,
                               void *arg, unsigned *problems,
                               struct far_error *error);
struct far_conf *far_conf_parse(const char *file, const char *text,
                                size_t bytes, far_conf_report *report,
                                void *arg, unsigned *problems);
void far_conf_free(struct far_conf *conf);

/* Judges sections, keys and values against the tables of core/conf-keys.c (all
 * of farside.conf is described there, once); number of problems. */
unsigned far_conf_check(const struct far_conf *conf, far_conf_report *report,
                        void *arg);

struct far_conf_section *far_conf_section(const struct far_conf *conf,
                                          const char *kind, const char *name);
/* The first entry of that key, or the next one after `after`. */
struct far_conf_entry *far_conf_entry(const struct far_conf_section *section,
                                      const char *key,
                                      const struct far_conf_entry *after);
/* Values, or the default if section is NULL or the key is absent or wrong
 * (a wrong one was reported by far_conf_check). */
const char *far_conf_string(const struct far_conf_section *section,
                            const char *key, const char *fallback);
bool far_conf_bool(const struct far_conf_section *section, const char *key,
                   bool fallback);
uint64_t far_conf_number(const struct far_conf_section *section,
                         const char *key, uint64_t fallback);
/* "500ms", "2s", "100us"; "off" gives UINT64_MAX */
uint64_t far_conf_time_us(const struct far_conf_section *section,
                          const char *key, uint64_t fallback_us);

/* Is word one of those that stand behind this key, in any of its lines? NULL
 * section: no. */
bool far_conf_lists(const struct far_conf_section *section, const char *key,
                    const char *word);

/* "500ms" and so on; false if that is no time. */
bool far_time_parse(uint64_t *time_us, const char *text);

/* Names of platforms, devices: letters, digits . _ -, at most 63 bytes. */
#define FAR_NAME_BYTES 64
bool far_name_valid(const char *name);

/* "kbd0", "borealis/kbd0", "borealis+cygnus/kbd0". Platform is empty for this
 * one. 0 or -EINVAL with error. */
struct far_address {
    char platform[FAR_NAME_BYTES];
    char standby[FAR_NAME_BYTES];
    char device[FAR_NAME_BYTES];
};
int far_address_parse(struct far_address *address, const char *text,
                      struct far_error *error);

#endif
