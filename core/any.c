/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The words of requests for any device (core/any.h).
 */
#include "core/any.h"

#include <errno.h>
#include <string.h>
#include "core/input.h"

#define ANY ".any"

static const struct {
    const char *word;
    uint32_t can;
} input_words[] = {
    { "keys", FAR_INPUT_CAN_KEYS },   { "buttons", FAR_INPUT_CAN_BUTTONS },
    { "rel", FAR_INPUT_CAN_REL },     { "abs", FAR_INPUT_CAN_ABS },
    { "touch", FAR_INPUT_CAN_TOUCH },
};
#define INPUT_WORDS (sizeof(input_words) / sizeof(input_words[0]))

static uint32_t input_word(const char *word, size_t n)
{
    for (size_t i = 0; i < INPUT_WORDS; i++)
        if (strlen(input_words[i].word) == n &&
            memcmp(input_words[i].word, word, n) == 0)
            return input_words[i].can;
    return 0;
}

int far_any_parse(uint8_t want[FAR_PROPS_BYTES], const char *device,
                  enum far_class class, struct far_error *error)
{
    struct far_input_props props = { 0 };
    const char *at = device + strlen(ANY);

    memset(want, 0, FAR_PROPS_BYTES);
    if (strncmp(device, ANY, strlen(ANY)) != 0 || (*at && *at != '.'))
        return far_error(error, -EINVAL,
                         "%.63s: names do not begin with a dot; for any device "
                         "say .any, or .any.keys, for example",
                         device);
    while (*at) {
        size_t n = strcspn(++at, ".");
        uint32_t can = class == FAR_CLASS_INPUT ? input_word(at, n) : 0;

        if (!can)
            return far_error(
                error, -EINVAL,
                "%.63s: \"%.*s\" is no property of class %s; known "
                "are, for input: keys, buttons, rel, abs, touch",
                device, (int)n, at, far_class_name(class));
        props.can |= can;
        at += n;
    }
    memcpy(want, &props, sizeof(props));
    return 0;
}

bool far_any_fits(enum far_class class, const uint8_t props[FAR_PROPS_BYTES],
                  const uint8_t want[FAR_PROPS_BYTES])
{
    struct far_input_props has, must;

    if (class != FAR_CLASS_INPUT)
        return true; /* no other class has words yet */
    memcpy(&has, props, sizeof(has));
    memcpy(&must, want, sizeof(must));
    return (has.can & must.can) == must.can;
}
