/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the chaos test's processes share: the memory of guests, which outlives
 * their backends as a real guest's does, and what is written by whom.
 */
#ifndef FARSIDE_TESTS_CHAOS_H
#define FARSIDE_TESTS_CHAOS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "core/input.h"

#define GUESTS       2u /* of each client platform */
#define REQUESTS     48u
#define EVENTS       1024u
#define CONTENTS_MAX 65536u

enum phase { OPEN = 1, DONE = 2 };
#define STATE(number, phase) ((uint64_t)(number) << 8 | (phase))

/* The guest writes all but status and at, then the state; the backend makes
 * OPEN to DONE, once. */
struct request {
    _Atomic uint64_t state; /* STATE() */
    uint64_t seed;          /* of the contents */
    uint64_t of;            /* a read: the append whose contents are read */
    uint64_t from;          /* a read: where they are */
    uint32_t bytes;
    uint32_t reads;
    int32_t status; /* -EBADMSG: what was read is not what was appended */
    uint32_t reserved;
    uint64_t at; /* an append: where it is */
};

struct event {
    uint64_t incarnation, sequence;
    struct far_input_event event;
};

struct guest_memory {
    _Atomic uint64_t posted;           /* the last request's number; from 1 */
    struct request requests[REQUESTS]; /* number n is in n % REQUESTS */
    _Atomic uint32_t prod, cons;       /* of events */
    struct event events[EVENTS];
    /* by the backend */
    _Atomic uint64_t twice; /* answers to what is not open */
    _Atomic uint64_t repeats, lives;
};

struct memory {
    struct guest_memory guests[GUESTS];
};

/* What guest appends as its request number n; out is aligned to 8. */
static inline void contents(uint8_t *out, uint32_t bytes, uint64_t guest,
                            uint64_t n, uint64_t seed)
{
    uint64_t *words = (uint64_t *)(void *)out;

    words[0] = guest;
    words[1] = n;
    words[2] = seed;
    for (size_t i = 3; i < bytes / sizeof(*words); i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        words[i] = seed + n;
    }
}

/* DIR/NAME.guests, DIR/NAME.journal and DIR/NAME/devices.sock; first is the
 * number of its first guest; server: where the devices are asked for. */
void backend(const char *dir, const char *name, const char *server,
             unsigned first) __attribute__((noreturn));
/* A TCP proxy that does harm, in a process of its own, until it is killed; none
 * any more after SIGUSR1. listener is bound. */
void wires(int listener, uint16_t to, uint64_t seed) __attribute__((noreturn));

#endif
