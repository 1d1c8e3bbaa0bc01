/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See page-directory.h.
 */
#include "backend/page-directory.h"

#include <string.h>

/* Words of a page: the first is the grant of the next. */
#define REFS (FAR_PAGE_BYTES / 4 - 1)

/* Calls each() for every page of the directory with its words and how many of
 * them there are. */
static int walk(struct far_guest *guest, uint32_t directory, bool writable,
                uint32_t *refs, uint32_t pages,
                void (*each)(uint32_t *words, uint32_t *refs, uint32_t count))
{
    struct far_grant_map map = { 0 };

    while (pages) {
        uint32_t count = pages < REFS ? pages : REFS;
        uint32_t *words;
        int r = far_grant_map(guest->backend->grants, &map, guest->domid,
                              &directory, 1, writable, &guest->quota);

        if (r)
            return r;
        words = map.memory;
        directory = __atomic_load_n(words, __ATOMIC_RELAXED);
        each(words + 1, refs, count);
        far_grant_unmap(&map);
        refs += count;
        pages -= count;
    }
    return 0;
}

static void copy_out(uint32_t *words, uint32_t *refs, uint32_t count)
{
    memcpy(refs, words, count * sizeof(*refs));
}

static void copy_in(uint32_t *words, uint32_t *refs, uint32_t count)
{
    memcpy(words, refs, count * sizeof(*refs));
}

int far_page_directory_read(struct far_guest *guest, uint32_t directory,
                            uint32_t *refs, uint32_t pages)
{
    return walk(guest, directory, false, refs, pages, copy_out);
}

int far_page_directory_write(struct far_guest *guest, uint32_t directory,
                             const uint32_t *refs, uint32_t pages)
{
    return walk(guest, directory, true, (uint32_t *)(uintptr_t)refs, pages,
                copy_in);
}
