/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See vnc-keys.h.
 */
#include "devices/vnc-keys.h"

#include <linux/input-event-codes.h>
#include <rfb/keysym.h>
#include <stdbool.h>
#include <stddef.h>
#include "devices/words.h"

static const struct {
    uint16_t keysym, code;
} keys[] = {
    { XK_BackSpace, KEY_BACKSPACE },
    { XK_Tab, KEY_TAB },
    { XK_ISO_Left_Tab, KEY_TAB },
    { XK_Linefeed, KEY_LINEFEED },
    { XK_Return, KEY_ENTER },
    { XK_Pause, KEY_PAUSE },
    { XK_Break, KEY_PAUSE },
    { XK_Scroll_Lock, KEY_SCROLLLOCK },
    { XK_Sys_Req, KEY_SYSRQ },
    { XK_Print, KEY_SYSRQ },
    { XK_Escape, KEY_ESC },
    { XK_Delete, KEY_DELETE },
    { XK_Home, KEY_HOME },
    { XK_Left, KEY_LEFT },
    { XK_Up, KEY_UP },
    { XK_Right, KEY_RIGHT },
    { XK_Down, KEY_DOWN },
    { XK_Page_Up, KEY_PAGEUP },
    { XK_Page_Down, KEY_PAGEDOWN },
    { XK_End, KEY_END },
    { XK_Insert, KEY_INSERT },
    { XK_Menu, KEY_COMPOSE },
    { XK_Num_Lock, KEY_NUMLOCK },
    { XK_KP_Enter, KEY_KPENTER },
    { XK_KP_Home, KEY_KP7 },
    { XK_KP_Left, KEY_KP4 },
    { XK_KP_Up, KEY_KP8 },
    { XK_KP_Right, KEY_KP6 },
    { XK_KP_Down, KEY_KP2 },
    { XK_KP_Page_Up, KEY_KP9 },
    { XK_KP_Page_Down, KEY_KP3 },
    { XK_KP_End, KEY_KP1 },
    { XK_KP_Begin, KEY_KP5 },
    { XK_KP_Insert, KEY_KP0 },
    { XK_KP_Delete, KEY_KPDOT },
    { XK_KP_Equal, KEY_KPEQUAL },
    { XK_KP_Multiply, KEY_KPASTERISK },
    { XK_KP_Add, KEY_KPPLUS },
    { XK_KP_Separator, KEY_KPCOMMA },
    { XK_KP_Subtract, KEY_KPMINUS },
    { XK_KP_Decimal, KEY_KPDOT },
    { XK_KP_Divide, KEY_KPSLASH },
    { XK_KP_0, KEY_KP0 },
    { XK_KP_1, KEY_KP1 },
    { XK_KP_2, KEY_KP2 },
    { XK_KP_3, KEY_KP3 },
    { XK_KP_4, KEY_KP4 },
    { XK_KP_5, KEY_KP5 },
    { XK_KP_6, KEY_KP6 },
    { XK_KP_7, KEY_KP7 },
    { XK_KP_8, KEY_KP8 },
    { XK_KP_9, KEY_KP9 },
    { XK_F11, KEY_F11 },
    { XK_F12, KEY_F12 },
    { XK_Shift_L, KEY_LEFTSHIFT },
    { XK_Shift_R, KEY_RIGHTSHIFT },
    { XK_Control_L, KEY_LEFTCTRL },
    { XK_Control_R, KEY_RIGHTCTRL },
    { XK_Caps_Lock, KEY_CAPSLOCK },
    { XK_Meta_L, KEY_LEFTMETA },
    { XK_Meta_R, KEY_RIGHTMETA },
    { XK_Alt_L, KEY_LEFTALT },
    { XK_Alt_R, KEY_RIGHTALT },
    { XK_ISO_Level3_Shift, KEY_RIGHTALT },
    { XK_Super_L, KEY_LEFTMETA },
    { XK_Super_R, KEY_RIGHTMETA },
};

int far_vnc_key(uint32_t keysym)
{
    bool shift;

    if (keysym < 0x80)
        return far_key_of_char((char)keysym, &shift);
    if (keysym >= XK_F1 && keysym <= XK_F10)
        return KEY_F1 + (int)(keysym - XK_F1);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (keys[i].keysym == keysym)
            return keys[i].code;
    return -1;
}
