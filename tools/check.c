// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside check: tells farside.conf from an xl guest config by its first
// line, gives each to its judge, prints what they say as FILE:LINE:COLUMN.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/check.h"
#include "tools/tool.h"

/* A configuration is no larger. */
#define FILE_BYTES_MAX (1u << 20)

struct found {
    unsigned line, column, order;
    char *text;
};

/* Problems of one file, shown in the order of their lines whoever found
 * them. */
struct report {
    struct found *found;
    unsigned count, room;
};

static void add(void *arg, const char *file, unsigned line, unsigned column,
                const char *text)
{
    struct report *r = arg;

    (void)file;
    if (r->count == r->room) {
        unsigned room = r->room ? r->room * 2 : 16;
        struct found *more = reallocarray(r->found, room, sizeof(*more));

        if (!more)
            return;
        r->found = more;
        r->room = room;
    }
    r->found[r->count] = (struct found){
        .line = line, .column = column, .order = r->count, .text = strdup(text)
    };
    r->count++;
}

static int by_place(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static unsigned show(struct far_tool *tool, const char *file,
                     struct report *report, const char *kind)
{
    unsigned n = report->count;

    if (n)
        qsort(report->found, n, sizeof(*report->found), by_place);
    for (unsigned i = 0; i < n; i++) {
        struct found *f = &report->found[i];

        fprintf(tool->out, "%s:%u:%u: %s\n", file, f->line, f->column,
                f->text ? f->text : "out of memory");
        free(f->text);
    }
    if (n)
        fprintf(tool->out, "%s: %u problem%s\n", file, n, n == 1 ? "" : "s");
    else
        fprintf(tool->out, "%s: fine (%s)\n", file, kind);
    free(report->found);
    *report = (struct report){ 0 };
    return n;
}

static void quiet(void *arg, const char *file, unsigned line, unsigned column,
                  const char *text)
{
    (void)arg;
    (void)file;
    (void)line;
    (void)column;
    (void)text;
}

/* The whole file with a '\0' behind it; the caller's. */
static char *read_file(const char *name, size_t *bytes, struct far_error *error)
{
    FILE *file = fopen(name, "re");
    char *text;

    if (!file) {
        far_error(error, -errno, "%s: %s", name, strerror(errno));
        return NULL;
    }
    text = malloc(FILE_BYTES_MAX + 1);
    if (!text) {
        far_error(error, -ENOMEM, "out of memory");
    } else {
        *bytes = fread(text, 1, FILE_BYTES_MAX + 1, file);
        if (ferror(file))
            far_error(error, -EIO, "%s: %s", name, strerror(errno));
        else if (*bytes > FILE_BYTES_MAX)
            far_error(error, -EFBIG, "%s: over 1 MiB: no configuration", name);
        else
            error->code = 0;
        if (error->code) {
            free(text);
            text = NULL;
        } else {
            text[*bytes] = '\0';
        }
    }
    fclose(file);
    return text;
}

/* 0 fine, 1 problems or can't be read */
static int check_file(struct far_tool *tool, const char *name,
                      const struct far_conf *ours)
{
    struct far_error error = { 0, "" };
    struct report report = { 0 };
    unsigned syntax = 0;
    size_t bytes = 0;
    char *text = read_file(name, &bytes, &error);

    if (!text)
        return far_fail("check", 1, "%s", error.text);
    if (memchr(text, '\0', bytes)) {
        free(text);
        return far_fail("check", 1, "%s: holds a zero byte: no text", name);
    }
    if (far_check_is_conf(text, bytes)) {
        struct far_conf *conf =
            far_conf_parse(name, text, bytes, add, &report, &syntax);

        free(text);
        if (!conf)
            return far_fail("check", 1, "out of memory");
        far_conf_check(conf, add, &report);
        far_check_conf(conf, add, &report);
        far_conf_free(conf);
        return show(tool, name, &report, "farside.conf") != 0;
    }
    far_check_xl(name, text, bytes, ours, add, &report);
    free(text);
    return show(tool, name, &report, "xl guest config") != 0;
}

int far_check_command(struct far_tool *tool, int argc, char **argv)
{
    struct far_conf *ours;
    struct far_error error;
    unsigned problems = 0;
    int status = FAR_EXIT_OK;

    if (getopt(argc, argv, "+") != -1)
        return far_usage("check", "no such option");
    argc -= optind;
    argv += optind;
    if (!argc)
        return check_file(tool, tool->conf_file, NULL) ? FAR_EXIT_FAILED
                                                       : FAR_EXIT_OK;

    /* What guests' addresses are looked up in; its own faults are shown when
     * it is checked itself. */
    ours = far_conf_read(tool->conf_file, quiet, NULL, &problems, &error);
    for (int i = 0; i < argc; i++)
        if (check_file(tool, argv[i], ours))
            status = FAR_EXIT_FAILED;
    if (!ours && error.code != -ENOENT)
        far_fail("check", 0, "addresses were not looked up: %s", error.text);
    far_conf_free(ours);
    return status;
}
