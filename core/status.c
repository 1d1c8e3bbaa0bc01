/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counters and histograms as JSON.
 */
#include "core/status.h"

json_t *far_hist_json(const struct far_hist *hist)
{
    json_t *json =
        json_pack("{sI sI sI sI sI}", "count", (json_int_t)hist->count,
                  "sum_ns", (json_int_t)hist->sum_ns, "p50_ns",
                  (json_int_t)far_hist_quantile_ns(hist, 0.5), "p99_ns",
                  (json_int_t)far_hist_quantile_ns(hist, 0.99), "max_ns",
                  (json_int_t)hist->max_ns);
    json_t *below = hist->count ? json_array() : NULL;

    for (unsigned i = 0; below && i < FAR_HIST_STEPS; i++)
        json_array_append_new(
            below, json_integer((json_int_t)far_hist_below(hist, i)));
    if (below)
        json_object_set_new(json, "below", below);
    return json;
}

void far_count_json(json_t *to, const char *name, uint64_t value)
{
    json_object_set_new(to, name, json_integer((json_int_t)value));
}

void far_stages_json(json_t *to, const struct far_stages *stages)
{
    for (unsigned i = 0; stages && i < FAR_STAGES; i++)
        if (stages->hists[i])
            json_object_set_new(to, far_stage_name((enum far_stage)i),
                                far_hist_json(stages->hists[i]));
}

json_t *far_loop_json(const struct far_loop *loop)
{
    const struct far_loop_stats *s = far_loop_stats(loop);

    return json_pack("{sI sI sI sI sI}", "turns", (json_int_t)s->turns,
                     "sleeps", (json_int_t)s->sleeps, "spins",
                     (json_int_t)s->spins, "fruitless_spins",
                     (json_int_t)s->fruitless_spins, "longest_turn_us",
                     (json_int_t)s->longest_turn_us);
}
