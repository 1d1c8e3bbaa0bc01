/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See port-vsnd-checks.h.
 */
#include "backend/port-vsnd-checks.h"

#include <errno.h>
#include <string.h>
#include "core/conf-keys.h"

const struct far_vsnd_config far_vsnd_anything = {
    .caps = { .formats = FAR_SOUND_FORMATS_KNOWN,
              .rate_min = FAR_SOUND_RATE_MIN,
              .rate_max = FAR_SOUND_RATE_MAX,
              .channels_min = 1,
              .channels_max = FAR_SOUND_CHANNELS_MAX,
              .buffer_min = 1,
              .buffer_max = FAR_SOUND_BUFFER_MAX,
              .period_min = 1,
              .period_max = FAR_SOUND_BUFFER_MAX },
    .buffer_bytes = FAR_SOUND_BUFFER_MAX,
};

/* The next word of a list; false: there is none. Blanks around it are left
 * out. */
static bool next_word(const char **list, char *word, size_t room)
{
    size_t n;

    *list += strspn(*list, ", ");
    n = strcspn(*list, ", ");
    if (!n)
        return false;
    if (n >= room)
        n = room - 1; /* no name is so long: it is none */
    memcpy(word, *list, n);
    word[n] = '\0';
    *list += strcspn(*list, ", ");
    return true;
}

static int narrow_rates(struct far_sound_caps *by, const char *list,
                        struct far_error *error)
{
    char word[XENSND_SAMPLE_FORMAT_MAX_LEN + 2];
    uint64_t rate, least = UINT32_MAX, most = 0;

    while (next_word(&list, word, sizeof(word))) {
        if (!far_uint_parse(&rate, word))
            return far_error(error, -EINVAL,
                             "sample-rates: %s is no number of frames a second",
                             word);
        if (rate < FAR_SOUND_RATE_MIN || rate > FAR_SOUND_RATE_MAX)
            continue;
        if (rate < least)
            least = rate;
        if (rate > most)
            most = rate;
    }
    if (!most)
        return far_error(error, -EINVAL,
                         "sample-rates: no rate from %u to %u is among them",
                         FAR_SOUND_RATE_MIN, FAR_SOUND_RATE_MAX);
    by->rate_min = (uint32_t)least;
    by->rate_max = (uint32_t)most;
    return 0;
}

static int narrow_formats(struct far_sound_caps *by, const char *list,
                          struct far_error *error)
{
    char word[XENSND_SAMPLE_FORMAT_MAX_LEN + 2];

    by->formats = 0;
    while (next_word(&list, word, sizeof(word))) {
        int format = far_sound_format_from_name(word);

        if (format >= 0)
            by->formats |= 1u << format;
    }
    if (!by->formats)
        return far_error(error, -EINVAL,
                         "sample-formats: none that can be had is among them");
    return 0;
}

int far_vsnd_narrow(struct far_vsnd_config *config,
                    const struct far_schema_vsnd_level *level,
                    struct far_error *error)
{
    struct far_sound_caps by = far_vsnd_anything.caps;
    int r = 0;

    if (level->has_sample_rates)
        r = narrow_rates(&by, level->sample_rates, error);
    if (!r && level->has_sample_formats)
        r = narrow_formats(&by, level->sample_formats, error);
    if (r)
        return r;
    if (level->has_channels_min)
        by.channels_min = (uint8_t)level->channels_min;
    if (level->has_channels_max && level->channels_max < by.channels_max)
        by.channels_max = (uint8_t)level->channels_max;
    if (far_sound_narrow(&config->caps, &by))
        return far_error(error, -EINVAL,
                         "its sample-rates, sample-formats and channels leave "
                         "nothing that a stream could be");
    if (level->has_buffer_size && level->buffer_size < config->buffer_bytes)
        config->buffer_bytes = level->buffer_size;
    return 0;
}

int far_vsnd_open(const struct far_vsnd_config *config,
                  const struct xensnd_open_req *request, bool records,
                  struct far_sound_params *params, uint32_t *pages)
{
    *params = (struct far_sound_params){ .rate = request->pcm_rate,
                                         .format = request->pcm_format,
                                         .channels = request->pcm_channels,
                                         .records = records,
                                         .buffer_bytes = request->buffer_sz,
                                         .period_bytes = request->period_sz,
                                         .stream = 1 };
    if (far_sound_params_fault(params) ||
        far_sound_params_unfit(params, &config->caps) ||
        params->buffer_bytes > config->buffer_bytes)
        return -EINVAL;
    *pages = (params->buffer_bytes + 4095) / 4096;
    return 0;
}

static uint32_t least_frame(const struct far_sound_caps *caps)
{
    uint32_t least = UINT32_MAX;

    for (unsigned i = 0; far_sound_sample_bytes(i); i++)
        if (caps->formats & 1u << i && far_sound_sample_bytes(i) < least)
            least = far_sound_sample_bytes(i);
    return least * caps->channels_min;
}

static uint8_t channels_of(uint32_t channels)
{
    return channels > UINT8_MAX ? UINT8_MAX : (uint8_t)channels;
}

int far_vsnd_query(const struct far_vsnd_config *config,
                   const struct xensnd_query_hw_param *request,
                   struct far_sound_caps *caps)
{
    uint32_t most;

    if (request->channels.min > request->channels.max)
        return -EINVAL;
    *caps = (struct far_sound_caps){
        .formats = (uint32_t)request->formats,
        .rate_min = request->rates.min,
        .rate_max = request->rates.max,
        .channels_min = channels_of(request->channels.min),
        .channels_max = channels_of(request->channels.max),
        .buffer_min = request->buffer.min,
        .buffer_max = request->buffer.max,
        .period_min = request->period.min,
        .period_max = request->period.max,
    };
    if (far_sound_narrow(caps, &config->caps))
        return -EINVAL;
    most = config->buffer_bytes / least_frame(caps);
    if (caps->buffer_max > most)
        caps->buffer_max = most;
    return caps->buffer_min <= caps->buffer_max ? 0 : -EINVAL;
}

void far_vsnd_queried(const struct far_sound_caps *caps,
                      struct xensnd_query_hw_param *answer)
{
    answer->formats = caps->formats;
    answer->rates.min = caps->rate_min;
    answer->rates.max = caps->rate_max;
    answer->channels.min = caps->channels_min;
    answer->channels.max = caps->channels_max;
    answer->buffer.min = caps->buffer_min;
    answer->buffer.max = caps->buffer_max;
    answer->period.min = caps->period_min;
    answer->period.max = caps->period_max;
}

int far_vsnd_part(const struct far_sound_state *state,
                  const struct xensnd_rw_req *request)
{
    uint32_t size = state->params.buffer_bytes;

    if (!state->open)
        return -ESTALE;
    if (!request->length || request->length > size ||
        request->offset > size - request->length)
        return -EINVAL;
    return 0;
}

/* The guest writes ahead of the position that it knows, by less than a buffer;
 * mostly where it wrote last. */
uint64_t far_vsnd_written_at(const struct far_sound_state *state,
                             uint32_t offset)
{
    uint32_t size = state->params.buffer_bytes;
    uint64_t at = state->told_bytes - state->told_bytes % size + offset;

    if (state->ready_bytes % size == offset)
        return state->ready_bytes;
    return at < state->told_bytes ? at + size : at;
}

/* It reads what was recorded last. */
uint64_t far_vsnd_read_at(const struct far_sound_state *state, uint32_t offset,
                          uint32_t length)
{
    uint32_t size = state->params.buffer_bytes;
    uint64_t upto = state->ready_bytes;

    if (upto < (uint64_t)offset + length)
        return offset;
    return (upto - offset - length) / size * size + offset;
}

int32_t far_vsnd_status(int status)
{
    switch (status) {
    case 0:
    case -EINVAL:
    case -EOPNOTSUPP:
    case -EIO:
        return status;
    case -ENOSPC: /* outside of what can be written now */
        return -EINVAL;
    default:
        return -EIO;
    }
}
