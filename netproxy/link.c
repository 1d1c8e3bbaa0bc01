/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The client's end of a link (netproxy/link.h): when to connect, where to, and
 * whom the frames belong to.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/uuid.h"
#include "netproxy/link.h"
#include "netproxy/notify.h"
#include "netproxy/remote.h"
#include "netproxy/route.h"

static void enter(struct far_link *l, enum far_link_state state,
                  const char *reason)
{
    bool news = strcmp(l->reason, reason) != 0;
    char proof[FAR_TLS_PROOF_BYTES];

    if (l->state != state &&
        (l->state == FAR_LINK_UP || state == FAR_LINK_UP || !l->since_us))
        l->since_us = far_now_us();
    if (state == FAR_LINK_UP && l->state != state) {
        far_tls_proof(&l->control->tls, proof, sizeof(proof));
        far_log_limited(l->context->log, &l->bucket, FAR_LOG_INFO,
                        "link to %s: up, %s, %s", l->name, l->control->address,
                        proof);
    } else if (state != FAR_LINK_UP && news && reason[0])
        far_log_limited(l->context->log, &l->bucket, FAR_LOG_WARNING,
                        "link to %s: %s%s%s%s", l->name, reason,
                        l->lanes[0].address[0] ? " (" : "", l->lanes[0].address,
                        l->lanes[0].address[0] ? ")" : "");
    l->state = state;
    if (reason != l->reason)
        snprintf(l->reason, sizeof(l->reason), "%s", reason);
}

static void each_remote(struct far_link *l, void (*call)(struct far_remote *))
{
    uint32_t i;

    for (i = 1; i < l->remotes_room; i++) {
        if (l->remotes[i])
            call(l->remotes[i]);
    }
}

static void try_now(struct far_lane *lane);

static void tell_down(struct far_link *l)
{
    each_remote(l, far_remote_link_down);
    far_routes_link_down(l);
}

/* Between two tries: short while somebody says no, longer while nobody says
 * anything, or says that trying again will not help soon. */
static void retry_later(struct far_lane *lane, int code)
{
    struct far_link *l = lane->link;
    uint64_t cap_us = FAR_LINK_RETRY_SILENT_US;

    if (code == -ECONNREFUSED || code == -ECONNRESET || code == -EPIPE ||
        code == -ESHUTDOWN)
        cap_us = FAR_LINK_RETRY_REFUSED_US;
    if (l->state == FAR_LINK_STOPPED || !l->configured || !lane->wanted)
        return;
    /* One that ends as soon as it is up is no success: two machines of one name
     * would throw each other out all day. */
    if (lane->up_us && far_now_us() - lane->up_us > FAR_LINK_LIVED_US)
        lane->delay_us = 0;
    lane->up_us = 0;
    lane->delay_us = lane->delay_us ? lane->delay_us * 2 : FAR_LINK_RETRY_US;
    if (lane->delay_us > cap_us)
        lane->delay_us = cap_us;
    far_timer_set(&lane->retry, far_now_us() + lane->delay_us);
}

/* It can't be tried; the configuration must change first. */
static void give_up(struct far_link *l, const char *reason)
{
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        far_timer_cancel(&l->lanes[i].retry);
        l->lanes[i].delay_us = 0;
    }
    enter(l, FAR_LINK_DOWN, reason);
    tell_down(l);
}

/* A lane is not up, for that reason; the link may be. */
static void lane_down(struct far_lane *lane, const char *reason)
{
    struct far_link *l = lane->link;

    if (reason != lane->reason)
        snprintf(lane->reason, sizeof(lane->reason), "%s", reason);
    if (!l->control && lane->number == 0) {
        enter(l, FAR_LINK_DOWN, reason);
        if (!l->up) /* run_elect() tells them else */
            each_remote(l, far_remote_link_down);
    } else if (l->control) {
        far_log_limited(l->context->log, &l->bucket, FAR_LOG_WARNING,
                        "link to %s: lane %u: %s (%s)", l->name, lane->number,
                        reason, lane->address);
    }
}

/* Bulk has a connection for itself only while the others have one, too. */
static void tune_lanes(struct far_link *l)
{
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        struct far_conn *c = l->lanes[i].conn;

        if (!far_lane_is_up(&l->lanes[i]))
            continue;
        far_conn_watch(c, c == l->control);
        far_conn_share(c, i != FAR_WIRE_LANE_BULK || c == l->control);
    }
}

/* The lowest lane that is up is the control lane. All attachments go there. */
static void run_elect(struct far_defer *defer)
{
    struct far_link *l =
        (struct far_link *)((char *)defer - offsetof(struct far_link, elect));
    struct far_conn *before = l->control;
    unsigned i;

    l->control = NULL;
    for (i = 0; i < FAR_WIRE_LANES && !l->control; i++) {
        if (far_lane_is_up(&l->lanes[i]))
            l->control = l->lanes[i].conn;
    }
    tune_lanes(l);
    if (l->control ? l->control == before : !l->up)
        return;
    l->up = l->control != NULL;
    if (!l->control) {
        far_notify_link_down(l->context->notifier, l);
        far_offers_clear(&l->offers);
        enter(l, FAR_LINK_DOWN, l->lanes[0].reason);
        tell_down(l);
        return;
    }
    if (l->state != FAR_LINK_UP)
        l->reconnects++;
    enter(l, FAR_LINK_UP, "");
    far_offers_clear(&l->offers);
    far_offers_ask(l->control);
    each_remote(l, far_remote_link_up);
    far_routes_link_up(l);
    for (i = 0; i < FAR_WIRE_LANES; i++)
        try_now(&l->lanes[i]);
}

static void elect(struct far_link *l)
{
    far_defer_cancel(l->context->loop, &l->elect);
    run_elect(&l->elect);
}

static void pump(struct far_lane *lane)
{
    if (far_lane_is_up(lane))
        far_fair_run(&lane->fair);
}

static int on_up(struct far_conn *conn, struct far_error *error)
{
    struct far_lane *lane = conn->owner;

    (void)error;
    lane->reconnects++;
    lane->up_us = far_now_us();
    lane->reason[0] = 0;
    far_conn_spin(conn, &lane->link->context->spin);
    elect(lane->link);
    return 0;
}

static int on_frame(struct far_conn *conn, const struct far_wire_frame *frame,
                    struct far_error *error)
{
    struct far_lane *lane = conn->owner;
    struct far_link *l = lane->link;
    uint32_t handle = frame->header.handle;

    if (frame->header.type == FAR_WIRE_NOTIFY) {
        /* By another lane: it is sent again by this one. */
        if (conn == l->control)
            far_notify_take(l->context->notifier, l, frame);
        return 0;
    }
    if (handle >= FAR_ROUTE_HANDLE_FIRST)
        return far_route_from_owner(l, conn, frame, error);
    if (frame->header.type == FAR_WIRE_ANNOUNCE) {
        far_offers_take(&l->offers, frame);
        return 0;
    }
    if (handle && handle < l->remotes_room && l->remotes[handle])
        return far_remote_frame(l->remotes[handle], conn, frame, error);
    return 0; /* of an attachment that was given up meanwhile */
}

static void on_room(struct far_conn *conn)
{
    struct far_lane *lane = conn->owner;

    pump(lane);
    far_routes_owner_room(lane->link);
}

static bool on_waits(const struct far_conn *conn)
{
    const struct far_lane *lane = conn->owner;
    const struct far_link *l = lane->link;
    uint32_t i;

    for (i = 1; i < l->remotes_room; i++) {
        if (l->remotes[i] && far_remote_waits(l->remotes[i], lane->number))
            return true;
    }
    return false;
}

static void on_silent(struct far_conn *conn)
{
    struct far_lane *lane = conn->owner;
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        struct far_lane *other = &lane->link->lanes[i];

        if (other != lane && far_lane_is_up(other))
            far_conn_ask(other->conn);
    }
}

static void lane_lost(struct far_lane *lane, const struct far_conn *conn)
{
    struct far_link *l = lane->link;
    uint32_t i;

    for (i = 1; i < l->remotes_room; i++) {
        if (l->remotes[i])
            lane->moved += far_remote_lane_down(l->remotes[i], lane, conn);
    }
    far_routes_lane_down(l, lane->number);
}

static void on_down(struct far_conn *conn, int code, const char *reason)
{
    struct far_lane *lane = conn->owner;
    struct far_link *l = lane->link;
    bool was_up = lane->up_us != 0;

    lane->conn = NULL;
    lane_down(lane, reason);
    retry_later(lane, code);
    if (was_up) {
        /* Others may have ended in this turn, too. */
        if (l->control == conn)
            l->control = NULL;
        lane_lost(lane, conn);
        far_defer(l->context->loop, &l->elect, run_elect);
    } else if (!l->control) {
        each_remote(l, far_remote_link_down); /* there is a new reason */
    }
    far_conn_free(conn, NULL);
}

static const struct far_conn_ops link_ops = {
    .up = on_up,
    .frame = on_frame,
    .room = on_room,
    .waits = on_waits,
    .silent = on_silent,
    .down = on_down,
};

static void connect_to(struct far_lane *lane,
                       const struct sockaddr_storage *address, socklen_t bytes)
{
    struct far_link *l = lane->link;
    struct far_error error = { 0 };
    struct far_wire_hello me = l->context->me;

    memcpy(me.link, l->id, sizeof(me.link));
    me.lane = lane->number;
    me.lanes = (uint8_t)l->lane_count;
    far_conn_address_text(lane->address, sizeof(lane->address),
                          (const struct sockaddr *)address);
    lane->conn = far_conn_connect(
        l->context->loop, &link_ops, lane, &lane->traffic, &me, l->name,
        l->clear || l->by_certificate ? NULL : &l->key,
        l->clear ? NULL : l->context->trust, (const struct sockaddr *)address,
        bytes, &error);
    if (!lane->conn) {
        lane_down(lane, error.text);
        retry_later(lane, error.code);
        return;
    }
    if (!l->control && l->state != FAR_LINK_UP)
        enter(l, FAR_LINK_CONNECTING, l->reason); /* until there is a new one */
}

static void on_resolved(struct far_resolver_query *query,
                        const struct sockaddr_storage *addresses,
                        unsigned count, const char *error)
{
    struct far_lane *lane =
        (struct far_lane *)((char *)query - offsetof(struct far_lane, query));
    const struct far_link *l = lane->link;
    const struct far_endpoint *what =
        &l->addresses[(lane->attempt - 1) % l->address_count];
    const struct sockaddr_storage *address;

    if (!count) {
        char reason[FAR_WIRE_TEXT_BYTES];

        snprintf(reason, sizeof(reason), "%.150s: %.60s", what->host, error);
        lane_down(lane, reason);
        retry_later(lane, -EHOSTUNREACH);
        return;
    }
    address = &addresses[(lane->attempt - 1) / l->address_count % count];
    connect_to(lane, address,
               address->ss_family == AF_INET6
                   ? (socklen_t)sizeof(struct sockaddr_in6)
                   : (socklen_t)sizeof(struct sockaddr_in));
}

static bool has_proof(const struct far_link *l)
{
    return l->key.bytes || l->by_certificate || l->clear;
}

/* A server that knows of one connection only would take a second one for the
 * first one's successor. */
static bool takes(const struct far_conn *control, uint8_t lane)
{
    uint8_t lanes = control->theirs.lanes;

    return lanes >= FAR_WIRE_LANES ||
           (lanes == 2 && lane == FAR_WIRE_LANE_BULK);
}

/* The first lane finds the way; the others follow when the link is up. */
static void try_now(struct far_lane *lane)
{
    struct far_link *l = lane->link;
    const struct far_endpoint *what;
    struct sockaddr_storage address;
    socklen_t bytes;
    int rc;

    if (lane->conn || lane->query.id || !lane->wanted || !l->configured ||
        l->state == FAR_LINK_STOPPED || !l->address_count || !has_proof(l) ||
        (lane->number && (!l->control || !takes(l->control, lane->number))))
        return;
    far_timer_cancel(&lane->retry);
    what = &l->addresses[lane->attempt++ % l->address_count];
    if (far_endpoint_numeric(what, &address, &bytes)) {
        connect_to(lane, &address, bytes);
        return;
    }
    if (!l->context->resolver) {
        if (!lane->number)
            give_up(l, "names are not resolved here: use a numeric address");
        return;
    }
    snprintf(lane->address, sizeof(lane->address), "%.50s:%u", what->host,
             what->port);
    rc = far_resolver_ask(l->context->resolver, &lane->query, what);
    if (rc) {
        lane_down(lane, "the helper that resolves names is busy");
        retry_later(lane, rc);
        return;
    }
    if (!l->control && l->state != FAR_LINK_UP)
        enter(l, FAR_LINK_CONNECTING, l->reason);
}

static void on_retry(struct far_timer *timer)
{
    try_now(
        (struct far_lane *)((char *)timer - offsetof(struct far_lane, retry)));
}

static void on_acks(struct far_timer *timer)
{
    each_remote(
        (struct far_link *)((char *)timer - offsetof(struct far_link, acks)),
        far_remote_send_acks);
}

static void on_prompt(struct far_defer *defer)
{
    each_remote(
        (struct far_link *)((char *)defer - offsetof(struct far_link, prompt)),
        far_remote_send_acks);
}

void far_link_want_acks(struct far_link *l, bool prompt)
{
    if (prompt)
        far_defer(l->context->loop, &l->prompt, on_prompt);
    else if (!far_timer_armed(&l->acks))
        far_timer_set(&l->acks, far_now_us() + FAR_LINK_ACK_US);
}

struct far_link *far_link_new(struct far_context *context, const char *name)
{
    struct far_link *l = calloc(1, sizeof(*l));
    uint8_t i;

    if (!l)
        return NULL;
    l->context = context;
    snprintf(l->name, sizeof(l->name), "%s", name);
    far_random_bytes(l->id, sizeof(l->id));
    far_timer_init(&l->acks, context->loop, on_acks);
    l->lane_count = 1;
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        struct far_lane *lane = &l->lanes[i];

        lane->link = l;
        lane->number = i;
        lane->wanted = i == 0;
        lane->attempt = i; /* spread over the addresses */
        lane->query.done = on_resolved;
        far_timer_init(&lane->retry, context->loop, on_retry);
    }
    return l;
}

static void hang_up_lane(struct far_lane *lane, const char *reason)
{
    struct far_link *l = lane->link;

    far_timer_cancel(&lane->retry);
    if (l->context->resolver)
        far_resolver_cancel(l->context->resolver, &lane->query);
    if (l->control == lane->conn)
        l->control = NULL;
    far_conn_free(lane->conn, reason);
    lane->conn = NULL;
    lane->up_us = 0;
    lane->attempt = lane->number;
    lane->delay_us = 0;
    lane->reason[0] = 0;
}

/* Its remotes are to be told then. */
static void hang_up(struct far_link *l, const char *reason)
{
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++)
        hang_up_lane(&l->lanes[i], reason);
    far_defer_cancel(l->context->loop, &l->elect);
    l->up = false;
    far_offers_clear(&l->offers);
    far_notify_link_down(l->context->notifier, l);
}

void far_link_free(struct far_link *l)
{
    hang_up(l, "farside-netproxy ends");
    far_timer_cancel(&l->acks);
    far_defer_cancel(l->context->loop, &l->prompt);
    far_defer_cancel(l->context->loop, &l->elect);
    free(l->remotes);
    free(l->routes);
    explicit_bzero(&l->key, sizeof(l->key));
    free(l);
}

/* Our line of that file. */
static int read_key(const struct far_link *l, const char *file,
                    struct far_key *key, struct far_error *error)
{
    struct far_keys keys = { 0 };
    const struct far_key *found;
    int rc = far_keys_read(&keys, file, error);

    if (rc)
        return rc;
    found = far_keys_find(&keys, l->context->me.platform);
    if (found)
        *key = *found;
    else
        rc = far_error(error, -ENOKEY,
                       "psk-file %s has no line for our own name, %s", file,
                       l->context->me.platform);
    far_keys_free(&keys);
    return rc;
}

/* As whom we come: psk-file if it is given; else our certificate, if the
 * other's is installed too; else the key in the folder of trust. What the other
 * side says never changes that. */
static int read_proof(const struct far_link *l,
                      const struct far_conf_section *s, struct far_key *key,
                      bool *by_certificate, struct far_error *error)
{
    const struct far_trust *trust = l->context->trust;
    const char *file = far_conf_string(s, "psk-file", NULL);
    char path[PATH_MAX], name[FAR_NAME_BYTES + 16];
    int rc;

    *by_certificate = false;
    if (file)
        return read_key(l, file, key, error);
    if (far_trust_own(trust) && far_trust_peer(trust, l->name)) {
        *by_certificate = true;
        return 0;
    }
    snprintf(name, sizeof(name), "psk/server-%s", l->name);
    if (!far_trust_path(path, trust->dir, name))
        return far_error(error, -ENAMETOOLONG, "%s: too long a path",
                         trust->dir);
    rc = read_key(l, path, key, error);
    if (rc != -ENOENT)
        return rc;
    if (trust->own_reason[0])
        return far_error(error, -ENOKEY, "%.231s", trust->own_reason);
    return far_error(error, -ENOKEY,
                     "no link without a proof of who we are: %s, and there is "
                     "no key that we share (farside trust)",
                     far_trust_own(trust)
                         ? "its certificate is not installed here"
                         : "we have no certificate");
}

/* The addresses and the proof; reason if there is a fault. */
static int read_section(struct far_link *l, const struct far_conf_section *s,
                        struct far_endpoint *addresses, unsigned *count,
                        struct far_key *key, bool *by_certificate,
                        struct far_error *error)
{
    const struct far_conf_entry *e = NULL;
    int rc;

    *count = 0;
    while ((e = far_conf_entry(s, "address", e))) {
        if (*count == FAR_LINK_ADDRESSES_MAX)
            break;
        rc = far_endpoint_parse(&addresses[*count], e->value, error);
        if (rc)
            return rc;
        (*count)++;
    }
    if (!*count)
        return far_error(error, -EINVAL,
                         "[server %s] has no address (address = HOST:PORT)",
                         l->name);
    if (far_conf_bool(s, "clear-text", false))
        return 0;
    return read_proof(l, s, key, by_certificate, error);
}

void far_link_review(struct far_link *l, int64_t now_s)
{
    struct far_error error = { 0 };
    unsigned i;

    for (i = 0; i < FAR_WIRE_LANES; i++) {
        struct far_conn *c = l->lanes[i].conn;

        if (!c || c->state == FAR_CONN_ENDED)
            continue;
        if (c->state != FAR_CONN_UP) {
            /* It may have been judged already, by what was in force then. */
            if (c->tls.trust && c->tls.trust != l->context->trust)
                far_conn_fail(c, -EKEYREVOKED,
                              "what is trusted has changed meanwhile");
        } else if (far_tls_judge(&c->tls, l->context->trust, now_s, &error)) {
            far_conn_fail(c, -EKEYREVOKED, error.text);
        }
    }
}

/* Two lanes: bulk has its own. */
static void set_lanes(struct far_link *l, unsigned count)
{
    bool wanted[FAR_WIRE_LANES] = { true, count == 3, count >= 2 };
    bool lost = false;
    unsigned i;

    l->lane_count = count;
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        struct far_lane *lane = &l->lanes[i];
        const struct far_conn *conn;

        lane->wanted = wanted[i];
        if (wanted[i] || !lane->conn)
            continue;
        lost = true;
        conn = lane->conn;
        hang_up_lane(lane, "the link has fewer lanes now");
        lane_lost(lane, conn);
    }
    if (lost)
        elect(l);
    for (i = 0; i < FAR_WIRE_LANES && l->control; i++)
        try_now(&l->lanes[i]);
}

void far_link_configure(struct far_link *l, const struct far_conf_section *s)
{
    struct far_endpoint addresses[FAR_LINK_ADDRESSES_MAX] = { 0 };
    struct far_key key = { 0 };
    struct far_error error = { 0 };
    unsigned count = 0;
    bool same, by_certificate = false;
    bool clear = s && far_conf_bool(s, "clear-text", false);

    l->section = s;
    if (!s) {
        char reason[FAR_WIRE_TEXT_BYTES];

        snprintf(reason, sizeof(reason),
                 "there is no [server %s] in the configuration any more",
                 l->name);
        l->configured = false;
        hang_up(l, "the link is no longer configured");
        give_up(l, reason);
        return;
    }
    l->configured = true;
    if (read_section(l, s, addresses, &count, &key, &by_certificate, &error)) {
        explicit_bzero(&l->key, sizeof(l->key));
        l->by_certificate = false;
        l->lanes[0].address[0] = 0;
        hang_up(l, "the link's configuration has a fault");
        if (l->state != FAR_LINK_STOPPED)
            give_up(l, error.text);
        return;
    }
    same = count == l->address_count && clear == l->clear &&
           !memcmp(addresses, l->addresses, sizeof(addresses)) &&
           !memcmp(&key, &l->key, sizeof(key)) &&
           by_certificate == l->by_certificate;
    memcpy(l->addresses, addresses, sizeof(addresses));
    l->address_count = count;
    l->key = key;
    l->by_certificate = by_certificate;
    explicit_bzero(&key, sizeof(key));
    if (clear && !l->clear)
        far_log(l->context->log, FAR_LOG_WARNING,
                "link to %s: IN CLEAR TEXT ([server %s] clear-text = on): "
                "anybody on the way can read and change all of it, and be %s",
                l->name, l->name, l->name);
    l->clear = clear;
    set_lanes(l, (unsigned)far_conf_number(s, "lanes", FAR_WIRE_LANES));
    if (l->state == FAR_LINK_STOPPED || (same && l->state == FAR_LINK_UP))
        return;
    if (l->control || l->lanes[0].conn) {
        hang_up(l, "the link's configuration has changed");
        enter(l, FAR_LINK_DOWN, "the link's configuration has changed");
        tell_down(l);
    }
    l->lanes[0].delay_us = 0;
    try_now(&l->lanes[0]);
}

void far_link_stop(struct far_link *l)
{
    hang_up(l, "the link was stopped by a person");
    enter(l, FAR_LINK_STOPPED,
          "stopped by a person (`farside link start` starts it)");
    tell_down(l);
}

void far_link_start(struct far_link *l)
{
    if (l->state != FAR_LINK_STOPPED)
        return;
    enter(l, FAR_LINK_DOWN, "was just started");
    if (!l->configured || !has_proof(l))
        give_up(l, "its configuration has a fault: see `farside check`, then "
                   "reload");
    else
        try_now(&l->lanes[0]);
}

uint32_t far_link_add(struct far_link *l, struct far_remote *remote)
{
    uint32_t i, room;
    struct far_remote **more;

    for (i = 1; i < l->remotes_room; i++) {
        if (!l->remotes[i]) {
            l->remotes[i] = remote;
            return i;
        }
    }
    room = l->remotes_room ? l->remotes_room * 2 : 16;
    if (room > FAR_ROUTE_HANDLE_FIRST)
        return 0;
    more = realloc(l->remotes, room * sizeof(*more));
    if (!more)
        return 0;
    memset(more + l->remotes_room, 0, (room - l->remotes_room) * sizeof(*more));
    i = l->remotes_room ? l->remotes_room : 1;
    l->remotes = more;
    l->remotes_room = room;
    l->remotes[i] = remote;
    return i;
}

void far_link_remove(struct far_link *l, uint32_t handle)
{
    l->remotes[handle] = NULL;
}

bool far_link_is_up(const struct far_link *l)
{
    return l->control != NULL;
}

struct far_lane *far_link_lane(struct far_link *l, enum far_class class)
{
    struct far_lane *lane = &l->lanes[FAR_WIRE_LANE_BULK];

    if (!l->control)
        return NULL;
    if (class != FAR_CLASS_BLOCK && class != FAR_CLASS_DISPLAY &&
        class != FAR_CLASS_STREAM)
        lane = &l->lanes[FAR_WIRE_LANE_REALTIME];
    return far_lane_is_up(lane) ? lane : l->control->owner;
}

void far_link_traffic(const struct far_link *l, struct far_traffic *sum)
{
    unsigned i;

    memset(sum, 0, sizeof(*sum));
    for (i = 0; i < FAR_WIRE_LANES; i++)
        far_traffic_add(sum, &l->lanes[i].traffic);
}

int far_link_rekey(struct far_link *l, struct far_error *error)
{
    unsigned i;

    if (!l->control)
        return far_error(error, -ENOTCONN, "the link to %s is down", l->name);
    for (i = 0; i < FAR_WIRE_LANES; i++) {
        int rc = 0;

        if (far_lane_is_up(&l->lanes[i]))
            rc = far_conn_rekey(l->lanes[i].conn, error);
        if (rc)
            return rc;
    }
    return 0;
}
