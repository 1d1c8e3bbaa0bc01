/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as a configuration: the reader and the judge must survive them,
 * and every problem must have a place within the text.
 */
#include "core/conf-keys.h"
#include "core/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct seen {
    size_t bytes;
    unsigned lines, problems;
};

static void report(void *arg, const char *file, unsigned line, unsigned column,
                   const char *text)
{
    struct seen *seen = arg;

    (void)file;
    seen->problems++;
    if (line == 0 || line > seen->lines || column == 0 ||
        column > seen->bytes + 1 || strlen(text) == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct seen seen = { .bytes = bytes, .lines = 1 };
    unsigned problems = 0;
    struct far_conf *conf;

    for (size_t i = 0; i < bytes; i++)
        seen.lines += data[i] == '\n';
    conf = far_conf_parse("f", (const char *)data, bytes, report, &seen,
                          &problems);
    if (!conf || problems != seen.problems)
        abort();
    problems += far_conf_check(conf, report, &seen);
    if (problems != seen.problems)
        abort();
    for (struct far_conf_section *s = conf->sections; s; s = s->next)
        for (struct far_conf_entry *e = s->entries; e; e = e->next) {
            struct far_address address;
            char host[256];
            uint16_t port;
            uint32_t percent;

            if (strlen(e->key) > bytes || strlen(e->value) > bytes)
                abort();
            far_conf_time_us(s, e->key, 0);
            far_conf_number(s, e->key, 0);
            far_conf_bool(s, e->key, false);
            far_percent_parse(&percent, e->value);
            far_host_port_parse(host, &port, e->value);
            if (far_address_parse(&address, e->value, NULL) == 0 &&
                !far_name_valid(address.device))
                abort();
        }
    far_conf_free(conf);
    return 0;
}
