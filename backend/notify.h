/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts to a guest from devices that it never attached: which guest is
 * meant, whether the sender may, how many, and that each happens once. How one
 * gets into a ring is the port's business (far_port_type.notify).
 */
#ifndef FARSIDE_BACKEND_NOTIFY_H
#define FARSIDE_BACKEND_NOTIFY_H

#include "backend/backend.h"

#define FAR_NOTIFY_WAITING_MAX 32u  /* per guest, for room or for their turn */
#define FAR_NOTIFY_PER_S       200u /* per guest */
#define FAR_NOTIFY_BURST       64u

/* Takes them from the netproxy if anybody may send any, by the configuration;
 * again after a reload. */
void far_notify_configure(struct far_backend *backend);
/* A guest's devices may have room, or have come: what waits is tried again. */
void far_notify_room(struct far_guest *guest);
/* What a port's dead predecessor had written down (far_journal_state). */
void far_notify_adopt(struct far_guest *guest,
                      const struct far_notify_marks *marks);
void far_notify_free(struct far_guest *guest);
/* Counters, or NULL if there never was one. */
json_t *far_notify_json(const struct far_guest *guest);

#endif
