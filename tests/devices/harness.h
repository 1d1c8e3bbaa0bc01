/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the tests of devices/ share: a port that writes down what it is given,
 * a loop that is turned until something holds, configurations from text.
 */
#ifndef FARSIDE_TESTS_DEVICES_HARNESS_H
#define FARSIDE_TESTS_DEVICES_HARNESS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/clock.h"
#include "devices/device.h"
#include "devices/input-queue.h"
#include "tests/core/suite.h"

#define PORT_EVENTS 4096u

/* The top layer. */
struct port {
    struct far_layer layer;
    unsigned room; /* how many it takes before it says no */
    bool ack;      /* at once, from within */
    unsigned used;
    struct far_input_event events[PORT_EVENTS];
    uint64_t sequences[PORT_EVENTS];
    unsigned states;
    enum far_device_state state;
    char reason[232];
    struct far_layer_news news;
    unsigned completed;
    struct far_op last_complete;
};

static inline bool port_interrupt(struct far_layer *layer,
                                  const struct far_op *op)
{
    struct port *p = (struct port *)layer;

    if (!p->room)
        return false;
    p->room--;
    ck_assert_uint_eq(op->opcode, FAR_INPUT_EVENT);
    ck_assert_uint_lt(p->used, PORT_EVENTS);
    memcpy(&p->events[p->used], op->args, sizeof(p->events[0]));
    p->sequences[p->used++] = op->sequence;
    if (p->ack)
        far_layer_ack(layer->below, op->sequence);
    return true;
}

static inline void port_state(struct far_layer *layer,
                              enum far_device_state state,
                              const struct far_layer_news *news)
{
    struct port *p = (struct port *)layer;

    p->states++;
    p->state = state;
    p->news = *news;
    snprintf(p->reason, sizeof(p->reason), "%s",
             news->reason ? news->reason : "");
}

static inline void port_complete(struct far_layer *layer,
                                 const struct far_op *op)
{
    struct port *p = (struct port *)layer;

    p->completed++;
    p->last_complete = *op;
}

static inline struct port *port_new(struct far_layer *below)
{
    static const struct far_layer_ops ops = { .name = "test port",
                                              .interrupt = port_interrupt,
                                              .complete = port_complete,
                                              .state = port_state };
    struct port *p = calloc(1, sizeof(*p));

    ck_assert_ptr_nonnull(p);
    p->layer.ops = &ops;
    p->room = UINT32_MAX;
    p->ack = true;
    if (below)
        far_layer_stack(&p->layer, below);
    return p;
}

static inline void port_free(struct port *p)
{
    if (p->layer.below) {
        p->layer.below->above = NULL;
        far_layer_close(p->layer.below);
    }
    free(p);
}

static inline void port_give_room(struct port *p, unsigned room)
{
    p->room = room;
    far_layer_resume(p->layer.below);
}

/* "press 30 release 30 move 1,2": easier to compare than structs. */
static inline const char *port_text(const struct port *p, unsigned from)
{
    static char text[16384];
    size_t n = 0;

    text[0] = '\0';
    for (unsigned i = from; i < p->used && n < sizeof(text) - 80; i++) {
        const struct far_input_event *e = &p->events[i];
        const char *gap = n ? " " : "";

        switch (e->type) {
        case FAR_INPUT_KEY:
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%c%u%s%s", gap,
                                  e->value ? '+' : '-', e->code,
                                  e->flags & FAR_INPUT_MADE ? "m" : "",
                                  e->flags & FAR_INPUT_HELD ? "h" : "");
            break;
        case FAR_INPUT_MOTION:
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%sm%d,%d,%d",
                                  gap, e->x, e->y, e->z);
            break;
        case FAR_INPUT_POS:
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%sp%d,%d,%d",
                                  gap, e->x, e->y, e->z);
            break;
        case FAR_INPUT_TOUCH:
            if (e->code == FAR_TOUCH_SYN)
                n += (size_t)snprintf(text + n, sizeof(text) - n, "%ssyn", gap);
            else
                n += (size_t)snprintf(
                    text + n, sizeof(text) - n, "%st%d%c%d,%d", gap, e->value,
                    "dums??"[e->code == FAR_TOUCH_SHAPE ? 3 : e->code], e -> x,
                    e -> y);
            break;
        case FAR_INPUT_STATE_BEGIN:
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%sbegin", gap);
            break;
        case FAR_INPUT_STATE_END:
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%send", gap);
            break;
        default:
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s?%u", gap,
                                  e->type);
        }
    }
    return text;
}

/* Turns the loop until it holds, at most 5 s. */
#define turn_until(loop, condition)                                          \
    do {                                                                     \
        uint64_t until_us_ = far_now_us() + 5000000;                         \
        while (!(condition)) {                                               \
            ck_assert_msg(far_now_us() < until_us_, "waited in vain for %s", \
                          #condition);                                       \
            ck_assert_int_ge(far_loop_turn(loop, 20000), 0);                 \
        }                                                                    \
    } while (0)

static inline void turn_for(struct far_loop *loop, uint64_t us)
{
    uint64_t until_us = far_now_us() + us;

    while (far_now_us() < until_us)
        ck_assert_int_ge(far_loop_turn(loop, until_us - far_now_us() + 1), 0);
}

static inline struct far_input_event key_event(uint16_t code, int down)
{
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .time_us = far_now_us(),
                                 .code = code,
                                 .value = down };
    return e;
}

static inline struct far_input_event motion_event(int x, int y)
{
    struct far_input_event e = {
        .type = FAR_INPUT_MOTION, .time_us = far_now_us(), .x = x, .y = y
    };
    return e;
}

static inline struct far_input_event touch_event(int id, uint16_t code, int x,
                                                 int y)
{
    struct far_input_event e = { .type = FAR_INPUT_TOUCH,
                                 .time_us = far_now_us(),
                                 .code = code,
                                 .value = id,
                                 .x = x,
                                 .y = y };
    return e;
}

static inline void no_problem(void *arg, const char *file, unsigned line,
                              unsigned column, const char *text)
{
    (void)arg;
    ck_abort_msg("%s:%u:%u: %s", file, line, column, text);
}

static inline struct far_conf *conf_of(const char *text)
{
    unsigned problems = 0;
    struct far_conf *conf = far_conf_parse("test.conf", text, strlen(text),
                                           no_problem, NULL, &problems);

    ck_assert_ptr_nonnull(conf);
    ck_assert_uint_eq(problems, 0);
    return conf;
}

static inline struct far_local_who who_of(const char *device, uint64_t id)
{
    struct far_local_who who = { .attachment = id, .class = FAR_CLASS_INPUT };

    snprintf(who.device, sizeof(who.device), "%s", device);
    snprintf(who.guest_name, sizeof(who.guest_name), "guest");
    return who;
}

#endif
