/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A simulated host with one farside-backend for tests that run in guests of it:
 * brought up, killed, asked; and programs in guests that obey lines.
 */
#ifndef FARSIDE_TESTS_BACKEND_SIMHOST_H
#define FARSIDE_TESTS_BACKEND_SIMHOST_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/clock.h"
#include "core/control.h"
#include "tests/core/suite.h"

static char build[512], sim[600], dir[64], host[128], sock[160];
static pid_t backend;

static inline void nap_ms(unsigned ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000L };

    nanosleep(&t, NULL);
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
        got = got < room ? got : room - 1;
        memcpy(out, text, got);
        out[got] = '\0';
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

static inline json_t *ask(const char *text)
{
    struct far_error error = { 0 };
    json_t *request = json_loads(text, 0, NULL), *answer = NULL;

    ck_assert_msg(request != NULL, "%s", text);
    if (far_control_call(sock, request, &answer, 5000000, &error))
        ck_abort_msg("%s: %s", text, error.text);
    json_decref(request);
    return answer;
}

static inline void start_backend(void)
{
    char program[600], log[200];
    uint64_t until = far_now_us() + 20000000;
    int fd;

    snprintf(program, sizeof(program), "%s/farside-backend", build);
    snprintf(log, sizeof(log), "%s/backend.log", host);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    unlink(sock);
    backend = spawn("atlas", program, -1, -1, fd);
    close(fd);
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

/* After SIGTERM it has to end well: a sanitizer's complaint shows here. */
static inline void kill_backend(int signal)
{
    int status;

    kill(backend, signal);
    ck_assert_int_eq(waitpid(backend, &status, 0), backend);
    backend = 0;
    if (signal == SIGKILL)
        return;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        char log[200], line[512];
        FILE *f;

        snprintf(log, sizeof(log), "%s/backend.log", host);
        f = fopen(log, "r");
        while (f && fgets(line, sizeof(line), f))
            fputs(line, stderr);
        ck_abort_msg("the backend ended with %x", (unsigned)status);
    }
}

/* A guest with its program. */
struct guest {
    char name[32];
    unsigned domid;
    pid_t pid;
    FILE *in, *out;
};

static inline const char *hear(struct guest *g)
{
    static char answers[8][4096];
    static unsigned next;
    char *answer = answers[next++ % 8];

    if (!fgets(answer, sizeof(answers[0]), g->out))
        return "dead";
    answer[strcspn(answer, "\n")] = '\0';
    return answer;
}

__attribute__((format(printf, 2, 3))) static inline void
tell(struct guest *g, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(g->in, format, args);
    va_end(args);
    fputc('\n', g->in);
    fflush(g->in);
}

#define SAY(guest, ...) (tell(guest, __VA_ARGS__), hear(guest))
#define OK(guest, ...)                                    \
    do {                                                  \
        const char *ok_ = SAY(guest, __VA_ARGS__);        \
        ck_assert_msg(!strncmp(ok_, "ok", 2), "%s", ok_); \
    } while (0)

static inline void run_program(struct guest *g, const char *name)
{
    char program[600], where[64];
    int to[2], from[2];

    snprintf(program, sizeof(program), "%s/%s", build, name);
    snprintf(where, sizeof(where), "atlas/%s", g->name);
    ck_assert(!pipe2(to, O_CLOEXEC) && !pipe2(from, O_CLOEXEC));
    g->pid = spawn(where, program, to[0], from[1], -1);
    close(to[0]);
    close(from[1]);
    g->in = fdopen(to[1], "w");
    g->out = fdopen(from[0], "r");
    ck_assert_str_eq(hear(g), "ready");
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

/* From main(): where the build is; the folder of the simulator. */
static inline bool find_build(const char *below)
{
    ssize_t n = readlink("/proc/self/exe", build, sizeof(build) - 1);
    char *cut;

    if (n <= 0)
        return false;
    build[n] = '\0';
    cut = strstr(build, below);
    if (!cut)
        return false;
    *cut = '\0';
    snprintf(sim, sizeof(sim), "%s/sim/farside-sim", build);
    snprintf(dir, sizeof(dir), "/tmp/fsb-%d", (int)getpid());
    setenv("FARSIDE_SIM_DIR", dir, 1);
    return true;
}

#endif
