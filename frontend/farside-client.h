/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * For programs in a guest that share its timers and doorbells: they talk to
 * farside-frontend(1), which has the devices, at its socket. What stands here
 * is the whole interface and the whole protocol: a packet (SOCK_SEQPACKET) is
 * one struct far_frontend_message, either way. Part of libfarside-frontend.
 */
#ifndef FARSIDE_CLIENT_H
#define FARSIDE_CLIENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FAR_FRONTEND_SOCKET "/run/farside-frontend.sock"

#define FAR_FRONTEND_CLIENT_TIMERS 64 /* of one client, numbered from 0 */

enum far_frontend_message_type {
    /* From a client. */
    FAR_FRONTEND_ARM = 1,    /* number: the timer; time_ns: after so long;
                                period_ns; value: enum far_frontend_catch_up */
    FAR_FRONTEND_CANCEL = 2, /* number: the timer */
    FAR_FRONTEND_NOW = 3,    /* value comes back */
    FAR_FRONTEND_LISTEN = 4, /* number: the doorbell's device id */
    FAR_FRONTEND_RING = 5,   /* number: the same; value: is rung */

    /* To a client. */
    FAR_FRONTEND_EXPIRED = 64, /* number: the timer; count: since the last */
    FAR_FRONTEND_TIME = 65,    /* time_ns: the host's CLOCK_MONOTONIC, 0 if it
                                  is not known yet; period_ns: how far that may
                                  be off; value: as in NOW */
    FAR_FRONTEND_RUNG = 66,    /* number: the doorbell; value */
    FAR_FRONTEND_ANSWER = 67,  /* to LISTEN, RING, and what makes no sense:
                                  number, value as asked; status: 0, -EAGAIN
                                  (the other guest has not taken enough of those
                                  before), -ENOTCONN (nobody is at the other
                                  end), -ECONNRESET (not known), -EINVAL,
                                  -ENOSPC (too many doorbells) */
};

struct far_frontend_message {
    uint32_t type;
    uint32_t number;
    uint32_t value;
    int32_t status;
    union {
        uint64_t time_ns;
        uint64_t count;
    };
    uint64_t period_ns;
};

struct far_frontend_client;

/* path may be NULL: FAR_FRONTEND_SOCKET. NULL and errno. */
struct far_frontend_client *far_frontend_client_open(const char *path);
void far_frontend_client_close(struct far_frontend_client *client);
/* Readable when there is something for far_frontend_client_next(). */
int far_frontend_client_fd(const struct far_frontend_client *client);

/* 0, or a negative errno: -EINVAL, -EPIPE (farside-frontend has gone). They may
 * block while it is busy. catch_up: enum far_frontend_catch_up of
 * farside-frontend.h. */
int far_frontend_client_arm(struct far_frontend_client *client, unsigned timer,
                            uint64_t distance_ns, uint64_t period_ns,
                            unsigned catch_up);
int far_frontend_client_cancel(struct far_frontend_client *client,
                               unsigned timer);
int far_frontend_client_now(struct far_frontend_client *client, uint32_t value);
int far_frontend_client_listen(struct far_frontend_client *client,
                               unsigned doorbell);
int far_frontend_client_ring(struct far_frontend_client *client,
                             unsigned doorbell, uint32_t value);
/* The next message: 1; 0: none came within so many milliseconds (negative: for
 * ever); -EPIPE, … */
int far_frontend_client_next(struct far_frontend_client *client,
                             struct far_frontend_message *message,
                             int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
