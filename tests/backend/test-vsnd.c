/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-backend with sound cards, on the simulator: what a guest plays is in
 * a WAV file, sample by sample, and what it records was in one; guests that
 * write what no driver would; and what becomes of it all when the backend is
 * killed.
 */
#include <stdint.h>
#include <xen/io/sndif.h>
#include "tests/backend/simhost.h"
#include "tests/backend/sound.h"

#define CARD           "card,short-name=c,sample-rates=8000;48000,buffer-size=65536"
#define PLAY(device)   "|stream,type=p,unique-id=" device
#define RECORD(device) "|stream,type=c,unique-id=" device
/* rate, format, channels, bytes of a frame, buffer, period: s16_le */
#define STEREO "48000 2 2 4 32768 4096"
#define FRAME  4u

static char played[160], source[160];

static void set_up(void)
{
    char path[160];
    FILE *f;

    fresh_host();
    snprintf(played, sizeof(played), "%s/played.wav", host);
    snprintf(source, sizeof(source), "%s/source.wav", host);
    snprintf(path, sizeof(path), "%s/farside.conf", host);
    f = fopen(path, "w");
    fprintf(f,
            "[platform]\nname = atlas\n"
            "[device wav0]\ntype = wav\npath = %s\n"
            "[device wav1]\ntype = wav\npath = %s\n"
            "[device nothing]\ntype = silence\n"
            "[device tone0]\ntype = tone\n",
            played, source);
    fclose(f);
}

static void tear_down(void)
{
    end_with(&backend, SIGKILL);
    host_do(NULL, 0, "down atlas");
}

/* streams: PLAY() and RECORD(), all of one pcm */
static struct guest guest(const char *name, const char *streams)
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
static uint8_t *samples(const char *path, size_t *bytes)
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

static void make_source(size_t bytes, uint32_t seed)
{
    uint32_t rate = 48000, per_s = rate * FRAME, size = (uint32_t)bytes;
    uint32_t riff = size + 36, sixteen = 16;
    uint16_t head[] = { 1, 2 }, tail[] = { FRAME, 16 };
    FILE *f = fopen(source, "we");

    ck_assert_ptr_nonnull(f);
    fwrite("RIFF", 4, 1, f);
    fwrite(&riff, 4, 1, f);
    fwrite("WAVEfmt ", 8, 1, f);
    fwrite(&sixteen, 4, 1, f);
    fwrite(head, 4, 1, f);
    fwrite(&rate, 4, 1, f);
    fwrite(&per_s, 4, 1, f);
    fwrite(tail, 4, 1, f);
    fwrite("data", 4, 1, f);
    fwrite(&size, 4, 1, f);
    for (size_t i = 0; i < bytes; i++)
        fputc(sound_byte(seed, i), f);
    fclose(f);
}

/* That many bytes of the signal, from `place` on. */
static void is_signal(const uint8_t *bytes, size_t count, uint32_t seed,
                      uint64_t place)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != sound_byte(seed, place + i))
            ck_abort_msg("byte %zu of %zu is %02x, not %02x", i, count,
                         bytes[i], sound_byte(seed, place + i));
}

/* Of the guest's only card. */
static json_t *card(void)
{
    json_t *whole = ask("{\"request\":\"status\"}"), *one;
    json_t *guests = json_object_get(whole, "guests");

    one = json_array_get(json_object_get(json_array_get(guests, 0), "devices"),
                         0);
    json_incref(one);
    json_decref(whole);
    return one;
}

static json_int_t counter(const char *name)
{
    json_t *one = card();
    json_int_t value = json_integer_value(
        json_object_get(json_object_get(one, "counters"), name));

    json_decref(one);
    return value;
}

/* --- what is played and recorded --------------------------------------------
 */

START_TEST(what_a_guest_plays_is_in_the_file_sample_by_sample)
{
    size_t bytes, all = 4 * 48000; /* one second: no number of periods */
    struct guest g;
    uint8_t *wav;

    start_backend();
    g = guest("g", PLAY("wav0"));
    ck_assert_str_eq(say(&g, "streams"), "ok p");
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    OK(&g, "play 0 %zu 1", all);
    wav = samples(played, &bytes);
    ck_assert_uint_eq(bytes, all);
    is_signal(wav, bytes, 1, 0);
    free(wav);
    /* once more without another OPEN, as after an underrun; and with one */
    OK(&g, "play 0 %zu 2", all);
    ck_assert_str_eq(
        say(&g, "raw 0 000001"), /* CLOSE */
        "ok 0 "
        "00000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000");
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    OK(&g, "play 0 %zu 3", all);
    wav = samples(played, &bytes);
    ck_assert_uint_eq(bytes, 3 * all);
    for (unsigned i = 0; i < 3; i++)
        is_signal(wav + i * all, all, i + 1, 0);
    free(wav);
    ck_assert_int_eq(counter("refused"), 0);
    ck_assert_int_eq(counter("copy_faults"), 0);
    ck_assert_int_eq(counter("played_bytes"), (json_int_t)(3 * all));
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(what_a_guest_records_was_in_the_file_sample_by_sample)
{
    size_t all = 4 * 48000, got;
    static uint8_t bytes[4 * 48000 + 1];
    char path[160];
    struct guest g;
    FILE *f;

    make_source(all, 7);
    start_backend();
    g = guest("g", RECORD("wav1"));
    ck_assert_str_eq(say(&g, "streams"), "ok c");
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    snprintf(path, sizeof(path), "%s/recorded", host);
    OK(&g, "record 0 %zu %s", all, path);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    got = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    ck_assert_uint_eq(got, all);
    is_signal(bytes, all, 7, 0);
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

/* --- its clock --------------------------------------------------------------
 */

START_TEST(silence_goes_by_at_its_rate)
{
    unsigned long long bytes, positions, ns;
    struct guest g;

    start_backend();
    g = guest("g", PLAY("nothing"));
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    ck_assert_str_eq(say(&g, "trigger 0 0"), "ok 0");
    OK(&g, "turn 1500");
    ck_assert_int_eq(sscanf(say(&g, "position 0"), "ok %llu %llu %llu", &bytes,
                            &positions, &ns),
                     3);
    /* one position each 21.3 ms; what came late is not missing from the sum */
    ck_assert_uint_gt(positions, 10);
    ck_assert_uint_gt(bytes, 48000 * FRAME);
    ck_assert_uint_lt(bytes, 10ull * 48000 * FRAME);
    ck_assert_uint_eq(bytes % FRAME, 0);
    /* by the guest's own clock: first to last, as long as that takes */
    ck_assert_uint_gt(ns / 1000, (bytes / FRAME * 1000000 / 48000) / 2);
    ck_assert_str_eq(say(&g, "trigger 0 1"), "ok 0"); /* pause */
    OK(&g, "turn 50");
    ck_assert_int_eq(sscanf(say(&g, "position 0"), "ok %llu", &bytes), 1);
    OK(&g, "turn 100");
    ck_assert_int_eq(sscanf(say(&g, "position 0"), "ok %llu", &ns), 1);
    ck_assert_uint_eq(bytes, ns);
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

/* --- whose device it is -----------------------------------------------------
 */

START_TEST(a_guest_gets_only_what_was_ordered_for_it)
{
    json_t *one, *stream;
    struct guest g;
    size_t bytes;
    uint8_t *wav;

    start_backend();
    g = guest("g", PLAY("nothing"));
    /* another's; it reconnects with it */
    OK(&g, "close");
    OK(&g, "write device/vsnd/0/0/0/unique-id wav0");
    OK(&g, "open 0");
    OK(&g, "connected");
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    OK(&g, "play 0 40000 1"); /* silently */
    ck_assert_int_eq(access(played, F_OK), 0);
    one = card();
    stream = json_array_get(json_object_get(one, "streams"), 0);
    ck_assert_msg(
        strstr(json_string_value(json_object_get(one, "reason")), "may-use"),
        "%s", json_string_value(json_object_get(one, "reason")));
    ck_assert_str_eq(json_string_value(json_object_get(stream, "address")),
                     "wav0");
    json_decref(one);
    ck_assert_int_eq(counter("played_bytes"), 0);
    /* nor after a restart of the daemon, which adopts it */
    kill_backend(SIGKILL);
    start_backend();
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    OK(&g, "play 0 40000 1");
    ck_assert_int_eq(counter("played_bytes"), 0);
    kill_backend(SIGTERM);

    /* but if its section says so */
    {
        char path[160];
        FILE *f;

        snprintf(path, sizeof(path), "%s/farside.conf", host);
        f = fopen(path, "a");
        fprintf(f, "[guest g]\nmay-use = other wav0\n");
        fclose(f);
    }
    start_backend();
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    OK(&g, "play 0 40000 9");
    wav = samples(played, &bytes);
    ck_assert_uint_eq(bytes, 40000);
    is_signal(wav, bytes, 9, 0);
    free(wav);
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { what_a_guest_plays_is_in_the_file_sample_by_sample, 1 },
        { what_a_guest_records_was_in_the_file_sample_by_sample, 1 },
        { silence_goes_by_at_its_rate, 1 },
        { a_guest_gets_only_what_was_ordered_for_it, 1 },
    };

    return host_main("vsnd", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
