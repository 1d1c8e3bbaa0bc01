/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS 1.3 with GnuTLS over buffers of our own: it never touches a socket, so
 * that one recv and one send per turn of the loop carry all. Either both sides
 * prove who they are by certificates, or by a key that they share; which one is
 * the client's choice, and nothing that the other does changes it.
 */
#ifndef FARSIDE_NETPROXY_TLS_H
#define FARSIDE_NETPROXY_TLS_H

#include <gnutls/gnutls.h>
#include <sys/types.h>
#include "netproxy/buf.h"
#include "netproxy/keys.h"
#include "netproxy/trust.h"

#define FAR_TLS_RECORD_BYTES 16384
#define FAR_TLS_REKEY_US     UINT64_C(3600000000)
#define FAR_TLS_REKEY_BYTES  (UINT64_C(16) << 30)

struct far_tls {
    gnutls_session_t session;
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t server;
    const struct far_keys *keys; /* the server's */
    struct far_trust *trust;     /* held; NULL: no certificates */
    struct far_buf in, out;      /* ciphertext */
    bool in_ended;               /* the peer has closed its side */
    bool up;
    bool by_certificate;            /* how it was proved */
    uint64_t keyed_us, keyed_bytes; /* since when, and for how much, the keys
                                       of our direction have been in use */
    char identity[FAR_NAME_BYTES]; /* of the other (of a client with a key: what
                                      it says): proved once up */
    uint8_t fingerprint[FAR_FINGERPRINT_BYTES]; /* of what proved it */
    enum far_distrust distrust; /* why the handshake failed, if it was that */
    struct far_error why;
};

/* All: 0 or a negative errno with error; a failed one leaves nothing. */
/* With that key, or, if it is NULL, with trust's own certificate; the other is
 * to be that platform. */
int far_tls_client(struct far_tls *tls, const struct far_key *key,
                   struct far_trust *trust, const char *platform,
                   struct far_error *error);
/* keys: by reference; may change its contents between calls (reload). trust may
 * be NULL, or have no certificate of our own: keys only. */
int far_tls_server(struct far_tls *tls, const struct far_keys *keys,
                   struct far_trust *trust, struct far_error *error);
void far_tls_free(struct far_tls *tls); /* idempotent */

/* Each works on what is in `in` and leaves its output in `out`.
 * 0: done (up is set), -EAGAIN, or a negative errno with error in words. */
int far_tls_handshake(struct far_tls *tls, struct far_error *error);
/* Bytes, 0 at the proper end, -EAGAIN, or a negative errno. */
ssize_t far_tls_read(struct far_tls *tls, void *data, size_t bytes,
                     struct far_error *error);
/* All of it (at most FAR_TLS_RECORD_BYTES: one record), or a negative errno:
 * -ENOBUFS if out has no room. */
int far_tls_write(struct far_tls *tls, const void *data, size_t bytes,
                  struct far_error *error);
/* Would its certificate be taken now, by that trust? Keys are not looked at. */
enum far_distrust far_tls_judge(const struct far_tls *tls,
                                const struct far_trust *trust, int64_t now_s,
                                struct far_error *error);
/* New keys for both directions, of what was not written yet (GnuTLS sends a
 * KeyUpdate that asks for the other's). 0, -ENOBUFS, or a negative errno. */
int far_tls_rekey(struct far_tls *tls, struct far_error *error);
/* Have these keys been in use for long enough? */
bool far_tls_wants_rekey(const struct far_tls *tls, uint64_t now_us);
/* Says goodbye in `out`. */
void far_tls_bye(struct far_tls *tls);
/* "certificate SHA256:…": by what the other has proved who it is. */
#define FAR_TLS_PROOF_BYTES 64
void far_tls_proof(const struct far_tls *tls, char *out, size_t bytes);
/* "TLS1.3 AES-128-GCM", for status; valid until the next call. */
void far_tls_describe(const struct far_tls *tls, char *out, size_t bytes);

#endif
