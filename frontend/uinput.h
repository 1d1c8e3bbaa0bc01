/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest's own input devices, made with uinput, for events that came over
 * kbdif: one keyboard, one pointer and one touch device at most, as the
 * kernel's frontend makes them.
 */
#ifndef FARSIDE_FRONTEND_UINPUT_H
#define FARSIDE_FRONTEND_UINPUT_H

#include "frontend/farside-frontend.h"

struct far_uinput;

/* NULL and errno: ENOENT or EACCES without a usable /dev/uinput. */
struct far_uinput *far_uinput_new(unsigned devid,
                                  const struct far_frontend_input_info *info);
void far_uinput_free(struct far_uinput *uinput); /* NULL is fine */
void far_uinput_event(struct far_uinput *uinput,
                      const union xenkbd_in_event *event);
/* Ends a batch: readers see it from here on. */
void far_uinput_flush(struct far_uinput *uinput);
/* Lets go of every key and contact: the device has gone for now. */
void far_uinput_release(struct far_uinput *uinput);

#endif
