/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See grant-cache.h. A hash of references into a fixed array of pages, which
 * also form a list in the order of their last use.
 */
#include "backend/grant-cache.h"

#include <stdlib.h>

#define NONE 0xffffu /* in links: numbers of pages + 1 would do as well */

/* A page that was used within this time doesn't go for another one: with more
 * pages in use than there is room, each op would map and unmap, which costs
 * more than to copy. */
#define BUSY_US 1000000u

/* Of all caches of a guest. */
#define CACHED_PAGES_MAX 4096u

struct page {
    struct far_grant_map map;
    uint64_t used_us;
    uint32_t gref;
    uint16_t chain;        /* next of the same hash, or of the free ones */
    uint16_t newer, older; /* by last use */
};

struct far_grant_cache {
    struct far_grants *grants;
    struct far_grant_quota *quota;
    unsigned domid;
    uint32_t room, mask;
    uint16_t newest, oldest, spare;
    struct far_grant_cache_counters counters;
    uint16_t *buckets;
    struct page pages[];
};

struct far_grant_cache *far_grant_cache_new(struct far_grants *grants,
                                            unsigned domid,
                                            struct far_grant_quota *quota,
                                            uint32_t pages)
{
    struct far_grant_cache *c =
        calloc(1, sizeof(*c) + pages * sizeof(c->pages[0]));
    uint32_t buckets = 64;

    while (buckets < pages)
        buckets *= 2;
    if (c)
        c->buckets = malloc(buckets * sizeof(c->buckets[0]));
    if (!c || !c->buckets) {
        free(c);
        return NULL;
    }
    c->grants = grants;
    c->domid = domid;
    c->quota = quota;
    c->room = pages;
    c->mask = buckets - 1;
    for (uint32_t i = 0; i < buckets; i++)
        c->buckets[i] = NONE;
    c->newest = c->oldest = c->spare = NONE;
    for (uint32_t i = pages; i--;) {
        c->pages[i].chain = c->spare;
        c->spare = (uint16_t)i;
    }
    return c;
}

static uint16_t *bucket_of(struct far_grant_cache *c, uint32_t gref)
{
    return &c->buckets[(gref * 2654435761u >> 8) & c->mask];
}

static void unlink_used(struct far_grant_cache *c, struct page *p)
{
    if (p->newer == NONE)
        c->newest = p->older;
    else
        c->pages[p->newer].older = p->older;
    if (p->older == NONE)
        c->oldest = p->newer;
    else
        c->pages[p->older].newer = p->newer;
}

static void link_newest(struct far_grant_cache *c, struct page *p)
{
    uint16_t at = (uint16_t)(p - c->pages);

    p->newer = NONE;
    p->older = c->newest;
    if (c->newest == NONE)
        c->oldest = at;
    else
        c->pages[c->newest].newer = at;
    c->newest = at;
}

static void drop_oldest(struct far_grant_cache *c)
{
    uint16_t at = c->oldest, *link;
    struct page *p = &c->pages[at];

    for (link = bucket_of(c, p->gref); *link != at;
         link = &c->pages[*link].chain)
        ;
    *link = p->chain;
    unlink_used(c, p);
    far_grant_unmap(&p->map);
    p->chain = c->spare;
    c->spare = at;
    c->counters.unmaps++;
    c->counters.pages--;
    c->quota->cached--;
}

void far_grant_cache_free(struct far_grant_cache *c)
{
    if (!c)
        return;
    while (c->oldest != NONE)
        drop_oldest(c);
    free(c->buckets);
    free(c);
}

/* Half of a guest's quota is for all else that is its: rings, pictures. */
static bool has_room(const struct far_grant_cache *c)
{
    return c->spare != NONE && c->quota->cached < CACHED_PAGES_MAX &&
           c->quota->pages < c->quota->pages_max / 2;
}

static bool make_room(struct far_grant_cache *c, uint64_t now_us)
{
    if (has_room(c))
        return true;
    if (c->oldest == NONE || c->pages[c->oldest].used_us + BUSY_US > now_us)
        return false;
    drop_oldest(c);
    return has_room(c);
}

void *far_grant_cache_get(struct far_grant_cache *c, uint32_t gref,
                          uint64_t now_us)
{
    uint16_t *bucket = bucket_of(c, gref), at;
    struct page *p;

    for (at = *bucket; at != NONE; at = c->pages[at].chain) {
        p = &c->pages[at];
        if (p->gref != gref)
            continue;
        if (c->newest != at) {
            unlink_used(c, p);
            link_newest(c, p);
        }
        p->used_us = now_us;
        c->counters.hits++;
        return p->map.memory;
    }
    if (!make_room(c, now_us)) {
        c->counters.refused++;
        return NULL;
    }
    at = c->spare;
    p = &c->pages[at];
    if (far_grant_map(c->grants, &p->map, c->domid, &gref, 1, true, c->quota)) {
        c->counters.refused++;
        return NULL;
    }
    c->spare = p->chain;
    p->gref = gref;
    p->used_us = now_us;
    p->chain = *bucket;
    *bucket = at;
    link_newest(c, p);
    c->counters.maps++;
    c->counters.pages++;
    c->quota->cached++;
    return p->map.memory;
}

void far_grant_cache_age(struct far_grant_cache *c, uint64_t before_us)
{
    while (c->oldest != NONE && c->pages[c->oldest].used_us < before_us)
        drop_oldest(c);
}

const struct far_grant_cache_counters *
far_grant_cache_counters(const struct far_grant_cache *c)
{
    return &c->counters;
}
