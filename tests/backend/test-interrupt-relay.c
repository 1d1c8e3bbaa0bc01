/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An interrupt over a relay ends where the guest's own machine says so: three
 * simulated hosts (cygnus sends, borealis passes on, atlas has the guests) with
 * real daemons. What cygnus and borealis allow too freely, as if both had been
 * broken into, must not reach a guest that atlas' farside.conf does not name.
 */
#include "tests/backend/keyboard.h"

enum { ATLAS, BOREALIS, CYGNUS, HOSTS };
static const char *const names[HOSTS] = { "atlas", "borealis", "cygnus" };
static char dirs[HOSTS][128];
static unsigned ports[HOSTS];
static pid_t proxies[HOSTS];
static struct guest called, other;

/* What atlas says of interrupts that borealis brings, and of its carrying. */
static void configure_atlas(const char *may, const char *carry)
{
    put(dirs[ATLAS], "farside.conf",
        "[platform]\nname = atlas\n"
        "[server borealis]\naddress = 127.0.0.1:%u\npsk-file = %s/psk.keys\n"
        "%s%s"
        "[device own]\ntype = virtual\n",
        ports[BOREALIS], dirs[ATLAS], may, carry);
}

#define CARRY "[relay borealis]\nmay-carry = cygnus\n"

static void write_confs(void)
{
    for (unsigned i = 0; i < HOSTS; i++)
        put(dirs[i], "psk.keys", "atlas:%064d\nborealis:%064d\n", 12345, 54321);
    put(dirs[CYGNUS], "farside.conf",
        "[platform]\nname = cygnus\n"
        "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/psk.keys\n"
        "[device kbd0]\ntype = virtual\n"
        "[export kbd0]\nallow = atlas\n"
        "may-interrupt = atlas/called atlas/other atlas/renamed\n"
        "[relay borealis]\nmay-carry = atlas\n",
        ports[CYGNUS], dirs[CYGNUS]);
    put(dirs[BOREALIS], "farside.conf",
        "[platform]\nname = borealis\n"
        "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/psk.keys\n"
        "[server cygnus]\naddress = 127.0.0.1:%u\npsk-file = %s/psk.keys\n"
        "may-interrupt = atlas/called atlas/other atlas/renamed\n",
        ports[BOREALIS], dirs[BOREALIS], ports[CYGNUS], dirs[BOREALIS]);
    configure_atlas("may-interrupt = called\n", CARRY);
}

static void start_proxy(unsigned i)
{
    char program[600], log[200];
    int fd;

    snprintf(program, sizeof(program), "%s/farside-netproxy", build);
    snprintf(log, sizeof(log), "%s/netproxy.log", dirs[i]);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    proxies[i] = spawn(names[i], program, -1, -1, fd);
    close(fd);
}

static void set_up(void)
{
    for (unsigned i = ATLAS + 1; i < HOSTS; i++)
        host_do(NULL, 0, "down %s", names[i]); /* a test before failed */
    fresh_host();
    snprintf(dirs[ATLAS], sizeof(dirs[ATLAS]), "%s", host);
    for (unsigned i = 0; i < HOSTS; i++) {
        ports[i] = free_port();
        if (i == ATLAS)
            continue;
        ck_assert_int_eq(host_do(NULL, 0, "up %s", names[i]), 0);
        ck_assert_int_eq(host_do(dirs[i], sizeof(dirs[i]), "dir %s", names[i]),
                         0);
    }
    write_confs();
    for (unsigned i = HOSTS; i-- > 0;)
        start_proxy(i);
    start_backend();
    called = guest_at_front("called", "vkb=backend-type=linux,unique-id=own");
    other = guest_at_front("other", "vkb=backend-type=linux,unique-id=own");
    connect_front(&called, 0);
    connect_front(&other, 0);
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    for (unsigned i = 0; i < HOSTS; i++)
        end_with(&proxies[i], SIGTERM);
    stop_program(&called);
    stop_program(&other);
    host_do(NULL, 0, "down borealis");
    host_do(NULL, 0, "down cygnus");
}

static json_t *ask_cygnus(const char *request)
{
    json_t *json = json_loads(request, 0, NULL), *answer = NULL;
    uint64_t until = far_now_us() + 10000000;
    struct far_error error = { 0 };
    char path[160];
    int r;

    snprintf(path, sizeof(path), "%s/run/netproxy.sock", dirs[CYGNUS]);
    do
        r = far_control_call(path, json, &answer, 5000000, &error);
    while (r && far_now_us() < until && !usleep(10000));
    ck_assert_msg(!r, "%s", error.text);
    json_decref(json);
    return answer;
}

/* What became of all that cygnus has sent: the counter of that name. */
static json_int_t sent(const char *counter, char *reason, size_t bytes)
{
    json_t *status = ask_cygnus("{\"request\":\"status\"}");
    json_t *one = json_array_get(
        json_object_get(json_object_get(status, "notices"), "sent"), 0);
    json_int_t n = json_integer_value(json_object_get(one, counter));
    const char *why = json_string_value(json_object_get(one, "reason"));

    snprintf(reason, bytes, "%s", why ? why : "");
    json_decref(status);
    return n;
}

static void call(const char *to, unsigned code, const char *counter,
                 json_int_t number, const char *says)
{
    uint64_t until = far_now_us() + 15000000;
    char request[256], reason[256];

    snprintf(request, sizeof(request),
             "{\"request\":\"send\",\"device\":\"kbd0\",\"to\":\"atlas/%s\","
             "\"events\":[{\"type\":\"key\",\"code\":%u,\"value\":1},"
             "{\"type\":\"key\",\"code\":%u,\"value\":0}]}",
             to, code, code);
    json_decref(ask_cygnus(request));
    while (sent(counter, reason, sizeof(reason)) < number &&
           far_now_us() < until)
        nap_ms(10);
    ck_assert_int_eq(sent(counter, reason, sizeof(reason)), number);
    ck_assert_msg(strstr(reason, says) != NULL, "%s", reason);
}

static void reload_atlas(void)
{
    json_decref(ask("{\"request\":\"reload\"}"));
    kill(proxies[ATLAS], SIGHUP);
}

static bool is_called(const struct guest *g, const char *name)
{
    json_t *status = ask("{\"request\":\"status\"}"), *one;
    bool found = false;
    size_t i;

    json_array_foreach (json_object_get(status, "guests"), i, one)
        found |= (unsigned)json_integer_value(json_object_get(one, "domid")) ==
                     g->domid &&
                 !strcmp(json_string_value(json_object_get(one, "name")), name);
    json_decref(status);
    return found;
}

static void rename_to(const struct guest *g, const char *name)
{
    uint64_t until = far_now_us() + 10000000;

    ck_assert_int_eq(host_do(NULL, 0,
                             "run atlas -- xenstore-write "
                             "/local/domain/%u/name %s",
                             g->domid, name),
                     0);
    while (!is_called(g, name)) {
        ck_assert_uint_lt(far_now_us(), until);
        nap_ms(5);
    }
}

START_TEST(only_the_guest_that_its_own_machine_names_is_reached)
{
    call("called", 30, "done", 2, "");
    ck_assert_str_eq(say(&called, "drain 0 5000 2"), "ok k30+ k30-");
    call("other", 31, "refused", 2, "may-interrupt");
    ck_assert_str_eq(say(&other, "drain 0 300 1"), "ok");
    ck_assert_str_eq(say(&called, "drain 0 100 1"), "ok");
    call("called", 32, "done", 4, "");
    ck_assert_str_eq(say(&called, "drain 0 5000 2"), "ok k32+ k32-");
}
END_TEST

START_TEST(nor_is_it_reached_by_a_relay_that_may_not_carry_or_brings_nothing)
{
    configure_atlas("may-interrupt = called\n", "");
    reload_atlas();
    call("called", 30, "refused", 2, "may not speak for cygnus");
    configure_atlas("may-interrupt = own other\n", CARRY);
    reload_atlas();
    call("called", 31, "refused", 4, "may-interrupt");
    ck_assert_str_eq(say(&called, "drain 0 300 1"), "ok");
    configure_atlas("may-interrupt = called\n", CARRY);
    reload_atlas();
    call("called", 32, "done", 2, "");
    ck_assert_str_eq(say(&called, "drain 0 5000 2"), "ok k32+ k32-");
}
END_TEST

/* Who names a guest means the one that is called so now. */
START_TEST(a_name_that_a_guest_has_given_up_reaches_nobody)
{
    rename_to(&called, "renamed");
    call("renamed", 30, "refused", 2, "may-interrupt");
    call("called", 31, "refused", 4, "no such guest");
    ck_assert_str_eq(say(&called, "drain 0 300 1"), "ok");
    rename_to(&other, "called");
    call("called", 32, "done", 2, "");
    ck_assert_str_eq(say(&other, "drain 0 5000 2"), "ok k32+ k32-");
    ck_assert_str_eq(say(&called, "drain 0 100 1"), "ok");
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { only_the_guest_that_its_own_machine_names_is_reached, 1 },
        { nor_is_it_reached_by_a_relay_that_may_not_carry_or_brings_nothing,
          1 },
        { a_name_that_a_guest_has_given_up_reaches_nobody, 1 },
    };

    return host_main("backend: interrupts over a relay", tests,
                     sizeof(tests) / sizeof(tests[0]), set_up, tear_down, 120,
                     argc, argv);
}
