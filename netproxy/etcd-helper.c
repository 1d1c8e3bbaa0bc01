/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The helper process that talks to etcd (netproxy/etcd.h): the lease, the keys
 * under it, who owns what, and what all servers offer. It decides nothing by
 * itself but what the daemon has asked for; when the daemon asks no more, the
 * lease runs out.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "netproxy/etcd-http.h"

#define KEY_BYTES (FAR_ETCD_PREFIX_BYTES + 2 * FAR_NAME_BYTES + 16)
/* PLATFORM BOOT-ID PROCESS TTL */
#define CLAIM_BYTES   200
#define BOOT_BYTES    40
#define PROCESS_BYTES 40
#define TTL_MAX_S     3600

/* Changes that come in a burst are asked for once. */
#define CALM_US        100000
#define WATCH_AGAIN_US 1000000
/* For an answer, where no lease may run out meanwhile. */
#define GIVE_BACK_MS 2000

struct claim {
    char platform[FAR_NAME_BYTES];
    char boot[BOOT_BYTES];
    char process[PROCESS_BYTES];
    uint32_t ttl_s;
};

struct offer {
    struct far_etcd_offer is;
    bool registered, mine;
    bool recorded; /* `last` is us */
    uint64_t from_us, until_us;
    char holder[FAR_NAME_BYTES];
};

struct helper {
    int fd;
    struct far_etcd_http http;
    struct far_etcd_setup setup, next_setup;
    struct far_etcd_offer *next; /* as they come */
    unsigned next_count;
    struct offer *offers;
    unsigned count;
    int64_t lease; /* 0: none */
    uint32_t ttl_s;
    char boot[BOOT_BYTES];
    unsigned long pid_namespace;
    pid_t daemon;
    bool ready;                     /* there is a setup */
    uint64_t snapshot_us, watch_us; /* the last */
    char said[232];                 /* the last trouble */
    char advice[232];               /* what somebody should mend, or "" */
    uint64_t told_hash;             /* of the places that the daemon knows */
};

/* If the daemon has gone, what it said last is still to be read. */
static void tell(struct helper *h, const void *message, size_t bytes)
{
    (void)send(h->fd, message, bytes, MSG_NOSIGNAL);
}

static void tell_trouble(struct helper *h, const char *text)
{
    struct far_etcd_trouble m = { .what = FAR_ETCD_TROUBLE };

    if (!strcmp(h->said, text))
        return;
    snprintf(h->said, sizeof(h->said), "%s", text);
    snprintf(m.text, sizeof(m.text), "%s", text);
    tell(h, &m, sizeof(m));
}

static void tell_lease(struct helper *h, const struct offer *o)
{
    struct far_etcd_lease m = { .what = FAR_ETCD_LEASE,
                                .until_us = o->until_us,
                                .from_us = o->mine ? o->from_us : 0 };

    m.generation = h->setup.generation;
    memcpy(m.name, o->is.name, sizeof(m.name));
    memcpy(m.holder, o->holder, sizeof(m.holder));
    tell(h, &m, sizeof(m));
}

/* ---- keys ---- */

static json_t *key(const struct helper *h, const char *kind, const char *name,
                   const char *platform)
{
    char text[KEY_BYTES];

    snprintf(text, sizeof(text), "%s%s/%s%s%s", h->setup.prefix, kind, name,
             platform ? "/" : "", platform ? platform : "");
    return far_base64_json(text);
}

static json_t *our_claim(const struct helper *h)
{
    char text[CLAIM_BYTES];

    snprintf(text, sizeof(text), "%s %s %lu-%d %u", h->setup.platform, h->boot,
             h->pid_namespace, (int)h->daemon, h->ttl_s);
    return far_base64_json(text);
}

static bool read_claim(struct claim *c, const json_t *value)
{
    char text[CLAIM_BYTES];
    unsigned ttl_s;

    memset(c, 0, sizeof(*c));
    if (!far_base64_text(text, sizeof(text), value) ||
        sscanf(text, "%63s %39s %39s %u", c->platform, c->boot, c->process,
               &ttl_s) != 4 ||
        !far_name_valid(c->platform) || !ttl_s || ttl_s > TTL_MAX_S)
        return false;
    c->ttl_s = ttl_s;
    return true;
}

/* Was it this process, or one of this platform that can't act any more? What
 * another PID namespace has cannot be seen from here, and may live. */
static bool is_us(const struct helper *h, const struct claim *c)
{
    unsigned long pid_namespace;
    int pid;

    return !strcmp(c->platform, h->setup.platform) &&
           !strcmp(c->boot, h->boot) &&
           sscanf(c->process, "%lu-%d", &pid_namespace, &pid) == 2 &&
           pid_namespace == h->pid_namespace && pid > 0 &&
           (pid == h->daemon || (kill(pid, 0) < 0 && errno == ESRCH));
}

static json_t *lease_text(const struct helper *h)
{
    return json_sprintf("%lld", (long long)h->lease);
}

/* ---- the lease ---- */

static void lose_all(struct helper *h)
{
    unsigned i;

    h->lease = 0;
    for (i = 0; i < h->count; i++)
        h->offers[i].registered = h->offers[i].mine = h->offers[i].recorded =
            false;
}

static void lost(struct helper *h)
{
    unsigned i;

    lose_all(h);
    for (i = 0; i < h->count; i++) {
        if (h->offers[i].until_us) {
            h->offers[i].until_us = 0;
            tell_lease(h, &h->offers[i]);
        }
    }
}

static bool grant(struct helper *h)
{
    json_t *answer = far_etcd_http_ask(
        &h->http, "/v3/lease/grant",
        json_pack("{s:I}", "TTL", (json_int_t)h->setup.ttl_s));
    int64_t ttl_s = far_json_int64(json_object_get(answer, "TTL"));

    h->lease = far_json_int64(json_object_get(answer, "ID"));
    /* Never more than was asked for: successors are told that. */
    h->ttl_s =
        ttl_s > 0 && ttl_s < h->setup.ttl_s ? (uint32_t)ttl_s : h->setup.ttl_s;
    if (answer && (!h->lease || ttl_s <= 0)) {
        h->lease = 0;
        snprintf(h->http.reason, sizeof(h->http.reason),
                 "etcd grants a lease without number or time");
    }
    json_decref(answer);
    return h->lease;
}

/* There is one, and it has all of its time from now on. */
static bool keep_lease(struct helper *h)
{
    json_t *answer;
    int64_t ttl_s;

    if (!h->lease)
        return grant(h);
    answer = far_etcd_http_ask(&h->http, "/v3/lease/keepalive",
                               json_pack("{s:o}", "ID", lease_text(h)));
    if (!answer)
        return false;
    ttl_s = far_json_int64(
        json_object_get(json_object_get(answer, "result"), "TTL"));
    json_decref(answer);
    if (ttl_s >= h->ttl_s)
        return true;
    lost(h);
    return grant(h);
}

/* ---- who owns it ---- */

/* Of the n-th range that a transaction asked for. */
static const json_t *kv_of(const json_t *answer, size_t n)
{
    return json_array_get(
        json_object_get(
            json_object_get(
                json_array_get(json_object_get(answer, "responses"), n),
                "response_range"),
            "kvs"),
        0);
}

static bool succeeded(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "succeeded"));
}

static json_t *range(const struct helper *h, const char *kind,
                     const struct offer *o)
{
    return json_pack("{s:{s:o}}", "request_range", "key",
                     key(h, kind, o->is.name, NULL));
}

static json_t *put_claim(const struct helper *h, const char *kind,
                         const struct offer *o, bool leased)
{
    json_t *request =
        json_pack("{s:o, s:o}", "key", key(h, kind, o->is.name, NULL), "value",
                  our_claim(h));

    if (leased && request)
        json_object_set_new(request, "lease", lease_text(h));
    return json_pack("{s:o}", "request_put", request);
}

static json_t *drop(const struct helper *h, const char *kind,
                    const struct offer *o)
{
    return json_pack("{s:{s:o}}", "request_delete_range", "key",
                     key(h, kind, o->is.name, NULL));
}

/* If the owner's key is as it should be: target and what of it is value. */
static json_t *ask_if(struct helper *h, const struct offer *o,
                      const char *target, const char *field, json_t *value,
                      json_t *success, json_t *failure)
{
    return far_etcd_http_ask(
        &h->http, "/v3/kv/txn",
        json_pack("{s:[{s:o, s:s, s:s, s:o}], s:o, s:o}", "compare", "key",
                  key(h, "owner", o->is.name, NULL), "target", target, "result",
                  "EQUAL", field, value, "success", success, "failure",
                  failure));
}

/* The key is ours: when may we act? last: who had it before, and did not give
 * it back; it stays there until we have waited for it. */
static void succeed(struct helper *h, struct offer *o, const json_t *last)
{
    struct claim c;
    uint32_t ttl_s = h->ttl_s;

    o->mine = true;
    o->recorded = false;
    o->from_us = 0;
    memcpy(o->holder, h->setup.platform, sizeof(o->holder));
    if (!last)
        return;
    if (read_claim(&c, json_object_get(last, "value"))) {
        if (is_us(h, &c))
            return;
        if (c.ttl_s > ttl_s)
            ttl_s = c.ttl_s;
    }
    o->from_us =
        far_boot_us() + ttl_s * 1000000ull + far_lease_margin_us(ttl_s);
}

/* Nobody's: it becomes ours. Ours: it is left alone. False: etcd does not say.
 */
static bool claim(struct helper *h, struct offer *o)
{
    json_t *answer =
        ask_if(h, o, "CREATE", "create_revision", json_string("0"),
               json_pack("[o, o]", range(h, "last", o),
                         put_claim(h, "owner", o, true)),
               json_pack("[o, o]", range(h, "owner", o), range(h, "last", o)));
    const json_t *kv = kv_of(answer, 0);
    struct claim c;
    int64_t revision = far_json_int64(json_object_get(kv, "mod_revision"));

    if (!answer)
        return false;
    if (succeeded(answer)) {
        succeed(h, o, kv);
    } else if (far_json_int64(json_object_get(kv, "lease")) == h->lease) {
        if (!o->mine) /* we had not heard that it succeeded */
            succeed(h, o, kv_of(answer, 1));
    } else {
        o->mine = false;
        if (!read_claim(&c, json_object_get(kv, "value")))
            snprintf(c.platform, sizeof(c.platform), "?");
        memcpy(o->holder, c.platform, sizeof(o->holder));
        json_decref(answer);
        if (!is_us(h, &c) || revision <= 0)
            return true;
        /* A dead process of this platform had it. */
        answer = ask_if(h, o, "MOD", "mod_revision",
                        json_sprintf("%lld", (long long)revision),
                        json_pack("[o, o]", range(h, "last", o),
                                  put_claim(h, "owner", o, true)),
                        json_array());
        if (!answer)
            return false;
        if (succeeded(answer))
            succeed(h, o, kv_of(answer, 0));
    }
    json_decref(answer);
    return true;
}

/* Before we act, whoever comes after us must know of it. */
static bool record(struct helper *h, struct offer *o)
{
    json_t *answer =
        ask_if(h, o, "LEASE", "lease", lease_text(h),
               json_pack("[o]", put_claim(h, "last", o, false)), json_array());

    if (!answer)
        return false;
    o->recorded = succeeded(answer);
    json_decref(answer);
    return true;
}

static bool own(struct helper *h, struct offer *o)
{
    if (!claim(h, o))
        return false;
    if (!o->mine || o->recorded || far_boot_us() < o->from_us)
        return true;
    return record(h, o);
}

/* False: etcd does not answer. Then its lease runs out. */
static bool give_back(struct helper *h, struct offer *o)
{
    json_t *success, *answer;
    bool heard = true;

    if (o->mine) {
        success = json_pack("[o]", drop(h, "owner", o));
        if (o->recorded) /* else a former owner is still to be waited for */
            json_array_append_new(success, drop(h, "last", o));
        answer = ask_if(h, o, "LEASE", "lease", lease_text(h), success,
                        json_array());
        heard = answer;
        json_decref(answer);
    }
    if (heard && o->registered) {
        answer = far_etcd_http_ask(
            &h->http, "/v3/kv/deleterange",
            json_pack("{s:o}", "key",
                      key(h, "devices", o->is.name, h->setup.platform)));
        heard = answer;
        json_decref(answer);
    }
    o->mine = o->registered = o->recorded = false;
    return heard;
}

static void give_all_back(struct helper *h)
{
    unsigned i;

    if (!h->lease)
        return;
    h->http.patience_ms = GIVE_BACK_MS;
    for (i = 0; i < h->count && give_back(h, &h->offers[i]); i++)
        ;
    if (i == h->count)
        json_decref(far_etcd_http_ask(&h->http, "/v3/lease/revoke",
                                      json_pack("{s:o}", "ID", lease_text(h))));
    lose_all(h);
}

/* ---- what all offer ---- */

/* NAME, or NAME/PLATFORM, behind the prefix and kind of a key. */
static bool split(const struct helper *h, const char *text, const char *kind,
                  char name[FAR_NAME_BYTES], char platform[FAR_NAME_BYTES])
{
    size_t prefix = strlen(h->setup.prefix), n = strlen(kind);
    const char *slash;

    if (strncmp(text, h->setup.prefix, prefix) ||
        strncmp(text + prefix, kind, n) || text[prefix + n] != '/')
        return false;
    text += prefix + n + 1;
    slash = strchr(text, '/');
    n = slash ? (size_t)(slash - text) : strlen(text);
    if (n >= FAR_NAME_BYTES || !slash != !platform ||
        (slash && strlen(slash + 1) >= FAR_NAME_BYTES))
        return false;
    memset(name, 0, FAR_NAME_BYTES);
    memcpy(name, text, n);
    if (platform) {
        memset(platform, 0, FAR_NAME_BYTES);
        memcpy(platform, slash + 1, strlen(slash + 1));
    }
    return far_name_valid(name) && name[0] != '.' &&
           (!platform || (far_name_valid(platform) && platform[0] != '.'));
}

/* NAME: platform of each that has an owner. */
static json_t *read_owners(const struct helper *h, const json_t *kvs)
{
    json_t *owners = json_object(), *kv;
    char text[KEY_BYTES], name[FAR_NAME_BYTES];
    struct claim c;
    size_t i;

    json_array_foreach (kvs, i, kv) {
        if (far_base64_text(text, sizeof(text), json_object_get(kv, "key")) &&
            split(h, text, "owner", name, NULL) &&
            read_claim(&c, json_object_get(kv, "value")))
            json_object_set_new(owners, name, json_string(c.platform));
    }
    return owners;
}

static void seen(struct helper *h, const struct far_etcd_place *p,
                 const json_t *kv)
{
    unsigned i;

    for (i = 0; i < h->count; i++) {
        struct offer *o = &h->offers[i];

        if (!strcmp(p->platform, h->setup.platform) &&
            !strcmp(p->name, o->is.name) && !strcmp(p->device, o->is.device) &&
            far_json_int64(json_object_get(kv, "lease")) == h->lease)
            o->registered = true;
    }
}

static bool read_place(struct helper *h, const json_t *kv, const json_t *owners,
                       struct far_etcd_place *p)
{
    char text[KEY_BYTES];
    const char *owner;

    memset(p, 0, sizeof(*p));
    p->what = FAR_ETCD_PLACE;
    if (!far_base64_text(text, sizeof(text), json_object_get(kv, "key")) ||
        !split(h, text, "devices", p->name, p->platform) ||
        !far_base64_text(text, sizeof(p->device),
                         json_object_get(kv, "value")) ||
        !far_name_valid(text))
        return false;
    memcpy(p->device, text, strlen(text));
    owner = json_string_value(json_object_get(owners, p->name));
    p->owner = owner && !strcmp(owner, p->platform);
    return true;
}

/* Of two servers of one name both must know that it has an owner. */
static void advise(struct helper *h, const json_t *owners)
{
    unsigned i;

    h->advice[0] = '\0';
    for (i = 0; i < h->count && !h->advice[0]; i++) {
        const struct far_etcd_offer *is = &h->offers[i].is;
        const char *owner =
            json_string_value(json_object_get(owners, is->name));

        if (owner && !is->leased)
            snprintf(h->advice, sizeof(h->advice),
                     "%.40s belongs to %.40s, and [export %.40s] is served "
                     "without a lease: lease = on is missing",
                     is->name, owner, is->device);
    }
}

static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    while (n--)
        h = (h ^ *at++) * UINT64_C(0x100000001b3);
    return h;
}

static bool snapshot(struct helper *h)
{
    json_t *answer = far_etcd_http_ask(
        &h->http, "/v3/kv/range",
        json_pack("{s:o, s:o, s:i}", "key", far_base64_json(h->setup.prefix),
                  "range_end", far_base64_end_json(h->setup.prefix), "limit",
                  4 * FAR_ETCD_PLACES));
    const json_t *kvs = json_object_get(answer, "kvs");
    uint32_t begin = FAR_ETCD_BEGIN, end = FAR_ETCD_END;
    struct far_etcd_place *places;
    uint64_t now = UINT64_C(0xcbf29ce484222325);
    json_t *owners, *kv;
    unsigned count = 0;
    size_t i;

    h->snapshot_us = far_boot_us();
    places = answer ? calloc(FAR_ETCD_PLACES, sizeof(*places)) : NULL;
    if (!places) {
        json_decref(answer);
        return false;
    }
    owners = read_owners(h, kvs);
    for (i = 0; i < h->count; i++)
        h->offers[i].registered = false;
    json_array_foreach (kvs, i, kv) {
        if (count == FAR_ETCD_PLACES)
            break;
        if (!read_place(h, kv, owners, &places[count]))
            continue;
        seen(h, &places[count], kv);
        now = hash(now, &places[count++], sizeof(*places));
    }
    advise(h, owners);
    json_decref(owners);
    json_decref(answer);
    if (now != h->told_hash) {
        h->told_hash = now;
        tell(h, &begin, sizeof(begin));
        for (i = 0; i < count; i++)
            tell(h, &places[i], sizeof(places[i]));
        tell(h, &end, sizeof(end));
    }
    free(places);
    return true;
}

/* ---- rounds ---- */

static bool offer_it(struct helper *h, struct offer *o)
{
    json_t *answer = far_etcd_http_ask(
        &h->http, "/v3/kv/put",
        json_pack("{s:o, s:o, s:o}", "key",
                  key(h, "devices", o->is.name, h->setup.platform), "value",
                  far_base64_json(o->is.device), "lease", lease_text(h)));

    o->registered = answer;
    json_decref(answer);
    return o->registered;
}

static bool renew(struct helper *h)
{
    uint64_t began_us = far_boot_us();
    unsigned i;

    if (h->count && !keep_lease(h))
        return false;
    for (i = 0; i < h->count; i++) {
        struct offer *o = &h->offers[i];

        if (!o->registered && !offer_it(h, o))
            return false;
        if (!o->is.leased)
            continue;
        if (!own(h, o))
            return false;
        o->until_us = o->mine && o->recorded
                          ? began_us + h->ttl_s * 1000000ull -
                                far_lease_margin_us(h->ttl_s)
                          : 0;
        tell_lease(h, o);
    }
    return snapshot(h);
}

/* ---- the daemon's words ---- */

/* Who owns a name goes on owning it if it stands for another device. */
static struct offer *same_offer(const struct helper *h,
                                const struct far_etcd_offer *is)
{
    unsigned i;

    for (i = 0; i < h->count; i++) {
        struct offer *o = &h->offers[i];

        if (!strcmp(o->is.name, is->name) && o->is.leased == is->leased)
            return o;
    }
    return NULL;
}

static void go(struct helper *h)
{
    struct offer *offers = calloc(h->next_count + 1, sizeof(*offers));
    struct far_etcd_setup was = h->setup;
    unsigned i, k;

    if (!offers)
        _exit(1);
    was.generation = h->next_setup.generation;
    if (h->ready && memcmp(&was, &h->next_setup, sizeof(was)))
        give_all_back(h);
    for (i = 0; i < h->count; i++) {
        for (k = 0; k < h->next_count; k++) {
            if (same_offer(h, &h->next[k]) == &h->offers[i])
                break;
        }
        if (k < h->next_count || give_back(h, &h->offers[i]))
            continue;
        /* Then with the whole lease, as it runs out; what stays offered gets
         * another one. */
        lose_all(h);
        break;
    }
    for (k = 0; k < h->next_count; k++) {
        struct offer *had = same_offer(h, &h->next[k]);

        if (had)
            offers[k] = *had;
        if (strcmp(offers[k].is.device, h->next[k].device))
            offers[k].registered = false;
        offers[k].is = h->next[k];
    }
    free(h->offers);
    h->offers = offers;
    h->count = h->next_count;
    if (!h->ready || memcmp(&was, &h->next_setup, sizeof(was))) {
        h->setup = h->next_setup;
        h->ttl_s = h->setup.ttl_s;
        h->told_hash = 0;
        far_etcd_http_setup(&h->http, &h->setup);
    }
    h->setup.generation = h->next_setup.generation;
    h->ready = true;
}

/* True: renew. */
static bool take(struct helper *h, const union far_etcd_message *m,
                 size_t bytes)
{
    switch (bytes >= sizeof(m->what) ? m->what : 0) {
    case FAR_ETCD_SETUP:
        if (bytes == sizeof(m->setup))
            h->next_setup = m->setup;
        h->next_count = 0;
        break;
    case FAR_ETCD_OFFER:
        if (bytes == sizeof(m->offer) && h->next_count < FAR_ETCD_OFFERS)
            h->next[h->next_count++] = m->offer;
        break;
    case FAR_ETCD_GO:
        go(h);
        break;
    case FAR_ETCD_RENEW:
        return h->ready;
    case FAR_ETCD_BYE:
        if (h->ready)
            give_all_back(h);
        _exit(0);
    default:
        break;
    }
    return false;
}

static bool listen_to_daemon(struct helper *h)
{
    union far_etcd_message m;
    bool asked = false;
    ssize_t n;

    while ((n = recv(h->fd, &m, sizeof(m), MSG_DONTWAIT)) > 0)
        asked |= take(h, &m, (size_t)n);
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        _exit(0); /* killed: its leases run out */
    return asked;
}

static void read_boot(struct helper *h)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    struct stat st;

    /* Without it nobody is us. */
    if (!f || fscanf(f, "%39s", h->boot) != 1)
        snprintf(h->boot, sizeof(h->boot), "unknown-%d", (int)getpid());
    if (f)
        fclose(f);
    if (!stat("/proc/self/ns/pid", &st))
        h->pid_namespace = st.st_ino;
    else
        snprintf(h->boot, sizeof(h->boot), "unknown-%d", (int)getpid());
}

/* The stream ends with its server, and is begun anew. */
static void keep_watch(struct helper *h)
{
    uint64_t now_us = far_boot_us();

    if (!h->http.watch && now_us - h->watch_us < WATCH_AGAIN_US)
        return;
    if (!h->http.watch)
        h->watch_us = now_us;
    far_etcd_http_watch(&h->http, h->setup.prefix);
}

void far_etcd_helper(int fd, pid_t daemon)
{
    struct helper *h = calloc(1, sizeof(*h));

    if (!h || !(h->next = calloc(FAR_ETCD_OFFERS, sizeof(*h->next))) ||
        far_etcd_http_init(&h->http))
        _exit(1);
    h->fd = fd;
    h->daemon = daemon;
    read_boot(h);
    for (;;) {
        struct curl_waitfd wait = { .fd = fd, .events = CURL_WAIT_POLLIN };
        uint64_t since_us;

        if (h->ready)
            keep_watch(h);
        curl_multi_poll(h->http.multi, &wait, 1,
                        h->http.watched ? CALM_US / 1000 : 1000, NULL);
        if (listen_to_daemon(h))
            tell_trouble(h, renew(h) ? h->advice : h->http.reason);
        since_us = far_boot_us() - h->snapshot_us;
        if (h->ready && h->http.watched && since_us >= CALM_US) {
            h->http.watched = false;
            snapshot(h);
        }
    }
}
