/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Platforms' certificates (netproxy/certs.h).
 */
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "core/uuid.h"
#include "netproxy/certs.h"

#define PEM_BYTES_MAX 65536
#define PER_FILE_MAX  16 /* one, and a new one; more are a mistake */

/* Fingerprints. */

static const char base64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *far_fingerprint_format(char out[FAR_FINGERPRINT_TEXT_BYTES],
                             const uint8_t fingerprint[FAR_FINGERPRINT_BYTES])
{
    unsigned bits = 0, have = 0, i;
    char *p = out + sprintf(out, "SHA256:");

    for (i = 0; i < FAR_FINGERPRINT_BYTES; i++) {
        bits = bits << 8 | fingerprint[i];
        have += 8;
        for (; have >= 6; have -= 6)
            *p++ = base64[bits >> (have - 6) & 63];
    }
    *p++ = base64[bits << (6 - have) & 63];
    *p = 0;
    return out;
}

bool far_fingerprint_parse(uint8_t fingerprint[FAR_FINGERPRINT_BYTES],
                           const char *text)
{
    unsigned bits = 0, have = 0, n = 0;
    char again[FAR_FINGERPRINT_TEXT_BYTES];
    const char *p = text, *at;

    if (strncmp(text, "SHA256:", 7))
        return false;
    for (p += 7; *p && (at = strchr(base64, *p)); p++) {
        bits = bits << 6 | (unsigned)(at - base64);
        have += 6;
        if (have < 8)
            continue;
        if (n == FAR_FINGERPRINT_BYTES)
            return false;
        have -= 8;
        fingerprint[n++] = (uint8_t)(bits >> have);
    }
    /* One fingerprint has one text. */
    return n == FAR_FINGERPRINT_BYTES &&
           !strcmp(far_fingerprint_format(again, fingerprint), text);
}

void far_fingerprint_key(uint8_t out[FAR_FINGERPRINT_BYTES],
                         const struct far_key *key)
{
    struct {
        char label[32], identity[FAR_NAME_BYTES];
    } what = { .label = "farside psk fingerprint" };

    memcpy(what.identity, key->identity, strlen(key->identity));
    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->key, key->bytes, &what,
                         sizeof(what), out) < 0)
        memset(out, 0, FAR_FINGERPRINT_BYTES);
}

char *far_date_format(char out[16], int64_t time_s)
{
    time_t t = (time_t)time_s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || !strftime(out, 16, "%Y-%m-%d", &tm))
        snprintf(out, 16, "?");
    return out;
}

/* Reading. */

static int take(struct far_cert *cert, gnutls_x509_crt_t crt,
                struct far_error *error)
{
    char name[FAR_NAME_BYTES];
    size_t bytes = sizeof(name), fingerprint = sizeof(cert->fingerprint);
    int r = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
                                          0, name, &bytes);

    if (r < 0 || strlen(name) != bytes || !far_name_valid(name))
        return far_error(error, -EINVAL,
                         "the certificate's common name is no platform's name "
                         "(letters, digits, '.', '_', '-')");
    if (gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256,
                                        cert->fingerprint, &fingerprint) < 0)
        return far_error(error, -EINVAL, "the certificate has no fingerprint");
    memcpy(cert->platform, name, strlen(name) + 1);
    cert->from_s = gnutls_x509_crt_get_activation_time(crt);
    cert->until_s = gnutls_x509_crt_get_expiration_time(crt);
    if (cert->from_s == -1 || cert->until_s == -1)
        return far_error(error, -EINVAL, "the certificate has no term");
    cert->crt = crt;
    return 0;
}

int far_cert_parse(struct far_cert *cert, const void *der, size_t bytes,
                   struct far_error *error)
{
    gnutls_datum_t data = { (unsigned char *)(uintptr_t)der, (unsigned)bytes };
    struct far_cert one = { 0 };
    gnutls_x509_crt_t crt;
    int r;

    if (bytes > FAR_CERT_BYTES_MAX)
        return far_error(error, -EMSGSIZE, "a certificate of %zu bytes", bytes);
    if (gnutls_x509_crt_init(&crt) < 0)
        return far_error(error, -ENOMEM, "out of memory");
    r = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_DER);
    if (r < 0)
        r = far_error(error, -EINVAL, "no certificate: %s", gnutls_strerror(r));
    else
        r = take(&one, crt, error);
    if (r) {
        gnutls_x509_crt_deinit(crt);
        return r;
    }
    *cert = one;
    return 0;
}

int far_certs_parse(struct far_certs *certs, const char *file, const void *pem,
                    size_t bytes, struct far_error *error)
{
    gnutls_datum_t data = { (unsigned char *)(uintptr_t)pem, (unsigned)bytes };
    gnutls_x509_crt_t list[PER_FILE_MAX];
    unsigned count = PER_FILE_MAX, i;
    struct far_error why = { 0 };
    struct far_cert *more;
    int r =
        gnutls_x509_crt_list_import(list, &count, &data, GNUTLS_X509_FMT_PEM,
                                    GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

    if (r == GNUTLS_E_SHORT_MEMORY_BUFFER)
        return far_error(error, -EINVAL, "%s: more than %d certificates", file,
                         PER_FILE_MAX);
    if (r < 0)
        return far_error(error, -EINVAL, "%s: no certificate in PEM: %s", file,
                         gnutls_strerror(r));
    more = realloc(certs->certs, (certs->count + count) * sizeof(*more));
    if (more) {
        memset(more + certs->count, 0, count * sizeof(*more));
        certs->certs = more;
    } else if (count) {
        r = far_error(error, -ENOMEM, "%s: out of memory", file);
    }
    for (i = 0; i < count && r >= 0; i++) {
        r = take(&more[certs->count + i], list[i], &why);
        if (r)
            far_error(error, r, "%s: %s", file, why.text);
    }
    if (r < 0) {
        for (i = 0; i < count; i++)
            gnutls_x509_crt_deinit(list[i]);
        return r;
    }
    certs->count += count;
    return 0;
}

int far_certs_read(struct far_certs *certs, const char *file,
                   struct far_error *error)
{
    size_t bytes;
    char *text;
    int rc = far_file_read(file, false, PEM_BYTES_MAX, &text, &bytes, error);

    if (rc)
        return rc;
    rc = far_certs_parse(certs, file, text, bytes, error);
    free(text);
    return rc;
}

const struct far_cert *
far_certs_find(const struct far_certs *certs,
               const uint8_t fingerprint[FAR_FINGERPRINT_BYTES])
{
    unsigned i;

    for (i = 0; i < certs->count; i++) {
        if (!memcmp(certs->certs[i].fingerprint, fingerprint,
                    FAR_FINGERPRINT_BYTES))
            return &certs->certs[i];
    }
    return NULL;
}

void far_cert_clear(struct far_cert *cert)
{
    if (cert->crt)
        gnutls_x509_crt_deinit(cert->crt);
    memset(cert, 0, sizeof(*cert));
}

void far_certs_free(struct far_certs *certs)
{
    unsigned i;

    for (i = 0; i < certs->count; i++)
        far_cert_clear(&certs->certs[i]);
    free(certs->certs);
    memset(certs, 0, sizeof(*certs));
}

/* Making. */

static char *text_of(gnutls_datum_t *data)
{
    char *text = strndup((const char *)data->data, data->size);

    explicit_bzero(data->data, data->size);
    gnutls_free(data->data);
    return text;
}

static int fill_in(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key,
                   const char *platform, int64_t from_s, int64_t until_s)
{
    uint8_t serial[16];
    int r = far_random_bytes(serial, sizeof(serial));

    if (r)
        return GNUTLS_E_RANDOM_FAILED;
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 1); /* positive, not 0 */
    if ((r = gnutls_x509_crt_set_version(crt, 3)) < 0 ||
        (r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial))) < 0 ||
        (r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
                                           platform,
                                           (unsigned)strlen(platform))) < 0 ||
        (r = gnutls_x509_crt_set_activation_time(crt, (time_t)from_s)) < 0 ||
        (r = gnutls_x509_crt_set_expiration_time(crt, (time_t)until_s)) < 0 ||
        (r = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
        (r = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) <
            0 ||
        (r = gnutls_x509_crt_set_key(crt, key)) < 0)
        return r;
    /* Ed25519 has its hash built in: this one is not asked for. */
    return gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0);
}

int far_cert_make(const char *platform, int64_t from_s, int64_t until_s,
                  char **certificate, char **key_text, struct far_error *error)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t data;
    int r;

    *certificate = *key_text = NULL;
    if ((r = gnutls_x509_privkey_init(&key)) < 0 ||
        (r = gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0)) <
            0 ||
        (r = gnutls_x509_crt_init(&crt)) < 0 ||
        (r = fill_in(crt, key, platform, from_s, until_s)) < 0)
        goto out;
    r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &data);
    if (r < 0)
        goto out;
    *certificate = text_of(&data);
    r = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
                                          GNUTLS_PKCS_PLAIN, &data);
    if (r < 0)
        goto out;
    *key_text = text_of(&data);
    if (!*certificate || !*key_text)
        r = GNUTLS_E_MEMORY_ERROR;
out:
    if (crt)
        gnutls_x509_crt_deinit(crt);
    if (key)
        gnutls_x509_privkey_deinit(key);
    if (r >= 0)
        return 0;
    if (*key_text)
        explicit_bzero(*key_text, strlen(*key_text));
    free(*certificate);
    free(*key_text);
    *certificate = *key_text = NULL;
    return far_error(error, -EIO, "no certificate could be made for %s: %s",
                     platform, gnutls_strerror(r));
}

char *far_cert_pem(const struct far_cert *cert)
{
    gnutls_datum_t data;

    if (gnutls_x509_crt_export2(cert->crt, GNUTLS_X509_FMT_PEM, &data) < 0)
        return NULL;
    return text_of(&data);
}
