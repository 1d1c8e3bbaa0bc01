/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pages that a guest's frontend uses again and again (blkif's persistent
 * grants), kept mapped: as many as the cache was made for, and with all caches
 * of the guest 16 MiB, and not of the last half of its quota. The least lately
 * used one goes for a new one unless it was in use within the last second (then
 * the new one is not kept), and all that was not used for a while. One guest's,
 * one thread's.
 */
#ifndef FARSIDE_BACKEND_GRANT_CACHE_H
#define FARSIDE_BACKEND_GRANT_CACHE_H

#include "xenbus/grant.h"

struct far_grant_cache;

/* pages: at most 65535. NULL: memory is out. */
struct far_grant_cache *far_grant_cache_new(struct far_grants *grants,
                                            unsigned domid,
                                            struct far_grant_quota *quota,
                                            uint32_t pages);
void far_grant_cache_free(struct far_grant_cache *cache); /* NULL is fine */
/* The page, mapped to be written; valid until the next call. NULL: it can't be
 * mapped (no room, or the guest's fault): copy instead. */
void *far_grant_cache_get(struct far_grant_cache *cache, uint32_t gref,
                          uint64_t now_us);
/* Unmaps what was last used before then. */
void far_grant_cache_age(struct far_grant_cache *cache, uint64_t before_us);

struct far_grant_cache_counters {
    uint64_t hits, maps, unmaps, refused;
    uint32_t pages;
};
const struct far_grant_cache_counters *
far_grant_cache_counters(const struct far_grant_cache *cache);

#endif
