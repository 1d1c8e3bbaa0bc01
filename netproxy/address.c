/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Addresses as text (netproxy/address.h).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "netproxy/address.h"
#include "netproxy/wire.h"

int far_endpoint_parse(struct far_endpoint *out, const char *text,
                       struct far_error *error)
{
    const char *host = text, *end, *port;
    size_t length;

    memset(out, 0, sizeof(*out));
    out->port = FAR_WIRE_PORT;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (!end || (end[1] && end[1] != ':'))
            return far_error(error, -EINVAL, "%s: meant [V6ADDRESS]:PORT?",
                             text);
        port = end[1] ? end + 2 : NULL;
    } else {
        end = strrchr(text, ':');
        if (end && strchr(text, ':') != end)
            return far_error(error, -EINVAL,
                             "%s: an IPv6 address stands in [ ]", text);
        port = end ? end + 1 : NULL;
        if (!end)
            end = text + strlen(text);
    }
    length = (size_t)(end - host);
    if (!length || length >= sizeof(out->host))
        return far_error(error, -EINVAL, "%s: no host", text);
    memcpy(out->host, host, length);
    if (port) {
        char *rest;
        unsigned long n = strtoul(port, &rest, 10);

        if (*port < '0' || *port > '9' || *rest || n > 65535)
            return far_error(error, -EINVAL, "%s: \"%s\" is no port", text,
                             port);
        out->port = (uint16_t)n;
    }
    return 0;
}

bool far_endpoint_numeric(const struct far_endpoint *in,
                          struct sockaddr_storage *address, socklen_t *bytes)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, in->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(in->port);
        *bytes = sizeof(*v4);
        return true;
    }
    if (inet_pton(AF_INET6, in->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(in->port);
        *bytes = sizeof(*v6);
        return true;
    }
    return false;
}
