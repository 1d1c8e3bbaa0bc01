/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stream between guests of two machines, on the simulator: on each a backend
 * and a netproxy, and between them a wire that can be cut. Every byte comes
 * once and in order, whatever is cut or killed meanwhile.
 */
#include <poll.h>
#include <sys/socket.h>
#include "tests/backend/streams.h"

enum { ATLAS, BOREALIS, HOSTS };
static const char *const names[] = { "atlas", "borealis" };
static char dirs[HOSTS][128], socks[HOSTS][160];
static pid_t proxies[HOSTS], backends[HOSTS], wire;
static unsigned ports[2]; /* that atlas is told, and that borealis has */

static int listening(unsigned port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    return fd;
}

/* --- the wire: a process, so that cutting it is a kill ---------------------
 */

static int dial(unsigned port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool pass(int from, int to)
{
    char bytes[65536];
    ssize_t n = read(from, bytes, sizeof(bytes)), done = 0, r;

    for (; n > 0 && done < n; done += r) {
        r = write(to, bytes + done, (size_t)(n - done));
        if (r <= 0)
            return false;
    }
    return n > 0;
}

static void carry(int listener)
{
    enum { MOST = 17 };
    struct pollfd p[MOST] = { { .fd = listener, .events = POLLIN } };
    unsigned n = 1;

    for (;;) {
        poll(p, n, -1);
        for (unsigned i = 1; i < n; i++) {
            unsigned first = (i - 1) / 2 * 2 + 1;

            if (!p[i].revents || pass(p[i].fd, p[first + (i == first)].fd))
                continue;
            close(p[first].fd);
            close(p[first + 1].fd);
            n -= 2;
            memmove(&p[first], &p[first + 2], (n - first) * sizeof(p[0]));
            break;
        }
        if (p[0].revents && n + 2 <= MOST) {
            int near = accept(listener, NULL, NULL), far = dial(ports[1]);

            if (far < 0) {
                close(near);
                continue;
            }
            p[n++] = (struct pollfd){ .fd = near, .events = POLLIN };
            p[n++] = (struct pollfd){ .fd = far, .events = POLLIN };
        }
    }
}

static void lay_wire(void)
{
    int fd = listening(ports[0]);

    wire = fork();
    if (!wire) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        carry(fd);
    }
    close(fd);
}

/* --- the machines ----------------------------------------------------------
 */

static void configure(void)
{
    for (unsigned i = 0; i < HOSTS; i++)
        put(dirs[i], "psk.keys", "atlas:%064d\n", 12345);
    put(dirs[BOREALIS], "farside.conf",
        "[platform]\nname = borealis\n"
        "[listen]\naddress = 127.0.0.1:%u\npsk-file = %s/psk.keys\n"
        "[device wire]\ntype = stream\npeer-timeout = 4s\n"
        "[device secret]\ntype = stream\n"
        "[export wire]\nallow = atlas\n[export secret]\n"
        "[guest b]\nattach = stream wire path=/test/wire\n",
        ports[1], dirs[BOREALIS]);
    put(dirs[ATLAS], "farside.conf",
        "[platform]\nname = atlas\n"
        "[server borealis]\naddress = 127.0.0.1:%u\n"
        "psk-file = %s/psk.keys\n"
        "[guest a]\nattach = stream borealis/wire path=/test/wire\n"
        "[guest thief]\nattach = stream borealis/secret path=/test/wire\n",
        ports[0], dirs[ATLAS]);
}

static pid_t start_at(unsigned i, const char *name)
{
    char program[600], log[300];
    pid_t pid;
    int fd;

    snprintf(program, sizeof(program), "%s/farside-%s", build, name);
    snprintf(log, sizeof(log), "%s/%s.log", dirs[i], name);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid = spawn(names[i], program, -1, -1, fd);
    close(fd);
    return pid;
}

static void start_backend_at(unsigned i)
{
    backends[i] = start_at(i, "backend");
    for (unsigned n = 0; n < 500; n++) {
        json_t *request = json_pack("{s:s}", "request", "none"), *answer;
        int r = far_control_call(socks[i], request, &answer, 1000000, NULL);

        json_decref(request);
        if (r == -EOPNOTSUPP)
            return;
        nap_ms(20);
    }
    ck_abort_msg("the backend of %s does not start", names[i]);
}

static void kill_at(unsigned i, bool proxy)
{
    end_with(proxy ? &proxies[i] : &backends[i], SIGKILL);
    if (proxy)
        proxies[i] = start_at(i, "netproxy");
    else
        start_backend_at(i);
}

static void set_up(void)
{
    host_do(NULL, 0, "down borealis"); /* a test before may have failed */
    fresh_host();
    ck_assert_int_eq(host_do(NULL, 0, "up borealis"), 0);
    ports[0] = free_port();
    do
        ports[1] = free_port();
    while (ports[1] == ports[0]);
    for (unsigned i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(host_do(dirs[i], sizeof(dirs[i]), "dir %s", names[i]),
                         0);
        snprintf(socks[i], sizeof(socks[i]), "%s/run/backend.sock", dirs[i]);
    }
    configure();
    lay_wire();
    for (unsigned i = 0; i < HOSTS; i++) {
        proxies[i] = start_at(i, "netproxy");
        start_backend_at(i);
    }
    a = peer_at("atlas", "a");
    b = peer_at("borealis", "b");
}

static void tear_down(void)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        end_with(&backends[i], SIGTERM);
        end_with(&proxies[i], SIGTERM);
    }
    end_with(&wire, SIGKILL);
    stop_program(&a);
    stop_program(&b);
    host_do(NULL, 0, "down borealis");
}

/* --- what should work ------------------------------------------------------
 */

START_TEST(every_byte_comes_once_and_in_order_over_the_link)
{
    connect_two();
    exchange(3000000, 5000001);
    exchange(1, 1);
    exchange(0, 700000);
}
END_TEST

START_TEST(who_closes_here_is_read_to_the_end_there)
{
    connect_two();
    OK(&a, "move 60000 0 1");
    OK(&a, "close");
    ck_assert_str_eq(say(&b, "move 0 60000 1"), "ok 0 60000");
    becomes(&b, "open", "ok 0");
    ck_assert_str_eq(say(&b, "move 0 1 1"), "closed 0 0");
    OK(&b, "close");
    OK(&b, "server 0 /test/wire 0 0");
    OK(&a, "client 0 /test/wire");
    exchange(100000, 100000);
}
END_TEST

#define MOVED 8000000ull

/* Something happens in the middle of a conversation, to and fro. */
static void survives(void (*happens)(unsigned round), unsigned rounds)
{
    connect_two();
    for (unsigned i = 0; i < rounds; i++) {
        begin(&a, "move %llu %llu 1", MOVED, MOVED);
        begin(&b, "move %llu %llu 1", MOVED, MOVED);
        nap_ms(5 + 11 * i);
        happens(i);
        hears(&a, "ok 8000000 8000000");
        hears(&b, "ok 8000000 8000000");
    }
    becomes(&a, "open", "ok 1");
    becomes(&b, "open", "ok 1");
}

static void wire_is_cut(unsigned round)
{
    end_with(&wire, SIGKILL);
    nap_ms(50 * round);
    lay_wire();
}

static void near_proxy_dies(unsigned round)
{
    (void)round;
    kill_at(ATLAS, true);
}

static void far_proxy_dies(unsigned round)
{
    (void)round;
    kill_at(BOREALIS, true);
}

static void a_backend_dies(unsigned round)
{
    kill_at(round % HOSTS, false);
}

static void all_of_it(unsigned round)
{
    wire_is_cut(round);
    near_proxy_dies(round);
    a_backend_dies(round);
    far_proxy_dies(round);
    a_backend_dies(round + 1);
}

START_TEST(a_cut_link_loses_and_doubles_nothing)
{
    survives(wire_is_cut, full(20, 4));
}
END_TEST

START_TEST(a_kill_of_the_netproxy_here_loses_and_doubles_nothing)
{
    survives(near_proxy_dies, full(20, 4));
}
END_TEST

START_TEST(a_kill_of_the_netproxy_that_has_the_stream_loses_and_doubles_nothing)
{
    survives(far_proxy_dies, full(20, 4));
}
END_TEST

START_TEST(a_kill_of_either_backend_loses_and_doubles_nothing)
{
    survives(a_backend_dies, full(20, 4));
}
END_TEST

START_TEST(all_that_can_be_killed_at_once_loses_and_doubles_nothing)
{
    survives(all_of_it, full(10, 2));
}
END_TEST

/* A side that was to speak next when the link was cut is heard after it. */
START_TEST(a_conversation_in_turns_goes_on_after_cuts_and_kills)
{
    static void (*const happens[])(unsigned) = { wire_is_cut, near_proxy_dies,
                                                 far_proxy_dies,
                                                 a_backend_dies };

    connect_two();
    for (unsigned i = 0; i < 8; i++) {
        happens[i % 4](i / 4);
        begin(&b, "move 0 10 1");
        OK(&a, "move 10 0 1");
        hears(&b, "ok 0 10");
        happens[i % 4](i / 4);
        begin(&a, "move 0 10 1");
        OK(&b, "move 10 0 1");
        hears(&a, "ok 0 10");
    }
}
END_TEST

START_TEST(a_guest_that_is_destroyed_there_has_closed_here)
{
    connect_two();
    exchange(1000, 1000);
    ck_assert_int_eq(host_do(NULL, 0, "destroy borealis b"), 0);
    stop_program(&b);
    becomes(&a, "open", "ok 0");
}
END_TEST

/* Its owner has begun anew, and knows of it only from who is left. */
START_TEST(who_does_not_come_back_after_a_kill_has_closed)
{
    connect_two();
    exchange(1000, 1000);
    end_with(&proxies[BOREALIS], SIGKILL);
    end_with(&backends[BOREALIS], SIGKILL);
    proxies[BOREALIS] = start_at(BOREALIS, "netproxy");
    becomes(&a, "open", "ok 0");
    start_backend_at(BOREALIS);
    becomes(&b, "open", "ok 0");
}
END_TEST

START_TEST(what_is_not_exported_to_a_platform_its_guests_can_not_have)
{
    struct guest thief = peer_at("atlas", "thief");

    ck_assert_str_eq(say(&thief, "client 0 /test/wire"),
                     "no Connection refused");
    connect_two();
    exchange(10, 10);
    stop_program(&thief);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { every_byte_comes_once_and_in_order_over_the_link, 1 },
        { who_closes_here_is_read_to_the_end_there, 1 },
        { a_cut_link_loses_and_doubles_nothing, 1 },
        { a_kill_of_the_netproxy_here_loses_and_doubles_nothing, 1 },
        { a_kill_of_the_netproxy_that_has_the_stream_loses_and_doubles_nothing,
          1 },
        { a_kill_of_either_backend_loses_and_doubles_nothing, 1 },
        { all_that_can_be_killed_at_once_loses_and_doubles_nothing, 1 },
        { a_conversation_in_turns_goes_on_after_cuts_and_kills, 1 },
        { a_guest_that_is_destroyed_there_has_closed_here, 1 },
        { who_does_not_come_back_after_a_kill_has_closed, 1 },
        { what_is_not_exported_to_a_platform_its_guests_can_not_have, 1 },
    };

    return host_main("stream-far", tests, sizeof(tests) / sizeof(tests[0]),
                     set_up, tear_down, 180, argc, argv);
}
