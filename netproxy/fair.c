/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Deficit round robin (netproxy/fair.h).
 */
#include "netproxy/fair.h"

void far_fair_add(struct far_fair *f, struct far_fair_item *item)
{
    if (item->next)
        return;
    item->deficit = 0;
    if (!f->first) {
        item->next = item->prev = item;
        f->first = item;
        return;
    }
    /* Behind all others: its turn comes when they have had theirs. */
    item->next = f->first;
    item->prev = f->first->prev;
    item->prev->next = item->next->prev = item;
}

void far_fair_remove(struct far_fair *f, struct far_fair_item *item)
{
    if (!item->next)
        return;
    if (f->first == item)
        f->first = item->next == item ? NULL : item->next;
    item->next->prev = item->prev;
    item->prev->next = item->next;
    item->next = item->prev = NULL;
}

/* What an item has sent is taken off afterwards: a turn may go over by one
 * piece, which the next one pays for. */
bool far_fair_run(struct far_fair *f)
{
    while (f->first) {
        struct far_fair_item *item = f->first;
        int64_t n;

        if (item->deficit <= 0) {
            item->deficit += FAR_FAIR_QUANTUM;
            if (item->deficit <= 0) { /* still in debt */
                f->first = item->next;
                continue;
            }
        }
        n = item->send(item);
        if (n < 0)
            return true;
        if (!n) {
            far_fair_remove(f, item);
            continue;
        }
        item->deficit -= n < FAR_FAIR_LEAST ? FAR_FAIR_LEAST : n;
        if (item->deficit <= 0)
            f->first = item->next;
    }
    return false;
}
