/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Filling a struct far_error. Where errors are shown is others' business.
 */
#include "core/error.h"

#include <stdio.h>
#include <string.h>

int far_error(struct far_error *e, int code, const char *format, ...)
{
    static const char ellipsis[] = "…";
    va_list args;
    int n;

    if (!e)
        return code;
    e->code = code;
    va_start(args, format);
    n = vsnprintf(e->text, sizeof(e->text), format, args);
    va_end(args);
    if (n < 0)
        e->text[0] = '\0';
    if (n >= (int)sizeof(e->text)) {
        size_t at = sizeof(e->text) - sizeof(ellipsis);

        /* Not in the middle of a character of several bytes. */
        while (at > 0 && ((unsigned char)e->text[at] & 0xc0) == 0x80)
            at--;
        memcpy(e->text + at, ellipsis, sizeof(ellipsis));
    }
    return code;
}
