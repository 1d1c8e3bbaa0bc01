/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The journal: what a successor of a killed backend must know, in a file in
 * memory (RUNDIR is a tmpfs) that outlives the process. One record for each
 * attachment: who it is, which nodes of the front are in use, how far the
 * guest's ring and the device's interrupts have got, and private copies of
 * every op in flight. Knows nothing of xenstore, rings or devices.
 *
 * Why kill -9 at any instant is safe
 * ----------------------------------
 * A kill ends the process between two of its instructions. Its stores to a
 * shared mapping stay, all of them, in program order: there is no write-back
 * to lose (that would be a power failure, which ends the guests too). So only
 * the compiler has to be kept from reordering; release stores and fences do.
 *
 * Fixed part (who, nodes, what was negotiated): changes only when an
 * attachment is made, connects or lets go. far_journal_edit() clears `used`,
 * far_journal_seal() writes the checksum and then `used`. Killed in between:
 * the record is not used, so that its device is bounced.
 *
 * State (ring index, incarnation and last interrupt sequence delivered, the
 * class's own, for input the held keys) changes with every publication and
 * must agree with the guest's page, which is other memory. There are two
 * copies, written in turn. A publication is
 *     1. entries are put into the ring, behind in_prod: nobody sees them
 *     2. far_journal_note(): the older copy is overwritten with the state as
 *        it will be, its `ring` being the in_prod that step 3 publishes
 *     3. in_prod is written to the page
 *     4. the guest is notified, the device gets its ack
 * A successor reads in_prod from the page and takes the copy whose `ring` is
 * equal to it:
 *     killed before 2 is over   that copy's stamp is 0 or its check is wrong:
 *                               the other one counts, and it is equal to the
 *                               page, for step 3 did not happen
 *     killed between 2 and 3    the page still has the old in_prod: the old
 *                               copy counts; the events were not delivered,
 *                               and not acked either
 *     killed after 3            the page has the new in_prod: the new copy
 *                               counts; whether or not the ack went out, the
 *                               device is told by (incarnation, received)
 * So an event is delivered if and only if the copy that counts says so: at
 * most once, in order, and nothing that was acked is lost. If both copies have
 * the same `ring` (only filtered events came between) the newer one counts. If
 * neither is equal, the page was written by somebody else (the guest), and the
 * device is bounced: nothing is ever guessed.
 * A successor that went on from the old copy forgets the new one first
 * (far_journal_resume()): it could be killed in its own first publication, and
 * there must still be a copy that the page agrees with.
 * The notification (4) may be lost with the process: a successor notifies once
 * after it has adopted; a front takes that as a spurious event.
 *
 * Ops in flight: see far_journal_give().
 */
#ifndef FARSIDE_BACKEND_JOURNAL_H
#define FARSIDE_BACKEND_JOURNAL_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/error.h"
#include "core/local.h"

#define FAR_JOURNAL_MAGIC        0x4a524146u /* "FARJ" */
#define FAR_JOURNAL_VERSION      3u
#define FAR_JOURNAL_RECORD_BYTES 8192u
#define FAR_JOURNAL_OPS          64u
#define FAR_JOURNAL_REFS         16u
#define FAR_JOURNAL_PORTS        8u
#define FAR_JOURNAL_MODE_BYTES   64u
#define FAR_JOURNAL_OWN_BYTES    184u

/* One of the two copies. stamp and check are the journal's. */
struct far_journal_state {
    uint64_t stamp; /* 0: being written */
    uint64_t incarnation;
    uint64_t received; /* last interrupt sequence that the guest has */
    uint32_t ring;     /* private ring index: what in_prod becomes */
    uint32_t reserved;
    uint8_t own[FAR_JOURNAL_OWN_BYTES]; /* the class's */
    uint64_t check;
};

struct far_journal_op {
    uint64_t sequence; /* the last one given in this slot; never goes back */
    uint64_t order;    /* among all of the record; written with the op */
    uint64_t check;
    _Atomic uint64_t busy; /* written last when given, first when completed */
    struct far_op op;
};

struct far_journal_record {
    _Atomic uint64_t used; /* FAR_JOURNAL_USED or not */
    uint64_t check;        /* over the fixed part: from here to `state` */

    char kind[16]; /* "vinput" */
    uint32_t domid;
    uint32_t devid;
    struct far_local_who who;
    uint32_t connected; /* the nodes below are in use */
    uint32_t refs_count, ports_count;
    uint32_t reserved;
    uint32_t refs[FAR_JOURNAL_REFS];
    uint32_t ports[FAR_JOURNAL_PORTS];    /* the front's */
    uint8_t mode[FAR_JOURNAL_MODE_BYTES]; /* what was negotiated: the class's */

    struct far_journal_state state[2];

    uint64_t order; /* of the last op given */
    struct far_journal_op ops[FAR_JOURNAL_OPS];
};
#define FAR_JOURNAL_USED 0x64726f6365726166u
static_assert(sizeof(struct far_journal_record) <= FAR_JOURNAL_RECORD_BYTES,
              "a record has its place in the file");

struct far_journal;

/* Opens path or makes it. A file of another version, or a damaged one, is
 * begun anew: *anew then says why (for the log), NULL otherwise; all devices
 * that are connected will be bounced. NULL with error. One process only: the
 * caller holds its lock. */
struct far_journal *far_journal_open(const char *path, const char **anew,
                                     struct far_error *error);
/* Unmaps; the file stays, for the successor. NULL is fine. */
void far_journal_close(struct far_journal *journal);

/* Never 0, never the same again in this journal. */
uint64_t far_journal_attachment(struct far_journal *journal);

/* The sound record of this device, or NULL. */
struct far_journal_record *far_journal_find(struct far_journal *journal,
                                            const char *kind, unsigned domid,
                                            unsigned devid);
/* A free one, zeroed and being edited; NULL and errno if the file can't grow.
 * Pointers stay valid until close. */
struct far_journal_record *far_journal_take(struct far_journal *journal);
/* Gives it back; NULL is fine. */
void far_journal_drop(struct far_journal *journal,
                      struct far_journal_record *record);
/* Gives back every record for which keep() says no: damaged ones are gone
 * already. Number of them. */
unsigned far_journal_sweep(struct far_journal *journal,
                           bool (*keep)(const struct far_journal_record *record,
                                        void *arg),
                           void *arg);

/* Around every change of the fixed part. */
void far_journal_edit(struct far_journal_record *record);
void far_journal_seal(struct far_journal_record *record);
/* A change of that alone: the guest's port is connected; and is not any more,
 * nor holds anything of the guest's. The second one does nothing if there is no
 * record, or it says so already. */
void far_journal_connected(struct far_journal_record *record);
void far_journal_disconnected(struct far_journal_record *record);

/* Step 2 above. state->stamp and check are ignored. */
void far_journal_note(struct far_journal_record *record,
                      const struct far_journal_state *state);
/* For a successor: the newest sound copy whose ring is `ring`; 0, or -ENOENT:
 * bounce. A newer one, which was noted and never published, is forgotten, so
 * that the next note goes over it and not over the one that counts. */
int far_journal_resume(struct far_journal_record *record, uint32_t ring,
                       struct far_journal_state *state);
/* The newest sound copy, whatever its ring; 0 or -ENOENT. For what does not
 * depend on the page: which interrupts a guest had before it restarted. */
int far_journal_last(const struct far_journal_record *record,
                     struct far_journal_state *state);

/* The annex: memory of a class's own beside a record, in a file of its own that
 * goes when the record is dropped. make: a new one, zeroed, that belongs to
 * the record's attachment (who.attachment is set) and version; else the one
 * that was made so, with as many bytes. NULL and errno: ESTALE if there is none
 * like that. It stays mapped until far_journal_annex_close(). */
void *far_journal_annex(struct far_journal *journal,
                        const struct far_journal_record *record,
                        uint32_t version, size_t bytes, bool make);
/* The record's attachment has got another name: the annex goes on with it. */
void far_journal_annex_renew(void *annex,
                             const struct far_journal_record *record);
void far_journal_annex_close(void *annex, size_t bytes); /* NULL is fine */

/* Another file beside a record, which goes with it: a descriptor that is the
 * caller's. make: a new, empty one. -ESTALE: there is none. */
int far_journal_file(struct far_journal *journal,
                     const struct far_journal_record *record, bool make);

/* Ops in flight. give: before an op goes to its device, a private copy is kept;
 * slot and sequence are given here and written into op (a guest's ring is no
 * record: an answer overwrites a request that is still open). complete: just
 * before the answer is put into the guest's ring; the op is never repeated from
 * then on. recover: a successor gets each op in flight, in the order in which
 * they were given. give returns -ENOSPC when all slots are busy
 * (back-pressure); complete -ENOENT if that op is not in flight (a repeat, or
 * an older sequence); recover the number of ops, or -EILSEQ if one is damaged:
 * then the device is bounced, and none was reported.
 * Killed inside give: the op is in flight or not, and was not sent. Killed
 * inside complete: it is repeated or not, and was not answered. */
int far_journal_give(struct far_journal_record *record, struct far_op *op);
int far_journal_complete(struct far_journal_record *record, uint32_t slot,
                         uint64_t sequence);
int far_journal_recover(const struct far_journal_record *record,
                        void (*each)(const struct far_op *op, void *arg),
                        void *arg);
unsigned far_journal_in_flight(const struct far_journal_record *record);

#endif
