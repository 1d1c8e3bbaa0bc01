/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * HOST:PORT, [V6]:PORT. Pure.
 */
#ifndef FARSIDE_NETPROXY_ADDRESS_H
#define FARSIDE_NETPROXY_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "core/error.h"

#define FAR_HOST_BYTES 256

struct far_endpoint {
    char host[FAR_HOST_BYTES];
    uint16_t port;
};
/* 0 or -EINVAL with error. Without a port: FAR_WIRE_PORT. */
int far_endpoint_parse(struct far_endpoint *out, const char *text,
                       struct far_error *error);
/* If host is a numeric address: its length in *bytes, true. */
bool far_endpoint_numeric(const struct far_endpoint *in,
                          struct sockaddr_storage *address, socklen_t *bytes);

#endif
