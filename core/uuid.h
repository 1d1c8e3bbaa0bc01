/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Sixteen bytes: uuids of guests as text and back, and random bytes for
 * generations, incarnations and epochs.
 */
#ifndef FARSIDE_CORE_UUID_H
#define FARSIDE_CORE_UUID_H

#include <stddef.h>
#include <stdint.h>

#define FAR_UUID_TEXT_BYTES 37 /* with the final zero */

/* "01234567-89ab-cdef-0123-456789abcdef", either case, or the 32 digits
 * without hyphens; nothing before or behind. 0 or -EINVAL. */
int far_uuid_parse(uint8_t uuid[16], const char *text);
/* Lower case, with hyphens. Returns out. */
char *far_uuid_format(char out[FAR_UUID_TEXT_BYTES], const uint8_t uuid[16]);

/* From the kernel's pool, fit for keys; waits for the pool only at boot. 0 or
 * a negative errno. */
int far_random_bytes(void *out, size_t bytes);
/* Never 0. If the kernel refuses (it doesn't), the process aborts. */
uint64_t far_random_u64(void);

#endif
