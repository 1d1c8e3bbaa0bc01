/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's arithmetic, without a guest: what a source's word
 * means for a vector's count, and what a request asks for. Pure.
 */
#ifndef FARSIDE_BACKEND_PORT_INTC_CHECKS_H
#define FARSIDE_BACKEND_PORT_INTC_CHECKS_H

#include "backend/line.h"
#include "core/intc.h"
#include "farside/io/farintc.h"

/* What stands in a vector's slot, in the guest's memory: it outlives the
 * backend, and the machine. */
struct far_intc_count {
    uint64_t count, base, epoch;
};

/* The source says that it has raised the line `total` times in this epoch.
 * Returns how many of them are new. The same said again, by whomever, is
 * nothing new; a total that has gone back neither. */
uint64_t far_intc_account(struct far_intc_count *c, uint64_t epoch,
                          uint64_t total, bool stated);

/* Is this request (a private copy) one that may be acted upon? 0 or the status
 * to answer with. */
int far_intc_request(const struct farintc_request *request, uint32_t vectors,
                     uint32_t channels);

/* Which source a line is, for the slot: 0 is none. */
uint32_t far_intc_source_id(const struct far_intc_source *source,
                            uint32_t line);

/* The stricter of both in each. */
struct far_line_limits far_intc_stricter(const struct far_line_limits *a,
                                         const struct far_line_limits *b);

#endif
