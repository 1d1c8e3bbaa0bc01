/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the tests of streams share: two guests, each with a program that uses
 * libxenvchan's calls as lines tell it (tests/frontend/vchan-peer.c).
 */
#ifndef FARSIDE_TESTS_BACKEND_STREAMS_H
#define FARSIDE_TESTS_BACKEND_STREAMS_H

#include <stdint.h>
#include "tests/backend/simhost.h"

#define PEER "tests/frontend/vchan-peer"

static struct guest a, b;

/* A program's line whose answer is waited for later. */
__attribute__((format(printf, 2, 3))) static inline void
begin(struct guest *g, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(g->in, format, args);
    va_end(args);
    fputc('\n', g->in);
    fflush(g->in);
}

static inline void hears(struct guest *g, const char *what)
{
    const char *answer = hear(g);

    ck_assert_msg(!strcmp(answer, what), "%s: %s, not %s", g->name, answer,
                  what);
}

static inline void becomes(struct guest *g, const char *question,
                           const char *what)
{
    const char *answer = "";

    for (unsigned i = 0; i < 400; i++) {
        answer = say(g, "%s", question);
        if (!strcmp(answer, what))
            return;
        nap_ms(25);
    }
    ck_abort_msg("%s: %s is %s, not %s", g->name, question, answer, what);
}

/* A guest whose stream is there: the daemon makes its nodes a moment after it.
 */
static inline struct guest peer_at(const char *host_name, const char *name)
{
    struct guest g = guest_at(host_name, PEER, name, "");

    for (unsigned i = 0; i < 200; i++) {
        if (!host_do(NULL, 0,
                     "run %s/%s -- xenstore-exists device/farstream/0/backend",
                     host_name, name))
            return g;
        nap_ms(25);
    }
    ck_abort_msg("guest %s gets no stream", name);
}

static inline void connect_two(void)
{
    OK(&a, "server 0 /test/wire 0 0");
    OK(&b, "client 0 /test/wire");
    becomes(&a, "open", "ok 1");
}

/* Both ways at once. */
static inline void exchange(uint64_t there, uint64_t back)
{
    char want[64];

    begin(&a, "move %llu %llu 1", (unsigned long long)there,
          (unsigned long long)back);
    begin(&b, "move %llu %llu 1", (unsigned long long)back,
          (unsigned long long)there);
    snprintf(want, sizeof(want), "ok %llu %llu", (unsigned long long)there,
             (unsigned long long)back);
    hears(&a, want);
    snprintf(want, sizeof(want), "ok %llu %llu", (unsigned long long)back,
             (unsigned long long)there);
    hears(&b, want);
}

#endif
