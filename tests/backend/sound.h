/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The known signal of tests with sound: every byte follows from a seed and its
 * place, so that one that is missing, late or doubled shows.
 */
#ifndef FARSIDE_TESTS_BACKEND_SOUND_H
#define FARSIDE_TESTS_BACKEND_SOUND_H

#include <stdint.h>

static inline uint8_t sound_byte(uint32_t seed, uint64_t place)
{
    uint32_t x = (uint32_t)place * 2654435761u ^ seed * 40503u;

    return (uint8_t)(x >> 24 ^ x >> 13 ^ x);
}

static inline void sound_fill(uint8_t *at, uint32_t bytes, uint32_t seed,
                              uint64_t place)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = sound_byte(seed, place + i);
}

#endif
