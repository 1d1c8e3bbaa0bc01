/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What went wrong, in words for a person: which device, why, what to do.
 */
#ifndef FARSIDE_CORE_ERROR_H
#define FARSIDE_CORE_ERROR_H

#include <stdarg.h>

struct far_error {
    int code; /* a negative errno, 0 for none */
    char text[232];
};

/* Fills e (which may be NULL) and returns code, so that a caller can say
 * `return far_error(e, -ENOENT, "kbd0: …")`. Too long a text is cut with an
 * ellipsis. */
int far_error(struct far_error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
