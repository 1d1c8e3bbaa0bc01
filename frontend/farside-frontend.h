/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libfarside-frontend: Xen's frontends in a guest's userspace. This is the
 * whole interface; everything in it begins with far_frontend_. It prints
 * nothing. One thread at a time for all that belongs to one far_frontend.
 *
 * Keyboards and pointers (xen/io/kbdif.h), and Farside's own timers, clock and
 * doorbells (farside/io). A program opens the guest's
 * xenstore, is told which devices there are, opens some, and turns the loop;
 * events come by callback. Saves, restores, migrations and restarts of the
 * backend are survived: a callback tells of them, nothing needs to be done.
 */
#ifndef FARSIDE_FRONTEND_H
#define FARSIDE_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/io/kbdif.h>

#ifdef __cplusplus
extern "C" {
#endif

struct far_frontend;

/* NULL and errno: ENOENT or EACCES without a xenstore. */
struct far_frontend *far_frontend_new(void);
/* Closes all devices, as far_frontend_input_close() does. */
void far_frontend_free(struct far_frontend *frontend);

/* For programs with a loop of their own: readable when far_frontend_turn()
 * has something to do. */
int far_frontend_fd(struct far_frontend *frontend);
/* Handles what is there and waits for at most timeout_us for something to
 * come. Number of callbacks that were called inside, or a negative errno;
 * -ENOTCONN when xenstore has gone. */
int far_frontend_turn(struct far_frontend *frontend, uint64_t timeout_us);
/* Turns until far_frontend_stop(), which any thread and signal handlers may
 * call. 0 or a negative errno. */
int far_frontend_run(struct far_frontend *frontend);
void far_frontend_stop(struct far_frontend *frontend);

/* Calls found for each input device (xenstore's device/vkbd/DEVID) that there
 * is, and for each that appears. It may open the device at once. 0 or a
 * negative errno. */
int far_frontend_inputs(struct far_frontend *frontend,
                        void (*found)(void *arg, unsigned devid), void *arg);

enum far_frontend_state {
    FAR_FRONTEND_WAITING,   /* for the backend */
    FAR_FRONTEND_CONNECTED, /* events come */
    FAR_FRONTEND_CLOSED,    /* the backend closed it; it may come again */
    FAR_FRONTEND_GONE,      /* the device was removed: close it */
    FAR_FRONTEND_REFUSED,   /* another driver has it: see FAR_FRONTEND_FORCE */
    FAR_FRONTEND_FAILED,    /* why says what: the backend wrote nonsense, or
                               something is missing here; it is tried again
                               by itself, after a second or more */
};

/* What the backend offered and was agreed on; valid in state CONNECTED. */
struct far_frontend_input_info {
    bool keyboard, pointer; /* not disabled */
    bool absolute, raw;     /* positions; not scaled to width and height */
    bool multi_touch;
    bool polls;             /* the page is looked at instead of sleeping */
    uint32_t width, height; /* positions are below */
    uint32_t touch_width, touch_height, contacts;
};

struct far_frontend_input_hooks {
    /* One event, checked: its type is one of XENKBD_TYPE_*, key codes are at
     * most KEY_MAX, positions within the info's, contacts below its number. Not
     * NULL. */
    void (*event)(void *arg, const union xenkbd_in_event *event);
    /* After the last event of those that came together; may be NULL. */
    void (*flush)(void *arg);
    /* A change of state; why is a sentence, or NULL. May be NULL. */
    void (*state)(void *arg, enum far_frontend_state state, const char *why);
};

/* Flags. */
#define FAR_FRONTEND_FORCE   1u /* also if another driver seems to have it */
#define FAR_FRONTEND_NO_POLL 2u /* never look instead of sleeping */
#define FAR_FRONTEND_RAW     4u /* ask for raw positions where offered */

struct far_frontend_input;

/* The hooks are copied; arg is handed to them. They are called from inside
 * far_frontend_turn() and far_frontend_run() only, and may close the device.
 * NULL and errno. */
struct far_frontend_input *far_frontend_input_open(
    struct far_frontend *frontend, unsigned devid, uint32_t flags,
    const struct far_frontend_input_hooks *hooks, void *arg);
/* Lets go of the device: the backend sees Closed (6), and another driver may
 * have it. input may be NULL. */
void far_frontend_input_close(struct far_frontend_input *input);

enum far_frontend_state
far_frontend_input_state(const struct far_frontend_input *input);
const struct far_frontend_input_info *
far_frontend_input_info(const struct far_frontend_input *input);

struct far_frontend_input_counters {
    uint64_t events;    /* delivered */
    uint64_t invalid;   /* dropped: the backend wrote nonsense */
    uint64_t wakeups;   /* event channel */
    uint64_t connected; /* times */
    uint64_t restored;  /* as another domain, or its nodes made anew */
};
const struct far_frontend_input_counters *
far_frontend_input_counters(const struct far_frontend_input *input);

/* --- event timers and a clock (farside/io/fartimer.h, docs/TIMER.md) --- */

struct far_frontend_timers;

/* What becomes of periods that went by while nobody could look. */
enum far_frontend_catch_up {
    FAR_FRONTEND_SKIP,  /* one call, its count says how many */
    FAR_FRONTEND_BURST, /* a call for each */
    FAR_FRONTEND_SLEW,  /* one, and periods begin anew from it */
};

struct far_frontend_timers_hooks {
    /* This timer has expired so often since the last call. It may be armed
     * anew from inside. Not NULL. */
    void (*expired)(void *arg, unsigned timer, uint64_t count);
    /* A change of state; may be NULL. Timers that are armed stay so whatever
     * the state; they expire when it is CONNECTED again. */
    void (*state)(void *arg, enum far_frontend_state state, const char *why);
    /* What far_frontend_timers_request() led to: 0 or a negative errno; value
     * as fartimer.h says. -ECONNRESET: the backend went away before it
     * answered. May be NULL. */
    void (*answered)(void *arg, unsigned tag, int status, uint64_t value);
};

/* xenstore's device/fartimer/DEVID, with so many timers (1 to 8192; numbered
 * from 0). Flags: FAR_FRONTEND_NO_POLL. Hooks as far_frontend_input_open().
 * NULL and errno. */
struct far_frontend_timers *far_frontend_timers_open(
    struct far_frontend *frontend, unsigned devid, unsigned timers,
    uint32_t flags, const struct far_frontend_timers_hooks *hooks, void *arg);
void far_frontend_timers_close(struct far_frontend_timers *timers);
enum far_frontend_state
far_frontend_timers_state(const struct far_frontend_timers *timers);

/* The clock, in ns: the host's CLOCK_MONOTONIC, read without leaving the guest;
 * after a migration or restore it goes on where it was, and it never goes
 * back. 0 as long as there is none. error_ns (may be NULL): the bound of what
 * it may be off. */
uint64_t far_frontend_timers_now_ns(struct far_frontend_timers *timers,
                                    uint64_t *error_ns);
/* Arms for a time of that clock, by a store: a deadline in the past expires at
 * once. period_ns: 0, or at least 1000. 0, or -EINVAL. */
int far_frontend_timers_arm(struct far_frontend_timers *timers, unsigned timer,
                            uint64_t deadline_ns, uint64_t period_ns,
                            enum far_frontend_catch_up catch_up);
/* The same after a distance; also when there is no clock yet, which then begins
 * with the connection. */
int far_frontend_timers_arm_in(struct far_frontend_timers *timers,
                               unsigned timer, uint64_t distance_ns,
                               uint64_t period_ns,
                               enum far_frontend_catch_up catch_up);
/* It may have expired already: then the hook is not called any more. */
int far_frontend_timers_cancel(struct far_frontend_timers *timers,
                               unsigned timer);

/* Arms a timer in the device behind, which may be in another process or machine
 * and counts by a clock of its own; its expiry comes by the same hook. Answered
 * by hook, with tag. 0, -EINVAL, -ENOTCONN, -EAGAIN (too many at once). */
int far_frontend_timers_arm_outside(struct far_frontend_timers *timers,
                                    unsigned timer, uint64_t distance_ns,
                                    uint64_t period_ns, unsigned tag);
/* An operation of nothing, through the ring: for measuring. */
int far_frontend_timers_nop(struct far_frontend_timers *timers, unsigned tag);

struct far_frontend_timers_counters {
    uint64_t expired, arms, notifies, wakeups, connections, clock_rounds;
};
const struct far_frontend_timers_counters *
far_frontend_timers_counters(const struct far_frontend_timers *timers);

/* --- doorbells (farside/io/fardoorbell.h, docs/DOORBELL.md) --- */

struct far_frontend_doorbell;

struct far_frontend_doorbell_hooks {
    /* The other guest has rung. Not NULL. */
    void (*rung)(void *arg, uint32_t value);
    /* What became of a ring: 0: the other guest has it. -EAGAIN: it has not
     * taken enough of those before. -ENOTCONN: nobody is at the other end.
     * -ECONNRESET: not known, the backend went away. May be NULL. */
    void (*answered)(void *arg, unsigned tag, int status);
    void (*state)(void *arg, enum far_frontend_state state, const char *why);
};

/* xenstore's device/fardoorbell/DEVID; as far_frontend_timers_open(). */
struct far_frontend_doorbell *far_frontend_doorbell_open(
    struct far_frontend *frontend, unsigned devid, uint32_t flags,
    const struct far_frontend_doorbell_hooks *hooks, void *arg);
void far_frontend_doorbell_close(struct far_frontend_doorbell *doorbell);
/* Answered by hook, with tag. 0, -ENOTCONN, -EAGAIN: too many are under way. */
int far_frontend_doorbell_ring(struct far_frontend_doorbell *doorbell,
                               uint32_t value, unsigned tag);

/* --- an interrupt controller (farside/io/farintc.h, docs/INTC.md) --- */

struct far_frontend_intc;

struct far_frontend_intc_hooks {
    /* A vector was raised, so often since the last call; of a level vector:
     * its line is high, and it is not called again before
     * far_frontend_intc_eoi(). Those of higher priority come first. Not NULL.
     */
    void (*raised)(void *arg, unsigned vector, uint64_t count);
    /* A change of state; may be NULL. Masks and what is pending stay whatever
     * the state. */
    void (*state)(void *arg, enum far_frontend_state state, const char *why);
    /* What far_frontend_intc_set() or _ask() led to. -ECONNRESET: the backend
     * went away before it answered. May be NULL. */
    void (*answered)(void *arg, unsigned tag, int status, uint64_t value);
};

/* xenstore's device/farintc/DEVID, with so many vectors (1 to 1024; from 0) and
 * event channels (1 to 32). Flags: FAR_FRONTEND_NO_POLL. Hooks as
 * far_frontend_input_open(). NULL and errno. */
struct far_frontend_intc *
far_frontend_intc_open(struct far_frontend *frontend, unsigned devid,
                       unsigned vectors, unsigned channels, uint32_t flags,
                       const struct far_frontend_intc_hooks *hooks, void *arg);
void far_frontend_intc_close(struct far_frontend_intc *intc);

/* By stores; what came meanwhile is raised from inside unmask and threshold.
 * -EINVAL: no such vector. */
int far_frontend_intc_mask(struct far_frontend_intc *intc, unsigned vector);
int far_frontend_intc_unmask(struct far_frontend_intc *intc, unsigned vector);
/* Only vectors of priorities below it are raised: 8 (at first) all, 0 none. */
int far_frontend_intc_threshold(struct far_frontend_intc *intc,
                                unsigned priority);
/* 1: it was raised and not told yet (masked, or below the threshold); 0; or a
 * negative errno. */
int far_frontend_intc_pending(struct far_frontend_intc *intc, unsigned vector);
/* A level vector was served: it is raised again if its line is still high.
 * -EINVAL: it was not raised. */
int far_frontend_intc_eoi(struct far_frontend_intc *intc, unsigned vector);

struct far_frontend_intc_set {
    unsigned priority; /* 0, the highest, to 7 */
    unsigned channel;
    uint32_t per_second; /* limits, beside those of the configuration: the */
    uint32_t together;   /* stricter one counts; 0: none */
    uint64_t wait_ns;
};
/* Kept over reconnections. Answered by hook, with tag. 0, -EINVAL, -ENOTCONN
 * (it will be done once there is a backend; not answered), -EAGAIN. */
int far_frontend_intc_set(struct far_frontend_intc *intc, unsigned vector,
                          const struct far_frontend_intc_set *set,
                          unsigned tag);
/* Is there a source (value 1), and is its device there (value 3)? */
int far_frontend_intc_ask(struct far_frontend_intc *intc, unsigned vector,
                          unsigned tag);

struct far_frontend_intc_counters {
    uint64_t raised, eois, notifies, wakeups, connections;
};
const struct far_frontend_intc_counters *
far_frontend_intc_counters(const struct far_frontend_intc *intc);

#ifdef __cplusplus
}
#endif

#endif
