/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulator against what Xen 4.17 and Linux do: each test tells programs
 * in several domains (actor.c) what to do and compares what they report. It
 * starts hosts of its own in a folder of its own and leaves nothing.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "tests/core/suite.h"

static char build_dir[512]; /* where the built tree is */
static char sim_dir[64];

struct actor {
    pid_t pid;
    FILE *in, *out;
};

/* ---- helpers ---- */

static void nap_ms(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&t, NULL);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Runs farside-sim with these words; its exit status. Output goes to `out`. */
__attribute__((format(printf, 3, 4))) static int sim(char *out, size_t size,
                                                     const char *fmt, ...)
{
    char cmd[2048];
    int n = snprintf(cmd, sizeof(cmd), "%s/sim/farside-sim ", build_dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd + n, sizeof(cmd) - (size_t)n, fmt, ap);
    va_end(ap);
    FILE *f = popen(cmd, "re");
    if (!f)
        return -1;
    char line[65536];
    size_t got = fread(line, 1, sizeof(line) - 1, f);
    line[got] = 0;
    while (got && line[got - 1] == '\n')
        line[--got] = 0;
    if (out)
        snprintf(out, size, "%s", line);
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct actor start(const char *where)
{
    int to[2], from[2];
    char program[600], actor[600], line[64];
    struct actor a;

    snprintf(program, sizeof(program), "%s/sim/farside-sim", build_dir);
    snprintf(actor, sizeof(actor), "%s/tests/sim/actor", build_dir);
    ck_assert_int_eq(pipe2(to, 02000000) | pipe2(from, 02000000), 0);
    a.pid = fork();
    ck_assert_int_ge(a.pid, 0);
    if (!a.pid) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execl(program, program, "run", where, "--", actor, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    a.in = fdopen(to[1], "w");
    a.out = fdopen(from[0], "r");
    ck_assert_msg(fgets(line, sizeof(line), a.out) && !strcmp(line, "ok\n"),
                  "no actor in %s", where);
    return a;
}

/* The answer to one line. */
__attribute__((format(printf, 2, 3))) static const char *
say(struct actor *a, const char *fmt, ...)
{
    static char answer[8][1024];
    static int next;
    char *line = answer[next++ % 8];
    va_list ap;
    va_start(ap, fmt);
    vfprintf(a->in, fmt, ap);
    va_end(ap);
    fputc('\n', a->in);
    fflush(a->in);
    if (!fgets(line, 1024, a->out))
        return "dead";
    line[strcspn(line, "\n")] = 0;
    return line;
}

#define expect(answer, ...) ck_assert_str_eq(say(__VA_ARGS__), answer)

/* The number after "ok ". */
__attribute__((format(printf, 2, 3))) static unsigned
number(struct actor *a, const char *fmt, ...)
{
    char cmd[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    const char *r = say(a, "%s", cmd);
    ck_assert_msg(!strncmp(r, "ok ", 3), "'%s' gave '%s'", cmd, r);
    return (unsigned)strtoul(r + 3, NULL, 10);
}

static void end(struct actor *a)
{
    kill(a->pid, SIGKILL);
    waitpid(a->pid, NULL, 0);
    fclose(a->in);
    fclose(a->out);
}

/* Until the keeper has cleaned up after somebody. */
__attribute__((format(printf, 3, 4))) static void
until(const char *answer, struct actor *a, const char *fmt, ...)
{
    char cmd[256];
    const char *r = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof(cmd), fmt, ap);
    va_end(ap);
    for (int i = 0; i < 500; i++) {
        r = say(a, "%s", cmd);
        if (!strcmp(r, answer))
            return;
        nap_ms(2);
    }
    ck_abort_msg("'%s' gave '%s' for a second, not '%s'", cmd, r, answer);
}

static unsigned domid(const char *name)
{
    char text[64];
    ck_assert_int_eq(sim(text, sizeof(text), "domid atlas %s", name), 0);
    return (unsigned)strtoul(text, NULL, 10);
}

/* ---- hosts ---- */

static void hosts_up(void)
{
    snprintf(sim_dir, sizeof(sim_dir), "/tmp/farside-test-XXXXXX");
    if (!mkdtemp(sim_dir))
        abort();
    setenv("FARSIDE_SIM_DIR", sim_dir, 1);
    if (sim(NULL, 0, "up") || sim(NULL, 0, "create atlas g1") ||
        sim(NULL, 0, "create atlas g2"))
        abort();
}

static void hosts_down(void)
{
    if (sim(NULL, 0, "down") || !access(sim_dir, F_OK)) {
        fprintf(stderr, "the hosts left something in %s\n", sim_dir);
        abort();
    }
}

/* ---- event channels ---- */

struct pair {
    struct actor back, front;
    unsigned guest, theirs, ours;
};

/* dom0 bound to a port of g1's, its first event taken. */
static struct pair connect_pair(void)
{
    struct pair p = { start("atlas"), start("atlas/g1"), domid("g1"), 0, 0 };
    expect("ok 0", &p.back, "eopen 0");
    expect("ok 0", &p.front, "eopen 0");
    p.theirs = number(&p.front, "unbound 0 0");
    p.ours = number(&p.back, "bind 0 %u %u", p.guest, p.theirs);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    expect("ok 0", &p.back, "unmask 0 %u", p.ours);
    expect("ok none", &p.back, "wait 0 0");
    return p;
}

START_TEST(a_notify_reaches_the_other_domain_once)
{
    struct pair p = connect_pair();
    expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    expect("ok none", &p.back, "wait 0 0");
    expect("ok 0", &p.back, "unmask 0 %u", p.ours);
    expect("ok none", &p.back, "wait 0 0");
    expect("ok 0", &p.back, "notify 0 %u", p.ours);
    ck_assert_uint_eq(number(&p.front, "wait 0 1000"), p.theirs);
}
END_TEST

START_TEST(a_notify_while_masked_fires_again_after_unmask)
{
    struct pair p = connect_pair();
    expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    for (int i = 0; i < 3; i++)
        expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    expect("ok none", &p.back, "wait 0 20");
    expect("ok 0", &p.back, "unmask 0 %u", p.ours);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    expect("ok 0", &p.back, "unmask 0 %u", p.ours);
    expect("ok none", &p.back, "wait 0 0");
}
END_TEST

START_TEST(many_notifies_before_the_read_are_one_event)
{
    struct pair p = connect_pair();
    for (int i = 0; i < 50; i++)
        expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    expect("ok none", &p.back, "wait 0 0");
    expect("ok 0", &p.back, "unmask 0 %u", p.ours);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    expect("ok 0", &p.back, "unmask 0 %u", p.ours);
    expect("ok none", &p.back, "wait 0 0");
}
END_TEST

START_TEST(a_port_can_be_bound_only_by_the_domain_that_it_waits_for)
{
    struct actor g1 = start("atlas/g1"), g2 = start("atlas/g2");
    struct actor d0 = start("atlas");
    unsigned one = domid("g1"), two = domid("g2");
    expect("ok 0", &g1, "eopen 0");
    expect("ok 0", &g2, "eopen 0");
    expect("ok 0", &d0, "eopen 0");
    unsigned for0 = number(&g1, "unbound 0 0");
    unsigned for2 = number(&g1, "unbound 0 %u", two);
    expect("err EINVAL", &g2, "bind 0 %u %u", one, for0);
    expect("err EINVAL", &d0, "bind 0 %u %u", one, for2);
    expect("err EINVAL", &d0, "bind 0 %u 0", one);
    expect("err EINVAL", &d0, "bind 0 %u 3000", one);
    expect("err EINVAL", &d0, "bind 0 %u 99999999", one);
    expect("err ESRCH", &d0, "bind 0 999 1");
    expect("err ESRCH", &d0, "bind 0 70000 1");
    number(&d0, "bind 0 %u %u", one, for0);
    expect("err EINVAL", &d0, "bind 0 %u %u", one, for0);
    number(&g2, "bind 0 %u %u", one, for2);
}
END_TEST

START_TEST(a_handle_does_not_reach_another_handles_port)
{
    struct pair p = connect_pair();
    expect("ok 0", &p.back, "eopen 1");
    expect("err ENOTCONN", &p.back, "notify 1 %u", p.ours);
    expect("err ENOTCONN", &p.back, "unbind 1 %u", p.ours);
    expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    expect("ok 0", &p.back, "unmask 1 %u", p.ours); /* ignored, as on Linux */
    expect("ok none", &p.back, "wait 1 0");
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
    expect("ok 0", &p.back, "unbind 0 %u", p.ours);
    expect("err ENOTCONN", &p.back, "notify 0 %u", p.ours);
}
END_TEST

START_TEST(a_domain_can_talk_to_itself)
{
    struct actor d0 = start("atlas");
    expect("ok 0", &d0, "eopen 0");
    expect("ok 0", &d0, "eopen 1");
    unsigned a = number(&d0, "unbound 0 0");
    unsigned b = number(&d0, "bind 1 0 %u", a);
    ck_assert_uint_eq(number(&d0, "wait 1 1000"), b);
    expect("ok 0", &d0, "unmask 1 %u", b);
    expect("ok 0", &d0, "notify 0 %u", a);
    ck_assert_uint_eq(number(&d0, "wait 1 1000"), b);
    expect("ok 0", &d0, "notify 1 %u", b);
    ck_assert_uint_eq(number(&d0, "wait 0 1000"), a);
}
END_TEST

START_TEST(a_killed_backends_successor_binds_the_same_port_again)
{
    struct pair p = connect_pair();
    for (int i = 0; i < 5; i++) {
        end(&p.back);
        p.back = start("atlas");
        expect("ok 0", &p.back, "eopen 0");
        for (int tries = 0; tries < 500; tries++) {
            const char *r = say(&p.back, "bind 0 %u %u", p.guest, p.theirs);
            if (!strncmp(r, "ok", 2)) {
                p.ours = (unsigned)strtoul(r + 3, NULL, 10);
                break;
            }
            ck_assert_str_eq(r, "err EINVAL");
            nap_ms(2);
        }
        ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
        expect("ok 0", &p.back, "unmask 0 %u", p.ours);
        expect("ok 0", &p.front, "notify 0 %u", p.theirs);
        ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
        expect("ok 0", &p.back, "notify 0 %u", p.ours);
        ck_assert_uint_eq(number(&p.front, "wait 0 1000"), p.theirs);
        expect("ok 0", &p.front, "unmask 0 %u", p.theirs);
    }
}
END_TEST

START_TEST(a_notify_to_a_dead_peer_is_no_error)
{
    struct pair p = connect_pair();
    end(&p.back);
    nap_ms(20);
    expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    expect("ok none", &p.front, "wait 0 0");
}
END_TEST

START_TEST(a_sender_killed_at_any_instant_leaves_no_deaf_port)
{
    struct pair p = connect_pair();
    for (int i = 0; i < 40; i++) {
        struct actor sender = start("atlas");
        expect("ok 0", &sender, "eopen 0");
        unsigned port = number(&p.front, "unbound 0 0");
        unsigned ours = number(&sender, "bind 0 %u %u", p.guest, port);
        expect("ok", &sender, "flood 0 %u", ours);
        for (int k = 0; k < i % 5; k++) {
            ck_assert_uint_eq(number(&p.front, "wait 0 1000"), port);
            expect("ok 0", &p.front, "unmask 0 %u", port);
        }
        end(&sender);
        struct actor next = start("atlas");
        expect("ok 0", &next, "eopen 0");
        const char *r;
        for (int tries = 0;; tries++) {
            r = say(&next, "bind 0 %u %u", p.guest, port);
            if (!strncmp(r, "ok", 2) || tries > 500)
                break;
            nap_ms(2);
        }
        ours = (unsigned)strtoul(r + 3, NULL, 10);
        while (strcmp(say(&p.front, "wait 0 0"), "ok none"))
            ;
        expect("ok 0", &p.front, "unmask 0 %u", port);
        while (strcmp(say(&p.front, "wait 0 0"), "ok none"))
            expect("ok 0", &p.front, "unmask 0 %u", port);
        expect("ok 0", &next, "notify 0 %u", ours);
        ck_assert_uint_eq(number(&p.front, "wait 0 1000"), port);
        expect("ok 0", &p.front, "unbind 0 %u", port);
        end(&next);
    }
}
END_TEST

/* Lets it run until it is about to write four bytes, and kills it there. */
static void kill_before_it_writes_a_port(pid_t pid)
{
    struct __ptrace_syscall_info info;
    int status;

    for (int i = 0; i < 100000; i++) {
        ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, 0, 0), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSTOPPED(status));
        ck_assert_int_gt(
            ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info), 0);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY &&
            info.entry.nr == SYS_write && info.entry.args[2] == 4) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return;
        }
    }
    ck_abort_msg("it never wrote a port");
}

START_TEST(an_event_is_not_lost_when_its_sender_dies_before_it_is_told)
{
    struct pair p = connect_pair();
    int status;

    ck_assert_int_eq(ptrace(PTRACE_SEIZE, p.back.pid, 0,
                            PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
                     0);
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, p.back.pid, 0, 0), 0);
    ck_assert_int_eq(waitpid(p.back.pid, &status, 0), p.back.pid);
    fprintf(p.back.in, "notify 0 %u\n", p.ours);
    fflush(p.back.in);
    kill_before_it_writes_a_port(p.back.pid);
    ck_assert_uint_eq(number(&p.front, "wait 0 1000"), p.theirs);
}
END_TEST

START_TEST(a_restricted_handle_binds_only_to_its_domain)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    unsigned one = domid("g1"), two = domid("g2");
    expect("ok 0", &d0, "eopen 0");
    expect("ok 0", &g1, "eopen 0");
    unsigned port = number(&g1, "unbound 0 0");
    expect("err EINVAL", &d0, "restrict 0 0");
    expect("ok 0", &d0, "restrict 0 %u", one);
    expect("err EACCES", &d0, "restrict 0 %u", one);
    expect("err EACCES", &d0, "unbound 0 %u", two);
    expect("err EACCES", &d0, "bind 0 %u 1", two);
    expect("err EACCES", &d0, "virq 0 1");
    number(&d0, "bind 0 %u %u", one, port);
}
END_TEST

START_TEST(a_virq_belongs_to_one_port)
{
    struct actor d0 = start("atlas");
    expect("ok 0", &d0, "eopen 0");
    expect("err EEXIST", &d0, "virq 0 3"); /* xenstored's */
    expect("err EINVAL", &d0, "virq 0 200");
    unsigned port = number(&d0, "virq 0 5");
    expect("err EEXIST", &d0, "virq 0 5");
    expect("err EINVAL", &d0, "notify 0 %u", port);
    expect("ok 0", &d0, "unbind 0 %u", port);
    number(&d0, "virq 0 5");
}
END_TEST

START_TEST(a_forked_child_keeps_no_handle_and_opens_its_own)
{
    struct pair p = connect_pair();
    ck_assert_uint_eq(number(&p.back, "inchild 0 %u", p.ours), 7);
    expect("ok 0", &p.front, "notify 0 %u", p.theirs);
    ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
}
END_TEST

/* ---- grants ---- */

START_TEST(a_granted_page_is_the_same_memory)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    unsigned one = domid("g1");
    unsigned ref = number(&g1, "share 0 0 1 1");
    ck_assert_uint_ge(ref, 8);
    expect("ok", &d0, "map 0 %u 1 %u", one, ref);
    expect("ok", &g1, "poke 0 100 42");
    expect("ok 42", &d0, "peek 0 100");
    expect("ok", &d0, "poke 0 4095 7");
    expect("ok 7", &g1, "peek 0 4095");
    expect("ok 0", &d0, "unmap 0");
    expect("err EINVAL", &d0, "unmap 0");
}
END_TEST

START_TEST(a_grant_is_refused_as_xen_refuses_it)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    struct actor g2 = start("atlas/g2");
    unsigned one = domid("g1"), two = domid("g2");
    unsigned rw = number(&g1, "share 0 0 1 1");
    unsigned ro = number(&g1, "share 1 0 1 0");
    unsigned for2 = number(&g1, "share 2 %u 1 1", two);
    unsigned gone = number(&g1, "share 3 0 1 1");
    expect("ok 0", &g1, "unshare 3");

    expect("err EINVAL", &g2, "map 0 %u 1 %u", one, rw); /* wrong domain */
    expect("err EINVAL", &d0, "map 0 %u 1 %u", one, for2);
    expect("err EINVAL", &d0, "map 0 %u 1 %u", two, rw);
    expect("err EINVAL", &d0, "map 0 %u 1 %u", one, ro);   /* read-only */
    expect("err EINVAL", &d0, "map 0 %u 1 %u", one, gone); /* revoked */
    expect("err EINVAL", &d0, "map 0 %u 1 20000", one);    /* never granted */
    expect("err EINVAL", &d0, "map 0 %u 1 32768", one);    /* out of range */
    expect("err EINVAL", &d0, "map 0 %u 1 4294967295", one);
    expect("err EINVAL", &d0, "map 0 999 1 %u", rw); /* no such domain */
    expect("err EINVAL", &d0, "map 0 %u 1", one);    /* no page at all */
    /* One bad of three: nothing is mapped. */
    expect("err EINVAL", &d0, "map 0 %u 1 %u %u %u", one, rw, gone, rw);

    expect("ok", &d0, "map 0 %u 0 %u", one, ro);
    expect("ok", &g1, "poke 1 0 9");
    expect("ok 9", &d0, "peek 0 0");
    expect("err fault", &d0, "poke 0 0 1");
    expect("ok", &d0, "map 1 %u 1 %u", one, rw);
}
END_TEST

START_TEST(pages_of_one_map_lie_side_by_side)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    unsigned one = domid("g1");
    unsigned a = number(&g1, "share 0 0 1 1");
    unsigned b = number(&g1, "share 1 0 1 1");
    unsigned c = number(&g1, "share 2 0 1 1");
    expect("ok", &d0, "map 0 %u 1 %u %u %u", one, c, a, b);
    expect("ok", &d0, "poke 0 0 1");
    expect("ok", &d0, "poke 0 4096 2");
    expect("ok", &d0, "poke 0 8192 3");
    expect("ok 2", &g1, "peek 0 0");
    expect("ok 3", &g1, "peek 1 0");
    expect("ok 1", &g1, "peek 2 0");
    expect("err EINVAL", &d0, "unmap 0 2"); /* not the count of the map */
    expect("ok 0", &d0, "unmap 0");

    ck_assert_ptr_nonnull(strchr(say(&g1, "share 3 0 8 1"), ' '));
    expect("ok", &g1, "poke 3 32767 5");
}
END_TEST

START_TEST(a_page_unshared_while_mapped_stays_until_it_is_unmapped)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    unsigned one = domid("g1");
    unsigned ref = number(&g1, "share 0 0 1 1");
    expect("ok", &d0, "map 0 %u 1 %u", one, ref);
    expect("ok", &g1, "poke 0 0 42");
    expect("ok 0", &g1, "unshare 0");
    expect("ok 42", &d0, "peek 0 0");
    /* Its number is not given away meanwhile. */
    ck_assert_uint_ne(number(&g1, "share 1 0 1 1"), ref);
    expect("ok 42", &d0, "peek 0 0");
    expect("ok 0", &d0, "unmap 0");
    expect("err EINVAL", &d0, "map 0 %u 1 %u", one, ref);
    ck_assert_uint_eq(number(&g1, "share 2 0 1 1"), ref);
    expect("ok 0", &g1, "peek 2 0"); /* and the page is a fresh one */
}
END_TEST

START_TEST(a_dead_process_holds_neither_maps_nor_grants)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    unsigned one = domid("g1");
    unsigned ref = number(&g1, "share 0 0 1 1");
    expect("ok", &d0, "map 0 %u 1 %u", one, ref);
    end(&d0);
    nap_ms(20);
    expect("ok 0", &g1, "unshare 0");
    ck_assert_uint_eq(number(&g1, "share 0 0 1 1"), ref);
    end(&g1);
    d0 = start("atlas");
    until("err EINVAL", &d0, "map 0 %u 1 %u", one, ref);
}
END_TEST

START_TEST(an_unmap_clears_the_byte_and_sends_the_event)
{
    struct pair p = connect_pair();
    unsigned ref = number(&p.front, "share 0 0 1 1");
    static const char *const ways[] = { "unmap 0", "munmap 0", NULL };
    for (int i = 0; i < 3; i++) {
        expect("ok", &p.back, "mapn 0 %u 1 %u 77 %u", p.guest, ref, p.ours);
        expect("ok", &p.front, "poke 0 77 1");
        expect("ok none", &p.front, "wait 0 0");
        if (ways[i])
            expect("ok 0", &p.back, "%s", ways[i]);
        else
            end(&p.back);
        ck_assert_uint_eq(number(&p.front, "wait 0 1000"), p.theirs);
        expect("ok 0", &p.front, "unmask 0 %u", p.theirs);
        expect("ok 0", &p.front, "peek 0 77");
    }
}
END_TEST

START_TEST(an_unshare_clears_the_byte_and_sends_the_event)
{
    struct pair p = connect_pair();
    for (int i = 0; i < 2; i++) {
        unsigned ref = number(&p.front, "sharen 0 0 12 %u", p.theirs);
        expect("ok", &p.back, "map 0 %u 1 %u", p.guest, ref);
        expect("ok", &p.back, "poke 0 12 1");
        if (i)
            end(&p.front);
        else
            expect("ok 0", &p.front, "unshare 0");
        ck_assert_uint_eq(number(&p.back, "wait 0 1000"), p.ours);
        expect("ok 0", &p.back, "unmask 0 %u", p.ours);
        expect("ok 0", &p.back, "peek 0 12");
    }
}
END_TEST

START_TEST(a_notification_wants_a_port_and_a_page_that_can_be_written)
{
    struct pair p = connect_pair();
    unsigned ref = number(&p.front, "share 0 0 1 1");
    expect("err EINVAL", &p.back, "mapn 0 %u 1 %u 0 3333", p.guest, ref);
    expect("err EINVAL", &p.back, "mapn 0 %u 0 %u 0 %u", p.guest, ref, p.ours);
    expect("ok", &p.back, "mapn 0 %u 0 %u 4294967295 %u", p.guest, ref, p.ours);
}
END_TEST

START_TEST(gntalloc_gives_1024_pages_to_a_domain)
{
    struct actor g1 = start("atlas/g1"), other = start("atlas/g1");
    ck_assert_int_eq(strncmp(say(&g1, "share 0 0 1000 1"), "ok ", 3), 0);
    expect("err ENOSPC", &other, "share 0 0 25 1");
    ck_assert_int_eq(strncmp(say(&other, "share 0 0 24 1"), "ok ", 3), 0);
    expect("err ENOSPC", &g1, "share 1 0 1 1");
    expect("ok 0", &g1, "unshare 0");
    number(&g1, "share 1 0 1 1");
}
END_TEST

START_TEST(a_grant_copy_goes_both_ways_and_judges_each_segment)
{
    struct actor d0 = start("atlas"), g1 = start("atlas/g1");
    struct actor g2 = start("atlas/g2");
    unsigned one = domid("g1");
    unsigned rw = number(&g1, "share 0 0 1 1");
    unsigned ro = number(&g1, "share 1 0 1 0");
    expect("ok", &g1, "poke 0 500 55");
    expect("ok 0 55", &d0, "copyfrom %u %u 500 100", one, rw);
    expect("ok 0 66", &d0, "copyto %u %u 4000 96 66", one, rw);
    expect("ok 66", &g1, "peek 0 4095");
    expect("ok 0", &g1, "peek 0 3999");
    expect("ok 0 0", &d0, "copyfrom %u %u 0 4096", one, ro);
    expect("ok -1 1", &d0, "copyto %u %u 0 1 1", one, ro);
    expect("ok -1 0", &g2, "copyfrom %u %u 0 1", one, rw);
    expect("ok -1 0", &d0, "copyfrom %u 20000 0 1", one);
    expect("ok -3 0", &d0, "copyfrom %u 99999 0 1", one);
    expect("ok -2 0", &d0, "copyfrom 999 %u 0 1", rw);
    expect("err EINVAL", &d0, "copyfrom %u %u 4000 97", one, rw);
    expect("ok 0", &g1, "unshare 0");
    expect("ok -1 0", &d0, "copyfrom %u %u 500 1", one, rw);
}
END_TEST

/* ---- xenstore ---- */

START_TEST(a_guest_may_not_write_dom0s_nodes)
{
    struct actor g1 = start("atlas/g1");
    expect("ok 0", &g1, "xopen 0");
    expect("err EACCES", &g1, "xwrite 0 /local/domain/0/x y");
    expect("err EACCES", &g1, "xwrite 0 /local/domain/%u/x y", domid("g2"));
    expect("err EACCES", &g1, "xwrite 0 name y");
    expect("err EACCES", &g1, "xread 0 /libxl/%u/type", domid("g1"));
    expect("ok 0", &g1, "xwrite 0 data/x y");
    expect("ok y", &g1, "xread 0 /local/domain/%u/data/x", domid("g1"));
    expect("ok 0", &g1, "xrm 0 data/x");
}
END_TEST

START_TEST(watches_belong_to_the_connection_that_set_them)
{
    struct actor g1 = start("atlas/g1");
    expect("ok 0", &g1, "xopen 0");
    expect("ok 0", &g1, "xopen 1");
    expect("ok 0", &g1, "xwatch 0 data/w same");
    expect("ok 0", &g1, "xwatch 1 data/w same");
    expect("ok data/w same", &g1, "xnext 0 1000");
    expect("ok data/w same", &g1, "xnext 1 1000");
    expect("ok 0", &g1, "xwrite 0 data/w 1");
    expect("ok data/w same", &g1, "xnext 0 1000");
    expect("ok data/w same", &g1, "xnext 1 1000");
    expect("ok 0", &g1, "xunwatch 1 data/w same");
    expect("ok 0", &g1, "xwrite 0 data/w 2");
    expect("ok data/w same", &g1, "xnext 0 1000");
    expect("ok none", &g1, "xnext 1 20");
    expect("ok", &g1, "xclose 1");
    expect("ok 0", &g1, "xrm 0 data/w");
}
END_TEST

START_TEST(a_transaction_of_a_killed_process_is_ended)
{
    struct actor g1 = start("atlas/g1");
    /* xenstored allows a guest ten. */
    for (int i = 0; i < 25; i++) {
        struct actor a = start("atlas/g1");
        expect("ok 0", &a, "xopen 0");
        for (int tries = 0; tries < 200; tries++) {
            if (!strcmp(say(&a, "xstart 0"), "ok 0"))
                break;
            nap_ms(2);
            ck_assert_int_lt(tries, 199);
        }
        expect("ok 0", &a, "xwrite 0 data/t %d", i);
        end(&a);
    }
    expect("ok 0", &g1, "xopen 0");
    expect("err ENOENT", &g1, "xread 0 data/t");
    until("ok 0", &g1, "xstart 0");
    expect("ok 0", &g1, "xwrite 0 data/t end");
    expect("ok 0", &g1, "xend 0");
    expect("ok end", &g1, "xread 0 data/t");
    expect("ok 0", &g1, "xrm 0 data/t");
}
END_TEST

START_TEST(xenstore_ls_and_watch_run_unchanged)
{
    char text[4096];
    ck_assert_int_eq(sim(text, sizeof(text), "run atlas -- xenstore-ls -f"), 0);
    ck_assert_ptr_nonnull(strstr(text, "/local/domain/0/name = \"Domain-0\""));
    ck_assert_int_eq(
        sim(text, sizeof(text), "run atlas/g1 -- xenstore-watch -n 1 data"), 0);
    ck_assert_str_eq(text, "data");
    ck_assert_int_eq(sim(text, sizeof(text),
                         "run atlas/g1 -- sh -c "
                         "'xenstore-read name'"),
                     0);
    ck_assert_str_eq(text, "g1");
}
END_TEST

/* ---- the toolstack ---- */

START_TEST(create_writes_what_libxl_writes)
{
    char text[65536];
    static const char *const lines[] = {
        "/local/domain/0/backend/vinput/%u/0 = \"\"   (n0,r%u)",
        "/local/domain/0/backend/vinput/%u/0/online = \"1\"   (n0,r%u)",
        "/local/domain/0/backend/vinput/%u/0/width = \"1024\"   (n0,r%u)",
        "/local/domain/%u/device/vkbd/0 = \"\"   (n%u,r0)",
        "/local/domain/%u/device/vkbd/0/state = \"1\"   (n%u,r0)",
        "/local/domain/%u/device/vkbd = \"\"   (n0,r%u)",
        "/local/domain/%u/control/shutdown = \"\"   (n%u)",
    };
    ck_assert_int_eq(
        sim(text, sizeof(text),
            "create atlas nodes vkb=backend-type=linux,unique-id=b/kbd0,"
            "feature-abs-pointer=1,width=1024,height=768"),
        0);
    unsigned id = (unsigned)strtoul(text, NULL, 10);
    ck_assert_int_eq(sim(text, sizeof(text), "run atlas -- xenstore-ls -fp"),
                     0);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char want[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(want, sizeof(want), lines[i], id, id);
#pragma GCC diagnostic pop
        ck_assert_msg(strstr(text, want), "no line '%s' in\n%s", want, text);
    }
    /* A backend that lets go at once. */
    ck_assert_int_eq(sim(NULL, 0,
                         "run atlas -- xenstore-write "
                         "/local/domain/0/backend/vinput/%u/0/state 6",
                         id),
                     0);
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas nodes"), 0);
    ck_assert_int_eq(sim(text, sizeof(text), "run atlas -- xenstore-ls -f"), 0);
    char gone[64];
    snprintf(gone, sizeof(gone), "/%u/", id);
    ck_assert_msg(!strstr(text, gone), "domain %u left nodes:\n%s", id, text);
}
END_TEST

START_TEST(bad_lines_are_refused)
{
    ck_assert_int_eq(sim(NULL, 0, "create atlas bad vkb=unique-id=x 2>&1"), 1);
    ck_assert_int_eq(
        sim(NULL, 0, "create atlas bad vkb=backend-type=linux,x=1 2>&1"), 1);
    ck_assert_int_eq(sim(NULL, 0, "create atlas 12 2>&1"), 1);
    ck_assert_int_eq(sim(NULL, 0, "create nowhere g 2>&1"), 1);
    ck_assert_int_eq(sim(NULL, 0, "create atlas g1 2>&1"), 1);
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas nobody 2>&1"), 1);
    ck_assert_int_eq(sim(NULL, 0, "run atlas/nobody true 2>&1"), 1);
    ck_assert_int_eq(sim(NULL, 0, "nonsense 2>&1"), 2);
}
END_TEST

START_TEST(destroy_ends_the_guest_and_xenstored_says_so)
{
    struct actor d0 = start("atlas");
    ck_assert_int_eq(sim(NULL, 0, "create atlas victim"), 0);
    unsigned id = domid("victim");
    struct actor g = start("atlas/victim");
    expect("ok 0", &d0, "eopen 0");
    expect("ok 0", &g, "eopen 0");
    unsigned port = number(&g, "unbound 0 0");
    unsigned ours = number(&d0, "bind 0 %u %u", id, port);
    unsigned ref = number(&g, "share 0 0 1 1");
    expect("ok", &d0, "map 0 %u 1 %u", id, ref);
    expect("ok", &g, "poke 0 0 42");
    expect("ok 0", &d0, "xopen 0");
    expect("ok 0", &d0, "xwatch 0 @releaseDomain r");
    expect("ok @releaseDomain r", &d0, "xnext 0 1000");
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas victim"), 0);
    expect("ok @releaseDomain r", &d0, "xnext 0 1000");
    ck_assert_int_eq(kill(g.pid, SIGKILL), 0); /* a zombie at most */
    ck_assert_str_eq(say(&g, "notify 0 %u", port), "dead");
    expect("ok 42", &d0, "peek 0 0"); /* a map outlives the domain */
    expect("ok 0", &d0, "unmap 0");
    expect("err EINVAL", &d0, "map 0 %u 1 %u", id, ref);
    expect("err ESRCH", &d0, "bind 0 %u %u", id, port);
    expect("ok 0", &d0, "notify 0 %u", ours);
    expect("err ENOENT", &d0, "xread 0 /local/domain/%u/name", id);
    ck_assert_int_eq(sim(NULL, 0, "create atlas victim"), 0);
    ck_assert_uint_ne(domid("victim"), id);
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas victim"), 0);
}
END_TEST

static void check_moved(struct actor *g, struct actor *d0, unsigned old,
                        unsigned new_domid, unsigned port, unsigned ref)
{
    /* Nobody told it: the page is as it was, and a notify is no error. */
    expect("ok 42", g, "peek 0 0");
    expect("ok 0", g, "notify 0 %u", port);
    expect("err EINVAL", d0, "map 0 %u 1 %u", new_domid, ref);
    expect(old == new_domid ? "err EINVAL" : "err ESRCH", d0, "bind 0 %u %u",
           old, port);
    /* Its watch fires, its connection lives. */
    expect("ok domid w", g, "xnext 0 1000");
    char want[32];
    snprintf(want, sizeof(want), "ok %u", new_domid);
    expect(want, g, "xread 0 domid");
    /* And it can start again. */
    unsigned p = number(g, "unbound 0 0");
    unsigned q = number(d0, "bind 0 %u %u", new_domid, p);
    ck_assert_uint_eq(number(d0, "wait 0 1000"), q);
    expect("ok 0", d0, "unmask 0 %u", q);
    expect("ok 0", g, "notify 0 %u", p);
    ck_assert_uint_eq(number(d0, "wait 0 1000"), q);
    unsigned r = number(g, "share 1 0 1 1");
    expect("ok", d0, "map 1 %u 1 %u", new_domid, r);
}

START_TEST(a_saved_guest_goes_on_without_grants_and_ports)
{
    ck_assert_int_eq(sim(NULL, 0, "create atlas saved"), 0);
    struct actor d0 = start("atlas"), g = start("atlas/saved");
    unsigned old = domid("saved");
    expect("ok 0", &d0, "eopen 0");
    expect("ok 0", &g, "eopen 0");
    expect("ok 0", &g, "xopen 0");
    expect("ok 0", &g, "xwatch 0 domid w");
    expect("ok domid w", &g, "xnext 0 1000");
    unsigned port = number(&g, "unbound 0 0");
    unsigned ref = number(&g, "share 0 0 1 1");
    expect("ok", &g, "poke 0 0 42");
    ck_assert_int_eq(sim(NULL, 0, "save atlas saved"), 0);
    expect("err ESRCH", &d0, "bind 0 %u %u", old, port);
    ck_assert_int_eq(sim(NULL, 0, "restore atlas saved"), 0);
    ck_assert_uint_ne(domid("saved"), old);
    check_moved(&g, &d0, old, domid("saved"), port, ref);
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas saved"), 0);
}
END_TEST

START_TEST(a_guest_migrates_to_another_host_and_back)
{
    char text[64];
    ck_assert_int_eq(sim(NULL, 0, "create atlas mover"), 0);
    struct actor here = start("atlas"), there = start("borealis");
    struct actor g = start("atlas/mover");
    expect("ok 0", &here, "eopen 0");
    expect("ok 0", &there, "eopen 0");
    expect("ok 0", &g, "eopen 0");
    expect("ok 0", &g, "xopen 0");
    expect("ok 0", &g, "xwatch 0 domid w");
    expect("ok domid w", &g, "xnext 0 1000");
    unsigned port = number(&g, "unbound 0 0");
    unsigned ref = number(&g, "share 0 0 1 1");
    expect("ok", &g, "poke 0 0 42");
    ck_assert_int_eq(sim(text, sizeof(text), "migrate atlas mover borealis"),
                     0);
    unsigned id = (unsigned)strtoul(text, NULL, 10);
    ck_assert_int_ne(sim(NULL, 0, "domid atlas mover 2>&1"), 0);
    expect("ok domid w", &g, "xnext 0 1000");
    unsigned p = number(&g, "unbound 0 0");
    number(&there, "bind 0 %u %u", id, p);
    ck_assert_int_eq(sim(text, sizeof(text), "migrate borealis mover atlas"),
                     0);
    id = (unsigned)strtoul(text, NULL, 10);
    check_moved(&g, &here, 30000, id, port, ref);
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas mover"), 0);
}
END_TEST

START_TEST(a_reboot_gives_a_new_domain_with_the_same_devices)
{
    char text[4096];
    ck_assert_int_eq(sim(NULL, 0, "create atlas boots"), 0);
    ck_assert_int_eq(sim(NULL, 0,
                         "vkb-attach atlas boots backend-type=linux,"
                         "unique-id=kbd7"),
                     0);
    unsigned id = domid("boots");
    ck_assert_int_eq(sim(NULL, 0,
                         "run atlas -- xenstore-write "
                         "/local/domain/0/backend/vinput/%u/0/state 6",
                         id),
                     0);
    ck_assert_int_eq(sim(NULL, 0, "reboot atlas boots"), 0);
    ck_assert_uint_ne(domid("boots"), id);
    ck_assert_int_eq(sim(text, sizeof(text), "vkb-list atlas boots"), 0);
    ck_assert_ptr_nonnull(strstr(text, "kbd7"));
    id = domid("boots");
    ck_assert_int_eq(sim(NULL, 0,
                         "run atlas -- xenstore-write "
                         "/local/domain/0/backend/vinput/%u/0/state 6",
                         id),
                     0);
    ck_assert_int_eq(sim(NULL, 0, "vkb-detach atlas boots 0"), 0);
    ck_assert_int_eq(sim(text, sizeof(text), "vkb-list atlas boots"), 0);
    ck_assert_ptr_null(strstr(text, "kbd7"));
    ck_assert_int_eq(sim(NULL, 0, "destroy atlas boots"), 0);
}
END_TEST

START_TEST(two_hundred_guests_are_made_within_ten_seconds)
{
    ck_assert_int_eq(sim(NULL, 0, "up crowd"), 0);
    double began = seconds();
    for (int i = 0; i < 200; i++)
        ck_assert_int_eq(
            sim(NULL, 0,
                "create crowd c%d vkb=backend-type=linux,unique-id=k%d", i, i),
            0);
    double took = seconds() - began;
    /* On a machine that has nothing else to do. */
    double load = 0;
    if (getloadavg(&load, 1) == 1) {
        load /= (double)sysconf(_SC_NPROCESSORS_ONLN);
        took /= load > 1 ? load : 1;
    }
    fprintf(stderr, "200 guests: %.2f s at a load of %.1f\n", took, load);
    ck_assert_double_lt(took, 10.0);
    began = seconds();
    ck_assert_int_eq(sim(NULL, 0, "down crowd"), 0);
    ck_assert_double_lt(seconds() - began, 3.0);
}
END_TEST

START_TEST(hosts_that_are_up_stay_up_and_down_ends_their_programs)
{
    ck_assert_int_eq(sim(NULL, 0, "up extra"), 0);
    ck_assert_int_eq(sim(NULL, 0, "up extra"), 0);
    struct actor a = start("extra");
    ck_assert_int_eq(sim(NULL, 0, "down extra"), 0);
    ck_assert_str_eq(say(&a, "eopen 0"), "dead");
    char path[128];
    snprintf(path, sizeof(path), "%s/extra", sim_dir);
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_int_ne(sim(NULL, 0, "run extra true 2>&1"), 0);
}
END_TEST

/* ---- libxenvchan ---- */

START_TEST(programs_for_libxenvchan_run_unchanged)
{
    char cmd[600];
    snprintf(cmd, sizeof(cmd), "%s/tests/sim/vchan_echo", build_dir);
    if (access(cmd, X_OK))
        return; /* built without libxenvchan */
    unsigned one = domid("g1"), two = domid("g2");
    pid_t pid = fork();
    if (!pid)
        _exit(
            sim(NULL, 0, "run atlas/g1 -- %s server %u data/vchan", cmd, two));
    ck_assert_int_eq(sim(NULL, 0,
                         "run atlas/g2 -- %s client %u "
                         "/local/domain/%u/data/vchan",
                         cmd, one, one),
                     0);
    int status;
    waitpid(pid, &status, 0);
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sim");
    TCase *c = tcase_create("all");
    char *slash;

    ssize_t n = readlink("/proc/self/exe", build_dir, sizeof(build_dir) - 1);
    for (int i = 0; i < 3 && n > 0; i++) {
        slash = strrchr(build_dir, '/');
        if (slash)
            *slash = 0;
    }
    signal(SIGPIPE, SIG_IGN);
    tcase_set_timeout(c, 60);
    tcase_add_unchecked_fixture(c, hosts_up, hosts_down);
    tcase_add_test(c, a_notify_reaches_the_other_domain_once);
    tcase_add_test(c, a_notify_while_masked_fires_again_after_unmask);
    tcase_add_test(c, many_notifies_before_the_read_are_one_event);
    tcase_add_test(c, a_port_can_be_bound_only_by_the_domain_that_it_waits_for);
    tcase_add_test(c, a_handle_does_not_reach_another_handles_port);
    tcase_add_test(c, a_domain_can_talk_to_itself);
    tcase_add_test(c, a_killed_backends_successor_binds_the_same_port_again);
    tcase_add_test(c, a_notify_to_a_dead_peer_is_no_error);
    tcase_add_test(c, a_sender_killed_at_any_instant_leaves_no_deaf_port);
    tcase_add_test(c,
                   an_event_is_not_lost_when_its_sender_dies_before_it_is_told);
    tcase_add_test(c, a_restricted_handle_binds_only_to_its_domain);
    tcase_add_test(c, a_virq_belongs_to_one_port);
    tcase_add_test(c, a_forked_child_keeps_no_handle_and_opens_its_own);
    tcase_add_test(c, a_granted_page_is_the_same_memory);
    tcase_add_test(c, a_grant_is_refused_as_xen_refuses_it);
    tcase_add_test(c, pages_of_one_map_lie_side_by_side);
    tcase_add_test(c, a_page_unshared_while_mapped_stays_until_it_is_unmapped);
    tcase_add_test(c, a_dead_process_holds_neither_maps_nor_grants);
    tcase_add_test(c, an_unmap_clears_the_byte_and_sends_the_event);
    tcase_add_test(c, an_unshare_clears_the_byte_and_sends_the_event);
    tcase_add_test(c,
                   a_notification_wants_a_port_and_a_page_that_can_be_written);
    tcase_add_test(c, gntalloc_gives_1024_pages_to_a_domain);
    tcase_add_test(c, a_grant_copy_goes_both_ways_and_judges_each_segment);
    tcase_add_test(c, a_guest_may_not_write_dom0s_nodes);
    tcase_add_test(c, watches_belong_to_the_connection_that_set_them);
    tcase_add_test(c, a_transaction_of_a_killed_process_is_ended);
    tcase_add_test(c, xenstore_ls_and_watch_run_unchanged);
    tcase_add_test(c, create_writes_what_libxl_writes);
    tcase_add_test(c, bad_lines_are_refused);
    tcase_add_test(c, destroy_ends_the_guest_and_xenstored_says_so);
    tcase_add_test(c, a_saved_guest_goes_on_without_grants_and_ports);
    tcase_add_test(c, a_guest_migrates_to_another_host_and_back);
    tcase_add_test(c, a_reboot_gives_a_new_domain_with_the_same_devices);
    tcase_add_test(c, two_hundred_guests_are_made_within_ten_seconds);
    tcase_add_test(c, hosts_that_are_up_stay_up_and_down_ends_their_programs);
    tcase_add_test(c, programs_for_libxenvchan_run_unchanged);
    suite_add_tcase(s, c);
    return suite_end(s);
}
