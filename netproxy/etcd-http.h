/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Questions to etcd's JSON gateway, by libcurl, one after the other, and the
 * stream of a watch beside them. What they mean is netproxy/etcd-helper.c's.
 * Answers are not trusted: they are bounded, and JSON or nothing.
 */
#ifndef FARSIDE_NETPROXY_ETCD_HTTP_H
#define FARSIDE_NETPROXY_ETCD_HTTP_H

#include <curl/curl.h>
#include <jansson.h>
#include "netproxy/etcd.h"

#define FAR_ETCD_ANSWER_BYTES (4u << 20)

struct far_etcd_http {
    const struct far_etcd_setup *setup;
    CURL *easy; /* keeps its connection */
    unsigned endpoint;
    long patience_ms; /* for one answer */
    char reason[200]; /* of the last failure */
    CURLM *multi;
    CURL *watch;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    bool watched; /* something came by the watch */
    char *watch_body;
    char url[400];
};

/* 0 or -ENOMEM. setup stays the caller's. */
int far_etcd_http_init(struct far_etcd_http *http);
/* Another setup: connections end. */
void far_etcd_http_setup(struct far_etcd_http *http,
                         const struct far_etcd_setup *setup);
/* POSTs body (taken over) to path; tries each endpoint once, beginning with the
 * one that answered last. The answer, or NULL: reason says why. An error that
 * etcd answers with is NULL too. */
json_t *far_etcd_http_ask(struct far_etcd_http *http, const char *path,
                          json_t *body);
/* Begins to watch all keys that begin with the prefix, or looks at the stream.
 * False: it has ended, and can be begun again. */
bool far_etcd_http_watch(struct far_etcd_http *http, const char *prefix);
void far_etcd_http_unwatch(struct far_etcd_http *http);

/* Keys and values are in base64. NULL: out of memory. */
json_t *far_base64_json(const char *text);
/* Like far_base64_json() of the first key behind all that begin with text. */
json_t *far_base64_end_json(const char *text);
/* False: it is none, longer than room - 1, or not text. */
bool far_base64_text(char *out, size_t room, const json_t *value);
/* An integer of 64 bits is a string in that JSON; 0 if it is none. */
int64_t far_json_int64(const json_t *value);

#endif
