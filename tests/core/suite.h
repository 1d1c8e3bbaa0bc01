/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Running one suite of Check: a table of tests, whose names are sentences, or
 * whatever a main() has put together.
 */
#ifndef FARSIDE_TESTS_CORE_SUITE_H
#define FARSIDE_TESTS_CORE_SUITE_H

#include <check.h>
#include <stdlib.h>

/* Runs it: the exit status of main(). */
static inline int suite_end(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int suite_run(const char *name, const TTest *const *tests,
                            size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 60); /* valgrind is slow */
    suite_add_tcase(suite, tcase);
    return suite_end(suite);
}

#define SUITE_MAIN(name, ...)                                            \
    int main(void)                                                       \
    {                                                                    \
        const TTest *const tests[] = { __VA_ARGS__ };                    \
        return suite_run(name, tests, sizeof(tests) / sizeof(tests[0])); \
    }

#endif
