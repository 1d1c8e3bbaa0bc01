/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk of this guest, driven by the library's frontend, as an NBD export on a
 * Unix socket. For farside-frontend.
 */
#ifndef FARSIDE_FRONTEND_NBD_H
#define FARSIDE_FRONTEND_NBD_H

struct far_nbd_options {
    unsigned devid; /* xenstore's device/vbd/DEVID */
    const char *path;
    /* For a person: what has become of it. */
    void (*say)(const char *format, ...) __attribute__((format(printf, 1, 2)));
    void (*ready)(void); /* it can be connected to */
};

/* Exports until far_nbd_stop() or the disk is gone: 0, or a negative errno,
 * which was said. Once in a process. */
int far_nbd_export(const struct far_nbd_options *options);
/* From a signal handler, too. */
void far_nbd_stop(void);

#endif
