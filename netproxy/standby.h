/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A device that more than one server has: PLATFORM+STANDBY/DEVICE, or a name
 * of the directory. A layer with a leg to each place where the device may be:
 * one leg serves, and when it can't for a while, the others are tried. Who owns
 * a device is not decided here: what has an owner is used only where its server
 * says that it holds the directory's lease (netproxy/lease.h).
 */
#ifndef FARSIDE_NETPROXY_STANDBY_H
#define FARSIDE_NETPROXY_STANDBY_H

#include <jansson.h>
#include "devices/device.h"

#define FAR_STANDBY_PLACES   8
#define FAR_STANDBY_AFTER_US 1000000 /* standby-after, by default */

/* Where a device may be: platform is "" for this one. */
struct far_standby_place {
    char platform[FAR_NAME_BYTES];
    char device[FAR_NAME_BYTES];
};

struct far_standby_ops {
    /* As of struct far_local_server_ops, of one place. */
    int (*open)(void *arg, const struct far_local_who *who,
                struct far_layer **layer, struct far_error *error);
    void (*leaving)(void *arg, const struct far_local_who *who, bool detached);
    /* Was that guest's device served there when its backend was lost? */
    bool (*left)(void *arg, const struct far_local_who *who);
    void *arg;
};

/* All of a netproxy. */
struct far_standbys {
    struct far_loop *loop;
    struct far_log *log;
    struct far_standby_ops ops;
    uint64_t after_us; /* without service before others are tried */
    struct far_standby *first;
};

/* who: as it was asked for. places: the first is preferred, unless another one
 * still serves it; there may be none yet. Never fails because nobody can serve
 * it: state() tells. 0 or -ENOMEM with error. */
int far_standby_open(struct far_standbys *standbys,
                     const struct far_local_who *who,
                     const struct far_standby_place *places, unsigned count,
                     struct far_layer **layer, struct far_error *error);
/* Other places, in the order in which they are preferred. One that is no longer
 * among them serves as long as it can, and is not tried again. Not from within
 * a call of a layer. */
void far_standby_set_places(struct far_standby *standby,
                            const struct far_standby_place *places,
                            unsigned count);
/* Calls each() with all whose address has this platform; it may set places. */
void far_standbys_each(struct far_standbys *standbys, const char *platform,
                       void (*each)(void *arg, struct far_standby *standby,
                                    const char *device),
                       void *arg);
/* Its layer will be closed: for good, or not. */
void far_standby_leaving(struct far_standbys *standbys,
                         const struct far_local_who *who, bool detached);
/* May a guest be moved from server to server with it? NULL, or why not, for a
 * person. news: of its state; its properties count. Pure. */
const char *far_standby_unfit(enum far_class class,
                              const struct far_layer_news *news);
json_t *far_standbys_json(const struct far_standbys *standbys);

#endif
