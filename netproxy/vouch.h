/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * When a relay stands between: the owner asks the guest's platform itself to
 * stand behind the request (a challenge, in PREPARED), and that does (a
 * signature, in the next PREPARE). What is signed, and how, is
 * netproxy/credential.h's; with which keys, netproxy/trust.h's. Pure but for
 * the clock.
 */
#ifndef FARSIDE_NETPROXY_VOUCH_H
#define FARSIDE_NETPROXY_VOUCH_H

#include "core/conf.h"
#include "netproxy/trust.h"
#include "netproxy/wire.h"

/* In a row, for one attachment, that were not accepted; then a person must look
 * at the keys. */
#define FAR_VOUCH_TRIES    3
#define FAR_VOUCH_PAUSE_US 5000000 /* then one try in so long */

/* Does this platform want the origin's signature of what that relay carries?
 * ([relay NAME] signed; it does if nothing is said) */
bool far_vouch_wanted(const struct far_conf *conf, const char *relay);

/* The owner's: is the PREPARE, as we read it in *who, signed by that origin?
 * 0, or -EKEYREJECTED or -ESTALE with error, and *challenge is what is to be
 * signed. */
int far_vouch_check(struct far_nonces *nonces, const struct far_trust *trust,
                    const struct far_keys *clients, const char *me,
                    const char *relay, const char *origin,
                    const struct far_local_who *who,
                    const struct far_wire_frame *prepare,
                    struct far_challenge *challenge, struct far_error *error);

/* The origin's: may a request for `asked` of that relay end at that device of
 * that owner? What [server RELAY] names (may-reach), or, if it names nothing,
 * a device of the same name: a relay that lies gets no signature for another.
 * 0, or -EACCES with error. */
int far_vouch_may(const struct far_conf_section *server, const char *asked,
                  const char *owner, const char *device,
                  struct far_error *error);
/* The origin's: signs what a PREPARED of status -EKEYREJECTED asks for. Length
 * of the option's value in out, or a negative errno with error: there is no
 * challenge in it, it is for something that `server` (the relay's section, or
 * NULL) does not name, or we share no key with that owner. */
int far_vouch_sign(const struct far_trust *trust, const char *me,
                   const struct far_conf_section *server,
                   const struct far_local_who *who,
                   const struct far_wire_frame *prepared, uint8_t *out,
                   size_t room, struct far_error *error);

#endif
