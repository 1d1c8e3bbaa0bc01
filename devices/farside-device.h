/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * libfarside-device: a program that serves one device to Farside's daemons on
 * this machine, in a process of its own (libfarside-device(3)). It speaks the
 * local protocol (docs/OUTSIDE.md) for you: attachments, shared memory, repeats
 * after a loss, waking. Opcodes, arguments and properties are the class's.
 *
 * One thread calls all; callbacks come from within far_outside_turn() and
 * far_outside_run() only. Errors are negative errno values.
 */
#ifndef FARSIDE_DEVICE_H
#define FARSIDE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct far_outside;      /* the device */
struct far_outside_user; /* a guest that has attached it */

#define FAR_OUTSIDE_SENDS    1 /* op's flags: the payload comes with it … */
#define FAR_OUTSIDE_RECEIVES 2 /* … or goes with its answer */

struct far_outside_op {
    uint64_t attachment; /* the user's */
    uint64_t sequence;
    uint32_t slot;
    uint16_t opcode; /* class in the upper byte */
    uint16_t flags;
    int32_t status;         /* of the answer: 0 or a negative errno */
    uint32_t payload_bytes; /* if it receives: how many the answer has */
    uint8_t args[32];       /* little-endian, as the class says */
};

/* Who has attached it; longer in later versions. */
struct far_outside_who {
    const uint8_t *guest_uuid; /* 16 bytes */
    const uint8_t *generation; /* 16 bytes, random at each build of the guest */
    const char *guest_name;
    uint32_t guest_devid;
};

/* Any of them may be NULL. */
struct far_outside_calls {
    size_t bytes; /* of this struct, as you were built with it */
    void (*attached)(void *arg, struct far_outside_user *user,
                     const struct far_outside_who *who);
    void (*detached)(void *arg, struct far_outside_user *user);
    /* true: op's status (and what it answers) is set. false: op was copied, and
     * far_outside_complete() follows. payload: op->payload_bytes of memory that
     * the other side can change at any time: read once, then check. It stays
     * until the op is answered or its user has detached. An op comes again,
     * with the same slot and sequence, if this process or the other had died
     * before its answer was there. NULL: all are answered with -EOPNOTSUPP. */
    bool (*op)(void *arg, struct far_outside_user *user,
               struct far_outside_op *op, void *payload);
    /* After -EAGAIN of far_outside_interrupt(): there is room again. */
    void (*room)(void *arg, struct far_outside_user *user);
};

/* Listens at socket_path (NULL: $FARSIDE_SOCKET, as a daemon that starts it
 * sets it). class: "input", "block", …. calls is copied. NULL, and in why (of
 * why_bytes) the reason for a person. It is ready from the start. */
struct far_outside *far_outside_new(const char *socket_path, const char *class_,
                                    const struct far_outside_calls *calls,
                                    void *arg, char *why, size_t why_bytes);
void far_outside_free(struct far_outside *device); /* NULL is fine */

/* Turns until far_outside_stop() (signal handlers may call that); 0 or an
 * error. Or, with a loop of your own: turn when the descriptor is readable. */
int far_outside_run(struct far_outside *device);
void far_outside_stop(struct far_outside *device);
int far_outside_fd(struct far_outside *device);
int far_outside_turn(struct far_outside *device, int timeout_ms);

/* The class's properties, at most 32 bytes; and whether it is there: reason is
 * for a person, NULL: it is there. Users are told at once. */
int far_outside_props(struct far_outside *device, const void *props,
                      size_t bytes);
void far_outside_gone(struct far_outside *device, const char *reason);

/* What was answered and not flushed may be gone (class block): the device has
 * another incarnation from now on. Ops that name a former one (their last four
 * bytes of args) are not given to op() any more, but answered with -EREMCHG,
 * as you answer those that you have; they come again. */
void far_outside_lost(struct far_outside *device);

void far_outside_complete(struct far_outside_user *user,
                          const struct far_outside_op *op);
/* opcode: the class's, from 0x80 on in its lower byte. They arrive in order and
 * once. -EAGAIN: 256 of them wait already, and room() will be called. For any
 * class but input. */
int far_outside_interrupt(struct far_outside_user *user, uint16_t opcode,
                          const uint8_t args[32]);

/* Of class input, to all users: Linux's key codes, relative motion (dz: wheel,
 * up is negative), positions from 0 to 65535. -EINVAL: no such key. What is
 * held, and who has got how far, the library knows. */
int far_outside_key(struct far_outside *device, unsigned code, bool down);
int far_outside_move(struct far_outside *device, int dx, int dy, int dz);
int far_outside_position(struct far_outside *device, int x, int y, int dz);

/* Of class intc, to all users: a device with so many lines, 1 to 1024; before
 * anybody attaches it. How often a line was raised, who knows of it, and what
 * is said after an activation, the library knows; op() is not called. -EINVAL;
 * -ENOMEM. */
int far_outside_lines(struct far_outside *device, unsigned lines);
/* Raises a line: once; or until it is low (a guest that has served it gets it
 * again as long as it is high). -EINVAL: no such line. */
int far_outside_raise(struct far_outside *device, unsigned line);
int far_outside_level(struct far_outside *device, unsigned line, bool high);

#ifdef __cplusplus
}
#endif
#endif
