/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The directory: which servers have the device that an address names by
 * .directory/NAME, and which platform owns it. It is a file that people write,
 * or in etcd (netproxy/etcd.h), where servers register what they export. No
 * server is asked here, and no device opened: netproxy/standby.h does that.
 */
#ifndef FARSIDE_NETPROXY_DIRECTORY_H
#define FARSIDE_NETPROXY_DIRECTORY_H

#include <limits.h>
#include <string.h>
#include "netproxy/etcd.h"
#include "netproxy/standby.h"

/* Where an address has its platform. */
#define FAR_DIRECTORY         ".directory"
#define FAR_DIRECTORY_ENTRIES 4096

struct far_directory_entry {
    char name[FAR_NAME_BYTES];
    struct far_standby_place place;
    bool owner;
};

struct far_directory_ops {
    /* Places are others; not from within a call of a layer. */
    void (*changed)(void *arg);
    /* A lease was won or lost, or another platform has it; the same. */
    void (*leases)(void *arg);
    void *arg;
};

struct far_directory {
    struct far_loop *loop;
    struct far_log *log;
    struct far_directory_ops ops;
    struct far_directory_entry *entries; /* as preferred, of each name */
    unsigned count;
    struct far_lease *leases; /* they stay in place until it is freed */
    struct far_timer lapse;
    uint64_t first_us; /* far_boot_us() when the first that is held ends */
    struct far_etcd *etcd;
    struct far_directory_entry *coming; /* of etcd; FAR_ETCD_PLACES */
    unsigned coming_count;
    uint32_t generation;
    uint64_t patience_us; /* what a device was left with is waited for */
    bool in_etcd;
    char at[300];        /* etcd's addresses */
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

void far_directory_init(struct far_directory *directory, struct far_loop *loop,
                        struct far_log *log,
                        const struct far_directory_ops *ops);
/* Forks the helper that talks to etcd if [directory] wants one; call it before
 * the sandbox closes. What is in the way is logged, and stands in the status.
 */
void far_directory_start(struct far_directory *directory,
                         const struct far_conf *conf, const char *user);
/* Takes [directory] and what of each [export] belongs there; a file is read
 * again. A fault in it leaves what was known, and is reported. */
void far_directory_configure(struct far_directory *directory,
                             const struct far_conf *conf,
                             far_conf_report *report, void *report_arg);
/* Does that export need a lease? Then what it is called in the directory. */
const char *far_directory_leased(const struct far_conf_section *export);
/* The lease of that name, or NULL: there is no directory with leases. */
struct far_lease *far_directory_lease(const struct far_directory *directory,
                                      const char *name);
/* Nothing more begins under a lease; what is under way may still be answered.
 * For an end in peace: far_directory_free() gives the leases back then. */
void far_directory_stop(struct far_directory *directory);
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
