/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Disks of NBD servers, on the simulator: farside-nbd between the backend and
 * nbdkit or qemu-nbd (qcow2), on Unix sockets; what a server that is killed and
 * started again costs, and what a connection without a fence does. Without
 * those programs there is nothing to test.
 */
#include <stdint.h>
#include "tests/backend/disk.h"

static pid_t server, device;

static void start_server(bool qemu)
{
    char sock_path[300], image[300];
    char *nbdkit[] = { "nbdkit", "-f", "-U", sock_path, "file", image, NULL };
    char *nbd[] = {
        "qemu-nbd", "--persistent", "-f",  "qcow2", "--discard=unmap",
        "-k",       sock_path,      image, NULL
    };

    snprintf(sock_path, sizeof(sock_path), "%s/nbd.sock", host);
    snprintf(image, sizeof(image), "%s/%s", host,
             qemu ? "disk.qcow2" : "disk.img");
    unlink(sock_path);
    server = run_words("server", qemu ? nbd : nbdkit);
}

static void start_device(bool fenced)
{
    char program[600], uri[300], at[300];
    char *words[] = { program, at, uri, fenced ? "--fenced" : NULL, NULL };

    snprintf(program, sizeof(program), "%s/farside-nbd", build);
    snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s/nbd.sock", host);
    snprintf(at, sizeof(at), "--socket=%s/run/nbd0", host);
    device = run_words("nbd", words);
}

static void set_up(void)
{
    char command[600], path[300];
    FILE *f;

    fresh_host();
    snprintf(
        command, sizeof(command),
        "truncate -s 16M %s/disk.img && { ! command -v qemu-img >/dev/null "
        "|| qemu-img create -q -f qcow2 %s/disk.qcow2 16M; }",
        host, host);
    ck_assert_int_eq(system(command), 0);
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "[platform]\nname = atlas\n[device nbd0]\ntype = outside\n"
            "class = block\nsocket = %s/run/nbd0\n",
            host);
    fclose(f);
    start_backend();
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    end_with(&device, SIGTERM);
    end_with(&server, SIGKILL);
}

static void ended_well(struct guest *g)
{
    const char *fault = load_fault(g, 500);
    char command[600];

    if (!fault)
        return;
    snprintf(command, sizeof(command), "tail -n 20 %s/*.log >&2", host);
    if (system(command))
        fprintf(stderr, "there are no logs\n");
    ck_abort_msg("%s", fault);
}

START_TEST(a_disk_of_an_nbd_server_is_read_written_flushed_and_discarded)
{
    struct guest g;

    if (!have(_i ? "qemu-nbd" : "nbdkit"))
        return;
    start_server(_i);
    start_device(false);
    g = connected_to("nbd0", PLAIN);
    ck_assert_str_eq(say(&g, "load 1 1500 16 1000 4096"), "going");
    ended_well(&g);
    ck_assert_str_eq(say(&g, "one 1 8192 4096 165"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&g, "one 3 0 0 0"), "ok 0 00 00");
    ck_assert_str_eq(say(&g, "one 2 16384 4096 17"), "ok 0 11 11");
    ck_assert_str_eq(say(&g, "one 0 8192 4096 1"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&g, "one 5 8192 4096 0"), "ok 0 00 00");
    ck_assert_str_eq(say(&g, "one 0 16384 4096 1"), "ok 0 11 11");
    ck_assert_str_eq(say(&g, "one 0 16777216 512 1"), "ok -1 01 01");
    destroy(&g);
}
END_TEST

START_TEST(a_server_or_device_that_is_killed_costs_no_answered_write)
{
    struct guest g;

    if (!have("nbdkit"))
        return;
    start_server(false);
    start_device(true);
    g = connected_to("nbd0", PLAIN);
    ck_assert_str_eq(say(&g, "load 3 6000 16 1000 4096"), "going");
    for (unsigned i = 0; i < 8; i++) {
        nap_ms(300);
        if (i % 4 == 3) /* of which some nbdkits die, too */
            end_with(&device, SIGKILL);
        end_with(&server, SIGKILL);
        nap_ms(30);
        start_server(false);
        if (i % 4 == 3)
            start_device(true);
    }
    ended_well(&g);
    ck_assert_ptr_nonnull(strstr(say(&g, "info"), "connects 1 wrong 0"));
    destroy(&g);
}
END_TEST

START_TEST(without_a_fence_a_lost_connection_with_writes_fails_the_disk)
{
    unsigned long long ops, errors, bad;
    struct guest g;
    const char *said;

    if (!have("nbdkit"))
        return;
    start_server(false);
    start_device(false);
    g = connected_to("nbd0", PLAIN);
    /* nothing is under way: it goes on */
    ck_assert_str_eq(say(&g, "one 1 8192 4096 165"), "ok 0 a5 a5");
    end_with(&server, SIGKILL);
    start_server(false);
    ck_assert_str_eq(say(&g, "one 0 8192 4096 1"), "ok 0 a5 a5");
    ck_assert_str_eq(say(&g, "load 3 2500 16 1000 4096"), "going");
    nap_ms(500);
    kill(server, SIGSTOP); /* so that some are under way for sure */
    nap_ms(200);
    end_with(&server, SIGKILL);
    start_server(false);
    said = hear(&g);
    ck_assert_int_eq(
        sscanf(said, "ok ops %llu errors %llu bad %llu", &ops, &errors, &bad),
        3);
    ck_assert_uint_gt(errors, 0);
    ck_assert_uint_eq(bad, 0);
    ck_assert_str_eq(say(&g, "one 0 8192 4096 1"), "ok -1 01 01");
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { a_disk_of_an_nbd_server_is_read_written_flushed_and_discarded, 2 },
        { a_server_or_device_that_is_killed_costs_no_answered_write, 1 },
        { without_a_fence_a_lost_connection_with_writes_fails_the_disk, 1 },
    };

    if (!have("nbdkit") && !have("qemu-nbd"))
        return 77; /* skipped */
    return host_main("vbd-nbd", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
