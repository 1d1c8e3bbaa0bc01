/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest with a disk for tests on the simulator: blkguest.c, which checks
 * every block that it reads.
 */
#ifndef FARSIDE_TESTS_BACKEND_DISK_H
#define FARSIDE_TESTS_BACKEND_DISK_H

#include "tests/backend/simhost.h"

#define MIB   (1u << 20)
#define DEVID 51712u
/* queues, ring order, slots, segments, persistent, 32-bit */
#define PLAIN "1 0 16 11 0 0"

/* disk: of xl's line, all behind `disk=`. */
static inline struct guest guest(const char *name, const char *disk)
{
    char lines[512];

    snprintf(lines, sizeof(lines), "memory=256 gntalloc=8192 disk=%s", disk);
    return guest_with("tests/backend/blkguest", name, lines);
}

#define LINE(vdev, device) \
    "vdev=" vdev ",access=rw,script=block-farside,target=" device

static inline void connect_disk(struct guest *g, const char *how)
{
    OK(g, "open %u %s", DEVID, how);
    OK(g, "connected");
}

/* address: DEVICE or PLATFORM/DEVICE */
static inline struct guest connected_to(const char *address, const char *how)
{
    char line[300];
    struct guest g;

    snprintf(line, sizeof(line), LINE("xvda", "%s"), address);
    g = guest("g", line);
    connect_disk(&g, how);
    return g;
}

/* A counter of the last of a guest's disks. */
static inline json_int_t counter(const struct guest *g, const char *name)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *that, *one;
    json_int_t value = -1;
    size_t i, k;

    json_array_foreach (json_object_get(whole, "guests"), i, that) {
        if (json_integer_value(json_object_get(that, "domid")) !=
            (json_int_t)g->domid)
            continue;
        json_array_foreach (json_object_get(that, "devices"), k, one)
            value = json_integer_value(
                json_object_get(json_object_get(one, "counters"), name));
    }
    json_decref(whole);
    return value;
}

/* The end of a load of more than so many ops, without an error or a bad block.
 * NULL, or what the guest said of it; the status is shown then. */
static inline const char *load_fault(struct guest *g, unsigned long long least)
{
    unsigned long long ops, errors, bad;
    const char *end = hear(g);
    json_t *status;

    if (sscanf(end, "ok ops %llu errors %llu bad %llu", &ops, &errors, &bad) ==
            3 &&
        ops > least && !errors && !bad)
        return NULL;
    status = ask("{\"request\":\"status\"}");
    json_dumpf(json_object_get(status, "guests"), stderr, JSON_INDENT(1));
    json_decref(status);
    return end;
}

#endif
