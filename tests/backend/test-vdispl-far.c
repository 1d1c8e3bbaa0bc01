/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Screens of another machine, on the simulator: what a guest draws is what is
 * seen there, pixel by pixel; a link that is slow, lost or has its netproxies
 * killed costs pictures, and never a flip.
 */
#include <stdint.h>
#include "tests/backend/farhost.h"
#include "tests/backend/screen.h"

static char far_options[300], far_socket[300];

/* Runs with the far machine's control socket. */
static json_t *ask_far(const char *text)
{
    json_t *answer;
    char near[sizeof(sock)];

    memcpy(near, sock, sizeof(near));
    snprintf(sock, sizeof(sock), "%.159s", far_socket);
    answer = ask("%s", text);
    memcpy(sock, near, sizeof(sock));
    return answer;
}

static void configure_near(const char *more)
{
    put(host, "farside.conf",
        "[platform]\nname = atlas\n"
        "[server borealis]\naddress = 127.0.0.1:%u\nclear-text = on\n%s",
        port, more);
}

static void set_up(void)
{
    fresh_two_hosts();
    put(far_dir, "farside.conf",
        "[platform]\nname = borealis\n"
        "[listen]\naddress = 127.0.0.1:%u\nclear-text = on\n"
        "clear-address = 127.0.0.1:%u\nclear-text-allow = atlas\n"
        "[device screen0]\ntype = screen\n"
        "[device wall]\ntype = blank\n"
        "[device lag]\ntype = rate\nbehind = wall\nbytes = 2000000\n"
        "[export screen0]\nallow = atlas\n"
        "[export lag]\nallow = atlas\n",
        port + 20000, port);
    configure_near("");
    snprintf(far_options, sizeof(far_options), "-r %s/farside", far_dir);
    snprintf(far_socket, sizeof(far_socket), "%s/farside/netproxy.sock",
             far_dir);
    shot_options = far_options;
    far_proxy = start_far();
    near_proxy = start_netproxy();
    start_backend();
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    end_with(&near_proxy, SIGKILL);
    end_with(&far_proxy, SIGKILL);
}

START_TEST(what_is_drawn_here_is_seen_there_pixel_by_pixel)
{
    struct guest g = connected("g", "connectors=borealis/screen0:1280x800");
    json_t *device, *one;
    json_int_t sent, unpacked;

    OK(&g, "scene 0 XR24 1"); /* like noise: it can't be packed */
    SEEN("g", "XR24", 1, 1280, 800);
    for (unsigned seed = 2; seed < 5; seed++) {
        unsigned n = 1 + seed % 2;

        OK(&g, "draw %u XR24 %u", n, seed);
        OK(&g, "flip 0 %u", 100 + n);
        OK(&g, "event 0 %u", 100 + n);
        SEEN("g", "XR24", seed, 1280, 800);
    }
    /* one colour packs well */
    OK(&g, "fill 1 0x336699");
    OK(&g, "flip 0 101");
    OK(&g, "event 0 101");
    for (unsigned tries = 0;; tries++) {
        png_image image;
        png_bytep pixels = picture("g", &image);
        bool good = pixels != NULL;

        for (uint32_t i = 0; good && i < 1280u * 800; i++)
            good = !memcmp(pixels + i * 3, "\x33\x66\x99", 3);
        free(pixels);
        if (good)
            break;
        ck_assert_uint_lt(tries, 1200);
        nap_ms(50);
    }
    device = device_of(&g);
    one = json_array_get(json_object_get(device, "connectors"), 0);
    one = json_object_get(one, "counters");
    sent = json_integer_value(json_object_get(one, "bytes_sent"));
    unpacked = json_integer_value(json_object_get(one, "bytes_unpacked"));
    ck_assert_int_lt(sent, unpacked);
    json_decref(device);
    destroy(&g);
}
END_TEST

START_TEST(a_slow_screen_loses_pictures_and_never_a_flip)
{
    struct guest g = connected("g", "connectors=borealis/lag:640x480");
    unsigned flips, mean, wrong;
    unsigned long long shortest, longest;
    const char *said;

    OK(&g, "scene 0 XR24 1");
    said = say(&g, "animate 0 120 1");
    ck_assert_int_eq(sscanf(said,
                            "ok flips %u mean %u shortest %llu longest %llu "
                            "wrong %u",
                            &flips, &mean, &shortest, &longest, &wrong),
                     5);
    ck_assert_uint_eq(flips, 120);
    ck_assert_uint_eq(wrong, 0);
    /* all that was drawn would be so much */
    ck_assert_int_lt(counter(&g, "bytes_sent"), 120ll * 640 * 480 * 4 / 2);
    ck_assert_int_eq(counter(&g, "events"), 120);
    destroy(&g);
}
END_TEST

START_TEST(a_lost_link_costs_pictures_and_no_flip_and_comes_back)
{
    struct guest g = connected("g", "connectors=borealis/screen0:320x200");

    OK(&g, "scene 0 XR24 1");
    SEEN("g", "XR24", 1, 320, 200);
    end_with(&far_proxy, SIGKILL);
    for (unsigned i = 0; i < 30; i++) {
        unsigned n = 1 + i % 2;

        OK(&g, "draw %u XR24 %u", n, 10 + i);
        OK(&g, "flip 0 %u", 100 + n);
        OK(&g, "event 0 %u", 100 + n);
    }
    becomes(&g, "waiting");
    far_proxy = start_far();
    SEEN("g", "XR24", 39, 320, 200);
    becomes(&g, "connected");
    destroy(&g);
}
END_TEST

START_TEST(whoever_is_killed_the_screen_goes_on)
{
    struct guest g = connected("g", "connectors=borealis/screen0:320x200");
    unsigned seed = 1;

    OK(&g, "scene 0 XR24 1");
    for (unsigned round = 0; round < full(20, 3); round++)
        for (unsigned who = 0; who < 3; who++) {
            unsigned n = 1 + ++seed % 2;

            OK(&g, "draw %u XR24 %u", n, seed);
            OK(&g, "flip 0 %u", 100 + n);
            if (who == 0) {
                kill_backend(SIGKILL);
                start_backend();
            } else if (who == 1) {
                end_with(&near_proxy, SIGKILL);
                near_proxy = start_netproxy();
            } else {
                end_with(&far_proxy, SIGKILL);
                far_proxy = start_far();
            }
            OK(&g, "event 0 %u", 100 + n);
            SEEN("g", "XR24", seed, 320, 200);
        }
    destroy(&g);
}
END_TEST

START_TEST(status_there_says_who_shows_what)
{
    struct guest g = connected("g", "connectors=borealis/screen0:320x200");
    json_t *status;
    char *text;

    OK(&g, "scene 0 XR24 1");
    SEEN("g", "XR24", 1, 320, 200);
    status = ask_far("{\"request\":\"status\"}");
    text = json_dumps(status, 0);
    ck_assert(strstr(text, "\"display.tiles\""));
    free(text);
    json_decref(status);
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { what_is_drawn_here_is_seen_there_pixel_by_pixel, 1 },
        { a_slow_screen_loses_pictures_and_never_a_flip, 1 },
        { a_lost_link_costs_pictures_and_no_flip_and_comes_back, 1 },
        { whoever_is_killed_the_screen_goes_on, 1 },
        { status_there_says_who_shows_what, 1 },
    };

    return host_main("vdispl-far", tests, sizeof(tests) / sizeof(tests[0]),
                     set_up, tear_down, full(600, 240), argc, argv);
}
