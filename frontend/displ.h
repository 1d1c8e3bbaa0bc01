/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * displif's frontend (xen/io/displif.h, version 2): screens from the guest's
 * side: connectors, buffers of either side's pages, requests and events. One
 * thread, in a loop. Requests are the protocol's own: what they mean is their
 * sender's business.
 *
 * A backend that has gone takes all buffers with it; when it is back the device
 * is connected anew.
 */
#ifndef FARSIDE_FRONTEND_DISPL_H
#define FARSIDE_FRONTEND_DISPL_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/displif.h>
#include "core/loop.h"
#include "xenbus/xs.h"

#define FAR_DISPL_CONNECTORS_MAX 8u

struct far_displ;
struct far_displ_buffer;

enum far_displ_state { FAR_DISPL_WAITS, FAR_DISPL_CONNECTED, FAR_DISPL_GONE };

struct far_displ_hooks {
    /* why: for a person, may be NULL. */
    void (*state)(void *arg, enum far_displ_state state, const char *why);
    void (*answer)(void *arg, unsigned connector,
                   const struct xendispl_resp *response);
    void (*event)(void *arg, unsigned connector,
                  const struct xendispl_evt *event);
};

/* xs and loop are the caller's and outlive it. NULL and errno. */
struct far_displ *far_displ_open(struct far_loop *loop, struct far_xs *xs,
                                 unsigned devid,
                                 const struct far_displ_hooks *hooks,
                                 void *arg);
/* Lets go: state 6, grants ended; buffers are the caller's to free before. Not
 * from within a hook. */
void far_displ_close(struct far_displ *displ);
unsigned far_displ_connectors(const struct far_displ *displ);
void far_displ_resolution(const struct far_displ *displ, unsigned connector,
                          uint32_t *width, uint32_t *height);

/* Sends one request; its id is given here, and returned. -EAGAIN: the ring is
 * full; -ENOTCONN. */
int far_displ_request(struct far_displ *displ, unsigned connector,
                      struct xendispl_req *request);

/* Pages for a buffer of so many bytes, and their directory, both granted; ours:
 * with pages; else the backend is to give them: far_displ_take_pages() when it
 * has. NULL and errno. */
struct far_displ_buffer *far_displ_buffer_new(struct far_displ *displ,
                                              uint32_t bytes, bool ours);
void far_displ_buffer_free(struct far_displ_buffer *buffer); /* NULL: fine */
void *far_displ_buffer_memory(const struct far_displ_buffer *buffer);
uint32_t far_displ_buffer_directory(const struct far_displ_buffer *buffer);
/* Maps what the backend has put into the directory. 0 or a negative errno. */
int far_displ_take_pages(struct far_displ_buffer *buffer);

/* For hostile tests: the pages, the words of a directory, and waking. */
void *far_displ_ring(struct far_displ *displ, unsigned connector);
void *far_displ_events(struct far_displ *displ, unsigned connector);
uint32_t *far_displ_buffer_words(struct far_displ_buffer *buffer);
int far_displ_kick(struct far_displ *displ, unsigned connector);

#endif
