/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as the value of a signature's or a challenge's option: taken apart,
 * put together again, judged by a key.
 */
#include <stdlib.h>
#include <string.h>
#include "netproxy/credential.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct far_key key = { .bytes = 32 };
    static const struct far_local_who who = { .device = "kbd0" };
    uint8_t again[sizeof(struct far_credential)];
    struct far_nonces nonces = { 0 };
    struct far_credential credential;
    struct far_challenge challenge;
    struct far_claim claim;
    struct far_error error;

    if (!far_challenge_decode(&challenge, data, bytes, &error) &&
        (!far_name_valid(challenge.owner) || !far_name_valid(challenge.relay)))
        abort();
    if (far_credential_decode(&credential, data, bytes, &error))
        return 0;
    if (far_credential_encode(again, sizeof(again), &credential) != bytes ||
        memcmp(again, data, bytes))
        abort();
    far_nonces_issue(&nonces, &challenge, "cygnus", "borealis", 0);
    far_claim_make(&claim, &challenge, "atlas", &who);
    if (!far_nonces_use(&nonces, &credential, 0, &error) ||
        !far_credential_verify_psk(&credential, &claim, &key, &error))
        abort(); /* nobody signed that */
    return 0;
}
