/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What an [export] lets those do who may attach it: which of their guests, and
 * whether they may write. Which platforms is netproxy/controller.h's. Pure.
 */
#ifndef FARSIDE_NETPROXY_PERMISSION_H
#define FARSIDE_NETPROXY_PERMISSION_H

#include "core/local.h"

/* May that guest, of a platform that may? Without `guest` in the section, any;
 * a name is the one that its platform tells, and while the guest is being
 * migrated there, NAME--incoming is NAME. 0, or -EACCES with error. */
int far_permission_guest(const struct far_conf_section *export,
                         const struct far_local_who *who,
                         struct far_error *error);
/* The same of one that runs, and so has its own name: NAME--incoming is not
 * NAME any more. */
int far_permission_running(const struct far_conf_section *export,
                           const struct far_local_who *who,
                           struct far_error *error);
bool far_permission_read_only(const struct far_conf_section *export);
/* Does that op change what the device holds? */
bool far_permission_writes(uint16_t opcode);
/* Takes the right to write out of a class's properties. */
void far_permission_mask(uint8_t props[32], uint32_t class);

#endif
