/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pure half of the vbd port: what a guest's request says, in each of the
 * layouts that blkif has, and what op on a disk it becomes, if any. Works on
 * private copies only: nothing here reads memory that a guest can write.
 */
#ifndef FARSIDE_BACKEND_PORT_VBD_CHECKS_H
#define FARSIDE_BACKEND_PORT_VBD_CHECKS_H

#include <stdbool.h>
#include <stdint.h>
#include "core/block.h"
#include "core/error.h"

/* What we serve at most. Rings: whatever a guest may build by the offers of
 * Linux' xen-blkback, which may have written them before us. */
#define FAR_VBD_QUEUES_MAX     16u
#define FAR_VBD_RING_ORDER_MAX 4u
#define FAR_VBD_RING_PAGES_MAX (1u << FAR_VBD_RING_ORDER_MAX)
#define FAR_VBD_SEGMENTS_MAX   32u /* 128 KiB: far_class_payload_bytes() */
#define FAR_VBD_BYTES_MAX      (FAR_VBD_SEGMENTS_MAX * 4096u)
/* What we offer. */
#define FAR_VBD_QUEUES     4u
#define FAR_VBD_RING_ORDER 4u

/* Layouts. x86_64's is that of every 64-bit processor (arm-abi too): "native"
 * for us. */
enum far_vbd_abi { FAR_VBD_64, FAR_VBD_32 };
/* By the node `protocol`, NULL if there is none; 0 or -EINVAL. */
int far_vbd_abi_parse(enum far_vbd_abi *abi, const char *protocol);

#define FAR_VBD_ENTRY_BYTES_MAX 112u
#define FAR_VBD_HEADER_BYTES    64u /* of a ring, before its entries */
uint32_t far_vbd_entry_bytes(enum far_vbd_abi abi);
/* A power of two, as RING_SIZE() has it. */
uint32_t far_vbd_ring_entries(enum far_vbd_abi abi, uint32_t pages);

struct far_vbd_segment { /* as in a ring and in an indirect page */
    uint32_t gref;
    uint8_t first, last; /* sectors of 512 bytes in the page */
    uint16_t reserved;
};
static_assert(sizeof(struct far_vbd_segment) == 8, "blkif's layout");

struct far_vbd_request {
    uint64_t id;
    uint64_t sector;
    uint64_t sectors;  /* of a discard */
    uint32_t indirect; /* the grant with the segments; 0: they are here */
    uint16_t segments;
    uint8_t operation; /* as it stands there */
    uint8_t acts;      /* the one that is meant, in an indirect request too;
                          Linux' front wants to see it in the answer */
    uint8_t secure;
    uint8_t pad[7];
    struct far_vbd_segment segment[FAR_VBD_SEGMENTS_MAX];
};

/* Takes a private copy of one entry apart. Segments beyond those that a request
 * of its kind can hold are not read; far_vbd_judge() refuses it. */
void far_vbd_parse(enum far_vbd_abi abi, const uint8_t *entry,
                   struct far_vbd_request *request);
/* The answer to it, zeroed all around; bytes of it. */
uint32_t far_vbd_answer(enum far_vbd_abi abi, uint8_t *entry, uint64_t id,
                        uint8_t operation, int16_t status);
/* Is there a page of segments to be fetched: how many of them are in it? 0 if
 * not (also where the request is wrong: judge says so). */
uint32_t far_vbd_indirect(const struct far_vbd_request *request);

/* The op that it becomes (slot, sequence and attachment are the caller's), by
 * what the guest was told that the disk is. Call when all segments are there.
 * 0, or BLKIF_RSP_ERROR or BLKIF_RSP_EOPNOTSUPP. A barrier becomes its write,
 * with FAR_BLOCK_FUA, or a flush if it has no segments: what a barrier asks
 * for beside is the caller's. */
int16_t far_vbd_judge(const struct far_vbd_request *request,
                      const struct far_block_props *props, bool writable,
                      struct far_op *op);
/* BLKIF_RSP_* for a disk's answer. */
int16_t far_vbd_status(int32_t status);
bool far_vbd_is_barrier(const struct far_vbd_request *request);

/* What the front wrote, as read; 0 where there was nothing. */
struct far_vbd_front {
    uint64_t queues; /* multi-queue-num-queues; 0: the nodes of old */
    uint64_t order;  /* ring-page-order */
    bool has_order, persistent;
    char protocol[16];
};
struct far_vbd_mode {
    uint32_t queues, pages; /* of each ring */
    uint8_t abi, persistent, multi, ordered;
};
/* 0 or a negative errno, with why. refs and ports are read and judged
 * afterwards: there are as many as the mode says. */
int far_vbd_check_front(const struct far_vbd_front *front,
                        struct far_vbd_mode *mode, struct far_error *error);

#endif
