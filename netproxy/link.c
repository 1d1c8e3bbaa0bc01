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

static struct far_link *of_conn(struct far_conn *conn)
{
    return conn->owner;
}

static void enter(struct far_link *l, enum far_link_state state,
                  const char *reason)
{
    bool news = strcmp(l->reason, reason) != 0;
    char proof[FAR_TLS_PROOF_BYTES];

    if (l->state != state &&
        (l->state == FAR_LINK_UP || state == FAR_LINK_UP || !l->since_us))
        l->since_us = far_now_us();
    if (state == FAR_LINK_UP) {
        far_tls_proof(&l->conn->tls, proof, sizeof(proof));
        far_log_limited(l->context->log, &l->bucket, FAR_LOG_INFO,
                        "link to %s: up, %s, %s", l->name, l->address, proof);
    } else if (news && reason[0])
        far_log_limited(l->context->log, &l->bucket, FAR_LOG_WARNING,
                        "link to %s: %s%s%s%s", l->name, reason,
                        l->address[0] ? " (" : "", l->address,
                        l->address[0] ? ")" : "");
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

/* Between two tries: short while somebody says no, longer while nobody says
 * anything, or says that trying again will not help soon. */
static void retry_later(struct far_link *l, int code)
{
    uint64_t cap_us = FAR_LINK_RETRY_SILENT_US;

    if (code == -ECONNREFUSED || code == -ECONNRESET || code == -EPIPE ||
        code == -ESHUTDOWN)
        cap_us = FAR_LINK_RETRY_REFUSED_US;
    if (l->state == FAR_LINK_STOPPED || !l->configured)
        return;
    /* One that ends as soon as it is up is no success: two machines of one name
     * would throw each other out all day. */
    if (l->up_us && far_now_us() - l->up_us > FAR_LINK_LIVED_US)
        l->delay_us = 0;
    l->up_us = 0;
    l->delay_us = l->delay_us ? l->delay_us * 2 : FAR_LINK_RETRY_US;
    if (l->delay_us > cap_us)
        l->delay_us = cap_us;
    far_timer_set(&l->retry, far_now_us() + l->delay_us);
}

/* It can't be tried; the configuration must change first. */
static void give_up(struct far_link *l, const char *reason)
{
    far_timer_cancel(&l->retry);
    l->delay_us = 0;
    enter(l, FAR_LINK_DOWN, reason);
    each_remote(l, far_remote_link_down);
}

static int on_up(struct far_conn *conn, struct far_error *error)
{
    struct far_link *l = of_conn(conn);

    (void)error;
    l->reconnects++;
    enter(l, FAR_LINK_UP, "");
    l->up_us = far_now_us();
    each_remote(l, far_remote_link_up);
    return 0;
}

static int on_frame(struct far_conn *conn, const struct far_wire_frame *frame,
                    struct far_error *error)
{
    struct far_link *l = of_conn(conn);
    uint32_t handle = frame->header.handle;

    if (frame->header.type == FAR_WIRE_NOTIFY) {
        far_notify_take(l->context->notifier, l, frame);
        return 0;
    }
    if (handle && handle < l->remotes_room && l->remotes[handle])
        return far_remote_frame(l->remotes[handle], frame, error);
    return 0; /* of an attachment that was given up meanwhile */
}

static void on_room(struct far_conn *conn)
{
    each_remote(of_conn(conn), far_remote_room);
}

static void on_down(struct far_conn *conn, int code, const char *reason)
{
    struct far_link *l = of_conn(conn);

    l->conn = NULL;
    far_notify_link_down(l->context->notifier, l);
    enter(l, FAR_LINK_DOWN, reason);
    far_conn_free(conn, NULL);
    retry_later(l, code);
    each_remote(l, far_remote_link_down);
}

static const struct far_conn_ops link_ops = {
    .up = on_up,
    .frame = on_frame,
    .room = on_room,
    .down = on_down,
};

static void connect_to(struct far_link *l,
                       const struct sockaddr_storage *address, socklen_t bytes)
{
    struct far_error error = { 0 };
    struct far_wire_hello me = l->context->me;

    memcpy(me.link, l->id, sizeof(me.link));
    far_conn_address_text(l->address, sizeof(l->address),
                          (const struct sockaddr *)address);
    l->conn = far_conn_connect(l->context->loop, &link_ops, l, &l->traffic, &me,
                               l->name, l->by_certificate ? NULL : &l->key,
                               l->context->trust,
                               (const struct sockaddr *)address, bytes, &error);
    if (!l->conn) {
        enter(l, FAR_LINK_DOWN, error.text);
        retry_later(l, error.code);
        return;
    }
    enter(l, FAR_LINK_CONNECTING, l->reason); /* until there is a new one */
}

static void on_resolved(struct far_resolver_query *query,
                        const struct sockaddr_storage *addresses,
                        unsigned count, const char *error)
{
    struct far_link *l =
        (struct far_link *)((char *)query - offsetof(struct far_link, query));
    const struct far_endpoint *what =
        &l->addresses[(l->attempt - 1) % l->address_count];
    const struct sockaddr_storage *address;

    if (!count) {
        char reason[FAR_WIRE_TEXT_BYTES];

        snprintf(reason, sizeof(reason), "%.150s: %.60s", what->host, error);
        enter(l, FAR_LINK_DOWN, reason);
        retry_later(l, -EHOSTUNREACH);
        return;
    }
    address = &addresses[(l->attempt - 1) / l->address_count % count];
    connect_to(l, address,
               address->ss_family == AF_INET6
                   ? (socklen_t)sizeof(struct sockaddr_in6)
                   : (socklen_t)sizeof(struct sockaddr_in));
}

static bool has_proof(const struct far_link *l)
{
    return l->key.bytes || l->by_certificate;
}

static void try_now(struct far_link *l)
{
    const struct far_endpoint *what;
    struct sockaddr_storage address;
    socklen_t bytes;
    int rc;

    if (l->conn || !l->configured || l->state == FAR_LINK_STOPPED ||
        !l->address_count || !has_proof(l))
        return;
    what = &l->addresses[l->attempt++ % l->address_count];
    if (far_endpoint_numeric(what, &address, &bytes)) {
        connect_to(l, &address, bytes);
        return;
    }
    if (!l->context->resolver) {
        give_up(l, "names are not resolved here: use a numeric address");
        return;
    }
    snprintf(l->address, sizeof(l->address), "%.50s:%u", what->host,
             what->port);
    rc = far_resolver_ask(l->context->resolver, &l->query, what);
    if (rc) {
        enter(l, FAR_LINK_DOWN, "the helper that resolves names is busy");
        retry_later(l, rc);
        return;
    }
    enter(l, FAR_LINK_CONNECTING, l->reason);
}

static void on_retry(struct far_timer *timer)
{
    try_now(
        (struct far_link *)((char *)timer - offsetof(struct far_link, retry)));
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

    if (!l)
        return NULL;
    l->context = context;
    snprintf(l->name, sizeof(l->name), "%s", name);
    far_random_bytes(l->id, sizeof(l->id));
    far_timer_init(&l->retry, context->loop, on_retry);
    far_timer_init(&l->acks, context->loop, on_acks);
    l->query.done = on_resolved;
    return l;
}

static void hang_up(struct far_link *l, const char *reason)
{
    far_timer_cancel(&l->retry);
    if (l->context->resolver)
        far_resolver_cancel(l->context->resolver, &l->query);
    far_conn_free(l->conn, reason);
    l->conn = NULL;
    far_notify_link_down(l->context->notifier, l);
}

void far_link_free(struct far_link *l)
{
    hang_up(l, "farside-netproxy ends");
    far_timer_cancel(&l->acks);
    far_defer_cancel(l->context->loop, &l->prompt);
    free(l->remotes);
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
    return read_proof(l, s, key, by_certificate, error);
}

void far_link_review(struct far_link *l, int64_t now_s)
{
    struct far_error error = { 0 };

    if (l->conn && l->conn->state == FAR_CONN_UP &&
        far_tls_judge(&l->conn->tls, l->context->trust, now_s, &error))
        far_conn_fail(l->conn, -EKEYREVOKED, error.text);
}

void far_link_configure(struct far_link *l, const struct far_conf_section *s)
{
    struct far_endpoint addresses[FAR_LINK_ADDRESSES_MAX] = { 0 };
    struct far_key key = { 0 };
    struct far_error error = { 0 };
    unsigned count = 0;
    bool same, by_certificate = false;

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
        l->address[0] = 0;
        hang_up(l, "the link's configuration has a fault");
        if (l->state != FAR_LINK_STOPPED)
            give_up(l, error.text);
        return;
    }
    same = count == l->address_count &&
           !memcmp(addresses, l->addresses, sizeof(addresses)) &&
           !memcmp(&key, &l->key, sizeof(key)) &&
           by_certificate == l->by_certificate;
    memcpy(l->addresses, addresses, sizeof(addresses));
    l->address_count = count;
    l->key = key;
    l->by_certificate = by_certificate;
    explicit_bzero(&key, sizeof(key));
    if (l->state == FAR_LINK_STOPPED || (same && l->state == FAR_LINK_UP))
        return;
    l->delay_us = 0;
    l->attempt = 0;
    if (l->conn) {
        hang_up(l, "the link's configuration has changed");
        enter(l, FAR_LINK_DOWN, "the link's configuration has changed");
        each_remote(l, far_remote_link_down);
    }
    try_now(l);
}

void far_link_stop(struct far_link *l)
{
    hang_up(l, "the link was stopped by a person");
    enter(l, FAR_LINK_STOPPED,
          "stopped by a person (`farside link start` starts it)");
    each_remote(l, far_remote_link_down);
}

void far_link_start(struct far_link *l)
{
    if (l->state != FAR_LINK_STOPPED)
        return;
    enter(l, FAR_LINK_DOWN, "was just started");
    l->delay_us = 0;
    if (!l->configured || !has_proof(l))
        give_up(l, "its configuration has a fault: see `farside check`, then "
                   "reload");
    else
        try_now(l);
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
    if (room > FAR_CONN_HANDLES_MAX)
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
    return l->state == FAR_LINK_UP && l->conn;
}
