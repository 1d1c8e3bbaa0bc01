/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Signatures of attaches over relays (netproxy/vouch.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "core/clock.h"
#include "netproxy/vouch.h"

bool far_vouch_wanted(const struct far_conf *conf, const char *relay)
{
    return far_conf_bool(far_conf_section(conf, "relay", relay), "signed",
                         true);
}

static int check(struct far_nonces *nonces, const struct far_trust *trust,
                 const struct far_keys *clients, const char *origin,
                 const struct far_local_who *who,
                 const struct far_wire_frame *f,
                 struct far_challenge *challenge, struct far_error *error)
{
    struct far_credential credential;
    struct far_claim claim;
    size_t bytes;
    const uint8_t *value =
        far_wire_option(f, FAR_WIRE_OPTION_SIGNATURE, &bytes);
    int rc;

    if (!value)
        return far_error(error, -EKEYREJECTED,
                         "it is to be signed by %s ([relay] signed)", origin);
    rc = far_credential_decode(&credential, value, bytes, error);
    if (!rc)
        rc = far_nonces_use(nonces, &credential, far_now_us(), error);
    if (rc)
        return rc == -ESTALE ? rc : -EKEYREJECTED;
    memcpy(challenge->nonce, credential.nonce, sizeof(challenge->nonce));
    challenge->expires_us = credential.expires_us;
    far_claim_make(&claim, challenge, origin, who);
    return far_trust_verify(trust, clients, &claim, &credential, time(NULL),
                            error);
}

int far_vouch_check(struct far_nonces *nonces, const struct far_trust *trust,
                    const struct far_keys *clients, const char *me,
                    const char *relay, const char *origin,
                    const struct far_local_who *who,
                    const struct far_wire_frame *f,
                    struct far_challenge *challenge, struct far_error *error)
{
    int rc;

    memset(challenge, 0, sizeof(*challenge));
    snprintf(challenge->owner, sizeof(challenge->owner), "%s", me);
    snprintf(challenge->relay, sizeof(challenge->relay), "%s", relay);
    rc = check(nonces, trust, clients, origin, who, f, challenge, error);
    if (rc)
        far_nonces_issue(nonces, challenge, me, relay, far_now_us());
    return rc;
}

int far_vouch_may(const struct far_conf_section *server, const char *asked,
                  const char *owner, const char *device,
                  struct far_error *error)
{
    char exactly[2 * FAR_NAME_BYTES], all[FAR_NAME_BYTES + 2];

    snprintf(exactly, sizeof(exactly), "%s/%s", owner, device);
    snprintf(all, sizeof(all), "%s/*", owner);
    if (!far_conf_entry(server, "may-reach", NULL)
            ? !strcmp(asked, device)
            : far_conf_lists(server, "may-reach", exactly) ||
                  far_conf_lists(server, "may-reach", all))
        return 0;
    return far_error(error, -EACCES,
                     "%s is to be signed for, which is not what was asked "
                     "for: [server %s] may-reach = %s would allow it",
                     exactly, server ? server->name : "?", exactly);
}

int far_vouch_sign(const struct far_trust *trust, const char *me,
                   const struct far_conf_section *server,
                   const struct far_local_who *who,
                   const struct far_wire_frame *f, uint8_t *out, size_t room,
                   struct far_error *error)
{
    struct far_local_who there = *who;
    struct far_challenge challenge;
    struct far_claim claim;
    size_t bytes, name_bytes;
    const uint8_t *value =
        far_wire_option(f, FAR_WIRE_OPTION_CHALLENGE, &bytes);
    const uint8_t *name =
        far_wire_option(f, FAR_WIRE_OPTION_DEVICE, &name_bytes);
    int rc;

    if (!value)
        return far_error(error, -EKEYREJECTED, "%s",
                         f->text[0] ? f->text : "our key is not accepted");
    rc = far_challenge_decode(&challenge, value, bytes, error);
    if (rc)
        return rc;
    /* The relay has another name for the device than its owner. */
    if (name && (name_bytes != FAR_NAME_BYTES || name[FAR_NAME_BYTES - 1] ||
                 !far_name_valid((const char *)name)))
        return far_error(error, -EPROTO, "a challenge without a valid name");
    if (name)
        memcpy(there.device, name, sizeof(there.device));
    rc = far_vouch_may(server, who->device, challenge.owner, there.device,
                       error);
    if (rc)
        return rc;
    far_claim_make(&claim, &challenge, me, &there);
    return far_trust_sign(trust, &claim, out, room, error);
}
