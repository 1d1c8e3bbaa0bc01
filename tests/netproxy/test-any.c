/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Requests for any device of a kind, devices for one guest at a time, and what
 * servers announce: two real netproxies and several guests.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/any.h"
#include "core/input.h"
#include "netproxy/hotplug.h"
#include "tests/core/suite.h"
#include "tests/netproxy/rig.h"

#define GUESTS 4

static struct rig rig;
static struct proxy atlas, borealis;
static struct guest guests[GUESTS];
static uint16_t port;

/* Devices are words: kbd0, or kbd0! for one guest at a time. */
static void write_borealis(const char *devices)
{
    char text[1024] = "", name[32];
    size_t n = 0;
    int used;

    while (sscanf(devices, "%31s%n", name, &used) == 1) {
        bool exclusive = name[strlen(name) - 1] == '!';

        devices += used;
        if (exclusive)
            name[strlen(name) - 1] = '\0';
        n +=
            (size_t)snprintf(text + n, sizeof(text) - n,
                             "[device %s]\ntype = virtual\n[export %s]\n"
                             "allow = atlas\nany = on\n%s",
                             name, name, exclusive ? "mode = exclusive\n" : "");
    }
    rig_write(&rig, "borealis.conf",
              "[platform]\nname = borealis\n"
              "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n"
              "[device named]\ntype = virtual\n[export named]\nallow = atlas\n"
              "[device others]\ntype = virtual\n"
              "[export others]\nany = on\nallow = cygnus\n%s",
              port, rig.dir, text);
}

static void setup(void)
{
    memset(guests, 0, sizeof(guests));
    rig_begin(&rig);
    port = rig_port();
    rig_write(&rig, "keys", "atlas:00112233445566778899aabbccddeeff\n");
    rig_write(&rig, "atlas.conf",
              "[platform]\nname = atlas\n"
              "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/keys\n",
              port, rig.dir);
}

static void teardown(void)
{
    for (int i = GUESTS - 1; i >= 0; i--)
        if (guests[i].open)
            guest_detach(&guests[i]);
    if (atlas.pid > 0)
        proxy_kill(&atlas, SIGTERM);
    if (borealis.pid > 0)
        proxy_kill(&borealis, SIGTERM);
    atlas.pid = borealis.pid = 0;
    rig_end(&rig);
}

static void start(const char *devices)
{
    write_borealis(devices);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
}

static void reload(const char *devices)
{
    write_borealis(devices);
    proxy_reload(&borealis);
}

static void open_any(unsigned n, const char *what)
{
    guests[n].shared = n > 0;
    guests[n].client = guests[0].client;
    guest_open(&guests[n], &rig, "atlas", n, "borealis", what);
}

/* Which device a guest was given. */
static const char *given(unsigned n)
{
    static char names[GUESTS][64];
    json_t *status = proxy_ask(&borealis, "{\"request\":\"status\"}"), *s;
    char guest[16];
    size_t i;

    ck_assert_ptr_nonnull(status);
    snprintf(guest, sizeof(guest), "guest%u", n);
    names[n][0] = '\0';
    json_array_foreach (json_object_get(status, "sessions"), i, s)
        if (!strcmp(json_string_value(json_object_get(s, "guest")), guest))
            snprintf(names[n], sizeof(names[n]), "%s",
                     json_string_value(json_object_get(s, "device")));
    json_decref(status);
    return names[n];
}

static bool types(unsigned n)
{
    unsigned before = guests[n].count;

    proxy_tap(&borealis, given(n), 30);
    guest_wait_count(&guests[n], before + 2);
    return guests[n].count == before + 2;
}

/* As `farside devices` shows it: state, and free or not; "" if unknown. */
static const char *announced(const char *name)
{
    static char text[64];
    json_t *status = proxy_ask(&atlas, "{\"request\":\"status\"}"), *links, *a;
    size_t i;

    ck_assert_ptr_nonnull(status);
    links = json_object_get(status, "links");
    text[0] = '\0';
    json_array_foreach (json_object_get(json_array_get(links, 0), "announced"),
                        i, a)
        if (!strcmp(json_string_value(json_object_get(a, "name")), name))
            snprintf(text, sizeof(text), "%s%s%s",
                     json_string_value(json_object_get(a, "state")),
                     json_is_true(json_object_get(a, "free")) ? " free" : "",
                     json_is_true(json_object_get(a, "read_only"))
                         ? " read-only"
                         : "");
    json_decref(status);
    return text;
}

static void wait_announced(const char *name, const char *want)
{
    for (int i = 0; strcmp(announced(name), want); i++) {
        ck_assert_msg(i < 500, "%s is announced as \"%s\", not \"%s\"", name,
                      announced(name), want);
        rig_turn(&rig, 10);
    }
}

START_TEST(words_say_what_is_wanted)
{
    uint8_t want[FAR_PROPS_BYTES];
    struct far_input_props props = { .can = FAR_INPUT_CAN_KEYS |
                                            FAR_INPUT_CAN_REL };
    uint8_t has[FAR_PROPS_BYTES] = { 0 };
    struct far_error error;

    memcpy(has, &props, sizeof(props));
    ck_assert(far_any_is(".any") && !far_any_is("any"));
    ck_assert_int_eq(far_any_parse(want, ".any", FAR_CLASS_INPUT, &error), 0);
    ck_assert(far_any_fits(FAR_CLASS_INPUT, has, want));
    ck_assert_int_eq(
        far_any_parse(want, ".any.keys.rel", FAR_CLASS_INPUT, &error), 0);
    ck_assert(far_any_fits(FAR_CLASS_INPUT, has, want));
    ck_assert_int_eq(far_any_parse(want, ".any.touch", FAR_CLASS_INPUT, &error),
                     0);
    ck_assert(!far_any_fits(FAR_CLASS_INPUT, has, want));
    ck_assert_int_eq(far_any_parse(want, ".any", FAR_CLASS_BLOCK, &error), 0);
    ck_assert_int_eq(far_any_parse(want, ".any.keys", FAR_CLASS_BLOCK, &error),
                     -EINVAL);
    ck_assert_int_eq(far_any_parse(want, ".any.", FAR_CLASS_INPUT, &error),
                     -EINVAL);
    ck_assert_int_eq(far_any_parse(want, ".anything", FAR_CLASS_INPUT, &error),
                     -EINVAL);
    ck_assert_int_eq(far_any_parse(want, ".other", FAR_CLASS_INPUT, &error),
                     -EINVAL);
}
END_TEST

START_TEST(a_plugged_in_device_is_named_by_its_section_and_its_own_name)
{
    static const char *const cases[][2] = {
        { "My Keyboard (2)", "usb-My_Keyboard_2" },
        { "  Gr\xc3\xb6\xc3\x9f"
          "e--x  ",
          "usb-Gr_e_x" },
        { "../../etc", "usb-etc" },
        { "", "usb-1" },
        { "0123456789012345678901234567890123456789012345",
          "usb-0123456789012345678901234567890123456789" },
    };
    char name[FAR_NAME_BYTES];

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        far_hotplug_name(name, "usb", cases[i][0]);
        ck_assert_str_eq(name, cases[i][1]);
        ck_assert(far_name_valid(name));
    }
}
END_TEST

START_TEST(a_device_that_is_exported_read_only_is_announced_so)
{
    char path[128];
    FILE *f;

    write_borealis("kbd0");
    snprintf(path, sizeof(path), "%s/borealis.conf", rig.dir);
    f = fopen(path, "a");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "[device disk0]\ntype = memory\nsize = 1\n"
               "[export disk0]\nallow = atlas\nread-only = on\n");
    fclose(f);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    wait_announced("disk0", "ready free read-only");
    wait_announced("kbd0", "ready free");
}
END_TEST

START_TEST(a_folder_without_a_node_that_fits_brings_nothing)
{
    char path[128];

    write_borealis("");
    snprintf(path, sizeof(path), "%s/borealis.conf", rig.dir);
    FILE *f = fopen(path, "a");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "[hotplug usb]\npath = %s/nodes\nallow = atlas\nany = on\n"
            "want = keys\n",
            rig.dir);
    fclose(f);
    proxy_start(&borealis, &rig, "borealis");
    proxy_start(&atlas, &rig, "atlas");
    proxy_wait_text(&atlas, "links.0.state", "up");
    ck_assert_int_eq(proxy_number(&borealis, "problems"), 0);
    open_any(0, ".any");
    guest_wait_reason(&guests[0], "no device that fits");
    open_any(1, "usb-Any_Keyboard");
    guest_wait_reason(&guests[1], "is not plugged in");
    /* The folder comes, with what is no evdev device. */
    snprintf(path, sizeof(path), "%s/nodes", rig.dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/nodes/event0", rig.dir);
    ck_assert_int_eq(symlink("/dev/null", path), 0);
    snprintf(path, sizeof(path), "%s/nodes/event1", rig.dir);
    ck_assert_int_eq(mkfifo(path, 0666), 0);
    rig_turn(&rig, 200);
    ck_assert_str_eq(proxy_text(&borealis, "devices.2.name"), "");
}
END_TEST

START_TEST(any_request_gets_a_device_that_nobody_has)
{
    char first[64];

    start("kbd0 kbd1");
    open_any(0, ".any");
    guest_wait_ready(&guests[0]);
    snprintf(first, sizeof(first), "%s", given(0));
    ck_assert(!strcmp(first, "kbd0") || !strcmp(first, "kbd1"));
    ck_assert_str_eq(proxy_text(&atlas, "remotes.0.chosen"), first);
    ck_assert_str_eq(proxy_text(&borealis, "sessions.0.asked"), ".any");
    open_any(1, ".any.keys");
    guest_wait_ready(&guests[1]);
    ck_assert_str_ne(given(1), first);
    ck_assert(types(0));
    ck_assert(types(1));
    ck_assert_uint_eq(guests[0].count, 2); /* each only its own */
    open_any(2, ".any");                   /* they can be shared */
    guest_wait_ready(&guests[2]);
    ck_assert(!strcmp(given(2), "kbd0") || !strcmp(given(2), "kbd1"));
}
END_TEST

START_TEST(a_guest_that_waits_gets_what_another_gives_back)
{
    start("kbd0! kbd1!");
    for (unsigned i = 0; i < 2; i++) {
        open_any(i, ".any");
        guest_wait_ready(&guests[i]);
    }
    open_any(2, ".any");
    guest_wait_reason(&guests[2], "in use");
    wait_announced("kbd0", "ready");
    ck_assert_str_ne(given(0), given(1));
    guest_detach(&guests[1]);
    guest_wait_ready(&guests[2]);
    ck_assert_str_ne(given(0), given(2));
    ck_assert(types(2));
}
END_TEST

START_TEST(a_guest_that_waits_gets_what_is_plugged_in)
{
    start("");
    open_any(0, ".any");
    guest_wait_reason(&guests[0], "no device that fits");
    reload("late!");
    guest_wait_ready(&guests[0]);
    ck_assert_str_eq(given(0), "late");
    ck_assert(types(0));
    wait_announced("late", "ready");
    ck_assert_str_eq(announced("others"), "");
    ck_assert_str_eq(announced("named"), "ready free");
}
END_TEST

START_TEST(an_exclusive_device_is_for_one_guest_also_by_its_name)
{
    start("kbd0!");
    wait_announced("kbd0", "ready free");
    open_any(0, "kbd0");
    guest_wait_ready(&guests[0]);
    wait_announced("kbd0", "ready");
    open_any(1, "kbd0");
    guest_wait_reason(&guests[1], "one guest at a time");
    guest_detach(&guests[1]);
    rig_turn(&rig, 50); /* it is said before the same one is back */
    open_any(1, "kbd0");
    guest_wait_reason(&guests[1], "one guest at a time");
    reload("kbd0");
    guest_wait_ready(&guests[1]);
    ck_assert(types(0));
}
END_TEST

START_TEST(each_keeps_its_device_over_restarts_of_either_side)
{
    char had[3][64];

    start("kbd0! kbd1! kbd2! kbd3!");
    for (unsigned i = 0; i < 3; i++) {
        open_any(i, ".any");
        guest_wait_ready(&guests[i]);
        snprintf(had[i], sizeof(had[i]), "%s", given(i));
    }
    for (unsigned round = 0; round < 4; round++) {
        struct proxy *victim = round % 2 ? &atlas : &borealis;

        proxy_kill(victim, SIGKILL);
        for (unsigned i = 0; i < 3; i++)
            guest_wait_reason(&guests[i], "");
        proxy_start(victim, &rig, round % 2 ? "atlas" : "borealis");
        for (unsigned i = 0; i < 3; i++) {
            guest_wait_ready(&guests[i]);
            ck_assert_str_eq(given(i), had[i]);
        }
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert(types(i));
}
END_TEST

START_TEST(a_device_that_goes_is_replaced_by_one_that_fits)
{
    char had[64];

    start("kbd0! kbd1!");
    open_any(0, ".any");
    guest_wait_ready(&guests[0]);
    snprintf(had, sizeof(had), "%s", given(0));
    reload(!strcmp(had, "kbd0") ? "kbd1!" : "kbd0!");
    for (int i = 0; !strcmp(given(0), had) || !given(0)[0]; i++) {
        ck_assert_int_lt(i, 500);
        rig_turn(&rig, 10);
    }
    guest_wait_ready(&guests[0]);
    ck_assert(types(0));
    wait_announced(had, "");
    reload("");
    guest_wait_reason(&guests[0], "");
    reload("new0!");
    guest_wait_ready(&guests[0]);
    ck_assert_str_eq(given(0), "new0");
}
END_TEST

START_TEST(a_guest_of_the_same_machine_may_ask_for_any_too)
{
    start("kbd0! kbd1!");
    open_any(0, ".any");
    guest_wait_ready(&guests[0]);
    guest_open(&guests[1], &rig, "borealis", 1, "", ".any");
    guest_wait_ready(&guests[1]);
    ck_assert_str_ne(given(0), given(1));
    ck_assert(types(1));
    /* What is only for cygnus far away is for those here, too. */
    guest_open(&guests[2], &rig, "borealis", 2, "", ".any");
    guest_wait_ready(&guests[2]);
    ck_assert_str_ne(given(2), given(0));
    ck_assert_str_ne(given(2), given(1));
}
END_TEST

START_TEST(words_that_nobody_knows_are_refused_in_words)
{
    start("kbd0");
    open_any(0, ".any.pedals");
    guest_wait_reason(&guests[0], "pedals");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netproxy: any device");
    TCase *c = tcase_create("any");

    tcase_set_timeout(c, 120);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, words_say_what_is_wanted);
    tcase_add_test(
        c, a_plugged_in_device_is_named_by_its_section_and_its_own_name);
    tcase_add_test(c, a_folder_without_a_node_that_fits_brings_nothing);
    tcase_add_test(c, any_request_gets_a_device_that_nobody_has);
    tcase_add_test(c, a_guest_that_waits_gets_what_another_gives_back);
    tcase_add_test(c, a_guest_that_waits_gets_what_is_plugged_in);
    tcase_add_test(c, an_exclusive_device_is_for_one_guest_also_by_its_name);
    tcase_add_test(c, a_device_that_is_exported_read_only_is_announced_so);
    tcase_add_test(c, each_keeps_its_device_over_restarts_of_either_side);
    tcase_add_test(c, a_device_that_goes_is_replaced_by_one_that_fits);
    tcase_add_test(c, a_guest_of_the_same_machine_may_ask_for_any_too);
    tcase_add_test(c, words_that_nobody_knows_are_refused_in_words);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
