/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Routes (netproxy/route.h). In order: ways, answers of our own, asking, what
 * passes, the links' news, status.
 *
 * A route keeps its client's PREPARE, and asks again with it when the link to
 * the next platform comes back: the client hears "refused" meanwhile, activates
 * again when it hears otherwise, and so sends and gets again what was lost with
 * the link. What belongs to an activation (ops, pieces, acks) passes only after
 * an ACTIVATE has passed over this connection: the owner sees no tail of
 * what it had no beginning of.
 *
 * The link to the owner is read whatever a client does: what it does not take
 * waits in its routes (netproxy/flow.h), and one for which too much waits is
 * asked anew when there is room.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/input.h"
#include "core/uuid.h"
#include "netproxy/route.h"
#include "netproxy/server.h"

struct far_route {
    struct far_router *router;
    struct far_peer *peer;     /* NULL: parked, its client is lost */
    char from[FAR_NAME_BYTES]; /* that client */
    struct far_conn *conn; /* of its last PREPARE or ACTIVATE; NULL: that one is
                              gone, and it will come by another */
    uint32_t client_handle;
    struct far_link *link; /* NULL: refused before it got one */
    uint32_t owner_handle;
    struct far_way way;
    char device[FAR_NAME_BYTES]; /* as the client calls it */
    char guest[FAR_NAME_BYTES];  /* for status */
    struct far_address to;
    uint8_t *prepare; /* the client's frame */
    size_t prepare_bytes;
    bool fresh;           /* it was never asked: its signature is still good */
    bool asked;           /* over this connection of the link */
    bool live;            /* an ACTIVATE has passed since */
    unsigned unanswered;  /* ACTIVATEs */
    struct far_flow flow; /* while it has a peer */
    bool waits;           /* in the router's list */
    bool slow;            /* too much waited: asked anew when there is room */
    struct far_route *next_waiting;
    bool told;
    int status; /* that the client was told last */
    char reason[FAR_WIRE_TEXT_BYTES];
    struct far_timer expiry;
    struct far_route *next;
};

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
    router->waiting_end = &router->waiting;
}

/* Ways. */

bool far_forwarded(const struct far_conf *conf, const char *device,
                   struct far_address *to)
{
    const char *text = far_conf_string(far_conf_section(conf, "export", device),
                                       "forward", NULL);

    return text && !far_address_parse(to, text, NULL) && to->platform[0] &&
           !to->standby[0];
}

int far_way_allowed(const struct far_conf *conf, const char *relay,
                    const char *origin, struct far_error *error)
{
    if (far_conf_lists(far_conf_section(conf, "relay", relay), "may-carry",
                       origin))
        return 0;
    return far_error(error, -EACCES,
                     "%s may not speak for %s here ([relay %s] may-carry = %s "
                     "is missing)",
                     relay, origin, relay, origin);
}

/* "atlas -> borealis -> cygnus" */
static const char *way_text(const struct far_way *way, const char *here,
                            char *out, size_t bytes)
{
    size_t n = (size_t)snprintf(out, bytes, "%s", way->origin);

    for (unsigned i = 0; i < way->count && n < bytes; i++)
        n += (size_t)snprintf(out + n, bytes - n, " -> %s", way->visited[i]);
    if (n < bytes)
        snprintf(out + n, bytes - n, " -> %s", here);
    return out;
}

static bool take_name(char out[FAR_NAME_BYTES], const uint8_t *in)
{
    memcpy(out, in, FAR_NAME_BYTES);
    return !out[FAR_NAME_BYTES - 1] && far_name_valid(out);
}

static int decode_way(struct far_way *way, const char *peer,
                      const struct far_wire_frame *f, struct far_error *error)
{
    size_t origin_bytes, bytes;
    const uint8_t *origin =
        far_wire_option(f, FAR_WIRE_OPTION_ORIGIN, &origin_bytes);
    const uint8_t *visited =
        far_wire_option(f, FAR_WIRE_OPTION_VISITED, &bytes);

    memset(way, 0, sizeof(*way));
    if (bytes > FAR_WIRE_HOPS * FAR_NAME_BYTES)
        return far_error(error, -ELOOP,
                         "the request was passed on more than %d times",
                         FAR_WIRE_HOPS);
    if (bytes % FAR_NAME_BYTES || (origin && (origin_bytes != FAR_NAME_BYTES ||
                                              !take_name(way->origin, origin))))
        return far_error(error, -EPROTO, "a request whose way can't be read");
    for (; way->count < bytes / FAR_NAME_BYTES; way->count++) {
        if (!take_name(way->visited[way->count],
                       visited + way->count * FAR_NAME_BYTES))
            return far_error(error, -EPROTO,
                             "a request whose way can't be read");
    }
    if (!origin)
        snprintf(way->origin, sizeof(way->origin), "%s", peer);
    return 0;
}

int far_way_read(struct far_way *way, const struct far_conf *conf,
                 const char *me, const char *peer,
                 const struct far_wire_frame *f, struct far_error *error)
{
    char text[(FAR_WIRE_HOPS + 2) * (FAR_NAME_BYTES + 4)];
    bool again;
    int rc = decode_way(way, peer, f, error);

    if (rc)
        return rc;
    /* Who passes a request on stands last in the list: nobody hides. */
    if (strcmp(way->count ? way->visited[way->count - 1] : way->origin, peer))
        return far_error(error, -EPROTO,
                         "%s sends a request of %s, and does not say that it "
                         "passed it on",
                         peer, way->origin);
    again = !strcmp(way->origin, me);
    for (unsigned i = 0; i < way->count; i++) {
        again |= !strcmp(way->visited[i], me) ||
                 !strcmp(way->visited[i], way->origin);
        for (unsigned k = 0; k < i; k++)
            again |= !strcmp(way->visited[i], way->visited[k]);
    }
    if (again)
        return far_error(error, -ELOOP,
                         "the request goes round in a circle: %s",
                         way_text(way, me, text, sizeof(text)));
    if (!way->count)
        return 0;
    return far_way_allowed(conf, peer, way->origin, error);
}

/* Answers of our own. */

static void send_client(struct far_route *r, uint8_t type, const void *fixed,
                        size_t bytes, const char *text)
{
    struct far_wire_header header = { .type = type,
                                      .hops = FAR_WIRE_HOPS,
                                      .handle = r->client_handle };
    if (r->conn)
        far_conn_send(r->conn, &header, fixed, bytes, text);
}

static void wait_for_room(struct far_route *r)
{
    struct far_router *router = r->router;

    if (r->waits)
        return;
    r->waits = true;
    r->next_waiting = NULL;
    *router->waiting_end = r;
    router->waiting_end = &r->next_waiting;
}

static void wait_no_more(struct far_route *r)
{
    struct far_route **at = &r->router->waiting;

    if (!r->waits)
        return;
    while (*at != r)
        at = &(*at)->next_waiting;
    *at = r->next_waiting;
    if (!*at)
        r->router->waiting_end = at;
    r->waits = false;
}

static void ask_more(struct far_router *router, struct far_peer *peer);

/* What is under way, either way, is void. */
static void clear_flow(struct far_route *r)
{
    r->slow = false;
    wait_no_more(r);
    if (!r->peer)
        return;
    if (far_buf_used(&r->flow.down))
        r->told = false; /* it may not have heard what was said last */
    r->unanswered += far_flow_clear(&r->flow);
    ask_more(r->router, r->peer);
}

/* Of its ACTIVATEs that nobody will answer. */
static void answer_activates(struct far_route *r, int status,
                             const char *reason)
{
    struct far_wire_activated body = { .status = status };

    clear_flow(r);
    for (; r->unanswered; r->unanswered--)
        send_client(r, FAR_WIRE_ACTIVATED, &body, sizeof(body), reason);
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
    send_client(r, FAR_WIRE_PREPARED, &prepared, sizeof(prepared), reason);
    return status;
}

static int refuse_saying(struct far_route *r, const struct far_error *error)
{
    if (r->peer)
        far_log_limited(r->router->context->log, &r->peer->bucket,
                        FAR_LOG_WARNING, "%s asks for %s of %s: refused: %s",
                        r->way.origin, r->to.device, r->to.platform,
                        error->text);
    r->router->refused++;
    return refuse(r, error->code, error->text);
}

/* Asking. */

static const char *me_of(const struct far_route *r)
{
    return r->router->context->me.platform;
}

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
    char text[(FAR_WIRE_HOPS + 3) * (FAR_NAME_BYTES + 4)];
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
    way_text(&r->way, me_of(r), text, sizeof(text));
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

/* May its guest, by the name that it was asked with last, be served now? */
static int judge_activate(const struct far_route *r, struct far_error *error)
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
static void begin(struct far_route *r)
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
        refuse_saying(r, &error);
}

static void drop(struct far_route *r)
{
    struct far_route **at = &r->router->routes;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    far_timer_cancel(&r->expiry);
    clear_flow(r);
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

/* It is asked anew, if at all, as by one that comes for the first time. */
static void leave_owner(struct far_route *r)
{
    tell_detached(r);
    give_handle(r);
    r->asked = false;
}

static void on_expiry(struct far_timer *timer)
{
    struct far_route *r =
        (struct far_route *)((char *)timer -
                             offsetof(struct far_route, expiry));

    tell_detached(r);
    drop(r);
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
    begin(r);
    return r;
}

void far_route_end(struct far_route *r, bool detached)
{
    if (detached)
        tell_detached(r);
    clear_flow(r);
    r->peer = NULL;
    r->conn = NULL;
    r->live = false;
    /* The owner's session has a user until it is told otherwise, or another one
     * comes in its place: a client that comes back does so by a new handle. */
    if (detached || !r->asked) {
        drop(r);
        return;
    }
    far_timer_set(&r->expiry, far_now_us() + FAR_ROUTE_KEEP_US);
    if (count_of(r->router, r->from, r->link, true, &r) >
        FAR_ROUTES_PARKED_MAX) {
        tell_detached(r);
        drop(r);
    }
}

void far_router_free(struct far_router *router)
{
    while (router->routes)
        drop(router->routes);
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
            leave_owner(r);
            r->link = now;
        }
        if (rc)
            refuse_saying(r, &error);
        else if (!r->asked)
            begin(r);
    }
}

/* What passes. */

/* The one that is fed is full: no more is read from the one that feeds it. */
static void brake(struct far_conn *from, struct far_conn *to)
{
    if (far_conn_full(to))
        far_conn_pause(from, to);
}

/* The header and fixed part with which it goes on. 0, or -ELOOP with error. */
static int readdress(const struct far_conn *from, uint32_t handle,
                     const struct far_wire_frame *f,
                     struct far_wire_header *header,
                     uint8_t fixed[sizeof(f->fixed)], struct far_error *error)
{
    if (!f->header.hops)
        return far_error(error, -ELOOP,
                         "a frame that may not be passed on any further");
    *header = f->header;
    header->hops--;
    header->handle = handle;
    memcpy(fixed, f->fixed, far_wire_fixed_bytes(f->header.type));
    if (header->type == FAR_WIRE_INTERRUPT && f->op.opcode == FAR_INPUT_EVENT) {
        struct far_op op = f->op;
        struct far_input_event e; /* by our clock, as our frames are */
        int64_t us;

        memcpy(&e, op.args, sizeof(e));
        us = (int64_t)e.time_us + far_conn_offset_ns(from) / 1000;
        if (e.time_us)
            e.time_us = us > 0 ? (uint64_t)us : 1;
        memcpy(op.args, &e, sizeof(e));
        memcpy(fixed, &op, sizeof(op));
    }
    return 0;
}

/* To be passed on behind the fixed part: payload and options. */
static size_t rest_of(const struct far_wire_frame *f, const uint8_t **rest)
{
    size_t before =
        FAR_WIRE_HEADER_BYTES + far_wire_fixed_bytes(f->header.type);

    *rest = f->raw + before;
    return f->header.bytes - before;
}

static void send_on(struct far_route *r, struct far_conn *to,
                    struct far_wire_header *header, const uint8_t *fixed,
                    size_t fixed_bytes, const uint8_t *rest, size_t rest_bytes)
{
    size_t bytes = FAR_WIRE_HEADER_BYTES + fixed_bytes + rest_bytes;
    struct far_error error = { 0 };

    if (far_conn_forward(to, header, fixed, fixed_bytes, rest, rest_bytes) ==
        -EMSGSIZE) {
        far_error(&error, -EMSGSIZE,
                  "a frame of %zu bytes, which is too long for %s", bytes,
                  to->platform);
        refuse_saying(r, &error);
        return;
    }
    r->router->passed++;
}

static bool is_bulk(uint8_t type)
{
    return type == FAR_WIRE_OP || type == FAR_WIRE_DATA ||
           type == FAR_WIRE_FEEDBACK;
}

/* An op goes on by the lane that it came by, its answer comes back so; all else
 * goes where the attachment is. */
static struct far_conn *to_owner(const struct far_route *r, uint8_t lane,
                                 uint8_t type)
{
    const struct far_lane *same = &r->link->lanes[lane];

    return is_bulk(type) && far_lane_is_up(same) ? same->conn
                                                 : r->link->control;
}

static struct far_conn *to_client(const struct far_route *r, uint8_t lane,
                                  uint8_t type)
{
    struct far_conn *same = r->peer ? r->peer->lanes[lane] : NULL;

    return is_bulk(type) && same ? same : r->conn;
}

/* Ops that may go on, as their client has taken answers. */
static void ask_more(struct far_router *router, struct far_peer *peer)
{
    struct far_route *r;

    for (r = router->routes; r && peer->flow.holding; r = r->next) {
        while (r->peer == peer && r->live && far_buf_used(&r->flow.up) &&
               far_link_is_up(r->link)) {
            struct far_wire_header header;
            const uint8_t *body;
            struct far_op op;

            far_flow_first(&r->flow.up, &header, &body);
            memcpy(&op, body, sizeof(op));
            if (far_flow_ask(&r->flow, &op))
                break;
            send_on(r, to_owner(r, header.lane, header.type), &header, body,
                    header.bytes - FAR_WIRE_HEADER_BYTES, NULL, 0);
            if (far_buf_used(&r->flow.up)) /* it was not refused */
                far_flow_next(&r->flow, &r->flow.up);
        }
    }
}

/* It has left for the client. */
static void taken(struct far_route *r, uint8_t type, const uint8_t *fixed)
{
    struct far_op op;

    if (type != FAR_WIRE_FEEDBACK)
        return;
    memcpy(&op, fixed, sizeof(op));
    far_flow_answered(&r->flow, &op);
    ask_more(r->router, r->peer);
}

/* Its client has had its chance: it activates anew when it reads again, and
 * gets then what is lost now. */
static void drop_slow(struct far_route *r)
{
    struct far_error error;

    far_error(&error, -ENOBUFS,
              "%s reads too slowly what it wants of %s: it is asked again when "
              "that has gone out",
              r->from, r->to.platform);
    give_handle(r);
    r->asked = false;
    refuse_saying(r, &error);
    r->slow = true;
    wait_for_room(r);
    if (r->conn)
        far_conn_want_room(r->conn);
}

/* To the client, or into its queue: who feeds it is not held up. */
static int deliver(struct far_route *r, const struct far_conn *from,
                   const struct far_wire_frame *f, struct far_error *error)
{
    struct far_conn *to = to_client(r, from->mine.lane, f->header.type);
    size_t fixed_bytes = far_wire_fixed_bytes(f->header.type), rest_bytes;
    uint8_t fixed[sizeof(f->fixed)];
    struct far_wire_header header;
    const uint8_t *rest;
    int rc;

    if (!to)
        return 0;
    rc = readdress(from, r->client_handle, f, &header, fixed, error);
    if (rc)
        return rc;
    rest_bytes = rest_of(f, &rest);
    if (!far_buf_used(&r->flow.down) && !far_conn_full(to)) {
        send_on(r, to, &header, fixed, fixed_bytes, rest, rest_bytes);
        taken(r, header.type, fixed);
        return 0;
    }
    header.lane = from->mine.lane;
    if (far_flow_keep(&r->flow, &r->flow.down, &header, fixed, fixed_bytes,
                      rest, rest_bytes)) {
        drop_slow(r);
        return 0;
    }
    wait_for_room(r);
    far_conn_want_room(to);
    return 0;
}

#define QUANTUM_BYTES 32768 /* of one route, then it is another's turn */

/* Has anything gone? */
static bool deliver_more(struct far_route *r)
{
    size_t sent = 0;

    while (far_buf_used(&r->flow.down) && sent < QUANTUM_BYTES) {
        struct far_wire_header header;
        struct far_op op = { 0 };
        const uint8_t *body;
        struct far_conn *to;
        uint8_t type;

        far_flow_first(&r->flow.down, &header, &body);
        type = header.type;
        to = to_client(r, header.lane, type);
        if (to && far_conn_full(to)) {
            far_conn_want_room(to);
            break;
        }
        sent += header.bytes;
        if (type == FAR_WIRE_FEEDBACK)
            memcpy(&op, body, sizeof(op));
        if (to)
            send_on(r, to, &header, body, header.bytes - FAR_WIRE_HEADER_BYTES,
                    NULL, 0);
        if (!far_buf_used(&r->flow.down))
            break; /* it was refused, and all of it is void */
        far_flow_next(&r->flow, &r->flow.down);
        taken(r, type, (const uint8_t *)&op);
    }
    return sent > 0;
}

void far_routes_room(struct far_router *router, struct far_peer *peer)
{
    bool progress = router->waiting != NULL;

    while (progress) {
        struct far_route *r;
        unsigned n = 0;

        progress = false;
        for (r = router->waiting; r; r = r->next_waiting)
            n++;
        for (; n && (r = router->waiting); n--) {
            wait_no_more(r);
            if (r->peer != peer) {
                wait_for_room(r);
            } else if (r->slow) {
                if (r->conn && !far_conn_full(r->conn))
                    begin(r);
                else if (r->conn)
                    wait_for_room(r);
            } else {
                progress |= deliver_more(r);
                if (far_buf_used(&r->flow.down))
                    wait_for_room(r);
            }
        }
    }
}

bool far_route_takes(const struct far_wire_frame *f)
{
    switch (f->header.type) {
    case FAR_WIRE_ACTIVATE:
    case FAR_WIRE_OP:
    case FAR_WIRE_DATA:
    case FAR_WIRE_ACK:
    case FAR_WIRE_CANCEL:
    case FAR_WIRE_ERROR:
        return true;
    default:
        return false;
    }
}

int far_route_from_client(struct far_route *r, struct far_conn *conn,
                          const struct far_wire_frame *f,
                          struct far_error *error)
{
    uint8_t fixed[sizeof(f->fixed)];
    struct far_wire_header header;
    const uint8_t *rest;
    size_t rest_bytes;
    struct far_conn *to;
    int rc;

    if (!r->asked || !far_link_is_up(r->link)) {
        struct far_wire_activated body = { .status = r->status ? r->status
                                                               : -ENOTCONN };

        if (f->header.type == FAR_WIRE_ACTIVATE)
            send_client(r, FAR_WIRE_ACTIVATED, &body, sizeof(body), r->reason);
        return 0;
    }
    if (f->header.type == FAR_WIRE_ACTIVATE) {
        struct far_error why = { 0 };

        r->conn = conn;
        r->unanswered++;
        if (judge_activate(r, &why)) {
            leave_owner(r);
            refuse_saying(r, &why);
            return 0;
        }
        r->live = true;
        while (far_buf_used(&r->flow.up)) /* they come again */
            far_flow_next(&r->flow, &r->flow.up);
    } else if (!r->live) {
        return 0;
    }
    rc = readdress(conn, r->owner_handle, f, &header, fixed, error);
    if (rc)
        return rc;
    rest_bytes = rest_of(f, &rest);
    if (f->header.type == FAR_WIRE_OP && far_flow_ask(&r->flow, &f->op)) {
        header.lane = conn->theirs.lane;
        rc = far_flow_keep(&r->flow, &r->flow.up, &header, fixed,
                           sizeof(struct far_op), rest, rest_bytes);
        return rc ? far_error(error, -EPROTO,
                              "more operations at once than there are slots")
                  : 0;
    }
    to = to_owner(r, conn->theirs.lane, f->header.type);
    send_on(r, to, &header, fixed, far_wire_fixed_bytes(f->header.type), rest,
            rest_bytes);
    brake(conn, to);
    return 0;
}

int far_route_from_owner(struct far_link *l, struct far_conn *conn,
                         const struct far_wire_frame *f,
                         struct far_error *error)
{
    uint32_t at = f->header.handle - FAR_ROUTE_HANDLE_FIRST;
    struct far_route *r =
        l->routes && at < FAR_ROUTES_MAX ? l->routes[at] : NULL;

    if (!r || !r->asked)
        return 0; /* its client has given it up */
    switch (f->header.type) {
    case FAR_WIRE_PREPARED:
        if (!r->peer) {
            if (f->prepared.status) /* another one sits there now */
                drop(r);
            return 0;
        }
        r->told = true;
        r->status = f->prepared.status;
        memcpy(r->reason, f->text, sizeof(r->reason));
        break;
    case FAR_WIRE_ACTIVATED:
        if (!r->unanswered)
            return far_error(error, -EPROTO,
                             "an activated that nobody asked for");
        r->unanswered--;
        break;
    case FAR_WIRE_FEEDBACK:
    case FAR_WIRE_INTERRUPT:
    case FAR_WIRE_DATA:
    case FAR_WIRE_STATE:
        if (!r->live)
            return 0;
        break;
    case FAR_WIRE_ACK:
    case FAR_WIRE_ERROR:
        break;
    default:
        return far_error(error, -EPROTO, "a frame that only clients send");
    }
    return deliver(r, conn, f, error);
}

/* The links' news. */

void far_routes_link_up(struct far_link *l)
{
    struct far_router *router = l->context->router;
    struct far_route *r;

    for (r = router->routes; r; r = r->next) {
        if (r->peer && r->link == l)
            begin(r);
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
            begin(r);
    }
}

void far_route_lane_down(struct far_route *r, const struct far_conn *conn)
{
    if (r->conn == conn)
        r->conn = NULL; /* the client prepares again elsewhere */
    else if (r->live)
        begin(r);
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
            drop(r);
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
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o}", "origin",
                      r->way.origin, "guest", r->guest, "from", r->from,
                      "device", r->device, "to", to, "state",
                      !r->peer    ? "waiting for its client"
                      : r->status ? "refused"
                      : !r->told  ? "asking"
                      : r->live   ? "active"
                                  : "prepared",
                      "waiting_bytes", (json_int_t)far_buf_used(&r->flow.down),
                      "reason",
                      r->reason[0] ? json_string(r->reason) : json_null()));
    }
    return all;
}
