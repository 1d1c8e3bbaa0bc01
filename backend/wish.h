/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Wishes: addresses of sound streams and of screens stand in nodes that the
 * guest can rewrite. What of them dom0 has ordered stands where only dom0 can
 * write: in libxl's record of the domain, or in [guest] of farside.conf.
 */
#ifndef FARSIDE_BACKEND_WISH_H
#define FARSIDE_BACKEND_WISH_H

#include "backend/backend.h"

enum far_wish {
    FAR_WISH_PLAY,   /* a vsnd stream of type p */
    FAR_WISH_RECORD, /* … of type c */
    FAR_WISH_SHOW,   /* a vdispl connector */
};

/* May this guest have that device, for that? Reads a file: for connecting. */
bool far_wish_granted(const struct far_attachment *a, enum far_wish wish,
                      const char *address);
/* Why not, for a person. */
int far_wish_refuse(const struct far_attachment *a, const char *node,
                    const char *address, struct far_error *error);
/* Is it ordered by libxl's record of a domain? Pure. */
bool far_wish_in_record(const json_t *record, enum far_wish wish,
                        const char *address);

#endif
