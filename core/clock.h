/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The one clock: CLOCK_MONOTONIC, in microseconds or nanoseconds; and what a
 * loop that spins says to its processor.
 */
#ifndef FARSIDE_CORE_CLOCK_H
#define FARSIDE_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t far_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t far_now_us(void)
{
    return far_now_ns() / 1000u;
}

static inline void far_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

#endif
