/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The controller: which software device a request means, whether its platform
 * may have it, and the sessions that there are.
 */
#ifndef FARSIDE_NETPROXY_CONTROLLER_H
#define FARSIDE_NETPROXY_CONTROLLER_H

#include "netproxy/directory.h"
#include "netproxy/session.h"

#define FAR_SESSIONS_MAX 4096

struct far_controller {
    struct far_loop *loop;
    struct far_log *log;
    const char *platform; /* our own */
    const struct far_conf *conf;
    struct far_devices *devices;
    const struct far_directory *directory; /* NULL: there are no leases */
    struct far_session *sessions;
    unsigned session_count;
    struct far_quota *quotas;
    uint64_t last_epoch;
    struct far_local_use *local_uses; /* netproxy/local.c's */
    bool choosing; /* a session that ends now is to be asked for again */
    /* Somebody has got a device, or left one: others may wait for it. May be
     * NULL. */
    void (*changed)(void *arg);
    void *changed_arg;
};

/* May that platform have what it asks for, and is it there? The session, found
 * or made, or NULL with error: what is missing, in words for a person at the
 * other end. Nothing in *who is believed but what it asks for. */
struct far_session *far_controller_prepare(struct far_controller *controller,
                                           const char *platform,
                                           const struct far_local_who *who,
                                           struct far_error *error);
/* The same for who may ask for any device: had is the one that it had before
 * ("": none), and gets again if it can. */
struct far_session *far_controller_prepare_any(
    struct far_controller *controller, const char *platform,
    const struct far_local_who *who, const char *had, struct far_error *error);
/* The same question, of a device by its name, without the answer: 0 or a
 * negative errno. error may be NULL. */
int far_controller_may(const struct far_controller *controller,
                       const char *platform, const char *device,
                       struct far_error *error);
/* And for that guest of it? (A migrating one, NAME--incoming, as NAME.) */
int far_controller_may_guest(const struct far_controller *controller,
                             const char *platform, const char *device,
                             const struct far_local_who *who,
                             struct far_error *error);
/* And when it runs, by its own name? */
int far_controller_may_activate(const struct far_controller *controller,
                                const char *platform, const char *device,
                                const struct far_local_who *who,
                                struct far_error *error);
/* An epoch for an activation; whoever else holds that guest's device, from
 * another platform, loses it. */
uint64_t far_controller_activate(struct far_controller *controller,
                                 const struct far_session *session);
void far_controller_end(struct far_controller *controller,
                        struct far_session *session, const char *reason);
/* After a reload: sessions that are no longer allowed end. */
void far_controller_review(struct far_controller *controller);
/* Calls changed(), if there is one. */
void far_controller_changed(struct far_controller *controller);
/* Has a device that is served under a lease something to answer yet? */
bool far_controller_owner_busy(const struct far_controller *controller);
void far_controller_free(struct far_controller *controller);

#endif
