// SPDX-License-Identifier: GPL-2.0-or-later
//
// What farside check says of device lines, place by place. Whole files are in
// check-golden; here are the corners.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    tcase_add_test(lines, every_cut_of_a_good_file_is_read_to_its_end);
    tcase_add_test(lines, the_nearest_word_is_found_and_a_far_one_is_not);
    tcase_add_test(lines, a_section_first_means_farside_conf);
    tcase_add_test(lines, disks_that_may_forget_are_told);
    return suite_end(suite);
}
