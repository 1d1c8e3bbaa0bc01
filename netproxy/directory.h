/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The directory: which servers have the device that an address names by
 * .directory/NAME. It stands in a file that people write. No server is asked
 * here, and no device opened: netproxy/standby.h does that.
 */
#ifndef FARSIDE_NETPROXY_DIRECTORY_H
#define FARSIDE_NETPROXY_DIRECTORY_H

#include <limits.h>
#include <string.h>
#include "netproxy/standby.h"

/* Where an address has its platform. */
#define FAR_DIRECTORY         ".directory"
#define FAR_DIRECTORY_ENTRIES 4096

struct far_directory_entry {
    char name[FAR_NAME_BYTES];
    struct far_standby_place place;
};

struct far_directory {
    struct far_loop *loop;
    struct far_log *log;
    void (*changed)(void *arg);
    void *arg;
    struct far_directory_entry *entries; /* as preferred, of each name */
    unsigned count;
    char file[PATH_MAX]; /* "": there is none */
    char reason[232];    /* why it is not as it should be, or "" */
    int fd;              /* inotify's, or -1 */
    struct far_io io;
    struct far_timer settle; /* what is written in pieces is read once */
};

static inline bool far_directory_is(const char *platform)
{
    return !strcmp(platform, FAR_DIRECTORY);
}

/* changed(arg): places are others; not from within a call of a layer. */
void far_directory_init(struct far_directory *directory, struct far_loop *loop,
                        struct far_log *log, void (*changed)(void *arg),
                        void *arg);
/* Takes [directory] (NULL: none) and reads it again. A fault in its file leaves
 * what was known, and is reported. */
void far_directory_configure(struct far_directory *directory,
                             const struct far_conf_section *section,
                             far_conf_report *report, void *report_arg);
/* How many places that name has; the preferred one first. */
unsigned
far_directory_find(const struct far_directory *directory, const char *name,
                   struct far_standby_place places[FAR_STANDBY_PLACES]);
/* The entries of a file; NULL if it has a fault, which is reported, or memory
 * is out. The caller frees them. Pure, but for reading the file. */
struct far_directory_entry *far_directory_read(const char *file,
                                               unsigned *count,
                                               far_conf_report *report,
                                               void *arg);
json_t *far_directory_json(const struct far_directory *directory);
void far_directory_free(struct far_directory *directory);

#endif
