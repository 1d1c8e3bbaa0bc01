/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Silence (devices/silence.h). Misses are counted, not time: after a pause of
 * our own (a suspended machine) what was answered meanwhile is read between two
 * looks, before anybody is given up.
 */
#include "devices/silence.h"

#include <stddef.h>

#define LOOKS 2u /* in within_us */

static void look(struct far_timer *timer)
{
    struct far_silence *s =
        (struct far_silence *)((char *)timer -
                               offsetof(struct far_silence, timer));

    if (s->waits && ++s->missed >= LOOKS) {
        far_silence_end(s);
        s->silent(s);
        return;
    }
    s->waits = s->ask(s);
    far_timer_set(&s->timer, far_loop_now_us(s->loop) + s->within_us / LOOKS);
}

void far_silence_init(struct far_silence *s, struct far_loop *loop,
                      bool (*ask)(struct far_silence *silence),
                      void (*silent)(struct far_silence *silence))
{
    *s = (struct far_silence){
        .loop = loop, .within_us = UINT64_MAX, .ask = ask, .silent = silent
    };
    far_timer_init(&s->timer, loop, look);
}

void far_silence_begin(struct far_silence *s)
{
    if (s->within_us == UINT64_MAX || far_timer_armed(&s->timer))
        return;
    far_silence_heard(s);
    far_timer_set(&s->timer, far_loop_now_us(s->loop) + s->within_us / LOOKS);
}

void far_silence_end(struct far_silence *s)
{
    far_timer_cancel(&s->timer);
    far_silence_heard(s);
}

void far_silence_heard(struct far_silence *s)
{
    s->waits = false;
    s->missed = 0;
}
