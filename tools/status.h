/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The state of a platform as `farside status` shows it: gathered from both
 * daemons, merged into one JSON object, printed for a person. Merging and
 * printing are pure, so that tests feed them what daemons would answer.
 */
#ifndef FARSIDE_TOOLS_STATUS_H
#define FARSIDE_TOOLS_STATUS_H

#include "tools/tool.h"

/* Asks both. A daemon that does not answer is no error: the object then has
 * {"error": text} in its place. *reached counts those that answered. NULL
 * only if memory is out. */
json_t *far_status_gather(const struct far_tool *tool, unsigned *reached);

/* The merged object; documented in farside(1). backend and netproxy are what
 * the daemons answered, or NULL with the reason in the other argument. Borrows
 * all; NULL if memory is out. */
json_t *far_status_merge(const json_t *backend, const char *backend_error,
                         const json_t *netproxy, const char *netproxy_error);

/* colour: use a terminal's. */
void far_status_print(FILE *out, const json_t *status, bool colour);

/* "850 ns", "12.3 µs", "4.56 ms", "1.20 s"; returns out. */
char *far_duration_text(char *out, size_t out_bytes, uint64_t ns);

#endif
