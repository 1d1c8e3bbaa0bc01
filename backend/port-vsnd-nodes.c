/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vsnd port's part in xenstore. All that says what a card is like stands in
 * the front's nodes, which the guest can rewrite: it is read once for each
 * connection, judged, and used only as it was read.
 */
#include "backend/port-vsnd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Names in one directory. An honest one has fewer. */
#define NODES_LISTED 64u
#define VERSIONS     "1,2"

static int write_versions(struct far_xs *xs, far_xs_t t, void *arg)
{
    const struct far_attachment *a = arg;
    char path[FAR_XS_PATH_BYTES + 16], state[8];
    int r;

    /* not where the toolstack has just removed it all */
    r = far_xs_read(xs, t, state, sizeof(state), "%s/state", a->back);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "%s/%s", a->back, FAR_NODE_VSND_BACK_VERSIONS);
    return far_xs_write(xs, t, path, "%s", VERSIONS);
}

int far_vsnd_offer(struct far_attachment *a, struct far_error *error)
{
    int r = far_xs_transact(a->backend->xs, write_versions, a);

    return r && r != -EAGAIN ? far_error(error, r, "xenstore: %s", strerror(-r))
                             : r;
}

/* One directory of the card's; most nodes are not there, and a listing saves
 * asking for each. */
struct level {
    struct far_xs *xs;
    char dir[FAR_XS_PATH_BYTES + 16];
    const char *name; /* "" or "0/1/": for a person */
    struct far_xs_list list;
};

static bool has(const struct level *level, const char *node)
{
    for (unsigned i = 0; i < level->list.count; i++)
        if (!strcmp(level->list.names[i], node))
            return true;
    return false;
}

static int read_node(void *arg, const char *node, char *value, size_t room)
{
    const struct level *level = arg;

    return has(level, node) ? far_xs_read(level->xs, 0, value, room, "%s/%s",
                                          level->dir, node)
                            : -ENOENT;
}

static int open_level(struct level *level, struct far_attachment *a,
                      const char *name, struct far_error *error)
{
    int n;

    level->xs = a->backend->xs;
    level->name = name;
    n = snprintf(level->dir, sizeof(level->dir), "%s/%s", a->front, name);
    level->dir[n - 1] = '\0'; /* its last slash */
    n = far_xs_directory(level->xs, 0, &level->list, NODES_LISTED, "%s",
                         level->dir);
    if (n < 0)
        return far_error(error, n, "the guest's directory %s can't be read: %s",
                         level->dir, strerror(-n));
    if (!level->list.more)
        return 0;
    far_xs_list_free(&level->list);
    return far_error(error, -E2BIG,
                     "the guest's directory %s has more than %u nodes",
                     level->dir, NODES_LISTED);
}

static int fault_of(const struct level *level, int r,
                    const struct far_schema_fault *fault,
                    struct far_error *error)
{
    return far_error(error, r, "the guest's node %s%s", level->name,
                     fault->node ? fault->text : strerror(-r));
}

static int narrow(struct level *level, struct far_vsnd_config *config,
                  struct far_error *error)
{
    struct far_schema_fault fault = { 0 };
    struct far_schema_vsnd_level nodes;
    struct far_error why;
    int r = far_schema_vsnd_level_read(&nodes, read_node, level, &fault);

    if (r)
        return fault_of(level, r, &fault, error);
    r = far_vsnd_narrow(config, &nodes, &why);
    return r ? far_error(error, r, "the guest's nodes %s%s", level->name,
                         why.text)
             : 0;
}

static int read_stream(struct far_attachment *a, const char *name,
                       struct far_vsnd_nodes *nodes, struct far_error *error)
{
    struct far_schema_fault fault = { 0 };
    struct far_schema_vsnd_stream s;
    struct level level;
    int r = open_level(&level, a, name, error);

    if (r)
        return r;
    r = narrow(&level, &nodes->config, error);
    if (!r) {
        r = far_schema_vsnd_stream_read(&s, read_node, &level, &fault);
        if (r)
            fault_of(&level, r, &fault, error);
    }
    far_xs_list_free(&level.list);
    if (r)
        return r;
    nodes->records = s.type[0] == 'c';
    nodes->ring_ref = s.ring_ref;
    nodes->ring_port = s.event_channel;
    nodes->event_ref = s.evt_ring_ref;
    nodes->event_port = s.evt_event_channel;
    snprintf(nodes->wish, sizeof(nodes->wish), "%s",
             s.has_unique_id ? s.unique_id : "");
    return 0;
}

/* Directories 0, 1, … of one level, as Linux' front finds them. */
static bool next_dir(const struct level *level, unsigned number)
{
    char text[8];

    snprintf(text, sizeof(text), "%u", number);
    return has(level, text);
}

static int read_pcm(struct far_attachment *a, unsigned pcm,
                    const struct far_vsnd_config *config,
                    struct far_vsnd_nodes *nodes, unsigned *count,
                    struct far_error *error)
{
    struct far_vsnd_config mine = *config;
    struct level level;
    char name[16];
    int r;

    snprintf(name, sizeof(name), "%u/", pcm);
    r = open_level(&level, a, name, error);
    if (r)
        return r;
    r = narrow(&level, &mine, error);
    for (unsigned i = 0; !r && next_dir(&level, i); i++) {
        char stream[24];

        if (*count == FAR_VSND_STREAMS_MAX) {
            r = far_error(error, -E2BIG,
                          "the guest's card has more than %u streams",
                          FAR_VSND_STREAMS_MAX);
            break;
        }
        memset(&nodes[*count], 0, sizeof(*nodes));
        nodes[*count].pcm = (uint8_t)pcm;
        nodes[*count].stream = (uint8_t)i;
        nodes[*count].config = mine;
        snprintf(stream, sizeof(stream), "%u/%u/", pcm, i);
        r = read_stream(a, stream, &nodes[*count], error);
        if (!r)
            ++*count;
    }
    far_xs_list_free(&level.list);
    return r;
}

int far_vsnd_read_front(struct far_attachment *a, struct far_vsnd_nodes *nodes,
                        struct far_error *error)
{
    struct far_vsnd_config config = far_vsnd_anything;
    struct far_schema_fault fault = { 0 };
    struct far_schema_vsnd_front front;
    struct level level;
    unsigned count = 0;
    int r = open_level(&level, a, "", error);

    if (r)
        return r;
    r = far_schema_vsnd_front_read(&front, read_node, &level, &fault);
    if (r)
        fault_of(&level, r, &fault, error);
    else
        r = narrow(&level, &config, error);
    for (unsigned pcm = 0; !r && next_dir(&level, pcm); pcm++)
        r = read_pcm(a, pcm, &config, nodes, &count, error);
    far_xs_list_free(&level.list);
    if (!r && !count)
        r = far_error(error, -ENOENT,
                      "the guest's card has no stream: its vsnd line needs a "
                      "pcm and a stream");
    return r ? r : (int)count;
}
