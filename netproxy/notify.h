/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts for guests that need not have attached anything: NOTIFY and
 * NOTIFIED of docs/PROTOCOL.md. The sender's half keeps each until it is
 * answered; the receiver's half hands it to this machine's backend, which
 * judges it, and carries the answer back. How it gets into a guest is the
 * backend's business (backend/notify.h). A platform that is not connected is
 * reached by way of a relay, which passes on what its configuration lets pass.
 */
#ifndef FARSIDE_NETPROXY_NOTIFY_H
#define FARSIDE_NETPROXY_NOTIFY_H

#include <jansson.h>
#include "devices/local-server.h"
#include "netproxy/controller.h"
#include "netproxy/link.h"

#define FAR_NOTICES_KEPT_MAX  256 /* per platform; then devices are refused */
#define FAR_NOTICES_WINDOW    32  /* sent and unanswered, per connection */
#define FAR_NOTICES_TAKEN_MAX 64  /* unanswered, that we take, per sender */

struct far_notice_board;
struct far_server;
struct far_taken_notice;

/* One for the whole netproxy. */
struct far_notifier {
    struct far_context *context;
    struct far_controller *controller;
    struct far_server *server;
    struct far_local_server *local;  /* NULL: not there yet */
    struct far_notice_board *boards; /* what we send, by platform */
    struct far_taken_notice *taken;  /* in the order of their coming */
    uint64_t last_id;
};

void far_notifier_init(struct far_notifier *notifier,
                       struct far_context *context,
                       struct far_controller *controller,
                       struct far_server *server);
void far_notifier_free(struct far_notifier *notifier);

/* For devices of this process: an interrupt (op: opcode and args count) to a
 * guest of that platform, a name or a uuid. Kept until it is answered, over
 * lost connections too; each happens at most once. *sequence, for
 * far_notify_result(). -EACCES: [export DEVICE] does not allow it; -ENOBUFS:
 * too many are kept for that platform. */
int far_controller_notify(struct far_notifier *notifier, const char *device,
                          const char *platform, const char *guest,
                          const struct far_op *op, uint64_t *sequence,
                          struct far_error *error);
/* What became of it: 0, -EINPROGRESS, or why not; -ENOENT: it is not known any
 * more. */
int far_notify_result(const struct far_notifier *notifier, const char *platform,
                      uint64_t sequence, struct far_error *error);

/* The server's: a platform has come, gone, or has another connection now, or
 * who may carry what has changed (what was not answered goes out again); that
 * one has answered (-EPROTO with error: what was never sent). */
void far_notify_ways(struct far_notifier *notifier);
int far_notify_answered(struct far_notifier *notifier, const char *platform,
                        const struct far_wire_frame *frame,
                        struct far_error *error);
/* The link's: one has come; the link is down, its questions are void. */
void far_notify_take(struct far_notifier *notifier, struct far_link *link,
                     const struct far_wire_frame *frame);
void far_notify_link_down(struct far_notifier *notifier, struct far_link *link);
/* The local server's (struct far_local_server_ops). */
void far_notify_guests(struct far_notifier *notifier, bool anew);
void far_notify_notified(struct far_notifier *notifier,
                         const struct far_local_notified *message);

json_t *far_notify_status(const struct far_notifier *notifier);

#endif
