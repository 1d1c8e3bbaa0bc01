/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest of an old netproxy: the old local client with a keyboard's user on
 * top, on standard input and output, since the local protocol is one between
 * two daemons of the same build. It is built in the tree of the commit that
 * README.md names, not in this one.
 *
 * usage: guest SOCKET PLATFORM DEVICE
 * A line "nop SEQUENCE" submits an empty op. Printed: "ready", "gone REASON",
 * "key CODE VALUE", "done SEQUENCE STATUS", "gap", "repeat".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core/input.h"
#include "devices/device.h"

static struct far_layer top;
static uint64_t incarnation, received;

static bool on_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct far_input_event e;

    if (op->sequence <= received)
        puts("repeat");
    else if (op->sequence != received + 1)
        puts("gap");
    received = op->sequence;
    memcpy(&e, op->args, sizeof(e));
    if (e.type == FAR_INPUT_KEY && !(e.flags & FAR_INPUT_HELD))
        printf("key %u %d\n", e.code, e.value);
    far_layer_ack(layer->below, op->sequence);
    return true;
}

static void on_state(struct far_layer *layer, enum far_device_state state,
                     const struct far_layer_news *news)
{
    (void)layer;
    if (news && state == FAR_DEVICE_READY && news->incarnation != incarnation) {
        incarnation = news->incarnation;
        received = 0;
    }
    printf("%s %s\n", state == FAR_DEVICE_READY ? "ready" : "gone",
           news && news->reason ? news->reason : "");
}

static void on_complete(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    printf("done %llu %d\n", (unsigned long long)op->sequence, op->status);
}

static const struct far_layer_ops ops = {
    .name = "guest",
    .interrupt = on_interrupt,
    .state = on_state,
    .complete = on_complete,
};

static void on_input(struct far_io *io, uint32_t events)
{
    char line[64];
    ssize_t n = read(io->fd, line, sizeof(line) - 1);
    struct far_op op = { .attachment = 1,
                         .slot = 3,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };

    (void)events;
    if (n <= 0)
        exit(0);
    line[n] = 0;
    op.sequence = strtoull(line + 4, NULL, 10);
    far_layer_submit(top.below, &op);
}

int main(int argc, char **argv)
{
    struct far_local_who who = { .attachment = 1, .class = FAR_CLASS_INPUT };
    struct far_loop *loop = far_loop_new();
    struct far_local_client *client;
    struct far_layer *below;
    struct far_error error;
    struct far_io input;

    if (argc != 4 || !loop)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    memset(who.guest_uuid, 1, sizeof(who.guest_uuid));
    memset(who.generation, 7, sizeof(who.generation));
    snprintf(who.guest_name, sizeof(who.guest_name), "guest");
    snprintf(who.platform, sizeof(who.platform), "%s", argv[2]);
    snprintf(who.device, sizeof(who.device), "%s", argv[3]);
    client = far_local_client_new(loop, NULL, argv[1], "atlas");
    top.ops = &ops;
    if (!client || far_local_client_open(client, &who, &below, &error))
        return 1;
    far_layer_stack(&top, below);
    far_layer_activate(below, 0, 0);
    if (far_io_add(loop, &input, 0, EPOLLIN, on_input))
        return 1;
    for (;;)
        far_loop_turn(loop, 1000000);
}
