/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Signed attaches (netproxy/credential.h). What is signed is a label, so that
 * no other signature of that key can be taken for one of these, and then the
 * claim as it lies in memory: little-endian, without holes.
 */
#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>
#include "core/uuid.h"
#include "netproxy/credential.h"

#define LABEL "farside attach 0"

struct signed_bytes {
    char label[24];
    struct far_claim claim;
};
static_assert(sizeof(struct signed_bytes) == 408, "");

static void lay_out(struct signed_bytes *out, const struct far_claim *claim)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->label, LABEL, sizeof(LABEL));
    out->claim = *claim;
}

/* Up to the end of the string; behind it zeros, whatever stood there. */
static void put_text(char out[FAR_NAME_BYTES], const char *text)
{
    size_t n = strnlen(text, FAR_NAME_BYTES - 1);

    memset(out, 0, FAR_NAME_BYTES);
    memcpy(out, text, n);
}

void far_claim_make(struct far_claim *claim,
                    const struct far_challenge *challenge, const char *origin,
                    const struct far_local_who *who)
{
    memset(claim, 0, sizeof(*claim));
    claim->challenge = *challenge;
    put_text(claim->origin, origin);
    memcpy(claim->guest_uuid, who->guest_uuid, 16);
    memcpy(claim->generation, who->generation, 16);
    put_text(claim->guest_name, who->guest_name);
    put_text(claim->device, who->device);
    claim->class = who->class;
    claim->guest_devid = who->guest_devid;
}

/* A name of the wire: valid, and zeros behind it. */
static bool name_ok(const char name[FAR_NAME_BYTES])
{
    size_t i;

    if (name[FAR_NAME_BYTES - 1] || !far_name_valid(name))
        return false;
    for (i = strlen(name); i < FAR_NAME_BYTES; i++) {
        if (name[i])
            return false;
    }
    return true;
}

size_t far_challenge_encode(uint8_t *out, size_t room,
                            const struct far_challenge *challenge)
{
    if (room < sizeof(*challenge))
        return 0;
    memcpy(out, challenge, sizeof(*challenge));
    return sizeof(*challenge);
}

int far_challenge_decode(struct far_challenge *challenge, const uint8_t *data,
                         size_t bytes, struct far_error *error)
{
    if (bytes != sizeof(*challenge))
        return far_error(error, -EPROTO, "a challenge of %zu bytes", bytes);
    memcpy(challenge, data, sizeof(*challenge));
    if (!name_ok(challenge->owner) || !name_ok(challenge->relay))
        return far_error(error, -EPROTO, "a challenge without valid names");
    return 0;
}

size_t far_credential_encode(uint8_t *out, size_t room,
                             const struct far_credential *c)
{
    size_t bytes = FAR_CREDENTIAL_HEAD_BYTES + c->signature_bytes;

    if (room < bytes || c->signature_bytes > FAR_SIGNATURE_BYTES)
        return 0;
    memcpy(out, c, bytes);
    return bytes;
}

int far_credential_decode(struct far_credential *c, const uint8_t *data,
                          size_t bytes, struct far_error *error)
{
    memset(c, 0, sizeof(*c));
    if (bytes < FAR_CREDENTIAL_HEAD_BYTES || bytes > sizeof(*c))
        return far_error(error, -EPROTO, "a signature option of %zu bytes",
                         bytes);
    memcpy(c, data, bytes);
    if (c->signature_bytes != bytes - FAR_CREDENTIAL_HEAD_BYTES ||
        !c->signature_bytes)
        return far_error(error, -EPROTO,
                         "a signature of %u bytes in an option of %zu",
                         c->signature_bytes, bytes);
    if (c->method != FAR_CREDENTIAL_CERTIFICATE &&
        c->method != FAR_CREDENTIAL_PSK)
        return far_error(error, -EPROTO, "a signature of unknown method %u",
                         c->method);
    return 0;
}

static void begin(struct far_credential *c, const struct far_claim *claim,
                  enum far_credential_method method)
{
    memset(c, 0, sizeof(*c));
    c->method = method;
    memcpy(c->nonce, claim->challenge.nonce, sizeof(c->nonce));
    c->expires_us = claim->challenge.expires_us;
}

/* Certificates. */

/* What signs with that key; UNKNOWN with error. */
static gnutls_sign_algorithm_t algorithm_of(int pk, struct far_error *error)
{
    if (pk == GNUTLS_PK_EDDSA_ED25519)
        return GNUTLS_SIGN_EDDSA_ED25519;
    if (pk == GNUTLS_PK_ECDSA)
        return GNUTLS_SIGN_ECDSA_SHA256;
    far_error(error, -EOPNOTSUPP, "only Ed25519 and ECDSA keys sign attaches");
    return GNUTLS_SIGN_UNKNOWN;
}

int far_credential_sign(struct far_credential *c, const struct far_claim *claim,
                        gnutls_privkey_t key, struct far_error *error)
{
    struct signed_bytes bytes;
    gnutls_datum_t data = { (unsigned char *)&bytes, sizeof(bytes) };
    gnutls_datum_t signature = { NULL, 0 };
    gnutls_sign_algorithm_t algorithm =
        algorithm_of(gnutls_privkey_get_pk_algorithm(key, NULL), error);
    int r;

    if (algorithm == GNUTLS_SIGN_UNKNOWN)
        return -EOPNOTSUPP;
    lay_out(&bytes, claim);
    begin(c, claim, FAR_CREDENTIAL_CERTIFICATE);
    r = gnutls_privkey_sign_data2(key, algorithm, 0, &data, &signature);
    if (r < 0)
        return far_error(error, -EIO, "signing failed: %s", gnutls_strerror(r));
    r = 0;
    if (signature.size > FAR_SIGNATURE_BYTES) {
        r = far_error(error, -EOPNOTSUPP,
                      "a key of this kind makes signatures of %u bytes, which "
                      "is too long",
                      signature.size);
    } else {
        memcpy(c->signature, signature.data, signature.size);
        c->signature_bytes = signature.size;
    }
    gnutls_free(signature.data);
    return r;
}

static int rejected(const struct far_claim *claim, struct far_error *error)
{
    return far_error(error, -EKEYREJECTED,
                     "the signature is not that of %s for this request",
                     claim->origin);
}

int far_credential_verify(const struct far_credential *c,
                          const struct far_claim *claim, gnutls_pubkey_t key,
                          struct far_error *error)
{
    struct signed_bytes bytes;
    gnutls_datum_t data = { (unsigned char *)&bytes, sizeof(bytes) };
    gnutls_datum_t signature = { (unsigned char *)(uintptr_t)c->signature,
                                 c->signature_bytes };
    gnutls_sign_algorithm_t algorithm =
        algorithm_of(gnutls_pubkey_get_pk_algorithm(key, NULL), error);

    if (algorithm == GNUTLS_SIGN_UNKNOWN)
        return -EOPNOTSUPP;
    lay_out(&bytes, claim);
    if (c->method != FAR_CREDENTIAL_CERTIFICATE ||
        c->signature_bytes > FAR_SIGNATURE_BYTES ||
        gnutls_pubkey_verify_data2(key, algorithm, 0, &data, &signature) < 0)
        return rejected(claim, error);
    return 0;
}

/* Pre-shared keys. */

static int mac_of(uint8_t out[32], const struct far_claim *claim,
                  const struct far_key *key, struct far_error *error)
{
    struct signed_bytes bytes;
    struct {
        char label[24], origin[FAR_NAME_BYTES], owner[FAR_NAME_BYTES];
    } info = { .label = LABEL };
    uint8_t extracted[32], derived[32];
    gnutls_datum_t secret = { (unsigned char *)(uintptr_t)key->key,
                              (unsigned)key->bytes };
    gnutls_datum_t salt = { (unsigned char *)(uintptr_t)LABEL, sizeof(LABEL) };
    gnutls_datum_t middle = { extracted, sizeof(extracted) };
    gnutls_datum_t what = { (unsigned char *)&info, sizeof(info) };
    int r;

    memcpy(info.origin, claim->origin, sizeof(info.origin));
    memcpy(info.owner, claim->challenge.owner, sizeof(info.owner));
    lay_out(&bytes, claim);
    r = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &secret, &salt, extracted);
    if (r >= 0)
        r = gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &middle, &what, derived,
                               sizeof(derived));
    if (r >= 0)
        r = gnutls_hmac_fast(GNUTLS_MAC_SHA256, derived, sizeof(derived),
                             &bytes, sizeof(bytes), out);
    explicit_bzero(extracted, sizeof(extracted));
    explicit_bzero(derived, sizeof(derived));
    if (r < 0)
        return far_error(error, -EIO, "signing failed: %s", gnutls_strerror(r));
    return 0;
}

int far_credential_sign_psk(struct far_credential *c,
                            const struct far_claim *claim,
                            const struct far_key *key, struct far_error *error)
{
    begin(c, claim, FAR_CREDENTIAL_PSK);
    c->signature_bytes = 32;
    return mac_of(c->signature, claim, key, error);
}

int far_credential_verify_psk(const struct far_credential *c,
                              const struct far_claim *claim,
                              const struct far_key *key,
                              struct far_error *error)
{
    uint8_t mac[32];
    int rc = mac_of(mac, claim, key, error);

    if (rc)
        return rc;
    if (c->method != FAR_CREDENTIAL_PSK || c->signature_bytes != sizeof(mac) ||
        gnutls_memcmp(mac, c->signature, sizeof(mac)))
        return rejected(claim, error);
    return 0;
}

/* Nonces. */

void far_nonces_issue(struct far_nonces *n, struct far_challenge *challenge,
                      const char *owner, const char *relay, uint64_t now_us)
{
    memset(challenge, 0, sizeof(*challenge));
    far_random_bytes(challenge->nonce, sizeof(challenge->nonce));
    challenge->expires_us = now_us + FAR_NONCE_US;
    put_text(challenge->owner, owner);
    put_text(challenge->relay, relay);
    memcpy(n->open[n->next].nonce, challenge->nonce, FAR_NONCE_BYTES);
    n->open[n->next].expires_us = challenge->expires_us;
    n->next = (n->next + 1) % FAR_NONCES_MAX;
}

int far_nonces_use(struct far_nonces *n, const struct far_credential *c,
                   uint64_t now_us, struct far_error *error)
{
    unsigned i;

    for (i = 0; i < FAR_NONCES_MAX; i++) {
        uint64_t expires_us = n->open[i].expires_us;

        if (!expires_us || memcmp(n->open[i].nonce, c->nonce, FAR_NONCE_BYTES))
            continue;
        memset(&n->open[i], 0, sizeof(n->open[i]));
        if (expires_us != c->expires_us)
            break;
        if (expires_us <= now_us)
            return far_error(error, -ESTALE, "the signature has expired");
        return 0;
    }
    return far_error(error, -EKEYREJECTED,
                     "the signature was used before, or is for another "
                     "challenge");
}
