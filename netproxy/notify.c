/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts for any guest (netproxy/notify.h). In order: what we send, what
 * we take.
 *
 * A board is what one platform is to be sent: a ring of entries in the order of
 * their numbers. `sent` is how far this connection got; what is answered stays
 * until its place is needed, so that whoever asks learns what became of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/input.h"
#include "core/uuid.h"
#include "netproxy/notify.h"
#include "netproxy/server.h"

struct entry {
    bool answered;
    int status;
    struct far_wire_notify notice;
};

struct far_notice_board {
    char platform[FAR_NAME_BYTES];
    struct far_conn *conn;            /* NULL: it is not connected */
    uint64_t first, next;             /* entries are first to next - 1 */
    uint64_t sent;                    /* all up to it went out, by conn */
    uint64_t ever;                    /* the last that ever went out */
    unsigned open;                    /* of these: not answered */
    uint64_t repeats, done, refused;  /* for status */
    char reason[FAR_WIRE_TEXT_BYTES]; /* of the last refusal */
    struct entry kept[FAR_NOTICES_KEPT_MAX];
    struct far_notice_board *next_board;
};

struct far_taken_notice {
    struct far_link *link; /* NULL: our own */
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
    b->conn = far_server_conn(n->server, platform);
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
                      const uint8_t instance[16], const char *platform,
                      const struct far_wire_notify *notice);

static void pump(struct far_notifier *n, struct far_notice_board *b)
{
    bool own = is_own(n, b);

    while (b->sent + 1 < b->next && b->open < FAR_NOTICES_WINDOW) {
        struct entry *e = at(b, b->sent + 1);
        struct far_wire_header header = { .type = FAR_WIRE_NOTIFY,
                                          .hops = FAR_WIRE_HOPS };

        if (!e->answered && own) {
            if (keep_taken(n, NULL, n->context->me.instance, b->platform,
                           &e->notice))
                return;
        } else if (!e->answered) {
            if (!b->conn)
                return;
            far_conn_send(b->conn, &header, &e->notice, sizeof(e->notice),
                          NULL);
        }
        b->open += !e->answered;
        if (++b->sent > b->ever)
            b->ever = b->sent;
    }
}

void far_notify_peer(struct far_notifier *n, const char *platform,
                     struct far_conn *conn)
{
    struct far_notice_board *b = find_board(n, platform);

    if (!b)
        return; /* there is nothing for it */
    /* Also where another lane takes over: what was on its way by the former
     * one may be lost, and the other side does not look at it. */
    if (b->conn != conn) {
        b->repeats += b->open;
        b->open = 0;
        b->sent = b->first - 1;
    }
    b->conn = conn;
    pump(n, b);
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
    if (b->next - b->first == FAR_NOTICES_KEPT_MAX) {
        if (!at(b, b->first)->answered)
            return far_error(error, -ENOBUFS,
                             "%u interrupts for guests of %s wait to be taken "
                             "already (it is %s)",
                             FAR_NOTICES_KEPT_MAX, platform,
                             b->conn || is_own(n, b) ? "slow"
                                                     : "not connected");
        b->first++;
    }
    e = at(b, b->next);
    memset(e, 0, sizeof(*e));
    e->notice.sequence = b->next;
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
    e->answered = true;
    e->status = status;
    if (sequence <= b->sent) /* else of a connection before: not open here */
        b->open--;
    if (status) {
        b->refused++;
        snprintf(b->reason, sizeof(b->reason), "%s", reason);
    } else {
        b->done++;
    }
    pump(n, b);
}

int far_notify_answered(struct far_notifier *n, const char *platform,
                        const struct far_wire_frame *f, struct far_error *error)
{
    struct far_notice_board *b = find_board(n, platform);
    uint64_t sequence = f->notified.sequence;

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

static int keep_taken(struct far_notifier *n, struct far_link *link,
                      const uint8_t instance[16], const char *platform,
                      const struct far_wire_notify *notice)
{
    struct far_taken_notice *t, **end = &n->taken;
    unsigned count = 0;

    for (; *end; end = &(*end)->next) {
        count += (*end)->link == link;
        if ((*end)->link == link &&
            (*end)->message.sequence == notice->sequence)
            return 0; /* it will be answered */
    }
    if (count >= FAR_NOTICES_TAKEN_MAX)
        return -ENOBUFS;
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->link = link;
    t->id = ++n->last_id;
    t->message.type = FAR_LOCAL_NOTIFY;
    t->message.bytes = sizeof(t->message);
    t->message.id = t->id;
    t->message.sequence = notice->sequence;
    memcpy(t->message.instance, instance, 16);
    snprintf(t->message.platform, FAR_NAME_BYTES, "%s", platform);
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

static void answer(struct far_link *link, uint64_t sequence, int status,
                   const char *reason)
{
    struct far_wire_header header = { .type = FAR_WIRE_NOTIFIED,
                                      .hops = FAR_WIRE_HOPS };
    struct far_wire_notified body = { .sequence = sequence, .status = status };

    if (far_link_is_up(link))
        far_conn_send(link->control, &header, &body, sizeof(body), reason);
}

void far_notify_take(struct far_notifier *n, struct far_link *link,
                     const struct far_wire_frame *f)
{
    struct far_wire_notify notice = f->notify;
    int rc;

    if (notice.op.opcode == FAR_INPUT_EVENT) { /* by our clock */
        struct far_input_event e;
        int64_t us;

        memcpy(&e, notice.op.args, sizeof(e));
        us = (int64_t)e.time_us + far_conn_offset_ns(link->control) / 1000;
        if (e.time_us)
            e.time_us = us > 0 ? (uint64_t)us : 1;
        memcpy(notice.op.args, &e, sizeof(e));
    }
    rc = keep_taken(n, link, link->control->theirs.instance, link->name,
                    &notice);
    if (rc)
        answer(link, notice.sequence, rc, "too many are not answered yet");
}

/* The backend has those that it has; it may answer, and nobody is told: the
 * sender asks again, and gets the same answer. */
void far_notify_link_down(struct far_notifier *n, struct far_link *link)
{
    struct far_taken_notice **t = &n->taken;

    while (*t) {
        if ((*t)->link == link)
            free(take_out(t));
        else
            t = &(*t)->next;
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
        answer(found->link, found->message.sequence, m->status, reason);
    } else {
        struct far_notice_board *own = find_board(n, n->context->me.platform);

        if (own && found->message.sequence >= own->first)
            settle(n, own, found->message.sequence, m->status, reason);
    }
    free(found);
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
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "platform", b->platform,
                      "waiting",
                      (json_int_t)(b->next - 1 - b->done - b->refused), "done",
                      (json_int_t)b->done, "refused", (json_int_t)b->refused,
                      "repeats", (json_int_t)b->repeats, "reason", b->reason));
    }
    return json_pack("{s:o, s:i}", "sent", all, "taken", (int)taken);
}
