/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any bytes as a message of the local device protocol: what far_local_valid()
 * lets through must be safe to read as its type. And any bytes as the indexes
 * of a ring: it breaks, or stays within itself.
 */
#include "core/local.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_string(const char *text)
{
    if (strlen(text) >= FAR_LOCAL_BYTES_MAX)
        abort();
}

static void messages(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1); /* its end is guarded */
    uint32_t type;

    memcpy(copy, data, bytes);
    if (far_local_valid(copy, bytes)) {
        memcpy(&type, copy, sizeof(type));
        if (type == FAR_LOCAL_HELLO) {
            read_string(((struct far_local_hello *)(void *)copy)->platform);
        } else if (type == FAR_LOCAL_PREPARE) {
            struct far_local_prepare *m = (void *)copy;

            read_string(m->who.guest_name);
            if (!far_name_valid(m->who.device) || m->who.attachment == 0)
                abort();
        } else if (type == FAR_LOCAL_PREPARED) {
            read_string(((struct far_local_prepared *)(void *)copy)->reason);
        } else if (type == FAR_LOCAL_ACTIVATED) {
            read_string(((struct far_local_activated *)(void *)copy)->reason);
        } else if (type == FAR_LOCAL_STATE) {
            read_string(((struct far_local_state *)(void *)copy)->reason);
        } else if (type == FAR_LOCAL_FEED) {
            struct far_local_feed *m = (void *)copy;
            unsigned valid = 0;

            read_string(m->device);
            for (uint32_t i = 0; i < m->count; i++)
                valid += far_input_event_valid(&m->events[i]);
            if (valid > m->count)
                abort();
        }
    }
    free(copy);
}

#define ENTRIES 4u

/* Each byte is a step: of ours, or of a peer that writes what it likes. */
static void ring(const uint8_t *data, size_t bytes)
{
    size_t size = far_shring_bytes(ENTRIES);
    struct far_shring_page *page = aligned_alloc(64, size);
    struct far_shring producer, consumer;
    struct far_op op = { .attachment = 1 };

    memset(page, 0, size);
    if (far_shring_init(&producer, page, ENTRIES) < 0 ||
        far_shring_init(&consumer, page, ENTRIES) < 0)
        abort();
    for (size_t i = 0; i < bytes; i++) {
        uint32_t value = data[i] >> 3;

        switch (data[i] & 7) {
        case 0:
            far_shring_put(&producer, &op);
            break;
        case 1:
            far_shring_get(&consumer, &op);
            break;
        case 2:
            far_shring_wake_needed(&producer);
            break;
        case 3:
            if (!far_shring_arm(&consumer) && consumer.broken)
                abort();
            break;
        case 4:
            far_shring_room_wake_needed(&consumer);
            break;
        case 5:
            atomic_store(&page->produced, value - 8);
            break;
        case 6:
            atomic_store(&page->consumed, value - 8);
            break;
        default:
            if (far_shring_room(&producer) > ENTRIES)
                abort();
        }
        if (producer.mine - producer.theirs > ENTRIES ||
            consumer.theirs - consumer.mine > ENTRIES)
            abort();
    }
    free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    messages(data, bytes);
    ring(data, bytes);
    return 0;
}
