/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The ring between two processes: order, wake-ups, and what a hostile peer can
 * do to it.
 */
#include "core/shring.h"
#include "tests/core/suite.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 8u

static void *memory;
static struct far_shring producer, consumer;

static void begin(uint32_t entries)
{
    size_t bytes = far_shring_bytes(entries);

    memory = aligned_alloc(64, bytes);
    ck_assert_ptr_nonnull(memory);
    memset(memory, 0, bytes);
    ck_assert_int_eq(far_shring_init(&producer, memory, entries), 0);
    ck_assert_int_eq(far_shring_init(&consumer, memory, entries), 0);
}

/* As if 2^32 - before entries had gone through already. */
static void begin_before_wrap(uint32_t before)
{
    begin(ENTRIES);
    atomic_store(&producer.page->produced, 0u - before);
    atomic_store(&producer.page->consumed, 0u - before);
    ck_assert_int_eq(far_shring_resume(&producer, memory, ENTRIES, false), 0);
    ck_assert_int_eq(far_shring_resume(&consumer, memory, ENTRIES, true), 0);
}

static void end(void)
{
    free(memory);
}

static int put(uint64_t sequence)
{
    struct far_op op = { .attachment = 1, .sequence = sequence };

    return far_shring_put(&producer, &op);
}

static uint64_t get(void)
{
    struct far_op op = { .sequence = 0 };

    ck_assert_int_eq(far_shring_get(&consumer, &op), 1);
    return op.sequence;
}

START_TEST(sizes_that_are_no_powers_of_two_are_refused)
{
    char bytes[8192] __attribute__((aligned(64)));

    ck_assert_uint_eq(far_shring_bytes(0), 0);
    ck_assert_uint_eq(far_shring_bytes(1), 0);
    ck_assert_uint_eq(far_shring_bytes(3), 0);
    ck_assert_uint_eq(far_shring_bytes(8192), 0);
    ck_assert_uint_eq(far_shring_bytes(0x80000000u), 0);
    ck_assert_uint_eq(far_shring_bytes(64), 192 + 64 * 64);
    ck_assert_int_eq(far_shring_init(&producer, bytes, 3), -EINVAL);
    ck_assert_int_eq(far_shring_init(&producer, bytes + 8, 4), -EINVAL);
}
END_TEST

START_TEST(what_is_put_comes_out_once_and_in_order)
{
    struct far_op op;

    begin(ENTRIES);
    for (uint64_t round = 0; round < 100; round++) {
        for (uint64_t i = 0; i < 5; i++)
            ck_assert_int_eq(put(round * 5 + i), 0);
        for (uint64_t i = 0; i < 5; i++)
            ck_assert_uint_eq(get(), round * 5 + i);
        ck_assert_int_eq(far_shring_get(&consumer, &op), 0);
    }
    end();
}
END_TEST

START_TEST(indexes_wrap_without_a_trace)
{
    begin_before_wrap(3);
    for (uint64_t i = 0; i < 20; i++) {
        ck_assert(far_shring_arm(&consumer));
        ck_assert_int_eq(put(i), 0);
        ck_assert(far_shring_wake_needed(&producer));
        ck_assert_uint_eq(get(), i);
        ck_assert(!far_shring_wake_needed(&producer));
    }
    end();
}
END_TEST

START_TEST(a_full_ring_refuses_and_asks_for_a_wake_up)
{
    begin(ENTRIES);
    (void)far_shring_room_wake_needed(&consumer);
    for (uint64_t i = 0; i < ENTRIES; i++)
        ck_assert_int_eq(put(i), 0);
    get();
    ck_assert_msg(far_shring_room_wake_needed(&consumer), "zeroed memory");
    ck_assert_int_eq(put(8), 0);
    ck_assert_int_eq(put(9), -ENOSPC);
    ck_assert_uint_eq(far_shring_room(&producer), 0);
    get();
    ck_assert(far_shring_room_wake_needed(&consumer));
    ck_assert(!far_shring_room_wake_needed(&consumer));
    get();
    ck_assert_msg(!far_shring_room_wake_needed(&consumer), "asked only once");
    ck_assert_uint_eq(far_shring_room(&producer), 2);
    end();
}
END_TEST

START_TEST(a_sleeping_consumer_is_woken_once)
{
    begin(ENTRIES);
    ck_assert(far_shring_arm(&consumer));
    ck_assert_msg(!far_shring_wake_needed(&producer), "nothing was put");
    put(1);
    put(2);
    ck_assert(far_shring_wake_needed(&producer));
    ck_assert(!far_shring_wake_needed(&producer));
    put(3);
    ck_assert_msg(!far_shring_wake_needed(&producer), "it was woken already");
    ck_assert_msg(!far_shring_arm(&consumer), "there is something");
    get(), get(), get();
    ck_assert(far_shring_arm(&consumer));
    put(4);
    ck_assert(far_shring_wake_needed(&producer));
    end();
}
END_TEST

START_TEST(a_disarmed_consumer_is_not_woken)
{
    begin(ENTRIES);
    ck_assert(far_shring_arm(&consumer));
    far_shring_disarm(&consumer);
    put(1);
    ck_assert(!far_shring_wake_needed(&producer));
    get();
    put(2);
    ck_assert(!far_shring_wake_needed(&producer));
    end();
}
END_TEST

START_TEST(a_producer_index_too_far_ahead_breaks_the_ring_for_good)
{
    struct far_op op;

    begin(ENTRIES);
    put(1);
    atomic_store(&producer.page->produced, ENTRIES + 1);
    ck_assert_int_eq(far_shring_get(&consumer, &op), -EPROTO);
    atomic_store(&producer.page->produced, 1);
    ck_assert_int_eq(far_shring_get(&consumer, &op), -EPROTO);
    ck_assert_msg(far_shring_arm(&consumer), "it may sleep for ever");
    end();
}
END_TEST

START_TEST(a_producer_index_that_goes_back_breaks_the_ring)
{
    struct far_op op;

    begin(ENTRIES);
    for (uint64_t i = 0; i < 4; i++)
        put(i);
    for (uint64_t i = 0; i < 4; i++)
        get();
    atomic_store(&producer.page->produced, 3);
    ck_assert_int_eq(far_shring_get(&consumer, &op), -EPROTO);
    end();
}
END_TEST

START_TEST(a_consumer_index_ahead_of_the_producer_breaks_the_ring)
{
    begin(ENTRIES);
    for (uint64_t i = 0; i < ENTRIES; i++)
        put(i);
    atomic_store(&producer.page->consumed, ENTRIES + 1);
    ck_assert_int_eq(put(9), -EPROTO);
    atomic_store(&producer.page->consumed, ENTRIES);
    ck_assert_int_eq(put(9), -EPROTO);
    ck_assert_uint_eq(far_shring_room(&producer), 0);
    ck_assert(!far_shring_wake_needed(&producer));
    end();
}
END_TEST

START_TEST(a_consumer_index_that_goes_back_breaks_the_ring)
{
    begin(ENTRIES);
    for (uint64_t i = 0; i < 6; i++)
        put(i);
    for (uint64_t i = 0; i < 6; i++)
        get();
    ck_assert_uint_eq(far_shring_room(&producer), ENTRIES);
    atomic_store(&producer.page->consumed, 5);
    ck_assert_uint_eq(far_shring_room(&producer), 0);
    ck_assert_int_eq(put(9), -EPROTO);
    end();
}
END_TEST

START_TEST(own_indexes_are_never_read_from_shared_memory)
{
    begin(ENTRIES);
    put(1);
    atomic_store(&producer.page->produced, 77); /* by the other side */
    ck_assert_int_eq(put(2), 0);
    ck_assert_uint_eq(atomic_load(&producer.page->produced), 2);
    ck_assert_uint_eq(get(), 1);
    atomic_store(&producer.page->consumed, 77);
    ck_assert_uint_eq(get(), 2);
    ck_assert_uint_eq(atomic_load(&producer.page->consumed), 2);
    end();
}
END_TEST

START_TEST(a_changed_entry_does_not_change_the_copy)
{
    struct far_op op;

    begin(ENTRIES);
    put(5);
    ck_assert_int_eq(far_shring_get(&consumer, &op), 1);
    memset(producer.page->entries, 0xff, sizeof(op));
    ck_assert_uint_eq(op.sequence, 5);
    end();
}
END_TEST

START_TEST(a_successor_goes_on_where_the_dead_process_was)
{
    struct far_shring next;
    struct far_op op;

    begin(ENTRIES);
    for (uint64_t i = 0; i < 5; i++)
        put(i);
    get(), get();
    ck_assert_int_eq(far_shring_resume(&next, memory, ENTRIES, true), 0);
    ck_assert_int_eq(far_shring_get(&next, &op), 1);
    ck_assert_uint_eq(op.sequence, 2);
    ck_assert_int_eq(far_shring_resume(&next, memory, ENTRIES, false), 0);
    op.sequence = 5;
    ck_assert_int_eq(far_shring_put(&next, &op), 0);
    consumer.mine = 5;
    ck_assert_uint_eq(get(), 5);
    end();
}
END_TEST

START_TEST(a_successor_wakes_a_consumer_that_the_dead_process_forgot)
{
    struct far_shring next;

    begin(ENTRIES);
    ck_assert(far_shring_arm(&consumer));
    put(1); /* and dies before far_shring_wake_needed() */
    ck_assert_int_eq(far_shring_resume(&next, memory, ENTRIES, false), 0);
    ck_assert(far_shring_wake_needed(&next));
    end();
}
END_TEST

START_TEST(a_successor_refuses_indexes_that_contradict_each_other)
{
    struct far_shring next;
    struct far_op op = { .sequence = 1 };

    begin(ENTRIES);
    atomic_store(&producer.page->produced, 20);
    ck_assert_int_eq(far_shring_resume(&next, memory, ENTRIES, true), -EPROTO);
    ck_assert_int_eq(far_shring_put(&next, &op), -EPROTO);
    end();
}
END_TEST

START_TEST(a_peer_on_this_processor_is_not_spun_for)
{
    cpu_set_t one;
    int cpu = sched_getcpu();

    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    begin(ENTRIES);
    ck_assert(!far_shring_peer_elsewhere(&consumer, true));
    put(1);
    (void)far_shring_wake_needed(&producer); /* tells its processor */
    ck_assert(!far_shring_peer_elsewhere(&consumer, true));
    atomic_store(&producer.page->producer_cpu, (uint32_t)cpu + 2);
    ck_assert(far_shring_peer_elsewhere(&consumer, true));
    far_shring_producer_sleeps(&producer);
    ck_assert(!far_shring_peer_elsewhere(&consumer, true));
    far_shring_disarm(&consumer);
    ck_assert(!far_shring_peer_elsewhere(&producer, false));
    atomic_store(&producer.page->consumer_cpu, (uint32_t)cpu + 2);
    ck_assert(far_shring_peer_elsewhere(&producer, false));
    (void)far_shring_arm(&consumer);
    ck_assert(!far_shring_peer_elsewhere(&producer, false));
    end();
}
END_TEST

/* Two threads, each of which sleeps (on a semaphore of a flag and a yield)
 * only when the ring's protocol says that it may: a lost wake-up hangs. */
#define HAMMER 300000u

static atomic_bool wake_consumer, wake_producer;

static void sleep_until(atomic_bool *flag)
{
    while (!atomic_exchange(flag, false))
        sched_yield();
}

static void *hammer_producer(void *arg)
{
    unsigned seed = 1;

    for (uint64_t i = 1; i <= HAMMER;) {
        int batch = rand_r(&seed) % 12 + 1, rc = 0;

        while (batch-- > 0 && i <= HAMMER && (rc = put(i)) == 0)
            i++;
        if (far_shring_wake_needed(&producer))
            atomic_store(&wake_consumer, true);
        if (rc == -ENOSPC)
            sleep_until(&wake_producer);
        else if (rc < 0)
            return NULL;
    }
    return arg;
}

START_TEST(no_wake_up_and_no_op_is_lost_between_two_threads)
{
    pthread_t thread;
    uint64_t want = 1;
    void *done;

    begin(ENTRIES);
    ck_assert_int_eq(pthread_create(&thread, NULL, hammer_producer, memory), 0);
    while (want <= HAMMER) {
        struct far_op op;
        int rc = far_shring_get(&consumer, &op);

        ck_assert_int_ge(rc, 0);
        if (rc == 1) {
            ck_assert_uint_eq(op.sequence, want);
            want++;
            continue;
        }
        if (far_shring_room_wake_needed(&consumer))
            atomic_store(&wake_producer, true);
        if (far_shring_arm(&consumer))
            sleep_until(&wake_consumer);
        far_shring_disarm(&consumer);
    }
    if (far_shring_room_wake_needed(&consumer))
        atomic_store(&wake_producer, true);
    pthread_join(thread, &done);
    ck_assert_ptr_eq(done, memory);
    end();
}
END_TEST

SUITE_MAIN("shring", sizes_that_are_no_powers_of_two_are_refused,
           what_is_put_comes_out_once_and_in_order,
           indexes_wrap_without_a_trace,
           a_full_ring_refuses_and_asks_for_a_wake_up,
           a_sleeping_consumer_is_woken_once, a_disarmed_consumer_is_not_woken,
           a_producer_index_too_far_ahead_breaks_the_ring_for_good,
           a_producer_index_that_goes_back_breaks_the_ring,
           a_consumer_index_ahead_of_the_producer_breaks_the_ring,
           a_consumer_index_that_goes_back_breaks_the_ring,
           own_indexes_are_never_read_from_shared_memory,
           a_changed_entry_does_not_change_the_copy,
           a_successor_goes_on_where_the_dead_process_was,
           a_successor_wakes_a_consumer_that_the_dead_process_forgot,
           a_successor_refuses_indexes_that_contradict_each_other,
           a_peer_on_this_processor_is_not_spun_for,
           no_wake_up_and_no_op_is_lost_between_two_threads)
