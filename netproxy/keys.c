/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The readers of keys, and of all files of trust (netproxy/keys.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "netproxy/keys.h"

#define FILE_BYTES_MAX 65536

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int parse_line(struct far_key *key, char *line, const char *file,
                      unsigned number, struct far_error *error)
{
    char *colon = strchr(line, ':'), *hex;
    size_t i, length;

    if (!colon)
        return far_error(error, -EINVAL,
                         "%s:%u: no colon; a line is IDENTITY:HEXKEY, as "
                         "farside trust writes it",
                         file, number);
    *colon = 0;
    if (!far_name_valid(line))
        return far_error(error, -EINVAL,
                         "%s:%u: the identity is no platform name (letters, "
                         "digits, '.', '_', '-')",
                         file, number);
    memcpy(key->identity, line, strlen(line) + 1);
    hex = colon + 1;
    length = strlen(hex);
    if (length % 2 || length < 2 * FAR_KEY_BYTES_MIN ||
        length > 2 * FAR_KEY_BYTES_MAX)
        return far_error(error, -EINVAL,
                         "%s:%u:%zu: a key has %d to %d hex digits; this has "
                         "%zu",
                         file, number, (size_t)(hex - line) + 1,
                         2 * FAR_KEY_BYTES_MIN, 2 * FAR_KEY_BYTES_MAX, length);
    for (i = 0; i < length; i++) {
        int d = digit(hex[i]);

        if (d < 0)
            return far_error(error, -EINVAL, "%s:%u:%zu: not a hex digit", file,
                             number, (size_t)(hex - line) + i + 1);
        key->key[i / 2] = (uint8_t)(i % 2 ? key->key[i / 2] | d : d << 4);
    }
    key->bytes = length / 2;
    return 0;
}

int far_keys_parse(struct far_keys *keys, const char *file, char *text,
                   struct far_error *error)
{
    unsigned number = 0, had = keys->count;
    char *line, *rest = text;

    while ((line = strsep(&rest, "\n"))) {
        struct far_key *more, *old = keys->keys;
        size_t length = strlen(line);
        int rc;

        number++;
        while (length && strchr(" \t\r", line[length - 1]))
            line[--length] = 0;
        while (*line == ' ' || *line == '\t')
            line++;
        if (!*line || *line == '#')
            continue;
        /* Not realloc(), which leaves keys in what it gives back. */
        more = calloc(keys->count + 1, sizeof(*more));
        if (!more) {
            keys->count = had;
            return far_error(error, -ENOMEM, "%s: out of memory", file);
        }
        if (old) {
            memcpy(more, old, keys->count * sizeof(*more));
            explicit_bzero(old, keys->count * sizeof(*old));
            free(old);
        }
        keys->keys = more;
        rc = parse_line(&more[keys->count], line, file, number, error);
        if (!rc && !far_keys_find(keys, more[keys->count].identity)) {
            keys->count++;
            continue;
        }
        explicit_bzero(&more[keys->count], sizeof(*more));
        if (rc) {
            explicit_bzero(more + had, (keys->count - had) * sizeof(*more));
            keys->count = had;
            return rc;
        }
    }
    return 0;
}

/* Who reads it can be us; who writes it decides who is let in. */
static int check_file(int fd, const char *file, bool secret,
                      struct far_error *error)
{
    struct stat st;

    if (fstat(fd, &st))
        return far_error(error, -errno, "%s: %s", file, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return far_error(error, -EINVAL, "%s is no file", file);
    if (secret && (st.st_mode & (S_IROTH | S_IWOTH)))
        return far_error(error, -EPERM,
                         "%s can be %s by everybody on this machine: it is not "
                         "used. Take that right away (chmod o= %s), and make "
                         "new keys if others may have looked",
                         file, st.st_mode & S_IWOTH ? "written" : "read", file);
    if (st.st_mode & S_IWOTH)
        return far_error(error, -EPERM,
                         "%s can be written by everybody on this machine: it "
                         "is not used (chmod o-w %s)",
                         file, file);
    if ((st.st_mode & S_IWGRP) && st.st_gid != 0)
        return far_error(error, -EPERM,
                         "%s can be written by its group: it is not used "
                         "(chmod g-w %s)",
                         file, file);
    return 0;
}

int far_file_read(const char *file, bool secret, size_t bytes_max, char **out,
                  size_t *bytes, struct far_error *error)
{
    char *text;
    size_t used = 0;
    ssize_t n;
    /* Nonblocking: a fifo in its place must not hold the daemon. */
    int rc, fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return far_error(error, -errno, "%s: %s%s", file, strerror(errno),
                         errno == EACCES ? " (give the group that the netproxy "
                                           "runs as the right to read it)"
                                         : "");
    rc = check_file(fd, file, secret, error);
    if (rc) {
        close(fd);
        return rc;
    }
    text = malloc(bytes_max + 1);
    if (!text) {
        close(fd);
        return far_error(error, -ENOMEM, "%s: out of memory", file);
    }
    do {
        n = read(fd, text + used, bytes_max - used);
        if (n > 0)
            used += (size_t)n;
    } while ((n > 0 && used < bytes_max) || (n < 0 && errno == EINTR));
    text[used] = 0;
    if (n < 0)
        rc = far_error(error, -errno, "%s: %s", file, strerror(errno));
    else if (used == bytes_max || strlen(text) != used)
        rc = far_error(error, -EINVAL, "%s: too long, or no text", file);
    close(fd);
    if (rc) {
        explicit_bzero(text, bytes_max + 1);
        free(text);
        return rc;
    }
    *out = text;
    *bytes = used;
    return 0;
}

int far_keys_read(struct far_keys *keys, const char *file,
                  struct far_error *error)
{
    size_t bytes;
    char *text;
    int rc = far_file_read(file, true, FILE_BYTES_MAX, &text, &bytes, error);

    if (rc)
        return rc;
    rc = far_keys_parse(keys, file, text, error);
    explicit_bzero(text, bytes);
    free(text);
    return rc;
}

const struct far_key *far_keys_find(const struct far_keys *keys,
                                    const char *identity)
{
    unsigned i;

    for (i = 0; i < keys->count; i++) {
        if (!strcmp(keys->keys[i].identity, identity))
            return &keys->keys[i];
    }
    return NULL;
}

void far_keys_free(struct far_keys *keys)
{
    if (keys->keys)
        explicit_bzero(keys->keys, keys->count * sizeof(*keys->keys));
    free(keys->keys);
    keys->keys = NULL;
    keys->count = 0;
}
