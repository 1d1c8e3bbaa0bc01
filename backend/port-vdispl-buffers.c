/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vdispl port's buffers: a guest's pages, mapped so that they can be read
 * (what is mapped to be written counts as changed when it migrates), or pages
 * of ours that the guest draws in.
 */
#include "backend/port-vdispl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/page-directory.h"
#include "devices/edid.h"

static unsigned number_of(const struct port *port,
                          const struct far_vdispl_dbuf *dbuf)
{
    return (unsigned)(dbuf - port->journal->state.dbuf);
}

/* Pages of ours; the guest gets their grants in its directory. */
static int give(struct port *port, struct far_vdispl_dbuf *dbuf, uint32_t *refs)
{
    struct far_attachment *a = port->a;
    struct far_grant_quota *quota = &a->guest->quota;
    struct far_share *share = &port->shares[number_of(port, dbuf)];
    int r;

    if (dbuf->pages > quota->pages_max - quota->pages)
        return -EDQUOT;
    if (!port->sharing)
        port->sharing = far_shares_open();
    if (!port->sharing)
        return -EOPNOTSUPP;
    r = far_share_pages(port->sharing, share, a->guest->domid, dbuf->pages,
                        true, refs);
    if (r)
        return r;
    r = far_page_directory_write(a->guest, dbuf->directory, refs, dbuf->pages);
    if (r) {
        far_unshare(share);
        return r;
    }
    quota->pages += dbuf->pages;
    return 0;
}

int far_vdispl_map(struct port *port, struct far_vdispl_dbuf *dbuf)
{
    struct far_attachment *a = port->a;
    uint32_t *refs = malloc(dbuf->pages * sizeof(*refs));
    int r;

    if (!refs)
        return -ENOMEM;
    if (dbuf->ours) {
        r = give(port, dbuf, refs);
    } else {
        r = far_page_directory_read(a->guest, dbuf->directory, refs,
                                    dbuf->pages);
        if (!r)
            r = far_grant_map(
                a->backend->grants, &port->maps[number_of(port, dbuf)],
                a->guest->domid, refs, dbuf->pages, false, &a->guest->quota);
    }
    free(refs);
    return r == -EDQUOT ? -ENOMEM : r;
}

void far_vdispl_unmap(struct port *port, const struct far_vdispl_dbuf *dbuf)
{
    struct far_share *share = &port->shares[number_of(port, dbuf)];

    far_grant_unmap(&port->maps[number_of(port, dbuf)]);
    port->a->guest->quota.pages -= share->pages;
    far_unshare(share);
}

void far_vdispl_unmap_all(struct port *port)
{
    for (unsigned i = 0; port->journal && i < FAR_VDISPL_DBUFS_MAX; i++)
        far_vdispl_unmap(port, &port->journal->state.dbuf[i]);
    far_shares_close(port->sharing);
    port->sharing = NULL;
}

void far_vdispl_picture(struct port *port, const struct connector *c,
                        struct far_picture *picture)
{
    struct far_vdispl_state *s = &port->journal->state;
    const struct far_vdispl_fb *fb = far_vdispl_find_fb(s, c->screen->shown);
    const struct far_vdispl_dbuf *d =
        fb ? far_vdispl_find_dbuf(s, fb->dbuf) : NULL;
    const uint8_t *memory;

    memset(picture, 0, sizeof(*picture));
    if (!c->screen->on || !d)
        return;
    memory = d->ours ? port->shares[number_of(port, d)].memory
                     : port->maps[number_of(port, d)].memory;
    *picture = (struct far_picture){ .memory = memory + d->offset,
                                     .width = c->screen->w,
                                     .height = c->screen->h,
                                     .pitch_bytes = d->width * (d->bpp / 8),
                                     .format = fb->format,
                                     .x = c->screen->x,
                                     .y = c->screen->y };
}

int far_vdispl_edid(struct port *port, const struct connector *c,
                    const struct xendispl_get_edid_req *request,
                    uint32_t *bytes)
{
    struct far_attachment *a = port->a;
    uint32_t width, height, ref;
    struct far_grant_map map;
    uint8_t edid[FAR_EDID_BYTES];
    int r = far_page_directory_read(a->guest, request->gref_directory, &ref, 1);

    if (!r)
        r = far_grant_map(a->backend->grants, &map, a->guest->domid, &ref, 1,
                          true, &a->guest->quota);
    if (r)
        return r;
    /* what who looks would like, if the connector can have it */
    far_fast_display_wish(c->fast, &width, &height);
    if (!width || width > c->screen->width || height > c->screen->height) {
        width = c->screen->width;
        height = c->screen->height;
    }
    far_edid_make(edid, width, height);
    memcpy(map.memory, edid, sizeof(edid));
    far_grant_unmap(&map);
    *bytes = sizeof(edid);
    return 0;
}
