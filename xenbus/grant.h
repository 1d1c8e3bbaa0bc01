/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Grants: a guest's pages mapped here, with a quota for each guest; and, for
 * frontends, pages of our own granted to another domain.
 */
#ifndef FARSIDE_XENBUS_GRANT_H
#define FARSIDE_XENBUS_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAR_PAGE_BYTES      4096u
#define FAR_GRANT_PAGES_MAX 16384u /* in one map */
#define FAR_GRANT_RESERVED  8u     /* refs below are never a device's */

struct far_grants; /* one for the process: /dev/xen/gntdev */
struct far_grants *far_grants_open(void); /* NULL and errno */
void far_grants_close(struct far_grants *grants);

/* What one guest may have mapped at once. */
struct far_grant_quota {
    uint32_t pages, pages_max;
    uint32_t cached; /* of pages: backend/grant-cache.h */
};

struct far_grant_map {
    void *memory; /* NULL: not mapped */
    uint32_t pages;
    struct far_grants *grants;
    struct far_grant_quota *quota;
};

/* Maps refs in a row, all or nothing. -EDQUOT, -EINVAL (a ref is not granted,
 * not to us, not writable; or below FAR_GRANT_RESERVED), -EPERM … quota may be
 * NULL. Nothing is printed. */
int far_grant_map(struct far_grants *grants, struct far_grant_map *map,
                  unsigned domid, const uint32_t *refs, uint32_t pages,
                  bool writable, struct far_grant_quota *quota);
void far_grant_unmap(struct far_grant_map *map); /* idempotent */

/* Copies between a guest's granted pages and our memory, many in one call. Each
 * lies within one page of the guest's. */
struct far_grant_copies;
struct far_grant_copies *far_grant_copies_new(struct far_grants *grants,
                                              unsigned domid, uint32_t room);
void far_grant_copies_free(struct far_grant_copies *copies); /* NULL: fine */
/* Notes one; its number, or UINT32_MAX: no room, run first. */
uint32_t far_grant_copies_add(struct far_grant_copies *copies, uint32_t ref,
                              uint32_t offset, uint32_t bytes, void *memory,
                              bool to_guest);
/* Makes all that were noted; far_grant_copies_failed() then tells of each. The
 * next add begins anew. Nothing is printed. */
void far_grant_copies_run(struct far_grant_copies *copies);
bool far_grant_copies_failed(const struct far_grant_copies *copies,
                             uint32_t number);

struct far_shares; /* /dev/xen/gntalloc */
struct far_shares *far_shares_open(void);
void far_shares_close(struct far_shares *shares);
struct far_share {
    void *memory; /* zeroed pages of ours */
    uint32_t pages;
    struct far_shares *shares;
};
/* refs: room for `pages`. */
int far_share_pages(struct far_shares *shares, struct far_share *share,
                    unsigned domid, uint32_t pages, bool writable,
                    uint32_t *refs);
/* One page, of which a byte is cleared and a port notified when we end the
 * grant, or die. */
int far_share_page_notify(struct far_shares *shares, struct far_share *share,
                          unsigned domid, uint32_t *ref, uint32_t clear_offset,
                          uint32_t port);
/* Ends the grant; a page that the other side still maps is kept by Xen until
 * it lets go. Idempotent. */
void far_unshare(struct far_share *share);

#endif
