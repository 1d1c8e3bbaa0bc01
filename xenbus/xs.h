/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * xenstore, checked: strict numbers, bounded strings, transactions that are
 * tried again, and one table of watches that coalesces: a watch's callback is
 * called at most once a turn of the loop, whatever a guest does to its nodes.
 * Works on libxenstore only. Calls block for xenstored's answer (tens of
 * microseconds): for attaching and detaching, never on the data path.
 */
#ifndef FARSIDE_XENBUS_XS_H
#define FARSIDE_XENBUS_XS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/loop.h"

#define FAR_XS_PATH_BYTES  256
#define FAR_XS_VALUE_BYTES 4096

struct far_xs;

/* NULL and errno. loop may be NULL (a tool that needs no watch). lost is
 * called once when xenstored has gone (a daemon then ends, for its
 * successor); may be NULL. */
struct far_xs *far_xs_open(struct far_loop *loop,
                           void (*lost)(struct far_xs *xs, void *arg),
                           void *arg);
void far_xs_close(struct far_xs *xs); /* unwatches all */
bool far_xs_is_lost(const struct far_xs *xs);

/* A transaction: 0 is none. */
typedef uint32_t far_xs_t;

/* Reads a node into value, terminated; its length, or -ENOENT, -EACCES,
 * -E2BIG (longer than room; value holds nothing), -EINVAL (holds a NUL). */
int far_xs_read(struct far_xs *xs, far_xs_t t, char *value, size_t room,
                const char *path_format, ...)
    __attribute__((format(printf, 5, 6)));
/* A decimal number and nothing else: no blank, sign, or leading plus. -EINVAL
 * if it is none or over max. */
int far_xs_read_u64(struct far_xs *xs, far_xs_t t, uint64_t *value,
                    uint64_t max, const char *path_format, ...)
    __attribute__((format(printf, 5, 6)));
int far_xs_write(struct far_xs *xs, far_xs_t t, const char *path,
                 const char *value_format, ...)
    __attribute__((format(printf, 4, 5)));
/* Writes only what differs: -EALREADY is not returned, 1 if it was written. */
int far_xs_write_if_new(struct far_xs *xs, far_xs_t t, const char *path,
                        const char *value);
int far_xs_remove(struct far_xs *xs, far_xs_t t, const char *path_format, ...)
    __attribute__((format(printf, 3, 4))); /* 0 also if there is none */
int far_xs_mkdir(struct far_xs *xs, far_xs_t t, const char *path);
/* owner and one reader, as libxl gives them (nOWNER,rREADER). */
int far_xs_permit(struct far_xs *xs, far_xs_t t, const char *path,
                  unsigned owner_domid, unsigned reader_domid);
/* Children, at most max (the rest is left out and *more set). The strings live
 * until far_xs_list_free. Number, or a negative errno. */
struct far_xs_list {
    char **names;
    unsigned count;
    bool more;
};
int far_xs_directory(struct far_xs *xs, far_xs_t t, struct far_xs_list *list,
                     unsigned max, const char *path_format, ...)
    __attribute__((format(printf, 5, 6)));
void far_xs_list_free(struct far_xs_list *list);
/* Runs change inside a transaction, again (at most 16 times) while xenstored
 * says EAGAIN; change returns 0, or a negative errno to give up. */
int far_xs_transact(struct far_xs *xs,
                    int (*change)(struct far_xs *xs, far_xs_t t, void *arg),
                    void *arg);
/* Pure, and strict: digits only, at least one, at most max; or -EINVAL. */
int far_number_parse(const char *text, uint64_t max, uint64_t *value);
/* The same, below DOMID_FIRST_RESERVED. */
int far_domid_parse(const char *text, unsigned *domid);
/* Our own: from the relative path "domid", 0 if it can't be read. */
unsigned far_xs_own_domid(struct far_xs *xs);
/* Does xenstored know this domain? It tells @releaseDomain after it has let go
 * of one. True if that can't be asked. */
bool far_xs_is_introduced(struct far_xs *xs, unsigned domid);

/* A watch on a node and what is below. Fires once at the start, then at most
 * once a turn when something changed, and after a burst of 32 at most each
 * 10 ms, however fast a guest writes. A callback may add and remove watches,
 * its own too, and close xs. Which path it was is told for the last
 * change only: a callback looks at what there is (mark and sweep), not at
 * what happened. Embedded; path is copied. */
struct far_xs_watch {
    void (*changed)(struct far_xs_watch *watch, const char *path);
    struct far_xs *xs;
    char *path;
    uint32_t token;
    bool dirty;
    uint64_t events; /* how many were coalesced in all */
    struct far_xs_watch *next, **prev;
};
int far_xs_watch(struct far_xs *xs, struct far_xs_watch *watch,
                 void (*changed)(struct far_xs_watch *watch, const char *path),
                 const char *path_format, ...)
    __attribute__((format(printf, 4, 5)));
void far_xs_unwatch(struct far_xs_watch *watch); /* idempotent */

#endif
