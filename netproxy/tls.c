/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS over our own buffers (netproxy/tls.h).
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#include "core/clock.h"
#include "netproxy/tls.h"

/* Ciphertext: what one turn takes in, and a record that is not whole. */
#define IN_BYTES_MAX        (10 * (FAR_TLS_RECORD_BYTES + 512))
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
 * factor of five where the processor has AES. Of the ways to use such a key
 * only ECDHE-PSK: one that leaks later does not open what was recorded. */
static int set_priority(gnutls_session_t session, bool keys, bool certificates)
{
    char text[128];

    snprintf(text, sizeof(text), "NORMAL:-VERS-ALL:+VERS-TLS1.3%s%s%s",
             certificates ? "" : ":-KX-ALL", keys ? ":+ECDHE-PSK" : "",
             processor_has_aes() ? ":-CHACHA20-POLY1305" : "");
    return gnutls_priority_set_direct(session, text, NULL);
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

/* Certificates. The handshake itself shows that the other has the key of what
 * it shows; what is left is whether that is somebody's whom we trust. */
static int verify(gnutls_session_t session)
{
    struct far_tls *tls = gnutls_session_get_ptr(session);
    const struct far_cert *cert = NULL;
    struct far_cert shown = { 0 };
    const gnutls_datum_t *list;
    unsigned count = 0;

    list = gnutls_certificate_get_peers(session, &count);
    if (!list || !count ||
        gnutls_hash_fast(GNUTLS_DIG_SHA256, list[0].data, list[0].size,
                         tls->fingerprint) < 0) {
        tls->distrust = FAR_DISTRUST_MISSING;
        far_error(&tls->why, -EKEYREJECTED, "it showed no certificate");
        return -1;
    }
    tls->distrust = far_trust_judge(tls->trust, tls->fingerprint,
                                    tls->server ? NULL : tls->identity,
                                    time(NULL), &cert, &tls->why);
    if (tls->server && !cert && tls->distrust &&
        !far_cert_parse(&shown, list[0].data, list[0].size, NULL))
        cert = &shown; /* what it says it is, for the log */
    if (tls->server && cert)
        memcpy(tls->identity, cert->platform, sizeof(tls->identity));
    far_cert_clear(&shown);
    if (tls->distrust)
        return -1;
    tls->by_certificate = true;
    return 0;
}

static int use_certificates(struct far_tls *tls, struct far_trust *trust)
{
    int r = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE,
                                   trust->credentials);

    if (r < 0)
        return r;
    tls->trust = far_trust_hold(trust);
    gnutls_session_set_verify_function(tls->session, verify);
    if (tls->server)
        gnutls_certificate_server_set_request(tls->session,
                                              GNUTLS_CERT_REQUIRE);
    return 0;
}

static int begin(struct far_tls *tls, unsigned flags, bool keys,
                 bool certificates, struct far_error *error)
{
    int r =
        gnutls_init(&tls->session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS);

    if (r < 0) {
        tls->session = NULL;
        return far_error(error, -ENOMEM, "TLS: %s", gnutls_strerror(r));
    }
    r = set_priority(tls->session, keys, certificates);
    if (r < 0)
        return far_error(error, -EINVAL,
                         "TLS: this GnuTLS does not know TLS 1.3 as it is "
                         "used here: %s",
                         gnutls_strerror(r));
    gnutls_session_set_ptr(tls->session, tls);
    gnutls_transport_set_ptr(tls->session, tls);
    gnutls_transport_set_pull_function(tls->session, pull);
    gnutls_transport_set_push_function(tls->session, push);
    gnutls_handshake_set_timeout(tls->session, 0);
    /* One short certificate: all messages are short. */
    gnutls_handshake_set_max_packet_length(tls->session, HANDSHAKE_BYTES_MAX);
    far_buf_init(&tls->in, IN_BYTES_MAX);
    far_buf_init(&tls->out, OUT_BYTES_MAX);
    return 0;
}

static int use_key(struct far_tls *tls, const struct far_key *key)
{
    gnutls_datum_t identity = { (unsigned char *)(uintptr_t)key->identity,
                                (unsigned)strlen(key->identity) };
    gnutls_datum_t secret = { (unsigned char *)(uintptr_t)key->key,
                              (unsigned)key->bytes };
    int r = gnutls_psk_allocate_client_credentials(&tls->client);

    if (r >= 0)
        r = gnutls_psk_set_client_credentials2(tls->client, &identity, &secret,
                                               GNUTLS_PSK_KEY_RAW);
    if (r >= 0)
        r = gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->client);
    far_fingerprint_key(tls->fingerprint, key);
    return r;
}

int far_tls_client(struct far_tls *tls, const struct far_key *key,
                   struct far_trust *trust, const char *platform,
                   struct far_error *error)
{
    int rc;

    memset(tls, 0, sizeof(*tls));
    snprintf(tls->identity, sizeof(tls->identity), "%s", platform);
    rc = begin(tls, GNUTLS_CLIENT, key != NULL, !key, error);
    if (rc)
        goto out;
    if ((key ? use_key(tls, key) : use_certificates(tls, trust)) < 0) {
        rc = far_error(error, -ENOMEM, "TLS: out of memory");
        goto out;
    }
    return 0;

out:
    far_tls_free(tls);
    return rc;
}

int far_tls_server(struct far_tls *tls, const struct far_keys *keys,
                   struct far_trust *trust, struct far_error *error)
{
    bool certificates = far_trust_own(trust) != NULL;
    int rc;

    memset(tls, 0, sizeof(*tls));
    tls->keys = keys;
    rc = begin(tls, GNUTLS_SERVER, true, certificates, error);
    if (rc)
        goto out;
    rc = -ENOMEM;
    if (gnutls_psk_allocate_server_credentials(&tls->server) < 0)
        goto out;
    gnutls_psk_set_server_credentials_function2(tls->server, find_key);
    if (gnutls_credentials_set(tls->session, GNUTLS_CRD_PSK, tls->server) < 0)
        goto out;
    if (certificates && use_certificates(tls, trust) < 0)
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
    far_trust_drop(tls->trust); /* after the session, which uses it */
    tls->trust = NULL;
    tls->session = NULL;
    tls->client = NULL;
    tls->server = NULL;
    far_buf_free(&tls->in);
    far_buf_free(&tls->out);
    tls->up = false;
}

/* What the other said of our certificate; NULL: it was something else. */
static const char *alert_words(gnutls_alert_description_t alert)
{
    switch (alert) {
    case GNUTLS_A_CERTIFICATE_EXPIRED:
        return "it has expired, or is not valid yet (farside trust renew)";
    case GNUTLS_A_CERTIFICATE_REVOKED:
        return "it was revoked there";
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_UNKNOWN_CA:
        return "it is not installed there (farside trust export here, farside "
               "trust install there)";
    case GNUTLS_A_BAD_CERTIFICATE:
        return "it is another platform's than was expected";
    case GNUTLS_A_CERTIFICATE_REQUIRED:
        return "none was shown";
    default:
        return NULL;
    }
}

static int explain_alert(struct far_tls *tls, struct far_error *error)
{
    gnutls_alert_description_t alert = gnutls_alert_get(tls->session);
    const char *name = gnutls_alert_get_name(alert), *words;

    words = tls->trust ? alert_words(alert) : NULL;
    if (words)
        return far_error(error, -EKEYREJECTED, "it refused our certificate: %s",
                         words);
    if (!tls->up && tls->client)
        return far_error(error, -EKEYREJECTED,
                         "it refused our key: its psk-file does not know "
                         "this platform, or with another key (TLS: %s)",
                         name ? name : "alert");
    if (!tls->up && tls->trust && !tls->server)
        return far_error(error, -EKEYREJECTED,
                         "it takes no certificates: it has none of its own "
                         "(farside trust init there), or is set to keys "
                         "only (TLS: %s)",
                         name ? name : "alert");
    return far_error(error, -EPROTO, "TLS: it says %s", name ? name : "alert");
}

static int explain(struct far_tls *tls, int r, struct far_error *error)
{
    if (r == GNUTLS_E_PREMATURE_TERMINATION || r == GNUTLS_E_PULL_ERROR)
        return far_error(error, -ECONNRESET, "the other side hung up");
    if (r == GNUTLS_E_PUSH_ERROR)
        return far_error(error, -ENOBUFS, "the other side does not read");
    if (r == GNUTLS_E_FATAL_ALERT_RECEIVED)
        return explain_alert(tls, error);
    if (tls->distrust)
        return far_error(error, tls->why.code, "%s", tls->why.text);
    if (!tls->up && tls->server) {
        if (r == GNUTLS_E_NO_CERTIFICATE_FOUND ||
            r == GNUTLS_E_CERTIFICATE_REQUIRED) {
            tls->distrust = FAR_DISTRUST_MISSING;
            return far_error(error, -EKEYREJECTED, "it showed no certificate");
        }
        if (tls->identity[0] && !tls->by_certificate) {
            tls->distrust = FAR_DISTRUST_KEY;
            if (!far_keys_find(tls->keys, tls->identity))
                return far_error(error, -EKEYREJECTED,
                                 "no key for the platform %s in our psk-file",
                                 tls->identity);
            return far_error(error, -EKEYREJECTED,
                             "its key for %s is not the one in our "
                             "psk-file (TLS: %s)",
                             tls->identity, gnutls_strerror(r));
        }
    }
    return far_error(error, -EPROTO, "TLS: %s", gnutls_strerror(r));
}

static void send_alert(struct far_tls *tls, int r)
{
    static const gnutls_alert_description_t alerts[FAR_DISTRUSTS] = {
        [FAR_DISTRUST_UNKNOWN] = GNUTLS_A_CERTIFICATE_UNKNOWN,
        [FAR_DISTRUST_EXPIRED] = GNUTLS_A_CERTIFICATE_EXPIRED,
        [FAR_DISTRUST_EARLY] = GNUTLS_A_CERTIFICATE_EXPIRED,
        [FAR_DISTRUST_REVOKED] = GNUTLS_A_CERTIFICATE_REVOKED,
        [FAR_DISTRUST_PLATFORM] = GNUTLS_A_BAD_CERTIFICATE,
        [FAR_DISTRUST_MISSING] = GNUTLS_A_CERTIFICATE_REQUIRED,
    };

    if (alerts[tls->distrust])
        gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, alerts[tls->distrust]);
    else
        gnutls_alert_send_appropriate(tls->session, r);
}

/* TLS 1.3, and the proof that was asked for: nothing less passes as up. */
static int check_proof(const struct far_tls *tls, struct far_error *error)
{
    gnutls_credentials_type_t type = gnutls_auth_get_type(tls->session);
    gnutls_datum_t name;

    if (gnutls_protocol_get_version(tls->session) != GNUTLS_TLS1_3)
        return far_error(error, -EPROTO, "TLS: not 1.3");
    if (tls->by_certificate
            ? type != GNUTLS_CRD_CERTIFICATE
            : type != GNUTLS_CRD_PSK || (!tls->client && !tls->server))
        return far_error(error, -EPROTO,
                         "TLS: neither a shared key nor certificates on both "
                         "sides");
    /* Of several identities that a client may offer, the one that counted. */
    if (tls->server && !tls->by_certificate &&
        (gnutls_psk_server_get_username2(tls->session, &name) < 0 ||
         name.size != strlen(tls->identity) ||
         memcmp(name.data, tls->identity, name.size)))
        return far_error(error, -EPROTO, "TLS: an identity of another key");
    return 0;
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

        send_alert(tls, r);
        return rc;
    }
    r = check_proof(tls, error);
    if (r)
        return r;
    if (tls->server && !tls->by_certificate) {
        const struct far_key *key = far_keys_find(tls->keys, tls->identity);

        if (key)
            far_fingerprint_key(tls->fingerprint, key);
    }
    tls->up = true;
    tls->keyed_us = far_now_us();
    return 0;
}

ssize_t far_tls_read(struct far_tls *tls, void *data, size_t bytes,
                     struct far_error *error)
{
    ssize_t r;

    /* After new keys it says that it wants to be called again, though there
     * may be more: it is out of input only when it has taken all of it. */
    do
        r = gnutls_record_recv(tls->session, data, bytes);
    while (r == GNUTLS_E_INTERRUPTED || r == GNUTLS_E_WARNING_ALERT_RECEIVED ||
           (r == GNUTLS_E_AGAIN && far_buf_used(&tls->in)));
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

enum far_distrust far_tls_judge(const struct far_tls *tls,
                                const struct far_trust *trust, int64_t now_s,
                                struct far_error *error)
{
    const struct far_cert *cert;

    if (!tls->by_certificate)
        return FAR_DISTRUST_NONE;
    return far_trust_judge(trust, tls->fingerprint, tls->identity, now_s, &cert,
                           error);
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

void far_tls_proof(const struct far_tls *tls, char *out, size_t bytes)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES];

    if (!tls->session) {
        snprintf(out, bytes, "in clear text");
        return;
    }
    snprintf(out, bytes, "%s %s", tls->by_certificate ? "certificate" : "key",
             far_fingerprint_format(print, tls->fingerprint));
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
