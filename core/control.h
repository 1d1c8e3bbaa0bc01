/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The control socket of each daemon (RUNDIR/backend.sock, netproxy.sock): a
 * Unix stream, one JSON object a line, one JSON answer a line. Both ends live
 * here; what the requests mean is each daemon's business. Nothing of the data
 * path goes this way.
 */
#ifndef FARSIDE_CORE_CONTROL_H
#define FARSIDE_CORE_CONTROL_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>
#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"

#define FAR_CONTROL_LINE_BYTES_MAX 65536 /* of a request */
#define FAR_CONTROL_CLIENTS_MAX    16

struct far_control;

/* Called in the loop for each request; borrows it; returns the answer, which
 * is taken over (NULL: memory is out). Must not call far_control_free(). */
typedef json_t *far_control_handler(json_t *request, void *arg);

/* Listens at path (mode 0660; a stale socket is replaced). Peers are root, our
 * own user or of our own group; all others are turned away. NULL with error. */
struct far_control *far_control_new(struct far_loop *loop, struct far_log *log,
                                    const char *path,
                                    far_control_handler *handler, void *arg,
                                    struct far_error *error);
/* Within the handler: may who asks see what only root may? (The daemon's own
 * user sees it anyway.) Members of its group may not. */
bool far_control_is_root(const struct far_control *control);
/* Within the handler: the descriptor that came with the request, now the
 * caller's; -1: there is none. */
int far_control_take_fd(struct far_control *control);
/* Closes, and removes the path. NULL is fine. */
void far_control_free(struct far_control *control);

/* {"error": TEXT, "code": -errno}: the answer of a request that failed. */
json_t *far_control_error(int code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The client: connects, sends, waits for the answer, at most timeout_us in all
 * (blocks the caller: for tools). request is borrowed; *answer is the caller's
 * to decref. An answer with "error" is returned as its code, its text in
 * error, and *answer is NULL. */
int far_control_call(const char *path, json_t *request, json_t **answer,
                     uint64_t timeout_us, struct far_error *error);
/* The same with a descriptor beside the request (-1: none), which stays the
 * caller's. */
int far_control_call_fd(const char *path, json_t *request, int with_fd,
                        json_t **answer, uint64_t timeout_us,
                        struct far_error *error);

#endif
