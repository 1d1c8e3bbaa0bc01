/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's half of the local device protocol (core/local.h): whoever
 * serves devices to a backend of this machine (a netproxy, an outside device)
 * supplies one callback that opens a chain of layers; the server turns ops
 * from the ring into far_layer_submit(), and what comes up into the ring and
 * STATE messages, with back-pressure both ways. Clients are not trusted: each
 * can lose only its own connection.
 */
#ifndef FARSIDE_DEVICES_LOCAL_SERVER_H
#define FARSIDE_DEVICES_LOCAL_SERVER_H

#include <sys/types.h>
#include "devices/device.h"

struct far_local_server;

struct far_local_server_ops {
    /* Who asks for what (names are checked; who lives only for the call). Puts
     * the top of a chain into *layer: a device of this process, or a remote
     * one. Its state() may come once the server has stacked itself on it, also
     * before activate(). Or a negative errno with error->text as the reason
     * for a person: it is kept, and asked again by far_local_server_retry(). */
    int (*open)(void *arg, const struct far_local_who *who,
                struct far_layer **layer, struct far_error *error);
    /* `farside send` for a device that lives here. May be NULL. */
    int (*feed)(void *arg, const char *device,
                const struct far_input_event *events, unsigned count,
                struct far_error *error);
    /* Called just before the layer of that user is closed: it detached in
     * words, or its connection is lost (a successor may come). May be NULL. */
    void (*leaving)(void *arg, const struct far_local_who *who, bool detached);
    /* Also who is in the group of the socket's folder may attach, if this
     * program can give the socket to that group; else, and without this, only
     * root and this program's own user. */
    bool group_peers;
    /* A client said that it has guests, or has room again: what is not answered
     * is to be sent again (far_local_server_notify). May be NULL. */
    void (*guests)(void *arg, bool anew);
    /* What became of an interrupt. May be NULL if there are none. */
    void (*notified)(void *arg, const struct far_local_notified *message);
    void *arg;
};

/* Listens on path (an older socket there is removed; mode 0660, or 0600 if its
 * folder's group was asked for and can't be had). platform: our
 * own name, for the hello. ops is copied. NULL with error. */
struct far_local_server *
far_local_server_new(struct far_loop *loop, struct far_log *log,
                     const char *path, const char *platform,
                     const struct far_local_server_ops *ops,
                     struct far_error *error);
/* Closes every chain, removes the socket. NULL is fine. */
void far_local_server_free(struct far_local_server *server);
/* Opens all again that were refused: call it when devices or links come, or
 * the configuration changed. A reason that changed is told to the client. */
void far_local_server_retry(struct far_local_server *server);

/* One line of status for each attachment. */
struct far_local_server_use {
    const struct far_local_who *who;
    pid_t pid; /* of the client */
    bool open, active;
    enum far_device_state state;
    const char *reason;   /* "" if there is none */
    uint64_t sent, acked; /* interrupt sequences */
};
void far_local_server_each(struct far_local_server *server,
                           void (*each)(void *arg,
                                        const struct far_local_server_use *use),
                           void *arg);
/* An interrupt for a guest, to the client that has them (the last one that said
 * so). 0, -ENOTCONN: there is none, guests() will be called; -EAGAIN: it does
 * not read as fast, guests() will be called. */
int far_local_server_notify(struct far_local_server *server,
                            const struct far_local_notify *message);
unsigned far_local_server_clients(const struct far_local_server *server);

#endif
