/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the preloaded library share: this process's connection
 * to the keeper, and the tables that it maps. The only global state of the
 * project outside a main.c: the functions that it stands in for carry none.
 */
#ifndef FAR_SIM_CLIENT_H
#define FAR_SIM_CLIENT_H

#include <pthread.h>
#include <stddef.h>
#include "sim/hv.h"

struct sim_client {
    pthread_mutex_t lock; /* of the connection; never held over a wait for
                             anything but the keeper's answer */
    int sock;             /* -1: not connected */
    int mem;              /* the frames of all domains */
    uint32_t id;          /* our place in hv_ro.client_dom */
    uint32_t epoch;       /* counts forks: handles of another are dead */
    bool tried;
    const struct hv_ro *ro;
    struct hv_rw *rw;
};

extern struct sim_client sim;

/* Connects if need be. 0, or -errno. Any thread. */
int sim_connect(void);

/*
 * Asks the keeper. `words` follow the request, up to `max_words` words of the
 * answer are stored; up to `nfds` descriptors too (-1 for none). Returns the
 * answer's `err`, or -errno if there is no keeper. Any thread.
 */
int sim_call(struct hv_req *req, const uint32_t *words, struct hv_rsp *rsp,
             uint32_t *answer, uint32_t max_words, int *fds, int nfds);

/* The domain that this process lives in now, or NULL while it has none. */
const struct hv_dom *sim_dom(uint32_t *slot);
const struct hv_dom *sim_find_dom(uint16_t host, uint32_t domid,
                                  uint32_t *slot);

/* Sets errno from a negative errno and returns -1. */
int sim_fail(int err);

/* The real system calls under what this library stands in for. */
int sim_real_munmap(void *addr, size_t len);

/* gnttab.c: a range is being unmapped by the program itself. */
void sim_forget_range(void *addr, size_t len);
/* After fork, in the child. */
void sim_gnttab_forked(void);
void sim_evtchn_forked(void);

#endif
