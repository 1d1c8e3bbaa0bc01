/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What stands behind a port: by the address that was ordered, a device of this
 * process, one of another process or machine through the local client, or,
 * where there is none, a bottom layer that says so. Also how the journal names
 * it. Knows no class but by number.
 */
#ifndef FARSIDE_BACKEND_CHAIN_H
#define FARSIDE_BACKEND_CHAIN_H

#include "backend/backend.h"

enum far_binding {
    FAR_CHAIN_NONE, /* not open */
    FAR_CHAIN_ABSENT,
    FAR_CHAIN_OWN_DEVICE,
    FAR_CHAIN_CLIENT,
};

#define FAR_CHAIN_REASON_BYTES 232

/* Embedded in a port's own struct, zeroed. */
struct far_chain {
    struct far_attachment *a;
    enum far_binding binding;
    struct far_address address;
    bool has_address;
    char absent[FAR_CHAIN_REASON_BYTES]; /* why there is no device, for
                                            FAR_CHAIN_ABSENT */
};

/* Reads which device was ordered; node is its name, for the error. */
int far_chain_order(struct far_chain *chain, const char *node,
                    const char *address, struct far_error *error);
/* Is it what the journal's record says? */
bool far_chain_same_who(const struct far_chain *chain);
/* Makes the record, or lets it name the device that is ordered now, as another
 * attachment; *changed: the chain that is open is of another device and must
 * be closed. 0 or a negative errno. */
int far_chain_record(struct far_chain *chain, bool *changed,
                     struct far_error *error);
/* The bottom of the chain; *bottom is the caller's to close. -ENOMEM. */
int far_chain_open(struct far_chain *chain, struct far_layer **bottom);
/* The same without a chain, for a port with several: what would the address be
 * bound to, and the bottom of it (NULL: -ENOMEM), for who. */
enum far_binding far_chain_wanted(struct far_backend *backend,
                                  const struct far_address *address,
                                  enum far_class class);
enum far_binding far_chain_bottom(struct far_backend *backend,
                                  const struct far_address *address,
                                  const struct far_local_who *who,
                                  char absent[FAR_CHAIN_REASON_BYTES],
                                  struct far_layer **bottom);
/* A bottom for a device that can't be had, which says so; NULL: -ENOMEM. */
struct far_layer *far_chain_absent(const char *reason);
/* Names the device in who. */
void far_chain_fill_who(const struct far_backend *backend,
                        const struct far_address *address,
                        struct far_local_who *who);
/* After a reload: does the address mean something else now? Then the record
 * gets another attachment, and the caller opens the chain anew. */
bool far_chain_renew(struct far_chain *chain);
/* PLATFORM+STANDBY/DEVICE */
/* What the status of any port begins with: the address, and no counters and
 * latencies yet. Gives the counters. chain NULL: there is no port yet. */
json_t *far_chain_status(const struct far_chain *chain, json_t *to);
void far_chain_address_text(const struct far_chain *chain, char *text,
                            size_t bytes);
void far_address_text(const struct far_address *address, char *text,
                      size_t bytes);
#define FAR_CHAIN_ADDRESS_BYTES (3 * FAR_NAME_BYTES + 2)

#endif
