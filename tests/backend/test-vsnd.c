/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * farside-backend with sound cards, on the simulator: what a guest plays is in
 * a WAV file, sample by sample, and what it records was in one; guests that
 * write what no driver would; and what becomes of it all when the backend is
 * killed.
 */
#include <stdint.h>
#include <xen/io/sndif.h>
#include "tests/backend/card.h"

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
            "[device small]\ntype = wav\npath = %s/small.wav\nlimit = 1\n"
            "[device nothing]\ntype = silence\n"
            "[device tone0]\ntype = tone\n",
            played, source, host);
    fclose(f);
}

static void tear_down(void)
{
    end_with(&backend, SIGKILL);
    host_do(NULL, 0, "down atlas");
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

START_TEST(a_file_that_is_full_stops_no_guest_and_is_told)
{
    size_t bytes, all = (1u << 20) + 200000, i, known = 0;
    json_t *status, *one;
    char path[200];
    struct guest g;
    uint8_t *wav;

    start_backend();
    g = guest("g", PLAY("small"));
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    OK(&g, "play 0 %zu 6", all);
    snprintf(path, sizeof(path), "%s/small.wav", host);
    wav = samples(path, &bytes);
    ck_assert_uint_le(bytes, 1u << 20);
    ck_assert_uint_gt(bytes, (1u << 20) - 65536);
    is_signal(wav, bytes, 6, 0);
    free(wav);
    status = ask("{\"request\":\"status\"}");
    json_array_foreach (json_object_get(status, "devices"), i, one) {
        const char *reason = json_string_value(json_object_get(one, "reason"));

        known += reason && strstr(reason, "nothing more can be written");
    }
    json_decref(status);
    ck_assert_uint_eq(known, 1);
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

/* --- nonsense ---------------------------------------------------------------
 */

/* As it stands in a ring. */
static int raw(struct guest *g, const struct xensnd_req *request,
               struct xensnd_resp *answer)
{
    char hex[2 * sizeof(*request) + 1];
    const char *said;
    int status, used;

    for (size_t i = 0; i < sizeof(*request); i++)
        snprintf(hex + 2 * i, 3, "%02x", ((const uint8_t *)request)[i]);
    said = say(g, "raw 0 %s", hex);
    ck_assert_msg(sscanf(said, "ok %d %n", &status, &used) == 1, "%s", said);
    for (size_t i = 8; answer && i < sizeof(*answer); i++)
        sscanf(said + used + 2 * (i - 8), "%2hhx", (uint8_t *)answer + i);
    return status;
}

static int open_as(struct guest *g, uint32_t rate, uint8_t format,
                   uint8_t channels, uint32_t buffer, uint32_t period,
                   uint32_t directory)
{
    struct xensnd_req r = { .operation = XENSND_OP_OPEN };

    r.op.open = (struct xensnd_open_req){ .pcm_rate = rate,
                                          .pcm_format = format,
                                          .pcm_channels = channels,
                                          .buffer_sz = buffer,
                                          .period_sz = period,
                                          .gref_directory = directory };
    return raw(g, &r, NULL);
}

static int transfer(struct guest *g, unsigned op, uint32_t offset,
                    uint32_t length)
{
    int status;

    ck_assert_int_eq(sscanf(say(g, "transfer 0 %u %u %u", op, offset, length),
                            "ok %d", &status),
                     1);
    return status;
}

/* It can still play, and nobody has lost patience. */
static void goes_on(struct guest *g, uint32_t seed)
{
    ck_assert_str_eq(say(g, "prepare 0 " STEREO), "ok 0");
    OK(g, "play 0 20000 %u", seed);
}

START_TEST(requests_that_make_no_sense_are_answered_with_an_error)
{
    struct xensnd_req r = { .operation = XENSND_OP_HW_PARAM_QUERY };
    struct xensnd_resp answer;
    unsigned directory;
    struct guest g;

    start_backend();
    g = guest("g", PLAY("nothing"));
    /* before OPEN, and after CLOSE */
    for (unsigned closed = 0; closed < 2; closed++) {
        ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 0, 4096), 0);
        ck_assert_int_lt(transfer(&g, XENSND_OP_READ, 0, 4096), 0);
        ck_assert_int_lt(transfer(&g, XENSND_OP_SET_VOLUME, 0, 8), 0);
        ck_assert_int_lt(transfer(&g, XENSND_OP_MUTE, 0, 2), 0);
        ck_assert_str_ne(say(&g, "trigger 0 0"), "ok 0");
        ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
        ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 0, 4096), 0);
        ck_assert_int_eq(transfer(&g, XENSND_OP_CLOSE, 0, 0), 0);
    }
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    /* twice: it begins anew */
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    /* outside of the buffer, by a bit or by a wrap; no whole frames */
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 0, 32768), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 4, 32768), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 32768, 4), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, UINT32_MAX - 3, 8), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 8, UINT32_MAX - 3), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 0, 0), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 0, 6), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_WRITE, 2, 4), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_READ, 0, 4), 0); /* it plays */
    ck_assert_str_eq(say(&g, "trigger 0 4"), "ok -22");
    ck_assert_str_eq(say(&g, "trigger 0 255"), "ok -22");
    /* volume: two channels of four bytes; mute: of one or of four */
    ck_assert_int_eq(transfer(&g, XENSND_OP_GET_VOLUME, 0, 8), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_GET_VOLUME, 0, 4), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_SET_VOLUME, 0, 12), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_SET_VOLUME, 32764, 8), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_MUTE, 0, 2), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_UNMUTE, 0, 8), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_MUTE, 0, 3), 0);
    ck_assert_int_lt(transfer(&g, XENSND_OP_MUTE, 0, 4096), 0);
    ck_assert_int_eq(transfer(&g, 10, 0, 0), -95);
    ck_assert_int_eq(transfer(&g, 255, 0, 0), -95);

    /* parameters that can't be */
    ck_assert_int_eq(sscanf(say(&g, "gref 0 0"), "ok %u", &directory), 1);
    ck_assert_int_eq(open_as(&g, 48000, 2, 2, 32768, 4096, directory), 0);
#define REFUSED(...) ck_assert_int_eq(open_as(&g, __VA_ARGS__, directory), -22)
    REFUSED(0, 2, 2, 32768, 4096);
    REFUSED(UINT32_MAX, 2, 2, 32768, 4096);
    REFUSED(96000, 2, 2, 32768, 4096); /* its nodes say 48000 at most */
    REFUSED(48000, 22, 2, 32768, 4096);
    REFUSED(48000, 255, 2, 32768, 4096);
    REFUSED(48000, 2, 0, 32768, 4096);
    REFUSED(48000, 2, 255, 32768, 4096);
    REFUSED(48000, 2, 2, 0, 0);
    REFUSED(48000, 2, 2, UINT32_MAX, 4096);
    REFUSED(48000, 2, 2, 131072, 4096); /* its nodes say 65536 */
    REFUSED(48000, 2, 2, 32767, 4096);
    REFUSED(48000, 2, 2, 32768, 32772);
    REFUSED(48000, 2, 2, 32768, UINT32_MAX);
    REFUSED(48000, 2, 2, 32768, 3);

    /* ranges that are upside down, and what is left of sound ones */
    r.op.hw_param.formats = UINT64_MAX;
    r.op.hw_param.rates.max = r.op.hw_param.channels.max = UINT32_MAX;
    r.op.hw_param.buffer.max = r.op.hw_param.period.max = UINT32_MAX;
    ck_assert_int_eq(raw(&g, &r, &answer), 0);
    ck_assert_uint_eq(answer.resp.hw_param.rates.min, 8000);
    ck_assert_uint_eq(answer.resp.hw_param.rates.max, 48000);
    ck_assert_uint_eq(answer.resp.hw_param.buffer.max, 65536);
    ck_assert_uint_le(answer.resp.hw_param.channels.max, 32);
    r.op.hw_param.channels.min = 3;
    r.op.hw_param.channels.max = 2;
    ck_assert_int_eq(raw(&g, &r, &answer), -22);
    /* nothing is told beside the status */
    ck_assert_uint_eq(answer.resp.hw_param.rates.max, 0);
    r.op.hw_param.channels.max = 3;
    r.op.hw_param.rates.min = 48000;
    r.op.hw_param.rates.max = 8000;
    ck_assert_int_eq(raw(&g, &r, &answer), -22);

    goes_on(&g, 1);
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(grants_that_are_none_cost_a_guest_its_samples_only)
{
    unsigned directory, page;
    struct guest g;

    start_backend();
    g = guest("g", PLAY("nothing"));
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    ck_assert_int_eq(sscanf(say(&g, "gref 0 0"), "ok %u", &directory), 1);
    ck_assert_int_eq(sscanf(say(&g, "gref 0 1"), "ok %u", &page), 1);
    for (unsigned i = 0; i < 8; i++) /* the toolstack's, and none */
        ck_assert_int_lt(open_as(&g, 48000, 2, 2, 32768, 4096, i), 0);
    ck_assert_int_lt(open_as(&g, 48000, 2, 2, 32768, 4096, 4000000000u), 0);
    /* one that leads to itself; one that is shorter than the buffer */
    OK(&g, "directory 0 0 %u", directory);
    ck_assert_int_eq(open_as(&g, 48000, 2, 2, 32768, 4096, directory), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 0, 32768), 0);
    OK(&g, "directory 0 4 0");
    ck_assert_int_lt(open_as(&g, 48000, 2, 2, 32768, 4096, directory), 0);
    OK(&g, "directory 0 4 4000000000");
    ck_assert_int_eq(open_as(&g, 48000, 2, 2, 32768, 4096, directory), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 0, 12288), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 12288, 4096), -5);
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 16384, 4096), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 0, 32768), -5);
    /* the same page many times is the guest's affair */
    OK(&g, "directory 0 4 %u", page);
    ck_assert_int_eq(open_as(&g, 48000, 2, 2, 32768, 4096, directory), 0);
    ck_assert_int_eq(transfer(&g, XENSND_OP_WRITE, 0, 32768), 0);
    ck_assert_int_ge(counter("copy_faults"), 2);
    goes_on(&g, 1);
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(a_guest_that_takes_no_event_gets_the_position_later)
{
    unsigned long long bytes, positions;
    json_int_t before;
    struct guest g;

    start_backend();
    g = guest("g", PLAY("nothing"));
    ck_assert_str_eq(say(&g, "prepare 0 48000 2 2 4 32768 256"), "ok 0");
    ck_assert_str_eq(say(&g, "trigger 0 0"), "ok 0");
    /* it does not look at its page any more */
    fprintf(g.in, "sleep 2000\n");
    fflush(g.in);
    nap_ms(1000);
    ck_assert_int_gt(counter("events_full"), 0);
    before = counter("events");
    nap_ms(200);
    ck_assert_int_eq(counter("events"), before);
    ck_assert_str_eq(hear(&g), "ok");
    OK(&g, "turn 100");
    ck_assert_int_eq(
        sscanf(say(&g, "position 0"), "ok %llu %llu", &bytes, &positions), 2);
    ck_assert_uint_gt(positions, 63);
    ck_assert_uint_gt(bytes, 48000 * FRAME);
    goes_on(&g, 1);
    destroy(&g);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(a_guest_that_writes_nonsense_into_its_rings_loses_its_card_alone)
{
    static const char *const lies[] = { "prod 0 40", "prod 0 2147483648",
                                        "cons 0 1", "cons 0 4294967295" };
    struct guest other;
    off_t log;

    start_backend();
    other = guest("other", PLAY("nothing"));
    log = log_bytes();
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct guest g = guest("g", PLAY("nothing"));

        ck_assert_str_eq(say(&g, "prepare 0 48000 2 2 4 32768 256"), "ok 0");
        ck_assert_str_eq(say(&g, "trigger 0 0"), "ok 0");
        OK(&g, "%s", lies[i]);
        ck_assert_msg(!strncmp(say(&g, "waits"), "ok", 2), "%s", lies[i]);
        goes_on(&other, (uint32_t)i);
        destroy(&g);
    }
    ck_assert_int_lt(log_bytes() - log, 8192);
    destroy(&other);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(requests_of_random_bytes_are_all_answered)
{
    struct guest g, other;

    start_backend();
    other = guest("other", PLAY("nothing"));
    for (unsigned seed = 1; seed <= 4; seed++) {
        g = guest("g", PLAY("wav0"));
        OK(&g, "flood 0 %u %u", full(20000, 2000), seed * 2654435761u);
        goes_on(&other, seed);
        destroy(&g);
    }
    destroy(&other);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(a_guest_that_never_stops_asking_leaves_time_for_others)
{
    struct guest g, other;

    start_backend();
    other = guest("other", PLAY("nothing"));
    g = guest("g", PLAY("nothing"));
    fprintf(g.in, "storm 0 %u\n", full(1000000, 100000));
    fflush(g.in);
    goes_on(&other, 1);
    {
        const char *end = hear(&g);

        ck_assert_msg(!strncmp(end, "ok", 2), "%s", end);
    }
    destroy(&g);
    destroy(&other);
    kill_backend(SIGTERM);
}
END_TEST

START_TEST(nodes_that_make_no_sense_cost_a_guest_its_card)
{
    static const struct {
        const char *node, *value;
    } lies[] = {
        { "sample-rates", "48000,abc" },
        { "sample-rates", "1,2,3" },
        { "sample-rates", "" },
        { "sample-formats", "s17_le" },
        { "channels-min", "0" },
        { "channels-max", "256" },
        { "channels-max", "-1" },
        { "buffer-size", "many" },
        { "0/0/type", "x" },
        { "0/channels-min", "9" }, /* of at most 2 */
        { "version", "3" },
    };
    struct guest other;

    start_backend();
    other = guest("other", PLAY("nothing"));
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct guest g = guest("g", PLAY("nothing"));

        OK(&g, "close");
        OK(&g, "write device/vsnd/0/channels-max 2");
        OK(&g, "write device/vsnd/0/%s %s", lies[i].node, lies[i].value);
        OK(&g, "open 0");
        ck_assert_msg(strncmp(say(&g, "turn 300"), "ok", 2) == 0 &&
                          strcmp(say(&g, "prepare 0 " STEREO), "ok 0"),
                      "%s = %s is taken", lies[i].node, lies[i].value);
        destroy(&g);
    }
    /* thousands of streams are more than are looked at */
    {
        struct guest g = guest("g", PLAY("nothing"));

        OK(&g, "close");
        for (unsigned i = 1; i < 20; i++)
            OK(&g, "write device/vsnd/0/0/%u/type p", i);
        OK(&g, "open 0");
        OK(&g, "turn 300");
        ck_assert_str_ne(say(&g, "prepare 0 " STEREO), "ok 0");
        destroy(&g);
    }
    goes_on(&other, 1);
    destroy(&other);
    kill_backend(SIGTERM);
}
END_TEST

/* --- restarts ---------------------------------------------------------------
 */

START_TEST(a_stream_outlives_the_backend_and_no_sample_is_lost)
{
    size_t bytes, all = 4 * 48000 * full(20, 4);
    struct guest g;
    uint8_t *wav;

    start_backend();
    g = guest("g", PLAY("wav0"));
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    fprintf(g.in, "play 0 %zu 5\n", all);
    fflush(g.in);
    for (unsigned i = 0; i < full(20, 4); i++) {
        nap_ms(400 + 137 * i % 300);
        kill_backend(SIGKILL);
        start_backend();
    }
    {
        const char *end = hear(&g);

        ck_assert_msg(!strncmp(end, "ok", 2), "%s", end);
    }
    ck_assert_int_gt(counter("writes"), 0);
    wav = samples(played, &bytes);
    ck_assert_uint_eq(bytes, all);
    is_signal(wav, bytes, 5, 0);
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
        { a_file_that_is_full_stops_no_guest_and_is_told, 1 },
        { silence_goes_by_at_its_rate, 1 },
        { a_guest_gets_only_what_was_ordered_for_it, 1 },
        { requests_that_make_no_sense_are_answered_with_an_error, 1 },
        { grants_that_are_none_cost_a_guest_its_samples_only, 1 },
        { a_guest_that_takes_no_event_gets_the_position_later, 1 },
        { a_guest_that_writes_nonsense_into_its_rings_loses_its_card_alone, 1 },
        { requests_of_random_bytes_are_all_answered, 1 },
        { a_guest_that_never_stops_asking_leaves_time_for_others, 1 },
        { nodes_that_make_no_sense_cost_a_guest_its_card, 1 },
        { a_stream_outlives_the_backend_and_no_sample_is_lost, 1 },
    };

    return host_main("vsnd", tests, sizeof(tests) / sizeof(tests[0]), set_up,
                     tear_down, 120, argc, argv);
}
