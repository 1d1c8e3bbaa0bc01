/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whom this platform trusts (netproxy/trust.h).
 */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "netproxy/trust.h"

#define FILE_BYTES_MAX 65536

static const char *const distrust_names[FAR_DISTRUSTS] = {
    [FAR_DISTRUST_NONE] = "none",
    [FAR_DISTRUST_UNKNOWN] = "unknown",
    [FAR_DISTRUST_EXPIRED] = "expired",
    [FAR_DISTRUST_EARLY] = "not_yet_valid",
    [FAR_DISTRUST_REVOKED] = "revoked",
    [FAR_DISTRUST_PLATFORM] = "wrong_platform",
    [FAR_DISTRUST_MISSING] = "no_certificate",
    [FAR_DISTRUST_KEY] = "wrong_key",
};

const char *far_distrust_name(enum far_distrust distrust)
{
    return distrust_names[distrust];
}

void far_trust_folder(char out[PATH_MAX], const struct far_conf *conf,
                      const char *conf_file)
{
    const char *dir =
        far_conf_string(far_conf_section(conf, "platform", ""), "trust", NULL);
    const char *slash = strrchr(conf_file, '/');

    if (dir)
        snprintf(out, PATH_MAX, "%s", dir);
    else if (slash)
        snprintf(out, PATH_MAX, "%.*s/trust", (int)(slash - conf_file),
                 conf_file);
    else
        snprintf(out, PATH_MAX, "trust");
}

bool far_trust_path(char out[PATH_MAX], const char *dir, const char *name)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX;
}

/* Reading. */

struct reading {
    struct far_trust *trust;
    far_trust_report *report;
    void *arg;
};

static void fault(struct reading *r, const char *text)
{
    if (r->report)
        r->report(r->arg, text);
}

static int read_own_key(struct far_trust *t, const char *file,
                        struct far_error *error)
{
    gnutls_datum_t data;
    size_t bytes;
    char *text;
    int r = far_file_read(file, true, FILE_BYTES_MAX, &text, &bytes, error);

    if (r)
        return r;
    data.data = (unsigned char *)text;
    data.size = (unsigned)bytes;
    r = gnutls_privkey_init(&t->own_key);
    if (r >= 0)
        r = gnutls_privkey_import_x509_raw(t->own_key, &data,
                                           GNUTLS_X509_FMT_PEM, NULL, 0);
    explicit_bzero(text, bytes);
    free(text);
    return r < 0 ? far_error(error, -EINVAL, "%s: no private key: %s", file,
                             gnutls_strerror(r))
                 : 0;
}

/* GnuTLS itself does not compare Ed25519 keys. */
static bool fits(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    uint8_t a[64], b[64];
    size_t a_bytes = sizeof(a), b_bytes = sizeof(b);

    return gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, a,
                                      &a_bytes) >= 0 &&
           gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b,
                                          &b_bytes) >= 0 &&
           a_bytes == b_bytes && !memcmp(a, b, a_bytes);
}

static int offer_own(struct far_trust *t, const char *file,
                     struct far_error *error)
{
    gnutls_x509_privkey_t key = NULL;
    int r = gnutls_certificate_allocate_credentials(&t->credentials);

    if (r < 0) {
        t->credentials = NULL;
        return far_error(error, -ENOMEM, "out of memory");
    }
    r = gnutls_privkey_export_x509(t->own_key, &key);
    if (r >= 0 && !fits(t->own.certs[0].crt, key))
        r = GNUTLS_E_CERTIFICATE_KEY_MISMATCH;
    if (r >= 0)
        r = gnutls_certificate_set_x509_key(t->credentials,
                                            &t->own.certs[0].crt, 1, key);
    if (key)
        gnutls_x509_privkey_deinit(key);
    if (r >= 0)
        return 0;
    gnutls_certificate_free_credentials(t->credentials);
    t->credentials = NULL;
    return far_error(error, -EINVAL, "%s and its key don't fit: %s", file,
                     gnutls_strerror(r));
}

static int load_own(struct far_trust *t, const char *own_name,
                    struct far_error *error)
{
    char file[PATH_MAX], key_file[PATH_MAX];
    int rc;

    if (!far_trust_path(file, t->dir, "own.pem") ||
        !far_trust_path(key_file, t->dir, "own.key"))
        return far_error(error, -ENAMETOOLONG, "%s: too long a path", t->dir);
    rc = far_certs_read(&t->own, file, error);
    if (rc)
        return rc;
    if (t->own.count != 1)
        return far_error(error, -EINVAL, "%s: more than one certificate", file);
    if (own_name && strcmp(t->own.certs[0].platform, own_name))
        return far_error(error, -EINVAL,
                         "%s is the certificate of %s, but this platform is "
                         "%s (farside trust init makes one)",
                         file, t->own.certs[0].platform, own_name);
    rc = read_own_key(t, key_file, error);
    return rc ? rc : offer_own(t, file, error);
}

static void read_own(struct reading *r, const char *own_name)
{
    struct far_trust *t = r->trust;
    struct far_error error = { 0 };
    int rc = load_own(t, own_name, &error);
    bool none = rc == -ENOENT && !t->own.count; /* never made */

    if (!rc)
        return;
    far_certs_free(&t->own);
    if (none)
        return;
    snprintf(t->own_reason, sizeof(t->own_reason), "%s", error.text);
    fault(r, error.text);
}

/* peers/NAME.pem: all its certificates are NAME's, or none is used. */
static void read_peer(struct reading *r, const char *dir, const char *file_name)
{
    struct far_certs *peers = &r->trust->peers;
    struct far_error error = { 0 };
    unsigned had = peers->count, i;
    char name[FAR_NAME_BYTES], file[PATH_MAX];
    size_t length = strlen(file_name);

    if (length < 5 || strcmp(file_name + length - 4, ".pem") ||
        length - 4 >= sizeof(name))
        return;
    memcpy(name, file_name, length - 4);
    name[length - 4] = 0;
    if (!far_name_valid(name) || !far_trust_path(file, dir, file_name))
        return;
    if (far_certs_read(peers, file, &error)) {
        fault(r, error.text);
        return;
    }
    for (i = had; i < peers->count; i++) {
        if (strcmp(peers->certs[i].platform, name))
            break;
    }
    if (i == peers->count)
        return;
    far_error(&error, -EINVAL, "%s: holds a certificate of %s: not used", file,
              peers->certs[i].platform);
    while (peers->count > had)
        far_cert_clear(&peers->certs[--peers->count]);
    fault(r, error.text);
}

static void read_peers(struct reading *r)
{
    char path[PATH_MAX];
    struct far_error error;
    struct dirent *e;
    DIR *dir;

    if (!far_trust_path(path, r->trust->dir, "peers"))
        return;
    dir = opendir(path);
    if (!dir && errno != ENOENT) {
        far_error(&error, -errno, "%s: %s", path, strerror(errno));
        fault(r, error.text);
    }
    while (dir && (e = readdir(dir)) &&
           r->trust->peers.count < FAR_TRUST_PEERS_MAX)
        read_peer(r, path, e->d_name);
    if (dir)
        closedir(dir);
}

static int add_revoked(struct far_trust *t, const char *word)
{
    void *more =
        reallocarray(t->revoked, t->revoked_count + 1, sizeof(*t->revoked));

    if (!more)
        return -ENOMEM;
    t->revoked = more;
    if (!far_fingerprint_parse(t->revoked[t->revoked_count], word))
        return -EINVAL;
    t->revoked_count++;
    return 0;
}

/* A line each: fingerprint, then anything, such as whose it was. */
static int read_revoked(struct far_trust *t, struct far_error *error)
{
    char file[PATH_MAX], *text, *rest, *line;
    unsigned number = 0;
    size_t bytes;
    int rc;

    if (!far_trust_path(file, t->dir, "revoked"))
        return far_error(error, -ENAMETOOLONG, "%s: too long a path", t->dir);
    rc = far_file_read(file, false, FILE_BYTES_MAX, &text, &bytes, error);
    if (rc)
        return rc == -ENOENT ? 0 : rc;
    rest = text;
    while (!rc && (line = strsep(&rest, "\n"))) {
        number++;
        line += strspn(line, " \t");
        line[strcspn(line, " \t\r")] = 0;
        if (!*line || *line == '#')
            continue;
        rc = add_revoked(t, line);
        if (rc)
            far_error(error, rc, "%s:%u: no fingerprint (SHA256:…)", file,
                      number);
    }
    free(text);
    return rc;
}

struct far_trust *far_trust_none(const char *dir, const char *reason)
{
    struct far_trust *t = calloc(1, sizeof(*t));

    if (t)
        t->dir = strdup(dir);
    if (!t || !t->dir) {
        free(t);
        return NULL;
    }
    t->holders = 1;
    snprintf(t->own_reason, sizeof(t->own_reason), "%s", reason);
    return t;
}

struct far_trust *far_trust_read(const char *dir, const char *own_name,
                                 far_trust_report *report, void *arg,
                                 struct far_error *error)
{
    struct reading r = { .report = report, .arg = arg };
    struct far_trust *t = far_trust_none(dir, "");

    if (!t) {
        far_error(error, -ENOMEM, "out of memory");
        return NULL;
    }
    r.trust = t;
    if (read_revoked(t, error)) {
        far_trust_drop(t);
        return NULL;
    }
    read_own(&r, own_name);
    read_peers(&r);
    return t;
}

struct far_trust *far_trust_hold(struct far_trust *t)
{
    if (t)
        t->holders++;
    return t;
}

void far_trust_drop(struct far_trust *t)
{
    if (!t || --t->holders)
        return;
    if (t->credentials)
        gnutls_certificate_free_credentials(t->credentials);
    if (t->own_key)
        gnutls_privkey_deinit(t->own_key);
    far_certs_free(&t->own);
    far_certs_free(&t->peers);
    free(t->revoked);
    free(t->dir);
    free(t);
}

/* Judging. */

const struct far_cert *far_trust_peer(const struct far_trust *t,
                                      const char *platform)
{
    const struct far_cert *best = NULL;
    unsigned i;

    for (i = 0; t && i < t->peers.count; i++) {
        const struct far_cert *c = &t->peers.certs[i];

        if (!strcmp(c->platform, platform) &&
            (!best || c->until_s > best->until_s))
            best = c;
    }
    return best;
}

static bool is_revoked(const struct far_trust *t,
                       const uint8_t fingerprint[FAR_FINGERPRINT_BYTES])
{
    unsigned i;

    for (i = 0; i < t->revoked_count; i++) {
        if (!memcmp(t->revoked[i], fingerprint, FAR_FINGERPRINT_BYTES))
            return true;
    }
    return false;
}

static enum far_distrust __attribute__((format(printf, 4, 5)))
distrust(struct far_error *error, enum far_distrust why, int code,
         const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    far_error(error, code, "%s", text);
    return why;
}

enum far_distrust
far_trust_judge(const struct far_trust *t,
                const uint8_t fingerprint[FAR_FINGERPRINT_BYTES],
                const char *platform, int64_t now_s,
                const struct far_cert **cert, struct far_error *error)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES], date[16];
    const struct far_cert *c = far_certs_find(&t->peers, fingerprint);

    *cert = c;
    far_fingerprint_format(print, fingerprint);
    if (is_revoked(t, fingerprint))
        return distrust(error, FAR_DISTRUST_REVOKED, -EKEYREVOKED,
                        "its certificate %s was revoked here", print);
    if (!c)
        return distrust(error, FAR_DISTRUST_UNKNOWN, -EKEYREJECTED,
                        "its certificate %s is not installed here (farside "
                        "trust install)",
                        print);
    if (platform && strcmp(c->platform, platform))
        return distrust(error, FAR_DISTRUST_PLATFORM, -EKEYREJECTED,
                        "its certificate is that of %s, not of %s", c->platform,
                        platform);
    if (now_s < c->from_s)
        return distrust(error, FAR_DISTRUST_EARLY, -EKEYREJECTED,
                        "the certificate of %s is not valid before %s (is a "
                        "clock wrong?)",
                        c->platform, far_date_format(date, c->from_s));
    if (now_s >= c->until_s)
        return distrust(error, FAR_DISTRUST_EXPIRED, -EKEYEXPIRED,
                        "the certificate of %s has expired on %s (there: "
                        "farside trust renew)",
                        c->platform, far_date_format(date, c->until_s));
    return FAR_DISTRUST_NONE;
}

/* Signed attaches. */

static int sign_with_shared(const struct far_trust *t,
                            const struct far_claim *claim,
                            struct far_credential *credential,
                            struct far_error *error)
{
    const char *owner = claim->challenge.owner;
    struct far_keys keys = { 0 };
    const struct far_key *key;
    char name[FAR_NAME_BYTES + 16], file[PATH_MAX];
    int rc;

    snprintf(name, sizeof(name), "psk/server-%s", owner);
    if (!far_trust_path(file, t->dir, name))
        return far_error(error, -ENAMETOOLONG, "%s: too long a path", t->dir);
    rc = far_keys_read(&keys, file, error);
    if (rc == -ENOENT)
        return far_error(error, -ENOKEY,
                         "%s asks for a signature of %s, but neither its "
                         "certificate is installed there nor a key that both "
                         "share (farside trust)",
                         owner, claim->origin);
    if (rc)
        return rc;
    key = far_keys_find(&keys, claim->origin);
    rc = key ? far_credential_sign_psk(credential, claim, key, error)
             : far_error(error, -ENOKEY, "%s has no line for our own name, %s",
                         file, claim->origin);
    far_keys_free(&keys);
    return rc;
}

int far_trust_sign(const struct far_trust *t, const struct far_claim *claim,
                   uint8_t *out, size_t room, struct far_error *error)
{
    struct far_credential credential;
    size_t bytes;
    int rc;

    if (far_trust_own(t) && far_trust_peer(t, claim->challenge.owner))
        rc = far_credential_sign(&credential, claim, t->own_key, error);
    else
        rc = sign_with_shared(t, claim, &credential, error);
    if (rc)
        return rc;
    bytes = far_credential_encode(out, room, &credential);
    return bytes ? (int)bytes
                 : far_error(error, -ENOBUFS, "no room for a signature");
}

/* By any of the certificates of that platform that are in force. */
static int verify_by_certificate(const struct far_trust *t,
                                 const struct far_claim *claim,
                                 const struct far_credential *credential,
                                 int64_t now_s, struct far_error *error)
{
    bool any = false;
    unsigned i;

    for (i = 0; i < t->peers.count; i++) {
        const struct far_cert *c = &t->peers.certs[i], *same;
        gnutls_pubkey_t key;
        int rc = -ENOMEM;

        if (strcmp(c->platform, claim->origin))
            continue;
        any = true;
        if (far_trust_judge(t, c->fingerprint, claim->origin, now_s, &same,
                            error))
            continue;
        if (gnutls_pubkey_init(&key) < 0)
            return far_error(error, -ENOMEM, "out of memory");
        if (gnutls_pubkey_import_x509(key, c->crt, 0) >= 0)
            rc = far_credential_verify(credential, claim, key, error);
        gnutls_pubkey_deinit(key);
        if (!rc)
            return 0;
    }
    if (!any)
        far_error(error, -EKEYREJECTED, "no certificate of %s is installed",
                  claim->origin);
    return -EKEYREJECTED;
}

int far_trust_verify(const struct far_trust *t, const struct far_keys *clients,
                     const struct far_claim *claim,
                     const struct far_credential *credential, int64_t now_s,
                     struct far_error *error)
{
    const struct far_key *key;

    if (credential->method == FAR_CREDENTIAL_CERTIFICATE)
        return verify_by_certificate(t, claim, credential, now_s, error);
    key = far_keys_find(clients, claim->origin);
    if (!key)
        return far_error(error, -EKEYREJECTED, "no key is shared with %s",
                         claim->origin);
    return far_credential_verify_psk(credential, claim, key, error);
}
