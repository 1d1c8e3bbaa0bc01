/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the vdispl port decides, as pure functions: what a front's nodes mean,
 * and what each request does to the buffers, framebuffers and connectors of a
 * guest (xen/io/displif.h). Maps nothing and touches no page; port-vdispl.c
 * does. The state is in the journal's annex: a successor goes on with it.
 */
#ifndef FARSIDE_BACKEND_PORT_VDISPL_CHECKS_H
#define FARSIDE_BACKEND_PORT_VDISPL_CHECKS_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/displif.h>

#define FAR_VDISPL_CONNECTORS_MAX 8u
#define FAR_VDISPL_DBUFS_MAX      32u /* of a device */
#define FAR_VDISPL_FBS_MAX        64u

/* A display buffer: pages that hold pixels. */
struct far_vdispl_dbuf {
    uint64_t cookie; /* 0: free */
    uint32_t width, height, bpp, bytes, offset;
    uint32_t directory, ours; /* ours: its pages are the backend's */
    uint32_t pages;
};

/* A framebuffer: how such pixels are to be taken. */
struct far_vdispl_fb {
    uint64_t cookie; /* 0: free */
    uint64_t dbuf;
    uint32_t width, height, format, reserved;
};

struct far_vdispl_screen {
    uint32_t width, height; /* its resolution */
    uint32_t on;            /* it was configured */
    uint32_t x, y, w, h;    /* … so */
    uint32_t flips, told;   /* granted, and done: equal but for one at most */
    uint32_t reserved;
    uint64_t shown;    /* framebuffer; 0: none */
    uint64_t flipping; /* the framebuffer of the last flip */
};

struct far_vdispl_state {
    uint32_t be_alloc, version;
    uint32_t connectors, reserved;
    struct far_vdispl_screen screen[FAR_VDISPL_CONNECTORS_MAX];
    struct far_vdispl_dbuf dbuf[FAR_VDISPL_DBUFS_MAX];
    struct far_vdispl_fb fb[FAR_VDISPL_FBS_MAX];
};

/* "1280x800"; false if it is no size of a screen. */
bool far_vdispl_resolution(const char *text, uint32_t *width, uint32_t *height);

struct far_vdispl_dbuf *far_vdispl_find_dbuf(struct far_vdispl_state *state,
                                             uint64_t cookie);
struct far_vdispl_fb *far_vdispl_find_fb(struct far_vdispl_state *state,
                                         uint64_t cookie);

/* What is left to be done for a request that was granted. */
enum far_vdispl_act {
    FAR_VDISPL_NOTHING,
    FAR_VDISPL_MAP,   /* dbuf: it is new */
    FAR_VDISPL_UNMAP, /* dbuf: it is going; free it then */
    FAR_VDISPL_SHOW,  /* what the connector shows is another */
    FAR_VDISPL_FLIP,  /* the same, and an event follows */
    FAR_VDISPL_GET_EDID,
};

/* One request, already copied, of this connector's ring. again: it may have
 * been done before (by who died before he could say so): then what is done is
 * no error. Its status, 0 or a negative XEN_E…, whose numbers are Linux's. */
int far_vdispl_request(struct far_vdispl_state *state, unsigned connector,
                       const struct xendispl_req *request, bool again,
                       enum far_vdispl_act *act, struct far_vdispl_dbuf **dbuf);

#endif
