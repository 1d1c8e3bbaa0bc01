/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What stands behind a port: see chain.h.
 */
#include "core/any.h"
#include "backend/chain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the bottom of a chain whose device is not there ---------------------- */

struct absent {
    struct far_layer layer;
    char reason[232];
};

static void absent_activate(struct far_layer *layer, uint64_t incarnation,
                            uint64_t received)
{
    struct absent *absent = (struct absent *)(void *)layer;
    struct far_layer_news news = { .reason = absent->reason };

    (void)incarnation;
    (void)received;
    far_layer_state(layer->above, FAR_DEVICE_GONE, &news);
}

static void absent_ack(struct far_layer *layer, uint64_t sequence)
{
    (void)layer;
    (void)sequence;
}

static void absent_resume(struct far_layer *layer)
{
    (void)layer;
}

static void absent_close(struct far_layer *layer)
{
    free(layer);
}

static enum far_verdict absent_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    (void)layer;
    (void)payload;
    op->status = -ENODEV;
    return FAR_DONE;
}

static const struct far_layer_ops absent_ops = {
    .name = "absent",
    .submit = absent_submit,
    .activate = absent_activate,
    .ack = absent_ack,
    .resume = absent_resume,
    .close = absent_close,
};

struct far_layer *far_chain_absent(const char *reason)
{
    struct absent *absent = calloc(1, sizeof(*absent));

    if (!absent)
        return NULL;
    absent->layer.ops = &absent_ops;
    snprintf(absent->reason, sizeof(absent->reason), "%s", reason);
    return &absent->layer;
}

/* --- which device ----------------------------------------------------------
 */

static bool is_ours(const struct far_backend *backend,
                    const struct far_address *address)
{
    return !address->platform[0] ||
           !strcmp(address->platform, backend->platform);
}

/* Which bottom it should have now. */
static enum far_binding wanted(struct far_backend *backend,
                               const struct far_address *address,
                               enum far_class class, struct far_device **device,
                               char absent[FAR_CHAIN_REASON_BYTES])
{
    *device = NULL;
    if (!is_ours(backend, address) || address->standby[0])
        return FAR_CHAIN_CLIENT;
    if (far_any_is(address->device) ||
        far_device_is_exported(backend->conf, address->device))
        return FAR_CHAIN_CLIENT;
    *device = far_device_find(&backend->devices, address->device);
    if (!*device) {
        snprintf(absent, FAR_CHAIN_REASON_BYTES,
                 "%s: there is no [device %s] in farside.conf; add it and "
                 "reload",
                 address->device, address->device);
        return FAR_CHAIN_ABSENT;
    }
    if ((*device)->class != class && (*device)->class != FAR_CLASS_NONE) {
        snprintf(absent, FAR_CHAIN_REASON_BYTES,
                 "%s is a device of class %s, not of class %s", address->device,
                 far_class_name((*device)->class), far_class_name(class));
        return FAR_CHAIN_ABSENT;
    }
    return FAR_CHAIN_OWN_DEVICE;
}

enum far_binding far_chain_wanted(struct far_backend *backend,
                                  const struct far_address *address,
                                  enum far_class class)
{
    char absent[FAR_CHAIN_REASON_BYTES];
    struct far_device *device;

    return wanted(backend, address, class, &device, absent);
}

enum far_binding far_chain_bottom(struct far_backend *backend,
                                  const struct far_address *address,
                                  const struct far_local_who *who,
                                  char absent[FAR_CHAIN_REASON_BYTES],
                                  struct far_layer **bottom)
{
    struct far_error error = { 0 };
    struct far_device *device;
    enum far_binding binding =
        wanted(backend, address, (enum far_class)who->class, &device, absent);

    *bottom = NULL;
    if (binding == FAR_CHAIN_OWN_DEVICE &&
        far_device_open(device, who, bottom, &error)) {
        snprintf(absent, FAR_CHAIN_REASON_BYTES, "%s", error.text);
        binding = FAR_CHAIN_ABSENT;
    }
    if (binding == FAR_CHAIN_CLIENT &&
        far_local_client_open(backend->client, who, bottom, &error)) {
        snprintf(absent, FAR_CHAIN_REASON_BYTES, "%s", error.text);
        binding = FAR_CHAIN_ABSENT;
    }
    if (binding == FAR_CHAIN_ABSENT)
        *bottom = far_chain_absent(absent);
    return binding;
}

int far_chain_open(struct far_chain *chain, struct far_layer **bottom)
{
    chain->binding =
        far_chain_bottom(chain->a->backend, &chain->address,
                         &chain->a->record->who, chain->absent, bottom);
    return *bottom ? 0 : -ENOMEM;
}

/* Our own name of a device of this platform is the same as the bare one. */
void far_chain_fill_who(const struct far_backend *backend,
                        const struct far_address *address,
                        struct far_local_who *who)
{
    bool ours = is_ours(backend, address);

    memset(who->platform, 0, sizeof(who->platform));
    memset(who->standby, 0, sizeof(who->standby));
    memset(who->device, 0, sizeof(who->device));
    if (!ours)
        memcpy(who->platform, address->platform, sizeof(who->platform));
    memcpy(who->standby, address->standby, sizeof(who->standby));
    memcpy(who->device, address->device, sizeof(who->device));
}

bool far_chain_same_who(const struct far_chain *chain)
{
    const struct far_local_who *who = &chain->a->record->who;
    const struct far_address *address = &chain->address;

    return !strcmp(who->device, address->device) &&
           !strcmp(who->standby, address->standby) &&
           !strcmp(who->platform, is_ours(chain->a->backend, address)
                                      ? ""
                                      : address->platform);
}

int far_chain_order(struct far_chain *chain, const char *node,
                    const char *address, struct far_error *error)
{
    struct far_error why;

    if (far_address_parse(&chain->address, address, &why))
        return far_error(error, -EINVAL, "%s: %s", node, why.text);
    chain->has_address = true;
    return 0;
}

int far_chain_record(struct far_chain *chain, bool *changed,
                     struct far_error *error)
{
    struct far_attachment *a = chain->a;
    int r = far_attachment_record(a, error);

    *changed = false;
    if (r || far_chain_same_who(chain))
        return r;
    *changed = true;
    far_journal_edit(a->record);
    if (a->record->who.device[0])
        a->record->who.attachment = far_journal_attachment(a->backend->journal);
    far_chain_fill_who(a->backend, &chain->address, &a->record->who);
    far_journal_seal(a->record);
    return 0;
}

bool far_chain_renew(struct far_chain *chain)
{
    struct far_attachment *a = chain->a;

    if (chain->binding != FAR_CHAIN_ABSENT &&
        far_chain_wanted(a->backend, &chain->address, a->type->class) ==
            chain->binding)
        return false;
    far_journal_edit(a->record);
    a->record->who.attachment = far_journal_attachment(a->backend->journal);
    far_journal_seal(a->record);
    return true;
}

json_t *far_chain_status(const struct far_chain *chain, json_t *to)
{
    json_t *counters = json_object();
    char text[FAR_CHAIN_ADDRESS_BYTES];

    json_object_set_new(to, "counters", counters);
    json_object_set_new(to, "latency", json_object());
    if (chain && chain->has_address) {
        far_chain_address_text(chain, text, sizeof(text));
        json_object_set_new(to, "address", json_string(text));
    }
    return counters;
}

void far_chain_address_text(const struct far_chain *chain, char *text,
                            size_t bytes)
{
    far_address_text(&chain->address, text, bytes);
}

void far_address_text(const struct far_address *address, char *text,
                      size_t bytes)
{
    snprintf(text, bytes, "%s%s%s%s%s", address->platform,
             address->standby[0] ? "+" : "", address->standby,
             address->platform[0] ? "/" : "", address->device);
}
