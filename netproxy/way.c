/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ways (netproxy/way.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "netproxy/way.h"

bool far_forwarded(const struct far_conf *conf, const char *device,
                   struct far_address *to)
{
    const char *text = far_conf_string(far_conf_section(conf, "export", device),
                                       "forward", NULL);

    return text && !far_address_parse(to, text, NULL) && to->platform[0] &&
           !to->standby[0];
}

int far_way_allowed(const struct far_conf *conf, const char *relay,
                    const char *origin, struct far_error *error)
{
    if (far_conf_lists(far_conf_section(conf, "relay", relay), "may-carry",
                       origin))
        return 0;
    return far_error(error, -EACCES,
                     "%s may not speak for %s here ([relay %s] may-carry = %s "
                     "is missing)",
                     relay, origin, relay, origin);
}

const char *far_way_text(const struct far_way *way, const char *here, char *out,
                         size_t bytes)
{
    size_t n = (size_t)snprintf(out, bytes, "%s", way->origin);

    for (unsigned i = 0; i < way->count && n < bytes; i++)
        n += (size_t)snprintf(out + n, bytes - n, " -> %s", way->visited[i]);
    if (n < bytes)
        snprintf(out + n, bytes - n, " -> %s", here);
    return out;
}

static bool take_name(char out[FAR_NAME_BYTES], const uint8_t *in)
{
    memcpy(out, in, FAR_NAME_BYTES);
    return !out[FAR_NAME_BYTES - 1] && far_name_valid(out);
}

static int decode_way(struct far_way *way, const char *peer,
                      const struct far_wire_frame *f, struct far_error *error)
{
    size_t origin_bytes, bytes;
    const uint8_t *origin =
        far_wire_option(f, FAR_WIRE_OPTION_ORIGIN, &origin_bytes);
    const uint8_t *visited =
        far_wire_option(f, FAR_WIRE_OPTION_VISITED, &bytes);

    memset(way, 0, sizeof(*way));
    if (bytes > FAR_WIRE_HOPS * FAR_NAME_BYTES)
        return far_error(error, -ELOOP,
                         "the request was passed on more than %d times",
                         FAR_WIRE_HOPS);
    if (bytes % FAR_NAME_BYTES || (origin && (origin_bytes != FAR_NAME_BYTES ||
                                              !take_name(way->origin, origin))))
        return far_error(error, -EPROTO, "a request whose way can't be read");
    for (; way->count < bytes / FAR_NAME_BYTES; way->count++) {
        if (!take_name(way->visited[way->count],
                       visited + way->count * FAR_NAME_BYTES))
            return far_error(error, -EPROTO,
                             "a request whose way can't be read");
    }
    if (!origin)
        snprintf(way->origin, sizeof(way->origin), "%s", peer);
    return 0;
}

int far_way_read(struct far_way *way, const struct far_conf *conf,
                 const char *me, const char *peer,
                 const struct far_wire_frame *f, struct far_error *error)
{
    char text[FAR_WAY_TEXT_BYTES];
    bool again;
    int rc = decode_way(way, peer, f, error);

    if (rc)
        return rc;
    /* Who passes a request on stands last in the list: nobody hides. */
    if (strcmp(way->count ? way->visited[way->count - 1] : way->origin, peer))
        return far_error(error, -EPROTO,
                         "%s sends a request of %s, and does not say that it "
                         "passed it on",
                         peer, way->origin);
    again = !strcmp(way->origin, me);
    for (unsigned i = 0; i < way->count; i++) {
        again |= !strcmp(way->visited[i], me) ||
                 !strcmp(way->visited[i], way->origin);
        for (unsigned k = 0; k < i; k++)
            again |= !strcmp(way->visited[i], way->visited[k]);
    }
    if (again)
        return far_error(error, -ELOOP,
                         "the request goes round in a circle: %s",
                         far_way_text(way, me, text, sizeof(text)));
    if (!way->count)
        return 0;
    return far_way_allowed(conf, peer, way->origin, error);
}
