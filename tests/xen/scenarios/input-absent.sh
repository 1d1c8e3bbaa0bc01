# SPDX-License-Identifier: GPL-2.0-or-later
# kinds: pvh
# The server is not there when the guest is made: the guest boots without
# delay, status says why no key comes, and keys come once the server is up.
# shellcheck source=tests/xen/lib/two.sh
. "$LAB_HERE/lib/two.sh"
boot_hosts 2
config_server
config_client 1
farside 1
guest 1 g1 "vkb=[$LAB_REMOTE]"
guest_says g1 '^DEV kbd0 ' 10
guest_never g1 'Waiting for devices to initialise'
host 1 'farside status' >"$LAB_LOGS/status"
grep -q 'borealis' "$LAB_LOGS/status" ||
    fail 'farside status does not name the server that is away'
farside 2
guest_hears g1 kbd0 30 call_remote
host 2 "play kbd0 'text late but here'"
guest_typed g1 kbd0 "$(keys_of 'late but here')" 20
guest_lives 1 g1
