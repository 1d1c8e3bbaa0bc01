/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The journal: what a successor finds after a kill at any instant, what a
 * damaged or foreign file means, and ops in flight.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "backend/journal.h"
#include "tests/core/suite.h"

static char path[64];

static struct far_journal *reopen(const char **anew)
{
    struct far_error error = { 0 };
    const char *why;
    struct far_journal *journal =
        far_journal_open(path, anew ? anew : &why, &error);

    ck_assert_msg(journal != NULL, "%s", error.text);
    return journal;
}

/* In a child that is to be killed: an assertion, even one that holds, writes to
 * a file that the child shares with the test, and a kill would leave half a
 * message there. */
static struct far_journal *take_up(void)
{
    struct far_error error = { 0 };
    const char *why;
    struct far_journal *journal = far_journal_open(path, &why, &error);

    if (!journal)
        _exit(3);
    return journal;
}

static struct far_journal *fresh(void)
{
    snprintf(path, sizeof(path), "/tmp/farside-test-journal-%d", (int)getpid());
    unlink(path);
    return reopen(NULL);
}

static struct far_journal_record *make(struct far_journal *journal,
                                       unsigned domid, unsigned devid)
{
    struct far_journal_record *record = far_journal_take(journal);

    ck_assert_ptr_nonnull(record);
    snprintf(record->kind, sizeof(record->kind), "vinput");
    record->domid = domid;
    record->devid = devid;
    record->who.attachment = far_journal_attachment(journal);
    snprintf(record->who.device, sizeof(record->who.device), "kbd0");
    record->connected = 1;
    record->refs[0] = 8;
    record->refs_count = 1;
    far_journal_seal(record);
    return record;
}

static void note(struct far_journal_record *record, uint32_t ring,
                 uint64_t received, uint8_t fill)
{
    struct far_journal_state s = { .incarnation = 77,
                                   .received = received,
                                   .ring = ring };

    memset(s.own, fill, sizeof(s.own));
    far_journal_note(record, &s);
}

static void done(struct far_journal *journal)
{
    far_journal_close(journal);
    unlink(path);
}

START_TEST(a_record_is_found_by_a_successor_as_it_was)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_journal_state s;
    uint64_t attachment = record->who.attachment;

    note(record, 5, 100, 'x');
    far_journal_close(journal);
    journal = reopen(NULL);
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 3, 0));
    ck_assert_ptr_null(far_journal_find(journal, "vkbd", 3, 1));
    record = far_journal_find(journal, "vinput", 3, 1);
    ck_assert_ptr_nonnull(record);
    ck_assert(record->who.attachment == attachment);
    ck_assert_str_eq(record->who.device, "kbd0");
    ck_assert_int_eq(far_journal_resume(record, 5, &s), 0);
    ck_assert(s.received == 100 && s.incarnation == 77 && s.own[119] == 'x');
    ck_assert(far_journal_attachment(journal) != attachment);
    done(journal);
}
END_TEST

START_TEST(the_copy_that_the_page_agrees_with_counts)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_journal_state s;

    note(record, 10, 1, 'a');
    note(record, 13, 2, 'b');
    ck_assert_int_eq(far_journal_resume(record, 12, &s), -ENOENT);
    ck_assert_int_eq(far_journal_resume(record, 13, &s), 0);
    ck_assert(s.received == 2);
    ck_assert_int_eq(far_journal_resume(record, 10, &s), 0);
    ck_assert(s.received == 1);
    note(record, 14, 3, 'c');
    note(record, 15, 4, 'd');
    ck_assert_int_eq(far_journal_resume(record, 10, &s), -ENOENT);
    ck_assert_int_eq(far_journal_resume(record, 15, &s), 0);
    note(record, 15, 5, 'e'); /* nothing was put: the newer one counts */
    ck_assert_int_eq(far_journal_resume(record, 15, &s), 0);
    ck_assert(s.received == 5 && s.own[0] == 'e');
    ck_assert_int_eq(far_journal_last(record, &s), 0);
    ck_assert(s.received == 5);
    done(journal);
}
END_TEST

START_TEST(
    killed_twice_before_a_publication_the_copy_that_counts_is_still_there)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_journal_state s;

    note(record, 10, 1, 'a');
    for (int kills = 0; kills < 5; kills++) {
        note(record, 13, 2, 'b'); /* and in_prod stays 10 */
        ck_assert_int_eq(far_journal_resume(record, 10, &s), 0);
        ck_assert(s.received == 1);
    }
    done(journal);
}
END_TEST

START_TEST(a_torn_copy_does_not_count)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_journal_state s;

    note(record, 10, 1, 'a');
    note(record, 13, 2, 'b');
    for (int i = 0; i < 2; i++) {
        if (record->state[i].ring == 13)
            record->state[i].own[60] ^= 1;
    }
    ck_assert_int_eq(far_journal_resume(record, 13, &s), -ENOENT);
    ck_assert_int_eq(far_journal_resume(record, 10, &s), 0);
    ck_assert_int_eq(far_journal_last(record, &s), 0);
    ck_assert(s.ring == 10);
    done(journal);
}
END_TEST

START_TEST(a_record_without_a_copy_has_no_state)
{
    struct far_journal *journal = fresh();
    struct far_journal_state s;

    ck_assert_int_eq(far_journal_resume(make(journal, 1, 1), 0, &s), -ENOENT);
    done(journal);
}
END_TEST

START_TEST(a_record_that_was_being_edited_is_not_used)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);

    far_journal_edit(record);
    record->refs[0] = 99;
    far_journal_close(journal); /* killed here */
    journal = reopen(NULL);
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 3, 1));
    done(journal);
}
END_TEST

START_TEST(a_damaged_fixed_part_is_not_used)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);

    record->who.guest_uuid[3] ^= 1;
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 3, 1));
    record->who.guest_uuid[3] ^= 1;
    ck_assert_ptr_nonnull(far_journal_find(journal, "vinput", 3, 1));
    record->refs_count = 17;
    far_journal_seal(record);
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 3, 1));
    done(journal);
}
END_TEST

static void scribble(off_t at, uint32_t value)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert(pwrite(fd, &value, sizeof(value), at) == sizeof(value));
    close(fd);
}

START_TEST(another_version_is_begun_anew_and_says_so)
{
    const char *anew = NULL;
    struct far_journal *journal = fresh();

    make(journal, 3, 1);
    far_journal_close(journal);
    scribble(4, FAR_JOURNAL_VERSION + 1);
    journal = reopen(&anew);
    ck_assert_ptr_nonnull(anew);
    ck_assert_ptr_nonnull(strstr(anew, "version"));
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 3, 1));
    far_journal_close(journal);
    journal = reopen(&anew);
    ck_assert_ptr_null(anew);
    done(journal);
}
END_TEST

START_TEST(a_foreign_or_cut_file_is_begun_anew)
{
    const char *anew = NULL;
    struct far_journal *journal = fresh();

    make(journal, 3, 1);
    far_journal_close(journal);
    scribble(0, 0x12345678);
    far_journal_close(reopen(&anew));
    ck_assert_ptr_nonnull(strstr(anew, "no journal"));

    journal = reopen(&anew);
    ck_assert_ptr_null(anew);
    make(journal, 3, 1);
    far_journal_close(journal);
    ck_assert_int_eq(truncate(path, 5000), 0);
    far_journal_close(reopen(&anew));
    ck_assert_ptr_nonnull(strstr(anew, "size"));

    ck_assert_int_eq(truncate(path, 100), 0);
    journal = reopen(&anew);
    ck_assert_ptr_nonnull(strstr(anew, "short"));
    done(journal);
}
END_TEST

START_TEST(a_journal_that_cannot_be_made_says_why)
{
    struct far_error error = { 0 };
    const char *anew;

    ck_assert_ptr_null(
        far_journal_open("/nowhere/at/all/journal", &anew, &error));
    ck_assert_int_eq(error.code, -ENOENT);
    ck_assert_ptr_nonnull(strstr(error.text, "/nowhere"));
}
END_TEST

/* In a folder in memory of that size, of a child's own: a journal, as many
 * records as a chunk has, an annex, all of them written to. The child's exit
 * status: how far it came before it was told that there is no room. */
enum { NO_JOURNAL = 10, NO_RECORD, NO_ANNEX, ALL, NO_MOUNT };

static int fill(struct far_journal *journal)
{
    struct far_journal_record *record = NULL;
    void *annex;

    for (unsigned i = 0; i < 100; i++) {
        record = far_journal_take(journal);
        if (!record)
            return errno == ENOSPC ? NO_RECORD : 2;
        record->domid = i;
        far_journal_seal(record);
    }
    annex = far_journal_annex(journal, record, 1, 1 << 20, true);
    if (!annex)
        return errno == ENOSPC ? NO_ANNEX : 3;
    memset(annex, 0xff, 1 << 20);
    return ALL;
}

static int fill_folder(unsigned kib)
{
    struct far_journal *journal;
    struct far_error error = { 0 };
    const char *why;
    char options[32];
    int came;

    snprintf(options, sizeof(options), "size=%uk", kib);
    if ((unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS)) ||
        mount("none", "/", "none", MS_REC | MS_PRIVATE, "") ||
        mount("none", "/tmp", "tmpfs", 0, options))
        return NO_MOUNT;
    journal = far_journal_open("/tmp/journal", &why, &error);
    if (!journal)
        return error.code == -ENOSPC ? NO_JOURNAL : 1;
    came = fill(journal);
    far_journal_close(journal);
    return came;
}

START_TEST(a_folder_that_is_full_is_an_error_and_no_signal)
{
    bool came[NO_MOUNT + 1] = { 0 };

    for (unsigned kib = 4; kib <= 65536; kib += kib / 4 + 4) {
        int status;
        pid_t pid = fork();

        if (!pid)
            _exit(fill_folder(kib));
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFEXITED(status), "%u KiB: signal %d", kib,
                      WTERMSIG(status));
        ck_assert_msg(WEXITSTATUS(status) >= NO_JOURNAL &&
                          WEXITSTATUS(status) <= NO_MOUNT,
                      "%u KiB: another error (%d)", kib, WEXITSTATUS(status));
        came[WEXITSTATUS(status)] = true;
    }
    /* a machine that lets nobody mount: nothing is said */
    ck_assert(came[NO_MOUNT] ||
              (came[NO_RECORD] && came[NO_ANNEX] && came[ALL]));
}
END_TEST

static bool keep_odd(const struct far_journal_record *record, void *arg)
{
    (void)arg;
    return record->domid & 1;
}

START_TEST(records_do_not_move_when_the_file_grows_and_are_swept)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *all[300];

    for (unsigned i = 0; i < 300; i++)
        all[i] = make(journal, i, 0);
    for (unsigned i = 0; i < 300; i++)
        ck_assert(far_journal_find(journal, "vinput", i, 0) == all[i]);
    ck_assert_uint_eq(far_journal_sweep(journal, keep_odd, NULL), 150);
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 2, 0));
    ck_assert(far_journal_find(journal, "vinput", 299, 0) == all[299]);
    far_journal_drop(journal, all[299]);
    ck_assert_ptr_null(far_journal_find(journal, "vinput", 299, 0));
    far_journal_drop(journal, NULL);
    done(journal);
}
END_TEST

START_TEST(a_record_that_is_taken_is_empty)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_journal_state s;
    struct far_op op = { .opcode = 7 };

    note(record, 1, 2, 3);
    ck_assert_int_eq(far_journal_give(record, &op), 0);
    far_journal_drop(journal, record);
    record = far_journal_take(journal);
    ck_assert_int_eq(far_journal_last(record, &s), -ENOENT);
    ck_assert_uint_eq(far_journal_in_flight(record), 0);
    ck_assert_uint_eq(record->domid, 0);
    ck_assert(far_journal_take(journal) != record);
    done(journal);
}
END_TEST

/* --- ops -------------------------------------------------------------------*/

struct seen {
    unsigned count;
    struct far_op ops[FAR_JOURNAL_OPS];
};

static void see(const struct far_op *op, void *arg)
{
    struct seen *seen = arg;

    ck_assert_uint_lt(seen->count, FAR_JOURNAL_OPS);
    seen->ops[seen->count++] = *op;
}

START_TEST(ops_in_flight_are_recovered_in_the_order_in_which_they_were_given)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_op op[6];
    struct seen seen = { 0 };

    for (unsigned i = 0; i < 5; i++) {
        op[i] = (struct far_op){ .opcode = (uint16_t)(100 + i) };
        ck_assert_int_eq(far_journal_give(record, &op[i]), 0);
    }
    ck_assert_int_eq(far_journal_complete(record, op[1].slot, op[1].sequence),
                     0);
    op[5] = (struct far_op){ .opcode = 105 }; /* into the slot of op 1 */
    ck_assert_int_eq(far_journal_give(record, &op[5]), 0);
    ck_assert_uint_eq(op[5].slot, op[1].slot);
    ck_assert(op[5].sequence > op[1].sequence);
    ck_assert_int_eq(far_journal_complete(record, op[3].slot, op[3].sequence),
                     0);

    far_journal_close(journal);
    journal = reopen(NULL);
    record = far_journal_find(journal, "vinput", 3, 1);
    ck_assert_uint_eq(far_journal_in_flight(record), 4);
    ck_assert_int_eq(far_journal_recover(record, see, &seen), 4);
    ck_assert_uint_eq(seen.ops[0].opcode, 100);
    ck_assert_uint_eq(seen.ops[1].opcode, 102);
    ck_assert_uint_eq(seen.ops[2].opcode, 104);
    ck_assert_uint_eq(seen.ops[3].opcode, 105);
    done(journal);
}
END_TEST

START_TEST(a_second_completion_or_an_older_sequence_is_refused)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_op a = { .opcode = 1 }, b = { .opcode = 2 };

    ck_assert_int_eq(far_journal_give(record, &a), 0);
    ck_assert_int_eq(far_journal_complete(record, a.slot, a.sequence), 0);
    ck_assert_int_eq(far_journal_complete(record, a.slot, a.sequence), -ENOENT);
    ck_assert_int_eq(far_journal_give(record, &b), 0);
    ck_assert_uint_eq(b.slot, a.slot);
    ck_assert_int_eq(far_journal_complete(record, a.slot, a.sequence), -ENOENT);
    ck_assert_int_eq(far_journal_complete(record, 9999, 1), -ENOENT);
    ck_assert_int_eq(far_journal_complete(record, b.slot, b.sequence), 0);
    done(journal);
}
END_TEST

START_TEST(full_slots_are_back_pressure)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_op op = { .opcode = 1 };

    for (unsigned i = 0; i < FAR_JOURNAL_OPS; i++)
        ck_assert_int_eq(far_journal_give(record, &op), 0);
    ck_assert_int_eq(far_journal_give(record, &op), -ENOSPC);
    ck_assert_int_eq(far_journal_complete(record, 5, 1), 0);
    ck_assert_int_eq(far_journal_give(record, &op), 0);
    ck_assert_uint_eq(op.slot, 5);
    ck_assert(op.sequence == 2);
    done(journal);
}
END_TEST

START_TEST(a_damaged_op_is_not_repeated_and_nor_is_any_other)
{
    struct far_journal *journal = fresh();
    struct far_journal_record *record = make(journal, 3, 1);
    struct far_op op = { .opcode = 1 };
    struct seen seen = { 0 };

    ck_assert_int_eq(far_journal_give(record, &op), 0);
    ck_assert_int_eq(far_journal_give(record, &op), 0);
    record->ops[1].op.args[3] ^= 1;
    ck_assert_int_eq(far_journal_recover(record, see, &seen), -EILSEQ);
    ck_assert_uint_eq(seen.count, 0);
    done(journal);
}
END_TEST

/* --- kill -9 -----------------------------------------------------------------
 */

struct shared {
    volatile uint32_t in_prod; /* the guest's page */
    volatile uint64_t acked;
    volatile uint32_t ring[51]; /* which event stands in each entry */
};

/* A backend that delivers event after event as port-input.c does, in batches,
 * until it is killed. Event n goes into entry n; its sequence is n + 1. */
static void deliver(struct far_journal_record *record, struct shared *page,
                    uint32_t mine)
{
    for (uint32_t n = mine;;) {
        uint32_t batch = n % 7 + 1;

        for (uint32_t i = 0; i < batch; i++, n++)
            page->ring[n % 51] = n;
        note(record, n, n, (uint8_t)n);
        page->in_prod = n;
        page->acked = n;
    }
}

START_TEST(killed_at_any_instant_a_successor_goes_on_where_the_guest_is)
{
    struct far_journal *journal = fresh();
    struct shared *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct far_journal_state s;
    uint32_t mine = 0, killed_behind = 0;

    make(journal, 3, 1);
    note(far_journal_find(journal, "vinput", 3, 1), 0, 0, 0);
    /* until it did run: a busy machine, or valgrind, gets less done in a nap */
    for (int round = 0; round < 300 || (mine <= 1000 && round < 6000);
         round++) {
        struct far_journal_record *record;
        struct timespec nap = { 0, 20000 + round * 997 % 400000 +
                                       round / 300 * 1000000 };
        pid_t pid;

        far_journal_close(journal);
        pid = fork();
        if (!pid) {
            journal = take_up();
            deliver(far_journal_find(journal, "vinput", 3, 1), page, mine);
        }
        nanosleep(&nap, NULL);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

        journal = reopen(NULL);
        record = far_journal_find(journal, "vinput", 3, 1);
        ck_assert_ptr_nonnull(record);
        ck_assert_msg(!far_journal_resume(record, page->in_prod, &s),
                      "round %d: in_prod %u is in no copy (%u, %u)", round,
                      page->in_prod, record->state[0].ring,
                      record->state[1].ring);
        /* exactly what is published is received, and all that was acked is */
        ck_assert(s.received == page->in_prod);
        ck_assert(page->acked <= s.received);
        ck_assert_uint_eq(s.own[0], (uint8_t)page->in_prod);
        killed_behind += page->acked < s.received;
        mine = page->in_prod;
    }
    ck_assert_uint_gt(mine, 1000);
    (void)killed_behind;
    munmap(page, sizeof(*page));
    done(journal);
}
END_TEST

START_TEST(killed_while_ops_come_and_go_none_is_lost_or_repeated_when_answered)
{
    struct far_journal *journal = fresh();
    /* answered[n]: the op with that number was answered */
    volatile uint8_t *answered = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint32_t first = 0;

    make(journal, 3, 1);
    for (int round = 0; round < 100; round++) {
        struct timespec nap = { 0, 20000 + round * 997 % 300000 };
        struct far_journal_record *record;
        struct seen seen = { 0 };
        pid_t pid;
        int n;

        far_journal_close(journal);
        pid = fork();
        if (!pid) {
            struct far_op op[4];

            journal = take_up();
            record = far_journal_find(journal, "vinput", 3, 1);
            /* as far as there is room in answered[] */
            for (uint32_t i = first; i - first < 1u << 20; i += 4) {
                for (uint32_t k = 0; k < 4; k++) {
                    op[k] = (struct far_op){ .payload_bytes = i + k };
                    if (far_journal_give(record, &op[k]))
                        _exit(1);
                }
                for (uint32_t k = 4; k--;) {
                    if (far_journal_complete(record, op[k].slot,
                                             op[k].sequence))
                        _exit(2);
                    answered[(i + k) & 0xfffff] = 1;
                }
            }
            for (;;)
                pause();
        }
        nanosleep(&nap, NULL);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        journal = reopen(NULL);
        record = far_journal_find(journal, "vinput", 3, 1);
        n = far_journal_recover(record, see, &seen);
        ck_assert_int_ge(n, 0);
        ck_assert_int_le(n, 4);
        for (int i = 0; i < n; i++) {
            ck_assert(!answered[seen.ops[i].payload_bytes & 0xfffff]);
            ck_assert(!i || seen.ops[i].payload_bytes ==
                                seen.ops[i - 1].payload_bytes + 1);
            ck_assert_int_eq(far_journal_complete(record, seen.ops[i].slot,
                                                  seen.ops[i].sequence),
                             0);
        }
        for (uint32_t i = 0; i < 1 << 20; i++)
            answered[i] = 0;
        first += 1 << 16;
    }
    munmap((void *)(uintptr_t)answered, 1 << 20);
    done(journal);
}
END_TEST

SUITE_MAIN(
    "journal", a_record_is_found_by_a_successor_as_it_was,
    the_copy_that_the_page_agrees_with_counts,
    killed_twice_before_a_publication_the_copy_that_counts_is_still_there,
    a_torn_copy_does_not_count, a_record_without_a_copy_has_no_state,
    a_record_that_was_being_edited_is_not_used,
    a_damaged_fixed_part_is_not_used, another_version_is_begun_anew_and_says_so,
    a_foreign_or_cut_file_is_begun_anew, a_journal_that_cannot_be_made_says_why,
    a_folder_that_is_full_is_an_error_and_no_signal,
    records_do_not_move_when_the_file_grows_and_are_swept,
    a_record_that_is_taken_is_empty,
    ops_in_flight_are_recovered_in_the_order_in_which_they_were_given,
    a_second_completion_or_an_older_sequence_is_refused,
    full_slots_are_back_pressure,
    a_damaged_op_is_not_repeated_and_nor_is_any_other,
    killed_at_any_instant_a_successor_goes_on_where_the_guest_is,
    killed_while_ops_come_and_go_none_is_lost_or_repeated_when_answered)
