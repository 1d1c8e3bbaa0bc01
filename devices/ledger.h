/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The file of the disk `ledger`: one record after another, each of a header and
 * its contents, all of them multiples of 512 bytes. For whoever checks what
 * happened; the device itself is devices/ledger.c.
 */
#ifndef FARSIDE_DEVICES_LEDGER_H
#define FARSIDE_DEVICES_LEDGER_H

#include <assert.h>
#include <stdint.h>

#define FAR_LEDGER_MAGIC 0x726567646c726166u /* "farldger" */

struct far_ledger_record {
    uint64_t magic;
    uint64_t check; /* far_ledger_check() of all that follows, and contents */
    uint64_t attachment, sequence;
    uint32_t slot, bytes; /* of the contents */
    uint64_t order;       /* from 1, without gaps */
    uint8_t guest_uuid[16], generation[16];
    uint8_t zeros[432];
};
static_assert(sizeof(struct far_ledger_record) == 512, "");

uint64_t far_ledger_check(const struct far_ledger_record *record,
                          const void *contents);

#endif
