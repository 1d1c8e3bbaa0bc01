/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS over our own buffers (netproxy/tls.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#include "core/clock.h"
#include "netproxy/tls.h"

/* Ciphertext: what one turn takes in, and a record that is not whole. */
#define IN_BYTES_MAX        (6 * (FAR_TLS_RECORD_BYTES + 512))
#define HANDSHAKE_BYTES_MAX 8192
#define OUT_BYTES_MAX       (8 * (FAR_TLS_RECORD_BYTES + 512))

static bool processor_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    unsigned long caps = getauxval(AT_HWCAP);

    return (caps & HWCAP_AES) && (caps & HWCAP_PMULL);
#else
    return false;
#endif
}

/* With a pre-shared key GnuTLS 3.7 prefers CHACHA20-POLY1305, which costs a
 * factor of five where the processor has AES. Only ECDHE-PSK: a key that leaks
 * later does not open what was recorded. */
static int set_priority(gnutls_session_t session)
{
    return gnutls_priority_set_direct(
        session,
        processor_has_aes()
            ? "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:"
              "-CHACHA20-POLY1305"
            : "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK",
        NULL);
}

static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t bytes)
{
    struct far_tls *tls = arg;
    size_t used = far_buf_used(&tls->in);

    if (!used) {
        if (tls->in_ended)
            return 0;
        gnutls_transport_set_errno(tls->session, EAGAIN);
        return -1;
    }
    if (bytes > used)
        bytes = used;
    memcpy(data, far_buf_at(&tls->in), bytes);
    far_buf_consume(&tls->in, bytes);
    return (ssize_t)bytes;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *data, size_t bytes)
{
    struct far_tls *tls = arg;
    uint8_t *room = far_buf_reserve(&tls->out, bytes);

    if (!room) {
        gnutls_transport_set_errno(tls->session, ENOBUFS);
        return -1;
    }
    memcpy(room, data, bytes);
    far_buf_commit(&tls->out, bytes);
    return (ssize_t)bytes;
}

/* 0, or 1 for an identity that has no key: GnuTLS then goes on with a random
 * one, and who tries names hears the same of all of them. */
static int find_key(gnutls_session_t session, const gnutls_datum_t *identity,
                    gnutls_datum_t *key)
{
    struct far_tls *tls = gnutls_session_get_ptr(session);
    const struct far_key *found;
    char name[FAR_NAME_BYTES];

    if (identity->size >= sizeof(name))
        return 1;
    memcpy(name, identity->data, identity->size);
    name[identity->size] = 0;
    if (!far_name_valid(name) || strlen(name) != identity->size)
        return 1;
    memcpy(tls->identity, name, sizeof(name));
    found = far_keys_find(tls->keys, name);
    if (!found)
        return 1;
    key->data = gnutls_malloc(found->bytes);
    if (!key->data)
        return -1;
    memcpy(key->data, found->key, found->bytes);
    key->size = (unsigned)found->bytes;
    return 0;
}

static int begin(struct far_tls *tls, unsigned flags, struct far_error *error)
{
    int r =
        gnutls_init(&tls->session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS);

    if (r < 0) {
        tls->session = NULL;
        return far_error(error, -ENOMEM, "TLS: %s", gnutls_strerror(r));
    }
    r = set_priority(tls->session);
    if (r < 0)
        return far_error(error, -EINVAL,
                         "TLS: this GnuTLS does not know TLS 1.3 with "
                         "pre-shared keys: %s",
                         gnutls_strerror(r));
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_push_function(tls->session, push);
    gnutls_handshake_set_timeout(tls->session, 0);
    /* No certificates here: all messages are short. */
    gnutls_handshake_set_max_packet_length(tls->session, HANDSHAKE_BYTES_MAX);
    far_buf_init(&tls->in, IN_BYTES_MAX);
    far_buf_init(&tls->out, OUT_BYTES_MAX);
    return 0;
}

int far_tls_client(struct far_tls *tls, const struct far_key *key,
                   struct far_error *error)
{
    gnutls_datum_t identity = { (unsigned char *)(uintptr_t)key->identity,
                                (unsigned)strlen(key->identity) };
    gnutls_datum_t secret = { (unsigned char *)(uintptr_t)key->key,
                              (unsigned)key->bytes };
    int rc, r;

    memset(tls, 0, sizeof(*tls));
    rc = begin(tls, GNUTLS_CLIENT, error);
    if (rc)
        goto out;
    rc = -ENOMEM;
    r = gnutls_psk_allocate_client_credentials(&tls->client);
    if (r < 0)
        goto out;
    r = gnutls_psk_set_client_credentials2(tls->client, &identity, &secret,
                                           GNUTLS_PSK_KEY_RAW);
    if (r < 0)
        goto out;
    r = gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->client);
    if (r < 0)
        goto out;
    return 0;

out:
    if (rc == -ENOMEM)
        far_error(error, rc, "TLS: out of memory");
    far_tls_free(tls);
    return rc;
}

int far_tls_server(struct far_tls *tls, const struct far_keys *keys,
                   struct far_error *error)
{
    int rc;

    memset(tls, 0, sizeof(*tls));
    tls->keys = keys;
    rc = begin(tls, GNUTLS_SERVER, error);
    if (rc)
        goto out;
    rc = -ENOMEM;
    if (gnutls_psk_allocate_server_credentials(&tls->server) < 0)
        goto out;
    gnutls_psk_set_server_credentials_function2(tls->server, find_key);
    if (gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->server) < 0)
        goto out;
    return 0;

out:
    if (rc == -ENOMEM)
        far_error(error, rc, "TLS: out of memory");
    far_tls_free(tls);
    return rc;
}

void far_tls_free(struct far_tls *tls)
{
    if (tls->session)
        gnutls_deinit(tls->session);
    if (tls->client)
        gnutls_psk_free_client_credentials(tls->client);
    if (tls->server)
        gnutls_psk_free_server_credentials(tls->server);
    tls->session = NULL;
    tls->client = NULL;
    tls->server = NULL;
    far_buf_free(&tls->in);
    far_buf_free(&tls->out);
    tls->up = false;
}

static int explain(struct far_tls *tls, int r, struct far_error *error)
{
    if (r == GNUTLS_E_PREMATURE_TERMINATION || r == GNUTLS_E_PULL_ERROR)
        return far_error(error, -ECONNRESET, "the other side hung up");
    if (r == GNUTLS_E_PUSH_ERROR)
        return far_error(error, -ENOBUFS, "the other side does not read");
    if (r == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        gnutls_alert_description_t alert = gnutls_alert_get(tls->session);
        const char *name = gnutls_alert_get_name(alert);

        if (!tls->up && tls->client)
            return far_error(error, -EKEYREJECTED,
                             "it refused our key: its psk-file does not know "
                             "this platform, or with another key (TLS: %s)",
                             name ? name : "alert");
        return far_error(error, -EPROTO, "TLS: it says %s",
                         name ? name : "alert");
    }
    if (!tls->up && tls->server) {
        if (tls->identity[0] && !far_keys_find(tls->keys, tls->identity))
            return far_error(error, -EKEYREJECTED,
                             "no key for the platform %s in our psk-file",
                             tls->identity);
        if (tls->identity[0])
            return far_error(error, -EKEYREJECTED,
                             "its key for %s is not the one in our "
                             "psk-file (TLS: %s)",
                             tls->identity, gnutls_strerror(r));
    }
    return far_error(error, -EPROTO, "TLS: %s", gnutls_strerror(r));
}

int far_tls_handshake(struct far_tls *tls, struct far_error *error)
{
    int r;

    do
        r = gnutls_handshake(tls->session);
    while (r == GNUTLS_E_INTERRUPTED || r == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (r == GNUTLS_E_AGAIN)
        return -EAGAIN;
    if (r < 0) {
        int rc = explain(tls, r, error);

        gnutls_alert_send_appropriate(tls->session, r);
        return rc;
    }
    if (gnutls_protocol_get_version(tls->session) != GNUTLS_TLS1_3 ||
        gnutls_auth_get_type(tls->session) != GNUTLS_CRD_PSK)
        return far_error(error, -EPROTO, "TLS: not 1.3 with a shared key");
    tls->up = true;
    tls->keyed_us = far_now_us();
    return 0;
}

ssize_t far_tls_read(struct far_tls *tls, void *data, size_t bytes,
                     struct far_error *error)
{
    ssize_t r;

    do
        r = gnutls_record_recv(tls->session, data, bytes);
    while (r == GNUTLS_E_INTERRUPTED || r == GNUTLS_E_WARNING_ALERT_RECEIVED);
    if (r >= 0)
        return r;
    if (r == GNUTLS_E_AGAIN)
        return -EAGAIN;
    return explain(tls, (int)r, error);
}

int far_tls_write(struct far_tls *tls, const void *data, size_t bytes,
                  struct far_error *error)
{
    ssize_t r;

    if (bytes > FAR_TLS_RECORD_BYTES)
        return -EINVAL;
    /* Looked at before, as a record can't be taken back half way. */
    if (far_buf_used(&tls->out) + bytes + 512 > tls->out.max_bytes)
        return -ENOBUFS;
    do
        r = gnutls_record_send(tls->session, data, bytes);
    while (r == GNUTLS_E_INTERRUPTED);
    if (r < 0)
        return explain(tls, (int)r, error);
    tls->keyed_bytes += (size_t)r;
    return (size_t)r == bytes ? 0 : far_error(error, -EIO, "TLS: short record");
}

int far_tls_rekey(struct far_tls *tls, struct far_error *error)
{
    int r;

    if (far_buf_used(&tls->out) + 1024 > tls->out.max_bytes)
        return -ENOBUFS;
    r = gnutls_session_key_update(tls->session, GNUTLS_KU_PEER);
    if (r < 0)
        return explain(tls, r, error);
    tls->keyed_us = far_now_us();
    tls->keyed_bytes = 0;
    return 0;
}

bool far_tls_wants_rekey(const struct far_tls *tls, uint64_t now_us)
{
    return tls->up && (tls->keyed_bytes >= FAR_TLS_REKEY_BYTES ||
                       now_us >= tls->keyed_us + FAR_TLS_REKEY_US);
}

void far_tls_bye(struct far_tls *tls)
{
    if (tls->session && tls->up)
        gnutls_bye(tls->session, GNUTLS_SHUT_WR);
}

void far_tls_describe(const struct far_tls *tls, char *out, size_t bytes)
{
    if (!tls->session || !tls->up) {
        snprintf(out, bytes, "none");
        return;
    }
    snprintf(
        out, bytes, "%s %s",
        gnutls_protocol_get_name(gnutls_protocol_get_version(tls->session)),
        gnutls_cipher_get_name(gnutls_cipher_get(tls->session)));
}
