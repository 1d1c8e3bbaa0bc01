/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-vdispl-checks.h.
 */
#include "backend/port-vdispl-checks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "core/display.h"
#include "devices/pixels.h"
#include "xenbus/grant.h"

static_assert(sizeof(struct xendispl_req) == 64 &&
                  sizeof(struct xendispl_resp) == 64 &&
                  sizeof(struct xendispl_evt) == 64,
              "an entry has 64 bytes");

bool far_vdispl_resolution(const char *text, uint32_t *width, uint32_t *height)
{
    uint32_t *to[2] = { width, height };

    for (unsigned i = 0; i < 2; i++) {
        uint32_t value = 0;

        if (i && *text++ != XENDISPL_RESOLUTION_SEPARATOR[0])
            return false;
        if (*text < '1' || *text > '9')
            return false;
        while (*text >= '0' && *text <= '9') {
            value = value * 10 + (uint32_t)(*text++ - '0');
            if (value > FAR_DISPLAY_PIXELS_MAX)
                return false;
        }
        *to[i] = value;
    }
    return !*text && far_display_size_valid(*width, *height);
}

struct far_vdispl_dbuf *far_vdispl_find_dbuf(struct far_vdispl_state *s,
                                             uint64_t cookie)
{
    for (unsigned i = 0; cookie && i < FAR_VDISPL_DBUFS_MAX; i++)
        if (s->dbuf[i].cookie == cookie)
            return &s->dbuf[i];
    return NULL;
}

struct far_vdispl_fb *far_vdispl_find_fb(struct far_vdispl_state *s,
                                         uint64_t cookie)
{
    for (unsigned i = 0; cookie && i < FAR_VDISPL_FBS_MAX; i++)
        if (s->fb[i].cookie == cookie)
            return &s->fb[i];
    return NULL;
}

/* --- buffers ---------------------------------------------------------------
 */

static int dbuf_judge(const struct far_vdispl_state *s,
                      const struct xendispl_dbuf_create_req *r,
                      struct far_vdispl_dbuf *d)
{
    uint64_t pixels;

    *d = (struct far_vdispl_dbuf){
        .cookie = r->dbuf_cookie,
        .width = r->width,
        .height = r->height,
        .bpp = r->bpp,
        .bytes = r->buffer_sz,
        .offset = r->data_ofs,
        .directory = r->gref_directory,
        .ours = r->flags & XENDISPL_DBUF_FLG_REQ_ALLOC,
        .pages = (uint32_t)(((uint64_t)r->buffer_sz + FAR_PAGE_BYTES - 1) /
                            FAR_PAGE_BYTES),
    };
    if (!d->cookie || (r->flags & ~(uint32_t)XENDISPL_DBUF_FLG_REQ_ALLOC) ||
        (d->bpp != 16 && d->bpp != 24 && d->bpp != 32) ||
        !far_display_size_valid(d->width, d->height))
        return -EINVAL;
    pixels = (uint64_t)d->width * d->height * (d->bpp / 8);
    if (d->offset > d->bytes || pixels > d->bytes - d->offset ||
        d->directory < FAR_GRANT_RESERVED)
        return -EINVAL;
    if (d->pages > FAR_GRANT_PAGES_MAX)
        return -ENOMEM;
    return d->ours && !s->be_alloc ? -EINVAL : 0;
}

static int dbuf_create(struct far_vdispl_state *s,
                       const struct xendispl_dbuf_create_req *r, bool again,
                       enum far_vdispl_act *act, struct far_vdispl_dbuf **dbuf)
{
    struct far_vdispl_dbuf d, *known;
    int e = dbuf_judge(s, r, &d);

    if (e)
        return e;
    known = far_vdispl_find_dbuf(s, d.cookie);
    if (known)
        return again && !memcmp(known, &d, sizeof(d)) ? 0 : -EEXIST;
    for (unsigned i = 0; i < FAR_VDISPL_DBUFS_MAX; i++) {
        if (s->dbuf[i].cookie)
            continue;
        s->dbuf[i] = d;
        *dbuf = &s->dbuf[i];
        *act = FAR_VDISPL_MAP;
        return 0;
    }
    return -ENOMEM;
}

static int dbuf_destroy(struct far_vdispl_state *s,
                        const struct xendispl_dbuf_destroy_req *r, bool again,
                        enum far_vdispl_act *act, struct far_vdispl_dbuf **dbuf)
{
    struct far_vdispl_dbuf *d = far_vdispl_find_dbuf(s, r->dbuf_cookie);

    if (!d)
        return again && r->dbuf_cookie ? 0 : -ENOENT;
    for (unsigned i = 0; i < FAR_VDISPL_FBS_MAX; i++)
        if (s->fb[i].cookie && s->fb[i].dbuf == d->cookie)
            return -EBUSY;
    *dbuf = d;
    *act = FAR_VDISPL_UNMAP;
    return 0;
}

/* --- framebuffers ----------------------------------------------------------
 */

static int fb_attach(struct far_vdispl_state *s,
                     const struct xendispl_fb_attach_req *r, bool again)
{
    const struct far_vdispl_fb fb = { .cookie = r->fb_cookie,
                                      .dbuf = r->dbuf_cookie,
                                      .width = r->width,
                                      .height = r->height,
                                      .format = r->pixel_format };
    const struct far_vdispl_dbuf *d = far_vdispl_find_dbuf(s, fb.dbuf);
    const struct far_vdispl_fb *known = far_vdispl_find_fb(s, fb.cookie);

    if (!d)
        return -ENOENT;
    if (!fb.cookie || !fb.width || !fb.height || fb.width > d->width ||
        fb.height > d->height || far_pixels_bytes(fb.format) * 8 != d->bpp)
        return -EINVAL;
    if (known)
        return again && !memcmp(known, &fb, sizeof(fb)) ? 0 : -EEXIST;
    for (unsigned i = 0; i < FAR_VDISPL_FBS_MAX; i++) {
        if (s->fb[i].cookie)
            continue;
        s->fb[i] = fb;
        return 0;
    }
    return -ENOMEM;
}

/* Whoever shows it shows the last picture, and draws no new ones from it. */
static int fb_detach(struct far_vdispl_state *s,
                     const struct xendispl_fb_detach_req *r, bool again,
                     enum far_vdispl_act *act)
{
    struct far_vdispl_fb *fb = far_vdispl_find_fb(s, r->fb_cookie);

    if (!fb)
        return again && r->fb_cookie ? 0 : -ENOENT;
    for (unsigned i = 0; i < s->connectors; i++) {
        if (s->screen[i].shown != fb->cookie)
            continue;
        s->screen[i].shown = 0;
        *act = FAR_VDISPL_SHOW;
    }
    fb->cookie = 0;
    return 0;
}

/* --- connectors ------------------------------------------------------------
 */

/* Is it as large as what the connector was told to show of one? */
static bool fills(const struct far_vdispl_fb *fb, uint32_t w, uint32_t h)
{
    return fb->width >= w && fb->height >= h;
}

static int set_config(struct far_vdispl_state *s, unsigned connector,
                      const struct xendispl_set_config_req *r,
                      enum far_vdispl_act *act)
{
    struct far_vdispl_screen *screen = &s->screen[connector];
    const struct far_vdispl_fb *fb;

    if (!r->fb_cookie && !r->x && !r->y && !r->width && !r->height && !r->bpp) {
        screen->on = 0;
        screen->shown = 0;
        *act = FAR_VDISPL_SHOW;
        return 0;
    }
    fb = far_vdispl_find_fb(s, r->fb_cookie);
    if (!fb)
        return -ENOENT;
    if (!r->width || !r->height || r->x > screen->width ||
        r->width > screen->width - r->x || r->y > screen->height ||
        r->height > screen->height - r->y || !fills(fb, r->width, r->height) ||
        far_pixels_bytes(fb->format) * 8 != r->bpp)
        return -EINVAL;
    screen->x = r->x;
    screen->y = r->y;
    screen->w = r->width;
    screen->h = r->height;
    screen->shown = fb->cookie;
    screen->on = 1;
    *act = FAR_VDISPL_SHOW;
    return 0;
}

static int pg_flip(struct far_vdispl_state *s, unsigned connector,
                   const struct xendispl_page_flip_req *r, bool again,
                   enum far_vdispl_act *act)
{
    struct far_vdispl_screen *screen = &s->screen[connector];
    const struct far_vdispl_fb *fb = far_vdispl_find_fb(s, r->fb_cookie);

    if (!screen->on)
        return -EINVAL;
    if (!fb)
        return -ENOENT;
    if (!fills(fb, screen->w, screen->h))
        return -EINVAL;
    *act = FAR_VDISPL_FLIP;
    /* one at a time: each is told of at its beat */
    if (screen->flips != screen->told) {
        if (again && screen->flipping == fb->cookie)
            return 0;
        *act = FAR_VDISPL_NOTHING;
        return -EBUSY;
    }
    screen->shown = screen->flipping = fb->cookie;
    __asm__ volatile("" ::: "memory"); /* who dies here has not done it */
    screen->flips++;
    return 0;
}

static int get_edid(const struct far_vdispl_state *s,
                    const struct xendispl_get_edid_req *r,
                    enum far_vdispl_act *act)
{
    if (s->version < 2)
        return -EOPNOTSUPP;
    if (r->buffer_sz < XENDISPL_EDID_BLOCK_SIZE ||
        r->gref_directory < FAR_GRANT_RESERVED)
        return -EINVAL;
    *act = FAR_VDISPL_GET_EDID;
    return 0;
}

int far_vdispl_request(struct far_vdispl_state *s, unsigned connector,
                       const struct xendispl_req *r, bool again,
                       enum far_vdispl_act *act, struct far_vdispl_dbuf **dbuf)
{
    *act = FAR_VDISPL_NOTHING;
    *dbuf = NULL;
    switch (r->operation) {
    case XENDISPL_OP_SET_CONFIG:
        return set_config(s, connector, &r->op.set_config, act);
    case XENDISPL_OP_PG_FLIP:
        return pg_flip(s, connector, &r->op.pg_flip, again, act);
    case XENDISPL_OP_GET_EDID:
        return get_edid(s, &r->op.get_edid, act);
    default:
        break;
    }
    /* what belongs to no connector comes by the first one's ring */
    if (connector)
        return r->operation >= XENDISPL_OP_DBUF_CREATE &&
                       r->operation <= XENDISPL_OP_FB_DETACH
                   ? -EINVAL
                   : -EOPNOTSUPP;
    switch (r->operation) {
    case XENDISPL_OP_DBUF_CREATE:
        return dbuf_create(s, &r->op.dbuf_create, again, act, dbuf);
    case XENDISPL_OP_DBUF_DESTROY:
        return dbuf_destroy(s, &r->op.dbuf_destroy, again, act, dbuf);
    case XENDISPL_OP_FB_ATTACH:
        return fb_attach(s, &r->op.fb_attach, again);
    case XENDISPL_OP_FB_DETACH:
        return fb_detach(s, &r->op.fb_detach, again, act);
    default:
        return -EOPNOTSUPP;
    }
}
