/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The floors that everything is measured against: two processes that hand
 * each other a token and do nothing else, by eventfd, by TCP over loopback
 * (sleeping or spinning), or by a word in shared memory. Prints the round
 * trip's quantiles and what it cost both ends.
 *
 * usage: floor eventfd|tcp|tcpspin|memory ROUNDS CPU-A CPU-B   (-1: unpinned)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/samples.h"
#include "core/clock.h"

#define MESSAGE_BYTES 64

struct shared {
    _Alignas(64) _Atomic uint32_t ping;
    _Alignas(64) _Atomic uint32_t pong;
};

struct end {
    int epoll, in, out;
    bool spins;
    bool tcp;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct end make_end(int in, int out, bool tcp, bool spins)
{
    struct epoll_event e = { .events = EPOLLIN };
    struct end end = { .in = in, .out = out, .tcp = tcp, .spins = spins };

    end.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (end.epoll < 0 || epoll_ctl(end.epoll, EPOLL_CTL_ADD, in, &e) < 0)
        die("epoll");
    return end;
}

static void give(struct end *end)
{
    char message[MESSAGE_BYTES] = { 1 };
    uint64_t one = 1;
    ssize_t n = end->tcp ? send(end->out, message, sizeof message, 0)
                         : write(end->out, &one, sizeof one);

    if (n < 0)
        die("write");
}

static void take(struct end *end)
{
    char message[MESSAGE_BYTES];
    struct epoll_event e;
    ssize_t n;

    for (;;) {
        if (!end->spins && epoll_wait(end->epoll, &e, 1, -1) < 0 &&
            errno != EINTR)
            die("epoll_wait");
        n = end->tcp ? recv(end->in, message, sizeof message, MSG_DONTWAIT)
                     : read(end->in, message, 8);
        if (n > 0)
            return;
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            exit(1);
    }
}

static void tcp_pair(int pair[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (listener < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &bytes) < 0)
        die("listen");
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (pair[0] < 0 || connect(pair[0], (struct sockaddr *)&address, bytes) < 0)
        die("connect");
    pair[1] = accept(listener, NULL, NULL);
    if (pair[1] < 0)
        die("accept");
    for (int i = 0; i < 2; i++)
        setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    close(listener);
}

static void spin_until(_Atomic uint32_t *word, uint32_t value)
{
    while (atomic_load_explicit(word, memory_order_acquire) != value)
        far_relax();
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: floor eventfd|tcp|tcpspin|memory ROUNDS "
                        "CPU-A CPU-B\n");
        return 2;
    }
    bool memory = !strcmp(argv[1], "memory");
    bool tcp = !strncmp(argv[1], "tcp", 3);
    bool spins = !strcmp(argv[1], "tcpspin");
    unsigned rounds = (unsigned)strtoul(argv[2], NULL, 10);
    unsigned warm_up = rounds / 10 + 1;
    struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int there[2], back[2];
    struct samples samples;
    pid_t child;

    if (shared == MAP_FAILED || samples_init(&samples, rounds) < 0)
        die("memory");
    if (tcp) {
        int pair[2];

        tcp_pair(pair);
        there[0] = back[1] = pair[1];
        there[1] = back[0] = pair[0];
    } else {
        there[0] = there[1] = eventfd(0, EFD_NONBLOCK);
        back[0] = back[1] = eventfd(0, EFD_NONBLOCK);
    }
    child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        samples_pin(atoi(argv[4]));
        if (memory) {
            for (uint32_t i = 1; i <= rounds + warm_up; i++) {
                spin_until(&shared->ping, i);
                atomic_store_explicit(&shared->pong, i, memory_order_release);
            }
            _exit(0);
        }
        struct end b = make_end(there[0], back[1], tcp, spins);
        for (uint32_t i = 0; i < rounds + warm_up; i++) {
            take(&b);
            give(&b);
        }
        _exit(0);
    }
    samples_pin(atoi(argv[3]));
    struct end a = make_end(back[0], there[1], tcp, spins);
    for (uint32_t i = 1; i <= rounds + warm_up; i++) {
        uint64_t start = far_now_ns();

        if (memory) {
            atomic_store_explicit(&shared->ping, i, memory_order_release);
            spin_until(&shared->pong, i);
        } else {
            give(&a);
            take(&a);
        }
        if (i > warm_up)
            samples_add(&samples, far_now_ns() - start);
    }
    waitpid(child, NULL, 0);
    samples_print(&samples, argv[1]);
    return 0;
}
