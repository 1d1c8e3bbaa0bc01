/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's own state: one process per FARSIDE_SIM_DIR, one thread, that
 * holds all simulated hosts. It alone binds, grants, maps and frees, so there
 * is no lock that a killed process could leave behind. domain.c is the
 * hypervisor, xenbus.c each guest's xenbus driver, keeper.c the rest.
 */
#ifndef FAR_SIM_KEEPER_H
#define FAR_SIM_KEEPER_H

#include <stddef.h>
#include <sys/types.h>
#include "sim/hv.h"

struct keeper;
struct guest;
struct client;
struct bus_conn;

enum source_kind { SRC_LISTEN, SRC_CLIENT, SRC_BUS, SRC_EVENTS, SRC_CHILD };
struct source {
    enum source_kind kind;
    int fd;
    bool dead;
    struct source *next_dead;
};

struct host {
    char name[HV_NAME];
    bool up;
    uint16_t index;
    uint32_t next_domid;
    uint32_t dom0;   /* slot */
    pid_t xenstored; /* 0: not running */
    int kva;         /* dom0's xenstore page */
    uint32_t store_port;
    uint16_t *slots; /* by domid: slot + 1 */
};

/* What only the keeper knows of a domain, its ports and its grants. */
struct kport {
    uint32_t gen;
    uint16_t holds; /* unmap notifications that need it */
    uint8_t closing;
    uint8_t virq;
};
struct kgrant {
    uint16_t maps;
    uint8_t shared; /* its page is still mapped by its owner */
};
struct kdom {
    struct host *host; /* NULL: slot is empty */
    struct guest *guest;
    uint32_t gen;
    uint32_t port_top;            /* above the highest port ever used */
    uint32_t gref_hint, gref_top; /* lowest free or above; above all used */
    uint32_t shared_pages, shared_limit;
    uint32_t virq[24]; /* port, or 0 */
    uint32_t ring_frame, console_frame;
    struct kport ports[HV_PORTS];
    struct kgrant grants[HV_GREFS];
};

/* A guest is what lives on when its domain changes. */
struct guest {
    struct guest *next;
    char name[HV_NAME];
    uint8_t uuid[16];
    struct host *host; /* where it is, or was last */
    uint32_t dom;      /* slot, or HV_NO_DOM while it is saved */
    bool dying;
    uint32_t processes;
    /* xenbus.c */
    struct bus_conn *conns;
    struct bus_pending *pending;
    void *ring; /* mapped, or NULL */
    char *txq;
    size_t txq_len, txq_room;
    char *rx; /* one message, as far as it has come */
    size_t rx_len;
    uint32_t next_id;
};

struct handle {
    uint32_t id; /* 0: free */
    struct client *client;
    int writer;
};

struct entry {
    uint32_t slot, gen, ref, frame;
};
struct object {
    bool shared;
    uint32_t flags, offset;
    uint32_t port_slot, port_dom_gen, port, port_gen;
    uint32_t count;
    struct entry *entries;
};

struct client {
    struct source src;
    uint32_t id;
    pid_t pid;
    int pidfd;
    struct host *host;
    struct guest *guest; /* NULL: dom0 */
    bool hello;
    struct object **objects; /* by number - 1 */
    uint32_t room;
};

struct keeper {
    char dir[108];
    int epoll;
    struct source listen, events, child;
    struct source *dead;
    int ro_fd, rw_fd, mem_fd;
    struct hv_ro *ro;
    struct hv_rw *rw;
    struct kdom *doms;
    struct host hosts[HV_HOSTS];
    struct guest *guests;
    struct client *clients[HV_CLIENTS];
    struct handle handles[HV_HANDLES];
    uint32_t handle_hint, handle_count;
    uint32_t dom_gen;
    uint32_t internal; /* handle that guests' xenbus drivers listen on */
    uint16_t *frame_refs;
    uint32_t *free_frames; /* a queue: the longest unused is taken first */
    uint32_t frames_used, free_head, free_count;
    bool quit;
    bool had_host;
};

/* ---- domain.c ---- */

int hv_start(struct keeper *k);
/* The slot, or -errno. `domid` 0 is dom0's. */
int hv_dom_create(struct keeper *k, struct host *h, uint32_t domid,
                  const uint8_t uuid[16], struct guest *g);
void hv_dom_destroy(struct keeper *k, uint32_t slot);
int hv_find(struct keeper *k, struct host *h, uint32_t domid);
void hv_virq(struct keeper *k, struct host *h, uint32_t virq);

int hv_handle_open(struct keeper *k, struct client *c, int *reader,
                   uint32_t *id);
void hv_handle_close(struct keeper *k, uint32_t id);
struct handle *hv_handle(struct keeper *k, uint32_t id);

int hv_bind_unbound(struct keeper *k, uint32_t slot, uint32_t handle,
                    uint32_t remote_domid);
int hv_bind_interdomain(struct keeper *k, uint32_t slot, uint32_t handle,
                        uint32_t domid, uint32_t port);
int hv_bind_virq(struct keeper *k, uint32_t slot, uint32_t handle,
                 uint32_t virq);
void hv_close_port(struct keeper *k, uint32_t slot, uint32_t port);
/* Sends through a local port, as its domain's kernel would. */
void hv_send(struct keeper *k, uint32_t slot, uint32_t port);
/* What a process that was killed while it sent may have left undone. */
void hv_resend(struct keeper *k, struct client *c);

int hv_share(struct keeper *k, struct client *c, uint32_t slot,
             const struct hv_req *req, uint32_t *words, uint32_t *number);
int hv_map(struct keeper *k, struct client *c, uint32_t slot,
           const struct hv_req *req, const uint32_t *words, uint32_t *frames,
           uint32_t *number);
int hv_release(struct keeper *k, struct client *c, uint32_t number);
void hv_release_all(struct keeper *k, struct client *c);

/* ---- xenbus.c ---- */

int bus_open(struct keeper *k, struct guest *g, int *fd);
void bus_input(struct keeper *k, struct source *src, uint32_t events);
/* The guest lives in this domain from now on. */
int bus_attach(struct keeper *k, struct guest *g);
void bus_detach(struct keeper *k, struct guest *g);
void bus_event(struct keeper *k, struct guest *g);
uint32_t bus_busy(const struct guest *g);
void bus_free(struct keeper *k, struct guest *g);

/* ---- keeper.c ---- */

int keeper_watch(struct keeper *k, struct source *src, uint32_t events);
void keeper_rewatch(struct keeper *k, struct source *src, uint32_t events);
/* Closes and frees it after this turn of the loop. */
void keeper_drop(struct keeper *k, struct source *src);
/* Runs until there is no host any more. Returns an exit status. */
int keeper_main(const char *dir, int ready_fd);

#endif
