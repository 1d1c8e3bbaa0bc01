/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The bounded queue of input events: see input-queue.h. The one invariant:
 * used + owed() <= FAR_INPUT_QUEUE_ENTRIES, where owed() counts the releases
 * that must still find a place: one for each key and contact that is down at
 * the tail, and one for the SYN that ends the open frame of touches.
 */
#include "devices/input-queue.h"

#include <string.h>

#define KEYS (FAR_INPUT_KEY_MAX + 1u)
static_assert(KEYS == sizeof(struct far_key_set) * 8, "a bit for each key");

bool far_key_set_empty(const struct far_key_set *set)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < 12; i++)
        any |= set->bits[i];
    return any == 0;
}

static uint32_t owed(uint32_t keys, uint16_t contacts, bool frame)
{
    return keys + (uint32_t)__builtin_popcount(contacts) +
           (contacts != 0 || frame ? 1u : 0u);
}

static struct far_input_queue_entry *entry_at(struct far_input_queue *q,
                                              uint32_t i)
{
    return &q->entries[(q->head + i) % FAR_INPUT_QUEUE_ENTRIES];
}

static struct far_input_queue_entry *last_entry(struct far_input_queue *q)
{
    return q->used ? entry_at(q, q->used - 1) : NULL;
}

void far_input_queue_init(struct far_input_queue *q)
{
    memset(q, 0, sizeof(*q));
}

void far_input_queue_reset(struct far_input_queue *q,
                           const struct far_key_set *taken)
{
    uint32_t high_water = q->high_water;

    memset(q, 0, sizeof(*q));
    q->high_water = high_water;
    if (!taken)
        return;
    q->taken = *taken;
    for (unsigned key = 0; key < KEYS; key++) {
        if (!far_key_get(taken, key))
            continue;
        if (q->keys_tail < FAR_INPUT_QUEUE_ENTRIES) {
            far_key_put(&q->tail, key, true);
            q->keys_tail++;
        } else {
            far_key_put(&q->over, key, true);
            q->over_any = true;
        }
    }
}

static bool fits(const struct far_input_queue *q, uint32_t owed_after)
{
    return q->used + 1 + owed_after <= FAR_INPUT_QUEUE_ENTRIES;
}

static enum far_input_put append(struct far_input_queue *q,
                                 const struct far_input_event *event,
                                 uint64_t sequence)
{
    struct far_input_queue_entry *e = entry_at(q, q->used);

    e->event = *event;
    e->sequence = sequence;
    q->used++;
    if (q->used > q->high_water)
        q->high_water = q->used;
    return FAR_INPUT_QUEUED;
}

static enum far_input_put put_key(struct far_input_queue *q,
                                  const struct far_input_event *event,
                                  uint64_t sequence)
{
    bool press = event->value != 0;

    if (far_key_get(&q->tail, event->code) == press)
        return FAR_INPUT_REPEATED;
    if (press &&
        !fits(q, owed(q->keys_tail + 1, q->contacts_tail, q->frame_tail)))
        return FAR_INPUT_NO_PLACE;
    far_key_put(&q->tail, event->code, press);
    if (press)
        q->keys_tail++;
    else
        q->keys_tail--;
    return append(q, event, sequence);
}

static enum far_input_put put_motion(struct far_input_queue *q,
                                     const struct far_input_event *event,
                                     uint64_t sequence)
{
    struct far_input_queue_entry *last = last_entry(q);

    if (last && far_input_event_merge(&last->event, event))
        return FAR_INPUT_MERGED;
    if (!fits(q, owed(q->keys_tail, q->contacts_tail, q->frame_tail)))
        return FAR_INPUT_NO_PLACE;
    return append(q, event, sequence);
}

/* A move, shape or orientation replaces the one of the same contact that
 * waits, also in an earlier frame, but not across a touch that begins or
 * ends. */
static bool merge_touch(struct far_input_queue *q,
                        const struct far_input_event *event)
{
    for (uint32_t i = q->used; i-- > 0;) {
        struct far_input_event *e = &entry_at(q, i)->event;

        if (e->type != FAR_INPUT_TOUCH || e->code == FAR_TOUCH_DOWN ||
            e->code == FAR_TOUCH_UP)
            return false;
        if (e->code == event->code && e->value == event->value) {
            e->x = event->x;
            e->y = event->y;
            e->z = event->z;
            e->time_us = event->time_us;
            return true;
        }
    }
    return false;
}

static enum far_input_put put_touch(struct far_input_queue *q,
                                    const struct far_input_event *event,
                                    uint64_t sequence)
{
    uint16_t contacts = q->contacts_tail;
    bool frame = true;

    if (event->code == FAR_TOUCH_SYN) {
        if (!q->frame_tail)
            return q->used ? FAR_INPUT_MERGED : FAR_INPUT_REPEATED;
        frame = false;
    } else {
        uint16_t bit = (uint16_t)(1u << event->value);

        if (((contacts & bit) != 0) == (event->code == FAR_TOUCH_DOWN))
            return FAR_INPUT_REPEATED;
        if (event->code == FAR_TOUCH_DOWN)
            contacts |= bit;
        else if (event->code == FAR_TOUCH_UP)
            contacts &= (uint16_t)~bit;
        else if (merge_touch(q, event))
            return FAR_INPUT_MERGED;
    }
    /* Always fits for UP and for the last SYN: their places were kept. A SYN
     * in between may be left out: the frame goes on into the next. */
    if (!fits(q, owed(q->keys_tail, contacts, frame)))
        return event->code == FAR_TOUCH_SYN ? FAR_INPUT_MERGED
                                            : FAR_INPUT_NO_PLACE;
    q->contacts_tail = contacts;
    q->frame_tail = frame;
    return append(q, event, sequence);
}

enum far_input_put far_input_queue_put(struct far_input_queue *q,
                                       const struct far_input_event *event,
                                       uint64_t sequence)
{
    enum far_input_put result = FAR_INPUT_NOT_VALID;

    switch (event->type) {
    case FAR_INPUT_KEY:
        if (event->code <= FAR_INPUT_KEY_MAX &&
            (event->value == 0 || event->value == 1))
            result = put_key(q, event, sequence);
        break;
    case FAR_INPUT_MOTION:
    case FAR_INPUT_POS:
        result = put_motion(q, event, sequence);
        break;
    case FAR_INPUT_TOUCH:
        if (event->code == FAR_TOUCH_SYN ||
            (event->code <= FAR_TOUCH_ORIENTATION && event->value >= 0 &&
             event->value < FAR_INPUT_CONTACTS_MAX))
            result = put_touch(q, event, sequence);
        break;
    default:
        break;
    }
    if (result != FAR_INPUT_QUEUED && result != FAR_INPUT_NO_PLACE && q->used &&
        sequence)
        last_entry(q)->sequence = sequence;
    return result;
}

/* The press or touch at the head was dropped before the consumer saw it: if
 * nothing later speaks of it, it is up at the tail too. */
static void undo_tail(struct far_input_queue *q,
                      const struct far_input_event *dropped)
{
    bool key = dropped->type == FAR_INPUT_KEY;

    for (uint32_t i = 1; i < q->used; i++) {
        const struct far_input_event *e = &entry_at(q, i)->event;

        if (e->type != dropped->type)
            continue;
        if (key ? e->code == dropped->code
                : e->value == dropped->value &&
                      (e->code == FAR_TOUCH_DOWN || e->code == FAR_TOUCH_UP))
            return;
    }
    if (key && far_key_get(&q->tail, dropped->code)) {
        far_key_put(&q->tail, dropped->code, false);
        q->keys_tail--;
    } else if (!key) {
        q->contacts_tail &= (uint16_t) ~(1u << dropped->value);
        q->frame_tail = true; /* its SYN may still come */
    }
}

enum keep { KEEP, DROP_STALE, DROP_PAIRED, DROP_SILENT };

static enum keep judge(const struct far_input_queue *q,
                       const struct far_input_event *e, bool old)
{
    bool down;

    switch (e->type) {
    case FAR_INPUT_KEY:
        down = far_key_get(&q->taken, e->code);
        if (!e->value)
            return down ? KEEP : DROP_PAIRED;
        return down ? DROP_PAIRED : old ? DROP_STALE : KEEP;
    case FAR_INPUT_TOUCH:
        if (e->code == FAR_TOUCH_SYN)
            return q->frame_taken ? KEEP : DROP_SILENT;
        down = q->contacts_taken >> e->value & 1;
        if (e->code == FAR_TOUCH_UP)
            return down ? KEEP : DROP_PAIRED;
        if (e->code != FAR_TOUCH_DOWN && !down)
            return DROP_PAIRED;
        return old ? DROP_STALE : KEEP;
    default:
        return old ? DROP_STALE : KEEP;
    }
}

static struct far_input_queue_entry *peek_over(struct far_input_queue *q,
                                               uint64_t now_us)
{
    for (unsigned key = 0; key < KEYS; key++)
        if (far_key_get(&q->over, key)) {
            q->spare = (struct far_input_queue_entry){
                .event = { .time_us = now_us,
                           .type = FAR_INPUT_KEY,
                           .flags = FAR_INPUT_MADE,
                           .code = (uint16_t)key },
            };
            return &q->spare;
        }
    q->over_any = false;
    return NULL;
}

/* A wheel that turned then is not turned now. */
static void remember_place(struct far_input_queue *q,
                           const struct far_input_event *e)
{
    q->place = (struct far_input_queue_entry){ .event = *e };
    q->place.event.flags |= FAR_INPUT_MADE;
    q->place.event.z = 0;
    q->place_due = true;
}

struct far_input_queue_entry *
far_input_queue_peek(struct far_input_queue *q, uint64_t now_us,
                     uint64_t stale_us, uint64_t *stale, uint64_t *dropped,
                     uint64_t *settled)
{
    if (q->over_any) {
        struct far_input_queue_entry *over = peek_over(q, now_us);

        if (over)
            return over;
    }
    while (q->used) {
        struct far_input_queue_entry *e = entry_at(q, 0);
        bool old = stale_us != UINT64_MAX && now_us > e->event.time_us &&
                   now_us - e->event.time_us > stale_us;
        enum keep keep = judge(q, &e->event, old);

        if (keep == KEEP) {
            q->place_due &= e->event.type != FAR_INPUT_POS;
            q->place_shown = q->place_due;
            return q->place_due ? &q->place : e;
        }
        if (keep == DROP_STALE)
            ++*stale;
        if (e->event.type == FAR_INPUT_POS)
            remember_place(q, &e->event);
        else if (keep == DROP_PAIRED)
            ++*dropped;
        if (e->sequence > *settled)
            *settled = e->sequence;
        if ((e->event.type == FAR_INPUT_KEY && e->event.value) ||
            (e->event.type == FAR_INPUT_TOUCH &&
             e->event.code == FAR_TOUCH_DOWN)) {
            if (keep == DROP_STALE)
                undo_tail(q, &e->event);
        }
        q->head = (q->head + 1) % FAR_INPUT_QUEUE_ENTRIES;
        q->used--;
    }
    return NULL;
}

void far_input_queue_took(struct far_input_queue *q)
{
    const struct far_input_event *e;

    if (q->over_any) {
        far_key_put(&q->over, q->spare.event.code, false);
        far_key_put(&q->taken, q->spare.event.code, false);
        return;
    }
    if (q->place_shown) {
        q->place_due = q->place_shown = false;
        return;
    }
    e = &entry_at(q, 0)->event;
    if (e->type == FAR_INPUT_KEY) {
        far_key_put(&q->taken, e->code, e->value != 0);
    } else if (e->type == FAR_INPUT_TOUCH) {
        q->frame_taken = e->code != FAR_TOUCH_SYN;
        if (e->code == FAR_TOUCH_DOWN)
            q->contacts_taken |= (uint16_t)(1u << e->value);
        else if (e->code == FAR_TOUCH_UP)
            q->contacts_taken &= (uint16_t) ~(1u << e->value);
    }
    q->head = (q->head + 1) % FAR_INPUT_QUEUE_ENTRIES;
    q->used--;
}

bool far_input_queue_point(struct far_input_queue *q, uint64_t now_us,
                           uint64_t sequence)
{
    struct far_input_event e = q->place.event;

    if (!q->place_due)
        return false;
    e.time_us = now_us;
    if (far_input_queue_put(q, &e, sequence) == FAR_INPUT_NO_PLACE)
        return false;
    q->place_due = q->place_shown = false;
    return true;
}

unsigned far_input_queue_release(struct far_input_queue *q,
                                 const struct far_key_set *keep,
                                 uint64_t now_us, uint64_t sequence)
{
    struct far_input_event e = { .time_us = now_us, .flags = FAR_INPUT_MADE };
    unsigned made = 0;

    e.type = FAR_INPUT_KEY;
    for (unsigned word = 0; word < 12; word++) {
        uint64_t keys = q->tail.bits[word] & ~(keep ? keep->bits[word] : 0);

        for (; keys; keys &= keys - 1) {
            e.code = (uint16_t)(word * 64 + (unsigned)__builtin_ctzll(keys));
            if (far_input_queue_put(q, &e, sequence) == FAR_INPUT_QUEUED)
                made++;
        }
    }
    return made;
}

unsigned far_input_queue_lift(struct far_input_queue *q, uint64_t now_us,
                              uint64_t sequence)
{
    struct far_input_event e = { .time_us = now_us,
                                 .type = FAR_INPUT_TOUCH,
                                 .flags = FAR_INPUT_MADE };
    unsigned made = 0;

    if (!q->contacts_tail && !q->frame_tail)
        return 0;
    for (int contact = 0; contact < FAR_INPUT_CONTACTS_MAX; contact++)
        if (q->contacts_tail >> contact & 1) {
            e.code = FAR_TOUCH_UP;
            e.value = contact;
            far_input_queue_put(q, &e, sequence);
            made++;
        }
    e.code = FAR_TOUCH_SYN;
    e.value = 0;
    far_input_queue_put(q, &e, sequence);
    return made;
}

void far_input_queue_forget_sequences(struct far_input_queue *q)
{
    for (uint32_t i = 0; i < q->used; i++)
        entry_at(q, i)->sequence = 0;
}
