// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside metrics --listen: a small HTTP server, in a process of its own, with
// libmicrohttpd. It asks the daemons as `farside status` does, at most once a
// second, whoever asks it how often. It has nothing to tell but /metrics.

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "tools/metrics.h"
#include "tools/status.h"

#define KEEP_US      1000000u
#define CONNECTIONS  16u
#define PER_ADDRESS  8u
#define IDLE_SECONDS 10u
#define MEMORY_BYTES ((size_t)16384) // of a connection

struct server {
    struct far_tool *tool;
    char *text; // of the last answer
    size_t bytes;
    uint64_t when_us;
};

static enum MHD_Result answer(struct MHD_Connection *connection,
                              unsigned status, const char *text, size_t bytes,
                              const char *type)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        bytes, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status,
                           const char *text)
{
    return answer(connection, status, text, strlen(text),
                  "text/plain; charset=utf-8");
}

static bool refresh(struct server *s)
{
    uint64_t now_us = far_now_us();
    unsigned reached;
    json_t *status;
    size_t bytes;
    char *text;

    if (s->text && now_us - s->when_us < KEEP_US)
        return true;
    status = far_status_gather(s->tool, &reached);
    text = status ? far_metrics_text(status, &bytes) : NULL;
    json_decref(status);
    if (!text)
        return false;
    free(s->text);
    s->text = text;
    s->bytes = bytes;
    s->when_us = far_now_us();
    return true;
}

// One thread of libmicrohttpd calls it.
static enum MHD_Result asked(void *arg, struct MHD_Connection *connection,
                             const char *url, const char *method,
                             const char *version, const char *upload,
                             size_t *upload_bytes, void **request)
{
    struct server *s = arg;

    (void)version;
    (void)upload;
    (void)request;
    if (*upload_bytes) { // nobody need tell us anything
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
        strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
    if (strcmp(url, "/metrics") != 0)
        return say(connection, MHD_HTTP_NOT_FOUND, "see /metrics\n");
    if (!refresh(s))
        return say(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory\n");
    return answer(connection, MHD_HTTP_OK, s->text, s->bytes, FAR_METRICS_TYPE);
}

// "9742", "10.0.0.1:9742", "[fd00::1]:9742". 0 or -EINVAL.
static int parse(const char *text, struct sockaddr_storage *address)
{
    const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
    char host[64] = "127.0.0.1";
    struct addrinfo hints = { .ai_flags =
                                  AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_socktype = SOCK_STREAM },
                    *found;
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (colon && (!n || n >= sizeof(host)))
        return -EINVAL;
    if (n > 2 && text[0] == '[' && text[n - 1] == ']')
        snprintf(host, sizeof(host), "%.*s", (int)n - 2, text + 1);
    else if (n && !memchr(text, ':', n))
        snprintf(host, sizeof(host), "%.*s", (int)n, text);
    else if (n)
        return -EINVAL;
    if (!*port || port[strspn(port, "0123456789")] ||
        getaddrinfo(host, port, &hints, &found))
        return -EINVAL;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

int far_metrics_listen(struct far_tool *tool, const char *text)
{
    struct server server = { .tool = tool };
    const union MHD_DaemonInfo *info;
    struct sockaddr_storage address;
    struct MHD_Daemon *daemon;
    sigset_t ends;
    int sig;

    if (parse(text, &address))
        return far_usage("metrics",
                         "--listen wants a port or ADDRESS:PORT with a numeric "
                         "address, not '%s'",
                         text);
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL); // the server's thread has it, too
    daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD |
            (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0u),
        0, NULL, NULL, asked, &server, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, PER_ADDRESS,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_BYTES, MHD_OPTION_END);
    if (!daemon)
        return far_fail("metrics", FAR_EXIT_FAILED, "can't listen at %s: %s",
                        text, strerror(errno));
    info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    fprintf(tool->out, "listening at port %u, path /metrics\n",
            info ? info->port : 0u);
    fflush(tool->out);
    sigwait(&ends, &sig);
    MHD_stop_daemon(daemon);
    free(server.text);
    return FAR_EXIT_OK;
}
