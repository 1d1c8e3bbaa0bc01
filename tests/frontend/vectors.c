/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A program in a guest that uses the library's interrupt controller as lines
 * tell it, and answers each with a line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "frontend/farside-frontend.h"

#define VECTORS 1024

static struct far_frontend *frontend;
static struct far_frontend_intc *intc;
static uint64_t counts[VECTORS], calls[VECTORS];
static uint64_t total, answers, last_value;
static int last_status;
static char order[4096]; /* of the calls, since it was asked for */
static bool ends; /* level vectors are ended as soon as they are raised */
static enum far_frontend_state state;
static char why[256];

static void on_raised(void *arg, unsigned vector, uint64_t count)
{
    size_t used = strlen(order);

    (void)arg;
    counts[vector] += count;
    calls[vector]++;
    total += count;
    if (used + 8 < sizeof(order))
        snprintf(order + used, sizeof(order) - used, " %u", vector);
    if (ends)
        (void)far_frontend_intc_eoi(intc, vector);
}

static void on_state(void *arg, enum far_frontend_state now, const char *text)
{
    (void)arg;
    state = now;
    snprintf(why, sizeof(why), "%s", text ? text : "");
}

static void on_answered(void *arg, unsigned tag, int status, uint64_t value)
{
    (void)arg;
    (void)tag;
    answers++;
    last_status = status;
    last_value = value;
}

static void turn_until(uint64_t until_us, const uint64_t *counter,
                       uint64_t target)
{
    while (far_now_us() < until_us && (!counter || *counter < target))
        if (far_frontend_turn(frontend, until_us - far_now_us()) < 0)
            break;
}

static void print_answer(int r, uint64_t before)
{
    if (!r)
        turn_until(far_now_us() + 3000000, &answers, before + 1);
    printf("ok %d %d %llu\n", r, answers > before ? last_status : 1,
           (unsigned long long)last_value);
}

static void run(char *line)
{
    static const struct far_frontend_intc_hooks hooks = {
        .raised = on_raised, .state = on_state, .answered = on_answered
    };
    struct far_frontend_intc_set set = { 0 };
    unsigned vector = 0, n = 0, channels = 1, flags = 0;
    unsigned long long a = 0;
    char word[32] = "";

    sscanf(line, "%31s %u", word, &vector);
    if (!strcmp(word, "open")) { /* DEVID VECTORS CHANNELS FLAGS */
        sscanf(line, "%*s %*u %u %u %u", &n, &channels, &flags);
        state = (enum far_frontend_state)0; /* not the last one's */
        intc = far_frontend_intc_open(frontend, vector, n, channels, flags,
                                      &hooks, NULL);
        printf(intc ? "ok\n" : "err %s\n", strerrorname_np(errno));
    } else if (!strcmp(word, "close")) {
        far_frontend_intc_close(intc);
        intc = NULL;
        printf("ok\n");
    } else if (!strcmp(word, "connected")) { /* MS */
        uint64_t until = far_now_us() + (uint64_t)vector * 1000;

        while (far_now_us() < until && state != FAR_FRONTEND_CONNECTED)
            turn_until(far_now_us() + 5000, NULL, 0);
        printf(state == FAR_FRONTEND_CONNECTED ? "ok\n" : "no %d %s\n",
               (int)state, why);
    } else if (!strcmp(word, "state")) {
        turn_until(far_now_us() + 1000, NULL, 0);
        printf("ok %d %s\n", (int)state, why);
    } else if (!strcmp(word, "ends")) {
        ends = vector;
        printf("ok\n");
    } else if (!strcmp(word, "mask")) {
        printf("ok %d\n", far_frontend_intc_mask(intc, vector));
    } else if (!strcmp(word, "unmask")) {
        printf("ok %d\n", far_frontend_intc_unmask(intc, vector));
    } else if (!strcmp(word, "threshold")) {
        printf("ok %d\n", far_frontend_intc_threshold(intc, vector));
    } else if (!strcmp(word, "eoi")) {
        printf("ok %d\n", far_frontend_intc_eoi(intc, vector));
    } else if (!strcmp(word, "pending")) {
        turn_until(far_now_us() + 1000, NULL, 0);
        printf("ok %d\n", far_frontend_intc_pending(intc, vector));
    } else if (!strcmp(word, "set")) { /* VECTOR PRIORITY CHANNEL MAX TOGETHER
                                          WAIT_NS */
        uint64_t before = answers;

        sscanf(line, "%*s %*u %u %u %u %u %llu", &set.priority, &set.channel,
               &set.per_second, &set.together, &a);
        set.wait_ns = a;
        print_answer(far_frontend_intc_set(intc, vector, &set, 1), before);
    } else if (!strcmp(word, "ask")) {
        uint64_t before = answers;

        print_answer(far_frontend_intc_ask(intc, vector, 1), before);
    } else if (!strcmp(word, "wait")) { /* TOTAL MS: until so many in all */
        sscanf(line, "%*s %llu %u", &a, &n);
        turn_until(far_now_us() + (uint64_t)n * 1000, &total, a);
        printf("ok %llu\n", (unsigned long long)total);
    } else if (!strcmp(word, "count")) {
        printf("ok %llu %llu\n", (unsigned long long)counts[vector],
               (unsigned long long)calls[vector]);
    } else if (!strcmp(word, "order")) {
        printf("ok%s\n", order);
        order[0] = '\0';
    } else if (!strcmp(word, "counters")) {
        const struct far_frontend_intc_counters *c =
            far_frontend_intc_counters(intc);

        printf("ok raised=%llu eois=%llu notifies=%llu wakeups=%llu "
               "connections=%llu\n",
               (unsigned long long)c->raised, (unsigned long long)c->eois,
               (unsigned long long)c->notifies, (unsigned long long)c->wakeups,
               (unsigned long long)c->connections);
    } else {
        printf("err what\n");
    }
}

int main(void)
{
    static char line[4096];

    frontend = far_frontend_new();
    if (!frontend) {
        perror("vectors");
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 1 << 12);
    printf("ok\n");
    while (fgets(line, sizeof(line), stdin))
        run(line);
    far_frontend_intc_close(intc);
    far_frontend_free(frontend);
    return 0;
}
