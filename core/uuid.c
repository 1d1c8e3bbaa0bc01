/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Uuids as text and back; random bytes.
 */
#include "core/uuid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int far_uuid_parse(uint8_t uuid[16], const char *text)
{
    size_t length = strlen(text);
    int hyphens = length == 36;
    uint8_t out[16];

    if (length != 32 && length != 36)
        return -EINVAL;
    for (unsigned i = 0; i < 16; i++) {
        int high, low;

        if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10) &&
            *text++ != '-')
            return -EINVAL;
        high = digit(text[0]);
        low = digit(text[1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        out[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    memcpy(uuid, out, sizeof(out));
    return 0;
}

char *far_uuid_format(char out[FAR_UUID_TEXT_BYTES], const uint8_t uuid[16])
{
    static const char hex[] = "0123456789abcdef";
    char *p = out;

    for (unsigned i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = hex[uuid[i] >> 4];
        *p++ = hex[uuid[i] & 15];
    }
    *p = '\0';
    return out;
}

int far_random_bytes(void *out, size_t bytes)
{
    uint8_t *p = out;

    while (bytes > 0) {
        ssize_t n = getrandom(p, bytes, 0);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += n;
        bytes -= (size_t)n;
    }
    return 0;
}

uint64_t far_random_u64(void)
{
    uint64_t value = 0;

    while (value == 0)
        if (far_random_bytes(&value, sizeof(value)) < 0)
            abort();
    return value;
}
