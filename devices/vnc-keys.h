/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a viewer's key is on a keyboard: X's keysyms, as RFB has them, to
 * Linux's codes on a US keyboard. Pure.
 */
#ifndef FARSIDE_DEVICES_VNC_KEYS_H
#define FARSIDE_DEVICES_VNC_KEYS_H

#include <stdint.h>

/* -1: it is on no such key. Shift is not pressed for it: viewers send that as a
 * key of its own. */
int far_vnc_key(uint32_t keysym);

#endif
