/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tests of netproxy/credential.c: a signature is good once, for a while, and
 * for nothing but what was signed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "netproxy/credential.h"
#include "tests/core/suite.h"

static struct far_nonces nonces;
static struct far_challenge challenge;
static struct far_claim claim;
static struct far_credential credential;
static struct far_error error;
static gnutls_privkey_t mine, other;
static const struct far_key psk = { .identity = "atlas",
                                    .key = "0123456789abcdef",
                                    .bytes = 16 };

static const struct far_local_who who = {
    .attachment = 7,
    .guest_uuid = { 1, 2, 3 },
    .generation = { 4, 5, 6 },
    .guest_name = "alice",
    .device = "kbd0",
    .class = FAR_CLASS_INPUT,
    .guest_devid = 1,
};

static gnutls_privkey_t new_key(gnutls_pk_algorithm_t pk, unsigned bits)
{
    gnutls_privkey_t key;

    ck_assert_int_eq(gnutls_privkey_init(&key), 0);
    ck_assert_int_eq(gnutls_privkey_generate(key, pk, bits, 0), 0);
    return key;
}

static int verified_by(gnutls_privkey_t key, const struct far_claim *of)
{
    gnutls_pubkey_t pub;
    int rc;

    ck_assert_int_eq(gnutls_pubkey_init(&pub), 0);
    ck_assert_int_eq(gnutls_pubkey_import_privkey(pub, key, 0, 0), 0);
    rc = far_credential_verify(&credential, of, pub, &error);
    gnutls_pubkey_deinit(pub);
    return rc;
}

static void set_up(void)
{
    memset(&nonces, 0, sizeof(nonces));
    memset(&credential, 0, sizeof(credential));
    mine = new_key(GNUTLS_PK_EDDSA_ED25519, 0);
    other = new_key(GNUTLS_PK_EDDSA_ED25519, 0);
    far_nonces_issue(&nonces, &challenge, "cygnus", "borealis", 1000);
    far_claim_make(&claim, &challenge, "atlas", &who);
}

static void tear_down(void)
{
    gnutls_privkey_deinit(mine);
    gnutls_privkey_deinit(other);
}

/* Each byte of the claim counts: another guest, generation, device, class,
 * relay, owner, origin, nonce or expiry is another claim. */
static void each_byte_counts(int (*verify)(const struct far_claim *of))
{
    uint8_t *bytes = (uint8_t *)&claim;
    size_t i;

    ck_assert_int_eq(verify(&claim), 0);
    for (i = 0; i < sizeof(claim); i++) {
        bytes[i] ^= 0x40;
        ck_assert_msg(verify(&claim) == -EKEYREJECTED, "byte %zu", i);
        bytes[i] ^= 0x40;
    }
    ck_assert_int_eq(verify(&claim), 0);
}

static int verify_certificate(const struct far_claim *of)
{
    return verified_by(mine, of);
}

static int verify_psk(const struct far_claim *of)
{
    return far_credential_verify_psk(&credential, of, &psk, &error);
}

START_TEST(a_signature_is_for_one_claim_and_of_one_key)
{
    ck_assert_int_eq(far_credential_sign(&credential, &claim, mine, &error), 0);
    each_byte_counts(verify_certificate);
    ck_assert_int_eq(verified_by(other, &claim), -EKEYREJECTED);
    credential.signature[9] ^= 1;
    ck_assert_int_eq(verified_by(mine, &claim), -EKEYREJECTED);
}
END_TEST

START_TEST(an_ecdsa_key_signs_as_well)
{
    gnutls_privkey_t key = new_key(
        GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1));

    ck_assert_int_eq(far_credential_sign(&credential, &claim, key, &error), 0);
    ck_assert_int_eq(verified_by(key, &claim), 0);
    claim.guest_devid++;
    ck_assert_int_eq(verified_by(key, &claim), -EKEYREJECTED);
    gnutls_privkey_deinit(key);
}
END_TEST

START_TEST(a_shared_key_signs_for_one_claim)
{
    struct far_key wrong = psk;

    wrong.key[3] ^= 1;
    ck_assert_int_eq(far_credential_sign_psk(&credential, &claim, &psk, &error),
                     0);
    each_byte_counts(verify_psk);
    ck_assert_int_eq(
        far_credential_verify_psk(&credential, &claim, &wrong, &error),
        -EKEYREJECTED);
}
END_TEST

START_TEST(one_method_does_not_pass_for_the_other)
{
    ck_assert_int_eq(far_credential_sign_psk(&credential, &claim, &psk, &error),
                     0);
    ck_assert_int_eq(verified_by(mine, &claim), -EKEYREJECTED);
    credential.method = FAR_CREDENTIAL_CERTIFICATE;
    ck_assert_int_eq(verify_psk(&claim), -EKEYREJECTED);
    ck_assert_int_eq(verified_by(mine, &claim), -EKEYREJECTED);
}
END_TEST

START_TEST(what_stood_behind_a_name_is_not_signed)
{
    struct far_local_who dirty = who;
    struct far_claim again;

    memset(dirty.device + 5, 'x', sizeof(dirty.device) - 6);
    memset(dirty.guest_name + 6, 'x', sizeof(dirty.guest_name) - 7);
    far_claim_make(&again, &challenge, "atlas", &dirty);
    ck_assert_mem_eq(&again, &claim, sizeof(claim));
}
END_TEST

START_TEST(a_nonce_is_good_once)
{
    ck_assert_int_eq(far_credential_sign(&credential, &claim, mine, &error), 0);
    ck_assert_int_eq(far_nonces_use(&nonces, &credential, 2000, &error), 0);
    ck_assert_int_eq(far_nonces_use(&nonces, &credential, 2000, &error),
                     -EKEYREJECTED);
}
END_TEST

START_TEST(a_nonce_that_was_never_given_is_not_good)
{
    struct far_nonces others = { 0 };

    far_credential_sign(&credential, &claim, mine, &error);
    ck_assert_int_eq(far_nonces_use(&others, &credential, 2000, &error),
                     -EKEYREJECTED);
    /* Zeros are what an empty place holds. */
    memset(credential.nonce, 0, sizeof(credential.nonce));
    credential.expires_us = 0;
    ck_assert_int_eq(far_nonces_use(&nonces, &credential, 2000, &error),
                     -EKEYREJECTED);
}
END_TEST

START_TEST(a_nonce_is_good_for_a_while)
{
    far_credential_sign(&credential, &claim, mine, &error);
    ck_assert_int_eq(
        far_nonces_use(&nonces, &credential, 1000 + FAR_NONCE_US, &error),
        -ESTALE);
    /* Nor is the term the signer's to set. */
    far_nonces_issue(&nonces, &challenge, "cygnus", "borealis", 1000);
    challenge.expires_us += 1000000;
    far_claim_make(&claim, &challenge, "atlas", &who);
    far_credential_sign(&credential, &claim, mine, &error);
    ck_assert_int_eq(far_nonces_use(&nonces, &credential, 2000, &error),
                     -EKEYREJECTED);
}
END_TEST

START_TEST(open_nonces_are_bounded_and_the_oldest_goes_first)
{
    struct far_credential first, last = { 0 };
    unsigned i;

    far_credential_sign(&credential, &claim, mine, &error);
    first = credential;
    for (i = 0; i < FAR_NONCES_MAX; i++)
        far_nonces_issue(&nonces, &challenge, "cygnus", "borealis", 2000);
    memcpy(last.nonce, challenge.nonce, sizeof(last.nonce));
    last.expires_us = challenge.expires_us;
    ck_assert_int_eq(far_nonces_use(&nonces, &first, 3000, &error),
                     -EKEYREJECTED);
    ck_assert_int_eq(far_nonces_use(&nonces, &last, 3000, &error), 0);
}
END_TEST

START_TEST(options_come_back_as_they_went)
{
    struct far_credential again;
    struct far_challenge c;
    uint8_t out[256];
    size_t n;

    far_credential_sign(&credential, &claim, mine, &error);
    n = far_credential_encode(out, sizeof(out), &credential);
    ck_assert_uint_eq(n, FAR_CREDENTIAL_HEAD_BYTES + 64);
    ck_assert_uint_eq(far_credential_encode(out, n - 1, &credential), 0);
    ck_assert_int_eq(far_credential_decode(&again, out, n, &error), 0);
    ck_assert_mem_eq(&again, &credential, sizeof(again));
    n = far_challenge_encode(out, sizeof(out), &challenge);
    ck_assert_int_eq(far_challenge_decode(&c, out, n, &error), 0);
    ck_assert_mem_eq(&c, &challenge, sizeof(c));
}
END_TEST

START_TEST(wrong_options_are_refused)
{
    struct far_credential c;
    struct far_challenge d;
    uint8_t out[256], *method = out, *length = out + 4;
    size_t n, i;

    far_credential_sign(&credential, &claim, mine, &error);
    n = far_credential_encode(out, sizeof(out), &credential);
    for (i = 0; i < sizeof(out); i++) {
        if (i != n)
            ck_assert_int_eq(far_credential_decode(&c, out, i, &error),
                             -EPROTO);
    }
    *length = 65;
    ck_assert_int_eq(far_credential_decode(&c, out, n, &error), -EPROTO);
    *length = 64;
    *method = 3;
    ck_assert_int_eq(far_credential_decode(&c, out, n, &error), -EPROTO);
    *length = 0;
    *method = 1;
    ck_assert_int_eq(
        far_credential_decode(&c, out, FAR_CREDENTIAL_HEAD_BYTES, &error),
        -EPROTO);

    n = far_challenge_encode(out, sizeof(out), &challenge);
    ck_assert_int_eq(far_challenge_decode(&d, out, n - 1, &error), -EPROTO);
    out[24 + 10] = 'x'; /* behind the end of the owner's name */
    ck_assert_int_eq(far_challenge_decode(&d, out, n, &error), -EPROTO);
    memset(out + 24, 'x', 64); /* a name without an end */
    ck_assert_int_eq(far_challenge_decode(&d, out, n, &error), -EPROTO);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("credential");
    TCase *tc = tcase_create("credential");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, a_signature_is_for_one_claim_and_of_one_key);
    tcase_add_test(tc, an_ecdsa_key_signs_as_well);
    tcase_add_test(tc, a_shared_key_signs_for_one_claim);
    tcase_add_test(tc, one_method_does_not_pass_for_the_other);
    tcase_add_test(tc, what_stood_behind_a_name_is_not_signed);
    tcase_add_test(tc, a_nonce_is_good_once);
    tcase_add_test(tc, a_nonce_that_was_never_given_is_not_good);
    tcase_add_test(tc, a_nonce_is_good_for_a_while);
    tcase_add_test(tc, open_nonces_are_bounded_and_the_oldest_goes_first);
    tcase_add_test(tc, options_come_back_as_they_went);
    tcase_add_test(tc, wrong_options_are_refused);
    suite_add_tcase(suite, tc);
    return suite_end(suite);
}
