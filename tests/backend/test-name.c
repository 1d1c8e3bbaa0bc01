/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guests that an [export] allows by their names, while names change: one that
 * migrates is prepared as NAME--incoming, and what it is called when it runs
 * decides. On a simulated host with both daemons; the fronts are front.c's.
 */
#include "tests/backend/keyboard.h"

#define LINE(address) "vkb=backend-type=linux,unique-id=" address

static pid_t netproxy;

/* As a driver that is unbound and bound again. */
static void disconnect_front(struct guest *g)
{
    OK(g, "write device/vkbd/0/state 5");
    OK(g, "wait %s/state 56 5000", back(g, 0));
    OK(g, "write device/vkbd/0/state 6");
    OK(g, "unbind 0");
    OK(g, "unshare 0");
    OK(g, "write device/vkbd/0/state 1");
    OK(g, "wait %s/state 2 5000", back(g, 0));
}

/* What libxl does at the end of a migration, and `xl rename` at any time. */
static void rename_to(const struct guest *g, const char *name)
{
    ck_assert_int_eq(host_do(NULL, 0,
                             "run atlas -- xenstore-write "
                             "/local/domain/%u/name %s",
                             g->domid, name),
                     0);
}

/* Its device's `state` (what stands there of it, for a person); "" if none. */
static void reason_of(const struct guest *g, char *out, size_t bytes)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *one, *device;
    size_t i, k;

    *out = '\0';
    json_array_foreach (json_object_get(whole, "guests"), i, one) {
        if ((unsigned)json_integer_value(json_object_get(one, "domid")) !=
            g->domid)
            continue;
        json_array_foreach (json_object_get(one, "devices"), k, device) {
            const char *reason =
                json_string_value(json_object_get(device, "reason"));

            snprintf(out, bytes, "%s", reason ? reason : "");
        }
    }
    json_decref(whole);
}

static void wait_reason(const struct guest *g, const char *part)
{
    uint64_t until = far_now_us() + 10000000;
    char reason[256];

    do {
        reason_of(g, reason, sizeof(reason));
        if (*part ? strstr(reason, part) != NULL : !*reason)
            return;
        nap_ms(10);
    } while (far_now_us() < until);
    ck_abort_msg("%s: \"%s\", not \"%s\"", g->name, reason, part);
}

static void type(unsigned code)
{
    char request[200], path[160];
    struct far_error error = { 0 };
    json_t *answer = NULL, *json;

    snprintf(request, sizeof(request),
             "{\"request\":\"send\",\"device\":\"kbd0\",\"events\":["
             "{\"type\":\"key\",\"code\":%u,\"value\":1},"
             "{\"type\":\"key\",\"code\":%u,\"value\":0}]}",
             code, code);
    snprintf(path, sizeof(path), "%s/run/netproxy.sock", host);
    json = json_loads(request, 0, NULL);
    ck_assert_msg(!far_control_call(path, json, &answer, 5000000, &error), "%s",
                  error.text);
    json_decref(json);
    json_decref(answer);
}

static void write_conf(const char *allowed)
{
    char path[200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n[device kbd0]\ntype = virtual\n"
            "[export kbd0]\nguest = %s\n",
            allowed);
    fclose(f);
}

static void set_up(void)
{
    fresh_host();
    write_conf("web");
    netproxy = start_netproxy();
    start_backend();
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    end_with(&netproxy, SIGTERM);
}

START_TEST(one_that_arrives_under_its_name_has_what_it_prepared)
{
    struct guest g = guest_at_front("web--incoming", LINE("kbd0"));

    rename_to(&g, "web");
    connect_front(&g, 0);
    wait_reason(&g, "");
    type(30);
    ck_assert_str_eq(say(&g, "drain 0 5000 2"), "ok k30+ k30-");
    destroy(&g);
}
END_TEST

START_TEST(one_that_only_called_itself_so_while_it_arrived_gets_nothing)
{
    struct guest db = guest_at_front("web--incoming", LINE("kbd0"));
    struct guest web = guest_at_front("web", LINE("kbd0"));

    connect_front(&web, 0);
    wait_reason(&web, "");
    rename_to(&db, "db");
    connect_front(&db, 0);
    wait_reason(&db, "does not allow the guest db");
    type(30);
    ck_assert_str_eq(say(&web, "drain 0 5000 2"), "ok k30+ k30-");
    ck_assert_str_eq(say(&db, "drain 0 300 1"), "ok");
    destroy(&db);
    destroy(&web);
}
END_TEST

START_TEST(one_that_is_called_incoming_for_good_is_not_who_it_seems_to_become)
{
    struct guest g = guest_at_front("web--incoming", LINE("kbd0"));

    connect_front(&g, 0);
    wait_reason(&g, "does not allow the guest web--incoming");
    type(30);
    ck_assert_str_eq(say(&g, "drain 0 300 1"), "ok");
    /* It is not asked for ever, and another reason is told. */
    write_conf("web--incoming");
    kill(netproxy, SIGHUP);
    wait_reason(&g, "");
    type(31);
    ck_assert_str_eq(say(&g, "drain 0 5000 2"), "ok k31+ k31-");
    destroy(&g);
}
END_TEST

START_TEST(two_that_swap_their_names_swap_what_they_may_when_they_connect)
{
    struct guest a = guest_at_front("web", LINE("kbd0"));
    struct guest b = guest_at_front("db", LINE("kbd0"));

    connect_front(&a, 0);
    connect_front(&b, 0);
    wait_reason(&a, "");
    wait_reason(&b, "does not allow the guest db");
    rename_to(&a, "old");
    rename_to(&b, "web");
    rename_to(&a, "db");
    disconnect_front(&a);
    disconnect_front(&b);
    connect_front(&a, 0);
    connect_front(&b, 0);
    wait_reason(&a, "does not allow the guest db");
    wait_reason(&b, "");
    type(30);
    ck_assert_str_eq(say(&b, "drain 0 5000 2"), "ok k30+ k30-");
    ck_assert_str_eq(say(&a, "drain 0 300 1"), "ok");
    destroy(&a);
    destroy(&b);
}
END_TEST

START_TEST(a_backend_that_starts_anew_asks_by_the_names_of_now)
{
    struct guest g = guest_at_front("web", LINE("kbd0"));

    connect_front(&g, 0);
    wait_reason(&g, "");
    kill_backend(SIGKILL);
    rename_to(&g, "db");
    start_backend();
    wait_reason(&g, "does not allow the guest db");
    type(30);
    ck_assert_str_eq(say(&g, "drain 0 300 1"), "ok");
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { one_that_arrives_under_its_name_has_what_it_prepared, 1 },
        { one_that_only_called_itself_so_while_it_arrived_gets_nothing, 1 },
        { one_that_is_called_incoming_for_good_is_not_who_it_seems_to_become,
          1 },
        { two_that_swap_their_names_swap_what_they_may_when_they_connect, 1 },
        { a_backend_that_starts_anew_asks_by_the_names_of_now, 1 },
    };

    return host_main("backend: names", tests, sizeof(tests) / sizeof(tests[0]),
                     set_up, tear_down, 120, argc, argv);
}
