/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vbd port's part in xenstore, and in sysfs: which node of kind vbd is
 * Farside's, what is offered, what the front asks for, what the disk is.
 */
#include "backend/port-vbd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/blkif.h>
#include "xenstore-schema/schema.h"

#define SCRIPT "block-farside"
#define UNBIND "/sys/bus/xen-backend/drivers/vbd/unbind"
#define DRIVER "/sys/bus/xen-backend/devices/vbd-%u-%u/driver"

struct reader {
    struct far_xs *xs;
    const char *dir;
};

static int read_node(void *arg, const char *node, char *value, size_t room)
{
    struct reader *reader = arg;

    return far_xs_read(reader->xs, 0, value, room, "%s/%s", reader->dir, node);
}

static int read_back(struct far_attachment *a, struct far_schema_vbd_back *back,
                     struct far_error *error)
{
    struct reader reader = { a->backend->xs, a->back };
    struct far_schema_fault fault = { 0 };
    int r = far_schema_vbd_back_read(back, read_node, &reader, &fault);

    return r ? far_error(error, r, "its own node %s",
                         fault.node ? fault.text : strerror(-r))
             : 0;
}

bool far_vbd_mine(struct far_attachment *a)
{
    char script[256];
    const char *name;

    if (far_xs_read(a->backend->xs, 0, script, sizeof(script), "%s/%s", a->back,
                    FAR_NODE_VBD_BACK_SCRIPT) <= 0)
        return false;
    name = strrchr(script, '/');
    return !strcmp(name ? name + 1 : script, SCRIPT);
}

/* A list of nodes to be written together. */
struct node {
    const char *name;
    uint64_t value;
};
struct nodes {
    struct port *port;
    struct node list[20];
    unsigned count;
    bool again; /* state 4, for the front to look */
};

static void put(struct nodes *nodes, const char *name, uint64_t value)
{
    nodes->list[nodes->count++] = (struct node){ name, value };
}

static int write_nodes(struct far_xs *xs, far_xs_t t, void *arg)
{
    struct nodes *nodes = arg;
    const char *back = nodes->port->a->back;
    char path[FAR_XS_PATH_BYTES + 48], state[8];
    int r;

    /* not where the toolstack has just removed it all */
    r = far_xs_read(xs, t, state, sizeof(state), "%s/state", back);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < nodes->count; i++) {
        snprintf(path, sizeof(path), "%s/%s", back, nodes->list[i].name);
        r = far_xs_write(xs, t, path, "%llu",
                         (unsigned long long)nodes->list[i].value);
        if (r)
            return r;
    }
    if (!nodes->again || strcmp(state, "4"))
        return 0;
    snprintf(path, sizeof(path), "%s/state", back);
    return far_xs_write(xs, t, path, "4");
}

static int write_all(struct nodes *nodes, struct far_error *error)
{
    int r = far_xs_transact(nodes->port->a->backend->xs, write_nodes, nodes);

    return r && r != -EAGAIN ? far_error(error, r, "xenstore: %s", strerror(-r))
                             : r;
}

int far_vbd_offer(struct port *port, struct far_error *error)
{
    struct nodes nodes = { .port = port };
    struct far_schema_vbd_back back;
    int r = read_back(port->a, &back, error);

    if (r)
        return r;
    r = far_chain_order(&port->chain, "target", back.params, error);
    if (r)
        return r;
    port->writable = !back.has_mode || back.mode[0] == 'w';
    port->cdrom = back.has_device_type && back.device_type[0] == 'c';
    port->removable = back.removable;
    port->discards = back.discard_enable;
    put(&nodes, FAR_NODE_VBD_BACK_MULTI_QUEUE_MAX_QUEUES, FAR_VBD_QUEUES);
    put(&nodes, FAR_NODE_VBD_BACK_MAX_RING_PAGE_ORDER, FAR_VBD_RING_ORDER);
    put(&nodes, FAR_NODE_VBD_BACK_FEATURE_PERSISTENT, 1);
    put(&nodes, FAR_NODE_VBD_BACK_FEATURE_MAX_INDIRECT_SEGMENTS,
        FAR_VBD_SEGMENTS_MAX);
    return write_all(&nodes, error);
}

int far_vbd_claim(struct port *port, struct far_error *error)
{
    char path[FAR_XS_PATH_BYTES + 16];
    int r;

    snprintf(path, sizeof(path), "%s/%s", port->a->back,
             FAR_NODE_VBD_BACK_FARSIDE);
    r = far_xs_write(port->a->backend->xs, 0, path, "claimed");
    return r ? far_error(error, r, "xenstore: %s", strerror(-r)) : 0;
}

bool far_vbd_is_free(const struct port *port)
{
    char status[64];

    return far_xs_read(port->a->backend->xs, 0, status, sizeof(status), "%s/%s",
                       port->a->back, FAR_NODE_VBD_BACK_HOTPLUG_STATUS) > 0 &&
           !strcmp(status, "connected");
}

/* --- the front ---------------------------------------------------------- */

static int read_number(struct port *port, uint32_t *number, uint32_t least,
                       uint32_t most, const char *queue, const char *name,
                       struct far_error *error)
{
    uint64_t value;
    int r = far_xs_read_u64(port->a->backend->xs, 0, &value, most, "%s/%s%s",
                            port->a->front, queue, name);

    if (r || value < least)
        return far_error(error, r ? r : -EINVAL,
                         "the guest's node %s%s is missing or not a number "
                         "from %u to %u",
                         queue, name, least, most);
    *number = (uint32_t)value;
    return 0;
}

int far_vbd_read_front(struct port *port, struct far_vbd_mode *mode,
                       uint32_t (*refs)[FAR_VBD_RING_PAGES_MAX],
                       uint32_t *ports, struct far_error *error)
{
    struct reader reader = { port->a->backend->xs, port->a->front };
    struct far_schema_fault fault = { 0 };
    struct far_schema_vbd_front front;
    struct far_vbd_front asked = { 0 };
    int r = far_schema_vbd_front_read(&front, read_node, &reader, &fault);

    if (r)
        return far_error(error, r, "the guest's node %s",
                         fault.node ? fault.text : strerror(-r));
    asked.queues = front.multi_queue_num_queues;
    asked.order = front.has_ring_page_order ? front.ring_page_order : 0;
    asked.has_order = front.has_ring_page_order;
    asked.persistent = front.feature_persistent;
    if (front.has_protocol)
        snprintf(asked.protocol, sizeof(asked.protocol), "%s", front.protocol);
    r = far_vbd_check_front(&asked, mode, error);
    for (uint32_t i = 0; !r && i < mode->queues; i++) {
        char queue[24] = "", name[24] = "ring-ref";

        if (mode->multi)
            snprintf(queue, sizeof(queue), "queue-%u/", i);
        for (uint32_t page = 0; !r && page < mode->pages; page++) {
            if (mode->ordered)
                snprintf(name, sizeof(name), "ring-ref%u", page);
            r = read_number(port, &refs[i][page], FAR_GRANT_RESERVED,
                            UINT32_MAX, queue, name, error);
        }
        if (!r)
            r = read_number(port, &ports[i], 1, INT32_MAX, queue,
                            FAR_NODE_VBD_FRONT_EVENT_CHANNEL, error);
    }
    return r;
}

/* --- what the disk is --------------------------------------------------- */

int far_vbd_show(struct port *port, bool first, struct far_error *error)
{
    const struct far_block_props *p = &port->props;
    struct nodes nodes = { .port = port, .again = !first };
    bool writes, cdrom, discards;

    put(&nodes, FAR_NODE_VBD_BACK_SECTORS, p->bytes / 512);
    if (!first)
        return write_all(&nodes, error);
    writes = port->writable && (p->can & FAR_BLOCK_CAN_WRITE);
    cdrom = port->cdrom || (p->can & FAR_BLOCK_CDROM);
    discards = writes && (p->can & FAR_BLOCK_CAN_DISCARD);
    put(&nodes, FAR_NODE_VBD_BACK_SECTOR_SIZE,
        p->block_bytes ? p->block_bytes : 512);
    if (p->physical_bytes)
        put(&nodes, FAR_NODE_VBD_BACK_PHYSICAL_SECTOR_SIZE, p->physical_bytes);
    put(&nodes, FAR_NODE_VBD_BACK_INFO,
        (cdrom ? VDISK_CDROM | VDISK_REMOVABLE : 0u) |
            (port->removable || (p->can & FAR_BLOCK_REMOVABLE) ? VDISK_REMOVABLE
                                                               : 0u) |
            (writes ? 0u : VDISK_READONLY));
    put(&nodes, FAR_NODE_VBD_BACK_FEATURE_FLUSH_CACHE,
        writes && (p->can & FAR_BLOCK_CAN_FLUSH));
    put(&nodes, FAR_NODE_VBD_BACK_FEATURE_BARRIER,
        writes && (p->can & FAR_BLOCK_CAN_FLUSH));
    put(&nodes, FAR_NODE_VBD_BACK_FEATURE_DISCARD, discards);
    if (discards) {
        put(&nodes, FAR_NODE_VBD_BACK_DISCARD_GRANULARITY,
            p->discard_bytes ? p->discard_bytes : 512);
        put(&nodes, FAR_NODE_VBD_BACK_DISCARD_ALIGNMENT, p->discard_align);
        put(&nodes, FAR_NODE_VBD_BACK_DISCARD_SECURE,
            (p->can & FAR_BLOCK_CAN_SECURE) != 0);
    }
    return write_all(&nodes, error);
}

/* --- the kernel's driver ------------------------------------------------- */

void far_vbd_reclaim(struct far_attachment *a)
{
    char text[64];
    int n, fd;

    far_log_limited(a->backend->log, &a->guest->bucket, FAR_LOG_WARNING,
                    "%s/%u of guest %s (domain %u): another has written its "
                    "state; it is taken back. xen-blkback must be loaded "
                    "before farside-backend starts",
                    a->kind, a->devid, a->guest->name, a->guest->domid);
    snprintf(text, sizeof(text), DRIVER, a->guest->domid, a->devid);
    if (access(text, F_OK))
        return; /* no driver has it */
    fd = open(UNBIND, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    n = snprintf(text, sizeof(text), "vbd-%u-%u", a->guest->domid, a->devid);
    if (write(fd, text, (size_t)n) != n)
        far_log_limited(a->backend->log, &a->guest->bucket, FAR_LOG_WARNING,
                        "%s: the kernel's driver does not let go: %s", text,
                        strerror(errno));
    close(fd);
}
