/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the netproxy's tests share: a folder of their own, real farside-netproxy
 * processes in it, and a guest that listens through the local client.
 */
#ifndef FARSIDE_TESTS_NETPROXY_RIG_H
#define FARSIDE_TESTS_NETPROXY_RIG_H

#include <jansson.h>
#include <sys/types.h>
#include "core/clock.h"
#include "devices/device.h"

struct rig {
    char dir[64];
    struct far_loop *loop;
};
void rig_begin(struct rig *rig); /* asserts */
void rig_end(struct rig *rig);   /* removes the folder */
uint16_t rig_port(void);         /* a free one on loopback */
/* Writes DIR/NAME. */
void rig_write(const struct rig *rig, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Turns the loop until done() says so; false after that many ms. */
bool rig_until(struct rig *rig, bool (*done)(void *arg), void *arg,
               unsigned ms);
void rig_turn(struct rig *rig, unsigned ms);

/* A process with DIR/NAME.conf and the run directory DIR/NAME. */
struct proxy {
    struct rig *rig;
    char name[32];
    pid_t pid;
    const char *program; /* NULL: the one that was just built */
};
void proxy_start(struct proxy *proxy, struct rig *rig, const char *name);
void proxy_kill(struct proxy *proxy, int sig); /* and waits */
json_t *proxy_ask(struct proxy *proxy, const char *request);
/* The text at a path like "links.0.state" of its status; "" if none; valid
 * until the next call. */
const char *proxy_text(struct proxy *proxy, const char *path);
long long proxy_number(struct proxy *proxy, const char *path);
void proxy_wait_text(struct proxy *proxy, const char *path, const char *want);
/* Sends key code `code` pressed, then released. */
void proxy_tap(struct proxy *proxy, const char *device, unsigned code);
void proxy_reload(struct proxy *proxy);

#define GUEST_EVENTS 16384
struct guest {
    struct far_layer layer; /* the top: what a port would be */
    struct rig *rig;
    struct far_local_client *client;
    bool shared; /* client is another guest's */
    bool open, refuse_acks, full;
    enum far_device_state state;
    uint32_t class; /* 0: input */
    char reason[232];
    uint64_t incarnation, received;
    unsigned count, states, repeats, gaps, incarnations;
    struct far_input_event events[GUEST_EVENTS]; /* keys, motions; no states */
    unsigned completions;
    struct far_op completed;
};
/* Opens PLATFORM/DEVICE as guest number n, and activates where it stands.
 * platform may be PLATFORM+STANDBY. */
void guest_open(struct guest *guest, struct rig *rig, const char *proxy,
                unsigned n, const char *platform, const char *device);
/* As if the backend were killed: the connection ends, no word is said. */
void guest_crash(struct guest *guest);
void guest_detach(struct guest *guest);
bool guest_ready(void *guest);
void guest_wait_ready(struct guest *guest);
void guest_wait_count(struct guest *guest, unsigned count);
void guest_wait_reason(struct guest *guest, const char *part);

#endif
