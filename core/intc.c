/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The interrupt class' words: what repeating its ops means, and how a source of
 * a controller is written in farside.conf.
 */
#include "core/intc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/conf-keys.h"

enum far_repeat far_intc_repeat(uint16_t opcode)
{
    switch (opcode) {
    case FAR_OP_NOP(FAR_CLASS_INTC):
    case FAR_INTC_EOI: /* a line that is still high is raised again, once */
        return FAR_REPEATABLE;
    default:
        return FAR_AT_MOST_ONCE;
    }
}

static bool number(const char *text, uint32_t max, uint32_t *value)
{
    uint64_t n;

    if (!far_uint_parse(&n, text) || n > max)
        return false;
    *value = (uint32_t)n;
    return true;
}

static int key(struct far_intc_source *s, char *word, struct far_error *error)
{
    char *value = strchr(word, '=');
    bool good = false;

    if (!value)
        return far_error(error, -EINVAL,
                         "\"%.40s\" is not KEY=VALUE; known are: line, "
                         "priority, max, wait, together",
                         word);
    *value++ = '\0';
    if (!strcmp(word, "line"))
        good = number(value, FAR_INTC_LINES_MAX - 1, &s->line);
    else if (!strcmp(word, "priority"))
        good = number(value, FAR_INTC_PRIORITIES - 1, &s->priority);
    else if (!strcmp(word, "max"))
        good = number(value, 1000000, &s->max_per_s) && s->max_per_s;
    else if (!strcmp(word, "together"))
        good = number(value, 1000000, &s->together) && s->together;
    else if (!strcmp(word, "wait"))
        good = far_time_parse(&s->wait_us, value) && s->wait_us <= 1000000;
    else
        return far_error(error, -EINVAL,
                         "there is no \"%.40s\"; known are: line, priority, "
                         "max, wait, together",
                         word);
    if (!good)
        return far_error(error, -EINVAL, "%s=%.40s is out of range", word,
                         value);
    return 0;
}

int far_intc_source_parse(struct far_intc_source *s, const char *text,
                          struct far_error *error)
{
    char line[512], *save = NULL, *vectors, *class, *address, *dash, *word;
    struct far_address parsed;
    uint32_t last;
    int r;

    *s = (struct far_intc_source){ .priority = FAR_INTC_PRIORITIES / 2 };
    if (strlen(text) >= sizeof(line))
        return far_error(error, -EINVAL, "it is too long");
    strcpy(line, text);
    vectors = strtok_r(line, " \t", &save);
    class = strtok_r(NULL, " \t", &save);
    address = strtok_r(NULL, " \t", &save);
    if (!vectors || !class || !address)
        return far_error(error, -EINVAL,
                         "wants VECTOR CLASS ADDRESS [KEY=VALUE…]");
    dash = strchr(vectors, '-');
    if (dash)
        *dash++ = '\0';
    if (!number(vectors, FAR_INTC_LINES_MAX - 1, &s->first) ||
        !number(dash ? dash : vectors, FAR_INTC_LINES_MAX - 1, &last) ||
        last < s->first)
        return far_error(error, -EINVAL,
                         "vectors are numbers from 0 to %u, or N-M",
                         FAR_INTC_LINES_MAX - 1);
    s->count = last - s->first + 1;
    s->notices = !strcmp(class, "notices");
    s->class = s->notices ? FAR_CLASS_INTC : far_class_from_name(class);
    if (s->class != FAR_CLASS_INTC && s->class != FAR_CLASS_DOORBELL)
        return far_error(error, -EINVAL,
                         "\"%.40s\" can't be a source; intc, doorbell and "
                         "notices can",
                         class);
    r = far_address_parse(&parsed, address, error);
    if (r)
        return r;
    if (s->notices && parsed.standby[0])
        return far_error(error, -EINVAL,
                         "notices come from one platform: a source for each");
    if (strlen(address) >= sizeof(s->address))
        return far_error(error, -EINVAL, "the address is too long");
    strcpy(s->address, address);
    while ((word = strtok_r(NULL, " \t", &save))) {
        r = key(s, word, error);
        if (r)
            return r;
    }
    if (s->line + s->count > FAR_INTC_LINES_MAX ||
        (s->class == FAR_CLASS_DOORBELL && s->line + s->count > 1))
        return far_error(error, -EINVAL,
                         s->class == FAR_CLASS_DOORBELL
                             ? "a doorbell is one vector"
                             : "there are not so many lines");
    if (s->together && !s->wait_us)
        return far_error(error, -EINVAL, "together wants a wait");
    return 0;
}
