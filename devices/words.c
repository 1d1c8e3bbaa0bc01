/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The words of `farside send` and of traces: see words.h.
 */
#include "devices/words.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX 1024
#define LINE_WORDS_MAX 64
#define SLEEP_MS_MAX   3600000

struct parse {
    struct far_words *state;
    const struct far_words_sink *sink;
    struct far_error *error;
};

static int emit(const struct parse *p, const struct far_input_event *event)
{
    if (!p->sink || !p->sink->event)
        return 0;
    return p->sink->event(p->sink->arg, event);
}

static int key(const struct parse *p, int code, int value)
{
    struct far_input_event e = { .type = FAR_INPUT_KEY,
                                 .code = (uint16_t)code,
                                 .value = value };

    return emit(p, &e);
}

int far_words_end(struct far_words *state, const struct far_words_sink *sink)
{
    struct far_input_event e = { .type = FAR_INPUT_TOUCH,
                                 .code = FAR_TOUCH_SYN };
    struct parse p = { .sink = sink };

    if (!state->frame)
        return 0;
    state->frame = false;
    return emit(&p, &e);
}

static bool number(const char *word, long min, long max, int32_t *value)
{
    char *end;
    long n;

    errno = 0;
    n = strtol(word, &end, 10);
    if (end == word || *end || errno || n < min || n > max)
        return false;
    *value = (int32_t)n;
    return true;
}

static int need_numbers(const struct parse *p, const char *const *w,
                        unsigned given, unsigned count, long min, long max,
                        int32_t *values, const char *usage)
{
    for (unsigned i = 0; i < count; i++)
        if (i >= given || !number(w[i], min, max, &values[i]))
            return far_error(p->error, -EINVAL,
                             "`%s`: %s%s%s; a number from %ld to %ld is wanted",
                             usage, i < given ? "not `" : "a word is missing",
                             i < given ? w[i] : "", i < given ? "`" : "", min,
                             max);
    return 0;
}

/* US layout: what key, and with shift? */
int far_key_of_char(char c, bool *shift)
{
    static const char plain[] = "`1234567890-=[]\\;',./ \n\t";
    static const char shifted[] = "~!@#$%^&*()_+{}|:\"<>?";
    static const uint8_t codes[] = {
        KEY_GRAVE,     KEY_1,          KEY_2,          KEY_3,
        KEY_4,         KEY_5,          KEY_6,          KEY_7,
        KEY_8,         KEY_9,          KEY_0,          KEY_MINUS,
        KEY_EQUAL,     KEY_LEFTBRACE,  KEY_RIGHTBRACE, KEY_BACKSLASH,
        KEY_SEMICOLON, KEY_APOSTROPHE, KEY_COMMA,      KEY_DOT,
        KEY_SLASH,     KEY_SPACE,      KEY_ENTER,      KEY_TAB,
    };
    static const uint8_t letters[] = {
        KEY_A, KEY_B, KEY_C, KEY_D, KEY_E, KEY_F, KEY_G, KEY_H, KEY_I,
        KEY_J, KEY_K, KEY_L, KEY_M, KEY_N, KEY_O, KEY_P, KEY_Q, KEY_R,
        KEY_S, KEY_T, KEY_U, KEY_V, KEY_W, KEY_X, KEY_Y, KEY_Z,
    };
    const char *at;

    *shift = c >= 'A' && c <= 'Z';
    if (*shift)
        return letters[c - 'A'];
    if (c >= 'a' && c <= 'z')
        return letters[c - 'a'];
    at = c ? strchr(plain, c) : NULL;
    if (at)
        return codes[at - plain];
    at = c ? strchr(shifted, c) : NULL;
    *shift = true;
    return at ? codes[at - shifted] : -1;
}

static int word_text(const struct parse *p, const char *text)
{
    int r = 0;

    for (; *text && !r; text++) {
        bool shift;
        int code = far_key_of_char(*text, &shift);

        if (code < 0)
            return far_error(p->error, -EINVAL,
                             "`text`: the character with code 0x%02x is on no "
                             "key of the US layout",
                             (unsigned)(unsigned char)*text);
        if (shift)
            r = key(p, KEY_LEFTSHIFT, 1);
        if (!r)
            r = key(p, code, 1);
        if (!r)
            r = key(p, code, 0);
        if (!r && shift)
            r = key(p, KEY_LEFTSHIFT, 0);
    }
    return r;
}

static int word_key(const struct parse *p, const char *word, const char *name)
{
    int code = far_key_code(name), r = 0;

    if (code < 0)
        return far_error(p->error, -EINVAL,
                         "`%s`: there is no key `%s`; names are as in Linux, "
                         "such as KEY_A, a, leftshift, btn_left, or 0x1e",
                         word, name);
    if (word[0] != 'r') /* key, press */
        r = key(p, code, 1);
    if (!r && word[0] != 'p') /* key, release */
        r = key(p, code, 0);
    return r;
}

static const struct {
    const char *name;
    uint16_t code;
    unsigned numbers;
    long min, max;
} touches[] = {
    { "down", FAR_TOUCH_DOWN, 2, 0, FAR_INPUT_POS_MAX },
    { "up", FAR_TOUCH_UP, 0, 0, 0 },
    { "move", FAR_TOUCH_MOVE, 2, 0, FAR_INPUT_POS_MAX },
    { "shape", FAR_TOUCH_SHAPE, 2, 0, FAR_INPUT_POS_MAX },
    { "orientation", FAR_TOUCH_ORIENTATION, 1, -90, 90 },
};

/* Number of words taken, or a negative errno. */
static int word_touch(const struct parse *p, const char *const *w,
                      unsigned given)
{
    struct far_input_event e = { .type = FAR_INPUT_TOUCH };
    int32_t v[2] = { 0, 0 };
    int r = need_numbers(p, w + 1, given - 1, 1, 0, FAR_INPUT_CONTACTS_MAX - 1,
                         &e.value, "touch ID");

    if (r)
        return r;
    for (unsigned i = 0; given > 2 && i < sizeof(touches) / sizeof(touches[0]);
         i++) {
        if (strcmp(w[2], touches[i].name))
            continue;
        r = need_numbers(p, w + 3, given - 3, touches[i].numbers,
                         touches[i].min, touches[i].max, v, "touch");
        if (r)
            return r;
        e.code = touches[i].code;
        e.x = v[0];
        e.y = v[1];
        p->state->frame = true;
        r = emit(p, &e);
        return r ? r : (int)(3 + touches[i].numbers);
    }
    return far_error(p->error, -EINVAL,
                     "`touch %d`: %s%s%s: one of down, up, move, shape, "
                     "orientation is wanted",
                     (int)e.value, given > 2 ? "not `" : "a word is missing",
                     given > 2 ? w[2] : "", given > 2 ? "`" : "");
}

/* One word and its arguments: number of words taken, or a negative errno. */
static int one(const struct parse *p, const char *const *w, unsigned given)
{
    struct far_input_event e = { .type = FAR_INPUT_MOTION };
    int32_t v[2];
    int r = 0;

    if (!strcmp(w[0], "touch"))
        return word_touch(p, w, given);
    if (!strcmp(w[0], "sync")) {
        /* also where no touch is open: it may be another writer's */
        p->state->frame = true;
        r = far_words_end(p->state, p->sink);
        return r ? r : 1;
    }
    r = far_words_end(p->state, p->sink);
    if (r)
        return r;
    if (!strcmp(w[0], "text") || !strcmp(w[0], "key") ||
        !strcmp(w[0], "press") || !strcmp(w[0], "release")) {
        if (given < 2)
            return far_error(p->error, -EINVAL, "`%s`: %s is missing", w[0],
                             w[0][0] == 't' ? "the string"
                                            : "the name of a key");
        r = w[0][0] == 't' ? word_text(p, w[1]) : word_key(p, w[0], w[1]);
        return r ? r : 2;
    }
    if (!strcmp(w[0], "move")) {
        r = need_numbers(p, w + 1, given - 1, 2, -FAR_INPUT_POS_MAX,
                         FAR_INPUT_POS_MAX, v, "move DX DY");
        e.x = v[0];
        e.y = v[1];
        if (!r)
            r = emit(p, &e);
        return r ? r : 3;
    }
    if (!strcmp(w[0], "abs")) {
        r = need_numbers(p, w + 1, given - 1, 2, 0, FAR_INPUT_POS_MAX, v,
                         "abs X Y");
        e.type = FAR_INPUT_POS;
        e.x = v[0];
        e.y = v[1];
        if (!r)
            r = emit(p, &e);
        return r ? r : 3;
    }
    if (!strcmp(w[0], "wheel")) {
        r = need_numbers(p, w + 1, given - 1, 1, -1000, 1000, v, "wheel N");
        e.z = -v[0]; /* up is negative in kbdif.h */
        if (!r)
            r = emit(p, &e);
        return r ? r : 2;
    }
    if (!strcmp(w[0], "sleep")) {
        r = need_numbers(p, w + 1, given - 1, 1, 0, SLEEP_MS_MAX, v,
                         "sleep MS");
        if (!r && p->sink && !p->sink->sleep)
            r = far_error(p->error, -EINVAL, "`sleep` has no place here");
        if (!r && p->sink)
            r = p->sink->sleep(p->sink->arg, (uint64_t)v[0] * 1000);
        return r ? r : 2;
    }
    return far_error(p->error, -EINVAL,
                     "there is no word `%.40s`; words are text, key, press, "
                     "release, move, wheel, abs, touch, sync, sleep",
                     w[0]);
}

int far_words_parse(struct far_words *state, const char *const *words,
                    unsigned count, const struct far_words_sink *sink,
                    struct far_error *error)
{
    struct far_words dry = *state;
    struct parse p = { .state = sink ? state : &dry,
                       .sink = sink,
                       .error = error };

    while (count) {
        int taken = one(&p, words, count);

        if (taken < 0)
            return taken;
        words += taken;
        count -= (unsigned)taken;
    }
    return 0;
}

int far_words_parse_line(struct far_words *state, const char *line,
                         const struct far_words_sink *sink,
                         struct far_error *error)
{
    char copy[LINE_BYTES_MAX], *at = copy;
    const char *words[LINE_WORDS_MAX];
    unsigned count = 0;
    size_t bytes = strlen(line);

    while (bytes && (line[bytes - 1] == '\n' || line[bytes - 1] == '\r'))
        bytes--;
    if (bytes >= sizeof(copy))
        return far_error(error, -EINVAL, "the line is longer than %d bytes",
                         LINE_BYTES_MAX - 1);
    memcpy(copy, line, bytes);
    copy[bytes] = '\0';
    for (;;) {
        at += strspn(at, " \t");
        if (!*at)
            break;
        if (count == LINE_WORDS_MAX)
            return far_error(error, -EINVAL, "more than %d words in a line",
                             LINE_WORDS_MAX);
        words[count++] = at;
        if (count > 1 && !strcmp(words[count - 2], "text"))
            break; /* the rest is the string */
        at += strcspn(at, " \t");
        if (*at)
            *at++ = '\0';
    }
    return far_words_parse(state, words, count, sink, error);
}
