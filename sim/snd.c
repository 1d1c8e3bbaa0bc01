/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See snd.h.
 */
#include "sim/snd.h"

#include <stdbool.h>
#include <string.h>

struct part { /* of a line: "pcm,name=p0" */
    enum { CARD, PCM, STREAM, WRONG } is;
    char text[512];
    char *keys; /* behind the first word */
};

/* The next one; false: there is none. */
static bool next_part(const char **line, struct part *part)
{
    size_t n = strcspn(*line, "|");

    if (!**line)
        return false;
    snprintf(part->text, sizeof(part->text), "%.*s", (int)n, *line);
    *line += n + ((*line)[n] == '|');
    part->keys = strchr(part->text, ',');
    if (part->keys)
        *part->keys++ = '\0';
    part->is = !strcmp(part->text, "card")     ? CARD
               : !strcmp(part->text, "pcm")    ? PCM
               : !strcmp(part->text, "stream") ? STREAM
                                               : WRONG;
    return true;
}

/* The next KEY=VALUE of a part; false: there is none. */
static bool next_key(char **keys, char **key, char **value)
{
    char *at = *keys;

    if (!at || !*at)
        return false;
    *keys = strchr(at, ',');
    if (*keys)
        *(*keys)++ = '\0';
    *key = at + strspn(at, " ");
    *value = strchr(at, '=');
    if (*value)
        *(*value)++ = '\0';
    return true;
}

static bool known(const char *key)
{
    static const char *const keys[] = {
        "short-name",     "long-name",    "name",         "sample-rates",
        "sample-formats", "channels-min", "channels-max", "buffer-size",
        "unique-id",      "type",
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

const char *far_sim_snd_nodes(const char *line,
                              void (*node)(void *arg, const char *name,
                                           const char *value),
                              void *arg)
{
    int pcm = -1, stream = -1;
    char dir[32] = "", name[64];
    struct part part;

    while (next_part(&line, &part)) {
        char *key, *value;

        if (part.is == WRONG || (part.is == STREAM && pcm < 0))
            return "a vsnd line is card,…|pcm,…|stream,…";
        if (part.is == PCM) {
            snprintf(dir, sizeof(dir), "%d/", ++pcm);
            stream = -1;
        } else if (part.is == STREAM) {
            snprintf(dir, sizeof(dir), "%d/%d/", pcm, ++stream);
        }
        while (next_key(&part.keys, &key, &value)) {
            if (!value || !known(key))
                return "a key of the vsnd line is not known";
            for (char *c = value; (c = strchr(c, ';'));)
                *c = ',';
            snprintf(name, sizeof(name), "%s%s", dir, key);
            node(arg, name, value);
        }
    }
    return stream < 0 ? "a vsnd line needs a pcm and a stream" : NULL;
}

void far_sim_snd_record(const char *line, FILE *to)
{
    bool pcm = false, stream = false;
    struct part part;

    fputs("{\"pcms\":[", to);
    while (next_part(&line, &part)) {
        char *key, *value;
        bool any = false;

        if (part.is == PCM) {
            fprintf(to, "%s{\"streams\":[", pcm ? "]}," : "");
            pcm = true;
            stream = false;
        }
        if (part.is != STREAM)
            continue;
        fputs(stream ? ",{" : "{", to);
        stream = true;
        while (next_key(&part.keys, &key, &value)) {
            if (value && !strcmp(key, "unique-id"))
                fprintf(to, "%s\"unique_id\":\"%s\"", any ? "," : "", value);
            else if (value && !strcmp(key, "type"))
                fprintf(to, "%s\"type\":\"%s\"", any ? "," : "", value);
            else
                continue;
            any = true;
        }
        fputs("}", to);
    }
    fputs(pcm ? "]}]}" : "]}", to);
}
