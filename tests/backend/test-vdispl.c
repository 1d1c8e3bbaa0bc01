/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Screens on the simulator: what a guest draws is what is seen, pixel by pixel;
 * what a hostile one does (XEN-FACTS 3.2, display) costs it its own screen at
 * most; a killed backend costs nothing.
 */
#include <stdint.h>
#include "tests/backend/screen.h"

static struct guest witness;

static void configure(const char *more)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device screen0]\ntype = screen\n"
            "[device screen1]\ntype = screen\n"
            "[device wall]\ntype = blank\n%s",
            more);
    fclose(f);
}

static void reconfigure(const char *more)
{
    configure(more);
    ck_assert_int_eq(kill(backend, SIGHUP), 0);
    nap_ms(300);
}

static void witness_works(void)
{
    static unsigned seed = 1000;

    OK(&witness, "draw 1 XR24 %u", ++seed);
    OK(&witness, "flip 0 101");
    OK(&witness, "event 0 101");
    SEEN("witness", "XR24", seed, 160, 100);
}

static void set_up(void)
{
    fresh_host();
    configure("");
    start_backend();
    witness = connected("witness", "connectors=screen1:160x100");
    OK(&witness, "scene 0 XR24 0");
    witness_works();
}

static void tear_down(void)
{
    witness_works();
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&witness);
}

/* --- what is drawn is seen -------------------------------------------------
 */

START_TEST(a_picture_that_is_drawn_with_page_flips_is_seen_pixel_by_pixel)
{
    struct guest g = connected("g", "connectors=screen0:1280x800");

    OK(&g, "scene 0 XR24 1");
    SEEN("g", "XR24", 1, 1280, 800);
    for (unsigned seed = 2; seed < 6; seed++) {
        unsigned n = 1 + seed % 2;

        OK(&g, "draw %u XR24 %u", n, seed);
        OK(&g, "flip 0 %u", 100 + n);
        OK(&g, "event 0 %u", 100 + n);
        SEEN("g/0", "XR24", seed, 1280, 800);
    }
    OK(&g, "config 0 0 0 0 0 0 0"); /* off */
    ck_assert(!shows("g", "XR24", 5, 1280, 800));
    ck_assert_int_eq(counter(&g, "refused"), 0);
    destroy(&g);
}
END_TEST

START_TEST(every_format_that_linux_front_offers_but_yuv_is_seen)
{
    static const char *const formats[] = { "XR24", "AR24", "RG24", "RG16",
                                           "XR15", "AR15", "XR12", "AR12" };

    for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct guest g = connected("g", "connectors=screen0:203x131");

        OK(&g, "scene 0 %s %u", formats[i], i);
        SEEN("g", formats[i], i, 203, 131);
        destroy(&g);
    }
}
END_TEST

START_TEST(two_connectors_of_a_guest_show_their_own_pictures)
{
    struct guest g = connected("g", "connectors=screen0:640x480;wall:800x600");

    OK(&g, "buffer 1 640 480 32 0");
    OK(&g, "buffer 2 800 600 32 0");
    OK(&g, "attach 1 101 640 480 XR24");
    OK(&g, "attach 2 102 800 600 XR24");
    OK(&g, "draw 1 XR24 7");
    OK(&g, "draw 2 XR24 8");
    OK(&g, "config 0 101 0 0 640 480 32");
    OK(&g, "config 1 102 0 0 800 600 32");
    SEEN("g/0", "XR24", 7, 640, 480);
    SEEN("g/1", "XR24", 8, 800, 600);
    OK(&g, "flip 1 102");
    OK(&g, "event 1 102");
    destroy(&g);
}
END_TEST

START_TEST(a_part_of_the_screen_can_be_configured_and_the_rest_is_black)
{
    struct guest g = connected("g", "connectors=screen0:200x150");
    uint64_t until = far_now_us() + 60000000;

    OK(&g, "buffer 1 100 100 32 0");
    OK(&g, "attach 1 101 90 80 XR24");
    OK(&g, "draw 1 XR24 3");
    OK(&g, "config 0 101 70 40 90 80 32");
    while (!shows_part("g", "XR24", 3, 200, 150, 70, 40, 90, 80)) {
        ck_assert_uint_lt(far_now_us(), until);
        nap_ms(50);
    }
    destroy(&g);
}
END_TEST

START_TEST(what_is_drawn_into_the_shown_buffer_is_seen_without_a_flip)
{
    struct guest g = connected("g", "connectors=screen0:320x200");

    OK(&g, "scene 0 XR24 1");
    SEEN("g", "XR24", 1, 320, 200);
    OK(&g, "draw 1 XR24 2");
    SEEN("g", "XR24", 2, 320, 200);
    destroy(&g);
}
END_TEST

START_TEST(pages_of_the_backend_can_be_drawn_in_where_the_line_allows_it)
{
    struct guest g = connected("g", "be-alloc=1,connectors=screen0:320x200");
    json_int_t before = pages_of(&g);

    OK(&g, "buffer 1 320 200 32 1");
    ck_assert_int_ge(pages_of(&g), before + 320 * 200 * 4 / 4096);
    OK(&g, "attach 1 101 320 200 XR24");
    OK(&g, "draw 1 XR24 9");
    OK(&g, "config 0 101 0 0 320 200 32");
    SEEN("g", "XR24", 9, 320, 200);
    OK(&g, "config 0 0 0 0 0 0 0");
    OK(&g, "detach 101");
    OK(&g, "destroy 1");
    ck_assert_int_eq(pages_of(&g), before);
    destroy(&g);
}
END_TEST

START_TEST(flips_are_told_of_sixty_times_a_second)
{
    struct guest g = connected("g", "connectors=screen0:64x64");
    unsigned flips, mean, wrong;
    unsigned long long shortest, longest;

    OK(&g, "scene 0 XR24 1");
    /* a busy machine can only be late: each late one costs a whole beat */
    for (unsigned tries = 0;; tries++) {
        const char *said = say(&g, "animate 0 60 1");

        ck_assert_int_eq(sscanf(said,
                                "ok flips %u mean %u shortest %llu longest "
                                "%llu wrong %u",
                                &flips, &mean, &shortest, &longest, &wrong),
                         5);
        ck_assert_uint_eq(flips, 60);
        ck_assert_uint_eq(wrong, 0);
        if (mean >= 16500 && mean <= 17500)
            break;
        ck_assert_msg(mean > 16500 && tries < 20, "%s", said);
    }
    destroy(&g);
}
END_TEST

START_TEST(the_edid_names_the_resolution)
{
    struct guest g = connected("g", "connectors=screen0:1024x768");

    ck_assert_str_eq(say(&g, "edid 0 32768 1"), "ok 1024x768");
    ck_assert_str_eq(say(&g, "edid 0 127 1"), "-22"); /* no room for it */
    ck_assert_str_eq(say(&g, "edid 0 0 1"), "-22");
    ck_assert_str_eq(say(&g, "edid 0 32768 0"), "-22"); /* no such grant */
    /* version 1 has none */
    OK(&g, "node state 1");
    nap_ms(200);
    OK(&g, "node version 1");
    OK(&g, "node state 3");
    nap_ms(500);
    ck_assert_str_eq(say(&g, "edid 0 32768 1"), "-95");
    destroy(&g);
}
END_TEST

/* --- hostile guests --------------------------------------------------------
 */

/* dbuf_create's words: cookie, cookie, width, height, bpp, bytes, flags,
 * directory, offset. */
static const struct {
    const char *line;
    const char *answer;
} wrong_requests[] = {
    { "raw 0 0", "-95" }, /* reserved */
    { "raw 0 15", "-95" },
    { "raw 0 23", "-95" }, /* no such operation */
    { "raw 0 255", "-95" },
    { "raw 1 16 9 0 64 64 32 16384 0 9 0", "-22" }, /* not this ring's */
    { "raw 1 23", "-95" },
    { "raw 0 16 0 0 64 64 32 16384 0 9 0", "-22" },  /* cookie 0 */
    { "raw 0 16 9 0 0 64 32 16384 0 9 0", "-22" },   /* no width */
    { "raw 0 16 9 0 64 0 32 16384 0 9 0", "-22" },   /* no height */
    { "raw 0 16 9 0 64 64 0 16384 0 9 0", "-22" },   /* bpp */
    { "raw 0 16 9 0 64 64 255 16384 0 9 0", "-22" }, /* bpp */
    { "raw 0 16 9 0 64 64 31 16384 0 9 0", "-22" },  /* bpp */
    { "raw 0 16 9 0 64 64 32 16383 0 9 0", "-22" },  /* too small */
    { "raw 0 16 9 0 64 64 32 0 0 9 0", "-22" },      /* nothing */
    { "raw 0 16 9 0 64 64 32 16384 0 9 1", "-22" },  /* offset */
    { "raw 0 16 9 0 64 64 32 16384 0 9 4294967295", "-22" },
    { "raw 0 16 9 0 4294967295 4294967295 32 4294967295 0 9 0", "-22" },
    { "raw 0 16 9 0 65536 65536 32 0 0 9 0", "-22" }, /* wraps to 0 */
    { "raw 0 16 9 0 16384 16384 32 1073741824 0 9 0", "-22" },
    { "raw 0 16 9 0 64 64 32 4294967295 0 9 0", "-12" }, /* too many pages */
    { "raw 0 16 9 0 64 64 32 16384 2 9 0", "-22" },      /* flags */
    { "raw 0 16 9 0 64 64 32 16384 1 9 0", "-22" },      /* be-alloc is 0 */
    { "raw 0 16 9 0 64 64 32 16384 0 0 0", "-22" },      /* grant 0 */
    { "raw 0 16 9 0 64 64 32 16384 0 7 0", "-22" },      /* reserved grant */
    { "raw 0 17 77 0", "-2" }, /* destroy what is not there */
    { "raw 0 17 0 0", "-2" },
    { "raw 0 18 77 0 88 0 64 64 875713112", "-2" }, /* attach to nothing */
    { "raw 0 19 77 0", "-2" },
    { "raw 0 19 0 0", "-2" },
    { "raw 0 21 101 0", "-22" }, /* flip without a configuration */
    { "raw 1 21 101 0", "-22" },
    { "raw 0 20 77 0 0 0 64 64 32", "-2" }, /* configure nothing */
    { "raw 0 20 0 0 0 0 64 64 32", "-2" },  /* fb 0 */
};

START_TEST(requests_that_make_no_sense_are_refused_one_by_one)
{
    struct guest g = connected("g", "connectors=screen0:128x96;wall:128x96");

    for (unsigned i = 0; i < sizeof(wrong_requests) / sizeof(wrong_requests[0]);
         i++)
        ck_assert_msg(!strcmp(say(&g, "%s", wrong_requests[i].line),
                              wrong_requests[i].answer),
                      "%s", wrong_requests[i].line);
    OK(&g, "scene 0 XR24 1"); /* buffers 1, 2; framebuffers 101, 102 */
    ck_assert_str_eq(say(&g, "again 1 1"), "-17");
    ck_assert_str_eq(say(&g, "attach 1 101 128 96 XR24"), "-17");
    ck_assert_str_eq(say(&g, "attach 1 0 128 96 XR24"), "-22");
    ck_assert_str_eq(say(&g, "attach 1 103 129 96 XR24"), "-22");
    ck_assert_str_eq(say(&g, "attach 1 103 128 97 XR24"), "-22");
    ck_assert_str_eq(say(&g, "attach 1 103 0 96 XR24"), "-22");
    ck_assert_str_eq(say(&g, "attach 1 103 128 96 RG16"), "-22");
    ck_assert_str_eq(say(&g, "attach 1 103 128 96 YUYV"), "-22");
    ck_assert_str_eq(say(&g, "destroy 1"), "-16"); /* attached */
    ck_assert_str_eq(say(&g, "config 0 101 1 0 128 96 32"), "-22");
    ck_assert_str_eq(say(&g, "config 0 101 0 4294967295 128 96 32"), "-22");
    ck_assert_str_eq(say(&g, "config 0 101 0 0 129 96 32"), "-22");
    ck_assert_str_eq(say(&g, "config 0 101 0 0 0 96 32"), "-22");
    ck_assert_str_eq(say(&g, "config 0 101 0 0 128 96 16"), "-22");
    OK(&g, "attach 2 103 64 48 XR24");
    ck_assert_str_eq(say(&g, "config 1 103 0 0 128 96 32"), "-22");
    ck_assert_str_eq(say(&g, "flip 0 103"), "-22"); /* too small for it */
    ck_assert_str_eq(say(&g, "flip 0 177"), "-2");
    OK(&g, "detach 101");
    ck_assert_str_eq(say(&g, "flip 0 101"), "-2");
    SEEN("g", "XR24", 1, 128, 96); /* the last picture stays */
    OK(&g, "flip 0 102");
    OK(&g, "event 0 102");
    ck_assert(is_in_state(&g, "connected"));
    destroy(&g);
}
END_TEST

START_TEST(a_flood_of_flips_is_told_of_at_the_screens_pace)
{
    struct guest g = connected("g", "connectors=screen0:64x64");
    unsigned granted = 0;
    json_int_t events;

    OK(&g, "scene 0 XR24 1");
    for (unsigned i = 0; i < 2000; i++) {
        const char *said = say(&g, "flip 0 %u", 101 + i % 2);

        ck_assert_msg(!strcmp(said, "ok") || !strcmp(said, "-16"), "%s", said);
        granted += !strcmp(said, "ok");
    }
    OK(&g, "turn 200");
    events = counter(&g, "events");
    ck_assert_int_eq(events, granted);
    destroy(&g);
}
END_TEST

START_TEST(events_that_nobody_takes_cost_nothing)
{
    struct guest g = connected("g", "connectors=screen0:64x64");

    OK(&g, "scene 0 XR24 1");
    for (unsigned i = 0; i < 100; i++) {
        OK(&g, "evtword 0 0 %u", i * 2654435761u); /* in_cons: anything */
        OK(&g, "flip 0 %u", 101 + i % 2);
        OK(&g, "event 0 %u", 101 + i % 2);
    }
    /* in_prod is ours: what the guest writes there is written over */
    OK(&g, "evtword 0 1 12345");
    ck_assert(is_in_state(&g, "connected"));
    destroy(&g);
}
END_TEST

START_TEST(buffers_are_limited_in_number_and_in_pages)
{
    struct guest g = connected("g", "connectors=screen0:64x64");
    struct guest h;
    unsigned made = 0;

    while (made < 100 &&
           !strcmp(say(&g, "buffer %u 64 64 32 0", made + 1), "ok"))
        made++;
    ck_assert_uint_eq(made, 32);
    OK(&g, "destroy 5");
    OK(&g, "buffer 77 64 64 32 0");
    ck_assert_str_eq(say(&g, "buffer 78 64 64 32 0"), "-12");
    for (unsigned i = 0; i < 64; i++)
        OK(&g, "attach 1 %u 64 64 XR24", 200 + i);
    ck_assert_str_eq(say(&g, "attach 1 300 64 64 XR24"), "-12");
    destroy(&g);

    /* the same pages over and over, until the guest's share is used up */
    h = connected("h", "connectors=screen0:1920x1080");
    OK(&h, "buffer 1 1920 1080 32 0");
    for (made = 1; made < 40; made++)
        if (strcmp(say(&h, "again 1 %u", made + 1), "ok"))
            break;
    ck_assert_uint_ge(made, 4);
    ck_assert_uint_lt(made, 32);
    ck_assert_int_le(pages_of(&h), 20480);
    OK(&h, "destroy 2");
    OK(&h, "again 1 90");
    destroy(&h);
}
END_TEST

START_TEST(directories_that_lie_are_refused_and_end_where_the_buffer_does)
{
    struct guest g = connected("g", "connectors=screen0:1280x800");
    json_int_t before = pages_of(&g);

    OK(&g, "buffer 1 1280 800 32 0");  /* one page of directory, nearly full */
    OK(&g, "buffer 2 1280 1024 32 0"); /* two */
    /* grants: none, a reserved one, one that was never given */
    OK(&g, "directory 1 1 0");
    ck_assert_str_eq(say(&g, "again 1 3"), "-22");
    OK(&g, "directory 1 1 5");
    ck_assert_str_eq(say(&g, "again 1 3"), "-22");
    OK(&g, "directory 1 1 4000000000");
    ck_assert_str_ne(say(&g, "again 1 3"), "ok");
    /* the next page is no page, but is not needed either */
    OK(&g, "directory 1 0 4000000000");
    OK(&g, "directory 2 0 0"); /* ends too early */
    ck_assert_str_eq(say(&g, "again 2 3"), "-22");
    OK(&g, "directory 2 0 4000000000");
    ck_assert_str_ne(say(&g, "again 2 3"), "ok");
    OK(&g, "destroy 1");
    OK(&g, "destroy 2");
    ck_assert_int_eq(pages_of(&g), before);
    destroy(&g);
}
END_TEST

/* What ends the guest's own device. */
static const char *const broken_rings[] = { "prod 0 33", "prod 0 2147483648",
                                            "prod 0 4294967295",
                                            "prod 1 1000000" };

START_TEST(a_ring_with_nonsense_ends_its_own_device)
{
    struct guest g = connected("g", "connectors=screen0:64x64;wall:64x64");

    OK(&g, "scene 0 XR24 1");
    OK(&g, "%s", broken_rings[_i]);
    becomes(&g, "refused");
    witness_works();
    /* and it may begin anew */
    OK(&g, "close");
    OK(&g, "open 0");
    OK(&g, "connected");
    OK(&g, "scene 0 XR24 2");
    SEEN("g", "XR24", 2, 64, 64);
    destroy(&g);
}
END_TEST

START_TEST(words_of_a_ring_that_are_ours_are_not_believed)
{
    struct guest g = connected("g", "connectors=screen0:64x64");

    OK(&g, "scene 0 XR24 1");
    OK(&g, "word 0 1 77");         /* req_event */
    OK(&g, "word 0 3 4000000000"); /* rsp_event */
    OK(&g, "kick 0 3000");
    OK(&g, "word 0 3 0");
    nap_ms(500);
    witness_works();
    ck_assert(is_in_state(&g, "connected"));
    destroy(&g);
}
END_TEST

/* A connector as the guest makes it anew; NULL: not at all. */
static const struct {
    const char *resolution, *address;
} wrong_nodes[] = {
    { "0", "screen0" },
    { "64", "screen0" },
    { "64x", "screen0" },
    { "0x64", "screen0" },
    { "64x0", "screen0" },
    { "64x64x64", "screen0" },
    { "-64x64", "screen0" },
    { "+64x64", "screen0" },
    { "64X64", "screen0" },
    { "16384x16384", "screen0" },
    { "99999999x1", "screen0" },
    { "64x4294967360", "screen0" },
    { "64x64", NULL },
    { "64x64", "a,b" },
    { "64x64", "../screen0" },
    { "64x64", "screen1" },
    { "64x64", "wall" },
    { "64x64", "atlas/screen0" },
    { "64x64", "borealis/kbd0" },
};

/* Written over what our own frontend wrote, once it has connected before: only
 * the state is looked at then. */
START_TEST(nodes_that_a_guest_wrote_anew_are_judged)
{
    struct guest g = guest("g", "connectors=screen0:64x64");

    OK(&g, "rm 0"); /* the directory is the guest's, if not what is in it */
    OK(&g, "node 0/resolution %s", wrong_nodes[_i].resolution);
    if (wrong_nodes[_i].address)
        OK(&g, "node 0/unique-id %s", wrong_nodes[_i].address);
    OK(&g, "node 0/req-ring-ref 9");
    OK(&g, "node 0/req-event-channel 9");
    OK(&g, "node 0/evt-ring-ref 9");
    OK(&g, "node 0/evt-event-channel 9");
    OK(&g, "node state 3");
    becomes(&g, "refused");
    destroy(&g);
}
END_TEST

/* Each of them instead of what is right. */
static const char *const wrong_values[] = {
    "0/req-ring-ref 0",
    "0/req-ring-ref 7",
    "0/req-ring-ref x",
    "0/req-ring-ref 4000000",
    "0/evt-ring-ref 3",
    "0/evt-ring-ref -1",
    "0/req-event-channel 0",
    "version 3",
    "0/req-event-channel 99999",
    "0/evt-event-channel -",
    "version 0",
    "0/evt-event-channel 4294967296",
};

START_TEST(pages_and_ports_that_are_none_are_refused)
{
    struct guest g = connected("g", "connectors=screen0:64x64");

    OK(&g, "node state 1"); /* as a front that begins anew … */
    nap_ms(200);
    OK(&g, "node %s", wrong_values[_i]);
    OK(&g, "node state 3");
    becomes(&g, "refused");
    destroy(&g);
}
END_TEST

START_TEST(a_screen_that_a_guest_wishes_for_is_its_own_or_allowed)
{
    struct guest g = connected("g", "connectors=screen0:64x64");

    OK(&g, "scene 0 XR24 1");
    OK(&g, "close");
    OK(&g, "rm 0");
    OK(&g, "node 0/resolution 64x64");
    OK(&g, "node 0/unique-id screen1"); /* the witness's */
    OK(&g, "open 0");
    OK(&g, "turn 500");
    becomes(&g, "refused");
    witness_works();
    OK(&g, "close");
    reconfigure("[guest g]\nmay-use = screen1\n");
    OK(&g, "open 0");
    OK(&g, "connected");
    OK(&g, "scene 0 XR24 2");
    SEEN("g", "XR24", 2, 64, 64);
    witness_works();
    /* and not any more */
    reconfigure("");
    becomes(&g, "refused");
    destroy(&g);
}
END_TEST

/* --- coming and going ------------------------------------------------------
 */

START_TEST(a_guest_whose_screen_is_not_there_boots_and_is_seen_later)
{
    struct guest g = connected("g", "connectors=later:64x64");

    OK(&g, "scene 0 XR24 3");
    becomes(&g, "waiting");
    OK(&g, "draw 2 XR24 4");
    OK(&g, "flip 0 102");
    OK(&g, "event 0 102");
    reconfigure("[device later]\ntype = screen\n");
    becomes(&g, "connected");
    for (unsigned tries = 0; !counter(&g, "tiles_sent"); tries++) {
        ck_assert_uint_lt(tries, 3000);
        nap_ms(20);
    }
    destroy(&g);
}
END_TEST

START_TEST(a_killed_backend_costs_neither_buffers_nor_flips)
{
    struct guest g = connected("g", "connectors=screen0:320x200;wall:64x64");

    OK(&g, "scene 0 XR24 1");
    for (unsigned round = 0; round < full(100, 12); round++) {
        unsigned n = 1 + round % 2;

        OK(&g, "draw %u XR24 %u", n, 10 + round);
        OK(&g, "flip 0 %u", 100 + n);
        kill_backend(SIGKILL); /* mostly before its event */
        start_backend();
        OK(&g, "event 0 %u", 100 + n);
        SEEN("g", "XR24", 10 + round, 320, 200);
    }
    ck_assert_str_eq(say(&g, "again 1 1"), "-17"); /* it knows them all */
    OK(&g, "buffer 3 64 64 32 0");
    OK(&g, "detach 101");
    OK(&g, "destroy 1");
    ck_assert(is_in_state(&g, "connected"));
    destroy(&g);
}
END_TEST

START_TEST(a_front_with_the_backends_pages_is_connected_anew_after_a_kill)
{
    struct guest g = connected("g", "be-alloc=1,connectors=screen0:64x64");

    OK(&g, "buffer 1 64 64 32 1");
    kill_backend(SIGKILL);
    start_backend();
    OK(&g, "waits");
    OK(&g, "forget");
    OK(&g, "connected");
    OK(&g, "scene 0 XR24 4");
    SEEN("g", "XR24", 4, 64, 64);
    destroy(&g);
}
END_TEST

START_TEST(a_display_comes_and_goes_within_a_second)
{
    struct guest g = connected("g", "connectors=screen0:64x64");
    bool quick = false;

    for (unsigned tries = 0; !quick && tries < 10; tries++) {
        uint64_t began;

        OK(&g, "scene 0 XR24 1");
        began = far_now_us();
        ck_assert_int_eq(host_do(NULL, 0, "vdispl-detach atlas g 0"), 0);
        quick = far_now_us() - began < 1000000;
        OK(&g, "waits");
        OK(&g, "forget");
        ck_assert_int_eq(
            host_do(NULL, 0, "vdispl-attach atlas g connectors=screen0:64x64"),
            0);
        OK(&g, "connected");
    }
    ck_assert(quick);
    OK(&g, "scene 0 XR24 2");
    SEEN("g", "XR24", 2, 64, 64);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_guest_that_ends_leaves_no_page_mapped)
{
    struct guest g = connected("g", "connectors=screen0:640x480");
    json_t *device;

    OK(&g, "scene 0 XR24 1");
    ck_assert_int_gt(pages_of(&g), 600);
    destroy(&g);
    device = device_of(&g);
    ck_assert(device == NULL);
    ck_assert_int_eq(pages_of(&g), 0);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { a_picture_that_is_drawn_with_page_flips_is_seen_pixel_by_pixel, 1 },
        { every_format_that_linux_front_offers_but_yuv_is_seen, 1 },
        { two_connectors_of_a_guest_show_their_own_pictures, 1 },
        { a_part_of_the_screen_can_be_configured_and_the_rest_is_black, 1 },
        { what_is_drawn_into_the_shown_buffer_is_seen_without_a_flip, 1 },
        { pages_of_the_backend_can_be_drawn_in_where_the_line_allows_it, 1 },
        { flips_are_told_of_sixty_times_a_second, 1 },
        { the_edid_names_the_resolution, 1 },
        { requests_that_make_no_sense_are_refused_one_by_one, 1 },
        { a_flood_of_flips_is_told_of_at_the_screens_pace, 1 },
        { events_that_nobody_takes_cost_nothing, 1 },
        { buffers_are_limited_in_number_and_in_pages, 1 },
        { directories_that_lie_are_refused_and_end_where_the_buffer_does, 1 },
        { a_ring_with_nonsense_ends_its_own_device, COUNT(broken_rings) },
        { words_of_a_ring_that_are_ours_are_not_believed, 1 },
        { nodes_that_a_guest_wrote_anew_are_judged, COUNT(wrong_nodes) },
        { pages_and_ports_that_are_none_are_refused, COUNT(wrong_values) },
        { a_screen_that_a_guest_wishes_for_is_its_own_or_allowed, 1 },
        { a_guest_whose_screen_is_not_there_boots_and_is_seen_later, 1 },
        { a_killed_backend_costs_neither_buffers_nor_flips, 1 },
        { a_front_with_the_backends_pages_is_connected_anew_after_a_kill, 1 },
        { a_display_comes_and_goes_within_a_second, 1 },
        { a_guest_that_ends_leaves_no_page_mapped, 1 },
    };

    return host_main("vdispl", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, full(600, 240), argc, argv);
}
