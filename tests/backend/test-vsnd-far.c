/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sound of another machine, on the simulator: a guest, its backend, a netproxy
 * at each end, and a WAV file at the far one. What is played is there, also
 * when what lies between is killed; when it stops, the guest's stream goes on,
 * and comes back in step.
 */
#include "tests/backend/card.h"
#include "tests/backend/farhost.h"

static char played[200]; /* at the far machine */

static void set_up(void)
{
    fresh_two_hosts();
    snprintf(played, sizeof(played), "%s/wav0.wav", far_dir);
    put(far_dir, "farside.conf",
        "[platform]\nname = borealis\n"
        "[listen]\naddress = 127.0.0.1:%u\nclear-text = on\n"
        "clear-address = 127.0.0.1:%u\nclear-text-allow = atlas\n"
        "[device wav0]\ntype = wav\npath = %s\n"
        "[export wav0]\nallow = atlas\n",
        port + 20000, port, played);
    put(host, "farside.conf",
        "[platform]\nname = atlas\n"
        "[server borealis]\naddress = 127.0.0.1:%u\nclear-text = on\n",
        port);
    far_proxy = start_far();
    near_proxy = start_netproxy();
    start_backend();
}

static void tear_down(void)
{
    if (backend)
        kill_backend(SIGTERM);
    end_with(&near_proxy, SIGKILL);
    if (far_proxy > 0)
        kill(far_proxy, SIGCONT);
    end_with(&far_proxy, SIGKILL);
}

/* Until the device answers: what is played before is silence. */
static struct guest ready_guest(const char *streams)
{
    struct guest g = guest("g", streams);
    uint64_t until = far_now_us() + 20000000;
    bool waits = true;

    while (waits) {
        json_t *one = card();

        waits = !json_is_null(json_object_get(one, "reason"));
        ck_assert_msg(far_now_us() < until, "%s",
                      json_string_value(json_object_get(one, "reason")));
        json_decref(one);
        nap_ms(20);
    }
    ck_assert_str_eq(say(&g, "prepare 0 " STEREO), "ok 0");
    return g;
}

static void begin_playing(struct guest *g, size_t bytes, unsigned seed)
{
    fprintf(g->in, "play 0 %zu %u\n", bytes, seed);
    fflush(g->in);
}

static void played_to_its_end(struct guest *g)
{
    const char *end = hear(g);

    ck_assert_msg(!strncmp(end, "ok", 2), "%s", end);
}

START_TEST(what_a_guest_plays_and_records_is_another_machines)
{
    static uint8_t bytes[2 * 48000 * FRAME];
    size_t all = sizeof(bytes), got;
    char path[200];
    struct guest g;
    uint8_t *wav;
    FILE *f;

    g = ready_guest(PLAY("borealis/wav0") RECORD("borealis/wav0"));
    OK(&g, "play 0 %zu 1", all);
    wav = samples(played, &got);
    ck_assert_uint_eq(got, all);
    is_signal(wav, got, 1, 0);
    free(wav);
    ck_assert_str_eq(say(&g, "prepare 1 " STEREO), "ok 0");
    snprintf(path, sizeof(path), "%s/recorded", host);
    OK(&g, "record 1 %zu %s", all, path);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    got = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    ck_assert_uint_eq(got, all);
    is_signal(bytes, got, 1, 0);
    ck_assert_int_eq(counter("refused"), 0);
    destroy(&g);
}
END_TEST

/* The netproxy here is nobody's loss: all that it carried is given again. */
START_TEST(a_netproxy_that_is_killed_here_costs_no_sample)
{
    size_t got, all = 6 * 48000 * FRAME;
    struct guest g;
    uint8_t *wav;

    g = ready_guest(PLAY("borealis/wav0"));
    begin_playing(&g, all, 2);
    for (unsigned i = 0; i < 3; i++) {
        nap_ms(900);
        end_with(&near_proxy, SIGKILL);
        near_proxy = start_netproxy();
    }
    played_to_its_end(&g);
    wav = samples(played, &got);
    ck_assert_uint_eq(got, all);
    is_signal(wav, got, 2, 0);
    free(wav);
    destroy(&g);
}
END_TEST

/* It stops for seconds: the guest's stream goes on, and what comes after is
 * where it belongs; what was lost is silence. */
START_TEST(a_far_machine_that_stops_is_silence_and_comes_back_in_step)
{
    size_t got, all = 8 * 48000 * FRAME, right = 0, wrong = 0;
    struct guest g;
    uint8_t *wav;

    g = ready_guest(PLAY("borealis/wav0"));
    begin_playing(&g, all, 3);
    nap_ms(1500);
    kill(far_proxy, SIGSTOP);
    nap_ms(4000);
    kill(far_proxy, SIGCONT);
    played_to_its_end(&g);
    nap_ms(500);
    wav = samples(played, &got);
    ck_assert_uint_le(got, all);
    for (size_t i = 0; i < got; i++) {
        right += wav[i] == sound_byte(3, i);
        wrong += wav[i] != sound_byte(3, i) && wav[i];
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_gt(right, all / 4);
    /* also from the time after it had come back */
    right = 0;
    for (size_t i = got - FRAME * 1000; i < got; i++)
        right += wav[i] == sound_byte(3, i);
    ck_assert_uint_eq(right, FRAME * 1000);
    free(wav);
    destroy(&g);
}
END_TEST

START_TEST(a_far_machine_whose_netproxy_is_killed_plays_on)
{
    size_t got, all = 6 * 48000 * FRAME, right = 0;
    struct guest g;
    uint8_t *wav;

    g = ready_guest(PLAY("borealis/wav0"));
    begin_playing(&g, all, 4);
    for (unsigned i = 0; i < 2; i++) {
        nap_ms(1200);
        end_with(&far_proxy, SIGKILL);
        far_proxy = start_far();
    }
    played_to_its_end(&g);
    wav = samples(played, &got);
    /* what came after is the signal's end, wherever it begins */
    ck_assert_uint_gt(got, all / 2);
    for (size_t i = 1; i <= FRAME * 1000; i++)
        right += wav[got - i] == sound_byte(4, all - i);
    ck_assert_uint_eq(right, FRAME * 1000);
    free(wav);
    destroy(&g);
}
END_TEST

int main(int argc, char **argv)
{
    const struct host_test tests[] = {
        { what_a_guest_plays_and_records_is_another_machines, 1 },
        { a_netproxy_that_is_killed_here_costs_no_sample, 1 },
        { a_far_machine_that_stops_is_silence_and_comes_back_in_step, 1 },
        { a_far_machine_whose_netproxy_is_killed_plays_on, 1 },
    };

    return host_main("vsnd-far", tests, sizeof(tests) / sizeof(tests[0]),
                     set_up, tear_down, 120, argc, argv);
}
