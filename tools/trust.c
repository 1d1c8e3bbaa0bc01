// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside trust: makes, shows, carries over, renews and takes back the keys and
// certificates by which platforms know each other. What lies where is said in
// netproxy/trust.h; how files are written in tools/trust-files.c.

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "core/conf-keys.h"
#include "core/uuid.h"
#include "netproxy/trust.h"
#include "tools/tool.h"
#include "tools/trust-files.h"

#define CERTIFICATE_WORD "farside-certificate"
#define KEY_WORD         "farside-key"
#define DAYS_DEFAULT     730
#define DAY_S            86400
#define LINE_BYTES_MAX   16384
#define KEY_BYTES        32

struct keeper {
    struct far_tool *tool;
    char self[FAR_NAME_BYTES]; /* this platform's name */
    char dir[PATH_MAX];
    struct far_trust *trust; /* as it was at the beginning */
    const char *fingerprint; /* --fingerprint */
    unsigned days;
    bool use, anew;
};

static int failed(const struct far_error *error)
{
    return far_fail("trust", FAR_EXIT_FAILED, "%s", error->text);
}

static void show_fault(void *arg, const char *text)
{
    (void)arg;
    far_fail("trust", 0, "%s", text);
}

static void ignore_problem(void *arg, const char *file, unsigned line,
                           unsigned column, const char *text)
{
    (void)arg, (void)file, (void)line, (void)column, (void)text;
}

/* Who we are and where the folder is, as the netproxy sees it. */
static int open_keeper(struct keeper *k)
{
    struct far_error error = { 0 };
    unsigned problems = 0;
    struct far_conf *conf = far_conf_read(k->tool->conf_file, ignore_problem,
                                          NULL, &problems, &error);
    const struct far_conf_section *s;

    if (!conf)
        return failed(&error);
    s = far_conf_section(conf, "platform", NULL);
    snprintf(k->self, sizeof(k->self), "%s", far_conf_string(s, "name", ""));
    far_trust_folder(k->dir, conf, k->tool->conf_file);
    far_conf_free(conf);
    if (!far_name_valid(k->self))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "%s: [platform] has no name: certificates and keys "
                        "are made in it",
                        k->tool->conf_file);
    k->trust = far_trust_read(k->dir, k->self, show_fault, NULL, &error);
    return k->trust ? FAR_EXIT_OK : failed(&error);
}

/* What has changed is in force at once. */
static void reload(const struct keeper *k)
{
    struct far_error error;
    json_t *answer;
    int r = far_ask_simple(k->tool, "netproxy", "reload", &answer, &error);

    if (!r) {
        json_decref(answer);
        fprintf(k->tool->out, "farside-netproxy: reloaded\n");
    } else if (r == -EREMOTEIO) {
        far_fail("trust", 0, "farside-netproxy: %s", error.text);
    } else {
        fprintf(k->tool->out, "farside-netproxy does not run here: it reads "
                              "this when it starts\n");
    }
}

// What is carried over.

/* "farside-certificate NAME BASE64" of the one in DIR/FILE. */
static int print_certificate(const struct keeper *k, const char *name)
{
    struct far_certs certs = { 0 };
    gnutls_datum_t der = { NULL, 0 }, text = { NULL, 0 };
    struct far_error error = { 0 };
    char path[PATH_MAX];
    int r = -1;

    far_trust_path(path, k->dir, name);
    if (far_certs_read(&certs, path, &error))
        return failed(&error);
    if (gnutls_x509_crt_export2(certs.certs[0].crt, GNUTLS_X509_FMT_DER,
                                &der) >= 0 &&
        gnutls_base64_encode2(&der, &text) >= 0)
        r = fprintf(k->tool->out, CERTIFICATE_WORD " %s %.*s\n",
                    certs.certs[0].platform, (int)text.size, text.data);
    gnutls_free(der.data);
    gnutls_free(text.data);
    far_certs_free(&certs);
    return r < 0 ? far_fail("trust", FAR_EXIT_FAILED, "out of memory")
                 : FAR_EXIT_OK;
}

static void print_cert(const struct keeper *k, const char *what,
                       const struct far_cert *c)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES], date[16];
    int64_t now_s = time(NULL);

    fprintf(k->tool->out, "%-8s %-16s %s  %s %s", what, c->platform,
            far_fingerprint_format(print, c->fingerprint),
            c->until_s > now_s ? "until" : "EXPIRED",
            far_date_format(date, c->until_s));
    if (c->from_s > now_s)
        fprintf(k->tool->out, ", NOT VALID before %s",
                far_date_format(date, c->from_s));
    else if (c->until_s > now_s && c->until_s - now_s < FAR_CERT_WARN_S)
        fprintf(k->tool->out, ", in %d days: farside trust renew",
                (int)((c->until_s - now_s) / DAY_S));
    fputc('\n', k->tool->out);
}

// init, export, list, renew

static int make_pair(const struct keeper *k, const char *certificate_name,
                     const char *key_name)
{
    struct far_error error = { 0 };
    /* Clocks differ a little: valid since a day ago. */
    int64_t now_s = time(NULL), from_s = now_s - DAY_S,
            until_s = now_s + (int64_t)k->days * DAY_S;
    char *certificate, *key;
    int rc = far_trust_files_prepare(k->dir, &error);

    if (!rc)
        rc =
            far_cert_make(k->self, from_s, until_s, &certificate, &key, &error);
    if (rc)
        return failed(&error);
    /* The key first: a certificate that is there has its key. */
    rc = far_trust_files_write(k->dir, key_name, key, true, &error);
    if (!rc)
        rc = far_trust_files_write(k->dir, certificate_name, certificate, false,
                                   &error);
    explicit_bzero(key, strlen(key));
    free(key);
    free(certificate);
    return rc ? failed(&error) : FAR_EXIT_OK;
}

static int show_file(const struct keeper *k, const char *what, const char *name)
{
    struct far_certs certs = { 0 };
    struct far_error error = { 0 };
    char path[PATH_MAX];

    far_trust_path(path, k->dir, name);
    if (far_certs_read(&certs, path, &error))
        return failed(&error);
    print_cert(k, what, &certs.certs[0]);
    far_certs_free(&certs);
    return FAR_EXIT_OK;
}

static bool there(const struct keeper *k, const char *name)
{
    char path[PATH_MAX];

    return far_trust_path(path, k->dir, name) && !access(path, F_OK);
}

static int init(struct keeper *k)
{
    int status;

    if (!far_trust_own(k->trust) && there(k, "own.pem"))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "%s/own.pem is there, but can't be used (see above): "
                        "remove it and own.key, and try again",
                        k->dir);
    if (!far_trust_own(k->trust)) {
        status = make_pair(k, "own.pem", "own.key");
        if (status)
            return status;
        reload(k);
    }
    return show_file(k, "own", "own.pem");
}

static int export(struct keeper *k)
{
    if (!far_trust_own(k->trust))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "this platform has no certificate: farside trust init");
    return print_certificate(k, there(k, "next.pem") ? "next.pem" : "own.pem");
}

static void list_keys(const struct keeper *k, const char *what,
                      const char *name, const char *other)
{
    struct far_keys keys = { 0 };
    struct far_error error = { 0 };
    char path[PATH_MAX], print[FAR_FINGERPRINT_TEXT_BYTES];
    uint8_t bytes[FAR_FINGERPRINT_BYTES];
    unsigned i;

    if (!far_trust_path(path, k->dir, name))
        return;
    if (far_keys_read(&keys, path, &error)) {
        if (error.code != -ENOENT)
            failed(&error);
        return;
    }
    for (i = 0; i < keys.count; i++) {
        far_fingerprint_key(bytes, &keys.keys[i]);
        fprintf(k->tool->out, "%-8s %-16s %s  %s\n", "key",
                other ? other : keys.keys[i].identity,
                far_fingerprint_format(print, bytes), what);
    }
    far_keys_free(&keys);
}

static int list(struct keeper *k)
{
    char path[PATH_MAX], name[FAR_NAME_BYTES + 16];
    struct dirent *e;
    DIR *dir;
    unsigned i;

    fprintf(k->tool->out, "%s, platform %s\n", k->dir, k->self);
    if (far_trust_own(k->trust))
        print_cert(k, "own", far_trust_own(k->trust));
    else
        fprintf(k->tool->out,
                "own      no certificate: farside trust init makes one\n");
    if (there(k, "next.pem"))
        show_file(k, "next", "next.pem");
    for (i = 0; i < k->trust->peers.count; i++)
        print_cert(k, "trusted", &k->trust->peers.certs[i]);
    list_keys(k, "comes to us with it", "psk/clients", NULL);
    dir = far_trust_path(path, k->dir, "psk") ? opendir(path) : NULL;
    while (dir && (e = readdir(dir))) {
        if (strncmp(e->d_name, "server-", 7) || !far_name_valid(e->d_name + 7))
            continue;
        snprintf(name, sizeof(name), "psk/%.70s", e->d_name);
        list_keys(k, "we go there with it", name, e->d_name + 7);
    }
    if (dir)
        closedir(dir);
    for (i = 0; i < k->trust->revoked_count; i++) {
        char print[FAR_FINGERPRINT_TEXT_BYTES];

        fprintf(k->tool->out, "%-8s %-16s %s\n", "revoked", "",
                far_fingerprint_format(print, k->trust->revoked[i]));
    }
    return FAR_EXIT_OK;
}

/* Own key and certificate are two files: the key goes first, and one that was
 * interrupted between them is finished by the next try. */
static int use_next(struct keeper *k)
{
    struct far_error error = { 0 };

    if (!there(k, "next.pem"))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "there is no new certificate: farside trust renew "
                        "makes one");
    if (there(k, "next.key") &&
        far_trust_files_rename(k->dir, "next.key", "own.key", &error))
        return failed(&error);
    if (far_trust_files_rename(k->dir, "next.pem", "own.pem", &error))
        return failed(&error);
    reload(k);
    return show_file(k, "own", "own.pem");
}

static int renew(struct keeper *k)
{
    int status;

    if (k->use)
        return use_next(k);
    if (!there(k, "own.pem"))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "this platform has no certificate: farside trust init");
    if (!there(k, "next.pem")) {
        status = make_pair(k, "next.pem", "next.key");
        if (status)
            return status;
    }
    status = show_file(k, "next", "next.pem");
    if (status)
        return status;
    fprintf(k->tool->out,
            "\nInstall it on each platform that trusts this one (both are "
            "valid there then):\n"
            "    farside trust export | ssh root@OTHER farside trust install "
            "--fingerprint FINGERPRINT\n"
            "and then have it used here:\n"
            "    farside trust renew --use\n");
    return FAR_EXIT_OK;
}

// install

/* Is that what the other side shows? */
static int compare(const struct keeper *k, const char *platform,
                   const char *print)
{
    char answer[16];
    FILE *tty;
    bool yes;

    if (k->fingerprint) {
        if (!strcmp(k->fingerprint, print))
            return FAR_EXIT_OK;
        return far_fail("trust", FAR_EXIT_FAILED,
                        "its fingerprint is %s, not %s: nothing was installed",
                        print, k->fingerprint);
    }
    tty = fopen("/dev/tty", "r+e");
    if (!tty)
        return far_fail("trust", FAR_EXIT_FAILED,
                        "nobody is here to compare it: give what %s shows "
                        "(farside trust list there) as --fingerprint; this has "
                        "%s",
                        platform, print);
    fprintf(tty, "%s, %s\nDoes %s show the same (farside trust list)? [y/N] ",
            platform, print, platform);
    fflush(tty);
    yes = fgets(answer, sizeof(answer), tty) &&
          (*answer == 'y' || *answer == 'Y');
    fclose(tty);
    return yes ? FAR_EXIT_OK
               : far_fail("trust", FAR_EXIT_FAILED, "nothing was installed");
}

/* All of that platform's certificates that are still of use, with `more` (or
 * without the one of fingerprint `less`), as one text; NULL: out of memory. */
static char *peers_text(const struct keeper *k, const char *platform,
                        const struct far_cert *more, const uint8_t *less)
{
    char *text = strdup(""), *longer;
    int64_t now_s = time(NULL);
    unsigned i;

    for (i = 0; text && i <= k->trust->peers.count; i++) {
        const struct far_cert *c =
            i < k->trust->peers.count ? &k->trust->peers.certs[i] : more;
        char *pem;

        if (!c || strcmp(c->platform, platform) ||
            (c != more && c->until_s <= now_s) ||
            (less && !memcmp(c->fingerprint, less, FAR_FINGERPRINT_BYTES)))
            continue;
        pem = far_cert_pem(c);
        if (!pem || asprintf(&longer, "%s%s", text, pem) < 0)
            longer = NULL;
        free(pem);
        free(text);
        text = longer;
    }
    return text;
}

static int write_peers(const struct keeper *k, const char *platform,
                       const struct far_cert *more, const uint8_t *less)
{
    struct far_error error = { 0 };
    char name[FAR_NAME_BYTES + 16], *text;
    int rc;

    text = peers_text(k, platform, more, less);
    if (!text)
        return far_fail("trust", FAR_EXIT_FAILED, "out of memory");
    snprintf(name, sizeof(name), "peers/%s.pem", platform);
    rc = *text ? far_trust_files_write(k->dir, name, text, false, &error)
               : far_trust_files_remove(k->dir, name, &error);
    free(text);
    return rc ? failed(&error) : FAR_EXIT_OK;
}

static int install_certificate(struct keeper *k, const struct far_cert *c)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES];
    struct far_error error = { 0 };
    bool others = far_trust_peer(k->trust, c->platform) != NULL;
    unsigned i;
    int status;

    far_fingerprint_format(print, c->fingerprint);
    if (!strcmp(c->platform, k->self))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "that is a certificate of %s, this platform itself",
                        k->self);
    for (i = 0; i < k->trust->revoked_count; i++) {
        if (!memcmp(k->trust->revoked[i], c->fingerprint,
                    FAR_FINGERPRINT_BYTES))
            return far_fail("trust", FAR_EXIT_FAILED,
                            "%s of %s was revoked here: have %s make a new "
                            "one (farside trust renew), or take it out of "
                            "%s/revoked",
                            print, c->platform, c->platform, k->dir);
    }
    if (far_certs_find(&k->trust->peers, c->fingerprint)) {
        fprintf(k->tool->out, "is installed already:\n");
        print_cert(k, "trusted", c);
        return FAR_EXIT_OK;
    }
    status = compare(k, c->platform, print);
    if (status)
        return status;
    if (far_trust_files_prepare(k->dir, &error))
        return failed(&error);
    status = write_peers(k, c->platform, c, NULL);
    if (status)
        return status;
    print_cert(k, "trusted", c);
    if (others)
        fprintf(k->tool->out,
                "Its other certificates stay valid; farside trust revoke "
                "FINGERPRINT takes one away.\n");
    reload(k);
    return FAR_EXIT_OK;
}

static int install_certificate_text(struct keeper *k, const char *name,
                                    const char *base64)
{
    gnutls_datum_t text = { (unsigned char *)(uintptr_t)base64,
                            (unsigned)strlen(base64) };
    gnutls_datum_t der = { NULL, 0 };
    struct far_error error = { 0 };
    struct far_cert cert = { 0 };
    int status;

    if (gnutls_base64_decode2(&text, &der) < 0)
        return far_fail("trust", FAR_EXIT_FAILED,
                        "the line of %.64s is damaged: carry it over again",
                        name);
    if (far_cert_parse(&cert, der.data, der.size, &error))
        status = failed(&error);
    else if (strcmp(cert.platform, name))
        status = far_fail("trust", FAR_EXIT_FAILED,
                          "the line says %.64s, but the certificate is that "
                          "of %s",
                          name, cert.platform);
    else
        status = install_certificate(k, &cert);
    far_cert_clear(&cert);
    gnutls_free(der.data);
    return status;
}

static int install_pem(struct keeper *k, const char *text)
{
    struct far_certs certs = { 0 };
    struct far_error error = { 0 };
    int status;

    if (far_certs_parse(&certs, "the input", text, strlen(text), &error))
        return failed(&error);
    status = certs.count == 1
                 ? install_certificate(k, &certs.certs[0])
                 : far_fail("trust", FAR_EXIT_FAILED,
                            "there are %u certificates: install one at a time",
                            certs.count);
    far_certs_free(&certs);
    return status;
}

/* "CLIENT:HEX" as a key; false: it is none. */
static bool key_of(struct far_key *key, const char *client, const char *hex)
{
    struct far_keys keys = { 0 };
    char line[FAR_NAME_BYTES + 2 * FAR_KEY_BYTES_MAX + 8];
    bool ok;

    ok = snprintf(line, sizeof(line), "%s:%s", client, hex) <
             (int)sizeof(line) &&
         !far_keys_parse(&keys, "", line, NULL) && keys.count == 1;
    if (ok)
        *key = keys.keys[0];
    far_keys_free(&keys);
    explicit_bzero(line, sizeof(line));
    return ok;
}

static void print_key(const struct keeper *k, const struct far_key *key,
                      const char *other)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES];
    uint8_t bytes[FAR_FINGERPRINT_BYTES];

    far_fingerprint_key(bytes, key);
    fprintf(k->tool->out, "%-8s %-16s %s\n", "key", other,
            far_fingerprint_format(print, bytes));
}

static int install_key(struct keeper *k, const char *client, const char *server,
                       const char *hex)
{
    char name[FAR_NAME_BYTES + 16], text[512];
    struct far_error error = { 0 };
    struct far_key key;
    int rc;

    if (!far_name_valid(server) || !key_of(&key, client, hex))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "the line is damaged: carry it over again");
    if (strcmp(client, k->self))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "that is a key for %s, and this platform is %s", client,
                        k->self);
    snprintf(name, sizeof(name), "psk/server-%s", server);
    snprintf(text, sizeof(text), "%s:%s\n", client, hex);
    rc = far_trust_files_prepare(k->dir, &error);
    if (!rc)
        rc = far_trust_files_write(k->dir, name, text, true, &error);
    explicit_bzero(text, sizeof(text));
    if (rc)
        return failed(&error);
    print_key(k, &key, server);
    explicit_bzero(&key, sizeof(key));
    if (far_trust_peer(k->trust, server) && far_trust_own(k->trust))
        fprintf(k->tool->out,
                "The certificate of %s is installed too, and is used first.\n",
                server);
    reload(k);
    return FAR_EXIT_OK;
}

/* The line that counts, of all that was printed there. */
static int install_text(struct keeper *k, char *text)
{
    char *rest = text, *line;

    if (strstr(text, "-----BEGIN CERTIFICATE-----"))
        return install_pem(k, text);
    while ((line = strsep(&rest, "\n"))) {
        char *words[5] = { NULL };
        unsigned n = 0;

        while (n < 5 && (words[n] = strsep(&line, " \t\r"))) {
            if (*words[n])
                n++;
        }
        if (n == 3 && !strcmp(words[0], CERTIFICATE_WORD))
            return install_certificate_text(k, words[1], words[2]);
        if (n == 4 && !strcmp(words[0], KEY_WORD))
            return install_key(k, words[1], words[2], words[3]);
    }
    return far_fail("trust", FAR_EXIT_FAILED,
                    "that is neither what farside trust export prints nor what "
                    "farside trust psk prints");
}

static int install(struct keeper *k, const char *file)
{
    bool standard = !file || !strcmp(file, "-");
    FILE *in = standard ? stdin : fopen(file, "re");
    char *text;
    size_t used;
    int status;

    if (!in)
        return far_fail("trust", FAR_EXIT_FAILED, "%s: %s", file,
                        strerror(errno));
    text = calloc(1, LINE_BYTES_MAX);
    used = text ? fread(text, 1, LINE_BYTES_MAX - 1, in) : 0;
    if (!standard)
        fclose(in);
    if (!text)
        return far_fail("trust", FAR_EXIT_FAILED, "out of memory");
    text[used] = 0;
    status = install_text(k, text);
    explicit_bzero(text, LINE_BYTES_MAX);
    free(text);
    return status;
}

// Pre-shared keys

static void hex_of(char *out, const struct far_key *key)
{
    size_t i;

    for (i = 0; i < key->bytes; i++)
        sprintf(out + 2 * i, "%02x", key->key[i]);
}

/* psk/clients with *add, or without the one of `less`. */
static int write_clients(const struct keeper *k, const struct far_keys *keys,
                         const struct far_key *add, const char *less)
{
    size_t room =
        (keys->count + 1) * (FAR_NAME_BYTES + 2 * FAR_KEY_BYTES_MAX + 4) + 1;
    char *text = calloc(1, room), hex[2 * FAR_KEY_BYTES_MAX + 1];
    struct far_error error = { 0 };
    size_t used = 0;
    unsigned i;
    int rc;

    if (!text)
        return far_fail("trust", FAR_EXIT_FAILED, "out of memory");
    for (i = 0; i <= keys->count; i++) {
        const struct far_key *key = i < keys->count ? &keys->keys[i] : add;

        if (!key || (less && !strcmp(key->identity, less)) ||
            (add && key != add && !strcmp(key->identity, add->identity)))
            continue;
        hex_of(hex, key);
        used += (size_t)snprintf(text + used, room - used, "%s:%s\n",
                                 key->identity, hex);
    }
    rc = used ? far_trust_files_write(k->dir, "psk/clients", text, true, &error)
              : far_trust_files_remove(k->dir, "psk/clients", &error);
    explicit_bzero(hex, sizeof(hex));
    explicit_bzero(text, room);
    free(text);
    return rc ? failed(&error) : FAR_EXIT_OK;
}

static int read_clients(const struct keeper *k, struct far_keys *keys)
{
    struct far_error error = { 0 };
    char path[PATH_MAX];

    far_trust_path(path, k->dir, "psk/clients");
    if (far_keys_read(keys, path, &error) && error.code != -ENOENT)
        return failed(&error);
    return FAR_EXIT_OK;
}

static int psk(struct keeper *k, const char *client)
{
    struct far_keys keys = { 0 };
    struct far_error error = { 0 };
    const struct far_key *found;
    struct far_key key = { .bytes = KEY_BYTES };
    char hex[2 * FAR_KEY_BYTES_MAX + 1];
    int status;

    if (!far_name_valid(client) || !strcmp(client, k->self))
        return far_fail("trust", FAR_EXIT_FAILED,
                        "'%s' is not the name of another platform", client);
    if (far_trust_files_prepare(k->dir, &error))
        return failed(&error);
    status = read_clients(k, &keys);
    if (status)
        return status;
    found = far_keys_find(&keys, client);
    if (found && !k->anew) {
        key = *found;
    } else {
        snprintf(key.identity, sizeof(key.identity), "%s", client);
        if (far_random_bytes(key.key, key.bytes))
            status = far_fail("trust", FAR_EXIT_FAILED, "no random numbers");
        else
            status = write_clients(k, &keys, &key, NULL);
        if (!status)
            reload(k);
    }
    if (!status) {
        hex_of(hex, &key);
        print_key(k, &key, client);
        fprintf(k->tool->out,
                "Carry this line over to %s, where nobody else sees it, and "
                "give it to farside trust install there:\n" KEY_WORD
                " %s %s %s\n",
                client, client, k->self, hex);
        explicit_bzero(hex, sizeof(hex));
    }
    explicit_bzero(&key, sizeof(key));
    far_keys_free(&keys);
    return status;
}

// revoke

/* The list with one more. */
static int add_revoked(struct keeper *k,
                       const uint8_t fingerprint[FAR_FINGERPRINT_BYTES],
                       const char *whose)
{
    char path[PATH_MAX], print[FAR_FINGERPRINT_TEXT_BYTES], *text = NULL,
                                                            *more = NULL;
    struct far_error error = { 0 };
    size_t bytes;
    int rc;

    far_trust_path(path, k->dir, "revoked");
    far_fingerprint_format(print, fingerprint);
    rc = far_file_read(path, false, 1 << 20, &text, &bytes, &error);
    if (rc && rc != -ENOENT)
        return failed(&error);
    if (text && strstr(text, print)) {
        free(text);
        return FAR_EXIT_OK;
    }
    if (asprintf(&more, "%s%s%s %s\n", text ? text : "",
                 text && *text && text[strlen(text) - 1] != '\n' ? "\n" : "",
                 print, whose) < 0)
        more = NULL;
    free(text);
    if (!more)
        return far_fail("trust", FAR_EXIT_FAILED, "out of memory");
    rc = far_trust_files_write(k->dir, "revoked", more, false, &error);
    free(more);
    if (rc)
        return failed(&error);
    fprintf(k->tool->out, "%-8s %-16s %s\n", "revoked", whose, print);
    return FAR_EXIT_OK;
}

static int revoke_fingerprint(struct keeper *k,
                              const uint8_t fingerprint[FAR_FINGERPRINT_BYTES])
{
    const struct far_cert *c = far_certs_find(&k->trust->peers, fingerprint);
    /* The list first: from there on it is not trusted, wherever it stands. */
    int status = add_revoked(k, fingerprint, c ? c->platform : "?");

    if (!status && c)
        status = write_peers(k, c->platform, NULL, fingerprint);
    return status;
}

static int revoke_platform(struct keeper *k, const char *platform)
{
    char name[FAR_NAME_BYTES + 16];
    struct far_keys keys = { 0 };
    struct far_error error = { 0 };
    unsigned i, found = 0;
    int status = read_clients(k, &keys);

    for (i = 0; !status && i < k->trust->peers.count; i++) {
        const struct far_cert *c = &k->trust->peers.certs[i];

        if (strcmp(c->platform, platform))
            continue;
        found++;
        status = add_revoked(k, c->fingerprint, platform);
    }
    snprintf(name, sizeof(name), "peers/%s.pem", platform);
    if (!status && found && far_trust_files_remove(k->dir, name, &error))
        status = failed(&error);
    if (!status && far_keys_find(&keys, platform)) {
        found++;
        status = write_clients(k, &keys, NULL, platform);
        if (!status)
            fprintf(k->tool->out, "the key of %s is taken away\n", platform);
    }
    snprintf(name, sizeof(name), "psk/server-%s", platform);
    if (!status && there(k, name)) {
        found++;
        if (far_trust_files_remove(k->dir, name, &error))
            status = failed(&error);
        else
            fprintf(k->tool->out, "the key for %s is taken away\n", platform);
    }
    far_keys_free(&keys);
    if (!status && !found)
        return far_fail("trust", FAR_EXIT_FAILED,
                        "nothing of %s is installed here (farside trust list)",
                        platform);
    return status;
}

static int take_back(struct keeper *k, const char *what)
{
    uint8_t fingerprint[FAR_FINGERPRINT_BYTES];
    int status;

    if (far_fingerprint_parse(fingerprint, what))
        status = revoke_fingerprint(k, fingerprint);
    else if (far_name_valid(what))
        status = revoke_platform(k, what);
    else
        return far_usage("trust",
                         "'%s' is neither a platform nor a fingerprint", what);
    if (!status)
        reload(k);
    return status;
}

static bool options(struct keeper *k, int argc, char **argv)
{
    static const struct option known[] = {
        { "days", required_argument, NULL, 'd' },
        { "fingerprint", required_argument, NULL, 'f' },
        { "use", no_argument, NULL, 'u' },
        { "new", no_argument, NULL, 'n' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t days;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'd':
            if (!far_uint_parse(&days, optarg) || !days || days > 36500)
                return false;
            k->days = (unsigned)days;
            break;
        case 'f':
            k->fingerprint = optarg;
            break;
        case 'u':
            k->use = true;
            break;
        case 'n':
            k->anew = true;
            break;
        default:
            return false;
        }
    }
    return true;
}

int far_trust_command(struct far_tool *tool, int argc, char **argv)
{
    struct keeper k = { .tool = tool, .days = DAYS_DEFAULT };
    const char *what, *arg;
    int status, left;

    if (!options(&k, argc, argv))
        return far_usage("trust", "an option is not known, or has no value");
    left = argc - optind;
    what = left ? argv[optind] : "list";
    arg = left > 1 ? argv[optind + 1] : NULL;
    if (left > 2)
        return far_usage("trust", "too many arguments");
    if (!arg && (!strcmp(what, "psk") || !strcmp(what, "revoke")))
        return far_usage("trust", "%s: of whom?", what);
    status = open_keeper(&k);
    if (status)
        return status;
    if (!strcmp(what, "list"))
        status = list(&k);
    else if (!strcmp(what, "init"))
        status = init(&k);
    else if (!strcmp(what, "export"))
        status = export(&k);
    else if (!strcmp(what, "install"))
        status = install(&k, arg);
    else if (!strcmp(what, "renew"))
        status = renew(&k);
    else if (!strcmp(what, "psk"))
        status = psk(&k, arg);
    else if (!strcmp(what, "revoke"))
        status = take_back(&k, arg);
    else
        status = far_usage("trust", "'%s' is not known", what);
    far_trust_drop(k.trust);
    return status;
}
