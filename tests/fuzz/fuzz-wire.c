/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as what a peer sends: cut into frames, taken apart, and what passed
 * put together again. Its corpus begins with tests/netproxy/golden.
 */
#include <stdlib.h>
#include <string.h>
#include "netproxy/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void again(const struct far_wire_frame *f)
{
    struct far_wire_header header = f->header;
    struct far_wire_frame g;
    struct far_error error;
    size_t room, n;
    uint8_t *out;

    if (f->header.type < FAR_WIRE_OP || f->header.type > FAR_WIRE_INTERRUPT)
        return;
    room = far_wire_op_bytes(&f->header, &f->op);
    out = malloc(room);
    n = far_wire_encode_op(out, room, &header, &f->op, f->payload);
    if (n != room || far_wire_decode(&g, out, n, &error) ||
        memcmp(&g.op, &f->op, sizeof(g.op)))
        abort();
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct far_wire_frame frame;
    struct far_error error;

    while (bytes) {
        int n = far_wire_next(data, bytes, FAR_WIRE_FRAME_MAX, &error);
        uint8_t *exact;

        if (n <= 0)
            break;
        exact = malloc((size_t)n); /* its end is guarded */
        memcpy(exact, data, (size_t)n);
        if (!far_wire_decode(&frame, exact, (size_t)n, &error) && frame.known) {
            if (strnlen(frame.text, sizeof(frame.text)) == sizeof(frame.text))
                abort();
            if (frame.header.type == FAR_WIRE_PREPARE &&
                strnlen(frame.prepare.device, FAR_NAME_BYTES) == FAR_NAME_BYTES)
                abort();
            if (frame.header.type == FAR_WIRE_HELLO &&
                !far_name_valid(frame.hello.platform))
                abort();
            again(&frame);
        }
        free(exact);
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}
