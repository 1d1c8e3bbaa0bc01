/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Platforms' certificates: reading, fingerprints, terms, making. The common
 * name of a certificate is the platform's; nothing else in it says who it is.
 * They are their own issuers: whom one trusts is netproxy/trust.h's to say.
 * Also used by `farside trust`.
 */
#ifndef FARSIDE_NETPROXY_CERTS_H
#define FARSIDE_NETPROXY_CERTS_H

#include <gnutls/x509.h>
#include "netproxy/keys.h"

#define FAR_FINGERPRINT_BYTES      32 /* SHA-256 */
#define FAR_FINGERPRINT_TEXT_BYTES 51 /* "SHA256:", 43 of base64, zero */
#define FAR_CERT_BYTES_MAX         4096
#define FAR_CERT_WARN_S            (30 * 86400) /* so long before it expires */

struct far_cert {
    char platform[FAR_NAME_BYTES];
    uint8_t fingerprint[FAR_FINGERPRINT_BYTES];
    int64_t from_s, until_s; /* since 1970 */
    gnutls_x509_crt_t crt;
};

struct far_certs {
    struct far_cert *certs;
    unsigned count;
};

/* Adds all certificates of a text in PEM to *certs. 0 or a negative errno with
 * error, which names `file`; nothing is added by a call that fails. */
int far_certs_parse(struct far_certs *certs, const char *file, const void *pem,
                    size_t bytes, struct far_error *error);
/* One in DER. *cert is set only on success; to be freed by
 * far_cert_clear(). */
int far_cert_parse(struct far_cert *cert, const void *der, size_t bytes,
                   struct far_error *error);
int far_certs_read(struct far_certs *certs, const char *file,
                   struct far_error *error);
const struct far_cert *
far_certs_find(const struct far_certs *certs,
               const uint8_t fingerprint[FAR_FINGERPRINT_BYTES]);
void far_cert_clear(struct far_cert *cert);   /* idempotent */
void far_certs_free(struct far_certs *certs); /* idempotent */

/* In PEM, both NULL on failure; to be freed, the key wiped, by the caller. The
 * key is Ed25519, the certificate signed by itself. */
int far_cert_make(const char *platform, int64_t from_s, int64_t until_s,
                  char **certificate, char **key, struct far_error *error);
/* The certificate in PEM again; NULL: out of memory. */
char *far_cert_pem(const struct far_cert *cert);

/* "SHA256:…", as ssh writes it. Returns out. */
char *far_fingerprint_format(char out[FAR_FINGERPRINT_TEXT_BYTES],
                             const uint8_t fingerprint[FAR_FINGERPRINT_BYTES]);
bool far_fingerprint_parse(uint8_t fingerprint[FAR_FINGERPRINT_BYTES],
                           const char *text);
/* Of a pre-shared key: a hash with a label of its own, good for comparing and
 * for nothing else. A key that a person made up could be guessed by it. */
void far_fingerprint_key(uint8_t out[FAR_FINGERPRINT_BYTES],
                         const struct far_key *key);
/* "2027-11-25" (UTC); out: at least 11 bytes. Returns out. */
char *far_date_format(char out[16], int64_t time_s);

#endif
