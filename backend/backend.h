/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of the daemon share: the backend as a whole, its guests, its
 * attachments, and the table by which a port (a class' protocol) is plugged
 * in. hotplug.c finds attachments and walks them through the handshake; a port
 * does what its table says and knows nothing of watches or states. No state is
 * shared by two guests but what stands in struct far_backend.
 */
#ifndef FARSIDE_BACKEND_BACKEND_H
#define FARSIDE_BACKEND_BACKEND_H

#include <jansson.h>
#include "backend/journal.h"
#include "backend/line.h"
#include "devices/device.h"
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/handshake.h"
#include "xenbus/xs.h"

/* Per guest, at once. */
#define FAR_GUEST_DEVICES_MAX 64u
#define FAR_GUEST_PAGES_MAX   20480u /* two pictures of 3840x2160, and more */

struct far_backend;
struct far_attachment;
struct far_control;
struct far_notices;

/* How far a guest has got in what senders that it never attached have sent it
 * (notify.c); each port writes it down with every note. */
#define FAR_NOTIFY_SOURCES 4u
struct far_notify_mark {
    uint64_t source, sequence;
};
struct far_notify_marks {
    struct far_notify_mark of[FAR_NOTIFY_SOURCES];
};

/* An interrupt from a device that is not behind any port of its guest. */
struct far_notice {
    char platform[FAR_NAME_BYTES], device[FAR_NAME_BYTES]; /* whose it is */
    struct far_op op;
};

/* A port. Members are called in the loop, in this order over an attachment's
 * life: mine, (publish, activate, connect or adopt, disconnect)*, detach. None
 * may be NULL but where it says so. */
struct far_port_type {
    const char *const *kinds; /* of backend directories; NULL-terminated */
    enum far_class class;
    uint32_t handshake; /* enum far_handshake_flags */

    /* Is this device for us, as far as can be told now? Asked until it says
     * yes; a device that never is ours is left alone entirely: nothing is
     * written. Reads the backend's nodes. */
    bool (*mine)(struct far_attachment *attachment);
    /* Before state 2, and again before each later 2: reads what is ordered,
     * opens the chain of devices if it isn't open, writes features. Idempotent.
     * Failure: the device is refused with error's text, or -EAGAIN: asked again
     * after a while. A device that is not there is no failure. */
    int (*publish)(struct far_attachment *attachment, struct far_error *error);
    /* With FAR_HS_NEEDS_DEVICE: the front is there, tell the device, which then
     * makes device_ready() true, maybe later. NULL without that flag. */
    void (*activate)(struct far_attachment *attachment);
    /* Front is ready: reads its nodes, maps, binds, serves. All or nothing. */
    int (*connect)(struct far_attachment *attachment, struct far_error *error);
    /* The same for the ring that a dead predecessor served, by the journal's
     * record, which is there and fits. Failure: the device is bounced. */
    int (*adopt)(struct far_attachment *attachment, struct far_error *error);
    /* Before disconnect: is all done that the guest was promised? False: not
     * yet; far_attachment_step() asks again. For a bounded time, and nothing of
     * the guest is touched meanwhile. May be NULL: there is nothing. */
    bool (*leave)(struct far_attachment *attachment);
    /* Some domain was suspended or has ended: this guest's, perhaps, which may
     * go on elsewhere. May be NULL. */
    void (*halted)(struct far_attachment *attachment);
    /* Stops serving, unmaps, unbinds. Idempotent. */
    void (*disconnect)(struct far_attachment *attachment);
    /* With FAR_HS_INSISTS: another has written our state: takes the node from
     * it. NULL without that flag. */
    void (*reclaim)(struct far_attachment *attachment);
    /* The last call: frees port. Idempotent. */
    void (*detach)(struct far_attachment *attachment);
    /* The configuration was read anew: open again what was not there. */
    void (*reload)(struct far_attachment *attachment);
    bool (*device_ready)(const struct far_attachment *attachment);
    /* An interrupt from a device that is not behind this port, judged already:
     * into the ring, with guest->marks into the journal, at once. 0; 1: there
     * is nothing to be told; -EAGAIN: no room (far_notify_room() is called when
     * there is); -ENXIO: this one can't take it, another may. May be NULL. */
    int (*notify)(struct far_attachment *attachment,
                  const struct far_notice *notice, struct far_error *error);
    /* What a screen of it shows: width * height pixels as of core/display.h,
     * until the loop turns; NULL: it is off, or there is none. May be NULL. */
    const uint8_t *(*pixels)(const struct far_attachment *attachment,
                             unsigned connector, uint32_t *width,
                             uint32_t *height);
    /* Adds address, reason, counters, latency to a device's status. */
    void (*status)(const struct far_attachment *attachment, json_t *to);
};

/* A domain that has, or had, attachments. */
struct far_guest {
    struct far_backend *backend;
    unsigned domid;
    uint8_t uuid[16];
    uint8_t generation[16];
    bool known;          /* uuid was read */
    bool has_generation; /* it was read or made */
    char name[FAR_NAME_BYTES];
    struct far_evtchns *channels; /* opened at the first connect */
    struct far_grant_quota quota;
    struct far_log_bucket bucket; /* for whatever this guest can provoke */
    struct far_notify_marks marks;
    struct far_notices *notices; /* notify.c's */
    unsigned devices;            /* served ones */
    unsigned references;
    struct far_xs_watch name_watch;
    struct far_guest *next;
};

/* Something that hotplug.c does in a turn of its own: xenstored is asked and
 * answers, which takes milliseconds, and other guests' events must not wait for
 * all that a host does at once. */
struct far_work {
    void (*run)(struct far_work *work);
    struct far_work *next, **prev; /* prev NULL: not queued */
};

/* One device of one guest. */
struct far_attachment {
    struct far_backend *backend;
    struct far_guest *guest;
    const struct far_port_type *type;
    const char *kind;
    unsigned devid;
    char back[FAR_XS_PATH_BYTES];  /* "backend/vinput/3/0", relative */
    char front[FAR_XS_PATH_BYTES]; /* "" until our nodes say where it is */

    /* the handshake */
    struct far_handshake_view view; /* as last seen, for status too */
    struct far_xs_watch front_watch;
    struct far_timer again; /* when a pause of the handshake is over */
    struct far_work step;
    uint64_t shown_us;    /* when our Closed will have stood long enough */
    uint64_t connects_us; /* rate limit: spoken for up to this time */
    bool mine;            /* claimed by its port */
    bool leaving;         /* its port has said false to leave() */
    bool written;         /* we have written a state: a 1 is another device's */
    bool front_bad;       /* our nodes name no directory of this guest */
    bool refused_hard;    /* until detached: dom0's nodes are at fault */
    bool error_written;
    bool detached;    /* let go of; waits for its nodes to vanish */
    bool seen;        /* by the scan that runs */
    char reason[232]; /* why it is refused; "" if it isn't */
    uint64_t refusals, connects, disconnects, adoptions, bounces, reclaims;

    struct far_line line; /* what its port notifies the guest through */
    struct far_journal_record *record;
    void *port; /* the port's own */
    struct far_attachment *next;
};

struct far_hotplug;
struct far_clock;
struct far_own_nodes;

struct far_backend {
    struct far_loop *loop;
    struct far_log *log;
    char platform[FAR_NAME_BYTES];
    struct far_conf *conf;
    struct far_devices devices;
    struct far_local_client *client;
    struct far_xs *xs;
    struct far_grants *grants;
    struct far_journal *journal;
    const struct far_port_type *const *ports; /* NULL-terminated */
    struct far_hotplug *hotplug;
    struct far_own_nodes *own_nodes;
    struct far_clock *clock; /* NULL: this machine has no counter for it */
    struct far_guest *guests;
    struct far_control *control; /* for what comes with a request */
    /* Reads the configuration file again; 0, or the reason in error. */
    int (*reload)(struct far_backend *backend, struct far_error *error);
};

/* --- hotplug.c --- */
/* Watches the kinds of backend->ports and begins to serve. 0 or a negative
 * errno. */
int far_hotplug_start(struct far_backend *backend);
/* Lets go of everything as a kill would: guests stay connected, the journal
 * stays; a successor adopts. NULL-safe. */
void far_hotplug_stop(struct far_backend *backend);
void far_hotplug_reload(struct far_backend *backend);
/* Calls each() for every attachment that is ours. */
void far_hotplug_each(struct far_backend *backend,
                      void (*each)(struct far_attachment *attachment,
                                   void *arg),
                      void *arg);
/* Something that the handshake depends on has changed (a device answers):
 * steps at the end of this turn. */
void far_attachment_step(struct far_attachment *attachment);
/* For a port whose front did something wrong while it was served: the device
 * is closed, with the reason in the error node and one line in the log. At the
 * end of this turn; the port must not touch the ring any more. */
void far_attachment_fail(struct far_attachment *attachment, const char *format,
                         ...) __attribute__((format(printf, 2, 3)));
/* The line drives this event channel from now on (NULL: none), with the limits
 * of the guest's section. */
void far_attachment_line(struct far_attachment *attachment,
                         struct far_evtchn *evtchn);
/* The guest's own section of farside.conf, by name or UUID; or NULL. */
const struct far_conf_section *far_guest_section(const struct far_guest *guest);
/* The guest's event channels; NULL and errno. */
struct far_evtchns *far_guest_channels(struct far_guest *guest);
/* Fills who but for the device's part (platform, standby, device, class). Makes
 * the journal's record if there is none yet (in editing); -ENOMEM … */
int far_attachment_record(struct far_attachment *attachment,
                          struct far_error *error);

/* --- ports --- */
extern const struct far_port_type far_port_input;
extern const struct far_port_type far_port_timer;
extern const struct far_port_type far_port_doorbell;
extern const struct far_port_type far_port_intc;
extern const struct far_port_type far_port_stream;
extern const struct far_port_type far_port_vbd;
extern const struct far_port_type far_port_vsnd;
extern const struct far_port_type far_port_vdispl;

/* --- control.c --- */
/* Answers a request of the control socket; arg is the struct far_backend. */
json_t *far_backend_control(json_t *request, void *arg);
#endif
