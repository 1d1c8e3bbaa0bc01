/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Questions to etcd (netproxy/etcd-http.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include "netproxy/etcd-http.h"

struct body {
    char *bytes;
    size_t used, room;
    bool failed;
};

static size_t collect(char *bytes, size_t size, size_t n, void *arg)
{
    struct body *b = arg;

    n *= size;
    if (n > FAR_ETCD_ANSWER_BYTES - b->used) {
        b->failed = true;
        return 0;
    }
    if (b->used + n > b->room) {
        size_t room = (b->used + n) * 2;
        char *more = realloc(b->bytes, room);

        if (!more)
            return 0;
        b->bytes = more;
        b->room = room;
    }
    memcpy(b->bytes + b->used, bytes, n);
    b->used += n;
    return n;
}

/* What was written is asked for, whatever it was: this only says when. */
static size_t notice(char *bytes, size_t size, size_t n, void *arg)
{
    (void)bytes;
    ((struct far_etcd_http *)arg)->watched = true;
    return size * n;
}

int far_etcd_http_init(struct far_etcd_http *h)
{
    memset(h, 0, sizeof(*h));
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return -ENOMEM;
    h->easy = curl_easy_init();
    h->multi = curl_multi_init();
    h->headers = curl_slist_append(NULL, "Content-Type: application/json");
    return h->easy && h->multi && h->headers ? 0 : -ENOMEM;
}

static void prepare(struct far_etcd_http *h, CURL *easy, const char *path)
{
    const struct far_etcd_setup *s = h->setup;

    snprintf(h->url, sizeof(h->url), "%s://%s%s", s->clear ? "http" : "https",
             s->endpoints[h->endpoint], path);
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, h->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, s->clear ? "http" : "https");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, h->error);
    if (s->ca[0]) {
        /* That one, and none of those that the machine trusts. */
        curl_easy_setopt(easy, CURLOPT_CAINFO, s->ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (s->cert[0]) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, s->cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, s->key);
    }
}

void far_etcd_http_setup(struct far_etcd_http *h,
                         const struct far_etcd_setup *setup)
{
    far_etcd_http_unwatch(h);
    h->setup = setup;
    h->endpoint = 0;
    /* One that does not answer must not use up the time for the others. */
    h->patience_ms = (long)setup->ttl_s * 1000 / 10;
    if (h->patience_ms > 1000)
        h->patience_ms = 1000;
    curl_easy_cleanup(h->easy); /* its connection with it */
    h->easy = curl_easy_init();
}

/* Of the files for TLS, the first that can't be read, or NULL. */
static const char *unreadable(const struct far_etcd_setup *s)
{
    const char *files[] = { s->ca, s->cert, s->key };

    for (unsigned i = 0; i < 3; i++) {
        if (files[i][0] && access(files[i], R_OK))
            return files[i];
    }
    return NULL;
}

/* In libcurl's words, or better ones. */
static void explain(struct far_etcd_http *h, CURLcode rc, const struct body *b)
{
    const struct far_etcd_setup *s = h->setup;
    const char *said = h->error[0] ? h->error : curl_easy_strerror(rc);
    const char *file = s->clear ? NULL : unreadable(s);

    if (b->failed)
        said = "an answer that is too long";
    else if (!s->clear && strstr(said, "alert"))
        said = s->cert[0] ? "it does not take our certificate ([directory] "
                            "cert)"
                          : "it wants a certificate of ours ([directory] cert "
                            "and key)";
    if (file)
        snprintf(h->reason, sizeof(h->reason),
                 "[directory]: farside-netproxy's user can't read %.120s",
                 file);
    else
        snprintf(h->reason, sizeof(h->reason), "etcd at %.80s: %.100s",
                 s->endpoints[h->endpoint], said);
}

static json_t *ask_one(struct far_etcd_http *h, const char *path,
                       const char *text)
{
    const char *where = h->setup->endpoints[h->endpoint];
    struct body b = { 0 };
    json_t *answer = NULL;
    const char *said;
    long status = 0;
    CURLcode rc;

    prepare(h, h->easy, path);
    h->error[0] = '\0';
    curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, h->patience_ms);
    curl_easy_setopt(h->easy, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(h->easy, CURLOPT_WRITEDATA, &b);
    rc = curl_easy_perform(h->easy);
    curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
    if (rc) {
        explain(h, rc, &b);
    } else {
        answer = json_loadb(b.bytes ? b.bytes : "", b.used, 0, NULL);
        said = json_string_value(json_object_get(answer, "error"));
        if (status != 200 || said || !json_is_object(answer)) {
            snprintf(h->reason, sizeof(h->reason),
                     "etcd at %.80s: answers %ld, %.80s", where, status,
                     said     ? said
                     : answer ? "which it should not"
                              : "and no JSON");
            json_decref(answer);
            answer = NULL;
        }
    }
    free(b.bytes);
    return answer;
}

json_t *far_etcd_http_ask(struct far_etcd_http *h, const char *path,
                          json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *answer = NULL;
    unsigned i;

    json_decref(body);
    snprintf(h->reason, sizeof(h->reason), "out of memory");
    for (i = 0; text && h->easy && i < h->setup->endpoint_count; i++) {
        answer = ask_one(h, path, text);
        if (answer)
            break;
        h->endpoint = (h->endpoint + 1) % h->setup->endpoint_count;
    }
    free(text);
    return answer;
}

bool far_etcd_http_watch(struct far_etcd_http *h, const char *prefix)
{
    int running = 1;

    if (!h->watch) {
        json_t *body = json_pack("{s:{s:o, s:o}}", "create_request", "key",
                                 far_base64_json(prefix), "range_end",
                                 far_base64_end_json(prefix));

        h->watch_body = body ? json_dumps(body, JSON_COMPACT) : NULL;
        json_decref(body);
        h->watch = curl_easy_init();
        if (!h->watch || !h->watch_body) {
            far_etcd_http_unwatch(h);
            return false;
        }
        prepare(h, h->watch, "/v3/watch");
        curl_easy_setopt(h->watch, CURLOPT_ERRORBUFFER, NULL);
        curl_easy_setopt(h->watch, CURLOPT_POSTFIELDS, h->watch_body);
        curl_easy_setopt(h->watch, CURLOPT_CONNECTTIMEOUT_MS, h->patience_ms);
        curl_easy_setopt(h->watch, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(h->watch, CURLOPT_WRITEFUNCTION, notice);
        curl_easy_setopt(h->watch, CURLOPT_WRITEDATA, h);
        curl_multi_add_handle(h->multi, h->watch);
    }
    if (curl_multi_perform(h->multi, &running) || !running) {
        far_etcd_http_unwatch(h);
        return false;
    }
    return true;
}

void far_etcd_http_unwatch(struct far_etcd_http *h)
{
    if (h->watch) {
        curl_multi_remove_handle(h->multi, h->watch);
        curl_easy_cleanup(h->watch);
    }
    h->watch = NULL;
    free(h->watch_body);
    h->watch_body = NULL;
}

/* ---- JSON ---- */

static json_t *encode(const char *bytes, size_t n)
{
    const gnutls_datum_t in = { (unsigned char *)(uintptr_t)bytes,
                                (unsigned)n };
    gnutls_datum_t out = { 0 };
    json_t *json = NULL;

    if (!gnutls_base64_encode2(&in, &out))
        json = json_stringn((const char *)out.data, out.size);
    gnutls_free(out.data);
    return json;
}

json_t *far_base64_json(const char *text)
{
    return encode(text, strlen(text));
}

json_t *far_base64_end_json(const char *text)
{
    char end[512];
    size_t n = strlen(text);

    if (!n || n >= sizeof(end))
        return NULL;
    memcpy(end, text, n);
    end[n - 1]++; /* it ends with a '/' */
    return encode(end, n);
}

bool far_base64_text(char *out, size_t room, const json_t *value)
{
    const char *text = json_string_value(value);
    gnutls_datum_t in, decoded = { 0 };
    bool fits = false;

    if (!text || !*text || json_string_length(value) > 4096)
        return false;
    in.data = (unsigned char *)(uintptr_t)text;
    in.size = (unsigned)json_string_length(value);
    if (!gnutls_base64_decode2(&in, &decoded) && decoded.size &&
        decoded.size < room && !memchr(decoded.data, 0, decoded.size)) {
        memcpy(out, decoded.data, decoded.size);
        out[decoded.size] = '\0';
        fits = true;
    }
    gnutls_free(decoded.data);
    return fits;
}

int64_t far_json_int64(const json_t *value)
{
    const char *text = json_string_value(value);
    char *end;
    long long n;

    if (json_is_integer(value))
        return json_integer_value(value);
    if (!text)
        return 0;
    errno = 0;
    n = strtoll(text, &end, 10);
    return errno || *end || end == text ? 0 : n;
}
