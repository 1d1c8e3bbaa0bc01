/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * farside-frontend's socket: the guest's timers and doorbells for programs that
 * share them (farside-client.h).
 */
#ifndef FARSIDE_FRONTEND_SOCKET_H
#define FARSIDE_FRONTEND_SOCKET_H

#include "frontend/kbd.h"

struct far_socket;

/* Listens at path, which becomes mode 0660, and takes the guest's first timer
 * device; doorbells when a client wants them. NULL and errno: EADDRINUSE:
 * another one listens there. */
struct far_socket *far_socket_open(struct far_frontend *frontend,
                                   const char *path, uint32_t flags);
void far_socket_close(struct far_socket *socket); /* NULL is fine */

#endif
