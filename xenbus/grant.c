/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Grants over libxengnttab: mapping with a quota for each guest, and sharing
 * pages of our own. All or nothing, at every step. What is in the pages is the
 * rings' business.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xentoollog.h>
#include <xengnttab.h>
#include "xenbus/grant.h"

struct far_grants {
    xengnttab_handle *handle;
};

struct far_shares {
    xengntshr_handle *handle;
};

/* libxengnttab writes a line to stderr for each refused grant, and a guest can
 * have as many refused as it likes: callers get the errno and log with a limit.
 */
static void quiet_message(struct xentoollog_logger *logger,
                          xentoollog_level level, int errnoval,
                          const char *context, const char *format, va_list al)
{
    (void)logger;
    (void)level;
    (void)errnoval;
    (void)context;
    (void)format;
    (void)al;
}

static void quiet_progress(struct xentoollog_logger *logger,
                           const char *context, const char *doing_what,
                           int percent, unsigned long done, unsigned long total)
{
    (void)logger;
    (void)context;
    (void)doing_what;
    (void)percent;
    (void)done;
    (void)total;
}

static void quiet_destroy(struct xentoollog_logger *logger)
{
    (void)logger;
}

static struct xentoollog_logger quiet = { quiet_message, quiet_progress,
                                          quiet_destroy };

static int errno_or(int fallback)
{
    return errno > 0 ? -errno : -fallback;
}

struct far_grants *far_grants_open(void)
{
    struct far_grants *grants = malloc(sizeof(*grants));

    if (!grants)
        return NULL;
    grants->handle = xengnttab_open(&quiet, 0);
    if (!grants->handle) {
        int saved = errno;

        free(grants);
        errno = saved;
        return NULL;
    }
    return grants;
}

void far_grants_close(struct far_grants *grants)
{
    if (!grants)
        return;
    xengnttab_close(grants->handle);
    free(grants);
}

int far_grant_map(struct far_grants *grants, struct far_grant_map *map,
                  unsigned domid, const uint32_t *refs, uint32_t pages,
                  bool writable, struct far_grant_quota *quota)
{
    int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;

    *map = (struct far_grant_map){ 0 };
    if (!pages || pages > FAR_GRANT_PAGES_MAX)
        return -EINVAL;
    if (quota && (quota->pages > quota->pages_max ||
                  pages > quota->pages_max - quota->pages))
        return -EDQUOT;
    /* The first eight are the toolstack's (console, xenstore …). */
    for (uint32_t i = 0; i < pages; i++)
        if (refs[i] < FAR_GRANT_RESERVED)
            return -EINVAL;

    errno = 0;
    /* it writes nothing there */
    map->memory = xengnttab_map_domain_grant_refs(
        grants->handle, pages, domid, (uint32_t *)(uintptr_t)refs, prot);
    if (!map->memory)
        return errno_or(EINVAL);
    map->pages = pages;
    map->grants = grants;
    map->quota = quota;
    if (quota)
        quota->pages += pages;
    return 0;
}

void far_grant_unmap(struct far_grant_map *map)
{
    if (!map->memory)
        return;
    xengnttab_unmap(map->grants->handle, map->memory, map->pages);
    if (map->quota)
        map->quota->pages -= map->pages;
    *map = (struct far_grant_map){ 0 };
}

struct far_grant_copies {
    struct far_grants *grants;
    uint16_t domid;
    bool ran;
    uint32_t room, count;
    xengnttab_grant_copy_segment_t segments[];
};

struct far_grant_copies *far_grant_copies_new(struct far_grants *grants,
                                              unsigned domid, uint32_t room)
{
    struct far_grant_copies *copies =
        calloc(1, sizeof(*copies) + room * sizeof(copies->segments[0]));

    if (!copies)
        return NULL;
    copies->grants = grants;
    copies->domid = (uint16_t)domid;
    copies->room = room;
    return copies;
}

void far_grant_copies_free(struct far_grant_copies *copies)
{
    free(copies);
}

uint32_t far_grant_copies_add(struct far_grant_copies *copies, uint32_t ref,
                              uint32_t offset, uint32_t bytes, void *memory,
                              bool to_guest)
{
    xengnttab_grant_copy_segment_t *s;

    if (copies->ran)
        copies->count = 0;
    copies->ran = false;
    if (copies->count == copies->room)
        return UINT32_MAX;
    s = &copies->segments[copies->count];
    if (to_guest) {
        s->source.virt = memory;
        s->dest.foreign.ref = ref;
        s->dest.foreign.offset = (uint16_t)offset;
        s->dest.foreign.domid = copies->domid;
        s->flags = GNTCOPY_dest_gref;
    } else {
        s->source.foreign.ref = ref;
        s->source.foreign.offset = (uint16_t)offset;
        s->source.foreign.domid = copies->domid;
        s->dest.virt = memory;
        s->flags = GNTCOPY_source_gref;
    }
    s->len = (uint16_t)bytes;
    s->status = GNTST_general_error;
    return copies->count++;
}

void far_grant_copies_run(struct far_grant_copies *copies)
{
    if (!copies->ran && copies->count &&
        xengnttab_grant_copy(copies->grants->handle, copies->count,
                             copies->segments)) {
        /* refused as a whole, or ended in between: nothing can be told */
        for (uint32_t i = 0; i < copies->count; i++)
            copies->segments[i].status = GNTST_general_error;
    }
    copies->ran = true;
}

bool far_grant_copies_failed(const struct far_grant_copies *copies,
                             uint32_t number)
{
    return number >= copies->count ||
           copies->segments[number].status != GNTST_okay;
}

struct far_shares *far_shares_open(void)
{
    struct far_shares *shares = malloc(sizeof(*shares));

    if (!shares)
        return NULL;
    shares->handle = xengntshr_open(&quiet, 0);
    if (!shares->handle) {
        int saved = errno;

        free(shares);
        errno = saved;
        return NULL;
    }
    return shares;
}

void far_shares_close(struct far_shares *shares)
{
    if (!shares)
        return;
    xengntshr_close(shares->handle);
    free(shares);
}

int far_share_pages(struct far_shares *shares, struct far_share *share,
                    unsigned domid, uint32_t pages, bool writable,
                    uint32_t *refs)
{
    *share = (struct far_share){ 0 };
    if (!pages || pages > FAR_GRANT_PAGES_MAX)
        return -EINVAL;
    errno = 0;
    share->memory = xengntshr_share_pages(shares->handle, domid, (int)pages,
                                          refs, writable);
    if (!share->memory)
        return errno_or(ENOSPC);
    share->pages = pages;
    share->shares = shares;
    return 0;
}

int far_share_page_notify(struct far_shares *shares, struct far_share *share,
                          unsigned domid, uint32_t *ref, uint32_t clear_offset,
                          uint32_t port)
{
    *share = (struct far_share){ 0 };
    errno = 0;
    share->memory = xengntshr_share_page_notify(shares->handle, domid, ref, 1,
                                                clear_offset, port);
    if (!share->memory)
        return errno_or(ENOSPC);
    share->pages = 1;
    share->shares = shares;
    return 0;
}

void far_unshare(struct far_share *share)
{
    if (!share->memory)
        return;
    xengntshr_unshare(share->shares->handle, share->memory, share->pages);
    *share = (struct far_share){ 0 };
}
