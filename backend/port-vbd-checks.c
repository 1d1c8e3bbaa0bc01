/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-vbd-checks.h. The layouts are written out by offsets: the
 * structures of xen/io/blkif.h are those of the compiler's own processor only.
 */
#include "backend/port-vbd-checks.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <xen/io/blkif.h>
#include "xenbus/grant.h"

/* Of struct blkif_request and its relatives. */
struct layout {
    uint8_t entry, id, sector;
    uint8_t segments; /* and a discard's nr_sectors */
    uint8_t indirect; /* indirect_grefs */
};
static const struct layout layouts[] = {
    [FAR_VBD_64] = { 112, 8, 16, 24, 28 },
    [FAR_VBD_32] = { 108, 4, 12, 20, 24 },
};
static_assert(sizeof(struct blkif_request) == 112 &&
                  offsetof(struct blkif_request, id) == 8 &&
                  offsetof(struct blkif_request, sector_number) == 16 &&
                  offsetof(struct blkif_request, seg) == 24 &&
                  offsetof(struct blkif_request_discard, nr_sectors) == 24 &&
                  offsetof(struct blkif_request_indirect, indirect_grefs) == 28,
              "native is the 64-bit layout");

int far_vbd_abi_parse(enum far_vbd_abi *abi, const char *protocol)
{
    static const struct {
        const char *name;
        enum far_vbd_abi abi;
    } names[] = { { "x86_64-abi", FAR_VBD_64 },
                  { "arm-abi", FAR_VBD_64 },
                  { "x86_32-abi", FAR_VBD_32 } };

    *abi = FAR_VBD_64;
    if (!protocol)
        return 0;
    for (unsigned i = 0; i < 3; i++) {
        if (strcmp(protocol, names[i].name))
            continue;
        *abi = names[i].abi;
        return 0;
    }
    return -EINVAL;
}

uint32_t far_vbd_entry_bytes(enum far_vbd_abi abi)
{
    return layouts[abi].entry;
}

uint32_t far_vbd_ring_entries(enum far_vbd_abi abi, uint32_t pages)
{
    uint32_t fit = (pages * 4096 - FAR_VBD_HEADER_BYTES) / layouts[abi].entry;
    uint32_t entries = 1;

    while (entries * 2 <= fit)
        entries *= 2;
    return entries;
}

void far_vbd_parse(enum far_vbd_abi abi, const uint8_t *entry,
                   struct far_vbd_request *r)
{
    const struct layout *l = &layouts[abi];
    uint16_t handful;

    memset(r, 0, offsetof(struct far_vbd_request, segment));
    r->operation = r->acts = entry[0];
    memcpy(&r->id, entry + l->id, sizeof(r->id));
    memcpy(&r->sector, entry + l->sector, sizeof(r->sector));
    switch (r->operation) {
    case BLKIF_OP_DISCARD:
        r->secure = entry[1] & BLKIF_DISCARD_SECURE;
        memcpy(&r->sectors, entry + l->segments, sizeof(r->sectors));
        return;
    case BLKIF_OP_INDIRECT:
        r->acts = entry[1];
        memcpy(&handful, entry + 2, sizeof(handful));
        r->segments = handful;
        memcpy(&r->indirect, entry + l->indirect, sizeof(r->indirect));
        return;
    default:
        r->segments = entry[1];
        handful = r->segments < BLKIF_MAX_SEGMENTS_PER_REQUEST
                      ? r->segments
                      : BLKIF_MAX_SEGMENTS_PER_REQUEST;
        memcpy(r->segment, entry + l->segments,
               handful * sizeof(r->segment[0]));
    }
}

uint32_t far_vbd_answer(enum far_vbd_abi abi, uint8_t *entry, uint64_t id,
                        uint8_t operation, int16_t status)
{
    /* id, operation, a byte of nothing, status: the same in both, but for the
     * padding behind */
    uint32_t bytes = abi == FAR_VBD_32 ? 12 : 16;

    memset(entry, 0, bytes);
    memcpy(entry, &id, sizeof(id));
    entry[8] = operation;
    memcpy(entry + 10, &status, sizeof(status));
    return bytes;
}
static_assert(sizeof(struct blkif_response) == 16 &&
                  offsetof(struct blkif_response, operation) == 8 &&
                  offsetof(struct blkif_response, status) == 10,
              "native is the 64-bit layout");

static bool moves_data(uint8_t acts)
{
    return acts == BLKIF_OP_READ || acts == BLKIF_OP_WRITE ||
           acts == BLKIF_OP_WRITE_BARRIER;
}

uint32_t far_vbd_indirect(const struct far_vbd_request *r)
{
    if (r->operation != BLKIF_OP_INDIRECT || !r->segments ||
        r->segments > FAR_VBD_SEGMENTS_MAX ||
        r->indirect < FAR_GRANT_RESERVED ||
        (r->acts != BLKIF_OP_READ && r->acts != BLKIF_OP_WRITE))
        return 0;
    return r->segments;
}

bool far_vbd_is_barrier(const struct far_vbd_request *r)
{
    return r->operation == BLKIF_OP_WRITE_BARRIER;
}

int16_t far_vbd_judge(const struct far_vbd_request *r,
                      const struct far_block_props *props, bool writable,
                      struct far_op *op)
{
    uint32_t segments_max = r->operation == BLKIF_OP_INDIRECT
                                ? FAR_VBD_SEGMENTS_MAX
                                : BLKIF_MAX_SEGMENTS_PER_REQUEST;
    struct far_block_args args = { 0 };
    struct far_block_props p = *props;
    uint64_t bytes = 0;
    int status;

    memset(op, 0, sizeof(*op));
    if (!writable)
        p.can &= ~(uint32_t)FAR_BLOCK_CAN_WRITE;
    switch (r->acts) {
    case BLKIF_OP_READ:
        op->opcode = FAR_BLOCK_READ;
        op->flags = FAR_OP_RECEIVES;
        break;
    case BLKIF_OP_WRITE:
        op->opcode = FAR_BLOCK_WRITE;
        op->flags = FAR_OP_SENDS;
        break;
    case BLKIF_OP_WRITE_BARRIER:
        if (r->operation == BLKIF_OP_INDIRECT)
            return BLKIF_RSP_ERROR;
        op->opcode = r->segments ? FAR_BLOCK_WRITE : FAR_BLOCK_FLUSH;
        op->flags = r->segments ? FAR_OP_SENDS : 0;
        args.flags = r->segments ? FAR_BLOCK_FUA : 0;
        break;
    case BLKIF_OP_FLUSH_DISKCACHE:
        if (r->operation == BLKIF_OP_INDIRECT || r->segments)
            return BLKIF_RSP_ERROR;
        op->opcode = FAR_BLOCK_FLUSH;
        break;
    case BLKIF_OP_DISCARD:
        if (r->operation == BLKIF_OP_INDIRECT)
            return BLKIF_RSP_ERROR;
        op->opcode = FAR_BLOCK_DISCARD;
        args.flags = r->secure ? FAR_BLOCK_SECURE : 0;
        bytes = r->sectors * 512;
        break;
    default:
        return r->operation == BLKIF_OP_INDIRECT ? BLKIF_RSP_ERROR
                                                 : BLKIF_RSP_EOPNOTSUPP;
    }
    if (moves_data(r->acts)) {
        if (r->operation == BLKIF_OP_INDIRECT && !far_vbd_indirect(r))
            return BLKIF_RSP_ERROR;
        if (r->segments > segments_max ||
            (!r->segments && r->acts != BLKIF_OP_WRITE_BARRIER))
            return BLKIF_RSP_ERROR;
        for (unsigned i = 0; i < r->segments; i++) {
            if (r->segment[i].first > r->segment[i].last ||
                r->segment[i].last > 7 ||
                r->segment[i].gref < FAR_GRANT_RESERVED)
                return BLKIF_RSP_ERROR;
            bytes +=
                (uint64_t)(r->segment[i].last - r->segment[i].first + 1) * 512;
        }
        op->payload_bytes = (uint32_t)bytes;
    }
    /* a flush has no place: Linux writes 2^64 - 1 there */
    if (op->opcode != FAR_BLOCK_FLUSH) {
        if (r->sector > UINT64_MAX / 512 || r->sectors > UINT64_MAX / 512)
            return BLKIF_RSP_ERROR;
        args.offset_bytes = r->sector * 512;
        args.length_bytes = bytes;
    }
    memcpy(op->args, &args, sizeof(args));
    status = far_block_check(op, &p);
    return status == -EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP
           : status              ? BLKIF_RSP_ERROR
                                 : BLKIF_RSP_OKAY;
}

int16_t far_vbd_status(int32_t status)
{
    return status == 0             ? BLKIF_RSP_OKAY
           : status == -EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP
                                   : BLKIF_RSP_ERROR;
}

int far_vbd_check_front(const struct far_vbd_front *front,
                        struct far_vbd_mode *mode, struct far_error *error)
{
    enum far_vbd_abi abi;

    memset(mode, 0, sizeof(*mode));
    if (far_vbd_abi_parse(&abi, front->protocol[0] ? front->protocol : NULL))
        return far_error(error, -EINVAL,
                         "the guest's protocol is none of x86_64-abi, "
                         "x86_32-abi and arm-abi");
    if (front->queues > FAR_VBD_QUEUES_MAX)
        return far_error(error, -EINVAL,
                         "the guest's multi-queue-num-queues is over %u",
                         FAR_VBD_QUEUES_MAX);
    if (front->order > FAR_VBD_RING_ORDER_MAX)
        return far_error(error, -EINVAL,
                         "the guest's ring-page-order is over %u",
                         FAR_VBD_RING_ORDER_MAX);
    mode->abi = (uint8_t)abi;
    mode->multi = front->queues > 1;
    mode->queues = front->queues ? (uint32_t)front->queues : 1;
    mode->ordered = front->has_order;
    mode->pages = 1u << front->order;
    mode->persistent = front->persistent;
    return 0;
}
