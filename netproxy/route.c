/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A route's life (netproxy/route.h). In order: answers of our own, asking, the
 * links' news, status.
 *
 * A route keeps its client's PREPARE, and asks again with it when the link to
 * the next platform comes back: the client hears "refused" meanwhile, activates
 * again when it hears otherwise, and so sends and gets again what was lost with
 * the link. What belongs to an activation (ops, pieces, acks) passes only after
 * an ACTIVATE has passed over this connection: the owner sees no tail of
 * what it had no beginning of.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/uuid.h"
#include "netproxy/route-inner.h"
#include "netproxy/server.h"

void far_router_init(struct far_router *router, struct far_context *context,
                     struct far_controller *controller,
                     struct far_link *(*link)(void *arg, const char *platform),
                     void *arg)
{
    memset(router, 0, sizeof(*router));
    router->context = context;
    router->controller = controller;
    router->link = link;
    router->arg = arg;
    for (unsigned i = 0; i < FAR_ROUTE_WAITS; i++)
        router->waiting[i].end = &router->waiting[i].first;
}

/* Answers of our own. */

static const char *me_of(const struct far_route *r)
{
    return r->router->context->me.platform;
}

void far_route_answer(struct far_route *r, uint8_t type, const void *fixed,
                      size_t bytes, const char *text)
{
    struct far_wire_header header = { .type = type,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = r->client_handle };
    if (r->conn)
        far_conn_send(r->conn, &header, fixed, bytes, text);
}

/* Of its ACTIVATEs that nobody will answer. */
static void answer_activates(struct far_route *r, int status,
                             const char *reason)
{
    struct far_wire_activated body = { .status = status };

    far_route_clear(r);
    for (; r->unanswered; r->unanswered--)
        far_route_answer(r, FAR_WIRE_ACTIVATED, &body, sizeof(body), reason);
    r->live = false;
}

/* The client's ACTIVATEs that nobody will answer, and then why. */
static int refuse(struct far_route *r, int status, const char *reason)
{
    struct far_wire_prepared prepared = { .status = status };

    answer_activates(r, status, reason);
    if (r->told && r->status == status && !strcmp(r->reason, reason))
        return status;
    r->told = true;
    r->status = status;
    snprintf(r->reason, sizeof(r->reason), "%s", reason);
    far_route_answer(r, FAR_WIRE_PREPARED, &prepared, sizeof(prepared), reason);
    return status;
}

int far_route_refuse(struct far_route *r, const struct far_error *error)
{
    if (r->peer)
        far_log_limited(r->router->context->log, &r->peer->bucket,
                        FAR_LOG_WARNING,
                        "%s asks for %s, to pass on: refused: %s", r->from,
                        r->device, error->text);
    r->router->refused++;
    return refuse(r, error->code, error->text);
}

/* Asking. */

static void asked_as(const struct far_route *r, const struct far_wire_frame *f,
                     struct far_local_who *who)
{
    *who = (struct far_local_who){ 0 };
    memcpy(who->guest_uuid, f->prepare.guest_uuid, sizeof(who->guest_uuid));
    memcpy(who->guest_name, f->prepare.guest_name, sizeof(who->guest_name));
    memcpy(who->device, r->device, sizeof(who->device));
}

/* May it go on, and over which link? 0, or why not. */
static int judge(struct far_route *r, const struct far_wire_frame *f,
                 struct far_error *error)
{
    const struct far_controller *c = r->router->controller;
    char text[FAR_WAY_TEXT_BYTES];
    struct far_local_who who;
    struct far_link *link;
    int rc;
    bool back;

    asked_as(r, f, &who);
    rc = far_way_read(&r->way, c->conf, me_of(r), r->peer->platform, f, error);
    if (!rc)
        rc = far_controller_may_guest(c, r->way.origin, r->device, &who, error);
    if (rc)
        return rc;
    if (!far_forwarded(c->conf, r->device, &r->to))
        return far_error(error, -ENOENT,
                         "[export %s] of %s forwards nothing any more",
                         r->device, me_of(r));
    far_way_text(&r->way, me_of(r), text, sizeof(text));
    back = !strcmp(r->to.platform, me_of(r)) ||
           !strcmp(r->to.platform, r->way.origin);
    for (unsigned i = 0; i < r->way.count; i++)
        back |= !strcmp(r->to.platform, r->way.visited[i]);
    if (back)
        return far_error(error, -ELOOP,
                         "the request would go round in a circle: %s -> %s",
                         text, r->to.platform);
    if (!f->header.hops || r->way.count >= FAR_WIRE_HOPS)
        return far_error(error, -ELOOP,
                         "the request may not be passed on any further: %s",
                         text);
    link = r->router->link(r->router->arg, r->to.platform);
    if (!link || !link->configured)
        return far_error(error, -ENOENT,
                         "%s forwards %s to %s, which it does not know: there "
                         "is no [server %s] in its farside.conf",
                         me_of(r), r->device, r->to.platform, r->to.platform);
    r->link = link;
    return 0;
}

int far_route_may_activate(const struct far_route *r, struct far_error *error)
{
    struct far_wire_frame f;
    struct far_local_who who;
    int rc = far_wire_decode(&f, r->prepare, r->prepare_bytes, error);

    if (rc)
        return rc;
    asked_as(r, &f, &who);
    return far_controller_may_activate(r->router->controller, r->way.origin,
                                       r->device, &who, error);
}

static void give_handle(struct far_route *r)
{
    if (r->owner_handle)
        r->link->routes[r->owner_handle - FAR_ROUTE_HANDLE_FIRST] = NULL;
    r->owner_handle = 0;
}

/* Of that client over that link; *oldest: the one that was made first. */
static unsigned count_of(const struct far_router *router, const char *client,
                         const struct far_link *link, bool parked,
                         struct far_route **oldest)
{
    struct far_route *r;
    unsigned n = 0;

    for (r = router->routes; r; r = r->next) {
        if (r->link != link || !r->owner_handle || parked != !r->peer ||
            strcmp(r->from, client))
            continue;
        if (oldest)
            *oldest = r;
        n++;
    }
    return n;
}

static int take_handle(struct far_route *r, struct far_error *error)
{
    struct far_link *l = r->link;

    if (r->owner_handle)
        return 0;
    if (count_of(r->router, r->from, l, false, NULL) >= FAR_ROUTES_PEER_MAX)
        return far_error(error, -ENOSPC,
                         "%s passes on %u requests of %s to %s already: no "
                         "more of one platform",
                         me_of(r), FAR_ROUTES_PEER_MAX, r->from, l->name);
    if (!l->routes)
        l->routes = calloc(FAR_ROUTES_MAX, sizeof(struct far_route *));
    if (!l->routes)
        return far_error(error, -ENOMEM, "out of memory");
    /* The one that was free the longest: what is still under way to it finds
     * nobody. */
    for (unsigned i = 0; i < FAR_ROUTES_MAX; i++) {
        unsigned at = l->route_next++ % FAR_ROUTES_MAX;

        if (!l->routes[at]) {
            l->routes[at] = r;
            r->owner_handle = FAR_ROUTE_HANDLE_FIRST + at;
            return 0;
        }
    }
    return far_error(error, -ENOSPC, "%s passes on too much to %s already",
                     me_of(r), l->name);
}

/* The client's options but for the way, which is ours to write. */
static size_t copy_options(uint8_t *out, size_t room,
                           const struct far_wire_frame *f, bool fresh, size_t n)
{
    const uint8_t *at = f->options, *end = at ? at + f->options_bytes : NULL;

    while (n && end - at >= 8) {
        struct far_wire_option option;
        size_t whole;

        memcpy(&option, at, sizeof(option));
        whole = FAR_WIRE_OPTION_ROOM(option.bytes);
        switch (option.type & ~FAR_WIRE_OPTION_MUST) {
        case FAR_WIRE_OPTION_PAD:
        case FAR_WIRE_OPTION_ORIGIN:
        case FAR_WIRE_OPTION_VISITED:
            break;
        case FAR_WIRE_OPTION_SIGNATURE: /* it is good once */
            if (!fresh)
                break;
            /* fallthrough */
        default:
            n = far_wire_add_option(out, room, option.type, at + sizeof(option),
                                    option.bytes);
        }
        at += whole;
    }
    return n;
}

static int ask(struct far_route *r, const struct far_wire_frame *f,
               struct far_error *error)
{
    struct far_wire_header header = { .type = FAR_WIRE_PREPARE,
                                      .flags = f->header.flags,
                                      .hops = (uint8_t)(f->header.hops - 1),
                                      .handle = r->owner_handle };
    struct far_wire_prepare body = f->prepare;
    uint8_t out[FAR_ROUTE_PREPARE_BYTES];
    struct far_way way = r->way;
    size_t n;

    memset(body.device, 0, sizeof(body.device));
    snprintf(body.device, sizeof(body.device), "%s", r->to.device);
    memset(way.visited[way.count], 0, FAR_NAME_BYTES);
    snprintf(way.visited[way.count++], FAR_NAME_BYTES, "%s", me_of(r));
    n = far_wire_encode(out, sizeof(out), &header, &body, sizeof(body), NULL);
    n = copy_options(out, sizeof(out), f, r->fresh, n);
    n = n ? far_wire_add_option(out, sizeof(out), FAR_WIRE_OPTION_ORIGIN,
                                way.origin, FAR_NAME_BYTES)
          : 0;
    n = n ? far_wire_add_option(out, sizeof(out), FAR_WIRE_OPTION_VISITED,
                                way.visited, way.count * FAR_NAME_BYTES)
          : 0;
    if (!n)
        return far_error(error, -EMSGSIZE, "the request is too long");
    memcpy(&header, out, sizeof(header));
    r->asked = true;
    r->live = false;
    if (far_conn_forward(r->link->control, &header, out + FAR_WIRE_HEADER_BYTES,
                         n - FAR_WIRE_HEADER_BYTES, NULL, 0) == -EMSGSIZE)
        return far_error(error, -EMSGSIZE, "the request is too long");
    return 0;
}

/* From the PREPARE that is kept: asks, or refuses. By a new handle: what is
 * still under way to the old one finds nobody, and at the owner the new one
 * takes its place. */
void far_route_begin(struct far_route *r)
{
    struct far_error error = { 0 };
    struct far_wire_frame f;
    int rc = far_wire_decode(&f, r->prepare, r->prepare_bytes, &error);

    answer_activates(r, -EAGAIN, "it is asked anew");
    give_handle(r);
    r->asked = false;
    if (!rc)
        rc = judge(r, &f, &error);
    if (!rc)
        rc = take_handle(r, &error);
    if (!rc && !far_link_is_up(r->link))
        rc = far_error(&error, -ENOTCONN,
                       "%s waits for its link to %s, which is down: %.120s",
                       me_of(r), r->link->name,
                       r->link->reason[0] ? r->link->reason : "connecting");
    if (!rc)
        rc = ask(r, &f, &error);
    r->fresh = false;
    if (rc)
        far_route_refuse(r, &error);
}

void far_route_drop(struct far_route *r)
{
    struct far_route **at = &r->router->routes;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    far_timer_cancel(&r->expiry);
    far_route_clear(r);
    give_handle(r);
    free(r->prepare);
    free(r);
}

static void tell_detached(struct far_route *r)
{
    struct far_wire_header header = { .type = FAR_WIRE_DETACH,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = r->owner_handle };

    if (r->asked && r->link && far_link_is_up(r->link))
        far_conn_send(r->link->control, &header, NULL, 0, NULL);
}

void far_route_unseat(struct far_route *r)
{
    give_handle(r);
    r->asked = false;
}

/* It is asked anew, if at all, as by one that comes for the first time. */
void far_route_leave_owner(struct far_route *r)
{
    tell_detached(r);
    far_route_unseat(r);
}

static void on_expiry(struct far_timer *timer)
{
    struct far_route *r =
        (struct far_route *)((char *)timer -
                             offsetof(struct far_route, expiry));

    tell_detached(r);
    far_route_drop(r);
}

struct far_route *far_route_new(struct far_router *router,
                                struct far_peer *peer, struct far_conn *conn,
                                const struct far_wire_frame *f)
{
    struct far_route *r;

    r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->prepare_bytes = f->header.bytes;
    r->prepare = malloc(r->prepare_bytes);
    if (!r->prepare) {
        free(r);
        return NULL;
    }
    memcpy(r->prepare, f->raw, r->prepare_bytes);
    r->router = router;
    r->peer = peer;
    far_flow_init(&r->flow, &peer->flow);
    r->conn = conn;
    r->fresh = true;
    snprintf(r->from, sizeof(r->from), "%s", peer->platform);
    r->client_handle = f->header.handle;
    snprintf(r->device, sizeof(r->device), "%s", f->prepare.device);
    if (f->prepare.guest_name[0])
        snprintf(r->guest, sizeof(r->guest), "%s", f->prepare.guest_name);
    else
        far_uuid_format(r->guest, f->prepare.guest_uuid);
    far_timer_init(&r->expiry, router->context->loop, on_expiry);
    r->next = router->routes;
    router->routes = r;
    far_route_begin(r);
    return r;
}

void far_route_end(struct far_route *r, bool detached)
{
    if (detached)
        tell_detached(r);
    far_route_clear(r);
    r->peer = NULL;
    r->conn = NULL;
    r->live = false;
    /* The owner's session has a user until it is told otherwise, or another one
     * comes in its place: a client that comes back does so by a new handle. */
    if (detached || !r->asked) {
        far_route_drop(r);
        return;
    }
    far_timer_set(&r->expiry, far_now_us() + FAR_ROUTE_KEEP_US);
    if (count_of(r->router, r->from, r->link, true, &r) >
        FAR_ROUTES_PARKED_MAX) {
        tell_detached(r);
        far_route_drop(r);
    }
}

void far_router_free(struct far_router *router)
{
    while (router->routes)
        far_route_drop(router->routes);
}

void far_router_review(struct far_router *router)
{
    struct far_route *r, *next;

    for (r = router->routes; r; r = next) {
        struct far_error error = { 0 };
        struct far_wire_frame f;
        struct far_link *before = r->link;
        struct far_address to = r->to;
        int rc;

        next = r->next;
        if (!r->peer)
            continue;
        rc = far_wire_decode(&f, r->prepare, r->prepare_bytes, &error);
        if (!rc)
            rc = judge(r, &f, &error);
        if (r->asked &&
            (rc || r->link != before || strcmp(to.device, r->to.device))) {
            struct far_link *now = r->link;

            r->link = before;
            far_route_leave_owner(r);
            r->link = now;
        }
        if (rc)
            far_route_refuse(r, &error);
        else if (!r->asked)
            far_route_begin(r);
    }
}

/* The links' news. */

void far_routes_link_up(struct far_link *l)
{
    struct far_router *router = l->context->router;
    struct far_route *r;

    for (r = router->routes; r; r = r->next) {
        if (r->peer && r->link == l)
            far_route_begin(r);
    }
}

/* What was under way on it is lost, on our side or the other: it is asked anew,
 * activated anew, and what has no answer comes again. */
void far_routes_lane_down(struct far_link *l, unsigned lane)
{
    struct far_router *router = l->context->router;
    struct far_route *r;

    if (!lane || !far_link_is_up(l))
        return; /* of the link, far_routes_link_up() or down() tells */
    for (r = router->routes; r; r = r->next) {
        if (r->peer && r->link == l && r->live)
            far_route_begin(r);
    }
}

void far_route_lane_down(struct far_route *r, const struct far_conn *conn)
{
    if (r->conn == conn)
        r->conn = NULL; /* the client prepares again elsewhere */
    else if (r->live)
        far_route_begin(r);
}

void far_routes_link_down(struct far_link *l)
{
    struct far_router *router = l->context->router;
    struct far_route *r, *next;

    for (r = router->routes; r; r = next) {
        struct far_error error = { 0 };

        next = r->next;
        if (r->link != l)
            continue;
        r->asked = false;
        if (!r->peer) { /* the owner leaves it by itself */
            far_route_drop(r);
            continue;
        }
        far_error(&error, -ENOTCONN,
                  "%s waits for its link to %s, which is down: %.120s",
                  me_of(r), l->name, l->reason[0] ? l->reason : "connecting");
        refuse(r, error.code, error.text);
    }
}

json_t *far_router_status(const struct far_router *router)
{
    json_t *all = json_array();
    const struct far_route *r;
    char to[2 * FAR_NAME_BYTES];

    for (r = router->routes; r; r = r->next) {
        snprintf(to, sizeof(to), "%s/%s", r->to.platform, r->to.device);
        json_array_append_new(
            all,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "origin",
                      r->way.origin, "guest", r->guest, "from", r->from,
                      "device", r->device, "to", to, "state",
                      !r->peer    ? "waiting for its client"
                      : r->status ? "refused"
                      : !r->told  ? "asking"
                      : r->live   ? "active"
                                  : "prepared",
                      "waiting_bytes", (json_int_t)far_buf_used(&r->flow.down),
                      "owner_waiting_bytes",
                      (json_int_t)far_buf_used(&r->flow.late), "reason",
                      r->reason[0] ? json_string(r->reason) : json_null()));
    }
    return all;
}
