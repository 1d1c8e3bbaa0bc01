// SPDX-License-Identifier: GPL-2.0-or-later
//
// How farside status merges what the daemons answer, and prints it.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/status.h"
#include "tests/core/suite.h"

#define HIST(n) "{\"count\":3,\"p50_ns\":" n ",\"p99_ns\":2000,\"max_ns\":9000}"

static const char backend_text[] =
    "{\"program\":\"farside-backend\",\"platform\":\"atlas\",\"pid\":7,"
    "\"loop\":{\"turns\":1},\"netproxy\":\"connected\",\"guests\":[{"
    "\"name\":\"web1\",\"uuid\":\"u-1\",\"domid\":3,\"devices\":["
    "{\"kind\":\"vinput\",\"devid\":0,\"class\":\"input\",\"address\":\"kbd0\","
    "\"state\":\"connected\",\"back\":4,\"front\":4,\"reason\":null,"
    "\"sources\":[{\"vector\":8,\"vectors\":8,\"class\":\"notices\","
    "\"address\":\"draco/alarm\",\"there\":true,\"reason\":\"\"},"
    "{\"vector\":32,\"vectors\":1,\"class\":\"intc\",\"address\":\"board\","
    "\"there\":false,\"reason\":\"it does not run\"}],"
    "\"counters\":{\"events\":12,\"stale\":0},\"latency\":{\"inject\":" HIST(
        "1500") "}},"
                "{\"kind\":\"vinput\",\"devid\":1,\"class\":\"input\","
                "\"address\":\"hydra+borealis/kbd0\",\"state\":\"connected\","
                "\"back\":4,\"front\":4,\"reason\":null,\"counters\":{},"
                "\"latency\":{\"guest\":" HIST(
                    "800") "}}]}],"
                           "\"devices\":[{\"name\":\"kbd0\",\"type\":\"evdev\","
                           "\"class\":\"input\",\"state\":\"ready\",\"reason\":"
                           "null,\"users\":1}]}";

static const char netproxy_text[] =
    "{\"program\":\"farside-netproxy\",\"platform\":\"atlas\",\"pid\":8,"
    "\"sandbox\":true,\"spin\":{\"allowed\":false,\"connections\":1},"
    "\"devices\":[],\"links\":[{\"platform\":\"borealis\","
    "\"role\":\"client\",\"state\":\"up\",\"reason\":null,\"address\":"
    "\"10.0.0.2:7420\",\"rtt\":" HIST(
        "95000") "}],\"sessions\":[],"
                 "\"remotes\":[{\"guest\":\"web1\",\"platform\":\"borealis\","
                 "\"device\":\"kbd0\",\"state\":\"gone\",\"reason\":"
                 "\"kbd0 is not plugged in\",\"received\":4,\"latency\":"
                 "{\"wire\":" HIST(
                     "42000") "}}],"
                              "\"routes\":[{\"origin\":\"cygnus\",\"guest\":"
                              "\"db3\","
                              "\"from\":\"cygnus\",\"device\":\"kbd9\","
                              "\"to\":\"borealis/kbd0\",\"state\":\"refused\","
                              "\"waiting_bytes\":0,"
                              "\"owner_waiting_bytes\":3000,"
                              "\"reason\":\"borealis knows no db3\"}],"
                              "\"directory\":{\"kind\":\"etcd\",\"at\":"
                              "\"10.0.0.9:2379\",\"reason\":\"no quorum\","
                              "\"names\":{\"a\":[],\"b\":[]},\"leases\":["
                              "{\"name\":\"la\",\"left_us\":2500000},"
                              "{\"name\":\"lb\",\"waits_us\":1500000},"
                              "{\"name\":\"lc\",\"holder\":\"lyra\"}]},"
                              "\"standbys\":[{\"guest\":\"db7\","
                              "\"device\":\"kbd7\",\"serves\":\"hydra\","
                              "\"switches\":3,\"places\":[{\"reason\":"
                              "\"lynx: gone\"}]}],"
                              "\"notices\":{\"sent\":[{\"platform\":\"draco\","
                              "\"waiting\":7,\"done\":3,\"refused\":0,"
                              "\"repeats\":0,"
                              "\"reason\":\"\"}],\"taken\":0}}";

static json_t *merged(void)
{
    json_t *backend = json_loads(backend_text, 0, NULL);
    json_t *netproxy = json_loads(netproxy_text, 0, NULL);
    json_t *status;

    ck_assert_ptr_nonnull(backend);
    ck_assert_ptr_nonnull(netproxy);
    status = far_status_merge(backend, NULL, netproxy, NULL);
    ck_assert_ptr_nonnull(status);
    json_decref(backend);
    json_decref(netproxy);
    return status;
}

static json_t *device(json_t *status, size_t n)
{
    json_t *guest = json_array_get(json_object_get(status, "guests"), 0);

    return json_array_get(json_object_get(guest, "devices"), n);
}

START_TEST(both_platforms_are_named)
{
    json_t *status = merged();
    json_t *platforms = json_object_get(status, "platforms");
    json_t *there = json_array_get(platforms, 1);

    ck_assert_str_eq(far_json_text(status, "platform"), "atlas");
    ck_assert_uint_eq(json_array_size(platforms), 2);
    ck_assert_str_eq(far_json_text(json_array_get(platforms, 0), "name"),
                     "atlas");
    ck_assert_str_eq(far_json_text(there, "name"), "borealis");
    ck_assert_str_eq(
        json_string_value(json_array_get(json_object_get(there, "roles"), 0)),
        "server");
    json_decref(status);
}
END_TEST

START_TEST(a_remote_device_gets_its_far_stages_and_reason)
{
    json_t *status = merged();
    json_t *near = device(status, 0), *far = device(status, 1);
    json_t *latency = json_object_get(far, "latency");

    ck_assert_int_eq(
        far_json_number(json_object_get(latency, "wire"), "p50_ns"), 42000);
    ck_assert_int_eq(
        far_json_number(json_object_get(latency, "guest"), "p50_ns"), 800);
    ck_assert_str_eq(far_json_text(far, "reason"), "kbd0 is not plugged in");
    ck_assert_ptr_null(
        json_object_get(json_object_get(near, "latency"), "wire"));
    ck_assert_ptr_null(json_object_get(near, "remote"));
    ck_assert_str_eq(far_json_text(near, "reason"), "");
    json_decref(status);
}
END_TEST

START_TEST(a_daemon_that_does_not_answer_is_named_with_the_reason)
{
    json_t *backend = json_loads(backend_text, 0, NULL);
    json_t *status = far_status_merge(backend, NULL, NULL, "it sleeps");
    json_t *daemon = json_object_get(status, "netproxy");

    ck_assert(json_is_false(json_object_get(daemon, "running")));
    ck_assert_str_eq(far_json_text(daemon, "error"), "it sleeps");
    ck_assert(json_is_true(
        json_object_get(json_object_get(status, "backend"), "running")));
    json_decref(status);
    json_decref(backend);
}
END_TEST

static char *printed(json_t *status)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    ck_assert_ptr_nonnull(out);
    far_status_print(out, status, false);
    fclose(out);
    return text;
}

START_TEST(a_person_sees_platforms_guests_reasons_and_stages)
{
    json_t *status = merged();
    char *text = printed(status);
    static const char *const words[] = {
        "borealis          server         up          10.0.0.2:7420",
        "round trip 95.0 µs",
        "web1 (domain 3)",
        "input 0   kbd0                          connected",
        "vectors 8-15: notices draco/alarm\n",
        "vectors 32-32: intc board: it does not run\n",
        "events 12",
        "kbd0 is not plugged in",
        "network, one way",
        "42.0 µs",
        "sandboxed, spins for 1 connection, never spins\n",
        "800 ns",
        "db3 of cygnus                 borealis/kbd0                 refused,",
        "3 KiB wait for the owner",
        "borealis knows no db3",
        "waiting 7, done 3",
        "db7 kbd7                      hydra  (3 switches)",
        "lynx: gone",
        "etcd 10.0.0.9:2379, 2 names",
        "no quorum",
        "la                          ours, 2.5 s left",
        "lb                          ours in 1.5 s",
        "lc                          lyra",
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        ck_assert_msg(strstr(text, words[i]) != NULL, "no \"%s\" in:\n%s",
                      words[i], text);
    ck_assert_ptr_null(strstr(text, "stale"));
    free(text);
    json_decref(status);
}
END_TEST

START_TEST(answers_of_another_shape_print_without_a_crash)
{
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"guests\":7,\"devices\":{},\"links\":\"x\"}",
        "{\"guests\":[7,{\"devices\":[null,{\"latency\":3,\"counters\":[1],"
        "\"address\":5}]}],\"links\":[1,{}],\"remotes\":[2,{}],"
        "\"platform\":8}",
    };

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        json_t *answer = json_loads(odd[i], 0, NULL);
        json_t *status = far_status_merge(answer, NULL, answer, NULL);
        char *text;

        ck_assert_ptr_nonnull(status);
        text = printed(status);
        ck_assert_ptr_nonnull(text);
        free(text);
        json_decref(status);
        json_decref(answer);
    }
}
END_TEST

START_TEST(durations_have_units_and_three_figures)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {
        { 0, "0 ns" },           { 999, "999 ns" },
        { 1000, "1.0 µs" },      { 99900, "99.9 µs" },
        { 99960, "100 µs" },     { 999400, "999 µs" },
        { 999600, "1.00 ms" },   { 12345678, "12.35 ms" },
        { 999600000, "1.00 s" }, { 61000000000, "61.00 s" },
    };
    char text[32];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_str_eq(far_duration_text(text, sizeof(text), cases[i].ns),
                         cases[i].text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("farside status");
    TCase *all = tcase_create("merge and print");

    suite_add_tcase(suite, all);
    tcase_add_test(all, both_platforms_are_named);
    tcase_add_test(all, a_remote_device_gets_its_far_stages_and_reason);
    tcase_add_test(all, a_daemon_that_does_not_answer_is_named_with_the_reason);
    tcase_add_test(all, a_person_sees_platforms_guests_reasons_and_stages);
    tcase_add_test(all, answers_of_another_shape_print_without_a_crash);
    tcase_add_test(all, durations_have_units_and_three_figures);
    return suite_end(suite);
}
