// SPDX-License-Identifier: GPL-2.0-or-later
//
// What farside check says of device lines, place by place. Whole files are in
// check-golden; here are the corners.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tools/check.h"
#include "tools/vkb.h"
#include "tests/core/suite.h"

static char said[4096];

static void hear(void *arg, const char *file, unsigned line, unsigned column,
                 const char *text)
{
    size_t used = strlen(said);

    (void)arg;
    ck_assert_str_eq(file, "f");
    snprintf(said + used, sizeof(said) - used, "%u:%u: %s\n", line, column,
             text);
}

static unsigned judge(const char *text)
{
    *said = '\0';
    return far_check_xl("f", text, strlen(text), NULL, hear, NULL);
}

#define FINE "vkb=['backend-type=linux,unique-id=k']\n"

START_TEST(a_line_as_in_the_manual_is_fine)
{
    ck_assert_uint_eq(judge(FINE), 0);
    ck_assert_uint_eq(judge("vkb += [ \"backend-type=linux,unique-id=a/b\" ]"),
                      0);
    ck_assert_uint_eq(judge("vkb=[\n# a comment\n'backend-type=linux,unique-id="
                            "k',\n]; name='x'\n"),
                      0);
    ck_assert_uint_eq(judge(""), 0);
}
END_TEST

START_TEST(a_fault_is_told_with_its_line_and_column)
{
    ck_assert_uint_eq(judge("\n\n vkb = ['backend-type=linux,unique-id=k,"
                            "width=0']\n"),
                      1);
    ck_assert_str_eq(said, "3:47: width is a number from 1 to 65535, not "
                           "'0'\n");
}
END_TEST

START_TEST(a_comma_in_an_address_is_told)
{
    ck_assert_uint_eq(judge("vkb=['backend-type=linux,unique-id=a,b']"), 1);
    ck_assert_ptr_nonnull(strstr(said, "1:38: 'b' is no KEY=VALUE"));
}
END_TEST

START_TEST(a_line_without_backend_type_is_told)
{
    ck_assert_uint_eq(judge("vkb=['unique-id=a']"), 1);
    ck_assert_ptr_nonnull(strstr(said, "1:7: backend-type is missing"));
}
END_TEST

START_TEST(a_line_without_address_is_told)
{
    ck_assert_uint_eq(judge("vkb=['backend-type=linux']"), 1);
    ck_assert_ptr_nonnull(strstr(said, "1:7: unique-id is missing"));
}
END_TEST

START_TEST(features_that_crash_guests_are_told)
{
    ck_assert_uint_eq(judge("vkb=['backend-type=linux,unique-id=k,"
                            "feature-disable-keyboard=1']"),
                      1);
    ck_assert_ptr_nonnull(strstr(said, "1:38: feature-disable-keyboard=1 "
                                       "crashes Linux guests"));
    ck_assert_uint_eq(judge("vkb=['backend-type=linux,unique-id=k,"
                            "feature-disable-keyboard=0']"),
                      0);
}
END_TEST

START_TEST(blanks_round_a_value_are_told)
{
    ck_assert_uint_eq(judge("vkb=['backend-type=linux,unique-id=k ,width=3']"),
                      1);
    ck_assert_ptr_nonnull(strstr(said, "1:36: blanks round"));
    ck_assert_uint_eq(judge("vkb=['backend-type =linux,unique-id=k']"), 2);
    ck_assert_ptr_nonnull(strstr(said, "1:7: no blank may stand before"));
}
END_TEST

START_TEST(a_disk_line_of_farsides_is_judged_and_others_are_not)
{
#define OURS "script=block-farside,"
    static const struct {
        const char *line, *words;
    } cases[] = {
        { "/srv/a.img,qcow2,xvda,rw", NULL },
        { "vdev=xvda,format=qcow2,target=/srv/a,b.img", NULL },
        { "vdev=xvda,access=rw," OURS "target=disk0", NULL },
        { "xvda, ro, script=/etc/xen/scripts/block-farside, target=b/disk0",
          NULL },
        { OURS "target=disk0", "vdev is missing" },
        { OURS "vdev=a,target=disk0", "1:29: vdev is the guest's name" },
        { OURS "vdev=xvda", "target is missing" },
        { OURS "target=disk0,vdev=xvda", "put it last" },
        { OURS "vdev=xvda,target=a b", "names are of letters" },
        { OURS "vdev=xvda,acces=rw,target=d", "did you mean \"access\"?" },
        { OURS "vdev=xvda,access=wr,target=d", "access is rw or ro" },
        { OURS "vdev=xvda,format=qcow2,target=d", "format=raw only" },
        { OURS "vdev=xvda,backendtype=qdisk,target=d", "not Farside's" },
        { OURS "vdev=xvda,nonsense,target=d", "'nonsense' is no KEY=VALUE" },
        { OURS "vdev=xvda,devtype=cdrom,target=d",
          "PVH guests refuse CD-ROMs" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), "disk=['%s']\ntype='pvh'\n",
                 cases[i].line);
        judge(text);
        if (!cases[i].words)
            ck_assert_str_eq(said, "");
        else
            ck_assert_msg(strstr(said, cases[i].words) != NULL, "%s: %s", text,
                          said);
    }
    ck_assert_uint_eq(
        judge("type='pv'\ndisk=['" OURS "vdev=xvda,devtype=cdrom,target=d']"),
        0);
}
END_TEST

START_TEST(a_vdispl_line_is_judged)
{
    static const char *const wrong[] = {
        "vdispl=['be-alloc=0']",
        "vdispl=['connectors=screen0']",
        "vdispl=['connectors=screen0:1280']",
        "vdispl=['connectors=screen0:0x800']",
        "vdispl=['connectors=screen0:1280x800x2']",
        "vdispl=['connectors=screen0:99999x800']",
        "vdispl=['connectors=a b:1280x800']",
        "vdispl=['connectors=a/b/c:1280x800']",
        "vdispl=['connectors=:1280x800']",
        "vdispl=['connectors=s:64x64,size=3']",
    };

    ck_assert_uint_eq(judge("vdispl=['connectors=screen0:1280x800;b/s:64x64']"),
                      0);
    ck_assert_uint_eq(
        judge("vdispl=['backend=0,be-alloc=1,connectors=s:1024x768']"), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(judge(wrong[i]) == 1, "%s", wrong[i]);
}
END_TEST

START_TEST(every_cut_of_a_good_file_is_read_to_its_end)
{
    static const char whole[] =
        "name = \"g\\\"1\" # x\nvkb = [ 'backend-type=linux,unique-id=a/b', "
        "\"q\", 7, [ 'x' ] ]\ndisk = [ 'a', [ 1 ], ]; x += 'y'\n";

    for (size_t n = 0; n <= strlen(whole); n++) {
        char *cut = malloc(n ? n : 1);

        ck_assert_ptr_nonnull(cut);
        memcpy(cut, whole, n);
        *said = '\0';
        /* Of exact size: a read behind it is seen by the sanitizers. */
        far_check_xl("f", cut, n, NULL, hear, NULL);
        free(cut);
    }
}
END_TEST

START_TEST(the_nearest_word_is_found_and_a_far_one_is_not)
{
    static const char *const words[] = { "width", "height", NULL };

    ck_assert_str_eq(far_nearest("widht", words), "width");
    ck_assert_str_eq(far_nearest("heigth", words), "height");
    ck_assert_ptr_null(far_nearest("colour", words));
    ck_assert_str_eq(far_vkb_nearest("uniqe-id"), "unique-id");
}
END_TEST

START_TEST(a_section_first_means_farside_conf)
{
    static const char conf[] = "# x\n\n [platform]\n", xl[] = "# [x]\nname=1";

    ck_assert(far_check_is_conf(conf, strlen(conf)));
    ck_assert(!far_check_is_conf(xl, strlen(xl)));
    ck_assert(!far_check_is_conf("", 0));
}
END_TEST

START_TEST(a_vsnd_list_is_judged_stream_by_stream)
{
    static const struct {
        const char *stream, *says; /* NULL: nothing is wrong */
    } lines[] = {
        { "stream, unique-id=wav0, type=p", NULL },
        { "stream,type=C,unique-id=b/mic0", NULL },
        { "stream, type=p", "unique-id is missing" },
        { "stream, id=wav0, type=p", "meant: unique-id" },
        { "stream, unique-id=wav0", "type is missing" },
        { "stream, unique-id=wav0, type=x", "1:51: type is p" },
        { "stream, unique-id=a:b, type=p", "1:45: " },
        { "strem, unique-id=wav0, type=p", "begins with card, pcm or" },
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char text[300];

        snprintf(text, sizeof(text), "vsnd=[['card, x=1','pcm','%s']]\n",
                 lines[i].stream);
        judge(text);
        if (lines[i].says)
            ck_assert_msg(strstr(said, lines[i].says) != NULL, "%s: %s",
                          lines[i].stream, said);
        else
            ck_assert_str_eq(said, "");
    }
}
END_TEST

START_TEST(disks_that_may_forget_are_told)
{
    static const char text[] = "[platform]\nname = a\n"
                               "[device ram]\ntype = memory\n"
                               "[device own]\ntype = memory\n"
                               "[device v]\ntype = volatile\nbehind = own\n"
                               "[device f]\ntype = file\npath = /dev/null\n"
                               "[export ram]\nallow = b\n";
    unsigned problems = 0;
    struct far_conf *conf =
        far_conf_parse("f", text, strlen(text), hear, NULL, &problems);

    ck_assert(conf && !problems);
    *said = '\0';
    far_check_conf(conf, hear, NULL);
    ck_assert_ptr_nonnull(strstr(said, "3:1: [device ram] is memory"));
    ck_assert_ptr_null(strstr(said, "[device own]"));
    ck_assert_ptr_nonnull(strstr(said, "7:1: [device v] is for tests"));
    ck_assert_ptr_null(strstr(said, "/dev/null"));
    far_conf_free(conf);
}
END_TEST

/* What is said of a disk that another process serves. */
static void judge_outside(const char *line)
{
    char text[600];
    unsigned problems = 0;
    struct far_conf *conf;

    snprintf(text, sizeof(text),
             "[platform]\nname = a\n[device d]\ntype = outside\n"
             "class = block\nsocket = /run/nowhere/disk-%d\n%s",
             (int)getpid(), line);
    conf = far_conf_parse("f", text, strlen(text), hear, NULL, &problems);
    ck_assert(conf && !problems);
    *said = '\0';
    far_check_conf(conf, hear, NULL);
    far_conf_free(conf);
}

#define UNFENCED "[device d] is served by farside-nbd without --fenced"

START_TEST(a_disk_of_an_nbd_server_without_a_fence_is_told)
{
    static const struct {
        const char *start;
        bool told;
    } lines[] = {
        { "/usr/sbin/farside-nbd nbd://h", true },
        { "/usr/sbin/farside-nbd --fenced nbd://h", false },
        { "/usr/sbin/farside-nbd nbd://h -r", false },
        { "/usr/sbin/farside-rbd pool/disk", false },
        { "", false },
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char line[200] = "";

        if (*lines[i].start)
            snprintf(line, sizeof(line), "start = %s\n", lines[i].start);
        judge_outside(line);
        ck_assert_msg(!strstr(said, UNFENCED) == !lines[i].told, "%s: %s", line,
                      said);
        if (lines[i].told)
            ck_assert_ptr_nonnull(strstr(said, "7:9: "));
    }
}
END_TEST

START_TEST(a_script_that_starts_one_is_read)
{
    static const struct {
        const char *text;
        bool told;
    } scripts[] = {
        { "#!/bin/sh\nqemu-nbd x &\nexec farside-nbd \\\n nbd://h\n", true },
        { "#!/bin/sh\nexec farside-nbd \\\n --fenced nbd://h\n", false },
        { "#!/bin/sh\n# not farside-nbd\nexec farside-rbd p/d\n", false },
        { "farside-nbd nbd://h\n", false }, /* nobody runs that */
    };
    char path[] = "/tmp/farside-check-XXXXXX", line[64];
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    snprintf(line, sizeof(line), "start = %s\n", path);
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        size_t n = strlen(scripts[i].text);

        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(pwrite(fd, scripts[i].text, n, 0), (ssize_t)n);
        judge_outside(line);
        ck_assert_msg(!strstr(said, UNFENCED) == !scripts[i].told, "%s: %s",
                      scripts[i].text, said);
    }
    unlink(path);
    close(fd);
}
END_TEST

/* Whatever started it. */
START_TEST(one_that_runs_is_found_by_its_socket)
{
    char socket[80];
    int hold[2];
    pid_t pid;

    snprintf(socket, sizeof(socket), "--socket=/run/nowhere/disk-%d",
             (int)getpid());
    judge_outside("");
    ck_assert_ptr_null(strstr(said, UNFENCED));
    for (int fenced = 0; fenced < 2; fenced++) {
        bool told = false;

        ck_assert_int_eq(pipe2(hold, O_CLOEXEC), 0);
        pid = fork();
        if (!pid) {
            dup2(hold[0], 0);
            execl("/bin/sh", "sh", "-c", "read x", "farside-nbd", socket,
                  fenced ? "--fenced" : "nbd://h", (char *)NULL);
            _exit(127);
        }
        for (unsigned i = 0; i < (fenced ? 20 : 500) && !told; i++) {
            judge_outside("");
            told = strstr(said, UNFENCED) != NULL;
            usleep(10000); /* until it runs */
        }
        ck_assert_int_eq(told, !fenced);
        close(hold[0]);
        close(hold[1]);
        waitpid(pid, NULL, 0);
    }
}
END_TEST

START_TEST(a_disk_in_memory_is_told)
{
    char path[] = "/dev/shm/farside-check-XXXXXX", text[200], want[80];
    struct far_conf *conf;
    unsigned problems = 0;
    struct statfs fs;
    int fd;

    if (statfs("/dev/shm", &fs) || fs.f_type != 0x01021994)
        return; /* there is none here */
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    snprintf(text, sizeof(text),
             "[platform]\nname = a\n[device d]\ntype = file\npath = %s\n",
             path);
    conf = far_conf_parse("f", text, strlen(text), hear, NULL, &problems);
    ck_assert(conf && !problems);
    *said = '\0';
    far_check_conf(conf, hear, NULL);
    unlink(path);
    close(fd);
    snprintf(want, sizeof(want), "5:8: %s lies in memory", path);
    ck_assert_ptr_nonnull(strstr(said, want));
    far_conf_free(conf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("farside check");
    TCase *lines = tcase_create("lines");

    suite_add_tcase(suite, lines);
    tcase_add_test(lines, a_line_as_in_the_manual_is_fine);
    tcase_add_test(lines, a_fault_is_told_with_its_line_and_column);
    tcase_add_test(lines, a_comma_in_an_address_is_told);
    tcase_add_test(lines, a_line_without_backend_type_is_told);
    tcase_add_test(lines, a_line_without_address_is_told);
    tcase_add_test(lines, features_that_crash_guests_are_told);
    tcase_add_test(lines, blanks_round_a_value_are_told);
    tcase_add_test(lines, a_disk_line_of_farsides_is_judged_and_others_are_not);
    tcase_add_test(lines, a_vdispl_line_is_judged);
    tcase_add_test(lines, every_cut_of_a_good_file_is_read_to_its_end);
    tcase_add_test(lines, the_nearest_word_is_found_and_a_far_one_is_not);
    tcase_add_test(lines, a_section_first_means_farside_conf);
    tcase_add_test(lines, a_vsnd_list_is_judged_stream_by_stream);
    tcase_add_test(lines, disks_that_may_forget_are_told);
    tcase_add_test(lines, a_disk_of_an_nbd_server_without_a_fence_is_told);
    tcase_add_test(lines, a_script_that_starts_one_is_read);
    tcase_add_test(lines, one_that_runs_is_found_by_its_socket);
    tcase_add_test(lines, a_disk_in_memory_is_told);
    return suite_end(suite);
}
