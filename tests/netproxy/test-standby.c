/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A device with a standby. First a standby alone, between a guest and two
 * puppets: what becomes of ops when another leg takes over. Then three real
 * netproxies: atlas, whose guest types at borealis+cygnus/kbd0.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/block.h"
#include "netproxy/directory.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

static struct rig rig;
static struct guest guest;

/* ---- two puppets ---- */

#define PUPPETS      2
#define ASKED        16
#define AT_MOST_ONCE FAR_OPCODE(FAR_CLASS_DOORBELL, 1)
static struct puppet {
    struct far_layer layer;
    bool open, left, refuses, answers, full;
    bool exclusive, leased, writable;
    unsigned opened, activations, gone, asked;
    uint64_t incarnation; /* that it was activated with */
    struct far_op ops[ASKED];
} puppets[PUPPETS];

static struct far_standbys all;

static struct puppet *of_layer(struct far_layer *layer)
{
    return (struct puppet *)(void *)layer;
}

static struct puppet *puppet_of(const struct far_local_who *who)
{
    return &puppets[!strcmp(who->platform, "cygnus")];
}

static enum far_verdict puppet_submit(struct far_layer *layer,
                                      struct far_op *op, void *payload)
{
    struct puppet *p = of_layer(layer);

    (void)payload;
    if (p->full)
        return FAR_FULL;
    ck_assert_uint_lt(p->asked, ASKED);
    p->ops[p->asked++] = *op;
    return p->answers ? FAR_DONE : FAR_LATER;
}

static void puppet_activate(struct far_layer *layer, uint64_t incarnation,
                            uint64_t received)
{
    (void)received;
    of_layer(layer)->activations++;
    of_layer(layer)->incarnation = incarnation;
}

static void puppet_close(struct far_layer *layer)
{
    of_layer(layer)->open = false;
}

static const struct far_layer_ops puppet_ops = {
    .name = "puppet",
    .submit = puppet_submit,
    .activate = puppet_activate,
    .close = puppet_close,
};

static int puppet_open(void *arg, const struct far_local_who *who,
                       struct far_layer **layer, struct far_error *error)
{
    struct puppet *p = puppet_of(who);

    (void)arg;
    ck_assert(!p->open);
    ck_assert_str_eq(who->standby, "");
    if (p->refuses)
        return far_error(error, -ENOENT, "no platform %s", who->platform);
    memset(&p->layer, 0, sizeof(p->layer));
    p->layer.ops = &puppet_ops;
    p->open = true;
    p->opened++;
    *layer = &p->layer;
    return 0;
}

static void puppet_leaving(void *arg, const struct far_local_who *who,
                           bool detached)
{
    (void)arg;
    puppet_of(who)->gone += detached;
}

static bool puppet_left(void *arg, const struct far_local_who *who)
{
    (void)arg;
    return puppet_of(who)->left;
}

static void puppet_says(unsigned n, bool ready)
{
    struct puppet *p = &puppets[n];
    struct far_block_props props = {
        .bytes = 1 << 20,
        .can = p->writable ? FAR_BLOCK_CAN_WRITE : 0,
        .block_bytes = 512,
    };
    struct far_layer_news news = {
        .incarnation = n + 1,
        .reason = "gone, says the puppet",
        .exclusive = p->exclusive,
        .leased = p->leased,
    };

    memcpy(news.props, &props, sizeof(props));
    far_layer_state(p->layer.above, ready ? FAR_DEVICE_READY : FAR_DEVICE_GONE,
                    &news);
    rig_turn(&rig, 5);
}

static void puppets_begin(void)
{
    memset(&guest, 0, sizeof(guest));
    memset(puppets, 0, sizeof(puppets));
    rig_begin(&rig);
    all = (struct far_standbys){
        .loop = rig.loop,
        .ops = { puppet_open, puppet_leaving, puppet_left, NULL },
        .after_us = 20000,
    };
}

/* The guest's part, without a rig's client. */
static unsigned completions, unknown;
static struct far_op completed;

static void top_complete(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    completions++;
    unknown += op->status == -EOWNERDEAD;
    completed = *op;
}

static bool top_interrupt(struct far_layer *layer, const struct far_op *op)
{
    (void)layer;
    (void)op;
    guest.count++;
    return true;
}

static void top_state(struct far_layer *layer, enum far_device_state state,
                      const struct far_layer_news *news)
{
    (void)layer;
    guest.state = state;
    guest.states++;
    if (state == FAR_DEVICE_READY)
        guest.incarnation = news->incarnation;
    snprintf(guest.reason, sizeof(guest.reason), "%s",
             state == FAR_DEVICE_GONE ? news->reason : "");
}

static const struct far_layer_ops top_ops = {
    .name = "top",
    .complete = top_complete,
    .interrupt = top_interrupt,
    .state = top_state,
};

static void puppets_attach(enum far_class class)
{
    static const struct far_standby_place places[] = {
        { .platform = "borealis", .device = "disk0" },
        { .platform = "cygnus", .device = "disk0" },
    };
    struct far_local_who who = { .attachment = 5,
                                 .class = class,
                                 .platform = "borealis",
                                 .standby = "cygnus",
                                 .device = "disk0" };
    struct far_layer *below;

    completions = unknown = 0;
    guest.layer.ops = &top_ops;
    ck_assert_int_eq(far_standby_open(&all, &who, places, 2, &below, NULL), 0);
    far_layer_stack(&guest.layer, below);
    far_layer_activate(below, 77, 9);
}

static void puppets_end(void)
{
    far_layer_close(guest.layer.below);
    ck_assert(!puppets[0].open && !puppets[1].open);
    ck_assert_ptr_null(all.first);
    rig_end(&rig);
}

static void ask(uint32_t slot, uint16_t opcode, uint16_t flags)
{
    struct far_op op = { .attachment = 5,
                         .sequence = 100 + slot,
                         .slot = slot,
                         .opcode = opcode,
                         .flags = flags };

    ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, NULL), FAR_LATER);
}

static void answer(unsigned n, uint32_t slot)
{
    struct far_op op = { .attachment = 5,
                         .sequence = 100 + slot,
                         .slot = slot };

    far_layer_complete(puppets[n].layer.above, &op);
    rig_turn(&rig, 5);
}

/* borealis serves, then cygnus. */
static void switch_over(void)
{
    puppet_says(0, false);
    rig_turn(&rig, 60);
    ck_assert(puppets[1].open);
    puppet_says(1, true);
}

START_TEST(only_the_first_is_asked_as_long_as_it_serves)
{
    puppets_begin();
    puppets_attach(FAR_CLASS_INPUT);
    puppet_says(0, true);
    rig_turn(&rig, 100);
    ck_assert_uint_eq(puppets[1].opened, 0);
    ck_assert_uint_eq(guest.incarnation, 1);
    ck_assert_uint_eq(puppets[0].incarnation, 77);
    puppet_says(0, false);
    puppet_says(0, true); /* in time */
    rig_turn(&rig, 100);
    ck_assert_uint_eq(puppets[1].opened, 0);
    puppets_end();
}
END_TEST

START_TEST(the_first_of_those_that_are_tried_serves_and_stays)
{
    puppets_begin();
    puppets_attach(FAR_CLASS_INPUT);
    puppet_says(0, true);
    switch_over();
    ck_assert_uint_eq(guest.incarnation, 2);
    ck_assert_uint_eq(puppets[1].incarnation, 0); /* of another numbering */
    ck_assert(!puppets[0].open);
    ck_assert_uint_eq(puppets[0].gone, 1); /* and was told so */
    rig_turn(&rig, 100);
    ck_assert_uint_eq(puppets[0].opened, 1);
    /* And the same the other way. */
    puppet_says(1, false);
    rig_turn(&rig, 60);
    ck_assert(puppets[0].open);
    puppet_says(0, true);
    ck_assert_uint_eq(guest.incarnation, 1);
    ck_assert(!puppets[1].open);
    puppets_end();
}
END_TEST

START_TEST(who_is_tried_and_comes_too_late_says_nothing_to_the_guest)
{
    struct far_op op = { .opcode = FAR_INPUT_EVENT, .sequence = 1 };
    unsigned states;

    puppets_begin();
    puppets_attach(FAR_CLASS_INPUT);
    puppet_says(0, true);
    puppet_says(0, false);
    rig_turn(&rig, 60);
    ck_assert(puppets[1].open);
    far_layer_interrupt(puppets[1].layer.above, &op);
    ck_assert_uint_eq(guest.count, 0);
    puppet_says(0, true);
    ck_assert(!puppets[1].open);
    ck_assert_uint_eq(guest.incarnation, 1);
    far_layer_interrupt(puppets[0].layer.above, &op);
    ck_assert_uint_eq(guest.count, 1);
    states = guest.states;
    rig_turn(&rig, 60);
    ck_assert_uint_eq(guest.states, states);
    puppets_end();
}
END_TEST

START_TEST(that_nobody_serves_it_is_said_once_with_every_reason)
{
    unsigned states;

    puppets_begin();
    puppets[1].refuses = true;
    puppets_attach(FAR_CLASS_INPUT);
    puppet_says(0, false);
    rig_turn(&rig, 60);
    ck_assert_ptr_nonnull(strstr(guest.reason, "says the puppet; no platform"));
    states = guest.states;
    rig_turn(&rig, 200);
    ck_assert_uint_eq(guest.states, states);
    puppets[1].refuses = false;
    rig_turn(&rig, 60); /* it is asked again */
    puppet_says(1, true);
    ck_assert_uint_eq(guest.incarnation, 2);
    puppets_end();
}
END_TEST

START_TEST(a_switch_repeats_what_may_be_repeated_before_anything_new)
{
    puppets_begin();
    puppets_attach(FAR_CLASS_BLOCK);
    puppet_says(0, true);
    ask(0, FAR_BLOCK_READ, 0);
    ask(1, FAR_OP_NOP(FAR_CLASS_BLOCK), 0);
    ask(2, AT_MOST_ONCE, 0);
    ask(3, FAR_BLOCK_APPEND, 0); /* recorded */
    ck_assert_uint_eq(puppets[0].asked, 4);
    puppet_says(0, false);
    ask(4, FAR_BLOCK_READ, 0);
    rig_turn(&rig, 60);
    ck_assert_uint_eq(puppets[0].asked, 4); /* it was not there */
    ask(5, AT_MOST_ONCE, 0);
    puppet_says(1, true);
    ck_assert_uint_eq(unknown, 2);
    ck_assert_uint_eq(completions, 2);
    ck_assert_uint_eq(puppets[1].asked, 2);
    ck_assert_uint_eq(puppets[1].ops[0].slot, 0);
    ck_assert_uint_eq(puppets[1].ops[1].slot, 1);
    ck_assert(puppets[1].ops[0].flags & FAR_OP_REPEAT);
    answer(1, 1);
    ask(6, FAR_BLOCK_READ, 0);
    ck_assert_uint_eq(puppets[1].asked, 2); /* one repeat is not answered */
    answer(1, 0);
    ck_assert_uint_eq(puppets[1].asked, 5);
    for (unsigned i = 2; i < 5; i++) { /* in order, for the first time */
        ck_assert_uint_eq(puppets[1].ops[i].slot, 2 + i);
        ck_assert(!(puppets[1].ops[i].flags & FAR_OP_REPEAT));
        answer(1, 2 + i);
    }
    ck_assert_uint_eq(completions, 7);
    ck_assert_uint_eq(unknown, 2);
    puppets_end();
}
END_TEST

START_TEST(with_a_lease_what_is_committed_with_its_answer_is_repeated)
{
    puppets_begin();
    puppets[0].leased = puppets[1].leased = true;
    puppets[0].writable = puppets[1].writable = true;
    puppets_attach(FAR_CLASS_BLOCK);
    puppet_says(0, true);
    ask(0, FAR_BLOCK_APPEND, 0);
    switch_over();
    ck_assert_uint_eq(puppets[1].asked, 1);
    ck_assert(puppets[1].ops[0].flags & FAR_OP_REPEAT);
    answer(1, 0);
    ck_assert_uint_eq(completions, 1);
    ck_assert_uint_eq(unknown, 0);
    puppets_end();
}
END_TEST

START_TEST(what_a_dead_backend_submitted_is_recorded_only_where_it_was)
{
    puppets_begin();
    puppets[1].left = true; /* cygnus had served it */
    puppets_attach(FAR_CLASS_BLOCK);
    ck_assert(puppets[1].open && !puppets[0].open);
    ck_assert_uint_eq(puppets[1].incarnation, 77);
    puppet_says(1, true);
    ask(0, FAR_BLOCK_APPEND, FAR_OP_REPEAT);
    ck_assert_uint_eq(puppets[1].asked, 1);
    answer(1, 0);
    puppets_end();

    puppets_begin(); /* and here nobody knows */
    puppets_attach(FAR_CLASS_BLOCK);
    puppet_says(0, true);
    ask(0, FAR_BLOCK_APPEND, FAR_OP_REPEAT);
    ask(1, FAR_BLOCK_READ, FAR_OP_REPEAT);
    ck_assert_uint_eq(puppets[0].asked, 1);
    ck_assert_uint_eq(unknown, 1);
    puppets_end();
}
END_TEST

START_TEST(an_answer_of_who_serves_no_more_is_not_heard)
{
    puppets_begin();
    puppets_attach(FAR_CLASS_BLOCK);
    puppet_says(0, true);
    ask(0, FAR_BLOCK_READ, 0);
    puppet_says(0, false);
    rig_turn(&rig, 60);
    answer(1, 0); /* never asked */
    ck_assert_uint_eq(completions, 0);
    puppet_says(1, true);
    answer(1, 7); /* a slot that nobody uses */
    ck_assert_uint_eq(completions, 0);
    answer(1, 0);
    answer(1, 0);
    ck_assert_uint_eq(completions, 1);
    puppets_end();
}
END_TEST

START_TEST(a_leg_without_room_gets_the_rest_when_it_has_some)
{
    puppets_begin();
    puppets_attach(FAR_CLASS_BLOCK);
    puppet_says(0, true);
    puppets[0].full = true;
    ask(0, FAR_BLOCK_READ, 0);
    ask(1, FAR_BLOCK_READ, 0);
    ck_assert_uint_eq(puppets[0].asked, 0);
    puppets[0].full = false;
    puppets[0].answers = true;
    far_layer_room(puppets[0].layer.above);
    rig_turn(&rig, 5);
    ck_assert_uint_eq(puppets[0].asked, 2);
    ck_assert_uint_eq(completions, 2);
    puppets_end();
}
END_TEST

START_TEST(what_has_an_owner_is_not_served_from_a_plain_list)
{
    puppets_begin();
    puppets[0].writable = true;
    puppets[1].exclusive = true;
    puppets_attach(FAR_CLASS_BLOCK);
    puppet_says(0, true);
    ck_assert_int_eq(guest.state, FAR_DEVICE_GONE);
    ck_assert_ptr_nonnull(strstr(guest.reason, "borealis: it can be written"));
    rig_turn(&rig, 60);
    puppet_says(1, true);
    ck_assert_int_eq(guest.state, FAR_DEVICE_GONE);
    ck_assert_ptr_nonnull(
        strstr(guest.reason, "cygnus: it is for one user at a time"));
    puppets[1].leased = true;
    puppet_says(1, true);
    ck_assert_int_eq(guest.state, FAR_DEVICE_READY);
    puppets_end();
}
END_TEST

START_TEST(what_stays_at_its_server_has_no_standby_at_all)
{
    struct far_layer_news news = { .leased = true };

    ck_assert_ptr_nonnull(far_standby_unfit(FAR_CLASS_TIMER, &news));
    ck_assert_ptr_nonnull(far_standby_unfit(FAR_CLASS_DOORBELL, &news));
    ck_assert_ptr_null(far_standby_unfit(FAR_CLASS_INPUT, &news));
}
END_TEST

static const struct far_standby_place at_borealis = { "borealis", "disk0" },
                                      at_cygnus = { "cygnus", "disk0" };

static struct far_standby *standby(void)
{
    return (struct far_standby *)(void *)guest.layer.below;
}

static void nowhere(void)
{
    struct far_local_who who = { .attachment = 5,
                                 .class = FAR_CLASS_INPUT,
                                 .platform = ".directory",
                                 .device = "disk0" };
    struct far_layer *below;

    guest.layer.ops = &top_ops;
    ck_assert_int_eq(far_standby_open(&all, &who, NULL, 0, &below, NULL), 0);
    far_layer_stack(&guest.layer, below);
    far_layer_activate(below, 77, 9);
}

START_TEST(a_place_that_comes_later_serves_what_waited_for_it)
{
    puppets_begin();
    nowhere();
    ck_assert_ptr_nonnull(strstr(guest.reason, "knows no server"));
    rig_turn(&rig, 60);
    far_standby_set_places(standby(), &at_cygnus, 1);
    ck_assert(puppets[1].open);
    ck_assert_uint_eq(puppets[1].incarnation, 77);
    puppet_says(1, true);
    ck_assert_int_eq(guest.state, FAR_DEVICE_READY);
    puppets_end();
}
END_TEST

START_TEST(a_place_that_is_taken_away_serves_as_long_as_it_can)
{
    puppets_begin();
    puppets_attach(FAR_CLASS_INPUT);
    puppet_says(0, true);
    far_standby_set_places(standby(), &at_cygnus, 1);
    rig_turn(&rig, 60);
    ck_assert(puppets[0].open && !puppets[1].open);
    ck_assert_int_eq(guest.state, FAR_DEVICE_READY);
    switch_over();
    ck_assert_uint_eq(guest.incarnation, 2);
    puppet_says(1, false);
    rig_turn(&rig, 100);
    ck_assert_uint_eq(puppets[0].opened, 1); /* and is not tried again */
    far_standby_set_places(standby(), &at_borealis, 1);
    ck_assert(puppets[0].open);
    puppet_says(0, true);
    ck_assert_uint_eq(guest.incarnation, 1);
    puppets_end();
}
END_TEST

START_TEST(one_place_after_the_other_and_no_room_is_used_up)
{
    puppets_begin();
    nowhere();
    for (unsigned i = 0; i < 40; i++) {
        far_standby_set_places(standby(), i % 2 ? &at_cygnus : &at_borealis, 1);
        ck_assert(puppets[i % 2].open && !puppets[!(i % 2)].open);
    }
    far_standby_set_places(standby(), NULL, 0);
    ck_assert(!puppets[0].open && !puppets[1].open);
    puppets_end();
}
END_TEST

/* ---- three platforms ---- */

static struct proxy atlas, borealis, cygnus;
static uint16_t ports[2];
static struct far_layer *fast;

static void write_server(const char *name, uint16_t port)
{
    char file[32];

    snprintf(file, sizeof(file), "%s.conf", name);
    rig_write(&rig, file,
              "[platform]\nname = %s\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device kbd0]\ntype = virtual\n"
              "[export kbd0]\nallow = atlas\n"
              "[device disk0]\ntype = memory\nsize = 1\n"
              "[export disk0]\nallow = atlas\n"
              "[device rom]\ntype = memory\nsize = 1\n"
              "[export rom]\nallow = atlas\nread-only = on\n",
              name, port, rig.dir);
}

static void write_atlas(const char *after)
{
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\nstandby-after = %s\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              after, ports[0], rig.dir, ports[1], rig.dir);
}

static void setup(void)
{
    memset(&guest, 0, sizeof(guest));
    fast = NULL;
    rig_begin(&rig);
    for (unsigned i = 0; i < 2; i++)
        ports[i] = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    write_server("borealis", ports[0]);
    write_server("cygnus", ports[1]);
    write_atlas("1s");
}

static void stop(struct proxy *proxy)
{
    if (proxy->pid)
        proxy_kill(proxy, SIGTERM);
    proxy->pid = 0;
}

static void lose(struct proxy *proxy)
{
    proxy_kill(proxy, SIGKILL);
    proxy->pid = 0;
}

static void teardown(void)
{
    if (guest.open)
        guest_detach(&guest);
    stop(&atlas);
    stop(&borealis);
    stop(&cygnus);
    rig_end(&rig);
}

static void start_three(void)
{
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
    proxy_wait_text(&atlas, "links.1.state", "up");
}

static void attach(const char *device)
{
    guest_open(&guest, &rig, "atlas", 0, "borealis+cygnus", device);
}

static void type_at(struct proxy *proxy, unsigned taps)
{
    unsigned before = guest.count;

    for (unsigned i = 0; i < taps; i++)
        proxy_tap(proxy, "kbd0", 2 + i);
    guest_wait_count(&guest, before + 2 * taps);
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
    for (unsigned i = 0; i < 2 * taps; i++)
        ck_assert_uint_eq(guest.events[before + i].code, 2 + i / 2);
}

static bool has_gone(void *arg)
{
    (void)arg;
    return guest.state == FAR_DEVICE_GONE;
}

START_TEST(the_keyboard_goes_on_at_the_standby_and_stays_there)
{
    uint64_t lost_us, back_us;

    start_three();
    attach("kbd0");
    guest_wait_ready(&guest);
    type_at(&borealis, 20);
    ck_assert_str_eq(proxy_text(&atlas, "standbys.0.serves"), "borealis");
    lose(&borealis);
    lost_us = far_now_us();
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    guest_wait_ready(&guest);
    back_us = far_now_us();
    /* standby-after, and what it takes to ask cygnus */
    ck_assert_uint_ge(back_us - lost_us, 900000);
    ck_assert_msg(back_us - lost_us < 4000000, "after %llu us",
                  (unsigned long long)(back_us - lost_us));
    ck_assert_uint_eq(guest.incarnations, 2);
    type_at(&cygnus, 20);
    ck_assert_str_eq(proxy_text(&atlas, "standbys.0.serves"), "cygnus");
    ck_assert_int_eq(proxy_number(&atlas, "standbys.0.switches"), 1);

    proxy_start(&borealis, &rig, "borealis");
    proxy_wait_text(&atlas, "links.0.state", "up");
    proxy_tap(&borealis, "kbd0", 99); /* nobody's */
    type_at(&cygnus, 20);
    ck_assert_str_eq(proxy_text(&atlas, "standbys.0.serves"), "cygnus");
    ck_assert_str_eq(proxy_text(&borealis, "sessions.0.state"), "");

    lose(&cygnus);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    guest_wait_ready(&guest);
    type_at(&borealis, 20);
    ck_assert_int_eq(proxy_number(&atlas, "standbys.0.switches"), 2);
}
END_TEST

START_TEST(a_server_that_is_back_in_time_is_waited_for)
{
    write_atlas("20s");
    start_three();
    attach("kbd0");
    guest_wait_ready(&guest);
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    proxy_start(&borealis, &rig, "borealis");
    guest_wait_ready(&guest);
    type_at(&borealis, 5);
    ck_assert_int_eq(proxy_number(&atlas, "standbys.0.switches"), 0);
    ck_assert_str_eq(proxy_text(&cygnus, "sessions.0.state"), "");
}
END_TEST

START_TEST(a_guest_starts_at_the_standby_when_the_first_is_off)
{
    proxy_start(&cygnus, &rig, "cygnus");
    proxy_start(&atlas, &rig, "atlas");
    attach("kbd0");
    guest_wait_reason(&guest, "link to borealis is down");
    guest_wait_ready(&guest);
    type_at(&cygnus, 5);
}
END_TEST

START_TEST(a_backend_that_is_killed_finds_its_device_where_it_was)
{
    uint64_t incarnation;

    start_three();
    attach("kbd0");
    guest_wait_ready(&guest);
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    guest_wait_ready(&guest);
    proxy_start(&borealis, &rig, "borealis");
    proxy_wait_text(&atlas, "links.0.state", "up");
    type_at(&cygnus, 5);
    incarnation = guest.incarnation;
    guest_crash(&guest);
    proxy_tap(&cygnus, "kbd0", 60); /* is kept */
    attach("kbd0");
    guest_wait_count(&guest, 12);
    ck_assert_uint_eq(guest.events[10].code, 60);
    ck_assert_uint_eq(guest.incarnation, incarnation);
    ck_assert_uint_eq(guest.gaps + guest.repeats, 0);
}
END_TEST

static bool all_released(void *arg)
{
    (void)arg;
    return !guest.events[guest.count - 1].value;
}

START_TEST(no_key_stays_down_over_a_switch)
{
    static const struct far_fast_input_options never = { UINT64_MAX,
                                                         UINT64_MAX };
    struct far_layer *client;
    json_t *answer;

    start_three();
    attach("kbd0");
    client = guest.layer.below;
    fast = far_fast_input_new(rig.loop, &never);
    ck_assert_ptr_nonnull(fast);
    far_layer_stack(fast, client);
    far_layer_stack(&guest.layer, fast);
    far_layer_activate(fast, 0, 0);
    guest_wait_ready(&guest);
    answer = proxy_ask(&borealis,
                       "{\"request\":\"send\",\"device\":\"kbd0\",\"events\":["
                       "{\"type\":\"key\",\"code\":30,\"value\":1}]}");
    json_decref(answer);
    guest_wait_count(&guest, 1);
    ck_assert_int_eq(guest.events[0].value, 1);
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    ck_assert_uint_eq(guest.count, 1); /* not by time: that is off */
    guest_wait_ready(&guest);
    ck_assert(rig_until(&rig, all_released, NULL, 5000));
    ck_assert_uint_eq(guest.count, 2);
    ck_assert_uint_eq(guest.events[1].code, 30);
}
END_TEST

static bool has_completed(void *arg)
{
    (void)arg;
    return guest.completions > 0;
}

START_TEST(a_disk_that_can_be_written_has_no_standby_in_a_list_and_a_rom_has)
{
    static uint8_t sector[512];
    struct far_block_args a = { .length_bytes = sizeof(sector) };
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_BLOCK_READ,
                         .flags = FAR_OP_RECEIVES,
                         .payload_bytes = sizeof(sector) };

    start_three();
    guest.class = FAR_CLASS_BLOCK;
    attach("disk0");
    guest_wait_reason(&guest, "cygnus: it can be written");
    guest_detach(&guest);
    attach("rom");
    guest_wait_ready(&guest);
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    memcpy(op.args, &a, sizeof(a));
    ck_assert_int_eq(far_layer_submit(guest.layer.below, &op, sector),
                     FAR_LATER);
    ck_assert(rig_until(&rig, has_completed, NULL, 10000));
    ck_assert_int_eq(guest.completed.status, 0);
    ck_assert_uint_eq(guest.completed.payload_bytes, sizeof(sector));
}
END_TEST

static void attach_name(void)
{
    guest_open(&guest, &rig, "atlas", 0, ".directory", "keys");
}

static void use_directory(const char *text)
{
    rig_write(&rig, "directory", "%s", text);
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\nstandby-after = 200ms\n"
              "[directory]\nfile = %s/directory\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              rig.dir, ports[0], rig.dir, ports[1], rig.dir);
}

START_TEST(a_name_is_served_where_the_directorys_file_says)
{
    use_directory("[name keys]\nat = borealis/kbd0\nat = cygnus/kbd0\n");
    start_three();
    attach_name();
    guest_wait_ready(&guest);
    type_at(&borealis, 5);
    ck_assert_str_eq(proxy_text(&atlas, "directory.names.keys.1"),
                     "cygnus/kbd0");
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    guest_wait_ready(&guest);
    type_at(&cygnus, 5);
}
END_TEST

START_TEST(the_file_is_read_again_when_it_changes_and_a_fault_changes_nothing)
{
    use_directory("[name other]\nat = borealis/kbd0\n");
    start_three();
    attach_name();
    guest_wait_reason(&guest, "the directory knows no server");
    rig_write(&rig, "new", "[name keys]\nat = borealis/kbd0\n");
    {
        char from[128], to[128];

        snprintf(from, sizeof(from), "%s/new", rig.dir);
        snprintf(to, sizeof(to), "%s/directory", rig.dir);
        ck_assert_int_eq(rename(from, to), 0);
    }
    guest_wait_ready(&guest);
    type_at(&borealis, 5);
    /* In place, and wrong. */
    rig_write(&rig, "directory", "[name keys]\nat = cygnus/\n");
    proxy_wait_text(&atlas, "directory.reason", "directory:2:6");
    ck_assert_str_eq(proxy_text(&atlas, "directory.names.keys.0"),
                     "borealis/kbd0");
    rig_write(&rig, "directory", "[name keys]\nat = cygnus/kbd0\n");
    proxy_wait_text(&atlas, "directory.names.keys.0", "cygnus/kbd0");
    ck_assert_str_eq(proxy_text(&atlas, "directory.reason"), "");
    type_at(&borealis, 5); /* it serves, and goes on */
    lose(&borealis);
    ck_assert(rig_until(&rig, has_gone, NULL, 5000));
    guest_wait_ready(&guest);
    type_at(&cygnus, 5);
}
END_TEST

static unsigned faults;

static void count_fault(void *arg, const char *file, unsigned line,
                        unsigned column, const char *text)
{
    (void)arg;
    (void)file;
    (void)line;
    (void)column;
    (void)text;
    faults++;
}

START_TEST(a_directorys_file_with_a_fault_is_not_taken_at_all)
{
    static const char nine[] =
        "[name k]\nat = a/1\nat = a/2\nat = a/3\nat = a/4\nat = a/5\n"
        "at = a/6\nat = a/7\nat = a/8\nat = a/9\n";
    static const char *const wrong[] = {
        "[names keys]\nat = a/b\n",
        "[name keys]\nto = a/b\n",
        "[name keys]\nat = b\n",
        "[name keys]\nat = a+c/b\n",
        "[name .keys]\nat = a/b\n",
        "[name keys]\n",
        "[name keys]\nat = .any/b\n",
        "[name k]\nat = a/b\n[name k]\nat = c/d\n",
        nine,
    };
    char path[128];
    unsigned count;

    snprintf(path, sizeof(path), "%s/directory", rig.dir);
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        rig_write(&rig, "directory", "[name fine]\nat = a/b\n%s", wrong[i]);
        faults = 0;
        ck_assert_msg(!far_directory_read(path, &count, count_fault, NULL),
                      "taken: %s", wrong[i]);
        ck_assert_uint_gt(faults, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: standby");
    TCase *c = tcase_create("legs");

    tcase_add_test(c, only_the_first_is_asked_as_long_as_it_serves);
    tcase_add_test(c, the_first_of_those_that_are_tried_serves_and_stays);
    tcase_add_test(c,
                   who_is_tried_and_comes_too_late_says_nothing_to_the_guest);
    tcase_add_test(c, that_nobody_serves_it_is_said_once_with_every_reason);
    tcase_add_test(c,
                   a_switch_repeats_what_may_be_repeated_before_anything_new);
    tcase_add_test(c,
                   with_a_lease_what_is_committed_with_its_answer_is_repeated);
    tcase_add_test(c,
                   what_a_dead_backend_submitted_is_recorded_only_where_it_was);
    tcase_add_test(c, an_answer_of_who_serves_no_more_is_not_heard);
    tcase_add_test(c, a_leg_without_room_gets_the_rest_when_it_has_some);
    tcase_add_test(c, what_has_an_owner_is_not_served_from_a_plain_list);
    tcase_add_test(c, what_stays_at_its_server_has_no_standby_at_all);
    tcase_add_test(c, a_place_that_comes_later_serves_what_waited_for_it);
    tcase_add_test(c, a_place_that_is_taken_away_serves_as_long_as_it_can);
    tcase_add_test(c, one_place_after_the_other_and_no_room_is_used_up);
    suite_add_tcase(suite, c);

    c = tcase_create("platforms");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, the_keyboard_goes_on_at_the_standby_and_stays_there);
    tcase_add_test(c, a_server_that_is_back_in_time_is_waited_for);
    tcase_add_test(c, a_guest_starts_at_the_standby_when_the_first_is_off);
    tcase_add_test(c, a_backend_that_is_killed_finds_its_device_where_it_was);
    tcase_add_test(c, no_key_stays_down_over_a_switch);
    tcase_add_test(
        c, a_disk_that_can_be_written_has_no_standby_in_a_list_and_a_rom_has);
    tcase_add_test(c, a_name_is_served_where_the_directorys_file_says);
    tcase_add_test(
        c, the_file_is_read_again_when_it_changes_and_a_fault_changes_nothing);
    tcase_add_test(c, a_directorys_file_with_a_fault_is_not_taken_at_all);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
