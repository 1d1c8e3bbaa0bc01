/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program in a guest that rings its doorbell as lines tell it, and says what
 * it heard.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/clock.h"
#include "frontend/farside-frontend.h"

static struct far_frontend *frontend;
static struct far_frontend_doorbell *bell;
static uint64_t heard, answers, taken, sum;
static uint32_t last;
static int status;
static enum far_frontend_state state;
static bool echo;
static unsigned slow; /* every so many rings it takes its time */

static void on_rung(void *arg, uint32_t value)
{
    (void)arg;
    heard++;
    sum += value;
    last = value;
    if (slow && heard % slow == 0)
        usleep(1);
    if (echo)
        (void)far_frontend_doorbell_ring(bell, value + 1, 0);
}

static void on_answered(void *arg, unsigned tag, int result)
{
    (void)arg;
    (void)tag;
    answers++;
    taken += !result;
    status = result;
}

static void on_state(void *arg, enum far_frontend_state now, const char *why)
{
    (void)arg;
    (void)why;
    state = now;
}

static void turn_until(uint64_t until_us, const uint64_t *counter,
                       uint64_t target)
{
    while (far_now_us() < until_us && *counter < target)
        if (far_frontend_turn(frontend, until_us - far_now_us()) < 0)
            break;
}

/* As fast as it goes, until so many have been taken; what is refused is tried
 * again. */
static uint64_t flood(unsigned count, uint64_t until_us)
{
    uint64_t begin = answers, issued = 0, before = taken;

    while (taken - before < count && far_now_us() < until_us) {
        uint64_t open = issued - (answers - begin);

        if (open < 64 && taken - before + open < count &&
            !far_frontend_doorbell_ring(bell, 1, 0))
            issued++;
        else
            turn_until(far_now_us() + 1000, &answers, answers + 1);
    }
    return taken - before;
}

static void run(char *line)
{
    static const struct far_frontend_doorbell_hooks hooks = {
        .rung = on_rung, .answered = on_answered, .state = on_state
    };
    unsigned a = 0, n = 0;
    char word[32] = "";
    int r;

    sscanf(line, "%31s %u %u", word, &a, &n);
    if (!strcmp(word, "open")) { /* DEVID FLAGS */
        bell = far_frontend_doorbell_open(frontend, a, n, &hooks, NULL);
        printf(bell ? "ok\n" : "err %s\n", strerrorname_np(errno));
    } else if (!strcmp(word, "connected")) { /* MS */
        uint64_t until = far_now_us() + (uint64_t)a * 1000, never = 0;

        while (far_now_us() < until && state != FAR_FRONTEND_CONNECTED)
            turn_until(far_now_us() + 5000, &never, 1);
        printf(state == FAR_FRONTEND_CONNECTED ? "ok\n" : "no %d\n",
               (int)state);
    } else if (!strcmp(word, "ring")) { /* VALUE: and its answer */
        uint64_t before = answers;

        r = far_frontend_doorbell_ring(bell, a, 0);
        if (!r)
            turn_until(far_now_us() + 3000000, &answers, before + 1);
        printf("ok %d %d\n", r, answers > before ? status : 1);
    } else if (!strcmp(word, "rings")) { /* FIRST COUNT: each once taken */
        unsigned done = 0;

        for (unsigned i = 0; i < n; i++) {
            uint64_t before = answers;

            if (far_frontend_doorbell_ring(bell, a + i, 0))
                break;
            turn_until(far_now_us() + 3000000, &answers, before + 1);
            if (answers == before || status)
                break;
            done++;
        }
        printf("ok %u\n", done);
    } else if (!strcmp(word, "flood")) { /* COUNT MS */
        printf("ok %llu\n",
               (unsigned long long)flood(a, far_now_us() + (uint64_t)n * 1000));
    } else if (!strcmp(word, "slow")) { /* N: a nap after every N rings */
        slow = a;
        printf("ok\n");
    } else if (!strcmp(word, "heard")) { /* TOTAL MS */
        turn_until(far_now_us() + (uint64_t)n * 1000, &heard, a);
        printf("ok %llu %u %llu\n", (unsigned long long)heard, last,
               (unsigned long long)sum);
    } else if (!strcmp(word, "echo")) { /* MS: rings back one more */
        uint64_t never = 0;

        echo = true;
        turn_until(far_now_us() + (uint64_t)a * 1000, &never, 1);
        echo = false;
        printf("ok\n");
    } else {
        printf("err what\n");
    }
}

int main(void)
{
    static char line[4096];

    frontend = far_frontend_new();
    if (!frontend) {
        perror("bell");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 1 << 12);
    printf("ok\n");
    while (fgets(line, sizeof(line), stdin))
        run(line);
    far_frontend_doorbell_close(bell);
    far_frontend_free(frontend);
    return 0;
}
