/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * sndif's frontend (xen/io/sndif.h): a sound card from the guest's side, with
 * all its streams. Each has a ring for requests, of which one is under way at a
 * time, a page of events, and, once prepared, a buffer that it shares with the
 * backend: a ring of samples, as a sound card has it. One thread, in a loop.
 */
#ifndef FARSIDE_FRONTEND_SND_H
#define FARSIDE_FRONTEND_SND_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/io/sndif.h>
#include "core/loop.h"
#include "xenbus/xs.h"

#define FAR_SND_STREAMS_MAX 16u
#define FAR_SND_BUFFER_MAX  (1u << 20)

struct far_snd;

enum far_snd_state { FAR_SND_WAITS, FAR_SND_CONNECTED, FAR_SND_GONE };

struct far_snd_hooks {
    /* why: for a person, may be NULL. When it is connected again, all streams
     * are closed. */
    void (*state)(void *arg, enum far_snd_state state, const char *why);
    void (*answer)(void *arg, unsigned stream,
                   const struct xensnd_resp *answer);
    /* So many bytes were played or recorded since it was opened. */
    void (*position)(void *arg, unsigned stream, uint64_t bytes);
};

/* xs and loop are the caller's and outlive it. NULL and errno. */
struct far_snd *far_snd_open(struct far_loop *loop, struct far_xs *xs,
                             unsigned devid, const struct far_snd_hooks *hooks,
                             void *arg);
/* Lets go: state 6, grants ended. Not from within a hook. */
void far_snd_close(struct far_snd *snd);

unsigned far_snd_streams(const struct far_snd *snd);
/* As the nodes have it. */
bool far_snd_records(const struct far_snd *snd, unsigned stream);

/* Makes a buffer, and asks the backend to open the stream with it:
 * XENSND_OP_OPEN with all of `open` but its gref_directory. */
int far_snd_prepare(struct far_snd *snd, unsigned stream,
                    const struct xensnd_open_req *open);
/* Of the prepared stream; NULL: there is none. */
void *far_snd_memory(struct far_snd *snd, unsigned stream);
/* Any request; its id is given here. -EBUSY: the last one was not answered;
 * -ENOTCONN. */
int far_snd_ask(struct far_snd *snd, unsigned stream,
                const struct xensnd_req *request);

struct far_snd_counters {
    uint64_t requests, answers, events, connects, wrong;
};
const struct far_snd_counters *far_snd_counters(const struct far_snd *snd);

/* For hostile tests: both pages, what wakes the backend, and a grant of the
 * buffer (page 0: the directory's). */
void *far_snd_ring(struct far_snd *snd, unsigned stream);
void *far_snd_events(struct far_snd *snd, unsigned stream);
int far_snd_kick(struct far_snd *snd, unsigned stream);
uint32_t far_snd_gref(const struct far_snd *snd, unsigned stream,
                      unsigned page);

#endif
