/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the program farside-sim share: its own connection to the
 * keeper, the environment that it gives to programs, and the small toolstack.
 */
#ifndef FAR_SIM_SIM_H
#define FAR_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include "sim/hv.h"

struct xs_handle;

/* A connection to the keeper, as dom0's toolstack. */
struct far_sim {
    char dir[96]; /* FARSIDE_SIM_DIR, or its default */
    int sock;     /* -1: nobody there */
};

/* 0, or -errno: -ENODEV if no keeper runs. */
int far_sim_connect(struct far_sim *s);
int far_sim_call(struct far_sim *s, struct hv_req *req, const void *words,
                 uint32_t word_count, struct hv_rsp *rsp, void *answer,
                 uint32_t max_words);

/*
 * Puts a program into a domain: the preload and all names in the environment.
 * `guest` is a uuid in text, NULL for dom0. 0, or -errno, having said why.
 */
int far_sim_setenv(const char *dir, const char *host, const char *guest,
                   uint32_t domid);

/* Finds a guest of a host by name, uuid or domid. 0, or -ENOENT. */
int far_sim_find(struct far_sim *s, const char *host, const char *guest,
                 struct hv_info *info);
/* dom0's connection to a host's xenstored; waits up to 5 s. NULL: said why. */
struct xs_handle *far_sim_xenstore(struct far_sim *s, const char *host);

/* xl.c: each returns an exit status and has said what went wrong. */
int far_sim_xl(struct far_sim *s, const char *command, int argc, char **argv);
int far_sim_init_dom0(struct xs_handle *xs);

#endif
