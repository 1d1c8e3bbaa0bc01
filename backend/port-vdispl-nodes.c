/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vdispl port's part in xenstore: what is offered, and what the front's
 * nodes, all of them the guest's to write, say.
 */
#include "backend/port-vdispl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backend/wish.h"
#include "xenstore-schema/schema.h"

#define VERSIONS "1,2"

struct reader {
    struct far_xs *xs;
    const char *dir;
};

static int read_node(void *arg, const char *node, char *value, size_t room)
{
    struct reader *reader = arg;

    return far_xs_read(reader->xs, 0, value, room, "%s/%s", reader->dir, node);
}

static int write_versions(struct far_xs *xs, far_xs_t t, void *arg)
{
    const struct far_attachment *a = arg;
    char path[FAR_XS_PATH_BYTES + 16], state[8];
    int r;

    /* not where the toolstack has just removed it all */
    r = far_xs_read(xs, t, state, sizeof(state), "%s/state", a->back);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", a->back,
             FAR_NODE_VDISPL_BACK_VERSIONS);
    return far_xs_write(xs, t, path, VERSIONS);
}

int far_vdispl_offer(struct far_attachment *a, struct far_error *error)
{
    int r = far_xs_transact(a->backend->xs, write_versions, a);

    return r && r != -EAGAIN ? far_error(error, r, "xenstore: %s", strerror(-r))
                             : r;
}

/* -ENOENT: there is no such connector. */
static int read_connector(struct far_attachment *a, unsigned n,
                          struct far_vdispl_front *front,
                          struct far_error *error)
{
    char dir[FAR_XS_PATH_BYTES + 16], text[8];
    struct reader reader = { a->backend->xs, dir };
    struct far_schema_vdispl_connector nodes;
    struct far_schema_fault fault = { 0 };
    struct far_error why;
    int r;

    snprintf(dir, sizeof(dir), "%s/%u", a->front, n);
    if (far_xs_read(a->backend->xs, 0, text, sizeof(text), "%s", dir) ==
        -ENOENT)
        return -ENOENT;
    r = far_schema_vdispl_connector_read(&nodes, read_node, &reader, &fault);
    if (r)
        return far_error(error, r == -ENOENT ? -EINVAL : r,
                         "connector %u: the guest's node %s", n,
                         fault.node ? fault.text : strerror(-r));
    if (!far_vdispl_resolution(nodes.resolution, &front->connector[n].width,
                               &front->connector[n].height))
        return far_error(error, -EINVAL,
                         "connector %u: the guest's node resolution is no "
                         "WIDTHxHEIGHT that a screen can have",
                         n);
    snprintf(dir, sizeof(dir), "%u/%s", n, XENDISPL_FIELD_UNIQUE_ID);
    if (far_address_parse(&front->connector[n].address, nodes.unique_id, &why))
        return far_error(error, -EINVAL, "%s: %s", dir, why.text);
    if (!far_wish_granted(a, FAR_WISH_SHOW, nodes.unique_id))
        return far_wish_refuse(a, dir, nodes.unique_id, error);
    front->connector[n].refs[0] = nodes.req_ring_ref;
    front->connector[n].refs[1] = nodes.evt_ring_ref;
    front->connector[n].ports[0] = nodes.req_event_channel;
    front->connector[n].ports[1] = nodes.evt_event_channel;
    return 0;
}

int far_vdispl_read_front(struct far_attachment *a,
                          struct far_vdispl_front *front,
                          struct far_error *error)
{
    struct reader reader = { a->backend->xs, a->front };
    struct far_schema_vdispl_front nodes;
    struct far_schema_fault fault = { 0 };
    int r = far_schema_vdispl_front_read(&nodes, read_node, &reader, &fault);

    memset(front, 0, sizeof(*front));
    if (r)
        return far_error(error, r, "the guest's node %s",
                         fault.node ? fault.text : strerror(-r));
    front->be_alloc = nodes.be_alloc;
    front->version = nodes.version;
    while (front->connectors < FAR_VDISPL_CONNECTORS_MAX) {
        r = read_connector(a, front->connectors, front, error);
        if (r == -ENOENT)
            break;
        if (r)
            return r;
        front->connectors++;
    }
    return front->connectors
               ? 0
               : far_error(error, -EINVAL,
                           "the guest's vdispl has no connector; its line "
                           "needs connectors=DEVICE:WIDTHxHEIGHT");
}
