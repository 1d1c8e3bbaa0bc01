// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside attach and detach against an xl and a backend of the test's own: what
// xl is run with, and what a person is told when it, or the backend, says no.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/control.h"
#include "core/loop.h"
#include "tools/tool.h"
#include "tests/core/suite.h"

static char dir[64];
static struct far_tool tool;
static char *output;
static size_t output_bytes;
static pid_t backend;

static char *in_dir(const char *name)
{
    static char path[4][128];
    static unsigned n;

    n = (n + 1) % 4;
    snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
    return path[n];
}

static void write_file(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(in_dir(name), "we");

    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    ck_assert_int_eq(chmod(in_dir(name), mode), 0);
}

static const char *read_text(const char *name)
{
    static char text[8192];
    FILE *file = fopen(in_dir(name), "re");
    size_t n = 0;

    if (file) {
        n = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[n] = '\0';
    return text;
}

/* The backend: one device before; another, as the file "device" describes it,
 * once xl has made that file. */
static json_t *answer(json_t *request, void *arg)
{
    json_t *more = json_load_file(in_dir("device"), 0, NULL);
    json_t *status = json_pack(
        "{s:s, s:[{s:s, s:i, s:[{s:i, s:s, s:s, s:s}]}]}", "platform", "atlas",
        "guests", "name", "web1", "domid", 3, "devices", "devid", 0, "class",
        "input", "address", "kbd0", "state", "connected");

    (void)arg;
    (void)request;
    if (more)
        json_array_append_new(
            json_object_get(
                json_array_get(json_object_get(status, "guests"), 0),
                "devices"),
            more);
    return status;
}

static void start_backend(void)
{
    int ready[2];
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    backend = fork();
    ck_assert_int_ge(backend, 0);
    if (!backend) {
        struct far_loop *loop = far_loop_new();
        struct far_error error;

        if (!loop || !far_control_new(loop, NULL, in_dir("backend.sock"),
                                      answer, NULL, &error))
            _exit(1);
        close(ready[0]);
        close(ready[1]);
        far_loop_run(loop);
        _exit(0);
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 0);
    close(ready[0]);
}

/* An xl that notes its arguments and then does what body says. */
static void fake_xl(const char *body)
{
    char text[1024];

    snprintf(text, sizeof(text),
             "#!/bin/sh\ncd %s\nfor a; do echo \"$a\"; done >args\n%s\n", dir,
             body);
    write_file("xl", text, 0755);
    ck_assert_int_eq(setenv("FARSIDE_XL", in_dir("xl"), 1), 0);
}

#define MAKES(state, reason)                                                \
    "echo '{\"devid\":1,\"class\":\"input\",\"address\":\"borealis/kbd0\"," \
    "\"state\":\"" state "\",\"reason\":" reason "}' >device.new; "         \
    "mv device.new device"

static void begin(void)
{
    strcpy(dir, "/tmp/farside-test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    backend = 0;
    tool.run_dir = dir;
    tool.conf_file = "/nonexistent";
    tool.out = open_memstream(&output, &output_bytes);
    ck_assert_ptr_nonnull(tool.out);
    /* What is said to a person. */
    ck_assert_ptr_nonnull(freopen(in_dir("errors"), "w", stderr));
    setvbuf(stderr, NULL, _IONBF, 0);
}

static void end(void)
{
    char command[128];

    fclose(tool.out);
    free(output);
    if (backend > 0) {
        kill(backend, SIGKILL);
        waitpid(backend, NULL, 0);
    }
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

#define RUN(command, ...) \
    run(far_##command##_command, (char *[]){ #command, __VA_ARGS__, NULL })

static int run(int (*command)(struct far_tool *, int, char **), char **argv)
{
    int argc = 0, status;

    while (argv[argc])
        argc++;
    optind = 0;
    status = command(&tool, argc, argv);
    fflush(tool.out);
    return status;
}

static void said(const char *words)
{
    ck_assert_msg(strstr(read_text("errors"), words) != NULL,
                  "no \"%s\" in: %s", words, read_text("errors"));
}

START_TEST(attach_runs_xl_and_waits_until_the_device_is_connected)
{
    start_backend();
    fake_xl(MAKES("connected", "null"));
    ck_assert_int_eq(
        RUN(attach, "web1", "input", "borealis/kbd0", "feature-abs-pointer=1"),
        FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"),
                     "vkb-attach\nweb1\nbackend-type=linux\n"
                     "unique-id=borealis/kbd0\nfeature-abs-pointer=1\n");
    ck_assert_ptr_nonnull(strstr(output, "web1: input 1 is borealis/kbd0, "
                                         "connected in "));
    ck_assert_str_eq(read_text("errors"), "");
}
END_TEST

START_TEST(a_disk_is_attached_and_detached_by_xl_with_the_script)
{
    start_backend();
    fake_xl("echo '{\"devid\":51728,\"class\":\"block\",\"address\":"
            "\"borealis/disk0\",\"state\":\"connected\",\"reason\":null}' "
            ">device.new; mv device.new device");
    ck_assert_int_eq(RUN(attach, "web1", "block", "borealis/disk0", "vdev=xvdb",
                         "access=ro"),
                     FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"),
                     "block-attach\nweb1\nscript=block-farside\nvdev=xvdb\n"
                     "access=ro\ntarget=borealis/disk0\n");
    ck_assert_ptr_nonnull(
        strstr(output, "web1: block 51728 is borealis/disk0, connected in "));
    fake_xl("rm -f device");
    ck_assert_int_eq(RUN(detach, "web1", "block", "borealis/disk0"),
                     FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"), "block-detach\nweb1\n51728\n");
    ck_assert_str_eq(read_text("errors"), "");
}
END_TEST

START_TEST(a_screen_is_attached_and_detached_by_xl_with_its_size)
{
    start_backend();
    fake_xl("echo '{\"devid\":1,\"class\":\"display\",\"address\":"
            "\"borealis/wall\",\"state\":\"connected\",\"reason\":null}' "
            ">device.new; mv device.new device");
    ck_assert_int_eq(
        RUN(attach, "web1", "display", "borealis/wall", "size=1280x800"),
        FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"), "vdispl-attach\nweb1\n"
                                        "connectors=borealis/wall:1280x800\n");
    fake_xl("rm -f device");
    ck_assert_int_eq(RUN(detach, "web1", "display", "borealis/wall"),
                     FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"), "vdispl-detach\nweb1\n1\n");
    ck_assert_str_eq(read_text("errors"), "");
}
END_TEST

START_TEST(attach_tells_why_xl_failed)
{
    start_backend();
    fake_xl("echo 'vkb1: no such domain' >&2; exit 3");
    ck_assert_int_eq(RUN(attach, "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_FAILED);
    said("borealis/kbd0: xl could not attach it to web1:\nvkb1: no such "
         "domain\n");
}
END_TEST

START_TEST(attach_tells_why_a_device_was_refused_and_how_to_be_rid_of_it)
{
    start_backend();
    fake_xl(MAKES("refused", "\"too many devices\""));
    ck_assert_int_eq(RUN(attach, "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_FAILED);
    said("(borealis/kbd0) is refused: too many devices");
    said("farside detach web1 input 1");
}
END_TEST

START_TEST(attach_to_a_server_that_is_down_says_that_keys_will_come)
{
    start_backend();
    fake_xl(MAKES("waiting", "\"borealis is down\""));
    ck_assert_int_eq(RUN(attach, "-t", "0", "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_WAITING);
    said("is waiting: borealis is down");
    said("It stays attached");
}
END_TEST

START_TEST(attach_to_a_guest_without_a_driver_says_so)
{
    start_backend();
    fake_xl(MAKES("waiting for the guest", "\"something else\""));
    ck_assert_int_eq(RUN(attach, "-t", "0", "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_WAITING);
    said("is waiting for the guest: its driver for vkbd has not answered yet");
}
END_TEST

START_TEST(attach_without_a_backend_does_not_run_xl)
{
    fake_xl("true");
    ck_assert_int_eq(RUN(attach, "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_NO_DAEMON);
    ck_assert_str_eq(read_text("args"), "");
    said("farside-backend is not running");
    said("systemctl start farside-backend");
}
END_TEST

START_TEST(attach_says_when_the_backend_sees_no_device)
{
    start_backend();
    fake_xl("true");
    ck_assert_int_eq(RUN(attach, "-t", "0", "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_FAILED);
    said("farside-backend does not see it");
}
END_TEST

START_TEST(attach_refuses_what_it_can_see_is_wrong)
{
    static const struct {
        const char *class, *address, *pair, *words;
        int status;
    } cases[] = {
        { "input", "a b", NULL, "names are of letters", FAR_EXIT_USAGE },
        { "inpt", "kbd0", NULL, "'inpt' is no class", FAR_EXIT_USAGE },
        { "sound", "d0", NULL, "class sound are not served", FAR_EXIT_FAILED },
        { "display", "s0", NULL, "as size=1280x800", FAR_EXIT_USAGE },
        { "display", "s0", "size=0x1", "is no size", FAR_EXIT_USAGE },
        { "display", "s0", "size=64x64x2", "is no size", FAR_EXIT_USAGE },
        { "display", "s0", "mode=64x64", "is no size", FAR_EXIT_USAGE },
        { "block", "d0", NULL, "as vdev=xvdb", FAR_EXIT_USAGE },
        { "block", "d0", "vdve=xvdb", "did you mean \"vdev\"?",
          FAR_EXIT_USAGE },
        { "block", "d0", "vdev=b", "as xvda, not 'b'", FAR_EXIT_USAGE },
        { "block", "d0", "script=x", "leave it out", FAR_EXIT_USAGE },
        { "block", "d0", "access=rw,vdev=xvdb", "a comma", FAR_EXIT_USAGE },
        { "input", "kbd0", "widht=3", "did you mean \"width\"?",
          FAR_EXIT_USAGE },
        { "input", "kbd0", "width", "not of the form KEY=VALUE",
          FAR_EXIT_USAGE },
        { "input", "kbd0", "width=3,height=4", "a comma", FAR_EXIT_USAGE },
        { "input", "kbd0", "feature-abs-pointer=yes", "is 0 or 1",
          FAR_EXIT_USAGE },
        { "input", "kbd0", "unique-id=x", "leave it out", FAR_EXIT_USAGE },
        { "input", "kbd0", "feature-disable-pointer=1", "crashes Linux guests",
          FAR_EXIT_FAILED },
    };

    start_backend();
    fake_xl("true");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char class[16], address[16], pair[40];

        strcpy(class, cases[i].class);
        strcpy(address, cases[i].address);
        strcpy(pair, cases[i].pair ? cases[i].pair : "");
        ck_assert_int_eq(
            RUN(attach, "web1", class, address, *pair ? pair : NULL),
            cases[i].status);
        said(cases[i].words);
        ck_assert_str_eq(read_text("args"), "");
    }
}
END_TEST

START_TEST(an_xl_that_is_not_there_is_told)
{
    setenv("FARSIDE_XL", "/nonexistent/xl", 1);
    ck_assert_int_eq(RUN(attach, "web1", "input", "kbd0"), FAR_EXIT_FAILED);
    said("FARSIDE_XL names /nonexistent/xl, which can't be run");
}
END_TEST

START_TEST(detach_takes_a_number_or_an_address)
{
    start_backend();
    fake_xl("rm -f device");
    write_file("device",
               "{\"devid\":7,\"class\":\"input\",\"address\":"
               "\"borealis/kbd0\",\"state\":\"connected\"}",
               0644);
    ck_assert_int_eq(RUN(detach, "web1", "input", "borealis/kbd0"),
                     FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"), "vkb-detach\nweb1\n7\n");
    ck_assert_int_eq(RUN(detach, "web1", "input", "5"), FAR_EXIT_OK);
    ck_assert_str_eq(read_text("args"), "vkb-detach\nweb1\n5\n");
    ck_assert_int_eq(RUN(detach, "3", "input", "nothing"), FAR_EXIT_FAILED);
    said("3 has no input device nothing");
}
END_TEST

START_TEST(detach_tells_why_xl_failed)
{
    start_backend();
    fake_xl("echo no >&2; exit 1");
    ck_assert_int_eq(RUN(detach, "web1", "input", "0"), FAR_EXIT_FAILED);
    said("input 0: xl could not detach it from web1:\nno\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("farside attach");
    TCase *all = tcase_create("attach and detach");

    suite_add_tcase(suite, all);
    tcase_add_checked_fixture(all, begin, end);
    tcase_set_timeout(all, 20);
    tcase_add_test(all, attach_runs_xl_and_waits_until_the_device_is_connected);
    tcase_add_test(all, a_disk_is_attached_and_detached_by_xl_with_the_script);
    tcase_add_test(all, a_screen_is_attached_and_detached_by_xl_with_its_size);
    tcase_add_test(all, attach_tells_why_xl_failed);
    tcase_add_test(
        all, attach_tells_why_a_device_was_refused_and_how_to_be_rid_of_it);
    tcase_add_test(all,
                   attach_to_a_server_that_is_down_says_that_keys_will_come);
    tcase_add_test(all, attach_to_a_guest_without_a_driver_says_so);
    tcase_add_test(all, attach_without_a_backend_does_not_run_xl);
    tcase_add_test(all, attach_says_when_the_backend_sees_no_device);
    tcase_add_test(all, attach_refuses_what_it_can_see_is_wrong);
    tcase_add_test(all, an_xl_that_is_not_there_is_told);
    tcase_add_test(all, detach_takes_a_number_or_an_address);
    tcase_add_test(all, detach_tells_why_xl_failed);
    return suite_end(suite);
}
