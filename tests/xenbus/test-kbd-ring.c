/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * kbdif's ring against a peer that writes what it likes, and across the wrap of
 * its indexes. Memory only.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "xenbus/kbd-ring.h"
#include "tests/core/suite.h"

static _Alignas(4096) uint8_t memory[4096];
static struct xenkbd_page *page = (struct xenkbd_page *)(void *)memory;
static struct far_kbd_ring back, front;

static void fresh(uint32_t index, bool polls)
{
    memset(memory, 0, sizeof(memory));
    page->in_cons = page->in_prod = index;
    far_kbd_back_init(&back, memory, far_kbd_page_start(memory), polls);
    far_kbd_front_init(&front, memory, polls);
}

static void put(uint32_t keycode)
{
    union xenkbd_in_event e = { 0 };

    e.key.type = XENKBD_TYPE_KEY;
    e.key.pressed = 1;
    e.key.keycode = keycode;
    far_kbd_back_put(&back, &e);
}

static uint32_t get(void)
{
    union xenkbd_in_event e;

    ck_assert_int_eq(far_kbd_front_get(&front, &e), 1);
    ck_assert_uint_eq(e.type, XENKBD_TYPE_KEY);
    return e.key.keycode;
}

START_TEST(events_are_seen_only_when_published_and_in_order)
{
    union xenkbd_in_event e;

    fresh(0, false);
    ck_assert_int_eq(far_kbd_back_room(&back), 51);
    put(30);
    put(31);
    ck_assert_int_eq(far_kbd_front_get(&front, &e), 0);
    ck_assert(far_kbd_back_publish(&back));
    ck_assert(!far_kbd_back_publish(&back)); /* nothing new: no event */
    ck_assert_uint_eq(get(), 30);
    ck_assert_uint_eq(get(), 31);
    ck_assert_int_eq(far_kbd_front_get(&front, &e), 0);
    ck_assert_int_eq(far_kbd_back_room(&back), 49); /* not told yet */
    ck_assert(!far_kbd_back_moved(&back));
    ck_assert(far_kbd_front_publish(&front));
    ck_assert(far_kbd_back_moved(&back));
    ck_assert_int_eq(far_kbd_back_room(&back), 51);
    ck_assert(!far_kbd_front_publish(&front));
}
END_TEST

START_TEST(a_ring_whose_front_never_moves_is_full_and_not_broken)
{
    fresh(0, false);
    for (int i = 0; i < 51; i++) {
        ck_assert_int_eq(far_kbd_back_room(&back), 51 - i);
        put(1 + (uint32_t)i);
    }
    ck_assert_int_eq(far_kbd_back_room(&back), 0);
    far_kbd_back_publish(&back);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(far_kbd_back_room(&back), 0);
    for (uint32_t i = 0; i < 51; i++)
        ck_assert_uint_eq(get(), i + 1);
}
END_TEST

START_TEST(an_in_cons_ahead_of_us_breaks_the_ring_for_good)
{
    fresh(0, false);
    put(1);
    far_kbd_back_publish(&back);
    page->in_cons = 2;
    ck_assert_int_eq(far_kbd_back_room(&back), -EPROTO);
    page->in_cons = 0;
    ck_assert_int_eq(far_kbd_back_room(&back), -EPROTO);
}
END_TEST

START_TEST(an_in_cons_that_claims_what_was_not_published_breaks_the_ring)
{
    fresh(0, false);
    put(1);
    page->in_cons = 1;
    ck_assert_int_eq(far_kbd_back_room(&back), -EPROTO);
}
END_TEST

START_TEST(an_in_cons_that_goes_back_breaks_the_ring)
{
    fresh(100, false);
    put(1);
    put(2);
    far_kbd_back_publish(&back);
    page->in_cons = 102;
    ck_assert_int_eq(far_kbd_back_room(&back), 51);
    page->in_cons = 101;
    ck_assert_int_eq(far_kbd_back_room(&back), -EPROTO);
}
END_TEST

START_TEST(an_in_cons_half_the_range_away_breaks_the_ring)
{
    fresh(7, false);
    page->in_cons = 7 + 0x80000000u;
    ck_assert_int_eq(far_kbd_back_room(&back), -EPROTO);
}
END_TEST

START_TEST(an_adopted_ring_may_be_full_but_no_fuller)
{
    fresh(0, false);
    for (uint32_t behind = 0; behind <= 51; behind++) {
        page->in_cons = 1000 - behind;
        far_kbd_back_init(&back, memory, 1000, false);
        ck_assert_int_eq(far_kbd_back_room(&back), 51 - (int)behind);
    }
    page->in_cons = 1000 - 52;
    far_kbd_back_init(&back, memory, 1000, false);
    ck_assert_int_eq(far_kbd_back_room(&back), -EPROTO);
}
END_TEST

START_TEST(a_backend_that_comes_again_goes_on_where_the_front_is)
{
    fresh(33, false);
    put(5);
    far_kbd_back_publish(&back);
    ck_assert_uint_eq(get(), 5);
    far_kbd_front_publish(&front);
    /* A successor that knows nothing of the page. */
    far_kbd_back_init(&back, memory, far_kbd_page_start(memory), false);
    ck_assert_int_eq(far_kbd_back_room(&back), 51);
    put(6);
    far_kbd_back_publish(&back);
    ck_assert_uint_eq(get(), 6);
}
END_TEST

/* Random amounts are put and taken across the wrap; each must come out once, in
 * order, and none may be overwritten. Slots 2^32-1 and 0 are the same one. */
START_TEST(no_event_is_lost_where_the_indexes_wrap)
{
    unsigned seed = (unsigned)_i;
    uint32_t put_next = 1, get_next = 1;

    fresh(0u - 120, false);
    while (front.mine - (0u - 120) < 400) {
        int room = far_kbd_back_room(&back);
        int n;

        ck_assert_int_ge(room, 0);
        ck_assert_int_le(room, 51);
        n = room ? rand_r(&seed) % (room + 1) : 0;
        while (n--)
            put(put_next++);
        far_kbd_back_publish(&back);
        for (n = rand_r(&seed) % 53; n && get_next < put_next; n--)
            ck_assert_uint_eq(get(), get_next++);
        far_kbd_front_publish(&front);
    }
}
END_TEST

START_TEST(the_ring_fills_to_the_wrap_and_no_further)
{
    fresh(0u - 3, false);
    ck_assert_int_eq(far_kbd_back_room(&back), 3);
    put(1);
    put(2);
    put(3);
    ck_assert_int_eq(far_kbd_back_room(&back), 0);
    far_kbd_back_publish(&back);
    ck_assert_uint_eq(get(), 1);
    ck_assert_uint_eq(get(), 2);
    far_kbd_front_publish(&front);
    ck_assert_int_eq(far_kbd_back_room(&back), 0);
    ck_assert_uint_eq(get(), 3);
    far_kbd_front_publish(&front);
    ck_assert_int_eq(far_kbd_back_room(&back), 51);
}
END_TEST

START_TEST(a_front_refuses_an_impossible_in_prod)
{
    static const uint32_t bad[] = { 52, 1000, 0x80000000u, 0xffffffffu };
    union xenkbd_in_event e;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fresh(10, false);
        page->in_prod = 10 + bad[i];
        ck_assert_int_eq(far_kbd_front_get(&front, &e), -EPROTO);
        page->in_prod = 11;
        ck_assert_int_eq(far_kbd_front_get(&front, &e), -EPROTO);
    }
    fresh(10, false);
    page->in_prod = 10 + 51;
    ck_assert_int_eq(far_kbd_front_get(&front, &e), 1);
}
END_TEST

struct hammer {
    volatile bool stop;
    unsigned seed;
};

static void *hammer_page(void *arg)
{
    struct hammer *h = arg;

    while (!h->stop) {
        uint32_t *words = (uint32_t *)(void *)memory;

        __atomic_store_n(&words[rand_r(&h->seed) % 4],
                         (uint32_t)rand_r(&h->seed) * 2u, __ATOMIC_RELAXED);
    }
    return NULL;
}

START_TEST(indexes_that_change_all_the_time_never_lead_out_of_the_page)
{
    struct hammer h = { .seed = 1 };
    union xenkbd_in_event e;
    pthread_t thread;
    unsigned broken = 0;

    fresh(0, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, hammer_page, &h), 0);
    /* Until the other thread has had its turn, on one processor too. */
    for (int i = 0; i < 20000 || (!broken && i < 20000000); i++) {
        int room;

        far_kbd_back_init(&back, memory, far_kbd_page_start(memory), true);
        far_kbd_front_init(&front, memory, true);
        room = far_kbd_back_room(&back);
        broken += room < 0;
        ck_assert_int_le(room, 51);
        for (; room > 0; room--)
            put(1);
        far_kbd_back_publish(&back);
        for (int n = 0; n < 60 && far_kbd_front_get(&front, &e) == 1; n++)
            ck_assert_int_lt(n, 52);
        far_kbd_front_publish(&front);
    }
    h.stop = true;
    pthread_join(thread, NULL);
    ck_assert_uint_gt(broken, 0);
    /* Nothing behind the ring was touched. */
    for (size_t i = XENKBD_OUT_RING_OFFS; i < sizeof(memory); i++)
        ck_assert_uint_eq(memory[i], 0);
}
END_TEST

START_TEST(who_looks_by_himself_is_not_notified)
{
    union xenkbd_in_event e;

    fresh(0, true);
    put(1);
    ck_assert(far_kbd_back_publish(&back)); /* asleep from the beginning */
    ck_assert_int_eq(far_kbd_back_peer_cpu(&back), -1);
    far_kbd_front_disarm(&front, 3);
    ck_assert_int_eq(far_kbd_back_peer_cpu(&back), 3);
    put(2);
    ck_assert(!far_kbd_back_publish(&back));
    ck_assert(!far_kbd_front_arm(&front)); /* there is something: no sleep */
    ck_assert_uint_eq(get(), 1);
    ck_assert_uint_eq(get(), 2);
    ck_assert(far_kbd_front_arm(&front));
    put(3);
    ck_assert(far_kbd_back_publish(&back));
    /* and the other way round */
    far_kbd_back_disarm(&back, 0);
    ck_assert_int_eq(far_kbd_front_peer_cpu(&front), 0);
    ck_assert_int_eq(far_kbd_back_room(&back), 48);
    ck_assert(!far_kbd_front_publish(&front));
    ck_assert(!far_kbd_back_arm(&back)); /* in_cons moved */
    ck_assert_int_eq(far_kbd_back_room(&back), 50);
    ck_assert(far_kbd_back_arm(&back));
    ck_assert_int_eq(far_kbd_front_get(&front, &e), 1);
    ck_assert(far_kbd_front_publish(&front));
}
END_TEST

START_TEST(without_the_extension_the_words_are_neither_read_nor_written)
{
    struct far_kbd_poll *words =
        (struct far_kbd_poll *)(void *)(memory + FAR_KBD_POLL_OFFSET);

    fresh(0, false);
    words->front_polls_cpu = 7;
    put(1);
    ck_assert(far_kbd_back_publish(&back));
    ck_assert_int_eq(far_kbd_back_peer_cpu(&back), -1);
    far_kbd_back_disarm(&back, 1);
    ck_assert_uint_eq(words->back_polls_cpu, 0);
    ck_assert(far_kbd_back_arm(&back));
}
END_TEST

START_TEST(a_processor_that_can_not_be_is_none)
{
    struct far_kbd_poll *words =
        (struct far_kbd_poll *)(void *)(memory + FAR_KBD_POLL_OFFSET);

    fresh(0, true);
    words->front_polls_cpu = 0xffffffffu;
    ck_assert_int_eq(far_kbd_back_peer_cpu(&back), -1);
    words->back_polls_cpu = 5;
    ck_assert_int_eq(far_kbd_front_peer_cpu(&front), 4);
    far_kbd_front_forget_peer(&front);
    ck_assert_int_eq(far_kbd_front_peer_cpu(&front), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kbd-ring");
    TCase *tcase = tcase_create("ring");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, events_are_seen_only_when_published_and_in_order);
    tcase_add_test(tcase,
                   a_ring_whose_front_never_moves_is_full_and_not_broken);
    tcase_add_test(tcase, an_in_cons_ahead_of_us_breaks_the_ring_for_good);
    tcase_add_test(
        tcase, an_in_cons_that_claims_what_was_not_published_breaks_the_ring);
    tcase_add_test(tcase, an_in_cons_that_goes_back_breaks_the_ring);
    tcase_add_test(tcase, an_in_cons_half_the_range_away_breaks_the_ring);
    tcase_add_test(tcase, an_adopted_ring_may_be_full_but_no_fuller);
    tcase_add_test(tcase,
                   a_backend_that_comes_again_goes_on_where_the_front_is);
    tcase_add_loop_test(tcase, no_event_is_lost_where_the_indexes_wrap, 1, 21);
    tcase_add_test(tcase, the_ring_fills_to_the_wrap_and_no_further);
    tcase_add_test(tcase, a_front_refuses_an_impossible_in_prod);
    tcase_add_test(tcase,
                   indexes_that_change_all_the_time_never_lead_out_of_the_page);
    tcase_add_test(tcase, who_looks_by_himself_is_not_notified);
    tcase_add_test(
        tcase, without_the_extension_the_words_are_neither_read_nor_written);
    tcase_add_test(tcase, a_processor_that_can_not_be_is_none);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
