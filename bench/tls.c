/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A bare GnuTLS loop: one process sends a short question for each block that it
 * wants, the other answers with the block; nothing else is done. TLS 1.3 with
 * a pre-shared key and AES-128-GCM, as Farside's links have it.
 *
 * usage: tls BYTES DEPTH SECONDS CPU-A CPU-B   (-1: unpinned)
 */
#include <gnutls/gnutls.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include "bench/samples.h"
#include "core/clock.h"

#define QUESTION_BYTES 96
#define WARM_US        300000u

static unsigned char secret[16] = "sixteen bytes...";

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "tls: %s\n", what);
    exit(1);
}

static int give_key(gnutls_session_t s, const char *name, gnutls_datum_t *key)
{
    (void)s;
    (void)name;
    key->data = gnutls_malloc(sizeof(secret));
    if (!key->data)
        return -1;
    memcpy(key->data, secret, sizeof(secret));
    key->size = sizeof(secret);
    return 0;
}

static gnutls_session_t begin(int fd, bool server)
{
    gnutls_datum_t key = { secret, sizeof(secret) };
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t owner;
    gnutls_session_t s;
    int r;

    if (gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
                            GNUTLS_NO_TICKETS) < 0 ||
        gnutls_priority_set_direct(s,
                                   "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:"
                                   "+ECDHE-PSK:-CHACHA20-POLY1305",
                                   NULL) < 0)
        die("init");
    if (server) {
        gnutls_psk_allocate_server_credentials(&owner);
        gnutls_psk_set_server_credentials_function(owner, give_key);
        gnutls_credentials_set(s, GNUTLS_CRD_PSK, owner);
    } else {
        gnutls_psk_allocate_client_credentials(&client);
        gnutls_psk_set_client_credentials(client, "bench", &key,
                                          GNUTLS_PSK_KEY_RAW);
        gnutls_credentials_set(s, GNUTLS_CRD_PSK, client);
    }
    gnutls_transport_set_int(s, fd);
    do
        r = gnutls_handshake(s);
    while (r < 0 && !gnutls_error_is_fatal(r));
    if (r < 0)
        die(gnutls_strerror(r));
    return s;
}

static void put(gnutls_session_t s, const uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = gnutls_record_send(s, data, bytes);

        if (n <= 0)
            exit(0); /* the other side is done */
        data += n;
        bytes -= (size_t)n;
    }
}

static void get(gnutls_session_t s, uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t n = gnutls_record_recv(s, data, bytes);

        if (n <= 0)
            exit(0);
        data += n;
        bytes -= (size_t)n;
    }
}

static int connected(struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0 || connect(fd, (struct sockaddr *)to, sizeof(*to)) < 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

int main(int argc, char **argv)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t in_bytes = sizeof(in);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    uint8_t question[QUESTION_BYTES] = { 1 }, *block;
    uint64_t begun_us = 0, end_us = 0, now_us, blocks = 0;
    size_t bytes;
    unsigned depth;
    double seconds;
    gnutls_session_t s;
    pid_t child;

    if (argc < 6 || listener < 0)
        return 2;
    bytes = (size_t)atol(argv[1]);
    depth = (unsigned)atoi(argv[2]);
    seconds = atof(argv[3]);
    block = calloc(1, bytes);
    if (!block || bind(listener, (struct sockaddr *)&in, sizeof(in)) < 0 ||
        listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&in, &in_bytes) < 0)
        die("listen");
    child = fork();
    if (child < 0)
        die("fork");
    if (!child) {
        int fd;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        samples_pin(atoi(argv[5]));
        fd = accept(listener, NULL, NULL);
        if (fd < 0)
            die("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        s = begin(fd, true);
        for (;;) {
            get(s, question, sizeof(question));
            put(s, block, bytes);
        }
    }
    samples_pin(atoi(argv[4]));
    s = begin(connected(&in), false);
    for (unsigned i = 0; i < depth; i++)
        put(s, question, sizeof(question));
    end_us = far_now_us() + WARM_US;
    for (;;) {
        get(s, block, bytes);
        put(s, question, sizeof(question));
        now_us = far_now_us();
        if (begun_us && ++blocks && now_us >= end_us)
            break;
        if (!begun_us && now_us >= end_us) {
            begun_us = now_us;
            end_us = now_us + (uint64_t)(seconds * 1e6);
        }
    }
    seconds = (double)(now_us - begun_us) * 1e-6;
    printf("{\"per_s\": %.1f, \"mib_per_s\": %.2f}\n", (double)blocks / seconds,
           (double)blocks * (double)bytes / seconds / 1048576);
    fflush(stdout);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
