/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A timer and an interrupt source that run in processes of their own on another
 * machine (docs/examples), for a guest on this one: two simulated hosts with
 * their daemons. What is raised is counted once, whichever of the daemons is
 * killed on the way.
 */
#include "tests/backend/simhost.h"

static char far_host[128], fifo[200];
static unsigned tcp_port;
static pid_t proxies[2], programs[2]; /* of atlas, borealis; board, tick */
static const char *const names[] = { "atlas", "borealis" };

static void write_confs(void)
{
    for (unsigned i = 0; i < 2; i++)
        put(i ? far_host : host, "psk.keys", "atlas:%064d\n", 12345);
    put(far_host, "farside.conf",
        "[platform]\nname = borealis\n"
        "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/psk.keys\n"
        "[device board]\ntype = outside\nclass = intc\n"
        "socket = %s/board.sock\n"
        "[device tick]\ntype = outside\nclass = timer\n"
        "socket = %s/tick.sock\n"
        "[device alarm]\ntype = interrupts\n"
        "[export alarm]\nmay-interrupt = atlas/g\n"
        "[export board]\nallow = atlas\n"
        "[export tick]\nallow = atlas\n",
        tcp_port, far_host, far_host, far_host);
    put(host, "farside.conf",
        "[platform]\nname = atlas\n"
        "[server borealis]\naddress = 127.0.0.1:%u\n"
        "psk-file = %s/psk.keys\nmay-interrupt = g\n"
        "[device irqs]\ntype = vectors\n"
        "source = 0-7 intc borealis/board\n"
        "source = 8-15 notices borealis/alarm\n"
        "[guest g]\nattach = intc irqs\n"
        "[guest t]\nattach = timer borealis/tick\n",
        tcp_port, host);
}

static void start_proxy(unsigned i)
{
    char program[600], log[200];
    int fd;

    snprintf(program, sizeof(program), "%s/farside-netproxy", build);
    snprintf(log, sizeof(log), "%s/netproxy.log", i ? far_host : host);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    proxies[i] = spawn(names[i], program, -1, -1, fd);
    close(fd);
}

static void start_program(unsigned i)
{
    static const char *const what[] = { "interrupts", "timer" },
                             *const device[] = { "board", "tick" };
    char program[600], path[200];

    snprintf(path, sizeof(path), "%s/%s.sock", far_host, device[i]);
    snprintf(program, sizeof(program), "%s/docs/examples/outside-%s", build,
             what[i]);
    programs[i] = fork();
    if (!programs[i]) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("FARSIDE_SOCKET", path, 1);
        setenv("FARSIDE_DEVICE", device[i], 1);
        execl(program, program, i ? NULL : fifo, (char *)NULL);
        _exit(127);
    }
    for (unsigned n = 0; n < 500 && access(path, F_OK); n++)
        nap_ms(10);
    ck_assert_int_eq(access(path, F_OK), 0);
}

static void set_up(void)
{
    host_do(NULL, 0, "down borealis"); /* a test before may have failed */
    fresh_host();
    ck_assert_int_eq(host_do(NULL, 0, "up borealis"), 0);
    ck_assert_int_eq(host_do(far_host, sizeof(far_host), "dir borealis"), 0);
    snprintf(fifo, sizeof(fifo), "%s/board.lines", far_host);
    tcp_port = free_port();
    write_confs();
    start_program(0);
    start_program(1);
    start_proxy(1);
    start_proxy(0);
    start_backend();
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    for (unsigned i = 0; i < 2; i++) {
        end_with(&proxies[i], SIGKILL);
        end_with(&programs[i], SIGKILL);
    }
    host_do(NULL, 0, "down borealis");
}

static uint64_t number(const char *answer, unsigned nth)
{
    for (; nth; nth--) {
        answer = strchr(answer, ' ');
        ck_assert_msg(answer != NULL, "too short");
        answer++;
    }
    return strtoull(answer, NULL, 10);
}

static void board_does(const char *lines)
{
    int fd = open(fifo, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, lines, strlen(lines)), (ssize_t)strlen(lines));
    close(fd);
}

static struct guest vectors_guest(void)
{
    struct guest g;

    g = guest_with("tests/frontend/vectors", "g", "");
    OK(&g, "open 0 16 1 2");
    OK(&g, "connected 15000");
    /* until the far device is there */
    for (unsigned i = 0; i < 1000; i++) {
        if (!strcmp(say(&g, "ask 3"), "ok 0 0 3"))
            break;
        nap_ms(10);
    }
    ck_assert_str_eq(say(&g, "ask 3"), "ok 0 0 3");
    return g;
}

START_TEST(a_source_in_a_process_on_another_machine_raises_a_guests_vectors)
{
    struct guest g = vectors_guest();

    board_does("1\n1\n2\n");
    ck_assert_uint_eq(number(say(&g, "wait 3 10000"), 1), 3);
    ck_assert_uint_eq(number(say(&g, "count 1"), 1), 2);
    board_does("5+\n");
    ck_assert_uint_eq(number(say(&g, "wait 4 10000"), 1), 4);
    /* its end goes there, and it says that the line is high still */
    ck_assert_str_eq(say(&g, "eoi 5"), "ok 0");
    ck_assert_uint_eq(number(say(&g, "wait 5 10000"), 1), 5);
    board_does("5-\n");
    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_eq(number(say(&g, "wait 6 50"), 1), 5);
    ck_assert_str_eq(say(&g, "eoi 5"), "ok 0");
    ck_assert_uint_eq(number(say(&g, "wait 6 200"), 1), 5);
    destroy(&g);
}
END_TEST

START_TEST(each_is_counted_once_whichever_daemon_is_killed_on_the_way)
{
    struct guest g = vectors_guest();
    uint64_t total = 0;

    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 60; i++) {
            board_does("3\n");
            total++;
            if (i == 20)
                switch (round % 3) {
                case 0:
                    end_with(&proxies[1], SIGKILL);
                    break;
                case 1:
                    end_with(&proxies[0], SIGKILL);
                    break;
                default:
                    kill_backend(SIGKILL);
                }
        }
        switch (round % 3) {
        case 0:
            start_proxy(1);
            break;
        case 1:
            start_proxy(0);
            break;
        default:
            start_backend();
        }
        ck_assert_uint_eq(number(say(&g, "wait %u 30000", (unsigned)total), 1),
                          total);
        ck_assert_uint_eq(
            number(say(&g, "wait %u 100", (unsigned)total + 1), 1), total);
    }
    destroy(&g);
}
END_TEST

/* farside send, on the other machine; it ends when the guest has it. */
static int alarm_rings(unsigned line, const char *word)
{
    return host_do(NULL, 0,
                   "run borealis -- %s/farside send alarm --to atlas/g key "
                   "%#x%s",
                   build, line, word);
}

START_TEST(a_device_that_was_never_attached_raises_vectors_by_notices)
{
    struct guest g = vectors_guest();
    uint64_t total = 0;
    pid_t pid;

    ck_assert_int_eq(alarm_rings(3, ""), 0);
    ck_assert_uint_eq(number(say(&g, "wait %u 10000", (unsigned)++total), 1),
                      total);
    ck_assert_uint_eq(number(say(&g, "count 11"), 1), 1);
    ck_assert_int_ne(alarm_rings(9, ""), 0); /* no vector is for that */
    for (unsigned round = 0; round < 4; round++) {
        if (round % 2)
            end_with(&proxies[0], SIGKILL);
        else
            kill_backend(SIGKILL);
        pid = fork(); /* it waits until it was taken */
        if (!pid)
            _exit(alarm_rings(3, ""));
        nap_ms(50);
        if (round % 2)
            start_proxy(0);
        else
            start_backend();
        total++;
        ck_assert_uint_eq(number(say(&g, "wait %u 20000", (unsigned)total), 1),
                          total);
        ck_assert_uint_eq(
            number(say(&g, "wait %u 200", (unsigned)total + 1), 1), total);
        end_with(&pid, SIGTERM);
    }
    ck_assert_uint_eq(number(say(&g, "count 11"), 1), total);
    destroy(&g);
}
END_TEST

START_TEST(a_timer_in_a_process_on_another_machine_expires_in_a_guest)
{
    struct guest g;
    bool armed = false;

    g = guest_with("tests/frontend/timers", "t", "");
    OK(&g, "open 0 16 0");
    OK(&g, "connected 15000");
    for (unsigned i = 0; i < 500 && !armed; i++) {
        armed = !strcmp(say(&g, "outside 1 20000000"), "ok 0 0");
        if (!armed)
            nap_ms(20);
    }
    ck_assert(armed);
    ck_assert_uint_eq(number(say(&g, "wait 1 10000"), 1), 1);
    ck_assert_uint_eq(number(say(&g, "count 1"), 1), 1);
    ck_assert_uint_eq(number(say(&g, "wait 2 100"), 1), 1);
    /* cancelled there in time, it does not expire */
    ck_assert_str_eq(say(&g, "outside 2 2000000000"), "ok 0 0");
    OK(&g, "cancel 2");
    ck_assert_uint_eq(number(say(&g, "wait 2 2500"), 1), 1);
    /* one of this machine goes on without it */
    end_with(&programs[1], SIGKILL);
    OK(&g, "in 3 1000 0 0");
    ck_assert_uint_eq(number(say(&g, "wait 2 5000"), 1), 2);
    start_program(1);
    armed = false;
    for (unsigned i = 0; i < 500 && !armed; i++) {
        armed = !strcmp(say(&g, "outside 4 1000000"), "ok 0 0");
        if (!armed)
            nap_ms(20);
    }
    ck_assert(armed);
    ck_assert_uint_eq(number(say(&g, "wait 3 10000"), 1), 3);
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { a_source_in_a_process_on_another_machine_raises_a_guests_vectors, 1 },
        { a_device_that_was_never_attached_raises_vectors_by_notices, 1 },
        { each_is_counted_once_whichever_daemon_is_killed_on_the_way, 1 },
        { a_timer_in_a_process_on_another_machine_expires_in_a_guest, 1 },
    };

    return host_main("own-far", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
