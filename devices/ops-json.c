/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Who in a chain answered how many ops of which kind, for status.
 */
#include <jansson.h>
#include "devices/device.h"

struct json_t *far_layer_ops_json(const struct far_layer *top,
                                  enum far_class class)
{
    json_t *all = json_object();

    for (unsigned nth = 0; nth < FAR_LAYER_OPS; nth++) {
        json_t *one = NULL;
        char name[32];

        for (const struct far_layer *l = top; l; l = l->below) {
            uint64_t answered = l->counters.ops[nth].answered;

            if (!answered)
                continue;
            if (!one)
                one = json_object();
            json_object_set_new(one, l->ops->name,
                                json_integer((json_int_t)answered));
        }
        if (one)
            json_object_set_new(
                all,
                nth == FAR_LAYER_OPS - 1
                    ? "others"
                    : far_op_name(FAR_OPCODE((unsigned)class, nth), name,
                                  sizeof(name)),
                one);
    }
    return all;
}
