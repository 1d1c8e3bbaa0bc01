/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One whole netproxy: its configuration and all its parts. No globals: tests
 * run two of them in one loop.
 */
#ifndef FARSIDE_NETPROXY_NETPROXY_H
#define FARSIDE_NETPROXY_NETPROXY_H

#include <jansson.h>
#include "core/control.h"
#include "devices/local-server.h"
#include "devices/starter.h"
#include "netproxy/directory.h"
#include "netproxy/hotplug.h"
#include "netproxy/link.h"
#include "netproxy/notify.h"
#include "netproxy/route.h"
#include "netproxy/server.h"
#include "netproxy/standby.h"

struct far_netproxy {
    struct far_context context;
    char *conf_file, *run_dir;
    struct far_conf *conf;
    unsigned problems; /* of the last configuration that was read */
    struct far_devices devices;
    struct far_hotplug hotplug;
    struct far_controller controller;
    struct far_server server;
    struct far_notifier notifier;
    struct far_router router;
    struct far_standbys standbys;
    struct far_directory directory;
    struct far_link *links;
    struct far_local_server *local;
    struct far_control *control;
    struct far_link_capture *captures; /* that were asked for */
    struct far_resolver *resolver;
    struct far_starter *starter;
    bool sandboxed;
    const char *user; /* that it became, or NULL */
    struct far_timer trust_timer;
    int64_t trust_warned_s; /* when its terms were last warned of */
    struct far_defer reload;
    struct far_timer look_again; /* who waits, and who is to be told */
};

struct far_netproxy_options {
    const char *conf_file, *run_dir;
    const char *user; /* of the helpers; NULL: the default */
    bool no_resolver; /* tests that don't want processes */
};

/* Reads the configuration and opens all: sockets, devices, links. NULL with
 * error: what is wrong in it, or in the way. */
struct far_netproxy *far_netproxy_new(struct far_loop *loop,
                                      struct far_log *log,
                                      const struct far_netproxy_options *o,
                                      struct far_error *error);
void far_netproxy_free(struct far_netproxy *netproxy); /* NULL is fine */
/* Reads the configuration again; nothing that stayed the same is disturbed.
 * 0, or a negative errno with error: the old one stays. */
int far_netproxy_reload(struct far_netproxy *netproxy, struct far_error *error);

/* netproxy/review.c: reads the folder of trust again (a fault in the list of
 * the revoked leaves what was in force, and is reported; 0 or -ENOMEM), and
 * ends what is no longer trusted; the latter again every hour, as terms end. */
int far_netproxy_read_trust(struct far_netproxy *netproxy,
                            const struct far_conf *conf,
                            far_trust_report *report, void *arg);
void far_netproxy_review_trust(struct far_netproxy *netproxy);
void far_netproxy_on_trust_timer(struct far_timer *timer);
json_t *far_netproxy_trust_json(const struct far_netproxy *netproxy);

/* netproxy/status.c: the answer to a control request. */
json_t *far_netproxy_request(json_t *request, void *netproxy);
/* netproxy/capture-link.c: the answer to "link capture", which is for root;
 * what was captured, for status; all of them ended. */
json_t *far_netproxy_capture(struct far_netproxy *netproxy,
                             const json_t *request);
json_t *far_netproxy_captures(const struct far_netproxy *netproxy);
void far_netproxy_captures_free(struct far_netproxy *netproxy);
int far_netproxy_feed(struct far_netproxy *netproxy, const char *device,
                      const struct far_input_event *events, unsigned count,
                      struct far_error *error);
struct far_link *far_netproxy_link(const struct far_netproxy *netproxy,
                                   const char *platform);

#endif
