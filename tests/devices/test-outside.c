/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Outside devices: their programs, started and stopped by the helper, and the
 * library's example at the other end, a real process each time. The protocol's
 * own tests, and those of a server that sends nonsense, are test-local.c.
 */
#include "tests/devices/harness.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "devices/outside.h"

#define EXAMPLE "docs/examples/outside-keyboard"

/* docs/OUTSIDE.md says these numbers. */
static_assert(sizeof(struct far_local_hello) == 88, "");
static_assert(sizeof(struct far_local_prepare) == 328, "");
static_assert(offsetof(struct far_local_prepare, who.class) == 304, "");
static_assert(offsetof(struct far_local_prepare, slot_bytes) == 324, "");
static_assert(sizeof(struct far_local_prepared) == 304, "");
static_assert(offsetof(struct far_local_prepared, props) == 40, "");
static_assert(sizeof(struct far_local_activate) == 32, "");
static_assert(sizeof(struct far_local_activated) == 272, "");
static_assert(sizeof(struct far_local_state) == 256, "");
static_assert(sizeof(struct far_local_detach) == 24, "");
static_assert(sizeof(struct far_local_header) == 128, "");
static_assert(offsetof(struct far_shring_page, consumed) == 64, "");
static_assert(offsetof(struct far_shring_page, wake_at) == 68, "");
static_assert(offsetof(struct far_shring_page, room_wake_at) == 128, "");
static_assert(offsetof(struct far_local_header, ack_wake_at) == 72, "");

static char dir[64], conf_file[96], fifo[96], build[256];
static struct far_loop *loop;
static struct far_log *test_log;
static struct far_conf *conf;
static struct far_devices devices;
static struct far_starter *starter;

/* As OOMScoreAdjust= of a daemon's unit; needs root. */
static void be_protected(void)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "w");

    if (f) {
        fputs("-100", f);
        fclose(f);
    }
}

static int oom_score_adj(const char *pid)
{
    char path[64];
    int score = 9999;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/oom_score_adj", pid);
    f = fopen(path, "r");
    if (f) {
        ck_assert_int_eq(fscanf(f, "%d", &score), 1);
        fclose(f);
    }
    return score;
}

static void setup(void)
{
    struct far_error error = { 0 };

    be_protected();

    ck_assert_ptr_nonnull(getcwd(build, sizeof(build)));
    snprintf(dir, sizeof(dir), "/tmp/farside-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
    snprintf(conf_file, sizeof(conf_file), "%s/farside.conf", dir);
    snprintf(fifo, sizeof(fifo), "%s/keys", dir);
    loop = far_loop_new();
    test_log = far_log_new("test", FAR_LOG_ERROR);
    starter = far_starter_new(loop, test_log, conf_file,
                              geteuid() ? NULL : "nobody", &error);
    ck_assert_msg(starter != NULL, "%s", error.text);
    far_devices_init(&devices, loop, test_log);
    devices.starter = starter;
}

static void teardown(void)
{
    char command[128];

    far_devices_free(&devices);
    far_starter_free(starter);
    far_conf_free(conf);
    conf = NULL;
    far_log_free(test_log);
    far_loop_free(loop);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* The directory is its user's, who makes the socket there. */
static void configure(const char *format, ...)
{
    char text[2048];
    va_list args;
    struct far_conf *old = conf;
    FILE *f = fopen(conf_file, "w");

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
    conf = conf_of(text);
    ck_assert_uint_eq(far_devices_load(&devices, conf, NULL, no_problem, NULL),
                      0);
    far_conf_free(old);
}

static void configure_typist(const char *more)
{
    configure("[device typist]\ntype = outside\nsocket = %s/typist\n"
              "start = %s/" EXAMPLE " '%s'\n%s%s",
              dir, build, fifo, geteuid() ? "" : "user = root\n", more);
}

static struct port *attach(const char *name, uint64_t id)
{
    struct far_local_who who = who_of(name, id);
    struct far_layer *below;
    struct far_error error = { 0 };
    struct far_device *d = far_device_find(&devices, name);
    struct port *p;

    ck_assert_ptr_nonnull(d);
    ck_assert_msg(far_device_open(d, &who, &below, &error) == 0, "%s",
                  error.text);
    p = port_new(below);
    far_layer_activate(below, 0, 0);
    return p;
}

static void type_line(const char *line)
{
    int fd = -1;

    turn_until(loop, (fd = open(fifo, O_WRONLY | O_NONBLOCK)) >= 0);
    ck_assert_int_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    close(fd);
}

static json_int_t program(const char *name, const char *key)
{
    json_t *j = far_outside_json(far_device_find(&devices, name));
    json_int_t n = json_integer_value(json_object_get(j, key));

    json_decref(j);
    return n;
}

static bool has_key(const struct port *p, const char *text)
{
    return strstr(port_text(p, 0), text) != NULL;
}

START_TEST(words_are_cut_at_blanks_and_kept_by_quotes)
{
    char text[] = " /bin/x  'a b' c\"d e\"f ''", open[] = "/bin/x 'a",
         none[] = "  ", many[] = "a b c";
    char *argv[8];

    ck_assert_int_eq(far_starter_words(text, argv, 8), 4);
    ck_assert_str_eq(argv[0], "/bin/x");
    ck_assert_str_eq(argv[1], "a b");
    ck_assert_str_eq(argv[2], "cd ef");
    ck_assert_str_eq(argv[3], "");
    ck_assert_ptr_null(argv[4]);
    ck_assert_int_eq(far_starter_words(open, argv, 8), -EINVAL);
    ck_assert_int_eq(far_starter_words(none, argv, 8), -ENOENT);
    ck_assert_int_eq(far_starter_words(many, argv, 3), -E2BIG);
}
END_TEST

START_TEST(a_program_is_started_by_its_first_user_and_stopped_after_the_last)
{
    struct port *p, *q;

    configure_typist("idle-stop = 200ms\n");
    turn_for(loop, 100000);
    ck_assert_int_eq(program("typist", "starts"), 0);
    p = attach("typist", 1);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    q = attach("typist", 2);
    turn_until(loop, q->state == FAR_DEVICE_READY);
    ck_assert_int_eq(program("typist", "starts"), 1);
    ck_assert_int_gt(program("typist", "pid"), 0);
    type_line("30\n");
    turn_until(loop, has_key(p, "+30 -30") && has_key(q, "+30 -30"));
    port_free(p);
    turn_for(loop, 400000);
    ck_assert_int_gt(program("typist", "pid"), 0);
    port_free(q);
    turn_until(loop, program("typist", "pid") == 0);
    p = attach("typist", 3);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    ck_assert_int_eq(program("typist", "starts"), 2);
    port_free(p);
}
END_TEST

START_TEST(a_program_that_is_killed_takes_its_device_only_and_comes_back)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    struct port *p, *other;
    pid_t pid;

    configure("[device typist]\ntype = outside\nsocket = %s/typist\n"
              "start = %s/" EXAMPLE " %s\n%s"
              "[device other]\ntype = outside\nsocket = %s/other\n"
              "start = %s/" EXAMPLE " %s2\n%s",
              dir, build, fifo, geteuid() ? "" : "user = root\n", dir, build,
              fifo, geteuid() ? "" : "user = root\n");
    p = attach("typist", 1);
    other = attach("other", 2);
    turn_until(loop, p->state == FAR_DEVICE_READY &&
                         other->state == FAR_DEVICE_READY);
    type_line("30\n");
    turn_until(loop, has_key(p, "-30"));
    for (unsigned i = 0; i < 3; i++) {
        unsigned states = other->states;

        pid = (pid_t)program("typist", "pid");
        ck_assert_int_gt(pid, 1);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        turn_until(loop, p->state == FAR_DEVICE_GONE);
        /* It is held, and answered by the next one. */
        op.sequence++;
        ck_assert_int_eq(far_layer_submit(p->layer.below, &op, NULL),
                         FAR_LATER);
        turn_until(loop, strstr(p->reason, "signal 9") ||
                             p->state == FAR_DEVICE_READY);
        turn_until(loop, p->state == FAR_DEVICE_READY);
        turn_until(loop, p->completed == i + 1);
        ck_assert_uint_eq(p->last_complete.sequence, op.sequence);
        ck_assert_uint_eq(other->states, states);
    }
    type_line("31\n");
    turn_until(loop, has_key(p, "+31 -31"));
    ck_assert_int_eq(program("typist", "starts"), 4);
    ck_assert_int_eq(program("other", "starts"), 1);
    port_free(p);
    port_free(other);
}
END_TEST

START_TEST(a_program_that_is_stopped_is_ended_and_another_one_answers)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    struct port *p;
    pid_t pid;

    configure_typist("answer-within = 1s\n");
    p = attach("typist", 1);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    turn_for(loop, 3000000); /* idle is not silent */
    ck_assert_int_eq(p->state, FAR_DEVICE_READY);
    ck_assert_int_eq(program("typist", "silences"), 0);
    pid = (pid_t)program("typist", "pid");
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(far_layer_submit(p->layer.below, &op, NULL), FAR_LATER);
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_msg(strstr(p->reason, "has not answered for 1000 ms") != NULL,
                  "%s", p->reason);
    ck_assert_int_eq(program("typist", "silences"), 1);
    turn_until(loop, p->state == FAR_DEVICE_READY && p->completed == 1);
    ck_assert_uint_eq(p->last_complete.sequence, 1);
    ck_assert_int_eq(program("typist", "starts"), 2);
    ck_assert_int_ne(program("typist", "pid"), pid);
    ck_assert(kill(pid, 0) == -1 && errno == ESRCH);
    type_line("31\n");
    turn_until(loop, has_key(p, "+31 -31"));
    port_free(p);
}
END_TEST

static pid_t run_example(const char *socket_path)
{
    char program[320];
    pid_t pid = fork();

    if (pid)
        return pid;
    snprintf(program, sizeof(program), "%s/" EXAMPLE, build);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("FARSIDE_SOCKET", socket_path, 1);
    execl(program, program, fifo, (char *)NULL);
    _exit(127);
}

START_TEST(one_that_somebody_else_started_is_waited_for)
{
    struct far_op op = { .attachment = 1,
                         .sequence = 1,
                         .opcode = FAR_OP_NOP(FAR_CLASS_INPUT) };
    char socket_path[96];
    struct port *p;
    pid_t pid;

    snprintf(socket_path, sizeof(socket_path), "%s/typist", dir);
    pid = run_example(socket_path);
    configure("[device typist]\ntype = outside\nsocket = %s\n"
              "answer-within = 1s\n",
              socket_path);
    p = attach("typist", 1);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    turn_until(loop, p->state == FAR_DEVICE_GONE);
    ck_assert_int_eq(program("typist", "silences"), 1);
    ck_assert_int_eq(far_layer_submit(p->layer.below, &op, NULL), FAR_LATER);
    turn_for(loop, 1500000);
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    ck_assert_uint_eq(p->completed, 0);
    ck_assert_int_eq(kill(pid, SIGCONT), 0);
    turn_until(loop, p->state == FAR_DEVICE_READY && p->completed == 1);
    port_free(p);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}
END_TEST

START_TEST(a_program_that_ends_at_once_is_not_started_without_end)
{
    struct port *p;

    configure("[device bad]\ntype = outside\nsocket = %s/bad\n"
              "start = /bin/sh -c 'echo no luck >&2; exit 3'\n%s",
              dir, geteuid() ? "" : "user = root\n");
    p = attach("bad", 1);
    turn_until(loop, strstr(p->reason, "its program ended with exit status 3"));
    turn_for(loop, 1000000);
    /* 100 ms, 200 ms, 400 ms … */
    ck_assert_int_ge(program("bad", "starts"), 2);
    ck_assert_int_le(program("bad", "starts"), 5);
    ck_assert_int_eq(p->state, FAR_DEVICE_GONE);
    ck_assert_ptr_nonnull(strstr(p->reason, "exit status 3"));
    port_free(p);
}
END_TEST

START_TEST(what_a_program_leaves_behind_ends_with_it)
{
    struct port *p;
    char path[96];
    pid_t left = 0;
    FILE *f;

    configure("[device bad]\ntype = outside\nsocket = %s/bad\n"
              "start = /bin/sh -c 'sleep 1000 & echo $! > %s/left; exit 3'\n%s",
              dir, dir, geteuid() ? "" : "user = root\n");
    p = attach("bad", 1);
    turn_until(loop, strstr(p->reason, "its program ended with exit status 3"));
    snprintf(path, sizeof(path), "%s/left", dir);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%d", &left), 1);
    fclose(f);
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)left);
    for (int i = 0; access(path, F_OK) == 0; i++) { /* of a zombie: none */
        char target[96] = "";

        if (readlink(path, target, sizeof(target) - 1) <= 0)
            break;
        ck_assert_int_lt(i, 500);
        usleep(10000);
    }
    port_free(p);
}
END_TEST

START_TEST(a_program_does_not_inherit_its_daemons_protection_when_memory_is_out)
{
    struct port *p;
    char pid[16];

    configure("[device idler]\ntype = outside\nsocket = %s/idler\n"
              "start = /bin/sleep 1000\n",
              dir);
    p = attach("idler", 1);
    turn_until(loop, program("idler", "pid") > 0);
    turn_for(loop, 200000); /* it is /bin/sleep by now */
    snprintf(pid, sizeof(pid), "%d", (int)program("idler", "pid"));
    ck_assert_int_eq(oom_score_adj(pid),
                     oom_score_adj("self") < 0 ? 0 : oom_score_adj("self"));
    port_free(p);
}
END_TEST

START_TEST(what_can_not_be_run_is_said)
{
    static const struct {
        const char *start, *says;
    } cases[] = {
        { "/nowhere/at/all", "could not be run" },
        { "/bin/sh 'a", "wants the absolute path" },
        { "/bin/sh", "user" },
    };
    struct port *p;

    for (unsigned i = 0; i < 3; i++) {
        configure("[device bad]\ntype = outside\nsocket = %s/bad\n"
                  "start = %s\nuser = %s\n",
                  dir, cases[i].start,
                  i == 2      ? "no-such-user-here"
                  : geteuid() ? getenv("USER") ? getenv("USER") : "root"
                              : "root");
        p = attach("bad", 1);
        if (i == 2 || !geteuid())
            turn_until(loop, strstr(p->reason, cases[i].says));
        port_free(p);
    }
}
END_TEST

START_TEST(a_configuration_that_others_can_write_starts_nothing)
{
    struct port *p;

    if (geteuid())
        return; /* only root has anything to lose */
    configure_typist("");
    ck_assert_int_eq(chmod(conf_file, 0666), 0);
    p = attach("typist", 1);
    turn_until(loop, strstr(p->reason, "can be written by others"));
    port_free(p);
}
END_TEST

START_TEST(programs_end_with_their_daemon)
{
    struct port *p;
    pid_t pid;

    configure_typist("");
    p = attach("typist", 1);
    turn_until(loop, p->state == FAR_DEVICE_READY);
    pid = (pid_t)program("typist", "pid");
    port_free(p);
    far_devices_free(&devices);
    far_starter_free(starter);
    starter = NULL;
    for (int i = 0; kill(pid, 0) == 0; i++) {
        ck_assert_int_lt(i, 500);
        usleep(10000);
    }
    far_devices_init(&devices, loop, test_log);
}
END_TEST

START_TEST(a_program_that_knows_no_signals_is_stopped_at_once)
{
    struct port *p;
    uint64_t begin_us;

    configure("[device idler]\ntype = outside\nsocket = %s/idler\n"
              "start = /bin/sleep 1000\nidle-stop = 50ms\n",
              dir);
    p = attach("idler", 1);
    turn_until(loop, program("idler", "pid") > 0);
    turn_for(loop, 200000); /* it is /bin/sleep by now */
    begin_us = far_now_us();
    port_free(p);
    turn_until(loop, program("idler", "pid") == 0);
    /* SIGKILL comes after 3 s */
    ck_assert_uint_lt(far_now_us() - begin_us, 2500000);
}
END_TEST

START_TEST(without_a_start_it_is_waited_for)
{
    struct port *p;
    json_t *j;

    configure("[device typist]\ntype = outside\nsocket = %s/typist\n", dir);
    p = attach("typist", 1);
    turn_until(loop, strstr(p->reason, "its program is not running"));
    j = far_outside_json(far_device_find(&devices, "typist"));
    ck_assert_str_eq(json_string_value(json_object_get(j, "state")),
                     "started elsewhere");
    json_decref(j);
    port_free(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("outside");
    TCase *c = tcase_create("outside");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, words_are_cut_at_blanks_and_kept_by_quotes);
    tcase_add_test(
        c, a_program_is_started_by_its_first_user_and_stopped_after_the_last);
    tcase_add_test(
        c, a_program_that_is_killed_takes_its_device_only_and_comes_back);
    tcase_add_test(c,
                   a_program_that_is_stopped_is_ended_and_another_one_answers);
    tcase_add_test(c, one_that_somebody_else_started_is_waited_for);
    tcase_add_test(c, a_program_that_ends_at_once_is_not_started_without_end);
    tcase_add_test(c, what_a_program_leaves_behind_ends_with_it);
    tcase_add_test(
        c,
        a_program_does_not_inherit_its_daemons_protection_when_memory_is_out);
    tcase_add_test(c, what_can_not_be_run_is_said);
    tcase_add_test(c, a_configuration_that_others_can_write_starts_nothing);
    tcase_add_test(c, programs_end_with_their_daemon);
    tcase_add_test(c, a_program_that_knows_no_signals_is_stopped_at_once);
    tcase_add_test(c, without_a_start_it_is_waited_for);
    suite_add_tcase(suite, c);
    return suite_end(suite);
}
