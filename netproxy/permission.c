/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What an [export] permits (netproxy/permission.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "core/block.h"
#include "core/uuid.h"
#include "netproxy/permission.h"

/* What libxl calls a guest until its migration is complete. */
#define INCOMING "--incoming"

int far_permission_guest(const struct far_conf_section *export,
                         const struct far_local_who *who,
                         struct far_error *error)
{
    struct far_local_who arrived = *who;
    size_t length = strlen(arrived.guest_name), tail = strlen(INCOMING);

    int rc = far_permission_running(export, who, error);

    if (!rc || length <= tail ||
        strcmp(arrived.guest_name + length - tail, INCOMING))
        return rc;
    arrived.guest_name[length - tail] = 0;
    return far_permission_running(export, &arrived, error);
}

int far_permission_running(const struct far_conf_section *export,
                           const struct far_local_who *who,
                           struct far_error *error)
{
    const char *name = who->guest_name;
    char uuid[FAR_UUID_TEXT_BYTES];

    if (!far_conf_entry(export, "guest", NULL))
        return 0;
    if (far_conf_lists(export, "guest", name) ||
        far_conf_lists(export, "guest", far_uuid_format(uuid, who->guest_uuid)))
        return 0;
    return far_error(error, -EACCES, "[export %s] does not allow the guest %s",
                     export->name, name[0] ? name : uuid);
}

bool far_permission_read_only(const struct far_conf_section *export)
{
    return far_conf_bool(export, "read-only", false);
}

bool far_permission_writes(uint16_t opcode)
{
    return opcode == FAR_BLOCK_WRITE || opcode == FAR_BLOCK_DISCARD ||
           opcode == FAR_BLOCK_APPEND;
}

void far_permission_mask(uint8_t props[32], uint32_t class)
{
    struct far_block_props block;

    if (class != FAR_CLASS_BLOCK)
        return;
    memcpy(&block, props, sizeof(block));
    block.can &= ~(uint32_t)(FAR_BLOCK_CAN_WRITE | FAR_BLOCK_CAN_DISCARD |
                             FAR_BLOCK_CAN_SECURE | FAR_BLOCK_CAN_APPEND);
    memcpy(props, &block, sizeof(block));
}
