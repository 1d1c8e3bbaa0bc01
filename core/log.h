/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Log lines to stderr (with systemd's <N> prefix when JOURNAL_STREAM is set).
 * Whatever a guest or peer can provoke goes through a bucket of its own, so
 * that nobody can fill a disk; their strings are escaped. Never on the data
 * path.
 */
#ifndef FARSIDE_CORE_LOG_H
#define FARSIDE_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum far_log_level {
    FAR_LOG_ERROR,
    FAR_LOG_WARNING,
    FAR_LOG_INFO,
    FAR_LOG_DEBUG
};

struct far_log;

/* program is kept by reference. level: lines above it are dropped. */
struct far_log *far_log_new(const char *program, enum far_log_level level);
void far_log_free(struct far_log *log);
void far_log_set_level(struct far_log *log, enum far_log_level level);

/* From the administrator's side: not limited. Any thread. log may be NULL. */
void far_log(struct far_log *log, enum far_log_level level, const char *format,
             ...) __attribute__((format(printf, 3, 4)));

/* One for each guest and each peer: 10 lines at once, then one every 6 s; when
 * lines were dropped, the next one that passes says how many. Zeroed is ready.
 */
struct far_log_bucket {
    uint64_t filled_us;
    uint32_t used;
    uint32_t dropped;
};
void far_log_limited(struct far_log *log, struct far_log_bucket *bucket,
                     enum far_log_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Copies a foreign string into out: printable ASCII but for backslash and quote
 * stays, all else becomes \xNN; cut to fit with an ellipsis. Returns out. */
char *far_escape(char *out, size_t out_bytes, const char *in, size_t in_bytes);

#endif
