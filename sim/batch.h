/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A xenstore transaction of many writes whose answers are not waited for one
 * by one, which libxenstore cannot do: a domain has a hundred nodes.
 */
#ifndef FAR_SIM_BATCH_H
#define FAR_SIM_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct xs_permissions;

struct batch {
    int fd;
    uint32_t tx, count;
    int err; /* the first that mattered */
    char *buf;
    size_t len, room;
};

/* Connects to the xenstored at $XENSTORED_PATH. 0, or -errno. */
int batch_open(struct batch *b);
void batch_close(struct batch *b);
/* Starts a transaction. 0, or -errno. */
int batch_begin(struct batch *b);
void batch_write(struct batch *b, const char *path, const char *value);
void batch_rm(struct batch *b, const char *path);
void batch_perms(struct batch *b, const char *path,
                 const struct xs_permissions *perms, unsigned count);
/* 0, -EAGAIN if it is to be done again, or another -errno. */
int batch_commit(struct batch *b);

#endif
