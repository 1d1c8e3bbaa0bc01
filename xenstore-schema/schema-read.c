/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The judge of xenstore nodes: see schema-read.h. Holds no node's name: those
 * are in nodes.txt.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "xenstore-schema/schema-read.h"

/* At most this much of a foreign value is shown. */
#define SHOWN 40

static int wrong(struct far_schema_fault *fault,
                 const struct far_schema_node *node, int code,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

static int wrong(struct far_schema_fault *fault,
                 const struct far_schema_node *node, int code,
                 const char *format, ...)
{
    va_list args;

    if (fault) {
        fault->node = node->name;
        va_start(args, format);
        vsnprintf(fault->text, sizeof(fault->text), format, args);
        va_end(args);
    }
    return code;
}

static const char *shown(char *out, const char *value)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0, i;

    for (i = 0; value[i] && i < SHOWN; i++) {
        unsigned char c = (unsigned char)value[i];

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            out[n++] = (char)c;
        else {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    strcpy(out + n, value[i] ? "..." : "");
    return out;
}

static bool number(const char *text, uint64_t *value)
{
    uint64_t v = 0;

    if (!*text)
        return false;
    for (unsigned i = 0; text[i]; i++) {
        uint64_t digit;

        if (text[i] < '0' || text[i] > '9' || i >= 20)
            return false;
        digit = (uint64_t)(text[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *value = v;
    return true;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
           (c >= 'A' && c <= 'F');
}

static bool is_uuid(const char *text)
{
    if (strlen(text) != 36)
        return false;
    for (unsigned i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? text[i] != '-' : !is_hex(text[i]))
            return false;
    }
    return true;
}

static bool all_hex(const char *text)
{
    for (; *text; text++)
        if (!is_hex(*text))
            return false;
    return true;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

static bool is_name(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if (!((*text >= 'a' && *text <= 'z') ||
              (*text >= 'A' && *text <= 'Z') ||
              (*text >= '0' && *text <= '9') || strchr("._-/+", *text)))
            return false;
    return true;
}

static int judge(const struct far_schema_node *node, const char *text,
                 uint64_t *value, struct far_schema_fault *fault)
{
    char seen[SHOWN * 4 + 4];

    *value = 0;
    switch (node->type) {
    case FAR_SCHEMA_BOOL:
    case FAR_SCHEMA_U32:
    case FAR_SCHEMA_U64:
        if (number(text, value) && *value >= node->min && *value <= node->max)
            return 0;
        return wrong(fault, node, -EINVAL,
                     "node %s is \"%s\", not a number from %" PRIu64
                     " to %" PRIu64,
                     node->name, shown(seen, text), node->min, node->max);
    case FAR_SCHEMA_WORD:
        for (; node->words[*value]; (*value)++)
            if (!strcmp(node->words[*value], text))
                return 0;
        return wrong(fault, node, -EINVAL,
                     "node %s is \"%s\", a word that is not known there",
                     node->name, shown(seen, text));
    case FAR_SCHEMA_UUID:
        if (is_uuid(text))
            return 0;
        return wrong(fault, node, -EINVAL, "node %s is \"%s\", not a UUID",
                     node->name, shown(seen, text));
    case FAR_SCHEMA_TEXT:
    case FAR_SCHEMA_PATH:
    case FAR_SCHEMA_NAME:
    case FAR_SCHEMA_HEX:
        break;
    }
    if (strlen(text) > node->max)
        return wrong(fault, node, -EINVAL,
                     "node %s is longer than %" PRIu64 " bytes", node->name,
                     node->max);
    if (has_control(text))
        return wrong(fault, node, -EINVAL,
                     "node %s is \"%s\": it holds control characters",
                     node->name, shown(seen, text));
    if (node->type == FAR_SCHEMA_PATH && text[0] != '/')
        return wrong(fault, node, -EINVAL,
                     "node %s is \"%s\", not an absolute path", node->name,
                     shown(seen, text));
    if (node->type == FAR_SCHEMA_NAME && !is_name(text))
        return wrong(fault, node, -EINVAL,
                     "node %s is \"%s\", not an address: letters, digits, "
                     "'.', '_', '-'",
                     node->name, shown(seen, text));
    if (node->type == FAR_SCHEMA_HEX &&
        (strlen(text) != node->max || !all_hex(text)))
        return wrong(fault, node, -EINVAL,
                     "node %s is \"%s\", not %" PRIu64 " hexadecimal digits",
                     node->name, shown(seen, text), node->max);
    return 0;
}

static void store(const struct far_schema_node *node, char *to, uint64_t value,
                  const char *text)
{
    char *field = to + node->offset;
    uint32_t small = (uint32_t)value;
    bool flag = value != 0;

    switch (node->type) {
    case FAR_SCHEMA_BOOL:
        memcpy(field, &flag, sizeof(flag));
        break;
    case FAR_SCHEMA_U32:
        memcpy(field, &small, sizeof(small));
        break;
    case FAR_SCHEMA_U64:
        memcpy(field, &value, sizeof(value));
        break;
    case FAR_SCHEMA_TEXT:
    case FAR_SCHEMA_PATH:
    case FAR_SCHEMA_NAME:
    case FAR_SCHEMA_UUID:
    case FAR_SCHEMA_HEX:
    case FAR_SCHEMA_WORD:
        strcpy(field, text); /* judged: it fits */
        break;
    }
}

static int read_one(const struct far_schema_node *node, char *to,
                    far_schema_reader *read, void *arg,
                    struct far_schema_fault *fault)
{
    char text[FAR_SCHEMA_VALUE_BYTES];
    uint64_t value;
    int r;

    r = read(arg, node->name, text, sizeof(text));
    if (r == -ENOENT) {
        if (node->presence == FAR_SCHEMA_REQUIRED)
            return wrong(fault, node, -ENOENT, "node %s is missing",
                         node->name);
        if (node->presence == FAR_SCHEMA_DEFAULT)
            store(node, to, node->fallback, "");
        return 0;
    }
    if (r == -E2BIG)
        return wrong(fault, node, -EINVAL, "node %s is too long", node->name);
    if (r == -EINVAL)
        return wrong(fault, node, -EINVAL, "node %s holds a zero byte",
                     node->name);
    if (r < 0)
        return wrong(fault, node, r, "node %s can't be read: %s", node->name,
                     strerror(-r));
    r = judge(node, text, &value, fault);
    if (r < 0)
        return r;
    store(node, to, value, text);
    if (node->presence == FAR_SCHEMA_OPTIONAL)
        memcpy(to + node->has_offset, &(bool){ true }, sizeof(bool));
    return 0;
}

int far_schema_read(const struct far_schema_group *group, void *to,
                    far_schema_reader *read, void *arg,
                    struct far_schema_fault *fault)
{
    if (fault)
        *fault = (struct far_schema_fault){ 0 };
    memset(to, 0, group->bytes);
    for (size_t i = 0; i < group->count; i++) {
        int r;

        if (group->nodes[i].presence == FAR_SCHEMA_ALONE)
            continue;
        r = read_one(&group->nodes[i], to, read, arg, fault);
        if (r < 0) {
            memset(to, 0, group->bytes);
            return r;
        }
    }
    return 0;
}

int far_schema_check(const struct far_schema_group *group, const char *node,
                     const char *text, uint64_t *number_out,
                     struct far_schema_fault *fault)
{
    uint64_t value;

    if (fault)
        *fault = (struct far_schema_fault){ 0 };
    for (size_t i = 0; i < group->count; i++) {
        int r;

        if (strcmp(group->nodes[i].name, node))
            continue;
        r = judge(&group->nodes[i], text, &value, fault);
        if (!r && number_out)
            *number_out = value;
        return r;
    }
    return -ENOENT;
}
