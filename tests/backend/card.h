/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest with a sound card for tests on the simulator: sndguest.c, and what is
 * to be in the files that it plays into.
 */
#ifndef FARSIDE_TESTS_BACKEND_CARD_H
#define FARSIDE_TESTS_BACKEND_CARD_H

#include "tests/backend/simhost.h"
#include "tests/backend/sound.h"

#define CARD           "card,short-name=c,sample-rates=8000;48000,buffer-size=65536"
#define PLAY(device)   "|stream,type=p,unique-id=" device
#define RECORD(device) "|stream,type=c,unique-id=" device
/* rate, format, channels, bytes of a frame, buffer, period: s16_le */
#define STEREO "48000 2 2 4 32768 4096"
#define FRAME  4u

/* streams: PLAY() and RECORD(), all of one pcm */
static inline struct guest guest(const char *name, const char *streams)
{
    char line[600];
    struct guest g;

    snprintf(line, sizeof(line), "memory=256 'vsnd=" CARD "|pcm,name=p0%s'",
             streams);
    g = guest_with("tests/backend/sndguest", name, line);
    OK(&g, "open 0");
    OK(&g, "connected");
    return g;
}

/* The samples of a WAV file; the caller's to free. */
static inline uint8_t *samples(const char *path, size_t *bytes)
{
    uint8_t *all = malloc(64u << 20);
    FILE *f = fopen(path, "re");
    size_t n;

    ck_assert_msg(f && all, "%s can't be read", path);
    n = fread(all, 1, 64u << 20, f);
    fclose(f);
    ck_assert_uint_ge(n, 44);
    ck_assert_mem_eq(all, "RIFF", 4);
    for (size_t at = 12; at + 8 <= n;) {
        uint32_t size;

        memcpy(&size, all + at + 4, 4);
        if (!memcmp(all + at, "data", 4)) {
            ck_assert_uint_le(size, n - at - 8);
            memmove(all, all + at + 8, size);
            *bytes = size;
            return all;
        }
        at += 8 + size + (size & 1);
    }
    ck_abort_msg("%s has no samples", path);
    return NULL;
}

/* That many bytes of the signal, from `place` on. */
static inline void is_signal(const uint8_t *bytes, size_t count, uint32_t seed,
                             uint64_t place)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != sound_byte(seed, place + i))
            ck_abort_msg("byte %zu of %zu is %02x, not %02x", i, count,
                         bytes[i], sound_byte(seed, place + i));
}

/* Of the guest's only card. */
static inline json_t *card(void)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *one;
    json_t *guests = json_object_get(whole, "guests");

    one = json_array_get(json_object_get(json_array_get(guests, 0), "devices"),
                         0);
    json_incref(one);
    json_decref(whole);
    return one;
}

static inline json_int_t counter(const char *name)
{
    json_t *one = card();
    json_int_t value = json_integer_value(
        json_object_get(json_object_get(one, "counters"), name));

    json_decref(one);
    return value;
}

#endif
