/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See tiles.h.
 */
#include "config.h"
#include "devices/tiles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LIBLZ4
#include <lz4.h>
#endif
#ifdef HAVE_LIBZSTD
#include <zstd.h>
#endif

#define LEVEL 1

struct far_packer {
#ifdef HAVE_LIBZSTD
    ZSTD_CCtx *in;
    ZSTD_DCtx *out;
#endif
    /* The payload may be another process's memory too, that changes while it is
     * read: what is unpacked is a copy. */
    uint8_t copy[FAR_DISPLAY_PAYLOAD_MAX];
    uint8_t raw[FAR_DISPLAY_PAYLOAD_MAX];
};

uint32_t far_tiles_encodings(void)
{
    uint32_t bits = 1u << FAR_DISPLAY_RAW;

#ifdef HAVE_LIBLZ4
    bits |= 1u << FAR_DISPLAY_LZ4;
#endif
#ifdef HAVE_LIBZSTD
    bits |= 1u << FAR_DISPLAY_ZSTD;
#endif
    return bits;
}

struct far_packer *far_packer_new(void)
{
    struct far_packer *p = calloc(1, sizeof(*p));

#ifdef HAVE_LIBZSTD
    if (!p)
        return NULL;
    p->in = ZSTD_createCCtx();
    p->out = ZSTD_createDCtx();
    if (!p->in || !p->out) {
        far_packer_free(p);
        return NULL;
    }
#endif
    return p;
}

void far_packer_free(struct far_packer *p)
{
    if (!p)
        return;
#ifdef HAVE_LIBZSTD
    ZSTD_freeCCtx(p->in);
    ZSTD_freeDCtx(p->out);
#endif
    free(p);
}

uint32_t far_pack(struct far_packer *p, enum far_display_encoding encoding,
                  uint8_t *to, uint32_t room, const uint8_t *raw,
                  uint32_t bytes)
{
    (void)p;
    if (room >= bytes)
        room = bytes - 1;
#ifdef HAVE_LIBLZ4
    if (encoding == FAR_DISPLAY_LZ4) {
        int n = LZ4_compress_default((const char *)raw, (char *)to, (int)bytes,
                                     (int)room);

        return n > 0 ? (uint32_t)n : 0;
    }
#endif
#ifdef HAVE_LIBZSTD
    if (encoding == FAR_DISPLAY_ZSTD) {
        size_t n = ZSTD_compressCCtx(p->in, to, room, raw, bytes, LEVEL);

        return ZSTD_isError(n) ? 0 : (uint32_t)n;
    }
#endif
    return 0;
}

/* *raw: the payload itself if it is raw, else the packer's until its next
 * call. */
static int unpack(struct far_packer *p, const struct far_op *op,
                  const void *payload, const uint8_t **raw)
{
    struct far_display_tiles a;

    memcpy(&a, op->args, sizeof(a));
    *raw = payload;
    if (a.encoding == FAR_DISPLAY_RAW)
        return 0;
    memcpy(p->copy, payload, op->payload_bytes);
    *raw = p->raw;
#ifdef HAVE_LIBLZ4
    if (a.encoding == FAR_DISPLAY_LZ4)
        return LZ4_decompress_safe((const char *)p->copy, (char *)p->raw,
                                   (int)op->payload_bytes,
                                   (int)a.raw_bytes) == (int)a.raw_bytes
                   ? 0
                   : -EINVAL;
#endif
#ifdef HAVE_LIBZSTD
    if (a.encoding == FAR_DISPLAY_ZSTD)
        return ZSTD_decompressDCtx(p->out, p->raw, a.raw_bytes, p->copy,
                                   op->payload_bytes) == a.raw_bytes
                   ? 0
                   : -EINVAL;
#endif
    return -EOPNOTSUPP;
}

int far_draw_tiles(struct far_packer *packer, const struct far_op *op,
                   const void *payload, uint32_t width, uint32_t height,
                   void (*draw)(void *arg, const struct far_display_rect *rect,
                                const uint8_t *pixels),
                   void *arg)
{
    struct far_display_tiles tiles;
    struct far_display_walk walk;
    struct far_display_rect rect;
    const uint8_t *pixels, *raw;
    int r;

    memcpy(&tiles, op->args, sizeof(tiles));
    if (tiles.width != width || tiles.height != height)
        return 0;
    r = unpack(packer, op, payload, &raw);
    if (r)
        return r;
    far_display_walk_begin(&walk, &tiles, raw);
    while ((r = far_display_walk_next(&walk, &rect, &pixels)) > 0)
        draw(arg, &rect, pixels);
    return r;
}
