/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a device is, and how devices stand in a row. A device (struct
 * far_device) is one section of farside.conf; it may have many users. Each use
 * is a chain of layers between a port (top) and the device itself (bottom):
 * the fast device, filters, the outside or far one. Ops go down: each layer
 * completes an op or passes it; completions, interrupts and changes of state
 * go up. One thread; no call blocks; nothing is allocated per op.
 *
 *   port ── fast input ── log ── delay ── evdev          all in one process
 *   port ── fast input ── local client ┄┄ (other process) session ── evdev
 */
#ifndef FARSIDE_DEVICES_DEVICE_H
#define FARSIDE_DEVICES_DEVICE_H

#include "core/conf.h"
#include "core/counters.h"
#include "core/error.h"
#include "core/local.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/op.h"
#include "core/times.h"

struct far_layer;
struct far_layer_news;

enum far_verdict {
    FAR_DONE,  /* op->status is set; complete() is not called */
    FAR_LATER, /* op was copied; complete() will be called once */
    FAR_PASS,  /* not mine: the next one behind gets it */
    FAR_FULL,  /* no room: the caller keeps the op, and is told by room() */
};

struct far_layer_ops {
    const char *name;
    /* Downwards; called by the layer above, through far_layer_*(). A NULL
     * member means: hand it to the layer below. */
    /* payload: op->payload_bytes of memory, the submitter's, that stay in place
     * until the op is done or the layer is closed: what is sent, or room for
     * what is received (then the answer's payload_bytes says how many came).
     * NULL if there is none. One op per slot at a time.
     * An op that may have been executed already (its submitter is the successor
     * of a dead process) has FAR_OP_REPEAT; all such are submitted, in the
     * order in which they were first, and answered before anything new is. */
    enum far_verdict (*submit)(struct far_layer *layer, struct far_op *op,
                               void *payload);
    /* Where the payload of an op in this slot had best lie, so that nobody
     * need copy it: that many bytes of memory shared with the process behind,
     * or NULL: anywhere. A layer that looks at payloads need not have it. The
     * same until it is closed or says ops_lost, whatever happens to the process
     * behind; what is built there stays until its op is done. */
    void *(*place)(struct far_layer *layer, uint32_t slot, uint32_t bytes);
    /* The guest's front is there; received and incarnation say how far its
     * ring had got (both 0: new). Idempotent. */
    void (*activate)(struct far_layer *layer, uint64_t incarnation,
                     uint64_t received);
    /* Interrupts up to sequence are in the guest's ring and in the journal.
     * May come from within interrupt(); 0 says nothing. */
    void (*ack)(struct far_layer *layer, uint64_t sequence);
    /* The guest has read all that is in its ring. A hint, for measuring: it
     * does not cross to another process. */
    void (*taken)(struct far_layer *layer);
    /* After interrupt() had said false: there is room again. */
    void (*resume)(struct far_layer *layer);
    /* What was measured of this chain's ops and interrupts, or NULL. For
     * status; NULL member: ask the layer below. */
    const struct far_stages *(*stages)(const struct far_layer *layer);
    /* The user is gone. Releases the layer's memory, and calls far_layer_close
     * of the one below. No call goes up any more from when it begins, and no
     * payload is touched any more when it returns. */
    void (*close)(struct far_layer *layer);

    /* Upwards; called by the layer below. NULL: hand it to the layer above. */
    void (*complete)(struct far_layer *layer, const struct far_op *op);
    /* false: no room; the layer below keeps it and waits for resume(). */
    bool (*interrupt)(struct far_layer *layer, const struct far_op *op);
    void (*state)(struct far_layer *layer, enum far_device_state state,
                  const struct far_layer_news *news);
    void (*room)(struct far_layer *layer);
};

/* What goes up with a change of state. */
struct far_layer_news {
    uint64_t incarnation;        /* of the numbering of interrupts */
    uint64_t device_incarnation; /* another: answered but unflushed effects may
                                    be gone; 0: the same as incarnation */
    uint8_t props[32];           /* the class's, as in far_local_prepared */
    const char *reason;          /* why it is gone, for a person; may be NULL */
    /* Of a device of a netproxy: for one user at a time; its server holds the
     * directory's lease for it (netproxy/standby.h). */
    bool exclusive, leased;
    bool ops_lost; /* GONE: what the device was given is not answered any more:
                      who gave it gives it to the next one, as a repeat. What
                      lies at place() is there until this call returns */
};

/* Of the device that the news is of; 0: they don't say. */
static inline uint64_t far_news_device(const struct far_layer_news *news)
{
    return news->device_incarnation ? news->device_incarnation
                                    : news->incarnation;
}

/* Per opcode, by its lower byte; opcodes from FAR_LAYER_OPS - 1 on together. */
#define FAR_LAYER_OPS 16u
struct far_layer_op {
    uint64_t answered, passed;
};

struct far_layer_counters {
    uint64_t answered, passed, interrupts, dropped, coalesced, held;
    uint64_t lost; /* interrupts for which nobody above had room for too long */
    struct far_layer_op ops[FAR_LAYER_OPS];
};

/* Embedded first in each layer's own struct. */
struct far_layer {
    const struct far_layer_ops *ops;
    struct far_layer *above, *below;
    enum far_device_state device_state; /* what state() said last */
    bool prompt_acks; /* a bottom layer that waits for acks sets it when made:
                         what joins two processes then passes them at once */
    bool forwarded;   /* the op that submit() just had went below */
    struct far_layer_counters counters;
};

/* For use by neighbours: follow NULL members, count. */
enum far_verdict far_layer_submit(struct far_layer *top, struct far_op *op,
                                  void *payload);
/* In a layer's own submit(), instead of FAR_PASS, where it wants to know what
 * became of it: it is counted as passed all the same. */
enum far_verdict far_layer_forward(struct far_layer *layer, struct far_op *op,
                                   void *payload);
void *far_layer_place(struct far_layer *top, uint32_t slot, uint32_t bytes);
void far_layer_activate(struct far_layer *layer, uint64_t incarnation,
                        uint64_t received);
void far_layer_ack(struct far_layer *layer, uint64_t sequence);
void far_layer_taken(struct far_layer *layer);
void far_layer_resume(struct far_layer *layer);
void far_layer_close(struct far_layer *layer); /* NULL is fine */
/* Of the first layer from here down that measures; NULL if none does. */
const struct far_stages *far_layer_stages(const struct far_layer *layer);
void far_layer_complete(struct far_layer *to, const struct far_op *op);
bool far_layer_interrupt(struct far_layer *to, const struct far_op *op);
void far_layer_state(struct far_layer *to, enum far_device_state state,
                     const struct far_layer_news *news);
void far_layer_room(struct far_layer *to);
/* Interrupts that were lost, from here down. */
uint64_t far_layer_lost(const struct far_layer *layer);
/* What became of the ops that were given to top, for status: {"timer.arm":
 * {"fast-timer": 12, "local-client": 1}, …}: who answered how many. */
struct json_t;
struct json_t *far_layer_ops_json(const struct far_layer *top,
                                  enum far_class class);
/* Puts upper on top of lower. */
void far_layer_stack(struct far_layer *upper, struct far_layer *lower);

struct far_device;
struct far_devices;

struct far_device_type {
    const char *name;     /* "evdev": `type =` in the section */
    enum far_class class; /* FAR_CLASS_NONE: a filter, fits all */
    size_t device_bytes;  /* of the struct that embeds struct far_device first,
                             zeroed before create */
    /* Reads its section. What is not there yet (an unplugged keyboard) is no
     * error: its users see GONE with the reason, then READY. */
    int (*create)(struct far_device *device, struct far_error *error);
    void (*destroy)(struct far_device *device); /* no users are left */
    /* One more user: makes its bottom layer (a filter: opens the device behind
     * and stacks itself on it). State goes up when the layer above is
     * stacked and activates, or later. May refuse. */
    int (*open)(struct far_device *device, const struct far_local_who *who,
                struct far_layer **layer, struct far_error *error);
    /* `farside send`; NULL: this device can't be fed. */
    int (*feed)(struct far_device *device, const struct far_input_event *events,
                unsigned count, struct far_error *error);
    /* Nobody uses it, and what is behind it may have changed meanwhile (another
     * machine owned it): what it remembers of that is forgotten. May be NULL.
     */
    void (*forget)(struct far_device *device);
    /* For status: how long its events took to be acked. NULL: not measured. */
    const struct far_hist *(*round_trips)(const struct far_device *device);
};

struct far_device {
    const struct far_device_type *type;
    struct far_devices *devices;
    char name[FAR_NAME_BYTES];
    const struct far_conf_section *section; /* valid while it exists */
    enum far_class class;                  /* its type's, or as create() says */
    const struct far_conf_section *export; /* the [hotplug] that it came by */
    uint64_t incarnation;                  /* random when made */
    unsigned users;
    enum far_device_state state; /* for status; far_device_say() sets it */
    char reason[232];
    uint8_t props[32]; /* the class's, as far as known (news.props) */
    bool opening;      /* a filter that stands behind itself is found out */
    struct far_seat *seats;
    struct far_device *next;
};

/* All devices of this process: those sections of the configuration for which
 * mine() says yes (the backend: not exported; the netproxy: exported). */
struct far_devices {
    struct far_loop *loop;
    struct far_log *log;
    struct far_starter *starter; /* of outside devices; NULL: none */
    /* Opens a device of another platform (who names it), for filters that stand
     * before one. NULL: that can't be had in this process. */
    int (*open_far)(void *arg, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error);
    void *open_far_arg;
    /* A device has come, gone, or changed what far_device_say() says. May be
     * NULL. */
    void (*changed)(void *arg);
    void *changed_arg;
    struct far_device *first;
    struct far_seat *orphans; /* users of devices that are gone for now */
};
void far_devices_init(struct far_devices *devices, struct far_loop *loop,
                      struct far_log *log);
/* Makes the devices that are new, keeps those whose section is the same
 * (reload without disturbing), drops those that went: their users see GONE,
 * and get the device of that name by themselves when there is one again.
 * A changed section is the two together. mine may be NULL: all are.
 * Number of sections that failed; each was reported. Keeps conf (the caller
 * frees the old one after this returns). */
unsigned far_devices_load(struct far_devices *devices,
                          const struct far_conf *conf,
                          bool (*mine)(const struct far_conf *conf,
                                       const struct far_conf_section *device),
                          far_conf_report *report, void *arg);
/* One more, which is in no configuration: far_devices_load() leaves it alone.
 * section (a [device]) and export (who may have it) stay the caller's, until it
 * is removed. NULL with error. */
struct far_device *far_devices_add(struct far_devices *devices,
                                   const struct far_conf_section *section,
                                   const struct far_conf_section *export,
                                   struct far_error *error);
/* Its users see GONE with that reason, and get the next one of its name. */
void far_devices_remove(struct far_devices *devices, struct far_device *device,
                        const char *reason);
void far_devices_free(struct far_devices *devices);
struct far_device *far_device_find(const struct far_devices *devices,
                                   const char *name);
int far_device_open(struct far_device *device, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error);
/* For device types: what status shows, and one line in the log when it changed.
 * It does not go to the users: far_layer_state() does. reason may be NULL. */
void far_device_say(struct far_device *device, enum far_device_state state,
                    const char *reason);
/* By an [export], or as one that a [hotplug] brings. */
bool far_device_is_exported(const struct far_conf *conf, const char *name);
/* The [hotplug] that devices of that name come by, or NULL. */
const struct far_conf_section *far_device_hotplug(const struct far_conf *conf,
                                                  const char *name);

/* NULL-terminated: every type that was built in. */
extern const struct far_device_type *const far_device_types[];

/* The fast input device (devices/fast-input.c): goes between an input port and
 * whatever is behind. Coalesces motion while the port is full, and refuses what
 * finds no place; never drops a key's release, releases held keys when the
 * device has been gone for release_after_us, drops what is older than stale_us,
 * presses modifiers that are still held again. Its layer is made here and
 * stacked by the caller. */
struct far_fast_input_options {
    uint64_t release_after_us, stale_us; /* UINT64_MAX: off */
};
struct far_layer *far_fast_input_new(struct far_loop *loop,
                                     const struct far_fast_input_options *o);
/* Interrupts that it makes itself carry the last sequence that came before, so
 * that a port may take each op's sequence as "received up to here"; 0 (only
 * before the first of an incarnation) says nothing.
 *
 * For the journal: which keys the guest believes down. A successor hands in
 * what it found, before activation; a port whose front was made anew hands in
 * an empty set (what waited for the old one is dropped). 768 bits. */
struct far_key_set {
    uint64_t bits[12];
};
const struct far_key_set *far_fast_input_held(const struct far_layer *fast);
void far_fast_input_set_held(struct far_layer *fast,
                             const struct far_key_set *held);
/* An event that is not of the device behind, but is to reach the guest now, in
 * order and as one of its own: a valid KEY, MOTION or POS. A key is held apart
 * from the device's own: nothing that the device says or suffers releases it,
 * and if its sender says nothing more of it, it is released after once to twice
 * release_after_us. 0: it is with the port; 1: there was nothing to be told
 * (the press of a key that is down, the release of one that no foreign press
 * holds); -EAGAIN: the port has no room, or others wait: nothing was done. */
int far_fast_input_foreign(struct far_layer *fast,
                           const struct far_input_event *event);
/* Why no event comes, or NULL. */
const char *far_fast_input_reason(const struct far_layer *fast);
struct far_fast_input_counters {
    /* repeats: presses of what is down and releases of what is up, for the
     * guest: answered here */
    uint64_t delivered, repeats, coalesced, stale, late_releases, made_releases,
        made_presses, dropped_presses, queue_high_water, foreign;
};
void far_fast_input_counters(const struct far_layer *fast,
                             struct far_fast_input_counters *counters);

/* The local client (devices/local-client.c): the bottom layer whose device is
 * in another process of this machine: a netproxy (for all that is exported or
 * remote) or an outside device. One connection serves all attachments; it
 * comes back by itself (10 ms, doubling to 50 ms while refused, 1 s cap while
 * silent) and re-attaches all of them, with what each had received. */
struct far_local_client;
struct far_local_client *far_local_client_new(struct far_loop *loop,
                                              struct far_log *log,
                                              const char *socket_path,
                                              const char *platform);
void far_local_client_free(struct far_local_client *client);
/* One op in `every` is timed (core/times.h), of those that nobody above has
 * chosen already; FAR_TIMES_EVERY unless told otherwise; 0: none. */
void far_local_client_sample(struct far_local_client *client, uint32_t every);
int far_local_client_open(struct far_local_client *client,
                          const struct far_local_who *who,
                          struct far_layer **layer, struct far_error *error);
/* What is to be said where nobody listens at its path: "is farside-netproxy
 * running?", unless this says something else. */
void far_local_client_set_hint(struct far_local_client *client,
                               const char *hint);
/* What is that guest called now? (A string, valid until the next call; NULL: it
 * keeps its name.) Asked before the server is, and again when its front is
 * there: by another name the server is asked anew. */
typedef const char *far_local_client_name(void *arg,
                                          const struct far_local_who *who);
void far_local_client_name_guests(struct far_local_client *client,
                                  far_local_client_name *name, void *arg);
/* A server that answers nothing for so long, or half as long again, is given up
 * like one that has ended; silent() is called. UINT64_MAX, as it is without
 * this: it may think as long as it likes. Before there are users. */
void far_local_client_watch(struct far_local_client *client, uint64_t within_us,
                            void (*silent)(void *arg), void *arg);
/* Who listens there has just been started: the next try is soon. */
void far_local_client_hurry(struct far_local_client *client);
/* "connected", or why not. */
const char *far_local_client_reason(const struct far_local_client *client);
int far_local_client_feed(struct far_local_client *client, const char *device,
                          const struct far_input_event *events, unsigned count,
                          struct far_error *error);
/* Interrupts for any guest of this process (FAR_LOCAL_NOTIFY): from now on the
 * server is told that there are guests, also while nothing is attached. The
 * message is checked as far as far_local_valid() goes; what is in it is for the
 * receiver to judge. Each is answered by far_local_client_notified(), at once
 * or later; over a new connection the server sends all unanswered ones again,
 * which `connected` announces: those that wait are to be forgotten. NULL: no
 * more. */
struct far_local_client_notices {
    void (*notify)(void *arg, const struct far_local_notify *message);
    void (*connected)(void *arg);
    void *arg;
};
void far_local_client_take_notices(
    struct far_local_client *client,
    const struct far_local_client_notices *notices);
/* reason: for a person, if status is not 0; may be NULL. */
void far_local_client_notified(struct far_local_client *client, uint64_t id,
                               int status, const char *reason);

#endif
