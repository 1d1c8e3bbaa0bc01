/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The sound device `wav`: what is played is put behind what a WAV file holds,
 * what is recorded comes out of any sound file that libsndfile reads. A stream
 * must have the file's rate and channels, and may have any format of samples;
 * integers come out as they went in, if the file's are as long. An empty file
 * gets the format of the first stream that plays.
 *
 * The file has no clock (FAR_SOUND_WAITS): all that is played is in it, silence
 * where a guest wrote nothing, and nothing that was stopped before its time.
 * One stream plays at a time; any number records.
 */
#include <errno.h>
#include <fcntl.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "devices/sound-user.h"
#include "devices/types.h"

#define PIECE_BYTES (64u << 10) /* of silence, or of a conversion, at once */
#define GAP_S       60u         /* a longer silence is cut to it */
#define LIMIT_MIB   1024u

struct wav {
    struct far_device device;
    struct far_sound_user *users;
    const char *path;
    int fd;
    SNDFILE *file; /* NULL: it is empty */
    SF_INFO info;
    bool writable, loop;
    int format;         /* of its samples, as ours; -1: only to be read */
    uint64_t max_bytes; /* of samples */
    struct far_sound_user *player;
    /* Of the player: the sample at base_bytes is frame `start` of the file;
     * fresh: what comes next goes behind all that is there. */
    uint64_t base_bytes;
    sf_count_t start;
    bool fresh, full;
    uint8_t piece[PIECE_BYTES];
    double values[PIECE_BYTES / sizeof(double)];
};

static struct wav *of(const struct far_device *device)
{
    return (struct wav *)(uintptr_t)device;
}

/* In the file, samples of 24 bits have 3 bytes. */
static const struct kind {
    int subtype, format;
    unsigned bytes;
} kinds[] = {
    { SF_FORMAT_PCM_U8, FAR_SOUND_U8, 1 },
    { SF_FORMAT_PCM_16, FAR_SOUND_S16_LE, 2 },
    { SF_FORMAT_PCM_24, FAR_SOUND_S24_LE, 3 },
    { SF_FORMAT_PCM_32, FAR_SOUND_S32_LE, 4 },
    { SF_FORMAT_FLOAT, FAR_SOUND_FLOAT_LE, 4 },
    { SF_FORMAT_DOUBLE, FAR_SOUND_FLOAT64_LE, 8 },
    { SF_FORMAT_ULAW, FAR_SOUND_MU_LAW, 1 },
    { SF_FORMAT_ALAW, FAR_SOUND_A_LAW, 1 },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct kind *kind_of(int format)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].format == format)
            return &kinds[i];
    return NULL;
}

/* What a file for samples of this format has: the same bits, if there is such a
 * file. */
static const struct kind *kind_for(unsigned format)
{
    const char *name = far_sound_format_name(format);

    if (kind_of((int)format))
        return kind_of((int)format);
    if (strstr(name, "float64"))
        return kind_of(FAR_SOUND_FLOAT64_LE);
    if (strstr(name, "float"))
        return kind_of(FAR_SOUND_FLOAT_LE);
    if (strstr(name, "32"))
        return kind_of(FAR_SOUND_S32_LE);
    return kind_of(strstr(name, "24") ? FAR_SOUND_S24_LE : FAR_SOUND_S16_LE);
}

static void say(struct wav *w)
{
    struct far_sound_caps caps = far_sound_anything;
    char reason[200];

    caps.formats &=
        ~(1u << FAR_SOUND_SUBFRAME_LE | 1u << FAR_SOUND_SUBFRAME_BE);
    caps.flags = FAR_SOUND_WAITS;
    if (w->file) {
        caps.rate_min = caps.rate_max = (uint32_t)w->info.samplerate;
        caps.channels_min = caps.channels_max = (uint8_t)w->info.channels;
    }
    memcpy(w->device.props, &caps, sizeof(caps));
    if (w->full) {
        snprintf(reason, sizeof(reason),
                 "%s: nothing more can be written; what is played is lost",
                 w->path);
        far_device_say(&w->device, FAR_DEVICE_READY, reason);
    } else {
        far_device_say(&w->device, FAR_DEVICE_READY, NULL);
    }
}

/* --- the file ---------------------------------------------------------------
 */

static int judge(struct wav *w, struct far_error *error)
{
    int major = w->info.format & SF_FORMAT_TYPEMASK;
    int endian = w->info.format & SF_FORMAT_ENDMASK;

    if (w->info.channels < 1 ||
        w->info.channels > (int)FAR_SOUND_CHANNELS_MAX ||
        w->info.samplerate < (int)FAR_SOUND_RATE_MIN ||
        w->info.samplerate > (int)FAR_SOUND_RATE_MAX)
        return far_error(error, -EINVAL,
                         "%s: %s has %d channels at %d Hz, which can't be had",
                         w->device.name, w->path, w->info.channels,
                         w->info.samplerate);
    w->format = -1;
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].subtype == (w->info.format & SF_FORMAT_SUBMASK))
            w->format = kinds[i].format;
    if ((major != SF_FORMAT_WAV && major != SF_FORMAT_WAVEX &&
         major != SF_FORMAT_RF64) ||
        endian == SF_ENDIAN_BIG)
        w->format = -1; /* its bytes are laid out otherwise */
    return 0;
}

static SNDFILE *open_sound(struct wav *w)
{
    SNDFILE *file;

    (void)lseek(w->fd, 0, SEEK_SET);
    file = sf_open_fd(w->fd, w->writable ? SFM_RDWR : SFM_READ, &w->info, 0);
    if (file && w->writable) /* whoever reads it meanwhile sees all of it */
        sf_command(file, SFC_SET_UPDATE_HEADER_AUTO, NULL, SF_TRUE);
    return file;
}

/* Only here: a netproxy opens nothing for writing once it serves. */
static int open_file(struct wav *w, struct far_error *error)
{
    w->writable = true;
    w->fd = open(w->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (w->fd < 0) {
        w->writable = false;
        w->fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    }
    if (w->fd < 0)
        return far_error(error, -errno, "%s: %s can't be opened: %s",
                         w->device.name, w->path, strerror(errno));
    if (lseek(w->fd, 0, SEEK_END) == 0 && w->writable)
        return 0; /* the first that plays says what it is */
    w->file = open_sound(w);
    if (!w->file && w->writable) { /* of a kind that can only be read */
        w->writable = false;
        w->info = (SF_INFO){ 0 };
        w->file = open_sound(w);
    }
    if (!w->file)
        return far_error(error, -EINVAL, "%s: %s is no sound file: %s",
                         w->device.name, w->path, sf_strerror(NULL));
    return judge(w, error);
}

static int make_file(struct wav *w, const struct far_sound_params *p)
{
    const struct kind *kind = kind_for(p->format);

    w->info = (SF_INFO){ .samplerate = (int)p->rate,
                         .channels = p->channels,
                         .format = SF_FORMAT_WAV | kind->subtype };
    w->file = open_sound(w);
    if (!w->file)
        return -EIO;
    w->format = kind->format;
    w->info.frames = 0;
    say(w);
    far_sound_users_tell(w->users);
    return 0;
}

static uint32_t file_frame(const struct wav *w)
{
    return kind_of(w->format)->bytes * (uint32_t)w->info.channels;
}

/* Frames as the file has them, at frame `at`, which it has or is its end. */
static int put(struct wav *w, sf_count_t at, const uint8_t *bytes,
               uint32_t frames)
{
    sf_count_t size = file_frame(w);

    if ((uint64_t)(at + frames) * (uint64_t)size > w->max_bytes ||
        sf_seek(w->file, at, SEEK_SET | SFM_WRITE) != at ||
        sf_write_raw(w->file, bytes, frames * size) != frames * size) {
        if (!w->full) {
            w->full = true;
            say(w);
        }
        return -ENOSPC;
    }
    if (w->full) {
        w->full = false;
        say(w);
    }
    if (at + frames > w->info.frames)
        w->info.frames = at + frames;
    return 0;
}

static int fill_gap(struct wav *w, sf_count_t upto)
{
    sf_count_t most = (sf_count_t)GAP_S * w->info.samplerate;
    uint32_t frame = file_frame(w);
    int r = 0;

    if (upto - w->info.frames > most) {
        w->start -= upto - w->info.frames - most;
        upto = w->info.frames + most;
    }
    /* three bytes of silence are zeros too */
    far_sound_silence(w->format == FAR_SOUND_S24_LE ? FAR_SOUND_S8
                                                    : (unsigned)w->format,
                      w->piece, sizeof(w->piece));
    while (!r && w->info.frames < upto) {
        sf_count_t n = (sf_count_t)(sizeof(w->piece) / frame);

        if (n > upto - w->info.frames)
            n = upto - w->info.frames;
        r = put(w, w->info.frames, w->piece, (uint32_t)n);
    }
    return r;
}

/* --- streams ----------------------------------------------------------------
 */

static int wav_begin(struct far_sound_user *user)
{
    struct wav *w = of(user->device);
    int r;

    if (user->params.records)
        return w->file ? 0 : -ENOENT;
    if (w->player && w->player != user)
        return -EBUSY;
    if (!w->writable || (w->file && w->format < 0))
        return -EROFS;
    if (!w->file) {
        r = make_file(w, &user->params);
        if (r)
            return r;
    }
    w->player = user;
    w->base_bytes = user->params.offset_bytes;
    w->start = w->info.frames;
    w->fresh = false;
    return 0;
}

static void anchor(struct wav *w, uint64_t offset_bytes)
{
    if (!w->fresh)
        return;
    w->fresh = false;
    w->base_bytes = offset_bytes;
    w->start = w->info.frames;
}

/* The samples as the file has them, into w->piece; a piece has room for all of
 * one op's. */
static void convert(struct wav *w, const struct far_sound_params *p,
                    const uint8_t *samples, uint32_t count)
{
    uint32_t size = far_sound_sample_bytes(p->format);
    const struct kind *kind = kind_of(w->format);
    uint8_t wide[8];

    for (uint32_t i = 0; i < count; i++) {
        far_sound_encode((unsigned)w->format, wide,
                         far_sound_decode(p->format, samples + i * size));
        memcpy(w->piece + i * kind->bytes, wide, kind->bytes);
    }
}
static_assert(FAR_SOUND_PAYLOAD_MAX * 8 / 2 <= PIECE_BYTES, "");

static int wav_play(struct far_sound_user *user, uint64_t offset_bytes,
                    const uint8_t *samples, uint32_t bytes)
{
    struct wav *w = of(user->device);
    uint32_t frame = far_sound_frame_bytes(&user->params);
    uint32_t most, frames = bytes / frame;
    sf_count_t at;
    int r = 0;

    if (w->player != user)
        return -ESTALE;
    anchor(w, offset_bytes);
    at = w->start + ((int64_t)(offset_bytes - w->base_bytes) / (int64_t)frame);
    if (at > w->info.frames)
        r = fill_gap(w, at);
    at = w->start + ((int64_t)(offset_bytes - w->base_bytes) / (int64_t)frame);
    most = PIECE_BYTES / file_frame(w);
    for (uint32_t n; !r && frames; frames -= n) {
        n = frames < most ? frames : most;
        convert(w, &user->params, samples, n * user->params.channels);
        if (at >= 0)
            r = put(w, at, w->piece, n);
        at += n;
        samples += n * frame;
    }
    /* The guest's stream goes on, whatever becomes of the file. */
    return r == -ENOSPC ? 0 : r;
}

static int wav_record(struct far_sound_user *user, uint64_t offset_bytes,
                      uint8_t *samples, uint32_t bytes)
{
    struct wav *w = of(user->device);
    const struct far_sound_params *p = &user->params;
    uint32_t size = far_sound_sample_bytes(p->format);
    uint32_t frame = far_sound_frame_bytes(p), frames = bytes / frame;
    uint32_t most =
        (uint32_t)(sizeof(w->values) / sizeof(double)) / p->channels;
    sf_count_t at = (sf_count_t)(offset_bytes / frame);

    if (!w->file)
        return -ENOENT;
    while (frames) {
        uint32_t n = frames < most ? frames : most;
        sf_count_t got = 0;

        if (w->loop && w->info.frames)
            at %= w->info.frames;
        if (at < w->info.frames &&
            sf_seek(w->file, at, SEEK_SET | SFM_READ) == at)
            got = sf_readf_double(w->file, w->values, n);
        if (got <= 0) { /* after its end */
            far_sound_silence(p->format, samples, (size_t)frames * frame);
            return 0;
        }
        for (uint32_t i = 0; i < (uint32_t)got * p->channels; i++)
            far_sound_encode(p->format, samples + i * size, w->values[i]);
        at += got;
        frames -= (uint32_t)got;
        samples += (uint32_t)got * frame;
    }
    return 0;
}

/* What was written and not played is cut off. */
static int wav_trigger(struct far_sound_user *user,
                       const struct far_sound_trigger_args *t)
{
    struct wav *w = of(user->device);
    sf_count_t end;

    if (w->player != user)
        return 0;
    if (t->type == FAR_SOUND_START)
        anchor(w, t->offset_bytes);
    if (t->type != FAR_SOUND_STOP || w->fresh)
        return 0;
    end = w->start + (int64_t)(t->offset_bytes - w->base_bytes) /
                         (int64_t)far_sound_frame_bytes(&user->params);
    if (end >= w->start && end < w->info.frames &&
        !sf_command(w->file, SFC_FILE_TRUNCATE, &end, sizeof(end)))
        w->info.frames = end;
    w->fresh = true;
    return 0;
}

static void wav_end(struct far_sound_user *user)
{
    struct wav *w = of(user->device);

    if (w->player == user)
        w->player = NULL;
}

static const struct far_sound_calls wav_calls = {
    .open = wav_begin,
    .play = wav_play,
    .record = wav_record,
    .trigger = wav_trigger,
    .close = wav_end,
};

/* --- the device -------------------------------------------------------------
 */

static void wav_destroy(struct far_device *device)
{
    struct wav *w = of(device);

    if (w->file)
        sf_close(w->file);
    if (w->fd >= 0)
        close(w->fd);
}

static int wav_create(struct far_device *device, struct far_error *error)
{
    struct wav *w = of(device);
    int r;

    w->path = far_conf_string(device->section, "path", "");
    w->loop = far_conf_bool(device->section, "loop", false);
    w->max_bytes = far_conf_number(device->section, "limit", LIMIT_MIB) << 20;
    r = open_file(w, error);
    if (r) {
        wav_destroy(device);
        return r;
    }
    say(w);
    return 0;
}

static int wav_open(struct far_device *device, const struct far_local_who *who,
                    struct far_layer **layer, struct far_error *error)
{
    return far_sound_user_new(device, &of(device)->users, &wav_calls,
                              sizeof(struct far_sound_user), who, layer, error);
}

const struct far_device_type far_type_wav = {
    .name = "wav",
    .class = FAR_CLASS_SOUND,
    .device_bytes = sizeof(struct wav),
    .create = wav_create,
    .destroy = wav_destroy,
    .open = wav_open,
};
