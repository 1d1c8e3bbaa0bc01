/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See puppet.h.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/xenbus/puppet.h"

void puppet_run(struct puppet *puppet, const char *where, char *const argv[])
{
    const char *sim = getenv("FARSIDE_SIM");
    char *args[16] = { (char *)"farside-sim", (char *)"run", (char *)where,
                       (char *)"--" };
    int in[2], out[2];

    ck_assert_ptr_nonnull(sim);
    for (int i = 0; argv[i]; i++) {
        ck_assert_int_lt(i, 10);
        args[4 + i] = argv[i];
    }
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    puppet->pid = fork();
    ck_assert_int_ge(puppet->pid, 0);
    if (!puppet->pid) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv(sim, args);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    puppet->to = fdopen(in[1], "w");
    puppet->from = fdopen(out[0], "r");
}

void puppet_start(struct puppet *puppet, const char *where)
{
    char *argv[] = { getenv("PUPPET"), NULL };

    ck_assert_ptr_nonnull(argv[0]);
    puppet_run(puppet, where, argv);
    puppet_do(puppet, "hello");
}

static char *ask(struct puppet *puppet, const char *format, va_list args)
{
    static char answer[1024];

    vfprintf(puppet->to, format, args);
    fputc('\n', puppet->to);
    fflush(puppet->to);
    ck_assert_msg(fgets(answer, sizeof(answer), puppet->from) != NULL,
                  "the puppet has died at %s", format);
    answer[strcspn(answer, "\n")] = '\0';
    return answer;
}

const char *puppet_do(struct puppet *puppet, const char *format, ...)
{
    va_list args;
    char *answer;

    va_start(args, format);
    answer = ask(puppet, format, args);
    va_end(args);
    ck_assert_msg(!strncmp(answer, "ok ", 3), "%s: %s", format, answer);
    return answer + 3;
}

int puppet_fails(struct puppet *puppet, const char *format, ...)
{
    va_list args;
    char *answer;

    va_start(args, format);
    answer = ask(puppet, format, args);
    va_end(args);
    ck_assert_msg(!strncmp(answer, "error ", 6), "%s: %s", format, answer);
    return atoi(answer + 6);
}

void puppet_kill(struct puppet *puppet)
{
    int status;

    kill(puppet->pid, SIGKILL);
    waitpid(puppet->pid, &status, 0);
    fclose(puppet->to);
    fclose(puppet->from);
    puppet->pid = 0;
}

int sim_do(const char *format, ...)
{
    char command[1024], words[900];
    va_list args;
    int status;

    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    snprintf(command, sizeof(command), "\"$FARSIDE_SIM\" %s >/dev/null", words);
    status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
