/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pure half of the vsnd port: what a stream's nodes allow, what a guest's
 * request (xen/io/sndif.h) says, and where in the stream its buffer's bytes
 * lie. Works on private copies only.
 */
#ifndef FARSIDE_BACKEND_PORT_VSND_CHECKS_H
#define FARSIDE_BACKEND_PORT_VSND_CHECKS_H

#include <stdint.h>
#include <xen/io/sndif.h>
#include "core/error.h"
#include "devices/fast-sound.h"
#include "xenstore-schema/schema.h"

#define FAR_VSND_BUFFER_PAGES (FAR_SOUND_BUFFER_MAX / 4096u)
/* All grants of a buffer are in the directory's first page. */
static_assert(FAR_VSND_BUFFER_PAGES <= 1023, "");

/* What a card's, device's or stream's nodes allow. */
struct far_vsnd_config {
    struct far_sound_caps caps;
    uint32_t buffer_bytes;
};
extern const struct far_vsnd_config far_vsnd_anything;
/* Narrows config by one level's nodes. -EINVAL with error. */
int far_vsnd_narrow(struct far_vsnd_config *config,
                    const struct far_schema_vsnd_level *level,
                    struct far_error *error);

/* OPEN: the parameters, and how many pages the buffer has. 0 or -EINVAL. */
int far_vsnd_open(const struct far_vsnd_config *config,
                  const struct xensnd_open_req *request, bool records,
                  struct far_sound_params *params, uint32_t *pages);
/* HW_PARAM_QUERY, and its answer; 0 or -EINVAL. */
int far_vsnd_query(const struct far_vsnd_config *config,
                   const struct xensnd_query_hw_param *request,
                   struct far_sound_caps *caps);
void far_vsnd_queried(const struct far_sound_caps *caps,
                      struct xensnd_query_hw_param *answer);
/* Does this part of the buffer exist? 0, -ESTALE (none is open), -EINVAL. */
int far_vsnd_part(const struct far_sound_state *state,
                  const struct xensnd_rw_req *request);
/* Where in the stream the buffer's byte `offset` lies, for so many bytes to be
 * written or read from there. */
uint64_t far_vsnd_written_at(const struct far_sound_state *state,
                             uint32_t offset);
uint64_t far_vsnd_read_at(const struct far_sound_state *state, uint32_t offset,
                          uint32_t length);
/* sndif's status for ours. */
int32_t far_vsnd_status(int status);

#endif
