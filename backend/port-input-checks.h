/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the input port decides, as pure functions: what may be offered to a
 * guest, what a front's nodes mean, and what an event becomes on kbdif's ring.
 * Reads no node and touches no page; port-input.c does.
 *
 * What is safe to send (from Linux' xen-kbdfront as of 4.18 to now)
 * ------------------------------------------------------------------
 * The front reads BE's nodes when it probes, in this order: disable-keyboard,
 * disable-pointer, multi-touch, abs-pointer (only if it makes a pointer), and
 * writes request-abs-pointer = 1 if it made an absolute pointer. It never
 * looks at disable-* again. For each KEY event it tests the pointer's key map
 * first, then the keyboard's, and takes neither for NULL:
 *
 *   pointer not made     any KEY event is an oops: the pointer's map is read
 *   keyboard not made    BTN_LEFT … BTN_TASK are found in the pointer's map,
 *                        any other KEY event is an oops
 *   MOTION, POS, MTOUCH  are dropped where their device was not made
 *   keycode > KEY_MAX    a read behind the map, however far: may be an oops
 *   keycode in no map    a line in the guest's log each: 0, 240 to 351 but for
 *                        BTN_LEFT … BTN_TASK, and KEY_MAX itself
 *   contacts             num-contacts is a size that is allocated: a wild one
 *                        is a warning with a trace; a contact id beyond it goes
 *                        to the contact that came before
 *
 * Fronts before 4.18 know no disable-* and make both. So:
 *
 *   feature-disable-keyboard = 1 needs no proof: it is left as it is, and only
 *   buttons, motion and touch are sent, which is also what was asked for.
 *
 *   feature-disable-pointer = 1 (the keyboard is wanted): the pointer must
 *   exist although nobody wants it. In one transaction, while our state is
 *   still 1, the node is removed, feature-abs-pointer = 1 and a mark of ours
 *   (farside-shield = pointer) are written. Whatever the guest reads between,
 *   before or after: if it read disable-pointer = 1, it makes no pointer and
 *   never comes to write request-abs-pointer; if it read it removed, it makes
 *   one, reads feature-abs-pointer = 1 (written in the same instant) and
 *   requests it. So request-abs-pointer = 1 in a front's directory, which is
 *   new with each domain and each hot attach, proves that the pointer exists,
 *   and its absence is no proof of anything: then nothing is sent at all, and
 *   the device is refused with this reason. That refuses the guest that was
 *   running when the device was attached, unless it probed late enough; and the
 *   guest that was restored, whose front probed in another life. The mark makes
 *   a successor of this backend ask for the same proof. A guest that writes
 *   the request by hand can harm only itself. No question to the hypervisor
 *   (was the domain paused?) could say as much: a paused domain may be a
 *   restored one.
 *
 *   both disabled: only touch is left; without multi-touch there is nothing to
 *   serve, and it is refused.
 */
#ifndef FARSIDE_BACKEND_PORT_INPUT_CHECKS_H
#define FARSIDE_BACKEND_PORT_INPUT_CHECKS_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/io/kbdif.h>
#include "core/error.h"
#include "core/input.h"

/* Linux' own default size (XENFB_WIDTH, XENFB_HEIGHT): what its front assumes
 * if it probed before we wrote ours. */
#define FAR_KBD_WIDTH_DEFAULT  800u
#define FAR_KBD_HEIGHT_DEFAULT 600u
#define FAR_KBD_RAW_MAX        0x7fffu

/* BE's nodes, as the toolstack wrote them; absent ones are 0. */
struct far_kbd_offer {
    bool disable_keyboard, disable_pointer;
    bool abs, raw, touch;
    bool shielded; /* farside-shield: we removed disable-pointer */
    uint32_t width, height;
    uint32_t touch_width, touch_height, touch_contacts;
};

/* What publishing has to change in BE before state 2. */
struct far_kbd_publish {
    bool remove_disable_pointer; /* and write the mark */
    bool write_abs, write_size, write_touch_size, write_contacts;
};

/* May this be offered, and what must change? *offer is brought to what BE will
 * say. 0, or -EOPNOTSUPP with the reason. */
int far_kbd_check_offer(struct far_kbd_offer *offer,
                        struct far_kbd_publish *publish,
                        struct far_error *error);

/* FE's nodes. What a guest can write, read once. */
struct far_kbd_request {
    int8_t abs, raw, touch, poll; /* -1: not there or no number */
    int64_t gref, port;           /* -1: not there; -2: nonsense */
};

/* What was agreed; kept in the journal (so: no pointers, fixed size). */
struct far_kbd_mode {
    uint8_t abs, raw, touch, poll;
    uint8_t keys, buttons, pointer; /* what may be sent */
    uint8_t reserved;
    uint32_t width, height; /* of positions: 0 … width - 1 */
    uint32_t touch_width, touch_height, touch_contacts;
    uint32_t gref, port;
};

/* 0, -EINVAL (the front's nodes are nonsense) or -EOPNOTSUPP (the proof is
 * missing), with the reason for a person. */
int far_kbd_check_front(const struct far_kbd_offer *offer,
                        const struct far_kbd_request *request,
                        struct far_kbd_mode *mode, struct far_error *error);

/* What is tracked between events; kept in the journal. */
struct far_kbd_track {
    int32_t x, y; /* where an absolute pointer was put, in its units */
    int32_t from_x,
        from_y; /* the last POS of the device, for relative fronts */
    uint8_t from_known;
    uint8_t frame;     /* a touch was sent without its SYN yet */
    uint16_t contacts; /* bit n: contact n is down */
};
void far_kbd_track_init(struct far_kbd_track *track,
                        const struct far_kbd_mode *mode);

enum far_kbd_verdict {
    FAR_KBD_SEND,       /* *out is filled */
    FAR_KBD_NOTHING,    /* nothing to send, and nothing lost */
    FAR_KBD_NOT_VALID,  /* no event at all: dropped */
    FAR_KBD_NOT_TAKEN,  /* this front can't take it: dropped */
    FAR_KBD_NOT_WANTED, /* disabled in the guest's configuration: dropped */
};

/* One event to at most one entry. *track changes only with FAR_KBD_SEND and
 * FAR_KBD_NOTHING, so that an event that finds no room can come again if the
 * caller asked for room first. */
enum far_kbd_verdict far_kbd_translate(const struct far_kbd_mode *mode,
                                       struct far_kbd_track *track,
                                       const struct far_input_event *event,
                                       union xenkbd_in_event *out);

/* Can a stock front take this key? And which of its devices has it? */
bool far_kbd_key_is_button(uint16_t code);
bool far_kbd_key_is_known(uint16_t code);

#endif
