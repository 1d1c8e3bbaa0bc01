/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See wish.h. libxl keeps what a domain was created with, and what xl attached
 * since, as JSON in a file of dom0's that goes with the domain. A domain whose
 * backend is not in dom0 has no such file there: then only [guest] counts.
 */
#include "backend/wish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "core/uuid.h"

#define RECORDS      "/var/lib/xen" /* libxl's own path, on every system */
#define RECORD_BYTES (4u << 20)

static json_t *record_of(const struct far_guest *guest)
{
    const char *dir = getenv("FARSIDE_LIBXL_DIR");
    char path[512], uuid[FAR_UUID_TEXT_BYTES];
    json_t *record = NULL;
    char *text;
    size_t got;
    FILE *f;

    if (!guest->known)
        return NULL;
    snprintf(path, sizeof(path), "%s/userdata-d.%u.%s.libxl-json",
             dir && *dir ? dir : RECORDS, guest->domid,
             far_uuid_format(uuid, guest->uuid));
    f = fopen(path, "re");
    if (!f)
        return NULL;
    text = malloc(RECORD_BYTES);
    got = text ? fread(text, 1, RECORD_BYTES, f) : 0;
    fclose(f);
    while (got && !text[got - 1]) /* libxl stores the final zero too */
        got--;
    if (got && got < RECORD_BYTES)
        record = json_loadb(text, got, 0, NULL);
    free(text);
    return record;
}

static bool says(const json_t *object, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value && !strcasecmp(value, text);
}

/* Device names may differ in nothing but case: so this one is exact. */
static bool is_address(const json_t *object, const char *address)
{
    const char *value = json_string_value(json_object_get(object, "unique_id"));

    return value && !strcmp(value, address);
}

static bool has_stream(const json_t *card, const char *type,
                       const char *address)
{
    json_t *pcm, *stream;
    size_t i, k;

    json_array_foreach (json_object_get(card, "pcms"), i, pcm)
        json_array_foreach (json_object_get(pcm, "streams"), k, stream)
            if (is_address(stream, address) && says(stream, "type", type))
                return true;
    return false;
}

static bool has_connector(const json_t *display, const char *address)
{
    json_t *connector;
    size_t i;

    json_array_foreach (json_object_get(display, "connectors"), i, connector)
        if (is_address(connector, address))
            return true;
    return false;
}

bool far_wish_in_record(const json_t *record, enum far_wish wish,
                        const char *address)
{
    const char *kind = wish == FAR_WISH_SHOW ? "vdispls" : "vsnds";
    json_t *device;
    size_t i;

    json_array_foreach (json_object_get(record, kind), i, device)
        if (wish == FAR_WISH_SHOW
                ? has_connector(device, address)
                : has_stream(device, wish == FAR_WISH_PLAY ? "p" : "c",
                             address))
            return true;
    return false;
}

bool far_wish_granted(const struct far_attachment *a, enum far_wish wish,
                      const char *address)
{
    json_t *record;
    bool granted;

    if (far_conf_lists(far_guest_section(a->guest), "may-use", address))
        return true;
    record = record_of(a->guest);
    granted = far_wish_in_record(record, wish, address);
    json_decref(record);
    return granted;
}

int far_wish_refuse(const struct far_attachment *a, const char *node,
                    const char *address, struct far_error *error)
{
    return far_error(error, -EACCES,
                     "%s: the guest asks for %.80s, which nobody has ordered "
                     "for it; add may-use = %.80s to [guest %s] in "
                     "farside.conf if it may have it",
                     node, address, address, a->guest->name);
}
