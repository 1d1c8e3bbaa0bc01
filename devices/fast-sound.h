/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fast sound device: goes between a sound port and whatever is behind. It
 * answers every op at once, tells the position by an exact clock, and applies
 * volume; what is played goes to the device behind as soon as it is there, what
 * is recorded is fetched from it. While that is away there is silence, and the
 * stream goes on; when it is back, it goes on from where the stream has got to.
 */
#ifndef FARSIDE_DEVICES_FAST_SOUND_H
#define FARSIDE_DEVICES_FAST_SOUND_H

#include "core/sound.h"
#include "devices/device.h"

/* What a successor goes on from. The fast device works in it, the memory is its
 * user's (in the journal). Zeroed: no stream. */
struct far_sound_state {
    uint32_t damaged; /* it is being changed */
    uint32_t open, running;
    uint32_t streams; /* opened so far */
    struct far_sound_params params;
    /* The clock: base_bytes was the position at base_ns. */
    uint64_t base_ns, base_bytes;
    uint64_t told_bytes;  /* the position that the guest knows */
    uint64_t ready_bytes; /* playing: written by the guest up to here;
                             recording: there for it up to here */
    uint64_t taken_bytes; /* playing: the device has it up to here */
    int32_t volume[FAR_SOUND_CHANNELS_MAX]; /* in 0.001 dB */
    uint32_t muted;                         /* a bit for each channel */
};

/* How long playing into a device without a clock (FAR_SOUND_WAITS) waits for a
 * guest that is late. */
#define FAR_SOUND_WAIT_NS 2000000000u
/* Between two positions, however short a period is. */
#define FAR_SOUND_TELL_NS 1000000u

/* attachment: of the device behind. NULL: memory is out. */
struct far_layer *far_fast_sound_new(struct far_loop *loop, uint64_t attachment,
                                     struct far_sound_state *state);
/* So many bytes have been played or recorded by now; 0: no stream is open. */
uint64_t far_fast_sound_position(struct far_layer *fast);
/* Why there is silence, or NULL. */
const char *far_fast_sound_reason(const struct far_layer *fast);

struct far_fast_sound_counters {
    uint64_t played_bytes, recorded_bytes; /* given to the device, had from it
                                            */
    uint64_t positions, underruns, late_bytes, silent_bytes, refused, waits;
};
const struct far_fast_sound_counters *
far_fast_sound_counters(const struct far_layer *fast);

#endif
