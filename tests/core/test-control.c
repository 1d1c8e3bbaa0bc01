/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control socket: questions and answers, and clients that misbehave.
 */
#include "core/control.h"
#include "core/clock.h"
#include "tests/core/suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000)

static char dir[] = "/tmp/farside-control-XXXXXX", path[64];
static struct far_loop *loop;
static struct far_control *control;
static pthread_t thread;

static json_t *handle(json_t *request, void *arg)
{
    const char *what = json_string_value(json_object_get(request, "request"));
    json_t *answer;
    char *big;

    ck_assert_ptr_eq(arg, dir);
    if (!what)
        return far_control_error(-EINVAL, "there is no request");
    if (strcmp(what, "big") != 0)
        return json_pack("{ss}", "heard", what);
    big = malloc(3000001);
    memset(big, 'x', 3000000);
    big[3000000] = '\0';
    answer = json_pack("{ss}", "big", big);
    free(big);
    return answer;
}

static void *serve(void *arg)
{
    far_loop_run(loop);
    return arg;
}

static void begin(void)
{
    struct far_error error;

    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/sock", dir);
    loop = far_loop_new();
    control = far_control_new(loop, NULL, path, handle, dir, &error);
    ck_assert_ptr_nonnull(control);
    pthread_create(&thread, NULL, serve, NULL);
}

static void end(void)
{
    far_loop_stop(loop);
    pthread_join(thread, NULL);
    far_control_free(control);
    far_loop_free(loop);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int ask(const char *what, json_t **answer, struct far_error *error)
{
    json_t *request = json_pack("{ss}", "request", what);
    int rc = far_control_call(path, request, answer, 10 * SECOND, error);

    json_decref(request);
    return rc;
}

static int connect_raw(void)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(un.sun_path, path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    return fd;
}

/* Sends and reads one line. */
static char *raw(int fd, const char *text)
{
    static char line[4096];
    size_t used = 0;

    ck_assert_int_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    do {
        ssize_t n = recv(fd, line + used, 1, 0);

        ck_assert_int_eq(n, 1);
    } while (line[used++] != '\n' && used < sizeof(line) - 1);
    line[used] = '\0';
    return line;
}

START_TEST(a_question_is_answered)
{
    struct far_error error;
    json_t *answer;

    begin();
    ck_assert_int_eq(ask("status", &answer, &error), 0);
    ck_assert_str_eq(json_string_value(json_object_get(answer, "heard")),
                     "status");
    json_decref(answer);
    end();
}
END_TEST

START_TEST(a_large_answer_arrives_whole)
{
    struct far_error error;
    json_t *answer;

    begin();
    ck_assert_int_eq(ask("big", &answer, &error), 0);
    ck_assert_uint_eq(json_string_length(json_object_get(answer, "big")),
                      3000000);
    json_decref(answer);
    end();
}
END_TEST

START_TEST(an_error_arrives_as_code_and_text)
{
    json_t *request = json_object(), *answer = request;
    struct far_error error;

    begin();
    ck_assert_int_eq(
        far_control_call(path, request, &answer, 10 * SECOND, &error), -EINVAL);
    ck_assert_ptr_null(answer);
    ck_assert_int_eq(error.code, -EINVAL);
    ck_assert_str_eq(error.text, "there is no request");
    json_decref(request);
    end();
}
END_TEST

START_TEST(several_lines_in_one_packet_are_all_answered)
{
    int fd;

    begin();
    fd = connect_raw();
    ck_assert_str_eq(raw(fd, "{\"request\":\"a\"}\n{\"request\":\"b\"}\n{\"re"),
                     "{\"heard\":\"a\"}\n");
    ck_assert_str_eq(raw(fd, ""), "{\"heard\":\"b\"}\n");
    ck_assert_str_eq(raw(fd, "quest\":\"c\"}\n"), "{\"heard\":\"c\"}\n");
    close(fd);
    end();
}
END_TEST

START_TEST(nonsense_is_answered_with_an_error_and_the_client_stays)
{
    int fd;

    begin();
    fd = connect_raw();
    ck_assert_ptr_nonnull(strstr(raw(fd, "nonsense\n"), "is no JSON"));
    ck_assert_ptr_nonnull(strstr(raw(fd, "[1]\n"), "JSON object"));
    ck_assert_ptr_nonnull(strstr(raw(fd, "\n"), "is no JSON"));
    ck_assert_str_eq(raw(fd, "{\"request\":\"a\"}\n"), "{\"heard\":\"a\"}\n");
    close(fd);
    end();
}
END_TEST

START_TEST(a_line_without_an_end_is_refused)
{
    char *much = malloc(100001);
    int fd;

    begin();
    memset(much, 'x', 100000);
    much[100000] = '\0';
    fd = connect_raw();
    ck_assert_ptr_nonnull(strstr(raw(fd, much), "at most 65536 bytes"));
    close(fd);
    free(much);
    end();
}
END_TEST

START_TEST(a_client_that_does_not_read_blocks_nobody)
{
    struct far_error error;
    json_t *answer;
    int fd;

    begin();
    fd = connect_raw();
    for (int i = 0; i < 3; i++)
        ck_assert_int_gt(send(fd, "{\"request\":\"big\"}\n", 18, 0), 0);
    ck_assert_int_eq(ask("status", &answer, &error), 0);
    json_decref(answer);
    close(fd);
    ck_assert_int_eq(ask("status", &answer, &error), 0);
    json_decref(answer);
    end();
}
END_TEST

START_TEST(more_clients_than_there_is_room_for_are_turned_away)
{
    int fds[FAR_CONTROL_CLIENTS_MAX];
    struct far_error error;
    json_t *answer;

    begin();
    for (int i = 0; i < FAR_CONTROL_CLIENTS_MAX; i++) {
        fds[i] = connect_raw();
        raw(fds[i], "{\"request\":\"a\"}\n");
    }
    ck_assert_int_lt(ask("status", &answer, &error), 0);
    close(fds[3]);
    for (int i = 0; i < 100; i++) { /* its end must be seen first */
        if (ask("status", &answer, &error) == 0)
            break;
        usleep(10000);
    }
    ck_assert_ptr_nonnull(answer);
    json_decref(answer);
    for (int i = 0; i < FAR_CONTROL_CLIENTS_MAX; i++)
        if (i != 3)
            close(fds[i]);
    end();
}
END_TEST

START_TEST(a_daemon_that_does_not_run_is_said_so)
{
    struct far_error error;
    json_t *answer;

    strcpy(path, "/tmp/farside-control-nobody");
    ck_assert_int_eq(ask("status", &answer, &error), -ENOENT);
    ck_assert_str_eq(error.text,
                     "/tmp/farside-control-nobody: nobody answers: the daemon "
                     "does not run (or another run directory is meant: -r)");
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
}
END_TEST

START_TEST(a_daemon_that_hangs_is_given_up)
{
    struct far_error error;
    uint64_t before = far_now_us();
    json_t *answer, *request = json_object();
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/farside-hang-%d",
             (int)getpid());
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(
        far_control_call(un.sun_path, request, &answer, 100000, &error),
        -ETIMEDOUT);
    ck_assert_uint_ge(far_now_us() - before, 100000);
    ck_assert_uint_lt(far_now_us() - before, 5 * SECOND);
    unlink(un.sun_path);
    close(fd);
    json_decref(request);
}
END_TEST

START_TEST(the_socket_is_for_user_and_group_and_replaces_a_stale_one)
{
    struct far_control *next;
    struct far_error error;
    struct stat st;

    begin();
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0660);
    far_loop_stop(loop);
    pthread_join(thread, NULL);
    next = far_control_new(loop, NULL, path, handle, dir, &error);
    ck_assert_ptr_nonnull(next);
    far_control_free(next); /* it takes the path along: */
    pthread_create(&thread, NULL, serve, NULL);
    end(); /* the first one finds nothing to remove */
    ck_assert_ptr_null(
        far_control_new(NULL, NULL, "/nonexistent/x", handle, NULL, &error));
    ck_assert_str_eq(error.text,
                     "/nonexistent/x: can't listen: No such file or directory "
                     "(is the run directory there?)");
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_not_replaced)
{
    char file[] = "/tmp/farside-control-XXXXXX";
    struct far_error error;

    close(mkstemp(file));
    loop = far_loop_new();
    ck_assert_ptr_null(far_control_new(loop, NULL, file, handle, NULL, &error));
    ck_assert_int_eq(error.code, -EADDRINUSE);
    ck_assert_int_eq(unlink(file), 0);
    far_loop_free(loop);
}
END_TEST

/* Needs root: only then can another user be played. */
START_TEST(another_user_is_turned_away)
{
    struct far_error error;
    json_t *answer;

    if (geteuid() != 0)
        return;
    begin();
    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(chmod(path, 0666), 0); /* so that it gets that far */
    ck_assert_int_eq(ask("status", &answer, &error), 0);
    json_decref(answer);
    far_loop_stop(loop);
    pthread_join(thread, NULL);
    if (fork() == 0) {
        int fd;
        char c;

        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(1);
        fd = connect_raw();
        send(fd, "{\"request\":\"a\"}\n", 16, MSG_NOSIGNAL);
        _exit(recv(fd, &c, 1, 0) == 1 ? 2 : 0);
    }
    pthread_create(&thread, NULL, serve, NULL);
    {
        int status;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    end();
}
END_TEST

SUITE_MAIN("control", a_question_is_answered, a_large_answer_arrives_whole,
           an_error_arrives_as_code_and_text,
           several_lines_in_one_packet_are_all_answered,
           nonsense_is_answered_with_an_error_and_the_client_stays,
           a_line_without_an_end_is_refused,
           a_client_that_does_not_read_blocks_nobody,
           more_clients_than_there_is_room_for_are_turned_away,
           a_daemon_that_does_not_run_is_said_so,
           a_daemon_that_hangs_is_given_up,
           the_socket_is_for_user_and_group_and_replaces_a_stale_one,
           a_file_that_is_no_socket_is_not_replaced,
           another_user_is_turned_away)
