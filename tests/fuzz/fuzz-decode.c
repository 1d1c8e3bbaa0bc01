/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as a file that `farside decode` is given: a capture, a stream of
 * frames, or neither.
 */
#include <stdlib.h>
#include <string.h>
#include "tools/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct far_decode d = { .payload_max = bytes & 1 ? 16 : 1 << 20,
                            .as_json = bytes & 2 };
    uint8_t *exact = malloc(bytes); /* its end is guarded */
    char *text = NULL;
    size_t n;

    if (bytes)
        memcpy(exact, data, bytes);
    d.out = open_memstream(&text, &n);
    far_decode(&d, exact, bytes);
    fclose(d.out);
    for (size_t i = 0; i < n; i++) {
        /* Nothing that a terminal would take for an order. */
        if ((unsigned char)text[i] < 0x20 && text[i] != '\n')
            abort();
    }
    free(text);
    free(exact);
    return 0;
}
