/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sessions of guests of this very machine, whose backend comes over
 * devices.sock to a device that is exported here: the layer between a session
 * and the local server.
 */
#ifndef FARSIDE_NETPROXY_LOCAL_H
#define FARSIDE_NETPROXY_LOCAL_H

#include "netproxy/controller.h"

/* The type of far_local_server_ops.open, for devices of this process. */
int far_local_use_open(struct far_controller *controller,
                       const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error);
/* Its layer will be closed: for good, or its process has died. */
void far_local_use_leaving(struct far_controller *controller,
                           const struct far_local_who *who, bool detached);
/* Is there a session of a dead process's, which may be taken up? */
bool far_local_use_left(const struct far_controller *controller,
                        const struct far_local_who *who);
/* After a reload: those that had lost their session look for it again. */
void far_local_use_retry(struct far_controller *controller);

#endif
