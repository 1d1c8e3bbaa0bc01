/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A process in a simulated guest that does what a test tells it: the test's end
 * of it. See puppet.c for the words.
 */
#ifndef FARSIDE_TESTS_PUPPET_H
#define FARSIDE_TESTS_PUPPET_H

#include <stdio.h>
#include <sys/types.h>

struct puppet {
    pid_t pid;
    FILE *to, *from;
};

/* Runs argv in HOST/GUEST (or HOST) by farside-sim (environment FARSIDE_SIM);
 * its standard input and output are ours. Fails the test if it can't. */
void puppet_run(struct puppet *puppet, const char *where, char *const argv[]);
/* The puppet itself (environment PUPPET). */
void puppet_start(struct puppet *puppet, const char *where);
/* Says a line and reads the answer: what stands behind "ok ", or fails the
 * test. */
const char *puppet_do(struct puppet *puppet, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same where an error is expected: the errno behind "error ". */
int puppet_fails(struct puppet *puppet, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void puppet_kill(struct puppet *puppet); /* -9 */
/* farside-sim WORDS…: its exit status. */
int sim_do(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
