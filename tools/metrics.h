/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The status of a platform as OpenMetrics 1.0: what `farside metrics` prints
 * and serves. Names and labels are described in farside(1).
 */
#ifndef FARSIDE_TOOLS_METRICS_H
#define FARSIDE_TOOLS_METRICS_H

#include "tools/tool.h"

#define FAR_METRICS_TYPE \
    "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* status: as far_status_merge() made it; of whatever is in it nothing is
 * trusted. The whole exposition with its # EOF; the caller's to free, NULL if
 * memory is out. Pure. */
char *far_metrics_text(const json_t *status, size_t *bytes);

/* Serves them until SIGINT or SIGTERM, at [ADDRESS:]PORT; without an ADDRESS on
 * loopback only. Prints the address that it listens at. An exit status. */
int far_metrics_listen(struct far_tool *tool, const char *address);

#endif
