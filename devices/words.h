/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The words of `farside send` and of a trace (farside(1), Words): one parser
 * for both, and the names of keys. Pure.
 */
#ifndef FARSIDE_DEVICES_WORDS_H
#define FARSIDE_DEVICES_WORDS_H

#include "core/error.h"
#include "core/input.h"

/* What becomes of the words, in order. Members may be NULL. A negative errno
 * ends the parsing and is returned. Events have time 0: now. */
struct far_words_sink {
    int (*event)(void *arg, const struct far_input_event *event);
    int (*sleep)(void *arg, uint64_t us); /* NULL: `sleep` is an error */
    void *arg;
};

/* Touches without their SYN are kept open between calls, and closed by any
 * other word; zeroed is ready. */
struct far_words {
    bool frame; /* a touch is waiting for its SYN */
};

/* words[0..count): as argv. 0, what the sink returned, or -EINVAL with what is
 * wrong in which word. Call it once without a sink to judge all before the
 * first has an effect. */
int far_words_parse(struct far_words *state, const char *const *words,
                    unsigned count, const struct far_words_sink *sink,
                    struct far_error *error);
/* One line, words apart by blanks; `text` takes the rest of the line. */
int far_words_parse_line(struct far_words *state, const char *line,
                         const struct far_words_sink *sink,
                         struct far_error *error);
/* Closes an open frame of touches. */
int far_words_end(struct far_words *state, const struct far_words_sink *sink);

/* Of a US keyboard: the key with that character, and whether it needs shift;
 * -1: it is on none. */
int far_key_of_char(char c, bool *shift);
/* "KEY_A", "a", "btn_left", "0x2fe": its code, or -1. */
int far_key_code(const char *name);
/* "KEY_A", or NULL if it has none. */
const char *far_key_name(unsigned code);

#endif
