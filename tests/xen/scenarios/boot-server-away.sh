# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pv pvh
# limit: 400
# A guest boots without delay while the server of its keyboard is off, and has
# the keyboard once that is on; and again when the whole host has been away.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 2
config_server
config_client 1
host 2 install_farside
farside 1

# How long does one take that waits for nobody? Twice: the first warms up.
boot_ms() {
    local before=${EPOCHREALTIME/[.,]/}
    guest 1 "$1" "$2" >&2
    guest_says "$1" '^DEV kbd0 ' 30 >&2
    echo $(((${EPOCHREALTIME/[.,]/} - before) / 1000))
}
own='vkb=["backend-type=linux,unique-id=typist"]'
boot_ms g0 "$own" >/dev/null
host 1 'xl destroy g0' 30
local_ms=$(boot_ms g0 "$own")
host 1 'xl destroy g0' 30
away_ms=$(boot_ms g1 "vkb=[$LAB_REMOTE]")
step "boots: $local_ms ms with its own keyboard, $away_ms ms with one away"
[ "$away_ms" -lt $((2 * local_ms + 5000)) ] ||
    fail "the guest took $away_ms ms, $local_ms without a remote keyboard"
host 1 'until_true 10 connected g1 0'
host 1 'farside status | grep "connection refused"'

host 2 'start netproxy && start backend'
guest_hears g1 kbd0 30 call_remote
host 2 "play kbd0 'text here at last'"
guest_typed g1 kbd0 "$(keys_of 'here at last')" 15
guest_lives 1 g1
