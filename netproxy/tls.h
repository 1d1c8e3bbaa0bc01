/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * TLS 1.3 with GnuTLS over buffers of our own: it never touches a socket, so
 * that one recv and one send per turn of the loop carry all. Pre-shared keys;
 * the identity is the client's platform name.
 */
#ifndef FARSIDE_NETPROXY_TLS_H
#define FARSIDE_NETPROXY_TLS_H

#include <gnutls/gnutls.h>
#include <sys/types.h>
#include "netproxy/buf.h"
#include "netproxy/keys.h"

#define FAR_TLS_RECORD_BYTES 16384
#define FAR_TLS_REKEY_US     UINT64_C(3600000000)
#define FAR_TLS_REKEY_BYTES  (UINT64_C(16) << 30)

struct far_tls {
    gnutls_session_t session;
    gnutls_psk_client_credentials_t client;
    gnutls_psk_server_credentials_t server;
    const struct far_keys *keys; /* the server's */
    struct far_buf in, out;      /* ciphertext */
    bool in_ended;               /* the peer has closed its side */
    bool up;
    uint64_t keyed_us, keyed_bytes; /* since when, and for how much, the keys
                                       of our direction have been in use */
    char identity[FAR_NAME_BYTES];  /* of the client: proved once up */
};

/* Both: 0 or a negative errno with error; a failed one leaves nothing. */
int far_tls_client(struct far_tls *tls, const struct far_key *key,
                   struct far_error *error);
/* keys: by reference; may change its contents between calls (reload). */
int far_tls_server(struct far_tls *tls, const struct far_keys *keys,
                   struct far_error *error);
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
/* New keys for both directions, of what was not written yet (GnuTLS sends a
 * KeyUpdate that asks for the other's). 0, -ENOBUFS, or a negative errno. */
int far_tls_rekey(struct far_tls *tls, struct far_error *error);
/* Have these keys been in use for long enough? */
bool far_tls_wants_rekey(const struct far_tls *tls, uint64_t now_us);
/* Says goodbye in `out`. */
void far_tls_bye(struct far_tls *tls);
/* "TLS1.3 AES-128-GCM", for status; valid until the next call. */
void far_tls_describe(const struct far_tls *tls, char *out, size_t bytes);

#endif
