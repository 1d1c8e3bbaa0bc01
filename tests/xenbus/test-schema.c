/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What xenstore's nodes may hold: strict numbers, ranges, texts. No xenstore.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "xenbus/xs.h"
#include "xenstore-schema/schema.h"
#include "tests/core/suite.h"

struct node {
    const char *name, *value;
};

struct nodes {
    const struct node *nodes; /* ends with a NULL name */
    int error;                /* for the first node that is asked for */
};

static int reader(void *arg, const char *node, char *value, size_t room)
{
    struct nodes *n = arg;

    if (n->error)
        return n->error;
    for (const struct node *p = n->nodes; p->name; p++)
        if (!strcmp(p->name, node)) {
            if (strlen(p->value) >= room)
                return -E2BIG;
            strcpy(value, p->value);
            return (int)strlen(value);
        }
    return -ENOENT;
}

static int read_front(const struct node *nodes,
                      struct far_schema_vkb_front *front,
                      struct far_schema_fault *fault)
{
    struct nodes n = { nodes, 0 };

    return far_schema_vkb_front_read(front, reader, &n, fault);
}

#define GOOD                                             \
    { "backend", "/local/domain/0/backend/vinput/3/0" }, \
    {                                                    \
        "backend-id", "0"                                \
    }

START_TEST(a_stock_fronts_nodes_are_read)
{
    static const struct node nodes[] = { GOOD,
                                         { "page-ref", "440964" },
                                         { "page-gref", "8" },
                                         { "event-channel", "8" },
                                         { "request-abs-pointer", "1" },
                                         { 0, 0 } };
    struct far_schema_vkb_front f;
    struct far_schema_fault fault;

    ck_assert_int_eq(read_front(nodes, &f, &fault), 0);
    ck_assert_ptr_null(fault.node);
    ck_assert_uint_eq(f.page_gref, 8);
    ck_assert_uint_eq(f.event_channel, 8);
    ck_assert(f.has_page_ref);
    ck_assert(f.page_ref == 440964);
    ck_assert(f.has_request_abs_pointer && f.request_abs_pointer);
    ck_assert(!f.has_request_multi_touch && !f.request_multi_touch);
    ck_assert(!f.request_poll);
    ck_assert_str_eq(f.backend, "/local/domain/0/backend/vinput/3/0");
}
END_TEST

START_TEST(a_missing_node_that_is_required_is_named)
{
    static const struct node nodes[] = { GOOD, { "page-gref", "8" }, { 0, 0 } };
    struct far_schema_vkb_front f, zero = { 0 };
    struct far_schema_fault fault;

    ck_assert_int_eq(read_front(nodes, &f, &fault), -ENOENT);
    ck_assert_str_eq(fault.node, "event-channel");
    ck_assert_str_eq(fault.text, "node event-channel is missing");
    ck_assert_mem_eq(&f, &zero, sizeof(f));
}
END_TEST

static const char *const not_numbers[] = { "",
                                           " 8",
                                           "8 ",
                                           "+8",
                                           "-8",
                                           "0x8",
                                           "8\n",
                                           "8.0",
                                           "1e3",
                                           "abc",
                                           "99999999999999999999",
                                           "000000000000000000008",
                                           "18446744073709551616",
                                           "4294967296",
                                           "\xef\xbc\x98" };

START_TEST(a_number_is_digits_and_nothing_else)
{
    struct node nodes[] = { GOOD,
                            { "page-gref", not_numbers[_i] },
                            { "event-channel", "8" },
                            { 0, 0 } };
    struct far_schema_vkb_front f;
    struct far_schema_fault fault;
    uint64_t v = 1234;

    ck_assert_int_eq(read_front(nodes, &f, &fault), -EINVAL);
    ck_assert_str_eq(fault.node, "page-gref");
    for (const char *c = fault.text; *c; c++)
        ck_assert(*c >= 0x20 && *c < 0x7f); /* nothing foreign in a log */
    if (strcmp(not_numbers[_i], "4294967296")) {
        ck_assert_int_eq(far_number_parse(not_numbers[_i], UINT64_MAX, &v),
                         -EINVAL);
        ck_assert(v == 1234);
    }
}
END_TEST

START_TEST(a_number_may_be_as_large_as_its_type)
{
    uint64_t v;

    ck_assert_int_eq(far_number_parse("18446744073709551615", UINT64_MAX, &v),
                     0);
    ck_assert(v == UINT64_MAX);
    ck_assert_int_eq(far_number_parse("0", 0, &v), 0);
    ck_assert(v == 0);
    ck_assert_int_eq(far_number_parse("1", 0, &v), -EINVAL);
}
END_TEST

struct range {
    const char *node, *value;
    int r;
};

static const struct range ranges[] = {
    { "page-gref", "7", -EINVAL }, /* the toolstack's */
    { "page-gref", "0", -EINVAL },
    { "page-gref", "8", 0 },
    { "page-gref", "4294967295", 0 },
    { "event-channel", "0", -EINVAL },
    { "event-channel", "1", 0 },
    { "event-channel", "2147483648", -EINVAL },
    { "state", "0", -EINVAL },
    { "state", "1", 0 },
    { "state", "8", 0 },
    { "state", "9", -EINVAL },
    { "state", "99", -EINVAL },
    { "state", "4 ", -EINVAL },
    { "state", "-1", -EINVAL },
    { "request-poll", "2", -EINVAL },
    { "request-poll", "1", 0 },
    { "backend-id", "32751", 0 },
    { "backend-id", "32752", -EINVAL },
    { "backend", "local/domain", -EINVAL },
    { "backend", "/local\n/domain", -EINVAL },
    { "driver", "farside-frontend", 0 },
    { "driver", "farside", -EINVAL },
    { "no-such-node", "1", -ENOENT },
};

START_TEST(each_node_has_its_range)
{
    const struct range *r = &ranges[_i];

    ck_assert_msg(far_schema_check(&far_schema_vkb_front_group, r->node,
                                   r->value, NULL, NULL) == r->r,
                  "%s = %s", r->node, r->value);
}
END_TEST

static const struct range back_ranges[] = {
    { "unique-id", "borealis/kbd0", 0 },
    { "unique-id", "borealis+cygnus/kbd_0.a-b", 0 },
    { "unique-id", "", -EINVAL },
    { "unique-id", "a b", -EINVAL },
    { "unique-id", "a:b", -EINVAL },
    { "unique-id", "a\x1b[2J", -EINVAL },
    { "width", "0", -EINVAL },
    { "width", "32768", 0 },
    { "width", "32769", -EINVAL },
    { "multi-touch-num-contacts", "256", -EINVAL },
    { "feature-abs-pointer", "1", 0 },
    { "feature-abs-pointer", "yes", -EINVAL },
    { "hotplug-status", "connected", 0 },
    { "hotplug-status", "busy", -EINVAL },
};

START_TEST(each_node_of_the_backend_has_its_range)
{
    const struct range *r = &back_ranges[_i];

    ck_assert_msg(far_schema_check(&far_schema_vkb_back_group, r->node,
                                   r->value, NULL, NULL) == r->r,
                  "%s = %s", r->node, r->value);
}
END_TEST

START_TEST(defaults_are_taken_where_a_node_is_absent)
{
    static const struct node nodes[] = { { "frontend",
                                           "/local/domain/3/device/vkbd/0" },
                                         { "frontend-id", "3" },
                                         { 0, 0 } };
    struct nodes n = { nodes, 0 };
    struct far_schema_vkb_back b;

    memset(&b, 0xff, sizeof(b));
    ck_assert_int_eq(far_schema_vkb_back_read(&b, reader, &n, NULL), 0);
    ck_assert_uint_eq(b.frontend_id, 3);
    ck_assert(!b.has_unique_id && !b.online && !b.feature_abs_pointer);
    ck_assert_uint_eq(b.width, 0);
    ck_assert_str_eq(b.unique_id, "");
}
END_TEST

START_TEST(a_text_of_five_kilobytes_is_refused_and_not_cut)
{
    static char huge[5121];
    struct node nodes[] = { { "backend", huge }, { 0, 0 } };
    struct far_schema_vkb_front f;
    struct far_schema_fault fault;

    memset(huge, '/', sizeof(huge) - 1);
    ck_assert_int_eq(read_front(nodes, &f, &fault), -EINVAL);
    ck_assert_str_eq(fault.text, "node backend is too long");
    huge[256] = '\0'; /* one too many */
    ck_assert_int_eq(read_front(nodes, &f, &fault), -EINVAL);
    ck_assert_str_eq(fault.text, "node backend is longer than 255 bytes");
}
END_TEST

START_TEST(what_xenstore_fails_with_comes_through)
{
    struct nodes n = { NULL, -EACCES };
    struct far_schema_vkb_front f;
    struct far_schema_fault fault;

    ck_assert_int_eq(far_schema_vkb_front_read(&f, reader, &n, &fault),
                     -EACCES);
    n.error = -EINVAL; /* holds a zero byte */
    ck_assert_int_eq(far_schema_vkb_front_read(&f, reader, &n, &fault),
                     -EINVAL);
    ck_assert_str_eq(fault.node, "backend");
}
END_TEST

START_TEST(uuids_and_hexadecimal_digits_are_exact)
{
    const struct far_schema_group *vm = &far_schema_vm_group;
    const struct far_schema_group *domain = &far_schema_domain_group;

    ck_assert_int_eq(far_schema_check(vm, "uuid",
                                      "0e3cd70d-72b9-4bf1-a3bd-b0ae7b3e2a0f",
                                      NULL, NULL),
                     0);
    ck_assert_int_eq(far_schema_check(vm, "uuid",
                                      "0e3cd70d-72b9-4bf1-a3bd-b0ae7b3e2a0",
                                      NULL, NULL),
                     -EINVAL);
    ck_assert_int_eq(far_schema_check(vm, "uuid",
                                      "0e3cd70d+72b9-4bf1-a3bd-b0ae7b3e2a0f",
                                      NULL, NULL),
                     -EINVAL);
    ck_assert_int_eq(far_schema_check(domain, "farside/generation",
                                      "00112233445566778899aabbccddeeff", NULL,
                                      NULL),
                     0);
    ck_assert_int_eq(far_schema_check(domain, "farside/generation",
                                      "00112233445566778899aabbccddeef", NULL,
                                      NULL),
                     -EINVAL);
    ck_assert_int_eq(far_schema_check(domain, "farside/generation",
                                      "00112233445566778899aabbccddeefg", NULL,
                                      NULL),
                     -EINVAL);
}
END_TEST

START_TEST(every_group_can_be_walked)
{
    size_t groups = 0, nodes = 0;

    for (; far_schema_groups[groups]; groups++)
        for (size_t i = 0; i < far_schema_groups[groups]->count; i++) {
            const struct far_schema_node *n =
                &far_schema_groups[groups]->nodes[i];

            ck_assert(n->name && n->writer && n->meaning);
            ck_assert_msg(n->min <= n->max, "%s", n->name);
            nodes++;
        }
    ck_assert_uint_ge(groups, 5);
    ck_assert_uint_ge(nodes, 35);
}
END_TEST

START_TEST(a_domid_is_strict_too)
{
    static const char *const bad[] = { "",      "-1",    " 1",
                                       "1 ",    "0x1",   "32752",
                                       "32767", "65536", "4294967297" };
    unsigned domid = 77;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(far_domid_parse(bad[i], &domid) == -EINVAL, "%s", bad[i]);
        ck_assert_uint_eq(domid, 77);
    }
    ck_assert_int_eq(far_domid_parse("32751", &domid), 0);
    ck_assert_uint_eq(domid, 32751);
    ck_assert_int_eq(far_domid_parse("0", &domid), 0);
    ck_assert_uint_eq(domid, 0);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *suite = suite_create("schema");
    TCase *tcase = tcase_create("nodes");

    tcase_add_test(tcase, a_stock_fronts_nodes_are_read);
    tcase_add_test(tcase, a_missing_node_that_is_required_is_named);
    tcase_add_loop_test(tcase, a_number_is_digits_and_nothing_else, 0,
                        COUNT(not_numbers));
    tcase_add_test(tcase, a_number_may_be_as_large_as_its_type);
    tcase_add_loop_test(tcase, each_node_has_its_range, 0, COUNT(ranges));
    tcase_add_loop_test(tcase, each_node_of_the_backend_has_its_range, 0,
                        COUNT(back_ranges));
    tcase_add_test(tcase, defaults_are_taken_where_a_node_is_absent);
    tcase_add_test(tcase, a_text_of_five_kilobytes_is_refused_and_not_cut);
    tcase_add_test(tcase, what_xenstore_fails_with_comes_through);
    tcase_add_test(tcase, uuids_and_hexadecimal_digits_are_exact);
    tcase_add_test(tcase, every_group_can_be_walked);
    tcase_add_test(tcase, a_domid_is_strict_too);
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}
