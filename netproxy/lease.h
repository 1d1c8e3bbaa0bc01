/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether this platform is the owner of a device: so says a lease of the
 * directory (netproxy/etcd.h), by this machine's own clock, which also counts
 * while it sleeps. What executes an op looks at that clock just before: a
 * process that was stopped for longer than its lease does nothing more.
 */
#ifndef FARSIDE_NETPROXY_LEASE_H
#define FARSIDE_NETPROXY_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include "core/conf.h"

struct far_lease {
    char name[FAR_NAME_BYTES];   /* in the directory */
    char holder[FAR_NAME_BYTES]; /* the platform that owns it; "": none known */
    uint64_t until_us; /* far_boot_us(): ours until then; 0: it is not */
    uint64_t from_us; /* 0, or ours from then on, if it still is: a former owner
                         may act until then */
    uint64_t term;    /* random each time that it becomes ours */
    bool wanted;      /* an [export] has it */
    bool told;        /* that it is held; its loss is news then */
    /* What the helper says by this setup and later ones counts: by those before
     * it may have been given back since. */
    uint32_t generation;
    uint64_t late_us; /* far_boot_us() when a session ended, or lost its device,
                         before that had answered all; 0: never */
    struct far_lease *next;
};

/* CLOCK_BOOTTIME. */
static inline uint64_t far_boot_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static inline bool far_lease_held(const struct far_lease *lease)
{
    return far_boot_us() < lease->until_us;
}

/* By how much an owner stops before its lease can end, and a successor waits
 * longer than that: for clocks that do not run alike, and for what was begun
 * just before. */
static inline uint64_t far_lease_margin_us(uint32_t ttl_s)
{
    return (uint64_t)ttl_s * 1000000u / 5;
}

#endif
