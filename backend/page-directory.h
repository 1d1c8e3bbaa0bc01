/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How a vsnd's or vdispl's front tells of a buffer: pages that hold the grants
 * of the buffer's pages, each page with the grant of the next one (struct
 * xensnd_page_directory and struct xendispl_page_directory are the same).
 */
#ifndef FARSIDE_BACKEND_PAGE_DIRECTORY_H
#define FARSIDE_BACKEND_PAGE_DIRECTORY_H

#include <stdint.h>
#include "backend/backend.h"

/* The grants of a buffer of so many pages: as many directory pages are looked
 * at as that takes, whatever they say of the next one. -EDQUOT, -EINVAL
 * (a grant below FAR_GRANT_RESERVED, or one that can't be mapped), … */
int far_page_directory_read(struct far_guest *guest, uint32_t directory,
                            uint32_t *refs, uint32_t pages);
/* The other way: for a buffer of ours. */
int far_page_directory_write(struct far_guest *guest, uint32_t directory,
                             const uint32_t *refs, uint32_t pages);

#endif
