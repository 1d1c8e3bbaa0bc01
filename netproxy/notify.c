/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts for any guest (netproxy/notify.h). In order: what we send, what
 * we take, what we pass on.
 *
 * A board is what one platform is to be sent: a ring of entries in the order of
 * their numbers. `sent` is how far this connection got; what is answered stays
 * until its place is needed, so that whoever asks learns what became of it.
 *
 * A relay puts what it passes on into the board of the platform that it is for,
 * behind its own: from there it goes as these do, over lost connections too,
 * with the numbers that it had at its origin, by which the guest's backend
 * knows a repeat. The relay need not: if it dies, the origin sends again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/input.h"
#include "core/uuid.h"
#include "netproxy/notify.h"
#include "netproxy/route.h"
#include "netproxy/server.h"

/* Of one that we pass on. */
struct passage {
    struct far_link *from; /* who waits for the answer; NULL: its link went down
                              meanwhile, and it will ask again */
    uint64_t sequence;     /* as it came by that link */
    struct far_way way;    /* with us at its end */
    uint8_t hops;          /* that are left */
    struct far_wire_source source;
};

struct entry {
    bool answered;
    int status;
    struct far_wire_notify notice;
    struct passage *passage; /* NULL: it is of a device of ours */
};

struct far_notice_board {
    char platform[FAR_NAME_BYTES];
    struct far_conn *conn;      /* its own, or a relay's; NULL: there is none */
    char relay[FAR_NAME_BYTES]; /* "": it is connected itself */
    uint64_t first, next;       /* entries are first to next - 1 */
    uint64_t sent;              /* all up to it went out, by conn */
    uint64_t ever;              /* the last that ever went out */
    unsigned open;              /* of these: not answered */
    uint64_t repeats, done, refused;  /* for status */
    uint64_t passed;                  /* of other platforms' devices */
    char reason[FAR_WIRE_TEXT_BYTES]; /* of the last refusal */
    struct entry kept[FAR_NOTICES_KEPT_MAX];
    struct far_notice_board *next_board;
};

struct far_taken_notice {
    struct far_link *link; /* NULL: our own */
    uint64_t sequence;     /* as it came by that link */
    uint64_t id;
    bool passed; /* the backend has it */
    struct far_local_notify message;
    struct far_taken_notice *next;
};

void far_notifier_init(struct far_notifier *n, struct far_context *context,
                       struct far_controller *controller,
                       struct far_server *server)
{
    memset(n, 0, sizeof(*n));
    n->server = server;
    n->context = context;
    n->controller = controller;
}

static struct far_taken_notice *take_out(struct far_taken_notice **at)
{
    struct far_taken_notice *t = *at;

    *at = t->next;
    return t;
}

void far_notifier_free(struct far_notifier *n)
{
    while (n->boards) {
        struct far_notice_board *b = n->boards;

        n->boards = b->next_board;
        for (unsigned i = 0; i < FAR_NOTICES_KEPT_MAX; i++)
            free(b->kept[i].passage);
        free(b);
    }
    while (n->taken)
        free(take_out(&n->taken));
}

/* What we send. */

static struct far_notice_board *find_board(const struct far_notifier *n,
                                           const char *platform)
{
    struct far_notice_board *b;

    for (b = n->boards; b; b = b->next_board) {
        if (!strcmp(b->platform, platform))
            return b;
    }
    return NULL;
}

/* The connection by which it is reached now: its own, or that of a relay which
 * may carry what is its (relay: which one). */
static struct far_conn *way_to(const struct far_notifier *n,
                               const char *platform, char relay[FAR_NAME_BYTES])
{
    struct far_conn *conn = far_server_conn(n->server, platform);
    const struct far_peer *p;

    relay[0] = 0;
    for (p = n->server->peers; p && !conn; p = p->next) {
        conn = far_peer_control(p);
        if (conn &&
            far_way_allowed(n->controller->conf, p->platform, platform, NULL))
            conn = NULL;
        else if (conn)
            memcpy(relay, p->platform, FAR_NAME_BYTES);
    }
    return conn;
}

static struct far_notice_board *board(struct far_notifier *n,
                                      const char *platform)
{
    struct far_notice_board *b = find_board(n, platform);

    if (b)
        return b;
    b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    snprintf(b->platform, sizeof(b->platform), "%s", platform);
    b->conn = way_to(n, platform, b->relay);
    b->first = b->next = 1;
    b->next_board = n->boards;
    n->boards = b;
    return b;
}

static struct entry *at(struct far_notice_board *b, uint64_t sequence)
{
    return &b->kept[sequence % FAR_NOTICES_KEPT_MAX];
}

static bool is_own(const struct far_notifier *n,
                   const struct far_notice_board *b)
{
    return !strcmp(b->platform, n->context->me.platform);
}

static int keep_taken(struct far_notifier *n, struct far_link *link,
                      const char *platform,
                      const struct far_wire_source *source,
                      const struct far_wire_notify *notice);
static void answer(struct far_link *link, uint64_t sequence, int status,
                   const char *reason, const char *target);

static bool goes_round(const struct far_notice_board *b,
                       const struct passage *p)
{
    bool round = !strcmp(b->relay, p->way.origin);

    for (unsigned i = 0; i < p->way.count; i++)
        round |= !strcmp(b->relay, p->way.visited[i]);
    return round;
}

/* 0; -ENOTCONN, or -ELOOP: not by this way. */
static int send_notice(const struct far_notice_board *b, const struct entry *e)
{
    const struct passage *p = e->passage;
    struct far_wire_header header = { .type = FAR_WIRE_NOTIFY,
                                      .hops = p ? p->hops : FAR_WIRE_HOPS };
    struct far_wire_value options[4];
    unsigned count = 0;

    if (!b->conn)
        return -ENOTCONN;
    if (p && goes_round(b, p))
        return -ELOOP;
    if (b->relay[0])
        options[count++] =
            (struct far_wire_value){ FAR_WIRE_OPTION_TARGET |
                                         FAR_WIRE_OPTION_MUST,
                                     FAR_NAME_BYTES, b->platform };
    if (p) {
        options[count++] =
            (struct far_wire_value){ FAR_WIRE_OPTION_SOURCE |
                                         FAR_WIRE_OPTION_MUST,
                                     sizeof(p->source), &p->source };
        options[count++] =
            (struct far_wire_value){ FAR_WIRE_OPTION_ORIGIN, FAR_NAME_BYTES,
                                     p->way.origin };
        options[count++] =
            (struct far_wire_value){ FAR_WIRE_OPTION_VISITED,
                                     (uint16_t)(p->way.count * FAR_NAME_BYTES),
                                     p->way.visited };
    }
    far_conn_send_options(b->conn, &header, &e->notice, sizeof(e->notice), NULL,
                          options, count);
    return 0;
}

static void finish(struct far_notice_board *b, struct entry *e, int status,
                   const char *reason)
{
    e->answered = true;
    e->status = status;
    if (status) {
        b->refused++;
        snprintf(b->reason, sizeof(b->reason), "%s", reason);
    } else {
        b->done++;
    }
    if (e->passage && e->passage->from)
        answer(e->passage->from, e->passage->sequence, status, reason,
               b->platform);
}

static void pump(struct far_notifier *n, struct far_notice_board *b)
{
    bool own = is_own(n, b);

    while (b->sent + 1 < b->next && b->open < FAR_NOTICES_WINDOW) {
        struct entry *e = at(b, b->sent + 1);
        struct far_wire_source source = { .sequence = b->sent + 1 };
        int rc = 0;

        memcpy(source.instance, n->context->me.instance, 16);
        if (!e->answered)
            rc = own ? keep_taken(n, NULL, b->platform, &source, &e->notice)
                     : send_notice(b, e);
        if (rc == -ELOOP)
            finish(b, e, rc, "it would go round in a circle");
        else if (rc)
            return;
        b->open += !e->answered;
        if (++b->sent > b->ever)
            b->ever = b->sent;
    }
}

void far_notify_ways(struct far_notifier *n)
{
    struct far_notice_board *b;

    for (b = n->boards; b; b = b->next_board) {
        struct far_conn *before = b->conn;

        if (is_own(n, b))
            continue;
        b->conn = way_to(n, b->platform, b->relay);
        /* Also where another lane takes over: what was on its way by the former
         * one may be lost, and the other side does not look at it. */
        if (b->conn != before) {
            b->repeats += b->open;
            b->open = 0;
            b->sent = b->first - 1;
        }
        pump(n, b);
    }
}

/* Its uuid and generation, if one of our devices serves that guest: then it is
 * bound to them. */
static void tie(const struct far_notifier *n, const char *platform,
                struct far_wire_notify *notice)
{
    static const uint8_t none[16];
    const struct far_session *s;

    for (s = n->controller->sessions; s; s = s->next_session) {
        bool same = memcmp(notice->guest_uuid, none, 16)
                        ? !memcmp(notice->guest_uuid, s->who.guest_uuid, 16)
                        : !strcmp(notice->guest_name, s->who.guest_name);

        if (same && !strcmp(s->platform, platform)) {
            memcpy(notice->guest_uuid, s->who.guest_uuid, 16);
            memcpy(notice->generation, s->who.generation, 16);
            return;
        }
    }
}

static int may(const struct far_notifier *n, const char *device,
               const char *platform, const char *guest, struct far_error *error)
{
    const struct far_conf_section *export =
        far_conf_section(n->controller->conf, "export", device);
    char text[2 * FAR_NAME_BYTES];

    if (!export || !far_device_find(n->controller->devices, device))
        return far_error(error, -ENOENT,
                         "no device %s is exported by this platform", device);
    snprintf(text, sizeof(text), "%s/%s", platform, guest);
    if (!far_conf_lists(export, "may-interrupt", text))
        return far_error(error, -EACCES,
                         "[export %s] does not let it interrupt %s "
                         "(may-interrupt = %s)",
                         device, text, text);
    return 0;
}

/* The next one of that board, empty but for its number; it counts from b->next
 * on. NULL with error: it is full. */
static struct entry *new_entry(const struct far_notifier *n,
                               struct far_notice_board *b,
                               struct far_error *error)
{
    struct entry *e;

    if (b->next - b->first == FAR_NOTICES_KEPT_MAX) {
        if (!at(b, b->first)->answered) {
            far_error(error, -ENOBUFS,
                      "%u interrupts for guests of %s wait to be taken "
                      "already (it is %s)",
                      FAR_NOTICES_KEPT_MAX, b->platform,
                      b->conn || is_own(n, b) ? "slow" : "not connected");
            return NULL;
        }
        b->first++;
    }
    e = at(b, b->next);
    free(e->passage);
    memset(e, 0, sizeof(*e));
    e->notice.sequence = b->next;
    return e;
}

int far_controller_notify(struct far_notifier *n, const char *device,
                          const char *platform, const char *guest,
                          const struct far_op *op, uint64_t *sequence,
                          struct far_error *error)
{
    struct far_notice_board *b;
    struct entry *e;
    int rc = may(n, device, platform, guest, error);

    if (rc)
        return rc;
    b = board(n, platform);
    if (!b)
        return far_error(error, -ENOMEM, "out of memory");
    e = new_entry(n, b, error);
    if (!e)
        return -ENOBUFS;
    if (far_uuid_parse(e->notice.guest_uuid, guest))
        snprintf(e->notice.guest_name, FAR_NAME_BYTES, "%s", guest);
    snprintf(e->notice.device, FAR_NAME_BYTES, "%s", device);
    e->notice.op.opcode = op->opcode;
    memcpy(e->notice.op.args, op->args, sizeof(op->args));
    tie(n, platform, &e->notice);
    *sequence = b->next++;
    pump(n, b);
    return 0;
}

int far_notify_result(const struct far_notifier *n, const char *platform,
                      uint64_t sequence, struct far_error *error)
{
    struct far_notice_board *b = find_board(n, platform);
    const struct entry *e;

    if (!b || sequence < b->first || sequence >= b->next)
        return far_error(error, -ENOENT, "no such interrupt is known any more");
    e = at(b, sequence);
    if (!e->answered)
        return far_error(error, -EINPROGRESS,
                         b->conn || is_own(n, b)
                             ? "%s has not answered yet"
                             : "%s is not connected; it is kept until it is",
                         platform);
    if (!e->status)
        return 0;
    return far_error(error, e->status, "%s: %s", platform,
                     b->reason[0] ? b->reason : strerror(-e->status));
}

static void settle(struct far_notifier *n, struct far_notice_board *b,
                   uint64_t sequence, int status, const char *reason)
{
    struct entry *e = at(b, sequence);

    if (e->answered)
        return;
    if (sequence <= b->sent) /* else of a connection before: not open here */
        b->open--;
    finish(b, e, status, reason);
    pump(n, b);
}

/* The platform that a frame is for; NULL: the one that gets it. false: it can't
 * be read. */
static bool target_of(const struct far_wire_frame *f, const char **target)
{
    size_t bytes;
    const char *name =
        (const char *)far_wire_option(f, FAR_WIRE_OPTION_TARGET, &bytes);

    *target = name;
    return !name || (bytes == FAR_NAME_BYTES && !name[FAR_NAME_BYTES - 1] &&
                     far_name_valid(name));
}

int far_notify_answered(struct far_notifier *n, const char *platform,
                        const struct far_wire_frame *f, struct far_error *error)
{
    struct far_notice_board *b;
    uint64_t sequence = f->notified.sequence;
    const char *target;

    if (!target_of(f, &target))
        return far_error(error, -EPROTO, "an answer for nobody");
    /* It may have been entrusted with that until now. */
    if (target && far_way_allowed(n->controller->conf, platform, target, NULL))
        return 0;
    b = find_board(n, target ? target : platform);
    if (!b || !sequence || sequence > b->ever)
        return far_error(error, -EPROTO,
                         "it answers interrupt %llu, which was never sent",
                         (unsigned long long)sequence);
    if (sequence >= b->first)
        settle(n, b, sequence, f->notified.status, f->text);
    return 0;
}

/* What we take. */

static void pass_on(struct far_notifier *n)
{
    struct far_taken_notice *t;

    for (t = n->taken; t; t = t->next) {
        if (t->passed)
            continue;
        if (!n->local || far_local_server_notify(n->local, &t->message))
            return; /* we are told when there is somebody, or room */
        t->passed = true;
    }
}

/* The same one, by another link: whoever asked there is not waited for. */
static bool is_superseded(const struct far_taken_notice *t,
                          const struct far_link *link, const char *platform,
                          const struct far_wire_source *source)
{
    return t->link != link && t->message.sequence == source->sequence &&
           !memcmp(t->message.instance, source->instance, 16) &&
           !strcmp(t->message.platform, platform);
}

static int keep_taken(struct far_notifier *n, struct far_link *link,
                      const char *platform,
                      const struct far_wire_source *source,
                      const struct far_wire_notify *notice)
{
    struct far_taken_notice *t, **end = &n->taken;
    unsigned count = 0;

    while (*end) {
        if ((*end)->link == link && (*end)->sequence == notice->sequence)
            return 0; /* it will be answered */
        if (is_superseded(*end, link, platform, source)) {
            free(take_out(end));
            continue;
        }
        count += (*end)->link == link;
        end = &(*end)->next;
    }
    if (count >= FAR_NOTICES_TAKEN_MAX)
        return -ENOBUFS;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->link = link;
    t->sequence = notice->sequence;
    t->id = ++n->last_id;
    t->message.type = FAR_LOCAL_NOTIFY;
    t->message.bytes = sizeof(t->message);
    t->message.id = t->id;
    t->message.sequence = source->sequence;
    memcpy(t->message.instance, source->instance, 16);
    snprintf(t->message.platform, FAR_NAME_BYTES, "%s", platform);
    if (link && strcmp(platform, link->name))
        snprintf(t->message.relay, FAR_NAME_BYTES, "%s", link->name);
    memcpy(t->message.device, notice->device, FAR_NAME_BYTES);
    memcpy(t->message.guest_uuid, notice->guest_uuid, 16);
    memcpy(t->message.generation, notice->generation, 16);
    memcpy(t->message.guest_name, notice->guest_name, FAR_NAME_BYTES);
    t->message.op.opcode = notice->op.opcode;
    memcpy(t->message.op.args, notice->op.args, sizeof(notice->op.args));
    *end = t;
    pass_on(n);
    return 0;
}

/* target: as in the question; NULL: it was for us. */
static void answer(struct far_link *link, uint64_t sequence, int status,
                   const char *reason, const char *target)
{
    struct far_wire_header header = { .type = FAR_WIRE_NOTIFIED,
                                      .hops = FAR_WIRE_HOPS };
    struct far_wire_notified body = { .sequence = sequence, .status = status };
    const struct far_wire_value option = {
        FAR_WIRE_OPTION_TARGET | FAR_WIRE_OPTION_MUST, FAR_NAME_BYTES, target
    };

    if (far_link_is_up(link))
        far_conn_send_options(link->control, &header, &body, sizeof(body),
                              reason, &option, target ? 1 : 0);
}

static int pass_further(struct far_notifier *n, struct far_link *link,
                        const struct far_wire_frame *f, const char *target,
                        const struct far_way *way,
                        const struct far_wire_source *source,
                        const struct far_wire_notify *notice,
                        struct far_error *error);

/* Who sends it, by whom, and with which numbers of his own? 0, or why it is
 * refused. */
static int read_source(const struct far_notifier *n,
                       const struct far_link *link,
                       const struct far_wire_frame *f, struct far_way *way,
                       struct far_wire_source *source, struct far_error *error)
{
    size_t bytes;
    const uint8_t *value = far_wire_option(f, FAR_WIRE_OPTION_SOURCE, &bytes);
    int rc = far_way_read(way, n->controller->conf, n->context->me.platform,
                          link->name, f, error);

    if (rc)
        return rc;
    memcpy(source->instance, link->control->theirs.instance, 16);
    source->sequence = f->notify.sequence;
    if (!way->count)
        return 0;
    if (!value || bytes != sizeof(*source))
        return far_error(error, -EPROTO, "it does not say whose it is");
    memcpy(source, value, sizeof(*source));
    return source->sequence
               ? 0
               : far_error(error, -EPROTO, "its origin has no number");
}

void far_notify_take(struct far_notifier *n, struct far_link *link,
                     const struct far_wire_frame *f)
{
    struct far_wire_notify notice = f->notify;
    struct far_error error = { 0 };
    struct far_wire_source source;
    struct far_way way;
    const char *target;
    int rc;

    if (!target_of(f, &target)) {
        answer(link, notice.sequence, -EPROTO, "it is for nobody", NULL);
        return;
    }
    rc = read_source(n, link, f, &way, &source, &error);
    if (rc) {
        answer(link, notice.sequence, rc, error.text, target);
        return;
    }
    if (notice.op.opcode == FAR_INPUT_EVENT) { /* by our clock */
        struct far_input_event e;
        int64_t us;

        memcpy(&e, notice.op.args, sizeof(e));
        us = (int64_t)e.time_us + far_conn_offset_ns(link->control) / 1000;
        if (e.time_us)
            e.time_us = us > 0 ? (uint64_t)us : 1;
        memcpy(notice.op.args, &e, sizeof(e));
    }
    if (target && strcmp(target, n->context->me.platform)) {
        rc = pass_further(n, link, f, target, &way, &source, &notice, &error);
        if (rc)
            answer(link, notice.sequence, rc, error.text, target);
        return;
    }
    rc = keep_taken(n, link, way.origin, &source, &notice);
    if (rc)
        answer(link, notice.sequence, rc, "too many are not answered yet",
               target);
}

/* The backend has those that it has; it may answer, and nobody is told: the
 * sender asks again, and gets the same answer. */
void far_notify_link_down(struct far_notifier *n, struct far_link *link)
{
    struct far_taken_notice **t = &n->taken;
    struct far_notice_board *b;

    while (*t) {
        if ((*t)->link == link)
            free(take_out(t));
        else
            t = &(*t)->next;
    }
    for (b = n->boards; b; b = b->next_board) {
        for (unsigned i = 0; i < FAR_NOTICES_KEPT_MAX; i++) {
            struct passage *p = b->kept[i].passage;

            if (p && p->from == link)
                p->from = NULL;
        }
    }
}

void far_notify_guests(struct far_notifier *n, bool anew)
{
    struct far_taken_notice *t;

    for (t = n->taken; anew && t; t = t->next)
        t->passed = false;
    pass_on(n);
}

void far_notify_notified(struct far_notifier *n,
                         const struct far_local_notified *m)
{
    struct far_taken_notice **t = &n->taken, *found;
    char reason[FAR_WIRE_TEXT_BYTES];

    while (*t && (*t)->id != m->id)
        t = &(*t)->next;
    if (!*t)
        return; /* its link went down meanwhile */
    found = take_out(t);
    snprintf(reason, sizeof(reason), "%.231s", m->reason);
    if (found->link) {
        answer(found->link, found->sequence, m->status, reason, NULL);
    } else {
        struct far_notice_board *own = find_board(n, n->context->me.platform);

        if (own && found->message.sequence >= own->first)
            settle(n, own, found->message.sequence, m->status, reason);
    }
    free(found);
}

/* What we pass on. */

/* Guests of others are known to them alone: here it is judged what the sender
 * calls it. */
static bool may_pass(const struct far_notifier *n, const struct far_link *link,
                     const char *target, const struct far_wire_notify *notice)
{
    const struct far_conf_section *s =
        far_conf_section(n->controller->conf, "server", link->name);
    char uuid[FAR_UUID_TEXT_BYTES], text[2 * FAR_NAME_BYTES];

    snprintf(text, sizeof(text), "%s/%s", target, notice->guest_name);
    if (notice->guest_name[0] && far_conf_lists(s, "may-interrupt", text))
        return true;
    snprintf(text, sizeof(text), "%s/%s", target,
             far_uuid_format(uuid, notice->guest_uuid));
    return far_conf_lists(s, "may-interrupt", text);
}

/* One that came before, by the same link or another. */
static struct entry *find_passage(struct far_notice_board *b,
                                  const struct far_way *way,
                                  const struct far_wire_source *source)
{
    for (uint64_t i = b->first; i < b->next; i++) {
        struct entry *e = at(b, i);

        if (e->passage &&
            !memcmp(&e->passage->source, source, sizeof(*source)) &&
            !strcmp(e->passage->way.origin, way->origin))
            return e;
    }
    return NULL;
}

static unsigned waiting_of(const struct far_notice_board *b,
                           const struct far_link *link)
{
    unsigned count = 0;

    for (unsigned i = 0; i < FAR_NOTICES_KEPT_MAX; i++) {
        const struct entry *e = &b->kept[i];

        count += e->passage && e->passage->from == link && !e->answered;
    }
    return count;
}

/* 0: the answer comes, or has gone. */
static int pass_further(struct far_notifier *n, struct far_link *link,
                        const struct far_wire_frame *f, const char *target,
                        const struct far_way *way,
                        const struct far_wire_source *source,
                        const struct far_wire_notify *notice,
                        struct far_error *error)
{
    const char *me = n->context->me.platform;
    struct far_notice_board *b;
    struct passage *p;
    struct entry *e;
    uint64_t sequence;

    if (!f->header.hops || way->count >= FAR_WIRE_HOPS)
        return far_error(error, -ELOOP,
                         "%s may not pass it on any further, to %s", me,
                         target);
    if (!may_pass(n, link, target, notice))
        return far_error(error, -EACCES,
                         "%s does not pass on interrupts of %s for that guest "
                         "of %s (there: [server %s] may-interrupt)",
                         me, way->origin, target, link->name);
    b = board(n, target);
    if (!b)
        return far_error(error, -ENOMEM, "out of memory");
    e = find_passage(b, way, source);
    if (e && e->answered) {
        answer(link, notice->sequence, e->status, e->status ? b->reason : NULL,
               target);
        return 0;
    }
    if (e) { /* asked again: it is under way */
        e->passage->from = link;
        e->passage->sequence = notice->sequence;
        return 0;
    }
    if (waiting_of(b, link) >= FAR_NOTICES_TAKEN_MAX)
        return far_error(error, -ENOBUFS, "too many are not answered yet");
    p = calloc(1, sizeof(*p));
    if (!p)
        return far_error(error, -ENOMEM, "out of memory");
    e = new_entry(n, b, error);
    if (!e) {
        free(p);
        return error->code;
    }
    p->from = link;
    p->sequence = notice->sequence;
    p->hops = (uint8_t)(f->header.hops - 1);
    p->source = *source;
    p->way = *way;
    snprintf(p->way.visited[p->way.count++], FAR_NAME_BYTES, "%s", me);
    sequence = e->notice.sequence;
    e->notice = *notice;
    e->notice.sequence = sequence;
    e->passage = p;
    b->next++;
    b->passed++;
    pump(n, b);
    return 0;
}

json_t *far_notify_status(const struct far_notifier *n)
{
    json_t *all = json_array();
    const struct far_notice_board *b;
    const struct far_taken_notice *t;
    unsigned taken = 0;

    for (t = n->taken; t; t = t->next)
        taken++;
    for (b = n->boards; b; b = b->next_board) {
        if (b->next == 1)
            continue;
        json_array_append_new(
            all,
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:s}", "platform",
                      b->platform, "waiting",
                      (json_int_t)(b->next - 1 - b->done - b->refused), "done",
                      (json_int_t)b->done, "refused", (json_int_t)b->refused,
                      "repeats", (json_int_t)b->repeats, "passed_on",
                      (json_int_t)b->passed, "by_way_of",
                      b->relay[0] ? json_string(b->relay) : json_null(),
                      "reason", b->reason));
    }
    return json_pack("{s:o, s:i}", "sent", all, "taken", (int)taken);
}
