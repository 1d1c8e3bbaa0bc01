/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The journal's file: a page of header, then records in chunks that are mapped
 * one by one, so that a record never moves. The argument is in journal.h.
 */
#include "backend/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/uuid.h"

#define CHUNK_RECORDS 64u
#define CHUNK_BYTES   ((size_t)CHUNK_RECORDS * FAR_JOURNAL_RECORD_BYTES)
#define CHUNKS_MAX    256u
#define HEADER_BYTES  4096u

struct header {
    uint32_t magic, version;
    uint32_t record_bytes, header_bytes;
    _Atomic uint64_t attachment;
};

/* What a record's place in the file holds. */
union place {
    struct far_journal_record record;
    uint8_t bytes[FAR_JOURNAL_RECORD_BYTES];
};
static_assert(sizeof(union place) == FAR_JOURNAL_RECORD_BYTES, "the layout");

struct far_journal {
    int fd;
    char *path;
    struct header *header;
    unsigned chunks;
    union place *chunk[CHUNKS_MAX];
};

/* FNV-1a over words: it finds torn and foreign contents, not an enemy, who
 * could not write here in the first place. */
static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x100000001b3u;
    return h ^ h >> 29;
}

/* Four lanes that don't wait for each other: this is done for every event. */
static uint64_t sum(const void *memory, size_t bytes)
{
    const unsigned char *p = memory;
    uint64_t h[4] = { 0xcbf29ce484222325u, 0x9e3779b97f4a7c15u,
                      0xc2b2ae3d27d4eb4fu, 0x165667b19e3779f9u };
    uint64_t words[4];

    for (; bytes >= sizeof(words); p += sizeof(words), bytes -= sizeof(words)) {
        memcpy(words, p, sizeof(words));
        for (unsigned i = 0; i < 4; i++)
            h[i] = mix(h[i], words[i]);
    }
    memset(words, 0, sizeof(words));
    memcpy(words, p, bytes);
    for (unsigned i = 0; i < 4; i++)
        h[i] = mix(h[i], words[i]);
    return mix(mix(mix(h[0], h[1]), h[2]), h[3]);
}

static uint64_t fixed_sum(const struct far_journal_record *record)
{
    const char *from = record->kind;

    return sum(from, (size_t)((const char *)record->state - from));
}

static uint64_t state_sum(const struct far_journal_state *state)
{
    return sum(state, offsetof(struct far_journal_state, check));
}

static uint64_t op_sum(const struct far_journal_op *op)
{
    return sum(&op->op, sizeof(op->op)) ^ op->order ^ op->sequence << 32;
}

static bool sound(const struct far_journal_record *record)
{
    return atomic_load_explicit(&record->used, memory_order_acquire) ==
               FAR_JOURNAL_USED &&
           record->check == fixed_sum(record) &&
           record->refs_count <= FAR_JOURNAL_REFS &&
           record->ports_count <= FAR_JOURNAL_PORTS;
}

/* As long as that at least, with memory behind it: a folder in memory that is
 * full must show itself here and not at the first store. 0 or -1 and errno. */
static int extend(int fd, off_t bytes)
{
    errno = posix_fallocate(fd, 0, bytes);
    return errno ? -1 : 0;
}

static int map_chunk(struct far_journal *journal)
{
    void *memory;

    memory =
        mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, journal->fd,
             (off_t)(HEADER_BYTES + journal->chunks * CHUNK_BYTES));
    if (memory == MAP_FAILED)
        return -errno;
    journal->chunk[journal->chunks++] = memory;
    return 0;
}

static const char *judge(const struct header *header, off_t size)
{
    if (size < (off_t)HEADER_BYTES)
        return "it is cut short";
    if (header->magic != FAR_JOURNAL_MAGIC)
        return "it is no journal";
    if (header->version != FAR_JOURNAL_VERSION ||
        header->record_bytes != FAR_JOURNAL_RECORD_BYTES ||
        header->header_bytes != HEADER_BYTES)
        return "it is of another version";
    if ((size_t)(size - (off_t)HEADER_BYTES) % CHUNK_BYTES ||
        (size_t)(size - (off_t)HEADER_BYTES) / CHUNK_BYTES > CHUNKS_MAX)
        return "its size is wrong";
    return NULL;
}

struct far_journal *far_journal_open(const char *path, const char **anew,
                                     struct far_error *error)
{
    struct far_journal *journal = calloc(1, sizeof(*journal));
    struct stat st;
    void *memory;
    int r;

    *anew = NULL;
    if (!journal) {
        far_error(error, -ENOMEM, "%s: memory is out", path);
        return NULL;
    }
    journal->path = strdup(path);
    journal->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (!journal->path || journal->fd < 0 || fstat(journal->fd, &st)) {
        far_error(error, -errno, "%s: %s", path, strerror(errno));
        goto fail;
    }
    if (st.st_size && st.st_size < (off_t)HEADER_BYTES)
        *anew = judge(NULL, st.st_size);
    if (st.st_size < (off_t)HEADER_BYTES &&
        (ftruncate(journal->fd, 0) || extend(journal->fd, HEADER_BYTES))) {
        far_error(error, -errno, "%s: %s", path, strerror(errno));
        goto fail;
    }
    memory = mmap(NULL, HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                  journal->fd, 0);
    if (memory == MAP_FAILED) {
        far_error(error, -errno, "%s: %s", path, strerror(errno));
        goto fail;
    }
    journal->header = memory;
    if (st.st_size >= (off_t)HEADER_BYTES)
        *anew = judge(journal->header, st.st_size);
    if (st.st_size < (off_t)HEADER_BYTES || *anew) {
        if (ftruncate(journal->fd, HEADER_BYTES)) {
            far_error(error, -errno, "%s: %s", path, strerror(errno));
            goto fail;
        }
        st.st_size = HEADER_BYTES;
        memset(journal->header, 0, HEADER_BYTES);
        journal->header->version = FAR_JOURNAL_VERSION;
        journal->header->record_bytes = FAR_JOURNAL_RECORD_BYTES;
        journal->header->header_bytes = HEADER_BYTES;
        /* random, so that two journals of one machine's life don't give the
         * same names to what a netproxy keeps */
        atomic_store_explicit(&journal->header->attachment, far_random_u64(),
                              memory_order_relaxed);
        atomic_thread_fence(memory_order_release);
        journal->header->magic = FAR_JOURNAL_MAGIC;
    }
    while ((off_t)(HEADER_BYTES + journal->chunks * CHUNK_BYTES) < st.st_size) {
        r = map_chunk(journal);
        if (r) {
            far_error(error, r, "%s: %s", path, strerror(-r));
            goto fail;
        }
    }
    return journal;
fail:
    far_journal_close(journal);
    return NULL;
}

void far_journal_close(struct far_journal *journal)
{
    if (!journal)
        return;
    for (unsigned i = 0; i < journal->chunks; i++)
        munmap(journal->chunk[i], CHUNK_BYTES);
    if (journal->header)
        munmap(journal->header, HEADER_BYTES);
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal->path);
    free(journal);
}

uint64_t far_journal_attachment(struct far_journal *journal)
{
    uint64_t name;

    do
        name = atomic_fetch_add(&journal->header->attachment, 1) + 1;
    while (!name);
    return name;
}

#define EACH_RECORD(journal, record)                                \
    for (unsigned chunk_ = 0; chunk_ < (journal)->chunks; chunk_++) \
        for (union place *place_ = (journal)->chunk[chunk_];        \
             place_ < (journal)->chunk[chunk_] + CHUNK_RECORDS &&   \
             ((record) = &place_->record, true);                    \
             place_++)

struct far_journal_record *far_journal_find(struct far_journal *journal,
                                            const char *kind, unsigned domid,
                                            unsigned devid)
{
    struct far_journal_record *record;

    EACH_RECORD(journal, record)
    {
        if (record->domid == domid && record->devid == devid &&
            !strncmp(record->kind, kind, sizeof(record->kind)) && sound(record))
            return record;
    }
    return NULL;
}

static void clear(struct far_journal_record *record)
{
    far_journal_edit(record);
    memset((char *)record + sizeof(record->used), 0,
           sizeof(*record) - sizeof(record->used));
}

/* Between take and drop: `used` is 0 while the fixed part is edited, so that
 * something else has to say that the place is not free. */
#define BEING_EDITED 0x67e17ed17edu

struct far_journal_record *far_journal_take(struct far_journal *journal)
{
    struct far_journal_record *record;
    off_t bytes;
    int r;

    for (;;) {
        EACH_RECORD(journal, record)
        {
            if (atomic_load_explicit(&record->used, memory_order_relaxed))
                continue;
            clear(record);
            return record;
        }
        if (journal->chunks == CHUNKS_MAX) {
            errno = ENOSPC;
            return NULL;
        }
        bytes = (off_t)(HEADER_BYTES + journal->chunks * CHUNK_BYTES);
        r = extend(journal->fd, bytes + (off_t)CHUNK_BYTES)
                ? -errno
                : map_chunk(journal);
        if (r) {
            (void)!ftruncate(journal->fd, bytes);
            errno = -r;
            return NULL;
        }
    }
}

/* ---- annexes ---- */

struct annex {
    uint32_t version, reserved;
    uint64_t attachment, bytes;
    uint64_t made; /* written last */
    uint8_t memory[] __attribute__((aligned(64)));
};

/* A record never moves: its place names its annex. */
static bool path_of(const struct far_journal *journal,
                    const struct far_journal_record *record, const char *what,
                    char *path, size_t bytes)
{
    for (unsigned i = 0; i < journal->chunks; i++) {
        const union place *place = (const union place *)(const void *)record;

        if (place < journal->chunk[i] ||
            place >= journal->chunk[i] + CHUNK_RECORDS)
            continue;
        return snprintf(path, bytes, "%s.%u%s", journal->path,
                        i * CHUNK_RECORDS +
                            (unsigned)(place - journal->chunk[i]),
                        what) < (int)bytes;
    }
    return false;
}

static int open_beside(const struct far_journal *journal,
                       const struct far_journal_record *record,
                       const char *what, bool make)
{
    char path[PATH_MAX];
    int fd;

    if (!path_of(journal, record, what, path, sizeof(path)))
        return -ENAMETOOLONG;
    if (make)
        (void)unlink(path);
    fd = open(path,
              O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT | O_EXCL : 0),
              0600);
    if (fd >= 0)
        return fd;
    return !make && errno == ENOENT ? -ESTALE : -errno;
}

int far_journal_file(struct far_journal *journal,
                     const struct far_journal_record *record, bool make)
{
    return open_beside(journal, record, ".kept", make);
}

void *far_journal_annex(struct far_journal *journal,
                        const struct far_journal_record *record,
                        uint32_t version, size_t bytes, bool make)
{
    size_t whole = sizeof(struct annex) + bytes;
    struct annex *annex;
    struct stat st;
    int fd, saved;

    fd = open_beside(journal, record, "", make);
    if (fd < 0) {
        errno = -fd;
        return NULL;
    }
    annex = MAP_FAILED;
    if (fstat(fd, &st) || (make && extend(fd, (off_t)whole)))
        ;
    else if (!make && st.st_size != (off_t)whole)
        errno = ESTALE;
    else
        annex = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    saved = errno;
    close(fd);
    errno = saved;
    if (annex == MAP_FAILED)
        return NULL;
    if (make) {
        annex->version = version;
        annex->attachment = record->who.attachment;
        annex->bytes = bytes;
        __atomic_store_n(&annex->made, FAR_JOURNAL_USED, __ATOMIC_RELEASE);
    } else if (annex->made != FAR_JOURNAL_USED || annex->version != version ||
               annex->attachment != record->who.attachment ||
               annex->bytes != bytes) {
        munmap(annex, whole);
        errno = ESTALE;
        return NULL;
    }
    return annex->memory;
}

void far_journal_annex_renew(void *memory,
                             const struct far_journal_record *record)
{
    struct annex *annex =
        (void *)((char *)memory - offsetof(struct annex, memory));

    __atomic_store_n(&annex->attachment, record->who.attachment,
                     __ATOMIC_RELEASE);
}

void far_journal_annex_close(void *memory, size_t bytes)
{
    if (memory)
        munmap((char *)memory - offsetof(struct annex, memory),
               sizeof(struct annex) + bytes);
}

void far_journal_drop(struct far_journal *journal,
                      struct far_journal_record *record)
{
    char path[PATH_MAX];

    if (!record)
        return;
    /* the record first: an annex without one is made anew when it is needed */
    atomic_store_explicit(&record->used, 0, memory_order_release);
    if (path_of(journal, record, "", path, sizeof(path)))
        (void)unlink(path);
    if (path_of(journal, record, ".kept", path, sizeof(path)))
        (void)unlink(path);
}

unsigned far_journal_sweep(struct far_journal *journal,
                           bool (*keep)(const struct far_journal_record *record,
                                        void *arg),
                           void *arg)
{
    struct far_journal_record *record;
    unsigned dropped = 0;

    EACH_RECORD(journal, record)
    {
        if (!atomic_load_explicit(&record->used, memory_order_relaxed) ||
            keep(record, arg))
            continue;
        far_journal_drop(journal, record);
        dropped++;
    }
    return dropped;
}

void far_journal_edit(struct far_journal_record *record)
{
    atomic_store_explicit(&record->used, BEING_EDITED, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

void far_journal_seal(struct far_journal_record *record)
{
    record->check = fixed_sum(record);
    atomic_store_explicit(&record->used, FAR_JOURNAL_USED,
                          memory_order_release);
}

void far_journal_connected(struct far_journal_record *record)
{
    far_journal_edit(record);
    record->connected = 1;
    far_journal_seal(record);
}

void far_journal_disconnected(struct far_journal_record *record)
{
    if (!record || !record->connected)
        return;
    far_journal_edit(record);
    record->connected = 0;
    record->refs_count = record->ports_count = 0;
    far_journal_seal(record);
}

static bool state_sound(const struct far_journal_state *state)
{
    return state->stamp && state->check == state_sum(state);
}

void far_journal_note(struct far_journal_record *record,
                      const struct far_journal_state *state)
{
    struct far_journal_state *a = &record->state[0], *b = &record->state[1];
    struct far_journal_state *older = a->stamp <= b->stamp ? a : b;
    uint64_t stamp = (older == a ? b->stamp : a->stamp) + 1;

    __atomic_store_n(&older->stamp, 0, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    older->incarnation = state->incarnation;
    older->received = state->received;
    older->ring = state->ring;
    older->reserved = 0;
    memcpy(older->own, state->own, sizeof(older->own));
    {
        struct far_journal_state copy = *older;

        copy.stamp = stamp;
        older->check = state_sum(&copy);
    }
    __atomic_store_n(&older->stamp, stamp, __ATOMIC_RELEASE);
    /* step 3, the store to the page, stays behind it */
    atomic_thread_fence(memory_order_release);
}

static const struct far_journal_state *
pick(const struct far_journal_record *record, bool any, uint32_t ring)
{
    const struct far_journal_state *best = NULL;

    for (unsigned i = 0; i < 2; i++) {
        const struct far_journal_state *s = &record->state[i];

        if (state_sound(s) && (any || s->ring == ring) &&
            (!best || s->stamp > best->stamp))
            best = s;
    }
    return best;
}

int far_journal_resume(struct far_journal_record *record, uint32_t ring,
                       struct far_journal_state *state)
{
    const struct far_journal_state *best = pick(record, false, ring);
    struct far_journal_state *other;

    if (!best)
        return -ENOENT;
    *state = *best;
    other = &record->state[best == &record->state[0]];
    if (other->stamp > best->stamp)
        __atomic_store_n(&other->stamp, 0, __ATOMIC_RELEASE);
    return 0;
}

int far_journal_last(const struct far_journal_record *record,
                     struct far_journal_state *state)
{
    const struct far_journal_state *best = pick(record, true, 0);

    if (!best)
        return -ENOENT;
    *state = *best;
    return 0;
}

int far_journal_give(struct far_journal_record *record, struct far_op *op)
{
    for (uint32_t i = 0; i < FAR_JOURNAL_OPS; i++) {
        struct far_journal_op *slot = &record->ops[i];

        if (atomic_load_explicit(&slot->busy, memory_order_relaxed))
            continue;
        op->slot = i;
        op->sequence = ++slot->sequence;
        slot->order = ++record->order;
        slot->op = *op;
        slot->check = op_sum(slot);
        atomic_store_explicit(&slot->busy, 1, memory_order_release);
        return 0;
    }
    return -ENOSPC;
}

int far_journal_complete(struct far_journal_record *record, uint32_t slot,
                         uint64_t sequence)
{
    struct far_journal_op *op;

    if (slot >= FAR_JOURNAL_OPS)
        return -ENOENT;
    op = &record->ops[slot];
    if (!atomic_load_explicit(&op->busy, memory_order_relaxed) ||
        op->sequence != sequence)
        return -ENOENT;
    atomic_store_explicit(&op->busy, 0, memory_order_release);
    /* the answer goes into the guest's ring behind it */
    atomic_thread_fence(memory_order_release);
    return 0;
}

unsigned far_journal_in_flight(const struct far_journal_record *record)
{
    unsigned n = 0;

    for (unsigned i = 0; i < FAR_JOURNAL_OPS; i++)
        n += atomic_load_explicit(&record->ops[i].busy, memory_order_relaxed) !=
             0;
    return n;
}

int far_journal_recover(const struct far_journal_record *record,
                        void (*each)(const struct far_op *op, void *arg),
                        void *arg)
{
    const struct far_journal_op *open[FAR_JOURNAL_OPS];
    unsigned n = 0;

    for (unsigned i = 0; i < FAR_JOURNAL_OPS; i++) {
        const struct far_journal_op *slot = &record->ops[i];
        unsigned at;

        if (!atomic_load_explicit(&slot->busy, memory_order_acquire))
            continue;
        if (slot->check != op_sum(slot) || slot->op.slot != i ||
            slot->op.sequence != slot->sequence)
            return -EILSEQ;
        for (at = n++; at && open[at - 1]->order > slot->order; at--)
            open[at] = open[at - 1];
        open[at] = slot;
    }
    for (unsigned i = 0; i < n; i++)
        each(&open[i]->op, arg);
    return (int)n;
}
