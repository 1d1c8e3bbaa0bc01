/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pre-shared keys: a file with lines IDENTITY:HEXKEY, as `farside trust psk`
 * (and GnuTLS's psktool) writes them; identity is a platform's name. Read
 * whole, at start and reload. Also how all files of trust are read.
 */
#ifndef FARSIDE_NETPROXY_KEYS_H
#define FARSIDE_NETPROXY_KEYS_H

#include "core/conf.h"
#include "core/error.h"

#define FAR_KEY_BYTES_MIN 16
#define FAR_KEY_BYTES_MAX 64

struct far_key {
    char identity[FAR_NAME_BYTES];
    uint8_t key[FAR_KEY_BYTES_MAX];
    size_t bytes;
};

struct far_keys {
    struct far_key *keys;
    unsigned count;
};

/* Adds the file's lines to *keys. 0 or a negative errno; error names file and
 * line. Nothing is added by a call that fails. */
int far_keys_read(struct far_keys *keys, const char *file,
                  struct far_error *error);
int far_keys_parse(struct far_keys *keys, const char *file, char *text,
                   struct far_error *error);
const struct far_key *far_keys_find(const struct far_keys *keys,
                                    const char *identity);
void far_keys_free(struct far_keys *keys); /* wipes; idempotent */

/* A small file that decides who is let in: refused (-EPERM) if others than its
 * owner and root's group could write it, and, if it is secret, if everybody
 * could read it. 0 and a text with a zero behind it, the caller's to wipe and
 * free; or a negative errno with error. */
int far_file_read(const char *file, bool secret, size_t bytes_max, char **text,
                  size_t *bytes, struct far_error *error);

#endif
