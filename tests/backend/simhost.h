/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the tests of farside-backend on the simulator share: a host, its
 * daemons, guests in which a program does what lines tell it, and a main().
 */
#ifndef FARSIDE_TESTS_BACKEND_SIMHOST_H
#define FARSIDE_TESTS_BACKEND_SIMHOST_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/control.h"
#include "tests/core/suite.h"

static char build[512], sim[600], dir[64], host[128], sock[160];
static pid_t backend;
static bool quiet; /* a control call may fail */

/* Things that take long are long only with FARSIDE_TEST_FULL set. */
static inline unsigned full(unsigned in_full, unsigned usually)
{
    return getenv("FARSIDE_TEST_FULL") ? in_full : usually;
}

static inline void nap_ms(unsigned ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000L };

    nanosleep(&t, NULL);
}

/* A new file in that folder, its owner's alone. */
__attribute__((format(printf, 3, 4))) static inline void
put(const char *folder, const char *name, const char *format, ...)
{
    char path[300];
    va_list args;
    FILE *f;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    f = fdopen(fd, "w");
    ck_assert_ptr_nonnull(f);
    va_start(args, format);
    vfprintf(f, format, args);
    va_end(args);
    fclose(f);
}

/* For TCP on loopback. */
static inline unsigned free_port(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &bytes), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Runs farside-sim with these words; exit status, output in out. */
__attribute__((format(printf, 3, 4))) static inline int
host_do(char *out, size_t room, const char *format, ...)
{
    char command[8192], text[4096];
    int n = snprintf(command, sizeof(command), "%s ", sim), status;
    size_t got;
    va_list args;
    FILE *f;

    va_start(args, format);
    vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
    va_end(args);
    f = popen(command, "re");
    if (!f)
        return -1;
    got = fread(text, 1, sizeof(text) - 1, f);
    text[got] = '\0';
    while (got && text[got - 1] == '\n')
        text[--got] = '\0';
    if (out) {
        ck_assert_uint_lt(got, room);
        memcpy(out, text, got + 1);
    }
    status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline pid_t spawn(const char *where, const char *program, int in,
                          int out, int err)
{
    pid_t pid = fork();

    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (in >= 0)
        dup2(in, 0);
    if (out >= 0)
        dup2(out, 1);
    if (err >= 0)
        dup2(err, 2);
    execl(sim, sim, "run", where, "--", program, (char *)NULL);
    _exit(127);
}

static inline bool have(const char *program)
{
    char command[200];

    snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
    return system(command) == 0;
}

/* Its output goes to a log of that name. */
static inline pid_t run_words(const char *log, char *const *words)
{
    char path[300];
    pid_t pid;
    int fd;

    snprintf(path, sizeof(path), "%s/%s.log", host, log);
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid = fork();
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 1);
        dup2(fd, 2);
        execvp(words[0], words);
        _exit(127);
    }
    close(fd);
    return pid;
}

/* A control call: its answer, or NULL, which only a quiet one may get. */
__attribute__((format(printf, 1, 2))) static inline json_t *
ask(const char *format, ...)
{
    struct far_error error = { 0 };
    json_t *request, *answer = NULL;
    char text[60000];
    va_list args;
    int r;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    request = json_loads(text, 0, NULL);
    ck_assert_msg(request != NULL, "%s", text);
    r = far_control_call(sock, request, &answer, 5000000, &error);
    json_decref(request);
    if (r && !quiet)
        ck_abort_msg("%s: %s", text, error.text);
    return r ? NULL : answer;
}

/* One of ours on the host; its log is there, of that name. */
static inline pid_t start_daemon(const char *name, const char *log_name)
{
    char program[600], log[200];
    pid_t pid;
    int fd;

    snprintf(program, sizeof(program), "%s/%s", build, name);
    snprintf(log, sizeof(log), "%s/%s.log", host, log_name);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid = spawn("atlas", program, -1, -1, fd);
    close(fd);
    return pid;
}

static inline pid_t start_netproxy(void)
{
    return start_daemon("farside-netproxy", "netproxy");
}

/* If there is one. */
static inline void end_with(pid_t *pid, int signal)
{
    if (*pid <= 0)
        return;
    kill(*pid, signal);
    ck_assert_int_eq(waitpid(*pid, NULL, 0), *pid);
    *pid = 0;
}

static inline void start_backend(void)
{
    uint64_t until = far_now_us() + 10000000;

    unlink(sock);
    backend = start_daemon("farside-backend", "backend");
    for (;;) { /* until it answers, if only that it doesn't understand */
        json_t *request = json_pack("{s:s}", "request", "none");
        json_t *answer = NULL;
        int r = far_control_call(sock, request, &answer, 1000000, NULL);

        json_decref(request);
        if (r == -EOPNOTSUPP)
            return;
        ck_assert_msg(far_now_us() < until, "the backend does not start");
        ck_assert_int_eq(waitpid(backend, NULL, WNOHANG), 0);
        nap_ms(5);
    }
}

static inline void show(const char *path)
{
    char line[512];
    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof(line), f))
        fputs(line, stderr);
    if (f)
        fclose(f);
}

/* After SIGTERM it has to end well: a sanitizer's complaint shows here. */
static inline void kill_backend(int signal)
{
    char log[200];
    int status;

    kill(backend, signal);
    ck_assert_int_eq(waitpid(backend, &status, 0), backend);
    backend = 0;
    if (signal == SIGKILL)
        return;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        snprintf(log, sizeof(log), "%s/backend.log", host);
        show(log);
        ck_abort_msg("the backend ended with %x", (unsigned)status);
    }
}

static inline off_t log_bytes(void)
{
    char log[200];
    struct stat st;

    snprintf(log, sizeof(log), "%s/backend.log", host);
    return stat(log, &st) ? 0 : st.st_size;
}

/* A guest with its program. */
struct guest {
    char name[32];
    unsigned domid;
    pid_t pid;
    FILE *in, *out;
    unsigned gref[8], port[8]; /* of front.c's devices */
};

static inline const char *hear(struct guest *g)
{
    static char answers[8][65536];
    static unsigned next;
    char *answer = answers[next++ % 8];

    if (!fgets(answer, sizeof(answers[0]), g->out))
        return "dead";
    answer[strcspn(answer, "\n")] = '\0';
    return answer;
}

__attribute__((format(printf, 2, 3))) static inline const char *
say(struct guest *g, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(g->in, format, args);
    va_end(args);
    fputc('\n', g->in);
    fflush(g->in);
    return hear(g);
}

#define OK(guest, ...)                                    \
    do {                                                  \
        const char *ok_ = say(guest, __VA_ARGS__);        \
        ck_assert_msg(!strncmp(ok_, "ok", 2), "%s", ok_); \
    } while (0)

static inline void run_program_at(const char *host_name, struct guest *g,
                                  const char *name)
{
    char program[600], where[80];
    int to[2], from[2];

    snprintf(program, sizeof(program), "%s/%s", build, name);
    snprintf(where, sizeof(where), "%s/%s", host_name, g->name);
    ck_assert(!pipe2(to, O_CLOEXEC) && !pipe2(from, O_CLOEXEC));
    g->pid = spawn(where, program, to[0], from[1], -1);
    close(to[0]);
    close(from[1]);
    g->in = fdopen(to[1], "w");
    g->out = fdopen(from[0], "r");
    ck_assert_str_eq(hear(g), "ok");
}

static inline void run_program(struct guest *g, const char *name)
{
    run_program_at("atlas", g, name);
}

/* lines: of its configuration, as farside-sim create wants them. */
static inline struct guest guest_at(const char *host_name, const char *program,
                                    const char *name, const char *lines)
{
    struct guest g = { 0 };
    char out[256];

    snprintf(g.name, sizeof(g.name), "%s", name);
    ck_assert_int_eq(
        host_do(out, sizeof(out), "create %s %s %s", host_name, name, lines),
        0);
    g.domid = (unsigned)strtoul(out, NULL, 10);
    run_program_at(host_name, &g, program);
    return g;
}

static inline struct guest guest_with(const char *program, const char *name,
                                      const char *lines)
{
    return guest_at("atlas", program, name, lines);
}

#define FRONT "tests/backend/front"

static inline struct guest guest_at_front(const char *name, const char *lines)
{
    return guest_with(FRONT, name, lines);
}

static inline void stop_program(struct guest *g)
{
    if (!g->in)
        return;
    fclose(g->in);
    fclose(g->out);
    g->in = g->out = NULL;
    kill(g->pid, SIGKILL);
    waitpid(g->pid, NULL, 0);
}

static inline void destroy(struct guest *g)
{
    ck_assert_int_eq(host_do(NULL, 0, "destroy atlas %s", g->name), 0);
    stop_program(g);
}

/* A host of its own for each test: none spoils another. */
static inline void fresh_host(void)
{
    host_do(NULL, 0, "down atlas"); /* a test before may have failed */
    ck_assert_int_eq(host_do(NULL, 0, "up atlas"), 0);
    ck_assert_int_eq(host_do(host, sizeof(host), "dir atlas"), 0);
    snprintf(sock, sizeof(sock), "%s/run/backend.sock", host);
}

struct host_test {
    const TTest *test;
    int count; /* of its loop */
};

/* Words on the command line: only tests whose name has one of them. */
static inline int host_main(const char *name, const struct host_test *tests,
                            size_t count, void (*set_up)(void),
                            void (*tear_down)(void), unsigned limit_s, int argc,
                            char **argv)
{
    ssize_t n = readlink("/proc/self/exe", build, sizeof(build) - 1);
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    char *cut;
    int status;

    if (n <= 0)
        return 1;
    build[n] = '\0';
    cut = strstr(build, "/tests/backend/");
    if (!cut)
        return 1;
    *cut = '\0';
    snprintf(sim, sizeof(sim), "%s/sim/farside-sim", build);
    snprintf(dir, sizeof(dir), "/tmp/fsb-%d", (int)getpid());
    setenv("FARSIDE_SIM_DIR", dir, 1);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    for (size_t i = 0; i < count; i++) {
        bool wanted = argc < 2;

        for (int k = 1; k < argc; k++)
            wanted |= strstr(tests[i].test->name, argv[k]) != NULL;
        if (wanted)
            tcase_add_loop_test(tcase, tests[i].test, 0, tests[i].count);
    }
    tcase_set_timeout(tcase, limit_s);
    suite_add_tcase(suite, tcase);
    status = suite_end(suite);
    host_do(NULL, 0, "down atlas");
    rmdir(dir);
    return status;
}

#endif
