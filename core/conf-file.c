/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A configuration from a file into memory, and out of memory again. Its text
 * is read by core/conf.c.
 */
#include "core/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (16u << 20)

struct far_conf *far_conf_read(const char *file, far_conf_report *report,
                               void *arg, unsigned *problems,
                               struct far_error *error)
{
    struct far_conf *conf = NULL;
    FILE *f = fopen(file, "re");
    char *text = NULL;
    size_t bytes = 0, room = 0;

    if (!f) {
        far_error(error, -errno, "%s: can't be opened: %s", file,
                  strerror(errno));
        return NULL;
    }
    do {
        char *more = realloc(text, room = room ? room * 2 : 4096);

        if (!more)
            break;
        text = more;
        bytes += fread(text + bytes, 1, room - bytes, f);
    } while (bytes == room && room < FILE_BYTES_MAX);
    if (ferror(f))
        far_error(error, -EIO, "%s: can't be read", file);
    else if (bytes == FILE_BYTES_MAX)
        far_error(error, -EFBIG, "%s: too large for a configuration", file);
    else if (bytes == room ||
             !(conf = far_conf_parse(file, text, bytes, report, arg, problems)))
        far_error(error, -ENOMEM, "%s: out of memory", file);
    free(text);
    fclose(f);
    return conf;
}

void far_conf_free(struct far_conf *conf)
{
    struct far_conf_section *s, *next;
    struct far_conf_entry *e, *after;

    for (s = conf ? conf->sections : NULL; s; s = next) {
        next = s->next;
        for (e = s->entries; e; e = after) {
            after = e->next;
            free(e->key);
            free(e->value);
            free(e);
        }
        free(s->kind);
        free(s->name);
        free(s);
    }
    if (conf)
        free(conf->file);
    free(conf);
}
