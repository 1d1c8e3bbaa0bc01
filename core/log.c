/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Log lines to stderr, one write() each, so that lines of several threads or
 * processes don't mix; buckets that bound what a guest can provoke; escaping
 * of foreign strings.
 */
#include "core/log.h"
#include "core/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES       1024
#define BUCKET_LINES     10
#define BUCKET_REFILL_US 6000000u

struct far_log {
    const char *program;
    _Atomic int level;
    bool journal; /* stderr is systemd's journal: it wants <N> */
};

static const char *const level_names[] = { "error", "warning", "info",
                                           "debug" };
static const int level_priorities[] = { 3, 4, 6, 7 };

struct far_log *far_log_new(const char *program, enum far_log_level level)
{
    struct far_log *log = calloc(1, sizeof(*log));

    if (!log)
        return NULL;
    log->program = program;
    atomic_init(&log->level, (int)level);
    log->journal = getenv("JOURNAL_STREAM") != NULL;
    return log;
}

void far_log_free(struct far_log *log)
{
    free(log);
}

void far_log_set_level(struct far_log *log, enum far_log_level level)
{
    if (log)
        atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

static bool wanted(const struct far_log *log, enum far_log_level level)
{
    return log && (int)level <=
                      atomic_load_explicit(&log->level, memory_order_relaxed);
}

static void write_all(const char *line, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(STDERR_FILENO, line, bytes);

        if (n <= 0)
            return; /* nowhere to complain */
        line += n;
        bytes -= (size_t)n;
    }
}

static void __attribute__((format(printf, 4, 0)))
emit(struct far_log *log, enum far_log_level level, uint32_t dropped,
     const char *format, va_list args)
{
    char line[LINE_BYTES];
    size_t used, room = sizeof(line) - 1; /* for the newline */
    int n;

    if (log->journal)
        n = snprintf(line, room, "<%d>", level_priorities[level]);
    else
        n = snprintf(line, room, "%s: %s", log->program,
                     level == FAR_LOG_INFO ? "" : level_names[level]);
    used = (size_t)n;
    if (!log->journal && level != FAR_LOG_INFO) {
        memcpy(line + used, ": ", 2);
        used += 2;
    }
    n = vsnprintf(line + used, room - used, format, args);
    if (n < 0)
        return;
    used += (size_t)n;
    if (used < room && dropped > 0) {
        n = snprintf(line + used, room - used,
                     " (%u lines like this one were dropped before it)",
                     dropped);
        used += (size_t)n;
    }
    if (used >= room) {
        used = room - 4; /* … has 3 bytes in UTF-8, as others may have */
        while (used > 0 && ((unsigned char)line[used] & 0xc0) == 0x80)
            used--;
        memcpy(line + used, "…", 3);
        used += 3;
    }
    for (size_t i = 0; i < used; i++) /* a line is a line */
        if (line[i] == '\n' || line[i] == '\r' || line[i] == '\0')
            line[i] = ' ';
    line[used++] = '\n';
    write_all(line, used);
}

void far_log(struct far_log *log, enum far_log_level level, const char *format,
             ...)
{
    va_list args;

    if (!wanted(log, level))
        return;
    va_start(args, format);
    emit(log, level, 0, format, args);
    va_end(args);
}

/* used lines leak out of the bucket, one every BUCKET_REFILL_US. */
static bool bucket_take(struct far_log_bucket *bucket, uint64_t now_us)
{
    uint64_t leaked;

    if (bucket->used == 0)
        bucket->filled_us = now_us;
    leaked = (now_us - bucket->filled_us) / BUCKET_REFILL_US;
    if (leaked >= bucket->used) {
        bucket->used = 0;
        bucket->filled_us = now_us;
    } else {
        bucket->used -= (uint32_t)leaked;
        bucket->filled_us += leaked * BUCKET_REFILL_US;
    }
    if (bucket->used >= BUCKET_LINES) {
        if (bucket->dropped < UINT32_MAX)
            bucket->dropped++;
        return false;
    }
    bucket->used++;
    return true;
}

void far_log_limited(struct far_log *log, struct far_log_bucket *bucket,
                     enum far_log_level level, const char *format, ...)
{
    va_list args;

    if (!wanted(log, level) || !bucket_take(bucket, far_now_us()))
        return;
    va_start(args, format);
    emit(log, level, bucket->dropped, format, args);
    va_end(args);
    bucket->dropped = 0;
}

char *far_escape(char *out, size_t out_bytes, const char *in, size_t in_bytes)
{
    static const char hex[] = "0123456789abcdef";
    static const char ellipsis[] = "…";
    const size_t tail = sizeof(ellipsis) - 1;
    size_t used = 0, fits = 0; /* fits: how far it goes with an ellipsis */

    if (out_bytes == 0)
        return out;
    for (size_t i = 0; i < in_bytes; i++) {
        unsigned char c = (unsigned char)in[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\\' && c != '"';
        size_t need = plain ? 1 : 4;

        if (used + need + 1 > out_bytes) {
            if (fits + tail + 1 <= out_bytes) {
                memcpy(out + fits, ellipsis, tail);
                fits += tail;
            }
            out[fits] = '\0';
            return out;
        }
        if (plain) {
            out[used++] = (char)c;
        } else {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = hex[c >> 4];
            out[used++] = hex[c & 15];
        }
        if (used + tail + 1 <= out_bytes)
            fits = used;
    }
    out[used] = '\0';
    return out;
}
