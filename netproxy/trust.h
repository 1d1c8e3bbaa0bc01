/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whom this platform trusts, and as whom it comes itself: the folder of trust
 * (/etc/farside/trust), in memory. The model is that of ssh: each platform has
 * a key and a certificate of its own, and a copy of each certificate that it
 * trusts, one file a platform. There is no authority above them.
 *
 *   own.pem, own.key   our certificate and its key (0640, root:farside)
 *   next.pem, next.key the ones that will take their place: only `farside
 *                      trust` looks at them
 *   peers/NAME.pem     the certificates of NAME: one, or two while it renews
 *   revoked            fingerprints that are not trusted, wherever they stand
 *   psk/clients        CLIENT:KEY, a line for each that may come with a key
 *   psk/server-NAME    OUR-NAME:KEY, with which we come to NAME
 *
 * Never changes once it is read; a reload reads a new one. Who uses one holds
 * it. Also used by `farside trust`.
 */
#ifndef FARSIDE_NETPROXY_TRUST_H
#define FARSIDE_NETPROXY_TRUST_H

#include <gnutls/abstract.h>
#include <limits.h>
#include "netproxy/certs.h"
#include "netproxy/credential.h"

#define FAR_TRUST_PEERS_MAX 4096

/* Why somebody is not let in; there is a counter for each. */
enum far_distrust {
    FAR_DISTRUST_NONE,    /* he is */
    FAR_DISTRUST_UNKNOWN, /* a certificate that is not installed here */
    FAR_DISTRUST_EXPIRED,
    FAR_DISTRUST_EARLY, /* not valid yet */
    FAR_DISTRUST_REVOKED,
    FAR_DISTRUST_PLATFORM, /* another platform's than it should be */
    FAR_DISTRUST_MISSING,  /* it sent no certificate */
    FAR_DISTRUST_KEY,      /* no or another pre-shared key */
    FAR_DISTRUSTS
};
const char *far_distrust_name(enum far_distrust distrust); /* "expired" */

struct far_trust {
    unsigned holders;
    char *dir;
    struct far_certs own; /* none, or one */
    gnutls_privkey_t own_key;
    gnutls_certificate_credentials_t credentials; /* both, for TLS */
    char own_reason[256]; /* why there are none; "" if they were never made */
    struct far_certs peers;
    uint8_t (*revoked)[FAR_FINGERPRINT_BYTES];
    unsigned revoked_count;
};

/* Called for each fault: the file in question is not used. */
typedef void far_trust_report(void *arg, const char *text);

/* A folder that is not there is one without anything in it. own_name: who
 * own.pem must be; NULL: whoever. report may be NULL. NULL with error: memory,
 * or the list of the revoked can't be read, which must not count as if nobody
 * were. */
struct far_trust *far_trust_read(const char *dir, const char *own_name,
                                 far_trust_report *report, void *arg,
                                 struct far_error *error);
/* One that trusts nobody, for that reason; NULL: out of memory. */
struct far_trust *far_trust_none(const char *dir, const char *reason);
struct far_trust *far_trust_hold(struct far_trust *trust);
void far_trust_drop(struct far_trust *trust); /* NULL is fine */
/* Where it is: [platform] trust, or the folder "trust" beside the file. */
void far_trust_folder(char out[PATH_MAX], const struct far_conf *conf,
                      const char *conf_file);
/* DIR/NAME; false if out is too small. */
bool far_trust_path(char out[PATH_MAX], const char *dir, const char *name);

static inline const struct far_cert *far_trust_own(const struct far_trust *t)
{
    return t && t->own.count && t->credentials ? &t->own.certs[0] : NULL;
}
/* Is there a certificate of that platform, whatever its term? The one that is
 * valid longest, or NULL. */
const struct far_cert *far_trust_peer(const struct far_trust *trust,
                                      const char *platform);

/* May who has shown that certificate (and proved that he has its key) be taken
 * for `platform`, now? platform NULL: for whomever it names. Sets *cert (NULL:
 * none that is known); error is one line without a name in front. */
enum far_distrust
far_trust_judge(const struct far_trust *trust,
                const uint8_t fingerprint[FAR_FINGERPRINT_BYTES],
                const char *platform, int64_t now_s,
                const struct far_cert **cert, struct far_error *error);

/* Signed attaches. The origin's part: *claim, whose challenge came from
 * claim->challenge.owner, is signed with the key of our certificate, or, if we
 * have none or the owner's is not installed here, with the key of
 * psk/server-OWNER. That the caller wants anything of that owner by way of that
 * relay is for him to see to. Length of the option's value; or -ENOKEY, or
 * another negative errno, with error. */
int far_trust_sign(const struct far_trust *trust, const struct far_claim *claim,
                   uint8_t *out, size_t room, struct far_error *error);
/* The owner's: is it signed by claim->origin, whom we trust? clients: the keys
 * of [listen]. 0, or -EKEYREJECTED with error. The nonce: far_nonces_use(),
 * before this. */
int far_trust_verify(const struct far_trust *trust,
                     const struct far_keys *clients,
                     const struct far_claim *claim,
                     const struct far_credential *credential, int64_t now_s,
                     struct far_error *error);

#endif
