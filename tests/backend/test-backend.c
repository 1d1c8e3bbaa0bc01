/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-backend on the simulator, against fronts that do what they should
 * not (front.c, in guests of their own): the attacks of XEN-FACTS 3.2 as far as
 * input has them. Whatever a guest does, it loses its own device at most, with
 * a reason, and the witness, another guest, goes on getting its keys.
 */
#include <dirent.h>
#include "tests/backend/keyboard.h"

static void press(const char *device, unsigned code, int value)
{
    json_t *answer = ask("{\"request\":\"send\",\"device\":\"%s\",\"events\":[{"
                         "\"type\":\"key\",\"code\":%u,\"value\":%d}]}",
                         device, code, value);

    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
}

static void type(const char *device, unsigned code)
{
    press(device, code, 1);
    press(device, code, 0);
}

/* The status of a guest's device; the caller's to decref is *whole. */
static json_t *device_status(const struct guest *g, unsigned devid,
                             json_t **whole)
{
    json_t *guests, *one;
    size_t i, k;

    *whole = ask("{\"request\":\"status\"}");
    ck_assert_ptr_nonnull(*whole);
    guests = json_object_get(*whole, "guests");
    for (i = 0; i < json_array_size(guests); i++) {
        json_t *that = json_array_get(guests, i);
        json_t *devices = json_object_get(that, "devices");

        if (json_integer_value(json_object_get(that, "domid")) !=
            (json_int_t)g->domid)
            continue;
        json_array_foreach (devices, k, one) {
            if (json_integer_value(json_object_get(one, "devid")) ==
                (json_int_t)devid)
                return one;
        }
    }
    return NULL;
}

/* The device's error node and its status say why, in these words. */
static void refused_saying(struct guest *g, unsigned devid, const char *words)
{
    json_t *whole, *status;
    const char *reason;

    OK(g, "wait %s/state 56 5000", back(g, devid));
    for (int i = 0; i < 500; i++) {
        reason = say(g, "read %s/error", back(g, devid));
        if (!strncmp(reason, "ok", 2))
            break;
        nap_ms(10);
    }
    ck_assert_msg(strstr(reason, words) != NULL, "\"%s\" has no \"%s\"", reason,
                  words);
    status = device_status(g, devid, &whole);
    ck_assert_ptr_nonnull(status);
    ck_assert_str_eq(json_string_value(json_object_get(status, "state")),
                     "refused");
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(status, "reason")), words));
    json_decref(whole);
}

/* --- the witness
 * --------------------------------------------------------------
 */

static struct guest witness;

static void witness_works(void)
{
    static unsigned code = 2;
    char want[32];
    const char *got;

    code = code >= 50 ? 2 : code + 1;
    type("wit", code);
    snprintf(want, sizeof(want), "ok k%u+ k%u-", code, code);
    got = say(&witness, "drain 0 2000 2");
    ck_assert_msg(!strcmp(got, want), "the witness got \"%s\", not \"%s\"", got,
                  want);
}

static void set_up(void)
{
    char path[200];
    FILE *f;

    fresh_host();
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f, "[platform]\nname = atlas\nrelease-after = 200ms\n[device "
               "wit]\ntype = virtual\n"
               "[device kbd0]\ntype = virtual\n[device kbd1]\n"
               "type = virtual\n");
    fclose(f);
    start_backend();
    witness = guest_at_front("witness", "vkb=backend-type=linux,unique-id=wit");
    connect_front(&witness, 0);
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    stop_program(&witness);
}

#define LINE(address) "vkb=backend-type=linux,unique-id=" address

/* --- what should work
 * ----------------------------------------------------------
 */

START_TEST(a_key_reaches_the_guest_and_its_acknowledgement_is_timed)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    json_t *whole, *status;

    connect_front(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    nap_ms(50);
    status = device_status(&g, 0, &whole);
    ck_assert_str_eq(json_string_value(json_object_get(status, "state")),
                     "connected");
    ck_assert_str_eq(json_string_value(json_object_get(status, "address")),
                     "kbd0");
    ck_assert_int_gt(
        json_integer_value(json_object_get(
            json_object_get(json_object_get(status, "latency"), "guest"),
            "count")),
        0);
    json_decref(whole);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(two_devices_of_one_guest_and_one_device_of_two_guests)
{
    struct guest a = guest_at_front("a", LINE("kbd0") " " LINE("kbd1"));
    struct guest b = guest_at_front("b", LINE("kbd0"));

    connect_front(&a, 0);
    connect_front(&a, 1);
    connect_front(&b, 0);
    type("kbd0", 30);
    type("kbd1", 31);
    ck_assert_str_eq(say(&a, "drain 0 1000 2"), "ok k30+ k30-");
    ck_assert_str_eq(say(&a, "drain 1 1000 2"), "ok k31+ k31-");
    ck_assert_str_eq(say(&b, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&a);
    type("kbd0", 32);
    ck_assert_str_eq(say(&b, "drain 0 1000 2"), "ok k32+ k32-");
    destroy(&b);
}
END_TEST

START_TEST(hot_attach_and_detach_a_hundred_times)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(host_do(NULL, 0,
                                 "vkb-attach atlas g "
                                 "backend-type=linux,unique-id=kbd1"),
                         0);
        OK(&g, "wait %s/state 12 2000", back(&g, 1));
        connect_front(&g, 1);
        type("kbd1", 40);
        ck_assert_str_eq(say(&g, "drain 1 2000 2"), "ok k40+ k40-");
        /* the front need not answer: ours goes to 6 at once */
        ck_assert_int_eq(host_do(NULL, 0, "vkb-detach atlas g 1"), 0);
        OK(&g, "unshare 1");
        OK(&g, "unbind 1");
    }
    type("kbd0", 41);
    ck_assert_str_eq(say(&g, "drain 0 2000 2"), "ok k41+ k41-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_device_that_is_not_configured_is_no_failure_and_comes_at_reload)
{
    struct guest g = guest_at_front("g", LINE("later"));
    char path[200];
    json_t *whole, *status;
    FILE *f;

    connect_front(&g, 0);
    status = device_status(&g, 0, &whole);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(status, "reason")),
               "[device later]"));
    json_decref(whole);
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "a");
    fprintf(f, "[device later]\ntype = virtual\n");
    fclose(f);
    json_decref(ask("{\"request\":\"reload\"}"));
    type("later", 20);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k20+ k20-");
    status = device_status(&g, 0, &whole);
    ck_assert(json_is_null(json_object_get(status, "reason")));
    json_decref(whole);
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_remote_device_without_a_netproxy_is_no_failure)
{
    struct guest g = guest_at_front("g", LINE("borealis/kbd0"));
    json_t *whole, *status;

    connect_front(&g, 0);
    status = device_status(&g, 0, &whole);
    ck_assert_str_eq(json_string_value(json_object_get(status, "address")),
                     "borealis/kbd0");
    ck_assert(json_is_string(json_object_get(status, "reason")));
    json_decref(whole);
    destroy(&g);
}
END_TEST

START_TEST(no_address_or_a_wrong_one_is_refused_with_a_remedy)
{
    struct guest none = guest_at_front("none", "vkb=backend-type=linux");
    struct guest bad = guest_at_front("bad", LINE("a/b/c"));

    refused_saying(&none, 0, "unique-id=DEVICE");
    refused_saying(&bad, 0, "unique-id");
    destroy(&none);
    destroy(&bad);
    witness_works();
}
END_TEST

START_TEST(kind_vkbd_is_left_alone_unless_it_has_an_address)
{
    struct guest g = guest_at_front("g", "vkb=backend-type=qemu");
    char path[128];

    snprintf(path, sizeof(path), "/local/domain/0/backend/vkbd/%u/0", g.domid);
    offer(&g, 0);
    OK(&g, "write device/vkbd/0/state 3");
    ck_assert_str_eq(say(&g, "wait %s/state 23456 300", path), "no 1");
    ck_assert_str_eq(say(&g, "read %s/feature-poll", path), "err ENOENT");
    stop_program(&g); /* nobody writes 6 for it: xl would wait */
    witness_works();
}
END_TEST

START_TEST(kind_vkbd_with_an_address_and_no_device_model_is_served)
{
    struct guest g =
        guest_at_front("g2", "vkb=backend-type=qemu,unique-id=kbd0");
    char path[128];

    snprintf(path, sizeof(path), "/local/domain/0/backend/vkbd/%u/0", g.domid);
    offer(&g, 0);
    ck_assert_str_eq(say(&g, "wait %s/state 2 200", path), "no 1");
    OK(&g, "write device/vkbd/0/state 3");
    OK(&g, "wait %s/state 4 2000", path);
    OK(&g, "write device/vkbd/0/state 4");
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
}
END_TEST

START_TEST(restart_and_every_way_of_a_front_ends_with_keys)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "write device/vkbd/0/state 1"); /* 3, 1, 3 */
    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    OK(&g, "write device/vkbd/0/state 3"); /* 4, 3 */
    nap_ms(100);
    join(&g, 0);
    type("kbd0", 31);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k31+ k31-");
    OK(&g, "write device/vkbd/0/state 5"); /* kexec: 5, 6, 2 */
    OK(&g, "wait %s/state 5 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 6");
    OK(&g, "wait %s/state 6 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 1");
    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    join(&g, 0);
    type("kbd0", 32);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k32+ k32-");
    OK(&g, "write device/vkbd/0/state 6"); /* a driver unloaded … */
    OK(&g, "wait %s/state 2 3000", back(&g, 0));
    join(&g, 0); /* … and loaded: 6, 3 */
    type("kbd0", 33);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k33+ k33-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_front_that_looks_by_itself_is_not_notified)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    json_t *whole, *counters;
    json_int_t before;

    OK(&g, "wait %s/feature-poll 1 2000", back(&g, 0));
    offer(&g, 0);
    OK(&g, "write device/vkbd/0/request-poll 1");
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    counters = json_object_get(device_status(&g, 0, &whole), "counters");
    before = json_integer_value(json_object_get(counters, "notifies"));
    ck_assert_int_gt(before, 0);
    json_decref(whole);
    OK(&g, "poke 0 128 1"); /* "I look, on processor 0" */
    type("kbd0", 31);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k31+ k31-");
    counters = json_object_get(device_status(&g, 0, &whole), "counters");
    ck_assert_int_eq(json_integer_value(json_object_get(counters, "notifies")),
                     before);
    json_decref(whole);
    OK(&g, "poke 0 128 0");
    type("kbd0", 32);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k32+ k32-");
    counters = json_object_get(device_status(&g, 0, &whole), "counters");
    ck_assert_int_gt(json_integer_value(json_object_get(counters, "notifies")),
                     before);
    json_decref(whole);
    OK(&g, "poke 0 128 4294967295"); /* no processor: its own loss */
    type("kbd0", 33);
    witness_works();
    destroy(&g);
}
END_TEST

START_TEST(the_control_socket_says_what_is_wrong_with_a_request)
{
    static const char *const requests[] = {
        "{\"request\":\"fly\"}",
        "{}",
        "{\"request\":\"send\"}",
        "{\"request\":\"send\",\"device\":\"none\",\"events\":[]}",
        "{\"request\":\"send\",\"device\":\"a b\",\"events\":[]}",
        "{\"request\":\"send\",\"device\":\"kbd0\",\"events\":[{}]}",
        ("{\"request\":\"send\",\"device\":\"kbd0\",\"events\":[{\"type\":"
         "\"key\",\"code\":70000,\"value\":1}]}"),
        "{\"request\":7}",
    };

    quiet = true;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        ck_assert_msg(!ask("%s", requests[i]), "%s", requests[i]);
    quiet = false;
    witness_works();
}
END_TEST

START_TEST(a_reload_of_a_wrong_configuration_changes_nothing)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f, "[platform]\nname = atlas\n[device wit]\ntype = nonsense\n");
    fclose(f);
    quiet = true;
    ck_assert_ptr_null(ask("{\"request\":\"reload\"}"));
    quiet = false;
    witness_works();
}
END_TEST

START_TEST(one_guest_has_at_most_64_devices_and_the_next_is_refused)
{
    size_t i, k, refused = 0, good = 0;
    json_t *whole, *devices, *one;
    char lines[65 * 64] = "";
    struct guest g;

    for (i = 0; i < 64; i++)
        strcat(lines, LINE("kbd0") " ");
    g = guest_at_front("g", lines);
    /* as libxl would write a 65th */
    ck_assert_int_eq(
        host_do(NULL, 0,
                "run atlas -- xenstore-write "
                "/local/domain/%u/device/vkbd/64/state 1 "
                "%s/frontend /local/domain/%u/device/vkbd/64 "
                "%s/frontend-id %u %s/online 1 %s/unique-id kbd0 %s/state 1",
                g.domid, back(&g, 64), g.domid, back(&g, 64), g.domid,
                back(&g, 64), back(&g, 64), back(&g, 64)),
        0);
    for (int tries = 0; refused + good < 65 && tries < 300; tries++) {
        nap_ms(10);
        refused = good = 0;
        device_status(&g, 0, &whole);
        json_array_foreach (json_object_get(whole, "guests"), k, one) {
            if (json_integer_value(json_object_get(one, "domid")) !=
                (json_int_t)g.domid)
                continue;
            devices = json_object_get(one, "devices");
            for (i = 0; i < json_array_size(devices); i++) {
                const char *state = json_string_value(
                    json_object_get(json_array_get(devices, i), "state"));

                refused += !strcmp(state, "refused");
                good += strcmp(state, "refused") != 0;
            }
        }
        json_decref(whole);
    }
    ck_assert_uint_eq(refused, 1);
    ck_assert_uint_eq(good, 64);
    destroy(&g);
    witness_works();
}
END_TEST

static unsigned descriptors(void)
{
    char path[64];
    unsigned n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)backend);
    d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* The simulator's library keeps up to 64 pipes of guests that are gone. */
#define KEPT 64u

START_TEST(attack_63_guests_that_come_and_go_leave_nothing)
{
    unsigned before = 0;

    for (unsigned i = 0; i < 2 * KEPT; i++) {
        struct guest g = guest_at_front("g", LINE("kbd0"));

        connect_front(&g, 0);
        type("kbd0", 30);
        if (i & 1) /* with events that it has not taken */
            ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
        if (i & 2)
            stop_program(&g);
        destroy(&g);
        if (i == 3)
            before = descriptors();
    }
    witness_works();
    ck_assert_uint_le(descriptors(), before + KEPT);
}
END_TEST

START_TEST(save_and_restore_gets_keys_again_and_stays_absolute)
{
    struct guest g = guest_at_front("g", LINE("kbd0") ",feature-abs-pointer=1,"
                                                      "width=1000,height=500");
    char out[64];

    offer(&g, 0);
    OK(&g, "write device/vkbd/0/request-abs-pointer 1");
    join(&g, 0);
    ck_assert_int_eq(host_do(NULL, 0, "save atlas g"), 0);
    ck_assert_int_eq(host_do(NULL, 0, "restore atlas g"), 0);
    ck_assert_int_eq(host_do(out, sizeof(out), "domid atlas g"), 0);
    g.domid = (unsigned)strtoul(out, NULL, 10);
    stop_program(&g);
    run_program(&g,
                FRONT);   /* as a front that is told of the resume: all anew */
    connect_front(&g, 0); /* without request-abs-pointer */
    json_decref(ask("{\"request\":\"send\",\"device\":\"kbd0\",\"events\":[{"
                    "\"type\":\"pos\",\"x\":65535,\"y\":65535,\"z\":0}]}"));
    ck_assert_str_eq(say(&g, "drain 0 1000 1"), "ok p999,499,0");
    destroy(&g);
    witness_works();
}
END_TEST

/* --- shields
 * --------------------------------------------------------------------
 */

START_TEST(disable_pointer_is_removed_before_the_guest_runs_and_keys_come)
{
    struct guest g =
        guest_at_front("g", LINE("kbd0") ",feature-disable-pointer=1");

    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    ck_assert_str_eq(say(&g, "read %s/feature-disable-pointer", back(&g, 0)),
                     "err ENOENT");
    ck_assert_str_eq(say(&g, "read %s/feature-abs-pointer", back(&g, 0)),
                     "ok 1");
    offer(&g, 0);
    OK(&g, "write device/vkbd/0/request-abs-pointer 1");
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    json_decref(ask("{\"request\":\"send\",\"device\":\"kbd0\",\"events\":[{"
                    "\"type\":\"motion\",\"x\":5,\"y\":5,\"z\":0},"
                    "{\"type\":\"key\",\"code\":272,\"value\":1}]}"));
    ck_assert_str_eq(say(&g, "drain 0 100"), "ok");
    destroy(&g);
}
END_TEST

START_TEST(a_front_that_may_have_read_disable_pointer_gets_no_key)
{
    struct guest g =
        guest_at_front("g", LINE("kbd0") ",feature-disable-pointer=1");

    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    offer(&g, 0);
    OK(&g, "write device/vkbd/0/state 3");
    refused_saying(&g, 0, "feature-disable-pointer");
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 200"), "ok");
    /* nor from a successor, which finds the node removed */
    kill_backend(SIGKILL);
    start_backend();
    OK(&g, "write device/vkbd/0/state 6");
    nap_ms(50);
    OK(&g, "write device/vkbd/0/state 1");
    OK(&g, "wait %s/state 2 3000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 3");
    refused_saying(&g, 0, "feature-disable-pointer");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(disable_keyboard_is_left_and_only_buttons_come)
{
    struct guest g =
        guest_at_front("g", LINE("kbd0") ",feature-disable-keyboard=1");

    connect_front(&g, 0);
    ck_assert_str_eq(say(&g, "read %s/feature-disable-keyboard", back(&g, 0)),
                     "ok 1");
    type("kbd0", 30);
    type("kbd0", 272);
    ck_assert_str_eq(say(&g, "drain 0 300"), "ok k272+ k272-");
    destroy(&g);
}
END_TEST

/* --- attacks: rings
 * --------------------------------------------------------------
 */

START_TEST(attack_5_garbage_in_the_rest_of_the_page_is_not_looked_at)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    for (unsigned at = 8; at < 4096; at += 4)
        OK(&g, "poke 0 %u %u", at, 0xdeadbeef + at);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_6_in_prod_overwritten_by_the_guest_is_written_anew)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "poke 0 4 4000000000");
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_7_indexes_wrap_at_2_32_and_no_event_is_lost)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    offer(&g, 0);
    OK(&g, "cons 0 %u", 0u - 40);
    OK(&g, "poke 0 4 %u", 0u - 40);
    join(&g, 0);
    for (unsigned i = 0; i < 60; i++) {
        char want[32];
        unsigned code = 2 + i % 50;

        type("kbd0", code);
        snprintf(want, sizeof(want), "ok k%u+ k%u-", code, code);
        ck_assert_str_eq(say(&g, "drain 0 1000 2"), want);
    }
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_8_in_cons_ahead_of_in_prod_loses_the_device)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "poke 0 0 7");
    OK(&g, "notify 0 1");
    refused_saying(&g, 0, "nonsense into its page");
    witness_works();
    /* it closes, starts again, and is served again */
    OK(&g, "write device/vkbd/0/state 6");
    nap_ms(50);
    OK(&g, "cons 0 0");
    OK(&g, "write device/vkbd/0/state 1");
    OK(&g, "wait %s/state 2 3000", back(&g, 0));
    ck_assert_str_eq(say(&g, "read %s/error", back(&g, 0)), "err ENOENT");
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
}
END_TEST

START_TEST(attack_8_in_cons_that_goes_back_loses_the_device)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    nap_ms(50);
    OK(&g, "poke 0 0 1");
    OK(&g, "notify 0 1");
    refused_saying(&g, 0, "nonsense into its page");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_8_in_cons_jumping_at_random_loses_the_device_alone)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    for (int i = 0; i < 3; i++) {
        fprintf(g.in, "hammer 0 100\n");
        fflush(g.in);
        for (int k = 0; k < 5; k++) {
            type("kbd0", 30);
            witness_works();
        }
        {
            char line[64];

            ck_assert_ptr_nonnull(fgets(line, sizeof(line), g.out));
        }
    }
    refused_saying(&g, 0, "nonsense into its page");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_42_a_ring_that_stays_full_loses_motion_and_no_release)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    const char *got;

    connect_front(&g, 0);
    press("kbd0", 42, 1);
    for (unsigned i = 0; i < 100; i++)
        type("kbd0", 2 + i % 8);
    for (unsigned i = 0; i < 40; i++)
        json_decref(ask("{\"request\":\"send\",\"device\":\"kbd0\",\"events\":"
                        "[{\"type\":\"motion\",\"x\":1,\"y\":1,\"z\":0}]}"));
    press("kbd0", 42, 0);
    witness_works();
    ck_assert_str_eq(say(&g, "peek 0 4"), "ok 51"); /* in_prod */
    got = say(&g, "drain 0 500");
    { /* each press has its release, in order, and shift ends up */
        bool down[256] = { 0 };
        unsigned code, presses = 0;
        char updown;

        for (const char *p = strchr(got, ' '); p; p = strchr(p + 1, ' ')) {
            if (sscanf(p, " k%u%c", &code, &updown) != 2)
                continue;
            ck_assert_msg(down[code] == (updown == '-'), "%s", got);
            down[code] = updown == '+';
            presses += updown == '+';
        }
        for (unsigned i = 0; i < 256; i++)
            ck_assert_msg(!down[i], "key %u stays down: %s", i, got);
        ck_assert_uint_gt(presses, 20);
    }
    ck_assert_ptr_nonnull(strstr(got, " m40,40,0")); /* all in one */
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_43_and_47_a_page_revoked_or_a_guest_killed_while_connected)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "unshare 0");
    for (int i = 0; i < 20; i++)
        type("kbd0", 30);
    witness_works();
    stop_program(&g);
    for (int i = 0; i < 20; i++)
        type("kbd0", 30);
    witness_works();
    destroy(&g);
    type("kbd0", 30);
    witness_works();
}
END_TEST

START_TEST(attack_44_requests_toggled_after_connect_change_nothing)
{
    struct guest g = guest_at_front("g", LINE("kbd0") ",feature-abs-pointer=1,"
                                                      "width=100,height=100");

    offer(&g, 0);
    OK(&g, "write device/vkbd/0/request-abs-pointer 1");
    join(&g, 0);
    for (int i = 0; i < 10; i++) {
        OK(&g, "write device/vkbd/0/request-abs-pointer %d", i & 1);
        OK(&g, "write device/vkbd/0/request-multi-touch %d", i & 1);
        OK(&g, "write device/vkbd/0/request-raw-pointer nonsense");
        OK(&g, "write device/vkbd/0/request-poll %d", i & 1);
        json_decref(
            ask("{\"request\":\"send\",\"device\":\"kbd0\",\"events\":[{"
                "\"type\":\"pos\",\"x\":%d,\"y\":65535,\"z\":0}]}",
                i & 1 ? 0 : 65535));
        ck_assert_str_eq(say(&g, "drain 0 1000 1"),
                         i & 1 ? "ok p0,99,0" : "ok p99,99,0");
    }
    destroy(&g);
    witness_works();
}
END_TEST

/* --- attacks: grants and event channels
 * --------------------------------------------
 */

static void with_gref(const char *gref, const char *words)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    offer(&g, 0);
    OK(&g, "write device/vkbd/0/page-gref %s", gref);
    OK(&g, "write device/vkbd/0/state 3");
    refused_saying(&g, 0, words);
    destroy(&g);
    witness_works();
}

START_TEST(attack_46_grefs_that_are_none)
{
    with_gref("0", "page-gref");
    with_gref("7", "page-gref");
    with_gref("9999", "can't be mapped");
    with_gref("4294967295", "can't be mapped");
    with_gref("4294967296", "page-gref");
    with_gref("-8", "page-gref");
    with_gref("8x", "page-gref");
    with_gref("99999999999999999999999", "page-gref");
}
END_TEST

START_TEST(attack_46_a_page_that_is_read_only_or_for_another_domain)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    unsigned gref;

    offer(&g, 0);
    gref = (unsigned)strtoul(say(&g, "share 1 0 0") + 3, NULL, 10);
    OK(&g, "write device/vkbd/0/page-gref %u", gref);
    OK(&g, "write device/vkbd/0/state 3");
    refused_saying(&g, 0, "can't be mapped");
    OK(&g, "write device/vkbd/0/state 6");
    nap_ms(50);
    gref =
        (unsigned)strtoul(say(&g, "share 2 1 %u", witness.domid) + 3, NULL, 10);
    OK(&g, "write device/vkbd/0/page-gref %u", gref);
    OK(&g, "write device/vkbd/0/state 3");
    nap_ms(200);
    refused_saying(&g, 0, "can't be mapped");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_49_ports_that_are_none_or_another_guests)
{
    static const char *const ports[] = { "0",     "131072",     "-1",
                                         "12345", "9999999999", "1e3" };

    for (unsigned i = 0; i <= sizeof(ports) / sizeof(ports[0]); i++) {
        struct guest g = guest_at_front("g", LINE("kbd0"));

        offer(&g, 0);
        if (i < sizeof(ports) / sizeof(ports[0]))
            OK(&g, "write device/vkbd/0/event-channel %s", ports[i]);
        else /* bound already, to somebody */
            OK(&g, "write device/vkbd/0/event-channel %u", 1);
        OK(&g, "write device/vkbd/0/state 3");
        refused_saying(&g, 0, "event-channel");
        destroy(&g);
        witness_works();
    }
}
END_TEST

START_TEST(attack_49_a_port_closed_after_the_bind)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "unbind 0");
    for (int i = 0; i < 20; i++)
        type("kbd0", 30);
    witness_works();
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_50_a_storm_of_events_costs_the_others_nothing)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    char line[64];

    connect_front(&g, 0);
    fprintf(g.in, "notify 0 1000000\n");
    fflush(g.in);
    for (int i = 0; i < 20; i++)
        witness_works();
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), g.out));
    { /* the pauses of an idle storm grow: few wake-ups for a million events */
        json_t *whole, *status = device_status(&g, 0, &whole);
        json_int_t wakes = json_integer_value(
            json_object_get(json_object_get(status, "counters"), "wakes"));

        ck_assert_int_lt(wakes, 2000);
        json_decref(whole);
    }
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 2000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(an_event_whose_work_was_seen_before_it_came_is_not_punished)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    json_t *whole, *status;
    unsigned prod;

    connect_front(&g, 0);
    for (int i = 0; i < 20; i++) {
        press("kbd0", 30, i % 2 == 0);
        nap_ms(5);
        ck_assert_int_eq(sscanf(say(&g, "peek 0 4"), "ok %u", &prod), 1);
        ck_assert_str_eq(say(&g, "cons 0 %u", prod), "ok");
        press("kbd0", 31, i % 2 == 0); /* now we know in_cons */
        nap_ms(5);
        ck_assert_str_eq(say(&g, "notify 0 1"), "ok");
    }
    nap_ms(5);
    status = device_status(&g, 0, &whole);
    ck_assert_int_lt(json_integer_value(json_object_get(
                         json_object_get(status, "counters"), "spurious")),
                     4);
    json_decref(whole);
    destroy(&g);
}
END_TEST

/* --- attacks: xenstore
 * ---------------------------------------------------------------
 */

START_TEST(attack_52_states_that_are_none)
{
    static const char *const states[] = { "abc", "-1", "99", "0", "44" };

    for (unsigned i = 0; i < sizeof(states) / sizeof(states[0]) + 3; i++) {
        struct guest g = guest_at_front("g", LINE("kbd0"));

        connect_front(&g, 0);
        if (i < sizeof(states) / sizeof(states[0]))
            OK(&g, "write device/vkbd/0/state %s", states[i]);
        else if (i == sizeof(states) / sizeof(states[0]))
            OK(&g, "empty device/vkbd/0/state");
        else if (i == sizeof(states) / sizeof(states[0]) + 1)
            say(&g, "long device/vkbd/0/state 2000");
        else
            OK(&g, "rm device/vkbd/0");
        OK(&g, "wait %s/state 6 2000", back(&g, 0));
        witness_works();
        destroy(&g);
    }
}
END_TEST

START_TEST(attack_52_a_front_deleted_and_made_again_is_served_again)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "rm device/vkbd/0/state");
    OK(&g, "wait %s/state 6 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 1");
    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
}
END_TEST

START_TEST(attack_53_states_toggled_a_thousand_times_at_speed)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    char line[64];

    connect_front(&g, 0);
    fprintf(g.in, "flood device/vkbd/0/state 4000 3 1 3 4 3 4 4 6 3 5 6 3\n");
    fflush(g.in);
    for (int i = 0; i < 10; i++)
        witness_works();
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), g.out));
    ck_assert_str_eq(line, "ok\n");
    OK(&g, "write device/vkbd/0/state 6");
    nap_ms(100);
    OK(&g, "write device/vkbd/0/state 1");
    OK(&g, "wait %s/state 2 8000", back(&g, 0));
    OK(&g, "cons 0 0");
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_54_page_gref_changed_while_connected_is_not_read_again)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "write device/vkbd/0/page-gref 4242");
    OK(&g, "write device/vkbd/0/event-channel 4242");
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_56_a_flood_of_writes_stops_nobody)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    uint64_t begin, longest = 0;
    char line[64];

    connect_front(&g, 0);
    fprintf(g.in, "flood device/vkbd/0/state %u 4\n", full(100000, 10000));
    fflush(g.in);
    for (int i = 0; i < 20; i++) {
        begin = far_now_us();
        witness_works();
        if (far_now_us() - begin > longest)
            longest = far_now_us() - begin;
    }
    ck_assert_uint_lt(longest, 1000000);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), g.out));
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 2000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_57_a_front_that_points_to_anothers_backend_harms_nobody)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "write device/vkbd/0/backend %s", back(&witness, 0));
    OK(&g, "write device/vkbd/0/backend-id %u", witness.domid);
    OK(&g, "write device/vkbd/0/state 6");
    nap_ms(50);
    witness_works();
    OK(&g, "write device/vkbd/0/state 1");
    OK(&g, "wait %s/state 2 3000", back(&g, 0));
    join(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_58_permissions_removed_harm_only_the_guest)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    OK(&g, "private device/vkbd/0/state %u", g.domid);
    OK(&g, "private device/vkbd/0 %u", g.domid);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    witness_works();
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_59_backend_nodes_deleted_in_mid_handshake)
{
    for (int step = 0; step < 3; step++) {
        struct guest g = guest_at_front("g", LINE("kbd0"));
        json_t *whole;

        if (step > 0)
            offer(&g, 0);
        if (step > 1)
            join(&g, 0);
        ck_assert_int_eq(
            host_do(NULL, 0, "run atlas -- xenstore-rm %s", back(&g, 0)), 0);
        witness_works();
        for (int i = 0; i < 100; i++) {
            json_t *status = device_status(&g, 0, &whole);

            json_decref(whole);
            if (!status)
                break;
            nap_ms(10);
            ck_assert_int_lt(i, 99);
        }
        if (step > 0)
            OK(&g, "write device/vkbd/0/state 3");
        nap_ms(20);
        /* nothing of ours was made again */
        ck_assert_str_eq(say(&g, "read %s", back(&g, 0)), "err EACCES");
        destroy(&g);
    }
    witness_works();
}
END_TEST

START_TEST(attack_62_odd_entries_in_our_own_directories_are_passed_over)
{
    ck_assert_int_eq(
        host_do(NULL, 0,
                "run atlas -- xenstore-write "
                "/local/domain/0/backend/vinput/abc/0/state 1 "
                "/local/domain/0/backend/vinput/32752/0/state 1 "
                "/local/domain/0/backend/vinput/-1/0/state 1 "
                "/local/domain/0/backend/vinput/01x/0/state 1 "
                "/local/domain/0/backend/vinput/77/zero/state 1 "
                "/local/domain/0/backend/vinput/78/0/state 1 "
                "/local/domain/0/backend/vinput/79/99999999999/state 1"),
        0);
    witness_works();
    ck_assert_int_eq(host_do(NULL, 0,
                             "run atlas -- xenstore-rm "
                             "/local/domain/0/backend/vinput/abc "
                             "/local/domain/0/backend/vinput/32752 "
                             "/local/domain/0/backend/vinput/-1 "
                             "/local/domain/0/backend/vinput/01x "
                             "/local/domain/0/backend/vinput/77 "
                             "/local/domain/0/backend/vinput/78 "
                             "/local/domain/0/backend/vinput/79"),
                     0);
    witness_works();
}
END_TEST

START_TEST(attack_66_a_front_at_4_without_nodes_is_refused)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 4");
    refused_saying(&g, 0, "page-gref");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(attack_67_what_a_guest_can_make_us_log_is_bounded)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    off_t before = log_bytes();
    char line[64];

    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/page-gref \033[31mnonsense\\x00");
    OK(&g, "write device/vkbd/0/event-channel 1");
    fprintf(g.in, "flood device/vkbd/0/state 5000 1 3 6 4\n");
    fflush(g.in);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), g.out));
    nap_ms(200);
    ck_assert_int_lt(log_bytes() - before, 8192);
    { /* and no control character gets through */
        char path[200], text[8192];
        size_t n;
        FILE *f;

        snprintf(path, sizeof(path), "%s/backend.log", host);
        f = fopen(path, "r");
        fseeko(f, before, SEEK_SET);
        n = fread(text, 1, sizeof(text), f);
        fclose(f);
        ck_assert_ptr_null(memchr(text, '\033', n));
    }
    destroy(&g);
    witness_works();
}
END_TEST

/* --- restarts
 * ------------------------------------------------------------------------
 */

START_TEST(attack_65_killed_and_started_again_the_guest_notices_nothing)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    for (int i = 0; i < 10; i++) {
        char want[32];

        type("kbd0", 30);
        ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
        kill_backend(SIGKILL);
        start_backend();
        ck_assert_str_eq(say(&g, "read device/vkbd/0/state"), "ok 4");
        ck_assert_str_eq(say(&g, "read %s/state", back(&g, 0)), "ok 4");
        type("kbd0", 31 + (unsigned)i);
        snprintf(want, sizeof(want), "ok k%d+ k%d-", 31 + i, 31 + i);
        ck_assert_str_eq(say(&g, "drain 0 1000 2"), want);
        witness_works();
    }
    { /* it was adopted, not bounced */
        json_t *whole, *status = device_status(&g, 0, &whole);

        ck_assert_int_eq(
            json_integer_value(json_object_get(status, "adoptions")), 1);
        ck_assert_int_eq(json_integer_value(json_object_get(status, "bounces")),
                         0);
        json_decref(whole);
    }
    destroy(&g);
}
END_TEST

START_TEST(stopped_in_good_order_the_guest_notices_nothing_either)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    kill_backend(SIGTERM);
    ck_assert_str_eq(say(&g, "read %s/state", back(&g, 0)), "ok 4");
    start_backend();
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_key_held_over_a_kill_is_released_once)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    press("kbd0", 42, 1);
    ck_assert_str_eq(say(&g, "drain 0 1000 1"), "ok k42+");
    kill_backend(SIGKILL);
    start_backend();
    /* nobody holds a key of a virtual device that was made anew */
    ck_assert_str_eq(say(&g, "drain 0 600"), "ok k42-");
    press("kbd0", 42, 0);
    ck_assert_str_eq(say(&g, "drain 0 200"), "ok");
    destroy(&g);
}
END_TEST

START_TEST(events_that_were_in_the_ring_at_the_kill_come_once)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    for (unsigned i = 0; i < 5; i++)
        type("kbd0", 30 + i);
    kill_backend(SIGKILL);
    start_backend();
    type("kbd0", 50);
    ck_assert_str_eq(say(&g, "drain 0 500"),
                     "ok k30+ k30- k31+ k31- k32+ k32- k33+ k33- k34+ k34- "
                     "k50+ k50-");
    destroy(&g);
}
END_TEST

START_TEST(killed_at_random_while_keys_come_none_comes_twice_or_stays_down)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    bool down[64] = { 0 };

    connect_front(&g, 0);
    for (unsigned round = 0; round < full(100, 12); round++) {
        const char *got;
        unsigned code, last = 0;
        char updown;
        pid_t typist = fork();

        if (!typist) { /* codes rise within a round */
            quiet = true;
            for (unsigned i = 2; i < 60; i++) {
                json_t *answer =
                    ask("{\"request\":\"send\",\"device\":\"kbd0\",\"events\":"
                        "[{\"type\":\"key\",\"code\":%u,\"value\":1},"
                        "{\"type\":\"key\",\"code\":%u,\"value\":0}]}",
                        i, i);

                if (!answer)
                    _exit(0);
                json_decref(answer);
            }
            _exit(0);
        }
        {
            struct timespec nap = { 0, round * 7919 % 31 * 300000L };

            nanosleep(&nap, NULL);
        }
        kill_backend(SIGKILL);
        waitpid(typist, NULL, 0);
        start_backend();
        got = say(&g, "drain 0 350");
        for (const char *p = strchr(got, ' '); p; p = strchr(p + 1, ' ')) {
            ck_assert_int_eq(sscanf(p, " k%u%c", &code, &updown), 2);
            ck_assert_msg(down[code] == (updown == '-'), "round %u: %s", round,
                          got);
            down[code] = updown == '+';
            if (updown == '+') {
                ck_assert_msg(code > last, "round %u: %s", round, got);
                last = code;
            }
        }
        for (code = 0; code < 64; code++)
            ck_assert_msg(!down[code], "round %u: %u stays down: %s", round,
                          code, got);
    }
    destroy(&g);
    witness_works();
}
END_TEST

START_TEST(a_journal_of_another_version_bounces_and_keys_come_again)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    char path[200];
    uint32_t version = 999;
    int fd;

    connect_front(&g, 0);
    kill_backend(SIGKILL);
    snprintf(path, sizeof(path), "%s/run/journal", host);
    fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert(pwrite(fd, &version, 4, 4) == 4);
    close(fd);
    start_backend();
    OK(&g, "wait %s/state 6 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 6"); /* as Linux' front does */
    OK(&g, "wait %s/state 2 2000", back(&g, 0));
    OK(&g, "write device/vkbd/0/state 4"); /* the same page, the same port */
    OK(&g, "wait %s/state 4 2000", back(&g, 0));
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    destroy(&g);
    /* the witness was bounced too */
    OK(&witness, "write device/vkbd/0/state 6");
    OK(&witness, "wait %s/state 2 2000", back(&witness, 0));
    OK(&witness, "write device/vkbd/0/state 4");
    OK(&witness, "wait %s/state 4 2000", back(&witness, 0));
    witness_works();
}
END_TEST

START_TEST(a_guest_that_changed_its_page_while_we_were_dead_is_bounced)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));

    connect_front(&g, 0);
    type("kbd0", 30);
    ck_assert_str_eq(say(&g, "drain 0 1000 2"), "ok k30+ k30-");
    kill_backend(SIGKILL);
    OK(&g, "poke 0 4 1000"); /* an in_prod that nobody wrote */
    start_backend();
    OK(&g, "wait %s/state 6 2000", back(&g, 0));
    witness_works();
    destroy(&g);
}
END_TEST

START_TEST(a_guest_destroyed_while_we_were_dead_leaves_nothing)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    json_t *whole;

    connect_front(&g, 0);
    kill_backend(SIGKILL);
    {
        pid_t pid = fork();

        if (!pid)
            _exit(host_do(NULL, 0, "destroy atlas g"));
        nap_ms(200);
        start_backend();
        waitpid(pid, NULL, 0);
    }
    stop_program(&g);
    ck_assert_ptr_null(device_status(&g, 0, &whole));
    json_decref(whole);
    witness_works();
}
END_TEST

/* A detach while we are dead: seen at the start as online 0 and state 5. */
START_TEST(a_detach_while_we_were_dead_is_finished)
{
    struct guest g = guest_at_front("g", LINE("kbd0"));
    pid_t pid;
    int status;

    connect_front(&g, 0);
    kill_backend(SIGKILL);
    pid = fork();
    if (!pid)
        _exit(host_do(NULL, 0, "vkb-detach atlas g 0"));
    nap_ms(300);
    start_backend();
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_str_eq(say(&g, "read %s/state", back(&g, 0)), "err EACCES");
    destroy(&g);
    witness_works();
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { a_key_reaches_the_guest_and_its_acknowledgement_is_timed, 1 },
        { two_devices_of_one_guest_and_one_device_of_two_guests, 1 },
        { hot_attach_and_detach_a_hundred_times, 1 },
        { a_device_that_is_not_configured_is_no_failure_and_comes_at_reload,
          1 },
        { a_remote_device_without_a_netproxy_is_no_failure, 1 },
        { no_address_or_a_wrong_one_is_refused_with_a_remedy, 1 },
        { kind_vkbd_is_left_alone_unless_it_has_an_address, 1 },
        { kind_vkbd_with_an_address_and_no_device_model_is_served, 1 },
        { restart_and_every_way_of_a_front_ends_with_keys, 1 },
        { attack_63_guests_that_come_and_go_leave_nothing, 1 },
        { save_and_restore_gets_keys_again_and_stays_absolute, 1 },
        { a_front_that_looks_by_itself_is_not_notified, 1 },
        { the_control_socket_says_what_is_wrong_with_a_request, 1 },
        { a_reload_of_a_wrong_configuration_changes_nothing, 1 },
        { one_guest_has_at_most_64_devices_and_the_next_is_refused, 1 },
        { disable_pointer_is_removed_before_the_guest_runs_and_keys_come, 1 },
        { a_front_that_may_have_read_disable_pointer_gets_no_key, 1 },
        { disable_keyboard_is_left_and_only_buttons_come, 1 },
        { attack_5_garbage_in_the_rest_of_the_page_is_not_looked_at, 1 },
        { attack_6_in_prod_overwritten_by_the_guest_is_written_anew, 1 },
        { attack_7_indexes_wrap_at_2_32_and_no_event_is_lost, 1 },
        { attack_8_in_cons_ahead_of_in_prod_loses_the_device, 1 },
        { attack_8_in_cons_that_goes_back_loses_the_device, 1 },
        { attack_8_in_cons_jumping_at_random_loses_the_device_alone, 1 },
        { attack_42_a_ring_that_stays_full_loses_motion_and_no_release, 1 },
        { attack_43_and_47_a_page_revoked_or_a_guest_killed_while_connected,
          1 },
        { attack_44_requests_toggled_after_connect_change_nothing, 1 },
        { attack_46_grefs_that_are_none, 1 },
        { attack_46_a_page_that_is_read_only_or_for_another_domain, 1 },
        { attack_49_ports_that_are_none_or_another_guests, 1 },
        { attack_49_a_port_closed_after_the_bind, 1 },
        { attack_50_a_storm_of_events_costs_the_others_nothing, 1 },
        { an_event_whose_work_was_seen_before_it_came_is_not_punished, 1 },
        { attack_52_states_that_are_none, 1 },
        { attack_52_a_front_deleted_and_made_again_is_served_again, 1 },
        { attack_53_states_toggled_a_thousand_times_at_speed, 1 },
        { attack_54_page_gref_changed_while_connected_is_not_read_again, 1 },
        { attack_56_a_flood_of_writes_stops_nobody, 1 },
        { attack_57_a_front_that_points_to_anothers_backend_harms_nobody, 1 },
        { attack_58_permissions_removed_harm_only_the_guest, 1 },
        { attack_59_backend_nodes_deleted_in_mid_handshake, 1 },
        { attack_62_odd_entries_in_our_own_directories_are_passed_over, 1 },
        { attack_66_a_front_at_4_without_nodes_is_refused, 1 },
        { attack_67_what_a_guest_can_make_us_log_is_bounded, 1 },
        { attack_65_killed_and_started_again_the_guest_notices_nothing, 1 },
        { stopped_in_good_order_the_guest_notices_nothing_either, 1 },
        { a_key_held_over_a_kill_is_released_once, 1 },
        { events_that_were_in_the_ring_at_the_kill_come_once, 1 },
        { killed_at_random_while_keys_come_none_comes_twice_or_stays_down, 1 },
        { a_journal_of_another_version_bounces_and_keys_come_again, 1 },
        { a_guest_that_changed_its_page_while_we_were_dead_is_bounced, 1 },
        { a_guest_destroyed_while_we_were_dead_leaves_nothing, 1 },
        { a_detach_while_we_were_dead_is_finished, 1 },
    };

    return host_main("backend", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
