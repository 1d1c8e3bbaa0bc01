/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The controller's choice: which device a request means that names only a kind
 * (core/any.h), and who is in the way of one that is for one user at a time.
 */
#ifndef FARSIDE_NETPROXY_CHOICE_H
#define FARSIDE_NETPROXY_CHOICE_H

#include "netproxy/controller.h"
#include "netproxy/wire.h"

/* The name in a frame's option `device`, or "": there is none, or no name. */
void far_any_device(char out[FAR_NAME_BYTES],
                    const struct far_wire_frame *frame);
/* The section that says who may have that device: its [export], or the
 * [hotplug] that it came by; NULL: nobody may. */
const struct far_conf_section *
far_choice_export(const struct far_controller *controller, const char *device);
/* `mode = exclusive`: for one guest at a time. */
bool far_choice_exclusive(const struct far_conf_section *export);
/* How many guests have it, other than who asks (NULL: all). */
unsigned far_choice_others(const struct far_controller *controller,
                           const char *platform,
                           const struct far_local_who *who, const char *device);
/* May it be had, or is it for one guest, and another has it? 0, or -EBUSY with
 * error, which names the other to its own platform, and to ours. */
int far_choice_alone(const struct far_controller *controller,
                     const char *platform, const struct far_local_who *who,
                     const char *device, struct far_error *error);
/* A device for who->device, which is no name: of that class, ready, with what
 * is wanted, allowed to that platform by `any = on`, and free. One that nobody
 * has comes first; among equals the same guest gets the same one each time.
 * had: the one that it had before ("": none), which goes before all if it still
 * is one that could be chosen. NULL with error: -ENOENT there is none of the
 * kind, -EBUSY there are, and others have them. */
struct far_device *far_choice_make(const struct far_controller *controller,
                                   const char *platform,
                                   const struct far_local_who *who,
                                   const char *had, struct far_error *error);
/* Sessions whose device was chosen, has gone, and could be another now, end:
 * their users ask again. Number of them. Never of class block: a disk is not
 * any disk once it was used. */
unsigned far_choice_review(struct far_controller *controller);

#endif
