/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How a xenstore node's text is judged: by the tables that nodes.awk makes of
 * nodes.txt (schema.h). Pure: where the text comes from is the caller's, so
 * that tests and `farside check` need no xenstore.
 */
#ifndef FARSIDE_XENSTORE_SCHEMA_READ_H
#define FARSIDE_XENSTORE_SCHEMA_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum far_schema_type {
    FAR_SCHEMA_BOOL,
    FAR_SCHEMA_U32,
    FAR_SCHEMA_U64,
    FAR_SCHEMA_TEXT,
    FAR_SCHEMA_PATH,
    FAR_SCHEMA_NAME,
    FAR_SCHEMA_UUID,
    FAR_SCHEMA_HEX,
    FAR_SCHEMA_WORD,
};

enum far_schema_presence {
    FAR_SCHEMA_REQUIRED,
    FAR_SCHEMA_OPTIONAL,
    FAR_SCHEMA_DEFAULT,
    FAR_SCHEMA_ALONE, /* not in the struct */
};

struct far_schema_node {
    const char *name;
    enum far_schema_type type;
    enum far_schema_presence presence;
    uint64_t min, max; /* of numbers; of texts the length in bytes */
    uint64_t fallback; /* of FAR_SCHEMA_DEFAULT */
    const char *const *words;
    size_t offset, has_offset; /* in the group's struct */
    const char *writer, *meaning;
};

struct far_schema_group {
    const char *name, *path;
    const struct far_schema_node *nodes;
    size_t count;
    size_t bytes; /* of the struct */
};

#define FAR_SCHEMA_VALUE_BYTES 1100

/* What was wrong, in words for a person; the foreign value in it is escaped. */
struct far_schema_fault {
    const char *node; /* static; NULL: none */
    char text[192];
};

/* Reads one node below the group's directory into value, terminated: its
 * length; -ENOENT; -E2BIG or -EINVAL (too long, or holds a NUL) which are the
 * node's fault; another negative errno, which ends the reading. */
typedef int far_schema_reader(void *arg, const char *node, char *value,
                              size_t room);

/* Reads each node of the group once, checks it, and fills the struct at `to`
 * (of group->bytes). 0; -ENOENT or -EINVAL with *fault (may be NULL); or what
 * the reader failed with. On failure *to is all zero. */
int far_schema_read(const struct far_schema_group *group, void *to,
                    far_schema_reader *read, void *arg,
                    struct far_schema_fault *fault);
/* Judges one node's text, also of a node that stands alone; *number (may be
 * NULL) is the value of a number or the index of a word. 0, -EINVAL, or
 * -ENOENT if the group knows no such node. */
int far_schema_check(const struct far_schema_group *group, const char *node,
                     const char *text, uint64_t *number,
                     struct far_schema_fault *fault);

#endif
