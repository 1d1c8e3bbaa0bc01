/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Signed attaches: what the platform of a guest (the origin) says to the owner
 * of a device when a relay stands between them. The owner gives a nonce, which
 * is good once and for a short time; the origin signs it together with all that
 * it asks for; the relay can carry that, but not alter it, use it twice, or use
 * it elsewhere. docs/PROTOCOL.md, "Signed attaches". Pure: no sockets, no
 * files, no clock but the one that is passed in. Any thread, one object each.
 */
#ifndef FARSIDE_NETPROXY_CREDENTIAL_H
#define FARSIDE_NETPROXY_CREDENTIAL_H

#include <assert.h>
#include <gnutls/abstract.h>
#include "core/local.h"
#include "netproxy/keys.h"

#define FAR_NONCE_BYTES     16
#define FAR_NONCE_US        30000000 /* a nonce is good for so long */
#define FAR_NONCES_MAX      256      /* open at once, of one relay */
#define FAR_SIGNATURE_BYTES 160      /* at most */

/* Value of FAR_WIRE_OPTION_CHALLENGE, in a PREPARED of status -EKEYREJECTED:
 * the owner's. */
struct far_challenge {
    uint8_t nonce[FAR_NONCE_BYTES];
    uint64_t expires_us;        /* by the owner's clock: nobody else's */
    char owner[FAR_NAME_BYTES]; /* who will judge */
    char relay[FAR_NAME_BYTES]; /* who asked the owner */
};
static_assert(sizeof(struct far_challenge) == 152, "");

/* All that is signed. Names are filled up with zeros. */
struct far_claim {
    struct far_challenge challenge;
    char origin[FAR_NAME_BYTES]; /* the guest's platform, which signs */
    uint8_t guest_uuid[16];
    uint8_t generation[16];
    char guest_name[FAR_NAME_BYTES];
    char device[FAR_NAME_BYTES];
    uint32_t class;
    uint32_t guest_devid;
};
static_assert(sizeof(struct far_claim) == 384, "");

enum far_credential_method {
    FAR_CREDENTIAL_CERTIFICATE = 1, /* by the key of the origin's certificate */
    FAR_CREDENTIAL_PSK = 2,         /* HMAC-SHA256 with a key that is derived
                                       from the one that origin and owner share */
};

/* Value of FAR_WIRE_OPTION_SIGNATURE, in a PREPARE: the head, and as many bytes
 * of signature as it says. */
struct far_credential {
    uint32_t method; /* enum far_credential_method */
    uint32_t signature_bytes;
    uint8_t nonce[FAR_NONCE_BYTES]; /* of the challenge that it answers */
    uint64_t expires_us;
    uint8_t signature[FAR_SIGNATURE_BYTES];
};
#define FAR_CREDENTIAL_HEAD_BYTES 32
static_assert(offsetof(struct far_credential, signature) ==
                  FAR_CREDENTIAL_HEAD_BYTES,
              "");

/* What *who of origin asks for, put together with a challenge. */
void far_claim_make(struct far_claim *claim,
                    const struct far_challenge *challenge, const char *origin,
                    const struct far_local_who *who);

/* The options' values. Decoding checks all: 0, or -EPROTO with error. */
size_t far_challenge_encode(uint8_t *out, size_t room,
                            const struct far_challenge *challenge);
int far_challenge_decode(struct far_challenge *challenge, const uint8_t *data,
                         size_t bytes, struct far_error *error);
size_t far_credential_encode(uint8_t *out, size_t room,
                             const struct far_credential *credential);
int far_credential_decode(struct far_credential *credential,
                          const uint8_t *data, size_t bytes,
                          struct far_error *error);

/* Signing: 0 or a negative errno with error. */
int far_credential_sign(struct far_credential *credential,
                        const struct far_claim *claim, gnutls_privkey_t key,
                        struct far_error *error);
int far_credential_sign_psk(struct far_credential *credential,
                            const struct far_claim *claim,
                            const struct far_key *key, struct far_error *error);
/* Is it that key's for exactly that claim? 0, or -EKEYREJECTED with error. That
 * the nonce is open is far_nonces_use()'s to say. */
int far_credential_verify(const struct far_credential *credential,
                          const struct far_claim *claim, gnutls_pubkey_t key,
                          struct far_error *error);
int far_credential_verify_psk(const struct far_credential *credential,
                              const struct far_claim *claim,
                              const struct far_key *key,
                              struct far_error *error);

/* The owner's open nonces, of one relay's connection. Bounded: with all in use,
 * the oldest goes. Zeros are an empty one. */
struct far_nonces {
    struct {
        uint8_t nonce[FAR_NONCE_BYTES];
        uint64_t expires_us; /* 0: not in use */
    } open[FAR_NONCES_MAX];
    unsigned next;
};
/* A new challenge for that relay. now_us: any clock that only goes forward. */
void far_nonces_issue(struct far_nonces *nonces,
                      struct far_challenge *challenge, const char *owner,
                      const char *relay, uint64_t now_us);
/* Takes the nonce away, so that it is good once. 0, -ESTALE (expired) or
 * -EKEYREJECTED (never given, or used before), with error. */
int far_nonces_use(struct far_nonces *nonces,
                   const struct far_credential *credential, uint64_t now_us,
                   struct far_error *error);

#endif
