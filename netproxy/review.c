/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The folder of trust (netproxy/trust.h) in a running netproxy: read with the
 * configuration, looked at each hour, shown in status.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "core/clock.h"
#include "netproxy/netproxy.h"

#define REVIEW_US UINT64_C(3600000000)
#define DAY_S     86400

static int days_left(const struct far_cert *cert, int64_t now_s)
{
    int64_t left_s = cert->until_s - now_s;

    return left_s < 0 ? -1 : (int)(left_s / DAY_S);
}

static void warn(const struct far_netproxy *n, const struct far_cert *cert,
                 bool own, int64_t now_s)
{
    char date[16];

    if (cert && cert->until_s - now_s < FAR_CERT_WARN_S)
        far_log(n->context.log, FAR_LOG_WARNING,
                "%s certificate (%s) %s on %s: farside trust renew%s",
                own ? "our" : "a", cert->platform,
                cert->until_s <= now_s ? "has expired" : "expires",
                far_date_format(date, cert->until_s), own ? "" : " there");
}

/* Of each platform only the certificate that is valid longest counts. */
static void warn_all(const struct far_netproxy *n, int64_t now_s)
{
    const struct far_trust *t = n->context.trust;
    unsigned i;

    warn(n, far_trust_own(t), true, now_s);
    for (i = 0; i < t->peers.count; i++) {
        const struct far_cert *c = &t->peers.certs[i];

        if (c == far_trust_peer(t, c->platform))
            warn(n, c, false, now_s);
    }
}

void far_netproxy_review_trust(struct far_netproxy *n)
{
    int64_t now_s = time(NULL);
    struct far_link *l;

    far_server_review(&n->server, now_s);
    for (l = n->links; l; l = l->next)
        far_link_review(l, now_s);
    if (now_s - n->trust_warned_s >= DAY_S || now_s < n->trust_warned_s) {
        warn_all(n, now_s);
        n->trust_warned_s = now_s;
    }
    far_timer_set(&n->trust_timer, far_now_us() + REVIEW_US);
}

void far_netproxy_on_trust_timer(struct far_timer *timer)
{
    far_netproxy_review_trust(
        (struct far_netproxy *)((char *)timer -
                                offsetof(struct far_netproxy, trust_timer)));
}

int far_netproxy_read_trust(struct far_netproxy *n, const struct far_conf *conf,
                            far_trust_report *report, void *arg)
{
    const char *name =
        far_conf_string(far_conf_section(conf, "platform", ""), "name", NULL);
    struct far_error error = { 0 };
    struct far_trust *trust;
    char dir[PATH_MAX];

    far_trust_folder(dir, conf, n->conf_file);
    trust = far_trust_read(dir, name, report, arg, &error);
    if (trust) {
        far_trust_drop(n->context.trust);
        n->context.trust = trust;
    } else {
        report(arg, error.text);
    }
    if (!n->context.trust)
        n->context.trust = far_trust_none(dir, error.text);
    return n->context.trust ? 0 : -ENOMEM;
}

static json_t *cert_json(const struct far_cert *cert, int64_t now_s)
{
    char print[FAR_FINGERPRINT_TEXT_BYTES], from[16], until[16];

    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "platform", cert->platform,
                     "fingerprint",
                     far_fingerprint_format(print, cert->fingerprint), "from",
                     far_date_format(from, cert->from_s), "until",
                     far_date_format(until, cert->until_s), "days_left",
                     days_left(cert, now_s));
}

json_t *far_netproxy_trust_json(const struct far_netproxy *n)
{
    const struct far_trust *t = n->context.trust;
    const struct far_cert *own = far_trust_own(t);
    int64_t now_s = time(NULL);
    json_t *peers = json_array();
    unsigned i;

    for (i = 0; i < t->peers.count; i++)
        json_array_append_new(peers, cert_json(&t->peers.certs[i], now_s));
    return json_pack("{s:s, s:o, s:o, s:o, s:i}", "folder", t->dir, "own",
                     own ? cert_json(own, now_s) : json_null(), "reason",
                     t->own_reason[0] ? json_string(t->own_reason)
                                      : json_null(),
                     "peers", peers, "revoked", (int)t->revoked_count);
}
