/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * See snd.h. The backend is not trusted: what it writes is read once and
 * judged, and a card whose backend writes nonsense is let go.
 */
#include "frontend/snd.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "xenbus/evtchn.h"
#include "xenbus/grant.h"
#include "xenbus/handshake.h"
#include "xenbus/ring.h"

#define EVENTS        XENSND_IN_RING_LEN
#define BUFFER_PAGES  (FAR_SND_BUFFER_MAX / FAR_PAGE_BYTES)
#define DIRECTORY_MAX 1023u /* grants that its one page holds */
static_assert(BUFFER_PAGES <= DIRECTORY_MAX, "");

#define CONTAINER(type, member, pointer) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct stream {
    struct far_snd *snd;
    unsigned pcm, index;
    bool records;
    struct far_share ring_share, event_share, buffer;
    uint32_t ring_ref, event_ref;
    uint32_t refs[1 + BUFFER_PAGES]; /* the directory's first */
    struct far_evtchn ring_channel, event_channel;
    struct far_ring ring;
    uint32_t taken;    /* events */
    uint16_t event_id; /* the next one's */
    uint16_t id;       /* of the last request */
    bool busy;         /* it was not answered */
    uint8_t operation;
};

struct far_snd {
    struct far_loop *loop;
    struct far_xs *xs;
    unsigned devid, backend_id;
    char back[FAR_XS_PATH_BYTES];
    struct far_xs_watch watch;
    struct far_defer look;
    enum far_xenbus_state state;
    bool leaving;
    struct far_snd_hooks hooks;
    void *arg;
    struct far_evtchns *channels;
    struct far_shares *shares;
    unsigned streams;
    struct stream stream[FAR_SND_STREAMS_MAX];
    struct far_snd_counters counters;
};

static void tell(struct far_snd *snd, enum far_snd_state state, const char *why)
{
    snd->hooks.state(snd->arg, state, why);
}

static void set_state(struct far_snd *snd, enum far_xenbus_state state)
{
    char path[FAR_XS_PATH_BYTES];

    snprintf(path, sizeof(path), "device/vsnd/%u/state", snd->devid);
    snd->state = state;
    (void)far_xs_write(snd->xs, 0, path, "%d", (int)state);
}

static void drop(struct far_snd *snd)
{
    for (unsigned i = 0; i < snd->streams; i++) {
        struct stream *s = &snd->stream[i];

        far_evtchn_unbind(&s->ring_channel);
        far_evtchn_unbind(&s->event_channel);
        far_unshare(&s->ring_share);
        far_unshare(&s->event_share);
        far_unshare(&s->buffer);
        s->busy = false;
    }
    far_evtchns_close(snd->channels);
    snd->channels = NULL;
    snd->streams = 0;
}

static void wrong(struct far_snd *snd, const char *what)
{
    snd->counters.wrong++;
    drop(snd);
    set_state(snd, FAR_XB_CLOSED);
    snd->leaving = true;
    tell(snd, FAR_SND_GONE, what);
}

/* --- the rings --------------------------------------------------------------
 */

static enum far_evtchn_verdict ring_fired(struct far_evtchn *evtchn)
{
    struct stream *s = CONTAINER(struct stream, ring_channel, evtchn);
    struct far_snd *snd = s->snd;
    enum far_evtchn_verdict verdict = FAR_EVTCHN_SPURIOUS;
    struct xensnd_resp answer;
    int r;

    do {
        while ((r = far_ring_response(&s->ring, &answer)) > 0) {
            verdict = FAR_EVTCHN_WORKED;
            if (!s->busy || answer.id != s->id ||
                answer.operation != s->operation || answer.status > 0) {
                wrong(snd, "the backend answers what was not asked");
                return FAR_EVTCHN_BROKEN;
            }
            s->busy = false;
            snd->counters.answers++;
            snd->hooks.answer(snd->arg, (unsigned)(s - snd->stream), &answer);
            if (!snd->channels)
                return FAR_EVTCHN_BROKEN;
        }
        if (r < 0) {
            wrong(snd, "the backend wrote an impossible index into a ring");
            return FAR_EVTCHN_BROKEN;
        }
    } while (!far_ring_front_arm(&s->ring));
    return verdict;
}

static enum far_evtchn_verdict event_fired(struct far_evtchn *evtchn)
{
    struct stream *s = CONTAINER(struct stream, event_channel, evtchn);
    struct far_snd *snd = s->snd;
    struct xensnd_event_page *page = s->event_share.memory;
    uint32_t produced = __atomic_load_n(&page->in_prod, __ATOMIC_ACQUIRE);
    enum far_evtchn_verdict verdict = FAR_EVTCHN_SPURIOUS;

    if (produced - s->taken > EVENTS) {
        wrong(snd, "the backend wrote an impossible index into its events");
        return FAR_EVTCHN_BROKEN;
    }
    for (; s->taken != produced; verdict = FAR_EVTCHN_WORKED) {
        struct xensnd_evt event;

        memcpy(&event,
               (uint8_t *)page + XENSND_IN_RING_OFFS +
                   s->taken % EVENTS * sizeof(event),
               sizeof(event));
        s->taken++;
        if (event.id != s->event_id++ || event.type != XENSND_EVT_CUR_POS) {
            wrong(snd, "the backend's events are not in a row");
            return FAR_EVTCHN_BROKEN;
        }
        snd->counters.events++;
        __atomic_store_n(&page->in_cons, s->taken, __ATOMIC_RELEASE);
        snd->hooks.position(snd->arg, (unsigned)(s - snd->stream),
                            event.op.cur_pos.position);
        if (!snd->channels)
            return FAR_EVTCHN_BROKEN;
    }
    return verdict;
}

int far_snd_ask(struct far_snd *snd, unsigned stream,
                const struct xensnd_req *request)
{
    struct xensnd_req copy = *request;
    struct stream *s;

    if (snd->state != FAR_XB_CONNECTED || stream >= snd->streams)
        return -ENOTCONN;
    s = &snd->stream[stream];
    if (s->busy)
        return -EBUSY;
    copy.id = ++s->id;
    s->operation = copy.operation;
    s->busy = true;
    far_ring_put(&s->ring, &copy);
    snd->counters.requests++;
    return far_ring_front_push(&s->ring) ? far_evtchn_notify(&s->ring_channel)
                                         : 0;
}

int far_snd_prepare(struct far_snd *snd, unsigned stream,
                    const struct xensnd_open_req *open)
{
    struct xensnd_req request = { .operation = XENSND_OP_OPEN };
    struct xensnd_page_directory *directory;
    uint32_t pages = (open->buffer_sz + FAR_PAGE_BYTES - 1) / FAR_PAGE_BYTES;
    struct stream *s;
    int r;

    if (snd->state != FAR_XB_CONNECTED || stream >= snd->streams)
        return -ENOTCONN;
    if (!pages || pages > BUFFER_PAGES)
        return -EINVAL;
    s = &snd->stream[stream];
    if (s->busy)
        return -EBUSY;
    far_unshare(&s->buffer);
    r = far_share_pages(snd->shares, &s->buffer, snd->backend_id, pages + 1,
                        true, s->refs);
    if (r)
        return r;
    directory = s->buffer.memory;
    directory->gref_dir_next_page = 0;
    memcpy(directory->gref, s->refs + 1, pages * sizeof(s->refs[0]));
    request.op.open = *open;
    request.op.open.gref_directory = s->refs[0];
    return far_snd_ask(snd, stream, &request);
}

void *far_snd_memory(struct far_snd *snd, unsigned stream)
{
    uint8_t *memory = snd->stream[stream].buffer.memory;

    return memory ? memory + FAR_PAGE_BYTES : NULL;
}

/* --- nodes ------------------------------------------------------------------
 */

static int make_stream(struct far_snd *snd, unsigned pcm, unsigned index)
{
    struct stream *s = &snd->stream[snd->streams];
    char type[8];
    int r;

    memset(s, 0, sizeof(*s));
    s->snd = snd;
    s->pcm = pcm;
    s->index = index;
    r = far_xs_read(snd->xs, 0, type, sizeof(type), "device/vsnd/%u/%u/%u/type",
                    snd->devid, pcm, index);
    if (r < 0)
        return r;
    s->records = type[0] == 'c';
    snd->streams++; /* what follows is dropped with it */
    r = far_share_pages(snd->shares, &s->ring_share, snd->backend_id, 1, true,
                        &s->ring_ref);
    if (!r)
        r = far_share_pages(snd->shares, &s->event_share, snd->backend_id, 1,
                            true, &s->event_ref);
    if (!r)
        r = far_evtchn_offer(snd->channels, &s->ring_channel, ring_fired);
    if (!r)
        r = far_evtchn_offer(snd->channels, &s->event_channel, event_fired);
    if (!r)
        far_ring_front_init(&s->ring, s->ring_share.memory, FAR_PAGE_BYTES,
                            sizeof(struct xensnd_req));
    return r;
}

static int write_streams(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct far_snd *snd = arg;
    int r = 0;

    for (unsigned i = 0; !r && i < snd->streams; i++) {
        const struct stream *s = &snd->stream[i];
        const struct {
            const char *name;
            uint32_t value;
        } nodes[] = {
            { XENSND_FIELD_RING_REF, s->ring_ref },
            { XENSND_FIELD_EVT_CHNL, s->ring_channel.local_port },
            { XENSND_FIELD_EVT_RING_REF, s->event_ref },
            { XENSND_FIELD_EVT_EVT_CHNL, s->event_channel.local_port },
        };

        for (size_t k = 0; !r && k < sizeof(nodes) / sizeof(nodes[0]); k++) {
            char path[FAR_XS_PATH_BYTES];

            snprintf(path, sizeof(path), "device/vsnd/%u/%u/%u/%s", snd->devid,
                     s->pcm, s->index, nodes[k].name);
            r = far_xs_write(xs, t, path, "%u", nodes[k].value);
        }
    }
    return r;
}

static bool exists(struct far_snd *snd, const char *dir)
{
    struct far_xs_list list;

    if (far_xs_directory(snd->xs, 0, &list, 1, "device/vsnd/%u/%s", snd->devid,
                         dir) < 0)
        return false;
    far_xs_list_free(&list);
    return true;
}

/* From 2 to 3. */
static int start(struct far_snd *snd)
{
    char dir[32];
    int r = 0;

    drop(snd);
    snd->channels = far_evtchns_open(snd->loop, snd->backend_id);
    if (!snd->channels)
        return -errno;
    for (unsigned pcm = 0; !r; pcm++) {
        snprintf(dir, sizeof(dir), "%u", pcm);
        if (!exists(snd, dir))
            break;
        for (unsigned i = 0; !r && snd->streams < FAR_SND_STREAMS_MAX; i++) {
            snprintf(dir, sizeof(dir), "%u/%u", pcm, i);
            if (!exists(snd, dir))
                break;
            r = make_stream(snd, pcm, i);
        }
    }
    if (!r)
        r = far_xs_transact(snd->xs, write_streams, snd);
    if (r) {
        drop(snd);
        return r;
    }
    set_state(snd, FAR_XB_INITIALISED);
    return 0;
}

static void look(struct far_defer *defer)
{
    struct far_snd *snd = CONTAINER(struct far_snd, look, defer);
    char text[8] = "";
    int r;

    if (far_xs_read(snd->xs, 0, text, sizeof(text), "%s/state", snd->back) < 0)
        text[0] = '\0';
    switch (far_xenbus_state_parse(text)) {
    case FAR_XB_INIT_WAIT:
        if (snd->leaving || snd->state != FAR_XB_INITIALISING)
            break;
        r = start(snd);
        if (r)
            tell(snd, FAR_SND_GONE, strerror(-r));
        break;
    case FAR_XB_CONNECTED:
        if (snd->state != FAR_XB_INITIALISED)
            break;
        set_state(snd, FAR_XB_CONNECTED);
        snd->counters.connects++;
        tell(snd, FAR_SND_CONNECTED, NULL);
        break;
    case FAR_XB_UNKNOWN: /* as Linux' front, which takes 5 for nothing */
    case FAR_XB_CLOSED:
        if (snd->state == FAR_XB_INITIALISING || snd->state == FAR_XB_CLOSED)
            break;
        drop(snd);
        set_state(snd, FAR_XB_INITIALISING);
        tell(snd, FAR_SND_WAITS, "the backend has closed");
        break;
    default:
        break;
    }
}

static void changed(struct far_xs_watch *watch, const char *path)
{
    struct far_snd *snd = CONTAINER(struct far_snd, watch, watch);

    (void)path;
    far_defer(snd->loop, &snd->look, look);
}

/* --- a card's life ----------------------------------------------------------
 */

unsigned far_snd_streams(const struct far_snd *snd)
{
    return snd->streams;
}

bool far_snd_records(const struct far_snd *snd, unsigned stream)
{
    return snd->stream[stream].records;
}

const struct far_snd_counters *far_snd_counters(const struct far_snd *snd)
{
    return &snd->counters;
}

void *far_snd_ring(struct far_snd *snd, unsigned stream)
{
    return snd->stream[stream].ring_share.memory;
}

void *far_snd_events(struct far_snd *snd, unsigned stream)
{
    return snd->stream[stream].event_share.memory;
}

int far_snd_kick(struct far_snd *snd, unsigned stream)
{
    return far_evtchn_notify(&snd->stream[stream].ring_channel);
}

uint32_t far_snd_gref(const struct far_snd *snd, unsigned stream, unsigned page)
{
    return snd->stream[stream].refs[page];
}

struct far_snd *far_snd_open(struct far_loop *loop, struct far_xs *xs,
                             unsigned devid, const struct far_snd_hooks *hooks,
                             void *arg)
{
    struct far_snd *snd = calloc(1, sizeof(*snd));
    uint64_t id;
    int r;

    if (!snd)
        return NULL;
    snd->loop = loop;
    snd->xs = xs;
    snd->devid = devid;
    snd->hooks = *hooks;
    snd->arg = arg;
    r = far_xs_read(xs, 0, snd->back, sizeof(snd->back),
                    "device/vsnd/%u/backend", devid);
    if (r < 0)
        goto out;
    r = far_xs_read_u64(xs, 0, &id, UINT16_MAX, "device/vsnd/%u/backend-id",
                        devid);
    if (r)
        goto out;
    snd->backend_id = (unsigned)id;
    snd->shares = far_shares_open();
    r = snd->shares ? 0 : -errno;
    if (r)
        goto out;
    set_state(snd, FAR_XB_INITIALISING);
    r = far_xs_watch(xs, &snd->watch, changed, "%s/state", snd->back);
    if (r)
        goto out;
    return snd;
out:
    if (snd->shares)
        far_shares_close(snd->shares);
    free(snd);
    errno = -r;
    return NULL;
}

void far_snd_close(struct far_snd *snd)
{
    if (!snd)
        return;
    far_xs_unwatch(&snd->watch);
    far_defer_cancel(snd->loop, &snd->look);
    drop(snd);
    set_state(snd, FAR_XB_CLOSED);
    far_shares_close(snd->shares);
    free(snd);
}
