# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# core: pvh
# Each daemon is killed with -9 and started again: the guest stays connected,
# notices nothing, and gets the next key, from here and from the other host.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 2
config_server
config_client 1
farside 2
farside 1
guest 1 g1 "vkb=[$LAB_REMOTE, \"backend-type=linux,unique-id=typist\"]"
guest_says g1 '^DEV kbd1 ' 10
guest_hears g1 kbd0 20 call_remote
host 1 'until_true 5 connected g1 0; until_true 5 connected g1 1'
host 1 'front g1 0 page-gref; front g1 0 event-channel' >"$LAB_LOGS/before"
# Whoever changes a state is seen, however short it was.
# shellcheck disable=SC2016
host 1 'd=/local/domain/$(xl domid g1)/device/vkbd
    xenstore-watch "$d/0/state" "$d/1/state" >/lab/states &
    until_true 5 grep -q /1/state /lab/states'

unharmed() {
    guest_hears g1 kbd0 30 call_remote
    host 2 "play kbd0 'text $1'"
    guest_typed g1 kbd0 "$(keys_of "$1")" 15
    host 1 "farside send typist text '$1'"
    guest_typed g1 kbd1 "$(keys_of "$1")" 15
    host 1 'connected g1 0 && connected g1 1'
    [ "$(wc -l <"$LAB_LOGS/h1/states")" -eq 2 ] ||
        fail "the guest did not stay connected: after $1 its state was written"
    host 1 'front g1 0 page-gref; front g1 0 event-channel' |
        cmp - "$LAB_LOGS/before" || fail "the guest connected anew after: $1"
    ! guest_log g1 | grep -q '^GONE' || fail "a device left after: $1"
}
unharmed start

# The guest's own view while nobody serves it: connected.
host 1 'slay backend'
# shellcheck disable=SC2016
host 1 '[ "$(front g1 0 state)" = 4 ] && start backend'
unharmed backend
host 1 'slay netproxy && start netproxy'
unharmed client
host 2 'slay netproxy && start netproxy'
unharmed server

# A key that is down when its device's daemon dies does not stay down.
host 2 "play kbd0 'press q'"
guest_says g1 '^EV kbd0 KEY 16 1' 10
host 2 'slay netproxy'
guest_says g1 '^EV kbd0 KEY 16 0' 10
host 2 "play kbd0 'release q'; start netproxy"
unharmed held
guest_lives 1 g1
