/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The chaos test's backend: it does to the memory of guests what ports do to
 * rings, with the real journal and the real local client, and can be killed at
 * any instant. It judges nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend/journal.h"
#include "core/block.h"
#include "devices/device.h"
#include "tests/chaos/chaos.h"

struct disk {
    struct far_layer layer;
    struct guest_memory *memory;
    struct far_journal_record *record;
    uint64_t guest, next; /* request to be looked at */
    unsigned repeats;     /* of a dead backend's ops; nothing new before */
    bool open[REQUESTS];
    _Alignas(8) uint8_t own[FAR_OP_SLOTS_MAX][CONTENTS_MAX];
    void *payloads[FAR_OP_SLOTS_MAX];
};

struct input {
    struct far_layer layer;
    struct guest_memory *memory;
    struct far_journal_record *record;
    uint64_t incarnation, received;
};

static void *need(void *pointer, const char *what)
{
    if (!pointer) {
        perror(what);
        _exit(2);
    }
    return pointer;
}

/* ---- the disk ---- */

static struct request *request_of(const struct disk *d, uint64_t number)
{
    return &d->memory->requests[number % REQUESTS];
}

static bool is_open(const struct disk *d, uint64_t number)
{
    return atomic_load(&request_of(d, number)->state) == STATE(number, OPEN);
}

/* The request's number goes with the op in an argument that neither an append
 * nor a read looks at. */
static struct far_block_args args_of(const struct far_op *op)
{
    struct far_block_args a;

    memcpy(&a, op->args, sizeof(a));
    return a;
}

static void answer(struct disk *d, const struct far_op *op)
{
    struct far_block_args a = args_of(op);
    struct request *r = request_of(d, a.covers);
    uint64_t open = STATE(a.covers, OPEN);

    r->status = op->status;
    if (!r->reads) {
        r->at = a.offset_bytes;
    } else if (op->status == 0) {
        _Alignas(8) uint8_t want[CONTENTS_MAX];

        contents(want, r->bytes, d->guest, r->of, r->seed);
        if (op->payload_bytes != r->bytes ||
            memcmp(want, d->payloads[op->slot], r->bytes))
            r->status = -EBADMSG;
    }
    /* First the guest, then the journal: a successor sees that it is done. */
    if (!atomic_compare_exchange_strong(&r->state, &open,
                                        STATE(a.covers, DONE)))
        atomic_fetch_add(&d->memory->twice, 1);
    d->open[a.covers % REQUESTS] = false;
    if (d->repeats && (op->flags & FAR_OP_REPEAT))
        d->repeats--;
    if (far_journal_complete(d->record, op->slot, op->sequence))
        atomic_fetch_add(&d->memory->twice, 1);
}

/* Half of the payloads are built where they can stay. */
static void submit(struct disk *d, struct far_op op)
{
    uint64_t number = args_of(&op).covers;
    const struct request *r = request_of(d, number);
    void *place = far_layer_place(d->layer.below, op.slot, op.payload_bytes);

    d->open[number % REQUESTS] = true;
    d->payloads[op.slot] = number % 2 && place ? place : d->own[op.slot];
    if (!r->reads)
        contents(d->payloads[op.slot], r->bytes, d->guest, number, r->seed);
    if (far_layer_submit(d->layer.below, &op, d->payloads[op.slot]) == FAR_DONE)
        answer(d, &op);
}

static void disk_complete(struct far_layer *layer, const struct far_op *op)
{
    answer((struct disk *)layer, op);
}

static void take_new(struct disk *d)
{
    uint64_t posted = atomic_load(&d->memory->posted);

    for (; !d->repeats && d->next <= posted; d->next++) {
        const struct request *r = request_of(d, d->next);
        struct far_block_args a = { .length_bytes = r->bytes,
                                    .covers = d->next };
        struct far_op op = { .attachment = d->record->who.attachment,
                             .payload_bytes = r->bytes };

        if (!is_open(d, d->next) || d->open[d->next % REQUESTS])
            continue;
        op.opcode = r->reads ? FAR_BLOCK_READ : FAR_BLOCK_APPEND;
        op.flags = r->reads ? FAR_OP_RECEIVES : FAR_OP_SENDS;
        a.offset_bytes = r->reads ? r->from : 0;
        memcpy(op.args, &a, sizeof(a));
        if (far_journal_give(d->record, &op))
            return;
        submit(d, op);
    }
}

static void recover(const struct far_op *op, void *arg)
{
    struct disk *d = arg;
    struct far_op copy = *op;

    if (!is_open(d, args_of(op).covers)) { /* killed just before complete */
        far_journal_complete(d->record, op->slot, op->sequence);
        return;
    }
    atomic_fetch_add(&d->memory->repeats, 1);
    copy.flags |= FAR_OP_REPEAT;
    d->repeats++;
    submit(d, copy);
}

/* ---- input ---- */

static void note(struct input *in, uint32_t ring)
{
    const struct far_journal_state state = { .incarnation = in->incarnation,
                                             .received = in->received,
                                             .ring = ring };

    far_journal_note(in->record, &state);
}

static bool input_interrupt(struct far_layer *layer, const struct far_op *op)
{
    struct input *in = (struct input *)layer;
    struct guest_memory *m = in->memory;
    uint32_t prod = atomic_load(&m->prod);
    struct event *e = &m->events[prod % EVENTS];

    if (prod - atomic_load(&m->cons) == EVENTS)
        return false;
    e->incarnation = in->incarnation;
    e->sequence = op->sequence;
    memcpy(&e->event, op->args, sizeof(e->event));
    if (op->sequence)
        in->received = op->sequence;
    note(in, prod + 1);
    atomic_store(&m->prod, prod + 1);
    far_layer_ack(in->layer.below, in->received);
    return true;
}

static void input_state(struct far_layer *layer, enum far_device_state state,
                        const struct far_layer_news *news)
{
    struct input *in = (struct input *)layer;

    if (state == FAR_DEVICE_READY && news->incarnation != in->incarnation) {
        in->incarnation = news->incarnation;
        in->received = 0;
    }
}

/* ---- both ---- */

static struct far_journal_record *
record_of(struct far_journal *journal, const char *kind, unsigned guest,
          const char *server, const char *device, enum far_class class)
{
    struct far_journal_record *r = far_journal_find(journal, kind, guest, 0);

    if (r)
        return r;
    r = need(far_journal_take(journal), "journal");
    snprintf(r->kind, sizeof(r->kind), "%s", kind);
    r->domid = guest;
    r->who.attachment = far_journal_attachment(journal);
    r->who.class = class;
    memset(r->who.guest_uuid, (int)guest, sizeof(r->who.guest_uuid));
    memset(r->who.generation, 7, sizeof(r->who.generation));
    snprintf(r->who.guest_name, sizeof(r->who.guest_name), "guest%u", guest);
    snprintf(r->who.platform, sizeof(r->who.platform), "%s", server);
    snprintf(r->who.device, sizeof(r->who.device), "%s", device);
    far_journal_seal(r);
    return r;
}

static void open_layer(struct far_local_client *client, struct far_layer *top,
                       const struct far_local_who *who)
{
    struct far_layer *layer;
    struct far_error error;

    if (far_local_client_open(client, who, &layer, &error)) {
        fprintf(stderr, "backend: %s\n", error.text);
        _exit(2);
    }
    far_layer_stack(top, layer);
}

static void begin_disk(struct disk *d, struct far_journal *journal,
                       struct far_local_client *client, const char *server,
                       unsigned guest)
{
    static const struct far_layer_ops ops = { .name = "disk",
                                              .complete = disk_complete };
    uint64_t posted = atomic_load(&d->memory->posted);

    d->layer.ops = &ops;
    d->guest = guest;
    d->next = posted > REQUESTS ? posted - REQUESTS + 1 : 1;
    d->record =
        record_of(journal, "disk", guest, server, "ledger0", FAR_CLASS_BLOCK);
    open_layer(client, &d->layer, &d->record->who);
    far_layer_activate(d->layer.below, 0, 0);
    if (far_journal_recover(d->record, recover, d) < 0) {
        fprintf(stderr, "backend: the journal is damaged\n");
        atomic_fetch_add(&d->memory->twice, 1000);
    }
}

static void begin_input(struct input *in, struct far_journal *journal,
                        struct far_local_client *client, const char *server,
                        unsigned guest)
{
    static const struct far_layer_ops ops = { .name = "input",
                                              .interrupt = input_interrupt,
                                              .state = input_state };
    struct far_journal_state state;

    in->layer.ops = &ops;
    in->record =
        record_of(journal, "input", guest, server, "kbd0", FAR_CLASS_INPUT);
    open_layer(client, &in->layer, &in->record->who);
    if (far_journal_resume(in->record, atomic_load(&in->memory->prod),
                           &state) == 0) {
        in->incarnation = state.incarnation;
        in->received = state.received;
    } else {
        note(in, atomic_load(&in->memory->prod));
    }
    far_layer_activate(in->layer.below, in->incarnation, in->received);
}

void backend(const char *dir, const char *name, const char *server,
             unsigned first)
{
    char path[128];
    const char *anew;
    struct far_error error;
    struct far_loop *loop = need(far_loop_new(), "loop");
    struct far_journal *journal;
    struct far_local_client *client;
    struct disk *disks = need(calloc(GUESTS, sizeof(*disks)), "memory");
    struct input *inputs = need(calloc(GUESTS, sizeof(*inputs)), "memory");
    struct memory *memory;
    int fd;

    snprintf(path, sizeof(path), "%s/%s.guests", dir, name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    memory =
        mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    need(memory == MAP_FAILED ? NULL : memory, path);
    snprintf(path, sizeof(path), "%s/%s.journal", dir, name);
    journal = far_journal_open(path, &anew, &error);
    need(journal, path);
    snprintf(path, sizeof(path), "%s/%s/devices.sock", dir, name);
    client = need(far_local_client_new(loop, NULL, path, name), path);
    for (unsigned i = 0; i < GUESTS; i++) {
        disks[i].memory = inputs[i].memory = &memory->guests[i];
        atomic_fetch_add(&memory->guests[i].lives, 1);
        begin_disk(&disks[i], journal, client, server, first + i);
        begin_input(&inputs[i], journal, client, server, first + i);
    }
    for (;;) {
        for (unsigned i = 0; i < GUESTS; i++) {
            take_new(&disks[i]);
            if (inputs[i].layer.below)
                far_layer_resume(inputs[i].layer.below);
        }
        far_loop_turn(loop, 1000);
    }
}
