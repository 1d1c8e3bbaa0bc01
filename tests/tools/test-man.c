// SPDX-License-Identifier: GPL-2.0-or-later
//
// farside.conf(5) tells of every section and key that core/conf-keys.c knows.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/conf-keys.h"
#include "tests/core/suite.h"

static char *page;

static void read_page(void)
{
    const char *src = getenv("srcdir");
    char name[4096];
    size_t bytes;
    FILE *file;

    snprintf(name, sizeof(name), "%s/man/farside.conf.5", src ? src : ".");
    file = fopen(name, "re");
    ck_assert_msg(file != NULL, "%s can't be read", name);
    page = calloc(1, 1 << 17);
    ck_assert_ptr_nonnull(page);
    bytes = fread(page, 1, (1 << 17) - 1, file);
    ck_assert_uint_gt(bytes, 1000);
    fclose(file);
}

static void forget_page(void)
{
    free(page);
}

/* The part of the page about a section: from its .Ss to the next one. */
static char *part(const char *section)
{
    char head[80];
    char *begin, *end, *copy;

    snprintf(head, sizeof(head), "\n.Ss [%s", section);
    begin = strstr(page, head);
    ck_assert_msg(begin != NULL, "farside.conf(5) has no [%s]", section);
    end = strstr(begin + 1, "\n.S");
    ck_assert_ptr_nonnull(end);
    copy = strndup(begin, (size_t)(end - begin));
    ck_assert_ptr_nonnull(copy);
    return copy;
}

START_TEST(every_key_is_in_the_manual_page)
{
    unsigned keys = 0;

    for (const struct far_conf_key *k = far_conf_keys; k->section; k++) {
        char *text = part(k->section);
        char item[80];

        snprintf(item, sizeof(item), "\n.It Cm %s = ", k->key);
        ck_assert_msg(strstr(text, item) != NULL,
                      "farside.conf(5), [%s]: no \".It Cm %s = \"", k->section,
                      k->key);
        free(text);
        keys++;
    }
    ck_assert_uint_gt(keys, 10);
}
END_TEST

START_TEST(every_section_is_in_the_manual_page)
{
    for (unsigned i = 0; far_conf_section_kinds[i].kind; i++)
        free(part(far_conf_section_kinds[i].kind));
}
END_TEST

START_TEST(every_device_type_is_in_the_manual_page)
{
    for (const struct far_conf_key *k = far_conf_keys; k->section; k++) {
        char *words, *text, *word, *rest;

        if (!k->choices || strcmp(k->key, "type"))
            continue;
        words = strdup(k->choices);
        text = part(k->section);
        ck_assert_ptr_nonnull(words);
        for (word = strtok_r(words, " ", &rest); word;
             word = strtok_r(NULL, " ", &rest)) {
            char alone[80], listed[80];

            snprintf(alone, sizeof(alone), ".Cm %s", word);
            snprintf(listed, sizeof(listed), ", %s", word);
            ck_assert_msg(strstr(text, alone) || strstr(text, listed),
                          "farside.conf(5) has no type %s", word);
        }
        free(words);
        free(text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("farside.conf(5)");
    TCase *keys = tcase_create("keys");

    suite_add_tcase(suite, keys);
    tcase_add_checked_fixture(keys, read_page, forget_page);
    tcase_add_test(keys, every_key_is_in_the_manual_page);
    tcase_add_test(keys, every_section_is_in_the_manual_page);
    tcase_add_test(keys, every_device_type_is_in_the_manual_page);
    return suite_end(suite);
}
