/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the input devices have in common: a source of events with any number
 * of users, each with its own sequence and queue. A source knows which keys are
 * down, and states them to whoever activates and to all when it comes back.
 */
#ifndef FARSIDE_DEVICES_INPUT_SOURCE_H
#define FARSIDE_DEVICES_INPUT_SOURCE_H

#include "devices/device.h"
#include "devices/input-queue.h"

struct far_source_user;

/* Embedded first in the struct of an input device. */
struct far_source {
    struct far_device device;
    struct far_source_user *users;
    struct far_key_set down;
    unsigned active; /* users that have activated */
    unsigned walking;
    bool prompt_acks;
    struct far_log_bucket bucket; /* for what its users do not take */
    /* May be NULL. The first user activated, the last one went. */
    void (*busy)(struct far_source *source, bool busy);
    /* A user's interrupts up to sequence were acked. From within send() too. */
    void (*acked)(struct far_source *source, struct far_source_user *user,
                  uint64_t sequence);
    /* A user's guest has read all that it was sent. From within send() never.
     */
    void (*taken)(struct far_source *source, struct far_source_user *user);
};

/* The type's open. */
int far_source_open(struct far_device *device, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error);
/* The device is there; keys that are down must be in source->down by now. */
void far_source_ready(struct far_source *source,
                      const struct far_input_props *props);
void far_source_gone(struct far_source *source, const char *reason);
/* To all active users. Events are valid (the caller has checked), of type
 * MOTION, KEY, POS, TOUCH. */
void far_source_send(struct far_source *source,
                     const struct far_input_event *events, unsigned count);
/* The sequence of the last interrupt to that user (its first active user, if
 * user is NULL); 0 if there is none. */
uint64_t far_source_sequence(const struct far_source *source,
                             const struct far_source_user *user);

#endif
