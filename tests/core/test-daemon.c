/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What all daemons do alike, seen from outside: each test starts one as a
 * child process.
 */
#include "core/daemon.h"
#include "core/clock.h"
#include "tests/core/suite.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], notify_path[80], run_dir[80], out_path[80];
static int notify_fd;

static void begin(void)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    strcpy(dir, "/tmp/farside-daemon-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(notify_path, sizeof(notify_path), "%s/notify", dir);
    snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
    snprintf(out_path, sizeof(out_path), "%s/out", dir);
    notify_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    strcpy(un.sun_path, notify_path);
    ck_assert_int_eq(bind(notify_fd, (struct sockaddr *)&un, sizeof(un)), 0);
    unsetenv("FARSIDE_CONFIG"), unsetenv("FARSIDE_RUN_DIR");
    unsetenv("WATCHDOG_USEC"), unsetenv("WATCHDOG_PID");
    unsetenv("JOURNAL_STREAM");
    setenv("NOTIFY_SOCKET", notify_path, 1);
}

static void end(void)
{
    char command[128];

    close(notify_fd);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

static void reload(struct far_daemon *daemon)
{
    far_log(daemon->log, FAR_LOG_INFO, "reloaded");
}

static const char *colour = "none";
static const char *naked;

static int daemon_main(int argc, char **argv)
{
    static const struct far_daemon_option options[] = {
        { "colour", "NAME", "its colour", &colour },
        { "naked", NULL, "without", &naked },
        { .name = NULL },
    };
    struct far_daemon daemon = { .program = "farside-test",
                                 .summary = "Does nothing.",
                                 .options = options,
                                 .reload = reload };
    int rc = far_daemon_init(&daemon, argc, argv);

    if (rc != 0)
        return rc < 0 ? 2 : 0;
    rc = far_daemon_start(&daemon);
    if (rc == 0) {
        far_log(daemon.log, FAR_LOG_INFO, "%s %s colour %s naked %s",
                daemon.conf_file, daemon.run_dir, colour, naked ? "yes" : "no");
        far_daemon_status(&daemon, "%d guests", 3);
        rc = far_daemon_run(&daemon);
    }
    far_daemon_free(&daemon);
    return rc < 0 ? 1 : 0;
}

/* A child whose output goes to out_path. */
static pid_t start(char *const argv[])
{
    pid_t pid;
    int argc = 0;

    while (argv[argc])
        argc++;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        int fd = open(out_path, O_WRONLY | O_CREAT | O_APPEND, 0600), rc;

        dup2(fd, STDOUT_FILENO), dup2(fd, STDERR_FILENO);
        close(fd);
        rc = daemon_main(argc, (char **)argv);
        fflush(stdout);
        _exit(rc);
    }
    return pid;
}

static int ended(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const char *output(void)
{
    static char text[4096];
    int fd = open(out_path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);

    close(fd);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

static const char *notified(void)
{
    static char text[512];
    struct pollfd p = { .fd = notify_fd, .events = POLLIN };
    ssize_t n;

    ck_assert_msg(poll(&p, 1, 20000) == 1, "nothing was notified");
    n = recv(notify_fd, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    return text;
}

#define START(...) \
    start((char *[]){ (char *)"farside-test", __VA_ARGS__, NULL })

START_TEST(a_hangup_reloads_and_a_term_signal_stops)
{
    pid_t pid;
    char text[512];

    begin();
    pid = START("-r", run_dir);
    notified();
    ck_assert_str_eq(notified(), "READY=1");
    kill(pid, SIGHUP);
    strcpy(text, notified());
    ck_assert_ptr_eq(strstr(text, "RELOADING=1\nMONOTONIC_USEC="), text);
    ck_assert_str_eq(notified(), "READY=1");
    kill(pid, SIGTERM);
    ck_assert_str_eq(notified(), "STOPPING=1");
    ck_assert_int_eq(ended(pid), 0);
    snprintf(text, sizeof(text),
             "farside-test: %s %s colour none naked no\n"
             "farside-test: reloaded\n"
             "farside-test: stopping: signal 15\n",
             far_default_conf_file(), run_dir);
    ck_assert_str_eq(output(), text);
    end();
}
END_TEST

START_TEST(the_watchdog_is_fed_in_half_its_time)
{
    uint64_t before;
    pid_t pid;

    begin();
    setenv("WATCHDOG_USEC", "200000", 1);
    pid = START("-r", run_dir);
    notified();
    ck_assert_str_eq(notified(), "READY=1");
    before = far_now_us();
    ck_assert_str_eq(notified(), "WATCHDOG=1");
    ck_assert_str_eq(notified(), "WATCHDOG=1");
    ck_assert_uint_ge(far_now_us() - before, 150000);
    kill(pid, SIGINT);
    ck_assert_int_eq(ended(pid), 0);
    end();
}
END_TEST

START_TEST(without_systemd_nothing_of_it_is_needed)
{
    pid_t pid;

    begin();
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "1000", 1);
    pid = START("-r", run_dir);
    for (int i = 0; i < 1000 && access(out_path, F_OK) < 0; i++)
        usleep(10000);
    usleep(50000);
    kill(pid, SIGTERM);
    ck_assert_int_eq(ended(pid), 0);
    ck_assert_int_eq(recv(notify_fd, dir, 1, MSG_DONTWAIT), -1);
    end();
}
END_TEST

START_TEST(a_second_instance_in_the_same_directory_is_refused)
{
    char text[256];
    pid_t pid, second;

    begin();
    pid = START("-r", run_dir);
    notified(), notified();
    unlink(out_path);
    second = START("-r", run_dir);
    ck_assert_int_eq(ended(second), 1);
    snprintf(text, sizeof(text),
             "farside-test: error: another farside-test runs with the run "
             "directory %s: stop it, or give this one another directory with "
             "-r\n",
             run_dir);
    ck_assert_str_eq(output(), text);
    kill(pid, SIGKILL); /* the lock ends with it, however it ends */
    ck_assert_int_eq(ended(pid), -SIGKILL);
    second = START("-r", run_dir);
    notified();
    ck_assert_str_eq(notified(), "READY=1");
    kill(second, SIGTERM);
    ck_assert_int_eq(ended(second), 0);
    end();
}
END_TEST

START_TEST(options_come_before_the_environment)
{
    char text[256];
    pid_t pid;

    begin();
    setenv("FARSIDE_CONFIG", "/env.conf", 1);
    setenv("FARSIDE_RUN_DIR", run_dir, 1);
    pid = START("--colour=red", "--naked");
    notified(), notified();
    kill(pid, SIGTERM);
    ck_assert_int_eq(ended(pid), 0);
    snprintf(text, sizeof(text),
             "farside-test: /env.conf %s colour red naked yes\n", run_dir);
    ck_assert_ptr_eq(strstr(output(), text), output());
    unlink(out_path);
    pid = START("-c", "/other.conf");
    notified(); /* STOPPING */
    notified(), notified();
    kill(pid, SIGTERM);
    ck_assert_int_eq(ended(pid), 0);
    ck_assert_ptr_nonnull(strstr(output(), "farside-test: /other.conf "));
    end();
}
END_TEST

START_TEST(wrong_options_are_refused_and_help_helps)
{
    begin();
    ck_assert_int_eq(ended(START("--nonsense")), 2);
    ck_assert_int_eq(ended(START("word")), 2);
    ck_assert_ptr_nonnull(strstr(output(), "\"word\" is no option"));
    unlink(out_path);
    ck_assert_int_eq(ended(START("--help")), 0);
    ck_assert_ptr_nonnull(strstr(output(), "Usage: farside-test"));
    ck_assert_ptr_nonnull(strstr(output(), "--colour=NAME    its colour"));
    unlink(out_path);
    ck_assert_int_eq(ended(START("-V")), 0);
    ck_assert_ptr_eq(strstr(output(), "farside-test 0"), output());
    end();
}
END_TEST

START_TEST(a_run_directory_that_cannot_be_made_is_named)
{
    begin();
    ck_assert_int_eq(ended(START("-r", "/nonexistent/run")), 1);
    ck_assert_str_eq(output(), "farside-test: error: run directory "
                               "/nonexistent/run: can't be made: No such file "
                               "or directory\n");
    end();
}
END_TEST

SUITE_MAIN("daemon", a_hangup_reloads_and_a_term_signal_stops,
           the_watchdog_is_fed_in_half_its_time,
           without_systemd_nothing_of_it_is_needed,
           a_second_instance_in_the_same_directory_is_refused,
           options_come_before_the_environment,
           wrong_options_are_refused_and_help_helps,
           a_run_directory_that_cannot_be_made_is_named)
