/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The interrupt controller's arithmetic: see port-intc-checks.h.
 *
 * A vector's count is base + total, and total is the source's. So it doesn't
 * matter how often, and by which process, a total is added up: none is lost and
 * none counted twice. Only another epoch changes base.
 */
#include "backend/port-intc-checks.h"

#include <errno.h>

uint64_t far_intc_account(struct far_intc_count *c, uint64_t epoch,
                          uint64_t total, bool stated)
{
    uint64_t news;

    if (c->epoch != epoch) {
        /* What a source states that we have never heard of was before us. All
         * that another one counts has happened since the former one was. */
        c->base = !c->epoch && stated ? c->count - total : c->count;
        c->epoch = epoch;
    }
    news = c->base + total - c->count;
    if ((int64_t)news <= 0)
        return 0;
    c->count += news;
    return news;
}

int far_intc_request(const struct farintc_request *request, uint32_t vectors,
                     uint32_t channels)
{
    switch (request->operation) {
    case FARINTC_OP_NOP:
        return 0;
    case FARINTC_OP_ASK:
        return request->vector < vectors ? 0 : -EINVAL;
    case FARINTC_OP_SET:
        if (request->vector >= vectors || request->channel >= channels ||
            request->priority >= FARINTC_PRIORITIES ||
            request->wait_ns > 1000000000u ||
            (request->together && !request->wait_ns))
            return -EINVAL;
        return 0;
    default:
        return -EOPNOTSUPP;
    }
}

/* FNV-1a: two that are taken for one would only count on from each other. */
uint32_t far_intc_source_id(const struct far_intc_source *source, uint32_t line)
{
    uint32_t id =
        0x811c9dc5u ^ (uint32_t)source->class ^ (uint32_t)source->notices << 8;

    for (const char *c = source->address; *c; c++)
        id = (id ^ (uint8_t)*c) * 0x01000193u;
    for (unsigned i = 0; i < 2; i++)
        id = (id ^ (line >> 8 * i & 0xff)) * 0x01000193u;
    return id ? id : 1;
}

static uint32_t lower(uint32_t a, uint32_t b) /* 0: no limit */
{
    return !a || (b && b < a) ? b : a;
}

struct far_line_limits far_intc_stricter(const struct far_line_limits *a,
                                         const struct far_line_limits *b)
{
    struct far_line_limits s = {
        .per_second = lower(a->per_second, b->per_second),
    };
    const struct far_line_limits *longer =
        b->coalesce_ns > a->coalesce_ns ? b : a;

    s.coalesce_ns = longer->coalesce_ns;
    s.coalesce_events = longer->coalesce_events;
    return s;
}
