/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Deficit round robin: who may send next, when more want to than there is room
 * for. Each has its turn; a turn is worth FAR_FAIR_QUANTUM bytes, and what is
 * not used is kept as long as there is something to be sent. An operation costs
 * its bytes, but at least FAR_FAIR_LEAST: fair by bytes between large ones,
 * by number between small ones. No allocation; everything is embedded.
 */
#ifndef FARSIDE_NETPROXY_FAIR_H
#define FARSIDE_NETPROXY_FAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAR_FAIR_QUANTUM 32768u
#define FAR_FAIR_LEAST   2048u

struct far_fair_item {
    /* Sends its next piece. Its bytes; 0: there was nothing to send; a negative
     * errno: no room for anybody now. */
    int64_t (*send)(struct far_fair_item *item);
    struct far_fair_item *next, *prev; /* NULL: does not want to send */
    int64_t deficit;
};

struct far_fair {
    struct far_fair_item *first; /* of a ring; whose turn it is */
};

/* It wants to send. Idempotent. */
void far_fair_add(struct far_fair *fair, struct far_fair_item *item);
void far_fair_remove(struct far_fair *fair, struct far_fair_item *item);
/* Until nobody wants to, or there is no room: then true. Not to be called from
 * within send(). */
bool far_fair_run(struct far_fair *fair);

#endif
