/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Interrupts to guests from devices that they never attached (notify.h).
 *
 * Once: each sender numbers his, rising for each guest. The last number that a
 * guest has had of a sender stands in the guest's marks, and these are part of
 * every note in the journal: a mark is set before the interrupt is published,
 * by the one publication that makes both true (journal.h). What comes again
 * with a number that is not above the mark has happened, and is answered so.
 * An interrupt that waits is nowhere but here: it has not happened, is not
 * answered, and comes again to a successor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backend/notify.h"
#include "core/clock.h"
#include "core/intc.h"
#include "core/uuid.h"

/* How long one waits for room if nothing is ever stale. */
#define WAIT_US 30000000u

struct question {
    uint64_t id, sequence;
};

struct waiting {
    uint64_t id, source, sequence;
    uint64_t since_us;
    struct far_notice notice;
    unsigned also; /* earlier ones that were merged into it */
    struct question others[FAR_NOTIFY_WAITING_MAX];
};

struct far_notices {
    struct far_guest *guest;
    struct waiting waiting[FAR_NOTIFY_WAITING_MAX];
    unsigned first, count, questions; /* questions: with the merged ones */
    bool running;
    uint64_t spoken_us; /* token bucket: tokens are used up to this time */
    struct far_timer timer;
    uint64_t injected, nothing, coalesced, repeated, refused, late;
};

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void answer(struct far_guest *guest, uint64_t id, int status,
                   const char *reason)
{
    if (guest->backend->client) /* else: we end, a successor will be asked */
        far_local_client_notified(guest->backend->client, id, status, reason);
}

/* --- marks --------------------------------------------------------------- */

/* A sender's name and instance in a number (FNV-1a): two that may interrupt the
 * same guest would have to be made to collide, by one of them. */
static uint64_t source_of(const struct far_local_notify *m)
{
    uint64_t hash = 0xcbf29ce484222325u;
    const char *c;

    for (c = m->platform; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
    for (unsigned i = 0; i < sizeof(m->instance); i++)
        hash = (hash ^ m->instance[i]) * 0x100000001b3u;
    return hash ? hash : 1;
}

static uint64_t mark_of(const struct far_guest *guest, uint64_t source)
{
    for (unsigned i = 0; i < FAR_NOTIFY_SOURCES; i++)
        if (guest->marks.of[i].source == source)
            return guest->marks.of[i].sequence;
    return 0;
}

/* The one that spoke last stands first; who has been silent the longest is
 * forgotten, long after his last question was answered. */
static void set_mark(struct far_notify_marks *marks, uint64_t source,
                     uint64_t sequence)
{
    unsigned at = 0;

    while (at < FAR_NOTIFY_SOURCES - 1 && marks->of[at].source != source)
        at++;
    memmove(&marks->of[1], &marks->of[0], at * sizeof(marks->of[0]));
    marks->of[0] = (struct far_notify_mark){ source, sequence };
}

void far_notify_adopt(struct far_guest *guest,
                      const struct far_notify_marks *marks)
{
    for (unsigned i = FAR_NOTIFY_SOURCES; i-- > 0;)
        if (marks->of[i].source &&
            marks->of[i].sequence > mark_of(guest, marks->of[i].source))
            set_mark(&guest->marks, marks->of[i].source, marks->of[i].sequence);
}

/* --- those that wait ----------------------------------------------------- */

struct search {
    const struct far_guest *guest;
    enum far_class class;
    struct far_attachment *before, *found;
};

/* By the numbers of the guest's devices: it is the same one each time. */
static bool comes_behind(const struct far_attachment *a,
                         const struct far_attachment *b)
{
    if (a->devid != b->devid)
        return a->devid > b->devid;
    return strcmp(a->kind, b->kind) > 0;
}

static void look_at(struct far_attachment *a, void *arg)
{
    struct search *s = arg;

    if (a->guest == s->guest && a->type->notify && a->type->class == s->class &&
        (!s->before || comes_behind(a, s->before)) &&
        (!s->found || comes_behind(s->found, a)))
        s->found = a;
}

/* One, to the guest's first device that can take it. 1: it needed nothing to be
 * told; 0, -EAGAIN, or why not with the words in error. */
static int inject(struct far_notices *n, const struct waiting *w,
                  struct far_error *error)
{
    struct far_guest *guest = n->guest;
    struct far_notify_marks before = guest->marks;
    struct search s = { .guest = guest,
                        .class = FAR_OPCODE_CLASS(w->notice.op.opcode) };
    int result = far_error(error, -ENXIO,
                           "%s has no device of class %s that could take it "
                           "now",
                           guest->name, far_class_name(s.class));

    /* Before: the publication that follows writes both down. */
    set_mark(&guest->marks, w->source, w->sequence);
    while (result == -ENXIO) {
        s.found = NULL;
        far_hotplug_each(guest->backend, look_at, &s);
        if (!s.found)
            break;
        result = s.found->type->notify(s.found, &w->notice, error);
        s.before = s.found;
    }
    if (result < 0)
        guest->marks = before;
    return result;
}

static uint64_t patience_us(const struct far_guest *guest)
{
    uint64_t us =
        far_conf_time_us(far_conf_section(guest->backend->conf, "platform", ""),
                         "stale", 2000000);

    return us == UINT64_MAX ? WAIT_US : us;
}

static void done(struct far_notices *n, int status, const char *reason)
{
    struct waiting *w = &n->waiting[n->first];

    for (unsigned i = 0; i < w->also; i++)
        answer(n->guest, w->others[i].id, status, reason);
    answer(n->guest, w->id, status, reason);
    n->questions -= 1 + w->also;
    n->first = (n->first + 1) % FAR_NOTIFY_WAITING_MAX;
    n->count--;
}

/* 0, or how long until the next may go. */
static uint64_t turn_us(struct far_notices *n, uint64_t now_us)
{
    uint64_t burst_us = FAR_NOTIFY_BURST * 1000000u / FAR_NOTIFY_PER_S;

    if (n->spoken_us + burst_us < now_us)
        n->spoken_us = now_us - burst_us;
    return n->spoken_us > now_us ? n->spoken_us - now_us : 0;
}

static void run(struct far_notices *n)
{
    uint64_t now_us = far_loop_now_us(n->guest->backend->loop);
    uint64_t patience = patience_us(n->guest), wait_us = 0;

    if (n->running)
        return; /* from within: a port says that it has room */
    n->running = true;
    far_timer_cancel(&n->timer);
    while (n->count) {
        struct waiting *w = &n->waiting[n->first];
        struct far_error error = { 0 };
        int r;

        wait_us = turn_us(n, now_us);
        if (wait_us)
            break;
        if (w->sequence <= mark_of(n->guest, w->source)) {
            /* so it is written down, as has been found out while it waited */
            n->repeated++;
            done(n, 0, NULL);
            continue;
        }
        r = inject(n, w, &error);
        if (r == -EAGAIN && now_us - w->since_us < patience) {
            wait_us = patience - (now_us - w->since_us);
            break;
        }
        n->spoken_us += 1000000u / FAR_NOTIFY_PER_S;
        if (r == -EAGAIN) {
            n->late++;
            done(n, -ETIMEDOUT, "the guest does not take what it is sent");
        } else if (r < 0) {
            n->refused++;
            done(n, r, error.text);
        } else {
            n->injected += r == 0;
            n->nothing += r == 1;
            done(n, 0, NULL);
        }
    }
    if (n->count)
        far_timer_set(&n->timer, now_us + wait_us);
    n->running = false;
}

static void timer_fired(struct far_timer *timer)
{
    run(CONTAINER(struct far_notices, timer, timer));
}

void far_notify_room(struct far_guest *guest)
{
    if (guest->notices && guest->notices->count)
        run(guest->notices);
}

static struct far_notices *notices_of(struct far_guest *guest)
{
    struct far_notices *n = guest->notices;

    if (n)
        return n;
    n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->guest = guest;
    far_timer_init(&n->timer, guest->backend->loop, timer_fired);
    guest->notices = n;
    return n;
}

void far_notify_free(struct far_guest *guest)
{
    if (!guest->notices)
        return;
    while (guest->notices->count)
        done(guest->notices, -ESRCH, "the guest has gone");
    far_timer_cancel(&guest->notices->timer);
    free(guest->notices);
    guest->notices = NULL;
}

/* --- what comes ---------------------------------------------------------- */

/* Steps add up behind a motion that waits: a guest that is slow gets fewer,
 * and gets as far. */
static bool merge(struct far_notices *n, const struct far_local_notify *m,
                  uint64_t source)
{
    struct waiting *last;
    struct far_input_event into, more;

    if (!n->count || m->op.opcode != FAR_INPUT_EVENT)
        return false;
    last = &n->waiting[(n->first + n->count - 1) % FAR_NOTIFY_WAITING_MAX];
    memcpy(&into, last->notice.op.args, sizeof(into));
    memcpy(&more, m->op.args, sizeof(more));
    if (last->source != source || last->notice.op.opcode != FAR_INPUT_EVENT ||
        last->also == FAR_NOTIFY_WAITING_MAX ||
        !far_input_event_merge(&into, &more))
        return false;
    memcpy(last->notice.op.args, &into, sizeof(into));
    last->others[last->also++] = (struct question){ last->id, last->sequence };
    last->id = m->id;
    last->sequence = m->sequence;
    n->questions++;
    n->coalesced++;
    return true;
}

/* One that waits already, asked again after the link was lost: nobody wants the
 * former answer any more. */
static bool waits(struct far_notices *n, const struct far_local_notify *m,
                  uint64_t source)
{
    for (unsigned i = 0; i < n->count; i++) {
        struct waiting *w =
            &n->waiting[(n->first + i) % FAR_NOTIFY_WAITING_MAX];

        if (w->source != source)
            continue;
        if (w->sequence == m->sequence) {
            w->id = m->id;
            return true;
        }
        for (unsigned k = 0; k < w->also; k++) {
            if (w->others[k].sequence == m->sequence) {
                w->others[k].id = m->id;
                return true;
            }
        }
    }
    return false;
}

static bool meant(const struct far_guest *guest,
                  const struct far_local_notify *m)
{
    static const uint8_t none[16];

    if (memcmp(m->guest_uuid, none, sizeof(none))) {
        if (!guest->known ||
            memcmp(m->guest_uuid, guest->uuid, sizeof(guest->uuid)))
            return false;
    } else if (!m->guest_name[0] || strcmp(m->guest_name, guest->name)) {
        return false;
    }
    return !memcmp(m->generation, none, sizeof(none)) ||
           (guest->has_generation &&
            !memcmp(m->generation, guest->generation, sizeof(none)));
}

/* Of two domains of one uuid (one is on its way out) the one with devices. */
static struct far_guest *find(const struct far_backend *backend,
                              const struct far_local_notify *m)
{
    struct far_guest *found = NULL;

    for (struct far_guest *g = backend->guests; g; g = g->next)
        if (meant(g, m) && (!found || g->devices > found->devices))
            found = g;
    return found;
}

/* Senders of this platform are judged by the export, those of others by the
 * section of the server that they came by, which must be entrusted to carry
 * what is not its own: the netproxy is not asked, it may lie. */
static bool allowed(const struct far_guest *guest,
                    const struct far_local_notify *m)
{
    const struct far_backend *b = guest->backend;
    bool own = !strcmp(m->platform, b->platform);
    const char *from = m->relay[0] ? m->relay : m->platform;
    const struct far_conf_section *s = far_conf_section(
        b->conf, own ? "export" : "server", own ? m->device : from);
    char uuid[FAR_UUID_TEXT_BYTES], text[3 * FAR_NAME_BYTES];
    const char *names[2] = { guest->name, far_uuid_format(uuid, guest->uuid) };

    if (m->relay[0] &&
        (own || !far_conf_lists(far_conf_section(b->conf, "relay", m->relay),
                                "may-carry", m->platform)))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "%s%s%s", own ? b->platform : "",
                 own ? "/" : "", names[i]);
        if (far_conf_lists(s, "may-interrupt", text))
            return true;
    }
    return false;
}

/* One that a device may send, and not from yesterday? */
static int judge_input(const struct far_backend *backend, struct far_op *op,
                       struct far_error *error)
{
    struct far_input_event e;
    uint64_t stale_us, now_us = far_now_us();

    memcpy(&e, op->args, sizeof(e));
    if (!far_input_event_valid(&e) || e.flags)
        return far_error(error, -EINVAL, "that is no input event");
    if (e.type != FAR_INPUT_KEY && e.type != FAR_INPUT_MOTION &&
        e.type != FAR_INPUT_POS)
        return far_error(error, -EOPNOTSUPP,
                         "only keys, motions and positions can be sent to a "
                         "guest that did not attach the device");
    stale_us = far_conf_time_us(far_conf_section(backend->conf, "platform", ""),
                                "stale", 2000000);
    if (!(e.type == FAR_INPUT_KEY && !e.value) && stale_us != UINT64_MAX &&
        e.time_us && e.time_us < now_us && now_us - e.time_us > stale_us)
        return far_error(error, -ETIME,
                         "it is too old (stale in farside.conf)");
    if (!e.time_us || e.time_us > now_us)
        e.time_us = now_us;
    memcpy(op->args, &e, sizeof(e));
    return 0;
}

static int judge_line(const struct far_op *op, struct far_error *error)
{
    struct far_intc_args args;

    memcpy(&args, op->args, sizeof(args));
    return args.line < FAR_INTC_LINES_MAX
               ? 0
               : far_error(error, -EINVAL, "there is no line %u", args.line);
}

/* Is it of a class that is there? */
static int judge(const struct far_backend *backend, struct far_op *op,
                 struct far_error *error)
{
    switch (op->opcode) {
    case FAR_INPUT_EVENT:
        return judge_input(backend, op, error);
    case FAR_INTC_RAISE:
        return judge_line(op, error);
    default:
        return far_error(error, -EOPNOTSUPP,
                         "no interrupt of class %s can be sent to a guest that "
                         "did not attach its device",
                         far_class_name(FAR_OPCODE_CLASS(op->opcode)));
    }
}

static int take(struct far_backend *backend, struct far_local_notify *m,
                struct far_error *error)
{
    struct far_guest *guest = find(backend, m);
    uint64_t source = source_of(m);
    struct far_notices *n;
    struct waiting *w;
    int r;

    if (!guest)
        return far_error(error, -ESRCH, "there is no such guest on %s",
                         backend->platform);
    if (!allowed(guest, m))
        return far_error(error, -EACCES,
                         "%s does not let %s interrupt %s%s%s "
                         "(may-interrupt%s)",
                         backend->platform, m->platform, guest->name,
                         m->relay[0] ? " by way of " : "", m->relay,
                         m->relay[0] ? ", may-carry" : "");
    n = notices_of(guest);
    if (!n)
        return far_error(error, -ENOMEM, "memory is out");
    if (m->sequence <= mark_of(guest, source)) {
        n->repeated++;
        answer(guest, m->id, 0, NULL);
        return 0;
    }
    if (waits(n, m, source)) {
        n->repeated++;
        return 0;
    }
    r = judge(backend, &m->op, error);
    if (r) {
        n->refused++;
        return r;
    }
    if (n->questions >= FAR_NOTIFY_WAITING_MAX) {
        n->refused++;
        return far_error(error, -ENOBUFS, "too many wait for %s already",
                         guest->name);
    }
    if (!merge(n, m, source)) {
        w = &n->waiting[(n->first + n->count++) % FAR_NOTIFY_WAITING_MAX];
        *w = (struct waiting){ .id = m->id,
                               .source = source,
                               .sequence = m->sequence,
                               .since_us = far_loop_now_us(backend->loop),
                               .notice = { .op = m->op } };
        memcpy(w->notice.platform, m->platform, FAR_NAME_BYTES);
        memcpy(w->notice.device, m->device, FAR_NAME_BYTES);
        n->questions++;
    }
    run(n);
    return 0;
}

static void on_notify(void *arg, const struct far_local_notify *m)
{
    struct far_backend *backend = arg;
    struct far_local_notify mine = *m;
    struct far_error error = { 0 };
    int r = take(backend, &mine, &error);

    if (r)
        far_local_client_notified(backend->client, m->id, r, error.text);
}

/* A new connection: the netproxy asks again for all that is not answered. */
static void on_connected(void *arg)
{
    struct far_backend *backend = arg;

    for (struct far_guest *g = backend->guests; g; g = g->next) {
        if (!g->notices)
            continue;
        g->notices->count = g->notices->questions = 0;
        far_timer_cancel(&g->notices->timer);
    }
}

static bool anybody_may(const struct far_conf *conf)
{
    for (const struct far_conf_section *s = conf->sections; s; s = s->next)
        if ((!strcmp(s->kind, "server") || !strcmp(s->kind, "export")) &&
            far_conf_entry(s, "may-interrupt", NULL))
            return true;
    return false;
}

void far_notify_configure(struct far_backend *backend)
{
    struct far_local_client_notices notices = { .notify = on_notify,
                                                .connected = on_connected,
                                                .arg = backend };

    far_local_client_take_notices(backend->client,
                                  anybody_may(backend->conf) ? &notices : NULL);
}

json_t *far_notify_json(const struct far_guest *guest)
{
    const struct far_notices *n = guest->notices;

    if (!n)
        return NULL;
    return json_pack("{s:I s:I s:I s:I s:I s:I s:i}", "injected",
                     (json_int_t)n->injected, "nothing_to_tell",
                     (json_int_t)n->nothing, "coalesced",
                     (json_int_t)n->coalesced, "repeated",
                     (json_int_t)n->repeated, "refused", (json_int_t)n->refused,
                     "late", (json_int_t)n->late, "waiting", (int)n->count);
}
